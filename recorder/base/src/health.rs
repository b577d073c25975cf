//! Collects the health of all tasks, for the probes.
//!
//! ```text
//!   Check     (database, each watch, queue)  report ─────▶ /healthz   degraded: an operator should look
//!   Watchdog  (each task)                    heartbeat ──▶ /livez     overdue: a restart helps
//!   set_ready (first sync)                   ────────────▶ /readyz    one-way
//! ```
//!
//! A probe only reads what was reported. So no request causes a write, and a database that hangs cannot block a probe.
//!
//! Invariant: silence is not health. A check without a report, or without a recent one, is degraded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube9_model::time::Timestamp;
use tracing::{info, warn};

use crate::clock::Clock;

/// Longest message of a check, in characters: a probe reads it in a JSON document.
const MESSAGE_CHARS_MAX: usize = 300;

/// A handle on the health registry; cheap to clone, shared by all tasks.
#[derive(Clone)]
pub struct Health(Arc<HealthRegistry>);

struct HealthRegistry {
    clock: Clock,
    ready: AtomicBool,
    checks: Mutex<Vec<CheckState>>,
    /// How often a check changed between healthy and degraded.
    changes: AtomicU64,
    /// Kinds that are not tracked, and why.
    absent: Mutex<BTreeMap<String, String>>,
    tasks: Mutex<Vec<Arc<Task>>>,
}

struct CheckState {
    name: String,
    stale_after: Option<Duration>,
    last: Option<LastReport>,
}

struct LastReport {
    /// `Err` with the problem.
    result: Result<(), String>,
    /// When it became healthy or degraded.
    since: Timestamp,
    /// When it was reported, by both clocks.
    at: Timestamp,
    at_monotonic: Duration,
}

struct Task {
    name: String,
    overdue_after: Duration,
    /// The monotonic clock, in milliseconds, at the last heartbeat.
    last_heartbeat: AtomicU64,
    /// Stopped in an orderly way: no heartbeat is expected.
    stopped: AtomicBool,
}

/// Reports one check. A report with an unchanged result costs a lock and no log message.
pub struct Check {
    registry: Arc<HealthRegistry>,
    index: usize,
}

/// Detects that a task is stuck. A heartbeat is one atomic store.
pub struct Watchdog {
    clock: Clock,
    task: Arc<Task>,
}

/// One check, as `/healthz` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckView {
    /// Its name, e.g. `database` or `watch/Pod`.
    pub name: String,
    /// Whether it is healthy.
    pub healthy: bool,
    /// The problem; empty while it is healthy.
    pub message: String,
    /// When it became healthy or degraded; `None` before the first report.
    pub since: Option<Timestamp>,
    /// When it last reported; `None` before the first report.
    pub last_report: Option<Timestamp>,
}

