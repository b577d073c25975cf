//! Test directories with a database, and runs of the binary.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its part"
)]

#[path = "../../../shared/db/tests/fixture/mod.rs"]
pub mod fixture;
pub mod golden;
pub mod objects;
pub mod recorder;
pub mod schema;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fixture::Event;
use rusqlite::Connection;

/// In memory if possible: `status` is degraded if the volume is nearly full, as it may be on a build machine.
fn temp_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Where a program that measures its coverage writes.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// Path of another binary to test, such as that of the image.
const BINARY_ENV: &str = "KUBE9_QUERY_BIN";

/// The binary under test.
fn binary() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_kube9-query"));
    std::env::var_os(BINARY_ENV).map_or_else(built, PathBuf::from)
}

/// A temporary directory.
pub struct TestDir {
    dir: tempfile::TempDir,
}

impl TestDir {
    pub fn new() -> Self {
        Self { dir: temp_dir() }
    }

    /// With a database of [`sample_events`], as after a crash: with -wal and -shm.
    pub fn with_sample_events() -> Self {
        let dir = Self::new();
        dir.fill(&sample_events());
        dir
    }

    pub fn fill(&self, events: &[Event]) {
        let db = fixture::create(&self.db());
        self.insert(&db, events);
        // Not closed, as after kill -9: -wal and -shm stay.
        std::mem::forget(db);
    }

    pub fn insert(&self, db: &Connection, events: &[Event]) {
        events.iter().for_each(|event| fixture::insert(db, event));
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn db(&self) -> PathBuf {
        self.dir.path().join("kube9.db")
    }

    /// Runs the binary with these arguments and the database of this directory, without the environment of the caller except
    /// [`COVERAGE`].
    pub fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> TestCommand {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .envs(std::env::var_os(COVERAGE).map(|file| (COVERAGE, file)))
            .env("KUBE9_DB", self.db())
            .current_dir(self.path())
            .args(words);
        TestCommand { command }
    }

    /// [`Self::command`] with the arguments of a line.
    pub fn run(&self, line: &str) -> CommandOutput {
        self.command(&line.split_whitespace().collect::<Vec<_>>())
            .run()
    }
}

pub struct TestCommand {
    pub command: Command,
}

impl TestCommand {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn run(mut self) -> CommandOutput {
        self.command.stdin(Stdio::null());
        CommandOutput::of(self.command.output().unwrap())
    }
}

#[derive(Debug)]
pub struct CommandOutput {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl CommandOutput {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// stdout of a run that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// stderr of a run that must fail with this code and print nothing on stdout.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), ""),
            "{self:?}"
        );
        self.stderr
    }
}

/// 2025-12-02T10:00:00Z.
pub const TEN_OCLOCK: i64 = 1_764_669_600;

/// A gap row with metadata as JSON.
pub fn gap(second: i64, lasted: i64, metadata: &str) -> Event {
    Event {
        second,
        kind: 5,
        severity: 1,
        reason: String::new(),
        title: "Recording gap".into(),
        component: String::new(),
        body: "something was not watched".into(),
        last_ms: lasted * 1000,
        extra: Some(metadata.into()),
        kube_type: String::new(),
        ..Event::default()
    }
}

/// A failing rollout, and a gap.
pub fn sample_events() -> Vec<Event> {
    let pod = |second: i64| Event {
        second: TEN_OCLOCK + second,
        owner: Some(["ReplicaSet".into(), "web-5d9".into()]),
        node: Some("worker-1".into()),
        count: Some(1),
        ..Event::default().about("Pod", "shop", "web-5d9-x2")
    };
    vec![
        Event {
            second: TEN_OCLOCK - 86_400 * 3,
            kind: 1,
            title: "Recorder started".into(),
            reason: String::new(),
            component: String::new(),
            body: "kube9-recorder 0.1.0 started".into(),
            ..Event::default()
        },
        Event {
            second: TEN_OCLOCK,
            reason: "ImageChanged".into(),
            title: "Image changed".into(),
            component: "kube9".into(),
            body: "image of container app changed from web:1 to web:2".into(),
            kube_type: String::new(),
            ..Event::default().about("Deployment", "shop", "web")
        },
        Event {
            body: "Successfully assigned \u{2}/\u{1} to worker-1".into(),
            ..pod(5)
        },
        Event {
            low: 1,
            reason: "Pulled".into(),
            title: "Image pulled".into(),
            container: "app".into(),
            body: "Successfully pulled image \"\u{3}\"".into(),
            args: vec!["web:2".into()],
            ..pod(5)
        },
        Event {
            severity: 2,
            reason: "BackOff".into(),
            title: "Container crash loop".into(),
            container: "app".into(),
            body: "Back-off restarting failed container \u{3} in pod \u{1}_\u{2}".into(),
            args: vec!["app".into()],
            count: Some(17),
            last_ms: 480_000,
            ..pod(60)
        },
        Event {
            second: TEN_OCLOCK + 300,
            kind: 4,
            severity: 3,
            reason: "NodeNotReady".into(),
            title: "Node not ready".into(),
            body: "node \u{1} is not ready".into(),
            ..Event::default().about("Node", "", "worker-1")
        },
        Event {
            second: TEN_OCLOCK + 600,
            kind: 5,
            severity: 1,
            reason: String::new(),
            title: "Recording gap".into(),
            component: String::new(),
            body: "Events in all namespaces were not watched from 10:10 to 10:25 (expired).".into(),
            last_ms: 900_000,
            extra: Some(
                r#"{"source":"Event","scope":"all namespaces","cause":"expired","from":"2025-12-02T10:10:00.000Z",
                    "to":"2025-12-02T10:25:00.000Z","recovery":"partial","listed":40,"recovered":3,"missing":2,
                    "repeats_without_times":0}"#
                    .into(),
            ),
            kube_type: String::new(),
            ..Event::default()
        },
    ]
}
