//! JSON with sorted maps, for bodies and patches.
//!
//! A body is read, compared and written with each change. Maps of `serde_json` keep the order of their keys in a hash table,
//! whose hashing and memory took most of that time; the keys of an object have no order that matters. Texts are parts of the
//! JSON that was read: only those with escapes are copied.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Number, Value};

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Stored<'t> {
    /// In a patch: a removal. A body has none.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(Cow<'t, str>),
    /// A list.
    List(Vec<Self>),
    /// A map.
    Map(Fields<'t>),
}

impl<'t> Stored<'t> {
    /// Reads JSON; if it is as [`Self::to_text`] writes it, in two thirds of the time that `serde_json` takes.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn parse(text: &'t str) -> serde_json::Result<Self> {
        let mut written = WrittenJson::of(text);
        match written.value() {
            Some(value) if written.at == text.len() => Ok(value),
            // `serde_json` decides about any other text.
            _ => serde_json::from_str(text),
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub const fn as_map(&self) -> Option<&Fields<'t>> {
        match self {
            Self::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The value under a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// The value under a key, if this is a map that has it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(fields) => fields.get_mut(key),
            _ => None,
        }
    }

    /// A copy that does not need the text that it was read from.
    pub fn into_owned(self) -> Stored<'static> {
        match self {
            Self::Null => Stored::Null,
            Self::Bool(value) => Stored::Bool(value),
            Self::Number(number) => Stored::Number(number),
            Self::Text(text) => Stored::Text(text.into_owned().into()),
            Self::List(elements) => {
                Stored::List(elements.into_iter().map(Self::into_owned).collect())
            }
            Self::Map(fields) => Stored::Map(fields.into_owned()),
        }
    }

    /// The JSON text.
    pub fn to_text(&self) -> String {
        // Keys are texts and nothing else can fail, so the error is that of a formatter that has none.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As a value of `serde_json`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.to_string()),
            Self::List(elements) => elements.iter().map(Self::to_value).collect(),
            Self::Map(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| (key.to_owned(), value.to_value()))
                    .collect(),
            ),
        }
    }
}

impl<'t> From<&'t str> for Stored<'t> {
    fn from(text: &'t str) -> Self {
        Self::Text(text.into())
    }
}

/// A map, sorted by its keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields<'t>(Vec<Entry<'t>>);

/// A key and its value.
pub type Entry<'t> = (Cow<'t, str>, Stored<'t>);

impl<'t> Fields<'t> {
    /// From fields in any order; of those with the same key the last one counts.
    pub fn new(mut fields: Vec<Entry<'t>>) -> Self {
        if !fields.is_sorted_by(|(a, _), (b, _)| a < b) {
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            fields.dedup_by(|later, earlier| {
                let is_same = later.0 == earlier.0;
                if is_same {
                    earlier.1 = std::mem::take(&mut later.1);
                }
                is_same
            });
        }
        Self(fields)
    }

    /// A copy that does not need the text that it was read from.
    pub fn into_owned(self) -> Fields<'static> {
        let owned = |(key, value): Entry<'_>| (key.into_owned().into(), value.into_owned());
        Fields(self.0.into_iter().map(owned).collect())
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(one, _)| (**one).cmp(key))
    }

    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Stored<'t>> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// The value under a key.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Stored<'t>> {
        self.find(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Whether it has a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets the value under a key.
    pub fn insert(&mut self, key: Cow<'t, str>, value: Stored<'t>) {
        match self.find(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Takes a field out.
    pub fn remove(&mut self, key: &str) -> Option<Stored<'t>> {
        self.find(key).ok().map(|at| self.0.remove(at).1)
    }

    /// The fields, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Stored<'t>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The fields, sorted.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Stored<'t>)> {
        self.0.iter_mut().map(|(key, value)| (&**key, value))
    }

    /// The values, sorted by their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Stored<'t>> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many fields it has.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no fields.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'t> IntoIterator for Fields<'t> {
    type Item = Entry<'t>;
    type IntoIter = std::vec::IntoIter<Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Two maps side by side: each key with its values.
pub fn merged<'a, 'b>(
    a: &'a Fields<'a>,
    b: &'b Fields<'b>,
) -> impl Iterator<Item = (&'a str, Option<&'a Stored<'a>>, Option<&'b Stored<'b>>)>
where
    'b: 'a,
{
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (a.peek(), b.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, _) => std::cmp::Ordering::Greater,
        };
        let old = if order.is_le() { a.next() } else { None };
        let new = if order.is_ge() { b.next() } else { None };
        let (key, _) = old.or(new)?;
        Some((
            key,
            old.map(|(_, value)| value),
            new.map(|(_, value)| value),
        ))
    })
}

