//! Inserts and updates rows of `event`, with their counters and the change log.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kube9_db::schema::bucket;
use kube9_ingest::sanitize::Sanitized;
use kube9_model::commit_stats::CommitDelta;
use kube9_model::id::EventKey;
use kube9_model::identity::Uid;
use kube9_model::time::Timestamp;
use kube9_model::{CHANGE_CODE, EventType, ObjectRef, Severity};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};

use super::evictions;
use super::identity::Sql;
use super::intern::Interned;
use super::key_allocator::KeyAllocator;
use super::statements::{Counting as _, HotStatement, InsertRows};

/// Entries kept in `change_log` for `events watch`: a follower that polls twice a second may fall ten seconds behind a
/// burst of 2,000 rows a second.
const CHANGES_KEPT: i64 = 20_000;

static ADD_CHANGES: InsertRows<2> = InsertRows::new("INSERT INTO change_log (seq, event)", "");
static ADD_COUNTS: InsertRows<6> = InsertRows::new(
    "INSERT INTO row_counts (bucket_seconds, bucket_start, scope, type, severity, rows)",
    " ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
);

/// Writes rows within the caller's transaction.
#[derive(Debug, Default)]
pub struct Rows {
    pub(super) interned: Interned,
    keys: KeyAllocator,
    tally: HashMap<CountKey, i64, RandomState>,
    /// New and changed rows, in order.
    changed: Vec<EventKey>,
    trimmed_to: i64,
    /// Rows inserted since the last [`Rows::take_inserted`], by type and severity.
    inserted: Inserted,
    /// For the rules, since the last [`Rows::take_commit_delta`].
    pub(super) commit_delta: CommitDelta,
}

/// Key of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct CountKey {
    /// Start of the bucket. Seconds since 1970.
    start: i64,
    scope: i64,
    type_code: i64,
    severity: i64,
}

/// Prepared statements for rows of Events, within a transaction of the caller.
pub(super) struct EventTable<'c> {
    pub(super) conn: &'c Connection,
    insert: HotStatement<'c>,
    fold: HotStatement<'c>,
}

const INSERT: &str = "INSERT INTO event (key, type, severity, class, object, node, template, args, uid, count, occurrences, \
     first_offset_ms, last_offset_ms, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const FOLD: &str = "UPDATE event SET count = ?2, occurrences = occurrences + ?3, last_offset_ms = ?4, template = ?5, args = ?6, \
     extra = ?7 WHERE key = ?1";

impl<'c> EventTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self {
            conn,
            insert: HotStatement::of(conn, INSERT),
            fold: HotStatement::of(conn, FOLD),
        }
    }
}

/// The times of a row, and the columns that only Events have.
#[derive(Debug, Clone, Default)]
pub struct EventTimes<'a> {
    /// uid of the Event.
    pub uid: Option<&'a Uid>,
    /// The Event's own count.
    pub count: Option<i64>,
    /// Occurrences that the row counts.
    pub occurrences: Option<i64>,
    /// First occurrence, if it is not `created_at`.
    pub first: Option<Timestamp>,
    /// Last occurrence.
    pub last: Timestamp,
}

/// The columns that a repeat of an Event changes.
pub(super) struct FoldUpdate<'a> {
    /// The Event's count.
    pub(super) count: i64,
    /// Occurrences to add.
    pub(super) add: i64,
    /// The new last occurrence.
    pub(super) last: Timestamp,
    pub(super) text: i64,
    pub(super) args: Option<&'a str>,
    pub(super) extra: Option<String>,
}

/// The values of an imported row that are stored unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its id.
    pub id: String,
    /// Its created_at.
    pub created_at: String,
    /// Its metadata: a JSON object, if it had one.
    pub metadata: Option<String>,
}

/// Result of the import of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    Stored,
    /// A row with its id exists.
    Known,
    /// The size limit has deleted equally new rows of its namespace and severity.
    Evicted,
    /// All keys of its second are used.
    NoKey,
}

/// Keys between two milliseconds of imported rows. An eighth of a second's keys lies above them all, for other rows.
const KEYS_PER_MS: u32 = EventKey::LOW_MAX / 8 * 7 / 1000;

/// Keys that are tried one by one; a millisecond rarely has more rows.
const KEYS_TRIED: i64 = 64;

impl Rows {
    /// Discards what a rollback may have undone.
    pub fn clear(&mut self) {
        self.interned.forget();
        self.keys.clear();
        self.tally.clear();
        self.changed.clear();
        self.trimmed_to = 0;
        self.inserted = Inserted::default();
        self.commit_delta = CommitDelta::default();
    }

