//! A container cannot be created or started.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{pod_name, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_config_error};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ContainerCannotStart",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A container cannot be created or started",
        severity: "error",
        opens: "a container waits with `CreateContainerConfigError`, `CreateContainerError`, `RunContainerError`, `InvalidImageName` or the error of a hook",
        opens_after: "",
        closes: "the container leaves that waiting state, or the pod is deleted",
        action: "Read the message: it names the missing ConfigMap, Secret or key, or the error of the container runtime.",
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
    for state in accountable_containers(pod).filter(|state| is_config_error(state)) {
        let (name, pod_name, reason) = (&state.name, pod_name(entry), &state.waiting);
        let since = entry
            .histories
            .get(name)
            .and_then(|history| history.failing)
            .unwrap_or(context.now);
        let description = format!(
            "Container {name} of pod {pod_name} cannot start: {}. \
             Correct the manifest, or the ConfigMap, Secret or image that it refers to.",
            reason_and_message(reason, &state.waiting_message)
        );
        let title = format!("Container {name} of pod {pod_name} cannot start: {reason}");
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .container(name)
            .of_pod(entry)
            .with("waiting", &**reason);
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    fn one(state: Value, last: Value) -> Value {
        pod_with("web-1", 1, state, last)
    }

    #[test]
    fn captured_config_map_missing_opens_then_closes_when_created() {
        run(
            &RULE,
            vec![
                Captured("config-error", "bad"),
                Opens(Error),
                Captured("config-error", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn creating_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("ContainerCreating"), json!({}))),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_wait_for_a_volume_does_not_open() {
        run(&RULE, vec![Captured("creating", "bad"), NoChange]);
    }
}
