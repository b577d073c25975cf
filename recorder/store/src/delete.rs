//! Deletes rows of `event` in short transactions, with the counters that belong to them.
//!
//! Invariant: the row of an open gap is never deleted. Rows of open findings are only deleted if they alone would fill
//! the database; the finding's entry is then deleted with its row.

use std::time::Instant;

use kube9_model::id::EventKey;
use kube9_model::{EventType, Severity, Tenant};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::apply::Applier;
use super::dedup::DedupTable;
use super::evictions::Evictions;
use super::findings::FindingTable;
use super::statements::Counting as _;
use super::watches::WatchTable;

/// Rows between two checks of the deadline: about a millisecond.
const CHUNK: i64 = 256;

/// A row that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) tenant: Tenant,
    pub(super) severity: Severity,
    /// Last occurrence, milliseconds since 1970.
    pub(super) last_ms: i64,
}

/// Why rows are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Age,
    Size {
        /// Keep the rows of open findings.
        findings_stay: bool,
        /// Delete the entries in `dedup` with their rows.
        entries_go: bool,
    },
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

/// Result of one step.
#[derive(Debug)]
pub(super) struct Step {
    /// Key at which to continue; `None` at the end of the range.
    pub(super) next: Option<i64>,
    pub(super) deleted: Deleted,
    pub(super) evictions: Evictions,
}

/// Deletes rows with keys in `[from, end)` that `goes` selects, until `deadline`, in the caller's transaction.
pub(super) fn delete_some(
    conn: &Connection,
    applier: &mut Applier,
    (from, end): (i64, i64),
    why: Why,
    deadline: Instant,
    mut goes: impl FnMut(&Candidate) -> bool,
) -> rusqlite::Result<Step> {
    let (gaps, findings) = (WatchTable::gap_rows(conn)?, FindingTable::of(conn));
    let findings_stay = !matches!(
        why,
        Why::Size {
            findings_stay: false,
            ..
        }
    );
    let mut step = Step {
        next: None,
        deleted: Deleted::default(),
        evictions: Evictions::default(),
    };
    let mut from = from;
    loop {
        let chunk = chunk(conn, from, end)?;
        let Some(last) = chunk.last().map(|row| row.key) else {
            break;
        };
        for row in chunk {
            let is_exempt = gaps.contains(&row.key)
                || (row.is_finding && findings_stay && findings.has_row(row.key)?);
            if is_exempt || !goes(&row.candidate) {
                continue;
            }
            let severity = row.candidate.severity;
            remove(conn, &row, why)?;
            let key = EventKey::from_i64(row.key);
            applier
                .rows
                .count(key, row.scope, row.type_code, severity, -1);
            step.deleted.0[severity as usize] += 1;
            if why != Why::Age {
                step.evictions
                    .add(row.candidate.tenant, severity, key.second());
            }
        }
        from = last + 1;
        if Instant::now() >= deadline {
            step.next = Some(from);
            break;
        }
    }
    step.evictions.save(conn)?;
    Ok(step)
}

fn remove(conn: &Connection, row: &DeletedRow, why: Why) -> rusqlite::Result<()> {
    conn.counted("DELETE FROM event WHERE key = ?1")?
        .execute([row.key])?;
    let Why::Size { entries_go, .. } = why else {
        return Ok(());
    };
    // Without its entry, the next list inserts a live Event again as new. Without space for it, it is evicted again.
    if let Some(uid) = row.uid.as_ref().filter(|_| entries_go) {
        DedupTable::of(conn).delete_with_row(uid, row.key)?;
    }
    if row.is_finding {
        FindingTable::of(conn).delete_with_row(row.key)?;
    }
    Ok(())
}

/// A row of a chunk.
struct DeletedRow {
    key: i64,
    type_code: i64,
    scope: i64,
    uid: Option<Value>,
    /// It may be the row of a finding.
    is_finding: bool,
    candidate: Candidate,
}

fn chunk(conn: &Connection, from: i64, end: i64) -> rusqlite::Result<Vec<DeletedRow>> {
    let mut statement = conn.counted(
        "SELECT e.key, e.type, e.severity, e.last_offset_ms, o.scope, e.uid, s.namespace FROM event e \
         LEFT JOIN object o ON o.id = e.object LEFT JOIN scope s ON s.id = o.scope \
         WHERE e.key >= ?1 AND e.key < ?2 ORDER BY e.key LIMIT ?3",
    )?;
    let rows = statement.query_map((from, end, CHUNK), |row| {
        let key: i64 = row.get(0)?;
        let (type_code, severity): (i64, i64) = (row.get(1)?, row.get(2)?);
        let created = EventKey::from_i64(key).created_at();
        let event_type = EventType::of_row(type_code)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(1, type_code))?;
        Ok(DeletedRow {
            key,
            type_code,
            scope: row.get::<_, Option<i64>>(4)?.unwrap_or(0),
            uid: row.get(5)?,
            is_finding: matches!(
                event_type,
                EventType::Health | EventType::Insight | EventType::Assessment
            ),
            candidate: Candidate {
                tenant: Tenant::of(row.get_ref(6)?.as_str_or_null()?),
                severity: Severity::from_code(severity)
                    .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, severity))?,
                last_ms: created.millis() + row.get::<_, i64>(3)?,
            },
        })
    })?;
    rows.collect()
}
