//! Each failure of a watch by name, on Events and on Pods: changes meanwhile are recorded, a discarded position leaves
//! a gap row with its cause, and a kept position leaves none.
//!
//! Each prints a line of a table: `cargo test -p kube9-tests --test system faults::watch -- --nocapture | grep '^|'`.

use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;
use kube9_tests::apiserver::{Fault, Kind, On};
use kube9_tests::recorder::Recorder;
use serde_json::{Value, json};

use crate::faults::harness::{Harness, event};

const COMPACTED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"message":"rpc error: code = OutOfRange desc = etcdserver: mvcc: required revision has been compacted"}}"#;
const EXPIRED: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"The resourceVersion for the provided watch is too old."}}"#;
const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Gone","code":500,"message":"too old resource version"}}"#;
const BARE: &str = r#"{"type":"ERROR","object":{}}"#;
const EXPIRED_BODY: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":500,"message":"too old"}"#;

const WATCHED: [Kind; 6] = [
    Kind::Event,
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

const fn status(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
    }
}

const fn error(line: &'static str) -> Fault {
    Fault::Line {
        items: 0,
        line,
        ends: true,
    }
}

/// A minimal object of the kind.
fn object(kind: Kind, name: &str) -> Value {
    match kind {
        Kind::Event => event("shop", name, 1),
        Kind::Node => json!({ "metadata": { "name": name } }),
        _ => json!({ "metadata": { "name": name, "namespace": "shop" } }),
    }
}

#[expect(clippy::print_stdout, reason = "the table")]
fn print_row(what: &str, kind: Kind, since: Instant, gaps: &[Value]) {
    let causes: Vec<_> = gaps
        .iter()
        .map(|gap| gap["cause"].as_str().unwrap())
        .collect();
    let seconds = since.elapsed().as_secs_f64();
    println!(
        "| {what} | {} | {seconds:.1} s | {} |",
        kind.name(),
        causes.join(", ")
    );
}

impl Harness {
    fn put(&self, kind: Kind, name: &str) {
        self.server
            .store()
            .create(kind, object(kind, name))
            .unwrap();
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        let sql = match kind {
            Kind::Event => {
                let found = self.server.store().get(kind, "shop", name).unwrap();
                format!(
                    "SELECT count(*) FROM events WHERE metadata ->> 'uid' = '{}'",
                    found.uid
                )
            }
            _ => format!(
                "SELECT count(*) FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind WHERE k.kind = '{}' \
                 AND o.name = '{name}' AND o.deleted_ms IS NULL",
                kind.name()
            ),
        };
        self.setup.number(&sql) == Some(1)
    }

    #[track_caller]
    fn wait_for(&self, kind: Kind, name: &str) {
        self.wait(&format!("{} {name} is recorded", kind.name()), || {
            self.has(kind, name)
        });
    }

    fn put_each(&self, kinds: &[Kind], name: &str) {
        kinds.iter().for_each(|kind| self.put(*kind, name));
    }

    fn wait_for_each(&self, kinds: &[Kind], name: &str) {
        kinds.iter().for_each(|kind| self.wait_for(*kind, name));
    }

    /// Starts it and waits until all kinds are watched.
    fn watching(&self) -> Recorder {
        let recorder = self.start();
        self.wait("all kinds are watched", || {
            WATCHED
                .iter()
                .all(|kind| self.server.requests().open_watches(*kind) == 1)
        });
        recorder
    }

    /// The parts of gap rows about a kind, with the row's cause.
    fn gaps_of(&self, kind: Kind) -> Vec<Value> {
        let mut parts = Vec::new();
        for row in self.gap_rows() {
            for part in row["sources"].as_array().unwrap() {
                if part["source"] == kind.name() {
                    let mut part = part.clone();
                    part["cause"] = row["cause"].clone();
                    parts.push(part);
                }
            }
        }
        parts
    }

    fn gap_rows(&self) -> Vec<Value> {
        let sql = "SELECT metadata FROM events WHERE title = 'Recording gap' ORDER BY id";
        let rows = self.setup.column(sql).unwrap();
        rows.iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    }

