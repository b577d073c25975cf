//! Inserts, updates and deletes rows of `event`, with the counters and the change sequence that belong to them.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::{Map, Value};

use super::intern::Interned;
use super::keys::Keys;
use super::statements::{Hot, Session, Statements};
use crate::pipeline::heard::Told;
use crate::pipeline::record::Record;
use crate::pipeline::sanitize::Sanitized;

/// Change entries kept for `events watch`: a follower that polls twice a second may fall ten seconds behind a burst of
/// 2,000 rows a second.
const CHANGES_KEPT: i64 = 20_000;

/// Spans of the counters, in seconds: a whole day, a whole hour.
const TALLY_SPANS: [i64; 2] = [86_400, 3_600];

/// Writes rows within the caller's transaction.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) statements: Statements,
    pub(super) interned: Interned,
    keys: Keys,
    tally: HashMap<Tally, i64, RandomState>,
    /// Rows that are new or different, in the order in which they became so.
    changed: Vec<EventKey>,
    trimmed_to: i64,
    /// Rows inserted since the last [`Rows::take_inserted`], by type and severity.
    inserted: Inserted,
    /// What the transactions since the last [`Rows::take_told`] tell the analysis.
    pub(super) told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Tally {
    /// Seconds since 1970, of the hour or the day.
    start: i64,
    scope: i64,
    event_type: i64,
    severity: i64,
}

/// The columns that only recorded Events have, and the row's place in time.
#[derive(Debug, Clone, Default)]
pub struct Span<'a> {
    /// uid of the Event.
    pub uid: Option<Uid<'a>>,
    /// The Event's own count.
    pub count: Option<i64>,
    /// What the row stands for.
    pub occurrences: Option<i64>,
    /// First occurrence, where it is not `created_at`.
    pub first: Option<Timestamp>,
    /// Last occurrence.
    pub last: Timestamp,
}

impl Rows {
    /// Forgets what a rollback may have undone.
    pub fn clear(&mut self) {
        self.interned.forget();
        self.keys.clear();
        self.tally.clear();
        self.changed.clear();
        self.inserted = Inserted::default();
        self.told = Told::default();
    }

    /// Number of the reason and title of a record.
    pub fn reason(&mut self, conn: &Connection, record: &Record) -> rusqlite::Result<i64> {
        self.interned.reason(conn, &mut self.statements, record)
    }

    /// Inserts a row created at `created`.
    pub fn insert(
        &mut self,
        conn: &mut Session<'_>,
        row: &Sanitized,
        created: Timestamp,
        span: &Span<'_>,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<EventKey> {
        let key = self.key(conn, created)?;
        self.insert_as(conn, row, key, span, extra)?;
        Ok(key)
    }

    /// A key for a row created at `created`.
    pub fn key(&mut self, conn: &Connection, created: Timestamp) -> rusqlite::Result<EventKey> {
        self.keys.next(conn, created.second())
    }

    /// Inserts a row under a key of [`Rows::key`].
    pub fn insert_as(
        &mut self,
        conn: &mut Session<'_>,
        row: &Sanitized,
        key: EventKey,
        span: &Span<'_>,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<()> {
        let record = row.record();
        let reason = self.reason(conn, record)?;
        let object = match &record.object {
            Some(object) => Some(self.interned.object(
                conn,
                &mut self.statements,
                object,
                record.owner.as_ref(),
            )?),
            None => None,
        };
        let node = match &record.node {
            Some(node) => Some(self.interned.node(conn, &mut self.statements, node)?),
            None => None,
        };
        let (text, args) = self.text(conn, row)?;
        let created = key.created_at();
        let first_ms = span.first.map(|first| first.millis() - created.millis());
        let last_ms = span.last.since(created).as_millis() as i64;
        self.statements
            .hot(conn, Hot::InsertEvent)?
            .execute(rusqlite::params![
                key.as_i64(),
                record.event_type.code(),
                record.severity.code(),
                reason,
                object.map(|ids| ids.object),
                node,
                text,
                args,
                span.uid,
                span.count,
                span.occurrences,
                first_ms,
                last_ms,
                json(extra),
            ])?;
        self.count(
            key,
            object.map_or(0, |ids| ids.scope),
            record.event_type,
            record.severity,
            1,
        );
        self.inserted.0[record.event_type as usize][record.severity as usize] += 1;
        self.told.row(record, created);
        self.changed(key);
        Ok(())
    }

