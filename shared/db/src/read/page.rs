//! A page of rows and the exact number of all matches, from one read transaction. A page that exceeds its bytes ends early.

use rusqlite::Connection;

use super::ReadError;
use super::decode;
use super::limits::PageBudget;
use super::open::Reader;
use super::page_builder::PageBuilder;
use super::request::{Cursor, Page, PageRequest};
use super::resolve::ResolvedFilter;
use super::row::Row;
use super::row_scan::RowScan;

impl Reader {
    /// A page and the total.
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
    let resolved = ResolvedFilter::new(connection, &request.filter)?;
    if resolved.matches_nothing {
        return Ok(Page::default());
    }
    // One more row than the page shows whether a next page exists.
    let take = request.limit + 1;
    let mut builder = PageBuilder::new(below, offset, take);
    RowScan::new(connection, &resolved)?.fill_page(&mut builder)?;
    let has_more = builder.keys.len() > request.limit;
    builder.keys.truncate(request.limit);
    let rows = rows(connection, &builder.keys)?;
    let has_more = has_more || rows.len() < builder.keys.len();
    let last = builder.keys[..rows.len()].last();
    Ok(Page {
        next: last.filter(|_| has_more).map(|&key| Cursor(key)),
        rows,
        total: builder.total,
    })
}

/// The rows with these keys in their order, as many as fit into a page.
fn rows(connection: &Connection, keys: &[i64]) -> Result<Vec<Row>, ReadError> {
    let mut reader = decode::RowReader::new(connection)?;
    let (mut rows, mut budget) = (Vec::new(), PageBudget::new());
    for key in keys {
        let row = reader.get(*key)?.ok_or(ReadError::INCONSISTENT)?;
        if !budget.try_add(&row) {
            break;
        }
        rows.push(row);
    }
    Ok(rows)
}
