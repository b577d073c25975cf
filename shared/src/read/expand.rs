//! Rows by their keys, expanded here where that is simple and by the view `event_detail` where it is not.
//!
//! The view is what a row is: any SQLite client reads the same. But its text functions cost 25 µs a row, and preparing it
//! as much as 15 rows. What nearly every row needs is little: numbers to words, placeholders to values, one flat JSON
//! object. Whatever is unusual (escapes, a uid of another length, a time beyond the calendar) is left to the view.
//!
//! Invariant: both say the same of every row; `tests/read_equals_naive.rs` compares whole rows.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::ReadError;
use super::args::args;
use super::row::{self, Row};
use crate::id::EventKey;
use crate::model::{EventType, Severity};
use crate::schema::placeholder;
use crate::time::Timestamp;

/// The unary plus: without it SQLite looks at the value to choose its plan, and prepares the statement anew for each, which
/// took half of a row's time.
const RAW: &str = "SELECT e.type, e.severity, e.args, e.uid, e.count, e.occurrences, e.first_ms, e.last_ms, e.extra, \
     r.reason, r.title, r.component, r.container, r.kube_type, t.body, o.name, s.kind, s.namespace, n.name, os.kind, oo.name, \
     r.id IS NULL OR t.id IS NULL OR (e.object IS NOT NULL AND s.id IS NULL) OR (e.node IS NOT NULL AND n.id IS NULL) \
     FROM event e LEFT JOIN reason r ON r.id = e.reason LEFT JOIN text t ON t.id = e.text \
     LEFT JOIN object o ON o.id = e.object LEFT JOIN scope s ON s.id = o.scope LEFT JOIN node n ON n.id = e.node \
     LEFT JOIN object oo ON oo.id = o.owner LEFT JOIN scope os ON os.id = oo.scope WHERE e.key = +?";

/// Reads rows.
pub(super) struct Rows<'c> {
    connection: &'c Connection,
    raw: CachedStatement<'c>,
}

impl<'c> Rows<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            raw: connection.prepare_cached(RAW)?,
        })
    }

    /// The row with this key; `None` where there is none.
    ///
    /// # Errors
    /// Also where a number of the row stands for nothing: then a page of another table is damaged.
    pub(super) fn get(&mut self, key: i64) -> Result<Option<Row>, ReadError> {
        let found = self
            .raw
            .query_row([key], |raw| {
                let dangles: bool = raw.get(21)?;
                Ok((dangles, expand(key, raw)?))
            })
            .optional()?;
        let found = match found {
            Some((true, _)) => return Err(ReadError::INCONSISTENT),
            found => found.map(|(_, row)| row),
        };
        match found {
            None => Ok(None),
            Some(Some((row, None))) => Ok(Some(row)),
            // Further metadata: SQLite merges it.
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

/// The row, with metadata that is still to be merged in. `None`: the view has to say.
fn expand(key: i64, raw: &rusqlite::Row<'_>) -> rusqlite::Result<Option<(Row, Option<String>)>> {
    let text =
        |column| -> rusqlite::Result<Option<&str>> { Ok(raw.get_ref(column)?.as_str().ok()) };
    let number = |column| raw.get::<_, Option<i64>>(column);
    let usual = (0..21).try_fold(true, |usual, column| {
        let value = raw.get_ref(column)?;
        Ok::<_, rusqlite::Error>(usual && is_usual(column, value))
    })?;
    let names = (text(9)?, text(10)?, text(14)?);
    let (true, (Some(reason), Some(title), Some(body))) = (usual, names) else {
        return Ok(None);
    };
    let (event_type, severity) = (raw.get(0)?, raw.get(1)?);
    let (name, kind, namespace) = (text(15)?, text(16)?, text(17)?);
    let Some(description) = fill(body, name.unwrap_or(""), namespace.unwrap_or(""), text(2)?)
    else {
        return Ok(None);
    };
    let created = EventKey::from_i64(key).created_at();
    let at = |ms: i64| created.millis().checked_add(ms).map(Timestamp::from_millis);
    let (first, last) = (at(number(6)?.unwrap_or(0)), at(raw.get(7)?));
    let times = (first.filter(is_in_calendar), last.filter(is_in_calendar));
    let (true, (Some(first), Some(last))) = (is_in_calendar(&created), times) else {
        return Ok(None);
    };
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let owner = text(19)?
        .zip(text(20)?)
        .map(|(kind, name)| format!("{kind}/{name}"));
    let mut metadata = Object::default();
    metadata.text("reason", filled(Some(reason)).as_deref());
    metadata.number("count", number(4)?);
    metadata.text("first_timestamp", Some(&first.to_string()));
    metadata.text("last_timestamp", Some(&last.to_string()));
    metadata.text("uid", uid(raw.get_ref(3)?).as_deref());
    metadata.number("occurrences", number(5)?);
    metadata.text("type", filled(text(13)?).as_deref());
    metadata.text("reporting_component", filled(text(11)?).as_deref());
    metadata.text("container", filled(text(12)?).as_deref());
    metadata.text("node", text(18)?);
    metadata.text("owner", owner.as_deref());
    let row = Row {
        id: EventKey::from_i64(key).to_string(),
        event_type: EventType::from_code(event_type)
            .unwrap_or(EventType::System)
            .to_string(),
        severity: Severity::from_code(severity)
            .unwrap_or(Severity::Critical)
            .to_string(),
        title: title.to_owned(),
        description: Some(description),
        object_kind: kind.map(str::to_owned),
        object_namespace: filled(namespace),
        object_name: name.map(str::to_owned),
        metadata: Some(metadata.finish()),
        created_at: created.to_string(),
    };
    Ok(Some((row, text(8)?.map(str::to_owned))))
}

/// Whether a value of [`RAW`] is of a kind that the recorder writes there.
fn is_usual(column: usize, value: ValueRef<'_>) -> bool {
    let is_number = matches!(column, 0 | 1 | 4..=7);
    match value {
        ValueRef::Null => !matches!(column, 0 | 1 | 7 | 9 | 10 | 14),
        ValueRef::Integer(_) => is_number,
        ValueRef::Text(bytes) => !is_number && std::str::from_utf8(bytes).is_ok(),
        ValueRef::Blob(bytes) => column == 3 && bytes.len() == 16,
        ValueRef::Real(_) => false,
    }
}

/// Years that both ways write with four digits.
fn is_in_calendar(time: &Timestamp) -> bool {
    (Timestamp::EPOCH..=Timestamp::MAX).contains(time)
}

/// The description. `None`: its arguments need a parser.
fn fill(body: &str, name: &str, namespace: &str, json: Option<&str>) -> Option<String> {
    let args = match json {
        None => None,
        Some(json) => Some(args(json.as_bytes())?),
    };
    let mut filled = String::with_capacity(body.len() + name.len() + namespace.len());
    let mut rest = body;
    while let Some(at) = rest.bytes().position(|byte| (1..8).contains(&byte)) {
        filled.push_str(&rest[..at]);
        let place = char::from(rest.as_bytes()[at]);
        rest = &rest[at + 1..];
        match (place, &args) {
            (placeholder::NAME, _) => filled.push_str(name),
            (placeholder::NAMESPACE, _) => filled.push_str(namespace),
            (place, Some(args)) => {
                let number = placeholder::ARGS.iter().position(|arg| *arg == place)?;
                filled.push_str(std::str::from_utf8(args.get(number)).ok()?);
            }
            (place, None) => filled.push(place),
        }
    }
    filled.push_str(rest);
    Some(filled)
}

/// The uid as text: [`is_usual`] lets 16 bytes and text through.
fn uid(value: ValueRef<'_>) -> Option<String> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match value {
        ValueRef::Blob(bytes) => {
            let mut text = String::with_capacity(36);
            for (at, byte) in bytes.iter().enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    text.push('-');
                }
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
            Some(text)
        }
        other => other.as_str().ok().map(str::to_owned),
    }
}

