//! Makes text safe to store and to print: redacts secrets, bounds lengths, escapes invisible characters. Pure.
//!
//! [`Redacted`] rows come from bodies, which were redacted before; only bounds and escapes are left for them.
//!
//! [`Sanitized`] (a row) and [`Clean`] (a text beside the rows: facts, findings) can only be made here, and the queue accepts
//! nothing else, so no producer can skip it.
//!
//! Invariant: no text of a [`Sanitized`] contains a character below U+0020. The store uses those as placeholders.
//! Invariant: redaction runs before truncation, so that a cut never leaves half a secret that no pattern recognizes.
//! Invariant: sanitizing twice changes nothing.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use kube9_model::ObjectRef;
use kube9_model::change::body::Body;
use kube9_model::hash::stable_hash;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::invisible::{is_invisible_in_name, is_invisible_in_text};
use kube9_model::record::{Observation, Occurred, Record};
use serde::Serialize;
use serde_json::{Map, Value};

use super::truncate::{
    Limit, drop_oversized_fields, json_bytes, json_bytes_of_map, truncate_fields, truncation_point,
};
use crate::intern_keys::InternKeys;
use crate::redact::{REDACTED, is_secret_pair, redact};
use crate::sensitive_key::{Sensitivity, sensitivity};
use crate::template::{self, StoredMessage};

/// Longest title, in characters, with its ellipsis.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest description, and longest text in the metadata, in bytes with its ellipsis.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Largest metadata, in bytes of JSON.
pub const EXTRA_BYTES_MAX: usize = 10 * 1024;
/// Longest name, kind, namespace, component, container, node or key, in bytes: what Kubernetes allows for a name.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest reason (the API server allows 128), type, uid or resourceVersion, in bytes.
pub const WORD_BYTES_MAX: usize = 128;

/// Metadata nested deeper than this is cut.
const DEPTH_MAX: usize = 16;
/// Fields of the metadata beyond this number are cut.
const FIELDS_MAX: usize = 128;
/// `,"truncated":true`
const TRUNCATED_BYTES: usize = 17;
const TRUNCATED: &str = "truncated";
/// A cut or an escape can make text look like a secret, so another round is needed. No test has needed more than two.
const ROUNDS_MAX: usize = 6;

/// A row that is safe to store. The only ways to make one are [`sanitize`] and [`Redacted::sanitize`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sanitized {
    record: Record,
    /// The description, split on the producer's thread: the single writer must keep up with all producers.
    text: StoredMessage,
    intern_keys: InternKeys,
    /// Its memory, counted here so that the queue does not read its texts.
    bytes: usize,
}

impl Sanitized {
    /// The row.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its description as the store keeps it.
    pub fn text(&self) -> &StoredMessage {
        &self.text
    }

    /// The keys under which the store interns its names.
    pub fn intern_keys(&self) -> &InternKeys {
        &self.intern_keys
    }

    /// Approximate memory, for bounds in bytes.
    pub fn approximate_bytes(&self) -> usize {
        self.bytes
    }
}

fn memory(r: &Record, text: &StoredMessage, intern_keys: &InternKeys) -> usize {
    let objects = r
        .object
        .iter()
        .chain(&r.owner)
        .map(|o| o.kind.len() + o.namespace.len() + o.name.len());
    let identity = match &r.occurred {
        Occurred::Observed(seen) => seen.uid.heap_bytes() + seen.version.heap_bytes(),
        Occurred::At(_) => 0,
    };
    let words = [
        &r.title,
        &r.description,
        &r.reason,
        &r.component,
        &r.container,
        &r.kube_type,
        &r.api_group,
    ];
    size_of::<Sanitized>()
        + words.iter().map(|text| text.len()).sum::<usize>()
        + objects.sum::<usize>()
        + r.node.as_ref().map_or(0, String::len)
        + identity
        + text.body.len()
        + text.args.as_ref().map_or(0, String::len)
        + intern_keys.heap_bytes()
        + memory_of(&r.extra)
}

/// A row of which each text was redacted when it was made. A body is redacted once, not again with each row of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted {
    record: Record,
    /// Parts of the description that other rows do not have.
    values: Vec<String>,
}

impl Redacted {
    /// The caller proves by the types of its parts that none of them holds a secret.
    pub(crate) const fn new(record: Record, values: Vec<String>) -> Self {
        Self { record, values }
    }

