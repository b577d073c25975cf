//! The store's transactions on real SQLite files: folding, positions, gaps and dropped ranges.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::path::Path;
use std::time::Duration;

use kube9_db::schema;
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::label::Stage;
use kube9_model::record::{Observation, Occurred, Record};
use kube9_model::resume::Resume;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, UnstoredReason, WatchId};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::apply::Applier;
use kube9_store::gap::Recovery;
use kube9_store::open::DataDir;
use kube9_store::queue::DroppedItems;
use rusqlite::Connection;
use serde_json::Map;

const HOUR: Duration = Duration::from_secs(3600);

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_764_671_400 + second)
}

struct Store {
    _dir: tempfile::TempDir,
    _data: DataDir,
    conn: Connection,
    applier: Applier,
    watch: WatchId,
    resume: Resume,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::open(dir)
    }

    fn open(dir: tempfile::TempDir) -> Self {
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let mut applier = Applier::default();
        let (watch, resume) = applier
            .watches
            .register(&conn, "cluster", "Event", "")
            .unwrap();
        Self {
            _dir: dir,
            _data: data,
            conn,
            applier,
            watch,
            resume,
        }
    }

    fn restart(self) -> Self {
        let Self {
            _dir, _data, conn, ..
        } = self;
        drop(conn);
        drop(_data);
        Self::open(_dir)
    }

    fn commit(&mut self, items: &[Item]) {
        self.commit_with(items, &[]);
    }

    fn commit_with(&mut self, items: &[Item], drops: &[DroppedItems]) {
        let now = at(5_000);
        let tx = self.conn.unchecked_transaction().unwrap();
        self.applier.dropped(&tx, drops, now).unwrap();
        self.applier.apply(&tx, items, now).unwrap();
        self.applier.finish(&tx).unwrap();
        tx.commit().unwrap();
        self.applier.committed();
    }

    fn next_listing(&mut self) -> i64 {
        self.applier.watches.get(self.watch).list_generation + 1
    }

    fn seen(
        &self,
        origin: Origin,
        uid: &str,
        version: u64,
        count: i64,
        first: i64,
        last: i64,
    ) -> Item {
        Item::Event {
            watch: self.watch,
            origin,
            received: at(last),
            row: Box::new(sanitize(event(uid, version, count, at(first), at(last)))),
        }
    }

    fn marker(&self, marker: SourceMarker) -> Item {
        Item::Marker {
            watch: self.watch,
            marker,
        }
    }

    fn list(&mut self, cause: RelistCause, version: &str, time: i64, items: Vec<Item>) {
        let list_generation = self.next_listing();
        let mut all = vec![self.marker(SourceMarker::Init {
            list_generation,
            cause,
            at: at(time),
        })];
        let listed = items.len() as u64;
        all.extend(items);
        all.push(self.marker(SourceMarker::InitDone {
            list_generation,
            at: at(time),
            version: version.into(),
            server_time: at(time),
            listed,
            oldest_change: None,
            event_ttl: HOUR,
        }));
        self.commit(&all);
    }

    fn text(&self, sql: &str) -> String {
        let mut statement = self.conn.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement
            .query_map([], |row| {
                (0..columns)
                    .map(|i| {
                        row.get::<_, rusqlite::types::Value>(i)
                            .map(|value| match value {
                                rusqlite::types::Value::Null => "-".to_owned(),
                                rusqlite::types::Value::Integer(n) => n.to_string(),
                                rusqlite::types::Value::Real(n) => n.to_string(),
                                rusqlite::types::Value::Text(t) => t,
                                rusqlite::types::Value::Blob(b) => format!("{b:?}"),
                            })
                    })
                    .collect::<Result<Vec<_>, _>>()
                    .map(|cells| cells.join("|"))
            })
            .unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap().join("\n")
    }

    fn position(&self) -> String {
        self.text("SELECT position, relisting FROM watch_state")
    }

    /// The counters agree with the rows, and every row is readable through the contract.
    fn check_invariants(&self) {
        assert_eq!(self.text(schema::ROW_COUNTS_MISMATCH), "");
        assert_eq!(self.text("SELECT count(*) FROM events WHERE description IS NULL OR title IS NULL OR metadata IS NULL"), "0");
        assert_eq!(self.text("PRAGMA integrity_check"), "ok");
    }
}

