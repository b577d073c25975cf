//! The ordinary life of a pod: bound, pulled, created, started, ready; killed and gone.

use std::sync::Arc;

use super::super::cluster::{Fate, Owner, Phase, PodId, Runs};
use super::super::engine::Engine;
use super::super::event::About;
use super::super::messages;
use super::Act;

impl Engine {
    /// The controller of a workload creates a pod and says so.
    pub(in super::super) fn create_pod(&mut self, workload: usize) -> PodId {
        let pod = self.cluster.new_pod(workload, self.now, &mut self.rng);
        let name = self
            .cluster
            .pod(pod)
            .map(|p| Arc::clone(&p.name))
            .unwrap_or_default();
        let of = &self.cluster.workloads[workload];
        let (component, about, message) = match of.runs {
            Runs::Deployment => (
                "replicaset-controller",
                About::ReplicaSet,
                format!("Created pod: {name}"),
            ),
            Runs::DaemonSet => (
                "daemonset-controller",
                About::DaemonSet,
                format!("Created pod: {name}"),
            ),
            Runs::StatefulSet => (
                "statefulset-controller",
                About::StatefulSet,
                format!("Create Pod {name} in StatefulSet {} successful", of.name),
            ),
        };
        let speaker = self.speak_for_set(workload, component, about);
        self.say(Some(speaker.normal("SuccessfulCreate", message)));
        pod
    }

    /// The controller of a workload deletes a pod and says so.
    pub(in super::super) fn delete_pod(&mut self, workload: usize, pod: PodId) {
        let Some(name) = self.cluster.pod(pod).map(|p| Arc::clone(&p.name)) else {
            return;
        };
        let of = &self.cluster.workloads[workload];
        let (component, about, message) = match of.runs {
            Runs::Deployment => (
                "replicaset-controller",
                About::ReplicaSet,
                format!("Deleted pod: {name}"),
            ),
            Runs::DaemonSet => (
                "daemonset-controller",
                About::DaemonSet,
                format!("Deleted pod: {name}"),
            ),
            Runs::StatefulSet => (
                "statefulset-controller",
                About::StatefulSet,
                format!("delete Pod {name} in StatefulSet {} successful", of.name),
            ),
        };
        let speaker = self.speak_for_set(workload, component, about);
        self.say(Some(speaker.normal("SuccessfulDelete", message)));
        self.kill(pod);
    }

    fn speak_for_set(
        &mut self,
        workload: usize,
        component: &'static str,
        about: About,
    ) -> messages::Speaker {
        let of = &self.cluster.workloads[workload];
        let (namespace, name) = (Arc::clone(&of.namespace), of.set_name());
        let uid = if of.runs == Runs::Deployment {
            of.set_uid
        } else {
            of.uid
        };
        messages::controller(&mut self.cluster, component, about, &namespace, &name, uid)
    }

    /// One pod of a workload goes without a word of its controller, to make room.
    pub(super) fn lose_a_pod(&mut self, workload: usize) {
        let pods = &self.cluster.workloads[workload].pods;
        if !pods.is_empty() {
            let pod = *self.rng.pick(pods);
            self.kill(pod);
        }
    }

