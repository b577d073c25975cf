//! Untrusted text in the database and on the command line.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::support::fixture::{self, Event};
use crate::support::{TEN_OCLOCK, TestDir};
use proptest::prelude::*;

/// Text that a container could write into an Event if the recorder did not escape it; another database may contain all of it.
const NASTY: [&str; 10] = [
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "a\u{9b}31mred",
    "line one\nline two\r\n\ttabbed",
    "\u{202e}gnp.exe",
    "\u{feff}\u{2028}\u{2029}\u{200f}",
    "quote \" apostrophe ' comma , semicolon ; backslash \\",
    "yes",
    "- not: a list # nor a comment",
    "2025-12-02",
    "漢字 🚀 é 👩‍👩‍👧",
];

fn is_hostile(c: char) -> bool {
    // Sentences keep joiners between letters and emoji.
    let joins = matches!(c, '\n' | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}');
    kube9_model::invisible::is_invisible(c) && !joins
}

/// A row whose every text is `text`.
fn row_of(text: &str) -> Event {
    let event = Event {
        second: TEN_OCLOCK,
        reason: text.to_owned(),
        title: text.to_owned(),
        component: text.to_owned(),
        container: text.to_owned(),
        node: Some(text.to_owned()),
        owner: Some([text.to_owned(), text.to_owned()]),
        // Stored text has none of these, so they cannot be placeholders.
        body: text.replace(|c| c < '\u{8}', ""),
        ..Event::default()
    };
    event.about(text, text, text)
}

/// A database with hostile text in every column, as no recorder writes it.
fn hostile_database() -> TestDir {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    for (i, text) in (0..).zip(NASTY) {
        let event = Event {
            low: i,
            extra: Some(serde_json::json!({ *text: text, "count": i }).to_string()),
            ..row_of(text)
        };
        fixture::insert(&db, &event);
    }
    let odd = Event {
        second: TEN_OCLOCK - 3_600,
        extra: Some("[1,\n2]".to_owned()),
        ..Event::default()
    };
    fixture::insert(&db, &odd);
    db.execute_batch(
        "UPDATE event_class SET title = x'fffe1b' WHERE reason = 'Scheduled';
         UPDATE message_template SET body = CAST(x'ff1b' AS TEXT) WHERE body = 'it happened'",
    )
    .unwrap();
    dir
}

#[test]
fn formats_control_characters_never_reach_terminal() {
    let dir = hostile_database();
    for line in [
        "events list --format=json",
        "events list --format=jsonl",
        "events list --format=yaml",
        "events list --format=csv",
        "events list --format=table",
        "events list --format=wide",
        "events list --format=table --fields=id,title,metadata,metadata.reason",
        "events get evt_20251202_100000_000000 --format=table",
        "events get evt_20251202_100000_000001 --format=yaml",
        "events watch --format=table --tail=20",
        "events watch --format=jsonl --tail=20",
        "events stats --by=type,severity,namespace,reason --format=table",
        "events stats --by=type,severity,namespace,reason --format=csv",
        "events stats --by=type,severity,namespace,reason --format=yaml",
        "events timeline --format=table",
        "events export",
        "events export --format=csv",
        "status --format=table",
        "status --format=yaml",
    ] {
        // Watch exits when its output is closed, which `timeout` does not do; so end it after a second.
        let answer = if line.contains("watch") {
            let mut command = dir.command(&["x"; 0]);
            let binary = command.command.get_program().to_owned();
            let mut limited = std::process::Command::new("timeout");
            limited
                .args(["-s", "TERM", "2"])
                .arg(binary)
                .args(line.split(' '))
                .env("KUBE9_DB", dir.db());
            command.command = limited;
            command.run()
        } else {
            dir.run(line)
        };
        assert!(!answer.stdout.is_empty(), "{line}: {answer:?}");
        for text in [&answer.stdout, &answer.stderr] {
            let hostile: Vec<char> = text.chars().filter(|&c| is_hostile(c)).collect();
            assert!(hostile.is_empty(), "{line}: {hostile:?}");
        }
    }
}