/// A flat JSON object as SQLite prints it; what is absent is left out.
#[derive(Default)]
struct Object(String);

impl Object {
    fn key(&mut self, key: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push('"');
        self.0.push_str(key);
        self.0.push_str("\":");
    }

    fn number(&mut self, key: &str, value: Option<i64>) {
        if let Some(value) = value {
            self.key(key);
            self.0.push_str(&value.to_string());
        }
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.key(key);
        self.0.push('"');
        let mut rest = value;
        while let Some(at) = rest
            .bytes()
            .position(|byte| byte < b' ' || matches!(byte, b'"' | b'\\'))
        {
            self.0.push_str(&rest[..at]);
            self.escape(rest.as_bytes()[at]);
            rest = &rest[at + 1..];
        }
        self.0.push_str(rest);
        self.0.push('"');
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.0.push_str("\\\""),
            b'\\' => self.0.push_str("\\\\"),
            b'\n' => self.0.push_str("\\n"),
            b'\r' => self.0.push_str("\\r"),
            b'\t' => self.0.push_str("\\t"),
            8 => self.0.push_str("\\b"),
            12 => self.0.push_str("\\f"),
            other => self.0.push_str(&format!("\\u{other:04x}")),
        }
    }

    fn finish(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};

    use super::*;

    #[test]
    fn a_row_is_read_without_preparing_again() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::CREATE).unwrap();
        let mut rows = Rows::new(&db).unwrap();
        for key in 0..3 {
            assert_eq!(rows.get(key).unwrap(), None);
        }
        assert_eq!(rows.raw.get_status(StatementStatus::RePrepare), 0);
    }

    #[test]
    fn text_is_escaped_as_sqlite_escapes_it() {
        let db = Connection::open_in_memory().unwrap();
        for byte in 1..=127_u8 {
            let text = format!("a{}b", char::from(byte));
            let mut metadata = Object::default();
            metadata.text("key", Some(&text));
            let expected: String = db
                .query_row("SELECT json_object('key', ?)", [&text], |row| row.get(0))
                .unwrap();
            assert_eq!(metadata.finish(), expected, "{byte}");
        }
    }
}
