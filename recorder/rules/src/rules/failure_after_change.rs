//! Pods fail soon after a change.

use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::{count, human_duration, owner_name, pod_names};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::changes::LastChange;
use crate::failure_mode::pod_failures;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "FailureAfterChange",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Pods fail soon after a change",
        severity: "error",
        opens: "pods of a controller begin to fail, in a way that `PodsFailingAlike` lists, within `after_change` after a change of their Deployment's image or of a ConfigMap that they read",
        opens_after: "",
        closes: "none of the pods fails",
        action: "Suspect the change first; the metadata names it. It is not proof. Revert the change if in doubt.",
        notes: "The metadata also lists the pods. The changes are those of the change history: without `changes.enabled`, or with Deployments and ConfigMaps left out of `changes.kinds`, the rule finds nothing.",
    },
    reads: &[Kind::Pod, Kind::Deployment, Kind::ConfigMap],
    check: Check::Owner(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let owner = &group.pods[0].owner;
    let mut failing_pods: Vec<(&PodEntry, Timestamp)> = Vec::new();
    for entry in &group.pods {
        let failing = pod_failures(entry, context.now, context.thresholds);
        if let Some(at) = failing.recheck_at {
            output.recheck_at(at); // pods that recover by running on say nothing then
        }
        let since = failing.modes.iter().filter_map(|(_, since)| *since).min();
        failing_pods.extend(since.map(|since| (*entry, since)));
    }
    let failing = failing_pods;
    if failing.is_empty() {
        return;
    }
    let open = (context.is_open)("");
    let window = context.thresholds.after_change;
    let fits = |change: &LastChange, since: Timestamp| {
        // Times of containers are whole seconds: a crash in the second of the change is after it.
        since.millis() >= change.at - 1000 && since.since(change.time()) <= window
    };
    let mut suspects: Vec<LastChange> = changes(context, group);
    suspects.sort_by_key(|change| std::cmp::Reverse(change.at));
    let found = suspects
        .iter()
        .find(|change| failing.iter().any(|(_, since)| fits(change, *since)));
    // Restarts of the recorder lose when a failure began; what was found once stays found while they fail.
    let Some(change) = found.or(if open { suspects.first() } else { None }) else {
        return;
    };
    let pods: Vec<&PodEntry> = failing.iter().map(|(entry, _)| *entry).collect();
    let since = failing
        .iter()
        .map(|(_, since)| *since)
        .min()
        .unwrap_or(context.now);
    let owner = owner_name(owner);
    let description = format!(
        "{} of {owner} began to fail at {since}, {} after a change at {}: {}. \
         Suspect the change first: compare with the state before it, or revert it.",
        count(pods.len(), "pod"),
        human_duration(since.since(change.time())),
        change.time(),
        change.what
    );
    let title = format!("Pods of {owner} fail after a change ({})", change.what);
    let symptom = output.add(Severity::Error, since, title, description);
    symptom
        .with("change", change.what.as_str())
        .with("changed_at", change.time().to_string());
    symptom
        .with("pods", pods.len())
        .with("members", pod_names(pods.into_iter()));
}

/// The latest changes of what the group depends on.
fn changes(context: &RuleContext<'_>, group: &Group<'_>) -> Vec<LastChange> {
    let world = context.world;
    let newest = group.newest();
    let change = world.last_changes.get(&newest.owner);
    let mut found: Vec<LastChange> = change.cloned().into_iter().collect();
    let spec = &newest.pod.spec;
    for map in spec.config_maps.iter().chain(&spec.optional_config_maps) {
        let key = world.config_map(&newest.pod.meta.namespace, map);
        found.extend(key.and_then(|key| world.last_changes.get(key)).cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn crashing(name: &str, at: i64) -> Value {
        pod_with(
            name,
            1,
            waiting("CrashLoopBackOff"),
            terminated("Error", 1, at - 1, at),
        )
    }

    fn image(tag: &str) -> Value {
        deployment(
            json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": format!("registry/web:{tag}")}]}}}}),
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

    #[test]
    fn crash_opens_then_closes_when_stable() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                apply(Kind::Deployment, image("2")),
                Wait(10),
                apply(Kind::Pod, ran_on("web-1", 10, 12)),
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
                apply(Kind::Deployment, image("1")),
                apply(Kind::Deployment, image("2")),
                apply(Kind::Pod, waits("web-1")),
                Wait(50),
                NoChange,
                Wait(20),
                Opens(Error),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn short_pull_failure_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                apply(Kind::Deployment, image("2")),
                apply(Kind::Pod, waits("web-1")),
                Wait(50),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Wait(60),
                NoChange,
            ],
        );
    }

    #[test]
    fn eviction_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                apply(Kind::Deployment, image("2")),
                apply(Kind::Pod, evicted("web-1")),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_config_map_change_opens_then_closes_when_repaired() {
        run(
            &RULE,
            vec![
                Captured("config-change", "well"),
                Captured("config-change", "changed"),
                NoChange,
                Captured("config-change", "failing"),
                Opens(Error),
                Captured("config-change", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_image_change_opens_then_closes_when_reverted() {
        run(
            &RULE,
            vec![
                Captured("rollout", "well"),
                NoChange,
                Captured("rollout", "stuck"),
                Wait(61),
                Opens(Error),
                Captured("rollout", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn image_change_then_crash_opens_then_closes_when_ready() {
        run(
            &RULE,
            vec![
                Apply(vec![
                    (Kind::Deployment, image("1")),
                    (Kind::Pod, pod("web-1", json!({}))),
                ]),
                Wait(100),
                apply(Kind::Deployment, image("2")),
                NoChange,
                Wait(20),
                apply(Kind::Pod, crashing("web-2", 120)),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn crash_before_the_change_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                Wait(60),
                apply(Kind::Pod, crashing("web-1", 50)),
                apply(Kind::Deployment, image("2")),
                Wait(30),
                NoChange,
            ],
        );
    }

    #[test]
    fn crash_long_after_the_change_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                apply(Kind::Deployment, image("2")),
                Wait(700),
                apply(Kind::Pod, crashing("web-1", 700)),
                NoChange,
            ],
        );
    }

    #[test]
    fn scaling_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Deployment, image("1")),
                apply(
                    Kind::Deployment,
                    over(image("1"), json!({"spec": {"replicas": 5}})),
                ),
                Wait(5),
                apply(Kind::Pod, crashing("web-1", 6)),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_crash_loop_without_change_does_not_open() {
        run(&RULE, vec![Captured("crash-loop", "bad"), NoChange]);
    }

    /// A ConfigMap that changes that many times, and a pod that reads it and crashes after the last change.
    fn crash_after_changes(times: usize) -> Vec<Step> {
        let reads = json!({"spec": {"containers": [container(json!({"envFrom": [{"configMapRef": {"name": "conf"}}]}))]}});
        let mut steps = vec![apply(Kind::Pod, pod("web-1", reads.clone()))];
        for n in 0..=times {
            let data = json!({"data": {"mode": format!("{n:04}")}});
            steps.extend([apply(Kind::ConfigMap, config_map(data)), Wait(100)]);
        }
        let end = 100 * (times as i64 + 1);
        steps.push(apply(Kind::Pod, over(crashing("web-1", end), reads)));
        steps
    }

    #[test]
    fn config_map_that_changed_three_times_is_suspected() {
        let mut steps = crash_after_changes(3);
        steps.push(Opens(Error));
        run(&RULE, steps);
    }
}
