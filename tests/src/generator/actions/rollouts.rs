//! Changes that people and autoscalers make to workloads.

use std::sync::Arc;

use super::super::cluster::{ChangedObject, PodId, PodOutcome, WorkloadKind};
use super::super::engine::Engine;
use super::super::event::{InvolvedKind, Uid};
use super::super::event_correlator::random_uid;
use super::super::{messages, names};
use super::Action;

/// `progressDeadlineSeconds`
const PROGRESS_DEADLINE: f64 = 600.0;

impl Engine {
    /// A Deployment gets a new template, whose pods behave as `outcome` says.
    pub(in super::super) fn begin_rollout(&mut self, workload: usize, outcome: Option<PodOutcome>) {
        let tag = names::tag(&mut self.rng);
        let hash: Arc<str> = Arc::from(names::template_hash(&mut self.rng));
        let set_uid = random_uid(&mut self.rng);
        let of = self.cluster.workload_mut(workload);
        if of.runs != WorkloadKind::Deployment {
            return self.begin_replace(workload);
        }
        let old_hash = std::mem::replace(&mut of.hash, hash);
        (of.set_uid, of.stuck, of.outcome) = (set_uid, false, outcome);
        of.revision += 1;
        let revision = of.revision;
        if let Some(container) = of.template.containers.first_mut() {
            let name = container
                .image
                .rsplit_once(':')
                .map_or(&*container.image, |(name, _)| name);
            container.image = Arc::from(format!("{name}:{tag}"));
        }
        self.after(PROGRESS_DEADLINE, Action::Deadline { workload, revision });
        self.continue_rollout(workload, revision, old_hash);
    }

    /// The next step of a rollout: creates a pod of the new template if the surge allows it, and deletes one of the old
    /// if the new ones are ready.
    pub(super) fn continue_rollout(&mut self, workload: usize, revision: u64, old_hash: Arc<str>) {
        let of = &self.cluster.workloads[workload];
        if of.revision != revision {
            // A newer template has replaced it.
            return;
        }
        let wanted = usize::try_from(of.replicas).unwrap_or(0);
        let alive = |id: &&PodId| self.cluster.pod(**id).is_some_and(|p| p.deleting.is_none());
        let is_new = |id: &&PodId| self.cluster.pod(**id).is_some_and(|p| p.hash == of.hash);
        let is_ready = |id: &&PodId| self.cluster.pod(**id).is_some_and(|p| p.ready);
        let pods: Vec<PodId> = of.pods.iter().filter(alive).copied().collect();
        let new = pods.iter().filter(is_new).count();
        let ready = pods.iter().filter(is_new).filter(is_ready).count();
        let old: Vec<PodId> = pods.iter().filter(|id| !is_new(id)).copied().collect();
        let set = of.set_name();
        let old_set: Arc<str> = Arc::from(format!("{}-{old_hash}", of.name));
        if ready >= wanted && old.is_empty() {
            self.cluster.workload_mut(workload).stuck = false;
            return;
        }
        // maxSurge 25 %, rounded up
        if new < wanted && pods.len() < wanted + wanted.div_ceil(4) {
            self.scaled(
                workload,
                format!("Scaled up replica set {set} from {new} to {}", new + 1),
            );
            let pod = self.create_pod(workload);
            self.begin_pod(workload, pod);
        }
        // maxUnavailable 25 %, rounded down
        if let Some(pod) = old
            .last()
            .copied()
            .filter(|_| ready + old.len() > wanted - wanted / 4)
        {
            self.scale_down_old(workload, &old_set, old.len() - 1, pod);
        }
        let wait = self.rng.waiting(6.0) + 4.0;
        self.after(
            wait,
            Action::Rollout {
                workload,
                revision,
                old_hash,
            },
        );
    }

    /// The first thing that happens to a new pod.
    fn begin_pod(&mut self, workload: usize, pod: PodId) {
        match self.cluster.workloads[workload].outcome {
            Some(PodOutcome::PullFails(times)) => {
                self.assign(pod);
                let why = self.pull_error();
                self.after(
                    1.0,
                    Action::PullFails {
                        pod,
                        left: times,
                        wait: 10.0,
                        why,
                    },
                );
            }
            _ => self.after(0.1, Action::Schedule(pod)),
        }
    }

    /// The progress deadline of a rollout has passed.
    pub(super) fn deadline(&mut self, workload: usize, revision: u64) {
        let of = &self.cluster.workloads[workload];
        let up = |id: &&PodId| {
            self.cluster
                .pod(**id)
                .is_some_and(|p| p.ready && p.hash == of.hash)
        };
        let ready = of.pods.iter().filter(up).count() as u64;
        if of.revision == revision && ready < of.replicas {
            self.cluster.workload_mut(workload).stuck = true;
        }
    }

