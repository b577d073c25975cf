//! The actions of the simulated cluster. Each emits the Events of the real components and schedules what follows.

mod controllers;
mod faults;
mod nodes;
mod pods;
mod rollouts;

use std::sync::Arc;

use super::cluster::{PodId, WorkloadKind};
use super::engine::Engine;

/// A scheduled action.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// The next routine action.
    Arrive,
    /// Reporters write their pending series.
    FlushSeries,

    /// The scheduler binds a pod.
    Schedule(PodId),
    /// The kubelet has a pod's sandbox.
    Prepare(PodId),
    /// An image was pulled.
    Fetched {
        pod: PodId,
        container: usize,
        millis: u64,
        waited: u64,
    },
    /// The readiness probe fails.
    Unready {
        pod: PodId,
        left: u64,
    },
    /// The readiness probe succeeds.
    Ready(PodId),
    /// Its containers have ended.
    Remove(PodId),

    /// A new template is rolled out, a step further.
    Rollout {
        workload: usize,
        revision: u64,
        old_hash: Arc<str>,
    },
    /// The progress deadline of a rollout.
    Deadline {
        workload: usize,
        revision: u64,
    },
    /// An autoscaler changes the number of pods.
    Rescale {
        workload: usize,
    },
    /// A `StatefulSet` or `DaemonSet` replaces its pods one by one.
    Replace {
        workload: usize,
        left: Vec<PodId>,
    },

    /// A `CronJob` fires.
    CronFires {
        cron: usize,
        again: bool,
    },
    /// A job's pod has ended.
    JobEnds {
        cron: usize,
        pod: PodId,
        failures: u64,
        fails: bool,
    },

    /// A container crashes repeatedly.
    Crash {
        pod: PodId,
        left: u64,
        cause: Cause,
    },
    /// It is started again.
    Restart {
        pod: PodId,
        left: u64,
        cause: Cause,
    },
    /// An image cannot be pulled.
    PullFails {
        pod: PodId,
        left: u64,
        wait: f64,
        why: Arc<str>,
    },
    ProbeFails {
        pod: PodId,
        left: u64,
        probe: Probe,
    },
    /// A volume cannot be mounted.
    MountFails {
        pod: PodId,
        left: u64,
        wait: f64,
        why: Arc<str>,
    },
    /// No network for the sandbox.
    SandboxFails {
        pod: PodId,
        left: u64,
    },
    /// A container's config refers to what is not there.
    ConfigFails {
        pod: PodId,
        left: u64,
        why: Arc<str>,
    },
    /// No node fits.
    NoNode {
        pod: PodId,
        left: u64,
    },
    /// A quota forbids pods.
    QuotaForbids {
        workload: usize,
        left: u64,
        wait: f64,
    },
    /// Metrics for an autoscaler fail.
    MetricsFail {
        workload: usize,
        left: u64,
    },

    /// A node reports again.
    NodeBack {
        node: usize,
        rebooted: bool,
    },
    /// A node runs short of something.
    Pressure {
        node: usize,
        what: Shortage,
        left: u64,
    },
    /// A node's pressure ends.
    Relieved {
        node: usize,
        what: Shortage,
    },

    /// A GitOps controller reconciles.
    Reconciled {
        which: u64,
        left: u64,
    },
}

/// Why a container keeps ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It exits with that code.
    Exit(i32),
    /// The kernel kills it for its memory limit.
    OutOfMemory,
}

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
    Memory,
    Disk,
}

/// Routine actions and their weights, per thousand.
const ROUTINE_ACTIONS: [(u64, RoutineAction); 16] = [
    (645, RoutineAction::Cron),
    (24, RoutineAction::Rollout),
    (24, RoutineAction::Rescale),
    (10, RoutineAction::Replace),
    (46, RoutineAction::Crash),
    (20, RoutineAction::PullFails),
    (130, RoutineAction::ProbeFails),
    (16, RoutineAction::NoNode),
    (24, RoutineAction::MountFails),
    (3, RoutineAction::SandboxFails),
    (14, RoutineAction::ConfigFails),
    (2, RoutineAction::Quota),
    (14, RoutineAction::Metrics),
    (1, RoutineAction::NodeLost),
    (3, RoutineAction::Pressure),
    (24, RoutineAction::Reconcile),
];

