//! A page of rows and the exact number of all of them, from one read transaction. A page that would hold too much text
//! ends earlier.

use rusqlite::Connection;

use super::ReadError;
use super::bounds::Budget;
use super::keys::Found;
use super::numbers::Numbers;
use super::open::{Layout, Reader};
use super::request::{BadCursor, Cursor, Page, PageRequest};
use super::row::Row;
use super::tally::{Enough, Tally};
use super::walk::Walk;
use super::{expand, plain, plan};

impl Reader {
    /// The page and the total.
    pub fn list(&self, request: &PageRequest) -> Result<Page, ReadError> {
        self.snapshot(|connection| match self.layout() {
            Layout::Plain => plain::list(connection, request),
            Layout::Interned => interned(connection, request),
        })
    }
}

pub(super) fn interned(connection: &Connection, request: &PageRequest) -> Result<Page, ReadError> {
    let below = match &request.after {
        None => i64::MAX,
        Some(Cursor::Key(key)) => *key,
        Some(other) => return Err(BadCursor(other.to_string()).into()),
    };
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
    let need = offset.saturating_add(take as u64);
    let mut tally = Tally::new(connection, &numbers)?;
    let enough = Enough {
        rows: if numbers.is_tallied() { need } else { 0 },
        below,
    };
    let mut survey = tally.survey_newest(numbers.span.main, enough)?;
    let way = plan::choose(connection, &numbers, &survey, need)?;
    let mut found = Found::new(below, offset, take);
    Walk {
        connection,
        numbers: &numbers,
        way,
        matched: None,
    }
    .run(&mut tally, &mut survey, &mut found)?;
    let more = found.keys.len() > request.limit;
    found.keys.truncate(request.limit);
    let rows = rows(connection, &found.keys)?;
    let more = more || rows.len() < found.keys.len();
    let last = found.keys[..rows.len()].last();
    Ok(Page {
        next: last.filter(|_| more).map(|&key| Cursor::Key(key)),
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
