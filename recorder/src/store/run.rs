//! One run of the clean-up: what it does, step by step.
//!
//! ```text
//!   expire (by age) ──────────────▶ leftovers ─▶ sweep ─▶ vacuum ─▶ done
//!   shed (by size: info first) ────────────────▶ sweep
//! ```
//!
//! Each step is one transaction that ends when its time is over.
//!
//! Invariant: a run by size has a budget of rows in proportion to what has to go, so that it ends whatever the pages do.

use std::time::{Duration, Instant};

use kube9_shared::id::EventKey;
use kube9_shared::model::Severity;
use kube9_shared::time::Timestamp;
use rusqlite::Connection;

use super::apply::{Applier, apply_all};
use super::cap::{Pages, Pressure};
use super::delete::{Candidate, Deleted, Step, delete_some};
use super::leftovers::Leftovers;
use super::sweep::Sweep;
use crate::config::RetentionConfig;
use crate::metrics::{Metrics, Removal};

/// What a step works before it commits. The commit itself, and once in a thousand pages a checkpoint, come on top; the
/// whole has to stay below 50 ms.
const STEP_TIME: Duration = Duration::from_millis(15);

/// A file with a larger share of free pages gives some back (1 / 8), and keeps this share (1 / 16) for the next rows:
/// giving all of it back would move pages about in every run, only to grow again.
const FREE_SHARE_MAX: u64 = 8;
const FREE_SHARE_KEPT: u64 = 16;

/// Free pages below which giving back is not worth it: half a MiB.
const FREE_PAGES_MIN: u64 = 256;

/// A run, with what it has done so far.
#[derive(Debug)]
pub(super) struct Run {
    /// Why.
    pub(super) cause: Removal,
    /// When it began.
    pub(super) began: Timestamp,
    /// Rows deleted.
    pub(super) deleted: Deleted,
    /// Names removed.
    pub(super) names: u64,
    /// What called for it, of one by size.
    pub(super) pressure: Option<Pressure>,
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    /// Deletes what is too old, from this key on.
    Expire { from: i64 },
    /// Deletes the oldest rows of a severity, from this key on, while `left` is not used up.
    Shed {
        severity: Severity,
        from: i64,
        left: u64,
    },
    /// Deletes what remains of watches that are gone.
    Leftovers(Leftovers),
    /// Removes names that no row uses any more.
    Sweep(Sweep),
    /// Gives free pages back to the file system.
    Vacuum,
}

impl Run {
    /// Deletes what is older than its severity is kept.
    pub(super) fn by_age(began: Timestamp) -> Self {
        Self::new(Removal::Age, began, Phase::Expire { from: i64::MIN }, None)
    }

    /// Deletes so many rows, the oldest of the least severe first.
    pub(super) fn by_size(began: Timestamp, rows: u64, pressure: Pressure) -> Self {
        let phase = Phase::Shed {
            severity: Severity::Info,
            from: i64::MIN,
            left: rows,
        };
        Self::new(Removal::Size, began, phase, Some(pressure))
    }

    fn new(cause: Removal, began: Timestamp, phase: Phase, pressure: Option<Pressure>) -> Self {
        Self {
            cause,
            began,
            deleted: Deleted::default(),
            names: 0,
            pressure,
            phase,
        }
    }

