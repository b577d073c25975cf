//! A database that reaches its size limit while Events arrive: it stays below the limit, and the oldest of the least
//! severe rows of the largest namespaces are deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_model::Severity;
use kube9_recorder::config::ByteSize;
use kube9_store::config::{RetentionConfig, StorageConfig};
use kube9_store::metrics::Removal;
use rusqlite::{Connection, OpenFlags};

use super::integrity;
use super::latency::{RowPoller, Store, items, percentile};
use super::populate::filled;
use super::report::{Limit, Report};
use super::retention::{DELAY_MS_MAX, WAL_BYTES_MAX};

/// Events in the database before, and those that arrive during the run.
const CAP_EVENTS: usize = 200_000;
const CAP_MORE: usize = 30_000;
/// Allowed unused names: those of rows folded or deleted since the last retention run started.
const UNUSED_MAX: f64 = 0.02;
const NAMES: &str =
    "SELECT (SELECT count(*) FROM object) + (SELECT count(*) FROM message_template)";
const UNUSED_NAMES: &str = "SELECT (SELECT count(*) FROM message_template WHERE id NOT IN (SELECT template FROM event)) \
     + (SELECT count(*) FROM object WHERE id NOT IN (SELECT object FROM event WHERE object IS NOT NULL) \
        AND id NOT IN (SELECT owner FROM object WHERE owner IS NOT NULL))";

/// Fills a database almost to the limit, then adds rows until it was reached several times.
pub fn run(seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let saved = filled(seed, CAP_EVENTS, None)?;
    let path = saved.path();
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let pages = |conn: &Connection| -> anyhow::Result<u64> {
        let number = |pragma| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let used = number("PRAGMA page_count")? - number("PRAGMA freelist_count")?;
        Ok((used * number("PRAGMA page_size")?) as u64)
    };
    // By namespace.
    let keys = |conn: &Connection,
                severity: Severity|
     -> anyhow::Result<BTreeMap<String, Vec<i64>>> {
        let mut found = conn.prepare(
            "SELECT ifnull(s.namespace, '-'), e.key FROM event e LEFT JOIN object o ON o.id = e.object \
             LEFT JOIN scope s ON s.id = o.scope WHERE e.severity = ?1 ORDER BY e.key",
        )?;
        let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        let mut rows = found.query([severity.code()])?;
        while let Some(row) = rows.next()? {
            keys.entry(row.get(0)?).or_default().push(row.get(1)?);
        }
        Ok(keys)
    };
    let before: Vec<BTreeMap<String, Vec<i64>>> = Severity::ALL
        .iter()
        .map(|&severity| keys(&conn, severity))
        .collect::<Result<_, _>>()?;
    // Retention starts at 95 %: the first new rows trigger it, the rest fill the freed space.
    let cap = (pages(&conn)? * 100 / 94).div_ceil(1 << 20);
    let bytes = cap << 20;
    let for_ever = Duration::from_secs(3650 * 86_400);
    let retention = RetentionConfig {
        info_warning: for_ever,
        error_critical: for_ever,
        ..RetentionConfig::default()
    };
    let storage = StorageConfig {
        max_bytes: Some(ByteSize::mib(cap)),
    };
    let store = Store::start(&saved.directory, retention, &storage)?;
    let changes: i64 = conn.query_row("SELECT max(seq) FROM change_log", [], |row| row.get(0))?;
    let poller = RowPoller::start(&path)?;
    let mut largest = 0;
    let metrics = store.shared.metrics.clone();
    let deleted = |severity| metrics.retention_deleted.get(severity, Removal::Size).get();
    let items = items(seed + 1, CAP_MORE)?.into_iter();
    let mut looked = 0_u32;
    let pushed = store
        .push(items, || {
            looked += 1;
            if looked.is_multiple_of(20)
                && let Ok(used) = pages(&conn)
            {
                largest = largest.max(used);
            }
            true
        })
        .at;
    std::thread::sleep(Duration::from_secs(2));
    let seen = poller.stop()?;
    let delays = seen.delays(&pushed, changes);
    let gone: Vec<u64> = Severity::ALL
        .iter()
        .map(|&severity| deleted(severity))
        .collect();
    store.stop()?;
    anyhow::ensure!(gone[0] > 0, "the limit of {cap} MiB was never reached");
    // The deleted rows must be the oldest ones of each namespace and severity.
    for (&severity, before) in Severity::ALL.iter().zip(&before) {
        let after = keys(&conn, severity)?;
        for (tenant, before) in before {
            let after = after.get(tenant).map_or(&[][..], Vec::as_slice);
            let oldest = after.first().copied().unwrap_or(i64::MAX);
            let younger = before.iter().filter(|key| **key >= oldest).count();
            let left = before
                .iter()
                .filter(|key| after.binary_search(key).is_ok())
                .count();
            anyhow::ensure!(
                left == younger,
                "{severity} of {tenant}: {} deleted rows are younger than a remaining one",
                younger - left
            );
        }
    }
    report.group(format!(
        "size limit of {cap} MiB: {} rows deleted while {} arrive, 1000 per second",
        gone.iter().sum::<u64>(),
        pushed.len()
    ));
    report.add(
        "largest used bytes, of the limit",
        largest as f64 / bytes as f64,
        "",
        Limit::AtMost(1.0),
    );
    report.add("deleted rows: info", gone[0] as f64, "", Limit::None);
    report.add(
        "deleted rows: warning and worse, while there is info",
        gone[1..].iter().sum::<u64>() as f64,
        "",
        Limit::None,
    );
    report.add(
        "Event readable, longest",
        percentile(&delays, 1.0),
        "ms",
        Limit::AtMost(DELAY_MS_MAX),
    );
    report.add(
        "largest write-ahead log",
        seen.wal_bytes as f64,
        "B",
        Limit::AtMost(WAL_BYTES_MAX),
    );
    let names: i64 = conn.query_row(NAMES, [], |row| row.get(0))?;
    let unused: i64 = conn.query_row(UNUSED_NAMES, [], |row| row.get(0))?;
    report.add("names", names as f64, "", Limit::None);
    report.add(
        "unused names, of all",
        unused as f64 / names.max(1) as f64,
        "",
        Limit::AtMost(UNUSED_MAX),
    );
    let rows = integrity::check(&path)?;
    report.note(format!(
        "after the size limit: integrity_check is ok, the counters equal the rows, and all {rows} rows are readable"
    ));
    Ok(())
}
