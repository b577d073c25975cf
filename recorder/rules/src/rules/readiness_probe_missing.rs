//! Pods behind a Service have no readiness probe.

use kube9_ingest::objects::Role;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::subject::path;

pub(super) const RULE: Rule = Rule {
    name: "ReadinessProbeMissing",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "Pods behind a Service have no readiness probe",
        severity: "warning",
        opens: "a Service selects pods, and none of their containers has a readiness probe",
        opens_after: "`assessment`",
        closes: "the newest pod has one, or no Service selects it",
        action: "Add a readiness probe.",
        notes: "Without one, pods get traffic before they can answer, at each start and each rollout.",
    },
    reads: &[Kind::Pod, Kind::Service],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let probed = newest
        .pod
        .spec
        .containers
        .iter()
        .any(|c| c.role != Role::Init && c.readiness_probe);
    if probed || newest.pod.phase.is_final() {
        return;
    }
    let services = context.world.services_of(&newest.pod.meta);
    let Some(service) = services.first().map(|key| path(key)) else {
        return;
    };
    let owner = owner_name(&newest.owner);
    let description = format!(
        "Service {service} sends traffic to the pods of {owner} as soon as they start, since none of their containers has \
         a readiness probe. Add one, so that a rollout loses no requests."
    );
    let title = format!("Pods of {owner} behind Service {service} have no readiness probe");
    let symptom = output.add(
        Severity::Warning,
        newest.pod.meta.created,
        title,
        description,
    );
    symptom
        .for_at_least(context.thresholds.assessment)
        .with("service", &*service);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn bare() -> Value {
        with_container(json!({"readinessProbe": null}))
    }

    #[test]
    fn captured_missing_probe_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Warning));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn service_opens_then_closes_when_deleted() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, bare()),
                Wait(60),
                NoChange,
                apply(Kind::Service, service(json!({}))),
                Opens(Warning),
                Delete(Kind::Service, service(json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn pod_without_service_does_not_open() {
        run(&RULE, vec![apply(Kind::Pod, bare()), Wait(60), NoChange]);
    }

    /// Without a probe on the main container, and with one on this init container.
    fn beside(init: Value) -> Value {
        let init = over(json!({"name": "proxy", "readinessProbe": {}}), init);
        over(bare(), json!({"spec": {"initContainers": [init]}}))
    }

    #[test]
    fn probe_of_a_sidecar_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Service, service(json!({}))),
                apply(Kind::Pod, beside(json!({"restartPolicy": "Always"}))),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn sidecar_without_probe_opens() {
        let sidecar = json!({"restartPolicy": "Always", "readinessProbe": null});
        run(
            &RULE,
            vec![
                apply(Kind::Service, service(json!({}))),
                apply(Kind::Pod, beside(sidecar)),
                Wait(60),
                Opens(Warning),
            ],
        );
    }
}
