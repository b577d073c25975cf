//! A source's lists: begun, gone back in time, done.

use kube9_shared::model::{EventType, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, json};

use super::Applier;
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Mark, RelistCause, WatchId};
use crate::pipeline::record::Record;
use crate::pipeline::sanitize::sanitize;
use crate::store::gap::{self, Facts};
use crate::store::rows::Span;

impl Applier {
    pub(super) fn list_begun(
        &mut self,
        conn: &Connection,
        id: WatchId,
        listing: i64,
        cause: RelistCause,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let since: Option<i64> = conn
            .prepare_cached("SELECT min(since_ms) FROM hole WHERE watch = ?1")?
            .query_row([id.0], |row| row.get(0))?;
        let watch = self.watches.get(id);
        watch.touch();
        let again = watch.relisting;
        watch.relisting = true;
        watch.listing = listing;
        watch.recovered = 0;
        watch.repeats = 0;
        if cause == RelistCause::FirstStart && !again {
            // The record begins here. Only if this list fails was there a time of which nothing is known.
            watch.proven.get_or_insert(at);
            return Ok(());
        }
        if watch.gap.is_some() {
            return Ok(());
        }
        let proven = watch.proven.unwrap_or(at);
        let from = since
            .map_or(proven, |since| Timestamp::from_millis(since).min(proven))
            .min(at);
        let row = sanitize(gap::opened(
            &watch.kind,
            &watch.namespace,
            cause.as_str(),
            from,
        ));
        let span = Span {
            last: at,
            ..Span::default()
        };
        let key = self
            .rows
            .insert(conn, &row, from, &span, &row.record().extra)?;
        let watch = self.watches.get(id);
        watch.gap = Some(key);
        watch.gap_cause = Some(cause.as_str().to_owned());
        Ok(())
    }

    /// The API server's history is another one (etcd restored): positions are void, uids stay known.
    pub(super) fn regressed(
        &mut self,
        conn: &Connection,
        id: WatchId,
        version: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let watch = self.watches.get(id);
        let old = watch.position.take().map(|old| old.to_string());
        watch.touch();
        // Version 0: any sight counts as later than the stored one; counts decide whether it says anything new.
        conn.prepare_cached("UPDATE dedup SET version = 0 WHERE watch = ?1")?
            .execute([id.0])?;
        let row = sanitize(regressed_record(
            old.as_deref().unwrap_or_default(),
            version,
            at,
        ));
        let span = Span {
            last: at,
            ..Span::default()
        };
        self.rows
            .insert(conn, &row, at, &span, &row.record().extra)?;
        Ok(())
    }

    pub(super) fn list_done(
        &mut self,
        conn: &Connection,
        id: WatchId,
        mark: &Mark,
    ) -> rusqlite::Result<()> {
        let Mark::ListDone {
            listing,
            at,
            version,
            server_time,
            listed,
            oldest_change,
            event_ttl,
        } = mark
        else {
            return Ok(());
        };
        let watch = self.watches.get(id);
        if !watch.relisting || watch.listing != *listing {
            return Ok(()); // its first pages went into a database that was replaced since
        }
        if self.holes_since(conn, id, *listing)? {
            // Items of this very list were dropped, so it shows neither what is there nor what is gone. The open hole
            // makes the source list again; the gap stays open until then.
            return Ok(());
        }
        let (proven, listing) = (self.watches.get(id).proven, *listing);
        let young = server_time.minus(*event_ttl);
        let missing: i64 = conn
            .prepare_cached(
                "SELECT count(*) FROM dedup d JOIN event e ON e.key = d.event \
                 WHERE d.watch = ?1 AND d.listing <> ?2 AND (e.key >> 24) * 1000 + e.last_ms > ?3",
            )?
            .query_row((id.0, listing, young.millis()), |row| row.get(0))?;
        let dropped = self.close_holes(conn, id)?;
        conn.prepare_cached("DELETE FROM dedup WHERE watch = ?1 AND listing <> ?2")?
            .execute((id.0, listing))?;
        if let Some(key) = self.watches.get(id).gap {
            let from = self.gap_begin(conn, key)?;
            let ahead = server_time.millis() - at.millis();
            let facts = Facts {
                from,
                to: (*server_time).max(from),
                length: proven
                    .filter(|proven| proven <= at)
                    .map(|_| (*server_time).max(*at).since(from)),
                oldest_change: oldest_change
                    .map(|change| Timestamp::from_millis(change.millis() - ahead)),
                event_ttl: *event_ttl,
                missing: missing as u64,
                dropped,
            };
            self.close_gap(conn, id, key, &facts, *listed)?;
        }
        let watch = self.watches.get(id);
        watch.relisting = false;
        watch.gap = None;
        watch.gap_cause = None;
        watch.position = Some(Version::new(version));
        // The earlier of two clocks: one that has jumped ahead must not claim a proof from the future.
        watch.proven = Some((*at).min(*server_time));
        watch.touch();
        Ok(())
    }
}

fn regressed_record(old: &str, new: &str, at: Timestamp) -> Record {
    Record {
        event_type: EventType::System,
        severity: Severity::Critical,
        title: "API server history went back".to_owned(),
        description: format!(
            "The API server's resourceVersion is {new}, below the recorded position {old}: etcd was restored from a \
             backup, or this volume belongs to another cluster. The position was discarded and everything is listed again."
        ),
        reason: "HistoryRegressed".to_owned(),
        extra: Map::from_iter([
            ("position".to_owned(), json!(old)),
            ("resource_version".to_owned(), json!(new)),
        ]),
        ..Record::own(at)
    }
}
