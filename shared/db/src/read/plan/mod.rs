//! Chooses the access path to the rows of a filter:
//!
//! 1. few rows in the time range: in key order, as in 4
//! 2. objects by name or owner: the index on objects
//! 3. few rows in the scopes, or of the rare types or severities: the index on these
//! 4. else in key order: the hours in which `row_counts` has a match, if it can count them; else all

use rusqlite::Connection;

use super::ReadError;
use super::resolve::{KeyRange, OBJECTS_MAX, ObjectSet, ResolvedFilter, ids};
use super::sql::{Sql, list, one_of};

#[cfg(test)]
mod tests;

/// This many rows are read in any order within milliseconds. A scope, type or severity with more rows fills a page from a
/// few hours of the record when it is read in key order.
#[cfg(not(test))]
const FEW_ROWS: i64 = 5_000;
/// Small enough that generated databases use every access path.
#[cfg(test)]
const FEW_ROWS: i64 = 12;

/// How to reach the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AccessPath {
    /// In key order, every row of the time range.
    Scan,
    /// In key order, the hours in which `row_counts` has a match.
    Hours,
    /// By the index on objects.
    Objects(Vec<i64>),
    /// By the partial index on rare types.
    Types(Vec<i64>),
    /// By the partial index on rare severities.
    Severities(Vec<i64>),
}

/// The access path to the rows of a filter.
pub(super) fn choose(
    connection: &Connection,
    resolved: &ResolvedFilter,
) -> Result<AccessPath, ReadError> {
    // Counts also prove that no row is missing, however few there are.
    let in_key_order = if resolved.is_countable() {
        AccessPath::Hours
    } else {
        AccessPath::Scan
    };
    if has_few_rows(connection, resolved.ranges.main)? {
        return Ok(in_key_order);
    }
    if let ObjectSet::Few(objects, _) = &resolved.objects {
        return Ok(AccessPath::Objects(objects.clone()));
    }
    let few = |column: &str, codes: &[i64]| -> Result<bool, ReadError> {
        let sql = format!(
            "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 0 AND {}",
            one_of(column, codes)
        );
        let rows: i64 = connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(rows <= FEW_ROWS)
    };
    // The indexes on type and severity are partial: they hold the rare ones.
    if let Some(types) = &resolved.types
        && types.iter().all(|code| (1..=5).contains(code))
        && few("type", types)?
    {
        return Ok(AccessPath::Types(types.clone()));
    }
    if let Some(severities) = &resolved.severities
        && severities.iter().all(|&code| code >= 2)
        && few("severity", severities)?
    {
        return Ok(AccessPath::Severities(severities.clone()));
    }
    if let (ObjectSet::Any, Some(scopes)) = (&resolved.objects, &resolved.scopes)
        && few("scope", scopes)?
        && let Some(objects) = objects_of(connection, scopes)?
    {
        return Ok(AccessPath::Objects(objects));
    }
    Ok(in_key_order)
}

/// Whether a range has at most [`FEW_ROWS`] rows.
fn has_few_rows(connection: &Connection, keys: KeyRange) -> Result<bool, ReadError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM event NOT INDEXED WHERE key >= ? AND key < ? LIMIT {})",
        FEW_ROWS + 1
    );
    let rows: i64 = connection
        .prepare_cached(&sql)?
        .query_row([keys.from, keys.to], |row| row.get(0))?;
    Ok(rows <= FEW_ROWS)
}

/// The objects of some scopes; `None` if there are too many.
fn objects_of(connection: &Connection, scopes: &[i64]) -> Result<Option<Vec<i64>>, ReadError> {
    let sql = format!(
        "SELECT o.id FROM object o WHERE o.scope IN {} LIMIT {}",
        list(scopes.iter().copied()),
        OBJECTS_MAX + 1
    );
    let objects = ids(connection, &Sql::new(sql))?;
    Ok((objects.len() <= OBJECTS_MAX).then_some(objects))
}
