//! Secrets in each place of an object where people have put one: no byte of them is in the body, a changed one is a change,
//! and the same one elsewhere looks different.

use foldhash::quality::FixedState;
use kube9_model::change::body::{Body, Shape};
use kube9_model::change::diff;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::change::stored::Stored;
use serde_json::{Value, json};

use super::*;

/// A kind, and an object with `%` where the secret is.
type HiddenField = (&'static str, Value);

/// Places of which every value is hidden.
fn hidden_places() -> Vec<HiddenField> {
    let container = |more: Value| {
        let mut app = json!({"name": "app", "image": "web:1"});
        for (key, value) in more.as_object().unwrap() {
            app[key] = value.clone();
        }
        json!({"spec": {"template": {"spec": {"containers": [app]}}}})
    };
    let annotation = |key: &str, text: &str| json!({"metadata": {"annotations": {key: text}}});
    let headers = json!({"httpGet": {"httpHeaders": [{"name": "X-Probe", "value": "%"}]}});
    let of_shell = |text: &str| json!({"exec": {"command": ["sh", "-c", text]}});
    let kubeconfig = "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    x: %\n";
    let base64 = "QWxhZGRpbjpvcGVuIHNlc2FtZQ".repeat(6);
    let mut places: Vec<HiddenField> = vec![
        ("cm", json!({"data": {"mode": "%"}})),
        ("cm", json!({"data": {"app.properties": "a=%\nb=2"}})),
        ("cm", json!({"data": {"values.yaml": "image: a\nlogin: %"}})),
        ("cm", json!({"data": {"config.json": "{\"login\":\"%\"}"}})),
        ("cm", json!({"data": {"kubeconfig": kubeconfig}})),
        ("cm", json!({"data": {"release": format!("{base64}%")}})),
        ("cm", json!({"binaryData": {"release": "%"}})),
        ("cm", json!({"data": {"a": {"b": ["%"]}}})),
        (
            "deploy",
            container(json!({"env": [{"name": "MODE", "value": "%"}]})),
        ),
        (
            "deploy",
            container(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "%"}]})),
        ),
        ("deploy", container(json!({"livenessProbe": headers}))),
        (
            "deploy",
            container(json!({"lifecycle": {"preStop": headers}})),
        ),
        (
            "deploy",
            container(json!({"lifecycle": {"postStart": of_shell("curl -u admin:% http://a")}})),
        ),
        (
            "deploy",
            container(json!({"readinessProbe": of_shell("mysqladmin ping -p%")})),
        ),
        (
            "deploy",
            container(json!({"args": ["--password=%", "--port=1"]})),
        ),
        ("deploy", container(json!({"args": ["--password", "%"]}))),
        (
            "deploy",
            container(json!({"args": ["--api-token", "%", "-v"]})),
        ),
        (
            "deploy",
            container(json!({"command": ["sh", "-c", "export DB_PASSWORD=% && run"]})),
        ),
        (
            "deploy",
            container(json!({"image": "https://user:%@registry.example/web:1"})),
        ),
        (
            "deploy",
            container(json!({"image": "user:%@registry.example/web:1"})),
        ),
        (
            "deploy",
            json!({"spec": {"template": {"metadata": {"annotations": {"db-password": "%"}}}}}),
        ),
        (
            "deploy",
            json!({"spec": {"template": {"spec": {"initContainers": [
            {"name": "i", "env": [{"name": "B", "value": "%"}]}]}}}}),
        ),
        (
            "cronjob",
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [
            {"name": "c", "env": [{"name": "B", "value": "%"}]}]}}}}}}),
        ),
        (
            "po",
            json!({"spec": {"ephemeralContainers": [{"name": "d", "env": [{"name": "B", "value": "%"}]}]}}),
        ),
        (
            "svc",
            annotation(
                "kubectl.kubernetes.io/last-applied-configuration",
                "{\"data\":\"%\"}",
            ),
        ),
        (
            "deploy",
            annotation(
                "kapp.k14s.io/original",
                "{\"spec\":{\"env\":[{\"name\":\"A\",\"value\":\"%\"}]}}",
            ),
        ),
        (
            "deploy",
            annotation(
                "kopf.zalando.org/last-handled-configuration",
                "{\"spec\":{\"a\":\"%\"}}\n",
            ),
        ),
        (
            "svc",
            annotation(
                "objectset.rio.cattle.io/applied",
                &format!("H4sIAAAA{base64}%"),
            ),
        ),
        ("ns", annotation("example.com/kubeconfig", kubeconfig)),
        (
            "ns",
            annotation(
                "example.com/manifest",
                "{\"apiVersion\":\"v1\",\"kind\":\"X\",\"a\":\"%\"}",
            ),
        ),
        ("ns", annotation("example.com/db-password", "%")),
        (
            "ns",
            annotation("example.com/settings", "{\"password\":\"%\"}"),
        ),
        (
            "ns",
            annotation("example.com/settings", "user=a password=% port=1"),
        ),
        (
            "ns",
            annotation("example.com/url", "postgres://app:%@db/shop"),
        ),
        (
            "ing",
            annotation(
                "nginx.ingress.kubernetes.io/configuration-snippet",
                "proxy_set_header Authorization \"Bearer %\";",
            ),
        ),
        (
            "ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "a.b.c", "clientConfig": {"caBundle": "%"}}]}),
        ),
        (
            "MutatingWebhookConfiguration",
            json!({"webhooks": [
            {"name": "a.b.c", "clientConfig": {"url": "https://u:%@hook/x"}}]}),
        ),
        ("apiservice", json!({"spec": {"caBundle": "%"}})),
        (
            "crd",
            json!({"spec": {"conversion": {"webhook": {"clientConfig": {"caBundle": "%"}}}}}),
        ),
        (
            "crd",
            json!({"spec": {"versions": [{"name": "v1", "schema": {"default": "%"}}]}}),
        ),
        (
            "pv",
            json!({"spec": {"csi": {"volumeAttributes": {"password": "%"}}}}),
        ),
        (
            "pv",
            json!({"spec": {"mountOptions": ["username=a,password=%"]}}),
        ),
        ("sc", json!({"parameters": {"secretKey": "%"}})),
        (
            "no",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule", "value": "password=%"}]}}),
        ),
    ];
    for custom in [
        json!({"spec": {"values": {"login": "%"}}}),
        json!({"spec": {"helm": {"valuesObject": {"a": [{"b": "%"}]}}}}),
        json!({"spec": {"helm": {"parameters": [{"name": "a", "value": "%"}]}}}),
        json!({"spec": {"stringData": {"a": "%"}}}),
        json!({"spec": {"template": {"data": {"a": 1, "b": "%"}}}}),
        json!({"spec": {"postBuild": {"substitute": {"a": "%"}}}}),
        json!({"spec": {"userData": "%"}}),
        json!({"spec": {"content": "%"}}),
        json!({"spec": {"script": "first\nlogin %"}}),
        json!({"spec": {"text": format!("{}%", "long ".repeat(30))}}),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "env": [{"name": "B", "value": "%"}]}]}}}}),
        json!({"spec": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "%"}]}}),
        json!({"spec": {"env": {"MODE": "%"}}}),
        json!({"spec": {"env": ["MODE=%"]}}),
        json!({"spec": {"env": ["-DMODE=%", "x"]}}),
        json!({"spec": {"driver": {"envVars": {"MODE": "%"}}}}),
        json!({"spec": {"extraEnv": [{"name": "A", "value": "%"}]}}),
        json!({"spec": {"pod": {"environment": {"A": {"deep": "%"}}}}}),
        json!({"spec": {"probe": {"httpHeaders": [{"name": "X", "value": "%"}]}}}),
        json!({"spec": {"request": {"headers": {"X-Custom": "%"}}}}),
        json!({"spec": {"auth": {"password": "%"}}}),
        json!({"spec": {"clientSecret": "%"}}),
        json!({"spec": {"apiKey": "%"}}),
        json!({"spec": {"settings": "{\"password\":\"%\",\"a\":1}"}}),
        json!({"spec": {"dsn": "mysql://root:%@tcp(db:3306)/x"}}),
        json!({"spec": {"args": ["--client-secret", "%"]}}),
        json!({"spec": {"options": [{"key": "api-token", "value": "%"}]}}),
        json!({"spec": {"ca": {"caBundle": "%"}}}),
        json!({"status": {"generatedPassword": "%", "message": "login %"}}),
        json!({"status": {"conditions": [{"type": "Ready", "message": "%"}]}}),
    ] {
        places.push(("Thing", custom));
    }
    places
}

