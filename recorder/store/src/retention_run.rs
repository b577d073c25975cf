//! One retention run, step by step.
//!
//! ```text
//!   by age:  delete expired ─▶ revisions ─▶ orphans ─────────────────────────────▶ sweep ─▶ vacuum ─▶ done
//!   by size: trim (snapshots) ─▶ revisions ─▶ weigh (bytes by tenant) ─▶ evict ─▶ sweep
//! ```
//!
//! Each step is one transaction with a time limit.
//!
//! Invariant: a run by size deletes the same share of rows as the share of bytes to free, so that it ends however the
//! pages develop.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{Severity, Tenant};
use rusqlite::Connection;

use super::apply::{Applier, apply_all};
use super::dedup::DedupTable;
use super::delete::{Candidate, Deleted, Step, Why, delete_some};
use super::evictions;
use super::findings::FindingTable;
use super::orphans::Orphans;
use super::share::Quotas;
use super::size_limit::{Pages, Pressure};
use super::sweep::Sweep;
use super::tracked::{TrackingReport, TrimRevisions};
use super::trim::Trim;
use super::weigh::Weigh;
use crate::config::RetentionConfig;
use crate::metrics::{Metrics, Removal};

/// Time of a step before its commit. The commit, and a checkpoint every thousand pages, come on top; the total must stay
/// below 50 ms.
const STEP_TIME: Duration = Duration::from_millis(15);

/// A file with a larger share of free pages (1 / 8) is vacuumed down to this share (1 / 16), which the next rows use:
/// vacuuming all of it would move pages in every run, only to grow again.
const FREE_SHARE_MAX: u64 = 8;
const FREE_SHARE_KEPT: u64 = 16;

/// Free pages below which a vacuum is not worth it: half a MiB.
const FREE_PAGES_MIN: u64 = 256;

/// Open findings keep their rows from a run by size while these take no more than a tenth of the limit, at 1 KiB each.
const FINDING_SHARE: u64 = 10 << 10;

/// Entries in `dedup` outlive their rows while all of them take no more than a fifth of the limit, at 70 bytes each: a
/// cluster of 10,000 pods has 40,000, or 3 MB.
const ENTRY_SHARE: u64 = 5 * 70;

/// Whether a step finished its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Progress {
    /// The time limit ended the step.
    More,
    Done,
}

/// A run in progress.
#[derive(Debug)]
pub(super) struct RetentionRun {
    pub(super) cause: Removal,
    pub(super) began: Timestamp,
    pub(super) deleted: Deleted,
    /// Names deleted.
    pub(super) names: u64,
    /// Only of a run by size.
    pub(super) pressure: Option<Pressure>,
    /// Rows deleted by tenant; only of a run by size.
    pub(super) tenants: HashMap<Tenant, u64>,
    /// Object snapshots cut; only of a run by size.
    pub(super) cut: u64,
    /// Of the tracked objects, once they were counted.
    pub(super) tracking: Option<TrackingReport>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// Cuts object snapshots above their share.
    Trim(Box<Trim>),
    /// Weighs the rows of each tenant.
    Weigh(Box<Weigh>),
    /// Deletes expired rows from this key on.
    DeleteExpired { from: i64 },
    /// Deletes the oldest rows of each tenant, from this key on, while its quotas are not used up.
    EvictBySize {
        from: i64,
        quotas: Box<Quotas>,
        why: Why,
    },
    /// Deletes old revisions of objects, and those of namespaces that have too many.
    Revisions(Box<TrimRevisions>),
    /// Deletes data of watches that no longer run.
    Orphans(Orphans),
    /// Deletes unused names.
    Sweep(Sweep),
    /// Returns free pages to the file system.
    Vacuum,
    /// Also during a step, so that a failed step ends the run.
    Done,
}

impl RetentionRun {
    /// Deletes rows that are older than the retention of their severity.
    pub(super) fn by_age(began: Timestamp) -> Self {
        Self::new(
            Removal::Age,
            began,
            Phase::DeleteExpired { from: i64::MIN },
            None,
        )
    }

