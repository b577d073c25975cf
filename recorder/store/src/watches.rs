//! The table `watch_state`: the committed position of each watch.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kube9_model::id::EventKey;
use kube9_model::identity::ResourceVersion;
use kube9_model::resume::{Resume, ResumePoint};
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::dropped_ranges::DroppedRangeTable;
use super::statements::Counting as _;

/// One row of `watch_state`, and state of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// `watch_state.kind`
    pub kind: String,
    /// `watch_state.namespace`, empty for all.
    pub namespace: String,
    /// Everything up to this resourceVersion is committed.
    pub position: Option<ResourceVersion>,
    /// When that was last confirmed to be current.
    pub confirmed_at: Option<Timestamp>,
    /// A list is in progress.
    pub relisting: bool,
    /// Generation of the last list.
    pub list_generation: i64,
    /// The open gap row.
    pub gap: Option<EventKey>,
    /// Its cause.
    pub gap_cause: Option<String>,
    /// When this watch was disconnected; the row may begin earlier.
    pub(super) gap_from: Option<Timestamp>,
    /// The previous gap row with its cause: the next gap may join it.
    pub(super) last_gap: Option<(EventKey, String)>,
    /// New Events of the list in progress.
    pub recovered: u64,
    /// Their occurrences beyond the first, whose times are unknown.
    pub repeats: i64,
    changed: bool,
}

/// The rows of the watches that this process runs.
#[derive(Debug, Default)]
pub struct WatchTable {
    all: BTreeMap<WatchId, Watch>,
    /// As of the last commit. In memory, so that a rollback cannot fail: the next transaction must not write a position
    /// that was rolled back.
    committed: BTreeMap<WatchId, Watch>,
}

