//! The table `finding`: the open findings, and the rows that open and close them.
//!
//! Invariant: a fingerprint is in `finding` exactly while its finding is open, in the transaction of its rows.

use kube9_ingest::item::{Finding, FindingTransition};
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::rows::{EventTimes, Rows};
use super::statements::Counting as _;

/// The table, within a transaction of the caller.
pub(super) struct FindingTable<'c> {
    conn: &'c Connection,
}

impl<'c> FindingTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// Fingerprint and state of the open findings.
    pub(super) fn open(&self) -> rusqlite::Result<Vec<(String, String)>> {
        self.conn
            .counted("SELECT fingerprint, state FROM finding ORDER BY event")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    }

    pub(super) fn count(&self) -> rusqlite::Result<u64> {
        self.conn
            .counted("SELECT count(*) FROM finding")?
            .query_row([], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    }

    /// Whether this is the row of an open finding.
    pub(super) fn has_row(&self, key: i64) -> rusqlite::Result<bool> {
        self.conn
            .counted("SELECT EXISTS (SELECT 1 FROM finding WHERE event = ?1)")?
            .query_row([key], |row| row.get(0))
    }

    /// Deletes the entry of a finding together with its row.
    pub(super) fn delete_with_row(&self, key: i64) -> rusqlite::Result<()> {
        self.conn
            .counted("DELETE FROM finding WHERE event = ?1")?
            .execute([key])?;
        Ok(())
    }

    /// Stores a transition of a finding.
    pub(super) fn store(&self, rows: &mut Rows, finding: &Finding) -> rusqlite::Result<()> {
        let fingerprint = finding.fingerprint.as_str();
        let known: Option<EventKey> = self
            .conn
            .counted("SELECT event FROM finding WHERE fingerprint = ?1")?
            .query_row([fingerprint], |row| row.get(0))
            .optional()?
            .map(EventKey::from_i64);
        match (&finding.transition, known) {
            (FindingTransition::Opened { state, since }, before) => {
                let key = self.insert_row(rows, finding, *since, before)?;
                self.conn
                    .counted(
                        "INSERT INTO finding (fingerprint, event, state) VALUES (?1, ?2, ?3) \
                         ON CONFLICT DO UPDATE SET event = excluded.event, state = excluded.state",
                    )?
                    .execute((fingerprint, key.as_i64(), state.as_str()))?;
                Ok(())
            }
            (FindingTransition::Updated, Some(key)) => {
                rows.rewrite(self.conn, key, &finding.row, finding.at)
            }
            (FindingTransition::Closed, Some(key)) => {
                self.close_row(rows, finding, key)?;
                self.conn
                    .counted("DELETE FROM finding WHERE fingerprint = ?1")?
                    .execute([fingerprint])?;
                Ok(())
            }
            // Not open: the database rejected its opening.
            (FindingTransition::Updated | FindingTransition::Closed, None) => Ok(()),
        }
    }

    /// Extends the rows of all open findings, so that a search of the last minutes finds one that opened days ago.
    pub(super) fn extend_open(&self, at: Timestamp) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "UPDATE event SET last_offset_ms = max(last_offset_ms, ?1 - (key >> 24) * 1000) \
                 WHERE key IN (SELECT event FROM finding)",
            )?
            .execute([at.millis()])?;
        Ok(())
    }

    /// Inserts the row that opens a finding; `before` is the row of an open finding with the same fingerprint.
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
        let span = EventTimes {
            first: Some(since.min(finding.at)),
            last: finding.at,
            ..EventTimes::default()
        };
        rows.insert(self.conn, &finding.row, finding.at, &span, &extra)
    }

    /// Inserts the row that closes a finding, and ends the row `key` that opened it.
    fn close_row(&self, rows: &mut Rows, finding: &Finding, key: EventKey) -> rusqlite::Result<()> {
        self.extend_row(rows, key, finding.at, Some("resolved_at"))?;
        let mut extra = finding.row.record().extra.clone();
        extra.insert("resolves".to_owned(), json!(key.to_string()));
        let span = EventTimes {
            last: finding.at,
            ..EventTimes::default()
        };
        rows.insert(self.conn, &finding.row, finding.at, &span, &extra)?;
        Ok(())
    }

    /// Extends a finding's row to `at`, and records the time under `mark` in its metadata.
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
