//! A pod's container is not created.

use kube9_ingest::objects::{Condition, ContainerState, Phase, Role};
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

use super::format::pod_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{is_config_error, is_image_pull_error};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodStuckCreating",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A pod's container is not created",
        severity: "warning",
        opens: "a pending pod has a node, and its next init container or a main container waits with `ContainerCreating`, `PodInitializing` or another reason that no other rule reports",
        opens_after: "`creating`",
        closes: "the container runs or fails in another way, or the pod is deleted",
        action: "Run `kubectl describe pod`: its Events name what the pod waits for, such as a volume, an image, the network plugin or a Secret.",
        notes: "`PodStuckInitializing` reports an init container that runs and does not end.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase != Phase::Pending || pod.node.is_none() || pod.meta.deleting.is_some() {
        return;
    }
    // Init containers start one after the other, then all main containers.
    let init = pod.containers.iter().find(|state| !state.is_initialized());
    let next: Vec<&ContainerState> = match init {
        Some(init) => vec![init],
        None => {
            let containers = pod.containers.iter();
            containers
                .filter(|state| state.role == Role::Main)
                .collect()
        }
    };
    let waits = next.iter().filter(|state| is_being_created(state));
    let waiting: Vec<&str> = waits.clone().map(|state| &*state.name).collect();
    let reason = waits
        .map(|state| &*state.waiting)
        .find(|reason| !reason.is_empty());
    if waiting.is_empty() && !pod.containers.is_empty() {
        return;
    }
    let scheduled = Condition::of(&pod.conditions, "PodScheduled").filter(|c| c.is_true());
    let scheduled = scheduled.and_then(|c| c.since).unwrap_or(pod.meta.created);
    // Since the containers before them have done their part, or its containers have ended, after a reboot of the node.
    let times = pod.containers.iter().flat_map(|state| {
        let ends = [&state.terminated, &state.last].into_iter().flatten();
        let ends = ends.map(|end| end.at.unwrap_or(context.now));
        ends.chain(state.running)
    });
    let since = times.fold(scheduled, Timestamp::max);
    let pod_name = pod_name(entry);
    let node = pod.node.as_deref().unwrap_or_default();
    let what = match waiting.as_slice() {
        [] => "no container has been created".to_owned(),
        [one] => format!("container {one} has not been created"),
        several => format!("containers {} have not been created", several.join(", ")),
    };
    let description = format!(
        "Pod {pod_name} waits on node {node}: {what}. \
         `kubectl describe pod -n {} {}` names what it waits for, such as a volume, an image, the network plugin or a Secret.",
        pod.meta.namespace, pod.meta.name
    );
    let title = match init {
        Some(init) => format!("Pod {pod_name} stuck creating init container {}", init.name),
        None => format!(
            "Pod {pod_name} stuck in {}",
            reason.unwrap_or("ContainerCreating")
        ),
    };
    let symptom = output.add(Severity::Warning, since, title, description);
    symptom
        .of_pod(entry)
        .for_at_least(context.thresholds.creating);
    match (init, waiting.as_slice()) {
        (Some(init), _) => symptom.container(&init.name),
        (None, [one]) => symptom.container(one).part(""),
        (None, _) => symptom,
    };
}

/// The kubelet has not created it, for a reason that no other rule reports.
fn is_being_created(state: &ContainerState) -> bool {
    state.running.is_none()
        && state.terminated.is_none()
        && &*state.waiting != "CrashLoopBackOff"
        && !is_image_pull_error(state)
        && !is_config_error(state)
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn creating(reason: &str) -> Value {
        over(
            pod_with("web-1", 1, waiting(reason), json!({})),
            json!({"status": {"phase": "Pending"}}),
        )
    }

    #[test]
    fn captured_missing_secret_opens_then_closes_when_created() {
        run(
            &RULE,
            vec![
                Captured("creating", "bad"),
                Wait(601),
                Opens(Warning),
                Captured("creating", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn creating_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, creating("ContainerCreating")),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn image_pull_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, creating("ImagePullBackOff")),
                Wait(700),
                NoChange,
            ],
        );
    }

    /// A pending pod with these init containers and their statuses.
    fn with_init(init: Value, statuses: Value, main: Value) -> Value {
        over(
            pod_with("web-1", 0, main, json!({})),
            json!({"spec": {"initContainers": init},
                   "status": {"phase": "Pending", "initContainerStatuses": statuses}}),
        )
    }

    #[test]
    fn init_container_that_is_not_created_opens_then_closes_when_it_runs() {
        let init = |state: Value| {
            let statuses = json!([{"name": "a", "state": terminated("Completed", 0, 0, 5)}, {"name": "b", "state": state}]);
            let init = json!([{"name": "a"}, {"name": "b"}]);
            with_init(init, statuses, waiting("PodInitializing"))
        };
        run(
            &RULE,
            vec![
                apply(Kind::Pod, init(waiting("PodInitializing"))),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Pod, init(running(600))),
                Closes,
                Wait(3600),
                NoChange,
            ],
        );
    }

    #[test]
    fn main_container_counts_from_the_end_of_the_init_containers() {
        let init = json!([{"name": "a"}, {"name": "proxy", "restartPolicy": "Always"}]);
        let statuses = json!([
            {"name": "a", "state": terminated("Completed", 0, 0, 2000)},
            {"name": "proxy", "state": running(2010), "started": true},
        ]);
        run(
            &RULE,
            vec![
                Wait(2010),
                apply(
                    Kind::Pod,
                    with_init(init, statuses, waiting("PodInitializing")),
                ),
                Wait(590),
                NoChange,
                Wait(20),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn container_beside_one_that_runs_opens() {
        let statuses = json!([{"name": "app", "state": running(1)}, {"name": "big", "state": waiting("ContainerCreating")}]);
        let pod = pod(
            "web-1",
            json!({"status": {"phase": "Pending", "containerStatuses": statuses}}),
        );
        run(
            &RULE,
            vec![apply(Kind::Pod, pod), Wait(610), Opens(Warning)],
        );
    }

    #[test]
    fn pod_without_statuses_opens() {
        let pod = pod(
            "web-1",
            json!({"status": {"phase": "Pending", "containerStatuses": null}}),
        );
        run(
            &RULE,
            vec![apply(Kind::Pod, pod), Wait(610), Opens(Warning)],
        );
    }

    #[test]
    fn unknown_reason_opens() {
        let pod = creating("FailedToCreatePodSandBox");
        run(
            &RULE,
            vec![apply(Kind::Pod, pod), Wait(610), Opens(Warning)],
        );
    }

    #[test]
    fn failing_init_container_does_not_open() {
        let init = |state: Value| {
            let statuses =
                json!([{"name": "a", "state": state, "lastState": terminated("Error", 1, 0, 5)}]);
            with_init(json!([{"name": "a"}]), statuses, waiting("PodInitializing"))
        };
        run(
            &RULE,
            vec![
                apply(Kind::Pod, init(waiting("CrashLoopBackOff"))),
                Wait(700),
                apply(Kind::Pod, init(waiting("ImagePullBackOff"))),
                Wait(700),
                NoChange,
            ],
        );
    }
}
