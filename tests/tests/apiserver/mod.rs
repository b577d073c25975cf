//! The simulated API server: normal behaviour and faults.

#![allow(
    clippy::unwrap_used,
    reason = "a test may panic; helpers of tests count as tests"
)]

mod faults;
mod serving;

use kube9_tests::apiserver::{ApiServer, Config, Kind};
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
    let line = lines.next_json().unwrap().expect("the watch continues");
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    (
        text(&line["type"]),
        text(&line["object"]["metadata"]["name"]),
    )
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}
