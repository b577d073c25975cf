//! Exponential back-off: jittered, capped, without a limit of attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The delays between attempts; they grow with each consecutive failure.
#[derive(Debug)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    waits: ExponentialBackoff,
}

impl Backoff {
    /// Starts at `initial`, never above `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self {
            initial,
            max,
            waits: waits(initial, max),
        }
    }

    /// The next delay.
    pub fn wait(&mut self) -> Duration {
        // backon adds its jitter on top of the cap, so the cap is applied again.
        self.waits.next().unwrap_or(self.max).min(self.max)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.waits = waits(self.initial, self.max);
    }
}

fn waits(initial: Duration, max: Duration) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(initial)
        .with_max_delay(max)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// A delay within a tenth of `about`, so that many tasks do not act at the same moment.
pub fn jittered(about: Duration) -> Duration {
    let tenth = about / 10;
    let random = RandomState::new().hash_one(()) as u32;
    about - tenth + tenth.mul_f64(2.0 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_grows_to_the_cap_until_reset() {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(initial, max);
        let waits: Vec<_> = (0..50).map(|_| backoff.wait()).collect();
        assert!(
            waits.iter().all(|wait| (initial..=max).contains(wait)),
            "{waits:?}"
        );
        assert_eq!(waits[49], max);
        backoff.reset();
        assert!(backoff.wait() <= initial * 2);
    }

    #[test]
    fn jittered_is_within_a_tenth() {
        let minute = Duration::from_secs(60);
        let all: Vec<_> = (0..100).map(|_| jittered(minute)).collect();
        assert!(
            all.iter()
                .all(|one| (minute * 9 / 10..=minute * 11 / 10).contains(one)),
            "{all:?}"
        );
        assert!(all.iter().any(|one| *one != all[0]));
    }
}
