//! The wire types: what JSON, YAML, JSON lines and CSV look like. Keys keep their order; new ones may come, none leaves.

mod csv;
mod json;

use std::borrow::Cow;
use std::io::{self, BufWriter, StdoutLock, Write};

use kube9_shared::read::{Page, Row};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::args::Field;
use crate::failure::Failure;
use crate::text::is_hostile;

pub(crate) use csv::{Csv, quoted as csv_cell};
pub(crate) use json::to_line;

/// Stdout, buffered. What is left is flushed by [`Out::finish`], so that a full disk is noticed.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn stdout() -> Self {
        Self(BufWriter::with_capacity(16 * 1024, io::stdout().lock()))
    }

    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a document as indented JSON.
pub(crate) fn write_json(out: &mut impl Write, document: &impl Serialize) -> Result<(), Failure> {
    json::write_text(out, document).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Writes a document as YAML. The writer leaves some characters as they are that must not reach a terminal; a document
/// with one of these is written in YAML's JSON style, in which they can be escaped.
pub(crate) fn write_yaml(out: &mut impl Write, document: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_yaml::to_string(document).map_err(io::Error::other)?;
    if text.chars().any(|c| c != '\n' && is_hostile(c)) {
        text = json::to_yaml_flow(document).map_err(io::Error::from)?;
        text.push('\n');
    }
    Ok(out.write_all(text.as_bytes())?)
}

/// Which form a document takes; decides how metadata is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Metadata's own text, untouched where that is safe.
    Json,
    /// Metadata as values.
    Yaml,
}

/// An event as the contract shows it, or some of its fields.
pub(crate) struct Event<'a> {
    pub(crate) row: &'a Row,
    pub(crate) fields: &'a [Field],
    pub(crate) form: Form,
    /// What happened to it, where that is told: a last key `change`.
    pub(crate) change: Option<&'static str>,
}

impl<'a> Event<'a> {
    /// All of the contract's fields.
    pub(crate) const fn whole(row: &'a Row, form: Form) -> Self {
        Self {
            row,
            fields: &Field::CONTRACT,
            form,
            change: None,
        }
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            match field {
                Field::Metadata => match raw_metadata(self.row).filter(|_| self.form == Form::Json)
                {
                    Some(raw) => map.serialize_entry(field.name(), raw)?,
                    None => map.serialize_entry(field.name(), &metadata(self.row))?,
                },
                Field::MetadataKey(path) => {
                    map.serialize_entry(field.name(), &metadata_value(self.row, path))?
                }
                column => map.serialize_entry(field.name(), &text_of(self.row, column))?,
            }
        }
        if let Some(change) = self.change {
            map.serialize_entry("change", change)?;
        }
        map.end()
    }
}

/// The text of a column; `None` where the row has none. Metadata's columns are not text.
pub(crate) fn text_of<'a>(row: &'a Row, field: &Field) -> Option<&'a str> {
    match field {
        Field::Id => Some(&row.id),
        Field::EventType => Some(&row.event_type),
        Field::Severity => Some(&row.severity),
        Field::Title => Some(&row.title),
        Field::Description => row.description.as_deref(),
        Field::ObjectKind => row.object_kind.as_deref(),
        Field::ObjectNamespace => row.object_namespace.as_deref(),
        Field::ObjectName => row.object_name.as_deref(),
        Field::CreatedAt => Some(&row.created_at),
        Field::Metadata | Field::MetadataKey(_) => None,
    }
}

/// Metadata as values. Without any it is an empty object; what is no JSON (in a foreign database) stays a text.
pub(crate) fn metadata(row: &Row) -> Value {
    match &row.metadata {
        None => Value::Object(serde_json::Map::new()),
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
    }
}

/// One value of the metadata by its path `metadata.KEY`; null where it is absent.
pub(crate) fn metadata_value(row: &Row, path: &str) -> Value {
    let key = path.strip_prefix("metadata.").unwrap_or(path);
    match metadata(row) {
        Value::Object(mut map) => map.remove(key).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

/// Metadata's own text, if it is JSON on one line.
fn raw_metadata(row: &Row) -> Option<&RawValue> {
    let text = row.metadata.as_deref()?;
    if text.bytes().any(|byte| byte < b' ') {
        None
    } else {
        serde_json::from_str(text).ok()
    }
}

/// A value as one cell of text.
pub(crate) fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// `events list`.
#[derive(Serialize)]
pub(crate) struct List<'a> {
    events: Vec<Event<'a>>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct Pagination {
    total: u64,
    limit: usize,
    offset: u64,
    returned: usize,
    next: Option<String>,
}

impl<'a> List<'a> {
    pub(crate) fn new(
        page: &'a Page,
        limit: usize,
        offset: u64,
        fields: &'a [Field],
        form: Form,
    ) -> Self {
        Self {
            events: page
                .rows
                .iter()
                .map(|row| Event {
                    row,
                    fields,
                    form,
                    change: None,
                })
                .collect(),
            pagination: Pagination {
                total: page.total,
                limit,
                offset,
                returned: page.rows.len(),
                next: page.next.as_ref().map(ToString::to_string),
            },
        }
    }
}