#[derive(Debug, Clone, Copy)]
enum RoutineAction {
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

/// Average number of observations per routine action; measured by a test of `history`.
pub(super) const OBSERVATIONS_PER_ARRIVAL: f64 = 14.7;

impl Engine {
    /// Sets the mean time between routine actions and starts them.
    pub(super) fn set_arrival_gap(&mut self, gap_seconds: f64) {
        let idle = self.arrival_gap == 0.0;
        self.arrival_gap = gap_seconds;
        if idle && gap_seconds > 0.0 {
            let first = gap_seconds * self.rng.unit();
            self.after(first, Action::Arrive);
        }
    }

    pub(super) fn run(&mut self, act: Action) {
        match act {
            Action::Arrive => self.next_arrival(),
            Action::FlushSeries => {
                self.flush_series();
                self.after(60.0, Action::FlushSeries);
            }
            Action::Schedule(pod) => self.schedule(pod),
            Action::Prepare(pod) => self.prepare(pod, 0),
            Action::Fetched {
                pod,
                container,
                millis,
                waited,
            } => self.fetched(pod, container, millis, waited),
            Action::Unready { pod, left } => self.unready(pod, left),
            Action::Ready(pod) => self.ready(pod),
            Action::Remove(pod) => self.cluster.remove_pod(pod),
            Action::Rollout {
                workload,
                revision,
                old_hash,
            } => self.continue_rollout(workload, revision, old_hash),
            Action::Deadline { workload, revision } => self.deadline(workload, revision),
            Action::Rescale { workload } => self.rescale(workload),
            Action::Replace { workload, left } => self.replace_next(workload, left),
            Action::CronFires { cron, again } => self.cron_fires(cron, again),
            Action::JobEnds {
                cron,
                pod,
                failures,
                fails,
            } => self.job_ends(cron, pod, failures, fails),
            Action::Crash { pod, left, cause } => self.crash(pod, left, cause),
            Action::Restart { pod, left, cause } => self.restart(pod, left, cause),
            Action::PullFails {
                pod,
                left,
                wait,
                why,
            } => self.retry_pull(pod, left, wait, why),
            Action::ProbeFails { pod, left, probe } => self.probe_fails(pod, left, probe),
            Action::MountFails {
                pod,
                left,
                wait,
                why,
            } => self.mount_fails(pod, left, wait, why),
            Action::SandboxFails { pod, left } => self.sandbox_fails(pod, left),
            Action::ConfigFails { pod, left, why } => self.config_fails(pod, left, why),
            Action::NoNode { pod, left } => self.no_node(pod, left),
            Action::QuotaForbids {
                workload,
                left,
                wait,
            } => self.quota_forbids(workload, left, wait),
            Action::MetricsFail { workload, left } => self.metrics_fail(workload, left),
            Action::NodeBack { node, rebooted } => self.node_up(node, rebooted),
            Action::Pressure { node, what, left } => self.pressure(node, what, left),
            Action::Relieved { node, what } => self.pressure_ends(node, what),
            Action::Reconciled { which, left } => self.reconciled(which, left),
        }
    }

    /// Runs a routine action and schedules the next.
    fn next_arrival(&mut self) {
        if self.arrival_gap <= 0.0 {
            return;
        }
        let gap = self.rng.waiting(self.arrival_gap);
        self.after(gap, Action::Arrive);
        let mut dice = self.rng.below(1000);
        for (weight, what) in ROUTINE_ACTIONS {
            if dice < weight {
                return self.run_routine(what);
            }
            dice -= weight;
        }
    }

