//! None of the pods of a Service is ready.

use kube9_ingest::objects::{Condition, Phase, Service};
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::pod_names;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::failure_mode;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ServiceHasNoReadyPod",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "None of the pods of a Service is ready",
        severity: "critical; warning if a mesh balances the Service over several clusters",
        opens: "a Service selects pods, and none of them is ready",
        opens_after: "`service`",
        closes: "a pod has been ready for `recovery`, no pod is left (see `ServiceSelectsNoPod`), or the Service is deleted",
        action: "Look at the findings of the pods that the metadata lists.",
        notes: "Pods that have ended, such as those of a finished Job, do not count. A pod that terminates has its grace period and then `service`. A pod that starts has `unavailable` for its image and its init containers, and then `service`. Services with `publishNotReadyAddresses` are left out: their clients get pods that are not ready, too.",
    },
    reads: &[Kind::Service, Kind::Pod],
    check: Check::Service(check),
};

fn check(context: &RuleContext<'_>, service: &Service, output: &mut RuleOutput) {
    if service.selector.is_empty()
        || &*service.kind == "ExternalName"
        || service.publishes_not_ready
    {
        return;
    }
    let open = (context.is_open)("");
    let mut pods = Vec::new();
    let mut well: Option<Timestamp> = None;
    for entry in context.world.selected(service) {
        if entry.pod.is_ready() {
            if !open {
                return; // one is enough: a large Service costs no more than a small one while it works
            }
            let since = Condition::of(&entry.pod.conditions, "Ready").and_then(|c| c.since);
            let at = since.map_or(context.now, |since| since.plus(context.thresholds.recovery));
            well = Some(well.map_or(at, |well| well.min(at)));
        } else if !entry.pod.phase.is_final() {
            pods.push(entry);
        }
    }
    if let Some(well) = well {
        if context.now < well {
            output.keep_open("");
            output.recheck_at(well);
        }
        return;
    }
    if pods.is_empty() {
        return;
    }
    let starting = pods
        .iter()
        .filter_map(|entry| expected_until(context, entry));
    if let Some(until) = starting.max().filter(|until| context.now < *until) {
        output.keep_open("");
        output.recheck_at(until);
        return;
    }
    // Since the last of them stopped being ready.
    let since = pods
        .iter()
        .map(|entry| {
            let ready = Condition::of(&entry.pod.conditions, "Ready");
            ready
                .and_then(|c| c.since)
                .unwrap_or(entry.pod.meta.created)
        })
        .fold(Timestamp::EPOCH, Timestamp::max);
    let meta = &service.meta;
    let full_name = format!("{}/{}", meta.namespace, meta.name);
    let count = pods.len();
    let description = format!(
        "Service {full_name} selects {}, and none has been ready since {since}, so its clients get no answer. \
         `kube9-query events list --object-kind Pod --object-namespace {} --severity warning+` shows why.",
        super::format::count(count, "pod"),
        meta.namespace
    );
    let title = format!("Service {full_name} has no ready pod");
    let severity = if meta.is_global {
        Severity::Warning
    } else {
        Severity::Critical
    };
    let symptom = output.add(severity, since, title, description);
    symptom
        .for_at_least(context.thresholds.service)
        .with("pods", count);
    symptom.with("members", pod_names(pods.into_iter()));
}

