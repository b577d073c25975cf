//! Bytes per event, by table and index.

use std::path::Path;

use rusqlite::Connection;

use super::data::{Feed, SPAN};
use super::populate::{Database, Filled, saved_path};
use super::report::{Limit, Report};

/// The target of docs/performance.md, for databases of at least [`EVENTS_MIN`].
const BYTES_MAX: f64 = 100.0;
/// Smaller ones are mostly what all share: a page of each table and index.
const EVENTS_MIN: usize = 100_000;
/// An empty database: a page of each table and index, and their SQL (docs/performance.md).
const EMPTY_MAX: f64 = 96.0 * 1024.0;

/// Tables of current state: their size depends on what the API server holds now, not on the history.
const LIVE: [&str; 6] = [
    "dedup",
    "watch_state",
    "dropped_range",
    "change_log",
    "recorder_status",
    "schema_version",
];

/// Size of a table or index.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    /// The table it belongs to.
    pub table: String,
    /// Pages times page size.
    pub bytes: u64,
    /// Bytes of its cells; the rest is unused space in its pages.
    pub payload: u64,
}

/// Sizes of all tables and indexes, the largest first.
pub fn parts(conn: &Connection) -> anyhow::Result<Vec<Part>> {
    let mut statement = conn.prepare(
        "SELECT d.name, ifnull(s.tbl_name, d.name), sum(d.pgsize), sum(d.pgsize - d.unused) FROM dbstat d \
         LEFT JOIN sqlite_schema s ON s.name = d.name GROUP BY d.name ORDER BY 3 DESC",
    )?;
    let parts = statement.query_map([], |row| {
        Ok(Part {
            name: row.get(0)?,
            table: row.get(1)?,
            bytes: row.get::<_, i64>(2)? as u64,
            payload: row.get::<_, i64>(3)? as u64,
        })
    })?;
    Ok(parts.collect::<Result<_, _>>()?)
}

/// Bytes of history per row: everything except the current state.
pub fn history_bytes(parts: &[Part]) -> u64 {
    parts
        .iter()
        .filter(|part| !LIVE.contains(&part.table.as_str()))
        .map(|part| part.bytes)
        .sum()
}

/// Fills a database with `events` Events and measures it. It stays in `keep`, where a run with the same seed finds it.
pub fn run(
    seed: u64,
    events: usize,
    keep: Option<&Path>,
    report: &mut Report,
) -> anyhow::Result<(f64, Filled)> {
    let dir = tempfile::tempdir()?;
    let place = keep.map_or_else(|| dir.path().to_owned(), |keep| saved_path(keep, events));
    anyhow::ensure!(
        !place.join("kube9.db").exists(),
        "{} already contains a database",
        place.display()
    );
    std::fs::create_dir_all(&place)?;
    let mut database = Database::open(&place)?;
    database.checkpoint()?;
    let empty = database.file_bytes();
    let filled = database.fill(Feed::new(seed, events))?;
    database.checkpoint()?;
    let parts = parts(&database.conn)?;
    let rows = filled.rows.max(1) as f64;
    let a_row = history_bytes(&parts) as f64 / rows;
    report.group(format!(
        "storage: {} Events over {} days in {} rows, seed {seed}",
        filled.events,
        SPAN.as_secs() / 86_400,
        filled.rows
    ));
    report.add(
        "bytes per row, history",
        a_row,
        "B",
        if events < EVENTS_MIN {
            Limit::None
        } else {
            Limit::AtMost(BYTES_MAX)
        },
    );
    report.add(
        "bytes per Event observed",
        history_bytes(&parts) as f64 / filled.events.max(1) as f64,
        "B",
        Limit::None,
    );
    report.add("file", database.file_bytes() as f64, "B", Limit::None);
    report.add(
        "empty database",
        empty as f64,
        "B",
        Limit::AtMost(EMPTY_MAX),
    );
    for part in parts
        .iter()
        .filter(|part| !LIVE.contains(&part.table.as_str()))
    {
        let bytes = part.bytes as f64 / rows;
        if bytes >= 0.05 {
            let name = format!(
                "  {} ({:.0} % full)",
                part.name,
                100.0 * part.payload as f64 / part.bytes.max(1) as f64
            );
            report.add(name, bytes, "B/row", Limit::None);
        }
    }
    let live = |table: &str| -> anyhow::Result<(f64, f64)> {
        let entries: i64 =
            database
                .conn
                .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                    row.get(0)
                })?;
        let bytes: u64 = parts
            .iter()
            .filter(|part| part.table == table)
            .map(|part| part.bytes)
            .sum();
        Ok((entries as f64, bytes as f64 / (entries as f64).max(1.0)))
    };
    for table in ["dedup", "change_log"] {
        let (entries, bytes) = live(table)?;
        report.add(
            format!("current state: {table}, entries"),
            entries,
            "",
            Limit::None,
        );
        report.add(
            format!("current state: {table}, per entry"),
            bytes,
            "B",
            Limit::None,
        );
    }
    for (name, sql) in [
        ("objects", "SELECT count(*) FROM object"),
        ("texts", "SELECT count(*) FROM message_template"),
        (
            "average text",
            "SELECT avg(length(body)) FROM message_template",
        ),
        (
            "rows with arguments, %",
            "SELECT 100.0 * count(args) / count(*) FROM event",
        ),
        ("average arguments", "SELECT avg(length(args)) FROM event"),
        (
            "rows with extra metadata, %",
            "SELECT 100.0 * count(extra) / count(*) FROM event",
        ),
        (
            "average extra metadata",
            "SELECT avg(length(extra)) FROM event",
        ),
    ] {
        let value: Option<f64> = database
            .conn
            .query_row(sql, [], |row| {
                row.get::<_, Option<rusqlite::types::Value>>(0)
            })
            .map(|value| match value {
                Some(rusqlite::types::Value::Integer(n)) => Some(n as f64),
                Some(rusqlite::types::Value::Real(n)) => Some(n),
                _ => None,
            })?;
        report.add(name, value.unwrap_or(0.0), "", Limit::None);
    }
    let integrity: String = database
        .conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    anyhow::ensure!(integrity == "ok", "integrity_check: {integrity}");
    Ok((a_row, filled))
}
