//! A pod's lifecycle, step by step, as scheduler and kubelet write it.

use kube9_model::label::Kind;

use super::ground_truth::Placement;
use super::setup::{OUTAGE, REGISTRIES};
use super::state::{ContainerState, Phase, Pod, PodId, PodOutcome, Termination, WorkloadKind};
use super::{ClusterSim, MINUTE, Ms, SECOND, Step, manifests};

/// The kubelet resets the back-off of a container that ran this long.
const RECOVERED: Ms = 10 * MINUTE;

fn whole(at: Ms) -> Ms {
    at.div_euclid(SECOND) * SECOND
}

impl ClusterSim {
    /// Where a pod is, or was, until now.
    pub(super) fn placement(&self, id: PodId) -> Option<Placement> {
        let pod = self.cluster.pods.get(&id)?;
        let namespace = &self.cluster.workloads[pod.of].namespace;
        Some(Placement {
            pod: format!("Pod/{namespace}/{}", pod.name),
            workload: self.workload_name(pod.of),
            node: pod.node.map_or(String::new(), |node| self.node_name(node)),
            image: pod.image.clone(),
            from: pod.created,
            to: self.now,
        })
    }

    pub(super) fn pod(&mut self, id: PodId) -> Option<&mut Pod> {
        self.cluster.pods.get_mut(&id)
    }

    /// One that is not being deleted.
    pub(super) fn living(&mut self, id: PodId) -> Option<&mut Pod> {
        self.pod(id).filter(|pod| pod.deleting.is_none())
    }

    /// Sends the pod's current state to watchers.
    pub(super) fn show_pod(&mut self, id: PodId) {
        if let Some(object) = manifests::pod(&self.cluster, id) {
            self.put(Kind::Pod, object);
        }
        let Some(of) = self.cluster.pods.get(&id).map(|pod| pod.of) else {
            return;
        };
        self.record_endpoint(of);
        self.plan_sync(of);
    }

    pub(super) fn create_pod(&mut self, of: usize) -> PodId {
        let now = self.now;
        let id = self.cluster.new_pod(of, now, &mut self.rng);
        self.show_pod(id);
        let wait = self.between(50, 400);
        self.after(wait, Step::Schedule(id));
        id
    }

    pub(super) fn schedule(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        let (of, outcome) = (pod.of, pod.outcome);
        if outcome == PodOutcome::NoNode {
            pod.unschedulable = Some(whole(now));
            self.show_pod(id);
            let message = "0/500 nodes are available: 500 Insufficient cpu.".to_owned();
            self.pod_event(id, "FailedScheduling", true, "default-scheduler", message);
            return;
        }
        let node = match (self.cluster.workloads[of].runs, self.cluster.pods[&id].node) {
            (WorkloadKind::DaemonSet, Some(node)) => node,
            _ => self.cluster.choose_node(of, &mut self.rng),
        };
        self.cluster.nodes[node].pods += 1;
        let name = self.cluster.nodes[node].name.clone();
        if let Some(pod) = self.pod(id) {
            (pod.node, pod.scheduled, pod.unschedulable) = (Some(node), Some(now), None);
        }
        self.show_pod(id);
        self.pod_event(
            id,
            "Scheduled",
            false,
            "default-scheduler",
            format!("Successfully assigned to {name}"),
        );
        let wait = self.between(100, 500);
        self.after(wait, Step::Accept(id));
    }

    pub(super) fn accept(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        pod.state = ContainerState::Waiting("ContainerCreating", String::new());
        pod.ready = (false, now);
        let outcome = pod.outcome;
        self.show_pod(id);
        if outcome == PodOutcome::NoVolume {
            self.pod_event(
                id,
                "FailedMount",
                true,
                "kubelet",
                "MountVolume.SetUp failed: timed out".to_owned(),
            );
            return;
        }
        if outcome == PodOutcome::InitWaits {
            if let Some(pod) = self.pod(id) {
                pod.state = ContainerState::Waiting("PodInitializing", String::new());
            }
            return self.show_pod(id);
        }
        let wait = self.between(500, 2500);
        self.after(wait, Step::Pull(id));
    }

    fn can_pull_image(&self, id: PodId) -> bool {
        let Some(pod) = self.cluster.pods.get(&id) else {
            return true;
        };
        let down = self.outage && pod.image.starts_with(REGISTRIES[OUTAGE]);
        let node_fails = pod
            .node
            .is_some_and(|node| self.cluster.nodes[node].pulls_fail);
        pod.outcome != PodOutcome::NoImage && !down && !node_fails
    }

