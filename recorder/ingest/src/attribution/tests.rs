use foldhash::quality::FixedState;
use kube9_model::change::diff::{self, FieldChange};
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use serde_json::{Value, json};

use super::*;
use crate::body::{MarkKey, Object};

fn kind(name: &str) -> &'static TrackedKind {
    TrackedKind::find(BUILT_IN.iter(), name).unwrap()
}

fn entry(manager: &str, operation: &str, second: u32, fields: Value) -> Value {
    json!({
        "manager": manager, "operation": operation, "apiVersion": "apps/v1",
        "time": format!("2026-11-30T10:00:{second:02}Z"), "fieldsType": "FieldsV1", "fieldsV1": fields,
    })
}

fn of_scale(mut entry: Value) -> Value {
    entry["subresource"] = json!("scale");
    entry
}

/// An object with these entries.
fn object(mut object: Value, entries: &[Value]) -> String {
    object["metadata"]["name"] = json!("web");
    object["metadata"]["managedFields"] = json!(entries);
    object.to_string()
}

/// The author of each change, as `path manager certainty`; `?` where it is unknown, `(default)` where it is one.
fn authors_of(kind: &'static TrackedKind, before: &str, after: &str, is_next: bool) -> Vec<String> {
    authors_since(None, kind, before, after, is_next)
}

/// The same; the previous event was received in that second.
fn authors_since(
    previous: Option<&str>,
    kind: &'static TrackedKind,
    before: &str,
    after: &str,
    is_next: bool,
) -> Vec<String> {
    let scan = |text| Object::scan(kind, text, &FixedState::with_seed(1), |_| false).unwrap();
    let key = MarkKey::new(&[1; 32]);
    let (old, new) = (scan(before), scan(after));
    let (old_body, new_body) = (old.body(&key).unwrap(), new.body(&key).unwrap());
    let changes: Vec<FieldChange<'_>> = diff::changes(kind.rules, &old_body, &new_body, false);
    let stamps = Stamps::of(&old.metadata.managed_fields);
    let event = Event {
        before: stamps.as_ref(),
        entries: &new.metadata.managed_fields,
        is_next,
        previous: previous.map(|time| Timestamp::parse(time).unwrap()),
        received: Timestamp::parse("2026-11-30T10:00:59Z").unwrap(),
    };
    let authors = event.authors(&new_body, &changes);
    authors
        .iter()
        .zip(&changes)
        .map(|(authorship, change)| {
            let author = authorship
                .author
                .map_or("?".to_owned(), |(entry, certainty)| {
                    format!("{} {}", entry.manager, certainty.as_str())
                });
            let default = if authorship.is_default {
                " (default)"
            } else {
                ""
            };
            format!("{} {author}{default}", change.path)
        })
        .collect()
}

fn replicas(n: u32) -> Value {
    json!({"spec": {"replicas": n}})
}

