//! Reads rows by key: decodes the common case here, and reads the others from the view `event_detail`.
//!
//! The view defines what a row contains, for any SQLite client. But its text functions cost 25 µs a row, and preparing it
//! as much as 15 rows. Nearly every row needs little: integers to words, placeholders to values, one flat JSON object.
//! Unexpected values (escapes, a uid of another length, a time outside the calendar) are left to the view.
//!
//! Invariant: both return the same row; `tests/equivalence.rs` compares whole rows.

use std::borrow::Cow;

use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity, placeholder};
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use serde::Serialize;

use super::ReadError;
use super::args::{Arg, parse_args};
use super::limits::VALUE_BYTES_MAX;
use super::row::{self, Row};
use crate::schema;

/// The unary plus: without it SQLite chooses the plan by the value and prepares the statement again for each, which took
/// half of the time of a row.
const ROW_SQL: &str = "SELECT e.type, e.severity, e.args, e.uid, e.count, e.occurrences, e.first_offset_ms, e.last_offset_ms, e.extra, \
     r.reason, r.title, r.component, r.container, r.kube_type, t.body, o.name, s.kind, s.namespace, n.name, os.kind, oo.name, \
     r.id IS NULL OR t.id IS NULL OR (e.object IS NOT NULL AND s.id IS NULL) OR (e.node IS NOT NULL AND n.id IS NULL), \
     e.imported_id, e.imported_at, t.hash FROM event e LEFT JOIN event_class r ON r.id = e.class LEFT JOIN message_template t ON t.id = e.template \
     LEFT JOIN object o ON o.id = e.object LEFT JOIN scope s ON s.id = o.scope LEFT JOIN node n ON n.id = e.node \
     LEFT JOIN object oo ON oo.id = o.owner LEFT JOIN scope os ON os.id = oo.scope WHERE e.key = +?";

/// Reads rows by key.
pub(super) struct RowReader<'c> {
    connection: &'c Connection,
    statement: CachedStatement<'c>,
}

impl<'c> RowReader<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            statement: connection.prepare_cached(ROW_SQL)?,
        })
    }

    /// The row with this key.
    ///
    /// # Errors
    /// Also if an id of the row does not exist, a name is not a text, or its template has another hash: then a page of
    /// another table is damaged.
    pub(super) fn get(&mut self, key: i64) -> Result<Option<Row>, ReadError> {
        let found = self
            .statement
            .query_row([key], |raw| {
                let is_damaged = raw.get(21)?
                    || !is_template_intact(raw.get_ref(14)?, raw.get_ref(24)?)
                    || !are_names_intact(raw)?;
                Ok((is_damaged, decode(key, raw)?))
            })
            .optional()?;
        let found = match found {
            Some((true, _)) => return Err(ReadError::INCONSISTENT),
            found => found.map(|(_, row)| row),
        };
        match found {
            None => Ok(None),
            Some(Some((row, None))) => Ok(Some(row)),
            // SQLite merges further metadata.
            Some(Some((mut row, Some(extra)))) => {
                let mut merge = self.connection.prepare_cached("SELECT json_patch(?, ?)")?;
                row.metadata = merge.query_row((row.metadata, extra), |row| row.get(0))?;
                Ok(Some(row))
            }
            Some(None) => Ok(row::by_key(self.connection)?
                .query_row([key], row::from_sql)
                .optional()?),
        }
    }
}

