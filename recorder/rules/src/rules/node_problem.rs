//! A node reports a problem.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeProblem",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node reports a problem",
        severity: "error",
        opens: "a node has the condition `NetworkUnavailable`, or one that a problem detector sets: `KernelDeadlock`, `ReadonlyFilesystem`, `CorruptDockerOverlay2`, `FrequentKubeletRestart`, and any other `…Problem`, `…Failure`, `…Unhealthy`, `Corrupt…` or `Frequent…`",
        opens_after: "",
        closes: "the condition is not `True`, or the node is removed",
        action: "Read the condition's message, then the node's kernel log (`journalctl -k`).",
        notes: "",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

/// Conditions of which `True` is bad. Others may mean either, so they say nothing.
fn is_problem(kind: &str) -> bool {
    const KNOWN: [&str; 5] = [
        "NetworkUnavailable",
        "KernelDeadlock",
        "ReadonlyFilesystem",
        "XfsShutdown",
        "CperHardwareErrorFatal",
    ];
    KNOWN.contains(&kind)
        || kind.starts_with("Frequent")
        || kind.starts_with("Corrupt")
        || ["Problem", "Failure", "Unhealthy"]
            .iter()
            .any(|end| kind.ends_with(end))
}

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let name = &entry.node.meta.name;
    for condition in entry
        .node
        .conditions
        .iter()
        .filter(|c| c.is_true() && is_problem(&c.kind))
    {
        let kind = &*condition.kind;
        let since = condition.since.unwrap_or(context.now);
        let description = format!(
            "Node {name} has reported {kind} since {since}: {}. \
             Read the logs of its kernel and kubelet (`journalctl -k`, `journalctl -u kubelet`).",
            reason_and_message(&condition.reason, &condition.message)
        );
        let symptom = output.add(
            Severity::Error,
            since,
            format!("Node {name} reports {kind}"),
            description,
        );
        symptom.part(kind).with("condition", kind);
        symptom.node = Some(name.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn network_unavailable_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("NetworkUnavailable", "True")),
                Opens(Error),
                apply(Kind::Node, node_reporting("NetworkUnavailable", "False")),
                Closes,
            ],
        );
    }

    #[test]
    fn problem_detector_condition_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("FrequentKubeletRestart", "True")),
                Opens(Error),
                Delete(Kind::Node, node_reporting("FrequentKubeletRestart", "True")),
                Closes,
            ],
        );
    }

    #[test]
    fn unknown_condition_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("EtcdIsVoter", "True")),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_kernel_deadlock_opens_then_closes() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                NoChange,
                Captured("node", "problem"),
                Opens(Error),
                Captured("node", "no-problem"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_pressure_does_not_open() {
        run(&RULE, vec![Captured("node", "pressure"), NoChange]);
    }
}
