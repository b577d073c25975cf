//! Applies the queue's items within one transaction: rows, dedup, positions, gaps, holes.
//!
//! Invariant: the position of a watch moves in the transaction of the items it covers, and passes a dropped item only
//! together with the hole that remembers it.
//! Invariant: an entry of `dedup` lives until its Event is DELETED or absent from a completed list, never by age.

use std::borrow::Cow;

use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value, json};

use super::fold::{Fold, Known, NewestRow, fold};
use super::gap::{self, Facts, Healed};
use super::rows::{Rows, Span, Uid, json as json_text};
use super::statements::{Hot, Session};
use super::version::Version;
use super::watches::Watches;
use crate::metrics::Stage;
use crate::pipeline::item::{Item, Mark, Passed, RelistCause, Via, WatchId};
use crate::pipeline::queue::Drops;
use crate::pipeline::record::{Observation, Occurred, Record, TIME_SUSPECT};
use crate::pipeline::sanitize::{Sanitized, sanitize};

/// What became of the sights of one transaction; counted after its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Made a row.
    pub stored: u64,
    /// Went into a row that was there.
    pub folded: u64,
    /// Seen before.
    pub duplicate: u64,
    /// DELETED by the API server; history stays.
    pub deleted: u64,
    /// Excluded by a rule of the config, by its position.
    pub filtered: Vec<usize>,
    /// Could not be decoded or stored; a stub row says so.
    /// The stage at which each failed.
    pub set_aside: Vec<Stage>,
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
}

