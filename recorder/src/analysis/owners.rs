//! Who owns a pod: filled by the analysis, read by the Events' intake.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube9_shared::model::ObjectRef;
use kube9_shared::time::Timestamp;

use super::maps::{Map, Set};
use crate::source::objects::Meta;

/// Pods that are gone are remembered, since their last Events come after them; this many at most, about 1 MB.
const GONE_MAX: usize = 10_000;

/// Pods and their controllers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Owners(Arc<RwLock<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// By `namespace/name`.
    pods: Map<Arc<str>, Arc<ObjectRef>>,
    /// Shared by their pods.
    controllers: Set<Arc<ObjectRef>>,
    gone: VecDeque<Arc<str>>,
}

impl Table {
    fn add(&mut self, pod: &Arc<str>, owner: ObjectRef) {
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

    fn remove(&mut self, pod: &Arc<str>) {
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
        if object.kind != "Pod" {
            return None;
        }
        let name = format!("{}/{}", object.namespace, object.name);
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.pods.get(name.as_str()).map(|owner| (**owner).clone())
    }

    /// A pod is there.
    pub fn pod_is_there(&self, name: &Arc<str>, owner: Option<ObjectRef>) {
        let Some(owner) = owner else { return };
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        table.add(name, owner);
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
                table.remove(&oldest);
            }
        }
    }
}

/// The controller of a pod: the Deployment where a ReplicaSet of one owns it, the CronJob where a Job of one does.
pub fn controller(meta: &Meta) -> Option<ObjectRef> {
    let owner = meta.owner.as_ref()?;
    let (kind, name) = match (&*owner.kind, meta.labels.get("pod-template-hash")) {
        ("ReplicaSet", Some(hash)) => match owner.name.strip_suffix(&format!("-{hash}")) {
            Some(deployment) => ("Deployment", deployment),
            None => ("ReplicaSet", &*owner.name),
        },
        ("Job", _) => match cron_job(&owner.name, meta.created) {
            Some(cron_job) => ("CronJob", cron_job),
            None => ("Job", &*owner.name),
        },
        (kind, _) => (kind, &*owner.name),
    };
    let namespace = if kind == "Node" { "" } else { &meta.namespace };
    Some(ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// A run that could not start is made up for this much later at most: a CronJob gives up after a hundred missed runs, and
/// one that was suspended starts the last of them.
const RUN_LATE_MAX: Duration = Duration::from_secs(8 * 86_400);

/// A node's clock and that of the control plane may differ.
const RUN_EARLY_MAX: Duration = Duration::from_secs(120);

/// The CronJob whose Job has this name: it ends in the minute for which the run was planned, counted from 1970. Nothing
/// else says so in a pod, so the minute must be one at which the pod can have been created: a Job `import-20261122` is
/// nobody's run.
fn cron_job(job: &str, created: Timestamp) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    if name.is_empty() || minute.len() != 8 || !minute.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let planned = Timestamp::from_secs(minute.parse::<i64>().ok()? * 60);
    let fits = planned <= created.plus(RUN_EARLY_MAX) && created.since(planned) <= RUN_LATE_MAX;
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(json: &str) -> Meta {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_replica_set_and_a_job_stand_for_what_made_them() {
        for (json, expected) in [
            (
                r#"{"namespace":"n","labels":{"pod-template-hash":"5d4f"},
                    "ownerReferences":[{"kind":"ReplicaSet","name":"cart-5d4f","controller":true}]}"#,
                Some(("Deployment", "n", "cart")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"ReplicaSet","name":"cart-5d4f","controller":true}]}"#,
                Some(("ReplicaSet", "n", "cart-5d4f")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"Node","name":"w1","controller":true}]}"#,
                Some(("Node", "", "w1")),
            ),
            (
                r#"{"namespace":"n","ownerReferences":[{"kind":"X","name":"y"}]}"#,
                None,
            ),
            // 2026-11-22T12:00:00Z
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29922480","controller":true}]}"#,
                Some(("CronJob", "n", "nightly")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly","controller":true}]}"#,
                Some(("Job", "n", "nightly")),
            ),
            // A date is no minute, nor is a minute of another month, nor one that is yet to come.
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"import-20261122","controller":true}]}"#,
                Some(("Job", "n", "import-20261122")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29879280","controller":true}]}"#,
                Some(("Job", "n", "nightly-29879280")),
            ),
            (
                r#"{"namespace":"n","creationTimestamp":"2026-11-22T12:00:05Z",
                    "ownerReferences":[{"kind":"Job","name":"nightly-29922490","controller":true}]}"#,
                Some(("Job", "n", "nightly-29922490")),
            ),
        ] {
            let found = controller(&meta(json));
            let found = found.as_ref().map(|o| (&*o.kind, &*o.namespace, &*o.name));
            assert_eq!(found, expected, "{json}");
        }
    }

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

    #[test]
    fn a_controller_is_in_memory_once_and_for_as_long_as_it_has_pods() {
        let owner = |name: &str| ObjectRef {
            kind: "Deployment".into(),
            namespace: "n".into(),
            name: name.into(),
        };
        let mut table = Table::default();
        let (one, two): (Arc<str>, Arc<str>) = ("n/one".into(), "n/two".into());
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
