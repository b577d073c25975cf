//! Faults of the API server, of the connection and of clocks.

use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_model::time::Timestamp;
use kube9_tests::apiserver::{Fault, Garbage, Kind, On};
use kube9_tests::recorder::balance;
use serde_json::{Value, json};

use super::harness::{Harness, event};

#[test]
fn restart_resumes_without_list_or_gap() {
    let harness = Harness::new();
    harness.create_many("before", 20);
    let recorder = harness.start();
    harness.wait_stored(20);
    harness.wait("the watch is open", || {
        harness.server.requests().open_watches(Kind::Event) == 1
    });
    recorder.stop().unwrap();
    let lists = harness.lists();
    harness.create_many("while-down", 20);
    harness.repeat("before.000003");
    let recorder = harness.start();
    harness.assert_complete();
    assert_eq!(harness.lists(), lists, "nothing was listed again");
    assert_eq!(harness.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn first_start_on_empty_cluster_stores_position() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.wait("a position is stored", || {
        harness
            .setup
            .number("SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL AND relisting = 0")
            == Some(1)
    });
    harness.wait("healthy", || harness.is_healthy());
    harness.create("first");
    harness.assert_complete();
    recorder.stop().unwrap();
}

#[test]
fn compaction_while_down_leaves_one_recovered_gap_without_duplicates() {
    let harness = Harness::new();
    harness.create_many("before", 10);
    let recorder = harness.start();
    harness.wait_stored(10);
    harness.wait("the watch is open", || {
        harness.server.requests().open_watches(Kind::Event) == 1
    });
    recorder.stop().unwrap();
    harness.create_many("while-down", 10);
    harness.repeat("before.000001");
    harness.server.compact_now();
    let recorder = harness.start();
    harness.assert_complete();
    let gaps = harness.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(
        (&gaps[0]["recovery"], &gaps[0]["cause"]),
        (&json!("complete"), &json!("expired"))
    );
    recorder.stop().unwrap();
}

#[test]
fn gap_in_which_known_event_was_deleted_is_partly_recovered() {
    let harness = Harness::new();
    harness.create_many("before", 3);
    let recorder = harness.start();
    harness.wait_stored(3);
    recorder.stop().unwrap();
    harness
        .server
        .store()
        .delete(Kind::Event, "shop", "before.000002")
        .unwrap();
    harness.create("after");
    harness.server.compact_now();
    let recorder = harness.start();
    harness.wait("the gap is closed", || {
        harness
            .gaps()
            .first()
            .is_some_and(|gap| gap["to"].is_string())
    });
    assert_eq!(harness.gaps()[0]["recovery"], "partial");
    assert_eq!(harness.gaps()[0]["missing"], 1);
    recorder.stop().unwrap();
}

/// One fault at a time on a running recorder: everything is stored once, without a gap.
#[test]
fn connection_faults_lose_nothing_and_need_no_list() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let watch = On::watch(Kind::Event);
    let faults = harness.server.faults();
    let mut expected = 1;
    let mut step = |what: &str, fault: &dyn Fn()| {
        harness.create(&format!("before-{expected}"));
        fault();
        harness.create_many(&format!("after-{expected}"), 12);
        harness.repeat("first");
        expected += 13;
        harness.wait(what, || harness.stored() == expected);
    };
    let status = |code, retry_after| Fault::Status { code, retry_after };
    step("cut", &|| harness.server.cut_connections());
    step("restart", &|| harness.server.restart());
    step("half a line", &|| {
        faults.next(1, watch, Fault::CutAfter { items: 5 });
        harness.server.cut_connections();
    });
    step("end in order", &|| {
        faults.next(2, watch, Fault::EndAfter { items: 2 });
        harness.server.cut_connections();
    });
    step("500", &|| {
        faults.next(2, watch, status(500, None));
        harness.server.cut_connections();
    });
    step("429", &|| {
        faults.next(1, watch, status(429, Some(1)));
        harness.server.cut_connections();
    });
    step("hang-up", &|| {
        faults.next(1, watch, Fault::Hangup);
        harness.server.cut_connections();
    });
    step("every item twice", &|| {
        faults.next(1, watch, Fault::Duplicate);
        harness.server.cut_connections();
    });
    step("garbage", &|| {
        let what = Garbage::WrongType;
        faults.next(1, watch, Fault::Garbage { items: 3, what });
        harness.server.cut_connections();
    });
    harness.assert_complete();
    assert_eq!(harness.lists(), 1, "only the first start listed");
    assert_eq!(harness.gaps(), Vec::<Value>::new());
    let skipped = "SELECT count(*) FROM events WHERE title = 'Event skipped'";
    assert_eq!(harness.setup.number(skipped), Some(1));
    harness.wait("the account is settled", || {
        balance(&harness.setup.metrics()) == Some(0.0)
    });
    recorder.stop().unwrap();
}

