//! Faults of nodes.

use std::sync::Arc;

use super::super::cluster::PodId;
use super::super::engine::Engine;
use super::super::event_correlator::random_uid;
use super::super::messages;
use super::{Action, Shortage};

impl Engine {
    fn pods_on(&self, node: usize) -> Vec<PodId> {
        self.cluster
            .pod_ids()
            .filter(|id| self.cluster.pod(*id).is_some_and(|p| p.node == Some(node)))
            .collect()
    }

    /// The kubelet of a node stops reporting for `seconds`.
    pub(in super::super) fn node_down(&mut self, node: usize, seconds: f64) {
        let now = self.now;
        let state = &mut self.cluster.node_mut(node).state;
        if state.not_ready {
            return;
        }
        (state.not_ready, state.since) = (true, now);
        let name = Arc::clone(&self.cluster.nodes[node].name);
        let source = messages::controller_of_node(&self.cluster, "node-controller", node);
        self.emit(Some(source.normal(
            "NodeNotReady",
            format!("Node {name} status is now: NodeNotReady"),
        )));
        for pod in self.pods_on(node) {
            if let Some(pod) = self.cluster.pod_mut(pod) {
                pod.set_ready(false, now);
            }
            let draft = messages::controller_of_pod(&mut self.cluster, "node-controller", pod)
                .map(|s| s.warning("NodeNotReady", "Node is not ready"));
            self.emit(draft);
            // After five minutes without a heartbeat, pods are marked for deletion.
            if seconds > 300.0 {
                let draft = self
                    .cluster
                    .pod(pod)
                    .map(|p| format!("Marking for deletion Pod {}/{}", p.namespace, p.name));
                let draft = draft.and_then(|message| {
                    messages::controller_of_pod(&mut self.cluster, "taint-eviction-controller", pod)
                        .map(|s| s.normal("TaintManagerEviction", message))
                });
                self.emit(draft);
            }
        }
        let rebooted = self.rng.percent(40);
        self.after(seconds, Action::NodeBack { node, rebooted });
    }

    pub(super) fn node_up(&mut self, node: usize, rebooted: bool) {
        let now = self.now;
        let boot = random_uid(&mut self.rng);
        let target = self.cluster.node_mut(node);
        (target.state.not_ready, target.state.since) = (false, now);
        let name = Arc::clone(&target.name);
        let source = messages::kubelet_of_node(&self.cluster, node);
        if rebooted {
            self.cluster.node_mut(node).boots += 1;
            self.emit(Some(source.normal("Starting", "Starting kubelet.")));
            self.emit(Some(source.warning(
                "InvalidDiskCapacity",
                "invalid capacity 0 on image filesystem",
            )));
            for reason in [
                "NodeHasSufficientMemory",
                "NodeHasNoDiskPressure",
                "NodeHasSufficientPID",
            ] {
                let message = format!("Node {name} status is now: {reason}");
                self.emit(Some(source.normal(reason, message).times(2)));
            }
            self.emit(Some(source.warning(
                "Rebooted",
                format!("Node {name} has been rebooted, boot id: {boot}"),
            )));
            self.emit(Some(source.normal(
                "NodeAllocatableEnforced",
                "Updated Node Allocatable limit across pods",
            )));
        }
        self.emit(Some(source.normal(
            "NodeReady",
            format!("Node {name} status is now: NodeReady"),
        )));
        for pod in self.pods_on(node) {
            if rebooted {
                let draft = messages::kubelet(&mut self.cluster, pod, &Arc::from("")).map(|s| {
                    s.normal(
                        "SandboxChanged",
                        "Pod sandbox changed, it will be killed and re-created.",
                    )
                });
                self.emit(draft);
                self.after(2.0, Action::Prepare(pod));
            } else {
                self.ready(pod);
            }
        }
    }

    /// A node runs short of memory or disk and evicts pods.
    pub(in super::super) fn pressure(&mut self, node: usize, what: Shortage, left: u64) {
        let now = self.now;
        let name = Arc::clone(&self.cluster.nodes[node].name);
        let state = &mut self.cluster.node_mut(node).state;
        let already = match what {
            Shortage::Memory => std::mem::replace(&mut state.memory_pressure, true),
            Shortage::Disk => std::mem::replace(&mut state.disk_pressure, true),
        };
        let source = messages::kubelet_of_node(&self.cluster, node);
        let (reason, resource, threshold) = match what {
            Shortage::Memory => ("NodeHasInsufficientMemory", "memory", "100Mi"),
            Shortage::Disk => ("NodeHasDiskPressure", "ephemeral-storage", "10Gi"),
        };
        if !already {
            self.cluster.node_mut(node).state.since = now;
            self.emit(Some(
                source.normal(reason, format!("Node {name} status is now: {reason}")),
            ));
        }
        self.emit(Some(source.warning(
            "EvictionThresholdMet",
            format!("Attempting to reclaim {resource}"),
        )));
        if what == Shortage::Disk {
            let (used, wanted) = (
                self.rng.between(86, 99),
                self.rng.between(1_000_000_000, 9_000_000_000),
            );
            self.emit(Some(source.warning(
                "FreeDiskSpaceFailed",
                format!(
                    "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only \
                     found 0 bytes eligible to free. (usage {used}%)"
                ),
            )));
        } else if self.rng.percent(40) {
            let pid = self.rng.between(2000, 4_000_000);
            let victim = *self.rng.pick(&["java", "node", "python3", "postgres"]);
            self.emit(Some(source.warning(
                "SystemOOM",
                format!("System OOM encountered, victim process: {victim}, pid: {pid}"),
            )));
        }
        let pods = self.pods_on(node);
        if !pods.is_empty() {
            let pod = *self.rng.pick(&pods);
            // Below the threshold, in KiB.
            let most = if what == Shortage::Memory {
                102_000
            } else {
                10_400_000
            };
            let available = format!("{}Ki", self.rng.between(10_000, most));
            self.evict(pod, resource, threshold, &available);
        }
        if left > 1 {
            let wait = self.rng.waiting(40.0) + 10.0;
            self.after(
                wait,
                Action::Pressure {
                    node,
                    what,
                    left: left - 1,
                },
            );
        } else {
            self.after(310.0, Action::Relieved { node, what });
        }
    }

    pub(super) fn pressure_ends(&mut self, node: usize, what: Shortage) {
        let now = self.now;
        let state = &mut self.cluster.node_mut(node).state;
        let reason = match what {
            Shortage::Memory => {
                state.memory_pressure = false;
                "NodeHasSufficientMemory"
            }
            Shortage::Disk => {
                state.disk_pressure = false;
                "NodeHasNoDiskPressure"
            }
        };
        state.since = now;
        let name = Arc::clone(&self.cluster.nodes[node].name);
        let source = messages::kubelet_of_node(&self.cluster, node);
        self.emit(Some(
            source.normal(reason, format!("Node {name} status is now: {reason}")),
        ));
    }
}
