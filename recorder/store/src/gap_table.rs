//! The rows of recording gaps: opened when a list begins, rewritten when it is complete. Their texts are in `gap`.
//!
//! `watch_state` refers to the row of an open gap (`Watch::gap`); a watch has at most one.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_ingest::sanitize::sanitize;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;
use rusqlite::Connection;

use super::gap::{self, End, Part, Recovery};
use super::rows::Rows;
use super::statements::Counting as _;
use super::watches::Watch;
use crate::queue::DroppedItems;

/// The rows of gaps, within a transaction of the caller.
pub(super) struct GapTable<'a> {
    conn: &'a Connection,
    rows: &'a mut Rows,
}

impl<'a> GapTable<'a> {
    pub(super) const fn of(conn: &'a Connection, rows: &'a mut Rows) -> Self {
        Self { conn, rows }
    }

    /// Opens a gap that begins at `from`, unless one is open. `others` are open or recent gap rows of the same cause: if the
    /// interval of one overlaps, this watch joins that row.
    pub(super) fn open(
        &mut self,
        watch: &mut Watch,
        others: &BTreeSet<EventKey>,
        cause: RelistCause,
        from: Timestamp,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        if watch.gap.is_some() {
            return Ok(());
        }
        let part = Part::open(&watch.kind, &watch.namespace, from);
        let mut joined = None;
        // The newest first.
        for key in others.iter().rev() {
            let extra = self.rows.extra(self.conn, *key)?.unwrap_or_default();
            let mut parts = gap::parts(&extra);
            if let Some(index) = part_index(&parts, &part) {
                match parts.get_mut(index) {
                    // Its earlier end is added when it ends.
                    Some(known) => known.open_again(from),
                    None => parts.push(part.clone()),
                }
                joined = Some((*key, parts));
                break;
            }
        }
        let key = match joined {
            Some((key, parts)) => {
                self.rewrite(key, cause.as_str(), &parts, at)?;
                key
            }
            None => {
                let row = sanitize(gap::row(cause.as_str(), &[part]));
                self.rows.insert_internal(self.conn, &row, from, at)?
            }
        };
        self.note_begin(watch, from)?;
        watch.gap = Some(key);
        watch.gap_from = Some(from);
        watch.gap_cause = Some(cause.as_str().to_owned());
        watch.touch();
        Ok(())
    }

    /// Closes the open gap of a watch that no longer runs.
    pub(super) fn abandon(&mut self, watch: &mut Watch, now: Timestamp) -> rusqlite::Result<()> {
        let Some(from) = self.begin(watch)? else {
            return Ok(());
        };
        self.close(watch, gap::abandoned(now.max(from)))?;
        Ok(())
    }

    /// When the open gap of a watch began: the row has milliseconds, its key only seconds.
    pub(super) fn begin(&self, watch: &Watch) -> rusqlite::Result<Option<Timestamp>> {
        let Some(key) = watch.gap else {
            return Ok(None);
        };
        if watch.gap_from.is_some() {
            return Ok(watch.gap_from);
        }
        let extra = self.rows.extra(self.conn, key)?.unwrap_or_default();
        let parts = gap::parts(&extra);
        let own = parts
            .iter()
            .find(|part| part.is_of(&watch.kind, &watch.namespace));
        Ok(Some(own.map_or_else(|| key.created_at(), |part| part.from)))
    }

    /// Closes the gap of a watch, if one is open, once its list is complete.
    pub(super) fn close(
        &mut self,
        watch: &mut Watch,
        end: End,
    ) -> rusqlite::Result<Option<Recovery>> {
        let Some(key) = watch.gap.take() else {
            return Ok(None);
        };
        let cause = watch.gap_cause.take().unwrap_or_default();
        watch.gap_from = None;
        watch.last_gap = Some((key, cause.clone()));
        watch.touch();
        let recovery = end.recovery;
        let extra = self.rows.extra(self.conn, key)?.unwrap_or_default();
        let mut parts = gap::parts(&extra);
        let own = parts
            .iter()
            .position(|part| part.is_of(&watch.kind, &watch.namespace));
        let own = own.unwrap_or_else(|| {
            let from = key.created_at();
            parts.push(Part::open(&watch.kind, &watch.namespace, from));
            parts.len() - 1
        });
        let to = end.to;
        self.conn
            .counted("UPDATE watch_gap SET to_ms = max(from_ms, ?3) WHERE kind = ?1 AND namespace = ?2 AND to_ms IS NULL")?
            .execute((&watch.kind, &watch.namespace, to.millis()))?;
        parts[own].close(end);
        let ends = parts.iter().filter_map(|part| part.end.as_ref());
        let last = ends.map(|end| end.to).max().unwrap_or(to);
        self.rewrite(key, &cause, &parts, last)?;
        Ok(Some(recovery))
    }