fn labels(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

#[test]
fn sole_manager_that_wrote_is_the_author() {
    let (fields, other) = (
        json!({"f:spec": {"f:replicas": {}}}),
        json!({"f:status": {}}),
    );
    let before = object(
        replicas(1),
        &[
            entry("a", "Update", 1, fields.clone()),
            entry("c", "Update", 1, other.clone()),
        ],
    );
    let same = object(
        replicas(2),
        &[
            entry("a", "Update", 5, fields.clone()),
            entry("c", "Update", 1, other.clone()),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &same, true),
        ["spec.replicas a field"]
    );
    let new = object(
        replicas(2),
        &[
            entry("b", "Apply", 5, fields),
            entry("c", "Update", 1, other),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &new, true),
        ["spec.replicas b field"]
    );
    // Also after a gap: the last writer manages it.
    assert_eq!(
        authors_of(kind("deploy"), &before, &new, false),
        ["spec.replicas b field"]
    );
}

#[test]
fn second_write_within_a_second_is_attributed_only_if_the_first_was_in_it() {
    let fields = json!({"f:spec": {"f:replicas": {}}});
    let more = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
    let before = object(replicas(1), &[entry("a", "Update", 1, fields.clone())]);
    let still = object(replicas(2), &[entry("a", "Update", 1, fields)]);
    assert_eq!(
        authors_of(kind("deploy"), &before, &still, true),
        ["spec.replicas ?"]
    );
    let grew = object(
        json!({"spec": {"replicas": 2, "paused": true}}),
        &[entry("a", "Update", 1, more)],
    );
    // Other fields alone prove nothing: also who loses fields has them.
    assert_eq!(
        authors_of(kind("deploy"), &before, &grew, true),
        ["spec.paused ?", "spec.replicas ?"]
    );
    for (previous, expected) in [
        ("2026-11-30T10:00:01.999Z", "spec.replicas a field"),
        ("2026-11-30T10:00:02.000Z", "spec.replicas ?"),
    ] {
        assert_eq!(
            authors_since(Some(previous), kind("deploy"), &before, &still, true),
            [expected]
        );
    }
}

#[test]
fn entry_that_lost_fields_to_the_writer_is_not_an_author() {
    let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
    let (replicas_only, paused) = (
        json!({"f:spec": {"f:replicas": {}}}),
        json!({"f:spec": {"f:paused": {}}}),
    );
    let spec =
        |replicas: u32, paused: bool| json!({"spec": {"replicas": replicas, "paused": paused}});
    let before = object(spec(1, false), &[entry("a", "Update", 1, both)]);
    let after = object(
        spec(1, true),
        &[
            entry("a", "Update", 1, replicas_only),
            entry("b", "Update", 5, paused),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["spec.paused b field"]
    );
}

#[test]
fn scale_is_attributed_though_its_time_stands_still() {
    let fields = json!({"f:spec": {"f:replicas": {}}});
    let scaled = |n| {
        object(
            replicas(n),
            &[of_scale(entry("kubectl", "Update", 1, fields.clone()))],
        )
    };
    assert_eq!(
        authors_of(kind("deploy"), &scaled(1), &scaled(2), true),
        ["spec.replicas kubectl field"]
    );
    let moved = object(
        replicas(2),
        &[
            of_scale(entry("kubectl", "Update", 1, fields.clone())),
            entry("x", "Update", 5, json!({"f:spec": {"f:paused": {}}})),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &scaled(1), &moved, true),
        ["spec.replicas kubectl field"]
    );
}

#[test]
fn atomic_ancestor_and_list_elements_are_found_without_a_schema() {
    let containers = |image: &str, more: bool| {
        let mut list = vec![
            json!({"name": "app", "image": image, "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}]}),
        ];
        if more {
            list.push(json!({"name": "side", "image": "s"}));
        }
        json!({"spec": {"template": {"spec": {"containers": list, "tolerations": [{"key": image}]}}}})
    };
    let held = |containers: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}});
    let app = json!({".": {}, "f:image": {}, "f:name": {}});
    let before = object(
        containers("a:1", false),
        &[entry(
            "a",
            "Update",
            1,
            held(json!({"k:{\"name\":\"app\"}": app})),
        )],
    );
    let mut of_a = held(json!({"k:{\"name\":\"app\"}": app}));
    of_a["f:spec"]["f:template"]["f:spec"]["f:tolerations"] = json!({});
    let of_b = held(json!({"k:{\"name\":\"side\"}": {".": {}, "f:image": {}, "f:name": {}}}));
    let after = object(
        containers("a:2", true),
        &[entry("a", "Update", 5, of_a), entry("b", "Update", 6, of_b)],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, false),
        [
            "spec.template.spec.containers[app].image a field",
            "spec.template.spec.containers[side] b field",
            "spec.template.spec.tolerations[0].key a field",
        ]
    );
}

