//! Retention on real SQLite files: by age, by size, unused names, and what must never be deleted.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_base::health::Health;
use kube9_base::settings::ByteSize;
use kube9_db::schema::{self, PAGE_BYTES};
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Observation, Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::apply::Applier;
use kube9_store::config::{RetentionConfig, StorageConfig};
use kube9_store::context::WriterContext;
use kube9_store::maintenance::{Maintenance, Step};
use kube9_store::metrics::{Metrics, Removal};
use kube9_store::open::DataDir;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::volume::Volume;
use prometheus::{Registry, TextEncoder};
use rusqlite::Connection;
use serde_json::Map;

use crate::transaction;

mod tenants;

const DAY: i64 = 86_400;
const NOW: i64 = 1_764_671_400;

fn days_ago(days: i64) -> i64 {
    NOW - days * DAY
}

struct Store {
    dir: tempfile::TempDir,
    _data: DataDir,
    conn: Connection,
    applier: Applier,
    maintenance: Maintenance,
    shared: WriterContext,
    registry: Registry,
    time: Arc<ManualTime>,
    watch: WatchId,
    version: u64,
}

fn large_volume(_: &Path) -> Option<Volume> {
    Some(Volume {
        total: 1 << 40,
        available: 1 << 39,
    })
}

/// Items that the queue holds.
const CAPACITY: usize = 100;

fn full_volume(_: &Path) -> Option<Volume> {
    Some(Volume {
        total: 1 << 40,
        available: 1 << 20,
    })
}

impl Store {
    fn new() -> Self {
        Self::with(None, large_volume)
    }

    fn with(max_bytes: Option<u64>, volume: fn(&Path) -> Option<Volume>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let mut applier = Applier::default();
        let (watch, _) = applier
            .watches
            .register(&conn, "cluster", "Event", "")
            .unwrap();
        let time = ManualTime::at(Timestamp::from_secs(NOW));
        let clock = Clock::new(time.clone());
        let limits = QueueLimits {
            capacity: CAPACITY,
            bytes_max: 1 << 20,
            high_water: 80,
        };
        let registry = Registry::new();
        let shared = WriterContext {
            queue: Arc::new(Queue::new(limits)),
            metrics: Metrics::new(&registry, &[]),
            health: Health::new(clock.clone()),
            clock,
            abandon: Arc::new(AtomicBool::new(false)),
        };
        let storage = StorageConfig {
            max_bytes: max_bytes.map(ByteSize::bytes),
        };
        Self {
            maintenance: Maintenance::with_volume(
                RetentionConfig::default(),
                &storage,
                dir.path().to_owned(),
                volume,
            ),
            dir,
            _data: data,
            conn,
            applier,
            shared,
            registry,
            time,
            watch,
            version: 0,
        }
    }

    fn commit(&mut self, items: &[Item]) {
        let now = Timestamp::from_secs(NOW);
        transaction::commit(&self.conn, &mut self.applier, items, now);
    }

    fn add(&mut self, what: RowSpec<'_>) {
        let item = self.item(what);
        self.commit(&[item]);
    }

    fn item(&mut self, what: RowSpec<'_>) -> Item {
        self.version += 1;
        let at = Timestamp::from_secs(what.at);
        let last = Timestamp::from_secs(what.last.unwrap_or(what.at));
        let object = |name: &str| ObjectRef {
            kind: what.kind.into(),
            namespace: what.namespace.into(),
            name: name.into(),
        };
        Item::Event {
            watch: self.watch,
            origin: Origin::Watch,
            received: last,
            row: Box::new(sanitize(Record {
                event_type: EventType::Cluster,
                severity: what.severity,
                title: format!("Title of {}", what.reason),
                description: what.text.into(),
                object: Some(object(what.name)),
                api_group: String::new(),
                owner: (!what.owner.is_empty()).then(|| object(what.owner)),
                reason: what.reason.into(),
                component: "kubelet".into(),
                container: String::new(),
                kube_type: "Normal".into(),
                node: Some(what.node.into()),
                extra: Map::new(),
                occurred: Occurred::Observed(Observation {
                    uid: Uid::new(&format!("00000000-0000-4000-8000-{:012x}", self.version)),
                    version: ResourceVersion::new(&self.version.to_string()),
                    count: 1,
                    first: at,
                    last,
                }),
            })),
        }
    }

