//! Behaviour with faults.

use std::io::ErrorKind;
use std::time::Duration;

use kube9_tests::apiserver::{Fault, Garbage, Kind, On, Outcome, Verb};
use kube9_tests::client::Client;
use serde_json::{Value, json};

use super::{event, fill, names, next, pair, start, version};

#[test]
fn fault_status_is_returned_exactly_n_times() {
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
fn fault_without_limit_lasts_until_cleared() {
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
fn stopped_server_refuses_connections_and_restarts_on_same_port() {
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
fn restart_breaks_watches_and_only_events_resume() {
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
fn cut_connection_leaves_partial_line() {
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
fn silence_fault_stalls_watch_and_request() {
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
fn frozen_watches_deliver_everything_after_thaw() {
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
fn empty_watch_ends_immediately_and_error_arrives_in_stream() {
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
fn garbage_is_inserted_between_valid_items() {
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
fn poisoned_object_appears_in_every_list_and_watch() {
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
fn duplicate_fault_delivers_items_twice() {
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
fn restored_backup_reuses_resource_versions() {
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
fn request_log_records_client_target_and_outcome() {
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
    let span = Duration::from_secs(60);
    assert_eq!(server.requests().densest(Kind::Node, span), 1);
}

#[test]
fn clock_offset_changes_date_header() {
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
fn text_fault_returns_plain_text() {
    let (server, client) = start();
    let body = "upstream connect error";
    server.faults().next(
        1,
        On::ANY,
        Fault::Text {
            code: 502,
            retry_after: Some(3),
            body,
        },
    );
    let answer = client.get("/api/v1/events").unwrap();
    assert_eq!(
        (answer.code, answer.header("retry-after")),
        (502, Some("3"))
    );
    assert_eq!(answer.body, body.as_bytes());
}

#[test]
fn hangup_fault_returns_nothing() {
    let (server, client) = start();
    server.faults().next(1, On::ANY, Fault::Hangup);
    assert_eq!(
        client.get("/api/v1/events").unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(server.requests().all()[0].outcome, Outcome::Broken);
}

#[test]
fn slow_body_arrives_complete() {
    let (server, client) = start();
    fill(&server, 3);
    let whole = client.get("/api/v1/events").unwrap();
    server.faults().next(
        1,
        On::ANY,
        Fault::Trickle {
            bytes_per_second: 20_000,
        },
    );
    server
        .faults()
        .next(1, On::ANY, Fault::Delay(Duration::from_millis(1)));
    assert_eq!(client.get("/api/v1/events").unwrap().json(), whole.json());
}

#[test]
fn watch_ends_cleanly_after_n_items() {
    let (server, client) = start();
    fill(&server, 3);
    server
        .faults()
        .next(1, On::watch(Kind::Event), Fault::EndAfter { items: 2 });
    let mut watch = client
        .follow("/api/v1/events?watch=1&resourceVersion=1")
        .unwrap();
    assert_eq!(
        (next(&mut watch).1, next(&mut watch).1),
        ("e.000000".into(), "e.000001".into())
    );
    assert_eq!(watch.next_line().unwrap(), None);
}

#[test]
fn page_faults_affect_only_continue_requests() {
    let (server, client) = start();
    fill(&server, 4);
    let on = On {
        continued: Some(true),
        ..On::list(Kind::Event)
    };
    server.faults().always(
        on,
        Fault::Status {
            code: 500,
            retry_after: None,
        },
    );
    let first = client.get("/api/v1/events?limit=2").unwrap();
    assert_eq!(first.code, 200);
    let second = format!("/api/v1/events?limit=2&continue={}", super::token(&first));
    assert_eq!(client.get(&second).unwrap().code, 500);
}

#[test]
fn old_token_is_refused_after_rotation() {
    let (server, client) = start();
    server.rotate_token("another");
    assert_eq!(client.get("/api/v1/events").unwrap().code, 401);
    assert!(server.kubeconfig().contains("token: another"));
    assert_eq!(
        Client::new(&server.url(), Some("another"))
            .get("/api/v1/events")
            .unwrap()
            .code,
        200
    );
}