fn event(uid: &str, version: u64, count: i64, first: Timestamp, last: Timestamp) -> Record {
    Record {
        event_type: EventType::Cluster,
        severity: Severity::Error,
        title: "Container crash loop".into(),
        description: "Back-off 5m0s restarting failed container app in pod nginx-1_default".into(),
        object: Some(ObjectRef {
            kind: "Pod".into(),
            namespace: "default".into(),
            name: "nginx-1".into(),
        }),
        api_group: String::new(),
        owner: None,
        reason: "BackOff".into(),
        component: "kubelet".into(),
        container: "app".into(),
        kube_type: "Warning".into(),
        node: Some("node-1".into()),
        extra: Map::new(),
        occurred: Occurred::Observed(Observation {
            uid: Uid::new(uid),
            version: ResourceVersion::new(&version.to_string()),
            count,
            first,
            last,
        }),
    }
}

const UID: &str = "6a1e7a52-0000-4000-8000-000000000001";
const OTHER: &str = "6a1e7a52-0000-4000-8000-000000000002";

#[test]
fn event_row_is_readable_through_contract_view() {
    let mut store = Store::new();
    store.commit(&[store.seen(Origin::Watch, UID, 10, 3, 0, 65)]);
    assert_eq!(
        store.text("SELECT event_type, severity, title, description, object_kind, object_namespace, object_name, created_at FROM events"),
        "cluster|error|Container crash loop|Back-off 5m0s restarting failed container app in pod nginx-1_default|Pod|default|nginx-1|2025-12-02T10:30:00.000Z"
    );
    assert_eq!(
        store.text("SELECT metadata FROM events"),
        format!(
            r#"{{"reason":"BackOff","count":3,"first_timestamp":"2025-12-02T10:30:00.000Z","last_timestamp":"2025-12-02T10:31:05.000Z","uid":"{UID}","occurrences":3,"type":"Warning","reporting_component":"kubelet","container":"app","node":"node-1"}}"#
        )
    );
    assert!(
        store
            .text("SELECT id FROM events")
            .starts_with("evt_20251202_103000_")
    );
    store.check_invariants();
}

/// The first Event of a pod often comes before the pod itself is seen; the pods of a deleted Job keep their owner.
#[test]
fn owner_learned_later_is_stored_and_kept() {
    let mut store = Store::new();
    let seen = |store: &Store, uid: &str, version: u64, owner: Option<&str>| {
        let at = at(version as i64);
        let record = Record {
            owner: owner.map(|name| ObjectRef {
                kind: "Deployment".into(),
                namespace: "default".into(),
                name: name.into(),
            }),
            ..event(uid, version, 1, at, at)
        };
        Item::Event {
            watch: store.watch,
            origin: Origin::Watch,
            received: at,
            row: Box::new(sanitize(record)),
        }
    };
    let owners = "SELECT group_concat(coalesce(metadata ->> 'owner', '-'), ' ') FROM events";
    store.commit(&[seen(&store, UID, 10, None)]);
    assert_eq!(store.text(owners), "-");
    store.commit(&[seen(&store, OTHER, 11, Some("nginx"))]);
    assert_eq!(store.text(owners), "Deployment/nginx Deployment/nginx");
    store.commit(&[seen(
        &store,
        "6a1e7a52-0000-4000-8000-000000000003",
        12,
        None,
    )]);
    let mut store = store.restart();
    store.commit(&[seen(
        &store,
        "6a1e7a52-0000-4000-8000-000000000004",
        13,
        None,
    )]);
    assert_eq!(store.text(owners), ["Deployment/nginx"; 4].join(" "));
    store.check_invariants();
}

#[test]
fn position_advances_with_rows_and_survives_restart() {
    let mut store = Store::new();
    assert_eq!(store.resume, Resume::List(RelistCause::FirstStart));
    let first = store.seen(Origin::List, UID, 10, 1, 0, 0);
    store.list(RelistCause::FirstStart, "12", 1, vec![first]);
    assert_eq!(store.position(), "12|0");
    store.commit(&[store.seen(Origin::Watch, OTHER, 15, 1, 2, 2)]);
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::Watch("15".into()));
    // The same items again change nothing.
    store.commit(&[
        store.seen(Origin::Watch, OTHER, 15, 1, 2, 2),
        store.seen(Origin::Watch, UID, 10, 1, 0, 0),
    ]);
    assert_eq!(store.applier.outcomes.events.duplicate, 2);
    assert_eq!(store.position(), "15|0");
    assert_eq!(
        store.text("SELECT count(*), sum(occurrences) FROM event"),
        "2|2"
    );
    assert_eq!(
        store.text("SELECT count(*) FROM event WHERE type = 5"),
        "0",
        "no gap was there"
    );
    store.check_invariants();
}

