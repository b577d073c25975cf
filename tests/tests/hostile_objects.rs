//! Objects that were made to hurt, through the whole recorder: no panic, bounded rows and bytes, nothing on a terminal that
//! moves its cursor, and the changes of other namespaces are complete.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fs;

use kube9_tests::apiserver::Kind;
use serde_json::{Value, json};

use crate::faults::harness::Harness;
use crate::secret_leaks::query_outputs;
use crate::tracked::entry;

/// The namespace whose objects hurt; its name is of the longest form.
fn evil() -> String {
    format!("evil-{}", "x".repeat(58))
}

/// What a terminal interprets, and what reorders text.
const CONTROLS: &str =
    "a\u{0}\u{1b}[2J\u{1b}]0;title\u{7}\u{8}\r\n\u{9b}31m\u{202e}b\u{2066}c\u{200b}\u{feff}";

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!("bottom"), |inner, _| json!({"a": inner}))
}

fn in_evil(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(evil());
    object
}

fn template(pod: Value) -> Value {
    json!({"spec": {"replicas": 1, "template": {"spec": pod}}})
}

/// Entries of managedFields that lie.
fn liars() -> Vec<Value> {
    let time = |time: &str| {
        let mut liar = entry("liar", &json!({"f:data": {"f:a": {}}}));
        liar["time"] = json!(time);
        json!([liar])
    };
    let mut entries = vec![
        json!([{}]),
        json!([{"manager": null, "operation": "Steal", "fieldsV1": {"f:data": {"f:a": {}}}}]),
        json!([entry(
            &format!("{CONTROLS}{}", "m".repeat(10 * 1024)),
            &json!({"f:data": {"f:a": {}}})
        )]),
        json!([entry("text", &json!("not a map"))]),
        json!([entry("root", &json!({}))]),
        json!([
            entry("twice", &json!({"f:data": {"f:a": {}}})),
            entry("twice", &json!({"f:data": {"f:a": {}}}))
        ]),
        json!(
            (0..10_000)
                .map(|n| entry(&format!("m{n}"), &json!({"f:data": {"f:a": {}}})))
                .collect::<Vec<_>>()
        ),
    ];
    for text in [
        "-0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2106-02-07T06:28:17Z",
        "9999-12-31T23:59:59Z",
        "99999-01-01T00:00:00Z",
        "yesterday",
        "",
    ] {
        entries.push(time(text));
    }
    entries
}

