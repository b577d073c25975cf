//! Walks the chosen way and gathers the keys of a page and the number of all rows.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Statement, params_from_iter};

use super::ReadError;
use super::numbers::{Keys, Known, Numbers};
use super::plan::Way;
use super::search::Tester;
use super::sql::Sql;
use super::tally::{Piece, Survey, Tally};

/// Days with fewer rows, or with one match in this many rows or fewer, are scanned whole: asking for their hours would
/// cost more than it saves.
const SMALL_DAY_ROWS: u64 = 500;
const DENSE_ONE_IN: u64 = 4;

/// The keys of a page, newest first, and the number of all rows.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) keys: Vec<i64>,
    pub(super) total: u64,
    /// Rows still to be left out before the page begins.
    skip: u64,
    take: usize,
    /// The page lies below this key.
    below: i64,
}

impl Found {
    pub(super) const fn new(below: i64, skip: u64, take: usize) -> Self {
        Self {
            keys: Vec::new(),
            total: 0,
            skip,
            take,
            below,
        }
    }

    fn is_full(&self) -> bool {
        self.keys.len() >= self.take
    }

    fn wanted(&self) -> usize {
        self.take - self.keys.len()
    }

    /// The next key in descending order; its row is counted already.
    fn offer(&mut self, key: i64) {
        if key >= self.below || self.is_full() {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            self.keys.push(key);
        }
    }
}

/// Which rows a statement visits.
#[derive(Debug, Clone, Copy)]
enum Visit {
    InOrder,
    /// The partial index on rows longer than the folding window.
    Long,
    Object,
    Type,
    Severity,
}

/// Runs one filter.
pub(super) struct Walk<'a> {
    pub(super) connection: &'a Connection,
    pub(super) numbers: &'a Numbers,
    pub(super) way: Way,
}