impl Applier {
    /// Applies one item.
    pub fn apply(
        &mut self,
        conn: &mut Session<'_>,
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
                    self.watches.get(*watch).advance(version, None);
                }
            }
            Item::Change(change) => self.change(conn, change)?,
            Item::Finding(finding) => self.finding(conn, finding)?,
            Item::StillOpen(at) => self.still_open(conn, *at)?,
            Item::Mark { watch, mark } => self.mark(conn, *watch, mark)?,
        }
        Ok(())
    }

    /// Stores a sight of an Event. Returns whether a row was opened or grew.
    fn observe(
        &mut self,
        conn: &mut Session<'_>,
        watch: WatchId,
        via: Via,
        row: &Sanitized,
        seen: &Observation,
        now: Timestamp,
    ) -> rusqlite::Result<bool> {
        let sight = Sight {
            watch,
            via,
            row,
            seen,
            uid: Uid::new(&seen.uid),
            version: Version::new(&seen.version),
            now,
        };
        // Most sights are of new Events: the entry is tried first, and what is stored is read only where there is one.
        if let Fold::Open {
            created,
            occurrences,
            before,
            ..
        } = fold(None, seen)
        {
            let key = self.rows.key(conn, sight.bounded(created))?;
            if self.remember(conn, Hot::Remember, &sight, key)? {
                self.open(conn, &sight, key, occurrences, before, false)?;
                return Ok(true);
            }
        }
        self.observe_again(conn, &sight)
    }

    /// A sight of an Event that has an entry.
    fn observe_again(
        &mut self,
        conn: &mut Session<'_>,
        sight: &Sight<'_>,
    ) -> rusqlite::Result<bool> {
        let found = self.known(conn, sight.row.record(), sight.uid)?;
        let key = match fold(found.as_ref().map(|(known, _)| known), sight.seen) {
            Fold::Duplicate => {
                if sight.via == Via::List {
                    self.still_listed(conn, sight.watch, sight.uid)?;
                }
                self.outcomes.duplicate += 1;
                return Ok(false);
            }
            Fold::Open {
                created,
                occurrences,
                before,
                count_reset,
            } => {
                let key = self.rows.key(conn, sight.bounded(created))?;
                self.open(conn, sight, key, occurrences, before, count_reset)?;
                key
            }
            Fold::Into {
                key,
                add,
                last,
                count_reset,
            } => {
                let body = found.map(|(_, body)| body).unwrap_or_default();
                let grown = Grown {
                    count: sight.seen.count,
                    add,
                    last,
                    count_reset,
                };
                self.fold_into(conn, key, sight.row, body, &grown)?;
                self.outcomes.folded += 1;
                self.rows
                    .told
                    .sight(sight.row.record(), sight.seen.last, add);
                self.note_recovered(sight.watch, sight.via, add);
                key
            }
        };
        self.remember(conn, Hot::Renew, sight, key)
    }

    /// Writes the entry of an Event; says whether it was written.
    fn remember(
        &mut self,
        conn: &mut Session<'_>,
        how: Hot,
        sight: &Sight<'_>,
        key: EventKey,
    ) -> rusqlite::Result<bool> {
        let listing = self.watches.get(sight.watch).listing;
        let written = self.rows.statements.hot(conn, how)?.execute((
            sight.uid,
            sight.watch.0,
            &sight.version,
            sight.seen.count,
            key.as_i64(),
            listing,
        ))?;
        Ok(written > 0)
    }

    /// Opens a row for a sight.
    fn open(
        &mut self,
        conn: &mut Session<'_>,
        sight: &Sight<'_>,
        key: EventKey,
        occurrences: i64,
        before: i64,
        count_reset: bool,
    ) -> rusqlite::Result<()> {
        let mut extra = Cow::Borrowed(&sight.row.record().extra);
        if before > 0 {
            extra
                .to_mut()
                .insert("occurrences_before".into(), json!(before));
        }
        if count_reset {
            extra.to_mut().insert("count_reset".into(), json!(true));
        }
        let span = Span {
            uid: Some(sight.uid),
            count: Some(sight.seen.count),
            occurrences: Some(occurrences),
            first: Some(sight.seen.first),
            last: sight.seen.last,
        };
        self.outcomes.stored += 1;
        self.note_recovered(sight.watch, sight.via, occurrences);
        self.rows
            .told
            .sight(sight.row.record(), sight.seen.last, occurrences);
        self.rows.insert_as(conn, sight.row, key, &span, &extra)
    }

    /// What is stored of an Event, and what a repeat may change of its newest row.
    fn known(
        &mut self,
        conn: &mut Session<'_>,
        record: &Record,
        uid: Uid<'_>,
    ) -> rusqlite::Result<Option<(Known, Body)>> {
        let found = self
            .rows
            .statements
            .hot(conn, Hot::Known)?
            .query_row([uid], |row| {
                let key = EventKey::from_i64(row.get(2)?);
                let newest: Option<(i64, i64, i64)> = match row.get::<_, Option<i64>>(3)? {
                    Some(severity) => Some((severity, row.get(4)?, row.get(5)?)),
                    None => None,
                };
                let body = Body {
                    text: row.get::<_, Option<i64>>(6)?.unwrap_or_default(),
                    args: row.get(7)?,
                    extra: row.get(8)?,
                };
                Ok((
                    row.get::<_, Version>(0)?,
                    row.get::<_, i64>(1)?,
                    key,
                    newest,
                    body,
                ))
            })
            .optional()?;
        let Some((version, count, key, newest, body)) = found else {
            return Ok(None);
        };
        let row = match newest {
            None => None,
            Some((severity, reason, last_ms)) => {
                let looks_same =
                    severity == record.severity.code() && self.same_title(conn, reason, record)?;
                let last = Timestamp::from_millis(key.created_at().millis() + last_ms);
                Some(NewestRow {
                    key,
                    last,
                    looks_same,
                })
            }
        };
        let known = Known {
            version,
            count,
            row,
        };
        Ok(Some((known, body)))
    }

    fn same_title(
        &mut self,
        conn: &Connection,
        stored: i64,
        record: &Record,
    ) -> rusqlite::Result<bool> {
        if self.rows.reason(conn, record)? == stored {
            return Ok(true);
        }
        let title: Option<String> = self
            .rows
            .statements
            .select(conn, "SELECT title FROM reason WHERE id = ?1")?
            .query_row([stored], |row| row.get(0))
            .optional()?;
        Ok(title.as_deref() == Some(record.title.as_str()))
    }

    fn fold_into(
        &mut self,
        conn: &mut Session<'_>,
        key: EventKey,
        row: &Sanitized,
        old: Body,
        grown: &Grown,
    ) -> rusqlite::Result<()> {
        let (text, args) = self.rows.text(conn, row)?;
        let text_changed = (old.text, &old.args) != (text, &args);
        let extra = if text_changed || grown.count_reset {
            let mut extra = parse_extra(old.extra.as_deref());
            if text_changed && !extra.contains_key("first_description") {
                let first: String = self
                    .rows
                    .statements
                    .select(conn, "SELECT description FROM event_detail WHERE key = ?1")?
                    .query_row([key.as_i64()], |row| row.get(0))?;
                extra.insert("first_description".into(), json!(first));
            }
            if grown.count_reset {
                extra.insert("count_reset".into(), json!(true));
            }
            json_text(&extra)
        } else {
            old.extra
        };
        let last_ms = grown.last.since(key.created_at()).as_millis() as i64;
        self.rows.statements.hot(conn, Hot::FoldInto)?.execute((
            key.as_i64(),
            grown.count,
            grown.add,
            last_ms,
            text,
            args,
            extra,
        ))?;
        self.rows.changed(key);
        Ok(())
    }

    fn note_recovered(&mut self, watch: WatchId, via: Via, occurrences: i64) {
        if via == Via::List {
            let watch = self.watches.get(watch);
            watch.recovered += 1;
            watch.repeats += (occurrences - 1).max(0);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one Item::Passed")]
    fn pass(
        &mut self,
        conn: &mut Session<'_>,
        watch: WatchId,
        via: Via,
        uid: &str,
        version: &str,
        why: &Passed,
        received: Timestamp,
    ) -> rusqlite::Result<()> {
        match why {
            Passed::Deleted => {
                self.rows
                    .statements
                    .hot(conn, Hot::Forget)?
                    .execute([Uid::new(uid)])?;
                self.outcomes.deleted += 1;
            }
            Passed::Filtered(rule) => {
                if via == Via::List {
                    // It may have been recorded before the rule was there: it is listed, so it is not missing.
                    self.still_listed(conn, watch, Uid::new(uid))?;
                }
                self.outcomes.filtered.push(*rule);
            }
            Passed::SetAside(stage, cause) => {
                if self.set_aside(conn, watch, uid, version, cause, received)? {
                    self.outcomes.set_aside.push(*stage);
                } else {
                    self.outcomes.duplicate += 1;
                }
            }
        }
        Ok(())
    }

    /// Notes that the list under way holds the Event.
    fn still_listed(
        &mut self,
        conn: &mut Session<'_>,
        watch: WatchId,
        uid: Uid<'_>,
    ) -> rusqlite::Result<()> {
        let listing = self.watches.get(watch).listing;
        self.rows
            .statements
            .update(
                conn,
                "UPDATE dedup SET listing = ?2, watch = ?3 WHERE uid = ?1",
            )?
            .execute((uid, listing, watch.0))?;
        Ok(())
    }

    /// Stores a stub for a sight that cannot be stored itself; once for each version of it. `false`: it was there.
    fn set_aside(
        &mut self,
        conn: &mut Session<'_>,
        watch: WatchId,
        uid: &str,
        version: &str,
        cause: &str,
        received: Timestamp,
    ) -> rusqlite::Result<bool> {
        let stored: Option<Version> = self
            .rows
            .statements
            .select(conn, "SELECT version FROM dedup WHERE uid = ?1")?
            .query_row([Uid::new(uid)], |row| row.get(0))
            .optional()?;
        let listing = self.watches.get(watch).listing;
        if !uid.is_empty() && stored.is_some_and(|stored| !Version::new(version).is_after(&stored))
        {
            self.still_listed(conn, watch, Uid::new(uid))?;
            return Ok(false);
        }
        let stub = sanitize(set_aside_record(uid, version, cause, received));
        let span = Span {
            last: received,
            ..Span::default()
        };
        let key = self
            .rows
            .insert(conn, &stub, received, &span, &stub.record().extra)?;
        if !uid.is_empty() {
            self.rows
                .statements
                .insert(
                    conn,
                    "INSERT INTO dedup (uid, watch, version, count, event, listing) VALUES (?1, ?2, ?3, 0, ?4, ?5) \
                     ON CONFLICT DO UPDATE SET watch = excluded.watch, version = excluded.version, \
                     listing = excluded.listing",
                )?
                .execute((Uid::new(uid), watch.0, Version::new(version), key.as_i64(), listing))?;
        }
        Ok(true)
    }

    /// Remembers what a full queue dropped: holes for sights, a gap row for rows of kube9's own.
    pub fn open_holes(
        &mut self,
        conn: &mut Session<'_>,
        drops: &[Drops],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        for drop in drops {
            let Some(watch) = drop.watch else {
                let row = sanitize(gap::lost_rows(drop.items, drop.since, now));
                let span = Span {
                    last: now,
                    ..Span::default()
                };
                self.rows
                    .insert(conn, &row, drop.since.min(now), &span, &row.record().extra)?;
                self.outcomes.gaps_closed.push(Healed::False);
                continue;
            };
            self.rows
                .statements
                .insert(
                    conn,
                    "INSERT INTO hole (watch, since_ms, cause, items, listing, known) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((
                    watch.0,
                    drop.since.millis(),
                    RelistCause::Hole.as_str(),
                    drop.items as i64,
                    drop.listing,
                    json!(drop.known).to_string(),
                ))?;
            if !self.outcomes.holed.contains(&watch) {
                self.outcomes.holed.push(watch);
            }
        }
        Ok(())
    }

    fn mark(
        &mut self,
        conn: &mut Session<'_>,
        watch: WatchId,
        mark: &Mark,
    ) -> rusqlite::Result<()> {
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
                self.watches.get(watch).advance(version, Some(*at));
                Ok(())
            }
        }
    }

    fn list_begun(
        &mut self,
        conn: &mut Session<'_>,
        id: WatchId,
        listing: i64,
        cause: RelistCause,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let since: Option<i64> = self
            .rows
            .statements
            .select(conn, "SELECT min(since_ms) FROM hole WHERE watch = ?1")?
            .query_row([id.0], |row| row.get(0))?;
        let watch = self.watches.get(id);
        watch.touch();
        let again = watch.relisting;
        watch.relisting = true;
        watch.listing = listing;
        watch.recovered = 0;
        watch.repeats = 0;
        if cause == RelistCause::FirstStart && !again {
            // The record begins here. Only if this list fails was there a time of which nothing is known.
            watch.proven.get_or_insert(at);
            return Ok(());
        }
        if watch.gap.is_some() {
            return Ok(());
        }
        let proven = watch.proven.unwrap_or(at);
        let from = since
            .map_or(proven, |since| Timestamp::from_millis(since).min(proven))
            .min(at);
        let row = sanitize(gap::opened(
            &watch.kind,
            &watch.namespace,
            cause.as_str(),
            from,
        ));
        let span = Span {
            last: at,
            ..Span::default()
        };
        let key = self
            .rows
            .insert(conn, &row, from, &span, &row.record().extra)?;
        let watch = self.watches.get(id);
        watch.gap = Some(key);
        watch.gap_cause = Some(cause.as_str().to_owned());
        Ok(())
    }

    /// The API server's history is another one (etcd restored): positions are void, uids stay known.
    fn regressed(
        &mut self,
        conn: &mut Session<'_>,
        id: WatchId,
        version: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        let old = watch.position.take().unwrap_or_default();
        watch.touch();
        // Version 0: any sight counts as later than the stored one; counts decide whether it says anything new.
        self.rows
            .statements
            .update(conn, "UPDATE dedup SET version = 0 WHERE watch = ?1")?
            .execute([id.0])?;
        let row = sanitize(regressed_record(&old, version, at));
        let span = Span {
            last: at,
            ..Span::default()
        };
        self.rows
            .insert(conn, &row, at, &span, &row.record().extra)?;
        Ok(())
    }

    fn list_done(
        &mut self,
        conn: &mut Session<'_>,
        id: WatchId,
        mark: &Mark,
    ) -> rusqlite::Result<()> {
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
        let watch = self.watches.get(id);
        if !watch.relisting || watch.listing != *listing {
            return Ok(()); // its first pages went into a database that was replaced since
        }
        if self.holes_since(conn, id, *listing)? {
            // Items of this very list were dropped, so it shows neither what is there nor what is gone. The open hole
            // makes the source list again; the gap stays open until then.
            return Ok(());
        }
        let (proven, listing) = (self.watches.get(id).proven, *listing);
        let young = server_time.minus(*event_ttl);
        let missing: i64 = self
            .rows
            .statements
            .select(
                conn,
                "SELECT count(*) FROM dedup d JOIN event e ON e.key = d.event \
                 WHERE d.watch = ?1 AND d.listing <> ?2 AND (e.key >> 24) * 1000 + e.last_ms > ?3",
            )?
            .query_row((id.0, listing, young.millis()), |row| row.get(0))?;
        let dropped = self.close_holes(conn, id)?;
        self.rows
            .statements
            .delete(conn, "DELETE FROM dedup WHERE watch = ?1 AND listing <> ?2")?
            .execute((id.0, listing))?;
        if let Some(key) = self.watches.get(id).gap {
            let from = self.gap_begin(conn, key)?;
            let ahead = server_time.millis() - at.millis();
            let facts = Facts {
                from,
                to: (*server_time).max(from),
                length: proven
                    .filter(|proven| proven <= at)
                    .map(|_| (*server_time).max(*at).since(from)),
                oldest_change: oldest_change
                    .map(|change| Timestamp::from_millis(change.millis() - ahead)),
                event_ttl: *event_ttl,
                missing: missing as u64,
                dropped,
            };
            self.close_gap(conn, id, key, &facts, *listed)?;
        }
        let watch = self.watches.get(id);
        watch.relisting = false;
        watch.gap = None;
        watch.gap_cause = None;
        watch.position = Some(version.clone());
        // The earlier of two clocks: one that has jumped ahead must not claim a proof from the future.
        watch.proven = Some((*at).min(*server_time));
        watch.touch();
        Ok(())
    }

    /// Whether items were dropped after that list had begun.
    fn holes_since(
        &mut self,
        conn: &mut Session<'_>,
        id: WatchId,
        listing: i64,
    ) -> rusqlite::Result<bool> {
        self.rows
            .statements
            .select(
                conn,
                "SELECT EXISTS (SELECT 1 FROM hole WHERE watch = ?1 AND listing >= ?2)",
            )?
            .query_row((id.0, listing), |row| row.get(0))
    }

    /// When a gap began: its row says it to the millisecond, its key only to the second.
    fn gap_begin(&mut self, conn: &mut Session<'_>, key: EventKey) -> rusqlite::Result<Timestamp> {
        let from: Option<String> = self
            .rows
            .statements
            .select(
                conn,
                "SELECT json_extract(extra, '$.from') FROM event WHERE key = ?1",
            )?
            .query_row([key.as_i64()], |row| row.get(0))
            .optional()?
            .flatten();
        Ok(from
            .and_then(|from| Timestamp::parse(&from).ok())
            .unwrap_or_else(|| key.created_at()))
    }

    /// Closes the holes of a watch after a complete list; returns how many dropped items it did not bring back.
    fn close_holes(&mut self, conn: &mut Session<'_>, id: WatchId) -> rusqlite::Result<u64> {
        let holes: Vec<(i64, u64, String)> = self
            .rows
            .statements
            .select(conn, "SELECT id, items, known FROM hole WHERE watch = ?1")?
            .query_map([id.0], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut missing = 0;
        for (hole, items, known) in holes {
            let known: Vec<(String, String)> = serde_json::from_str(&known).unwrap_or_default();
            let mut back = 0;
            for (uid, version) in &known {
                let stored: Option<Version> = self
                    .rows
                    .statements
                    .select(conn, "SELECT version FROM dedup WHERE uid = ?1")?
                    .query_row([Uid::new(uid)], |row| row.get(0))
                    .optional()?;
                back += u64::from(
                    stored.is_some_and(|stored| !Version::new(version).is_after(&stored)),
                );
            }
            missing += items.saturating_sub(back);
            self.rows
                .statements
                .delete(conn, "DELETE FROM hole WHERE id = ?1")?
                .execute([hole])?;
        }
        Ok(missing)
    }

    fn close_gap(
        &mut self,
        conn: &mut Session<'_>,
        id: WatchId,
        key: EventKey,
        facts: &Facts,
        listed: u64,
    ) -> rusqlite::Result<()> {
        let healed = gap::judge(facts);
        let watch = self.watches.get(id);
        let cause = watch.gap_cause.clone().unwrap_or_default();
        let counts = (listed, watch.recovered, watch.repeats);
        let (description, extra) =
            gap::closed(&watch.kind, &watch.namespace, &cause, facts, healed, counts);
        let mut record = gap::opened(&watch.kind, &watch.namespace, &cause, facts.from);
        record.description = description;
        record.extra = extra;
        let row = sanitize(record);
        let (text, args) = self.rows.text(conn, &row)?;
        let last_ms = facts.to.since(key.created_at()).as_millis() as i64;
        let changed = self
            .rows
            .statements
            .update(
                conn,
                "UPDATE event SET severity = ?2, last_ms = ?3, text = ?4, args = ?5, extra = ?6 WHERE key = ?1",
            )?
            .execute((
                key.as_i64(),
                healed.severity().code(),
                last_ms,
                text,
                args,
                json_text(&row.record().extra),
            ))?;
        if changed > 0 {
            self.rows
                .count(key, 0, EventType::System, Severity::Warning, -1);
            self.rows
                .count(key, 0, EventType::System, healed.severity(), 1);
            self.rows.changed(key);
        }
        self.outcomes.gaps_closed.push(healed);
        Ok(())
    }

    /// The last thing before a commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.watches.save(conn, &mut self.rows.statements)?;
        self.rows.finish(conn)
    }

    /// After the commit of a transaction that this applier worked on.
    pub fn committed(&mut self) {
        self.watches.committed();
    }

    /// Forgets everything that a rollback undid. Cannot fail: what it goes back to is in memory.
    pub fn rolled_back(&mut self, _conn: &Connection) -> rusqlite::Result<()> {
        self.rows.clear();
        self.outcomes = Outcomes::default();
        self.watches.rolled_back();
        Ok(())
    }
}

