//! Runs the examples of docs/cli.md and docs/cli-json.md, compares their output with the pages, and validates documents by
//! their schema. `KUBE9_UPDATE=1` writes the output into the pages.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::support::objects::shop;
use crate::support::schema::violation;
use crate::support::{TEN_OCLOCK, TestDir, fixture, recorder, sample_events};
use serde_json::Value;

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The sample events, and a running recorder.
fn database() -> TestDir {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    std::mem::forget(db);
    // An Event before the samples, recorded 120 ms after it occurred.
    let old = (TEN_OCLOCK - 86_400 * 3) * 1000 + 3_600_000;
    let event = |watch| vec![recorder::event(watch, old)];
    recorder::run(dir.path(), old + 120, event, recorder::End::Stopped);
    recorder::heartbeat(dir.path(), now(), recorder::End::Killed);
    dir
}

fn now() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Splits a line like a shell, with single quotes.
fn split_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Replaces what differs from run to run: paths, sizes, current times.
fn normalize(dir: &TestDir, text: &str) -> String {
    let mut text = text.replace(dir.db().to_str().unwrap(), "/data/kube9.db");
    // The rows of the real writer have a random order within their second.
    for begin in ["evt_20251129_105159_", "evt_20251202_105000_"] {
        for (at, begin) in text.clone().match_indices(begin) {
            let order = at + begin.len();
            text.replace_range(order..order + 6, "000000");
        }
    }
    text.lines()
        .map(|line| normalize_line(line) + "\n")
        .collect()
}

fn normalize_line(line: &str) -> String {
    let json = line
        .trim_start()
        .split_once("\": ")
        .map(|(key, _)| key.trim_start_matches('"'));
    let now = "\"2025-12-02T10:31:00.000Z\"";
    let value = match json {
        Some("timestamp" | "heartbeat_at" | "last_commit_at") => Some(now),
        Some("started_at") => Some("\"2025-11-29T10:00:00.000Z\""),
        Some("heartbeat_age_seconds") => Some("0.5"),
        Some("database_bytes") => Some("294912"),
        Some("disk_bytes") => Some("10737418240"),
        Some("disk_free_bytes") => Some("8589934592"),
        _ => None,
    };
    if let (Some(value), Some((key, _))) = (value, line.split_once("\": ")) {
        return format!(
            "{key}\": {value}{}",
            if line.ends_with(',') { "," } else { "" }
        );
    }
    for (label, text) in [
        ("DATABASE", "/data/kube9.db, 288.0 KiB"),
        ("DISK", "8.0 GiB of 10.0 GiB free"),
        (
            "RECORDER",
            "0.1.0, started 3d ago, heartbeat 0s ago, lag 0.1 s, queue 0",
        ),
        ("EVENTS", "8 in total, 0 in the last 24 h, newest 31m ago"),
    ] {
        if line.starts_with(label) && line != label && !line.starts_with("EVENTS  NAMESPACE") {
            return format!("{label:10}{text}");
        }
    }
    if let Some((since, rest)) = line
        .strip_prefix("HISTORY   ")
        .and_then(|rest| rest.split_once(" ("))
    {
        let (_, rest) = rest.split_once(" ago)").unwrap_or_default();
        return format!("HISTORY   {since} (3d ago){rest}");
    }
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_age =
        first.ends_with('d') && first[..first.len() - 1].bytes().all(|b| b.is_ascii_digit());
    if first == "AGE" || (is_age && first.len() > 1) {
        return format!(
            "{:4}  {}",
            if is_age { "31m" } else { first },
            rest.trim_start()
        );
    }
    for (before, after, steady) in [("(", " ago)", "30m")] {
        if let Some((head, tail)) = line.rsplit_once(after)
            && let Some((head, _)) = head.rsplit_once(before)
        {
            return format!("{head}{before}{steady}{after}{tail}");
        }
    }
    line.to_owned()
}

