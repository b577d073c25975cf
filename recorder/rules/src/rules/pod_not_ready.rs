//! A running pod is not ready.

use kube9_ingest::objects::{Condition, Phase};
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
        action: "Run `kubectl describe pod`: its Events show the response of the readiness probe.",
        notes: "The time before a container first started, for its image or a volume, does not count.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase != Phase::Running || pod.meta.deleting.is_some() {
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
        .any(|state| failure_mode(state, context.now, stable_after).is_some());
    if fails || &*ready.reason == "PodCompleted" {
        return;
    }
    let waiting: Vec<&str> = pod
        .containers
        .iter()
        .filter(|c| c.running.is_some() && !c.ready)
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
    let description = format!(
        "Pod {pod_name} runs but has not been ready since {since}: {}. No Service sends traffic to it. \
         `kubectl describe pod -n {} {}` shows what the readiness probe answers.",
        match waiting.as_slice() {
            [] => reason_and_message(&ready.reason, &ready.message),
            [one] => format!("container {one} is not"),
            several => format!("containers {} are not", several.join(", ")),
        },
        pod.meta.namespace,
        pod.meta.name,
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

#[cfg(test)]
mod tests {
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
}
