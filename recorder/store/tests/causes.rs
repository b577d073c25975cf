//! Why objects were deleted, by what the watches showed of them and of those that they belong to.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube9_ingest::body::MarkKey;
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, WatchId};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::transaction;

struct Cluster {
    _dir: tempfile::TempDir,
    _data: DataDir,
    conn: Connection,
    applier: Applier,
    watches: BTreeMap<String, (WatchId, Tracker)>,
    now: Timestamp,
    version: u64,
    origin: Origin,
}

impl Cluster {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let conn = data.open().unwrap().conn;
        Self {
            _dir: dir,
            _data: data,
            conn,
            applier: Applier::default(),
            watches: BTreeMap::new(),
            now: Timestamp::from_secs(1_764_671_400),
            version: 100,
            origin: Origin::Live,
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// What a watch shows of an object, which is `KIND NAME` in the namespace shop; `more` is merged into it.
    fn see(&mut self, object: &str, uid: &str, more: &Value, is_deleted: bool) {
        let (word, name) = object.split_once(' ').unwrap();
        let kind = match word {
            "knative" => TrackedKind::custom(
                &"serving.knative.dev/v1/services".parse().unwrap(),
                "Service",
                true,
            ),
            _ => TrackedKind::find(BUILT_IN.iter(), word).unwrap().clone(),
        };
        let (watch, tracker) = self.watches.entry(word.to_owned()).or_insert_with(|| {
            let watch = self
                .applier
                .watches
                .register(&self.conn, "cluster", word, "");
            (
                watch.unwrap().0,
                Tracker::new(Arc::new(kind.clone()), MarkKey::new(&[1; 32])),
            )
        });
        self.version += 1;
        let namespace = if kind.namespaced { "shop" } else { "" };
        let mut json = json!({"metadata": {
            "name": name, "namespace": namespace, "uid": uid, "resourceVersion": self.version.to_string(),
            "creationTimestamp": self.now.to_string(),
        }});
        merge(&mut json, more);
        let text = json.to_string();
        let reading = if is_deleted {
            tracker.deleted(&text, self.origin, self.now)
        } else {
            tracker.applied(&text, self.origin, self.now)
        };
        let event: TrackedEvent = tracker.emit(reading.unwrap());
        let item = Item::Tracked {
            watch: *watch,
            kind: Arc::new(kind),
            event,
        };
        self.commit(item);
    }

    /// A list of a kind shows nothing any more.
    fn list_nothing(&mut self, word: &str) {
        self.version += 1;
        let (watch, tracker) = self.watches.get_mut(word).unwrap();
        let (watch, kind) = (*watch, tracker.kind().clone());
        let begins = tracker.list_begins(RelistCause::Expired, self.now);
        let ends = tracker.list_ends(&self.version.to_string());
        for event in [begins, ends] {
            self.commit(Item::Tracked {
                watch,
                kind: kind.clone(),
                event,
            });
        }
    }

    /// The recorder starts again, and reads what happened meanwhile.
    fn restart(&mut self, after: u64) {
        self.applier = Applier::default();
        self.watches.clear();
        self.wait(after);
        self.origin = Origin::Watch;
    }

    fn cause(&self, name: &str) -> String {
        let of = "SELECT r.cause FROM tracked_object o JOIN revision r ON r.id >> 24 = o.id \
                  WHERE o.name = ?1 AND r.body IS NULL ORDER BY r.at_ms DESC, r.id DESC LIMIT 1";
        self.conn.query_row(of, [name], |row| row.get(0)).unwrap()
    }

    /// The cause in the row of a deletion.
    fn cause_in_row(&self, name: &str) -> Option<String> {
        let of = "SELECT metadata ->> '$.cause.kind' FROM events WHERE object_name = ?1 AND metadata ->> 'op' = 'deleted'";
        self.conn.query_row(of, [name], |row| row.get(0)).unwrap()
    }

    fn commit(&mut self, item: Item) {
        transaction::commit(&self.conn, &mut self.applier, &[item], self.now);
    }

    fn exists(&mut self, object: &str, uid: &str, more: &Value) {
        self.see(object, uid, more, false);
    }

    /// Returns the cause.
    fn deleted(&mut self, object: &str, uid: &str, more: &Value) -> String {
        self.see(object, uid, more, true);
        self.cause(object.split_once(' ').unwrap().1)
    }

    fn rows(&self, reason: &str) -> i64 {
        let sql =
            "SELECT count(*) FROM event e JOIN event_class c ON c.id = e.class WHERE c.reason = ?1";
        self.conn
            .query_row(sql, [reason], |row| row.get(0))
            .unwrap()
    }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

fn owned_by(version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true},
    ]}})
}

