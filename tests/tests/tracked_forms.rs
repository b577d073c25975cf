//! Bodies in the database that another recorder wrote, or that another version of the API server reads in another way: no
//! change is invented, and none is lost.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fs;

use kube9_tests::apiserver::{Kind, Verb};
use kube9_tests::recorder::{Recorder, wait_until};
use serde_json::{Value, json};

use crate::faults::harness::Harness;
use crate::tracked::{entry, labelled};

/// What makes the stored bodies incomparable while the recorder is stopped.
#[derive(Debug, Clone, Copy)]
enum Upgrade {
    /// `kube9.key` is lost.
    LostKey,
    /// `kube9.key` has another content.
    ReplacedKey,
    /// The recorder that wrote the bodies redacted and ignored other parts of them.
    OtherRules,
    /// It read another version of each kind.
    OtherVersion,
}

impl Upgrade {
    const ALL: [Self; 4] = [
        Self::LostKey,
        Self::ReplacedKey,
        Self::OtherRules,
        Self::OtherVersion,
    ];

    fn apply(self, harness: &Harness) {
        let key = harness.folder.path().join("data").join("kube9.key");
        let other_form = "UPDATE tracked_object SET form = form + 1;";
        let sql = match self {
            Self::LostKey => return fs::remove_file(key).unwrap(),
            Self::ReplacedKey => return fs::write(key, [7; 32]).unwrap(),
            Self::OtherRules => {
                "UPDATE revision SET body = json_set(body, '$.metadata.annotations.ignored', 'yes', \
                 '$.data.LEVEL', 'shown', '$.spec.password', '[REDACTED]') WHERE body IS NOT NULL;"
            }
            Self::OtherVersion => "UPDATE tracked_kind SET version = 'v1beta1';",
        };
        let conn = harness.setup.open_for_writing().unwrap();
        conn.execute_batch(&format!("{other_form}{sql}")).unwrap();
    }
}

/// Objects of kinds that the rules read, and of one that only the change history reads.
fn populated(harness: &Harness) -> i64 {
    let store = harness.server.store();
    for name in ["still", "edited", "deleted", "later"] {
        let metadata = json!({"name": name, "namespace": "shop"});
        let map = json!({"metadata": metadata, "data": {"LEVEL": "info", "OTHER": "x"}});
        store.create(Kind::ConfigMap, map).unwrap();
        store
            .create(Kind::Namespace, json!({"metadata": {"name": name}}))
            .unwrap();
        let container =
            json!({"name": "app", "image": "web:1", "env": [{"name": "A", "value": "1"}]});
        let spec = json!({"replicas": 1, "template": {"spec": {"containers": [container]}}});
        store
            .create(
                Kind::Deployment,
                json!({"metadata": metadata, "spec": spec}),
            )
            .unwrap();
    }
    12 + i64::from(store.get(Kind::Namespace, "", "kube-system").is_some())
}

/// Changes an object of each kind.
fn edit(harness: &Harness, name: &str) {
    let store = harness.server.store();
    store
        .modify(Kind::ConfigMap, "shop", name, |map| {
            map["data"]["LEVEL"] = json!("debug");
            let fields = json!({"f:data": {"f:LEVEL": {}}});
            map["metadata"]["managedFields"] = json!([entry("kubectl-edit", &fields)]);
        })
        .unwrap();
    store
        .modify(Kind::Namespace, "", name, |namespace| {
            labelled(namespace, 1)
        })
        .unwrap();
    store
        .modify(Kind::Deployment, "shop", name, |web| {
            web["spec"]["replicas"] = json!(3);
            let fields = json!({"f:spec": {"f:replicas": {}}});
            web["metadata"]["managedFields"] = json!([entry("kubectl-edit", &fields)]);
        })
        .unwrap();
}

fn delete(harness: &Harness) {
    let store = harness.server.store();
    store.delete(Kind::ConfigMap, "shop", "deleted").unwrap();
    store.delete(Kind::Namespace, "", "deleted").unwrap();
    store.delete(Kind::Deployment, "shop", "deleted").unwrap();
}

