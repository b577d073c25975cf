//! A node is not ready.

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, human_duration, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::node_life::{self, NodeLife};
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeUnready",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node is not ready",
        severity: "error; critical after `node_critical`; warning if the node is drained or being removed",
        opens: "a node's condition `Ready` is not `True`",
        opens_after: "`node_unready`; `node_start` if the node is new, drained or being removed",
        closes: "the node is ready, or removed",
        action: "If the status is `Unknown`, the kubelet does not report: check the machine and its network. If it is `False`, read the kubelet's message.",
        notes: "After 5 minutes, Kubernetes begins to evict the node's pods. A new node is one that has not been ready yet, or not for two minutes; it is never critical. A node is being removed if it has a taint or a condition that announces it, such as those of the cluster-autoscaler, Karpenter, the cloud's node controller or a handler of spot interruptions, or if its kubelet reports that the machine shuts down, or ended pods for that. It is drained if it is cordoned and runs only DaemonSet and static pods.",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let node = &entry.node;
    let Some(ready) = Condition::of(&node.conditions, "Ready").filter(|c| !c.is_true()) else {
        return;
    };
    let thresholds = context.thresholds;
    let name = &node.meta.name;
    let since = ready.since.unwrap_or(context.now);
    let life = node_life::life(context.world, entry, context.now, thresholds);
    let was_ready = since >= node_life::registered_at(node);
    let by_design_until = match life {
        NodeLife::Starting if was_ready => None,
        NodeLife::Starting => Some(node_life::started_at(node, thresholds)),
        NodeLife::Leaving | NodeLife::Drained => Some(since.plus(thresholds.node_start)),
        NodeLife::InService => None,
    };
    if let Some(until) = by_design_until.filter(|until| context.now < *until) {
        // A node that was in service when it failed stays reported, also if it is then removed.
        output.keep_open("");
        output.recheck_at(until);
        return;
    }
    let pods = context.world.on_node(name).map_or(0, |on| on.pods.len());
    let why = if &*ready.status == "Unknown" {
        "its kubelet does not report: the machine, its network or the kubelet is down"
    } else {
        "its kubelet reports that it cannot run pods"
    };
    let description = format!(
        "Node {name} has not been ready since {since}: {why} ({}). It has {}. \
         Check the machine, then its kubelet (`kubectl describe node {name}`).",
        reason_and_message(&ready.reason, &ready.message),
        count(pods, "pod")
    );
    let critical_at = since.plus(thresholds.node_critical);
    let (severity, title) = match life {
        NodeLife::Leaving => (
            Severity::Warning,
            format!("Node {name} not ready and not removed"),
        ),
        NodeLife::Drained => (
            Severity::Warning,
            format!("Node {name} not ready and drained"),
        ),
        _ if !was_ready => (Severity::Error, format!("Node {name} has not become ready")),
        _ if context.now >= critical_at => {
            let minutes = human_duration(thresholds.node_critical);
            (
                Severity::Critical,
                format!("Node {name} not ready for more than {minutes}"),
            )
        }
        _ => {
            output.recheck_at(critical_at);
            (Severity::Error, format!("Node {name} not ready"))
        }
    };
    let symptom = output.add(severity, since, title, description);
    symptom.for_at_least(thresholds.node_unready);
    symptom.with("pods", pods).with("status", &*ready.status);
    symptom.node = Some(name.to_string());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn down(status: &str, since: i64) -> Value {
        node(
            "w1",
            json!({"status": {"conditions": [condition("Ready", status, since)]}}),
        )
    }

    /// A Node that joins now, not ready yet.
    fn fresh(patch: Value) -> Value {
        let ready = over(
            condition("Ready", "False", 3),
            json!({"reason": "KubeletNotReady", "message": "cni plugin not initialized"}),
        );
        let joined =
            json!({"metadata": {"creationTimestamp": t(3)}, "status": {"conditions": [ready]}});
        node("w1", over(joined, patch))
    }

    fn tainted(key: &str, effect: &str) -> Value {
        json!({"spec": {"taints": [{"key": key, "effect": effect}]}})
    }

    /// A pod on the node that a drain would move.
    fn workload() -> Step {
        apply(Kind::Pod, pod("web-1", json!({})))
    }

    fn daemon() -> Step {
        let owner = json!([{"kind": "DaemonSet", "name": "cni", "controller": true}]);
        apply(
            Kind::Pod,
            pod("cni-1", json!({"metadata": {"ownerReferences": owner}})),
        )
    }

    #[test]
    fn captured_stopped_kubelet_opens_gets_critical_then_closes() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                NoChange,
                Captured("node", "lost"),
                Wait(16),
                Opens(Error),
                Wait(301),
                Opens(Critical),
                Captured("node", "back"),
                Closes,
            ],
        );
    }

    #[test]
    fn removed_node_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, down("False", 0)),
                Wait(16),
                Opens(Error),
                Delete(Kind::Node, down("False", 0)),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_cordoned_node_does_not_open() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                Captured("node", "cordoned"),
                Wait(600),
                NoChange,
            ],
        );
    }

    #[test]
    fn restarted_kubelet_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, down("True", 0)),
                apply(Kind::Node, down("False", 3)),
                Wait(10),
                apply(Kind::Node, down("True", 13)),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn new_node_that_becomes_ready_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Node,
                    fresh(tainted("karpenter.sh/unregistered", "NoExecute")),
                ),
                Wait(90),
                apply(
                    Kind::Node,
                    fresh(tainted("node.cilium.io/agent-not-ready", "NoSchedule")),
                ),
                Wait(200),
                apply(
                    Kind::Node,
                    node("w1", json!({"metadata": {"creationTimestamp": t(3)}})),
                ),
                Wait(600),
                NoChange,
            ],
        );
    }

    #[test]
    fn new_node_that_stays_unready_opens_and_is_not_critical() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, fresh(json!({}))),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Error),
                Wait(600),
                NoChange,
            ],
        );
    }

    #[test]
    fn new_node_that_served_opens() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, fresh(json!({}))),
                Wait(30),
                apply(
                    Kind::Node,
                    fresh(json!({"status": {"conditions": [condition("Ready", "True", 33)]}})),
                ),
                Wait(100),
                apply(
                    Kind::Node,
                    fresh(json!({"status": {"conditions": [condition("Ready", "Unknown", 133)]}})),
                ),
                Wait(16),
                Opens(Error),
                Wait(300),
                Opens(Critical),
            ],
        );
    }

    #[test]
    fn node_removed_by_an_autoscaler_does_not_open() {
        for key in [
            "ToBeDeletedByClusterAutoscaler",
            "karpenter.sh/disrupted",
            "karpenter.sh/disruption",
            "aws-node-termination-handler/spot-itn",
            "cloud.google.com/impending-node-termination",
            "node.cloudprovider.kubernetes.io/shutdown",
        ] {
            let gone = over(down("Unknown", 10), tainted(key, "NoSchedule"));
            run(
                &RULE,
                vec![
                    apply(Kind::Node, down("True", 0)),
                    workload(),
                    apply(
                        Kind::Node,
                        over(down("True", 0), tainted(key, "NoSchedule")),
                    ),
                    Wait(60),
                    apply(Kind::Node, gone.clone()),
                    Wait(300),
                    Delete(Kind::Node, gone),
                    NoChange,
                ],
            );
        }
    }

    #[test]
    fn node_that_the_autoscaler_may_remove_later_opens() {
        let candidate = tainted("DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule");
        run(
            &RULE,
            vec![
                workload(),
                apply(Kind::Node, over(down("Unknown", 0), candidate)),
                Wait(16),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn node_that_is_not_removed_in_time_opens_as_warning() {
        let stays = over(
            down("Unknown", 0),
            tainted("karpenter.sh/disrupted", "NoSchedule"),
        );
        run(
            &RULE,
            vec![
                apply(Kind::Node, stays.clone()),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Warning),
                Delete(Kind::Node, stays),
                Closes,
            ],
        );
    }

    #[test]
    fn failed_node_stays_open_while_it_is_repaired() {
        let repaired = over(
            down("Unknown", 0),
            tainted("karpenter.sh/disrupted", "NoSchedule"),
        );
        run(
            &RULE,
            vec![
                workload(),
                apply(Kind::Node, down("Unknown", 0)),
                Wait(16),
                Opens(Error),
                apply(Kind::Node, repaired.clone()),
                Wait(60),
                NoChange,
                Delete(Kind::Node, repaired),
                Closes,
            ],
        );
    }

    #[test]
    fn machine_that_shuts_down_does_not_open_before_its_node_is_removed() {
        let says = json!({"status": {"conditions": [over(
            condition("Ready", "False", 3),
            json!({"reason": "KubeletNotReady", "message": "node is shutting down"}),
        )]}});
        run(
            &RULE,
            vec![
                workload(),
                apply(Kind::Node, node("w1", says)),
                Wait(50),
                apply(Kind::Node, down("Unknown", 53)),
                Wait(60),
                Delete(Kind::Node, down("Unknown", 53)),
                NoChange,
            ],
        );
    }

    /// The recorder did not see what the kubelet said, because it ran on the node.
    #[test]
    fn node_that_ended_its_pods_for_a_shutdown_does_not_open() {
        let ended_at = |second| {
            let target = over(
                condition("DisruptionTarget", "True", second),
                json!({"reason": "TerminationByKubelet"}),
            );
            let status = json!({"phase": "Failed", "reason": "Terminated", "conditions": [target]});
            let patch = json!({"spec": {"nodeName": "w1"}, "status": status});
            apply(Kind::Pod, pod("web-2", patch))
        };
        run(
            &RULE,
            vec![
                workload(),
                ended_at(0),
                apply(Kind::Node, down("Unknown", 3)),
                Wait(300),
                NoChange,
                // It came back, and fails later.
                apply(Kind::Node, down("True", 310)),
                Wait(1010),
                apply(Kind::Node, down("False", 1310)),
                Wait(16),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn drained_node_that_restarts_does_not_open() {
        let cordoned = json!({"spec": {"unschedulable": true}});
        run(
            &RULE,
            vec![
                daemon(),
                apply(Kind::Node, over(down("True", 0), cordoned.clone())),
                Wait(10),
                apply(Kind::Node, over(down("Unknown", 10), cordoned)),
                Wait(300),
                apply(Kind::Node, down("True", 310)),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn cordoned_node_with_pods_opens() {
        let cordoned = json!({"spec": {"unschedulable": true}});
        run(
            &RULE,
            vec![
                workload(),
                apply(Kind::Node, over(down("Unknown", 0), cordoned)),
                Wait(16),
                Opens(Error),
            ],
        );
    }
}
