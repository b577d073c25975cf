//! Exact output of the commands.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::support::fixture::{self, Event};
use crate::support::golden::{assert_golden, without_ages};
use crate::support::recorder::{self, End};
use crate::support::{TEN_OCLOCK, TestDir, gap, sample_events};

#[test]
fn list_json_matches_golden() {
    let dir = TestDir::with_sample_events();
    let list = dir.run("query events list --type=operator --format=json");
    assert_golden("list.json", &list.ok());
}

#[test]
fn get_json_and_yaml_match_golden() {
    let dir = TestDir::with_sample_events();
    let line = "events get evt_20251202_100100_000000";
    assert_golden("get.json", &dir.run(line).ok());
    assert_golden("get.yaml", &dir.run(&format!("{line} --format=yaml")).ok());
    let table = dir.run(&format!("{line} --format=table")).ok();
    assert_golden("get.txt", &without_ages(&table));
}

#[test]
fn list_jsonl_and_csv_match_golden() {
    let dir = TestDir::with_sample_events();
    let line = "events list --for=pod/web-5d9-x2/shop --fields=id,metadata.reason,object_name";
    assert_golden(
        "list.jsonl",
        &dir.run(&format!("{line} --format=jsonl")).ok(),
    );
    let line = "events list --reason=Pulled --fields=id,description,metadata.owner";
    assert_golden("list.csv", &dir.run(&format!("{line} --format=csv")).ok());
}

#[test]
fn list_fields_without_terminal_are_not_truncated() {
    let dir = TestDir::with_sample_events();
    let line = "events list --severity=error+ --fields=severity,object_name,title --format=table";
    let output = dir.run(line);
    assert_golden("list-fields.txt", &output.stdout);
    assert_eq!(output.stderr, "2 events\n");
}

#[test]
fn list_table_prints_totals_on_stderr() {
    let dir = TestDir::with_sample_events();
    let next = dir.run("events list --limit=5").json();
    let next = next["pagination"]["next"].as_str().unwrap();
    for (line, note) in [
        ("", "7 events"),
        ("--severity=critical", "1 event"),
        ("--object-namespace=none", "no events match"),
        ("--offset=7", "no events on this page; 7 match"),
        ("--offset=4", "the last 3 of 7 events"),
        (
            "--limit=5",
            &format!("5 of 7 events; next page: --after={next}"),
        ),
        (&format!("--after={next}"), "the last 2 of 7 events"),
        ("--for=pod/web-5d9-x2", "3 events"),
        ("--for=pod/web-*/other", "no events match"),
    ] {
        let answer = dir.run(&format!("events list --format=table {line}"));
        assert_eq!(answer.stderr, format!("{note}\n"), "{line}");
        assert_eq!(answer.stdout.is_empty(), note.starts_with("no"), "{line}");
    }
    let answer = dir.run("events stats --by=reason --limit=2 --format=table");
    assert_eq!(
        answer.stdout,
        "EVENTS  REASON\n     2  -\n     1  BackOff\n"
    );
    assert_eq!(answer.stderr, "2 of 6 groups; use --limit to show more\n");
    let all = dir.run("events stats --by=reason --limit=6 --format=table");
    assert_eq!(all.stderr, "");
}

#[test]
fn list_pages_follow_cursor() {
    let dir = TestDir::with_sample_events();
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let page = dir.run(&format!("events list --limit=2 {after}")).json();
        assert_eq!(page["pagination"]["total"], 7);
        ids.extend(
            page["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| event["id"].as_str().unwrap().to_owned()),
        );
        match page["pagination"]["next"].as_str() {
            Some(next) => after = format!("--after={next}"),
            None => break,
        }
    }
    let all = dir.run("events list").json();
    let all: Vec<&str> = all["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, all);
    assert_eq!(ids.len(), 7);
}

#[test]
fn list_since_includes_events_still_occurring() {
    let dir = TestDir::with_sample_events();
    let ids = |line: &str| -> Vec<String> {
        let page = dir.run(line).json();
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["id"].as_str().unwrap()[4..].to_owned())
            .collect()
    };
    // The crash loop began at 10:01 and was seen last at 10:09; the gap lasted from 10:10 to 10:25.
    assert_eq!(
        ids("events list --since=2025-12-02T10:09:00Z"),
        ["20251202_101000_000000", "20251202_100100_000000"]
    );
    assert_eq!(
        ids("events list --since=2025-12-02T10:09:00.001Z"),
        ["20251202_101000_000000"]
    );
    assert_eq!(
        ids("events list --since=2025-12-02T10:25:00Z"),
        ["20251202_101000_000000"]
    );
    assert!(ids("events list --since=2025-12-02T10:25:00.001Z").is_empty());
    assert_eq!(
        ids("events list --since=2025-12-02T10:00:05Z --until=2025-12-02T10:01:00Z"),
        ["20251202_100005_000001", "20251202_100005_000000"]
    );
}

