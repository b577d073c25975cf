//! The change history, from a watch of a simulated API server to rows and revisions.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use kube9_db::read::Reader;
use kube9_model::time::Timestamp;
use kube9_store::purge::{self, PurgeRequest, Purged};
use kube9_tests::apiserver::{Fault, Kind, On, Outcome, Request, Verb};
use kube9_tests::clock::Micros;
use serde_json::{Value, json};

use crate::faults::harness::{Harness, event};

/// The statement that docs/storage.md prints for the body of a revision: nothing but SQLite.
fn documented_rebuild() -> String {
    let page = include_str!("../../docs/storage.md");
    let (_, sql) = page.split_once("-- rebuild\n").unwrap();
    sql.split_once("```").unwrap().0.trim().to_owned()
}

pub(crate) fn entry(manager: &str, fields: &Value) -> Value {
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": Micros::now().seconds_text().to_string(), "fieldsV1": fields,
    })
}

impl Harness {
    /// Waits until every kind that the server has is listed.
    #[track_caller]
    pub(crate) fn wait_tracked(&self, objects: i64) {
        self.wait("objects are tracked", || {
            self.setup
                .number("SELECT count(*) FROM tracked_object WHERE deleted_ms IS NULL")
                == Some(objects)
        });
    }

    /// Metadata of the rows of changes, in order.
    pub(crate) fn changes(&self) -> Vec<Value> {
        self.setup
            .column(
                "SELECT json_set(metadata, '$.title', title, '$.description', description) FROM event_detail \
                 WHERE metadata ->> 'op' IS NOT NULL ORDER BY key",
            )
            .unwrap_or_default()
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    pub(crate) fn bodies(&self) -> Vec<Value> {
        let ids = self
            .setup
            .column("SELECT CAST(id AS TEXT) FROM revision ORDER BY id")
            .unwrap_or_default();
        ids.iter()
            .map(|id| {
                let sql = documented_rebuild();
                let sql = sql.trim_end_matches(';').replace("?1", id);
                let body = self
                    .setup
                    .column(&format!("SELECT ifnull(body, 'null') FROM ({sql})"));
                serde_json::from_str(&body.unwrap()[0]).unwrap()
            })
            .collect()
    }
}

#[test]
fn documented_statement_is_that_of_the_reader() {
    assert_eq!(documented_rebuild(), kube9_db::read::revision::REBUILD);
}

#[test]
fn namespace_that_floods_the_change_history_is_named_also_after_a_restart() {
    let harness = Harness::new();
    let store = harness.server.store();
    let map = |namespace: &str, n: usize| {
        json!({
            "metadata": {"name": "one", "namespace": namespace, "labels": {format!("label-{n}"): "x"}},
            "data": {},
        })
    };
    for namespace in ["flood", "shop"] {
        store.create(Kind::ConfigMap, map(namespace, 0)).unwrap();
    }
    let recorder = harness.start();
    harness.wait_tracked(2);
    // A change of an hour that begins meanwhile counts for a budget of its own.
    let writes = 500;
    for n in 1..=writes {
        store.apply(Kind::ConfigMap, map("flood", n)).unwrap();
    }
    store.apply(Kind::ConfigMap, map("shop", 1)).unwrap();
    let states = "SELECT count(*) + sum(ifnull(left_out, 0)) FROM revision";
    harness.wait("all is recorded", || {
        harness.setup.number(states) == Some(writes as i64 + 3)
    });
    recorder.stop().unwrap();
    let named = || {
        let sql = "SELECT detail -> '$.tracking.folded' FROM recorder_status";
        serde_json::from_str::<Vec<Value>>(&harness.setup.column(sql).unwrap()[0]).unwrap()
    };
    let before = named();
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0]["namespace"], "flood");
    assert!(
        before[0]["object_budget"].as_u64() >= Some(350),
        "{before:?}"
    );
    assert!(
        before[0]["revisions_left_out"].as_u64() >= Some(300),
        "{before:?}"
    );
    assert_eq!(before[0]["namespace_budget"], 0);
    harness.start().stop().unwrap();
    assert_eq!(named(), before);
}

