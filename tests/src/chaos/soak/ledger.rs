//! History of every recorded row as it was last seen, including rows that retention has deleted since.
//!
//! Read every two seconds from the database's commit log (`changes`), so that the comparison covers the whole hour
//! although the database keeps a quarter of it. If a row is written and deleted between two polls, its last state is
//! unknown, and its Event is excluded. This is common at the size limit: a list after a fault also delivers the oldest
//! Events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::ensure;
use kube9_model::identity::Uid;
use kube9_model::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use super::super::comparison::{Gap, Stored};
use super::super::process::ShortRetention;

/// Time between the recorder's clock reading and our poll.
const SLACK: Duration = Duration::from_secs(3);

/// Severities from this number on have the longer retention: error and critical.
const ERROR: i64 = 2;

/// A row of an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uid: String,
    /// Empty for objects without a namespace.
    namespace: String,
    severity: i64,
    count: i64,
    occurrences: i64,
    before: i64,
    last: i64,
    /// Number of rows seen before it.
    order: usize,
}

/// Every row that was ever seen.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    seq: i64,
    seen: usize,
    /// Current rows, by key.
    entries: BTreeMap<i64, Entry>,
    /// Deleted rows. Another row of the same second may reuse their key.
    past: Vec<Entry>,
    gaps: HashMap<i64, Gap>,
    /// Events with a row that was deleted after an unseen change: its last state is unknown.
    pub(super) cut: HashSet<String>,
    /// Rows created and deleted between two polls whose Event was deleted too: their Event is unknown.
    pub(super) unseen: usize,
    /// Current rows of Events.
    pub(super) rows: usize,
    /// Rows deleted because they were too old.
    pub(super) expired: usize,
    /// Rows deleted, younger than that, as the oldest of their namespace and severity.
    pub(super) evicted: usize,
    /// Errors: rows that were deleted or shrank against the rules.
    pub(super) wrong: Vec<String>,
}

impl Ledger {
    /// Reads the commits since the last poll.
    pub(super) fn poll(
        &mut self,
        conn: &Connection,
        retention: ShortRetention,
    ) -> anyhow::Result<()> {
        // One snapshot: a row deleted between two reads would look like one that never existed.
        conn.execute_batch("BEGIN")?;
        let read = self.read(conn, retention);
        conn.execute_batch("ROLLBACK")?;
        read
    }