impl Walk<'_> {
    /// Fills `found`: rows created in the range, then older ones that reach into it. That is descending key order.
    pub(super) fn run(
        &self,
        tally: &mut Tally<'_>,
        survey: &mut Survey,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        let span = self.numbers.span;
        if !span.main.is_empty() {
            if self.numbers.is_tallied() {
                self.tallied(tally, survey, found)?;
            } else {
                self.counted(span.main, false, found)?;
            }
        }
        if !span.window.is_empty() {
            self.counted(span.window, true, found)?;
        }
        if !span.older.is_empty() {
            self.in_order(Visit::Long, span.older, true, found)?;
        }
        Ok(())
    }

    /// Calls `each` with every row that matches: its key in column 0, then `columns` from [`Self::first_column`] on.
    /// In no order.
    pub(super) fn visit(
        &self,
        columns: &str,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let span = self.numbers.span;
        let columns = format!("{}, {columns}", self.columns());
        if !span.main.is_empty() {
            self.visit_keys(&columns, span.main, false, each)?;
        }
        self.visit_overlapping(&columns, each)
    }

    /// Only the rows created before the range that reach into it.
    pub(super) fn visit_overlapping(
        &self,
        columns: &str,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let span = self.numbers.span;
        if !span.window.is_empty() {
            self.visit_keys(columns, span.window, true, each)?;
        }
        if !span.older.is_empty() {
            let sql = self.select(columns, Visit::Long, span.older, true);
            self.each_row(&sql, each)?;
        }
        Ok(())
    }

    fn visit_keys(
        &self,
        columns: &str,
        keys: Keys,
        overlap: bool,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Some((visit, values)) = self.entries() else {
            return self.each_row(&self.select(columns, Visit::InOrder, keys, overlap), each);
        };
        let mut sql = self.select(columns, visit, keys, overlap);
        let mut statement = self.connection.prepare(&sql.text)?;
        let mut tester = self.tester()?;
        for &value in values {
            // The value that the index is entered with is the statement's first.
            sql.values[0] = Value::Integer(value);
            let mut rows = statement.query(params_from_iter(&sql.values))?;
            while let Some(row) = rows.next()? {
                if tester
                    .as_mut()
                    .map_or(Ok(true), |tester| tester.matches(row))?
                {
                    each(row)?;
                }
            }
        }
        Ok(())
    }

    fn each_row(
        &self,
        sql: &Sql,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(&sql.text)?;
        let mut tester = self.tester()?;
        let mut rows = statement.query(params_from_iter(&sql.values))?;
        while let Some(row) = rows.next()? {
            if tester
                .as_mut()
                .map_or(Ok(true), |tester| tester.matches(row))?
            {
                each(row)?;
            }
        }
        Ok(())
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
        let sql = self.select(self.columns(), Visit::InOrder, one, key < span.main.from);
        let mut found = false;
        self.each_row(&sql, &mut |_| {
            found = true;
            Ok(())
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
        let long = !span.older.is_empty() && stretch.to <= span.older.to && overlap;
        let visit = if long { Visit::Long } else { Visit::InOrder };
        let mut sql = self.select(self.columns(), visit, stretch, overlap);
        sql.push(" ORDER BY e.key DESC");
        let enough = into.len() + wanted;
        self.each(&sql, |key| {
            into.push(key);
            if into.len() >= enough {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    /// Where the columns of [`Self::visit`] begin.
    pub(super) fn first_column(&self) -> usize {
        if self.numbers.search.is_some() {
            Tester::COLUMN_COUNT
        } else {
            1
        }
    }

    /// The index that the way enters, and with which values; `None` in key order.
    fn entries(&self) -> Option<(Visit, &[i64])> {
        match &self.way {
            Way::Keys => None,
            Way::Objects(ids) => Some((Visit::Object, ids)),
            Way::Types(codes) => Some((Visit::Type, codes)),
            Way::Severities(codes) => Some((Visit::Severity, codes)),
        }
    }

    /// The tally counts, and shows where to look.
    fn tallied(
        &self,
        tally: &mut Tally<'_>,
        survey: &mut Survey,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        for piece in survey
            .pieces
            .iter_mut()
            .filter(|piece| piece.matched.is_none())
        {
            piece.matched = Some(self.count(piece.keys)?);
        }
        let matched = survey.matched();
        found.total += matched;
        if self.way == Way::Keys {
            let mut sql = self.select("e.key", Visit::InOrder, self.numbers.span.main, false);
            sql.push(" ORDER BY e.key DESC LIMIT ").bind(0);
            sql.push(" OFFSET ").bind(0);
            let mut scan = self.connection.prepare(&sql.text)?;
            return scan_pieces(&survey.pieces, tally, &mut scan, &mut sql.values, found);
        }
        if found.below == i64::MAX && found.skip >= matched {
            found.skip -= matched;
            return Ok(());
        }
        let counted = found.total;
        self.counted(self.numbers.span.main.below(found.below), false, found)?;
        found.total = counted;
        Ok(())
    }

    /// Visits every row that the way leads to, counts and collects.
    fn counted(&self, keys: Keys, overlap: bool, found: &mut Found) -> Result<(), ReadError> {
        if self.way == Way::Keys {
            return self.in_order(Visit::InOrder, keys, overlap, found);
        }
        let keep = usize::try_from(found.skip)
            .unwrap_or(usize::MAX)
            .saturating_add(found.wanted());
        let mut newest = Newest::new(keep);
        let (mut total, below) = (0, found.below);
        self.visit_keys(self.columns(), keys, overlap, &mut |row| {
            total += 1;
            let key: i64 = row.get(0)?;
            if key < below {
                newest.push(key);
            }
            Ok(())
        })?;
        found.total += total;
        newest
            .into_descending()
            .into_iter()
            .for_each(|key| found.offer(key));
        Ok(())
    }

    /// Visits rows newest first; once the page is full the rest is only counted.
    fn in_order(
        &self,
        visit: Visit,
        keys: Keys,
        overlap: bool,
        found: &mut Found,
    ) -> Result<(), ReadError> {
        let mut rest = keys;
        if !found.is_full() || self.numbers.search.is_some() {
            let only_page = self.numbers.search.is_none();
            let mut sql = self.select(self.columns(), visit, keys, overlap);
            sql.push(" ORDER BY e.key DESC");
            self.each(&sql, |key| {
                found.total += 1;
                found.offer(key);
                rest.to = key;
                if only_page && found.is_full() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if !only_page || !found.is_full() {
                return Ok(());
            }
        }
        let sql = self.select("count(*)", visit, rest, overlap);
        found.total += self.number(&sql)?;
        Ok(())
    }

    fn count(&self, keys: Keys) -> Result<u64, ReadError> {
        self.number(&self.select("count(*)", Visit::InOrder, keys, false))
    }

    fn number(&self, sql: &Sql) -> Result<u64, ReadError> {
        let number: i64 = self
            .connection
            .prepare(&sql.text)?
            .query_row(params_from_iter(&sql.values), |row| row.get(0))?;
        Ok(u64::try_from(number).unwrap_or(0))
    }

    fn columns(&self) -> &'static str {
        if self.numbers.search.is_some() {
            Tester::COLUMNS
        } else {
            "e.key"
        }
    }

    fn tester(&self) -> Result<Option<Tester<'_>>, ReadError> {
        self.numbers
            .search
            .as_ref()
            .map(|search| Tester::new(self.connection, search))
            .transpose()
    }

    /// A statement whose plan is fixed: the index is named, and every other term is hidden from the planner.
    fn select(&self, columns: &str, visit: Visit, keys: Keys, overlap: bool) -> Sql {
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

    /// Calls `each` with the key of every row that matches, until it breaks.
    fn each(
        &self,
        sql: &Sql,
        mut each: impl FnMut(i64) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(&sql.text)?;
        let mut tester = self.tester()?;
        let mut rows = statement.query(params_from_iter(&sql.values))?;
        while let Some(row) = rows.next()? {
            if tester
                .as_mut()
                .map_or(Ok(true), |tester| tester.matches(row))?
                && each(row.get(0)?).is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

/// Fills the page from the pieces in which something matches. `scan` takes `values`: the range first, limit and offset
/// last.
fn scan_pieces(
    pieces: &[Piece],
    tally: &mut Tally<'_>,
    scan: &mut Statement<'_>,
    values: &mut [Value],
    found: &mut Found,
) -> Result<(), ReadError> {
    for piece in pieces {
        if found.is_full() {
            break;
        }
        let matched = piece.matched.unwrap_or(piece.rows);
        if matched == 0 || piece.keys.from >= found.below {
            continue;
        }
        let is_whole = piece.keys.to <= found.below;
        if is_whole && found.skip >= matched {
            found.skip -= matched;
            continue;
        }
        if piece.is_day && piece.rows > SMALL_DAY_ROWS && matched < piece.rows / DENSE_ONE_IN {
            let hours = tally.hours(piece.keys)?;
            scan_pieces(&hours, tally, scan, values, found)?;
            continue;
        }
        let keys = piece.keys.below(found.below);
        let last = values.len() - 1;
        values[0] = Value::Integer(keys.from);
        values[1] = Value::Integer(keys.to);
        values[last - 1] = Value::Integer(to_i64(found.wanted()));
        values[last] = Value::Integer(i64::try_from(found.skip).unwrap_or(i64::MAX));
        let mut rows = scan.query(params_from_iter(values.iter()))?;
        while let Some(row) = rows.next()? {
            found.keys.push(row.get(0)?);
        }
        found.skip = found.skip.saturating_sub(matched);
    }
    Ok(())
}

/// The `keep` greatest of many keys, in memory for about twice as many.
struct Newest {
    keep: usize,
    keys: Vec<i64>,
}

impl Newest {
    const fn new(keep: usize) -> Self {
        Self {
            keep,
            keys: Vec::new(),
        }
    }

    fn push(&mut self, key: i64) {
        self.keys.push(key);
        if self.keys.len() >= self.keep.saturating_mul(2).saturating_add(1024) {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.keep < self.keys.len() {
            self.keys.select_nth_unstable_by(self.keep, |a, b| b.cmp(a));
            self.keys.truncate(self.keep);
        }
    }

    fn into_descending(mut self) -> Vec<i64> {
        self.shrink();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_keeps_the_greatest_in_order() {
        let mut newest = Newest::new(3);
        (0..5000)
            .map(|i| (i * 7919) % 5003)
            .for_each(|key| newest.push(key));
        assert!(newest.keys.len() < 2000);
        let mut all: Vec<i64> = (0..5000).map(|i| (i * 7919) % 5003).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(newest.into_descending(), all[..3]);
    }
}