    /// The row.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Bounds the row, as [`sanitize`] does.
    pub fn sanitize(self) -> Sanitized {
        bound(self.record, &self.values, false)
    }
}

/// Redacts a row, then bounds it; marks it `truncated` in its metadata if anything was cut.
pub fn sanitize(record: Record) -> Sanitized {
    bound(record, &[], true)
}

fn bound(record: Record, values: &[String], redacts: bool) -> Sanitized {
    let mut cleaner = Cleaner {
        redacts,
        cut: record.extra.get(TRUNCATED) == Some(&Value::Bool(true)),
    };
    let record = Record {
        event_type: record.event_type,
        severity: record.severity,
        title: cleaner.text(record.title, Limit::Chars(TITLE_CHARS_MAX)),
        description: cleaner.text(record.description, Limit::Bytes(TEXT_BYTES_MAX)),
        object: record.object.map(|object| cleaner.object(object)),
        api_group: cleaner.name(record.api_group, NAME_BYTES_MAX),
        owner: record.owner.map(|owner| cleaner.object(owner)),
        reason: cleaner.name(record.reason, WORD_BYTES_MAX),
        component: cleaner.name(record.component, NAME_BYTES_MAX),
        container: cleaner.name(record.container, NAME_BYTES_MAX),
        kube_type: cleaner.name(record.kube_type, WORD_BYTES_MAX),
        node: record.node.map(|node| cleaner.name(node, NAME_BYTES_MAX)),
        extra: record.extra,
        occurred: match record.occurred {
            Occurred::Observed(seen) => Occurred::Observed(Observation {
                uid: match seen.uid {
                    Uid::Text(text) => Uid::Text(cleaner.identity(text)),
                    bytes @ Uid::Bytes(_) => bytes,
                },
                version: match seen.version {
                    ResourceVersion::Opaque(text) => {
                        ResourceVersion::Opaque(cleaner.identity(text))
                    }
                    number @ ResourceVersion::Number(_) => number,
                },
                ..seen
            }),
            at @ Occurred::At(_) => at,
        },
    };
    let extra = cleaner.extra(record.extra);
    let record = Record { extra, ..record };
    let (name, namespace) = record.object.as_ref().map_or(("", ""), |object| {
        (object.name.as_str(), object.namespace.as_str())
    });
    let text = template::split_values(&record.description, values, name, namespace).into();
    let intern_keys = InternKeys::of(&record);
    Sanitized {
        bytes: memory(&record, &text, &intern_keys),
        text,
        intern_keys,
        record,
    }
}

/// A redacted, escaped and bounded text, for logs and messages that are not rows.
pub fn clean_text(text: &str, bytes_max: usize) -> String {
    Cleaner::default().text(text.to_owned(), Limit::Bytes(bytes_max))
}

/// `namespace/name` of an object as stored beside the rows; nearly always unchanged. A name that looks like a secret, or
/// has characters that no object name has, is replaced by a hash, so that different names stay different. A namespace
/// that looks like a secret is hashed separately, so that its objects stay together.
pub fn clean_name(name: &str) -> Cow<'_, str> {
    let is_clean =
        |text: &str| Cleaner::default().name(text.to_owned(), 2 * NAME_BYTES_MAX) == text;
    if is_clean(name) {
        return Cow::Borrowed(name);
    }
    let hashed = |text: &str| format!("~{:016x}", stable_hash(text.as_bytes()));
    Cow::Owned(match name.split_once('/') {
        Some((namespace, _)) if is_clean(namespace) => format!("{namespace}/{}", hashed(name)),
        Some((namespace, _)) => format!("{}/{}", hashed(namespace), hashed(name)),
        None => hashed(name),
    })
}

/// A text beside the rows that is safe to store. The only ways to make one are its constructors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clean(String);

impl Clean {
    /// The name of an object: see [`clean_name`].
    pub fn name(name: &str) -> Self {
        Self(clean_name(name).into_owned())
    }

    /// Identity of a finding. Its text parts are clean already, and different identities must stay different, so only
    /// control characters are escaped.
    pub fn identity(identity: &str) -> Self {
        Self(escape(identity, |_, c, _| is_invisible_in_name(c)).into_owned())
    }

