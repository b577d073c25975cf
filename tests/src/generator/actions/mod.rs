//! What happens in the world, act by act. Each act says what real components say then, and plans what follows.

mod controllers;
mod faults;
mod nodes;
mod pods;
mod rollouts;

use std::sync::Arc;

use super::cluster::{PodId, Runs};
use super::engine::Engine;

/// Something that is going to happen.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// The next thing that happens by itself.
    Arrive,
    /// Reporters write what their series gathered.
    FlushSeries,

    /// The scheduler binds a pod.
    Schedule(PodId),
    /// The kubelet has a pod's sandbox.
    Prepare(PodId),
    /// An image has arrived.
    Fetched {
        pod: PodId,
        container: usize,
        millis: u64,
        waited: u64,
    },
    /// The readiness probe is not content yet.
    Unready { pod: PodId, left: u64 },
    /// The readiness probe is content.
    Ready(PodId),
    /// Its containers have ended.
    Remove(PodId),

    /// A new template is rolled out, a step further.
    Rollout {
        workload: usize,
        revision: u64,
        old_hash: Arc<str>,
    },
    /// A rollout should be through by now.
    Deadline { workload: usize, revision: u64 },
    /// An autoscaler changes the number of pods.
    Rescale { workload: usize },
    /// A `StatefulSet` or `DaemonSet` replaces its pods one by one.
    Replace { workload: usize, left: Vec<PodId> },

    /// A `CronJob` fires.
    CronFires { cron: usize, again: bool },
    /// A job's pod has ended.
    JobEnds {
        cron: usize,
        pod: PodId,
        failures: u64,
        fails: bool,
    },

    /// A container ends, and again, and again.
    Crash { pod: PodId, left: u64, cause: Cause },
    /// It is started again.
    Restart { pod: PodId, left: u64, cause: Cause },
    /// An image cannot be had.
    PullFails {
        pod: PodId,
        left: u64,
        wait: f64,
        why: Arc<str>,
    },
    /// A probe fails.
    ProbeFails { pod: PodId, left: u64, probe: Probe },
    /// A volume cannot be mounted.
    MountFails {
        pod: PodId,
        left: u64,
        wait: f64,
        why: Arc<str>,
    },
    /// No network for the sandbox.
    SandboxFails { pod: PodId, left: u64 },
    /// A container's config refers to what is not there.
    ConfigFails {
        pod: PodId,
        left: u64,
        why: Arc<str>,
    },
    /// No node fits.
    NoNode { pod: PodId, left: u64 },
    /// A quota forbids pods.
    QuotaForbids {
        workload: usize,
        left: u64,
        wait: f64,
    },
    /// Metrics for an autoscaler fail.
    MetricsFail { workload: usize, left: u64 },

    /// It reports again.
    NodeBack { node: usize, rebooted: bool },
    /// A node runs short of something.
    Pressure {
        node: usize,
        what: Shortage,
        left: u64,
    },
    /// It has enough again.
    Relieved { node: usize, what: Shortage },

    /// A GitOps controller reconciles.
    Reconciled { which: u64, left: u64 },
}

/// Why a container keeps ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It exits with that code.
    Exit(i32),
    /// The kernel kills it for its memory limit.
    OutOfMemory,
}

/// Which probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Readiness: the pod leaves its Services.
    Readiness,
    /// Liveness: the container is restarted.
    Liveness,
}

/// What a node is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Memory.
    Memory,
    /// Disk.
    Disk,
}

/// What happens by itself, and how often of a thousand times.
const ORDINARY: [(u64, Ordinary); 16] = [
    (645, Ordinary::Cron),
    (24, Ordinary::Rollout),
    (24, Ordinary::Rescale),
    (10, Ordinary::Replace),
    (46, Ordinary::Crash),
    (20, Ordinary::PullFails),
    (130, Ordinary::ProbeFails),
    (16, Ordinary::NoNode),
    (24, Ordinary::MountFails),
    (3, Ordinary::SandboxFails),
    (14, Ordinary::ConfigFails),
    (2, Ordinary::Quota),
    (14, Ordinary::Metrics),
    (1, Ordinary::NodeLost),
    (3, Ordinary::Pressure),
    (24, Ordinary::Reconcile),
];

