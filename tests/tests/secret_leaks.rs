//! Values of ConfigMaps and of environment variables are not kept: no byte of them is on disk, in the log, in the metrics
//! or in a health answer. They are dropped while they are decoded (`objects` in kube9-ingest).
//!
//! The change history of more kinds: no planted value is there either, each changed one is a change, and marks of one
//! namespace tell nothing about another.
//!
//! No Secret objects are planted, because the recorder never requests Secrets.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kube9_base::clock::Clock;
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use kube9_recorder::logging;
use kube9_tests::apiserver::{self, ApiServer, Kind};
use kube9_tests::client::Client;
use kube9_tests::recorder::{Setup, wait_until};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// Environment variable with the configuration of the child.
const CHILD: &str = "KUBE9_TEST_PLANTED_CONFIG";

/// The child process; does nothing without the variable.
#[test]
fn recorder_child_process() {
    let Some(file) = std::env::var_os(CHILD) else {
        return;
    };
    let text = fs::read_to_string(file).unwrap();
    let config = Config::from_text(&text, &Flags::default(), &ProcessEnvironment)
        .unwrap()
        .config;
    logging::init(&config.log, str::to_owned).unwrap();
    kube9_recorder::runtime()
        .unwrap()
        .block_on(async {
            let mut terminate = signal(SignalKind::terminate()).unwrap();
            kube9_recorder::run(config, Clock::system(), async move {
                terminate.recv().await;
            })
            .await
        })
        .unwrap();
}

/// Environment variable with the arguments of `kube9-query`, a line each.
const QUERY: &str = "KUBE9_TEST_QUERY_ARGUMENTS";

/// The child process; does nothing without the variable.
#[test]
fn query_child_process() {
    let Some(arguments) = std::env::var_os(QUERY) else {
        return;
    };
    let arguments = arguments.into_string().unwrap();
    kube9_query::run(arguments.lines().map(Into::into));
}

/// What every command of `kube9-query` prints, in each format.
pub(crate) fn query_outputs(setup: &Setup) -> Vec<(String, Vec<u8>)> {
    let database = setup.database().display().to_string();
    let ids = setup.column("SELECT id FROM events ORDER BY id DESC LIMIT 5");
    let gets = ids
        .unwrap()
        .into_iter()
        .map(|id| format!("events get {id}"));
    let commands = [
        "status",
        "events list --limit 1000",
        "events list --search a --limit 1000",
        "events stats",
        "events stats --by reason",
        "events timeline",
        "events export",
    ];
    let commands: Vec<String> = commands
        .map(str::to_owned)
        .into_iter()
        .chain(gets)
        .collect();
    let mut outputs = Vec::new();
    for command in commands {
        for format in ["json", "yaml", "table", "wide", "jsonl", "csv"] {
            let line = format!("kube9-query {command} --format {format} --db {database}");
            let output = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "secret_leaks::query_child_process",
                    "--nocapture",
                ])
                .env(QUERY, line.replace(' ', "\n"))
                .output()
                .unwrap();
            let text = [output.stdout, output.stderr].concat();
            outputs.push((format!("{command} {format}"), text));
        }
    }
    outputs
}

/// Killed when the test ends early.
struct Recorder(Child);

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    fn start(setup: &Setup) -> Self {
        let config = setup.folder.join("recorder.yaml");
        fs::write(&config, &setup.yaml).unwrap();
        let log = File::create(setup.folder.join("log")).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "secret_leaks::recorder_child_process",
                "--nocapture",
            ])
            .env(CHILD, config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn stop(mut self) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(status.unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

/// How every planted value begins; a number of four digits follows.
const MARK: &str = "pLaNtEd";

/// Planted values found in `bytes`, with the following text.
fn planted(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let found = text.split(MARK).skip(1);
    found.map(|rest| rest.chars().take(16).collect()).collect()
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn config_map(name: &str, value: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"data\":{{\"mode\":\"{value}-applied\"}}}}")}},
        "data": {"mode": format!("{value}-mode"), "db-password": format!("{value}-password"),
                 "key.pem": format!("-----BEGIN PRIVATE KEY-----\n{value}-pem\n-----END PRIVATE KEY-----")},
        "binaryData": {"blob": format!("{value}Blob")},
    })
}

