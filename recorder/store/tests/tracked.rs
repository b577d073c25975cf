//! The change history in the store: random edits of objects through restarts and rollbacks, and every state rebuilt.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube9_db::read::revision::{REBUILD, STATES};
use kube9_db::schema::ROW_COUNTS_MISMATCH;
use kube9_ingest::body::MarkKey;
use kube9_ingest::item::{Change, Item, TrackedEvent};
use kube9_ingest::sanitize::{Clean, sanitize};
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, WatchId};
use kube9_model::{EventType, ObjectRef};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::transaction;

struct Store {
    _dir: tempfile::TempDir,
    _data: DataDir,
    conn: Connection,
    applier: Applier,
    watch: WatchId,
    tracker: Tracker,
    now: Timestamp,
}

fn kind() -> Arc<TrackedKind> {
    let kind = TrackedKind::find(BUILT_IN.iter(), "deploy").unwrap();
    Arc::new(kind.clone())
}

fn key() -> MarkKey {
    MarkKey::new(&[1; 32])
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        let mut store = Self {
            _dir: dir,
            _data: data,
            conn,
            applier: Applier::default(),
            watch: WatchId(0),
            tracker: Tracker::new(kind(), key()),
            now: Timestamp::from_secs(1_764_671_400),
        };
        store.restart();
        store
    }

    /// Another process: nothing is in memory.
    fn restart(&mut self) {
        self.applier = Applier::default();
        self.tracker = Tracker::new(kind(), key());
        let registered = self
            .applier
            .watches
            .register(&self.conn, "cluster", "Deployment", "");
        self.watch = registered.unwrap().0;
    }

    fn item(&self, event: TrackedEvent) -> Item {
        Item::Tracked {
            watch: self.watch,
            kind: kind(),
            event,
        }
    }

    fn commit(&mut self, items: &[Item]) {
        transaction::commit(&self.conn, &mut self.applier, items, self.now);
    }

    /// The disk fails, and the batch is applied again.
    fn fail_and_commit(&mut self, items: &[Item]) {
        transaction::fail(&self.conn, &mut self.applier, items, self.now);
        self.commit(items);
    }

    fn read(&mut self, object: &Value, origin: Origin) -> Item {
        let reading = self.tracker.applied(&object.to_string(), origin, self.now);
        let event = self.tracker.emit(reading.unwrap());
        self.item(event)
    }

    fn unreadable(&self, namespace: &str, name: &str) -> Item {
        self.item(TrackedEvent::Undecodable {
            namespace: Clean::name(namespace),
            name: Clean::name(name),
            at: self.now,
        })
    }

    fn list(&mut self, cause: RelistCause, objects: &[&Value]) {
        let begins = self.tracker.list_begins(cause, self.now);
        let mut items = vec![self.item(begins)];
        for object in objects {
            items.push(self.read(object, Origin::List));
        }
        let ends = self.tracker.list_ends("1000000");
        items.push(self.item(ends));
        self.commit(&items);
    }

    /// The bodies of an object's revisions, the oldest first.
    fn bodies(&self, name: &str) -> Vec<Value> {
        let ids: Vec<i64> = self
            .conn
            .prepare(
                "SELECT r.id FROM tracked_object o JOIN revision r ON r.id >> 24 = o.id WHERE o.name = ?1 ORDER BY r.id",
            )
            .unwrap()
            .query_map([name], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let body = |id: i64| {
            let text: Option<String> = self
                .conn
                .query_row(REBUILD, [id], |row| row.get(0))
                .unwrap();
            text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
        };
        ids.into_iter().map(body).collect()
    }

    fn rows(&self, op: &str) -> i64 {
        let sql = "SELECT count(*) FROM event WHERE extra ->> 'op' = ?1";
        self.conn.query_row(sql, [op], |row| row.get(0)).unwrap()
    }
}

/// SplitMix64, so that a seed gives the same edits everywhere.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// The spec of a Deployment: lists in any order, some with repeated names.
    fn spec(&mut self) -> Value {
        let container = |rng: &mut Self| {
            let env: Vec<Value> = (0..rng.below(4))
                .map(|_| json!({"name": format!("E{}", rng.below(4)), "value": rng.below(3).to_string()}))
                .collect();
            json!({"name": format!("c{}", rng.below(3)), "image": format!("i:{}", rng.below(3)), "env": env,
                   "args": (0..rng.below(3)).map(|n| n.to_string()).collect::<Vec<_>>()})
        };
        let containers: Vec<Value> = (0..=self.below(3)).map(|_| container(self)).collect();
        json!({"replicas": self.below(4), "template": {"spec": {"containers": containers}}})
    }
}

/// An object as the API server has it.
fn object(name: &str, uid: u64, version: u64, spec: &Value, labels: u64) -> Value {
    let labels: BTreeMap<String, String> = (0..labels % 5)
        .map(|n| (format!("~l{n}"), (labels / 5).to_string()))
        .collect();
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{uid}"), "resourceVersion": version.to_string(),
                     "creationTimestamp": "2025-12-02T10:00:00Z", "labels": labels},
        "spec": spec, "status": {"replicas": version},
    })
}

