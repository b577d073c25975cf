//! Changes and findings in the store: rows, snapshots and open findings in one transaction, on real SQLite files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use kube9_ingest::item::{Change, Finding, FindingTransition, Item};
use kube9_ingest::sanitize::{Clean, sanitize};
use kube9_model::record::{Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, SourceMarker, WatchId};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use rusqlite::Connection;
use serde_json::{Map, Value};

use crate::transaction;

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_764_671_400 + second)
}

struct Store {
    _dir: tempfile::TempDir,
    _data: DataDir,
    conn: Connection,
    applier: Applier,
    watch: WatchId,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let mut applier = Applier::default();
        let (watch, _) = applier
            .watches
            .register(&conn, "cluster", "Pod", "")
            .unwrap();
        Self {
            _dir: dir,
            _data: data,
            conn,
            applier,
            watch,
        }
    }

    fn commit(&mut self, items: &[Item]) {
        transaction::commit(&self.conn, &mut self.applier, items, at(5_000));
    }

    /// title, severity and metadata of all rows, oldest first.
    fn rows(&self) -> Vec<(String, String, Value)> {
        let mut statement = self
            .conn
            .prepare("SELECT title, severity, metadata FROM events ORDER BY created_at, id")
            .unwrap();
        let rows = statement.query_map([], |row| {
            let metadata: String = row.get(2)?;
            Ok((
                row.get(0)?,
                row.get(1)?,
                serde_json::from_str(&metadata).unwrap(),
            ))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.conn.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

fn record(title: &str, severity: Severity, second: i64) -> Record {
    Record {
        event_type: EventType::Health,
        severity,
        title: title.to_owned(),
        description: format!("{title}."),
        object: Some(ObjectRef {
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: "web-1".into(),
        }),
        api_group: String::new(),
        owner: None,
        reason: "ContainerOOMKilled".into(),
        component: "kube9".into(),
        container: "app".into(),
        kube_type: String::new(),
        node: None,
        extra: Map::new(),
        occurred: Occurred::At(at(second)),
    }
}

fn finding(transition: FindingTransition, title: &str, severity: Severity, second: i64) -> Item {
    Item::Finding(Box::new(Finding {
        fingerprint: Clean::identity("ContainerOOMKilled/uid/app"),
        transition,
        at: at(second),
        row: sanitize(record(title, severity, second)),
    }))
}

fn opened(since: i64) -> FindingTransition {
    FindingTransition::Opened {
        state: Clean::identity("{}"),
        since: at(since),
    }
}

#[test]
fn finding_opened_updated_and_closed_has_two_rows() {
    let mut store = Store::new();
    store.commit(&[finding(opened(-60), "Bad", Severity::Error, 0)]);
    assert_eq!(store.count("finding"), 1);
    store.commit(&[finding(
        FindingTransition::Updated,
        "Bad",
        Severity::Error,
        100,
    )]);
    store.commit(&[Item::ExtendFindings(at(900))]);
    let rows = store.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].2["first_timestamp"], at(-60).to_string());
    assert_eq!(rows[0].2["last_timestamp"], at(900).to_string());
    store.commit(&[finding(
        FindingTransition::Closed,
        "Bad resolved",
        Severity::Info,
        1000,
    )]);
    let rows = store.rows();
    assert_eq!(store.count("finding"), 0);
    assert_eq!(rows[0].2["resolved_at"], at(1000).to_string());
    assert_eq!(
        (rows[1].0.as_str(), rows[1].1.as_str()),
        ("Bad resolved", "info")
    );
    let id: String = store
        .conn
        .query_row("SELECT id FROM events WHERE title = 'Bad'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(rows[1].2["resolves"], id);
}

#[test]
fn worse_finding_continues_in_new_row() {
    let mut store = Store::new();
    store.commit(&[finding(opened(0), "Bad", Severity::Error, 0)]);
    store.commit(&[finding(opened(0), "Worse", Severity::Critical, 300)]);
    let rows = store.rows();
    assert_eq!(store.count("finding"), 1);
    assert_eq!(rows[0].2["last_timestamp"], at(300).to_string());
    assert_eq!(rows[1].1, "critical");
    assert!(rows[1].2["continues"].as_str().unwrap().starts_with("evt_"));
}

#[test]
fn close_without_open_finding_writes_nothing() {
    let mut store = Store::new();
    store.commit(&[finding(
        FindingTransition::Closed,
        "Bad resolved",
        Severity::Info,
        1,
    )]);
    assert_eq!(store.rows(), []);
}

#[test]
fn snapshots_are_committed_with_their_rows() {
    let mut store = Store::new();
    let change = |snapshot: Option<&str>, rows: usize| {
        Item::Change(Box::new(Change {
            version: None,
            watch: WatchId(1),
            name: Clean::name("shop/web-1"),
            snapshot: snapshot.map(Clean::identity),
            rows: (0..rows)
                .map(|_| sanitize(record("Changed", Severity::Info, 1)))
                .collect(),
        }))
    };
    store.commit(&[change(Some("{\"a\":1}"), 0)]);
    store.commit(&[change(Some("{\"a\":2}"), 1)]);
    let remembered = store
        .applier
        .stored_objects(&store.conn, store.watch)
        .unwrap();
    assert_eq!(
        remembered.snapshots,
        [("shop/web-1".to_owned(), "{\"a\":2}".to_owned())]
    );
    assert_eq!(remembered.confirmed_at, None);
    store.commit(&[change(None, 1)]);
    assert_eq!((store.count("object_snapshot"), store.rows().len()), (0, 2));
}

/// Nothing else would delete them after their object is deleted.
#[test]
fn oversized_snapshots_are_deleted_and_namespace_marked() {
    let mut store = Store::new();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    for (name, facts) in [("shop/web-1", "{}"), ("shop/web-2", &*long)] {
        let insert = "INSERT INTO object_snapshot (watch, name, snapshot) VALUES (1, ?1, ?2)";
        store.conn.execute(insert, (name, facts)).unwrap();
    }
    for _ in 0..2 {
        let remembered = store
            .applier
            .stored_objects(&store.conn, store.watch)
            .unwrap();
        assert_eq!(
            remembered.snapshots,
            [("shop/web-1".to_owned(), "{}".to_owned())]
        );
        assert_eq!(
            remembered.left_out.into_iter().collect::<Vec<_>>(),
            ["shop"]
        );
        assert_eq!(store.count("object_snapshot"), 2, "one, and the marker");
    }
}

#[test]
fn informer_outage_has_gap_row() {
    let mut store = Store::new();
    let watch = store.watch;
    let begun = |cause, second| Item::Marker {
        watch,
        marker: SourceMarker::Init {
            list_generation: 0,
            cause,
            at: at(second),
        },
    };
    let synced = |second, vanished| Item::Marker {
        watch,
        marker: SourceMarker::Synced {
            vanished,
            version: "7".into(),
            at: at(second),
            server_time: at(second),
            listed: 3,
        },
    };
    store.commit(&[begun(RelistCause::FirstStart, 0), synced(1, 0)]);
    assert_eq!(store.rows(), [], "the first start has no gap");
    let proven = store
        .applier
        .stored_objects(&store.conn, watch)
        .unwrap()
        .confirmed_at;
    assert_eq!(proven, Some(at(1)));
    for (from, to, vanished, recovery, severity) in [
        (10, 60, 0, "complete", "info"),
        (100, 1_000, 2, "partial", "warning"),
    ] {
        store.commit(&[Item::Marker {
            watch,
            marker: SourceMarker::Confirmed {
                version: format!("{from}"),
                at: at(from),
            },
        }]);
        store.commit(&[begun(RelistCause::Interrupted, to), synced(to, vanished)]);
        let rows = store.rows();
        let (title, found, metadata) = rows.last().unwrap();
        assert_eq!(
            (title.as_str(), found.as_str()),
            ("Recording gap", severity)
        );
        assert_eq!(metadata["source"], "Pod");
        assert_eq!(metadata["recovery"], recovery);
        assert_eq!(metadata["vanished"], vanished);
        assert_eq!(metadata["from"], at(from).to_string());
        assert_eq!(metadata["to"], at(to).to_string());
    }
    assert_eq!(store.rows().len(), 2);
    let tallied: i64 = store
        .conn
        .query_row(
            "SELECT sum(rows) FROM row_counts WHERE bucket_seconds = 86400",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tallied, 2);
}

/// Marks of one watch.
struct Marks(WatchId);

impl Marks {
    fn marker(&self, marker: SourceMarker) -> Item {
        Item::Marker {
            watch: self.0,
            marker,
        }
    }

    /// Confirmed, then disconnected.
    fn blind(&self, cause: RelistCause, from: i64, second: i64) -> [Item; 2] {
        let proven = SourceMarker::Confirmed {
            version: format!("{from}"),
            at: at(from),
        };
        let begun = SourceMarker::Init {
            list_generation: 0,
            cause,
            at: at(second),
        };
        [self.marker(proven), self.marker(begun)]
    }

    fn synced(&self, second: i64, vanished: u64) -> Item {
        self.marker(SourceMarker::Synced {
            vanished,
            version: "7".into(),
            at: at(second),
            server_time: at(second),
            listed: 3,
        })
    }
}

impl Store {
    /// Another watch that was listed once.
    fn two(&mut self) -> (Marks, Marks) {
        let watches = &mut self.applier.watches;
        let (service, _) = watches
            .register(&self.conn, "cluster", "Service", "")
            .unwrap();
        let (a, b) = (Marks(self.watch), Marks(service));
        for marks in [&a, &b] {
            let first = marks.marker(SourceMarker::Init {
                list_generation: 0,
                cause: RelistCause::FirstStart,
                at: at(0),
            });
            self.commit(&[first, marks.synced(1, 0)]);
        }
        (a, b)
    }

    /// After a restart: both are registered again.
    fn two_are_known(&mut self) {
        for kind in ["Pod", "Service"] {
            let watches = &mut self.applier.watches;
            watches.register(&self.conn, "cluster", kind, "").unwrap();
        }
    }

    /// Rows by the counters and by the table; both by severity.
    fn check_counters(&self) {
        let by_severity =
            |sql: &str| -> String { self.conn.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(
            by_severity(
                "SELECT ifnull(group_concat(severity || ':' || n), '') FROM (SELECT severity, sum(rows) AS n FROM row_counts \
                 WHERE bucket_seconds = 86400 GROUP BY 1 HAVING n <> 0 ORDER BY 1)"
            ),
            by_severity(
                "SELECT ifnull(group_concat(severity || ':' || n), '') FROM (SELECT severity, count(*) AS n FROM event \
                 GROUP BY 1 ORDER BY 1)"
            )
        );
    }
}

#[test]
fn outages_of_kinds_with_same_cause_and_time_share_gap_row() {
    let mut store = Store::new();
    let (pods, services) = store.two();
    store.commit(&pods.blind(RelistCause::Expired, 10, 60));
    store.commit(&[pods.synced(61, 2)]);
    store.check_counters();
    // It was already closed, but overlaps this one; the longer one is a warning.
    store.commit(&services.blind(RelistCause::Expired, 8, 400));
    let open = &store.rows()[0].2;
    assert_eq!(
        (&open["open"], &open["recovery"]),
        (&Value::Bool(true), &Value::Null)
    );
    store.check_counters();
    store.commit(&[services.synced(401, 0)]);
    store.check_counters();
    let rows = store.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let (_, severity, row) = &rows[0];
    assert_eq!(severity, "warning");
    assert_eq!(row["source"], "Pod, Service");
    assert_eq!(row["from"], at(8).to_string());
    assert_eq!(row["to"], at(401).to_string());
    assert_eq!(
        (&row["recovery"], &row["vanished"]),
        (&"partial".into(), &2.into())
    );
    let parts = row["sources"].as_array().unwrap();
    assert_eq!(parts[0]["to"], at(61).to_string());
    assert_eq!(
        (&parts[1]["source"], &parts[1]["recovery"]),
        (&"Service".into(), &"complete".into())
    );
    assert_eq!(parts[1]["from"], at(8).to_string());
}

#[test]
fn gaps_with_other_times_or_causes_have_own_rows() {
    let mut store = Store::new();
    let (pods, services) = store.two();
    store.commit(&pods.blind(RelistCause::Expired, 10, 60));
    store.commit(&[pods.synced(61, 0)]);
    store.commit(&services.blind(RelistCause::Failed, 12, 62));
    store.commit(&[services.synced(63, 0)]);
    store.commit(&services.blind(RelistCause::Expired, 70, 80));
    store.commit(&[services.synced(81, 0)]);
    let sources: Vec<Value> = store
        .rows()
        .iter()
        .map(|row| row.2["source"].clone())
        .collect();
    assert_eq!(sources, ["Pod", "Service", "Service"]);
    store.check_counters();
}

/// A server that ends every watch immediately causes a list per minute, and one row.
#[test]
fn repeated_outages_of_watch_have_one_gap_row() {
    let mut store = Store::new();
    let (pods, _) = store.two();
    for (second, vanished) in [(60, 1), (120, 0), (180, 2)] {
        let begun = pods.marker(SourceMarker::Init {
            list_generation: 0,
            cause: RelistCause::EmptyStream,
            at: at(second),
        });
        store.commit(&[begun, pods.synced(second + 1, vanished)]);
    }
    let rows = store.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0].2;
    assert_eq!(
        (&row["from"], &row["to"]),
        (&at(1).to_string().into(), &at(181).to_string().into())
    );
    assert_eq!(
        (&row["recovery"], &row["vanished"], &row["listed"]),
        (&"partial".into(), &3.into(), &3.into())
    );
    store.check_counters();
}

#[test]
fn reopened_gap_keeps_missing_count_across_restart() {
    let mut store = Store::new();
    let (pods, _) = store.two();
    store.commit(&pods.blind(RelistCause::Expired, 10, 60));
    store.commit(&[pods.synced(61, 2)]);
    let begun = pods.marker(SourceMarker::Init {
        list_generation: 0,
        cause: RelistCause::Expired,
        at: at(62),
    });
    store.commit(&[begun]);
    assert_eq!(store.rows()[0].2["open"], true);
    store.applier = Applier::default();
    store.two_are_known();
    store.commit(&[pods.synced(70, 1)]);
    let rows = store.rows();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0].2;
    assert_eq!(
        (&row["recovery"], &row["vanished"], &row["listed"]),
        (&"partial".into(), &3.into(), &3.into())
    );
    assert_eq!(row["from"], at(10).to_string());
    assert_eq!(row["sources"][0]["open"], Value::Null);
    store.check_counters();
}

#[test]
fn unfinished_list_does_not_absorb_later_gap_of_other_kind() {
    let mut store = Store::new();
    let (pods, services) = store.two();
    store.commit(&pods.blind(RelistCause::Expired, 10, 60));
    store.commit(&services.blind(RelistCause::Expired, 1_000, 1_060));
    store.commit(&[services.synced(1_061, 0)]);
    let rows = store.rows();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (&row.2["from"], &row.2["recovery"]))
        .collect();
    assert_eq!(
        rows,
        [
            (&at(10).to_string().into(), &Value::Null),
            (&at(1_000).to_string().into(), &"complete".into())
        ]
    );
}