    fn scale_down_old(&mut self, workload: usize, old_set: &Arc<str>, left: usize, pod: PodId) {
        self.scaled(
            workload,
            format!(
                "Scaled down replica set {old_set} from {} to {left}",
                left + 1
            ),
        );
        let Some(name) = self.cluster.pod(pod).map(|p| Arc::clone(&p.name)) else {
            return;
        };
        let namespace = Arc::clone(&self.cluster.workloads[workload].namespace);
        let uid = self.cluster.pod(pod).map_or(Uid(0), |p| p.set_uid);
        let source = messages::controller(
            &mut self.cluster,
            "replicaset-controller",
            InvolvedKind::ReplicaSet,
            &namespace,
            old_set,
            uid,
        );
        self.emit(Some(
            source.normal("SuccessfulDelete", format!("Deleted pod: {name}")),
        ));
        self.kill(pod);
    }

    fn scaled(&mut self, workload: usize, message: String) {
        let of = &self.cluster.workloads[workload];
        let (namespace, name, uid) = (Arc::clone(&of.namespace), Arc::clone(&of.name), of.uid);
        let source = messages::controller(
            &mut self.cluster,
            "deployment-controller",
            InvolvedKind::Deployment,
            &namespace,
            &name,
            uid,
        );
        self.emit(Some(source.normal("ScalingReplicaSet", message)));
    }

    /// Scales a Deployment.
    pub(in super::super) fn scale(&mut self, workload: usize, replicas: u64) {
        let of = self.cluster.workload_mut(workload);
        let before = of.replicas;
        of.replicas = replicas;
        let set = of.set_name();
        let verb = if replicas > before { "up" } else { "down" };
        self.scaled(
            workload,
            format!("Scaled {verb} replica set {set} from {before} to {replicas}"),
        );
        for _ in before..replicas {
            let pod = self.create_pod(workload);
            self.after(0.1, Action::Schedule(pod));
        }
        for _ in replicas..before {
            let last = self.cluster.workloads[workload]
                .pods
                .iter()
                .rev()
                .find(|p| self.cluster.pod(**p).is_some_and(|p| p.deleting.is_none()));
            if let Some(pod) = last.copied() {
                self.delete_pod(workload, pod);
            }
        }
    }

    /// An autoscaler scales a Deployment.
    pub(super) fn rescale(&mut self, workload: usize) {
        let of = &self.cluster.workloads[workload];
        let up = of.replicas < 2 || (of.replicas < 12 && self.rng.percent(50));
        let step = self
            .rng
            .between(1, 2)
            .min(if up { 2 } else { of.replicas - 1 });
        let of = &self.cluster.workloads[workload];
        let replicas = if up {
            of.replicas + step
        } else {
            of.replicas - step
        };
        let (namespace, name, uid) = (Arc::clone(&of.namespace), Arc::clone(&of.name), of.uid);
        let why = if up {
            "cpu resource utilization (percentage of request) above target"
        } else {
            "All metrics below target"
        };
        let source = messages::controller(
            &mut self.cluster,
            "horizontal-pod-autoscaler",
            InvolvedKind::Autoscaler,
            &namespace,
            &name,
            Uid(!uid.0),
        );
        self.emit(Some(source.normal(
            "SuccessfulRescale",
            format!("New size: {replicas}; reason: {why}"),
        )));
        self.scale(workload, replicas);
        if up && self.rng.percent(70) {
            // Scales back later.
            let wait = self.rng.waiting(1200.0) + 300.0;
            self.after(wait, Action::Rescale { workload });
        }
    }

    /// A `StatefulSet` or `DaemonSet` gets a new template.
    pub(super) fn begin_replace(&mut self, workload: usize) {
        let of = self.cluster.workload_mut(workload);
        of.revision += 1;
        let left = of.pods.clone();
        self.replace_next(workload, left);
    }

    pub(super) fn replace_next(&mut self, workload: usize, mut left: Vec<PodId>) {
        let Some(old) = left.pop() else { return };
        // The pod of a DaemonSet stays on its node; any other is scheduled anew.
        let is_daemon = self.cluster.workloads[workload].runs == WorkloadKind::DaemonSet;
        let node = self
            .cluster
            .pod(old)
            .and_then(|p| p.node)
            .filter(|_| is_daemon);
        self.delete_pod(workload, old);
        // A pod's name must be free before its successor can use it.
        self.cluster.remove_pod(old);
        let pod = self.create_pod(workload);
        if let Some(pod) = self.cluster.pod_mut(pod) {
            pod.node = node;
        }
        self.after(0.2, Action::Schedule(pod));
        if !left.is_empty() {
            let wait = self.rng.waiting(15.0) + 15.0;
            self.after(wait, Action::Replace { workload, left });
        }
    }

    /// Changes a workload's `ConfigMap`.
    pub(in super::super) fn change_config(&mut self, workload: usize) {
        self.cluster.workload_mut(workload).config_revision += 1;
        self.cluster.changed.push(ChangedObject::Config(workload));
    }
}
