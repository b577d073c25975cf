//! The simulated API server behaves as the real one, and misbehaves as told.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use kube9_tests::apiserver::{ApiServer, Config, Denied, Fault, Garbage, Kind, On, Outcome, Verb};
use kube9_tests::client::{Answer, Client, Lines};
use serde_json::{Value, json};

fn start() -> (ApiServer, Client) {
    start_with(Config {
        compaction_interval: None,
        ..Config::default()
    })
}

fn start_with(config: Config) -> (ApiServer, Client) {
    let server = ApiServer::start(config).unwrap();
    let client = Client::new(&server.url(), server.token());
    (server, client)
}

fn event(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": { "name": name, "namespace": namespace },
        "involvedObject": { "kind": "Pod", "namespace": namespace, "name": "a" },
        "reason": "Started", "message": "Container started", "type": "Normal", "count": 1,
    })
}

fn node(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "status": {} })
}

fn fill(server: &ApiServer, events: usize) {
    for i in 0..events {
        server
            .store()
            .create(Kind::Event, event("shop", &format!("e.{i:06}")))
            .unwrap();
    }
}

fn names(list: &Answer) -> Vec<String> {
    let items = list.json()["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn version(list: &Answer) -> u64 {
    list.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn token(list: &Answer) -> String {
    list.json()["metadata"]["continue"]
        .as_str()
        .unwrap_or("")
        .to_owned()
}

/// Type and name of the next watch event.
fn next(lines: &mut Lines) -> (String, String) {
    let line = lines.next_json().unwrap().expect("the watch goes on");
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    (
        text(&line["type"]),
        text(&line["object"]["metadata"]["name"]),
    )
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[test]
fn pages_show_one_snapshot_and_every_item_once() {
    let (server, client) = start();
    fill(&server, 10);
    let first = client.get("/api/v1/events?limit=4").unwrap();
    assert_eq!(first.json()["metadata"]["remainingItemCount"], 6);
    // None of this may show in the pages that follow.
    server
        .store()
        .create(Kind::Event, event("shop", "e.000004b"))
        .unwrap();
    server
        .store()
        .delete(Kind::Event, "shop", "e.000008")
        .unwrap();
    let mut seen = names(&first);
    let mut next = token(&first);
    while !next.is_empty() {
        let page = client
            .get(&format!("/api/v1/events?limit=4&continue={next}"))
            .unwrap();
        assert_eq!(version(&page), version(&first));
        seen.extend(names(&page));
        next = token(&page);
    }
    assert_eq!(
        seen,
        (0..10).map(|i| format!("e.{i:06}")).collect::<Vec<_>>()
    );
}

#[test]
fn a_token_expires_with_compaction_and_the_fresh_one_goes_on() {
    let (server, client) = start();
    fill(&server, 6);
    let first = client.get("/api/v1/events?limit=2").unwrap();
    server
        .store()
        .delete(Kind::Event, "shop", "e.000003")
        .unwrap();
    server.compact_now();
    let expired = client
        .get(&format!(
            "/api/v1/events?limit=2&continue={}",
            token(&first)
        ))
        .unwrap();
    assert_eq!(
        (expired.code, expired.json()["reason"].as_str()),
        (410, Some("Expired"))
    );
    let rest = client
        .get(&format!(
            "/api/v1/events?limit=9&continue={}",
            token(&expired)
        ))
        .unwrap();
    assert_eq!(names(&rest), ["e.000002", "e.000004", "e.000005"]);
}

#[test]
fn a_list_at_an_old_version_is_exact_until_compacted() {
    let (server, client) = start();
    fill(&server, 2);
    let old = server.store().version();
    server
        .store()
        .delete(Kind::Event, "shop", "e.000000")
        .unwrap();
    let target = format!("/api/v1/events?resourceVersion={old}&resourceVersionMatch=Exact");
    assert_eq!(
        names(&client.get(&target).unwrap()),
        ["e.000000", "e.000001"]
    );
    server.compact_now();
    assert_eq!(client.get(&target).unwrap().code, 410);
    let future = client.get("/api/v1/events?resourceVersion=999999").unwrap();
    assert_eq!(
        (future.code, future.json()["reason"].as_str()),
        (504, Some("Timeout"))
    );
}

#[test]
fn lists_keep_to_their_namespace_and_kind() {
    let (server, client) = start();
    server
        .store()
        .create(Kind::Event, event("shop", "a"))
        .unwrap();
    server
        .store()
        .create(Kind::Event, event("shop-2", "b"))
        .unwrap();
    server.store().create(Kind::Node, node("n1")).unwrap();
    assert_eq!(
        names(&client.get("/api/v1/namespaces/shop/events").unwrap()),
        ["a"]
    );
    assert_eq!(names(&client.get("/api/v1/nodes").unwrap()), ["n1"]);
    // As etcd sorts keys: `shop-2/` stands before `shop/`.
    assert_eq!(names(&client.get("/api/v1/events").unwrap()), ["b", "a"]);
    assert_eq!(
        names(
            &client
                .get("/api/v1/events?fieldSelector=metadata.name%3Db")
                .unwrap()
        ),
        ["b"]
    );
}

#[test]
fn a_metadata_list_carries_no_content() {
    let (server, client) = start();
    fill(&server, 1);
    let accept = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    )];
    let list = client
        .send("GET", "/api/v1/events", &accept, b"")
        .unwrap()
        .json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let item = list["items"][0].as_object().unwrap();
    assert_eq!(
        item.keys().collect::<Vec<_>>(),
        ["kind", "apiVersion", "metadata"]
    );
    assert_eq!(item["metadata"]["name"], "e.000000");
}

#[test]
fn a_watch_resumes_exactly_behind_its_version() {
    let (server, client) = start();
    fill(&server, 3);
    let from = server
        .store()
        .get(Kind::Event, "shop", "e.000000")
        .unwrap()
        .version;
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "e.000001"));
    assert_eq!(next(&mut watch), pair("ADDED", "e.000002"));
    server
        .store()
        .modify(Kind::Event, "shop", "e.000000", |e| e["count"] = json!(2))
        .unwrap();
    assert_eq!(next(&mut watch), pair("MODIFIED", "e.000000"));
    let gone = server
        .store()
        .delete(Kind::Event, "shop", "e.000001")
        .unwrap();
    let line = watch.next_json().unwrap().unwrap();
    assert_eq!(line["type"], "DELETED");
    assert_eq!(
        line["object"]["metadata"]["resourceVersion"],
        gone.version.to_string()
    );
}

