//! Tracked objects: compares what a watch shows of an object with its stored body, and stores the difference.
//!
//! ```text
//!   TrackedEvent ─▶ stored object ─┬─ none, another uid ─▶ created
//!                                  ├─ same version ──────▶ nothing, or a new base in silence
//!                                  ├─ another form ──────▶ a new base; the list has a row that says so
//!                                  └─ body ─▶ diff ─▶ authors ─▶ row ─▶ revision
//!   list ends ─▶ objects that it did not show ─▶ deleted
//! ```
//!
//! All of it is in the transaction that moves the watch's position.
//!
//! Invariant: an object's first body is never a change, unless the object was created while its watch was known.

mod causes;
mod children;
mod churn;
mod folded;
mod lists;
mod objects;
mod record;
mod retention;
mod revisions;

use std::collections::BTreeMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use kube9_ingest::change_row::{breaking, breaking_kinds};
use kube9_ingest::item::{ObservedObject, TrackedEvent};
use kube9_ingest::tracker::NewestObject;
use kube9_model::ObjectRef;
use kube9_model::change::kinds::TrackedKind;
use kube9_model::commit_stats::{BreakingChange, RecentChanges};
use kube9_model::id::EventKey;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, WatchId};
use rusqlite::Connection;
use serde_json::{Map, Value};

use crate::metrics::{Observed, StateCounts};
use crate::rows::Rows;
pub(super) use causes::cause_of_pod;
use causes::had_ended;
use churn::{Churn, Folding};
pub(super) use folded::FoldedNamespaces;
use lists::{ListInProgress, TrackedLists};
use objects::TrackedObjectTable;
use record::{End, When};
pub(super) use retention::{TrackingReport, TrimRevisions};

/// Objects that are read at a time when a list ends.
const CHUNK: i64 = 512;

/// What is remembered between transactions.
#[derive(Debug, Default)]
pub(super) struct TrackedState {
    lists: TrackedLists,
    churn: Churn,
    folded: FoldedNamespaces,
    hash: RandomState,
    /// `tracked_kind.id` of each watch.
    kinds: BTreeMap<WatchId, i64>,
    /// Of the transaction under way.
    observed: StateCounts,
    /// Changes that it records, by kind.
    changes: BTreeMap<String, u64>,
}

impl TrackedState {
    /// The state of the last recorder.
    pub(super) fn restore(&mut self, conn: &Connection) {
        self.folded.restore(conn);
    }

    /// Namespaces whose objects change more often than a budget allows.
    pub(super) const fn folded(&self) -> &FoldedNamespaces {
        &self.folded
    }

    /// Call it after the commit.
    pub(super) fn committed(&mut self) {
        self.lists.committed();
        self.churn.committed();
        self.folded.committed();
    }

    /// Counts since the last call; call it after the commit.
    pub(super) fn take_observed(&mut self) -> StateCounts {
        std::mem::take(&mut self.observed)
    }

    /// Recorded changes since the last call, by kind; call it after the commit.
    pub(super) fn take_changes(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.changes)
    }

    pub(super) fn rolled_back(&mut self) {
        self.observed = StateCounts::default();
        self.changes.clear();
        // Lists need not be undone: the batch is applied again.
        self.churn.rolled_back();
        self.folded.rolled_back();
        self.kinds.clear();
    }
}

/// Applies what the watch of a kind shows, within a transaction of the caller.
pub(super) struct TrackedApplier<'a> {
    pub(super) conn: &'a Connection,
    pub(super) rows: &'a mut Rows,
    pub(super) state: &'a mut TrackedState,
    pub(super) watch: WatchId,
    pub(super) kind: &'a TrackedKind,
    /// The watched namespace; empty for all.
    pub(super) namespace: &'a str,
    /// When the position of the watch was last confirmed to be current.
    pub(super) confirmed_at: Option<Timestamp>,
}

