//! `events timeline`: when an incident began, what changed before it, and gaps in the record.

mod chart;
mod summary;

use std::io::Write;
use std::time::Duration;

use kube9_db::read::{Filter, GroupBy, Marker, MarkerKind, Reader, Row, Timeline, TimelineRequest};
use kube9_model::Severity;
use kube9_model::time::Timestamp;
use serde::Serialize;

use super::Context;
use super::status::HEARTBEAT_TIMEOUT;
use crate::args::{Format, TimelineArgs};
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::time_arg::Now;
use crate::zone::Zone;

/// Width of the labels.
const LABEL_WIDTH: usize = 10;
/// Default number of buckets of a document.
const BUCKETS_DEFAULT: usize = 60;
/// Maximum number of buckets.
const BUCKETS_MAX: i64 = 10_000;
/// Durations of a bucket, in seconds.
const BUCKET_SECONDS: [i64; 26] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800,
    14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
];
/// Latest time that can be formatted: 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;
/// Minimum number of problems of a peak.
const PEAK_MIN: u64 = 3;
/// Number of reasons listed for the peak.
const PEAK_REASONS: usize = 3;

/// The result of the query.
struct Answer {
    request: TimelineRequest,
    timeline: Timeline,
    /// End of the range; the last bucket may end later.
    until: Timestamp,
    now: Timestamp,
    /// Of the times that are printed.
    zone: Zone,
    peak: Option<Peak>,
    /// Start of the record, if it is within the range.
    record_start: Option<Timestamp>,
    /// Last heartbeat of a recorder that is not running.
    recorder_down_since: Option<Timestamp>,
}

/// The bucket with the most problems, if it is not the first one with problems.
#[derive(Debug)]
struct Peak {
    from: Timestamp,
    to: Timestamp,
    events: u64,
    reasons: Vec<String>,
}

/// To what extent the events of a gap were recovered, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Recovery {
    Complete,
    Partial,
    None,
}

impl Recovery {
    fn of(gap: &Marker) -> Self {
        let metadata = output::metadata(&gap.row);
        match metadata["recovery"].as_str() {
            Some("complete") => Self::Complete,
            Some("partial") => Self::Partial,
            _ => Self::None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::None => "none",
        }
    }
}

