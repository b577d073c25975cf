//! What goes wrong on a day, and is repaired: each story has a workload of its own, or a node.
//!
//! A story plants its cause in the ground truth; one that plants nothing is a trifle that nothing must be found of.

use std::cmp::Reverse;

use super::ground_truth::Cause;
use super::setup::{OUTAGE, REGISTRIES};
use super::state::{Fate, Habit, PodId, Runs};
use super::{Day, HOUR, MINUTE, Ms, SECOND, Step};

type Story = fn(&mut Day, usize);

/// The stories of workloads: how many replicas, and what happens.
pub(super) const STORIES: [(usize, Story); 26] = [
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
    (4, never_ready),
    (3, unready),
    (3, unready_for_a_moment),
    (3, clings),
    (4, quota),
    (4, latest),
    (3, rests),
    (8, hiccup),
    (4, late_failure),
    (3, companion_of_the_next),
    (3, node_without_images),
    (1, greedy),
];

/// How long a story may take, with what it leaves behind.
const LONGEST: Ms = 100 * MINUTE;

impl Day {
    /// Decides when everything happens.
    pub(super) fn plan_stories(&mut self) {
        let span = self.end - self.now;
        let last = (span - LONGEST).max(span / 4);
        for of in 0..self.cast.workloads.len() {
            if let Some(story) = self.cast.workloads[of].story {
                let at = self.between(5 * MINUTE, last);
                self.later(at, move |day| STORIES[story].1(day, of));
            }
        }
        self.plan_outage(span);
        self.plan_ordinary_life(span);
        self.plan_nodes(last);
        let jobs: Vec<usize> = self
            .workloads(Runs::CronJob)
            .take(1 + self.plan.repeats())
            .collect();
        for of in jobs {
            let at = self.between(5 * MINUTE, last);
            self.later(at, move |day| day.job_fails(of));
        }
    }

    /// Rollouts and scaling that go well.
    fn plan_ordinary_life(&mut self, span: Ms) {
        let chance = (self.plan.hours * 100 / 24).clamp(25, 100);
        for of in 0..self.cast.workloads.len() {
            if self.cast.workloads[of].taken {
                continue;
            }
            if self.rng.percent(chance) {
                let at = self.between(MINUTE, span - MINUTE);
                self.later(at, move |day| day.roll_out(of, true));
            }
            if self.rng.percent(chance / 2) {
                let at = self.between(MINUTE, span - MINUTE);
                let more = self.between(1, 3) as usize;
                self.later(at, move |day| {
                    let replicas = day.cast.workloads[of].replicas;
                    day.scale_to(of, replicas + more);
                    let back = day.between(10 * MINUTE, 2 * HOUR);
                    day.later(back, move |day| day.scale_to(of, replicas));
                });
            }
        }
    }

    fn plan_nodes(&mut self, last: Ms) {
        let mut weak: Vec<usize> = (0..self.cast.nodes.len())
            .filter(|n| self.cast.nodes[*n].weak)
            .collect();
        // The fullest first: a node with one pod shows little.
        weak.sort_by_key(|n| Reverse(self.cast.nodes[*n].pods));
        const KINDS: [fn(&mut Day, usize); 6] = [
            |day, node| day.node_outage(node, 8 * MINUTE),
            |day, node| day.node_outage(node, 14 * MINUTE),
            |day, node| day.node_flaps(node, 3, day.now),
            |day, node| day.node_short_of_memory(node),
            |day, node| day.node_drained(node),
            |day, node| day.node_problem(node),
        ];
        // Each weak node has one story at most; a third of them rest.
        let told = (weak.len() * 2 / 3).clamp(4, KINDS.len() * self.plan.repeats());
        for (number, node) in weak.into_iter().take(told).enumerate() {
            let at = self.between(5 * MINUTE, last);
            self.later(at, move |day| KINDS[number % KINDS.len()](day, node));
        }
    }

