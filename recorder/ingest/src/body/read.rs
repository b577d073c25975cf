//! A pass over the JSON of an object, for one of three purposes: to hash what its body is made of, to measure that, and to
//! build it.
//!
//! ```text
//!   JSON ─▶ Reader ─ select: which fields ─▶ Sink: Fingerprint (hash), Measure (sizes) or Build (values)
//! ```
//!
//! Each value that is read has a number, in the order of the text. The measuring pass lists the values that are too large by
//! their numbers; the building pass does not read those, but marks them. Most objects are so small that nothing can be too
//! large, and need no measuring.

use std::borrow::Cow;
use std::fmt;

use kube9_model::change::body::escaped;
use kube9_model::change::rules::Rules;
use kube9_model::change::stored::{Entry, Fields, Stored, Text};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::select::{At, Choice, DEPTH_MAX, Mode};

/// Bytes of a body, as JSON.
pub const BODY_BYTES_MAX: usize = 64 << 10;

/// Keys of one map.
pub const KEYS_MAX: usize = 2000;

/// Bytes of a mark in a body.
pub(super) const MARK_BYTES: usize = 24;

/// A value that is one mark because it is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLarge {
    /// Its number.
    number: u32,
    /// How many values are in it.
    inside: u32,
}

/// What the first pass found to be too large.
#[derive(Debug, Default)]
pub(super) struct Oversize {
    /// Values, in the order of the text.
    values: Vec<TooLarge>,
    /// The object has too many fields at its top level, or they are too large even as marks.
    top_level: bool,
}

/// The key of the mark of all fields that do not fit at the top level; an escaped key never begins so.
const REST: &str = "~rest";

/// What is made of the values that are read.
pub(super) trait Sink<'de> {
    type Value;
    type Map: Default;
    type List: Default;

    fn scalar(&mut self, rules: &Rules, at: At, scalar: Scalar<'de>) -> Self::Value;
    fn key(&mut self, key: &str);
    fn field(&mut self, map: &mut Self::Map, key: Cow<'de, str>, value: Self::Value);
    /// `is_part`: some of its fields are not in the body.
    fn map(&mut self, at: At, map: Self::Map, is_part: bool) -> Self::Value;
    fn element(&mut self, list: &mut Self::List, value: Self::Value);
    fn list(&mut self, at: At, list: Self::List) -> Self::Value;
    fn opaque(&mut self, raw: &'de str) -> Self::Value;
    /// The number of the value that follows, and whether it is not read.
    fn begin(&mut self, rules: &Rules, at: At) -> Begin;
    /// Ends the value that began with this number.
    fn end(&mut self, number: u32, value: Self::Value) -> Self::Value;
    /// The number of the next value.
    fn next_number(&self) -> u32;
    /// A field of the top level, or of the metadata; the numbers of the values in it are from the first to before the second.
    fn top(
        &mut self,
        in_metadata: bool,
        key: Cow<'de, str>,
        numbers: (u32, u32),
        value: Self::Value,
    );
}

/// How a value is read.
pub(super) struct Begin {
    pub(super) number: u32,
    /// The sink gets its text.
    pub(super) is_opaque: bool,
}

/// A text, a number, a boolean or a null.
#[derive(Debug)]
pub(super) enum Scalar<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
}

/// Reads one value.
pub(super) struct Reader<'s, S> {
    pub(super) rules: &'static Rules,
    pub(super) sink: &'s mut S,
    pub(super) at: At,
}

impl<S> Reader<'_, S> {
    fn inner(&mut self, at: At) -> Reader<'_, S> {
        Reader {
            rules: self.rules,
            sink: &mut *self.sink,
            at,
        }
    }
}

/// Reads the value under a key of a map, if its field is in the body.
pub(super) fn read_field<'de, S: Sink<'de>, A: MapAccess<'de>>(
    reader: &mut Reader<'_, S>,
    map: &mut A,
    key: &str,
) -> Result<Option<S::Value>, A::Error> {
    match reader.at.field(reader.rules, key) {
        Choice::Skip => {
            map.next_value::<IgnoredAny>()?;
            Ok(None)
        }
        Choice::Read(at) => {
            reader.sink.key(key);
            map.next_value_seed(reader.inner(at)).map(Some)
        }
        Choice::Opaque(_) => {
            reader.sink.key(key);
            let raw: &'de RawValue = map.next_value()?;
            Ok(Some(reader.sink.opaque(raw.get())))
        }
    }
}