/// The row, and metadata that is still to be merged. `None` if the view must decode it.
fn decode(key: i64, raw: &rusqlite::Row<'_>) -> rusqlite::Result<Option<(Row, Option<String>)>> {
    let text =
        |column| -> rusqlite::Result<Option<&str>> { Ok(raw.get_ref(column)?.as_str().ok()) };
    let number = |column| raw.get::<_, Option<i64>>(column);
    let is_expected = (0..21)
        .chain([22, 23])
        .try_fold(true, |is_expected, column| {
            let value = raw.get_ref(column)?;
            Ok::<_, rusqlite::Error>(is_expected && is_expected_type(column, value))
        })?;
    let names = (text(9)?, text(10)?, text(14)?);
    let (true, (Some(reason), Some(title), Some(body))) = (is_expected, names) else {
        return Ok(None);
    };
    let (event_type, severity) = (raw.get(0)?, raw.get(1)?);
    let (name, kind, namespace) = (text(15)?, text(16)?, text(17)?);
    let args = match text(2)? {
        None => None,
        Some(json) => match parse_args(json.as_bytes()) {
            None => return Ok(None),
            args => args,
        },
    };
    let mut description = String::with_capacity(body.len());
    let rendered = render_template(
        (body, placeholders(body)),
        name.unwrap_or(""),
        namespace.unwrap_or(""),
        args.as_deref(),
        &mut description,
    );
    // The view replaces one placeholder after the other, also within values: these must not contain any.
    if rendered.is_none() || placeholders(&description).next().is_some() {
        return Ok(None);
    }
    let imported = match (text(22)?, text(23)?) {
        (None, None) => None,
        (Some(id), Some(created_at)) => Some((id, created_at)),
        _ => return Ok(None),
    };
    let created = EventKey::from_i64(key).created_at();
    let at = |ms: i64| created.millis().checked_add(ms).map(Timestamp::from_millis);
    let (first, last) = (at(number(6)?.unwrap_or(0)), at(raw.get(7)?));
    let times = (first.filter(is_in_calendar), last.filter(is_in_calendar));
    let (true, (Some(first), Some(last))) = (is_in_calendar(&created), times) else {
        return Ok(None);
    };
    let owner = text(19)?
        .zip(text(20)?)
        .map(|(kind, name)| format!("{kind}/{name}"));
    let metadata = Metadata {
        reason: non_empty(Some(reason)),
        count: number(4)?,
        first_timestamp: first.to_string(),
        last_timestamp: last.to_string(),
        uid: uid(raw.get_ref(3)?),
        occurrences: number(5)?,
        kube_type: non_empty(text(13)?),
        reporting_component: non_empty(text(11)?),
        container: non_empty(text(12)?),
        node: text(18)?,
        owner,
    };
    let Ok(metadata) = serde_json::to_string(&metadata) else {
        return Ok(None);
    };
    let row = Row {
        id: EventKey::from_i64(key).to_string(),
        event_type: EventType::of_row(event_type)
            .unwrap_or(EventType::System)
            .to_string(),
        severity: Severity::from_code(severity)
            .unwrap_or(Severity::Critical)
            .to_string(),
        title: title.to_owned(),
        description: Some(description),
        object_kind: kind.map(str::to_owned),
        object_namespace: non_empty(namespace).map(str::to_owned),
        object_name: name.map(str::to_owned),
        metadata: Some(metadata),
        created_at: created.to_string(),
    };
    let extra = text(8)?.map(str::to_owned);
    let Some((id, created_at)) = imported else {
        return Ok(Some((row, extra)));
    };
    let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
    let row = Row {
        id: id.to_owned(),
        created_at: created_at.to_owned(),
        description: non_empty(row.description),
        object_kind: non_empty(row.object_kind),
        object_name: non_empty(row.object_name),
        metadata: extra,
        ..row
    };
    Ok(Some((row, None)))
}

/// Whether a template is the one of this hash. Without the check a page of another table could pass for one of templates.
pub(super) fn is_template_intact(body: ValueRef<'_>, hash: ValueRef<'_>) -> bool {
    match body.as_str() {
        Ok(text) => hash.as_i64() == Ok(i64::from(schema::template_hash(text))),
        Err(_) => is_text_or_bytes(body),
    }
}

/// Whether the names of a row of [`ROW_SQL`] can be some. Rows of another table often have numbers there, or fewer columns.
fn are_names_intact(raw: &rusqlite::Row<'_>) -> rusqlite::Result<bool> {
    (9..21)
        .filter(|column| *column != 14)
        .try_fold(true, |are_intact, column| {
            let value = raw.get_ref(column)?;
            let is_absent = column > 14 && value == ValueRef::Null;
            Ok(are_intact && (is_absent || is_text_or_bytes(value)))
        })
}

