//! Applies the queue's items in one transaction: passes each item to its tables.
//!
//! ```text
//!   Item ─▶ Applier ─┬─ Events · stubs ▶ DedupTable
//!                    ├─ lists ─────────▶ GapTable · DroppedRangeTable · DedupTable
//!                    ├─ changes ───────▶ ObjectSnapshotTable   all of them ─▶ Rows (event, names, counters, change log)
//!                    ├─ tracked ───────▶ TrackedApplier (objects, revisions)
//!                    ├─ findings ──────▶ FindingTable
//!                    └─ positions ─────▶ WatchTable
//! ```
//!
//! Each table owns its statements. Only [`Rows`], [`WatchTable`], [`Stubs`] and [`TxReport`] hold state that a rollback
//! must undo.
//!
//! Invariant: the position of a watch moves in the transaction of the items it covers. It moves past a dropped item only
//! in the transaction that inserts its `dropped_range`.

use kube9_ingest::deletion::DeletionCause;
use kube9_ingest::item::{Change, Item, TrackedEvent};
use kube9_ingest::sanitize::{Sanitized, sanitize};
use kube9_model::change::kinds::TrackedKind;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Occurred, Record, TIME_SUSPECT};
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, UnstoredReason, WatchId};
use kube9_model::{EventType, Severity};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Map, json};

use super::checkpoint::reserve;
use super::dedup::DedupTable;
use super::dropped_ranges::DroppedRangeTable;
use super::findings::FindingTable;
use super::gap::{self, GapEvidence, Recovery};
use super::gap_table::GapTable;
use super::identity::Sql;
use super::incoming_event::{EventOutcome, IncomingEvent, Tables};
use super::object_snapshots::ObjectSnapshotTable;
use super::rows::{EventTimes, Rows};
use super::server_versions::ServerVersionTable;
use super::stubs::{SkippedEvent, StubOutcome, Stubs};
use super::tracked::{TrackedApplier, TrackedState, cause_of_pod};
use super::watches::WatchTable;
use crate::metrics;
use crate::queue::DroppedItems;

/// Reason of the row of a pod that ended; the change history knows why.
const POD_ENDED: &str = "PodEnded";

/// What one transaction did; counted in the metrics after its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TxReport {
    pub events: metrics::EventCounts,
    /// Gaps closed.
    pub gaps_closed: Vec<Recovery>,
    /// Milliseconds from the last occurrence to now, of stored and folded Events.
    pub delays_ms: Vec<i64>,
    /// Watches of which the queue dropped items: they must relist.
    pub overflowed: Vec<WatchId>,
}

