//! Fills a database through the recorder's own path, and times it: normalize, sanitize, the store's transactions.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use kube9_recorder::pipeline::filter::SeverityOverrides;
use kube9_recorder::pipeline::item::{Item, Passed, Via, WatchId};
use kube9_recorder::pipeline::normalize::normalize;
use kube9_recorder::pipeline::sanitize::sanitize;
use kube9_recorder::store::apply::Applier;
use kube9_recorder::store::open::DataDir;
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use rustix::time::{ClockId, clock_gettime};

use super::data::{Delivery, Feed};

/// The writer's own default.
pub const BATCH: usize = 1000;

/// Wall clock and the thread's CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Wall clock.
    pub wall: Duration,
    /// CPU time of this thread.
    pub cpu: Duration,
}

impl Spent {
    /// Adds what `work` takes.
    pub fn on<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (wall, cpu) = (Instant::now(), thread_cpu());
        let result = work();
        self.wall += wall.elapsed();
        self.cpu += thread_cpu().saturating_sub(cpu);
        result
    }
}

fn thread_cpu() -> Duration {
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
    pub prepare: Spent,
    /// Transactions.
    pub store: Spent,
}

impl Filled {
    /// All of it.
    pub fn wall(&self) -> Duration {
        self.prepare.wall + self.store.wall
    }
}

/// An open database with the state of its writer.
pub struct Database {
    data: DataDir,
    /// The writing connection.
    pub conn: Connection,
    applier: Applier,
    watch: WatchId,
    overrides: SeverityOverrides,
}

impl Database {
    /// Opens or creates one as the recorder does.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let data = DataDir::lock(directory)?;
        let conn = data.open()?.conn;
        let mut applier = Applier::default();
        let (watch, _) = applier.watches.register(&conn, "bench", "Event", "")?;
        Ok(Self {
            data,
            conn,
            applier,
            watch,
            overrides: SeverityOverrides::default(),
        })
    }

    /// Takes everything that the feed has.
    pub fn fill(&mut self, feed: Feed) -> anyhow::Result<Filled> {
        let mut filled = Filled::default();
        let mut batch: Vec<(Timestamp, Delivery)> = Vec::with_capacity(BATCH);
        let mut feed = feed.peekable();
        while feed.peek().is_some() {
            batch.clear();
            batch.extend(feed.by_ref().take(BATCH));
            self.batch(&mut batch, &mut filled)?;
        }
        filled.rows = self
            .conn
            .query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0))?
            as u64;
        Ok(filled)
    }

    fn batch(
        &mut self,
        batch: &mut Vec<(Timestamp, Delivery)>,
        filled: &mut Filled,
    ) -> anyhow::Result<()> {
        let Some(now) = batch.last().map(|(at, _)| *at) else {
            return Ok(());
        };
        filled.events += batch
            .iter()
            .filter(|(_, d)| matches!(d, Delivery::Event(_)))
            .count() as u64;
        let items: Vec<Item> = filled.prepare.on(|| {
            batch
                .drain(..)
                .map(|(at, delivery)| item(self.watch, at, delivery, &self.overrides))
                .collect::<anyhow::Result<_>>()
        })?;
        filled.store.on(|| {
            let tx = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            for item in &items {
                self.applier.apply(&tx, item, now)?;
            }
            self.applier.finish(&tx)?;
            tx.commit()
        })?;
        self.applier.outcomes = Default::default();
        self.applier.rows.take_inserted();
        Ok(())
    }

    /// Copies the write-ahead log into the file and cuts it.
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

/// What the source would push.
pub fn item(
    watch: WatchId,
    at: Timestamp,
    delivery: Delivery,
    overrides: &SeverityOverrides,
) -> anyhow::Result<Item> {
    Ok(match delivery {
        Delivery::Event(event) => Item::Observed {
            watch,
            via: Via::Watch,
            received: at,
            row: Box::new(sanitize(
                normalize(*event, at, overrides)
                    .context("the generator's Events have an identity")?
                    .record,
            )),
        },
        Delivery::Deleted { uid, version } => Item::Passed {
            watch,
            via: Via::Watch,
            received: at,
            uid,
            version,
            why: Passed::Deleted,
        },
    })
}
