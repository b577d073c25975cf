//! Counts without a scan, from the table `tally`.
//!
//! A range of keys is cut into pieces: whole days, whole hours at the edges, and at most two parts of an hour that are
//! counted row by row. The pieces are also the map by which a page skips the time in which nothing matches.

use rusqlite::{CachedStatement, Connection, Params};

use super::ReadError;
use super::numbers::{Keys, Numbers};
use super::sql::{json, one_of};
use super::verify;
use crate::id::EventKey;
use crate::schema::tally::{ALL, DAY, HOUR};

/// Scopes up to which the hours of each are looked for by key. With more, reading all of an hour's counters is as fast.
const SOUGHT_SCOPES_MAX: usize = 16;

/// A stretch of time, newest first in a list, with what is known of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) keys: Keys,
    /// About how many rows lie in it, of any kind. For a part of an hour: in the whole hour.
    pub(super) rows: u64,
    /// Rows that match; `None` for a part of an hour, until it is counted.
    pub(super) matched: Option<u64>,
    /// Whether it is a whole day, which the hours can divide.
    pub(super) is_day: bool,
}

/// What `tally` says of a range.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Newest first; stretches without rows are left out.
    pub(super) pieces: Vec<Piece>,
    /// All rows.
    pub(super) rows: u64,
    /// Rows in the filter's scopes, of any type and severity.
    pub(super) in_scope: u64,
    /// Rows of the filter's types, in any scope.
    pub(super) of_types: u64,
    /// Rows of the filter's severities, in any scope.
    pub(super) of_severities: u64,
    /// Rows that match in the whole range, where `pieces` is only the newest part of it.
    matched: Option<u64>,
}

/// What a page has to see of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Enough {
    /// So many matching rows,
    pub(super) rows: u64,
    /// below this key.
    pub(super) below: i64,
}

/// Row counts of one day or hour.
struct Unit {
    start: i64,
    rows: u64,
    matched: u64,
}

/// Asks `tally` for one filter. Holds the statements, since a page may ask for the hours of many days.
pub(super) struct Tally<'c> {
    connection: &'c Connection,
    days: CachedStatement<'c>,
    hours: CachedStatement<'c>,
    /// Whether `hours` is given the hours one by one.
    seeks: bool,
    /// Nothing is asked that `tally` knows, so that all rows match.
    counts_all: bool,
}

impl<'c> Tally<'c> {
    pub(super) fn new(connection: &'c Connection, numbers: &Numbers) -> Result<Self, ReadError> {
        verify::span(connection, DAY)?;
        let hours = hours(numbers);
        Ok(Self {
            connection,
            days: connection.prepare_cached(&days(numbers))?,
            hours: connection.prepare_cached(&hours.sql)?,
            seeks: hours.seeks,
            counts_all: asks_nothing(numbers),
        })
    }

    /// Surveys all of a range.
    pub(super) fn survey(&mut self, keys: Keys) -> Result<Survey, ReadError> {
        let (from, to) = seconds(keys);
        let mut survey = Survey::default();
        for day in self.days(from, to, &mut survey, None)? {
            self.divide(&day, (from, to), &mut survey)?;
        }
        Ok(survey)
    }

    /// Surveys a range as far as its newest rows need it. Of the whole record one counter a kind of row says the rest.
    pub(super) fn survey_newest(
        &mut self,
        keys: Keys,
        enough: Enough,
    ) -> Result<Survey, ReadError> {
        let is_all = keys.from == i64::MIN && keys.to == i64::MAX;
        if !is_all {
            return self.survey(keys);
        }
        let mut survey = Survey::default();
        let all = self.read_days((ALL, 0, 1), &mut survey, None)?;
        survey.matched = Some(all.iter().map(|unit| unit.matched).sum());
        let (from, to) = seconds(keys);
        for day in self.days(from, to, &mut Survey::default(), Some(enough))? {
            self.divide(&day, (from, to), &mut survey)?;
        }
        Ok(survey)
    }

