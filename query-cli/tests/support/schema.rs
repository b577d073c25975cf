//! The part of JSON Schema that `docs/schema` uses; an unknown keyword fails.

use serde_json::Value;

/// Where and why a value violates a schema.
pub fn violation(schema: &Value, value: &Value) -> Option<String> {
    check(schema, value, "$").err()
}

fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let rules = schema.as_object().ok_or("a schema is an object")?;
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let allowed = rule
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![rule.clone()]);
                if !allowed
                    .iter()
                    .any(|word| is(value, word.as_str().unwrap_or_default()))
                {
                    return Err(format!("{at} is not {rule}: {value}"));
                }
            }
            "enum" => {
                if !rule.as_array().is_some_and(|words| words.contains(value)) {
                    return Err(format!("{at} is not one of {rule}: {value}"));
                }
            }
            "minimum" => {
                if value
                    .as_f64()
                    .is_some_and(|number| number < rule.as_f64().unwrap_or(0.0))
                {
                    return Err(format!("{at} is below {rule}: {value}"));
                }
            }
            "required" => {
                for key in rule
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                {
                    if value.is_object() && value.get(key).is_none() {
                        return Err(format!("{at} has no {key}"));
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, item, &format!("{at}[{i}]"))?;
                }
            }
            "properties" => {
                let rules_of_keys = rule.as_object().ok_or("properties are an object")?;
                for (key, member) in value.as_object().into_iter().flatten() {
                    match rules_of_keys.get(key) {
                        Some(rule) => check(rule, member, &format!("{at}.{key}"))?,
                        // The schemas describe every key; programs must still accept others.
                        None if rules.contains_key("additionalProperties") => {}
                        None => return Err(format!("{at} has an unknown key {key}")),
                    }
                }
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (key, member) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(key)) {
                        continue;
                    }
                    if *rule == Value::Bool(false) {
                        return Err(format!("{at} has an unknown {key}"));
                    }
                    check(rule, member, &format!("{at}.{key}"))?;
                }
            }
            other => return Err(format!("unknown keyword {other}")),
        }
    }
    Ok(())
}

fn is(value: &Value, word: &str) -> bool {
    match word {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}
