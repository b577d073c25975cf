//! A sight of an Event: its row, or its part in a row that is there, and its entry in `dedup`.

use std::borrow::Cow;

use kube9_ingest::sanitize::Sanitized;
use kube9_model::id::EventKey;
use kube9_model::record::Observation;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Via, WatchId};
use rusqlite::Connection;
use serde_json::{Map, Value, json};

use super::dedup::{DedupTable, Entry, Stored, StoredRow};
use super::fold::{Fold, Known, NewestRow, fold};
use super::rows::{EventTable, Repeat, Rows, Span, json as json_text};

/// A sight of an Event.
pub(super) struct Sight<'a> {
    pub(super) watch: WatchId,
    /// The last list that its watch began.
    pub(super) listing: i64,
    pub(super) via: Via,
    pub(super) row: &'a Sanitized,
    pub(super) seen: &'a Observation,
    pub(super) now: Timestamp,
}

/// What sights are stored in, for as many of them as a transaction has.
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

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// Nothing: it was stored before.
    Duplicate,
    /// A row that stands for so many occurrences.
    Row(i64),
    /// So many occurrences more of a row.
    Part(i64),
}

impl Sight<'_> {
    /// Stores it within a transaction of the caller's.
    pub(super) fn store(
        &self,
        tables: &mut Tables<'_>,
        rows: &mut Rows,
    ) -> rusqlite::Result<Became> {
        // Most sights are of new Events: the entry is tried first, and what is stored is read only where there is one.
        if let Fold::Open {
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
                return Ok(Became::Row(occurrences));
            }
        }
        self.store_again(tables, rows)
    }

    /// Stores a sight of an Event that has an entry.
    fn store_again(&self, tables: &mut Tables<'_>, rows: &mut Rows) -> rusqlite::Result<Became> {
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
                if self.via == Via::List {
                    dedup.listed(&self.seen.uid, self.watch, self.listing)?;
                }
                Ok(Became::Duplicate)
            }
            Fold::Open {
                created,
                occurrences,
                before,
                count_reset,
            } => {
                let key = rows.key(conn, self.bounded(created))?;
                self.open(events, rows, key, (occurrences, before, count_reset))?;
                dedup.update(&self.entry(key))?;
                Ok(Became::Row(occurrences))
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
                Ok(Became::Part(add))
            }
        }
    }

    /// A row's time within what can be true.
    fn bounded(&self, created: Timestamp) -> Timestamp {
        created
            .max(Timestamp::EPOCH)
            .min(self.now.max(self.seen.last))
    }

    /// Its entry, with its newest row.
    fn entry(&self, event: EventKey) -> Entry<'_> {
        Entry {
            uid: &self.seen.uid,
            watch: self.watch,
            listing: self.listing,
            version: &self.seen.version,
            count: self.seen.count,
            event,
        }
    }

    /// Opens a row.
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
        let span = Span {
            uid: Some(&self.seen.uid),
            count: Some(self.seen.count),
            occurrences: Some(occurrences),
            first: Some(self.seen.first),
            last: self.seen.last,
        };
        rows.told
            .sight(self.row.record(), self.seen.last, occurrences);
        rows.insert_as(events, self.row, key, &span, &extra)
    }

    /// What is stored of its Event, as far as the rules of folding ask.
    fn known(
        &self,
        conn: &Connection,
        rows: &mut Rows,
        stored: &Stored,
    ) -> rusqlite::Result<Known> {
        let row = match &stored.row {
            None => None,
            Some(row) => Some(NewestRow {
                key: stored.event,
                last: row.last,
                looks_same: row.severity == self.row.record().severity.code()
                    && rows.has_title(conn, row.reason, self.row)?,
            }),
        };
        Ok(Known {
            version: stored.version.clone(),
            count: stored.count,
            row,
        })
    }

    /// Adds a repeat to its row.
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
        let repeat = Repeat {
            count: self.seen.count,
            add,
            last,
            text,
            args,
            extra,
        };
        rows.grow(events, key, &repeat)?;
        rows.told.sight(self.row.record(), self.seen.last, add);
        Ok(())
    }
}

fn parse_extra(extra: Option<&str>) -> Map<String, Value> {
    extra
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}
