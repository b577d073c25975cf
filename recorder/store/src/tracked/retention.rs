//! Deletes old revisions, and the oldest ones of a namespace that has too many bytes of them.
//!
//! ```text
//!   note which objects are not watched any more
//!     ─▶ sum the bytes of each namespace
//!     ─▶ each object: by age, then the share that its namespace is over its budget
//! ```
//!
//! Where that is not enough, because names were created and deleted by the thousand, deleted objects are forgotten.
//!
//! Invariant: the newest revision of an object that exists is never deleted. Only the oldest are, because a patch needs the
//! next newer one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;
use rusqlite::Connection;

use super::objects::TrackedObjectTable;
use crate::metrics::Metrics;
use crate::retention_run::Progress;
use crate::share::TENANTS_MAX;
use crate::statements::Counting as _;

/// Bytes of bodies that a namespace may have.
const NAMESPACE_BYTES_MAX: u64 = 32 << 20;

/// The same, in percent of the size limit.
const NAMESPACE_PERCENT: u64 = 20;

/// The same while the database is above its size limit.
const PRESSED_PERCENT: u64 = 5;

/// How long a Job of a CronJob and a pod of a Job are kept after a controller deleted them: their bodies repeat that of the
/// owner, and there may be thousands a day.
const CHILDREN_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Objects between two checks of the deadline.
const CHUNK: i64 = 64;

/// Bytes of a revision without its body.
const REVISION_BYTES: u64 = 40;

/// Bytes of an object without its revisions.
const OBJECT_BYTES: u64 = 160;

/// Two passes over all objects.
#[derive(Debug)]
pub(crate) struct TrimRevisions {
    /// The last object that was read.
    after: i64,
    /// Revisions that were replaced before are deleted.
    before: Timestamp,
    /// The same of children that were deleted.
    children_before: Timestamp,
    /// Bytes of a namespace.
    budget: u64,
    sizes: HashMap<Box<str>, Held>,
    is_summed: bool,
    /// Revisions deleted so far.
    pub(crate) deleted: u64,
    /// Revisions that were there before.
    revisions: u64,
    /// Their bytes.
    bytes: u64,
    /// Bytes that a namespace may have while the database is within its limit.
    full_budget: u64,
    unwatched: Vec<UnwatchedKind>,
}

/// What the status says of the tracked objects.
#[derive(Debug, Default)]
pub(crate) struct TrackingReport {
    /// Namespaces that had more bytes than their budget; empty text: cluster-scoped objects.
    pub(crate) over_budget: Vec<String>,
    pub(crate) unwatched: Vec<UnwatchedKind>,
}

/// A kind with objects that are not watched any more, because of its configuration or that of the namespaces.
#[derive(Debug, Clone)]
pub(crate) struct UnwatchedKind {
    /// The name of its watch.
    pub(crate) kind: String,
    pub(crate) objects: u64,
    pub(crate) since: Timestamp,
}

/// What a namespace has.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    bytes: u64,
    /// Of these, in revisions that may be deleted.
    older: u64,
    /// What deleted objects used that were forgotten.
    forgotten: u64,
}

impl Held {
    /// The share of its older revisions that is over the budget.
    fn over(self, budget: u64) -> f64 {
        let over = self.bytes.saturating_sub(budget);
        if over == 0 {
            return 0.0;
        }
        (over as f64 / self.older.max(1) as f64).min(1.0)
    }

    /// Whether it is over the budget even without its older revisions.
    fn is_full(self, budget: u64) -> bool {
        self.bytes - self.older > budget.saturating_add(self.forgotten)
    }
}

/// An object and its revisions.
struct ObjectRevisions {
    id: i64,
    namespace: Box<str>,
    is_expired: bool,
    is_deleted: bool,
    revisions: i64,
    bytes: u64,
    older: u64,
}

const fn first(object: i64) -> i64 {
    object << 24
}

const fn last(object: i64) -> i64 {
    object << 24 | 0xff_ffff
}

