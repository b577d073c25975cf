//! Cuts texts to a length, and metadata to a size in JSON. Pure; sizes are those of JSON without spaces.

use serde_json::{Map, Value};

use super::redact::MARKER;

/// How long a text may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Bytes(usize),
    Chars(usize),
}

/// How many bytes of the text stay, so that with an ellipsis it is within the limit; all if it is so already.
pub(super) fn kept(text: &str, limit: Limit) -> usize {
    let end = match limit {
        Limit::Bytes(max) if text.len() <= max => return text.len(),
        Limit::Bytes(max) => text.floor_char_boundary(max.saturating_sub("…".len())),
        Limit::Chars(max) if text.len() <= max => return text.len(),
        Limit::Chars(max) => match text.char_indices().nth(max) {
            None => return text.len(),
            Some(_) => text
                .char_indices()
                .nth(max.saturating_sub(1))
                .map_or(0, |(at, _)| at),
        },
    };
    // Half a marker would look like a value that is to be redacted.
    let from = end.saturating_sub(MARKER.len() - 1);
    (from..end)
        .find(|at| text.as_bytes()[*at..].starts_with(MARKER.as_bytes()))
        .unwrap_or(end)
}

/// Cuts the fields that are longer than a fair share, so that small ones survive a large one.
pub(super) fn fit_fields(
    fields: Map<String, Value>,
    fields_max: usize,
    room: usize,
) -> Map<String, Value> {
    let fields: Vec<(String, Value, usize)> = fields
        .into_iter()
        .take(fields_max)
        .map(|(key, value)| {
            let bytes = json_bytes_of_text(&key) + 2 + json_bytes(&value);
            (key, value, bytes)
        })
        .collect();
    // The largest share with which all fit: raise it by what the fields below it leave.
    let mut lengths: Vec<usize> = fields.iter().map(|(_, _, bytes)| *bytes).collect();
    lengths.sort_unstable();
    let (mut left, mut share) = (room.saturating_sub(2), 0);
    for (i, length) in lengths.iter().enumerate() {
        share = left / (lengths.len() - i);
        if *length > share {
            break;
        }
        left -= length;
    }
    let fitted = fields.into_iter().filter_map(|(key, value, bytes)| {
        if bytes <= share {
            return Some((key, value));
        }
        let value = fit(value, share.saturating_sub(json_bytes_of_text(&key) + 2))?;
        Some((key, value))
    });
    fitted.collect()
}

/// The value cut to so many bytes of JSON; `None` if nothing of it fits.
fn fit(value: Value, room: usize) -> Option<Value> {
    if json_bytes(&value) <= room {
        return Some(value);
    }
    match value {
        Value::String(text) => {
            let mut max = room.checked_sub(2)?;
            loop {
                let kept = kept(&text, Limit::Bytes(max));
                let cut = format!("{}…", &text[..kept]);
                let over = json_bytes_of_text(&cut).saturating_sub(room);
                if over == 0 {
                    return Some(Value::String(cut));
                }
                // A byte less is one or two bytes of JSON less.
                max = max.min(kept + "…".len()).checked_sub(over.div_ceil(2))?;
            }
        }
        Value::Array(values) => {
            let mut left = room.checked_sub(2)?;
            let fitting = values.into_iter().map_while(|value| {
                let value = fit(value, left.checked_sub(1)?)?;
                left -= json_bytes(&value) + 1;
                Some(value)
            });
            Some(Value::Array(fitting.collect()))
        }
        Value::Object(map) => {
            let mut left = room.checked_sub(2)?;
            let fitting = map.into_iter().map_while(|(key, value)| {
                let for_key = json_bytes_of_text(&key) + 2;
                let value = fit(value, left.checked_sub(for_key)?)?;
                left -= for_key + json_bytes(&value);
                Some((key, value))
            });
            Some(Value::Object(fitting.collect()))
        }
        _ => None,
    }
}

/// Size of a value.
pub(super) fn json_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => number.to_string().len(),
        Value::String(text) => json_bytes_of_text(text),
        Value::Array(values) => {
            2 + values
                .iter()
                .map(|value| json_bytes(value) + 1)
                .sum::<usize>()
                .saturating_sub(1)
        }
        Value::Object(map) => json_bytes_of_map(map),
    }
}

/// Size of an object.
pub(super) fn json_bytes_of_map(map: &Map<String, Value>) -> usize {
    let fields = map
        .iter()
        .map(|(key, value)| json_bytes_of_text(key) + json_bytes(value) + 2);
    2 + fields.sum::<usize>().saturating_sub(1)
}

/// Of a text without control characters, whose escapes are longer.
fn json_bytes_of_text(text: &str) -> usize {
    2 + text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\')).count()
}
