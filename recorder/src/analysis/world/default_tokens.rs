//! Who mounts the token of a namespace's default service account: kept as pods come and go, since a namespace may have
//! thousands of pods, and each that comes or goes has the rule look at it.

use std::collections::{BTreeMap, BTreeSet};

use kube9_shared::time::Timestamp;

use super::entry::PodEntry;
use crate::analysis::subject::Name;
use crate::maps::Map;

/// Controllers by namespace.
#[derive(Debug)]
pub struct DefaultTokens {
    by_namespace: Map<Box<str>, Mounting>,
    /// Whether a pod with these words is left out: which words say so is the rule's business.
    opts_out: fn(&[Box<str>]) -> bool,
}

/// The controllers of a namespace whose running pods mount the token.
#[derive(Debug, Default)]
pub struct Mounting {
    /// By name (`Kind/namespace/name`), each with its pods by the time at which they were created.
    pods: BTreeMap<Name, BTreeSet<(Timestamp, Box<str>)>>,
    /// The oldest pod of each.
    oldest: BTreeSet<(Timestamp, Name)>,
}

impl Mounting {
    /// The controllers, by name.
    pub fn controllers(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.pods.keys()
    }

    /// Since when the oldest pod does.
    pub fn since(&self) -> Option<Timestamp> {
        self.oldest.first().map(|(since, _)| *since)
    }

    /// Has `change` change the pods of a controller.
    fn change(&mut self, owner: &Name, change: impl FnOnce(&mut BTreeSet<(Timestamp, Box<str>)>)) {
        let pods = self.pods.entry(owner.clone()).or_default();
        let before = pods.first().map(|(created, _)| *created);
        change(pods);
        let after = pods.first().map(|(created, _)| *created);
        if after.is_none() {
            self.pods.remove(owner);
        }
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.oldest.remove(&(before, owner.clone()));
        }
        if let Some(after) = after {
            self.oldest.insert((after, owner.clone()));
        }
    }
}

impl DefaultTokens {
    /// No pod is there yet.
    pub(super) fn new(opts_out: fn(&[Box<str>]) -> bool) -> Self {
        Self {
            by_namespace: Map::default(),
            opts_out,
        }
    }

    /// The controllers of a namespace whose running pods mount the token.
    pub fn of(&self, namespace: &str) -> Option<&Mounting> {
        self.by_namespace.get(namespace)
    }

    /// Namespaces with such a pod.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.by_namespace.keys().map(|namespace| &**namespace)
    }

    /// A pod is there, or is like this now; says whether it counts.
    pub(super) fn add(&mut self, entry: &PodEntry) -> bool {
        if !self.counts(entry) {
            return false;
        }
        let meta = &entry.pod.meta;
        let all = self.by_namespace.entry(meta.namespace.clone()).or_default();
        all.change(&entry.group, |pods| {
            pods.insert((meta.created, meta.name.clone()));
        });
        true
    }

    /// A pod is gone, or no longer like this; says whether it counted.
    pub(super) fn remove(&mut self, entry: &PodEntry) -> bool {
        if !self.counts(entry) {
            return false;
        }
        let meta = &entry.pod.meta;
        if let Some(all) = self.by_namespace.get_mut(&*meta.namespace) {
            all.change(&entry.group, |pods| {
                pods.remove(&(meta.created, meta.name.clone()));
            });
            if all.pods.is_empty() {
                self.by_namespace.remove(&*meta.namespace);
            }
        }
        true
    }

    /// Pods of Jobs come and go by the minute; those that have ended, or that opt out, are nobody's risk.
    fn counts(&self, entry: &PodEntry) -> bool {
        let pod = &entry.pod;
        pod.spec.mounts_default_token()
            && !pod.phase.is_final()
            && !matches!(&*entry.owner.kind, "Job" | "CronJob")
            && !(self.opts_out)(&pod.meta.ignore)
    }
}