/// What is stored of it.
fn stored(object: &Value) -> Value {
    let tracker = Tracker::new(kind(), key());
    let reading = tracker.applied(&object.to_string(), Origin::Live, Timestamp::EPOCH);
    let mut tracker = tracker;
    let TrackedEvent::Applied(object) = tracker.emit(reading.unwrap()) else {
        panic!("an object exists");
    };
    serde_json::from_str(object.content.unwrap().body.as_str()).unwrap()
}

#[test]
fn every_state_is_rebuilt_after_random_edits_restarts_and_rollbacks() {
    let mut store = Store::new();
    let mut rng = Rng(7);
    let names: Vec<String> = (0..8).map(|n| format!("web-{n}")).collect();
    let mut current: BTreeMap<&str, Value> = BTreeMap::new();
    let mut truth: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let (mut version, mut uid) = (100, 0);
    store.list(RelistCause::FirstStart, &[]);
    for step in 0..1_200 {
        version += 1;
        // Two minutes for each object, so that nothing is thinned.
        store.now = store.now.plus(Duration::from_secs(30));
        let name = &*names[rng.below(8) as usize];
        let states = truth.entry(name).or_default();
        let is_delete = current.contains_key(name) && rng.below(20) == 0;
        let item = if is_delete {
            let mut last = current.remove(name).unwrap();
            last["metadata"]["resourceVersion"] = version.to_string().into();
            states.push(Value::Null);
            let reading = store
                .tracker
                .deleted(&last.to_string(), Origin::Live, store.now);
            let event = store.tracker.emit(reading.unwrap());
            store.item(event)
        } else {
            if !current.contains_key(name) {
                uid += 1;
            }
            let uid_of = current.get(name).map_or(uid, |object| {
                let text = object["metadata"]["uid"].as_str().unwrap();
                text.strip_prefix("uid-").unwrap().parse().unwrap()
            });
            let spec = match current.get(name) {
                // Only the status, or the labels.
                Some(object) if rng.below(3) == 0 => object["spec"].clone(),
                _ => rng.spec(),
            };
            let labels = match rng.below(2) {
                0 => 0,
                _ => rng.below(25),
            };
            let now = object(name, uid_of, version, &spec, labels);
            let body = stored(&now);
            if states.last() != Some(&body) {
                states.push(body);
            }
            current.insert(name, now.clone());
            store.read(&now, Origin::Live)
        };
        if rng.below(15) == 0 {
            store.fail_and_commit(&[item]);
        } else {
            store.commit(&[item]);
        }
        if step % 97 == 0 {
            store.restart();
            let objects: Vec<&Value> = current.values().collect();
            store.list(RelistCause::Resumed, &objects);
        }
    }
    let mut revisions = 0;
    for (name, expected) in &truth {
        let bodies = store.bodies(name);
        assert_eq!(bodies.len(), expected.len(), "{name}");
        for (n, (body, expected)) in bodies.iter().zip(expected).enumerate() {
            assert_eq!(body, expected, "{name} {n}");
        }
        revisions += bodies.len();
    }
    assert!(revisions > 800, "{revisions}");
    let deleted: usize = truth
        .values()
        .flatten()
        .filter(|body| body.is_null())
        .count();
    assert_eq!(store.rows("deleted"), deleted as i64);
    let bytes: i64 = store
        .conn
        .query_row(
            "SELECT sum(octet_length(body)) FROM revision WHERE is_patch",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(bytes > 0, "some are patches");
}

#[test]
fn list_of_the_same_objects_by_another_key_or_form_makes_no_rows() {
    let mut store = Store::new();
    let mut rng = Rng(3);
    let objects: Vec<Value> = (0..5)
        .map(|n| object(&format!("web-{n}"), n, 100 + n, &rng.spec(), 3))
        .collect();
    let all: Vec<&Value> = objects.iter().collect();
    store.list(RelistCause::FirstStart, &all);
    // The key was lost: every hidden value has another mark.
    store.restart();
    store.tracker = Tracker::new(kind(), MarkKey::new(&[2; 32]));
    store.list(RelistCause::Expired, &all);
    for op in ["created", "changed", "deleted"] {
        assert_eq!(store.rows(op), 0, "{op}");
    }
    // A change after that is one again.
    let mut changed = objects[0].clone();
    changed["spec"]["replicas"] = json!(9);
    changed["metadata"]["resourceVersion"] = json!("500");
    let item = store.read(&changed, Origin::Live);
    store.commit(&[item]);
    assert_eq!(store.rows("changed"), 1);
}

#[test]
fn object_that_is_created_again_while_unwatched_is_a_deletion_and_a_creation() {
    let mut store = Store::new();
    let spec = json!({"replicas": 1});
    let first = object("web", 1, 100, &spec, 0);
    store.list(RelistCause::FirstStart, &[&first]);
    store.now = store.now.plus(Duration::from_secs(3_600));
    let mut again = object("web", 2, 200, &spec, 0);
    again["metadata"]["creationTimestamp"] =
        json!(store.now.minus(Duration::from_secs(60)).to_string());
    // The watch was confirmed before it was created.
    store.list(RelistCause::Expired, &[&again]);
    assert_eq!(store.rows("deleted"), 1);
    assert_eq!(store.bodies("web").len(), 3);
    store.list(RelistCause::Expired, &[]);
    assert_eq!(store.rows("deleted"), 2);
}

/// Objects of any kind, as a watch shows them.
struct Shown<'s> {
    store: &'s mut Store,
    kind: Arc<TrackedKind>,
    watch: WatchId,
    tracker: Tracker,
}

