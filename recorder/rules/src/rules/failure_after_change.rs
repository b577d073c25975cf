//! Pods fail soon after a change.

use std::time::Duration;

use kube9_ingest::objects::Condition;
use kube9_model::commit_stats::BreakingChange;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::{count, human_duration, owner_name, pod_names};
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{FailureMode, pod_failures};
use crate::subject::path;
use crate::world::{PodEntry, World};

pub(super) const RULE: Rule = Rule {
    name: "FailureAfterChange",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "Pods fail soon after a change",
        severity: "error",
        opens: "pods of a controller begin to fail, in a way that `PodsFailingAlike` lists, or the API server refuses the pods of a Deployment, within `after_change` after a change of what they depend on",
        opens_after: "",
        closes: "none of the pods fails or is refused",
        action: "Suspect the change first; the metadata names it. It is not proof. Revert the change if in doubt.",
        notes: "The finding names the changed field, its value before and after, the time, and the author as the client called itself, if it is known. \
                A change of the pod template of a Deployment, StatefulSet, DaemonSet, Job or CronJob comes first, or of a ConfigMap that the pods read, also its deletion. \
                Without one, a failure after the start of a container is compared with changes of the NetworkPolicies and PodDisruptionBudgets of the namespace, and a failure of a new pod with those of its LimitRanges and of mutating webhooks and admission policies. \
                For a refusal, the message of the API server must fit the changed quota, limit range, webhook or policy; the finding opens after `assessment` then. \
                The metadata also lists the pods. The changes are those of the change history: without `changes.enabled`, the rule finds nothing, and kinds that are left out of `changes.kinds` are not suspected.",
    },
    reads: &[Kind::Pod, Kind::Deployment, Kind::ConfigMap],
    check: Check::Owner(check),
};

/// How long a change may take from the API server to the rules: what it broke may be known earlier.
const COMMIT_DELAY: Duration = Duration::from_secs(15);

/// How a pod fails, and since when.
struct Failing<'a> {
    entry: &'a PodEntry,
    mode: FailureMode,
    since: Timestamp,
}

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let mut failing: Vec<Failing<'_>> = Vec::new();
    for entry in &group.pods {
        let failures = pod_failures(entry, context.now, context.thresholds);
        if let Some(at) = failures.recheck_at {
            output.recheck_at(at); // pods that recover by running on say nothing then
        }
        let known = failures.modes.iter();
        let known = known.filter_map(|(mode, since)| since.map(|since| (since, *mode)));
        failing.extend(
            known
                .min()
                .map(|(since, mode)| Failing { entry, mode, since }),
        );
    }
    let refusal = match &failing[..] {
        [] => refusal(context.world, group),
        _ => None,
    };
    let since = failing.iter().map(|one| one.since).min();
    let Some(since) = since.or(refusal.map(|(_, since)| since)) else {
        return;
    };
    let is_before = |change: &BreakingChange, since: Timestamp| {
        // Times of containers are whole seconds: a crash in the second of the change is after it.
        since.millis() > change.at.millis() - 1000
    };
    let suspects = suspects(context.world, group);
    let newest = |nearness: Nearness, window: Duration| {
        let fits = |change: &BreakingChange, since: Timestamp| {
            is_before(change, since) && since.since(change.at) <= window
        };
        let near = suspects.iter().filter(|(near, _)| *near == nearness);
        let can_cause = near
            .map(|(_, change)| *change)
            .filter(|change| match refusal {
                Some((message, since)) => refuses(change, message) && fits(change, since),
                None => failing
                    .iter()
                    .any(|one| breaks(change, one) && fits(change, one.since)),
            });
        can_cause.max_by_key(|change| change.at)
    };
    let nearest = |window: Duration| {
        [Nearness::Own, Nearness::Namespace, Nearness::Cluster]
            .into_iter()
            .find_map(|nearness| newest(nearness, window))
    };
    let mut found = nearest(context.thresholds.after_change);
    if found.is_none() && (context.is_open)("") {
        // Restarts of the recorder lose when a failure began; what was found once stays found while they fail.
        found = nearest(Duration::MAX);
    }
    let Some(change) = found else {
        let known = since.plus(COMMIT_DELAY);
        if known > context.now {
            output.recheck_at(known);
        }
        return;
    };
    // Of the failures, that after the change.
    let began = failing.iter().map(|one| one.since);
    let since = began
        .filter(|since| is_before(change, *since))
        .min()
        .unwrap_or(since);
    let owner = owner_name(&group.pods[0].owner);
    let pods: Vec<&PodEntry> = failing.iter().map(|one| one.entry).collect();
    let what = match refusal {
        Some(_) => format!("The API server began to refuse pods of {owner} at {since}"),
        None => format!(
            "{} of {owner} began to fail at {since}",
            count(pods.len(), "pod")
        ),
    };
    let values = match (&*change.from, &*change.to) {
        ("", "") => String::new(),
        ("", to) => format!(", to {to:?}"),
        (from, "") => format!(", which was {from:?}"),
        (from, to) => format!(", from {from:?} to {to:?}"),
    };
    let field = match &*change.path {
        path if path.is_empty() || change.what.contains(path) => String::new(),
        path => format!(", field {path}"),
    };
    let by = match &*change.by {
        "" => " Its author is not known.".to_owned(),
        by => format!(" The change was made {by}."),
    };
    let object = &change.object;
    let object = if *object == *group.pods[0].owner {
        String::new()
    } else {
        format!(" ({} {})", object.kind, path(object))
    };
    let description = format!(
        "{what}, {} after a change at {}: {}{object}{field}{values}.{by} \
         Suspect the change first: compare with the state before it, or revert it.",
        human_duration(since.since(change.at)),
        change.at,
        change.what
    );
    let title = match refusal {
        Some(_) => format!(
            "Pods of {owner} are refused after a change ({})",
            change.what
        ),
        None => format!("Pods of {owner} fail after a change ({})", change.what),
    };
    let symptom = output.add(Severity::Error, since, title, description);
    if refusal.is_some() {
        symptom.for_at_least(context.thresholds.assessment);
    }
    for (key, value) in [
        ("change", &change.what),
        ("changed_field", &change.path),
        ("changed_from", &change.from),
        ("changed_to", &change.to),
        ("changed_by", &change.by),
    ] {
        if !value.is_empty() {
            symptom.with(key, &**value);
        }
    }
    symptom.with("changed_at", change.at.to_string()).with(
        "changed_object",
        format!("{}/{}", change.object.kind, path(&change.object)),
    );
    if !pods.is_empty() {
        symptom
            .with("pods", pods.len())
            .with("members", pod_names(pods.into_iter()));
    }
}