impl WatchTable {
    /// Finds or creates the row of a watch; returns where its source resumes.
    pub fn register(
        &mut self,
        conn: &Connection,
        cluster: &str,
        kind: &str,
        namespace: &str,
    ) -> rusqlite::Result<(WatchId, Resume)> {
        let find = "SELECT id FROM watch_state WHERE cluster = ?1 AND kind = ?2 AND namespace = ?3";
        let found: Option<i64> = conn
            .counted(find)?
            .query_row((cluster, kind, namespace), |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                conn.counted(
                    "INSERT INTO watch_state (cluster, kind, namespace) VALUES (?1, ?2, ?3)",
                )?
                .execute((cluster, kind, namespace))?;
                conn.last_insert_rowid()
            }
        };
        let id = WatchId(id);
        let watch = read(conn, id)?;
        let has_dropped_range = DroppedRangeTable::of(conn).since(id)?.is_some();
        let resume = match &watch.position {
            _ if has_dropped_range => Resume::List(RelistCause::QueueOverflow),
            _ if watch.relisting && watch.position.is_some() => {
                Resume::List(RelistCause::Interrupted)
            }
            Some(position) => Resume::Watch(position.to_string()),
            // The position is void, and what happened since it was confirmed is unknown.
            None if watch.confirmed_at.is_some() && !watch.relisting => {
                Resume::List(RelistCause::Interrupted)
            }
            None => Resume::List(RelistCause::FirstStart),
        };
        self.committed.insert(id, watch.clone());
        self.all.insert(id, watch);
        Ok((id, resume))
    }

    pub fn resume_point(&mut self, id: WatchId, resume: Resume) -> ResumePoint {
        let watch = self.get(id);
        ResumePoint {
            resume,
            position: watch.position.as_ref().map(ToString::to_string),
            list_generation: watch.list_generation,
        }
    }

    /// Registers a watch in a reopened database under its id in this process. A new database has no position for it.
    pub fn register_as(
        &mut self,
        conn: &Connection,
        id: WatchId,
        cluster: &str,
        kind: &str,
        namespace: &str,
    ) -> rusqlite::Result<()> {
        conn.counted("INSERT INTO watch_state (id, cluster, kind, namespace) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?.execute((id.0, cluster, kind, namespace),
        )?;
        let watch = read(conn, id)?;
        self.committed.insert(id, watch.clone());
        self.all.insert(id, watch);
        Ok(())
    }

    /// Sources only use registered ids.
    pub fn get(&mut self, id: WatchId) -> &mut Watch {
        self.all
            .get_mut(&id)
            .expect("sources use registered watches only")
    }

    pub(super) fn ids(&self) -> Vec<WatchId> {
        self.all.keys().copied().collect()
    }

    /// Kind and namespace of each watch.
    pub(super) fn names(&self) -> Vec<(String, String)> {
        self.all
            .values()
            .map(|watch| (watch.kind.clone(), watch.namespace.clone()))
            .collect()
    }

    /// Open gaps of all watches.
    pub(super) fn open_gaps(conn: &Connection) -> rusqlite::Result<i64> {
        let open = "SELECT count(DISTINCT gap) FROM watch_state WHERE gap IS NOT NULL";
        conn.counted(open)?.query_row([], |row| row.get(0))
    }

    /// The open gap rows of a cause, and the last one of each watch.
    pub(super) fn gaps(&self, cause: RelistCause) -> BTreeSet<EventKey> {
        let open = |watch: &'_ Watch| Some((watch.gap?, watch.gap_cause.clone()?));
        let all = self.all.values();
        let gaps = all.flat_map(|watch| [open(watch), watch.last_gap.clone()]);
        gaps.flatten()
            .filter(|(_, of)| of == cause.as_str())
            .map(|(key, _)| key)
            .collect()
    }

    /// Rows of open gaps.
    pub(super) fn gap_rows(conn: &Connection) -> rusqlite::Result<HashSet<i64>> {
        conn.counted("SELECT gap FROM watch_state WHERE gap IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect()
    }

    /// Watches in the table that this process does not run.
    pub(super) fn orphaned(&self, conn: &Connection) -> rusqlite::Result<Vec<WatchId>> {
        let all: Vec<WatchId> = conn
            .counted("SELECT id FROM watch_state")?
            .query_map([], |row| row.get(0).map(WatchId))?
            .collect::<Result<_, _>>()?;
        Ok(all
            .into_iter()
            .filter(|id| !self.all.contains_key(id))
            .collect())
    }

    /// Those of them that have an open gap.
    pub(super) fn orphaned_gaps(
        &self,
        conn: &Connection,
    ) -> rusqlite::Result<Vec<(WatchId, Watch)>> {
        let mut gaps = Vec::new();
        for id in self.orphaned(conn)? {
            let watch = read(conn, id)?;
            if watch.gap.is_some() {
                gaps.push((id, watch));
            }
        }
        Ok(gaps)
    }

    /// Clears the closed gap of a watch that this process does not run.
    pub(super) fn forget_gap(conn: &Connection, id: WatchId) -> rusqlite::Result<()> {
        conn.counted("UPDATE watch_state SET gap = NULL, gap_cause = NULL WHERE id = ?1")?
            .execute([id.0])?;
        Ok(())
    }

    /// Whether a watch was last confirmed before `time` and has snapshots.
    pub(super) fn has_old_snapshots(
        conn: &Connection,
        id: WatchId,
        time: Timestamp,
    ) -> rusqlite::Result<bool> {
        conn.counted(
            "SELECT EXISTS (SELECT 1 FROM watch_state WHERE id = ?1 AND confirmed_ms < ?2) \
             AND EXISTS (SELECT 1 FROM object_snapshot WHERE watch = ?1)",
        )?
        .query_row((id.0, time.millis()), |row| row.get(0))
    }

    /// Resets a watch that this process does not run.
    pub(super) fn forget(conn: &Connection, id: WatchId) -> rusqlite::Result<()> {
        conn.counted(
            "UPDATE watch_state SET position = NULL, confirmed_ms = NULL, relisting = 0 WHERE id = ?1",
        )?
        .execute([id.0])?;
        Ok(())
    }

    pub(super) fn runs(&self, id: WatchId) -> bool {
        self.all.contains_key(&id)
    }

    /// Writes changed rows.
    pub fn save(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for (id, watch) in self.all.iter_mut().filter(|(_, watch)| watch.changed) {
            conn.counted("UPDATE watch_state SET position = ?2, confirmed_ms = ?3, relisting = ?4, list_generation = ?5, gap = ?6, \
                     gap_cause = ?7 WHERE id = ?1",
                )?
                .execute((
                    id.0,
                    watch.position.as_ref().map(ToString::to_string),
                    watch.confirmed_at.map(Timestamp::millis),
                    watch.relisting,
                    watch.list_generation,
                    watch.gap.map(EventKey::as_i64),
                    &watch.gap_cause,
                ))?;
            watch.changed = false;
        }
        Ok(())
    }

    pub fn committed(&mut self) {
        self.committed.clone_from(&self.all);
    }

    /// Restores the state of the last commit.
    pub fn rolled_back(&mut self) {
        self.all.clone_from(&self.committed);
    }
}

