//! Writes the status row at least every heartbeat; its commit is the database's health check.

use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;
use tracing::warn;

use super::corruption::{DetectedBy, ReopenReason};
use super::metrics::status_detail;
use super::{Abandoned, HEARTBEAT_CHECK_EVERY, Writer};
use crate::dropped_ranges::DroppedRangeTable;
use crate::open::is_corruption;
use crate::statements::Counting as _;
use crate::watches::WatchTable;

impl Writer {
    /// At its interval; sooner if the health differs from the status row, so that readers see the change.
    pub(super) fn heartbeat_is_due(&self) -> bool {
        let Some(age) = self.heartbeat.map(|at| at.elapsed()) else {
            return true;
        };
        age >= self.config.heartbeat
            || (age >= HEARTBEAT_CHECK_EVERY
                && self.context.health.changes() != self.reported_health_revision)
    }

    pub(super) fn until_heartbeat(&self) -> Duration {
        // Often enough for /livez too.
        let left = self.heartbeat.map_or(Duration::ZERO, |at| {
            self.config.heartbeat.saturating_sub(at.elapsed())
        });
        left.min(HEARTBEAT_CHECK_EVERY)
    }

    /// Commits a heartbeat and reads it back, for `/healthz`.
    pub(super) fn heartbeat_commit(&mut self) {
        self.heartbeat = Some(Instant::now());
        self.reported_health_revision = self.context.health.changes();
        let now = self.context.clock.now();
        let reopened = match self.data.file_ids() {
            Err(error) => {
                warn!(%error, "cannot check the database files");
                Ok(())
            }
            Ok(files) if files.database != self.files.database => {
                self.replace_damaged("the database file was removed or replaced")
            }
            Ok(files) if files != self.files => {
                // Readers would use another log than the writer. Closing checkpoints ours into the database.
                warn!("write-ahead log removed or replaced, reopening the database");
                self.reopen(ReopenReason::Replaced)
            }
            Ok(_) => Ok(()),
        };
        if let Err(Abandoned) = reopened {
            return; // the calling loop ends
        }
        let done = self.write_status(now, None).and_then(|()| {
            self.conn
                .counted("SELECT heartbeat_ms FROM recorder_status WHERE id = 1")?
                .query_row([], |row| row.get::<_, i64>(0))
        });
        match done {
            Ok(read) if read == now.millis() => {
                self.check.healthy();
                self.sizes = None;
                self.count_open();
            }
            Ok(_) => self
                .check
                .degraded("a heartbeat was committed but reads back differently"),
            Err(error) if is_corruption(&error) => {
                drop(self.on_corruption(DetectedBy::Commit, &error))
            }
            Err(error) => self
                .check
                .degraded(format!("heartbeat commit failed: {error}")),
        }
        let size = self.data.bytes();
        self.context.metrics.storage_bytes.set(size.total() as i64);
        self.context.metrics.wal_bytes.set(size.wal as i64);
    }

    /// Sets the gauges of open gaps and dropped ranges.
    pub(super) fn count_open(&self) {
        let gaps = WatchTable::open_gaps(&self.conn);
        let dropped_ranges = DroppedRangeTable::of(&self.conn).count();
        if let (Ok(gaps), Ok(dropped_ranges)) = (gaps, dropped_ranges) {
            self.context.metrics.gaps_open.set(gaps);
            self.context.metrics.dropped_ranges_open.set(dropped_ranges);
        }
    }

    pub(super) fn write_status(
        &mut self,
        now: Timestamp,
        stopped: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        let detail = status_detail(
            &self.context.health,
            self.maintenance.tracking(),
            self.applier.tracked.folded(),
            now,
        )
        .to_string();
        // Until this process commits a row, the last commit of the previous one stays.
        let mut write = self.conn.counted(
            "INSERT INTO recorder_status \
             (id, version, started_ms, heartbeat_ms, stopped_ms, last_commit_ms, lag_ms, queue_rows, dropped, detail) \
             VALUES (1, ?1, ?2, ?3, ?4, ?8, ?9, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET version = excluded.version, \
             started_ms = excluded.started_ms, heartbeat_ms = excluded.heartbeat_ms, \
             last_commit_ms = ifnull(excluded.last_commit_ms, last_commit_ms), lag_ms = ifnull(excluded.lag_ms, lag_ms), \
             stopped_ms = excluded.stopped_ms, queue_rows = excluded.queue_rows, dropped = excluded.dropped, \
             detail = excluded.detail",
        )?;
        write.execute((
            env!("CARGO_PKG_VERSION"),
            self.started.millis(),
            now.millis(),
            stopped.map(Timestamp::millis),
            self.context.queue.len() as i64,
            self.context.queue.dropped_total() as i64,
            detail,
            self.last_commit.at_ms,
            self.last_commit.lag_ms,
        ))?;
        Ok(())
    }
}
