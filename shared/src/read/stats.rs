//! Counts of rows by their properties.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::filter::Filter;
use super::numbers::Numbers;
use super::open::{Layout, Reader};
use super::tally::Tally;
use super::walk::Walk;
use super::{ReadError, plain, plan};
use crate::model::{EventType, Severity};
use crate::time::Timestamp;

/// What rows are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// Event type.
    Type,
    /// Severity.
    Severity,
    /// Namespace of the object.
    Namespace,
    /// Kind of the object.
    Kind,
    /// Name of the object.
    Name,
    /// Reason.
    Reason,
    /// Node.
    Node,
    /// Controller of the object, `Kind/name`.
    Owner,
    /// Container.
    Container,
    /// Day of `created_at`, UTC.
    Day,
    /// Hour of `created_at`, UTC.
    Hour,
}

impl Property {
    /// Every property.
    pub const ALL: [Self; 11] = [
        Self::Type,
        Self::Severity,
        Self::Namespace,
        Self::Kind,
        Self::Name,
        Self::Reason,
        Self::Node,
        Self::Owner,
        Self::Container,
        Self::Day,
        Self::Hour,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Severity => "severity",
            Self::Namespace => "namespace",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Reason => "reason",
            Self::Node => "node",
            Self::Owner => "owner",
            Self::Container => "container",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// The integer of a row of `event e` by which it is grouped first.
    const fn number(self) -> &'static str {
        match self {
            Self::Type => "e.type",
            Self::Severity => "e.severity",
            Self::Namespace | Self::Kind => "(SELECT o.scope FROM object o WHERE o.id = e.object)",
            Self::Name => "e.object",
            Self::Owner => "(SELECT o.owner FROM object o WHERE o.id = e.object)",
            Self::Reason | Self::Container => "e.reason",
            Self::Node => "e.node",
            Self::Day => "(e.key >> 24) / 86400",
            Self::Hour => "(e.key >> 24) / 3600",
        }
    }

    /// The statement that gives the text for that integer, where a table has it.
    const fn text(self) -> Option<&'static str> {
        match self {
            Self::Namespace => Some("SELECT nullif(namespace, '') FROM scope WHERE id = ?"),
            Self::Kind => Some("SELECT kind FROM scope WHERE id = ?"),
            Self::Name => Some("SELECT name FROM object WHERE id = ?"),
            Self::Owner => Some(
                "SELECT s.kind || '/' || o.name FROM object o JOIN scope s ON s.id = o.scope WHERE o.id = ?",
            ),
            Self::Reason => Some("SELECT nullif(reason, '') FROM reason WHERE id = ?"),
            Self::Container => Some("SELECT nullif(container, '') FROM reason WHERE id = ?"),
            Self::Node => Some("SELECT name FROM node WHERE id = ?"),
            Self::Type | Self::Severity | Self::Day | Self::Hour => None,
        }
    }

    /// The text of an integer that needs no table.
    fn word(self, number: i64) -> Option<String> {
        match self {
            Self::Type => EventType::from_code(number).map(|t| t.to_string()),
            Self::Severity => Severity::from_code(number).map(|s| s.to_string()),
            Self::Day => Some(Timestamp::from_secs(number * 86_400).to_string()[..10].to_owned()),
            Self::Hour => Some(format!(
                "{}:00Z",
                &Timestamp::from_secs(number * 3_600).to_string()[..13]
            )),
            _ => None,
        }
    }
}

/// Rows that agree in the properties asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their values, in the order of the question; `None` where a row has none.
    pub values: Vec<Option<String>>,
    /// Number of rows.
    pub events: u64,
}

impl Reader {
    /// Counts a filter's rows; most frequent first, then by value. Memory grows with the number of groups.
    pub fn stats(&self, filter: &Filter, by: &[Property]) -> Result<Vec<Group>, ReadError> {
        let counts = self.snapshot(|connection| match self.layout() {
            Layout::Plain => plain::stats(connection, filter, by),
            Layout::Interned => interned(connection, filter, by),
        })?;
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

/// Rows by the texts of their properties.
pub(super) type Counts = HashMap<Vec<Option<String>>, u64>;

fn interned(
    connection: &Connection,
    filter: &Filter,
    by: &[Property],
) -> Result<Counts, ReadError> {
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok(Counts::new());
    }
    let survey = Tally::new(connection, &numbers)?.survey(numbers.span.main)?;
    let way = plan::choose(connection, &numbers, &survey, u64::MAX)?;
    let walk = Walk {
        connection,
        numbers: &numbers,
        way,
    };
    let columns: Vec<&str> = by.iter().map(|property| property.number()).collect();
    let first = walk.first_column();
    // By integers first, so that texts are looked up once a group, not once a row.
    let mut counts: HashMap<Vec<Option<i64>>, u64> = HashMap::new();
    let mut group: Vec<Option<i64>> = Vec::with_capacity(by.len());
    walk.visit(&columns.join(", "), &mut |row| {
        group.clear();
        for column in first..first + by.len() {
            group.push(row.get(column)?);
        }
        match counts.get_mut(&group) {
            Some(count) => *count += 1,
            None => {
                counts.insert(group.clone(), 1);
            }
        }
        Ok(())
    })?;
    in_words(connection, by, counts)
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
    let mut named = Counts::new();
    for (group, count) in counts {
        let mut values = Vec::with_capacity(by.len());
        for ((number, property), lookup) in group.into_iter().zip(by).zip(&mut lookups) {
            values.push(match (number, lookup) {
                (None, _) => None,
                (Some(number), None) => property.word(number),
                (Some(number), Some(lookup)) => lookup
                    .query_row(params_from_iter([number]), |row| row.get(0))
                    .optional()?
                    .flatten(),
            });
        }
        *named.entry(values).or_insert(0) += count;
    }
    Ok(named)
}
