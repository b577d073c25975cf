//! Keeps `facts` from filling the database: over its share of the limit, what holds most of it gives.
//!
//! An entry that is cut keeps the object's uid, so that the object does not look new after a restart; what changed while
//! the recorder was away is then not told of it. The next change that is seen stores its facts again.

use std::time::Instant;

use kube9_model::{Severity, Tenant};
use rusqlite::Connection;

use super::facts::FactsTable;
use super::run::Progress;
use super::share::{Holdings, Quotas};

/// Share of the limit that facts may take, in percent. A cluster of 10,000 pods has 5 MB of them.
const FACTS_PERCENT: u64 = 20;

/// Shorter entries are not cut: it would free next to nothing.
const CUT_BYTES_MIN: i64 = 256;

/// Entries read between two looks at the time.
const CHUNK: i64 = 256;

/// The two passes: what each namespace has, then what has to go of it.
#[derive(Debug)]
pub(super) struct Trim {
    /// Entries after this one are still to be read: watch and name.
    after: (i64, String),
    most: u64,
    holdings: Holdings,
    quotas: Option<Quotas>,
    /// Entries cut.
    pub(super) cut: u64,
}

impl Trim {
    /// `limit`: bytes that the database may use.
    pub(super) fn begin(limit: u64) -> Self {
        Self {
            after: (i64::MIN, String::new()),
            most: limit / 100 * FACTS_PERCENT,
            holdings: Holdings::default(),
            quotas: None,
            cut: 0,
        }
    }

    /// Works until `deadline`, within a transaction of the caller's.
    pub(super) fn step(
        &mut self,
        conn: &Connection,
        deadline: Instant,
    ) -> rusqlite::Result<Progress> {
        let facts = FactsTable::of(conn);
        loop {
            let found = facts.sizes_after((self.after.0, &self.after.1), CHUNK)?;
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
                            facts.cut(*watch, name)?;
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
