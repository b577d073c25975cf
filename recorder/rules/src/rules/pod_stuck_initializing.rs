//! An init container of a pod does not end.

use kube9_ingest::objects::{ContainerState, Role};
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::pod_name;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "PodStuckInitializing",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "An init container of a pod does not end",
        severity: "warning",
        opens: "an init container runs and does not end, or a sidecar (`restartPolicy: Always`) runs and its startup probe does not pass, so that the containers after it do not start",
        opens_after: "3 times `creating`",
        closes: "the container ends, the sidecar has started, or the pod is deleted",
        action: "Read the log of the container that the title names: `kubectl logs -c CONTAINER`. It often waits for something that does not exist, such as a database or a Service.",
        notes: "`PodStuckCreating` reports an init container that has not been created, `CrashLoop` and `ImagePullFailing` one that fails.",
    },
    reads: &[Kind::Pod],
    check: Check::Pod(check),
};

fn check(context: &RuleContext<'_>, entry: &PodEntry, output: &mut RuleOutput) {
    let pod = &entry.pod;
    if pod.phase.is_final() || pod.meta.deleting.is_some() {
        return;
    }
    let mut states = pod.containers.iter();
    // The kubelet may lose the status of an init container after the main containers have started.
    let runs = |state: &ContainerState| state.role == Role::Main && state.running.is_some();
    if states.clone().any(runs) {
        return;
    }
    let Some(state) = states.find(|state| !state.is_initialized()) else {
        return;
    };
    let Some(since) = state.running else { return };
    let (name, pod_name) = (&state.name, pod_name(entry));
    let (title, what) = match state.role {
        Role::Sidecar => {
            let has_probe = pod.spec.named(name).is_some_and(|c| c.startup_probe);
            let why = if has_probe {
                "its startup probe does not pass"
            } else {
                "its `postStart` hook does not end"
            };
            (
                format!("Sidecar {name} of pod {pod_name} does not become started"),
                format!("Sidecar {name} of pod {pod_name} has run since {since}, but {why}"),
            )
        }
        Role::Init | Role::Main => (
            format!("Init container {name} of pod {pod_name} does not end"),
            format!("Init container {name} of pod {pod_name} has run since {since}"),
        ),
    };
    let description = format!(
        "{what}. The containers after it do not start before. \
         Read `kubectl logs -n {} {} -c {name}`: it may wait for something that does not exist.",
        pod.meta.namespace, pod.meta.name
    );
    output
        .add(Severity::Warning, since, title, description)
        .container(name)
        .of_pod(entry)
        .for_at_least(context.thresholds.creating * 3);
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    /// A pending pod whose main container waits for these init containers.
    fn initializing(spec: Value, statuses: Value) -> Value {
        over(
            pod_with("web-1", 0, waiting("PodInitializing"), json!({})),
            json!({"spec": {"initContainers": spec}, "status": {"phase": "Pending", "initContainerStatuses": statuses}}),
        )
    }

    fn init(name: &str, state: Value) -> Value {
        json!({"name": name, "state": state, "started": true, "restartCount": 0})
    }

    fn sidecar(started: Value) -> Value {
        initializing(
            json!([{"name": "proxy", "restartPolicy": "Always", "startupProbe": {}}]),
            json!([{"name": "proxy", "state": running(0), "started": started, "restartCount": 0}]),
        )
    }

    fn waits(state: Value) -> Value {
        initializing(json!([{"name": "wait"}]), json!([init("wait", state)]))
    }

    #[test]
    fn endless_init_container_opens_after_the_delay_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, waits(running(0))),
                Wait(1790),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Pod, pod("web-1", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn second_init_container_counts_from_its_own_start() {
        let names = json!([{"name": "a"}, {"name": "b"}]);
        let done = terminated("Completed", 0, 0, 100);
        let statuses = json!([init("a", done), init("b", running(100))]);
        run(
            &RULE,
            vec![
                Wait(100),
                apply(Kind::Pod, initializing(names, statuses)),
                Wait(1790),
                NoChange,
                Wait(20),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn sidecar_that_never_starts_opens_then_closes_when_started() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, sidecar(json!(false))),
                Wait(1810),
                Opens(Warning),
                apply(Kind::Pod, sidecar(json!(true))),
                Closes,
            ],
        );
    }

    #[test]
    fn sidecar_without_a_known_start_opens() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, sidecar(json!(null))),
                Wait(1810),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn init_container_behind_a_started_sidecar_opens() {
        let spec = json!([{"name": "proxy", "restartPolicy": "Always"}, {"name": "wait"}]);
        let statuses = json!([init("proxy", running(0)), init("wait", running(5))]);
        run(
            &RULE,
            vec![
                apply(Kind::Pod, initializing(spec, statuses)),
                Wait(1820),
                Opens(Warning),
            ],
        );
    }

    #[test]
    fn init_container_that_is_started_again_does_not_open() {
        let again = |at: i64| {
            let end = terminated("Error", 1, at - 900, at);
            let mut status = init("wait", running(at));
            status["lastState"] = end;
            initializing(json!([{"name": "wait"}]), json!([status]))
        };
        run(
            &RULE,
            vec![
                Wait(900),
                apply(Kind::Pod, again(900)),
                Wait(900),
                apply(Kind::Pod, again(1800)),
                Wait(900),
                apply(Kind::Pod, again(2700)),
                NoChange,
            ],
        );
    }

    #[test]
    fn waiting_init_container_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, waits(waiting("PodInitializing"))),
                Wait(3700),
                NoChange,
            ],
        );
    }

    #[test]
    fn lost_status_of_an_init_container_of_a_running_pod_does_not_open() {
        let odd = json!({"spec": {"initContainers": [{"name": "wait"}]},
            "status": {"initContainerStatuses": [init("wait", running(0))]}});
        run(
            &RULE,
            vec![apply(Kind::Pod, pod("web-1", odd)), Wait(3700), NoChange],
        );
    }
}
