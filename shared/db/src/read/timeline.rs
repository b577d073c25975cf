//! Rows over time in even buckets, with markers for changes of objects and gaps in the record.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::filter::{Filter, KindPattern, Pattern};
use super::limits::PageBudget;
use super::open::Reader;
use super::resolve::ResolvedFilter;
use super::row::Row;
use super::row_scan::RowScan;
use super::sql::Sql;
use super::{ReadError, decode};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

/// Markers of one kind.
const MARKERS_MAX: usize = 100;
/// Of these, the ones before the first row: over a week there are more changes than anyone reads, and those just before the
/// start of the problem matter most.
const MARKERS_BEFORE_FIRST: usize = MARKERS_MAX / 2;
/// Changes are included from this long before the first bucket: the cause of the first row precedes it.
const CHANGES_LEAD: Duration = Duration::from_secs(3600);
/// Reason of the rows about the end of a pod: an effect, not a change of its spec.
const POD_ENDED: &str = "PodEnded";
/// Title of gap rows.
const GAP_TITLE: &str = "Recording gap";

/// A request for a timeline.
#[derive(Debug, Clone)]
pub struct TimelineRequest {
    /// Which rows; its time range lies within the buckets, which start at round times.
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
    /// Rows by bucket and severity code. Rows created before the range that reach into it count in the first bucket.
    pub buckets: Vec<[u64; 4]>,
    /// Problems by bucket: rows of severity warning or higher, but no assessments and no rows about kube9 itself, unless the
    /// filter names these types.
    pub problems: Vec<u64>,
    /// Whether a problem from before the first bucket reaches into it.
    pub began_before: bool,
    /// The oldest problem created in the range; without one, the oldest row.
    pub first: Option<Row>,
    /// Changes of objects, from an hour before the first bucket, and gaps in the range, oldest first.
    pub markers: Vec<Marker>,
    /// Number of markers that are omitted because there are too many.
    pub omitted_markers: u64,
}

/// A change or a gap on the time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// What it marks.
    pub kind: MarkerKind,
    /// Start.
    pub from: Timestamp,
    /// End; equal to the start for a change, `None` for an open gap.
    pub to: Option<Timestamp>,
    /// Its row.
    pub row: Row,
}

/// What a marker stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerKind {
    /// A change of an object.
    Change,
    /// An interval in which a kind was not watched.
    Gap,
}

impl Reader {
    /// Builds a timeline.
    pub fn timeline(&self, request: &TimelineRequest) -> Result<Timeline, ReadError> {
        self.snapshot(|connection| timeline(connection, request))
    }

    /// `created_at` of the oldest row that matches.
    pub fn oldest(&self, filter: &Filter) -> Result<Option<Timestamp>, ReadError> {
        self.snapshot(|connection| {
            let mut oldest: Option<i64> = None;
            for_each_row(connection, filter, &mut |key, _, _| {
                oldest = Some(oldest.map_or(key, |old| old.min(key)))
            })?;
            Ok(oldest.map(|key| EventKey::from_i64(key).created_at()))
        })
    }
}

impl TimelineRequest {
    fn bucket_count(&self) -> usize {
        let span = (self.to.millis() - self.from.millis()).max(1);
        let width = self.bucket_ms.max(1);
        usize::try_from((span + width - 1) / width).unwrap_or(0)
    }

    /// Whether a row can be the start of an incident.
    fn is_problem(&self, event_type: i64, severity: i64) -> bool {
        const INCIDENT_TYPES: [EventType; 3] =
            [EventType::Cluster, EventType::Health, EventType::Insight];
        let is_incident =
            || EventType::of_row(event_type).is_some_and(|t| INCIDENT_TYPES.contains(&t));
        severity >= Severity::Warning.code() && (!self.filter.types.is_empty() || is_incident())
    }

    /// How well a row tells when an incident began; the lowest is the best. A warning of the cluster may be a note about a
    /// node that starts or a deprecation: it counts only without a finding or an error.
    fn rank(&self, event_type: i64, severity: i64) -> u8 {
        let is_warning = severity == Severity::Warning.code();
        let is_finding = EventType::of_row(event_type) != Some(EventType::Cluster);
        match self.is_problem(event_type, severity) {
            true if is_finding || !is_warning => 0,
            true => 1,
            false => 2,
        }
    }
}

/// Counts of one pass over the rows.
struct Counts<'a> {
    request: &'a TimelineRequest,
    buckets: Vec<[u64; 4]>,
    problems: Vec<u64>,
    began_before: bool,
    /// The first of the rows that tell best when an incident began: (rank, time, key).
    first: Option<(u8, i64, i64)>,
}