#[test]
fn shared_gap_row_ends_with_its_last_watch() {
    let mut store = Store::new();
    let (pods, services) = store.two();
    store.commit(&pods.blind(RelistCause::Expired, 10, 60));
    store.commit(&services.blind(RelistCause::Expired, 10, 60));
    store.commit(&[services.synced(401, 0)]);
    store.commit(&[pods.synced(61, 0)]); // another API server's clock
    let row = &store.rows()[0].2;
    assert_eq!(row["to"], at(401).to_string());
    let length = "SELECT last_offset_ms FROM event";
    let length: i64 = store.conn.query_row(length, [], |row| row.get(0)).unwrap();
    assert_eq!(length, 391_000);
}

#[test]
fn history_regression_writes_one_row_and_discards_every_position() {
    let mut store = Store::new();
    let (pods, services) = store.two();
    for (marks, is_first) in [(&pods, true), (&services, false)] {
        let regressed = SourceMarker::Regressed {
            version: "5".into(),
            at: at(50),
            is_first,
        };
        store.commit(&[marks.marker(regressed)]);
        // With the first mark: the process may end before the others.
        for watch in [pods.0, services.0] {
            assert_eq!(store.applier.watches.get(watch).position, None);
        }
    }
    let titles: Vec<String> = store.rows().into_iter().map(|row| row.0).collect();
    assert_eq!(titles, ["API server history went back"]);
}
