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

use kube9_model::change::body::{Shape, escaped};
use kube9_model::change::path::Segment;
use kube9_model::change::stored::{Fields, Stored};

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
pub(super) fn holds(fields: &Stored, path: &[Segment], body: &Stored) -> Holds {
    match fields.as_map() {
        // An empty root holds nothing; anywhere else empty means a leaf.
        Some(fields) if !fields.is_empty() => match inside(fields, path, 0, Some(body)) {
            Holds::Whole(depth) if depth < path.len() && is_granular(&path[depth - 1]) => Holds::No,
            held => held,
        },
        _ => Holds::No,
    }
}

/// `depth`: how many segments of the path are above `fields`.
fn inside(fields: &Fields, path: &[Segment], depth: usize, body: Option<&Stored>) -> Holds {
    if fields.is_empty() {
        return Holds::Whole(depth);
    }
    let Some(segment) = path.get(depth) else {
        return Holds::Parts;
    };
    let next = match segment {
        Segment::Field(name) => {
            let value = body.and_then(|body| body.get(&escaped(name)));
            fields.get(&format!("f:{name}")).map(|held| (held, value))
        }
        Segment::Element(key) => {
            let value = body.and_then(|body| element(body, key));
            value.and_then(|value| Some((held_element(fields, value)?, Some(value))))
        }
        Segment::Index(index) => {
            let value = body.and_then(|body| match Shape::of(body) {
                Shape::List(list) => list.elements().get(*index as usize).copied(),
                _ => None,
            });
            fields
                .get(&format!("i:{index}"))
                .or_else(|| held_element(fields, value?))
                .map(|held| (held, value))
        }
    };
    match next {
        Some((Stored::Map(held), value)) => inside(held, path, depth + 1, value),
        _ => Holds::No,
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
fn held_element<'f>(fields: &'f Fields<'f>, element: &Stored) -> Option<&'f Stored<'f>> {
    let is_element = |name: &str| {
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
    fields
        .iter()
        .find(|(name, _)| is_element(name))
        .map(|(_, held)| held)
}
