//! A running pod is not ready.

use kube9_ingest::objects::{Condition, Phase, Pod, Role};
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::{pod_name, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::failure_mode;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodNotReady",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A running pod is not ready",
        severity: "warning",
        opens: "a running pod is not ready, and no other rule reports a failure of its containers",
        opens_after: "`not_ready`",
        closes: "the pod is ready or deleted",
        action: "Run `kubectl describe pod`: its Events show the response of the readiness probe. If a readiness gate holds the pod back, the description names it: look at the controller that sets its condition.",
        notes: "The time before a container first started, for its image or a volume, does not count.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase != Phase::Running || pod.meta.deleting.is_some() || pod.has_finished() {
        return;
    }
    let Some(ready) = Condition::of(&pod.conditions, "Ready").filter(|c| &*c.status == "False")
    else {
        return;
    };
    let stable_after = context.thresholds.stable_after;
    let fails = pod
        .containers
        .iter()
        // Also while it runs between two crashes.
        .any(|state| {
            &*state.waiting == "CrashLoopBackOff"
                || failure_mode(state, context.now, stable_after).is_some()
        });
    if fails || &*ready.reason == "PodCompleted" {
        return;
    }
    let waiting: Vec<&str> = pod
        .containers
        .iter()
        .filter(|c| c.running.is_some() && !c.ready && c.role != Role::Init)
        .map(|c| &*c.name)
        .collect();
    let pod_name = pod_name(entry);
    // The condition is as old as the pod: one whose image took long has not failed its probe for that long.
    let first_runs = pod
        .containers
        .iter()
        .filter(|c| c.restarts == 0 && !c.ready);
    let started = first_runs.filter_map(|c| c.running).max();
    let since = ready
        .since
        .unwrap_or(pod.meta.created)
        .max(started.unwrap_or(Timestamp::EPOCH));
    let gates = unmet_gates(pod);
    let (why, shows) = match (waiting.as_slice(), gates.is_empty()) {
        ([], true) => (
            reason_and_message(&ready.reason, &ready.message),
            "shows its conditions and Events",
        ),
        ([], false) => (
            format!("its containers are ready, but {}", gates.join(", ")),
            "shows its conditions. The controller that sets this one, such as that of a load balancer, logs why it is not `True`",
        ),
        ([one], _) => (
            format!("container {one} is not"),
            "shows what the readiness probe answers",
        ),
        (several, _) => (
            format!("containers {} are not", several.join(", ")),
            "shows what the readiness probe answers",
        ),
    };
    let description = format!(
        "Pod {pod_name} runs but has not been ready since {since}: {why}. No Service sends traffic to it. \
         `kubectl describe pod -n {} {}` {shows}.",
        pod.meta.namespace, pod.meta.name,
    );
    let symptom = output.add(
        Severity::Warning,
        since,
        format!("Pod {pod_name} is not ready"),
        description,
    );
    symptom
        .of_pod(entry)
        .for_at_least(context.thresholds.not_ready);
}

/// Readiness gates that a description names.
const GATES_MAX: usize = 3;

