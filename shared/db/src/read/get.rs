//! One row by its id.

use rusqlite::{Connection, OptionalExtension};

use super::open::Reader;
use super::row::Row;
use super::{ReadError, decode, verify};
use kube9_model::id::EventKey;

impl Reader {
    /// The row with that id.
    pub fn get(&self, id: &str) -> Result<Option<Row>, ReadError> {
        // A row is one statement, so it needs no transaction, which would take as long as the row itself.
        self.limited(|connection| {
            let mut reader = decode::RowReader::new(connection)?;
            let key = id.parse::<EventKey>().ok();
            if let Some(key) = key
                && let Some(row) = reader.get(key.as_i64())?
                && row.id == id
            {
                return Ok(Some(row));
            }
            // The queries below must see one state of the database.
            let _transaction = connection.unchecked_transaction()?;
            // The key of a row imported from the original operator cannot be derived from its id.
            if let Some(key) = imported_key(connection, id)? {
                return reader.get(key);
            }
            match key {
                Some(key) => verify::check_hour(connection, key.as_i64()).map(|()| None),
                None => Ok(None),
            }
        })
    }
}

fn imported_key(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT key FROM event WHERE imported_id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()
}
