//! A pod was evicted.

use kube9_ingest::objects::{Condition, Phase};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{place, said};
use super::rule::{Check, Context, Rule, RuleDoc};
use super::symptoms::Signs;
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

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    if &*pod.reason != "Evicted" || pod.phase != Phase::Failed {
        return;
    }
    let (place, node) = (place(entry), pod.node.as_deref().unwrap_or("unknown"));
    let target = Condition::of(&pod.conditions, "DisruptionTarget");
    let since = target.and_then(|c| c.since).unwrap_or(context.now);
    let description = format!(
        "Node {node} evicted pod {place}: {}. Raise the limit if it exceeded one; otherwise set requests that match what it \
         uses, and check whether the node is still under pressure.",
        said("", &pod.message)
    );
    let title = format!("Pod {place} evicted from node {node}");
    signs
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
                Seen("evicted", "bad"),
                Opens(Warning),
                Seen("evicted", "repaired"),
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
                Quiet,
            ],
        );
    }

    #[test]
    fn captured_failed_job_does_not_open() {
        run(&RULE, vec![Seen("job", "bad"), Quiet]);
    }
}