    pub(super) fn pull(&mut self, id: PodId) {
        if self.living(id).is_none() {
            return;
        }
        if self.can_pull_image(id) {
            let wait = self.between(SECOND, 8 * SECOND);
            return self.after(wait, Step::Run(id));
        }
        let Some(pod) = self.pod(id) else { return };
        let image = pod.image.clone();
        pod.state = ContainerState::Waiting(
            "ErrImagePull",
            format!("failed to pull and unpack image \"{image}\": i/o timeout"),
        );
        self.show_pod(id);
        self.pod_event(
            id,
            "Failed",
            true,
            "kubelet",
            format!("Failed to pull image \"{image}\": i/o timeout"),
        );
        let wait = self.between(9 * SECOND, 14 * SECOND);
        self.after(wait, Step::BackOff(id));
    }

    pub(super) fn back_off(&mut self, id: PodId) {
        let Some(pod) = self.living(id) else { return };
        let message = format!("Back-off pulling image \"{}\"", pod.image);
        pod.state = ContainerState::Waiting("ImagePullBackOff", message.clone());
        let wait = pod.backoff;
        pod.backoff = (pod.backoff * 2).min(5 * MINUTE);
        self.show_pod(id);
        self.pod_event(id, "BackOff", false, "kubelet", message);
        self.after(wait, Step::Pull(id));
    }

    /// The container is made and started.
    pub(super) fn start(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        if pod.outcome == PodOutcome::BadConfig {
            pod.state = ContainerState::Waiting(
                "CreateContainerConfigError",
                "couldn't find key mode in ConfigMap".to_owned(),
            );
            self.show_pod(id);
            self.pod_event(
                id,
                "Failed",
                true,
                "kubelet",
                "Error: couldn't find key mode in ConfigMap".to_owned(),
            );
            return;
        }
        pod.state = ContainerState::Running(now);
        pod.phase = Phase::Running;
        pod.first_start.get_or_insert(now);
        let (outcome, left, of) = (pod.outcome, pod.crashes_left, pod.of);
        self.show_pod(id);
        self.pod_event(
            id,
            "Started",
            false,
            "kubelet",
            "Started container app".to_owned(),
        );
        match outcome {
            PodOutcome::Crashes(code) if left > 0 => {
                let runs_for = self.between(2 * SECOND, 6 * SECOND);
                self.after(
                    runs_for,
                    Step::ContainerExits {
                        pod: id,
                        code,
                        oom: false,
                    },
                );
            }
            PodOutcome::NeverReady => {}
            _ if self.cluster.workloads[of].runs == WorkloadKind::CronJob => {
                self.after(SECOND, Step::Ready(id));
                let takes = self.between(5 * SECOND, 100 * SECOND);
                let code = i64::from(outcome == PodOutcome::Crashes(1));
                self.after(takes, Step::JobEnds { pod: id, code });
            }
            _ => {
                let warm_up = self.between(5 * SECOND, 20 * SECOND);
                self.after(warm_up, Step::Ready(id));
            }
        }
    }

    pub(super) fn becomes_ready(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        if matches!(pod.state, ContainerState::Running(_))
            && !pod.ready.0
            && pod.outcome != PodOutcome::NeverReady
        {
            pod.ready = (true, now);
            self.show_pod(id);
        }
    }

    pub(super) fn becomes_unready(&mut self, id: PodId) {
        let now = self.now;
        if let Some(pod) = self.living(id).filter(|pod| pod.ready.0) {
            pod.ready = (false, now);
            self.show_pod(id);
        }
    }

