//! Rows that the change history cannot make of an object's specification: the ends of pods, and of rollouts. Pure.
//!
//! ```text
//!   snapshot before ─┬─▶ rows
//!   snapshot after  ─┘
//! ```
//!
//! Snapshots are stored, so that the first list after a restart shows what ended while the recorder was down.

mod pod_end;
mod row;
mod snapshot;

use kube9_ingest::objects::Object;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef};
use serde_json::{Map, Value, json};

pub use snapshot::{KindSnapshot, ObjectSnapshot};

use super::controller::controller;
use pod_end::pod_ended;
use row::{Row, object_name, row};

/// The interval in which an unobserved change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnobservedInterval {
    pub from: Timestamp,
    pub to: Timestamp,
}

#[derive(Debug)]
pub struct Diff<'a> {
    /// `None` if the object was added.
    pub before: Option<&'a ObjectSnapshot>,
    /// `None` if the object was deleted.
    pub after: Option<&'a ObjectSnapshot>,
    /// The current or last observed state; `None` if it was deleted while it was not watched.
    pub object: Option<&'a Object>,
    pub subject: ObjectRef,
    pub at: Timestamp,
    /// Set if the change was not observed when it happened.
    pub late: Option<UnobservedInterval>,
}

/// The rows that a change makes.
pub fn rows(change: &Diff<'_>) -> Vec<Record> {
    let before = change.before.map(|before| &before.of);
    let after = change.after.map(|after| &after.of);
    let made = match (before, after) {
        (
            None | Some(KindSnapshot::Pod { ended: false, .. }),
            Some(KindSnapshot::Pod { ended: true, .. }),
        )
        | (Some(KindSnapshot::Pod { ended: false, .. }), None) => pod_ended(change),
        (
            Some(KindSnapshot::Deployment { rolling: true }),
            Some(KindSnapshot::Deployment { rolling: false }),
        ) => vec![rollout_finished(change)],
        _ => Vec::new(),
    };
    made.into_iter().map(|row| record(change, row)).collect()
}

fn rollout_finished(change: &Diff<'_>) -> Row {
    let replicas = match change.object {
        Some(Object::Deployment(one)) => one.replicas,
        _ => 0,
    };
    let text = format!(
        "Deployment {} finished its rollout: {replicas} replicas of the newest template.",
        object_name(&change.subject)
    );
    row("RolloutFinished", "Rollout finished", text)
}

fn record(change: &Diff<'_>, row: Row) -> Record {
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
        ..Record::internal(change.at)
    }
}
