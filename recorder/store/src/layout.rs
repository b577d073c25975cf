//! Schema of the file: created in a new file, rejected if it has another version or belongs to another program.

use kube9_db::schema;
use kube9_model::time::Timestamp;
use rusqlite::Connection;

/// Which program wrote the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileOwner {
    /// This version, or the file is empty: a start was killed before its first commit.
    Ours,
    /// A kube9 with this other schema version.
    OtherVersion(i64),
    /// Another program.
    Foreign,
}

/// Detects who wrote the file; writes nothing.
pub(super) fn file_owner(conn: &Connection) -> rusqlite::Result<FileOwner> {
    if is_empty(conn)? {
        return Ok(FileOwner::Ours);
    }
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != schema::APPLICATION_ID {
        return Ok(FileOwner::Foreign);
    }
    let found = conn.query_row("SELECT max(version) FROM schema_version", [], |row| {
        row.get(0)
    })?;
    Ok(if found == schema::VERSION {
        FileOwner::Ours
    } else {
        FileOwner::OtherVersion(found)
    })
}

/// Creates the schema in an empty file, in one transaction.
pub(super) fn create_if_empty(conn: &Connection) -> rusqlite::Result<()> {
    if !is_empty(conn)? {
        return Ok(());
    }
    let tx = conn.unchecked_transaction()?;
    tx.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    tx.execute_batch(&schema::create())?;
    tx.execute(
        "INSERT INTO schema_version (version, applied_at, description) VALUES (?1, ?2, ?3)",
        (
            schema::VERSION,
            Timestamp::now().to_string(),
            schema::DESCRIPTION,
        ),
    )?;
    tx.commit()
}

fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
        [],
        |row| row.get(0),
    )
}
