//! What an API server and the way to it can do, and clocks.

use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_model::time::Timestamp;
use kube9_tests::apiserver::{Fault, Garbage, Kind, On};
use kube9_tests::recorder::balance;
use serde_json::{Value, json};

use super::harness::{Scene, event};

#[test]
fn restart_resumes_where_it_stopped_without_a_list_or_a_gap() {
    let scene = Scene::new();
    scene.create_many("before", 20);
    let recorder = scene.start();
    scene.wait_stored(20);
    scene.wait("the watch is open", || {
        scene.server.requests().open_watches(Kind::Event) == 1
    });
    recorder.stop().unwrap();
    let lists = scene.lists();
    scene.create_many("while-down", 20);
    scene.repeat("before.000003");
    let recorder = scene.start();
    scene.assert_complete();
    assert_eq!(scene.lists(), lists, "nothing was listed again");
    assert_eq!(scene.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn first_start_on_an_empty_cluster_is_ready_and_keeps_a_position() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.wait("a position is stored", || {
        scene
            .setup
            .number("SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL AND relisting = 0")
            == Some(1)
    });
    scene.wait("healthy", || scene.is_healthy());
    scene.create("first");
    scene.assert_complete();
    recorder.stop().unwrap();
}

#[test]
fn compaction_while_down_leaves_one_healed_gap_and_nothing_doubled() {
    let scene = Scene::new();
    scene.create_many("before", 10);
    let recorder = scene.start();
    scene.wait_stored(10);
    scene.wait("the watch is open", || {
        scene.server.requests().open_watches(Kind::Event) == 1
    });
    recorder.stop().unwrap();
    scene.create_many("while-down", 10);
    scene.repeat("before.000001");
    scene.server.compact_now();
    let recorder = scene.start();
    scene.assert_complete();
    let gaps = scene.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(
        (&gaps[0]["healed"], &gaps[0]["cause"]),
        (&json!("true"), &json!("expired"))
    );
    recorder.stop().unwrap();
}

#[test]
fn gap_in_which_a_known_event_died_is_only_partly_healed() {
    let scene = Scene::new();
    scene.create_many("before", 3);
    let recorder = scene.start();
    scene.wait_stored(3);
    recorder.stop().unwrap();
    scene
        .server
        .store()
        .delete(Kind::Event, "shop", "before.000002")
        .unwrap();
    scene.create("after");
    scene.server.compact_now();
    let recorder = scene.start();
    scene.wait("the gap is closed", || {
        scene
            .gaps()
            .first()
            .is_some_and(|gap| gap["to"].is_string())
    });
    assert_eq!(scene.gaps()[0]["healed"], "partial");
    assert_eq!(scene.gaps()[0]["missing"], 1);
    recorder.stop().unwrap();
}

/// One fault at a time on a running recorder: afterwards everything is there, once, and no gap was needed.
#[test]
fn faults_of_the_connection_lose_nothing_and_need_no_list() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let watch = On::watch(Kind::Event);
    let faults = scene.server.faults();
    let mut expected = 1;
    let mut step = |what: &str, fault: &dyn Fn()| {
        scene.create(&format!("before-{expected}"));
        fault();
        scene.create_many(&format!("after-{expected}"), 12);
        scene.repeat("first");
        expected += 13;
        scene.wait(what, || scene.stored() == expected);
    };
    let status = |code, retry_after| Fault::Status { code, retry_after };
    step("cut", &|| scene.server.cut_connections());
    step("restart", &|| scene.server.restart());
    step("half a line", &|| {
        faults.next(1, watch, Fault::CutAfter { items: 5 });
        scene.server.cut_connections();
    });
    step("end in order", &|| {
        faults.next(2, watch, Fault::EndAfter { items: 2 });
        scene.server.cut_connections();
    });
    step("500", &|| {
        faults.next(2, watch, status(500, None));
        scene.server.cut_connections();
    });
    step("429", &|| {
        faults.next(1, watch, status(429, Some(1)));
        scene.server.cut_connections();
    });
    step("hang-up", &|| {
        faults.next(1, watch, Fault::Hangup);
        scene.server.cut_connections();
    });
    step("every item twice", &|| {
        faults.next(1, watch, Fault::Duplicate);
        scene.server.cut_connections();
    });
    step("garbage", &|| {
        let what = Garbage::WrongType;
        faults.next(1, watch, Fault::Garbage { items: 3, what });
        scene.server.cut_connections();
    });
    scene.assert_complete();
    assert_eq!(scene.lists(), 1, "only the first start listed");
    assert_eq!(scene.gaps(), Vec::<Value>::new());
    let skipped = "SELECT count(*) FROM events WHERE title = 'Event skipped'";
    assert_eq!(scene.setup.number(skipped), Some(1));
    scene.wait("the account is settled", || {
        balance(&scene.setup.metrics()) == Some(0.0)
    });
    recorder.stop().unwrap();
}

