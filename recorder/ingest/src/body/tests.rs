use foldhash::quality::FixedState;
use kube9_model::change::body::Body;
use kube9_model::change::diff;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn kind(name: &str) -> &'static TrackedKind {
    TrackedKind::find(BUILT_IN.iter(), name).unwrap()
}

fn custom() -> TrackedKind {
    TrackedKind::custom(&"x.io/v1/things".parse().unwrap(), "Thing", true)
}

fn key() -> MarkKey {
    MarkKey::new(&[7; 32])
}

fn scan<'j>(kind: &'j TrackedKind, json: &'j str) -> Object<'j> {
    Object::scan(kind, json, &FixedState::with_seed(1), |owner| {
        owner.kind == "ReplicaSet"
    })
    .unwrap()
}

fn body(kind: &TrackedKind, object: &Value) -> Body<'static> {
    let json = object.to_string();
    scan(kind, &json).body(&key()).unwrap().into_owned()
}

fn hash(kind: &TrackedKind, object: &Value) -> u64 {
    scan(kind, &object.to_string()).content_hash
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    *object.pointer_mut(path).unwrap() = value;
    object
}

fn deployment() -> Value {
    json!({
        "kind": "Deployment", "apiVersion": "apps/v1",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7", "generation": 3,
            "creationTimestamp": "2026-11-30T10:00:00Z",
            "labels": {"app": "web"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "deployment.kubernetes.io/revision": "4",
                "contact": "team@example.com", "db-password": "hunter2-plain",
            },
            "managedFields": [{
                "manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1",
                "time": "2026-11-30T10:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:replicas": {}}},
            }],
        },
        "spec": {"replicas": 2, "template": {
            "metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
            "spec": {"containers": [{
                "name": "web", "image": "registry.example/web:1.2",
                "args": ["--password", "hunter2-plain", "--listen", ":8080"],
                "env": [
                    {"name": "MODE", "value": "hunter2-plain"},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                ],
                "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "hunter2-plain"}]}},
            }]},
        }},
        "status": {"replicas": 2, "conditions": [{"type": "Available"}]},
    })
}

#[test]
fn annotations_of_which_none_is_recorded_are_absent() {
    let map = |annotations: Value| json!({"metadata": {"name": "m", "uid": "u", "annotations": annotations}, "data": {"a": "1"}});
    let kind = kind("configmaps");
    let without = json!({"metadata": {"name": "m", "uid": "u"}, "data": {"a": "1"}});
    let leader = json!({"control-plane.alpha.kubernetes.io/leader": "x", "renewTime": "2026-11-30T10:00:00Z"});
    assert_eq!(body(kind, &map(leader)), body(kind, &without));
    assert_ne!(
        body(kind, &map(json!({"leader": "postgres-1"}))),
        body(kind, &without)
    );
}

#[test]
fn body_has_what_people_set_and_no_secret() {
    let body = body(kind("deploy"), &deployment());
    let text = body.to_text();
    assert!(!text.contains("hunter2"), "{text}");
    let plain = body.plain();
    assert_eq!(
        plain["metadata"]["annotations"]["contact"],
        "team@example.com"
    );
    let container = &plain["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example/web:1.2");
    assert_eq!(container["args"][0], "--password");
    assert_eq!(container["args"][3], ":8080");
    assert_eq!(
        container["env"][1],
        json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}})
    );
    for hidden in [
        &container["env"][0]["value"],
        &container["args"][1],
        &container["livenessProbe"]["httpGet"]["httpHeaders"][0]["value"],
        &plain["metadata"]["annotations"]["db-password"],
    ] {
        let text = hidden.as_str().unwrap();
        assert!(text.starts_with('#') && text.len() == 9, "{text}");
    }
    let keys: Vec<&String> = plain.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["metadata", "spec"]);
    let keys: Vec<&String> = plain["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["annotations", "labels"]);
    assert_eq!(
        plain["metadata"]["annotations"].as_object().unwrap().len(),
        2
    );
    assert_eq!(
        plain["spec"]["template"]["metadata"],
        json!({"labels": {"app": "web"}})
    );
}

