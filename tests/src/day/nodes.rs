//! What goes wrong with nodes.

use super::cast::{Phase, PodId, Runs};
use super::truth::{Sign, Who};
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

    pub(super) fn node_who(&self, node: usize) -> Who {
        Who::of(format!("Node/{}", self.cast.nodes[node].name))
    }

    fn node_goes(&mut self, node: usize) {
        let (now, who) = (self.now, self.node_who(node));
        self.cast.nodes[node].ready = (false, now);
        self.truth.set(Sign::NodeDown, &who, true, now);
        self.truth.flipped(&who.subject, now);
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
        let (now, who) = (self.now, self.node_who(node));
        self.cast.nodes[node].ready = (true, now);
        self.truth.set(Sign::NodeDown, &who, false, now);
        self.truth.flipped(&who.subject, now);
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
        let who = self.node_who(node);
        self.truth
            .headline("node down", "H11", who.subject, self.now);
        self.node_goes(node);
        self.later(span, move |day| day.node_comes(node));
    }

    pub(super) fn node_flaps(&mut self, node: usize, left: u64) {
        if left == 3 {
            let who = self.node_who(node);
            self.truth
                .headline("node flapping", "I4", who.subject, self.now);
        }
        self.node_goes(node);
        let down = self.between(40 * SECOND, 90 * SECOND);
        self.later(down, move |day| {
            day.node_comes(node);
            if left > 1 {
                let up = day.between(3 * MINUTE, 6 * MINUTE);
                day.later(up, move |day| day.node_flaps(node, left - 1));
            }
        });
    }

    pub(super) fn node_short_of_memory(&mut self, node: usize) {
        let (now, who) = (self.now, self.node_who(node));
        self.truth
            .headline("node short of memory", "H12", who.subject.clone(), now);
        self.cast.nodes[node].pressure = (true, now);
        self.truth.set(Sign::Pressure, &who, true, now);
        self.show_node(node);
        self.node_says(node, "NodeHasInsufficientMemory", "kubelet");
        for n in 0..3 {
            self.later(10 * SECOND + n * 25 * SECOND, move |day| {
                let ready = |id: &PodId| day.cast.pods[id].phase == Phase::Running;
                let Some(id) = day.pods_on(node, false).into_iter().find(ready) else {
                    return;
                };
                day.evict(id);
                // Somebody clears up.
                day.later(25 * MINUTE, move |day| day.kill(id));
            });
        }
        self.later(8 * MINUTE, move |day| {
            let (now, who) = (day.now, day.node_who(node));
            day.cast.nodes[node].pressure = (false, now);
            day.truth.set(Sign::Pressure, &who, false, now);
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
        let (now, who) = (self.now, self.node_who(node));
        self.truth
            .headline("kernel deadlock", "H13", who.subject.clone(), now);
        self.cast.nodes[node].problem = Some(("KernelDeadlock", now));
        self.truth.set(Sign::Problem, &who, true, now);
        self.show_node(node);
        self.later(30 * MINUTE, move |day| {
            let (now, who) = (day.now, day.node_who(node));
            day.cast.nodes[node].problem = None;
            day.truth.set(Sign::Problem, &who, false, now);
            day.show_node(node);
        });
    }
}