    /// Frees space: the largest tenants lose their oldest rows, the least severe first.
    pub(super) fn by_size(began: Timestamp, pressure: Pressure) -> Self {
        let phase = Phase::Trim(Box::new(Trim::begin(pressure.limit)));
        Self::new(Removal::Size, began, phase, Some(pressure))
    }

    fn new(cause: Removal, began: Timestamp, phase: Phase, pressure: Option<Pressure>) -> Self {
        Self {
            cause,
            began,
            deleted: Deleted::default(),
            names: 0,
            pressure,
            tenants: HashMap::new(),
            cut: 0,
            tracking: None,
            phase,
        }
    }

    /// One step. `volume_is_short`: free pages are what new rows live on, none is given back.
    pub(super) fn step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        config: &RetentionConfig,
        volume_is_short: bool,
        metrics: &Metrics,
    ) -> rusqlite::Result<Progress> {
        let deadline = Instant::now() + STEP_TIME;
        self.phase = match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::DeleteExpired { from } => {
                self.delete_expired(conn, applier, config, metrics, from, deadline)?
            }
            Phase::Trim(mut trim) => {
                let progress = in_transaction(conn, applier, |tx, _| trim.step(tx, deadline))?;
                self.cut = trim.cut;
                match progress {
                    Progress::Done => self.trim_revisions(config),
                    Progress::More => Phase::Trim(trim),
                }
            }
            Phase::Revisions(mut trim) => {
                let progress = in_transaction(conn, applier, |tx, applier| {
                    trim.step(tx, &applier.watches.names(), deadline)
                })?;
                match progress {
                    Progress::Done => {
                        trim.report(metrics);
                        self.tracking = Some(trim.tracking());
                        self.after_revisions(conn)?
                    }
                    Progress::More => Phase::Revisions(trim),
                }
            }
            Phase::Weigh(mut weigh) => match weigh.step(conn, deadline)? {
                Progress::Done => self.plan_eviction(conn, &weigh)?,
                Progress::More => Phase::Weigh(weigh),
            },
            Phase::EvictBySize { from, quotas, why } => self.evict_by_size(
                conn,
                applier,
                config,
                metrics,
                (from, quotas, why),
                deadline,
            )?,
            Phase::Orphans(orphans) => {
                let forgotten = self.began.minus(config.info_warning);
                let next = in_transaction(conn, applier, |tx, applier| {
                    orphans.step(tx, applier, (self.began, forgotten), deadline)
                })?;
                next.map_or_else(|| Phase::Sweep(Sweep::begin()), Phase::Orphans)
            }
            Phase::Sweep(sweep) => {
                let step = in_transaction(conn, applier, |tx, applier| {
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
            Phase::Vacuum if !volume_is_short => match vacuum(conn, deadline)? {
                Progress::More => Phase::Vacuum,
                Progress::Done => return Ok(Progress::Done),
            },
            Phase::Vacuum | Phase::Done => return Ok(Progress::Done),
        };
        Ok(Progress::More)
    }

    /// Deletes expired rows; one pass over both retention times.
    fn delete_expired(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        config: &RetentionConfig,
        metrics: &Metrics,
        from: i64,
        deadline: Instant,
    ) -> rusqlite::Result<Phase> {
        let began = self.began;
        let before = |severity| began.minus(config.keep(severity));
        let latest = before(Severity::Info).max(before(Severity::Error));
        let end = EventKey::first_at(latest).as_i64();
        let goes = |row: &Candidate| row.last_ms < before(row.severity).millis();
        let next = self.delete(conn, applier, metrics, |tx, applier| {
            let step = delete_some(tx, applier, (from, end), Why::Age, deadline, goes)?;
            if step.next.is_none() {
                evictions::forget(tx, config, began)?;
            }
            Ok(step)
        })?;
        Ok(match next {
            Some(from) => Phase::DeleteExpired { from },
            None => self.trim_revisions(config),
        })
    }

    fn trim_revisions(&self, config: &RetentionConfig) -> Phase {
        let limit = self.pressure.map(|pressure| pressure.limit);
        let is_pressed = self.cause == Removal::Size;
        let trim = TrimRevisions::begin(self.began, config.revisions, limit, is_pressed);
        Phase::Revisions(Box::new(trim))
    }

    /// After the revisions: rows are only evicted if too much is still used.
    fn after_revisions(&self, conn: &Connection) -> rusqlite::Result<Phase> {
        let Some(pressure) = self.pressure else {
            return Ok(Phase::Orphans(Orphans::default()));
        };
        if Pages::of(conn)?.used_bytes() <= pressure.target {
            return Ok(Phase::Sweep(Sweep::begin()));
        }
        Ok(Phase::Weigh(Box::new(Weigh::begin(conn)?)))
    }

    /// Computes the quotas: the same share of rows as the share of bytes to free; at least one byte.
    fn plan_eviction(&self, conn: &Connection, weigh: &Weigh) -> rusqlite::Result<Phase> {
        let Some(pressure) = self.pressure else {
            return Ok(Phase::Done);
        };
        let used = Pages::of(conn)?.used_bytes();
        let part = used.saturating_sub(pressure.target) as f64 / used.max(1) as f64;
        let need = ((weigh.holdings.bytes() as f64 * part).ceil() as u64).max(1);
        Ok(Phase::EvictBySize {
            from: i64::MIN,
            quotas: Box::new(weigh.holdings.quotas(need)),
            why: Why::Size {
                findings_stay: FindingTable::of(conn).count()? <= pressure.limit / FINDING_SHARE,
                entries_go: DedupTable::of(conn).count()? > pressure.limit / ENTRY_SHARE,
            },
        })
    }

    /// Evicts the oldest rows within the quotas; one pass over all severities.
    fn evict_by_size(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        config: &RetentionConfig,
        metrics: &Metrics,
        (from, mut quotas, why): (i64, Box<Quotas>, Why),
        deadline: Instant,
    ) -> rusqlite::Result<Phase> {
        let began = self.began;
        let next = self.delete(conn, applier, metrics, |tx, applier| {
            let goes = |row: &Candidate| quotas.take(&row.tenant, row.severity);
            let step = delete_some(tx, applier, (from, i64::MAX), why, deadline, goes)?;
            if step.next.is_none() {
                evictions::forget(tx, config, began)?;
            }
            Ok(step)
        })?;
        Ok(match next {
            Some(from) if quotas.total() > 0 => Phase::EvictBySize { from, quotas, why },
            _ => Phase::Sweep(Sweep::begin()),
        })
    }

    /// Deletes rows in one transaction and counts them after its commit; returns where to continue.
    fn delete(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        metrics: &Metrics,
        work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<Step>,
    ) -> rusqlite::Result<Option<i64>> {
        let step = in_transaction(conn, applier, work)?;
        self.deleted.add(step.deleted);
        for (tenant, rows) in step.evictions.by_tenant() {
            *self.tenants.entry(tenant.clone()).or_default() += rows;
        }
        for &severity in Severity::ALL {
            metrics
                .retention_deleted
                .get(severity, self.cause)
                .inc_by(step.deleted.of(severity));
        }
        Ok(step.next)
    }
}

/// Runs `work` in one transaction and returns its result after the commit.
fn in_transaction<T>(
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

/// Returns free pages to the file system until `deadline`.
fn vacuum(conn: &mut Connection, deadline: Instant) -> rusqlite::Result<Progress> {
    let pages = Pages::of(conn)?;
    if pages.free < FREE_PAGES_MIN || pages.free < pages.all / FREE_SHARE_MAX {
        return Ok(Progress::Done);
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
    Ok(Progress::More)
}
