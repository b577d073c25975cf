//! The path of a field, and patterns of paths.
//!
//! ```text
//!   spec.template.spec.containers[app].image     [app]   the element of a list whose identity is "app"
//!   spec.ports[80/TCP].nodePort
//!   spec.rules[0].host                           [0]     the index in a list without identities
//!   metadata.labels["app.kubernetes.io/name"]    ["…"]   any text, quoted as in JSON
//!
//!   spec.*.image      *   one segment            a pattern: compared segment by segment
//!   spec.**           **  any number of them, also none
//! ```
//!
//! Invariant: what a path prints, [`Path::parse`] reads as a path that prints the same.

use std::fmt;
use std::str::FromStr;

/// Longest text of a path or a pattern that is read: 64 segments of 63 characters.
const TEXT_BYTES_MAX: usize = 4096;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// A field of an object or a key of a map.
    Field(Box<str>),
    /// An element of a list, by its identity.
    Element(Box<str>),
    /// An element of a list without identities, by its position.
    Index(u32),
}

impl Segment {
    /// Whether a pattern's literal names this segment.
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Field(name) | Self::Element(name) => &**name == text,
            Self::Index(index) => text.parse() == Ok(*index),
        }
    }
}

/// Where a value is within an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(Vec<Segment>);

impl Path {
    /// From the root to the value.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether `self` is `other` or contains it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Reads the text that a path prints.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let parts = parts(text)?;
        let segment = |part| match part {
            Part::Word(word) if word.contains('*') => Err(BadPath::Wildcard(text.to_owned())),
            Part::Word(word) => Ok(Segment::Field(word.into())),
            Part::Quoted(word) => Ok(Segment::Field(word.into())),
            Part::Bracket(word) => Ok(word.parse().map_or_else(
                |_| Segment::Element(word.into()),
                |index: u32| Segment::Index(index),
            )),
        };
        parts.into_iter().map(segment).collect()
    }
}

impl FromIterator<Segment> for Path {
    fn from_iter<T: IntoIterator<Item = Segment>>(segments: T) -> Self {
        Self(segments.into_iter().collect())
    }
}

impl From<Vec<Segment>> for Path {
    fn from(segments: Vec<Segment>) -> Self {
        Self(segments)
    }
}

impl FromStr for Path {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => push_field(&mut out, name),
                Segment::Element(key) => push_element(&mut out, key),
                Segment::Index(index) => push_index(&mut out, *index),
            }
        }
        f.write_str(&out)
    }
}

/// Appends a field to the text of a path.
pub fn push_field(path: &mut String, name: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/' | b'$');
    // Digits alone are quoted as those of an element are, so that both print as they were read.
    if !name.bytes().all(plain) || is_number(name) {
        push_quoted(path, name);
        return;
    }
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Appends the element of a list to the text of a path.
pub fn push_element(path: &mut String, key: &str) {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'[' | b']' | b'"' | b'*');
    // Digits alone would read as an index.
    if !key.bytes().all(plain) || is_number(key) {
        push_quoted(path, key);
        return;
    }
    path.push('[');
    path.push_str(key);
    path.push(']');
}

/// Whether a text is digits alone, or empty.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn push_index(path: &mut String, index: u32) {
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
}

fn push_quoted(path: &mut String, text: &str) {
    path.push('[');
    path.push_str(&serde_json::Value::from(text).to_string());
    path.push(']');
}

/// The text is not a path or a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// More than [`TEXT_BYTES_MAX`].
    #[error("path has {0} bytes, at most {TEXT_BYTES_MAX} are read")]
    TooLong(usize),
    /// A name is missing: the text is empty, or has two dots in a row.
    #[error("path {0:?} has an empty segment; write [\"\"] for a key without characters")]
    Empty(String),
    /// A bracket or a quote is not closed, or text follows it.
    #[error("path {0:?} has an unfinished bracket; write labels[\"app.kubernetes.io/name\"]")]
    Bracket(String),
    /// `*` in a path, or beside other characters.
    #[error(
        "path {0:?}: * stands for one whole segment, ** for any number; write [\"*\"] for the character"
    )]
    Wildcard(String),
}