    /// A pod gets a node.
    pub(in super::super) fn assign(&mut self, pod: PodId) {
        let node = self.rng.index(self.cluster.nodes.len());
        let fixed = self.cluster.pod(pod).and_then(|p| match p.owner {
            Owner::Workload(w) if self.cluster.workloads[w].runs == Runs::DaemonSet => p.node,
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
        let said = messages::scheduler(&mut self.cluster, pod, "Binding")
            .map(|s| s.normal("Scheduled", message));
        self.say(said);
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
            let said =
                messages::controller_of_pod(&mut self.cluster, "attachdetach-controller", pod).map(
                    |s| {
                        s.normal(
                            "SuccessfulAttachVolume",
                            format!("AttachVolume.Attach succeeded for volume \"pvc-{claim}\""),
                        )
                    },
                );
            self.say(said);
        }
        let wait = self.rng.waiting(0.8) + if volume { 6.0 } else { 0.3 };
        self.after(wait, Act::Prepare(pod));
    }

    /// The kubelet starts the containers from `first` on, or begins to fetch an image.
    pub(super) fn prepare(&mut self, pod: PodId, first: usize) {
        let Some(containers) = self.cluster.pod(pod).map(|p| p.containers.clone()) else {
            return;
        };
        for (i, container) in containers.iter().enumerate().skip(first) {
            if self.now < self.no_registry_until {
                let why = Arc::from("dial tcp 52.28.14.9:443: i/o timeout");
                return self.pull_fails(pod, 1, 10.0, why);
            }
            // Rollouts bring new images; most other pods find theirs on the node.
            if self.rng.percent(10) {
                let said = messages::kubelet(&mut self.cluster, pod, &container.name)
                    .map(|s| s.normal("Pulling", format!("Pulling image \"{}\"", container.image)));
                self.say(said);
                let millis = 150 + container.image_bytes / 60_000 + self.rng.below(4000);
                let waited = if self.rng.percent(30) {
                    self.rng.below(9000)
                } else {
                    0
                };
                let act = Act::Fetched {
                    pod,
                    container: i,
                    millis,
                    waited,
                };
                return self.after((millis + waited) as f64 / 1000.0, act);
            }
            let said = messages::kubelet(&mut self.cluster, pod, &container.name)
                .map(|s| s.normal("Pulled", messages::present(&container.image)));
            self.say(said);
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
        let said = messages::kubelet(&mut self.cluster, pod, &of.name)
            .map(|s| s.normal("Pulled", messages::pulled(&of, millis, waited)));
        self.say(said);
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
        if let Some(speaker) = messages::kubelet(&mut self.cluster, pod, &name) {
            self.say(Some(speaker.normal("Created", "Container created")));
            self.say(Some(speaker.normal("Started", "Container started")));
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
        match self.cluster.workloads[workload].fate {
            Some(Fate::Crashes(cause, left)) => {
                return self.after(2.0, Act::Crash { pod, left, cause });
            }
            Some(Fate::NeverReady) => return self.after(5.0, Act::Unready { pod, left: 500 }),
            _ => {}
        }
        let slow = self.cluster.workloads[workload].template.readiness && self.rng.percent(40);
        let wait = self.rng.waiting(4.0) + 2.0;
        if slow {
            let left = self.rng.between(1, 3);
            self.after(wait, Act::Unready { pod, left });
        } else {
            self.after(wait, Act::Ready(pod));
        }
    }

    pub(super) fn unready(&mut self, pod: PodId, left: u64) {
        let said = self.probe_said(pod, super::Probe::Readiness, true);
        self.say(said);
        let next = if left > 1 {
            Act::Unready {
                pod,
                left: left - 1,
            }
        } else {
            Act::Ready(pod)
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

    /// A pod is to go: its containers are stopped, then it is.
    pub(in super::super) fn kill(&mut self, pod: PodId) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        if target.deleting.is_some() {
            return;
        }
        (target.deleting, target.ready) = (Some(now), false);
        let stuck = target.clings;
        if target.node.is_none() {
            return self.cluster.remove_pod(pod);
        }
        let containers: Vec<Arc<str>> = target
            .containers
            .iter()
            .map(|c| Arc::clone(&c.name))
            .collect();
        for name in containers {
            let said = messages::kubelet(&mut self.cluster, pod, &name)
                .map(|s| s.normal("Killing", format!("Stopping container {name}")));
            self.say(said);
        }
        if self.rng.percent(12) {
            let said = self.probe_said(pod, super::Probe::Readiness, true);
            self.say(said);
        }
        if stuck {
            return;
        }
        let grace = self.rng.waiting(3.0).min(30.0) + 1.0;
        self.after(grace, Act::Remove(pod));
    }
}
