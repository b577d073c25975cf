//! The lists of tracked kinds that are in progress.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use kube9_ingest::maps::Set;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};

/// The lists in progress.
#[derive(Debug, Default)]
pub(super) struct TrackedLists {
    hash: RandomState,
    all: BTreeMap<WatchId, ListInProgress>,
}

/// A list.
#[derive(Debug)]
pub(super) struct ListInProgress {
    pub(super) cause: RelistCause,
    /// What it shows happened after this.
    pub(super) from: Option<Timestamp>,
    pub(super) at: Timestamp,
    /// Hashes of namespace and name.
    shown: Set<u64>,
    /// The same, of objects that changed and whose stored body has another form.
    incomparable: Set<u64>,
    /// Deleted with the next commit: a batch may be applied again.
    has_ended: bool,
}

impl ListInProgress {
    /// It shows the first objects of its kind that are recorded.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.cause, RelistCause::FirstStart | RelistCause::Replaced)
    }

    /// Objects that changed and cannot be compared.
    pub(super) fn incomparable(&self) -> usize {
        self.incomparable.len()
    }

    /// The API server has another history: versions say nothing about the order.
    pub(super) fn is_regressed(&self) -> bool {
        self.cause == RelistCause::Regressed
    }
}

impl TrackedLists {
    pub(super) fn begin(
        &mut self,
        watch: WatchId,
        cause: RelistCause,
        from: Option<Timestamp>,
        at: Timestamp,
    ) {
        let list = ListInProgress {
            cause,
            from,
            at,
            shown: Set::default(),
            incomparable: Set::default(),
            has_ended: false,
        };
        self.all.insert(watch, list);
    }

    pub(super) fn get(&self, watch: WatchId) -> Option<&ListInProgress> {
        self.all.get(&watch)
    }

    /// The list of a watch shows an object.
    pub(super) fn mark_shown(&mut self, watch: WatchId, namespace: &str, name: &str) {
        let hash = self.hash.hash_one((namespace, name));
        if let Some(list) = self.all.get_mut(&watch) {
            list.shown.insert(hash);
        }
    }

    /// An object changed, and its stored body has another form.
    pub(super) fn mark_incomparable(&mut self, watch: WatchId, namespace: &str, name: &str) {
        let hash = self.hash.hash_one((namespace, name));
        if let Some(list) = self.all.get_mut(&watch) {
            list.incomparable.insert(hash);
        }
    }

    pub(super) fn is_shown(&self, list: &ListInProgress, namespace: &str, name: &str) -> bool {
        list.shown.contains(&self.hash.hash_one((namespace, name)))
    }

    pub(super) fn end(&mut self, watch: WatchId) {
        if let Some(list) = self.all.get_mut(&watch) {
            list.has_ended = true;
        }
    }

    /// Call it after the commit.
    pub(super) fn committed(&mut self) {
        self.all.retain(|_, list| !list.has_ended);
    }
}
