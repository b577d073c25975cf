//! Deletes data of watches that this process does not run: a namespace removed from the config, a disabled informer.
//!
//! - `dedup`: only entries whose row was deleted; the others prevent duplicates if the namespace is watched again.
//! - `object_snapshot`: all, once the watch has not run for as long as changes are kept. The watch then starts like a new
//!   one, whose first list reports nothing as added.
//! - An open gap is closed as not recovered, because no list will end it.

use std::time::Instant;

use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::apply::Applier;
use super::dedup::DedupTable;
use super::gap_table::GapTable;
use super::object_snapshots::ObjectSnapshotTable;
use super::retention_run::Progress;
use super::watches::WatchTable;

/// Entries between two checks of the deadline.
const CHUNK: i64 = 512;

/// Where the next step continues.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Orphans {
    /// Entries up to this uid are done. Text sorts before blobs, and no uid is empty.
    after: Value,
}

impl Default for Orphans {
    fn default() -> Self {
        Self {
            after: Value::Text(String::new()),
        }
    }
}

impl Orphans {
    /// Works until `deadline` within a transaction of the caller; returns where to continue. Deletes snapshots of watches
    /// that were last confirmed before `unconfirmed_since`.
    pub(super) fn step(
        self,
        conn: &Connection,
        applier: &mut Applier,
        (now, unconfirmed_since): (Timestamp, Timestamp),
        deadline: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let orphaned = applier.watches.orphaned(conn)?;
        if orphaned.is_empty() {
            return Ok(None); // the usual case
        }
        for (id, mut watch) in applier.watches.orphaned_gaps(conn)? {
            GapTable::of(conn, &mut applier.rows).abandon(&mut watch, now)?;
            WatchTable::forget_gap(conn, id)?;
        }
        for watch in orphaned {
            if delete_snapshots(conn, watch, unconfirmed_since, deadline)? == Progress::More {
                return Ok(Some(self));
            }
        }
        let mut dedup = DedupTable::of(conn);
        let mut after = self.after;
        loop {
            let found = dedup.after(&after, CHUNK)?;
            let Some((last, ..)) = found.last() else {
                return Ok(None);
            };
            after = last.clone();
            for (uid, watch, row_is_gone) in found {
                if row_is_gone && !applier.watches.runs(watch) {
                    dedup.delete(&uid)?;
                }
            }
            if Instant::now() >= deadline {
                return Ok(Some(Self { after }));
            }
        }
    }
}

/// Deletes the snapshots of a watch that was last confirmed before `unconfirmed_since`.
fn delete_snapshots(
    conn: &Connection,
    watch: WatchId,
    unconfirmed_since: Timestamp,
    deadline: Instant,
) -> rusqlite::Result<Progress> {
    if !WatchTable::has_old_snapshots(conn, watch, unconfirmed_since)? {
        return Ok(Progress::Done);
    }
    let snapshots = ObjectSnapshotTable::of(conn);
    while snapshots.delete_some(watch, CHUNK)? as i64 == CHUNK {
        if Instant::now() >= deadline {
            return Ok(Progress::More);
        }
    }
    // Without snapshots every object would look added; a watch that was never confirmed reports none as added.
    WatchTable::forget(conn, watch)?;
    Ok(Progress::Done)
}
