//! `events timeline`: when it began, what changed just before, and where the record has holes.

mod chart;

use std::io::Write;

use kube9_shared::model::Severity;
use kube9_shared::read::{Filter, Mark, MarkKind, Row, Timeline, TimelineRequest};
use kube9_shared::time::Timestamp;
use serde::Serialize;

use super::Context;
use crate::args::{Format, TimelineArgs};
use crate::failure::Failure;
use crate::output::{self, Out};

/// Buckets of a document, where no width is asked for.
const BUCKETS_USUAL: usize = 60;
/// More would be a list, not a timeline.
const BUCKETS_MAX: i64 = 10_000;
/// Round widths, in seconds.
const WIDTHS: [i64; 19] = [
    1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
    172_800, 604_800, 2_592_000,
];

pub(super) fn run(context: &Context, args: &TimelineArgs) -> Result<(), Failure> {
    let now = Timestamp::now();
    let mut filter = args.filter.resolve(now)?;
    let reader = context.open()?;
    let until = *filter
        .until
        .get_or_insert(now.plus(std::time::Duration::from_secs(1)));
    let since = match filter.since {
        Some(since) => since,
        None => reader.oldest(&filter)?.unwrap_or(now).min(until),
    };
    filter.since = Some(since);
    let is_chart = matches!(context.format, Format::Table);
    let buckets_wanted = if is_chart {
        chart::columns(context.screen)
    } else {
        BUCKETS_USUAL
    };
    let bucket_ms = bucket(args, since, until, buckets_wanted, is_chart)?;
    let request = request(filter, since, until, bucket_ms);
    let timeline = reader.timeline(&request)?;
    let mut out = Out::stdout();
    match context.format {
        Format::Json => output::write_json(&mut out, &Document::of(&timeline, &request))?,
        Format::Yaml => output::write_yaml(&mut out, &Document::of(&timeline, &request))?,
        _ => {
            for line in chart::draw(&timeline, &request, context.screen, now) {
                writeln!(out, "{line}")?;
            }
        }
    }
    out.finish()
}

/// Buckets begin at round times, the first one at or before `since`.
fn request(filter: Filter, since: Timestamp, until: Timestamp, bucket_ms: i64) -> TimelineRequest {
    let from = since.millis().div_euclid(bucket_ms) * bucket_ms;
    let span = (until.millis() - from).max(1);
    let to = from + (span + bucket_ms - 1) / bucket_ms * bucket_ms;
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
    buckets: Vec<Bucket>,
    changes: Vec<Change>,
    gaps: Vec<Gap>,
    marks_left_out: u64,
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
    fn of(timeline: &Timeline, request: &TimelineRequest) -> Self {
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
        let of_kind = |kind| {
            timeline
                .marks
                .iter()
                .filter(move |mark: &&Mark| mark.kind == kind)
        };
        Self {
            from: request.from.to_string(),
            to: request.to.to_string(),
            bucket_seconds: request.bucket_ms as f64 / 1000.0,
            total_events: timeline.buckets.iter().flatten().sum(),
            first_event: timeline.first.as_ref().map(Brief::of),
            buckets: buckets.collect(),
            changes: of_kind(MarkKind::Change)
                .map(|mark| Change {
                    at: mark.from.to_string(),
                    event: Brief::of(&mark.row),
                    description: mark.row.description.clone(),
                })
                .collect(),
            gaps: of_kind(MarkKind::Gap)
                .map(|mark| Gap {
                    from: mark.from.to_string(),
                    to: mark.to.map(|to| to.to_string()),
                    event_id: mark.row.id.clone(),
                    description: mark.row.description.clone(),
                })
                .collect(),
            marks_left_out: timeline.marks_left_out,
        }
    }
}

/// Severities, worst first, with the index of their counts.
fn severities() -> impl Iterator<Item = (usize, &'static str)> {
    Severity::ALL
        .iter()
        .enumerate()
        .rev()
        .map(|(i, severity)| (i, severity.as_str()))
}
