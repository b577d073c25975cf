//! Applies the queue's items within one transaction: rows, dedup, positions, gaps, holes.
//!
//! Invariant: the position of a watch moves in the transaction of the items it covers, and passes a dropped item only
//! together with the hole that remembers it.
//! Invariant: an entry of `dedup` lives until its Event is DELETED or absent from a completed list, never by age.

mod gaps;
mod list;
mod passed;
mod sight;

use kube9_shared::time::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use super::checkpoint::reserve;
use super::gap::Healed;
use super::rows::{Rows, Span};
use super::watches::Watches;
use crate::metrics;
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Item, Mark, Via, WatchId};
use crate::pipeline::record::{Occurred, TIME_SUSPECT};
use passed::Stubs;

/// What one transaction did; told after its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// What became of the Events.
    pub events: metrics::Outcomes,
    /// Gaps closed.
    pub gaps_closed: Vec<Healed>,
    /// Occurrence → now, in milliseconds, of stored and folded sights.
    pub delays_ms: Vec<i64>,
    /// Watches whose queue overflowed: their sources have to relist.
    pub holed: Vec<WatchId>,
}

/// The state that a transaction works on.
#[derive(Debug, Default)]
pub struct Applier {
    /// Rows, names, counters.
    pub rows: Rows,
    /// Positions.
    pub watches: Watches,
    /// Of the transaction under way.
    pub outcomes: Outcomes,
    /// Rows about Events that cannot be recorded.
    stubs: Stubs,
}

impl Applier {
    /// Applies one item.
    pub fn apply(
        &mut self,
        conn: &Connection,
        item: &Item,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        match item {
            Item::Row(row) => {
                let at = match &row.record().occurred {
                    Occurred::At(at) => *at,
                    Occurred::Observed(seen) => seen.last,
                };
                let span = Span {
                    last: at,
                    ..Span::default()
                };
                self.rows
                    .insert(conn, row, at, &span, &row.record().extra)?;
            }
            Item::Observed {
                watch,
                via,
                received,
                row,
            } => {
                let Occurred::Observed(seen) = &row.record().occurred else {
                    return Ok(()); // only `Observed` records are pushed this way
                };
                let opened = self.observe(conn, *watch, *via, row, seen, now)?;
                if opened {
                    self.outcomes
                        .delays_ms
                        .push(now.millis() - seen.last.millis());
                }
                if *via == Via::Watch {
                    // While a backlog is read, the version was the newest when it happened, not when it was received.
                    let is_suspect = row.record().extra.contains_key(TIME_SUSPECT);
                    let proven = (!is_suspect).then(|| seen.last.min(*received));
                    self.watches.get(*watch).advance(&seen.version, proven);
                }
            }
            Item::Passed {
                watch,
                via,
                received,
                uid,
                version,
                why,
            } => {
                self.pass(conn, *watch, *via, uid, version, why, *received)?;
                if *via == Via::Watch {
                    self.watches
                        .get(*watch)
                        .advance(&Version::new(version), None);
                }
            }
            Item::Change(change) => self.change(conn, change)?,
            Item::Finding(finding) => self.finding(conn, finding)?,
            Item::StillOpen(at) => self.still_open(conn, *at)?,
            Item::Mark { watch, mark } => self.mark(conn, *watch, mark)?,
        }
        Ok(())
    }

    fn mark(&mut self, conn: &Connection, watch: WatchId, mark: &Mark) -> rusqlite::Result<()> {
        match mark {
            Mark::ListBegun { listing, cause, at } => {
                self.list_begun(conn, watch, *listing, *cause, *at)
            }
            Mark::Regressed { version, at } => self.regressed(conn, watch, version, *at),
            Mark::ListDone { .. } => self.list_done(conn, watch, mark),
            Mark::Synced {
                version,
                server_time,
                listed,
                vanished,
            } => self.synced(conn, watch, version, *server_time, (*listed, *vanished)),
            Mark::Proven { version, at } => {
                self.watches
                    .get(watch)
                    .advance(&Version::new(version), Some(*at));
                Ok(())
            }
        }
    }

    /// The last thing before a commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.watches.save(conn)?;
        self.rows.finish(conn)
    }

    /// After the commit of a transaction that this applier worked on.
    pub fn committed(&mut self) {
        self.watches.committed();
    }

    /// Forgets everything that a rollback undid. Cannot fail: what it goes back to is in memory.
    pub fn rolled_back(&mut self) {
        self.rows.clear();
        self.outcomes = Outcomes::default();
        self.watches.rolled_back();
    }
}

/// Runs `work` and the applier's closing statements in one transaction.
///
/// # Errors
/// What SQLite says; nothing was committed then, and the applier must be told so.
pub fn apply_all(
    conn: &mut Connection,
    applier: &mut Applier,
    work: impl FnOnce(&Connection, &mut Applier) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    work(&tx, applier)?;
    applier.finish(&tx)?;
    reserve(&tx)?;
    tx.commit()?;
    applier.committed();
    Ok(())
}