impl Store {
    fn of(&mut self, kind: &str) -> Shown<'_> {
        let kind = TrackedKind::find(BUILT_IN.iter(), kind).unwrap();
        let watches = &mut self.applier.watches;
        let (watch, _) = watches
            .register(&self.conn, "cluster", &kind.kind, "")
            .unwrap();
        Shown {
            store: self,
            kind: Arc::new(kind.clone()),
            watch,
            tracker: Tracker::new(Arc::new(kind.clone()), key()),
        }
    }

    /// Reason and metadata of the rows of changes.
    fn changes(&self) -> Vec<(String, Value)> {
        let sql = "SELECT metadata ->> 'reason', metadata FROM event_detail WHERE metadata ->> 'op' IS NOT NULL ORDER BY key";
        let mut found = self.conn.prepare(sql).unwrap();
        let rows = found.query_map([], |row| {
            let metadata: String = row.get(1)?;
            Ok((row.get(0)?, serde_json::from_str(&metadata).unwrap()))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let changes = self.changes().into_iter();
        changes.map(|(reason, _)| reason).collect()
    }
}

impl Shown<'_> {
    fn show(&mut self, mut object: Value, is_deleted: bool) -> &mut Self {
        let now = self.store.now;
        if object["metadata"]["resourceVersion"].is_null() {
            object["metadata"]["resourceVersion"] = now.millis().to_string().into();
        }
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = object["metadata"]["name"].clone();
        }
        if !self.kind.namespaced {
            object["metadata"]["namespace"] = "".into();
        } else if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = "shop".into();
        }
        object["metadata"]["creationTimestamp"] = now.to_string().into();
        let json = object.to_string();
        let reading = if is_deleted {
            self.tracker.deleted(&json, Origin::Live, now)
        } else {
            self.tracker.applied(&json, Origin::Live, now)
        };
        let item = Item::Tracked {
            watch: self.watch,
            kind: self.kind.clone(),
            event: self.tracker.emit(reading.unwrap()),
        };
        self.store.commit(&[item]);
        self.store.now = now.plus(Duration::from_secs(1));
        self
    }

    fn create(&mut self, object: Value) -> &mut Self {
        self.show(object, false)
    }

    fn delete(&mut self, object: Value) -> &mut Self {
        self.show(object, true)
    }
}

fn owned(name: &str, kind: &str, api_version: &str, owner: &str) -> Value {
    json!({"metadata": {"name": name, "ownerReferences": [
        {"apiVersion": api_version, "kind": kind, "name": owner, "uid": owner, "controller": true},
    ]}})
}

#[test]
fn what_controllers_make_for_tracked_objects_has_no_row() {
    let mut store = Store::new();
    let set = json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}});
    store.of("sts").create(set);
    let claim = json!({"metadata": {"name": "data-db-0"}, "spec": {"storageClassName": "fast"}});
    store.of("pvc").create(claim.clone());
    let volume = json!({
        "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": "csi"}},
        "spec": {"claimRef": {"namespace": "shop", "name": "data-db-0"}},
    });
    store.of("pv").create(volume.clone());
    store
        .of("po")
        .create(owned("db-0", "StatefulSet", "apps/v1", "db"));
    assert_eq!(store.reasons(), ["StatefulSetCreated"]);
    // A request deletes the claim, and with it the volume.
    store.of("pvc").delete(claim);
    store.of("pv").delete(volume);
    assert_eq!(
        store.reasons(),
        ["StatefulSetCreated", "PersistentVolumeClaimDeleted"]
    );
    // An owner reference alone explains nothing, nor does a name that only looks like one of a set.
    store
        .of("rolebinding")
        .create(owned("admin", "StatefulSet", "apps/v1", "db"));
    store
        .of("pvc")
        .create(json!({"metadata": {"name": "logs-db-0"}}));
    let reasons = store.reasons();
    assert_eq!(
        reasons[2..],
        ["RoleBindingCreated", "PersistentVolumeClaimCreated"]
    );
}

