//! Every state in which a recorder or another program can leave a file: it is read correctly or rejected with a clear error,
//! and no byte changes. Each is tried as the owner, on a read-only mount, and as a user who can only read.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::support::recorder::{self, End};
use crate::support::{CommandOutput, TEN_OCLOCK, TestDir, fixture, gap, sample_events};
use kube9_model::time::Timestamp;
use serde_json::json;

/// Content and times of the files of a directory.
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

/// Whether a test can mount on this machine.
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

/// Runs the line in every setup; all outputs must be equal, and no file may change.
#[track_caller]
fn run_in_all_setups(dir: &TestDir, line: &str) -> CommandOutput {
    let before = contents(dir.path());
    let words: Vec<&str> = line.split_whitespace().collect();
    let answer = dir.run(line);
    assert_eq!(
        before,
        contents(dir.path()),
        "the owner's run touched something"
    );
    let agrees = |how: &str, other: CommandOutput| {
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

/// Copies an open database as after a crash: no process holds a lock on the copy.
fn crashed() -> TestDir {
    let (living, dir) = (TestDir::with_sample_events(), TestDir::new());
    for file in fs::read_dir(living.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    dir
}

fn total(answer: CommandOutput) -> u64 {
    answer.json()["pagination"]["total"].as_u64().unwrap()
}

const LIST: &str = "events list --limit=3";

#[test]
fn open_running_recorder_reads_newest_commit() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let lock = File::create(dir.path().join("kube9.db.lock")).unwrap();
    lock.lock().unwrap();
    for (i, event) in sample_events().iter().enumerate() {
        fixture::insert(&db, event);
        assert_eq!(total(run_in_all_setups(&dir, LIST)), i as u64 + 1);
    }
}

#[test]
fn open_crashed_recorder_reads_last_commit() {
    let dir = crashed();
    assert!(fs::metadata(dir.path().join("kube9.db-wal")).unwrap().len() > 0);
    assert_eq!(total(run_in_all_setups(&dir, LIST)), 7);
}

#[test]
fn open_stopped_recorder_reads_all() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let copy = TestDir::new();
    for file in ["kube9.db", "kube9.db-wal", "kube9.db-shm"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    assert_eq!(total(run_in_all_setups(&copy, LIST)), 7);
}

#[test]
fn open_without_wal_locks_out_recorder() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    db.close().unwrap();
    assert_eq!(
        contents(dir.path()).len(),
        1,
        "a clean close without PERSIST_WAL leaves the file alone"
    );
    assert_eq!(total(run_in_all_setups(&dir, LIST)), 7);
    let lock = File::create(dir.path().join("kube9.db.lock")).unwrap();
    assert_eq!(total(run_in_all_setups(&dir, LIST)), 7);
    // A recorder that is starting holds the lock and has not created its -wal yet.
    lock.lock().unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(
        error.contains("is busy") && error.contains("try again"),
        "{error}"
    );
    // The lock cannot be checked: it is a link to itself.
    let lock = dir.path().join("kube9.db.lock");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("kube9.db.lock", &lock).unwrap();
    let error = dir.run(LIST).failed(1);
    assert!(
        error.contains("cannot open database")
            && error.contains("kube9.db\n")
            && error.contains("kube9.db.lock: ")
            // The text is the C library's: "Too many levels of symbolic links", or "Symbolic link loop".
            && error.contains("(os error 40)"),
        "{error}"
    );
}

#[test]
fn open_wal_without_shm_is_rejected() {
    let dir = crashed();
    fs::remove_file(dir.path().join("kube9.db-shm")).unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(
        error.contains("-shm file is missing") && error.contains("start kube9-recorder"),
        "{error}"
    );
}

#[test]
fn open_missing_file_is_named_and_not_created() {
    let dir = TestDir::new();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(
        error.contains(" not found") && error.contains("--db"),
        "{error}"
    );
    let error = dir.run("events list --db=none/kube9.db").failed(1);
    assert!(error.contains("none/kube9.db"), "{error}");
}

#[test]
fn open_empty_file_differs_from_empty_database() {
    let dir = TestDir::new();
    fs::write(dir.db(), "").unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(error.contains("is empty"), "{error}");
    // A file that is being created: no table yet, and no version yet.
    for unmade in [
        "DROP VIEW events; DROP TABLE recorder_status; DELETE FROM schema_version",
        "PRAGMA writable_schema = 1; DELETE FROM sqlite_schema; PRAGMA writable_schema = 0",
    ] {
        let dir = TestDir::new();
        let db = fixture::create(&dir.db());
        db.execute_batch(unmade).unwrap();
        let error = run_in_all_setups(&dir, LIST).failed(1);
        assert!(error.contains("is empty"), "{unmade}: {error}");
    }
    let dir = TestDir::new();
    dir.fill(&[]);
    assert_eq!(total(run_in_all_setups(&dir, LIST)), 0);
}

#[test]
fn open_foreign_file_is_rejected_and_unchanged() {
    let dir = TestDir::new();
    fs::write(dir.db(), "just some notes, longer than a header of one hundred bytes would be, so that it is read whole")
        .unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(error.contains("is not a SQLite database"), "{error}");

    // Only the header is that of a database.
    let dir = TestDir::new();
    let mut bytes = b"SQLite format 3\0".to_vec();
    bytes.resize(4096, b'x');
    fs::write(dir.db(), bytes).unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(error.contains("is not a SQLite database"), "{error}");

    let dir = TestDir::new();
    let db =
        rusqlite::Connection::open_with_flags(dir.db(), rusqlite::OpenFlags::default()).unwrap();
    db.execute_batch("CREATE TABLE invoices (id INTEGER PRIMARY KEY)")
        .unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(error.contains("is not a kube9 database"), "{error}");

    let dir = TestDir::new();
    fs::create_dir(dir.db()).unwrap();
    let error = dir.run(LIST).failed(1);
    assert!(error.contains("is not a file"), "{error}");
}

#[test]
fn open_other_schema_version_is_rejected() {
    for version in [0, 2, 99] {
        let dir = TestDir::new();
        let db = fixture::create(&dir.db());
        db.execute("UPDATE schema_version SET version = ?", [version])
            .unwrap();
        let error = run_in_all_setups(&dir, LIST).failed(1);
        let expected =
            format!("has schema version {version}; this kube9-query reads version 1\nuse the");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn open_missing_table_error_has_cause() {
    for (table, error, advice) in [
        ("schema_version", "cannot open database", "check the volume"),
        ("change_log", "", ""),
        (
            "row_counts",
            "cannot read the database",
            "try again in a moment",
        ),
    ] {
        let dir = TestDir::new();
        let db = fixture::create(&dir.db());
        db.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        let answer = run_in_all_setups(&dir, LIST);
        if error.is_empty() {
            assert_eq!(total(answer), 0, "the missing table is not needed");
            continue;
        }
        let stderr = answer.failed(1);
        let cause = format!("no such table: {table}");
        assert!(
            stderr.contains(error) && stderr.contains(advice) && stderr.contains(&cause),
            "{stderr}"
        );
    }
}

#[test]
fn open_damaged_file_is_rejected() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    db.close().unwrap();
    let mut bytes = fs::read(dir.db()).unwrap();
    bytes[4096..].fill(0x5a);
    fs::write(dir.db(), bytes).unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(
        error.contains("damaged") && error.contains("restart kube9-recorder"),
        "{error}"
    );

    // Damage in a part that only some queries read.
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'event'";
    let page: u32 = db.query_row(root, [], |row| row.get(0)).unwrap();
    db.close().unwrap();
    let mut bytes = fs::read(dir.db()).unwrap();
    let size = usize::try_from(kube9_db::schema::PAGE_BYTES).unwrap();
    let end = usize::try_from(page).unwrap() * size;
    bytes[end - size..end].fill(0x5a);
    fs::write(dir.db(), bytes).unwrap();
    let error = run_in_all_setups(&dir, LIST).failed(1);
    assert!(
        error.starts_with("error: the database is damaged\nrestart kube9-recorder"),
        "{error}"
    );
}

#[test]
fn open_without_permission_is_rejected() {
    if !is_root() {
        println!("SKIPPED: not root");
        return;
    }
    let as_another_user = |dir: &TestDir| {
        let mut command = dir.command(&["events", "list"]);
        command.command.uid(65_534);
        command.run().failed(1)
    };
    let open_to_all = |dir: &TestDir| {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    };
    let dir = TestDir::with_sample_events();
    open_to_all(&dir);
    fs::set_permissions(dir.db(), Permissions::from_mode(0o600)).unwrap();
    let error = as_another_user(&dir);
    assert!(error.contains("permission denied"), "{error}");

    // The directory: without permission not even the existence of the file is known.
    let dir = TestDir::with_sample_events();
    open_to_all(&dir);
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::set_permissions(&inner, Permissions::from_mode(0o700)).unwrap();
    let hidden = inner.join("kube9.db");
    fs::rename(dir.db(), &hidden).unwrap();
    let mut command = dir.command(&["events", "list", "--db", hidden.to_str().unwrap()]);
    command.command.uid(65_534);
    let error = command.run().failed(1);
    assert!(
        error.contains(&format!("permission denied: {}\n", hidden.display())),
        "{error}"
    );

    // The lock file, without which a running recorder cannot be excluded.
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    db.close().unwrap();
    open_to_all(&dir);
    let lock = dir.path().join("kube9.db.lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, Permissions::from_mode(0o600)).unwrap();
    let error = as_another_user(&dir);
    assert!(error.contains("kube9.db.lock"), "{error}");
    assert!(error.contains("permission denied"), "{error}");

    // The -shm file, which SQLite cannot open.
    let dir = TestDir::with_sample_events();
    open_to_all(&dir);
    let index = dir.path().join("kube9.db-shm");
    fs::set_permissions(index, Permissions::from_mode(0o600)).unwrap();
    let error = as_another_user(&dir);
    assert!(
        error.contains("cannot open database")
            && error.contains("check the volume and the permissions of the file"),
        "{error}"
    );
}

#[test]
fn open_path_with_special_characters_works() {
    for name in [
        OsStr::new("a b"),
        OsStr::new("what?mode=rwc&x#y"),
        OsStr::new("100%41"),
        OsStr::new("Ünï 漢"),
        OsStr::from_bytes(b"no-\xff-utf8"),
        OsStr::new("'quoted\" \\"),
    ] {
        // With its -wal, and alone after a clean close.
        for is_closed in [false, true] {
            let dir = TestDir::new();
            let inner = dir.path().join(name);
            fs::create_dir(&inner).unwrap();
            let path = inner.join("kube9.db");
            let db = fixture::create(&path);
            dir.insert(&db, &sample_events());
            if is_closed {
                db.close().unwrap();
            } else {
                std::mem::forget(db);
            }
            let before = contents(&inner);
            let mut command = dir.command(&["events", "list"]);
            command.command.arg("--db").arg(&path);
            assert_eq!(total(command.run()), 7, "{name:?} {is_closed}");
            assert_eq!(before, contents(&inner), "{name:?} {is_closed}");
        }
    }
    let error = TestDir::new()
        .run(&format!("events list --db={}", "x".repeat(300)))
        .failed(1);
    assert!(
        error.contains("cannot open database xxx") && error.contains("name too long"),
        "{error}"
    );
}

#[test]
fn open_locked_database_is_busy() {
    // Another program in an exclusive transaction.
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    db.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .unwrap();
    let busy = |dir: &TestDir| {
        let error = dir.run(LIST).failed(1);
        assert!(
            error.contains("is busy") && error.contains("try again in a moment"),
            "{error}"
        );
    };
    busy(&dir);
    db.execute_batch("COMMIT").unwrap();
    assert_eq!(total(dir.run(LIST)), 0);

    // A recorder that is recovering the -shm file.
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    assert_eq!(total(dir.run(LIST)), 7);
    // Another process: closing the file in this one would drop the locks of the connection.
    let wiped = Command::new("dd")
        .args(["if=/dev/zero", "of=kube9.db-shm", "bs=136", "count=1"])
        .args(["conv=notrunc", "status=none"])
        .current_dir(dir.path())
        .status();
    assert!(wiped.unwrap().success());
    busy(&dir);
}

#[test]
fn open_database_of_original_operator_has_advice() {
    let dir = TestDir::new();
    let db =
        rusqlite::Connection::open_with_flags(dir.db(), rusqlite::OpenFlags::default()).unwrap();
    db.execute_batch(
        "CREATE TABLE events (id TEXT PRIMARY KEY, event_type TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
                              description TEXT, object_kind TEXT, object_namespace TEXT, object_name TEXT, metadata TEXT,
                              created_at TEXT NOT NULL);
         INSERT INTO events VALUES ('evt_20251202_100000_aaaaaa', 'cluster', 'error', 'Container crash loop', NULL, 'Pod',
                                    'shop', 'web-1', NULL, '2025-12-02T10:00:00.000Z')",
    )
    .unwrap();
    drop(db);
    let error = format!(
        "{} is a database of the original kube9 operator",
        dir.db().display()
    );
    run_in_all_setups(&dir, LIST).failed(1);
    for line in [
        LIST,
        "events get evt_20251202_100000_aaaaaa",
        "events stats",
        "events timeline",
        "events export",
        "events watch",
    ] {
        let stderr = dir.run(line).failed(1);
        assert!(stderr.contains(&error), "{line}: {stderr}");
        assert!(stderr.contains("/data/import/"), "{line}: {stderr}");
    }
    let table = dir.run("status --format=table");
    assert_eq!(table.code, Some(1));
    assert!(table.stdout.contains(&error), "{table:?}");
    let status: serde_json::Value =
        serde_json::from_str(&dir.run("status --format=json").stdout).unwrap();
    assert_eq!(status["status"], "unavailable");
    assert_eq!(status["reasons"][0], error);
}

#[test]
fn status_without_database_is_unavailable() {
    let dir = TestDir::new();
    let answer = dir.run("status --format=json");
    assert_eq!(answer.code, Some(1));
    let status: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(status["status"], "unavailable");
    assert_eq!(status["total_events"], serde_json::Value::Null);
    let error: serde_json::Value = serde_json::from_str(&answer.stderr).unwrap();
    assert!(error["error"].as_str().unwrap().contains("not found"));
}

#[test]
fn status_reports_recorder_state() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let status = || dir.run("status").json();

    recorder::heartbeat(dir.path(), now, End::Killed);
    let of_recorder = status()["recorder"].clone();
    assert_eq!(of_recorder["lag_seconds"], serde_json::Value::Null);
    assert_eq!(of_recorder["last_commit_at"], serde_json::Value::Null);
    // The last commit of an earlier recorder is still the last commit.
    let event = |watch| vec![recorder::event(watch, now - 5_120)];
    recorder::run(dir.path(), now - 5_000, event, End::Stopped);
    recorder::heartbeat(dir.path(), now, End::Killed);
    assert_eq!(status()["status"], "operational");
    let of_recorder = status()["recorder"].clone();
    assert_eq!(of_recorder["lag_seconds"], 0.12);
    let committed = of_recorder["last_commit_at"].as_str().unwrap();
    assert_eq!(
        kube9_model::time::Timestamp::parse(committed)
            .unwrap()
            .millis(),
        now - 5_000
    );

    recorder::heartbeat(dir.path(), now - 31_000, End::Killed);
    let late = status();
    assert_eq!(late["status"], "degraded");
    assert!(late["reasons"][0].as_str().unwrap().contains("heartbeat"));

    recorder::heartbeat(dir.path(), now, End::Stopped);
    assert!(status()["reasons"][0].as_str().unwrap().contains("stopped"));

    recorder::heartbeat(dir.path(), now, End::Killed);
    let checks = r#"{"checks":[{"name":"database","healthy":true,"message":""},
                               {"name":"watch Event","healthy":false,"message":"403 Forbidden"}]}"#;
    db.execute("UPDATE recorder_status SET detail = ?", [checks])
        .unwrap();
    assert_eq!(
        status()["reasons"],
        serde_json::json!(["health check watch Event of the recorder failed: 403 Forbidden"])
    );

    recorder::heartbeat(dir.path(), now, End::Killed);
    db.execute(
        "INSERT INTO watch_state (cluster, kind, namespace, gap, gap_cause) VALUES ('c', 'Event', '', ?, '410 Gone')",
        [TEN_OCLOCK << 24],
    )
    .unwrap();
    let gap = status();
    assert_eq!(gap["status"], "degraded");
    assert_eq!(gap["open_gaps"][0]["since"], "2025-12-02T10:00:00.000Z");
    assert_eq!(gap["open_gaps"][0]["cause"], "410 Gone");
    let table = dir.run("status --format=table").ok();
    assert!(
        table.contains("\nGAPS      1 open; none in the last 7 days\n"),
        "{table}"
    );
}

