//! Estimated memory by namespace, so that one namespace cannot use all of it.
//!
//! Invariant: the bytes that are subtracted for an object are computed from the same state as those that were added, so
//! that nothing remains when the object is removed.

use kube9_ingest::maps::Map;

/// Bytes by namespace. Cluster-scoped objects count for the namespace ''.
#[derive(Debug, Default)]
pub struct Ledger {
    held: Map<Box<str>, usize>,
    total: usize,
}

impl Ledger {
    pub fn add(&mut self, namespace: &str, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.total += bytes;
        match self.held.get_mut(namespace) {
            Some(held) => *held += bytes,
            None => _ = self.held.insert(namespace.into(), bytes),
        }
    }

    pub fn sub(&mut self, namespace: &str, bytes: usize) {
        let Some(held) = self.held.get_mut(namespace) else {
            return;
        };
        let bytes = bytes.min(*held);
        *held -= bytes;
        self.total -= bytes;
        if *held == 0 {
            self.held.remove(namespace);
        }
    }

    pub fn of(&self, namespace: &str) -> usize {
        self.held.get(namespace).copied().unwrap_or(0)
    }

    pub const fn total(&self) -> usize {
        self.total
    }

    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.held.keys().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_is_empty_after_all_bytes_are_subtracted() {
        let mut ledger = Ledger::default();
        ledger.add("a", 5);
        ledger.add("b", 7);
        ledger.add("a", 1);
        assert_eq!((ledger.of("a"), ledger.total()), (6, 13));
        ledger.sub("a", 6);
        ledger.sub("b", 7);
        ledger.sub("c", 7);
        assert_eq!((ledger.of("a"), ledger.total()), (0, 0));
        assert_eq!(ledger.namespaces().count(), 0);
    }
}
