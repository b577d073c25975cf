//! Sights that make no row: deleted, filtered, set aside.

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, json};

use super::Applier;
use crate::pipeline::identity::{Uid, Version};
use crate::pipeline::item::{Passed, Via, WatchId};
use crate::pipeline::record::Record;
use crate::pipeline::sanitize::sanitize;
use crate::store::rows::Span;

impl Applier {
    #[expect(clippy::too_many_arguments, reason = "the parts of one Item::Passed")]
    pub(super) fn pass(
        &mut self,
        conn: &Connection,
        watch: WatchId,
        via: Via,
        uid: &str,
        version: &str,
        why: &Passed,
        received: Timestamp,
    ) -> rusqlite::Result<()> {
        match why {
            Passed::Deleted => {
                conn.prepare_cached("DELETE FROM dedup WHERE uid = ?1")?
                    .execute([Uid::new(uid)])?;
                self.outcomes.events.deleted += 1;
            }
            Passed::Filtered(rule) => {
                if via == Via::List {
                    // It may have been recorded before the rule was there: it is listed, so it is not missing.
                    self.still_listed(conn, watch, &Uid::new(uid))?;
                }
                self.outcomes.events.add_filtered(*rule);
            }
            Passed::SetAside(stage, cause) => {
                if self.set_aside(conn, watch, uid, version, cause, received)? {
                    self.outcomes.events.add_set_aside(*stage);
                } else {
                    self.outcomes.events.duplicate += 1;
                }
            }
        }
        Ok(())
    }

    /// Notes that the list under way holds the Event.
    pub(super) fn still_listed(
        &mut self,
        conn: &Connection,
        watch: WatchId,
        uid: &Uid,
    ) -> rusqlite::Result<()> {
        let listing = self.watches.get(watch).listing;
        conn.prepare_cached("UPDATE dedup SET listing = ?2, watch = ?3 WHERE uid = ?1")?
            .execute((uid, listing, watch.0))?;
        Ok(())
    }

    /// Stores a stub for a sight that cannot be stored itself; once for each version of it. `false`: it was there.
    fn set_aside(
        &mut self,
        conn: &Connection,
        watch: WatchId,
        uid: &str,
        version: &str,
        cause: &str,
        received: Timestamp,
    ) -> rusqlite::Result<bool> {
        let stored: Option<Version> = conn
            .prepare_cached("SELECT version FROM dedup WHERE uid = ?1")?
            .query_row([Uid::new(uid)], |row| row.get(0))
            .optional()?;
        let listing = self.watches.get(watch).listing;
        if !uid.is_empty() && stored.is_some_and(|stored| !Version::new(version).is_after(&stored))
        {
            self.still_listed(conn, watch, &Uid::new(uid))?;
            return Ok(false);
        }
        let Some(without_row) = self.stubs.one_more(received) else {
            return Ok(true); // counted; the next row says how many there were
        };
        let stub = sanitize(set_aside_record(uid, version, cause, without_row, received));
        let span = Span {
            last: received,
            ..Span::default()
        };
        let key = self
            .rows
            .insert(conn, &stub, received, &span, &stub.record().extra)?;
        if !uid.is_empty() {
            conn.prepare_cached("INSERT INTO dedup (uid, watch, version, count, event, listing) VALUES (?1, ?2, ?3, 0, ?4, ?5) \
                     ON CONFLICT DO UPDATE SET watch = excluded.watch, version = excluded.version, \
                     listing = excluded.listing",
                )?
                .execute((Uid::new(uid), watch.0, Version::new(version), key.as_i64(), listing))?;
        }
        Ok(true)
    }
}

/// Rows about Events that cannot be recorded, in a minute. They are no more worth than the first few: who sends thousands
/// of them would fill the database.
const STUBS_A_MINUTE: u64 = 60;

/// How many of them there were.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    minute: i64,
    rows: u64,
    without_row: u64,
}

impl Stubs {
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

fn set_aside_record(
    uid: &str,
    version: &str,
    cause: &str,
    without_row: u64,
    at: Timestamp,
) -> Record {
    let mut extra = Map::from_iter([
        ("event_uid".to_owned(), json!(uid)),
        ("resource_version".to_owned(), json!(version)),
        ("cause".to_owned(), json!(cause)),
    ]);
    let mut description = format!(
        "An Event could not be recorded: {cause}. It was skipped so that the rest goes on."
    );
    if without_row > 0 {
        extra.insert("skipped_without_row".to_owned(), json!(without_row));
        description.push_str(&format!(
            " {without_row} more were skipped before it without a row of their own."
        ));
    }
    Record {
        event_type: EventType::System,
        severity: Severity::Warning,
        title: "Event set aside".to_owned(),
        description,
        reason: "EventSetAside".to_owned(),
        extra,
        ..Record::own(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_events_have_few_rows_a_minute_and_the_next_says_how_many_had_none() {
        let mut stubs = Stubs::default();
        let rows = |stubs: &mut Stubs, second: i64, items: usize| {
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
