//! Whether an entry of `managedFields` holds a path (`fieldsV1` of structured-merge-diff).
//!
//! ```text
//!   {"f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}}
//!
//!   f:NAME   a field                       {}   a leaf: the field and all that is in it
//!   k:{…}    an element, by its keys       .    the element or map itself
//!   v:VALUE  an element of a set
//!   i:INDEX  an element by its index
//! ```
//!
//! The keys of an element are compared with the element itself, so no schema is needed: the identities by which kube9 stores
//! lists may be others than those of the API server.
//!
//! Most entries hold a hundred fields, of which a path meets ten: no tree is made of them, but a list in the order of the text.

use std::borrow::Cow;

use kube9_model::change::body::{Shape, escaped};
use kube9_model::change::path::Segment;
use kube9_model::change::stored::Stored;

/// What an entry manages.
#[derive(Debug)]
pub(super) struct OwnedFields<'j>(Vec<Owned<'j>>);

/// A field, an element, or the map itself.
#[derive(Debug)]
struct Owned<'j> {
    /// The key, as the JSON has it between its quotes.
    key: &'j str,
    /// How many are inside it: they follow.
    inside: usize,
}

impl Owned<'_> {
    /// The key without escapes.
    fn key(&self) -> Option<Cow<'_, str>> {
        if self.key.contains('\\') {
            let text = serde_json::from_str(&format!("\"{}\"", self.key)).ok()?;
            return Some(Cow::Owned(text));
        }
        Some(Cow::Borrowed(self.key))
    }

    fn is(&self, tag: &str, name: &str) -> bool {
        self.key()
            .is_some_and(|key| key.strip_prefix(tag) == Some(name))
    }
}

/// Maps within maps.
const DEPTH_MAX: usize = 128;

impl<'j> OwnedFields<'j> {
    /// Reads the JSON of `fieldsV1`; `None` if it is not what the API server sends.
    pub(super) fn read(json: &'j str) -> Option<Self> {
        let bytes = json.as_bytes();
        let (mut all, mut open) = (Vec::<Owned<'j>>::new(), Vec::new());
        let (mut at, mut is_key_next) = (0, false);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'{' if is_key_next || open.len() > DEPTH_MAX => return None,
                b'{' => {
                    open.push(all.len());
                    is_key_next = true;
                }
                b'}' => {
                    let from = open.pop()?;
                    if let Some(last) = from.checked_sub(1) {
                        all[last].inside = all.len() - from;
                    }
                    is_key_next = true;
                }
                b'"' if is_key_next => {
                    let end = end_of_text(bytes, at)?;
                    let key = json.get(at..end)?;
                    all.push(Owned { key, inside: 0 });
                    (at, is_key_next) = (end + 1, false);
                }
                b':' | b',' | b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => return None,
            }
        }
        open.is_empty().then_some(Self(all))
    }
}

/// Where the quote is that ends a text.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What is inside one map: each with what is inside that.
fn fields<'f, 'j>(
    mut all: &'f [Owned<'j>],
) -> impl Iterator<Item = (&'f Owned<'j>, &'f [Owned<'j>])> {
    std::iter::from_fn(move || {
        let (first, rest) = all.split_first()?;
        let (inside, rest) = rest.split_at_checked(first.inside)?;
        all = rest;
        Some((first, inside))
    })
}

/// How an entry holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Not at all.
    No,
    /// The field, or a field that it is in and that is managed as one: how many segments of the path are held.
    Whole(usize),
    /// Something inside the field.
    Parts,
}

impl Holds {
    /// How much of a path is held; the entry that holds most of it manages the field.
    pub(super) const fn depth(self) -> usize {
        match self {
            Self::No => 0,
            Self::Whole(depth) => depth,
            Self::Parts => usize::MAX,
        }
    }
}

/// Maps whose keys are managed one by one: an entry that holds such a map as a whole has lost its keys.
fn is_granular(segment: &Segment) -> bool {
    matches!(segment, Segment::Field(name) if matches!(&**name, "labels" | "annotations" | "data" | "binaryData"))
}

/// How `fields` hold the path of a value in `body`.
pub(super) fn holds(fields: &OwnedFields<'_>, path: &[Segment], body: &Stored) -> Holds {
    // An empty root holds nothing; anywhere else empty means a leaf.
    if fields.0.is_empty() {
        return Holds::No;
    }
    match inside(&fields.0, path, 0, Some(body)) {
        Holds::Whole(depth) if depth < path.len() && is_granular(&path[depth - 1]) => Holds::No,
        held => held,
    }
}