#[test]
fn documents_contain_the_stored_text() {
    let dir = hostile_database();
    let page = dir.run("events list --format=json --type=x").failed(2);
    assert!(page.contains("valid values"), "{page}");
    let page = dir.run("events list --format=json").json();
    let yaml = dir.run("events list --format=yaml").ok();
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(page, yaml);
    let lines = dir.run("events list --format=jsonl").ok();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(page["events"].as_array().unwrap(), &lines);
    for (i, text) in NASTY.iter().enumerate() {
        let event = &page["events"][NASTY.len() - 1 - i];
        assert_eq!(event["title"], *text);
        assert_eq!(event["metadata"][*text], *text);
    }
    // Metadata that is not an object is printed unchanged.
    let shown = dir
        .run("events get evt_20251202_090000_000000 --format=table")
        .ok();
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("metadata ") && line.ends_with(" [1,2]")),
        "{shown}"
    );
}

/// Mostly letters, and characters that are special in some format, terminal or parser.
fn any_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(
        "\"'\\,;:#-?!&*|>%@`{}[]~=<>\n\r\t\0\u{1b}\u{7f}\u{85}\u{9b}\u{a0}\u{ad}\u{200b}\u{200d}\u{202e}\u{2028}\u{feff}\u{fffd}\u{fffe}\u{e0041}\u{10ffff}漢é🚀"
            .chars()
            .collect::<Vec<_>>(),
    );
    let letter = prop_oneof![4 => prop::char::range('a', 'z'), 1 => Just(' '), 3 => special, 1 => any::<char>()];
    let word = prop::sample::select(vec![
        "null",
        "true",
        "no",
        "~",
        "1e3",
        "0x1f",
        "2025-12-02",
        "---",
        "...",
        "<<",
        "=",
        "",
        "- a",
        "key: v",
    ]);
    prop_oneof![
        4 => prop::collection::vec(letter, 0..24).prop_map(String::from_iter),
        1 => word.prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn formats_any_stored_text_is_complete_and_escaped(texts in prop::collection::vec(any_text(), 5..40)) {
        let dir = TestDir::new();
        let db = fixture::create(&dir.db());
        let without_nul = |text: &String| text.replace('\0', " ");
        for (i, text) in (0..).zip(&texts) {
            let extra = serde_json::json!({ "nested": [{ text.as_str(): text }] }).to_string();
            fixture::insert(&db, &Event { low: i, extra: Some(extra), ..row_of(&without_nul(text)) });
        }
        let json = dir.run("events list --format=json --limit=1000");
        let yaml = dir.run("events list --format=yaml --limit=1000");
        let lines = dir.run("events list --format=jsonl --limit=1000");
        let csv = dir.run("events list --format=csv --limit=1000");
        let table = dir.run("events list --format=table --limit=1000");
        for answer in [&json, &yaml, &lines, &csv, &table] {
            let hostile: Vec<char> = answer.stdout.chars().filter(|&c| is_hostile(c)).collect();
            prop_assert!(hostile.is_empty(), "{hostile:?} in {}", answer.stdout);
        }
        for lines_of in [&csv, &table] {
            prop_assert_eq!(lines_of.stdout.lines().count(), texts.len() + 1, "{}", lines_of.stdout);
        }
        let page = json.json();
        for (i, text) in texts.iter().rev().enumerate() {
            let (event, title) = (&page["events"][i], without_nul(text));
            prop_assert_eq!(event["title"].as_str(), Some(title.as_str()));
            prop_assert_eq!(event["metadata"]["reason"].as_str(), Some(title.as_str()).filter(|text| !text.is_empty()));
            prop_assert_eq!(event["metadata"]["nested"][0][text.as_str()].as_str(), Some(text.as_str()));
        }
        let read: serde_json::Value = serde_yaml::from_str(&yaml.stdout).unwrap();
        prop_assert_eq!(&read, &page, "{}", yaml.stdout);
        let events: Vec<serde_json::Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&serde_json::Value::from(events), &page["events"]);
    }

    #[test]
    fn arguments_any_text_returns_result_or_error(words in prop::collection::vec(any_text(), 1..4), seed in any::<u64>()) {
        const OPTIONS: [&str; 16] = [
            "--type=", "--severity=", "--since=", "--until=", "--object-kind=", "--object-namespace=", "--object-name=",
            "--for=", "--reason=", "--owner=", "--node=", "--search=", "--after=", "--limit=", "--fields=", "--by=",
        ];
        let dir = TestDir::with_sample_events();
        let command = ["list", "stats", "export", "timeline", "get"][(seed % 5) as usize];
        let mut line = vec!["events".to_owned(), command.to_owned()];
        for (i, word) in words.iter().enumerate() {
            let option = OPTIONS[(seed as usize / 5 + i * 7) % OPTIONS.len()];
            line.push(if command == "get" { word.replace('\0', "") } else { format!("{option}{}", word.replace('\0', "")) });
        }
        let answer = dir.command(&line).run();
        prop_assert!(matches!(answer.code, Some(0..=2)), "{line:?}: {answer:?}");
        prop_assert!(!answer.stderr.contains("panicked") && !answer.stderr.contains("SQL"), "{line:?}: {answer:?}");
        prop_assert!(!answer.stderr.chars().chain(answer.stdout.chars()).any(is_hostile), "{line:?}: {answer:?}");
    }
}

