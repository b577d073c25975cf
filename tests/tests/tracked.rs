//! The change history, from a watch of a simulated API server to rows and revisions.

use kube9_tests::apiserver::Kind;
use kube9_tests::clock::Micros;
use serde_json::{Value, json};

use crate::faults::harness::Harness;

/// The statement that docs/storage.md prints for the body of a revision: nothing but SQLite.
fn documented_rebuild() -> String {
    let page = include_str!("../../docs/storage.md");
    let (_, sql) = page.split_once("-- rebuild\n").unwrap();
    sql.split_once("```").unwrap().0.trim().to_owned()
}

fn entry(manager: &str, fields: &Value) -> Value {
    json!({
        "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": Micros::now().seconds_text().to_string(), "fieldsV1": fields,
    })
}

impl Harness {
    /// Waits until every kind that the server has is listed.
    #[track_caller]
    fn wait_tracked(&self, objects: i64) {
        self.wait("objects are tracked", || {
            self.setup.number("SELECT count(*) FROM tracked_object WHERE deleted_ms IS NULL")
                == Some(objects)
        });
    }

    /// Metadata of the rows of changes, in order.
    fn changes(&self) -> Vec<Value> {
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

    fn bodies(&self) -> Vec<Value> {
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
        .create(Kind::ConfigMap, config_map(json!({"LEVEL": "info", "OTHER": "x"}), own))
        .unwrap();
    let recorder = harness.start();
    harness.wait_tracked(1);
    assert!(harness.changes().is_empty(), "{:?}", harness.changes());
    store
        .modify(Kind::ConfigMap, "shop", "settings", |map| {
            map["data"]["LEVEL"] = json!("debug");
            let fields = json!({"f:data": {"f:LEVEL": {}}});
            map["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:data": {".": {}, "f:OTHER": {}}});
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
    assert!(mark("from").starts_with('#') && mark("to").starts_with('#'), "{field}");
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
    let map = |name: &str| json!({"metadata": {"name": name, "namespace": "shop"}, "data": {"a": "1"}});
    store.create(Kind::ConfigMap, map("one")).unwrap();
    store.create(Kind::ConfigMap, map("two")).unwrap();
    let recorder = harness.start();
    harness.wait_tracked(2);
    recorder.stop().unwrap();
    store
        .modify(Kind::ConfigMap, "shop", "one", |map| map["data"]["a"] = json!("2"))
        .unwrap();
    store.create(Kind::ConfigMap, map("three")).unwrap();
    store.delete(Kind::ConfigMap, "shop", "two").unwrap();
    let recorder = harness.start();
    harness.wait("three changes", || harness.changes().len() == 3);
    let reasons: Vec<Value> = harness.changes().iter().map(|c| c["reason"].clone()).collect();
    for reason in ["ConfigMapChanged", "ConfigMapCreated", "ConfigMapDeleted"] {
        assert_eq!(reasons.iter().filter(|r| *r == reason).count(), 1, "{reasons:?}");
    }
    recorder.stop().unwrap();
}