#[test]
fn change_of_a_config_map_is_one_row_with_its_author_and_a_revision() {
    let harness = Harness::new();
    let store = harness.server.store();
    let config_map = |data: Value, fields: Value| {
        json!({
            "metadata": {
                "name": "settings", "namespace": "shop",
                "managedFields": [entry("kubectl-create", &fields)],
            },
            "data": data,
        })
    };
    let own = json!({"f:data": {".": {}, "f:LEVEL": {}, "f:OTHER": {}}});
    store
        .create(
            Kind::ConfigMap,
            config_map(json!({"LEVEL": "info", "OTHER": "x"}), own),
        )
        .unwrap();
    let recorder = harness.start();
    harness.wait_tracked(1);
    assert!(harness.changes().is_empty(), "{:?}", harness.changes());
    store
        .modify(Kind::ConfigMap, "shop", "settings", |map| {
            map["data"]["LEVEL"] = json!("debug");
            let fields = json!({"f:data": {"f:LEVEL": {}}});
            map["metadata"]["managedFields"][0]["fieldsV1"] =
                json!({"f:data": {".": {}, "f:OTHER": {}}});
            map["metadata"]["managedFields"]
                .as_array_mut()
                .unwrap()
                .push(entry("kubectl-edit", &fields));
        })
        .unwrap();
    harness.wait("the change is a row", || !harness.changes().is_empty());
    let changes = harness.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!(change["reason"], "ConfigMapChanged");
    let field = &change["fields"][0];
    assert_eq!(field["path"], "data.LEVEL");
    assert_eq!(field["op"], "changed");
    // Values are hidden, and differ.
    let mark = |name: &str| field[name].as_str().unwrap().to_owned();
    assert!(
        mark("from").starts_with('#') && mark("to").starts_with('#'),
        "{field}"
    );
    assert_ne!(mark("from"), mark("to"));
    assert_eq!(change["by"][0]["manager"], "kubectl-edit", "{change}");
    assert_eq!(change["by"][0]["certainty"], "field");

    // A write that changes nothing.
    store
        .modify(Kind::ConfigMap, "shop", "settings", |map| {
            map["metadata"]["generation"] = json!(7);
        })
        .unwrap();
    store.delete(Kind::ConfigMap, "shop", "settings").unwrap();
    harness.wait("the deletion is a row", || harness.changes().len() == 2);
    let deletion = &harness.changes()[1];
    assert_eq!(deletion["reason"], "ConfigMapDeleted");
    assert_eq!(deletion["cause"]["kind"], "request");
    harness.wait("both are counted", || {
        let of_kind = |kind: &str, count: f64| {
            let series = format!("kube9_changes_total{{kind=\"{kind}\"}}");
            harness.setup.metrics().contains(&(series, count))
        };
        of_kind("ConfigMap", 2.0) && of_kind("Node", 0.0)
    });
    let bodies = harness.bodies();
    assert_eq!(bodies.len(), 3, "{bodies:?}");
    assert_ne!(bodies[0]["data"]["LEVEL"], bodies[1]["data"]["LEVEL"]);
    assert_eq!(bodies[0]["data"]["OTHER"], bodies[1]["data"]["OTHER"]);
    assert_eq!(bodies[2], Value::Null);
    recorder.stop().unwrap();
}

#[test]
fn change_while_the_recorder_was_down_is_recorded_once() {
    let harness = Harness::new();
    let store = harness.server.store();
    let map =
        |name: &str| json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
    store.create(Kind::ConfigMap, map("one")).unwrap();
    store.create(Kind::ConfigMap, map("two")).unwrap();
    let recorder = harness.start();
    harness.wait_tracked(2);
    recorder.stop().unwrap();
    store
        .modify(Kind::ConfigMap, "shop", "one", |map| {
            map["data"]["a"] = json!("2")
        })
        .unwrap();
    store.create(Kind::ConfigMap, map("three")).unwrap();
    store.delete(Kind::ConfigMap, "shop", "two").unwrap();
    let recorder = harness.start();
    harness.wait("three changes", || harness.changes().len() == 3);
    let reasons: Vec<Value> = harness
        .changes()
        .iter()
        .map(|c| c["reason"].clone())
        .collect();
    for reason in ["ConfigMapChanged", "ConfigMapCreated", "ConfigMapDeleted"] {
        assert_eq!(
            reasons.iter().filter(|r| *r == reason).count(),
            1,
            "{reasons:?}"
        );
    }
    recorder.stop().unwrap();
}

