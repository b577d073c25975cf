//! Faults and their repair: each scenario has its own workload or node.
//!
//! A scenario plants its cause in the ground truth. One that plants nothing is a disturbance that must cause no
//! finding.

use std::cmp::Reverse;

use super::ground_truth::Cause;
use super::setup::{OUTAGE, REGISTRIES};
use super::state::{ARGO_CD, ManifestFlaw, PodId, PodOutcome, WorkloadKind};
use super::{ClusterSim, HOUR, MINUTE, Ms, SECOND, Step};

type Scenario = fn(&mut ClusterSim, usize);

/// The scenarios of workloads: replicas and function.
pub(super) const SCENARIOS: [(usize, Scenario); 32] = [
    (4, bad_image),
    (12, bad_image),
    (4, crashing_rollout),
    (3, config_crash),
    (3, oom_once),
    (3, oom_repeated),
    (3, liveness_kill),
    (3, exits_once),
    (3, selector_broken),
    (3, selector_blip),
    (4, key_missing),
    (4, no_node),
    (4, no_node_for_a_moment),
    (4, no_volume),
    (4, init_waits),
    (3, rejected),
    (4, never_ready),
    (3, unready),
    (3, unready_for_a_moment),
    (3, has_finalizer),
    (4, quota),
    (4, latest_tag),
    (3, scaled_to_zero),
    (8, short_pull_failure),
    (4, late_failure),
    (3, companion_of_next),
    (3, node_without_images),
    (1, requests_whole_node),
    (4, changed_outside_git),
    (4, changed_outside_git_for_a_moment),
    (3, managers_fight),
    (3, crash_without_words),
];

/// Longest duration of a scenario, with its aftermath.
const LONGEST: Ms = 100 * MINUTE;

impl ClusterSim {
    /// Schedules every scenario.
    pub(super) fn plan_scenarios(&mut self) {
        let span = self.end - self.now;
        let last = (span - LONGEST).max(span / 4);
        for of in 0..self.cluster.workloads.len() {
            if let Some(scenario) = self.cluster.workloads[of].scenario {
                let at = self.between(5 * MINUTE, last);
                self.later(at, move |sim| SCENARIOS[scenario].1(sim, of));
            }
        }
        self.plan_outage(span);
        self.plan_rollouts(span);
        self.plan_nodes(last);
        let jobs: Vec<usize> = self
            .workloads(WorkloadKind::CronJob)
            .take(1 + self.plan.repeats())
            .collect();
        for of in jobs {
            let at = self.between(5 * MINUTE, last);
            self.later(at, move |sim| sim.job_fails(of));
        }
    }

    /// Rollouts and scaling that go well.
    fn plan_rollouts(&mut self, span: Ms) {
        let chance = (self.plan.hours * 100 / 24).clamp(25, 100);
        for of in 0..self.cluster.workloads.len() {
            if self.cluster.workloads[of].reserved {
                continue;
            }
            if self.rng.percent(chance) {
                let at = self.between(MINUTE, span - MINUTE);
                self.later(at, move |sim| sim.roll_out(of, true));
            }
            if self.rng.percent(chance / 2) {
                let at = self.between(MINUTE, span - MINUTE);
                let more = self.between(1, 3) as usize;
                self.later(at, move |sim| {
                    let replicas = sim.cluster.workloads[of].replicas;
                    sim.scale_to(of, replicas + more);
                    let back = sim.between(10 * MINUTE, 2 * HOUR);
                    sim.later(back, move |sim| sim.scale_to(of, replicas));
                });
            }
        }
    }

    fn plan_nodes(&mut self, last: Ms) {
        let mut may_fail: Vec<usize> = (0..self.cluster.nodes.len())
            .filter(|n| self.cluster.nodes[*n].may_fail)
            .collect();
        // The fullest first: a node with one pod shows little.
        may_fail.sort_by_key(|n| Reverse(self.cluster.nodes[*n].pods));
        const KINDS: [fn(&mut ClusterSim, usize); 6] = [
            |sim, node| sim.node_outage(node, 8 * MINUTE),
            |sim, node| sim.node_outage(node, 14 * MINUTE),
            |sim, node| sim.node_flaps(node, 3, sim.now),
            |sim, node| sim.node_short_of_memory(node),
            |sim, node| sim.node_drained(node),
            |sim, node| sim.node_problem(node),
        ];
        // Each node that may fail has at most one scenario; a third of them have none.
        let count = (may_fail.len() * 2 / 3).clamp(4, KINDS.len() * self.plan.repeats());
        for (number, node) in may_fail.into_iter().take(count).enumerate() {
            let at = self.between(5 * MINUTE, last);
            self.later(at, move |sim| KINDS[number % KINDS.len()](sim, node));
        }
    }

