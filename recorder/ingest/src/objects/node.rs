//! Nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::bounds::{Budget, CONDITIONS_MAX, ELEMENTS_MAX, Few, Fit};
use super::meta::{Condition, Meta};
use super::quantity::Quantity;
use crate::decode::null_as_default;

/// A Node.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Metadata.
    pub meta: Meta,
    /// `spec.unschedulable`.
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
    /// Whether nothing that is kept has changed: a kubelet updates its node's status every few minutes, often only the
    /// time.
    pub fn eq_ignoring_resource_version(&self, before: &Self) -> bool {
        self.conditions == before.conditions
            && (self.cordoned, &self.taints) == (before.cordoned, &before.taints)
            && (&self.kubelet, self.cpu, self.memory)
                == (&before.kubelet, before.cpu, before.memory)
            && self.meta.eq_ignoring_resource_version(&before.meta)
    }

    /// Whether it is ready and takes pods without tolerations.
    pub fn is_schedulable(&self) -> bool {
        let ready = Condition::of(&self.conditions, "Ready");
        let mut taints = self.taints.iter();
        !self.cordoned
            && taints.all(|taint| taint.ends_with(":PreferNoSchedule"))
            && ready.is_some_and(Condition::is_true)
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    spec: WireSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSpec {
    #[serde(deserialize_with = "null_as_default")]
    unschedulable: bool,
    #[serde(deserialize_with = "null_as_default")]
    taints: Few<WireTaint, ELEMENTS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTaint {
    key: String,
    #[serde(deserialize_with = "null_as_default")]
    value: String,
    #[serde(deserialize_with = "null_as_default")]
    effect: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    #[serde(deserialize_with = "null_as_default")]
    conditions: Few<Condition, CONDITIONS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    node_info: WireInfo,
    #[serde(deserialize_with = "null_as_default")]
    allocatable: BTreeMap<String, Quantity>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireInfo {
    #[serde(deserialize_with = "null_as_default")]
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
                .and_then(Quantity::thousandths)
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
        let mut budget = Budget::new();
        node.meta.bound(&mut budget);
        budget.text(&mut node.kubelet);
        budget.list(&mut node.conditions, Condition::bound);
        budget.list(&mut node.taints, Budget::text);
        node.meta.bounded(&budget);
        Ok(node)
    }
}

/// Words in the keys of taints that autoscalers, termination handlers and cloud controllers set before they remove a
/// node: `ToBeDeletedByClusterAutoscaler`, `karpenter.sh/disrupted`, `karpenter.sh/disruption=disrupting`,
/// `aws-node-termination-handler/spot-itn`, `cloud.google.com/impending-node-termination`, `kubevirt.io/drain`,
/// `node.cloudprovider.kubernetes.io/shutdown`, `node.kubernetes.io/out-of-service`.
const REMOVAL: [&str; 9] = [
    "delet",
    "terminat",
    "disrupt",
    "shutdown",
    "out-of-service",
    "drain",
    "spot-itn",
    "maintenance",
    "decommission",
];

/// `taint` is `key=value:Effect`. One with the effect `PreferNoSchedule` is a preference: the node still serves its pods.
pub fn announces_removal(taint: &str) -> bool {
    let (key, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
    let key = key.split('=').next().unwrap_or_default();
    if effect == "PreferNoSchedule" {
        return false;
    }
    let key = key.to_ascii_lowercase();
    REMOVAL.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_heartbeat_changes_nothing() {
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
        assert!(node("2", "2026-01-01T00:05:00Z", false).eq_ignoring_resource_version(&before));
        assert!(!node("2", "2026-01-01T00:05:00Z", true).eq_ignoring_resource_version(&before));
    }
}
