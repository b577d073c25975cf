//! `events export`: streams all matching events in constant memory.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use super::Context;
use crate::args::{ExportArgs, Field, Format};
use crate::error::CliError;
use crate::output::{self, Csv, Event, MetadataEncoding, Stdout};
use crate::text::grouped;
use crate::watchdog;

pub(super) fn run(context: &Context, args: &ExportArgs) -> Result<(), CliError> {
    let filter = args.filter.resolve(&context.now())?;
    let reader = context.open()?;
    let fields: &[Field] = if args.fields.is_empty() {
        &Field::COLUMNS
    } else {
        &args.fields
    };
    let csv = (context.format == Format::Csv).then(|| Csv::new(fields));
    let mut out = Stdout::lock();
    if let Some(csv) = &csv {
        csv.write_headings(&mut out)?;
    }
    let mut export = reader.export(&filter)?;
    let mut progress = Progress::new(export.total());
    while let Some(rows) = export.next_chunk()? {
        watchdog::restart();
        for row in &rows {
            match &csv {
                Some(csv) => csv.write_row(&mut out, row)?,
                None => {
                    let event = Event {
                        row,
                        fields,
                        encoding: MetadataEncoding::Json,
                        change: None,
                    };
                    writeln!(
                        out,
                        "{}",
                        output::to_line(&event).map_err(std::io::Error::from)?
                    )?;
                }
            }
        }
        progress.add(rows.len() as u64);
        watchdog::restart();
    }
    out.finish()?;
    progress.finish();
    Ok(())
}

/// A progress line on stderr, if it is a terminal.
struct Progress {
    total: u64,
    done: u64,
    start: Instant,
    printed_at: Option<Instant>,
    is_enabled: bool,
}

impl Progress {
    const INTERVAL: Duration = Duration::from_millis(200);
    const BAR_WIDTH: u64 = 24;

    fn new(total: u64) -> Self {
        // With stdout on the same terminal the rows show the progress.
        let is_enabled = stderr().is_terminal() && !std::io::stdout().is_terminal();
        Self {
            total,
            done: 0,
            start: Instant::now(),
            printed_at: None,
            is_enabled,
        }
    }

    fn add(&mut self, rows: u64) {
        self.done += rows;
        if self.is_enabled
            && self
                .printed_at
                .is_none_or(|printed| printed.elapsed() >= Self::INTERVAL)
        {
            self.printed_at = Some(Instant::now());
            self.print();
        }
    }

    fn finish(&mut self) {
        if self.is_enabled {
            self.print();
            let _ = writeln!(stderr().lock());
        }
    }

    /// Overwrites the line; ignores a closed stderr.
    fn print(&self) {
        let filled = (self.done * Self::BAR_WIDTH)
            .checked_div(self.total)
            .unwrap_or(Self::BAR_WIDTH)
            .min(Self::BAR_WIDTH);
        let (full, empty) = (
            "#".repeat(filled as usize),
            ".".repeat((Self::BAR_WIDTH - filled) as usize),
        );
        let rate = (self.done as f64 / self.start.elapsed().as_secs_f64().max(0.001)) as u64;
        let (done, total) = (grouped(self.done), grouped(self.total));
        let _ = write!(
            stderr().lock(),
            "\r[{full}{empty}] {done} of {total} events, {}/s   ",
            grouped(rate)
        );
    }
}