    fn regressions(&self) -> Option<i64> {
        self.setup
            .number("SELECT count(*) FROM events WHERE title = 'API server history went back'")
    }
}

/// A lasting fault: changes meanwhile are recorded, and the gap has `cause`.
fn lasting_fault(what: &str, kind: Kind, fault: Fault, cause: &str) {
    let harness = Harness::new();
    let recorder = harness.watching();
    harness.put(kind, "before");
    harness.wait_for(kind, "before");
    let rule = harness.server.faults().always(On::watch(kind), fault);
    harness.server.cut_connections();
    harness.put(kind, "meanwhile");
    let since = Instant::now();
    harness.wait_for(kind, "meanwhile");
    harness.wait("the gap is closed", || {
        let gaps = harness.gaps_of(kind);
        gaps.first().is_some_and(|gap| gap["to"].is_string())
    });
    let gaps = harness.gaps_of(kind);
    print_row(what, kind, since, &gaps[..1]);
    assert_eq!(gaps[0]["cause"], cause, "{gaps:?}");
    assert_eq!(gaps[0]["recovery"], "complete", "{gaps:?}");
    // The rate of lists is bounded.
    let densest = harness
        .server
        .requests()
        .densest(kind, Duration::from_secs(5));
    assert!(densest <= 80, "{densest} requests within 5 s");
    harness.server.faults().clear(rule);
    harness.put(kind, "after");
    harness.wait_for(kind, "after");
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

/// A single fault: the position stays valid.
fn single_fault(what: &str, kind: Kind, times: usize, fault: Fault) {
    let harness = Harness::new();
    let recorder = harness.watching();
    harness.put(kind, "before");
    harness.wait_for(kind, "before");
    harness.server.faults().next(times, On::watch(kind), fault);
    harness.server.cut_connections();
    let since = Instant::now();
    harness.put(kind, "meanwhile");
    harness.put(kind, "more");
    harness.wait_for(kind, "meanwhile");
    harness.wait_for(kind, "more");
    let gaps = harness.gaps_of(kind);
    print_row(what, kind, since, &gaps);
    assert_eq!(gaps, Vec::<Value>::new());
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

/// An invalid bookmark: no watch starts below the position, and nothing is missed or duplicated.
fn invalid_bookmark(what: &str, kind: Kind, line: &'static str) {
    let harness = Harness::new();
    harness.put(kind, "before");
    let begins = harness.server.store().version();
    let recorder = harness.watching();
    harness.wait_for(kind, "before");
    let line = Fault::Line {
        items: 0,
        line,
        ends: false,
    };
    let faults = harness.server.faults();
    faults.next(1, On::watch(kind), line);
    harness.server.cut_connections();
    harness.wait("the bookmark was sent", || {
        faults.pending() == 0 && harness.server.requests().open_watches(kind) == 1
    });
    harness.server.cut_connections();
    let since = Instant::now();
    harness.put(kind, "meanwhile");
    harness.wait_for(kind, "meanwhile");
    print_row(what, kind, since, &harness.gaps_of(kind));
    for request in harness.server.requests().all() {
        let is_watch = request.what == Some((kube9_tests::apiserver::Verb::Watch, kind));
        let version = request.target.split("resourceVersion=").nth(1);
        let version = version.and_then(|version| version.parse::<u64>().ok());
        assert!(
            !is_watch || version.is_some_and(|version| version >= begins),
            "{}",
            request.target
        );
    }
    assert_eq!(harness.gaps_of(kind), Vec::<Value>::new());
    recorder.stop().unwrap();
}

/// Runs each failure on Events and on Pods.
macro_rules! failures {
    ($($name:ident: $play:ident($($argument:expr),*);)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn of_events() {
                $play(stringify!($name), Kind::Event, $($argument),*);
            }

            #[test]
            fn of_pods() {
                $play(stringify!($name), Kind::Pod, $($argument),*);
            }
        }
    )*};
}

