//! Restarts of the analysis on a real database: findings of one process, restored by the next.
//!
//! Each run has its own writer thread and reads what the previous run committed. The objects were captured from a real
//! cluster. Only the informers are simulated.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_base::health::Health;
use kube9_base::relist::RelistSignal;
use kube9_ingest::body::MarkKey;
use kube9_ingest::decode::decode_event;
use kube9_ingest::filter::SeverityOverrides;
use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::normalize::normalize;
use kube9_ingest::objects::Object;
use kube9_ingest::owners::Owners;
use kube9_ingest::sanitize::sanitize;
use kube9_ingest::tracker::Tracker;
use kube9_model::change::kinds::BUILT_IN;
use kube9_model::commit_stats::{CommitStats, SLOT_SECONDS, WarningBucket};
use kube9_model::label::{Kind, Label};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, WatchId};
use kube9_rules::config::AnalysisConfig;
use kube9_rules::self_status::SelfStatus;
use kube9_rules::state::{Analysis, RestoredState, close_all};
use kube9_store::config::{RetentionConfig, StorageConfig, WriterConfig};
use kube9_store::context::WriterContext;
use kube9_store::metrics::Metrics;
use kube9_store::open::DataDir;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::writer::{Ended, Writer};
use serde_json::Value;

const KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// The objects of a captured scenario at a time, and that time.
fn scene(name: &str, moment: &str) -> (Timestamp, Vec<Value>) {
    let path = format!(
        "{}/../rules/tests/fixtures/objects/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let scene: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let moments = scene["moments"].as_array().unwrap();
    let found = moments.iter().find(|one| one["name"] == moment).unwrap();
    let at = Timestamp::parse(found["at"].as_str().unwrap()).unwrap();
    (at, found["objects"].as_array().unwrap().clone())
}

/// The objects of several scenarios, each at a time.
fn scenes(all: &[(&str, &str)]) -> Vec<Value> {
    let objects = all.iter().flat_map(|(name, moment)| scene(name, moment).1);
    objects.collect()
}

/// A time after all captures.
fn late(all: &[(&str, &str)]) -> Timestamp {
    let times = all.iter().map(|(name, moment)| scene(name, moment).0);
    times.max().unwrap()
}

fn queued(queue: &Queue, item: Item, now: Timestamp) {
    push(queue, &Metrics::detached(), item, now);
    assert_eq!(queue.dropped_total(), 0, "the queue is large enough");
}

/// One run of a recorder.
struct RecorderRun {
    analysis: Analysis,
    queue: Arc<Queue>,
    writer: JoinHandle<Ended>,
    watches: BTreeMap<&'static str, (WatchId, RelistCause)>,
    /// They read the objects for the change history.
    trackers: BTreeMap<&'static str, Tracker>,
    commit_stats: Arc<CommitStats>,
    now: Timestamp,
}

impl RecorderRun {
    fn start(dir: &Path, now: Timestamp) -> Self {
        Self::start_with(dir, now, AnalysisConfig::default())
    }

    fn start_with(dir: &Path, now: Timestamp, config: AnalysisConfig) -> Self {
        let (mut writer, queue) = open(dir, now);
        let mut registered = Vec::new();
        for kind in KINDS {
            let recall = Arc::new(RelistSignal::default());
            let (id, _) = writer.register("cluster", kind.name(), "", recall).unwrap();
            registered.push((kind, id, writer.stored_objects(id).unwrap()));
        }
        let before = RestoredState {
            at: now,
            findings: writer.open_findings().unwrap(),
            history: writer.history().unwrap(),
            changes: writer.recent_changes().unwrap(),
        };
        let mut analysis = Analysis::new(config, Owners::default(), before);
        let (mut watches, mut trackers) = (BTreeMap::new(), BTreeMap::new());
        for (kind, id, remembered) in registered {
            let first = analysis.add_source(id, kind, "", remembered);
            watches.insert(kind.name(), (id, first));
            let tracked = BUILT_IN.iter().find(|one| one.kind == kind.name()).unwrap();
            let tracker = Tracker::new(Arc::new(tracked.clone()), MarkKey::new(&[1; 32]));
            trackers.insert(kind.name(), tracker);
        }
        analysis.set_self_status(SelfStatus::default(), now);
        Self {
            analysis,
            queue,
            commit_stats: writer.commit_stats(),
            writer: std::thread::spawn(move || writer.run()),
            watches,
            trackers,
            now,
        }
    }

    fn push(&self, items: Vec<Item>) {
        for item in items {
            queued(&self.queue, item, self.now);
        }
    }

    /// As an informer does: the change history first.
    fn track(&mut self, kind: Kind, event: impl FnOnce(&mut Tracker, Timestamp) -> TrackedEvent) {
        let (watch, tracker) = (
            self.watches[kind.name()].0,
            self.trackers.get_mut(kind.name()).unwrap(),
        );
        let event = event(tracker, self.now);
        let item = Item::Tracked {
            watch,
            kind: tracker.kind().clone(),
            event,
        };
        self.push(vec![item]);
    }

    /// Handles commits until a finding of the rule is open.
    fn wait_for(&mut self, rule: &str) {
        for _ in 0..500 {
            self.analysis.on_commit(self.commit_stats.take(), self.now);
            self.settle();
            if self
                .analysis
                .open_by_rule()
                .get(rule)
                .is_some_and(|n| *n > 0)
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{rule} does not open");
    }

    fn emit(&mut self, kind: Kind, event: InformerEvent) {
        let watch = self.watches[kind.name()].0;
        let items = self.analysis.handle(
            InformerMessage {
                watch,
                event,
                tracked: None,
            },
            self.now,
        );
        self.push(items);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let items = self.analysis.evaluate(1_000, self.now);
            self.push(items);
            if !self.analysis.has_pending() {
                break;
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            self.settle();
        }
    }

    fn list(&mut self, kind: Kind, objects: &[Value]) {
        self.list_for(kind, objects, self.watches[kind.name()].1);
    }

    fn list_for(&mut self, kind: Kind, objects: &[Value], cause: RelistCause) {
        self.track(kind, |tracker, now| tracker.list_begins(cause, now));
        self.emit(kind, InformerEvent::Init { cause });
        let of_kind: Vec<_> = objects
            .iter()
            .filter(|o| o["kind"] == kind.name())
            .collect();
        for object in &of_kind {
            self.observe(kind, object, Origin::List);
        }
        self.track(kind, |tracker, _| tracker.list_ends(LIST_VERSION));
        self.emit(
            kind,
            InformerEvent::InitDone {
                version: LIST_VERSION.into(),
                at: self.now,
                server_time: self.now,
                objects: of_kind.len() as u64,
            },
        );
        self.emit(kind, InformerEvent::Connected);
    }

    /// Lists everything.
    fn sync(&mut self, objects: &[Value]) {
        for kind in KINDS {
            self.list(kind, objects);
        }
        self.wait(3);
    }

    fn observe(&mut self, kind: Kind, object: &Value, origin: Origin) {
        let json = object.to_string();
        self.track(kind, |tracker, now| {
            let reading = tracker.applied(&json, origin, now).unwrap();
            tracker.emit(reading)
        });
        let object = Object::decode(kind, &json).unwrap();
        self.emit(kind, InformerEvent::Apply(object));
    }

    /// As a watch shows them: newer than all that was listed.
    fn apply(&mut self, objects: &[Value]) {
        for kind in KINDS {
            for object in objects.iter().filter(|o| o["kind"] == kind.name()) {
                let mut object = object.clone();
                object["metadata"]["resourceVersion"] = WATCH_VERSION.into();
                self.observe(kind, &object, Origin::Watch);
            }
        }
    }

    /// Shuts down: everything is committed.
    fn stop(self) {
        self.queue.close();
        assert_eq!(self.writer.join().unwrap(), Ended::Drained);
    }
}

fn open(dir: &Path, now: Timestamp) -> (Writer, Arc<Queue>) {
    let clock = Clock::new(ManualTime::at(now));
    let queue = Arc::new(Queue::new(QueueLimits {
        capacity: 10_000,
        bytes_max: 64 << 20,
        high_water: 8_000,
    }));
    let shared = WriterContext {
        queue: queue.clone(),
        metrics: Metrics::detached(),
        health: Health::new(clock.clone()),
        clock,
        abandon: Arc::new(AtomicBool::new(false)),
    };
    let data = DataDir::lock(dir).unwrap();
    let writer = Writer::open(
        data,
        WriterConfig::default(),
        RetentionConfig::default(),
        &StorageConfig::default(),
        shared,
    );
    (writer.unwrap(), queue)
}

/// A row as a reader sees it.
#[derive(Debug, Clone)]
struct Row {
    id: String,
    title: String,
    reason: String,
    metadata: Value,
}

/// Rows not in `known`, oldest first.
fn rows(dir: &Path, known: &[Row]) -> Vec<Row> {
    let data = DataDir::lock(dir).unwrap();
    let conn = data.open().unwrap().conn;
    let mut statement = conn
        .prepare("SELECT id, title, metadata FROM event_detail ORDER BY key")
        .unwrap();
    let rows = statement.query_map([], |row| {
        let metadata: String = row.get(2)?;
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        Ok(Row {
            id: row.get(0)?,
            title: row.get(1)?,
            reason: metadata["reason"].as_str().unwrap_or_default().to_owned(),
            metadata,
        })
    });
    rows.unwrap()
        .map(Result::unwrap)
        .filter(|row| known.iter().all(|known| known.id != row.id))
        .collect()
}

/// Names of the rules whose findings are open.
fn open_rules(dir: &Path) -> Vec<String> {
    let data = DataDir::lock(dir).unwrap();
    let conn = data.open().unwrap().conn;
    let mut statement = conn
        .prepare("SELECT fingerprint FROM finding ORDER BY fingerprint")
        .unwrap();
    let rules = statement.query_map([], |row| {
        let fingerprint: String = row.get(0)?;
        Ok(fingerprint.split('/').next().unwrap().to_owned())
    });
    rules.unwrap().map(Result::unwrap).collect()
}

/// resourceVersion of every list, above those of the captured objects.
const LIST_VERSION: &str = "1000000000";

/// resourceVersion of what a watch shows later.
const WATCH_VERSION: &str = "1000000001";

const BAD: [(&str, &str); 4] = [
    ("out-of-memory", "kill-3"),
    ("config-error", "bad"),
    ("service-no-pods", "bad"),
    ("rollout", "well"),
];

#[test]
fn restart_opens_no_finding_twice_and_closes_resolved_ones() {
    let dir = tempfile::tempdir().unwrap();
    let begun = late(&BAD);
    let mut run = RecorderRun::start(dir.path(), begun);
    run.sync(&scenes(&BAD));
    run.wait(70);
    let ended = run.now;
    run.stop();
    let first = rows(dir.path(), &[]);
    assert_eq!(
        open_rules(dir.path()),
        [
            "ConfigMapMissing",
            "ContainerCannotStart",
            "ContainerOOMKilled",
            "ServiceSelectsNoPod"
        ]
    );
    for row in &first {
        let news = ["Added", "Created"]
            .iter()
            .any(|end| row.reason.ends_with(end));
        assert!(
            !news,
            "what the first list shows is not news: {}",
            row.title
        );
    }

    // Meanwhile the Service and the ConfigMap are repaired, an image is replaced by one that cannot be pulled, and the
    // container still runs out of memory.
    let now = [
        ("out-of-memory", "kill-3"),
        ("config-error", "repaired"),
        ("service-no-pods", "repaired"),
        ("rollout", "stuck"),
    ];
    let mut run = RecorderRun::start(
        dir.path(),
        late(&now).max(ended).plus(Duration::from_secs(30)),
    );
    run.sync(&scenes(&now));
    let seen_again = run.now.minus(Duration::from_secs(1));
    run.wait(61); // an image is waited for a minute before it counts
    run.wait_for("FailureAfterChange");
    let again = run.now;
    run.stop();
    let open = [
        "ContainerOOMKilled",
        "FailureAfterChange",
        "ImagePullFailing",
        "ReadinessProbeMissing",
        "ReplicasUnavailable",
        "RolloutStuck",
        "SingleReplicaBehindService",
    ];
    assert_eq!(open_rules(dir.path()), open);
    let second = rows(dir.path(), &first);
    for row in &second {
        match row.reason.as_str() {
            "ReadinessProbeMissing"
            | "SingleReplicaBehindService"
            | "RolloutStuck"
            | "ReplicasUnavailable"
            | "ImagePullFailing"
            | "FailureAfterChange"
            | "RecordingGap" => {}
            "ConfigMapMissing" | "ContainerCannotStart" | "ServiceSelectsNoPod" => {
                assert!(row.title.ends_with(" resolved"), "{}", row.title);
                let between = &row.metadata["closed_between"];
                assert_eq!(between[1], seen_again.to_string());
                assert!(row.metadata["resolves"].is_string());
            }
            _ => {
                assert_eq!(row.metadata["observed_late"], true, "{}", row.title);
                // Unless the object says when it happened.
                if let Some(between) = row.metadata["between"].as_array() {
                    assert!(between[0].as_str().unwrap() >= begun.to_string().as_str());
                }
            }
        }
    }
    let titles: Vec<&str> = second.iter().map(|row| row.title.as_str()).collect();
    assert!(titles.contains(&"Service selector changed"), "{titles:?}");
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("Image changed: app ")),
        "{titles:?}"
    );
    // The position had expired, so a gap row has the start of the outage for each kind.
    let gaps = second.iter().filter(|row| row.reason == "RecordingGap");
    let gaps: Vec<_> = gaps
        .flat_map(|row| row.metadata["sources"].as_array().unwrap())
        .collect();
    let mut gaps: Vec<&str> = gaps
        .iter()
        .map(|part| part["source"].as_str().unwrap())
        .collect();
    gaps.sort_unstable();
    assert_eq!(gaps, ["ConfigMap", "Deployment", "Node", "Pod", "Service"]);

    // A third run resumes at the stored position: no gap, and only changes of the watch.
    let mut run = RecorderRun::start(dir.path(), again.plus(Duration::from_secs(10)));
    for kind in KINDS {
        run.list_for(kind, &scenes(&now), RelistCause::Resumed);
    }
    run.apply(&scenes(&[("service-no-pods", "bad")]));
    run.wait(3);
    assert_eq!(
        run.analysis.open_by_rule().get("ServiceSelectsNoPod"),
        None,
        "not yet"
    );
    run.stop();
    let third = rows(dir.path(), &[first, second].concat());
    let titles: Vec<&str> = third.iter().map(|row| row.title.as_str()).collect();
    let closed = "Pods of Deployment service-no-pods/web behind Service service-no-pods/web have no readiness probe resolved";
    assert!(titles.contains(&"Service selector changed"), "{titles:?}");
    assert!(titles.contains(&closed), "{titles:?}");
    for row in &third {
        assert_ne!(row.reason, "RecordingGap");
        if row.reason == "ServiceSelectorChanged" {
            assert_eq!(row.metadata["observed_late"], true);
        } else {
            assert!(row.title.ends_with(" resolved"), "{}", row.title);
        }
    }
}

