//! The fields that kube9 reads of a core/v1 Event. Own structs, so that `managedFields` and the rest are never allocated.
//!
//! Every field is optional and lenient in type where real clusters vary (`null`, a number for a text, a text for a
//! number, bytes that are not UTF-8). An Event that still fails is skipped, with the identity that [`decode_identity`]
//! finds. Field names are those of the API
//! (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// A core/v1 Event, trimmed to what is recorded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeEvent {
    /// Standard object metadata.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ObjectMeta,
    /// What the Event is about (`regarding` in events.k8s.io/v1).
    #[serde(deserialize_with = "null_as_default")]
    pub involved_object: InvolvedObject,
    /// Machine-readable cause, CamelCase.
    #[serde(deserialize_with = "text")]
    pub reason: Option<String>,
    /// Human-readable text (`note` in events.k8s.io/v1).
    #[serde(deserialize_with = "text")]
    pub message: Option<String>,
    /// `Normal` or `Warning`.
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: Option<String>,
    /// Old form of who reported it.
    #[serde(deserialize_with = "null_as_default")]
    pub source: EventSource,
    /// New form of who reported it (`reportingController` in events.k8s.io/v1).
    #[serde(deserialize_with = "text")]
    pub reporting_component: Option<String>,
    /// Which instance of it, e.g. a node's name for the kubelet.
    #[serde(deserialize_with = "text")]
    pub reporting_instance: Option<String>,
    /// Old form of the first time.
    #[serde(deserialize_with = "text")]
    pub first_timestamp: Option<String>,
    /// Old form of the last time.
    #[serde(deserialize_with = "text")]
    pub last_timestamp: Option<String>,
    /// New form of the time: of the first occurrence.
    #[serde(deserialize_with = "text")]
    pub event_time: Option<String>,
    /// Old form of the number of occurrences.
    #[serde(deserialize_with = "number")]
    pub count: Option<i64>,
    /// New form of the number and the last time.
    pub series: Option<EventSeries>,
}

/// The parts of `metadata` that are read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name of the Event object.
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(deserialize_with = "text")]
    pub namespace: Option<String>,
    /// Its uid: identity of the Event.
    #[serde(deserialize_with = "text")]
    pub uid: Option<String>,
    /// Its version.
    #[serde(deserialize_with = "text")]
    pub resource_version: Option<String>,
    /// When the API server stored it first.
    #[serde(deserialize_with = "text")]
    pub creation_timestamp: Option<String>,
    /// Annotations of the Event itself (few reporters set any), without `null` values.
    #[serde(deserialize_with = "texts")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The object an Event is about.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InvolvedObject {
    /// Group and version, e.g. `apps/v1`.
    #[serde(deserialize_with = "text")]
    pub api_version: Option<String>,
    /// Kind, e.g. `Pod`.
    #[serde(deserialize_with = "text")]
    pub kind: Option<String>,
    /// Namespace; absent for cluster-scoped objects.
    #[serde(deserialize_with = "text")]
    pub namespace: Option<String>,
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    /// Uid of the object.
    #[serde(deserialize_with = "text")]
    pub uid: Option<String>,
    /// Part of it, e.g. `spec.containers{app}`.
    #[serde(deserialize_with = "text")]
    pub field_path: Option<String>,
}

/// Who reported an Event, in the old form.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSource {
    /// Component, e.g. `kubelet`.
    #[serde(deserialize_with = "text")]
    pub component: Option<String>,
    /// Node it runs on.
    #[serde(deserialize_with = "text")]
    pub host: Option<String>,
}

/// Repetition of an Event, in the new form.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSeries {
    /// Number of occurrences.
    #[serde(deserialize_with = "number")]
    pub count: Option<i64>,
    /// Time of the last one.
    #[serde(deserialize_with = "text")]
    pub last_observed_time: Option<String>,
}

/// The bytes are not an Event that can be stored; the caller must skip the item. The message never quotes the bytes,
/// which may contain a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or truncated JSON.
    #[error("invalid JSON at byte {at} of {length}")]
    Syntax {
        /// Offset in bytes.
        at: usize,
        /// Bytes of the item.
        length: usize,
    },
    /// JSON, but a field has an unreadable type.
    #[error("not an Event: a field that ends at byte {at} of {length} has an unexpected type")]
    Type {
        /// Offset in bytes.
        at: usize,
        /// Bytes of the item.
        length: usize,
    },
}

