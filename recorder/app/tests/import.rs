//! Import of databases of the original operator by the program: complete, once, with interruptions.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is the failure, and the figures are shown"
)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use kube9_db::read::{Filter, PageRequest, Pattern, Reader, TimelineRequest};
use kube9_db::schema::ROW_COUNTS_MISMATCH;
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::{Value, json};

use crate::support::{Log, Workspace, request, signal};

/// The schema of the original (alto9/kube9-operator, `src/database/schema.ts`).
const LAYOUT: &str = "
    CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL, description TEXT);
    CREATE TABLE events (id TEXT PRIMARY KEY, event_type TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
        description TEXT, object_kind TEXT, object_namespace TEXT, object_name TEXT, metadata TEXT,
        created_at TEXT NOT NULL);
    CREATE INDEX idx_events_event_type ON events(event_type);
    CREATE INDEX idx_events_severity ON events(severity);
    CREATE INDEX idx_events_created_at ON events(created_at DESC);
    CREATE INDEX idx_events_object_kind ON events(object_kind, object_namespace, object_name);";

const COLUMNS: &str = "id, event_type, severity, title, description, object_kind, object_namespace, object_name, metadata, \
     created_at";

struct ImportRun {
    workspace: Workspace,
}

impl ImportRun {
    fn new() -> Self {
        let workspace = Workspace::new();
        fs::create_dir_all(workspace.path().join("data/import")).unwrap();
        Self { workspace }
    }

    fn import(&self) -> PathBuf {
        self.workspace.path().join("data/import")
    }

    /// A file of the original in WAL mode, with `rows` rows of the last days.
    fn original(&self, name: &str, rows: u32) -> PathBuf {
        let path = self.import().join(name);
        let db = original(&path);
        fill(&db, rows);
        close(db, &path);
        path
    }

    fn start(&self) -> (Child, Log) {
        let mut recorder = self
            .workspace
            .command(&["--listen", "127.0.0.1:0", "--log-format", "json"])
            .env("KUBE9_DATA_DIR", "data")
            .spawn()
            .unwrap();
        let log = Log::of(&mut recorder);
        (recorder, log)
    }

    /// Starts and stops the recorder; returns the log.
    fn start_and_stop(&self) -> Vec<Value> {
        let (mut recorder, log) = self.start();
        let mut lines = vec![log.until("recording")];
        signal(&recorder, "-TERM");
        assert!(recorder.wait().unwrap().success());
        lines.extend(log.rest());
        lines
    }

    fn database(&self) -> PathBuf {
        self.workspace.path().join("data/kube9.db")
    }

    fn record(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = Connection::open_with_flags(self.database(), flags).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db
    }