#[test]
fn restart_closes_findings_of_deleted_objects_and_suspends_forbidden_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [("out-of-memory", "kill-3"), ("service-no-pods", "bad")];
    let mut run = RecorderRun::start(dir.path(), late(&bad));
    run.sync(&scenes(&bad));
    run.wait(70);
    let ended = run.now;
    run.stop();
    let seen = rows(dir.path(), &[]);
    assert_eq!(
        open_rules(dir.path()),
        ["ContainerOOMKilled", "ServiceSelectsNoPod"]
    );

    // All objects are deleted, and reading Services is forbidden.
    let mut run = RecorderRun::start(dir.path(), ended.plus(Duration::from_secs(30)));
    for kind in KINDS {
        if kind == Kind::Service {
            run.emit(
                kind,
                InformerEvent::Disconnected {
                    message: "403 Forbidden".into(),
                    forbidden: true,
                },
            );
        } else {
            run.list(kind, &[]);
        }
    }
    run.wait(100);
    assert_eq!(
        run.analysis.open_by_rule()["ServiceSelectsNoPod"],
        1,
        "Services cannot be read"
    );
    assert!(
        !run.analysis
            .open_by_rule()
            .contains_key("ContainerOOMKilled")
    );
    // The permission returns: the Service is reported as deleted, and other kinds are unchanged.
    run.list(Kind::Service, &[]);
    run.wait(3);
    run.stop();
    assert_eq!(open_rules(dir.path()), Vec::<String>::new());
    let rows = rows(dir.path(), &seen);
    let of =
        |reason: &str| -> Vec<&Row> { rows.iter().filter(|row| row.reason == reason).collect() };
    assert_eq!(
        of("RecorderPermissionMissing").len(),
        2,
        "said once, and that it is over"
    );
    assert_eq!(
        of("ServiceSelectsNoPod").len(),
        1,
        "{:?}",
        of("ServiceSelectsNoPod")
    );
    assert!(of("ServiceSelectsNoPod")[0].metadata["closed_between"].is_array());
    assert_eq!(of("ServiceDeleted").len(), 1);
    assert_eq!(of("DeploymentDeleted")[0].metadata["observed_late"], true);
}

