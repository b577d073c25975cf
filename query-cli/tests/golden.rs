//! What the commands print, to the letter.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::support::fixture::Event;
use crate::support::{Dir, TEN, gap};

#[track_caller]
fn same(actual: &str, expected: &str) {
    assert!(
        actual == expected,
        "--- actual\n{actual}\n--- expected\n{expected}"
    );
}

#[test]
fn list_is_the_contracts_json() {
    let dir = Dir::with_story();
    same(
        &dir.run("query events list --type=operator --format=json")
            .ok(),
        r#"{
  "events": [
    {
      "id": "evt_20251129_100000_000000",
      "event_type": "operator",
      "severity": "info",
      "title": "Recorder started",
      "description": "kube9-recorder 0.1.0 started",
      "object_kind": null,
      "object_namespace": null,
      "object_name": null,
      "metadata": {"first_timestamp":"2025-11-29T10:00:00.000Z","last_timestamp":"2025-11-29T10:00:00.000Z","type":"Normal"},
      "created_at": "2025-11-29T10:00:00.000Z"
    }
  ],
  "pagination": {
    "total": 1,
    "limit": 50,
    "offset": 0,
    "returned": 1,
    "next": null
  }
}
"#,
    );
}

#[test]
fn get_is_that_object() {
    let dir = Dir::with_story();
    same(
        &dir.run("events get evt_20251202_100100_000000").ok(),
        r#"{
  "id": "evt_20251202_100100_000000",
  "event_type": "cluster",
  "severity": "error",
  "title": "Container crash loop",
  "description": "Back-off restarting failed container app in pod web-5d9-x2_shop",
  "object_kind": "Pod",
  "object_namespace": "shop",
  "object_name": "web-5d9-x2",
  "metadata": {"reason":"BackOff","count":17,"first_timestamp":"2025-12-02T10:01:00.000Z","last_timestamp":"2025-12-02T10:09:00.000Z","occurrences":17,"type":"Normal","reporting_component":"kubelet","container":"app","node":"worker-1","owner":"ReplicaSet/web-5d9"},
  "created_at": "2025-12-02T10:01:00.000Z"
}
"#,
    );
    same(
        &dir.run("events get evt_20251202_100100_000000 --format=yaml")
            .ok(),
        r#"id: evt_20251202_100100_000000
event_type: cluster
severity: error
title: Container crash loop
description: Back-off restarting failed container app in pod web-5d9-x2_shop
object_kind: Pod
object_namespace: shop
object_name: web-5d9-x2
metadata:
  reason: BackOff
  count: 17
  first_timestamp: "2025-12-02T10:01:00.000Z"
  last_timestamp: "2025-12-02T10:09:00.000Z"
  occurrences: 17
  type: Normal
  reporting_component: kubelet
  container: app
  node: worker-1
  owner: ReplicaSet/web-5d9
created_at: "2025-12-02T10:01:00.000Z"
"#,
    );
}

#[test]
fn lines_and_csv_hold_one_event_a_line() {
    let dir = Dir::with_story();
    same(
        &dir.run("events list --for=pod/web-5d9-x2/shop --fields=id,metadata.reason,object_name --format=jsonl").ok(),
        r#"{"id":"evt_20251202_100100_000000","metadata.reason":"BackOff","object_name":"web-5d9-x2"}
{"id":"evt_20251202_100005_000001","metadata.reason":"Pulled","object_name":"web-5d9-x2"}
{"id":"evt_20251202_100005_000000","metadata.reason":"Scheduled","object_name":"web-5d9-x2"}
"#,
    );
    same(
        &dir.run("events list --reason=Pulled --fields=id,description,metadata.owner --format=csv")
            .ok(),
        "id,description,metadata.owner\n\
         evt_20251202_100005_000001,\"Successfully pulled image \"\"web:2\"\"\",ReplicaSet/web-5d9\n",
    );
}

#[test]
fn table_shows_chosen_fields_whole_off_a_terminal() {
    let dir = Dir::with_story();
    let answer =
        dir.run("events list --severity=error+ --fields=severity,object_name,title --format=table");
    same(
        &answer.stdout,
        "SEVERITY  OBJECT_NAME  TITLE\n\
         critical  worker-1     Node not ready\n\
         error     web-5d9-x2   Container crash loop\n",
    );
    same(&answer.stderr, "2 events\n");
}

