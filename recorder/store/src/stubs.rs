//! Stubs: rows in place of Events that cannot be recorded.

use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{Uid, Version};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use kube9_model::{EventType, Severity};
use rusqlite::Connection;
use serde_json::{Map, json};

use super::dedup::{DedupTable, Entry};
use super::rows::Rows;

/// Rows about Events that cannot be recorded, in a minute. The first few say all: a sender of
/// thousands of them would fill the database.
const STUBS_A_MINUTE: u64 = 60;

/// An Event that cannot be recorded.
pub(super) struct Unrecorded<'a> {
    pub(super) watch: WatchId,
    /// The last list that its watch began.
    pub(super) listing: i64,
    pub(super) uid: &'a str,
    pub(super) version: &'a str,
    pub(super) cause: &'a str,
    pub(super) received: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// Nothing: this version was skipped before.
    Duplicate,
    /// It is in a stub, or in the number that the next stub tells.
    Skipped,
}

/// How many of them there were: with the transaction under way, and as the last commit left it.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    count: Count,
    committed: Count,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    minute: i64,
    rows: u64,
    without_row: u64,
}

impl Stubs {
    /// Stores a stub, once for each version of an Event, within a transaction of the caller's.
    pub(super) fn store(
        &mut self,
        conn: &Connection,
        rows: &mut Rows,
        event: &Unrecorded<'_>,
    ) -> rusqlite::Result<Became> {
        let dedup = DedupTable::of(conn);
        let (uid, version) = (Uid::new(event.uid), Version::new(event.version));
        let has_uid = !event.uid.is_empty();
        if has_uid
            && dedup
                .version(&uid)?
                .is_some_and(|stored| !version.is_after(&stored))
        {
            dedup.listed(&uid, event.watch, event.listing)?;
            return Ok(Became::Duplicate);
        }
        let Some(without_row) = self.count.one_more(event.received) else {
            return Ok(Became::Skipped);
        };
        let stub = sanitize(skipped_record(event, without_row));
        let key = rows.insert_own(conn, &stub, event.received, event.received)?;
        if has_uid {
            dedup.skipped(&Entry {
                uid: &uid,
                watch: event.watch,
                listing: event.listing,
                version: &version,
                count: 0,
                event: key,
            })?;
        }
        Ok(Became::Skipped)
    }

    /// After a commit.
    pub(super) fn committed(&mut self) {
        self.committed = self.count;
    }

    /// After a rollback: the next attempt at the transaction counts its Events again.
    pub(super) fn rolled_back(&mut self) {
        self.count = self.committed;
    }
}

impl Count {
    /// One more; `None`: it gets no row, else how many got none since the last row.
    fn one_more(&mut self, at: Timestamp) -> Option<u64> {
        let minute = at.second().div_euclid(60);
        if minute != self.minute {
            (self.minute, self.rows) = (minute, 0);
        }
        if self.rows >= STUBS_A_MINUTE {
            self.without_row += 1;
            return None;
        }
        self.rows += 1;
        Some(std::mem::take(&mut self.without_row))
    }
}

fn skipped_record(event: &Unrecorded<'_>, without_row: u64) -> Record {
    let cause = event.cause;
    let mut extra = Map::from_iter([
        ("event_uid".to_owned(), json!(event.uid)),
        ("resource_version".to_owned(), json!(event.version)),
        ("cause".to_owned(), json!(cause)),
    ]);
    let mut description = format!(
        "An Event could not be recorded: {cause}. It was skipped, and recording continues."
    );
    if without_row > 0 {
        extra.insert("skipped_without_row".to_owned(), json!(without_row));
        description.push_str(&format!(
            " {without_row} more Events were skipped before it without a row."
        ));
    }
    Record {
        event_type: EventType::System,
        severity: Severity::Warning,
        title: "Event skipped".to_owned(),
        description,
        reason: "EventSkipped".to_owned(),
        extra,
        ..Record::own(event.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_events_have_few_rows_a_minute_and_the_next_says_how_many_had_none() {
        let mut stubs = Count::default();
        let rows = |stubs: &mut Count, second: i64, items: usize| {
            let at = Timestamp::from_secs(second);
            let made = (0..items).filter_map(|_| stubs.one_more(at));
            made.fold((0, 0), |(rows, without), more| (rows + 1, without + more))
        };
        assert_eq!(rows(&mut stubs, 0, 274_414), (STUBS_A_MINUTE, 0));
        let without = 274_414 - STUBS_A_MINUTE;
        assert_eq!(rows(&mut stubs, 60, 3), (3, without));
        assert_eq!(rows(&mut stubs, 119, 1), (1, 0));
    }
}
