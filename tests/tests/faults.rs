//! The whole recorder against the simulated API server: each fault by name, and what is in the database afterwards.
//!
//! Nothing waits for a fixed time: tests wait for conditions, and [`PATIENCE`] only bounds a failure.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::fs;
use std::time::Duration;

use kube9_recorder::clock::{Clock, ManualTime};
use kube9_shared::time::Timestamp;
use kube9_tests::apiserver::{ApiServer, Config, Fault, Garbage, Kind, On, Verb};
use kube9_tests::clock::Micros;
use kube9_tests::recorder::{PATIENCE, Recorder, Setup, balance, wait_until};
use kube9_tests::torture::{Deaths, compare, wait_for_the_rest};
use serde_json::{Value, json};

struct Scene {
    server: ApiServer,
    folder: tempfile::TempDir,
    setup: Setup,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    /// `more`: further sections of the configuration.
    fn with(more: &str) -> Self {
        let server = ApiServer::start(Config {
            compaction_interval: None,
            ..Config::default()
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&server, folder.path(), more).unwrap();
        Self {
            server,
            folder,
            setup,
        }
    }

    fn start(&self) -> Recorder {
        self.setup.start().unwrap()
    }

    fn create(&self, name: &str) {
        self.server
            .store()
            .create(Kind::Event, event("shop", name, 1))
            .unwrap();
    }

    fn create_many(&self, prefix: &str, number: usize) {
        for n in 0..number {
            self.create(&format!("{prefix}.{n:06}"));
        }
    }

    fn repeat(&self, name: &str) {
        let change = |event: &mut Value| {
            event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(Micros::now().seconds_text().to_string());
        };
        self.server
            .store()
            .modify(Kind::Event, "shop", name, change)
            .unwrap();
    }

    /// Waits until the database holds what the API server holds, then compares all of it.
    fn assert_complete(&self) {
        wait_for_the_rest(&self.server, &self.setup, || true);
        let truth = self.server.store().truth();
        let verdict = compare(&truth, &Deaths::new(), &self.setup).unwrap();
        assert!(verdict.is_clean(), "{verdict}");
    }

    #[track_caller]
    fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            wait_until(condition),
            "not within {} s: {what}; health {:?}",
            PATIENCE.as_secs(),
            self.setup.health()
        );
    }

    #[track_caller]
    fn wait_stored(&self, events: i64) {
        self.wait("that many Events are stored", || self.stored() == events);
    }

    fn stored(&self) -> i64 {
        self.setup
            .number("SELECT count(DISTINCT uid) FROM event")
            .unwrap_or(-1)
    }

    /// The message of the check that is degraded; empty while all is well or nobody answers.
    fn degraded(&self, check: &str) -> String {
        let Some((503, health)) = self.setup.health() else {
            return String::new();
        };
        message(&health, check)
    }

    fn is_healthy(&self) -> bool {
        matches!(self.setup.health(), Some((200, _)))
    }

    fn gaps(&self) -> Vec<Value> {
        self.setup
            .column("SELECT metadata FROM events WHERE title = 'Recording gap' AND metadata ->> 'source' = 'Event' ORDER BY id")
            .unwrap_or_default()
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .collect()
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.setup.metrics();
        metrics
            .iter()
            .filter(|(full, _)| full.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    }

    /// Whole lists begun so far, the cheap ones of one item not counted.
    fn lists(&self) -> usize {
        let requests = self.server.requests().all();
        requests
            .iter()
            .filter(|r| {
                r.what == Some((Verb::List, Kind::Event))
                    && !r.target.contains("continue=")
                    && !r.target.ends_with("limit=1")
            })
            .count()
    }
}

