//! Which kinds the world shows in their current state, by the state of their informers.
//!
//! ```text
//!   not ready ── list complete, watch open for UNSUSPEND_DELAY ──▶ ready ── watch lost or forbidden ──▶ not ready
//! ```
//!
//! A rule runs only while every kind that it reads is ready. Until then, its findings are suspended.

use std::time::Duration;

use kube9_ingest::maps::{Map, Set, trim};
use kube9_ingest::objects::Object;
use kube9_model::label::{Kind, Label};
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};

use super::changes::{ObjectSnapshot, UnobservedInterval};
use super::subject::{ObjectKey, key, split};

/// How long the rules wait after a reconnect, so that the missed changes arrive first.
const UNSUSPEND_DELAY: Duration = Duration::from_secs(2);

/// Shortest time between two stored confirmations without a recorded change in between.
const CONFIRM_EVERY: Duration = Duration::from_secs(5);

/// The state of one informer.
#[derive(Debug)]
pub(super) struct InformerView {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) snapshots: Map<ObjectKey, ObjectSnapshot>,
    /// Objects that the current list has shown; `None` outside a list.
    pub(super) listing: Option<Set<ObjectKey>>,
    /// The interval in which changes that the current list shows happened.
    unobserved: Option<UnobservedInterval>,
    /// Nothing of its kind was ever recorded, so objects in its list are not changes.
    pub(super) first: bool,
    synced: bool,
    connected_since: Option<Timestamp>,
    /// When it was last confirmed that all changes were seen.
    current: Option<Timestamp>,
    /// The last confirmation that was stored.
    noted: Option<Timestamp>,
    /// A change was recorded since the last stored confirmation.
    pub(super) changed: bool,
    /// Set while a resumed watch delivers changes that happened since then, while the recorder was down.
    resumed: Option<Timestamp>,
    /// The last list was at the stored resourceVersion: it shows the stored state, not the current one.
    is_resuming: bool,
    /// The watch delivers changes from before it was opened.
    pub(super) reads_backlog: bool,
}

#[derive(Debug, Default)]
pub(super) struct Freshness {
    sources: Map<WatchId, InformerView>,
    /// Since when every watch of Events is open. Events have no informer.
    events: Option<Timestamp>,
    /// By kind.
    ready: [bool; Kind::ALL.len()],
    /// By kind.
    not_ready_since: [Option<Timestamp>; Kind::ALL.len()],
}

impl InformerView {
    /// Marks a known object as shown by the current list.
    pub(super) fn mark_listed(&mut self, key: &ObjectKey) {
        if let Some(listing) = &mut self.listing
            && let Some((key, _)) = self.snapshots.get_key_value(key)
        {
            listing.insert(key.clone());
        }
    }

    pub(super) fn list_begins(&mut self, cause: RelistCause, now: Timestamp) {
        self.listing = Some(Set::default());
        self.first = cause == RelistCause::FirstStart;
        self.is_resuming = cause == RelistCause::Resumed;
        self.reads_backlog = false;
        if self.is_resuming {
            (self.resumed, self.unobserved) = (self.current, None);
            return;
        }
        self.resumed = None;
        self.unobserved = (!self.first).then(|| UnobservedInterval {
            from: self.current.unwrap_or(now).min(now),
            to: now,
        });
    }

    /// The list is complete. Returns the objects that it did not show, and the interval in which they were deleted.
    pub(super) fn list_ends(
        &mut self,
        proven: Timestamp,
    ) -> (Vec<ObjectKey>, Option<UnobservedInterval>) {
        let shown = self.listing.take().unwrap_or_default();
        let missing = self.snapshots.keys().filter(|key| !shown.contains(*key));
        let missing = missing.cloned().collect();
        (self.synced, self.first) = (true, false);
        if !self.is_resuming {
            self.current = Some(proven);
        }
        (missing, self.unobserved.take())
    }

    /// Whether it resumes from the stored resourceVersion: then its list shows the stored state, without a gap.
    pub(super) fn is_resuming(&self) -> bool {
        self.is_resuming
    }

    /// The interval in which a change that arrives now happened, if it was not observed: after a list, at the beginning of
    /// a resumed watch, and in a backlog.
    pub(super) fn unobserved_interval(&mut self, now: Timestamp) -> Option<UnobservedInterval> {
        if self
            .connected_since
            .is_some_and(|since| now.since(since) >= UNSUSPEND_DELAY)
        {
            self.resumed = None;
        }
        let behind = self.current.filter(|_| self.reads_backlog);
        let from = self.resumed.or(behind).map(|from| from.min(now));
        self.unobserved
            .or(from.map(|from| UnobservedInterval { from, to: now }))
    }