/// Until when the state of a pod may be expected: while it terminates, and while it starts for the first time. `None` if it
/// does neither.
fn expected_until(context: &RuleContext<'_>, entry: &PodEntry) -> Option<Timestamp> {
    let (pod, thresholds) = (&entry.pod, context.thresholds);
    if let Some(end) = pod.meta.deleting {
        return Some(end.plus(thresholds.service));
    }
    let fails = |state| failure_mode(state, context.now, thresholds.stable_after).is_some();
    if pod.containers.iter().any(fails) {
        return None;
    }
    if pod.phase == Phase::Pending {
        return Some(pod.meta.created.plus(thresholds.unavailable));
    }
    let first_runs = pod
        .containers
        .iter()
        .filter(|state| state.restarts == 0 && !state.ready);
    let started = first_runs.filter_map(|state| state.running).max()?;
    Some(started.plus(thresholds.service))
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    /// A Service and its only pod.
    fn served_by(pod: Value) -> Step {
        Apply(vec![(Kind::Service, service(json!({}))), (Kind::Pod, pod)])
    }

    fn unready() -> Value {
        pod_with("web-1", 0, running(0), json!({}))
    }

    fn ready(name: &str, since: i64) -> Value {
        pod(
            name,
            json!({"status": {"conditions": [condition("Ready", "True", since)]}}),
        )
    }

    #[test]
    fn captured_unready_pods_open_then_close_when_ready() {
        run(
            &RULE,
            vec![
                Captured("not-ready", "bad"),
                Wait(61),
                Opens(Critical),
                Captured("not-ready", "repaired"),
                Wait(61),
                Closes,
            ],
        );
    }

    #[test]
    fn unready_pods_open_after_the_delay_then_close() {
        run(
            &RULE,
            vec![
                served_by(unready()),
                Wait(50),
                NoChange,
                Wait(20),
                Opens(Critical),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn short_readiness_does_not_close() {
        run(
            &RULE,
            vec![
                served_by(unready()),
                Wait(70),
                Opens(Critical),
                apply(Kind::Pod, ready("web-1", 73)),
                Wait(20),
                apply(Kind::Pod, unready()),
                Wait(20),
                NoChange,
                apply(Kind::Pod, ready("web-1", 113)),
                Wait(50),
                NoChange,
                Wait(20),
                Closes,
            ],
        );
    }

    #[test]
    fn later_ready_pods_do_not_delay_the_close() {
        run(
            &RULE,
            vec![
                apply(Kind::Service, service(json!({}))),
                Apply(
                    ["web-1", "web-2", "web-3"]
                        .map(|name| (Kind::Pod, pod_with(name, 0, running(0), json!({}))))
                        .into(),
                ),
                Wait(70),
                Opens(Critical),
                Wait(30),
                apply(Kind::Pod, ready("web-2", 100)),
                Wait(30),
                apply(Kind::Pod, ready("web-1", 130)),
                apply(Kind::Pod, ready("web-3", 130)),
                Wait(25),
                NoChange,
                Wait(10),
                Closes,
            ],
        );
    }

    #[test]
    fn one_ready_pod_does_not_open() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Service, service(json!({}))),
                    (Kind::Pod, unready()),
                    (Kind::Pod, pod("web-2", json!({}))),
                ]),
                Wait(100),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_service_without_pods_does_not_open() {
        run(
            &RULE,
            vec![Captured("service-no-pods", "bad"), Wait(100), NoChange],
        );
    }

    /// A pod that waits for its image, without a failure.
    fn pulling_for_the_first_time() -> Value {
        over(
            pod_with("web-1", 0, waiting("ContainerCreating"), json!({})),
            json!({"status": {"phase": "Pending"}}),
        )
    }

    #[test]
    fn pod_that_starts_has_time_for_its_image_and_then_to_become_ready() {
        run(
            &RULE,
            vec![
                served_by(pulling_for_the_first_time()),
                Wait(200),
                apply(Kind::Pod, pod_with("web-1", 0, running(200), json!({}))),
                Wait(50),
                NoChange,
                Wait(20),
                Opens(Critical),
            ],
        );
    }

    #[test]
    fn pod_that_does_not_start_opens_after_five_minutes() {
        run(
            &RULE,
            vec![
                served_by(pulling_for_the_first_time()),
                Wait(290),
                NoChange,
                Wait(20),
                Opens(Critical),
            ],
        );
    }

    #[test]
    fn pod_that_fails_to_start_opens_after_the_delay() {
        for reason in ["ImagePullBackOff", "CreateContainerConfigError"] {
            run(
                &RULE,
                vec![
                    Apply(vec![
                        (Kind::Service, service(json!({}))),
                        (
                            Kind::Pod,
                            over(
                                pod_with("web-1", 0, waiting(reason), json!({})),
                                json!({"status": {"phase": "Pending"}}),
                            ),
                        ),
                    ]),
                    Wait(61),
                    Opens(Critical),
                ],
            );
        }
    }

    #[test]
    fn addresses_of_unready_pods_that_are_published_do_not_open() {
        for patch in [
            json!({"spec": {"publishNotReadyAddresses": true}}),
            json!({"metadata": {"annotations": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}}}),
        ] {
            run(
                &RULE,
                vec![
                    Apply(vec![
                        (Kind::Service, service(patch)),
                        (Kind::Pod, unready()),
                    ]),
                    Wait(200),
                    NoChange,
                ],
            );
        }
    }

    #[test]
    fn service_of_several_clusters_opens_as_warning() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (
                        Kind::Service,
                        service(
                            json!({"metadata": {"annotations": {"service.cilium.io/global": "true"}}}),
                        ),
                    ),
                    (Kind::Pod, unready()),
                ]),
                Wait(70),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn last_pod_that_terminates_opens_only_if_it_stays() {
        let terminates = over(unready(), json!({"metadata": {"deletionTimestamp": t(93)}}));
        let begin = || vec![served_by(terminates.clone()), Wait(85)];
        let mut scaled_to_zero = begin();
        scaled_to_zero.extend([Delete(Kind::Pod, unready()), Wait(200), NoChange]);
        run(&RULE, scaled_to_zero);
        let mut stuck = begin();
        stuck.extend([NoChange, Wait(80), Opens(Critical)]);
        run(&RULE, stuck);
    }
}