/// Each row as `op object path author`, sorted.
fn rows(harness: &Harness) -> Vec<String> {
    let object = "SELECT json_object('op', metadata ->> 'op', 'kind', object_kind, 'name', object_name, 'paths', \
         (SELECT group_concat(f.value ->> 'path', ',') FROM json_each(metadata, '$.fields') f), \
         'by', ifnull(metadata ->> '$.by[0].manager', '?')) FROM events WHERE metadata ->> 'op' IS NOT NULL";
    let rows = harness.setup.column(object).unwrap();
    let mut rows: Vec<String> = rows
        .iter()
        .map(|text| {
            let row: Value = serde_json::from_str(text).unwrap();
            let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            let words = ["op", "kind", "name", "paths", "by"].map(word);
            words.join(" ").replace("  ", " ")
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn edited(name: &str) -> Vec<String> {
    [
        format!("changed ConfigMap {name} data.LEVEL kubectl-edit"),
        format!("changed Deployment {name} spec.replicas kubectl-edit"),
        format!("changed Namespace {name} metadata.labels.n kubectl-label"),
    ]
    .to_vec()
}

const DELETED: [&str; 3] = [
    "deleted ConfigMap deleted ?",
    "deleted Deployment deleted ?",
    "deleted Namespace deleted ?",
];

/// The rows of the edited objects and the deletions, sorted.
fn expected(names: &[&str]) -> Vec<String> {
    let deleted = DELETED.map(str::to_owned);
    let mut rows: Vec<String> = names
        .iter()
        .flat_map(|name| edited(name))
        .chain(deleted)
        .collect();
    rows.sort_unstable();
    rows
}

#[track_caller]
fn wait_rows(harness: &Harness, what: &str, expected: &[String]) {
    let mut found = Vec::new();
    let all_there = || {
        found = rows(harness);
        expected.iter().all(|row| found.contains(row))
    };
    if !wait_until(all_there) {
        panic!("{what}: {found:#?} instead of {expected:#?}");
    }
    assert_eq!(found, expected, "{what}");
}

fn not_compared(harness: &Harness) -> Vec<String> {
    let sql = "SELECT (metadata ->> 'object_kind') || ' ' || (metadata ->> 'objects') FROM events \
               WHERE title = 'Changes cannot be compared' ORDER BY 1";
    harness.setup.column(sql).unwrap()
}

fn stop(recorder: Recorder) {
    recorder.stop().unwrap();
}

#[test]
fn change_while_the_recorder_is_upgraded_is_a_row_and_nothing_else_is() {
    for upgrade in Upgrade::ALL {
        let what = format!("{upgrade:?}");
        let harness = Harness::new();
        let objects = populated(&harness);
        let recorder = harness.start();
        harness.wait_tracked(objects);
        stop(recorder);
        upgrade.apply(&harness);
        edit(&harness, "edited");
        delete(&harness);
        let recorder = harness.start();
        wait_rows(&harness, &what, &expected(&["edited"]));
        edit(&harness, "later");
        wait_rows(&harness, &what, &expected(&["edited", "later"]));
        assert_eq!(not_compared(&harness), [""; 0], "{what}");
        let forms = "SELECT count(*) FROM (SELECT DISTINCT kind, form FROM tracked_object WHERE deleted_ms IS NULL)";
        assert_eq!(harness.setup.number(forms), Some(3), "{what}");
        let versions = "SELECT group_concat(DISTINCT version) FROM tracked_kind";
        assert_eq!(harness.setup.column(versions).unwrap(), ["v1"], "{what}");
        // The next start needs no list of a kind that only the change history reads.
        stop(recorder);
        let mark = harness.server.requests().mark();
        let recorder = harness.start();
        harness.wait("the kind is watched", || {
            let requests = harness.server.requests().since(mark);
            let watched = Some((Verb::Watch, Kind::Namespace));
            requests.iter().any(|request| request.what == watched)
        });
        let lists = harness.server.requests().since(mark);
        let whole = lists.iter().filter(|request| {
            request.what == Some((Verb::List, Kind::Namespace))
                && !request.target.contains("limit=1&")
                && !request.target.ends_with("limit=1")
                && !request.target.contains("metadata.name")
        });
        assert_eq!(whole.count(), 0, "{what}");
        wait_rows(&harness, &what, &expected(&["edited", "later"]));
        stop(recorder);
    }
}

#[test]
fn change_that_cannot_be_compared_after_an_upgrade_is_said() {
    for upgrade in [Upgrade::LostKey, Upgrade::OtherRules] {
        let what = format!("{upgrade:?}");
        let harness = Harness::new();
        let objects = populated(&harness);
        let recorder = harness.start();
        harness.wait_tracked(objects);
        stop(recorder);
        upgrade.apply(&harness);
        edit(&harness, "edited");
        delete(&harness);
        // Neither the watch nor an exact list shows the states before.
        harness.server.compact_now();
        harness.server.restart();
        let recorder = harness.start();
        let kinds = ["ConfigMap 1", "Deployment 1", "Namespace 1"];
        wait_until(|| not_compared(&harness) == kinds);
        assert_eq!(not_compared(&harness), kinds, "{what}");
        wait_rows(&harness, &what, &expected(&[]));
        // From now on they can be compared.
        edit(&harness, "later");
        wait_rows(&harness, &what, &expected(&["later"]));
        stop(recorder);
        let recorder = harness.start();
        harness
            .server
            .store()
            .modify(Kind::Deployment, "shop", "still", |web| {
                web["spec"]["paused"] = json!(true);
            })
            .unwrap();
        harness.wait("the last change is a row", || {
            rows(&harness).len() == expected(&["later"]).len() + 1
        });
        assert_eq!(not_compared(&harness), kinds, "{what}");
        stop(recorder);
    }
}

/// Adds the default of a later API server to every Deployment.
#[test]
fn upgrade_of_the_api_server_is_a_row_although_an_old_one_still_answers() {
    let harness = Harness::new();
    let titles =
        "SELECT title FROM events WHERE metadata ->> 'reason' = 'APIServerUpgraded' ORDER BY id";
    let known = "SELECT group_concat(version, ' ' ORDER BY id) FROM server_version";
    let mut expected = String::new();
    for version in ["v1.35.4", "v1.36.0", "v1.35.4", "v1.36.0", "v1.36.1"] {
        harness.server.set_version(version);
        let mark = harness.server.requests().mark();
        let recorder = harness.start();
        if !expected.contains(version) {
            expected = format!("{expected} {version}").trim().to_owned();
        }
        harness.wait("the version is asked for", || {
            let requests = harness.server.requests().since(mark);
            requests.iter().any(|request| request.target == "/version")
        });
        harness.wait("the version is known", || {
            harness
                .setup
                .column(known)
                .is_ok_and(|found| found == [&*expected])
        });
        // It commits what it has received.
        stop(recorder);
    }
    assert_eq!(
        harness.setup.column(titles).unwrap(),
        [
            "API server upgraded: v1.35.4 → v1.36.0",
            "API server upgraded: v1.36.0 → v1.36.1"
        ]
    );
}

fn with_a_default(harness: &Harness) {
    let store = harness.server.store();
    store.read_as(Kind::Deployment, |web| {
        web["spec"]["progressDeadlineSeconds"] = json!(600);
        let container = &mut web["spec"]["template"]["spec"]["containers"][0];
        container["terminationMessagePolicy"] = json!("File");
    });
}

fn report_status(harness: &Harness, name: &str) {
    let store = harness.server.store();
    store
        .modify(Kind::Deployment, "shop", name, |web| {
            let version = web["metadata"]["resourceVersion"].clone();
            web["status"] = json!({"observed": version});
            let mut controller = entry("kube-controller-manager", &json!({"f:status": {}}));
            controller["subresource"] = json!("status");
            let entries = web["metadata"]["managedFields"].as_array_mut().unwrap();
            entries.retain(|entry| entry["subresource"] != "status");
            entries.push(controller);
        })
        .unwrap();
}

#[test]
fn default_of_an_upgraded_api_server_is_no_change() {
    for is_stopped in [false, true] {
        let what = format!("recorder stopped: {is_stopped}");
        let harness = Harness::new();
        let objects = populated(&harness);
        let store = harness.server.store();
        for name in ["still", "edited", "later"] {
            store
                .modify(Kind::Deployment, "shop", name, |web| {
                    let fields = json!({"f:spec": {"f:replicas": {}}});
                    web["metadata"]["managedFields"] = json!([entry("kubectl-create", &fields)]);
                })
                .unwrap();
        }
        let mut recorder = Some(harness.start());
        harness.wait_tracked(objects);
        if is_stopped {
            stop(recorder.take().unwrap());
        }
        harness.server.stop();
        report_status(&harness, "still");
        edit(&harness, "edited");
        with_a_default(&harness);
        harness.server.start_again();
        delete(&harness);
        let recorder = recorder.unwrap_or_else(|| harness.start());
        wait_rows(&harness, &what, &expected(&["edited"]));
        edit(&harness, "later");
        wait_rows(&harness, &what, &expected(&["edited", "later"]));
        // The defaults are in the newest states.
        let with = "SELECT count(*) FROM tracked_object o JOIN revision r ON r.id = o.id << 24 | o.revision \
                    WHERE r.body LIKE '%progressDeadlineSeconds%' AND r.body LIKE '%terminationMessagePolicy%'";
        assert_eq!(harness.setup.number(with), Some(3), "{what}");
        stop(recorder);
    }
}

/// One of two API servers is upgraded: the watch goes on, and the next write of any kind shows the default.
#[test]
fn default_that_appears_with_a_write_of_the_status_is_no_change() {
    let harness = Harness::new();
    let objects = populated(&harness);
    let store = harness.server.store();
    for name in ["still", "edited"] {
        store
            .modify(Kind::Deployment, "shop", name, |web| {
                let fields = json!({"f:spec": {"f:replicas": {}}});
                web["metadata"]["managedFields"] = json!([entry("kubectl-create", &fields)]);
            })
            .unwrap();
        report_status(&harness, name);
    }
    let time = || entry("", &json!({}))["time"].clone();
    let wait_a_second = || {
        let before = time();
        harness.wait("a second has passed", || time() != before);
    };
    // Whether an entry wrote in the second of an event cannot be known.
    wait_a_second();
    let recorder = harness.start();
    harness.wait_tracked(objects);
    with_a_default(&harness);
    wait_a_second();
    report_status(&harness, "still");
    delete(&harness);
    wait_rows(&harness, "status", &expected(&[]));
    let with = "SELECT count(*) FROM revision WHERE body LIKE '%progressDeadlineSeconds%'";
    assert_eq!(harness.setup.number(with), Some(1));
    stop(recorder);
}
