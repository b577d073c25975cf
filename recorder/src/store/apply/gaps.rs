//! What was dropped and what was not seen: holes, and the rows of recording gaps.

use kube9_shared::id::EventKey;
use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::json;

use super::Applier;
use crate::pipeline::identity::{Uid, Version};
use crate::pipeline::item::{RelistCause, WatchId};
use crate::pipeline::queue::Drops;
use crate::pipeline::sanitize::sanitize;
use crate::store::gap::{self, Facts, Healed};
use crate::store::rows::{Span, json as json_text};

impl Applier {
    /// Remembers what a full queue dropped: holes for sights, a gap row for rows of kube9's own.
    pub fn open_holes(
        &mut self,
        conn: &Connection,
        drops: &[Drops],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        for drop in drops {
            let Some(watch) = drop.watch else {
                let row = sanitize(gap::lost_rows(drop.items, drop.since, now));
                let span = Span {
                    last: now,
                    ..Span::default()
                };
                self.rows
                    .insert(conn, &row, drop.since.min(now), &span, &row.record().extra)?;
                self.outcomes.gaps_closed.push(Healed::False);
                continue;
            };
            conn.prepare_cached("INSERT INTO hole (watch, since_ms, cause, items, listing, known) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute((
                    watch.0,
                    drop.since.millis(),
                    RelistCause::Hole.as_str(),
                    drop.items as i64,
                    drop.listing,
                    json!(drop.known).to_string(),
                ))?;
            if !self.outcomes.holed.contains(&watch) {
                self.outcomes.holed.push(watch);
            }
        }
        Ok(())
    }

    /// Whether items were dropped after that list had begun.
    pub(super) fn holes_since(
        &mut self,
        conn: &Connection,
        id: WatchId,
        listing: i64,
    ) -> rusqlite::Result<bool> {
        conn.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM hole WHERE watch = ?1 AND listing >= ?2)",
        )?
        .query_row((id.0, listing), |row| row.get(0))
    }

    /// Closes the holes of a watch after a complete list; returns how many dropped items it did not bring back.
    pub(super) fn close_holes(&mut self, conn: &Connection, id: WatchId) -> rusqlite::Result<u64> {
        let holes: Vec<(i64, u64, String)> = conn
            .prepare_cached("SELECT id, items, known FROM hole WHERE watch = ?1")?
            .query_map([id.0], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut missing = 0;
        for (hole, items, known) in holes {
            let known: Vec<(String, String)> = serde_json::from_str(&known).unwrap_or_default();
            let mut back = 0;
            for (uid, version) in &known {
                let stored: Option<Version> = conn
                    .prepare_cached("SELECT version FROM dedup WHERE uid = ?1")?
                    .query_row([Uid::new(uid)], |row| row.get(0))
                    .optional()?;
                back += u64::from(
                    stored.is_some_and(|stored| !Version::new(version).is_after(&stored)),
                );
            }
            missing += items.saturating_sub(back);
            conn.prepare_cached("DELETE FROM hole WHERE id = ?1")?
                .execute([hole])?;
        }
        Ok(missing)
    }

    /// When a gap began: its row says it to the millisecond, its key only to the second.
    pub(super) fn gap_begin(
        &mut self,
        conn: &Connection,
        key: EventKey,
    ) -> rusqlite::Result<Timestamp> {
        let from: Option<String> = conn
            .prepare_cached("SELECT json_extract(extra, '$.from') FROM event WHERE key = ?1")?
            .query_row([key.as_i64()], |row| row.get(0))
            .optional()?
            .flatten();
        Ok(from
            .and_then(|from| Timestamp::parse(&from).ok())
            .unwrap_or_else(|| key.created_at()))
    }

    pub(super) fn close_gap(
        &mut self,
        conn: &Connection,
        id: WatchId,
        key: EventKey,
        facts: &Facts,
        listed: u64,
    ) -> rusqlite::Result<()> {
        let healed = gap::judge(facts);
        let watch = self.watches.get(id);
        let cause = watch.gap_cause.clone().unwrap_or_default();
        let counts = (listed, watch.recovered, watch.repeats);
        let (description, extra) =
            gap::closed(&watch.kind, &watch.namespace, &cause, facts, healed, counts);
        let mut record = gap::opened(&watch.kind, &watch.namespace, &cause, facts.from);
        record.description = description;
        record.extra = extra;
        let row = sanitize(record);
        let (text, args) = self.rows.text(conn, &row)?;
        let last_ms = facts.to.since(key.created_at()).as_millis() as i64;
        let changed = conn.prepare_cached("UPDATE event SET severity = ?2, last_ms = ?3, text = ?4, args = ?5, extra = ?6 WHERE key = ?1",
            )?
            .execute((
                key.as_i64(),
                healed.severity().code(),
                last_ms,
                text,
                args,
                json_text(&row.record().extra),
            ))?;
        if changed > 0 {
            self.rows
                .count(key, 0, EventType::System, Severity::Warning, -1);
            self.rows
                .count(key, 0, EventType::System, healed.severity(), 1);
            self.rows.changed(key);
        }
        self.outcomes.gaps_closed.push(healed);
        Ok(())
    }
}
