//! Effects of a panic in a connection, in a task, in the writer thread, and in the main future.
//!
//! The recorder has no known panic. The tests pass it a clock that panics at a chosen place, in a child process that
//! runs this test binary.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test, and helpers of tests count as tests"
)]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use kube9_base::clock::{Clock, TimeSource};
use kube9_model::time::Timestamp;
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use kube9_recorder::{exit, logging, panics};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::{Log, Workspace, request, signal};

/// Set in the child: the place where the clock panics.
const WHERE: &str = "KUBE9_TEST_PANIC";

/// The text of each panic: a secret as in a request, and a word that only the child's redaction knows.
const TEXT: &str = "cannot read \"GET /\u{1b}[2J password=hunter2\"\nsecond line";

/// Readings of the time without a panic.
const WELL: u8 = 3;

/// A clock that panics in one place. Every part of the recorder reads it.
struct Broken {
    system: Clock,
    place: String,
    /// In the runtime's threads and tasks.
    main: ThreadId,
    /// Readings so far: the first ones do not panic.
    readings: AtomicU8,
}

impl Broken {
    fn read(&self) {
        let thread = std::thread::current();
        let is_task = thread.id() == self.main && tokio::task::try_id().is_some();
        let is_here = match self.place.as_str() {
            "connection" | "poison" => panics::is_contained(),
            "task" => is_task && !panics::is_contained(),
            thread_name => thread.name() == Some(thread_name),
        };
        if is_here && self.readings.fetch_add(1, Ordering::Relaxed) >= WELL {
            match self.place.as_str() {
                "poison" => panic!("poison"),
                _ => panic!("{TEXT}"),
            }
        }
    }
}

impl TimeSource for Broken {
    fn now(&self) -> Timestamp {
        self.read();
        self.system.now()
    }

    fn monotonic(&self) -> Duration {
        self.read();
        self.system.monotonic()
    }
}

/// As `main`, with that clock.
#[test]
fn child() {
    let Some(place) = std::env::var_os(WHERE) else {
        return;
    };
    let code = std::panic::catch_unwind(|| {
        let config = Config::load(None, &Flags::default(), &ProcessEnvironment)
            .unwrap()
            .config;
        let redact = |text: &str| {
            assert!(text != "poison", "the redaction panics, too");
            text.replace("hunter2", "[REDACTED]").replace('\n', "\\n")
        };
        logging::init(&config.log, redact).unwrap();
        panics::install();
        let clock = Clock::new(Arc::new(Broken {
            system: Clock::system(),
            place: place.into_string().unwrap(),
            main: std::thread::current().id(),
            readings: AtomicU8::new(0),
        }));
        let outcome = kube9_recorder::runtime().unwrap().block_on(async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
            kube9_recorder::run(config, clock, async move {
                terminate.recv().await;
            })
            .await
        });
        exit::exit_code(&outcome)
    });
    std::process::exit(i32::from(code.unwrap_or(exit::DEFECT)));
}

fn start(workspace: &Workspace, panic: &str) -> (Child, Log) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "panics::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .current_dir(workspace.path())
        .env_clear()
        .env(WHERE, panic)
        .env("KUBE9_KUBE_KUBECONFIG", workspace.kubeconfig())
        .env("KUBE9_LISTEN", "127.0.0.1:0")
        .env("KUBE9_LOG_FORMAT", "json")
        .env("RUST_BACKTRACE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::of(&mut child);
    (child, log)
}

/// Titles and descriptions of the recorder's rows about itself.
fn rows(workspace: &Workspace) -> Vec<(String, String)> {
    let file = workspace.path().join("kube9-data/kube9.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = database
        .prepare("SELECT title, description FROM events WHERE event_type = 'operator' ORDER BY id")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn about_panics(lines: &[Value]) -> Vec<&Value> {
    lines
        .iter()
        .filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|m| m.contains("panic"))
        })
        .collect()
}

#[test]
fn panic_in_connection_ends_it_and_is_logged_once_a_minute() {
    let workspace = Workspace::new();
    let (mut child, log) = start(&workspace, "connection");
    let address = log.address();
    let asked = 20;
    let answers: Vec<String> = (0..asked)
        .map(|_| request(&address, "GET /healthz HTTP/1.1"))
        .collect();
    let closed = answers.iter().filter(|answer| answer.is_empty()).count();
    assert!(closed >= asked - usize::from(WELL), "{answers:?}");
    let page = request(&address, "GET /metrics HTTP/1.1");
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{page}");
    let lines = log.rest();
    let about = about_panics(&lines);
    assert_eq!(about.len(), 1, "{about:?}");
    let text = about[0]["text"].as_str().unwrap();
    assert!(
        text.contains("password=[REDACTED]\"\\nsecond line"),
        "{text}"
    );
    assert!(
        about[0]["place"]
            .as_str()
            .unwrap()
            .starts_with("recorder/app/tests/panics.rs:")
    );
}

#[test]
fn panic_text_that_breaks_redaction_is_not_logged() {
    let workspace = Workspace::new();
    let (mut child, log) = start(&workspace, "poison");
    let address = log.address();
    for _ in 0..10 {
        request(&address, "GET /healthz HTTP/1.1");
    }
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let lines = log.rest();
    let about = about_panics(&lines);
    assert_eq!(about.len(), 1, "{about:?}");
    assert_eq!(about[0].get("text"), None);
    assert!(
        about[0]["place"]
            .as_str()
            .unwrap()
            .starts_with("recorder/app/tests/panics.rs:")
    );
}

#[test]
fn panic_in_task_exits_with_3_after_commit() {
    let workspace = Workspace::new();
    let (mut child, log) = start(&workspace, "task");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let lines = log.rest();
    let about = about_panics(&lines);
    assert_eq!(about[0]["message"], "panicked");
    assert!(about[0]["text"].as_str().unwrap().contains("[REDACTED]"));
    let rows = rows(&workspace);
    let titles: Vec<&str> = rows.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(titles, ["Recorder started", "Recorder stopped"]);
    let cause = &rows[1].1;
    assert!(
        cause.contains("panicked at recorder/app/tests/panics.rs:"),
        "{cause}"
    );
    assert!(!cause.contains("cannot read"), "{cause}");
}

/// Tokio also opens the database on a blocking thread.
#[test]
fn panic_before_writer_starts_exits_with_3() {
    let workspace = Workspace::new();
    let (mut child, log) = start(&workspace, "tokio-rt-worker");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let lines = log.rest();
    assert_eq!(about_panics(&lines)[0]["message"], "panicked");
    assert_eq!(
        lines.last().unwrap()["error"],
        "opening the database panicked"
    );
}

#[test]
fn panic_in_writer_exits_with_3() {
    let workspace = Workspace::new();
    let (mut child, log) = start(&workspace, "writer");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let lines = log.rest();
    let about = about_panics(&lines);
    assert_eq!(
        (&about[0]["message"], &about[0]["thread"]),
        (&Value::from("panicked"), &Value::from("writer"))
    );
    let last = lines.last().unwrap();
    assert!(
        last["error"]
            .as_str()
            .unwrap()
            .contains("panicked at recorder/app/tests/panics.rs:"),
        "{last}"
    );
}
