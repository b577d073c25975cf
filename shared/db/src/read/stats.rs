//! Counts of rows by their properties.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::ReadError;
use super::bounds::Groups;
use super::filter::Filter;
use super::numbers::Numbers;
use super::open::Reader;
use super::property::{Counts, Property};
use super::walk::Walk;

/// Rows that agree in the properties asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their values, in the order of the question; `None` where a row has none.
    pub values: Vec<Option<String>>,
    /// Number of rows.
    pub events: u64,
}

impl Reader {
    /// Counts a filter's rows; most frequent first, then by value. Memory grows with the number of groups,
    /// up to a bound.
    pub fn stats(&self, filter: &Filter, by: &[Property]) -> Result<Vec<Group>, ReadError> {
        let counts = self.snapshot(|connection| counts(connection, filter, by))?;
        let mut groups: Vec<Group> = counts
            .into_iter()
            .map(|(values, events)| Group { values, events })
            .collect();
        groups.sort_unstable_by(|a, b| {
            b.events
                .cmp(&a.events)
                .then_with(|| a.values.cmp(&b.values))
        });
        Ok(groups)
    }
}

fn counts(connection: &Connection, filter: &Filter, by: &[Property]) -> Result<Counts, ReadError> {
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok(Counts::new());
    }
    let walk = Walk::new(connection, &numbers)?;
    let columns: Vec<&str> = by.iter().map(|property| property.number()).collect();
    // By integers first, so that texts are looked up once a group, not once a row.
    let mut groups: Groups<Vec<Option<i64>>> = Groups::new();
    let mut group: Vec<Option<i64>> = Vec::with_capacity(by.len());
    walk.visit(&columns.join(", "), &mut |row| {
        group.clear();
        for column in 1..=by.len() {
            group.push(row.get(column)?);
        }
        groups.add(&group, 0, 1)
    })?;
    in_words(connection, by, groups.counts)
}

/// Several integers may stand for one text (a reason is stored once a title), so groups may merge.
fn in_words(
    connection: &Connection,
    by: &[Property],
    counts: HashMap<Vec<Option<i64>>, u64>,
) -> Result<Counts, ReadError> {
    let mut lookups = by
        .iter()
        .map(|property| {
            property
                .text()
                .map(|sql| connection.prepare(sql))
                .transpose()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut named = Groups::new();
    for (group, count) in counts {
        let mut values = Vec::with_capacity(by.len());
        for ((number, property), lookup) in group.into_iter().zip(by).zip(&mut lookups) {
            values.push(match (number, lookup) {
                (None, _) => None,
                (Some(number), None) => property.word(number),
                (Some(number), Some(lookup)) => lookup
                    .query_row(params_from_iter([number]), |row| row.get(0))
                    .optional()?
                    .ok_or(ReadError::INCONSISTENT)?,
            });
        }
        let bytes = values.iter().flatten().map(String::len).sum();
        named.add(&values, bytes, count)?;
    }
    Ok(named.counts)
}
