//! Time as the recorder sees it: a wall clock for what is stored, a steady one for what is measured.
//!
//! Nothing in the recorder asks the system for the time but through a [`Clock`], so that a test owns it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube9_model::time::Timestamp;

/// Where the time comes from.
pub trait TimeSource: Send + Sync {
    /// The wall clock. May jump, in both directions.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary fixed moment. Never goes back.
    fn elapsed(&self) -> Duration;
}

/// A shared handle on a [`TimeSource`]; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The machine's own clocks.
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

    /// The steady clock: for ages and deadlines. Only differences of two readings mean something.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
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

    fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// Time that moves only when told to: for tests and simulations.
#[derive(Debug)]
pub struct ManualTime(Mutex<(Timestamp, Duration)>);

impl ManualTime {
    /// Time that stands at `now`.
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new((now, Duration::ZERO))))
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        time.0 = time.0.plus(by);
        time.1 += by;
    }

    /// Sets the wall clock alone, as NTP or a person may do; the steady clock stays.
    pub fn jump_to(&self, now: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

impl TimeSource for ManualTime {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_leaves_the_steady_clock_alone() {
        let time = ManualTime::at(Timestamp::from_secs(1_000));
        let clock = Clock::new(time.clone());
        time.advance(Duration::from_secs(5));
        time.jump_to(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn clones_of_a_clock_show_one_time() {
        let time = ManualTime::at(Timestamp::EPOCH);
        let (one, other) = (Clock::new(time.clone()), Clock::new(time.clone()));
        time.advance(Duration::from_millis(1500));
        assert_eq!(one.now(), other.clone().now());
        assert_eq!(one.now(), Timestamp::from_millis(1500));
    }
}
