//! The task of a kind that only the change history reads: finds the kind if the configuration names only its resource, then
//! lists and watches it.

use std::sync::Arc;
use std::time::Duration;

use kube9_base::backoff::{Backoff, jittered};
use kube9_base::clock::Clock;
use kube9_base::relist::RelistSignal;
use kube9_base::throttle::Throttle;
use kube9_ingest::body::MarkKey;
use kube9_ingest::tracker::Tracker;
use kube9_k8s::api::{Api, ApiError, NOT_SERVED};
use kube9_k8s::config::SourceConfig;
use kube9_k8s::discovery::discover;
use kube9_k8s::resource::ApiResource;
use kube9_k8s::walk::Walker;
use kube9_k8s::watch_status::WatchStatus;
use kube9_k8s::watcher::{ServerHistory, Watcher};
use kube9_model::change::kinds::{ResourceId, TrackedKind};
use kube9_model::resume::ResumePoint;
use kube9_model::watch::WatchId;
use kube9_store::queue::Queue;
use kube9_store::writer::StoredVersions;

use crate::metrics::Metrics;
use crate::tracked_consumer::{FIND_CONFIGURED_EVERY, RETRY_ABSENT_AFTER, TrackedConsumer};

/// What a task tracks.
#[derive(Debug, Clone)]
pub(crate) enum TrackedTarget {
    Kind(Arc<TrackedKind>),
    /// Its kind is known once its definition exists.
    Resource(ResourceId),
}

impl TrackedTarget {
    /// The name of its watch, e.g. `ingresses.networking.k8s.io`.
    pub(crate) fn resource(&self) -> (&str, &str) {
        match self {
            Self::Kind(kind) => (&kind.group, &kind.resource),
            Self::Resource(id) => (&id.group, &id.resource),
        }
    }
}

/// Lists and watches one resource in one namespace, or in all.
pub(crate) struct TrackedTask {
    pub(crate) target: TrackedTarget,
    pub(crate) namespace: String,
    pub(crate) watch: WatchId,
    pub(crate) start: ResumePoint,
    pub(crate) stored: StoredVersions,
    pub(crate) mark_key: MarkKey,
    pub(crate) api: Api,
    pub(crate) status: WatchStatus,
    pub(crate) config: SourceConfig,
    pub(crate) max_wait: Duration,
    pub(crate) relist: Arc<RelistSignal>,
    pub(crate) history: ServerHistory,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    pub(crate) throttle: Arc<Throttle>,
}

impl TrackedTask {
    /// Runs indefinitely; the caller drops the future to stop it.
    pub(crate) async fn run(self) {
        let kind = match &self.target {
            TrackedTarget::Kind(kind) => kind.clone(),
            TrackedTarget::Resource(id) => Arc::new(self.discovered(id).await),
        };
        if !kind.namespaced && !self.namespace.is_empty() {
            self.status
                .on_absent("it is cluster-scoped, and kube.namespaces records namespaces only");
            return std::future::pending().await;
        }
        let resource = ApiResource::tracked(&kind);
        let is_configured = matches!(self.target, TrackedTarget::Resource(_));
        let mut tracker = Tracker::new(kind, self.mark_key);
        let stored = self.stored;
        tracker.restore(stored.objects, stored.newest, &stored.forms);
        let consumer = TrackedConsumer {
            watch: self.watch,
            is_configured,
            walker: Walker::new(self.api.clone(), resource.clone(), self.config.list_timeout),
            tracker,
            queue: self.queue,
            metrics: self.metrics,
            clock: self.clock.clone(),
            throttle: self.throttle,
            pending_list: None,
            listed: 0,
        };
        let watcher = Watcher {
            api: self.api,
            resource,
            namespace: self.namespace,
            config: self.config,
            max_wait: self.max_wait,
            relist: self.relist,
            history: self.history,
            status: self.status,
            clock: self.clock,
            consumer,
        };
        watcher.run(self.start).await;
    }

    /// Waits until the resource has a kind.
    async fn discovered(&self, id: &ResourceId) -> TrackedKind {
        let mut backoff = Backoff::new(self.config.backoff.initial, self.config.backoff.max);
        loop {
            let wait = match discover(&self.api, id, self.config.list_timeout).await {
                Ok(Some(kind)) => return kind,
                Ok(None) => {
                    self.status.on_absent(NOT_SERVED);
                    jittered(FIND_CONFIGURED_EVERY)
                }
                Err(error @ ApiError::Status { code: 404, .. }) => {
                    self.status.on_absent(&error.absence());
                    jittered(FIND_CONFIGURED_EVERY)
                }
                Err(error @ ApiError::Denied { code: 403, .. }) => {
                    self.status.on_absent(&error.absence());
                    jittered(RETRY_ABSENT_AFTER)
                }
                Err(error) => {
                    let why = format!("discovery of {id} failed: {error}");
                    self.status.on_failure(error.cause(), &why);
                    backoff.wait()
                }
            };
            tokio::time::sleep(wait).await;
        }
    }
}
