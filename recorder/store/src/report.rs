//! Rows of type `system` about the record itself: retention runs and imports.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use kube9_ingest::sanitize::{Sanitized, sanitize};
use kube9_model::label::Label;
use kube9_model::record::{Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity, Tenant};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::apply::Applier;
use super::delete::Deleted;
use crate::metrics::Removal;

/// Tenants that a row names.
const NAMED_MAX: usize = 10;

/// What a run by age or by size did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report<'a> {
    pub(super) cause: Removal,
    pub(super) deleted: Deleted,
    /// Rows by tenant, for runs by size.
    pub(super) tenants: &'a HashMap<Tenant, u64>,
    /// Object snapshots cut, for runs by size.
    pub(super) cut: u64,
    pub(super) names: u64,
    /// Bytes that the database may use, for runs by size.
    pub(super) limit: Option<u64>,
    pub(super) volume_is_short: bool,
    /// Retention of info and warning, and of error and critical.
    pub(super) keep: (Duration, Duration),
    pub(super) at: Timestamp,
}

pub(super) fn deleted(report: &Report<'_>) -> Sanitized {
    let total = report.deleted.total();
    let mut extra = Map::from_iter([
        ("cause".to_owned(), json!(report.cause.name())),
        ("deleted".to_owned(), json!(total)),
    ]);
    for &severity in Severity::ALL {
        let rows = report.deleted.of(severity);
        extra.insert(format!("deleted_{}", severity.as_str()), json!(rows));
    }
    extra.insert("unused_names".to_owned(), json!(report.names));
    let (reason, title, severity, description) = match report.cause {
        Removal::Age => {
            let days = |keep: Duration| keep.as_secs_f64() / 86_400.0;
            let (short, long) = report.keep;
            let description = format!(
                "{total} rows were deleted: info and warning are kept for {:.1} days, error and critical for {:.1}.",
                days(short),
                days(long)
            );
            (
                "RetentionRun",
                "Old rows deleted",
                Severity::Info,
                description,
            )
        }
        Removal::Size => {
            let why = match report.limit {
                _ if report.volume_is_short => "the volume is nearly full".to_owned(),
                Some(limit) => format!("the database may use {} MiB", limit >> 20),
                None => "the database is too large".to_owned(),
            };
            extra.insert("limit_bytes".to_owned(), json!(report.limit));
            let important =
                report.deleted.of(Severity::Error) + report.deleted.of(Severity::Critical);
            let severity = if important > 0 {
                Severity::Error
            } else {
                Severity::Warning
            };
            let mut most: Vec<(&Tenant, &u64)> = report.tenants.iter().collect();
            most.sort_unstable_by_key(|(tenant, rows)| (Reverse(**rows), *tenant));
            let named = &most[..most.len().min(NAMED_MAX)];
            let whose = named.first().map_or(String::new(), |(tenant, rows)| {
                format!(" {rows} of them belong to {tenant}, which used most space.")
            });
            let by_tenant = named
                .iter()
                .map(|(tenant, rows)| (tenant.to_string(), json!(rows)));
            extra.insert("deleted_of".to_owned(), Value::Object(by_tenant.collect()));
            extra.insert(
                "deleted_of_others".to_owned(),
                json!(
                    most[named.len()..]
                        .iter()
                        .map(|(_, rows)| **rows)
                        .sum::<u64>()
                ),
            );
            let cut = match report.cut {
                0 => String::new(),
                cut => {
                    extra.insert("snapshots_cut".to_owned(), json!(cut));
                    format!(
                        " The last known state of {cut} objects was deleted: \
                         their changes while the recorder is down will not be recorded."
                    )
                }
            };
            let description = format!(
                "{total} rows were deleted before their retention ended, the oldest and least severe of those who use most \
                 space: {why}.{whose}{cut} Raise storage.max_bytes and the volume, or shorten retention."
            );
            (
                "SizeCapReached",
                "Rows deleted for lack of space",
                severity,
                description,
            )
        }
    };
    record(reason, title, severity, description, extra, report.at)
}

pub(super) fn failed(cause: &str, at: Timestamp) -> Sanitized {
    record(
        "RetentionFailed",
        "Clean-up failed",
        Severity::Warning,
        format!("Old rows could not be deleted: {cause}. kube9 retries every minute."),
        Map::from_iter([("cause".to_owned(), json!(cause))]),
        at,
    )
}

pub(super) fn insert(
    conn: &Connection,
    applier: &mut Applier,
    row: &Sanitized,
) -> rusqlite::Result<()> {
    let Occurred::At(at) = row.record().occurred else {
        return Ok(()); // `record` below always sets it
    };
    applier.rows.insert_internal(conn, row, at, at)?;
    Ok(())
}

pub(super) fn record(
    reason: &str,
    title: &str,
    severity: Severity,
    description: String,
    extra: Map<String, Value>,
    at: Timestamp,
) -> Sanitized {
    sanitize(Record {
        event_type: EventType::System,
        severity,
        title: title.to_owned(),
        description,
        reason: reason.to_owned(),
        extra,
        ..Record::internal(at)
    })
}
