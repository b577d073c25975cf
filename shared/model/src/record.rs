//! A row as its producer wrote it: the type that flows from every source to the store.

use crate::time::Timestamp;
use crate::{EventType, ObjectRef, Severity};
use serde_json::{Map, Value};

use crate::identity::{ResourceVersion, Uid};

/// Metadata key with the implausible times of an Event; the row has the receive time instead.
pub const TIME_SUSPECT: &str = "time_suspect";

/// A row before sanitizing: only [`kube9_ingest::sanitize::Sanitized`] enters the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Type of the row.
    pub event_type: EventType,
    /// Severity of the row.
    pub severity: Severity,
    /// One line, e.g. `Container crash loop`.
    pub title: String,
    /// The Event's message, or the finding's explanation.
    pub description: String,
    /// The involved object.
    pub object: Option<ObjectRef>,
    /// The API group of the object's kind; empty for the kinds of Kubernetes itself. A Knative Service and a core Service of
    /// one name are two objects.
    pub api_group: String,
    /// The controller of `object`, where known.
    pub owner: Option<ObjectRef>,
    /// The Event's reason; may be empty.
    pub reason: String,
    /// Reporting component, e.g. `kubelet`; empty where unknown.
    pub component: String,
    /// Container within the object; empty for the whole object.
    pub container: String,
    /// The Event's own type, `Normal` or `Warning`; empty for rows that are not of Events.
    pub kube_type: String,
    /// Node it happened on, where known.
    pub node: Option<String>,
    /// Further metadata; its keys follow the fixed ones.
    pub extra: Map<String, Value>,
    /// Times and count.
    pub occurred: Occurred,
}

impl Record {
    /// The component of rows that kube9 makes itself.
    pub const OWN_COMPONENT: &str = "kube9";

    /// The integer that the database stores as the type of the row with this metadata.
    pub fn type_code(&self, metadata: &Map<String, Value>) -> i64 {
        let is_own = self.event_type == EventType::Cluster && self.component == Self::OWN_COMPONENT;
        if is_own && metadata.contains_key("op") {
            crate::CHANGE_CODE
        } else {
            self.event_type.code()
        }
    }

    /// An internal row at one time; the caller sets severity, title and object.
    pub fn internal(at: Timestamp) -> Self {
        Self {
            event_type: EventType::System,
            severity: Severity::Info,
            title: String::new(),
            description: String::new(),
            object: None,
            api_group: String::new(),
            owner: None,
            reason: String::new(),
            component: Self::OWN_COMPONENT.to_owned(),
            container: String::new(),
            kube_type: String::new(),
            node: None,
            extra: Map::new(),
            occurred: Occurred::At(at),
        }
    }
}

/// When it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occurred {
    /// A version of a Kubernetes Event; the store folds it into earlier ones.
    Observed(Observation),
    /// An internal row at one time.
    At(Timestamp),
}

/// A Kubernetes Event at one resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.uid` of the Event.
    pub uid: Uid,
    /// `metadata.resourceVersion` of the Event.
    pub version: ResourceVersion,
    /// Occurrences of the Event; at least 1.
    pub count: i64,
    /// First occurrence.
    pub first: Timestamp,
    /// Last occurrence; never before `first`.
    pub last: Timestamp,
}
