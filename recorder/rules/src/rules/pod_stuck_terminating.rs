//! A deleted pod does not terminate.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::pod_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodStuckTerminating",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A deleted pod does not terminate",
        severity: "warning",
        opens: "a deleted pod still exists after its grace period",
        opens_after: "`terminating`",
        closes: "the pod no longer exists",
        action: "Check whether its node is down, a finalizer is set, or a volume does not unmount.",
        notes: "",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let Some(due) = entry.pod.meta.deleting else {
        return;
    };
    if due > context.now {
        output.recheck_at(due);
        return;
    }
    let pod_name = pod_name(entry);
    let node = entry.pod.node.as_deref().unwrap_or("none");
    let description = format!(
        "Pod {pod_name} should have terminated by {due} and still exists. \
         Its node ({node}) may be down, a finalizer may be set, or a volume may not unmount: \
         run `kubectl get pod -n {} {} -o yaml` and `kubectl describe node {node}`.",
        entry.pod.meta.namespace, entry.pod.meta.name
    );
    let title = format!("Pod {pod_name} does not terminate");
    output
        .add(Severity::Warning, due, title, description)
        .of_pod(entry)
        .for_at_least(context.thresholds.terminating);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn deleted(due: i64) -> Value {
        pod("web-1", json!({"metadata": {"deletionTimestamp": t(due)}}))
    }

    #[test]
    fn captured_finalizer_opens_then_closes_when_removed() {
        run(
            &RULE,
            vec![
                Captured("terminating", "bad"),
                Wait(250),
                NoChange,
                Wait(60),
                Opens(Warning),
                Captured("terminating", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn deleted_pod_opens_after_its_grace_period_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, deleted(30)),
                Wait(320),
                NoChange,
                Wait(10),
                Opens(Warning),
                Delete(Kind::Pod, deleted(30)),
                Closes,
            ],
        );
    }

    #[test]
    fn long_grace_period_does_not_open() {
        run(
            &RULE,
            vec![apply(Kind::Pod, deleted(3600)), Wait(1000), NoChange],
        );
    }
}
