//! The part of an object that is stored, to compare with its next state.

use kube9_ingest::objects::{Object, Pod};
use kube9_ingest::sanitize::{NAME_BYTES_MAX, clean_text};
use serde::{Deserialize, Serialize};

use crate::controller::controller;

/// The snapshot of an object. Its texts are sanitized, so that they equal those of an unchanged next state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSnapshot {
    /// An object with another uid is another object.
    pub uid: String,
    #[serde(flatten)]
    pub of: KindSnapshot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum KindSnapshot {
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
        /// A rollout is in progress.
        rolling: bool,
    },
    /// Of its kind nothing is compared, and nothing is stored.
    Other,
    /// The object existed; its details were trimmed for lack of space (`trim` in kube9-store).
    Unknown,
}

impl KindSnapshot {
    /// Whether the next state is compared with it.
    pub fn is_stored(&self) -> bool {
        !matches!(self, Self::Other)
    }
}

impl ObjectSnapshot {
    /// Whether this is a snapshot of this object, not of a former one with its name.
    pub fn are_of(&self, object: &Object) -> bool {
        self.uid == clean(&object.meta().uid)
    }

    /// The snapshot of an object; it inherits what only `before` knows.
    pub fn of(object: &Object, before: Option<&Self>) -> Self {
        let of = match object {
            Object::Pod(pod) => {
                let recorded =
                    before.is_some_and(|b| matches!(b.of, KindSnapshot::Pod { ended: true, .. }));
                pod_snapshot(pod, recorded || pod.phase.is_final())
            }
            Object::Deployment(one) => KindSnapshot::Deployment {
                rolling: one.is_rolling(),
            },
            Object::Node(_) | Object::Service(_) | Object::ConfigMap(_) => KindSnapshot::Other,
        };
        Self {
            uid: clean(&object.meta().uid),
            of,
        }
    }
}

/// Longest text in a snapshot: the name of a controller with its kind.
const FACT_BYTES_MAX: usize = 4 * NAME_BYTES_MAX;

/// Sanitizes a text.
fn clean(text: &str) -> String {
    clean_text(text, FACT_BYTES_MAX)
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