/// Metadata of a label's fields, owned by a manager that wrote now.
pub(crate) fn labelled(object: &mut Value, value: usize) {
    object["metadata"]["labels"]["n"] = json!(value.to_string());
    let fields = json!({"f:metadata": {"f:labels": {"f:n": {}}}});
    object["metadata"]["managedFields"] = json!([entry("kubectl-label", &fields)]);
}

/// The watch cache of an API server that restarted is empty, but etcd has the history.
#[test]
fn each_change_during_a_restart_of_the_api_server_is_a_row() {
    let harness = Harness::new();
    let store = harness.server.store();
    for name in ["one", "two"] {
        let map = json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
        store.create(Kind::ConfigMap, map).unwrap();
    }
    // Of this kind only the change history knows.
    let namespace = json!({"metadata": {"name": "shop"}});
    store.create(Kind::Namespace, namespace).unwrap();
    let recorder = harness.start();
    let objects = 3 + i64::from(store.get(Kind::Namespace, "", "kube-system").is_some());
    harness.wait_tracked(objects);
    harness.server.stop();
    for n in 1..=4 {
        store
            .modify(Kind::ConfigMap, "shop", "one", |map| labelled(map, n))
            .unwrap();
        store
            .modify(Kind::Namespace, "", "shop", |shop| labelled(shop, n))
            .unwrap();
    }
    store
        .modify(Kind::ConfigMap, "shop", "two", |map| labelled(map, 1))
        .unwrap();
    harness.server.start_again();
    harness.wait("nine changes", || harness.changes().len() == 9);
    for change in harness.changes() {
        assert_eq!(change["by"][0]["manager"], "kubectl-label", "{change}");
        assert_eq!(change["observed_late"], true, "{change}");
    }
    // Each from the value before.
    let of_shop: Vec<(Value, Value)> = harness
        .changes()
        .iter()
        .filter(|change| change["title"] == "Labels of Namespace changed")
        .map(|change| {
            (
                change["fields"][0]["from"].clone(),
                change["fields"][0]["to"].clone(),
            )
        })
        .collect();
    let expected = [
        (Value::Null, json!("1")),
        (json!("1"), json!("2")),
        (json!("2"), json!("3")),
        (json!("3"), json!("4")),
    ];
    assert_eq!(of_shop, expected);
    recorder.stop().unwrap();
}

/// Whether kube9 knows the state of the only tracked object of a name now.
fn is_known_now(harness: &Harness, name: &str) -> bool {
    let database = harness.setup.folder.join("data/kube9.db");
    let reader = Reader::open(&database, Duration::from_secs(5)).unwrap();
    let sql = format!("SELECT id FROM tracked_object WHERE name = '{name}'");
    let object = harness.setup.number(&sql).unwrap();
    reader.states_at(object, Timestamp::now()).unwrap().is_exact
}

#[test]
fn state_is_unknown_after_a_restart_until_the_kind_has_caught_up() {
    let harness = Harness::new();
    let store = harness.server.store();
    let namespace = json!({"metadata": {"name": "shop"}});
    store.create(Kind::Namespace, namespace).unwrap();
    let recorder = harness.start();
    harness.wait("it is known", || {
        let sql = "SELECT count(*) FROM tracked_object WHERE name = 'shop'";
        harness.setup.number(sql) == Some(1) && is_known_now(&harness, "shop")
    });
    recorder.stop().unwrap();
    harness.server.stop();
    let started = "SELECT started_ms FROM recorder_status";
    let before = harness.setup.number(started);
    let recorder = harness.start();
    harness.wait("the recorder has started", || {
        harness.setup.number(started) != before
    });
    assert!(!is_known_now(&harness, "shop"));
    harness.server.start_again();
    store
        .modify(Kind::Namespace, "", "shop", |shop| labelled(shop, 1))
        .unwrap();
    harness.wait("it is known again", || is_known_now(&harness, "shop"));
    recorder.stop().unwrap();
}