    /// The rows about imported files, oldest first.
    fn messages(&self) -> Vec<String> {
        self.record()
            .prepare("SELECT description FROM events WHERE title IN ('History imported', 'Import failed') ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// Checks that the record contains exactly the rows of the file, and that the counters agree.
    fn equals(&self, file: &Path) {
        let db = self.record();
        db.execute(
            "ATTACH ?1 AS original",
            [format!("file:{}?immutable=1", file.display())],
        )
        .unwrap();
        for (one, other) in [("original.events", "taken"), ("taken", "original.events")] {
            let differs: i64 = db
                .query_row(
                    &format!(
                        "WITH taken AS (SELECT {COLUMNS} FROM main.events WHERE id IN (SELECT imported_id FROM event)) \
                         SELECT count(*) FROM (SELECT {COLUMNS} FROM {one} EXCEPT SELECT {COLUMNS} FROM {other})"
                    ),
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(differs, 0, "{one} has more than {other}");
        }
        self.is_sound();
    }

    fn is_sound(&self) {
        let db = self.record();
        assert!(!db.prepare(ROW_COUNTS_MISMATCH).unwrap().exists([]).unwrap());
        let said: String = db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(said, "ok");
    }

    fn imported(&self) -> i64 {
        self.record()
            .query_row(
                "SELECT count(*) FROM event WHERE imported_id IS NOT NULL",
                [],
                |row| row.get(0),
            )
            .unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.import())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn original(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let db = Connection::open_with_flags(path, flags).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
        .unwrap();
    db.execute_batch(LAYOUT).unwrap();
    db.execute("INSERT INTO schema_version VALUES (1, '2025-12-02T10:30:45.000Z', 'Initial schema with events table')", [])
        .unwrap();
    db
}

/// Closes the file as the original does: with a checkpoint and without a WAL.
fn close(db: Connection, path: &Path) {
    db.close().unwrap();
    assert!(!path.with_extension("db-wal").exists());
}

/// Rows of the last five days: Events with the original's metadata; every hundredth is a row of the operator itself,
/// without object, description and metadata.
fn fill(db: &Connection, rows: u32) {
    let begin = Timestamp::now().second() - 5 * 86_400;
    db.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1),
              row AS (SELECT i, i % 100 = 99 AS own, ?2 + i * 431999 / ?1 AS at, i * 7 % 1000 AS ms, (i * 7919 + 17) & 16777215 AS low
                        FROM n)
         INSERT INTO events
         SELECT printf('evt_%s_%06x', strftime('%Y%m%d_%H%M%S', at, 'unixepoch'), low),
                iif(own, 'operator', 'cluster'),
                CASE i % 7 WHEN 0 THEN 'warning' WHEN 3 THEN 'error' WHEN 5 THEN 'critical' ELSE 'info' END,
                iif(own, 'Operator started', 'Pod BackOff: web-' || i % 300),
                iif(own, NULL, 'Back-off restarting failed container app in pod web-' || i % 300 || ', try ' || i),
                iif(own, NULL, 'Pod'), iif(own, NULL, 'team-' || i % 20), iif(own, NULL, 'web-' || i % 300),
                iif(own, NULL, json_object('reason', 'BackOff', 'count', i % 50 + 1,
                    'first_timestamp', strftime('%Y-%m-%dT%H:%M:%S.000Z', at - 60, 'unixepoch'),
                    'last_timestamp', strftime('%Y-%m-%dT%H:%M:%S.000Z', at, 'unixepoch'))),
                strftime('%Y-%m-%dT%H:%M:%S', at, 'unixepoch') || printf('.%03dZ', ms)
           FROM row",
        params![rows, begin],
    )
    .unwrap();
}

/// A row of an hour ago that differs in one column.
fn one(db: &Connection, n: u32, column: &str, value: impl rusqlite::ToSql) {
    let at = Timestamp::from_secs(Timestamp::now().second() - 3600);
    let id = format!("evt_20251202_103045_{n:06x}");
    db.execute(
        "INSERT INTO events VALUES (?1, 'cluster', 'info', 'Pod Pulled: web', 'Image pulled', 'Pod', 'shop', 'web',
             '{\"reason\":\"Pulled\"}', ?2)",
        (&id, at.to_string()),
    )
    .unwrap();
    db.execute(
        &format!("UPDATE events SET {column} = ?2 WHERE id = ?1"),
        params![id, value],
    )
    .unwrap();
}

#[test]
fn import_of_file_happens_once_and_keeps_ids_and_times() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 3_000);
    run.start_and_stop();
    assert_eq!(run.files(), ["kube9.db.done"]);
    assert_eq!(
        run.messages(),
        ["Imported 3000 rows of kube9.db; 0 skipped."]
    );
    run.equals(&file.with_extension("db.done"));

    // As users query: by id, by time, and by metadata.
    let reader = Reader::open(&run.database(), Duration::from_secs(10)).unwrap();
    let done = file.with_extension("db.done");
    let wanted: Vec<(String, String, Option<String>)> = Connection::open_with_flags(
        format!("file:{}?immutable=1", done.display()),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
    )
    .unwrap()
    .prepare("SELECT id, created_at, metadata FROM events ORDER BY created_at DESC, id DESC")
    .unwrap()
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
    .unwrap()
    .collect::<Result<_, _>>()
    .unwrap();
    for (id, created_at, metadata) in wanted.iter().step_by(97) {
        let row = reader.get(id).unwrap().unwrap();
        assert_eq!(
            (&row.id, &row.created_at, &row.metadata),
            (id, created_at, metadata)
        );
    }
    let list = |filter: Filter| {
        let request = PageRequest {
            filter,
            limit: 4_000,
            ..PageRequest::default()
        };
        reader.list(&request).unwrap()
    };
    let listed = list(Filter {
        reasons: vec![Pattern::parse("BackOff").unwrap()],
        ..Filter::default()
    });
    assert_eq!((listed.total, listed.rows.len()), (2_970, 2_970));
    let listed = list(Filter {
        until: Some(Timestamp::from_secs(Timestamp::now().second() - 60)),
        ..Filter::default()
    });
    let ids: Vec<&str> = listed.rows.iter().map(|row| row.id.as_str()).collect();
    let expected: Vec<&str> = wanted.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, expected, "newest first, also within a second");
    for row in &listed.rows {
        assert_eq!(reader.get(&row.id).unwrap().as_ref(), Some(row));
    }
    drop(reader);

    // Again under another name: nothing is duplicated, and only the id of a known row is read.
    let again = run.import().join("again.db");
    fs::copy(file.with_extension("db.done"), &again).unwrap();
    let db = Connection::open_with_flags(&again, OpenFlags::default()).unwrap();
    db.execute_batch("UPDATE events SET severity = 'fatal'")
        .unwrap();
    close(db, &again);
    run.start_and_stop();
    assert_eq!(run.imported(), 3_000);
    let messages = run.messages();
    assert_eq!(
        messages[1],
        "Imported 0 rows of again.db; 3000 skipped (3000 already recorded)."
    );
    assert_eq!(run.files(), ["again.db.done", "kube9.db.done"]);
    run.is_sound();
}

