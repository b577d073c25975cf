//! A Service selects no pod.

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs};
use crate::metrics::Kind;
use crate::source::objects::Service;

pub(super) const RULE: Rule = Rule {
    id: "H17",
    event_type: EventType::Health,
    name: "Service selects no pod",
    doc: "\
Opens when no pod has had the labels of a Service's selector for `service`; severity error, info where a Deployment whose pods it would select is scaled to 0, which looks meant.
Closes when a pod has them, the selector goes, or the Service is deleted.
Services without a selector, whose endpoints somebody else writes, are left alone.
Next: compare the selector with the labels of the pods' template.",
    reads: &[Kind::Service, Kind::Pod, Kind::Deployment],
    check: Check::Service(check),
};

fn check(context: &Context<'_>, service: &Service, signs: &mut Signs) {
    if service.selector.is_empty() || &*service.kind == "ExternalName" {
        return;
    }
    if context.world.selected(service).next().is_some() {
        return;
    }
    let meta = &service.meta;
    let place = format!("{}/{}", meta.namespace, meta.name);
    let selector: Vec<String> = service
        .selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let selector = selector.join(",");
    let resting = context.world.resting(service);
    let (severity, hint) = match &resting {
        Some(name) => (Severity::Info, format!("Deployment {name} is scaled to 0.")),
        None => (
            Severity::Error,
            format!(
                "Compare it with `kubectl get pods -n {} --show-labels`.",
                meta.namespace
            ),
        ),
    };
    let description = format!(
        "No pod of namespace {} has the labels that Service {place} selects ({selector}): nobody answers its clients. {hint}",
        meta.namespace
    );
    let title = format!("Service {place} selects no pod");
    signs
        .add(severity, context.now, title, description)
        .hold(context.thresholds.service)
        .with("selector", selector);
}