/// Columns that contain a value, by table.
fn filled(db: &rusqlite::Connection) -> std::collections::BTreeSet<String> {
    let mut columns = db
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' \
             AND t.name NOT LIKE 'sqlite%'",
        )
        .unwrap();
    let columns: Vec<(String, String)> = columns
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let has = |(table, column): &(String, String)| {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE {column} IS NOT NULL)");
        db.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    let filled = columns.iter().filter(|column| has(column));
    filled
        .map(|(table, column)| format!("{table}.{column}"))
        .collect()
}

/// Most tests write rows by plain SQL, which must not fill columns that the recorder leaves empty.
#[test]
fn fixture_fills_only_columns_of_the_recorder() {
    let now = TEN_OCLOCK * 1000;
    let by_hand = TestDir::with_sample_events();
    let real = TestDir::new();
    let items = |watch| vec![recorder::event(watch, now - 500), recorder::gap(watch, now)];
    recorder::run(real.path(), now, items, End::Stopped);
    let open = |dir: &TestDir| {
        rusqlite::Connection::open_with_flags(dir.db(), rusqlite::OpenFlags::default()).unwrap()
    };
    let (by_hand, real) = (filled(&open(&by_hand)), filled(&open(&real)));
    let promised: Vec<&String> = by_hand.difference(&real).collect();
    assert!(promised.is_empty(), "{promised:?}");
    for column in [
        "last_commit_ms",
        "lag_ms",
        "stopped_ms",
        "heartbeat_ms",
        "detail",
    ] {
        assert!(
            real.contains(&format!("recorder_status.{column}")),
            "{column}"
        );
    }
}