#[test]
fn changed_secret_is_a_change_and_shows_nothing() {
    let before = body(kind("deploy"), &deployment());
    let after = with(
        deployment(),
        "/spec/template/spec/containers/0/args/1",
        json!("hunter3-plain"),
    );
    let after = body(kind("deploy"), &after);
    let changes = diff::changes(kind("deploy").rules, &before, &after, false);
    let paths: Vec<String> = changes.iter().map(|c| c.path.to_string()).collect();
    assert_eq!(paths, ["spec.template.spec.containers[web].args"]);
    let shown = diff::shown(&changes).fields.to_string();
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn hash_sees_the_body_and_nothing_else() {
    let of = |object: &Value| hash(kind("deploy"), object);
    let same = of(&deployment());
    for (path, value) in [
        ("/metadata/resourceVersion", json!("8")),
        ("/metadata/generation", json!(4)),
        (
            "/metadata/managedFields/0/time",
            json!("2026-11-30T11:00:00Z"),
        ),
        ("/status/replicas", json!(1)),
        (
            "/metadata/annotations/deployment.kubernetes.io~1revision",
            json!("5"),
        ),
        (
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
            json!("{\"a\":1}"),
        ),
    ] {
        assert_eq!(of(&with(deployment(), path, value)), same, "{path}");
    }
    for (path, value) in [
        ("/metadata/uid", json!("u2")),
        ("/metadata/labels/app", json!("other")),
        ("/spec/replicas", json!(3)),
        ("/spec/template/spec/containers/0/env/0/value", json!("x")),
        ("/spec/template/spec/containers/0/args/1", json!("x")),
        ("/spec/template/spec/containers/0/name", json!("x")),
    ] {
        assert_ne!(of(&with(deployment(), path, value)), same, "{path}");
    }
    let mut deleting = deployment();
    deleting["metadata"]["deletionTimestamp"] = json!("2026-11-30T10:05:00Z");
    assert_ne!(of(&deleting), same);
}

#[test]
fn metadata_is_read_in_the_first_pass() {
    let text = deployment().to_string();
    let object = scan(kind("deploy"), &text);
    let metadata = &object.metadata;
    assert_eq!((&*metadata.namespace, &*metadata.name), ("shop", "web"));
    assert_eq!((&*metadata.uid, &*metadata.resource_version), ("u1", "7"));
    assert!(metadata.created.is_some() && metadata.deleting.is_none());
    assert_eq!(metadata.managed_fields.len(), 1);
    assert_eq!(metadata.managed_fields[0].manager, "kubectl");
}

#[test]
fn values_of_a_config_map_are_marks_of_their_own() {
    let map = |namespace: &str, key: &str, value: &str| json!({"metadata": {"name": "m", "namespace": namespace}, "data": {key: value}, "binaryData": {"b": "aGk="}});
    let mark = |object: &Value, key: &str| {
        body(kind("cm"), object).stored().to_value()["data"][key]["~"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let one = mark(&map("a", "k", "value"), "k");
    assert_eq!(one.len(), "#0123456789abcdef".len());
    assert_eq!(one, mark(&map("a", "k", "value"), "k"));
    assert_ne!(one, mark(&map("a", "k", "other"), "k"));
    // Planting a guess elsewhere shows nothing.
    assert_ne!(one, mark(&map("b", "k", "value"), "k"));
    assert_ne!(one, mark(&map("a", "l", "value"), "l"));
    let whole = body(kind("cm"), &map("a", "k", "value"));
    assert!(!whole.to_text().contains("aGk="));
    assert!(!whole.is_complete());
}

#[test]
fn pod_of_a_tracked_owner_has_only_what_is_its_own() {
    let pod = |owner: &str| {
        json!({
            "metadata": {
                "name": "web-1", "namespace": "shop", "labels": {"pod-template-hash": "5d"},
                "annotations": {"cni": "x"},
                "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u", "controller": true}],
            },
            "spec": {
                "nodeName": "n1", "priority": 0,
                "containers": [{
                    "name": "web", "image": "i", "resources": {"limits": {"cpu": "1"}}, "args": ["x"],
                    "volumeMounts": [{"name": "kube-api-access-x2x2x", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                }],
                "volumes": [{"name": "kube-api-access-x2x2x"}],
            },
            "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
                {"name": "web", "imageID": "i@sha256:1", "restartCount": 3},
            ]},
        })
    };
    let statuses = json!({"containerStatuses": [{"name": "web", "imageID": "i@sha256:1"}]});
    assert_eq!(
        body(kind("po"), &pod("ReplicaSet")).plain(),
        json!({
            "metadata": {"labels": {"pod-template-hash": "5d"}},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "web", "image": "i", "resources": {"limits": {"cpu": "1"}}},
            ]},
            "status": statuses,
        })
    );
    let whole = body(kind("po"), &pod("Node")).plain();
    assert_eq!(whole["metadata"]["annotations"], json!({"cni": "x"}));
    assert_eq!(
        whole["spec"],
        json!({"nodeName": "n1", "priority": 0, "containers": [
            {"name": "web", "image": "i", "resources": {"limits": {"cpu": "1"}}, "args": ["x"]},
        ]})
    );
    assert_eq!(whole["status"], statuses);
}

