//! What a source tells metrics, `/healthz` and `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::{Check, Health};
use kube9_model::label::Kind;

use crate::metrics::{Metrics, RestartCause};

/// Counts the sources that have not synced yet; the last one makes the recorder ready.
#[derive(Clone)]
pub struct FirstSync {
    left: Arc<AtomicUsize>,
    health: Health,
}

impl FirstSync {
    /// For that many sources.
    pub fn of(sources: usize, health: Health) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(sources)),
            health,
        }
    }

    fn one_more(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.health.set_ready();
        }
    }
}

/// One source's voice.
pub struct Report {
    metrics: Arc<Metrics>,
    check: Check,
    kind: Kind,
    clock: Clock,
    first_sync: FirstSync,
    synced: AtomicBool,
    connected: AtomicBool,
}

impl Report {
    /// Reports on `check`, and under the label of `kind`.
    pub fn new(
        metrics: Arc<Metrics>,
        check: Check,
        kind: Kind,
        clock: Clock,
        first_sync: FirstSync,
    ) -> Self {
        Self {
            metrics,
            check,
            kind,
            clock,
            first_sync,
            synced: false.into(),
            connected: false.into(),
        }
    }

    /// It works. A watch that was only just accepted after a failure does not yet: servers that end every watch at once
    /// accept it, too.
    pub fn works(&self) {
        self.check.healthy();
    }

    /// A watch is open, and that is all it takes.
    pub fn connected(&self) {
        self.opened();
        self.works();
    }

    /// A watch is open.
    pub fn opened(&self) {
        if !self.connected.swap(true, Ordering::AcqRel) {
            self.metrics.watches.connected(self.kind);
        }
        self.active();
        self.synced();
    }

    /// The watch has ended.
    pub fn disconnected(&self) {
        if self.connected.swap(false, Ordering::AcqRel) {
            self.metrics.watches.disconnected(self.kind);
        }
    }

    /// The watch has to be opened again, or the list begun again.
    pub fn restarted(&self, cause: RestartCause) {
        self.metrics.watch_restarts.of(self.kind, cause).inc();
    }

    /// Something was heard from the API server.
    pub fn active(&self) {
        self.metrics
            .watch_last_activity
            .of(self.kind)
            .set(self.clock.now().millis() as f64 / 1000.0);
    }

    /// A complete list took this long.
    pub fn listed(&self, took: Duration) {
        self.metrics
            .list_duration
            .of(self.kind)
            .observe(took.as_secs_f64());
    }

    /// It does not work; says why.
    pub fn failed(&self, why: &str) {
        self.check.degraded(why);
    }

    /// Everything the API server holds is in the queue.
    pub fn synced(&self) {
        if !self.synced.swap(true, Ordering::AcqRel) {
            self.first_sync.one_more();
        }
    }
}