#[test]
fn object_of_a_deleted_owner_is_known_by_the_uid_of_the_owner() {
    let mut cluster = Cluster::new();
    let none = json!({});
    for (child, parent) in [("a", "p1"), ("b", "p1"), ("c", "p2"), ("d", "p9")] {
        let reference = owned_by("v1", "ConfigMap", "parent", parent);
        if parent == "p1" {
            cluster.exists("cm parent", "p1", &none);
        }
        cluster.exists(&format!("cm {child}"), child, &reference);
    }
    let of = |uid| owned_by("v1", "ConfigMap", "parent", uid);
    assert_eq!(cluster.deleted("cm a", "a", &of("p1")), "request");
    cluster.wait(5);
    assert_eq!(cluster.deleted("cm parent", "p1", &none), "request");
    cluster.wait(1);
    // Another one of that name is not the owner.
    cluster.exists("cm parent", "p2", &none);
    assert_eq!(cluster.deleted("cm b", "b", &of("p1")), "owner deleted");
    assert_eq!(cluster.deleted("cm c", "c", &of("p2")), "request");
    // It was never there, and neither was that of the one that a backup restores.
    cluster.wait(5);
    cluster.exists("cm e", "e", &of("p9"));
    assert_eq!(cluster.deleted("cm e", "e", &of("p9")), "orphaned");
    cluster.exists("cm f", "f", &owned_by("v1", "ConfigMap", "never", "p8"));
    let never = owned_by("v1", "ConfigMap", "never", "p8");
    assert_eq!(cluster.deleted("cm f", "f", &never), "orphaned");
    // Nothing is known of a kind that is not tracked.
    let unknown = owned_by("x.io/v1", "Thing", "t", "t1");
    cluster.exists("cm g", "g", &unknown);
    assert_eq!(cluster.deleted("cm g", "g", &unknown), "unknown");
    assert_eq!(cluster.cause_in_row("g"), None);
}

#[test]
fn one_owner_that_is_left_keeps_an_object() {
    let mut cluster = Cluster::new();
    let none = json!({});
    let owners = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x1"},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "y", "uid": "y1"},
    ]}});
    cluster.exists("cm x", "x1", &none);
    cluster.exists("deploy y", "y1", &none);
    for child in ["a", "b"] {
        cluster.exists(&format!("svc {child}"), child, &owners);
    }
    cluster.deleted("cm x", "x1", &none);
    assert_eq!(cluster.deleted("svc a", "a", &owners), "request");
    // In the foreground, what it owns is deleted first.
    let deletion = json!({"metadata": {"finalizers": ["foregroundDeletion"], "deletionTimestamp": cluster.now.to_string()}});
    cluster.exists("deploy y", "y1", &deletion);
    assert_eq!(cluster.deleted("svc b", "b", &owners), "owner deleted");
}

