//! A liveness probe kills a container that does not crash.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::objects::ContainerState;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::{owner_name, pod_names};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{is_failure, is_oom};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "KilledByLivenessProbe",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A liveness probe kills a container that does not crash",
        severity: "error",
        opens: "the kubelet killed the same container of a controller's pods `restarts` times within an hour because of its liveness probe, and the container did not crash or run out of memory in that time",
        opens_after: "",
        closes: "the container has run for an hour, or no such pod is left",
        action: "Check whether the container hangs or the probe is too strict. Compare `timeoutSeconds` and `failureThreshold` with its response time under load. Add a startup probe if it starts slowly.",
        notes: "The kubelet's Events report the kills. The exit code does not: a program that handles SIGTERM exits with code 0. A crash is an exit code other than 0, 137 and 143.",
    },
    reads: &[Kind::Pod, Kind::Event],
    check: Check::Owner(check),
};

const WINDOW: Duration = Duration::from_secs(3600);

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let since = context.now.minus(WINDOW);
    let mut found: BTreeMap<&str, (Vec<Timestamp>, Vec<&PodEntry>, bool)> = BTreeMap::new();
    for entry in &group.pods {
        if entry.pod.meta.deleting.is_some() {
            continue;
        }
        for state in &entry.pod.containers {
            let (kills, pods, crashed) = found.entry(&state.name).or_default();
            *crashed |= has_crashed(state, since);
            let history = entry.histories.get(&state.name);
            let recent = history.map_or(&[][..], |history| &history.probe_kills[..]);
            let before = kills.len();
            kills.extend(recent.iter().filter(|at| **at > since));
            // Kills before a restart of the recorder are not known; that it was started again lately is.
            let recent_failure =
                state.restarts > 0 && state.running.is_none_or(|running| running > since);
            if kills.len() > before || ((context.is_open)(&state.name) && recent_failure) {
                pods.push(entry);
                let running = state.running.unwrap_or(context.now);
                output.recheck_at(running.plus(WINDOW));
            }
        }
    }
    for (name, (kills, pods, crashed)) in found {
        let enough = kills.len() >= context.thresholds.restarts as usize && !crashed;
        if !enough && (!(context.is_open)(name) || pods.is_empty()) {
            continue;
        }
        let words = owner_name(&pods[0].owner);
        let since = kills.iter().min().copied().unwrap_or(context.now);
        let description = format!(
            "The kubelet killed container {name} of {words} {} times within the last hour because its liveness probe failed; \
             it did not crash. It hangs, or the probe is too strict: compare the probe's timeoutSeconds and failureThreshold \
             with its response time under load, and add a startup probe if it starts slowly.",
            kills.len()
        );
        let title = format!(
            "Liveness probe keeps killing container {name} of {words}, which does not crash"
        );
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .container(name)
            .with("kills", kills.len())
            .with("members", pod_names(pods.into_iter()));
    }
}

fn has_crashed(state: &ContainerState, since: Timestamp) -> bool {
    let ends = [&state.last, &state.terminated].into_iter().flatten();
    ends.filter(|end| end.at.is_none_or(|at| at > since))
        .any(|end| is_oom(end) || (is_failure(end) && !matches!(end.exit_code, 137 | 143)))
}

#[cfg(test)]
mod tests {
    use kube9_model::ObjectRef;
    use kube9_model::commit_stats::{CommitDelta, LivenessKill};
    use kube9_model::time::Timestamp;

    use super::RULE;
    use crate::subject::key;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    fn killed(second: i64, times: i64) -> Step {
        Commit(CommitDelta {
            kills: vec![LivenessKill {
                pod: ObjectRef::clone(&key("Pod", "shop", "web-1")),
                container: "app".into(),
                at: Timestamp::from_secs(start().second() + second),
                times,
            }],
            ..CommitDelta::default()
        })
    }

    fn restart_sentence(times: i64, at: i64, code: i64) -> Step {
        let end = terminated("Error", code, at - 30, at);
        apply(Kind::Pod, pod_with("web-1", times, running(at), end))
    }

    #[test]
    fn captured_third_kill_opens_then_closes_without_the_probe() {
        run(
            &RULE,
            vec![
                Captured("liveness", "kill-1"),
                Captured("liveness", "kill-2"),
                NoChange,
                Captured("liveness", "kill-3"),
                Opens(Error),
                Captured("liveness", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn three_sigkills_open_one_finding_that_closes_after_an_hour() {
        run(
            &RULE,
            vec![
                restart_sentence(1, 60, 137),
                killed(60, 2),
                NoChange,
                killed(120, 1),
                Opens(Error),
                killed(180, 1),
                NoChange,
                Wait(3_500),
                NoChange,
                Wait(300),
                Closes,
            ],
        );
    }

    #[test]
    fn container_that_also_crashes_does_not_open() {
        run(
            &RULE,
            vec![
                restart_sentence(3, 60, 1),
                killed(60, 3),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn kills_in_different_hours_do_not_open() {
        run(
            &RULE,
            vec![
                restart_sentence(1, 60, 0),
                killed(60, 2),
                Wait(4_000),
                killed(4_000, 1),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_crash_loop_does_not_open() {
        run(&RULE, vec![Captured("crash-loop", "bad"), NoChange]);
    }
}
