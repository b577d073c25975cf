//! ConfigMaps: their keys, and facts about the values that do not reveal them.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use serde::de::{self, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounds::{Budget, FewPairs, PairValue};
use super::meta::Meta;
use crate::decode::null_as_default;
use crate::redact::is_secret_literal;

/// A ConfigMap without its values.
#[derive(Debug, Clone, Default)]
pub struct ConfigMap {
    /// Metadata.
    pub meta: Meta,
    /// Facts about each key's value.
    pub keys: BTreeMap<Box<str>, KeyFacts>,
}

/// Facts about a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// Length in bytes.
    pub bytes: u32,
    /// A keyed hash that shows a change while this process runs. The key is random and never leaves the process, so the
    /// hash reveals nothing about the value.
    pub hash: u64,
    /// Key and value suggest a secret.
    pub looks_secret: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    data: FewPairs<KeyFacts>,
    #[serde(deserialize_with = "null_as_default")]
    binary_data: FewPairs<KeyFacts>,
}

/// Reads the value of a key, and keeps nothing of it.
struct ValueOf<'k>(&'k str);

impl<'de> PairValue<'de> for KeyFacts {
    fn next<A: MapAccess<'de>>(map: &mut A, key: &str) -> Result<Self, A::Error> {
        map.next_value_seed(ValueOf(key))
    }
}

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = KeyFacts;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<KeyFacts, D::Error> {
        // `str`, not `String`: serde_json lends the text and drops it with the page.
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for ValueOf<'_> {
    type Value = KeyFacts;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<KeyFacts, E> {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        Ok(KeyFacts {
            bytes: u32::try_from(value.len()).unwrap_or(u32::MAX),
            hash: KEY.get_or_init(RandomState::new).hash_one(value),
            looks_secret: is_secret_literal(self.0, value),
        })
    }
    fn visit_unit<E: de::Error>(self) -> Result<KeyFacts, E> {
        Ok(KeyFacts::default())
    }
}

impl<'de> Deserialize<'de> for ConfigMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let (data, binary_data) = (wire.data, wire.binary_data);
        let mut keys = data.kept.into_iter().chain(binary_data.kept);
        let mut map = Self {
            meta: wire.metadata,
            keys: keys.by_ref().collect(),
        };
        let mut budget = Budget::new();
        map.meta.bound(&mut budget);
        if budget.is_full() {
            let meta = map.meta.identity();
            return Ok(Self {
                meta,
                ..Self::default()
            });
        }
        // A detail: rules ignore keys that are not kept.
        budget.ended_early(data.cut || binary_data.cut);
        budget.map(&mut map.keys, |_, _| {});
        map.meta.bounded(&budget);
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_map_decode_keeps_no_value() {
        let json = r#"{"metadata":{"name":"c","namespace":"n","annotations":{
            "kubectl.kubernetes.io/last-applied-configuration":"{\"data\":{\"a\":\"planted-value\"}}"}},
            "data":{"a":"planted-value","db-password":"planted-value","empty.token":"",
            "cert":"-----BEGIN RSA PRIVATE KEY-----\nplanted-value"},"binaryData":{"b":"AAAA"}}"#;
        let map: ConfigMap = serde_json::from_str(json).unwrap();
        assert!(!format!("{map:?}").contains("planted"), "{map:?}");
        let secret: Vec<_> = map
            .keys
            .iter()
            .filter(|(_, f)| f.looks_secret)
            .map(|(k, _)| &**k)
            .collect();
        assert_eq!(secret, ["cert", "db-password"]);
        assert_eq!(map.keys["a"].bytes, 13);
        assert_eq!(map.keys.len(), 5);
        let changed = json.replace("\"a\":\"planted-value\"", "\"a\":\"planted-other\"");
        let changed: ConfigMap = serde_json::from_str(&changed).unwrap();
        assert_ne!(map.keys["a"], changed.keys["a"]);
        assert_eq!(map.keys["cert"], changed.keys["cert"]);
    }
}