/// Decodes one Event as the API server writes it. Bytes that are not UTF-8, and halves of surrogate pairs, become
/// U+FFFD, so that such an Event is stored.
///
/// # Errors
/// The item cannot be stored as an Event; retrying does not help.
pub fn decode_event(bytes: &[u8]) -> Result<KubeEvent, DecodeError> {
    // Serde would read a list as the fields in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(DecodeError::Type {
            at: 0,
            length: bytes.len(),
        });
    }
    serde_json::from_slice(bytes).or_else(|first| match repair(bytes) {
        Some(repaired) => serde_json::from_slice(&repaired).map_err(|e| describe(&e, &repaired)),
        None => Err(describe(&first, bytes)),
    })
}

/// Identity of an item that [`decode_event`] rejects; a field that is not found is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    pub namespace: String,
}

/// Reads the item's `metadata` as far as possible, also from a truncated item. `None` if the item has no identity.
pub fn decode_identity(bytes: &[u8]) -> Option<Identity> {
    let bytes = repair(bytes).map_or(Cow::Borrowed(bytes), Cow::Owned);
    let mut found = Identity::default();
    // An error only ends the search: earlier fields are in `found`.
    let _ = ItemSeed(&mut found).deserialize(&mut serde_json::Deserializer::from_slice(&bytes));
    (found != Identity::default()).then_some(found)
}

fn describe(error: &serde_json::Error, bytes: &[u8]) -> DecodeError {
    let line_start = match error.line().checked_sub(2) {
        Some(before) => bytes
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'\n')
            .nth(before)
            .map_or(0, |(i, _)| i + 1),
        None => 0,
    };
    let at = line_start + error.column().saturating_sub(1);
    let length = bytes.len();
    match error.classify() {
        serde_json::error::Category::Data => DecodeError::Type { at, length },
        _ => DecodeError::Syntax { at, length },
    }
}

/// The bytes with everything replaced that a `str` cannot hold; `None` if nothing has to be.
fn repair(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes);
    match replace_lone_surrogates(&text) {
        Some(replaced) => Some(replaced.into_bytes()),
        None if matches!(text, Cow::Owned(_)) => Some(text.into_owned().into_bytes()),
        None => None,
    }
}

/// JSON can contain half of a surrogate pair (`\ud800`); a Rust string cannot.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u16::from_str_radix(digits, 16).ok())?
    };
    let mut replaced: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(step) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += step;
        let width = match (unit(at), unit(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                let out = replaced.get_or_insert_default();
                out.push_str(&text[copied..at]);
                out.push_str("\\ufffd");
                copied = at + 6;
                6
            }
            // Two, so that an escaped backslash does not begin an escape.
            _ => 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        };
        at += width;
    }
    replaced.map(|mut out| {
        out.push_str(&text[copied..]);
        out
    })
}

pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| text.0))
}

fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let map = Option::<BTreeMap<String, Option<Text>>>::deserialize(deserializer)?;
    Ok(map.map(|map| {
        map.into_iter()
            .filter_map(|(key, value)| Some((key, value?.0)))
            .collect()
    }))
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Number>::deserialize(deserializer)?.and_then(|number| number.0))
}

