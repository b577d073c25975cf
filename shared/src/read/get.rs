//! One row by its id.

use super::open::Reader;
use super::row::Row;
use super::{ReadError, expand, verify};
use crate::id::EventKey;

impl Reader {
    /// The row with that id.
    pub fn get(&self, id: &str) -> Result<Option<Row>, ReadError> {
        // No transaction: a row is one statement, and beginning and ending one takes as long as the row itself.
        self.limited(|connection| {
            // What is not an id of ours names no row of ours.
            let Ok(key) = id.parse::<EventKey>() else {
                return Ok(None);
            };
            match expand::Rows::new(connection)?.get(key.as_i64())? {
                None => verify::hour(connection, key.as_i64()).map(|()| None),
                found => Ok(found),
            }
        })
    }
}
