//! Faults of Event lists and watches beyond the connection: each is reported or counted, and no Event is missed.

use std::time::{Duration, Instant};

use kube9_tests::apiserver::{ApiServer, Config, Fault, Garbage, Kind, On, Verb};
use kube9_tests::recorder::balance;
use serde_json::{Value, json};

use super::harness::{Harness, event};

const WATCHES: On = On::watch(Kind::Event);
const LISTS: On = On::list(Kind::Event);

const fn status(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
    }
}

impl Harness {
    /// Whether a list of Events was requested with that `limit`.
    fn asked_for_pages_of(&self, limit: u32) -> bool {
        let wanted = format!("limit={limit}");
        self.server.requests().all().iter().any(|request| {
            request.what == Some((Verb::List, Kind::Event))
                && request.target.split(['?', '&']).any(|part| part == wanted)
        })
    }

    fn rows_titled(&self, title: &str) -> Option<i64> {
        let sql = format!("SELECT count(*) FROM events WHERE title = '{title}'");
        self.setup.number(&sql)
    }
}

/// The record begins with the first attempt: the time until the first successful list is a gap, and recovered.
#[test]
fn failed_first_lists_are_reported_and_leave_recovered_gap() {
    for (fault, words, smaller_pages) in [
        (status(500), "500", false),
        (Fault::Hangup, "connection", false),
        (Fault::CutAfter { items: 30 }, "connection", false),
        (Fault::SilentAfter { items: 30 }, "within 5 s", true),
    ] {
        let harness = Harness::new();
        harness.create_many("before", 250);
        let rule = harness.server.faults().always(LISTS, fault);
        let recorder = harness.start();
        harness.wait(words, || harness.degraded("watch/Event").contains(words));
        harness.create("meanwhile");
        harness.server.faults().clear(rule);
        harness.wait_stored(251);
        harness.assert_complete();
        harness.wait("healthy again", || harness.is_healthy());
        let gaps = harness.gaps();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert_eq!(gaps[0]["recovery"], "complete");
        assert_eq!(harness.asked_for_pages_of(25), smaller_pages);
        recorder.stop().unwrap();
    }
}

#[test]
fn event_list_with_expired_token_restarts_with_larger_pages() {
    let harness = Harness::new();
    harness.create_many("many", 250);
    let second_page = On {
        continued: Some(true),
        ..LISTS
    };
    harness.server.faults().next(1, second_page, status(410));
    let recorder = harness.start();
    harness.wait_stored(250);
    harness.assert_complete();
    assert!(harness.asked_for_pages_of(400));
    recorder.stop().unwrap();
}

#[test]
fn page_that_is_too_large_is_requested_in_halves() {
    let harness = Harness::new();
    for n in 0..100 {
        let mut large = event("shop", &format!("large-{n}"), 1);
        large["metadata"]["annotations"] = json!({ "padding": "x".repeat(120 << 10) });
        harness.server.store().create(Kind::Event, large).unwrap();
    }
    let recorder = harness.start();
    harness.wait_stored(100);
    assert!(harness.asked_for_pages_of(12));
    recorder.stop().unwrap();
}

/// As JSON it is 8.4 MiB: six bytes for each character. It must not prevent the list from ending.
#[test]
fn event_of_maximum_size_is_listed_with_others() {
    let harness = Harness::new();
    harness.create_many("small", 150);
    let mut large = event("shop", "large", 1);
    large["message"] = json!("\u{1}".repeat(1_400_000));
    harness.server.store().create(Kind::Event, large).unwrap();
    harness.create_many("later", 150);
    let recorder = harness.start();
    harness.wait_stored(301);
    assert!(harness.asked_for_pages_of(1));
    let requests = harness.server.requests().count(Verb::List, Kind::Event);
    assert!(requests < 60, "{requests} requests: pages grow again");
    recorder.stop().unwrap();
}

