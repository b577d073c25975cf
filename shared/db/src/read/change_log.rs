//! Inserted and updated rows in the order of their commit, from the table `change_log`: what `events watch` follows.

use rusqlite::Connection;

use super::filter::Filter;
use super::limits::PageBudget;
use super::open::Reader;
use super::plan::AccessPath;
use super::request::PageRequest;
use super::resolve::ResolvedFilter;
use super::row::Row;
use super::row_scan::RowScan;
use super::{ReadError, decode, page};

/// Entries read at a time: bounds the memory of a reader that has fallen behind.
const ENTRIES_MAX: i64 = 1_000;

/// A position in the change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitSeq(i64);

impl CommitSeq {
    /// Before the first commit.
    pub const START: Self = Self(0);
}

/// A row that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedRow {
    /// The row as it is now.
    pub row: Row,
    /// Whether the commit updated an existing row.
    pub updated: bool,
}

/// Rows committed after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedRows {
    /// Matching rows in the order of their last commit; each once.
    pub rows: Vec<CommittedRow>,
    /// Where to continue.
    pub next: CommitSeq,
    /// Entries that were trimmed before this reader read them.
    pub missed: u64,
    /// Whether more entries can be read immediately.
    pub has_more: bool,
}

impl Reader {
    /// SQLite's `data_version`, which differs after every commit of another process; reading it is cheap.
    pub fn data_version(&self) -> Result<i64, ReadError> {
        Ok(self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// The newest `rows` of a filter, oldest first, and the position after which to follow.
    pub fn tail(&self, filter: &Filter, rows: usize) -> Result<(Vec<Row>, CommitSeq), ReadError> {
        let request = PageRequest {
            filter: filter.clone(),
            limit: rows,
            ..PageRequest::default()
        };
        self.snapshot(|connection| {
            let page = page::page(connection, &request)?;
            let last = number(connection, LAST_SEQ)?;
            Ok((page.rows.into_iter().rev().collect(), CommitSeq(last)))
        })
    }

    /// The rows committed after `after`.
    pub fn committed_after(
        &self,
        after: CommitSeq,
        filter: &Filter,
    ) -> Result<CommittedRows, ReadError> {
        self.snapshot(|connection| committed_after(connection, after, filter))
    }
}

const LAST_SEQ: &str = "SELECT ifnull(max(seq), 0) FROM change_log";

fn number(connection: &Connection, sql: &str) -> Result<i64, ReadError> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn committed_after(
    connection: &Connection,
    after: CommitSeq,
    filter: &Filter,
) -> Result<CommittedRows, ReadError> {
    let last = number(connection, LAST_SEQ)?;
    let first = number(connection, "SELECT ifnull(min(seq), 1) FROM change_log")?;
    // A new file starts at 1 again.
    let after = if after.0 > last { 0 } else { after.0 };
    let missed = u64::try_from(first - 1 - after).unwrap_or(0);
    let mut statement = connection.prepare(
        // Updated: in the log before, or spanning more than a new row can.
        "SELECT c.seq, c.event, EXISTS (SELECT 1 FROM change_log b WHERE b.seq < c.seq AND b.event = c.event) \
                OR EXISTS (SELECT 1 FROM event e WHERE e.key = c.event AND e.last_offset_ms > 600000) \
           FROM change_log c WHERE c.seq > ? ORDER BY c.seq LIMIT ?",
    )?;
    let entries: Vec<(i64, i64, bool)> = statement
        .query_map([after, ENTRIES_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let next = entries.last().map_or(after, |&(seq, ..)| seq);
    let mut committed = CommittedRows {
        rows: Vec::new(),
        next: CommitSeq(next),
        missed,
        has_more: next < last,
    };
    if entries.is_empty() {
        return Ok(committed);
    }
    let resolved = ResolvedFilter::new(connection, filter)?;
    if resolved.matches_nothing {
        return Ok(committed);
    }
    let scan = RowScan::with_access_path(connection, &resolved, AccessPath::Scan)?;
    let (mut rows, mut budget) = (decode::RowReader::new(connection)?, PageBudget::new());
    for (i, &(seq, key, updated)) in entries.iter().enumerate() {
        // A row with several entries is returned once, at its last; it is new if its first entry is.
        if entries[i + 1..].iter().any(|&(_, later, _)| later == key) {
            continue;
        }
        let is_new_here = entries[..i]
            .iter()
            .any(|&(_, before, updated)| before == key && !updated);
        if scan.contains(key)?
            && let Some(row) = rows.get(key)?
        {
            if !budget.try_add(&row) {
                committed.next = CommitSeq(seq - 1);
                committed.has_more = true;
                break;
            }
            committed.rows.push(CommittedRow {
                row,
                updated: updated && !is_new_here,
            });
        }
    }
    Ok(committed)
}