/// How near to the pods a changed object is. A change far away is suspected only without one nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nearness {
    /// Their controller, or a ConfigMap that they read.
    Own,
    Namespace,
    Cluster,
}

/// The changes of what the group depends on.
fn suspects<'a>(world: &'a World, group: &Group<'a>) -> Vec<(Nearness, &'a BreakingChange)> {
    let newest = group.newest();
    let namespace = &newest.pod.meta.namespace;
    let deployment = world.deployments.get(&newest.owner);
    let existed = |at: Timestamp| {
        let pods = group.pods.iter().map(|entry| &entry.pod.meta);
        let mut all = pods.chain(deployment.map(|one| &one.meta));
        all.any(|meta| meta.created < at)
    };
    let spec = &newest.pod.spec;
    let reads = |name: &str| {
        let mut maps = spec.config_maps.iter().chain(&spec.optional_config_maps);
        maps.any(|map| **map == *name)
    };
    let here = world.changes_of(namespace).iter().filter_map(|change| {
        let object = &change.object;
        let nearness = match &*object.kind {
            "ConfigMap" => reads(&object.name).then_some(Nearness::Own)?,
            "ResourceQuota" | "LimitRange" | "NetworkPolicy" | "PodDisruptionBudget" => {
                // What is installed together with a policy fails for other reasons.
                existed(change.at).then_some(Nearness::Namespace)?
            }
            _ => (*object == *newest.owner).then_some(Nearness::Own)?,
        };
        Some((nearness, change))
    });
    let cluster = world.changes_of("").iter();
    let cluster = cluster.filter(|change| existed(change.at));
    here.chain(cluster.map(|change| (Nearness::Cluster, change)))
        .collect()
}

/// Whether a change can make a pod fail like this.
fn breaks(change: &BreakingChange, failing: &Failing<'_>) -> bool {
    // The API server applies these to new pods.
    let is_new = failing.entry.pod.meta.created.millis() > change.at.millis() - 1000;
    match &*change.object.kind {
        "NetworkPolicy" | "PodDisruptionBudget" => failing.mode == FailureMode::Exit,
        "LimitRange" => is_new && failing.mode != FailureMode::ImagePull,
        "ResourceQuota" => false,
        kind if kind.starts_with("Validating") => false,
        // With a wrong certificate, the webhook is not called.
        kind if kind.starts_with("Mutating") => is_new && !change.path.ends_with("caBundle"),
        "ConfigMap" => failing.mode != FailureMode::ImagePull,
        _ => true,
    }
}

/// What the API server says to a Deployment whose pods it refuses, and since when.
fn refusal<'a>(world: &'a World, group: &Group<'_>) -> Option<(&'a str, Timestamp)> {
    let deployment = world.deployments.get(&group.pods[0].owner)?;
    let failure = Condition::of(&deployment.conditions, "ReplicaFailure")?;
    let since = failure.since.filter(|_| failure.is_true())?;
    Some((&failure.message, since))
}