impl TrimRevisions {
    /// `kept`: how long revisions are kept; `limit`: bytes that the database may use, if it has a limit; `is_pressed`: it
    /// uses more.
    pub(crate) fn begin(
        now: Timestamp,
        kept: Duration,
        limit: Option<u64>,
        is_pressed: bool,
    ) -> Self {
        let percent = if is_pressed {
            PRESSED_PERCENT
        } else {
            NAMESPACE_PERCENT
        };
        let share = |percent| {
            let share = limit.map_or(u64::MAX, |limit| limit / 100 * percent);
            share.min(NAMESPACE_BYTES_MAX)
        };
        Self {
            after: 0,
            before: now.minus(kept),
            children_before: now.minus(kept.min(CHILDREN_KEPT)),
            budget: share(percent),
            sizes: HashMap::new(),
            is_summed: false,
            deleted: 0,
            revisions: 0,
            bytes: 0,
            full_budget: share(NAMESPACE_PERCENT),
            unwatched: Vec::new(),
        }
    }

    /// Shows the result in the metrics.
    pub(crate) fn report(&self, metrics: &Metrics) {
        metrics.revisions_deleted.inc_by(self.deleted);
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.revisions_stored.set(gauge(self.revisions));
        metrics.revision_bytes.set(gauge(self.bytes));
        let over = self.over_budget().len() as u64;
        metrics.revision_namespaces_over.set(gauge(over));
    }

    pub(crate) fn tracking(&self) -> TrackingReport {
        TrackingReport {
            over_budget: self.over_budget(),
            unwatched: self.unwatched.clone(),
        }
    }

    /// Namespaces that had more bytes than their budget; empty text: cluster-scoped objects.
    fn over_budget(&self) -> Vec<String> {
        let is_over = |held: &Held| held.over(self.full_budget) > 0.0;
        let mut over: Vec<String> = self
            .sizes
            .iter()
            .filter(|(_, held)| is_over(held))
            .map(|(namespace, _)| namespace.to_string())
            .collect();
        over.sort_unstable();
        over
    }

    /// Works until `deadline` within a transaction of the caller.
    pub(crate) fn step(
        &mut self,
        conn: &Connection,
        watches: &[(String, String)],
        deadline: Instant,
    ) -> rusqlite::Result<Progress> {
        if !self.is_summed && self.after == 0 {
            let table = TrackedObjectTable::of(conn);
            table.note_watched(watches)?;
            self.unwatched = table.unwatched()?;
        }
        loop {
            let found = self.chunk(conn)?;
            let Some(last) = found.last() else {
                if self.is_summed {
                    return Ok(Progress::Done);
                }
                (self.is_summed, self.after) = (true, 0);
                continue;
            };
            self.after = last.id;
            for object in found {
                if self.is_summed {
                    self.trim(conn, &object)?;
                } else {
                    self.add(object);
                }
            }
            if Instant::now() >= deadline {
                return Ok(Progress::More);
            }
        }
    }

    fn add(&mut self, object: ObjectRevisions) {
        self.revisions += object.revisions.max(0).cast_unsigned();
        self.bytes += object.bytes - OBJECT_BYTES;
        let is_tracked =
            self.sizes.len() < TENANTS_MAX || self.sizes.contains_key(&object.namespace);
        if is_tracked {
            let held = self.sizes.entry(object.namespace).or_default();
            held.bytes += object.bytes;
            held.older += object.older;
        }
    }

