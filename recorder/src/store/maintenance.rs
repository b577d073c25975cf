//! Keeps the database from growing for ever: retention by age, in short steps between the batches.
//!
//! Each step is one transaction that is sized by the time the last one took, so that the writer never pauses for long:
//! one big DELETE of 650,000 rows held the lock for 8 s and grew the WAL by 337 MB (measured).

use std::time::{Duration, Instant};

use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use tracing::{info, warn};

use super::apply::Applier;
use super::writer::{Shared, apply_all};
use crate::config::RetentionConfig;
use crate::metrics::Removal;

/// A step should take about this long.
const STEP_TIME: Duration = Duration::from_millis(25);

/// Rows looked at in the first step of a run.
const STEP_ROWS_FIRST: i64 = 50;

/// No step looks at more, however fast the last one was.
const STEP_ROWS_MAX: i64 = 5_000;

/// Pages given back to the file system in one step.
const VACUUM_PAGES: i64 = 256;

/// What the clean-up is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Rows of the tier, from this key on.
    Delete {
        tier: Tier,
        from: i64,
    },
    /// Names that no row uses any more.
    Orphans {
        table: usize,
        from: i64,
    },
    /// Free pages back to the file system.
    Vacuum,
}

/// Severities that are kept equally long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    InfoWarning,
    ErrorCritical,
}

/// The clean-up; `step` is called between batches.
#[derive(Debug)]
pub struct Maintenance {
    config: RetentionConfig,
    phase: Phase,
    begun: Option<Instant>,
    started_at: Timestamp,
    step_rows: i64,
    deleted: u64,
}

/// Name tables and how to find their unused entries by id. Ids are never reused, so an entry that is unused now and
/// older than this run's start stays unused unless a row names it again; that happens on this same thread only.
const ORPHANS: [&str; 1] = [
    "DELETE FROM object WHERE id IN (SELECT o.id FROM object o WHERE o.id >= ?1 AND o.id < ?2 \
     AND NOT EXISTS (SELECT 1 FROM event e WHERE e.object = o.id) \
     AND NOT EXISTS (SELECT 1 FROM object c WHERE c.owner = o.id))",
];

impl Maintenance {
    /// First run at once, then at every interval.
    pub fn new(config: RetentionConfig) -> Self {
        Self {
            config,
            phase: Phase::Waiting,
            begun: None,
            started_at: Timestamp::EPOCH,
            step_rows: STEP_ROWS_FIRST,
            deleted: 0,
        }
    }

