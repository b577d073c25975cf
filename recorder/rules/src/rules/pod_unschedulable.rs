//! The scheduler finds no node for a pod.

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{pod_name, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodUnschedulable",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "The scheduler finds no node for a pod",
        severity: "error",
        opens: "a pod's condition `PodScheduled` is `False`",
        opens_after: "`unschedulable`",
        closes: "the pod has a node, or is deleted",
        action: "Read the scheduler's message: it counts the nodes by what they lack, such as CPU, memory, a toleration or a volume's zone.",
        notes: "Pods with scheduling gates are left out, and those with a negative priority, which keep room for others and may wait.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    let scheduled = Condition::of(&pod.conditions, "PodScheduled");
    let Some(scheduled) = scheduled.filter(|c| &*c.status == "False") else {
        return;
    };
    if pod.node.is_some() || pod.meta.deleting.is_some() || pod.phase.is_final() {
        return;
    }
    if pod.spec.is_placeholder {
        return;
    }
    let gated = &*scheduled.reason == "SchedulingGated";
    if gated {
        return; // a scheduling gate is intended
    }
    let pod_name = pod_name(entry);
    let since = scheduled.since.unwrap_or(pod.meta.created);
    let description = format!(
        "Pod {pod_name} has waited for a node since {since}: {}. Free or add what the nodes lack, or change what the pod requests.",
        reason_and_message("", &scheduled.message)
    );
    let symptom = output.add(
        Severity::Error,
        since,
        format!("Pod {pod_name} cannot be scheduled"),
        description,
    );
    symptom
        .of_pod(entry)
        .for_at_least(context.thresholds.unschedulable);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    const CPU: &str = "0/1 nodes are available: 1 Insufficient cpu.";

    #[test]
    fn captured_two_pods_open_then_close_when_scheduled() {
        run(
            &RULE,
            vec![
                Captured("unschedulable", "bad"),
                Wait(301),
                OpensEach(2, Error),
                Captured("unschedulable", "repaired"),
                ClosesEach(2),
            ],
        );
    }

    #[test]
    fn unscheduled_pod_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, unscheduled("web-1", "Unschedulable", CPU)),
                Wait(290),
                NoChange,
                Wait(20),
                Opens(Error),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn scheduling_gate_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, unscheduled("web-1", "SchedulingGated", "gated")),
                Wait(400),
                NoChange,
            ],
        );
    }

    #[test]
    fn placeholder_of_negative_priority_does_not_open() {
        let waits = unscheduled("web-1", "Unschedulable", "0/3 nodes are available");
        run(
            &RULE,
            vec![
                apply(Kind::Pod, over(waits, json!({"spec": {"priority": -10}}))),
                Wait(600),
                NoChange,
            ],
        );
    }
}