    /// The resourceVersion that the watch has reached with this object; `None` in a list.
    pub(super) fn resource_version_of(&self, object: &Object) -> Option<String> {
        self.listing
            .is_none()
            .then(|| object.meta().version.to_string())
    }

    /// All changes until then were seen. Returns whether to store it: a following gap begins there.
    pub(super) fn confirm(&mut self, at: Timestamp) -> bool {
        self.current = self.current.max(Some(at));
        // Also after the clock was set back: otherwise no confirmation would be stored until it reaches the old time.
        let is_due = |noted| at.since(noted) >= CONFIRM_EVERY || at < noted;
        let is_due = self.noted.is_none_or(is_due) || std::mem::take(&mut self.changed);
        if is_due {
            self.noted = Some(at);
        }
        is_due
    }

    pub(super) fn connected(&mut self, now: Timestamp) {
        self.connected_since.get_or_insert(now);
    }
}

impl Freshness {
    /// Adds an informer; returns the cause of its first list.
    pub(super) fn add(
        &mut self,
        watch: WatchId,
        kind: Kind,
        namespace: &str,
        stored: StoredObjects,
    ) -> RelistCause {
        let first = stored.confirmed_at.is_none();
        let snapshots = stored.snapshots.into_iter().filter_map(|(name, facts)| {
            let (namespace, name) = split(&name);
            let key = key(kind.name(), namespace, name);
            Some((key, serde_json::from_str(&facts).ok()?))
        });
        let source = InformerView {
            kind,
            namespace: namespace.to_owned(),
            snapshots: snapshots.collect(),
            listing: None,
            unobserved: None,
            first,
            synced: false,
            connected_since: None,
            current: stored.confirmed_at,
            noted: stored.confirmed_at,
            changed: false,
            resumed: None,
            is_resuming: false,
            reads_backlog: false,
        };
        if let Some(proven) = stored.confirmed_at {
            let since = &mut self.not_ready_since[kind.index()];
            *since = Some(since.map_or(proven, |since| since.min(proven)));
        }
        self.sources.insert(watch, source);
        if first {
            RelistCause::FirstStart
        } else {
            RelistCause::Interrupted
        }
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = WatchId> {
        self.sources.keys().copied()
    }

    /// Removes the objects of a namespace; returns them.
    pub(super) fn forget(&mut self, namespace: &str) -> Vec<(Kind, WatchId, ObjectKey)> {
        let mut forgotten = Vec::new();
        for (watch, source) in &mut self.sources {
            let keys = source.snapshots.keys();
            let keys = keys.filter(|key| key.namespace == namespace);
            for key in keys.cloned().collect::<Vec<_>>() {
                source.snapshots.remove(&key);
                if let Some(listing) = &mut source.listing {
                    listing.remove(&key);
                }
                forgotten.push((source.kind, *watch, key));
            }
            trim(&mut source.snapshots);
        }
        forgotten
    }

    pub(super) fn source(&mut self, watch: WatchId) -> Option<&mut InformerView> {
        self.sources.get_mut(&watch)
    }

    /// The watch is closed.
    pub(super) fn disconnected(&mut self, watch: WatchId, now: Timestamp) {
        if let Some(source) = self.sources.get_mut(&watch) {
            source.connected_since = None;
            self.not_ready_since[source.kind.index()].get_or_insert(now);
        }
    }

    /// Sets whether every watch of Events is open.
    pub(super) fn events_are_watched(&mut self, watched: bool, now: Timestamp) {
        if watched {
            self.events.get_or_insert(now);
        } else {
            self.events = None;
            self.not_ready_since[Kind::Event.index()].get_or_insert(now);
        }
    }

    pub(super) fn is_ready(&self, kind: Kind) -> bool {
        self.ready[kind.index()]
    }

    /// Updates which kinds are ready; returns those that became ready, and since when they were not.
    pub(super) fn refresh(&mut self, now: Timestamp) -> Vec<(Kind, Option<Timestamp>)> {
        let mut now_ready = Vec::new();
        for &kind in Kind::ALL {
            let stable_at =
                |since: Option<Timestamp>| since.is_some_and(|at| now.since(at) >= UNSUSPEND_DELAY);
            let is_ready = if kind == Kind::Event {
                stable_at(self.events)
            } else {
                let mut sources = self.sources.values().filter(|s| s.kind == kind).peekable();
                sources.peek().is_some()
                    && sources.all(|s| s.synced && stable_at(s.connected_since))
            };
            let was_ready = std::mem::replace(&mut self.ready[kind.index()], is_ready);
            if is_ready && !was_ready {
                now_ready.push((kind, self.not_ready_since[kind.index()].take()));
            }
        }
        now_ready
    }
}