fn message(health: &Value, check: &str) -> String {
    let checks = health["checks"].clone();
    let found = match &checks {
        Value::Object(map) => map.get(check).cloned(),
        Value::Array(list) => list.iter().find(|c| c["name"] == check).cloned(),
        _ => None,
    };
    found
        .map(|check| check["message"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

fn event(namespace: &str, name: &str, count: i64) -> Value {
    let now = Micros::now().seconds_text().to_string();
    json!({
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": { "kind": "Pod", "namespace": namespace, "name": "web-1" },
        "reason": "BackOff", "type": "Warning",
        "message": "Back-off restarting failed container app in pod web-1_shop",
        "source": { "component": "kubelet", "host": "node-1" },
        "count": count, "firstTimestamp": now, "lastTimestamp": now,
    })
}

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
    let set_aside = "SELECT count(*) FROM events WHERE title = 'Event set aside'";
    assert_eq!(scene.setup.number(set_aside), Some(1));
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
fn burst_far_beyond_the_queue_loses_nothing() {
    burst(20_000);
}

#[test]
#[ignore = "takes minutes in a debug build"]
fn burst_of_a_hundred_thousand_loses_nothing() {
    burst(100_000);
}

fn burst(events: usize) {
    let scene = Scene::with("");
    let recorder = scene.start();
    scene.wait("ready", || scene.is_healthy());
    scene.create_many("burst", events);
    scene.wait_stored(events as i64);
    assert_eq!(scene.metric("kube9_events_dropped_total"), 0.0);
    recorder.stop().unwrap();
    scene.assert_complete();
}

#[test]
fn database_that_stands_still_is_named_and_loses_nothing() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let holder = scene.setup.hold_the_database().unwrap();
    scene.create_many("meanwhile", 3_000);
    scene.wait("named", || {
        scene.degraded("database").contains("database is locked")
    });
    let (items, capacity) = (
        scene.metric("kube9_events_queue_size"),
        scene.metric("kube9_queue_capacity"),
    );
    assert!(items <= capacity, "{items} of {capacity}");
    drop(holder);
    scene.wait_stored(3_001);
    scene.assert_complete();
    scene.wait("healthy", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn removed_and_replaced_files_are_noticed_and_nothing_living_is_lost() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create_many("first", 10);
    scene.wait_stored(10);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", scene.setup.database().display())).unwrap();
        scene.wait("the log is there again", || {
            fs::exists(format!("{}{suffix}", scene.setup.database().display())).unwrap()
        });
        scene.create(&format!("after{suffix}"));
        scene.wait("stored where readers look", || {
            scene.number_named(&format!("after{suffix}")) == 1
        });
    }
    fs::remove_file(scene.setup.database()).unwrap();
    scene.wait_stored(12);
    scene.wait("said so", || {
        scene
            .setup
            .number("SELECT count(*) FROM events WHERE title = 'Database was damaged'")
            == Some(1)
    });
    recorder.stop().unwrap();
}

impl Scene {
    fn number_named(&self, name: &str) -> i64 {
        let truth = self.server.store().truth();
        let uid = truth
            .events
            .values()
            .find(|event| event.name == name)
            .map(|event| event.uid.clone())
            .unwrap();
        let sql =
            format!("SELECT count(*) FROM events WHERE json_extract(metadata, '$.uid') = '{uid}'");
        self.setup.number(&sql).unwrap_or(-1)
    }

    fn damage(&self, from: usize, to: usize) {
        let path = self.setup.database();
        let mut bytes = fs::read(&path).unwrap();
        let to = to.min(bytes.len());
        bytes[from..to].fill(0x5a);
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn damaged_file_at_start_is_moved_aside_and_the_cluster_recorded_anew() {
    for (from, to) in [(0, 100), (4_096, 400_000)] {
        let scene = Scene::new();
        let recorder = scene.start();
        scene.create_many("before", 50);
        scene.wait_stored(50);
        recorder.stop().unwrap();
        scene.damage(from, to);
        let recorder = scene.start();
        scene.create("after");
        scene.wait_stored(51);
        let aside = scene.folder.path().join("data").join("kube9.db.corrupt");
        assert!(aside.exists());
        let said = "SELECT count(*) FROM events WHERE severity = 'critical' AND title = 'Database was damaged'";
        scene.wait("said so", || scene.setup.number(said) == Some(1));
        scene.assert_complete();
        recorder.stop().unwrap();
    }
}

#[test]
fn log_torn_at_any_byte_is_recovered_and_resumed_from() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create_many("before", 30);
    scene.wait_stored(30);
    scene.repeat("before.000007");
    scene.wait("repeated", || {
        scene.setup.number("SELECT max(count) FROM event") == Some(2)
    });
    // As a kill leaves it: the database, its log, no clean close.
    let path = scene.setup.database();
    let (main, log) = (
        fs::read(&path).unwrap(),
        fs::read(format!("{}-wal", path.display())).unwrap(),
    );
    recorder.stop().unwrap();
    assert!(log.len() > 10_000, "the log is a real one");
    for part in 0..12 {
        let end = log.len() * part / 11;
        fs::write(&path, &main).unwrap();
        fs::write(format!("{}-wal", path.display()), &log[..end]).unwrap();
        drop(fs::remove_file(format!("{}-shm", path.display())));
        let recorder = scene.start();
        scene.assert_complete();
        recorder.stop().unwrap();
    }
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

#[test]
fn second_recorder_is_refused_and_the_first_goes_on() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let mut other = scene.setup.clone();
    other.listen = kube9_tests::recorder::free_address().unwrap();
    other.yaml = other
        .yaml
        .replace(&scene.setup.listen.to_string(), &other.listen.to_string());
    let second = other.start().unwrap();
    scene.wait("the second gives up", || second.has_ended());
    let error = format!("{:#}", second.stop().unwrap_err());
    assert!(error.contains("another recorder holds"), "{error}");
    scene.create("second");
    scene.wait_stored(2);
    recorder.stop().unwrap();
}

#[test]
fn start_waits_for_a_disk_that_cannot_be_written() {
    let scene = Scene::new();
    // A file where the directory belongs: no permission trick that root would walk through.
    fs::write(scene.folder.path().join("data"), "in the way").unwrap();
    let recorder = scene.start();
    scene.create("early");
    scene.wait("named", || !scene.degraded("start").is_empty());
    assert!(!recorder.has_ended());
    fs::remove_file(scene.folder.path().join("data")).unwrap();
    scene.wait_stored(1);
    scene.wait("healthy", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn stop_while_the_database_stands_still_ends_in_time_and_loses_nothing() {
    let scene = Scene::with("");
    let mut setup = scene.setup.clone();
    setup.yaml = setup
        .yaml
        .replace("shutdown_grace: 10s", "shutdown_grace: 1s");
    let recorder = setup.start().unwrap();
    scene.create("first");
    scene.wait_stored(1);
    let holder = scene.setup.hold_the_database().unwrap();
    scene.create_many("uncommitted", 50);
    scene.wait("received", || {
        scene.metric("kube9_events_received_total") >= 51.0
    });
    let error = format!("{:#}", recorder.stop().unwrap_err());
    assert!(error.contains("come") && error.contains("again"), "{error}");
    drop(holder);
    let recorder = scene.start();
    scene.assert_complete();
    assert_eq!(scene.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn row_that_the_database_refuses_is_set_aside_alone() {
    let scene = Scene::new();
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let rules = scene.setup.open_for_writing().unwrap();
    rules
        .execute_batch(
            "CREATE TRIGGER bad BEFORE INSERT ON event WHEN NEW.count = 666 BEGIN SELECT RAISE(ABORT, 'no'); END; \
             CREATE TRIGGER stub BEFORE INSERT ON event WHEN NEW.type = 5 BEGIN SELECT RAISE(ABORT, 'no stub'); END;",
        )
        .unwrap();
    scene.create_many("before", 30);
    let bad = event("shop", "bad", 666);
    scene.server.store().create(Kind::Event, bad).unwrap();
    scene.create_many("behind", 30);
    // Neither the row nor its stub can be written: the batch waits, and what of it was written stays so.
    scene.wait("named", || scene.degraded("database").contains("no stub"));
    rules.execute_batch("DROP TRIGGER stub").unwrap();
    scene.wait_stored(61);
    let set_aside = "SELECT count(*) FROM events WHERE title = 'Event set aside'";
    scene.wait("set aside", || scene.setup.number(set_aside) == Some(1));
    scene.wait("every Event has one outcome", || {
        balance(&scene.setup.metrics()) == Some(0.0)
    });
    recorder.stop().unwrap();
    let sums = "SELECT count(*) || ' ' || sum(occurrences) FROM event WHERE type = 0";
    assert_eq!(scene.setup.column(sums).unwrap(), ["61 61"]);
}

/// Only root may mount, and a container may not let it.
fn small_disk(at: &std::path::Path) -> Option<SmallDisk> {
    fs::create_dir_all(at).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(at)
        .stderr(std::process::Stdio::null())
        .status();
    mounted
        .is_ok_and(|status| status.success())
        .then(|| SmallDisk(at.to_owned()))
}

struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        let status = std::process::Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn full_disk_is_named_kills_nothing_and_heals() {
    let scene = Scene::new();
    let Some(disk) = small_disk(&scene.folder.path().join("data")) else {
        return skipped("a tmpfs cannot be mounted here");
    };
    let recorder = scene.start();
    scene.create("first");
    scene.wait_stored(1);
    let filler = disk.0.join("filler");
    // Fills the disk to the last byte.
    assert!(fs::write(&filler, vec![1; 4 << 20]).is_err());
    scene.create_many("meanwhile", 5_000);
    scene.wait("named", || scene.degraded("database").contains("full"));
    assert!(!recorder.has_ended());
    fs::remove_file(&filler).unwrap();
    assert!(disk.remount("size=64m"));
    scene.wait_stored(5_001);
    scene.assert_complete();
    scene.wait("healthy", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn start_on_a_full_or_read_only_disk_comes_up_degraded_and_heals() {
    let scene = Scene::new();
    let Some(disk) = small_disk(&scene.folder.path().join("data")) else {
        return skipped("a tmpfs cannot be mounted here");
    };
    scene.create("first");
    assert!(disk.remount("ro"));
    let recorder = scene.start();
    scene.wait("named", || !scene.degraded("start").is_empty());
    assert!(!recorder.has_ended());
    assert!(disk.remount("rw"));
    scene.wait_stored(1);
    recorder.stop().unwrap();

    let filler = disk.0.join("filler");
    assert!(fs::write(&filler, vec![1; 4 << 20]).is_err());
    scene.create("second");
    let recorder = scene.start();
    scene.wait("named", || matches!(scene.setup.health(), Some((503, _))));
    assert!(!recorder.has_ended());
    fs::remove_file(&filler).unwrap();
    scene.wait_stored(2);
    scene.wait("healthy", || scene.is_healthy());
    recorder.stop().unwrap();
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
