//! Stores a received Event: inserts a row or folds it into one, and updates its entry in `dedup`.

use std::borrow::Cow;

use kube9_ingest::sanitize::Sanitized;
use kube9_model::id::EventKey;
use kube9_model::record::Observation;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, WatchId};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::dedup::{DedupTable, Entry, Stored, StoredRow};
use super::fold::{Fold, NewestRow, StoredEvent, fold};
use super::rows::{EventTable, EventTimes, FoldUpdate, Rows, json as json_text};

/// A received version of an Event.
pub(super) struct IncomingEvent<'a> {
    pub(super) watch: WatchId,
    /// Generation of the last list of its watch.
    pub(super) list_generation: i64,
    pub(super) origin: Origin,
    pub(super) row: &'a Sanitized,
    pub(super) seen: &'a Observation,
    pub(super) now: Timestamp,
}

/// The tables that store Events, for the length of a transaction.
pub(super) struct Tables<'c> {
    pub(super) conn: &'c Connection,
    pub(super) dedup: DedupTable<'c>,
    events: EventTable<'c>,
}

impl<'c> Tables<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self {
            conn,
            dedup: DedupTable::of(conn),
            events: EventTable::of(conn),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventOutcome {
    /// It was already stored.
    Duplicate,
    /// A new row with that many occurrences.
    Inserted(i64),
    /// That many occurrences were added to a row.
    Folded(i64),
}

impl IncomingEvent<'_> {
    /// Stores it within a transaction of the caller.
    pub(super) fn store(
        &self,
        tables: &mut Tables<'_>,
        rows: &mut Rows,
    ) -> rusqlite::Result<EventOutcome> {
        // Most Events that occurred once are new: the insert is tried first, and the stored entry is read only on conflict.
        if self.seen.count <= 1
            && let Fold::Open {
                created,
                occurrences,
                before,
                count_reset,
            } = fold(None, self.seen)
        {
            let key = rows.key(tables.conn, self.bounded(created))?;
            if tables.dedup.insert(&self.entry(key))? {
                self.open(
                    &mut tables.events,
                    rows,
                    key,
                    (occurrences, before, count_reset),
                )?;
                return Ok(EventOutcome::Inserted(occurrences));
            }
        }
        self.store_known(tables, rows)
    }

    /// Stores an Event that probably has an entry.
    fn store_known(
        &self,
        tables: &mut Tables<'_>,
        rows: &mut Rows,
    ) -> rusqlite::Result<EventOutcome> {
        let Tables {
            conn,
            dedup,
            events,
        } = tables;
        let found = dedup.find(&self.seen.uid)?;
        let known = match &found {
            Some(stored) => Some(self.known(conn, rows, stored)?),
            None => None,
        };
        match fold(known.as_ref(), self.seen) {
            Fold::Duplicate => {
                if self.origin == Origin::List {
                    dedup.listed(&self.seen.uid, self.watch, self.list_generation)?;
                }
                Ok(EventOutcome::Duplicate)
            }
            Fold::Open {
                created,
                occurrences,
                before,
                count_reset,
            } => {
                let key = rows.key(conn, self.bounded(created))?;
                self.open(events, rows, key, (occurrences, before, count_reset))?;
                if found.is_some() {
                    dedup.update(&self.entry(key))?;
                } else {
                    dedup.insert(&self.entry(key))?;
                }
                Ok(EventOutcome::Inserted(occurrences))
            }
            Fold::Into {
                key,
                add,
                last,
                count_reset,
            } => {
                let old = found.and_then(|stored| stored.row);
                self.fold_into(events, rows, key, old, (add, last, count_reset))?;
                dedup.update(&self.entry(key))?;
                Ok(EventOutcome::Folded(add))
            }
        }
    }

    /// The row's time, limited to plausible values.
    fn bounded(&self, created: Timestamp) -> Timestamp {
        created
            .max(Timestamp::EPOCH)
            .min(self.now.max(self.seen.last))
    }

    fn entry(&self, event: EventKey) -> Entry<'_> {
        Entry {
            uid: &self.seen.uid,
            watch: self.watch,
            list_generation: self.list_generation,
            version: &self.seen.version,
            count: self.seen.count,
            event,
        }
    }

    fn open(
        &self,
        events: &mut EventTable<'_>,
        rows: &mut Rows,
        key: EventKey,
        (occurrences, before, count_reset): (i64, i64, bool),
    ) -> rusqlite::Result<()> {
        let mut extra = Cow::Borrowed(&self.row.record().extra);
        if before > 0 {
            extra
                .to_mut()
                .insert("occurrences_before".into(), json!(before));
        }
        if count_reset {
            extra.to_mut().insert("count_reset".into(), json!(true));
        }
        let span = EventTimes {
            uid: Some(&self.seen.uid),
            count: Some(self.seen.count),
            occurrences: Some(occurrences),
            first: Some(self.seen.first),
            last: self.seen.last,
        };
        rows.commit_delta
            .count_probe_kill(self.row.record(), self.seen.last, occurrences);
        rows.insert_as(events, self.row, key, &span, &extra)
    }

    /// What `fold` needs of the stored Event.
    fn known(
        &self,
        conn: &Connection,
        rows: &mut Rows,
        stored: &Stored,
    ) -> rusqlite::Result<StoredEvent> {
        let row = match &stored.row {
            None => None,
            Some(row) => Some(NewestRow {
                key: stored.event,
                last: row.last,
                looks_same: row.severity == self.row.record().severity.code()
                    && rows.has_title(conn, row.reason, self.row)?,
            }),
        };
        Ok(StoredEvent {
            version: stored.version.clone(),
            count: stored.count,
            row,
        })
    }

    fn fold_into(
        &self,
        events: &mut EventTable<'_>,
        rows: &mut Rows,
        key: EventKey,
        old: Option<StoredRow>,
        (add, last, count_reset): (i64, Timestamp, bool),
    ) -> rusqlite::Result<()> {
        let (old_text, old_args, old_extra) =
            old.map_or((0, None, None), |row| (row.text, row.args, row.extra));
        let (text, args) = rows.text(events.conn, self.row)?;
        let text_changed = (old_text, old_args.as_deref()) != (text, args);
        let extra = if text_changed || count_reset {
            let mut extra = parse_extra(old_extra.as_deref());
            if text_changed && !extra.contains_key("first_description") {
                let first = rows.description(events.conn, key)?;
                extra.insert("first_description".into(), json!(first));
            }
            if count_reset {
                extra.insert("count_reset".into(), json!(true));
            }
            json_text(&extra)
        } else {
            old_extra
        };
        let repeat = FoldUpdate {
            count: self.seen.count,
            add,
            last,
            text,
            args,
            extra,
        };
        rows.update_folded(events, key, &repeat)?;
        rows.commit_delta
            .count_probe_kill(self.row.record(), self.seen.last, add);
        Ok(())
    }
}

fn parse_extra(extra: Option<&str>) -> Map<String, Value> {
    extra
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
