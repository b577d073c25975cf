//! What goes wrong with nodes.

use super::ground_truth::Cause;
use super::state::{Phase, PodId, Runs};
use super::{Day, MINUTE, Ms, SECOND, Step};

impl Day {
    fn pods_on(&self, node: usize, daemons: bool) -> Vec<PodId> {
        let here = self
            .cast
            .pods
            .iter()
            .filter(|(_, pod)| pod.node == Some(node) && pod.deleting.is_none());
        here.filter(|(_, pod)| daemons || self.cast.workloads[pod.of].runs != Runs::DaemonSet)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn node_name(&self, node: usize) -> String {
        format!("Node/{}", self.cast.nodes[node].name)
    }

    fn node_goes(&mut self, node: usize) {
        let now = self.now;
        self.cast.nodes[node].ready = (false, now);
        self.show_node(node);
        self.node_says(node, "NodeNotReady", "node-controller");
        for id in self.pods_on(node, true) {
            self.becomes_unready(id);
        }
        self.later(5 * MINUTE, move |day| {
            if day.cast.nodes[node].ready == (false, now) {
                for id in day.pods_on(node, false) {
                    day.kill(id);
                }
            }
        });
    }

    fn node_comes(&mut self, node: usize) {
        self.cast.nodes[node].ready = (true, self.now);
        self.show_node(node);
        self.node_says(node, "NodeReady", "kubelet");
        for step in std::mem::take(&mut self.cast.nodes[node].waiting) {
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
        self.node_goes(node);
        self.later(span, move |day| day.node_comes(node));
    }

    /// Down and up again, so often; the first time was at `since`.
    pub(super) fn node_flaps(&mut self, node: usize, left: u64, since: Ms) {
        self.node_goes(node);
        let down = self.between(40 * SECOND, 90 * SECOND);
        self.later(down, move |day| {
            day.node_comes(node);
            if left > 1 {
                let up = day.between(3 * MINUTE, 6 * MINUTE);
                day.later(up, move |day| day.node_flaps(node, left - 1, since));
            } else {
                let name = day.node_name(node);
                day.truth.plant(Cause::NodeFlapping, name, since, day.now);
            }
        });
    }

    pub(super) fn node_short_of_memory(&mut self, node: usize) {
        self.plant(Cause::MemoryPressure, self.node_name(node), 8 * MINUTE);
        self.cast.nodes[node].pressure = (true, self.now);
        self.show_node(node);
        self.node_says(node, "NodeHasInsufficientMemory", "kubelet");
        for n in 0..3 {
            self.later(10 * SECOND + n * 25 * SECOND, move |day| {
                let ready = |id: &PodId| day.cast.pods[id].phase == Phase::Running;
                let Some(id) = day.pods_on(node, false).into_iter().find(ready) else {
                    return;
                };
                day.plant_on_pod(Cause::Evicted, id, 25 * MINUTE);
                day.evict(id);
                // The failed pod is deleted by hand.
                day.later(25 * MINUTE, move |day| day.kill(id));
            });
        }
        self.later(8 * MINUTE, move |day| {
            day.cast.nodes[node].pressure = (false, day.now);
            day.show_node(node);
        });
    }

    pub(super) fn node_drained(&mut self, node: usize) {
        self.cast.nodes[node].cordoned = true;
        self.show_node(node);
        for (n, id) in (0..).zip(self.pods_on(node, false)) {
            self.later(n * 5 * SECOND + SECOND, move |day| day.kill(id));
        }
        self.later(30 * MINUTE, move |day| {
            day.cast.nodes[node].cordoned = false;
            day.show_node(node);
        });
    }

    pub(super) fn node_problem(&mut self, node: usize) {
        self.plant(Cause::KernelDeadlock, self.node_name(node), 30 * MINUTE);
        self.cast.nodes[node].problem = Some(("KernelDeadlock", self.now));
        self.show_node(node);
        self.later(30 * MINUTE, move |day| {
            day.cast.nodes[node].problem = None;
            day.show_node(node);
        });
    }
}
