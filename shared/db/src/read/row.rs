//! One row of the relation `events`.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection};

/// A row of the relation `events`. Its text comes from the cluster and is untrusted: escape it before printing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// `evt_YYYYMMDD_HHMMSS_xxxxxx`
    pub id: String,
    /// One of [`kube9_model::EventType`].
    pub event_type: String,
    /// One of [`kube9_model::Severity`].
    pub severity: String,
    /// One line for people.
    pub title: String,
    /// The Event's message, or the finding's explanation.
    pub description: Option<String>,
    /// Kind of the object, if the row has one.
    pub object_kind: Option<String>,
    /// Namespace of the object; none for cluster-scoped ones.
    pub object_namespace: Option<String>,
    /// Name of the object.
    pub object_name: Option<String>,
    /// JSON text; an object if the recorder wrote it.
    pub metadata: Option<String>,
    /// RFC 3339.
    pub created_at: String,
}

impl Row {
    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            &self.id,
            &self.event_type,
            &self.severity,
            &self.title,
            &self.created_at,
        ];
        let optional = [
            &self.description,
            &self.object_kind,
            &self.object_namespace,
            &self.object_name,
            &self.metadata,
        ];
        size_of::<Self>()
            + texts.iter().map(|text| text.len()).sum::<usize>()
            + optional
                .iter()
                .filter_map(|text| text.as_ref())
                .map(String::len)
                .sum::<usize>()
    }
}

/// Columns in the order that [`from_sql`] reads them.
pub(super) const COLUMNS: &str = "id, event_type, severity, title, description, object_kind, object_namespace, object_name, metadata, created_at";

/// Reads [`COLUMNS`]. A damaged database may hold other types and invalid UTF-8; both become text.
pub(super) fn from_sql(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let text = |column| row.get_ref(column).map(to_text);
    let required = |column| text(column).map(Option::unwrap_or_default);
    Ok(Row {
        id: required(0)?,
        event_type: required(1)?,
        severity: required(2)?,
        title: required(3)?,
        description: text(4)?,
        object_kind: text(5)?,
        object_namespace: text(6)?,
        object_name: text(7)?,
        metadata: text(8)?,
        created_at: required(9)?,
    })
}

pub(super) fn to_text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// Statement that reads one row by its key from the view.
pub(super) fn by_key(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM event_detail WHERE key = +?"
    ))
}