#[test]
fn order_of_the_fields_does_not_matter_to_an_owned_pod() {
    let owner =
        r#"{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"o","uid":"u","controller":true}"#;
    let spec = r#""spec":{"nodeName":"n","priority":1}"#;
    let metadata = format!(r#""metadata":{{"name":"p","ownerReferences":[{owner}]}}"#);
    for text in [
        format!("{{{spec},{metadata}}}"),
        format!("{{{metadata},{spec}}}"),
    ] {
        let body = scan(kind("po"), &text).body(&key()).unwrap();
        assert_eq!(body.plain(), json!({"spec": {"nodeName": "n"}}));
    }
}

#[test]
fn status_is_kept_where_it_is_a_change_that_no_specification_shows() {
    let hpa = |limited: &str| {
        json!({
            "metadata": {"name": "h"}, "spec": {"maxReplicas": 3},
            "status": {"currentReplicas": 3, "conditions": [
                {"type": "AbleToScale", "status": "True", "reason": "x", "lastTransitionTime": "t"},
                {"type": "ScalingLimited", "status": limited, "reason": "TooManyReplicas", "message": "m"},
            ]},
        })
    };
    let limited = json!({"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"});
    assert_eq!(
        body(kind("hpa"), &hpa("True")).plain()["status"],
        json!({"conditions": [limited]})
    );
    let node = json!({"metadata": {"name": "n"}, "status": {
        "capacity": {"cpu": "4"}, "nodeInfo": {"kubeletVersion": "v1.35.0"}, "images": [{"names": ["x"]}],
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n"}],
        "conditions": [{"type": "Ready"}],
    }});
    let plain = body(kind("no"), &node).plain();
    let keys: Vec<&String> = plain["status"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["addresses", "capacity", "nodeInfo"]);
    let waiting = json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "a", "imageID": ""}]}});
    assert_eq!(
        body(kind("po"), &waiting).plain()["status"],
        json!({"containerStatuses": [{"name": "a"}]})
    );
}

#[test]
fn custom_resource_hides_what_may_be_content() {
    let long = "x ".repeat(65);
    let object = json!({
        "apiVersion": "x.io/v1", "kind": "Thing",
        "metadata": {"name": "t", "namespace": "shop", "labels": {"data": "shown"}},
        "spec": {
            "plain": "shown", "none": null, "list": [null, 1],
            "long": long, "lines": "a\nb",
            "valuesObject": {"image": {"tag": "hidden"}, "replicas": 3, "list": [{"name": "hidden"}]},
            "postBuild": {"substituteFrom": ["hidden"]},
            "template": {"metadata": {"labels": {"app": "shown"}}},
            "password": "hidden-1234",
            "params": [{"name": "api-token", "value": "hidden-1234"}],
            "~": {"~x": "shown"},
        },
        "status": {"phase": "hidden"},
    });
    let kind = custom();
    let body = body(&kind, &object);
    let text = body.to_text();
    assert!(!text.contains("hidden") && !text.contains(&long), "{text}");
    let spec = &body.plain()["spec"];
    assert_eq!(spec["none"], Value::Null);
    assert_eq!(spec["list"], json!([null, 1]));
    assert_eq!(spec["~"], json!({"~x": "shown"}));
    assert_eq!(spec["template"], object["spec"]["template"]);
    assert_eq!(
        body.plain()["metadata"],
        json!({"labels": {"data": "shown"}})
    );
    let values = &body.stored().to_value()["spec"]["valuesObject"];
    for hidden in [
        &values["image"]["tag"],
        &values["replicas"],
        &values["list"][0]["name"],
    ] {
        assert!(
            hidden["~"]
                .as_str()
                .is_some_and(|text| text.starts_with('#'))
        );
    }
}