    /// Runs retention to its end.
    fn clean(&mut self) -> usize {
        for steps in 0..100_000 {
            let step = self
                .maintenance
                .step(&mut self.conn, &mut self.applier, &self.shared);
            if !matches!(step, Step::Busy) {
                return steps;
            }
        }
        panic!("the clean-up does not end");
    }

    fn number(&self, sql: &str) -> i64 {
        self.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn texts(&self, sql: &str) -> Vec<String> {
        let mut statement = self.conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Names of the objects that recorded Events are about, oldest first.
    fn left(&self) -> Vec<String> {
        self.texts("SELECT object_name FROM event_detail WHERE event_type = 'cluster' ORDER BY key")
    }

    fn used_bytes(&self) -> i64 {
        let page = self.number("PRAGMA page_size");
        (self.number("PRAGMA page_count") - self.number("PRAGMA freelist_count")) * page
    }

    /// Checks that every used name exists, that the counters agree with the rows, and that the file is intact.
    fn check(&self) {
        for (column, table) in [
            ("object", "object"),
            ("node", "node"),
            ("class", "event_class"),
            ("template", "message_template"),
        ] {
            let dangling = self.number(&format!(
                "SELECT count(*) FROM event e WHERE e.{column} IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM {table} t WHERE t.id = e.{column})"
            ));
            assert_eq!(dangling, 0, "rows without their {table}");
        }
        for sql in [
            "SELECT count(*) FROM object o WHERE o.owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM object w WHERE w.id = o.owner)",
            "SELECT count(*) FROM object o WHERE NOT EXISTS (SELECT 1 FROM scope s WHERE s.id = o.scope)",
            "SELECT count(*) FROM events WHERE description IS NULL OR title IS NULL OR metadata IS NULL",
        ] {
            assert_eq!(self.number(sql), 0, "{sql}");
        }
        let differ = format!("SELECT count(*) FROM ({})", schema::ROW_COUNTS_MISMATCH);
        assert_eq!(self.number(&differ), 0);
        assert_eq!(self.texts("PRAGMA integrity_check"), ["ok"]);
    }

    /// Checks that no unused name is left.
    fn check_no_orphans(&self) {
        for sql in [
            "SELECT count(*) FROM message_template WHERE id NOT IN (SELECT template FROM event)",
            "SELECT count(*) FROM event_class WHERE id NOT IN (SELECT class FROM event)",
            "SELECT count(*) FROM node WHERE id NOT IN (SELECT node FROM event WHERE node IS NOT NULL)",
            "SELECT count(*) FROM object WHERE id NOT IN (SELECT object FROM event WHERE object IS NOT NULL) \
             AND id NOT IN (SELECT owner FROM object WHERE owner IS NOT NULL)",
            "SELECT count(*) FROM scope WHERE id NOT IN (SELECT scope FROM object)",
        ] {
            assert_eq!(self.number(sql), 0, "{sql}");
        }
    }
}

#[derive(Clone, Copy)]
struct RowSpec<'a> {
    at: i64,
    last: Option<i64>,
    severity: Severity,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    owner: &'a str,
    reason: &'a str,
    node: &'a str,
    text: &'a str,
}

fn row_spec(at: i64, severity: Severity, name: &str) -> RowSpec<'_> {
    RowSpec {
        at,
        last: None,
        severity,
        kind: "Pod",
        namespace: "default",
        name,
        owner: "",
        reason: "Started",
        node: "node-1",
        text: "it started",
    }
}

