//! A node cannot pull images.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::pod_names;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::failure_mode::images_failing_pull;
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeCannotPullImages",
    event_type: EventType::Insight,
    doc: RuleDoc {
        summary: "A node cannot pull images",
        severity: "error",
        opens: "two images or more cannot be pulled on a node and fail on no other node, in a cluster with several nodes",
        opens_after: "`image_pull`",
        closes: "at most one image fails on the node, or the node is removed",
        action: "Pull an image on the node by hand (`crictl pull`). Check the node's network, DNS, disk and container runtime.",
        notes: "",
    },
    reads: &[Kind::Node, Kind::Pod],
    check: Check::Node(check),
};

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    if context.world.nodes.len() < 2 {
        return; // every image fails "on one node" there
    }
    let name = &*entry.node.meta.name;
    let elsewhere = |image: &str| {
        context
            .world
            .pods_failing_to_pull(image)
            .any(|other| other.pod.node.as_deref().is_some_and(|node| node != name))
    };
    let failing: Vec<_> = context.world.pods_failing_to_pull_on(name).collect();
    let images: BTreeSet<Arc<str>> = failing
        .iter()
        .flat_map(|e| images_failing_pull(&e.pod))
        .collect();
    let images: Vec<Arc<str>> = images
        .into_iter()
        .filter(|image| !elsewhere(image))
        .collect();
    if images.len() < 2 {
        return;
    }
    let description = format!(
        "{} images fail on node {name} and on no other node: {}. Its network, DNS, disk or container runtime is at fault. \
         Pull one of them on the node by hand (`crictl pull`).",
        images.len(),
        images
            .iter()
            .take(5)
            .map(|image| &**image)
            .collect::<Vec<_>>()
            .join(", ")
    );
    let title = format!("Node {name} cannot pull images");
    // Not since the first pull failed: that images fail nowhere else may be so for a moment, while a registry is down.
    let symptom = output.add(Severity::Error, context.now, title, description);
    symptom
        .for_at_least(context.thresholds.image_pull)
        .with("images", images.len());
    symptom.with("members", pod_names(failing.iter().copied()));
    symptom.node = Some(name.to_owned());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::case::Step;
    use crate::tests::prelude::*;

    fn elsewhere() -> Value {
        pulling("a-2", "w2", "i:a")
    }

    fn registry() -> Step {
        Apply(vec![
            (Kind::Pod, pulling("a-1", "w1", "i:a")),
            (Kind::Pod, pulling("b-1", "w1", "i:b")),
            (Kind::Pod, elsewhere()),
        ])
    }

    #[test]
    fn captured_two_images_on_one_node_open_then_close_when_one_fails_elsewhere() {
        run(
            &RULE,
            vec![
                Captured("registry", "one-node"),
                Wait(61),
                Opens(Error),
                Captured("registry", "two-nodes"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_one_image_does_not_open() {
        run(
            &RULE,
            vec![Captured("image-pull", "bad"), Wait(100), NoChange],
        );
    }

    #[test]
    fn two_images_on_one_node_open_then_close_when_one_is_pulled() {
        run(
            &RULE,
            vec![
                two_nodes(),
                two_images_on_one_node(),
                Wait(61),
                Opens(Error),
                apply(Kind::Pod, pod("web-2", json!({}))),
                Closes,
            ],
        );
    }

    #[test]
    fn image_on_two_nodes_does_not_open() {
        run(
            &RULE,
            vec![two_nodes(), one_image_on_two_nodes(), Wait(100), NoChange],
        );
    }

    #[test]
    fn pod_replaced_elsewhere_while_the_registry_is_down_does_not_open() {
        run(
            &RULE,
            vec![
                two_nodes(),
                registry(),
                Wait(300),
                Delete(Kind::Pod, elsewhere()),
                Wait(20),
                apply(Kind::Pod, elsewhere()),
                Wait(100),
                NoChange,
            ],
        );
    }

    #[test]
    fn images_that_fail_nowhere_else_open_after_the_delay() {
        run(
            &RULE,
            vec![
                two_nodes(),
                registry(),
                Wait(300),
                Delete(Kind::Pod, elsewhere()),
                Wait(65),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn cluster_of_one_node_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node("w1", json!({}))),
                two_images_on_one_node(),
                Wait(100),
                NoChange,
            ],
        );
    }
}