    /// Id of the row's event class.
    pub fn reason(&mut self, conn: &Connection, row: &Sanitized) -> rusqlite::Result<i64> {
        self.interned.reason(conn, row)
    }

    /// Inserts a row created at `created`.
    pub fn insert(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
        created: Timestamp,
        span: &EventTimes<'_>,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<EventKey> {
        let key = self.key(conn, created)?;
        self.insert_as(&mut EventTable::of(conn), row, key, span, extra)?;
        Ok(key)
    }

    /// Inserts an internal row about the interval from `created` to `last`.
    pub fn insert_internal(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
        created: Timestamp,
        last: Timestamp,
    ) -> rusqlite::Result<EventKey> {
        let span = EventTimes {
            last,
            ..EventTimes::default()
        };
        self.insert(conn, row, created, &span, &row.record().extra)
    }

    /// A key for a row created at `created`.
    pub fn key(&mut self, conn: &Connection, created: Timestamp) -> rusqlite::Result<EventKey> {
        self.keys.next(conn, created.second())
    }

    /// Inserts a row under a key of [`Rows::key`].
    pub(super) fn insert_as(
        &mut self,
        events: &mut EventTable<'_>,
        row: &Sanitized,
        key: EventKey,
        span: &EventTimes<'_>,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<()> {
        let type_code = row.record().type_code(extra);
        let extra = json(extra);
        self.insert_row(events, row, key, type_code, span, extra.as_deref())?;
        if type_code != CHANGE_CODE {
            self.commit_delta
                .count_warning(row.record(), key.created_at());
        }
        self.log_change(key);
        Ok(())
    }

    /// Whether a row with this id was imported.
    pub fn has_imported(&self, conn: &Connection, id: &str) -> rusqlite::Result<bool> {
        conn.counted("SELECT EXISTS (SELECT 1 FROM event WHERE imported_id = ?1)")?
            .query_row([id], |row| row.get(0))
    }

    /// Inserts a row of the original operator, created at `created`. It is not added to the change log: there may be a
    /// million of them.
    pub fn insert_imported(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
        created: Timestamp,
        last: Timestamp,
        imported: &Imported,
    ) -> rusqlite::Result<ImportOutcome> {
        if has_id(conn, &imported.id)? {
            return Ok(ImportOutcome::Known);
        }
        if evictions::reaches(conn, row.record(), created)? {
            return Ok(ImportOutcome::Evicted);
        }
        let Some(key) = imported_key(conn, created)? else {
            return Ok(ImportOutcome::NoKey);
        };
        let span = EventTimes {
            last,
            ..EventTimes::default()
        };
        let metadata = imported.metadata.as_deref();
        let type_code = row.record().event_type.code();
        self.insert_row(
            &mut EventTable::of(conn),
            row,
            key,
            type_code,
            &span,
            metadata,
        )?;
        conn.counted("UPDATE event SET imported_id = ?2, imported_at = ?3 WHERE key = ?1")?
            .execute((key.as_i64(), &imported.id, &imported.created_at))?;
        // The cached keys do not include the one it took.
        self.keys.clear();
        Ok(ImportOutcome::Stored)
    }

    fn insert_row(
        &mut self,
        events: &mut EventTable<'_>,
        row: &Sanitized,
        key: EventKey,
        type_code: i64,
        span: &EventTimes<'_>,
        extra: Option<&str>,
    ) -> rusqlite::Result<()> {
        let conn = events.conn;
        let record = row.record();
        let reason = self.reason(conn, row)?;
        let object = self.interned.object(conn, row)?;
        let node = match &record.node {
            Some(node) => Some(self.interned.node(conn, node)?),
            None => None,
        };
        let (text, args) = self.text(conn, row)?;
        let created = key.created_at();
        // NULL if it would be 0, which is the common case and takes no space.
        let first_ms = span
            .first
            .map(|first| first.millis() - created.millis())
            .filter(|ms| *ms != 0);
        let last_ms = span.last.since(created).as_millis() as i64;
        events.insert.get()?.execute(rusqlite::params![
            key.as_i64(),
            type_code,
            record.severity.code(),
            reason,
            object.map(|ids| ids.object),
            node,
            text,
            args,
            span.uid.map(Sql),
            span.count,
            span.occurrences,
            first_ms,
            last_ms,
            extra,
        ])?;
        self.count(
            key,
            object.map_or(0, |ids| ids.scope),
            type_code,
            record.severity,
            1,
        );
        self.inserted.0[record.event_type as usize][record.severity as usize] += 1;
        Ok(())
    }