pub(super) fn run(context: &Context, args: &TimelineArgs) -> Result<(), CliError> {
    let now = context.now();
    let filter = args.filter.resolve(&now)?;
    let reader = context.open()?;
    let is_chart = matches!(context.format, Format::Table);
    let columns = if is_chart {
        chart::columns(context.terminal)
    } else {
        BUCKETS_DEFAULT
    };
    let answer = query(&reader, filter, &now, &|since, until| {
        bucket(args, since, until, columns, is_chart)
    })?;
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => output::write_json(&mut out, &Document::of(&answer))?,
        Format::Yaml => output::write_yaml(&mut out, &Document::of(&answer))?,
        _ => {
            let mut lines = chart::render(&answer, context.terminal);
            lines.push(String::new());
            lines.extend(summary::render(&answer, context.terminal, now.time));
            for line in lines {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    out.finish()
}

fn query(
    reader: &Reader,
    mut filter: Filter,
    now: &Now,
    bucket: &dyn Fn(Timestamp, Timestamp) -> Result<i64, CliError>,
) -> Result<Answer, CliError> {
    let (now, zone) = (now.time, now.zone.clone());
    let until = *filter.until.get_or_insert(now.plus(Duration::from_secs(1)));
    let since = match filter.since {
        Some(since) => since,
        None => default_start(reader.oldest(&filter)?, until),
    };
    // Nothing is recorded before 1970; this also keeps the times within the calendar.
    let since = since.max(Timestamp::EPOCH.min(until));
    filter.since = Some(since);
    let bucket_ms = bucket(since, until)?;
    let request = request(filter, since, until, bucket_ms);
    let timeline = reader.timeline(&request)?;
    let status = reader.status(now)?;
    let oldest = status.oldest.as_deref().map(Timestamp::parse);
    let record_start = match oldest {
        Some(Ok(oldest)) if oldest > since => Some(oldest.min(request.to)),
        _ => None,
    };
    let recorder_down_since = status.recorder.as_ref().and_then(|state| {
        let is_down = state.stopped.is_some() || now.since(state.heartbeat) > HEARTBEAT_TIMEOUT;
        let since = state.stopped.unwrap_or(state.heartbeat);
        (is_down && since < until && now > request.from).then_some(since)
    });
    Ok(Answer {
        peak: peak(reader, &timeline, &request)?,
        request,
        timeline,
        until,
        now,
        zone,
        record_start,
        recorder_down_since,
    })
}

/// Start of the range without --since: shortly before the oldest row, to include what led to it.
fn default_start(oldest: Option<Timestamp>, until: Timestamp) -> Timestamp {
    const LEAD_PART: u32 = 20;
    const LEAD_MAX: Duration = Duration::from_secs(86_400);
    let oldest = oldest.unwrap_or(until).min(until);
    oldest.minus((until.since(oldest) / LEAD_PART).min(LEAD_MAX))
}

/// The peak, if it is not in the first bucket with problems.
fn peak(
    reader: &Reader,
    timeline: &Timeline,
    request: &TimelineRequest,
) -> Result<Option<Peak>, CliError> {
    let most = timeline.problems.iter().copied().max().unwrap_or(0);
    let is_peak = |count: &u64| *count == most;
    let (Some(at), Some(first)) = (
        timeline.problems.iter().position(is_peak),
        timeline.problems.iter().position(|&count| count > 0),
    ) else {
        return Ok(None);
    };
    if at == first || most < PEAK_MIN {
        return Ok(None);
    }
    let from = Timestamp::from_millis(request.from.millis() + at as i64 * request.bucket_ms);
    let to = Timestamp::from_millis(from.millis() + request.bucket_ms);
    let mut filter = request.filter.clone();
    (filter.since, filter.until) = (Some(from), Some(to));
    if filter.severities.is_empty() {
        filter.severities = vec![Severity::Warning, Severity::Error, Severity::Critical];
    }
    let groups = reader.stats(&filter, &[GroupBy::Reason])?;
    let reasons = groups
        .into_iter()
        .filter_map(|group| group.values.into_iter().next().flatten())
        .take(PEAK_REASONS)
        .collect();
    Ok(Some(Peak {
        from,
        to,
        events: most,
        reasons,
    }))
}

/// Buckets start at round times, the first one at or before `since`.
fn request(filter: Filter, since: Timestamp, until: Timestamp, bucket_ms: i64) -> TimelineRequest {
    let from = since.millis().div_euclid(bucket_ms) * bucket_ms;
    let span = (until.millis() - from).max(1);
    let to = (from + (span + bucket_ms - 1) / bucket_ms * bucket_ms).min(LAST_MS);
    TimelineRequest {
        filter,
        from: Timestamp::from_millis(from),
        to: Timestamp::from_millis(to),
        bucket_ms,
    }
}

/// Duration of a bucket in milliseconds.
fn bucket(
    args: &TimelineArgs,
    since: Timestamp,
    until: Timestamp,
    wanted: usize,
    is_chart: bool,
) -> Result<i64, CliError> {
    let span = (until.millis() - since.millis()).max(1);
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).max(2);
    let count = |width: i64| span / width + 2;
    if let Some(requested) = args.bucket {
        let requested = i64::try_from(requested.as_millis()).unwrap_or(i64::MAX);
        if requested == 0 || span / requested > BUCKETS_MAX {
            return Err(CliError::Usage(format!(
                "--bucket is too short: the range would have more than {BUCKETS_MAX} buckets"
            )));
        }
        // If a chart has too few columns, several buckets share one.
        let share = if is_chart {
            (1..).find(|n| count(requested * n) <= wanted).unwrap_or(1)
        } else {
            1
        };
        return Ok(requested * share);
    }
    let fits = BUCKET_SECONDS
        .iter()
        .map(|seconds| seconds * 1000)
        .find(|&width| count(width) <= wanted);
    Ok(fits.unwrap_or_else(|| span / (wanted - 1) + 1))
}

#[derive(Serialize)]
struct Document {
    from: String,
    to: String,
    bucket_seconds: f64,
    total_events: u64,
    first_event: Option<EventSummary>,
    /// Whether a problem from before the range reaches into it.
    began_before: bool,
    peak: Option<PeakEntry>,
    buckets: Vec<Bucket>,
    changes: Vec<Change>,
    gaps: Vec<Gap>,
    /// Number of changes and gaps that are not listed because there are too many.
    omitted: u64,
    /// Start of the record, if it is within the range.
    record_starts_at: Option<String>,
    /// Last heartbeat of a recorder that is not running.
    recorder_down_since: Option<String>,
}

#[derive(Serialize)]
struct PeakEntry {
    from: String,
    to: String,
    events: u64,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Bucket {
    start: String,
    info: u64,
    warning: u64,
    error: u64,
    critical: u64,
}

#[derive(Serialize)]
struct EventSummary {
    id: String,
    created_at: String,
    severity: String,
    title: String,
    object_kind: Option<String>,
    object_namespace: Option<String>,
    object_name: Option<String>,
}

#[derive(Serialize)]
struct Change {
    at: String,
    #[serde(flatten)]
    event: EventSummary,
    description: Option<String>,
    /// Managers; null if they are not known.
    by: Option<Vec<String>>,
}

/// The managers that made a change, sorted; `None` if they are not known.
fn authors(row: &Row) -> Option<Vec<String>> {
    let metadata = output::metadata(row);
    let by = metadata.get("by")?.as_array()?.iter();
    let mut names: Vec<String> = by
        .filter_map(|by| Some(by.get("manager")?.as_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

#[derive(Serialize)]
struct Gap {
    from: String,
    /// Null if the gap is open.
    to: Option<String>,
    event_id: String,
    description: Option<String>,
    recovery: &'static str,
}

impl EventSummary {
    fn of(row: &Row) -> Self {
        Self {
            id: row.id.clone(),
            created_at: row.created_at.clone(),
            severity: row.severity.clone(),
            title: row.title.clone(),
            object_kind: row.object_kind.clone(),
            object_namespace: row.object_namespace.clone(),
            object_name: row.object_name.clone(),
        }
    }
}

impl Document {
    fn of(answer: &Answer) -> Self {
        let Answer {
            request, timeline, ..
        } = answer;
        let buckets = timeline.buckets.iter().enumerate().map(|(i, counts)| {
            let start = request.from.millis() + i as i64 * request.bucket_ms;
            let [info, warning, error, critical] = *counts;
            Bucket {
                start: Timestamp::from_millis(start).to_string(),
                info,
                warning,
                error,
                critical,
            }
        });
        Self {
            from: request.from.to_string(),
            to: request.to.to_string(),
            bucket_seconds: request.bucket_ms as f64 / 1000.0,
            total_events: timeline.buckets.iter().flatten().sum(),
            first_event: timeline.first.as_ref().map(EventSummary::of),
            began_before: timeline.began_before,
            peak: answer.peak.as_ref().map(|peak| PeakEntry {
                from: peak.from.to_string(),
                to: peak.to.to_string(),
                events: peak.events,
                reasons: peak.reasons.clone(),
            }),
            buckets: buckets.collect(),
            changes: answer
                .of(MarkerKind::Change)
                .map(|marker| Change {
                    at: marker.from.to_string(),
                    event: EventSummary::of(&marker.row),
                    description: marker.row.description.clone(),
                    by: authors(&marker.row),
                })
                .collect(),
            gaps: answer
                .of(MarkerKind::Gap)
                .map(|marker| Gap {
                    from: marker.from.to_string(),
                    to: marker.to.map(|to| to.to_string()),
                    event_id: marker.row.id.clone(),
                    description: marker.row.description.clone(),
                    recovery: Recovery::of(marker).as_str(),
                })
                .collect(),
            omitted: timeline.omitted_markers,
            record_starts_at: answer.record_start.map(|time| time.to_string()),
            recorder_down_since: answer.recorder_down_since.map(|time| time.to_string()),
        }
    }
}

impl Answer {
    fn of(&self, kind: MarkerKind) -> impl Iterator<Item = &Marker> {
        self.timeline
            .markers
            .iter()
            .filter(move |marker| marker.kind == kind)
    }
}