    /// A value as JSON with clean texts and keys. Unlike in a row, keys do not decide about redaction: they are names of
    /// containers and ConfigMap keys. `None` if the value is not JSON.
    pub fn json(value: &impl Serialize) -> Option<Self> {
        let clean = Cleaner::default().texts(serde_json::to_value(value).ok()?);
        Some(Self(clean.to_string()))
    }

    /// The body of an object, which was redacted when it was made. JSON escapes control characters.
    pub fn body(body: &Body) -> Self {
        Self(body.to_text())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Clean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Cleaner {
    /// The texts may hold secrets.
    redacts: bool,
    /// Something was cut.
    cut: bool,
}

impl Default for Cleaner {
    fn default() -> Self {
        Self {
            redacts: true,
            cut: false,
        }
    }
}

impl Cleaner {
    fn text(&mut self, text: String, limit: Limit) -> String {
        self.clean(text, limit, is_invisible_in_text)
    }

    fn name(&mut self, name: String, bytes_max: usize) -> String {
        self.clean(name, Limit::Bytes(bytes_max), |_, c, _| {
            is_invisible_in_name(c)
        })
    }

    fn clean(&mut self, mut text: String, limit: Limit, hides: Hides) -> String {
        for _ in 0..ROUNDS_MAX {
            let redacted = if self.redacts {
                redact(&text)
            } else {
                Cow::Borrowed(&*text)
            };
            let escaped = escape(&redacted, hides);
            let kept = truncation_point(&escaped, limit);
            if kept == escaped.len()
                && matches!((&redacted, &escaped), (Cow::Borrowed(_), Cow::Borrowed(_)))
            {
                return text;
            }
            let next = if kept < escaped.len() {
                self.cut = true;
                format!("{}…", &escaped[..kept])
            } else {
                escaped.into_owned()
            };
            if next == text {
                return text;
            }
            text = next;
        }
        text
    }

    fn object(&mut self, object: ObjectRef) -> ObjectRef {
        ObjectRef {
            kind: self.name(object.kind, NAME_BYTES_MAX),
            namespace: self.name(object.namespace, NAME_BYTES_MAX),
            name: self.name(object.name, NAME_BYTES_MAX),
        }
    }

    /// An identity is never a secret, and different identities must stay different.
    fn identity(&mut self, identity: String) -> String {
        let escaped = match escape(&identity, |_, c, _| is_invisible_in_name(c)) {
            Cow::Borrowed(_) => None,
            Cow::Owned(escaped) => Some(escaped),
        };
        let mut identity = escaped.unwrap_or(identity);
        if identity.len() > WORD_BYTES_MAX {
            self.cut = true;
            identity.truncate(identity.floor_char_boundary(WORD_BYTES_MAX));
        }
        identity
    }

    fn extra(&mut self, extra: Map<String, Value>) -> Map<String, Value> {
        if extra.is_empty() && !self.cut {
            return extra;
        }
        let mut extra = self.map(extra, 0);
        if self.cut {
            // Added again at the end; it must not count twice.
            extra.shift_remove(TRUNCATED);
        }
        let bytes_max = EXTRA_BYTES_MAX - TRUNCATED_BYTES;
        let mut budget = bytes_max;
        let fits = |extra: &Map<String, Value>| {
            json_bytes_of_map(extra) <= bytes_max && extra.len() <= FIELDS_MAX
        };
        for _ in 0..ROUNDS_MAX {
            if fits(&extra) {
                break;
            }
            self.cut = true;
            extra = self.map(truncate_fields(extra, FIELDS_MAX, budget), 0);
            // A truncated text may look like a secret now, and its marker is longer: reduce the budget by that much.
            budget = budget.saturating_sub(json_bytes_of_map(&extra).saturating_sub(bytes_max));
        }
        if !fits(&extra) {
            drop_oversized_fields(&mut extra, bytes_max);
        }
        if self.cut {
            extra.insert(TRUNCATED.to_owned(), Value::Bool(true));
        }
        extra
    }

    fn map(&mut self, map: Map<String, Value>, depth: usize) -> Map<String, Value> {
        if !self.redacts {
            let field = |(key, value)| {
                let key = self.name(key, NAME_BYTES_MAX);
                (key, self.value(value, depth))
            };
            return map.into_iter().map(field).collect();
        }
        // {"name": "DB_PASSWORD", "value": "…"}, as containers list their environment
        let named = ["name", "key"]
            .iter()
            .filter_map(|field| map.get(*field)?.as_str());
        let named = named
            .max_by_key(|name| sensitivity(name))
            .map(str::to_owned);
        let mut cleaned = Map::with_capacity(map.len());
        for (key, value) in map {
            let of_name = named.as_ref().filter(|_| key == "value");
            let secret = holds_secret(of_name.unwrap_or(&key), &value);
            let key = self.name(key, NAME_BYTES_MAX);
            let value = if secret || holds_secret(&key, &value) {
                Value::String(REDACTED.to_owned())
            } else {
                self.value(value, depth)
            };
            cleaned.insert(key, value);
        }
        cleaned
    }

    /// Cleans every text of a value that the recorder made, at any depth.
    fn texts(&mut self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, Limit::Bytes(TEXT_BYTES_MAX))),
            Value::Array(values) => values.into_iter().map(|value| self.texts(value)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (self.name(key, NAME_BYTES_MAX), self.texts(value)))
                .collect(),
            plain => plain,
        }
    }

    fn value(&mut self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, Limit::Bytes(TEXT_BYTES_MAX))),
            Value::Array(_) | Value::Object(_) if depth >= DEPTH_MAX => {
                self.cut = true;
                Value::String("…".to_owned())
            }
            Value::Array(values) => Value::Array(
                values
                    .into_iter()
                    .map(|value| self.value(value, depth + 1))
                    .collect(),
            ),
            Value::Object(map) => Value::Object(self.map(map, depth + 1)),
            plain => plain,
        }
    }
}

