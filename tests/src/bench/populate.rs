//! Fills a database through the recorder's own path, and times it: normalize, sanitize, the store's transactions.

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use kube9_ingest::filter::SeverityOverrides;
use kube9_ingest::item::Item;
use kube9_ingest::normalize::normalize;
use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, UnstoredReason, WatchId};
use kube9_store::apply::{Applier, apply_all};
use kube9_store::open::DataDir;
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};

use super::data::{Delivery, Feed};

/// The writer's own default.
pub const BATCH: usize = 1000;

/// Wall clock and the thread's CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spending {
    /// Wall clock.
    pub wall: Duration,
    /// CPU time of this thread.
    pub cpu: Duration,
}

impl Spending {
    /// Adds what `work` takes.
    pub fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), thread_cpu());
        let result = work();
        self.wall += wall.elapsed();
        self.cpu += thread_cpu().saturating_sub(cpu);
        result
    }
}

static NO_CPU_CLOCK: AtomicBool = AtomicBool::new(false);

/// Reports CPU time as zero from now on: valgrind has no vDSO for that clock.
pub fn without_cpu_clock() {
    NO_CPU_CLOCK.store(true, Ordering::Relaxed);
}

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    if NO_CPU_CLOCK.load(Ordering::Relaxed) {
        return Duration::ZERO;
    }
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// What filling took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filled {
    /// Events delivered, new or changed; deletions are not counted.
    pub events: u64,
    /// Rows that they made.
    pub rows: u64,
    /// Normalize and sanitize.
    pub prepare: Spending,
    /// Transactions.
    pub store: Spending,
}

impl Filled {
    /// All of it.
    pub fn spent(&self) -> Spending {
        Spending {
            wall: self.prepare.wall + self.store.wall,
            cpu: self.prepare.cpu + self.store.cpu,
        }
    }

    /// Wall clock of all of it.
    pub fn wall(&self) -> Duration {
        self.spent().wall
    }
}

/// A filled and closed database.
#[derive(Debug)]
pub struct SavedDatabase {
    pub directory: PathBuf,
    /// Rows of `event`.
    pub rows: u64,
    _temporary: Option<tempfile::TempDir>,
}

impl SavedDatabase {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.directory.join("kube9.db")
    }
}

/// Path of a saved database with that many Events.
pub fn saved_path(keep: &Path, events: usize) -> PathBuf {
    keep.join(events.to_string())
}

/// A database of `events` Events: the saved one, or a new one, which is saved if `keep` is given.
pub fn filled(seed: u64, events: usize, keep: Option<&Path>) -> anyhow::Result<SavedDatabase> {
    let (directory, temporary) = match keep {
        Some(keep) => (saved_path(keep, events), None),
        None => {
            let temporary = tempfile::tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    let is_there = directory.join("kube9.db").exists();
    std::fs::create_dir_all(&directory)?;
    let mut database = Database::open(&directory)?;
    let rows = if is_there {
        database.rows()?
    } else {
        let filled = database.fill(Feed::new(seed, events))?;
        database.checkpoint()?;
        filled.rows
    };
    Ok(SavedDatabase {
        directory,
        rows,
        _temporary: temporary,
    })
}

/// An open database with the state of its writer.
pub struct Database {
    data: DataDir,
    /// The writing connection.
    pub conn: Connection,
    applier: Applier,
    watch: WatchId,
}

impl Database {
    /// Opens or creates one as the recorder does.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let data = DataDir::lock(directory)?;
        let conn = data.open()?.conn;
        let mut applier = Applier::default();
        let (watch, _) = applier.watches.register(&conn, "bench", "Event", "")?;
        // As after a completed list, so that each item moves the position.
        applier.watches.get(watch).position = Some(ResourceVersion::new("0"));
        Ok(Self {
            data,
            conn,
            applier,
            watch,
        })
    }

    /// Stores everything in the feed.
    pub fn fill(&mut self, feed: Feed) -> anyhow::Result<Filled> {
        let mut filled = Filled::default();
        let mut feed = feed.peekable();
        while let Some((items, now)) = self.next_batch(&mut feed, &mut filled)? {
            filled.store.on(|| self.apply(&items, now))?;
        }
        filled.rows = self.rows()?;
        Ok(filled)
    }

    /// The next [`BATCH`] items, as the source would push them, and the time at which they are written.
    pub fn next_batch(
        &self,
        feed: &mut Peekable<Feed>,
        filled: &mut Filled,
    ) -> anyhow::Result<Option<(Vec<Item>, Timestamp)>> {
        let batch: Vec<(Timestamp, Delivery)> = feed.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(None);
        }
        self.preparer().prepare(batch, filled).map(Some)
    }

    /// The source thread's part for this database.
    pub fn preparer(&self) -> Preparer {
        Preparer {
            watch: self.watch,
            overrides: SeverityOverrides::default(),
        }
    }

    /// One transaction, as in the writer.
    pub fn apply(&mut self, items: &[Item], now: Timestamp) -> anyhow::Result<()> {
        apply_all(&mut self.conn, &mut self.applier, |session, applier| {
            applier.apply(session, items, now)
        })?;
        self.applier.outcomes = Default::default();
        drop(self.applier.rows.take_inserted());
        drop(self.applier.rows.take_commit_delta());
        Ok(())
    }

    /// Rows of `event`.
    pub fn rows(&self) -> anyhow::Result<u64> {
        let rows: i64 = self
            .conn
            .query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
        Ok(rows as u64)
    }

    /// Runs a checkpoint and truncates the WAL.
    pub fn checkpoint(&self) -> anyhow::Result<()> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    /// Bytes of the database file.
    pub fn file_bytes(&self) -> u64 {
        self.data.bytes().database
    }
}

/// The source's part: from decoded Events to queue items.
#[derive(Debug)]
pub struct Preparer {
    watch: WatchId,
    overrides: SeverityOverrides,
}

impl Preparer {
    /// The items of a batch, and the time at which they are written.
    pub fn prepare(
        &self,
        batch: Vec<(Timestamp, Delivery)>,
        filled: &mut Filled,
    ) -> anyhow::Result<(Vec<Item>, Timestamp)> {
        let now = batch.last().context("a batch is not empty")?.0;
        let is_event =
            |(_, delivery): &&(Timestamp, Delivery)| matches!(delivery, Delivery::Event(_));
        filled.events += batch.iter().filter(is_event).count() as u64;
        let items: anyhow::Result<Vec<Item>> = filled.prepare.on(|| {
            batch
                .into_iter()
                .map(|(at, delivery)| item(self.watch, at, delivery, &self.overrides))
                .collect()
        });
        Ok((items?, now))
    }
}

/// What the source would push.
pub fn item(
    watch: WatchId,
    at: Timestamp,
    delivery: Delivery,
    overrides: &SeverityOverrides,
) -> anyhow::Result<Item> {
    Ok(match delivery {
        Delivery::Event(event) => Item::Event {
            watch,
            origin: Origin::Watch,
            received: at,
            row: Box::new(sanitize(
                normalize(*event, at, overrides)
                    .context("the generator's Events have an identity")?
                    .record,
            )),
        },
        Delivery::Deleted { uid, version } => Item::Unstored {
            watch,
            origin: Origin::Watch,
            received: at,
            uid,
            version,
            why: UnstoredReason::Deleted,
        },
    })
}
