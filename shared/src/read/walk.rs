//! Visits the rows of a filter along a way, with statements whose plan is fixed.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::ReadError;
use super::numbers::{Keys, Known, Numbers};
use super::plan::Way;
use super::sql::{Sql, json};
use super::verify;

/// Objects that are visited by a statement each; more of them share one statement.
const ONE_BY_ONE_MAX: usize = 64;

/// Which rows a statement visits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Visit<'a> {
    /// In key order.
    InOrder,
    /// The partial index on rows longer than the folding window. It tells by itself how far each reaches: these rows lie a
    /// page each, and nearly all of them ended long before.
    Long,
    /// Of one object: the statement's first value.
    Object,
    /// Of these objects.
    Objects(&'a [i64]),
    /// Of one rare type: the statement's first value.
    Type,
    /// Of one rare severity: the statement's first value.
    Severity,
}

/// What to do after a row.
pub(super) type Flow = Result<ControlFlow<()>, ReadError>;

/// Runs one filter.
pub(super) struct Walk<'a> {
    pub(super) connection: &'a Connection,
    pub(super) numbers: &'a Numbers,
    pub(super) way: Way,
    /// How many rows match in the main range, where the counters say.
    pub(super) matched: Option<u64>,
}

impl Walk<'_> {
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
            self.visit_keys(&columns, span.main, false, &mut |row| {
                rows += 1;
                each(row)
            })?;
            match self.matched {
                Some(matched) if rows == matched => {}
                Some(_) => return Err(ReadError::INCONSISTENT),
                None => verify::way(self.connection, &self.way, span.main)?,
            }
        }
        if !span.window.is_empty() {
            self.visit_keys(&columns, span.window, true, each)?;
        }
        if !span.older.is_empty() {
            let sql = self.select(&columns, Visit::Long, span.older, true);
            self.each(&sql, &mut |row| each(row).map(ControlFlow::Continue))?;
        }
        Ok(())
    }

    /// The rows of one part of the filter's time, along the way, in no order.
    pub(super) fn visit_keys(
        &self,
        columns: &str,
        keys: Keys,
        overlap: bool,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let (visit, values) = match &self.way {
            Way::Keys => (Visit::InOrder, None),
            Way::Objects(ids) if ids.len() > ONE_BY_ONE_MAX => {
                let sql = self.select(columns, Visit::Objects(ids), keys, overlap);
                return self.each(&sql, &mut |row| each(row).map(ControlFlow::Continue));
            }
            Way::Objects(ids) => (Visit::Object, Some(ids)),
            Way::Types(codes) => (Visit::Type, Some(codes)),
            Way::Severities(codes) => (Visit::Severity, Some(codes)),
        };
        let mut sql = self.select(columns, visit, keys, overlap);
        let Some(values) = values else {
            return self.ascending(&sql, keys, each);
        };
        for &value in values {
            sql.values[0] = Value::Integer(value);
            self.ascending(&sql, keys, each)?;
        }
        Ok(())
    }

    /// Calls `each` with every row of a statement that gives keys in their order. A page in the place of another gives
    /// another order, and one in a circle gives the same keys without an end.
    fn ascending(
        &self,
        sql: &Sql,
        keys: Keys,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut next = keys.from;
        self.each(sql, &mut |row| {
            let key: i64 = row.get(0)?;
            if key < next || key >= keys.to {
                return Err(ReadError::INCONSISTENT);
            }
            next = key.saturating_add(1);
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

    /// A statement whose plan is fixed: the index is named, and every other term is hidden from the planner.
    pub(super) fn select(&self, columns: &str, visit: Visit<'_>, keys: Keys, overlap: bool) -> Sql {
        let mut sql = Sql::new(format!("SELECT {columns} FROM event e "));
        let mut known = Known::Nothing;
        match visit {
            Visit::InOrder => {
                sql.push("NOT INDEXED WHERE 1");
            }
            Visit::Long => {
                sql.push("INDEXED BY idx_events_created WHERE e.last_ms > 600000");
            }
            Visit::Object => {
                known = Known::Object;
                sql.push("INDEXED BY idx_events_object WHERE e.object = ")
                    .bind(0);
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
            Visit::Type => {
                sql.push("INDEXED BY idx_events_type WHERE e.type <> 0 AND e.type = ")
                    .bind(0);
            }
            Visit::Severity => {
                sql.push("INDEXED BY idx_events_severity WHERE e.severity >= 2 AND e.severity = ")
                    .bind(0);
            }
        }
        sql.push(" AND e.key >= ")
            .bind(keys.from)
            .push(" AND e.key < ")
            .bind(keys.to);
        if overlap {
            sql.push(" AND (e.key >> 24) * 1000 + e.last_ms >= ")
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
        let mut rows = statement.query(params_from_iter(&sql.values))?;
        while let Some(row) = rows.next()? {
            if each(row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The number that a statement gives.
    pub(super) fn number(&self, sql: &Sql) -> Result<u64, ReadError> {
        let number: i64 = self
            .connection
            .prepare(&sql.text)?
            .query_row(params_from_iter(&sql.values), |row| row.get(0))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }
}
