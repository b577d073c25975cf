//! Values of ConfigMaps and of environment variables are not kept: no byte of them is on disk, in the log, in the metrics
//! or in a health answer. They are dropped while they are decoded (`objects` in kube9-ingest).
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
