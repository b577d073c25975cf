//! Creates everything that talks to the API server, from the configuration and the restored state.

use std::sync::Arc;

use kube9_base::health::Health;
use kube9_base::throttle::Throttle;
use kube9_ingest::item::Item;
use kube9_ingest::tracker::Tracker;
use kube9_k8s::api::Api;
use kube9_k8s::connect::Connected;
use kube9_k8s::informer::Informer;
use kube9_k8s::known_objects::KnownObjects;
use kube9_k8s::resource::ApiResource;
use kube9_k8s::status_document::StatusDocument;
use kube9_k8s::tracked_watches::TrackedWatches;
use kube9_k8s::walk::Walker;
use kube9_k8s::watch_status::{FirstSync, WatchStatus};
use kube9_k8s::watcher::{ServerHistory, Watcher};
use kube9_model::change::kinds::TrackedKind;
use kube9_model::label::{Kind, Label};
use kube9_model::resume::{Resume, ResumePoint};
use kube9_model::watch::RelistCause;
use kube9_rules::config::AnalysisConfig;
use kube9_rules::state::{Analysis, close_all};
use kube9_store::writer::StoredVersions;
use tokio::sync::mpsc;

use super::database::{EventWatch, StoredState, TrackedWatch};
use super::watch_targets::{tracked_kind, watch_name};
use crate::config::{ByteSize, Config};
use crate::engine::{Engine, INBOX_MAX, STUCK_AFTER};
use crate::events::EventConsumer;
use crate::events::EventIngest;
use crate::tracked_task::TrackedTask;
use crate::version_task::VersionTask;
use crate::{lifecycle, memory};

/// Everything that talks to the API server.
pub(super) struct Sources {
    pub(super) events: Vec<(Watcher<EventConsumer>, ResumePoint)>,
    pub(super) informers: Vec<(Watcher<Informer>, ResumePoint)>,
    pub(super) tracked: Vec<TrackedTask>,
    pub(super) analysis: AnalysisTask,
    pub(super) status_document: Option<StatusDocument>,
    pub(super) version: VersionTask,
}

/// How the findings are handled.
pub(super) enum AnalysisTask {
    /// The analysis runs.
    Runs(Box<Engine>),
    /// The analysis is disabled: open findings are closed.
    Off(EventIngest, Vec<Item>),
}

impl AnalysisTask {
    /// Runs indefinitely; the caller drops the future to stop it.
    pub(super) async fn run(self) {
        match self {
            Self::Runs(engine) => engine.run().await,
            Self::Off(ingest, closings) => {
                for item in closings {
                    // There may be more items than the queue holds. If it dropped one, that finding would stay open.
                    ingest.queue.ready().await;
                    ingest.push(item);
                }
                std::future::pending().await
            }
        }
    }
}

/// Memory budget of the analysis if the container has no memory limit.
const UNLIMITED_BYTES: u64 = 512 << 20;

/// Sets the memory budget of the analysis: half of the memory limit if none is configured.
fn with_memory_budget(config: &AnalysisConfig, limit: Option<u64>) -> AnalysisConfig {
    let half = limit.map_or(UNLIMITED_BYTES, |limit| limit / 2);
    AnalysisConfig {
        max_bytes: config.max_bytes.or(Some(ByteSize::bytes(half))),
        ..config.clone()
    }
}