/// One of each kind of invisible character, and spaces that look alike.
const INVISIBLE: &str = "\u{7f}\u{9b}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{17b4}\u{180e}\u{2003}\u{200b}\u{200c}\u{200d}\u{200e}\u{2028}\
                         \u{202e}\u{2060}\u{2066}\u{2800}\u{3000}\u{3164}\u{e000}\u{fe0e}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{1d173}\
                         \u{e0001}\u{e0041}\u{e0100}\u{f0000}\u{10fffd}";

#[test]
fn text_formats_invisible_character_in_name_is_shown() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let names: Vec<String> = INVISIBLE
        .chars()
        .map(|c| format!("we{c}b-❤{c}🔥"))
        .collect();
    for (i, name) in names.iter().enumerate() {
        let event = Event {
            second: TEN_OCLOCK + i as i64,
            severity: 2,
            reason: name.clone(),
            container: name.clone(),
            node: Some(name.clone()),
            owner: Some(["ReplicaSet".into(), name.clone()]),
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", name, name));
    }
    drop(db);
    for line in [
        "events list --format=table --limit=1000",
        "events list --format=wide --limit=1000",
        "events list --format=csv --limit=1000",
        "events list --format=json --limit=1000",
        "events list --format=csv --fields=object_name,metadata.node,metadata --limit=1000",
        "events list --format=table --fields=object_name,metadata.node,metadata --limit=1000",
        "events export --format=csv",
        "events stats --by=name,owner,node --format=table",
        "events stats --by=name,owner,node --format=csv",
    ] {
        let shown = dir.run(line).stdout;
        for c in INVISIBLE.chars() {
            let is_space = matches!(c, '\u{a0}' | '\u{2003}' | '\u{3000}');
            if line.contains("json") && is_space {
                continue; // a value for programs
            }
            let json: String = c
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect();
            let escape = if line.contains("json") {
                json
            } else {
                c.escape_unicode().to_string()
            };
            let name = format!("we{escape}b-❤{escape}🔥");
            assert!(shown.contains(&name), "{line}: {name} is not in {shown}");
            // Metadata can contain such spaces as a value.
            let is_left = shown.contains(c) && !(is_space && line.contains(",metadata "));
            assert!(!is_left, "{line}: {c:?} is in {shown}");
        }
    }
    for (i, c) in INVISIBLE.chars().enumerate() {
        let id = format!("evt_20251202_1000{i:02}_000000");
        let shown = dir.run(&format!("events get {id} --format=table")).ok();
        assert!(
            shown.contains(&format!("we{}b", c.escape_unicode())),
            "{c:?}: {shown}"
        );
        assert!(!shown.contains(c), "{c:?}: {shown}");
    }
    let shown = dir.run("events timeline --format=table").ok();
    assert!(shown.contains("we\\u{7f}b-❤\\u{7f}🔥"), "{shown}");
    let error = dir.run("events get we\u{200b}b").failed(2);
    assert!(error.contains("we\\u{200b}b"), "{error}");
}

