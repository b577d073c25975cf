//! The position of each watch, as committed: `watch_state`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use kube9_model::id::EventKey;
use kube9_model::identity::Version;
use kube9_model::resume::{Resume, Start};
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::holes::HoleTable;
use super::statements::Counting as _;

/// One row of `watch_state`, and what is only known while running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// `watch_state.kind`
    pub kind: String,
    /// `watch_state.namespace`, empty for all.
    pub namespace: String,
    /// Everything up to this resourceVersion is committed.
    pub position: Option<Version>,
    /// When that was last proven to be current.
    pub proven: Option<Timestamp>,
    /// A list is under way.
    pub relisting: bool,
    /// Number of the last list begun.
    pub listing: i64,
    /// The open gap row.
    pub gap: Option<EventKey>,
    /// Its cause.
    pub gap_cause: Option<String>,
    /// When this watch became blind; the row may begin earlier.
    pub(super) gap_from: Option<Timestamp>,
    /// The gap row before, with its cause: the next gap may be one with it.
    pub(super) last_gap: Option<(EventKey, String)>,
    /// Stored sights of the list under way that were new.
    pub recovered: u64,
    /// Occurrences in them beyond the first, whose times are unknown.
    pub repeats: i64,
    changed: bool,
}

/// The table, as far as this process watches.
#[derive(Debug, Default)]
pub struct WatchTable {
    all: BTreeMap<WatchId, Watch>,
    /// As the last commit left them. In memory, so that going back to it cannot fail: a position of a transaction that
    /// never was must not be written by the next one.
    committed: BTreeMap<WatchId, Watch>,
}

impl WatchTable {
    /// Finds or creates the row of a watch; says where its source begins.
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
        let has_hole = HoleTable::of(conn).since(id)?.is_some();
        let resume = match &watch.position {
            _ if has_hole => Resume::List(RelistCause::Hole),
            _ if watch.relisting && watch.position.is_some() => {
                Resume::List(RelistCause::Interrupted)
            }
            Some(position) => Resume::Watch(position.to_string()),
            // It became void, and what has happened since it was proven is not known.
            None if watch.proven.is_some() && !watch.relisting => {
                Resume::List(RelistCause::Interrupted)
            }
            None => Resume::List(RelistCause::FirstStart),
        };
        self.committed.insert(id, watch.clone());
        self.all.insert(id, watch);
        Ok((id, resume))
    }

    /// All that a source has to know to begin.
    pub fn start(&mut self, id: WatchId, resume: Resume) -> Start {
        let watch = self.get(id);
        Start {
            resume,
            position: watch.position.as_ref().map(ToString::to_string),
            listing: watch.listing,
        }
    }

    /// Registers a watch under the id that it has in this process, with the position that the database has of it: none in
    /// a new one.
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

    /// The watch with that id. Sources only use ids that were registered.
    pub fn get(&mut self, id: WatchId) -> &mut Watch {
        self.all
            .get_mut(&id)
            .expect("sources use registered watches only")
    }

    /// Of all watches.
    pub(super) fn ids(&self) -> Vec<WatchId> {
        self.all.keys().copied().collect()
    }

    /// Gaps that are open, of all watches.
    pub(super) fn open_gaps(conn: &Connection) -> rusqlite::Result<i64> {
        let open = "SELECT count(DISTINCT gap) FROM watch_state WHERE gap IS NOT NULL";
        conn.counted(open)?.query_row([], |row| row.get(0))
    }

    /// The gap rows of a cause that are open, or were the last of a watch.
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

    /// The watches of the table that this process does not run.
    pub(super) fn left_over(&self, conn: &Connection) -> rusqlite::Result<Vec<WatchId>> {
        let all: Vec<WatchId> = conn
            .counted("SELECT id FROM watch_state")?
            .query_map([], |row| row.get(0).map(WatchId))?
            .collect::<Result<_, _>>()?;
        Ok(all
            .into_iter()
            .filter(|id| !self.all.contains_key(id))
            .collect())
    }

    /// Of the watches that this process does not run, those whose gap is open.
    pub(super) fn left_over_gaps(
        &self,
        conn: &Connection,
    ) -> rusqlite::Result<Vec<(WatchId, Watch)>> {
        let mut gaps = Vec::new();
        for id in self.left_over(conn)? {
            let watch = read(conn, id)?;
            if watch.gap.is_some() {
                gaps.push((id, watch));
            }
        }
        Ok(gaps)
    }

    /// The gap of a watch that this process does not run is closed.
    pub(super) fn forget_gap(conn: &Connection, id: WatchId) -> rusqlite::Result<()> {
        conn.counted("UPDATE watch_state SET gap = NULL, gap_cause = NULL WHERE id = ?1")?
            .execute([id.0])?;
        Ok(())
    }

    /// Whether a watch was last current before `time` and has facts.
    pub(super) fn has_old_facts(
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

    /// A watch that this process does not run begins anew.
    pub(super) fn forget(conn: &Connection, id: WatchId) -> rusqlite::Result<()> {
        conn.counted(
            "UPDATE watch_state SET position = NULL, confirmed_ms = NULL, relisting = 0 WHERE id = ?1",
        )?
        .execute([id.0])?;
        Ok(())
    }

    /// Whether this process runs a watch.
    pub(super) fn runs(&self, id: WatchId) -> bool {
        self.all.contains_key(&id)
    }

    /// Writes what changed.
    pub fn save(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for (id, watch) in self.all.iter_mut().filter(|(_, watch)| watch.changed) {
            conn.counted("UPDATE watch_state SET position = ?2, confirmed_ms = ?3, relisting = ?4, list_generation = ?5, gap = ?6, \
                     gap_cause = ?7 WHERE id = ?1",
                )?
                .execute((
                    id.0,
                    watch.position.as_ref().map(ToString::to_string),
                    watch.proven.map(Timestamp::millis),
                    watch.relisting,
                    watch.listing,
                    watch.gap.map(EventKey::as_i64),
                    &watch.gap_cause,
                ))?;
            watch.changed = false;
        }
        Ok(())
    }

    /// After a commit.
    pub fn committed(&mut self) {
        self.committed.clone_from(&self.all);
    }

    /// After a rollback: everything as the last commit left it.
    pub fn rolled_back(&mut self) {
        self.all.clone_from(&self.committed);
    }
}

