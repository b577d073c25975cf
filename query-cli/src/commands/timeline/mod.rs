//! `events timeline`: when it began, what changed just before, and where the record has holes.

mod chart;
mod story;

use std::io::Write;
use std::time::Duration;

use kube9_db::read::{Filter, GroupBy, Marker, MarkerKind, Reader, Row, Timeline, TimelineRequest};
use kube9_model::Severity;
use kube9_model::time::Timestamp;
use serde::Serialize;

use super::Context;
use super::status::HEARTBEAT_LATE;
use crate::args::{Format, TimelineArgs};
use crate::failure::Failure;
use crate::output::{self, Out};

/// Columns before a line of the picture, and of what is told under it: what the line is.
const LABEL: usize = 10;
/// Buckets of a document, where no width is asked for.
const BUCKETS_USUAL: usize = 60;
/// More would be a list, not a timeline.
const BUCKETS_MAX: i64 = 10_000;
/// Round widths, in seconds.
const WIDTHS: [i64; 26] = [
    1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 10_800,
    14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000,
];
/// The last moment that has a name: 9999-12-31T23:59:59.999Z.
const LAST_MS: i64 = 253_402_300_799_999;
/// Fewer rows in a bucket are no peak.
const PEAK_MIN: u64 = 3;
/// Reasons that are named of the peak.
const PEAK_REASONS: usize = 3;

/// All that is shown.
struct Answer {
    request: TimelineRequest,
    timeline: Timeline,
    /// End of the range; the last bucket may end later.
    until: Timestamp,
    now: Timestamp,
    peak: Option<Peak>,
    /// Where the range begins before the record does.
    record_begins: Option<Timestamp>,
    /// The last sign of life of a recorder that does not run any more.
    silent_since: Option<Timestamp>,
}

/// The bucket with the most trouble, where it did not begin in it.
#[derive(Debug)]
struct Peak {
    from: Timestamp,
    to: Timestamp,
    events: u64,
    reasons: Vec<String>,
}

/// How far a gap was healed, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Healed {
    Yes,
    Partly,
    No,
}

impl Healed {
    fn of(gap: &Marker) -> Self {
        let metadata = output::metadata(&gap.row);
        match metadata["healed"].as_str() {
            Some("true") => Self::Yes,
            Some("partial") => Self::Partly,
            _ => Self::No,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "true",
            Self::Partly => "partial",
            Self::No => "false",
        }
    }
}