failures! {
    error_500_compacted: lasting_fault(error(COMPACTED), "watch_failed");
    error_without_anything: lasting_fault(error(BARE), "watch_failed");
    error_500_internal: lasting_fault(Fault::ErrorAfter { items: 0, code: 500 }, "watch_failed");
    http_500: lasting_fault(status(500), "watch_failed");
    http_404: lasting_fault(status(404), "watch_failed");
    http_500_with_retry_after: lasting_fault(Fault::Status { code: 500, retry_after: Some(1) }, "watch_failed");
    http_503: lasting_fault(status(503), "watch_failed");
    no_answer: lasting_fault(Fault::Silence, "watch_failed");
    reason_expired_without_code: lasting_fault(error(EXPIRED), "expired");
    reason_gone_with_another_code: lasting_fault(error(GONE), "expired");
    http_500_with_reason_expired: lasting_fault(Fault::Text { code: 500, retry_after: None, body: EXPIRED_BODY }, "expired");
    error_410: lasting_fault(Fault::ErrorAfter { items: 0, code: 410 }, "expired");
    http_410: lasting_fault(status(410), "expired");
    empty_streams: lasting_fault(Fault::Empty, "empty_stream");
    clean_ends: lasting_fault(Fault::EndAfter { items: 0 }, "empty_stream");
    cut_at_the_same_place: lasting_fault(Fault::CutAfter { items: 0 }, "watch_failed");
    cut_in_the_middle: single_fault(2, Fault::CutAfter { items: 1 });
    http_500_twice: single_fault(2, status(500));
    http_429: single_fault(4, Fault::Status { code: 429, retry_after: Some(0) });
    silence: single_fault(1, Fault::SilentAfter { items: 1 });
    bookmark_empty: invalid_bookmark(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":""}}}"#);
    bookmark_zero: invalid_bookmark(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"0"}}}"#);
    bookmark_lower: invalid_bookmark(r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"50"}}}"#);
    bookmark_without_version: invalid_bookmark(r#"{"type":"BOOKMARK","object":{}}"#);
}

/// A cluster with one object of each kind, and the version of an etcd backup.
struct RestoredCluster {
    harness: Harness,
    backup: u64,
}

impl RestoredCluster {
    fn new() -> Self {
        let harness = Harness::new();
        harness.put_each(&WATCHED, "kept");
        let backup = harness.server.store().version();
        for n in 0..20 {
            harness.put(Kind::Pod, &format!("undone-{n}"));
            harness.put(Kind::Event, &format!("undone-{n}"));
        }
        Self { harness, backup }
    }

    fn watching(&self) -> Recorder {
        let recorder = self.harness.watching();
        self.harness.wait_for_each(&WATCHED, "kept");
        self.harness.wait_for(Kind::Pod, "undone-19");
        self.harness.wait_for(Kind::Event, "undone-19");
        recorder
    }

    /// Checks that objects of every kind after the restore, below the seen versions, are recorded; that one row reports
    /// the regression; and that one gap row names all kinds.
    fn assert_recovered(&self, what: &str) {
        let (harness, since) = (&self.harness, Instant::now());
        harness.put_each(&WATCHED, "other");
        harness.wait_for_each(&WATCHED, "other");
        harness.wait("no pod that was undone is left", || {
            !harness.has(Kind::Pod, "undone-3")
        });
        harness.wait("the gap of every kind is closed", || {
            WATCHED.iter().all(|kind| {
                let gaps = harness.gaps_of(*kind);
                gaps.len() == 1 && gaps[0]["to"].is_string()
            })
        });
        print_row(what, Kind::Event, since, &harness.gaps_of(Kind::Event));
        assert_eq!(harness.regressions(), Some(1), "{:?}", harness.gap_rows());
        let rows = harness.gap_rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0]["cause"], "history_regressed");
        // The change history watches more.
        assert!(rows[0]["sources"].as_array().unwrap().len() >= WATCHED.len());
        assert!(rows[0]["open"].is_null(), "{rows:?}");
        harness.put(Kind::Pod, "later");
        harness.wait_for(Kind::Pod, "later");
        harness.wait("healthy", || harness.is_healthy());
    }
}

