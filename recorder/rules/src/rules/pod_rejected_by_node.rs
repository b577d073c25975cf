//! A node rejected pods that were scheduled to it.

use std::collections::BTreeMap;

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, owner_name, pod_names, reason_and_message};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::is_rejected;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodRejectedByNode",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node rejected pods that were scheduled to it",
        severity: "warning",
        opens: "a pod failed because the kubelet did not accept it, with a reason such as `UnexpectedAdmissionError`, `OutOfcpu`, `OutOfmemory`, `OutOfpods`, `NodeAffinity` or `TopologyAffinityError`",
        opens_after: "",
        closes: "the failed pods are deleted",
        action: "Read the message: the node lacks a device, CPU, memory or a label that the scheduler counted on. A controller starts other pods in their place and leaves the failed ones: delete them when the cause is known.",
        notes: "Pods of one controller are one finding. `PodEvicted` reports pods with the reason `Evicted`. Pods that a node ends or rejects because it shuts down, or stops for a critical pod, are left out.",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let pods = group.pods.iter().copied();
    let rejected = pods.filter(|entry| {
        let pod = &entry.pod;
        let target = Condition::of(&pod.conditions, "DisruptionTarget");
        is_rejected(pod) && pod.meta.deleting.is_none() && !target.is_some_and(Condition::is_true)
    });
    let rejected: Vec<&PodEntry> = rejected.collect();
    let Some(newest) = rejected
        .iter()
        .max_by_key(|entry| (entry.pod.meta.created, &*entry.pod.meta.name))
    else {
        return;
    };
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &rejected {
        *reasons.entry(&*entry.pod.reason).or_default() += 1;
    }
    let owner = owner_name(&newest.owner);
    let number = count(rejected.len(), "pod");
    let names = Vec::from_iter(reasons.keys().take(REASONS_MAX).copied()).join(", ");
    let (title, what) = if newest.owner.kind == "Pod" {
        let node = newest.pod.node.as_deref().unwrap_or("unknown");
        let title = format!("{owner} rejected by node {node}: {names}");
        (title, format!("Node {node} rejected {owner}"))
    } else {
        let title = format!("Pods of {owner} rejected by their nodes: {names}");
        (
            title,
            format!(
                "Nodes rejected {number} of {owner}, last {}",
                newest.pod.meta.name
            ),
        )
    };
    let description = format!(
        "{what} ({}). Correct what the node lacks, and delete the failed pods.",
        reason_and_message(&newest.pod.reason, &newest.pod.message)
    );
    let symptom = output.add(Severity::Warning, context.now, title, description);
    symptom.of_pod(newest).with("pods", rejected.len());
    let reasons = reasons.into_iter().take(REASONS_MAX);
    symptom
        .with("reasons", Vec::from_iter(reasons.map(|(reason, _)| reason)))
        .with("members", pod_names(rejected.into_iter()));
}

/// Reasons that the texts name.
const REASONS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn failed(name: &str, reason: &str, message: &str) -> Value {
        let status = json!({"status": {"phase": "Failed", "reason": reason, "message": message,
            "conditions": [], "containerStatuses": null}});
        pod(name, status)
    }

    fn rejected(name: &str, reason: &str) -> Value {
        failed(name, reason, "Pod was rejected: the node has no such thing")
    }

    #[test]
    fn rejected_pods_of_a_controller_open_one_finding_that_closes_when_deleted() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod("web-9", json!({}))),
                apply(Kind::Pod, rejected("web-1", "UnexpectedAdmissionError")),
                Opens(Warning),
                apply(Kind::Pod, rejected("web-2", "OutOfcpu")),
                apply(Kind::Pod, rejected("web-3", "NodeAffinity")),
                NoChange,
                Delete(Kind::Pod, rejected("web-1", "UnexpectedAdmissionError")),
                Delete(Kind::Pod, rejected("web-2", "OutOfcpu")),
                NoChange,
                Delete(Kind::Pod, rejected("web-3", "NodeAffinity")),
                Closes,
            ],
        );
    }

    #[test]
    fn every_reason_of_the_kubelet_opens() {
        for reason in [
            "UnexpectedAdmissionError",
            "OutOfcpu",
            "OutOfmemory",
            "OutOfephemeral-storage",
            "OutOfpods",
            "OutOfnvidia.com/gpu",
            "NodeAffinity",
            "NodeName",
            "NodePorts",
            "TaintToleration",
            "TopologyAffinityError",
            "SMTAlignmentError",
            "SysctlForbidden",
            "AppArmor",
            "PodOSNotSupported",
        ] {
            run(
                &RULE,
                vec![apply(Kind::Pod, rejected("web-1", reason)), Opens(Warning)],
            );
        }
    }

    #[test]
    fn rejected_pod_without_controller_opens() {
        let alone = json!({"metadata": {"ownerReferences": null}});
        let pod = over(rejected("web-1", "OutOfmemory"), alone);
        run(&RULE, vec![apply(Kind::Pod, pod), Opens(Warning)]);
    }

    #[test]
    fn pod_that_ran_and_lost_its_status_opens() {
        let lost = json!({"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137, "finishedAt": null}});
        let pod = over(
            pod_with("web-1", 0, lost, json!({})),
            json!({"status": {"phase": "Failed", "reason": "NodeAffinity"}}),
        );
        run(&RULE, vec![apply(Kind::Pod, pod), Opens(Warning)]);
    }

    #[test]
    fn other_ends_by_the_node_do_not_open() {
        for reason in [
            "Evicted",
            "Terminated",
            "Shutdown",
            "NodeShutdown",
            "Preempting",
            "DeadlineExceeded",
            "",
        ] {
            run(
                &RULE,
                vec![apply(Kind::Pod, rejected("web-1", reason)), NoChange],
            );
        }
    }

    #[test]
    fn pod_that_a_restarted_kubelet_rejected_and_stopped_opens() {
        for (reason, message) in [
            ("UnexpectedAdmissionError", "Pod Allocate failed"),
            ("OutOfcpu", "Pod Node didn't have enough resource: cpu"),
            (
                "MatchNodeSelector",
                "Pod Predicate MatchNodeSelector failed",
            ),
            ("Novel", "Pod was rejected: of a reason that is new"),
        ] {
            let pod = over(
                pod_with("web-1", 0, terminated("Error", 137, 0, 5), json!({})),
                json!({"status": {"phase": "Failed", "reason": reason, "message": message}}),
            );
            run(&RULE, vec![apply(Kind::Pod, pod), Opens(Warning)]);
        }
    }

    #[test]
    fn failure_of_a_container_does_not_open() {
        let end = terminated("Error", 1, 0, 5);
        let pod = over(
            pod_with("web-1", 0, end, json!({})),
            json!({"status": {"phase": "Failed", "reason": "Odd"}}),
        );
        run(&RULE, vec![apply(Kind::Pod, pod), NoChange]);
    }
}
