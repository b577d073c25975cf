//! Planted secrets on the whole path from the API server's JSON to files, metrics and log.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::collections::HashSet;
use std::io::Write;
use std::sync::{Arc, Mutex};

use kube9_base::clock::Clock;
use kube9_ingest::filter::{Filter, SeverityOverrides};
use kube9_ingest::owners::Owners;
use kube9_ingest::sanitize::clean_text;
use kube9_k8s::pages::RawItem;
use kube9_recorder::events::EventIngest;
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use kube9_store::queue::{Queue, QueueLimits};
use proptest::prelude::*;
use serde_json::json;

/// Shortest part of a secret that must not be found.
const FRAGMENT: usize = 6;

/// Forms in which secrets occur in Events. `{}` is the secret.
const FORMS: [&str; 9] = [
    "connect failed: password={} for user app",
    "Get \"https://admin:{}@db.internal:5432/x\": EOF",
    "Authorization: Bearer {}",
    "token: {}\nretrying",
    "{\"api_key\":\"{}\"}",
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n",
    "args --client-secret {} --verbose",
    "SECRET_KEY={};x=1",
    "url=http://x/?access_token={}&y=2",
];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Processes one Event completely; returns all bytes written.
fn traces_of(event: &serde_json::Value) -> Vec<u8> {
    let log = Captured::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new(&Rules::default());
    tracing::subscriber::with_default(subscriber, || {
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let mut applier = Applier::default();
        let (watch, _) = applier.watches.register(&conn, "c", "Event", "").unwrap();
        let limits = QueueLimits {
            capacity: 10,
            bytes_max: 1 << 20,
            high_water: 8,
        };
        let ingest = EventIngest {
            queue: Arc::new(Queue::new(limits)),
            filter: Arc::new(Filter::default()),
            overrides: Arc::new(SeverityOverrides::default()),
            metrics: metrics.clone(),
            clock: Clock::system(),
            owners: Owners::default(),
            throttle: Arc::default(),
        };
        let json = serde_json::value::to_raw_value(event).unwrap();
        ingest.on_list_item(
            watch,
            &RawItem {
                json,
                version: "1".into(),
            },
        );
        let batch = ingest.queue.take_batch(
            10,
            1 << 20,
            std::time::Duration::ZERO,
            std::time::Duration::ZERO,
        );
        assert_eq!(batch.items.len(), 1);
        applier
            .apply(&conn, &batch.items, Clock::system().now())
            .unwrap();
        applier.finish(&conn).unwrap();
        let rows: i64 = conn
            .query_row("SELECT count(*) FROM events", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1, "the Event itself must not be lost");
        drop(conn);
    });
    let mut traces = std::mem::take(&mut *log.0.lock().unwrap());
    traces.extend_from_slice(metrics.render().unwrap().as_bytes());
    for file in std::fs::read_dir(dir.path()).unwrap() {
        traces.extend_from_slice(&std::fs::read(file.unwrap().path()).unwrap());
    }
    traces
}

/// The first part of `secret` of [`FRAGMENT`] bytes that occurs in `traces`.
fn fragment_in<'a>(traces: &'a [u8], secret: &str) -> Option<&'a [u8]> {
    let fragments: HashSet<&[u8]> = secret.as_bytes().windows(FRAGMENT).collect();
    let capital = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    traces
        .split(|byte| !capital(byte))
        .flat_map(|run| run.windows(FRAGMENT))
        .find(|window| fragments.contains(window))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn planted_secret_fragments_are_not_on_disk(
        // Upper-case letters and digits only, so that no fragment of it occurs in the schema or the metrics by chance.
        secret in "[A-Z0-9]{24,40}",
        form in prop::sample::select(FORMS.to_vec()),
        pad in 0usize..4_200,
        place in 0usize..3,
    ) {
        let text = form.replace("{}", &secret);
        let padded = format!("{}{text}", "x ".repeat(pad / 2));
        let event = json!({
            "metadata": {
                "uid": "6a1e7a52-0000-4000-8000-000000000001", "resourceVersion": "7", "name": "e", "namespace": "shop",
                "creationTimestamp": "2026-11-22T10:00:00Z",
                "annotations": { "example.com/token": if place == 1 { secret.as_str() } else { "-" }, "note": if place == 2 { text.as_str() } else { "-" } },
            },
            "involvedObject": { "kind": "Pod", "namespace": "shop", "name": "web-1" },
            "reason": "Failed", "type": "Warning",
            "message": if place == 0 { padded.as_str() } else { "nothing to see" },
        });
        let traces = traces_of(&event);
        let left = fragment_in(&traces, &secret).map(String::from_utf8_lossy);
        prop_assert!(left.is_none(), "{left:?} of {text:?} is left behind");
    }
}

#[test]
fn secret_search_finds_planted_value() {
    assert_eq!(
        fragment_in(b"..xxABC123DEFyy..", "ZZABC123DEFZZ"),
        Some(b"ABC123".as_slice())
    );
    assert_eq!(fragment_in(b"..ABC12..3DEF", "ABC123DEF"), None);
}

#[test]
fn log_is_redacted_like_rows() {
    assert!(!clean_text("login with password=hunter2hunter2 failed", 4096).contains("hunter2"));
}
