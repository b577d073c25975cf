//! `kube9-query events watch` beside a real recorder: both as processes, on a pipe and on a terminal.
//!
//! Tests wait for lines, never for a fixed time; [`PATIENCE`] only bounds a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use kube9_tests::apiserver::{ApiServer, Config, Kind};
use kube9_tests::clock::Micros;
use kube9_tests::recorder::{PATIENCE, Setup, wait_until};
use kube9_tests::terminal::Terminal;
use serde_json::{Value, json};

/// Where an instrumented program writes its coverage.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// A program of the workspace: of the image if the environment names one, otherwise as built by `cargo test
/// --workspace`.
fn program(name: &str) -> PathBuf {
    let shipped = match name {
        "kube9-recorder" => std::env::var_os("KUBE9_RECORDER_BIN"),
        "kube9-query" => std::env::var_os("KUBE9_QUERY_BIN"),
        _ => None,
    };
    if let Some(file) = shipped {
        return file.into();
    }
    let test = std::env::current_exe().unwrap();
    let file = test.parent().unwrap().with_file_name(name);
    assert!(
        file.exists(),
        "{} is missing: cargo build --workspace (with the profile of this test)",
        file.display()
    );
    file
}

/// An API server and a recorder process.
struct Scene {
    server: ApiServer,
    folder: tempfile::TempDir,
    setup: Setup,
    recorder: Option<Child>,
}

impl Scene {
    fn new() -> Self {
        let server = ApiServer::start(Config {
            compaction_interval: None,
            ..Config::default()
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&server, folder.path(), "").unwrap();
        let mut scene = Self {
            server,
            folder,
            setup,
            recorder: None,
        };
        scene.start();
        scene
    }

    fn start(&mut self) {
        let config = self.folder.path().join("recorder.yaml");
        fs::write(&config, &self.setup.yaml).unwrap();
        let log = fs::File::create(self.folder.path().join("recorder.log")).unwrap();
        let recorder = Command::new(program("kube9-recorder"))
            .args(["serve", "--config"])
            .arg(&config)
            .env_clear()
            .envs(std::env::var_os(COVERAGE).map(|file| (COVERAGE, file)))
            .stderr(log)
            .spawn()
            .unwrap();
        self.recorder = Some(recorder);
        let is_up = wait_until(|| self.setup.health().is_some_and(|(code, _)| code == 200));
        assert!(is_up, "{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("recorder.log")).unwrap_or_default()
    }

    fn signal(&mut self, name: &str) {
        let mut recorder = self.recorder.take().unwrap();
        signal(recorder.id(), name);
        recorder.wait().unwrap();
    }

    fn log_lines_with(&self, words: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(words))
            .count()
    }

    fn create(&self, pod: &str) {
        let now = Micros::now().seconds_text().to_string();
        self.server
            .store()
            .create(
                Kind::Event,
                json!({
                    "metadata": {"name": format!("{pod}.1"), "namespace": "shop"},
                    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": pod, "uid": "u1", "apiVersion": "v1"},
                    "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning",
                    "count": 1, "firstTimestamp": now, "lastTimestamp": now,
                    "source": {"component": "kubelet", "host": "worker-1"},
                    "reportingComponent": "kubelet", "reportingInstance": "worker-1"
                }),
            )
            .unwrap();
    }

    fn repeat(&self, pod: &str) {
        let change = |event: &mut Value| {
            event["count"] = json!(event["count"].as_i64().unwrap() + 1);
            event["lastTimestamp"] = json!(Micros::now().seconds_text().to_string());
        };
        self.server
            .store()
            .modify(Kind::Event, "shop", &format!("{pod}.1"), change)
            .unwrap();
    }

    fn query(&self, words: &str) -> Command {
        let mut command = Command::new(program("kube9-query"));
        command
            .args(words.split(' '))
            .env_clear()
            .envs(std::env::var_os(COVERAGE).map(|file| (COVERAGE, file)))
            .env("KUBE9_DB", self.setup.database());
        command
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut recorder) = self.recorder.take() {
            let _ = recorder.kill();
            let _ = recorder.wait();
        }
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

fn ignores_hang_ups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap() & 1 == 1
}

/// A watch on a pipe; a thread reads its lines, so that a failure does not hang.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(scene: &Scene) -> Self {
        let mut child = scene
            .query("events watch --format=jsonl --object-kind=Pod --tail=1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the process, or when the test closes the channel, which also closes the pipe.
            for line in out.lines() {
                if line.is_ok_and(|line| sender.send(line).is_err()) {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next event: the object's name, the change of the row, and its occurrences.
    #[track_caller]
    fn next(&self) -> (String, String, i64) {
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        (
            event["object_name"].as_str().unwrap_or_default().to_owned(),
            event["change"].as_str().unwrap_or_default().to_owned(),
            event["metadata"]["occurrences"]
                .as_i64()
                .unwrap_or_default(),
        )
    }
}

/// Waits for the exit of a process.
#[track_caller]
fn end(child: &mut Child) -> ExitStatus {
    let mut status = None;
    assert!(wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    }));
    status.unwrap()
}

fn event(name: &str, change: &str, occurrences: i64) -> (String, String, i64) {
    (name.to_owned(), change.to_owned(), occurrences)
}

#[test]
fn watch_follows_rows_across_kill_stop_and_new_file() {
    let mut scene = Scene::new();
    scene.create("old");
    let listed = || {
        let answer = scene.query("events list --object-name=old").output();
        String::from_utf8_lossy(&answer.unwrap().stdout).contains("\"total\": 1")
    };
    assert!(wait_until(listed), "{}", scene.log());
    let mut watch = Watch::start(&scene);
    assert_eq!(watch.next(), event("old", "existing", 1));
    scene.create("a");
    assert_eq!(watch.next(), event("a", "new", 1));
    scene.repeat("a");
    assert_eq!(watch.next(), event("a", "updated", 2));

    // Killed: changes meanwhile are shown once after the next start.
    scene.signal("-KILL");
    scene.repeat("a");
    scene.create("b");
    scene.start();
    let mut after = [watch.next(), watch.next()];
    after.sort();
    assert_eq!(after, [event("a", "updated", 3), event("b", "new", 1)]);

    // Stopped cleanly, and the file replaced, as a recorder does with a corrupt one.
    scene.signal("-TERM");
    for suffix in ["", "-wal", "-shm"] {
        let mut name = scene.setup.database().into_os_string();
        name.push(suffix);
        let mut aside = name.clone();
        aside.push(".aside");
        // A clean stop may leave fewer of them.
        let _ = fs::rename(&name, &aside);
    }
    scene.start();
    let mut names = vec![watch.next().0, watch.next().0, watch.next().0];
    names.sort();
    assert_eq!(names, ["a", "b", "old"]);
    scene.create("c");
    assert_eq!(watch.next(), event("c", "new", 1));

    signal(watch.child.id(), "-TERM");
    assert_eq!(end(&mut watch.child).code(), Some(143));
    let mut said = String::new();
    let stderr = watch.child.stderr.as_mut().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("was replaced"), "{said}");
}