#[test]
fn identity_that_is_a_secret_makes_no_key() {
    let kind = custom();
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let object =
        json!({"metadata": {"name": "t"}, "spec": {"list": [{"name": token}, {"name": "b"}]}});
    let body = body(&kind, &object);
    assert!(!body.to_text().contains(token));
    assert!(body.stored().to_value()["spec"]["list"].is_array());
}

#[test]
fn what_is_too_large_is_one_mark_with_its_size() {
    let kind = custom();
    let wide = |keys: usize, value: &Value| -> Value {
        let fields: Map<String, Value> = (0..keys)
            .map(|n| (format!("k{n}"), value.clone()))
            .collect();
        Value::Object(fields)
    };
    let nested = (0..200).fold(json!(1), |inner, _| json!({"a": inner}));
    let long_list: Value = (0..60_000).collect();
    let object =
        |large: &Value| json!({"metadata": {"name": "t"}, "spec": {"large": large, "small": 1}});
    for (large, path) in [
        (wide(KEYS_MAX + 1, &json!(1)), "/spec/large"),
        (long_list, "/spec/large"),
        (
            json!({"in": wide(1000, &json!("y".repeat(100)))}),
            "/spec/large/in",
        ),
    ] {
        let object = object(&large);
        let body = body(&kind, &object);
        let mark = body.stored().to_value().pointer(path).unwrap().clone();
        let size = object.pointer(path).unwrap().to_string().len();
        assert_eq!(mark["size"], json!(size), "{path}");
        assert_eq!(body.stored().to_value()["spec"]["small"], 1);
    }
    let deep = body(&kind, &object(&nested));
    let text = deep.to_text();
    assert!(
        text.contains("\"size\"") && !text.contains("\"a\":1"),
        "{text}"
    );
    let fits = body(&kind, &object(&wide(KEYS_MAX, &json!(1))));
    assert!(fits.is_complete());
    // A change of one value in it is a change of the mark.
    let other = body(&kind, &object(&wide(KEYS_MAX + 1, &json!(2))));
    let one = body(&kind, &object(&wide(KEYS_MAX + 1, &json!(1))));
    let changes = diff::changes(kind.rules, &one, &other, false);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path.to_string(), "spec.large");
}

#[test]
fn largest_fields_are_marks_if_the_body_is_too_large() {
    let kind = custom();
    let field = |n: usize| -> Value { (0..n).map(|_| "y".repeat(100)).collect() };
    let object =
        json!({"metadata": {"name": "t"}, "a": field(300), "b": field(400), "c": field(10)});
    let body = body(&kind, &object);
    assert!(body.stored().to_value()["b"]["size"].is_u64());
    assert!(body.stored().to_value()["a"].is_array() && body.stored().to_value()["c"].is_array());
    assert!(body.to_text().len() <= BODY_BYTES_MAX);
}

