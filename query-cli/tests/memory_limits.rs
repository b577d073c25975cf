//! Files that the recorder did not write, or that are damaged: each command ends within its time and memory limit, with an
//! error that names the cause.

#![allow(clippy::unwrap_used, reason = "a test")]
#![allow(
    clippy::disallowed_methods,
    reason = "files that no recorder of ours would write"
)]

use std::process::Command;

use crate::support::{CommandOutput, TEN_OCLOCK, TestDir, fixture};
use kube9_db::schema::template_hash;
use rusqlite::Connection;

/// Memory limit of a command with any file, in KiB.
const MEMORY_KIB: u32 = 32 << 10;
/// Memory limit of a list of rows as the recorder writes them, in KiB.
const LIST_KIB: u32 = 12 << 10;

/// Every command that reads, in every format.
const COMMANDS: [&str; 22] = [
    "events list --format=json --limit=1000",
    "events list --format=jsonl --limit=1000",
    "events list --format=yaml --limit=1000",
    "events list --format=csv --limit=1000",
    "events list --format=table --limit=1000",
    "events list --format=wide --limit=1000",
    "events list --format=table --fields=id,metadata,metadata.reason --limit=1000",
    "events get evt_20251202_100000_000000 --format=json",
    "events get evt_20251202_100000_000000 --format=yaml",
    "events get evt_20251202_100000_000000 --format=table",
    "events stats --by=reason,name,namespace,day --format=json",
    "events stats --by=kind,owner,node,hour --format=csv",
    "events stats --by=type,severity,container --format=table",
    "events timeline --format=json",
    "events timeline --format=table",
    "events timeline --since=1970-01-02 --until=2999-01-01 --format=yaml",
    "events export --format=jsonl",
    "events export --format=csv",
    "events list --search=back-off --since=2025-12-01 --reason=BackOff --format=json",
    "status --format=json",
    "status --format=yaml",
    "status --format=table",
];

/// Runs a command with a memory limit. Mapped heap counts, used or not, so that one more byte fails.
fn limited(dir: &TestDir, line: &str, kib: u32) -> CommandOutput {
    let mut command = dir.command(&line.split(' ').collect::<Vec<_>>());
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("ulimit -d {kib} && exec \"$0\" \"$@\"")])
        .arg(command.command.get_program())
        .args(command.command.get_args())
        .current_dir(dir.path())
        .env("KUBE9_DB", dir.db());
    command.command = shell;
    command.run()
}

/// A database of rows; `row` returns title, description and further metadata of each.
fn filled(rows: u32, mut row: impl FnMut(u32) -> [String; 3]) -> TestDir {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    db.execute_batch("BEGIN").unwrap();
    for low in 0..rows {
        let [title, body, extra] = row(low);
        let event = fixture::Event {
            second: TEN_OCLOCK,
            low,
            severity: 2,
            title,
            body,
            extra: Some(extra),
            ..fixture::Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", "web-1"));
    }
    db.execute_batch("COMMIT").unwrap();
    dir
}

#[track_caller]
fn assert_ended(line: &str, answer: &CommandOutput) {
    assert!(
        matches!(answer.code, Some(0 | 1)) && !answer.stderr.contains("panicked"),
        "{line}: {:?} {}",
        answer.code,
        answer.stderr
    );
}

#[test]
fn commands_oversized_value_is_named_in_the_error() {
    for (table, column) in [
        ("event", "extra"),
        ("message_template", "body"),
        ("object", "name"),
    ] {
        let dir = TestDir::with_sample_events();
        let db = Connection::open(dir.db()).unwrap();
        db.execute_batch(&format!("UPDATE {table} SET {column} = zeroblob(40 << 20)"))
            .unwrap();
        for line in COMMANDS {
            let answer = limited(&dir, line, MEMORY_KIB);
            assert_ended(line, &answer);
            if answer.code == Some(1) && !line.contains(" get ") {
                // A search sorts names first, and exceeds the memory limit before it reads one.
                let what = format!("exceeds 1 MiB: {table}.{column} of ");
                let memory = "the query exceeds its memory limit";
                let is_named = answer.stderr.contains(&what) || answer.stderr.contains(memory);
                assert!(is_named, "{line}: {}", answer.stderr);
            }
        }
    }
}

#[test]
fn commands_longest_values_stay_within_memory() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let keys = |n: usize| {
        let keys: Vec<String> = (0..n).map(|i| format!("\"{i}\":{i}")).collect();
        format!("{{{}}}", keys.join(","))
    };
    let numbers = format!("[{}0]", "0,".repeat(125_000));
    let marks = "a".to_owned() + &"\u{301}".repeat(100_000);
    let hidden = "\u{e0041}".repeat(60_000);
    let metadata = [nested(999), keys(2_000), numbers, format!("\"{hidden}\"")];
    let dir = filled(metadata.len() as u32, |i| {
        [marks.clone(), hidden.clone(), metadata[i as usize].clone()]
    });
    for line in COMMANDS {
        let line = line.replace("_000000 ", "_000002 ");
        let answer = limited(&dir, &line, MEMORY_KIB);
        assert_ended(&line, &answer);
        assert!(answer.code == Some(0), "{line}: {}", answer.stderr);
    }
}

