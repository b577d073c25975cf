//! The writer: one thread that owns the only writing connection.
//!
//! ```text
//!   take_batch ─▶ one transaction ─▶ committed: count, report, next
//!                    │ failed
//!                    ├─ corrupted file ─▶ reopen; after three reports: quarantine, new file, relist; retry the batch
//!                    ├─ rejected item ──▶ commit the rest one by one; the rejected Event becomes a stub row
//!                    └─ disk failure ───▶ back off and retry the batch indefinitely; after `retries`: degraded
//! ```
//!
//! Invariant: a batch is abandoned only when the process must end. Then nothing of it was committed and the position still
//! lies before it, so the next start recovers its Events.

mod batch;
mod corruption;
mod file_events;
mod heartbeat;
mod import;
mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kube9_base::health::{Check, Watchdog};
use kube9_base::relist::RelistSignal;
use kube9_model::commit_stats::{BreakingChange, CommitStats, WarningHistory};
use kube9_model::resume::{ResumePoint, StoredObjects};
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use rusqlite::Connection;
use tracing::{info, warn};

use super::apply::Applier;
use super::context::WriterContext;
use super::findings::FindingTable;
use super::maintenance::{Maintenance, Step};
use super::open::{DataDir, FileIds, OpenError, Opened};
use super::purge::{self, PurgeRequest, Purged};
use super::retention_run::Progress;
use super::{statements, tracked, warning_history};
use crate::config::{RetentionConfig, StorageConfig, WriterConfig};
use corruption::{CorruptionCounter, DetectedBy};

pub use super::tracked::StoredVersions;

/// The writer counts as stuck after this time without a heartbeat: the longest statement is a retention step or a
/// checkpoint, seconds on the slowest disk.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How often the writer checks whether a heartbeat is due, and the shortest time between two.
const HEARTBEAT_CHECK_EVERY: Duration = Duration::from_secs(1);

/// The database counts as unhealthy after this many missed heartbeats.
const HEARTBEATS_MISSED: u32 = 3;

/// Shortest time between two checks of the file sizes.
const SIZES_EVERY: Duration = Duration::from_secs(1);

/// How long `/healthz` shows transient problems (items dropped, a file replaced): long enough for a probe to see them.
const TRANSIENT_HEALTH_WINDOW: Duration = Duration::from_secs(60);

/// How often the writer looks for the request of a purge.
const PURGE_CHECK_EVERY: Duration = Duration::from_secs(1);

/// Longest sleep, so that the end of the grace period is noticed.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// Owns the database.
pub struct Writer {
    data: DataDir,
    conn: Connection,
    applier: Applier,
    maintenance: Maintenance,
    config: WriterConfig,
    retention: RetentionConfig,
    context: WriterContext,
    files: FileIds,
    check: Check,
    queue_check: Check,
    /// Items dropped at the last check, and when they last grew.
    drops_seen: (u64, Option<Instant>),
    file_check: Check,
    /// When a file was last quarantined.
    quarantined: Option<Instant>,
    corruption: CorruptionCounter,
    watchdog: Watchdog,
    registered: Vec<(WatchId, String, String, String)>,
    relist_signals: BTreeMap<WatchId, Arc<RelistSignal>>,
    commit_stats: Arc<CommitStats>,
    started: Timestamp,
    heartbeat: Option<Instant>,
    /// When it last looked for the request of a purge.
    purge_checked: Option<Instant>,
    /// [`Health::changes`] at the last heartbeat.
    reported_health_revision: u64,
    sizes: Option<Instant>,
    last_commit: LastCommit,
}

/// The last commit with a row, for the status row.
#[derive(Debug, Clone, Copy, Default)]
struct LastCommit {
    /// Milliseconds since 1970.
    at_ms: Option<i64>,
    /// Time from occurrence to commit of the newest Event of the last commit with Events.
    lag_ms: Option<i64>,
}

/// The grace period is over: the caller must stop and return.
#[derive(Debug)]
struct Abandoned;

/// How the writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was committed.
    Drained,
    /// The grace period ended with this many items uncommitted.
    Abandoned(usize),
}

