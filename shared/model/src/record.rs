//! A row as its producer wrote it: the one type that flows from every source to the store.

use crate::time::Timestamp;
use crate::{EventType, ObjectRef, Severity};
use serde_json::{Map, Value};

use crate::identity::{Uid, Version};

/// Key in a row's metadata that keeps the times of an Event which cannot be true; the row has the receive time instead.
pub const TIME_SUSPECT: &str = "time_suspect";

/// A row on its way to the store. Not yet safe to store: only [`kube9_ingest::sanitize::Sanitized`] enters the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it comes from.
    pub event_type: EventType,
    /// How bad it is.
    pub severity: Severity,
    /// One line for people, e.g. `Container crash loop`.
    pub title: String,
    /// The Event's message, or the finding's explanation.
    pub description: String,
    /// What it is about.
    pub object: Option<ObjectRef>,
    /// The controller of `object`, where known.
    pub owner: Option<ObjectRef>,
    /// The Event's reason; empty where there is none.
    pub reason: String,
    /// Reporting component, e.g. `kubelet`; empty where unknown.
    pub component: String,
    /// Container within the object; empty where it is about the whole object.
    pub container: String,
    /// The Event's own type, `Normal` or `Warning`; empty for rows that are no Event.
    pub kube_type: String,
    /// Node it happened on, where known.
    pub node: Option<String>,
    /// Further metadata; its keys follow the fixed ones.
    pub extra: Map<String, Value>,
    /// When, and how often.
    pub occurred: Occurred,
}

impl Record {
    /// A row of kube9's own, at one moment: who, what and how bad is for the caller to fill in.
    pub fn own(at: Timestamp) -> Self {
        Self {
            event_type: EventType::System,
            severity: Severity::Info,
            title: String::new(),
            description: String::new(),
            object: None,
            owner: None,
            reason: String::new(),
            component: "kube9".to_owned(),
            container: String::new(),
            kube_type: String::new(),
            node: None,
            extra: Map::new(),
            occurred: Occurred::At(at),
        }
    }
}

/// When a row's facts happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Occurred {
    /// One sight of a Kubernetes Event; the store folds it with the sights before.
    Observed(Observation),
    /// A fact of kube9's own, at one moment.
    At(Timestamp),
}

/// One sight of a Kubernetes Event object at one resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// `metadata.uid` of the Event.
    pub uid: Uid,
    /// `metadata.resourceVersion` of the Event.
    pub version: Version,
    /// How many occurrences the Event object stands for; at least 1.
    pub count: i64,
    /// First occurrence.
    pub first: Timestamp,
    /// Last occurrence; never before `first`.
    pub last: Timestamp,
}