/// A template of 40 KB of placeholders with a long name would expand to 36 GB.
#[test]
fn commands_expanding_description_is_rejected() {
    let dir = TestDir::with_sample_events();
    let db = Connection::open(dir.db()).unwrap();
    let body = "\u{1}".repeat(40_000);
    db.execute(
        "UPDATE message_template SET body = ?1, hash = ?2",
        (&body, template_hash(&body)),
    )
    .unwrap();
    db.execute_batch(
        "UPDATE object SET name = hex(zeroblob(450000)) WHERE id = (SELECT max(object) FROM event)",
    )
    .unwrap();
    drop(db);
    for line in COMMANDS {
        assert_ended(line, &limited(&dir, line, MEMORY_KIB));
    }
    let answer = limited(&dir, "events list --search=nowhere", MEMORY_KIB);
    assert_eq!(answer.code, Some(1), "{answer:?}");
}

#[test]
fn list_oversized_page_ends_early() {
    let dir = filled(100, |i| [format!("{i}"), "x".repeat(200_000), "{}".into()]);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = dir
            .run(&format!("events list --limit=1000 --format=json{after}"))
            .json();
        let events = page["events"].as_array().unwrap();
        assert_eq!(page["pagination"]["total"], 100);
        assert_eq!(page["pagination"]["returned"], events.len());
        assert!((1..=21).contains(&events.len()), "{}", events.len());
        seen.extend(
            events
                .iter()
                .map(|event| event["title"].as_str().unwrap().to_owned()),
        );
        match page["pagination"]["next"].as_str() {
            Some(next) => after = format!(" --after={next}"),
            None => break,
        }
    }
    let all: Vec<String> = (0..100).rev().map(|i| i.to_string()).collect();
    assert_eq!(seen, all);
    let exported = dir.run("events export --fields=title --format=csv").ok();
    assert_eq!(exported.lines().skip(1).collect::<Vec<_>>(), all);
}

#[test]
fn export_long_interned_rows_is_complete() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    db.execute_batch("BEGIN").unwrap();
    for i in 0..1500_i64 {
        let event = fixture::Event {
            second: TEN_OCLOCK + i,
            args: vec!["y".repeat(4000)],
            body: "\u{3}".into(),
            extra: Some(format!("{{\"a\":\"{}\"}}", "z".repeat(5000))),
            ..fixture::Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", &format!("web-{i}")));
    }
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    for filter in ["", " --reason=BackOff", " --severity=info+"] {
        let total = dir
            .run(&format!("events list --limit=1 --format=json{filter}"))
            .json()["pagination"]["total"]
            .clone();
        let answer = limited(
            &dir,
            &format!("events export --fields=object_name,description --format=csv{filter}"),
            LIST_KIB,
        );
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        let names: std::collections::BTreeSet<&str> = answer
            .stdout
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next())
            .collect();
        assert_eq!(serde_json::json!(names.len()), total, "{filter}");
    }
    let page = limited(&dir, "events list --limit=1000 --format=json", LIST_KIB);
    assert_eq!(page.code, Some(0), "{}", page.stderr);
}

#[test]
fn stats_too_many_groups_is_rejected() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    fixture::insert(
        &db,
        &fixture::Event::default().about("Pod", "shop", "web-0"),
    );
    db.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO object (scope, name) SELECT 1, 'web-' || i FROM n;
         INSERT INTO event (key, type, severity, class, template, last_offset_ms, object) \
         SELECT e.key + o.id, 0, 0, 1, 1, 0, o.id FROM object o CROSS JOIN event e WHERE o.id > 1;
         UPDATE row_counts SET rows = 100001",
    )
    .unwrap();
    drop(db);
    let answer = limited(&dir, "events stats --by=name --format=json", MEMORY_KIB);
    let error = answer.failed(1);
    assert!(
        error.contains("the result has more than ") && error.contains(" groups"),
        "{error}"
    );
    let answer = limited(&dir, "events stats --by=namespace --format=json", LIST_KIB);
    assert_eq!(answer.json()["total_events"], 100_001);
}

