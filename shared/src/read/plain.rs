//! The same questions to a database whose `events` is a plain table: straightforward SQL over the ten columns.
//!
//! Slower, and the definition of what the fast path must answer: a test compares them over the view `events`.

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::ReadError;
use super::bounds::{Budget, Groups};
use super::filter::{Filter, ObjectPattern, Pattern};
use super::property::{Counts, Property};
use super::request::{BadCursor, Cursor, Page, PageRequest};
use super::row::{self, COLUMNS, Row};
use super::sql::{Case, Sql, matches};
use crate::time::Timestamp;

/// `created_at` in milliseconds, whatever form of ISO 8601 the writer chose.
pub(super) const CREATED_MS: &str =
    "CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER)";

pub(super) fn get(connection: &Connection, id: &str) -> Result<Option<Row>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE id = ?");
    Ok(connection
        .prepare(&sql)?
        .query_row([id], row::from_sql)
        .optional()?)
}

pub(super) fn list(connection: &Connection, request: &PageRequest) -> Result<Page, ReadError> {
    let (rows, next) = rows(connection, request)?;
    Ok(Page {
        rows,
        total: count(connection, &request.filter)?,
        next,
    })
}

/// Number of rows.
pub(super) fn count(connection: &Connection, filter: &Filter) -> Result<u64, ReadError> {
    let condition = condition(filter);
    let total: i64 = connection
        .prepare(&format!(
            "SELECT count(*) FROM events WHERE {}",
            condition.text
        ))?
        .query_row(params_from_iter(&condition.values), |row| row.get(0))?;
    Ok(u64::try_from(total).unwrap_or(0))
}

/// A page without its total.
pub(super) fn rows(
    connection: &Connection,
    request: &PageRequest,
) -> Result<(Vec<Row>, Option<Cursor>), ReadError> {
    let mut sql = Sql::new(" FROM events WHERE ");
    sql.append(&condition(&request.filter));
    match &request.after {
        None => {}
        Some(Cursor::Plain(created_at, id)) => {
            sql.push(" AND (created_at, id) < (")
                .bind(created_at.clone())
                .push(", ")
                .bind(id.clone())
                .push(")");
        }
        Some(other) => return Err(BadCursor(other.to_string()).into()),
    }
    sql.push(" ORDER BY created_at DESC, id DESC LIMIT ")
        .bind(request.limit as i64 + 1);
    let offset = if request.after.is_some() {
        0
    } else {
        request.offset
    };
    sql.push(" OFFSET ")
        .bind(i64::try_from(offset).unwrap_or(i64::MAX));
    // Sorted by the times and ids alone: whole rows may be a gigabyte. A view has no rowid.
    let mut statement = connection
        .prepare(&format!(
            "SELECT {COLUMNS} FROM (SELECT rowid AS place{}) CROSS JOIN events ON events.rowid = place",
            sql.text
        ))
        .or_else(|_| connection.prepare(&format!("SELECT {COLUMNS}{}", sql.text)))?;
    let mut found = statement.query_map(params_from_iter(&sql.values), row::from_sql)?;
    let (mut rows, mut budget, mut more) = (Vec::new(), Budget::page(), false);
    while let Some(row) = found.next().transpose()? {
        more = rows.len() == request.limit || !budget.takes(&row);
        if more {
            break;
        }
        rows.push(row);
    }
    let next = rows
        .last()
        .filter(|_| more)
        .map(|row| Cursor::Plain(row.created_at.clone(), row.id.clone()));
    Ok((rows, next))
}

pub(super) fn condition(filter: &Filter) -> Sql {
    let mut sql = Sql::new("1");
    words(
        &mut sql,
        "event_type",
        filter.types.iter().map(|word| word.as_str()),
    );
    words(
        &mut sql,
        "severity",
        filter.severities.iter().map(|word| word.as_str()),
    );
    times(&mut sql, filter);
    names(&mut sql, "object_kind", &filter.kinds, Case::Ignored);
    names(
        &mut sql,
        "object_namespace",
        &filter.namespaces,
        Case::Matters,
    );
    names(&mut sql, "object_name", &filter.names, Case::Matters);
    names(&mut sql, &meta("reason"), &filter.reasons, Case::Ignored);
    names(&mut sql, &meta("node"), &filter.nodes, Case::Matters);
    names(
        &mut sql,
        &meta("container"),
        &filter.containers,
        Case::Matters,
    );
    if !filter.about.is_empty() {
        any(&mut sql, filter.about.iter().map(about));
    }
    if !filter.owners.is_empty() {
        let owner = meta("owner");
        any(
            &mut sql,
            filter.owners.iter().map(|wanted| {
                let mut sql = Sql::new("1");
                let (kind, name) = (
                    format!("substr({owner}, 1, instr({owner}, '/') - 1)"),
                    format!("substr({owner}, instr({owner}, '/') + 1)"),
                );
                names(&mut sql, &kind, wanted.kind.as_slice(), Case::Ignored);
                names(
                    &mut sql,
                    &name,
                    std::slice::from_ref(&wanted.name),
                    Case::Matters,
                );
                sql
            }),
        );
    }
    if let Some(search) = &filter.search {
        let needle = search.to_ascii_lowercase();
        let columns = [
            "title".to_owned(),
            "description".to_owned(),
            "object_name".to_owned(),
            meta("reason"),
        ];
        any(
            &mut sql,
            columns.iter().map(|column| {
                let mut sql = Sql::new(format!("instr(lower({column}), "));
                sql.bind(needle.clone()).push(") > 0");
                sql
            }),
        );
    }
    sql
}