    /// A registry gives nothing for an hour, in which some roll out.
    fn plan_outage(&mut self, span: Ms) {
        let begins = self.between(span / 4, span / 2);
        self.later(begins, |day| {
            day.outage = true;
            let registry = format!("Registry/{}", REGISTRIES[OUTAGE]);
            day.plant(Cause::RegistryDown, registry, HOUR);
        });
        self.later(begins + HOUR, |day| day.outage = false);
        let victims: Vec<usize> = (0..self.cast.workloads.len())
            .filter(|of| {
                let one = &self.cast.workloads[*of];
                !one.taken && one.registry == REGISTRIES[OUTAGE]
            })
            .collect();
        let told = (victims.len() / 4).max(2);
        for of in victims.into_iter().take(told) {
            self.cast.workloads[of].taken = true;
            let after = self.between(MINUTE, 50 * MINUTE);
            self.later(begins + after, move |day| {
                day.plant(Cause::RegistryDown, day.workload_name(of), HOUR - after);
                day.roll_out(of, true);
            });
        }
    }

    fn a_pod(&self, of: usize) -> Option<PodId> {
        let pods = &self.cast.workloads[of].pods;
        let well = |id: &&PodId| {
            self.cast
                .pods
                .get(*id)
                .is_some_and(|pod| pod.deleting.is_none() && pod.ready.0)
        };
        pods.iter().find(well).copied()
    }

    /// Notes that something goes wrong now, for so long.
    pub(super) fn plant(&mut self, cause: Cause, object: String, lasts: Ms) {
        self.truth.plant(cause, object, self.now, self.now + lasts);
    }

    pub(super) fn plant_on_pod(&mut self, cause: Cause, id: PodId, lasts: Ms) {
        if let Some(placement) = self.placement(id) {
            self.plant(cause, placement.pod, lasts);
        }
    }

    /// A rollout whose pods fare badly.
    fn bad_rollout(&mut self, of: usize, (cause, fate): (Cause, Fate), lasts: Ms) {
        self.plant(cause, self.workload_name(of), lasts);
        self.cast.workloads[of].fate = fate;
        self.roll_out(of, true);
    }

    /// The same, and another rollout that brings back the old template.
    fn undone_rollout(&mut self, of: usize, what: (Cause, Fate), lasts: Ms) {
        self.bad_rollout(of, what, lasts);
        self.later(lasts, move |day| {
            day.cast.workloads[of].fate = Fate::Well;
            day.roll_out(of, true);
        });
    }

    /// Whatever holds the pods of the newest template is repaired: they go on with this step.
    fn repair(&mut self, of: usize, step: fn(PodId) -> Step) {
        self.cast.workloads[of].fate = Fate::Well;
        for id in self.cast.workloads[of].pods.clone() {
            let wait = self.between(SECOND, 5 * SECOND);
            let Some(pod) = self.living(id) else { continue };
            if pod.fate != Fate::Well {
                pod.fate = Fate::Well;
                self.after(wait, step(id));
            }
        }
    }

    /// One run of a CronJob fails; its pod is deleted by hand later.
    fn job_fails(&mut self, of: usize) {
        self.cast.workloads[of].fate = Fate::Crashes(1);
        let id = self.create_pod(of);
        self.cast.workloads[of].fate = Fate::Well;
        if let Some(pod) = self.pod(id) {
            pod.crashes_left = 0; // it runs until the job's end, which is a bad one
        }
        self.plant_on_pod(Cause::JobFailed, id, HOUR);
        self.later(HOUR, move |day| day.kill(id));
    }

    /// The first container of one pod ends now, and is started again soon.
    fn ends(&mut self, id: PodId, cause: Cause, code: i64) {
        self.plant_on_pod(cause, id, 2 * SECOND);
        self.container_ends(id, code, cause == Cause::OutOfMemory);
    }
}

/// A workload that the next story needs.
fn companion_of_the_next(_: &mut Day, _: usize) {}

fn bad_image(day: &mut Day, of: usize) {
    day.undone_rollout(of, (Cause::ImageMissing, Fate::NoImage), 25 * MINUTE);
}