    fn run_routine(&mut self, what: RoutineAction) {
        match what {
            RoutineAction::Cron => {
                if let Some(cron) = self.any_cron() {
                    self.cron_fires(cron, false);
                }
            }
            RoutineAction::Rollout => {
                if let Some(workload) = self.any_workload(&[WorkloadKind::Deployment]) {
                    self.begin_rollout(workload, None);
                }
            }
            RoutineAction::Rescale => {
                if let Some(workload) = self.any_workload(&[WorkloadKind::Deployment]) {
                    self.rescale(workload);
                }
            }
            RoutineAction::Replace => {
                if let Some(workload) =
                    self.any_workload(&[WorkloadKind::StatefulSet, WorkloadKind::DaemonSet])
                {
                    self.begin_replace(workload);
                }
            }
            RoutineAction::Quota => {
                if let Some(workload) = self.any_workload(&[WorkloadKind::Deployment]) {
                    let left = self.rng.between(3, 18);
                    self.quota_forbids(workload, left, 1.0);
                }
            }
            RoutineAction::Metrics => {
                if let Some(workload) = self.any_workload(&[WorkloadKind::Deployment]) {
                    let left = self.rng.waiting(400.0) as u64 + 1;
                    self.metrics_fail(workload, left);
                }
            }
            RoutineAction::NodeLost => {
                let node = self.rng.index(self.cluster.nodes.len());
                let seconds = self.rng.waiting(240.0) + 20.0;
                self.node_down(node, seconds);
            }
            RoutineAction::Pressure => {
                let node = self.rng.index(self.cluster.nodes.len());
                let what = if self.rng.percent(70) {
                    Shortage::Disk
                } else {
                    Shortage::Memory
                };
                let left = self.rng.between(1, 6);
                self.pressure(node, what, left);
            }
            RoutineAction::Reconcile => {
                let which = self.rng.below(40);
                let left = self.rng.between(0, 3);
                self.reconciled(which, left);
            }
            RoutineAction::Crash
            | RoutineAction::PullFails
            | RoutineAction::ProbeFails
            | RoutineAction::NoNode
            | RoutineAction::MountFails
            | RoutineAction::SandboxFails
            | RoutineAction::ConfigFails => self.disturb_pod(what),
        }
    }

    fn disturb_pod(&mut self, what: RoutineAction) {
        let Some(workload) =
            self.any_workload(&[WorkloadKind::Deployment, WorkloadKind::StatefulSet])
        else {
            return;
        };
        if let RoutineAction::ProbeFails | RoutineAction::Crash = what {
            let pods = &self.cluster.workloads[workload].pods;
            if pods.is_empty() {
                return;
            }
            let pod = *self.rng.pick(pods);
            return match what {
                RoutineAction::ProbeFails => {
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
        // The fault hits a new pod, which replaces an old one.
        self.delete_any_pod(workload);
        let pod = self.create_pod(workload);
        let left = self.rng.waiting(25.0) as u64 + 1;
        match what {
            RoutineAction::NoNode => self.after(
                0.1,
                Action::NoNode {
                    pod,
                    left: left.min(20),
                },
            ),
            _ => {
                self.assign(pod);
                let act = match what {
                    RoutineAction::PullFails => {
                        let why = self.pull_error();
                        Action::PullFails {
                            pod,
                            left,
                            wait: 10.0,
                            why,
                        }
                    }
                    RoutineAction::MountFails => {
                        let why = self.mount_error(pod);
                        Action::MountFails {
                            pod,
                            left,
                            wait: 0.5,
                            why,
                        }
                    }
                    RoutineAction::SandboxFails => Action::SandboxFails { pod, left },
                    _ => {
                        let why = self.config_error(pod);
                        Action::ConfigFails { pod, left, why }
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
    pub(super) fn any_workload(&mut self, of: &[WorkloadKind]) -> Option<usize> {
        // A few random tries find one if there are any.
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