impl TrackedApplier<'_> {
    pub(super) fn apply(&mut self, event: &TrackedEvent) -> rusqlite::Result<()> {
        let before = self.state.observed.total();
        self.apply_event(event)?;
        let states = u64::from(event.is_state());
        self.state.observed.complete_item(states, before);
        Ok(())
    }

    fn apply_event(&mut self, event: &TrackedEvent) -> rusqlite::Result<()> {
        match event {
            TrackedEvent::ListBegins { cause, at } => {
                let lists = &mut self.state.lists;
                lists.begin(self.watch, *cause, self.confirmed_at, *at);
                Ok(())
            }
            TrackedEvent::Undecodable {
                namespace,
                name,
                at,
            } => {
                self.mark_shown(namespace.as_str(), name.as_str());
                // In a list, it may have been so since the last time when the watch was current.
                let at = self.list().and_then(|list| list.from).unwrap_or(*at);
                let kind = self.kind_id()?;
                let table = TrackedObjectTable::of(self.conn);
                table.mark_unread(kind, namespace.as_str(), name.as_str(), at)?;
                self.note(Observed::Skipped);
                Ok(())
            }
            TrackedEvent::Applied(object) => self.applied(object),
            TrackedEvent::Deleted(object) => {
                let kind = self.kind_id()?;
                let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
                let stored = TrackedObjectTable::of(self.conn).find(kind, namespace, name)?;
                match stored {
                    Some(mut stored) if stored.deleted.is_none() && stored.uid == object.uid => {
                        let end = End {
                            finished: object.finished,
                            has_ended: object.has_ended,
                            had_ended: object.has_ended && had_ended(self.conn, namespace, name)?,
                            is_seen: true,
                        };
                        if stored.deletion.is_none() {
                            stored.siblings = self.siblings(&stored, object)?;
                        }
                        stored.note_end(object);
                        let when = When {
                            at: object.received,
                            from: (object.origin != Origin::Live)
                                .then(|| self.last_seen(object.origin, stored.seen)),
                            observed_late: object.origin != Origin::Live,
                        };
                        self.deleted(stored, (namespace, name), &object.version, when, end)
                    }
                    _ => {
                        self.note(Observed::Stale);
                        Ok(())
                    }
                }
            }
            TrackedEvent::ListEnds { version } => self.list_ends(version),
        }
    }

    fn note(&mut self, outcome: Observed) {
        self.state.observed.add(outcome);
    }

    /// `is_thin`: a state has no revision of its own.
    fn note_folded(
        &mut self,
        namespace: &str,
        folding: Option<&Folding>,
        is_thin: bool,
        at: Timestamp,
    ) {
        if let Some(folding) = folding.filter(|folding| folding.is_over) {
            let folded = &mut self.state.folded;
            folded.add(namespace, folding.outcome, is_thin, at);
        }
    }

    fn kind_id(&mut self) -> rusqlite::Result<i64> {
        if let Some(id) = self.state.kinds.get(&self.watch) {
            return Ok(*id);
        }
        let id = TrackedObjectTable::of(self.conn).kind(self.kind)?;
        self.state.kinds.insert(self.watch, id);
        Ok(id)
    }

    fn mark_shown(&mut self, namespace: &str, name: &str) {
        self.state.lists.mark_shown(self.watch, namespace, name);
    }

    fn list(&self) -> Option<&ListInProgress> {
        self.state.lists.get(self.watch)
    }

    /// The objects that a complete list did not show were deleted.
    fn list_ends(&mut self, version: &ResourceVersion) -> rusqlite::Result<()> {
        let table = TrackedObjectTable::of(self.conn);
        let kind = self.kind_id()?;
        let (mut namespace, mut name) = (String::new(), String::new());
        loop {
            let after = (&*namespace, &*name);
            let found = table.existing_after(kind, self.namespace, after, CHUNK)?;
            let Some(last) = found.last() else { break };
            (namespace, name) = last.clone();
            for (namespace, name) in found {
                let Some(list) = self.list() else {
                    return Ok(());
                };
                if self.state.lists.is_shown(list, &namespace, &name) {
                    continue;
                }
                let (at, is_regressed) = (list.at, list.is_regressed());
                if let Some(stored) = table.find(kind, &namespace, &name)?
                    && (is_regressed || !version.is_older_than(&stored.version))
                {
                    let when = When {
                        at,
                        from: Some(self.last_seen(Origin::List, stored.seen)),
                        observed_late: true,
                    };
                    self.deleted(stored, (&namespace, &name), version, when, End::default())?;
                }
            }
        }
        self.report_incomparable()?;
        self.state.lists.end(self.watch);
        Ok(())
    }

    fn applied(&mut self, object: &ObservedObject) -> rusqlite::Result<()> {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        if object.origin == Origin::List {
            self.mark_shown(namespace, name);
        }
        let table = TrackedObjectTable::of(self.conn);
        let kind = self.kind_id()?;
        match table.find(kind, namespace, name)? {
            Some(stored) if stored.deleted.is_none() && stored.uid == object.uid => {
                self.changed(kind, stored, object)
            }
            Some(stored) => {
                let is_stale = object.version.is_older_than(&stored.version)
                    && self.list().is_none_or(|list| !list.is_regressed());
                if is_stale {
                    self.note(Observed::Stale); // the list is older than what the watch showed
                    return Ok(());
                }
                if stored.deleted.is_none() {
                    // Deleted and created again while nothing was observed.
                    let when = When {
                        at: object.created.unwrap_or(object.received),
                        from: Some(self.last_seen(object.origin, stored.seen)),
                        observed_late: true,
                    };
                    self.deleted(
                        stored,
                        (namespace, name),
                        &object.version,
                        when,
                        End::default(),
                    )?;
                }
                let stored = table.find(kind, namespace, name)?;
                self.created(kind, stored, object)
            }
            None => self.created(kind, None, object),
        }
    }
}

