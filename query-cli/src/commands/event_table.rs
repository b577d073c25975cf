//! Tables of events.

use std::io::Write;

use kube9_db::read::Row;
use kube9_model::time::Timestamp;
use serde_json::Value;

use crate::answers::change::{self, row_object as object};
use crate::args::{Field, Format};
use crate::output::{cell, metadata, metadata_value, text_of};
use crate::table::{Cell, Column, Table, write_headings, write_row};
use crate::terminal::Terminal;
use crate::text::safe;
use crate::time_arg::format_age;
use crate::zone::Zone;

/// On a narrower terminal the type is omitted, and reason, count and description share a column, because nine truncated
/// columns would be less readable.
const NARROW_BELOW: usize = 140;

/// The set of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Narrow,
    Standard,
    /// With id, owner, node and title.
    Wide,
}

impl Layout {
    fn of(format: Format, terminal: Terminal) -> Self {
        match (format, terminal.columns) {
            (Format::Wide, _) => Self::Wide,
            (_, Some(columns)) if columns < NARROW_BELOW => Self::Narrow,
            _ => Self::Standard,
        }
    }
}

/// A page of events.
pub(super) fn table(rows: &[Row], format: Format, terminal: Terminal, now: Timestamp) -> Table {
    let layout = Layout::of(format, terminal);
    // As in `kubectl get events`. The rows are in the order of their first occurrences.
    let mut columns = vec![Column::fixed("LAST SEEN"), Column::fixed("SEVERITY")];
    if layout != Layout::Narrow {
        columns.push(Column::fixed("TYPE"));
    }
    columns.extend([
        Column::shrinkable("NAMESPACE", 8),
        Column::shrink_middle("OBJECT", 12),
    ]);
    if layout == Layout::Wide {
        columns.insert(0, Column::fixed("ID"));
    }
    if layout == Layout::Narrow {
        columns.push(Column::shrinkable("REASON: DESCRIPTION", 12).with_weight(2));
    } else {
        columns.extend([Column::shrinkable("REASON", 8), Column::number("COUNT")]);
        if layout == Layout::Wide {
            columns.extend([
                Column::shrink_middle("OWNER", 8),
                Column::shrinkable("NODE", 8),
                Column::shrinkable("TITLE", 10),
            ]);
        }
        columns.push(Column::shrinkable("DESCRIPTION", 10).with_weight(3));
    }
    let mut table = Table::new(columns);
    for row in rows {
        table.push(cells(row, layout, now));
    }
    if layout == Layout::Narrow {
        table.drop_constant_column("NAMESPACE");
    }
    table
}

fn cells(row: &Row, layout: Layout, now: Timestamp) -> Vec<Cell> {
    let metadata = MetadataCells::of(row);
    let mut cells = vec![
        Cell::new(&age(row, &metadata.metadata, now)),
        Cell::severity(&row.severity),
        Cell::new(row.object_namespace.as_deref().unwrap_or("-")),
        Cell::new(&object(row)),
    ];
    if layout != Layout::Narrow {
        cells.insert(2, Cell::new(&row.event_type));
    }
    if layout == Layout::Wide {
        cells.insert(0, Cell::new(&row.id));
    }
    if layout == Layout::Narrow {
        cells.push(Cell::sentence(&metadata.line(row)));
    } else {
        cells.extend([
            Cell::new(&metadata.value("reason")),
            Cell::new(&metadata.count()),
        ]);
        if layout == Layout::Wide {
            cells.extend([
                Cell::new(&metadata.value("owner")),
                Cell::new(&metadata.value("node")),
                Cell::sentence(&row.title),
            ]);
        }
        cells.push(Cell::sentence(message(row)));
    }
    cells
}

/// The metadata of a row as cells.
struct MetadataCells {
    metadata: Value,
}

impl MetadataCells {
    fn of(row: &Row) -> Self {
        Self {
            metadata: metadata(row),
        }
    }

    /// Empty if absent.
    fn value(&self, key: &str) -> String {
        self.metadata
            .get(key)
            .map(|value| cell(value).into_owned())
            .unwrap_or_default()
    }

    /// Number of occurrences of the row; empty if it has no count.
    fn count(&self) -> String {
        let occurrences = self.value("occurrences");
        if occurrences.is_empty() {
            self.value("count")
        } else {
            occurrences
        }
    }