#[test]
fn three_kinds_are_listed_at_a_time() {
    let harness = Harness::new();
    let faults = harness.server.faults();
    let delay = Fault::Delay(Duration::from_millis(150));
    faults.always(On::verb(Verb::List), delay);
    let recorder = harness.start();
    let (mut most, mut kinds) = (0, BTreeSet::new());
    let is_whole = |request: &Request| {
        let is_list = matches!(request.what, Some((Verb::List, kind)) if kind != Kind::Event);
        let is_check = request.target.contains("limit=1&") || request.target.ends_with("limit=1");
        is_list && !is_check
    };
    let lists = || {
        let requests = harness.server.requests().all();
        requests.into_iter().filter(is_whole).collect::<Vec<_>>()
    };
    harness.wait("many kinds are listed", || {
        let lists = lists();
        kinds.extend(lists.iter().map(|request| request.what));
        let open = |request: &&Request| request.outcome == Outcome::Open;
        most = most.max(lists.iter().filter(open).count());
        kinds.len() >= 5
    });
    assert_eq!(most, 3);
    faults.clear_all();
    recorder.stop().unwrap();
}

#[test]
fn kind_of_the_change_history_alone_resumes_without_a_list() {
    let harness = Harness::new();
    let store = harness.server.store();
    let namespace = json!({"metadata": {"name": "shop"}});
    store.create(Kind::Namespace, namespace).unwrap();
    let objects = 1 + i64::from(store.get(Kind::Namespace, "", "kube-system").is_some());
    let recorder = harness.start();
    harness.wait_tracked(objects);
    recorder.stop().unwrap();
    store
        .modify(Kind::Namespace, "", "shop", |shop| labelled(shop, 1))
        .unwrap();
    store
        .modify(Kind::Namespace, "", "shop", |shop| labelled(shop, 2))
        .unwrap();
    let mark = harness.server.requests().mark();
    let recorder = harness.start();
    harness.wait("two changes", || harness.changes().len() == 2);
    let lists = harness.server.requests().since(mark);
    let whole: Vec<_> = lists
        .iter()
        .filter(|request| request.what == Some((Verb::List, Kind::Namespace)))
        .filter(|request| {
            !request.target.contains("limit=1&") && !request.target.ends_with("limit=1")
        })
        .filter(|request| !request.target.contains("metadata.name"))
        .collect();
    assert!(whole.is_empty(), "{whole:?}");
    recorder.stop().unwrap();
}

#[test]
fn field_that_changes_again_and_again_has_few_rows() {
    let harness = Harness::new();
    let store = harness.server.store();
    let map = json!({"metadata": {"name": "status", "namespace": "shop"}, "data": {"a": "0"}});
    store.create(Kind::ConfigMap, map).unwrap();
    let recorder = harness.start();
    harness.wait_tracked(1);
    for n in 1..=40 {
        store
            .modify(Kind::ConfigMap, "shop", "status", |map| {
                map["data"]["a"] = json!(n.to_string())
            })
            .unwrap();
    }
    let total = |harness: &Harness| {
        let changes = harness.changes();
        let times = changes
            .iter()
            .map(|change| change["changes"].as_u64().unwrap_or(1));
        times.sum::<u64>()
    };
    harness.wait("forty changes", || total(&harness) == 40);
    assert_eq!(harness.changes().len(), 7);
    assert_eq!(harness.changes()[6]["fields"][0]["times"], 34);
    // The newest state is the last one.
    let bodies = harness.bodies();
    assert!(bodies.len() <= 9, "{}", bodies.len());
    let left_out = harness.setup.number("SELECT sum(left_out) FROM revision");
    assert_eq!(bodies.len() as i64 - 1 + left_out.unwrap(), 40);
    recorder.stop().unwrap();
}

