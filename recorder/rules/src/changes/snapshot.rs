//! The part of an object that is stored, to compare with its next state.

use std::collections::BTreeMap;

use kube9_ingest::objects::{ConfigMap, Node, Object, Pod, Service};
use kube9_ingest::sanitize::{NAME_BYTES_MAX, clean_text};
use kube9_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::controller::controller;

/// A change that can break pods, as `FailureAfterChange` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// Milliseconds since 1970.
    pub at: i64,
    pub what: String,
}

impl LastChange {
    pub const fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }
}

/// The snapshot of an object. Its texts are sanitized, so that they equal those of an unchanged next state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSnapshot {
    /// An object with another uid is another object.
    pub uid: String,
    /// The last change of it that can break pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<LastChange>,
    #[serde(flatten)]
    pub of: KindSnapshot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum KindSnapshot {
    Node {
        cordoned: bool,
        /// `key=value:Effect`.
        taints: Vec<String>,
        /// Version of the kubelet.
        version: String,
    },
    Pod {
        node: String,
        /// `Kind/name` of its controller.
        owner: String,
        /// Sum over its containers.
        restarts: i64,
        /// Its end has been recorded.
        ended: bool,
    },
    Deployment {
        /// Image by container.
        images: BTreeMap<String, String>,
        replicas: i64,
        paused: bool,
        /// A rollout is in progress.
        rolling: bool,
    },
    Service {
        /// E.g. `ClusterIP`.
        #[serde(rename = "type")]
        kind: String,
        /// `key=value`.
        selector: Vec<String>,
        /// `name port→target/protocol`.
        ports: Vec<String>,
    },
    ConfigMap {
        /// Length of each key's value.
        keys: BTreeMap<String, u32>,
        /// A lock of a leader election, or another ConfigMap whose changes are not recorded.
        quiet: bool,
    },
    /// The object existed; its details were trimmed for lack of space (`trim` in kube9-store).
    Unknown,
}

/// ConfigMaps that the cluster itself rewrites.
fn is_quiet(map: &ConfigMap) -> bool {
    map.meta.is_heartbeat
        || matches!(
            &*map.meta.name,
            "kube-root-ca.crt" | "kube9-operator-status"
        )
}

impl ObjectSnapshot {
    /// Whether this is a snapshot of this object, not of a former one with its name.
    pub fn are_of(&self, object: &Object) -> bool {
        self.uid == clean(&object.meta().uid)
    }

    /// The snapshot of an object; it inherits what only `before` knows.
    pub fn of(object: &Object, before: Option<&Self>) -> Self {
        let of = match object {
            Object::Node(node) => node_snapshot(node),
            Object::Pod(pod) => {
                let recorded =
                    before.is_some_and(|b| matches!(b.of, KindSnapshot::Pod { ended: true, .. }));
                pod_snapshot(pod, recorded || pod.phase.is_final())
            }
            Object::Deployment(one) => KindSnapshot::Deployment {
                images: one
                    .images
                    .iter()
                    .map(|(container, image)| (clean(container), clean(image)))
                    .collect(),
                replicas: one.replicas,
                paused: one.paused,
                rolling: one.is_rolling(),
            },
            Object::Service(service) => service_snapshot(service),
            Object::ConfigMap(map) => KindSnapshot::ConfigMap {
                keys: map
                    .keys
                    .iter()
                    .map(|(key, facts)| (clean(key), facts.bytes))
                    .collect(),
                quiet: is_quiet(map),
            },
        };
        Self {
            uid: clean(&object.meta().uid),
            changed: before.and_then(|before| before.changed.clone()),
            of,
        }
    }
}

/// Longest text in a snapshot: a selector's key and value together have the length of two names, images hardly more.
const FACT_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// Sanitizes a text: images, taints and selectors may contain secrets. A change within a secret alone is not a change.
fn clean(text: &str) -> String {
    clean_text(text, FACT_BYTES_MAX)
}

fn node_snapshot(node: &Node) -> KindSnapshot {
    // The node controller adds and removes these with the conditions, which have findings of their own; the
    // cluster-autoscaler marks a node that it may remove later, and takes the mark back at the next load.
    let own = |taint: &str| {
        !taint.starts_with("node.kubernetes.io/")
            && !taint.starts_with("DeletionCandidateOfClusterAutoscaler")
    };
    KindSnapshot::Node {
        cordoned: node.cordoned,
        taints: node
            .taints
            .iter()
            .filter(|taint| own(taint))
            .map(|taint| clean(taint))
            .collect(),
        version: clean(&node.kubelet),
    }
}

fn pod_snapshot(pod: &Pod, ended: bool) -> KindSnapshot {
    KindSnapshot::Pod {
        node: clean(pod.node.as_deref().unwrap_or_default()),
        owner: controller(&pod.meta)
            .map(|o| clean(&format!("{}/{}", o.kind, o.name)))
            .unwrap_or_default(),
        restarts: pod.containers.iter().map(|state| state.restarts).sum(),
        ended,
    }
}

fn service_snapshot(service: &Service) -> KindSnapshot {
    let port = |p: &kube9_ingest::objects::ServicePort| {
        let text = format!("{} {}→{}/{}", p.name, p.port, p.target, p.protocol);
        clean(text.trim())
    };
    KindSnapshot::Service {
        kind: clean(&service.kind),
        selector: service
            .selector
            .iter()
            .map(|(k, v)| clean(&format!("{k}={v}")))
            .collect(),
        ports: service.ports.iter().map(port).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `trim` in kube9-store leaves them.
    #[test]
    fn trimmed_snapshot_keeps_the_uid() {
        let facts: ObjectSnapshot =
            serde_json::from_str(r#"{"uid":"u","kind":"Unknown"}"#).unwrap();
        assert_eq!((facts.uid.as_str(), facts.of), ("u", KindSnapshot::Unknown));
    }
}
