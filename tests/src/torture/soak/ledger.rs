//! What was ever recorded: every row as it was last seen, also those that the retention has taken since.
//!
//! Read once a second from the database's own order of commits (`changes`), so that the verdict covers the whole hour
//! although the database keeps a quarter of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::ensure;
use kube9_shared::id::EventKey;
use kube9_shared::schema::FOLD_WINDOW_MS;
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::super::verdict::{Gap, Stored};
use super::super::victim::Keep;

/// The recorder looks at its clock, deletes, commits; and we look a moment later.
const SLACK: Duration = Duration::from_secs(3);

/// A repeat goes into its row for so long after the row began; a row that goes earlier may change unseen just before.
const WINDOW: Duration = Duration::from_millis(FOLD_WINDOW_MS as u64);

/// Severities from this number on are kept for longer: error and critical.
const ERROR: i64 = 2;

/// A row of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uid: String,
    severity: i64,
    count: i64,
    occurrences: i64,
    before: i64,
    last: i64,
    gone: bool,
    /// How many rows were seen before it.
    order: usize,
}

/// Every row that was ever seen.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    seq: i64,
    entries: BTreeMap<i64, Entry>,
    gaps: HashMap<i64, Gap>,
    /// Events of which a row went while it could still change: what was in it last is not known.
    pub(super) cut: HashSet<String>,
    /// Rows of Events there now.
    pub(super) rows: usize,
    /// Rows deleted because they were too old.
    pub(super) expired: usize,
    /// Rows deleted, younger than that, as the oldest of their severity.
    pub(super) shed: usize,
    /// What must not be: rows that went or shrank and should not have.
    pub(super) wrong: Vec<String>,
}

impl Ledger {
    /// Reads what was committed since the last time; rows are kept for `keep`.
    pub(super) fn look(&mut self, conn: &Connection, keep: Keep) -> anyhow::Result<()> {
        // One snapshot, or a row deleted in between would look like one that never was.
        conn.execute_batch("BEGIN")?;
        let read = self.read(conn, keep);
        conn.execute_batch("ROLLBACK")?;
        read
    }

    fn read(&mut self, conn: &Connection, keep: Keep) -> anyhow::Result<()> {
        let (oldest, newest): (Option<i64>, Option<i64>) =
            conn.query_row("SELECT min(seq), max(seq) FROM changes", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let newest = newest.unwrap_or(0);
        let known = self.entries.len();
        ensure!(newest >= self.seq, "commits were taken back");
        ensure!(
            oldest.unwrap_or(0) <= self.seq + 1,
            "changes were trimmed before they were seen"
        );
        let mut changed =
            conn.prepare_cached("SELECT DISTINCT event FROM changes WHERE seq > ?1")?;
        let keys: Vec<i64> = changed
            .query_map([self.seq], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for key in keys {
            self.read_row(conn, key)?;
        }
        self.seq = newest;
        let mut there = conn.prepare_cached("SELECT key FROM event WHERE uid IS NOT NULL")?;
        let there: HashSet<i64> = there
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        self.rows = there.len();
        self.note_the_gone(&there, keep, known);
        Ok(())
    }

    fn read_row(&mut self, conn: &Connection, key: i64) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(
            "SELECT d.metadata, d.title, e.severity, e.count, e.occurrences, (e.key >> 24) * 1000 + e.last_ms, e.extra, \
             e.uid IS NOT NULL FROM event e JOIN event_detail d ON d.key = e.key WHERE e.key = ?1",
        )?;
        let found = statement
            .query_row([key], |row| {
                let metadata: String = row.get(0)?;
                if !row.get::<_, bool>(7)? {
                    return Ok(Err((metadata, row.get::<_, String>(1)?)));
                }
                let parsed: Value = serde_json::from_str(&metadata).unwrap_or_default();
                let extra: Option<String> = row.get(6)?;
                let extra: Value = extra
                    .and_then(|extra| serde_json::from_str(&extra).ok())
                    .unwrap_or_default();
                Ok(Ok(Entry {
                    uid: parsed["uid"].as_str().unwrap_or_default().to_owned(),
                    severity: row.get(2)?,
                    count: row.get(3)?,
                    occurrences: row.get(4)?,
                    before: extra["occurrences_before"].as_i64().unwrap_or(0),
                    last: row.get(5)?,
                    gone: false,
                    order: 0,
                }))
            })
            .optional()?;
        match found {
            Some(Ok(entry)) => self.note(key, entry),
            Some(Err((metadata, title))) if title == "Recording gap" => {
                let parsed: Value = serde_json::from_str(&metadata).unwrap_or_default();
                if parsed["source"] == "Event" {
                    self.gaps.insert(key, Gap::read(&metadata));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Occurrences of a row only grow; what was committed is there after any kill.
    fn note(&mut self, key: i64, mut entry: Entry) {
        entry.order = self
            .entries
            .get(&key)
            .map_or(self.entries.len(), |old| old.order);
        if let Some(old) = self.entries.get(&key)
            && (old.uid != entry.uid || old.occurrences > entry.occurrences || old.gone)
        {
            self.wrong
                .push(format!("{key} was {old:?} and is {entry:?}"));
        }
        self.entries.insert(key, entry);
    }

    /// Rows may go when they are old, or as the oldest of their severity; no other. The first `known` rows were there at the
    /// look before: one that came since may be older than those that went.
    fn note_the_gone(&mut self, there: &HashSet<i64>, keep: Keep, known: usize) {
        let now = Timestamp::now();
        let mut oldest_kept: HashMap<i64, i64> = HashMap::new();
        let mut gone = Vec::new();
        for (key, entry) in self.entries.iter().filter(|(_, entry)| !entry.gone) {
            if there.contains(key) {
                if entry.order < known {
                    oldest_kept.entry(entry.severity).or_insert(*key);
                }
            } else {
                gone.push(*key);
            }
        }
        for key in gone {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            entry.gone = true;
            if EventKey::from_i64(key).created_at().plus(WINDOW) > now {
                self.cut.insert(entry.uid.clone());
            }
            let age = if entry.severity >= ERROR {
                keep.error_critical
            } else {
                keep.info_warning
            };
            let oldest_kept = oldest_kept.get(&entry.severity);
            if entry.last <= now.minus(age).plus(SLACK).millis() {
                self.expired += 1;
            } else if oldest_kept.is_none_or(|kept| key < *kept) {
                self.shed += 1;
            } else {
                self.wrong.push(format!("{key} went too early: {entry:?}"));
            }
        }
    }

    /// What was ever stored of each Event.
    pub(super) fn stored(&self) -> HashMap<String, Stored> {
        let mut events: HashMap<String, Stored> = HashMap::new();
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_unstable_by_key(|entry| entry.order);
        for entry in entries {
            let event = events.entry(entry.uid.clone()).or_default();
            if event.rows == 0 {
                // What a later row says of the time before it was in rows that the retention has taken.
                event.occurrences = entry.before;
            }
            event.rows += 1;
            event.count = event.count.max(entry.count);
            event.occurrences += entry.occurrences;
            event.last = event.last.max(entry.last);
        }
        events
    }

    /// Every gap row of Events that there ever was.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.gaps.values().cloned().collect()
    }
}
