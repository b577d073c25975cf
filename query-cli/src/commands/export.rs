//! `events export`: all events of a filter, streamed; memory stays the same however many there are.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;

use super::Context;
use crate::args::{ExportArgs, Field, Format};
use crate::failure::Failure;
use crate::output::{self, Csv, Event, Form, Out};
use crate::text::grouped;
use crate::watchdog;

pub(super) fn run(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let filter = args.filter.resolve(Timestamp::now())?;
    let reader = context.open()?;
    let fields: &[Field] = if args.fields.is_empty() {
        &Field::CONTRACT
    } else {
        &args.fields
    };
    let csv = (context.format == Format::Csv).then(|| Csv::new(fields));
    let mut out = Out::stdout();
    if let Some(csv) = &csv {
        csv.write_headings(&mut out)?;
    }
    let mut export = reader.export(&filter)?;
    let mut progress = Progress::new(export.total());
    while let Some(rows) = export.next_chunk()? {
        watchdog::next();
        for row in &rows {
            match &csv {
                Some(csv) => csv.write_row(&mut out, row)?,
                None => {
                    let event = Event {
                        row,
                        fields,
                        form: Form::Json,
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
        watchdog::next();
    }
    out.finish()?;
    progress.end();
    Ok(())
}

/// A line on a terminal's stderr that says how far it is.
struct Progress {
    total: u64,
    done: u64,
    start: Instant,
    shown: Option<Instant>,
    is_seen: bool,
}

impl Progress {
    const EVERY: Duration = Duration::from_millis(200);
    const BAR: u64 = 24;

    fn new(total: u64) -> Self {
        // With stdout on the same terminal the rows themselves show it.
        let is_seen = stderr().is_terminal() && !std::io::stdout().is_terminal();
        Self {
            total,
            done: 0,
            start: Instant::now(),
            shown: None,
            is_seen,
        }
    }

    fn add(&mut self, rows: u64) {
        self.done += rows;
        if self.is_seen
            && self
                .shown
                .is_none_or(|shown| shown.elapsed() >= Self::EVERY)
        {
            self.shown = Some(Instant::now());
            self.show();
        }
    }

    fn end(&mut self) {
        if self.is_seen {
            self.show();
            let _ = writeln!(stderr().lock());
        }
    }

    /// Overwrites the line; nobody reads it if stderr is closed.
    fn show(&self) {
        let part = (self.done * Self::BAR)
            .checked_div(self.total)
            .unwrap_or(Self::BAR)
            .min(Self::BAR);
        let (full, empty) = (
            "#".repeat(part as usize),
            ".".repeat((Self::BAR - part) as usize),
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
