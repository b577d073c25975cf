//! The normal lifecycle of a pod: bound, pulled, created, started, ready; killed and deleted.

use std::sync::Arc;

use super::super::cluster::{Owner, Phase, PodId, PodOutcome, WorkloadKind};
use super::super::engine::Engine;
use super::super::event::InvolvedKind;
use super::super::messages;
use super::Action;

impl Engine {
    /// The controller of a workload creates a pod and reports it.
    pub(in super::super) fn create_pod(&mut self, workload: usize) -> PodId {
        let pod = self.cluster.new_pod(workload, self.now, &mut self.rng);
        let name = self
            .cluster
            .pod(pod)
            .map(|p| Arc::clone(&p.name))
            .unwrap_or_default();
        let of = &self.cluster.workloads[workload];
        let (component, about, message) = match of.runs {
            WorkloadKind::Deployment => (
                "replicaset-controller",
                InvolvedKind::ReplicaSet,
                format!("Created pod: {name}"),
            ),
            WorkloadKind::DaemonSet => (
                "daemonset-controller",
                InvolvedKind::DaemonSet,
                format!("Created pod: {name}"),
            ),
            WorkloadKind::StatefulSet => (
                "statefulset-controller",
                InvolvedKind::StatefulSet,
                format!("Create Pod {name} in StatefulSet {} successful", of.name),
            ),
        };
        let source = self.set_event(workload, component, about);
        self.emit(Some(source.normal("SuccessfulCreate", message)));
        pod
    }

    /// The controller of a workload deletes a pod and reports it.
    pub(in super::super) fn delete_pod(&mut self, workload: usize, pod: PodId) {
        let Some(name) = self.cluster.pod(pod).map(|p| Arc::clone(&p.name)) else {
            return;
        };
        let of = &self.cluster.workloads[workload];
        let (component, about, message) = match of.runs {
            WorkloadKind::Deployment => (
                "replicaset-controller",
                InvolvedKind::ReplicaSet,
                format!("Deleted pod: {name}"),
            ),
            WorkloadKind::DaemonSet => (
                "daemonset-controller",
                InvolvedKind::DaemonSet,
                format!("Deleted pod: {name}"),
            ),
            WorkloadKind::StatefulSet => (
                "statefulset-controller",
                InvolvedKind::StatefulSet,
                format!("delete Pod {name} in StatefulSet {} successful", of.name),
            ),
        };
        let source = self.set_event(workload, component, about);
        self.emit(Some(source.normal("SuccessfulDelete", message)));
        self.kill(pod);
    }

    fn set_event(
        &mut self,
        workload: usize,
        component: &'static str,
        about: InvolvedKind,
    ) -> messages::EventSource {
        let of = &self.cluster.workloads[workload];
        let (namespace, name) = (Arc::clone(&of.namespace), of.set_name());
        let uid = if of.runs == WorkloadKind::Deployment {
            of.set_uid
        } else {
            of.uid
        };
        messages::controller(&mut self.cluster, component, about, &namespace, &name, uid)
    }

    /// Deletes one pod of a workload without an Event of its controller.
    pub(super) fn delete_any_pod(&mut self, workload: usize) {
        let pods = &self.cluster.workloads[workload].pods;
        if !pods.is_empty() {
            let pod = *self.rng.pick(pods);
            self.kill(pod);
            if self.cluster.workloads[workload].runs == WorkloadKind::StatefulSet {
                // A pod's name must be free before its successor can use it.
                self.cluster.remove_pod(pod);
            }
        }
    }

    /// Binds a pod to a node.
    pub(in super::super) fn assign(&mut self, pod: PodId) {
        let node = self.rng.index(self.cluster.nodes.len());
        let fixed = self.cluster.pod(pod).and_then(|p| match p.owner {
            Owner::Workload(w) if self.cluster.workloads[w].runs == WorkloadKind::DaemonSet => {
                p.node
            }
            _ => None,
        });
        let node = fixed.unwrap_or(node);
        let node_name = Arc::clone(&self.cluster.nodes[node].name);
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        target.node = Some(node);
        target.unschedulable = None;
        let message = format!(
            "Successfully assigned {}/{} to {node_name}",
            target.namespace, target.name
        );
        let draft = messages::scheduler(&mut self.cluster, pod, "Binding")
            .map(|s| s.normal("Scheduled", message));
        self.emit(draft);
    }

    pub(super) fn schedule(&mut self, pod: PodId) {
        let Some(target) = self.cluster.pod(pod) else {
            return;
        };
        let volume = match target.owner {
            Owner::Workload(w) => self.cluster.workloads[w].template.volume,
            Owner::Cron(_) => false,
        };
        self.assign(pod);
        if volume {
            let claim = self
                .cluster
                .pod(pod)
                .map(|p| p.uid)
                .unwrap_or(super::super::event::Uid(0));
            let draft =
                messages::controller_of_pod(&mut self.cluster, "attachdetach-controller", pod).map(
                    |s| {
                        s.normal(
                            "SuccessfulAttachVolume",
                            format!("AttachVolume.Attach succeeded for volume \"pvc-{claim}\""),
                        )
                    },
                );
            self.emit(draft);
        }
        let wait = self.rng.waiting(0.8) + if volume { 6.0 } else { 0.3 };
        self.after(wait, Action::Prepare(pod));
    }