    /// The day, or its hours where the range ends within it.
    fn divide(
        &mut self,
        day: &Unit,
        (from, to): (i64, i64),
        survey: &mut Survey,
    ) -> Result<(), ReadError> {
        let end = day.start + DAY;
        if from <= day.start && end <= to {
            survey.pieces.push(Piece {
                keys: keys_of(day.start, end),
                rows: day.rows,
                matched: Some(day.matched),
                is_day: true,
            });
        } else {
            let (from, to) = (from.max(day.start), to.min(end));
            survey.pieces.extend(self.between(from, to, day.rows)?);
        }
        Ok(())
    }

    /// The hours of a day in which something may match, newest first.
    pub(super) fn hours(&mut self, day: &Piece) -> Result<Vec<Piece>, ReadError> {
        let (from, to) = seconds(day.keys);
        self.between(from, to, day.rows)
    }

    /// About how many rows lie in a stretch of less than an hour: those of the hours that it touches.
    pub(super) fn rows_near(&self, keys: Keys) -> Result<u64, ReadError> {
        let (from, to) = seconds(keys);
        let rows: i64 = self.connection.query_row(
            "SELECT ifnull(sum(rows), 0) FROM tally WHERE span = ? AND start >= ? AND start < ?",
            (HOUR, from - from.rem_euclid(HOUR), to),
            |row| row.get(0),
        )?;
        Ok(to_u64(rows))
    }

    /// The hours of a stretch that lies within one day in which something matches, newest first; its ends may cut an hour.
    /// `day_rows` is how many rows the day has.
    fn between(&mut self, from: i64, to: i64, day_rows: u64) -> Result<Vec<Piece>, ReadError> {
        let first = from - from.rem_euclid(HOUR);
        let units = if self.seeks {
            let starts = (first..to).step_by(HOUR as usize);
            read_hours(&mut self.hours, [json(starts)])?
        } else {
            read_hours(&mut self.hours, [first, to])?
        };
        let piece = |unit: Unit| {
            let (start, end) = (unit.start.max(from), (unit.start + HOUR).min(to));
            Piece {
                keys: keys_of(start, end),
                rows: day_rows / 24,
                matched: (end - start == HOUR).then_some(unit.matched),
                is_day: false,
            }
        };
        Ok(units.into_iter().map(piece).collect())
    }

    /// Days that touch [from, to) and have rows, newest first; as many as are enough.
    fn days(
        &mut self,
        from: i64,
        to: i64,
        survey: &mut Survey,
        enough: Option<Enough>,
    ) -> Result<Vec<Unit>, ReadError> {
        self.read_days((DAY, from - from.rem_euclid(DAY), to), survey, enough)
    }

    fn read_days(
        &mut self,
        range: (i64, i64, i64),
        survey: &mut Survey,
        enough: Option<Enough>,
    ) -> Result<Vec<Unit>, ReadError> {
        let mut units: Vec<Unit> = Vec::new();
        let mut left = enough.map(|enough| enough.rows);
        let mut found = self.days.query(range)?;
        while left != Some(0)
            && let Some(row) = found.next()?
        {
            let number = |column| row.get::<_, i64>(column).map(to_u64);
            let (start, rows) = (row.get(0)?, number(1)?);
            in_order(&units, start)?;
            let matched = if self.counts_all { rows } else { number(2)? };
            units.push(Unit {
                start,
                rows,
                matched,
            });
            survey.rows += rows;
            survey.in_scope += number(3)?;
            survey.of_types += number(4)?;
            survey.of_severities += number(5)?;
            if let (Some(left), Some(enough)) = (&mut left, enough)
                && keys_of(start, start + DAY).to <= enough.below
            {
                *left = left.saturating_sub(matched);
            }
        }
        Ok(units)
    }
}

impl Survey {
    /// How many rows of the main range match, where the counters alone say: not where the range cuts an hour.
    pub(super) fn certain(&self, numbers: &Numbers) -> Option<u64> {
        let is_certain =
            numbers.is_tallied() && self.pieces.iter().all(|piece| piece.matched.is_some());
        is_certain.then(|| self.matched())
    }

