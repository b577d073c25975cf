//! Who owns a pod: filled by the analysis, read by the Events' intake.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use kube9_shared::model::ObjectRef;

use crate::maps::Map;

/// Pods that are gone are remembered, since their last Events come after them; this many at most, about 2 MB.
const GONE_MAX: usize = 10_000;

/// Pods and their controllers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// By `namespace/name`.
    pods: Map<Arc<str>, ObjectRef>,
    gone: VecDeque<Arc<str>>,
}

impl Owners {
    /// The controller of an object, where it is known.
    pub fn of(&self, object: &ObjectRef) -> Option<ObjectRef> {
        if object.kind != "Pod" {
            return None;
        }
        let name = format!("{}/{}", object.namespace, object.name);
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.pods.get(name.as_str()).cloned()
    }

    /// A pod is there.
    pub fn pod_is_there(&self, name: &Arc<str>, owner: Option<ObjectRef>) {
        let Some(owner) = owner else { return };
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if table.pods.get(name) != Some(&owner) {
            table.pods.insert(name.clone(), owner);
        }
    }

    /// A pod is gone; its owner is remembered for a while.
    pub fn pod_is_gone(&self, name: &Arc<str>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !table.pods.contains_key(name) {
            return;
        }
        table.gone.push_back(name.clone());
        if table.gone.len() > GONE_MAX {
            // A StatefulSet's pod that came back under its name loses its entry until its next change: an Event
            // without an owner, nothing worse.
            if let Some(oldest) = table.gone.pop_front() {
                table.pods.remove(&oldest);
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
            let name: Arc<str> = format!("n/p{n}").into();
            owners.pod_is_there(&name, Some(owner.clone()));
            owners.pod_is_gone(&name);
        }
        assert_eq!(owners.of(&pod(0)), None);
        assert_eq!(owners.of(&pod(1)), Some(owner.clone()));
        assert_eq!(owners.of(&pod(GONE_MAX)), Some(owner));
    }
}
