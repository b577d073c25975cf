//! Integrity checks of a database after a benchmark.

use std::path::Path;

use kube9_db::schema;
use rusqlite::{Connection, OpenFlags};

/// Checks the file, the names and counters, and that every row is readable through the view. Returns the number of
/// rows.
pub fn check(path: &Path) -> anyhow::Result<i64> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    for (table, column) in [
        ("message_template", "template"),
        ("object", "object"),
        ("event_class", "class"),
    ] {
        let dangling: i64 = conn.query_row(
            &format!(
                "SELECT count(*) FROM event e LEFT JOIN {table} t ON t.id = e.{column} \
                 WHERE e.{column} IS NOT NULL AND t.id IS NULL"
            ),
            [],
            |row| row.get(0),
        )?;
        anyhow::ensure!(dangling == 0, "{dangling} rows refer to a missing {table}");
    }
    let number =
        |sql: &str| -> anyhow::Result<i64> { Ok(conn.query_row(sql, [], |row| row.get(0))?) };
    let rows = number("SELECT count(*) FROM event")?;
    let differ = number(&format!(
        "SELECT count(*) FROM ({})",
        schema::ROW_COUNTS_MISMATCH
    ))?;
    anyhow::ensure!(differ == 0, "{differ} counters differ from the rows");
    let readable = number(
        "SELECT count(*) FROM events WHERE id GLOB 'evt_*' AND event_type <> '' AND severity <> '' AND title <> '' \
         AND description IS NOT NULL AND json_valid(metadata) AND created_at GLOB '????-??-??T??:??:??.000Z'",
    )?;
    anyhow::ensure!(readable == rows, "{readable} of {rows} rows are readable");
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    anyhow::ensure!(integrity == "ok", "integrity_check: {integrity}");
    Ok(rows)
}