fn is_text_or_bytes(value: ValueRef<'_>) -> bool {
    matches!(value, ValueRef::Text(_) | ValueRef::Blob(_))
}

/// Whether a value of [`ROW_SQL`] has a type that the recorder writes there.
fn is_expected_type(column: usize, value: ValueRef<'_>) -> bool {
    let is_number = matches!(column, 0 | 1 | 4..=7);
    match value {
        ValueRef::Null => !matches!(column, 0 | 1 | 7 | 9 | 10 | 14),
        ValueRef::Integer(_) => is_number,
        ValueRef::Text(bytes) => !is_number && std::str::from_utf8(bytes).is_ok(),
        ValueRef::Blob(bytes) => column == 3 && bytes.len() == 16,
        ValueRef::Real(_) => false,
    }
}

/// Whether the year has four digits, which SQLite and we format alike.
fn is_in_calendar(time: &Timestamp) -> bool {
    (Timestamp::EPOCH..=Timestamp::MAX).contains(time)
}

/// Positions of the placeholders of a template, the characters below 8.
pub(super) fn placeholders(body: &str) -> impl Iterator<Item = usize> {
    let places = body.bytes().enumerate();
    places.filter_map(|(at, byte)| (1..8).contains(&byte).then_some(at))
}

/// Appends the description. `None` if it exceeds the limit of a value, which SQLite then reports.
pub(super) fn render_template(
    (body, places): (&str, impl Iterator<Item = usize>),
    name: &str,
    namespace: &str,
    args: Option<&[Arg<'_>]>,
    into: &mut String,
) -> Option<()> {
    let mut from = 0;
    for at in places {
        into.push_str(&body[from..at]);
        from = at + 1;
        match (char::from(body.as_bytes()[at]), args) {
            (placeholder::NAME, _) => into.push_str(name),
            (placeholder::NAMESPACE, _) => into.push_str(namespace),
            (place, Some(args)) => {
                let number = placeholder::ARGS.iter().position(|arg| *arg == place);
                if let Some(arg) = number.and_then(|number| args.get(number)) {
                    arg.push_to(into);
                }
            }
            (place, None) => into.push(place),
        }
        if into.len() > VALUE_BYTES_MAX as usize {
            return None;
        }
    }
    into.push_str(&body[from..]);
    Some(())
}

/// `None` for the empty text, which stands for no value.
fn non_empty(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The uid as text. [`is_expected_type`] admits 16 bytes and text.
fn uid(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Blob(bytes) => {
            let uuid = u128::from_be_bytes(bytes.try_into().ok()?);
            Some(Cow::Owned(format!(
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                uuid >> 96,
                uuid >> 80 & 0xffff,
                uuid >> 64 & 0xffff,
                uuid >> 48 & 0xffff,
                uuid & 0xffff_ffff_ffff
            )))
        }
        other => other.as_str().ok().map(Cow::Borrowed),
    }
}

/// The metadata in the order and format of the view; omits absent values.
#[derive(Debug, Default, Serialize)]
struct Metadata<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
    first_timestamp: String,
    last_timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurrences: Option<i64>,
    #[serde(rename = "type")]
    #[serde(skip_serializing_if = "Option::is_none")]
    kube_type: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reporting_component: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};

    use super::*;

    #[test]
    fn get_does_not_prepare_statement_again() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&crate::schema::create()).unwrap();
        let mut rows = RowReader::new(&db).unwrap();
        for key in 0..3 {
            assert_eq!(rows.get(key).unwrap(), None);
        }
        assert_eq!(rows.statement.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn metadata_is_escaped_as_sqlite_does() {
        let db = Connection::open_in_memory().unwrap();
        for byte in 1..=127_u8 {
            let text = format!("a{}b", char::from(byte));
            let expected: String = db
                .query_row("SELECT json_object('key', ?)", [&text], |row| row.get(0))
                .unwrap();
            let printed = serde_json::json!({ "key": text }).to_string();
            assert_eq!(printed, expected, "{byte}");
        }
    }
}
