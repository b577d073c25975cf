//! When rows were created, in even buckets, and what to know beside them: changes of objects, and blind intervals.

use rusqlite::{Connection, params_from_iter};

use super::filter::Filter;
use super::numbers::Numbers;
use super::open::{Layout, Reader};
use super::plan;
use super::row::{self, Row};
use super::sql::Sql;
use super::tally::Tally;
use super::walk::Walk;
use super::{ReadError, expand, plain};
use crate::id::EventKey;
use crate::model::{EventType, Severity};
use crate::time::Timestamp;

/// Marks of one kind that are gathered; the newest are kept.
const MARKS_MAX: usize = 100;
/// Reason of the rows that tell how a pod ended: an effect, not a change by somebody.
const POD_ENDED: &str = "PodEnded";
/// Title of the rows that stand for a blind interval.
const GAP_TITLE: &str = "Recording gap";

/// What a timeline is asked for.
#[derive(Debug, Clone)]
pub struct TimelineRequest {
    /// Which rows; its times lie within the buckets, which begin at round times.
    pub filter: Filter,
    /// Start of the first bucket.
    pub from: Timestamp,
    /// End of the last bucket, exclusive.
    pub to: Timestamp,
    /// Width of a bucket in milliseconds; at least 1.
    pub bucket_ms: i64,
}

/// Rows over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// Rows by bucket and severity code. Rows created before the start that reach into the range are in the first one.
    pub buckets: Vec<[u64; 4]>,
    /// When it began: the oldest row of warning or worse that was created in the range; where there is none, the oldest.
    pub first: Option<Row>,
    /// Changes of objects and blind intervals in the range, oldest first.
    pub marks: Vec<Mark>,
    /// Changes that are left out of `marks`, because there are too many.
    pub marks_left_out: u64,
}

/// Something to know beside the counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What it is.
    pub kind: MarkKind,
    /// When it began.
    pub from: Timestamp,
    /// When it ended, the same for a change; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// Its row.
    pub row: Row,
}

/// What a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// An object was changed by somebody.
    Change,
    /// Nothing was recorded of a source.
    Gap,
}

impl Reader {
    /// Draws a timeline.
    pub fn timeline(&self, request: &TimelineRequest) -> Result<Timeline, ReadError> {
        let filter = &request.filter;
        self.snapshot(|connection| match self.layout() {
            Layout::Plain => plain_timeline(connection, filter, request),
            Layout::Interned => interned(connection, filter, request),
        })
    }

    /// `created_at` of the oldest row that matches.
    pub fn oldest(&self, filter: &Filter) -> Result<Option<Timestamp>, ReadError> {
        self.snapshot(|connection| match self.layout() {
            Layout::Plain => plain::oldest(connection, filter),
            Layout::Interned => {
                let mut oldest: Option<i64> = None;
                visit(connection, filter, "e.key", &mut |key, _| {
                    oldest = Some(oldest.map_or(key, |old| old.min(key)))
                })?;
                Ok(oldest.map(|key| EventKey::from_i64(key).created_at()))
            }
        })
    }
}

impl TimelineRequest {
    fn buckets(&self) -> Vec<[u64; 4]> {
        let span = (self.to.millis() - self.from.millis()).max(1);
        let width = self.bucket_ms.max(1);
        vec![[0; 4]; usize::try_from((span + width - 1) / width).unwrap_or(0)]
    }

    fn add(&self, buckets: &mut [[u64; 4]], created_ms: i64, severity: i64) {
        let at = (created_ms - self.from.millis()).max(0) / self.bucket_ms.max(1);
        let bucket = usize::try_from(at).ok().and_then(|at| buckets.get_mut(at));
        if let (Some(bucket), Ok(severity)) = (bucket, usize::try_from(severity)) {
            bucket[severity.min(3)] += 1;
        }
    }
}

/// Calls `each` with key and first column of every row of a filter.
fn visit(
    connection: &Connection,
    filter: &Filter,
    column: &str,
    each: &mut dyn FnMut(i64, i64),
) -> Result<(), ReadError> {
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok(());
    }
    let survey = Tally::new(connection, &numbers)?.survey(numbers.span.main)?;
    let way = plan::choose(connection, &numbers, &survey, u64::MAX)?;
    let walk = Walk {
        connection,
        numbers: &numbers,
        way,
    };
    let first = walk.first_column();
    walk.visit(column, &mut |row| {
        each(row.get(0)?, row.get(first)?);
        Ok(())
    })
}