/// Places of which only what has the form of a secret is hidden.
fn open_places() -> Vec<HiddenField> {
    let container = |more: Value| {
        let mut app = json!({"image": "web:1"});
        for (key, value) in more.as_object().unwrap() {
            app[key] = value.clone();
        }
        json!({"spec": {"template": {"spec": {"containers": [app]}}}})
    };
    let mut places: Vec<HiddenField> = vec![
        ("deploy", container(json!({"name": "%"}))),
        ("deploy", container(json!({"name": "a", "args": ["%"]}))),
        (
            "deploy",
            container(json!({"name": "a", "args": ["run", "%"]})),
        ),
        (
            "deploy",
            container(json!({"name": "a", "workingDir": "/tmp/%"})),
        ),
        (
            "deploy",
            container(json!({"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/a/%"}]})),
        ),
        (
            "deploy",
            container(json!({"name": "a", "env": [{"name": "%", "value": "1"}]})),
        ),
        (
            "deploy",
            json!({"spec": {"template": {"spec": {"volumes": [{"name": "%"}]}}}}),
        ),
        (
            "deploy",
            json!({"spec": {"template": {"metadata": {"labels": {"a": "%"}}}}}),
        ),
        (
            "deploy",
            json!({"spec": {"selector": {"matchLabels": {"%": "a"}}}}),
        ),
        ("cm", json!({"data": {"%": "a"}})),
        ("cm", json!({"data": {"~%": "a"}})),
        ("ns", json!({"metadata": {"labels": {"%": "a"}}})),
        ("ns", json!({"metadata": {"labels": {"a": "%"}}})),
        ("ns", json!({"metadata": {"annotations": {"%": "a"}}})),
        (
            "ns",
            json!({"metadata": {"annotations": {"example.com/%": "a"}}}),
        ),
        ("ns", json!({"metadata": {"annotations": {"a": "x %"}}})),
        ("cm", json!({"metadata": {"finalizers": ["example.com/%"]}})),
        (
            "cm",
            json!({"metadata": {"ownerReferences": [{"uid": "%", "name": "a"}]}}),
        ),
        (
            "cm",
            json!({"metadata": {"ownerReferences": [{"uid": "u", "name": "%"}]}}),
        ),
        (
            "svc",
            json!({"spec": {"selector": {"a": "%"}, "externalName": "%"}}),
        ),
        (
            "svc",
            json!({"spec": {"ports": [{"name": "%", "port": 1}]}}),
        ),
        (
            "svc",
            json!({"status": {"loadBalancer": {"ingress": [{"hostname": "%"}]}}}),
        ),
        (
            "no",
            json!({"spec": {"taints": [{"key": "%", "effect": "NoSchedule"}]}}),
        ),
        (
            "no",
            json!({"spec": {"taints": [{"key": "a", "value": "%", "effect": "NoSchedule"}]}}),
        ),
        ("no", json!({"status": {"nodeInfo": {"osImage": "%"}}})),
        ("pv", json!({"spec": {"csi": {"volumeHandle": "%"}}})),
        ("sa", json!({"secrets": [{"name": "%"}]})),
        (
            "role",
            json!({"rules": [{"resourceNames": ["%"], "verbs": ["get"]}]}),
        ),
        ("ing", json!({"spec": {"rules": [{"host": "%"}]}})),
        (
            "validatingadmissionpolicy",
            json!({"spec": {"variables": [{"name": "a", "expression": "'%'"}]}}),
        ),
    ];
    for custom in [
        json!({"spec": {"anything": "%"}}),
        json!({"spec": {"users": {"%": {"role": "admin"}}}}),
        json!({"spec": {"list": [{"name": "%", "a": 1}]}}),
        json!({"spec": {"list": [{"id": "%"}, {"id": "b"}]}}),
        json!({"spec": {"list": ["%"]}}),
        json!({"metadata": {"annotations": {"%": "%"}}}),
    ] {
        places.push(("Thing", custom));
    }
    places
}

