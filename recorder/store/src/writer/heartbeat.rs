//! The recorder's status row, at least every heartbeat, and what its commit says of the database.

use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;
use tracing::warn;

use super::damage::{By, Found};
use super::tell::status_detail;
use super::{Abandoned, LOOK_EVERY, Writer};
use crate::holes::HoleTable;
use crate::open::is_damage;
use crate::statements::Counting as _;
use crate::watches::WatchTable;

impl Writer {
    /// At its interval; sooner when the health is another than the status row says, so that readers learn of it.
    pub(super) fn heartbeat_is_due(&self) -> bool {
        let Some(age) = self.heartbeat.map(|at| at.elapsed()) else {
            return true;
        };
        age >= self.config.heartbeat
            || (age >= LOOK_EVERY && self.shared.health.changes() != self.told_changes)
    }

    pub(super) fn until_heartbeat(&self) -> Duration {
        // Often enough for /livez, too.
        let left = self.heartbeat.map_or(Duration::ZERO, |at| {
            self.config.heartbeat.saturating_sub(at.elapsed())
        });
        left.min(LOOK_EVERY)
    }

    /// Commits a heartbeat and reads it back: what `/healthz` knows of the database.
    pub(super) fn heartbeat_commit(&mut self) {
        self.heartbeat = Some(Instant::now());
        self.told_changes = self.shared.health.changes();
        let now = self.shared.clock.now();
        let reopened = match self.data.file_ids() {
            Err(error) => {
                warn!(%error, "cannot check the database files");
                Ok(())
            }
            Ok(files) if files.database != self.files.database => {
                self.replace_damaged("the database file was removed or replaced")
            }
            Ok(files) if files != self.files => {
                // Readers would see another log than the one that is written. Closing copies ours into the database.
                warn!("write-ahead log removed or replaced, reopening the database");
                self.reopen(Found::Replaced)
            }
            Ok(_) => Ok(()),
        };
        if let Err(Abandoned) = reopened {
            return; // there is no database to commit to; the loop that calls this ends
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
            Err(error) if is_damage(&error) => drop(self.damaged(By::Commit, &error)),
            Err(error) => self
                .check
                .degraded(format!("heartbeat commit failed: {error}")),
        }
        let size = self.data.bytes();
        self.shared.metrics.storage_bytes.set(size.total() as i64);
        self.shared.metrics.wal_bytes.set(size.wal as i64);
    }

    /// Gaps and holes that are open, as committed.
    pub(super) fn count_open(&self) {
        let gaps = WatchTable::open_gaps(&self.conn);
        let holes = HoleTable::of(&self.conn).count();
        if let (Ok(gaps), Ok(holes)) = (gaps, holes) {
            self.shared.metrics.gaps_open.set(gaps);
            self.shared.metrics.holes_open.set(holes);
        }
    }

    pub(super) fn write_status(
        &mut self,
        now: Timestamp,
        stopped: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        let detail = status_detail(&self.shared.health).to_string();
        // Until this process commits a row, the last commit is that of the one before.
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
            self.shared.queue.len() as i64,
            self.shared.queue.dropped_total() as i64,
            detail,
            self.last_commit.at_ms,
            self.last_commit.lag_ms,
        ))?;
        Ok(())
    }
}
