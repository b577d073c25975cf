//! Behaviour without faults.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use kube9_tests::apiserver::{Config, Denied, Kind, conformance};
use kube9_tests::client::Client;
use serde_json::json;

use super::{event, fill, names, next, node, pair, start, start_with, token, version};

#[test]
fn list_pages_show_one_snapshot_without_duplicates() {
    let (server, client) = start();
    fill(&server, 10);
    let first = client.get("/api/v1/events?limit=4").unwrap();
    assert_eq!(first.json()["metadata"]["remainingItemCount"], 6);
    // The following pages must not contain this.
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
fn continue_token_expires_with_compaction_and_new_one_resumes() {
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
fn list_at_old_version_is_exact_until_compaction() {
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
fn lists_contain_only_their_namespace_and_kind() {
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
    // As etcd sorts keys: `shop-2/` before `shop/`.
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
fn metadata_list_contains_no_object_content() {
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
fn watch_resumes_after_its_version() {
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
fn watch_without_version_starts_with_current_objects() {
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
fn watch_from_compacted_version_gets_410_in_stream() {
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
fn running_event_watch_survives_compaction() {
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
    // The watch must have delivered those before the compaction, as an etcd watch that is in sync.
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
fn watch_from_future_version_is_silent() {
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
fn bookmarks_are_sent_for_cached_kinds_only() {
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
fn watch_ends_cleanly_at_timeout() {
    let (_server, client) = start();
    let mut watch = client
        .follow("/api/v1/events?watch=1&timeoutSeconds=1")
        .unwrap();
    assert!(watch.next_line().unwrap().is_none());
}

#[test]
fn initial_events_end_with_bookmark_and_old_server_refuses() {
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
fn events_are_created_patched_and_deleted_over_http() {
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
fn events_expire_after_ttl_and_update_renews_it() {
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
fn requests_without_token_are_refused() {
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
fn denied_access_is_403_and_review_agrees() {
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
fn watch_delivers_large_burst_once_and_in_order() {
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

#[test]
fn answers_match_recorded_real_server() {
    let (server, client) = start();
    // As a cluster that has run for a while: with objects, and the first versions compacted.
    server.store().create(Kind::Node, node("n1")).unwrap();
    for i in 0..3 {
        let config =
            json!({ "metadata": { "name": format!("c{i}"), "namespace": "default" }, "data": {} });
        server.store().create(Kind::ConfigMap, config).unwrap();
    }
    server.compact_now();
    server.restart();
    assert_eq!(client.get("/version").unwrap().code, 200);
    let expected: Vec<conformance::Shape> =
        serde_json::from_str(include_str!("../../fixtures/apiserver-1.35.json")).unwrap();
    let found = conformance::run(&server.url(), server.token()).unwrap();
    let differences = conformance::differences(&expected, &found);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn write_without_change_keeps_version() {
    let (server, _client) = start();
    let first = server
        .store()
        .create(Kind::Event, event("shop", "a"))
        .unwrap();
    let same = server
        .store()
        .modify(Kind::Event, "shop", "a", |e| e["count"] = json!(1))
        .unwrap();
    assert_eq!(same.version, first.version);
    assert_eq!(server.store().truth().observations(), 1);
}
