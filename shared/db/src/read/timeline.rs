//! When rows were created, in even buckets, and what to know beside them: changes of objects, and blind intervals.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::bounds::Budget;
use super::filter::{Filter, Pattern};
use super::numbers::Numbers;
use super::open::Reader;
use super::row::Row;
use super::sql::Sql;
use super::walk::Walk;
use super::{ReadError, expand};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// Marks of one kind that are gathered.
const MARKS_MAX: usize = 100;
/// Of these, those before the first row: a question about a week has more changes than anybody reads, and what matters
/// is what came before it began.
const MARKS_BEFORE: usize = MARKS_MAX / 2;
/// Changes are gathered from so long before the first bucket on: what caused the first row happened before it.
const CHANGES_BEFORE: Duration = Duration::from_secs(3600);
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
    /// By bucket, the rows that are trouble: warning or worse, and neither a standing assessment nor kube9's own life,
    /// unless these types were asked for.
    pub trouble: Vec<u64>,
    /// Whether there was trouble before the first bucket that reaches into it.
    pub is_old: bool,
    /// When it began: the oldest trouble that was created in the range; where there is none, the oldest row.
    pub first: Option<Row>,
    /// Changes of objects, from an hour before the first bucket on, and blind intervals in the range, oldest first.
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
        self.snapshot(|connection| timeline(connection, request))
    }

    /// `created_at` of the oldest row that matches.
    pub fn oldest(&self, filter: &Filter) -> Result<Option<Timestamp>, ReadError> {
        self.snapshot(|connection| {
            let mut oldest: Option<i64> = None;
            visit(connection, filter, &mut |key, _, _| {
                oldest = Some(oldest.map_or(key, |old| old.min(key)))
            })?;
            Ok(oldest.map(|key| EventKey::from_i64(key).created_at()))
        })
    }
}

impl TimelineRequest {
    fn buckets(&self) -> usize {
        let span = (self.to.millis() - self.from.millis()).max(1);
        let width = self.bucket_ms.max(1);
        usize::try_from((span + width - 1) / width).unwrap_or(0)
    }

    /// Whether a row is what somebody looks for who asks when it began.
    fn is_trouble(&self, event_type: i64, severity: i64) -> bool {
        const LIVE: [i64; 3] = [
            EventType::Cluster.code(),
            EventType::Health.code(),
            EventType::Insight.code(),
        ];
        severity >= Severity::Warning.code()
            && (LIVE.contains(&event_type) || !self.filter.types.is_empty())
    }
}

/// What is counted while the rows go by.
struct Counts<'a> {
    request: &'a TimelineRequest,
    buckets: Vec<[u64; 4]>,
    trouble: Vec<u64>,
    is_old: bool,
    /// Oldest row in the range, trouble before all else: no trouble?, time, its key.
    first: Option<(bool, i64, i64)>,
}

impl<'a> Counts<'a> {
    fn new(request: &'a TimelineRequest) -> Self {
        let buckets = request.buckets();
        Self {
            request,
            buckets: vec![[0; 4]; buckets],
            trouble: vec![0; buckets],
            is_old: false,
            first: None,
        }
    }

    fn add(&mut self, key: i64, created_ms: i64, event_type: i64, severity: i64) {
        let since_from = created_ms.saturating_sub(self.request.from.millis());
        let is_trouble = self.request.is_trouble(event_type, severity);
        let bucket = usize::try_from(since_from.max(0) / self.request.bucket_ms.max(1));
        let (Ok(bucket), Ok(severity)) = (bucket, usize::try_from(severity)) else {
            return;
        };
        if let Some(counts) = self.buckets.get_mut(bucket) {
            counts[severity.min(3)] += 1;
            self.trouble[bucket] += u64::from(is_trouble);
        }
        if since_from < 0 {
            self.is_old |= is_trouble;
            return;
        }
        let candidate = (!is_trouble, created_ms, key);
        if self.first.is_none_or(|first| candidate < first) {
            self.first = Some(candidate);
        }
    }
}