#[derive(Debug, Clone, Copy)]
enum Ordinary {
    Cron,
    Rollout,
    Rescale,
    Replace,
    Crash,
    PullFails,
    ProbeFails,
    NoNode,
    MountFails,
    SandboxFails,
    ConfigFails,
    Quota,
    Metrics,
    NodeLost,
    Pressure,
    Reconcile,
}

/// Observations that one ordinary thing leads to, on average; measured by a test of `history`.
pub(super) const OBSERVATIONS_PER_ARRIVAL: f64 = 14.7;

impl Engine {
    /// Begins the things that happen by themselves, so often.
    pub(super) fn live_on(&mut self, gap_seconds: f64) {
        let idle = self.arrival_gap == 0.0;
        self.arrival_gap = gap_seconds;
        if idle && gap_seconds > 0.0 {
            let first = gap_seconds * self.rng.unit();
            self.after(first, Act::Arrive);
        }
    }

    pub(super) fn run(&mut self, act: Act) {
        match act {
            Act::Arrive => self.arrive(),
            Act::FlushSeries => {
                self.flush_series();
                self.after(60.0, Act::FlushSeries);
            }
            Act::Schedule(pod) => self.schedule(pod),
            Act::Prepare(pod) => self.prepare(pod, 0),
            Act::Fetched {
                pod,
                container,
                millis,
                waited,
            } => self.fetched(pod, container, millis, waited),
            Act::Unready { pod, left } => self.unready(pod, left),
            Act::Ready(pod) => self.ready(pod),
            Act::Remove(pod) => self.cluster.remove_pod(pod),
            Act::Rollout {
                workload,
                revision,
                old_hash,
            } => self.roll_on(workload, revision, old_hash),
            Act::Deadline { workload, revision } => self.deadline(workload, revision),
            Act::Rescale { workload } => self.rescale(workload),
            Act::Replace { workload, left } => self.replace_next(workload, left),
            Act::CronFires { cron, again } => self.cron_fires(cron, again),
            Act::JobEnds {
                cron,
                pod,
                failures,
                fails,
            } => self.job_ends(cron, pod, failures, fails),
            Act::Crash { pod, left, cause } => self.crash(pod, left, cause),
            Act::Restart { pod, left, cause } => self.restart(pod, left, cause),
            Act::PullFails {
                pod,
                left,
                wait,
                why,
            } => self.pull_fails(pod, left, wait, why),
            Act::ProbeFails { pod, left, probe } => self.probe_fails(pod, left, probe),
            Act::MountFails {
                pod,
                left,
                wait,
                why,
            } => self.mount_fails(pod, left, wait, why),
            Act::SandboxFails { pod, left } => self.sandbox_fails(pod, left),
            Act::ConfigFails { pod, left, why } => self.config_fails(pod, left, why),
            Act::NoNode { pod, left } => self.no_node(pod, left),
            Act::QuotaForbids {
                workload,
                left,
                wait,
            } => self.quota_forbids(workload, left, wait),
            Act::MetricsFail { workload, left } => self.metrics_fail(workload, left),
            Act::NodeBack { node, rebooted } => self.node_back(node, rebooted),
            Act::Pressure { node, what, left } => self.pressure(node, what, left),
            Act::Relieved { node, what } => self.relieved(node, what),
            Act::Reconciled { which, left } => self.reconciled(which, left),
        }
    }

    /// Something happens by itself, and later something else.
    fn arrive(&mut self) {
        if self.arrival_gap <= 0.0 {
            return;
        }
        let gap = self.rng.waiting(self.arrival_gap);
        self.after(gap, Act::Arrive);
        let mut dice = self.rng.below(1000);
        for (weight, what) in ORDINARY {
            if dice < weight {
                return self.happen(what);
            }
            dice -= weight;
        }
    }

