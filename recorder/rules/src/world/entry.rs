//! What is known of one object: the object, and what only watching it tells.

use std::collections::BTreeMap;

use kube9_ingest::objects::{Node, Pod};
use kube9_model::time::Timestamp;

use super::container_history::ContainerHistory;
use crate::subject::ObjectKey;

/// A pod, and what only watching it tells.
#[derive(Debug)]
pub struct PodEntry {
    /// The pod.
    pub pod: Pod,
    /// By container, where there is something to tell.
    pub histories: BTreeMap<Box<str>, ContainerHistory>,
    /// Its controller, shared with its other pods; itself where it has none.
    pub owner: ObjectKey,
}

/// A node, and what only watching it tells.
#[derive(Debug)]
pub struct NodeEntry {
    /// The node.
    pub node: Node,
    /// When it became ready or stopped being so; the latest few.
    pub flaps: Vec<Timestamp>,
}