/// The first readiness gates of a pod whose condition is not `True`.
fn unmet_gates(pod: &Pod) -> Vec<String> {
    let gates = pod.spec.readiness_gates.iter();
    gates
        .filter_map(|gate| match Condition::of(&pod.conditions, gate) {
            Some(condition) if condition.is_true() => None,
            Some(condition) => Some(format!(
                "the condition of readiness gate {gate} is {} ({})",
                condition.status,
                reason_and_message(&condition.reason, &condition.message)
            )),
            None => Some(format!("readiness gate {gate} has no condition yet")),
        })
        .take(GATES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use kube9_ingest::item::Finding;

    use super::RULE;
    use crate::tests::prelude::*;

    fn unready() -> Value {
        pod_with("web-1", 0, running(0), json!({}))
    }

    #[test]
    fn crashing_pod_opens_only_after_it_runs_on() {
        run(
            &RULE,
            vec![
                Wait(1300),
                apply(
                    Kind::Pod,
                    pod_with("web-1", 7, running(1300), terminated("Error", 1, 997, 1000)),
                ),
                Wait(3),
                NoChange,
                Wait(600),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn captured_failing_probe_opens_then_closes_when_ready() {
        run(
            &RULE,
            vec![
                Captured("not-ready", "bad"),
                Wait(901),
                OpensEach(2, Warning),
                Captured("not-ready", "repaired"),
                ClosesEach(2),
            ],
        );
    }

    #[test]
    fn unready_pod_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, unready()),
                Wait(890),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn time_of_the_image_pull_does_not_count() {
        run(
            &RULE,
            vec![
                Wait(1000),
                apply(Kind::Pod, pod_with("web-1", 0, running(1000), json!({}))),
                NoChange,
                Wait(890),
                NoChange,
                Wait(20),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn captured_crash_loop_does_not_open() {
        run(
            &RULE,
            vec![Captured("crash-loop", "bad"), Wait(1000), NoChange],
        );
    }

    #[test]
    fn finished_pod_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    over(unready(), json!({"status": {"phase": "Succeeded"}})),
                ),
                Wait(1000),
                NoChange,
            ],
        );
    }

    fn gated(conditions: &[Value]) -> Value {
        let ready = over(
            condition("Ready", "False", 0),
            json!({"reason": "ReadinessGatesNotReady"}),
        );
        let mut conditions = conditions.to_vec();
        conditions.push(ready);
        let gates =
            json!([{"conditionType": "shop.example/ok"}, {"conditionType": "lb.example/web-1"}]);
        pod(
            "web-1",
            json!({"spec": {"readinessGates": gates}, "status": {"conditions": conditions}}),
        )
    }

    fn description_of(pod: &Value) -> String {
        let mut harness = TestHarness::new();
        harness.apply(Kind::Pod, pod);
        harness.wait(910);
        let findings = harness.findings();
        let of_rule = |one: &&Finding| one.row.record().reason == RULE.name;
        let found = findings.iter().find(of_rule).expect("a finding");
        found.row.record().description.clone()
    }

    #[test]
    fn readiness_gate_opens_then_closes_when_it_is_met() {
        let ok = condition("shop.example/ok", "True", 0);
        run(
            &RULE,
            vec![
                apply(Kind::Pod, gated(&[ok])),
                Wait(910),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn readiness_gate_is_named_without_the_probe() {
        let ok = condition("shop.example/ok", "True", 0);
        let no = json!({"type": "lb.example/web-1", "status": "False", "reason": "Target.Timeout",
            "message": "health check timed out", "lastTransitionTime": null});
        for (conditions, expected) in [
            (
                vec![ok.clone()],
                "readiness gate lb.example/web-1 has no condition yet",
            ),
            (
                vec![ok, no],
                "readiness gate lb.example/web-1 is False (Target.Timeout: health check timed out)",
            ),
            (
                vec![],
                "readiness gate shop.example/ok has no condition yet, readiness gate lb.example/web-1",
            ),
        ] {
            let text = description_of(&gated(&conditions));
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("probe"), "{text}");
        }
    }

    #[test]
    fn unready_container_is_named_before_the_readiness_gate() {
        let gate = json!({"spec": {"readinessGates": [{"conditionType": "lb.example/web-1"}]}});
        let text = description_of(&over(unready(), gate));
        assert!(
            text.contains("container app is not") && text.contains("probe"),
            "{text}"
        );
    }

    #[test]
    fn unready_sidecar_is_named() {
        let sidecar = json!({"spec": {"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
            "status": {"conditions": [condition("Ready", "False", 0)], "initContainerStatuses":
                [{"name": "proxy", "ready": false, "started": true, "restartCount": 0, "state": running(0)}]}});
        let text = description_of(&pod("web-1", sidecar));
        assert!(text.contains("container proxy is not"), "{text}");
    }
}
