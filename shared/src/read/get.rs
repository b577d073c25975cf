//! One row by its id.

use super::open::{Layout, Reader};
use super::row::Row;
use super::{ReadError, expand, plain, verify};
use crate::id::EventKey;

impl Reader {
    /// The row with that id.
    pub fn get(&self, id: &str) -> Result<Option<Row>, ReadError> {
        // No transaction: a row is one statement, and beginning and ending one takes as long as the row itself.
        self.limited(|connection| match self.layout() {
            Layout::Plain => plain::get(connection, id),
            // What is no id of ours names no row of ours.
            Layout::Interned => match id.parse::<EventKey>() {
                Ok(key) => match expand::Rows::new(connection)?.get(key.as_i64())? {
                    None => verify::hour(connection, key.as_i64()).map(|()| None),
                    found => Ok(found),
                },
                Err(_) => Ok(None),
            },
        })
    }
}
