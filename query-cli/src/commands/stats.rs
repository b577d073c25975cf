//! `events stats`: number of events by group.

use std::io::Write;

use kube9_db::read::{Group, GroupBy};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Context;
use crate::args::{Format, StatsArgs};
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::table::{Cell, Column, Table};
use crate::text::grouped;

pub(super) fn run(context: &Context, args: &StatsArgs) -> Result<(), CliError> {
    let filter = args.filter.resolve(&context.now())?;
    let groups = context.open()?.stats(&filter, &args.by)?;
    let shown = &groups[..groups.len().min(args.limit)];
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => output::write_json(&mut out, &Document::new(&groups, shown, args))?,
        Format::Yaml => output::write_yaml(&mut out, &Document::new(&groups, shown, args))?,
        Format::Csv => write_csv(&mut out, shown, &args.by)?,
        _ => {
            table(shown, &args.by).write(&mut out, context.terminal)?;
            out.flush()?;
            if shown.len() < groups.len() {
                let line = format!(
                    "{} of {} groups; use --limit to show more",
                    grouped(shown.len() as u64),
                    grouped(groups.len() as u64)
                );
                // Ignores a closed stderr.
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
        }
    }
    out.finish()
}

#[derive(Serialize)]
struct Document<'a> {
    by: Vec<&'static str>,
    groups: Vec<Entry<'a>>,
    total_events: u64,
    total_groups: usize,
    returned: usize,
}

impl<'a> Document<'a> {
    fn new(all: &[Group], shown: &'a [Group], args: &'a StatsArgs) -> Self {
        Self {
            by: args.by.iter().map(|column| column.as_str()).collect(),
            groups: shown
                .iter()
                .map(|group| Entry {
                    group,
                    by: &args.by,
                })
                .collect(),
            total_events: all.iter().map(|group| group.events).sum(),
            total_groups: all.len(),
            returned: shown.len(),
        }
    }
}

struct Entry<'a> {
    group: &'a Group,
    by: &'a [GroupBy],
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.by.len() + 1))?;
        for (column, value) in self.by.iter().zip(&self.group.values) {
            map.serialize_entry(column.as_str(), value)?;
        }
        map.serialize_entry("events", &self.group.events)?;
        map.end()
    }
}

fn write_csv(out: &mut impl Write, groups: &[Group], by: &[GroupBy]) -> Result<(), CliError> {
    let names: Vec<&str> = by
        .iter()
        .map(|column| column.as_str())
        .chain(["events"])
        .collect();
    writeln!(out, "{}", names.join(","))?;
    for group in groups {
        for value in &group.values {
            write!(
                out,
                "{},",
                output::csv_cell(value.as_deref().unwrap_or_default())
            )?;
        }
        writeln!(out, "{}", group.events)?;
    }
    Ok(())
}

fn table(groups: &[Group], by: &[GroupBy]) -> Table {
    let mut columns = vec![Column::number("EVENTS")];
    columns.extend(by.iter().map(|column| {
        // Groups do not move with --tz.
        let zone = match column {
            GroupBy::Day | GroupBy::Hour => " (UTC)",
            _ => "",
        };
        let heading = format!("{}{zone}", column.as_str().to_uppercase());
        Column::shrink_middle(&heading, 12)
    }));
    let mut table = Table::new(columns);
    for group in groups {
        let mut cells = vec![Cell::new(&grouped(group.events))];
        cells.extend(by.iter().zip(&group.values).map(|(column, value)| {
            let text = value.as_deref().unwrap_or("-");
            if *column == GroupBy::Severity {
                Cell::severity(text)
            } else {
                Cell::new(text)
            }
        }));
        table.push(cells);
    }
    table
}
