//! Compares rows with the counts in `row_counts`, so that a damaged file does not look like a short record.
//!
//! SQLite detects a page that it did not write. It does not detect an old page, or one in the place of another: the rows
//! behind it are then missing, without an error. So each query compares the number of rows it read with `row_counts`. If a
//! filter excludes rows, it counts the whole b-tree that it scanned instead, up to [`COUNTED_MAX`] entries; in a larger
//! b-tree such a page may go unnoticed.

use rusqlite::Connection;

use super::ReadError;
use super::plan::AccessPath;
use super::resolve::KeyRange;
use crate::schema::bucket::{DAY, HOUR};
use kube9_model::id::EventKey;

/// A larger b-tree is not counted. Counting this many entries takes about 3 ms; a filter on a column answers within 25 ms at a
/// million rows, and counting those would double that.
const COUNTED_MAX: i64 = 100_000;

fn number(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<i64, ReadError> {
    Ok(connection
        .prepare_cached(sql)?
        .query_row(values, |row| row.get(0))?)
}

/// Fails unless a b-tree has `counted` entries, which `sql` counts. Does nothing if there are more than [`COUNTED_MAX`].
fn check_entries(
    connection: &Connection,
    counted: i64,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), ReadError> {
    if counted > COUNTED_MAX {
        return Ok(());
    }
    check_equal(counted, number(connection, sql, values)?)
}

/// Whether a scan of the table takes no longer than counting [`COUNTED_MAX`] entries.
pub(super) fn is_small(connection: &Connection, table: &str) -> Result<bool, ReadError> {
    let sql = format!("SELECT ifnull(max(id) - min(id), 0) FROM {table}");
    Ok(number(connection, &sql, [])? <= COUNTED_MAX)
}

fn check_equal(counted: i64, stored: i64) -> Result<(), ReadError> {
    if counted == stored {
        Ok(())
    } else {
        Err(ReadError::INCONSISTENT)
    }
}

/// Fails unless the hours that overlap `keys` have as many rows as `row_counts` holds.
pub(super) fn check_rows(connection: &Connection, keys: KeyRange) -> Result<(), ReadError> {
    if keys.from == i64::MIN && keys.to == i64::MAX {
        let counted = total_count(connection, "1")?;
        return check_entries(
            connection,
            counted,
            "SELECT count(*) FROM event NOT INDEXED",
            [],
        );
    }
    // Round outwards to whole hours: a row counts in the hour of its second.
    let second = |key| EventKey::from_i64(key).second();
    let from = match keys.from {
        i64::MIN => 0,
        key => second(key) - second(key).rem_euclid(HOUR),
    };
    let to = match keys.to {
        i64::MAX => i64::MAX >> 24,
        key => second(key.saturating_sub(1)).div_euclid(HOUR) * HOUR + HOUR,
    };
    let counted = number(
        connection,
        "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 3600 AND bucket_start >= ?1 AND bucket_start < ?2",
        (from, to),
    )?;
    check_entries(
        connection,
        counted,
        "SELECT count(*) FROM event NOT INDEXED WHERE key >= ?1 AND key < ?2",
        (from.saturating_mul(1 << 24), to.saturating_mul(1 << 24)),
    )
}

/// [`check_rows`] for the hour of this key.
pub(super) fn check_hour(connection: &Connection, key: i64) -> Result<(), ReadError> {
    check_rows(
        connection,
        KeyRange {
            from: key,
            to: key.saturating_add(1),
        },
    )
}

/// Fails unless the b-trees of an access path have as many entries as `row_counts` holds. `keys` is the range that was
/// scanned in key order.
pub(super) fn check_access_path(
    connection: &Connection,
    access_path: &AccessPath,
    keys: KeyRange,
) -> Result<(), ReadError> {
    let of_codes = |codes: &[i64], column: &str, sql: &str| {
        codes.iter().try_for_each(|code| {
            let counted = total_count(connection, &format!("{column} = {code}"))?;
            check_entries(connection, counted, sql, [code])
        })
    };
    match access_path {
        AccessPath::Scan | AccessPath::Hours => check_rows(connection, keys),
        AccessPath::Types(codes) => of_codes(
            codes,
            "type",
            "SELECT count(*) FROM event INDEXED BY idx_events_type WHERE type BETWEEN 1 AND 5 AND type = ?1",
        ),
        AccessPath::Severities(codes) => of_codes(
            codes,
            "severity",
            "SELECT count(*) FROM event INDEXED BY idx_events_severity WHERE severity >= 2 AND severity = ?1",
        ),
        AccessPath::Objects(_) => {
            let counted = total_count(connection, "scope <> 0")?;
            check_entries(
                connection,
                counted,
                "SELECT count(*) FROM event INDEXED BY idx_events_object WHERE object IS NOT NULL",
                [],
            )
        }
    }
}

/// Number of all rows by `row_counts`, of the counts that meet `condition`.
fn total_count(connection: &Connection, condition: &str) -> Result<i64, ReadError> {
    let sql = format!(
        "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 0 AND {condition}"
    );
    number(connection, &sql, [])
}

/// Fails unless `stored`, the sum of the counts of all days, is the total, and the first and last bucket hold the first and
/// last row.
pub(super) fn check_day_counts(connection: &Connection, stored: u64) -> Result<(), ReadError> {
    if u64::try_from(total_count(connection, "1")?) != Ok(stored) {
        return Err(ReadError::INCONSISTENT);
    }
    for end in ["min", "max"] {
        let key: Option<i64> = connection
            .prepare_cached(&format!("SELECT {end}(key) FROM event"))?
            .query_row([], |row| row.get(0))?;
        let second = key.map(|key| EventKey::from_i64(key).second());
        let mut counted = connection.prepare_cached(&format!(
            "SELECT {end}(bucket_start) FROM row_counts WHERE bucket_seconds = ?1"
        ))?;
        for bucket_seconds in [DAY, HOUR] {
            let start: Option<i64> = counted.query_row([bucket_seconds], |row| row.get(0))?;
            if start != second.map(|second| second - second.rem_euclid(bucket_seconds)) {
                return Err(ReadError::INCONSISTENT);
            }
        }
    }
    Ok(())
}

/// Fails if a scope that has rows is missing.
pub(super) fn check_scopes(connection: &Connection) -> Result<(), ReadError> {
    let sql = "SELECT count(*) FROM row_counts t LEFT JOIN scope s NOT INDEXED ON s.id = t.scope \
         WHERE t.bucket_seconds = 0 AND t.scope <> 0 AND s.id IS NULL";
    check_equal(0, number(connection, sql, [])?)
}
