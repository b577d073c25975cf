//! All replicas run on one node.

use std::collections::BTreeSet;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "ReplicasOnOneNode",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "All replicas run on one node",
        severity: "warning",
        opens: "all ready pods of a Deployment, ReplicaSet or StatefulSet (two or more) are on one node, while another node is ready and schedulable",
        opens_after: "10 times `assessment`",
        closes: "a ready pod is on another node, or fewer than two are left",
        action: "Add a topology spread constraint or pod anti-affinity.",
        notes: "If the node fails, all of them fail.",
    },
    reads: &[Kind::Pod, Kind::Node],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let owner = &group.pods[0].owner;
    if !matches!(&*owner.kind, "Deployment" | "ReplicaSet" | "StatefulSet") {
        return;
    }
    let ready: Vec<_> = group
        .pods
        .iter()
        .filter(|entry| entry.pod.is_ready())
        .collect();
    let nodes: BTreeSet<&str> = ready
        .iter()
        .filter_map(|entry| entry.pod.node.as_deref())
        .collect();
    if ready.len() < 2 || nodes.len() != 1 {
        return;
    }
    let node = nodes.first().copied().unwrap_or_default();
    if !context.world.another_node_is_schedulable(node) {
        return;
    }
    let words = owner_name(owner);
    let description = format!(
        "All {} ready pods of {words} are on node {node}. If it fails, all of them fail. \
         Add a topology spread constraint or pod anti-affinity.",
        ready.len()
    );
    let since = group.newest().pod.meta.created;
    let symptom = output.add(
        Severity::Warning,
        since,
        format!("All pods of {words} are on one node"),
        description,
    );
    // Pods of a rollout come one after the other; the first two say nothing.
    symptom
        .for_at_least(context.thresholds.assessment * 10)
        .with("pods", ready.len());
    symptom.node = Some(node.to_owned());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    fn two() -> Step {
        Apply(vec![
            (Kind::Pod, pod("web-1", json!({}))),
            (Kind::Pod, pod("web-2", json!({}))),
        ])
    }

    fn nodes(second: Value) -> Step {
        Apply(vec![
            (Kind::Node, node("w1", json!({}))),
            (Kind::Node, node("w2", second)),
        ])
    }

    #[test]
    fn two_pods_on_one_of_two_nodes_open_then_close_when_one_moves() {
        run(
            &RULE,
            vec![
                nodes(json!({})),
                two(),
                Wait(310),
                Opens(Warning),
                apply(Kind::Pod, pod("web-2", json!({"spec": {"nodeName": "w2"}}))),
                Closes,
            ],
        );
    }

    #[test]
    fn unschedulable_other_node_does_not_open() {
        run(
            &RULE,
            vec![
                nodes(json!({"spec": {"unschedulable": true}})),
                two(),
                Wait(400),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_second_node_opens_then_closes_when_removed() {
        run(
            &RULE,
            vec![
                Captured("neighbour", "beside"),
                Wait(310),
                Opens(Warning),
                Captured("neighbour", "alone"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_single_node_does_not_open() {
        run(
            &RULE,
            vec![
                Captured("full-node", "bad"),
                Captured("not-ready", "repaired"),
                Wait(400),
                NoChange,
            ],
        );
    }
}
