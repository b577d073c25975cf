//! Writes a batch and retries until it succeeds: as a whole, or item by item if one item is rejected.

use std::sync::atomic::Ordering;
use std::time::Instant;

use kube9_base::backoff::Backoff;
use kube9_ingest::item::Item;
use kube9_model::label::Stage;
use kube9_model::record::Occurred;
use kube9_model::watch::{RelistCause, UnstoredReason};
use rusqlite::ErrorCode;
use tracing::{error, info};

use super::corruption::DetectedBy;
use super::metrics::account;
use super::{Abandoned, SIZES_EVERY, Writer};
use crate::apply::apply_all;
use crate::metrics::{Observed, StateCounts};
use crate::open::is_corruption;
use crate::queue::{Batch, DroppedItems};
use crate::retention_run::Progress;
use crate::statements;

impl Writer {
    /// Retries until the batch is committed or the writer is abandoned.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), Abandoned> {
        let begun = Instant::now();
        let mut pending = PendingBatch::of(batch);
        let mut backoff = Backoff::new(self.config.retry_initial, self.config.retry_max);
        let mut failures = 0;
        while !pending.is_done() {
            let Err(error) = self.write_next(&mut pending) else {
                continue;
            };
            failures += 1;
            if is_corruption(&error) {
                // The database is reopened or replaced, and the batch is retried.
                self.on_corruption(DetectedBy::Commit, &error)?;
            } else if is_item_fault(&error) && !pending.one_by_one {
                pending.one_by_one = true;
                continue;
            }
            self.failed(&error, failures);
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                self.reclaim_space();
            }
            self.wait(backoff.wait())?;
        }
        if failures > self.config.retries {
            info!(failures, "database is back");
        }
        let metrics = &self.context.metrics;
        metrics
            .write_duration
            .observe(begun.elapsed().as_secs_f64());
        metrics.batch_rows.observe(batch.items.len() as f64);
        Ok(())
    }

    /// One transaction: all that is left, or after a rejected item the drops first and then item by item.
    fn write_next(&mut self, pending: &mut PendingBatch<'_>) -> rusqlite::Result<()> {
        let items = match (pending.one_by_one, pending.drops.is_empty()) {
            (false, _) => pending.items,
            (true, false) => &[],
            (true, true) => &pending.items[..1],
        };
        match self.commit(items, pending.drops) {
            Err(error) if pending.one_by_one && !items.is_empty() && is_item_fault(&error) => {
                self.skipped(&items[0], &error)?;
            }
            result => result?,
        }
        pending.items = &pending.items[items.len()..];
        pending.drops = &[];
        Ok(())
    }

    /// One transaction over `items` and the drops before or between them.
    fn commit(&mut self, items: &[Item], drops: &[DroppedItems]) -> rusqlite::Result<()> {
        let now = self.context.clock.now();
        let applied = apply_all(&mut self.conn, &mut self.applier, |tx, applier| {
            applier.dropped(tx, drops, now)?;
            applier.apply(tx, items, now)
        });
        self.committed(applied)
    }

    fn skipped(&mut self, item: &Item, error: &rusqlite::Error) -> rusqlite::Result<()> {
        let cause = format!("the database refused it: {error}");
        error!(cause, "item skipped");
        self.context.metrics.event_errors.get(Stage::Write).inc();
        let stub = match item {
            Item::Event {
                watch,
                origin,
                received,
                row,
            } => {
                let Occurred::Observed(seen) = &row.record().occurred else {
                    return Ok(());
                };
                Item::Unstored {
                    watch: *watch,
                    origin: *origin,
                    received: *received,
                    uid: seen.uid.to_string(),
                    version: seen.version.to_string(),
                    why: UnstoredReason::Skipped(Stage::Write, cause),
                }
            }
            Item::Tracked { event, .. } => {
                if event.is_state() {
                    let mut skipped = StateCounts::default();
                    skipped.add(Observed::Skipped);
                    self.context.metrics.account_states(&skipped);
                }
                return Ok(());
            }
            // An internal row or a marker: only the log line above remains.
            _ => return Ok(()),
        };
        self.commit(std::slice::from_ref(&stub), &[])
    }

    fn committed(&mut self, applied: rusqlite::Result<()>) -> rusqlite::Result<()> {
        statements::report(&self.context.metrics);
        if let Err(error) = applied {
            self.applier.rolled_back();
            return Err(error);
        }
        let outcomes = std::mem::take(&mut self.applier.outcomes);
        account(&self.context.metrics, &outcomes);
        let mut has_rows = outcomes.events.folded > 0;
        for ((event_type, severity), rows) in self.applier.rows.take_inserted() {
            has_rows = true;
            self.context
                .metrics
                .rows_inserted
                .get(event_type, severity)
                .inc_by(rows);
        }
        if has_rows {
            self.last_commit.at_ms = Some(self.context.clock.now().millis());
        }
        // The newest Event has the shortest delay. A component's clock may be ahead of ours.
        if let Some(lag) = outcomes.delays_ms.iter().min() {
            self.last_commit.lag_ms = Some((*lag).max(0));
        }
        let observed = self.applier.tracked.take_observed();
        self.context.metrics.account_states(&observed);
        for (kind, count) in self.applier.tracked.take_changes() {
            let counter = self.context.metrics.changes.with_label_values(&[kind]);
            counter.inc_by(count);
        }
        self.commit_stats.add(self.applier.rows.take_commit_delta());
        if !outcomes.overflowed.is_empty() || !outcomes.gaps_closed.is_empty() {
            self.count_open();
        }
        for watch in &outcomes.overflowed {
            if let Some(relist_signal) = self.relist_signals.get(watch) {
                relist_signal.request(RelistCause::QueueOverflow);
            }
        }
        self.check.healthy();
        self.corruption.by_commit = 0;
        if self.sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.sizes = Some(Instant::now());
            let size = self.data.bytes();
            self.context.metrics.storage_bytes.set(size.total() as i64);
            self.context.metrics.wal_bytes.set(size.wal as i64);
        }
        Ok(())
    }

    /// The disk is full, perhaps because of this database: retention, which runs between batches, must not wait for this
    /// batch.
    fn reclaim_space(&mut self) {
        self.maintenance.run_now(&self.conn, &self.context.metrics);
        while !self.context.abandon.load(Ordering::Acquire)
            && matches!(self.clean_up(), Ok(Progress::More))
        {
            self.watchdog.heartbeat();
            self.refresh_health();
        }
    }

    fn failed(&mut self, error: &rusqlite::Error, failures: u32) {
        self.context.metrics.write_retries.inc();
        let message = format!("commits fail ({failures} times so far): {error}");
        if failures > self.config.retries {
            self.check.degraded(message);
        }
        // The first failures, then one in sixteen: about every 80 s at the capped interval.
        if failures <= self.config.retries + 1 || failures.is_multiple_of(16) {
            error!(%error, failures, queue = self.context.queue.len(), "commit failed, keeping the batch and retrying");
        }
    }
}

/// What is left of a batch.
struct PendingBatch<'a> {
    items: &'a [Item],
    drops: &'a [DroppedItems],
    /// One item per transaction, because the database rejected one of them.
    one_by_one: bool,
}

impl<'a> PendingBatch<'a> {
    fn of(batch: &'a Batch) -> Self {
        Self {
            items: &batch.items,
            drops: &batch.drops,
            one_by_one: false,
        }
    }

    fn is_done(&self) -> bool {
        self.items.is_empty() && self.drops.is_empty()
    }
}

/// Whether the database rejected the values, not a fault of disk or file.
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