/// JSON without space; `None`: it is another text.
struct WrittenJson<'t> {
    text: &'t str,
    at: usize,
    depth: u8,
    /// Of the maps that have begun: each gets a list of its own when its length is known.
    fields: Vec<Entry<'t>>,
}

/// Bytes that end a text, or its part without escapes.
const IS_SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    let mut control = 0;
    while control < b' ' as usize {
        special[control] = true;
        control += 1;
    }
    special
};

impl<'t> WrittenJson<'t> {
    /// As that of `serde_json`.
    const DEPTH_MAX: u8 = 127;

    fn of(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            fields: Vec::with_capacity(64),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, expected: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(expected.as_bytes()).then(|| {
            self.at += expected.len();
        })
    }

    fn value(&mut self) -> Option<Stored<'t>> {
        match self.peek()? {
            b'"' => self.string().map(Stored::Text),
            b'{' => self.nested(Self::map),
            b'[' => self.nested(Self::list),
            b't' => self.skip("true").map(|()| Stored::Bool(true)),
            b'f' => self.skip("false").map(|()| Stored::Bool(false)),
            b'n' => self.skip("null").map(|()| Stored::Null),
            _ => self.number(),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Option<Stored<'t>>) -> Option<Stored<'t>> {
        if self.depth == Self::DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Some(value)
    }

    fn map(&mut self) -> Option<Stored<'t>> {
        let start = self.fields.len();
        if self.skip("}").is_none() {
            loop {
                let key = self.string()?;
                self.skip(":")?;
                let value = self.value()?;
                self.fields.push((key, value));
                if self.skip(",").is_none() {
                    self.skip("}")?;
                    break;
                }
            }
        }
        Some(Stored::Map(Fields::new(self.fields.split_off(start))))
    }