/// Runs every line with the prompt `$ ` in `console` blocks, and inserts its output.
fn run(page: &str, check: &mut dyn FnMut(&str, &str)) -> String {
    let (dir, changes) = (database(), shop());
    let (mut out, mut inside) = (String::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside && !line.starts_with("$ ") {
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if let Some(command) = line.strip_prefix("$ kube9-query ").filter(|_| inside) {
            let is_of_changes = ["changes", "object", "findings", "story", "impact"]
                .iter()
                .any(|word| command.starts_with(word));
            let dir = if is_of_changes { &changes } else { &dir };
            let answer = dir.command(&split_words(command)).run();
            let mut text = normalize(dir, &answer.stdout) + &normalize(dir, &answer.stderr);
            if command.starts_with("story") {
                text = with_one_id(&text);
            }
            check(command, &text);
            out.push_str(&text);
        }
    }
    out
}

/// The last digits of an id are random, unless a test chose them.
fn with_one_id(text: &str) -> String {
    let with_zeros = |line: &str| match line.find("\"evt_") {
        Some(at) => format!("{}000000{}\n", &line[..at + 21], &line[at + 27..]),
        None => format!("{line}\n"),
    };
    text.lines().map(with_zeros).collect()
}

fn schema_of(command: &str) -> Option<&'static str> {
    match command.split(' ').take(2).collect::<Vec<_>>()[..] {
        _ if !command.contains("json") && !command.contains("export") => None,
        ["status", ..] => Some("status"),
        ["events", "list"] => Some("list"),
        ["changes", ..] => Some("changes"),
        ["findings", ..] if command.contains("--by") => Some("finding-groups"),
        ["findings", ..] => Some("findings"),
        ["story", ..] => Some("story"),
        ["impact", ..] => Some("impact"),
        ["object", "history"] => Some("history"),
        ["object", "diff"] => Some("diff"),
        ["object", "blame"] => Some("blame"),
        ["events", "get" | "export"] => Some("event"),
        ["events", "stats"] => Some("stats"),
        ["events", "timeline"] => Some("timeline"),
        _ => None,
    }
}

fn check_schema(command: &str, text: &str) {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let Some(name) = (if value.get("error").is_some() {
        Some("error")
    } else {
        schema_of(command)
    }) else {
        return;
    };
    let schema = fs::read_to_string(docs().join(format!("schema/{name}.json"))).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert_eq!(violation(&schema, &value), None, "{command}");
    // A schema must not accept everything.
    assert!(
        violation(&schema, &serde_json::json!({})).is_some(),
        "{name}"
    );
}

#[track_caller]
fn assert_page_matches(name: &str, validated: usize) {
    let file = docs().join(name);
    let page = fs::read_to_string(&file).unwrap();
    let mut documents = 0;
    let actual = run(&page, &mut |command, text| {
        documents += usize::from(serde_json::from_str::<Value>(text).is_ok());
        check_schema(command, text);
    });
    assert!(
        documents >= validated,
        "{documents} documents were validated"
    );
    if std::env::var_os("KUBE9_UPDATE").is_some() {
        fs::write(&file, &actual).unwrap();
    }
    let page = fs::read_to_string(&file).unwrap();
    for (line, (said, printed)) in page.lines().zip(actual.lines()).enumerate() {
        assert_eq!(said, printed, "{name}:{}", line + 1);
    }
    assert_eq!(page.lines().count(), actual.lines().count(), "{name}");
}

#[test]
fn cli_page_examples_match_output() {
    assert_page_matches("cli.md", 1);
}

#[test]
fn cli_json_page_examples_match_output() {
    assert_page_matches("cli-json.md", 7);
}

#[test]
fn documents_of_every_state_match_schema() {
    let empty = TestDir::new();
    fixture::create(&empty.db());
    let gap = TestDir::new();
    let db = fixture::create(&gap.db());
    gap.insert(&db, &sample_events());
    db.execute(
        "INSERT INTO watch_state (cluster, kind, namespace, gap) VALUES ('c', 'Event', 'shop', ?)",
        [TEN_OCLOCK << 24],
    )
    .unwrap();
    for (dir, lines) in [
        (&TestDir::new(), &["status --format=json"][..]),
        (
            &empty,
            &["status", "events list", "events stats", "events timeline"],
        ),
        (
            &gap,
            &[
                "status",
                "events list",
                "events stats --by=name,day",
                "events timeline",
            ],
        ),
    ] {
        for line in lines {
            let line = format!("{} --format=json", line.trim_end_matches(" --format=json"));
            let answer = dir.run(&line);
            assert!(!answer.stdout.is_empty(), "{line}");
            check_schema(&line, &answer.stdout);
        }
    }
}
