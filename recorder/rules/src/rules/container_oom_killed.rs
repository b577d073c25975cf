//! A container was killed for lack of memory.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{at_time, last_words_sentence, pod_name, restart_sentence};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_oom, recent_failure};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ContainerOOMKilled",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A container was killed for lack of memory",
        severity: "error",
        opens: "a container ended with the reason `OOMKilled`",
        opens_after: "",
        closes: "the container has run for `stable_after`, or its pod is deleted",
        action: "Compare the container's memory limit with its usage. Raise the limit, or find the leak.",
        notes: "Kubernetes sends no Event for it. `ContainerKilled` reports exit code 137 with another reason, and `PodEvicted` pods that their node evicted.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    for state in accountable_containers(pod) {
        let Some((end, stable_at)) =
            recent_failure(state, context.now, context.thresholds.stable_after)
                .filter(|(end, _)| is_oom(end))
        else {
            continue;
        };
        if let Some(at) = stable_at {
            output.recheck_at(at);
        }
        let (name, pod_name) = (&state.name, pod_name(entry));
        let limit = pod.spec.memory_limit(name).map(|limit| limit / 1000);
        let own = pod
            .spec
            .named(name)
            .is_some_and(|c| c.resources.memory_limit.is_some());
        let why = match limit {
            Some(bytes) if own => format!("used more than its memory limit of {} Mi", bytes >> 20),
            Some(bytes) => format!(
                "was killed when the pod used more than its memory limit of {} Mi",
                bytes >> 20
            ),
            None => "has no memory limit, so the node ran out of memory".to_owned(),
        };
        let description = format!(
            "Container {name} of pod {pod_name} {why}; it was last killed{}.{} {} \
             Compare the memory limit with the usage. Raise the limit, or find the leak.",
            at_time(end.at),
            last_words_sentence(end),
            restart_sentence(state.restarts)
        );
        let title = format!("Container {name} of pod {pod_name} out of memory (OOMKilled)");
        let symptom = output.add(
            Severity::Error,
            end.at.unwrap_or(context.now),
            title,
            description,
        );
        symptom.container(name).of_pod(entry);
        symptom
            .with("exit_code", end.exit_code)
            .with("restarts", state.restarts)
            .last_words(end);
        if let Some(limit) = limit {
            symptom.with("memory_limit_bytes", limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn one(state: Value, last: Value) -> Value {
        pod_with("web-1", 1, state, last)
    }

    fn oom() -> Value {
        terminated("OOMKilled", 137, 0, 10)
    }

    #[test]
    fn evicted_pod_does_not_open() {
        run(&RULE, vec![apply(Kind::Pod, evicted("web-1")), NoChange]);
    }

    #[test]
    fn captured_first_kill_opens_then_closes_when_repaired() {
        run(
            &RULE,
            vec![
                Captured("out-of-memory", "kill-1"),
                Opens(Error),
                Captured("out-of-memory", "kill-2"),
                Captured("out-of-memory", "kill-3"),
                NoChange,
                Captured("out-of-memory", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn finding_stays_open_between_two_kills_then_closes_when_stable() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("CrashLoopBackOff"), oom())),
                Opens(Error),
                apply(Kind::Pod, one(running(20), oom())),
                Wait(300),
                NoChange,
                Wait(400),
                Closes,
            ],
        );
    }

    #[test]
    fn sigkill_without_oom_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(5), terminated("Error", 137, 0, 3))),
                NoChange,
            ],
        );
    }

    #[test]
    fn other_exit_code_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(5), terminated("Error", 1, 0, 3))),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_crash_loop_does_not_open() {
        run(&RULE, vec![Captured("crash-loop", "bad"), NoChange]);
    }

    #[test]
    fn deleted_pod_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    over(
                        one(oom(), json!({})),
                        json!({"metadata": {"deletionTimestamp": t(30)}}),
                    ),
                ),
                NoChange,
            ],
        );
    }

    #[test]
    fn deleted_pod_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("CrashLoopBackOff"), oom())),
                Opens(Error),
                Delete(Kind::Pod, one(waiting("CrashLoopBackOff"), oom())),
                Closes,
            ],
        );
    }

    #[test]
    fn limit_of_the_pod_is_named() {
        let resources = json!({"spec": {"resources": {"limits": {"memory": "256Mi"}},
            "containers": [container(json!({"resources": null}))]}});
        let mut harness = TestHarness::new();
        harness.apply(Kind::Pod, &over(one(running(20), oom()), resources));
        let findings = harness.findings();
        let record = findings[0].row.record();
        assert!(
            record
                .description
                .contains("the pod used more than its memory limit of 256 Mi"),
            "{}",
            record.description
        );
        assert_eq!(record.extra["memory_limit_bytes"], 256 << 20);
    }
}
