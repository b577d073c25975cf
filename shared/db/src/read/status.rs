//! State of the file and of its recorder. The caller decides whether it is healthy.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use super::open::Reader;
use super::resolve::KeyRange;
use super::{ReadError, verify};
use crate::schema::{self, bucket::DAY};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity, Tenant};

/// The state of a database at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Number of rows.
    pub events: u64,
    /// Rows created in the last 24 hours.
    pub events_24h: u64,
    /// `created_at` of the oldest row.
    pub oldest: Option<String>,
    /// `created_at` of the newest row.
    pub newest: Option<String>,
    /// Rows by event type; includes types without rows.
    pub by_type: Vec<(String, u64)>,
    /// Rows by severity.
    pub by_severity: Vec<(String, u64)>,
    /// Day of the oldest row of each severity, in the order of [`Self::by_severity`]: retention differs by severity.
    pub oldest_by_severity: Vec<Option<Timestamp>>,
    /// Bytes of the file, its `-wal` and its `-shm`.
    pub bytes: u64,
    /// The schema's version.
    pub schema_version: i64,
    /// Last report of the recorder; `None` before the first.
    pub recorder: Option<RecorderState>,
    /// Watches that are interrupted now.
    pub open_gaps: Vec<OpenGap>,
    /// Items that a full queue dropped and that no list has recovered yet.
    pub unrecovered_drops: u64,
    /// Where the size limit deleted rows early, the latest first; at most [`EVICTIONS_MAX`].
    pub evictions: Vec<Eviction>,
    /// Number of all such entries.
    pub evictions_total: u64,
}

/// Entries of [`Status::evictions`].
const EVICTIONS_MAX: i64 = 100;

/// Rows of one tenant and severity that the size limit deleted before retention would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// Whose rows they were.
    pub tenant: Tenant,
    /// Their severity.
    pub severity: Severity,
    /// Rows deleted.
    pub rows: u64,
    /// The record is complete only after this time.
    pub until: Timestamp,
}

/// Report that a recorder writes every ten seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderState {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// Its last heartbeat.
    pub heartbeat: Timestamp,
    /// When it stopped; `None` while it runs, or if it was killed.
    pub stopped: Option<Timestamp>,
    /// Last commit of a row, by this or a previous recorder.
    pub last_commit: Option<Timestamp>,
    /// From occurrence to commit, of the newest Event of the last commit that held one; milliseconds.
    pub lag_ms: Option<i64>,
    /// Rows in its queue.
    pub queue_rows: i64,
    /// Rows dropped since it started.
    pub dropped: i64,
    /// JSON: its health checks and limits.
    pub detail: String,
}

/// A watch that is interrupted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenGap {
    /// Kind that is watched, e.g. `Event`.
    pub kind: String,
    /// Its namespace; empty for all.
    pub namespace: String,
    /// Start of the gap.
    pub since: Timestamp,
    /// Cause, if known.
    pub cause: Option<String>,
    /// Id of the gap row.
    pub event: String,
}

impl Reader {
    /// The state at `now`.
    pub fn status(&self, now: Timestamp) -> Result<Status, ReadError> {
        let yesterday = now.minus(std::time::Duration::from_secs(86_400));
        let mut status = self.snapshot(|connection| status(connection, yesterday))?;
        status.bytes = bytes(self.path());
        Ok(status)
    }
}

/// Bytes on disk, by `stat`: opening and closing the files while a connection is open would drop SQLite's locks.
fn bytes(path: &Path) -> u64 {
    ["", "-wal", "-shm"]
        .iter()
        .map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            fs::metadata(PathBuf::from(name)).map_or(0, |meta| meta.len())
        })
        .sum()
}

fn status(connection: &Connection, yesterday: Timestamp) -> Result<Status, ReadError> {
    let (by_type, by_severity, oldest_by_severity) = counts(connection)?;
    let all = KeyRange {
        from: i64::MIN,
        to: i64::MAX,
    };
    verify::check_rows(connection, all)?;
    let recent = KeyRange {
        from: EventKey::first_at(yesterday).as_i64(),
        to: i64::MAX,
    };
    verify::check_rows(connection, recent)?;
    let events = by_type.iter().map(|(_, rows)| rows).sum();
    let stored = number(
        connection,
        &format!("SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = {DAY}"),
    )?;
    verify::check_day_counts(connection, stored)?;
    if events != stored {
        return Err(ReadError::INCONSISTENT);
    }
    let (evictions, evictions_total) = evictions(connection)?;
    Ok(Status {
        events,
        events_24h: since(connection, yesterday)?,
        oldest: edge(connection, "min")?,
        newest: edge(connection, "max")?,
        by_type,
        by_severity,
        oldest_by_severity,
        bytes: 0,
        schema_version: schema::VERSION,
        recorder: recorder(connection)?,
        open_gaps: open_gaps(connection)?,
        unrecovered_drops: number(
            connection,
            "SELECT ifnull(sum(items), 0) FROM dropped_range",
        )?,
        evictions,
        evictions_total,
    })
}