#[test]
fn job_of_a_cron_job_has_a_row_only_if_a_person_made_or_deleted_it() {
    let mut store = Store::new();
    let cron = json!({"metadata": {"name": "backup"}, "spec": {
        "schedule": "* * * * *", "successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1,
    }});
    store.of("cj").create(cron);
    let job = |name: &str, finished: Option<Timestamp>| {
        let mut job = owned(name, "CronJob", "batch/v1", "backup");
        if let Some(at) = finished {
            job["status"] = json!({"conditions": [
                {"type": "Complete", "status": "True", "lastTransitionTime": at.to_string()},
            ]});
        }
        job
    };
    let at = store.now;
    for name in ["backup-1", "backup-2", "backup-3"] {
        store
            .of("jobs")
            .create(job(name, None))
            .create(job(name, Some(at)));
    }
    // Two newer ones have finished.
    store.of("jobs").delete(job("backup-1", Some(at)));
    assert_eq!(store.reasons(), ["CronJobCreated"]);
    store.of("jobs").delete(job("backup-3", Some(at)));
    let mut by_hand = job("backup-x", None);
    by_hand["metadata"]["annotations"] = json!({"cronjob.kubernetes.io/instantiate": "manual"});
    store.of("jobs").create(by_hand);
    assert_eq!(
        store.reasons(),
        ["CronJobCreated", "JobDeleted", "JobCreated"]
    );
    assert_eq!(store.changes()[1].1["cause"]["kind"], "request");
}

/// A pod that is deleted some time after the row of its end.
fn delete_ended_pod(store: &mut Store, pod: &Value) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let mut ended = pod.clone();
    ended["status"] = json!({"phase": "Succeeded"});
    store.of("po").create(pod.clone()).create(ended.clone());
    let row = Record {
        reason: "PodEnded".into(),
        title: "Pod completed".into(),
        object: Some(ObjectRef {
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: name.into(),
        }),
        ..Record::internal(store.now)
    };
    store.commit(&[Item::Row(Box::new(sanitize(row)))]);
    store.of("po").delete(ended);
}

#[test]
fn ended_pod_has_a_row_of_its_deletion_only_if_its_controller_is_recorded() {
    let mut store = Store::new();
    let of_job = |name: &str| owned(name, "Job", "batch/v1", "backup-1");
    // Nothing shows whether a request or the end of the Job deleted it.
    delete_ended_pod(&mut store, &of_job("backup-1-x"));
    assert_eq!(store.reasons(), [""; 0]);
    delete_ended_pod(&mut store, &json!({"metadata": {"name": "debug"}}));
    assert_eq!(store.reasons(), ["PodCreated", "PodDeleted"]);
    store
        .of("jobs")
        .create(json!({"metadata": {"name": "backup-1"}}));
    delete_ended_pod(&mut store, &of_job("backup-1-y"));
    assert_eq!(store.reasons()[2..], ["JobCreated", "PodDeleted"]);
}

#[test]
fn writes_of_one_second_that_are_received_late_have_their_author() {
    let object = |version: u64, paused: bool, time: &str| {
        let mut object = object("web", 1, version, &json!({"paused": paused}), 0);
        object["metadata"]["managedFields"] = json!([{
            "manager": "kubectl-rollout", "operation": "Update", "apiVersion": "apps/v1", "time": time,
            "fieldsV1": {"f:spec": {"f:paused": {}}},
        }]);
        object
    };
    let mut store = Store::new();
    let first = store.now.to_string();
    store.list(RelistCause::FirstStart, &[&object(100, false, &first)]);
    store.now = store.now.plus(Duration::from_secs(60));
    let time = store.now.to_string();
    let late = [(101, true), (102, false), (103, true)];
    let items =
        late.map(|(version, paused)| store.read(&object(version, paused, &time), Origin::Watch));
    store.commit(&items);
    let changes = store.changes();
    assert_eq!(changes.len(), 3);
    for (_, metadata) in changes {
        assert_eq!(
            metadata["by"][0]["manager"], "kubectl-rollout",
            "{metadata}"
        );
    }
}

#[test]
fn change_of_what_a_deployment_tool_wrote_names_the_tool() {
    let mut store = Store::new();
    let object = |version: u64, image: &str, manager: &str, at: Timestamp| {
        let containers = json!([{"name": "app", "image": image}]);
        let mut object = object(
            "web",
            1,
            version,
            &json!({"template": {"spec": {"containers": containers}}}),
            0,
        );
        object["metadata"]["annotations"] =
            json!({"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/web"});
        object["metadata"]["managedFields"] = json!([{
            "manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": at.to_string(),
            "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"app\"}": {"f:image": {}}}}}}},
        }]);
        object
    };
    store.list(RelistCause::FirstStart, &[]);
    let mut formers = Vec::new();
    for (version, image, manager) in [
        (100, "a:1", "argocd-controller"),
        (101, "a:2", "argocd-controller"),
        (102, "a:3", "kubectl-edit"),
        (103, "a:4", "kubectl-edit"),
        (104, "a:2", "argocd-controller"),
        (105, "a:5", "kube-controller-manager"),
    ] {
        store.now = store.now.plus(Duration::from_secs(60));
        let item = store.read(&object(version, image, manager, store.now), Origin::Live);
        store.commit(&[item]);
        for write in store
            .applier
            .rows
            .take_commit_delta()
            .field_writes
            .into_values()
            .flatten()
        {
            assert_eq!(&*write.manager, manager);
            formers.push(format!("{manager} {} after {}", write.to, write.former));
        }
    }
    assert_eq!(
        formers,
        [
            "argocd-controller a:2 after ",
            "kubectl-edit a:3 after argocd-controller",
            "kubectl-edit a:4 after ",
            "argocd-controller a:2 after ",
            "kube-controller-manager a:5 after ",
        ]
    );
    let last = object(105, "a:5", "kube-controller-manager", store.now);
    let deleted = store
        .tracker
        .deleted(&last.to_string(), Origin::Live, store.now);
    let event = store.tracker.emit(deleted.unwrap());
    let item = store.item(event);
    store.commit(&[item]);
    assert_eq!(
        store.applier.rows.take_commit_delta().deleted[0].name,
        "web"
    );
}