#[test]
fn import_killed_repeatedly_loses_and_duplicates_nothing() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 8_000);
    let mut seen = 0;
    for _ in 0..3 {
        let (mut recorder, log) = run.start();
        log.until("importing a database of the original operator");
        let more = |rows: i64| rows > seen;
        let deadline = Instant::now() + Duration::from_secs(60);
        let rows = loop {
            let rows = run.imported();
            if more(rows) || Instant::now() > deadline {
                break rows;
            }
        };
        signal(&recorder, "-KILL");
        recorder.wait().unwrap();
        assert!(rows > seen, "each run gets further");
        seen = rows;
    }
    assert!(seen < 8_000, "killed in the middle: {seen}");
    assert_eq!(run.files(), ["kube9.db"]);
    run.start_and_stop();
    assert_eq!(run.imported(), 8_000);
    assert_eq!(run.files(), ["kube9.db.done"]);
    run.equals(&file.with_extension("db.done"));
}

#[test]
fn import_stopped_midway_exits_soon_and_resumes_later() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 8_000);
    let (mut recorder, log) = run.start();
    let address = log.address();
    log.until("importing a database of the original operator");
    // Live but not ready: the watch has not started.
    assert!(request(&address, "GET /livez HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(request(&address, "GET /readyz HTTP/1.1").starts_with("HTTP/1.1 503"));
    signal(&recorder, "-TERM");
    assert!(recorder.wait().unwrap().success());
    assert_eq!(run.files(), ["kube9.db"]);
    assert!(run.imported() < 8_000);
    run.start_and_stop();
    run.equals(&file.with_extension("db.done"));
}

#[test]
fn hostile_imported_rows_are_sanitized_or_skipped_and_counted() {
    let run = ImportRun::new();
    let path = run.import().join("hostile.db");
    let db = original(&path);
    let now = Timestamp::now().second();
    one(&db, 1, "title", "plain");
    one(&db, 2, "title", "red \u{1b}[31m \u{202e}desrever");
    one(
        &db,
        3,
        "description",
        "login with password=hunter2hunter2 now",
    );
    one(
        &db,
        4,
        "metadata",
        r#"{"reason":"X","password":"hunter2hunter2"}"#,
    );
    one(&db, 5, "metadata", "no JSON");
    one(&db, 6, "metadata", "[1, 2]");
    one(&db, 7, "description", "x".repeat(100_000));
    one(&db, 8, "description", "x".repeat(300_000));
    one(&db, 9, "severity", "fatal");
    one(&db, 10, "event_type", "audit");
    one(&db, 11, "created_at", "yesterday");
    one(
        &db,
        12,
        "created_at",
        Timestamp::from_secs(now + 10 * 86_400).to_string(),
    );
    one(
        &db,
        13,
        "created_at",
        Timestamp::from_secs(now - 8 * 86_400).to_string(),
    );
    one(&db, 14, "id", "evt_20251202_103045_a\u{1b}[31m");
    one(&db, 15, "id", "evt_20251202_103046_x9y8z7");
    one(
        &db,
        16,
        "created_at",
        Timestamp::from_secs(now - 60)
            .to_string()
            .replace(".000Z", ".123456789Z"),
    );
    one(&db, 17, "title", vec![0xff_u8, 0xfe]);
    one(&db, 18, "object_name", "\u{1}\u{2}\u{3}");
    one(
        &db,
        19,
        "metadata",
        r#"{"reason":"X","last_timestamp":"9999-12-31T23:59:59Z"}"#,
    );
    one(&db, 20, "metadata", "{".repeat(200));
    let hour_ago = Timestamp::from_secs(now - 3600).to_string();
    for (n, separator) in (21..).zip(["\u{1b}", "\n", "\0", "\t", "\"", "\\", "\u{7f}"]) {
        one(&db, n, "created_at", hour_ago.replace('T', separator));
    }
    let offset = Timestamp::from_secs(now).to_string().replace('Z', "+01:00");
    one(&db, 30, "created_at", offset);
    one(&db, 31, "created_at", hour_ago.to_lowercase());
    one(&db, 32, "created_at", hour_ago.replace('T', " "));
    one(&db, 33, "title", "x".repeat(20_000));
    one(&db, 34, "object_name", "x".repeat(20_000));
    one(
        &db,
        35,
        "metadata",
        r#"{"n":123456789012345678901234567890}"#,
    );
    one(
        &db,
        36,
        "metadata",
        r#"{"a":"password=hunter2hunter2","a":1}"#,
    );
    close(db, &path);
    run.start_and_stop();
    let messages = run.messages();
    assert_eq!(
        messages,
        [
            "Imported 18 rows of hostile.db; 16 skipped (1 older than the retention, 1 created in the future, \
          1 not an event id, 8 created_at is not a time, 1 unknown event_type, 1 unknown severity, 3 a value is too long). \
          14 rows were changed: secrets, invisible characters, lengths, times that are not in UTC, or metadata that is not a JSON object in compact form."
        ]
    );
    run.is_sound();
    let db = run.record();
    let get = |n: u32, column: &str| -> String {
        let id = format!("evt_20251202_103045_{n:06x}");
        db.query_row(
            &format!("SELECT {column} FROM events WHERE id = ?1"),
            [id],
            |row| row.get(0),
        )
        .unwrap()
    };
    assert_eq!(get(2, "title"), r"red \u{1b}[31m \u{202e}desrever");
    for (n, column) in [(3, "description"), (4, "metadata")] {
        assert!(!get(n, column).contains("hunter2"), "{}", get(n, column));
    }
    assert_eq!(get(5, "metadata"), r#"{"metadata":"no JSON"}"#);
    assert_eq!(get(7, "description").len(), 4096);
    assert_eq!(get(18, "object_name"), r"\u{1}\u{2}\u{3}");
    for n in [30, 31, 32] {
        let created = Timestamp::from_secs(now - 3600).to_string();
        assert_eq!(get(n, "created_at"), created);
    }
    let last: i64 = db
        .query_row(
            "SELECT max(last_offset_ms) FROM event WHERE imported_id IS NOT NULL",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(last < 1_000, "nothing lasts until the year 9999");
    let reader = Reader::open(&run.database(), Duration::from_secs(10)).unwrap();
    assert!(reader.get("evt_20251202_103046_x9y8z7").unwrap().is_some());
    let row = reader.get("evt_20251202_103045_000010").unwrap().unwrap();
    assert!(row.created_at.ends_with(".123456789Z"), "{row:?}");
}

/// A file that cannot be renamed is read at each start; rows that the size limit deleted are not imported again.
#[test]
fn evicted_imported_rows_are_not_imported_again() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 20_000);
    let long = run.import().join(format!("{}.db", "n".repeat(252)));
    fs::rename(&file, &long).unwrap();
    let evicted = || -> i64 {
        run.record()
            .query_row("SELECT ifnull(sum(rows), 0) FROM eviction", [], |row| {
                row.get(0)
            })
            .unwrap()
    };
    let restart = || {
        let mut recorder = run
            .workspace
            .command(&["--listen", "127.0.0.1:0", "--log-format", "json"])
            .env("KUBE9_DATA_DIR", "data")
            .env("KUBE9_STORAGE_MAX_BYTES", "4Mi")
            .spawn()
            .unwrap();
        let log = Log::of(&mut recorder);
        log.until("recording");
        signal(&recorder, "-TERM");
        assert!(recorder.wait().unwrap().success());
    };
    restart();
    let (first, left) = (evicted(), run.imported());
    assert!(first > 0 && left < 20_000, "{first} evicted, {left} left");
    restart();
    let messages = run.messages();
    assert!(messages[1].starts_with("Imported 0 rows"), "{messages:?}");
    assert!(messages[1].contains("older than the size limit leaves"));
    // Each row was evicted once or exists; plus a few rows of the recorder.
    let known = evicted() + run.imported();
    assert!((20_000..20_100).contains(&known), "{known}");
    run.is_sound();
}

/// Times have milliseconds: a time within a second splits the rows of that second.
#[test]
fn time_filter_within_second_splits_imported_rows() {
    let run = ImportRun::new();
    let path = run.import().join("kube9.db");
    let db = original(&path);
    let second = Timestamp::from_secs(Timestamp::now().second() - 3600);
    let at = |millis: i64| Timestamp::from_millis(second.millis() + millis);
    for n in 0..10_u32 {
        let created = at(i64::from(n) * 100).to_string();
        one(&db, n, "created_at", created);
    }
    close(db, &path);
    run.start_and_stop();
    let reader = Reader::open(&run.database(), Duration::from_secs(10)).unwrap();
    let matching = |since: Option<Timestamp>, until: Option<Timestamp>| {
        let request = PageRequest {
            filter: Filter {
                since,
                until,
                ..Filter::default()
            },
            limit: 1_000,
            ..PageRequest::default()
        };
        let page = reader.list(&request).unwrap();
        let rows = page
            .rows
            .iter()
            .filter(|row| row.id.starts_with("evt_20251202_"));
        let mut rows: Vec<i64> = rows
            .map(|row| Timestamp::parse(&row.created_at).unwrap().millis() - second.millis())
            .collect();
        rows.sort_unstable();
        rows
    };
    for cut in [0, 1, 100, 250, 899, 900, 901, 1_000] {
        let (before, after): (Vec<i64>, Vec<i64>) =
            (0..10).map(|n| n * 100).partition(|&ms| ms < cut);
        assert_eq!(matching(None, Some(at(cut))), before, "until {cut}");
        assert_eq!(matching(Some(at(cut)), None), after, "since {cut}");
    }
}

/// Only kube9 records changes and gaps; rows of the original are never marked as such, whatever their title.
#[test]
fn timeline_does_not_mark_imported_rows() {
    let run = ImportRun::new();
    let path = run.import().join("kube9.db");
    let db = original(&path);
    one(&db, 1, "title", "Pod BackOff: web");
    one(&db, 2, "title", "Recording gap");
    one(&db, 3, "title", "Recording gap");
    db.execute_batch("UPDATE events SET event_type = 'system' WHERE id LIKE '%3'")
        .unwrap();
    close(db, &path);
    run.start_and_stop();
    assert_eq!(run.imported(), 3);
    let reader = Reader::open(&run.database(), Duration::from_secs(10)).unwrap();
    let to = Timestamp::now();
    let from = to.minus(Duration::from_secs(7_200));
    let timeline = reader
        .timeline(&TimelineRequest {
            filter: Filter {
                since: Some(from),
                until: Some(to),
                ..Filter::default()
            },
            from,
            to,
            bucket_ms: 600_000,
        })
        .unwrap();
    let counted: u64 = timeline.buckets.iter().flatten().sum();
    assert!(counted >= 3, "they are counted: {counted}");
    let marked: Vec<&str> = timeline
        .markers
        .iter()
        .map(|mark| mark.row.id.as_str())
        .filter(|id| id.starts_with("evt_20251202_"))
        .collect();
    assert!(marked.is_empty(), "{marked:?}");
}

/// A file that is not a database of the original stays and is reported, and the recorder continues.
#[test]
fn foreign_files_in_import_folder_do_not_block_recording() {
    let run = ImportRun::new();
    let import = run.import();
    let at = |name: &str| import.join(name);
    fs::write(
        at("a-text.db"),
        "not a database at all, but long enough to be looked at",
    )
    .unwrap();
    fs::write(at("b-empty.db"), "").unwrap();
    fs::create_dir(at("c-folder.db")).unwrap();
    symlink("/dev/zero", at("d-link.db")).unwrap();
    symlink(run.database(), at("e-own.db")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(at("f-pipe.db"))
            .status()
            .unwrap()
            .success()
    );
    let other = Connection::open_with_flags(at("g-other.db"), OpenFlags::default()).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    let view = Connection::open_with_flags(at("h-view.db"), OpenFlags::default()).unwrap();
    view.execute_batch(&format!(
        "{LAYOUT} ALTER TABLE events RENAME TO t; CREATE VIEW events AS SELECT * FROM t"
    ))
    .unwrap();
    let computed = Connection::open_with_flags(at("i-computed.db"), OpenFlags::default()).unwrap();
    computed
        .execute_batch(
            "CREATE TABLE events (id, event_type, severity, title, description, object_kind, object_namespace, object_name,
                 metadata AS (zeroblob(1000000000)), created_at)",
        )
        .unwrap();
    // Its rows are in the WAL: a copy of a running operator's file.
    let busy = original(&at("j-busy.db"));
    fill(&busy, 10);
    // Corrupt in the middle, after readable rows.
    let damaged = run.original("k-damaged.db", 2_000);
    let mut bytes = fs::read(&damaged).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0xa5);
    fs::write(&damaged, bytes).unwrap();
    let before = run.files();

    let (mut recorder, log) = run.start();
    let address = log.address();
    log.until("recording");
    let health = request(&address, "GET /healthz HTTP/1.1");
    assert!(
        health.contains("not imported: a-text.db: it is not a SQLite database"),
        "{health}"
    );
    signal(&recorder, "-TERM");
    assert!(recorder.wait().unwrap().success());
    let lines = log.rest();

    assert_eq!(run.files(), before, "each is still there");
    drop((other, view, computed, busy));
    let messages = run.messages().join("\n");
    for why in [
        "a-text.db was not imported completely: it is not a SQLite database.",
        "b-empty.db was not imported completely: it is not a SQLite database.",
        "c-folder.db was not imported completely: it is not a regular file.",
        "d-link.db was not imported completely: it is not a regular file.",
        "e-own.db was not imported completely: it is not a regular file.",
        "f-pipe.db was not imported completely: it is not a regular file.",
        "g-other.db was not imported completely: it does not have the original operator's table events: there is none.",
        "h-view.db was not imported completely: it does not have the original operator's table events: events is a view.",
        "i-computed.db was not imported completely: it does not have the original operator's table events: \
         the column metadata is computed.",
        "j-busy.db was not imported completely: it has rows in j-busy.db-wal:",
        "k-damaged.db was not imported completely: it cannot be read:",
    ] {
        assert!(messages.contains(why), "{why}\n{messages}");
    }
    assert!(lines.iter().all(|line| line["message"] != "panicked"));
    run.is_sound();
    assert!(
        fs::symlink_metadata(at("f-pipe.db"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

/// The recorder's own database by another name: opening and closing it would drop SQLite's locks.
#[test]
fn own_database_in_import_folder_is_not_opened() {
    let run = ImportRun::new();
    run.start_and_stop();
    fs::hard_link(run.database(), run.import().join("own.db")).unwrap();
    run.start_and_stop();
    let messages = run.messages().join("\n");
    assert!(
        messages.contains("it is the recorder's own database"),
        "{messages}"
    );
    run.is_sound();
}

/// A read-only folder, as a claim mounted read-only: the rows are imported once.
#[test]
fn imported_file_that_cannot_be_renamed_is_not_duplicated() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 1_000);
    // A name that is too long with `.done`: even root cannot rename it.
    let long = run.import().join(format!("{}.db", "n".repeat(252)));
    fs::rename(&file, &long).unwrap();
    for _ in 0..2 {
        let lines = run.start_and_stop();
        drop(lines);
        assert_eq!(run.imported(), 1_000);
    }
    assert!(long.exists());
    run.equals(&long);
}

#[test]
fn unreadable_import_file_is_reported() {
    let run = ImportRun::new();
    let file = run.original("kube9.db", 10);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    // Root can read it; then it is imported.
    let may_read = fs::File::open(&file).is_ok();
    run.start_and_stop();
    let messages = run.messages().join("\n");
    let expected = if may_read {
        "Imported 10 rows"
    } else {
        "Permission denied"
    };
    assert!(messages.contains(expected), "{messages}");
}

/// A schema is held in memory: a large one is refused, and the process continues.
#[test]
fn import_file_with_huge_schema_is_refused() {
    let run = ImportRun::new();
    let path = run.import().join("wide.db");
    let db = original(&path);
    let filler = "x".repeat(100_000);
    db.execute_batch("BEGIN").unwrap();
    for n in 0..800 {
        db.execute_batch(&format!(
            "CREATE TABLE t{n} (\"{filler}\" DEFAULT '{filler}')"
        ))
        .unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    close(db, &path);
    let (mut recorder, log) = run.start();
    log.until("recording");
    let peak = peak_kib(&recorder);
    signal(&recorder, "-TERM");
    assert!(recorder.wait().unwrap().success());
    assert!(
        run.messages()[0].contains("its schema is larger"),
        "{:?}",
        run.messages()
    );
    eprintln!("a schema of 160 MB: peak {} MiB", peak / 1024);
    assert!(peak < 128 << 10, "{peak} KiB");
}

#[test]
fn import_of_many_rows_uses_bounded_memory() {
    // A tenth without optimization; the end-to-end script imports all of them.
    let rows = if cfg!(debug_assertions) {
        10_000
    } else {
        100_000
    };
    let run = ImportRun::new();
    let file = run.original("kube9.db", rows);
    let (mut recorder, log) = run.start();
    let line = log.until("database imported");
    log.until("recording");
    let peak = peak_kib(&recorder);
    signal(&recorder, "-TERM");
    assert!(recorder.wait().unwrap().success());
    let bytes = |path: &Path| fs::metadata(path).unwrap().len() / 1024;
    eprintln!(
        "{rows} rows in {} s, peak {} MiB; the file {} KiB, the record {} KiB",
        line["seconds"],
        peak / 1024,
        bytes(&file.with_extension("db.done")),
        bytes(&run.database())
    );
    assert_eq!((&line["rows"], &line["skipped"]), (&json!(rows), &json!(0)));
    run.equals(&file.with_extension("db.done"));
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// Peak memory of a process, in KiB.
fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
