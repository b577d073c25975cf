//! Several images fail on one node and nowhere else: it is the node.

use std::collections::BTreeSet;

use kube9_shared::model::{EventType, Severity};

use super::{Check, Context, Rule, Signs, members};
use crate::analysis::failure::unpulled;
use crate::analysis::world::NodeEntry;
use crate::metrics::Kind;

pub(super) const RULE: Rule = Rule {
    id: "I6",
    event_type: EventType::Insight,
    name: "node cannot pull images",
    doc: "\
Opens when two images or more cannot be pulled on a node for `image_pull` and fail on no other node, in a cluster of several nodes; severity error.
Then the node's network, DNS, disk or container runtime is at fault.
Closes when at most one image fails there, or the node is removed.
Next: pull an image on the node by hand (`crictl pull`).",
    reads: &[Kind::Node, Kind::Pod],
    check: Check::Node(check),
};

fn check(context: &Context<'_>, entry: &NodeEntry, signs: &mut Signs) {
    if context.world.nodes.len() < 2 {
        return; // every image fails "on one node" there
    }
    let name = &*entry.node.meta.name;
    let elsewhere = |image: &str| {
        context
            .world
            .pods_without(image)
            .any(|other| other.pod.node.as_deref().is_some_and(|node| node != name))
    };
    let failing: Vec<_> = context
        .world
        .pods_on(name)
        .filter(|e| unpulled(&e.pod).next().is_some())
        .collect();
    let images: BTreeSet<&str> = failing.iter().flat_map(|e| unpulled(&e.pod)).collect();
    let images: Vec<&str> = images
        .into_iter()
        .filter(|image| !elsewhere(image))
        .collect();
    if images.len() < 2 {
        return;
    }
    let description = format!(
        "{} images fail on node {name} and on no other node: {}. Its network, DNS, disk or container runtime is at fault.",
        images.len(),
        images
            .iter()
            .take(5)
            .copied()
            .collect::<Vec<_>>()
            .join(", ")
    );
    let title = format!("Node {name} cannot pull images");
    // Not since the first pull failed: that images fail nowhere else may be so for a moment, while a registry is down.
    let sign = signs.add(Severity::Error, context.now, title, description);
    sign.hold(context.thresholds.image_pull)
        .with("images", images.len());
    sign.with("members", members(failing.iter().copied()));
    sign.node = Some(name.to_owned());
}