fn crashing_rollout(day: &mut Day, of: usize) {
    let what = (Cause::CrashAfterRollout, Fate::Crashes(1));
    day.undone_rollout(of, what, 20 * MINUTE);
}

/// All pods read a new value at about the same time, and cannot live with it.
fn config_crash(day: &mut Day, of: usize) {
    day.change_config(of);
    let cause = Cause::CrashAfterConfigChange;
    day.plant(cause, day.workload_name(of), 15 * MINUTE);
    for id in day.cast.workloads[of].pods.clone() {
        let wait = day.between(90 * SECOND, 100 * SECOND);
        day.later(wait, move |day| {
            if let Some(pod) = day.pod(id) {
                pod.fate = Fate::Crashes(1);
            }
            day.container_ends(id, 1, false);
        });
    }
    day.later(15 * MINUTE, move |day| {
        day.change_config(of);
        for id in day.cast.workloads[of].pods.clone() {
            if let Some(pod) = day.pod(id) {
                pod.fate = Fate::Well;
            }
        }
    });
}

fn oom_once(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.ends(id, Cause::OutOfMemory, 137);
}

fn oom_repeated(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    let name = day.workload_name(of);
    day.plant(Cause::MemoryLimitTooLow, name, 30 * MINUTE);
    for n in 0..3 {
        let kill = move |day: &mut Day| day.ends(id, Cause::OutOfMemory, 137);
        day.later(n * 15 * MINUTE, kill);
    }
}

fn liveness_kill(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.becomes_unready(id);
    day.pod_says(
        id,
        "Unhealthy",
        true,
        "kubelet",
        "Liveness probe failed: HTTP probe failed with statuscode: 503".to_owned(),
    );
    day.pod_says(
        id,
        "Killing",
        false,
        "kubelet",
        "Container app failed liveness probe, will be restarted".to_owned(),
    );
    day.plant_on_pod(Cause::LivenessProbe, id, 32 * SECOND);
    let (code, oom) = (137, false);
    day.after(30 * SECOND, Step::End { pod: id, code, oom });
}

fn exits_once(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.ends(id, Cause::ExitWithError, 2);
}

fn selector_broken(day: &mut Day, of: usize) {
    day.break_selector(of, true);
    day.plant(
        Cause::SelectorMatchesNothing,
        day.service_name(of),
        30 * MINUTE,
    );
    day.later(30 * MINUTE, move |day| day.break_selector(of, false));
}

fn selector_blip(day: &mut Day, of: usize) {
    day.break_selector(of, true);
    day.later(40 * SECOND, move |day| day.break_selector(of, false));
}

fn key_missing(day: &mut Day, of: usize) {
    day.plant(Cause::ConfigKeyMissing, day.workload_name(of), 8 * MINUTE);
    day.cast.workloads[of].fate = Fate::BadConfig;
    day.roll_out(of, false);
    day.later(8 * MINUTE, move |day| day.repair(of, Step::Run));
}

fn no_node(day: &mut Day, of: usize) {
    day.undone_rollout(of, (Cause::Unschedulable, Fate::NoNode), 18 * MINUTE);
}

fn no_node_for_a_moment(day: &mut Day, of: usize) {
    day.cast.workloads[of].fate = Fate::NoNode;
    day.roll_out(of, true);
    day.later(3 * MINUTE, move |day| day.repair(of, Step::Schedule));
}

fn no_volume(day: &mut Day, of: usize) {
    let what = (Cause::VolumeNotMounted, Fate::NoVolume);
    day.bad_rollout(of, what, 20 * MINUTE);
    day.later(20 * MINUTE, move |day| day.repair(of, Step::Pull));
}

fn never_ready(day: &mut Day, of: usize) {
    day.undone_rollout(of, (Cause::NeverReady, Fate::NeverReady), 25 * MINUTE);
}

fn unready(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.plant_on_pod(Cause::Unready, id, 20 * MINUTE);
    day.becomes_unready(id);
    day.after(20 * MINUTE, Step::Ready(id));
}