    fn trim(&mut self, conn: &Connection, object: &ObjectRevisions) -> rusqlite::Result<()> {
        let (first, last) = (first(object.id), last(object.id));
        let budget = self.budget;
        let held = self.sizes.get_mut(&object.namespace);
        let is_forgotten = match held {
            Some(held) if object.is_deleted && held.is_full(budget) => {
                held.forgotten += object.bytes - object.older;
                true
            }
            _ => false,
        };
        if object.is_expired || is_forgotten {
            let deleted = conn
                .counted("DELETE FROM revision WHERE id BETWEEN ?1 AND ?2")?
                .execute((first, last))?;
            conn.counted("DELETE FROM tracked_object WHERE id = ?1")?
                .execute([object.id])?;
            self.deleted += deleted as u64;
            return Ok(());
        }
        if object.revisions < 2 {
            return Ok(());
        }
        // The one that was in force at that time stays.
        let deleted = conn
            .counted(
                "DELETE FROM revision WHERE id >= ?1 AND id < \
                 (SELECT max(id) FROM revision WHERE id BETWEEN ?1 AND ?2 AND at_ms <= ?3)",
            )?
            .execute((first, last, self.before.millis()))?;
        self.deleted += deleted as u64;
        let held = self.sizes.get(&object.namespace).copied();
        let over = held.unwrap_or_default().over(self.budget);
        let most = object.revisions - 1 - deleted as i64;
        let some = (most as f64 * over).ceil() as i64;
        if some > 0 {
            let deleted = conn
                .counted(
                    "DELETE FROM revision WHERE id IN \
                     (SELECT id FROM revision WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3)",
                )?
                .execute((first, last, some.min(most)))?;
            self.deleted += deleted as u64;
        }
        Ok(())
    }

