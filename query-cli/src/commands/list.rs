//! `events list`: a page of events.

use std::io::{Write, stderr};

use kube9_db::read::{Page, PageRequest};
use kube9_model::time::Timestamp;

use super::{Context, rows};
use crate::args::{Field, Format, ListArgs};
use crate::failure::Failure;
use crate::output::{self, Csv, Event, Form, List, Out};
use crate::text::{counted, grouped};

pub(super) fn run(context: &Context, args: &ListArgs) -> Result<(), Failure> {
    let now = Timestamp::now();
    let request = PageRequest {
        filter: args.filter.resolve(now)?,
        limit: args.limit,
        offset: args.offset,
        after: args.after,
    };
    let page = context.open()?.list(&request)?;
    let fields: &[Field] = if args.fields.is_empty() {
        &Field::CONTRACT
    } else {
        &args.fields
    };
    let mut out = Out::stdout();
    match context.format {
        Format::Json => {
            output::write_json(
                &mut out,
                &List::new(&page, args.limit, args.offset, fields, Form::Json),
            )?;
        }
        Format::Yaml => {
            output::write_yaml(
                &mut out,
                &List::new(&page, args.limit, args.offset, fields, Form::Yaml),
            )?;
        }
        Format::Jsonl => {
            for row in &page.rows {
                let line = output::to_line(&Event {
                    row,
                    fields,
                    form: Form::Json,
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
                    rows::table(&page.rows, context.format, context.screen, now)
                } else {
                    rows::chosen(&page.rows, fields)
                };
                table.write(&mut out, context.screen)?;
            }
            out.flush()?;
            note(&page, args);
        }
    }
    out.finish()
}

/// What the table does not say: on stderr, so that stdout holds rows only.
fn note(page: &Page, args: &ListArgs) {
    let (shown, total) = (grouped(page.rows.len() as u64), grouped(page.total));
    let line = match (&page.next, page.rows.is_empty()) {
        (_, true) if page.total == 0 => "no events match".to_owned(),
        (_, true) => format!("none here; {total} match in all"),
        (Some(next), _) => format!("{shown} of {total} events; more with --after={next}"),
        (None, _) if args.offset > 0 || args.after.is_some() => {
            format!("the last {shown} of {total} events")
        }
        (None, _) => counted(page.total, "event"),
    };
    // Nobody reads it if stderr is closed.
    let _ = writeln!(stderr().lock(), "{line}");
}