#[test]
fn stats_group_by_columns() {
    let dir = TestDir::with_sample_events();
    for (name, line) in [
        (
            "stats-two.csv",
            "--by=namespace,reason --object-kind=pod --format=csv",
        ),
        (
            "stats-four.csv",
            "--by=owner,node,container,hour --format=csv --object-kind=pod,node",
        ),
        ("stats.json", "--by=severity --format=json"),
    ] {
        assert_golden(name, &dir.run(&format!("events stats {line}")).ok());
    }
}

#[test]
fn timeline_shows_beginning_changes_and_gaps() {
    let dir = TestDir::with_sample_events();
    let line = "events timeline --since=2025-12-02T09:30:00Z --until=2025-12-02T10:30:00Z";
    let document = dir
        .run(&format!("{line} --bucket=30m --format=json"))
        .json();
    assert_eq!(document["total_events"], 6);
    assert_eq!(document["buckets"][0]["start"], "2025-12-02T09:30:00.000Z");
    assert_eq!(document["buckets"][1]["error"], 1);
    assert_eq!(document["changes"][0]["title"], "Image changed");
    assert_eq!(document["gaps"][0]["from"], "2025-12-02T10:10:00.000Z");
    assert_eq!(document["gaps"][0]["to"], "2025-12-02T10:25:00.000Z");
    assert_eq!(document["gaps"][0]["recovery"], "partial");
    let yaml = dir.run(&format!("{line} --bucket=30m --format=yaml")).ok();
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(yaml, document);
    let line = format!("{line} --severity=error+ --bucket=5m --format=table");
    assert_golden("timeline.txt", &without_ages(&dir.run(&line).ok()));
}

#[test]
fn timeline_shows_limits_of_the_record() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    let line = |range: &str| format!("events timeline {range} --format=table");
    // A problem from before the range.
    let chart = dir
        .run(&line(
            "--since=2025-12-02T10:04:00Z --until=2025-12-02T10:20:00Z",
        ))
        .ok();
    assert!(
        chart.contains("began     before 10:04:00: a problem continues from before the range"),
        "{chart}"
    );
    // A gap just before the beginning.
    let after_the_gap = Event {
        second: TEN_OCLOCK + 1530,
        severity: 1,
        ..Event::default().about("Pod", "shop", "web-2")
    };
    fixture::insert(&db, &after_the_gap);
    let range = "--since=2025-12-02T10:20:00Z --until=2025-12-02T10:40:00Z";
    let chart = dir.run(&line(range)).ok();
    assert!(
        chart.contains("began     10:25:30")
            && chart.contains("or earlier: the record has a gap from 10:10:00"),
        "{chart}"
    );
    // A range from before the record, and one in which no recorder was running.
    recorder::heartbeat(dir.path(), (TEN_OCLOCK + 1800) * 1000, End::Killed);
    let range = "--since=2025-11-29T09:00:00Z --until=2025-11-29T11:00:00Z";
    let chart = dir.run(&line(range)).ok();
    assert!(
        chart.contains("before 10:00:00  not recorded: the record starts here"),
        "{chart}"
    );
    assert!(chart.contains("gaps      ░░░"), "{chart}");
    let range = "--since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z";
    let chart = dir.run(&line(range)).ok();
    assert!(
        chart.contains("10:30:00 to now") && chart.contains("nothing is recorded"),
        "{chart}"
    );
    let document = dir
        .run(&format!("events timeline {range} --format=json"))
        .json();
    assert_eq!(document["recorder_down_since"], "2025-12-02T10:30:00.000Z");
    // No problems.
    let range = "--since=2025-12-02T09:00:00Z --until=2025-12-02T09:30:00Z";
    let chart = dir.run(&line(range)).ok();
    assert!(
        chart.contains("no event of severity warning or higher"),
        "{chart}"
    );
}

