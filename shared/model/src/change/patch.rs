//! How the revisions of an object are kept: the newest body whole, each older one as the merge patch (RFC 7396) that makes
//! it of the next newer one.
//!
//! ```text
//!   1 ◀─patch─ 2 ◀─patch─ 3      4 ◀─patch─ 5 ◀─patch─ 6
//!                         whole                        whole: the newest
//! ```
//!
//! What is deleted first, the oldest, is needed by no other revision. A body stays whole where the patches below the newest
//! would become more than twice as large as it, or more than 64; and where the patch is more than half as large as it.

use serde_json::{Map, Value};

use super::body::Body;

/// Most patches that are applied to rebuild a body.
pub const STEPS_MAX: u32 = 64;

/// The patch that turns `from` into `to`, or `None` where they are equal.
///
/// Neither holds a null, so that a null of the patch always means a removal.
pub fn between(from: &Body, to: &Body) -> Option<Value> {
    match (from.stored(), to.stored()) {
        (Value::Object(from), Value::Object(to)) => objects(from, to),
        (from, to) => (from != to).then(|| to.clone()),
    }
}

fn objects(from: &Map<String, Value>, to: &Map<String, Value>) -> Option<Value> {
    let mut patch = Map::new();
    for (key, old) in from {
        match (old, to.get(key)) {
            (_, None) => _ = patch.insert(key.clone(), Value::Null),
            (Value::Object(old), Some(Value::Object(new))) => {
                if let Some(inner) = objects(old, new) {
                    patch.insert(key.clone(), inner);
                }
            }
            (old, Some(new)) => {
                if old != new {
                    patch.insert(key.clone(), new.clone());
                }
            }
        }
    }
    for (key, new) in to {
        if !from.contains_key(key) {
            patch.insert(key.clone(), new.clone());
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Applies a patch, as RFC 7396 and SQLite's `json_patch` do.
pub fn apply(body: &mut Body, patch: Value) {
    merge(body.stored_mut(), patch);
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            fields.shift_remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The patches directly below the newest body of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chain {
    /// How many.
    pub steps: u32,
    /// Their bytes.
    pub bytes: u64,
}

/// How a revision is kept after a newer one has been stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Kept {
    /// As it was: its body.
    Whole,
    /// As the patch that makes its body of the newer one.
    Patch(String),
}

impl Chain {
    /// How `older`, so far the newest body, is kept now that `newer` is; `older_bytes` and `newer_bytes` are the lengths of
    /// their texts. The chain is afterwards the one below `newer`.
    pub fn push(&mut self, older: (&Body, usize), newer: (&Body, usize)) -> Kept {
        let patch = between(newer.0, older.0).map_or_else(|| "{}".to_owned(), |p| p.to_string());
        let bytes = self.bytes + patch.len() as u64;
        let fits =
            self.steps < STEPS_MAX && bytes <= 2 * newer.1 as u64 && patch.len() <= older.1 / 2;
        if !fits {
            *self = Self::default();
            return Kept::Whole;
        }
        self.steps += 1;
        self.bytes = bytes;
        Kept::Patch(patch)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(value: &Value) -> Body {
        Body::from_stored(value.as_object().unwrap().clone())
    }

    #[test]
    fn patch_turns_one_body_into_the_other() {
        let bodies = [
            json!({}),
            json!({"a": 1}),
            json!({"a": {}}),
            json!({"a": {"b": 1}}),
            json!({"a": {"b": {"c": [1, {"d": 2}]}}, "e": "x"}),
            json!({"a": [1, 2]}),
            json!({"a": {"~": "null"}}),
            json!({"a": {"~": ["x"], "x": {"name": "x"}}}),
            json!({"a": {"~": ["y", "x"], "x": {"name": "x"}, "y": {}}}),
        ];
        for from in &bodies {
            for to in &bodies {
                let (from, to) = (body(from), body(to));
                let mut made = from.clone();
                match between(&from, &to) {
                    Some(patch) => apply(&mut made, patch),
                    None => assert_eq!(from, to),
                }
                assert_eq!(made, to, "from {from:?}");
            }
        }
    }

    #[test]
    fn patches_of_the_rfc_are_applied_as_it_says() {
        // RFC 7396, appendix A; a body is an object, so each stands below a key.
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut made = body(&json!({"root": target}));
            apply(&mut made, json!({"root": patch}));
            assert_eq!(made, body(&json!({"root": expected})), "{target} {patch}");
        }
    }

    #[test]
    fn body_stays_whole_where_patches_do_not_pay() {
        let large = |n: u32, text: &str| body(&json!({"n": n, "text": text}));
        let text = "x".repeat(1000);
        let mut chain = Chain::default();
        let mut push = |older: &Body, newer: &Body| {
            let length = |body: &Body| body.to_text().len();
            chain.push((older, length(older)), (newer, length(newer)))
        };
        // Sixty-four small patches, then a whole body.
        for n in 0..STEPS_MAX {
            let kept = push(&large(n, &text), &large(n + 1, &text));
            assert_eq!(kept, Kept::Patch(format!("{{\"n\":{n}}}")));
        }
        assert_eq!(push(&large(64, &text), &large(65, &text)), Kept::Whole);
        // A patch that is nearly the body.
        assert_eq!(push(&large(65, &text), &large(65, "y")), Kept::Whole);
        // Patches that together exceed twice the body.
        let wide = |n: u32| {
            let fields: Map<String, Value> = (0..10)
                .map(|f| {
                    (
                        format!("f{f}"),
                        json!(if f < 4 { n } else { 0 } + 1_000_000),
                    )
                })
                .collect();
            Body::from_stored(fields)
        };
        let kept: Vec<Kept> = (0..8).map(|n| push(&wide(n), &wide(n + 1))).collect();
        let whole: Vec<usize> = (0..8).filter(|n| kept[*n] == Kept::Whole).collect();
        assert_eq!(whole, [4], "{kept:?}");
    }
}
