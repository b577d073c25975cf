//! A node is short of memory, disk or process IDs.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeUnderPressure",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node is short of memory, disk or process IDs",
        severity: "error",
        opens: "a node reports `MemoryPressure`, `DiskPressure` or `PIDPressure`",
        opens_after: "",
        closes: "the node no longer reports the condition, or is removed",
        action: "Find what uses the memory, disk or process IDs. The kubelet evicts pods that use more than they request.",
        notes: "",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

const CONDITIONS: [(&str, &str); 3] = [
    ("MemoryPressure", "memory"),
    ("DiskPressure", "disk space"),
    ("PIDPressure", "process IDs"),
];

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let name = &entry.node.meta.name;
    for condition in entry.node.conditions.iter().filter(|c| c.is_true()) {
        let Some((kind, what)) = CONDITIONS
            .iter()
            .find(|(kind, _)| *kind == &*condition.kind)
        else {
            continue;
        };
        let since = condition.since.unwrap_or(context.now);
        let description = format!(
            "Node {name} has been short of {what} since {since} ({}). It accepts no new pods and evicts pods that use more \
             than they request. Find what uses the resource: `kubectl describe node {name}` lists its pods and their requests.",
            reason_and_message(&condition.reason, &condition.message)
        );
        let title = format!("Node {name} is short of {what}");
        let symptom = output.add(Severity::Error, since, title, description);
        symptom.part(*kind).with("condition", *kind);
        symptom.node = Some(name.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_memory_pressure_opens_then_closes() {
        run(
            &RULE,
            vec![
                Captured("node", "uncordoned"),
                NoChange,
                Captured("node", "pressure"),
                Opens(Error),
                Captured("node", "over"),
                Closes,
            ],
        );
    }

    #[test]
    fn disk_pressure_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("DiskPressure", "True")),
                Opens(Error),
                apply(Kind::Node, node_reporting("DiskPressure", "False")),
                Closes,
            ],
        );
    }

    #[test]
    fn condition_false_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("PIDPressure", "False")),
                NoChange,
            ],
        );
    }

    #[test]
    fn problem_condition_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("KernelDeadlock", "True")),
                NoChange,
            ],
        );
    }
}
