//! Weeks of a cluster's Events, without a server: for benches and for filling databases.

use std::time::Duration;

use super::actions::OBSERVATIONS_PER_ARRIVAL;
use super::cluster::Size;
use super::engine::Engine;
use super::event::Observation;
use crate::clock::Micros;

/// How long a real API server keeps an Event.
const EVENT_TTL: Duration = Duration::from_secs(3600);
/// Simulated time before the first Event of a history, so that slow faults have started.
const WARM_UP: Duration = Duration::from_secs(4 * 3600);
/// Allowed range of the pace, so that the history ends in time; only the last few Events need it.
const PACE: std::ops::RangeInclusive<f64> = 0.2..=5.0;

/// What a watch would have delivered over a span of time, in order.
///
/// The same seed, count, span and end always give the same observations. The size of the cluster follows from the rate,
/// so that a second of its time is a second of Event time.
#[derive(Debug)]
pub struct History {
    engine: Engine,
    end: Micros,
    wanted: usize,
    given: usize,
    /// Mean observations per second of engine time.
    rate: f64,
}

impl History {
    /// Begins `span` before `end` and gives exactly `observations`, the last of them close before `end`.
    pub fn new(seed: u64, observations: usize, span: Duration, end: Micros) -> Self {
        let rate = observations as f64 / span.as_secs_f64().max(1.0);
        let start = end - span;
        let mut engine = Engine::new(seed, Size::for_rate(rate), start - WARM_UP, EVENT_TTL);
        engine.set_arrival_gap(OBSERVATIONS_PER_ARRIVAL / rate);
        let warm = engine.ticks() + u64::try_from(WARM_UP.as_micros()).unwrap_or(0);
        while engine.next_due().is_some_and(|due| due < warm) {
            engine.step(1.0);
            engine.out.clear();
            engine.cluster.changed.clear();
        }
        Self {
            engine,
            end,
            wanted: observations,
            given: 0,
            rate,
        }
    }

    /// The cluster as it is after the observations given so far.
    pub fn cluster(&self) -> &super::cluster::Cluster {
        &self.engine.cluster
    }

    /// Event time per engine time, so that the history ends in time.
    fn pace(&self) -> f64 {
        let left = self.end.since(self.engine.now).as_secs_f64();
        let needed = (self.wanted - self.given) as f64 / self.rate;
        (left / needed.max(1e-9)).clamp(*PACE.start(), *PACE.end())
    }
}

impl Iterator for History {
    type Item = Observation;

    fn next(&mut self) -> Option<Observation> {
        if self.given == self.wanted {
            return None;
        }
        loop {
            if let Some(observation) = self.engine.out.pop_front() {
                self.given += 1;
                return Some(observation);
            }
            let pace = self.pace();
            self.engine.step(pace);
            // A history has no objects.
            self.engine.cluster.changed.clear();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.wanted - self.given;
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::super::event::Change;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn history(seed: u64, n: usize, span: Duration) -> impl Iterator<Item = Observation> {
        History::new(seed, n, span, Micros::from_secs(1_795_000_000))
    }

    #[test]
    fn history_is_determined_by_seed() {
        let first: Vec<_> = history(7, 3000, DAY).collect();
        let second: Vec<_> = history(7, 3000, DAY).collect();
        assert!(first == second);
        assert!(
            first
                .iter()
                .zip(history(8, 3000, DAY))
                .any(|(a, b)| *a != b)
        );
    }

    #[test]
    fn history_fills_span_with_exact_count() {
        for (n, span) in [
            (2000, DAY),
            (20_000, DAY),
            (5000, Duration::from_secs(1200)),
        ] {
            let all: Vec<_> = history(1, n, span).collect();
            let end = Micros::from_secs(1_795_000_000);
            assert_eq!(all.len(), n);
            let (first, last) = (all[0].event.last, all[n - 1].event.last);
            assert!(
                end.since(last) < span / 50,
                "{n} over {span:?} ends {:?} early",
                end.since(last)
            );
            assert!(
                end.since(first) > span - span / 50,
                "{n} over {span:?} begins late"
            );
        }
    }

    #[test]
    fn history_versions_rise_and_updates_follow_creation() {
        let mut counts: HashMap<_, i64> = HashMap::new();
        let mut known_from_warm_up = 0;
        let mut version = 0;
        for seen in history(3, 20_000, DAY) {
            assert!(seen.event.version > version);
            version = seen.event.version;
            assert!(seen.event.last >= seen.event.first && seen.event.count >= 1);
            match counts.insert(seen.event.uid, seen.event.count) {
                Some(before) => {
                    assert_eq!(seen.change, Change::Modified);
                    assert!(seen.event.count > before);
                }
                None if seen.change == Change::Modified => known_from_warm_up += 1,
                None => {}
            }
        }
        assert!(known_from_warm_up < 200, "{known_from_warm_up}");
    }

    /// The proportions of a real cluster, which the storage targets assume: a million Events over thirty days have
    /// about 112,000 objects and 244,000 messages. Scaled down a month to a day, at the same rate.
    #[test]
    fn history_has_realistic_proportions() {
        let n = 33_333;
        let mut objects = HashSet::new();
        let mut messages = HashSet::new();
        for seen in history(5, n, DAY) {
            let about = &seen.event.involved;
            objects.insert((about.about, about.namespace.clone(), about.name.clone()));
            messages.insert(seen.event.message.clone());
        }
        let per_event = |count: usize| count as f64 / n as f64;
        assert!(
            (0.08..0.17).contains(&per_event(objects.len())),
            "{}",
            per_event(objects.len())
        );
        assert!(
            (0.20..0.32).contains(&per_event(messages.len())),
            "{}",
            per_event(messages.len())
        );
    }
}