#[test]
fn history_regression_while_down_is_detected_at_start() {
    let cluster = RestoredCluster::new();
    cluster.watching().stop().unwrap();
    cluster.harness.server.restore_backup(cluster.backup);
    let recorder = cluster.harness.start();
    cluster.assert_recovered("history went back, at a start");
    recorder.stop().unwrap();
}

#[test]
fn history_regression_while_running_is_detected_when_watches_are_cut() {
    let cluster = RestoredCluster::new();
    let recorder = cluster.watching();
    cluster.harness.server.restore_backup(cluster.backup);
    cluster.assert_recovered("history went back, watches cut");
    recorder.stop().unwrap();
}

#[test]
fn history_regression_is_detected_after_clean_watch_end() {
    let cluster = RestoredCluster::new();
    let recorder = cluster.watching();
    let server = &cluster.harness.server;
    for kind in WATCHED {
        let end = Fault::EndAfter { items: 0 };
        server.faults().next(1, On::watch(kind), end);
    }
    server.store().restore(cluster.backup);
    server.cut_connections();
    cluster.assert_recovered("history went back, watches closed");
    recorder.stop().unwrap();
}

/// The new history is above every position before the next request.
#[test]
fn history_regression_above_position_is_detected_by_exact_list() {
    let cluster = RestoredCluster::new();
    let recorder = cluster.watching();
    let harness = &cluster.harness;
    let server = &harness.server;
    let position = server.store().version();
    let away = server.faults().always(On::ANY, status(503));
    server.restore_backup(cluster.backup);
    harness.wait("it has asked", || !harness.is_healthy());
    std::thread::sleep(Duration::from_secs(3));
    for n in 0..30 {
        harness.put(Kind::Pod, &format!("new-{n}"));
        harness.put(Kind::Event, &format!("new-{n}"));
    }
    assert!(server.store().version() > position);
    server.faults().clear(away);
    for kind in [Kind::Pod, Kind::Event] {
        harness.wait_for(kind, "new-0");
    }
    cluster.assert_recovered("history went back and has overtaken");
    recorder.stop().unwrap();
}

/// The same, while every kind backs off, so that no request reaches the API server during the outage.
#[test]
fn history_regression_above_position_is_detected_while_all_kinds_back_off() {
    let mut cluster = RestoredCluster::new();
    let setup = &mut cluster.harness.setup;
    let waits = "backoff: {initial: 6s, max: 6s}";
    setup.yaml = setup
        .yaml
        .replace("backoff: {initial: 100ms, max: 1s}", waits);
    assert!(setup.yaml.contains(waits), "{}", setup.yaml);
    let recorder = cluster.watching();
    let harness = &cluster.harness;
    let position = harness.server.store().version();
    harness.server.restore_backup(cluster.backup);
    for n in 0..30 {
        harness.put(Kind::Pod, &format!("new-{n}"));
        harness.put(Kind::Event, &format!("new-{n}"));
    }
    assert!(harness.server.store().version() > position);
    for kind in [Kind::Pod, Kind::Event] {
        harness.wait_for(kind, "new-0");
    }
    cluster.assert_recovered("history went back and has overtaken, every kind waiting");
    recorder.stop().unwrap();
}

/// An API server outage with the same history: no list and no gap row.
#[test]
fn unchanged_history_after_api_server_outage_leaves_no_gap() {
    let harness = Harness::new();
    harness.put_each(&WATCHED, "old");
    let recorder = harness.watching();
    for kind in WATCHED {
        harness.put(kind, "before");
        harness.wait_for(kind, "before");
    }
    harness
        .server
        .store()
        .delete(Kind::Pod, "shop", "old")
        .unwrap();
    let away = harness.server.faults().always(On::ANY, status(503));
    harness.server.cut_connections();
    harness.wait("it has asked", || !harness.is_healthy());
    std::thread::sleep(Duration::from_secs(2));
    harness.put_each(&WATCHED, "meanwhile");
    harness.server.faults().clear(away);
    harness.wait_for_each(&WATCHED, "meanwhile");
    assert_eq!(harness.gap_rows(), Vec::<Value>::new());
    assert_eq!(harness.regressions(), Some(0));
    recorder.stop().unwrap();
}

