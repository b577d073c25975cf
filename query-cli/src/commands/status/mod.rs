//! `status`: whether the record can be trusted.

mod sheet;

use std::path::Path;
use std::time::Duration;

use kube9_db::read::{
    Eviction, Filter, OpenGap as Gap, PageRequest, Reader, RecorderState, Status,
};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity, Tenant};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Context;
use crate::args::Format;
use crate::failure::Failure;
use crate::moment::short;
use crate::output::{self, Out};
use crate::text::{bytes, counted};

/// A recorder gives a sign of life at least every ten seconds; three missed ones are no accident.
pub(super) const HEARTBEAT_LATE: Duration = Duration::from_secs(30);

/// A record of less than a day cannot answer what happened last night.
const SHORTENED_MATTERS: Duration = Duration::from_secs(86_400);

/// Gaps that are over are counted for so long.
const GAPS_OF: Duration = Duration::from_secs(7 * 86_400);
/// More gap rows are not looked at.
const GAPS_MAX: usize = 1000;

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    let now = Timestamp::now();
    let path = context.options.database();
    let asked = context.open().and_then(|reader| {
        let gaps = PastGaps::of(&reader, now)?;
        Ok((reader.status(now)?, gaps))
    });
    let (document, failure) = match asked {
        Ok((status, gaps)) => (Document::of(&status, gaps, &path, now), None),
        Err(failure) => (Document::unavailable(&failure, &path, now), Some(failure)),
    };
    let mut out = Out::stdout();
    match context.format {
        Format::Json => output::write_json(&mut out, &document)?,
        Format::Yaml => output::write_yaml(&mut out, &document)?,
        _ => sheet::write(&mut out, &document, now, context.screen)?,
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
    gaps_7d: Option<PastGaps>,
    /// Day of the oldest row of each severity.
    reach: Reach,
    /// Whose record the size limit has shortened, the most shortened first.
    shortened: Vec<ShortenedOf>,
    /// How many entries there are in all.
    shortened_total: Option<u64>,
}

/// A record that begins later than retention asks for, since the size limit deleted its rows.
#[derive(Debug, Serialize)]
struct ShortenedOf {
    /// `namespace`, `cluster` or `kube9`.
    tenant: &'static str,
    namespace: Option<String>,
    severity: &'static str,
    deleted: u64,
    complete_since: String,
}

impl ShortenedOf {
    fn of(one: &Eviction) -> Self {
        let (tenant, namespace) = match &one.tenant {
            Tenant::Kube9 => ("kube9", None),
            Tenant::ClusterScoped => ("cluster", None),
            Tenant::Namespace(name) => ("namespace", Some(name.to_string())),
        };
        Self {
            tenant,
            namespace,
            severity: one.severity.as_str(),
            deleted: one.rows,
            complete_since: one.until.to_string(),
        }
    }
}

/// Gaps of the last seven days that are over.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct PastGaps {
    /// Everything was brought back.
    healed: u64,
    /// All but what came and went meanwhile.
    partly_healed: u64,
    /// Some may be missing.
    not_healed: u64,
    /// The longest of those that were not healed.
    longest_not_healed_seconds: f64,
}

impl PastGaps {
    fn of(reader: &Reader, now: Timestamp) -> Result<Self, Failure> {
        let request = PageRequest {
            filter: Filter {
                types: vec![EventType::System],
                since: Some(now.minus(GAPS_OF)),
                ..Filter::default()
            },
            limit: GAPS_MAX,
            ..PageRequest::default()
        };
        let mut gaps = Self::default();
        for row in reader.list(&request)?.rows {
            let metadata = output::metadata(&row);
            match metadata["healed"].as_str() {
                Some("true") => gaps.healed += 1,
                Some("partial") => gaps.partly_healed += 1,
                Some("false") => {
                    gaps.not_healed += 1;
                    let time = |key: &str| Timestamp::parse(metadata[key].as_str()?).ok();
                    if let (Some(from), Some(to)) = (time("from"), time("to")) {
                        let seconds = to.since(from).as_secs_f64();
                        gaps.longest_not_healed_seconds =
                            gaps.longest_not_healed_seconds.max(seconds);
                    }
                }
                // Another row of the store, or a gap that is still open.
                _ => {}
            }
        }
        Ok(gaps)
    }
}

/// Severities and days, in their order.
#[derive(Debug)]
struct Reach(Vec<(String, Option<Timestamp>)>);

impl Serialize for Reach {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let day = |time: &Option<Timestamp>| time.map(|time| time.to_string()[..10].to_owned());
        serializer.collect_map(self.0.iter().map(|(word, time)| (word, day(time))))
    }
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
    fn of(status: &Status, gaps: PastGaps, path: &Path, now: Timestamp) -> Self {
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
            schema_version: Some(status.schema_version),
            recorder: status
                .recorder
                .as_ref()
                .map(|state| Recorder::of(state, now)),
            open_gaps: status.open_gaps.iter().map(OpenGap::of).collect(),
            unhealed_drops: Some(status.unrecovered_drops),
            gaps_7d: Some(gaps),
            reach: Reach(
                status
                    .by_severity
                    .iter()
                    .map(|(word, _)| word.clone())
                    .zip(status.oldest_by_severity.iter().copied())
                    .collect(),
            ),
            shortened: status.evictions.iter().map(ShortenedOf::of).collect(),
            shortened_total: Some(status.evictions_total),
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
            gaps_7d: None,
            reach: Reach(Vec::new()),
            shortened: Vec::new(),
            shortened_total: None,
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
                    "the recorder has dropped {} since it started",
                    counted(state.dropped.unsigned_abs(), "event")
                ));
            }
        }
    }
    if status.unrecovered_drops > 0 {
        let have = if status.unrecovered_drops == 1 {
            "has"
        } else {
            "have"
        };
        doubts.push(format!(
            "{} {have} not been recovered yet",
            counted(status.unrecovered_drops, "dropped event")
        ));
    }
    doubts.extend(too_short(status, now));
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

/// What the size limit has deleted matters where it is of the last day, or an error. Older info goes first by design.
fn too_short(status: &Status, now: Timestamp) -> Option<String> {
    let matters = |one: &&Eviction| {
        one.severity >= Severity::Error || now.since(one.until) < SHORTENED_MATTERS
    };
    let most = status.evictions.iter().find(matters)?;
    let others = match status.evictions_total.saturating_sub(1) {
        0 => String::new(),
        1 => " (1 other entry in `shortened`)".to_owned(),
        others => format!(" ({others} other entries in `shortened`)"),
    };
    Some(format!(
        "the size limit has shortened the record: {} events of {} are complete only since {}{others}; \
         raise storage.max_bytes or filter what fills it",
        most.severity, most.tenant, most.until
    ))
}

#[cfg(test)]
mod tests {
    use super::Disk;

    #[test]
    fn volume_is_doubtful_once_less_than_a_twentieth_is_free() {
        let doubt = |free: u64| {
            let disk = Disk {
                bytes: 20 << 30,
                free,
            };
            disk.doubt()
        };
        assert_eq!(doubt(1 << 30), None);
        assert_eq!(
            doubt((1 << 30) - 1).as_deref(),
            Some("the volume is nearly full: 1024.0 MiB of 20.0 GiB free")
        );
        assert_eq!(
            doubt(0).as_deref(),
            Some("the volume is nearly full: 0 B of 20.0 GiB free")
        );
    }
}
