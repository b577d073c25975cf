//! The API server refuses the pods of a Deployment.

use kube9_ingest::objects::{Condition, Deployment};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "PodCreationRefused",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "The API server refuses the pods of a Deployment",
        severity: "error",
        opens: "a Deployment's condition `ReplicaFailure` is `True`",
        opens_after: "`assessment`",
        closes: "the condition is not `True`, or the Deployment is deleted",
        action: "Read the message: it names the quota, the admission policy or the missing service account.",
        notes: "In a new namespace, the service account exists a moment later than the first pod, and an admission webhook that restarts refuses pods for some seconds.",
    },
    reads: &[Kind::Deployment],
    check: Check::Deployment(check),
};

fn check(context: &RuleContext<'_>, deployment: &Deployment, output: &mut RuleOutput) {
    let failure = Condition::of(&deployment.conditions, "ReplicaFailure");
    let Some(failure) = failure.filter(|c| c.is_true()) else {
        return;
    };
    let meta = &deployment.meta;
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let since = failure.since.unwrap_or(context.now);
    let description = format!(
        "The API server has refused pods of Deployment {full_name} since {since}: {}. \
         Correct the quota, the admission policy or the service account that the message names.",
        reason_and_message(&failure.reason, &failure.message)
    );
    let symptom = output.add(
        Severity::Error,
        since,
        format!("Pods of Deployment {full_name} cannot be created"),
        description,
    );
    symptom.for_at_least(context.thresholds.assessment);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn failure(status: &str) -> Value {
        deployment(json!({"status": {"conditions": [condition("ReplicaFailure", status, 0)]}}))
    }

    #[test]
    fn captured_quota_opens_then_closes_when_removed() {
        run(
            &RULE,
            vec![
                Captured("quota", "bad"),
                Wait(31),
                Opens(Error),
                Captured("quota", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn condition_false_does_not_open() {
        run(
            &RULE,
            vec![apply(Kind::Deployment, failure("False")), NoChange],
        );
    }

    #[test]
    fn short_refusal_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, failure("True")),
                Wait(10),
                apply(Kind::Deployment, failure("False")),
                Wait(60),
                NoChange,
            ],
        );
    }
}