/// No watch ends: watches of future versions are silent.
#[test]
fn history_regression_is_detected_on_idle_watches() {
    let cluster = RestoredCluster::new();
    let recorder = cluster.watching();
    cluster.harness.server.store().restore(cluster.backup);
    cluster.assert_recovered("history went back, watches idle");
    recorder.stop().unwrap();
}

#[test]
fn exact_list_of_future_version_answered_with_current_state_is_detected() {
    for as_asked in [false, true] {
        let cluster = RestoredCluster::new();
        cluster.watching().stop().unwrap();
        let faults = cluster.harness.server.faults();
        for kind in WATCHED {
            faults.always(On::list(kind), Fault::Today { as_asked });
        }
        cluster.harness.server.restore_backup(cluster.backup);
        let recorder = cluster.harness.start();
        cluster.assert_recovered("exact list of the future, answered with today's objects");
        recorder.stop().unwrap();
    }
}

/// The list is later than the position: the time between is a gap.
#[test]
fn exact_list_answered_with_later_state_leaves_gap() {
    let harness = Harness::new();
    harness.put(Kind::Pod, "before");
    let recorder = harness.watching();
    harness.wait_for(Kind::Pod, "before");
    recorder.stop().unwrap();
    harness.put(Kind::Pod, "meanwhile");
    let today = Fault::Today { as_asked: false };
    harness.server.faults().always(On::list(Kind::Pod), today);
    let recorder = harness.watching();
    harness.wait_for(Kind::Pod, "meanwhile");
    harness.wait("the gap is closed", || {
        let gaps = harness.gaps_of(Kind::Pod);
        gaps.first().is_some_and(|gap| gap["to"].is_string())
    });
    recorder.stop().unwrap();
}

#[test]
fn failed_exact_list_falls_back_to_current_list() {
    for (code, cause) in [
        (500, "watch_failed"),
        (400, "watch_failed"),
        (410, "expired"),
    ] {
        let harness = Harness::new();
        harness.put(Kind::Pod, "before");
        let recorder = harness.watching();
        harness.wait_for(Kind::Pod, "before");
        recorder.stop().unwrap();
        harness.put(Kind::Pod, "meanwhile");
        let exact = On {
            exact: Some(true),
            ..On::list(Kind::Pod)
        };
        harness.server.faults().always(exact, status(code));
        let since = Instant::now();
        let recorder = harness.watching();
        harness.wait_for(Kind::Pod, "meanwhile");
        harness.wait("the gap is closed", || {
            let gaps = harness.gaps_of(Kind::Pod);
            gaps.first().is_some_and(|gap| gap["to"].is_string())
        });
        let gaps = harness.gaps_of(Kind::Pod);
        print_row(&format!("exact list {code}"), Kind::Pod, since, &gaps);
        assert_eq!((gaps.len(), &gaps[0]["cause"]), (1, &json!(cause)));
        harness.wait("healthy", || harness.is_healthy());
        recorder.stop().unwrap();
    }
}

/// A failing watch at the stored position is also discarded after a start.
#[test]
fn failed_watch_at_stored_position_after_restart_causes_relist() {
    for kind in [Kind::Event, Kind::Pod] {
        let harness = Harness::new();
        harness.put(kind, "before");
        let recorder = harness.watching();
        harness.wait_for(kind, "before");
        recorder.stop().unwrap();
        harness.put(kind, "meanwhile");
        harness
            .server
            .faults()
            .always(On::watch(kind), error(COMPACTED));
        let since = Instant::now();
        let recorder = harness.start();
        harness.put(kind, "later");
        harness.wait_for(kind, "meanwhile");
        harness.wait_for(kind, "later");
        harness.wait("the gap is closed", || {
            let gaps = harness.gaps_of(kind);
            gaps.first().is_some_and(|gap| gap["to"].is_string())
        });
        let gaps = harness.gaps_of(kind);
        print_row("error 500 compacted, at a start", kind, since, &gaps[..1]);
        assert_eq!(gaps[0]["cause"], "watch_failed");
        recorder.stop().unwrap();
    }
}