impl Writer {
    /// Takes the lock and opens the database in `data`.
    pub fn open(
        data: DataDir,
        config: WriterConfig,
        retention: RetentionConfig,
        storage: &StorageConfig,
        context: WriterContext,
    ) -> Result<Self, OpenError> {
        let Opened {
            conn,
            created,
            quarantined,
        } = data.open()?;
        let started = context.clock.now();
        info!(path = %data.database().display(), created, sqlite = rusqlite::version(), "database open");
        let file_check = context.health.check("database-file", None);
        file_check.healthy();
        let queue_check = context.health.check("queue", None);
        queue_check.healthy();
        let mut writer = Self {
            maintenance: Maintenance::new(retention.clone(), storage, data.directory().to_owned())
                .reporting(&context.health),
            files: data.file_ids().unwrap_or_default(),
            queue_check,
            file_check,
            quarantined: None,
            drops_seen: (context.queue.dropped_total(), None),
            corruption: CorruptionCounter::default(),
            data,
            conn,
            applier: Applier::default(),
            check: context
                .health
                .check("database", Some(config.heartbeat * HEARTBEATS_MISSED)),
            watchdog: context.health.task("writer", STUCK_AFTER),
            config,
            retention,
            context,
            registered: Vec::new(),
            relist_signals: BTreeMap::new(),
            commit_stats: Arc::default(),
            started,
            heartbeat: None,
            purge_checked: None,
            reported_health_revision: 0,
            sizes: None,
            last_commit: LastCommit::default(),
        };
        writer.report_opened(quarantined);
        writer.applier.tracked.restore(&writer.conn);
        Ok(writer)
    }

    /// Registers a source; returns where it resumes. Before [`Writer::run`] only.
    pub fn register(
        &mut self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        relist_signal: Arc<RelistSignal>,
    ) -> rusqlite::Result<(WatchId, ResumePoint)> {
        let (id, resume) = self
            .applier
            .watches
            .register(&self.conn, cluster, kind, namespace)?;
        self.registered.retain(|(known, ..)| *known != id);
        self.registered.push((
            id,
            cluster.to_owned(),
            kind.to_owned(),
            namespace.to_owned(),
        ));
        self.relist_signals.insert(id, relist_signal);
        Ok((id, self.applier.watches.resume_point(id, resume)))
    }

