//! Counts without a scan, from the table `tally`.
//!
//! A range of keys is cut into pieces: whole days, whole hours at the edges, and at most two parts of an hour that are
//! counted row by row. The pieces are also the map by which a page skips the time in which nothing matches.

use rusqlite::Connection;

use super::ReadError;
use super::numbers::{Keys, Numbers};
use crate::id::EventKey;

pub(super) const DAY: i64 = 86_400;
pub(super) const HOUR: i64 = 3_600;

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
    /// Rows by type code.
    pub(super) by_type: [u64; 6],
    /// Rows by severity code.
    pub(super) by_severity: [u64; 4],
}

/// Row counts of one day or hour.
struct Unit {
    start: i64,
    rows: u64,
    matched: u64,
}

impl Survey {
    /// Surveys the filter's main range.
    pub(super) fn of(connection: &Connection, numbers: &Numbers) -> Result<Self, ReadError> {
        let (from, to) = seconds(numbers.span.main);
        let mut survey = Self::default();
        let days = units(connection, numbers, DAY, from, to, Some(&mut survey))?;
        for day in days {
            let end = day.start + DAY;
            if from <= day.start && end <= to {
                survey.pieces.push(Piece {
                    keys: keys(day.start, end),
                    rows: day.rows,
                    matched: Some(day.matched),
                    is_day: true,
                });
            } else {
                survey.pieces.extend(hours(
                    connection,
                    numbers,
                    from.max(day.start),
                    to.min(end),
                )?);
            }
        }
        Ok(survey)
    }

    /// Sum of the matching rows.
    pub(super) fn matched(&self) -> u64 {
        self.pieces.iter().filter_map(|piece| piece.matched).sum()
    }
}

/// The hours of a stretch that lies within one day, newest first; its ends may cut an hour.
pub(super) fn hours(
    connection: &Connection,
    numbers: &Numbers,
    from: i64,
    to: i64,
) -> Result<Vec<Piece>, ReadError> {
    let units = units(connection, numbers, HOUR, from, to, None)?;
    let piece = |unit: Unit| {
        let (start, end) = (unit.start.max(from), (unit.start + HOUR).min(to));
        let whole = end - start == HOUR;
        // An hour in which nothing matches has no part in which something does.
        let matched = (whole || unit.matched == 0).then_some(unit.matched);
        Piece {
            keys: keys(start, end),
            rows: unit.rows,
            matched,
            is_day: false,
        }
    };
    Ok(units.into_iter().map(piece).collect())
}

/// Days or hours that touch [from, to) and have rows, newest first.
fn units(
    connection: &Connection,
    numbers: &Numbers,
    span: i64,
    from: i64,
    to: i64,
    mut survey: Option<&mut Survey>,
) -> Result<Vec<Unit>, ReadError> {
    // Rows of the table's own order; which of them match is decided here, since one pass answers several questions.
    let mut statement = connection.prepare(
        "SELECT start, scope, type, severity, rows FROM tally WHERE span = ? AND start >= ? AND start < ? \
         ORDER BY start DESC, scope DESC, type DESC, severity DESC",
    )?;
    let mut found = statement.query((span, from.div_euclid(span) * span, to))?;
    let allows =
        |set: &Option<Vec<i64>>, value: i64| set.as_ref().is_none_or(|set| set.contains(&value));
    let mut units: Vec<Unit> = Vec::new();
    while let Some(row) = found.next()? {
        let (start, scope): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (kind, severity): (i64, i64) = (row.get(2)?, row.get(3)?);
        let rows = u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0);
        let in_scope = numbers
            .scopes
            .as_ref()
            .is_none_or(|scopes| scopes.binary_search(&scope).is_ok());
        let matched =
            in_scope && allows(&numbers.types, kind) && allows(&numbers.severities, severity);
        if units.last().is_none_or(|unit| unit.start != start) {
            units.push(Unit {
                start,
                rows: 0,
                matched: 0,
            });
        }
        if let Some(unit) = units.last_mut() {
            unit.rows += rows;
            unit.matched += if matched { rows } else { 0 };
        }
        if let Some(survey) = survey.as_deref_mut() {
            survey.rows += rows;
            survey.in_scope += if in_scope { rows } else { 0 };
            count(&mut survey.by_type, kind, rows);
            count(&mut survey.by_severity, severity, rows);
        }
    }
    Ok(units)
}

fn count(counts: &mut [u64], code: i64, rows: u64) {
    if let Some(count) = usize::try_from(code)
        .ok()
        .and_then(|code| counts.get_mut(code))
    {
        *count += rows;
    }
}

/// The seconds whose rows lie in `keys`, whose ends are the first keys of their seconds.
pub(super) const fn seconds(keys: Keys) -> (i64, i64) {
    (
        EventKey::from_i64(keys.from).second(),
        EventKey::from_i64(keys.to).second(),
    )
}

fn keys(from: i64, to: i64) -> Keys {
    Keys {
        from: EventKey::new(from, 0).as_i64(),
        to: EventKey::new(to, 0).as_i64(),
    }
}