/// A client removes a finalizer: the entry that holds the others keeps its time.
#[test]
fn write_after_an_event_of_unknown_time_has_no_wrong_author() {
    let object = |version: u64, deletion: Option<&str>, finalizers: Value, time: &str| {
        let mut object = object("web", 1, version, &json!({"paused": false}), 0);
        object["metadata"]["finalizers"] = finalizers;
        object["metadata"]["deletionTimestamp"] = json!(deletion);
        object["metadata"]["managedFields"] = json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": time,
            "fieldsV1": {"f:metadata": {"f:finalizers": {".": {}, "v:\"b\"": {}}}},
        }]);
        object
    };
    let mut store = Store::new();
    store.list(RelistCause::FirstStart, &[]);
    let time = store.now.to_string();
    let both = json!(["a", "b"]);
    let created = store.read(&object(100, None, both.clone(), &time), Origin::Live);
    store.now = store.now.plus(Duration::from_secs(2));
    let deletion = store.now.to_string();
    // The stream has not caught up.
    let deleting = store.read(&object(101, Some(&deletion), both, &time), Origin::Watch);
    store.now = store.now.plus(Duration::from_secs(2));
    let removed = store.read(
        &object(102, Some(&deletion), json!(["b"]), &time),
        Origin::Live,
    );
    store.commit(&[created, deleting, removed]);
    let change = store
        .changes()
        .into_iter()
        .find(|(_, metadata)| metadata["op"] == "changed");
    let (reason, metadata) = change.unwrap();
    assert_eq!(reason, "FinalizersChanged");
    assert_eq!(metadata["by"], Value::Null, "{metadata}");
}

#[test]
fn end_of_a_deleted_pod_is_a_change() {
    let mut store = Store::new();
    let mut pod = json!({"metadata": {"name": "debug"}});
    store.of("po").create(pod.clone());
    pod["metadata"]["deletionTimestamp"] = store.now.to_string().into();
    store.of("po").create(pod);
    let row = Record {
        event_type: EventType::Cluster,
        reason: "PodEnded".into(),
        title: "Pod deleted".into(),
        object: Some(ObjectRef {
            kind: "Pod".into(),
            namespace: "shop".into(),
            name: "debug".into(),
        }),
        ..Record::internal(store.now)
    };
    let change = Change {
        watch: store.watch,
        name: Clean::name("shop/debug"),
        snapshot: None,
        rows: vec![sanitize(row)],
        version: None,
    };
    store.commit(&[Item::Change(Box::new(change))]);
    assert_eq!(store.reasons(), ["PodCreated", "PodEnded"]);
    let sql = "SELECT group_concat(type) FROM event WHERE extra ->> 'op' IS NOT NULL";
    let types: String = store.conn.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(types, "6,6");
    let mut wrong = store.conn.prepare(ROW_COUNTS_MISMATCH).unwrap();
    assert!(!wrong.exists([]).unwrap());
}

#[test]
fn job_that_was_seen_deleted_before_its_cron_job_was_not_deleted_by_a_request() {
    let mut store = Store::new();
    let cron = json!({"metadata": {"name": "backup"}, "spec": {"schedule": "* * * * *"}});
    store.of("cj").create(cron.clone());
    for name in ["backup-1", "backup-2", "backup-3"] {
        store
            .of("jobs")
            .create(owned(name, "CronJob", "batch/v1", "backup"));
    }
    let job = |name| owned(name, "CronJob", "batch/v1", "backup");
    store.of("jobs").delete(job("backup-1"));
    store.now = store.now.plus(Duration::from_secs(120));
    store.of("jobs").delete(job("backup-2"));
    // The watch of Jobs is ahead: the CronJob was deleted first.
    let mut later = job("backup-3");
    let version = store.now.plus(Duration::from_secs(10)).millis();
    later["metadata"]["resourceVersion"] = version.to_string().into();
    store.of("jobs").delete(later);
    store.of("cj").delete(cron);
    let causes: Vec<Value> = store
        .changes()
        .into_iter()
        .filter(|(reason, _)| reason == "JobDeleted")
        .map(|(_, metadata)| metadata["cause"]["kind"].clone())
        .collect();
    assert_eq!(causes, ["request", "request", "owner deleted"]);
}

#[test]
fn name_that_is_created_and_deleted_in_a_loop_is_one_row() {
    let mut store = Store::new();
    for n in 0..100 {
        let map = json!({"metadata": {"name": "loop", "uid": format!("u{n}")}, "data": {"n": n.to_string()}});
        store.of("cm").create(map.clone()).delete(map);
    }
    let changes = store.changes();
    let (last, own) = changes.split_last().unwrap();
    assert!(own.len() < 20, "{}", own.len());
    assert_eq!(last.0, "ConfigMapRecreated");
    let folded = last.1["changes"].as_u64().unwrap();
    assert_eq!(own.len() as u64 + folded, 200);
    assert!(store.bodies("loop").len() < 20);
}

