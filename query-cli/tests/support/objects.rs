//! Objects that change, recorded by the real tracker and store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube9_ingest::body::MarkKey;
use kube9_ingest::item::{Finding, FindingTransition, Item};
use kube9_ingest::sanitize::{Clean, sanitize};
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{TEN_OCLOCK, TestDir};

/// A database that the tracker writes.
pub struct Recorded {
    pub conn: Connection,
    _data: DataDir,
    applier: Applier,
    trackers: BTreeMap<String, Tracker>,
    version: u64,
    pub now: Timestamp,
}

/// A resource of another API group with the name of Kubernetes' own.
pub fn knative_service() -> TrackedKind {
    let id = "serving.knative.dev/v1/services".parse().unwrap();
    TrackedKind::custom(&id, "Service", true)
}

pub fn kind(word: &str) -> TrackedKind {
    TrackedKind::find(BUILT_IN.iter(), word).unwrap().clone()
}

impl Recorded {
    pub fn create(directory: &Path, now: Timestamp) -> Self {
        let data = DataDir::lock(directory).unwrap();
        let conn = data.open().unwrap().conn;
        Self {
            conn,
            _data: data,
            applier: Applier::default(),
            trackers: BTreeMap::new(),
            version: 1_000,
            now,
        }
    }

    fn commit(
        &mut self,
        kind: &TrackedKind,
        read: impl FnOnce(&mut Tracker, Timestamp) -> Vec<kube9_ingest::item::TrackedEvent>,
    ) {
        let (watch, _) = self
            .applier
            .watches
            .register(
                &self.conn,
                "cluster",
                &format!("{} {}", kind.api_version(), kind.kind),
                "",
            )
            .unwrap();
        let kind = Arc::new(kind.clone());
        let name = format!("{} {}", kind.api_version(), kind.kind);
        let now = self.now;
        let mut events = Vec::new();
        let tracker = self.trackers.entry(name).or_insert_with(|| {
            let mut tracker = Tracker::new(kind.clone(), MarkKey::new(&[1; 32]));
            events.push(tracker.list_begins(RelistCause::FirstStart, now));
            events.push(tracker.list_ends("1000"));
            tracker
        });
        events.extend(read(tracker, now));
        let items: Vec<Item> = events
            .into_iter()
            .map(|event| Item::Tracked {
                watch,
                kind: kind.clone(),
                event,
            })
            .collect();
        self.store(&items);
    }

    fn prepared(&mut self, kind: &TrackedKind, mut object: Value, by: &str) -> Value {
        self.version += 1;
        let fields = object_fields(&object);
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = self.version.to_string().into();
        if metadata["uid"].is_null() {
            metadata["uid"] = format!(
                "{}-{}-{}",
                kind.kind, metadata["namespace"], metadata["name"]
            )
            .into();
        }
        if metadata["creationTimestamp"].is_null() {
            metadata["creationTimestamp"] = self.now.to_string().into();
        }
        if metadata["managedFields"].is_null() && !by.is_empty() {
            metadata["managedFields"] = json!([entry(by, self.now, &fields)]);
        }
        object
    }

    /// The API server shows a state on the watch.
    pub fn apply(&mut self, kind: &TrackedKind, object: Value, by: &str) {
        let object = self.prepared(kind, object, by);
        self.commit(kind, |tracker, now| {
            let reading = tracker.applied(&object.to_string(), Origin::Live, now);
            vec![tracker.emit(reading.unwrap())]
        });
    }

    /// The object is deleted.
    pub fn delete(&mut self, kind: &TrackedKind, object: Value) {
        let object = self.prepared(kind, object, "");
        self.commit(kind, |tracker, now| {
            let reading = tracker.deleted(&object.to_string(), Origin::Live, now);
            vec![tracker.emit(reading.unwrap())]
        });
    }

    /// What the source of a kind reports beside its objects.
    fn mark(&mut self, kind: &TrackedKind, marker: SourceMarker) {
        let name = format!("{} {}", kind.api_version(), kind.kind);
        let watches = &mut self.applier.watches;
        let (watch, _) = watches.register(&self.conn, "cluster", &name, "").unwrap();
        self.store(&[Item::Marker { watch, marker }]);
    }

    /// The watch of a kind is known to be current.
    pub fn confirm(&mut self, kind: &TrackedKind) {
        let marker = SourceMarker::Confirmed {
            version: self.version.to_string(),
            at: self.now,
        };
        self.mark(kind, marker);
    }

    /// All objects of a kind are listed, and the source says what the list stands for: a gap is reported.
    pub fn relist(&mut self, kind: &TrackedKind, cause: RelistCause, objects: &[Value]) {
        let at = self.now;
        let init = SourceMarker::Init {
            list_generation: 0,
            cause,
            at,
        };
        self.mark(kind, init);
        self.list(kind, cause, objects);
        let synced = SourceMarker::Synced {
            version: self.version.to_string(),
            at,
            server_time: at,
            listed: objects.len() as u64,
            vanished: 0,
        };
        self.mark(kind, synced);
    }

    /// All objects of a kind are listed.
    pub fn list(&mut self, kind: &TrackedKind, cause: RelistCause, objects: &[Value]) {
        let objects: Vec<Value> = objects
            .iter()
            .map(|object| self.prepared(kind, object.clone(), ""))
            .collect();
        let version = self.version.to_string();
        self.commit(kind, |tracker, now| {
            let mut events = vec![tracker.list_begins(cause, now)];
            for object in &objects {
                let reading = tracker.applied(&object.to_string(), Origin::List, now);
                events.push(tracker.emit(reading.unwrap()));
            }
            events.push(tracker.list_ends(&version));
            events
        });
    }
}