    /// Reason, count and description: `BackOff ×17: Back-off restarting failed container`.
    fn line(&self, row: &Row) -> String {
        let (mut line, count) = (safe(&self.value("reason")), safe(&self.count()));
        if !matches!(count.as_str(), "" | "1") {
            line.push_str(&format!(" ×{count}"));
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(message(row));
        line
    }
}

/// The description, or else the title.
pub(in crate::commands) fn message(row: &Row) -> &str {
    row.description
        .as_deref()
        .filter(|text| !text.is_empty())
        .unwrap_or(&row.title)
}

/// Whether the namespace of a row is part of the object.
pub(super) fn is_narrow(format: Format, terminal: Terminal) -> bool {
    Layout::of(format, terminal) == Layout::Narrow
}

/// `Pod/web-1/shop`, as a command line names it.
pub(super) fn object_in_namespace(row: &Row) -> String {
    in_namespace(object(row), row.object_namespace.as_deref())
}

pub(super) fn in_namespace(object: String, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{object}/{namespace}"),
        None => object,
    }
}

/// Time since the last occurrence.
pub(super) fn age(row: &Row, metadata: &Value, now: Timestamp) -> String {
    let last = metadata
        .get("last_timestamp")
        .and_then(Value::as_str)
        .and_then(|text| Timestamp::parse(text).ok());
    match last.or_else(|| Timestamp::parse(&row.created_at).ok()) {
        Some(time) if time > now => format!("in {}", format_age(time.since(now))),
        Some(time) => format_age(now.since(time)),
        None => "?".to_owned(),
    }
}

/// A table of selected columns.
pub(super) fn column_table(rows: &[Row], fields: &[Field], zone: &Zone) -> Table {
    let mut table = Table::new(
        fields
            .iter()
            .map(|field| {
                let heading = field.name().to_uppercase();
                match field {
                    Field::Severity | Field::EventType | Field::Id => Column::fixed(&heading),
                    Field::ObjectName | Field::ObjectNamespace => {
                        Column::shrink_middle(&heading, 12)
                    }
                    Field::Description | Field::Title | Field::Metadata => {
                        Column::shrinkable(&heading, 12).with_weight(2)
                    }
                    _ => Column::shrinkable(&heading, 12),
                }
            })
            .collect(),
    );
    for row in rows {
        let cells = fields.iter().map(|field| match field {
            Field::Metadata => Cell::new(row.metadata.as_deref().unwrap_or("{}")),
            Field::MetadataKey(path) => Cell::new(&zone.text(&cell(&metadata_value(row, path)))),
            Field::CreatedAt => Cell::new(&zone.text(&row.created_at)),
            Field::Severity => Cell::severity(&row.severity),
            Field::Title => Cell::sentence(&row.title),
            Field::Description => Cell::sentence(row.description.as_deref().unwrap_or("-")),
            column => Cell::new(text_of(row, column).unwrap_or("-")),
        });
        table.push(cells.collect());
    }
    table
}

/// A table that prints rows one at a time: the widths of its columns are fixed.
pub(super) struct StreamTable {
    columns: Vec<Column>,
    widths: Vec<usize>,
    layout: Layout,
    terminal: Terminal,
    zone: Zone,
    rows: Streamed,
}

/// What the rows of a stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streamed {
    Events,
    Changes,
}

impl StreamTable {
    const TEXT_MIN: usize = 10;

