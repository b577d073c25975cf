//! The writer: one thread that owns the one writing connection.
//!
//! ```text
//!   take_batch ─▶ one transaction ─▶ committed: count, report, next
//!                    │ failed
//!                    ├─ the file is damaged ──▶ open it again; thrice: move it aside, new file, sources relist; same batch
//!                    ├─ one item is at fault ─▶ what is left one by one; the faulty one is skipped as a stub row
//!                    └─ the disk is at fault ─▶ back off and try the same batch again; after `retries`: degraded,
//!                                               for ever, until the database is back
//! ```
//!
//! Invariant: a batch is given up only when the process must end; then nothing of it was committed and the position
//! still lies before it, so the next start brings its Events back.

mod batch;
mod damage;
mod file_rows;
mod heartbeat;
mod import;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kube9_base::health::{Check, Pulse};
use kube9_base::recall::Recall;
use kube9_model::heard::{Heard, History};
use kube9_model::resume::{Remembered, Start};
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use rusqlite::Connection;
use tracing::{info, warn};

use super::apply::Applier;
use super::findings::FindingTable;
use super::maintenance::{Maintenance, Step};
use super::open::{DataDir, FileIds, OpenError, Opened};
use super::run::Progress;
use super::shared::Shared;
use super::{history, statements};
use crate::config::{RetentionConfig, StorageConfig, WriterConfig};
use damage::{By, DamageMet};

/// The writer counts as stuck after this long without a beat: the longest statement is a clean-up step or a checkpoint,
/// seconds on the slowest disk.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How often the writer looks whether a heartbeat is due, and the shortest time between two.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The database counts as unhealthy after this many missing heartbeats.
const HEARTBEATS_MISSED: u32 = 3;

/// Shortest time between two looks at the files' sizes.
const SIZES_EVERY: Duration = Duration::from_secs(1);

/// How long `/healthz` shows what is over at once (items dropped, a file replaced): long enough for a probe to see it.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// Slices of a waiting time, so that the end of the grace period is noticed.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// Owns the database.
pub struct Writer {
    data: DataDir,
    conn: Connection,
    applier: Applier,
    maintenance: Maintenance,
    config: WriterConfig,
    retention: RetentionConfig,
    shared: Shared,
    files: FileIds,
    check: Check,
    queue_check: Check,
    /// Items dropped as of the last look, and when they last grew.
    drops_seen: (u64, Option<Instant>),
    file_check: Check,
    /// When a damaged file was last quarantined.
    quarantined: Option<Instant>,
    damage: DamageMet,
    pulse: Pulse,
    registered: Vec<(WatchId, String, String, String)>,
    recalls: BTreeMap<WatchId, Arc<Recall>>,
    heard: Arc<Heard>,
    started: Timestamp,
    heartbeat: Option<Instant>,
    /// [`Health::changes`] as of the last heartbeat.
    told_changes: u64,
    sizes: Option<Instant>,
    last_commit: LastCommit,
}

/// The last commit that held a row, for the status row.
#[derive(Debug, Clone, Copy, Default)]
struct LastCommit {
    /// When; milliseconds since 1970.
    at_ms: Option<i64>,
    /// Occurrence to commit, of the newest Event of the last commit that held one.
    lag_ms: Option<i64>,
}

/// The grace period is over: the caller that gets this stops what it does and returns.
#[derive(Debug)]
struct Abandoned;

/// How the writer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything was committed.
    Drained,
    /// The grace period was over with this many items uncommitted.
    Abandoned(usize),
}

impl Writer {
    /// Takes the lock and opens the database in `data`.
    pub fn open(
        data: DataDir,
        config: WriterConfig,
        retention: RetentionConfig,
        storage: &StorageConfig,
        shared: Shared,
    ) -> Result<Self, OpenError> {
        let Opened {
            conn,
            created,
            quarantined,
        } = data.open()?;
        let started = shared.clock.now();
        info!(path = %data.database().display(), created, sqlite = rusqlite::version(), "database open");
        let file_check = shared.health.check("database-file", None);
        file_check.healthy();
        let queue_check = shared.health.check("queue", None);
        queue_check.healthy();
        let mut writer = Self {
            maintenance: Maintenance::new(retention.clone(), storage, data.directory().to_owned())
                .reporting(&shared.health),
            files: data.file_ids().unwrap_or_default(),
            queue_check,
            file_check,
            quarantined: None,
            drops_seen: (shared.queue.dropped_total(), None),
            damage: DamageMet::default(),
            data,
            conn,
            applier: Applier::default(),
            check: shared
                .health
                .check("database", Some(config.heartbeat * HEARTBEATS_MISSED)),
            pulse: shared.health.task("writer", STUCK_AFTER),
            config,
            retention,
            shared,
            registered: Vec::new(),
            recalls: BTreeMap::new(),
            heard: Arc::default(),
            started,
            heartbeat: None,
            told_changes: 0,
            sizes: None,
            last_commit: LastCommit::default(),
        };
        writer.report_opened(quarantined);
        Ok(writer)
    }

