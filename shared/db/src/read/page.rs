//! A page of rows and the exact number of all of them, from one read transaction. A page that would hold too much text
//! ends earlier.

use rusqlite::Connection;

use super::ReadError;
use super::bounds::Budget;
use super::expand;
use super::keys::Found;
use super::numbers::Numbers;
use super::open::Reader;
use super::request::{Cursor, Page, PageRequest};
use super::row::Row;
use super::walk::Walk;

impl Reader {
    /// The page and the total.
    pub fn list(&self, request: &PageRequest) -> Result<Page, ReadError> {
        self.snapshot(|connection| page(connection, request))
    }
}

pub(super) fn page(connection: &Connection, request: &PageRequest) -> Result<Page, ReadError> {
    let below = request.after.map_or(i64::MAX, |Cursor(key)| key);
    let offset = if request.after.is_some() {
        0
    } else {
        request.offset
    };
    let numbers = Numbers::of(connection, &request.filter)?;
    if numbers.nothing {
        return Ok(Page::default());
    }
    // One row more than the page shows whether there is a next one.
    let take = request.limit + 1;
    let mut found = Found::new(below, offset, take);
    Walk::new(connection, &numbers)?.run(&mut found)?;
    let more = found.keys.len() > request.limit;
    found.keys.truncate(request.limit);
    let rows = rows(connection, &found.keys)?;
    let more = more || rows.len() < found.keys.len();
    let last = found.keys[..rows.len()].last();
    Ok(Page {
        next: last.filter(|_| more).map(|&key| Cursor(key)),
        rows,
        total: found.total,
    })
}

/// The rows with these keys, in their order, as many as fit into a page.
fn rows(connection: &Connection, keys: &[i64]) -> Result<Vec<Row>, ReadError> {
    let mut all = expand::Rows::new(connection)?;
    let (mut rows, mut budget) = (Vec::new(), Budget::page());
    for key in keys {
        let row = all.get(*key)?.ok_or(ReadError::INCONSISTENT)?;
        if !budget.takes(&row) {
            break;
        }
        rows.push(row);
    }
    Ok(rows)
}
