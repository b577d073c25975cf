//! Reference implementation of the queries: straightforward SQL over the view `events`.

use std::collections::HashMap;

use rusqlite::{Connection, params_from_iter};

use crate::read::filter::{Filter, KindPattern, ObjectPattern, Pattern};
use crate::read::group_by::GroupBy;
use crate::read::row::{self, COLUMNS, Row};
use crate::read::sql::{Case, Sql, matches};
use crate::read::stats::Group;
use crate::read::timeline::TimelineRequest;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// `created_at` in milliseconds.
const CREATED_MS: &str = "CAST(round(unixepoch(created_at, 'subsec') * 1000) AS INTEGER)";

/// All rows, newest first.
pub(super) fn list(db: &Connection, filter: &Filter) -> Vec<Row> {
    rows(db, &condition(filter))
}

fn rows(db: &Connection, condition: &Sql) -> Vec<Row> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events WHERE {} ORDER BY created_at DESC, id DESC",
        condition.text
    );
    let mut statement = db.prepare(&sql).unwrap();
    let rows = statement.query_map(params_from_iter(&condition.values), row::from_sql);
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

/// Rows by the texts of their properties, as [`crate::read::Reader::stats`] sorts them.
pub(super) fn stats(db: &Connection, filter: &Filter, by: &[GroupBy]) -> Vec<Group> {
    let columns: Vec<String> = by.iter().map(|&by| property(by)).collect();
    let condition = condition(filter);
    let sql = format!(
        "SELECT {} FROM events WHERE {}",
        columns.join(", "),
        condition.text
    );
    let mut statement = db.prepare(&sql).unwrap();
    let mut rows = statement
        .query(params_from_iter(&condition.values))
        .unwrap();
    let mut counts: HashMap<Vec<Option<String>>, u64> = HashMap::new();
    while let Some(row) = rows.next().unwrap() {
        let value = |column| row::to_text(row.get_ref(column).unwrap());
        *counts
            .entry((0..by.len()).map(value).collect())
            .or_default() += 1;
    }
    let mut groups: Vec<Group> = counts
        .into_iter()
        .map(|(values, events)| Group { values, events })
        .collect();
    groups.sort_unstable_by(|a, b| {
        b.events
            .cmp(&a.events)
            .then_with(|| a.values.cmp(&b.values))
    });
    groups
}

/// `created_at` of the oldest row.
pub(super) fn oldest(db: &Connection, filter: &Filter) -> Option<Timestamp> {
    let rows = list(db, filter);
    rows.last()
        .map(|row| Timestamp::parse(&row.created_at).unwrap())
}

/// A timeline: buckets, problems by bucket, whether they began before, and the first row.
pub(super) type TimelineCounts = (Vec<[u64; 4]>, Vec<u64>, bool, Option<Row>);

pub(super) fn timeline(db: &Connection, request: &TimelineRequest) -> TimelineCounts {
    let (from, to) = (request.from.millis(), request.to.millis());
    let buckets = usize::try_from((to - from + request.bucket_ms - 1) / request.bucket_ms).unwrap();
    let mut counts = vec![[0; 4]; buckets];
    let mut problems = vec![0; buckets];
    let (mut began_before, mut first): (bool, Option<(u8, Row)>) = (false, None);
    // Oldest first.
    for row in list(db, &request.filter).into_iter().rev() {
        let created = Timestamp::parse(&row.created_at).unwrap().millis();
        let severity: Severity = row.severity.parse().unwrap();
        let event_type: EventType = row.event_type.parse().unwrap();
        let is_live = matches!(
            event_type,
            EventType::Cluster | EventType::Health | EventType::Insight
        );
        let is_problem =
            severity >= Severity::Warning && (is_live || !request.filter.types.is_empty());
        let bucket = usize::try_from((created - from).max(0) / request.bucket_ms).unwrap();
        if bucket < buckets {
            counts[bucket][usize::try_from(severity.code()).unwrap()] += 1;
            problems[bucket] += u64::from(is_problem);
        }
        let rank = match event_type {
            _ if !is_problem => 2,
            EventType::Cluster if severity == Severity::Warning => 1,
            _ => 0,
        };
        if created < from {
            began_before |= is_problem;
        } else if first.as_ref().is_none_or(|(best, _)| rank < *best) {
            first = Some((rank, row));
        }
    }
    (counts, problems, began_before, first.map(|(_, row)| row))
}

fn condition(filter: &Filter) -> Sql {
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
    kinds(&mut sql, "object_kind", &filter.kinds);
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
    if !filter.objects.is_empty() {
        any(&mut sql, filter.objects.iter().map(about));
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
                kinds(&mut sql, &kind, wanted.kind.as_slice());
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

/// The relation `events` has no group.
fn kinds(sql: &mut Sql, column: &str, kinds: &[KindPattern]) {
    if !kinds.is_empty() {
        any(
            sql,
            kinds
                .iter()
                .map(|kind| matches(column, &kind.names, Case::Ignored)),
        );
    }
}

fn about(about: &ObjectPattern) -> Sql {
    let mut sql = Sql::new("1");
    kinds(&mut sql, "object_kind", std::slice::from_ref(&about.kind));
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

/// The column or expression that a property is.
fn property(property: GroupBy) -> String {
    match property {
        GroupBy::Type => "event_type".to_owned(),
        GroupBy::Severity => "severity".to_owned(),
        GroupBy::Namespace => "object_namespace".to_owned(),
        GroupBy::Kind => "object_kind".to_owned(),
        GroupBy::Name => "object_name".to_owned(),
        GroupBy::Reason | GroupBy::Node | GroupBy::Owner | GroupBy::Container => {
            meta(property.as_str())
        }
        GroupBy::Day => "strftime('%Y-%m-%d', created_at)".to_owned(),
        GroupBy::Hour => "strftime('%Y-%m-%dT%H:00Z', created_at)".to_owned(),
    }
}
