//! The task of the analysis: messages of the informers in, items for the queue out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::{Check, Health, Watchdog};
use kube9_base::relist::RelistSignal;
use kube9_ingest::informer_event::InformerMessage;
use kube9_ingest::item::Item;
use kube9_model::ObjectRef;
use kube9_model::commit_stats::CommitStats;
use kube9_model::watch::RelistCause;
use kube9_rules::rules::finding_names;
use kube9_rules::self_status::{DiskSpace, FailedCheck, SelfStatus};
use kube9_rules::state::Analysis;
use kube9_store::queue::Queue;
use kube9_store::queue::push;
use kube9_store::volume::statvfs;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::metrics::Metrics;

/// Capacity of the inbox; a full inbox makes the informers wait. A message holds one object of at most
/// `OBJECT_BYTES_MAX`, and its canonical body of at most 64 KiB: 6 MiB in total, and usually 0.3.
pub const INBOX_MAX: usize = 64;

/// Messages handled before the rules run, so that a burst about one Service is evaluated once.
const EVENTS_PER_BATCH: usize = 64;

/// Subjects evaluated before the next messages: about a millisecond.
const SUBJECTS_PER_BATCH: usize = 100;

/// How often the rows of open findings are extended, so that a search of the last few minutes finds them.
const EXTEND_EVERY: Duration = Duration::from_secs(120);

/// How often timers are checked.
const TICK: Duration = Duration::from_millis(500);

/// How often the volume is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// The analysis counts as stuck after this time without a heartbeat. It sends heartbeats while it waits for the queue.
pub const STUCK_AFTER: Duration = Duration::from_secs(300);

/// What the task works with.
pub struct Engine {
    pub analysis: Analysis,
    pub inbox: mpsc::Receiver<InformerMessage>,
    /// Statistics of commits, from the writer.
    pub commit_stats: Arc<CommitStats>,
    pub health: Health,
    pub data_dir: PathBuf,
    /// The pod that kube9 runs in, if configured.
    pub pod: Option<ObjectRef>,
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub watchdog: Watchdog,
    /// The check `analysis`: whether all namespaces fit into memory.
    pub check: Check,
    /// To request relists of the informers.
    pub relist_signals: Vec<Arc<RelistSignal>>,
}

impl Engine {
    /// Runs until the future is dropped.
    pub async fn run(mut self) {
        let mut messages = Vec::with_capacity(EVENTS_PER_BATCH);
        let mut extended = self.clock.monotonic();
        let mut polled: Option<Duration> = None;
        let mut volume = Volume::default();
        loop {
            self.watchdog.heartbeat();
            if polled.is_none_or(|at| self.clock.monotonic().saturating_sub(at) >= TICK) {
                polled = Some(self.clock.monotonic());
                self.poll_inputs(&mut volume).await;
            }
            if !self.analysis.has_pending() {
                // A closed inbox means that the process ends: the tick goes on until this future is dropped.
                tokio::select! {
                    taken = self.inbox.recv_many(&mut messages, EVENTS_PER_BATCH), if !self.inbox.is_closed() || !self.inbox.is_empty() => {
                        let _ = taken;
                    }
                    () = tokio::time::sleep(TICK) => {}
                }
            } else {
                while messages.len() < EVENTS_PER_BATCH {
                    let Ok(message) = self.inbox.try_recv() else {
                        break;
                    };
                    messages.push(message);
                }
                tokio::task::yield_now().await;
            }
            for mut message in std::mem::take(&mut messages) {
                // First: the position must not pass a change that is not recorded.
                let tracked = message.tracked.take().map(|item| *item);
                self.push(Vec::from_iter(tracked)).await;
                let items = self.analysis.handle(message, self.clock.now());
                self.push(items).await;
            }
            let items = self.analysis.evaluate(SUBJECTS_PER_BATCH, self.clock.now());
            self.push(items).await;
            if self.clock.monotonic().saturating_sub(extended) >= EXTEND_EVERY {
                extended = self.clock.monotonic();
                if self.analysis.has_open() {
                    self.push(vec![Item::ExtendFindings(self.clock.now())])
                        .await;
                }
            }
        }
    }

    /// Polls what does not come from informers: commits of the writer, and the status of kube9 itself.
    async fn poll_inputs(&mut self, volume: &mut Volume) {
        let now = self.clock.now();
        self.analysis.on_commit(self.commit_stats.take(), now);
        let checks = self.health.checks().into_iter();
        let degraded = checks
            .filter(|check| !check.healthy)
            .map(|check| FailedCheck {
                check: check.name,
                message: check.message,
                since: check.since,
            });
        let own = SelfStatus {
            degraded: degraded.collect(),
            volume: volume.measure(self.clock.monotonic(), &self.data_dir).await,
            pod: self.pod.clone(),
        };
        self.analysis.set_self_status(own, now);
        self.report();
    }

    /// Updates metrics and the check `analysis`.
    fn report(&mut self) {
        let bytes = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (held, max) = self.analysis.bytes();
        let (namespaces, left_out) = self.analysis.left_out();
        let metrics = &self.metrics;
        metrics.analysis_bytes.set(bytes(held));
        metrics.analysis_bytes_max.set(bytes(max));
        metrics.namespaces_off.set(bytes(namespaces));
        self.count();
        let counted = metrics.objects_left_out.get();
        metrics
            .objects_left_out
            .inc_by(left_out.saturating_sub(counted));
        self.check.report(match self.analysis.trouble() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        });
        if self.analysis.take_relist_request() {
            for relist in &self.relist_signals {
                relist.request(RelistCause::Resumed);
            }
        }
    }

    /// Pushes items when the queue has space, so that the queue never drops one of them.
    async fn push(&mut self, items: Vec<Item>) {
        for item in items {
            while tokio::time::timeout(TICK, self.queue.ready())
                .await
                .is_err()
            {
                self.watchdog.heartbeat(); // it waits, it is not stuck
            }
            push(&self.queue, &self.metrics.store, item, self.clock.now());
        }
    }

    fn count(&self) {
        let open = self.analysis.open_by_rule();
        for name in finding_names() {
            if let Some(gauge) = self.metrics.findings_open(name) {
                gauge.set(open.get(name).copied().unwrap_or(0));
            }
        }
    }
}

/// The last measured disk space. Measured on a blocking thread, so that a file system that hangs blocks no task.
#[derive(Debug, Default)]
struct Volume {
    space: Option<DiskSpace>,
    measured_at: Option<Duration>,
    measuring: Option<JoinHandle<Option<DiskSpace>>>,
}

impl Volume {
    async fn measure(&mut self, now: Duration, directory: &std::path::Path) -> Option<DiskSpace> {
        match self.measuring.take() {
            Some(measuring) if measuring.is_finished() => {
                self.space = measuring.await.ok().flatten().or(self.space);
            }
            Some(measuring) => self.measuring = Some(measuring),
            None if self
                .measured_at
                .is_none_or(|at| now.saturating_sub(at) >= MEASURE_EVERY) =>
            {
                self.measured_at = Some(now);
                let directory = directory.to_owned();
                self.measuring = Some(tokio::task::spawn_blocking(move || {
                    statvfs(&directory).map(|volume| DiskSpace {
                        total: volume.total,
                        free: volume.available,
                    })
                }));
            }
            None => {}
        }
        self.space
    }
}