/// What is stored of the objects of a kind that exist.
#[derive(Debug, Default)]
pub struct StoredVersions {
    pub objects: Vec<(Uid, ResourceVersion)>,
    /// That with the highest version.
    pub newest: Option<NewestObject>,
    /// The forms of their bodies.
    pub forms: Vec<u64>,
}

/// The objects of a resource (group and plural) that exist, in a namespace or (empty) in all.
pub(super) fn stored_versions(
    conn: &Connection,
    resource: (&str, &str),
    namespace: &str,
) -> rusqlite::Result<StoredVersions> {
    let table = TrackedObjectTable::of(conn);
    match table.known_resource(resource)? {
        Some(kind) => Ok(StoredVersions {
            objects: table.versions(kind, namespace)?,
            newest: table.newest(kind, namespace)?,
            forms: table.forms(kind, namespace)?,
        }),
        None => Ok(StoredVersions::default()),
    }
}

/// Changes since a time that can break pods; those of a namespace in order.
pub(super) fn recent_changes(
    conn: &Connection,
    since: Timestamp,
) -> rusqlite::Result<Vec<BreakingChange>> {
    // The newest of each namespace, so that none displaces those of another.
    let kinds: Vec<String> = breaking_kinds().map(|kind| format!("'{kind}'")).collect();
    let mut found = conn.prepare(&format!(
        "SELECT key, last_offset_ms, kind, namespace, name, title, extra FROM (\
           SELECT e.key, e.last_offset_ms, s.kind, s.namespace, o.name, c.title, e.extra, \
             row_number() OVER (PARTITION BY s.namespace ORDER BY e.key DESC) AS n \
           FROM event e JOIN object o ON o.id = e.object JOIN scope s ON s.id = o.scope \
             JOIN event_class c ON c.id = e.class \
           WHERE e.key >= ?1 AND e.type = 6 AND s.kind IN ({})) \
         WHERE n <= ?2 ORDER BY key",
        kinds.join(", ")
    ))?;
    let first = EventKey::new(since.second(), 0).as_i64();
    let changes = found.query_map((first, READ_OF_NAMESPACE_MAX), |row| {
        let object = ObjectRef {
            kind: row.get(2)?,
            namespace: row.get(3)?,
            name: row.get(4)?,
        };
        let created = EventKey::from_i64(row.get(0)?).created_at();
        let offset = Duration::from_millis(row.get::<_, i64>(1)?.max(0).cast_unsigned());
        let (title, extra): (String, Option<String>) = (row.get(5)?, row.get(6)?);
        let extra = extra.and_then(|text| serde_json::from_str(&text).ok());
        let extra: Map<String, Value> = extra.unwrap_or_default();
        Ok(breaking(&object, &title, &extra, created.plus(offset)))
    })?;
    let mut recent = RecentChanges::default();
    for change in changes.filter_map(Result::transpose) {
        recent.note(change?);
    }
    Ok(recent.into_changes().collect())
}

/// Rows of one namespace that are read for its recent changes; rows of scalings and of metadata are among them.
const READ_OF_NAMESPACE_MAX: i64 = 10 * RecentChanges::NAMESPACE_MAX as i64;
