//! Deletes rows of `event` in short transactions, with the counters that belong to them.
//!
//! Invariant: a row that somebody still writes to (an open gap) is never deleted, however old or large the database is.

use std::collections::HashSet;
use std::time::Instant;

use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use rusqlite::Connection;

use super::apply::Applier;

/// Rows looked at between two looks at the time: about a millisecond.
const CHUNK: i64 = 256;

/// Rows that are exempt: those of open gaps and of open findings.
const EXEMPT: &str =
    "SELECT gap FROM watch_state WHERE gap IS NOT NULL UNION ALL SELECT event FROM finding";

/// A row that may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) severity: Severity,
    /// Last occurrence, milliseconds since 1970.
    pub(super) last_ms: i64,
}

/// Rows deleted, by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Deleted([u64; Severity::ALL.len()]);

impl Deleted {
    pub(super) fn total(self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn of(self, severity: Severity) -> u64 {
        self.0[severity as usize]
    }

    pub(super) fn add(&mut self, other: Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Where to go on; `None` at the end of the range.
    pub(super) next: Option<i64>,
    pub(super) deleted: Deleted,
}

/// Deletes rows with keys in `[from, end)` that `goes` picks, at most `most`, until `deadline`; one transaction, which
/// the caller begins and ends.
pub(super) fn delete_some(
    conn: &Connection,
    applier: &mut Applier,
    (from, end): (i64, i64),
    most: u64,
    deadline: Instant,
    goes: impl Fn(Candidate) -> bool,
) -> rusqlite::Result<Step> {
    let exempt = exempt(conn, applier)?;
    let mut deleted = Deleted::default();
    let mut from = from;
    loop {
        let chunk = chunk(conn, applier, from, end)?;
        let Some(&(last, ..)) = chunk.last() else {
            return Ok(Step {
                next: None,
                deleted,
            });
        };
        for (key, event_type, severity, last_ms, scope) in chunk {
            let candidate = Candidate { severity, last_ms };
            if exempt.contains(&key) || !goes(candidate) {
                continue;
            }
            if deleted.total() >= most {
                return Ok(Step {
                    next: None,
                    deleted,
                });
            }
            applier
                .rows
                .statements
                .delete(conn, "DELETE FROM event WHERE key = ?1")?
                .execute([key])?;
            let key = EventKey::from_i64(key);
            applier.rows.count(key, scope, event_type, severity, -1);
            deleted.0[severity as usize] += 1;
        }
        from = last + 1;
        if Instant::now() >= deadline {
            return Ok(Step {
                next: Some(from),
                deleted,
            });
        }
    }
}

fn exempt(conn: &Connection, applier: &mut Applier) -> rusqlite::Result<HashSet<i64>> {
    let mut statement = applier.rows.statements.select(conn, EXEMPT)?;
    let keys = statement.query_map([], |row| row.get(0))?;
    keys.collect()
}

/// Key, type, severity, last occurrence and scope of the next rows.
type Found = (i64, EventType, Severity, i64, i64);

fn chunk(
    conn: &Connection,
    applier: &mut Applier,
    from: i64,
    end: i64,
) -> rusqlite::Result<Vec<Found>> {
    let mut statement = applier.rows.statements.select(
        conn,
        "SELECT e.key, e.type, e.severity, e.last_ms, o.scope FROM event e LEFT JOIN object o ON o.id = e.object \
         WHERE e.key >= ?1 AND e.key < ?2 ORDER BY e.key LIMIT ?3",
    )?;
    let rows = statement.query_map((from, end, CHUNK), |row| {
        let key: i64 = row.get(0)?;
        let (event_type, severity): (i64, i64) = (row.get(1)?, row.get(2)?);
        let created = EventKey::from_i64(key).created_at();
        Ok((
            key,
            EventType::from_code(event_type)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, event_type))?,
            Severity::from_code(severity)
                .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, severity))?,
            created.millis() + row.get::<_, i64>(3)?,
            row.get::<_, Option<i64>>(4)?.unwrap_or(0),
        ))
    })?;
    rows.collect()
}
