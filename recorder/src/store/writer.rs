//! The writer: one thread that owns the one writing connection.
//!
//! ```text
//!   take_batch ─▶ one transaction ─▶ committed: count, report, next
//!                    │ failed
//!                    ├─ the file is damaged ──▶ move it aside, new file, sources relist, same batch again
//!                    ├─ one item is at fault ─▶ items one by one; the faulty one is set aside as a stub row
//!                    └─ the disk is at fault ─▶ back off and try the same batch again; after `retries`: degraded,
//!                                               for ever, until the database is back
//! ```
//!
//! Invariant: a batch is given up only when the process must end; then nothing of it was committed and the position
//! still lies before it, so the next start brings its Events back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, ErrorCode, FileControl, TransactionBehavior};
use serde_json::{Map, json};
use tracing::{error, info, warn};

use super::apply::{Applier, Outcomes};
use super::gap::Healed;
use super::maintenance::Maintenance;
use super::open::{DataDir, OpenError, Opened, is_damage};
use super::watches::Resume;
use crate::clock::Clock;
use crate::config::{RetentionConfig, StorageConfig, WriterConfig};
use crate::health::{Check, Health, Pulse};
use crate::metrics::{self, Metrics, Stage};
use crate::pipeline::item::{Item, Passed, WatchId};
use crate::pipeline::queue::{Batch, Queue};
use crate::pipeline::record::{Occurred, Record};
use crate::pipeline::sanitize::sanitize;
use crate::source::backoff::Backoff;
use crate::source::events::Recall;

/// The writer counts as stuck after this long without a beat: the longest statement is a clean-up step or a checkpoint,
/// seconds on the slowest disk.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The database counts as unhealthy after this many missing heartbeats.
const HEARTBEATS_MISSED: u32 = 3;

/// Shortest time between two looks at the files' sizes.
const SIZES_EVERY: Duration = Duration::from_secs(1);

/// Slices of a waiting time, so that the end of the grace period is noticed.
const WAIT_SLICE: Duration = Duration::from_millis(20);

/// What the writer shares with the rest.
#[derive(Clone)]
pub struct Shared {
    /// Where items come from.
    pub queue: Arc<Queue>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// What it reports.
    pub health: Health,
    /// Time.
    pub clock: Clock,
    /// Set when the grace period is over: give up, whatever is left.
    pub abandon: Arc<AtomicBool>,
}

