//! Faults of pods.

use std::sync::Arc;

use super::super::cluster::{Ended, Owner, Phase, PodId, WorkloadKind};
use super::super::engine::Engine;
use super::super::event::Uid;
use super::super::event_correlator::EventDraft;
use super::super::messages;
use super::super::names::{hex, safe_string};
use super::{Action, Cause, Probe};

/// The kubelet's longest back-off, in seconds.
const BACKOFF_MAX: f64 = 300.0;

impl Engine {
    fn first_container(&self, pod: PodId) -> Option<Arc<str>> {
        Some(Arc::clone(&self.cluster.pod(pod)?.containers.first()?.name))
    }

    fn kubelet_event(
        &mut self,
        pod: PodId,
        draft: impl FnOnce(&messages::EventSource) -> EventDraft,
    ) {
        let Some(container) = self.first_container(pod) else {
            return;
        };
        let draft =
            messages::kubelet(&mut self.cluster, pod, &container).map(|source| draft(&source));
        self.emit(draft);
    }

    /// The first container ends; the kubelet backs off and starts it again.
    pub(in super::super) fn crash(&mut self, pod: PodId, left: u64, cause: Cause) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        let (code, reason) = match cause {
            Cause::Exit(code) => (code, "Error"),
            Cause::OutOfMemory => (137, "OOMKilled"),
        };
        let waits = target.restarts.min(5);
        let backoff = (10.0 * f64::from(1_u32 << waits)).min(BACKOFF_MAX);
        let Some(container) = target.containers.first().map(|c| Arc::clone(&c.name)) else {
            return;
        };
        let (name, namespace, uid) = (
            Arc::clone(&target.name),
            Arc::clone(&target.namespace),
            target.uid,
        );
        target.ended = Some(Ended {
            code,
            reason,
            at: now,
        });
        target.set_ready(false, now);
        target.waiting = Some((
            "CrashLoopBackOff",
            Arc::from(format!(
                "back-off {} restarting failed container={container} pod={name}_{namespace}({uid})",
                messages::go_duration(backoff as u64 * 1000)
            )),
        ));
        // A real kubelet reports it about once a minute (53 times in 55 minutes, measured on 1.35).
        let looks = (backoff / 60.0).ceil().max(1.0) as i64;
        let message = messages::restarting(&container, &name, &namespace, uid);
        self.kubelet_event(pod, |s| s.warning("BackOff", message).times(looks));
        self.after(backoff, Action::Restart { pod, left, cause });
    }

    pub(super) fn restart(&mut self, pod: PodId, left: u64, cause: Cause) {
        let now = self.now;
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        target.restarts += 1;
        (target.waiting, target.started, target.phase) = (None, now, Phase::Running);
        let Some(image) = target.containers.first().map(|c| Arc::clone(&c.image)) else {
            return;
        };
        self.kubelet_event(pod, |s| s.normal("Pulled", messages::present(&image)));
        self.started(pod, 0);
        if left > 1 {
            let runs_for = self.rng.waiting(12.0) + 0.5;
            self.after(
                runs_for,
                Action::Crash {
                    pod,
                    left: left - 1,
                    cause,
                },
            );
        } else {
            self.after(8.0, Action::Ready(pod));
        }
    }

    /// Errors of a registry for a failed pull.
    pub(in super::super) fn pull_error(&mut self) -> Arc<str> {
        Arc::from(*self.rng.pick(&[
            "not found",
            "unexpected status from HEAD request: 429 Too Many Requests",
            "dial tcp 52.28.14.9:443: i/o timeout",
            "pull access denied, repository does not exist or may require authorization: server message: \
             insufficient_scope: authorization failed",
        ]))
    }

    /// An image pull fails, is retried, and succeeds in the end.
    pub(in super::super) fn retry_pull(&mut self, pod: PodId, left: u64, wait: f64, why: Arc<str>) {
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        let Some(image) = target.containers.first().map(|c| Arc::clone(&c.image)) else {
            return;
        };
        let failure = format!(
            "Failed to pull image \"{image}\": failed to pull and unpack image \"{image}\": failed to resolve reference \
             \"{image}\": {image}: {why}"
        );
        let backing_off = format!("Back-off pulling image \"{image}\"");
        target.waiting = Some((
            "ImagePullBackOff",
            Arc::from(format!("{backing_off}: ErrImagePull: {why}")),
        ));
        self.kubelet_event(pod, |s| {
            s.normal("Pulling", format!("Pulling image \"{image}\""))
        });
        self.kubelet_event(pod, |s| s.warning("Failed", failure));
        self.kubelet_event(pod, |s| s.warning("Failed", "Error: ErrImagePull"));
        // And this at every sync of the pod (244 times in 55 minutes).
        let looks = (wait / 13.5).ceil() as i64;
        self.kubelet_event(pod, |s| s.normal("BackOff", backing_off).times(looks));
        self.kubelet_event(pod, |s| {
            s.warning("Failed", "Error: ImagePullBackOff").times(looks)
        });
        if left > 1 || self.now < self.no_registry_until {
            let left = left.max(2);
            let next = (wait * 2.0).min(BACKOFF_MAX);
            self.after(
                wait,
                Action::PullFails {
                    pod,
                    left: left - 1,
                    wait: next,
                    why,
                },
            );
        } else {
            self.after(wait, Action::Prepare(pod));
        }
    }

    /// The Event of a failed probe; `starting`: the process does not listen yet.
    pub(super) fn probe_event(
        &mut self,
        pod: PodId,
        probe: Probe,
        starting: bool,
    ) -> Option<EventDraft> {
        let target = self.cluster.pod(pod)?;
        let node = target.node?;
        let container = target.containers.first()?.clone();
        let subnet = self.cluster.nodes[node].subnet;
        let address = format!(
            "10.{}.{}.{}:{}",
            64 + subnet / 256,
            subnet % 256,
            target.address,
            container.port
        );
        let (word, path) = match probe {
            Probe::Readiness => ("Readiness", "ready"),
            Probe::Liveness => ("Liveness", "healthz"),
        };
        let url = format!("http://{address}/{path}");
        let message = match if starting { 0 } else { self.rng.below(3) } {
            0 => format!(
                "{word} probe failed: Get \"{url}\": dial tcp {address}: connect: connection refused"
            ),
            1 => format!(
                "{word} probe failed: HTTP probe failed with statuscode: {}",
                self.rng.pick(&[500, 502, 503, 503, 504])
            ),
            _ => format!(
                "{word} probe failed: Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            ),
        };
        messages::kubelet(&mut self.cluster, pod, &container.name)
            .map(|s| s.warning("Unhealthy", message))
    }

    pub(in super::super) fn probe_fails(&mut self, pod: PodId, left: u64, probe: Probe) {
        if self.cluster.pod(pod).is_none_or(|p| p.deleting.is_some()) {
            return;
        }
        let draft = self.probe_event(pod, probe, false);
        self.emit(draft);
        let now = self.now;
        if probe == Probe::Readiness
            && let Some(target) = self.cluster.pod_mut(pod)
        {
            target.set_ready(false, now);
        }
        let third = left.is_multiple_of(3);
        if probe == Probe::Liveness && third {
            let Some(container) = self.first_container(pod) else {
                return;
            };
            let message = format!("Container {container} failed liveness probe, will be restarted");
            self.kubelet_event(pod, |s| s.normal("Killing", message));
            let now = self.now;
            if let Some(target) = self.cluster.pod_mut(pod) {
                target.ended = Some(Ended {
                    code: 137,
                    reason: "Error",
                    at: now,
                });
            }
            return self.after(
                30.0,
                Action::Restart {
                    pod,
                    left: 1,
                    cause: Cause::Exit(137),
                },
            );
        }
        let next = if left > 1 {
            Action::ProbeFails {
                pod,
                left: left - 1,
                probe,
            }
        } else {
            Action::Ready(pod)
        };
        self.after(10.0, next);
    }

    /// Why a volume cannot be mounted.
    pub(super) fn mount_error(&mut self, pod: PodId) -> Arc<str> {
        let Some(target) = self.cluster.pod(pod) else {
            return Arc::from("");
        };
        let (namespace, uid) = (Arc::clone(&target.namespace), target.uid);
        let app = match target.owner {
            Owner::Workload(w) => Arc::clone(&self.cluster.workloads[w].name),
            Owner::Cron(c) => Arc::clone(&self.cluster.crons[c].name),
        };
        Arc::from(match self.rng.below(3) {
            0 => format!(
                "MountVolume.SetUp failed for volume \"config\" : configmap \"{app}-config\" not found"
            ),
            1 => format!(
                "MountVolume.SetUp failed for volume \"tls\" : secret \"{app}-tls\" not found"
            ),
            _ => format!(
                "MountVolume.MountDevice failed for volume \"pvc-{uid}\" : rpc error: code = DeadlineExceeded desc = \
                 context deadline exceeded (namespace {namespace})"
            ),
        })
    }

    pub(super) fn mount_fails(&mut self, pod: PodId, left: u64, wait: f64, why: Arc<str>) {
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        target.waiting = Some(("ContainerCreating", Arc::from("")));
        let draft = messages::kubelet(&mut self.cluster, pod, &Arc::from(""))
            .map(|s| s.warning("FailedMount", Arc::clone(&why)));
        self.emit(draft);
        if left > 1 {
            let next = (wait * 2.0).min(122.0);
            self.after(
                wait,
                Action::MountFails {
                    pod,
                    left: left - 1,
                    wait: next,
                    why,
                },
            );
        } else {
            self.after(wait, Action::Prepare(pod));
        }
    }

    /// Each attempt has its own sandbox, so each message differs.
    pub(super) fn sandbox_fails(&mut self, pod: PodId, left: u64) {
        if self.cluster.pod(pod).is_none_or(|p| p.deleting.is_some()) {
            return;
        }
        let message = format!(
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"{}\": \
             plugin type=\"calico\" failed (add): error getting ClusterInformation: connection is unauthorized: Unauthorized",
            hex(&mut self.rng, 32)
        );
        let draft = messages::kubelet(&mut self.cluster, pod, &Arc::from(""))
            .map(|s| s.warning("FailedCreatePodSandBox", message));
        self.emit(draft);
        let next = if left > 1 {
            Action::SandboxFails {
                pod,
                left: left - 1,
            }
        } else {
            Action::Prepare(pod)
        };
        let wait = self.rng.waiting(6.0) + 9.0;
        self.after(wait, next);
    }

    /// The error for a container with missing configuration.
    pub(in super::super) fn config_error(&mut self, pod: PodId) -> Arc<str> {
        let app = match self.cluster.pod(pod).map(|p| p.owner) {
            Some(Owner::Workload(w)) => Arc::clone(&self.cluster.workloads[w].name),
            _ => Arc::from("app"),
        };
        Arc::from(if self.rng.percent(50) {
            format!("secret \"{app}-credentials\" not found")
        } else {
            format!("configmap \"{app}-settings\" not found")
        })
    }

    pub(in super::super) fn config_fails(&mut self, pod: PodId, left: u64, why: Arc<str>) {
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        target.waiting = Some(("CreateContainerConfigError", Arc::clone(&why)));
        let Some(image) = target.containers.first().map(|c| Arc::clone(&c.image)) else {
            return;
        };
        self.kubelet_event(pod, |s| s.normal("Pulled", messages::present(&image)));
        self.kubelet_event(pod, |s| s.warning("Failed", format!("Error: {why}")));
        let next = if left > 1 {
            Action::ConfigFails {
                pod,
                left: left - 1,
                why,
            }
        } else {
            Action::Prepare(pod)
        };
        let wait = self.rng.waiting(4.0) + 10.0;
        self.after(wait, next);
    }

    pub(in super::super) fn no_node(&mut self, pod: PodId, left: u64) {
        let nodes = self.cluster.nodes.len() as u64;
        let tainted = nodes / 8;
        let (what, full) = (*self.rng.pick(&["cpu", "memory"]), nodes - tainted);
        let (taints, helpless) = match tainted {
            0 => (String::new(), String::new()),
            n => (
                format!("{n} node(s) had untolerated taint(s), "),
                format!("{n} Preemption is not helpful for scheduling, "),
            ),
        };
        let message: Arc<str> = Arc::from(format!(
            "0/{nodes} nodes are available: {taints}{full} Insufficient {what}. no new claims to deallocate, preemption: \
             0/{nodes} nodes are available: {helpless}{full} No preemption victims found for incoming pod."
        ));
        let Some(target) = self.cluster.pod_mut(pod) else {
            return;
        };
        target.unschedulable = Some(Arc::clone(&message));
        let draft = messages::scheduler(&mut self.cluster, pod, "Scheduling")
            .map(|s| s.warning("FailedScheduling", message));
        self.emit(draft);
        if left == 1 {
            let group = format!("eks-workers-{}", safe_string(&mut self.rng, 8));
            let draft = messages::controller_of_pod(&mut self.cluster, "cluster-autoscaler", pod)
                .map(|s| {
                    s.normal(
                        "TriggeredScaleUp",
                        format!("pod triggered scale-up: [{{{group} 3->4 (max: 12)}}]"),
                    )
                });
            self.emit(draft);
            return self.after(45.0, Action::Schedule(pod));
        }
        let wait = self.rng.waiting(60.0) + 20.0;
        self.after(
            wait,
            Action::NoNode {
                pod,
                left: left.saturating_sub(1).max(1),
            },
        );
    }

    /// Evicts a pod because its node is short of a resource.
    pub(super) fn evict(&mut self, pod: PodId, resource: &str, threshold: &str, available: &str) {
        let used = self.rng.between(200_000, 9_000_000);
        let Some(target) = self.cluster.pod_mut(pod).filter(|p| p.deleting.is_none()) else {
            return;
        };
        let Some(container) = target.containers.first().map(|c| Arc::clone(&c.name)) else {
            return;
        };
        let message: Arc<str> = Arc::from(format!(
            "The node was low on resource: {resource}. Threshold quantity: {threshold}, available: {available}. Container \
             {container} was using {used}Ki, request is 0, has larger consumption of {resource}. "
        ));
        (target.phase, target.ready, target.evicted) =
            (Phase::Failed, false, Some(Arc::clone(&message)));
        let (owner, uid) = (target.owner, target.uid);
        let draft = messages::kubelet(&mut self.cluster, pod, &Arc::from(""))
            .map(|s| s.warning("Evicted", message));
        self.emit(draft);
        self.kubelet_event(pod, |s| {
            s.normal("Killing", format!("Stopping container {container}"))
        });
        debug_assert_ne!(uid, Uid(0), "every pod has a uid");
        if let Owner::Workload(workload) = owner {
            if self.cluster.workloads[workload].runs == WorkloadKind::StatefulSet {
                // Its successor has the same name, so the controller deletes it first.
                self.cluster.remove_pod(pod);
            }
            self.cluster.workloads[workload].pods.retain(|p| *p != pod);
            let successor = self.create_pod(workload);
            self.after(0.5, Action::Schedule(successor));
        }
        // Evicted pods stay until the pod garbage collector deletes them.
        self.after(3600.0, Action::Remove(pod));
    }
}
