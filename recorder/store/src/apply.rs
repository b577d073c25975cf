//! Applies the queue's items within one transaction: hands each to the tables that it concerns.
//!
//! ```text
//!   Item ─▶ Applier ─┬─ sight · stubs ─▶ DedupTable
//!                    ├─ lists ─────────▶ GapTable · HoleTable · DedupTable
//!                    ├─ changes ───────▶ FactsTable          all of them ─▶ Rows (event, names, counters, changes)
//!                    ├─ findings ──────▶ FindingTable
//!                    └─ positions ─────▶ WatchTable
//! ```
//!
//! Each table owns its statements. State that a rollback must undo is in [`Rows`], [`WatchTable`], [`Stubs`] and [`Outcomes`] alone.
//!
//! Invariant: the position of a watch moves in the transaction of the items it covers, and passes a dropped item only
//! together with the hole that remembers it.

use kube9_ingest::item::{Change, Item};
use kube9_ingest::sanitize::{Sanitized, sanitize};
use kube9_model::identity::{Uid, Version};
use kube9_model::record::{Occurred, Record, TIME_SUSPECT};
use kube9_model::resume::Remembered;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Mark, Passed, RelistCause, Via, WatchId};
use kube9_model::{EventType, Severity};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Map, json};

use super::checkpoint::reserve;
use super::dedup::DedupTable;
use super::facts::FactsTable;
use super::findings::FindingTable;
use super::gap::{self, Facts, Healed};
use super::gaps::GapTable;
use super::holes::HoleTable;
use super::identity::Sql;
use super::rows::Rows;
use super::sight::{self, Sight, Tables};
use super::stubs::{self, Stubs, Unrecorded};
use super::watches::WatchTable;
use crate::metrics;
use crate::queue::Drops;

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
    pub watches: WatchTable,
    /// Of the transaction under way.
    pub outcomes: Outcomes,
    /// Rows about Events that cannot be recorded.
    stubs: Stubs,
}

impl Applier {
    /// Applies items, in their order.
    pub fn apply(
        &mut self,
        conn: &Connection,
        items: &[Item],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut tables = Tables::of(conn);
        items
            .iter()
            .try_for_each(|item| self.apply_one(&mut tables, item, now))
    }

    fn apply_one(
        &mut self,
        tables: &mut Tables<'_>,
        item: &Item,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let conn = tables.conn;
        match item {
            Item::Row(row) => {
                let at = match &row.record().occurred {
                    Occurred::At(at) => *at,
                    Occurred::Observed(seen) => seen.last,
                };
                self.rows.insert_own(conn, row, at, at)?;
            }
            Item::Observed {
                watch,
                via,
                received,
                row,
            } => self.observed(tables, (*watch, *via), row, *received, now)?,
            Item::Passed {
                watch,
                via,
                received,
                uid,
                version,
                why,
            } => {
                self.passed(tables, (*watch, *via), (uid, version), why, *received)?;
                let proven = match via {
                    Via::List => return Ok(()),
                    Via::Live => Some(*received),
                    Via::Watch => None,
                };
                let version = Version::new(version);
                self.watches.get(*watch).advance(&version, proven);
            }
            Item::Change(change) => self.change(conn, change)?,
            Item::Finding(finding) => FindingTable::of(conn).store(&mut self.rows, finding)?,
            Item::StillOpen(at) => FindingTable::of(conn).still_open(*at)?,
            Item::Mark { watch, mark } => self.mark(conn, *watch, mark)?,
        }
        Ok(())
    }

    /// A sight of an Event.
    fn observed(
        &mut self,
        tables: &mut Tables<'_>,
        (watch, via): (WatchId, Via),
        row: &Sanitized,
        received: Timestamp,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let Occurred::Observed(seen) = &row.record().occurred else {
            return Ok(()); // only `Observed` records are pushed this way
        };
        let sight = Sight {
            watch,
            listing: self.watches.get(watch).listing,
            via,
            row,
            seen,
            now,
        };
        let new = match sight.store(tables, &mut self.rows)? {
            sight::Became::Duplicate => {
                self.outcomes.events.duplicate += 1;
                None
            }
            sight::Became::Row(occurrences) => {
                self.outcomes.events.stored += 1;
                Some(occurrences)
            }
            sight::Became::Part(occurrences) => {
                self.outcomes.events.folded += 1;
                Some(occurrences)
            }
        };
        let watch = self.watches.get(watch);
        if let Some(occurrences) = new {
            let delay = now.millis() - seen.last.millis();
            self.outcomes.delays_ms.push(delay);
            if via == Via::List {
                watch.recovered(occurrences);
            }
        }
        let proven = match via {
            Via::List => return Ok(()),
            Via::Live => Some(received),
            // While a backlog is read, the version was the newest when it happened, not when it was received.
            Via::Watch => {
                let is_suspect = row.record().extra.contains_key(TIME_SUSPECT);
                (!is_suspect).then(|| seen.last.min(received))
            }
        };
        watch.advance(&seen.version, proven);
        Ok(())
    }

