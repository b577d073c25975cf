//! The table `dropped_range`: items of a watch that a full queue dropped and no list has recovered yet.

use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use rusqlite::Connection;
use serde_json::json;

use super::dedup::DedupTable;
use super::statements::Counting as _;
use crate::queue::DroppedItems;

/// The table, within a transaction of the caller.
pub(super) struct DroppedRangeTable<'c> {
    conn: &'c Connection,
}

impl<'c> DroppedRangeTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// Inserts a dropped range.
    pub(super) fn open(&self, watch: WatchId, drop: &DroppedItems) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "INSERT INTO dropped_range (watch, since_ms, cause, items, list_generation, known_items) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                watch.0,
                drop.since.millis(),
                RelistCause::QueueOverflow.as_str(),
                drop.items as i64,
                drop.list_generation,
                json!(drop.known).to_string(),
            ))?;
        Ok(())
    }

    /// Start of the oldest dropped range of a watch.
    pub(super) fn since(&self, watch: WatchId) -> rusqlite::Result<Option<Timestamp>> {
        self.conn
            .counted("SELECT min(since_ms) FROM dropped_range WHERE watch = ?1")?
            .query_row([watch.0], |row| row.get::<_, Option<i64>>(0))
            .map(|since| since.map(Timestamp::from_millis))
    }

    /// Whether items were dropped after that list began.
    pub(super) fn any_of_list(
        &self,
        watch: WatchId,
        list_generation: i64,
    ) -> rusqlite::Result<bool> {
        self.conn
            .counted("SELECT EXISTS (SELECT 1 FROM dropped_range WHERE watch = ?1 AND list_generation >= ?2)")?
            .query_row((watch.0, list_generation), |row| row.get(0))
    }

    /// Deletes the dropped ranges of a watch after a complete list; returns how many items it did not recover.
    pub(super) fn close(&self, watch: WatchId) -> rusqlite::Result<u64> {
        let dedup = DedupTable::of(self.conn);
        let dropped_ranges: Vec<(i64, u64, String)> = self
            .conn
            .counted("SELECT id, items, known_items FROM dropped_range WHERE watch = ?1")?
            .query_map([watch.0], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut missing = 0;
        for (dropped_range, items, known) in dropped_ranges {
            let known: Vec<(String, String)> = serde_json::from_str(&known).unwrap_or_default();
            let mut back = 0;
            for (uid, version) in &known {
                let stored = dedup.version(&Uid::new(uid))?;
                back += u64::from(
                    stored.is_some_and(|stored| !ResourceVersion::new(version).is_after(&stored)),
                );
            }
            missing += items.saturating_sub(back);
            self.conn
                .counted("DELETE FROM dropped_range WHERE id = ?1")?
                .execute([dropped_range])?;
        }
        Ok(missing)
    }

    pub(super) fn count(&self) -> rusqlite::Result<i64> {
        self.conn
            .counted("SELECT count(*) FROM dropped_range")?
            .query_row([], |row| row.get(0))
    }
}
