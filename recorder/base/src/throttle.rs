//! Log messages that others can cause at will.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a line comes at most that others can cause at will: an object that cannot be read, say.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Lets a repeated message through once per period, and counts the others: `if let Some(held_back) = t.pass(now)`.
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
    /// At most one pass in each `period`.
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            state: Mutex::new((None, 0)),
        }
    }

    /// `Some(how many were held back since the last pass)` if the message may be logged now. `now` is a reading of a
    /// steady clock, always the same one.
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
    fn throttle_passes_once_a_period_and_counts_what_it_held_back() {
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
