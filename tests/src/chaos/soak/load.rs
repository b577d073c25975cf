//! The soak's load: a live cluster that cycles through quiet, steady, burst, churn and repeats.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use crate::apiserver::{ApiServer, Kind};
use crate::clock::Micros;
use crate::generator::{Cause, LiveCluster, Probe, Rng, Size};

/// Pods of the cluster at first.
const PODS: usize = 400;

/// Replicas of each workload at the start of a cycle.
const REPLICAS: u64 = 4;

/// Pause between two steps of the load.
const TICK: Duration = Duration::from_millis(50);

/// A phase of the load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    seconds: u64,
    /// Routine writes to Events per second.
    rate: f64,
    mishap_every: Option<Duration>,
}

/// One cycle of five minutes; repeated.
const CYCLE: [Phase; 5] = [
    Phase::new("quiet", 45, 2.0, None),
    Phase::new("steady", 105, 50.0, None),
    Phase::new("burst", 25, 300.0, None),
    Phase::new("churn", 65, 40.0, Some(1_500)),
    Phase::new("repeats", 60, 30.0, Some(2_000)),
];

impl Phase {
    const fn new(name: &'static str, seconds: u64, rate: f64, every_ms: Option<u64>) -> Self {
        Self {
            name,
            seconds,
            rate,
            mishap_every: match every_ms {
                Some(ms) => Some(Duration::from_millis(ms)),
                None => None,
            },
        }
    }

    fn at(since_start: Duration) -> Self {
        let cycle: u64 = CYCLE.iter().map(|phase| phase.seconds).sum();
        let mut second = since_start.as_secs() % cycle;
        for phase in CYCLE {
            if second < phase.seconds {
                return phase;
            }
            second -= phase.seconds;
        }
        CYCLE[0]
    }
}

/// What has been written.
#[derive(Debug, Default)]
struct Written {
    phase: &'static str,
    writes: usize,
    /// resourceVersions after a write to Events, and when; removed once stored.
    unseen: VecDeque<(u64, Instant)>,
}

/// The load, running.
pub(super) struct Load {
    written: Arc<Mutex<Written>>,
    thread: JoinHandle<()>,
}

impl Load {
    /// Runs until `stop`. In the second half of `duration` the rates are 1.5 times as high. `load` multiplies the
    /// rates.
    pub(super) fn start(
        server: Arc<ApiServer>,
        seed: u64,
        duration: Duration,
        load: f64,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let written = Arc::new(Mutex::new(Written::default()));
        let shared = written.clone();
        let thread =
            std::thread::spawn(move || play(&server, seed, (duration, load), &stop, &shared));
        Self { written, thread }
    }

    /// The phase, and the writes to Events so far.
    pub(super) fn now(&self) -> (&'static str, usize) {
        let written = lock(&self.written);
        (written.phase, written.writes)
    }

    /// Age of the oldest write after `position`.
    pub(super) fn lag(&self, position: u64) -> Duration {
        let mut written = lock(&self.written);
        while written
            .unseen
            .front()
            .is_some_and(|(version, _)| *version <= position)
        {
            written.unseen.pop_front();
        }
        let oldest = written.unseen.front();
        oldest.map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    /// Waits for the last write.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.thread.join().map_err(|_| anyhow!("the load panicked"))
    }
}

fn lock(written: &Mutex<Written>) -> std::sync::MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

fn play(
    server: &ApiServer,
    seed: u64,
    (duration, load): (Duration, f64),
    stop: &AtomicBool,
    written: &Mutex<Written>,
) {
    let mut player = Player::new(server, seed, load, Micros::now());
    let begun = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let elapsed = begun.elapsed();
        let phase = player.step(elapsed, elapsed > duration / 2, Micros::now());
        {
            let mut written = lock(written);
            written.phase = phase;
            if written.writes != player.live.observations() {
                written.writes = player.live.observations();
                let newest = server.store().newest(Kind::Event);
                written.unseen.push_back((newest, Instant::now()));
            }
        }
        std::thread::sleep(TICK);
    }
}

