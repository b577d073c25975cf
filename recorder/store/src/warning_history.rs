//! Reads the number of warnings before this start, which the rules compare with current rates.

use std::collections::HashMap;

use kube9_model::commit_stats::{SLOT_SECONDS, WarningBucket, WarningHistory};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use rusqlite::Connection;

const HOUR: i64 = 3_600;

/// The last week from the counters, and the last hour from its rows. Called once, before the writer runs.
pub(super) fn read(conn: &Connection, now: Timestamp) -> rusqlite::Result<WarningHistory> {
    let since = now.second() - 7 * 24 * HOUR;
    let recorded = conn
        .prepare("SELECT DISTINCT bucket_start FROM row_counts WHERE bucket_seconds = 3600 AND bucket_start >= ?1")?
        .query_map([since], |row| Ok(row.get::<_, i64>(0)?.div_euclid(HOUR)))?
        .collect::<Result<_, _>>()?;
    let warnings = (since, EventType::Cluster.code(), Severity::Warning.code());
    let hours = conn
        .prepare(
            "SELECT s.namespace, t.bucket_start, sum(t.rows) FROM row_counts t JOIN scope s ON s.id = t.scope \
             WHERE t.bucket_seconds = 3600 AND t.bucket_start >= ?1 AND t.type = ?2 AND t.severity >= ?3 AND s.namespace <> '' \
             GROUP BY t.bucket_start, s.namespace",
        )?
        .query_map(warnings, |row| {
            let namespace: String = row.get(0)?;
            Ok((
                namespace.into(),
                row.get::<_, i64>(1)?.div_euclid(HOUR),
                row.get(2)?,
            ))
        })?
        .collect::<Result<_, _>>()?;
    let recent = (
        EventKey::first_at(now.minus(std::time::Duration::from_secs(HOUR as u64))).as_i64(),
        EventType::Cluster.code(),
        Severity::Warning.code(),
        SLOT_SECONDS,
    );
    let slots = conn
        .prepare(
            "SELECT s.namespace, (e.key >> 24) / ?4, r.reason, count(*) FROM event e \
             JOIN object o ON o.id = e.object JOIN scope s ON s.id = o.scope JOIN event_class r ON r.id = e.class \
             WHERE e.key >= ?1 AND e.type = ?2 AND e.severity >= ?3 AND s.namespace <> '' GROUP BY 1, 2, 3",
        )?
        .query_map(recent, |row| {
            let (namespace, reason): (String, String) = (row.get(0)?, row.get(2)?);
            let place = WarningBucket {
                namespace: namespace.into(),
                slot: row.get(1)?,
                reason: reason.into(),
            };
            Ok((place, row.get(3)?))
        })?
        .collect::<Result<HashMap<_, _>, _>>()?;
    Ok(WarningHistory {
        recorded,
        hours,
        slots,
    })
}
