//! A container was killed by SIGKILL.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{at_time, last_words_sentence, pod_name, restart_sentence};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_oom, recent_failure};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ContainerKilled",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A container was killed by SIGKILL",
        severity: "error",
        opens: "a container ended with exit code 137 (SIGKILL) and a reason other than `OOMKilled`",
        opens_after: "",
        closes: "the container has run for `stable_after`, or its pod is deleted",
        action: "Look for a failed liveness probe in the pod's Events, and check the memory of the node.",
        notes: "The kubelet sends SIGKILL to a container that does not end within its grace period, for example after a failed liveness probe. A node that runs out of memory kills containers too. `ContainerOOMKilled` reports containers that exceed their limit.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    for state in accountable_containers(pod) {
        let Some((end, stable_at)) =
            recent_failure(state, context.now, context.thresholds.stable_after)
                .filter(|(end, _)| end.exit_code == 137 && !is_oom(end))
        else {
            continue;
        };
        if let Some(at) = stable_at {
            output.recheck_at(at);
        }
        let (name, pod_name) = (&state.name, pod_name(entry));
        let description = format!(
            "Container {name} of pod {pod_name} ended with exit code 137 (SIGKILL){}. The usual causes are \
             a failed liveness probe and a node without free memory.{} {} Read the pod's Events: `kubectl describe pod -n {} {}`.",
            at_time(end.at),
            last_words_sentence(end),
            restart_sentence(state.restarts),
            pod.meta.namespace,
            pod.meta.name,
        );
        let title = format!("Container {name} of pod {pod_name} killed (exit code 137)");
        let symptom = output.add(
            Severity::Error,
            end.at.unwrap_or(context.now),
            title,
            description,
        );
        symptom
            .container(name)
            .of_pod(entry)
            .with("exit_code", end.exit_code)
            .with("restarts", state.restarts)
            .last_words(end);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn one(state: Value, last: Value) -> Value {
        pod_with("web-1", 1, state, last)
    }

    fn kill() -> Value {
        terminated("Error", 137, 0, 3)
    }

    #[test]
    fn sigkill_opens_then_closes_when_stable() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(5), kill())),
                Opens(Error),
                Wait(590),
                NoChange,
                Wait(20),
                Closes,
            ],
        );
    }

    #[test]
    fn oom_kill_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    one(running(5), terminated("OOMKilled", 137, 0, 3)),
                ),
                NoChange,
            ],
        );
    }

    #[test]
    fn other_exit_code_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(5), terminated("Error", 143, 0, 3))),
                NoChange,
            ],
        );
    }

    #[test]
    fn evicted_pod_does_not_open() {
        run(&RULE, vec![apply(Kind::Pod, evicted("web-1")), NoChange]);
    }

    #[test]
    fn deleted_pod_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    over(
                        one(kill(), json!({})),
                        json!({"metadata": {"deletionTimestamp": t(30)}}),
                    ),
                ),
                NoChange,
            ],
        );
    }
}
