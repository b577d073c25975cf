//! Cuts texts to a length, and metadata to a size in JSON. Pure; sizes are those of JSON without spaces.

use crate::redact::REDACTED;
use serde_json::{Map, Value};

/// How long a text may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Bytes(usize),
    Chars(usize),
}

/// The byte at which a text must be cut to fit the limit with an ellipsis; its length if it fits already.
pub(super) fn truncation_point(text: &str, limit: Limit) -> usize {
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
    // Half a redaction marker would look like a value that must be redacted.
    let from = end.saturating_sub(REDACTED.len() - 1);
    (from..end)
        .find(|at| text.as_bytes()[*at..].starts_with(REDACTED.as_bytes()))
        .unwrap_or(end)
}

/// Truncates the fields that exceed a fair share, so that one large field does not push out small ones.
pub(super) fn truncate_fields(
    fields: Map<String, Value>,
    fields_max: usize,
    budget: usize,
) -> Map<String, Value> {
    let fields: Vec<(String, Value, usize)> = fields
        .into_iter()
        .take(fields_max)
        .map(|(key, value)| {
            let bytes = json_bytes_of_field(&key, &value);
            (key, value, bytes)
        })
        .collect();
    // The largest share with which all fields fit: what smaller fields do not use raises it.
    let mut lengths: Vec<usize> = fields.iter().map(|(_, _, bytes)| *bytes).collect();
    lengths.sort_unstable();
    let (mut left, mut share) = (budget.saturating_sub(2), 0);
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
        let value = truncate_value(value, share.saturating_sub(json_bytes_of_key(&key)))?;
        Some((key, value))
    });
    fitted.collect()
}

/// Drops the fields that do not fit; truncates none.
pub(super) fn drop_oversized_fields(fields: &mut Map<String, Value>, budget: usize) {
    let mut left = budget.saturating_sub(2);
    fields.retain(|key, value| {
        let bytes = json_bytes_of_field(key, value);
        let fits = bytes <= left;
        if fits {
            left -= bytes;
        }
        fits
    });
}

/// The value truncated to that many bytes of JSON; `None` if nothing fits.
fn truncate_value(value: Value, budget: usize) -> Option<Value> {
    if json_bytes(&value) <= budget {
        return Some(value);
    }
    match value {
        Value::String(text) => {
            let mut max = budget.checked_sub(2)?;
            loop {
                let kept = truncation_point(&text, Limit::Bytes(max));
                let cut = format!("{}…", &text[..kept]);
                let over = json_bytes_of_text(&cut).saturating_sub(budget);
                if over == 0 {
                    return Some(Value::String(cut));
                }
                // A byte less is one or two bytes of JSON less.
                max = max.min(kept + "…".len()).checked_sub(over.div_ceil(2))?;
            }
        }
        Value::Array(values) => {
            let mut left = budget.checked_sub(2)?;
            let fitting = values.into_iter().map_while(|value| {
                let value = truncate_value(value, left.checked_sub(1)?)?;
                left -= json_bytes(&value) + 1;
                Some(value)
            });
            Some(Value::Array(fitting.collect()))
        }
        Value::Object(map) => {
            let mut left = budget.checked_sub(2)?;
            let fitting = map.into_iter().map_while(|(key, value)| {
                let value = truncate_value(value, left.checked_sub(json_bytes_of_key(&key))?)?;
                left -= json_bytes_of_field(&key, &value);
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
        .map(|(key, value)| json_bytes_of_field(key, value));
    2 + fields.sum::<usize>().saturating_sub(1)
}

/// Size of a field, with its trailing comma.
fn json_bytes_of_field(key: &str, value: &Value) -> usize {
    json_bytes_of_key(key) + json_bytes(value)
}

/// Size of a field without its value: the name, a colon, a trailing comma.
fn json_bytes_of_key(key: &str) -> usize {
    json_bytes_of_text(key) + 2
}

/// Size of a text without control characters (their escapes would be longer).
fn json_bytes_of_text(text: &str) -> usize {
    2 + text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("it is an object")
        };
        map
    }

    #[test]
    fn json_bytes_any_value_equals_serialized_length() {
        for value in [
            json!(null),
            json!(true),
            json!(false),
            json!(-1.5),
            json!("a \"b\" \\ é"),
            json!([]),
            json!([1]),
            json!([1, "xyz", [null, false], {}]),
            json!({}),
            json!({"a": 12}),
            json!({"a": 12, "\"long\"": {"b": [1, 2, 3], "c": "d"}, "": ""}),
        ] {
            let bytes = serde_json::to_string(&value).unwrap().len();
            assert_eq!(json_bytes(&value), bytes, "{value}");
        }
    }

    #[test]
    fn truncation_point_inside_marker_drops_the_marker() {
        let text = format!("ab{REDACTED}cdefgh");
        let whole = "ab".len() + REDACTED.len();
        for (end, expected) in [
            (2, 2),
            (3, 2),
            (whole - 1, 2),
            (whole, whole),
            (whole + 1, whole + 1),
        ] {
            let limit = Limit::Bytes(end + "…".len());
            assert_eq!(truncation_point(&text, limit), expected, "{end}");
        }
    }

    #[test]
    fn truncate_fields_all_fit_changes_nothing() {
        let fields = map(json!({"a": 12345, "bc": "xyz", "d": [1, 2]}));
        let budget = json_bytes_of_map(&fields) + 1;
        assert_eq!(truncate_fields(fields.clone(), 3, budget), fields);
        assert_eq!(
            truncate_fields(fields, 2, budget),
            map(json!({"a": 12345, "bc": "xyz"}))
        );
    }

    #[test]
    fn drop_oversized_fields_drops_whole_fields() {
        let mut fields = map(json!({"a": 12345, "bc": "x".repeat(50), "d": [1, 2]}));
        drop_oversized_fields(&mut fields, 25);
        assert_eq!(fields, map(json!({"a": 12345, "d": [1, 2]})));
    }

    #[test]
    fn truncate_fields_small_field_leaves_its_share_to_the_large_one() {
        // 21 bytes for both: `"a":12345,` takes 10, so the other may have 11.
        let fields = map(json!({"a": 12345, "b": "x".repeat(50)}));
        assert_eq!(
            truncate_fields(fields, 2, 23),
            map(json!({"a": 12345, "b": "x…"}))
        );
    }

    #[test]
    fn truncate_value_text_with_escapes_keeps_all_that_fits() {
        for (budget, quotes) in [(25, 10), (26, 10), (27, 11), (6, 0), (5, 0)] {
            let fitted = truncate_value(json!("\"".repeat(40)), budget);
            let expected = format!("{}…", "\"".repeat(quotes));
            assert_eq!(fitted, Some(json!(expected)), "{budget}");
        }
        assert_eq!(truncate_value(json!("\"".repeat(40)), 4), None);
    }
}
