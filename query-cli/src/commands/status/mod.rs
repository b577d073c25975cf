//! `status`: whether the record is complete and current.

mod table;

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
use crate::error::CliError;
use crate::output::{self, Stdout};
use crate::text::{bytes, counted, plural};
use crate::time_arg::format_age;

/// The recorder writes a heartbeat every ten seconds; this is three missed ones.
pub(super) const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// A complete record shorter than this is degraded: it cannot answer what happened last night.
const COMPLETE_RECORD_MIN: Duration = Duration::from_secs(86_400);

/// Period of [`RecentGaps`].
const RECENT_GAPS_PERIOD: Duration = Duration::from_secs(7 * 86_400);
/// Maximum number of gap rows that are read.
const GAPS_MAX: usize = 1000;

pub(super) fn run(context: &Context) -> Result<(), CliError> {
    let local = context.now();
    let now = local.time;
    // Documents have UTC.
    let is_document = matches!(context.format, Format::Json | Format::Yaml);
    let show = |at: Timestamp| match is_document {
        true => at.to_string(),
        false => local.zone.rfc3339(at),
    };
    let path = context.options.database();
    let result = context.open().and_then(|reader| {
        let gaps = RecentGaps::of(&reader, now)?;
        Ok((reader.status(now)?, gaps))
    });
    let (document, error) = match result {
        Ok((status, gaps)) => (Document::of(&status, gaps, &path, now, &show), None),
        Err(error) => (Document::unavailable(&error, &path, now), Some(error)),
    };
    let mut out = Stdout::lock();
    match context.format {
        Format::Json => output::write_json(&mut out, &document)?,
        Format::Yaml => output::write_yaml(&mut out, &document)?,
        _ => table::write(&mut out, &document, &local, context.terminal)?,
    }
    out.finish()?;
    match error {
        None => Ok(()),
        // The table shows the error already.
        Some(_) if context.format == Format::Table => Err(CliError::AlreadyReported),
        Some(error) => Err(error),
    }
}

/// The document; every key is always present. The first six keys are a stable interface of the original operator.
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
    unrecovered_drops: Option<u64>,
    gaps_7d: Option<RecentGaps>,
    oldest_by_severity: OldestBySeverity,
    /// Where the size limit deleted rows early, the latest first.
    evictions: Vec<EvictionEntry>,
    /// Number of all such entries.
    evictions_total: Option<u64>,
}

/// Rows of one tenant and severity that the size limit deleted before retention would have.
#[derive(Debug, Serialize)]
struct EvictionEntry {
    /// `namespace`, `cluster` or `kube9`.
    tenant: &'static str,
    namespace: Option<String>,
    severity: &'static str,
    deleted: u64,
    complete_since: String,
}

impl EvictionEntry {
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

/// Gaps of the last seven days that have ended.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct RecentGaps {
    /// Every missed event was recovered.
    recovered: u64,
    /// Recovered except for what was created and deleted during the gap.
    partly_recovered: u64,
    /// Events may be missing.
    not_recovered: u64,
    /// The longest gap that was not recovered.
    longest_not_recovered_seconds: f64,
}

impl RecentGaps {
    fn of(reader: &Reader, now: Timestamp) -> Result<Self, CliError> {
        let request = PageRequest {
            filter: Filter {
                types: vec![EventType::System],
                since: Some(now.minus(RECENT_GAPS_PERIOD)),
                ..Filter::default()
            },
            limit: GAPS_MAX,
            ..PageRequest::default()
        };
        let mut gaps = Self::default();
        for row in reader.list(&request)?.rows {
            let metadata = output::metadata(&row);
            match metadata["recovery"].as_str() {
                Some("complete") => gaps.recovered += 1,
                Some("partial") => gaps.partly_recovered += 1,
                Some("none") => {
                    gaps.not_recovered += 1;
                    let time = |key: &str| Timestamp::parse(metadata[key].as_str()?).ok();
                    if let (Some(from), Some(to)) = (time("from"), time("to")) {
                        let seconds = to.since(from).as_secs_f64();
                        gaps.longest_not_recovered_seconds =
                            gaps.longest_not_recovered_seconds.max(seconds);
                    }
                }
                // Another row of type system, or an open gap.
                _ => {}
            }
        }
        Ok(gaps)
    }
}

/// Day of the oldest row of each severity.
#[derive(Debug)]
struct OldestBySeverity(Vec<(String, Option<Timestamp>)>);

impl Serialize for OldestBySeverity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let day = |time: &Option<Timestamp>| time.map(|time| time.to_string()[..10].to_owned());
        serializer.collect_map(self.0.iter().map(|(word, time)| (word, day(time))))
    }
}

