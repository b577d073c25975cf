//! A container keeps crashing and restarting.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{
    at_time, human_duration, in_brackets, last_words_sentence, pod_name, restart_sentence,
};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_lost, recent_failure};
use crate::findings::FIRST_WORDS;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "CrashLoop",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A container keeps crashing and restarting",
        severity: "error",
        opens: "a container waits with `CrashLoopBackOff`, or restarted `restarts` times within `restart_window`",
        opens_after: "",
        closes: "the container has run for `stable_after`, or its pod is deleted",
        action: "Read `kubectl logs --previous`, and the exit code in the metadata. Look for a change before the first crash.",
        notes: "",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase.is_final() {
        return;
    }
    let thresholds = context.thresholds;
    for state in accountable_containers(pod) {
        let name = &state.name;
        let history = entry.histories.get(name);
        let window = context.now.minus(thresholds.restart_window);
        let restarts = history.map_or(&[][..], |history| &history.restarts[..]);
        let recent = restarts.iter().filter(|at| **at > window).count();
        let looping =
            &*state.waiting == "CrashLoopBackOff" || recent >= thresholds.restarts as usize;
        // A container that runs between two crashes has not recovered.
        let unrecovered = match (state.running, state.latest_end()) {
            (Some(since), _) if context.now.since(since) >= thresholds.stable_after => false,
            (Some(since), _) => {
                output.recheck_at(since.plus(thresholds.stable_after));
                true
            }
            (None, end) => end.is_some() || !state.waiting.is_empty(),
        };
        if !unrecovered || !(looping || (context.is_open)(name)) {
            continue;
        }
        let end = state.latest_end();
        let pod_name = pod_name(entry);
        let how = match end.filter(|end| !is_lost(end)) {
            Some(end) => format!(
                "it last ended{} with exit code {}{}",
                at_time(end.at),
                end.exit_code,
                in_brackets(&end.reason)
            ),
            None => "how it ended is unknown".to_owned(),
        };
        let words = end.map(last_words_sentence).unwrap_or_default();
        let since = history
            .and_then(|history| history.failing)
            .or(end.and_then(|end| end.at))
            .unwrap_or(context.now);
        // The kubelet reports the back-off before it counts the delayed restart.
        let restarts = match state.restarts {
            0 => String::new(),
            count => format!("{} ", restart_sentence(count)),
        };
        let description = format!(
            "Container {name} of pod {pod_name} keeps crashing: {how}.{words} {restarts}Its pod is {} old. \
             Read `kubectl logs --previous -n {} {} -c {name}`, and look for a change before {since}.",
            human_duration(context.now.since(pod.meta.created)),
            pod.meta.namespace,
            pod.meta.name,
        );
        let title = format!("Container {name} of pod {pod_name} in a crash loop");
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .container(name)
            .of_pod(entry)
            .with("restarts", state.restarts);
        if let Some((end, _)) = recent_failure(state, context.now, thresholds.stable_after) {
            symptom
                .with("exit_code", end.exit_code)
                .with("last_reason", &*end.reason)
                .last_words(end);
            if let Some(history) = history.filter(|history| !history.first_words.is_empty()) {
                symptom.with(FIRST_WORDS, &*history.first_words);
            }
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

    fn end() -> Value {
        terminated("Error", 1, 0, 1)
    }

    #[test]
    fn captured_three_pods_open_then_close_when_repaired() {
        run(
            &RULE,
            vec![
                Captured("crash-loop", "bad"),
                OpensEach(3, Error),
                Captured("crash-loop", "repaired"),
                ClosesEach(3),
            ],
        );
    }

    #[test]
    fn back_off_opens_then_closes_when_stable() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("CrashLoopBackOff"), end())),
                Opens(Error),
                apply(Kind::Pod, one(running(60), end())),
                Wait(500),
                NoChange,
                Wait(200),
                Closes,
            ],
        );
    }

    #[test]
    fn three_restarts_within_the_window_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod_with("web-1", 0, running(0), json!({}))),
                apply(
                    Kind::Pod,
                    pod_with("web-1", 1, running(10), terminated("Error", 1, 0, 9)),
                ),
                apply(
                    Kind::Pod,
                    pod_with("web-1", 2, running(20), terminated("Error", 1, 10, 19)),
                ),
                NoChange,
                apply(
                    Kind::Pod,
                    pod_with("web-1", 3, running(30), terminated("Error", 1, 20, 29)),
                ),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn one_crash_does_not_open() {
        run(
            &RULE,
            vec![apply(Kind::Pod, one(running(2), end())), Wait(60), NoChange],
        );
    }

    #[test]
    fn captured_failed_job_does_not_open() {
        run(&RULE, vec![Captured("job", "bad"), NoChange]);
    }
}