impl Watch {
    /// Moves the position forward to a version whose item is committed with this transaction. Never back, and not
    /// before a list was completed: without one, nothing says that what lies below the version is stored.
    /// `proven` is when that version was the API server's newest, where that is known: a deletion that is read from a
    /// backlog may have happened long before it was received.
    pub fn advance(&mut self, version: &Version, proven: Option<Timestamp>) {
        let Some(position) = &mut self.position else {
            return;
        };
        if version.may_follow(position) {
            position.clone_from(version);
            self.changed = true;
        } else if version != position {
            return; // an older item says nothing of the position, nor one whose version could not be read
        }
        if self.proven < proven {
            self.proven = proven;
            self.changed = true;
        }
    }

    /// A list begins.
    pub(super) fn list_begun(&mut self, listing: i64) {
        self.recovered = 0;
        self.repeats = 0;
        self.listing = listing;
        self.relisting = true;
        self.changed = true;
    }

    /// A list is complete: everything up to `version` is committed with this transaction, and was current at `proven`.
    pub(super) fn list_done(&mut self, version: &str, proven: Timestamp) {
        self.relisting = false;
        self.position = Some(Version::new(version));
        self.proven = Some(proven);
        self.changed = true;
    }

    /// The API server's history is another one: the position is void. Returns it.
    pub(super) fn regressed(&mut self) -> Option<Version> {
        self.changed = true;
        self.position.take()
    }

    /// Notes a sight that the list under way showed and that was not stored, with so many occurrences.
    pub(super) fn recovered(&mut self, occurrences: i64) {
        self.recovered += 1;
        self.repeats += (occurrences - 1).max(0);
    }

    /// Whether a list of it has at least begun.
    pub fn has_begun(&self) -> bool {
        self.position.is_some() || self.relisting
    }

    /// Marks it to be written with this transaction.
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
                .map(|text| Version::new(&text)),
            proven: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
            relisting: row.get(4)?,
            listing: row.get(5)?,
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