#[test]
fn filtered_and_deleted_items_advance_position() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "5", 0, vec![]);
    store.commit(&[store.seen(Origin::Watch, UID, 10, 1, 0, 0)]);
    for (version, why) in [
        ("11", UnstoredReason::Filtered(0)),
        ("12", UnstoredReason::Deleted),
        ("13", UnstoredReason::Skipped(Stage::Decode, "bad".into())),
    ] {
        store.commit(&[Item::Unstored {
            watch: store.watch,
            origin: Origin::Watch,
            received: at(1),
            uid: UID.into(),
            version: version.into(),
            why,
        }]);
        assert_eq!(store.position(), format!("{version}|0"));
    }
    assert_eq!(
        store.text("SELECT count(*) FROM event WHERE type = 0"),
        "1",
        "a deletion deletes no history"
    );
    assert_eq!(
        store.text("SELECT title FROM events WHERE event_type = 'system'"),
        "Event skipped"
    );
    store.check_invariants();
}

#[test]
fn expired_position_leaves_gap_with_known_losses() {
    let mut store = Store::new();
    let items = vec![
        store.seen(Origin::List, UID, 10, 1, 0, 0),
        store.seen(Origin::List, OTHER, 11, 1, 0, 0),
    ];
    store.list(RelistCause::FirstStart, "12", 10, items);
    // UID was repeated during the outage; OTHER was deleted before its TTL: partial.
    let items = vec![store.seen(Origin::List, UID, 40, 5, 0, 100)];
    store.list(RelistCause::Expired, "50", 200, items);
    assert_eq!(store.applier.outcomes.gaps_closed, [Recovery::Partial]);
    let gap = store.text(
        "SELECT severity, title, created_at, metadata FROM events WHERE event_type = 'system'",
    );
    assert!(
        gap.starts_with("warning|Recording gap|2025-12-02T10:30:10.000Z|"),
        "{gap}"
    );
    for part in [
        r#""cause":"expired""#,
        r#""from":"2025-12-02T10:30:10.000Z""#,
        r#""to":"2025-12-02T10:33:20.000Z""#,
        r#""recovery":"partial""#,
        r#""listed":1"#,
        r#""recovered":1"#,
        r#""missing":1"#,
        r#""repeats_without_times":3"#,
    ] {
        assert!(gap.contains(part), "{part} in {gap}");
    }
    assert_eq!(
        store.text("SELECT uid FROM dedup").lines().count(),
        1,
        "what is not listed is forgotten"
    );
    assert_eq!(store.position(), "50|0");
    store.check_invariants();
}

#[test]
fn list_interrupted_by_restart_starts_again_in_same_gap() {
    let mut store = Store::new();
    let first = store.seen(Origin::List, UID, 10, 1, 0, 0);
    store.list(RelistCause::FirstStart, "12", 10, vec![first]);
    let list_generation = store.next_listing();
    store.commit(&[
        store.marker(SourceMarker::Init {
            list_generation,
            cause: RelistCause::Expired,
            at: at(100),
        }),
        store.seen(Origin::List, OTHER, 60, 1, 90, 90),
    ]);
    assert_eq!(
        store.position(),
        "12|1",
        "the old position stays until the list is complete"
    );
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::List(RelistCause::Interrupted));
    let items = vec![
        store.seen(Origin::List, UID, 10, 1, 0, 0),
        store.seen(Origin::List, OTHER, 60, 1, 90, 90),
    ];
    store.list(RelistCause::Interrupted, "61", 120, items);
    assert_eq!(
        store.text("SELECT count(*) FROM event WHERE type = 5"),
        "1",
        "one gap, not two"
    );
    assert!(
        store
            .text("SELECT metadata FROM events WHERE event_type = 'system'")
            .contains(r#""recovery":"complete""#)
    );
    assert_eq!(store.text("SELECT count(*) FROM event WHERE type = 0"), "2");
    store.check_invariants();
}

