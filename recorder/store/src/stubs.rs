//! Stubs: rows for Events that cannot be recorded.

use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use kube9_model::{EventType, Severity};
use rusqlite::Connection;
use serde_json::{Map, json};

use super::dedup::{DedupTable, Entry};
use super::rows::Rows;

/// Stubs per minute: a sender of thousands of bad Events would otherwise fill the database.
const STUBS_A_MINUTE: u64 = 60;

/// An Event that cannot be recorded.
pub(super) struct SkippedEvent<'a> {
    pub(super) watch: WatchId,
    /// Generation of the last list of its watch.
    pub(super) list_generation: i64,
    pub(super) uid: &'a str,
    pub(super) version: &'a str,
    pub(super) cause: &'a str,
    pub(super) received: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StubOutcome {
    /// This version was already skipped.
    Duplicate,
    /// It has a stub, or is counted in the next one.
    Skipped,
}

/// Counts of stubs: including the transaction under way, and as of the last commit.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    count: RowBudget,
    committed: RowBudget,
}

#[derive(Debug, Default, Clone, Copy)]
struct RowBudget {
    minute: i64,
    rows: u64,
    without_row: u64,
}

impl Stubs {
    /// Stores a stub, once for each version of an Event, within a transaction of the caller.
    pub(super) fn store(
        &mut self,
        conn: &Connection,
        rows: &mut Rows,
        event: &SkippedEvent<'_>,
    ) -> rusqlite::Result<StubOutcome> {
        let dedup = DedupTable::of(conn);
        let (uid, version) = (Uid::new(event.uid), ResourceVersion::new(event.version));
        let has_uid = !event.uid.is_empty();
        if has_uid
            && dedup
                .version(&uid)?
                .is_some_and(|stored| !version.is_after(&stored))
        {
            dedup.listed(&uid, event.watch, event.list_generation)?;
            return Ok(StubOutcome::Duplicate);
        }
        let Some(without_row) = self.count.one_more(event.received) else {
            return Ok(StubOutcome::Skipped);
        };
        let stub = sanitize(skipped_record(event, without_row));
        let key = rows.insert_internal(conn, &stub, event.received, event.received)?;
        if has_uid {
            dedup.skipped(&Entry {
                uid: &uid,
                watch: event.watch,
                list_generation: event.list_generation,
                version: &version,
                count: 0,
                event: key,
            })?;
        }
        Ok(StubOutcome::Skipped)
    }

    pub(super) fn committed(&mut self) {
        self.committed = self.count;
    }

    /// The retry of the transaction counts its Events again.
    pub(super) fn rolled_back(&mut self) {
        self.count = self.committed;
    }
}

impl RowBudget {
    /// Counts an Event. `None`: it gets no row; else the number of Events without a row since the last one.
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

fn skipped_record(event: &SkippedEvent<'_>, without_row: u64) -> Record {
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
        ..Record::internal(event.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_are_bounded_per_minute_and_the_next_counts_the_rest() {
        let mut stubs = RowBudget::default();
        let rows = |stubs: &mut RowBudget, second: i64, items: usize| {
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
