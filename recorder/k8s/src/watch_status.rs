//! Reports the state of a watch to the metrics, `/healthz` and `/readyz`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::{Check, Health};
use kube9_model::label::Kind;

use crate::metrics::{Metrics, RestartCause};

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
    /// It is added when the watch fails for the first time.
    OnFailure {
        health: Health,
        name: String,
        check: OnceLock<Check>,
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
    pub fn of_tracked(metrics: Arc<Metrics>, health: Health, name: String, clock: Clock) -> Self {
        Self {
            metrics,
            check: WatchCheck::OnFailure {
                health,
                name,
                check: OnceLock::new(),
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
            WatchCheck::OnFailure { check, .. } => {
                if let Some(check) = check.get() {
                    check.healthy();
                }
            }
        }
    }

    /// The API server does not serve the kind, or denies it, and that is no failure.
    pub fn on_absent(&self, why: &str) {
        self.on_disconnect();
        if let WatchCheck::OnFailure {
            health,
            name,
            is_expected,
            ..
        } = &self.check
        {
            if is_expected.swap(false, Ordering::AcqRel) {
                self.metrics.watches.forget(self.kind);
            }
            health.report_absent(kind_of(name), Some(why));
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
        if let WatchCheck::OnFailure {
            health,
            name,
            is_expected,
            ..
        } = &self.check
            && !is_expected.swap(true, Ordering::AcqRel)
        {
            self.metrics.watches.expect(self.kind);
            health.report_absent(kind_of(name), None);
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
    pub fn on_failure(&self, why: &str) {
        match &self.check {
            WatchCheck::Always(check) => check.degraded(why),
            WatchCheck::OnFailure {
                health,
                name,
                check,
                ..
            } => check
                .get_or_init(|| health.check(name.clone(), None))
                .degraded(why),
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

/// The kind in the name of a check.
fn kind_of(check: &str) -> &str {
    check.strip_prefix("watch/").unwrap_or(check)
}
