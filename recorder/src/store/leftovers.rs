//! Deletes what remains of watches that this process does not run: a namespace taken out of the config, an informer
//! that was switched off.
//!
//! Of `dedup` only entries whose row is gone: until then they keep a namespace that comes back from being recorded twice.
//! Of `facts` all, once nobody has looked for as long as changes are kept: a difference over such a time tells little.
//! The watch then begins anew, as on its very first start, where nothing counts as added.

use std::time::Instant;

use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::apply::Applier;
use super::run::Progress;

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
    /// Works until `deadline`, within a transaction of the caller's; returns where to go on. Facts go of watches that were
    /// last current before `forgotten`.
    pub(super) fn step(
        self,
        conn: &Connection,
        applier: &mut Applier,
        forgotten: Timestamp,
        deadline: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let running: Vec<i64> = applier.watches.ids().iter().map(|id| id.0).collect();
        let all: Vec<i64> = conn
            .prepare_cached("SELECT id FROM watch_state")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if all.iter().all(|id| running.contains(id)) {
            return Ok(None); // the usual case: nothing to look for
        }
        for watch in all.iter().filter(|id| !running.contains(id)) {
            if delete_facts(conn, *watch, forgotten, deadline)? == Progress::More {
                return Ok(Some(self));
            }
        }
        let mut after = self.after;
        loop {
            let found: Vec<(Value, i64, bool)> = conn.prepare_cached("SELECT d.uid, d.watch, e.key IS NULL FROM dedup d LEFT JOIN event e ON e.key = d.event \
                     WHERE d.uid > ?1 ORDER BY d.uid LIMIT ?2",
                )?
                .query_map((&after, CHUNK), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<Result<_, _>>()?;
            let Some((last, ..)) = found.last() else {
                return Ok(None);
            };
            after = last.clone();
            for (uid, watch, row_is_gone) in found {
                if row_is_gone && !running.contains(&watch) {
                    conn.prepare_cached("DELETE FROM dedup WHERE uid = ?1")?
                        .execute([uid])?;
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
    watch: i64,
    forgotten: Timestamp,
    deadline: Instant,
) -> rusqlite::Result<Progress> {
    let is_forgotten: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM watch_state WHERE id = ?1 AND proven_ms < ?2) \
             AND EXISTS (SELECT 1 FROM facts WHERE watch = ?1)",
        )?
        .query_row((watch, forgotten.millis()), |row| row.get(0))?;
    if !is_forgotten {
        return Ok(Progress::Done);
    }
    loop {
        let deleted = conn
            .prepare_cached(
                "DELETE FROM facts WHERE watch = ?1 AND name IN \
                 (SELECT name FROM facts WHERE watch = ?1 LIMIT ?2)",
            )?
            .execute((watch, CHUNK))?;
        if (deleted as i64) < CHUNK {
            break;
        }
        if Instant::now() >= deadline {
            return Ok(Progress::More);
        }
    }
    // Without facts everything would look added; a watch that was never current compares with nothing.
    conn.prepare_cached(
        "UPDATE watch_state SET position = NULL, proven_ms = NULL, relisting = 0 WHERE id = ?1",
    )?
    .execute([watch])?;
    Ok(Progress::Done)
}
