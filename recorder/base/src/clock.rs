//! The recorder's clocks: a wall clock for what is stored, a monotonic clock for what is measured.
//!
//! All code reads the time through a [`Clock`], so that a test controls it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;

/// The source of the time.
pub trait TimeSource: Send + Sync {
    /// The wall clock. May jump, in both directions.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// A shared handle on a [`TimeSource`]; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The clocks of the system.
    pub fn system() -> Self {
        Self(Arc::new(SystemTime {
            origin: Instant::now(),
        }))
    }

    /// A clock that reads `source`.
    pub fn new(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    /// The wall clock: for what is stored and shown.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// The monotonic clock: for ages and deadlines. Only the difference of two readings is meaningful.
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

struct SystemTime {
    origin: Instant,
}

impl TimeSource for SystemTime {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Time that the caller advances: for tests and simulations.
#[derive(Debug)]
pub struct ManualTime(Mutex<(Timestamp, Duration)>);

impl ManualTime {
    /// Time that starts, and stands still, at `now`.
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new((now, Duration::ZERO))))
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.0 = time.0.plus(by);
        time.1 += by;
    }

    /// Sets only the wall clock, as NTP or an operator may do.
    pub fn jump_to(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl TimeSource for ManualTime {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_to_does_not_change_the_monotonic_clock() {
        let time = ManualTime::at(Timestamp::from_secs(1_000));
        let clock = Clock::new(time.clone());
        time.advance(Duration::from_secs(5));
        time.jump_to(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
    }

    #[test]
    fn clock_clones_share_the_time() {
        let time = ManualTime::at(Timestamp::EPOCH);
        let (one, other) = (Clock::new(time.clone()), Clock::new(time.clone()));
        time.advance(Duration::from_millis(1500));
        assert_eq!(one.now(), other.clone().now());
        assert_eq!(one.now(), Timestamp::from_millis(1500));
    }
}
