//! Keeps the database from growing for ever: by age and by size, in short steps between the batches.
//!
//! ```text
//!   waiting ─▶ a run by age ──┬─▶ a `system` row, waiting
//!        └───▶ a run by size ─┘
//! ```
//!
//! Each step of a run is one transaction that ends when its time is over, so that the writer never pauses for long: one
//! big DELETE of 650,000 rows held the lock for 8 s and grew the WAL by 337 MB (measured).

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
use super::cap::{Cap, Pages};
use super::checkpoint::{Checkpoints, Look, truncate};
use super::delete::Deleted;
use super::evicted;
use super::open::is_damage;
use super::report::{self, Report};
use super::run::{Progress, Run};
use super::share::TENANTS_MAX;
use super::shared::Shared;
use super::statements::Counting as _;
use super::sweep::Sweep;
use crate::config::{RetentionConfig, StorageConfig};
use crate::metrics::{Metrics, Removal};
use crate::push::push;
use crate::volume::{Volume, statvfs};

/// Gauges of rows are read again after this long.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// A failed run is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Runs for the size in a row that deleted rows and freed no page.
const FRUITLESS_RUNS_MAX: u32 = 3;

/// Shortest time between two rows that say the same of the clean-up.
const REPORT_EVERY: Duration = Duration::from_secs(3600);

/// What an unfinished or failed telling waits for.
#[derive(Debug, Default)]
struct Untold {
    deleted: Deleted,
    /// Rows by whose they were, of runs by size.
    tenants: HashMap<Tenant, u64>,
    /// Facts cut.
    cut: u64,
    told: Option<Duration>,
}

/// The clean-up; `step` is called between batches.
pub struct Maintenance {
    config: RetentionConfig,
    cap: Cap,
    checkpoints: Checkpoints,
    run: Option<Run>,
    /// When the next run by age is due, on the steady clock.
    due: Duration,
    /// No run by size before this, on the steady clock.
    patience: Duration,
    /// Runs for the size that freed nothing since one did.
    fruitless: u32,
    gauges: Option<Instant>,
    /// Runs by age and by size, each of which is told of once an hour at most.
    untold: [Untold; Removal::ALL.len()],
    failure_told: Option<Duration>,
    check: Option<Check>,
    /// What failed last and has not gone well since.
    failing: Option<Work>,
}

/// What one call did.
#[derive(Debug)]
pub enum Step {
    /// A part of a run: the next one should follow soon.
    Busy,
    /// Nothing, or the attempt failed and is made again later.
    Idle,
    /// A run came to its end.
    Finished,
    /// The file is damaged; nothing is done until [`Maintenance::begin_again`].
    Damaged(rusqlite::Error),
}

