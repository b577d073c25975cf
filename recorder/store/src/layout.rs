//! The layout of the file: made in a new one, refused in one of another version or of another program.

use kube9_db::schema;
use kube9_model::time::Timestamp;
use rusqlite::Connection;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Ours, or nobody's yet: a start was killed before its first commit.
    Us,
    /// Written by another kube9, with this version of the layout.
    OtherVersion(i64),
    /// Another program's.
    Foreign,
}

/// Looks whose file it is; touches nothing.
pub(super) fn owner(conn: &Connection) -> rusqlite::Result<Owner> {
    if is_empty(conn)? {
        return Ok(Owner::Us);
    }
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != schema::APPLICATION_ID {
        return Ok(Owner::Foreign);
    }
    let found = conn.query_row("SELECT max(version) FROM schema_version", [], |row| {
        row.get(0)
    })?;
    Ok(if found == schema::VERSION {
        Owner::Us
    } else {
        Owner::OtherVersion(found)
    })
}

/// Makes the layout in an empty file, in one transaction.
pub(super) fn create_if_empty(conn: &Connection) -> rusqlite::Result<()> {
    if !is_empty(conn)? {
        return Ok(());
    }
    let tx = conn.unchecked_transaction()?;
    tx.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    tx.execute_batch(schema::CREATE)?;
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