pub(super) fn run(context: &Context, args: &TimelineArgs) -> Result<(), Failure> {
    let now = Timestamp::now();
    let filter = args.filter.resolve(now)?;
    let reader = context.open()?;
    let is_chart = matches!(context.format, Format::Table);
    let columns = if is_chart {
        chart::columns(context.screen)
    } else {
        BUCKETS_USUAL
    };
    let answer = ask(&reader, filter, now, &|since, until| {
        bucket(args, since, until, columns, is_chart)
    })?;
    let mut out = Out::stdout();
    match context.format {
        Format::Json => output::write_json(&mut out, &Document::of(&answer))?,
        Format::Yaml => output::write_yaml(&mut out, &Document::of(&answer))?,
        _ => {
            let mut lines = chart::draw(&answer, context.screen);
            lines.push(String::new());
            lines.extend(story::tell(&answer, context.screen, now));
            for line in lines {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    out.finish()
}

fn ask(
    reader: &Reader,
    mut filter: Filter,
    now: Timestamp,
    bucket: &dyn Fn(Timestamp, Timestamp) -> Result<i64, Failure>,
) -> Result<Answer, Failure> {
    let until = *filter.until.get_or_insert(now.plus(Duration::from_secs(1)));
    let since = match filter.since {
        Some(since) => since,
        None => beginning(reader.oldest(&filter)?, until),
    };
    // Nothing is recorded from before this moment; and what is shown stays within the calendar.
    let since = since.max(Timestamp::EPOCH.min(until));
    filter.since = Some(since);
    let bucket_ms = bucket(since, until)?;
    let request = request(filter, since, until, bucket_ms);
    let timeline = reader.timeline(&request)?;
    let status = reader.status(now)?;
    let oldest = status.oldest.as_deref().map(Timestamp::parse);
    let record_begins = match oldest {
        Some(Ok(oldest)) if oldest > since => Some(oldest.min(request.to)),
        _ => None,
    };
    let silent_since = status.recorder.as_ref().and_then(|state| {
        let is_late = state.stopped.is_some() || now.since(state.heartbeat) > HEARTBEAT_LATE;
        let since = state.stopped.unwrap_or(state.heartbeat);
        (is_late && since < until && now > request.from).then_some(since)
    });
    Ok(Answer {
        peak: peak(reader, &timeline, &request)?,
        request,
        timeline,
        until,
        now,
        record_begins,
        silent_since,
    })
}

/// Where a range begins that nobody limits: a little before the oldest row, so that what led to it is seen too.
fn beginning(oldest: Option<Timestamp>, until: Timestamp) -> Timestamp {
    const LEAD_PART: u32 = 20;
    const LEAD_MAX: Duration = Duration::from_secs(86_400);
    let oldest = oldest.unwrap_or(until).min(until);
    oldest.minus((until.since(oldest) / LEAD_PART).min(LEAD_MAX))
}

/// The bucket with the most trouble, if it is another one than that of the first.
fn peak(
    reader: &Reader,
    timeline: &Timeline,
    request: &TimelineRequest,
) -> Result<Option<Peak>, Failure> {
    let most = timeline.problems.iter().copied().max().unwrap_or(0);
    let place = |count: &u64| *count == most;
    let (Some(at), Some(first)) = (
        timeline.problems.iter().position(place),
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

/// Buckets begin at round times, the first one at or before `since`.
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

fn bucket(
    args: &TimelineArgs,
    since: Timestamp,
    until: Timestamp,
    wanted: usize,
    is_chart: bool,
) -> Result<i64, Failure> {
    let span = (until.millis() - since.millis()).max(1);
    let wanted = i64::try_from(wanted).unwrap_or(i64::MAX).max(2);
    let count = |width: i64| span / width + 2;
    if let Some(asked) = args.bucket {
        let asked = i64::try_from(asked.as_millis()).unwrap_or(i64::MAX);
        if asked == 0 || span / asked > BUCKETS_MAX {
            return Err(Failure::Usage(format!(
                "--bucket is too narrow: the range would have more than {BUCKETS_MAX} of them"
            )));
        }
        // A chart has as many columns as it has; several buckets share one where they are too many.
        let share = if is_chart {
            (1..).find(|n| count(asked * n) <= wanted).unwrap_or(1)
        } else {
            1
        };
        return Ok(asked * share);
    }
    let fits = WIDTHS
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
    first_event: Option<Brief>,
    /// Whether there was trouble before the range that reaches into it.
    began_before: bool,
    peak: Option<PeakEntry>,
    buckets: Vec<Bucket>,
    changes: Vec<Change>,
    gaps: Vec<Gap>,
    marks_left_out: u64,
    /// Where the range begins before the record does.
    record_begins: Option<String>,
    /// Last sign of life of a recorder that does not run.
    recorder_silent_since: Option<String>,
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
struct Brief {
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
    event: Brief,
    description: Option<String>,
}

#[derive(Serialize)]
struct Gap {
    from: String,
    /// Null while it lasts.
    to: Option<String>,
    event_id: String,
    description: Option<String>,
    healed: &'static str,
}

impl Brief {
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
            first_event: timeline.first.as_ref().map(Brief::of),
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
                .map(|mark| Change {
                    at: mark.from.to_string(),
                    event: Brief::of(&mark.row),
                    description: mark.row.description.clone(),
                })
                .collect(),
            gaps: answer
                .of(MarkerKind::Gap)
                .map(|mark| Gap {
                    from: mark.from.to_string(),
                    to: mark.to.map(|to| to.to_string()),
                    event_id: mark.row.id.clone(),
                    description: mark.row.description.clone(),
                    healed: Healed::of(mark).as_str(),
                })
                .collect(),
            marks_left_out: timeline.omitted_markers,
            record_begins: answer.record_begins.map(|time| time.to_string()),
            recorder_silent_since: answer.silent_since.map(|time| time.to_string()),
        }
    }
}

impl Answer {
    fn of(&self, kind: MarkerKind) -> impl Iterator<Item = &Marker> {
        self.timeline
            .markers
            .iter()
            .filter(move |mark| mark.kind == kind)
    }
}
