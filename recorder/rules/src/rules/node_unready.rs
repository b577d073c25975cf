//! A node is not ready.

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, human_duration, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeUnready",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node is not ready",
        severity: "error; critical after `node_critical`",
        opens: "a node's condition `Ready` is not `True`",
        opens_after: "",
        closes: "the node is ready, or removed",
        action: "If the status is `Unknown`, the kubelet does not report: check the machine and its network. If it is `False`, read the kubelet's message.",
        notes: "After 5 minutes, Kubernetes begins to evict the node's pods.",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let node = &entry.node;
    let Some(ready) = Condition::of(&node.conditions, "Ready").filter(|c| !c.is_true()) else {
        return;
    };
    let name = &node.meta.name;
    let since = ready.since.unwrap_or(context.now);
    let critical_at = since.plus(context.thresholds.node_critical);
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
    let (severity, title) = if context.now >= critical_at {
        let minutes = human_duration(context.thresholds.node_critical);
        (
            Severity::Critical,
            format!("Node {name} not ready for more than {minutes}"),
        )
    } else {
        output.recheck_at(critical_at);
        (Severity::Error, format!("Node {name} not ready"))
    };
    let symptom = output.add(severity, since, title, description);
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

    #[test]
    fn captured_stopped_kubelet_opens_gets_critical_then_closes() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                NoChange,
                Captured("node", "lost"),
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
}