    pub(super) fn new(format: Format, terminal: Terminal, zone: Zone, rows: Streamed) -> Self {
        let layout = Layout::of(format, terminal);
        let mut columns_and_widths = match layout {
            Layout::Narrow => Self::narrow(terminal.columns.unwrap_or(NARROW_BELOW), &zone),
            Layout::Standard | Layout::Wide => vec![
                (Column::fixed("CHANGE"), 7),
                (Column::fixed(&format!("TIME ({})", zone.name())), 14),
                (Column::fixed("SEVERITY"), 8),
                (Column::fixed("NAMESPACE"), 14),
                (Column::shrink_middle("OBJECT", 8), 32),
                (Column::fixed("REASON"), 18),
                (Column::number("COUNT"), 5),
            ],
        };
        if rows == Streamed::Changes {
            // Instead of severity, reason and count: who made it.
            columns_and_widths
                .retain(|(column, _)| !matches!(&*column.heading, "SEVERITY" | "REASON" | "COUNT"));
            columns_and_widths.push((Column::shrink_middle("BY", 8), 18));
        }
        if layout == Layout::Wide {
            columns_and_widths.insert(1, (Column::fixed("ID"), 26));
        }
        let (mut columns, mut widths): (Vec<_>, Vec<_>) = columns_and_widths.into_iter().unzip();
        columns.push(Column::fixed(match (rows, layout) {
            (Streamed::Changes, _) => "WHAT",
            (Streamed::Events, Layout::Narrow) => "REASON: DESCRIPTION",
            (Streamed::Events, _) => "DESCRIPTION",
        }));
        let used = widths.iter().sum::<usize>() + 2 * widths.len();
        widths.push(terminal.columns.map_or(usize::MAX, |columns| {
            columns.saturating_sub(used).max(Self::TEXT_MIN)
        }));
        Self {
            columns,
            widths,
            layout,
            terminal,
            zone,
            rows,
        }
    }

    /// A third for the object, a sixth for its namespace, the rest for the text. The change is one character.
    fn narrow(columns: usize, zone: &Zone) -> Vec<(Column, usize)> {
        let rest = columns.saturating_sub(1 + 8 + 8 + 6);
        vec![
            (Column::fixed(""), 1),
            (Column::fixed(zone.name()), 8),
            (Column::fixed("SEVERITY"), 8),
            (Column::fixed("NAMESPACE"), (rest / 6).clamp(6, 14)),
            (Column::shrink_middle("OBJECT", 8), (rest / 3).clamp(8, 32)),
        ]
    }

    pub(super) fn write_headings(&self, out: &mut impl Write) -> std::io::Result<()> {
        write_headings(out, &self.columns, &self.widths, self.terminal)
    }

