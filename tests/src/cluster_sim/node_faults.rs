//! Faults of nodes.

use super::ground_truth::Cause;
use super::state::{Phase, PodId, WorkloadKind};
use super::{ClusterSim, MINUTE, Ms, SECOND, Step};

impl ClusterSim {
    fn pods_on(&self, node: usize, daemons: bool) -> Vec<PodId> {
        let here = self
            .cluster
            .pods
            .iter()
            .filter(|(_, pod)| pod.node == Some(node) && pod.deleting.is_none());
        here.filter(|(_, pod)| {
            daemons || self.cluster.workloads[pod.of].runs != WorkloadKind::DaemonSet
        })
        .map(|(id, _)| *id)
        .collect()
    }

    pub(super) fn node_name(&self, node: usize) -> String {
        format!("Node/{}", self.cluster.nodes[node].name)
    }

    fn node_down(&mut self, node: usize) {
        let now = self.now;
        self.cluster.nodes[node].ready = (false, now);
        self.show_node(node);
        self.node_event(node, "NodeNotReady", "node-controller");
        for id in self.pods_on(node, true) {
            self.becomes_unready(id);
        }
        self.later(5 * MINUTE, move |sim| {
            if sim.cluster.nodes[node].ready == (false, now) {
                for id in sim.pods_on(node, false) {
                    sim.kill(id);
                }
            }
        });
    }

    fn node_up(&mut self, node: usize) {
        self.cluster.nodes[node].ready = (true, self.now);
        self.show_node(node);
        self.node_event(node, "NodeReady", "kubelet");
        for step in std::mem::take(&mut self.cluster.nodes[node].waiting) {
            let wait = self.between(SECOND, 3 * SECOND);
            self.after(wait, step);
        }
        for id in self.pods_on(node, true) {
            let wait = self.between(SECOND, 3 * SECOND);
            self.after(wait, Step::Ready(id));
        }
    }

    pub(super) fn node_outage(&mut self, node: usize, span: Ms) {
        self.plant(Cause::NodeDown, self.node_name(node), span);
        self.node_down(node);
        self.later(span, move |sim| sim.node_up(node));
    }

    /// Goes down and up again `left` times; `since`: the first time.
    pub(super) fn node_flaps(&mut self, node: usize, left: u64, since: Ms) {
        self.node_down(node);
        let down = self.between(40 * SECOND, 90 * SECOND);
        self.later(down, move |sim| {
            sim.node_up(node);
            if left > 1 {
                let up = sim.between(3 * MINUTE, 6 * MINUTE);
                sim.later(up, move |sim| sim.node_flaps(node, left - 1, since));
            } else {
                let name = sim.node_name(node);
                sim.truth.plant(Cause::NodeFlapping, name, since, sim.now);
            }
        });
    }

    pub(super) fn node_short_of_memory(&mut self, node: usize) {
        self.plant(Cause::MemoryPressure, self.node_name(node), 8 * MINUTE);
        self.cluster.nodes[node].pressure = (true, self.now);
        self.show_node(node);
        self.node_event(node, "NodeHasInsufficientMemory", "kubelet");
        for n in 0..3 {
            self.later(10 * SECOND + n * 25 * SECOND, move |sim| {
                let ready = |id: &PodId| sim.cluster.pods[id].phase == Phase::Running;
                let Some(id) = sim.pods_on(node, false).into_iter().find(ready) else {
                    return;
                };
                sim.plant_on_pod(Cause::Evicted, id, 25 * MINUTE);
                sim.evict(id);
                // The failed pod is deleted by hand.
                sim.later(25 * MINUTE, move |sim| sim.kill(id));
            });
        }
        self.later(8 * MINUTE, move |sim| {
            sim.cluster.nodes[node].pressure = (false, sim.now);
            sim.show_node(node);
        });
    }

    pub(super) fn node_drained(&mut self, node: usize) {
        self.cluster.nodes[node].cordoned = true;
        self.show_node(node);
        for (n, id) in (0..).zip(self.pods_on(node, false)) {
            self.later(n * 5 * SECOND + SECOND, move |sim| sim.kill(id));
        }
        self.later(30 * MINUTE, move |sim| {
            sim.cluster.nodes[node].cordoned = false;
            sim.show_node(node);
        });
    }

    pub(super) fn node_problem(&mut self, node: usize) {
        self.plant(Cause::KernelDeadlock, self.node_name(node), 30 * MINUTE);
        self.cluster.nodes[node].problem = Some(("KernelDeadlock", self.now));
        self.show_node(node);
        self.later(30 * MINUTE, move |sim| {
            sim.cluster.nodes[node].problem = None;
            sim.show_node(node);
        });
    }
}
