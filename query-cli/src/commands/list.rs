//! `events list`: one page of events. `changes` and `findings` print theirs with it.

use std::io::{Write, stderr};

use kube9_db::read::{Page, PageRequest, Row};

use super::{Context, event_table};
use crate::args::{Field, Format, ListArgs};
use crate::error::CliError;
use crate::output::{self, Csv, Event, ListDocument, MetadataEncoding, Stdout};
use crate::table::Table;
use crate::text::{counted, grouped};

pub(super) fn run(context: &Context, args: &ListArgs) -> Result<(), CliError> {
    let now = context.now();
    let request = args.page.request(args.filter.resolve(&now)?);
    let page = context.open()?.list(&request)?;
    let fields: &[Field] = if args.fields.is_empty() {
        &Field::COLUMNS
    } else {
        &args.fields
    };
    let listing = Listing {
        name: "events",
        what: "event",
        fields,
        request: &request,
        page: &page,
    };
    listing.write(context, |rows| {
        if args.fields.is_empty() {
            event_table::table(rows, context.format, context.terminal, now.time)
        } else {
            event_table::column_table(rows, fields, &now.zone)
        }
    })
}

/// A page of rows and how it is printed.
pub(super) struct Listing<'a> {
    /// The key of the rows in a document.
    pub(super) name: &'static str,
    /// What a row is: `event`.
    pub(super) what: &'static str,
    pub(super) fields: &'a [Field],
    pub(super) request: &'a PageRequest,
    pub(super) page: &'a Page,
}

impl Listing<'_> {
    /// Writes the page in the format of the command; `table` makes the table of the rows.
    pub(super) fn write(
        &self,
        context: &Context,
        table: impl FnOnce(&[Row]) -> Table,
    ) -> Result<(), CliError> {
        let (page, fields) = (self.page, self.fields);
        let mut out = Stdout::lock();
        match context.format {
            Format::Json => {
                output::write_json(&mut out, &self.document(MetadataEncoding::Json))?;
            }
            Format::Yaml => {
                output::write_yaml(&mut out, &self.document(MetadataEncoding::Yaml))?;
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
            Format::Table | Format::Wide | Format::KubectlPatch | Format::Md => {
                if !page.rows.is_empty() {
                    table(&page.rows).write(&mut out, context.terminal)?;
                }
                out.flush()?;
                self.print_summary();
            }
        }
        out.finish()
    }

    fn document(&self, encoding: MetadataEncoding) -> ListDocument<'_> {
        let (limit, offset) = (self.request.limit, self.request.offset);
        ListDocument::new(self.name, self.page, limit, offset, self.fields, encoding)
    }

    /// Prints the total and the next page on stderr, so that stdout holds only rows.
    fn print_summary(&self) {
        let (page, request, many) = (self.page, self.request, self.name);
        let (shown, total) = (grouped(page.rows.len() as u64), grouped(page.total));
        let line = match (&page.next, page.rows.is_empty()) {
            (_, true) if page.total == 0 => format!("no {many} match"),
            (_, true) => format!("no {many} on this page; {total} match"),
            (Some(next), _) => format!("{shown} of {total} {many}; next page: --after={next}"),
            (None, _) if request.offset > 0 || request.after.is_some() => {
                format!("the last {shown} of {total} {many}")
            }
            (None, _) => counted(page.total, self.what),
        };
        // Ignores a closed stderr.
        let _ = writeln!(stderr().lock(), "{line}");
    }
}
