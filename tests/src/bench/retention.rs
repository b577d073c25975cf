//! A large retention run while Events arrive, a reader with a long transaction, and a database that reaches its size
//! limit. After each, the file must be intact and every row readable.

use std::time::{Duration, Instant};

use kube9_model::Severity;
use kube9_store::config::{RetentionConfig, StorageConfig};
use kube9_store::metrics::Removal;
use rusqlite::{Connection, OpenFlags};

use super::data::Feed;
use super::latency::{RowPoller, Store, items, percentile};
use super::populate::Database;
use super::report::{Limit, Report};
use super::{integrity, size_limit};

/// The writer must never pause for longer than a step of 50 ms and a batch of as much.
pub(super) const DELAY_MS_MAX: f64 = 100.0;
/// Largest WAL without a pinned reader.
pub(super) const WAL_BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;
/// While a reader pins the log, the writer gathers larger batches.
const PINNED_DELAY_MS_MAX: f64 = 1000.0;
/// Largest WAL when a reader pins it for [`PINNED`].
const PINNED_WAL_BYTES_MAX: f64 = 128.0 * 1024.0 * 1024.0;
/// How long the pinned reader holds its transaction.
const PINNED: Duration = Duration::from_secs(30);

/// Deletes most of a history, then pins a reader, while Events arrive.
pub fn run(seed: u64, events: usize, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut database = Database::open(dir.path())?;
    let filled = database.fill(Feed::new(seed, events))?;
    database.checkpoint()?;
    let before = database.file_bytes();
    let changes: i64 = database
        .conn
        .query_row("SELECT max(seq) FROM change_log", [], |row| row.get(0))?;
    drop(database);

    // Half a day of thirty stays.
    let retention = RetentionConfig {
        info_warning: Duration::from_secs(12 * 3600),
        error_critical: Duration::from_secs(12 * 3600),
        ..RetentionConfig::default()
    };
    let mut items = items(seed + 1, 120_000)?.into_iter();
    let store = Store::start(dir.path(), retention, &StorageConfig::default())?;
    let poller = RowPoller::start(&store.path)?;
    let begun = Instant::now();
    let metrics = store.shared.metrics.clone();
    let is_done = || metrics.retention_last_success.get() > 0.0;
    let pushed = store.push(items.by_ref(), || !is_done()).at;
    let took = begun.elapsed();
    anyhow::ensure!(is_done(), "the retention run took longer than the load");
    std::thread::sleep(Duration::from_secs(1));
    let seen = poller.stop()?;
    let deleted: u64 = Severity::ALL
        .iter()
        .map(|&severity| metrics.retention_deleted.get(severity, Removal::Age).get())
        .sum();
    // The row about the run is also a change; it comes last.
    let delays = seen.delays(&pushed, changes);
    report.group(format!(
        "retention: {deleted} of {} rows deleted while 1000 Events per second arrive",
        filled.rows
    ));
    report.add("retention run", took.as_secs_f64(), "s", Limit::None);
    report.add(
        "Event readable, p99",
        percentile(&delays, 0.99),
        "ms",
        Limit::None,
    );
    report.add(
        "Event readable, longest",
        percentile(&delays, 1.0),
        "ms",
        Limit::AtMost(DELAY_MS_MAX),
    );
    report.add(
        "longest read",
        seen.longest_read.as_secs_f64() * 1000.0,
        "ms",
        Limit::None,
    );
    report.add(
        "largest write-ahead log",
        seen.wal_bytes as f64,
        "B",
        Limit::AtMost(WAL_BYTES_MAX),
    );
    report.add("file before", before as f64, "B", Limit::None);
    report.add(
        "file after, of before",
        std::fs::metadata(&store.path)?.len() as f64 / before as f64,
        "",
        Limit::AtMost(0.5),
    );

    pinned(&store, items, report)?;
    let path = store.path.clone();
    store.stop()?;
    let rows = integrity::check(&path)?;
    report.note(format!(
        "after the retention run and the pinned reader: integrity_check is ok, the counters equal the rows, and all {rows} rows \
         are readable through the view"
    ));
    size_limit::run(seed, report)
}

fn pinned(
    store: &Store,
    items: impl Iterator<Item = kube9_ingest::item::Item>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let metrics = &store.shared.metrics;
    let busy = metrics.checkpoint_busy.get();
    let reader = Connection::open_with_flags(&store.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let before: i64 = reader.query_row("SELECT max(seq) FROM change_log", [], |row| row.get(0))?;
    reader.execute_batch("BEGIN")?;
    let rows: i64 = reader.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
    let poller = RowPoller::start(&store.path)?;
    let begun = Instant::now();
    let pushed = store.push(items, || begun.elapsed() < PINNED).at;
    let still: i64 = reader.query_row("SELECT count(*) FROM event", [], |row| row.get(0))?;
    anyhow::ensure!(rows == still, "the reader's view changed");
    reader.execute_batch("COMMIT")?;
    std::thread::sleep(Duration::from_secs(3));
    let seen = poller.stop()?;
    let delays = seen.delays(&pushed, before);
    report.group(format!(
        "a reader holds its transaction for {} s while 1000 Events per second arrive",
        PINNED.as_secs()
    ));
    report.add(
        "Event readable, longest",
        percentile(&delays, 1.0),
        "ms",
        Limit::AtMost(PINNED_DELAY_MS_MAX),
    );
    report.add(
        "largest write-ahead log",
        seen.wal_bytes as f64,
        "B",
        Limit::AtMost(PINNED_WAL_BYTES_MAX),
    );
    report.add(
        "kube9_checkpoint_busy_total, growth",
        (metrics.checkpoint_busy.get() - busy) as f64,
        "",
        Limit::AtLeast(1.0),
    );
    Ok(())
}
