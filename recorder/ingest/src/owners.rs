//! The controllers of pods: written by the analysis, read when Events are ingested.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use kube9_model::ObjectRef;

use crate::maps::{Map, Set};

/// Deleted pods are kept for a while, because their last Events arrive after the deletion. About 1 MB.
const DELETED_MAX: usize = 10_000;

/// Pods and their controllers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    pods: Map<Arc<ObjectRef>, Arc<ObjectRef>>,
    /// Shared by their pods.
    controllers: Set<Arc<ObjectRef>>,
    deleted: VecDeque<Arc<ObjectRef>>,
}

impl Table {
    fn add(&mut self, pod: &Arc<ObjectRef>, owner: ObjectRef) {
        if self.pods.get(pod).is_some_and(|known| **known == owner) {
            return;
        }
        self.remove(pod);
        let owner = match self.controllers.get(&owner) {
            Some(known) => known.clone(),
            None => {
                let owner = Arc::new(owner);
                self.controllers.insert(owner.clone());
                owner
            }
        };
        self.pods.insert(pod.clone(), owner);
    }

    fn remove(&mut self, pod: &ObjectRef) {
        let Some(owner) = self.pods.remove(pod) else {
            return;
        };
        // Two references, this one and the one in `controllers`: no other pod has it.
        if Arc::strong_count(&owner) == 2 {
            self.controllers.remove(&owner);
        }
    }
}

impl Owners {
    /// The controller of an object, if known.
    pub fn of(&self, object: &ObjectRef) -> Option<ObjectRef> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.pods.get(object).map(|owner| (**owner).clone())
    }

    pub fn add_pod(&self, pod: &Arc<ObjectRef>, owner: Option<ObjectRef>) {
        let Some(owner) = owner else { return };
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.add(pod, owner);
    }

    /// The pod exists, but its owner is not kept.
    pub fn forget(&self, pod: &ObjectRef) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(pod);
    }

    /// Its owner is kept for a while.
    pub fn mark_pod_deleted(&self, pod: &ObjectRef) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Use the table's key: the caller's is a separate allocation.
        let Some((pod, _)) = table.pods.get_key_value(pod) else {
            return;
        };
        let pod = pod.clone();
        table.deleted.push_back(pod);
        if table.deleted.len() > DELETED_MAX {
            // A StatefulSet's pod that was recreated under its name loses its entry until its next change. Its Events have
            // no owner until then.
            if let Some(oldest) = table.deleted.pop_front() {
                table.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_deleted_pods_are_kept_within_the_bound() {
        let owners = Owners::default();
        let owner = ObjectRef {
            kind: "Job".into(),
            namespace: "n".into(),
            name: "j".into(),
        };
        let pod = |n: usize| ObjectRef {
            kind: "Pod".into(),
            namespace: "n".into(),
            name: format!("p{n}"),
        };
        for n in 0..=DELETED_MAX {
            let pod = Arc::new(pod(n));
            owners.add_pod(&pod, Some(owner.clone()));
            owners.mark_pod_deleted(&pod);
        }
        assert_eq!(owners.of(&pod(0)), None);
        assert_eq!(owners.of(&pod(1)), Some(owner.clone()));
        assert_eq!(owners.of(&pod(DELETED_MAX)), Some(owner));
    }

    #[test]
    fn table_controller_is_shared_and_removed_with_its_last_pod() {
        let object = |kind: &str, name: &str| ObjectRef {
            kind: kind.into(),
            namespace: "n".into(),
            name: name.into(),
        };
        let owner = |name| object("Deployment", name);
        let mut table = Table::default();
        let pod = |name| Arc::new(object("Pod", name));
        let (one, two) = (pod("one"), pod("two"));
        table.add(&one, owner("web"));
        table.add(&two, owner("web"));
        assert!(Arc::ptr_eq(&table.pods[&one], &table.pods[&two]));
        table.add(&two, owner("api"));
        assert_eq!(table.controllers.len(), 2);
        table.remove(&one);
        table.remove(&two);
        assert!(table.controllers.is_empty() && table.pods.is_empty());
    }
}
