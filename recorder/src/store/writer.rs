//! The writer: one thread that owns the one writing connection.
//!
//! ```text
//!   take_batch ─▶ one transaction ─▶ committed: count, report, next
//!                    │ failed
//!                    ├─ the file is damaged ──▶ move it aside, new file, sources relist, same batch again
//!                    ├─ one item is at fault ─▶ what is left one by one; the faulty one is set aside as a stub row
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
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use serde_json::{Map, json};
use tracing::{error, info, warn};

use super::apply::{Applier, Outcomes};
use super::facts::Remembered;
use super::findings;
use super::gap::Healed;
use super::maintenance::Maintenance;
use super::open::{DataDir, FileIds, OpenError, Opened, is_damage};
use super::statements::Session;
use super::watches::Start;
use crate::clock::Clock;
use crate::config::{RetentionConfig, StorageConfig, WriterConfig};
use crate::health::{Check, Health, Pulse};
use crate::metrics::{self, Metrics, Stage};
use crate::pipeline::item::{Item, Passed, RelistCause, WatchId};
use crate::pipeline::queue::{Batch, Drops, Queue};
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

/// How long after the last drop the queue counts as unhealthy: long enough for a probe to see it.
const DROPS_SHOWN: Duration = Duration::from_secs(60);

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
    files: FileIds,
    check: Check,
    queue_check: Check,
    /// Items dropped as of the last look, and when they last grew.
    drops_seen: (u64, Option<Instant>),
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
        let queue_check = shared.health.check("queue", None);
        queue_check.healthy();
        Ok(Self {
            maintenance: Maintenance::new(retention, storage, data.directory().to_owned()),
            files: data.file_ids().unwrap_or_default(),
            queue_check,
            drops_seen: (shared.queue.dropped_total(), None),
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
        findings::open(&self.conn)
    }

    /// Works until the queue is closed and empty, or the grace period is over.
    pub fn run(mut self) -> Ended {
        let ended = loop {
            self.pulse.beat();
            self.look_at_queue();
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
                self.maintenance.linger(self.config.linger),
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
        let begun = Instant::now();
        let mut todo = Todo::of(batch);
        let mut backoff = Backoff::new(self.config.retry_initial, self.config.retry_max);
        let mut failures = 0;
        while !todo.is_done() {
            let Err(error) = self.write_next(&mut todo) else {
                continue;
            };
            failures += 1;
            if is_damage(&error) {
                if !self.replace_damaged(&error) {
                    return false;
                }
                if failures == 1 {
                    continue;
                }
            } else if is_item_fault(&error) && !todo.singly {
                todo.singly = true;
                continue;
            }
            self.failed(&error, failures);
            if !self.wait(backoff.wait()) {
                return false;
            }
        }
        if failures > self.config.retries {
            info!(failures, "database is back");
        }
        let metrics = &self.shared.metrics;
        metrics
            .write_duration
            .observe(begun.elapsed().as_secs_f64());
        metrics.batch_rows.observe(batch.items.len() as f64);
        true
    }

    /// One transaction of what is left: all of it, or after an item's fault the drops first and then item by item.
    fn write_next(&mut self, todo: &mut Todo<'_>) -> rusqlite::Result<()> {
        let items = match (todo.singly, todo.drops.is_empty()) {
            (false, _) => todo.items,
            (true, false) => &[],
            (true, true) => &todo.items[..1],
        };
        match self.commit(items, todo.drops) {
            Err(error) if todo.singly && !items.is_empty() && is_item_fault(&error) => {
                self.set_aside(&items[0], &error)?;
            }
            result => result?,
        }
        todo.items = &todo.items[items.len()..];
        todo.drops = &[];
        Ok(())
    }

    /// One transaction over `items`; drops that happened before or between them belong to it.
    fn commit(&mut self, items: &[Item], drops: &[Drops]) -> rusqlite::Result<()> {
        let now = self.shared.clock.now();
        let applied = apply_all(&mut self.conn, &mut self.applier, now, |tx, applier| {
            applier.open_holes(tx, drops, now)?;
            for item in items {
                applier.apply(tx, item, now)?;
            }
            Ok(())
        });
        self.committed(applied)
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
        self.commit(std::slice::from_ref(&stub), &[])
    }

    fn committed(&mut self, applied: rusqlite::Result<()>) -> rusqlite::Result<()> {
        count_statements(&self.shared.metrics, &mut self.applier);
        if let Err(error) = applied {
            self.applier.rolled_back(&self.conn)?;
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
        if !outcomes.holed.is_empty() || !outcomes.gaps_closed.is_empty() {
            self.count_open();
        }
        for watch in &outcomes.holed {
            if let Some(recall) = self.recalls.get(watch) {
                recall.relist(RelistCause::Hole);
            }
        }
        self.check.healthy();
        if self.sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.sizes = Some(Instant::now());
            let size = self.data.bytes();
            self.shared.metrics.storage_bytes.set(size.total() as i64);
            self.shared.metrics.wal_bytes.set(size.wal as i64);
        }
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
    fn wait(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.pulse.beat();
            self.look_at_queue();
            if self.shared.abandon.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(WAIT_SLICE.min(time));
        }
        true
    }

    /// Shows drops on `/healthz`, also while a batch waits for the database.
    fn look_at_queue(&mut self) {
        let total = self.shared.queue.dropped_total();
        let (seen, since) = self.drops_seen;
        if total > seen {
            self.drops_seen = (total, Some(Instant::now()));
            self.queue_check.degraded(format!(
                "it was full: {total} items dropped since the start"
            ));
        } else if since.is_some_and(|since| since.elapsed() > DROPS_SHOWN) {
            self.drops_seen.1 = None;
            self.queue_check.healthy();
        }
    }

    /// Commits a heartbeat and reads it back: what `/healthz` knows of the database.
    fn heartbeat_commit(&mut self) {
        self.heartbeat = Some(Instant::now());
        let now = self.shared.clock.now();
        match self.data.file_ids() {
            Err(error) => warn!(%error, "the state of the database's files is unknown"),
            Ok(files) if files.database != self.files.database => {
                self.replace_damaged(&rusqlite::Error::InvalidPath(self.data.database()));
            }
            Ok(files) if files != self.files => {
                // Readers would see another log than the one that is written. Closing copies ours into the database.
                warn!("the write-ahead log was removed or replaced: opening the database again");
                self.reopen(None);
            }
            Ok(_) => {}
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
                self.count_open();
            }
            Ok(_) => self
                .check
                .degraded("a heartbeat was committed but reads back differently"),
            Err(error) if is_damage(&error) => drop(self.replace_damaged(&error)),
            Err(error) => self
                .check
                .degraded(format!("heartbeat commit failed: {error}")),
        }
        let size = self.data.bytes();
        self.shared.metrics.storage_bytes.set(size.total() as i64);
        self.shared.metrics.wal_bytes.set(size.wal as i64);
    }

    /// Gaps and holes that are open, as committed.
    fn count_open(&self) {
        let count = |sql| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        let gaps = count("SELECT count(*) FROM watch_state WHERE gap IS NOT NULL");
        let holes = count("SELECT count(*) FROM hole");
        if let (Ok(gaps), Ok(holes)) = (gaps, holes) {
            self.shared.metrics.gaps_open.set(gaps);
            self.shared.metrics.holes_open.set(holes);
        }
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

    /// The file is damaged or gone: move aside what is there, begin a new one, have every source relist.
    /// `false`: given up because the grace period is over.
    fn replace_damaged(&mut self, error: &rusqlite::Error) -> bool {
        let why = error.to_string();
        self.check
            .degraded(format!("the database is damaged: {why}"));
        self.reopen(Some(why))
    }

    /// Closes the database and opens it again, for as long as it takes; moves it aside between where it is `damaged`.
    /// `false`: given up because the grace period is over.
    fn reopen(&mut self, mut damaged: Option<String>) -> bool {
        // The old connection must be closed before files are moved. Until the new one is there, every commit fails.
        match Connection::open_in_memory() {
            Ok(placeholder) => drop(std::mem::replace(&mut self.conn, placeholder)),
            Err(error) => error!(%error, "no memory for a new connection"),
        }
        loop {
            match self.open_again(&mut damaged) {
                Ok(()) => return true,
                Err(error) => {
                    error!(error, "cannot open the database again");
                    self.check.degraded(error);
                    if !self.wait(self.config.retry_max) {
                        return false;
                    }
                }
            }
        }
    }

    fn open_again(&mut self, damaged: &mut Option<String>) -> Result<(), String> {
        if let Some(why) = damaged {
            let aside = self.data.move_aside().map_err(|error| error.to_string())?;
            report_damage(&self.shared, &aside.display().to_string(), why);
            // Moved once: a second move would replace the copy that matters by an empty file.
            *damaged = None;
        }
        let opened = self.data.open().map_err(|error| error.to_string())?;
        if let Some((aside, why)) = &opened.moved_aside {
            report_damage(&self.shared, &aside.display().to_string(), why);
        }
        // Registered in a database that has them already, this changes nothing.
        let mut applier = Applier::default();
        for (id, cluster, kind, namespace) in &self.registered {
            applier
                .watches
                .register_as(&opened.conn, *id, cluster, kind, namespace)
                .map_err(|error| format!("cannot register a watch: {error}"))?;
        }
        self.applier = applier;
        self.conn = opened.conn;
        self.files = self.data.file_ids().unwrap_or_default();
        if opened.created || opened.moved_aside.is_some() {
            for recall in self.recalls.values() {
                recall.relist(RelistCause::Replaced);
            }
        }
        Ok(())
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

/// What is left of a batch.
struct Todo<'a> {
    items: &'a [Item],
    drops: &'a [Drops],
    /// One item a transaction, since one of them is at fault.
    singly: bool,
}

impl<'a> Todo<'a> {
    fn of(batch: &'a Batch) -> Self {
        Self {
            items: &batch.items,
            drops: &batch.drops,
            singly: false,
        }
    }

    fn is_done(&self) -> bool {
        self.items.is_empty() && self.drops.is_empty()
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
    work: impl FnOnce(&mut Session<'_>, &mut Applier) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    work(&mut Session::new(&tx), applier)?;
    applier.finish(&tx)?;
    tx.commit()?;
    applier.committed();
    Ok(())
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