#[test]
fn status_lists_evictions() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    recorder::heartbeat(dir.path(), now, End::Killed);
    let evict = |tenant: i64, namespace: &str, severity: i64, ago: i64| {
        let until = now / 1000 - ago;
        db.execute(
            "INSERT INTO eviction VALUES (?, ?, ?, 1200, ?)",
            (tenant, namespace, severity, until),
        )
        .unwrap();
    };
    // Deleting old info rows first is normal.
    evict(2, "shop", 0, 3 * 86_400);
    let status = dir.run("status").json();
    assert_eq!(status["status"], "operational");
    assert_eq!(status["evictions"][0]["namespace"], "shop");
    assert_eq!(status["evictions"][0]["deleted"], 1200);
    evict(1, "", 0, 7_200);
    let status = dir.run("status").json();
    assert_eq!(status["status"], "degraded");
    let reason = status["reasons"][0].as_str().unwrap();
    assert!(
        reason.starts_with(
            "the size limit has deleted info events of cluster-scoped objects early: complete only since "
        ) && reason.contains(" (and 1 more, see `evictions`)"),
        "{reason}"
    );
    evict(2, "flood", 2, 2 * 86_400);
    let table = dir.run("status --format=table").ok();
    assert!(
        table.contains("\nEVICTED   1,200 info events of cluster-scoped objects, complete since ")
            && table.contains("1,200 error events of namespace flood, complete since "),
        "{table}"
    );
}

