//! The writer thread under a steady stream, as in a running recorder: time until a row is readable.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kube9_base::clock::{Clock, TimeSource};
use kube9_base::health::Health;
use kube9_base::relist::RelistSignal;
use kube9_ingest::filter::SeverityOverrides;
use kube9_ingest::item::Item;
use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use kube9_store::config::{RetentionConfig, StorageConfig, WriterConfig};
use kube9_store::context::WriterContext;
use kube9_store::metrics::Metrics;
use kube9_store::open::DataDir;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::writer::{Ended, Writer};
use rusqlite::{Connection, OpenFlags};

use super::data::{Delivery, END, Feed};
use super::populate::item;
use super::report::{Limit, Report};

/// `watch_state.id` in a database that has one watch.
pub const FIRST_WATCH: WatchId = WatchId(1);

/// Rate of the steady stream.
pub const PER_SECOND: usize = 1000;
const READABLE_MS_MAX: f64 = 100.0;
const PUSH_NANOS_MAX: f64 = 1000.0;

/// A clock that starts at the end of the histories.
struct ClockAfterHistory {
    origin: Instant,
}

impl TimeSource for ClockAfterHistory {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(END.second()).plus(self.origin.elapsed())
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

#[derive(Debug, Default)]
pub struct Pushes {
    /// When.
    pub at: Vec<Instant>,
    /// How long each took.
    pub took: Vec<Duration>,
    /// How long it took to read the clock twice, just before each.
    pub clock: Vec<Duration>,
    /// How long as many bytes took into a locked queue of this thread's own, just after each.
    pub bare: Vec<Duration>,
}

/// An uncontended queue without bounds and metrics: the baseline of a push.
struct BaselineQueue(Mutex<VecDeque<[u8; size_of::<Item>()]>>);

impl BaselineQueue {
    /// Approximate queue length at this rate.
    const KEPT: usize = 16;

    fn push(&self) {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items.push_back([1; size_of::<Item>()]);
    }

    fn drain(&self) {
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if items.len() >= Self::KEPT {
            items.clear();
        }
    }
}

/// A running writer thread.
pub struct Store {
    pub shared: WriterContext,
    /// The database.
    pub path: PathBuf,
    thread: JoinHandle<Ended>,
}

impl Store {
    /// Opens the database and starts the thread.
    pub fn start(
        directory: &Path,
        retention: RetentionConfig,
        storage: &StorageConfig,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new(Arc::new(ClockAfterHistory {
            origin: Instant::now(),
        }));
        let limits = QueueLimits {
            capacity: 1_000_000, // nothing may be dropped here, whatever the machine does meanwhile
            bytes_max: 1 << 32,
            high_water: 800_000,
        };
        let shared = WriterContext {
            queue: Arc::new(Queue::new(limits)),
            metrics: Metrics::detached(),
            health: Health::new(clock.clone()),
            clock,
            abandon: Arc::new(AtomicBool::new(false)),
        };
        let data = DataDir::lock(directory)?;
        let path = data.database();
        let mut writer = Writer::open(
            data,
            WriterConfig::default(),
            retention,
            storage,
            shared.clone(),
        )?;
        let (watch, _) =
            writer.register("bench", "Event", "", Arc::new(RelistSignal::default()))?;
        anyhow::ensure!(watch == FIRST_WATCH, "the items are for another watch");
        Ok(Self {
            shared,
            path,
            thread: std::thread::Builder::new()
                .name("writer".to_owned())
                .spawn(move || writer.run())?,
        })
    }

    /// Pushes items at the steady rate while `go_on`. An item is generated when it is due, so that it is in the cache,
    /// as in a source.
    pub fn push(
        &self,
        mut items: impl Iterator<Item = Item>,
        mut go_on: impl FnMut() -> bool,
    ) -> Pushes {
        let mut pushes = Pushes::default();
        let bare = BaselineQueue(Mutex::default());
        let begun = Instant::now();
        loop {
            let micros = pushes.at.len() * 1_000_000 / PER_SECOND;
            let due = begun + Duration::from_micros(micros as u64);
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(wait);
            }
            let Some(item) = items.next().filter(|_| go_on()) else {
                break;
            };
            let now = self.shared.clock.now();
            // The clock is read as often as around the push, so that its cost can be subtracted.
            let empty = Instant::now();
            pushes.clock.push(empty.elapsed());
            let at = Instant::now();
            push(&self.shared.queue, &self.shared.metrics, item, now);
            pushes.took.push(at.elapsed());
            pushes.at.push(at);
            let at = Instant::now();
            bare.push();
            pushes.bare.push(at.elapsed());
            bare.drain();
        }
        pushes
    }

    /// Drains and closes.
    pub fn stop(self) -> anyhow::Result<()> {
        self.shared.queue.close();
        let ended = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the writer panicked"))?;
        anyhow::ensure!(ended == Ended::Drained, "the writer ended as {ended:?}");
        Ok(())
    }
}

/// New Events, one change each, for the first watch of a database.
///
/// Prepared before the store starts: retention starts with it and must not end before the first Event.
pub fn items(seed: u64, count: usize) -> anyhow::Result<Vec<Item>> {
    let overrides = SeverityOverrides::default();
    Feed::new(seed, count)
        .filter(|(_, delivery)| matches!(delivery, Delivery::Event(_)))
        .map(|(at, delivery)| item(FIRST_WATCH, at, delivery, &overrides))
        .collect()
}

