//! A sight of an Event: its row, or its part in a row that is there, and its entry in `dedup`.

use std::borrow::Cow;

use kube9_shared::id::EventKey;
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value, json};

use super::Applier;
use crate::pipeline::identity::{Uid, Version};
use crate::pipeline::item::{Via, WatchId};
use crate::pipeline::record::Observation;
use crate::pipeline::sanitize::Sanitized;
use crate::store::fold::{Fold, Known, NewestRow, fold};
use crate::store::rows::{Span, json as json_text};

/// What is stored of an Event and its newest row. The row must be the Event's own: once the clean-up has taken it, another
/// may get its key.
const KNOWN: &str = "SELECT d.version, d.count, d.event, e.severity, e.reason, e.last_ms, e.text, e.args, e.extra \
     FROM dedup d LEFT JOIN event e ON e.key = d.event AND e.uid = d.uid WHERE d.uid = ?1";

/// A repeat goes into its row.
const FOLD_INTO: &str = "UPDATE event SET count = ?2, occurrences = occurrences + ?3, last_ms = ?4, text = ?5, args = ?6, \
     extra = ?7 WHERE key = ?1";

/// The entry of a new Event in `dedup`; nothing where it has one.
const REMEMBER: &str = "INSERT INTO dedup (uid, watch, version, count, event, listing) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT (uid) DO NOTHING";

/// The entry of a known Event.
const RENEW: &str = "UPDATE dedup SET watch = ?2, version = ?3, count = ?4, event = ?5, listing = ?6 WHERE uid = ?1";

impl Applier {
    /// Stores a sight of an Event. Returns whether a row was opened or grew.
    pub(super) fn observe(
        &mut self,
        conn: &Connection,
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
            if self.remember(conn, REMEMBER, &sight, key)? {
                self.open(conn, &sight, key, occurrences, before, false)?;
                return Ok(true);
            }
        }
        self.observe_again(conn, &sight)
    }

    /// A sight of an Event that has an entry.
    fn observe_again(&mut self, conn: &Connection, sight: &Sight<'_>) -> rusqlite::Result<bool> {
        let found = self.known(conn, sight.row, &sight.seen.uid)?;
        let key = match fold(found.as_ref().map(|(known, _)| known), sight.seen) {
            Fold::Duplicate => {
                if sight.via == Via::List {
                    self.still_listed(conn, sight.watch, &sight.seen.uid)?;
                }
                self.outcomes.events.duplicate += 1;
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
                self.outcomes.events.folded += 1;
                self.rows
                    .told
                    .sight(sight.row.record(), sight.seen.last, add);
                self.note_recovered(sight.watch, sight.via, add);
                key
            }
        };
        self.remember(conn, RENEW, sight, key)
    }

    /// Writes the entry of an Event; says whether it was written.
    fn remember(
        &mut self,
        conn: &Connection,
        sql: &str,
        sight: &Sight<'_>,
        key: EventKey,
    ) -> rusqlite::Result<bool> {
        let listing = self.watches.get(sight.watch).listing;
        let written = conn.prepare_cached(sql)?.execute((
            &sight.seen.uid,
            sight.watch.0,
            &sight.seen.version,
            sight.seen.count,
            key.as_i64(),
            listing,
        ))?;
        Ok(written > 0)
    }

    /// Opens a row for a sight.
    fn open(
        &mut self,
        conn: &Connection,
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
            uid: Some(&sight.seen.uid),
            count: Some(sight.seen.count),
            occurrences: Some(occurrences),
            first: Some(sight.seen.first),
            last: sight.seen.last,
        };
        self.outcomes.events.stored += 1;
        self.note_recovered(sight.watch, sight.via, occurrences);
        self.rows
            .told
            .sight(sight.row.record(), sight.seen.last, occurrences);
        self.rows.insert_as(conn, sight.row, key, &span, &extra)
    }

    /// What is stored of an Event, and what a repeat may change of its newest row.
    fn known(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
        uid: &Uid,
    ) -> rusqlite::Result<Option<(Known, Body)>> {
        let found = conn
            .prepare_cached(KNOWN)?
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
        let newest = match newest {
            None => None,
            Some((severity, reason, last_ms)) => {
                let looks_same = severity == row.record().severity.code()
                    && self.same_title(conn, reason, row)?;
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
            row: newest,
        };
        Ok(Some((known, body)))
    }

    fn same_title(
        &mut self,
        conn: &Connection,
        stored: i64,
        row: &Sanitized,
    ) -> rusqlite::Result<bool> {
        if self.rows.reason(conn, row)? == stored {
            return Ok(true);
        }
        let title: Option<String> = conn
            .prepare_cached("SELECT title FROM reason WHERE id = ?1")?
            .query_row([stored], |row| row.get(0))
            .optional()?;
        Ok(title.as_deref() == Some(row.record().title.as_str()))
    }

    fn fold_into(
        &mut self,
        conn: &Connection,
        key: EventKey,
        row: &Sanitized,
        old: Body,
        grown: &Grown,
    ) -> rusqlite::Result<()> {
        let (text, args) = self.rows.text(conn, row)?;
        let text_changed = (old.text, old.args.as_deref()) != (text, args);
        let extra = if text_changed || grown.count_reset {
            let mut extra = parse_extra(old.extra.as_deref());
            if text_changed && !extra.contains_key("first_description") {
                let first: String = conn
                    .prepare_cached("SELECT description FROM event_detail WHERE key = ?1")?
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
        conn.prepare_cached(FOLD_INTO)?.execute((
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
}

/// A sight of an Event.
struct Sight<'a> {
    watch: WatchId,
    via: Via,
    row: &'a Sanitized,
    seen: &'a Observation,
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