    /// One step. `false`: the run is done. `volume_is_short`: free pages are what new rows live on, none is given back.
    pub(super) fn step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        config: &RetentionConfig,
        volume_is_short: bool,
        metrics: &Metrics,
    ) -> rusqlite::Result<bool> {
        let deadline = Instant::now() + STEP_TIME;
        self.phase = match self.phase.clone() {
            Phase::Expire { from } => {
                self.expire(conn, applier, config, metrics, from, deadline)?
            }
            Phase::Shed {
                severity,
                from,
                left,
            } => self.shed(conn, applier, metrics, (severity, from, left), deadline)?,
            Phase::Leftovers(leftovers) => {
                let forgotten = self.began.minus(config.info_warning);
                let next = within(conn, applier, |tx, applier| {
                    leftovers.step(tx, applier, forgotten, deadline)
                })?;
                next.map_or_else(|| Phase::Sweep(Sweep::begin()), Phase::Leftovers)
            }
            Phase::Sweep(sweep) => {
                let step = within(conn, applier, |tx, applier| {
                    sweep.step(tx, &mut applier.rows, deadline)
                })?;
                self.names += step.names;
                match step.next {
                    Some(sweep) => Phase::Sweep(sweep),
                    None => {
                        Sweep::end(&mut applier.rows);
                        Phase::Vacuum
                    }
                }
            }
            Phase::Vacuum => return Ok(!volume_is_short && vacuum(conn, deadline)?),
        };
        Ok(true)
    }

    /// Deletes what is too old; one pass over both tiers.
    fn expire(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        config: &RetentionConfig,
        metrics: &Metrics,
        from: i64,
        deadline: Instant,
    ) -> rusqlite::Result<Phase> {
        let info_warning = self.began.minus(config.info_warning);
        let error_critical = self.began.minus(config.error_critical);
        let end = EventKey::first_at(info_warning.max(error_critical)).as_i64();
        let goes = |row: Candidate| {
            let before = if row.severity >= Severity::Error {
                error_critical
            } else {
                info_warning
            };
            row.last_ms < before.millis()
        };
        let next = self.delete(conn, applier, metrics, |tx, applier| {
            delete_some(tx, applier, (from, end), u64::MAX, deadline, goes)
        })?;
        Ok(match next {
            Some(from) => Phase::Expire { from },
            None => Phase::Leftovers(Leftovers::default()),
        })
    }

    /// Deletes the oldest rows of one severity, then those of the next, until the budget is used up.
    fn shed(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        metrics: &Metrics,
        (severity, from, left): (Severity, i64, u64),
        deadline: Instant,
    ) -> rusqlite::Result<Phase> {
        let before = self.deleted.total();
        let next = self.delete(conn, applier, metrics, |tx, applier| {
            delete_some(tx, applier, (from, i64::MAX), left, deadline, |row| {
                row.severity == severity
            })
        })?;
        let left = left.saturating_sub(self.deleted.total() - before);
        let next_severity = Severity::ALL.iter().copied().find(|s| *s > severity);
        let (severity, from) = match (next, next_severity) {
            _ if left == 0 => return Ok(Phase::Sweep(Sweep::begin())),
            (Some(from), _) => (severity, from),
            (None, Some(severity)) => (severity, i64::MIN),
            (None, None) => return Ok(Phase::Sweep(Sweep::begin())),
        };
        Ok(Phase::Shed {
            severity,
            from,
            left,
        })
    }

    /// Deletes rows in one transaction, counts them after its commit; returns where to go on.
    fn delete(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        metrics: &Metrics,
        work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<Step>,
    ) -> rusqlite::Result<Option<i64>> {
        let step = within(conn, applier, work)?;
        self.deleted.add(step.deleted);
        for &severity in Severity::ALL {
            metrics
                .retention_deleted
                .of(severity, self.cause)
                .inc_by(step.deleted.of(severity));
        }
        Ok(step.next)
    }
}

/// Does `work` in one transaction and returns what it gave, once that is committed.
fn within<T>(
    conn: &mut Connection,
    applier: &mut Applier,
    work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let mut done = None;
    apply_all(conn, applier, |tx, applier| {
        done = Some(work(tx, applier)?);
        Ok(())
    })?;
    Ok(done.expect("a transaction is committed only after its work"))
}

/// Gives free pages back until `deadline`. `true`: there are more to give.
fn vacuum(conn: &mut Connection, deadline: Instant) -> rusqlite::Result<bool> {
    let pages = Pages::of(conn)?;
    if pages.free < FREE_PAGES_MIN || pages.free < pages.all / FREE_SHARE_MAX {
        return Ok(false);
    }
    let tx = conn.transaction()?;
    {
        let give = pages.free - pages.all / FREE_SHARE_KEPT;
        let mut statement = tx.prepare(&format!("PRAGMA incremental_vacuum({give})"))?;
        let mut rows = statement.query([])?;
        // One page a row.
        while rows.next()?.is_some() && Instant::now() < deadline {}
    }
    tx.commit()?;
    Ok(true)
}