/// Calls `each` with key, type and severity of every row of a filter.
fn visit(
    connection: &Connection,
    filter: &Filter,
    each: &mut dyn FnMut(i64, i64, i64),
) -> Result<(), ReadError> {
    let numbers = Numbers::of(connection, filter)?;
    if numbers.nothing {
        return Ok(());
    }
    Walk::new(connection, &numbers)?.visit("e.type, e.severity", &mut |row| {
        each(row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(())
    })
}

fn timeline(connection: &Connection, request: &TimelineRequest) -> Result<Timeline, ReadError> {
    let mut counts = Counts::new(request);
    visit(
        connection,
        &request.filter,
        &mut |key, event_type, severity| {
            let created = EventKey::from_i64(key).created_at();
            counts.add(key, created.millis(), event_type, severity);
        },
    )?;
    let Counts {
        buckets,
        trouble,
        is_old,
        first,
        ..
    } = counts;
    let first = first.map(|(_, _, key)| key);
    let row = match first {
        Some(key) => expand::Rows::new(connection)?.get(key)?,
        None => None,
    };
    let (marks, marks_left_out) = marks(connection, request, first)?;
    Ok(Timeline {
        buckets,
        trouble,
        is_old,
        first: row,
        marks,
        marks_left_out,
    })
}

/// The gaps, and the changes in the filter's namespaces and of what has no namespace. What changed is often another
/// object than the one asked for.
fn marks(
    connection: &Connection,
    request: &TimelineRequest,
    first: Option<i64>,
) -> Result<(Vec<Mark>, u64), ReadError> {
    let filter = &request.filter;
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
        "e.imported_id IS NULL AND e.class IN (SELECT id FROM event_class WHERE title = ?)",
        GAP_TITLE,
        &mut keys,
    )?;
    let mut left_out = choose(&mut keys, first);
    let mut budget = Budget::page();
    left_out += read(connection, MarkKind::Gap, &keys, &mut budget, &mut marks)?;

    let mut namespaces = filter.namespaces.clone();
    namespaces.extend(
        filter
            .about
            .iter()
            .filter_map(|about| about.namespace.clone()),
    );
    let mut changes = Filter {
        types: vec![EventType::Cluster],
        since: filter.since.map(|since| since.minus(CHANGES_BEFORE)),
        until: filter.until,
        namespaces,
        ..Filter::default()
    };
    keys.clear();
    changed(connection, &changes, &mut keys)?;
    if !changes.namespaces.is_empty() {
        changes.namespaces.clear();
        // The only kind among the watched ones that has no namespace.
        changes.kinds.extend(Pattern::parse("Node"));
        changed(connection, &changes, &mut keys)?;
    }
    left_out += choose(&mut keys, first);
    left_out += read(connection, MarkKind::Change, &keys, &mut budget, &mut marks)?;
    marks.sort_by_key(|mark| mark.from);
    Ok((marks, left_out))
}

/// Appends the changes of a filter: a row of the cluster that is not an Event was made by kube9 when it saw one,
/// unless it came from the original operator, which recorded Events alone.
fn changed(connection: &Connection, filter: &Filter, keys: &mut Vec<i64>) -> Result<(), ReadError> {
    visit_where(
        connection,
        filter,
        "e.imported_id IS NULL AND e.class IN (SELECT id FROM event_class WHERE kube_type = '' AND reason <> ?)",
        POD_ENDED,
        keys,
    )
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
    Walk::new(connection, &numbers)?.visit("e.key", &mut |row| {
        keys.push(row.get(0)?);
        Ok(())
    })
}

/// Keeps the last ones up to the first row, and the newest; returns how many are left out.
fn choose(keys: &mut Vec<i64>, first: Option<i64>) -> u64 {
    let all = keys.len();
    if all <= MARKS_MAX {
        return 0;
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let before = keys
        .iter()
        .filter(|&&key| first.is_some_and(|first| key <= first));
    let mut kept: BTreeSet<i64> = before.take(MARKS_BEFORE).copied().collect();
    for &key in keys.iter() {
        if kept.len() == MARKS_MAX {
            break;
        }
        kept.insert(key);
    }
    *keys = kept.into_iter().collect();
    (all - keys.len()) as u64
}

/// Reads the marks with these keys, as many as fit; returns how many do not.
fn read(
    connection: &Connection,
    kind: MarkKind,
    keys: &[i64],
    budget: &mut Budget,
    marks: &mut Vec<Mark>,
) -> Result<u64, ReadError> {
    let mut rows = expand::Rows::new(connection)?;
    let mut end = connection.prepare(
        "SELECT e.last_offset_ms, EXISTS (SELECT 1 FROM watch_state w WHERE w.gap = e.key) FROM event e WHERE e.key = ?",
    )?;
    for (read, key) in keys.iter().enumerate() {
        let from = EventKey::from_i64(*key).created_at();
        let (last_ms, lasts): (i64, bool) =
            end.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let to = match kind {
            MarkKind::Change => Some(from),
            MarkKind::Gap if lasts => None,
            MarkKind::Gap => Some(Timestamp::from_millis(
                from.millis().saturating_add(last_ms.max(0)),
            )),
        };
        if let Some(row) = rows.get(*key)? {
            if !budget.takes(&row) {
                return Ok((keys.len() - read) as u64);
            }
            marks.push(Mark {
                kind,
                from,
                to,
                row,
            });
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_before_the_first_row_are_kept_when_there_are_too_many() {
        let mut few: Vec<i64> = (0..100).rev().collect();
        assert_eq!(choose(&mut few, Some(3)), 0);
        assert_eq!(few.len(), 100);
        for (first, expected) in [
            (Some(499), (450..500).chain(950..1000).collect::<Vec<_>>()),
            (None, (900..1000).collect()),
            (Some(9), (0..10).chain(910..1000).collect()),
        ] {
            let mut keys: Vec<i64> = (0..1000).collect();
            assert_eq!(choose(&mut keys, first), 900);
            assert_eq!(keys, expected, "{first:?}");
        }
    }
}
