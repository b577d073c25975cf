//! Keeps the write-ahead log short: checkpoints it, and truncates its file when nothing reads it.
//!
//! A commit checkpoints by itself after [`super::open::WAL_PAGES`] pages, as far as readers allow. This module handles
//! the rest: a reader with a long transaction pins the log, which then grows until the reader ends.

use std::path::Path;
use std::time::{Duration, Instant};

use kube9_db::schema::PAGE_BYTES;
use rusqlite::{Connection, FileControl};

use super::open::{BUSY_TIMEOUT, WAL_BYTES_KEPT, WAL_PAGES};
use crate::metrics::Metrics;
use crate::volume::statvfs;

/// Shortest time between two checks.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);

/// Above this size of a pinned log the writer waits for larger batches: a commit writes every page it touched, so ten
/// small ones write the same pages ten times (measured: 284 MB of log in 30 s at 1,000 Events a second).
const PINNED_BYTES_NOTED: u64 = 16 << 20;

/// How long the writer then waits for more items.
const PINNED_LINGER: Duration = Duration::from_millis(500);

/// Above this size of a pinned log retention waits, because its deletions would make the log longer.
const PINNED_BYTES_MAX: u64 = 64 << 20;

/// Above this size the pinned log is what fills a volume that is short of space: deletions would only make it longer.
const PINNED_BYTES_FILL: u64 = 1 << 20;

/// Maintains the log.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    last: Option<Instant>,
    pinned_bytes: u64,
}

/// Whether the log was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maintained {
    /// The last check was too recent.
    NotDue,
    Done,
}

/// Frames of the log, and how many of them were copied to the database.
struct Log {
    busy: bool,
    frames: i64,
    copied: i64,
}

impl Checkpoints {
    /// Whether a reader pins so much of the log that retention must wait.
    pub(super) fn is_pinned(&self) -> bool {
        self.pinned_bytes > PINNED_BYTES_MAX
    }

    /// Whether the pinned log is what fills the volume.
    pub(super) fn fills_the_volume(&self) -> bool {
        self.pinned_bytes > PINNED_BYTES_FILL
    }

    /// How long the writer should wait for more items; at least `usual`.
    pub(super) fn linger(&self, usual: Duration) -> Duration {
        if self.pinned_bytes > PINNED_BYTES_NOTED {
            usual.max(PINNED_LINGER)
        } else {
            usual
        }
    }

    /// Checks the log, at most every [`MAINTAIN_EVERY`].
    pub(super) fn maintain(
        &mut self,
        conn: &Connection,
        metrics: &Metrics,
    ) -> rusqlite::Result<Maintained> {
        if self.last.is_some_and(|at| at.elapsed() < MAINTAIN_EVERY) {
            return Ok(Maintained::NotDue);
        }
        self.last = Some(Instant::now());
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
        Ok(Maintained::Done)
    }
}

/// Truncates the log's file if nothing reads it; does not wait for a reader.
pub(super) fn truncate(conn: &Connection, metrics: &Metrics) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::ZERO)?;
    let log = checkpoint(conn, "TRUNCATE");
    conn.busy_timeout(BUSY_TIMEOUT)?;
    if log?.busy {
        metrics.checkpoint_busy.inc();
    }
    Ok(())
}

/// Extends the database file to hold every page of the transaction under way. Call it last before the commit.
///
/// Invariant: the database file has space for every page of the log. Otherwise a log that fills the volume could not be
/// checkpointed, hence not be truncated, and no commit could free space again.
pub(super) fn reserve(conn: &Connection) -> rusqlite::Result<()> {
    let pages: i64 = conn
        .prepare_cached("PRAGMA page_count")?
        .query_row([], |row| row.get(0))?;
    let mut bytes = pages * PAGE_BYTES;
    let reserved = conn.file_control(rusqlite::DEFAULT_NAME, FileControl::SizeHint(&mut bytes));
    reserved.map_err(|error| {
        // SQLite reports every failure here as an I/O error.
        let directory = conn.path().map(Path::new).and_then(Path::parent);
        let volume = directory.and_then(statvfs);
        if volume.is_some_and(|volume| volume.available < PAGE_BYTES as u64) {
            let full = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
            rusqlite::Error::SqliteFailure(full, Some("database or disk is full".to_owned()))
        } else {
            error
        }
    })
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
