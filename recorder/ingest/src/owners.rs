//! Who owns a pod: filled by the analysis, read by the Events' intake.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use kube9_model::ObjectRef;

use crate::maps::{Map, Set};

/// Pods that are gone are remembered, since their last Events come after them; this many at most, about 1 MB.
const GONE_MAX: usize = 10_000;

/// Pods and their controllers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    pods: Map<Arc<ObjectRef>, Arc<ObjectRef>>,
    /// Shared by their pods.
    controllers: Set<Arc<ObjectRef>>,
    gone: VecDeque<Arc<ObjectRef>>,
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
        // This one and that of `controllers`: no other pod has it.
        if Arc::strong_count(&owner) == 2 {
            self.controllers.remove(&owner);
        }
    }
}

impl Owners {
    /// The controller of an object, where it is known.
    pub fn of(&self, object: &ObjectRef) -> Option<ObjectRef> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.pods.get(object).map(|owner| (**owner).clone())
    }

    /// A pod is there.
    pub fn pod_is_there(&self, pod: &Arc<ObjectRef>, owner: Option<ObjectRef>) {
        let Some(owner) = owner else { return };
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.add(pod, owner);
    }

    /// A pod is there, but nothing is kept of it.
    pub fn forget(&self, pod: &ObjectRef) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.remove(pod);
    }

    /// A pod is gone; its owner is remembered for a while.
    pub fn pod_is_gone(&self, pod: &ObjectRef) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // The key as the table has it: the caller's is one of its own, and would be kept beside it.
        let Some((pod, _)) = table.pods.get_key_value(pod) else {
            return;
        };
        let pod = pod.clone();
        table.gone.push_back(pod);
        if table.gone.len() > GONE_MAX {
            // A StatefulSet's pod that came back under its name loses its entry until its next change: an Event
            // without an owner, nothing worse.
            if let Some(oldest) = table.gone.pop_front() {
                table.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_gone_pods_are_kept_within_the_bound() {
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
        for n in 0..=GONE_MAX {
            let pod = Arc::new(pod(n));
            owners.pod_is_there(&pod, Some(owner.clone()));
            owners.pod_is_gone(&pod);
        }
        assert_eq!(owners.of(&pod(0)), None);
        assert_eq!(owners.of(&pod(1)), Some(owner.clone()));
        assert_eq!(owners.of(&pod(GONE_MAX)), Some(owner));
    }

    #[test]
    fn a_controller_is_in_memory_once_and_for_as_long_as_it_has_pods() {
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
