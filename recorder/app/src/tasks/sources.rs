//! Everything that talks to the API server, made of the config and of what the database knows.

use std::sync::Arc;

use kube9_base::health::Health;
use kube9_base::throttle::Throttle;
use kube9_ingest::item::Item;
use kube9_k8s::api::Api;
use kube9_k8s::connect::Connected;
use kube9_k8s::held::Held;
use kube9_k8s::informer::Informer;
use kube9_k8s::report::{FirstSync, Report};
use kube9_k8s::status_document::StatusDocument;
use kube9_k8s::watcher::{History, Watcher};
use kube9_model::label::{Kind, Label};
use kube9_model::resume::{Resume, ResumePoint};
use kube9_model::watch::RelistCause;
use kube9_rules::config::AnalysisConfig;
use kube9_rules::state::{Analysis, close_all};
use tokio::sync::mpsc;

use super::database::{EventWatch, Known};
use crate::config::{ByteSize, Config};
use crate::engine::{Engine, INBOX_MAX, STUCK_AFTER};
use crate::source::events::EventsConsumer;
use crate::source::intake::Intake;
use crate::{life, memory};

/// Everything that talks to the API server.
pub(super) struct Sources {
    pub(super) events: Vec<(Watcher<EventsConsumer>, ResumePoint)>,
    pub(super) informers: Vec<(Watcher<Informer>, ResumePoint)>,
    pub(super) analysis: AnalysisTask,
    pub(super) status_document: Option<StatusDocument>,
}

/// What becomes of the findings.
pub(super) enum AnalysisTask {
    /// The rules run.
    Runs(Box<Engine>),
    /// They are switched off: what was open is closed.
    Off(Intake, Vec<Item>),
}

impl AnalysisTask {
    /// Works for ever; the caller drops the future to stop it.
    pub(super) async fn run(self) {
        match self {
            Self::Runs(engine) => engine.run().await,
            Self::Off(intake, closings) => {
                for item in closings {
                    // There may be more than the queue holds, and it must not drop one: the finding would stay open.
                    intake.queue.ready().await;
                    intake.push(item);
                }
                std::future::pending().await
            }
        }
    }
}

/// What the analysis may hold where the container has no memory limit.
const UNLIMITED_BYTES: u64 = 512 << 20;

/// The analysis with its bounds: half of the memory limit where none is configured.
fn bounded(config: &AnalysisConfig, limit: Option<u64>) -> AnalysisConfig {
    let half = limit.map_or(UNLIMITED_BYTES, |limit| limit / 2);
    AnalysisConfig {
        max_bytes: config.max_bytes.or(Some(ByteSize::bytes(half))),
        ..config.clone()
    }
}

pub(super) fn sources(
    config: &Config,
    known: Known,
    cluster: &Connected,
    intake: &Intake,
    health: &Health,
) -> Sources {
    let first_sync = FirstSync::of(known.events.len() + known.informers.len(), health.clone());
    let report = |kind: Kind, namespace: &str| {
        let name = match namespace {
            "" => format!("watch/{}", kind.name()),
            namespace => format!("watch/{}/{namespace}", kind.name()),
        };
        let check = health.check(name, None);
        Report::new(
            intake.metrics.k8s.clone(),
            check,
            kind,
            intake.clock.clone(),
            first_sync.clone(),
        )
    };
    // Each may hold one large body: objects of any size never keep Events waiting.
    let (events_api, objects_api) = (
        Api::new(cluster.client.clone()),
        Api::new(cluster.client.clone()),
    );
    let history = History::default();
    let source = |watch: EventWatch| {
        let consumer = EventsConsumer::new(
            watch.id,
            intake.clone(),
            &watch.start,
            config.source.page_size,
            config.source.event_ttl,
        );
        let watcher = Watcher {
            api: events_api.clone(),
            kind: Kind::Event,
            report: report(Kind::Event, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            recall: watch.recall,
            history: history.clone(),
            clock: intake.clock.clone(),
            consumer,
        };
        (watcher, watch.start)
    };
    let events = known.events.into_iter().map(source).collect();
    let status_document = StatusDocument::new(
        &config.kube,
        cluster.client.clone(),
        health.clone(),
        intake.clock.clone(),
    );
    if known.informers.is_empty() {
        let closings = close_all(known.before.findings, intake.now());
        return Sources {
            events,
            informers: Vec::new(),
            analysis: AnalysisTask::Off(intake.clone(), closings),
            status_document,
        };
    }
    let mut analysis = Analysis::new(
        bounded(&config.analysis, memory::limit()),
        intake.owners.clone(),
        known.before,
    );
    let throttle = Arc::new(Throttle::default());
    let mut recalls = Vec::with_capacity(known.informers.len());
    let (out, inbox) = mpsc::channel(INBOX_MAX);
    let mut informers = Vec::with_capacity(known.informers.len());
    for watch in known.informers {
        recalls.push(watch.recall.clone());
        let cause = analysis.add_source(watch.id, watch.kind, &watch.namespace, watch.remembered);
        let mut start = watch.start;
        if !(matches!(start.resume, Resume::Watch(_)) && cause != RelistCause::FirstStart) {
            start.resume = Resume::List(cause);
        }
        let consumer = Informer {
            watch: watch.id,
            kind: watch.kind,
            out: out.clone(),
            metrics: intake.metrics.k8s.clone(),
            clock: intake.clock.clone(),
            throttle: throttle.clone(),
            list: None,
            listed: 0,
            is_behind: false,
            held: Held::default(),
        };
        let watcher = Watcher {
            api: objects_api.clone(),
            kind: watch.kind,
            report: report(watch.kind, &watch.namespace),
            namespace: watch.namespace,
            config: config.source.clone(),
            max_wait: config.queue.max_wait,
            recall: watch.recall,
            history: history.clone(),
            clock: intake.clock.clone(),
            consumer,
        };
        informers.push((watcher, start));
    }
    let engine = Engine {
        analysis,
        inbox,
        heard: known.heard,
        health: health.clone(),
        data_dir: config.data_dir.clone(),
        pod: life::pod(config),
        queue: intake.queue.clone(),
        metrics: intake.metrics.clone(),
        clock: intake.clock.clone(),
        pulse: health.task("analysis", STUCK_AFTER),
        check: health.check("analysis", None),
        recalls,
    };
    Sources {
        events,
        informers,
        analysis: AnalysisTask::Runs(Box::new(engine)),
        status_document,
    }
}
