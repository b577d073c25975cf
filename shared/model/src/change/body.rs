//! The stored form of an object's body.
//!
//! ```text
//!   the API's JSON                       stored
//!   [{"name":"a"},{"name":"b"}]          {"~":["a","b"],"a":{"name":"a"},"b":{"name":"b"}}
//!   ["x","y"], or a repeated name        as it is
//!   null                                 {"~":"null"}
//!   a hidden value                       {"~":"#0123456789abcdef"}
//!   a part that is too large             {"~":"#0123456789abcdef","size":70000}
//!   {"~":1}                              {"~~":1}: a key that begins with ~ gets one more
//! ```
//!
//! A list with identities is a map, so that a merge patch (RFC 7396) changes one element and not the list. A body holds no
//! null, since a merge patch cannot set one.
//!
//! Invariant: an object has the key `~` only if it is one of the above.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

use super::automaton::{Automaton, State};
use super::path::{Path, Segment};
use super::rules::{Field, Identity, Rules};
use super::stored::{Entry, Fields, Stored};

/// The key that makes an object special.
pub const SPECIAL: &str = "~";

/// The key of the size of a part that is too large.
pub const SIZE: &str = "size";

const NULL: &str = "null";

/// Digits of a mark that are shown; sixteen are stored.
const SHOWN_DIGITS: usize = 8;

/// How a redacted part of a text begins: `[REDACTED #0123456789abcdef]`.
pub const REDACTED_START: &str = "[REDACTED #";

/// Longest identity of an element; a longer one is content.
const IDENTITY_BYTES_MAX: usize = 256;

/// The stored form of an object's body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Body<'t>(Stored<'t>);

/// The text is not a stored body.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// It is not JSON.
    #[error("stored body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("stored body is not a JSON object")]
    NotAnObject,
}

impl<'t> Body<'t> {
    /// From a value in the stored form.
    pub const fn from_stored(fields: Fields<'t>) -> Self {
        Self(Stored::Map(fields))
    }

    /// Reads a stored text.
    ///
    /// # Errors
    /// The text is not a JSON object.
    pub fn parse(text: &'t str) -> Result<Self, BadBody> {
        match Stored::parse(text)? {
            value @ Stored::Map(_) => Ok(Self(value)),
            _ => Err(BadBody::NotAnObject),
        }
    }

    /// A copy that does not need the text that it was read from.
    pub fn into_owned(self) -> Body<'static> {
        Body(self.0.into_owned())
    }

    /// The text that is stored.
    pub fn to_text(&self) -> String {
        self.0.to_text()
    }

    /// The value in the stored form.
    pub const fn stored(&self) -> &Stored<'t> {
        &self.0
    }

    /// The value in the stored form, for patches.
    pub(super) const fn stored_mut(&mut self) -> &mut Stored<'t> {
        &mut self.0
    }

    /// The object as the API has it, with marks where values are hidden.
    pub fn plain(&self) -> Value {
        plain(&self.0)
    }

    /// The fields whose values are hidden, in part or whole, or too large.
    pub fn hidden_fields(&self) -> Vec<Path> {
        let (mut found, mut path) = (Vec::new(), Vec::new());
        collect_hidden(&self.0, &mut path, &mut found);
        found
    }

    /// The stored form of an object that a user wrote: a manifest. Nothing in it is hidden.
    pub fn of_manifest(rules: &Rules, object: &Value) -> Result<Body<'static>, BadBody> {
        let text = object.to_string();
        let value = serde_json::from_str::<Stored<'_>>(&text)?.into_owned();
        match store(rules, Automaton::<Field>::ROOT, value) {
            value @ Stored::Map(_) => Ok(Body(value)),
            _ => Err(BadBody::NotAnObject),
        }
    }

    /// Whether all of it is there: no value is hidden and no part too large.
    pub fn is_complete(&self) -> bool {
        is_complete(&self.0)
    }
}

/// What a stored value stands for.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'v> {
    /// A text, a number or a boolean.
    Scalar(&'v Stored<'v>),
    /// An object, or a map of texts.
    Map(&'v Fields<'v>),
    /// A list.
    List(List<'v>),
    /// A null of a custom resource.
    Null,
    /// A hidden value, or a part that is too large.
    Hidden {
        /// `#` and sixteen hexadecimal digits.
        digits: &'v str,
        /// The size of a part that is too large, in bytes.
        size: Option<u64>,
    },
}