/// Whether the message of a refusal means the changed object.
fn refuses(change: &BreakingChange, message: &str) -> bool {
    let kind = &*change.object.kind;
    let name = &*change.object.name;
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match kind {
        "ResourceQuota" => [": ", ","].iter().any(|end| {
            // `exceeded quota: NAME, requested: …`, `failed quota: NAME: must specify …`
            let text = format!("quota: {name}{end}");
            message.contains(&text)
        }),
        "LimitRange" => says(&[" usage per ", "limit to request ratio"]),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            // `webhooks[NAME].rules`; the message has the name of the webhook, not that of its configuration.
            let webhook = change.path.split(['[', ']']).nth(1);
            says(&["webhook"]) && webhook.is_none_or(|webhook| message.contains(webhook))
        }
        _ if kind.ends_with("AdmissionPolicy") || kind.ends_with("AdmissionPolicyBinding") => {
            message.contains(&format!("'{name}'"))
        }
        _ if change.path.ends_with("serviceAccountName") => says(&["service account"]),
        _ if change.path.contains("resources") => says(&["quota: ", " usage per "]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::ObjectRef;
    use kube9_model::commit_stats::{BreakingChange, CommitDelta};
    use kube9_model::time::Timestamp;

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

    /// The writer commits this change, so many seconds after the start.
    fn changed(kind: &str, name: &str, op: &str, field: &str, second: i64) -> Step {
        let is_wide = kind.contains("Webhook") || kind.contains("Admission");
        let mut delta = CommitDelta::default();
        delta.note_change(BreakingChange {
            object: ObjectRef {
                kind: kind.to_owned(),
                namespace: if is_wide { "" } else { "shop" }.to_owned(),
                name: name.to_owned(),
            },
            at: Timestamp::parse(&t(second)).unwrap(),
            what: format!("{kind} {name} {op}").into(),
            path: field.into(),
            from: "1".into(),
            to: "2".into(),
            by: "by helm".into(),
        });
        Step::Commit(delta)
    }

    /// It was created and crashed at those seconds.
    fn crashed(name: &str, created: i64, at: i64) -> Step {
        let created = json!({"metadata": {"creationTimestamp": t(created)}});
        apply(Kind::Pod, over(crashing(name, at), created))
    }

    #[test]
    fn change_of_a_stateful_set_opens() {
        let owner = json!([{"kind": "StatefulSet", "name": "db", "controller": true}]);
        let of_set = json!({"metadata": {"ownerReferences": owner}});
        let env = "spec.template.spec.containers[app].env[A].value";
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod("db-0", of_set.clone())),
                changed("StatefulSet", "other", "changed", env, 40),
                changed("DaemonSet", "db", "changed", env, 40),
                changed("StatefulSet", "db", "changed", env, 50),
                Wait(60),
                apply(Kind::Pod, over(crashing("db-0", 60), of_set)),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn deleted_config_map_opens_before_and_after_the_failure_is_known() {
        let reads = json!({"spec": {"containers": [container(json!({"envFrom": [{"configMapRef": {"name": "conf"}}]}))]}});
        let deleted = || changed("ConfigMap", "conf", "deleted", "", 10);
        let fails = || {
            let waits = pod_with("web-1", 0, waiting("CreateContainerConfigError"), json!({}));
            apply(Kind::Pod, over(waits, reads.clone()))
        };
        for steps in [[deleted(), fails()], [fails(), deleted()]] {
            let mut all = vec![Wait(20)];
            all.extend(steps);
            all.push(Opens(Error));
            run(&RULE, all);
        }
        run(
            &RULE,
            vec![
                Wait(20),
                changed("ConfigMap", "other", "deleted", "", 10),
                fails(),
                NoChange,
            ],
        );
    }

    #[test]
    fn change_of_a_policy_of_the_namespace_opens_for_a_crash() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod("web-1", json!({}))),
                Wait(20),
                crashed("web-1", 0, 20),
                changed("NetworkPolicy", "deny", "created", "", 15),
                Wait(20),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn policy_installed_with_the_pods_does_not_open() {
        run(
            &RULE,
            vec![
                changed("NetworkPolicy", "deny", "created", "", 0),
                Wait(20),
                crashed("web-1", 5, 20),
                Wait(30),
                NoChange,
            ],
        );
    }

    #[test]
    fn limit_range_and_mutating_webhook_open_only_for_new_pods() {
        let rules = "webhooks[inject.example.com].rules";
        for (kind, field) in [
            ("LimitRange", "spec.limits"),
            ("MutatingWebhookConfiguration", rules),
        ] {
            let steps = |created| {
                vec![
                    apply(Kind::Pod, pod("web-1", json!({}))),
                    Wait(20),
                    changed(kind, "one", "changed", field, 15),
                    Wait(20),
                    crashed("web-2", created, 35),
                ]
            };
            let mut new = steps(30);
            new.push(Opens(Error));
            run(&RULE, new);
            let mut old = steps(5);
            old.push(NoChange);
            run(&RULE, old);
        }
    }

    #[test]
    fn change_that_cannot_cause_the_failure_does_not_open() {
        let ca = "webhooks[inject.example.com].clientConfig.caBundle";
        for (kind, field) in [
            ("ResourceQuota", "spec.hard.pods"),
            (
                "ValidatingWebhookConfiguration",
                "webhooks[a.example.com].rules",
            ),
            ("ValidatingAdmissionPolicy", "spec.validations"),
            ("MutatingWebhookConfiguration", ca),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Pod, pod("web-1", json!({}))),
                    Wait(20),
                    changed(kind, "one", "changed", field, 15),
                    Wait(20),
                    crashed("web-2", 30, 35),
                    Wait(20),
                    NoChange,
                ],
            );
        }
    }

    fn refused(message: &str) -> Step {
        let failure = over(
            condition("ReplicaFailure", "True", 20),
            json!({"reason": "FailedCreate", "message": message}),
        );
        apply(
            Kind::Deployment,
            deployment(json!({"status": {"conditions": [failure]}})),
        )
    }

    #[test]
    fn refusal_opens_for_what_its_message_means_then_closes() {
        let quota = r#"pods "web-3" is forbidden: exceeded quota: small, requested: pods=1"#;
        let webhook = r#"admission webhook "a.example.com" denied the request: no"#;
        let policy = "ValidatingAdmissionPolicy 'small' with binding 'b' denied request: no";
        let rules = "webhooks[a.example.com].rules";
        for (kind, field, message) in [
            ("ResourceQuota", "spec.hard.pods", quota),
            ("ValidatingWebhookConfiguration", rules, webhook),
            ("ValidatingAdmissionPolicy", "spec.validations", policy),
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Pod, pod("web-1", json!({}))),
                    Wait(15),
                    changed(kind, "small", "changed", field, 10),
                    Wait(5),
                    refused(message),
                    NoChange,
                    Wait(61),
                    Opens(Error),
                    apply(Kind::Deployment, deployment(json!({}))),
                    Closes,
                ],
            );
        }
    }

    #[test]
    fn refusal_for_another_reason_does_not_open() {
        let quota = r#"pods "web-3" is forbidden: exceeded quota: smaller, requested: pods=1"#;
        run(
            &RULE,
            vec![
                apply(Kind::Pod, pod("web-1", json!({}))),
                Wait(15),
                changed("ResourceQuota", "small", "changed", "spec.hard.pods", 10),
                changed("LimitRange", "small", "changed", "spec.limits", 10),
                Wait(5),
                refused(quota),
                Wait(100),
                NoChange,
            ],
        );
    }

    /// The finding keeps naming the change that broke the pods, not the attempts to repair them.
    #[test]
    fn finding_names_change_values_and_author() {
        let env = "spec.template.spec.containers[app].env[A].value";
        let mut harness = TestHarness::new();
        let mut step = |step: Step| match step {
            Step::Apply(objects) => {
                for (kind, object) in objects {
                    harness.apply(kind, &object);
                }
                Vec::new()
            }
            Step::Commit(delta) => {
                harness.commit(delta);
                Vec::new()
            }
            Step::Wait(seconds) => {
                harness.wait(seconds);
                harness.findings()
            }
            _ => Vec::new(),
        };
        step(apply(Kind::Pod, pod("web-1", json!({}))));
        step(Wait(30));
        step(changed("Deployment", "web", "changed", env, 20));
        step(crashed("web-1", 0, 30));
        step(changed(
            "Deployment",
            "web",
            "changed",
            "spec.template.spec.volumes",
            31,
        ));
        step(crashed("web-1", 0, 33));
        let found = step(Wait(120));
        let found: Vec<_> = found
            .iter()
            .map(|finding| finding.row.record())
            .filter(|record| record.reason == RULE.name)
            .collect();
        assert!(!found.is_empty());
        for record in found {
            let text = &record.description;
            assert!(text.contains("field spec.template.spec.containers[app].env[A].value, from \"1\" to \"2\". The change was made by helm."), "{text}");
            assert_eq!(record.extra["changed_field"], env);
            assert_eq!(record.extra["changed_by"], "by helm");
            assert_eq!(record.extra["changed_object"], "Deployment/shop/web");
        }
    }
}
