//! Several pods of one controller fail in the same way.

use std::collections::BTreeMap;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{count, owner_name, pod_names};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{FailureMode, pod_failures};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodsFailingAlike",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Several pods of one controller fail in the same way",
        severity: "error",
        opens: "`same_failure` pods of one controller fail in the same way: out of memory, exit with an error, image pull for `image_pull`, or container configuration",
        opens_after: "",
        closes: "fewer than two of them fail in that way",
        action: "Look for the cause in what they share: the template, the image, a ConfigMap, a dependency.",
        notes: "The metadata lists the pods. Evicted pods do not count (see `PodEvicted`).",
    },
    reads: &[Kind::Pod],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let mut modes: BTreeMap<FailureMode, Vec<&PodEntry>> = BTreeMap::new();
    for entry in group.pods.iter().filter(|entry| entry.owner.kind != "Pod") {
        let failing = pod_failures(entry, context.now, context.thresholds);
        if let Some(at) = failing.recheck_at {
            output.recheck_at(at); // pods that recover by running on say nothing then
        }
        let mut fails: Vec<FailureMode> = failing.modes.into_iter().map(|(mode, _)| mode).collect();
        fails.sort();
        fails.dedup();
        for mode in fails {
            modes.entry(mode).or_default().push(entry);
        }
    }
    for (mode, pods) in modes {
        let enough = if (context.is_open)(mode.as_str()) {
            2
        } else {
            context.thresholds.same_failure as usize
        };
        if pods.len() < enough {
            continue;
        }
        let owner = owner_name(&pods[0].owner);
        let since = pods
            .iter()
            .flat_map(|entry| {
                entry
                    .histories
                    .values()
                    .filter_map(|history| history.failing)
            })
            .min()
            .unwrap_or(context.now);
        let nodes: std::collections::BTreeSet<&str> =
            pods.iter().filter_map(|e| e.pod.node.as_deref()).collect();
        let description = format!(
            "{} of {} of {owner} {}, on {}, the first since {since}. \
             Look for the cause in what they share: the template, the image, a ConfigMap, a dependency.",
            pods.len(),
            count(group.pods.len(), "pod"),
            mode.words(),
            count(nodes.len(), "node"),
        );
        let title = format!("{} pods of {owner} {}", pods.len(), mode.words());
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .part(mode.as_str())
            .with("failure", mode.as_str())
            .with("pods", pods.len());
        symptom
            .with("nodes", nodes.len())
            .with("members", pod_names(pods.into_iter()));
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    fn crashing(name: &str, at: i64) -> Value {
        pod_with(
            name,
            1,
            waiting("CrashLoopBackOff"),
            terminated("Error", 1, at - 1, at),
        )
    }

    /// It ended badly at `ended`, and has run since `since`.
    fn ran_on(name: &str, ended: i64, since: i64) -> Value {
        let state = terminated("Error", 1, ended - 1, ended);
        over(
            pod_with(name, 1, running(since), state),
            json!({"status": {"conditions": [condition("PodScheduled", "True", 0), condition("Ready", "True", since)]}}),
        )
    }

    fn waits(name: &str) -> Value {
        pod_with(name, 0, waiting("ErrImagePull"), json!({}))
    }

    fn three(of: impl Fn(&str) -> Value) -> Step {
        let names = ["web-1", "web-2", "web-3"];
        Apply(names.map(|name| (Kind::Pod, of(name))).to_vec())
    }

    #[test]
    fn crashing_pods_open_then_close_when_stable() {
        run(
            &RULE,
            vec![
                Wait(10),
                three(|name| ran_on(name, 10, 12)),
                Opens(Error),
                Wait(590),
                NoChange,
                Wait(20),
                Closes,
            ],
        );
    }

    #[test]
    fn image_pull_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                three(waits),
                Wait(50),
                NoChange,
                apply(Kind::Pod, pod("web-3", json!({}))),
                Wait(20),
                NoChange,
                apply(Kind::Pod, waits("web-3")),
                Wait(65),
                Opens(Error),
                three(|name| pod(name, json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn evicted_pods_do_not_open() {
        run(&RULE, vec![three(evicted), Wait(60), NoChange]);
    }

    #[test]
    fn captured_crash_loop_opens_then_closes_with_new_template() {
        run(
            &RULE,
            vec![
                Captured("crash-loop", "bad"),
                Opens(Error),
                Captured("crash-loop", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn three_pods_open_then_close_when_fewer_than_two_are_left() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Pod, crashing("web-1", 2)),
                    (Kind::Pod, crashing("web-2", 2)),
                ]),
                NoChange,
                apply(Kind::Pod, crashing("web-3", 2)),
                Opens(Error),
                apply(Kind::Pod, pod("web-3", json!({}))),
                NoChange,
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn different_failures_do_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, crashing("web-1", 2)),
                apply(
                    Kind::Pod,
                    pod_with(
                        "web-2",
                        1,
                        waiting("CrashLoopBackOff"),
                        terminated("OOMKilled", 137, 1, 2),
                    ),
                ),
                apply(Kind::Pod, pulling("web-3", "w1", "i:1")),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_single_pod_does_not_open() {
        run(&RULE, vec![Captured("config-change", "failing"), NoChange]);
    }
}