/// As [`read_field`], of a value that was taken from the text already.
pub(super) fn read_text<'de, S: Sink<'de>>(
    reader: &mut Reader<'_, S>,
    key: &str,
    text: &'de str,
) -> serde_json::Result<Option<S::Value>> {
    match reader.at.field(reader.rules, key) {
        Choice::Skip => Ok(None),
        Choice::Read(at) => {
            reader.sink.key(key);
            let mut text = serde_json::Deserializer::from_str(text);
            reader.inner(at).deserialize(&mut text).map(Some)
        }
        Choice::Opaque(_) => {
            reader.sink.key(key);
            Ok(Some(reader.sink.opaque(text)))
        }
    }
}

/// As [`read_field`], of a value of which the first pass found the texts.
pub(super) fn read_part<'de, S: Sink<'de>>(
    reader: &mut Reader<'_, S>,
    key: &str,
    part: &Part<'de>,
) -> serde_json::Result<Option<S::Value>> {
    let (fields, is_part) = match part {
        Part::Whole(text) => return read_text(reader, key, text),
        Part::Fields { fields, is_part } => (fields, *is_part),
    };
    let Choice::Read(at) = reader.at.field(reader.rules, key) else {
        return Ok(None);
    };
    reader.sink.key(key);
    let begin = reader.sink.begin(reader.rules, at);
    let (mut inner, mut map) = (reader.inner(at), S::Map::default());
    for (key, text) in fields {
        if let Some(value) = read_text(&mut inner, key, text)? {
            inner.sink.field(&mut map, key.clone(), value);
        }
    }
    let value = reader.sink.map(at, map, is_part);
    Ok(Some(reader.sink.end(begin.number, value)))
}

impl<'de, S: Sink<'de>> DeserializeSeed<'de> for Reader<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let begin = self.sink.begin(self.rules, self.at);
        if begin.is_opaque {
            let raw: &'de RawValue = de::Deserialize::deserialize(deserializer)?;
            return Ok(self.sink.opaque(raw.get()));
        }
        let Self { rules, sink, at } = self;
        let reader = Reader {
            rules,
            sink: &mut *sink,
            at,
        };
        let value = if at.depth >= DEPTH_MAX {
            let raw: &'de RawValue = de::Deserialize::deserialize(deserializer)?;
            if raw.get().starts_with(['{', '[']) {
                reader.sink.opaque(raw.get())
            } else {
                serde_json::Deserializer::from_str(raw.get())
                    .deserialize_any(reader)
                    .map_err(de::Error::custom)?
            }
        } else {
            deserializer.deserialize_any(reader)?
        };
        Ok(sink.end(begin.number, value))
    }
}

