//! Every state in which a recorder, or another program, can leave a file: read rightly or refused clearly, and not one
//! byte touched. Each is tried as the owner, behind a real read-only mount, and as a user who may only read.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use support::{Answer, Dir, TEN, fixture, story};

/// A directory's files: bytes and times.
fn contents(dir: &Path) -> BTreeMap<OsString, (Vec<u8>, SystemTime, u64)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        files.insert(
            entry.file_name(),
            (
                fs::read(entry.path()).unwrap(),
                meta.modified().unwrap(),
                meta.ino(),
            ),
        );
    }
    files
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Whether this machine lets a test mount.
fn can_mount() -> bool {
    let works = Command::new("unshare")
        .args(["-m", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        println!("SKIPPED: no permission to mount; the read-only mount is not tried");
    }
    works
}

/// Runs the line in every way that a reader may be placed; all answers must agree, and nothing may change.
#[track_caller]
fn everywhere(dir: &Dir, line: &str) -> Answer {
    let before = contents(dir.path());
    let words: Vec<&str> = line.split_whitespace().collect();
    let answer = dir.run(line);
    assert_eq!(
        before,
        contents(dir.path()),
        "the owner's run touched something"
    );
    let agrees = |how: &str, other: Answer| {
        assert_eq!(
            (answer.code, &answer.stdout, &answer.stderr),
            (other.code, &other.stdout, &other.stderr),
            "{how}"
        );
        assert_eq!(before, contents(dir.path()), "{how} touched something");
    };
    if can_mount() {
        let mut command = dir.command(&["x"; 0]);
        let (binary, path) = (command.command.get_program().to_owned(), dir.path());
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" \"$1\" && shift && exec \"$@\"";
        let mut mounted = Command::new("unshare");
        mounted
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(path)
            .arg(binary)
            .args(&words);
        mounted.env("KUBE9_DB", dir.db()).env_remove("DB_PATH");
        command.command = mounted;
        agrees("behind a read-only mount", command.run());
    }
    if is_root() {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = dir.command(&words);
        command.command.uid(65_534);
        agrees("as a user who may only read", command.run());
    }
    answer
}

/// Copies a living database as a crash would leave it: no process holds a lock on the copy.
fn crashed() -> Dir {
    let (living, dir) = (Dir::with_story(), Dir::new());
    for file in fs::read_dir(living.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

fn total(answer: Answer) -> u64 {
    answer.json()["pagination"]["total"].as_u64().unwrap()
}

const LIST: &str = "events list --limit=3";

#[test]
fn running_recorder_is_read_with_its_newest_commit() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    let lock = File::create(dir.path().join("kube9.db.lock")).unwrap();
    lock.lock().unwrap();
    for (i, event) in story().iter().enumerate() {
        fixture::insert(&db, event);
        assert_eq!(total(everywhere(&dir, LIST)), i as u64 + 1);
    }
}

#[test]
fn crashed_recorder_is_read_to_its_last_commit() {
    let dir = crashed();
    assert!(fs::metadata(dir.path().join("kube9.db-wal")).unwrap().len() > 0);
    assert_eq!(total(everywhere(&dir, LIST)), 7);
}

#[test]
fn cleanly_stopped_recorder_is_read() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &story());
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let copy = Dir::new();
    for file in ["kube9.db", "kube9.db-wal", "kube9.db-shm"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(total(everywhere(&copy, LIST)), 7);
}

#[test]
fn file_without_its_wal_is_read_while_no_recorder_lives() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &story());
    db.close().unwrap();
    assert_eq!(
        contents(dir.path()).len(),
        1,
        "a clean close without PERSIST_WAL leaves the file alone"
    );
    assert_eq!(total(everywhere(&dir, LIST)), 7);
    let lock = File::create(dir.path().join("kube9.db.lock")).unwrap();
    assert_eq!(total(everywhere(&dir, LIST)), 7);
    // A recorder that starts holds the lock and has not made its -wal yet.
    lock.lock().unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(
        error.contains("is busy") && error.contains("Try again"),
        "{error}"
    );
}

#[test]
fn wal_with_rows_but_without_its_index_is_refused_not_misread() {
    let dir = crashed();
    fs::remove_file(dir.path().join("kube9.db-shm")).unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(
        error.contains("-shm file is missing") && error.contains("Start kube9-recorder"),
        "{error}"
    );
}

#[test]
fn missing_file_is_named_and_not_created() {
    let dir = Dir::new();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(
        error.contains("there is no database at") && error.contains("--db"),
        "{error}"
    );
    let error = dir.run("events list --db=none/kube9.db").failed(1);
    assert!(error.contains("none/kube9.db"), "{error}");
}

#[test]
fn empty_file_is_told_from_an_empty_database() {
    let dir = Dir::new();
    fs::write(dir.db(), "").unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(error.contains("is empty"), "{error}");
    let dir = Dir::new();
    dir.fill(&[]);
    assert_eq!(total(everywhere(&dir, LIST)), 0);
}

