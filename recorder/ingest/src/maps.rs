//! Hash maps whose keys come from the cluster.
//!
//! A change of an object hashes dozens of them: the standard library's SipHash took a quarter of its instructions.
//! Foldhash is seeded at random for each process and each map, so an
//! attacker cannot choose names that collide without seeing hashes, which never leave the process. Anyone who can create
//! ten thousand objects has simpler ways to cause load.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::RandomState;

pub type Map<K, V> = HashMap<K, V, RandomState>;

pub type Set<K> = HashSet<K, RandomState>;

/// Returns memory after many removals; keeps twice the capacity that is used.
pub fn trim<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.capacity() > 4 * map.len() + 64 {
        map.shrink_to(2 * map.len());
    }
}
