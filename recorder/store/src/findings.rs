//! The table `finding`: which findings are open, and the rows that open and close them.
//!
//! Invariant: a fingerprint is in `finding` exactly while its finding is open, in the transaction of its rows.

use kube9_ingest::item::{Finding, Step};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::rows::{Rows, Span};
use super::statements::Counting as _;

/// The table, within a transaction of the caller's.
pub(super) struct FindingTable<'c> {
    conn: &'c Connection,
}

impl<'c> FindingTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// The findings that are open: fingerprint and state.
    pub(super) fn open(&self) -> rusqlite::Result<Vec<(String, String)>> {
        self.conn
            .counted("SELECT fingerprint, state FROM finding ORDER BY event")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    /// Findings that are open.
    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.conn
            .counted("SELECT count(*) FROM finding")?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    }

    /// Whether the row is that of an open finding.
    pub(super) fn has_row(&self, key: i64) -> rusqlite::Result<bool> {
        self.conn
            .counted("SELECT EXISTS (SELECT 1 FROM finding WHERE event = ?1)")?
            .query_row([key], |row| row.get(0))
    }

    /// The row of a finding goes, and its entry with it.
    pub(super) fn delete_with_row(&self, key: i64) -> rusqlite::Result<()> {
        self.conn
            .counted("DELETE FROM finding WHERE event = ?1")?
            .execute([key])?;
        Ok(())
    }

    /// Stores a step of a finding.
    pub(super) fn store(&self, rows: &mut Rows, finding: &Finding) -> rusqlite::Result<()> {
        let fingerprint = finding.fingerprint.as_str();
        let known: Option<EventKey> = self
            .conn
            .counted("SELECT event FROM finding WHERE fingerprint = ?1")?
            .query_row([fingerprint], |row| row.get(0))
            .optional()?
            .map(EventKey::from_i64);
        match (&finding.step, known) {
            (Step::Opened { state, since }, before) => {
                let key = self.insert_row(rows, finding, *since, before)?;
                self.conn
                    .counted(
                        "INSERT INTO finding (fingerprint, event, state) VALUES (?1, ?2, ?3) \
                         ON CONFLICT DO UPDATE SET event = excluded.event, state = excluded.state",
                    )?
                    .execute((fingerprint, key.as_i64(), state.as_str()))?;
                Ok(())
            }
            (Step::Updated, Some(key)) => rows.rewrite(self.conn, key, &finding.row, finding.at),
            (Step::Closed, Some(key)) => {
                self.close_row(rows, finding, key)?;
                self.conn
                    .counted("DELETE FROM finding WHERE fingerprint = ?1")?
                    .execute([fingerprint])?;
                Ok(())
            }
            // Not open: its opening was refused by the database. There is nothing to update or to close.
            (Step::Updated | Step::Closed, None) => Ok(()),
        }
    }

    /// Moves the end of all open findings' rows, so that a search of the last minutes finds what began days ago.
    pub(super) fn still_open(&self, at: Timestamp) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "UPDATE event SET last_offset_ms = max(last_offset_ms, ?1 - (key >> 24) * 1000) \
                 WHERE key IN (SELECT event FROM finding)",
            )?
            .execute([at.millis()])?;
        Ok(())
    }

    /// The row that opens a finding; `before` is the row of one with the same fingerprint that is open.
    fn insert_row(
        &self,
        rows: &mut Rows,
        finding: &Finding,
        since: Timestamp,
        before: Option<EventKey>,
    ) -> rusqlite::Result<EventKey> {
        let mut extra = finding.row.record().extra.clone();
        if let Some(before) = before {
            extra.insert("continues".to_owned(), json!(before.to_string()));
            self.extend_row(rows, before, finding.at, None)?;
        }
        let span = Span {
            first: Some(since.min(finding.at)),
            last: finding.at,
            ..Span::default()
        };
        rows.insert(self.conn, &finding.row, finding.at, &span, &extra)
    }

    /// The row that closes a finding, and the end of the row `key` that opened it.
    fn close_row(&self, rows: &mut Rows, finding: &Finding, key: EventKey) -> rusqlite::Result<()> {
        self.extend_row(rows, key, finding.at, Some("resolved_at"))?;
        let mut extra = finding.row.record().extra.clone();
        extra.insert("resolves".to_owned(), json!(key.to_string()));
        let span = Span {
            last: finding.at,
            ..Span::default()
        };
        rows.insert(self.conn, &finding.row, finding.at, &span, &extra)?;
        Ok(())
    }

    /// Moves the end of a finding's row to `at`, and notes that under `mark` in its metadata.
    fn extend_row(
        &self,
        rows: &mut Rows,
        key: EventKey,
        at: Timestamp,
        mark: Option<&str>,
    ) -> rusqlite::Result<()> {
        let Some(mut extra) = rows.extra(self.conn, key)? else {
            return Ok(());
        };
        if let Some(mark) = mark {
            extra.insert(mark.to_owned(), json!(at.to_string()));
        }
        rows.extend(self.conn, key, at, &extra)
    }
}
