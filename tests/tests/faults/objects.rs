//! Faults of object watches, on Pods: each is reported or counted, and no Pod is missed.

use std::collections::BTreeMap;

use kube9_tests::apiserver::{Fault, Garbage, Kind, On, Verb};
use kube9_tests::recorder::Recorder;
use serde_json::{Value, json};

use super::harness::Harness;

const WATCHES: On = On::watch(Kind::Pod);
const LISTS: On = On::list(Kind::Pod);

const fn status(code: u16) -> Fault {
    Fault::Status {
        code,
        retry_after: None,
    }
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop" },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "app", "image": "registry/web:1" }] },
        "status": { "phase": "Pending" },
    })
}

impl Harness {
    fn create_pods(&self, prefix: &str, number: usize) {
        for n in 0..number {
            let pod = pod(&format!("{prefix}-{n}"));
            self.server.store().create(Kind::Pod, pod).unwrap();
        }
    }

    /// Starts a recorder and waits until it watches Pods.
    fn start_on_pods(&self) -> Recorder {
        let recorder = self.start();
        self.wait_watched();
        recorder
    }

    #[track_caller]
    fn wait_watched(&self) {
        self.wait("Pods are watched", || {
            self.server.requests().open_watches(Kind::Pod) == 1
        });
    }

    /// Waits until the snapshots of `count` Pods are stored.
    #[track_caller]
    fn wait_known(&self, what: &str, pods: i64) {
        let known = "SELECT count(*) FROM object_snapshot JOIN watch_state w ON w.id = watch WHERE w.kind = 'Pod'";
        self.wait(what, || self.setup.number(known) == Some(pods));
    }

    /// Ends of the Pod watch, by cause.
    fn restarts(&self) -> BTreeMap<String, u64> {
        let metrics = self.setup.metrics();
        let of_pods = metrics.iter().filter_map(|(name, value)| {
            let labels = name.strip_prefix("kube9_watch_restarts_total{cause=\"")?;
            let cause = labels.strip_suffix("\",kind=\"Pod\"}")?;
            Some((cause.to_owned(), *value as u64))
        });
        of_pods.collect()
    }

    /// Objects that were unreadable in part or as a whole.
    fn undecoded(&self) -> u64 {
        let metrics = self.setup.metrics();
        let name = "kube9_event_errors_total{stage=\"decode\"}";
        let value = metrics.iter().find(|(full, _)| full == name);
        value.map_or(0, |(_, value)| *value as u64)
    }
}

#[test]
fn lasting_faults_are_reported_and_no_pod_is_missed() {
    let harness = Harness::new();
    let recorder = harness.start_on_pods();
    let busy = Fault::Status {
        code: 429,
        retry_after: Some(1),
    };
    let mut pods = 0;
    for (what, on, fault, words) in [
        ("429 with Retry-After", WATCHES, busy, "asks to wait 1 s"),
        ("403", WATCHES, status(403), "403"),
        (
            "every request is cut off",
            On::kind(Kind::Pod),
            Fault::Hangup,
            "connection",
        ),
        (
            "silence",
            WATCHES,
            Fault::SilentAfter { items: 0 },
            "within 11 s",
        ),
    ] {
        let rule = harness.server.faults().always(on, fault);
        harness.server.cut_connections();
        harness.create_pods(&format!("while-{pods}"), 1);
        harness.wait(what, || harness.degraded("watch/Pod").contains(words));
        harness.server.faults().clear(rule);
        // A running watch keeps its fault until it ends.
        harness.server.cut_connections();
        pods += 1;
        harness.wait_known(what, pods);
        harness.wait("healthy again", || harness.is_healthy());
    }
    // After a stall of unknown start, the recorder compares a metadata list at the position with its known objects.
    let listed = harness.server.requests().all();
    let lists = listed
        .iter()
        .filter(|r| r.what == Some((Verb::List, Kind::Pod)))
        .filter(|r| !r.target.ends_with("limit=1"))
        .filter(|r| !r.target.contains("resourceVersionMatch=Exact"));
    assert_eq!(
        lists.count(),
        1,
        "each was resumed from where the watch was"
    );
    recorder.stop().unwrap();
}

#[test]
fn forbidden_answer_of_starting_server_is_not_reported_as_missing_permission() {
    let harness = Harness::new();
    let recorder = harness.start_on_pods();
    let missing =
        "SELECT count(*) FROM events WHERE title LIKE 'Permission to watch Pods is missing since%'";
    // The server answers 403 for one to three seconds, until it has loaded its roles.
    harness
        .server
        .faults()
        .next(3, On::kind(Kind::Pod), status(403));
    harness.server.cut_connections();
    harness.wait("it is counted", || {
        harness.restarts().get("forbidden") == Some(&3)
    });
    harness.create_pods("after", 1);
    harness.wait_known("the pod made afterwards", 1);
    assert_eq!(harness.setup.number(missing), Some(0));
    // A missing permission is refused for longer.
    let rule = harness
        .server
        .faults()
        .always(On::kind(Kind::Pod), status(403));
    harness.server.cut_connections();
    harness.wait("it is said", || harness.setup.number(missing) == Some(1));
    harness.server.faults().clear(rule);
    recorder.stop().unwrap();
}

