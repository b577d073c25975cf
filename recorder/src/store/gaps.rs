//! The rows of recording gaps: opened with a list, rewritten when it is complete. What they say is in `gap`.
//!
//! `watch_state` knows which row is that of an open gap (`Watch::gap`): one a watch at most.

use kube9_shared::id::EventKey;
use kube9_shared::time::Timestamp;
use rusqlite::Connection;

use super::gap::{self, Facts, Healed};
use super::rows::Rows;
use super::watches::Watch;
use crate::pipeline::item::RelistCause;
use crate::pipeline::queue::Drops;
use crate::pipeline::sanitize::sanitize;

/// The rows of gaps, within a transaction of the caller's.
pub(super) struct GapTable<'a> {
    conn: &'a Connection,
    rows: &'a mut Rows,
}

impl<'a> GapTable<'a> {
    pub(super) const fn of(conn: &'a Connection, rows: &'a mut Rows) -> Self {
        Self { conn, rows }
    }

    /// Opens a gap from `from` on, unless one is open.
    pub(super) fn open(
        &mut self,
        watch: &mut Watch,
        cause: RelistCause,
        from: Timestamp,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        if watch.gap.is_some() {
            return Ok(());
        }
        let record = gap::opened(&watch.kind, &watch.namespace, cause.as_str(), from);
        let key = self
            .rows
            .insert_own(self.conn, &sanitize(record), from, at)?;
        watch.gap = Some(key);
        watch.gap_cause = Some(cause.as_str().to_owned());
        watch.touch();
        Ok(())
    }

    /// When the open gap `key` began: its row says it to the millisecond, its key only to the second.
    pub(super) fn begin(&self, key: EventKey) -> rusqlite::Result<Timestamp> {
        let extra = self.rows.extra(self.conn, key)?.unwrap_or_default();
        let from = extra.get("from").and_then(|from| from.as_str());
        Ok(from
            .and_then(|from| Timestamp::parse(from).ok())
            .unwrap_or_else(|| key.created_at()))
    }

    /// Closes the gap of a watch of Events, if one is open, once its list of `listed` Events is complete.
    pub(super) fn close(
        &mut self,
        watch: &mut Watch,
        facts: &Facts,
        listed: u64,
    ) -> rusqlite::Result<Option<Healed>> {
        let Some((key, cause)) = take(watch) else {
            return Ok(None);
        };
        let healed = gap::judge(facts);
        let counts = (listed, watch.recovered, watch.repeats);
        let mut record = gap::opened(&watch.kind, &watch.namespace, &cause, facts.from);
        (record.description, record.extra) =
            gap::closed(&watch.kind, &watch.namespace, &cause, facts, healed, counts);
        record.severity = healed.severity();
        self.rows
            .rewrite_gap(self.conn, key, &sanitize(record), facts.to)?;
        Ok(Some(healed))
    }

    /// Closes the gap of an informer, if one is open, once its list is complete.
    pub(super) fn close_objects(
        &mut self,
        watch: &mut Watch,
        to: Timestamp,
        (listed, vanished): (u64, u64),
    ) -> rusqlite::Result<Option<Healed>> {
        let Some((key, cause)) = take(watch) else {
            return Ok(None);
        };
        let from = key.created_at();
        let mut record = gap::opened(&watch.kind, &watch.namespace, &cause, from);
        (record.description, record.extra) = gap::objects_closed(
            &watch.kind,
            &watch.namespace,
            &cause,
            (from, to),
            (listed, vanished),
        );
        record.severity = gap::objects_severity(from, to);
        self.rows
            .rewrite_gap(self.conn, key, &sanitize(record), to)?;
        Ok(Some(gap::judge_objects(vanished)))
    }

    /// A closed gap of its own: rows of kube9's own that a full queue dropped.
    pub(super) fn lost_rows(&mut self, drop: &Drops, now: Timestamp) -> rusqlite::Result<Healed> {
        let row = sanitize(gap::lost_rows(drop.items, drop.since, now));
        self.rows
            .insert_own(self.conn, &row, drop.since.min(now), now)?;
        Ok(Healed::False)
    }
}

/// The open gap of a watch and its cause; the watch has none any more.
fn take(watch: &mut Watch) -> Option<(EventKey, String)> {
    let key = watch.gap.take()?;
    watch.touch();
    Some((key, watch.gap_cause.take().unwrap_or_default()))
}
