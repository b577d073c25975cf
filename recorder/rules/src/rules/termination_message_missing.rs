//! Containers crash without a termination message.

use std::collections::BTreeMap;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_oom, recent_failure};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "TerminationMessageMissing",
    event_type: EventType::Assessment,
    doc: RuleDoc {
        summary: "A container crashes without a termination message",
        severity: "info",
        opens: "a container exited with a code other than 0 and 137 and without a termination message, and its `terminationMessagePolicy` is `File`",
        opens_after: "`assessment`",
        closes: "the newest pod's policy is `FallbackToLogsOnError`, or no pod is left",
        action: "Set `terminationMessagePolicy: FallbackToLogsOnError`.",
        notes: "With it, the end of the log becomes the message of a failed container. kube9 keeps the message after the pod and its log are deleted.",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let mut silent: BTreeMap<&str, &PodEntry> = BTreeMap::new();
    for entry in &group.pods {
        for state in accountable_containers(&entry.pod) {
            let failure = recent_failure(state, context.now, context.thresholds.stable_after);
            let is_silent = failure.is_some_and(|(end, _)| {
                end.last_words.is_empty() && end.exit_code != 137 && !is_oom(end)
            });
            if is_silent || (context.is_open)(&state.name) {
                silent.insert(&state.name, entry);
            }
        }
    }
    let newest = group.newest();
    for (name, entry) in silent {
        let container = newest.pod.spec.named(name);
        if container.is_none_or(|container| container.log_is_message) {
            continue;
        }
        let owner = owner_name(&newest.owner);
        let description = format!(
            "Container {name} of {owner} crashed and left no termination message, so only its log says why, and the log is \
             deleted with the pod. Set `terminationMessagePolicy: FallbackToLogsOnError` for the container: the end of the \
             log is then recorded."
        );
        let title = format!("Container {name} of {owner} crashes without a termination message");
        let symptom = output.add(Severity::Info, entry.pod.meta.created, title, description);
        symptom
            .container(name)
            .for_at_least(context.thresholds.assessment);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn crashed(code: i64, message: &str, policy: &str) -> Value {
        let mut pod = pod_with(
            "web-1",
            1,
            waiting("CrashLoopBackOff"),
            terminated("Error", code, 0, 1),
        );
        pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["message"] =
            json!(message);
        pod["spec"]["containers"][0]["terminationMessagePolicy"] = json!(policy);
        pod
    }

    #[test]
    fn silent_crash_opens_and_closes_with_the_policy() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, crashed(1, "", "File")),
                Wait(60),
                Opens(Info),
                // It stays open when the container runs.
                apply(Kind::Pod, pod_with("web-1", 2, running(70), json!({}))),
                Wait(3600),
                NoChange,
                apply(Kind::Pod, crashed(1, "", "FallbackToLogsOnError")),
                Closes,
            ],
        );
    }

    #[test]
    fn message_policy_and_sigkill_do_not_open() {
        for (code, message, policy) in [
            (1, "panic: x", "File"),
            (1, "", "FallbackToLogsOnError"),
            (137, "", "File"),
            (0, "", "File"),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Pod, crashed(code, message, policy)),
                    Wait(60),
                    NoChange,
                ],
            );
        }
    }
}
