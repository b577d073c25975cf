//! The layout of the file: made in a new one, brought up to date in an older one, refused in one that is not ours.
//!
//! Invariant: a file has the layout that `schema_version` says, whatever interrupts a start: each step and its entry are
//! one transaction. Where a step finds no room, the older layout stays, and readers go on with it.

use kube9_shared::schema;
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use tracing::info;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Ours, or nobody's yet: a start was killed before its first commit.
    Us,
    /// Written by a newer kube9, with this version of the layout.
    Newer(i64),
    /// Another program's.
    Foreign,
}

/// Looks whose file it is; touches nothing.
pub(super) fn owner(conn: &Connection) -> rusqlite::Result<Owner> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Owner::Us);
    }
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != schema::APPLICATION_ID {
        return Ok(Owner::Foreign);
    }
    let found = version(conn)?;
    Ok(if found > schema::VERSION {
        Owner::Newer(found)
    } else {
        Owner::Us
    })
}

/// Makes the layout in an empty file, or takes an older one step by step to this version. Returns the version that an
/// older one had.
pub(super) fn bring_up_to_date(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    let has_layout: bool = conn.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version')",
        [],
        |row| row.get(0),
    )?;
    if !has_layout {
        let tx = conn.unchecked_transaction()?;
        tx.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
        tx.execute_batch(schema::CREATE)?;
        enter(&tx, schema::VERSION, schema::DESCRIPTION)?;
        tx.commit()?;
        return Ok(None);
    }
    let found = version(conn)?;
    for step in schema::STEPS.iter().filter(|step| step.to > found) {
        let tx = conn.unchecked_transaction()?;
        tx.execute_batch(step.sql)?;
        enter(&tx, step.to, step.description)?;
        tx.commit()?;
        info!(
            version = step.to,
            what = step.description,
            "the database has a newer layout"
        );
    }
    Ok((found < schema::VERSION).then_some(found))
}

fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT max(version) FROM schema_version", [], |row| {
        row.get(0)
    })
}

fn enter(conn: &Connection, version: i64, description: &str) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO schema_version (version, applied_at, description) VALUES (?1, ?2, ?3)",
        (version, Timestamp::now().to_string(), description),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::DataDir;

    /// The last step must lead to the version that new files have, and none may be left out.
    #[test]
    fn steps_lead_to_this_version_one_by_one() {
        let versions: Vec<i64> = schema::STEPS.iter().map(|step| step.to).collect();
        assert_eq!(versions, (2..=schema::VERSION).collect::<Vec<_>>());
    }

    /// A step that fails in the middle, as without room on the disk, leaves the older layout whole.
    #[test]
    fn step_without_room_leaves_the_older_layout() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        conn.execute_batch(&format!(
            "UPDATE schema_version SET version = 1;
             DROP INDEX scope_name; DROP INDEX finding_event; DROP TABLE evicted;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO event (key, type, severity, reason, text, last_ms)
             SELECT (1700000000 + i * 3600) << 24, 0, 0, 1, 1, 0 FROM n;
             PRAGMA max_page_count = {}",
            1
        ))
        .unwrap();
        let error = bring_up_to_date(&conn).unwrap_err();
        assert_eq!(
            error.sqlite_error_code(),
            Some(rusqlite::ErrorCode::DiskFull)
        );
        assert_eq!(version(&conn).unwrap(), 1);
        conn.execute_batch("PRAGMA max_page_count = 1000000")
            .unwrap();
        assert_eq!(bring_up_to_date(&conn).unwrap(), Some(1));
        let hours: i64 = conn
            .query_row("SELECT count(*) FROM tally WHERE span = 3600", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(hours, 20_000);
    }
}
