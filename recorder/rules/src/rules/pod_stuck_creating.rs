//! A pod's containers are not created.

use kube9_ingest::objects::{Condition, Phase};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::pod_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodStuckCreating",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A pod's containers are not created",
        severity: "warning",
        opens: "a pod has a node, and all its containers wait with `ContainerCreating` or `PodInitializing`",
        opens_after: "`creating`",
        closes: "a container runs or fails in another way, or the pod is deleted",
        action: "Run `kubectl describe pod`: its Events name what the pod waits for, such as a volume, the network plugin or a Secret.",
        notes: "",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase != Phase::Pending || pod.node.is_none() || pod.meta.deleting.is_some() {
        return;
    }
    let creating = |word: &str| matches!(word, "" | "ContainerCreating" | "PodInitializing");
    let idle = pod
        .containers
        .iter()
        .all(|c| c.running.is_none() && c.latest_end().is_none() && creating(&c.waiting));
    if !idle {
        return;
    }
    let scheduled = Condition::of(&pod.conditions, "PodScheduled").filter(|c| c.is_true());
    let since = scheduled.and_then(|c| c.since).unwrap_or(pod.meta.created);
    let pod_name = pod_name(entry);
    let node = pod.node.as_deref().unwrap_or_default();
    let description = format!(
        "Pod {pod_name} has been on node {node} since {since}, and none of its containers has been created. \
         `kubectl describe pod -n {} {}` names what it waits for, such as a volume, the network plugin or a Secret.",
        pod.meta.namespace, pod.meta.name
    );
    let title = format!("Pod {pod_name} stuck in ContainerCreating");
    output
        .add(Severity::Warning, since, title, description)
        .of_pod(entry)
        .for_at_least(context.thresholds.creating);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn creating(reason: &str) -> Value {
        over(
            pod_with("web-1", 1, waiting(reason), json!({})),
            json!({"status": {"phase": "Pending"}}),
        )
    }

    #[test]
    fn captured_missing_secret_opens_then_closes_when_created() {
        run(
            &RULE,
            vec![
                Captured("creating", "bad"),
                Wait(601),
                Opens(Warning),
                Captured("creating", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn creating_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, creating("ContainerCreating")),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn image_pull_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, creating("ImagePullBackOff")),
                Wait(700),
                NoChange,
            ],
        );
    }
}