    /// The stored objects of a registered watch. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stored_objects(&mut self, watch: WatchId) -> rusqlite::Result<StoredObjects> {
        self.applier.stored_objects(&self.conn, watch)
    }

    /// Fingerprint and state of the open findings. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_findings(&self) -> rusqlite::Result<Vec<(String, String)>> {
        FindingTable::of(&self.conn).open()
    }

    /// Counts of committed Events, for the rules.
    pub fn commit_stats(&self) -> Arc<CommitStats> {
        self.commit_stats.clone()
    }

    /// Numbers of earlier warnings. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn history(&self) -> rusqlite::Result<WarningHistory> {
        warning_history::read(&self.conn, self.context.clock.now())
    }

    /// The objects of a tracked resource (group and plural) that exist, in a namespace or (empty) in all. Before
    /// [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn tracked_versions(
        &self,
        resource: (&str, &str),
        namespace: &str,
    ) -> rusqlite::Result<StoredVersions> {
        tracked::stored_versions(&self.conn, resource, namespace)
    }

    /// The time of the recorder's clock.
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// Changes of the last hour that can break pods. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recent_changes(&self) -> rusqlite::Result<Vec<BreakingChange>> {
        let since = self.context.clock.now().minus(Duration::from_secs(3_600));
        tracked::recent_changes(&self.conn, since)
    }

    /// Runs until the queue is closed and empty, or the grace period is over; then closes the database.
    pub fn run(mut self) -> Ended {
        let ended = self.drain();
        self.close();
        ended
    }

    /// The first part of [`Writer::run`]: commits everything that it can.
    pub fn drain(&mut self) -> Ended {
        let ended = loop {
            self.watchdog.heartbeat();
            self.refresh_health();
            if self.heartbeat_is_due() {
                self.heartbeat_commit();
            }
            self.purge_if_requested();
            let wait = match self.clean_up() {
                // Abandoned: the items left in the queue decide the result below.
                Ok(Progress::More) | Err(Abandoned) => Duration::ZERO,
                Ok(Progress::Done) => self.until_heartbeat(),
            };
            let batch = self.context.queue.take_batch(
                self.config.batch_rows,
                self.config.batch_bytes.get() as usize,
                wait,
                self.maintenance.linger(self.config.linger),
            );
            if !batch.is_empty() {
                if let Err(Abandoned) = self.write(&batch) {
                    break Ended::Abandoned(batch.items.len() + self.context.queue.len());
                }
            } else if self.context.queue.is_finished() {
                break Ended::Drained;
            }
            if self.context.abandon.load(Ordering::Acquire) && !self.context.queue.is_finished() {
                break Ended::Abandoned(self.context.queue.len());
            }
        };
        self.watchdog.stop();
        ended
    }

    /// Applies the purge that an operator requested, if there is one.
    fn purge_if_requested(&mut self) {
        if self
            .purge_checked
            .is_some_and(|at| at.elapsed() < PURGE_CHECK_EVERY)
        {
            return;
        }
        self.purge_checked = Some(Instant::now());
        let directory = self.data.directory();
        let request = match PurgeRequest::waiting(directory) {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "cannot read the request of a purge");
                return;
            }
        };
        let now = self.context.clock.now();
        let purged = match request {
            Ok(request) => {
                let between = || self.watchdog.heartbeat();
                let (conn, applier) = (&mut self.conn, &mut self.applier);
                match purge::purge(conn, applier, &request, now, between) {
                    Ok(purged) => purged,
                    Err(error) => {
                        // The request stays, and is tried again.
                        self.applier.rolled_back();
                        warn!(%error, "purge failed");
                        return;
                    }
                }
            }
            Err(error) => Err(error),
        };
        if let Ok(Purged {
            rows, revisions, ..
        }) = purged
        {
            info!(rows, revisions, "record purged");
            // Deletes names and texts that only purged rows used. The log must not keep older pages.
            self.maintenance.restart();
            self.maintenance.run_now(&self.conn, &self.context.metrics);
        }
        if let Err(error) = purge::answer(self.data.directory(), &purged) {
            warn!(%error, "cannot answer the request of a purge");
        }
    }

    /// One step of retention; [`Progress::More`]: call again soon.
    fn clean_up(&mut self) -> Result<Progress, Abandoned> {
        let done = self
            .maintenance
            .step(&mut self.conn, &mut self.applier, &self.context);
        match done {
            Step::Busy => Ok(Progress::More),
            Step::Idle => Ok(Progress::Done),
            Step::Finished => {
                self.corruption.by_clean_up = 0;
                Ok(Progress::Done)
            }
            Step::Corrupted(error) => {
                let reopened = self.on_corruption(DetectedBy::CleanUp, &error);
                self.maintenance.restart();
                reopened.map(|()| Progress::More)
            }
        }
    }

    /// Waits, at most until the end of the grace period.
    fn wait(&mut self, time: Duration) -> Result<(), Abandoned> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.watchdog.heartbeat();
            self.refresh_health();
            if self.context.abandon.load(Ordering::Acquire) {
                return Err(Abandoned);
            }
            std::thread::sleep(WAIT_SLICE.min(time));
        }
        Ok(())
    }

    /// Updates `/healthz` and the statement counts, also while a batch is retried.
    fn refresh_health(&mut self) {
        statements::report(&self.context.metrics);
        if self
            .quarantined
            .take_if(|at| at.elapsed() > TRANSIENT_HEALTH_WINDOW)
            .is_some()
        {
            self.file_check.healthy();
        }
        let total = self.context.queue.dropped_total();
        let (seen, since) = self.drops_seen;
        if total > seen {
            self.drops_seen = (total, Some(Instant::now()));
            self.queue_check.degraded(format!(
                "it was full: {total} items dropped since the start"
            ));
        } else if since.is_some_and(|since| since.elapsed() > TRANSIENT_HEALTH_WINDOW) {
            self.drops_seen.1 = None;
            self.queue_check.healthy();
        }
    }

    /// The second part: records the stop and checkpoints the write-ahead log, which may take long on a slow disk.
    pub fn close(mut self) {
        let now = self.context.clock.now();
        if let Err(error) = self.write_status(now, Some(now)) {
            warn!(%error, "cannot record the stop in the database");
        }
        if let Err(error) = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            warn!(%error, "last checkpoint failed; the write-ahead log is kept");
        }
        if let Err((_, error)) = self.conn.close() {
            warn!(%error, "the database did not close cleanly");
        }
    }
}
