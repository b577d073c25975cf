//! All rows of a filter, newest first, in chunks: memory stays the same however many there are, and no read transaction
//! is long enough to keep the recorder's WAL from being checkpointed.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::bounds::Budget;
use super::filter::Filter;
use super::keys::Found;
use super::numbers::{Keys, Numbers};
use super::open::Reader;
use super::plan::Way;
use super::row::Row;
use super::tally::Tally;
use super::walk::Walk;
use super::{ReadError, expand, verify};

/// Rows of one chunk, or as many as fit into a page.
const CHUNK_ROWS: usize = 1_000;
/// Rows that an index may lead to for their keys to be gathered at once, 8 bytes each.
const KEYS_MAX: u64 = 500_000;

/// An export that is under way.
#[derive(Debug)]
pub struct Export<'r> {
    reader: &'r Reader,
    filter: Filter,
    left: Left,
    total: u64,
    /// Rows given so far.
    given: u64,
    /// [`Reader::version`] when it began.
    version: i64,
}

/// What is still to be read.
#[derive(Debug)]
enum Left {
    /// These keys.
    Keys(VecDeque<i64>),
    /// These keys, then rows in these stretches of time, newest first, one stretch a transaction at most; then what reaches
    /// in.
    Stretches(VecDeque<i64>, VecDeque<Keys>),
    Nothing,
}

impl Reader {
    /// Begins an export. Rows that are committed later may be missing from it, rows deleted meanwhile too.
    pub fn export(&self, filter: &Filter) -> Result<Export<'_>, ReadError> {
        let version = self.version()?;
        let (left, total) = self.snapshot(|connection| begin(connection, filter))?;
        Ok(Export {
            reader: self,
            filter: filter.clone(),
            left,
            total,
            given: 0,
            version,
        })
    }
}

impl Export<'_> {
    /// Number of rows when it began.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The next rows; `None` after the last. A chunk may be empty where a long stretch holds none.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Row>>, ReadError> {
        let filter = &self.filter;
        let left = std::mem::replace(&mut self.left, Left::Nothing);
        let (rows, left) = match left {
            // Rows that are missing were deleted by a commit, or the file is damaged.
            Left::Nothing if self.given < self.total && self.reader.version()? == self.version => {
                return Err(ReadError::INCONSISTENT);
            }
            Left::Nothing => return Ok(None),
            Left::Keys(keys) => self
                .reader
                .snapshot(|connection| of_keys(connection, keys))?,
            Left::Stretches(keys, stretches) => self
                .reader
                .snapshot(|connection| of_stretches(connection, filter, keys, stretches))?,
        };
        self.left = left;
        self.given += rows.len() as u64;
        Ok(Some(rows))
    }
}

fn begin(connection: &Connection, filter: &Filter) -> Result<(Left, u64), ReadError> {
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok((Left::Nothing, 0));
    }
    let mut walk = Walk::new(connection, &numbers)?;
    let mut count = Found::new(i64::MIN, 0, 0);
    walk.run(&mut count)?;
    verify::way(connection, &walk.way, numbers.span.main)?;
    let is_indexed = !matches!(walk.way, Way::Scan | Way::Hours);
    if is_indexed && count.total <= KEYS_MAX {
        let all = usize::try_from(count.total).unwrap_or(usize::MAX);
        let mut found = Found::new(i64::MAX, 0, all);
        walk.run(&mut found)?;
        return Ok((Left::Keys(found.keys.into()), found.total));
    }
    if is_indexed {
        walk.way = Way::Scan;
        verify::rows(connection, numbers.span.main)?;
    }
    let mut stretches = VecDeque::new();
    if walk.way == Way::Hours {
        let pieces = Tally::new(connection, &numbers)?.pieces(numbers.span.main)?;
        stretches.extend(pieces.iter().map(|piece| piece.keys));
    } else {
        stretches.push_back(numbers.span.main);
    }
    for overlap in [numbers.span.window, numbers.span.older] {
        if !overlap.is_empty() {
            stretches.push_back(overlap);
        }
    }
    Ok((Left::Stretches(VecDeque::new(), stretches), count.total))
}

fn of_keys(
    connection: &Connection,
    mut keys: VecDeque<i64>,
) -> Result<(Vec<Row>, Left), ReadError> {
    let rows = read(connection, &mut keys)?;
    let left = if keys.is_empty() {
        Left::Nothing
    } else {
        Left::Keys(keys)
    };
    Ok((rows, left))
}

fn of_stretches(
    connection: &Connection,
    filter: &Filter,
    mut keys: VecDeque<i64>,
    mut stretches: VecDeque<Keys>,
) -> Result<(Vec<Row>, Left), ReadError> {
    if keys.is_empty() {
        keys = next_keys(connection, filter, &mut stretches)?.into();
    }
    let rows = read(connection, &mut keys)?;
    let left = if keys.is_empty() && stretches.is_empty() {
        Left::Nothing
    } else {
        Left::Stretches(keys, stretches)
    };
    Ok((rows, left))
}

/// The keys of a chunk, from the first of the stretches.
fn next_keys(
    connection: &Connection,
    filter: &Filter,
    stretches: &mut VecDeque<Keys>,
) -> Result<Vec<i64>, ReadError> {
    // Names are looked up again each time: new ones may have come, and ids are cheap to find.
    let numbers = Numbers::of(connection, filter)?;
    let walk = Walk::along(connection, &numbers, Way::Scan)?;
    let mut keys = Vec::new();
    while let Some(stretch) = stretches.pop_front() {
        let wanted = CHUNK_ROWS - keys.len();
        let before = keys.len();
        walk.newest(stretch, wanted, &mut keys)?;
        if keys.len() - before == wanted {
            let rest = stretch.below(keys.last().copied().unwrap_or(stretch.to));
            if !rest.is_empty() {
                stretches.push_front(rest);
            }
            break;
        }
    }
    Ok(keys)
}

/// The rows with the first of these keys, which are taken away; one that retention has taken meanwhile is left out.
fn read(connection: &Connection, keys: &mut VecDeque<i64>) -> Result<Vec<Row>, ReadError> {
    let mut all = expand::Rows::new(connection)?;
    let (mut rows, mut budget) = (Vec::new(), Budget::page());
    while rows.len() < CHUNK_ROWS
        && let Some(&key) = keys.front()
    {
        if let Some(row) = all.get(key)? {
            if !budget.takes(&row) {
                break;
            }
            rows.push(row);
        }
        keys.pop_front();
    }
    Ok(rows)
}
