//! Changed fields as a short text: `spec.replicas 2 → 5, and 3 more`.

use kube9_model::change::body::plain;
use kube9_model::change::diff::FieldChange;
use serde_json::Value;

/// Fields that are named.
const NAMED_MAX: usize = 3;
/// Longest text of a value, in characters.
const VALUE_MAX: usize = 60;
/// The fields of a template of pods are known by their names.
const TEMPLATE: [&str; 2] = [
    "spec.template.spec.",
    "spec.jobTemplate.spec.template.spec.",
];

/// The text for fields of two bodies.
pub(crate) fn of(fields: &[FieldChange<'_>]) -> String {
    let mut sorted: Vec<&FieldChange<'_>> = fields.iter().collect();
    sorted.sort_by_key(|field| (field.silent, !field.risky));
    let texts = sorted.iter().take(NAMED_MAX).map(|field| {
        let value = |stored: Option<_>| stored.map(plain);
        text(
            &field.path.to_string(),
            field.op.as_str(),
            value(field.from).as_ref(),
            value(field.to).as_ref(),
        )
    });
    joined(texts.collect(), fields.len().saturating_sub(NAMED_MAX))
}

/// The text for the metadata of a row: its `fields`, and how many more there are.
pub(crate) fn of_row(metadata: &Value) -> String {
    let fields = metadata.get("fields").and_then(Value::as_array);
    let fields: &[Value] = fields.map_or(&[], |fields| fields);
    let texts = fields.iter().take(NAMED_MAX).map(|field| {
        let word = |key: &str| field.get(key).and_then(Value::as_str).unwrap_or_default();
        let text = text(word("path"), word("op"), field.get("from"), field.get("to"));
        // Of a field that changed again and again.
        match (field.get("min"), field.get("max")) {
            (Some(least), Some(most)) => format!("{text} (between {least} and {most})"),
            _ => text,
        }
    });
    let unlisted = metadata.get("fields_left_out").and_then(Value::as_u64);
    let more = fields.len().saturating_sub(NAMED_MAX) as u64 + unlisted.unwrap_or(0);
    joined(texts.collect(), usize::try_from(more).unwrap_or(usize::MAX))
}

fn joined(texts: Vec<String>, more: usize) -> String {
    let text = texts.join(", ");
    match more {
        0 => text,
        more => format!("{text}, and {more} more"),
    }
}

fn text(path: &str, op: &str, from: Option<&Value>, to: Option<&Value>) -> String {
    let short = TEMPLATE
        .iter()
        .find_map(|start| path.strip_prefix(start))
        .unwrap_or(path);
    match (op, from, to) {
        ("order", ..) => format!("order of {short}"),
        (_, Some(from), Some(to)) => format!("{short} {} → {}", value(from), value(to)),
        (_, None, Some(to)) => format!("{short} added: {}", value(to)),
        (_, Some(from), None) => format!("{short} removed: {}", value(from)),
        (_, None, None) => format!("{short} {op}"),
    }
}

fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains(' ') => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_of_a_row_names_three_fields() {
        let field = |path: &str, op: &str, from: Value, to: Value| {
            let mut field = json!({"path": path, "op": op});
            for (key, value) in [("from", from), ("to", to)] {
                if !value.is_null() {
                    field[key] = value;
                }
            }
            field
        };
        let image = field(
            "spec.template.spec.containers[app].image",
            "changed",
            json!("a:1"),
            json!("a:2"),
        );
        let replicas = field("spec.replicas", "changed", json!(2), json!(5));
        let label = field("metadata.labels.x", "added", Value::Null, json!("y z"));
        let gone = field("metadata.labels.y", "removed", json!(""), Value::Null);
        let order = field(
            "spec.template.spec.containers",
            "order",
            json!([]),
            json!([]),
        );
        for (fields, left_out, text) in [
            (json!([image]), 0, "containers[app].image a:1 → a:2"),
            (
                json!([replicas, label, gone, order]),
                2,
                "spec.replicas 2 → 5, metadata.labels.x added: \"y z\", metadata.labels.y removed: \"\", and 3 more",
            ),
            (json!([order]), 0, "order of containers"),
            (
                json!([{"path": "spec.replicas", "op": "changed", "from": 3, "to": 4, "times": 9, "min": 2, "max": 7}]),
                0,
                "spec.replicas 3 → 4 (between 2 and 7)",
            ),
        ] {
            let metadata = json!({"fields": fields, "fields_left_out": left_out});
            assert_eq!(of_row(&metadata), text);
        }
        assert_eq!(of_row(&json!({})), "");
        assert_eq!(
            value(&json!("x".repeat(100))).chars().count(),
            VALUE_MAX + 1
        );
    }
}
