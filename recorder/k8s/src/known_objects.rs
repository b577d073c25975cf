//! The uid and version of every object of a kind: enough to compare the known objects with a list at the same position.
//!
//! Cost: two numbers per object, compared with the 20 KiB of a large pod.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use kube9_ingest::maps::Map;

/// Above this number nothing is tracked, because an attacker chooses the number of objects. 100,000 objects need at most
/// 4 MiB.
const OBJECTS_MAX: usize = 100_000;

/// The objects that a watcher has received.
#[derive(Debug, Default)]
pub struct KnownObjects {
    hash: RandomState,
    /// Hash of the uid, hash of the resourceVersion.
    versions: Map<u64, u64>,
    /// Whether they are all objects that exist.
    is_complete: bool,
}

impl KnownObjects {
    /// A list starts.
    pub(super) fn reset(&mut self) {
        self.versions = Map::default();
        self.is_complete = true;
    }

    /// The object exists in this version.
    pub(super) fn insert(&mut self, uid: &str, version: &str) {
        let (uid, version) = (self.hash.hash_one(uid), self.hash.hash_one(version));
        if self.is_complete {
            self.versions.insert(uid, version);
        }
        if self.versions.len() > OBJECTS_MAX {
            self.invalidate();
        }
    }

    /// The object was deleted.
    pub(super) fn remove(&mut self, uid: &str) {
        self.versions.remove(&self.hash.hash_one(uid));
    }

    /// An unknown object changed: nothing can be compared before the next list.
    pub(super) fn invalidate(&mut self) {
        self.versions = Map::default();
        self.is_complete = false;
    }

    /// The number of objects; `None` if it is unknown.
    pub fn count(&self) -> Option<usize> {
        self.is_complete.then_some(self.versions.len())
    }

    /// Whether the object exists in that version.
    pub fn contains(&self, uid: &str, version: &str) -> bool {
        let known = self.versions.get(&self.hash.hash_one(uid));
        known == Some(&self.hash.hash_one(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_compares_uid_and_version_until_invalidated() {
        let mut known = KnownObjects::default();
        assert_eq!(known.count(), None, "nothing was listed yet");
        known.reset();
        known.insert("a", "1");
        known.insert("b", "2");
        known.insert("a", "3");
        known.remove("b");
        assert_eq!(known.count(), Some(1));
        assert!(known.contains("a", "3"));
        assert!(!known.contains("a", "1"));
        assert!(!known.contains("b", "2"));
        known.invalidate();
        known.insert("c", "4");
        assert_eq!(known.count(), None);
    }

    #[test]
    fn insert_beyond_the_bound_forgets_everything() {
        let mut known = KnownObjects::default();
        known.reset();
        for n in 0..=OBJECTS_MAX {
            known.insert(&n.to_string(), "1");
        }
        assert_eq!((known.count(), known.versions.capacity()), (None, 0));
    }
}
