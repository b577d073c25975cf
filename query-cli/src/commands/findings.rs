//! `findings`: what was wrong, since when, and how long it lasted.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use kube9_db::read::{PageRequest, Row};
use kube9_model::time::Timestamp;
use serde_json::{Value, json};

use super::Context;
use super::event_table::{in_namespace, is_narrow, message, object_in_namespace};
use super::list::Listing;
use crate::answers::change::row_object as object;
use crate::args::{Field, FindingsArgs, FindingsBy, Format};
use crate::error::CliError;
use crate::output::{self, Stdout, cell, csv_cell, metadata};
use crate::table::{Cell, Column, Table};
use crate::terminal::Terminal;
use crate::time_arg::format_age;
use crate::watchdog;

/// Groups that are counted; of further ones only the number is.
const GROUPS_MAX: usize = 20_000;

pub(super) fn run(context: &Context, args: &FindingsArgs) -> Result<(), CliError> {
    let now = context.now();
    let filter = args.resolve(&now)?;
    let reader = context.open()?;
    if let Some(by) = args.by {
        let mut export = reader.export(&filter)?;
        let mut groups = Groups::default();
        while let Some(rows) = export.next_chunk()? {
            watchdog::restart();
            for row in &rows {
                groups.add(&Lasted::of(row, now.time), row, by)?;
            }
        }
        return groups.write(context, by, args.limit);
    }
    let request = PageRequest {
        filter,
        limit: args.limit,
        ..PageRequest::default()
    };
    let page = reader.list(&request)?;
    let listing = Listing {
        name: "findings",
        what: "finding",
        fields: &Field::COLUMNS,
        request: &request,
        page: &page,
    };
    listing.write(context, |rows| {
        table(rows, context.format, context.terminal, now.time)
    })
}

/// When a finding was open.
struct Lasted {
    since: Timestamp,
    /// `None`: it is open.
    until: Option<Timestamp>,
    span: Duration,
    metadata: Value,
}

impl Lasted {
    fn of(row: &Row, now: Timestamp) -> Self {
        let metadata = metadata(row);
        let time = |key: &str| Timestamp::parse(metadata.get(key)?.as_str()?).ok();
        let since = time("first_timestamp")
            .or_else(|| Timestamp::parse(&row.created_at).ok())
            .unwrap_or_default();
        let until = time("resolved_at");
        Self {
            since,
            until,
            span: until.unwrap_or(now).since(since),
            metadata,
        }
    }
}

fn table(rows: &[Row], format: Format, terminal: Terminal, now: Timestamp) -> Table {
    let is_wide = format == Format::Wide;
    let is_narrow = is_narrow(format, terminal);
    let mut columns = vec![
        Column::fixed("SINCE"),
        Column::fixed("LASTED"),
        Column::fixed("STATE"),
        Column::fixed("SEVERITY"),
    ];
    if !is_narrow {
        columns.push(Column::shrinkable("NAMESPACE", 8));
    }
    columns.extend([
        Column::shrink_middle("OBJECT", 12),
        Column::shrinkable(if is_narrow { "FINDING" } else { "RULE" }, 12).with_weight(2),
    ]);
    if !is_narrow {
        columns.push(Column::shrinkable("DESCRIPTION", 16).with_weight(3));
    }
    if is_wide {
        columns.insert(0, Column::fixed("ID"));
    }
    let mut table = Table::new(columns);
    for row in rows {
        let lasted = Lasted::of(row, now);
        let namespace = row.object_namespace.as_deref();
        let rule = lasted.metadata.get("rule").map(cell).unwrap_or_default();
        let name = if is_narrow {
            object_in_namespace(row)
        } else {
            object(row)
        };
        let mut cells = vec![
            Cell::new(&format!("{} ago", format_age(now.since(lasted.since)))),
            Cell::new(&format_age(lasted.span)),
            Cell::new(if lasted.until.is_some() {
                "closed"
            } else {
                "open"
            }),
            Cell::severity(&row.severity),
        ];
        if !is_narrow {
            cells.push(Cell::new(namespace.unwrap_or("-")));
        }
        cells.push(Cell::new(&name));
        if is_narrow {
            cells.push(Cell::sentence(&row.title));
        } else {
            cells.push(Cell::new(&rule));
            cells.push(Cell::sentence(message(row)));
        }
        if is_wide {
            cells.insert(0, Cell::new(&row.id));
        }
        table.push(cells);
    }
    table
}

/// Findings of one rule, owner or namespace.
#[derive(Default)]
struct Group {
    open: u64,
    spans: Vec<u32>,
    /// Hashes of the findings' identities: one that opened twice counts once.
    distinct: HashSet<u64>,
}