impl<'a> Counts<'a> {
    fn new(request: &'a TimelineRequest) -> Self {
        let buckets = request.bucket_count();
        Self {
            request,
            buckets: vec![[0; 4]; buckets],
            problems: vec![0; buckets],
            began_before: false,
            first: None,
        }
    }

    fn add(&mut self, key: i64, created_ms: i64, event_type: i64, severity: i64) {
        let since_from = created_ms.saturating_sub(self.request.from.millis());
        let is_problem = self.request.is_problem(event_type, severity);
        let rank = self.request.rank(event_type, severity);
        let bucket = usize::try_from(since_from.max(0) / self.request.bucket_ms.max(1));
        let (Ok(bucket), Ok(severity)) = (bucket, usize::try_from(severity)) else {
            return;
        };
        if let Some(counts) = self.buckets.get_mut(bucket) {
            counts[severity.min(3)] += 1;
            self.problems[bucket] += u64::from(is_problem);
        }
        if since_from < 0 {
            self.began_before |= is_problem;
            return;
        }
        let candidate = (rank, created_ms, key);
        if self.first.is_none_or(|first| candidate < first) {
            self.first = Some(candidate);
        }
    }
}

/// Calls `each` with key, type and severity of every row of a filter.
fn for_each_row(
    connection: &Connection,
    filter: &Filter,
    each: &mut dyn FnMut(i64, i64, i64),
) -> Result<(), ReadError> {
    let resolved = ResolvedFilter::new(connection, filter)?;
    if resolved.matches_nothing {
        return Ok(());
    }
    RowScan::new(connection, &resolved)?.for_each("e.type, e.severity", &mut |row| {
        each(row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(())
    })
}

fn timeline(connection: &Connection, request: &TimelineRequest) -> Result<Timeline, ReadError> {
    let mut counts = Counts::new(request);
    for_each_row(
        connection,
        &request.filter,
        &mut |key, event_type, severity| {
            let created = EventKey::from_i64(key).created_at();
            counts.add(key, created.millis(), event_type, severity);
        },
    )?;
    let Counts {
        buckets,
        problems,
        began_before,
        first,
        ..
    } = counts;
    let first = first.map(|(_, _, key)| key);
    let row = match first {
        Some(key) => decode::RowReader::new(connection)?.get(key)?,
        None => None,
    };
    let (markers, omitted_markers) = markers(connection, request, first)?;
    Ok(Timeline {
        buckets,
        problems,
        began_before,
        first: row,
        markers,
        omitted_markers,
    })
}

/// The gaps, and the changes of objects in the filter's namespaces and of nodes. The object that changed is often not the
/// one that the filter names.
fn markers(
    connection: &Connection,
    request: &TimelineRequest,
    first: Option<i64>,
) -> Result<(Vec<Marker>, u64), ReadError> {
    let filter = &request.filter;
    let gaps = Filter {
        types: vec![EventType::System],
        since: filter.since,
        until: filter.until,
        ..Filter::default()
    };
    let mut markers = Vec::new();
    let mut keys = Vec::new();
    keys_where(
        connection,
        &gaps,
        "e.imported_id IS NULL AND e.class IN (SELECT id FROM event_class WHERE title = ?)",
        GAP_TITLE,
        &mut keys,
    )?;
    let mut omitted = keep_most_relevant(&mut keys, first);
    let mut budget = PageBudget::new();
    omitted += read(
        connection,
        MarkerKind::Gap,
        &keys,
        &mut budget,
        &mut markers,
    )?;

    let mut namespaces = filter.namespaces.clone();
    namespaces.extend(
        filter
            .objects
            .iter()
            .filter_map(|object| object.namespace.clone()),
    );
    let mut changes = Filter {
        types: vec![EventType::Cluster],
        since: filter.since.map(|since| since.minus(CHANGES_LEAD)),
        until: filter.until,
        namespaces,
        ..Filter::default()
    };
    keys.clear();
    change_keys(connection, &changes, &mut keys)?;
    if !changes.namespaces.is_empty() {
        changes.namespaces.clear();
        // Node is the only watched kind without a namespace.
        changes
            .kinds
            .extend(Pattern::parse("Node").map(KindPattern::from));
        change_keys(connection, &changes, &mut keys)?;
    }
    omitted += keep_most_relevant(&mut keys, first);
    omitted += read(
        connection,
        MarkerKind::Change,
        &keys,
        &mut budget,
        &mut markers,
    )?;
    markers.sort_by_key(|marker| marker.from);
    Ok((markers, omitted))
}

/// Appends the keys of changes: rows of type cluster that are not Kubernetes Events, and were not imported from the original
/// operator, which recorded only Events.
fn change_keys(
    connection: &Connection,
    filter: &Filter,
    keys: &mut Vec<i64>,
) -> Result<(), ReadError> {
    keys_where(
        connection,
        filter,
        "e.imported_id IS NULL AND e.class IN (SELECT id FROM event_class WHERE kube_type = '' AND reason <> ?)",
        POD_ENDED,
        keys,
    )
}

fn keys_where(
    connection: &Connection,
    filter: &Filter,
    condition: &str,
    value: &str,
    keys: &mut Vec<i64>,
) -> Result<(), ReadError> {
    let mut sql = Sql::new(condition);
    sql.values.push(value.to_owned().into());
    let mut resolved = ResolvedFilter::new(connection, filter)?;
    resolved.add_condition(sql);
    if resolved.matches_nothing {
        return Ok(());
    }
    RowScan::new(connection, &resolved)?.for_each("e.key", &mut |row| {
        keys.push(row.get(0)?);
        Ok(())
    })
}

/// Keeps the newest keys up to that of the first row, then the newest of all; returns how many were dropped.
fn keep_most_relevant(keys: &mut Vec<i64>, first: Option<i64>) -> u64 {
    let all = keys.len();
    if all <= MARKERS_MAX {
        return 0;
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let before = keys
        .iter()
        .filter(|&&key| first.is_some_and(|first| key <= first));
    let mut kept: BTreeSet<i64> = before.take(MARKERS_BEFORE_FIRST).copied().collect();
    for &key in keys.iter() {
        if kept.len() == MARKERS_MAX {
            break;
        }
        kept.insert(key);
    }
    *keys = kept.into_iter().collect();
    (all - keys.len()) as u64
}

/// Reads the rows of markers, as many as fit; returns how many did not.
fn read(
    connection: &Connection,
    kind: MarkerKind,
    keys: &[i64],
    budget: &mut PageBudget,
    markers: &mut Vec<Marker>,
) -> Result<u64, ReadError> {
    let mut rows = decode::RowReader::new(connection)?;
    let mut end = connection.prepare(
        "SELECT e.last_offset_ms, EXISTS (SELECT 1 FROM watch_state w WHERE w.gap = e.key) FROM event e WHERE e.key = ?",
    )?;
    for (read, key) in keys.iter().enumerate() {
        let from = EventKey::from_i64(*key).created_at();
        let (last_ms, is_open): (i64, bool) =
            end.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let to = match kind {
            MarkerKind::Change => Some(from),
            MarkerKind::Gap if is_open => None,
            MarkerKind::Gap => Some(Timestamp::from_millis(
                from.millis().saturating_add(last_ms.max(0)),
            )),
        };
        if let Some(row) = rows.get(*key)? {
            if !budget.try_add(&row) {
                return Ok((keys.len() - read) as u64);
            }
            markers.push(Marker {
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
    fn warning_of_the_cluster_begins_nothing_beside_a_finding_or_an_error() {
        let request = TimelineRequest {
            filter: Filter::default(),
            from: Timestamp::from_secs(0),
            to: Timestamp::from_secs(60),
            bucket_ms: 60_000,
        };
        let code = |event_type: EventType| event_type as i64;
        let first = |rows: &[(EventType, Severity)]| {
            let mut counts = Counts::new(&request);
            for (second, (event_type, severity)) in (0..).zip(rows) {
                counts.add(second, second * 1000, code(*event_type), severity.code());
            }
            counts.first.map(|(_, _, key)| key)
        };
        use EventType::{Assessment, Cluster, Health};
        use Severity::{Error, Info, Warning};
        for (rows, expected) in [
            (
                &[(Cluster, Warning), (Health, Warning), (Cluster, Error)][..],
                Some(1),
            ),
            (&[(Cluster, Warning), (Cluster, Error)], Some(1)),
            (
                &[(Cluster, Info), (Assessment, Error), (Cluster, Warning)],
                Some(2),
            ),
            (&[(Cluster, Info), (Cluster, Info)], Some(0)),
            (&[], None),
        ] {
            assert_eq!(first(rows), expected, "{rows:?}");
        }
    }

    #[test]
    fn keep_most_relevant_too_many_keeps_those_before_the_first_row() {
        let mut few: Vec<i64> = (0..100).rev().collect();
        assert_eq!(keep_most_relevant(&mut few, Some(3)), 0);
        assert_eq!(few.len(), 100);
        for (first, expected) in [
            (Some(499), (450..500).chain(950..1000).collect::<Vec<_>>()),
            (None, (900..1000).collect()),
            (Some(9), (0..10).chain(910..1000).collect()),
        ] {
            let mut keys: Vec<i64> = (0..1000).collect();
            assert_eq!(keep_most_relevant(&mut keys, first), 900);
            assert_eq!(keys, expected, "{first:?}");
        }
    }
}