    fn happen(&mut self, what: Ordinary) {
        match what {
            Ordinary::Cron => {
                if let Some(cron) = self.any_cron() {
                    self.cron_fires(cron, false);
                }
            }
            Ordinary::Rollout => {
                if let Some(workload) = self.any_workload(&[Runs::Deployment]) {
                    self.begin_rollout(workload, None);
                }
            }
            Ordinary::Rescale => {
                if let Some(workload) = self.any_workload(&[Runs::Deployment]) {
                    self.rescale(workload);
                }
            }
            Ordinary::Replace => {
                if let Some(workload) = self.any_workload(&[Runs::StatefulSet, Runs::DaemonSet]) {
                    self.begin_replace(workload);
                }
            }
            Ordinary::Quota => {
                if let Some(workload) = self.any_workload(&[Runs::Deployment]) {
                    let left = self.rng.between(3, 18);
                    self.quota_forbids(workload, left, 1.0);
                }
            }
            Ordinary::Metrics => {
                if let Some(workload) = self.any_workload(&[Runs::Deployment]) {
                    let left = self.rng.waiting(400.0) as u64 + 1;
                    self.metrics_fail(workload, left);
                }
            }
            Ordinary::NodeLost => {
                let node = self.rng.index(self.cluster.nodes.len());
                let seconds = self.rng.waiting(240.0) + 20.0;
                self.node_lost(node, seconds);
            }
            Ordinary::Pressure => {
                let node = self.rng.index(self.cluster.nodes.len());
                let what = if self.rng.percent(70) {
                    Shortage::Disk
                } else {
                    Shortage::Memory
                };
                let left = self.rng.between(1, 6);
                self.pressure(node, what, left);
            }
            Ordinary::Reconcile => {
                let which = self.rng.below(40);
                let left = self.rng.between(0, 3);
                self.reconciled(which, left);
            }
            Ordinary::Crash
            | Ordinary::PullFails
            | Ordinary::ProbeFails
            | Ordinary::NoNode
            | Ordinary::MountFails
            | Ordinary::SandboxFails
            | Ordinary::ConfigFails => self.trouble_a_pod(what),
        }
    }

    fn trouble_a_pod(&mut self, what: Ordinary) {
        let Some(workload) = self.any_workload(&[Runs::Deployment, Runs::StatefulSet]) else {
            return;
        };
        if let Ordinary::ProbeFails | Ordinary::Crash = what {
            let pods = &self.cluster.workloads[workload].pods;
            if pods.is_empty() {
                return;
            }
            let pod = *self.rng.pick(pods);
            return match what {
                Ordinary::ProbeFails => {
                    let probe = if self.rng.percent(70) {
                        Probe::Readiness
                    } else {
                        Probe::Liveness
                    };
                    let left = self.rng.waiting(90.0) as u64 + 1;
                    self.probe_fails(pod, left, probe);
                }
                _ => {
                    let left = self.rng.waiting(40.0) as u64 + 1;
                    let cause = self.any_cause();
                    self.crash(pod, left, cause);
                }
            };
        }
        // A new pod meets the trouble: it takes the place of an old one.
        self.lose_a_pod(workload);
        let pod = self.create_pod(workload);
        let left = self.rng.waiting(25.0) as u64 + 1;
        match what {
            Ordinary::NoNode => self.after(
                0.1,
                Act::NoNode {
                    pod,
                    left: left.min(20),
                },
            ),
            _ => {
                self.assign(pod);
                let act = match what {
                    Ordinary::PullFails => {
                        let why = self.pull_error();
                        Act::PullFails {
                            pod,
                            left,
                            wait: 10.0,
                            why,
                        }
                    }
                    Ordinary::MountFails => {
                        let why = self.mount_error(pod);
                        Act::MountFails {
                            pod,
                            left,
                            wait: 0.5,
                            why,
                        }
                    }
                    Ordinary::SandboxFails => Act::SandboxFails { pod, left },
                    _ => {
                        let why = self.config_error(pod);
                        Act::ConfigFails { pod, left, why }
                    }
                };
                self.after(1.0, act);
            }
        }
    }

    pub(super) fn any_cron(&mut self) -> Option<usize> {
        let count = self.cluster.crons.len();
        (count > 0).then(|| self.rng.index(count))
    }

    /// A workload of one of these kinds that has pods.
    pub(super) fn any_workload(&mut self, of: &[Runs]) -> Option<usize> {
        // A handful of throws finds one wherever there are some; worlds without any do without.
        for _ in 0..32 {
            let at = self.rng.index(self.cluster.workloads.len().max(1));
            let fits = self
                .cluster
                .workloads
                .get(at)
                .is_some_and(|w| of.contains(&w.runs) && w.replicas > 0);
            if fits {
                return Some(at);
            }
        }
        None
    }

    pub(super) fn any_cause(&mut self) -> Cause {
        match self.rng.below(10) {
            0..3 => Cause::OutOfMemory,
            3..8 => Cause::Exit(1),
            8 => Cause::Exit(2),
            _ => Cause::Exit(139),
        }
    }
}
