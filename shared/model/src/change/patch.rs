//! How the revisions of an object are kept: the newest body whole, each older one as the merge patch (RFC 7396) that makes
//! it of the next newer one.
//!
//! ```text
//!   1 ◀─patch─ 2 ◀─patch─ 3      4 ◀─patch─ 5 ◀─patch─ 6
//!                         whole                        whole: the newest
//! ```
//!
//! What is deleted first, the oldest, is needed by no other revision. A body stays whole where the patches below the newest
//! would become more than twice as large as it and more than 16 KiB, or more than 128; and where the patch is more than half
//! as large as it.

use super::body::Body;
use super::stored::{Fields, Stored, merged};

/// Most patches that are applied to rebuild a body.
pub const STEPS_MAX: u32 = 128;

/// Bytes of patches that are read in any case: of small bodies more would be stored than read.
const CHAIN_BYTES: u64 = 16 << 10;

/// The patch that turns `from` into `to`, or `None` where they are equal.
///
/// Neither holds a null, so that a null of the patch always means a removal.
pub fn between<'b>(from: &'b Body<'b>, to: &'b Body<'b>) -> Option<Stored<'b>> {
    match (from.stored(), to.stored()) {
        (Stored::Map(from), Stored::Map(to)) => maps(from, to),
        (from, to) => (from != to).then(|| to.clone()),
    }
}

fn maps<'b>(from: &'b Fields<'b>, to: &'b Fields<'b>) -> Option<Stored<'b>> {
    let mut patch = Vec::new();
    for (key, old, new) in merged(from, to) {
        let value = match (old, new) {
            (Some(Stored::Map(old)), Some(Stored::Map(new))) => match maps(old, new) {
                Some(inner) => inner,
                None => continue,
            },
            (Some(old), Some(new)) if old == new => continue,
            (_, Some(new)) => new.clone(),
            (_, None) => Stored::Null,
        };
        patch.push((key.into(), value));
    }
    (!patch.is_empty()).then(|| Stored::Map(Fields::new(patch)))
}

/// Applies a patch, as RFC 7396 and SQLite's `json_patch` do.
pub fn apply<'t>(body: &mut Body<'t>, patch: Stored<'t>) {
    merge(body.stored_mut(), patch);
}

fn merge<'t>(target: &mut Stored<'t>, patch: Stored<'t>) {
    let Stored::Map(patch) = patch else {
        *target = patch;
        return;
    };
    if target.as_map().is_none() {
        *target = Stored::Map(Fields::default());
    }
    let Stored::Map(fields) = target else {
        return;
    };
    for (key, value) in patch {
        if value == Stored::Null {
            fields.remove(&key);
        } else if let Some(field) = fields.get_mut(&key) {
            merge(field, value);
        } else {
            let mut field = Stored::Null;
            merge(&mut field, value);
            fields.insert(key, field);
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
        let patch = between(newer.0, older.0).map_or_else(|| "{}".to_owned(), |p| p.to_text());
        let bytes = self.bytes + patch.len() as u64;
        let fits = self.steps < STEPS_MAX
            && bytes <= CHAIN_BYTES.max(2 * newer.1 as u64)
            && patch.len() <= older.1 / 2;
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
    use serde::Deserialize as _;
    use serde_json::{Map, Value, json};

    use super::*;

    fn body(value: &Value) -> Body<'static> {
        Body::parse(&value.to_string()).unwrap().into_owned()
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
            apply(
                &mut made,
                Stored::deserialize(json!({"root": patch})).unwrap(),
            );
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
        // Small patches up to the last step, together more than twice the body, then a whole body.
        for n in 0..STEPS_MAX {
            let kept = push(&large(n, "x"), &large(n + 1, "x"));
            assert_eq!(kept, Kept::Patch(format!("{{\"n\":{n}}}")));
        }
        let next = (large(STEPS_MAX, "x"), large(STEPS_MAX + 1, "x"));
        assert_eq!(push(&next.0, &next.1), Kept::Whole);
        // A patch that is nearly the body.
        assert_eq!(push(&large(65, &text), &large(65, "y")), Kept::Whole);
        // Patches that together exceed twice the body, and 16 KiB.
        let wide = |n: u32| {
            let value = |f: u32| json!(format!("{}{text}", if f < 4 { n } else { 0 }));
            let fields: Map<String, Value> = (0..10).map(|f| (format!("f{f}"), value(f))).collect();
            body(&Value::Object(fields))
        };
        let kept: Vec<Kept> = (0..8).map(|n| push(&wide(n), &wide(n + 1))).collect();
        let whole: Vec<usize> = (0..8).filter(|n| kept[*n] == Kept::Whole).collect();
        assert_eq!(whole, [4], "{}", kept.len());
    }
}
