//! Changes of watched objects: their rows and the facts that the next change is compared with, in one transaction.
//! Closes the recording gaps of informers too.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use tracing::warn;

use super::apply::Applier;
use super::gap;
use super::rows::{Span, json};
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Change, WatchId};
use crate::pipeline::record::Occurred;
use crate::pipeline::sanitize::sanitize;
use crate::pipeline::signals::{Remembered, off_name};

/// A gap that is no longer than a restart or an upgrade takes is not worth a warning: the net changes are recorded, and
/// the Events of the same time, which resume exactly, say what came between.
const SHORT_GAP: Duration = Duration::from_secs(300);

/// Longest facts of an object: what is kept of one (`OBJECT_BYTES_MAX`) as JSON, each key with its number. A version
/// before that bound has stored more.
const OBJECT_BYTES_MAX: i64 = 64 << 10;

/// Most bytes of facts that are read for one watch: those of 50,000 pods are 10 MB.
const WATCH_BYTES_MAX: usize = 16 << 20;

/// Deletes facts that are not read: nothing else would once their object is gone. Their namespaces are marked as left out
/// instead, so that what the lists show of them is not taken for new.
fn forget(
    conn: &Connection,
    watch: WatchId,
    names: &[String],
    namespaces: &BTreeSet<String>,
) -> rusqlite::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    for name in names {
        conn.execute(
            "DELETE FROM facts WHERE watch = ?1 AND name = ?2",
            (watch.0, name),
        )?;
    }
    for namespace in namespaces {
        conn.execute(
            "INSERT OR IGNORE INTO facts (watch, name, facts) VALUES (?1, ?2, '{}')",
            (watch.0, off_name(namespace)),
        )?;
    }
    transaction.commit()
}

impl Applier {
    /// What is stored of a watch's objects.
    pub fn remembered(&mut self, conn: &Connection, id: WatchId) -> rusqlite::Result<Remembered> {
        let mut remembered = Remembered {
            proven: self.watches.get(id).proven,
            ..Remembered::default()
        };
        let mut room = WATCH_BYTES_MAX;
        let mut too_much = Vec::new();
        // SQLite knows the length without reading the text.
        let mut found = conn.prepare(
            "SELECT name, CASE WHEN octet_length(facts) <= ?2 THEN facts END FROM facts WHERE watch = ?1",
        )?;
        let mut found = found.query((id.0, OBJECT_BYTES_MAX))?;
        while let Some(row) = found.next()? {
            let (name, facts): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            let bytes = name.len() + facts.as_ref().map_or(0, String::len);
            let namespace = name.split_once('/').map_or("", |(namespace, _)| namespace);
            match facts {
                Some(facts) if !name.ends_with('/') && bytes <= room => {
                    room -= bytes;
                    remembered.facts.push((name, facts));
                }
                facts => {
                    remembered.left_out.insert(namespace.to_owned());
                    if facts.is_none() || !name.ends_with('/') {
                        too_much.push(name);
                    }
                }
            }
        }
        drop(found);
        // Until the lists say what there is, a full disk may have its way.
        if let Err(error) = forget(conn, id, &too_much, &remembered.left_out) {
            warn!(%error, "cannot delete stored facts that are too large; the next start tries again");
        }
        Ok(remembered)
    }

    pub(super) fn change(&mut self, conn: &Connection, change: &Change) -> rusqlite::Result<()> {
        for row in &change.rows {
            let Occurred::At(at) = row.record().occurred else {
                continue; // a change is a fact of kube9's own
            };
            let span = Span {
                last: at,
                ..Span::default()
            };
            self.rows
                .insert(conn, row, at, &span, &row.record().extra)?;
        }
        let (watch, name) = (change.watch.0, change.name.as_str());
        match &change.facts {
            Some(facts) => conn
                .prepare_cached(
                    "INSERT INTO facts (watch, name, facts) VALUES (?1, ?2, ?3) \
                     ON CONFLICT DO UPDATE SET facts = excluded.facts",
                )?
                .execute((watch, name, facts.as_str()))?,
            None => conn
                .prepare_cached("DELETE FROM facts WHERE watch = ?1 AND name = ?2")?
                .execute((watch, name))?,
        };
        // With the facts: from an older position the change would be seen, and told, again.
        if let Some(version) = &change.version {
            self.watches
                .get(change.watch)
                .advance(&Version::new(version), None);
        }
        Ok(())
    }

    /// An informer's list is complete: its gap, if one is open, ends.
    pub(super) fn synced(
        &mut self,
        conn: &Connection,
        id: WatchId,
        version: &str,
        to: Timestamp,
        (listed, vanished): (u64, u64),
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        watch.relisting = false;
        watch.position = Some(Version::new(version));
        watch.proven = Some(to);
        watch.touch();
        let Some(key) = watch.gap.take() else {
            return Ok(());
        };
        let cause = watch.gap_cause.take().unwrap_or_default();
        let from = key.created_at();
        let mut record = gap::opened(&watch.kind, &watch.namespace, &cause, from);
        (record.description, record.extra) = gap::objects_closed(
            &watch.kind,
            &watch.namespace,
            &cause,
            (from, to),
            (listed, vanished),
        );
        let healed = gap::judge_objects(vanished);
        let severity = if to.since(from) <= SHORT_GAP {
            Severity::Info
        } else {
            Severity::Warning
        };
        let row = sanitize(record);
        let (text, args) = self.rows.text(conn, &row)?;
        let changed = conn.prepare_cached("UPDATE event SET severity = ?2, last_ms = ?3, text = ?4, args = ?5, extra = ?6 WHERE key = ?1",
            )?
            .execute((
                key.as_i64(),
                severity.code(),
                to.since(from).as_millis() as i64,
                text,
                args,
                json(&row.record().extra),
            ))?;
        if changed > 0 {
            self.rows
                .count(key, 0, EventType::System, Severity::Warning, -1);
            self.rows.count(key, 0, EventType::System, severity, 1);
            self.rows.changed(key);
        }
        self.outcomes.gaps_closed.push(healed);
        Ok(())
    }
}
