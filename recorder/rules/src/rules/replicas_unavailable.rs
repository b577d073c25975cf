//! A Deployment has too few available pods.

use kube9_ingest::objects::{Condition, Deployment};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::count;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::subject::clean_key;

pub(super) const RULE: Rule = Rule {
    name: "ReplicasUnavailable",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A Deployment has too few available pods",
        severity: "error; critical if no pod is available",
        opens: "a Deployment has fewer available pods than it wants, and its condition `Available` is not `True`",
        opens_after: "`unavailable`",
        closes: "the condition has been `True` for `recovery`, or the Deployment is deleted or scaled to 0",
        action: "Look at the findings of its pods.",
        notes: "A Deployment of pods with a negative priority, which keep room for others, is left out while they wait for a node.",
    },
    reads: &[Kind::Deployment],
    check: Check::Deployment(check),
};

fn check(context: &RuleContext<'_>, deployment: &Deployment, output: &mut RuleOutput) {
    let available = Condition::of(&deployment.conditions, "Available");
    let Some(condition) = available else { return };
    if deployment.replicas == 0 {
        return;
    }
    if condition.is_true() || deployment.available >= deployment.replicas {
        let well = condition
            .since
            .map(|since| since.plus(context.thresholds.recovery));
        if let Some(well) = well.filter(|well| context.now < *well) {
            output.keep_open("");
            output.recheck_at(well);
        }
        return;
    }
    let meta = &deployment.meta;
    let key = clean_key("Deployment", &meta.namespace, &meta.name);
    let mut pods = context.world.pods_of(&key);
    if pods.any(|entry| entry.pod.spec.is_placeholder && entry.pod.node.is_none()) {
        return;
    }
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let since = condition.since.unwrap_or(context.now);
    let (severity, title) = if deployment.available == 0 {
        (
            Severity::Critical,
            format!("Deployment {full_name} has no available pod"),
        )
    } else {
        (
            Severity::Error,
            format!("Deployment {full_name} has too few available pods"),
        )
    };
    let description = format!(
        "Deployment {full_name} has {} of {} available, too few since {since}. \
         `kube9-query events list --owner {} --object-namespace {} --severity warning+` shows why.",
        deployment.available,
        count(usize::try_from(deployment.replicas).unwrap_or(0), "pod"),
        meta.name,
        meta.namespace
    );
    let symptom = output.add(severity, since, title, description);
    symptom.for_at_least(context.thresholds.unavailable);
    symptom
        .with("replicas", deployment.replicas)
        .with("available", deployment.available);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn short(available: i64, status: &str) -> Value {
        deployment(
            json!({"spec": {"replicas": 4}, "status": {"availableReplicas": available,
            "conditions": [condition("Available", status, 0)]}}),
        )
    }

    #[test]
    fn captured_unready_pods_open_then_close_when_ready() {
        run(
            &RULE,
            vec![
                Captured("not-ready", "bad"),
                Wait(301),
                Opens(Critical),
                Captured("not-ready", "repaired"),
                Wait(61),
                Closes,
            ],
        );
    }

    #[test]
    fn too_few_pods_open_after_the_delay_get_critical_then_close() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, short(1, "False")),
                Wait(290),
                NoChange,
                Wait(20),
                Opens(Error),
                apply(Kind::Deployment, short(0, "False")),
                Opens(Critical),
                // Pods that crash in turn: as bad as it was, not one row each time.
                apply(Kind::Deployment, short(1, "False")),
                NoChange,
                apply(Kind::Deployment, short(0, "False")),
                NoChange,
                apply(Kind::Deployment, short(4, "True")),
                Closes, // its condition is true since long ago
            ],
        );
    }

    #[test]
    fn fewer_pods_within_max_unavailable_do_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, short(3, "True")),
                Wait(400),
                NoChange,
            ],
        );
    }

    #[test]
    fn placeholder_pods_that_wait_do_not_open() {
        let few = deployment(
            json!({"status": {"availableReplicas": 0, "conditions": [condition("Available", "False", 0)]}}),
        );
        let waiting = |priority: i64| {
            over(
                unscheduled("web-1", "Unschedulable", "0/3 nodes are available"),
                json!({"spec": {"priority": priority}}),
            )
        };
        let case = |priority: i64| {
            vec![
                apply(Kind::Pod, waiting(priority)),
                apply(Kind::Deployment, few.clone()),
                Wait(310),
            ]
        };
        let mut placeholders = case(-10);
        placeholders.push(NoChange);
        run(&RULE, placeholders);
        let mut others = case(0);
        others.push(Opens(Critical));
        run(&RULE, others);
    }
}
