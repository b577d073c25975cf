//! The table `dedup`: the Events that the API server still holds, with the version last stored and the newest row.
//!
//! Invariant: an entry lives until its Event is DELETED or absent from a completed list, never by age.

use kube9_model::id::EventKey;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::identity::Sql;
use super::statements::{Counting as _, HotStatement};

/// The table, within a transaction of the caller.
pub(super) struct DedupTable<'c> {
    conn: &'c Connection,
    find: HotStatement<'c>,
    insert: HotStatement<'c>,
    update: HotStatement<'c>,
    delete: HotStatement<'c>,
}

// The row must be the Event's own: once retention has deleted it, another row may get its key.
const FIND: &str = "SELECT d.resource_version, d.count, d.event, e.severity, e.class, e.last_offset_ms, e.template, e.args, e.extra \
     FROM dedup d LEFT JOIN event e ON e.key = d.event AND e.uid = d.uid WHERE d.uid = ?1";
const INSERT: &str = "INSERT INTO dedup (uid, watch, resource_version, count, event, list_generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (uid) DO NOTHING";
const UPDATE: &str = "UPDATE dedup SET watch = ?2, resource_version = ?3, count = ?4, event = ?5, list_generation = ?6 WHERE uid = ?1";
const DELETE: &str = "DELETE FROM dedup WHERE uid = ?1";

/// What is stored of an Event.
pub(super) struct Entry<'a> {
    pub(super) uid: &'a Uid,
    pub(super) watch: WatchId,
    /// The list that last showed it.
    pub(super) list_generation: i64,
    pub(super) version: &'a ResourceVersion,
    pub(super) count: i64,
    /// Its newest row.
    pub(super) event: EventKey,
}

/// An entry as it was found.
pub(super) struct Stored {
    pub(super) version: ResourceVersion,
    pub(super) count: i64,
    pub(super) event: EventKey,
    /// `None` if retention deleted it.
    pub(super) row: Option<StoredRow>,
}

/// The columns of the newest row that fold a repeat, and those that it may change.
pub(super) struct StoredRow {
    pub(super) severity: i64,
    pub(super) reason: i64,
    pub(super) last: Timestamp,
    pub(super) text: i64,
    pub(super) args: Option<String>,
    pub(super) extra: Option<String>,
}