#[test]
fn disconnected_watch_suspends_findings_until_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [("service-no-pods", "bad")];
    let mut run = RecorderRun::start(dir.path(), late(&bad));
    run.sync(&scenes(&bad));
    run.wait(70);
    let seen = run.analysis.open_by_rule()["ServiceSelectsNoPod"];
    assert_eq!(seen, 1);
    for kind in [Kind::Pod, Kind::Service] {
        run.emit(
            kind,
            InformerEvent::Disconnected {
                message: "connection reset".into(),
                forbidden: false,
            },
        );
    }
    run.apply(&scenes(&[("service-no-pods", "repaired")]));
    run.wait(60);
    assert_eq!(
        run.analysis.open_by_rule()["ServiceSelectsNoPod"],
        1,
        "frozen"
    );
    run.emit(Kind::Pod, InformerEvent::Connected);
    run.wait(10);
    assert_eq!(
        run.analysis.open_by_rule()["ServiceSelectsNoPod"],
        1,
        "it reads both kinds"
    );
    run.emit(Kind::Service, InformerEvent::Connected);
    run.wait(3);
    assert!(
        !run.analysis
            .open_by_rule()
            .contains_key("ServiceSelectsNoPod")
    );
    run.stop();
    let rows = rows(dir.path(), &[]);
    let closed = rows.iter().find(|row| row.title.ends_with(" resolved"));
    assert!(closed.unwrap().metadata["closed_between"].is_array());
}

