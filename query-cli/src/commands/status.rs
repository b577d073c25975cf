//! `status`: whether the record can be trusted.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use kube9_shared::read::{Gap, RecorderState, Status};
use kube9_shared::time::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Context;
use crate::args::Format;
use crate::failure::Failure;
use crate::moment::short;
use crate::output::{self, Out};
use crate::screen::Screen;
use crate::text::{bytes, grouped, safe};

/// A recorder gives a sign of life at least every ten seconds; three missed ones are no accident.
const HEARTBEAT_LATE: Duration = Duration::from_secs(30);

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let now = Timestamp::now();
    let path = context.options.database();
    let (document, failure) = match context.open().and_then(|reader| Ok(reader.status(now)?)) {
        Ok(status) => (Document::of(&status, &path, now), None),
        Err(failure) => (Document::unavailable(&failure, &path, now), Some(failure)),
    };
    let mut out = Out::stdout();
    match context.format {
        Format::Json => output::write_json(&mut out, &document)?,
        Format::Yaml => output::write_yaml(&mut out, &document)?,
        _ => write_sheet(&mut out, &document, now, context.screen)?,
    }
    out.finish()?;
    match failure {
        None => Ok(()),
        // The sheet has told it; a document's reader may look at stderr first.
        Some(_) if context.format == Format::Table => Err(Failure::Told),
        Some(failure) => Err(failure),
    }
}

/// The document. The first six keys are the contract's; all keys are always there.
#[derive(Debug, Serialize)]
struct Document {
    status: &'static str,
    database: &'static str,
    total_events: Option<u64>,
    events_24h: Option<u64>,
    database_path: String,
    timestamp: String,
    version: &'static str,
    reasons: Vec<String>,
    oldest_event: Option<String>,
    newest_event: Option<String>,
    events_by_type: Counts,
    events_by_severity: Counts,
    database_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    disk_free_bytes: Option<u64>,
    schema_version: Option<i64>,
    recorder: Option<Recorder>,
    open_gaps: Vec<OpenGap>,
    unhealed_drops: Option<u64>,
}

/// Counts by word, in their order.
#[derive(Debug)]
struct Counts(Vec<(String, u64)>);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(word, count)| (word, count)))
    }
}

#[derive(Debug, Serialize)]
struct Recorder {
    version: String,
    started_at: String,
    heartbeat_at: String,
    heartbeat_age_seconds: f64,
    stopped_at: Option<String>,
    last_commit_at: Option<String>,
    lag_seconds: Option<f64>,
    queue_rows: i64,
    dropped: i64,
    detail: Value,
}

#[derive(Debug, Serialize)]
struct OpenGap {
    kind: String,
    namespace: Option<String>,
    since: String,
    cause: Option<String>,
    event_id: String,
}

impl Document {
    fn of(status: &Status, path: &Path, now: Timestamp) -> Self {
        let disk = Disk::of(path);
        let mut reasons = doubts(status, now);
        reasons.extend(disk.and_then(Disk::doubt));
        Self {
            status: if reasons.is_empty() {
                "operational"
            } else {
                "degraded"
            },
            database: "connected",
            total_events: Some(status.events),
            events_24h: Some(status.events_24h),
            database_path: path.display().to_string(),
            timestamp: now.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            reasons,
            oldest_event: status.oldest.clone(),
            newest_event: status.newest.clone(),
            events_by_type: Counts(status.by_type.clone()),
            events_by_severity: Counts(status.by_severity.clone()),
            database_bytes: Some(status.bytes),
            disk_bytes: disk.map(|disk| disk.bytes),
            disk_free_bytes: disk.map(|disk| disk.free),
            schema_version: status.schema_version,
            recorder: status
                .recorder
                .as_ref()
                .map(|state| Recorder::of(state, now)),
            open_gaps: status.open_gaps.iter().map(OpenGap::of).collect(),
            unhealed_drops: Some(status.unhealed_drops),
        }
    }

