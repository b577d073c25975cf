//! The course of things: a queue of acts in the order of time, and what they say and change.
//!
//! Time is the world's own.
//! An act that is due runs, says what its components say (through [`EventCorrelator`], as in real life), changes the cluster,
//! and plans further acts.
//! The driver ([`super::history`], [`super::live`]) decides how fast the world's time goes.

use std::collections::VecDeque;
use std::time::Duration;

use super::actions::Action;
use super::cluster::{Cluster, Size};
use super::event::Observation;
use super::event_correlator::{EventCorrelator, EventDraft};
use super::rng::Rng;
use crate::clock::Micros;
use crate::timer_queue::TimerQueue;

/// The world in motion.
#[derive(Debug)]
pub(super) struct Engine {
    /// The cluster as it is now.
    pub(super) cluster: Cluster,
    pub(super) rng: Rng,
    /// Now, in the time that Events carry.
    pub(super) now: Micros,
    /// Seconds between two things that happen by themselves, on average; 0: nothing does.
    pub(super) arrival_gap: f64,
    correlator: EventCorrelator,
    /// Microseconds of the world's own time, which acts are planned in.
    ticks: u64,
    timers: TimerQueue<u64, Action>,
    /// What reached the API server and was not taken yet.
    pub(super) out: VecDeque<Observation>,
    /// Until then no registry gives an image.
    pub(super) no_registry_until: Micros,
}

impl Engine {
    /// A world at rest.
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

    /// TimerQueue an act.
    pub(super) fn after(&mut self, seconds: f64, act: Action) {
        let ticks = self.ticks + (seconds.max(0.0) * 1e6) as u64;
        self.timers.add(ticks, act);
    }

    /// The world's time of the next act.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.next_at()
    }

    /// The world's time now.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Runs the next act; `pace` is how much time of Events passes for one of the world's own.
    pub(super) fn step(&mut self, pace: f64) {
        let Some((ticks, act)) = self.timers.pop() else {
            return;
        };
        let passed = (ticks - self.ticks) as f64 * pace;
        self.ticks = ticks;
        self.now = self.now + Duration::from_micros(passed as u64);
        self.run(act);
    }

    /// Lets a component say something.
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
