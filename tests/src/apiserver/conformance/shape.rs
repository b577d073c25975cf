//! The parts of an answer that a client can rely on, and their comparison.

use serde_json::{Map, Value, json};

use super::Shape;
use crate::client::Answer;

/// The parts of an answer that a client can rely on.
pub(super) fn shape_of_answer(answer: &Answer) -> Value {
    let mut shape = json!({
        "code": answer.code,
        "content-type": answer.header("content-type"),
        "date": answer.header("date").is_some_and(|d| d.ends_with(" GMT")),
    });
    if let Some(seconds) = answer.header("retry-after") {
        shape["retry-after"] = json!(seconds);
    }
    shape["body"] = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => shape_of(&body, ""),
        Err(_) => json!(String::from_utf8_lossy(&answer.body).trim()),
    };
    shape
}

/// Values whose words matter, by the name of their field.
const WORDS: [&str; 13] = [
    "kind",
    "apiVersion",
    "type",
    "status",
    "reason",
    "code",
    "field",
    "group",
    "message",
    "allowed",
    "verb",
    "resource",
    "retryAfterSeconds",
];

/// A JSON value without what differs from server to server.
pub(super) fn shape_of(value: &Value, field: &str) -> Value {
    match value {
        Value::Object(map) => {
            let mut shape = Map::new();
            for (key, value) in map {
                // The simulator does not track field managers.
                if key != "managedFields" {
                    shape.insert(key.clone(), shape_of(value, key));
                }
            }
            Value::Object(shape)
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| shape_of(item, field)).collect())
        }
        Value::String(text) if field == "message" => Value::String(without_numbers(text)),
        Value::String(text) if WORDS.contains(&field) => Value::String(text.clone()),
        Value::Number(_) | Value::Bool(_) if WORDS.contains(&field) => value.clone(),
        Value::String(_) => json!("string"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) | Value::Null => value.clone(),
    }
}

/// The words of a message: numbers become `N`, and of a parser's complaint only its beginning is kept.
fn without_numbers(text: &str) -> String {
    let text = text.split("json parse error").next().unwrap_or(text);
    let mut words = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_ascii_digit() {
            words.push(c);
        } else if !words.ends_with('N') {
            words.push('N');
        }
    }
    words
}

/// Differences between two runs, one line per call.
pub fn differences(expected: &[Shape], found: &[Shape]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, shape) in expected {
        match found.iter().find(|(n, _)| n == name) {
            Some((_, other)) => {
                lines.extend(difference(shape, other).map(|what| format!("{name}: {what}")))
            }
            None => lines.push(format!("{name}: missing")),
        }
    }
    let unknown = found
        .iter()
        .filter(|(name, _)| !expected.iter().any(|(n, _)| n == name));
    lines.extend(unknown.map(|(name, _)| format!("{name}: not expected")));
    lines
}

/// The first difference between two shapes, with its path. The order of fields counts.
fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            if keys(a) != keys(b) {
                return Some(format!(" has fields {:?}, expected {:?}", keys(b), keys(a)));
            }
            a.iter()
                .zip(b.values())
                .find_map(|((key, a), b)| difference(a, b).map(|d| format!(".{key}{d}")))
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Some(format!(" has {} items, expected {}", b.len(), a.len()));
            }
            a.iter()
                .zip(b)
                .zip(0..)
                .find_map(|((a, b), i)| difference(a, b).map(|d| format!("[{i}]{d}")))
        }
        _ => (expected != found).then(|| format!(" is {found}, expected {expected}")),
    }
}
