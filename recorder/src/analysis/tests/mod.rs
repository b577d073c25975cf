//! The analysis as a whole: news in, rows out. Each rule has a table of cases: it opens, it does not (the near miss), it
//! closes.

mod aftermath;
mod assessment;
mod changes;
mod health;
mod insight;
mod life;

use std::time::Duration;

use kube9_shared::model::Severity;
use kube9_shared::time::Timestamp;
use serde_json::{Value, json};

use super::owners::Owners;
use super::state::Analysis;
use crate::config::AnalysisConfig;
use crate::metrics::{Kind, Label};
use crate::pipeline::item::{Finding, Item, RelistCause, Step, WatchId};
use crate::pipeline::record::Record;
use crate::source::objects::Object;
use crate::source::objects::informer::{News, Seen};
use crate::store::facts::Remembered;

const KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// The moment at which every test begins.
fn start() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
}

/// A time of the API, in seconds after the start.
fn t(second: i64) -> String {
    Timestamp::from_secs(start().second() + second).to_string()
}

/// An analysis with its time.
struct Lab {
    analysis: Analysis,
    now: Timestamp,
    items: Vec<Item>,
}

impl Lab {
    /// Synced on an empty cluster.
    fn new() -> Self {
        Self::with(AnalysisConfig::default())
    }

    fn with(config: AnalysisConfig) -> Self {
        let mut lab = Self::started(config, Vec::new(), |_| Remembered::default());
        for kind in KINDS {
            lab.list(kind, &[]);
        }
        lab.wait(3);
        lab
    }

    /// Just started, on what was stored.
    fn started(
        config: AnalysisConfig,
        findings: Vec<(String, String)>,
        stored: impl Fn(Kind) -> Remembered,
    ) -> Self {
        let mut analysis = Analysis::new(config, Owners::default(), findings);
        for kind in KINDS {
            analysis.add_source(watch(kind), kind, "", stored(kind));
        }
        Self {
            analysis,
            now: start(),
            items: Vec::new(),
        }
    }

    fn say(&mut self, kind: Kind, what: News) {
        let items = self.analysis.take(
            Seen {
                watch: watch(kind),
                what,
            },
            self.now,
        );
        self.items.extend(items);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let items = self.analysis.evaluate(1000, self.now);
            self.items.extend(items);
            if !self.analysis.is_behind() {
                break;
            }
        }
    }

    /// A complete list, and the watch after it. What was there before is the first list's business.
    fn list(&mut self, kind: Kind, objects: &[Value]) {
        let seen_before = self
            .items
            .iter()
            .any(|item| matches!(item, Item::Mark { watch: w, .. } if *w == watch(kind)));
        let cause = if seen_before {
            RelistCause::Expired
        } else {
            RelistCause::FirstStart
        };
        self.list_for(kind, objects, cause);
    }

    fn list_for(&mut self, kind: Kind, objects: &[Value], cause: RelistCause) {
        self.say(kind, News::ListBegun { cause });
        for object in objects {
            self.say(kind, News::Applied(decoded(kind, object)));
        }
        let objects = objects.len() as u64;
        self.say(
            kind,
            News::Listed {
                version: "1".into(),
                server_time: self.now,
                objects,
            },
        );
        self.say(kind, News::Live);
    }

    fn apply(&mut self, kind: Kind, object: &Value) {
        self.say(kind, News::Applied(decoded(kind, object)));
    }

    fn delete(&mut self, kind: Kind, object: &Value) {
        self.say(kind, News::Deleted(decoded(kind, object)));
    }

    /// Lets time pass, second by second, as the task does.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            self.settle();
        }
    }

    /// What came out since the last call.
    fn take(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    fn findings(&mut self) -> Vec<Finding> {
        let items = self.take().into_iter();
        items
            .filter_map(|item| {
                if let Item::Finding(f) = item {
                    Some(*f)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Rows of changes since the last call.
    fn changes(&mut self) -> Vec<Record> {
        let items = self.take().into_iter();
        let changes = items.filter_map(|item| {
            if let Item::Change(c) = item {
                Some(c.rows)
            } else {
                None
            }
        });
        changes.flatten().map(|row| row.record().clone()).collect()
    }
}

fn watch(kind: Kind) -> WatchId {
    WatchId(kind.index() as i64 + 1)
}

fn decoded(kind: Kind, object: &Value) -> Object {
    Object::decode(kind, &object.to_string()).unwrap()
}

/// `base` with `patch` laid over it: objects merge, `null` removes, everything else is replaced.
fn over(mut base: Value, patch: Value) -> Value {
    fn merge(base: &mut Value, patch: Value) {
        match (base, patch) {
            (Value::Object(base), Value::Object(patch)) => {
                for (key, value) in patch {
                    if value.is_null() {
                        base.remove(&key);
                    } else {
                        merge(base.entry(key).or_insert(Value::Null), value);
                    }
                }
            }
            (base, patch) => *base = patch,
        }
    }
    merge(&mut base, patch);
    base
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1",
           "creationTimestamp": t(0)})
}

/// A healthy pod of Deployment `shop/web` with nothing to assess.
fn pod(name: &str, patch: Value) -> Value {
    let owner = json!([{"kind": "ReplicaSet", "name": "web-1a", "controller": true}]);
    let base = json!({
        "metadata": over(metadata(name), json!({"labels": {"app": "web", "pod-template-hash": "1a"}, "ownerReferences": owner})),
        "spec": {"nodeName": "w1", "automountServiceAccountToken": false, "containers": [container(json!({}))]},
        "status": {"phase": "Running", "conditions": [condition("PodScheduled", "True", 0), condition("Ready", "True", 0)],
                   "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0,
                                          "state": {"running": {"startedAt": t(0)}}}]},
    });
    over(base, patch)
}

