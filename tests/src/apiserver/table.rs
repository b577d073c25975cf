//! The objects of one kind: versions by key, and the log of changes.
//!
//! Invariant: the log and the version chains hold the same changes, and both are compacted at the same revision.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::object::Object;

/// How an object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// Deleted.
    Deleted,
}

impl Action {
    /// As in a watch event's `type`.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change in a kind's log.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) action: Action,
    pub(super) object: Arc<Object>,
}

/// Versions of a key, oldest first; `None` is a deletion.
pub(super) type Chain = Vec<(u64, Option<Arc<Object>>)>;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) chains: BTreeMap<Arc<str>, Chain>,
    pub(super) log: VecDeque<Change>,
    pub(super) live: usize,
}

impl Table {
    pub(super) fn current(&self, key: &str) -> Option<&Arc<Object>> {
        self.chains.get(key)?.last()?.1.as_ref()
    }

    pub(super) fn push(&mut self, key: Arc<str>, action: Action, object: Arc<Object>) {
        let version = object.version;
        match action {
            Action::Added => self.live += 1,
            Action::Deleted => self.live -= 1,
            Action::Modified => {}
        }
        let stored = (action != Action::Deleted).then(|| Arc::clone(&object));
        self.chains.entry(key).or_default().push((version, stored));
        self.log.push_back(Change {
            version,
            action,
            object,
        });
    }

    /// Drops versions visible only before `revision`.
    pub(super) fn compact(&mut self, revision: u64) {
        while self.log.front().is_some_and(|c| c.version <= revision) {
            let Some(change) = self.log.pop_front() else {
                break;
            };
            let key = change.object.key();
            if let Some(chain) = self.chains.get_mut(key.as_str()) {
                let visible = chain
                    .partition_point(|(v, _)| *v <= revision)
                    .saturating_sub(1);
                chain.drain(..visible);
                if chain.len() == 1 && chain[0].1.is_none() {
                    self.chains.remove(key.as_str());
                }
            }
        }
    }

    /// Undoes everything after `revision`.
    pub(super) fn roll_back(&mut self, revision: u64) {
        for change in self.log.iter().rev().take_while(|c| c.version > revision) {
            let key = change.object.key();
            if let Some(chain) = self.chains.get_mut(key.as_str()) {
                chain.retain(|(v, _)| *v <= revision);
                if chain.is_empty() {
                    self.chains.remove(key.as_str());
                }
            }
        }
        while self.log.back().is_some_and(|c| c.version > revision) {
            self.log.pop_back();
        }
        self.live = self
            .chains
            .values()
            .filter(|c| c.last().is_some_and(|v| v.1.is_some()))
            .count();
    }
}
