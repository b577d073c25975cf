//! Values of ConfigMaps and of environment variables are not kept: not a byte of them is on disk, in what the recorder
//! says, or in its memory once their connection is quiet.
//!
//! They are dropped at decode (`source/objects`); the buffers through which they came are wiped when they are freed
//! (`wiping`), and the connections let go of theirs (`source/connect`, `source/api`).
//!
//! The recorder runs as a process of its own (this program, started again), since the values are in the memory of the one
//! that plays the API server. Secrets are not among what is planted: no Secret is ever asked for.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kube9_recorder::clock::Clock;
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use kube9_recorder::logging;
use kube9_recorder::wiping::{Wiping, runtime, wiping};
use kube9_tests::apiserver::{self, ApiServer, Kind};
use kube9_tests::client::Client;
use kube9_tests::recorder::{Setup, wait_until};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: Wiping = wiping();

/// Names the configuration of the child.
const CHILD: &str = "KUBE9_TEST_PLANTED_CONFIG";

/// What the child process runs; by itself it does nothing.
#[test]
fn recorder_as_a_child() {
    let Some(file) = std::env::var_os(CHILD) else {
        return;
    };
    let text = fs::read_to_string(file).unwrap();
    let config = Config::from_text(&text, &Flags::default(), &ProcessEnvironment)
        .unwrap()
        .config;
    logging::init(&config.log, str::to_owned).unwrap();
    let runtime = runtime().unwrap();
    runtime
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
            .args(["--exact", "recorder_as_a_child", "--nocapture"])
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

    /// All of its memory that can be read and has ever been written: heaps, stacks, data, as a core dump has them.
    fn memory(&self) -> Vec<Region> {
        let pid = self.0.id();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mut memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut found = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (range, rights) = (words.next().unwrap(), words.next().unwrap());
            let is_file = words.nth(2).is_some_and(|inode| inode != "0");
            if !rights.starts_with('r') || (is_file && !rights.contains('w')) {
                continue; // what a program file says is the same before anything was planted
            }
            let (from, to) = range.split_once('-').unwrap();
            let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let mut bytes = vec![0; (at(to) - at(from)) as usize];
            memory.seek(SeekFrom::Start(at(from))).unwrap();
            // What the kernel itself put there (vvar) cannot be read.
            if memory.read_exact(&mut bytes).is_ok() {
                let line = line.to_owned();
                found.push(Region { line, bytes });
            }
        }
        found
    }
}

/// A part of a process' memory.
struct Region {
    /// Its line in `maps`.
    line: String,
    bytes: Vec<u8>,
}

/// How every planted value begins; a number of four digits follows. Put together here, so that it is not in the text of
/// this program, which is the child's, too.
fn mark() -> String {
    "dEtNaLp".chars().rev().collect()
}

/// The numbers of the planted values that are in there; `u32::MAX` for one that is cut.
fn planted(bytes: &[u8]) -> BTreeSet<u32> {
    let mark = mark().into_bytes();
    let mut numbers = BTreeSet::new();
    let mut rest = bytes;
    // Hundreds of megabytes, unoptimized: only what the standard library has compiled is fast here.
    while rest.skip_until(mark[0]).unwrap() > 0 {
        if let Some(after) = rest.strip_prefix(&mark[1..]) {
            let digits = after
                .get(..4)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let number = digits.and_then(|digits| digits.parse().ok());
            numbers.insert(number.unwrap_or(u32::MAX));
        }
    }
    numbers
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
            "args": [format!("--{value}-argument")],
            "env": [{"name": "MODE", "value": format!("{value}-env")}, {"name": "API_TOKEN", "value": format!("{value}-token")}]}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "app", "ready": true, "restartCount": 0, "state": {"running": {}}}]},
    })
}

/// ConfigMaps, and as many pods, whose values are looked for.
const PLANTED: u32 = 200;

#[test]
fn no_value_is_on_disk_or_said() {
    let server = ApiServer::start(apiserver::Config::default()).unwrap();
    let store = server.store();
    let plant = |n: u32| {
        let (name, value) = (format!("planted-{n}"), format!("{}{n:04}", mark()));
        store
            .create(Kind::ConfigMap, config_map(&name, &value))
            .unwrap();
        store.create(Kind::Pod, pod(&name, &value)).unwrap();
    };
    (0..PLANTED / 2).for_each(plant); // the list shows them
    let folder = tempfile::tempdir().unwrap();
    let more = "analysis: {thresholds: {assessment: 0s}}\n";
    let setup = Setup::new(&server, folder.path(), more).unwrap();
    let recorder = Recorder::start(&setup);
    let known = |sql: &str, number: u32| {
        assert!(
            wait_until(|| setup.number(sql) == Some(number.into())),
            "{number} expected, {:?} found: {sql}\n{}",
            setup.number(sql),
            fs::read_to_string(folder.path().join("log")).unwrap()
        );
    };
    known("SELECT count(*) FROM facts", PLANTED);
    (PLANTED / 2..PLANTED).for_each(plant); // the watch tells them
    known("SELECT count(*) FROM facts", 2 * PLANTED);
    let change = |map: &mut Value| map["data"]["mode"] = json!(format!("{}9999-mode", mark()));
    store
        .modify(Kind::ConfigMap, "shop", "planted-7", change)
        .unwrap();
    known(
        "SELECT count(*) FROM events WHERE title = 'ConfigMap changed'",
        1,
    );
    // The recorder knows that there are secrets, and names their keys.
    known(
        "SELECT count(*) FROM events WHERE metadata LIKE '%db-password%' AND metadata LIKE '%\"A8\"%'",
        PLANTED,
    );
    known(
        "SELECT count(*) FROM events WHERE metadata LIKE '%API_TOKEN%' AND metadata LIKE '%\"A9\"%'",
        PLANTED,
    );

    let client = Client::new(&format!("http://{}", setup.listen), None);
    for path in ["/metrics", "/healthz"] {
        let body = client.get(path).unwrap().body;
        assert!(!body.is_empty());
        assert_eq!(planted(&body), BTreeSet::new(), "{path}");
    }
    // What came last is in the buffers of its connection for a moment.
    let mut left = Vec::new();
    let none_is_left = wait_until(|| {
        let memory = recorder.memory();
        let bytes: usize = memory.iter().map(|region| region.bytes.len()).sum();
        assert!(bytes > 1 << 20, "the memory of the child can be read");
        let found = memory
            .iter()
            .map(|region| (&region.line, planted(&region.bytes)));
        left = found
            .filter(|(_, numbers)| !numbers.is_empty())
            .map(|(line, numbers)| format!("{numbers:?} in {line}"))
            .collect();
        left.is_empty()
    });
    assert!(none_is_left, "planted values in memory: {left:#?}");
    recorder.stop();
    let files = files(folder.path());
    assert!(files.iter().any(|(name, _)| name.ends_with("kube9.db")));
    for (name, bytes) in files {
        assert_eq!(planted(&bytes), BTreeSet::new(), "{name}");
    }
}
