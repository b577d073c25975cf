//! Scans the rows of a filter by an access path, with statements whose plan is fixed.

use std::cell::RefCell;
use std::ops::ControlFlow;

use rusqlite::{Connection, Row, params_from_iter};

use super::ReadError;
use super::count_index::{Bucket, CountIndex};
use super::plan::{self, AccessPath};
use super::resolve::{AlreadyFiltered, KeyRange, ResolvedFilter};
use super::search::{self, Search};
use super::sql::{Sql, json, one_of};
use super::verify;

/// The index that a statement uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum IndexHint<'a> {
    /// In key order.
    KeyOrder,
    /// The partial index of rows that span more than the fold window. It covers the end of each row: reading the rows
    /// themselves would cost a page each, and nearly all of them ended long before.
    Long,
    /// These objects.
    Objects(&'a [i64]),
    /// These rare types.
    Types(&'a [i64]),
    /// These rare severities.
    Severities(&'a [i64]),
}

/// Whether to continue after a row.
pub(super) type Flow = Result<ControlFlow<()>, ReadError>;

/// A scan for one filter.
pub(super) struct RowScan<'a> {
    pub(super) connection: &'a Connection,
    pub(super) filter: &'a ResolvedFilter,
    pub(super) access_path: AccessPath,
    search: Option<RefCell<Search<'a>>>,
}

impl<'a> RowScan<'a> {
    /// By the access path that [`plan`] chooses.
    pub(super) fn new(
        connection: &'a Connection,
        filter: &'a ResolvedFilter,
    ) -> Result<Self, ReadError> {
        Self::with_access_path(connection, filter, plan::choose(connection, filter)?)
    }

    pub(super) fn with_access_path(
        connection: &'a Connection,
        filter: &'a ResolvedFilter,
        access_path: AccessPath,
    ) -> Result<Self, ReadError> {
        let search = match &filter.search {
            Some(text) => Some(RefCell::new(Search::new(connection, text)?)),
            None => None,
        };
        Ok(Self {
            connection,
            filter,
            access_path,
            search,
        })
    }

    /// Calls `each` with every row that matches, in any order: its key in column 0, then `columns`.
    pub(super) fn for_each(
        &self,
        columns: &str,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let ranges = self.filter.ranges;
        let columns = format!("e.key, {columns}");
        if !ranges.main.is_empty() {
            let mut rows = 0;
            self.for_each_in(&columns, ranges.main, &mut |row| {
                rows += 1;
                each(row)
            })?;
            self.verify(rows)?;
        }
        for (hint, keys) in [
            (IndexHint::KeyOrder, ranges.window),
            (IndexHint::Long, ranges.older),
        ] {
            if !keys.is_empty() {
                let sql = self.select(&columns, hint, keys, true);
                self.run(&sql, &mut |row| each(row).map(ControlFlow::Continue))?;
            }
        }
        Ok(())
    }

    /// Fails unless the scan found as many rows in the main range as `row_counts` holds, where that can be compared.
    pub(super) fn verify(&self, rows: u64) -> Result<(), ReadError> {
        let main = self.filter.ranges.main;
        if self.filter.is_countable() {
            let mut buckets = CountIndex::new(self.connection, self.filter)?.buckets(main)?;
            let is_fully_counted = buckets.iter().all(|bucket| bucket.matched.is_some());
            if rows != self.count_matches(&mut buckets)? {
                return Err(ReadError::INCONSISTENT);
            }
            if is_fully_counted {
                return Ok(());
            }
        }
        verify::check_access_path(self.connection, &self.access_path, main)
    }

    /// How many rows of the buckets match; counts the rows of parts of an hour.
    pub(super) fn count_matches(&self, buckets: &mut [Bucket]) -> Result<u64, ReadError> {
        let mut sum = 0;
        for bucket in buckets {
            let rows = match bucket.matched {
                Some(rows) => rows,
                None => self.query_count(IndexHint::KeyOrder, bucket.keys, false)?,
            };
            bucket.matched = Some(rows);
            sum += rows;
        }
        Ok(sum)
    }

    /// As [`Self::for_each`], for keys of the main range.
    pub(super) fn for_each_in(
        &self,
        columns: &str,
        keys: KeyRange,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let (hint, mut runs) = match &self.access_path {
            AccessPath::Scan | AccessPath::Hours => (IndexHint::KeyOrder, 1),
            AccessPath::Objects(ids) => (IndexHint::Objects(ids), ids.len()),
            AccessPath::Types(codes) => (IndexHint::Types(codes), codes.len()),
            AccessPath::Severities(codes) => (IndexHint::Severities(codes), codes.len()),
        };
        let sql = self.select(columns, hint, keys, false);
        let mut last = None;
        self.run(&sql, &mut |row| {
            // Keys ascend within each value of the index. In a damaged file a page in the place of another changes the order,
            // and a cycle of pages never ends.
            let key: i64 = row.get(0)?;
            if last.is_some_and(|last| key <= last) {
                runs -= 1;
            }
            last = Some(key);
            if runs == 0 || key < keys.from || key >= keys.to {
                return Err(ReadError::INCONSISTENT);
            }
            each(row).map(ControlFlow::Continue)
        })
    }

    /// Whether the row with this key exists and matches.
    pub(super) fn contains(&self, key: i64) -> Result<bool, ReadError> {
        let ranges = self.filter.ranges;
        if key >= ranges.main.to {
            return Ok(false);
        }
        let one = KeyRange {
            from: key,
            to: key.saturating_add(1),
        };
        let sql = self.select("e.key", IndexHint::KeyOrder, one, key < ranges.main.from);
        let mut found = false;
        self.run(&sql, &mut |_| {
            found = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Appends the newest `wanted` keys of a range, which lies within one of the filter's [`TimeRanges`].
    ///
    /// [`TimeRanges`]: super::resolve::TimeRanges
    pub(super) fn newest_keys(
        &self,
        range: KeyRange,
        wanted: usize,
        into: &mut Vec<i64>,
    ) -> Result<(), ReadError> {
        let ranges = self.filter.ranges;
        let overlap = range.from < ranges.main.from;
        let is_older = overlap && !ranges.older.is_empty() && range.to <= ranges.older.to;
        let hint = if is_older {
            IndexHint::Long
        } else {
            IndexHint::KeyOrder
        };
        let mut sql = self.select("e.key", hint, range, overlap);
        sql.push(" ORDER BY e.key DESC");
        let enough = into.len() + wanted;
        let mut below = range.to;
        self.run(&sql, &mut |row| {
            let key = row.get(0)?;
            if key >= below || key < range.from {
                return Err(ReadError::INCONSISTENT);
            }
            below = key;
            into.push(key);
            Ok(if into.len() < enough {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })
    }

    /// A statement whose plan is fixed: the index is named, and every other term is hidden from the planner. The columns for
    /// a search come last.
    pub(super) fn select(
        &self,
        columns: &str,
        hint: IndexHint<'_>,
        keys: KeyRange,
        overlap: bool,
    ) -> Sql {
        let mut sql = Sql::new(format!("SELECT {columns}"));
        if self.search.is_some() {
            sql.push(", ").push(search::COLUMNS);
        }
        sql.push(" FROM event e ");
        let mut filtered = AlreadyFiltered::Nothing;
        match hint {
            IndexHint::KeyOrder => {
                sql.push("NOT INDEXED WHERE 1");
            }
            IndexHint::Long => {
                sql.push("INDEXED BY idx_events_long WHERE e.last_offset_ms > 600000");
            }
            IndexHint::Objects(ids) => {
                filtered = AlreadyFiltered::Object;
                sql.push(
                    "INDEXED BY idx_events_object WHERE e.object IN (SELECT value FROM json_each(",
                )
                .bind(json(ids.iter().copied()))
                .push("))");
            }
            // SQLite uses a partial index only if its WHERE term occurs verbatim.
            IndexHint::Types(codes) => {
                sql.push("INDEXED BY idx_events_type WHERE e.type BETWEEN 1 AND 5 AND ")
                    .push(&one_of("e.type", codes));
            }
            IndexHint::Severities(codes) => {
                sql.push("INDEXED BY idx_events_severity WHERE e.severity >= 2 AND ")
                    .push(&one_of("e.severity", codes));
            }
        }
        sql.push(" AND e.key >= ")
            .bind(keys.from)
            .push(" AND e.key < ")
            .bind(keys.to);
        if overlap {
            sql.push(" AND (e.key >> 24) * 1000 + e.last_offset_ms >= ")
                .bind(self.filter.ranges.since_ms);
        }
        sql.append(&self.filter.condition(filtered));
        sql
    }

    /// Runs a statement of [`Self::select`]: calls `each` with every row that matches, until it breaks.
    pub(super) fn run(
        &self,
        sql: &Sql,
        each: &mut dyn FnMut(&Row<'_>) -> Flow,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let first = statement.column_count().saturating_sub(4);
        let mut rows = statement.query(params_from_iter(&sql.values))?;
        while let Some(row) = rows.next()? {
            if let Some(search) = &self.search
                && !search.borrow_mut().matches(row, first)?
            {
                continue;
            }
            if each(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// How many rows match.
    pub(super) fn query_count(
        &self,
        hint: IndexHint<'_>,
        keys: KeyRange,
        overlap: bool,
    ) -> Result<u64, ReadError> {
        let mut count = 0;
        if self.search.is_some() {
            let sql = self.select("e.key", hint, keys, overlap);
            self.run(&sql, &mut |_| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })?;
            return Ok(count);
        }
        let sql = self.select("count(*)", hint, keys, overlap);
        self.run(&sql, &mut |row| {
            count = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(count)
    }
}