/// A text, also if a client wrote a number or a boolean.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.to_owned()))
            }
            fn visit_string<E: de::Error>(self, v: String) -> Result<Text, E> {
                Ok(Text(v))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
            fn visit_bool<E: de::Error>(self, v: bool) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// An integer, also written as a text or as `3.0`; anything else counts as absent.
struct Number(Option<i64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Number, E> {
                Ok(Number(Some(v)))
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Number, E> {
                Ok(Number(Some(i64::try_from(v).unwrap_or(i64::MAX))))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Number, E> {
                // `as` saturates, and a count beyond i64 is not known better than its bound.
                Ok(Number(v.is_finite().then_some(v as i64)))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                Ok(Number(v.trim().parse().ok()))
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Walks the item and notes its identity as it passes, so that a break further on costs nothing.
struct ItemSeed<'a>(&'a mut Identity);

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "metadata" {
                map.next_value_seed(MetadataSeed(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct MetadataSeed<'a>(&'a mut Identity);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            let field = match key.as_ref() {
                "uid" => &mut self.0.uid,
                "resourceVersion" => &mut self.0.version,
                "name" => &mut self.0.name,
                "namespace" => &mut self.0.namespace,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            // Through `Value`, so that a field of a wrong type does not end the search.
            match map.next_value::<serde_json::Value>()? {
                serde_json::Value::String(text) => *field = text,
                serde_json::Value::Number(number) => *field = number.to_string(),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> KubeEvent {
        decode_event(json.as_bytes()).unwrap()
    }

    #[test]
    fn decode_null_field_reads_as_absent() {
        let nulls = r#"{"metadata":null,"involvedObject":null,"reason":null,"message":null,"type":null,"source":null,
            "reportingComponent":null,"reportingInstance":null,"firstTimestamp":null,"lastTimestamp":null,
            "eventTime":null,"count":null,"series":null}"#;
        assert_eq!(decoded(nulls), KubeEvent::default());
        let inner = r#"{"metadata":{"name":null,"namespace":null,"uid":null,"resourceVersion":null,
            "creationTimestamp":null,"annotations":null},"involvedObject":{"kind":null,"fieldPath":null},
            "source":{"component":null,"host":null}}"#;
        assert_eq!(decoded(inner), KubeEvent::default());
        assert_eq!(decoded("{}"), KubeEvent::default());
    }

    #[test]
    fn decode_convertible_type_is_read() {
        let event = decoded(
            r#"{"metadata":{"resourceVersion":4711,"annotations":{"a":"1","b":null,"c":2}},"message":404,"reason":true,
                "count":"3","series":{"count":7.0},"managedFields":[{"x":{}}],"unheard":{"of":[1]}}"#,
        );
        assert_eq!(event.metadata.resource_version.as_deref(), Some("4711"));
        let annotations = event.metadata.annotations.unwrap();
        assert_eq!(
            annotations.into_iter().collect::<Vec<_>>(),
            [("a".into(), "1".into()), ("c".into(), "2".into())]
        );
        assert_eq!(event.message.as_deref(), Some("404"));
        assert_eq!(event.reason.as_deref(), Some("true"));
        assert_eq!(
            (event.count, event.series.unwrap().count),
            (Some(3), Some(7))
        );
        assert_eq!(
            decoded(r#"{"count":18446744073709551615}"#).count,
            Some(i64::MAX)
        );
        assert_eq!(decoded(r#"{"count":"many"}"#).count, None);
    }

    #[test]
    fn decode_invalid_utf8_becomes_the_replacement_character() {
        for (bytes, message) in [
            (&b"{\"message\":\"a\xff\xfeb\"}"[..], "a\u{fffd}\u{fffd}b"),
            (br#"{"message":"a\ud800b"}"#, "a\u{fffd}b"),
            (
                br#"{"message":"a\udc00\ud83d\ude00"}"#,
                "a\u{fffd}\u{1f600}",
            ),
            (br#"{"message":"\\ud800"}"#, "\\ud800"),
            (br#"{"message":"\ud800\\"}"#, "\u{fffd}\\"),
            (b"{\"message\":\"\xc3\\ud800\"}", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(
                decode_event(bytes).unwrap().message.as_deref(),
                Some(message)
            );
        }
    }

    #[test]
    fn decode_not_an_event_fails_without_quoting_it() {
        for json in [
            "",
            "[]",
            "nonsense",
            r#"{"message":"#,
            r#"{"message":{"password":"hunter2hunter2"}}"#,
        ] {
            let error = decode_event(json.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let wrong = decode_event(b"{\n\"series\":\n\"topsecret\"}").unwrap_err();
        assert!(
            matches!(
                wrong,
                DecodeError::Type {
                    at: 10..=23,
                    length: 24
                }
            ),
            "{wrong:?}"
        );
        assert!(!wrong.to_string().contains("topsecret"));
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(decode_event(deep.as_bytes()).is_err());
    }

    #[test]
    fn decode_identity_undecodable_item_is_identified() {
        let whole = Identity {
            uid: "u".into(),
            version: "7".into(),
            name: "n".into(),
            namespace: "s".into(),
        };
        let metadata = r#""metadata":{"name":"n","namespace":"s","uid":"u","resourceVersion":"7","managedFields":[]}"#;
        for json in [
            format!("{{{metadata},\"message\":{{}}}}"),
            format!("{{{metadata},\"message\":\"broken off"),
            format!("{{\"involvedObject\":{{\"uid\":\"other\"}},{metadata},"),
            format!("{{{metadata},\"message\":\"\\ud800\"}}"),
        ] {
            assert_eq!(
                decode_identity(json.as_bytes()).as_ref(),
                Some(&whole),
                "{json}"
            );
        }
        let partly =
            decode_identity(br#"{"metadata":{"uid":"u","resourceVersion":7,"name":[],"namespa"#)
                .unwrap();
        assert_eq!(
            (
                partly.uid.as_str(),
                partly.version.as_str(),
                partly.name.as_str()
            ),
            ("u", "7", "")
        );
        for json in [
            "",
            "[]",
            "{}",
            r#"{"metadata":null}"#,
            r#"{"involvedObject":{"uid":"u"}}"#,
        ] {
            assert_eq!(decode_identity(json.as_bytes()), None, "{json}");
        }
    }
}
