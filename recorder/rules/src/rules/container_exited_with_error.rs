//! A container exited with an error.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{at_time, in_brackets, last_words_sentence, pod_name, restart_sentence};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_oom, recent_failure};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ContainerExitedWithError",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A container exited with an error",
        severity: "warning; error if the pod failed and no Job owns it",
        opens: "a container exited with a code other than 0 and 137, and `CrashLoop` is not open for it",
        opens_after: "`exit`; immediately if the pod failed",
        closes: "the container has run for `stable_after` or exited with code 0, its pod is deleted, or `CrashLoop` opens for it",
        action: "Read `kubectl logs`, with `--previous` if the container has restarted. The exit code is in the metadata: 126 and 127 mean that the command cannot run, 128 + n means signal n.",
        notes: "`ContainerKilled` reports exit code 137. A Job starts another pod in place of a failed one until its `backoffLimit`; when it gives up, its Event `BackoffLimitExceeded` is an error.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    for state in accountable_containers(pod) {
        let Some((end, stable_at)) =
            recent_failure(state, context.now, context.thresholds.stable_after)
        else {
            continue;
        };
        if is_oom(end) || end.exit_code == 137 {
            continue;
        }
        if let Some(at) = stable_at {
            output.recheck_at(at);
        }
        if (context.other_is_open)("CrashLoop", &state.name) {
            output.superseded(&state.name, "a crash loop");
            continue;
        }
        let (name, pod_name, code) = (&state.name, pod_name(entry), end.exit_code);
        let is_final = pod.phase.is_final();
        let of_job = matches!(&*entry.owner.kind, "Job" | "CronJob");
        let (severity, fate) = match (is_final, of_job) {
            (true, true) => (
                Severity::Warning,
                "Its Job starts another pod until the backoffLimit is reached.".to_owned(),
            ),
            (true, false) => (
                Severity::Error,
                "Its pod failed and does not restart.".to_owned(),
            ),
            (false, _) => (Severity::Warning, restart_sentence(state.restarts)),
        };
        // What has not been started again has no log before the last one.
        let previous = if state.terminated.is_some() {
            ""
        } else {
            "--previous "
        };
        let meaning = match code {
            126 | 127 => " The command of the image or of the manifest cannot run.".to_owned(),
            129..=192 => format!(" That is signal {}.", code - 128),
            _ => String::new(),
        };
        let description = format!(
            "Container {name} of pod {pod_name} ended{} with exit code {code}{}.{meaning}{} {fate} \
             Read `kubectl logs {previous}-n {} {} -c {name}`.",
            at_time(end.at),
            in_brackets(&end.reason),
            last_words_sentence(end),
            pod.meta.namespace,
            pod.meta.name,
        );
        let title = format!("Container {name} of pod {pod_name} exited with code {code}");
        let symptom = output.add(severity, end.at.unwrap_or(context.now), title, description);
        symptom.container(name).of_pod(entry);
        if !is_final {
            symptom.for_at_least(context.thresholds.exit);
        }
        symptom
            .with("exit_code", code)
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

    fn end() -> Value {
        terminated("Error", 3, 0, 1)
    }

    #[test]
    fn captured_failed_job_opens_then_closes_when_deleted() {
        run(
            &RULE,
            vec![
                Captured("job", "bad"),
                Opens(Warning),
                Captured("job", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn exit_code_opens_after_the_delay_then_closes_when_stable() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(2), end())),
                Wait(10),
                NoChange,
                Wait(15),
                Opens(Warning),
                Wait(700),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_crash_loop_does_not_open() {
        run(
            &RULE,
            vec![
                Captured("crash-loop", "bad"),
                Wait(60),
                Captured("crash-loop", "repaired"),
                NoChange,
            ],
        );
    }

    #[test]
    fn crash_that_becomes_a_loop_is_superseded() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(2), end())),
                Wait(30),
                Opens(Warning),
                apply(
                    Kind::Pod,
                    pod_with(
                        "web-1",
                        2,
                        waiting("CrashLoopBackOff"),
                        terminated("Error", 3, 2, 40),
                    ),
                ),
                Superseded,
                apply(
                    Kind::Pod,
                    pod_with("web-1", 3, running(60), terminated("Error", 3, 2, 40)),
                ),
                Wait(700),
                NoChange,
            ],
        );
    }

    #[test]
    fn failed_pod_that_nothing_replaces_is_an_error() {
        let failed = over(
            one(end(), json!({})),
            json!({"status": {"phase": "Failed"}}),
        );
        run(&RULE, vec![apply(Kind::Pod, failed), Opens(Error)]);
    }

    #[test]
    fn exit_code_zero_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(running(2), terminated("Completed", 0, 0, 1))),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn deleted_pod_does_not_open() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Pod,
                    over(
                        one(end(), json!({})),
                        json!({"metadata": {"deletionTimestamp": t(30)}}),
                    ),
                ),
                Wait(60),
                NoChange,
            ],
        );
    }
}
