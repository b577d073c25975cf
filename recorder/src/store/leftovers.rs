//! Deletes what remains in `dedup` of watches that this process does not run: a namespace taken out of the config.
//!
//! Only entries whose row is gone: until then they keep a namespace that comes back from being recorded twice.

use std::time::Instant;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::apply::Applier;

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
    /// Works until `deadline`, within a transaction of the caller's; returns where to go on.
    pub(super) fn step(
        self,
        conn: &Connection,
        applier: &mut Applier,
        deadline: Instant,
    ) -> rusqlite::Result<Option<Self>> {
        let running: Vec<i64> = applier.watches.ids().iter().map(|id| id.0).collect();
        let statements = &mut applier.rows.statements;
        let all: Vec<i64> = statements
            .select(conn, "SELECT id FROM watch_state")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if all.iter().all(|id| running.contains(id)) {
            return Ok(None); // the usual case: nothing to look for
        }
        let mut after = self.after;
        loop {
            let found: Vec<(Value, i64, bool)> = statements
                .select(
                    conn,
                    "SELECT d.uid, d.watch, e.key IS NULL FROM dedup d LEFT JOIN event e ON e.key = d.event \
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
                    statements
                        .delete(conn, "DELETE FROM dedup WHERE uid = ?1")?
                        .execute([uid])?;
                }
            }
            if Instant::now() >= deadline {
                return Ok(Some(Self { after }));
            }
        }
    }
}