#[test]
fn job_of_a_cron_job_has_a_row_only_if_a_request_deleted_it() {
    let mut cluster = Cluster::new();
    let spec = json!({"spec": {"successfulJobsHistoryLimit": 1, "concurrencyPolicy": "Replace"}});
    cluster.exists("cronjob c", "c1", &spec);
    let job = |state: &str| {
        let mut job = owned_by("batch/v1", "CronJob", "c", "c1");
        let conditions = json!([{"type": state, "status": "True", "lastTransitionTime": "2025-12-02T10:00:00Z"}]);
        merge(&mut job, &json!({"status": {"conditions": conditions}}));
        job
    };
    for (name, state) in [("j1", "Complete"), ("j2", "Complete"), ("j4", "Suspended")] {
        cluster.exists(&format!("job {name}"), name, &job(state));
    }
    assert_eq!(
        cluster.deleted("job j1", "j1", &job("Complete")),
        "CronJob history limit"
    );
    // Not at the beginning of a minute.
    cluster.wait(30);
    assert_eq!(
        cluster.deleted("job j4", "j4", &job("Suspended")),
        "request"
    );
    assert_eq!(cluster.rows("JobDeleted"), 1);
    // As many as are kept.
    assert_eq!(cluster.deleted("job j2", "j2", &job("Complete")), "request");
    assert_eq!(cluster.rows("JobDeleted"), 2);
}

#[test]
fn running_job_is_replaced_if_the_next_one_follows_that_is_scheduled_for_that_minute() {
    let mut cluster = Cluster::new();
    let job = || owned_by("batch/v1", "CronJob", "c", "c1");
    cluster.exists(
        "cronjob c",
        "c1",
        &json!({"spec": {"concurrencyPolicy": "Replace"}}),
    );
    let minute = cluster.now.second() / 60;
    for (name, uid) in [("c-1", "a"), ("c-2", "b"), ("c-3", "c"), ("c-4", "d")] {
        cluster.exists(&format!("job {name}"), uid, &job());
    }
    cluster.wait(1);
    // The next one is made by hand, or for a later minute, or it does not follow.
    assert_eq!(cluster.deleted("job c-1", "a", &job()), "unknown");
    cluster.exists("job by-hand", "h", &job());
    cluster.exists(&format!("job c-{}", minute + 1), "n1", &job());
    assert_eq!(cluster.cause("c-1"), "unknown");
    cluster.wait(60);
    assert_eq!(cluster.deleted("job c-2", "b", &job()), "unknown");
    cluster.exists(&format!("job c-{}", minute + 1 + 1), "n2", &job());
    assert_eq!(cluster.cause("c-2"), "unknown");
    cluster.wait(60);
    assert_eq!(cluster.deleted("job c-3", "c", &job()), "unknown");
    cluster.exists(&format!("job c-{}0", minute), "n3", &job());
    cluster.now = Timestamp::from_secs((minute + 4) * 60 + 1);
    assert_eq!(cluster.deleted("job c-4", "d", &job()), "unknown");
    cluster.exists(&format!("job c-{}", minute + 4), "n4", &job());
    assert_eq!(cluster.cause("c-4"), "replaced by the CronJob");
    assert_eq!(cluster.cause("c-3"), "unknown");
    assert_eq!(cluster.rows("JobDeleted"), 0);
}

fn job_of(cron_job: &str, state: &str) -> Value {
    let mut job = owned_by("batch/v1", "CronJob", cron_job, "c1");
    let conditions =
        json!([{"type": state, "status": "True", "lastTransitionTime": "2025-12-02T10:00:00Z"}]);
    merge(&mut job, &json!({"status": {"conditions": conditions}}));
    job
}