impl<'de, S: Sink<'de>> Visitor<'de> for Reader<'_, S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<S::Value, E> {
        Ok(self.sink.scalar(self.rules, self.at, Scalar::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<S::Value, E> {
        Ok(self.sink.scalar(self.rules, self.at, Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<S::Value, E> {
        let scalar = Scalar::Number(value.into());
        Ok(self.sink.scalar(self.rules, self.at, scalar))
    }

    fn visit_u64<E>(self, value: u64) -> Result<S::Value, E> {
        let scalar = Scalar::Number(value.into());
        Ok(self.sink.scalar(self.rules, self.at, scalar))
    }

    fn visit_f64<E>(self, value: f64) -> Result<S::Value, E> {
        let scalar = Number::from_f64(value).map_or(Scalar::Null, Scalar::Number);
        Ok(self.sink.scalar(self.rules, self.at, scalar))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<S::Value, E> {
        let scalar = Scalar::Text(Cow::Borrowed(value));
        Ok(self.sink.scalar(self.rules, self.at, scalar))
    }

    fn visit_str<E>(self, value: &str) -> Result<S::Value, E> {
        let scalar = Scalar::Text(Cow::Owned(value.to_owned()));
        Ok(self.sink.scalar(self.rules, self.at, scalar))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<S::Value, A::Error> {
        let mut list = S::List::default();
        match self.at.element(self.rules) {
            Choice::Read(at) => {
                while let Some(value) = access.next_element_seed(self.inner(at))? {
                    self.sink.element(&mut list, value);
                }
            }
            // No table says so of an element; were it so, it would not be in the body.
            Choice::Skip | Choice::Opaque(_) => {
                while access.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(self.sink.list(self.at, list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<S::Value, A::Error> {
        let mut map = S::Map::default();
        let mut is_part = false;
        while let Some(Text(key)) = access.next_key()? {
            match read_field(&mut self, &mut access, &key)? {
                Some(value) => self.sink.field(&mut map, key, value),
                None => is_part = true,
            }
        }
        Ok(self.sink.map(self.at, map, is_part))
    }
}

/// Bytes of a text as JSON writes it, or a few more.
fn json_bytes(text: &str) -> usize {
    let escaped = |b: &u8| *b < b' ' || matches!(b, b'"' | b'\\');
    let quotes = "\"\"".len();
    text.len()
        + quotes
        + ("\\u0001".len() - 1) * text.as_bytes().iter().filter(|b| escaped(b)).count()
}

/// A body of fewer bytes has nothing that is too large: no text grows more than ninefold. Of all, `"",` in a list grows most,
/// whose mark has 24 bytes.
const MEASURED_BYTES_MIN: usize = BODY_BYTES_MAX / 9;

/// Hashes what is read. Of what is in the body as a whole it hashes the text, without reading it: the API server writes equal
/// values as equal texts. If it does not, the hash changes and the body does not.
pub(super) struct Fingerprint<'de, H> {
    hasher: H,
    /// Of the texts, and at least as many more as JSON has between them.
    bytes: usize,
    found: Vec<FoundField<'de>>,
    /// `found` is not all that is in the body.
    is_deep: bool,
}

/// A field of the top level or of the metadata that is in the body.
#[derive(Debug)]
pub(super) struct FoundField<'de> {
    pub(super) in_metadata: bool,
    pub(super) key: Cow<'de, str>,
    pub(super) part: Part<'de>,
}

/// The texts of a value that is in the body.
#[derive(Debug)]
pub(super) enum Part<'de> {
    /// All of it is.
    Whole(&'de str),
    /// Some of its fields are, and all of each of those.
    Fields {
        fields: Vec<(Cow<'de, str>, &'de str)>,
        /// It has others.
        is_part: bool,
    },
}

/// The fields of a map of which not all may be in the body.
#[derive(Default)]
pub(super) struct FoundFields<'de> {
    fields: Vec<(Cow<'de, str>, &'de str)>,
    is_deep: bool,
}

impl<'de, H: std::hash::Hasher> Fingerprint<'de, H> {
    pub(super) const fn new(hasher: H) -> Self {
        Self {
            hasher,
            bytes: 0,
            found: Vec::new(),
            is_deep: false,
        }
    }

    /// Hashes a text of its own.
    pub(super) fn text(&mut self, tag: u8, text: &str) {
        self.tag(tag, text.len());
        self.hasher.write(text.as_bytes());
    }

    fn tag(&mut self, tag: u8, bytes: usize) {
        self.hasher.write_u64(u64::from(tag) << 56 | bytes as u64);
        self.bytes += "\"\":,".len() + bytes;
    }

    /// The hash, whether something may be too large, and all that is in the body, if it was found.
    pub(super) fn finish(self) -> (u64, bool, Option<Vec<FoundField<'de>>>) {
        let may_be_too_large = self.bytes >= MEASURED_BYTES_MIN;
        let is_complete = !may_be_too_large && !self.is_deep;
        let found = is_complete.then_some(self.found);
        (self.hasher.finish(), may_be_too_large, found)
    }
}

impl<'de, H: std::hash::Hasher> Sink<'de> for Fingerprint<'de, H> {
    /// `None`: its texts are further inside.
    type Value = Option<Part<'de>>;
    type Map = FoundFields<'de>;
    type List = ();

    fn scalar(&mut self, _: &Rules, _: At, scalar: Scalar<'_>) -> Option<Part<'de>> {
        match scalar {
            Scalar::Text(text) => self.text(1, &text),
            // Rare: a field of another type than the table of its kind supposes.
            other => self.text(2, &format!("{other:?}")),
        }
        None
    }

    fn key(&mut self, key: &str) {
        self.text(3, key);
    }

    fn field(&mut self, map: &mut FoundFields<'de>, key: Cow<'de, str>, value: Option<Part<'de>>) {
        match value {
            Some(Part::Whole(text)) => map.fields.push((key, text)),
            _ => map.is_deep = true,
        }
    }

    fn map(&mut self, _: At, map: FoundFields<'de>, is_part: bool) -> Option<Part<'de>> {
        self.tag(4, 0);
        let FoundFields { fields, is_deep } = map;
        (!is_deep).then_some(Part::Fields { fields, is_part })
    }

    fn element(&mut self, (): &mut (), _: Option<Part<'de>>) {}

    fn list(&mut self, _: At, (): ()) -> Option<Part<'de>> {
        self.tag(5, 0);
        None
    }

    fn opaque(&mut self, raw: &'de str) -> Option<Part<'de>> {
        self.text(6, raw);
        Some(Part::Whole(raw))
    }

    fn begin(&mut self, rules: &Rules, at: At) -> Begin {
        Begin {
            number: 0,
            is_opaque: at.is_whole(rules),
        }
    }

    fn end(&mut self, _: u32, value: Option<Part<'de>>) -> Option<Part<'de>> {
        value
    }

    fn next_number(&self) -> u32 {
        0
    }

    fn top(
        &mut self,
        in_metadata: bool,
        key: Cow<'de, str>,
        _: (u32, u32),
        value: Option<Part<'de>>,
    ) {
        match value {
            Some(part) => self.found.push(FoundField {
                in_metadata,
                key,
                part,
            }),
            None => self.is_deep = true,
        }
    }
}

/// Finds what is too large.
#[derive(Default)]
pub(super) struct Measure {
    next: u32,
    too_large: Vec<TooLarge>,
    /// The fields of the top level and of the metadata: the numbers of their values, and their sizes.
    top: Vec<((u32, u32), usize)>,
    /// The size of all of them, with their keys.
    top_bytes: usize,
}

/// Size and number of keys of a map.
#[derive(Default)]
pub(super) struct MapSize {
    bytes: usize,
    keys: usize,
}

impl Measure {
    /// Notes that a value is too large; of what is inside it nothing else need be known.
    fn mark(&mut self, number: u32, inside: u32) {
        let end = number + inside;
        self.too_large
            .retain(|one| one.number < number || one.number > end);
        self.too_large.push(TooLarge { number, inside });
    }

    /// What is too large.
    pub(super) fn finish(mut self) -> Oversize {
        let mut fields = std::mem::take(&mut self.top);
        let (mut sum, count) = (self.top_bytes, fields.len());
        // Stable, so that of two equal fields it is always the same one.
        fields.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        for ((from, to), bytes) in fields {
            if sum <= BODY_BYTES_MAX || bytes <= MARK_BYTES {
                break;
            }
            if from < to {
                self.mark(from, to - from - 1);
                sum -= bytes - MARK_BYTES;
            }
        }
        self.too_large.sort_unstable_by_key(|one| one.number);
        Oversize {
            values: self.too_large,
            top_level: sum > BODY_BYTES_MAX || count > KEYS_MAX,
        }
    }
}

impl<'de> Sink<'de> for Measure {
    /// Bytes as JSON, with hidden values as marks.
    type Value = usize;
    type Map = MapSize;
    type List = usize;

    fn scalar(&mut self, rules: &Rules, at: At, scalar: Scalar<'_>) -> usize {
        match scalar {
            Scalar::Null => "null".len(),
            Scalar::Bool(_) => "false".len(),
            Scalar::Number(_) => "0.00000".len(),
            Scalar::Text(text) if at.hides(rules, &text) => MARK_BYTES,
            Scalar::Text(text) => json_bytes(&text),
        }
    }

    fn key(&mut self, _: &str) {}

    fn field(&mut self, map: &mut MapSize, key: Cow<'de, str>, value: usize) {
        map.keys += 1;
        map.bytes += json_bytes(&key) + ":,".len() + value;
    }

    fn map(&mut self, _: At, map: MapSize, _: bool) -> usize {
        if map.keys > KEYS_MAX {
            return usize::MAX;
        }
        map.bytes + "{}".len()
    }

    fn element(&mut self, list: &mut usize, value: usize) {
        *list += value + ",".len();
    }

    fn list(&mut self, _: At, list: usize) -> usize {
        list + "[]".len()
    }

    fn opaque(&mut self, _: &'de str) -> usize {
        MARK_BYTES
    }

    fn begin(&mut self, _: &Rules, _: At) -> Begin {
        let number = self.next;
        self.next += 1;
        Begin {
            number,
            is_opaque: false,
        }
    }

    fn end(&mut self, number: u32, bytes: usize) -> usize {
        if bytes <= BODY_BYTES_MAX {
            return bytes;
        }
        self.mark(number, self.next - number - 1);
        MARK_BYTES
    }

    fn next_number(&self) -> u32 {
        self.next
    }

    fn top(&mut self, _: bool, key: Cow<'de, str>, numbers: (u32, u32), bytes: usize) {
        self.top_bytes += json_bytes(&key) + ":,".len() + bytes;
        self.top.push((numbers, bytes));
    }
}

/// Builds what is read: values as they are, keys escaped, and what is opaque as the placeholder that `opaque` makes.
pub(super) struct Build<'p, 'de, F> {
    next: u32,
    /// What is still to come.
    too_large: &'p [TooLarge],
    opaque: F,
    fields: Vec<Entry<'de>>,
    metadata: Vec<Entry<'de>>,
    /// What is left for the top level, if that is too large.
    left: Option<Left>,
}

/// The bytes and fields that the top level may still have, and what did not fit.
struct Left {
    bytes: usize,
    rest: String,
}

impl<'p, 'de, F: FnMut(&str) -> Stored<'static>> Build<'p, 'de, F> {
    pub(super) fn new(oversize: &'p Oversize, opaque: F) -> Self {
        Self {
            next: 0,
            too_large: &oversize.values,
            left: oversize.top_level.then(|| Left {
                bytes: BODY_BYTES_MAX,
                rest: String::new(),
            }),
            opaque,
            fields: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// The fields of the object.
    pub(super) fn finish(mut self) -> Fields<'de> {
        if let Some(left) = self.left
            && !left.rest.is_empty()
        {
            self.fields.push((REST.into(), (self.opaque)(&left.rest)));
        }
        if !self.metadata.is_empty() {
            let metadata = Stored::Map(Fields::new(self.metadata));
            self.fields.push(("metadata".into(), metadata));
        }
        Fields::new(self.fields)
    }
}

impl<'de, F: FnMut(&str) -> Stored<'static>> Sink<'de> for Build<'_, 'de, F> {
    /// `None`: nothing of it is in the body.
    type Value = Option<Stored<'de>>;
    type Map = Vec<Entry<'de>>;
    type List = Vec<Stored<'de>>;

    fn scalar(&mut self, rules: &Rules, at: At, scalar: Scalar<'de>) -> Option<Stored<'de>> {
        if at.mode == Mode::Only {
            return None;
        }
        match scalar {
            // Of Kubernetes' own kinds a null is an absent field.
            Scalar::Null if !rules.is_custom() => None,
            Scalar::Null => Some(Stored::Null),
            Scalar::Bool(value) => Some(Stored::Bool(value)),
            Scalar::Number(number) => Some(Stored::Number(number)),
            Scalar::Text(text) => Some(Stored::Text(text)),
        }
    }

    fn key(&mut self, _: &str) {}

    fn field(&mut self, map: &mut Vec<Entry<'de>>, key: Cow<'de, str>, value: Option<Stored<'de>>) {
        if let Some(value) = value {
            map.push((escaped_key(key), value));
        }
    }

    fn map(&mut self, at: At, map: Vec<Entry<'de>>, is_part: bool) -> Option<Stored<'de>> {
        // A map of which nothing is in the body is absent: whether the rest of it is there says nothing.
        let is_empty = map.is_empty() && (is_part || at.mode == Mode::Only);
        (!is_empty).then(|| Stored::Map(Fields::new(map)))
    }

    fn element(&mut self, list: &mut Vec<Stored<'de>>, value: Option<Stored<'de>>) {
        list.extend(value);
    }

    fn list(&mut self, at: At, list: Vec<Stored<'de>>) -> Option<Stored<'de>> {
        (at.mode != Mode::Only || !list.is_empty()).then_some(Stored::List(list))
    }

    fn opaque(&mut self, raw: &'de str) -> Option<Stored<'de>> {
        Some((self.opaque)(raw))
    }

    fn begin(&mut self, _: &Rules, _: At) -> Begin {
        let number = self.next;
        self.next += 1;
        let mut is_opaque = false;
        if let Some((first, rest)) = self.too_large.split_first()
            && first.number == number
        {
            self.next += first.inside;
            self.too_large = rest;
            is_opaque = true;
        }
        Begin { number, is_opaque }
    }

    fn end(&mut self, _: u32, value: Option<Stored<'de>>) -> Option<Stored<'de>> {
        value
    }

    fn next_number(&self) -> u32 {
        self.next
    }

    fn top(
        &mut self,
        in_metadata: bool,
        key: Cow<'de, str>,
        _: (u32, u32),
        value: Option<Stored<'de>>,
    ) {
        let Some(value) = value else {
            return;
        };
        if let Some(left) = &mut self.left
            && !in_metadata
        {
            let text = value.to_text();
            let bytes = json_bytes(&key) + ":,".len() + text.len();
            if bytes > left.bytes || self.fields.len() >= KEYS_MAX || !left.rest.is_empty() {
                left.rest.extend([&*key, "\0", &text, "\0"]);
                return;
            }
            left.bytes -= bytes;
        }
        let fields = if in_metadata {
            &mut self.metadata
        } else {
            &mut self.fields
        };
        fields.push((escaped_key(key), value));
    }
}

/// A key as it is stored.
fn escaped_key(key: Cow<'_, str>) -> Cow<'_, str> {
    match key {
        Cow::Borrowed(key) => escaped(key),
        Cow::Owned(key) => Cow::Owned(escaped(&key).into_owned()),
    }
}
