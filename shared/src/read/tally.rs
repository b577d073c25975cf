//! Counts without a scan, from the table `tally`.
//!
//! A range of keys is cut into pieces: whole days, whole hours at the edges, and at most two parts of an hour that are
//! counted row by row. The pieces are also the map by which a page skips the time in which nothing matches.

use rusqlite::{CachedStatement, Connection, Rows};

use super::ReadError;
use super::numbers::{Keys, Numbers};
use super::sql::{json, one_of};
use crate::id::EventKey;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

/// Scopes up to which the hours of each are looked for by key. With more, reading all of an hour's counters is as fast.
const SOUGHT_SCOPES_MAX: usize = 16;

/// A stretch of time, newest first in a list, with what is known of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) keys: Keys,
    /// Rows in it, of any kind. For a part of an hour: of the whole hour.
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
}

/// Row counts of one day or hour.
struct Unit {
    start: i64,
    rows: u64,
    matched: u64,
}

/// Asks `tally` for one filter. Holds the statement, since a page may ask for the hours of many days.
pub(super) struct Tally<'c> {
    statement: CachedStatement<'c>,
    /// The same for given hours of few scopes.
    sought: Option<CachedStatement<'c>>,
    /// Nothing is asked that `tally` knows, so that all rows match.
    counts_all: bool,
}

impl<'c> Tally<'c> {
    pub(super) fn new(connection: &'c Connection, numbers: &Numbers) -> Result<Self, ReadError> {
        Ok(Self {
            statement: connection.prepare_cached(&select(numbers))?,
            sought: seek(numbers)
                .map(|sql| connection.prepare_cached(&sql))
                .transpose()?,
            counts_all: asks_nothing(numbers),
        })
    }

    /// Surveys a range.
    pub(super) fn survey(&mut self, keys: Keys) -> Result<Survey, ReadError> {
        let (from, to) = seconds(keys);
        let mut survey = Survey::default();
        for day in self.units(DAY, from, to, Some(&mut survey))? {
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
        }
        Ok(survey)
    }

    /// The hours of a day in which something may match, newest first.
    pub(super) fn hours(&mut self, day: &Piece) -> Result<Vec<Piece>, ReadError> {
        let (from, to) = seconds(day.keys);
        self.between(from, to, day.rows)
    }

    /// About how many rows lie in a stretch of less than an hour: those of the hours that it touches.
    pub(super) fn rows_near(&mut self, keys: Keys) -> Result<u64, ReadError> {
        let (from, to) = seconds(keys);
        let units = self.units(HOUR, from, to, None)?;
        Ok(units.iter().map(|unit| unit.rows).sum())
    }

    /// The hours of a stretch that lies within one day, newest first; its ends may cut an hour. `day_rows` is how many
    /// rows the day has.
    fn between(&mut self, from: i64, to: i64, day_rows: u64) -> Result<Vec<Piece>, ReadError> {
        let piece = |unit: Unit| {
            let (start, end) = (unit.start.max(from), (unit.start + HOUR).min(to));
            let whole = end - start == HOUR;
            // An hour in which nothing matches has no part in which something does.
            let matched = (whole || unit.matched == 0).then_some(unit.matched);
            Piece {
                keys: keys_of(start, end),
                rows: unit.rows,
                matched,
                is_day: false,
            }
        };
        let hours = match &mut self.sought {
            Some(sought) => {
                let first = from.div_euclid(HOUR);
                let starts = (first..(to + HOUR - 1).div_euclid(HOUR)).map(|hour| hour * HOUR);
                units(sought.query([json(starts)])?, day_rows / 24)?
            }
            None => self.units(HOUR, from, to, None)?,
        };
        Ok(hours.into_iter().map(piece).collect())
    }

    /// Days or hours that touch [from, to) and have rows, newest first.
    fn units(
        &mut self,
        span: i64,
        from: i64,
        to: i64,
        mut survey: Option<&mut Survey>,
    ) -> Result<Vec<Unit>, ReadError> {
        let mut found = self
            .statement
            .query((span, from.div_euclid(span) * span, to))?;
        let mut units: Vec<Unit> = Vec::new();
        while let Some(row) = found.next()? {
            let number = |column| {
                row.get::<_, i64>(column)
                    .map(|n| u64::try_from(n).unwrap_or(0))
            };
            let rows = number(1)?;
            let matched = if self.counts_all { rows } else { number(2)? };
            units.push(Unit {
                start: row.get(0)?,
                rows,
                matched,
            });
            if let Some(survey) = survey.as_deref_mut() {
                survey.rows += rows;
                survey.in_scope += number(3)?;
                survey.of_types += number(4)?;
                survey.of_severities += number(5)?;
            }
        }
        Ok(units)
    }
}

impl Survey {
    /// Sum of the matching rows.
    pub(super) fn matched(&self) -> u64 {
        self.pieces.iter().filter_map(|piece| piece.matched).sum()
    }
}

/// Hours with their matches alone; `rows` is about what each holds in all.
fn units(mut found: Rows<'_>, rows: u64) -> Result<Vec<Unit>, ReadError> {
    let mut units = Vec::new();
    while let Some(row) = found.next()? {
        units.push(Unit {
            start: row.get(0)?,
            rows,
            matched: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
        });
    }
    Ok(units)
}

/// Matches of given hours, where the filter names few scopes: each hour and scope is found by key.
pub(super) fn seek(numbers: &Numbers) -> Option<String> {
    let scopes = numbers
        .scopes
        .as_ref()
        .filter(|scopes| scopes.len() <= SOUGHT_SCOPES_MAX && !scopes.is_empty())?;
    let mut sql = format!(
        "SELECT start, sum(rows) FROM tally WHERE span = {HOUR} AND start IN (SELECT value FROM json_each(?)) AND {}",
        one_of("scope", scopes)
    );
    for (column, set) in [
        ("+type", &numbers.types),
        ("+severity", &numbers.severities),
    ] {
        if let Some(set) = set {
            sql.push_str(" AND ");
            sql.push_str(&one_of(column, set));
        }
    }
    sql.push_str(" GROUP BY start ORDER BY start DESC");
    Some(sql)
}

fn asks_nothing(numbers: &Numbers) -> bool {
    numbers.scopes.is_none() && numbers.types.is_none() && numbers.severities.is_none()
}

/// Sums by day or hour. One pass in the table's own order answers every question, within SQLite.
pub(super) fn select(numbers: &Numbers) -> String {
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