/// Two secrets of each form that scanners know.
const FORMS: [[&str; 2]; 5] = [
    [
        "ghp_pLaNtEd0aB3dE6gH9jK2mN5pQ8sT1vW4yZ7c",
        "ghp_pLaNtEd1bC4eF7hJ0kL3nP6qR9tU2wX5zA8d",
    ],
    ["AKIAPLANTED0WX4YZ7QP", "AKIAPLANTED1WX4YZ7QP"],
    [
        "xoxb-123456789012-1234567890123-pLaNtEd0aB3dE6gH9jK2mN5p",
        "xoxb-123456789012-1234567890123-pLaNtEd1aB3dE6gH9jK2mN5p",
    ],
    ["glpat-pLaNtEd0aB3dE6gH9j", "glpat-pLaNtEd1aB3dE6gH9j"],
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwTGFOdEVkIn0.pLaNtEd0aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cXaB",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwTGFOdEVkIn0.pLaNtEd1aB3dE6gH9jK2mN5pQ8sT1vW4yZ7cXaB",
    ],
];

fn kind(name: &str) -> TrackedKind {
    match name {
        "Thing" => TrackedKind::custom(&"x.io/v1/things".parse().unwrap(), "Thing", true),
        name => TrackedKind::find(BUILT_IN.iter(), name).unwrap().clone(),
    }
}

