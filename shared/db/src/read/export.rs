//! All rows of a filter, newest first, in chunks: memory is constant, and each chunk is its own short read transaction, so
//! that the recorder can checkpoint its WAL.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::count_index::CountIndex;
use super::filter::Filter;
use super::limits::PageBudget;
use super::open::Reader;
use super::page_builder::PageBuilder;
use super::plan::AccessPath;
use super::resolve::{KeyRange, ResolvedFilter};
use super::row::Row;
use super::row_scan::RowScan;
use super::{ReadError, decode, verify};

/// Rows of a chunk; fewer if they exceed the bytes of a page.
const CHUNK_ROWS: usize = 1_000;
/// Up to this many rows, found by an index, the export keeps all keys in memory, 8 bytes each.
const KEYS_MAX: u64 = 500_000;

/// An export in progress.
#[derive(Debug)]
pub struct Export<'r> {
    reader: &'r Reader,
    filter: Filter,
    remaining: Remaining,
    total: u64,
    /// Rows returned so far.
    returned: u64,
    /// [`Reader::data_version`] at the start.
    version: i64,
}

/// What is still to be read.
#[derive(Debug)]
enum Remaining {
    /// These keys.
    Keys(VecDeque<i64>),
    /// These keys, then the rows of these ranges, newest first.
    Ranges(VecDeque<i64>, VecDeque<KeyRange>),
    Nothing,
}

impl Reader {
    /// Starts an export. Rows that are committed or deleted during the export may be missing from it.
    pub fn export(&self, filter: &Filter) -> Result<Export<'_>, ReadError> {
        let version = self.data_version()?;
        let (remaining, total) = self.snapshot(|connection| start(connection, filter))?;
        Ok(Export {
            reader: self,
            filter: filter.clone(),
            remaining,
            total,
            returned: 0,
            version,
        })
    }
}

impl Export<'_> {
    /// Number of matching rows at the start.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The next rows; `None` after the last. A chunk may be empty if a long range has no match.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Row>>, ReadError> {
        let filter = &self.filter;
        let remaining = std::mem::replace(&mut self.remaining, Remaining::Nothing);
        let (rows, remaining) = match remaining {
            // Either a commit deleted the missing rows, or the file is damaged.
            Remaining::Nothing
                if self.returned < self.total && self.reader.data_version()? == self.version =>
            {
                return Err(ReadError::INCONSISTENT);
            }
            Remaining::Nothing => return Ok(None),
            Remaining::Keys(keys) => self
                .reader
                .snapshot(|connection| read_keys(connection, keys))?,
            Remaining::Ranges(keys, ranges) => self
                .reader
                .snapshot(|connection| read_ranges(connection, filter, keys, ranges))?,
        };
        self.remaining = remaining;
        self.returned += rows.len() as u64;
        Ok(Some(rows))
    }
}

fn start(connection: &Connection, filter: &Filter) -> Result<(Remaining, u64), ReadError> {
    let resolved = ResolvedFilter::new(connection, filter)?;
    if resolved.matches_nothing {
        return Ok((Remaining::Nothing, 0));
    }
    let mut scan = RowScan::new(connection, &resolved)?;
    let mut count = PageBuilder::new(i64::MIN, 0, 0);
    scan.fill_page(&mut count)?;
    verify::check_access_path(connection, &scan.access_path, resolved.ranges.main)?;
    let is_indexed = !matches!(scan.access_path, AccessPath::Scan | AccessPath::Hours);
    if is_indexed && count.total <= KEYS_MAX {
        let all = usize::try_from(count.total).unwrap_or(usize::MAX);
        let mut page = PageBuilder::new(i64::MAX, 0, all);
        scan.fill_page(&mut page)?;
        return Ok((Remaining::Keys(page.keys.into()), page.total));
    }
    if is_indexed {
        scan.access_path = AccessPath::Scan;
        verify::check_rows(connection, resolved.ranges.main)?;
    }
    let mut ranges = VecDeque::new();
    if scan.access_path == AccessPath::Hours {
        let buckets = CountIndex::new(connection, &resolved)?.buckets(resolved.ranges.main)?;
        ranges.extend(buckets.iter().map(|bucket| bucket.keys));
    } else {
        ranges.push_back(resolved.ranges.main);
    }
    for overlap in [resolved.ranges.window, resolved.ranges.older] {
        if !overlap.is_empty() {
            ranges.push_back(overlap);
        }
    }
    Ok((Remaining::Ranges(VecDeque::new(), ranges), count.total))
}

fn read_keys(
    connection: &Connection,
    mut keys: VecDeque<i64>,
) -> Result<(Vec<Row>, Remaining), ReadError> {
    let rows = read(connection, &mut keys)?;
    let remaining = if keys.is_empty() {
        Remaining::Nothing
    } else {
        Remaining::Keys(keys)
    };
    Ok((rows, remaining))
}

fn read_ranges(
    connection: &Connection,
    filter: &Filter,
    mut keys: VecDeque<i64>,
    mut ranges: VecDeque<KeyRange>,
) -> Result<(Vec<Row>, Remaining), ReadError> {
    if keys.is_empty() {
        keys = next_keys(connection, filter, &mut ranges)?.into();
    }
    let rows = read(connection, &mut keys)?;
    let remaining = if keys.is_empty() && ranges.is_empty() {
        Remaining::Nothing
    } else {
        Remaining::Ranges(keys, ranges)
    };
    Ok((rows, remaining))
}

/// The keys of a chunk, from the first ranges.
fn next_keys(
    connection: &Connection,
    filter: &Filter,
    ranges: &mut VecDeque<KeyRange>,
) -> Result<Vec<i64>, ReadError> {
    // Resolve the filter again for each chunk: names may have been added, and the lookup is cheap.
    let resolved = ResolvedFilter::new(connection, filter)?;
    let scan = RowScan::with_access_path(connection, &resolved, AccessPath::Scan)?;
    let mut keys = Vec::new();
    while let Some(range) = ranges.pop_front() {
        let wanted = CHUNK_ROWS - keys.len();
        let before = keys.len();
        scan.newest_keys(range, wanted, &mut keys)?;
        if keys.len() - before == wanted {
            let rest = range.below(keys.last().copied().unwrap_or(range.to));
            if !rest.is_empty() {
                ranges.push_front(rest);
            }
            break;
        }
    }
    Ok(keys)
}

/// Removes keys from the front and reads their rows, as many as fit; skips rows that retention has deleted meanwhile.
fn read(connection: &Connection, keys: &mut VecDeque<i64>) -> Result<Vec<Row>, ReadError> {
    let mut reader = decode::RowReader::new(connection)?;
    let (mut rows, mut budget) = (Vec::new(), PageBudget::new());
    while rows.len() < CHUNK_ROWS
        && let Some(&key) = keys.front()
    {
        if let Some(row) = reader.get(key)? {
            if !budget.try_add(&row) {
                break;
            }
            rows.push(row);
        }
        keys.pop_front();
    }
    Ok(rows)
}
