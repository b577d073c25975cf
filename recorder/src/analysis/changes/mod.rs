//! What changed: the facts of an object before and after, compared. Pure.
//!
//! ```text
//!   facts before ─┬─ none ──▶ comes_and_goes ─┐
//!   facts after  ─┴─ both ──▶ differs ────────┴─▶ rows
//! ```
//!
//! The facts are what is stored of an object, so that a change while the recorder was away is seen by its first list.

mod comes_and_goes;
mod differs;
mod facts;

use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use serde_json::{Map, Value, json};

pub use facts::{Facts, KindFacts, LastChange};

use super::owners::controller;
use crate::pipeline::record::Record;
use crate::source::objects::{Condition, ConfigMap, Meta, Object, Pod};
use comes_and_goes::{appeared, vanished};
use differs::differs;

/// When a change was seen, if not as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// It happened after this…
    pub from: Timestamp,
    /// …and before this.
    pub to: Timestamp,
}

/// What is compared.
#[derive(Debug)]
pub struct Compared<'a> {
    /// The object as it was; `None`: it was not there.
    pub before: Option<&'a Facts>,
    /// Facts of the object as it is; `None`: it is gone.
    pub after: Option<&'a Facts>,
    /// The object as it is, or was last seen; `None` where it went while nobody watched.
    pub object: Option<&'a Object>,
    /// Keys of a ConfigMap whose values changed while this process watched, whatever their length.
    pub rewritten: Vec<String>,
    /// Who it is.
    pub subject: ObjectRef,
    /// Now.
    pub at: Timestamp,
    /// Not seen as it happened.
    pub late: Option<Late>,
}

/// A row in the making.
struct Row {
    reason: &'static str,
    severity: Severity,
    title: String,
    description: String,
    extra: Vec<(&'static str, Value)>,
}

fn row(reason: &'static str, title: impl Into<String>, description: impl Into<String>) -> Row {
    Row {
        reason,
        severity: Severity::Info,
        title: title.into(),
        description: description.into(),
        extra: Vec::new(),
    }
}

impl Row {
    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((key, value.into()));
        self
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// The rows that a change makes.
pub fn rows(change: &Compared<'_>) -> Vec<Record> {
    let made = match (change.before, change.after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => appeared(change, after),
        (Some(before), None) => vanished(change, before),
        (Some(before), Some(after)) => differs(change, before, after),
    };
    made.into_iter().map(|row| record(change, row)).collect()
}

/// The change among `rows` that can break pods, if there is one.
pub fn breaking(rows: &[Record]) -> Option<String> {
    let row = rows.iter().find(|row| {
        matches!(
            row.reason.as_str(),
            "ImageChanged" | "ConfigMapChanged" | "ConfigMapDeleted"
        )
    })?;
    let name = &row.object.as_ref()?.name;
    Some(match row.reason.as_str() {
        "ConfigMapChanged" => format!("ConfigMap {name} changed"),
        "ConfigMapDeleted" => format!("ConfigMap {name} deleted"),
        _ => row.title.replacen("Image", "image", 1),
    })
}

fn record(change: &Compared<'_>, row: Row) -> Record {
    let mut extra: Map<String, Value> = row
        .extra
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if let Some(late) = change.late {
        extra.insert("observed_late".to_owned(), json!(true));
        extra.insert(
            "between".to_owned(),
            json!([late.from.to_string(), late.to.to_string()]),
        );
    }
    let (mut node, mut owner) = (None, None);
    match change.object {
        Some(Object::Pod(pod)) => {
            node = pod.node.as_deref().map(str::to_owned);
            owner = controller(&pod.meta);
        }
        Some(Object::Node(one)) => node = Some(one.meta.name.to_string()),
        _ => {}
    }
    Record {
        event_type: EventType::Cluster,
        severity: row.severity,
        title: row.title,
        description: row.description,
        object: Some(change.subject.clone()),
        owner,
        reason: row.reason.to_owned(),
        node,
        extra,
        ..Record::own(change.at)
    }
}

fn place(subject: &ObjectRef) -> String {
    if subject.namespace.is_empty() {
        subject.name.clone()
    } else {
        format!("{}/{}", subject.namespace, subject.name)
    }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// Keys whose values changed between two sights of a ConfigMap.
pub fn rewritten(before: &ConfigMap, after: &ConfigMap) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, facts) in &after.keys {
        if before
            .keys
            .get(key)
            .is_some_and(|old| old.hash != facts.hash)
        {
            keys.push(key.to_string());
        }
    }
    keys
}

/// Who an object is.
pub fn subject(kind: &str, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind: kind.to_owned(),
        namespace: meta.namespace.to_string(),
        name: meta.name.to_string(),
    }
}

/// Whether a pod's Ready condition says so.
pub fn is_ready(pod: &Pod) -> bool {
    Condition::of(&pod.conditions, "Ready").is_some_and(Condition::is_true)
}