/// What one segment is written as.
enum Part<'t> {
    Word(&'t str),
    Quoted(String),
    Bracket(&'t str),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, BadPath> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(BadPath::TooLong(text.len()));
    }
    let (empty, bracket) = (
        || BadPath::Empty(text.to_owned()),
        || BadPath::Bracket(text.to_owned()),
    );
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        if let Some(inner) = rest.strip_prefix('[') {
            if inner.starts_with('"') {
                let mut values = serde_json::Deserializer::from_str(inner).into_iter::<String>();
                let quoted = values.next().and_then(Result::ok).ok_or_else(bracket)?;
                rest = inner[values.byte_offset()..]
                    .strip_prefix(']')
                    .ok_or_else(bracket)?;
                parts.push(Part::Quoted(quoted));
            } else {
                let (word, behind) = inner.split_once(']').ok_or_else(bracket)?;
                if word.contains('*') {
                    return Err(BadPath::Wildcard(text.to_owned()));
                }
                if word.is_empty() || word.contains(['[', '"']) {
                    return Err(bracket());
                }
                parts.push(Part::Bracket(word));
                rest = behind;
            }
        } else {
            let end = rest.find(['.', '[', ']', '"']).unwrap_or(rest.len());
            if end == 0 {
                return Err(empty());
            }
            parts.push(Part::Word(&rest[..end]));
            rest = &rest[end..];
        }
        if rest.is_empty() {
            return Ok(parts);
        }
        match rest.strip_prefix('.') {
            Some(behind) => rest = behind,
            None if rest.starts_with('[') => {}
            None => return Err(bracket()),
        }
    }
}

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// The segment with this text.
    Literal(Box<str>),
    /// A segment that begins so; written in tables of kinds only.
    Prefix(Box<str>),
    /// `*`: one segment.
    One,
    /// `**`: any number of segments.
    Many,
}