    /// A registry fails for an hour, and some workloads roll out meanwhile.
    fn plan_outage(&mut self, span: Ms) {
        let begins = self.between(span / 4, span / 2);
        self.later(begins, |sim| {
            sim.outage = true;
            let registry = format!("Registry/{}", REGISTRIES[OUTAGE]);
            sim.plant(Cause::RegistryDown, registry, HOUR);
        });
        self.later(begins + HOUR, |sim| sim.outage = false);
        let victims: Vec<usize> = (0..self.cluster.workloads.len())
            .filter(|of| {
                let one = &self.cluster.workloads[*of];
                !one.reserved && one.registry == REGISTRIES[OUTAGE]
            })
            .collect();
        let count = (victims.len() / 4).max(2);
        for of in victims.into_iter().take(count) {
            self.cluster.workloads[of].reserved = true;
            let after = self.between(MINUTE, 50 * MINUTE);
            self.later(begins + after, move |sim| {
                sim.plant(Cause::RegistryDown, sim.workload_name(of), HOUR - after);
                sim.roll_out(of, true);
            });
        }
    }

    fn any_ready_pod(&self, of: usize) -> Option<PodId> {
        let pods = &self.cluster.workloads[of].pods;
        let well = |id: &&PodId| {
            self.cluster
                .pods
                .get(*id)
                .is_some_and(|pod| pod.deleting.is_none() && pod.ready.0)
        };
        pods.iter().find(well).copied()
    }

    /// Another client than Argo CD writes the specification.
    fn written_by(&mut self, of: usize, manager: &'static str, write: impl FnOnce(&mut Self)) {
        self.cluster.workloads[of].writer = manager;
        write(self);
        self.cluster.workloads[of].writer = ARGO_CD;
    }

    /// Records a fault from now on, for the duration `lasts`.
    pub(super) fn plant(&mut self, cause: Cause, object: String, lasts: Ms) {
        self.truth.plant(cause, object, self.now, self.now + lasts);
    }

    pub(super) fn plant_on_pod(&mut self, cause: Cause, id: PodId, lasts: Ms) {
        if let Some(placement) = self.placement(id) {
            self.plant(cause, placement.pod, lasts);
        }
    }

    /// A rollout whose pods fail.
    fn bad_rollout(&mut self, of: usize, (cause, outcome): (Cause, PodOutcome), lasts: Ms) {
        self.plant(cause, self.workload_name(of), lasts);
        self.cluster.workloads[of].outcome = outcome;
        self.roll_out(of, true);
    }

    /// The same, followed by a rollout that restores the old template.
    fn undone_rollout(&mut self, of: usize, what: (Cause, PodOutcome), lasts: Ms) {
        self.bad_rollout(of, what, lasts);
        self.later(lasts, move |sim| {
            sim.cluster.workloads[of].outcome = PodOutcome::Healthy;
            sim.roll_out(of, true);
        });
    }

    /// Repairs the pods of the newest template: they continue with `step`.
    fn repair(&mut self, of: usize, step: fn(PodId) -> Step) {
        self.cluster.workloads[of].outcome = PodOutcome::Healthy;
        for id in self.cluster.workloads[of].pods.clone() {
            let wait = self.between(SECOND, 5 * SECOND);
            let Some(pod) = self.living(id) else { continue };
            if pod.outcome != PodOutcome::Healthy {
                pod.outcome = PodOutcome::Healthy;
                self.after(wait, step(id));
            }
        }
    }

    /// One run of a CronJob fails; its pod is deleted by hand later.
    fn job_fails(&mut self, of: usize) {
        self.cluster.workloads[of].outcome = PodOutcome::Crashes(1);
        let id = self.create_pod(of);
        self.cluster.workloads[of].outcome = PodOutcome::Healthy;
        if let Some(pod) = self.pod(id) {
            pod.crashes_left = 0; // it runs until the job's end, which is a bad one
        }
        self.plant_on_pod(Cause::JobFailed, id, HOUR);
        self.later(HOUR, move |sim| sim.kill(id));
    }