#[test]
fn names_that_are_created_and_deleted_in_a_loop_share_rows() {
    let mut store = Store::new();
    let mut bodies = 0;
    for n in 0..500 {
        let map = json!({"metadata": {"name": format!("loop-{n}")}, "data": {"n": "1"}});
        store.of("cm").create(map.clone()).delete(map);
        bodies += store.bodies(&format!("loop-{n}")).len();
    }
    let changes = store.changes();
    let counts = |change: &(String, Value)| change.1["changes"].as_u64().unwrap_or(1);
    assert_eq!(changes.iter().map(counts).sum::<u64>(), 1_000);
    // Twenty a minute of each, until the budget of an hour is used up.
    assert!(changes.len() < 520, "{}", changes.len());
    assert!(bodies < 1_000, "{bodies}");
    let shared = changes.iter().find(|change| counts(change) > 1).unwrap();
    assert_eq!(shared.1["objects"].as_array().unwrap().len(), 10);
}

#[test]
fn row_of_many_objects_has_the_reason_of_one() {
    let mut store = Store::new();
    let nodes: Vec<Value> = (0..40)
        .map(
            |n| json!({"metadata": {"name": format!("node-{n}")}, "spec": {"unschedulable": true}}),
        )
        .collect();
    for node in &nodes {
        store.of("no").create(node.clone());
    }
    store.now = store.now.plus(Duration::from_secs(60));
    for node in nodes {
        store.of("no").delete(node);
    }
    let mut reasons = store.reasons();
    assert!(reasons.len() < 80, "{reasons:?}");
    reasons.dedup();
    assert_eq!(reasons, ["NodeAdded", "NodeRemoved"]);
}

/// An entry of managedFields.
fn entry(manager: &str, subresource: &str, at: Timestamp, fields: Value) -> Value {
    json!({"manager": manager, "operation": "Update", "subresource": subresource, "apiVersion": "v1",
        "time": at.to_string(), "fieldsType": "FieldsV1", "fieldsV1": fields})
}

#[test]
fn replicas_that_an_autoscaler_sets_are_a_row_and_those_of_a_person_another() {
    let mut store = Store::new();
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let scale = |store: &mut Store, n: u64, manager: &str| {
        let by = entry(manager, "scale", store.now, replicas.clone());
        let web = json!({"metadata": {"name": "web", "uid": "u", "managedFields": [by]}, "spec": {"replicas": n}});
        store.of("deploy").create(web);
    };
    scale(&mut store, 3, "kube-controller-manager");
    for n in 0..20 {
        store.now = store.now.plus(Duration::from_secs(900));
        if n == 10 {
            scale(&mut store, 40, "kubectl");
        }
        scale(&mut store, [5, 2, 9, 4][n % 4], "kube-controller-manager");
    }
    let rows: Vec<(String, Value)> = store
        .changes()
        .into_iter()
        .filter(|(reason, _)| reason == "Scaled")
        .map(|(_, metadata)| {
            let by = metadata["by"].as_array().unwrap();
            assert_eq!(by.len(), 1);
            (
                by[0]["manager"].as_str().unwrap().to_owned(),
                metadata["fields"][0].clone(),
            )
        })
        .collect();
    let of_autoscaler = json!({"path": "spec.replicas", "op": "changed", "from": 3, "to": 4, "times": 20, "min": 2, "max": 9});
    let by_hand = json!({"path": "spec.replicas", "op": "changed", "from": 2, "to": 40});
    assert_eq!(
        rows,
        [
            ("kube-controller-manager".to_owned(), of_autoscaler),
            ("kubectl".to_owned(), by_hand)
        ]
    );
    let title = "SELECT title FROM events WHERE title LIKE 'Scaled between%'";
    let title: String = store.conn.query_row(title, [], |row| row.get(0)).unwrap();
    assert_eq!(title, "Scaled between 2 and 9 replicas");
    // Each state is there.
    assert_eq!(store.bodies("web").len(), 22);
}

