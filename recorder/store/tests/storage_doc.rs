//! Every SQL example of docs/storage.md runs on a database of the recorder with plain SQLite, and returns rows.

use std::sync::Arc;

use kube9_ingest::body::MarkKey;
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Observation, Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::apply::Applier;
use kube9_store::import::{Counts, import_record};
use kube9_store::open::DataDir;
use kube9_store::rows::{ImportOutcome, Imported};
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde_json::Map;

const NOW: Timestamp = Timestamp::from_secs(1_764_671_400);

#[test]
fn storage_page_examples_return_rows() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::lock(dir.path()).unwrap();
    let conn = data.open().unwrap().conn;
    let mut applier = Applier::default();
    let (watch, _) = applier.watches.register(&conn, "c", "Event", "").unwrap();
    let record = |event_type, title: &str| Record {
        event_type,
        severity: Severity::Warning,
        title: title.into(),
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
        occurred: Occurred::At(NOW),
    };
    let seen = Record {
        occurred: Occurred::Observed(Observation {
            uid: Uid::new("6a1e7a52-0000-4000-8000-000000000001"),
            version: ResourceVersion::new("7"),
            count: 3,
            first: NOW,
            last: NOW,
        }),
        ..record(EventType::Cluster, "Container crash loop")
    };
    let items = [
        Item::Event {
            watch,
            origin: Origin::Watch,
            received: NOW,
            row: Box::new(sanitize(seen)),
        },
        Item::Row(Box::new(sanitize(record(
            EventType::System,
            "Old rows deleted",
        )))),
        Item::Row(Box::new(import_record(
            "old.db",
            &Counts::default(),
            None,
            NOW,
        ))),
        Item::Marker {
            watch,
            marker: SourceMarker::Init {
                cause: RelistCause::Expired,
                list_generation: 1,
                at: NOW,
            },
        },
    ];
    let (objects, _) = applier
        .watches
        .register(&conn, "c", "ConfigMap", "")
        .unwrap();
    let kind = TrackedKind::find(BUILT_IN.iter(), "cm").unwrap();
    let kind = Arc::new(kind.clone());
    let mut tracker = Tracker::new(kind.clone(), MarkKey::new(&[1; 32]));
    let json = r#"{"metadata": {"name": "settings", "namespace": "default", "uid": "u", "resourceVersion": "8"}, "data": {"a": "1"}}"#;
    let reading = tracker.applied(json, Origin::Live, NOW).unwrap();
    let tracked = Item::Tracked {
        watch: objects,
        kind,
        event: tracker.emit(reading),
    };
    let tx = conn.unchecked_transaction().unwrap();
    applier.apply(&tx, &items, NOW).unwrap();
    applier.apply(&tx, &[tracked], NOW).unwrap();
    let imported = Imported {
        id: "evt_20251202_103045_a7f3b9".to_owned(),
        created_at: "2025-12-02T10:30:45.123Z".to_owned(),
        metadata: None,
    };
    let created = Timestamp::parse(&imported.created_at).unwrap();
    let row = sanitize(record(EventType::Cluster, "Container crash loop"));
    let taken = applier
        .rows
        .insert_imported(&tx, &row, created, created, &imported)
        .unwrap();
    assert_eq!(taken, ImportOutcome::Stored);
    applier.finish(&tx).unwrap();
    tx.commit().unwrap();

    let client =
        Connection::open_with_flags(data.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let page = include_str!("../../../docs/storage.md");
    let examples: Vec<&str> = page
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 9, "{} examples found", examples.len());
    for sql in examples {
        let mut statement = client
            .prepare(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let (of_revision, of_object) = ([1_i64 << 24 | 1], [1, NOW.millis()]);
        let parameters = match statement.parameter_count() {
            2 => &of_object[..],
            count => &of_revision[..count],
        };
        let mut rows = statement.query(params_from_iter(parameters)).unwrap();
        assert!(rows.next().unwrap().is_some(), "finds nothing: {sql}");
        while rows.next().unwrap().is_some() {}
    }
}