#[test]
fn history_limits_of_a_cron_job_count_each_outcome() {
    let mut cluster = Cluster::new();
    let spec = json!({"spec": {"successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1}});
    cluster.exists("cronjob c", "c1", &spec);
    for (name, state) in [
        ("f1", "Failed"),
        ("s1", "Complete"),
        ("s2", "Complete"),
        ("s3", "Complete"),
        ("f2", "Failed"),
        ("f3", "Failed"),
    ] {
        cluster.exists(&format!("job {name}"), name, &job_of("c", state));
    }
    let mut deleted = |name: &str, state: &str| {
        cluster.deleted(&format!("job {name}"), name, &job_of("c", state))
    };
    // Newer ones of the other outcome do not count.
    assert_eq!(deleted("f3", "Failed"), "request");
    assert_eq!(deleted("f1", "Failed"), "CronJob history limit");
    assert_eq!(deleted("f2", "Failed"), "request");
    assert_eq!(deleted("s2", "Complete"), "request");
    assert_eq!(deleted("s1", "Complete"), "request");
}

#[test]
fn job_that_is_gone_after_a_gap_has_a_cause_only_if_its_outcome_was_seen() {
    let mut cluster = Cluster::new();
    let spec = json!({"spec": {"successfulJobsHistoryLimit": 1, "concurrencyPolicy": "Replace"}});
    cluster.exists("cronjob c", "c1", &spec);
    cluster.exists(
        "job running",
        "r",
        &owned_by("batch/v1", "CronJob", "c", "c1"),
    );
    cluster.exists("job done", "d", &job_of("c", "Complete"));
    cluster.exists("job single", "s", &json!({}));
    cluster.wait(600);
    cluster.list_nothing("job");
    let causes = ["running", "done", "single"].map(|name| cluster.cause(name));
    assert_eq!(causes, ["unknown", "request", "request"]);
    assert_eq!(cluster.rows("JobDeleted"), 2);
}

#[test]
fn late_cause_is_added_at_the_next_start_if_the_versions_prove_it() {
    let job = || job_of("c", "Complete");
    for (before, expected) in [(true, "owner deleted"), (false, "request")] {
        let mut cluster = Cluster::new();
        cluster.exists("cronjob c", "c1", &json!({}));
        cluster.exists("job j", "j1", &job());
        let version = cluster.version;
        cluster.version += 10;
        assert_eq!(cluster.deleted("job j", "j1", &job()), "request");
        assert_eq!(cluster.cause_in_row("j").as_deref(), Some("request"));
        // The owner was deleted before the Job, or long after it.
        cluster.version = if before { version } else { version + 100 };
        cluster.restart(3_600);
        cluster.deleted("cronjob c", "c1", &json!({}));
        assert_eq!(cluster.cause("j"), expected);
        assert_eq!(cluster.cause_in_row("j").as_deref(), Some(expected));
    }
}

#[test]
fn owner_that_is_gone_after_a_gap_proves_no_cause() {
    let job = || job_of("c", "Complete");
    let mut cluster = Cluster::new();
    cluster.exists("cronjob c", "c1", &json!({}));
    cluster.exists("job j", "j1", &job());
    assert_eq!(cluster.deleted("job j", "j1", &job()), "request");
    cluster.wait(3_600);
    cluster.list_nothing("cronjob");
    assert_eq!(cluster.cause("j"), "unknown");
    assert_eq!(cluster.cause_in_row("j"), None);
    // It existed afterwards.
    let mut cluster = Cluster::new();
    cluster.exists("job j", "j1", &job());
    cluster.exists("cronjob c", "c1", &json!({}));
    assert_eq!(cluster.deleted("job j", "j1", &job()), "request");
    cluster.wait(60);
    cluster.exists("cronjob c", "c1", &json!({"spec": {"suspend": true}}));
    cluster.wait(3_600);
    cluster.list_nothing("cronjob");
    assert_eq!(cluster.cause_in_row("j").as_deref(), Some("request"));
}

#[test]
fn what_is_listed_before_its_namespace_or_claim_is_gone_with_it() {
    let mut cluster = Cluster::new();
    cluster.exists("ns shop", "n1", &json!({}));
    cluster.exists("cm settings", "m1", &json!({"data": {"a": "1"}}));
    let bound = json!({"spec": {"volumeName": "pv-1", "storageClassName": "fast"}});
    cluster.exists("pvc data", "p1", &bound);
    let volume = json!({"spec": {"claimRef": {"namespace": "shop", "name": "data"}, "persistentVolumeReclaimPolicy": "Delete"}});
    cluster.exists("pv pv-1", "v1", &volume);
    cluster.wait(3_600);
    for kind in ["cm", "pv", "pvc"] {
        cluster.list_nothing(kind);
        cluster.wait(60);
    }
    assert_eq!(cluster.cause("settings"), "request");
    assert_eq!(cluster.cause("pv-1"), "claim deleted");
    cluster.list_nothing("ns");
    assert_eq!(cluster.cause("settings"), "namespace deleted");
    assert_eq!(
        cluster.cause_in_row("settings").as_deref(),
        Some("namespace deleted")
    );
    assert_eq!(cluster.cause("data"), "namespace deleted");
}

#[test]
fn watch_that_is_behind_does_not_make_an_owner_the_cause() {
    let mut cluster = Cluster::new();
    let job = || job_of("c", "Complete");
    cluster.exists("cronjob c", "c1", &json!({}));
    cluster.exists("job j", "j1", &job());
    let version = cluster.version;
    cluster.version += 10;
    cluster.deleted("cronjob c", "c1", &json!({}));
    // Deleted before, seen afterwards.
    cluster.version = version;
    assert_eq!(cluster.deleted("job j", "j1", &job()), "request");
}

#[test]
fn pod_beyond_the_replicas_was_scaled_down_and_the_next_one_was_not() {
    let mut cluster = Cluster::new();
    let deployment = |replicas: u64, image: &str| json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}}});
    let pod = |hash: &str| {
        let mut pod = owned_by(
            "apps/v1",
            "ReplicaSet",
            &format!("web-{hash}"),
            &format!("rs-{hash}"),
        );
        merge(
            &mut pod,
            &json!({"metadata": {"labels": {"pod-template-hash": hash}}}),
        );
        pod
    };
    let ending = |cluster: &Cluster, hash: &str| {
        let mut pod = pod(hash);
        let deletion = json!({"metadata": {"deletionTimestamp": cluster.now.to_string(), "deletionGracePeriodSeconds": 0}});
        merge(&mut pod, &deletion);
        pod
    };
    cluster.exists("deploy web", "w", &deployment(3, "i:1"));
    for name in ["p1", "p2", "p3"] {
        cluster.exists(&format!("po web-h1-{name}"), name, &pod("h1"));
    }
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    cluster.wait(1);
    let end = ending(&cluster, "h1");
    assert_eq!(cluster.deleted("po web-h1-p1", "p1", &end), "scale-down");
    let end = ending(&cluster, "h1");
    assert_eq!(cluster.deleted("po web-h1-p2", "p2", &end), "request");
    // A new template: the old pod goes, a new one is not a part of that.
    cluster.exists("deploy web", "w", &deployment(2, "i:2"));
    cluster.exists("po web-h2-q1", "q1", &pod("h2"));
    cluster.exists("po web-h2-q2", "q2", &pod("h2"));
    let end = ending(&cluster, "h1");
    assert_eq!(cluster.deleted("po web-h1-p3", "p3", &end), "rollout");
    let end = ending(&cluster, "h2");
    assert_eq!(cluster.deleted("po web-h2-q2", "q2", &end), "request");
    // The Deployment is deleted and created again before its pods have ended.
    cluster.wait(600);
    cluster.deleted("deploy web", "w", &deployment(2, "i:2"));
    cluster.wait(1);
    cluster.exists("deploy web", "w2", &deployment(2, "i:2"));
    let end = ending(&cluster, "h2");
    assert_eq!(cluster.deleted("po web-h2-q1", "q1", &end), "owner deleted");
}