#[test]
fn object_watches_that_end_immediately_cause_no_hot_loop() {
    let expired = Fault::ErrorAfter {
        items: 0,
        code: 410,
    };
    let undecodable = Fault::Garbage {
        items: 0,
        what: Garbage::NotAnObject,
    };
    for (cause, faults) in [
        ("empty_stream", vec![Fault::Empty]),
        ("gone", vec![expired]),
        ("closed", vec![undecodable, Fault::EndAfter { items: 0 }]),
    ] {
        let harness = Harness::new();
        let recorder = harness.start_on_pods();
        let rules = faults
            .into_iter()
            .map(|fault| harness.server.faults().always(WATCHES, fault));
        let rules: Vec<_> = rules.collect();
        harness.server.cut_connections();
        let before = harness.server.requests().mark();
        harness.wait(cause, || {
            harness.restarts().get(cause).is_some_and(|ends| *ends >= 5)
        });
        // The back-off grows from 100 ms to a second: five waits take longer than one second.
        let requests = harness.server.requests().since(before);
        let watches = requests
            .iter()
            .filter(|request| request.what == Some((Verb::Watch, Kind::Pod)))
            .count();
        assert!(watches < 20, "{cause}: {watches} watches");
        harness.create_pods("meanwhile", 1);
        rules
            .into_iter()
            .for_each(|rule| harness.server.faults().clear(rule));
        harness.wait_known("the pod of the meantime", 1);
        recorder.stop().unwrap();
    }
}

#[test]
fn object_position_expired_in_stream_causes_relist() {
    let harness = Harness::new();
    let recorder = harness.start_on_pods();
    let gone = Fault::ErrorAfter {
        items: 0,
        code: 410,
    };
    harness.server.faults().next(1, WATCHES, gone);
    harness.server.cut_connections();
    harness.create_pods("meanwhile", 2);
    harness.wait("it is counted", || harness.restarts()["gone"] == 1);
    harness.wait("Pods are listed again", || harness.lists_of(Kind::Pod) == 2);
    harness.wait_known("both pods", 2);
    recorder.stop().unwrap();
}

#[test]
fn object_list_with_expired_token_restarts() {
    let harness = Harness::new();
    harness.create_pods("many", 120);
    let second_page = On {
        continued: Some(true),
        ..LISTS
    };
    harness.server.faults().next(1, second_page, status(410));
    let recorder = harness.start_on_pods();
    harness.wait_known("every pod, once", 120);
    assert_eq!(harness.restarts()["gone"], 1);
    recorder.stop().unwrap();
}

#[test]
fn unreadable_objects_are_counted_and_others_recorded() {
    let harness = Harness::new();
    harness.create_pods("listed", 2);
    let garbage = Fault::Garbage {
        items: 1,
        what: Garbage::WrongType,
    };
    harness.server.faults().next(1, LISTS, garbage);
    let recorder = harness.start_on_pods();
    harness.wait_known("those that can be read", 2);
    harness.wait("the other is counted", || harness.undecoded() == 1);
    for what in [Garbage::WrongType, Garbage::NotAnObject, Garbage::NotJson] {
        let before = harness.undecoded();
        let garbage = Fault::Garbage { items: 0, what };
        harness.server.faults().next(1, WATCHES, garbage);
        harness.server.cut_connections();
        harness.wait(&format!("{what:?} is counted"), || {
            harness.undecoded() > before
        });
    }
    harness.create_pods("later", 1);
    harness.wait_known("what comes after them", 3);
    recorder.stop().unwrap();
}

#[test]
fn oversized_object_is_skipped_and_watch_continues() {
    let harness = Harness::new();
    let recorder = harness.start_on_pods();
    let head = br#""metadata":{"name":"huge","namespace":"shop","uid":"u","resourceVersion":"{version}"},"spec":""#;
    let mut body = head.to_vec();
    body.resize(5 << 20, b'x');
    body.extend_from_slice(b"\"}");
    harness
        .server
        .store()
        .poison(Kind::Pod, "shop", "huge", &body);
    harness.create_pods("after", 1);
    harness.wait_known("the next pod", 1);
    assert_eq!(harness.undecoded(), 1);
    recorder.stop().unwrap();
}
