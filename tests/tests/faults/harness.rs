//! A recorder in this process and a simulated API server.

use kube9_tests::apiserver::{ApiServer, Config, Kind, Verb};
use kube9_tests::chaos::{DeletedEvents, compare, wait_for_the_rest};
use kube9_tests::clock::Micros;
use kube9_tests::recorder::{PATIENCE, Recorder, Setup, wait_until};
use serde_json::{Value, json};
use std::fs;

pub(crate) struct Harness {
    pub(crate) server: ApiServer,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) setup: Setup,
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// `more`: further sections of the configuration.
    pub(crate) fn with(more: &str) -> Self {
        let server = ApiServer::start(Config {
            compaction_interval: None,
            ..Config::default()
        })
        .unwrap();
        Self::on(server, more)
    }

    /// With an existing server.
    pub(crate) fn on(server: ApiServer, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(&server, folder.path(), more).unwrap();
        Self {
            server,
            folder,
            setup,
        }
    }

    pub(crate) fn start(&self) -> Recorder {
        self.setup.start().unwrap()
    }

    pub(crate) fn create(&self, name: &str) {
        self.server
            .store()
            .create(Kind::Event, event("shop", name, 1))
            .unwrap();
    }

    pub(crate) fn create_many(&self, prefix: &str, number: usize) {
        for n in 0..number {
            self.create(&format!("{prefix}.{n:06}"));
        }
    }

    pub(crate) fn repeat(&self, name: &str) {
        let change = |event: &mut Value| {
            event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(Micros::now().seconds_text().to_string());
        };
        self.server
            .store()
            .modify(Kind::Event, "shop", name, change)
            .unwrap();
    }

    /// Waits until the database contains what the API server has, then compares everything.
    pub(crate) fn assert_complete(&self) {
        self.assert_complete_but(&DeletedEvents::new());
    }

    /// The same, with Events that clients deleted.
    pub(crate) fn assert_complete_but(&self, deleted: &DeletedEvents) {
        wait_for_the_rest(&self.server, &self.setup, || true);
        let truth = self.server.store().truth();
        let comparison = compare(&truth, deleted, &self.setup).unwrap();
        assert!(comparison.is_clean(), "{comparison}");
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(
            wait_until(condition),
            "not within {} s: {what}; health {:?}",
            PATIENCE.as_secs(),
            self.setup.health()
        );
    }

    #[track_caller]
    pub(crate) fn wait_stored(&self, events: i64) {
        self.wait("that many Events are stored", || self.stored() == events);
    }

    pub(crate) fn stored(&self) -> i64 {
        self.setup
            .number("SELECT count(DISTINCT uid) FROM event")
            .unwrap_or(-1)
    }

    /// The message of the check that is degraded; empty while healthy or without an answer.
    pub(crate) fn degraded(&self, check: &str) -> String {
        let Some((503, health)) = self.setup.health() else {
            return String::new();
        };
        message(&health, check)
    }

    pub(crate) fn is_healthy(&self) -> bool {
        matches!(self.setup.health(), Some((200, _)))
    }

    pub(crate) fn gaps(&self) -> Vec<Value> {
        self.setup
            .column("SELECT metadata FROM events WHERE title = 'Recording gap' ORDER BY id")
            .unwrap_or_default()
            .iter()
            .map(|text| serde_json::from_str(text).unwrap())
            .filter_map(|row: Value| {
                let parts = row["sources"].as_array()?;
                let mut part = parts.iter().find(|part| part["source"] == "Event")?.clone();
                part["cause"] = row["cause"].clone();
                Some(part)
            })
            .collect()
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let metrics = self.setup.metrics();
        metrics
            .iter()
            .filter(|(full, _)| full.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    }

    /// Full lists started so far, without lists of one item.
    pub(crate) fn lists(&self) -> usize {
        self.lists_of(Kind::Event)
    }

    /// The same, of a kind.
    pub(crate) fn lists_of(&self, kind: Kind) -> usize {
        let requests = self.server.requests().all();
        requests
            .iter()
            .filter(|r| {
                r.what == Some((Verb::List, kind))
                    && !r.target.contains("continue=")
                    && !r.target.ends_with("limit=1")
                    // Metadata lists at a position, compared after an outage.
                    && !r.target.contains("limit=500&resourceVersionMatch=Exact")
            })
            .count()
    }
}

pub(crate) fn message(health: &Value, check: &str) -> String {
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

pub(crate) fn event(namespace: &str, name: &str, count: i64) -> Value {
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

impl Harness {
    pub(crate) fn number_named(&self, name: &str) -> i64 {
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

    pub(crate) fn damage(&self, from: usize, to: usize) {
        let path = self.setup.database();
        let mut bytes = fs::read(&path).unwrap();
        let to = to.min(bytes.len());
        bytes[from..to].fill(0x5a);
        fs::write(&path, bytes).unwrap();
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}