#[test]
fn dropped_items_stay_unrecovered_until_listed_again() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "5", 0, vec![]);
    let drops = [DroppedItems {
        watch: Some(store.watch),
        list_generation: 1,
        since: at(20),
        items: 2,
        known: vec![(UID.into(), "10".into()), (OTHER.into(), "11".into())],
    }];
    // A later item overtakes the dropped ones: the dropped range is in the same transaction.
    let later = store.seen(Origin::Watch, "third", 12, 1, 21, 21);
    store.commit_with(&[later], &drops);
    assert_eq!(store.position(), "12|0");
    assert_eq!(store.applier.outcomes.overflowed, [store.watch]);
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::List(RelistCause::QueueOverflow));
    // One of the two is back, in a later version; the other was deleted meanwhile.
    let items = vec![
        store.seen(Origin::List, UID, 13, 2, 15, 22),
        store.seen(Origin::List, "third", 12, 1, 21, 21),
    ];
    store.list(RelistCause::QueueOverflow, "20", 30, items);
    assert_eq!(store.text("SELECT count(*) FROM dropped_range"), "0");
    let gap = store.text("SELECT metadata FROM events WHERE event_type = 'system'");
    assert!(
        gap.contains(r#""recovery":"partial""#) && gap.contains(r#""missing":1"#),
        "{gap}"
    );
    store.check_invariants();
}

#[test]
fn list_whose_items_were_dropped_closes_no_gap_and_forgets_no_event() {
    let mut store = Store::new();
    let known = store.seen(Origin::List, UID, 10, 3, 0, 0);
    store.list(RelistCause::FirstStart, "12", 10, vec![known]);
    // The next list shows UID again, but the full queue drops it on the way.
    let drops = [DroppedItems {
        watch: Some(store.watch),
        list_generation: 2,
        since: at(20),
        items: 1,
        known: vec![(UID.into(), "10".into())],
    }];
    store.commit_with(&[], &drops);
    let new = store.seen(Origin::List, OTHER, 15, 1, 15, 15);
    store.list(RelistCause::Expired, "20", 30, vec![new]);
    assert_eq!(store.position(), "12|1", "the list is not complete");
    assert_eq!(store.text("SELECT count(*) FROM dropped_range"), "1");
    assert_eq!(
        store.text("SELECT count(*) FROM dedup"),
        "2",
        "an Event missing because it was dropped is kept"
    );
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::List(RelistCause::QueueOverflow));
    let items = vec![
        store.seen(Origin::List, UID, 10, 3, 0, 0),
        store.seen(Origin::List, OTHER, 15, 1, 15, 15),
    ];
    store.list(RelistCause::QueueOverflow, "21", 40, items);
    assert_eq!(store.position(), "21|0");
    assert_eq!(
        store.text("SELECT sum(occurrences) FROM event WHERE type = 0"),
        "4",
        "nothing is doubled"
    );
    assert_eq!(
        store.text("SELECT count(*) FROM event WHERE type = 5"),
        "1",
        "one gap"
    );
    assert_eq!(store.text("SELECT count(*) FROM dropped_range"), "0");
    store.check_invariants();
}

#[test]
fn position_stays_unset_until_list_started_in_this_database() {
    let mut store = Store::new();
    // As after corruption: the batch of the old database is written again into the new one.
    let done = store.marker(SourceMarker::InitDone {
        list_generation: 7,
        at: at(5),
        version: "50".into(),
        server_time: at(5),
        listed: 0,
        oldest_change: None,
        event_ttl: HOUR,
    });
    let proven = store.marker(SourceMarker::Confirmed {
        version: "52".into(),
        at: at(6),
    });
    store.commit(&[done, store.seen(Origin::Watch, UID, 51, 1, 0, 0), proven]);
    assert_eq!(store.position(), "-|0");
    assert_eq!(
        store.restart().resume,
        Resume::List(RelistCause::FirstStart),
        "what the API server still holds is listed"
    );
}

#[test]
fn restarted_first_list_leaves_gap_from_first_attempt() {
    let mut store = Store::new();
    store.commit(&[store.marker(SourceMarker::Init {
        list_generation: 1,
        cause: RelistCause::FirstStart,
        at: at(10),
    })]);
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::List(RelistCause::FirstStart));
    store.list(RelistCause::FirstStart, "9", 60, vec![]);
    let gap = store.text("SELECT metadata FROM events WHERE event_type = 'system'");
    for part in [
        r#""cause":"first_start""#,
        r#""from":"2025-12-02T10:30:10.000Z""#,
        r#""to":"2025-12-02T10:31:00.000Z""#,
    ] {
        assert!(gap.contains(part), "{part} in {gap}");
    }
    store.check_invariants();
}