#[test]
fn table_is_followed_by_how_many_there_are() {
    let dir = Dir::with_story();
    let next = dir.run("events list --limit=5").json();
    let next = next["pagination"]["next"].as_str().unwrap();
    for (line, note) in [
        ("", "7 events"),
        ("--severity=critical", "1 event"),
        ("--object-namespace=none", "no events match"),
        ("--offset=7", "none here; 7 match in all"),
        ("--offset=4", "the last 3 of 7 events"),
        (
            "--limit=5",
            &format!("5 of 7 events; more with --after={next}"),
        ),
        (&format!("--after={next}"), "the last 2 of 7 events"),
        ("--for=pod/web-5d9-x2", "3 events"),
        ("--for=pod/web-*/other", "no events match"),
    ] {
        let answer = dir.run(&format!("events list --format=table {line}"));
        same(&answer.stderr, &format!("{note}\n"));
        assert_eq!(answer.stdout.is_empty(), note.starts_with("no"), "{line}");
    }
    let answer = dir.run("events stats --by=reason --limit=2 --format=table");
    same(
        &answer.stdout,
        "EVENTS  REASON\n     2  -\n     1  BackOff\n",
    );
    same(&answer.stderr, "2 of 6 groups; more with --limit\n");
    let all = dir.run("events stats --by=reason --limit=6 --format=table");
    same(&all.stderr, "");
}