fn interned(
    connection: &Connection,
    filter: &Filter,
    request: &TimelineRequest,
) -> Result<Timeline, ReadError> {
    let mut buckets = request.buckets();
    let start = EventKey::first_at(request.from).as_i64();
    let mut oldest: Option<(bool, i64)> = None;
    visit(connection, filter, "e.severity", &mut |key, severity| {
        let created = EventKey::from_i64(key).created_at();
        request.add(&mut buckets, created.millis(), severity);
        let candidate = (severity < Severity::Warning.code(), key);
        if key >= start && oldest.is_none_or(|oldest| candidate < oldest) {
            oldest = Some(candidate);
        }
    })?;
    let first = match oldest {
        Some((_, key)) => expand::Rows::new(connection)?.get(key)?,
        None => None,
    };
    let (marks, marks_left_out) = marks(connection, filter)?;
    Ok(Timeline {
        buckets,
        first,
        marks,
        marks_left_out,
    })
}

/// The gaps, and the changes in the filter's namespaces. What changed is often another object than the one asked for.
fn marks(connection: &Connection, filter: &Filter) -> Result<(Vec<Mark>, u64), ReadError> {
    let gaps = Filter {
        types: vec![EventType::System],
        since: filter.since,
        until: filter.until,
        ..Filter::default()
    };
    let mut marks = Vec::new();
    let mut keys = Vec::new();
    visit_where(
        connection,
        &gaps,
        "e.reason IN (SELECT id FROM reason WHERE title = ?)",
        GAP_TITLE,
        &mut keys,
    )?;
    let mut left_out = newest(&mut keys);
    read(connection, MarkKind::Gap, &keys, &mut marks)?;

    let mut namespaces = filter.namespaces.clone();
    namespaces.extend(
        filter
            .about
            .iter()
            .filter_map(|about| about.namespace.clone()),
    );
    let changes = Filter {
        types: vec![EventType::Cluster],
        since: filter.since,
        until: filter.until,
        namespaces,
        ..Filter::default()
    };
    // A row of the cluster that is no Event was made by kube9 when it saw an object change.
    keys.clear();
    visit_where(
        connection,
        &changes,
        "e.reason IN (SELECT id FROM reason WHERE kube_type = '' AND reason <> ?)",
        POD_ENDED,
        &mut keys,
    )?;
    left_out += newest(&mut keys);
    read(connection, MarkKind::Change, &keys, &mut marks)?;
    marks.sort_by_key(|mark| mark.from);
    Ok((marks, left_out))
}

fn visit_where(
    connection: &Connection,
    filter: &Filter,
    condition: &str,
    value: &str,
    keys: &mut Vec<i64>,
) -> Result<(), ReadError> {
    let mut sql = Sql::new(condition);
    sql.values.push(value.to_owned().into());
    let mut numbers = Numbers::of(connection, filter)?;
    numbers.require(sql);
    if numbers.nothing {
        return Ok(());
    }
    let survey = Tally::new(connection, &numbers)?.survey(numbers.span.main)?;
    let way = plan::choose(connection, &numbers, &survey, u64::MAX)?;
    let walk = Walk {
        connection,
        numbers: &numbers,
        way,
    };
    walk.visit("e.key", &mut |row| {
        keys.push(row.get(0)?);
        Ok(())
    })
}

/// Keeps the newest; returns how many are left out.
fn newest(keys: &mut Vec<i64>) -> u64 {
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let left_out = keys.len().saturating_sub(MARKS_MAX);
    keys.truncate(MARKS_MAX);
    left_out as u64
}

fn read(
    connection: &Connection,
    kind: MarkKind,
    keys: &[i64],
    marks: &mut Vec<Mark>,
) -> Result<(), ReadError> {
    let mut rows = expand::Rows::new(connection)?;
    let mut end = connection.prepare(
        "SELECT e.last_ms, EXISTS (SELECT 1 FROM watch_state w WHERE w.gap = e.key) FROM event e WHERE e.key = ?",
    )?;
    for key in keys {
        let from = EventKey::from_i64(*key).created_at();
        let (last_ms, lasts): (i64, bool) =
            end.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let to = match kind {
            MarkKind::Change => Some(from),
            MarkKind::Gap if lasts => None,
            MarkKind::Gap => Some(Timestamp::from_millis(from.millis() + last_ms.max(0))),
        };
        if let Some(row) = rows.get(*key)? {
            marks.push(Mark {
                kind,
                from,
                to,
                row,
            });
        }
    }
    Ok(())
}

/// A plain table knows neither gaps nor changes.
fn plain_timeline(
    connection: &Connection,
    filter: &Filter,
    request: &TimelineRequest,
) -> Result<Timeline, ReadError> {
    let mut buckets = request.buckets();
    let condition = plain::condition(filter);
    let sql = format!(
        "SELECT {}, severity FROM events WHERE {}",
        plain::CREATED_MS,
        condition.text
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&condition.values))?;
    while let Some(found) = rows.next()? {
        let severity = row::to_text(found.get_ref(1)?).unwrap_or_default();
        let code = severity.parse::<Severity>().map_or(0, Severity::code);
        if let Some(created_ms) = found.get::<_, Option<i64>>(0)? {
            request.add(&mut buckets, created_ms, code);
        }
    }
    Ok(Timeline {
        buckets,
        first: None,
        marks: Vec::new(),
        marks_left_out: 0,
    })
}
