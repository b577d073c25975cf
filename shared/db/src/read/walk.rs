//! Visits the rows of a filter along a way, with statements whose plan is fixed.

use std::cell::RefCell;
use std::ops::ControlFlow;

use rusqlite::{Connection, Row, params_from_iter};

use super::ReadError;
use super::numbers::{Keys, Known, Numbers};
use super::plan::{self, Way};
use super::search::{self, Search};
use super::sql::{Sql, json, one_of};
use super::tally::{Piece, Tally};
use super::verify;

/// Which rows a statement visits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Visit<'a> {
    /// In key order.
    InOrder,
    /// The partial index on rows longer than the folding window. It tells by itself how far each reaches: these rows lie a
    /// page each, and nearly all of them ended long before.
    Long,
    /// Of these objects.
    Objects(&'a [i64]),
    /// Of these rare types.
    Types(&'a [i64]),
    /// Of these rare severities.
    Severities(&'a [i64]),
}

/// What to do after a row.
pub(super) type Flow = Result<ControlFlow<()>, ReadError>;

/// Runs one filter.
pub(super) struct Walk<'a> {
    pub(super) connection: &'a Connection,
    pub(super) numbers: &'a Numbers,
    pub(super) way: Way,
    search: Option<RefCell<Search<'a>>>,
}

impl<'a> Walk<'a> {
    /// Along the way that [`plan`] chooses.
    pub(super) fn new(connection: &'a Connection, numbers: &'a Numbers) -> Result<Self, ReadError> {
        Self::along(connection, numbers, plan::choose(connection, numbers)?)
    }

    pub(super) fn along(
        connection: &'a Connection,
        numbers: &'a Numbers,
        way: Way,
    ) -> Result<Self, ReadError> {
        let search = match &numbers.search {
            Some(text) => Some(RefCell::new(Search::new(connection, text)?)),
            None => None,
        };
        Ok(Self {
            connection,
            numbers,
            way,
            search,
        })
    }

    /// Calls `each` with every row that matches: its key in column 0, then `columns`. In no order.
    pub(super) fn visit(
        &self,
        columns: &str,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let span = self.numbers.span;
        let columns = format!("e.key, {columns}");
        if !span.main.is_empty() {
            let mut rows = 0;
            self.visit_keys(&columns, span.main, &mut |row| {
                rows += 1;
                each(row)
            })?;
            self.verify(rows)?;
        }
        for (visit, keys) in [(Visit::InOrder, span.window), (Visit::Long, span.older)] {
            if !keys.is_empty() {
                let sql = self.select(&columns, visit, keys, true);
                self.each(&sql, &mut |row| each(row).map(ControlFlow::Continue))?;
            }
        }
        Ok(())
    }

    /// As many rows were found in the main range as the counters know, where they can count.
    pub(super) fn verify(&self, rows: u64) -> Result<(), ReadError> {
        let main = self.numbers.span.main;
        if self.numbers.is_tallied() {
            let mut pieces = Tally::new(self.connection, self.numbers)?.pieces(main)?;
            let is_certain = pieces.iter().all(|piece| piece.matched.is_some());
            if rows != self.matched(&mut pieces)? {
                return Err(ReadError::INCONSISTENT);
            }
            if is_certain {
                return Ok(());
            }
        }
        verify::way(self.connection, &self.way, main)
    }

    /// How many rows of all pieces match. Parts of an hour are counted.
    pub(super) fn matched(&self, pieces: &mut [Piece]) -> Result<u64, ReadError> {
        let mut sum = 0;
        for piece in pieces {
            let rows = match piece.matched {
                Some(rows) => rows,
                None => self.count(Visit::InOrder, piece.keys, false)?,
            };
            piece.matched = Some(rows);
            sum += rows;
        }
        Ok(sum)
    }

    /// The rows of the filter's main range, along the way, in no order.
    pub(super) fn visit_keys(
        &self,
        columns: &str,
        keys: Keys,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let (visit, mut runs) = match &self.way {
            Way::Scan | Way::Hours => (Visit::InOrder, 1),
            Way::Objects(ids) => (Visit::Objects(ids), ids.len()),
            Way::Types(codes) => (Visit::Types(codes), codes.len()),
            Way::Severities(codes) => (Visit::Severities(codes), codes.len()),
        };
        let sql = self.select(columns, visit, keys, false);
        let mut last = None;
        self.each(&sql, &mut |row| {
            // Keys ascend within each number that the index is asked for. A page in the place of another gives another
            // order, and one in a circle gives keys without an end.
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

    /// Whether the row with this key is there and matches.
    pub(super) fn has(&self, key: i64) -> Result<bool, ReadError> {
        let span = self.numbers.span;
        if key >= span.main.to {
            return Ok(false);
        }
        let one = Keys {
            from: key,
            to: key.saturating_add(1),
        };
        let sql = self.select("e.key", Visit::InOrder, one, key < span.main.from);
        let mut found = false;
        self.each(&sql, &mut |_| {
            found = true;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// Appends the newest `wanted` keys of one stretch, which lies within one part of the filter's time.
    pub(super) fn newest(
        &self,
        stretch: Keys,
        wanted: usize,
        into: &mut Vec<i64>,
    ) -> Result<(), ReadError> {
        let span = self.numbers.span;
        let overlap = stretch.from < span.main.from;
        let is_older = overlap && !span.older.is_empty() && stretch.to <= span.older.to;
        let visit = if is_older {
            Visit::Long
        } else {
            Visit::InOrder
        };
        let mut sql = self.select("e.key", visit, stretch, overlap);
        sql.push(" ORDER BY e.key DESC");
        let enough = into.len() + wanted;
        let mut below = stretch.to;
        self.each(&sql, &mut |row| {
            let key = row.get(0)?;
            if key >= below || key < stretch.from {
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

    /// A statement whose plan is fixed: the index is named, and every other term is hidden from the planner. What a search
    /// judges by comes last.
    pub(super) fn select(&self, columns: &str, visit: Visit<'_>, keys: Keys, overlap: bool) -> Sql {
        let mut sql = Sql::new(format!("SELECT {columns}"));
        if self.search.is_some() {
            sql.push(", ").push(search::COLUMNS);
        }
        sql.push(" FROM event e ");
        let mut known = Known::Nothing;
        match visit {
            Visit::InOrder => {
                sql.push("NOT INDEXED WHERE 1");
            }
            Visit::Long => {
                sql.push("INDEXED BY idx_events_long WHERE e.last_offset_ms > 600000");
            }
            Visit::Objects(ids) => {
                known = Known::Object;
                sql.push(
                    "INDEXED BY idx_events_object WHERE e.object IN (SELECT value FROM json_each(",
                )
                .bind(json(ids.iter().copied()))
                .push("))");
            }
            // The terms of the partial indexes must be there word for word, or the index is not allowed.
            Visit::Types(codes) => {
                sql.push("INDEXED BY idx_events_type WHERE e.type <> 0 AND ")
                    .push(&one_of("e.type", codes));
            }
            Visit::Severities(codes) => {
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
                .bind(self.numbers.span.since_ms);
        }
        sql.append(&self.numbers.condition(known));
        sql
    }

    /// Calls `each` with every row that matches, until it breaks.
    pub(super) fn each(
        &self,
        sql: &Sql,
        each: &mut dyn FnMut(&Row<'_>) -> Flow,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(&sql.text)?;
        let first = statement.column_count().saturating_sub(4);
        let mut rows = statement.query(params_from_iter(&sql.values))?;
        while let Some(row) = rows.next()? {
            if let Some(search) = &self.search
                && !search.borrow_mut().has(row, first)?
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
    pub(super) fn count(
        &self,
        visit: Visit<'_>,
        keys: Keys,
        overlap: bool,
    ) -> Result<u64, ReadError> {
        let mut count = 0;
        if self.search.is_some() {
            let sql = self.select("e.key", visit, keys, overlap);
            self.each(&sql, &mut |_| {
                count += 1;
                Ok(ControlFlow::Continue(()))
            })?;
            return Ok(count);
        }
        let sql = self.select("count(*)", visit, keys, overlap);
        self.each(&sql, &mut |row| {
            count = u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(count)
    }
}