/// Kind, name and object.
fn hostile() -> Vec<(Kind, String, Value)> {
    let container = |n: usize| json!({"name": format!("c-{n}"), "image": "web:1", "env": [{"name": "A", "value": "1"}]});
    let owner = |n: usize| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": format!("owner-{n}"), "uid": format!("u-{n}")});
    let labels: Value = (0..10_000)
        .map(|n| (format!("label-{n}"), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let big = "x".repeat(1 << 20);
    let mut repeated = vec![
        json!({"name": "a", "image": "one"}),
        json!({"name": "a", "image": "two"}),
    ];
    repeated.push(json!({"name": CONTROLS, "image": CONTROLS, "args": [CONTROLS, "--x"]}));
    let mut circle = owner(0);
    circle["controller"] = json!(true);
    circle["name"] = json!("circle");
    let of = |name: &str, object: Value| (name.to_owned(), object);
    let maps = vec![
        of("labels", json!({"metadata": {"labels": labels}})),
        of(
            "controls",
            json!({
                "metadata": {"annotations": {CONTROLS: CONTROLS}, "labels": {CONTROLS: CONTROLS}, "finalizers": [CONTROLS]},
                "data": {CONTROLS: CONTROLS, "~": "a", "~~": "b", "": "c", "a.b[c]": "d", "\"": "e"},
            }),
        ),
        of(
            "strings",
            json!({"metadata": {"annotations": {"a": big, "b": "short"}}, "data": {"a": big}}),
        ),
        of(
            "escapes",
            json!({"data": {"a": "\u{1}".repeat(1 << 18)}, "metadata": {"annotations": {"a": "\u{1}".repeat(1 << 18)}}}),
        ),
        of(
            "marks",
            json!({"data": {"~": "#0123456789abcdef"}, "metadata": {"annotations": {
            "a": "[REDACTED #0123456789abcdef]", "b": "#0123456789abcdef", "~": "null"}}}),
        ),
        of(
            "owners",
            json!({"metadata": {"ownerReferences": (0..3_000).map(owner).collect::<Vec<_>>()}}),
        ),
        of("circle", json!({"metadata": {"ownerReferences": [circle]}})),
        of("deep", json!({"data": nested(90)})),
        of(
            "numbers",
            json!({"data": {"a": 1e308, "b": -1e308, "c": u64::MAX, "d": i64::MIN, "e": 1e-320}}),
        ),
        of(
            "types",
            json!({"data": [1, null, {"a": null}], "metadata": {"labels": "text", "annotations": [1]}}),
        ),
        of(&"n".repeat(253), json!({"data": {"a": "1"}})),
    ];
    let deployments = vec![
        of(
            "containers",
            template(json!({"containers": (0..1_000).map(container).collect::<Vec<_>>()})),
        ),
        of(
            "repeated",
            template(json!({"containers": repeated, "volumes": [{"name": "v"}, {"name": "v"}]})),
        ),
        of(
            "null",
            template(json!({"containers": null, "volumes": [null, 1, "x", {}]})),
        ),
        of("list", json!({"spec": [1, 2, {"template": 3}]})),
        of(
            "deep",
            template(json!({"containers": [{"name": "a", "securityContext": nested(100)}]})),
        ),
        of(
            "huge-image",
            template(json!({"containers": [{"name": "a", "image": big}]})),
        ),
    ];
    let mut all: Vec<(Kind, String, Value)> = Vec::new();
    all.extend(
        maps.into_iter()
            .map(|(name, map)| (Kind::ConfigMap, name, map)),
    );
    all.extend(
        deployments
            .into_iter()
            .map(|(name, one)| (Kind::Deployment, name, one)),
    );
    for (n, entries) in liars().into_iter().enumerate() {
        let map = json!({"data": {"a": "1"}, "metadata": {"managedFields": entries}});
        all.push((Kind::ConfigMap, format!("liar-{n}"), map));
    }
    all
}

/// What no JSON tree of this test can have.
fn raw() -> [String; 7] {
    let object = |metadata: &str, rest: &str| {
        format!(
            r#""metadata":{{"name":"raw","namespace":"raw","uid":"r","resourceVersion":"{{version}}"{metadata}}}{rest}}}"#
        )
    };
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let entry = format!(
        r#","managedFields":[{{"manager":"deep","operation":"Update","fieldsV1":{}}}]"#,
        deep(1_000)
    );
    [
        object("", r#","data":{"a":1e400}"#),
        object("", r#","data":{"a":"1","a":"2"},"data":{"b":"3"}"#),
        object(r#","name":"raw","uid":"s""#, r#","data":{}"#),
        object("", r#","metadata":{"labels":{}},"data":null"#),
        object(r#","managedFields":{"a":1},"ownerReferences":"x""#, ""),
        object("", &format!(r#","data":{}"#, deep(5_000))),
        object(&entry, r#","data":{"a":"1"}"#),
    ]
}

/// Rounds of changes of every hostile object.
const ROUNDS: usize = 3;

#[test]
fn hostile_objects_end_nothing_and_hide_no_change_of_others() {
    let harness = Harness::new();
    let store = harness.server.store();
    let honest = |n: usize| format!("honest-{n}");
    let mut objects = 0;
    for n in 0..20 {
        let map = json!({"metadata": {"name": honest(n), "namespace": "shop"}, "data": {"a": "0"}});
        store.create(Kind::ConfigMap, map).unwrap();
        objects += 1;
    }
    objects += i64::from(store.get(Kind::Namespace, "", "kube-system").is_some());
    let recorder = harness.start();
    harness.wait_tracked(objects);
    let edit = |n: usize, round: usize| {
        let change = |map: &mut Value| {
            map["data"]["a"] = json!(round.to_string());
            map["metadata"]["managedFields"] =
                json!([entry("kubectl-edit", &json!({"f:data": {"f:a": {}}}))]);
        };
        store
            .modify(Kind::ConfigMap, "shop", &honest(n), change)
            .unwrap();
    };
    let mut honest_changes = 0;
    let hostile = hostile();
    for round in 0..=ROUNDS {
        for (index, (kind, name, object)) in hostile.iter().enumerate() {
            if index % 2 == 0 && round < ROUNDS {
                edit(index / 2 % 20, round * 100 + index + 1);
                honest_changes += 1;
            }
            match round {
                0 => drop(store.create(*kind, in_evil(name, object.clone())).unwrap()),
                ROUNDS => drop(store.delete(*kind, &evil(), name).unwrap()),
                _ => {
                    let change = |object: &mut Value| {
                        object["spec"]["round"] = json!(round);
                        if let Some(data) = object["data"].as_object_mut() {
                            data.insert(format!("round\u{1b}[{round}m"), json!(round.to_string()));
                        }
                    };
                    // A list has no such field.
                    if !object["spec"].is_array() {
                        store.modify(*kind, &evil(), name, change).unwrap();
                    }
                }
            }
        }
        for object in raw() {
            store.poison(Kind::ConfigMap, "raw", "raw", object.as_bytes());
        }
    }
    // Two states, again and again; and an object that comes and goes.
    let flip = json!({"metadata": {"name": "flip", "namespace": evil()}, "data": {"a": "0"}});
    store.create(Kind::ConfigMap, flip).unwrap();
    for n in 0..400 {
        let change = |map: &mut Value| map["data"]["a"] = json!((n % 2 + 1).to_string());
        store
            .modify(Kind::ConfigMap, &evil(), "flip", change)
            .unwrap();
    }
    for n in 0..2_000 {
        let metadata = json!({"name": format!("loop-{}", n % 500), "namespace": evil()});
        store
            .create(
                Kind::ConfigMap,
                json!({"metadata": metadata, "data": {"a": "1"}}),
            )
            .unwrap();
        store
            .delete(Kind::ConfigMap, &evil(), &format!("loop-{}", n % 500))
            .unwrap();
    }
    edit(0, 9_999);
    honest_changes += 1;

    // Watches deliver in order, so everything before is stored with the last honest change.
    let rows = "SELECT ifnull(sum(ifnull(metadata ->> 'changes', 1)), 0) FROM events \
                WHERE object_namespace = 'shop' AND metadata ->> 'op' = 'changed'";
    harness.wait("each honest change is recorded", || {
        harness.setup.number(rows) == Some(honest_changes)
    });
    let authors = "SELECT group_concat(DISTINCT b.value ->> 'manager') FROM events, json_each(metadata, '$.by') b \
                   WHERE object_namespace = 'shop'";
    assert_eq!(harness.setup.column(authors).unwrap(), ["kubectl-edit"]);
    harness.wait("each hostile object is deleted", || {
        let left = format!(
            "SELECT count(*) FROM tracked_object WHERE namespace = '{}' AND deleted_ms IS NULL",
            evil()
        );
        harness.setup.number(&left) == Some(1) // flip
    });
    // Entries whose times no write has set never count as authors.
    let of_liars = "SELECT count(*) FROM events, json_each(metadata, '$.by') b \
                    WHERE metadata ->> 'op' = 'changed' AND b.value ->> 'manager' = 'liar'";
    assert_eq!(harness.setup.number(of_liars), Some(0));

    // Bounded: 2,000 objects that came and went have few rows, and none is larger than any other.
    let rows = format!(
        "SELECT count(*) FROM events WHERE object_namespace = '{}'",
        evil()
    );
    let rows = harness.setup.number(&rows).unwrap();
    assert!(rows < 2_000, "{rows}");
    let largest = harness
        .setup
        .number("SELECT max(octet_length(metadata)) FROM event_detail")
        .unwrap();
    assert!(largest < 16 << 10, "{largest}");
    let largest = harness
        .setup
        .number("SELECT max(octet_length(body)) FROM revision")
        .unwrap();
    assert!(largest <= 80 << 10, "{largest}");
    let author = harness
        .setup
        .number("SELECT ifnull(max(octet_length(author)), 0) FROM revision")
        .unwrap();
    assert!(author <= 1_024, "{author}");

    // The analysis says if a namespace has more than its share of memory; nothing else is affected.
    let degraded = harness.degraded("analysis");
    assert!(
        harness.is_healthy() || degraded.contains("evil"),
        "{:?}",
        harness.setup.health()
    );
    for (command, output) in query_outputs(&harness.setup) {
        let text = String::from_utf8(output).unwrap();
        let hurts = |c: &char| {
            c.is_control() && *c != '\n'
                || ('\u{202a}'..='\u{202e}').contains(c)
                || ('\u{2066}'..='\u{2069}').contains(c)
        };
        let found: Vec<char> = text.chars().filter(hurts).collect();
        assert!(found.is_empty(), "{command}: {found:?}");
    }
    recorder.stop().unwrap();
    for file in fs::read_dir(harness.folder.path().join("data")).unwrap() {
        let file = file.unwrap();
        let bytes = file.metadata().unwrap().len();
        assert!(bytes < 48 << 20, "{}: {bytes}", file.path().display());
    }
    assert_eq!(
        harness.setup.column("PRAGMA integrity_check").unwrap(),
        ["ok"]
    );
}
