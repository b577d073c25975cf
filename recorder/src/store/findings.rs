//! Findings: which are open, and the rows that open and close them.
//!
//! Invariant: a fingerprint is in `finding` exactly while its finding is open, in the transaction of its rows.

use kube9_shared::id::EventKey;
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value, json};

use super::apply::Applier;
use super::rows::{Span, json as json_text};
use crate::pipeline::item::{Finding, Step};

/// The findings that are open: fingerprint and state.
pub(super) fn open(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare("SELECT fingerprint, state FROM finding ORDER BY event")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

impl Applier {
    pub(super) fn finding(&mut self, conn: &Connection, finding: &Finding) -> rusqlite::Result<()> {
        let known: Option<EventKey> = conn
            .prepare_cached("SELECT event FROM finding WHERE fingerprint = ?1")?
            .query_row([finding.fingerprint.as_str()], |row| row.get(0))
            .optional()?
            .map(EventKey::from_i64);
        match (&finding.step, known) {
            (Step::Opened { state, since }, before) => {
                self.opened(conn, finding, state.as_str(), *since, before)
            }
            (Step::Updated, Some(key)) => self.updated(conn, finding, key),
            (Step::Closed, Some(key)) => self.closed(conn, finding, key),
            // Not open: its opening was refused by the database. There is nothing to update or to close.
            (Step::Updated | Step::Closed, None) => Ok(()),
        }
    }

    /// Moves the end of all open findings' rows, so that a search of the last minutes finds what began days ago.
    pub(super) fn still_open(&mut self, conn: &Connection, at: Timestamp) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "UPDATE event SET last_ms = max(last_ms, ?1 - (key >> 24) * 1000) \
                 WHERE key IN (SELECT event FROM finding)",
        )?
        .execute([at.millis()])?;
        Ok(())
    }

    fn opened(
        &mut self,
        conn: &Connection,
        finding: &Finding,
        state: &str,
        since: Timestamp,
        before: Option<EventKey>,
    ) -> rusqlite::Result<()> {
        let mut extra = finding.row.record().extra.clone();
        if let Some(before) = before {
            extra.insert("continues".to_owned(), json!(before.to_string()));
            self.extend(conn, before, finding, None)?;
        }
        let span = Span {
            first: Some(since.min(finding.at)),
            last: finding.at,
            ..Span::default()
        };
        let key = self
            .rows
            .insert(conn, &finding.row, finding.at, &span, &extra)?;
        conn.prepare_cached(
            "INSERT INTO finding (fingerprint, event, state) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET event = excluded.event, state = excluded.state",
        )?
        .execute((finding.fingerprint.as_str(), key.as_i64(), state))?;
        Ok(())
    }

    fn updated(
        &mut self,
        conn: &Connection,
        finding: &Finding,
        key: EventKey,
    ) -> rusqlite::Result<()> {
        let (text, args) = self.rows.text(conn, &finding.row)?;
        let last_ms = finding.at.since(key.created_at()).as_millis() as i64;
        let extra = json_text(&finding.row.record().extra);
        conn.prepare_cached("UPDATE event SET last_ms = max(last_ms, ?2), text = ?3, args = ?4, extra = ?5 WHERE key = ?1",
            )?
            .execute((key.as_i64(), last_ms, text, args, extra))?;
        self.rows.changed(key);
        Ok(())
    }

    fn closed(
        &mut self,
        conn: &Connection,
        finding: &Finding,
        key: EventKey,
    ) -> rusqlite::Result<()> {
        self.extend(conn, key, finding, Some("resolved_at"))?;
        let mut extra = finding.row.record().extra.clone();
        extra.insert("resolves".to_owned(), json!(key.to_string()));
        let span = Span {
            last: finding.at,
            ..Span::default()
        };
        self.rows
            .insert(conn, &finding.row, finding.at, &span, &extra)?;
        conn.prepare_cached("DELETE FROM finding WHERE fingerprint = ?1")?
            .execute([finding.fingerprint.as_str()])?;
        Ok(())
    }

    /// Moves the end of a finding's row to now, and notes that under `mark` in its metadata.
    fn extend(
        &mut self,
        conn: &Connection,
        key: EventKey,
        finding: &Finding,
        mark: Option<&str>,
    ) -> rusqlite::Result<()> {
        let extra: Option<Option<String>> = conn
            .prepare_cached("SELECT extra FROM event WHERE key = ?1")?
            .query_row([key.as_i64()], |row| row.get(0))
            .optional()?;
        let Some(extra) = extra else { return Ok(()) };
        let mut extra: Map<String, Value> = extra
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        if let Some(mark) = mark {
            extra.insert(mark.to_owned(), json!(finding.at.to_string()));
        }
        let last_ms = finding.at.since(key.created_at()).as_millis() as i64;
        conn.prepare_cached(
            "UPDATE event SET last_ms = max(last_ms, ?2), extra = ?3 WHERE key = ?1",
        )?
        .execute((key.as_i64(), last_ms, json_text(&extra)))?;
        self.rows.changed(key);
        Ok(())
    }
}