    fn chunk(&self, conn: &Connection) -> rusqlite::Result<Vec<ObjectRevisions>> {
        // octet_length does not read the text.
        conn.counted(
            "SELECT o.id, o.namespace, o.deleted_ms IS NOT NULL, count(r.id), ifnull(sum(octet_length(r.body)), 0), \
             ifnull(sum(octet_length(r.body)) FILTER (WHERE r.id < o.id << 24 | o.revision), 0), \
             ifnull(o.deleted_ms, o.unwatched_ms), o.deleted_ms < ?3 \
             AND (k.kind = 'Job' AND k.api_group = 'batch' AND o.owner GLOB 'CronJob/*' \
             OR k.kind = 'Pod' AND k.api_group = '' AND o.owner GLOB 'Job/*') \
             AND (SELECT cause <> 'request' FROM revision WHERE id = o.id << 24 | o.revision) \
             FROM (SELECT * FROM tracked_object WHERE id > ?1 ORDER BY id LIMIT ?2) o \
             LEFT JOIN tracked_kind k ON k.id = o.kind \
             LEFT JOIN revision r ON r.id BETWEEN o.id << 24 AND o.id << 24 | 16777215 GROUP BY o.id ORDER BY o.id",
        )?
        .query_map((self.after, CHUNK, self.children_before.millis()), |row| {
            let ended: Option<i64> = row.get(6)?;
            let revisions: i64 = row.get(3)?;
            let columns = |revisions: i64| revisions.max(0).cast_unsigned() * REVISION_BYTES;
            Ok(ObjectRevisions {
                id: row.get(0)?,
                namespace: row.get::<_, String>(1)?.into(),
                is_expired: ended.is_some_and(|at| at < self.before.millis())
                    || row.get::<_, Option<bool>>(7)? == Some(true),
                is_deleted: row.get(2)?,
                revisions,
                bytes: row.get::<_, i64>(4)?.cast_unsigned() + columns(revisions) + OBJECT_BYTES,
                older: row.get::<_, i64>(5)?.cast_unsigned() + columns(revisions - 1),
            })
        })?
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use kube9_db::schema;

    use super::*;

    fn database(objects: &[(&str, i64, &[i64], Option<i64>)]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(&schema::create()).unwrap();
        for (namespace, id, times, deleted) in objects {
            conn.execute(
                "INSERT INTO tracked_object (id, kind, namespace, name, uid, resource_version, revision, form, seen_ms, \
                 chain_steps, chain_bytes, deleted_ms) VALUES (?1, 1, ?2, ?1, 'u', 1, ?3, 1, 1, 0, 0, ?4)",
                (id, namespace, times.len() as i64, deleted),
            )
            .unwrap();
            for (n, at) in times.iter().enumerate() {
                conn.execute(
                    "INSERT INTO revision (id, is_patch, body, at_ms, resource_version) VALUES (?1, 0, ?2, ?3, 1)",
                    (id << 24 | (n as i64 + 1), "x".repeat(1000), at),
                )
                .unwrap();
            }
        }
        conn
    }

    fn trim_before(before: i64, limit: Option<u64>) -> TrimRevisions {
        TrimRevisions::begin(Timestamp::from_millis(before), Duration::ZERO, limit, false)
    }

    /// The revisions that are left, as object and number.
    fn left(conn: &Connection, mut trim: TrimRevisions) -> Vec<(i64, i64)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let watches = [("ConfigMap".to_owned(), String::new())];
        while trim.step(conn, &watches, deadline).unwrap() == Progress::More {}
        conn.prepare("SELECT id >> 24, id & 16777215 FROM revision ORDER BY id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn revision_in_force_and_newest_revision_stay() {
        let conn = database(&[
            ("shop", 1, &[10, 20, 30, 40], None),
            ("shop", 2, &[10], None),
            ("shop", 3, &[10, 20], Some(20)),
            ("shop", 4, &[10, 40], Some(40)),
        ]);
        let trim = trim_before(25, None);
        assert_eq!(
            left(&conn, trim),
            [(1, 2), (1, 3), (1, 4), (2, 1), (4, 1), (4, 2)]
        );
    }

    #[test]
    fn children_that_a_controller_deleted_are_kept_for_a_day() {
        let day = 86_400_000;
        let objects: Vec<(&str, i64, &[i64], Option<i64>)> = (1..=7)
            .map(|id| ("shop", id, &[10, 20][..], Some(20)))
            .collect();
        let conn = database(&objects);
        conn.execute_batch(
            "INSERT INTO tracked_kind VALUES (1, 'batch', 'Job', 'v1', 'jobs', 1), (2, '', 'Pod', 'v1', 'pods', 1),
               (3, '', 'ConfigMap', 'v1', 'configmaps', 1);
             UPDATE revision SET body = NULL, cause = 'owner deleted' WHERE at_ms = 20;
             UPDATE tracked_object SET owner = 'CronJob/sync/u';
             UPDATE tracked_object SET owner = 'Job/sync/u', kind = 2 WHERE id = 2;
             UPDATE revision SET cause = 'request' WHERE id >> 24 = 3 AND at_ms = 20;
             UPDATE tracked_object SET owner = NULL WHERE id = 4;
             UPDATE tracked_object SET owner = 'DaemonSet/agent/u', kind = 2 WHERE id = 5;
             UPDATE tracked_object SET owner = 'Job/sync/u', kind = 3 WHERE id = 6;
             UPDATE tracked_object SET deleted_ms = NULL, kind = 3 WHERE id = 7",
        )
        .unwrap();
        let objects = |now: i64, kept: i64| -> Vec<i64> {
            let kept = Duration::from_millis(kept.cast_unsigned());
            let trim = TrimRevisions::begin(Timestamp::from_millis(now), kept, None, false);
            let mut objects: Vec<i64> = left(&conn, trim).into_iter().map(|(id, _)| id).collect();
            objects.dedup();
            objects
        };
        assert_eq!(objects(day, 30 * day), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(objects(day + 21, 30 * day), [3, 4, 5, 6, 7]);
        assert_eq!(objects(30 * day + 21, 30 * day), [7]);
    }

    #[test]
    fn namespace_over_its_budget_is_named() {
        let times: Vec<i64> = (0..20).collect();
        let conn = database(&[("big", 1, &times, None), ("small", 2, &times[..3], None)]);
        for (limit, over) in [(Some(50_000), vec!["big"]), (Some(1 << 30), vec![])] {
            // Under pressure the budget is smaller, which says nothing about the namespace.
            let mut trim = TrimRevisions::begin(
                Timestamp::EPOCH,
                Duration::ZERO,
                limit,
                limit != Some(50_000),
            );
            let deadline = Instant::now() + Duration::from_secs(60);
            let tx = conn.unchecked_transaction().unwrap();
            while trim.step(&tx, &[], deadline).unwrap() == Progress::More {}
            assert_eq!(trim.over_budget(), over);
            assert_eq!((trim.revisions, trim.bytes), (23, 23 * 1040));
        }
    }

    #[test]
    fn namespace_over_its_budget_loses_its_oldest_revisions() {
        let times: Vec<i64> = (0..20).collect();
        let conn = database(&[("big", 1, &times, None), ("small", 2, &times[..3], None)]);
        // A fifth of 50,000 bytes.
        let trim = trim_before(0, Some(50_000));
        let left = left(&conn, trim);
        let of = |object: i64| left.iter().filter(|(id, _)| *id == object).count();
        assert_eq!(of(2), 3);
        assert!((8..=10).contains(&of(1)), "{left:?}");
        assert!(left.contains(&(1, 20)));
    }

    #[test]
    fn namespace_full_of_deleted_names_forgets_the_oldest() {
        let objects: Vec<(&str, i64, &[i64], Option<i64>)> = (1..=100)
            .map(|id| ("big", id, &[10, 20][..], Some(20)))
            .chain([("small", 101, &[10, 20][..], Some(20))])
            .collect();
        let conn = database(&objects);
        // A fifth of 50,000 bytes: fewer than the deleted names alone.
        let trim = trim_before(0, Some(50_000));
        let left = left(&conn, trim);
        let objects: Vec<i64> = conn
            .prepare("SELECT id FROM tracked_object ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(!objects.contains(&1), "{objects:?}");
        assert!(objects.contains(&100), "{objects:?}");
        assert!(left.contains(&(101, 1)), "{left:?}");
        let last: i64 = conn
            .query_row("SELECT id FROM revision WHERE id >> 24 = 100", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(last & 0xff_ffff, 2, "the deletion itself");
    }

    #[test]
    fn object_whose_watch_ended_is_kept_as_long_as_a_deleted_one() {
        let conn = database(&[("shop", 1, &[10], None), ("bank", 2, &[10], None)]);
        conn.execute_batch(
            "INSERT INTO tracked_kind VALUES (1, '', 'ConfigMap', 'v1', 'configmaps', 1);
             INSERT INTO watch_state (cluster, kind, namespace, confirmed_ms) VALUES ('c', 'configmaps', 'bank', 500)",
        )
        .unwrap();
        let run = |before: i64, watches: &[(&str, &str)]| {
            let watches: Vec<(String, String)> = watches
                .iter()
                .map(|(kind, namespace)| ((*kind).to_owned(), (*namespace).to_owned()))
                .collect();
            let mut trim = trim_before(before, None);
            let deadline = Instant::now() + Duration::from_secs(60);
            while trim.step(&conn, &watches, deadline).unwrap() == Progress::More {}
            conn.prepare("SELECT name, unwatched_ms FROM tracked_object ORDER BY id")
                .unwrap()
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .collect::<Result<Vec<(String, Option<i64>)>, _>>()
                .unwrap()
        };
        let (one, two) = ("1".to_owned(), "2".to_owned());
        let shop = [("configmaps", "shop")];
        assert_eq!(
            run(100, &shop),
            [(one.clone(), None), (two.clone(), Some(500))]
        );
        // It is watched again, and then not.
        let both = [("configmaps", "shop"), ("configmaps", "bank")];
        assert_eq!(run(100, &both), [(one.clone(), None), (two.clone(), None)]);
        assert_eq!(
            run(100, &[("configmaps", "")]),
            [(one.clone(), None), (two, None)]
        );
        assert_eq!(run(501, &shop), [(one, None)]);
    }
}