fn pod(name: &str, value: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "registry/web:1",
            "args": [format!("--password={value}-argument")],
            "env": [{"name": "MODE", "value": format!("{value}-env")}, {"name": "API_TOKEN", "value": format!("{value}-token")}]}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "ready": true, "restartCount": 0, "state": {"running": {}}}]},
    })
}

/// Number of ConfigMaps and of pods with planted values.
const PLANTED: u32 = 200;

#[test]
fn secret_values_never_reach_disk_or_output() {
    let server = ApiServer::start(apiserver::Config::default()).unwrap();
    let store = server.store();
    let plant = |n: u32| {
        let (name, value) = (format!("planted-{n}"), format!("{MARK}{n:04}"));
        store
            .create(Kind::ConfigMap, config_map(&name, &value))
            .unwrap();
        store.create(Kind::Pod, pod(&name, &value)).unwrap();
    };
    (0..PLANTED / 2).for_each(plant); // the list shows them
    let folder = tempfile::tempdir().unwrap();
    let more = "analysis: {thresholds: {assessment: 0s}}\n";
    let mut setup = Setup::new(&server, folder.path(), more).unwrap();
    setup.yaml = setup.yaml.replace("level: info", "level: trace");
    let recorder = Recorder::start(&setup);
    let known = |sql: &str, number: u32| {
        assert!(
            wait_until(|| setup.number(sql) == Some(number.into())),
            "{number} expected, {:?} found: {sql}\n{}",
            setup.number(sql),
            fs::read_to_string(folder.path().join("log")).unwrap()
        );
    };
    let tracked = "SELECT count(*) FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind \
                   WHERE k.kind IN ('ConfigMap', 'Pod')";
    known(tracked, PLANTED);
    (PLANTED / 2..PLANTED).for_each(plant); // delivered by the watch
    known(tracked, 2 * PLANTED);
    let change = |map: &mut Value| map["data"]["mode"] = json!(format!("{MARK}9999-mode"));
    store
        .modify(Kind::ConfigMap, "shop", "planted-7", change)
        .unwrap();
    known(
        "SELECT count(*) FROM events WHERE title = 'ConfigMap changed'",
        1,
    );
    // The recorder reports the keys of the values.
    known(
        "SELECT count(*) FROM events WHERE metadata LIKE '%db-password%' AND metadata LIKE '%\"SecretInConfigMap\"%'",
        PLANTED,
    );
    known(
        "SELECT count(*) FROM events WHERE metadata LIKE '%API_TOKEN%' AND metadata LIKE '%\"SecretInEnvVar\"%'",
        PLANTED,
    );

    let client = Client::new(&format!("http://{}", setup.listen), None);
    for path in ["/metrics", "/healthz"] {
        let body = client.get(path).unwrap().body;
        assert!(!body.is_empty());
        assert_eq!(planted(&body), [""; 0], "{path}");
    }
    recorder.stop();
    let files = files(folder.path());
    for file in ["kube9.db", "log"] {
        let is_there =
            |(name, bytes): &(String, Vec<u8>)| name.ends_with(file) && !bytes.is_empty();
        assert!(files.iter().any(is_there), "{file}");
    }
    for (name, bytes) in files {
        assert_eq!(planted(&bytes), [""; 0], "{name}");
    }
}

/// A token as GitHub issues them, with a planted value in it.
fn token(n: u32) -> String {
    format!("ghp_{MARK}{n:04}kL3nP6qR9tU2wX5zA8dB1eC4f")
}

