//! An image cannot be pulled on several nodes.

use std::collections::BTreeSet;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::pod_names;
use super::rule::{Check, Group, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;

pub(super) const RULE: Rule = Rule {
    name: "ImageFailsOnSeveralNodes",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "An image cannot be pulled on several nodes",
        severity: "error",
        opens: "an image cannot be pulled on two nodes or more",
        opens_after: "`image_pull`",
        closes: "at most one node waits for the image",
        action: "Pull the image by hand with the pods' credentials. Check the status of the registry.",
        notes: "The image's name, its registry or the credentials are at fault, not a node.",
    },
    reads: &[Kind::Pod],
    check: Check::Image(check),
};

fn check(context: &RuleContext<'_>, group: &Group<'_>, output: &mut RuleOutput) {
    let nodes: BTreeSet<&str> = group
        .pods
        .iter()
        .filter_map(|entry| entry.pod.node.as_deref())
        .collect();
    if nodes.len() < 2 {
        return;
    }
    let image = group.name;
    let histories = group.pods.iter().flat_map(|entry| entry.histories.values());
    let since = histories
        .filter_map(|history| history.pull_failing)
        .min()
        .unwrap_or(context.now);
    let description = format!(
        "{} pods on {} nodes wait for image {image}. The image's name, its registry or the credentials are at \
         fault, not a node. Pull it by hand with the pods' credentials, and check the status of the registry.",
        group.pods.len(),
        nodes.len()
    );
    let title = format!("Image {image} cannot be pulled on {} nodes", nodes.len());
    let symptom = output.add(Severity::Error, since, title, description);
    symptom
        .for_at_least(context.thresholds.image_pull)
        .with("image", image)
        .with("nodes", nodes.len());
    symptom.with("members", pod_names(group.pods.iter().copied()));
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn captured_image_on_two_nodes_opens_then_closes_when_repaired() {
        run(
            &RULE,
            vec![
                Captured("registry", "one-node"),
                Wait(100),
                NoChange,
                Captured("registry", "two-nodes"),
                Wait(61),
                Opens(Error),
                Captured("registry", "repaired"),
                Closes,
            ],
        );
    }

    #[test]
    fn image_on_two_nodes_opens_then_closes_with_one_node_left() {
        run(
            &RULE,
            vec![
                two_nodes(),
                one_image_on_two_nodes(),
                Wait(61),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({"spec": {"nodeName": "w2"}}))),
                Closes,
            ],
        );
    }

    #[test]
    fn two_images_on_one_node_do_not_open() {
        run(
            &RULE,
            vec![two_nodes(), two_images_on_one_node(), Wait(100), NoChange],
        );
    }

    #[test]
    fn captured_image_on_one_node_does_not_open() {
        run(
            &RULE,
            vec![Captured("image-pull", "bad"), Wait(100), NoChange],
        );
    }
}
