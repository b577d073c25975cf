//! Writes a batch, for as long as it takes: all of it, or item by item where one of them is at fault.

use std::sync::atomic::Ordering;
use std::time::Instant;

use kube9_base::backoff::Backoff;
use kube9_ingest::item::Item;
use kube9_model::label::Stage;
use kube9_model::record::Occurred;
use kube9_model::watch::{Passed, RelistCause};
use rusqlite::ErrorCode;
use tracing::{error, info};

use super::damage::By;
use super::tell::account;
use super::{Abandoned, SIZES_EVERY, Writer};
use crate::apply::apply_all;
use crate::open::is_damage;
use crate::queue::{Batch, Drops};
use crate::run::Progress;
use crate::statements;

impl Writer {
    /// Writes a batch, for as long as it takes.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Abandoned> {
        let begun = Instant::now();
        let mut todo = Todo::of(batch);
        let mut backoff = Backoff::new(self.config.retry_initial, self.config.retry_max);
        let mut failures = 0;
        while !todo.is_done() {
            let Err(error) = self.write_next(&mut todo) else {
                continue;
            };
            failures += 1;
            if is_damage(&error) {
                // Opened again, or quarantined: either may be all it takes.
                self.damaged(By::Commit, &error)?;
            } else if is_item_fault(&error) && !todo.singly {
                todo.singly = true;
                continue;
            }
            self.failed(&error, failures);
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                self.make_room();
            }
            self.wait(backoff.wait())?;
        }
        if failures > self.config.retries {
            info!(failures, "database is back");
        }
        let metrics = &self.shared.metrics;
        metrics
            .write_duration
            .observe(begun.elapsed().as_secs_f64());
        metrics.batch_rows.observe(batch.items.len() as f64);
        Ok(())
    }

    /// One transaction of what is left: all of it, or after an item's fault the drops first and then item by item.
    fn write_next(&mut self, todo: &mut Todo<'_>) -> rusqlite::Result<()> {
        let items = match (todo.singly, todo.drops.is_empty()) {
            (false, _) => todo.items,
            (true, false) => &[],
            (true, true) => &todo.items[..1],
        };
        match self.commit(items, todo.drops) {
            Err(error) if todo.singly && !items.is_empty() && is_item_fault(&error) => {
                self.skipped(&items[0], &error)?;
            }
            result => result?,
        }
        todo.items = &todo.items[items.len()..];
        todo.drops = &[];
        Ok(())
    }

    /// One transaction over `items`; drops that happened before or between them belong to it.
    fn commit(&mut self, items: &[Item], drops: &[Drops]) -> rusqlite::Result<()> {
        let now = self.shared.clock.now();
        let applied = apply_all(&mut self.conn, &mut self.applier, |tx, applier| {
            applier.dropped(tx, drops, now)?;
            applier.apply(tx, items, now)
        });
        self.committed(applied)
    }

    fn skipped(&mut self, item: &Item, error: &rusqlite::Error) -> rusqlite::Result<()> {
        let cause = format!("the database refused it: {error}");
        error!(cause, "item skipped");
        self.shared.metrics.event_errors.of(Stage::Write).inc();
        let stub = match item {
            Item::Observed {
                watch,
                via,
                received,
                row,
            } => {
                let Occurred::Observed(seen) = &row.record().occurred else {
                    return Ok(());
                };
                Item::Passed {
                    watch: *watch,
                    via: *via,
                    received: *received,
                    uid: seen.uid.to_string(),
                    version: seen.version.to_string(),
                    why: Passed::Skipped(Stage::Write, cause),
                }
            }
            // A row of kube9's own, or a mark: nothing of it can be kept but the log line above.
            _ => return Ok(()),
        };
        self.commit(std::slice::from_ref(&stub), &[])
    }

    fn committed(&mut self, applied: rusqlite::Result<()>) -> rusqlite::Result<()> {
        statements::report(&self.shared.metrics);
        if let Err(error) = applied {
            self.applier.rolled_back();
            return Err(error);
        }
        let outcomes = std::mem::take(&mut self.applier.outcomes);
        account(&self.shared.metrics, &outcomes);
        let mut has_rows = outcomes.events.folded > 0;
        for ((event_type, severity), rows) in self.applier.rows.take_inserted() {
            has_rows = true;
            self.shared
                .metrics
                .rows_inserted
                .of(event_type, severity)
                .inc_by(rows);
        }
        if has_rows {
            self.last_commit.at_ms = Some(self.shared.clock.now().millis());
        }
        // The newest occurred last, so that its delay is the shortest. A component's clock may be ahead of ours.
        if let Some(lag) = outcomes.delays_ms.iter().min() {
            self.last_commit.lag_ms = Some((*lag).max(0));
        }
        self.heard.add(self.applier.rows.take_told());
        if !outcomes.holed.is_empty() || !outcomes.gaps_closed.is_empty() {
            self.count_open();
        }
        for watch in &outcomes.holed {
            if let Some(recall) = self.recalls.get(watch) {
                recall.relist(RelistCause::Hole);
            }
        }
        self.check.healthy();
        self.damage.by_commit = 0;
        if self.sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.sizes = Some(Instant::now());
            let size = self.data.bytes();
            self.shared.metrics.storage_bytes.set(size.total() as i64);
            self.shared.metrics.wal_bytes.set(size.wal as i64);
        }
        Ok(())
    }

    /// The disk is full, perhaps because of us: the clean-up, which runs between batches, must not wait for this one.
    fn make_room(&mut self) {
        self.maintenance.hurry(&self.conn, &self.shared.metrics);
        while !self.shared.abandon.load(Ordering::Acquire)
            && matches!(self.clean_up(), Ok(Progress::More))
        {
            self.pulse.beat();
            self.show();
        }
    }

    fn failed(&mut self, error: &rusqlite::Error, failures: u32) {
        self.shared.metrics.write_retries.inc();
        let message = format!("commits fail ({failures} times so far): {error}");
        if failures > self.config.retries {
            self.check.degraded(message);
        }
        // Every failure while it is news, then one in sixteen: about every 80 s at the capped interval.
        if failures <= self.config.retries + 1 || failures.is_multiple_of(16) {
            error!(%error, failures, queue = self.shared.queue.len(), "commit failed, keeping the batch and retrying");
        }
    }
}

/// What is left of a batch.
struct Todo<'a> {
    items: &'a [Item],
    drops: &'a [Drops],
    /// One item a transaction, since one of them is at fault.
    singly: bool,
}

impl<'a> Todo<'a> {
    fn of(batch: &'a Batch) -> Self {
        Self {
            items: &batch.items,
            drops: &batch.drops,
            singly: false,
        }
    }

    fn is_done(&self) -> bool {
        self.items.is_empty() && self.drops.is_empty()
    }
}

/// Whether the statement's values are at fault, not the disk or the file.
fn is_item_fault(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::Unknown
        ),
        None => true,
    }
}
