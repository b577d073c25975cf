//! An image cannot be pulled.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{pod_name, reason_and_message};
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::{accountable_containers, is_image_pull_error};
use crate::world::PodEntry;

pub(super) const RULE: Rule = Rule {
    name: "ImagePullFailing",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "An image cannot be pulled",
        severity: "error",
        opens: "a container waits with `ErrImagePull`, `ImagePullBackOff` or a similar reason",
        opens_after: "`image_pull`",
        closes: "the image is pulled, or the pod is deleted",
        action: "Read the message: the image does not exist, the registry denies access, or the registry does not answer. If `ImageFailsOnSeveralNodes` is open, suspect the registry; if `NodeCannotPullImages` is, the node.",
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
    for state in accountable_containers(pod).filter(|state| is_image_pull_error(state)) {
        let (name, pod_name) = (&state.name, pod_name(entry));
        let image = pod
            .spec
            .named(name)
            .map_or("its image", |container| &container.image);
        let since = entry
            .histories
            .get(name)
            .and_then(|history| history.pull_failing)
            .unwrap_or(context.now);
        let description = format!(
            "Container {name} of pod {pod_name} waits for image {image}: {}. \
             Check the image's name and tag, the registry, and the pod's imagePullSecrets.",
            reason_and_message(&state.waiting, &state.waiting_message)
        );
        let title = format!("Image {image} cannot be pulled for pod {pod_name}");
        let symptom = output.add(Severity::Error, since, title, description);
        symptom
            .container(name)
            .of_pod(entry)
            .for_at_least(context.thresholds.image_pull);
        symptom
            .with("image", image)
            .with("waiting", &*state.waiting);
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
    fn captured_missing_image_opens_then_closes_when_corrected() {
        run(
            &RULE,
            vec![
                Captured("image-pull", "bad"),
                Wait(61),
                Opens(Error),
                Captured("image-pull", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn alternating_reasons_open_after_the_delay_then_close() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("ErrImagePull"), json!({}))),
                Wait(30),
                apply(Kind::Pod, one(waiting("ImagePullBackOff"), json!({}))),
                Wait(29),
                NoChange,
                Wait(2),
                Opens(Error),
                apply(Kind::Pod, one(running(70), json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn pull_that_succeeds_in_time_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Pod, one(waiting("ErrImagePull"), json!({}))),
                Wait(50),
                apply(Kind::Pod, one(running(50), json!({}))),
                Wait(60),
                NoChange,
            ],
        );
    }
}
