//! Who mounts the token of a namespace's default service account: kept as pods come and go, since a namespace may have
//! thousands of pods, and each that comes or goes has the rule look at it.

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::maps::Map;
use kube9_model::time::Timestamp;

use super::entry::PodEntry;
use crate::subject::{ObjectKey, Subject};

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
    /// Each with its pods by the time at which they were created.
    pods: BTreeMap<ObjectKey, BTreeSet<(Timestamp, Box<str>)>>,
    /// The oldest pod of each.
    oldest: BTreeSet<(Timestamp, ObjectKey)>,
}

impl Mounting {
    /// The controllers, in order.
    pub fn controllers(&self) -> impl ExactSizeIterator<Item = &ObjectKey> {
        self.pods.keys()
    }

    /// Since when the oldest pod does.
    pub fn since(&self) -> Option<Timestamp> {
        self.oldest.first().map(|(since, _)| *since)
    }

    /// Has `change` change the pods of a controller.
    fn change(
        &mut self,
        owner: &ObjectKey,
        change: impl FnOnce(&mut BTreeSet<(Timestamp, Box<str>)>),
    ) {
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

    /// A pod is there, or is like this now; adds whom that concerns to `dirty`.
    pub(super) fn add(&mut self, namespace: &str, entry: &PodEntry, dirty: &mut BTreeSet<Subject>) {
        if !self.counts(entry) {
            return;
        }
        let meta = &entry.pod.meta;
        let all = self.by_namespace.entry(namespace.into()).or_default();
        all.change(&entry.owner, |pods| {
            pods.insert((meta.created, meta.name.clone()));
        });
        dirty.insert(Subject::of_namespace(namespace));
    }

    /// A pod is gone, or no longer like this; adds whom that concerns to `dirty`.
    pub(super) fn remove(
        &mut self,
        namespace: &str,
        entry: &PodEntry,
        dirty: &mut BTreeSet<Subject>,
    ) {
        if !self.counts(entry) {
            return;
        }
        let meta = &entry.pod.meta;
        if let Some(all) = self.by_namespace.get_mut(namespace) {
            all.change(&entry.owner, |pods| {
                pods.remove(&(meta.created, meta.name.clone()));
            });
            if all.pods.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
        dirty.insert(Subject::of_namespace(namespace));
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
