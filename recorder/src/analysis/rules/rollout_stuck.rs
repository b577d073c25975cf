//! A rollout does not get on.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs};
use crate::metrics::Kind;
use crate::source::objects::{Condition, Deployment};

pub(super) const RULE: Rule = Rule {
    id: "H14",
    event_type: EventType::Health,
    name: "rollout stuck",
    doc: "\
Opens when a Deployment's condition Progressing is `False` with `ProgressDeadlineExceeded`; severity error.
Closes when the rollout gets on (mostly: a new one is made, or it is rolled back), or the Deployment is deleted.
Next: the findings of its newest pods say why they do not become available; `kubectl rollout undo` brings the old ones back.",
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
        "The rollout of Deployment {place} exceeded its progress deadline: {} of {} pods are of the newest template, \
         {} are available. See why the newest pods do not become available; \
         `kubectl rollout undo -n {} deployment/{}` brings the old template back.",
        deployment.updated, deployment.replicas, deployment.available, meta.namespace, meta.name
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