/// A sight of an Event.
struct Sight<'a> {
    watch: WatchId,
    via: Via,
    row: &'a Sanitized,
    seen: &'a Observation,
    uid: Uid<'a>,
    version: Version,
    now: Timestamp,
}

impl Sight<'_> {
    /// A row's time within what can be true.
    fn bounded(&self, created: Timestamp) -> Timestamp {
        created
            .max(Timestamp::EPOCH)
            .min(self.now.max(self.seen.last))
    }
}

/// The columns of a row that a repeat may change.
#[derive(Debug, Default)]
struct Body {
    text: i64,
    args: Option<String>,
    extra: Option<String>,
}

/// What a repeat does to its row.
struct Grown {
    /// The Event's count.
    count: i64,
    /// Occurrences to add.
    add: i64,
    /// The last occurrence from now on.
    last: Timestamp,
    count_reset: bool,
}

fn parse_extra(extra: Option<&str>) -> Map<String, Value> {
    extra
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn set_aside_record(uid: &str, version: &str, cause: &str, at: Timestamp) -> Record {
    Record {
        event_type: EventType::System,
        severity: Severity::Warning,
        title: "Event set aside".to_owned(),
        description: format!(
            "An Event could not be recorded: {cause}. It was skipped so that the rest goes on."
        ),
        reason: "EventSetAside".to_owned(),
        extra: Map::from_iter([
            ("event_uid".to_owned(), json!(uid)),
            ("resource_version".to_owned(), json!(version)),
            ("cause".to_owned(), json!(cause)),
        ]),
        ..Record::own(at)
    }
}

fn regressed_record(old: &str, new: &str, at: Timestamp) -> Record {
    Record {
        event_type: EventType::System,
        severity: Severity::Critical,
        title: "API server history went back".to_owned(),
        description: format!(
            "The API server's resourceVersion is {new}, below the recorded position {old}: etcd was restored from a \
             backup, or this volume belongs to another cluster. The position was discarded and everything is listed again."
        ),
        reason: "HistoryRegressed".to_owned(),
        extra: Map::from_iter([
            ("position".to_owned(), json!(old)),
            ("resource_version".to_owned(), json!(new)),
        ]),
        ..Record::own(at)
    }
}