#[derive(Default)]
struct Groups(BTreeMap<String, Group>);

impl Groups {
    fn add(&mut self, lasted: &Lasted, row: &Row, by: FindingsBy) -> Result<(), CliError> {
        let text = |key: &str| lasted.metadata.get(key).and_then(Value::as_str);
        let key = match by {
            FindingsBy::Rule => text("rule").unwrap_or("-").to_owned(),
            FindingsBy::Namespace => row
                .object_namespace
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
            FindingsBy::Owner => {
                let owner = text("owner").map_or_else(|| object(row), str::to_owned);
                in_namespace(owner, row.object_namespace.as_deref())
            }
        };
        if self.0.len() == GROUPS_MAX && !self.0.contains_key(&key) {
            return Err(CliError::no_answer(
                format!("the findings have more than {GROUPS_MAX} groups"),
                "narrow the query (--since, --object-namespace)",
            ));
        }
        let group = self.0.entry(key).or_default();
        group.open += u64::from(lasted.until.is_none());
        group
            .spans
            .push(u32::try_from(lasted.span.as_secs()).unwrap_or(u32::MAX));
        let identity = text("finding").unwrap_or(&row.id);
        group
            .distinct
            .insert(kube9_model::hash::stable_hash(identity.as_bytes()));
        Ok(())
    }

    fn write(self, context: &Context, by: FindingsBy, limit: usize) -> Result<(), CliError> {
        let mut groups: Vec<(String, Group)> = self.0.into_iter().collect();
        groups.sort_by_key(|(_, group)| std::cmp::Reverse((group.spans.len(), group.open)));
        let total = groups.len();
        groups.truncate(limit);
        let mut out = Stdout::lock();
        let rows: Vec<Counted> = groups.into_iter().map(Counted::of).collect();
        match context.format {
            Format::Json | Format::Yaml | Format::Jsonl => {
                let values: Vec<Value> = rows.iter().map(|row| row.json(by)).collect();
                match context.format {
                    Format::Jsonl => {
                        use std::io::Write as _;
                        for value in &values {
                            let line = output::to_line(value).map_err(std::io::Error::from)?;
                            writeln!(out, "{line}")?;
                        }
                    }
                    format => {
                        let document = json!({"groups": values, "total": total});
                        output::write_document(&mut out, format, &document)?;
                    }
                }
            }
            Format::Csv => {
                use std::io::Write as _;
                writeln!(
                    out,
                    "{},count,open,median_seconds,longest_seconds,flaps",
                    by.as_str()
                )?;
                for row in &rows {
                    writeln!(
                        out,
                        "{},{},{},{},{},{}",
                        csv_cell(&row.key),
                        row.count,
                        row.open,
                        row.median,
                        row.longest,
                        row.flaps
                    )?;
                }
            }
            _ => {
                let mut table = Table::new(vec![
                    Column::shrink_middle(&by.as_str().to_uppercase(), 20),
                    Column::number("COUNT"),
                    Column::number("OPEN"),
                    Column::number("MEDIAN"),
                    Column::number("LONGEST"),
                    Column::number("FLAPS"),
                ]);
                for row in &rows {
                    let age = |seconds: u32| format_age(Duration::from_secs(seconds.into()));
                    table.push(vec![
                        Cell::new(&row.key),
                        Cell::new(&row.count.to_string()),
                        Cell::new(&row.open.to_string()),
                        Cell::new(&age(row.median)),
                        Cell::new(&age(row.longest)),
                        Cell::new(&row.flaps.to_string()),
                    ]);
                }
                table.write(&mut out, context.terminal)?;
            }
        }
        out.finish()
    }
}

/// A group as it is printed; times in seconds.
struct Counted {
    key: String,
    count: usize,
    open: u64,
    median: u32,
    longest: u32,
    /// How often a finding opened again.
    flaps: usize,
}

impl Counted {
    fn of((key, mut group): (String, Group)) -> Self {
        group.spans.sort_unstable();
        let count = group.spans.len();
        Self {
            key,
            count,
            open: group.open,
            median: group.spans.get(count / 2).copied().unwrap_or(0),
            longest: group.spans.last().copied().unwrap_or(0),
            flaps: count - group.distinct.len(),
        }
    }

    fn json(&self, by: FindingsBy) -> Value {
        json!({
            by.as_str(): self.key,
            "count": self.count,
            "open": self.open,
            "median_seconds": self.median,
            "longest_seconds": self.longest,
            "flaps": self.flaps,
        })
    }
}
