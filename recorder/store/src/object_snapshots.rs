//! The table `object_snapshot`: the last known state of each watched object, for the next comparison.

use std::collections::BTreeSet;

use kube9_model::resume::{StoredObjects, off_name};
use kube9_model::watch::WatchId;
use rusqlite::Connection;
use tracing::warn;

use super::statements::Counting as _;

/// Largest snapshot that is read: an object within `OBJECT_BYTES_MAX` as JSON.
const OBJECT_BYTES_MAX: i64 = 64 << 10;

/// Bytes of snapshots that are read for one watch: those of 50,000 pods are 10 MB.
const WATCH_BYTES_MAX: usize = 16 << 20;

/// Deletes snapshots that are not read, because nothing else would after their object is deleted. Their namespaces are
/// marked as left out, so that their objects are not reported as new.
fn forget(
    conn: &Connection,
    watch: WatchId,
    names: &[String],
    namespaces: &BTreeSet<String>,
) -> rusqlite::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    for name in names {
        conn.counted("DELETE FROM object_snapshot WHERE watch = ?1 AND name = ?2")?
            .execute((watch.0, name))?;
    }
    for namespace in namespaces {
        conn.counted(
            "INSERT OR IGNORE INTO object_snapshot (watch, name, snapshot) VALUES (?1, ?2, '{}')",
        )?
        .execute((watch.0, off_name(namespace)))?;
    }
    transaction.commit()
}

/// The table; writes happen within a transaction of the caller.
pub(super) struct ObjectSnapshotTable<'c> {
    conn: &'c Connection,
}

impl<'c> ObjectSnapshotTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// The stored objects of a watch.
    pub(super) fn read(&self, watch: WatchId) -> rusqlite::Result<StoredObjects> {
        let mut stored = StoredObjects::default();
        let mut budget = WATCH_BYTES_MAX;
        let mut oversized = Vec::new();
        // octet_length does not read the text.
        let mut found = self.conn.counted(
            "SELECT name, CASE WHEN octet_length(snapshot) <= ?2 THEN snapshot END FROM object_snapshot WHERE watch = ?1",
        )?;
        let mut found = found.query((watch.0, OBJECT_BYTES_MAX))?;
        while let Some(row) = found.next()? {
            let (name, snapshot): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let bytes = name.len() + snapshot.as_ref().map_or(0, String::len);
            let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
            match snapshot {
                Some(snapshot) if !name.ends_with('/') && bytes <= budget => {
                    budget -= bytes;
                    stored.snapshots.push((name, snapshot));
                }
                snapshot => {
                    stored.left_out.insert(namespace.to_owned());
                    if snapshot.is_none() || !name.ends_with('/') {
                        oversized.push(name);
                    }
                }
            }
        }
        drop(found);
        // A failure (a full disk) does no harm: the next start tries again.
        if let Err(error) = forget(self.conn, watch, &oversized, &stored.left_out) {
            warn!(%error, "cannot delete object snapshots that are too large; the next start retries");
        }
        Ok(stored)
    }

    /// Entries after that of `name` in the table's order: watch, name and bytes.
    pub(super) fn sizes_after(
        &self,
        (watch, name): (i64, &str),
        at_most: i64,
    ) -> rusqlite::Result<Vec<(i64, String, i64)>> {
        self.conn
            .counted(
                "SELECT watch, name, octet_length(snapshot) FROM object_snapshot WHERE (watch, name) > (?1, ?2) \
                 ORDER BY watch, name LIMIT ?3",
            )?
            .query_map((watch, name, at_most), |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
    }

    /// Reduces an entry to the object's uid.
    pub(super) fn cut(&self, watch: i64, name: &str) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "UPDATE object_snapshot SET snapshot = json_object('uid', ifnull(iif(json_valid(snapshot), snapshot ->> 'uid', ''), ''), \
                 'kind', 'Unknown') WHERE watch = ?1 AND name = ?2",
            )?
            .execute((watch, name))?;
        Ok(())
    }

    /// Deletes entries of a watch; returns how many.
    pub(super) fn delete_some(&self, watch: WatchId, at_most: i64) -> rusqlite::Result<usize> {
        self.conn
            .counted(
                "DELETE FROM object_snapshot WHERE watch = ?1 AND name IN \
                 (SELECT name FROM object_snapshot WHERE watch = ?1 LIMIT ?2)",
            )?
            .execute((watch.0, at_most))
    }

    /// Stores the snapshot of an object; `None` deletes it.
    pub(super) fn store(
        &self,
        watch: WatchId,
        name: &str,
        snapshot: Option<&str>,
    ) -> rusqlite::Result<()> {
        match snapshot {
            Some(snapshot) => self
                .conn
                .counted(
                    "INSERT INTO object_snapshot (watch, name, snapshot) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot",
                )?
                .execute((watch.0, name, snapshot))?,
            None => self
                .conn
                .counted("DELETE FROM object_snapshot WHERE watch = ?1 AND name = ?2")?
                .execute((watch.0, name))?,
        };
        Ok(())
    }
}
