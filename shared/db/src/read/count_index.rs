//! Counts without a scan, from the table `row_counts`.
//!
//! A range of keys is divided into buckets: whole days, whole hours at the edges, and at most two parts of an hour, whose rows
//! must be counted. A page uses the buckets to skip time in which no row matches.

use rusqlite::{CachedStatement, Connection};

use super::ReadError;
use super::resolve::{KeyRange, ResolvedFilter};
use super::sql::one_of;
use super::verify;
use crate::schema::bucket::{DAY, HOUR};
use kube9_model::id::EventKey;

/// A range of time in which rows may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) keys: KeyRange,
    /// Rows that match; `None` for part of an hour until they are counted.
    pub(super) matched: Option<u64>,
    /// Whether it is a whole day, which can be divided into hours.
    pub(super) is_day: bool,
}

/// Queries `row_counts` for one filter, which must be [countable](ResolvedFilter::is_countable).
pub(super) struct CountIndex<'c> {
    sums: CachedStatement<'c>,
}

impl<'c> CountIndex<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        resolved: &ResolvedFilter,
    ) -> Result<Self, ReadError> {
        verify::check_day_counts(connection)?;
        Ok(Self {
            sums: connection.prepare_cached(&sums_sql(resolved))?,
        })
    }

    /// The buckets of a range in which rows match, newest first.
    pub(super) fn buckets(&mut self, keys: KeyRange) -> Result<Vec<Bucket>, ReadError> {
        let (from, to) = seconds(keys);
        let mut buckets = Vec::new();
        for (start, matched) in self.sums(DAY, from, to)? {
            let end = start + DAY;
            if from <= start && end <= to {
                buckets.push(Bucket {
                    keys: keys_of(start, end),
                    matched: Some(matched),
                    is_day: true,
                });
            } else {
                buckets.extend(self.hours_between(start.max(from), end.min(to))?);
            }
        }
        Ok(buckets)
    }

    /// The hours of a day, newest first.
    pub(super) fn hours(&mut self, day: &Bucket) -> Result<Vec<Bucket>, ReadError> {
        let (from, to) = seconds(day.keys);
        self.hours_between(from, to)
    }

    /// The hours of a range, newest first; its ends may cut an hour.
    fn hours_between(&mut self, from: i64, to: i64) -> Result<Vec<Bucket>, ReadError> {
        let bucket = |(start, matched): (i64, u64)| {
            let (first, end) = (start.max(from), (start + HOUR).min(to));
            Bucket {
                keys: keys_of(first, end),
                matched: (end - first == HOUR).then_some(matched),
                is_day: false,
            }
        };
        Ok(self.sums(HOUR, from, to)?.into_iter().map(bucket).collect())
    }

    /// Start and matches of the days or hours that overlap [from, to), newest first.
    fn sums(
        &mut self,
        bucket_seconds: i64,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, u64)>, ReadError> {
        let mut sums: Vec<(i64, u64)> = Vec::new();
        let mut found = self.sums.query([
            bucket_seconds,
            from.saturating_sub(from.rem_euclid(bucket_seconds)),
            to,
        ])?;
        while let Some(row) = found.next()? {
            let start = row.get(0)?;
            // Newest first, unless a database page is in the place of another.
            if sums.last().is_some_and(|&(last, _)| last <= start) {
                return Err(ReadError::INCONSISTENT);
            }
            sums.push((start, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)));
        }
        Ok(sums)
    }
}

/// SQL of the matches by day or hour: one pass in the order of the table.
pub(super) fn sums_sql(resolved: &ResolvedFilter) -> String {
    let mut sql =
        "SELECT bucket_start, sum(rows) FROM row_counts WHERE bucket_seconds = ? AND bucket_start >= ? AND bucket_start < ?".to_owned();
    for (column, codes) in [
        ("scope", &resolved.scopes),
        ("type", &resolved.types),
        ("severity", &resolved.severities),
    ] {
        if let Some(codes) = codes {
            sql.push_str(" AND ");
            sql.push_str(&one_of(column, codes));
        }
    }
    sql.push_str(" GROUP BY bucket_start ORDER BY bucket_start DESC");
    sql
}

/// The seconds of `keys`, whose ends are the first keys of their seconds.
const fn seconds(keys: KeyRange) -> (i64, i64) {
    (
        EventKey::from_i64(keys.from).second(),
        EventKey::from_i64(keys.to).second(),
    )
}

const fn keys_of(from: i64, to: i64) -> KeyRange {
    KeyRange {
        from: EventKey::new(from, 0).as_i64(),
        to: EventKey::new(to, 0).as_i64(),
    }
}