/// Owns the database.
pub struct Writer {
    data: DataDir,
    conn: Connection,
    applier: Applier,
    maintenance: Maintenance,
    config: WriterConfig,
    shared: Shared,
    check: Check,
    pulse: Pulse,
    registered: Vec<(WatchId, String, String, String)>,
    recalls: BTreeMap<WatchId, Arc<Recall>>,
    started: Timestamp,
    heartbeat: Option<Instant>,
    sizes: Option<Instant>,
}

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
            moved_aside,
        } = data.open()?;
        let started = shared.clock.now();
        info!(path = %data.database().display(), created, sqlite = rusqlite::version(), "database open");
        if let Some((aside, why)) = moved_aside {
            report_damage(&shared, &aside.display().to_string(), &why);
        }
        Ok(Self {
            maintenance: Maintenance::new(retention, storage, data.directory().to_owned()),
            data,
            conn,
            applier: Applier::default(),
            check: shared
                .health
                .check("database", Some(config.heartbeat * HEARTBEATS_MISSED)),
            pulse: shared.health.task("writer", STUCK_AFTER),
            config,
            shared,
            registered: Vec::new(),
            recalls: BTreeMap::new(),
            started,
            heartbeat: None,
            sizes: None,
        })
    }

    /// Registers a source; says where it begins. Before [`Writer::run`] only.
    pub fn register(
        &mut self,
        cluster: &str,
        kind: &str,
        namespace: &str,
        recall: Arc<Recall>,
    ) -> rusqlite::Result<(WatchId, Resume)> {
        let (id, resume) = self
            .applier
            .watches
            .register(&self.conn, cluster, kind, namespace)?;
        self.registered.push((
            id,
            cluster.to_owned(),
            kind.to_owned(),
            namespace.to_owned(),
        ));
        self.recalls.insert(id, recall);
        Ok((id, resume))
    }

    /// Works until the queue is closed and empty, or the grace period is over.
    pub fn run(mut self) -> Ended {
        let ended = loop {
            self.pulse.beat();
            if self
                .heartbeat
                .is_none_or(|at| at.elapsed() >= self.config.heartbeat)
            {
                self.heartbeat_commit();
            }
            let busy = self
                .maintenance
                .step(&mut self.conn, &mut self.applier, &self.shared);
            let wait = if busy {
                Duration::ZERO
            } else {
                self.until_heartbeat()
            };
            let batch = self.shared.queue.take_batch(
                self.config.batch_rows,
                self.config.batch_bytes.get() as usize,
                wait,
                self.config.linger,
            );
            if !batch.is_empty() {
                if !self.write(&batch) {
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
        self.close();
        ended
    }

    fn until_heartbeat(&self) -> Duration {
        // At most a second, so that the thread beats often enough for /livez.
        let left = self.heartbeat.map_or(Duration::ZERO, |at| {
            self.config.heartbeat.saturating_sub(at.elapsed())
        });
        left.min(Duration::from_secs(1))
    }

    /// Writes a batch, for as long as it takes. `false`: given up because the grace period is over.
    fn write(&mut self, batch: &Batch) -> bool {
        let mut backoff = Backoff::new(self.config.retry_initial, self.config.retry_max);
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            match self.commit(&batch.items, batch) {
                Ok(()) => {
                    self.shared
                        .metrics
                        .write_duration
                        .observe(begun.elapsed().as_secs_f64());
                    self.shared
                        .metrics
                        .batch_rows
                        .observe(batch.items.len() as f64);
                    if failures > self.config.retries {
                        info!(failures, "database is back");
                    }
                    return true;
                }
                Err(error) if is_damage(&error) => self.replace_damaged(&error),
                Err(error) if is_item_fault(&error) && self.write_one_by_one(batch).is_ok() => {
                    return true;
                }
                Err(error) => {
                    failures += 1;
                    self.failed(&error, failures);
                    if !self.wait(backoff.wait()) {
                        return false;
                    }
                }
            }
        }
    }

    /// One transaction over `items`; the drops of the whole batch belong to it.
    fn commit(&mut self, items: &[Item], batch: &Batch) -> rusqlite::Result<()> {
        let now = self.shared.clock.now();
        let applied = apply_all(&mut self.conn, &mut self.applier, now, |tx, applier| {
            applier.open_holes(tx, &batch.drops, now)?;
            for item in items {
                applier.apply(tx, item, now)?;
            }
            Ok(())
        });
        self.committed(applied, now)
    }

    /// After a batch failed by the fault of one of its items: each on its own, so that the rest goes on.
    fn write_one_by_one(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        self.commit(&[], batch)?;
        let no_drops = Batch::default();
        for item in &batch.items {
            match self.commit(std::slice::from_ref(item), &no_drops) {
                Ok(()) => {}
                Err(error) if is_item_fault(&error) => self.set_aside(item, &error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_aside(&mut self, item: &Item, error: &rusqlite::Error) -> rusqlite::Result<()> {
        let cause = format!("the database refused it: {error}");
        error!(cause, "item set aside");
        self.shared.metrics.event_errors.of(Stage::Write).inc();
        let stub = match item {
            Item::Observed {
                watch,
                via,
                received,
                row,
            } => {
                let Occurred::Observed(seen) = &row.record().occurred else {
                    return Ok(());
                };
                Item::Passed {
                    watch: *watch,
                    via: *via,
                    received: *received,
                    uid: seen.uid.clone(),
                    version: seen.version.clone(),
                    why: Passed::Undecodable(cause),
                }
            }
            // A row of kube9's own, or a mark: nothing of it can be kept but the log line above.
            _ => return Ok(()),
        };
        self.commit(std::slice::from_ref(&stub), &Batch::default())
    }

    fn committed(&mut self, applied: rusqlite::Result<()>, now: Timestamp) -> rusqlite::Result<()> {
        count_statements(&self.shared.metrics, &mut self.applier);
        if let Err(error) = applied {
            if let Err(reload) = self.applier.rolled_back(&self.conn) {
                // Positions of a transaction that never was must not be written by the next one.
                warn!(error = %reload, "positions could not be read again");
            }
            return Err(error);
        }
        let outcomes = std::mem::take(&mut self.applier.outcomes);
        account(&self.shared.metrics, &outcomes);
        for ((event_type, severity), rows) in self.applier.rows.take_inserted() {
            self.shared
                .metrics
                .rows_inserted
                .of(event_type, severity)
                .inc_by(rows);
        }
        for watch in &outcomes.holed {
            if let Some(recall) = self.recalls.get(watch) {
                recall.relist();
            }
        }
        self.check.healthy();
        if self.sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.sizes = Some(Instant::now());
            let size = self.data.bytes();
            self.shared.metrics.storage_bytes.set(size.total() as i64);
            self.shared.metrics.wal_bytes.set(size.wal as i64);
        }
        let _ = now;
        Ok(())
    }

    fn failed(&mut self, error: &rusqlite::Error, failures: u32) {
        self.shared.metrics.write_retries.inc();
        let message = format!("commits fail ({failures} times so far): {error}");
        if failures > self.config.retries {
            self.check.degraded(message);
        }
        // Every failure while it is news, then one in sixteen: about every 80 s at the capped interval.
        if failures <= self.config.retries + 1 || failures.is_multiple_of(16) {
            error!(%error, failures, queue = self.shared.queue.len(), "commit failed, the batch is kept");
        }
    }

    /// Waits, but not past the end of the grace period. `false`: it is over.
    fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.pulse.beat();
            if self.shared.abandon.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(WAIT_SLICE.min(time));
        }
        true
    }

    /// Commits a heartbeat and reads it back: what `/healthz` knows of the database.
    fn heartbeat_commit(&mut self) {
        self.heartbeat = Some(Instant::now());
        let now = self.shared.clock.now();
        if self.file_is_gone() {
            self.replace_damaged(&rusqlite::Error::InvalidPath(self.data.database()));
        }
        let done = self.write_status(now, None).and_then(|()| {
            self.conn.query_row(
                "SELECT heartbeat_ms FROM recorder_status WHERE id = 1",
                [],
                |row| row.get::<_, i64>(0),
            )
        });
        match done {
            Ok(read) if read == now.millis() => {
                self.check.healthy();
                self.sizes = None;
            }
            Ok(_) => self
                .check
                .degraded("a heartbeat was committed but reads back differently"),
            Err(error) if is_damage(&error) => self.replace_damaged(&error),
            Err(error) => self
                .check
                .degraded(format!("heartbeat commit failed: {error}")),
        }
        let size = self.data.bytes();
        self.shared.metrics.storage_bytes.set(size.total() as i64);
        self.shared.metrics.wal_bytes.set(size.wal as i64);
    }

    fn write_status(&mut self, now: Timestamp, stopped: Option<Timestamp>) -> rusqlite::Result<()> {
        let detail = status_detail(&self.shared.health).to_string();
        self.conn.execute(
            "INSERT INTO recorder_status \
             (id, version, started_ms, heartbeat_ms, stopped_ms, queue_rows, dropped, detail) \
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET version = excluded.version, \
             started_ms = excluded.started_ms, heartbeat_ms = excluded.heartbeat_ms, \
             stopped_ms = excluded.stopped_ms, queue_rows = excluded.queue_rows, dropped = excluded.dropped, \
             detail = excluded.detail",
            (
                env!("CARGO_PKG_VERSION"),
                self.started.millis(),
                now.millis(),
                stopped.map(Timestamp::millis),
                self.shared.queue.len() as i64,
                self.shared.queue.dropped_total() as i64,
                detail,
            ),
        )?;
        self.shared
            .metrics
            .operations
            .of(metrics::Operation::Insert)
            .inc();
        Ok(())
    }

    /// Whether somebody removed or replaced the file under the open connection: commits would go nowhere.
    fn file_is_gone(&self) -> bool {
        let mut moved = 0;
        let asked = self
            .conn
            .file_control(rusqlite::DEFAULT_NAME, FileControl::HasMoved(&mut moved));
        asked.is_ok() && moved != 0
    }

    /// The file is damaged or gone: move aside what is there, begin a new one, have every source relist.
    fn replace_damaged(&mut self, error: &rusqlite::Error) {
        let why = error.to_string();
        self.check
            .degraded(format!("the database is damaged: {why}"));
        match Connection::open_in_memory() {
            // The old connection must be closed before the files are moved.
            Ok(placeholder) => drop(std::mem::replace(&mut self.conn, placeholder)),
            Err(error) => {
                error!(%error, "no memory for a new connection");
                return;
            }
        }
        loop {
            match self.data.start_anew(why.clone()) {
                Ok(opened) => {
                    self.conn = opened.conn;
                    if let Some((aside, why)) = opened.moved_aside {
                        report_damage(&self.shared, &aside.display().to_string(), &why);
                    }
                    break;
                }
                Err(error) => {
                    error!(%error, "cannot begin a new database");
                    self.check.degraded(error.to_string());
                    if !self.wait(self.config.retry_max) {
                        return;
                    }
                }
            }
        }
        self.applier = Applier::default();
        for (id, cluster, kind, namespace) in &self.registered {
            if let Err(error) = self
                .applier
                .watches
                .register_as(&self.conn, *id, cluster, kind, namespace)
            {
                error!(%error, "cannot register a watch in the new database");
            }
        }
        for recall in self.recalls.values() {
            recall.relist();
        }
    }

    fn close(mut self) {
        let now = self.shared.clock.now();
        if let Err(error) = self.write_status(now, Some(now)) {
            warn!(%error, "the stop could not be noted in the database");
        }
        if let Err(error) = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            warn!(%error, "the last checkpoint failed; the write-ahead log stays");
        }
        if let Err((_, error)) = self.conn.close() {
            warn!(%error, "the database did not close cleanly");
        }
    }
}

/// The checks as the query side shows them.
fn status_detail(health: &Health) -> serde_json::Value {
    let checks: Vec<_> = health
        .checks()
        .into_iter()
        .map(|check| json!({ "name": check.name, "healthy": check.healthy, "message": check.message }))
        .collect();
    json!({ "checks": checks })
}

/// Runs `work` and the applier's closing statements in one transaction.
pub(super) fn apply_all(
    conn: &mut Connection,
    applier: &mut Applier,
    _now: Timestamp,
    work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    work(&tx, applier)?;
    applier.finish(&tx)?;
    tx.commit()
}

fn count_statements(metrics: &Metrics, applier: &mut Applier) {
    let run = applier.rows.statements.take();
    for (operation, count) in [
        (metrics::Operation::Insert, run.inserts),
        (metrics::Operation::Update, run.updates),
        (metrics::Operation::Select, run.selects),
        (metrics::Operation::Delete, run.deletes),
    ] {
        metrics.operations.of(operation).inc_by(count);
    }
}

fn account(metrics: &Metrics, outcomes: &Outcomes) {
    let mut settled = metrics::Outcomes {
        stored: outcomes.stored,
        folded: outcomes.folded,
        duplicate: outcomes.duplicate,
        deleted: outcomes.deleted,
        ..metrics::Outcomes::default()
    };
    for rule in &outcomes.filtered {
        settled.add_filtered(*rule);
    }
    for _ in 0..outcomes.set_aside {
        settled.add_set_aside(Stage::Decode);
    }
    metrics.account(&settled);
    for healed in &outcomes.gaps_closed {
        let label = match healed {
            Healed::True => metrics::Healed::Yes,
            Healed::Partial => metrics::Healed::Partial,
            Healed::False => metrics::Healed::No,
        };
        metrics.gaps.of(label).inc();
    }
    for delay in &outcomes.delays_ms {
        metrics.store_delay.observe((*delay).max(0) as f64 / 1000.0);
    }
}

/// Whether the statement's values are at fault, not the disk or the file.
fn is_item_fault(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::Unknown
        ),
        None => true,
    }
}

fn report_damage(shared: &Shared, aside: &str, why: &str) {
    let now = shared.clock.now();
    error!(
        aside,
        why, "the database was damaged: it was moved aside and a new one begun"
    );
    let record = Record {
        event_type: EventType::System,
        severity: Severity::Critical,
        title: "Database was damaged".to_owned(),
        description: format!(
            "The database could not be read ({why}). It was moved to {aside} and a new one was begun; \
             what the API server still holds is recorded again."
        ),
        object: None,
        owner: None,
        reason: "DatabaseDamaged".to_owned(),
        component: "kube9".to_owned(),
        container: String::new(),
        kube_type: String::new(),
        node: None,
        extra: Map::from_iter([
            ("moved_to".to_owned(), json!(aside)),
            ("cause".to_owned(), json!(why)),
        ]),
        occurred: Occurred::At(now),
    };
    shared
        .queue
        .push(Item::Row(Box::new(sanitize(record))), now);
}