    /// Rows of gaps expire before the states of objects that they are about.
    fn note_begin(&self, watch: &Watch, from: Timestamp) -> rusqlite::Result<()> {
        let of = (&*watch.kind, &*watch.namespace);
        self.conn
            .counted(
                "INSERT INTO watch_gap (kind, namespace, from_ms) VALUES (?1, ?2, ?3) \
                 ON CONFLICT DO UPDATE SET to_ms = NULL",
            )?
            .execute((of.0, of.1, from.millis()))?;
        let too_many = self
            .conn
            .counted(
                "SELECT from_ms, to_ms FROM watch_gap WHERE kind = ?1 AND namespace = ?2 \
                 ORDER BY from_ms DESC LIMIT 2 OFFSET ?3",
            )?
            .query_map((of.0, of.1, GAPS_MAX - 1), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        // The two oldest become one, so that nothing in them is taken for observed.
        if let [(newer, to), (oldest, _)] = too_many[..] {
            self.conn
                .counted(
                    "DELETE FROM watch_gap WHERE kind = ?1 AND namespace = ?2 AND from_ms = ?3",
                )?
                .execute((of.0, of.1, newer))?;
            self.conn
                .counted("UPDATE watch_gap SET to_ms = ?4 WHERE kind = ?1 AND namespace = ?2 AND from_ms = ?3")?
                .execute((of.0, of.1, oldest, to))?;
        }
        Ok(())
    }

    fn rewrite(
        &mut self,
        key: EventKey,
        cause: &str,
        parts: &[Part],
        to: Timestamp,
    ) -> rusqlite::Result<()> {
        let row = sanitize(gap::row(cause, parts));
        self.rows.rewrite_gap(self.conn, key, &row, to)
    }

    /// A closed gap for internal rows that a full queue dropped.
    pub(super) fn lost_rows(
        &mut self,
        drop: &DroppedItems,
        now: Timestamp,
    ) -> rusqlite::Result<Recovery> {
        let row = sanitize(gap::lost_rows(drop.items, drop.since, now));
        self.rows
            .insert_internal(self.conn, &row, drop.since.min(now), now)?;
        Ok(Recovery::None)
    }
}

/// Intervals of a watch in `watch_gap`.
const GAPS_MAX: i64 = 500;

/// Watches in one row: each takes up to 300 bytes of its metadata (10 KiB) and 9 of its 128 fields.
const PARTS_MAX: usize = 12;

/// Longest time between the starts of the gaps in one row: a position is confirmed every two minutes. A list that fails
/// for days must not join the gaps of other kinds that began and ended since.
const APART_MAX: Duration = Duration::from_secs(300);

/// Index of `part` among the parts of a row; `None`: it is another gap.
fn part_index(parts: &[Part], part: &Part) -> Option<usize> {
    let reaches = |one: &Part| one.end.as_ref().is_none_or(|end| end.to >= part.from);
    let own = parts
        .iter()
        .position(|one| one.kind == part.kind && one.scope == part.scope);
    if let Some(own) = own {
        return reaches(&parts[own]).then_some(own);
    }
    let apart = |one: &Part| one.from.since(part.from).max(part.from.since(one.from));
    let is_one = parts
        .iter()
        .any(|one| reaches(one) && apart(one) <= APART_MAX);
    (is_one && parts.len() < PARTS_MAX).then_some(parts.len())
}