#[test]
fn watches_that_end_at_once_make_no_hot_loop_and_are_named() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let fault = scene
        .server
        .faults()
        .always(On::watch(Kind::Event), Fault::Empty);
    scene.server.cut_connections();
    scene.wait("named", || {
        scene
            .degraded("watch/Event")
            .contains("as soon as it has begun")
    });
    // What happens meanwhile is recorded by the lists that follow.
    scene.create("meanwhile");
    scene.wait_stored(2);
    // At 100 ms to 1 s between attempts, any span of 5 s has room for 20 attempts of 4 requests.
    let densest = scene.server.requests().densest(Duration::from_secs(5));
    assert!(densest <= 80, "{densest} requests within 5 s");
    scene.server.faults().clear(fault);
    scene.create("after");
    scene.assert_complete();
    scene.wait("healthy", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn a_410_for_every_watch_makes_no_hot_loop_of_lists() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    let fault = scene.server.faults().always(On::watch(Kind::Event), gone);
    scene.server.cut_connections();
    let begun = scene.lists();
    scene.wait("listed again and again", || scene.lists() >= begun + 4);
    let densest = scene.server.requests().densest(Duration::from_secs(5));
    assert!(densest <= 80, "{densest} requests within 5 s");
    scene.server.faults().clear(fault);
    scene.create("after");
    scene.assert_complete();
    recorder.stop().unwrap();
}