#[test]
fn custom_resource_is_deleted_with_its_definition_and_is_another_object_than_one_of_kubernetes() {
    let mut cluster = Cluster::new();
    let none = json!({});
    cluster.exists("svc web", "s1", &none);
    cluster.exists("knative web", "k1", &none);
    cluster.exists("crd services.serving.knative.dev", "d1", &none);
    let sql = "SELECT count(*), group_concat(s.api_group, ' ') FROM object o JOIN scope s ON s.id = o.scope \
               WHERE s.kind = 'Service' AND o.name = 'web'";
    let found: (i64, String) = cluster
        .conn
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!(found, (2, " serving.knative.dev".to_owned()));
    let deletion = json!({"metadata": {
        "deletionTimestamp": cluster.now.to_string(), "finalizers": ["customresourcecleanup.apiextensions.k8s.io"],
    }});
    cluster.exists("crd services.serving.knative.dev", "d1", &deletion);
    assert_eq!(cluster.deleted("knative web", "k1", &none), "CRD deleted");
}

fn deployment(replicas: u64, image: &str) -> Value {
    json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "a", "image": image}]}}}})
}

fn pod_of(controller: (&str, &str), label: &str, hash: &str) -> Value {
    let (kind, name) = controller;
    let mut pod = owned_by("apps/v1", kind, name, &format!("uid-{name}"));
    merge(&mut pod, &json!({"metadata": {"labels": {label: hash}}}));
    pod
}