fn unready_for_a_moment(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.becomes_unready(id);
    day.after(4 * MINUTE, Step::Ready(id));
}

fn clings(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    if let Some(pod) = day.pod(id) {
        pod.clings = true;
    }
    day.plant_on_pod(Cause::Finalizer, id, 15 * MINUTE);
    day.kill(id);
    day.later(15 * MINUTE, move |day| {
        if let Some(pod) = day.pod(id) {
            pod.clings = false;
        }
        day.after(SECOND, Step::Gone(id));
    });
}

fn quota(day: &mut Day, of: usize) {
    let now = day.now;
    day.cast.workloads[of].replica_failure = Some(now);
    day.plant(Cause::QuotaExceeded, day.workload_name(of), 20 * MINUTE);
    day.scale_to(of, 6);
    day.later(20 * MINUTE, move |day| {
        day.cast.workloads[of].replica_failure = None;
        day.plan_sync(of);
    });
}

fn latest(day: &mut Day, of: usize) {
    day.cast.workloads[of].habits.push(Habit::Latest);
    day.roll_out(of, true);
    day.plant(Cause::Manifest, day.workload_name(of), 40 * MINUTE);
    day.later(40 * MINUTE, move |day| {
        day.cast.workloads[of].habits.clear();
        day.roll_out(of, true);
    });
}

fn rests(day: &mut Day, of: usize) {
    day.scale_to(of, 0);
    day.plant(Cause::ScaledToZero, day.service_name(of), 20 * MINUTE);
    day.later(20 * MINUTE, move |day| day.scale_to(of, 3));
}

/// The registry fails for half a minute while many pods start: no page is worth that.
fn hiccup(day: &mut Day, of: usize) {
    day.cast.workloads[of].fate = Fate::NoImage;
    day.roll_out(of, true);
    day.later(8 * SECOND, move |day| {
        day.cast.workloads[of].fate = Fate::Well;
        for id in day.cast.workloads[of].pods.clone() {
            if let Some(pod) = day.living(id) {
                pod.fate = Fate::Well;
            }
        }
    });
}

fn late_failure(day: &mut Day, of: usize) {
    day.roll_out(of, true);
    day.later(25 * MINUTE, move |day| {
        let Some(id) = day.a_pod(of) else { return };
        day.ends(id, Cause::ExitWithError, 3);
    });
}

/// Two workloads get a pod each on a node whose runtime cannot pull.
fn node_without_images(day: &mut Day, of: usize) {
    let story = day.cast.workloads[of].story.map(|story| story - 1);
    let companion = (0..of)
        .rev()
        .find(|one| day.cast.workloads[*one].story == story);
    let Some(first) = companion else { return };
    let fits = |n: &usize| {
        !day.cast.nodes[*n].weak
            && *n > 3
            && day.cast.nodes[*n].ready.0
            && !day.cast.nodes[*n].pulls_fail
    };
    let Some(node) = (0..day.cast.nodes.len()).rev().find(fits) else {
        return;
    };
    day.cast.nodes[node].pulls_fail = true;
    day.plant(Cause::NodeCannotPull, day.node_name(node), 20 * MINUTE);
    for of in [first, of] {
        day.cast.workloads[of].pinned = Some(node);
        day.scale_to(of, 4);
    }
    day.later(20 * MINUTE, move |day| {
        day.cast.nodes[node].pulls_fail = false;
        for of in [first, of] {
            day.cast.workloads[of].pinned = None;
        }
    });
}

fn greedy(day: &mut Day, of: usize) {
    day.cast.workloads[of].habits.push(Habit::Greedy);
    day.cast.workloads[of].pinned = Some(3);
    day.plant(Cause::NodeFull, day.node_name(3), 40 * MINUTE);
    day.roll_out(of, true);
    day.later(40 * MINUTE, move |day| {
        let workload = &mut day.cast.workloads[of];
        workload.habits.clear();
        workload.pinned = None;
        day.roll_out(of, true);
    });
}