/// What is done here.
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
    /// First run at once, then at every interval. `directory` lies on the database's volume.
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
            cap: Cap::new(storage.max_bytes.map(|max| max.get()), directory, measure),
            checkpoints: Checkpoints::default(),
            run: None,
            due: Duration::ZERO,
            patience: Duration::ZERO,
            fruitless: 0,
            gauges: None,
            untold: Default::default(),
            failure_told: None,
            check: None,
            failing: None,
        }
    }

    /// The same, and `/healthz` says when it fails.
    #[must_use]
    pub fn reporting(mut self, health: &Health) -> Self {
        let check = health.check("clean-up", None);
        check.healthy();
        self.check = Some(check);
        self
    }

    /// How long the writer should wait for company, where it usually waits for `usual`: longer while a reader pins the
    /// write-ahead log.
    pub fn linger(&self, usual: Duration) -> Duration {
        self.checkpoints.linger(usual)
    }

    /// Does one step if a run is due or under way.
    pub fn step(&mut self, conn: &mut Connection, applier: &mut Applier, shared: &Shared) -> Step {
        if let Err(error) = self.checkpoint(conn, shared) {
            return self.failed(Work::Checkpoint, error, shared);
        }
        if let Err(error) = self.count(conn, shared) {
            return self.failed(Work::Count, error, shared);
        }
        match self.try_step(conn, applier, shared) {
            Ok(step) => {
                if matches!(step, Step::Finished) {
                    self.works(Work::CleanUp);
                }
                step
            }
            Err(error) => {
                Sweep::end(&mut applier.rows);
                applier.rolled_back();
                self.failed(Work::CleanUp, error, shared)
            }
        }
    }

    /// A batch waits for a full disk: empties the log, which may be what fills it, and has the next steps look at once.
    /// What fails here fails for want of the same room, and is tried again with the batch.
    pub(super) fn hurry(&mut self, conn: &Connection, metrics: &Metrics) {
        match truncate(conn, metrics) {
            Ok(()) => self.patience = Duration::ZERO,
            Err(error) => warn!(%error, "the write-ahead log could not be emptied"),
        }
        self.cap.look_again();
    }

    /// The database was opened again: whatever is due begins anew, at once.
    pub(super) fn begin_again(&mut self) {
        self.run = None;
        self.due = Duration::ZERO;
        self.patience = Duration::ZERO;
        self.gauges = None;
        self.cap.look_again();
    }

    fn checkpoint(&mut self, conn: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        match self.checkpoints.look(conn, &shared.metrics)? {
            Look::Done => self.works(Work::Checkpoint),
            Look::NotDue => {}
        }
        Ok(())
    }

    fn count(&mut self, conn: &Connection, shared: &Shared) -> rusqlite::Result<()> {
        if self.gauges.is_none_or(|at| at.elapsed() >= GAUGES_EVERY) {
            self.gauges = Some(Instant::now());
            set_gauges(conn, &shared.metrics)?;
            let now = shared.clock.now();
            evicted::set_gauges(conn, &self.config, now, &shared.metrics)?;
            self.works(Work::Count);
        }
        Ok(())
    }

    fn try_step(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        shared: &Shared,
    ) -> rusqlite::Result<Step> {
        let now = shared.clock.elapsed();
        if self.checkpoints.is_pinned() {
            return Ok(Step::Idle);
        }
        if self.run.is_none() {
            self.run = self.next_run(conn, shared, now)?;
        }
        let Some(mut run) = self.run.take() else {
            return Ok(Step::Idle);
        };
        // An error forgets the run: what it has committed stays, and the next one begins from the start.
        let volume_is_short = self.cap.volume_is_short();
        let progress = run.step(
            conn,
            applier,
            &self.config,
            volume_is_short,
            &shared.metrics,
        )?;
        if progress == Progress::More {
            self.run = Some(run);
            return Ok(Step::Busy);
        }
        self.tell(conn, applier, shared, &run)?;
        self.finished(conn, shared, &run)?;
        Ok(Step::Finished)
    }

    fn next_run(
        &mut self,
        conn: &Connection,
        shared: &Shared,
        now: Duration,
    ) -> rusqlite::Result<Option<Run>> {
        let began = shared.clock.now();
        // The size comes first: a full disk stops the recording, an old row stops nothing.
        if now >= self.patience
            && let Some(pressure) = self.cap.look(conn, self.checkpoints.fills_the_volume())?
        {
            return Ok(Some(Run::by_size(began, pressure)));
        }
        if now < self.due {
            return Ok(None);
        }
        self.due = now + self.config.interval;
        Ok(Some(Run::by_age(began)))
    }

    /// A row that tells what was deleted; by size at most one an hour, the next one tells of all since.
    fn tell(
        &mut self,
        conn: &mut Connection,
        applier: &mut Applier,
        shared: &Shared,
        run: &Run,
    ) -> rusqlite::Result<()> {
        let untold = &mut self.untold[run.cause.index()];
        let now = shared.clock.elapsed();
        let mut deleted = untold.deleted;
        deleted.add(run.deleted);
        untold.cut += run.cut;
        for (tenant, rows) in &run.tenants {
            if untold.tenants.len() < TENANTS_MAX || untold.tenants.contains_key(tenant) {
                *untold.tenants.entry(tenant.clone()).or_default() += rows;
            }
        }
        if (deleted.total() == 0 && untold.cut == 0)
            || untold.told.is_some_and(|at| now < at + REPORT_EVERY)
        {
            untold.deleted = deleted;
            return Ok(());
        }
        let row = report::deleted(&Report {
            cause: run.cause,
            deleted,
            tenants: &untold.tenants,
            cut: untold.cut,
            names: run.names,
            limit: run.pressure.map(|pressure| pressure.limit),
            volume_is_short: run.pressure.is_some_and(|p| p.volume_is_short),
            keep: (self.config.info_warning, self.config.error_critical),
            at: shared.clock.now(),
        });
        apply_all(conn, applier, |tx, applier| {
            report::insert(tx, applier, &row)
        })?;
        self.untold[run.cause.index()] = Untold {
            told: Some(now),
            ..Untold::default()
        };
        Ok(())
    }

    fn finished(&mut self, conn: &Connection, shared: &Shared, run: &Run) -> rusqlite::Result<()> {
        let now = shared.clock.elapsed();
        if run.cause == Removal::Age {
            shared
                .metrics
                .retention_last_success
                .set(run.began.millis() as f64 / 1000.0);
        }
        if let Some(pressure) = run.pressure {
            let gained = Pages::of(conn)?.used_bytes() < pressure.used;
            self.fruitless = if gained { 0 } else { self.fruitless + 1 };
            // Rows that lay between others leave room in their pages and no page: the next run empties those. But where
            // nothing can be deleted, or something else than rows takes the room, going on would only take more.
            if !gained
                && ((run.deleted.total() == 0 && run.cut == 0)
                    || self.fruitless >= FRUITLESS_RUNS_MAX)
            {
                self.patience = now + RETRY_AFTER;
                self.fruitless = 0;
            }
        }
        if run.deleted.total() > 0 || run.names > 0 || run.cut > 0 {
            truncate(conn, &shared.metrics)?;
        }
        set_gauges(conn, &shared.metrics)?;
        evicted::set_gauges(conn, &self.config, shared.clock.now(), &shared.metrics)?;
        info!(
            cause = run.cause.name(),
            deleted = run.deleted.total(),
            info = run.deleted.of(Severity::Info),
            warning = run.deleted.of(Severity::Warning),
            error = run.deleted.of(Severity::Error),
            critical = run.deleted.of(Severity::Critical),
            names = run.names,
            facts_cut = run.cut,
            "clean-up done"
        );
        Ok(())
    }

    fn failed(&mut self, work: Work, error: rusqlite::Error, shared: &Shared) -> Step {
        // The log is looked at every second: what goes on failing is logged once.
        if work == Work::CleanUp || self.failing != Some(work) {
            warn!(%error, "{} failed", work.name());
        }
        // A lock is somebody else's work on the database, which commits tell of.
        if !is_lock(&error) {
            self.failing = Some(work);
            if let Some(check) = &self.check {
                check.degraded(format!("{} failed: {error}", work.name()));
            }
        }
        if work == Work::CleanUp {
            self.put_off(&error, shared);
        }
        if is_damage(&error) {
            Step::Damaged(error)
        } else {
            Step::Idle
        }
    }

    /// Gives the run up; the next one begins from the start.
    fn put_off(&mut self, error: &rusqlite::Error, shared: &Shared) {
        let now = shared.clock.elapsed();
        self.run = None;
        self.due = self.due.min(now + RETRY_AFTER);
        self.patience = now + RETRY_AFTER;
        if self.failure_told.is_none_or(|at| now >= at + REPORT_EVERY) {
            self.failure_told = Some(now);
            // Through the queue: this very database may be what fails.
            let at = shared.clock.now();
            let row = report::failed(&error.to_string(), at);
            let row = Item::Row(Box::new(row));
            push(&shared.queue, &shared.metrics, row, at);
        }
    }

    fn works(&mut self, work: Work) {
        if self.failing.take_if(|failed| *failed == work).is_some()
            && let Some(check) = &self.check
        {
            check.healthy();
        }
    }
}

/// Somebody else holds the database.
fn is_lock(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// Rows by severity from the counters, and the oldest row.
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
        metrics.rows.of(severity).set(rows[severity as usize]);
    }
    let oldest: Option<i64> = conn
        .counted("SELECT min(key) FROM event")?
        .query_row([], |row| row.get(0))?;
    let oldest = oldest.map_or(0, |key| EventKey::from_i64(key).second());
    metrics.oldest_event.set(oldest as f64);
    Ok(())
}
