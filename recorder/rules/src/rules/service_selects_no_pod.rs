//! No pod matches the selector of a Service.

use kube9_ingest::objects::Service;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::subject::path;

pub(super) const RULE: Rule = Rule {
    name: "ServiceSelectsNoPod",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "No pod matches the selector of a Service",
        severity: "error; info if a Deployment that it would select is scaled to 0",
        opens: "no pod has the labels of a Service's selector",
        opens_after: "`service`",
        closes: "a pod has the labels, the selector is removed, or the Service is deleted",
        action: "Compare the selector with the labels in the pod template.",
        notes: "Services without a selector are left out: their endpoints come from elsewhere.",
    },
    reads: &[Kind::Service, Kind::Pod, Kind::Deployment],
    check: Check::Service(check),
};

fn check(context: &RuleContext<'_>, service: &Service, output: &mut RuleOutput) {
    if service.selector.is_empty() || &*service.kind == "ExternalName" {
        return;
    }
    if context.world.selected(service).next().is_some() {
        return;
    }
    let meta = &service.meta;
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let selector: Vec<String> = service
        .selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let selector = selector.join(",");
    let scaled_to_zero = context.world.scaled_to_zero(service);
    let (severity, hint) = match &scaled_to_zero {
        Some(key) => (
            Severity::Info,
            format!("Deployment {} is scaled to 0.", path(key)),
        ),
        None => (
            Severity::Error,
            format!(
                "Compare it with `kubectl get pods -n {} --show-labels`.",
                meta.namespace
            ),
        ),
    };
    let description = format!(
        "No pod of namespace {} has the labels that Service {full_name} selects ({selector}), so its clients get no answer. {hint}",
        meta.namespace
    );
    let title = format!("Service {full_name} selects no pod");
    output
        .add(severity, context.now, title, description)
        .for_at_least(context.thresholds.service)
        .with("selector", selector);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_wrong_selector_opens_then_closes_when_corrected() {
        run(
            &RULE,
            vec![
                Captured("service-no-pods", "bad"),
                Wait(59),
                NoChange,
                Wait(2),
                Opens(Error),
                Captured("service-no-pods", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn last_pod_deleted_opens_then_closes() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, pod("web-1", json!({}))),
                    (Kind::Service, service(json!({}))),
                ]),
                Wait(100),
                NoChange,
                Delete(Kind::Pod, pod("web-1", json!({}))),
                Wait(61),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn scaled_to_zero_opens_as_info() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Deployment,
                    deployment(json!({"spec": {"replicas": 0}})),
                ),
                apply(Kind::Service, service(json!({}))),
                Wait(61),
                Opens(Info),
            ],
        );
    }

    #[test]
    fn missing_selector_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Service, service(json!({"spec": {"selector": null}}))),
                Wait(100),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_unready_pods_do_not_open() {
        run(
            &RULE,
            vec![Captured("not-ready", "bad"), Wait(100), NoChange],
        );
    }

    #[test]
    fn pod_with_other_label_or_namespace_does_not_count() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    pod("web-1", json!({"metadata": {"labels": {"app": "other"}}})),
                ),
                apply(
                    Kind::Pod,
                    pod("web-2", json!({"metadata": {"namespace": "else"}})),
                ),
                apply(Kind::Service, service(json!({}))),
                Wait(61),
                Opens(Error),
            ],
        );
    }
}