#[test]
fn pages_follow_the_cursor() {
    let dir = Dir::with_story();
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
fn range_holds_what_still_happens_in_it() {
    let dir = Dir::with_story();
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
fn stats_count_by_properties() {
    let dir = Dir::with_story();
    same(
        &dir.run("events stats --by=namespace,reason --object-kind=pod --format=csv")
            .ok(),
        "namespace,reason,events\nshop,BackOff,1\nshop,Pulled,1\nshop,Scheduled,1\n",
    );
    same(
        &dir.run("events stats --by=owner,node,container,hour --format=csv --object-kind=pod,node")
            .ok(),
        "owner,node,container,hour,events\n\
         ReplicaSet/web-5d9,worker-1,app,2025-12-02T10:00Z,2\n\
         ,,,2025-12-02T10:00Z,1\n\
         ReplicaSet/web-5d9,worker-1,,2025-12-02T10:00Z,1\n",
    );
    same(
        &dir.run("events stats --by=severity --format=json").ok(),
        r#"{
  "by": [
    "severity"
  ],
  "groups": [
    {
      "severity": "info",
      "events": 4
    },
    {
      "severity": "critical",
      "events": 1
    },
    {
      "severity": "error",
      "events": 1
    },
    {
      "severity": "warning",
      "events": 1
    }
  ],
  "total_events": 7,
  "total_groups": 4,
  "returned": 4
}
"#,
    );
}

#[test]
fn timeline_shows_when_it_began_what_changed_and_the_gaps() {
    let dir = Dir::with_story();
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
    assert_eq!(document["gaps"][0]["healed"], "partial");
    let yaml = dir.run(&format!("{line} --bucket=30m --format=yaml")).ok();
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(yaml, document);
    let picture = dir
        .run(&format!(
            "{line} --severity=error+ --bucket=5m --format=table"
        ))
        .ok();
    let picture: Vec<&str> = picture
        .lines()
        .map(|line| line.split(" ago)").last().unwrap())
        .collect();
    same(
        &picture.join("\n"),
        "\
2025-12-02 09:30 to 10:30 UTC, 2 events, a column is 5m
                         total   most
                 █
critical         █░░░        1      1
                █
error           █ ░░░        1      1
          ──────┬─────
                10:00
changes         ▲
gaps              ░░░

  Back-off restarting failed container app in pod web-5d9-x2_shop
changed   10:00:00 (60s before it began)  Deployment/web in shop: image of container app changed from web:1 to web:2
gap       10:10:00 to 10:25:00 (15m, partly healed)  Events",
    );
}

#[test]
fn timeline_says_what_it_cannot_know() {
    let dir = Dir::new();
    let db = crate::support::fixture::create(&dir.db());
    dir.insert(&db, &crate::support::story());
    let line = |range: &str| format!("events timeline {range} --format=table");
    // Trouble that reaches into the range began before it.
    let picture = dir
        .run(&line(
            "--since=2025-12-02T10:04:00Z --until=2025-12-02T10:20:00Z",
        ))
        .ok();
    assert!(
        picture.contains("began     before 10:04:00: it was going on already"),
        "{picture}"
    );
    // Nobody looked just before it began.
    let after_the_gap = Event {
        second: TEN + 1530,
        severity: 1,
        ..Event::default().about("Pod", "shop", "web-2")
    };
    crate::support::fixture::insert(&db, &after_the_gap);
    let range = "--since=2025-12-02T10:20:00Z --until=2025-12-02T10:40:00Z";
    let picture = dir.run(&line(range)).ok();
    assert!(
        picture.contains("began     10:25:30")
            && picture.contains("or earlier: the record has a hole since 10:10:00"),
        "{picture}"
    );
    // A range that begins before the record does, and one in which nobody recorded any more.
    crate::support::recorder::heartbeat(
        dir.path(),
        (TEN + 1800) * 1000,
        crate::support::recorder::End::Killed,
    );
    let range = "--since=2025-11-29T09:00:00Z --until=2025-11-29T11:00:00Z";
    let picture = dir.run(&line(range)).ok();
    assert!(
        picture.contains("before 10:00:00  the record begins there"),
        "{picture}"
    );
    assert!(picture.contains("gaps      ░░░"), "{picture}");
    let range = "--since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z";
    let picture = dir.run(&line(range)).ok();
    assert!(
        picture.contains("10:30:00 to now") && picture.contains("nothing is recorded"),
        "{picture}"
    );
    let document = dir
        .run(&format!("events timeline {range} --format=json"))
        .json();
    assert_eq!(
        document["recorder_silent_since"],
        "2025-12-02T10:30:00.000Z"
    );
    // Quiet is said, too.
    let range = "--since=2025-12-02T09:00:00Z --until=2025-12-02T09:30:00Z";
    let picture = dir.run(&line(range)).ok();
    assert!(
        picture.contains("nothing of warning or worse happened"),
        "{picture}"
    );
}

#[test]
fn timeline_names_the_peak_and_what_changed_before_each() {
    let dir = Dir::new();
    let db = crate::support::fixture::create(&dir.db());
    let warning = |second: i64, reason: &str| Event {
        second: TEN + second,
        severity: 1,
        reason: reason.into(),
        ..Event::default().about("Pod", "shop", "web-1")
    };
    let change = |second: i64, name: &str| Event {
        second: TEN + second,
        reason: "ImageChanged".into(),
        kube_type: String::new(),
        body: "image changed".into(),
        ..Event::default().about("Deployment", "shop", name)
    };
    // A standing assessment is no beginning.
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
    let picture = dir.run(&format!("{line} --bucket=5m --format=table")).ok();
    for words in [
        "peak      10:35:00 (5m)  3 of warning or worse, most of all BackOff, Failed",
        "changed   10:00:00 (60s before it began)  Deployment/first in shop: image changed",
        "10:33:20 (100s before the peak began)  Deployment/second",
        "and 1 more change",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    // Without trouble, what changed last is told; it came before nothing.
    let quiet = "--since=2025-12-02T10:45:00Z --until=2025-12-02T11:00:00Z";
    let picture = dir
        .run(&format!("events timeline {quiet} --format=table"))
        .ok();
    same(
        &told(&picture, "changed").join("\n"),
        "changed   10:00:00  Deployment/first in shop: image changed\n          \
         10:33:20  Deployment/second in shop: image changed\n          \
         10:50:00  Deployment/third in shop: image changed",
    );
    // Asked for, an assessment is what it is about.
    let document = dir
        .run(&format!("{line} --type=assessment --format=json"))
        .json();
    assert_eq!(
        document["first_event"]["created_at"],
        "2025-12-02T10:00:10.000Z"
    );
}

/// The lines of a timeline's story from `label` on, without how long ago anything is.
fn told(picture: &str, label: &str) -> Vec<String> {
    picture
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{label} ")))
        .map(
            |line| match line.split_once(" (").zip(line.split_once(" ago)")) {
                Some(((begin, _), (_, end))) => format!("{begin}{end}"),
                None => line.to_owned(),
            },
        )
        .collect()
}

#[test]
fn timeline_of_trouble_without_reason_object_or_change() {
    let dir = Dir::new();
    let db = crate::support::fixture::create(&dir.db());
    let warning = |second: i64| Event {
        second: TEN + second,
        severity: 1,
        reason: String::new(),
        ..Event::default()
    };
    dir.insert(&db, &[0, 60, 2100, 2101, 2102].map(warning));
    let line = "events timeline --until=2025-12-02T11:00:00Z --format=table";
    let picture = dir
        .run(&format!("{line} --since=2025-12-02T10:00:30Z --bucket=5m"))
        .ok();
    same(
        &told(&picture, "began").join("\n"),
        "began     10:01:00  it happened\n\
         peak      10:35:00 (5m)  3 of warning or worse\n\
         changed   nothing that kube9 watches, in the hour before",
    );
    // Over the end of a day a time has its date.
    let picture = dir
        .run(&format!("{line} --since=2025-12-01T23:00:00Z --bucket=1h"))
        .ok();
    same(
        &told(&picture, "began")[0],
        "began     12-02 10:00:00  it happened",
    );
    // Nothing at all to ask about.
    let picture = dir
        .run(&format!(
            "{line} --since=2025-12-02T10:00:00Z --object-namespace=none"
        ))
        .ok();
    same(
        &told(&picture, "began").join("\n"),
        "began     nothing of warning or worse happened to an object",
    );
}

#[test]
fn timeline_tells_holes_by_what_is_lost() {
    let dir = Dir::new();
    let db = crate::support::fixture::create(&dir.db());
    let hole = |second: i64, lasted: i64, source: &str, healed: &str| {
        let facts = serde_json::json!({"source": source, "healed": healed}).to_string();
        gap(TEN + second, lasted, &facts)
    };
    let began = Event {
        second: TEN - 3600,
        ..Event::default()
    };
    let holes = [
        // They ended within half a minute of each other.
        hole(600, 600, "Event", "true"),
        hole(301, 910, "Pod", "partial"),
        hole(302, 890, "Node", "true"),
        hole(303, 900, "Pod", "true"),
        // One source, watched in two namespaces.
        hole(1500, 60, "Event", "true"),
        hole(1501, 59, "Event", "true"),
        // Rows of kube9's own; and a row that does not say what it is about.
        hole(1800, 60, "kube9", "false"),
        hole(1900, 60, "", "partial"),
    ];
    dir.insert(&db, &[began]);
    dir.insert(&db, &holes);
    let line = "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z";
    let story = || told(&dir.run(&format!("{line} --format=table")).ok(), "gap").join("\n");
    same(
        &story(),
        "gap       10:31:40 to 10:32:40 (60s, partly healed)  something was not watched\n          \
         10:30:00 to 10:31:00 (60s, not healed)  something was not watched\n          \
         10:10:00 to 10:20:00 (10m, partly healed)  Events; since 10:05:01 Pods, Nodes\n          \
         10:25:00 to 10:26:00 (60s, healed)  Events",
    );
    // What is healed is drawn lighter than what is not.
    let picture = dir.run(&format!("{line} --bucket=5m --format=table")).ok();
    assert!(picture.contains("gaps       ░░░░·░\n"), "{picture}");
    let document = dir.run(&format!("{line} --format=json")).json();
    let healed: Vec<&str> = document["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| gap["healed"].as_str().unwrap())
        .collect();
    assert_eq!(
        healed,
        [
            "partial", "true", "true", "true", "true", "true", "false", "partial"
        ]
    );
    // More than are told; and two that last, which ended with nothing else.
    dir.insert(&db, &[hole(2100, 60, "Event", "false")]);
    for (kind, second) in [("Event", 2400), ("Pod", 2401)] {
        dir.insert(&db, &[hole(second, 0, kind, "false")]);
        db.execute(
            "INSERT INTO watch_state (cluster, kind, namespace, gap) VALUES ('c', ?, '', ?)",
            rusqlite::params![kind, (TEN + second) << 24],
        )
        .unwrap();
    }
    let story = story();
    let story: Vec<&str> = story.lines().collect();
    assert!(
        story[0].starts_with("gap       10:40:00 to now (")
            && story[0].ends_with(", still open)  Events; since 10:40:01 Pods"),
        "{story:?}"
    );
    same(
        &story[1..].join("\n"),
        "          10:35:00 to 10:36:00 (60s, not healed)  Events\n          \
         10:31:40 to 10:32:40 (60s, partly healed)  something was not watched\n          \
         10:30:00 to 10:31:00 (60s, not healed)  something was not watched\n          \
         and 2 more",
    );
}

#[test]
fn gap_that_lasts_reaches_to_the_edge() {
    let dir = Dir::new();
    let db = crate::support::fixture::create(&dir.db());
    dir.insert(&db, &crate::support::story());
    db.execute(
        "INSERT INTO watch_state (cluster, kind, namespace, gap) VALUES ('c', 'Event', '', ?)",
        [(crate::support::TEN + 600) << 24],
    )
    .unwrap();
    let line =
        "events timeline --since=2025-12-02T10:00:00Z --until=2025-12-02T11:00:00Z --bucket=10m";
    let document = dir.run(&format!("{line} --format=json")).json();
    assert_eq!(document["gaps"][0]["to"], serde_json::Value::Null);
    let picture = dir.run(&format!("{line} --format=table")).ok();
    assert!(picture.contains("gaps       ░░░░░\n"), "{picture}");
    assert!(picture.contains("still open"), "{picture}");
}

#[test]
fn export_streams_every_event() {
    let dir = Dir::with_story();
    let lines = dir.run("events export").ok();
    let listed = dir.run("events list --format=jsonl").ok();
    same(&lines, &listed);
    assert_eq!(
        dir.run("events export --format=csv --type=health --fields=id")
            .ok(),
        "id\nevt_20251202_100500_000000\n"
    );
    assert_eq!(dir.run("events export --object-namespace=none").ok(), "");
}

#[test]
fn status_tells_what_the_record_is_worth() {
    let dir = Dir::with_story();
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
        "no kube9-recorder has reported to this database"
    );
}