#[test]
fn change_between_folded_ones_keeps_its_revision_and_its_author() {
    let mut store = Store::new();
    let mut entries = BTreeMap::new();
    let mut spec = json!({"replicas": 1, "paused": false, "minReadySeconds": 0});
    let mut write = |store: &mut Store, manager: &'static str, field: &str, value: Value| {
        store.now = store.now.plus(Duration::from_secs(5));
        spec[field] = value;
        let fields = json!({"f:spec": {format!("f:{field}"): {}}});
        entries.insert(manager, entry(manager, "", store.now, fields));
        let all: Vec<&Value> = entries.values().collect();
        let web =
            json!({"metadata": {"name": "web", "uid": "u", "managedFields": all}, "spec": spec});
        store.of("deploy").create(web);
    };
    // Two operators whose changes fold, and a person.
    for n in 0..8 {
        write(&mut store, "one", "replicas", json!(n + 2));
        write(&mut store, "two", "minReadySeconds", json!(n + 1));
    }
    write(&mut store, "kubectl-edit", "paused", json!(true));
    for n in 0..3 {
        write(&mut store, "one", "replicas", json!(n));
        write(&mut store, "two", "minReadySeconds", json!(n));
    }
    let newest = "SELECT ifnull(a.name, r.author), left_out FROM revision r LEFT JOIN author a ON a.id = r.author \
                  ORDER BY r.id DESC LIMIT 3";
    let mut newest = store.conn.prepare(newest).unwrap();
    let found = newest.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let found: Vec<(String, Option<u32>)> = found.unwrap().map(Result::unwrap).collect();
    let of = |authors: &str, left_out| (authors.to_owned(), left_out);
    assert_eq!(found[0], of("one, two", Some(5)));
    assert_eq!(found[1], of("kubectl-edit", None));
    assert_eq!(found[2].0, "one, two");
}

