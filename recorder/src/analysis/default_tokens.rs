//! Who mounts the token of a namespace's default service account: kept as pods come and go, since a namespace may have
//! thousands of pods, and each that comes or goes has the rule look at it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube9_shared::time::Timestamp;

use super::world::{Name, PodEntry, owner_name};

/// A controller's pods by the time at which they were created.
type ByAge = BTreeSet<(Timestamp, Box<str>)>;

/// Controllers by namespace, each with its pods.
#[derive(Debug, Default)]
pub struct DefaultTokens(HashMap<Box<str>, BTreeMap<Name, ByAge>>);

impl DefaultTokens {
    /// Controllers (`Kind/namespace/name`) of a namespace whose running pods mount the token, and since when the oldest of
    /// each does.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = (&Name, Timestamp)> {
        let owners = self.0.get(namespace).into_iter().flatten();
        owners.filter_map(|(owner, pods)| Some((owner, pods.first()?.0)))
    }

    /// Namespaces with such a pod.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|namespace| &**namespace)
    }

    /// A pod is there, or is like this now.
    pub(super) fn add(&mut self, entry: &PodEntry) {
        if !counts(entry) {
            return;
        }
        let meta = &entry.pod.meta;
        let owners = self.0.entry(meta.namespace.clone()).or_default();
        let pods = owners.entry(owner_name(&entry.owner)).or_default();
        pods.insert((meta.created, meta.name.clone()));
    }

    /// A pod is gone, or no longer like this.
    pub(super) fn remove(&mut self, entry: &PodEntry) {
        if !counts(entry) {
            return;
        }
        let meta = &entry.pod.meta;
        let Some(owners) = self.0.get_mut(&*meta.namespace) else {
            return;
        };
        let owner = owner_name(&entry.owner);
        if let Some(pods) = owners.get_mut(&owner) {
            pods.remove(&(meta.created, meta.name.clone()));
            if pods.is_empty() {
                owners.remove(&owner);
            }
        }
        if owners.is_empty() {
            self.0.remove(&*meta.namespace);
        }
    }
}

/// Pods of Jobs come and go by the minute; those that have ended, or that opt out, are nobody's risk.
fn counts(entry: &PodEntry) -> bool {
    let pod = &entry.pod;
    pod.spec.mounts_default_token()
        && !pod.phase.is_final()
        && !matches!(&*entry.owner.kind, "Job" | "CronJob")
        && !super::rules::is_default_token_ignored(&pod.meta.ignore)
}