#[test]
fn rows_expire_by_last_occurrence_and_severity() {
    let mut store = Store::new();
    for (days, last, severity, name) in [
        (8, None, Severity::Info, "info-8"),
        (8, None, Severity::Warning, "warning-8"),
        (8, None, Severity::Error, "error-8"),
        (
            8,
            Some(days_ago(6)),
            Severity::Info,
            "info-8-still-on-day-6",
        ),
        (31, None, Severity::Error, "error-31"),
        (31, None, Severity::Critical, "critical-31"),
        (29, None, Severity::Critical, "critical-29"),
        (1, None, Severity::Info, "info-1"),
    ] {
        let mut row = row_spec(days_ago(days), severity, name);
        row.last = last;
        store.add(row);
    }
    store.clean();
    // The first delivery of an Event with a long history begins one window before its last occurrence.
    assert_eq!(
        store.left(),
        ["critical-29", "error-8", "info-8-still-on-day-6", "info-1"]
    );
    let metrics = &store.shared.metrics;
    let deleted = |severity| metrics.retention_deleted.get(severity, Removal::Age).get();
    assert_eq!(
        [
            Severity::Info,
            Severity::Warning,
            Severity::Error,
            Severity::Critical
        ]
        .map(deleted),
        [1, 1, 1, 1]
    );
    assert_eq!(metrics.retention_last_success.get(), NOW as f64);
    assert_eq!(metrics.oldest_event.get(), days_ago(29) as f64);
    assert_eq!(
        metrics.rows.get(Severity::Info).get(),
        3,
        "two, and the row about the run"
    );
    let messages = store.texts("SELECT metadata FROM events WHERE event_type = 'system'");
    assert_eq!(messages.len(), 1);
    for part in [
        r#""reason":"RetentionRun""#,
        r#""cause":"age","deleted":4,"deleted_info":1,"deleted_warning":1,"deleted_error":1,"deleted_critical":1"#,
    ] {
        assert!(messages[0].contains(part), "{part} in {}", messages[0]);
    }
    store.check();
    store.check_no_orphans();
}

#[test]
fn run_without_deletions_writes_no_row_and_next_waits_for_interval() {
    let mut store = Store::new();
    store.add(row_spec(days_ago(1), Severity::Info, "young"));
    assert!(store.clean() > 0);
    assert_eq!(store.number("SELECT count(*) FROM event WHERE type = 5"), 0);
    assert_eq!(store.clean(), 0);
    store.time.advance(Duration::from_secs(7 * 86_400));
    assert!(store.clean() > 0);
    assert_eq!(store.left(), [""; 0]);
    store.check();
}

#[test]
fn open_gap_row_is_never_deleted() {
    for max_bytes in [None, Some(1 << 20)] {
        let mut store = Store::with(max_bytes, large_volume);
        let list = |cause, at| Item::Marker {
            watch: WatchId(1),
            marker: SourceMarker::Init {
                list_generation: 1,
                cause,
                at: Timestamp::from_secs(at),
            },
        };
        store.add(row_spec(days_ago(40), Severity::Info, "old"));
        store.commit(&[list(RelistCause::Expired, days_ago(40))]);
        if max_bytes.is_some() {
            fill(&mut store, 12_000, Severity::Info);
        }
        store.clean();
        assert_eq!(
            store.number("SELECT count(*) FROM event WHERE key IN (SELECT gap FROM watch_state)"),
            1
        );
        assert!(!store.left().contains(&"old".to_owned()));
        store.check();
    }
}

