//! Events as rows of a table.

use kube9_shared::read::Row;
use kube9_shared::time::Timestamp;
use serde_json::Value;

use crate::args::{Field, Format};
use crate::moment::short;
use crate::output::{cell, metadata, metadata_value, text_of};
use crate::table::{Cell, Column, Table};

/// The usual columns, or all that matter (`wide`).
pub(super) fn table(rows: &[Row], format: Format, now: Timestamp) -> Table {
    let wide = format == Format::Wide;
    let mut columns = vec![
        Column::fixed("AGE"),
        Column::fixed("SEVERITY"),
        Column::fixed("TYPE"),
        Column::elastic("NAMESPACE", 8),
        Column::elastic("OBJECT", 14),
        Column::elastic("REASON", 8),
        Column::fixed("COUNT"),
    ];
    if wide {
        columns.insert(0, Column::fixed("ID"));
        columns.extend([
            Column::elastic("OWNER", 8),
            Column::elastic("NODE", 8),
            Column::elastic("TITLE", 10),
        ]);
    }
    columns.push(Column::elastic("DESCRIPTION", 10));
    let mut table = Table::new(columns);
    for row in rows {
        table.push(cells(row, wide, now));
    }
    table
}

fn cells(row: &Row, wide: bool, now: Timestamp) -> Vec<Cell> {
    let metadata = metadata(row);
    let value = |key: &str| {
        metadata
            .get(key)
            .map(|value| cell(value).into_owned())
            .unwrap_or_default()
    };
    let mut cells = vec![
        Cell::new(&age(row, &metadata, now)),
        Cell::severity(&row.severity),
        Cell::new(&row.event_type),
        Cell::new(row.object_namespace.as_deref().unwrap_or("-")),
        Cell::new(&object(row)),
        Cell::new(&value("reason")),
        Cell::new(&value("occurrences").or_else(|| value("count"))),
    ];
    let description = row
        .description
        .as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(&row.title);
    if wide {
        cells.insert(0, Cell::new(&row.id));
        cells.extend([
            Cell::new(&value("owner")),
            Cell::new(&value("node")),
            Cell::new(&row.title),
        ]);
    }
    cells.push(Cell::new(description));
    cells
}

/// What the other is, where this is empty.
trait OrElse {
    fn or_else(self, other: impl FnOnce() -> String) -> String;
}

impl OrElse for String {
    fn or_else(self, other: impl FnOnce() -> String) -> String {
        if self.is_empty() { other() } else { self }
    }
}

fn object(row: &Row) -> String {
    match (&row.object_kind, &row.object_name) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        (kind, name) => kind
            .as_deref()
            .or(name.as_deref())
            .unwrap_or("-")
            .to_owned(),
    }
}

/// How long ago it happened last.
pub(super) fn age(row: &Row, metadata: &Value, now: Timestamp) -> String {
    let last = metadata
        .get("last_timestamp")
        .and_then(Value::as_str)
        .and_then(|text| Timestamp::parse(text).ok());
    match last.or_else(|| Timestamp::parse(&row.created_at).ok()) {
        Some(time) if time > now => format!("in {}", short(time.since(now))),
        Some(time) => short(now.since(time)),
        None => "?".to_owned(),
    }
}

/// The fields that the caller chose.
pub(super) fn chosen(rows: &[Row], fields: &[Field]) -> Table {
    let mut table = Table::new(
        fields
            .iter()
            .map(|field| Column::named(field.name().to_uppercase(), 12))
            .collect(),
    );
    for row in rows {
        let cells = fields.iter().map(|field| match field {
            Field::Metadata => Cell::new(row.metadata.as_deref().unwrap_or("{}")),
            Field::MetadataKey(path) => Cell::new(&cell(&metadata_value(row, path))),
            Field::Severity => Cell::severity(&row.severity),
            column => Cell::new(text_of(row, column).unwrap_or("-")),
        });
        table.push(cells.collect());
    }
    table
}
