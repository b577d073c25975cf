//! What is seen as it is: the informers, and of which kinds the world is current.
//!
//! ```text
//!   blind ── list complete, watch open ──▶ settling ── THAW ──▶ ready ── watch cut, forbidden ──▶ blind
//! ```
//!
//! A rule runs only while every kind that it reads is ready: until then its findings are frozen.

use std::time::Duration;

use kube9_ingest::maps::{Map, Set, trim};
use kube9_ingest::objects::Object;
use kube9_model::label::{Kind, Label};
use kube9_model::resume::Remembered;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};

use super::changes::{ObjectSnapshot, UnobservedInterval};
use super::subject::{ObjectKey, key, split};

/// How long after a reconnect the rules wait: what happened meanwhile arrives first.
const UNSUSPEND_DELAY: Duration = Duration::from_secs(2);

/// Shortest time between two notes that a view is current, where no change was recorded in between.
const CONFIRM_EVERY: Duration = Duration::from_secs(5);

/// One informer, as the analysis knows it.
#[derive(Debug)]
pub(super) struct InformerView {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    /// What is stored of its objects.
    pub(super) snapshots: Map<ObjectKey, ObjectSnapshot>,
    /// What the list under way has shown.
    pub(super) listing: Option<Set<ObjectKey>>,
    /// Changes that the list under way shows happened in this time; `None`: nothing counts as a change.
    unobserved: Option<UnobservedInterval>,
    /// Nothing of its kind was ever recorded: what it lists is not news.
    pub(super) first: bool,
    synced: bool,
    connected_since: Option<Timestamp>,
    /// When the view was last proven to be current.
    current: Option<Timestamp>,
    /// Of that, what was noted in the database.
    noted: Option<Timestamp>,
    /// A change was recorded since.
    pub(super) changed: bool,
    /// Since when what the watch tells happened while the recorder was away: it goes on from the stored position.
    resumed: Option<Timestamp>,
    /// The last list was of the stored position: it shows what is stored, not what is current.
    is_resuming: bool,
    /// The watch reads what happened before it was opened.
    pub(super) reads_backlog: bool,
}

/// All informers, and the kinds.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    sources: Map<WatchId, InformerView>,
    /// Since when every watch of Events is open; they have a source of their own.
    events: Option<Timestamp>,
    /// Kinds that are seen as they are, by their index.
    ready: [bool; 6],
    /// Kinds that are not: since when.
    not_ready_since: [Option<Timestamp>; 6],
}

impl InformerView {
    /// The list under way, if one is, shows what is known under that key. What is not known cannot be missed.
    pub(super) fn mark_listed(&mut self, key: &ObjectKey) {
        if let Some(listing) = &mut self.listing
            && let Some((key, _)) = self.snapshots.get_key_value(key)
        {
            listing.insert(key.clone());
        }
    }

    /// A list begins.
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

    /// The list is complete; what it did not show, and in which time that went.
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

    /// Whether it goes on from the stored position: then its list shows what is stored, and there is no gap.
    pub(super) fn is_resuming(&self) -> bool {
        self.is_resuming
    }

    /// Whether what is seen now happened while the recorder was away: in a list after that time, in what a resumed watch tells
    /// first, and in a backlog, however long it takes to read.
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

    /// The resourceVersion that a watch has reached with this object; in a list it says nothing.
    pub(super) fn resource_version_of(&self, object: &Object) -> Option<String> {
        self.listing
            .is_none()
            .then(|| object.meta().version.to_string())
    }

    /// Everything was seen by then. Returns whether that is worth a note in the database: a gap that follows begins there.
    pub(super) fn confirm(&mut self, at: Timestamp) -> bool {
        self.current = self.current.max(Some(at));
        // After a clock that was ahead, too: the position must not stand still until it is that late again.
        let is_due = |noted| at.since(noted) >= CONFIRM_EVERY || at < noted;
        let is_due = self.noted.is_none_or(is_due) || std::mem::take(&mut self.changed);
        if is_due {
            self.noted = Some(at);
        }
        is_due
    }

    /// The watch is open.
    pub(super) fn connected(&mut self, now: Timestamp) {
        self.connected_since.get_or_insert(now);
    }
}

impl Freshness {
    /// Adds an informer; says how its first list begins.
    pub(super) fn add(
        &mut self,
        watch: WatchId,
        kind: Kind,
        namespace: &str,
        stored: Remembered,
    ) -> RelistCause {
        let first = stored.proven.is_none();
        let snapshots = stored.facts.into_iter().filter_map(|(name, facts)| {
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
            current: stored.proven,
            noted: stored.proven,
            changed: false,
            resumed: None,
            is_resuming: false,
            reads_backlog: false,
        };
        if let Some(proven) = stored.proven {
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

    /// All informers.
    pub(super) fn watches(&self) -> impl Iterator<Item = WatchId> {
        self.sources.keys().copied()
    }

    /// Forgets what is known of the objects of a namespace; returns them.
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

    /// The informer of a watch.
    pub(super) fn source(&mut self, watch: WatchId) -> Option<&mut InformerView> {
        self.sources.get_mut(&watch)
    }

    /// An informer sees nothing until it lives again.
    pub(super) fn disconnected(&mut self, watch: WatchId, now: Timestamp) {
        if let Some(source) = self.sources.get_mut(&watch) {
            source.connected_since = None;
            self.not_ready_since[source.kind.index()].get_or_insert(now);
        }
    }

    /// Whether every watch of Events is open.
    pub(super) fn events_are_watched(&mut self, watched: bool, now: Timestamp) {
        if watched {
            self.events.get_or_insert(now);
        } else {
            self.events = None;
            self.not_ready_since[Kind::Event.index()].get_or_insert(now);
        }
    }

    /// Whether a kind is seen as it is.
    pub(super) fn is_ready(&self, kind: Kind) -> bool {
        self.ready[kind.index()]
    }

    /// Notes which kinds are seen as they are; returns those that were not until now, and since when.
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