#[test]
fn timeline_shows_peak_and_changes_before_it() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let warning = |second: i64, reason: &str| Event {
        second: TEN_OCLOCK + second,
        severity: 1,
        reason: reason.into(),
        ..Event::default().about("Pod", "shop", "web-1")
    };
    let change = |second: i64, name: &str| Event {
        second: TEN_OCLOCK + second,
        reason: "ImageChanged".into(),
        kube_type: String::new(),
        body: "image changed".into(),
        ..Event::default().about("Deployment", "shop", name)
    };
    // An assessment is not the beginning of an incident.
    let hygiene = Event {
        kind: 3,
        ..warning(10, "ImageNotPinned")
    };
    let events = [
        change(0, "first"),
        hygiene,
        warning(60, "Unhealthy"),
        change(2000, "second"),
        warning(2100, "BackOff"),
        warning(2101, "BackOff"),
        warning(2102, "Failed"),
        change(3000, "third"),
    ];
    dir.insert(&db, &events);
    let line = "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z";
    let document = dir.run(&format!("{line} --bucket=5m --format=json")).json();
    assert_eq!(
        document["first_event"]["created_at"],
        "2025-12-02T10:01:00.000Z"
    );
    assert_eq!(
        document["peak"],
        serde_json::json!({"from": "2025-12-02T10:35:00.000Z", "to": "2025-12-02T10:40:00.000Z", "events": 3,
                           "reasons": ["BackOff", "Failed"]})
    );
    let chart = dir.run(&format!("{line} --bucket=5m --format=table")).ok();
    for words in [
        "peak      10:35:00 (5m)  3 events of severity warning or higher, mainly BackOff, Failed",
        "changed   10:00:00 (60s before it began)  Deployment/first/shop: image changed",
        "10:33:20 (100s before the peak)  Deployment/second",
        "and 1 more change",
    ] {
        assert!(chart.contains(words), "{words}: {chart}");
    }
    // Without problems, the newest changes.
    let quiet = "--since=2025-12-02T10:45:00Z --until=2025-12-02T11:00:00Z";
    let chart = dir
        .run(&format!("events timeline {quiet} --format=table"))
        .ok();
    assert_golden(
        "timeline-changes.txt",
        &summary(&chart, "changed").join(
            "
",
        ),
    );
    // If the filter asks for assessments, they count.
    let document = dir
        .run(&format!("{line} --type=assessment --format=json"))
        .json();
    assert_eq!(
        document["first_event"]["created_at"],
        "2025-12-02T10:00:10.000Z"
    );
}

/// The lines under a chart from `label` on, without ages.
fn summary(chart: &str, label: &str) -> Vec<String> {
    without_ages(chart)
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{label} ")))
        .map(str::to_owned)
        .collect()
}

#[test]
fn timeline_problem_without_reason_object_or_change() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let warning = |second: i64| Event {
        second: TEN_OCLOCK + second,
        severity: 1,
        reason: String::new(),
        ..Event::default()
    };
    dir.insert(&db, &[0, 60, 2100, 2101, 2102].map(warning));
    let line = "events timeline --until=2025-12-02T11:00:00Z --format=table";
    for (name, range) in [
        (
            "timeline-plain.txt",
            "--since=2025-12-02T10:00:30Z --bucket=5m",
        ),
        // Over midnight a time has its date.
        (
            "timeline-dates.txt",
            "--since=2025-12-01T23:00:00Z --bucket=1h",
        ),
        (
            "timeline-empty.txt",
            "--since=2025-12-02T10:00:00Z --object-namespace=none",
        ),
    ] {
        let chart = dir.run(&format!("{line} {range}")).ok();
        assert_golden(name, &without_ages(&chart));
    }
}

