//! From a decoded Event to its committed row, beside a bare insert of the same rows.

use std::path::Path;

use kube9_recorder::store::open::DataDir;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::data::Feed;
use super::fill::{BATCH, Database, Spent};
use super::sheet::{Limit, Sheet};

/// Of the bare insert's rate.
const RATIO_MIN: f64 = 0.7;
const RATE_MIN: f64 = 50_000.0;
const CPU_MICROS_MAX: f64 = 20.0;

/// Tables whose rows a bare insert writes: everything that a row is read from.
const COPIED: [&str; 6] = ["scope", "node", "reason", "object", "text", "event"];

/// Measures both, on the same rows in the same run.
pub fn run(seed: u64, events: usize, sheet: &mut Sheet) -> anyhow::Result<f64> {
    let (ours_dir, bare_dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut database = Database::open(ours_dir.path())?;
    let filled = database.fill(Feed::new(seed, events))?;
    drop(database);
    let (rows, bare) = bare_insert(ours_dir.path(), bare_dir.path())?;
    let events = filled.events.max(1) as f64;
    let micros = |spent: Spent, of: f64| spent.cpu.as_secs_f64() * 1e6 / of;
    let rate = events / filled.wall().as_secs_f64();
    let bare_rate = rows as f64 / bare.wall.as_secs_f64();
    sheet.group(format!(
        "ingest: {} Events into {} rows, batches of {BATCH}, one thread, synchronous=NORMAL",
        filled.events, filled.rows
    ));
    sheet.add(
        "decoded Event → committed",
        rate,
        "/s",
        Limit::AtLeast(RATE_MIN),
    );
    sheet.add("bare insert of the same rows", bare_rate, "/s", Limit::None);
    sheet.add(
        "share of the bare rate",
        rate / bare_rate,
        "",
        Limit::AtLeast(RATIO_MIN),
    );
    let cpu = micros(filled.prepare, events) + micros(filled.store, events);
    sheet.add("CPU an Event", cpu, "µs", Limit::AtMost(CPU_MICROS_MAX));
    sheet.add(
        "  normalize and sanitize",
        micros(filled.prepare, events),
        "µs",
        Limit::None,
    );
    sheet.add("  store", micros(filled.store, events), "µs", Limit::None);
    sheet.add(
        "CPU a bare row",
        micros(bare, rows as f64),
        "µs",
        Limit::None,
    );
    sheet.add(
        "CPU, bare row ÷ our Event",
        micros(bare, rows as f64) / cpu,
        "",
        Limit::AtLeast(RATIO_MIN),
    );
    Ok(rate)
}

/// Reads the rows first, then inserts them with prepared statements: only the inserting is timed.
fn bare_insert(from: &Path, into: &Path) -> anyhow::Result<(u64, Spent)> {
    let source =
        Connection::open_with_flags(from.join("kube9.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let data = DataDir::lock(into)?;
    let mut conn = data.open()?.conn;
    let mut spent = Spent::default();
    let mut events = 0;
    for table in COPIED {
        let mut read = source.prepare(&format!("SELECT * FROM {table} ORDER BY rowid"))?;
        let columns = read.column_count();
        let places = vec!["?"; columns].join(", ");
        let insert = format!("INSERT INTO {table} VALUES ({places})");
        let mut rows = read.query([])?;
        let mut batch: Vec<Vec<Value>> = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            while batch.len() < BATCH {
                let Some(row) = rows.next()? else { break };
                batch.push(
                    (0..columns)
                        .map(|column| row.get(column))
                        .collect::<Result<_, _>>()?,
                );
            }
            if batch.is_empty() {
                break;
            }
            if table == "event" {
                events += batch.len() as u64;
            }
            spent.on(|| {
                let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                {
                    let mut statement = tx.prepare_cached(&insert)?;
                    for row in &batch {
                        statement.execute(rusqlite::params_from_iter(row))?;
                    }
                }
                tx.commit()
            })?;
        }
    }
    Ok((events, spent))
}
