//! Nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::bounds::{CONDITIONS_MAX, ELEMENTS_MAX, Few, Fit, Room};
use super::lenient::lenient;
use super::meta::{Condition, Meta};
use super::quantity::thousandths;

/// A Node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Metadata.
    pub meta: Meta,
    /// It takes no new pods.
    pub cordoned: bool,
    /// `key=value:Effect` each.
    pub taints: Vec<Box<str>>,
    /// Ready, MemoryPressure, …
    pub conditions: Vec<Condition>,
    /// Version of its kubelet.
    pub kubelet: Box<str>,
    /// CPU for pods, in thousandths.
    pub cpu: Option<i64>,
    /// Memory for pods, in thousandths of a byte.
    pub memory: Option<i64>,
}

impl Node {
    /// Whether all that is kept of it is as it was: a kubelet writes its node's status every few minutes, with nothing
    /// in it but the time.
    pub fn shows_the_same(&self, before: &Self) -> bool {
        self.conditions == before.conditions
            && (self.cordoned, &self.taints) == (before.cordoned, &before.taints)
            && (&self.kubelet, self.cpu, self.memory)
                == (&before.kubelet, before.cpu, before.memory)
            && self.meta.shows_the_same(&before.meta)
    }

    /// Whether it is ready and takes pods that tolerate nothing.
    pub fn is_schedulable(&self) -> bool {
        let ready = Condition::of(&self.conditions, "Ready");
        !self.cordoned && self.taints.is_empty() && ready.is_some_and(Condition::is_true)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "lenient")]
    spec: WireSpec,
    #[serde(deserialize_with = "lenient")]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSpec {
    #[serde(deserialize_with = "lenient")]
    unschedulable: bool,
    #[serde(deserialize_with = "lenient")]
    taints: Few<WireTaint, ELEMENTS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTaint {
    key: String,
    #[serde(deserialize_with = "lenient")]
    value: String,
    #[serde(deserialize_with = "lenient")]
    effect: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    #[serde(deserialize_with = "lenient")]
    conditions: Few<Condition, CONDITIONS_MAX>,
    #[serde(deserialize_with = "lenient")]
    node_info: WireInfo,
    #[serde(deserialize_with = "lenient")]
    allocatable: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireInfo {
    #[serde(deserialize_with = "lenient")]
    kubelet_version: Box<str>,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let mut taints: Vec<Box<str>> = wire
            .spec
            .taints
            .kept
            .into_iter()
            .map(|taint| match taint.value.as_str() {
                "" => format!("{}:{}", taint.key, taint.effect).into(),
                value => format!("{}={value}:{}", taint.key, taint.effect).into(),
            })
            .collect();
        taints.sort();
        let allocatable = |name: &str| {
            wire.status
                .allocatable
                .get(name)
                .and_then(|q| thousandths(q))
        };
        let mut node = Self {
            meta: wire.metadata,
            cordoned: wire.spec.unschedulable,
            taints,
            cpu: allocatable("cpu"),
            memory: allocatable("memory"),
            conditions: wire.status.conditions.kept,
            kubelet: wire.status.node_info.kubelet_version,
        };
        // No rule reads a node's labels.
        node.meta.labels.clear();
        node.meta.fit = Fit::Whole;
        let mut room = Room::new();
        node.meta.bound(&mut room);
        room.text(&mut node.kubelet);
        room.list(&mut node.conditions, Condition::bound);
        room.list(&mut node.taints, Room::text);
        node.meta.bounded(&room);
        Ok(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_shows_nothing_new() {
        let node = |version: &str, beat: &str, unschedulable: bool| -> Node {
            let json = format!(
                r#"{{"metadata":{{"name":"w1","uid":"u","resourceVersion":"{version}"}},
                    "spec":{{"unschedulable":{unschedulable}}},
                    "status":{{"conditions":[{{"type":"Ready","status":"True","lastHeartbeatTime":"{beat}",
                    "lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#
            );
            serde_json::from_str(&json).unwrap()
        };
        let before = node("1", "2026-01-01T00:00:00Z", false);
        assert!(node("2", "2026-01-01T00:05:00Z", false).shows_the_same(&before));
        assert!(!node("2", "2026-01-01T00:05:00Z", true).shows_the_same(&before));
    }
}