#[test]
fn a_watch_without_a_version_begins_with_what_there_is() {
    let (server, client) = start();
    fill(&server, 2);
    let mut watch = client
        .follow("/api/v1/namespaces/shop/events?watch=true")
        .unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "e.000000"));
    assert_eq!(next(&mut watch), pair("ADDED", "e.000001"));
    server
        .store()
        .create(Kind::Event, event("elsewhere", "x"))
        .unwrap();
    server
        .store()
        .create(Kind::Event, event("shop", "y"))
        .unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "y"));
}

#[test]
fn a_watch_from_before_the_compaction_gets_410_in_the_stream() {
    let (server, client) = start();
    fill(&server, 5);
    let old = server.store().version() - 3;
    server.compact_now();
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={old}"))
        .unwrap();
    assert_eq!(watch.code, 200);
    let line = watch.next_json().unwrap().unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert!(
        watch.next_line().unwrap().is_none(),
        "it ends behind the error"
    );
}

#[test]
fn a_running_watch_of_events_outlives_compaction() {
    let (server, client) = start();
    fill(&server, 1);
    let from = server.store().version();
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    for i in 0..50 {
        server
            .store()
            .create(Kind::Node, node(&format!("n{i}")))
            .unwrap();
    }
    // The watch must have seen those before the compaction takes them: as with etcd, whose watch is then in step.
    while server.requests().open_watches(Kind::Event) == 0 {}
    std::thread::sleep(Duration::from_millis(50));
    server.compact_now();
    server
        .store()
        .create(Kind::Event, event("shop", "later"))
        .unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "later"));
}

#[test]
fn a_watch_from_the_future_is_silent() {
    let (server, client) = start();
    let client = client.patient_for(Duration::from_millis(300));
    let future = server.store().version() + 5;
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={future}"))
        .unwrap();
    fill(&server, 5);
    let silent = watch.next_line().unwrap_err();
    assert!(
        matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{silent}"
    );
}

#[test]
fn bookmarks_come_for_cached_kinds_and_never_for_events() {
    let interval = Duration::from_millis(30);
    let (server, client) = start_with(Config {
        bookmark_interval: interval,
        ..Config::default()
    });
    let from = server.store().version();
    let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={from}");
    let mut nodes = client.follow(&format!("/api/v1/nodes?{query}")).unwrap();
    assert_eq!(next(&mut nodes).0, "BOOKMARK");
    let mut events = client.follow(&format!("/api/v1/events?{query}")).unwrap();
    assert!(events.next_line().unwrap().is_none());
}

