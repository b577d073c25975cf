//! The writer: one thread that owns the one writing connection.
//!
//! ```text
//!   take_batch ─▶ one transaction ─▶ committed: count, report, next
//!                    │ failed
//!                    ├─ the file is damaged ──▶ open it again; thrice: move it aside, new file, sources relist; same batch
//!                    ├─ one item is at fault ─▶ what is left one by one; the faulty one is set aside as a stub row
//!                    └─ the disk is at fault ─▶ back off and try the same batch again; after `retries`: degraded,
//!                                               for ever, until the database is back
//! ```
//!
//! Invariant: a batch is given up only when the process must end; then nothing of it was committed and the position
//! still lies before it, so the next start brings its Events back.

mod damage;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tracing::{error, info, warn};

use super::apply::Applier;
use super::checkpoint::reserve;
use super::facts::Remembered;
use super::findings;
use super::history;
use super::maintenance::{Maintenance, Step};
use super::open::{DataDir, FileIds, OpenError, Opened, is_damage};
use super::statements::Session;
use super::watches::Start;
use crate::clock::Clock;
use crate::config::{RetentionConfig, StorageConfig, WriterConfig};
use crate::health::{Check, Health, Pulse};
use crate::metrics::{self, Metrics, Stage};
use crate::pipeline::heard::{Heard, History};
use crate::pipeline::item::{Item, Passed, RelistCause, WatchId};
use crate::pipeline::queue::{Batch, Drops, Queue};
use crate::pipeline::record::Occurred;
use crate::source::backoff::Backoff;
use crate::source::events::Recall;
use damage::{By, DamageMet, Found};
use tell::{account, count_statements, status_detail};

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
    file_check: Check,
    /// When a damaged file was last moved aside.
    moved_aside: Option<Instant>,
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
        let file_check = shared.health.check("database-file", None);
        file_check.healthy();
        let queue_check = shared.health.check("queue", None);
        queue_check.healthy();
        let mut writer = Self {
            maintenance: Maintenance::new(retention, storage, data.directory().to_owned())
                .reporting(&shared.health),
            files: data.file_ids().unwrap_or_default(),
            queue_check,
            file_check,
            moved_aside: None,
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
            shared,
            registered: Vec::new(),
            recalls: BTreeMap::new(),
            heard: Arc::default(),
            started,
            heartbeat: None,
            told_changes: 0,
            sizes: None,
        };
        if let Some((aside, why)) = moved_aside {
            writer.report_damage(&aside.display().to_string(), &why);
        }
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
        findings::open(&self.conn)
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

    /// Works until the queue is closed and empty, or the grace period is over.
    pub fn run(mut self) -> Ended {
        let ended = loop {
            self.pulse.beat();
            self.show();
            if self.heartbeat_is_due() {
                self.heartbeat_commit();
            }
            let wait = if self.clean_up() {
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

    /// At its interval; sooner when the health is another than the status row says, so that readers learn of it.
    fn heartbeat_is_due(&self) -> bool {
        let Some(age) = self.heartbeat.map(|at| at.elapsed()) else {
            return true;
        };
        age >= self.config.heartbeat
            || (age >= LOOK_EVERY && self.shared.health.changes() != self.told_changes)
    }

    /// One step of the clean-up. `true`: more is to be done soon.
    fn clean_up(&mut self) -> bool {
        let done = self
            .maintenance
            .step(&mut self.conn, &mut self.applier, &self.shared);
        match done {
            Step::Busy => true,
            Step::Idle => false,
            Step::Finished => {
                self.damage.by_clean_up = 0;
                false
            }
            Step::Damaged(error) => {
                let reopened = self.damaged(By::CleanUp, &error);
                self.maintenance.begin_again();
                reopened
            }
        }
    }

    fn until_heartbeat(&self) -> Duration {
        // Often enough for /livez, too.
        let left = self.heartbeat.map_or(Duration::ZERO, |at| {
            self.config.heartbeat.saturating_sub(at.elapsed())
        });
        left.min(LOOK_EVERY)
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
                // Opened again, or moved aside: either may be all it takes.
                if !self.damaged(By::Commit, &error) {
                    return false;
                }
            } else if is_item_fault(&error) && !todo.singly {
                todo.singly = true;
                continue;
            }
            self.failed(&error, failures);
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                self.make_room();
            }
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
                    why: Passed::SetAside(Stage::Write, cause),
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
        self.heard.add(self.applier.rows.take_told());
        if !outcomes.holed.is_empty() || !outcomes.gaps_closed.is_empty() {
            self.count_open();
        }
        for watch in &outcomes.holed {
            if let Some(recall) = self.recalls.get(watch) {
                recall.relist(RelistCause::Hole);
            }
        }
        self.check.healthy();
        self.damage.by_commit = 0;
        if self.sizes.is_none_or(|at| at.elapsed() >= SIZES_EVERY) {
            self.sizes = Some(Instant::now());
            let size = self.data.bytes();
            self.shared.metrics.storage_bytes.set(size.total() as i64);
            self.shared.metrics.wal_bytes.set(size.wal as i64);
        }
        Ok(())
    }

    /// The disk is full, perhaps because of us: the clean-up, which runs between batches, must not wait for this one.
    fn make_room(&mut self) {
        self.maintenance.hurry(&self.conn, &self.shared.metrics);
        while !self.shared.abandon.load(Ordering::Acquire) && self.clean_up() {
            self.pulse.beat();
            self.show();
        }
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
            self.show();
            if self.shared.abandon.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(WAIT_SLICE.min(time));
        }
        true
    }

    /// Brings `/healthz` up to date, also while a batch waits for the database.
    fn show(&mut self) {
        if self
            .moved_aside
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

    /// Commits a heartbeat and reads it back: what `/healthz` knows of the database.
    fn heartbeat_commit(&mut self) {
        self.heartbeat = Some(Instant::now());
        self.told_changes = self.shared.health.changes();
        let now = self.shared.clock.now();
        match self.data.file_ids() {
            Err(error) => warn!(%error, "the state of the database's files is unknown"),
            Ok(files) if files.database != self.files.database => {
                self.replace_damaged("the database file was removed or replaced");
            }
            Ok(files) if files != self.files => {
                // Readers would see another log than the one that is written. Closing copies ours into the database.
                warn!("the write-ahead log was removed or replaced: opening the database again");
                self.reopen(Found::Replaced);
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
            Err(error) if is_damage(&error) => drop(self.damaged(By::Commit, &error)),
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

/// Runs `work` and the applier's closing statements in one transaction.
///
/// # Errors
/// What SQLite says; nothing was committed then, and the applier must be told so.
pub fn apply_all(
    conn: &mut Connection,
    applier: &mut Applier,
    _now: Timestamp,
    work: impl FnOnce(&mut Session<'_>, &mut Applier) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    work(&mut Session::new(&tx), applier)?;
    applier.finish(&tx)?;
    reserve(&tx)?;
    tx.commit()?;
    applier.committed();
    Ok(())
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