#[test]
fn status_table_shows_what_the_change_history_leaves_out() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    recorder::heartbeat(dir.path(), now, End::Killed);
    let table = || dir.run("status --format=table").ok();
    let before = table();
    assert!(
        !before.contains("FOLDED") && !before.contains("TRACKING"),
        "{before}"
    );
    let folded = |namespace: &str, object: u64, kind: u64| {
        json!({
            "namespace": namespace, "object_budget": object, "namespace_budget": kind, "revisions_left_out": object,
            "since": "2026-11-30T10:00:05.000Z", "until": "2026-11-30T10:09:05.000Z",
        })
    };
    let tracking = json!({
        "absent": [{"kind": "widgets.example.com", "why": "the API server does not serve it"}],
        "unwatched": [{"kind": "configmaps", "objects": 12, "since": "2026-11-29T08:00:00.000Z"}],
        "over_budget": ["shop", ""],
        "folded": [folded("flood", 11_940, 0), folded("", 1, 700), folded("a", 1, 1), folded("b", 1, 1)],
        "folded_total": 30,
    });
    db.execute(
        "UPDATE recorder_status SET detail = json_set(detail, '$.tracking', json(?1))",
        [tracking.to_string()],
    )
    .unwrap();
    let table = table();
    for line in [
        "\nFOLDED    namespace flood: 11,940 changes over the budget of an object, 11,940 states without a revision, \
         2026-11-30 10:00 UTC to 2026-11-30 10:09 UTC; cluster-scoped objects: 1 change over the budget of an object, \
         700 changes over the budget of a kind, 1 state without a revision, ",
        "; and 27 more\n",
        "\nTRACKING  not tracked: widgets.example.com (the API server does not serve it)\n          \
         no longer watched: configmaps (12 objects) since 2026-11-29 08:00 UTC\n          \
         past states deleted early: namespace shop; cluster-scoped objects\n",
    ] {
        assert!(table.contains(line), "{line}\n{table}");
    }
}