    /// Does one step if a run is due or under way. `true`: more is to be done soon.
    pub(super) fn step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        shared: &Shared,
    ) -> bool {
        if self.phase == Phase::Waiting {
            if self
                .begun
                .is_some_and(|at| at.elapsed() < self.config.interval)
            {
                return false;
            }
            self.begun = Some(Instant::now());
            self.started_at = shared.clock.now();
            self.deleted = 0;
            self.step_rows = STEP_ROWS_FIRST;
            self.phase = Phase::Delete {
                tier: Tier::InfoWarning,
                from: 0,
            };
        }
        let begun = Instant::now();
        match self.advance(conn, applier, shared) {
            Ok(next) => self.phase = next,
            Err(error) => {
                warn!(%error, "clean-up failed; it is tried again at the next interval");
                if let Err(error) = applier.rolled_back(conn) {
                    warn!(%error, "positions could not be read again");
                }
                self.phase = Phase::Waiting;
            }
        }
        self.adapt(begun.elapsed());
        if self.phase == Phase::Waiting {
            info!(deleted = self.deleted, "clean-up done");
        }
        self.phase != Phase::Waiting
    }

    fn adapt(&mut self, took: Duration) {
        self.step_rows = if took > STEP_TIME {
            self.step_rows / 2
        } else {
            self.step_rows * 2
        };
        self.step_rows = self.step_rows.clamp(STEP_ROWS_FIRST, STEP_ROWS_MAX);
    }

    fn advance(
        &self,
        conn: &mut Connection,
        applier: &mut Applier,
        shared: &Shared,
    ) -> rusqlite::Result<Phase> {
        match self.phase {
            Phase::Waiting => Ok(Phase::Waiting),
            Phase::Delete { tier, from } => {
                let next = self.delete(conn, applier, shared, tier, from)?;
                Ok(match (next, tier) {
                    (Some(from), tier) => Phase::Delete { tier, from },
                    (None, Tier::InfoWarning) => Phase::Delete {
                        tier: Tier::ErrorCritical,
                        from: 0,
                    },
                    (None, Tier::ErrorCritical) => Phase::Orphans { table: 0, from: 0 },
                })
            }
            Phase::Orphans { table, from } => {
                let next = self.orphans(conn, applier, table, from)?;
                Ok(match next {
                    Some(from) => Phase::Orphans { table, from },
                    None if table + 1 < ORPHANS.len() => Phase::Orphans {
                        table: table + 1,
                        from: 0,
                    },
                    None => Phase::Vacuum,
                })
            }
            Phase::Vacuum => {
                conn.execute_batch(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
                let free: i64 = conn.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
                if free > VACUUM_PAGES {
                    return Ok(Phase::Vacuum);
                }
                shared
                    .metrics
                    .retention_last_success
                    .set(self.started_at.millis() as f64 / 1000.0);
                Ok(Phase::Waiting)
            }
        }
    }

    /// Deletes what is too old among the next rows of a tier; returns where to go on.
    fn delete(
        &self,
        conn: &mut Connection,
        applier: &mut Applier,
        shared: &Shared,
        tier: Tier,
        from: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let (keep, severities) = match tier {
            Tier::InfoWarning => (self.config.info_warning, "severity < 2"),
            Tier::ErrorCritical => (self.config.error_critical, "severity >= 2"),
        };
        let cutoff = self.started_at.minus(keep);
        let end = EventKey::first_at(cutoff).as_i64();
        // The bound of this step: the key of the last row looked at.
        let upto: Option<i64> = conn
            .prepare_cached(
                "SELECT max(key) FROM (SELECT key FROM event WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3)",
            )?
            .query_row((from, end, self.step_rows), |row| row.get(0))?;
        let Some(upto) = upto else { return Ok(None) };
        let sql = format!(
            "DELETE FROM event WHERE key >= ?1 AND key <= ?2 AND {severities} \
             AND (key >> 24) * 1000 + last_ms < ?3 \
             AND key NOT IN (SELECT gap FROM watch_state WHERE gap IS NOT NULL) \
             AND key NOT IN (SELECT event FROM finding) \
             RETURNING key, type, severity, (SELECT scope FROM object WHERE id = event.object)"
        );
        let mut gone: Vec<(EventKey, i64, i64, i64)> = Vec::new();
        apply_all(conn, applier, self.started_at, |tx, applier| {
            let mut statement = tx.prepare_cached(&sql)?;
            let rows = statement.query_map((from, upto, cutoff.millis()), |row| {
                let scope: Option<i64> = row.get(3)?;
                Ok((
                    EventKey::from_i64(row.get(0)?),
                    row.get(1)?,
                    row.get(2)?,
                    scope.unwrap_or(0),
                ))
            })?;
            for row in rows {
                let (key, event_type, severity, scope) = row?;
                if let (Some(event_type), Some(severity)) = (
                    EventType::from_code(event_type),
                    Severity::from_code(severity),
                ) {
                    applier.rows.count(key, scope, event_type, severity, -1);
                }
                gone.push((key, event_type, severity, scope));
            }
            Ok(())
        })?;
        for (_, _, severity, _) in &gone {
            if let Some(severity) = Severity::from_code(*severity) {
                shared
                    .metrics
                    .retention_deleted
                    .of(severity, Removal::Age)
                    .inc();
            }
        }
        Ok(Some(upto + 1))
    }

    fn orphans(
        &self,
        conn: &mut Connection,
        applier: &mut Applier,
        table: usize,
        from: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let last: Option<i64> =
            conn.query_row("SELECT max(id) FROM object", [], |row| row.get(0))?;
        let Some(last) = last.filter(|last| *last >= from) else {
            return Ok(None);
        };
        let upto = from + self.step_rows;
        let removed = conn.execute(ORPHANS[table], (from, upto))?;
        if removed > 0 {
            applier.rows.clear_interned();
        }
        Ok(Some(upto).filter(|upto| *upto <= last))
    }
}