fn container(patch: Value) -> Value {
    let base = json!({"name": "app", "image": "registry/web:1", "readinessProbe": {}, "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}});
    over(base, patch)
}

fn condition(kind: &str, status: &str, since: i64) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": t(since)})
}

/// A pod whose container is in that state.
fn pod_with(name: &str, restarts: i64, state: Value, last: Value) -> Value {
    pod(
        name,
        json!({"status": {"conditions": [condition("PodScheduled", "True", 0), condition("Ready", "False", 0)],
               "containerStatuses": [{"name": "app", "ready": false, "restartCount": restarts, "state": state, "lastState": last}]}}),
    )
}

fn waiting(reason: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": "the message"}})
}

fn terminated(reason: &str, code: i64, from: i64, to: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "startedAt": t(from), "finishedAt": t(to)}})
}

fn running(since: i64) -> Value {
    json!({"running": {"startedAt": t(since)}})
}

fn node(name: &str, patch: Value) -> Value {
    let base = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1", "creationTimestamp": t(0)},
        "spec": {},
        "status": {"conditions": [condition("Ready", "True", 0)], "nodeInfo": {"kubeletVersion": "v1.33.1"},
                   "allocatable": {"cpu": "4", "memory": "8Gi"}},
    });
    over(base, patch)
}

fn deployment(patch: Value) -> Value {
    let base = json!({
        "metadata": over(metadata("web"), json!({"generation": 1})),
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}},
                 "spec": {"containers": [{"name": "app", "image": "registry/web:1"}]}}},
        "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2,
                   "conditions": [over(condition("Progressing", "True", 0), json!({"reason": "NewReplicaSetAvailable"})),
                                  condition("Available", "True", 0)]},
    });
    over(base, patch)
}

fn service(patch: Value) -> Value {
    let base = json!({"metadata": metadata("web"), "spec": {"type": "ClusterIP", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]}});
    over(base, patch)
}

fn config_map(patch: Value) -> Value {
    over(
        json!({"metadata": metadata("conf"), "data": {"mode": "a"}}),
        patch,
    )
}

/// One step of a case.
enum Do {
    /// Objects are there, or change.
    Apply(Vec<(Kind, Value)>),
    /// An object goes.
    Gone(Kind, Value),
    /// Seconds pass.
    Wait(u64),
    /// Since the last look the rule opened a finding of this severity, and did nothing else.
    Opens(Severity),
    /// Since the last look the rule closed a finding, and did nothing else.
    Closes,
    /// Since the last look the rule did nothing.
    Quiet,
}

fn apply(kind: Kind, object: Value) -> Do {
    Do::Apply(vec![(kind, object)])
}

/// Plays a case and compares what one rule does with what it should.
fn play(rule: &str, case: &str, steps: Vec<Do>) {
    let mut lab = Lab::new();
    for (index, step) in steps.into_iter().enumerate() {
        let expected = match step {
            Do::Apply(objects) => {
                for (kind, object) in objects {
                    lab.apply(kind, &object);
                }
                continue;
            }
            Do::Gone(kind, object) => {
                lab.delete(kind, &object);
                continue;
            }
            Do::Wait(seconds) => {
                lab.wait(seconds);
                continue;
            }
            Do::Opens(severity) => vec![("opens", severity)],
            Do::Closes => vec![("closes", Severity::Info)],
            Do::Quiet => vec![],
        };
        let mut found = Vec::new();
        for finding in lab
            .findings()
            .into_iter()
            .filter(|f| f.fingerprint.split('/').next() == Some(rule))
        {
            let record = finding.row.record();
            match finding.step {
                Step::Opened { .. } => found.push(("opens", record.severity)),
                Step::Closed => {
                    assert!(record.title.ends_with(" resolved"), "{}", record.title);
                    found.push(("closes", record.severity));
                }
                Step::Updated => {}
            }
        }
        assert_eq!(found, expected, "{rule}: {case}: step {index}");
    }
}