#[test]
fn fields_that_do_not_fit_at_the_top_level_are_one_mark() {
    let kind = custom();
    let object = |fields: usize, key: usize, value: &Value| {
        let fields = (0..fields).map(|n| (format!("{n:0key$}"), value.clone()));
        let mut fields: Map<String, Value> = fields.collect();
        fields.insert(
            "metadata".to_owned(),
            json!({"name": "t", "labels": {"a": "b"}}),
        );
        Value::Object(fields)
    };
    for (fields, key) in [(KEYS_MAX + 50, 5), (500, 700), (100_000, 6)] {
        let one = body(&kind, &object(fields, key, &json!(1)));
        assert!(one.to_text().len() <= BODY_BYTES_MAX + 200, "{fields}");
        assert!(one.stored().as_map().unwrap().len() <= KEYS_MAX + 2);
        assert!(one.stored().to_value()["~rest"]["size"].is_u64());
        assert_eq!(one.plain()["metadata"], json!({"labels": {"a": "b"}}));
        assert_eq!(one, body(&kind, &object(fields, key, &json!(1))));
    }
    // A change in what does not fit is a change.
    let one = object(KEYS_MAX + 50, 5, &json!(1));
    let other = with(one.clone(), &format!("/{:05}", KEYS_MAX + 49), json!(2));
    let (one, other) = (body(&kind, &one), body(&kind, &other));
    let changes = diff::changes(kind.rules, &one, &other, false);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].path.to_string(), "[\"~rest\"]");
}

#[test]
fn hostile_objects_stay_within_the_bounds() {
    let kind = custom();
    let one = |value: String| format!(r#"{{"metadata":{{"name":"t"}},"spec":{value}}}"#);
    for text in [
        one(format!("[{}]", vec!["{}"; 400_000].join(","))),
        one(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))),
        one(format!(
            "{}1{}",
            "{\"a\":".repeat(60_000),
            "}".repeat(60_000)
        )),
        one(format!("\"{}\"", "\\u0001".repeat(100_000))),
        one(format!("[{}]", vec!["[[[1]]]"; 100_000].join(","))),
    ] {
        let object = scan(&kind, &text);
        let body = object.body(&key()).unwrap();
        assert!(body.to_text().len() <= BODY_BYTES_MAX);
    }
    // Texts that become longer when they are stored.
    for text in [
        "\u{1}".repeat(60_000),
        "pwd=a1 ".repeat(9000),
        "\"\\".repeat(30_000),
    ] {
        let object = json!({"metadata": {"name": "d", "annotations": {"a": text}}});
        let stored = body(self::kind("deploy"), &object).to_text();
        assert!(stored.len() <= BODY_BYTES_MAX + 2048, "{}", stored.len());
        assert!(!stored.contains("a1"));
    }
}

