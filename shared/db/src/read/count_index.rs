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
    /// Start and matches of all days, newest first.
    days: Vec<(i64, u64)>,
    hours: CachedStatement<'c>,
}

impl<'c> CountIndex<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        resolved: &ResolvedFilter,
    ) -> Result<Self, ReadError> {
        // One pass over the days both checks the counts and answers the filter.
        let mut stored = 0_u64;
        let mut days = Vec::new();
        let mut statement = connection.prepare_cached(&days_sql(resolved))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            stored =
                stored.saturating_add(u64::try_from(row.get::<_, i64>(1)?).unwrap_or(u64::MAX));
            if let Some(matched) = row.get(2)? {
                push(&mut days, row.get(0)?, matched)?;
            }
        }
        verify::check_day_counts(connection, stored)?;
        Ok(Self {
            days,
            hours: connection.prepare_cached(&hours_sql(resolved))?,
        })
    }

    /// The buckets of a range in which rows match, newest first.
    pub(super) fn buckets(&mut self, keys: KeyRange) -> Result<Vec<Bucket>, ReadError> {
        let (from, to) = seconds(keys);
        let mut buckets = Vec::new();
        let days = self.days.iter().copied();
        let days = days.filter(|&(start, _)| from < start.saturating_add(DAY) && start < to);
        for (start, matched) in days.collect::<Vec<_>>() {
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
        let mut sums = Vec::new();
        let mut found = self
            .hours
            .query([from.saturating_sub(from.rem_euclid(HOUR)), to])?;
        while let Some(row) = found.next()? {
            push(&mut sums, row.get(0)?, row.get(1)?)?;
        }
        Ok(sums.into_iter().map(bucket).collect())
    }
}

/// Counts come newest first, unless a database page is in the place of another.
fn push(sums: &mut Vec<(i64, u64)>, start: i64, rows: i64) -> Result<(), ReadError> {
    if sums.last().is_some_and(|&(last, _)| last <= start) {
        return Err(ReadError::INCONSISTENT);
    }
    sums.push((start, u64::try_from(rows).unwrap_or(0)));
    Ok(())
}

/// SQL of all rows and of the matches by day: one pass in the order of the table.
pub(super) fn days_sql(resolved: &ResolvedFilter) -> String {
    // SQLite computes the same sum only once, but a filtered one on its own: a fifth of the pass.
    let filter = match condition(resolved).as_str() {
        "1" => String::new(),
        condition => format!("FILTER (WHERE {condition})"),
    };
    format!(
        "SELECT bucket_start, sum(rows), sum(rows) {filter} FROM row_counts \
         WHERE bucket_seconds = {DAY} GROUP BY bucket_start ORDER BY bucket_start DESC"
    )
}

/// SQL of the matches in a range by hour: one pass in the order of the table.
pub(super) fn hours_sql(resolved: &ResolvedFilter) -> String {
    format!(
        "SELECT bucket_start, sum(rows) FROM row_counts \
         WHERE bucket_seconds = {HOUR} AND bucket_start >= ? AND bucket_start < ? AND {} \
         GROUP BY bucket_start ORDER BY bucket_start DESC",
        condition(resolved)
    )
}

fn condition(resolved: &ResolvedFilter) -> String {
    let mut sql = "1".to_owned();
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
