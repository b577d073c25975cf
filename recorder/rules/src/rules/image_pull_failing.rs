//! An image cannot be pulled.

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::{place, said};
use super::rule::{Check, Context, Rule, RuleDoc};
use super::symptoms::Signs;
use crate::failure_mode::pull_fails;
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

fn check(context: &Context<'_>, entry: &PodEntry, signs: &mut Signs) {
    let pod = &entry.pod;
    if pod.meta.deleting.is_some() {
        return;
    }
    for state in pod.containers.iter().filter(|state| pull_fails(state)) {
        let (name, place) = (&state.name, place(entry));
        let image = pod
            .spec
            .named(name)
            .map_or("its image", |container| &container.image);
        let since = entry
            .traces
            .get(name)
            .and_then(|trace| trace.pull_failing)
            .unwrap_or(context.now);
        let description = format!(
            "Container {name} of pod {place} waits for image {image}: {}. \
             Check the image's name and tag, the registry, and the pod's imagePullSecrets.",
            said(&state.waiting, &state.waiting_message)
        );
        let title = format!("Image {image} cannot be pulled for pod {place}");
        let sign = signs.add(Severity::Error, since, title, description);
        sign.container(name)
            .of_pod(entry)
            .hold(context.thresholds.image_pull);
        sign.with("image", image).with("waiting", &*state.waiting);
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
                Seen("image-pull", "bad"),
                Wait(61),
                Opens(Error),
                Seen("image-pull", "repaired"),
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
                Quiet,
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
                Quiet,
            ],
        );
    }
}
