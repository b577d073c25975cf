//! Documents in JSON, YAML, JSON lines and CSV. Keys keep their order; keys may be added, none is removed.

mod csv;
mod json;

use std::borrow::Cow;
use std::io::{self, BufWriter, StdoutLock, Write};

use kube9_db::read::{Page, Row};
use kube9_model::invisible::is_invisible_in_text;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::args::{Field, Format};
use crate::error::CliError;
use crate::watchdog;

pub(crate) use csv::{Csv, quoted as csv_cell};
pub(crate) use json::{to_line, to_yaml_line};

/// Buffered stdout. [`Stdout::finish`] flushes it, so that a full disk is an error.
pub(crate) struct Stdout(BufWriter<UntimedStdout>);

/// Stdout with the watchdog paused: the reader may be a pager.
struct UntimedStdout(StdoutLock<'static>);

impl Write for UntimedStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // StdoutLock has its own line buffer; `flush` writes the rest.
        watchdog::pause(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        watchdog::pause(|| self.0.flush())
    }
}

impl Stdout {
    pub(crate) fn lock() -> Self {
        Self(BufWriter::with_capacity(
            16 * 1024,
            UntimedStdout(io::stdout().lock()),
        ))
    }

    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        Ok(self.0.flush()?)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a document as YAML, or else as indented JSON.
pub(crate) fn write_document(
    out: &mut impl Write,
    format: Format,
    document: &impl Serialize,
) -> Result<(), CliError> {
    match format {
        Format::Yaml => write_yaml(out, document),
        _ => write_json(out, document),
    }
}

/// Writes a document as indented JSON.
pub(crate) fn write_json(out: &mut impl Write, document: &impl Serialize) -> Result<(), CliError> {
    json::write_text(out, document).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Writes a document as YAML. The serializer does not escape all characters that must not reach a terminal; a document with
/// such a character is written in YAML's flow style, where they can be escaped. The first pass only checks, so that a page
/// of megabytes is not held in memory as text.
pub(crate) fn write_yaml(out: &mut impl Write, document: &impl Serialize) -> Result<(), CliError> {
    let mut scan = HiddenCharScan::default();
    serde_yaml::to_fmt_writer(&mut scan, document).map_err(io::Error::other)?;
    if scan.finish() {
        json::write_yaml_flow(out, document).map_err(io::Error::from)?;
        Ok(writeln!(out)?)
    } else {
        Ok(serde_yaml::to_io_writer(out, document).map_err(io::Error::other)?)
    }
}

/// Searches streamed text for characters that must be escaped.
#[derive(Default)]
struct HiddenCharScan {
    before: Option<char>,
    last: Option<char>,
    found: bool,
}

impl HiddenCharScan {
    fn push(&mut self, after: Option<char>) {
        if let Some(c) = self.last.filter(|&c| c != '\n') {
            self.found |= is_invisible_in_text(self.before, c, after);
        }
        (self.before, self.last) = (self.last, after);
    }

    fn finish(mut self) -> bool {
        self.push(None);
        self.found
    }
}

impl std::fmt::Write for HiddenCharScan {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        text.chars().for_each(|c| self.push(Some(c)));
        Ok(())
    }
}

/// How a document contains metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetadataEncoding {
    /// As the stored JSON text, where that is safe.
    Json,
    /// As parsed values.
    Yaml,
}

/// An event, or some of its columns.
pub(crate) struct Event<'a> {
    pub(crate) row: &'a Row,
    pub(crate) fields: &'a [Field],
    pub(crate) encoding: MetadataEncoding,
    /// Value of an additional last key `change`.
    pub(crate) change: Option<&'static str>,
}

impl<'a> Event<'a> {
    /// All columns.
    pub(crate) const fn whole(row: &'a Row, encoding: MetadataEncoding) -> Self {
        Self {
            row,
            fields: &Field::COLUMNS,
            encoding,
            change: None,
        }
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            match field {
                Field::Metadata => match raw_metadata(self.row)
                    .filter(|_| self.encoding == MetadataEncoding::Json)
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

/// The text of a column; `None` if it is null or metadata.
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

/// Metadata as values; an empty object if there is none. In a damaged database it may be invalid, too long or nested too
/// deeply; then it stays a string.
pub(crate) fn metadata(row: &Row) -> Value {
    let Some(text) = &row.metadata else {
        return Value::Object(serde_json::Map::new());
    };
    let read = (text.len() <= METADATA_BYTES_MAX).then(|| serde_json::from_str(text).ok());
    read.flatten()
        .unwrap_or_else(|| Value::String(text.clone()))
}

/// Longest text that is parsed as JSON, 25 times what the recorder writes: parsed it takes up to 40 times its bytes.
const METADATA_BYTES_MAX: usize = 256 << 10;

/// Nesting up to which serde_json parses values; the limit of metadata in every format.
const DEPTH_MAX: usize = 127;

/// Whether JSON text is nested no deeper than [`DEPTH_MAX`].
fn is_shallow(json: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    json.bytes().all(|byte| {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= DEPTH_MAX
    })
}

/// One value of the metadata by its path `metadata.KEY`; null if absent.
pub(crate) fn metadata_value(row: &Row, path: &str) -> Value {
    let key = path.strip_prefix("metadata.").unwrap_or(path);
    match metadata(row) {
        Value::Object(mut map) => map.remove(key).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

/// The stored JSON text of metadata, if it is one line and within the limits.
fn raw_metadata(row: &Row) -> Option<&RawValue> {
    let text = row.metadata.as_deref()?;
    if text.bytes().any(|byte| byte < b' ') || text.len() > METADATA_BYTES_MAX || !is_shallow(text)
    {
        None
    } else {
        serde_json::from_str(text).ok()
    }
}

/// A value as the text of a cell.
pub(crate) fn cell(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The document of a list: rows under a name such as `events`, and the page that they are.
pub(crate) struct ListDocument<'a> {
    name: &'static str,
    rows: Vec<Event<'a>>,
    pagination: Pagination,
}

impl Serialize for ListDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.name, &self.rows)?;
        map.serialize_entry("pagination", &self.pagination)?;
        map.end()
    }
}

#[derive(Serialize)]
struct Pagination {
    total: u64,
    limit: usize,
    offset: u64,
    returned: usize,
    next: Option<String>,
}

impl<'a> ListDocument<'a> {
    pub(crate) fn new(
        name: &'static str,
        page: &'a Page,
        limit: usize,
        offset: u64,
        fields: &'a [Field],
        encoding: MetadataEncoding,
    ) -> Self {
        Self {
            name,
            rows: page
                .rows
                .iter()
                .map(|row| Event {
                    row,
                    fields,
                    encoding,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shallow_deep_json_is_false() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (json, expected) in [
            (nested(DEPTH_MAX), true),
            (nested(DEPTH_MAX + 1), false),
            (nested(10_000), false),
            (format!("{{\"a\":\"{}\"}}", "[".repeat(1000)), true),
            (format!("{{\"a\\\"\":\"{}\"}}", "\\\"[".repeat(1000)), true),
            ("[]".repeat(1000), true),
        ] {
            assert_eq!(is_shallow(&json), expected, "{json}");
            let read = serde_json::from_str::<Value>(&json);
            let too_deep = read.is_err_and(|error| error.to_string().contains("recursion"));
            assert_eq!(too_deep, !expected, "{json}");
        }
    }
}
