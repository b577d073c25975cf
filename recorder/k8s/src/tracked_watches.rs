//! The watches of all kinds that only the change history reads: one check, and one log message for all that fail together.
//!
//! Invariant: a kind that is absent fails nothing. A kind that fails degrades the check, never readiness.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kube9_base::clock::Clock;
use kube9_base::health::{Check, Health};
use kube9_model::label::Label;
use tracing::warn;

use crate::metrics::RestartCause;

/// The name of the check; it is added when a watch fails for the first time.
const CHECK: &str = "watch/changes";

/// The API server answers with this for a moment after a custom resource was defined or changed, and for longer if its
/// conversion webhook fails.
const INITIALIZING: &str = "storage is (re)initializing";

/// How long a kind may be initialized before it has failed.
const INITIALIZING_MAX: Duration = Duration::from_secs(60);

/// Watches that fail for one cause fail within this time of each other, so that one log message counts them all.
const LOG_AFTER: Duration = Duration::from_secs(5);

/// Shortest interval between log messages for one cause.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The watches that fail.
pub struct TrackedWatches {
    health: Health,
    clock: Clock,
    check: OnceLock<Check>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failing: BTreeMap<String, FailedWatch>,
    /// When a cause was last logged, by the monotonic clock.
    logged: BTreeMap<&'static str, Duration>,
}

struct FailedWatch {
    cause: RestartCause,
    why: String,
    /// By the monotonic clock.
    since: Duration,
}

impl FailedWatch {
    /// Whether the API server only needs a moment.
    fn is_initializing(&self, now: Duration) -> bool {
        self.why.contains(INITIALIZING) && now.saturating_sub(self.since) < INITIALIZING_MAX
    }
}

impl TrackedWatches {
    /// None fails.
    pub fn new(health: Health, clock: Clock) -> Self {
        Self {
            health,
            clock,
            check: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// A watch failed.
    pub(crate) fn on_failure(&self, name: &str, cause: RestartCause, why: &str) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = state
            .failing
            .entry(name.to_owned())
            .or_insert_with(|| FailedWatch {
                cause,
                why: String::new(),
                since: now,
            });
        (failure.cause, failure.why) = (cause, why.to_owned());
        let message = state.summary(now);
        let due_message = state.due_message(cause, now);
        drop(state);
        if let Some(message) = message {
            let added = || self.health.check(CHECK, None);
            self.check.get_or_init(added).degraded(message);
        }
        if let Some(kinds) = due_message {
            let cause = cause.name();
            warn!(
                kinds,
                cause, why, "kinds of the change history are not watched"
            );
        }
    }

    /// A watch is open and healthy, or its kind is absent.
    pub(crate) fn on_healthy(&self, name: &str) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.failing.remove(name).is_none() {
            return;
        }
        let message = state.summary(now);
        drop(state);
        if let Some(check) = self.check.get() {
            match message {
                Some(message) => check.degraded(message),
                None => check.healthy(),
            }
        }
    }

    /// A kind is not tracked, for a reason; `None`: it is.
    pub(crate) fn on_absent(&self, name: &str, why: Option<&str>) {
        self.health.report_absent(name, why);
    }
}

impl State {
    /// The message of the check; `None` if it is healthy.
    fn summary(&self, now: Duration) -> Option<String> {
        let mut failing = self.failing.iter();
        let mut failing = failing
            .by_ref()
            .filter(|(_, failure)| !failure.is_initializing(now));
        let (first, failure) = failing.next()?;
        let why = &failure.why;
        Some(match failing.count() {
            0 => format!("{first}: {why}"),
            others => format!("{first} and {others} other kinds: {why}"),
        })
    }

    /// How many kinds a log message of the cause counts, if one is due.
    fn due_message(&mut self, cause: RestartCause, now: Duration) -> Option<usize> {
        let of_cause =
            |failure: &&FailedWatch| failure.cause == cause && !failure.is_initializing(now);
        let kinds = self.failing.values().filter(of_cause).count();
        let first = self.failing.values().filter(of_cause).map(|one| one.since);
        let is_settled = now.saturating_sub(first.min()?) >= LOG_AFTER;
        let logged = self.logged.get(cause.name());
        let is_due = logged.is_none_or(|at| now.saturating_sub(*at) >= LOG_EVERY);
        if !(is_settled && is_due) {
            return None;
        }
        self.logged.insert(cause.name(), now);
        Some(kinds)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube9_base::clock::ManualTime;
    use kube9_model::time::Timestamp;

    use super::*;

    fn watches() -> (Arc<ManualTime>, Health, TrackedWatches) {
        let time = ManualTime::at(Timestamp::from_secs(1_000_000));
        let clock = Clock::new(time.clone());
        let health = Health::new(clock.clone());
        (time, health.clone(), TrackedWatches::new(health, clock))
    }

    #[test]
    fn outage_changes_the_health_twice_and_names_the_number_of_kinds() {
        let (_, health, watches) = watches();
        let names: Vec<String> = (0..35).map(|n| format!("kind{n}")).collect();
        for _ in 0..5 {
            for name in &names {
                watches.on_failure(name, RestartCause::Transport, "refused");
            }
        }
        let [check] = &health.checks()[..] else {
            panic!("one check expected")
        };
        assert_eq!(check.message, "kind0 and 34 other kinds: refused");
        names.iter().for_each(|name| watches.on_healthy(name));
        assert!(health.healthy());
        assert_eq!(health.changes(), 2);
    }

    #[test]
    fn failures_of_one_cause_are_logged_once_a_minute() {
        let (time, _, watches) = watches();
        let mut logged: Vec<Duration> = Vec::new();
        for _ in 0..150 {
            for name in ["a", "b", "c"] {
                let now = watches.clock.monotonic();
                watches.on_failure(name, RestartCause::Transport, "refused");
                let state = watches.state.lock().unwrap();
                let at = state.logged.get(RestartCause::Transport.name());
                logged.extend(at.copied().filter(|at| *at == now));
            }
            time.advance(Duration::from_secs(1));
        }
        logged.dedup();
        assert_eq!(logged.len(), 3, "{logged:?}");
    }

    #[test]
    fn kind_that_is_initialized_is_degraded_after_a_minute() {
        let (time, health, watches) = watches();
        let fail = || {
            let why = "the API server asks to wait 1 s: storage is (re)initializing";
            watches.on_failure("rollouts.argoproj.io", RestartCause::Throttled, why);
        };
        fail();
        time.advance(Duration::from_secs(59));
        fail();
        assert!(health.healthy() && health.checks().is_empty());
        time.advance(Duration::from_secs(1));
        fail();
        assert!(!health.healthy());
        watches.on_healthy("rollouts.argoproj.io");
        assert!(health.healthy());
    }
}
