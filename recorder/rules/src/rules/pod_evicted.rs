//! A node evicted a pod.

use kube9_ingest::objects::{Condition, Phase};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{pod_name, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodEvicted",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node evicted a pod",
        severity: "warning",
        opens: "a pod failed with the reason `Evicted`: its node was short of memory, disk or process IDs, or the pod exceeded a limit",
        opens_after: "",
        closes: "the failed pod is deleted",
        action: "Check whether `NodeUnderPressure` is open for the node. Set requests that match what the pod uses.",
        notes: "",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if &*pod.reason != "Evicted" || pod.phase != Phase::Failed {
        return;
    }
    let (pod_name, node) = (pod_name(entry), pod.node.as_deref().unwrap_or("unknown"));
    let target = Condition::of(&pod.conditions, "DisruptionTarget");
    let since = target.and_then(|c| c.since).unwrap_or(context.now);
    let description = format!(
        "Node {node} evicted pod {pod_name}: {}. Raise the limit if it exceeded one; otherwise set requests that match what it \
         uses, and check whether the node is still under pressure.",
        reason_and_message("", &pod.message)
    );
    let title = format!("Pod {pod_name} evicted from node {node}");
    output
        .add(Severity::Warning, since, title, description)
        .of_pod(entry);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_eviction_opens_then_closes_when_deleted() {
        run(
            &RULE,
            vec![
                Captured("evicted", "bad"),
                Opens(Warning),
                Captured("evicted", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn other_failure_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    pod(
                        "web-1",
                        json!({"status": {"phase": "Failed", "reason": "NodeShutdown"}}),
                    ),
                ),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_failed_job_does_not_open() {
        run(&RULE, vec![Captured("job", "bad"), NoChange]);
    }
}