impl<'v> Shape<'v> {
    /// What a stored value stands for.
    pub fn of(value: &'v Stored<'v>) -> Self {
        match value {
            Stored::List(elements) => Self::List(List::Array(elements)),
            Stored::Map(fields) => match fields.get(SPECIAL) {
                None => Self::Map(fields),
                Some(Stored::List(order)) => Self::List(List::Keyed { order, fields }),
                Some(Stored::Text(text)) if **text == *NULL => Self::Null,
                Some(Stored::Text(digits)) => Self::Hidden {
                    digits,
                    size: match fields.get(SIZE) {
                        Some(Stored::Number(size)) => size.as_u64(),
                        _ => None,
                    },
                },
                // Not written by kube9.
                Some(_) => Self::Map(fields),
            },
            _ => Self::Scalar(value),
        }
    }
}

/// A stored list.
#[derive(Debug, Clone, Copy)]
pub enum List<'v> {
    /// Its elements have no identities.
    Array(&'v [Stored<'v>]),
    /// Its elements by their identities.
    Keyed {
        /// The keys, in the list's order.
        order: &'v [Stored<'v>],
        /// The elements; also the order.
        fields: &'v Fields<'v>,
    },
}

impl<'v> List<'v> {
    /// Its elements, in order.
    pub fn elements(self) -> Vec<&'v Stored<'v>> {
        match self {
            Self::Array(elements) => elements.iter().collect(),
            Self::Keyed { order, fields } => order
                .iter()
                .filter_map(|key| fields.get(key.as_text()?))
                .collect(),
        }
    }

    /// How many elements it has.
    pub const fn len(self) -> usize {
        match self {
            Self::Array(elements) => elements.len(),
            Self::Keyed { order, .. } => order.len(),
        }
    }

    /// Whether it has no elements.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A key as it is stored.
pub fn escaped(key: &str) -> Cow<'_, str> {
    if key.starts_with(SPECIAL) {
        Cow::Owned(format!("{SPECIAL}{key}"))
    } else {
        Cow::Borrowed(key)
    }
}

/// A stored key as the API has it.
pub fn unescaped(key: &str) -> &str {
    match key.strip_prefix(SPECIAL) {
        Some(rest) if rest.starts_with(SPECIAL) => rest,
        _ => key,
    }
}

/// The stored form of a null.
pub fn null() -> Stored<'static> {
    special(Cow::Borrowed(NULL))
}

/// The stored form of a hidden value.
pub fn hidden(digits: u64) -> Stored<'static> {
    special(format!("#{digits:016x}").into())
}

/// The stored form of a part that is too large.
pub fn too_large(digits: u64, size: u64) -> Stored<'static> {
    let mut value = hidden(digits);
    if let Stored::Map(fields) = &mut value {
        fields.insert(SIZE.into(), Stored::Number(size.into()));
    }
    value
}

fn special(text: Cow<'static, str>) -> Stored<'static> {
    Stored::Map(Fields::new(vec![(SPECIAL.into(), Stored::Text(text))]))
}

/// The stored form of a list whose elements have these identities.
pub fn keyed<'t>(elements: Vec<Stored<'t>>, identities: &[String]) -> Stored<'t> {
    let keys = identities
        .iter()
        .map(|text| Cow::Owned(escaped(text).into_owned()));
    let order = keys.clone().map(Stored::Text).collect();
    let mut fields = Vec::with_capacity(elements.len() + 1);
    fields.push((SPECIAL.into(), Stored::List(order)));
    fields.extend(keys.zip(elements));
    Stored::Map(Fields::new(fields))
}

/// The identities of a list's elements: by the first of `choices` that each element has, and no two share.
pub fn identities<'v>(
    choices: &[Identity],
    elements: impl Iterator<Item = &'v Stored<'v>> + Clone,
) -> Option<Vec<String>> {
    choices.iter().find_map(|choice| {
        let texts: Option<Vec<String>> = elements
            .clone()
            .map(|element| identity(choice, element))
            .collect();
        texts.filter(|texts| !texts.is_empty() && are_distinct(texts))
    })
}