pub(super) fn sources(
    config: &Config,
    restored: StoredState,
    cluster: &Connected,
    ingest: &EventIngest,
    health: &Health,
) -> Sources {
    let first_sync = FirstSync::new(
        restored.events.len() + restored.informers.len(),
        health.clone(),
    );
    let status = |kind: Kind, namespace: &str| {
        let name = match namespace {
            "" => format!("watch/{}", kind.name()),
            namespace => format!("watch/{}/{namespace}", kind.name()),
        };
        let check = health.check(name, None);
        WatchStatus::new(
            ingest.metrics.k8s.clone(),
            check,
            kind,
            ingest.clock.clone(),
            first_sync.clone(),
        )
    };
    // Each `Api` may hold one large body, so that large objects never delay Events.
    let (events_api, objects_api) = (
        Api::new(cluster.client.clone()),
        Api::new(cluster.client.clone()),
    );
    let history = ServerHistory::default();
    let source = |watch: EventWatch| {
        let consumer = EventConsumer::new(
            watch.id,
            ingest.clone(),
            &watch.start,
            config.source.page_size,
            config.source.event_ttl,
        );
        let watcher = Watcher {
            api: events_api.clone(),
            resource: ApiResource::of(Kind::Event),
            status: status(Kind::Event, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            relist: watch.relist,
            history: history.clone(),
            clock: ingest.clock.clone(),
            consumer,
        };
        (watcher, watch.start)
    };
    let events = restored.events.into_iter().map(source).collect();
    let throttle = Arc::new(Throttle::default());
    let configured = config.tracked();
    let tracker = |kind: Arc<TrackedKind>, stored: StoredVersions| {
        let mut tracker = Tracker::new(kind, restored.mark_key.clone());
        tracker.restore(stored.objects, stored.newest, &stored.forms);
        tracker
    };
    let walker = |resource| Walker::new(objects_api.clone(), resource, config.source.list_timeout);
    let tracked_watches = Arc::new(TrackedWatches::new(health.clone(), ingest.clock.clone()));
    let tracked_task = |watch: TrackedWatch| {
        let name = match &*watch.namespace {
            "" => watch_name(&watch.target),
            namespace => format!("{}/{namespace}", watch_name(&watch.target)),
        };
        TrackedTask {
            api: objects_api.clone(),
            status: WatchStatus::of_tracked(
                ingest.metrics.k8s.clone(),
                tracked_watches.clone(),
                name,
                ingest.clock.clone(),
            ),
            target: watch.target,
            namespace: watch.namespace,
            watch: watch.id,
            start: watch.start,
            stored: watch.stored,
            mark_key: restored.mark_key.clone(),
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            relist: watch.relist,
            history: history.clone(),
            queue: ingest.queue.clone(),
            metrics: ingest.metrics.clone(),
            clock: ingest.clock.clone(),
            throttle: throttle.clone(),
        }
    };
    let tracked = restored.tracked.into_iter().map(tracked_task).collect();
    let status_document = StatusDocument::new(
        &config.kube,
        cluster.client.clone(),
        health.clone(),
        ingest.clock.clone(),
    );
    let version = VersionTask {
        api: Api::new(cluster.client.clone()),
        cluster: cluster.cluster.clone(),
        timeout: config.source.list_timeout,
        queue: ingest.queue.clone(),
        metrics: ingest.metrics.clone(),
        clock: ingest.clock.clone(),
    };
    if restored.informers.is_empty() {
        let closings = close_all(restored.analysis.findings, ingest.now());
        return Sources {
            events,
            informers: Vec::new(),
            tracked,
            analysis: AnalysisTask::Off(ingest.clone(), closings),
            status_document,
            version,
        };
    }
    let mut analysis = Analysis::new(
        with_memory_budget(&config.analysis, memory::limit()),
        ingest.owners.clone(),
        restored.analysis,
    );
    let mut relist_signals = Vec::with_capacity(restored.informers.len());
    let (out, inbox) = mpsc::channel(INBOX_MAX);
    let mut informers = Vec::with_capacity(restored.informers.len());
    for watch in restored.informers {
        relist_signals.push(watch.relist.clone());
        let cause =
            analysis.add_source(watch.id, watch.kind, &watch.namespace, watch.stored_objects);
        let mut start = watch.start;
        if !(matches!(start.resume, Resume::Watch(_)) && cause != RelistCause::FirstStart) {
            start.resume = Resume::List(cause);
        }
        let consumer = Informer {
            watch: watch.id,
            kind: watch.kind,
            out: out.clone(),
            metrics: ingest.metrics.k8s.clone(),
            clock: ingest.clock.clone(),
            throttle: throttle.clone(),
            pending_list: None,
            listed: 0,
            is_behind: false,
            known: KnownObjects::default(),
            tracker: tracked_kind(watch.kind)
                .filter(|kind| configured.has(kind))
                .map(|kind| tracker(Arc::new(kind.clone()), watch.tracked)),
            walker: walker(ApiResource::of(watch.kind)),
        };
        let watcher = Watcher {
            api: objects_api.clone(),
            resource: ApiResource::of(watch.kind),
            status: status(watch.kind, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            relist: watch.relist,
            history: history.clone(),
            clock: ingest.clock.clone(),
            consumer,
        };
        informers.push((watcher, start));
    }
    let engine = Engine {
        analysis,
        inbox,
        commit_stats: restored.commit_stats,
        health: health.clone(),
        data_dir: config.data_dir.clone(),
        pod: lifecycle::pod(config),
        queue: ingest.queue.clone(),
        metrics: ingest.metrics.clone(),
        clock: ingest.clock.clone(),
        watchdog: health.task("analysis", STUCK_AFTER),
        check: health.check("analysis", None),
        relist_signals,
    };
    Sources {
        events,
        informers,
        tracked,
        analysis: AnalysisTask::Runs(Box::new(engine)),
        status_document,
        version,
    }
}
