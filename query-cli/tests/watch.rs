//! `events watch`: new and updated events, restarts of the recorder, a replaced file, and the end of the process.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use crate::support::fixture::{self, Event};
use crate::support::{TEN_OCLOCK, TestDir, sample_events};
use serde_json::Value;

pub(crate) struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn start(dir: &TestDir, words: &str) -> Self {
        Self::in_format(dir, "jsonl", words)
    }

    fn in_format(dir: &TestDir, format: &str, words: &str) -> Self {
        Self::of(dir, &format!("events watch --format={format} {words}"))
    }

    pub(crate) fn of(dir: &TestDir, line: &str) -> Self {
        let mut command = dir.command(&line.split(' ').collect::<Vec<_>>());
        let mut child = command
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line; waits for it.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// The next event, as (object name, change); waits for it.
    fn next(&mut self) -> (String, String) {
        let line = self.next_line();
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        (text("object_name"), text("change"))
    }

    /// Interrupts it, as Ctrl-C does; returns its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let done = std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status();
        assert!(done.unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// Ends it by closing its output; returns its exit code and stderr.
    pub(crate) fn close(self) -> (Option<i32>, String) {
        let Self { mut child, lines } = self;
        drop(lines);
        let code = child.wait().unwrap().code();
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        (code, stderr)
    }
}

fn pod(second: i64, name: &str) -> Event {
    Event {
        second: TEN_OCLOCK + second,
        ..Event::default().about("Pod", "shop", name)
    }
}

fn update(db: &rusqlite::Connection, event: &Event) {
    let key = event.key().as_i64();
    db.execute(
        "UPDATE event SET count = count + 1, last_offset_ms = last_offset_ms + 1000 WHERE key = ?",
        [key],
    )
    .unwrap();
    db.execute("INSERT INTO change_log (event) VALUES (?)", [key])
        .unwrap();
}

fn event(name: &str, change: &str) -> (String, String) {
    (name.to_owned(), change.to_owned())
}

#[test]
fn watch_prints_events_in_commit_order() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    let mut watch = Watch::start(&dir, "--object-kind=pod --tail=1");
    assert_eq!(watch.next(), event("web-5d9-x2", "existing"));
    // Rows can have older times.
    fixture::insert(&db, &pod(700, "late"));
    fixture::insert(&db, &pod(-700, "early"));
    assert_eq!(watch.next(), event("late", "new"));
    assert_eq!(watch.next(), event("early", "new"));
    // Events that do not match are not printed; an existing event is an update.
    fixture::insert(
        &db,
        &Event {
            second: TEN_OCLOCK,
            low: 9,
            ..Event::default().about("Node", "", "n")
        },
    );
    update(&db, &pod(700, "late"));
    update(&db, &pod(5, "web-5d9-x2"));
    assert_eq!(watch.next(), event("late", "updated"));
    assert_eq!(watch.next(), event("web-5d9-x2", "updated"));
    assert_eq!(watch.close(), (Some(0), String::new()));
}

#[test]
fn watch_recorder_restart_misses_nothing() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(0, "old"));
    let mut watch = Watch::start(&dir, "--tail=1");
    // It follows from here on: an earlier insert would be an existing event.
    assert_eq!(watch.next(), event("old", "existing"));
    fixture::insert(&db, &pod(1, "before"));
    assert_eq!(watch.next(), event("before", "new"));
    db.close().unwrap();
    let db = rusqlite::Connection::open_with_flags(
        dir.db(),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    )
    .unwrap();
    fixture::insert(&db, &pod(2, "after"));
    assert_eq!(watch.next(), event("after", "new"));
    assert_eq!(watch.close().0, Some(0));
}

#[test]
fn watch_replaced_file_starts_at_its_beginning() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(1, "old"));
    let mut watch = Watch::start(&dir, "--tail=1");
    assert_eq!(watch.next(), event("old", "existing"));
    db.close().unwrap();
    for suffix in ["", "-wal", "-shm"] {
        // A clean close may have removed the file already.
        let _ = std::fs::rename(
            dir.path().join(format!("kube9.db{suffix}")),
            dir.path().join(format!("aside{suffix}")),
        );
    }
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(2, "new one"));
    assert_eq!(watch.next(), event("new one", "new"));
    let (code, stderr) = watch.close();
    assert_eq!(code, Some(0));
    assert!(stderr.contains("was replaced"), "{stderr}");
}