/// A value of the metadata, where that is JSON.
fn meta(key: &str) -> String {
    format!("CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.{key}') END")
}

fn words<'a>(sql: &mut Sql, column: &str, words: impl ExactSizeIterator<Item = &'a str>) {
    if words.len() == 0 {
        return;
    }
    sql.push(&format!(" AND {column} IN ("));
    for (i, word) in words.enumerate() {
        sql.push(if i > 0 { ", " } else { "" })
            .bind(word.to_owned());
    }
    sql.push(")");
}

fn times(sql: &mut Sql, filter: &Filter) {
    if let Some(since) = filter.since {
        let last = meta("last_timestamp");
        sql.push(&format!(
            " AND max({CREATED_MS}, ifnull(CAST(round(unixepoch({last}, 'subsec') * 1000) AS INTEGER), \
             {CREATED_MS})) >= "
        ))
        .bind(since.millis());
    }
    if let Some(until) = filter.until {
        sql.push(&format!(" AND {CREATED_MS} < "))
            .bind(until.millis());
    }
}

fn names(sql: &mut Sql, column: &str, patterns: &[Pattern], case: Case) {
    if !patterns.is_empty() {
        sql.and(&matches(column, patterns, case));
    }
}

fn about(about: &ObjectPattern) -> Sql {
    let mut sql = Sql::new("1");
    names(
        &mut sql,
        "object_kind",
        std::slice::from_ref(&about.kind),
        Case::Ignored,
    );
    names(
        &mut sql,
        "object_name",
        std::slice::from_ref(&about.name),
        Case::Matters,
    );
    names(
        &mut sql,
        "object_namespace",
        about.namespace.as_slice(),
        Case::Matters,
    );
    sql
}

fn any(sql: &mut Sql, alternatives: impl Iterator<Item = Sql>) {
    sql.push(" AND (0");
    for alternative in alternatives {
        sql.push(" OR (").append(&alternative).push(")");
    }
    sql.push(")");
}

/// Number of rows and first and last `created_at`.
pub(super) fn extent(
    connection: &Connection,
) -> Result<(u64, Option<String>, Option<String>), ReadError> {
    let (rows, oldest, newest): (i64, _, _) = connection.query_row(
        "SELECT count(*), min(created_at), max(created_at) FROM events",
        [],
        |row| {
            Ok((
                row.get(0)?,
                row::to_text(row.get_ref(1)?),
                row::to_text(row.get_ref(2)?),
            ))
        },
    )?;
    Ok((u64::try_from(rows).unwrap_or(0), oldest, newest))
}

/// Rows created at or after `since`.
pub(super) fn since(connection: &Connection, since: Timestamp) -> Result<u64, ReadError> {
    let rows: i64 = connection.query_row(
        &format!("SELECT count(*) FROM events WHERE {CREATED_MS} >= ?"),
        [since.millis()],
        |row| row.get(0),
    )?;
    Ok(u64::try_from(rows).unwrap_or(0))
}

/// Rows by a word, e.g. by severity.
pub(super) fn by_word(
    connection: &Connection,
    column: &str,
) -> Result<Vec<(String, u64)>, ReadError> {
    // Counted here: SQLite would sort all rows, in memory.
    let mut statement = connection.prepare(&format!("SELECT {column} FROM events"))?;
    let mut rows = statement.query([])?;
    let mut groups = Groups::new();
    while let Some(row) = rows.next()? {
        let word = row::to_text(row.get_ref(0)?).unwrap_or_default();
        groups.add(&word, word.len(), 1)?;
    }
    let mut counts: Vec<_> = groups.counts.into_iter().collect();
    counts.sort_unstable();
    Ok(counts)
}

/// The column or expression that a property is.
fn property(property: Property) -> String {
    match property {
        Property::Type => "event_type".to_owned(),
        Property::Severity => "severity".to_owned(),
        Property::Namespace => "object_namespace".to_owned(),
        Property::Kind => "object_kind".to_owned(),
        Property::Name => "object_name".to_owned(),
        Property::Reason | Property::Node | Property::Owner | Property::Container => {
            meta(property.as_str())
        }
        Property::Day => "strftime('%Y-%m-%d', created_at)".to_owned(),
        Property::Hour => "strftime('%Y-%m-%dT%H:00Z', created_at)".to_owned(),
    }
}

/// Rows by the texts of their properties.
pub(super) fn stats(
    connection: &Connection,
    filter: &Filter,
    by: &[Property],
) -> Result<Counts, ReadError> {
    let columns: Vec<String> = by.iter().map(|&by| property(by)).collect();
    let columns = columns.join(", ");
    let condition = condition(filter);
    let mut statement = connection.prepare(&format!(
        "SELECT {columns} FROM events WHERE {}",
        condition.text
    ))?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    let mut groups = Groups::new();
    while let Some(row) = rows.next()? {
        let values = (0..by.len())
            .map(|column| row.get_ref(column).map(row::to_text))
            .collect::<Result<Vec<_>, _>>()?;
        let bytes = values.iter().flatten().map(String::len).sum();
        groups.add(&values, bytes, 1)?;
    }
    Ok(groups.counts)
}

/// `created_at` of the oldest row that matches.
pub(super) fn oldest(
    connection: &Connection,
    filter: &Filter,
) -> Result<Option<Timestamp>, ReadError> {
    let condition = condition(filter);
    let oldest: Option<i64> = connection
        .prepare(&format!(
            "SELECT min({CREATED_MS}) FROM events WHERE {}",
            condition.text
        ))?
        .query_row(params_from_iter(&condition.values), |row| row.get(0))?;
    Ok(oldest.map(Timestamp::from_millis))
}
