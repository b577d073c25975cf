//! The controllers whose pods mount the token of a default service account. Maintained incrementally, because a
//! namespace may have thousands of pods, and each change of one evaluates the rule.

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::maps::Map;
use kube9_model::time::Timestamp;

use super::entry::PodEntry;
use crate::subject::{ObjectKey, Subject};

/// Controllers by namespace.
#[derive(Debug)]
pub struct DefaultTokens {
    by_namespace: Map<Box<str>, Mounting>,
    /// Whether a pod with these words in `kube9.io/ignore` is left out.
    opts_out: fn(&[Box<str>]) -> bool,
}

/// The controllers of a namespace whose running pods mount the token.
#[derive(Debug, Default)]
pub struct Mounting {
    /// Creation times of the pods of each controller.
    pods: BTreeMap<ObjectKey, BTreeSet<(Timestamp, Box<str>)>>,
    /// The oldest pod of each controller.
    oldest: BTreeSet<(Timestamp, ObjectKey)>,
}

impl Mounting {
    pub fn controllers(&self) -> impl ExactSizeIterator<Item = &ObjectKey> {
        self.pods.keys()
    }

    /// When the oldest of the pods was created.
    pub fn since(&self) -> Option<Timestamp> {
        self.oldest.first().map(|(since, _)| *since)
    }

    /// Applies `change` to the pods of a controller.
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

    /// Adds a pod or its new state; adds the namespace to `dirty` if the rule's result may change.
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

    /// Removes a pod or its old state; adds the namespace to `dirty` if the rule's result may change.
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

    /// Pods of Jobs are left out, because they would open and close the finding by the minute.
    fn counts(&self, entry: &PodEntry) -> bool {
        let pod = &entry.pod;
        pod.spec.mounts_default_token()
            && !pod.phase.is_final()
            && !matches!(&*entry.owner.kind, "Job" | "CronJob")
            && !(self.opts_out)(&pod.meta.ignore)
    }
}
