//! Reports the state of a watch to the metrics, `/healthz` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::{Check, Health};
use kube9_model::label::Kind;

use crate::metrics::{Metrics, RestartCause};
use crate::tracked_watches::TrackedWatches;

/// Counts the watches that have not synced yet; the last one makes the recorder ready.
#[derive(Clone)]
pub struct FirstSync {
    pending: Arc<AtomicUsize>,
    health: Health,
}

impl FirstSync {
    /// For this many watches.
    pub fn new(watches: usize, health: Health) -> Self {
        Self {
            pending: Arc::new(AtomicUsize::new(watches)),
            health,
        }
    }

    fn count_synced(&self) {
        if self.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.health.set_ready();
        }
    }
}

/// The status of one watch.
pub struct WatchStatus {
    metrics: Arc<Metrics>,
    check: WatchCheck,
    kind: Kind,
    clock: Clock,
    /// `None`: the recorder becomes ready without it.
    first_sync: Option<FirstSync>,
    synced: AtomicBool,
    connected: AtomicBool,
}

/// The check of a watch on `/healthz`.
enum WatchCheck {
    Always(Check),
    /// One of the many that share a check.
    Tracked {
        watches: Arc<TrackedWatches>,
        name: String,
        /// The watch counts as one of its kind.
        is_expected: AtomicBool,
    },
}

impl WatchStatus {
    /// Reports to `check`, and under the label of `kind`.
    pub fn new(
        metrics: Arc<Metrics>,
        check: Check,
        kind: Kind,
        clock: Clock,
        first_sync: FirstSync,
    ) -> Self {
        Self {
            metrics,
            check: WatchCheck::Always(check),
            kind,
            clock,
            first_sync: Some(first_sync),
            synced: false.into(),
            connected: false.into(),
        }
    }

    /// Of a watch that only the change history needs: nothing waits for it, and it may be absent.
    pub fn of_tracked(
        metrics: Arc<Metrics>,
        watches: Arc<TrackedWatches>,
        name: String,
        clock: Clock,
    ) -> Self {
        Self {
            metrics,
            check: WatchCheck::Tracked {
                watches,
                name,
                is_expected: false.into(),
            },
            kind: Kind::Tracked,
            clock,
            first_sync: None,
            synced: false.into(),
            connected: false.into(),
        }
    }

    /// The watch is healthy. One that was just opened after a failure is not yet: a server that ends every watch
    /// immediately also accepts it.
    pub fn mark_healthy(&self) {
        match &self.check {
            WatchCheck::Always(check) => check.healthy(),
            WatchCheck::Tracked { watches, name, .. } => watches.on_healthy(name),
        }
    }

    /// The API server does not serve the kind, or denies it, and that is not a failure.
    pub fn on_absent(&self, why: &str) {
        self.on_disconnect();
        if let WatchCheck::Tracked {
            watches,
            name,
            is_expected,
        } = &self.check
        {
            if is_expected.swap(false, Ordering::AcqRel) {
                self.metrics.watches.forget(self.kind);
            }
            watches.on_absent(name, Some(why));
        }
        self.mark_healthy();
    }

    /// The watch is open and healthy.
    pub fn on_connect(&self) {
        self.on_open();
        self.mark_healthy();
    }

    /// The watch is open.
    pub fn on_open(&self) {
        if let WatchCheck::Tracked {
            watches,
            name,
            is_expected,
        } = &self.check
            && !is_expected.swap(true, Ordering::AcqRel)
        {
            self.metrics.watches.expect(self.kind);
            watches.on_absent(name, None);
        }
        if !self.connected.swap(true, Ordering::AcqRel) {
            self.metrics.watches.connected(self.kind);
        }
        self.on_activity();
        self.on_synced();
    }

    /// The watch has ended.
    pub fn on_disconnect(&self) {
        if self.connected.swap(false, Ordering::AcqRel) {
            self.metrics.watches.disconnected(self.kind);
        }
    }

    /// The watch is opened again, or the list starts over.
    pub fn on_restart(&self, cause: RestartCause) {
        self.metrics.watch_restarts.get(self.kind, cause).inc();
    }

    /// Data arrived from the API server.
    pub fn on_activity(&self) {
        self.metrics
            .watch_last_activity
            .get(self.kind)
            .set(self.clock.now().millis() as f64 / 1000.0);
    }

    /// A list is complete.
    pub fn on_list_done(&self, took: Duration) {
        self.metrics
            .list_duration
            .get(self.kind)
            .observe(took.as_secs_f64());
    }

    /// The watch is not healthy.
    pub fn on_failure(&self, cause: RestartCause, why: &str) {
        match &self.check {
            WatchCheck::Always(check) => check.degraded(why),
            WatchCheck::Tracked { watches, name, .. } => watches.on_failure(name, cause, why),
        }
    }

    /// Everything that the API server has is in the queue.
    pub fn on_synced(&self) {
        if !self.synced.swap(true, Ordering::AcqRel)
            && let Some(first_sync) = &self.first_sync
        {
            first_sync.count_synced();
        }
    }
}
