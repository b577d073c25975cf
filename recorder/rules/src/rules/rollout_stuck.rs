//! The rollout of a Deployment makes no progress.

use kube9_ingest::objects::{Condition, Deployment};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "RolloutStuck",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "The rollout of a Deployment makes no progress",
        severity: "error",
        opens: "a Deployment's condition `Progressing` has the reason `ProgressDeadlineExceeded`",
        opens_after: "",
        closes: "the rollout progresses, a new rollout replaces it, or the Deployment is deleted",
        action: "Look at the findings of the newest pods. `kubectl rollout undo` restores the previous template.",
        notes: "",
    },
    reads: &[Kind::Deployment],
    check: Check::Deployment(check),
};

fn check(context: &RuleContext<'_>, deployment: &Deployment, output: &mut RuleOutput) {
    let progressing = Condition::of(&deployment.conditions, "Progressing");
    let Some(stuck) = progressing.filter(|c| &*c.reason == "ProgressDeadlineExceeded") else {
        return;
    };
    let meta = &deployment.meta;
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let since = stuck.since.unwrap_or(context.now);
    let description = format!(
        "The rollout of Deployment {full_name} exceeded its progress deadline. Pods wanted: {}; of the newest template: {}; available: {}. \
         The findings of the newest pods show why. \
         `kubectl rollout undo -n {} deployment/{}` restores the previous template.",
        deployment.replicas, deployment.updated, deployment.available, meta.namespace, meta.name
    );
    let symptom = output.add(
        Severity::Error,
        since,
        format!("Rollout of Deployment {full_name} is stuck"),
        description,
    );
    symptom
        .with("replicas", deployment.replicas)
        .with("updated", deployment.updated);
    symptom.with("available", deployment.available);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_missing_image_opens_then_closes_when_reverted() {
        run(
            &RULE,
            vec![
                Captured("rollout", "well"),
                NoChange,
                Captured("rollout", "stuck"),
                Opens(Error),
                Captured("rollout", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn rollout_in_progress_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Deployment,
                    deployment(json!({"status": {"conditions": [
                            over(condition("Progressing", "True", 0), json!({"reason": "ReplicaSetUpdated"}))]}})),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