#[test]
fn csv_cell_is_never_a_formula() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let texts = [
        "=1+1",
        "+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\"=1",
        "'=1",
        "＝1",
        "＋1",
        "－1",
        "＠1",
        "\u{200b}=1",
    ];
    for (i, text) in (0..).zip(texts) {
        let event = Event {
            low: i,
            extra: Some(serde_json::json!({ "code": -7 }).to_string()),
            ..row_of(text)
        };
        fixture::insert(&db, &event);
    }
    for line in [
        "events list --format=csv",
        "events export --format=csv --fields=title,metadata.reason,metadata.node,object_name,metadata.code",
        "events stats --by=kind,name,reason,owner --format=csv",
    ] {
        let shown = dir.run(line).ok();
        for row in shown.lines().skip(1) {
            // No cell of these texts contains a comma.
            for cell in row.split(',').filter(|cell| !matches!(*cell, "-7")) {
                let text = cell.trim_matches('"').trim_start();
                let sign = text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
                assert!(!sign, "{line}: {cell} in {row}");
            }
            assert!(!line.contains("code") || row.ends_with(",-7"), "{row}");
        }
    }
}

#[test]
fn csv_and_table_have_one_line_per_event() {
    let dir = hostile_database();
    for format in ["csv", "table", "wide"] {
        let shown = dir.run(&format!("events list --format={format}")).stdout;
        // The headings, the hostile rows and the row without an object.
        assert_eq!(shown.lines().count(), 1 + NASTY.len() + 1, "{shown}");
    }
}

#[test]
fn table_wide_names_are_aligned() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    db.execute_batch("BEGIN").unwrap();
    for i in 0..1000_i64 {
        let name = ["web", "漢字", "🚀🚀", "é́́", "한국어", "👩‍👩‍👧"][i as usize % 6];
        let event = Event {
            second: TEN_OCLOCK + i,
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", &format!("{name}-{i}")));
    }
    db.execute_batch("COMMIT").unwrap();
    let shown = dir
        .run("events list --limit=1000 --fields=object_name,created_at --format=table")
        .stdout;
    let widths: std::collections::BTreeSet<usize> = shown
        .lines()
        .skip(1)
        .map(unicode_width::UnicodeWidthStr::width)
        .collect();
    assert_eq!(shown.lines().count(), 1001);
    assert_eq!(widths.len(), 1, "{widths:?}");
}

#[test]
fn arguments_sql_is_not_executed() {
    let dir = TestDir::with_sample_events();
    for value in [
        "'; DROP TABLE event; --",
        "x' OR '1'='1",
        "%",
        "_",
        "\" OR 1=1",
        "\\",
        "?",
        ":a",
        "%00",
        "nul\u{1}",
    ] {
        for option in [
            "--object-name",
            "--object-kind",
            "--object-namespace",
            "--reason",
            "--node",
            "--owner",
            "--container",
            "--search",
        ] {
            let answer = dir
                .command(&[
                    "events",
                    "list",
                    &format!("{option}={value}"),
                    "--format=json",
                ])
                .run();
            // A value with a comma or a slash may be rejected; none may match, except a search for existing text.
            if answer.code != Some(2) {
                let page = answer.json();
                assert_eq!(
                    page["pagination"]["total"],
                    if option == "--search" && value == "_" {
                        1
                    } else {
                        0
                    },
                    "{option}={value}"
                );
            }
        }
    }
    assert_eq!(dir.run("events list").json()["pagination"]["total"], 7);
}

