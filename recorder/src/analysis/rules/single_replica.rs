//! A Service that one pod carries.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Group, Rule, Signs, owner_words};
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "A4",
    event_type: EventType::Assessment,
    name: "single replica behind a Service",
    doc: "\
Opens when a Deployment of one replica is behind a Service; severity info.
A restart, a drained node or a crash interrupts the Service.
Closes when it has more replicas or none, or no Service selects it.
Next: run two replicas or more, on several nodes; opt out with the label where one is meant.",
    reads: &[Kind::Pod, Kind::Service, Kind::Deployment],
    check: Check::Owner(check),
};

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let newest = group.newest();
    let owner = &newest.owner;
    if owner.kind != "Deployment" {
        return;
    }
    let deployment = context
        .world
        .deployments
        .get(&*format!("{}/{}", owner.namespace, owner.name));
    let Some(deployment) = deployment.filter(|d| d.replicas == 1) else {
        return;
    };
    let services = context.world.services_of(&newest.pod.meta);
    let Some(service) = services.first() else {
        return;
    };
    let words = owner_words(owner);
    let description = format!(
        "{words} has one replica, and Service {service} depends on it: a restart, a drained node or a crash interrupts the \
         Service. Run two replicas or more, on several nodes."
    );
    let title = format!("Service {service} depends on one replica of {words}");
    let since = deployment.meta.created.max(newest.pod.meta.created);
    signs
        .add(Severity::Info, since, title, description)
        .hold(context.thresholds.assessment)
        .with("service", &**service);
}
