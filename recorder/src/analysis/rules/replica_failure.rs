//! Pods of a Deployment cannot be created at all.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs};
use crate::metrics::Kind;
use crate::source::objects::{Condition, Deployment};

pub(super) const RULE: Rule = Rule {
    id: "H16",
    event_type: EventType::Health,
    name: "pods cannot be created",
    doc: "\
Opens when a Deployment has the condition `ReplicaFailure`: the API server refuses its pods; severity error.
Closes when the condition goes, or the Deployment is deleted.
Next: the message names the quota, the admission policy or the missing service account.",
    reads: &[Kind::Deployment],
    check: Check::Deployment(check),
};

fn check(context: &Context<'_>, deployment: &Deployment, signs: &mut Signs) {
    let failure = Condition::of(&deployment.conditions, "ReplicaFailure");
    let Some(failure) = failure.filter(|c| c.is_true()) else {
        return;
    };
    let meta = &deployment.meta;
    let place = format!("{}/{}", meta.namespace, meta.name);
    let since = failure.since.unwrap_or(context.now);
    let description = format!(
        "The API server refuses pods of Deployment {place} ({}): {}",
        failure.reason, failure.message
    );
    signs.add(
        Severity::Error,
        since,
        format!("Pods of Deployment {place} cannot be created"),
        description,
    );
}
