//! Pods of one controller cannot be scheduled, for one cause.

use std::collections::BTreeMap;

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{owner_name, pod_names, reason_and_message};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodsUnschedulableAlike",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Pods of one controller cannot be scheduled, for one cause",
        severity: "error",
        opens: "the scheduler finds no node for two pods or more of a controller, and gives the same main cause",
        opens_after: "`unschedulable`",
        closes: "fewer than two of them wait",
        action: "Add what the cause says is missing, or lower what the pods request.",
        notes: "Pods with a negative priority are left out (see `PodUnschedulable`).",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

/// Causes in the scheduler's messages, the most telling first.
const CAUSES: [(&str, &str); 8] = [
    ("Insufficient cpu", "not enough free CPU"),
    ("Insufficient memory", "not enough free memory"),
    ("Insufficient", "not enough of an extended resource"),
    ("untolerated taint", "taints that they do not tolerate"),
    (
        "node affinity",
        "no node that their affinity or selector allows",
    ),
    ("volume", "a volume that no node can have"),
    ("topology spread", "their topology spread constraints"),
    ("anti-affinity", "their anti-affinity"),
];

fn cause(message: &str) -> &'static str {
    CAUSES
        .iter()
        .find(|(text, _)| message.contains(text))
        .map_or("another cause", |(_, cause)| cause)
}

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let mut causes: BTreeMap<&str, Vec<(&PodEntry, &Condition)>> = BTreeMap::new();
    for entry in &group.pods {
        let pod = &entry.pod;
        if pod.node.is_some() || pod.meta.deleting.is_some() || entry.owner.kind == "Pod" {
            continue;
        }
        if pod.spec.is_placeholder {
            continue;
        }
        let condition = Condition::of(&pod.conditions, "PodScheduled");
        if let Some(condition) = condition.filter(|c| &*c.reason == "Unschedulable") {
            causes
                .entry(cause(&condition.message))
                .or_default()
                .push((entry, condition));
        }
    }
    for (cause, waiting) in causes.into_iter().filter(|(_, waiting)| waiting.len() >= 2) {
        let owner = owner_name(&waiting[0].0.owner);
        let since = waiting
            .iter()
            .filter_map(|(_, c)| c.since)
            .min()
            .unwrap_or(context.now);
        let description = format!(
            "{} pods of {owner} have waited for a node since {since}; the main cause is {cause}. The scheduler reports: {}. \
             Add what is missing, or lower the requests.",
            waiting.len(),
            reason_and_message("", &waiting[0].1.message)
        );
        let title = format!(
            "{} pods of {owner} cannot be scheduled ({cause})",
            waiting.len()
        );
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .part(cause)
            .for_at_least(context.thresholds.unschedulable);
        symptom.with("cause", cause).with("pods", waiting.len());
        symptom.with(
            "members",
            pod_names(waiting.into_iter().map(|(entry, _)| entry)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    const CPU: &str = "0/3 nodes are available: 3 Insufficient cpu.";
    const TAINT: &str = "0/3 nodes are available: 3 node(s) had untolerated taint {a: b}.";

    #[test]
    fn captured_node_selector_opens_then_closes_when_deleted() {
        run(
            &RULE,
            vec![
                Captured("unschedulable", "bad"),
                Wait(301),
                Opens(Error),
                Captured("unschedulable", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn two_pods_open_then_close_when_one_is_scheduled() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, unscheduled("web-1", "Unschedulable", CPU)),
                    (Kind::Pod, unscheduled("web-2", "Unschedulable", CPU)),
                ]),
                Wait(301),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn different_causes_do_not_open() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, unscheduled("web-1", "Unschedulable", CPU)),
                    (Kind::Pod, unscheduled("web-2", "Unschedulable", TAINT)),
                ]),
                Wait(400),
                NoChange,
            ],
        );
    }
}