#[test]
fn findings_close_when_rule_or_analysis_is_disabled() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [("out-of-memory", "kill-3"), ("service-no-pods", "bad")];
    let mut run = RecorderRun::start(dir.path(), late(&bad));
    run.sync(&scenes(&bad));
    run.wait(70);
    let ended = run.now;
    run.stop();
    let config = AnalysisConfig {
        disabled_rules: vec!["ServiceSelectsNoPod".to_owned()],
        ..AnalysisConfig::default()
    };
    let mut run = RecorderRun::start_with(dir.path(), ended.plus(Duration::from_secs(5)), config);
    run.sync(&scenes(&bad));
    run.stop();
    assert_eq!(open_rules(dir.path()), ["ContainerOOMKilled"]);

    let now = ended.plus(Duration::from_secs(20));
    let (writer, queue) = open(dir.path(), now);
    for item in close_all(writer.open_findings().unwrap(), now) {
        queued(&queue, item, now);
    }
    queue.close();
    assert_eq!(writer.run(), Ended::Drained);
    assert_eq!(open_rules(dir.path()), Vec::<String>::new());
    let rows = rows(dir.path(), &[]);
    let because: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.metadata["resolved_because"].as_str())
        .collect();
    assert_eq!(
        because,
        ["the rule is disabled", "the analysis is disabled"]
    );
}

