//! Chooses the way to the keys of a filter's rows, by a few rules:
//!
//! 1. few rows in the filter's time: in key order, as in 4
//! 2. objects by name or owner: from each object
//! 3. few rows in the scopes, or of the rare types or severities: from the index on these
//! 4. else in key order: over the hours in which the counters know a match, where they can count at all

use rusqlite::Connection;

use super::ReadError;
use super::numbers::{Keys, Numbers, OBJECTS_MAX, Objects, ids};
use super::sql::{Sql, list, one_of};

/// So many rows are read in any order within some milliseconds. In key order a page of a scope, type or severity that has
/// more takes a few hours of the record.
#[cfg(not(test))]
const FEW_ROWS: i64 = 5_000;
/// So that generated databases, which are small, take every way.
#[cfg(test)]
const FEW_ROWS: i64 = 12;

/// A way to the keys of the rows that may match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// In key order, every row of the time: the counters cannot count.
    Scan,
    /// In key order, the hours in which the counters know a match.
    Hours,
    /// From each of these objects.
    Objects(Vec<i64>),
    /// From each of these rare types.
    Types(Vec<i64>),
    /// From each of these rare severities.
    Severities(Vec<i64>),
}

/// The way to a filter's rows.
pub(super) fn choose(connection: &Connection, numbers: &Numbers) -> Result<Way, ReadError> {
    // Where the counters can count they also prove that no row is missing, however few there are.
    let in_key_order = if numbers.is_tallied() {
        Way::Hours
    } else {
        Way::Scan
    };
    if has_few_rows(connection, numbers.span.main)? {
        return Ok(in_key_order);
    }
    if let Objects::Few(objects, _) = &numbers.objects {
        return Ok(Way::Objects(objects.clone()));
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
    if let Some(types) = &numbers.types
        && types.iter().all(|&code| code != 0)
        && few("type", types)?
    {
        return Ok(Way::Types(types.clone()));
    }
    if let Some(severities) = &numbers.severities
        && severities.iter().all(|&code| code >= 2)
        && few("severity", severities)?
    {
        return Ok(Way::Severities(severities.clone()));
    }
    if let (Objects::Any, Some(scopes)) = (&numbers.objects, &numbers.scopes)
        && few("scope", scopes)?
        && let Some(objects) = objects_of(connection, scopes)?
    {
        return Ok(Way::Objects(objects));
    }
    Ok(in_key_order)
}

/// Whether a stretch has no more rows than one scan reads.
fn has_few_rows(connection: &Connection, keys: Keys) -> Result<bool, ReadError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM event NOT INDEXED WHERE key >= ? AND key < ? LIMIT {})",
        FEW_ROWS + 1
    );
    let rows: i64 = connection
        .prepare_cached(&sql)?
        .query_row([keys.from, keys.to], |row| row.get(0))?;
    Ok(rows <= FEW_ROWS)
}

/// The objects of some scopes, where there are not too many to visit.
fn objects_of(connection: &Connection, scopes: &[i64]) -> Result<Option<Vec<i64>>, ReadError> {
    let sql = format!(
        "SELECT o.id FROM object o WHERE o.scope IN {} LIMIT {}",
        list(scopes.iter().copied()),
        OBJECTS_MAX + 1
    );
    let objects = ids(connection, &Sql::new(sql))?;
    Ok((objects.len() <= OBJECTS_MAX).then_some(objects))
}