    fn list(&mut self) -> Option<Stored<'t>> {
        let mut elements = Vec::new();
        if self.skip("]").is_none() {
            loop {
                elements.push(self.value()?);
                if self.skip(",").is_none() {
                    self.skip("]")?;
                    break;
                }
            }
        }
        Some(Stored::List(elements))
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        self.skip("\"")?;
        let rest = self.text.get(self.at..)?;
        let end = rest
            .bytes()
            .position(|byte| IS_SPECIAL[usize::from(byte)])?;
        if rest.as_bytes().get(end) == Some(&b'"') {
            self.at += end + 1;
            return rest.get(..end).map(Cow::Borrowed);
        }
        self.at -= 1;
        self.by_serde().map(Cow::Owned)
    }

    fn number(&mut self) -> Option<Stored<'t>> {
        let rest = self.text.get(self.at..)?;
        let (digits, behind) = match rest.find(|c: char| !c.is_ascii_digit()) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        let is_plain = (1..=18).contains(&digits.len())
            && (digits.len() == 1 || !digits.starts_with('0'))
            && !behind.starts_with(['.', 'e', 'E']);
        if !is_plain {
            return self.by_serde().map(Stored::Number);
        }
        self.at += digits.len();
        digits
            .parse::<u64>()
            .ok()
            .map(|number| Stored::Number(number.into()))
    }

    fn by_serde<T: Deserialize<'t>>(&mut self) -> Option<T> {
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }
}

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(elements) => serializer.collect_seq(elements),
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields.iter() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Stored<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StoredVisitor;
        impl<'de> Visitor<'de> for StoredVisitor {
            type Value = Stored<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Stored<'de>, E> {
                Ok(Stored::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Stored<'de>, E> {
                Ok(Stored::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Stored<'de>, E> {
                Ok(Stored::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Stored<'de>, E> {
                Ok(Stored::Number(value.into()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Stored<'de>, E> {
                Number::from_f64(value)
                    .map(Stored::Number)
                    .ok_or_else(|| E::custom("a number is not finite"))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Stored<'de>, E> {
                Ok(Stored::Text(text.into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Stored<'de>, E> {
                Ok(Stored::Text(text.to_owned().into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Stored<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = access.next_element()? {
                    elements.push(element);
                }
                Ok(Stored::List(elements))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Stored<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Text(key), value)) = access.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Stored::Map(Fields::new(fields)))
            }
        }
        deserializer.deserialize_any(StoredVisitor)
    }
}

/// A text that is copied only if it has escapes; a null is an empty text. `Cow` itself copies each.
#[derive(Debug, Clone, Default)]
pub struct Text<'t>(pub Cow<'t, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_with_sorted_keys() {
        let text = r#"{"b":[1,-1,1.5,null,true,"\u0001é"],"a":{"":{}},"b2":18446744073709551615}"#;
        let value: Stored = serde_json::from_str(text).unwrap();
        assert_eq!(
            value.to_text(),
            r#"{"a":{"":{}},"b":[1,-1,1.5,null,true,"\u0001é"],"b2":18446744073709551615}"#
        );
        assert_eq!(
            value.to_value(),
            serde_json::from_str::<Value>(text).unwrap()
        );
    }

    #[test]
    fn last_of_repeated_keys_counts() {
        let value = Stored::parse(r#"{"b":1,"a":1,"b":2,"a":3,"b":4}"#).unwrap();
        assert_eq!(value.to_text(), r#"{"a":3,"b":4}"#);
        let sorted = Stored::parse(r#"{"a":1,"a":3}"#).unwrap();
        assert_eq!(sorted.to_text(), r#"{"a":3}"#);
    }

    /// What a text is, by this module alone and by `serde_json`.
    fn both_ways(text: &str) -> (Option<Stored<'_>>, Option<Stored<'_>>) {
        let mut written = WrittenJson::of(text);
        let own = written.value().filter(|_| written.at == text.len());
        (own, serde_json::from_str(text).ok())
    }

    #[test]
    fn what_is_written_is_read_as_serde_json_reads_it() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let texts = [
            r#"{"b":[1,-1,1.5,null,true,false,"\u0001é"],"a":{"":{}},"c":[],"d":[[],{}]}"#,
            r#"[0,-0,1e3,1.0,18446744073709551615,18446744073709551616,-9223372036854775808,0.1]"#,
            r#"{"a\"b":"\\","\u00e9\ud83d\ude00":"\n","z":"\u007f😀"}"#,
            "\"\"",
            "1",
            &deep(127),
        ];
        for text in texts {
            let (own, by_serde) = both_ways(text);
            assert!(own.is_some(), "{text}");
            assert_eq!(own, by_serde, "{text}");
        }
    }

    #[test]
    fn other_texts_are_read_by_serde_json_alone() {
        // Also each part of a text, and each text with one byte changed.
        let text = r#"{"b":[1,-1.5,null,true],"a\n":{"":"x"}}"#;
        let mut texts: Vec<String> = (0..text.len()).map(|end| text[..end].to_owned()).collect();
        for at in 0..text.len() {
            for with in [
                "", " ", "\"", "\\", "{", "]", ",", ":", "0", "e", "\u{1}", "é",
            ] {
                texts.push([&text[..at], with, &text[at + 1..]].concat());
                texts.push([&text[..at], with, &text[at..]].concat());
            }
        }
        texts.push("[".repeat(128) + &"]".repeat(128));
        texts.extend(["01", "1e999", "\"\\ud800\"", "nulll", "-", "tru"].map(str::to_owned));
        for text in &texts {
            let (own, by_serde) = both_ways(text);
            assert!(own.is_none() || own == by_serde, "{text}");
            assert_eq!(Stored::parse(text).ok(), by_serde, "{text}");
        }
    }

    #[test]
    fn merged_maps_have_each_key_once() {
        let map = |keys: &str| {
            let field = |c: char| (c.to_string().into(), Stored::Null);
            Fields::new(keys.chars().map(field).collect())
        };
        let (a, b) = (map("aceg"), map("bcdg"));
        let all: Vec<String> = merged(&a, &b)
            .map(|(key, old, new)| {
                format!(
                    "{key}{}{}",
                    u8::from(old.is_some()),
                    u8::from(new.is_some())
                )
            })
            .collect();
        assert_eq!(all, ["a10", "b01", "c11", "d01", "e10", "g11"]);
        assert_eq!(merged(&map(""), &map("x")).count(), 1);
    }
}