/// A network outage that ends with resets: changes before the reset may be missing. A killed API server closes its
/// connections, and everything it sent has arrived.
#[test]
fn gap_begins_at_last_line_after_reset_and_at_end_after_clean_close() {
    for is_reset in [true, false] {
        let harness = Harness::new();
        let recorder = harness.watching();
        harness.put(Kind::Pod, "before");
        harness.wait_for(Kind::Pod, "before");
        let recorded = Timestamp::now();
        std::thread::sleep(Duration::from_secs(3));
        let faults = harness.server.faults();
        let gone = Fault::ErrorAfter {
            items: 0,
            code: 410,
        };
        faults.next(1, On::watch(Kind::Pod), gone);
        let cut = Timestamp::now();
        if is_reset {
            harness.server.reset_connections();
        } else {
            harness.server.cut_connections();
        }
        harness.wait("the gap is closed", || {
            let gaps = harness.gaps_of(Kind::Pod);
            gaps.first().is_some_and(|gap| gap["to"].is_string())
        });
        let gaps = harness.gaps_of(Kind::Pod);
        let from = Timestamp::parse(gaps[0]["from"].as_str().unwrap()).unwrap();
        let second = Duration::from_secs(1);
        if is_reset {
            assert!(from <= recorded, "{gaps:?}, recorded {recorded}");
        } else {
            assert!(cut.minus(second) <= from, "{gaps:?}, cut {cut}");
        }
        recorder.stop().unwrap();
    }
}

/// The API server restarts with changes before, during and after. Its caches are empty, so object watches cannot
/// resume: the gap begins when the watches ended.
#[test]
fn api_server_restart_leaves_one_gap_from_end_of_watches() {
    let harness = Harness::new();
    harness.put_each(&WATCHED, "old");
    let recorder = harness.watching();
    let kinds = [Kind::Pod, Kind::Service, Kind::ConfigMap];
    for kind in kinds {
        harness.put(kind, "before");
        harness.wait_for(kind, "before");
    }
    let recorded = Timestamp::now();
    // The end of a watch confirms its time only if nothing arrived for 50 ms before it.
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    harness.server.stop();
    // Its connections close a moment later; writes before that are still delivered.
    harness.wait("all watches are cut", || {
        let requests = harness.server.requests();
        WATCHED.iter().all(|kind| requests.open_watches(*kind) == 0)
    });
    let stopped = Timestamp::now();
    harness.put_each(&kinds, "in");
    std::thread::sleep(Duration::from_secs(2));
    harness.server.start_again();
    let started = Timestamp::now();
    harness.put_each(&kinds, "after");
    for kind in kinds {
        harness.wait_for(kind, "in");
        harness.wait_for(kind, "after");
    }
    harness.wait("the gap is closed", || {
        let rows = harness.gap_rows();
        rows.len() == 1
            && rows[0]["open"].is_null()
            && rows[0]["sources"].as_array().unwrap().len() >= 3
    });
    let rows = harness.gap_rows();
    print_row("API server restarted", Kind::Pod, since, &rows);
    assert_eq!(rows[0]["cause"], "expired");
    let second = Duration::from_secs(1);
    for part in rows[0]["sources"].as_array().unwrap() {
        let time = |key: &str| Timestamp::parse(part[key].as_str().unwrap()).unwrap();
        let (from, to) = (time("from"), time("to"));
        if kinds.iter().any(|kind| part["source"] == kind.name()) {
            assert!(
                recorded.minus(second) <= from,
                "{part}, recorded {recorded}"
            );
        }
        assert!(from <= stopped.plus(second), "{part}, stopped {stopped}");
        assert!(started.minus(second) <= to, "{part}, started {started}");
    }
    // What was created during the gap is observed late, and has its time.
    let late = "SELECT created_at FROM events WHERE metadata ->> 'observed_late' AND object_name = 'in' \
                AND metadata ->> 'op' = 'created'";
    let late = harness.setup.column(late).unwrap();
    assert!(!late.is_empty());
    for created in late {
        let created = Timestamp::parse(&created).unwrap();
        assert!(
            stopped.minus(second) <= created && created <= started,
            "{created}"
        );
    }
    recorder.stop().unwrap();
}