#[test]
fn restored_history_is_known_by_an_object_and_compared_by_its_body() {
    let harness = Harness::new();
    let store = harness.server.store();
    let namespace = json!({"metadata": {"name": "shop", "labels": {"a": "old"}}});
    store.create(Kind::Namespace, namespace).unwrap();
    let backup = store.version();
    store
        .modify(Kind::Namespace, "", "shop", |shop| {
            shop["metadata"]["labels"]["a"] = json!("undone")
        })
        .unwrap();
    let objects = 1 + i64::from(store.get(Kind::Namespace, "", "kube-system").is_some());
    let recorder = harness.start();
    harness.wait_tracked(objects);
    recorder.stop().unwrap();
    harness.server.restore_backup(backup);
    // The new history is longer than the old one.
    for n in 0..20 {
        let event = event("shop", &format!("e{n}"), 1);
        store.create(Kind::Event, event).unwrap();
    }
    let recorder = harness.start();
    harness.wait("the difference is a row", || {
        harness
            .changes()
            .iter()
            .any(|change| change["fields"][0]["to"] == "old")
    });
    let changes = harness.changes();
    let change = changes
        .iter()
        .find(|change| change["fields"][0]["to"] == "old")
        .unwrap();
    assert_eq!(change["fields"][0]["from"], "undone");
    assert_eq!(change["by"], Value::Null, "{change}");
    recorder.stop().unwrap();
}