    /// The kubelet starts the containers from `first` on, or begins to fetch an image.
    pub(super) fn prepare(&mut self, pod: PodId, first: usize) {
        let Some(containers) = self.cluster.pod(pod).map(|p| p.containers.clone()) else {
            return;
        };
        for (i, container) in containers.iter().enumerate().skip(first) {
            if self.now < self.no_registry_until {
                let why = Arc::from("dial tcp 52.28.14.9:443: i/o timeout");
                return self.retry_pull(pod, 1, 10.0, why);
            }
            // Rollouts bring new images; most other pods find theirs on the node.
            if self.rng.percent(10) {
                let draft = messages::kubelet(&mut self.cluster, pod, &container.name)
                    .map(|s| s.normal("Pulling", format!("Pulling image \"{}\"", container.image)));
                self.emit(draft);
                let millis = 150 + container.image_bytes / 60_000 + self.rng.below(4000);
                let waited = if self.rng.percent(30) {
                    self.rng.below(9000)
                } else {
                    0
                };
                let act = Action::Fetched {
                    pod,
                    container: i,
                    millis,
                    waited,
                };
                return self.after((millis + waited) as f64 / 1000.0, act);
            }
            let draft = messages::kubelet(&mut self.cluster, pod, &container.name)
                .map(|s| s.normal("Pulled", messages::present(&container.image)));
            self.emit(draft);
            self.started(pod, i);
        }
        self.all_started(pod);
    }

    pub(super) fn fetched(&mut self, pod: PodId, container: usize, millis: u64, waited: u64) {
        let Some(of) = self
            .cluster
            .pod(pod)
            .and_then(|p| p.containers.get(container))
            .cloned()
        else {
            return;
        };
        let draft = messages::kubelet(&mut self.cluster, pod, &of.name)
            .map(|s| s.normal("Pulled", messages::pulled(&of, millis, waited)));
        self.emit(draft);
        self.started(pod, container);
        self.prepare(pod, container + 1);
    }

    /// `Created` and `Started`: with `Pulled` before them they mostly share one second.
    pub(super) fn started(&mut self, pod: PodId, container: usize) {
        let Some(name) = self
            .cluster
            .pod(pod)
            .and_then(|p| p.containers.get(container))
            .map(|c| Arc::clone(&c.name))
        else {
            return;
        };
        if let Some(source) = messages::kubelet(&mut self.cluster, pod, &name) {
            self.emit(Some(source.normal("Created", "Container created")));
            self.emit(Some(source.normal("Started", "Container started")));
        }
    }

    fn all_started(&mut self, pod: PodId) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        (target.phase, target.started, target.waiting) = (Phase::Running, now, None);
        let Owner::Workload(workload) = target.owner else {
            return;
        };
        match self.cluster.workloads[workload].outcome {
            Some(PodOutcome::Crashes(cause, left)) => {
                return self.after(2.0, Action::Crash { pod, left, cause });
            }
            Some(PodOutcome::NeverReady) => {
                return self.after(5.0, Action::Unready { pod, left: 500 });
            }
            _ => {}
        }
        let slow = self.cluster.workloads[workload].template.readiness && self.rng.percent(40);
        let wait = self.rng.waiting(4.0) + 2.0;
        if slow {
            let left = self.rng.between(1, 3);
            self.after(wait, Action::Unready { pod, left });
        } else {
            self.after(wait, Action::Ready(pod));
        }
    }

    pub(super) fn unready(&mut self, pod: PodId, left: u64) {
        let draft = self.probe_event(pod, super::Probe::Readiness, true);
        self.emit(draft);
        let next = if left > 1 {
            Action::Unready {
                pod,
                left: left - 1,
            }
        } else {
            Action::Ready(pod)
        };
        self.after(10.0, next);
    }

    pub(super) fn ready(&mut self, pod: PodId) {
        let now = self.now;
        if let Some(pod) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) {
            pod.set_ready(true, now);
            pod.waiting = None;
        }
    }

    /// Deletes a pod: its containers stop first.
    pub(in super::super) fn kill(&mut self, pod: PodId) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        if target.deleting.is_some() {
            return;
        }
        (target.deleting, target.ready) = (Some(now), false);
        if target.node.is_none() {
            return self.cluster.remove_pod(pod);
        }
        let containers: Vec<Arc<str>> = target
            .containers
            .iter()
            .map(|c| Arc::clone(&c.name))
            .collect();
        for name in containers {
            let draft = messages::kubelet(&mut self.cluster, pod, &name)
                .map(|s| s.normal("Killing", format!("Stopping container {name}")));
            self.emit(draft);
        }
        if self.rng.percent(12) {
            let draft = self.probe_event(pod, super::Probe::Readiness, true);
            self.emit(draft);
        }
        let grace = self.rng.waiting(3.0).min(30.0) + 1.0;
        self.after(grace, Action::Remove(pod));
    }
}
