//! An object together with the history that its current state does not show.

use std::collections::BTreeMap;

use kube9_ingest::objects::{Node, Pod};
use kube9_model::time::Timestamp;

use super::container_history::ContainerHistory;
use crate::subject::ObjectKey;

#[derive(Debug)]
pub struct PodEntry {
    pub pod: Pod,
    /// By container, if there is anything to remember.
    pub histories: BTreeMap<Box<str>, ContainerHistory>,
    /// Its controller; the pod itself if it has none.
    pub owner: ObjectKey,
}

#[derive(Debug)]
pub struct NodeEntry {
    pub node: Node,
    /// The latest times at which its readiness changed.
    pub flaps: Vec<Timestamp>,
    /// Its kubelet reported that the machine shuts down, and has not been ready since.
    pub shuts_down: bool,
}