    fn unavailable(failure: &Failure, path: &Path, now: Timestamp) -> Self {
        let (error, details) = failure.words();
        let disk = Disk::of(path);
        Self {
            status: "unavailable",
            database: "unavailable",
            total_events: None,
            events_24h: None,
            database_path: path.display().to_string(),
            timestamp: now.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            reasons: vec![error, details],
            oldest_event: None,
            newest_event: None,
            events_by_type: Counts(Vec::new()),
            events_by_severity: Counts(Vec::new()),
            database_bytes: None,
            disk_bytes: disk.map(|disk| disk.bytes),
            disk_free_bytes: disk.map(|disk| disk.free),
            schema_version: None,
            recorder: None,
            open_gaps: Vec::new(),
            unhealed_drops: None,
        }
    }
}

impl Recorder {
    fn of(state: &RecorderState, now: Timestamp) -> Self {
        Self {
            version: state.version.clone(),
            started_at: state.started.to_string(),
            heartbeat_at: state.heartbeat.to_string(),
            heartbeat_age_seconds: now.since(state.heartbeat).as_secs_f64(),
            stopped_at: state.stopped.map(|time| time.to_string()),
            last_commit_at: state.last_commit.map(|time| time.to_string()),
            lag_seconds: state.lag_ms.map(|ms| ms as f64 / 1000.0),
            queue_rows: state.queue_rows,
            dropped: state.dropped,
            detail: serde_json::from_str(&state.detail).unwrap_or(Value::Null),
        }
    }
}

impl OpenGap {
    fn of(gap: &Gap) -> Self {
        Self {
            kind: gap.kind.clone(),
            namespace: (!gap.namespace.is_empty()).then(|| gap.namespace.clone()),
            since: gap.since.to_string(),
            cause: gap.cause.clone(),
            event_id: gap.event.clone(),
        }
    }
}

/// The volume that the database lies on.
#[derive(Debug, Clone, Copy)]
struct Disk {
    bytes: u64,
    free: u64,
}

impl Disk {
    /// Less than one in so many bytes free is a matter of hours in a busy cluster.
    const NEARLY_FULL_ONE_IN: u64 = 20;

    fn of(path: &Path) -> Option<Self> {
        let stat = [Some(path), path.parent()]
            .into_iter()
            .flatten()
            .find_map(|path| rustix::fs::statvfs(path).ok())?;
        Some(Self {
            bytes: stat.f_blocks * stat.f_frsize,
            free: stat.f_bavail * stat.f_frsize,
        })
    }

    fn doubt(self) -> Option<String> {
        let is_tight = self.free < self.bytes / Self::NEARLY_FULL_ONE_IN;
        is_tight.then(|| {
            format!(
                "the volume is nearly full: {} of {} free",
                bytes(self.free),
                bytes(self.bytes)
            )
        })
    }
}

/// What the recorder's own checks found: `{"checks":[{"name","healthy","message"}]}`.
fn failed_checks(detail: &str) -> Vec<String> {
    let detail: Value = serde_json::from_str(detail).unwrap_or(Value::Null);
    let checks = detail["checks"].as_array().cloned().unwrap_or_default();
    let failed = checks
        .iter()
        .filter(|check| check["healthy"] == Value::Bool(false));
    failed
        .map(|check| {
            let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            format!(
                "the recorder's check {} failed: {}",
                word("name"),
                word("message")
            )
        })
        .collect()
}