/// An object of a kind with planted values in many places, by its number; `n` numbers the values.
fn object_with_secrets(kind: Kind, namespace: &str, name: &str, n: u32) -> Value {
    let value = format!("{MARK}{n:04}Xy7");
    let token = token(n);
    let manager = json!({
        "manager": token, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:list": {format!("v:\"{value}\""): {}}}},
    });
    let applied = format!("{{\"spec\":{{\"env\":[{{\"name\":\"A\",\"value\":\"{value}\"}}]}}}}");
    let annotations = json!({
        "kubectl.kubernetes.io/last-applied-configuration": applied,
        "kapp.k14s.io/original": applied,
        "example.com/kubeconfig": format!("apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: {{x: {value}}}\n"),
        "example.com/db-password": value,
        "example.com/dsn": format!("postgres://app:{value}@db/shop"),
        "example.com/note": format!("use {token}"),
        token.as_str(): "a key",
    });
    let mut metadata = json!({
        "name": name, "annotations": annotations, "managedFields": [manager],
        "labels": {"token": token, "app": "web"},
    });
    if kind.namespaced() {
        metadata["namespace"] = json!(namespace);
    }
    let header =
        json!({"httpGet": {"path": "/", "httpHeaders": [{"name": "X-Probe", "value": value}]}});
    let app = json!({
        "name": token, "image": format!("https://user:{value}@registry.example/web:1"),
        "args": ["--password", value, format!("--api-token={value}")],
        "command": ["sh", "-c", format!("export DB_PASSWORD={value} && run")],
        "env": [{"name": "MODE", "value": value}, {"name": "TWICE", "value": "1"}, {"name": "TWICE", "value": value}],
        "livenessProbe": header,
        "lifecycle": {"preStop": {"exec": {"command": ["curl", "-u", format!("admin:{value}"), "http://a"]}}},
    });
    let pod = json!({"containers": [app], "volumes": [{"name": token, "emptyDir": {}}]});
    let mut object = match kind {
        Kind::Deployment => json!({"spec": {
            "replicas": 1, "template": {"metadata": {"labels": {"token": token}}, "spec": pod}}}),
        Kind::Pod => json!({"spec": pod, "status": {"phase": "Running", "message": token}}),
        Kind::Service => json!({"spec": {"selector": {"a": token}, "externalName": token}}),
        Kind::ConfigMap => json!({"data": {
            "values.yaml": format!("login: {value}"), "config.json": format!("{{\"login\":\"{value}\"}}"),
            "release": format!("H4sIAAAA{value}"), token.as_str(): "a key"}}),
        Kind::Node => {
            json!({"spec": {"taints": [{"key": "a", "value": token, "effect": "NoSchedule"}]}})
        }
        _ => json!({}),
    };
    object["metadata"] = metadata;
    object
}

/// All marks in the rows and revisions of a namespace.
fn marks(setup: &Setup, namespace: &str) -> std::collections::BTreeSet<String> {
    let sql = format!(
        "SELECT body FROM revision r JOIN tracked_object o ON o.id = r.id >> 24 WHERE o.namespace = '{namespace}' \
         UNION ALL SELECT metadata || title || description FROM events WHERE object_namespace = '{namespace}'"
    );
    let texts = setup.column(&sql).unwrap().join("\n");
    let digits = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).collect();
        matches!(digits.len(), 8 | 16).then_some(digits)
    };
    texts.split('#').skip(1).filter_map(digits).collect()
}