#[test]
fn a_watch_ends_properly_at_its_timeout() {
    let (_server, client) = start();
    let mut watch = client
        .follow("/api/v1/events?watch=1&timeoutSeconds=1")
        .unwrap();
    assert!(watch.next_line().unwrap().is_none());
}

#[test]
fn initial_events_end_with_the_marked_bookmark_and_old_servers_refuse() {
    let target = "/api/v1/events?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let (server, client) = start();
    fill(&server, 1);
    let mut watch = client.follow(target).unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "e.000000"));
    let line = watch.next_json().unwrap().unwrap();
    assert_eq!(
        line["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    let (_old, client) = start_with(Config {
        watch_list: false,
        ..Config::default()
    });
    assert_eq!(client.get(target).unwrap().code, 422);
}

#[test]
fn clients_create_fold_and_delete_events_over_http() {
    let (server, client) = start();
    let json_type = [("content-type", "application/json")];
    let collection = "/api/v1/namespaces/shop/events";
    let body = event("shop", "a.1").to_string();
    let created = client
        .send("POST", collection, &json_type, body.as_bytes())
        .unwrap();
    assert_eq!(created.code, 201);
    let uid = created.json()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        client
            .send("POST", collection, &json_type, body.as_bytes())
            .unwrap()
            .code,
        409
    );
    let one = format!("{collection}/a.1");
    let merge = [("content-type", "application/strategic-merge-patch+json")];
    let patched = client
        .send("PATCH", &one, &merge, br#"{"count":3}"#)
        .unwrap()
        .json();
    assert_eq!(
        (&patched["count"], &patched["metadata"]["uid"]),
        (&json!(3), &json!(uid))
    );
    assert_eq!(client.send("DELETE", &one, &[], b"").unwrap().code, 200);
    assert_eq!(client.get(&one).unwrap().code, 404);
    let truth = server.store().truth();
    let event = &truth.events[&uid];
    assert_eq!(
        (event.count, event.versions.len(), event.deleted.is_some()),
        (3, 2, true)
    );
}

#[test]
fn events_expire_after_their_ttl_and_an_update_renews_it() {
    let (server, client) = start();
    server.store().set_event_ttl(Duration::from_millis(1));
    fill(&server, 1);
    server.store().set_event_ttl(Duration::from_secs(3600));
    server
        .store()
        .create(Kind::Event, event("shop", "stays"))
        .unwrap();
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&pair("DELETED", "e.000000")) {
        seen.push(next(&mut watch));
    }
    assert_eq!(names(&client.get("/api/v1/events").unwrap()), ["stays"]);
    assert_eq!(
        server.store().truth().events.len(),
        2,
        "the truth remembers what expired"
    );
}

#[test]
fn requests_without_the_token_are_refused() {
    let (server, _client) = start();
    assert_eq!(
        Client::new(&server.url(), None)
            .get("/api/v1/events")
            .unwrap()
            .code,
        401
    );
    assert_eq!(
        Client::new(&server.url(), Some("other"))
            .get("/version")
            .unwrap()
            .code,
        401
    );
}

#[test]
fn what_access_denies_is_403_and_the_review_says_so() {
    let (server, client) = start();
    server.access().deny(Denied {
        verb: None,
        kind: Some(Kind::Pod),
        cluster_wide_only: true,
    });
    let refused = client.get("/api/v1/pods").unwrap();
    assert_eq!(
        (refused.code, refused.json()["reason"].as_str()),
        (403, Some("Forbidden"))
    );
    assert_eq!(
        client.get("/api/v1/namespaces/shop/pods").unwrap().code,
        200
    );
    let review = |resource: &str| {
        let body =
            json!({ "spec": { "resourceAttributes": { "verb": "watch", "resource": resource } } });
        let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = client
            .send("POST", target, &[], body.to_string().as_bytes())
            .unwrap();
        answer.json()["status"]["allowed"].as_bool().unwrap()
    };
    assert!(!review("pods"));
    assert!(review("events"));
    server.access().allow_all();
    assert!(review("pods"));
}

#[test]
fn a_planned_status_is_met_exactly_so_often() {
    let (server, client) = start();
    let fault = Fault::Status {
        code: 429,
        retry_after: Some(7),
    };
    server.faults().next(2, On::list(Kind::Event), fault);
    assert_eq!(
        client.get("/api/v1/nodes").unwrap().code,
        200,
        "another kind does not meet it"
    );
    let refused = client.get("/api/v1/events").unwrap();
    assert_eq!(
        (refused.code, refused.header("retry-after")),
        (429, Some("7"))
    );
    assert_eq!(client.get("/api/v1/events").unwrap().code, 429);
    assert_eq!(client.get("/api/v1/events").unwrap().code, 200);
    assert_eq!(server.faults().pending(), 0);
}