/// Why the record cannot be trusted to be complete and current.
fn doubts(status: &Status, now: Timestamp) -> Vec<String> {
    let mut doubts = Vec::new();
    match &status.recorder {
        None => doubts.push("no kube9-recorder has reported to this database".to_owned()),
        Some(state) => {
            let age = now.since(state.heartbeat);
            if let Some(stopped) = state.stopped {
                doubts.push(format!("the recorder stopped at {stopped}"));
            } else if age > HEARTBEAT_LATE {
                doubts.push(format!(
                    "the recorder's last heartbeat is {} old",
                    short(age)
                ));
            }
            if state.stopped.is_none() {
                doubts.extend(failed_checks(&state.detail));
            }
            if state.dropped > 0 {
                doubts.push(format!(
                    "the recorder has dropped {} events since it started",
                    state.dropped
                ));
            }
        }
    }
    if status.unhealed_drops > 0 {
        doubts.push(format!(
            "{} dropped events have not been recovered yet",
            status.unhealed_drops
        ));
    }
    for gap in &status.open_gaps {
        let place = if gap.namespace.is_empty() {
            String::new()
        } else {
            format!(" in {}", gap.namespace)
        };
        let cause = gap
            .cause
            .as_deref()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        doubts.push(format!(
            "nothing of {}{place} is being recorded since {}{cause}",
            gap.kind, gap.since
        ));
    }
    doubts
}

/// One line a fact.
fn write_sheet(
    out: &mut impl Write,
    document: &Document,
    now: Timestamp,
    screen: Screen,
) -> Result<(), Failure> {
    let severity = match document.status {
        "operational" => "info",
        "degraded" => "warning",
        _ => "error",
    };
    writeln!(
        out,
        "STATUS    {}{}{}",
        screen.begin(severity),
        document.status,
        screen.end(severity)
    )?;
    for reason in &document.reasons {
        writeln!(out, "          {}", safe(reason))?;
    }
    let size = document
        .database_bytes
        .map(|size| format!(" ({})", bytes(size)))
        .unwrap_or_default();
    let disk = match (document.disk_free_bytes, document.disk_bytes) {
        (Some(free), Some(all)) => format!(", {} of {} free", bytes(free), bytes(all)),
        _ => String::new(),
    };
    writeln!(
        out,
        "DATABASE  {}{size}{disk}",
        safe(&document.database_path)
    )?;
    let Some(total) = document.total_events else {
        return Ok(());
    };
    let recent = document.events_24h.unwrap_or(0);
    writeln!(
        out,
        "EVENTS    {}, {} in the last 24 h",
        grouped(total),
        grouped(recent)
    )?;
    if let (Some(oldest), Some(newest)) = (&document.oldest_event, &document.newest_event) {
        writeln!(
            out,
            "REACH     {} … {}{}",
            safe(oldest),
            safe(newest),
            reach(oldest, now)
        )?;
    }
    for (heading, counts) in [
        ("SEVERITY", &document.events_by_severity),
        ("TYPE", &document.events_by_type),
    ] {
        let shown: Vec<String> = counts
            .0
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(word, n)| format!("{} {}", safe(word), grouped(*n)))
            .collect();
        writeln!(
            out,
            "{heading:8}  {}",
            if shown.is_empty() {
                "-".to_owned()
            } else {
                shown.join("  ")
            }
        )?;
    }
    if let Some(recorder) = &document.recorder {
        let heartbeat = short(Duration::from_secs_f64(recorder.heartbeat_age_seconds));
        let lag = recorder
            .lag_seconds
            .map(|lag| format!(", lag {lag:.1} s"))
            .unwrap_or_default();
        writeln!(
            out,
            "RECORDER  {}, heartbeat {heartbeat} ago{lag}, queue {}, dropped {}",
            safe(&recorder.version),
            recorder.queue_rows,
            recorder.dropped
        )?;
    }
    writeln!(
        out,
        "GAPS      {}",
        if document.open_gaps.is_empty() {
            "none open"
        } else {
            "open, see above"
        }
    )?;
    Ok(())
}

fn reach(oldest: &str, now: Timestamp) -> String {
    Timestamp::parse(oldest)
        .map(|oldest| format!(" ({} back)", short(now.since(oldest))))
        .unwrap_or_default()
}