    /// Registers a source; says where it begins. Before [`Writer::run`] only.
    pub fn register(
        &mut self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        recall: Arc<Recall>,
    ) -> rusqlite::Result<(WatchId, Start)> {
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
        self.recalls.insert(id, recall);
        Ok((id, self.applier.watches.start(id, resume)))
    }

    /// What is stored of a registered watch's objects. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn remembered(&mut self, watch: WatchId) -> rusqlite::Result<Remembered> {
        self.applier.remembered(&self.conn, watch)
    }

    /// The findings that are open: fingerprint and state. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open_findings(&self) -> rusqlite::Result<Vec<(String, String)>> {
        FindingTable::of(&self.conn).open()
    }

    /// What the committed Events say beside their rows.
    pub fn heard(&self) -> Arc<Heard> {
        self.heard.clone()
    }

    /// How many warnings there were before. Before [`Writer::run`] only.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn history(&self) -> rusqlite::Result<History> {
        history::read(&self.conn, self.shared.clock.now())
    }

    /// Works until the queue is closed and empty, or the grace period is over; then closes the database.
    pub fn run(mut self) -> Ended {
        let ended = self.drain();
        self.close();
        ended
    }

    /// The first part of [`Writer::run`]: after it everything that could be is committed.
    pub fn drain(&mut self) -> Ended {
        let ended = loop {
            self.pulse.beat();
            self.show();
            if self.heartbeat_is_due() {
                self.heartbeat_commit();
            }
            let wait = match self.clean_up() {
                // Abandoned: what is left in the queue decides below how this ends.
                Ok(Progress::More) | Err(Abandoned) => Duration::ZERO,
                Ok(Progress::Done) => self.until_heartbeat(),
            };
            let batch = self.shared.queue.take_batch(
                self.config.batch_rows,
                self.config.batch_bytes.get() as usize,
                wait,
                self.maintenance.linger(self.config.linger),
            );
            if !batch.is_empty() {
                if let Err(Abandoned) = self.write(&batch) {
                    break Ended::Abandoned(batch.items.len() + self.shared.queue.len());
                }
            } else if self.shared.queue.is_finished() {
                break Ended::Drained;
            }
            if self.shared.abandon.load(Ordering::Acquire) && !self.shared.queue.is_finished() {
                break Ended::Abandoned(self.shared.queue.len());
            }
        };
        self.pulse.stop();
        ended
    }

    /// One step of the clean-up; [`Progress::More`]: the next one should follow soon.
    fn clean_up(&mut self) -> Result<Progress, Abandoned> {
        let done = self
            .maintenance
            .step(&mut self.conn, &mut self.applier, &self.shared);
        match done {
            Step::Busy => Ok(Progress::More),
            Step::Idle => Ok(Progress::Done),
            Step::Finished => {
                self.damage.by_clean_up = 0;
                Ok(Progress::Done)
            }
            Step::Damaged(error) => {
                let reopened = self.damaged(By::CleanUp, &error);
                self.maintenance.begin_again();
                reopened.map(|()| Progress::More)
            }
        }
    }

    /// Waits, but not past the end of the grace period.
    fn wait(&mut self, time: Duration) -> Result<(), Abandoned> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.pulse.beat();
            self.show();
            if self.shared.abandon.load(Ordering::Acquire) {
                return Err(Abandoned);
            }
            std::thread::sleep(WAIT_SLICE.min(time));
        }
        Ok(())
    }

    /// Brings `/healthz` and the count of statements up to date, also while a batch waits for the database.
    fn show(&mut self) {
        statements::report(&self.shared.metrics);
        if self
            .quarantined
            .take_if(|at| at.elapsed() > SHOWN_FOR)
            .is_some()
        {
            self.file_check.healthy();
        }
        let total = self.shared.queue.dropped_total();
        let (seen, since) = self.drops_seen;
        if total > seen {
            self.drops_seen = (total, Some(Instant::now()));
            self.queue_check.degraded(format!(
                "it was full: {total} items dropped since the start"
            ));
        } else if since.is_some_and(|since| since.elapsed() > SHOWN_FOR) {
            self.drops_seen.1 = None;
            self.queue_check.healthy();
        }
    }

    /// The second part: notes the stop and copies the write-ahead log, on a slow disk not quickly.
    pub fn close(mut self) {
        let now = self.shared.clock.now();
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