#[test]
fn schema_of_a_definition_is_one_mark() {
    let definition = |schema: &str| {
        json!({"metadata": {"name": "d"}, "spec": {"versions": [
            {"name": "v1", "served": true, "schema": {"openAPIV3Schema": {"description": schema}}},
        ], "conversion": {"webhook": {"clientConfig": {"caBundle": "Q0E="}}}}})
    };
    let body = |schema: &str| body(kind("crd"), &definition(schema));
    let version = &body("a").stored().to_value()["spec"]["versions"]["v1"].clone();
    assert_eq!(version["served"], true);
    assert_eq!(
        version["schema"]["size"],
        json!(r#"{"openAPIV3Schema":{"description":"a"}}"#.len())
    );
    assert_ne!(
        body("b").stored().to_value()["spec"]["versions"]["v1"]["schema"],
        version["schema"]
    );
    assert!(!body("a").to_text().contains("Q0E="));
}

#[test]
fn keys_have_one_escape_form() {
    let plain = r#"{"metadata":{"name":"m"},"spec":{"ab":1,"~":{"é":2}}}"#;
    let escaped = r#"{"metadata":{"name":"m"},"sp\u0065c":{"\u0061b":1,"\u007e":{"\u00e9":2}}}"#;
    let kind = custom();
    let of = |text: &str| scan(&kind, text).body(&key()).unwrap().to_text();
    assert_eq!(of(plain), of(escaped));
    assert_eq!(of(plain), r#"{"spec":{"ab":1,"~~":{"é":2}}}"#);
}

/// The body of an object, which must be that of an object that is measured and read again.
fn measured(kind: &TrackedKind, json: &str) -> String {
    let mut object = scan(kind, json);
    let body = object.body(&key()).unwrap().to_text();
    (object.may_be_too_large, object.found) = (true, None);
    assert_eq!(body, object.body(&key()).unwrap().to_text(), "{json}");
    body
}

#[test]
fn nothing_is_too_large_of_an_object_that_is_not_measured() {
    let custom = custom();
    let places = [
        (kind("cm"), r#"{"metadata":{"name":"a"},"data":%}"#),
        (kind("deploy"), r#"{"metadata":{"name":"a"},"spec":%}"#),
        (
            kind("deploy"),
            r#"{"metadata":{"name":"a","annotations":%}}"#,
        ),
        (kind("deploy"), r#"{"metadata":{"name":"a"},"status":%}"#),
        (
            kind("sts"),
            r#"{"metadata":{"name":"a"},"spec":{"volumeClaimTemplates":%}}"#,
        ),
        (
            kind("crd"),
            r#"{"metadata":{"name":"a"},"spec":{"versions":%}}"#,
        ),
        (
            &custom,
            r#"{"metadata":{"name":"a"},"spec":{"values":{"a":%}}}"#,
        ),
    ];
    let texts = [
        "\"\"",
        "\"\\u0001\"",
        "\"\\\"\"",
        "0",
        "null",
        "{}",
        "[]",
        r#"{"":""}"#,
        r#"{"":0}"#,
        r#"[""]"#,
        r#"{"schema":0}"#,
    ];
    for (kind, place) in places {
        for text in texts {
            let list = |n: usize| format!("[{}]", vec![text; n].join(","));
            let map = |n: usize| {
                let field = |n| format!("\"{n}\":{text}");
                format!("{{{}}}", (0..n).map(field).collect::<Vec<_>>().join(","))
            };
            for value in [&list as &dyn Fn(usize) -> String, &map] {
                // As many as are not measured.
                let (mut from, mut to) = (1, BODY_BYTES_MAX);
                while to - from > 1 {
                    let n = from.midpoint(to);
                    let json = place.replace('%', &value(n));
                    if json.len() > BODY_BYTES_MAX || scan(kind, &json).may_be_too_large {
                        to = n;
                    } else {
                        from = n;
                    }
                }
                measured(kind, &place.replace('%', &value(from)));
            }
        }
    }
}

#[test]
fn object_that_is_too_large_is_measured() {
    let text = "y".repeat(BODY_BYTES_MAX);
    let object = json!({"metadata": {"name": "a"}, "spec": {"a": text}});
    let body = measured(kind("deploy"), &object.to_string());
    assert!(body.contains("size"), "{body}");
}

/// Values with what the tables of kinds and the redaction know.
fn any_value() -> impl Strategy<Value = Value> {
    let texts = ["", "a", "\u{1}\"", "x\ny", "hunter2-plain", "--password"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        proptest::sample::select(texts.map(Value::from).to_vec()),
    ];
    let keys = [
        "",
        "~",
        "a",
        "b",
        "name",
        "value",
        "env",
        "data",
        "status",
        "template",
        "spec",
        "taints",
        "timeAdded",
        "containers",
        "containerStatuses",
        "image",
        "imageID",
        "nodeInfo",
        "versions",
        "schema",
        "caBundle",
        "volumeClaimTemplates",
        "deployment.kubernetes.io/revision",
        "conditions",
        "type",
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((proptest::sample::select(keys.to_vec()), inner), 0..6).prop_map(|fields| {
                let field = |(key, value): (&str, Value)| (key.to_owned(), value);
                Value::Object(fields.into_iter().map(field).collect())
            }),
        ]
    })
}

fn any_object() -> impl Strategy<Value = (Value, Value)> {
    let fields = [
        "spec",
        "status",
        "data",
        "labels",
        "annotations",
        "finalizers",
    ];
    let part = (proptest::sample::select(fields.to_vec()), any_value());
    let made = |parts: &[(&str, Value)], is_owned: bool| {
        let mut object = json!({"metadata": {"name": "a", "uid": "u"}});
        if is_owned {
            object["metadata"]["ownerReferences"] =
                json!([{"kind": "ReplicaSet", "name": "o", "uid": "o", "controller": true}]);
        }
        for (field, value) in parts {
            match *field {
                "labels" | "annotations" | "finalizers" => {
                    object["metadata"][field] = value.clone()
                }
                field => object[field] = value.clone(),
            }
        }
        object
    };
    // Two states that differ in their last field, or not at all.
    (vec(part, 1..5), any_value(), any::<bool>(), any::<bool>()).prop_map(
        move |(mut parts, other, is_same, is_owned)| {
            let one = made(&parts, is_owned);
            if let Some((_, last)) = parts.last_mut()
                && !is_same
            {
                *last = other;
            }
            (one, made(&parts, is_owned))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn equal_hashes_are_equal_bodies((one, other) in any_object(), kind in 0..=BUILT_IN.len()) {
        let custom = custom();
        let kind = BUILT_IN.get(kind).unwrap_or(&custom);
        let (one, other) = (one.to_string(), other.to_string());
        let body = measured(kind, &one);
        if scan(kind, &one).content_hash == scan(kind, &other).content_hash {
            prop_assert_eq!(&body, &measured(kind, &other));
        }
        if one == other {
            prop_assert_eq!(scan(kind, &one).content_hash, scan(kind, &other).content_hash);
        }
    }
}

#[test]
fn broken_object_is_an_error_that_quotes_nothing() {
    for text in [
        "",
        "[]",
        r#"{"metadata":{"name":"x"}"#,
        r#"{"metadata":{"name":"x"},"spec":{"password":"hunter2}}"#,
        r#"{"metadata":"hunter2"}"#,
        r#"{"metadata":{"name":"x"}} hunter2"#,
        r#"{"metadata":{"uid":["hunter2"]}}"#,
    ] {
        let object = Object::scan(kind("deploy"), text, &FixedState::with_seed(1), |_| false);
        let error = object.unwrap_err().to_string();
        assert!(
            error.starts_with("object does not decode at line"),
            "{error}"
        );
    }
}

#[test]
fn error_of_a_body_tells_where_in_the_object_it_is() {
    for (kind, bad) in [
        (
            "deploy",
            r#"{"metadata":{"name":"x"},"spec":{"a":"\ud800"}}"#,
        ),
        (
            "deploy",
            r#"{"metadata":{"name":"x","annotations":{"a":"\ud800"}}}"#,
        ),
        (
            "po",
            r#"{"metadata":{"name":"x"},"status":{"containerStatuses":[{"imageID":"\ud800"}]}}"#,
        ),
    ] {
        let error = scan(self::kind(kind), bad).body(&key()).unwrap_err();
        let by_serde = serde_json::from_str::<Value>(bad).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "object does not decode at line 1, column {}",
                by_serde.column()
            )
        );
    }
}

#[test]
fn form_depends_on_the_key_and_the_kind() {
    let of = |kind: &TrackedKind, secret: u8| form(kind, &MarkKey::new(&[secret; 32]));
    let one = of(kind("deploy"), 1);
    assert_eq!(one, of(kind("deploy"), 1));
    assert_ne!(one, of(kind("deploy"), 2));
    assert_ne!(one, of(kind("svc"), 1));
    let mut other = kind("deploy").clone();
    other.version = "v2".into();
    assert_ne!(one, of(&other, 1));
    other.version = "v1".into();
    other.rules = kind("svc").rules;
    assert_ne!(one, of(&other, 1));
}

#[test]
fn map_of_which_nothing_is_in_the_body_is_absent() {
    let of = |annotations: Value| {
        let object = json!({"metadata": {"name": "web", "annotations": annotations}, "spec": {"replicas": 1}});
        body(kind("deploy"), &object).to_text()
    };
    let absent = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
    let absent = body(kind("deploy"), &absent).to_text();
    assert_eq!(
        of(json!({"deployment.kubernetes.io/revision": "1"})),
        absent
    );
    assert_ne!(
        of(json!({"deployment.kubernetes.io/revision": "1", "note": "x"})),
        absent
    );
    // What is empty itself stays: a selector that selects everything.
    let budget = |spec: Value| {
        body(
            kind("pdb"),
            &json!({"metadata": {"name": "b"}, "spec": spec}),
        )
        .to_text()
    };
    assert_ne!(budget(json!({"selector": {}})), budget(json!({})));
}
