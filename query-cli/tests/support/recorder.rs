//! The real writer of the recorder on a test directory: its status and its rows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_base::health::Health;
use kube9_base::relist::RelistSignal;
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Observation, Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_model::{EventType, ObjectRef, Severity};
use kube9_store::config::{RetentionConfig, StorageConfig, WriterConfig};
use kube9_store::context::WriterContext;
use kube9_store::metrics::Metrics;
use kube9_store::open::DataDir;
use kube9_store::queue::push;
use kube9_store::queue::{Queue, QueueLimits};
use kube9_store::writer::{Ended, Writer};

/// How the recorder ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    Stopped,
    Killed,
}

/// Runs a recorder at `at_ms` that writes these items and ends.
pub fn run(directory: &Path, at_ms: i64, items: impl FnOnce(WatchId) -> Vec<Item>, end: End) {
    let clock = Clock::new(ManualTime::at(Timestamp::from_millis(at_ms)));
    let shared = WriterContext {
        queue: Arc::new(Queue::new(QueueLimits {
            capacity: 1_000,
            bytes_max: 1 << 20,
            high_water: 80,
        })),
        metrics: Metrics::detached(),
        health: Health::new(clock.clone()),
        clock,
        abandon: Arc::new(AtomicBool::new(false)),
    };
    let years = Duration::from_secs(3_650 * 86_400);
    let retention = RetentionConfig {
        info_warning: years,
        error_critical: years,
        ..RetentionConfig::default()
    };
    // Always due.
    let config = WriterConfig {
        heartbeat: Duration::from_nanos(1),
        ..WriterConfig::default()
    };
    let mut writer = Writer::open(
        DataDir::lock(directory).unwrap(),
        config,
        retention,
        &StorageConfig::default(),
        shared.clone(),
    )
    .unwrap();
    let recall = Arc::new(RelistSignal::default());
    let (watch, _) = writer.register("test", "Event", "", recall).unwrap();
    for item in items(watch) {
        let now = shared.clock.now();
        push(&shared.queue, &shared.metrics, item, now);
    }
    shared.queue.close();
    // The first heartbeat checks the database, the second reports the result.
    for _ in 0..2 {
        assert_eq!(writer.drain(), Ended::Drained);
    }
    if end == End::Stopped {
        writer.close();
    }
}

/// Runs a recorder that writes only a heartbeat at `at_ms`.
pub fn heartbeat(directory: &Path, at_ms: i64, end: End) {
    run(directory, at_ms, |_| Vec::new(), end);
}

/// An Event as the source pushes it.
pub fn event(watch: WatchId, at_ms: i64) -> Item {
    let at = Timestamp::from_millis(at_ms);
    let object = |kind: &str, name: &str| ObjectRef {
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
    };
    let record = Record {
        event_type: EventType::Cluster,
        severity: Severity::Info,
        title: "Container crash loop".into(),
        description: "Back-off restarting failed container app in pod web-5d9-x2_shop: exit 137"
            .into(),
        object: Some(object("Pod", "web-5d9-x2")),
        api_group: String::new(),
        owner: Some(object("ReplicaSet", "web-5d9")),
        reason: "BackOff".into(),
        component: "kubelet".into(),
        container: "app".into(),
        kube_type: "Warning".into(),
        node: Some("worker-1".into()),
        extra: [("action".to_owned(), "none".into())].into_iter().collect(),
        occurred: Occurred::Observed(Observation {
            uid: Uid::new("7d3f9a10-0000-4000-8000-000000000001"),
            version: ResourceVersion::new("17"),
            count: 17,
            first: at.minus(Duration::from_millis(480_500)),
            last: at,
        }),
    };
    Item::Event {
        watch,
        origin: Origin::Watch,
        received: at,
        row: Box::new(sanitize(record)),
    }
}

/// The start of a gap.
pub fn gap(watch: WatchId, at_ms: i64) -> Item {
    Item::Marker {
        watch,
        marker: SourceMarker::Init {
            list_generation: 1,
            cause: RelistCause::Expired,
            at: Timestamp::from_millis(at_ms),
        },
    }
}