#[test]
fn watches_that_end_immediately_are_reported_without_hot_loop() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let fault = harness
        .server
        .faults()
        .always(On::watch(Kind::Event), Fault::Empty);
    harness.server.cut_connections();
    harness.wait("named", || {
        harness
            .degraded("watch/Event")
            .contains("as soon as it has begun")
    });
    // The following lists record what happens meanwhile.
    harness.create("meanwhile");
    harness.wait_stored(2);
    // At 100 ms to 1 s between attempts, any span of 5 s allows 20 attempts of 4 requests.
    let densest = harness
        .server
        .requests()
        .densest(Kind::Event, Duration::from_secs(5));
    assert!(densest <= 80, "{densest} requests within 5 s");
    harness.server.faults().clear(fault);
    harness.create("after");
    harness.assert_complete();
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn repeated_410_for_watches_causes_no_hot_loop_of_lists() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    let fault = harness.server.faults().always(On::watch(Kind::Event), gone);
    harness.server.cut_connections();
    let begun = harness.lists();
    harness.wait("listed again and again", || harness.lists() >= begun + 4);
    let densest = harness
        .server
        .requests()
        .densest(Kind::Event, Duration::from_secs(5));
    assert!(densest <= 80, "{densest} requests within 5 s");
    harness.server.faults().clear(fault);
    harness.create("after");
    harness.assert_complete();
    recorder.stop().unwrap();
}