#[test]
fn a_fault_until_cleared_stays_until_cleared() {
    let (server, client) = start();
    let fault = server.faults().always(
        On::ANY,
        Fault::Status {
            code: 503,
            retry_after: None,
        },
    );
    for _ in 0..3 {
        assert_eq!(client.get("/api/v1/events").unwrap().code, 503);
    }
    assert_eq!(server.faults().met(fault), Some(3));
    server.faults().clear(fault);
    assert_eq!(client.get("/api/v1/events").unwrap().code, 200);
}

#[test]
fn a_stopped_server_refuses_and_comes_back_on_its_port() {
    let (server, client) = start();
    fill(&server, 1);
    server.stop();
    assert_eq!(
        client.get("/version").unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    server.start_again();
    assert_eq!(names(&client.get("/api/v1/events").unwrap()), ["e.000000"]);
}

#[test]
fn a_restart_breaks_watches_and_only_events_resume() {
    let (server, client) = start();
    let from = server.store().version();
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    fill(&server, 1);
    assert_eq!(next(&mut watch), pair("ADDED", "e.000000"));
    server.restart();
    assert_eq!(
        watch.next_line().unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    let mut events = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    assert_eq!(next(&mut events), pair("ADDED", "e.000000"));
    let mut nodes = client
        .follow(&format!("/api/v1/nodes?watch=1&resourceVersion={from}"))
        .unwrap();
    assert_eq!(next(&mut nodes).0, "ERROR");
}

#[test]
fn a_cut_leaves_half_a_line() {
    let (server, client) = start();
    fill(&server, 3);
    server
        .faults()
        .next(1, On::watch(Kind::Event), Fault::CutAfter { items: 1 });
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    assert_eq!(next(&mut watch), pair("ADDED", "e.000000"));
    assert_eq!(
        watch.next_line().unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    server
        .faults()
        .next(1, On::list(Kind::Event), Fault::CutAfter { items: 2 });
    assert_eq!(
        client.get("/api/v1/events").unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
}

#[test]
fn a_watch_can_fall_silent_and_a_request_can_stay_unanswered() {
    let (server, client) = start();
    let client = client.patient_for(Duration::from_millis(200));
    fill(&server, 3);
    server
        .faults()
        .next(1, On::watch(Kind::Event), Fault::SilentAfter { items: 2 });
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    next(&mut watch);
    next(&mut watch);
    let silent =
        |e: std::io::Error| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(silent(watch.next_line().unwrap_err()));
    server
        .faults()
        .next(1, On::verb(Verb::List), Fault::Silence);
    assert!(silent(client.get("/api/v1/events").unwrap_err()));
}

#[test]
fn frozen_watches_say_all_when_they_thaw() {
    let (server, client) = start();
    server.freeze_watches();
    let from = server.store().version();
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    fill(&server, 2);
    server.thaw_watches();
    assert_eq!(next(&mut watch), pair("ADDED", "e.000000"));
    assert_eq!(next(&mut watch), pair("ADDED", "e.000001"));
}

#[test]
fn an_empty_watch_ends_at_once_and_an_error_can_come_in_the_stream() {
    let (server, client) = start();
    server
        .faults()
        .next(1, On::watch(Kind::Event), Fault::Empty);
    server.faults().next(
        1,
        On::watch(Kind::Event),
        Fault::ErrorAfter {
            items: 0,
            code: 500,
        },
    );
    let target = "/api/v1/events?watch=1&resourceVersion=1";
    let mut empty = client.follow(target).unwrap();
    assert_eq!((empty.code, empty.next_line().unwrap()), (200, None));
    let mut failing = client.follow(target).unwrap();
    let line = failing.next_json().unwrap().unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["code"]),
        (&json!("ERROR"), &json!(500))
    );
}

#[test]
fn garbage_comes_between_good_items() {
    let (server, client) = start();
    fill(&server, 2);
    for what in [
        Garbage::WrongType,
        Garbage::NotAnObject,
        Garbage::NotJson,
        Garbage::NotUtf8,
    ] {
        server
            .faults()
            .next(1, On::watch(Kind::Event), Fault::Garbage { items: 1, what });
        let mut watch = client
            .follow("/api/v1/events?watch=1&resourceVersion=1")
            .unwrap();
        assert_eq!(next(&mut watch).1, "e.000000", "{what:?}");
        let line = watch.next_line().unwrap().unwrap();
        let json: Result<Value, _> = serde_json::from_slice(&line);
        assert_eq!(
            json.is_ok(),
            matches!(what, Garbage::WrongType | Garbage::NotAnObject),
            "{what:?}"
        );
        assert_eq!(next(&mut watch).1, "e.000001", "{what:?}");
    }
    server.faults().next(
        1,
        On::list(Kind::Event),
        Fault::Garbage {
            items: 1,
            what: Garbage::WrongType,
        },
    );
    let list = client.get("/api/v1/events").unwrap();
    assert_eq!(names(&list), ["e.000000", "garbage.1", "e.000001"]);
}

#[test]
fn a_poisoned_object_is_in_every_list_and_watch() {
    let (server, client) = start();
    let body =
        br#""metadata":{"name":"bad","uid":"u","resourceVersion":"{version}"},"involvedObject":7}"#;
    let version = server.store().poison(Kind::Event, "shop", "bad", body);
    let list = client.get("/api/v1/events").unwrap().json();
    assert_eq!(
        list["items"][0]["metadata"]["resourceVersion"],
        version.to_string()
    );
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    assert_eq!(
        watch.next_json().unwrap().unwrap()["object"]["involvedObject"],
        7
    );
}

#[test]
fn duplicates_are_delivered_twice() {
    let (server, client) = start();
    fill(&server, 2);
    server.faults().next(1, On::ANY, Fault::Duplicate);
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    let seen: Vec<String> = (0..4).map(|_| next(&mut watch).1).collect();
    assert_eq!(seen, ["e.000000", "e.000000", "e.000001", "e.000001"]);
}

#[test]
fn a_restored_backup_gives_the_same_numbers_to_other_changes() {
    let (server, client) = start();
    fill(&server, 2);
    let backup = server.store().version();
    let lost = server
        .store()
        .create(Kind::Event, event("shop", "lost"))
        .unwrap();
    server.restore_backup(backup);
    let list = client.get("/api/v1/events").unwrap();
    assert_eq!((names(&list).len(), version(&list)), (2, backup));
    let other = server
        .store()
        .create(Kind::Event, event("shop", "other"))
        .unwrap();
    assert_eq!(other.version, lost.version);
    let truth = server.store().truth();
    assert_eq!(truth.undone, [(lost.uid.to_string(), vec![lost.version])]);
    assert!(!truth.events.contains_key(&*lost.uid));
}

#[test]
fn the_log_tells_who_asked_for_what_and_how_it_ended() {
    let (server, client) = start();
    fill(&server, 3);
    let mark = server.requests().mark();
    client.get("/api/v1/events?limit=2").unwrap();
    server.faults().next(
        1,
        On::ANY,
        Fault::Status {
            code: 500,
            retry_after: None,
        },
    );
    client.get("/api/v1/nodes").unwrap();
    let log = server.requests().since(mark);
    assert_eq!(log.len(), 2);
    assert_eq!(
        (log[0].what, log[0].outcome, log[0].items),
        (Some((Verb::List, Kind::Event)), Outcome::Done(200), 2)
    );
    assert_eq!(
        (log[1].what, log[1].outcome),
        (Some((Verb::List, Kind::Node)), Outcome::Done(500))
    );
    assert_eq!(server.requests().densest(Duration::from_secs(60)), 2);
}

#[test]
fn the_servers_clock_can_be_wrong() {
    let (server, client) = start();
    server.set_clock_offset(-86_400 * 365);
    let date = client
        .get("/version")
        .unwrap()
        .header("date")
        .unwrap()
        .to_owned();
    let year: i64 = date.split(' ').nth(3).unwrap().parse().unwrap();
    let now = kube9_tests::clock::Micros::now().seconds_text();
    assert_eq!(
        year + 1,
        now.as_str()[..4].parse::<i64>().unwrap(),
        "{date} {now}"
    );
}

#[test]
fn a_watcher_sees_every_event_of_a_large_burst_once_and_in_order() {
    let (server, client) = start();
    let from = server.store().version();
    let mut watch = client
        .follow(&format!("/api/v1/events?watch=1&resourceVersion={from}"))
        .unwrap();
    let writer = std::thread::spawn(move || {
        fill(&server, 20_000);
        server
    });
    let mut last = from;
    let mut uids = HashSet::new();
    for _ in 0..20_000 {
        let line = watch.next_json().unwrap().unwrap();
        let metadata = &line["object"]["metadata"];
        let version: u64 = metadata["resourceVersion"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!(version > last);
        last = version;
        uids.insert(metadata["uid"].as_str().unwrap().to_owned());
    }
    let server = writer.join().unwrap();
    assert_eq!(
        (uids.len(), server.store().truth().observations()),
        (20_000, 20_000)
    );
}
