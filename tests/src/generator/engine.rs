//! The simulation loop: a queue of timed actions.
//!
//! The engine has its own clock. A due action emits Events (through [`EventCorrelator`], as real components do),
//! changes the cluster, and schedules further actions. The driver ([`super::history`], [`super::live`]) decides how
//! fast the engine's time passes.

use std::collections::VecDeque;
use std::time::Duration;

use super::actions::Action;
use super::cluster::{Cluster, Size};
use super::event::Observation;
use super::event_correlator::{EventCorrelator, EventDraft};
use super::rng::Rng;
use crate::clock::Micros;
use crate::timer_queue::TimerQueue;

/// Cluster, clock and timers.
#[derive(Debug)]
pub(super) struct Engine {
    /// The cluster as it is now.
    pub(super) cluster: Cluster,
    pub(super) rng: Rng,
    /// The current time, as Events carry it.
    pub(super) now: Micros,
    /// Mean seconds between two routine actions; 0: none.
    pub(super) arrival_gap: f64,
    correlator: EventCorrelator,
    /// The engine's own time in microseconds; actions are scheduled in it.
    ticks: u64,
    timers: TimerQueue<u64, Action>,
    /// Observations that the driver has not taken yet.
    pub(super) out: VecDeque<Observation>,
    /// Until then, every image pull fails.
    pub(super) no_registry_until: Micros,
}

impl Engine {
    /// A cluster without routine actions.
    pub(super) fn new(seed: u64, size: Size, now: Micros, event_ttl: Duration) -> Self {
        let mut rng = Rng::new(seed);
        let cluster = Cluster::build(size, now, &mut rng.fork());
        let mut engine = Self {
            cluster,
            rng,
            now,
            arrival_gap: 0.0,
            correlator: EventCorrelator::new(event_ttl),
            ticks: 0,
            timers: TimerQueue::new(),
            out: VecDeque::new(),
            no_registry_until: Micros(0),
        };
        engine.after(60.0, Action::FlushSeries);
        engine
    }

    /// Schedules an action.
    pub(super) fn after(&mut self, seconds: f64, act: Action) {
        let ticks = self.ticks + (seconds.max(0.0) * 1e6) as u64;
        self.timers.add(ticks, act);
    }

    /// The engine's time of the next action.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.next_at()
    }

    /// The engine's current time.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Runs the next action; `pace` is the Event time that passes per unit of engine time.
    pub(super) fn step(&mut self, pace: f64) {
        let Some((ticks, act)) = self.timers.pop() else {
            return;
        };
        let passed = (ticks - self.ticks) as f64 * pace;
        self.ticks = ticks;
        self.now = self.now + Duration::from_micros(passed as u64);
        self.run(act);
    }

    /// Emits an Event through the correlator.
    pub(super) fn emit(&mut self, draft: Option<EventDraft>) {
        let Some(draft) = draft else { return };
        let correlated = self.correlator.correlate(draft, self.now, &mut self.rng);
        self.put(correlated);
    }

    pub(super) fn flush_series(&mut self) {
        for observation in self.correlator.flush_series(self.now, &mut self.rng) {
            self.put(Some(observation));
        }
    }

    fn put(&mut self, observation: Option<Observation>) {
        let Some(mut observation) = observation else {
            return;
        };
        observation.event.version = self.cluster.next_version();
        self.out.push_back(observation);
    }
}
