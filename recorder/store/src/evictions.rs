//! The table `eviction`: how far the size limit has shortened the record, by tenant.

use std::collections::HashMap;

use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{Severity, Tenant};
use rusqlite::Connection;

use super::share::TENANTS_MAX;
use super::statements::Counting as _;
use crate::config::RetentionConfig;
use crate::metrics::Metrics;

/// Entries kept: one for each severity of each tenant that is tracked; about 2 MB. If thousands of
/// namespaces come and go, the oldest entries are deleted.
const ENTRIES_MAX: i64 = (TENANTS_MAX * Severity::ALL.len()) as i64;

/// Rows that a step evicted.
#[derive(Debug, Default)]
pub(super) struct Evictions(HashMap<(Tenant, Severity), (i64, i64)>);

impl Evictions {
    /// Adds a row created at `second`.
    pub(super) fn add(&mut self, tenant: Tenant, severity: Severity, second: i64) {
        let (rows, until) = self.0.entry((tenant, severity)).or_insert((0, i64::MIN));
        *rows += 1;
        *until = (*until).max(second);
    }

    /// Rows by tenant.
    pub(super) fn by_tenant(&self) -> impl Iterator<Item = (&Tenant, u64)> {
        self.0
            .iter()
            .map(|((tenant, _), (rows, _))| (tenant, rows.unsigned_abs()))
    }

    /// Writes the entries, in the transaction that deletes the rows.
    pub(super) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        for ((tenant, severity), (rows, until)) in &self.0 {
            let (code, namespace) = tenant.stored();
            conn.counted("INSERT INTO eviction (tenant, namespace, severity, rows, until) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO UPDATE SET rows = rows + excluded.rows, until = max(until, excluded.until)",
                )?
                .execute((code, namespace, severity.code(), rows, until))?;
        }
        Ok(())
    }
}

/// Whether the size limit has deleted equally new rows of this namespace and severity: this row would be deleted next,
/// or was recorded before.
pub(super) fn reaches(
    conn: &Connection,
    record: &Record,
    created: Timestamp,
) -> rusqlite::Result<bool> {
    let namespace = record.object.as_ref().map(|object| &*object.namespace);
    let tenant = Tenant::of(namespace);
    let (code, namespace) = tenant.stored();
    conn.counted("SELECT EXISTS (SELECT 1 FROM eviction WHERE tenant = ?1 AND namespace = ?2 AND severity = ?3 AND until >= ?4)")?
        .query_row(
            (code, namespace, record.severity.code(), created.second()),
            |row| row.get(0),
        )
}

/// Deletes entries of rows whose retention has ended since, and the oldest entries above the bound.
pub(super) fn forget(
    conn: &Connection,
    config: &RetentionConfig,
    now: Timestamp,
) -> rusqlite::Result<()> {
    for &severity in Severity::ALL {
        let before = now.minus(config.keep(severity)).second();
        conn.counted("DELETE FROM eviction WHERE severity = ?1 AND until < ?2")?
            .execute((severity.code(), before))?;
    }
    conn.counted("DELETE FROM eviction WHERE (tenant, namespace, severity) IN (SELECT tenant, namespace, severity FROM eviction \
             ORDER BY until DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([ENTRIES_MAX])?;
    Ok(())
}

/// Sets the gauges of shortened records: the largest share of retention that is missing, and the number of namespaces.
pub(super) fn set_gauges(
    conn: &Connection,
    config: &RetentionConfig,
    now: Timestamp,
    metrics: &Metrics,
) -> rusqlite::Result<()> {
    let mut found = [(None, 0); Severity::ALL.len()];
    let mut statement =
        conn.counted("SELECT severity, max(until), count(*) FROM eviction GROUP BY severity")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Some(severity) = Severity::from_code(row.get(0)?) {
            found[severity as usize] = (Some(row.get::<_, i64>(1)?), row.get::<_, i64>(2)?);
        }
    }
    for &severity in Severity::ALL {
        let (until, tenants) = found[severity as usize];
        let keep = config.keep(severity).as_secs_f64().max(1.0);
        let lacks = until.map_or(0.0, |until| {
            let reach = (now.second() - until) as f64;
            (1.0 - reach / keep).clamp(0.0, 1.0)
        });
        metrics.record_shortened.get(severity).set(lacks);
        metrics
            .record_shortened_holders
            .get(severity)
            .set(if lacks > 0.0 { tenants } else { 0 });
    }
    Ok(())
}