#[test]
fn errors_escape_arguments() {
    let dir = TestDir::with_sample_events();
    for word in ["\u{1b}[2J", "a\u{9b}b", "\u{202e}"] {
        for option in [
            "--type=",
            "--after=",
            "--since=",
            "--limit=",
            "--format=",
            "--fields=",
            "--colour=",
        ] {
            let answer = dir
                .command(&["events", "list", &format!("{option}{word}")])
                .run();
            assert_eq!(answer.code, Some(2));
            assert!(
                !answer.stderr.chars().any(is_hostile),
                "{option}: {answer:?}"
            );
        }
        let answer = dir
            .command(&["status", "--format=table", "--db", word])
            .run();
        assert!(
            !answer
                .stdout
                .chars()
                .chain(answer.stderr.chars())
                .any(is_hostile),
            "{answer:?}"
        );
    }
}

#[test]
fn arguments_extreme_times_return_result() {
    let dir = TestDir::with_sample_events();
    let total = |range: &str| {
        let document = dir.run(&format!("events list {range}")).json();
        document["pagination"]["total"].as_u64().unwrap()
    };
    for (range, expected) in [
        ("--since=9999-12-31T23:59:60Z", 0),
        ("--since=2999-01-01 --until=9999-12-31", 0),
        ("--until=9999-12-31T23:59:59.999Z", 7),
        ("--since=0001-01-01", 7),
        ("--until=0001-01-02", 0),
        ("--since=100w --until=now", 7),
        // The same time in two offsets, and a leap second.
        ("--since=2025-12-02T12:00:00+02:00 --until=now", 6),
        ("--since=2025-12-02T11:00:00+01:00 --until=now", 6),
        ("--since=2016-12-31T23:59:60Z --until=2025-11-30", 1),
    ] {
        assert_eq!(total(range), expected, "{range}");
    }
    for range in [
        "--since=0001-01-01 --until=9999-12-31",
        "--until=9999-12-31T23:59:60Z",
        "--since=9999-12-31T23:59:59Z --until=9999-12-31T23:59:60Z",
        "--since=0001-01-01 --until=0001-01-02",
        "--since=1969-12-31 --until=1970-01-02",
        "--bucket=100w",
    ] {
        let document = dir
            .run(&format!("events timeline {range} --format=json"))
            .json();
        let (from, to) = (
            document["from"].as_str().unwrap(),
            document["to"].as_str().unwrap(),
        );
        assert!(
            from < to && from.len() == 24 && to.len() == 24,
            "{range}: {from} {to}"
        );
        dir.run(&format!("events timeline {range} --format=table"))
            .ok();
    }
    let error = dir
        .run("events timeline --since=0001-01-01 --until=9999-12-31 --bucket=1s")
        .failed(2);
    assert!(error.contains("--bucket is too short"), "{error}");
}

#[test]
fn arguments_oversized_text_is_rejected() {
    let dir = TestDir::with_sample_events();
    let long = "a".repeat(100_000);
    for option in [
        "--search",
        "--object-name",
        "--object-kind",
        "--object-namespace",
        "--for=pod/x/",
        "--reason",
        "--owner",
        "--node",
        "--container",
    ] {
        let line = if option.contains('=') {
            format!("events list {option}{long}")
        } else {
            format!("events list {option}={long}")
        };
        let error = dir.run(&line).failed(2);
        assert!(error.contains("longer than 1024 bytes"), "{option}");
        assert!(error.len() < 1000, "{option}: {} bytes", error.len());
    }
    let globs = "*a".repeat(500);
    let answer = dir
        .run(&format!("events list --object-name={globs}"))
        .json();
    assert_eq!(answer["pagination"]["total"], 0);
}