#[test]
fn unused_names_are_deleted_and_used_ones_kept() {
    let mut store = Store::new();
    let old = RowSpec {
        kind: "Job",
        namespace: "gone",
        owner: "old-owner",
        reason: "OldReason",
        node: "old-node",
        text: "an old text",
        ..row_spec(days_ago(9), Severity::Info, "old-pod")
    };
    store.add(old);
    let kept = RowSpec {
        owner: "kept-owner",
        ..row_spec(days_ago(1), Severity::Info, "kept-pod")
    };
    store.add(kept);
    store.clean();
    store.check();
    assert_eq!(
        store.texts("SELECT name FROM object ORDER BY id"),
        ["kept-pod", "kept-owner"]
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
    );
    assert_eq!(store.texts("SELECT name FROM node"), ["node-1"]);
    assert_eq!(
        store.texts("SELECT reason FROM event_class ORDER BY id"),
        ["Started", "RetentionRun"]
    );
    assert_eq!(
        store.texts("SELECT kind || namespace FROM scope"),
        ["Poddefault"]
    );
    store.check_no_orphans();
    // The writer's caches no longer contain them.
    store.add(RowSpec { at: NOW, ..old });
    store.check();
    assert_eq!(
        store.texts("SELECT description FROM events WHERE object_name = 'old-pod'"),
        ["an old text"]
    );
}

#[test]
fn names_reused_during_retention_are_kept() {
    let old = RowSpec {
        kind: "Job",
        namespace: "batch",
        owner: "an-owner",
        reason: "OldReason",
        node: "old-node",
        text: "an old text",
        ..row_spec(days_ago(9), Severity::Info, "old-pod")
    };
    // Between any two steps of the run.
    for before in 0.. {
        let mut store = Store::new();
        store.add(old);
        store.add(row_spec(days_ago(1), Severity::Info, "kept"));
        let mut busy = true;
        for _ in 0..before {
            let step = store
                .maintenance
                .step(&mut store.conn, &mut store.applier, &store.shared);
            busy = matches!(step, Step::Busy);
        }
        // Once with everything cached, once with nothing.
        if before % 2 == 0 {
            store.applier.rolled_back();
        }
        store.add(RowSpec { at: NOW, ..old });
        store.clean();
        store.check();
        assert_eq!(
            store.texts(
                "SELECT json_extract(metadata, '$.owner') FROM events WHERE object_name = 'old-pod'"
            ),
            ["Job/an-owner"],
            "after {before} steps"
        );
        if !busy {
            assert!(before > 8, "{before} steps: the run should have more");
            return;
        }
    }
}

/// Another pass over all rows for each few new names would never end.
#[test]
fn retention_ends_while_new_names_arrive() {
    let mut store = Store::with(Some(2 << 20), large_volume);
    fill(&mut store, 8_000, Severity::Info);
    fill(&mut store, 8_000, Severity::Info);
    for steps in 0.. {
        let step = store
            .maintenance
            .step(&mut store.conn, &mut store.applier, &store.shared);
        if !matches!(step, Step::Busy) {
            break;
        }
        // New names in every step, so that a pass always ends with new names.
        store.add(RowSpec {
            text: &format!("never said before: {steps}"),
            ..row_spec(NOW, Severity::Info, &format!("new-pod-{steps}"))
        });
        assert!(steps < 400, "{steps} steps: it does not end");
    }
    store.clean();
    store.check();
    store.check_no_orphans();
}

/// Many rows with different contents, a minute apart.
fn fill(store: &mut Store, rows: i64, severity: Severity) {
    for chunk in 0..rows / 100 {
        let items: Vec<Item> = (0..100)
            .map(|n| {
                let n = chunk * 100 + n;
                let (name, text) = (
                    format!("pod-of-some-length-{n}"),
                    format!("text number {n} which is like no other"),
                );
                store.item(RowSpec {
                    text: &text,
                    ..row_spec(NOW - 60 * (rows - n), severity, &name)
                })
            })
            .collect();
        store.commit(&items);
        let version = store.version;
        // As deletions by the API server would.
        store
            .conn
            .execute(
                "DELETE FROM dedup WHERE resource_version <= ?1",
                [version as i64],
            )
            .unwrap();
    }
}

