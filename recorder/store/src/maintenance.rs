//! Enforces retention by age and by size, in short steps between the batches.
//!
//! ```text
//!   waiting ─▶ a run by age ──┬─▶ a `system` row, waiting
//!        └───▶ a run by size ─┘
//! ```
//!
//! Each step of a run is one transaction with a time limit, so that the writer never pauses for long: one DELETE of
//! 650,000 rows held the lock for 8 s and grew the WAL by 337 MB (measured).

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube9_base::health::{Check, Health};
use kube9_ingest::item::Item;
use kube9_model::id::EventKey;
use kube9_model::label::Label;
use kube9_model::{Severity, Tenant};
use rusqlite::{Connection, ErrorCode};
use tracing::{info, warn};

use super::apply::{Applier, apply_all};
use super::checkpoint::{Checkpoints, Maintained, truncate};
use super::context::WriterContext;
use super::delete::Deleted;
use super::evictions;
use super::open::is_corruption;
use super::report::{self, Report};
use super::retention_run::{Progress, RetentionRun};
use super::share::TENANTS_MAX;
use super::size_limit::{Pages, SizeLimit};
use super::statements::Counting as _;
use super::sweep::Sweep;
use super::tracked::TrackingReport;
use crate::config::{RetentionConfig, StorageConfig};
use crate::metrics::{Metrics, Removal};
use crate::queue::push;
use crate::volume::{Volume, statvfs};

/// How often the gauges of rows are updated.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// Delay before a failed run is retried.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Consecutive runs by size that may delete rows without freeing a page.
const UNPRODUCTIVE_RUNS_MAX: u32 = 3;

/// Shortest time between two report rows of the same cause.
const REPORT_EVERY: Duration = Duration::from_secs(3600);

/// What the next report row must include.
#[derive(Debug, Default)]
struct PendingReport {
    deleted: Deleted,
    /// Rows by tenant, of runs by size.
    tenants: HashMap<Tenant, u64>,
    /// Object snapshots cut.
    cut: u64,
    reported_at: Option<Duration>,
}

/// Retention and checkpoints; `step` is called between batches.
pub struct Maintenance {
    config: RetentionConfig,
    size_limit: SizeLimit,
    checkpoints: Checkpoints,
    run: Option<RetentionRun>,
    /// When the next run by age is due, on the monotonic clock.
    due: Duration,
    /// No run by size before this, on the monotonic clock.
    next_size_run: Duration,
    /// Consecutive runs by size that freed nothing.
    unproductive_runs: u32,
    gauges: Option<Instant>,
    /// By cause; each is reported once an hour at most.
    pending_reports: [PendingReport; Removal::ALL.len()],
    failure_reported_at: Option<Duration>,
    check: Option<Check>,
    /// What failed last and has not succeeded since.
    failing: Option<Work>,
    /// Of the tracked objects at the last run.
    tracking: TrackingReport,
}

/// Result of one call.
#[derive(Debug)]
pub enum Step {
    /// A run is in progress: call again soon.
    Busy,
    /// Nothing was due, or the attempt failed and is retried later.
    Idle,
    /// A run finished.
    Finished,
    /// The file is corrupted; the caller reopens it and calls [`Maintenance::restart`].
    Corrupted(rusqlite::Error),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Checkpoint,
    Count,
    CleanUp,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "copying the write-ahead log into the database",
            Self::Count => "counting the rows",
            Self::CleanUp => "deleting old rows",
        }
    }
}

impl Maintenance {
    /// The first run is due immediately, then at every interval. `directory` lies on the database's volume.
    pub fn new(retention: RetentionConfig, storage: &StorageConfig, directory: PathBuf) -> Self {
        Self::with_volume(retention, storage, directory, statvfs)
    }

    /// As [`Self::new`], with a way to measure the volume.
    pub fn with_volume(
        retention: RetentionConfig,
        storage: &StorageConfig,
        directory: PathBuf,
        measure: fn(&std::path::Path) -> Option<Volume>,
    ) -> Self {
        Self {
            config: retention,
            size_limit: SizeLimit::new(storage.max_bytes.map(|max| max.get()), directory, measure),
            checkpoints: Checkpoints::default(),
            run: None,
            due: Duration::ZERO,
            next_size_run: Duration::ZERO,
            unproductive_runs: 0,
            gauges: None,
            pending_reports: Default::default(),
            failure_reported_at: None,
            check: None,
            failing: None,
            tracking: TrackingReport::default(),
        }
    }

    /// What the last run found of the tracked objects.
    pub(super) const fn tracking(&self) -> &TrackingReport {
        &self.tracking
    }

    /// Also reports failures on `/healthz`.
    #[must_use]
    pub fn reporting(mut self, health: &Health) -> Self {
        let check = health.check("clean-up", None);
        check.healthy();
        self.check = Some(check);
        self
    }