    /// A sight of an Event that makes no row.
    fn passed(
        &mut self,
        tables: &mut Tables<'_>,
        (watch, via): (WatchId, Via),
        (uid, version): (&str, &str),
        why: &Passed,
        received: Timestamp,
    ) -> rusqlite::Result<()> {
        let listing = self.watches.get(watch).listing;
        let events = &mut self.outcomes.events;
        match why {
            Passed::Deleted => {
                tables.dedup.delete(&Sql(&Uid::new(uid)))?;
                events.deleted += 1;
            }
            Passed::Filtered(rule) => {
                if via == Via::List {
                    // It may have been recorded before the rule was there: it is listed, so it is not missing.
                    tables.dedup.listed(&Uid::new(uid), watch, listing)?;
                }
                events.add_filtered(*rule);
            }
            Passed::Skipped(stage, cause) => {
                let event = Unrecorded {
                    watch,
                    listing,
                    uid,
                    version,
                    cause,
                    received,
                };
                match self.stubs.store(tables.conn, &mut self.rows, &event)? {
                    stubs::Became::Skipped => events.add_skipped(*stage),
                    stubs::Became::Duplicate => events.duplicate += 1,
                }
            }
        }
        Ok(())
    }

    /// A change of a watched object: its rows, and the facts that the next one is compared with.
    fn change(&mut self, conn: &Connection, change: &Change) -> rusqlite::Result<()> {
        for row in &change.rows {
            let Occurred::At(at) = row.record().occurred else {
                continue; // a change is a fact of kube9's own
            };
            self.rows.insert_own(conn, row, at, at)?;
        }
        let facts = change.facts.as_ref().map(|facts| facts.as_str());
        FactsTable::of(conn).store(change.watch, change.name.as_str(), facts)?;
        // With the facts: from an older position the change would be seen, and told, again.
        if let Some(version) = &change.version {
            let version = Version::new(version);
            self.watches.get(change.watch).advance(&version, None);
        }
        Ok(())
    }

    fn mark(&mut self, conn: &Connection, watch: WatchId, mark: &Mark) -> rusqlite::Result<()> {
        match mark {
            Mark::ListBegun { listing, cause, at } => {
                self.list_begun(conn, watch, *listing, *cause, *at)
            }
            Mark::Regressed {
                version,
                at,
                is_first,
            } => self.regressed(conn, watch, version, *at, *is_first),
            Mark::ListDone { .. } => self.list_done(conn, watch, mark),
            Mark::Synced {
                version,
                at,
                server_time,
                listed,
                vanished,
            } => {
                let watch = self.watches.get(watch);
                // The earlier of two clocks: one that has jumped ahead must not claim a proof from the future.
                watch.list_done(version, (*at).min(*server_time));
                let mut gaps = GapTable::of(conn, &mut self.rows);
                let to = match gaps.begin(watch)? {
                    Some(from) => from.max(*server_time),
                    None => *server_time,
                };
                let end = gap::end_of_objects(to, (*listed, *vanished));
                let closed = gaps.close(watch, end)?;
                self.outcomes.gaps_closed.extend(closed);
                Ok(())
            }
            Mark::Proven { version, at } => {
                self.watches
                    .get(watch)
                    .advance(&Version::new(version), Some(*at));
                Ok(())
            }
        }
    }

    fn list_begun(
        &mut self,
        conn: &Connection,
        id: WatchId,
        listing: i64,
        cause: RelistCause,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        let is_second = watch.relisting;
        watch.list_begun(listing);
        if cause == RelistCause::FirstStart && !is_second {
            // The record begins here. Only if this list fails was there a time of which nothing is known.
            watch.proven.get_or_insert(at);
            return Ok(());
        }
        let proven = watch.proven.unwrap_or(at);
        let from = HoleTable::of(conn)
            .since(id)?
            .map_or(proven, |since| since.min(proven))
            .min(at);
        let others = self.watches.gaps(cause);
        let watch = self.watches.get(id);
        GapTable::of(conn, &mut self.rows).open(watch, &others, cause, from, at)
    }