/// Whether a value under this key is a secret: a text or number as redaction judges `"key":"value"`, an object or list
/// if it contains one. A boolean is never a secret.
fn holds_secret(key: &str, value: &Value) -> bool {
    let sensitivity = sensitivity(key);
    match value {
        Value::String(text) => is_secret_pair(key, text),
        _ if sensitivity == Sensitivity::None => false,
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => is_secret_pair(key, &number.to_string()),
        Value::Array(_) | Value::Object(_) if sensitivity == Sensitivity::Certain => true,
        Value::Array(values) => values.iter().any(|value| holds_secret(key, value)),
        Value::Object(map) => {
            sensitivity >= Sensitivity::Likely && map.values().any(|value| holds_secret(key, value))
        }
    }
}

/// Whether a character between these two must be escaped.
type Hides = fn(Option<char>, char, Option<char>) -> bool;

/// Escapes control characters and invisible characters.
fn escape(text: &str, hides: Hides) -> Cow<'_, str> {
    // The common case. Branch-free, so that the compiler vectorizes it.
    if text
        .bytes()
        .fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~'))
    {
        return Cow::Borrowed(text);
    }
    let mut escaped: Option<String> = None;
    let mut chars = text.char_indices().peekable();
    let mut before = None;
    while let Some((at, c)) = chars.next() {
        let after = chars.peek().map(|&(_, after)| after);
        if hides(before, c, after) {
            let escaped = escaped.get_or_insert_with(|| {
                let mut escaped = String::with_capacity(text.len() + 16);
                escaped.push_str(&text[..at]);
                escaped
            });
            match c {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                // Writing to a String cannot fail.
                c => drop(write!(escaped, "\\u{{{:x}}}", u32::from(c))),
            }
            before = escaped.chars().next_back();
        } else {
            escaped.iter_mut().for_each(|escaped| escaped.push(c));
            before = Some(c);
        }
    }
    escaped.map_or(Cow::Borrowed(text), Cow::Owned)
}