fn body(
    kind: &TrackedKind,
    place: &Value,
    secret: &str,
    (namespace, name): (&str, &str),
) -> Body<'static> {
    let escaped = serde_json::to_string(secret).unwrap();
    let json = place.to_string().replace('%', escaped.trim_matches('"'));
    let mut object: Value = serde_json::from_str(&json).unwrap();
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["name"] = json!(name);
    let json = object.to_string();
    let object = Object::scan(kind, &json, &FixedState::with_seed(1), |_| false).unwrap();
    let body = object.body(&MarkKey::new(&[3; 32]));
    body.unwrap().into_owned()
}

/// Each mark of a body.
fn marks(body: &Body) -> Vec<String> {
    let text = body.to_text();
    let digits = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        (digits.len() == 16).then_some(digits)
    };
    text.split('#').skip(1).filter_map(digits).collect()
}

fn check(name: &str, place: &Value, [one, other]: [&str; 2]) -> Option<String> {
    let kind = kind(name);
    let first = body(&kind, place, one, ("shop", "a"));
    let shown = first.to_text();
    // A part that is left tells the secret.
    let lower = shown.to_lowercase();
    if lower.contains("planted") || lower.contains("jk2mn5") {
        return Some(format!("{name} {place}: {shown}"));
    }
    let is_in_body = place["status"].is_null() || !kind.rules.is_custom();
    // Not in the body, or silent.
    let text = place.to_string();
    let is_applied = text.contains("last-applied") || text.contains("finalizers");
    let again = body(&kind, place, other, ("shop", "a"));
    if is_in_body && !is_applied {
        let fields = diff::changes(kind.rules, &first, &again, false);
        if fields.iter().all(|field| field.silent) {
            return Some(format!("{name} {place}: no change: {shown}"));
        }
    }
    // The same secret in another object and in another namespace.
    let of_first = marks(&first);
    for (namespace, object) in [("shop", "b"), ("evil", "a")] {
        let planted = body(&kind, place, one, (namespace, object));
        if let Some(mark) = marks(&planted).iter().find(|mark| of_first.contains(mark)) {
            return Some(format!(
                "{name} {place}: {mark} in {namespace}/{object} too"
            ));
        }
    }
    None
}

