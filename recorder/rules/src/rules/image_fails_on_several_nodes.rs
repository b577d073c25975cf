//! An image fails on several nodes: it is not the nodes.

use std::collections::BTreeSet;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::members;
use super::rule::{Check, Context, Group, Rule, RuleDoc};
use super::symptoms::Signs;

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

fn check(context: &Context<'_>, group: &Group<'_>, signs: &mut Signs) {
    let nodes: BTreeSet<&str> = group
        .pods
        .iter()
        .filter_map(|entry| entry.pod.node.as_deref())
        .collect();
    if nodes.len() < 2 {
        return;
    }
    let image = group.name;
    let traces = group.pods.iter().flat_map(|entry| entry.traces.values());
    let since = traces
        .filter_map(|trace| trace.pull_failing)
        .min()
        .unwrap_or(context.now);
    let description = format!(
        "{} pods on {} nodes wait for image {image}. The image's name, its registry or the credentials are at \
         fault, not a node. Pull it by hand with the pods' credentials, and check the status of the registry.",
        group.pods.len(),
        nodes.len()
    );
    let title = format!("Image {image} cannot be pulled on {} nodes", nodes.len());
    let sign = signs.add(Severity::Error, since, title, description);
    sign.hold(context.thresholds.image_pull)
        .with("image", image)
        .with("nodes", nodes.len());
    sign.with("members", members(group.pods.iter().copied()));
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
                Seen("registry", "one-node"),
                Wait(100),
                Quiet,
                Seen("registry", "two-nodes"),
                Wait(61),
                Opens(Error),
                Seen("registry", "repaired"),
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
            vec![two_nodes(), two_images_on_one_node(), Wait(100), Quiet],
        );
    }

    #[test]
    fn captured_image_on_one_node_does_not_open() {
        run(&RULE, vec![Seen("image-pull", "bad"), Wait(100), Quiet]);
    }
}