#[test]
fn what_controllers_set_of_a_new_node_is_in_the_row_of_its_creation() {
    let mut store = Store::new();
    let mut node = json!({"metadata": {"name": "node-1", "uid": "u"}, "spec": {"taints": [
        {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule"},
    ]}, "status": {"nodeInfo": {"kubeletVersion": "v1.35.4"}}});
    let labels = json!({"f:metadata": {"f:labels": {"f:zone": {}}}});
    node["metadata"]["managedFields"] = json!([entry("kubelet", "", store.now, json!({}))]);
    store.of("no").create(node.clone());
    let by = entry(
        "aws-cloud-controller-manager",
        "",
        store.now,
        labels.clone(),
    );
    node["metadata"]["managedFields"] = json!([by]);
    node["metadata"]["labels"] = json!({"zone": "a"});
    store.of("no").create(node.clone());
    // Who removes a taint is not known.
    node["spec"] = json!({"podCIDR": "10.1.0.0/24", "providerID": "aws:///a/i-1"});
    store.of("no").create(node.clone());
    // What a person does is a row.
    node["metadata"]["managedFields"] =
        json!([entry("kubectl-label", "", store.now, labels.clone())]);
    node["metadata"]["labels"] = json!({"zone": "b"});
    store.of("no").create(node.clone());
    node["spec"]["unschedulable"] = true.into();
    store.of("no").create(node.clone());
    // It is set up by then.
    store.now = store.now.plus(Duration::from_secs(300));
    node["metadata"]["managedFields"] = json!([entry("karpenter", "", store.now, labels)]);
    node["metadata"]["labels"] = json!({"zone": "c"});
    store.of("no").create(node);
    let changes = store.changes();
    let reasons: Vec<&str> = changes.iter().map(|(reason, _)| &**reason).collect();
    assert_eq!(
        reasons,
        [
            "NodeAdded",
            "LabelsChanged",
            "NodeCordoned",
            "LabelsChanged"
        ]
    );
    let created = &changes[0].1;
    assert_eq!(
        (&created["op"], &created["changes"]),
        (&json!("created"), &json!(3))
    );
    let paths: Vec<&str> = created["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|field| field["path"].as_str())
        .collect();
    let taint = "spec.taints[node.cloudprovider.kubernetes.io/uninitialized/NoSchedule]";
    assert_eq!(paths, ["metadata.labels.zone", taint, "spec.providerID"]);
    let text = "SELECT description FROM events WHERE title = 'Node added'";
    let text: String = store.conn.query_row(text, [], |row| row.get(0)).unwrap();
    assert!(
        text.starts_with("Node node-1 was created: kubelet v1.35.4."),
        "{text}"
    );
    assert!(
        text.contains("Set in its first minutes: metadata.labels.zone, "),
        "{text}"
    );
}

#[test]
fn change_after_an_event_that_could_not_be_read_lies_after_the_last_state_that_was_seen() {
    for uid in [Some("00000000-0000-0000-0000-000000000001"), None] {
        let mut store = Store::new();
        let spec = |n: u64| json!({"replicas": n});
        let first = object("web", 1, 100, &spec(1), 0);
        let uid = uid.map(|_| first["metadata"]["uid"].as_str().unwrap().to_owned());
        let item = store.read(&first, Origin::Live);
        store.commit(&[item]);
        store.now = store.now.plus(Duration::from_secs(60));
        store.tracker.on_unreadable(uid.as_deref());
        store.now = store.now.plus(Duration::from_secs(60));
        for n in [2, 3] {
            let item = store.read(&object("web", 1, 100 + n, &spec(n), 0), Origin::Live);
            store.commit(&[item]);
            store.now = store.now.plus(Duration::from_secs(60));
        }
        let between: Vec<bool> = store
            .changes()
            .iter()
            .filter(|(reason, _)| reason == "Scaled")
            .map(|(_, metadata)| metadata.get("between").is_some())
            .collect();
        assert_eq!(between, [true, false], "{uid:?}");
    }
}

#[test]
fn state_after_an_event_that_could_not_be_read_is_not_certain_until_the_next_one() {
    let mut store = Store::new();
    let spec = |n: u64| json!({"replicas": n});
    let item = store.read(&object("web", 1, 100, &spec(1), 0), Origin::Live);
    store.commit(&[item]);
    let in_gap = |store: &Store, seconds: u64| -> bool {
        let at = store.now.plus(Duration::from_secs(seconds));
        let mut states = store.conn.prepare(STATES).unwrap();
        states
            .query_row((1, at.millis()), |row| row.get("in_gap"))
            .unwrap()
    };
    assert!(!in_gap(&store, 60));
    store.now = store.now.plus(Duration::from_secs(60));
    let watch_event = store.unreadable("shop", "web");
    store.commit(&[watch_event]);
    assert!(in_gap(&store, 0));
    store.now = store.now.plus(Duration::from_secs(60));
    let item = store.read(&object("web", 1, 102, &spec(2), 0), Origin::Live);
    store.commit(&[item]);
    assert!(!in_gap(&store, 1));
}

#[test]
fn pod_that_is_adopted_or_released_is_not_incomparable() {
    let mut store = Store::new();
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": true}]);
    let pod = |owner: Value| json!({"metadata": {"name": "web-1-x", "uid": "p", "ownerReferences": owner}, "spec": {"nodeName": "a"}});
    for owners in [owner.clone(), json!([]), owner] {
        store.of("po").create(pod(owners));
    }
    let reasons = store.reasons();
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn label_change_that_releases_a_pod_is_a_row() {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": true}]);
    let pod = |app: &str, owner: &Value| {
        json!({"metadata": {"name": "web-1-x", "uid": "p", "labels": {"app": app}, "ownerReferences": owner},
               "spec": {"nodeName": "a"}})
    };
    // The watch shows the write of the client and that of the controller, or, late, only the last state.
    for seen in [
        &[("other", &owner), ("other", &json!([]))][..],
        &[("other", &json!([]))],
    ] {
        let mut store = Store::new();
        store.of("po").create(pod("web", &owner));
        for (app, owner) in seen {
            store.of("po").create(pod(app, owner));
        }
        assert_eq!(store.reasons(), ["LabelsChanged"], "{}", seen.len());
    }
}

#[test]
fn fold_keeps_its_count_through_failed_commits_and_a_restart() {
    let mut store = Store::new();
    let spec = |n: u64| json!({"replicas": n});
    let mut version = 100;
    let first = object("web", 1, version, &spec(0), 0);
    let item = store.read(&first, Origin::Live);
    store.commit(&[item]);
    for n in 1..=60 {
        version += 1;
        store.now = store.now.plus(Duration::from_secs(5));
        let item = store.read(&object("web", 1, version, &spec(n), 0), Origin::Live);
        if n % 7 == 0 {
            store.fail_and_commit(&[item]);
        } else {
            store.commit(&[item]);
        }
        if n == 40 {
            store.restart();
        }
    }
    let changes: Vec<(String, Value)> = store.changes().split_off(1);
    let counts = |change: &(String, Value)| change.1["changes"].as_u64().unwrap_or(1);
    assert_eq!(changes.iter().map(counts).sum::<u64>(), 60);
    assert_eq!(
        changes.iter().filter(|change| counts(change) > 1).count(),
        2
    );
    assert!(changes.len() < 16, "{}", changes.len());
}

#[test]
fn body_that_differs_at_the_same_version_is_a_default_and_makes_no_row() {
    let mut store = Store::new();
    let mut object = object("web", 1, 100, &json!({"replicas": 1}), 0);
    store.list(RelistCause::FirstStart, &[&object]);
    object["spec"]["paused"] = json!(false);
    store.restart();
    store.list(RelistCause::Expired, &[&object]);
    assert!(store.changes().is_empty(), "{:?}", store.changes());
    let causes: Vec<Option<String>> = store
        .conn
        .prepare("SELECT cause FROM revision ORDER BY id")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(causes, [None, Some("defaulted".to_owned())]);
}

#[test]
fn change_that_was_found_by_a_list_lies_after_the_last_state_that_was_seen() {
    let mut store = Store::new();
    let seen = object("web", 1, 100, &json!({"replicas": 1}), 0);
    let item = store.read(&seen, Origin::Live);
    let last_seen = store.now;
    store.commit(&[item]);
    store.now = store.now.plus(Duration::from_secs(3_600));
    store.restart();
    let changed = object("web", 1, 200, &json!({"replicas": 2}), 0);
    store.list(RelistCause::Expired, &[&changed]);
    let between = [last_seen, store.now].map(|at| at.to_string());
    assert_eq!(store.changes()[1].1["between"], json!(between));
    // Its watch is new, so that nothing but the object itself tells since when it can have been deleted.
    store
        .conn
        .execute(
            "UPDATE watch_state SET position = NULL, confirmed_ms = NULL",
            [],
        )
        .unwrap();
    store.restart();
    store.now = store.now.plus(Duration::from_secs(3_600));
    store.list(RelistCause::FirstStart, &[]);
    let between = [last_seen, store.now].map(|at| at.to_string());
    assert_eq!(store.changes()[2].1["between"], json!(between));
}
