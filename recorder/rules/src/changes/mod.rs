//! Rows of changes: the snapshots of an object before and after, compared. Pure.
//!
//! ```text
//!   snapshot before ─┬─ one of them ──▶ added_removed ─┐
//!   snapshot after  ─┴─ both ─────────▶ diff ──────────┴─▶ rows
//! ```
//!
//! Snapshots are stored, so that the first list after a restart shows what changed while the recorder was down.

mod added_removed;
mod diff;
mod row;
mod snapshot;

use kube9_model::EventType;
use serde_json::{Map, Value, json};

pub use diff::{Diff, UnobservedInterval};
pub use snapshot::{KindSnapshot, LastChange, ObjectSnapshot};

use super::controller::controller;
use added_removed::{added, removed};
use diff::compare;
use kube9_ingest::objects::{ConfigMap, Object};
use kube9_model::record::Record;
use row::Row;

/// The rows that a change makes.
pub fn rows(change: &Diff<'_>) -> Vec<Record> {
    let made = match (change.before, change.after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => added(change, after),
        (Some(before), None) => removed(change, before),
        (Some(before), Some(after)) => compare(change, before, after),
    };
    made.into_iter().map(|row| record(change, row)).collect()
}

/// The first change among `rows` that can break pods.
pub fn pod_breaking_change(rows: &[Record]) -> Option<String> {
    let row = rows.iter().find(|row| {
        matches!(
            row.reason.as_str(),
            "ImageChanged" | "ConfigMapChanged" | "ConfigMapDeleted"
        )
    })?;
    let name = &row.object.as_ref()?.name;
    let mut what = match row.reason.as_str() {
        "ConfigMapChanged" => format!("ConfigMap {name} changed"),
        "ConfigMapDeleted" => format!("ConfigMap {name} deleted"),
        _ => row.title.replacen("Image", "image", 1),
    };
    what.truncate(what.floor_char_boundary(WHAT_BYTES_MAX));
    Some(what)
}

/// Longest description of a change, which is kept with its object.
const WHAT_BYTES_MAX: usize = 300;

/// Keys whose values differ between two states of a ConfigMap.
pub fn changed_keys(before: &ConfigMap, after: &ConfigMap) -> Vec<String> {
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