/// An Event as the kubelet writes it, at its n-th occurrence.
fn event(name: &str, reason: &str, kind: &str, message: &str, count: i64, at: Timestamp) -> Value {
    serde_json::json!({
        "kind": "Event",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": (100 + count).to_string(),
                     "creationTimestamp": at.to_string()},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1", "fieldPath": "spec.containers{app}"},
        "reason": reason, "message": message, "type": kind, "count": count,
        "firstTimestamp": at.to_string(), "lastTimestamp": at.to_string(),
        "source": {"component": "kubelet"},
    })
}

#[test]
fn warnings_and_kills_are_reported_once_and_restored_after_restart() {
    let dir = tempfile::tempdir().unwrap();
    let now = Timestamp::parse("2026-01-01T12:34:00Z").unwrap();
    let (mut writer, queue) = open(dir.path(), now);
    let recall = Arc::new(RelistSignal::default());
    let (watch, _) = writer.register("cluster", "Event", "", recall).unwrap();
    let killed = "Container app failed liveness probe, will be restarted";
    let long_ago = now.minus(Duration::from_secs(3 * 3600));
    for event in [
        event(
            "a",
            "BackOff",
            "Warning",
            "Back-off restarting failed container",
            1,
            now,
        ),
        event(
            "a",
            "BackOff",
            "Warning",
            "Back-off restarting failed container",
            4,
            now,
        ), // the same row
        event("b", "Scheduled", "Normal", "assigned", 1, now),
        event("c", "Killing", "Normal", killed, 2, now),
        event("c", "Killing", "Normal", killed, 2, now), // seen again
        event("c", "Killing", "Normal", killed, 3, now),
        event("d", "FailedMount", "Warning", "no such secret", 1, long_ago),
    ] {
        let event = decode_event(event.to_string().as_bytes()).unwrap();
        let row = normalize(event, now, &SeverityOverrides::default()).unwrap();
        let item = Item::Event {
            watch,
            origin: Origin::Watch,
            received: now,
            row: Box::new(sanitize(row.record)),
        };
        queued(&queue, item, now);
    }
    queue.close();
    let heard = writer.commit_stats();
    assert_eq!(writer.run(), Ended::Drained);
    let told = heard.take();
    let rows: u32 = told.warnings.values().sum();
    assert_eq!(rows, 3, "BackOff, the kill, FailedMount: {told:?}");
    let kills: i64 = told.kills.iter().map(|kill| kill.times).sum();
    assert_eq!((&*told.kills[0].pod.name, kills), ("web-1", 3));

    let (writer, _) = open(dir.path(), now);
    let history = writer.history().unwrap();
    let hour = now.second() / 3600;
    let mut hours = history.hours.clone();
    hours.sort();
    assert_eq!(
        hours,
        [("shop".into(), hour - 3, 1), ("shop".into(), hour, 2)]
    );
    assert_eq!(history.recorded, [hour - 3, hour]);
    let place = WarningBucket {
        namespace: "shop".into(),
        slot: now.second() / SLOT_SECONDS,
        reason: "BackOff".into(),
    };
    assert_eq!(history.slots.len(), 2, "{:?}", history.slots);
    assert_eq!(history.slots[&place], 1);
}