/// Counts by label, in their order.
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
    fn of(
        status: &Status,
        gaps: RecentGaps,
        path: &Path,
        now: Timestamp,
        show: &dyn Fn(Timestamp) -> String,
    ) -> Self {
        let disk = Disk::of(path);
        let mut reasons = degraded_reasons(status, now, show);
        reasons.extend(disk.and_then(Disk::degraded_reason));
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
            unrecovered_drops: Some(status.unrecovered_drops),
            gaps_7d: Some(gaps),
            oldest_by_severity: OldestBySeverity(
                status
                    .by_severity
                    .iter()
                    .map(|(word, _)| word.clone())
                    .zip(status.oldest_by_severity.iter().copied())
                    .collect(),
            ),
            evictions: status.evictions.iter().map(EvictionEntry::of).collect(),
            evictions_total: Some(status.evictions_total),
        }
    }

    fn unavailable(error: &CliError, path: &Path, now: Timestamp) -> Self {
        let (message, details) = error.message_and_details();
        let disk = Disk::of(path);
        Self {
            status: "unavailable",
            database: "unavailable",
            total_events: None,
            events_24h: None,
            database_path: path.display().to_string(),
            timestamp: now.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            reasons: vec![message, details],
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
            unrecovered_drops: None,
            gaps_7d: None,
            oldest_by_severity: OldestBySeverity(Vec::new()),
            evictions: Vec::new(),
            evictions_total: None,
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

/// The volume of the database.
#[derive(Debug, Clone, Copy)]
struct Disk {
    bytes: u64,
    free: u64,
}

impl Disk {
    /// Nearly full if less than one in this many bytes is free, which a busy cluster fills within hours.
    const NEARLY_FULL_DIVISOR: u64 = 20;

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

    fn degraded_reason(self) -> Option<String> {
        let is_nearly_full = self.free < self.bytes / Self::NEARLY_FULL_DIVISOR;
        is_nearly_full.then(|| {
            format!(
                "the volume is nearly full: {} of {} free",
                bytes(self.free),
                bytes(self.bytes)
            )
        })
    }
}

/// Failed health checks of the recorder: `{"checks":[{"name","healthy","message"}]}`.
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
                "health check {} of the recorder failed: {}",
                word("name"),
                word("message")
            )
        })
        .collect()
}

/// Why the record may be incomplete or outdated.
fn degraded_reasons(
    status: &Status,
    now: Timestamp,
    show: &dyn Fn(Timestamp) -> String,
) -> Vec<String> {
    let mut reasons = Vec::new();
    match &status.recorder {
        None => {
            reasons.push("no kube9-recorder has written a heartbeat to this database".to_owned())
        }
        Some(state) => {
            let age = now.since(state.heartbeat);
            if let Some(stopped) = state.stopped {
                reasons.push(format!("the recorder stopped at {}", show(stopped)));
            } else if age > HEARTBEAT_TIMEOUT {
                reasons.push(format!(
                    "the last heartbeat of the recorder is {} old",
                    format_age(age)
                ));
            }
            if state.stopped.is_none() {
                reasons.extend(failed_checks(&state.detail));
            }
            if state.dropped > 0 {
                reasons.push(format!(
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
        reasons.push(format!(
            "{} {have} not been recovered yet",
            counted(status.unrecovered_drops, "dropped event")
        ));
    }
    reasons.extend(eviction_reason(status, now, show));
    for gap in &status.open_gaps {
        let place = if gap.namespace.is_empty() {
            String::new()
        } else {
            format!(" in namespace {}", gap.namespace)
        };
        let cause = gap
            .cause
            .as_deref()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        reasons.push(format!(
            "{}{place} have not been recorded since {}{cause}",
            plural(&gap.kind),
            show(gap.since)
        ));
    }
    reasons
}

/// Evictions degrade the status if they include rows of the last day, or errors. Deleting old info rows first is normal.
fn eviction_reason(
    status: &Status,
    now: Timestamp,
    show: &dyn Fn(Timestamp) -> String,
) -> Option<String> {
    let is_relevant = |eviction: &&Eviction| {
        eviction.severity >= Severity::Error || now.since(eviction.until) < COMPLETE_RECORD_MIN
    };
    let first = status.evictions.iter().find(is_relevant)?;
    let others = match status.evictions_total.saturating_sub(1) {
        0 => String::new(),
        1 => " (and 1 more, see `evictions`)".to_owned(),
        others => format!(" (and {others} more, see `evictions`)"),
    };
    Some(format!(
        "the size limit has deleted {} events of {} early: complete only since {}{others}; raise storage.max_bytes, \
         or filter Events",
        first.severity,
        first.tenant,
        show(first.until)
    ))
}

#[cfg(test)]
mod tests {
    use super::Disk;

    #[test]
    fn degraded_reason_less_than_a_twentieth_free_is_nearly_full() {
        let doubt = |free: u64| {
            let disk = Disk {
                bytes: 20 << 30,
                free,
            };
            disk.degraded_reason()
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