/// Polls the number of readable changes.
pub struct RowPoller {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<PolledRows>>,
}

/// Result of a poller.
#[derive(Debug, Default)]
pub struct PolledRows {
    /// When that number of changes was readable.
    pub changes: Vec<(Instant, i64)>,
    /// The longest time that one read took.
    pub longest_read: Duration,
    /// The largest write-ahead log.
    pub wal_bytes: u64,
}

impl RowPoller {
    /// Starts polling.
    pub fn start(path: &Path) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut wal = path.as_os_str().to_owned();
        wal.push("-wal");
        let thread = std::thread::Builder::new()
            .name("watcher".to_owned())
            .spawn(move || {
                let mut seen = PolledRows::default();
                let mut newest = conn.prepare("SELECT ifnull(max(seq), 0) FROM change_log")?;
                while !stopped.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let count: i64 = newest.query_row([], |row| row.get(0))?;
                    let now = Instant::now();
                    seen.longest_read = seen.longest_read.max(now - begun);
                    if seen.changes.last().is_none_or(|(_, last)| *last < count) {
                        seen.changes.push((now, count));
                    }
                    if let Ok(meta) = std::fs::metadata(&wal) {
                        seen.wal_bytes = seen.wal_bytes.max(meta.len());
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
                Ok(seen)
            })?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub fn stop(self) -> anyhow::Result<PolledRows> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the watcher panicked"))?
    }
}

impl PolledRows {
    /// From push to readable, ascending, in milliseconds; `before` changes were there before the first push.
    pub fn delays(&self, pushed: &[Instant], before: i64) -> Vec<f64> {
        let mut delays = Vec::with_capacity(pushed.len());
        let mut readable = self.changes.iter().peekable();
        for (n, at) in pushed.iter().enumerate() {
            let wanted = before + n as i64 + 1;
            while readable.next_if(|(_, count)| *count < wanted).is_some() {}
            if let Some((when, _)) = readable.peek() {
                delays.push(when.saturating_duration_since(*at).as_secs_f64() * 1000.0);
            }
        }
        delays.sort_by(f64::total_cmp);
        delays
    }
}

/// The value below which this part of an ascending list lies.
pub fn percentile(ascending: &[f64], part: f64) -> f64 {
    let last = ascending.len().saturating_sub(1);
    ascending
        .get((last as f64 * part).round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// A steady stream for `seconds`.
pub fn run(seed: u64, seconds: usize, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let decoded: Vec<(Timestamp, Delivery)> = Feed::new(seed, seconds * PER_SECOND)
        .filter(|(_, delivery)| matches!(delivery, Delivery::Event(_)))
        .collect();
    let store = Store::start(
        dir.path(),
        RetentionConfig::default(),
        &StorageConfig::default(),
    )?;
    let poller = RowPoller::start(&store.path)?;
    let overrides = SeverityOverrides::default();
    let items = decoded
        .into_iter()
        .map_while(|(at, delivery)| item(FIRST_WATCH, at, delivery, &overrides).ok());
    let pushes = store.push(items, || true);
    std::thread::sleep(Duration::from_millis(500));
    let seen = poller.stop()?;
    store.stop()?;
    let pushed = pushes.at;
    let delays = seen.delays(&pushed, 0);
    let sorted = |times: &[Duration]| {
        let mut nanos: Vec<f64> = times.iter().map(|t| t.as_nanos() as f64).collect();
        nanos.sort_by(f64::total_cmp);
        nanos
    };
    let clock = sorted(&pushes.clock);
    // The median of two clock readings is subtracted from a push.
    let idle = percentile(&clock, 0.5);
    let without_clock = |times: &[Duration]| -> Vec<f64> {
        let nanos = sorted(times).into_iter();
        nanos.map(|nanos| (nanos - idle).max(0.0)).collect()
    };
    let nanos = without_clock(&pushes.took);
    let bare = without_clock(&pushes.bare);
    report.group(format!(
        "latency: {} Events, {PER_SECOND} per second, a reader polls every 0.5 ms",
        pushed.len()
    ));
    report.add(
        "readable by another process, median",
        percentile(&delays, 0.5),
        "ms",
        Limit::None,
    );
    report.add(
        "readable by another process, p99",
        percentile(&delays, 0.99),
        "ms",
        Limit::AtMost(READABLE_MS_MAX),
    );
    report.add(
        "queue push, median",
        percentile(&nanos, 0.5),
        "ns",
        Limit::None,
    );
    report.add(
        "queue push, p99",
        percentile(&nanos, 0.99),
        "ns",
        Limit::AtMost(PUSH_NANOS_MAX),
    );
    for (name, part) in [("median", 0.5), ("p99", 0.99)] {
        report.add(
            format!("  same bytes into an uncontended queue, {name}"),
            percentile(&bare, part),
            "ns",
            Limit::None,
        );
    }
    for (name, part) in [("median, subtracted", 0.5), ("p99", 0.99)] {
        report.add(
            format!("  the clock itself, {name}"),
            percentile(&clock, part),
            "ns",
            Limit::None,
        );
    }
    anyhow::ensure!(
        delays.len() == pushed.len(),
        "{} of {} Events became readable",
        delays.len(),
        pushed.len()
    );
    Ok(())
}
