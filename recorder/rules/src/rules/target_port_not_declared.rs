//! No pod of a Service declares its target port.

use kube9_ingest::objects::{Fit, Role, Service, TargetPort};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "TargetPortNotDeclared",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "No pod of a Service declares its target port",
        severity: "error for a port name: it gets no traffic; warning for a number: pods may listen on it anyway",
        opens: "no pod that a Service selects declares its target port; a number counts only if the pods declare other ports",
        opens_after: "`assessment`",
        closes: "a pod declares the port, or the Service changes",
        action: "Correct `targetPort`, or the ports of the containers.",
        notes: "",
    },
    reads: &[Kind::Service, Kind::Pod],
    check: Check::Service(check),
};

/// Pods looked at: those of a Service are alike, and a thousand of them say no more.
const PODS_MAX: usize = 50;

fn check(context: &RuleContext<'_>, service: &Service, output: &mut RuleOutput) {
    if service.selector.is_empty() {
        return;
    }
    let mut declared = Vec::new();
    let mut pods = 0;
    for entry in context
        .world
        .selected(service)
        .filter(|e| !e.pod.phase.is_final())
        .take(PODS_MAX)
    {
        if entry.pod.meta.fit != Fit::Whole {
            return; // its ports may be among what was cut
        }
        pods += 1;
        declared.extend(
            entry
                .pod
                .spec
                .containers
                .iter()
                .filter(|container| container.role != Role::Init)
                .flat_map(|container| &container.ports),
        );
    }
    if pods == 0 {
        return; // `ServiceSelectsNoPod`
    }
    let full_name = format!("{}/{}", service.meta.namespace, service.meta.name);
    for port in &service.ports {
        let (found, severity) = match &port.target {
            TargetPort::Name(name) => (declared.iter().any(|p| p.name == *name), Severity::Error),
            TargetPort::Number(number) => (
                declared.is_empty() || declared.iter().any(|p| p.number == *number),
                Severity::Warning,
            ),
        };
        if found {
            continue;
        }
        let description = format!(
            "Port {} of Service {full_name} goes to target port {}, which none of its pods declares. \
             Correct `targetPort`, or the ports of the containers.",
            port.port, port.target
        );
        let title = format!(
            "Target port {} of Service {full_name} is declared by none of its pods",
            port.target
        );
        let symptom = output.add(severity, context.now, title, description);
        symptom
            .part(port.port.to_string())
            .for_at_least(context.thresholds.assessment);
        symptom
            .with("port", port.port)
            .with("target_port", port.target.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    fn to(target: Value) -> (Kind, Value) {
        let ports = json!({"spec": {"ports": [{"port": 80, "targetPort": target}]}});
        (Kind::Service, service(ports))
    }

    fn with(target: Value) -> Step {
        Apply(vec![(Kind::Pod, pod("web-1", json!({}))), to(target)])
    }

    #[test]
    fn captured_wrong_name_opens_then_closes_when_corrected() {
        run(
            &RULE,
            vec![
                Captured("target-port", "bad"),
                Wait(31),
                Opens(Error),
                Captured("target-port", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn wrong_name_opens_then_closes() {
        run(
            &RULE,
            vec![
                with(json!("htpp")),
                Wait(31),
                Opens(Error),
                Apply(vec![to(json!("http"))]),
                Closes,
            ],
        );
    }

    #[test]
    fn wrong_number_beside_declared_ports_opens_as_warning() {
        run(&RULE, vec![with(json!(8081)), Wait(31), Opens(Warning)]);
    }

    #[test]
    fn declared_number_does_not_open() {
        run(&RULE, vec![with(json!(8080)), Wait(60), NoChange]);
    }

    #[test]
    fn captured_pods_without_ports_do_not_open() {
        run(
            &RULE,
            vec![Captured("not-ready", "bad"), Wait(60), NoChange],
        );
    }

    fn pod_with_init_port(policy: Value) -> Value {
        let init = over(
            json!({"name": "proxy", "ports": [{"name": "envoy", "containerPort": 9080}]}),
            json!({"restartPolicy": policy}),
        );
        pod("web-1", json!({"spec": {"initContainers": [init]}}))
    }

    #[test]
    fn port_of_a_sidecar_does_not_open() {
        for target in [json!("envoy"), json!(9080)] {
            let pod = pod_with_init_port(json!("Always"));
            run(
                &RULE,
                vec![
                    Apply(vec![(Kind::Pod, pod), to(target)]),
                    Wait(60),
                    NoChange,
                ],
            );
        }
    }

    #[test]
    fn port_of_an_init_container_opens() {
        let pod = pod_with_init_port(json!(null));
        run(
            &RULE,
            vec![
                Apply(vec![(Kind::Pod, pod), to(json!("envoy"))]),
                Wait(31),
                Opens(Error),
            ],
        );
    }
}
