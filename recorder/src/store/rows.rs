//! Inserts, updates and deletes rows of `event`, with the counters and the change sequence that belong to them.

use std::collections::HashMap;

use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use serde_json::{Map, Value};

use super::intern::{Interned, Reason};
use super::keys::Keys;
use super::statements::Statements;
use super::template;
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
    tally: HashMap<Tally, i64>,
    change: Option<i64>,
    trimmed_to: i64,
    /// Rows inserted since the last [`Rows::take_inserted`], by type and severity.
    inserted: HashMap<(EventType, Severity), u64>,
    /// What the transactions since the last [`Rows::take_told`] tell the analysis.
    pub(super) told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tally {
    hour: i64,
    scope: i64,
    event_type: i64,
    severity: i64,
}

/// The columns that only recorded Events have, and the row's place in time.
#[derive(Debug, Clone, Default)]
pub struct Span<'a> {
    /// uid of the Event.
    pub uid: Option<&'a str>,
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
        self.change = None;
        self.inserted.clear();
        self.told = Told::default();
    }

    /// Number of the reason and title of a record.
    pub fn reason(&mut self, conn: &Connection, record: &Record) -> rusqlite::Result<i64> {
        let reason = Reason {
            reason: record.reason.clone(),
            title: record.title.clone(),
            component: record.component.clone(),
            container: record.container.clone(),
            kube_type: record.kube_type.clone(),
        };
        self.interned.reason(conn, &mut self.statements, reason)
    }

    /// Inserts a row created at `created`.
    pub fn insert(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
        created: Timestamp,
        span: &Span<'_>,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<EventKey> {
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
        let key = self.keys.next(conn, created.second())?;
        let created = key.created_at();
        let first_ms = span.first.map(|first| first.millis() - created.millis());
        let last_ms = span.last.since(created).as_millis() as i64;
        self.statements
            .insert(
                conn,
                "INSERT INTO event (key, type, severity, reason, object, node, text, args, uid, count, occurrences, \
                 first_ms, last_ms, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .execute(rusqlite::params![
                key.as_i64(),
                record.event_type.code(),
                record.severity.code(),
                reason,
                object.map(|ids| ids.object),
                node,
                text,
                args,
                span.uid.map(Uid),
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
        *self
            .inserted
            .entry((record.event_type, record.severity))
            .or_default() += 1;
        self.told.row(record, created);
        self.changed(conn, key)?;
        Ok(key)
    }

    /// Number and arguments of the record's description.
    pub fn text(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
    ) -> rusqlite::Result<(i64, Option<String>)> {
        let record = row.record();
        let (name, namespace) = record.object.as_ref().map_or(("", ""), |object| {
            (object.name.as_str(), object.namespace.as_str())
        });
        let template = template::split(&record.description, name, namespace);
        let args = (!template.args.is_empty()).then(|| template.args_json());
        Ok((
            self.interned
                .text(conn, &mut self.statements, template.body)?,
            args,
        ))
    }

    /// Notes that a row is new or different, in the sequence that followers read.
    pub fn changed(&mut self, conn: &Connection, key: EventKey) -> rusqlite::Result<()> {
        let last = match self.change {
            Some(last) => last,
            None => self
                .statements
                .select(conn, "SELECT ifnull(max(seq), 0) FROM changes")?
                .query_row([], |row| row.get(0))?,
        };
        let seq = last + 1;
        self.statements
            .insert(conn, "INSERT INTO changes (seq, event) VALUES (?1, ?2)")?
            .execute((seq, key.as_i64()))?;
        self.change = Some(seq);
        Ok(())
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
            hour: key.second().div_euclid(3600) * 3600,
            scope,
            event_type: event_type.code(),
            severity: severity.code(),
        };
        *self.tally.entry(tally).or_default() += rows;
    }

    /// Writes the counters and trims the change sequence: the last thing before a commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        for span in TALLY_SPANS {
            let mut sums: HashMap<Tally, i64> = HashMap::new();
            for (tally, rows) in &self.tally {
                *sums
                    .entry(Tally {
                        hour: tally.hour.div_euclid(span) * span,
                        ..*tally
                    })
                    .or_default() += rows;
            }
            for (tally, rows) in sums.into_iter().filter(|(_, rows)| *rows != 0) {
                let place = (
                    span,
                    tally.hour,
                    tally.scope,
                    tally.event_type,
                    tally.severity,
                    rows,
                );
                self.statements
                    .insert(
                        conn,
                        "INSERT INTO tally (span, start, scope, type, severity, rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                         ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
                    )?
                    .execute(place)?;
                if rows < 0 {
                    self.statements
                        .delete(
                            conn,
                            "DELETE FROM tally WHERE span = ?1 AND start = ?2 AND scope = ?3 AND type = ?4 \
                             AND severity = ?5 AND rows <= 0",
                        )?
                        .execute((span, tally.hour, tally.scope, tally.event_type, tally.severity))?;
                }
            }
        }
        self.tally.clear();
        if let Some(last) = self
            .change
            .filter(|last| *last >= self.trimmed_to + CHANGES_KEPT + CHANGES_KEPT / 8)
        {
            self.trimmed_to = last - CHANGES_KEPT;
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
    pub fn take_inserted(&mut self) -> HashMap<(EventType, Severity), u64> {
        std::mem::take(&mut self.inserted)
    }
}

/// An object as JSON text; `None` when it is empty, which costs no byte in the row.
pub fn json(extra: &Map<String, Value>) -> Option<String> {
    (!extra.is_empty())
        .then(|| serde_json::to_string(extra).expect("a map of JSON values always serializes"))
}

/// A uid as the database stores it: the 16 bytes of a UUID in canonical form, else its text.
#[derive(Debug, Clone, Copy)]
pub struct Uid<'a>(pub &'a str);

impl rusqlite::ToSql for Uid<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match uuid_bytes(self.0) {
            Some(bytes) => ToSqlOutput::Owned(SqlValue::Blob(bytes.to_vec())),
            None => ToSqlOutput::from(self.0),
        })
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