impl Watch {
    /// Advances the position to a version whose item is committed with this transaction. Never back, and not before a
    /// list was completed: without one, earlier versions may be missing.
    /// `confirmed_at` is when that version was the API server's newest, if known: a deletion read from a backlog may have
    /// happened long before it was received.
    pub fn advance(&mut self, version: &ResourceVersion, confirmed_at: Option<Timestamp>) {
        let Some(position) = &mut self.position else {
            return;
        };
        if version.may_follow(position) {
            position.clone_from(version);
            self.changed = true;
        } else if version != position {
            return; // an older item, or one whose version could not be read, confirms nothing
        }
        if self.confirmed_at < confirmed_at {
            self.confirmed_at = confirmed_at;
            self.changed = true;
        }
    }

    pub(super) fn list_begun(&mut self, list_generation: i64) {
        self.recovered = 0;
        self.repeats = 0;
        self.list_generation = list_generation;
        self.relisting = true;
        self.changed = true;
    }

    /// A list is complete: everything up to `version` is committed with this transaction, and was current at
    /// `confirmed_at`.
    pub(super) fn list_done(&mut self, version: &str, confirmed_at: Timestamp) {
        self.relisting = false;
        self.position = Some(ResourceVersion::new(version));
        self.confirmed_at = Some(confirmed_at);
        self.changed = true;
    }

    /// The API server has another history: voids the position and returns it.
    pub(super) fn regressed(&mut self) -> Option<ResourceVersion> {
        self.changed = true;
        self.position.take()
    }

    /// Counts a new Event of the list in progress, with its occurrences.
    pub(super) fn recovered(&mut self, occurrences: i64) {
        self.recovered += 1;
        self.repeats += (occurrences - 1).max(0);
    }

    /// Whether a list has at least begun.
    pub fn has_begun(&self) -> bool {
        self.position.is_some() || self.relisting
    }

    /// Marks the row to be written with this transaction.
    pub fn touch(&mut self) {
        self.changed = true;
    }
}

fn read(conn: &Connection, id: WatchId) -> rusqlite::Result<Watch> {
    let from_row = |row: &Row<'_>| {
        Ok(Watch {
            kind: row.get(0)?,
            namespace: row.get(1)?,
            position: row
                .get::<_, Option<String>>(2)?
                .map(|text| ResourceVersion::new(&text)),
            confirmed_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
            relisting: row.get(4)?,
            list_generation: row.get(5)?,
            gap: row.get::<_, Option<i64>>(6)?.map(EventKey::from_i64),
            gap_cause: row.get(7)?,
            gap_from: None,
            last_gap: None,
            recovered: 0,
            repeats: 0,
            changed: false,
        })
    };
    conn.counted("SELECT kind, namespace, position, confirmed_ms, relisting, list_generation, gap, gap_cause FROM watch_state WHERE id = ?1")?.query_row([id.0],
        from_row,
    )
}