#[test]
fn watch_table_prints_headings_once() {
    for format in ["table", "wide"] {
        let dir = TestDir::new();
        let db = fixture::create(&dir.db());
        dir.insert(&db, &sample_events());
        let mut watch = Watch::in_format(&dir, format, "--object-kind=node --tail=1");
        let headings = watch.next_line();
        assert!(
            headings.starts_with("CHANGE   ") && headings.ends_with("COUNT  DESCRIPTION\n"),
            "{headings}"
        );
        let present = watch.next_line();
        assert!(
            present.starts_with("         ") && present.ends_with("node worker-1 is not ready\n"),
            "{present}"
        );
        let event = Event {
            second: TEN_OCLOCK + 700,
            ..Event::default().about("Node", "", "worker-2")
        };
        fixture::insert(&db, &event);
        let new = watch.next_line();
        assert!(
            new.starts_with("new      ") && new.contains("  Node/worker-2  "),
            "{new}"
        );
        assert_eq!(watch.close(), (Some(0), String::new()));
    }
}

#[test]
fn watch_unavailable_database_is_reported_and_retried() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(1, "first"));
    let mut watch = Watch::start(&dir, "--tail=1");
    assert_eq!(watch.next(), event("first", "existing"));
    let mut stderr = BufReader::new(watch.child.stderr.take().unwrap());
    let mut next_said = || {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        line
    };
    // Like a volume that is unavailable for a moment.
    let (here, away) = (dir.db(), dir.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    let missing = format!("database {} not found; waiting\n", here.display());
    assert_eq!(next_said(), missing);
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(next_said(), "the database can be read again\n");
    fixture::insert(&db, &pod(2, "second"));
    assert_eq!(watch.next(), event("second", "new"));
    drop(watch.lines);
    assert_eq!(watch.child.wait().unwrap().code(), Some(0));
    // The same file is not followed from its start, and stderr has nothing else.
    assert_eq!(next_said(), "");
}

#[test]
fn watch_trimmed_log_reports_skipped_updates() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(1, "first"));
    let mut watch = Watch::start(&dir, "--tail=1");
    assert_eq!(watch.next(), event("first", "existing"));
    db.execute_batch("BEGIN").unwrap();
    (2..6).for_each(|i| fixture::insert(&db, &pod(i, &format!("pod-{i}"))));
    db.execute_batch("DELETE FROM change_log WHERE seq < 5; COMMIT")
        .unwrap();
    assert_eq!(watch.next(), event("pod-5", "new"));
    let (code, stderr) = watch.close();
    assert_eq!(code, Some(0));
    assert!(
        stderr.contains("3 updates skipped: they were committed faster than they could be read\n"),
        "{stderr}"
    );
}

#[test]
fn watch_does_not_prevent_recorder_start() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(1, "first"));
    db.close().unwrap();
    let lock = std::fs::File::create(dir.path().join("kube9.db.lock")).unwrap();
    let mut watch = Watch::start(&dir, "--tail=1");
    assert_eq!(watch.next(), event("first", "existing"));
    // The shared lock of an immutable file is held only while reading; this blocks if it is not released.
    lock.lock().unwrap();
    let db = rusqlite::Connection::open_with_flags(
        dir.db(),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE,
    )
    .unwrap();
    fixture::insert(&db, &pod(2, "second"));
    assert_eq!(watch.next(), event("second", "new"));
    assert_eq!(watch.close().0, Some(0));
}

/// A process in its own PID namespace, like a container. Ends when dropped.
struct Container(Child);

impl Container {
    /// `None` if this machine does not allow a test to create one.
    fn start() -> Option<(Self, String)> {
        let mut child = std::process::Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sh", "-c"])
            .arg("echo up; exec sleep 1000")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let out = child.stdout.take()?;
        BufReader::new(out).read_line(&mut line).ok()?;
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let first = std::fs::read_to_string(children).ok();
        let container = Self(child);
        let first = first?.trim().to_owned();
        (line == "up\n" && !first.is_empty()).then_some((container, first))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_in_container_exits_when_stdin_closes() {
    let Some((_container, first)) = Container::start() else {
        println!("SKIPPED: no permission to make a process namespace");
        return;
    };
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(&db, &pod(1, "old"));
    // A closed stdin is ignored outside of a container, and inside if it is not a pipe.
    for (inside, piped) in [(true, true), (false, true), (true, false)] {
        let mut command = dir.command(&["events", "watch", "--tail=1", "--format=jsonl"]);
        if inside {
            let binary = command.command.get_program().to_owned();
            let mut entered = std::process::Command::new("nsenter");
            entered
                .args(["--target", &first, "--pid"])
                .arg(binary)
                .args(["events", "watch", "--tail=1", "--format=jsonl"])
                .env("KUBE9_DB", dir.db());
            command.command = entered;
        }
        let stdin = if piped { Stdio::piped() } else { Stdio::null() };
        let mut child = command
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut String::new()).unwrap();
        drop(child.stdin.take());
        if inside && piped {
            assert_eq!(child.wait().unwrap().code(), Some(0));
            continue;
        }
        // It continues: the next row is printed.
        fixture::insert(&db, &pod(if inside { 3 } else { 2 }, "next"));
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.contains("\"next\""), "{line}");
        drop(lines);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