#[test]
fn status_counts_dropped_events() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    recorder::heartbeat(dir.path(), now, End::Killed);
    let table = || dir.run("status --format=table").ok();
    assert!(
        table().contains("\nDROPS     none since the recorder started\n"),
        "{}",
        table()
    );
    for (dropped, unrecovered, reasons, line) in [
        (
            1,
            0,
            &["the recorder has dropped 1 event since it started"][..],
            "1 since the recorder started, 0 not recovered yet",
        ),
        (
            1_234,
            1,
            &[
                "the recorder has dropped 1,234 events since it started",
                "1 dropped event has not been recovered yet",
            ],
            "1,234 since the recorder started, 1 not recovered yet",
        ),
        (
            0,
            2_001,
            &["2,001 dropped events have not been recovered yet"],
            "0 since the recorder started, 2,001 not recovered yet",
        ),
    ] {
        db.execute("UPDATE recorder_status SET dropped = ?", [dropped])
            .unwrap();
        db.execute_batch("DELETE FROM dropped_range").unwrap();
        db.execute(
            "INSERT INTO dropped_range (watch, since_ms, cause, items, known_items) SELECT 1, 0, 'queue_overflow', ?1, '[]' WHERE ?1 > 0",
            [unrecovered],
        )
        .unwrap();
        let status = dir.run("status").json();
        assert_eq!(status["status"], "degraded");
        assert_eq!(status["reasons"], serde_json::json!(reasons));
        assert_eq!(status["recorder"]["dropped"], dropped);
        assert_eq!(status["unrecovered_drops"], unrecovered);
        let table = table();
        assert!(table.contains(&format!("\nDROPS     {line}\n")), "{table}");
    }
}