#[test]
fn size_limit_deletes_oldest_of_least_severe_first() {
    let mut store = Store::with(Some(2 << 20), large_volume);
    fill(&mut store, 3_000, Severity::Critical);
    fill(&mut store, 3_000, Severity::Info);
    for round in 0..40 {
        fill(&mut store, 500, Severity::Warning);
        store.clean();
        assert!(store.used_bytes() <= 2 << 20, "round {round}: over the cap");
        std::thread::sleep(Duration::from_millis(101)); // the look at the size is bounded in rate
    }
    let count = |severity: i64| {
        store.number(&format!(
            "SELECT count(*) FROM event WHERE type = 0 AND severity = {severity}"
        ))
    };
    assert_eq!(count(0), 0, "info goes first");
    assert!(count(1) > 2_000, "the newest warnings are there");
    assert_eq!(count(3), 3_000, "no critical row goes while a warning can");
    assert!(
        store
            .shared
            .metrics
            .retention_deleted
            .get(Severity::Info, Removal::Size)
            .get()
            >= 3_000
    );
    assert_eq!(
        store.number("SELECT count(*) FROM events WHERE title = 'Rows deleted for lack of space'"),
        1,
        "reported once an hour"
    );
    store.check();
    store.check_no_orphans();
}

#[test]
fn pinned_reader_does_not_make_size_limit_delete_everything() {
    let mut store = Store::with(Some(2 << 20), large_volume);
    fill(&mut store, 8_000, Severity::Info);
    let reader = Connection::open_with_flags(
        store.dir.path().join("kube9.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM event")
        .unwrap();
    for _ in 0..5 {
        store.clean();
        std::thread::sleep(Duration::from_millis(101));
    }
    let left = store.left().len();
    assert!(left > 5_000, "{left} rows left");
    assert!(store.used_bytes() <= 2 << 20);
    assert_eq!(
        reader
            .query_row("SELECT count(*) FROM event", [], |row| row.get::<_, i64>(0))
            .unwrap(),
        8_000,
        "the reader's view"
    );
    store.check();
}

#[test]
fn full_volume_frees_pages_and_does_not_shrink_file() {
    let mut store = Store::with(None, full_volume);
    fill(&mut store, 20_000, Severity::Info);
    let pages = store.number("PRAGMA page_count");
    store.clean();
    let free = store.number("PRAGMA freelist_count");
    assert!(free * PAGE_BYTES >= 1 << 19, "{free} pages free");
    assert_eq!(store.number("PRAGMA page_count"), pages);
    assert!(store.left().len() > 10_000, "no more than needed");
    store.check();
}

#[test]
fn space_of_deleted_rows_is_returned_to_disk() {
    let mut store = Store::new();
    fill(&mut store, 8_000, Severity::Info);
    let before = store.number("PRAGMA page_count");
    store.time.jump_to(Timestamp::from_secs(NOW + 20 * DAY));
    // A run ends after some milliseconds, however little it did on a busy machine.
    let (mut after, mut last) = (before, i64::MAX);
    while after < last {
        store.clean();
        (last, after) = (after, store.number("PRAGMA page_count"));
    }
    assert!(after * 4 < before, "{before} pages before, {after} after");
    store.check();
    store.check_no_orphans();
}

#[test]
fn dedup_entries_of_removed_watch_are_deleted_with_rows() {
    let mut store = Store::new();
    store.add(row_spec(days_ago(9), Severity::Info, "old"));
    store.add(row_spec(days_ago(1), Severity::Info, "young"));
    // A later process without the watch.
    store.applier = Applier::default();
    store.clean();
    assert_eq!(store.number("SELECT count(*) FROM dedup"), 1);
    assert_eq!(
        store.number("SELECT count(*) FROM dedup WHERE event NOT IN (SELECT key FROM event)"),
        0
    );
    // A running watch keeps its entries while the API server has the Event.
    let mut store = Store::new();
    store.add(row_spec(days_ago(9), Severity::Info, "old"));
    store.clean();
    assert_eq!(store.number("SELECT count(*) FROM dedup"), 1);
}

#[test]
fn snapshots_of_removed_watch_are_deleted_when_old() {
    let mut store = Store::new();
    let state = |watch: i64, proven: i64| {
        format!(
            "INSERT INTO watch_state (id, cluster, kind, namespace, position, confirmed_ms) \
             VALUES ({watch}, 'cluster', 'Pod', 'n{watch}', '7', {});",
            proven * 1000
        )
    };
    let facts = |watch: i64, objects: i64| {
        format!(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {objects}) \
             INSERT INTO object_snapshot SELECT {watch}, 'n/' || i, '{{}}' FROM n;"
        )
    };
    let running = store.watch.0;
    for sql in [
        state(101, days_ago(8)),
        state(102, days_ago(6)),
        facts(101, 2000),
        facts(102, 3),
        facts(running, 3),
    ] {
        store.conn.execute_batch(&sql).unwrap();
    }
    store.clean();
    let left = |store: &Store, watch: i64| {
        store.number(&format!(
            "SELECT count(*) FROM object_snapshot WHERE watch = {watch}"
        ))
    };
    assert_eq!(
        left(&store, 101),
        0,
        "disconnected for longer than changes are kept"
    );
    assert_eq!(left(&store, 102), 3);
    assert_eq!(left(&store, running), 3);
    // Without snapshots it must not compare: it starts again.
    let anew = "SELECT count(*) FROM watch_state WHERE confirmed_ms IS NULL AND position IS NULL AND id = ";
    assert_eq!(store.number(&format!("{anew} 101")), 1);
    assert_eq!(store.number(&format!("{anew} 102")), 0);
}

