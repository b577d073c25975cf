//! Which objects of a kind there are, and in which version: enough to compare them with a list at the same position.
//!
//! Cost: two numbers an object, beside the 20 KiB of a large pod.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use kube9_ingest::maps::Map;

/// Objects beyond which nothing is held: an attacker chooses how many there are. Of 100,000 it is 4 MiB at most.
const OBJECTS_MAX: usize = 100_000;

/// The objects that a watch has shown.
#[derive(Debug, Default)]
pub struct Held {
    hash: RandomState,
    /// Hash of the uid, hash of the resourceVersion.
    versions: Map<u64, u64>,
    /// They are all that there are.
    is_whole: bool,
}

impl Held {
    /// A list begins.
    pub(super) fn list_begins(&mut self) {
        self.versions = Map::default();
        self.is_whole = true;
    }

    /// The object is there.
    pub(super) fn is(&mut self, uid: &str, version: &str) {
        let (uid, version) = (self.hash.hash_one(uid), self.hash.hash_one(version));
        if self.is_whole {
            self.versions.insert(uid, version);
        }
        if self.versions.len() > OBJECTS_MAX {
            self.is_unknown();
        }
    }

    /// The object is deleted.
    pub(super) fn is_gone(&mut self, uid: &str) {
        self.versions.remove(&self.hash.hash_one(uid));
    }

    /// Something happened that is not known: until the next list nothing can be compared.
    pub(super) fn is_unknown(&mut self) {
        self.versions = Map::default();
        self.is_whole = false;
    }

    /// How many there are, where that is known.
    pub fn number(&self) -> Option<usize> {
        self.is_whole.then_some(self.versions.len())
    }

    /// Whether the object is there in that version.
    pub fn has(&self, uid: &str, version: &str) -> bool {
        let held = self.versions.get(&self.hash.hash_one(uid));
        held == Some(&self.hash.hash_one(version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_known_by_uid_and_version_until_something_unknown_happens() {
        let mut held = Held::default();
        assert_eq!(held.number(), None, "nothing was listed yet");
        held.list_begins();
        held.is("a", "1");
        held.is("b", "2");
        held.is("a", "3");
        held.is_gone("b");
        assert_eq!(held.number(), Some(1));
        assert!(held.has("a", "3"));
        assert!(!held.has("a", "1"));
        assert!(!held.has("b", "2"));
        held.is_unknown();
        held.is("c", "4");
        assert_eq!(held.number(), None);
    }

    #[test]
    fn more_objects_than_the_bound_are_not_held() {
        let mut held = Held::default();
        held.list_begins();
        for n in 0..=OBJECTS_MAX {
            held.is(&n.to_string(), "1");
        }
        assert_eq!((held.number(), held.versions.capacity()), (None, 0));
    }
}