#[test]
fn no_secret_is_in_a_body_and_each_change_of_one_is_seen() {
    let mut faults = Vec::new();
    let mut planted = 0;
    let plain = ["pLaNtEd-one-Xy7", "pLaNtEd-two-Xy8"];
    for (kind, place) in hidden_places() {
        for secret in [plain, FORMS[0], FORMS[3]] {
            planted += 1;
            faults.extend(check(kind, &place, secret));
        }
    }
    for (kind, place) in open_places() {
        for secret in FORMS {
            planted += 1;
            faults.extend(check(kind, &place, secret));
        }
    }
    assert!(faults.is_empty(), "{}: {:#?}", faults.len(), faults);
    assert!(planted >= 300, "{planted}");
}

/// Bodies of two releases are compared only if both have the same form. The redaction and the choice of fields decide about it
/// by code, not only by tables.
#[test]
fn form_version_is_raised_with_the_bodies() {
    /// [`FORM_VERSION`], [`redact::VERSION`], and the hash of the bodies.
    const EXPECTED: (u32, u32, u64) = (3, 1, 9_006_659_143_299_333_784);
    let mut texts = String::new();
    for (name, place) in hidden_places().into_iter().chain(open_places()) {
        let kind = kind(name);
        for [secret, _] in FORMS.into_iter().chain([["plain-Xy7", ""]]) {
            texts.push_str(&body(&kind, &place, secret, ("shop", "a")).to_text());
        }
    }
    let hash = stable_hash(texts.as_bytes());
    let found = (FORM_VERSION, redact::VERSION, hash);
    assert_eq!(
        found, EXPECTED,
        "raise FORM_VERSION, and set EXPECTED to what was found"
    );
}

#[test]
fn equal_secrets_under_two_keys_have_two_marks() {
    let map = json!({"data": {"a": "%", "b": "%"}, "binaryData": {"a": "%"}});
    let body = body(&kind("cm"), &map, "pLaNtEd", ("shop", "a"));
    let mut marks = marks(&body);
    marks.sort_unstable();
    marks.dedup();
    assert_eq!(marks.len(), 3, "{}", body.to_text());
}

#[test]
fn words_of_a_custom_resource_stay_readable() {
    let spec = json!({
        "environment": "production", "replicas": 3, "envFrom": [{"configMapRef": {"name": "settings"}}],
        "containers": [{"name": "app", "env": [
            {"name": "MODE", "value": "fast"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
        ]}],
        "match": [{"uri": {"prefix": "/api"}}], "host": "shop.example.com", "eventheaders": "x",
    });
    let body = body(&kind("Thing"), &json!({"spec": spec}), "", ("shop", "a"));
    let plain = body.plain();
    let shown = |pointer: &str| plain.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(shown("/spec/environment"), "production");
    assert_eq!(shown("/spec/eventheaders"), "x");
    assert_eq!(shown("/spec/match"), json!([{"uri": {"prefix": "/api"}}]));
    assert_eq!(shown("/spec/envFrom/0/configMapRef/name"), "settings");
    assert_eq!(shown("/spec/containers/0/env/0/name"), "MODE");
    assert_eq!(
        shown("/spec/containers/0/env/1/valueFrom/secretKeyRef/name"),
        "keys"
    );
    let env = body
        .stored()
        .get("spec")
        .and_then(|spec| spec.get("containers"));
    let env = env
        .and_then(|list| list.get("app"))
        .and_then(|app| app.get("env"));
    let value = env
        .and_then(|env| env.get("MODE"))
        .and_then(|mode| mode.get("value"));
    assert!(
        matches!(value.map(Shape::of), Some(Shape::Hidden { .. })),
        "{value:?}"
    );
    let is_list =
        |value: Option<&Stored>| value.is_some_and(|one| matches!(Shape::of(one), Shape::List(_)));
    assert!(is_list(env));
}
