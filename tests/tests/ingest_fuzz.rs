//! Everything a watch sends becomes a valid row or is skipped; and repeated deliveries of one Event in any order end in
//! the same count and last time.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use kube9_tests::ingest_path::{FeedOutcome, IngestPath};
use proptest::prelude::*;
use serde_json::{Value, json};

const UID: &str = "6a1e7a52-0000-4000-8000-000000000001";

fn line(action: &str, object: &Value) -> Vec<u8> {
    json!({ "type": action, "object": object })
        .to_string()
        .into_bytes()
}

fn event() -> Value {
    json!({
        "metadata": {
            "name": "web-1.17a", "namespace": "shop", "uid": UID, "resourceVersion": "10",
            "creationTimestamp": "2026-11-22T10:00:00Z",
        },
        "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "web-1" },
        "reason": "BackOff", "message": "Back-off restarting failed container", "type": "Warning",
        "source": { "component": "kubelet", "host": "node-1" },
        "count": 1, "firstTimestamp": "2026-11-22T10:00:00Z", "lastTimestamp": "2026-11-22T10:00:00Z",
    })
}

/// Values from real clients and from attackers.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(i64::MAX)),
        Just(json!(1e300)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!("")),
        Just(json!("2105-01-01T00:00:00Z")),
        Just(json!("0001-01-01T00:00:00Z")),
        Just(json!("2016-11-22T10:00:00Z")),
        Just(json!("2026-02-30T25:61:61Z")),
        Just(json!({ "count": 7, "lastObservedTime": "2026-11-22T10:09:00.123456Z" })),
        Just(json!({ "count": -3, "lastObservedTime": null })),
        Just(Value::String("x".repeat(1 << 20))),
        Just(Value::String(
            "\u{0}\u{1}\u{2}\u{1b}[31m\u{7f}\u{202e}\n".repeat(50)
        )),
        Just(Value::String("password=hunter22".into())),
        any::<String>().prop_map(Value::String),
    ]
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/metadata",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/uid",
        "/metadata/resourceVersion",
        "/metadata/creationTimestamp",
        "/involvedObject",
        "/involvedObject/kind",
        "/involvedObject/name",
        "/involvedObject/fieldPath",
        "/reason",
        "/message",
        "/type",
        "/source",
        "/source/component",
        "/reportingComponent",
        "/count",
        "/firstTimestamp",
        "/lastTimestamp",
        "/eventTime",
        "/series",
        "/unknown",
    ])
}

fn set(event: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('/').unwrap();
    if let Some(Value::Object(parent)) = event.pointer_mut(parent) {
        parent.insert(key.to_owned(), value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn malformed_events_are_stored_or_skipped(
        changes in prop::collection::vec((field(), odd()), 1..6),
        action in prop::sample::select(vec!["ADDED", "MODIFIED", "DELETED"]),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut path = IngestPath::new(folder.path()).unwrap();
        let mut odd = event();
        for (field, value) in changes {
            set(&mut odd, field, value);
        }
        let mut bytes = line(action, &odd);
        if let Some((at, byte)) = broken {
            let at = at.index(bytes.len());
            bytes[at] = byte; // invalid UTF-8, invalid JSON, other values
        }
        path.feed(&bytes).unwrap();
        // The next Event is recorded.
        let mut next = event();
        set(&mut next, "/metadata/uid", json!("6a1e7a52-0000-4000-8000-000000000002"));
        prop_assert_eq!(path.feed(&line("ADDED", &next)).unwrap(), FeedOutcome::Committed);
        prop_assert_eq!(path.stored("6a1e7a52-0000-4000-8000-000000000002").unwrap().0, 1);
    }

    #[test]
    fn arbitrary_bytes_do_not_fail_ingest(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        IngestPath::new(folder.path()).unwrap().feed(&bytes).unwrap();
    }

    /// Deliveries of one Event as after relists and resumes: any of its states again, the newest last.
    #[test]
    fn repeated_deliveries_of_event_keep_final_count(
        growth in prop::collection::vec((1i64..4, 0i64..500), 1..12),
        seen in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut path = IngestPath::new(folder.path()).unwrap();
        let mut states = vec![event()];
        let (mut count, mut second) = (1, 0);
        for (by, seconds) in growth {
            (count, second) = (count + by, second + seconds);
            let mut state = event();
            set(&mut state, "/count", json!(count));
            set(&mut state, "/metadata/resourceVersion", json!((10 + states.len()).to_string()));
            set(&mut state, "/lastTimestamp", json!(format!("2026-11-22T{:02}:{:02}:{:02}Z", 10 + second / 3600, second / 60 % 60, second % 60)));
            states.push(state);
        }
        for index in seen {
            path.feed(&line("MODIFIED", index.get(&states))).unwrap();
        }
        let newest = states.last().unwrap();
        path.feed(&line("MODIFIED", newest)).unwrap();
        path.feed(&line("MODIFIED", newest)).unwrap();
        let (occurrences, stored, last) = path.stored(UID).unwrap();
        prop_assert_eq!((occurrences, stored), (count, count));
        prop_assert_eq!(&last[..19], &newest["lastTimestamp"].as_str().unwrap()[..19]);
    }
}

/// The fuzzer's minimised corpus: one input per line, `\xNN` for other bytes.
#[test]
fn fuzz_corpus_is_stored_or_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut path = IngestPath::new(folder.path()).unwrap();
    let corpus = include_str!("../fuzz/corpus.txt");
    let mut committed = 0;
    for input in corpus.lines().map(unescape) {
        for line in [
            input.clone(),
            [br#"{"type":"MODIFIED","object":"#, &input[..], b"}"].concat(),
        ] {
            committed += usize::from(path.feed(&line).unwrap() == FeedOutcome::Committed);
        }
    }
    assert!(committed > corpus.lines().count(), "{committed} committed");
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