#[test]
fn timeline_groups_gaps_and_lists_missing_first() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    let gap_of = |second: i64, lasted: i64, source: &str, recovery: &str| {
        let metadata = serde_json::json!({"source": source, "recovery": recovery}).to_string();
        gap(TEN_OCLOCK + second, lasted, &metadata)
    };
    let began = Event {
        second: TEN_OCLOCK - 3600,
        ..Event::default()
    };
    let gaps = [
        // A group: they ended within 30 s of each other.
        gap_of(600, 600, "Event", "complete"),
        gap_of(301, 910, "Pod", "partial"),
        gap_of(302, 890, "Node", "complete"),
        gap_of(303, 900, "Pod", "complete"),
        // One kind, watched in two namespaces.
        gap_of(1500, 60, "Event", "complete"),
        gap_of(1501, 59, "Event", "complete"),
        // Rows of kube9 itself, and a row without a source.
        gap_of(1800, 60, "kube9", "none"),
        gap_of(1900, 60, "", "partial"),
    ];
    dir.insert(&db, &[began]);
    dir.insert(&db, &gaps);
    let line = "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z";
    let gap_lines = || summary(&dir.run(&format!("{line} --format=table")).ok(), "gap");
    assert_golden("timeline-gaps.txt", &gap_lines().join("\n"));
    // Recovered time has another symbol than missing time.
    let chart = dir.run(&format!("{line} --bucket=5m --format=table")).ok();
    assert!(chart.contains("gaps       ░░░░·░\n"), "{chart}");
    let document = dir.run(&format!("{line} --format=json")).json();
    let recovery: Vec<&str> = document["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| gap["recovery"].as_str().unwrap())
        .collect();
    assert_eq!(
        recovery,
        [
            "partial", "complete", "complete", "complete", "complete", "complete", "none",
            "partial"
        ]
    );
    // More groups than are listed, and two open gaps, which form a group.
    dir.insert(&db, &[gap_of(2100, 60, "Event", "none")]);
    for (kind, second) in [("Event", 2400), ("Pod", 2401)] {
        dir.insert(&db, &[gap_of(second, 0, kind, "none")]);
        db.execute(
            "INSERT INTO watch_state (cluster, kind, namespace, gap) VALUES ('c', ?, '', ?)",
            rusqlite::params![kind, (TEN_OCLOCK + second) << 24],
        )
        .unwrap();
    }
    let lines = gap_lines();
    let (first, others) = lines.split_first().unwrap();
    assert!(
        first.starts_with("gap       10:40:00 to now (")
            && first.ends_with(", still open)  Events; since 10:40:01 Pods"),
        "{lines:?}"
    );
    assert_golden("timeline-more-gaps.txt", &others.join("\n"));
}

#[test]
fn timeline_open_gap_extends_to_the_edge() {
    let dir = TestDir::new();
    let db = fixture::create(&dir.db());
    dir.insert(&db, &sample_events());
    db.execute(
        "INSERT INTO watch_state (cluster, kind, namespace, gap) VALUES ('c', 'Event', '', ?)",
        [(TEN_OCLOCK + 600) << 24],
    )
    .unwrap();
    let line =
        "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z --bucket=10m";
    let document = dir.run(&format!("{line} --format=json")).json();
    assert_eq!(document["gaps"][0]["to"], serde_json::Value::Null);
    let chart = dir.run(&format!("{line} --format=table")).ok();
    assert!(chart.contains("gaps       ░░░░░\n"), "{chart}");
    assert!(chart.contains("still open"), "{chart}");
}

#[test]
fn export_prints_every_event() {
    let dir = TestDir::with_sample_events();
    let lines = dir.run("events export").ok();
    let listed = dir.run("events list --format=jsonl").ok();
    assert_eq!(lines, listed);
    assert_eq!(
        dir.run("events export --format=csv --type=health --fields=id")
            .ok(),
        "id\nevt_20251202_100500_000000\n"
    );
    assert_eq!(dir.run("events export --object-namespace=none").ok(), "");
}

#[test]
fn status_reports_degraded_reasons() {
    let dir = TestDir::with_sample_events();
    let status = dir.run("status").json();
    let keys: Vec<&str> = status
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys[..6],
        [
            "status",
            "database",
            "total_events",
            "events_24h",
            "database_path",
            "timestamp"
        ]
    );
    assert_eq!(status["status"], "degraded");
    assert_eq!(status["database"], "connected");
    assert_eq!(status["total_events"], 7);
    assert_eq!(status["events_by_severity"]["error"], 1);
    assert_eq!(status["oldest_event"], "2025-11-29T10:00:00.000Z");
    assert_eq!(
        status["reasons"][0],
        "no kube9-recorder has written a heartbeat to this database"
    );
}