#[test]
fn watch_exits_when_output_is_closed_while_idle() {
    let scene = Scene::new();
    scene.create("old");
    let mut child = scene
        .query("events watch --tail=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nothing is written, so only polling the pipe detects it.
    drop(child.stdout.take());
    assert_eq!(end(&mut child).code(), Some(0));
    for (name, code, by_signal) in [
        ("-INT", Some(130), None),
        ("-TERM", Some(143), None),
        ("-HUP", None, Some(1)),
    ] {
        // Under `nohup`, child processes inherit the ignored SIGHUP.
        if name == "-HUP" && ignores_hang_ups() {
            continue;
        }
        let mut watch = Watch::start(&scene);
        watch.next();
        signal(watch.child.id(), name);
        let status = end(&mut watch.child);
        assert_eq!(
            (status.code(), status.signal()),
            (code, by_signal),
            "{name}"
        );
    }
}

#[test]
fn watch_on_terminal_prints_table_and_exits_on_hangup() {
    let scene = Scene::new();
    scene.create("first");
    let database = scene.setup.database();
    let words = ["events", "watch", "--object-kind=Pod", "--tail=1"];
    for columns in [80, 200] {
        let name = format!("pod-{columns}");
        let mut terminal = Terminal::start(
            &program("kube9-query"),
            &words,
            &[("KUBE9_DB", database.to_str().unwrap())],
            columns,
        )
        .unwrap();
        terminal.read_until("DESCRIPTION").unwrap();
        scene.create(&name);
        let shown = terminal.read_until(&format!("Pod/{name}")).unwrap();
        assert!(
            shown.contains("warning") || shown.contains("error"),
            "{shown}"
        );
        scene.repeat(&name);
        let updated = if columns == 80 { "~  " } else { "updated" };
        let shown = terminal.read_until(updated).unwrap();
        assert!(!shown.contains("panicked"), "{shown}");
        // The window is closed: SIGHUP comes from the kernel or from the terminal.
        let mut child = terminal.close();
        let status = end(&mut child);
        assert!(
            status.code() == Some(0) || status.signal() == Some(1),
            "{status:?}"
        );
    }
}

#[test]
fn unreadable_objects_are_counted_and_logged_once_a_minute() {
    let scene = Scene::new();
    let body =
        br#""metadata":{"resourceVersion":"{version}"},"spec":7,"data":7,"involvedObject":7}"#;
    for n in 0..500 {
        for kind in [Kind::ConfigMap, Kind::Event] {
            let name = format!("bad-{n}");
            scene.server.store().poison(kind, "shop", &name, body);
        }
    }
    let counted = || {
        let metrics = scene.setup.metrics().into_iter();
        let of_decode = |(name, _): &(String, f64)| name.starts_with("kube9_event_errors_total");
        metrics.filter(of_decode).map(|(_, n)| n).sum::<f64>()
    };
    assert!(wait_until(|| counted() >= 1000.0), "{}", scene.log());
    // Two if the minute ends meanwhile.
    assert!((1..=2).contains(&scene.log_lines_with("object skipped")));
    assert!((1..=2).contains(&scene.log_lines_with("Event skipped")));
    let sql = "SELECT count(*) FROM events WHERE title = 'Event skipped'";
    let rows = || scene.setup.number(sql).unwrap_or(0);
    // Committed after they are counted.
    assert!(wait_until(|| rows() > 0), "{}", scene.log());
    assert!((1..=120).contains(&rows()), "{} rows", rows());
}