fn are_distinct(texts: &[String]) -> bool {
    const FEW: usize = 16;
    if texts.len() <= FEW {
        return (1..texts.len()).all(|n| !texts[..n].contains(&texts[n]));
    }
    texts.iter().collect::<HashSet<_>>().len() == texts.len()
}

/// The identity of an element, if it has one.
pub fn identity(fields: Identity, element: &Stored) -> Option<String> {
    let mut text = String::new();
    for (n, path) in fields.iter().enumerate() {
        let field = path
            .split('.')
            .try_fold(element, |value, name| value.get(name));
        if n > 0 {
            text.push('/');
        }
        match field {
            Some(Stored::Text(part)) => text.push_str(part),
            Some(Stored::Number(part)) => text.push_str(&part.to_string()),
            // Only the first field must be there: a taint without an effect, a subject without a namespace.
            None if n > 0 => {}
            _ => return None,
        }
    }
    (text.len() <= IDENTITY_BYTES_MAX).then_some(text)
}

/// A stored value as the API has it, with marks where values are hidden.
pub fn plain(value: &Stored) -> Value {
    match Shape::of(value) {
        Shape::Scalar(Stored::Text(text)) => Value::String(with_short_marks(text).into_owned()),
        Shape::Scalar(value) => value.to_value(),
        Shape::Map(fields) => {
            let field = |(key, value): (&str, &Stored)| (unescaped(key).to_owned(), plain(value));
            Value::Object(fields.iter().map(field).collect())
        }
        Shape::List(list) => list.elements().into_iter().map(plain).collect(),
        Shape::Null => Value::Null,
        Shape::Hidden { digits, size } => {
            let digits = digits.get(..=SHOWN_DIGITS).unwrap_or(digits);
            Value::String(match size {
                Some(size) => format!("{digits} ({size} bytes)"),
                None => digits.to_owned(),
            })
        }
    }
}