#[test]
fn secrets_in_changes_never_reach_disk_or_output() {
    const KINDS: [Kind; 5] = [
        Kind::Deployment,
        Kind::Pod,
        Kind::Service,
        Kind::ConfigMap,
        Kind::Namespace,
    ];
    let server = ApiServer::start(apiserver::Config::default()).unwrap();
    let store = server.store();
    let folder = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(&server, folder.path(), "").unwrap();
    setup.yaml = setup.yaml.replace("level: info", "level: trace");
    // A Namespace has the name of its own, which differs from those of the other objects.
    let name = |kind: Kind, namespace: &str| match kind {
        Kind::Namespace => namespace.to_owned(),
        _ => "web".to_owned(),
    };
    let mut planted_values = 0;
    let mut each = |n: u32, modify: bool| {
        for namespace in ["shop", "evil"] {
            for kind in KINDS {
                let name = name(kind, namespace);
                // The same values in both namespaces.
                let object = object_with_secrets(kind, namespace, &name, n);
                planted_values += object.to_string().matches(MARK).count();
                if modify {
                    let change = |old: &mut Value| {
                        let metadata = old["metadata"].take();
                        *old = object;
                        for own in ["uid", "creationTimestamp"] {
                            old["metadata"][own] = metadata[own].clone();
                        }
                    };
                    store.modify(
                        kind,
                        if kind.namespaced() { namespace } else { "" },
                        &name,
                        change,
                    )
                } else {
                    store.create(kind, object)
                }
                .unwrap();
            }
        }
    };
    each(1, false);
    let recorder = Recorder::start(&setup);
    let known = |sql: &str, number: i64| {
        assert!(
            wait_until(|| setup.number(sql) == Some(number)),
            "{number} expected, {:?} found: {sql}",
            setup.number(sql),
        );
    };
    let objects =
        "SELECT count(*) FROM tracked_object WHERE deleted_ms IS NULL AND name <> 'kube-system'";
    known(objects, 10);
    let rows = "SELECT count(*) FROM events WHERE metadata ->> 'op' = 'changed'";
    for n in 2..=6 {
        each(n, true);
        known(rows, 10 * i64::from(n - 1));
    }
    for kind in KINDS {
        let namespace = if kind.namespaced() { "shop" } else { "" };
        store.delete(kind, namespace, &name(kind, "shop")).unwrap();
    }
    known(
        "SELECT count(*) FROM events WHERE metadata ->> 'op' = 'deleted'",
        5,
    );
    assert!(planted_values > 300, "{planted_values}");

    // A changed value has another mark.
    let same = "SELECT count(*) FROM events, json_each(metadata, '$.fields') f \
                WHERE f.value ->> 'op' = 'changed' AND f.value ->> 'from' = f.value ->> 'to'";
    assert_eq!(setup.number(same), Some(0));
    for path in ["config.json", "env", "annotations"] {
        let sql =
            format!("SELECT count(*) > 0 FROM events WHERE metadata -> '$.fields' LIKE '%{path}%'");
        assert_eq!(setup.number(&sql), Some(1), "{path}");
    }
    // No mark of one namespace is in the other, although both have the same values.
    let (of_shop, of_evil) = (marks(&setup, "shop"), marks(&setup, "evil"));
    assert!(
        of_shop.len() > 50 && of_evil.len() > 50,
        "{of_shop:?} {of_evil:?}"
    );
    let common: Vec<&String> = of_shop.intersection(&of_evil).collect();
    assert!(common.is_empty(), "{common:?}");

    for path in ["/metrics", "/healthz", "/readyz"] {
        let client = Client::new(&format!("http://{}", setup.listen), None);
        let body = client.get(path).unwrap().body;
        assert_eq!(planted(&body), [""; 0], "{path}");
    }
    for (command, output) in query_outputs(&setup) {
        assert_eq!(planted(&output), [""; 0], "{command}");
    }
    recorder.stop();
    let key = fs::read(folder.path().join("data").join("kube9.key")).unwrap();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, bytes) in files(folder.path()) {
        assert_eq!(planted(&bytes), [""; 0], "{name}");
        // Without the key, a mark cannot be compared with a guess.
        if !name.ends_with("kube9.key") {
            let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
            assert!(!has(&key) && !has(hex.as_bytes()), "the key is in {name}");
        }
    }
}
