//! Events as rows of a table.

use std::io::Write;

use kube9_shared::read::Row;
use kube9_shared::time::Timestamp;
use serde_json::Value;

use crate::args::{Field, Format};
use crate::moment::short;
use crate::output::{cell, metadata, metadata_value, text_of};
use crate::screen::Screen;
use crate::table::{Cell, Column, Table, write_row};

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

/// Rows one at a time: the columns' widths are decided before the rows are known.
pub(super) struct Stream {
    widths: Vec<usize>,
    wide: bool,
    screen: Screen,
}

impl Stream {
    const HEADINGS: [&str; 7] = [
        "CHANGE",
        "TIME (UTC)",
        "SEVERITY",
        "NAMESPACE",
        "OBJECT",
        "REASON",
        "COUNT",
    ];
    const WIDTHS: [usize; 7] = [7, 14, 8, 14, 32, 18, 5];
    const DESCRIPTION_MIN: usize = 10;

    pub(super) fn new(format: Format, screen: Screen) -> Self {
        let wide = format == Format::Wide;
        let mut widths = Self::WIDTHS.to_vec();
        if wide {
            widths.insert(1, 26);
        }
        // A narrow terminal takes from namespace, object and reason, in turn.
        let first = if wide { 4 } else { 3 };
        let room = screen
            .columns
            .map(|columns| columns.saturating_sub(2 * widths.len() + Self::DESCRIPTION_MIN));
        while room.is_some_and(|room| widths.iter().sum::<usize>() > room) {
            match (first..first + 3)
                .filter(|&i| widths[i] > 8)
                .max_by_key(|&i| widths[i])
            {
                Some(widest) => widths[widest] -= 1,
                None => break,
            }
        }
        let taken = widths.iter().sum::<usize>() + 2 * widths.len();
        widths.push(screen.columns.map_or(usize::MAX, |columns| {
            columns.saturating_sub(taken).max(Self::DESCRIPTION_MIN)
        }));
        Self {
            widths,
            wide,
            screen,
        }
    }

    pub(super) fn write_headings(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut cells: Vec<Cell> = Self::HEADINGS
            .iter()
            .map(|heading| Cell::new(heading))
            .collect();
        if self.wide {
            cells.insert(1, Cell::new("ID"));
        }
        cells.push(Cell::new("DESCRIPTION"));
        write_row(out, &cells, &self.widths, self.screen)
    }

    /// Writes a row. Off a terminal a longer cell is not cut, and the columns after it give way.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        row: &Row,
        updated: Option<bool>,
    ) -> std::io::Result<()> {
        let metadata = metadata(row);
        let value = |key: &str| {
            metadata
                .get(key)
                .map(|value| cell(value).into_owned())
                .unwrap_or_default()
        };
        let last = Some(value("last_timestamp"))
            .filter(|time| time.len() >= 19)
            .unwrap_or_else(|| row.created_at.clone());
        let mut cells = vec![
            Cell::new(match updated {
                None => "",
                Some(false) => "new",
                Some(true) => "updated",
            }),
            Cell::new(&last.get(5..19).unwrap_or(&last).replace('T', " ")),
            Cell::severity(&row.severity),
            Cell::new(row.object_namespace.as_deref().unwrap_or("-")),
            Cell::new(&object(row)),
            Cell::new(&value("reason")),
            Cell::new(&value("occurrences").or_else(|| value("count"))),
            Cell::new(
                row.description
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .unwrap_or(&row.title),
            ),
        ];
        if self.wide {
            cells.insert(1, Cell::new(&row.id));
        }
        if self.screen.columns.is_some() {
            return write_row(out, &cells, &self.widths, self.screen);
        }
        let widths: Vec<usize> = self
            .widths
            .iter()
            .zip(&cells)
            .map(|(&width, cell)| width.max(cell.width()))
            .collect();
        write_row(out, &cells, &widths, self.screen)
    }
}