/// A text whose redacted parts show eight digits of their marks.
fn with_short_marks(text: &str) -> Cow<'_, str> {
    if !text.contains(REDACTED_START) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(REDACTED_START) {
        let (before, mark) = rest.split_at(at + REDACTED_START.len());
        out.push_str(before);
        let digits = mark.bytes().take_while(u8::is_ascii_hexdigit).count();
        rest = if digits == 16 && mark[digits..].starts_with(']') {
            out.push_str(&mark[..SHOWN_DIGITS]);
            &mark[digits..]
        } else {
            mark
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether all of a value is there: nothing is hidden and no part too large.
pub fn is_complete(value: &Stored) -> bool {
    match Shape::of(value) {
        Shape::Scalar(Stored::Text(text)) => !text.contains(REDACTED_START),
        Shape::Scalar(_) | Shape::Null => true,
        Shape::Map(fields) => fields.values().all(is_complete),
        Shape::List(list) => list.elements().into_iter().all(is_complete),
        Shape::Hidden { .. } => false,
    }
}

fn collect_hidden(value: &Stored, path: &mut Vec<Segment>, found: &mut Vec<Path>) {
    let mut inside = |segment: Segment, value: &Stored| {
        path.push(segment);
        collect_hidden(value, path, found);
        path.pop();
    };
    match Shape::of(value) {
        Shape::Map(fields) => {
            for (key, value) in fields.iter() {
                inside(Segment::Field(unescaped(key).into()), value);
            }
        }
        Shape::List(List::Array(elements)) => {
            for (index, value) in (0..).zip(elements) {
                inside(Segment::Index(index), value);
            }
        }
        Shape::List(List::Keyed { order, fields }) => {
            for key in order.iter().filter_map(Stored::as_text) {
                if let Some(value) = fields.get(key) {
                    inside(Segment::Element(unescaped(key).into()), value);
                }
            }
        }
        Shape::Scalar(_) | Shape::Null | Shape::Hidden { .. } => {
            if !is_complete(value) {
                found.push(path.clone().into());
            }
        }
    }
}

/// The stored form of JSON in which nothing is hidden.
fn store<'t>(rules: &Rules, state: State, value: Stored<'t>) -> Stored<'t> {
    let all = rules.automaton();
    match value {
        Stored::Null => null(),
        Stored::List(elements) => {
            let texts = identities(rules.identities(state), elements.iter());
            let elements: Vec<Stored> = elements
                .into_iter()
                .map(|element| store(rules, all.element(state), element))
                .collect();
            match texts {
                Some(texts) => keyed(elements, &texts),
                None => Stored::List(elements),
            }
        }
        Stored::Map(fields) => {
            let field = |(key, value): Entry<'t>| {
                let state = all.step(state, &key);
                let key = Cow::Owned(escaped(&key).into_owned());
                (key, store(rules, state, value))
            };
            Stored::Map(Fields::new(fields.into_iter().map(field).collect()))
        }
        scalar => scalar,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn stored(rules: &Rules, value: Value) -> Body<'static> {
        Body::of_manifest(rules, &value).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::stored;
    use super::*;
    use crate::change::kinds::{BUILT_IN, TrackedKind};

    fn kind(name: &str) -> &'static TrackedKind {
        TrackedKind::find(BUILT_IN.iter(), name).unwrap()
    }

    fn custom() -> TrackedKind {
        TrackedKind::custom(&"x.io/v1/things".parse().unwrap(), "Thing", true)
    }

    #[test]
    fn list_with_identities_is_a_map_with_an_order() {
        let object = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "b", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "a", "args": ["x", "x"]},
        ]}}}});
        let body = stored(kind("deploy").rules, object.clone());
        assert_eq!(
            body.stored().to_value()["spec"]["template"]["spec"]["containers"],
            json!({
                "~": ["b", "a"],
                "b": {"name": "b", "image": "x", "ports": {
                    "~": ["80/TCP"], "80/TCP": {"containerPort": 80, "protocol": "TCP"},
                }},
                "a": {"name": "a", "args": ["x", "x"]},
            })
        );
        assert_eq!(body.plain(), object);
        assert_eq!(Body::parse(&body.to_text()).unwrap(), body);
    }

    #[test]
    fn list_with_a_repeated_or_missing_name_is_an_array() {
        for elements in [
            json!([{"name": "a"}, {"name": "a"}]),
            json!([{"name": "a"}, {"value": "b"}]),
            json!([{"name": "a"}, "b"]),
            json!([{"name": null}]),
            json!([{"name": "x".repeat(IDENTITY_BYTES_MAX + 1)}]),
            json!([]),
        ] {
            let object = json!({"spec": {"volumes": elements}});
            let body = stored(kind("pod").rules, object);
            assert!(
                body.stored().to_value()["spec"]["volumes"].is_array(),
                "{elements}"
            );
        }
    }

    #[test]
    fn odd_keys_and_nulls_survive() {
        let object = json!({
            "~": 1, "~~": {"~": [null, {"~x": null}]}, "": {"": null}, "null": null,
            "a\"\\\u{1}": [1.0, -0.5, 18_446_744_073_709_551_615_u64],
            "list": [{"name": "~"}, {"name": "~~"}, {"name": "null"}, {"name": ""}],
            "ids": [{"id": 2}, {"id": 1}],
        });
        let body = stored(custom().rules, object.clone());
        assert_eq!(body.plain(), object);
        assert_eq!(body.stored().to_value()["ids"]["~"], json!(["2", "1"]));
        assert!(body.is_complete());
    }

    #[test]
    fn mark_is_stored_whole_and_shown_short() {
        let text = "a [REDACTED #0123456789abcdef] b [REDACTED #x]";
        let body = Body::from_stored(Fields::new(vec![
            ("h".into(), hidden(0x0123_4567_89ab_cdef)),
            ("l".into(), too_large(1, 70_000)),
            ("t".into(), text.into()),
        ]));
        assert!(!body.is_complete());
        assert_eq!(
            body.plain(),
            json!({"h": "#01234567", "l": "#00000000 (70000 bytes)", "t": "a [REDACTED #01234567] b [REDACTED #x]"})
        );
    }

    #[test]
    fn body_that_is_not_an_object_is_refused() {
        assert!(matches!(Body::parse("[]"), Err(BadBody::NotAnObject)));
        assert!(matches!(Body::parse("{"), Err(BadBody::Json(_))));
    }
}