#[test]
fn silent_watch_is_detected_by_renewal_and_reopened() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let silent = Fault::SilentAfter { items: 1 };
    harness
        .server
        .faults()
        .next(1, On::watch(Kind::Event), silent);
    harness.server.cut_connections();
    harness.create("delivered");
    harness.wait_stored(2);
    harness.create("missed");
    harness.assert_complete();
    assert_eq!(harness.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn idle_position_is_renewed_before_compaction() {
    let harness = Harness::new();
    harness.create("first");
    let recorder = harness.start();
    harness.wait_stored(1);
    let position = || {
        harness
            .setup
            .number("SELECT CAST(position AS INTEGER) FROM watch_state WHERE kind = 'Event'")
    };
    // Other kinds advance the API server's resourceVersion.
    for n in 0..50 {
        let node = json!({ "metadata": { "name": format!("node-{n}") }, "status": {} });
        harness.server.store().create(Kind::Node, node).unwrap();
    }
    let now = harness.server.store().version() as i64;
    harness.wait("renewed", || position() >= Some(now));
    harness.server.compact_now();
    harness.server.restart();
    harness.create("second");
    harness.wait_stored(2);
    assert_eq!(
        harness.gaps(),
        Vec::<Value>::new(),
        "compaction did not matter"
    );
    recorder.stop().unwrap();
}

#[test]
fn unreachable_and_refusing_servers_are_reported_within_seconds() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.wait("healthy", || harness.is_healthy());
    harness.server.stop();
    harness.wait("refused", || {
        harness.degraded("watch/Event").contains("connection")
    });
    harness.server.start_again();
    harness.wait("healthy again", || harness.is_healthy());
    harness.server.access().deny_kind(Kind::Event);
    harness.server.cut_connections();
    harness.wait("forbidden", || {
        harness
            .degraded("watch/Event")
            .contains("not allowed (403)")
    });
    harness.server.access().allow_all();
    harness.create("after");
    harness.assert_complete();
    harness.wait("healthy at last", || harness.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn restored_etcd_discards_position_and_recording_continues() {
    let harness = Harness::new();
    harness.create_many("kept", 5);
    let backup = harness.server.store().version();
    harness.create_many("undone", 20);
    let recorder = harness.start();
    harness.wait_stored(25);
    harness.server.restore_backup(backup);
    // Reuses earlier resourceVersions.
    harness.create_many("other", 3);
    harness.repeat("kept.000001");
    harness.wait_stored(28);
    harness.wait("said so", || {
        harness
            .setup
            .number("SELECT count(*) FROM events WHERE title = 'API server history went back'")
            == Some(1)
    });
    let doubled = "SELECT count(*) FROM (SELECT uid FROM event WHERE uid IS NOT NULL \
                   GROUP BY uid HAVING sum(occurrences) > max(count))";
    assert_eq!(harness.setup.number(doubled), Some(0));
    recorder.stop().unwrap();
}

#[test]
fn etcd_restored_while_down_is_detected_at_start() {
    let harness = Harness::new();
    harness.create_many("kept", 5);
    let backup = harness.server.store().version();
    harness.create_many("undone", 20);
    let recorder = harness.start();
    harness.wait_stored(25);
    recorder.stop().unwrap();
    harness.server.restore_backup(backup);
    harness.create_many("other", 3);
    let recorder = harness.start();
    harness.wait_stored(28);
    recorder.stop().unwrap();
}

#[test]
fn gap_after_clock_jump_during_watch_begins_at_last_confirmation() {
    let harness = Harness::new();
    let time = ManualTime::at(Timestamp::now());
    let recorder = harness.setup.start_at(Clock::new(time.clone())).unwrap();
    harness.create("first");
    harness.wait_stored(1);
    time.jump_to(Timestamp::now().plus(Duration::from_secs(3 * 3600)));
    let confirmed = Timestamp::now();
    // A line without a pause before it does not confirm the position.
    std::thread::sleep(Duration::from_millis(300));
    harness.create("ahead");
    harness.wait_stored(2);
    recorder.stop().unwrap();
    harness.create("missed");
    harness.server.compact_now();
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    harness
        .server
        .faults()
        .next(1, On::watch(Kind::Event), gone);
    // An hour later the clock is correct.
    time.jump_to(Timestamp::now().plus(Duration::from_secs(3600)));
    let recorder = harness.setup.start_at(Clock::new(time)).unwrap();
    harness.wait("the gap is closed", || {
        let gaps = harness.gaps();
        gaps.first().is_some_and(|gap| gap["to"].is_string())
    });
    recorder.stop().unwrap();
    let gap = harness.gaps().remove(0);
    let from = Timestamp::parse(gap["from"].as_str().unwrap()).unwrap();
    let late = from.since(confirmed);
    assert!(late < Duration::from_secs(60), "{late:?} too late: {gap}");
}

#[test]
fn clock_jumps_keep_counts_and_leave_gap_not_recovered() {
    let harness = Harness::new();
    let time = ManualTime::at(Timestamp::now());
    let recorder = harness.setup.start_at(Clock::new(time.clone())).unwrap();
    harness.create("first");
    harness.wait_stored(1);
    time.jump_to(Timestamp::now().plus(Duration::from_secs(9 * 3600)));
    harness.create("future");
    harness.wait_stored(2);
    time.jump_to(Timestamp::now().minus(Duration::from_secs(40 * 86_400)));
    harness.create("past");
    harness.repeat("first");
    harness.wait_stored(3);
    harness.server.compact_now();
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    harness
        .server
        .faults()
        .next(1, On::watch(Kind::Event), gone);
    harness.server.cut_connections();
    harness.wait("the gap is closed", || {
        harness
            .gaps()
            .first()
            .is_some_and(|gap| gap["to"].is_string())
    });
    assert_eq!(
        harness.gaps()[0]["recovery"],
        "none",
        "the clocks contradict each other"
    );
    recorder.stop().unwrap();
    let counts = "SELECT group_concat(n, ' ') FROM (SELECT sum(occurrences) AS n FROM event \
                  WHERE uid IS NOT NULL GROUP BY uid ORDER BY 1)";
    assert_eq!(harness.setup.column(counts).unwrap(), ["1 1 2"]);
}

#[test]
fn several_namespaces_store_one_position_each() {
    let harness = Harness::new();
    let mut setup = harness.setup.clone();
    setup.yaml = setup
        .yaml
        .replace("kube: {", "kube: {namespaces: [shop, bank], ");
    let recorder = setup.start().unwrap();
    for namespace in ["shop", "bank", "other"] {
        let event = event(namespace, "one", 1);
        harness.server.store().create(Kind::Event, event).unwrap();
    }
    harness.wait_stored(2);
    recorder.stop().unwrap();
    let event = event("bank", "two", 1);
    harness.server.store().create(Kind::Event, event).unwrap();
    let recorder = setup.start().unwrap();
    harness.wait_stored(3);
    recorder.stop().unwrap();
    let positions =
        "SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL";
    assert_eq!(setup.number(positions), Some(2));
    assert_eq!(harness.gaps(), Vec::<Value>::new());
}

/// The watch stays open and silent, as with an API server without etcd.
#[test]
fn failed_renewal_is_reported_until_one_succeeds() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    harness.wait("healthy", || harness.is_healthy());
    let refused = Fault::Status {
        code: 500,
        retry_after: None,
    };
    let lists = On::list(Kind::Event);
    let fault = harness.server.faults().always(lists, refused);
    let named = || {
        harness
            .degraded("watch/Event")
            .contains("renewing the idle position failed")
    };
    harness.wait("named", named);
    for look in 0..50 {
        assert!(named(), "healthy again at look {look}");
    }
    harness.server.faults().clear(fault);
    harness.wait("healthy again", || harness.is_healthy());
    assert_eq!(harness.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}