    /// Id of the message template, and the arguments, of the row's description.
    pub fn text<'r>(
        &mut self,
        conn: &Connection,
        row: &'r Sanitized,
    ) -> rusqlite::Result<(i64, Option<&'r str>)> {
        let text = row.text();
        let id = self.interned.text(conn, &text.body)?;
        Ok((id, text.args.as_deref()))
    }

    /// Whether the event class `stored` has the row's title.
    pub(super) fn has_title(
        &mut self,
        conn: &Connection,
        stored: i64,
        row: &Sanitized,
    ) -> rusqlite::Result<bool> {
        if self.reason(conn, row)? == stored {
            return Ok(true);
        }
        let title: Option<String> = conn
            .counted("SELECT title FROM event_class WHERE id = ?1")?
            .query_row([stored], |row| row.get(0))
            .optional()?;
        Ok(title.as_deref() == Some(row.record().title.as_str()))
    }

    /// Description of a stored row.
    pub(super) fn description(&self, conn: &Connection, key: EventKey) -> rusqlite::Result<String> {
        conn.counted("SELECT description FROM event_detail WHERE key = ?1")?
            .query_row([key.as_i64()], |row| row.get(0))
    }

    /// Further metadata of a stored row; `None` if the row does not exist.
    pub(super) fn extra(
        &self,
        conn: &Connection,
        key: EventKey,
    ) -> rusqlite::Result<Option<Map<String, Value>>> {
        let extra: Option<Option<String>> = conn
            .counted("SELECT extra FROM event WHERE key = ?1")?
            .query_row([key.as_i64()], |row| row.get(0))
            .optional()?;
        Ok(extra.map(|extra| {
            extra
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default()
        }))
    }

    /// Folds a repeat of an Event into its row.
    pub(super) fn update_folded(
        &mut self,
        events: &mut EventTable<'_>,
        key: EventKey,
        repeat: &FoldUpdate<'_>,
    ) -> rusqlite::Result<()> {
        events.fold.get()?.execute((
            key.as_i64(),
            repeat.count,
            repeat.add,
            offset_ms(key, repeat.last),
            repeat.text,
            repeat.args,
            &repeat.extra,
        ))?;
        self.log_change(key);
        Ok(())
    }

    /// Replaces reason and title of a stored row.
    pub(super) fn retitle(
        &mut self,
        conn: &Connection,
        key: EventKey,
        row: &Sanitized,
    ) -> rusqlite::Result<()> {
        let class = self.reason(conn, row)?;
        conn.counted("UPDATE event SET class = ?2 WHERE key = ?1 AND class <> ?2")?
            .execute((key.as_i64(), class))?;
        Ok(())
    }

    /// Replaces description and metadata of a stored row, which lasted at least until `last`.
    pub(super) fn rewrite(
        &mut self,
        conn: &Connection,
        key: EventKey,
        row: &Sanitized,
        last: Timestamp,
    ) -> rusqlite::Result<()> {
        let (text, args) = self.text(conn, row)?;
        conn.counted(
            "UPDATE event SET last_offset_ms = max(last_offset_ms, ?2), template = ?3, args = ?4, extra = ?5 WHERE key = ?1",
        )?
        .execute((
            key.as_i64(),
            offset_ms(key, last),
            text,
            args,
            json(&row.record().extra),
        ))?;
        self.log_change(key);
        Ok(())
    }

    /// Notes why an object was deleted, or that it is unknown, in the row of its deletion unless that is of other deletions
    /// too.
    pub(super) fn note_cause(
        &mut self,
        conn: &Connection,
        key: EventKey,
        cause: Option<(&str, &str)>,
    ) -> rusqlite::Result<()> {
        let (kind, certainty) = cause.unzip();
        conn.counted(
            "UPDATE event SET extra = iif(?2 IS NULL, json_remove(extra, '$.cause'), \
             json_set(extra, '$.cause', json_object('kind', ?2, 'certainty', ?3))) WHERE key = ?1 \
             AND extra ->> '$.changes' IS NULL",
        )?
        .execute((key.as_i64(), kind, certainty))?;
        self.log_change(key);
        Ok(())
    }

    /// Replaces severity, description and metadata of a gap row, which ends at `to`.
    pub(super) fn rewrite_gap(
        &mut self,
        conn: &Connection,
        key: EventKey,
        row: &Sanitized,
        to: Timestamp,
    ) -> rusqlite::Result<()> {
        let (text, args) = self.text(conn, row)?;
        let severity = row.record().severity;
        let before: Option<i64> = conn
            .counted("SELECT severity FROM event WHERE key = ?1")?
            .query_row([key.as_i64()], |row| row.get(0))
            .optional()?;
        let changed = conn
            .counted(
                "UPDATE event SET severity = ?2, last_offset_ms = ?3, template = ?4, args = ?5, extra = ?6 WHERE key = ?1",
            )?
            .execute((
                key.as_i64(),
                severity.code(),
                offset_ms(key, to),
                text,
                args,
                json(&row.record().extra),
            ))?;
        if changed > 0 {
            let before = before.and_then(Severity::from_code);
            let system = EventType::System.code();
            self.count(key, 0, system, before.unwrap_or(severity), -1);
            self.count(key, 0, system, severity, 1);
            self.log_change(key);
        }
        Ok(())
    }

    /// The metadata of the newest rows about changes of an object, the newest first.
    pub(super) fn changes_of(
        &self,
        conn: &Connection,
        object: &ObjectRef,
        api_group: &str,
    ) -> rusqlite::Result<Vec<Map<String, Value>>> {
        /// More than an object has in an hour.
        const AT_MOST: i64 = 64;
        let mut found = conn.counted(
            "SELECT e.extra FROM scope s JOIN object o ON o.scope = s.id JOIN event e ON e.object = o.id \
             WHERE s.kind = ?1 AND s.namespace = ?2 AND s.api_group = ?3 AND o.name = ?4 AND e.type = ?5 \
             ORDER BY e.key DESC LIMIT ?6",
        )?;
        let ObjectRef {
            kind,
            namespace,
            name,
        } = object;
        let key = (kind, namespace, api_group, name, CHANGE_CODE, AT_MOST);
        let rows = found.query_map(key, |row| {
            let text: Option<String> = row.get(0)?;
            let metadata = text.and_then(|text| serde_json::from_str(&text).ok());
            Ok(metadata.unwrap_or_default())
        })?;
        rows.collect()
    }

    /// Extends a row to `last` and replaces its metadata.
    pub(super) fn extend(
        &mut self,
        conn: &Connection,
        key: EventKey,
        last: Timestamp,
        extra: &Map<String, Value>,
    ) -> rusqlite::Result<()> {
        conn.counted(
            "UPDATE event SET last_offset_ms = max(last_offset_ms, ?2), extra = ?3 WHERE key = ?1",
        )?
        .execute((key.as_i64(), offset_ms(key, last), json(extra)))?;
        self.log_change(key);
        Ok(())
    }

    /// Adds a new or changed row to the change log, which followers read.
    pub fn log_change(&mut self, key: EventKey) {
        self.changed.push(key);
    }

    /// Adds `rows` to the counters of the row; `type_code` is the integer of its type.
    pub fn count(
        &mut self,
        key: EventKey,
        scope: i64,
        type_code: i64,
        severity: Severity,
        rows: i64,
    ) {
        let second = key.second();
        let hour = CountKey {
            start: second - second.rem_euclid(bucket::HOUR),
            scope,
            type_code,
            severity: severity.code(),
        };
        *self.tally.entry(hour).or_default() += rows;
    }

    /// Writes the counters and the change log; call it last before the commit.
    pub fn finish(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.write_tally(conn)?;
        self.write_changes(conn)
    }

    fn write_tally(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.tally.is_empty() {
            return Ok(());
        }
        // In the order of the table, so that neighbours share a page.
        let sums: Vec<[i64; 6]> = [bucket::ALL, bucket::DAY, bucket::HOUR]
            .into_iter()
            .flat_map(|span| {
                let row = move |(place, rows): (CountKey, i64)| {
                    let CountKey {
                        start,
                        scope,
                        type_code,
                        severity,
                    } = place;
                    [span, start, scope, type_code, severity, rows]
                };
                self.sums(span).into_iter().map(row)
            })
            .collect();
        ADD_COUNTS.execute(conn, &sums)?;
        for [span, start, scope, type_code, severity, _] in sums.iter().filter(|sum| sum[5] < 0) {
            conn.counted(
                "DELETE FROM row_counts WHERE bucket_seconds = ?1 AND bucket_start = ?2 AND scope = ?3 AND type = ?4 \
                 AND severity = ?5 AND rows <= 0",
            )?
            .execute((span, start, scope, type_code, severity))?;
        }
        self.tally.clear();
        Ok(())
    }

    /// The growth of the counters of one bucket length, in their order.
    fn sums(&self, span: i64) -> Vec<(CountKey, i64)> {
        let mut sums: HashMap<CountKey, i64, RandomState> = HashMap::default();
        for (hour, rows) in &self.tally {
            let start = match span {
                bucket::ALL => 0,
                span => hour.start - hour.start.rem_euclid(span),
            };
            *sums.entry(CountKey { start, ..*hour }).or_default() += rows;
        }
        let mut sums: Vec<(CountKey, i64)> =
            sums.into_iter().filter(|(_, rows)| *rows != 0).collect();
        sums.sort_unstable_by_key(|(place, _)| *place);
        sums
    }

    fn write_changes(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut seq: i64 = conn
            .counted("SELECT ifnull(max(seq), 0) FROM change_log")?
            .query_row([], |row| row.get(0))?;
        let numbered: Vec<[i64; 2]> = self
            .changed
            .drain(..)
            .map(|key| {
                seq += 1;
                [seq, key.as_i64()]
            })
            .collect();
        ADD_CHANGES.execute(conn, &numbered)?;
        if seq >= self.trimmed_to + CHANGES_KEPT + CHANGES_KEPT / 8 {
            self.trimmed_to = seq - CHANGES_KEPT;
            conn.counted("DELETE FROM change_log WHERE seq <= ?1")?
                .execute([self.trimmed_to])?;
        }
        Ok(())
    }

    /// Counts for the rules since the last call; call it after the commit.
    pub fn take_commit_delta(&mut self) -> CommitDelta {
        std::mem::take(&mut self.commit_delta)
    }

    /// Rows inserted since the last call, by type and severity; call it after the commit.
    pub fn take_inserted(&mut self) -> impl Iterator<Item = ((EventType, Severity), u64)> + use<> {
        let Inserted(all) = std::mem::take(&mut self.inserted);
        EventType::ALL.iter().flat_map(move |event_type| {
            Severity::ALL
                .iter()
                .map(move |severity| (*event_type, *severity))
                .map(move |place| (place, all[place.0 as usize][place.1 as usize]))
                .filter(|(_, rows)| *rows > 0)
        })
    }
}

