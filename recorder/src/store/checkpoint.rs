//! Keeps the write-ahead log short: copies it into the database, and cuts its file when nobody reads.
//!
//! A commit checkpoints by itself after [`super::open::WAL_PAGES`] pages, as far as readers allow. This looks after what
//! that leaves: a reader that holds its transaction for long pins the log, which then grows until the reader ends.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::open::{BUSY_TIMEOUT, WAL_BYTES_KEPT, WAL_PAGES};
use crate::metrics::Metrics;
use kube9_shared::schema::PAGE_BYTES;

/// Shortest time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A pinned log beyond this makes the writer wait for larger batches: a commit writes every page it touched, so ten
/// small ones write the same pages ten times (measured: 284 MB of log in 30 s at 1,000 Events a second).
const PINNED_BYTES_NOTED: u64 = 16 << 20;

/// How long the writer then waits for company.
const PINNED_LINGER: Duration = Duration::from_millis(500);

/// A pinned log beyond this makes the clean-up wait: it can do its work later, the readers' disk cannot wait.
const PINNED_BYTES_MAX: u64 = 64 << 20;

/// Looks after the log.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    seen: Option<Instant>,
    pinned_bytes: u64,
}

/// Frames of the log, and how many of them the database holds.
struct Log {
    busy: bool,
    frames: i64,
    copied: i64,
}

impl Checkpoints {
    /// Whether a reader pins so much of the log that whoever can wait should.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned_bytes > PINNED_BYTES_MAX
    }

    /// How long the writer should wait for company, where it usually waits for `usual`.
    pub(super) fn linger(&self, usual: Duration) -> Duration {
        if self.pinned_bytes > PINNED_BYTES_NOTED {
            usual.max(PINNED_LINGER)
        } else {
            usual
        }
    }

    /// Looks, at most every [`LOOK_EVERY`].
    pub(super) fn look(&mut self, conn: &Connection, metrics: &Metrics) -> rusqlite::Result<()> {
        if self.seen.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        self.seen = Some(Instant::now());
        let mut log = checkpoint(conn, "NOOP")?;
        if log.frames - log.copied >= WAL_PAGES {
            log = checkpoint(conn, "PASSIVE")?;
            if log.copied < log.frames {
                metrics.checkpoint_busy.inc();
            }
        }
        self.pinned_bytes = ((log.frames - log.copied).max(0) * PAGE_BYTES) as u64;
        let file_is_long = metrics.wal_bytes.get() > WAL_BYTES_KEPT + WAL_BYTES_KEPT / 4;
        if file_is_long && log.copied == log.frames {
            truncate(conn, metrics)?;
        }
        Ok(())
    }
}

/// Cuts the log's file if nobody reads; does not wait for a reader.
pub(super) fn truncate(conn: &Connection, metrics: &Metrics) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::ZERO)?;
    let log = checkpoint(conn, "TRUNCATE");
    conn.busy_timeout(BUSY_TIMEOUT)?;
    if log?.busy {
        metrics.checkpoint_busy.inc();
    }
    Ok(())
}

fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<Log> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        Ok(Log {
            busy: row.get::<_, i64>(0)? != 0,
            frames: row.get(1)?,
            copied: row.get(2)?,
        })
    })
}