/// Values that the recorder does not write in a column.
const ODD: [&str; 12] = [
    "NULL",
    "-9223372036854775808",
    "9223372036854775807",
    "1e308",
    "x'fffe00ff'",
    "CAST(x'ff41fe' AS TEXT)",
    "CAST(x'410042' AS TEXT)",
    "''",
    "'{\"a\":'",
    "replace(hex(zeroblob(10000)), '00', '[')",
    "'[1,[2,{\"a\":null}],\"x\"]'",
    "char(0x202e, 0x1b, 10, 0xe0041)",
];

#[test]
fn commands_unexpected_value_in_any_column_returns_result_or_error() {
    let pristine = TestDir::with_sample_events();
    let db = Connection::open(pristine.db()).unwrap();
    let columns: Vec<(String, String)> = db
        .prepare(
            "SELECT m.name, p.name FROM sqlite_schema m, pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    drop(db);
    // All pairs would be 10,000 runs; these cover each column with each kind of value in some command.
    let step = if std::env::var_os("KUBE9_TEST_ALL").is_some() {
        1
    } else {
        37
    };
    let (mut turn, mut wrong) = (0, Vec::new());
    for (i, (table, column)) in columns.iter().enumerate() {
        for (j, odd) in ODD.iter().enumerate() {
            let lines: Vec<&str> = COMMANDS
                .iter()
                .copied()
                .filter(|_| {
                    turn += 1;
                    turn % step == 0
                })
                .collect();
            if lines.is_empty() {
                continue;
            }
            let dir = TestDir::with_sample_events();
            let db = Connection::open(dir.db()).unwrap();
            let ignored = "PRAGMA ignore_check_constraints = 1; PRAGMA foreign_keys = 0;";
            db.execute_batch(ignored).unwrap();
            // The schema rejects some (NOT NULL, an integer key).
            if db
                .execute_batch(&format!("UPDATE OR IGNORE {table} SET {column} = {odd}"))
                .is_err()
            {
                continue;
            }
            for line in lines {
                let line = line.replace(
                    "evt_20251202_100000_000000",
                    ["evt_20251202_100100_000000", "evt_20251202_100000_000000"][(i + j) % 2],
                );
                let answer = dir.run(&line);
                if !matches!(answer.code, Some(0 | 1)) || answer.stderr.contains("panicked") {
                    wrong.push(format!(
                        "{table}.{column} = {odd}: {line}: {}",
                        answer.stderr
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
}

#[test]
fn commands_work_outside_sqlite_ends_at_timeout() {
    // Each glob takes seconds on the name in one function call; one row is too few instructions for a check of the deadline.
    let glob = format!("*{}b", "a".repeat(1000));
    let globs = vec![glob; 40].join(",");
    let dir = filled(1, |_| ["t".into(), "d".into(), "{}".into()]);
    let db = Connection::open(dir.db()).unwrap();
    let name = "a".repeat(1_000_000);
    db.execute("UPDATE object SET name = ?", [name]).unwrap();
    for command in ["list --format=json", "stats", "timeline", "export"] {
        let answer = dir.run(&format!(
            "events {command} --object-name={globs} --timeout=1"
        ));
        assert_eq!(answer.code, Some(1), "{command}: {answer:?}");
        assert!(
            answer.stderr.contains("took longer than 1 s"),
            "{command}: {answer:?}"
        );
        let is_json = answer.stderr.starts_with("{\"error\":");
        assert_eq!(is_json, command.contains("json"), "{answer:?}");
    }
}

#[test]
fn list_slow_reader_gets_the_whole_page() {
    let dir = filled(200, |i| [format!("{i}"), "x".repeat(2000), "{}".into()]);
    let mut command = dir.command(&[
        "events",
        "list",
        "--limit=200",
        "--format=jsonl",
        "--timeout=1",
    ]);
    command.command.stdout(std::process::Stdio::piped());
    let mut child = command.command.spawn().unwrap();
    // Takes longer than the limit, since the output does not fit into a pipe.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text.lines().count(), 200);
}