/// `depth`: how many segments of the path are above these.
fn inside(all: &[Owned<'_>], path: &[Segment], depth: usize, body: Option<&Stored>) -> Holds {
    if all.is_empty() {
        return Holds::Whole(depth);
    }
    let Some(segment) = path.get(depth) else {
        return Holds::Parts;
    };
    let held = |tag: &str, name: &str| fields(all).find(|(one, _)| one.is(tag, name));
    let next = match segment {
        Segment::Field(name) => {
            let value = body.and_then(|body| body.get(&escaped(name)));
            held("f:", name).map(|(_, held)| (held, value))
        }
        Segment::Element(key) => {
            let value = body.and_then(|body| element(body, key));
            value.and_then(|value| Some((held_element(all, value)?, Some(value))))
        }
        Segment::Index(index) => {
            let value = body.and_then(|body| match Shape::of(body) {
                Shape::List(list) => list.elements().get(*index as usize).copied(),
                _ => None,
            });
            held("i:", &index.to_string())
                .map(|(_, held)| held)
                .or_else(|| held_element(all, value?))
                .map(|held| (held, value))
        }
    };
    match next {
        Some((held, value)) => inside(held, path, depth + 1, value),
        None => Holds::No,
    }
}

/// An element by its identity; also of a list with one element, which may be stored by another identity.
fn element<'v>(list: &'v Stored<'v>, key: &str) -> Option<&'v Stored<'v>> {
    let by_key = list.as_map().and_then(|fields| fields.get(&escaped(key)));
    by_key.or_else(|| match Shape::of(list) {
        Shape::List(list) if list.len() == 1 => list.elements().first().copied(),
        _ => None,
    })
}

/// What is held of an element.
fn held_element<'f, 'j>(all: &'f [Owned<'j>], element: &Stored) -> Option<&'f [Owned<'j>]> {
    let is_element = |one: &Owned<'j>| {
        let Some(name) = one.key() else {
            return false;
        };
        if let Some(keys) = name.strip_prefix("k:") {
            let keys: Option<Stored<'_>> = serde_json::from_str(keys).ok();
            return keys.as_ref().and_then(Stored::as_map).is_some_and(|keys| {
                let is_same = |(key, value): (&str, &Stored)| element.get(key) == Some(value);
                !keys.is_empty() && keys.iter().all(is_same)
            });
        }
        name.strip_prefix("v:")
            .and_then(|value| serde_json::from_str::<Stored<'_>>(value).ok())
            .is_some_and(|value| value == *element)
    };
    fields(all)
        .find(|(one, _)| is_element(one))
        .map(|(_, held)| held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_the_order_of_the_text() {
        let json = r#"{ "f:a": {".": {}, "k:{\"name\":\"}\"}": {"f:x\u003c": {}}},
            "f:b":{} }"#;
        let OwnedFields(all) = OwnedFields::read(json).unwrap();
        let read: Vec<(String, usize)> = all
            .iter()
            .map(|one| (one.key().unwrap().into_owned(), one.inside))
            .collect();
        let expected = [
            ("f:a", 3),
            (".", 0),
            (r#"k:{"name":"}"}"#, 1),
            ("f:x<", 0),
            ("f:b", 0),
        ];
        assert_eq!(read, expected.map(|(key, inside)| (key.to_owned(), inside)));
        let top: Vec<&str> = fields(&all).map(|(one, _)| one.key).collect();
        assert_eq!(top, ["f:a", "f:b"]);
        assert!(OwnedFields::read("{}").unwrap().0.is_empty());
    }

    #[test]
    fn what_is_not_maps_alone_is_not_read() {
        let deep = |depth: usize| format!("{}{{}}{}", "{\"f:a\":".repeat(depth), "}".repeat(depth));
        assert!(OwnedFields::read(&deep(DEPTH_MAX)).is_some());
        for json in [
            r#"{"f:a":1}"#,
            r#"{"f:a":"f:b"}"#,
            r#"{"f:a":["f:b"]}"#,
            r#"{"f:a":null}"#,
            "null",
            "[]",
            "7",
            r#""f:a""#,
            r#"{"f:a":{}"#,
            &deep(DEPTH_MAX + 1),
        ] {
            assert!(OwnedFields::read(json).is_none(), "{json}");
        }
    }
}