#[test]
fn status_counts_gaps_by_recovery() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    // Age, duration, recovery; the one from eight days ago does not count.
    let (minute, day) = (60, 86_400);
    let gaps = [
        (2 * day, 10 * minute, "complete"),
        (2 * day + 3_600, 20 * minute, "partial"),
        (3 * day, 5 * minute, "partial"),
        (4 * day, 3 * minute, "none"),
        (5 * day, 90 * minute, "none"),
        (6 * day, 30 * minute, "none"),
        (8 * day, 600 * minute, "none"),
    ];
    for (ago, lasted, recovery) in gaps {
        let at = |second: i64| Timestamp::from_secs(second).to_string();
        let (from, to) = (now - ago, now - ago + lasted);
        let metadata = serde_json::json!({"source": "Event", "from": at(from), "to": at(to), "recovery": recovery});
        let gap = gap(from, lasted, &metadata.to_string());
        fixture::insert(&db, &gap);
    }
    // Open gaps and other rows of type system are counted elsewhere.
    fixture::insert(
        &db,
        &gap(now - 1_000, 0, r#"{"source":"Event","open":true}"#),
    );
    fixture::insert(&db, &gap(now - 2_000, 0, "{}"));
    recorder::heartbeat(dir.path(), now * 1000, End::Killed);
    let status = dir.run("status").json();
    assert_eq!(
        status["gaps_7d"],
        serde_json::json!({"recovered": 1, "partly_recovered": 2, "not_recovered": 3, "longest_not_recovered_seconds": 5400.0})
    );
    let table = dir.run("status --format=table").ok();
    assert!(
        table.contains(
            "\nGAPS      none open; in the last 7 days: 3 not recovered (longest 90m), 2 partly recovered, 1 recovered\n"
        ),
        "{table}"
    );
}

#[test]
fn status_stopped_recorder_without_events() {
    let dir = TestDir::new();
    let _db = fixture::create(&dir.db());
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    recorder::heartbeat(dir.path(), now - 7_200_000, End::Stopped);
    let table = dir.run("status --format=table").ok();
    for line in [
        "RECORDER  0.1.0, stopped 2h ago, queue 0",
        "EVENTS    0 in total, 0 in the last 24 h",
        "SEVERITY  -",
        "TYPE      -",
    ] {
        assert!(table.lines().any(|found| found == line), "{line}: {table}");
    }
    assert!(!table.contains("HISTORY"), "{table}");
}