impl<'c> DedupTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self {
            conn,
            find: HotStatement::of(conn, FIND),
            insert: HotStatement::of(conn, INSERT),
            update: HotStatement::of(conn, UPDATE),
            delete: HotStatement::of(conn, DELETE),
        }
    }

    /// What is stored of an Event.
    pub(super) fn find(&mut self, uid: &Uid) -> rusqlite::Result<Option<Stored>> {
        self.find
            .get()?
            .query_row([Sql(uid)], |row| {
                let event = EventKey::from_i64(row.get(2)?);
                let newest = match row.get::<_, Option<i64>>(3)? {
                    Some(severity) => Some(StoredRow {
                        severity,
                        reason: row.get(4)?,
                        last: Timestamp::from_millis(
                            event.created_at().millis() + row.get::<_, i64>(5)?,
                        ),
                        text: row.get::<_, Option<i64>>(6)?.unwrap_or_default(),
                        args: row.get(7)?,
                        extra: row.get(8)?,
                    }),
                    None => None,
                };
                Ok(Stored {
                    version: row.get::<_, Sql<ResourceVersion>>(0)?.0,
                    count: row.get(1)?,
                    event,
                    row: newest,
                })
            })
            .optional()
    }

    /// The version last stored of an Event.
    pub(super) fn version(&self, uid: &Uid) -> rusqlite::Result<Option<ResourceVersion>> {
        self.conn
            .counted("SELECT resource_version FROM dedup WHERE uid = ?1")?
            .query_row([Sql(uid)], |row| row.get::<_, Sql<ResourceVersion>>(0))
            .optional()
            .map(|found| found.map(|version| version.0))
    }

    /// Inserts the entry of a new Event. `false`: it has an entry, which is unchanged.
    pub(super) fn insert(&mut self, entry: &Entry<'_>) -> rusqlite::Result<bool> {
        Ok(self.insert.get()?.execute(entry.values())? > 0)
    }

    /// Updates the entry of a known Event.
    pub(super) fn update(&mut self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.update.get()?.execute(entry.values())?;
        Ok(())
    }

    /// Writes the entry of a skipped Event: with the stub's key if it is new; count and row of a known one are unchanged.
    pub(super) fn skipped(&self, entry: &Entry<'_>) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "INSERT INTO dedup (uid, watch, resource_version, count, event, list_generation) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT DO UPDATE SET watch = excluded.watch, resource_version = excluded.resource_version, \
                 list_generation = excluded.list_generation",
            )?
            .execute(entry.values())?;
        Ok(())
    }

    /// Marks the Event as listed.
    pub(super) fn listed(
        &self,
        uid: &Uid,
        watch: WatchId,
        list_generation: i64,
    ) -> rusqlite::Result<()> {
        self.conn
            .counted("UPDATE dedup SET list_generation = ?2, watch = ?3 WHERE uid = ?1")?
            .execute((Sql(uid), list_generation, watch.0))?;
        Ok(())
    }

    pub(super) fn delete(&mut self, uid: &impl ToSql) -> rusqlite::Result<()> {
        self.delete.get()?.execute([uid])?;
        Ok(())
    }

    /// Events of a watch that occurred after `young` and are missing in the list.
    pub(super) fn missing(
        &self,
        watch: WatchId,
        list_generation: i64,
        young: Timestamp,
    ) -> rusqlite::Result<u64> {
        self.conn
            .counted(
                "SELECT count(*) FROM dedup d JOIN event e ON e.key = d.event \
                 WHERE d.watch = ?1 AND d.list_generation <> ?2 AND (e.key >> 24) * 1000 + e.last_offset_ms > ?3",
            )?
            .query_row((watch.0, list_generation, young.millis()), |row| {
                row.get::<_, i64>(0)
            })
            .map(i64::unsigned_abs)
    }

    /// Deletes the entries that a complete list does not contain.
    pub(super) fn delete_unlisted(
        &self,
        watch: WatchId,
        list_generation: i64,
    ) -> rusqlite::Result<()> {
        self.conn
            .counted("DELETE FROM dedup WHERE watch = ?1 AND list_generation <> ?2")?
            .execute((watch.0, list_generation))?;
        Ok(())
    }

    /// Deletes the entry of an Event together with its row.
    pub(super) fn delete_with_row(&self, uid: &Value, event: i64) -> rusqlite::Result<()> {
        self.conn
            .counted("DELETE FROM dedup WHERE uid = ?1 AND event = ?2")?
            .execute((uid, event))?;
        Ok(())
    }

    /// Entries after `uid` in the table's order: uid, watch, and whether the row was deleted.
    pub(super) fn after(
        &self,
        uid: &Value,
        at_most: i64,
    ) -> rusqlite::Result<Vec<(Value, WatchId, bool)>> {
        self.conn
            .counted(
                "SELECT d.uid, d.watch, e.key IS NULL FROM dedup d LEFT JOIN event e ON e.key = d.event \
                 WHERE d.uid > ?1 ORDER BY d.uid LIMIT ?2",
            )?
            .query_map((uid, at_most), |row| {
                Ok((row.get(0)?, WatchId(row.get(1)?), row.get(2)?))
            })?
            .collect()
    }

    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.conn
            .counted("SELECT count(*) FROM dedup")?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    }

    /// Voids the versions of a watch: any Event counts as newer than the stored one, and its count decides whether it
    /// adds occurrences.
    pub(super) fn forget_versions(&self, watch: WatchId) -> rusqlite::Result<()> {
        self.conn
            .counted("UPDATE dedup SET resource_version = 0 WHERE watch = ?1")?
            .execute([watch.0])?;
        Ok(())
    }
}

impl<'a> Entry<'a> {
    fn values(&self) -> (Sql<&'a Uid>, i64, Sql<&'a ResourceVersion>, i64, i64, i64) {
        (
            Sql(self.uid),
            self.watch.0,
            Sql(self.version),
            self.count,
            self.event.as_i64(),
            self.list_generation,
        )
    }
}