/// The cluster and the schedule of its phases.
struct Player {
    live: LiveCluster,
    random: Rng,
    load: f64,
    /// The phase and whether its rates are raised; `None` before the first step.
    phase: Option<(Phase, bool)>,
    /// Since the start.
    next_mishap: Duration,
}

impl Player {
    fn new(server: &ApiServer, seed: u64, load: f64, now: Micros) -> Self {
        let size = Size {
            // Only Deployments: at this rate the other kinds would leave more and more pods, and the recorder's memory
            // correctly grows with the cluster.
            cron_jobs: 0,
            stateful_sets: 0,
            daemon_sets: 0,
            ..Size::for_pods(PODS)
        };
        Self {
            live: LiveCluster::new(seed, size, server.store(), now, 1.0),
            random: Rng::new(!seed),
            load,
            phase: None,
            next_mishap: Duration::ZERO,
        }
    }

    /// Runs everything that is due and returns the name of the phase.
    fn step(&mut self, elapsed: Duration, heavier: bool, now: Micros) -> &'static str {
        let phase = Phase::at(elapsed);
        if self.phase != Some((phase, heavier)) {
            self.phase = Some((phase, heavier));
            let more = if heavier { 1.5 } else { 1.0 };
            self.live.set_rate(phase.rate * self.load * more);
            if phase.name == CYCLE[0].name {
                self.scale_back();
            }
        }
        if let Some(every) = phase.mishap_every
            && elapsed >= self.next_mishap
        {
            self.next_mishap = elapsed + every;
            mishap(&mut self.live, &mut self.random, phase.name);
        }
        self.live.advance(now);
        phase.name
    }

    /// Each cycle begins with a cluster of the same size.
    fn scale_back(&mut self) {
        let workloads = &self.live.cluster().workloads;
        let names: Vec<String> = workloads.iter().map(|of| of.name.to_string()).collect();
        for name in names {
            // Every workload exists: none is ever removed.
            let _ = self.live.scale(&name, REPLICAS);
        }
    }
}

/// Starts a fault or change of the phase on one workload.
fn mishap(live: &mut LiveCluster, random: &mut Rng, phase: &str) {
    let workloads = &live.cluster().workloads;
    let name = workloads[random.index(workloads.len())].name.to_string();
    // A workload without a running pod cannot crash; the next attempt picks another.
    let _ = match (phase, random.below(4)) {
        ("churn", 0 | 1) => live.rollout(&name),
        ("churn", 2) => live.scale(&name, random.between(1, 8)),
        ("churn", _) => live.config_change(&name),
        (_, 0) => live.oom(&name, 4).map(drop),
        (_, 1) => live.crash_loop(&name, 8, Cause::Exit(1)).map(drop),
        (_, 2) => live.image_pull(&name, 12),
        _ => live.probe_failures(&name, Probe::Readiness, 30),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::Config;

    #[test]
    fn load_cycle_contains_every_phase() {
        let at = |second| Phase::at(Duration::from_secs(second)).name;
        assert_eq!(
            [0, 44, 45, 150, 175, 240, 299, 300].map(at),
            [
                "quiet", "quiet", "steady", "burst", "churn", "repeats", "repeats", "quiet"
            ]
        );
    }

    /// The soak's memory figures are valid only if the cluster keeps its size.
    #[test]
    fn load_cycle_does_not_grow_cluster() {
        let server = ApiServer::start(Config::default()).unwrap();
        let start = Micros::now();
        let mut player = Player::new(&server, 3, 0.1, start);
        let mut pods = Vec::new();
        for second in 0..900 {
            let elapsed = Duration::from_secs(second);
            player.step(elapsed, second >= 450, start + elapsed);
            // When the clusters of all cycles have settled to the same size.
            if second % 300 == 40 {
                pods.push(server.store().count(Kind::Pod));
            }
        }
        assert_eq!(pods.len(), 3);
        assert!(
            pods.iter().all(|n| (PODS / 2..PODS * 3 / 2).contains(n)),
            "{pods:?}"
        );
        assert!(pods[2] < pods[1] + pods[1] / 20, "{pods:?}");
        assert!(player.live.observations() > 1_500);
    }
}