    fn read(&mut self, conn: &Connection, retention: ShortRetention) -> anyhow::Result<()> {
        let (oldest, newest): (Option<i64>, Option<i64>) =
            conn.query_row("SELECT min(seq), max(seq) FROM change_log", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let newest = newest.unwrap_or(0);
        let known = self.seen;
        ensure!(newest >= self.seq, "committed changes disappeared");
        ensure!(
            oldest.unwrap_or(0) <= self.seq + 1,
            "changes were trimmed before they were read"
        );
        let mut changed =
            conn.prepare_cached("SELECT DISTINCT event FROM change_log WHERE seq > ?1")?;
        let keys: Vec<i64> = changed
            .query_map([self.seq], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut vanished = Vec::new();
        for key in keys {
            if !self.read_row(conn, key, retention)? {
                vanished.push(key);
            }
        }
        for key in vanished {
            self.note_vanished(conn, key)?;
        }
        self.seq = newest;
        let mut there = conn.prepare_cached("SELECT key FROM event WHERE uid IS NOT NULL")?;
        let there: HashSet<i64> = there
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        self.rows = there.len();
        self.note_the_gone(&there, retention, known);
        Ok(())
    }

    /// Reads a written row; `false` if it was deleted.
    fn read_row(
        &mut self,
        conn: &Connection,
        key: i64,
        retention: ShortRetention,
    ) -> rusqlite::Result<bool> {
        let mut statement = conn.prepare_cached(
            "SELECT d.metadata, d.title, e.severity, e.count, e.occurrences, (e.key >> 24) * 1000 + e.last_offset_ms, e.extra, \
             e.uid IS NOT NULL, ifnull(d.object_namespace, '') FROM event e JOIN event_detail d ON d.key = e.key WHERE e.key = ?1",
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
                    namespace: row.get(8)?,
                    severity: row.get(2)?,
                    count: row.get(3)?,
                    occurrences: row.get(4)?,
                    before: extra["occurrences_before"].as_i64().unwrap_or(0),
                    last: row.get(5)?,
                    order: 0,
                }))
            })
            .optional()?;
        match found {
            Some(Ok(entry)) => self.note(key, entry, retention),
            Some(Err((metadata, title))) if title == "Recording gap" => {
                if let Some(gap) = Gap::read(&metadata) {
                    self.gaps.insert(key, gap);
                }
            }
            Some(Err(_)) => {}
            None => return Ok(false),
        }
        Ok(true)
    }

    /// A row was written since the last poll and is already deleted.
    fn note_vanished(&mut self, conn: &Connection, key: i64) -> rusqlite::Result<()> {
        if let Some(entry) = self.entries.get(&key) {
            self.cut.insert(entry.uid.clone());
            return Ok(());
        }
        let uid: Option<Uid> = conn
            .prepare_cached("SELECT uid FROM dedup WHERE event = ?1")?
            .query_row([key], |row| match row.get_ref(0)? {
                ValueRef::Blob(bytes) => Ok(bytes
                    .try_into()
                    .map_or(Uid::Text(String::new()), Uid::Bytes)),
                text => Ok(Uid::Text(text.as_str()?.to_owned())),
            })
            .optional()?;
        match uid {
            Some(uid) => _ = self.cut.insert(uid.to_string()),
            None => self.unseen += 1,
        }
        Ok(())
    }

    /// Occurrences of a row only grow, also across kills.
    fn note(&mut self, key: i64, mut entry: Entry, retention: ShortRetention) {
        match self.entries.remove(&key) {
            Some(old) if old.uid == entry.uid => {
                entry.order = old.order;
                if old.occurrences > entry.occurrences {
                    self.wrong
                        .push(format!("{key} was {old:?} and is {entry:?}"));
                }
            }
            old => {
                entry.order = self.seen;
                self.seen += 1;
                if let Some(old) = old {
                    // It was deleted and its key reused between two polls; it may have changed before.
                    self.cut.insert(old.uid.clone());
                    self.row_left(key, old, true, retention);
                }
            }
        }
        self.entries.insert(key, entry);
    }

    /// Only rows past their retention, or the oldest of their namespace and severity, may be deleted. The first `known`
    /// rows existed at the previous poll: a newer row may be older than those that were deleted.
    fn note_the_gone(&mut self, there: &HashSet<i64>, retention: ShortRetention, known: usize) {
        let mut oldest_kept: HashMap<(String, i64), i64> = HashMap::new();
        let mut gone = Vec::new();
        for (key, entry) in &self.entries {
            if !there.contains(key) {
                gone.push(*key);
            } else if entry.order < known {
                let tenant = (entry.namespace.clone(), entry.severity);
                oldest_kept.entry(tenant).or_insert(*key);
            }
        }
        for key in gone {
            if let Some(entry) = self.entries.remove(&key) {
                let tenant = (entry.namespace.clone(), entry.severity);
                let oldest = oldest_kept.get(&tenant);
                let is_oldest = oldest.is_none_or(|kept| key < *kept);
                self.row_left(key, entry, is_oldest, retention);
            }
        }
    }

    fn row_left(&mut self, key: i64, entry: Entry, is_oldest: bool, retention: ShortRetention) {
        let now = Timestamp::now();
        let age = if entry.severity >= ERROR {
            retention.error_critical
        } else {
            retention.info_warning
        };
        if entry.last <= now.minus(age).plus(SLACK).millis() {
            self.expired += 1;
        } else if is_oldest {
            self.evicted += 1;
        } else {
            self.wrong
                .push(format!("{key} was deleted too early: {entry:?}"));
        }
        self.past.push(entry);
    }

    /// What was ever stored of each Event.
    pub(super) fn stored(&self) -> HashMap<String, Stored> {
        let mut events: HashMap<String, Stored> = HashMap::new();
        let mut entries: Vec<&Entry> = self.entries.values().chain(&self.past).collect();
        entries.sort_unstable_by_key(|entry| entry.order);
        for entry in entries {
            let event = events.entry(entry.uid.clone()).or_default();
            if event.rows == 0 {
                // `occurrences_before` of a later row counts rows that retention has deleted.
                event.occurrences = entry.before;
            }
            event.rows += 1;
            event.count = event.count.max(entry.count);
            event.occurrences += entry.occurrences;
            event.last = event.last.max(entry.last);
        }
        events
    }

    /// Every gap row of Events so far.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        self.gaps.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::id::EventKey;

    use super::*;

    const KEEP: ShortRetention = ShortRetention {
        info_warning: Duration::from_secs(900),
        error_critical: Duration::from_secs(1200),
    };

    fn key(seconds_ago: u64) -> i64 {
        let created = Timestamp::now().minus(Duration::from_secs(seconds_ago));
        EventKey::new(created.second(), 0).as_i64()
    }

    fn entry(uid: &str, severity: i64, occurrences: i64, seconds_ago: u64) -> Entry {
        Entry {
            uid: uid.to_owned(),
            namespace: String::new(),
            severity,
            count: occurrences,
            occurrences,
            before: 0,
            last: Timestamp::now()
                .minus(Duration::from_secs(seconds_ago))
                .millis(),
            order: 0,
        }
    }

    /// Rows that are `ago` seconds old, all seen before; those of `there` still exist.
    fn after(rows: &[(u64, i64)], there: &[u64]) -> Ledger {
        let mut ledger = Ledger::default();
        for (ago, severity) in rows {
            let entry = entry(&format!("u{ago}"), *severity, 1, *ago);
            ledger.note(key(*ago) + severity, entry, KEEP);
        }
        let there = rows.iter().filter(|(ago, _)| there.contains(ago));
        let there = there.map(|(ago, severity)| key(*ago) + severity).collect();
        ledger.note_the_gone(&there, KEEP, rows.len());
        ledger
    }

    #[test]
    fn ledger_accepts_deletion_of_expired_and_oldest_rows_only() {
        let rows = [(1000, 0), (1000, 2), (800, 0), (700, 0), (300, 0)];
        let all = after(&rows, &[1000, 800, 700, 300]);
        assert_eq!((all.expired, all.evicted, all.wrong.len()), (0, 0, 0));
        let expired = after(&[(1000, 0), (800, 0)], &[800]);
        assert_eq!((expired.expired, expired.evicted), (1, 0));
        // Errors have a longer retention: this one was deleted because of the size.
        let evicted = after(&[(1000, 2), (800, 2)], &[800]);
        assert_eq!(
            (evicted.expired, evicted.evicted, evicted.wrong.len()),
            (0, 1, 0)
        );
        assert!(evicted.cut.is_empty(), "nothing of it was unseen");
        let wrong = after(&[(800, 0), (700, 0)], &[800]);
        assert_eq!((wrong.evicted, wrong.wrong.len()), (0, 1));
        // An older row of another severity may stay.
        assert!(after(&[(800, 1), (700, 0)], &[800]).wrong.is_empty());
    }

    #[test]
    fn ledger_excludes_event_deleted_after_unseen_change() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE dedup (uid, event)")
            .unwrap();
        let uid = "0a000000-0000-4000-8000-000000000001";
        let Uid::Bytes(bytes) = Uid::new(uid) else {
            panic!("a UUID")
        };
        conn.execute("INSERT INTO dedup VALUES (?1, 8), ('plain', 9)", [bytes])
            .unwrap();
        let mut ledger = Ledger::default();
        ledger.note(7, entry("u", 0, 5, 0), KEEP);
        for key in [7, 8, 9, 10] {
            ledger.note_vanished(&conn, key).unwrap();
        }
        assert_eq!(ledger.cut, ["u", uid, "plain"].map(str::to_owned).into());
        assert_eq!(ledger.unseen, 1, "the Event of the last row is unknown");
    }

    #[test]
    fn ledger_reports_shrinking_row() {
        let mut ledger = Ledger::default();
        ledger.note(7, entry("u", 0, 5, 0), KEEP);
        ledger.note(7, entry("u", 0, 6, 0), KEEP);
        assert!(ledger.wrong.is_empty());
        ledger.note(7, entry("u", 0, 4, 0), KEEP);
        assert_eq!(ledger.wrong.len(), 1);
    }

    #[test]
    fn ledger_counts_earlier_occurrences_once() {
        let mut ledger = Ledger::default();
        let first = Entry {
            before: 2,
            ..entry("u", 0, 3, 60)
        };
        // Retention deleted the first row: the second has five occurrences before it.
        let second = Entry {
            before: 5,
            ..entry("u", 0, 1, 0)
        };
        ledger.note(9, first, KEEP);
        ledger.note(8, second, KEEP);
        let stored = ledger.stored();
        assert_eq!((stored["u"].occurrences, stored["u"].rows), (6, 2));
    }

    #[test]
    fn ledger_accepts_reused_key() {
        let mut ledger = Ledger::default();
        let at = key(1000);
        ledger.note(at, entry("old", 0, 3, 1000), KEEP);
        ledger.note_the_gone(&HashSet::new(), KEEP, 1);
        ledger.note(at, entry("new", 0, 1, 0), KEEP);
        let stored = ledger.stored();
        assert_eq!(
            (stored["old"].occurrences, stored["new"].occurrences),
            (3, 1)
        );
        assert!(ledger.wrong.is_empty() && ledger.expired == 1);
    }
}