    /// Sum of the matching rows.
    pub(super) fn matched(&self) -> u64 {
        self.matched
            .unwrap_or_else(|| self.pieces.iter().filter_map(|piece| piece.matched).sum())
    }
}

/// Counters come newest first, unless a page is in the place of another.
fn in_order(units: &[Unit], start: i64) -> Result<(), ReadError> {
    match units.last() {
        Some(last) if last.start < start => Err(ReadError::INCONSISTENT),
        _ => Ok(()),
    }
}

/// Hours with their matches, newest first.
fn read_hours(hours: &mut CachedStatement<'_>, which: impl Params) -> Result<Vec<Unit>, ReadError> {
    let mut units: Vec<Unit> = Vec::new();
    let mut found = hours.query(which)?;
    while let Some(row) = found.next()? {
        let (start, matched) = (row.get(0)?, to_u64(row.get(1)?));
        in_order(&units, start)?;
        match units.last_mut().filter(|unit| unit.start == start) {
            Some(unit) => {
                unit.matched += matched;
            }
            None => units.push(Unit {
                start,
                rows: 0,
                matched,
            }),
        }
    }
    Ok(units)
}

/// A statement for the counters of hours.
pub(super) struct Hours {
    pub(super) sql: String,
    /// It takes the hours as a JSON array, each of which is found by key; else the first and the end.
    pub(super) seeks: bool,
}

/// The counters of what matches: start and rows, newest hour first.
pub(super) fn hours(numbers: &Numbers) -> Hours {
    let seeks = numbers
        .scopes
        .as_ref()
        .is_some_and(|scopes| !scopes.is_empty() && scopes.len() <= SOUGHT_SCOPES_MAX);
    let which = if seeks {
        "start IN (SELECT value FROM json_each(?))"
    } else {
        "start >= ? AND start < ?"
    };
    let mut sql = format!("SELECT start, rows FROM tally WHERE span = {HOUR} AND {which}");
    // The unary plus: only where hours are sought one by one is the scope part of the key that is sought.
    let scope = if seeks { "scope" } else { "+scope" };
    for (column, set) in [
        (scope, &numbers.scopes),
        ("+type", &numbers.types),
        ("+severity", &numbers.severities),
    ] {
        if let Some(set) = set {
            sql.push_str(" AND ");
            sql.push_str(&one_of(column, set));
        }
    }
    sql.push_str(" ORDER BY start DESC");
    Hours { sql, seeks }
}

fn asks_nothing(numbers: &Numbers) -> bool {
    numbers.scopes.is_none() && numbers.types.is_none() && numbers.severities.is_none()
}

/// Sums by day. One pass in the table's own order answers every question, within SQLite.
pub(super) fn days(numbers: &Numbers) -> String {
    let allowed =
        |column: &str, set: &Option<Vec<i64>>| set.as_ref().map(|set| one_of(column, set));
    let terms = [
        allowed("scope", &numbers.scopes),
        allowed("type", &numbers.types),
        allowed("severity", &numbers.severities),
    ];
    let all: Vec<&str> = terms.iter().flatten().map(String::as_str).collect();
    let all = (!all.is_empty()).then(|| all.join(" AND "));
    let [scope, types, severities] = &terms;
    // What is not asked for costs nothing.
    let part = |term: &Option<String>| match term {
        Some(term) => format!("ifnull(sum(rows) FILTER (WHERE {term}), 0)"),
        None => "0".to_owned(),
    };
    format!(
        "SELECT start, sum(rows), {}, {}, {}, {} FROM tally \
         WHERE span = ? AND start >= ? AND start < ? GROUP BY start ORDER BY start DESC",
        part(&all),
        part(scope),
        part(types),
        part(severities),
    )
}

/// The seconds whose rows lie in `keys`, whose ends are the first keys of their seconds.
const fn seconds(keys: Keys) -> (i64, i64) {
    (
        EventKey::from_i64(keys.from).second(),
        EventKey::from_i64(keys.to).second(),
    )
}

const fn keys_of(from: i64, to: i64) -> Keys {
    Keys {
        from: EventKey::new(from, 0).as_i64(),
        to: EventKey::new(to, 0).as_i64(),
    }
}

fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