    /// The container exits with an error.
    pub(super) fn container_ends(&mut self, id: PodId, code: i64, oom: bool) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        let ContainerState::Running(started) = pod.state else {
            return;
        };
        let reason = if oom { "OOMKilled" } else { "Error" };
        pod.state = ContainerState::Ended(Termination {
            code,
            reason,
            started,
            at: now,
        });
        if pod.ready.0 {
            pod.ready = (false, now);
        }
        pod.crashes_left = pod.crashes_left.saturating_sub(1);
        if now - started >= RECOVERED {
            pod.backoff = 10 * SECOND;
        }
        let quick = pod.restarts == 0 || now - started >= RECOVERED;
        self.show_pod(id);
        let wait = self.between(700, 1500);
        self.after(
            wait,
            if quick {
                Step::Restart(id)
            } else {
                Step::Loop(id)
            },
        );
    }

    pub(super) fn loops(&mut self, id: PodId) {
        let Some(pod) = self.living(id) else { return };
        let ContainerState::Ended(end) = &pod.state else {
            return;
        };
        pod.last = Some(end.clone());
        let wait = pod.backoff;
        pod.backoff = (pod.backoff * 2).min(5 * MINUTE);
        pod.state = ContainerState::Waiting(
            "CrashLoopBackOff",
            format!(
                "back-off {}s restarting failed container=app",
                wait / SECOND
            ),
        );
        self.show_pod(id);
        self.pod_event(
            id,
            "BackOff",
            true,
            "kubelet",
            "Back-off restarting failed container app".to_owned(),
        );
        self.after(wait, Step::Restart(id));
    }

    pub(super) fn restart(&mut self, id: PodId) {
        let Some(pod) = self.living(id) else { return };
        if let ContainerState::Ended(end) = &pod.state {
            pod.last = Some(end.clone());
        }
        pod.restarts += 1;
        self.start(id);
    }

    /// The pod is deleted.
    pub(super) fn kill(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        pod.deleting = Some(now);
        let (placed, finished) = (
            pod.node.is_some(),
            matches!(pod.phase, Phase::Failed | Phase::Succeeded),
        );
        self.show_pod(id);
        if !placed || finished {
            return self.after(100, Step::Gone(id));
        }
        self.pod_event(
            id,
            "Killing",
            false,
            "kubelet",
            "Stopping container app".to_owned(),
        );
        let wait = self.between(SECOND, 3 * SECOND);
        self.after(wait, Step::Stopped(id));
    }

    pub(super) fn stopped(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.pod(id) else { return };
        if pod.ready.0 {
            pod.ready = (false, now);
        }
        if let ContainerState::Running(started) = pod.state {
            pod.state = ContainerState::Ended(Termination {
                code: 143,
                reason: "Error",
                started,
                at: now,
            });
        }
        self.show_pod(id);
        let wait = self.between(SECOND, 8 * SECOND);
        self.after(wait, Step::Gone(id));
    }

    pub(super) fn remove_pod(&mut self, id: PodId) {
        if self
            .cluster
            .pods
            .get(&id)
            .is_none_or(|pod| pod.has_finalizer)
        {
            return;
        }
        let object = manifests::pod(&self.cluster, id);
        self.truth.pods.extend(self.placement(id));
        let Some(pod) = self.cluster.pods.remove(&id) else {
            return;
        };
        if let Some(node) = pod.node {
            self.cluster.nodes[node].pods -= 1;
        }
        let workload = &mut self.cluster.workloads[pod.of];
        workload.pods.retain(|one| *one != id);
        let place = format!("{}/{}", workload.namespace, pod.name);
        self.events.retain(|(name, _), _| *name != place);
        if let Some(object) = object {
            self.deleted(Kind::Pod, object);
        }
        self.record_endpoint(pod.of);
        self.plan_sync(pod.of);
    }

    /// A kubelet short of memory evicts a pod; its controller creates a replacement.
    pub(super) fn evict(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        let started = match pod.state {
            ContainerState::Running(since) => since,
            _ => now,
        };
        (pod.phase, pod.evicted) = (Phase::Failed, Some(whole(now)));
        // Without a grace period, as at a hard threshold.
        pod.state = ContainerState::Ended(Termination {
            code: 137,
            reason: "Error",
            started,
            at: now,
        });
        pod.ready = (false, now);
        self.show_pod(id);
        self.pod_event(
            id,
            "Evicted",
            true,
            "kubelet",
            "The node was low on resource: memory.".to_owned(),
        );
    }

    /// A kubelet that was restarted rejects a pod, because the labels of its node have changed; its controller creates a
    /// replacement.
    pub(super) fn reject(&mut self, id: PodId) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        (pod.phase, pod.rejected) = (Phase::Failed, true);
        pod.state = ContainerState::Unseen;
        pod.ready = (false, now);
        self.show_pod(id);
        self.pod_event(
            id,
            "NodeAffinity",
            true,
            "kubelet",
            "Predicate NodeAffinity failed".to_owned(),
        );
    }

    pub(super) fn cron_fires(&mut self, of: usize) {
        self.create_pod(of);
        let every = self.cluster.workloads[of].every;
        self.after(every, Step::CronFires(of));
    }

    /// The container of a Job has finished or failed.
    pub(super) fn job_ends(&mut self, id: PodId, code: i64) {
        let now = self.now;
        let Some(pod) = self.living(id) else { return };
        let ContainerState::Running(started) = pod.state else {
            return;
        };
        let reason = if code == 0 { "Completed" } else { "Error" };
        pod.state = ContainerState::Ended(Termination {
            code,
            reason,
            started,
            at: now,
        });
        pod.ready = (false, now);
        pod.phase = if code == 0 {
            Phase::Succeeded
        } else {
            Phase::Failed
        };
        let of = pod.of;
        self.show_pod(id);
        // Three are kept.
        let workload = &self.cluster.workloads[of];
        let finished = |id: &&PodId| {
            self.cluster
                .pods
                .get(*id)
                .is_some_and(|pod| pod.phase == Phase::Succeeded)
        };
        let done: Vec<PodId> = workload.pods.iter().filter(finished).copied().collect();
        if let Some(oldest) = done.first().copied().filter(|_| done.len() > 3) {
            self.kill(oldest);
        }
    }
}