impl Health {
    /// An empty registry: not ready, nothing to check.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(HealthRegistry {
            clock,
            ready: AtomicBool::new(false),
            checks: Mutex::default(),
            changes: AtomicU64::new(0),
            absent: Mutex::default(),
            tasks: Mutex::default(),
        }))
    }

    /// Adds a check. With `stale_after`, it is degraded if the last report is older than that.
    pub fn check(&self, name: impl Into<String>, stale_after: Option<Duration>) -> Check {
        let mut checks = self.0.checks();
        checks.push(CheckState {
            name: name.into(),
            stale_after,
            last: None,
        });
        Check {
            registry: self.0.clone(),
            index: checks.len() - 1,
        }
    }

    /// Adds a task, with a first heartbeat now. It counts as stuck after `overdue_after` without a heartbeat, which must be
    /// generous: the kubelet restarts a stuck recorder.
    pub fn task(&self, name: impl Into<String>, overdue_after: Duration) -> Watchdog {
        let task = Arc::new(Task {
            name: name.into(),
            overdue_after,
            last_heartbeat: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        });
        self.0
            .tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(task.clone());
        let watchdog = Watchdog {
            clock: self.0.clock.clone(),
            task,
        };
        watchdog.heartbeat();
        watchdog
    }

    /// A kind is not tracked, because the API server does not serve it or denies it; `None`: it is. Neither is a problem.
    pub fn report_absent(&self, kind: &str, why: Option<&str>) {
        let mut absent = self.0.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = match why {
            Some(why) => absent.insert(kind.to_owned(), shorten(why)).is_none(),
            None => absent.remove(kind).is_some(),
        };
        if has_changed {
            self.0.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The kinds that are not tracked, and why.
    pub fn absent(&self) -> BTreeMap<String, String> {
        let absent = self.0.absent.lock();
        absent.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first sync is complete. This is final: a recorder that loses its cluster is degraded, but still ready.
    pub fn set_ready(&self) {
        if !self.0.ready.swap(true, Ordering::Relaxed) {
            info!("ready: the first sync is complete");
        }
    }

    /// Whether the first sync is complete.
    pub fn ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// The stuck tasks, for which a restart helps. (A task that panics ends the process.)
    pub fn faults(&self) -> Vec<String> {
        let now = self.0.clock.monotonic();
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().filter_map(|task| task.fault(now)).collect()
    }

    /// All checks, in the order in which they were added.
    pub fn checks(&self) -> Vec<CheckView> {
        let now = self.0.clock.monotonic();
        self.0
            .checks()
            .iter()
            .map(|check| check.view(now))
            .collect()
    }

    /// How often a check was added or changed between healthy and degraded: readers publish the health again when it grows.
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// Whether every check is healthy and no task is stuck.
    pub fn healthy(&self) -> bool {
        self.faults().is_empty() && self.checks().iter().all(|check| check.healthy)
    }
}

impl HealthRegistry {
    fn checks(&self) -> MutexGuard<'_, Vec<CheckState>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// Reports success.
    pub fn healthy(&self) {
        self.report(Ok(()));
    }

    /// Reports a problem. `message` must not contain a secret.
    pub fn degraded(&self, message: impl Into<String>) {
        self.report(Err(message.into()));
    }

    /// Reports a result. A change is logged.
    pub fn report(&self, result: Result<(), String>) {
        let result = result.map_err(|message| shorten(&message));
        let (at, at_monotonic) = (self.registry.clock.now(), self.registry.clock.monotonic());
        let mut checks = self.registry.checks();
        let check = &mut checks[self.index];
        let before = check
            .last
            .as_ref()
            .map(|last| (last.result.is_ok(), last.since));
        let since = match before {
            Some((ok, since)) if ok == result.is_ok() => since,
            _ => at,
        };
        let changed = before.map(|(ok, _)| ok) != Some(result.is_ok());
        if changed {
            self.registry.changes.fetch_add(1, Ordering::Relaxed);
        }
        let name = changed.then(|| check.name.clone());
        let message = result.as_ref().err().cloned();
        check.last = Some(LastReport {
            result,
            since,
            at,
            at_monotonic,
        });
        // Logging may block on a full pipe; the lock must not be held meanwhile.
        drop(checks);
        match (name, message) {
            (Some(check), Some(message)) => warn!(check, message, "degraded"),
            (Some(check), None) if before.is_some() => info!(check, "healthy again"),
            _ => {}
        }
    }
}

impl CheckState {
    fn view(&self, now: Duration) -> CheckView {
        let view = |message: String, since, last_report| CheckView {
            name: self.name.clone(),
            healthy: message.is_empty(),
            message,
            since,
            last_report,
        };
        let Some(last) = &self.last else {
            return view("no report yet".to_owned(), None, None);
        };
        let age = now.saturating_sub(last.at_monotonic);
        match &last.result {
            Err(message) => view(message.clone(), Some(last.since), Some(last.at)),
            Ok(()) => match self.stale_after.filter(|bound| age > *bound) {
                // It was healthy until one bound after its last report.
                Some(bound) => {
                    let message = format!("no report for {} s", age.as_secs());
                    view(message, Some(last.at.plus(bound)), Some(last.at))
                }
                None => view(String::new(), Some(last.since), Some(last.at)),
            },
        }
    }
}

impl Watchdog {
    /// The task is not stuck.
    pub fn heartbeat(&self) {
        let now = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.task.last_heartbeat.store(now, Ordering::Relaxed);
    }

    /// The task stops in an orderly way, without further heartbeats.
    pub fn stop(&self) {
        self.task.stopped.store(true, Ordering::Relaxed);
    }
}

impl Task {
    fn fault(&self, now: Duration) -> Option<String> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let last_heartbeat = Duration::from_millis(self.last_heartbeat.load(Ordering::Relaxed));
        let silence = now.saturating_sub(last_heartbeat);
        (silence > self.overdue_after).then(|| {
            format!(
                "task {} has not moved for {} s",
                self.name,
                silence.as_secs()
            )
        })
    }
}

/// Truncates at [`MESSAGE_CHARS_MAX`]; never empty, because an empty message means healthy.
fn shorten(message: &str) -> String {
    if message.is_empty() {
        return "no reason given".to_owned();
    }
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualTime;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn registry() -> (Arc<ManualTime>, Health) {
        let time = ManualTime::at(Timestamp::from_secs(1_000_000));
        let health = Health::new(Clock::new(time.clone()));
        (time, health)
    }

    fn only(health: &Health) -> CheckView {
        let [check] = &health.checks()[..] else {
            panic!("one check expected")
        };
        check.clone()
    }

    #[test]
    fn check_without_a_report_is_degraded() {
        let (_, health) = registry();
        assert!(health.healthy());
        let check = health.check("database", None);
        assert!(!health.healthy());
        let view = only(&health);
        assert_eq!((view.message.as_str(), view.since), ("no report yet", None));
        check.healthy();
        assert!(health.healthy());
    }

    #[test]
    fn check_is_degraded_when_stale_until_the_next_report() {
        let (time, health) = registry();
        let check = health.check("database", Some(S(30)));
        check.healthy();
        time.advance(S(30));
        assert!(health.healthy());
        time.advance(Duration::from_millis(1));
        let view = only(&health);
        assert_eq!(view.message, "no report for 30 s");
        assert_eq!(view.since, Some(Timestamp::from_secs(1_000_030)));
        assert_eq!(view.last_report, Some(Timestamp::from_secs(1_000_000)));
        check.healthy();
        assert!(health.healthy());
    }

    #[test]
    fn check_is_not_stale_after_a_jump_of_the_wall_clock() {
        let (time, health) = registry();
        let check = health.check("database", Some(S(30)));
        let watchdog = health.task("writer", S(60));
        check.healthy();
        watchdog.heartbeat();
        time.jump_to(Timestamp::from_secs(9_000_000));
        assert!(health.healthy());
        time.jump_to(Timestamp::EPOCH);
        assert!(health.healthy());
    }

    #[test]
    fn check_since_changes_only_with_the_result() {
        let (time, health) = registry();
        let check = health.check("watch/Event", None);
        check.degraded("403");
        time.advance(S(5));
        let changes = health.changes();
        check.degraded("connection refused");
        assert_eq!(health.changes(), changes, "it was degraded before");
        let view = only(&health);
        assert_eq!(
            (view.message.as_str(), view.since),
            ("connection refused", Some(Timestamp::from_secs(1_000_000)))
        );
        assert_eq!(view.last_report, Some(Timestamp::from_secs(1_000_005)));
        time.advance(S(5));
        check.healthy();
        assert!(health.changes() > changes);
        assert_eq!(only(&health).since, Some(Timestamp::from_secs(1_000_010)));
    }

    #[test]
    fn check_degraded_with_an_empty_message_is_degraded() {
        let (_, health) = registry();
        let check = health.check("queue", None);
        check.degraded("");
        assert!(!health.healthy());
        check.degraded("é".repeat(1000));
        assert_eq!(only(&health).message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn faults_do_not_contain_a_degraded_check() {
        let (_, health) = registry();
        health.check("database", None).degraded("disk full");
        assert!(!health.healthy());
        assert_eq!(health.faults(), Vec::<String>::new());
    }

    #[test]
    fn faults_contain_a_task_without_heartbeat_until_the_next_one() {
        let (time, health) = registry();
        time.advance(S(500));
        let watchdog = health.task("writer", S(60));
        time.advance(S(60));
        assert!(health.faults().is_empty(), "a task begins with a beat");
        time.advance(S(1));
        assert_eq!(health.faults(), ["task writer has not moved for 61 s"]);
        assert!(!health.healthy());
        watchdog.heartbeat();
        assert!(health.faults().is_empty());
    }

    #[test]
    fn faults_do_not_contain_a_stopped_task() {
        let (time, health) = registry();
        let stopped = health.task("events", S(60));
        let _stuck = health.task("http", S(60));
        stopped.stop();
        time.advance(S(600));
        assert_eq!(health.faults(), ["task http has not moved for 600 s"]);
    }

    #[test]
    fn set_ready_is_final() {
        let (_, health) = registry();
        assert!(!health.ready());
        health.set_ready();
        health.check("watch/Event", None).degraded("gone");
        assert!(health.ready());
    }
}