    /// The first container of one pod ends now, and is started again soon.
    fn ends(&mut self, id: PodId, cause: Cause, code: i64) {
        self.plant_on_pod(cause, id, 2 * SECOND);
        self.container_ends(id, code, cause == Cause::OutOfMemory);
    }
}

/// A workload that the next scenario needs.
fn companion_of_next(_: &mut ClusterSim, _: usize) {}

fn bad_image(sim: &mut ClusterSim, of: usize) {
    sim.undone_rollout(of, (Cause::ImageMissing, PodOutcome::NoImage), 25 * MINUTE);
}

fn crashing_rollout(sim: &mut ClusterSim, of: usize) {
    let what = (Cause::CrashAfterRollout, PodOutcome::Crashes(1));
    sim.undone_rollout(of, what, 20 * MINUTE);
}

/// All pods read a new value at about the same time and crash.
fn config_crash(sim: &mut ClusterSim, of: usize) {
    sim.change_config(of);
    let cause = Cause::CrashAfterConfigChange;
    sim.plant(cause, sim.workload_name(of), 15 * MINUTE);
    for id in sim.cluster.workloads[of].pods.clone() {
        let wait = sim.between(90 * SECOND, 100 * SECOND);
        sim.later(wait, move |sim| {
            if let Some(pod) = sim.pod(id) {
                pod.outcome = PodOutcome::Crashes(1);
            }
            sim.container_ends(id, 1, false);
        });
    }
    sim.later(15 * MINUTE, move |sim| {
        sim.change_config(of);
        for id in sim.cluster.workloads[of].pods.clone() {
            if let Some(pod) = sim.pod(id) {
                pod.outcome = PodOutcome::Healthy;
            }
        }
    });
}

fn oom_once(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.ends(id, Cause::OutOfMemory, 137);
}

fn oom_repeated(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    let name = sim.workload_name(of);
    sim.plant(Cause::MemoryLimitTooLow, name, 30 * MINUTE);
    for n in 0..3 {
        let kill = move |sim: &mut ClusterSim| sim.ends(id, Cause::OutOfMemory, 137);
        sim.later(n * 15 * MINUTE, kill);
    }
}

fn liveness_kill(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.becomes_unready(id);
    sim.pod_event(
        id,
        "Unhealthy",
        true,
        "kubelet",
        "Liveness probe failed: HTTP probe failed with statuscode: 503".to_owned(),
    );
    sim.pod_event(
        id,
        "Killing",
        false,
        "kubelet",
        "Container app failed liveness probe, will be restarted".to_owned(),
    );
    sim.plant_on_pod(Cause::LivenessProbe, id, 32 * SECOND);
    let (code, oom) = (137, false);
    sim.after(30 * SECOND, Step::ContainerExits { pod: id, code, oom });
}

fn exits_once(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.ends(id, Cause::ExitWithError, 2);
}

fn selector_broken(sim: &mut ClusterSim, of: usize) {
    sim.break_selector(of, true);
    sim.plant(
        Cause::SelectorMatchesNothing,
        sim.service_name(of),
        30 * MINUTE,
    );
    sim.later(30 * MINUTE, move |sim| sim.break_selector(of, false));
}

fn selector_blip(sim: &mut ClusterSim, of: usize) {
    sim.break_selector(of, true);
    sim.later(40 * SECOND, move |sim| sim.break_selector(of, false));
}

fn key_missing(sim: &mut ClusterSim, of: usize) {
    sim.plant(Cause::ConfigKeyMissing, sim.workload_name(of), 8 * MINUTE);
    sim.cluster.workloads[of].outcome = PodOutcome::BadConfig;
    sim.roll_out(of, false);
    sim.later(8 * MINUTE, move |sim| sim.repair(of, Step::Run));
}

fn no_node(sim: &mut ClusterSim, of: usize) {
    sim.undone_rollout(of, (Cause::Unschedulable, PodOutcome::NoNode), 18 * MINUTE);
}

