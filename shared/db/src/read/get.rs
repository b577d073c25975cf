//! One row by its id.

use rusqlite::{Connection, OptionalExtension};

use super::open::Reader;
use super::row::Row;
use super::{ReadError, expand, verify};
use kube9_model::id::EventKey;

impl Reader {
    /// The row with that id.
    pub fn get(&self, id: &str) -> Result<Option<Row>, ReadError> {
        // No transaction at first: a row is one statement, and beginning and ending one takes as long as the row itself.
        self.limited(|connection| {
            let mut rows = expand::Rows::new(connection)?;
            let key = id.parse::<EventKey>().ok();
            if let Some(key) = key
                && let Some(row) = rows.get(key.as_i64())?
                && row.id == id
            {
                return Ok(Some(row));
            }
            // What is counted below must be of one moment.
            let _transaction = connection.unchecked_transaction()?;
            // The id of a row taken in from the original operator says nothing of its key.
            if let Some(key) = imported(connection, id)? {
                return rows.get(key);
            }
            match key {
                Some(key) => verify::hour(connection, key.as_i64()).map(|()| None),
                None => Ok(None),
            }
        })
    }
}

fn imported(connection: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT key FROM event WHERE imported_id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()
}