#[test]
fn key_of_the_api_server_may_differ_from_the_stored_identity() {
    let ports = |node_port: u32| {
        json!({"spec": {"ports": [
            {"name": "http", "port": 80, "protocol": "TCP", "nodePort": node_port}, {"name": "admin", "port": 81, "protocol": "TCP"},
        ]}})
    };
    let fields = json!({"f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:nodePort": {}}}}});
    let before = object(ports(30001), &[entry("a", "Update", 1, fields.clone())]);
    let after = object(ports(30002), &[entry("a", "Update", 2, fields)]);
    assert_eq!(
        authors_of(kind("svc"), &before, &after, true),
        ["spec.ports[http].nodePort a field"]
    );
}

#[test]
fn claim_of_two_is_unknown() {
    let fields = json!({"f:spec": {"f:replicas": {}}});
    let before = object(replicas(1), &[]);
    let after = object(
        replicas(2),
        &[
            entry("a", "Apply", 5, fields.clone()),
            entry("b", "Apply", 6, fields),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["spec.replicas ?"]
    );
}

#[test]
fn removed_field_has_the_author_of_the_write() {
    let with = object(
        labels(json!({"x": "1", "y": "1"})),
        &[entry(
            "a",
            "Apply",
            1,
            json!({"f:metadata": {"f:labels": {"f:x": {}, "f:y": {}}}}),
        )],
    );
    let applied = object(
        labels(json!({"y": "1"})),
        &[entry(
            "a",
            "Apply",
            5,
            json!({"f:metadata": {"f:labels": {"f:y": {}}}}),
        )],
    );
    assert_eq!(
        authors_of(kind("deploy"), &with, &applied, true),
        ["metadata.labels.x a write"]
    );
    // With a gap another may have removed it without a trace.
    assert_eq!(
        authors_of(kind("deploy"), &with, &applied, false),
        ["metadata.labels.x ?"]
    );
    // An update that only removes leaves no trace.
    let removed = object(
        labels(json!({"y": "1"})),
        &[
            entry(
                "a",
                "Apply",
                1,
                json!({"f:metadata": {"f:labels": {"f:y": {}}}}),
            ),
            entry("c", "Update", 1, json!({"f:status": {}})),
        ],
    );
    let before = object(
        labels(json!({"x": "1", "y": "1"})),
        &[
            entry(
                "a",
                "Apply",
                1,
                json!({"f:metadata": {"f:labels": {"f:y": {}}}}),
            ),
            entry("c", "Update", 1, json!({"f:status": {}})),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &removed, true),
        ["metadata.labels.x ?"]
    );
    // The same write changed another field.
    let edited = object(
        labels(json!({"y": "2"})),
        &[
            entry(
                "a",
                "Apply",
                1,
                json!({"f:metadata": {"f:labels": {".": {}}}}),
            ),
            entry(
                "e",
                "Update",
                5,
                json!({"f:metadata": {"f:labels": {"f:y": {}}}}),
            ),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &edited, true),
        ["metadata.labels.x e write", "metadata.labels.y e field"]
    );
}

#[test]
fn update_that_only_removes_is_unknown() {
    // The entry that held the field keeps its time, whichever client removed it.
    let label = |names: Value| json!({"f:metadata": {"f:labels": names}});
    let before = object(
        labels(json!({"x": "1", "y": "1"})),
        &[entry(
            "a",
            "Update",
            1,
            label(json!({"f:x": {}, "f:y": {}})),
        )],
    );
    let after = object(
        labels(json!({"y": "1"})),
        &[entry("a", "Update", 1, label(json!({"f:y": {}})))],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["metadata.labels.x ?"]
    );
    // Nor does the status, which is written all the time.
    let status = |second| {
        let mut entry = entry(
            "c",
            "Update",
            second,
            json!({"f:status": {"f:replicas": {}}}),
        );
        entry["subresource"] = json!("status");
        entry
    };
    let before = object(labels(json!({"x": "1"})), &[status(1)]);
    let after = object(labels(json!({})), &[status(5)]);
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["metadata.labels.x ?"]
    );
}

