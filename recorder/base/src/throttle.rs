//! Rate limit for log messages that others can cause at will.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Shortest interval between messages that others can cause at will, such as an object that does not decode.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Passes a repeated message once per period, and counts the others: `if let Some(suppressed) = t.pass(now)`.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<(Option<Duration>, u64)>,
}

impl Default for Throttle {
    /// Once a minute.
    fn default() -> Self {
        Self::new(LOG_EVERY)
    }
}

impl Throttle {
    /// Passes one message per `period`.
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            state: Mutex::new((None, 0)),
        }
    }

    /// If the message may be logged now: `Some` with the number of messages that were suppressed since the last one. `now`
    /// is a reading of one monotonic clock.
    pub fn pass(&self, now: Duration) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state
            .0
            .is_none_or(|last| now.saturating_sub(last) >= self.period);
        if due {
            state.0 = Some(now);
            return Some(std::mem::take(&mut state.1));
        }
        state.1 += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_is_some_once_a_period_and_counts_the_others() {
        let throttle = Throttle::new(Duration::from_secs(30));
        let pass = |second| throttle.pass(Duration::from_secs(second));
        assert_eq!(pass(100), Some(0));
        assert_eq!(pass(100), None);
        assert_eq!(pass(129), None);
        assert_eq!(pass(130), Some(2));
        assert_eq!(pass(130), None);
        assert_eq!(pass(160), Some(1));
    }
}