/// A pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Step>);

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let parts = parts(text)?;
        let step = |part| match part {
            Part::Word("*") => Ok(Step::One),
            Part::Word("**") => Ok(Step::Many),
            Part::Word(word) if word.contains('*') => Err(BadPath::Wildcard(text.to_owned())),
            Part::Word(word) | Part::Bracket(word) => Ok(Step::Literal(word.into())),
            Part::Quoted(word) => Ok(Step::Literal(word.into())),
        };
        parts
            .into_iter()
            .map(step)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The pattern followed by a last step.
    pub fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether it matches the whole path.
    pub fn matches(&self, path: &Path) -> bool {
        // As for globs: after a mismatch, the last `**` takes one segment more.
        let (steps, segments) = (&self.0, &path.0);
        let (mut step, mut at) = (0, 0);
        let mut retry = None;
        loop {
            match (steps.get(step), segments.get(at)) {
                (None, None) => return true,
                (Some(Step::Many), _) => {
                    retry = Some((step, at));
                    step += 1;
                    continue;
                }
                (Some(one), Some(segment)) if one.takes(segment) => {
                    step += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((many, from)) if from < segments.len() => {
                    retry = Some((many, from + 1));
                    step = many + 1;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }
}

impl Step {
    fn takes(&self, segment: &Segment) -> bool {
        match (self, segment) {
            (Self::Literal(text), _) => segment.is(text),
            (Self::Prefix(start), Segment::Field(name) | Segment::Element(name)) => {
                name.starts_with(&**start)
            }
            (Self::Prefix(_), Segment::Index(_)) => false,
            (Self::One | Self::Many, _) => true,
        }
    }
}

impl FromStr for Pattern {
    type Err = BadPath;
    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        for step in &self.0 {
            match step {
                Step::Literal(text) => push_field(&mut out, text),
                Step::Prefix(start) => push_quoted(&mut out, &format!("{start}*")),
                Step::One | Step::Many => {
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(if *step == Step::One { "*" } else { "**" });
                }
            }
        }
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Segment {
        Segment::Field(name.into())
    }

    fn element(key: &str) -> Segment {
        Segment::Element(key.into())
    }

    #[test]
    fn path_is_printed_as_people_write_it() {
        let cases: [(&[Segment], &str); 9] = [
            (&[field("spec"), field("replicas")], "spec.replicas"),
            (
                &[
                    field("spec"),
                    field("containers"),
                    element("app"),
                    field("image"),
                ],
                "spec.containers[app].image",
            ),
            (
                &[
                    field("metadata"),
                    field("labels"),
                    field("app.kubernetes.io/name"),
                ],
                "metadata.labels[\"app.kubernetes.io/name\"]",
            ),
            (&[field("ports"), element("80/TCP")], "ports[80/TCP]"),
            (&[field("ports"), element("8080")], "ports[\"8080\"]"),
            (&[field("rules"), Segment::Index(0)], "rules[0]"),
            (&[field("data"), field("")], "data[\"\"]"),
            (&[field("data"), field("*")], "data[\"*\"]"),
            (
                &[field("a b"), field("\"]\n\u{7f}")],
                "[\"a b\"][\"\\\"]\\n\u{7f}\"]",
            ),
        ];
        for (segments, text) in cases {
            assert_eq!(Path::from(segments.to_vec()).to_string(), text);
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn path_with_a_mistake_says_what_to_write() {
        for (text, expected) in [
            ("", BadPath::Empty(String::new())),
            ("a..b", BadPath::Empty("a..b".to_owned())),
            ("a.", BadPath::Empty("a.".to_owned())),
            (".a", BadPath::Empty(".a".to_owned())),
            ("a[b", BadPath::Bracket("a[b".to_owned())),
            ("a[]", BadPath::Bracket("a[]".to_owned())),
            ("a[\"b]", BadPath::Bracket("a[\"b]".to_owned())),
            ("a[b]c", BadPath::Bracket("a[b]c".to_owned())),
            ("a]", BadPath::Bracket("a]".to_owned())),
            ("a[*].b", BadPath::Wildcard("a[*].b".to_owned())),
            ("a.b*", BadPath::Wildcard("a.b*".to_owned())),
        ] {
            assert_eq!(Path::parse(text), Err(expected.clone()), "{text}");
            assert_eq!(Pattern::parse(text), Err(expected), "{text}");
        }
        assert!(matches!(Path::parse("a.*"), Err(BadPath::Wildcard(_))));
        assert_eq!(
            Path::parse(&"a".repeat(TEXT_BYTES_MAX + 1)),
            Err(BadPath::TooLong(TEXT_BYTES_MAX + 1))
        );
    }

    #[test]
    fn pattern_matches_segment_by_segment() {
        let image = "spec.template.spec.containers[app].image";
        for (pattern, path, expected) in [
            ("spec.replicas", "spec.replicas", true),
            ("spec.replicas", "spec.replicasX", false),
            ("spec", "spec.replicas", false),
            ("spec.**", "spec.replicas", true),
            ("spec.**", "spec", true),
            ("spec.**", "status.spec", false),
            ("**.image", image, true),
            ("**.containers.*.image", image, true),
            ("**.containers[app].image", image, true),
            ("**.containers[other].image", image, false),
            ("spec.*.image", image, false),
            ("**.spec.**.image", image, true),
            ("**", image, true),
            ("**.*", image, true),
            ("metadata.labels.*", "metadata.labels[\"a.b/c\"]", true),
            (
                "metadata.labels[\"a.b/c\"]",
                "metadata.labels[\"a.b/c\"]",
                true,
            ),
            ("data[\"*\"]", "data.x", false),
            ("data[\"*\"]", "data[\"*\"]", true),
            ("spec.rules[0].host", "spec.rules[0].host", true),
            ("spec.rules.*.host", "spec.rules[7].host", true),
        ] {
            let (pattern, path) = (Pattern::parse(pattern).unwrap(), Path::parse(path).unwrap());
            assert_eq!(pattern.matches(&path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn pattern_with_many_wildcards_ends() {
        let pattern = Pattern::parse(&["**.a"; 40].join(".")).unwrap();
        let path = Path::parse(&["a"; 60].join(".")).unwrap();
        assert!(pattern.matches(&path));
        let pattern = pattern.then(Step::Literal("b".into()));
        assert!(!pattern.matches(&path));
    }

    #[test]
    fn pattern_prints_what_it_reads() {
        for text in ["spec.**", "**.image", "a.*.b", "labels[\"a.b\"]"] {
            assert_eq!(Pattern::parse(text).unwrap().to_string(), text);
        }
    }
}