    /// Writes a row. If stdout is not a terminal, a long cell is not truncated and shifts the columns after it.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        row: &Row,
        updated: Option<bool>,
        now: Timestamp,
    ) -> std::io::Result<()> {
        let metadata = MetadataCells::of(row);
        let narrow = self.layout == Layout::Narrow;
        let mut cells = vec![
            Cell::new(match (updated, narrow) {
                (None, _) => "",
                (Some(false), true) => "+",
                (Some(true), true) => "~",
                (Some(false), false) => "new",
                (Some(true), false) => "updated",
            }),
            Cell::new(&self.last_seen(row, &metadata, now)),
            Cell::severity(&row.severity),
            Cell::new(row.object_namespace.as_deref().unwrap_or("-")),
        ];
        if self.rows == Streamed::Changes {
            cells.remove(2);
            cells.push(Cell::new(&change::object(&metadata.metadata, row)));
        } else {
            cells.push(Cell::new(&object(row)));
        }
        if self.layout == Layout::Wide {
            cells.insert(1, Cell::new(&row.id));
        }
        if self.rows == Streamed::Changes {
            cells.extend([
                Cell::new(&change::by(&metadata.metadata)),
                Cell::sentence(&change::what(&metadata.metadata, row)),
            ]);
        } else if narrow {
            cells.push(Cell::sentence(&metadata.line(row)));
        } else {
            cells.extend([
                Cell::new(&metadata.value("reason")),
                Cell::new(&metadata.count()),
                Cell::sentence(message(row)),
            ]);
        }
        if self.terminal.columns.is_some() {
            return write_row(out, &cells, &self.columns, &self.widths, self.terminal);
        }
        let widths: Vec<usize> = self
            .widths
            .iter()
            .zip(&cells)
            .map(|(&width, cell)| width.max(cell.width()))
            .collect();
        write_row(out, &cells, &self.columns, &widths, self.terminal)
    }

    /// Time of the last occurrence: `12-02 10:30:45`, or in eight columns `10:30:45` for today and `12-02` for another day.
    fn last_seen(&self, row: &Row, metadata: &MetadataCells, now: Timestamp) -> String {
        let last = Some(metadata.value("last_timestamp"))
            .filter(|time| time.len() >= 19)
            .unwrap_or_else(|| row.created_at.clone());
        let shown = |time| self.zone.shown(time).to_string();
        let last = Timestamp::parse(&last).map_or(last, shown);
        let part = |range: std::ops::Range<usize>| last.get(range).unwrap_or(&last).to_owned();
        if self.layout != Layout::Narrow {
            part(5..19).replace('T', " ")
        } else if last.get(..10) == shown(now).get(..10) {
            part(11..19)
        } else {
            part(5..10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row as `watch` shows it, under its headings.
    fn streamed(format: Format, columns: Option<usize>, row: &Row) -> Vec<String> {
        let terminal = Terminal {
            is_terminal: columns.is_some(),
            columns,
            has_colors: false,
        };
        let now = Timestamp::parse("2025-12-02T12:00:00.000Z").unwrap();
        let (stream, mut out) = (
            StreamTable::new(
                format,
                terminal,
                Zone::parse("UTC").unwrap(),
                Streamed::Events,
            ),
            Vec::new(),
        );
        stream.write_headings(&mut out).unwrap();
        for updated in [None, Some(false), Some(true)] {
            stream.write(&mut out, row, updated, now).unwrap();
        }
        let out = String::from_utf8(out).unwrap();
        out.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn row(last: &str) -> Row {
        Row {
            id: "evt_20251202_103045_000000".into(),
            event_type: "cluster".into(),
            severity: "error".into(),
            title: "Container crash loop".into(),
            description: Some("Back-off restarting failed container".into()),
            object_kind: Some("Pod".into()),
            object_namespace: Some("shop".into()),
            object_name: Some("web-1".into()),
            metadata: Some(
                serde_json::json!({"reason": "BackOff", "count": 17, "last_timestamp": last})
                    .to_string(),
            ),
            created_at: "2025-12-02T10:30:45.000Z".into(),
        }
    }

    #[test]
    fn stream_table_row_shows_change_and_time() {
        let today = row("2025-12-02T11:00:01.000Z");
        assert_eq!(
            streamed(Format::Table, None, &today),
            [
                "CHANGE   TIME (UTC)      SEVERITY  NAMESPACE       OBJECT                            REASON              COUNT  DESCRIPTION",
                "         12-02 11:00:01  error     shop            Pod/web-1                         BackOff                17  Back-off restarting failed container",
                "new      12-02 11:00:01  error     shop            Pod/web-1                         BackOff                17  Back-off restarting failed container",
                "updated  12-02 11:00:01  error     shop            Pod/web-1                         BackOff                17  Back-off restarting failed container",
            ]
        );
        let wide = streamed(Format::Wide, None, &today);
        let begins = |line: &str, begin: &str| assert!(line.starts_with(begin), "{line}");
        begins(
            &wide[0],
            "CHANGE   ID                          TIME (UTC)      SEVERITY  ",
        );
        begins(
            &wide[2],
            "new      evt_20251202_103045_000000  12-02 11:00:01  error     ",
        );
        // In eight columns: today's hour, another day's date, and without a time of its own that of the row.
        let narrow = streamed(Format::Table, Some(80), &today);
        begins(
            &narrow[1],
            "   11:00:01  error     shop       Pod/web-1            BackOff ×17: ",
        );
        begins(&narrow[2], "+  11:00:01  ");
        begins(&narrow[3], "~  11:00:01  ");
        for (last, begin) in [
            ("2025-12-01T11:00:01.000Z", "   12-01     error     "),
            ("", "   10:30:45  error     "),
        ] {
            begins(&streamed(Format::Table, Some(80), &row(last))[1], begin);
        }
    }

    #[test]
    fn stream_table_long_name_is_truncated_only_on_terminal() {
        let name = "w".repeat(50);
        let row = Row {
            object_name: Some(name.clone()),
            ..row("")
        };
        for format in [Format::Table, Format::Wide] {
            let line = streamed(format, None, &row).remove(1);
            let whole = format!("shop            Pod/{name}  BackOff                17  Back-off");
            assert!(line.contains(&whole), "{line}");
        }
        for columns in [52, 80, 139, 140, 200] {
            let line = streamed(Format::Table, Some(columns), &row).remove(1);
            assert!(
                !line.contains(&name) && crate::text::width(&line) <= columns,
                "{columns}: {line}"
            );
        }
    }
}
