//! Counts of rows by group.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::ReadError;
use super::filter::Filter;
use super::group_by::{Counts, GroupBy};
use super::limits::GroupCounts;
use super::open::Reader;
use super::resolve::ResolvedFilter;
use super::row_scan::RowScan;

/// Rows that are equal in the columns of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their values, in the order of the query; `None` if they have no value.
    pub values: Vec<Option<String>>,
    /// Number of rows.
    pub events: u64,
}

impl Reader {
    /// Counts the rows of a filter by group; most frequent first, then by value. Memory grows with the number of groups, up
    /// to a limit.
    pub fn stats(&self, filter: &Filter, by: &[GroupBy]) -> Result<Vec<Group>, ReadError> {
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

fn counts(connection: &Connection, filter: &Filter, by: &[GroupBy]) -> Result<Counts, ReadError> {
    let resolved = ResolvedFilter::new(connection, filter)?;
    if resolved.matches_nothing {
        return Ok(Counts::new());
    }
    let scan = RowScan::new(connection, &resolved)?;
    let columns: Vec<&str> = by.iter().map(|column| column.sql()).collect();
    // Group by integers first, so that labels are looked up once for each group, not for each row.
    let mut groups: GroupCounts<Vec<Option<i64>>> = GroupCounts::new();
    let mut group: Vec<Option<i64>> = Vec::with_capacity(by.len());
    scan.for_each(&columns.join(", "), &mut |row| {
        group.clear();
        for column in 1..=by.len() {
            group.push(row.get(column)?);
        }
        groups.add(&group, 0, 1)
    })?;
    resolve_labels(connection, by, groups.counts)
}

/// Several integers may have one label (a reason is stored once for each title), so groups may merge.
fn resolve_labels(
    connection: &Connection,
    by: &[GroupBy],
    counts: HashMap<Vec<Option<i64>>, u64>,
) -> Result<Counts, ReadError> {
    let mut lookups = by
        .iter()
        .map(|column| {
            column
                .lookup_sql()
                .map(|sql| connection.prepare(sql))
                .transpose()
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut labelled = GroupCounts::new();
    for (group, count) in counts {
        let mut values = Vec::with_capacity(by.len());
        for ((number, column), lookup) in group.into_iter().zip(by).zip(&mut lookups) {
            values.push(match (number, lookup) {
                (None, _) => None,
                (Some(number), None) => column.label(number),
                (Some(number), Some(lookup)) => lookup
                    .query_row(params_from_iter([number]), |row| row.get(0))
                    .optional()?
                    .ok_or(ReadError::INCONSISTENT)?,
            });
        }
        let bytes = values.iter().flatten().map(String::len).sum();
        labelled.add(&values, bytes, count)?;
    }
    Ok(labelled.counts)
}
