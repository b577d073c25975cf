//! One version of an object: serialised once, when it is written.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::kind::Kind;
use crate::clock::Micros;

/// One version of one object, with its JSON.
#[derive(Debug)]
pub struct Object {
    pub kind: Kind,
    /// `metadata.resourceVersion`.
    pub version: u64,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.namespace`; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    pub(super) body: Bytes,
    pub(super) metadata: Range<usize>,
}

impl Object {
    /// The whole object, kind and apiVersion first, as in a watch.
    pub fn json(&self) -> Bytes {
        self.body.clone()
    }

    /// The object without kind, apiVersion and opening brace, for a list item after `{`.
    pub(super) fn item_tail(&self) -> &[u8] {
        &self.body[self.kind.head().len()..]
    }

    /// The JSON of `metadata` alone.
    pub(super) fn metadata(&self) -> &[u8] {
        &self.body[self.metadata.clone()]
    }

    /// The object as a tree.
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub(super) fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }

    /// Serialises `value` with that resourceVersion. `metadata` has its server-side fields by now.
    pub(super) fn encode(kind: Kind, mut value: Map<String, Value>, version: u64) -> Self {
        // Not `remove`: it would put the last field in the place of the removed one.
        value.shift_remove("kind");
        value.shift_remove("apiVersion");
        let mut metadata = match value.shift_remove("metadata") {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        metadata.insert(
            "resourceVersion".to_owned(),
            Value::String(version.to_string()),
        );
        let text = |key: &str| Arc::from(metadata.get(key).and_then(Value::as_str).unwrap_or(""));
        let (uid, namespace, name) = (text("uid"), text("namespace"), text("name"));

        let mut body = Vec::with_capacity(1536);
        body.extend_from_slice(kind.head().as_bytes());
        body.extend_from_slice(br#""metadata":"#);
        let start = body.len();
        write_json(&mut body, &metadata);
        let metadata = start..body.len();
        for (field, content) in &value {
            body.push(b',');
            write_json(&mut body, field);
            body.push(b':');
            write_json(&mut body, content);
        }
        body.push(b'}');
        Self {
            kind,
            version,
            uid,
            namespace,
            name,
            body: Bytes::from(body),
            metadata,
        }
    }

    /// The same object with another resourceVersion, as a DELETED watch event carries it.
    pub(super) fn at_version(&self, version: u64) -> Self {
        match self.to_value() {
            Value::Object(map) => Self::encode(self.kind, map, version),
            // A poisoned object does not parse; its bytes stay as they are.
            _ => Self {
                version,
                uid: self.uid.clone(),
                namespace: self.namespace.clone(),
                name: self.name.clone(),
                body: self.body.clone(),
                metadata: self.metadata.clone(),
                kind: self.kind,
            },
        }
    }
}

fn write_json<T: serde::Serialize + ?Sized>(to: &mut Vec<u8>, what: &T) {
    serde_json::to_writer(to, what).expect("JSON trees serialise, and a Vec takes all");
}

/// The key of an object; keys sort as a list does.
pub(super) fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// `metadata` with the server's fields, in the order of a real server.
pub(super) fn server_fields(
    given: Value,
    current: Option<&Arc<Object>>,
    version: u64,
) -> Map<String, Value> {
    let mut given = match given {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let before = current.map(|c| c.to_value()["metadata"].clone());
    let kept = |key: &str| {
        before
            .as_ref()
            .and_then(|m| m.get(key))
            .filter(|v| !v.is_null())
            .cloned()
    };
    let mut fields = Map::with_capacity(given.len() + 3);
    for key in ["name", "generateName", "namespace"] {
        if let Some(value) = given.shift_remove(key) {
            fields.insert(key.to_owned(), value);
        }
    }
    let uid = kept("uid")
        .or_else(|| given.shift_remove("uid"))
        .unwrap_or_else(|| Value::String(random_uid(version)));
    fields.insert("uid".to_owned(), uid);
    fields.insert(
        "resourceVersion".to_owned(),
        Value::String(version.to_string()),
    );
    let created = kept("creationTimestamp")
        .or_else(|| {
            given
                .shift_remove("creationTimestamp")
                .filter(|v| !v.is_null())
        })
        .unwrap_or_else(|| Value::String(Micros::now().seconds_text().to_string()));
    fields.insert("creationTimestamp".to_owned(), created);
    for key in ["uid", "resourceVersion", "creationTimestamp"] {
        given.shift_remove(key);
    }
    fields.extend(given);
    fields
}

/// A version 4 UUID from the process's hash keys, which the system seeds at random.
fn random_uid(version: u64) -> String {
    use std::hash::{BuildHasher, RandomState};
    let high = u128::from(RandomState::new().hash_one(version));
    let low = u128::from(RandomState::new().hash_one(!version));
    crate::generator::uuid_text(high << 64 | low)
}