#[test]
fn event_list_with_repeating_continue_token_is_degraded_and_bounded() {
    let harness = Harness::new();
    harness.create_many("small", 150);
    let faults = harness.server.faults();
    let fault = faults.always(On::list(Kind::Event), Fault::SameToken);
    let recorder = harness.start();
    let requests = || harness.server.requests().count(Verb::List, Kind::Event);
    harness.wait("it is said", || {
        harness
            .degraded("watch/Event")
            .contains("a list without an end")
    });
    // The first page, the second with the token of the first, the third with that of the second; then it waits.
    assert!(requests() <= 6, "{} requests", requests());
    faults.clear(fault);
    harness.wait_stored(150);
    recorder.stop().unwrap();
}

#[test]
fn lines_that_are_not_events_are_skipped_and_watch_continues() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("before");
    harness.wait_stored(1);
    for (n, what) in [Garbage::WrongType, Garbage::NotAnObject, Garbage::NotJson]
        .into_iter()
        .enumerate()
    {
        let mut sent = None;
        harness.wait(&format!("{what:?}"), || {
            if harness.rows_titled("Event skipped") >= Some(n as i64 + 1) {
                return true;
            }
            // A watch that is opened just before the cut takes the line with it.
            if sent.is_none_or(|sent: Instant| sent.elapsed() > Duration::from_secs(10)) {
                let garbage = Fault::Garbage { items: 0, what };
                harness.server.faults().next(1, WATCHES, garbage);
                harness.server.cut_connections();
                sent = Some(Instant::now());
            }
            false
        });
    }
    let head = br#""metadata":{"name":"huge","namespace":"shop","uid":"u","resourceVersion":"{version}"},"message":""#;
    let mut body = head.to_vec();
    body.resize(5 << 20, b'x');
    body.extend_from_slice(b"\"}");
    harness
        .server
        .store()
        .poison(Kind::Event, "shop", "huge", &body);
    harness.create("after");
    harness.wait("what comes after them", || {
        harness.number_named("after") == 1
    });
    assert!(harness.rows_titled("Event skipped") >= Some(4));
    harness.wait("every Event has one outcome", || {
        balance(&harness.setup.metrics()) == Some(0.0)
    });
    recorder.stop().unwrap();
}

/// Current API servers do not cache Events and send no bookmarks for them; bookmarks would save the renewals.
#[test]
fn bookmarks_advance_event_position() {
    let server = ApiServer::start(Config {
        compaction_interval: None,
        bookmark_interval: Duration::from_millis(200),
        event_bookmarks: true,
        ..Config::default()
    })
    .unwrap();
    let harness = Harness::on(server, "");
    let recorder = harness.start();
    harness.create("only");
    harness.wait_stored(1);
    // Other objects advance the cluster's resourceVersion.
    let map = json!({ "metadata": { "name": "m", "namespace": "shop" }, "data": {} });
    harness.server.store().create(Kind::ConfigMap, map).unwrap();
    let version = harness.server.store().version().to_string();
    let position = "SELECT position FROM watch_state WHERE kind = 'Event'";
    harness.wait("the position is the bookmark's", || {
        harness
            .setup
            .column(position)
            .is_ok_and(|found| found == [version.as_str()])
    });
    recorder.stop().unwrap();
    assert_eq!(harness.gaps(), Vec::<Value>::new());
}

/// A filter that is added later does not make recorded Events look deleted.
#[test]
fn filtered_events_are_counted_without_row_or_gap() {
    let harness = Harness::new();
    harness.create_many("recorded", 5);
    let recorder = harness.start();
    harness.wait_stored(5);
    recorder.stop().unwrap();
    harness.create_many("left-out", 7);
    harness.server.compact_now();
    let mut setup = harness.setup.clone();
    setup
        .yaml
        .push_str("filters: [{name: noise, action: exclude, match: {reasons: [BackOff]}}]\n");
    let recorder = setup.start().unwrap();
    harness.wait("listed", || {
        harness
            .gaps()
            .iter()
            .any(|gap| gap["recovery"] == "complete")
    });
    assert_eq!(harness.stored(), 5);
    assert_eq!(harness.metric("kube9_events_filtered_total"), 12.0);
    let gaps = harness.gaps();
    assert_eq!(
        (gaps.len(), &gaps[0]["missing"]),
        (1, &json!(0)),
        "{gaps:?}"
    );
    recorder.stop().unwrap();
}