#[test]
fn what_is_no_database_of_ours_is_left_alone() {
    let dir = Dir::new();
    fs::write(dir.db(), "just some notes, longer than a header of one hundred bytes would be, so that it is read whole")
        .unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(error.contains("is not a SQLite database"), "{error}");

    let dir = Dir::new();
    let db = fixture::create_plain(&dir.db());
    db.execute_batch("DROP TABLE events; CREATE TABLE invoices (id INTEGER PRIMARY KEY)")
        .unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(error.contains("belongs to another program"), "{error}");

    let dir = Dir::new();
    fs::create_dir(dir.db()).unwrap();
    let error = dir.run(LIST).failed(1);
    assert!(error.contains("is not a file"), "{error}");
}

#[test]
fn newer_schema_is_refused() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    db.execute(
        "INSERT INTO schema_version VALUES (99, '2030-01-01T00:00:00.000Z', 'future')",
        [],
    )
    .unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(
        error.contains("has schema version 99; this program reads up to 2"),
        "{error}"
    );
}

#[test]
fn damaged_file_is_told() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &story());
    db.close().unwrap();
    let mut bytes = fs::read(dir.db()).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(dir.db(), bytes).unwrap();
    let error = everywhere(&dir, LIST).failed(1);
    assert!(
        error.contains("damaged") && error.contains("Restart kube9-recorder"),
        "{error}"
    );
}

#[test]
fn forbidden_file_is_told() {
    if !is_root() {
        println!("SKIPPED: not root");
        return;
    }
    let dir = Dir::with_story();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(dir.db(), Permissions::from_mode(0o600)).unwrap();
    let mut command = dir.command(&["events", "list"]);
    command.command.uid(65_534);
    let error = command.run().failed(1);
    assert!(error.contains("no permission to read"), "{error}");
}

#[test]
fn plain_table_of_another_recorder_is_read() {
    let dir = Dir::new();
    let db = fixture::create_plain(&dir.db());
    db.execute_batch(
        "INSERT INTO events VALUES
         ('evt_20251202_100000_aaaaaa', 'cluster', 'error', 'Container crash loop', NULL, 'Pod', 'shop', 'web-1',
          '{\"reason\":\"BackOff\",\"count\":3}', '2025-12-02T10:00:00.000Z'),
         ('evt_20251202_100100_bbbbbb', 'operator', 'info', 'Started', 'it runs', NULL, NULL, NULL, NULL,
          '2025-12-02T10:01:00.000Z')",
    )
    .unwrap();
    let page = everywhere(&dir, "events list --format=json").json();
    assert_eq!(page["pagination"]["total"], 2);
    assert_eq!(page["events"][0]["id"], "evt_20251202_100100_bbbbbb");
    assert_eq!(page["events"][0]["metadata"], serde_json::json!({}));
    assert_eq!(page["events"][1]["metadata"]["reason"], "BackOff");
    assert_eq!(
        dir.run("events get evt_20251202_100000_aaaaaa").json()["object_name"],
        "web-1"
    );
    assert_eq!(
        total(dir.run("events list --reason=backoff --since=2025-12-02 --object-kind=pod")),
        1
    );
    assert_eq!(
        dir.run("events export --fields=id --format=csv")
            .ok()
            .lines()
            .count(),
        3
    );
    assert_eq!(dir.run("events stats --by=type").json()["total_events"], 2);
    let status = dir.run("status").json();
    assert_eq!(status["total_events"], 2);
    assert_eq!(status["recorder"], serde_json::Value::Null);
}

#[test]
fn status_is_printed_even_when_there_is_nothing_to_read() {
    let dir = Dir::new();
    let answer = dir.run("status --format=json");
    assert_eq!(answer.code, Some(1));
    let status: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(status["status"], "unavailable");
    assert_eq!(status["total_events"], serde_json::Value::Null);
    let error: serde_json::Value = serde_json::from_str(&answer.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().contains("no database"));
}

#[test]
fn status_follows_the_recorder() {
    let dir = Dir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let status = || dir.run("status").json();

    fixture::heartbeat(&db, now, None);
    assert_eq!(status()["status"], "operational");
    assert_eq!(status()["recorder"]["lag_seconds"], 0.12);

    fixture::heartbeat(&db, now - 31_000, None);
    let late = status();
    assert_eq!(late["status"], "degraded");
    assert!(late["reasons"][0].as_str().unwrap().contains("heartbeat"));

    fixture::heartbeat(&db, now, Some(now));
    assert!(status()["reasons"][0].as_str().unwrap().contains("stopped"));

    fixture::heartbeat(&db, now, None);
    let checks = r#"{"checks":[{"name":"database","healthy":true,"message":""},
                               {"name":"watch Event","healthy":false,"message":"403 Forbidden"}]}"#;
    db.execute("UPDATE recorder_status SET detail = ?", [checks])
        .unwrap();
    assert_eq!(
        status()["reasons"],
        serde_json::json!(["the recorder's check watch Event failed: 403 Forbidden"])
    );

    fixture::heartbeat(&db, now, None);
    db.execute(
        "INSERT INTO watch_state (cluster, kind, namespace, gap, gap_cause) VALUES ('c', 'Event', '', ?, '410 Gone')",
        [TEN << 24],
    )
    .unwrap();
    let gap = status();
    assert_eq!(gap["status"], "degraded");
    assert_eq!(gap["open_gaps"][0]["since"], "2025-12-02T10:00:00.000Z");
    assert_eq!(gap["open_gaps"][0]["cause"], "410 Gone");
}
