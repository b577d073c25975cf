//! New and updated rows in the order of their commit, for following a database as it grows.

use rusqlite::Connection;

use super::bounds::Budget;
use super::filter::Filter;
use super::numbers::Numbers;
use super::open::Reader;
use super::plan::Way;
use super::request::PageRequest;
use super::row::Row;
use super::walk::Walk;
use super::{ReadError, expand, page};

/// Changes read at a time: bounds the memory of a reader that has fallen behind.
const CHANGES_MAX: i64 = 1_000;

/// A place in the order of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(i64);

impl Position {
    /// Before the first commit.
    pub const START: Self = Self(0);
}

/// A row that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row as it is now.
    pub row: Row,
    /// Whether it was there before.
    pub updated: bool,
}

/// What has happened since a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Rows that match, in the order of their last commit; each once.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub position: Position,
    /// Commits that can no longer be told, because their entries were trimmed before this reader came.
    pub missed: u64,
    /// Whether there is more to read at once.
    pub more: bool,
}

impl Reader {
    /// A number that differs after every commit of another process; costs next to nothing.
    pub fn version(&self) -> Result<i64, ReadError> {
        Ok(self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    /// The newest `rows` of a filter, oldest of them first, and the position up to which they tell everything.
    pub fn tail(&self, filter: &Filter, rows: usize) -> Result<(Vec<Row>, Position), ReadError> {
        let request = PageRequest {
            filter: filter.clone(),
            limit: rows,
            ..PageRequest::default()
        };
        self.snapshot(|connection| {
            let page = page::page(connection, &request)?;
            let position = number(connection, END)?;
            Ok((page.rows.into_iter().rev().collect(), Position(position)))
        })
    }

    /// What was committed after `since`.
    pub fn changes(&self, since: Position, filter: &Filter) -> Result<Changes, ReadError> {
        self.snapshot(|connection| changes(connection, since, filter))
    }
}

const END: &str = "SELECT ifnull(max(seq), 0) FROM change_log";

fn number(connection: &Connection, sql: &str) -> Result<i64, ReadError> {
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

fn changes(
    connection: &Connection,
    since: Position,
    filter: &Filter,
) -> Result<Changes, ReadError> {
    let end = number(connection, END)?;
    let first = number(connection, "SELECT ifnull(min(seq), 1) FROM change_log")?;
    // A new file counts from the beginning again.
    let since = if since.0 > end { 0 } else { since.0 };
    let missed = u64::try_from(first - 1 - since).unwrap_or(0);
    let mut statement = connection.prepare(
        // Updated: told before, or longer than a new row can be.
        "SELECT c.seq, c.event, EXISTS (SELECT 1 FROM change_log b WHERE b.seq < c.seq AND b.event = c.event) \
                OR EXISTS (SELECT 1 FROM event e WHERE e.key = c.event AND e.last_offset_ms > 600000) \
           FROM change_log c WHERE c.seq > ? ORDER BY c.seq LIMIT ?",
    )?;
    let entries: Vec<(i64, i64, bool)> = statement
        .query_map([since, CHANGES_MAX], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let position = entries.last().map_or(since, |&(seq, ..)| seq);
    let mut changes = Changes {
        changes: Vec::new(),
        position: Position(position),
        missed,
        more: position < end,
    };
    if entries.is_empty() {
        return Ok(changes);
    }
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok(changes);
    }
    let walk = Walk::along(connection, &numbers, Way::Scan)?;
    let (mut rows, mut budget) = (expand::Rows::new(connection)?, Budget::page());
    for (i, &(seq, key, updated)) in entries.iter().enumerate() {
        // A row told twice within one answer is told as it is, once; it is new if its first entry is.
        if entries[i + 1..].iter().any(|&(_, later, _)| later == key) {
            continue;
        }
        let new_here = entries[..i]
            .iter()
            .any(|&(_, before, updated)| before == key && !updated);
        if walk.has(key)?
            && let Some(row) = rows.get(key)?
        {
            if !budget.takes(&row) {
                changes.position = Position(seq - 1);
                changes.more = true;
                break;
            }
            changes.changes.push(Change {
                row,
                updated: updated && !new_here,
            });
        }
    }
    Ok(changes)
}
