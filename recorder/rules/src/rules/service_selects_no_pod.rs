//! A Service selects no pod.

use kube9_ingest::objects::Service;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Context, Rule, RuleDoc};
use super::symptoms::Signs;
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
        "No pod of namespace {} has the labels that Service {place} selects ({selector}), so its clients get no answer. {hint}",
        meta.namespace
    );
    let title = format!("Service {place} selects no pod");
    signs
        .add(severity, context.now, title, description)
        .hold(context.thresholds.service)
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
                Seen("service-no-pods", "bad"),
                Wait(59),
                Quiet,
                Wait(2),
                Opens(Error),
                Seen("service-no-pods", "repaired"),
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
                Quiet,
                Gone(Kind::Pod, pod("web-1", json!({}))),
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
                Quiet,
            ],
        );
    }

    #[test]
    fn captured_unready_pods_do_not_open() {
        run(&RULE, vec![Seen("not-ready", "bad"), Wait(100), Quiet]);
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
