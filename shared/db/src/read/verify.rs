//! Compares what is stored more than once, so that a damaged file is not taken for a short record.
//!
//! SQLite notices a page that is not one of its own. It does not notice one that is old, or in the place of another: rows
//! behind it are then not found, without an error. The counters know how many rows there are, so each question compares
//! what it found with them. Where it cannot, since a filter leaves rows out, the tree it walked is counted as a whole, up
//! to [`COUNTED_MAX`] entries: a larger file has room for such a page that no question notices.

use rusqlite::Connection;

use super::ReadError;
use super::numbers::Keys;
use super::plan::Way;
use crate::schema::bucket::{ALL, DAY, HOUR};
use kube9_model::id::EventKey;

/// Most entries of a tree that are counted: some 3 ms. A filter on a column answers within 25 ms at a million rows, and
/// counting those would take as long again.
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

/// The entries of a tree are as many as its counters say, where there are not too many to count.
fn entries(
    connection: &Connection,
    counted: i64,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), ReadError> {
    if counted > COUNTED_MAX {
        return Ok(());
    }
    same(counted, number(connection, sql, values)?)
}

/// Whether reading all of a table takes no longer than counting [`COUNTED_MAX`] entries.
pub(super) fn is_small(connection: &Connection, table: &str) -> Result<bool, ReadError> {
    let sql = format!("SELECT ifnull(max(id) - min(id), 0) FROM {table}");
    Ok(number(connection, &sql, [])? <= COUNTED_MAX)
}

fn same(counted: i64, stored: i64) -> Result<(), ReadError> {
    if counted == stored {
        Ok(())
    } else {
        Err(ReadError::INCONSISTENT)
    }
}

/// The rows of all hours that `keys` touches are as many as their counters say.
pub(super) fn rows(connection: &Connection, keys: Keys) -> Result<(), ReadError> {
    if keys.from == i64::MIN && keys.to == i64::MAX {
        let counted = all(connection, "1")?;
        return entries(
            connection,
            counted,
            "SELECT count(*) FROM event NOT INDEXED",
            [],
        );
    }
    // Hours as the tally cuts them, outwards: a row belongs to the hour of its second.
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
    entries(
        connection,
        counted,
        "SELECT count(*) FROM event NOT INDEXED WHERE key >= ?1 AND key < ?2",
        (from.saturating_mul(1 << 24), to.saturating_mul(1 << 24)),
    )
}

/// The rows of the hour in which a row with this key would lie.
pub(super) fn hour(connection: &Connection, key: i64) -> Result<(), ReadError> {
    rows(
        connection,
        Keys {
            from: key,
            to: key.saturating_add(1),
        },
    )
}

/// The trees of a way hold as many entries as the counters say. `keys` is what was walked in key order.
pub(super) fn way(connection: &Connection, way: &Way, keys: Keys) -> Result<(), ReadError> {
    let of_codes = |codes: &[i64], column: &str, sql: &str| {
        codes.iter().try_for_each(|code| {
            let counted = all(connection, &format!("{column} = {code}"))?;
            entries(connection, counted, sql, [code])
        })
    };
    match way {
        Way::Scan | Way::Hours => rows(connection, keys),
        Way::Types(codes) => of_codes(
            codes,
            "type",
            "SELECT count(*) FROM event INDEXED BY idx_events_type WHERE type <> 0 AND type = ?1",
        ),
        Way::Severities(codes) => of_codes(
            codes,
            "severity",
            "SELECT count(*) FROM event INDEXED BY idx_events_severity WHERE severity >= 2 AND severity = ?1",
        ),
        Way::Objects(_) => {
            let counted = all(connection, "scope <> 0")?;
            entries(
                connection,
                counted,
                "SELECT count(*) FROM event INDEXED BY idx_events_object WHERE object IS NOT NULL",
                [],
            )
        }
    }
}

/// Rows in all of the record, by the counters of which `condition` holds.
fn all(connection: &Connection, condition: &str) -> Result<i64, ReadError> {
    let sql = format!(
        "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 0 AND {condition}"
    );
    number(connection, &sql, [])
}

/// The counters of days sum up to those of all of the record, and those of days and hours begin and end where the rows do.
pub(super) fn days(connection: &Connection) -> Result<(), ReadError> {
    let sum = "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = ?1";
    same(
        number(connection, sum, [ALL])?,
        number(connection, sum, [DAY])?,
    )?;
    for end in ["min", "max"] {
        let key: Option<i64> =
            connection.query_row(&format!("SELECT {end}(key) FROM event"), [], |row| {
                row.get(0)
            })?;
        let second = key.map(|key| EventKey::from_i64(key).second());
        let mut counted = connection.prepare_cached(&format!(
            "SELECT {end}(bucket_start) FROM row_counts WHERE bucket_seconds = ?1"
        ))?;
        for span in [DAY, HOUR] {
            let start: Option<i64> = counted.query_row([span], |row| row.get(0))?;
            if start != second.map(|second| second - second.rem_euclid(span)) {
                return Err(ReadError::INCONSISTENT);
            }
        }
    }
    Ok(())
}

/// Every scope that has rows is there.
pub(super) fn scopes(connection: &Connection) -> Result<(), ReadError> {
    let sql = "SELECT count(*) FROM row_counts t LEFT JOIN scope s NOT INDEXED ON s.id = t.scope \
         WHERE t.bucket_seconds = 0 AND t.scope <> 0 AND s.id IS NULL";
    same(0, number(connection, sql, [])?)
}
