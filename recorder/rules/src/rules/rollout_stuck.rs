//! A rollout does not get on.

use kube9_ingest::objects::{Condition, Deployment};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Rule, RuleDoc};
use super::symptoms::Signs;

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

fn check(context: &Context<'_>, deployment: &Deployment, signs: &mut Signs) {
    let progressing = Condition::of(&deployment.conditions, "Progressing");
    let Some(stuck) = progressing.filter(|c| &*c.reason == "ProgressDeadlineExceeded") else {
        return;
    };
    let meta = &deployment.meta;
    let place = format!("{}/{}", meta.namespace, meta.name);
    let since = stuck.since.unwrap_or(context.now);
    let description = format!(
        "The rollout of Deployment {place} exceeded its progress deadline. Pods wanted: {}; of the newest template: {}; available: {}. \
         The findings of the newest pods show why. \
         `kubectl rollout undo -n {} deployment/{}` restores the previous template.",
        deployment.replicas, deployment.updated, deployment.available, meta.namespace, meta.name
    );
    let sign = signs.add(
        Severity::Error,
        since,
        format!("Rollout of Deployment {place} is stuck"),
        description,
    );
    sign.with("replicas", deployment.replicas)
        .with("updated", deployment.updated);
    sign.with("available", deployment.available);
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
                Seen("rollout", "well"),
                Quiet,
                Seen("rollout", "stuck"),
                Opens(Error),
                Seen("rollout", "repaired"),
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
                Quiet,
            ],
        );
    }
}
