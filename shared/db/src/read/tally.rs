//! Counts without a scan, from the table `tally`.
//!
//! A range of keys is cut into pieces: whole days, whole hours at the edges, and at most two parts of an hour that are
//! counted row by row. The pieces are also the map by which a page skips the time in which nothing matches.

use rusqlite::{CachedStatement, Connection};

use super::ReadError;
use super::numbers::{Keys, Numbers};
use super::sql::one_of;
use super::verify;
use crate::schema::bucket::{DAY, HOUR};
use kube9_model::id::EventKey;

/// A stretch of time in which something may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) keys: Keys,
    /// Rows that match; `None` for a part of an hour, until it is counted.
    pub(super) matched: Option<u64>,
    /// Whether it is a whole day, which the hours can divide.
    pub(super) is_day: bool,
}

/// Asks `tally` for one filter, which must name nothing but type, severity, scope and time.
pub(super) struct Tally<'c> {
    sums: CachedStatement<'c>,
}

impl<'c> Tally<'c> {
    pub(super) fn new(connection: &'c Connection, numbers: &Numbers) -> Result<Self, ReadError> {
        verify::days(connection)?;
        Ok(Self {
            sums: connection.prepare_cached(&sums(numbers))?,
        })
    }

    /// A range in pieces, newest first; stretches without a match are left out.
    pub(super) fn pieces(&mut self, keys: Keys) -> Result<Vec<Piece>, ReadError> {
        let (from, to) = seconds(keys);
        let mut pieces = Vec::new();
        for (start, matched) in self.sums(DAY, from, to)? {
            let end = start + DAY;
            if from <= start && end <= to {
                pieces.push(Piece {
                    keys: keys_of(start, end),
                    matched: Some(matched),
                    is_day: true,
                });
            } else {
                pieces.extend(self.between(start.max(from), end.min(to))?);
            }
        }
        Ok(pieces)
    }

    /// The hours of a day, newest first.
    pub(super) fn hours(&mut self, day: &Piece) -> Result<Vec<Piece>, ReadError> {
        let (from, to) = seconds(day.keys);
        self.between(from, to)
    }

    /// The hours of a stretch, newest first; its ends may cut an hour.
    fn between(&mut self, from: i64, to: i64) -> Result<Vec<Piece>, ReadError> {
        let piece = |(start, matched): (i64, u64)| {
            let (first, end) = (start.max(from), (start + HOUR).min(to));
            Piece {
                keys: keys_of(first, end),
                matched: (end - first == HOUR).then_some(matched),
                is_day: false,
            }
        };
        Ok(self.sums(HOUR, from, to)?.into_iter().map(piece).collect())
    }

    /// Start and matching rows of the days or hours that touch [from, to), newest first.
    fn sums(&mut self, span: i64, from: i64, to: i64) -> Result<Vec<(i64, u64)>, ReadError> {
        let mut sums: Vec<(i64, u64)> = Vec::new();
        let mut found = self
            .sums
            .query([span, from.saturating_sub(from.rem_euclid(span)), to])?;
        while let Some(row) = found.next()? {
            let start = row.get(0)?;
            // Counters come newest first, unless a page is in the place of another.
            if sums.last().is_some_and(|&(last, _)| last <= start) {
                return Err(ReadError::INCONSISTENT);
            }
            sums.push((start, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)));
        }
        Ok(sums)
    }
}

/// Sums of what matches by day or hour. One pass in the table's own order answers it.
pub(super) fn sums(numbers: &Numbers) -> String {
    let mut sql =
        "SELECT bucket_start, sum(rows) FROM row_counts WHERE bucket_seconds = ? AND bucket_start >= ? AND bucket_start < ?".to_owned();
    for (column, codes) in [
        ("scope", &numbers.scopes),
        ("type", &numbers.types),
        ("severity", &numbers.severities),
    ] {
        if let Some(codes) = codes {
            sql.push_str(" AND ");
            sql.push_str(&one_of(column, codes));
        }
    }
    sql.push_str(" GROUP BY bucket_start ORDER BY bucket_start DESC");
    sql
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