fn web(hash: &str) -> Value {
    pod_of(
        ("ReplicaSet", &format!("web-{hash}")),
        "pod-template-hash",
        hash,
    )
}

impl Cluster {
    /// The deletion of a pod is requested; its grace period begins.
    fn request(&mut self, name: &str, pod: &Value) -> Value {
        let mut pod = pod.clone();
        let end = self.now.plus(Duration::from_secs(30)).to_string();
        merge(
            &mut pod,
            &json!({"metadata": {"deletionTimestamp": end, "deletionGracePeriodSeconds": 30}}),
        );
        self.exists(&format!("po {name}"), name, &pod);
        pod
    }

    fn vanished(&mut self, name: &str, pod: &Value) -> String {
        self.deleted(&format!("po {name}"), name, pod)
    }
}

#[test]
fn pod_of_the_template_before_that_is_made_after_the_change_is_deleted_by_the_rollout() {
    let mut cluster = Cluster::new();
    cluster.exists("deploy web", "w", &deployment(1, "i:1"));
    cluster.exists("po web-h1-a", "web-h1-a", &web("h1"));
    cluster.wait(60);
    // The controller first scales the ReplicaSet that exists.
    cluster.exists("deploy web", "w", &deployment(2, "i:2"));
    cluster.exists("po web-h1-b", "web-h1-b", &web("h1"));
    cluster.exists("po web-h2-a", "web-h2-a", &web("h2"));
    let end = cluster.request("web-h1-b", &web("h1"));
    cluster.exists("po web-h2-b", "web-h2-b", &web("h2"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h1-b", &end), "rollout");
    // A rollout that takes long replaces pods of the template before that end meanwhile.
    cluster.wait(3_600);
    cluster.exists("po web-h1-c", "web-h1-c", &web("h1"));
    let end = cluster.request("web-h1-c", &web("h1"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h1-c", &end), "rollout");
    let end = cluster.request("web-h2-b", &web("h2"));
    cluster.exists("po web-h2-c", "web-h2-c", &web("h2"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h2-b", &end), "request");
    // While it is paused, the controller replaces nothing.
    let mut paused = deployment(2, "i:3");
    merge(&mut paused, &json!({"spec": {"paused": true}}));
    cluster.exists("deploy web", "w", &paused);
    let end = cluster.request("web-h2-a", &web("h2"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h2-a", &end), "request");
}

#[test]
fn pod_of_the_template_before_that_is_deleted_before_one_of_the_new_is_seen_is_deleted_by_the_rollout()
 {
    let mut cluster = Cluster::new();
    cluster.exists("deploy web", "w", &deployment(1, "i:1"));
    cluster.exists("po web-h1-a", "web-h1-a", &web("h1"));
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:2"));
    cluster.exists("po web-h1-b", "web-h1-b", &web("h1"));
    assert_eq!(cluster.vanished("web-h1-b", &web("h1")), "rollout");
    // Back again: it has the template in force.
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    cluster.exists("po web-h1-c", "web-h1-c", &web("h1"));
    assert_eq!(cluster.vanished("web-h1-c", &web("h1")), "unknown");
}

#[test]
fn template_that_is_in_force_again_is_not_taken_for_an_older_one() {
    let mut cluster = Cluster::new();
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    for name in ["web-h1-a", "web-h1-b"] {
        cluster.exists(&format!("po {name}"), name, &web("h1"));
    }
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:2"));
    cluster.exists("po web-h2-a", "web-h2-a", &web("h2"));
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    let end = cluster.request("web-h2-a", &web("h2"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h2-a", &end), "rollout");
    let end = cluster.request("web-h1-a", &web("h1"));
    cluster.exists("po web-h1-c", "web-h1-c", &web("h1"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h1-a", &end), "unknown");
}

#[test]
fn pod_that_is_replaced_is_not_surplus_because_of_its_replacement() {
    let mut cluster = Cluster::new();
    cluster.exists("deploy web", "w", &deployment(3, "i:1"));
    for name in ["web-h1-a", "web-h1-b", "web-h1-c", "web-h1-d"] {
        cluster.exists(&format!("po {name}"), name, &web("h1"));
    }
    cluster.wait(60);
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    for name in ["web-h1-a", "web-h1-b"] {
        let end = cluster.request(name, &web("h1"));
        assert_eq!(cluster.vanished(name, &end), "scale-down");
    }
    cluster.wait(60);
    let end = cluster.request("web-h1-c", &web("h1"));
    cluster.exists("po web-h1-e", "web-h1-e", &web("h1"));
    cluster.wait(30);
    assert_eq!(cluster.vanished("web-h1-c", &end), "request");
    // What it wanted when the deletion was requested is not known any more.
    let end = cluster.request("web-h1-d", &web("h1"));
    cluster.wait(10);
    cluster.exists("deploy web", "w", &deployment(0, "i:1"));
    cluster.wait(20);
    assert_eq!(cluster.vanished("web-h1-d", &end), "unknown");
}

#[test]
fn change_of_a_controller_that_is_seen_after_its_pods_are_deleted_is_their_cause() {
    let mut cluster = Cluster::new();
    cluster.exists("deploy web", "w", &deployment(3, "i:1"));
    for name in ["web-h1-a", "web-h1-b", "web-h1-c"] {
        cluster.exists(&format!("po {name}"), name, &web("h1"));
    }
    cluster.wait(60);
    let version = cluster.version;
    cluster.version += 1;
    // It was not started yet: no grace period.
    assert_eq!(cluster.vanished("web-h1-a", &web("h1")), "request");
    let after = cluster.version;
    cluster.version = version;
    cluster.exists("deploy web", "w", &deployment(2, "i:1"));
    assert_eq!(cluster.cause("web-h1-a"), "scale-down");
    // A later change is not.
    cluster.version = after;
    assert_eq!(cluster.vanished("web-h1-b", &web("h1")), "request");
    cluster.exists("deploy web", "w", &deployment(1, "i:1"));
    assert_eq!(cluster.cause("web-h1-b"), "request");
}

#[test]
fn stateful_set_deletes_the_pods_with_the_highest_numbers() {
    let set = |replicas: u64, image: &str, partition: u64| {
        let mut set = deployment(replicas, image);
        merge(
            &mut set,
            &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}}),
        );
        set
    };
    let pod = |hash: &str| pod_of(("StatefulSet", "db"), "controller-revision-hash", hash);
    let mut cluster = Cluster::new();
    cluster.exists("sts db", "uid-db", &set(3, "i:1", 0));
    for name in ["db-0", "db-1", "db-2"] {
        cluster.exists(&format!("po {name}"), name, &pod("db-1a"));
    }
    cluster.wait(60);
    cluster.exists("sts db", "uid-db", &set(2, "i:1", 0));
    assert_eq!(cluster.vanished("db-0", &pod("db-1a")), "request");
    assert_eq!(cluster.vanished("db-2", &pod("db-1a")), "scale-down");
    cluster.exists("po db-0", "db-0b", &pod("db-1a"));
    cluster.wait(60);
    // Until the rollout reaches a pod, the controller creates it again from the template before.
    cluster.exists("sts db", "uid-db", &set(2, "i:2", 0));
    cluster.wait(5);
    assert_eq!(cluster.vanished("db-1", &pod("db-1a")), "rollout");
    cluster.exists("po db-1", "db-1b", &pod("db-2b"));
    cluster.see("po db-0", "db-0b", &pod("db-1a"), true);
    cluster.wait(5);
    cluster.exists("po db-0", "db-0c", &pod("db-1a"));
    cluster.wait(5);
    cluster.see("po db-0", "db-0c", &pod("db-1a"), true);
    assert_eq!(cluster.cause("db-0"), "rollout");
    cluster.exists("po db-0", "db-0d", &pod("db-2b"));
    cluster.wait(60);
    cluster.see("po db-0", "db-0d", &pod("db-2b"), true);
    assert_eq!(cluster.cause("db-0"), "request");
    // Below the partition, nothing is replaced.
    cluster.exists("po db-0", "db-0e", &pod("db-2b"));
    cluster.exists("sts db", "uid-db", &set(2, "i:3", 1));
    cluster.wait(5);
    cluster.see("po db-0", "db-0e", &pod("db-2b"), true);
    assert_eq!(cluster.cause("db-0"), "request");
}

#[test]
fn pod_that_a_controller_may_have_deleted_for_another_reason_has_no_cause() {
    let mut cluster = Cluster::new();
    cluster.exists("job j", "uid-j", &json!({}));
    let of_job = pod_of(("Job", "j"), "a", "b");
    let mut of_job = of_job;
    merge(
        &mut of_job,
        &json!({"metadata": {"ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "uid-j", "controller": true},
        ]}}),
    );
    cluster.exists("po j-a", "j-a", &of_job);
    assert_eq!(cluster.vanished("j-a", &of_job), "unknown");
    // Of an Argo Rollout, or a ReplicaSet without a Deployment.
    cluster.exists("deploy other", "o", &deployment(1, "i:1"));
    cluster.exists("po web-h1-a", "web-h1-a", &web("h1"));
    let end = cluster.request("web-h1-a", &web("h1"));
    assert_eq!(cluster.vanished("web-h1-a", &end), "unknown");
    // The node got a label or a taint that the DaemonSet does not want.
    cluster.exists(
        "ds agent",
        "uid-agent",
        &json!({"spec": {"template": {"spec": {}}}}),
    );
    let mut agent = pod_of(("DaemonSet", "agent"), "controller-revision-hash", "1a");
    merge(&mut agent, &json!({"spec": {"nodeName": "n1"}}));
    cluster.exists("no n1", "n1", &json!({"metadata": {"labels": {"a": "1"}}}));
    cluster.exists("po agent-a", "agent-a", &agent);
    cluster.exists("po agent-b", "agent-b", &agent);
    cluster.wait(600);
    assert_eq!(cluster.vanished("agent-a", &agent), "request");
    cluster.exists("no n1", "n1", &json!({"metadata": {"labels": {"a": "2"}}}));
    cluster.wait(1);
    assert_eq!(cluster.vanished("agent-b", &agent), "unknown");
}