#[test]
fn emptied_map_of_an_entry_holds_nothing() {
    let label = |names: Value| json!({"f:metadata": {"f:labels": names}});
    let before = object(
        labels(json!({"x": "1"})),
        &[entry("a", "Update", 1, label(json!({"f:x": {}})))],
    );
    let after = object(
        labels(json!({"x": "2"})),
        &[
            entry("a", "Update", 1, label(json!({}))),
            entry("b", "Update", 5, label(json!({"f:x": {}}))),
        ],
    );
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["metadata.labels.x b field"]
    );
}

fn of_status(mut entry: Value) -> Value {
    entry["subresource"] = json!("status");
    entry
}

#[test]
fn field_that_appears_with_a_write_of_the_status_is_a_default() {
    let fields = || json!({"f:spec": {"f:replicas": {}}});
    let status = |second| of_status(entry("c", "Update", second, json!({"f:status": {}})));
    let before = object(replicas(1), &[entry("a", "Apply", 1, fields()), status(1)]);
    let after = |labels: Value, entries: &[Value]| {
        let spec = json!({"replicas": 1, "minReadySeconds": 0});
        object(json!({"spec": spec, "metadata": labels}), entries)
    };
    let deploy = kind("deploy");
    let of_status = after(json!({}), &[entry("a", "Apply", 1, fields()), status(5)]);
    for is_next in [true, false] {
        assert_eq!(
            authors_of(deploy, &before, &of_status, is_next),
            ["spec.minReadySeconds ? (default)"]
        );
    }
    // A write to the status can change labels.
    let labelled = after(
        json!({"labels": {"x": "1"}}),
        &[entry("a", "Apply", 1, fields()), status(5)],
    );
    assert_eq!(
        authors_of(deploy, &before, &labelled, true),
        ["metadata.labels.x ?", "spec.minReadySeconds ? (default)"]
    );
    // Nothing moved: an admission webhook may have changed it.
    let still = after(json!({}), &[entry("a", "Apply", 1, fields()), status(1)]);
    assert_eq!(
        authors_of(deploy, &before, &still, true),
        ["spec.minReadySeconds ?"]
    );
    let during = after(json!({}), &[entry("a", "Apply", 5, fields()), status(5)]);
    assert_eq!(
        authors_of(deploy, &before, &during, false),
        ["spec.minReadySeconds ?"]
    );
    // A change after missed states, which a removal could explain too.
    let changed = object(replicas(2), &[entry("a", "Apply", 1, fields()), status(5)]);
    assert_eq!(
        authors_of(deploy, &before, &changed, false),
        ["spec.replicas ?"]
    );
}

#[test]
fn entry_whose_time_the_write_cannot_have_set_is_not_that_of_the_writer() {
    let deploy = kind("deploy");
    let fields = || json!({"f:spec": {"f:replicas": {}}});
    let before = object(replicas(1), &[entry("a", "Update", 10, json!({}))]);
    let by = |time: &str| {
        let mut liar = entry("liar", "Update", 0, fields());
        liar["time"] = json!(time);
        object(replicas(2), &[entry("a", "Update", 10, json!({})), liar])
    };
    for time in [
        "2026-11-30T10:00:09Z",
        "1970-01-01T00:00:01Z",
        "2026-11-30T10:01:30Z",
        "2099-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ] {
        assert_eq!(
            authors_of(deploy, &before, &by(time), true),
            ["spec.replicas ?"],
            "{time}"
        );
    }
    assert_eq!(
        authors_of(deploy, &before, &by("2026-11-30T10:00:11Z"), true),
        ["spec.replicas liar field"]
    );
    // An entry of the future stays one when another manager changes its field.
    let before = by("2099-01-01T00:00:00Z");
    let mut liar = entry("liar", "Update", 0, fields());
    liar["time"] = json!("2099-01-01T00:00:00Z");
    let after = object(replicas(3), &[entry("a", "Update", 12, json!({})), liar]);
    let since = Some("2026-11-30T10:00:11Z");
    assert_eq!(
        authors_since(since, deploy, &before, &after, true),
        ["spec.replicas a write"]
    );
}