#[test]
fn gap_after_delayed_deletion_begins_at_last_confirmation() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "5", 10, vec![]);
    // Received long after it happened, right before the watch failed.
    store.commit(&[Item::Unstored {
        watch: store.watch,
        origin: Origin::Watch,
        received: at(500),
        uid: UID.into(),
        version: "6".into(),
        why: UnstoredReason::Deleted,
    }]);
    store.list(RelistCause::Expired, "9", 501, vec![]);
    let gap = store.text("SELECT metadata FROM events WHERE event_type = 'system'");
    assert!(
        gap.contains(r#""from":"2025-12-02T10:30:10.000Z""#),
        "{gap}"
    );
}

#[test]
fn dropped_recorder_rows_leave_permanent_gap() {
    let mut store = Store::new();
    store.commit_with(
        &[],
        &[DroppedItems {
            watch: None,
            list_generation: 0,
            since: at(20),
            items: 7,
            known: vec![],
        }],
    );
    assert_eq!(
        store.text("SELECT severity, title FROM events"),
        "error|Recording gap"
    );
    store.check_invariants();
}

#[test]
fn history_regression_discards_position_without_duplicates() {
    let mut store = Store::new();
    let item = store.seen(Origin::List, UID, 1000, 4, 0, 60);
    store.list(RelistCause::FirstStart, "2000", 100, vec![item]);
    let regressed = store.marker(SourceMarker::Regressed {
        version: "50".into(),
        at: at(200),
        is_first: true,
    });
    let list_generation = store.next_listing();
    store.commit(&[
        store.marker(SourceMarker::Init {
            list_generation,
            cause: RelistCause::Expired,
            at: at(200),
        }),
        regressed,
    ]);
    // The restored etcd holds the same Event under an older version and count.
    let items = vec![store.seen(Origin::List, UID, 40, 3, 0, 50)];
    store.list(RelistCause::Regressed, "50", 201, items);
    assert_eq!(store.position(), "50|0");
    assert_eq!(store.text("SELECT count(*) FROM event WHERE type = 0"), "1");
    assert_eq!(
        store.text("SELECT severity, title FROM events WHERE title LIKE 'API%'"),
        "critical|API server history went back"
    );
    store.check_invariants();
}

#[test]
fn restart_after_history_regression_leaves_gap() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "2000", 100, vec![]);
    store.commit(&[store.marker(SourceMarker::Regressed {
        version: "50".into(),
        at: at(200),
        is_first: true,
    })]);
    let mut store = store.restart();
    assert_eq!(store.resume, Resume::List(RelistCause::Interrupted));
    store.list(RelistCause::Interrupted, "60", 300, vec![]);
    assert_eq!(
        store.text("SELECT metadata ->> 'from' FROM events WHERE title = 'Recording gap'"),
        at(100).to_string()
    );
}

#[test]
fn changed_text_keeps_first_text_in_metadata() {
    let mut store = Store::new();
    let mut record = event(UID, 10, 1, at(0), at(0));
    store.commit(&[store.seen(Origin::Watch, UID, 10, 1, 0, 0)]);
    record.description =
        "Back-off 10s restarting failed container app in pod nginx-1_default".into();
    record.occurred = Occurred::Observed(Observation {
        uid: Uid::new(UID),
        version: ResourceVersion::new("11"),
        count: 2,
        first: at(0),
        last: at(30),
    });
    let row = Box::new(sanitize(record));
    store.commit(&[Item::Event {
        watch: store.watch,
        origin: Origin::Watch,
        received: at(30),
        row,
    }]);
    let row = store.text("SELECT description, metadata FROM events");
    assert!(row.starts_with("Back-off 10s restarting"), "{row}");
    assert!(
        row.contains(r#""first_description":"Back-off 5m0s restarting"#),
        "{row}"
    );
    store.check_invariants();
}

/// Found by the soak: a size limit that keeps rows for less than the Event TTL deletes rows of existing Events.
#[test]
fn repeat_is_not_folded_into_row_that_reused_its_key() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "10", 10, Vec::new());
    let seen = store.seen(Origin::Watch, "a", 11, 1, 100, 100);
    store.commit(&[seen]);
    // Retention deletes the row, and another Event's row reuses its key.
    let other = store.seen(Origin::Watch, "b", 12, 1, 100, 100);
    store.commit(&[other]);
    let [a, b]: [String; 2] = store
        .text("SELECT event FROM dedup ORDER BY resource_version")
        .split('\n')
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    store
        .conn
        .execute_batch(&format!(
            "DELETE FROM event WHERE key = {a}; UPDATE event SET key = {a} WHERE key = {b}; \
             UPDATE dedup SET event = {a};"
        ))
        .unwrap();
    let repeat = store.seen(Origin::Watch, "a", 13, 3, 100, 110);
    store.commit(&[repeat]);
    let rows = "SELECT json_extract(metadata, '$.uid'), json_extract(metadata, '$.count'), \
                json_extract(metadata, '$.occurrences'), json_extract(metadata, '$.occurrences_before') FROM events \
                WHERE event_type = 'cluster' ORDER BY id";
    let mut found: Vec<String> = store.text(rows).split('\n').map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["a|3|2|1", "b|1|1|-"]);
}

