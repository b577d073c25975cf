//! Deletes what remains of watches that this process does not run: a namespace taken out of the config, an informer
//! that was switched off.
//!
//! Of `dedup` only entries whose row is gone: until then they keep a namespace that comes back from being recorded twice.
//! Of `facts` all, once nobody has looked for as long as changes are kept: a difference over such a time tells little.
//! The watch then begins anew, as on its very first start, where nothing counts as added.
//! An open gap is closed as not healed: no list will ever end it.

use std::time::Instant;

use kube9_model::time::Timestamp;
use kube9_model::watch::WatchId;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::apply::Applier;
use super::dedup::DedupTable;
use super::facts::FactsTable;
use super::gaps::GapTable;
use super::run::Progress;
use super::watches::WatchTable;

/// Entries read between two looks at the time.
const CHUNK: i64 = 512;

/// Where the next step goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leftovers {
    /// Entries up to this uid are done. Text sorts before blobs, and no uid is empty.
    after: Value,
}

impl Default for Leftovers {
    fn default() -> Self {
        Self {
            after: Value::Text(String::new()),
        }
    }
}

impl Leftovers {
    /// Works until `deadline`, within a transaction of the caller's; returns where to go on. Facts are deleted of watches that were
    /// last current before `forgotten`.
    pub(super) fn step(
        self,
        conn: &Connection,
        applier: &mut Applier,
        (now, forgotten): (Timestamp, Timestamp),
        deadline: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let left_over = applier.watches.left_over(conn)?;
        if left_over.is_empty() {
            return Ok(None); // the usual case: nothing to look for
        }
        for (id, mut watch) in applier.watches.left_over_gaps(conn)? {
            GapTable::of(conn, &mut applier.rows).abandon(&mut watch, now)?;
            WatchTable::forget_gap(conn, id)?;
        }
        for watch in left_over {
            if delete_facts(conn, watch, forgotten, deadline)? == Progress::More {
                return Ok(Some(self));
            }
        }
        let mut dedup = DedupTable::of(conn);
        let mut after = self.after;
        loop {
            let found = dedup.after(&after, CHUNK)?;
            let Some((last, ..)) = found.last() else {
                return Ok(None);
            };
            after = last.clone();
            for (uid, watch, row_is_gone) in found {
                if row_is_gone && !applier.watches.runs(watch) {
                    dedup.delete(&uid)?;
                }
            }
            if Instant::now() >= deadline {
                return Ok(Some(Self { after }));
            }
        }
    }
}

/// Deletes the facts of a watch that was last current before `forgotten`.
fn delete_facts(
    conn: &Connection,
    watch: WatchId,
    forgotten: Timestamp,
    deadline: Instant,
) -> rusqlite::Result<Progress> {
    if !WatchTable::has_old_facts(conn, watch, forgotten)? {
        return Ok(Progress::Done);
    }
    let facts = FactsTable::of(conn);
    while facts.delete_some(watch, CHUNK)? as i64 == CHUNK {
        if Instant::now() >= deadline {
            return Ok(Progress::More);
        }
    }
    // Without facts everything would look added; a watch that was never current compares with nothing.
    WatchTable::forget(conn, watch)?;
    Ok(Progress::Done)
}