#[test]
fn collective_managers_missing_entries_and_wrong_clocks_prove_nothing() {
    let fields = json!({"f:spec": {"f:replicas": {}}});
    let before = object(replicas(1), &[entry("a", "Update", 10, fields.clone())]);
    for entries in [
        vec![],
        vec![entry("before-first-apply", "Update", 20, fields.clone())],
        vec![entry("ancient-changes", "Update", 20, fields.clone())],
        vec![entry("a", "Update", 5, fields.clone())],
        vec![
            entry("a", "Update", 20, fields.clone()),
            entry("a", "Update", 20, fields.clone()),
        ],
        vec![json!({"manager": "a", "operation": "Update", "time": "2026-11-30T10:00:20Z"})],
    ] {
        let after = object(replicas(2), &entries);
        assert_eq!(
            authors_of(kind("deploy"), &before, &after, true),
            ["spec.replicas ?"],
            "{entries:?}"
        );
    }
    let many: Vec<Value> = (0..65)
        .map(|n| entry(&format!("m{n}"), "Apply", 20, json!({})))
        .collect();
    let after = object(replicas(2), &many);
    assert_eq!(
        authors_of(kind("deploy"), &before, &after, true),
        ["spec.replicas ?"]
    );
}

#[test]
fn order_of_containers_has_the_author_of_the_write() {
    let held = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"a\"}": {".": {}}, "k:{\"name\":\"b\"}": {".": {}},
    }}}}});
    let of = |names: [&str; 2], second: u32| {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        object(
            json!({"spec": {"template": {"spec": {"containers": list}}}}),
            &[
                entry("m", "Update", second, held.clone()),
                entry("n", "Update", 1, held.clone()),
            ],
        )
    };
    assert_eq!(
        authors_of(kind("deploy"), &of(["a", "b"], 1), &of(["b", "a"], 5), true),
        ["spec.template.spec.containers m write"]
    );
}

#[test]
fn stamps_survive_storage() {
    let text = object(
        replicas(1),
        &[
            entry("a", "Update", 1, json!({"f:spec": {}})),
            entry("b", "Apply", 2, json!({})),
        ],
    );
    let object = Object::scan(kind("deploy"), &text, &FixedState::with_seed(1), |_| false).unwrap();
    let stamps = Stamps::of(&object.metadata.managed_fields).unwrap();
    let bytes = stamps.to_bytes();
    assert_eq!(bytes.len(), 20);
    assert_eq!(Stamps::from_bytes(&bytes), Some(stamps));
    assert_eq!(Stamps::from_bytes(&bytes[1..]), None);
}

#[test]
fn creator_is_the_one_entry_that_is_not_newer_than_the_object() {
    let creator_of = |entries: &[Value], created: i64| {
        let text = object(replicas(1), entries);
        let object =
            Object::scan(kind("deploy"), &text, &FixedState::with_seed(1), |_| false).unwrap();
        let created = Timestamp::parse(&format!("2026-11-30T10:00:{created:02}Z")).ok();
        let found = creator(&object.metadata.managed_fields, created);
        found.map(|entry| entry.manager.to_string())
    };
    let of = |manager: &str, second: u32| entry(manager, "Update", second, json!({"f:spec": {}}));
    let scale = of_scale(of("s", 1));
    let a = Some("a".to_owned());
    assert_eq!(creator_of(&[of("a", 1), scale.clone()], 1), a);
    // A webhook took three seconds, and another wrote meanwhile or later.
    assert_eq!(creator_of(&[of("a", 1)], 4), a);
    assert_eq!(creator_of(&[of("a", 1), of("b", 5)], 4), a);
    assert_eq!(creator_of(&[of("a", 1), of("b", 4)], 4), None);
    // `b` may have created it, and written again.
    assert_eq!(creator_of(&[of("a", 1), of("b", 2), scale], 1), None);
    assert_eq!(creator_of(&[of("a", 2)], 1), None);
    assert_eq!(creator_of(&[of("a", 1), of("b", 1)], 1), None);
    assert_eq!(creator_of(&[of("before-first-apply", 1)], 1), None);
    assert_eq!(creator_of(&[], 1), None);
    assert!(creator(&[], None).is_none());
}