fn number(connection: &Connection, sql: &str) -> Result<u64, ReadError> {
    let number: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

type Counts = Vec<(String, u64)>;

/// Rows by type and by severity, and the first day of each severity, in one pass over the counts by day.
fn counts(connection: &Connection) -> Result<(Counts, Counts, Vec<Option<Timestamp>>), ReadError> {
    let mut by_type = vec![0; EventType::ALL.len()];
    let mut by_severity = vec![0; Severity::ALL.len()];
    let mut statement = connection.prepare(
        "SELECT type, severity, rows, bucket_start FROM row_counts WHERE bucket_seconds = 86400",
    )?;
    let mut oldest: Vec<Option<i64>> = vec![None; Severity::ALL.len()];
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        // A larger number means a damaged file: the sums must not overflow.
        let rows = u64::try_from(row.get::<_, i64>(2)?.min(1 << 40)).unwrap_or(0);
        let event_type = EventType::of_row(row.get(0)?).map_or(-1, EventType::code);
        for (counts, code) in [(&mut by_type, event_type), (&mut by_severity, row.get(1)?)] {
            if let Some(count) = usize::try_from(code)
                .ok()
                .and_then(|code| counts.get_mut(code))
            {
                *count += rows;
            }
        }
        let start: i64 = row.get(3)?;
        let severity = usize::try_from(row.get::<_, i64>(1)?).ok();
        if let Some(first) = severity.and_then(|severity| oldest.get_mut(severity))
            && rows > 0
        {
            *first = Some(first.map_or(start, |first| first.min(start)));
        }
    }
    let named = |words: Vec<&str>, counts: Vec<u64>| {
        words.into_iter().map(str::to_owned).zip(counts).collect()
    };
    Ok((
        named(EventType::ALL.iter().map(|t| t.as_str()).collect(), by_type),
        named(
            Severity::ALL.iter().map(|s| s.as_str()).collect(),
            by_severity,
        ),
        oldest
            .into_iter()
            .map(|start| start.map(Timestamp::from_secs))
            .collect(),
    ))
}

fn edge(connection: &Connection, which: &str) -> Result<Option<String>, ReadError> {
    let key: Option<i64> =
        connection.query_row(&format!("SELECT {which}(key) FROM event"), [], |row| {
            row.get(0)
        })?;
    Ok(key.map(|key| EventKey::from_i64(key).created_at().to_string()))
}

/// Rows created since: whole hours by `row_counts`, the first part of an hour by key.
fn since(connection: &Connection, since: Timestamp) -> Result<u64, ReadError> {
    let first = EventKey::first_at(since);
    let hour = (first.second() + 3_599).div_euclid(3_600) * 3_600;
    let rows: i64 = connection.query_row(
        "SELECT (SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 3600 AND bucket_start >= ?1) \
              + (SELECT count(*) FROM event NOT INDEXED WHERE key >= ?2 AND key < ?3)",
        [hour, first.as_i64(), EventKey::new(hour, 0).as_i64()],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

fn recorder(connection: &Connection) -> Result<Option<RecorderState>, ReadError> {
    let state = connection
        .query_row(
            "SELECT version, started_ms, heartbeat_ms, stopped_ms, last_commit_ms, lag_ms, queue_rows, dropped, detail \
               FROM recorder_status WHERE id = 1",
            [],
            |row| {
                let time = |column| row.get(column).map(|ms: Option<i64>| ms.map(Timestamp::from_millis));
                Ok(RecorderState {
                    version: row.get(0)?,
                    started: Timestamp::from_millis(row.get(1)?),
                    heartbeat: Timestamp::from_millis(row.get(2)?),
                    stopped: time(3)?,
                    last_commit: time(4)?,
                    lag_ms: row.get(5)?,
                    queue_rows: row.get(6)?,
                    dropped: row.get(7)?,
                    detail: row.get(8)?,
                })
            },
        )
        .optional()?;
    Ok(state)
}

fn evictions(connection: &Connection) -> Result<(Vec<Eviction>, u64), ReadError> {
    let mut statement = connection.prepare(
        "SELECT tenant, namespace, severity, rows, until FROM eviction ORDER BY until DESC, rows DESC LIMIT ?",
    )?;
    let found = statement.query_map([EVICTIONS_MAX], |row| {
        let namespace: String = row.get(1)?;
        Ok(Eviction {
            tenant: Tenant::from_stored(row.get(0)?, &namespace),
            severity: Severity::from_code(row.get(2)?).unwrap_or(Severity::Critical),
            rows: row.get::<_, i64>(3)?.unsigned_abs(),
            until: Timestamp::from_secs(row.get(4)?),
        })
    })?;
    let found = found.collect::<Result<_, _>>()?;
    Ok((found, number(connection, "SELECT count(*) FROM eviction")?))
}

fn open_gaps(connection: &Connection) -> Result<Vec<OpenGap>, ReadError> {
    let mut statement = connection.prepare(
        "SELECT kind, namespace, gap, gap_cause FROM watch_state WHERE gap IS NOT NULL ORDER BY gap, kind, namespace \
         LIMIT 100",
    )?;
    let gaps = statement.query_map([], |row| {
        let key = EventKey::from_i64(row.get(2)?);
        Ok(OpenGap {
            kind: row.get(0)?,
            namespace: row.get(1)?,
            since: key.created_at(),
            cause: row.get(3)?,
            event: key.to_string(),
        })
    })?;
    Ok(gaps.collect::<Result<_, _>>()?)
}