    /// Number and arguments of the row's description.
    pub fn text<'r>(
        &mut self,
        conn: &Connection,
        row: &'r Sanitized,
    ) -> rusqlite::Result<(i64, Option<&'r str>)> {
        let text = row.text();
        let id = self.interned.text(conn, &mut self.statements, &text.body)?;
        Ok((id, text.args.as_deref()))
    }

    /// Notes that a row is new or different, in the sequence that followers read.
    pub fn changed(&mut self, key: EventKey) {
        self.changed.push(key);
    }

    /// Adds `rows` to the counters of a row's place.
    pub fn count(
        &mut self,
        key: EventKey,
        scope: i64,
        event_type: EventType,
        severity: Severity,
        rows: i64,
    ) {
        let tally = Tally {
            start: key.second().div_euclid(3600) * 3600,
            scope,
            event_type: event_type.code(),
            severity: severity.code(),
        };
        *self.tally.entry(tally).or_default() += rows;
    }

    /// Writes the counters and the change sequence: the last thing before a commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.write_tally(conn)?;
        self.write_changes(conn)
    }

    fn write_tally(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.tally.is_empty() {
            return Ok(());
        }
        let mut add = conn.prepare_cached(
            "INSERT INTO tally (span, start, scope, type, severity, rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
        )?;
        for span in TALLY_SPANS {
            let mut sums: HashMap<Tally, i64, RandomState> = HashMap::default();
            for (tally, rows) in &self.tally {
                let start = tally.start.div_euclid(span) * span;
                *sums.entry(Tally { start, ..*tally }).or_default() += rows;
            }
            // In the order of the table, so that neighbours find their page again.
            let mut sums: Vec<(Tally, i64)> =
                sums.into_iter().filter(|(_, rows)| *rows != 0).collect();
            sums.sort_unstable();
            for (tally, rows) in sums {
                let place = (
                    span,
                    tally.start,
                    tally.scope,
                    tally.event_type,
                    tally.severity,
                );
                self.statements.inserts += 1;
                add.execute((place.0, place.1, place.2, place.3, place.4, rows))?;
                if rows < 0 {
                    self.statements
                        .delete(
                            conn,
                            "DELETE FROM tally WHERE span = ?1 AND start = ?2 AND scope = ?3 AND type = ?4 \
                             AND severity = ?5 AND rows <= 0",
                        )?
                        .execute(place)?;
                }
            }
        }
        self.tally.clear();
        Ok(())
    }

    fn write_changes(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut seq: i64 = self
            .statements
            .select(conn, "SELECT ifnull(max(seq), 0) FROM changes")?
            .query_row([], |row| row.get(0))?;
        let mut add = conn.prepare_cached("INSERT INTO changes (seq, event) VALUES (?1, ?2)")?;
        for key in self.changed.drain(..) {
            seq += 1;
            self.statements.inserts += 1;
            add.execute((seq, key.as_i64()))?;
        }
        if seq >= self.trimmed_to + CHANGES_KEPT + CHANGES_KEPT / 8 {
            self.trimmed_to = seq - CHANGES_KEPT;
            self.statements
                .delete(conn, "DELETE FROM changes WHERE seq <= ?1")?
                .execute([self.trimmed_to])?;
        }
        Ok(())
    }

    /// What the transactions since the last call tell the analysis; to be handed on after the commit.
    pub fn take_told(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// Rows inserted since the last call, by type and severity; to be counted after the commit.
    pub fn take_inserted(&mut self) -> impl Iterator<Item = ((EventType, Severity), u64)> + use<> {
        let Inserted(all) = std::mem::take(&mut self.inserted);
        EventType::ALL.iter().flat_map(move |event_type| {
            Severity::ALL
                .iter()
                .map(move |severity| (*event_type, *severity))
                .map(move |place| (place, all[place.0 as usize][place.1 as usize]))
                .filter(|(_, rows)| *rows > 0)
        })
    }
}

/// Numbers of rows by type and severity.
#[derive(Debug, Default)]
struct Inserted([[u64; Severity::ALL.len()]; EventType::ALL.len()]);

/// An object as JSON text; `None` when it is empty, which costs no byte in the row.
pub fn json(extra: &Map<String, Value>) -> Option<String> {
    (!extra.is_empty())
        .then(|| serde_json::to_string(extra).expect("a map of JSON values always serializes"))
}

/// A uid as the database stores it: the 16 bytes of a UUID in canonical form, else its text.
#[derive(Debug, Clone, Copy)]
pub enum Uid<'a> {
    /// A UUID.
    Bytes([u8; 16]),
    /// Anything else.
    Text(&'a str),
}

impl<'a> Uid<'a> {
    /// Reads the API's text.
    pub fn new(text: &'a str) -> Self {
        uuid_bytes(text).map_or(Self::Text(text), Self::Bytes)
    }
}

impl rusqlite::ToSql for Uid<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (index, c) in text.iter().enumerate() {
        let value = match (index, c) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (_, b'0'..=b'9') => c - b'0',
            (_, b'a'..=b'f') => c - b'a' + 10,
            _ => return None,
        };
        if digits == 32 {
            return None;
        }
        bytes[digits / 2] = bytes[digits / 2] << 4 | value;
        digits += 1;
    }
    (digits == 32).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_uuids_become_bytes() {
        assert_eq!(
            uuid_bytes("00010203-0405-0607-0809-0a0b0c0d0e0f"),
            Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        );
        for text in [
            "",
            "00010203-0405-0607-0809-0A0b0c0d0e0f",
            "00010203-0405-0607-0809-0a0b0c0d0e0",
            "000102030405-0607-0809-0a0b0c0d0e0f0",
            "00010203-0405-0607-08090-a0b0c0d0e0f",
        ] {
            assert_eq!(uuid_bytes(text), None, "{text}");
        }
    }
}