#[test]
fn row_names_each_author_with_its_fields_and_its_tool() {
    let annotations = |image: &str, cause: &str| {
        json!({
            "metadata": {"annotations": {"kubernetes.io/change-cause": cause, "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}},
            "spec": {"replicas": image.len(), "paused": image.len() > 1},
        })
    };
    let fields =
        json!({"f:spec": {"f:replicas": {}, "f:paused": {}}, "f:metadata": {"f:annotations": {}}});
    let key = MarkKey::new(&[1; 32]);
    let rules = kind("deploy").rules;
    let run = |before: &str, after: &str| {
        let scan = |text| {
            Object::scan(kind("deploy"), text, &FixedState::with_seed(1), |_| false).unwrap()
        };
        let old = scan(before);
        let new = scan(after);
        let (old_body, new_body) = (old.body(&key).unwrap(), new.body(&key).unwrap());
        let changes = diff::changes(rules, &old_body, &new_body, false);
        let stamps = Stamps::of(&old.metadata.managed_fields);
        let event = Event {
            before: stamps.as_ref(),
            entries: &new.metadata.managed_fields,
            is_next: true,
            previous: None,
            received: Timestamp::parse("2099-01-01T00:00:00Z").unwrap(),
        };
        let authors = event.authors(&new_body, &changes);
        let via = via(&new_body, &changes);
        ChangeAuthor::group(&authors, &changes)
            .iter()
            .map(|by| by.shown(via.as_ref()).into_json())
            .collect::<Vec<_>>()
    };
    let at = |image: &str, cause: &str, second| {
        object(
            annotations(image, cause),
            &[entry("helm", "Update", second, fields.clone())],
        )
    };
    assert_eq!(
        run(&at("a", "one", 1), &at("bb", "one", 5)),
        [json!({
            "manager": "helm", "operation": "Update", "at": "2026-11-30T10:00:05.000Z", "certainty": "field",
            "via": "Helm: shop/web", "paths": ["spec.paused", "spec.replicas"],
        })]
    );
    let by = run(&at("a", "one", 1), &at("bb", "two", 5));
    assert_eq!(by[0]["via"], "Helm: shop/web, change-cause: two");
}

#[test]
fn order_is_not_the_work_of_the_manager_of_its_elements() {
    let env = |order: [&str; 2]| {
        let env: Vec<Value> = order
            .map(|name| json!({"name": name, "value": "1"}))
            .to_vec();
        json!({"metadata": {}, "spec": {"template": {"spec": {"containers": [{"name": "app", "env": env}]}}}})
    };
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {
        "f:env": {"k:{\"name\":\"A\"}": {".": {}}, "k:{\"name\":\"B\"}": {".": {}}},
    }}}}}});
    let entries = [entry("operator", "Update", 1, fields)];
    // Another reorders them within the second in which that one wrote.
    assert_eq!(
        authors_since(
            Some("2026-11-30T10:00:01Z"),
            kind("deploy"),
            &object(env(["A", "B"]), &entries),
            &object(env(["B", "A"]), &entries),
            true,
        ),
        ["spec.template.spec.containers[app].env ?"]
    );
}

#[test]
fn field_that_changes_during_the_write_of_another_is_not_of_its_manager() {
    let of = |a: &str, b: &str| json!({"metadata": {"labels": {"a": a, "b": b}}});
    let owns = |label: &str| json!({"f:metadata": {"f:labels": {(format!("f:{label}")): {}}}});
    let first = entry("first", "Update", 1, owns("a"));
    let before = [first.clone(), entry("second", "Update", 0, owns("b"))];
    let after = [first, entry("second", "Update", 1, owns("b"))];
    // Admission changes the label of the first one during a write of the second.
    assert_eq!(
        authors_since(
            Some("2026-11-30T10:00:01Z"),
            kind("deploy"),
            &object(of("1", "1"), &before),
            &object(of("2", "2"), &after),
            true,
        ),
        [
            "metadata.labels.a second write",
            "metadata.labels.b second field"
        ]
    );
}