fn no_node_for_a_moment(sim: &mut ClusterSim, of: usize) {
    sim.cluster.workloads[of].outcome = PodOutcome::NoNode;
    sim.roll_out(of, true);
    sim.later(3 * MINUTE, move |sim| sim.repair(of, Step::Schedule));
}

fn no_volume(sim: &mut ClusterSim, of: usize) {
    let what = (Cause::VolumeNotMounted, PodOutcome::NoVolume);
    sim.bad_rollout(of, what, 20 * MINUTE);
    sim.later(20 * MINUTE, move |sim| sim.repair(of, Step::Pull));
}

/// The init container waits for something that does not answer.
fn init_waits(sim: &mut ClusterSim, of: usize) {
    let lasts = 45 * MINUTE;
    sim.bad_rollout(of, (Cause::InitWaits, PodOutcome::InitWaits), lasts);
    sim.later(lasts, move |sim| sim.repair(of, Step::Run));
}

/// A kubelet rejects a pod after its restart; the failed pod is deleted later.
fn rejected(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.plant_on_pod(Cause::Rejected, id, 30 * MINUTE);
    sim.reject(id);
    sim.later(30 * MINUTE, move |sim| sim.kill(id));
}

fn never_ready(sim: &mut ClusterSim, of: usize) {
    sim.undone_rollout(of, (Cause::NeverReady, PodOutcome::NeverReady), 25 * MINUTE);
}

fn unready(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.plant_on_pod(Cause::Unready, id, 20 * MINUTE);
    sim.becomes_unready(id);
    sim.after(20 * MINUTE, Step::Ready(id));
}

fn unready_for_a_moment(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    sim.becomes_unready(id);
    sim.after(4 * MINUTE, Step::Ready(id));
}

fn has_finalizer(sim: &mut ClusterSim, of: usize) {
    let Some(id) = sim.any_ready_pod(of) else {
        return;
    };
    if let Some(pod) = sim.pod(id) {
        pod.has_finalizer = true;
    }
    sim.plant_on_pod(Cause::Finalizer, id, 15 * MINUTE);
    sim.kill(id);
    sim.later(15 * MINUTE, move |sim| {
        if let Some(pod) = sim.pod(id) {
            pod.has_finalizer = false;
        }
        sim.after(SECOND, Step::Gone(id));
    });
}

fn quota(sim: &mut ClusterSim, of: usize) {
    let now = sim.now;
    sim.cluster.workloads[of].replica_failure = Some(now);
    sim.plant(Cause::QuotaExceeded, sim.workload_name(of), 20 * MINUTE);
    sim.scale_to(of, 6);
    sim.later(20 * MINUTE, move |sim| {
        sim.cluster.workloads[of].replica_failure = None;
        sim.plan_sync(of);
    });
}

fn latest_tag(sim: &mut ClusterSim, of: usize) {
    sim.cluster.workloads[of].flaws.push(ManifestFlaw::Latest);
    sim.roll_out(of, true);
    sim.plant(Cause::Manifest, sim.workload_name(of), 40 * MINUTE);
    sim.later(40 * MINUTE, move |sim| {
        sim.cluster.workloads[of].flaws.clear();
        sim.roll_out(of, true);
    });
}

fn scaled_to_zero(sim: &mut ClusterSim, of: usize) {
    sim.scale_to(of, 0);
    sim.plant(Cause::ScaledToZero, sim.service_name(of), 20 * MINUTE);
    sim.later(20 * MINUTE, move |sim| sim.scale_to(of, 3));
}

/// The registry fails for half a minute while many pods start: too short for a finding.
fn short_pull_failure(sim: &mut ClusterSim, of: usize) {
    sim.cluster.workloads[of].outcome = PodOutcome::NoImage;
    sim.roll_out(of, true);
    sim.later(8 * SECOND, move |sim| {
        sim.cluster.workloads[of].outcome = PodOutcome::Healthy;
        for id in sim.cluster.workloads[of].pods.clone() {
            if let Some(pod) = sim.living(id) {
                pod.outcome = PodOutcome::Healthy;
            }
        }
    });
}

fn late_failure(sim: &mut ClusterSim, of: usize) {
    sim.roll_out(of, true);
    sim.later(25 * MINUTE, move |sim| {
        let Some(id) = sim.any_ready_pod(of) else {
            return;
        };
        sim.ends(id, Cause::ExitWithError, 3);
    });
}