fn has_id(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    let key = id.parse::<EventKey>().ok().map(EventKey::as_i64);
    conn.counted(
        "SELECT EXISTS (SELECT 1 FROM event WHERE imported_id = ?1) \
         OR EXISTS (SELECT 1 FROM event WHERE key = ?2 AND imported_id IS NULL)",
    )?
    .query_row((id, key), |row| row.get(0))
}

/// A free key whose position in its second follows the millisecond, so that rows of one second keep their order.
fn imported_key(conn: &Connection, created: Timestamp) -> rusqlite::Result<Option<EventKey>> {
    let second = created.second();
    let millis = created.millis().rem_euclid(1000) as u32;
    let first = EventKey::new(second, millis * KEYS_PER_MS).as_i64();
    let end = EventKey::new(second, EventKey::LOW_MAX).as_i64();
    let mut free = first;
    let mut taken =
        conn.counted("SELECT key FROM event WHERE key >= ?1 AND key <= ?2 ORDER BY key LIMIT ?3")?;
    let mut taken = taken.query((first, end, KEYS_TRIED))?;
    while let Some(row) = taken.next()? {
        if row.get::<_, i64>(0)? != free {
            return Ok(Some(EventKey::from_i64(free)));
        }
        free += 1;
    }
    if free - first < KEYS_TRIED {
        return Ok((free <= end).then_some(EventKey::from_i64(free)));
    }
    // Many rows in one millisecond: after all rows of the second.
    let last: i64 = conn
        .counted("SELECT max(key) FROM event WHERE key <= ?1")?
        .query_row([end], |row| row.get(0))?;
    Ok((last < end).then_some(EventKey::from_i64(last + 1)))
}

/// Numbers of rows by type and severity.
#[derive(Debug, Default)]
struct Inserted([[u64; Severity::ALL.len()]; EventType::ALL.len()]);

/// `event.last_offset_ms` of a row whose last occurrence is `last`.
fn offset_ms(key: EventKey, last: Timestamp) -> i64 {
    last.since(key.created_at()).as_millis() as i64
}

/// An object as JSON text; `None` if it is empty, which takes no space in the row.
pub fn json(extra: &Map<String, Value>) -> Option<String> {
    (!extra.is_empty())
        .then(|| serde_json::to_string(extra).expect("a map of JSON values always serializes"))
}