    /// The API server's history is another one (etcd restored): positions are void, uids stay known.
    fn regressed(
        &mut self,
        conn: &Connection,
        id: WatchId,
        version: &str,
        at: Timestamp,
        is_first: bool,
    ) -> rusqlite::Result<()> {
        let old = self.watches.get(id).regressed();
        let old = old.map(|old| old.to_string()).unwrap_or_default();
        DedupTable::of(conn).forget_versions(id)?;
        if !is_first {
            return Ok(()); // one row says it for all watches
        }
        // None of them goes on from its position, even if the process ends before they say so.
        for other in self.watches.ids() {
            self.watches.get(other).regressed();
            DedupTable::of(conn).forget_versions(other)?;
        }
        let row = sanitize(regressed_record(&old, version, at));
        self.rows.insert_own(conn, &row, at, at)?;
        Ok(())
    }

    fn list_done(&mut self, conn: &Connection, id: WatchId, mark: &Mark) -> rusqlite::Result<()> {
        let Mark::ListDone {
            listing,
            at,
            version,
            server_time,
            listed,
            oldest_change,
            event_ttl,
        } = mark
        else {
            return Ok(());
        };
        let (dedup, holes) = (DedupTable::of(conn), HoleTable::of(conn));
        let watch = self.watches.get(id);
        if !watch.relisting || watch.listing != *listing {
            return Ok(()); // its first pages went into a database that was replaced since
        }
        if holes.any_of_list(id, *listing)? {
            // Items of this very list were dropped, so it shows neither what is there nor what is gone. The open hole
            // makes the source list again; the gap stays open until then.
            return Ok(());
        }
        let missing = dedup.missing(id, *listing, server_time.minus(*event_ttl))?;
        let dropped = holes.close(id)?;
        dedup.delete_unlisted(id, *listing)?;
        let mut gaps = GapTable::of(conn, &mut self.rows);
        if let Some(from) = gaps.begin(watch)? {
            let ahead = server_time.millis() - at.millis();
            let facts = Facts {
                from,
                to: (*server_time).max(from),
                length: watch
                    .proven
                    .filter(|proven| proven <= at)
                    .map(|_| (*server_time).max(*at).since(from)),
                oldest_change: oldest_change
                    .map(|change| Timestamp::from_millis(change.millis() - ahead)),
                event_ttl: *event_ttl,
                missing,
                dropped,
            };
            let counts = (*listed, watch.recovered, watch.repeats);
            let closed = gaps.close(watch, gap::end_of_events(&facts, counts))?;
            self.outcomes.gaps_closed.extend(closed);
        }
        // The earlier of two clocks: one that has jumped ahead must not claim a proof from the future.
        watch.list_done(version, (*at).min(*server_time));
        Ok(())
    }

    /// Remembers what a full queue dropped: holes for sights, a gap row for rows of kube9's own.
    pub fn dropped(
        &mut self,
        conn: &Connection,
        drops: &[Drops],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        for drop in drops {
            let Some(watch) = drop.watch else {
                let healed = GapTable::of(conn, &mut self.rows).lost_rows(drop, now)?;
                self.outcomes.gaps_closed.push(healed);
                continue;
            };
            HoleTable::of(conn).open(watch, drop)?;
            if !self.outcomes.holed.contains(&watch) {
                self.outcomes.holed.push(watch);
            }
        }
        Ok(())
    }

    /// What is stored of a watch's objects.
    pub fn remembered(&mut self, conn: &Connection, id: WatchId) -> rusqlite::Result<Remembered> {
        Ok(Remembered {
            proven: self.watches.get(id).proven,
            ..FactsTable::of(conn).read(id)?
        })
    }

    /// The last thing before a commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.watches.save(conn)?;
        self.rows.finish(conn)
    }

    /// After the commit of a transaction that this applier worked on.
    pub fn committed(&mut self) {
        self.watches.committed();
        self.stubs.committed();
    }

    /// Forgets everything that a rollback undid. Cannot fail: what it goes back to is in memory.
    pub fn rolled_back(&mut self) {
        self.rows.clear();
        self.outcomes = Outcomes::default();
        self.watches.rolled_back();
        self.stubs.rolled_back();
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

fn regressed_record(old: &str, new: &str, at: Timestamp) -> Record {
    let what = if Version::new(new).is_certainly_before(&Version::new(old)) {
        format!("The API server's resourceVersion is {new}, below the recorded position {old}")
    } else {
        format!(
            "The objects that the API server had at resourceVersion {new} are not those that were recorded at it"
        )
    };
    Record {
        event_type: EventType::System,
        severity: Severity::Critical,
        title: "API server history went back".to_owned(),
        description: format!(
            "{what}: etcd was restored from a backup, or this volume belongs to another cluster. The position was \
             discarded and everything is listed again."
        ),
        reason: "HistoryRegressed".to_owned(),
        extra: Map::from_iter([
            ("position".to_owned(), json!(old)),
            ("resource_version".to_owned(), json!(new)),
        ]),
        ..Record::own(at)
    }
}