/// Two workloads get a pod each on a node that cannot pull images.
fn node_without_images(sim: &mut ClusterSim, of: usize) {
    let scenario = sim.cluster.workloads[of]
        .scenario
        .map(|scenario| scenario - 1);
    let companion = (0..of)
        .rev()
        .find(|one| sim.cluster.workloads[*one].scenario == scenario);
    let Some(first) = companion else { return };
    let fits = |n: &usize| {
        !sim.cluster.nodes[*n].may_fail
            && *n > 3
            && sim.cluster.nodes[*n].ready.0
            && !sim.cluster.nodes[*n].pulls_fail
    };
    let Some(node) = (0..sim.cluster.nodes.len()).rev().find(fits) else {
        return;
    };
    sim.cluster.nodes[node].pulls_fail = true;
    sim.plant(Cause::NodeCannotPull, sim.node_name(node), 20 * MINUTE);
    for of in [first, of] {
        sim.cluster.workloads[of].pinned = Some(node);
        sim.scale_to(of, 4);
    }
    sim.later(20 * MINUTE, move |sim| {
        sim.cluster.nodes[node].pulls_fail = false;
        for of in [first, of] {
            sim.cluster.workloads[of].pinned = None;
        }
    });
}

fn requests_whole_node(sim: &mut ClusterSim, of: usize) {
    sim.cluster.workloads[of]
        .flaws
        .push(ManifestFlaw::WholeNode);
    sim.cluster.workloads[of].pinned = Some(3);
    sim.plant(Cause::NodeFull, sim.node_name(3), 40 * MINUTE);
    sim.roll_out(of, true);
    sim.later(40 * MINUTE, move |sim| {
        let workload = &mut sim.cluster.workloads[of];
        workload.flaws.clear();
        workload.pinned = None;
        sim.roll_out(of, true);
    });
}

/// An image is set with kubectl, and half an hour later Argo CD sets its own.
fn changed_outside_git(sim: &mut ClusterSim, of: usize) {
    set_image_until(sim, of, 30 * MINUTE, |sim, of, lasts| {
        let name = sim.workload_name(of);
        sim.plant(Cause::ChangedOutsideGit, name, lasts);
    });
}

fn changed_outside_git_for_a_moment(sim: &mut ClusterSim, of: usize) {
    set_image_until(sim, of, 3 * MINUTE, |_, _, _| {});
}

fn set_image_until(
    sim: &mut ClusterSim,
    of: usize,
    lasts: Ms,
    plant: fn(&mut ClusterSim, usize, Ms),
) {
    // The record must show that Argo CD wrote the image.
    sim.roll_out(of, true);
    sim.later(20 * MINUTE, move |sim| {
        plant(sim, of, lasts);
        sim.written_by(of, "kubectl-set", |sim| sim.roll_out(of, true));
        sim.later(lasts, move |sim| sim.roll_out(of, true));
    });
}

/// The replicas are in Git, and an autoscaler changes them.
fn managers_fight(sim: &mut ClusterSim, of: usize) {
    let name = sim.workload_name(of);
    sim.plant(Cause::ManagersFight, name, 20 * MINUTE);
    for turn in 0..5 {
        sim.later(turn * 4 * MINUTE, move |sim| {
            sim.written_by(of, "keda-operator", |sim| sim.scale_to(of, 5));
        });
        sim.later(turn * 4 * MINUTE + 2 * MINUTE, move |sim| {
            sim.scale_to(of, 3);
        });
    }
}

fn crash_without_words(sim: &mut ClusterSim, of: usize) {
    sim.cluster.workloads[of]
        .flaws
        .push(ManifestFlaw::SilentCrash);
    sim.roll_out(of, true);
    sim.later(25 * MINUTE, move |sim| {
        let Some(id) = sim.any_ready_pod(of) else {
            return;
        };
        sim.plant(Cause::Manifest, sim.workload_name(of), 20 * MINUTE);
        sim.ends(id, Cause::ExitWithError, 4);
        sim.later(20 * MINUTE, move |sim| {
            sim.cluster.workloads[of].flaws.clear();
            sim.roll_out(of, true);
        });
    });
}