#[test]
fn silent_watch_is_noticed_by_the_renewal_and_opened_again() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let silent = Fault::SilentAfter { items: 1 };
    scene
        .server
        .faults()
        .next(1, On::watch(Kind::Event), silent);
    scene.server.cut_connections();
    scene.create("heard");
    scene.wait_stored(2);
    scene.create("unheard");
    scene.assert_complete();
    assert_eq!(scene.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn idle_position_is_renewed_past_compactions() {
    let scene = Scene::new();
    scene.create("first");
    let recorder = scene.start();
    scene.wait_stored(1);
    let position = || {
        scene
            .setup
            .number("SELECT CAST(position AS INTEGER) FROM watch_state WHERE kind = 'Event'")
    };
    // Other kinds move the API server's resourceVersion on; no Event does.
    for n in 0..50 {
        let node = json!({ "metadata": { "name": format!("node-{n}") }, "status": {} });
        scene.server.store().create(Kind::Node, node).unwrap();
    }
    let now = scene.server.store().version() as i64;
    scene.wait("renewed", || position() >= Some(now));
    scene.server.compact_now();
    scene.server.restart();
    scene.create("second");
    scene.wait_stored(2);
    assert_eq!(
        scene.gaps(),
        Vec::<Value>::new(),
        "compaction did not matter"
    );
    recorder.stop().unwrap();
}

#[test]
fn unreachable_and_refusing_servers_are_named_within_seconds() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.wait("healthy", || scene.is_healthy());
    scene.server.stop();
    scene.wait("refused", || {
        scene.degraded("watch/Event").contains("connection")
    });
    scene.server.start_again();
    scene.wait("healthy again", || scene.is_healthy());
    scene.server.access().deny_kind(Kind::Event);
    scene.server.cut_connections();
    scene.wait("forbidden", || {
        scene.degraded("watch/Event").contains("not allowed (403)")
    });
    scene.server.access().allow_all();
    scene.create("after");
    scene.assert_complete();
    scene.wait("healthy at last", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn restored_etcd_discards_the_position_and_goes_on() {
    let scene = Scene::new();
    scene.create_many("kept", 5);
    let backup = scene.server.store().version();
    scene.create_many("undone", 20);
    let recorder = scene.start();
    scene.wait_stored(25);
    scene.server.restore_backup(backup);
    // Reuses the numbers that were given out before.
    scene.create_many("other", 3);
    scene.repeat("kept.000001");
    scene.wait_stored(28);
    scene.wait("said so", || {
        scene
            .setup
            .number("SELECT count(*) FROM events WHERE title = 'API server history went back'")
            == Some(1)
    });
    let doubled = "SELECT count(*) FROM (SELECT uid FROM event WHERE uid IS NOT NULL \
                   GROUP BY uid HAVING sum(occurrences) > max(count))";
    assert_eq!(scene.setup.number(doubled), Some(0));
    recorder.stop().unwrap();
}

#[test]
fn etcd_restored_while_down_is_noticed_at_the_start() {
    let scene = Scene::new();
    scene.create_many("kept", 5);
    let backup = scene.server.store().version();
    scene.create_many("undone", 20);
    let recorder = scene.start();
    scene.wait_stored(25);
    recorder.stop().unwrap();
    scene.server.restore_backup(backup);
    scene.create_many("other", 3);
    let recorder = scene.start();
    scene.wait_stored(28);
    recorder.stop().unwrap();
}

#[test]
fn clock_that_was_ahead_during_a_watch_does_not_make_the_gap_begin_later() {
    let scene = Scene::new();
    let time = ManualTime::at(Timestamp::now());
    let recorder = scene.setup.start_at(Clock::new(time.clone())).unwrap();
    scene.create("first");
    scene.wait_stored(1);
    time.jump_to(Timestamp::now().plus(Duration::from_secs(3 * 3600)));
    let proven = Timestamp::now();
    // What follows the line before without a pause proves nothing.
    std::thread::sleep(Duration::from_millis(300));
    scene.create("ahead");
    scene.wait_stored(2);
    recorder.stop().unwrap();
    scene.create("missed");
    scene.server.compact_now();
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    scene.server.faults().next(1, On::watch(Kind::Event), gone);
    // An hour later the clock is right.
    time.jump_to(Timestamp::now().plus(Duration::from_secs(3600)));
    let recorder = scene.setup.start_at(Clock::new(time)).unwrap();
    scene.wait("the gap is closed", || {
        let gaps = scene.gaps();
        gaps.first().is_some_and(|gap| gap["to"].is_string())
    });
    recorder.stop().unwrap();
    let gap = scene.gaps().remove(0);
    let from = Timestamp::parse(gap["from"].as_str().unwrap()).unwrap();
    let late = from.since(proven);
    assert!(late < Duration::from_secs(60), "{late:?} too late: {gap}");
}

#[test]
fn clock_that_jumps_changes_no_count_and_claims_no_healing() {
    let scene = Scene::new();
    let time = ManualTime::at(Timestamp::now());
    let recorder = scene.setup.start_at(Clock::new(time.clone())).unwrap();
    scene.create("first");
    scene.wait_stored(1);
    time.jump_to(Timestamp::now().plus(Duration::from_secs(9 * 3600)));
    scene.create("future");
    scene.wait_stored(2);
    time.jump_to(Timestamp::now().minus(Duration::from_secs(40 * 86_400)));
    scene.create("past");
    scene.repeat("first");
    scene.wait_stored(3);
    scene.server.compact_now();
    let gone = Fault::Status {
        code: 410,
        retry_after: None,
    };
    scene.server.faults().next(1, On::watch(Kind::Event), gone);
    scene.server.cut_connections();
    scene.wait("the gap is closed", || {
        scene
            .gaps()
            .first()
            .is_some_and(|gap| gap["to"].is_string())
    });
    assert_eq!(
        scene.gaps()[0]["healed"],
        "false",
        "the clocks contradict each other"
    );
    recorder.stop().unwrap();
    let counts = "SELECT group_concat(n, ' ') FROM (SELECT sum(occurrences) AS n FROM event \
                  WHERE uid IS NOT NULL GROUP BY uid ORDER BY 1)";
    assert_eq!(scene.setup.column(counts).unwrap(), ["1 1 2"]);
}

#[test]
fn several_namespaces_have_a_position_each() {
    let scene = Scene::new();
    let mut setup = scene.setup.clone();
    setup.yaml = setup
        .yaml
        .replace("kube: {", "kube: {namespaces: [shop, bank], ");
    let recorder = setup.start().unwrap();
    for namespace in ["shop", "bank", "other"] {
        let event = event(namespace, "one", 1);
        scene.server.store().create(Kind::Event, event).unwrap();
    }
    scene.wait_stored(2);
    recorder.stop().unwrap();
    let event = event("bank", "two", 1);
    scene.server.store().create(Kind::Event, event).unwrap();
    let recorder = setup.start().unwrap();
    scene.wait_stored(3);
    recorder.stop().unwrap();
    let positions =
        "SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL";
    assert_eq!(setup.number(positions), Some(2));
    assert_eq!(scene.gaps(), Vec::<Value>::new());
}

/// The watch stays open and says nothing, as under an API server without etcd.
#[test]
fn renewal_that_fails_stays_named_until_one_goes_well() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    scene.wait("healthy", || scene.is_healthy());
    let refused = Fault::Status {
        code: 500,
        retry_after: None,
    };
    let lists = On::list(Kind::Event);
    let fault = scene.server.faults().always(lists, refused);
    let named = || {
        scene
            .degraded("watch/Event")
            .contains("renewing the idle position failed")
    };
    scene.wait("named", named);
    for look in 0..50 {
        assert!(named(), "healthy again at look {look}");
    }
    scene.server.faults().clear(fault);
    scene.wait("healthy again", || scene.is_healthy());
    assert_eq!(scene.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}