    /// How long the writer should wait for more items: `usual`, or longer while a reader pins the write-ahead log.
    pub fn linger(&self, usual: Duration) -> Duration {
        self.checkpoints.linger(usual)
    }

    /// Runs one step if a run is due or in progress.
    pub fn step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        context: &WriterContext,
    ) -> Step {
        if let Err(error) = self.checkpoint(conn, context) {
            return self.failed(Work::Checkpoint, error, context);
        }
        if let Err(error) = self.count(conn, context) {
            return self.failed(Work::Count, error, context);
        }
        match self.try_step(conn, applier, context) {
            Ok(step) => {
                if matches!(step, Step::Finished) {
                    self.succeeded(Work::CleanUp);
                }
                step
            }
            Err(error) => {
                Sweep::end(&mut applier.rows);
                applier.rolled_back();
                self.failed(Work::CleanUp, error, context)
            }
        }
    }

    /// A batch failed on a full disk: truncates the log, which may be what fills it, and makes the next size check due
    /// immediately. A failure here has the same cause and is retried with the batch.
    pub(super) fn run_now(&mut self, conn: &Connection, metrics: &Metrics) {
        match truncate(conn, metrics) {
            Ok(()) => self.next_size_run = Duration::ZERO,
            Err(error) => warn!(%error, "the write-ahead log could not be emptied"),
        }
        self.size_limit.force_check();
    }

    /// The database was reopened: everything is due immediately.
    pub(super) fn restart(&mut self) {
        self.run = None;
        self.due = Duration::ZERO;
        self.next_size_run = Duration::ZERO;
        self.gauges = None;
        self.size_limit.force_check();
    }

    fn checkpoint(&mut self, conn: &Connection, context: &WriterContext) -> rusqlite::Result<()> {
        match self.checkpoints.maintain(conn, &context.metrics)? {
            Maintained::Done => self.succeeded(Work::Checkpoint),
            Maintained::NotDue => {}
        }
        Ok(())
    }

    fn count(&mut self, conn: &Connection, context: &WriterContext) -> rusqlite::Result<()> {
        if self.gauges.is_none_or(|at| at.elapsed() >= GAUGES_EVERY) {
            self.gauges = Some(Instant::now());
            set_gauges(conn, &context.metrics)?;
            let now = context.clock.now();
            evictions::set_gauges(conn, &self.config, now, &context.metrics)?;
            self.succeeded(Work::Count);
        }
        Ok(())
    }

    fn try_step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        context: &WriterContext,
    ) -> rusqlite::Result<Step> {
        let now = context.clock.monotonic();
        if self.checkpoints.is_pinned() {
            return Ok(Step::Idle);
        }
        if self.run.is_none() {
            self.run = self.next_run(conn, context, now)?;
        }
        let Some(mut run) = self.run.take() else {
            return Ok(Step::Idle);
        };
        // An error discards the run: its commits stay, and the next run begins from the start.
        let volume_is_short = self.size_limit.volume_is_short();
        let progress = run.step(
            conn,
            applier,
            &self.config,
            volume_is_short,
            &context.metrics,
        )?;
        if progress == Progress::More {
            self.run = Some(run);
            return Ok(Step::Busy);
        }
        self.report(conn, applier, context, &run)?;
        self.finished(conn, context, &mut run)?;
        Ok(Step::Finished)
    }

    fn next_run(
        &mut self,
        conn: &Connection,
        context: &WriterContext,
        now: Duration,
    ) -> rusqlite::Result<Option<RetentionRun>> {
        let began = context.clock.now();
        // Size comes first: a full disk stops recording.
        if now >= self.next_size_run
            && let Some(pressure) = self
                .size_limit
                .check(conn, self.checkpoints.fills_the_volume())?
        {
            return Ok(Some(RetentionRun::by_size(began, pressure)));
        }
        if now < self.due {
            return Ok(None);
        }
        self.due = now + self.config.interval;
        Ok(Some(RetentionRun::by_age(began)))
    }

    /// Inserts a row about what was deleted, at most one an hour and cause; the next one includes the rest.
    fn report(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        context: &WriterContext,
        run: &RetentionRun,
    ) -> rusqlite::Result<()> {
        let pending_reports = &mut self.pending_reports[run.cause.index()];
        let now = context.clock.monotonic();
        let mut deleted = pending_reports.deleted;
        deleted.add(run.deleted);
        pending_reports.cut += run.cut;
        for (tenant, rows) in &run.tenants {
            if pending_reports.tenants.len() < TENANTS_MAX
                || pending_reports.tenants.contains_key(tenant)
            {
                *pending_reports.tenants.entry(tenant.clone()).or_default() += rows;
            }
        }
        if (deleted.total() == 0 && pending_reports.cut == 0)
            || pending_reports
                .reported_at
                .is_some_and(|at| now < at + REPORT_EVERY)
        {
            pending_reports.deleted = deleted;
            return Ok(());
        }
        let row = report::deleted(&Report {
            cause: run.cause,
            deleted,
            tenants: &pending_reports.tenants,
            cut: pending_reports.cut,
            names: run.names,
            limit: run.pressure.map(|pressure| pressure.limit),
            volume_is_short: run.pressure.is_some_and(|p| p.volume_is_short),
            keep: (self.config.info_warning, self.config.error_critical),
            at: context.clock.now(),
        });
        apply_all(conn, applier, |tx, applier| {
            report::insert(tx, applier, &row)
        })?;
        self.pending_reports[run.cause.index()] = PendingReport {
            reported_at: Some(now),
            ..PendingReport::default()
        };
        Ok(())
    }

    fn finished(
        &mut self,
        conn: &Connection,
        context: &WriterContext,
        run: &mut RetentionRun,
    ) -> rusqlite::Result<()> {
        let now = context.clock.monotonic();
        if let Some(tracking) = run.tracking.take() {
            self.tracking = tracking;
        }
        if run.cause == Removal::Age {
            context
                .metrics
                .retention_last_success
                .set(run.began.millis() as f64 / 1000.0);
        }
        if let Some(pressure) = run.pressure {
            let gained = Pages::of(conn)?.used_bytes() < pressure.used;
            self.unproductive_runs = if gained {
                0
            } else {
                self.unproductive_runs + 1
            };
            // Rows deleted between others leave free space in their pages but no free page; the next run empties those. If
            // nothing can be deleted, or something other than rows takes the space, more runs would only delete more.
            if !gained
                && ((run.deleted.total() == 0 && run.cut == 0)
                    || self.unproductive_runs >= UNPRODUCTIVE_RUNS_MAX)
            {
                self.next_size_run = now + RETRY_AFTER;
                self.unproductive_runs = 0;
            }
        }
        if run.deleted.total() > 0 || run.names > 0 || run.cut > 0 {
            truncate(conn, &context.metrics)?;
        }
        set_gauges(conn, &context.metrics)?;
        evictions::set_gauges(conn, &self.config, context.clock.now(), &context.metrics)?;
        info!(
            cause = run.cause.name(),
            deleted = run.deleted.total(),
            info = run.deleted.of(Severity::Info),
            warning = run.deleted.of(Severity::Warning),
            error = run.deleted.of(Severity::Error),
            critical = run.deleted.of(Severity::Critical),
            names = run.names,
            snapshots_cut = run.cut,
            "clean-up done"
        );
        Ok(())
    }

    fn failed(&mut self, work: Work, error: rusqlite::Error, context: &WriterContext) -> Step {
        // The log is checked every second: a repeated failure is logged once.
        if work == Work::CleanUp || self.failing != Some(work) {
            warn!(%error, "{} failed", work.name());
        }
        // Another process holds a lock; commits report that.
        if !is_lock(&error) {
            self.failing = Some(work);
            if let Some(check) = &self.check {
                check.degraded(format!("{} failed: {error}", work.name()));
            }
        }
        if work == Work::CleanUp {
            self.postpone(&error, context);
        }
        if is_corruption(&error) {
            Step::Corrupted(error)
        } else {
            Step::Idle
        }
    }

    /// Discards the run; the next one begins from the start.
    fn postpone(&mut self, error: &rusqlite::Error, context: &WriterContext) {
        let now = context.clock.monotonic();
        self.run = None;
        self.due = self.due.min(now + RETRY_AFTER);
        self.next_size_run = now + RETRY_AFTER;
        if self
            .failure_reported_at
            .is_none_or(|at| now >= at + REPORT_EVERY)
        {
            self.failure_reported_at = Some(now);
            // Through the queue: the database itself may be what fails.
            let at = context.clock.now();
            let row = report::failed(&error.to_string(), at);
            let row = Item::Row(Box::new(row));
            push(&context.queue, &context.metrics, row, at);
        }
    }

    fn succeeded(&mut self, work: Work) {
        if self.failing.take_if(|failed| *failed == work).is_some()
            && let Some(check) = &self.check
        {
            check.healthy();
        }
    }
}

/// Another process holds a lock on the database.
fn is_lock(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Sets the gauges of rows by severity and of the oldest row.
fn set_gauges(conn: &Connection, metrics: &Metrics) -> rusqlite::Result<()> {
    let mut rows = [0; Severity::ALL.len()];
    let mut statement = conn.counted(
        "SELECT severity, sum(rows) FROM row_counts WHERE bucket_seconds = 0 GROUP BY severity",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        if let Some(severity) = Severity::from_code(row.get(0)?) {
            rows[severity as usize] = row.get(1)?;
        }
    }
    for &severity in Severity::ALL {
        metrics.rows.get(severity).set(rows[severity as usize]);
    }
    let oldest: Option<i64> = conn
        .counted("SELECT min(key) FROM event")?
        .query_row([], |row| row.get(0))?;
    let oldest = oldest.map_or(0, |key| EventKey::from_i64(key).second());
    metrics.oldest_event.set(oldest as f64);
    Ok(())
}