#[test]
fn open_gap_of_removed_watch_closes_as_not_recovered() {
    let mut store = Store::new();
    let watch = store.watch;
    let marker = |marker| Item::Marker { watch, marker };
    let begun = |cause, at| {
        marker(SourceMarker::Init {
            list_generation: 1,
            cause,
            at: Timestamp::from_secs(at),
        })
    };
    store.commit(&[
        begun(RelistCause::FirstStart, days_ago(3)),
        begun(RelistCause::Failed, days_ago(2)),
    ]);
    let open = "SELECT count(*) FROM watch_state WHERE gap IS NOT NULL";
    assert_eq!(store.number(open), 1);
    store.applier = Applier::default();
    store.clean();
    assert_eq!(store.number(open), 0);
    let rows = store.texts(
        "SELECT metadata ->> 'recovery' || ' ' || (metadata ->> 'open' IS NULL) FROM events \
         WHERE title = 'Recording gap'",
    );
    assert_eq!(rows, ["none 1"]);
    store.check();
}

#[test]
fn failed_retention_is_reported_once_and_retried() {
    let mut store = Store::new();
    store.add(row_spec(days_ago(9), Severity::Info, "old"));
    store
        .conn
        .execute_batch("ALTER TABLE row_counts RENAME TO hidden")
        .unwrap();
    for n in 0..CAPACITY {
        let item = store.item(row_spec(days_ago(0), Severity::Info, &format!("waits-{n}")));
        push(
            &store.shared.queue,
            &store.shared.metrics,
            item,
            Timestamp::from_secs(NOW),
        );
    }
    for _ in 0..5 {
        store.clean();
        store.time.advance(Duration::from_secs(61));
    }
    assert_eq!(
        store.shared.queue.dropped_total(),
        1,
        "reported once, in place of a waiting row"
    );
    let text = TextEncoder::new()
        .encode_to_string(&store.registry.gather())
        .unwrap();
    let dropped = text
        .lines()
        .filter(|line| line.starts_with("kube9_events_dropped_total") && line.ends_with(" 1"));
    assert_eq!(dropped.count(), 1, "and is counted: {text}");
    store
        .conn
        .execute_batch("ALTER TABLE hidden RENAME TO row_counts")
        .unwrap();
    store.clean();
    assert_eq!(store.left(), [""; 0]);
    store.check();
}
