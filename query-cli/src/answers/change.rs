//! A row about a change in words: the object, what changed, who changed it.

use kube9_db::read::Row;
use serde_json::Value;

use super::fields_text;
use crate::target;

/// `Deployment/web`, `Rollout.argoproj.io/web`
pub(crate) fn object(metadata: &Value, row: &Row) -> String {
    let group = metadata.get("api_group").and_then(Value::as_str);
    match (group, &row.object_kind, &row.object_name) {
        (Some(group), Some(kind), Some(name)) => {
            format!("{}/{name}", target::with_group(kind, group))
        }
        _ => row_object(row),
    }
}

/// `spec.replicas 2 → 5`, `deleted (scale-down)`, `31 changes: spec.replicas 2 → 9`
pub(crate) fn what(metadata: &Value, row: &Row) -> String {
    let word = |key: &str| {
        metadata
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let mut text = match word("op") {
        "changed" => fields_text::of_row(metadata),
        "deleted" => match metadata.pointer("/cause/kind").and_then(Value::as_str) {
            Some(cause) => format!("deleted ({cause})"),
            None => "deleted".to_owned(),
        },
        "deleting" => "deletion waits for finalizers".to_owned(),
        op => op.to_owned(),
    };
    if text.is_empty() {
        text.clone_from(&row.title);
    }
    if let Some(changes) = metadata.get("changes").and_then(Value::as_u64) {
        text = format!("{changes} changes: {text}");
    }
    if let Some(objects) = metadata.get("objects").and_then(Value::as_array) {
        text.push_str(&format!(" ({} objects or more)", objects.len()));
    }
    text
}

/// Who made the change. A deletion does not say.
pub(crate) fn by(metadata: &Value) -> String {
    let managers = metadata.get("by").and_then(Value::as_array);
    let mut names: Vec<&str> = managers
        .into_iter()
        .flatten()
        .filter_map(|by| by.get("manager")?.as_str())
        .collect();
    names.dedup();
    if names.is_empty() {
        let op = metadata.get("op").and_then(Value::as_str);
        let is_deletion = matches!(op, Some("deleted" | "deleting"));
        return if is_deletion { "-" } else { "unknown" }.to_owned();
    }
    names.join(", ")
}

/// `Deployment/web`, of any row.
pub(crate) fn row_object(row: &Row) -> String {
    match (&row.object_kind, &row.object_name) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        (kind, name) => kind
            .as_deref()
            .or(name.as_deref())
            .unwrap_or("-")
            .to_owned(),
    }
}
