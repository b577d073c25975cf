//! The hash maps whose keys are names out of the cluster.
//!
//! A change of an object hashes dozens of them: the standard library's SipHash took a quarter of its instructions.
//! Foldhash is seeded at random for each process and each map, so that nobody can choose names that collide without seeing
//! hashes, which never leave the process; and whoever may create objects by the ten thousand has simpler ways to make work.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::RandomState;

/// A hash map.
pub type Map<K, V> = HashMap<K, V, RandomState>;

/// A hash set.
pub type Set<K> = HashSet<K, RandomState>;

/// Gives memory back after much has left the map; what may come soon has room.
pub fn trim<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.capacity() > 4 * map.len() + 64 {
        map.shrink_to(2 * map.len());
    }
}
