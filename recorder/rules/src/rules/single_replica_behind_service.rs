//! A Service depends on one replica.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::subject::path;

pub(super) const RULE: Rule = Rule {
    name: "SingleReplicaBehindService",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A Service depends on one replica",
        severity: "info",
        opens: "a Service selects the pod of a Deployment with one replica",
        opens_after: "`assessment`",
        closes: "the Deployment has more replicas or none, or no Service selects its pods",
        action: "Run two replicas or more, on several nodes. Opt out with the label if one replica is intended.",
        notes: "A restart, a crash or a drained node interrupts the Service.",
    },
    reads: &[Kind::Pod, Kind::Service, Kind::Deployment],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let newest = group.newest();
    let owner = &newest.owner;
    if owner.kind != "Deployment" {
        return;
    }
    let deployment = context.world.deployments.get(owner);
    let Some(deployment) = deployment.filter(|d| d.replicas == 1) else {
        return;
    };
    let services = context.world.services_of(&newest.pod.meta);
    let Some(service) = services.first().map(|key| path(key)) else {
        return;
    };
    let words = owner_name(owner);
    let description = format!(
        "{words} has one replica, and Service {service} depends on it. A restart, a crash or a drained node interrupts the \
         Service. Run two replicas or more, on several nodes."
    );
    let title = format!("Service {service} depends on one replica of {words}");
    let since = deployment.meta.created.max(newest.pod.meta.created);
    output
        .add(Severity::Info, since, title, description)
        .for_at_least(context.thresholds.assessment)
        .with("service", &*service);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn replicas(n: i64) -> (Kind, Value) {
        (
            Kind::Deployment,
            deployment(json!({"spec": {"replicas": n}})),
        )
    }

    #[test]
    fn captured_single_replica_opens_then_closes_with_careful_manifest() {
        run(&RULE, careless_then_careful_manifest(Info));
    }

    #[test]
    fn captured_careful_manifest_does_not_open() {
        run(&RULE, careful_manifest());
    }

    #[test]
    fn one_replica_opens_then_closes_with_a_second() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, pod("web-1", json!({}))),
                    replicas(1),
                    (Kind::Service, service(json!({}))),
                ]),
                Wait(31),
                Opens(Info),
                Apply(vec![replicas(2)]),
                Closes,
            ],
        );
    }

    #[test]
    fn replica_without_service_does_not_open() {
        run(
            &RULE,
            vec![
                Apply(vec![(Kind::Pod, pod("web-1", json!({}))), replicas(1)]),
                Wait(60),
                NoChange,
            ],
        );
    }
}
