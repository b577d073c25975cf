//! A container runs out of memory repeatedly.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::owner_name;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_oom, recent_failure};

pub(super) const RULE: Rule = Rule {
    name: "MemoryLimitTooLow",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A container runs out of memory repeatedly",
        severity: "error",
        opens: "the same container of a controller's pods was `OOMKilled` `restarts` times within an hour",
        opens_after: "",
        closes: "an hour passes without another kill, or no such pod is left",
        action: "Raise the memory limit, or find the leak. Memory that grows steadily until each kill is a leak; a kill soon after the start means that the limit is too low.",
        notes: "",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

const WINDOW: Duration = Duration::from_secs(3600);

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let mut kills: BTreeMap<&str, Vec<kube9_model::time::Timestamp>> = BTreeMap::new();
    let mut failing_now: Vec<&str> = Vec::new();
    for entry in &group.pods {
        for (name, history) in &entry.histories {
            let recent = history
                .ooms
                .iter()
                .filter(|at| context.now.since(**at) < WINDOW);
            kills.entry(name).or_default().extend(recent);
        }
        let stable_after = context.thresholds.stable_after;
        failing_now.extend(accountable_containers(&entry.pod).filter_map(|state| {
            let (end, _) = recent_failure(state, context.now, stable_after)?;
            is_oom(end).then_some(&*state.name)
        }));
    }
    for (name, times) in &kills {
        let open = (context.is_open)(name);
        let still = open && (!times.is_empty() || failing_now.contains(name));
        if times.len() < context.thresholds.restarts as usize && !still {
            continue;
        }
        if let Some(first) = times.iter().min() {
            output.recheck_at(first.plus(WINDOW));
        }
        let owner = &group.pods[0].owner;
        let words = owner_name(owner);
        let limit = group.newest().pod.spec.memory_limit(name);
        let limit = limit.map(|limit| limit / 1_048_576_000);
        let limit = limit.map_or("none".to_owned(), |mebi| format!("{mebi} Mi"));
        let since = times.iter().min().copied().unwrap_or(context.now);
        let description = format!(
            "Container {name} of {words} ran out of memory {} times within the last hour; its memory limit is {limit}. \
             Raise the limit, or find the leak if its memory grows steadily until each kill.",
            times.len()
        );
        let title = format!("Memory limit of container {name} of {words} is too low ({limit})");
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .container(name)
            .with("kills", times.len())
            .with("memory_limit", limit);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn oom(restarts: i64, at: i64) -> Value {
        pod_with(
            "web-1",
            restarts,
            running(at + 1),
            terminated("OOMKilled", 137, at - 5, at),
        )
    }

    #[test]
    fn captured_third_kill_opens_then_closes_when_no_pod_is_left() {
        run(
            &RULE,
            vec![
                Captured("out-of-memory", "kill-1"),
                Captured("out-of-memory", "kill-2"),
                NoChange,
                Captured("out-of-memory", "kill-3"),
                Opens(Error),
                Captured("out-of-memory", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn third_kill_within_an_hour_opens_then_closes_an_hour_later() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, oom(1, 10)),
                Wait(100),
                apply(Kind::Pod, oom(2, 100)),
                NoChange,
                Wait(100),
                apply(Kind::Pod, oom(3, 200)),
                Opens(Error),
                Wait(3000),
                NoChange,
                Wait(1000),
                Closes,
            ],
        );
    }

    #[test]
    fn same_kill_seen_again_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, oom(1, 10)),
                apply(Kind::Pod, oom(1, 10)),
                apply(Kind::Pod, oom(1, 10)),
                NoChange,
            ],
        );
    }

    #[test]
    fn kills_in_a_shutdown_of_the_node_do_not_open() {
        let killed = |name: &str| {
            over(
                pod_with(name, 0, terminated("OOMKilled", 137, 0, 5), json!({})),
                json!({"status": {"phase": "Failed", "reason": "Terminated"}}),
            )
        };
        run(
            &RULE,
            vec![
                apply(Kind::Pod, killed("web-1")),
                apply(Kind::Pod, killed("web-2")),
                apply(Kind::Pod, killed("web-3")),
                NoChange,
            ],
        );
    }
}