fn memory_of(map: &Map<String, Value>) -> usize {
    let of_value = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Array(_) => json_bytes(value) * 4,
        Value::Object(map) => memory_of(map),
        _ => 0,
    };
    map.iter()
        .map(|(key, value)| {
            2 * size_of::<Value>() + size_of::<String>() + key.len() + of_value(value)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use kube9_model::time::Timestamp;
    use kube9_model::{EventType, Severity};
    use serde_json::json;

    use super::*;

    fn record(description: &str, extra: Value) -> Record {
        let Value::Object(extra) = extra else {
            panic!("extra is an object")
        };
        Record {
            event_type: EventType::Cluster,
            severity: Severity::Info,
            title: "Title".to_owned(),
            description: description.to_owned(),
            object: Some(ObjectRef {
                kind: "Pod".into(),
                namespace: "ns".into(),
                name: "p".into(),
            }),
            api_group: String::new(),
            owner: None,
            reason: "Reason".to_owned(),
            component: "kubelet".to_owned(),
            container: "app".to_owned(),
            kube_type: "Normal".to_owned(),
            node: Some("n".to_owned()),
            extra,
            occurred: Occurred::At(Timestamp::EPOCH),
        }
    }

    fn extra(given: Value) -> Value {
        Value::Object(sanitize(record("", given)).record().clone().extra)
    }

    #[test]
    fn sanitize_ordinary_row_is_unchanged() {
        let given = record(
            "Back-off pulling image \"é:1\"",
            json!({"a": [1, {"b": null}]}),
        );
        assert_eq!(sanitize(given.clone()).record().clone(), given);
    }

    #[test]
    fn sanitize_redacts_every_text() {
        let secret = "password=hunter2hunter2";
        let object = ObjectRef {
            kind: secret.into(),
            namespace: secret.into(),
            name: secret.into(),
        };
        let given = Record {
            title: secret.into(),
            object: Some(object.clone()),
            owner: Some(object),
            reason: secret.into(),
            component: secret.into(),
            container: secret.into(),
            kube_type: secret.into(),
            node: Some(secret.into()),
            ..record(
                secret,
                json!({secret: {"deep": [secret]}, "token": ["hunter2hunter2"]}),
            )
        };
        let clean = format!("{:?}", sanitize(given));
        assert!(
            !clean.contains("hunter2") && clean.contains(REDACTED),
            "{clean}"
        );
    }

    #[test]
    fn sanitize_sensitive_key_redacts_value_at_any_depth() {
        let hidden = json!(REDACTED);
        assert_eq!(
            extra(
                json!({"a": {"dbPassword": {"x": 1}, "author": "me", "l": [{"api_key": 7, "n": 7}]}, "auth": ""})
            ),
            json!({"a": {"dbPassword": hidden, "author": "me", "l": [{"api_key": hidden, "n": 7}]}, "auth": ""})
        );
        assert_eq!(
            extra(
                json!({"env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "HOME", "value": "/"}]})
            ),
            json!({"env": [{"name": "DB_PASSWORD", "value": hidden}, {"name": "HOME", "value": "/"}]})
        );
        assert_eq!(
            extra(json!({"s": "{\"x\":{\"token\":\"abc\"}}"})),
            json!({"s": "{\"x\":{\"token\":\"[REDACTED]\"}}"})
        );
        assert_eq!(
            extra(json!({"looks_secret": true, "token": null})),
            json!({"looks_secret": true, "token": null})
        );
        // What only says something of a secret stays, and so do names, states and numbers.
        let said = json!({
            "tokenFile": "/run/token", "secretName": "db-creds", "token_ttl": "768h", "tokens": 12, "auth": {"status": "DOWN"},
            "secret": "shop/db-creds", "passwordRef": "db", "api_key": "required", "env": [{"name": "TOKEN_URL", "value": "https://x"}]
        });
        assert_eq!(extra(said.clone()), said);
        assert_eq!(
            extra(
                json!({"auth": {"x": ["k3vN8qPz1LmW"]}, "STRIPE_KEY": "k3vN8qPz1LmW0aRt", "passwords": ["a", "b"], "passwordFile": "k3vN8qPz1LmW0aRt"})
            ),
            json!({"auth": hidden, "STRIPE_KEY": hidden, "passwords": hidden, "passwordFile": hidden})
        );
    }

    #[test]
    fn sanitize_escapes_control_characters() {
        let given = "a\nb\tc\r\u{0}\u{1b}[31m\u{7f}\u{85}\u{202e}\u{2066}\u{2028}é😀";
        let expected = "a\\nb\\tc\\r\\u{0}\\u{1b}[31m\\u{7f}\\u{85}\\u{202e}\\u{2066}\\u{2028}é😀";
        assert_eq!(
            sanitize(record(given, json!({}))).record().description,
            expected
        );
        assert_eq!(
            extra(json!({"a\nb": "c\u{7}"})),
            json!({"a\\nb": "c\\u{7}"})
        );
    }

    #[test]
    fn sanitize_escapes_joiners_in_names_but_not_in_sentences() {
        let emoji = "👩\u{200d}👧 ⚠\u{fe0f} می\u{200c}خواهم";
        let name = "we\u{200b}b\u{a0}❤\u{fe0f}\u{e0041}";
        let shown = "we\\u{200b}b\\u{a0}❤\\u{fe0f}\\u{e0041}";
        let given = Record {
            title: emoji.into(),
            reason: name.into(),
            container: name.into(),
            node: Some(name.into()),
            object: Some(ObjectRef {
                kind: name.into(),
                namespace: name.into(),
                name: name.into(),
            }),
            ..record(&format!("{emoji} a\u{200b}b\u{2800}"), json!({name: emoji}))
        };
        let kept = sanitize(given).record().clone();
        let object = kept.object.clone().unwrap();
        for name in [
            &kept.reason,
            &kept.container,
            kept.node.as_ref().unwrap(),
            &object.kind,
            &object.namespace,
            &object.name,
        ] {
            assert_eq!(name, shown);
        }
        assert_eq!(kept.title, emoji);
        assert_eq!(
            kept.description,
            format!("{emoji} a\\u{{200b}}b\\u{{2800}}")
        );
        assert_eq!(kept.extra[shown], emoji);
        assert_eq!(sanitize(kept.clone()).record().clone(), kept);
    }

    #[test]
    fn clean_name_secret_shape_stays_distinct() {
        assert_eq!(clean_name("shop/web-5d9c7b-x2x7k"), "shop/web-5d9c7b-x2x7k");
        let names = [
            "shop/a-password=hunter2hunter2",
            "shop/a-password=hunter3hunter3",
            "shop/we\u{200b}b",
        ];
        for name in names {
            let clean = clean_name(name).into_owned();
            assert!(clean != name && !clean.contains("hunter"), "{clean}");
            assert_eq!(clean_name(&clean), clean);
            assert_eq!(
                names
                    .iter()
                    .filter(|other| clean_name(other) == clean)
                    .count(),
                1
            );
        }
    }

    #[test]
    fn clean_name_secret_shaped_namespace_keeps_its_objects_together() {
        let namespaces = [
            "glpat-abcdefghij0123456789",
            "glpat-abcdefghij0123456780",
            "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c",
            "xoxb-123456789012-1234567890123-abcdefghijklmnopqrstuvwx",
        ];
        let of = |namespace: &str| {
            let names = [
                "web",
                "web-5d9c7b-x2x7k",
                "a.b",
                "kube-root-ca.crt",
                namespace,
            ];
            let clean = names.map(|name| clean_name(&format!("{namespace}/{name}")).into_owned());
            let parts = clean.iter().map(|clean| clean.split_once('/').unwrap());
            let (within, names): (Vec<_>, Vec<_>) = parts.map(|(a, b)| (a.to_owned(), b)).unzip();
            assert!(within.iter().all(|one| *one == within[0]), "{clean:?}");
            assert!(
                names
                    .iter()
                    .all(|name| names.iter().filter(|n| *n == name).count() == 1)
            );
            within[0].clone()
        };
        let clean = namespaces.map(of);
        for (namespace, clean_namespace) in namespaces.iter().zip(&clean) {
            assert_eq!(
                clean
                    .iter()
                    .filter(|other| *other == clean_namespace)
                    .count(),
                1
            );
            assert!(
                clean_namespace.starts_with('~'),
                "the sanitized name of {namespace} does not begin with ~: {clean_namespace}"
            );
            // As `off_name` has it.
            let off = format!("{clean_namespace}/");
            assert_eq!(clean_name(&off), off);
        }
    }

    #[test]
    fn clean_json_cleans_only_texts_and_keys() {
        let given = json!({
            "images": {"token": "web:1", "app": "https://u:hunter2hunter2@registry/web:1", "a\u{200b}": "x"},
            "selector": ["password=hunter2hunter2"], "keys": {"password": 12}, "n": -1, "b": true, "none": null,
        });
        let clean = Clean::json(&given).unwrap();
        let read: Value = serde_json::from_str(clean.as_str()).unwrap();
        assert!(!clean.as_str().contains("hunter2"), "{clean}");
        assert_eq!(
            (&read["images"]["token"], &read["images"]["a\\u{200b}"]),
            (&json!("web:1"), &json!("x"))
        );
        assert_eq!(
            (
                &read["keys"]["password"],
                &read["n"],
                &read["b"],
                &read["none"]
            ),
            (&json!(12), &json!(-1), &json!(true), &json!(null))
        );
        assert_eq!(Clean::json(&read).unwrap(), clean);
    }

    #[test]
    fn sanitize_long_text_is_cut_at_a_character_and_marked() {
        let cut = sanitize(Record {
            title: "é".repeat(201),
            ..record(&"é".repeat(2049), json!({}))
        })
        .record()
        .clone();
        assert_eq!(cut.title, format!("{}…", "é".repeat(199)));
        assert_eq!(cut.description, format!("{}…", "é".repeat(2046)));
        assert_eq!(cut.extra["truncated"], json!(true));
        let whole = sanitize(Record {
            title: "é".repeat(200),
            ..record(&"é".repeat(2048), json!({}))
        })
        .record()
        .clone();
        assert_eq!(
            (whole.title.chars().count(), whole.description.len()),
            (200, 4096)
        );
        assert!(whole.extra.is_empty());
    }

    #[test]
    fn sanitize_redacts_before_truncation() {
        for before in 4000..4110 {
            let given = format!("{}password=hunter2hunter2 x", "y ".repeat(before / 2));
            let kept = sanitize(record(&given, json!({})))
                .record()
                .clone()
                .description;
            assert!(!kept.contains("hunter"), "{before}");
        }
    }

    #[test]
    fn sanitize_large_metadata_object_keeps_first_entries() {
        let entries: Map<String, Value> = (0..200)
            .map(|i| (format!("key-{i}"), json!("v".repeat(60))))
            .collect();
        let Value::Object(kept) = extra(json!({"small": 1, "map": entries})) else {
            unreachable!()
        };
        assert_eq!(
            (&kept["small"], &kept["truncated"]),
            (&json!(1), &json!(true))
        );
        let map = kept["map"].as_object().unwrap();
        assert!((20..200).contains(&map.len()), "{}", map.len());
        // All but the last one that fits are whole.
        for (i, (key, value)) in map.iter().enumerate().take(map.len() - 1) {
            assert_eq!((key, value), (&format!("key-{i}"), &json!("v".repeat(60))));
        }
        let bytes = serde_json::to_string(&kept).unwrap().len();
        assert!(
            (EXTRA_BYTES_MAX - 400..=EXTRA_BYTES_MAX).contains(&bytes),
            "{bytes}"
        );
    }

    #[test]
    fn sanitize_large_metadata_is_cut_field_by_field() {
        let given = json!({"big": "x".repeat(4000), "quotes": "\"".repeat(4000), "list": vec!["y".repeat(90); 50], "small": 1, "map": {"z": "z"}});
        let Value::Object(kept) = extra(given) else {
            unreachable!()
        };
        assert_eq!(
            kept.keys().collect::<Vec<_>>(),
            ["big", "quotes", "list", "small", "map", "truncated"]
        );
        assert_eq!(
            (&kept["small"], &kept["map"], &kept["truncated"]),
            (&json!(1), &json!({"z": "z"}), &json!(true))
        );
        let bytes = serde_json::to_string(&kept).unwrap().len();
        assert!(
            (EXTRA_BYTES_MAX - 400..=EXTRA_BYTES_MAX).contains(&bytes),
            "{bytes}"
        );
        assert!(
            kept["quotes"].as_str().unwrap().ends_with('…')
                && kept["list"].as_array().unwrap().len() > 20
        );
        let many: Map<String, Value> = (0..5000)
            .map(|i| (format!("k{i}"), json!("v".repeat(20))))
            .collect();
        let Value::Object(kept) = extra(Value::Object(many)) else {
            unreachable!()
        };
        assert_eq!(kept.len(), FIELDS_MAX + 1);
        let mut deep = json!("x");
        for _ in 0..1000 {
            deep = json!([deep]);
        }
        assert!(
            serde_json::to_string(&extra(json!({"deep": deep})))
                .unwrap()
                .len()
                < 100
        );
    }

    #[test]
    fn sanitize_truncated_metadata_is_not_cut_again() {
        for length in (100..4000).step_by(7) {
            let given = json!({"a": ["x".repeat(length), 1], "b": [["y".repeat(4000), 1.5e252], "z".repeat(4000)]});
            let once = extra(given);
            assert_eq!(extra(once.clone()), once, "{length}");
        }
    }

    #[test]
    fn sanitize_bounds_names_and_identities() {
        let long = "x".repeat(1000);
        let seen = Observation {
            uid: Uid::new(&long),
            version: ResourceVersion::new("a\nb"),
            count: 1,
            first: Timestamp::EPOCH,
            last: Timestamp::EPOCH,
        };
        let object = ObjectRef {
            kind: long.clone(),
            namespace: long.clone(),
            name: long.clone(),
        };
        let kept = sanitize(Record {
            object: Some(object),
            reason: long.clone(),
            node: Some(long),
            occurred: Occurred::Observed(seen),
            ..record("", json!({}))
        });
        assert!(kept.approximate_bytes() < 3000);
        let kept = kept.record().clone();
        let object = kept.object.unwrap();
        assert_eq!(
            [object.kind.len(), object.namespace.len(), object.name.len()],
            [NAME_BYTES_MAX; 3]
        );
        let Occurred::Observed(seen) = kept.occurred else {
            unreachable!()
        };
        assert_eq!(
            (seen.uid.to_string().len(), &*seen.version.to_string()),
            (WORD_BYTES_MAX, "a\\nb")
        );
        assert_eq!(kept.extra["truncated"], json!(true));
    }

    #[test]
    fn sanitize_longest_identity_is_not_cut() {
        let longest = "x".repeat(WORD_BYTES_MAX);
        let kept = sanitize(Record {
            occurred: Occurred::Observed(Observation {
                uid: Uid::new(&longest),
                version: ResourceVersion::new("1"),
                count: 1,
                first: Timestamp::EPOCH,
                last: Timestamp::EPOCH,
            }),
            ..record("", json!({}))
        });
        assert!(kept.record().extra.is_empty());
    }

    #[test]
    fn sanitize_deep_metadata_is_cut() {
        for deeper in [|v: Value| json!([v]), |v: Value| json!({ "k": v })] {
            let nested = |inner: Value, levels| (0..levels).fold(inner, |v, _| deeper(v));
            let whole = json!({"deep": nested(json!("x"), DEPTH_MAX)});
            assert_eq!(extra(whole.clone()), whole);
            assert_eq!(
                extra(json!({"deep": nested(json!("x"), DEPTH_MAX + 1)})),
                json!({"deep": nested(json!("…"), DEPTH_MAX), "truncated": true})
            );
        }
    }

    #[test]
    fn clean_text_redacts_and_bounds() {
        let clean = clean_text("ä password=hunter2hunter2\n", 100);
        assert_eq!(clean, format!("ä password={REDACTED}\\n"));
        assert_eq!(clean_text(&"x".repeat(101), 100), "x".repeat(97) + "…");
    }

    #[test]
    fn approximate_bytes_counts_every_text() {
        let object = |name: &str| ObjectRef {
            kind: "Pod".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let extra = json!({"text": "abcdefg", "list": [1, 22], "map": {"inner": "xyz"}, "n": 7});
        let description = "Back-off 5m0s restarting container app in pod web-1";
        let kept = sanitize(Record {
            object: Some(object("web-1")),
            owner: Some(object("web")),
            node: Some("node-11".to_owned()),
            occurred: Occurred::Observed(Observation {
                uid: Uid::new("no uuid"),
                version: ResourceVersion::new("abc"),
                count: 1,
                first: Timestamp::EPOCH,
                last: Timestamp::EPOCH,
            }),
            ..record(description, extra)
        });
        let args = kept.text().args.as_ref().unwrap();
        let description = description.len() + kept.text().body.len() + args.len();
        let words = "TitleReasonkubeletappNormal".len();
        let objects = "Podshopweb-1".len() + "Podshopweb".len();
        // The names stand a second time beside each other, with a byte after each of their thirteen parts.
        let names = words + objects + 13;
        let identity = "no uuid".len() + "abc".len();
        let keys = "textlistmapinnern".len();
        let values = "abcdefg".len() + 4 * "[1,22]".len() + "xyz".len();
        let entries = 5 * (2 * size_of::<Value>() + size_of::<String>());
        assert_eq!(
            kept.approximate_bytes(),
            size_of::<Sanitized>()
                + description
                + words
                + objects
                + names
                + "node-11".len()
                + identity
                + keys
                + values
                + entries
        );
    }
}