#[test]
fn deletion_that_waits_for_finalizers_is_a_row_of_its_own() {
    let harness = Harness::new();
    let store = harness.server.store();
    let map = json!({
        "metadata": {"name": "kept", "namespace": "shop", "finalizers": ["example.com/backup"]},
        "data": {"a": "1"},
    });
    store.create(Kind::ConfigMap, map).unwrap();
    let recorder = harness.start();
    harness.wait_tracked(1);
    store
        .modify(Kind::ConfigMap, "shop", "kept", |map| {
            map["metadata"]["deletionTimestamp"] = json!(Micros::now().seconds_text().to_string());
            map["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        })
        .unwrap();
    harness.wait("the deletion waits", || harness.changes().len() == 1);
    let change = &harness.changes()[0];
    assert_eq!(change["op"], "deleting", "{change}");
    assert_eq!(change["finalizers"], json!(["example.com/backup"]));
    store.delete(Kind::ConfigMap, "shop", "kept").unwrap();
    harness.wait("it is deleted", || harness.changes().len() == 2);
    assert_eq!(harness.changes()[1]["op"], "deleted");
    recorder.stop().unwrap();
}

#[test]
fn purge_of_a_field_erases_its_values_and_keeps_the_history() {
    let harness = Harness::new();
    let store = harness.server.store();
    let labels = json!({"stage": "planted-secret-0", "tier": "a"});
    let metadata = json!({"name": "settings", "namespace": "shop", "labels": labels});
    store
        .create(
            Kind::ConfigMap,
            json!({"metadata": metadata, "data": {"a": "1"}}),
        )
        .unwrap();
    let recorder = harness.start();
    harness.wait_tracked(1);
    let modify = |key: &str, value: Option<&str>| {
        store
            .modify(Kind::ConfigMap, "shop", "settings", |map| {
                let labels = map["metadata"]["labels"].as_object_mut().unwrap();
                match value {
                    Some(value) => labels.insert(key.to_owned(), json!(value)),
                    None => labels.remove(key),
                };
            })
            .unwrap();
    };
    modify("stage", Some("planted-secret-1"));
    modify("tier", Some("b"));
    modify("stage", None);
    modify("tier", Some("c"));
    harness.wait("the changes are rows", || harness.changes().len() == 4);

    let directory = harness.setup.folder.join("data");
    let purge = |kind: &str, path: &str| {
        let request = PurgeRequest::Fields {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: "settings".to_owned(),
            path: path.to_owned(),
        };
        purge::request(&directory, &request).unwrap();
        let mut answer = None;
        harness.wait("the purge is answered", || {
            answer = purge::take_answer(&directory).unwrap();
            answer.is_some()
        });
        answer.unwrap()
    };
    assert!(purge("cm", "a..b").unwrap_err().contains("empty segment"));
    let expected = Purged {
        objects: 1,
        revisions: 2,
        rows: 2,
    };
    assert_eq!(purge("cm", "metadata.labels.stage"), Ok(expected));
    harness.wait("the text is in no file", || {
        ["kube9.db", "kube9.db-wal"].iter().all(|file| {
            let bytes = fs::read(directory.join(file)).unwrap_or_default();
            !bytes.windows(14).any(|part| part == b"planted-secret")
        })
    });
    let said = harness.setup.number(
        "SELECT count(*) FROM event_detail WHERE title = 'Record purged' AND description LIKE \
         '%metadata.labels.stage of ConfigMap settings in namespace shop%'",
    );
    assert_eq!(said, Some(1));
    // The rows about other fields and each past state stay, and the next change is a row: the field is not there any more.
    let changes = harness.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(harness.bodies().len(), 5);
    modify("tier", Some("d"));
    harness.wait("a change", || harness.changes().len() == 3);
    // One that the object still has is a new base.
    assert_eq!(purge("cm", "**.tier").unwrap().rows, 3);
    modify("tier", Some("e"));
    harness.wait("a new base", || harness.bodies().len() == 7);
    assert!(harness.changes().is_empty(), "{:?}", harness.changes());
    modify("tier", Some("f"));
    harness.wait("a change after it", || harness.changes().len() == 1);
    recorder.stop().unwrap();
}

#[test]
fn purge_erases_an_object_and_a_row_records_it() {
    let harness = Harness::new();
    let store = harness.server.store();
    for name in ["settings", "other"] {
        let labels = json!({"stage": format!("planted-{name}-0")});
        let metadata = json!({"name": name, "namespace": "shop", "labels": labels});
        store
            .create(
                Kind::ConfigMap,
                json!({"metadata": metadata, "data": {"a": "1"}}),
            )
            .unwrap();
    }
    let recorder = harness.start();
    harness.wait_tracked(2);
    let relabel = |name: &str, value: &str| {
        store
            .modify(Kind::ConfigMap, "shop", name, |map| {
                map["metadata"]["labels"]["stage"] = json!(value);
            })
            .unwrap();
    };
    relabel("settings", "planted-settings-1");
    relabel("other", "planted-other-1");
    harness.wait("the changes are rows", || harness.changes().len() == 2);

    let directory = harness.setup.folder.join("data");
    let purge = |request: &PurgeRequest| {
        purge::request(&directory, request).unwrap();
        let mut answer = None;
        harness.wait("the purge is answered", || {
            answer = purge::take_answer(&directory).unwrap();
            answer.is_some()
        });
        answer.unwrap()
    };
    let object = |kind: &str| PurgeRequest::Object {
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name: "settings".to_owned(),
    };
    let error = purge(&object("gadgets")).unwrap_err();
    assert!(error.contains("gadgets"), "{error}");
    let expected = Purged {
        objects: 1,
        revisions: 2,
        rows: 1,
    };
    assert_eq!(purge(&object("cm")), Ok(expected));
    let changes = harness.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    // Free pages and the log do not keep it either.
    harness.wait("the text is in no file", || {
        ["kube9.db", "kube9.db-wal"].iter().all(|file| {
            let bytes = fs::read(directory.join(file)).unwrap_or_default();
            !bytes.windows(16).any(|part| part == b"planted-settings")
        })
    });
    let said = harness
        .setup
        .number("SELECT count(*) FROM event_detail WHERE title = 'Record purged'");
    assert_eq!(said, Some(1));

    // The object is known, but not its state: what follows is a new base, and then a change.
    relabel("settings", "later-0");
    harness.wait("a new base", || harness.bodies().len() == 3);
    assert_eq!(harness.changes().len(), 1);
    relabel("settings", "later-1");
    harness.wait("a change", || harness.changes().len() == 2);
    assert_eq!(harness.changes()[1]["reason"], "LabelsChanged");

    let expected = Purged {
        objects: 2,
        revisions: 4,
        rows: 2,
    };
    let all = PurgeRequest::Namespace("shop".to_owned());
    assert_eq!(purge(&all), Ok(expected));
    assert!(harness.changes().is_empty(), "{:?}", harness.changes());
    recorder.stop().unwrap();
}