/// State of the transaction under way.
#[derive(Debug, Default)]
pub struct Applier {
    pub rows: Rows,
    pub watches: WatchTable,
    pub outcomes: TxReport,
    /// Rows about Events that cannot be recorded.
    stubs: Stubs,
    /// Lists of tracked kinds, and what changes often.
    pub(super) tracked: TrackedState,
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
                self.rows.insert_internal(conn, row, at, at)?;
            }
            Item::Event {
                watch,
                origin,
                received,
                row,
            } => self.event(tables, (*watch, *origin), row, *received, now)?,
            Item::Unstored {
                watch,
                origin,
                received,
                uid,
                version,
                why,
            } => {
                self.unstored(tables, (*watch, *origin), (uid, version), why, *received)?;
                let confirmed_at = match origin {
                    Origin::List => return Ok(()),
                    Origin::Live => Some(*received),
                    Origin::Watch => None,
                };
                let version = ResourceVersion::new(version);
                self.watches.get(*watch).advance(&version, confirmed_at);
            }
            Item::Change(change) => self.change(conn, change)?,
            Item::Tracked { watch, kind, event } => self.tracked(conn, *watch, kind, event)?,
            Item::Finding(finding) => FindingTable::of(conn).store(&mut self.rows, finding)?,
            Item::ExtendFindings(at) => FindingTable::of(conn).extend_open(*at)?,
            Item::ServerVersion {
                cluster,
                version,
                at,
            } => ServerVersionTable::of(conn).note(&mut self.rows, (cluster, version), *at)?,
            Item::Marker { watch, marker } => self.marker(conn, *watch, marker)?,
        }
        Ok(())
    }

    fn event(
        &mut self,
        tables: &mut Tables<'_>,
        (watch, origin): (WatchId, Origin),
        row: &Sanitized,
        received: Timestamp,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let Occurred::Observed(seen) = &row.record().occurred else {
            return Ok(()); // only `Observed` records are pushed this way
        };
        let event = IncomingEvent {
            watch,
            list_generation: self.watches.get(watch).list_generation,
            origin,
            row,
            seen,
            now,
        };
        let new = match event.store(tables, &mut self.rows)? {
            EventOutcome::Duplicate => {
                self.outcomes.events.duplicate += 1;
                None
            }
            EventOutcome::Inserted(occurrences) => {
                self.outcomes.events.stored += 1;
                Some(occurrences)
            }
            EventOutcome::Folded(occurrences) => {
                self.outcomes.events.folded += 1;
                Some(occurrences)
            }
        };
        let watch = self.watches.get(watch);
        if let Some(occurrences) = new {
            let delay = now.millis() - seen.last.millis();
            self.outcomes.delays_ms.push(delay);
            if origin == Origin::List {
                watch.recovered(occurrences);
            }
        }
        let confirmed_at = match origin {
            Origin::List => return Ok(()),
            Origin::Live => Some(received),
            // While a backlog is read, this version was the newest when the Event happened, not when it was received.
            Origin::Watch => {
                let is_suspect = row.record().extra.contains_key(TIME_SUSPECT);
                (!is_suspect).then(|| seen.last.min(received))
            }
        };
        watch.advance(&seen.version, confirmed_at);
        Ok(())
    }

    /// An Event that makes no row: deleted, filtered or skipped.
    fn unstored(
        &mut self,
        tables: &mut Tables<'_>,
        (watch, origin): (WatchId, Origin),
        (uid, version): (&str, &str),
        why: &UnstoredReason,
        received: Timestamp,
    ) -> rusqlite::Result<()> {
        let list_generation = self.watches.get(watch).list_generation;
        let events = &mut self.outcomes.events;
        match why {
            UnstoredReason::Deleted => {
                tables.dedup.delete(&Sql(&Uid::new(uid)))?;
                events.deleted += 1;
            }
            UnstoredReason::Filtered(rule) => {
                if origin == Origin::List {
                    // It may have been recorded before the rule existed. It is listed, so it is not missing.
                    tables
                        .dedup
                        .listed(&Uid::new(uid), watch, list_generation)?;
                }
                events.add_filtered(*rule);
            }
            UnstoredReason::Skipped(stage, cause) => {
                let event = SkippedEvent {
                    watch,
                    list_generation,
                    uid,
                    version,
                    cause,
                    received,
                };
                match self.stubs.store(tables.conn, &mut self.rows, &event)? {
                    StubOutcome::Skipped => events.add_skipped(*stage),
                    StubOutcome::Duplicate => events.duplicate += 1,
                }
            }
        }
        Ok(())
    }

    /// A change of a watched object: its rows, and the snapshot that the next change is compared with.
    fn change(&mut self, conn: &Connection, change: &Change) -> rusqlite::Result<()> {
        for row in &change.rows {
            let Occurred::At(at) = row.record().occurred else {
                continue; // the rows of a change are always internal records
            };
            let record = row.record();
            let mut extra = record.extra.clone();
            if record.reason == POD_ENDED
                && let Some(pod) = &record.object
                && let Some(deletion) = cause_of_pod(conn, pod, at)?
            {
                let (cause, certainty) = deletion.cause;
                extra.insert("op".to_owned(), "deleted".into());
                if cause != DeletionCause::Unknown {
                    extra.insert(
                        "cause".to_owned(),
                        json!({"kind": cause.as_str(), "certainty": certainty.as_str()}),
                    );
                }
                extra.insert(
                    "resource_version".to_owned(),
                    deletion.version.to_string().into(),
                );
            }
            let span = EventTimes {
                last: at,
                ..EventTimes::default()
            };
            self.rows.insert(conn, row, at, &span, &extra)?;
        }
        let snapshot = change.snapshot.as_ref().map(|snapshot| snapshot.as_str());
        ObjectSnapshotTable::of(conn).store(change.watch, change.name.as_str(), snapshot)?;
        // In the transaction of the snapshot: a resume from an older position would report the change again.
        if let Some(version) = &change.version {
            let version = ResourceVersion::new(version);
            self.watches.get(change.watch).advance(&version, None);
        }
        Ok(())
    }

    /// What a watch shows of a tracked kind: its rows and revisions, and the position that it reached.
    fn tracked(
        &mut self,
        conn: &Connection,
        id: WatchId,
        kind: &TrackedKind,
        event: &TrackedEvent,
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        let mut applier = TrackedApplier {
            conn,
            rows: &mut self.rows,
            state: &mut self.tracked,
            watch: id,
            kind,
            namespace: &watch.namespace,
            confirmed_at: watch.confirmed_at,
        };
        applier.apply(event)?;
        let (TrackedEvent::Applied(object) | TrackedEvent::Deleted(object)) = event else {
            return Ok(());
        };
        let confirmed_at = match object.origin {
            Origin::List => return Ok(()),
            Origin::Live => Some(object.received),
            Origin::Watch => None,
        };
        watch.advance(&object.version, confirmed_at);
        Ok(())
    }

    fn marker(
        &mut self,
        conn: &Connection,
        watch: WatchId,
        marker: &SourceMarker,
    ) -> rusqlite::Result<()> {
        match marker {
            SourceMarker::Init {
                list_generation,
                cause,
                at,
            } => self.list_begun(conn, watch, *list_generation, *cause, *at),
            SourceMarker::Regressed {
                version,
                at,
                is_first,
            } => self.regressed(conn, watch, version, *at, *is_first),
            SourceMarker::InitDone { .. } => self.list_done(conn, watch, marker),
            SourceMarker::Synced {
                version,
                at,
                server_time,
                listed,
                vanished,
            } => {
                let watch = self.watches.get(watch);
                // The earlier of the two clocks: a clock that jumped ahead must not confirm a time in the future.
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
            SourceMarker::Confirmed { version, at } => {
                self.watches
                    .get(watch)
                    .advance(&ResourceVersion::new(version), Some(*at));
                Ok(())
            }
        }
    }

    fn list_begun(
        &mut self,
        conn: &Connection,
        id: WatchId,
        list_generation: i64,
        cause: RelistCause,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        let is_second = watch.relisting;
        watch.list_begun(list_generation);
        if cause == RelistCause::FirstStart && !is_second {
            // The record begins here; there is a gap only if this list fails.
            watch.confirmed_at.get_or_insert(at);
            return Ok(());
        }
        let confirmed_at = watch.confirmed_at.unwrap_or(at);
        let from = DroppedRangeTable::of(conn)
            .since(id)?
            .map_or(confirmed_at, |since| since.min(confirmed_at))
            .min(at);
        let others = self.watches.gaps(cause);
        let watch = self.watches.get(id);
        GapTable::of(conn, &mut self.rows).open(watch, &others, cause, from, at)
    }

    /// The API server has another history (etcd was restored): positions are void, uids stay valid.
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
            return Ok(()); // one row covers all watches
        }
        // No watch may resume from its position, even if the process ends before the others report the regression.
        for other in self.watches.ids() {
            self.watches.get(other).regressed();
            DedupTable::of(conn).forget_versions(other)?;
        }
        let row = sanitize(regressed_record(&old, version, at));
        self.rows.insert_internal(conn, &row, at, at)?;
        Ok(())
    }

    fn list_done(
        &mut self,
        conn: &Connection,
        id: WatchId,
        marker: &SourceMarker,
    ) -> rusqlite::Result<()> {
        let SourceMarker::InitDone {
            list_generation,
            at,
            version,
            server_time,
            listed,
            oldest_change,
            event_ttl,
        } = marker
        else {
            return Ok(());
        };
        let (dedup, dropped_ranges) = (DedupTable::of(conn), DroppedRangeTable::of(conn));
        let watch = self.watches.get(id);
        if !watch.relisting || watch.list_generation != *list_generation {
            return Ok(()); // its first pages were committed to a database that has been replaced
        }
        if dropped_ranges.any_of_list(id, *list_generation)? {
            // Items of this list were dropped, so it proves nothing about what exists or was deleted. The dropped range
            // makes the source list again; the gap stays open until then.
            return Ok(());
        }
        let missing = dedup.missing(id, *list_generation, server_time.minus(*event_ttl))?;
        let dropped = dropped_ranges.close(id)?;
        dedup.delete_unlisted(id, *list_generation)?;
        let mut gaps = GapTable::of(conn, &mut self.rows);
        if let Some(from) = gaps.begin(watch)? {
            let ahead = server_time.millis() - at.millis();
            let evidence = GapEvidence {
                from,
                to: (*server_time).max(from),
                length: watch
                    .confirmed_at
                    .filter(|confirmed_at| confirmed_at <= at)
                    .map(|_| (*server_time).max(*at).since(from)),
                oldest_change: oldest_change
                    .map(|change| Timestamp::from_millis(change.millis() - ahead)),
                event_ttl: *event_ttl,
                missing,
                dropped,
            };
            let counts = (*listed, watch.recovered, watch.repeats);
            let closed = gaps.close(watch, gap::end_of_events(&evidence, counts))?;
            self.outcomes.gaps_closed.extend(closed);
        }
        // The earlier of the two clocks: a clock that jumped ahead must not confirm a time in the future.
        watch.list_done(version, (*at).min(*server_time));
        Ok(())
    }

    /// Records what a full queue dropped: a dropped range for Events, a gap row for internal rows.
    pub fn dropped(
        &mut self,
        conn: &Connection,
        drops: &[DroppedItems],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        for drop in drops {
            let Some(watch) = drop.watch else {
                let recovery = GapTable::of(conn, &mut self.rows).lost_rows(drop, now)?;
                self.outcomes.gaps_closed.push(recovery);
                continue;
            };
            DroppedRangeTable::of(conn).open(watch, drop)?;
            if !self.outcomes.overflowed.contains(&watch) {
                self.outcomes.overflowed.push(watch);
            }
        }
        Ok(())
    }

    pub fn stored_objects(
        &mut self,
        conn: &Connection,
        id: WatchId,
    ) -> rusqlite::Result<StoredObjects> {
        Ok(StoredObjects {
            confirmed_at: self.watches.get(id).confirmed_at,
            ..ObjectSnapshotTable::of(conn).read(id)?
        })
    }

    /// Writes what was collected; call it last before the commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.watches.save(conn)?;
        self.rows.finish(conn)
    }

    /// Call it after the commit.
    pub fn committed(&mut self) {
        self.watches.committed();
        self.stubs.committed();
        self.tracked.committed();
    }

    /// Discards everything that a rollback undid. It cannot fail: the committed state is in memory.
    pub fn rolled_back(&mut self) {
        self.rows.clear();
        self.outcomes = TxReport::default();
        self.watches.rolled_back();
        self.stubs.rolled_back();
        self.tracked.rolled_back();
    }
}

/// Runs `work` and the applier's final statements in one transaction.
///
/// # Errors
/// Nothing was committed; the caller must call [`Applier::rolled_back`].
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
    let what = if ResourceVersion::new(new).is_older_than(&ResourceVersion::new(old)) {
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
        ..Record::internal(at)
    }
}