impl Recorded {
    /// A rule opens or closes a finding.
    pub fn find(&mut self, rule: &str, object: &ObjectRef, transition: FindingTransition) {
        let identity = format!("{rule}/{}/", object.name);
        let is_closed = transition == FindingTransition::Closed;
        let extra = json!({"rule": rule, "finding": identity});
        let record = Record {
            event_type: EventType::Health,
            severity: if is_closed {
                Severity::Info
            } else {
                Severity::Error
            },
            title: format!(
                "{rule} of {}{}",
                object.name,
                if is_closed { " resolved" } else { "" }
            ),
            description: format!("{} {} has a problem.", object.kind, object.name),
            object: Some(object.clone()),
            owner: (object.kind == "Pod").then(|| ObjectRef {
                kind: "Deployment".to_owned(),
                name: "web".to_owned(),
                ..object.clone()
            }),
            reason: rule.to_owned(),
            extra: extra.as_object().unwrap().clone(),
            ..Record::internal(self.now)
        };
        let item = Item::Finding(Box::new(Finding {
            fingerprint: Clean::identity(&identity),
            transition,
            at: self.now,
            row: sanitize(record),
        }));
        self.store(&[item]);
    }

    pub fn open_finding(&mut self, rule: &str, object: &ObjectRef) {
        let state = Clean::json(&json!({})).unwrap();
        let since = self.now;
        self.find(rule, object, FindingTransition::Opened { state, since });
    }

    fn store(&mut self, items: &[Item]) {
        let tx = self.conn.unchecked_transaction().unwrap();
        self.applier.apply(&tx, items, self.now).unwrap();
        self.applier.finish(&tx).unwrap();
        tx.commit().unwrap();
        self.applier.committed();
    }
}

/// A manager's entry for these fields.
pub fn entry(manager: &str, at: Timestamp, fields: &Value) -> Value {
    let at = at.to_string();
    json!({"manager": manager, "operation": "Update", "apiVersion": "v1",
           "time": format!("{}Z", &at[..19]), "fieldsType": "FieldsV1", "fieldsV1": fields})
}

/// The fields of an object as `managedFields` names them; lists as one field.
fn object_fields(object: &Value) -> Value {
    let mut fields = json!({});
    for (key, value) in object.as_object().unwrap() {
        if key == "metadata" {
            continue;
        }
        fields[format!("f:{key}")] = value_fields(value);
    }
    fields
}

fn value_fields(value: &Value) -> Value {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let fields = map
                .iter()
                .map(|(key, value)| (format!("f:{key}"), value_fields(value)));
            Value::Object(fields.collect())
        }
        Value::Array(elements) if elements.iter().all(|one| one["name"].is_string()) => {
            let fields = elements.iter().map(|element| {
                let key = json!({"name": element["name"]}).to_string();
                let mut inner = value_fields(element);
                inner["."] = json!({});
                (format!("k:{key}"), inner)
            });
            Value::Object(fields.collect())
        }
        _ => json!({}),
    }
}

pub fn minute(minutes: u64) -> Timestamp {
    Timestamp::from_secs(TEN_OCLOCK).plus(Duration::from_secs(60 * minutes))
}

pub fn deployment(
    namespace: &str,
    name: &str,
    image: &str,
    replicas: u64,
    password: &str,
) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name},
                     "creationTimestamp": minute(0).to_string()},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "app", "image": image, "args": ["--port=80"], "env": [{"name": "PASSWORD", "value": password}]},
        ]}}},
    })
}

pub fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "creationTimestamp": minute(0).to_string()},
           "data": {"mode": value}})
}

/// A rollout in `shop`: an image, replicas and a password change. Other objects are created, deleted, or of another group.
pub fn shop() -> TestDir {
    let dir = TestDir::new();
    let mut record = Recorded::create(dir.path(), minute(0));
    let deploy = kind("deploy");
    record.apply(
        &deploy,
        deployment("shop", "web", "web:1", 2, "a"),
        "kubectl-client-side-apply",
    );
    record.apply(
        &deploy,
        deployment("staging", "api", "api:1", 1, "a"),
        "helm",
    );
    record.apply(&deploy, deployment("prod", "api", "api:2", 5, "a"), "helm");
    let service =
        json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"type": "ClusterIP"}});
    record.apply(&kind("svc"), service.clone(), "kubectl-create");
    record.apply(&knative_service(), service, "kn");
    record.apply(&kind("cm"), config_map("gone", "x"), "kubectl-create");
    record.apply(
        &kind("no"),
        json!({"metadata": {"name": "worker-1"}, "spec": {}}),
        "kubelet",
    );
    record.now = minute(30);
    record.apply(
        &deploy,
        deployment("shop", "web", "web:2", 2, "a"),
        "argocd-controller",
    );
    record.now = minute(40);
    record.apply(
        &deploy,
        deployment("shop", "web", "web:2", 5, "b"),
        "kubectl-edit",
    );
    record.now = minute(45);
    record.delete(&kind("cm"), config_map("gone", "x"));
    record.now = minute(50);
    record.apply(&deploy, deployment("shop", "web", "web:2", 3, "b"), "hpa");
    let object = |kind: &str, namespace: &str, name: &str| ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let pod = object("Pod", "shop", "web-5d9-x2");
    for (opened, closed) in [(31, 33), (35, 39), (52, 0)] {
        record.now = minute(opened);
        record.open_finding("CrashLoop", &pod);
        if closed > 0 {
            record.now = minute(closed);
            record.find("CrashLoop", &pod, FindingTransition::Closed);
        }
    }
    record.now = minute(53);
    record.open_finding("NodeNotReady", &object("Node", "", "worker-1"));
    dir
}
