//! `events list`: one page of events.

use std::io::{Write, stderr};

use kube9_db::read::{Page, PageRequest};
use kube9_model::time::Timestamp;

use super::{Context, event_table};
use crate::args::{Field, Format, ListArgs};
use crate::error::CliError;
use crate::output::{self, Csv, Event, ListDocument, MetadataEncoding, Stdout};
use crate::text::{counted, grouped};

pub(super) fn run(context: &Context, args: &ListArgs) -> Result<(), CliError> {
    let now = Timestamp::now();
    let request = PageRequest {
        filter: args.filter.resolve(now)?,
        limit: args.limit,
        offset: args.offset,
        after: args.after,
    };
    let page = context.open()?.list(&request)?;
    let fields: &[Field] = if args.fields.is_empty() {
        &Field::COLUMNS
    } else {
        &args.fields
    };
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => {
            output::write_json(
                &mut out,
                &ListDocument::new(
                    &page,
                    args.limit,
                    args.offset,
                    fields,
                    MetadataEncoding::Json,
                ),
            )?;
        }
        Format::Yaml => {
            output::write_yaml(
                &mut out,
                &ListDocument::new(
                    &page,
                    args.limit,
                    args.offset,
                    fields,
                    MetadataEncoding::Yaml,
                ),
            )?;
        }
        Format::Jsonl => {
            for row in &page.rows {
                let line = output::to_line(&Event {
                    row,
                    fields,
                    encoding: MetadataEncoding::Json,
                    change: None,
                })
                .map_err(std::io::Error::from)?;
                writeln!(out, "{line}")?;
            }
        }
        Format::Csv => {
            let csv = Csv::new(fields);
            csv.write_headings(&mut out)?;
            page.rows
                .iter()
                .try_for_each(|row| csv.write_row(&mut out, row))?;
        }
        Format::Table | Format::Wide => {
            if !page.rows.is_empty() {
                let table = if args.fields.is_empty() {
                    event_table::table(&page.rows, context.format, context.terminal, now)
                } else {
                    event_table::column_table(&page.rows, fields)
                };
                table.write(&mut out, context.terminal)?;
            }
            out.flush()?;
            print_summary(&page, args);
        }
    }
    out.finish()
}

/// Prints the total and the next page on stderr, so that stdout holds only rows.
fn print_summary(page: &Page, args: &ListArgs) {
    let (shown, total) = (grouped(page.rows.len() as u64), grouped(page.total));
    let line = match (&page.next, page.rows.is_empty()) {
        (_, true) if page.total == 0 => "no events match".to_owned(),
        (_, true) => format!("no events on this page; {total} match"),
        (Some(next), _) => format!("{shown} of {total} events; next page: --after={next}"),
        (None, _) if args.offset > 0 || args.after.is_some() => {
            format!("the last {shown} of {total} events")
        }
        (None, _) => counted(page.total, "event"),
    };
    // Ignores a closed stderr.
    let _ = writeln!(stderr().lock(), "{line}");
}
