//! Changes and findings as they are committed: rows, facts and open findings in one transaction, on real SQLite files.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use kube9_recorder::pipeline::item::{Change, Finding, Item, Mark, RelistCause, Step, WatchId};
use kube9_recorder::pipeline::record::{Occurred, Record};
use kube9_recorder::pipeline::sanitize::{Clean, sanitize};
use kube9_recorder::store::apply::Applier;
use kube9_recorder::store::open::DataDir;
use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, Value};

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
        let tx = self.conn.unchecked_transaction().unwrap();
        for item in items {
            self.applier.apply(&tx, item, at(5_000)).unwrap();
        }
        self.applier.finish(&tx).unwrap();
        tx.commit().unwrap();
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
        owner: None,
        reason: "H1".into(),
        component: "kube9".into(),
        container: "app".into(),
        kube_type: String::new(),
        node: None,
        extra: Map::new(),
        occurred: Occurred::At(at(second)),
    }
}

fn finding(step: Step, title: &str, severity: Severity, second: i64) -> Item {
    Item::Finding(Box::new(Finding {
        fingerprint: Clean::identity("H1/uid/app"),
        step,
        at: at(second),
        row: sanitize(record(title, severity, second)),
    }))
}

fn opened(since: i64) -> Step {
    Step::Opened {
        state: Clean::identity("{}"),
        since: at(since),
    }
}

#[test]
fn a_finding_opens_updates_and_closes_in_two_rows() {
    let mut store = Store::new();
    store.commit(&[finding(opened(-60), "Bad", Severity::Error, 0)]);
    assert_eq!(store.count("finding"), 1);
    store.commit(&[finding(Step::Updated, "Bad", Severity::Error, 100)]);
    store.commit(&[Item::StillOpen(at(900))]);
    let rows = store.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].2["first_timestamp"], at(-60).to_string());
    assert_eq!(rows[0].2["last_timestamp"], at(900).to_string());
    store.commit(&[finding(Step::Closed, "Bad resolved", Severity::Info, 1000)]);
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
fn a_finding_that_gets_worse_continues_in_a_new_row() {
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
fn a_close_without_an_open_finding_writes_nothing() {
    let mut store = Store::new();
    store.commit(&[finding(Step::Closed, "Bad resolved", Severity::Info, 1)]);
    assert_eq!(store.rows(), []);
}

#[test]
fn facts_are_committed_with_their_rows() {
    let mut store = Store::new();
    let change = |facts: Option<&str>, rows: usize| {
        Item::Change(Box::new(Change {
            version: None,
            watch: WatchId(1),
            name: Clean::name("shop/web-1"),
            facts: facts.map(Clean::identity),
            rows: (0..rows)
                .map(|_| sanitize(record("Changed", Severity::Info, 1)))
                .collect(),
        }))
    };
    store.commit(&[change(Some("{\"a\":1}"), 0)]);
    store.commit(&[change(Some("{\"a\":2}"), 1)]);
    let remembered = store.applier.remembered(&store.conn, store.watch).unwrap();
    assert_eq!(
        remembered.facts,
        [("shop/web-1".to_owned(), "{\"a\":2}".to_owned())]
    );
    assert_eq!(remembered.proven, None);
    store.commit(&[change(None, 1)]);
    assert_eq!((store.count("facts"), store.rows().len()), (0, 2));
}

/// Nothing else would delete them once their object is gone.
#[test]
fn facts_that_are_too_long_to_be_read_are_deleted_and_their_namespace_is_marked() {
    let mut store = Store::new();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    for (name, facts) in [("shop/web-1", "{}"), ("shop/web-2", &*long)] {
        let insert = "INSERT INTO facts (watch, name, facts) VALUES (1, ?1, ?2)";
        store.conn.execute(insert, (name, facts)).unwrap();
    }
    for _ in 0..2 {
        let remembered = store.applier.remembered(&store.conn, store.watch).unwrap();
        assert_eq!(
            remembered.facts,
            [("shop/web-1".to_owned(), "{}".to_owned())]
        );
        assert_eq!(
            remembered.left_out.into_iter().collect::<Vec<_>>(),
            ["shop"]
        );
        assert_eq!(store.count("facts"), 2, "one, and the mark");
    }
}

#[test]
fn an_informer_has_a_gap_row_for_the_time_it_was_blind() {
    let mut store = Store::new();
    let watch = store.watch;
    let begun = |cause, second| Item::Mark {
        watch,
        mark: Mark::ListBegun {
            listing: 0,
            cause,
            at: at(second),
        },
    };
    let synced = |second, vanished| Item::Mark {
        watch,
        mark: Mark::Synced {
            vanished,
            version: "7".into(),
            at: at(second),
            server_time: at(second),
            listed: 3,
        },
    };
    store.commit(&[begun(RelistCause::FirstStart, 0), synced(1, 0)]);
    assert_eq!(store.rows(), [], "before the first start nobody was blind");
    let proven = store.applier.remembered(&store.conn, watch).unwrap().proven;
    assert_eq!(proven, Some(at(1)));
    for (from, to, vanished, healed, severity) in [
        (10, 60, 0, "true", "info"),
        (100, 1_000, 2, "partial", "warning"),
    ] {
        store.commit(&[Item::Mark {
            watch,
            mark: Mark::Proven {
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
        assert_eq!(metadata["healed"], healed);
        assert_eq!(metadata["vanished"], vanished);
        assert_eq!(metadata["from"], at(from).to_string());
        assert_eq!(metadata["to"], at(to).to_string());
    }
    assert_eq!(store.rows().len(), 2);
    let tallied: i64 = store
        .conn
        .query_row(
            "SELECT sum(rows) FROM tally WHERE span = 86400",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tallied, 2);
}