#[test]
fn rollback_discards_cached_state_of_transaction() {
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, "5", 0, vec![]);
    let item = store.seen(Origin::Watch, UID, 10, 1, 0, 0);
    {
        let tx = store.conn.unchecked_transaction().unwrap();
        store
            .applier
            .apply(&tx, std::slice::from_ref(&item), at(1))
            .unwrap();
        store.applier.finish(&tx).unwrap();
        tx.rollback().unwrap();
    }
    store.applier.rolled_back();
    assert_eq!(store.position(), "5|0");
    // The rolled-back position must not be written by the next transaction.
    store.commit(&[]);
    assert_eq!(store.position(), "5|0");
    store.commit(&[item]);
    assert_eq!(store.position(), "10|0");
    assert_eq!(store.text("SELECT count(*) FROM event WHERE type = 0"), "1");
    store.check_invariants();
}

#[test]
fn read_only_client_sees_every_commit() {
    let mut store = Store::new();
    let path = store._data.database();
    let reader = open_read_only(&path);
    for n in 1..=3 {
        store.commit(&[store.seen(Origin::Watch, &format!("uid-{n}"), n, 1, 0, 0)]);
        let rows: u64 = reader
            .query_row("SELECT count(*) FROM events", [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap() as u64;
        assert_eq!(rows, n);
    }
}

fn open_read_only(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// With a full disk the writer retries the same transaction for hours.
#[test]
fn retried_transaction_counts_skipped_events_once() {
    let mut store = Store::new();
    let skipped = |n: i64, second: i64| Item::Unstored {
        watch: store.watch,
        origin: Origin::Watch,
        received: at(second),
        uid: format!("uid-{n}"),
        version: n.to_string(),
        why: UnstoredReason::Skipped(Stage::Decode, "bad".into()),
    };
    // One more per minute than get a row.
    let items: Vec<Item> = (0..61).map(|n| skipped(n, 0)).collect();
    let next = skipped(61, 60);
    for _ in 0..3 {
        let tx = store.conn.unchecked_transaction().unwrap();
        store.applier.apply(&tx, &items, at(0)).unwrap();
        drop(tx); // rolls back
        store.applier.rolled_back();
    }
    store.commit(&items);
    store.commit(&[next]);
    let (rows, without): (i64, i64) = store
        .conn
        .query_row(
            "SELECT count(*), sum(json_extract(metadata, '$.skipped_without_row')) FROM events \
             WHERE title = 'Event skipped'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((rows, without), (61, 1));
}

#[test]
fn gap_after_expired_position_begins_at_last_confirmation() {
    let mut store = Store::new();
    let ahead = 10_000;
    let done = |list_generation, version: &str, time: i64, server: i64| SourceMarker::InitDone {
        list_generation,
        at: at(time),
        version: version.into(),
        server_time: at(server),
        listed: 0,
        oldest_change: None,
        event_ttl: HOUR,
    };
    let begun = |list_generation, cause, time| SourceMarker::Init {
        list_generation,
        cause,
        at: at(time),
    };
    // The recorder's clock is ahead during the first list, and correct when the position has expired.
    store.commit(&[
        store.marker(begun(1, RelistCause::FirstStart, ahead)),
        store.marker(done(1, "10", ahead, 0)),
    ]);
    store.commit(&[
        store.marker(begun(2, RelistCause::Expired, 600)),
        store.marker(done(2, "20", 600, 600)),
    ]);
    assert_eq!(
        store.text("SELECT metadata ->> 'from', metadata ->> 'to' FROM events"),
        format!("{}|{}", at(0), at(600))
    );
}
