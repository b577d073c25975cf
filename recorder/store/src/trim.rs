//! Bounds `object_snapshot`: above its share of the limit, snapshots of the largest tenants are cut.
//!
//! A cut snapshot keeps the object's uid, so that the object does not look new after a restart. Its changes while the
//! recorder was down are not recorded. The next change stores a complete snapshot again.

use std::time::Instant;

use kube9_model::{Severity, Tenant};
use rusqlite::Connection;

use super::object_snapshots::ObjectSnapshotTable;
use super::retention_run::Progress;
use super::share::{Holdings, Quotas};

/// Percentage of the limit for snapshots. A cluster of 10,000 pods has 5 MB of them.
const SNAPSHOTS_PERCENT: u64 = 20;

/// Smaller snapshots are not cut: it would free next to nothing.
const CUT_BYTES_MIN: i64 = 256;

/// Entries between two checks of the deadline.
const CHUNK: i64 = 256;

/// Two passes: the first sums the bytes by tenant, the second cuts.
#[derive(Debug)]
pub(super) struct Trim {
    /// Watch and name of the last entry read.
    after: (i64, String),
    most: u64,
    holdings: Holdings,
    quotas: Option<Quotas>,
    pub(super) cut: u64,
}

impl Trim {
    /// `limit`: bytes that the database may use.
    pub(super) fn begin(limit: u64) -> Self {
        Self {
            after: (i64::MIN, String::new()),
            most: limit / 100 * SNAPSHOTS_PERCENT,
            holdings: Holdings::default(),
            quotas: None,
            cut: 0,
        }
    }

    /// Works until `deadline` within a transaction of the caller.
    pub(super) fn step(
        &mut self,
        conn: &Connection,
        deadline: Instant,
    ) -> rusqlite::Result<Progress> {
        let snapshots = ObjectSnapshotTable::of(conn);
        loop {
            let found = snapshots.sizes_after((self.after.0, &self.after.1), CHUNK)?;
            let Some((watch, name, _)) = found.last() else {
                if self.quotas.is_some() {
                    return Ok(Progress::Done);
                }
                let over = self.holdings.bytes().saturating_sub(self.most);
                if over == 0 {
                    return Ok(Progress::Done);
                }
                self.quotas = Some(self.holdings.quotas(over));
                self.after = (i64::MIN, String::new());
                continue;
            };
            self.after = (*watch, name.clone());
            for (watch, name, bytes) in &found {
                if *bytes < CUT_BYTES_MIN {
                    continue;
                }
                let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
                let tenant = Tenant::of(Some(namespace));
                match &mut self.quotas {
                    None => self
                        .holdings
                        .add(tenant, Severity::Info, bytes.unsigned_abs()),
                    Some(quotas) => {
                        if quotas.take(&tenant, Severity::Info) {
                            snapshots.cut(*watch, name)?;
                            self.cut += 1;
                        }
                    }
                }
            }
            if Instant::now() >= deadline {
                return Ok(Progress::More);
            }
        }
    }
}
