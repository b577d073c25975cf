//! What goes wrong on a day, and is repaired: each story has a workload of its own, or a node.
//!
//! A story changes the cast and leaves the truth to the steps; its headline is what it must at least have led to, so that
//! a story that quietly does nothing is noticed.

use super::build::{OUTAGE, REGISTRIES};
use super::cast::{Fate, Habit, PodId, Runs, State};

use super::{Day, HOUR, MINUTE, Ms, SECOND, Step};

type Story = fn(&mut Day, usize);

/// The stories of workloads: name, replicas, and what happens.
pub(super) const STORIES: [(&str, usize, Story); 26] = [
    ("image that does not exist", 4, bad_image),
    ("image that does not exist, many pods", 12, bad_image),
    ("crash after a rollout", 4, crashing_rollout),
    (
        "crash of all pods after a change of config",
        3,
        config_crash,
    ),
    ("killed for memory once", 3, oom_once),
    ("killed for memory again and again", 3, oom_repeated),
    ("liveness probe fails once", 3, liveness_kill),
    ("exit with an error once", 3, exits_once),
    ("selector that matches nothing", 3, selector_broken),
    (
        "selector that matches nothing for a moment",
        3,
        selector_blip,
    ),
    ("config that lacks a key", 4, key_missing),
    ("no node for the pods", 4, no_node),
    ("no node for a moment", 4, no_node_for_a_moment),
    ("volume that does not mount", 4, no_volume),
    ("new pods never ready", 4, never_ready),
    ("a pod stops being ready", 3, unready),
    (
        "a pod stops being ready for a moment",
        3,
        unready_for_a_moment,
    ),
    ("a pod that does not go", 3, clings),
    ("quota used up", 4, quota),
    ("image tag latest", 4, latest),
    ("scaled to nothing and back", 3, rests),
    ("registry hiccup", 8, hiccup),
    ("failure long after a rollout", 4, late_failure),
    ("a node without images, first", 3, nothing),
    ("a node without images, second", 3, node_without_images),
    ("pods that ask for a whole node", 1, greedy),
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
                self.later(at, move |day| STORIES[story].2(day, of));
            }
        }
        self.plan_ordinary_life(span);
        self.plan_nodes(last);
        self.plan_outage(span);
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
        let weak: Vec<usize> = (0..self.cast.nodes.len())
            .filter(|n| self.cast.nodes[*n].weak)
            .collect();
        const KINDS: [fn(&mut Day, usize); 6] = [
            |day, node| day.node_outage(node, 8 * MINUTE),
            |day, node| day.node_outage(node, 14 * MINUTE),
            |day, node| day.node_flaps(node, 3),
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
        self.later(begins, |day| day.outage = true);
        self.later(begins + HOUR, |day| day.outage = false);
        let victims: Vec<usize> = (0..self.cast.workloads.len())
            .filter(|of| {
                let one = &self.cast.workloads[*of];
                !one.taken && one.registry == REGISTRIES[OUTAGE]
            })
            .collect();
        let told = (victims.len() / 4).max(2);
        for of in victims.into_iter().take(told) {
            let at = begins + self.between(MINUTE, 50 * MINUTE);
            self.later(at, move |day| {
                let who = format!("Deployment/{}", day.cast.workloads[of].place());
                day.truth.headline("registry down", "I2", who, day.now);
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

    fn head(&mut self, of: usize, rule: &'static str, kind: &str) {
        let workload = &self.cast.workloads[of];
        let story = workload.story.map_or("", |story| STORIES[story].0);
        let subject = format!("{kind}/{}", workload.place());
        self.truth.headline(story, rule, subject, self.now);
    }

    /// A rollout whose pods fare badly, and another one that brings back the old template after a while.
    fn bad_rollout(&mut self, of: usize, fate: Fate, image: bool, repaired_after: Ms) {
        self.cast.workloads[of].fate = fate;
        self.roll_out(of, image);
        self.later(repaired_after, move |day| {
            day.cast.workloads[of].fate = Fate::Well;
            // The old image is an image change as well.
            day.roll_out(of, image);
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

    /// One run of a CronJob fails; somebody deletes its pod later.
    fn job_fails(&mut self, of: usize) {
        self.cast.workloads[of].fate = Fate::Crashes(1);
        let id = self.create_pod(of);
        self.cast.workloads[of].fate = Fate::Well;
        if let Some(pod) = self.pod(id) {
            pod.crashes_left = 0; // it runs until the job's end, which is a bad one
        }
        if let Some(who) = self.who(id) {
            self.truth
                .headline("job fails", "H3", who.subject, self.now);
        }
        self.later(HOUR, move |day| day.kill(id));
    }

    /// The first container of one pod ends, so long from now.
    fn ends(&mut self, id: PodId, wait: Ms, code: i64, oom: bool) {
        self.after(wait, Step::End { pod: id, code, oom });
    }

    fn head_pod(&mut self, id: PodId, story: &'static str, rule: &'static str) {
        if let Some(who) = self.who(id) {
            self.truth.headline(story, rule, who.subject, self.now);
        }
    }
}

fn nothing(_: &mut Day, _: usize) {}

fn bad_image(day: &mut Day, of: usize) {
    day.bad_rollout(of, Fate::NoImage, true, 25 * MINUTE);
    for rule in ["I2", "H14"] {
        day.head(of, rule, "Deployment");
    }
    if day.cast.workloads[of].replicas > 4 {
        day.head(of, "I1", "Deployment");
    }
    let image = format!("Image/{}", day.cast.workloads[of].image());
    day.truth
        .headline("image that does not exist", "I5", image, day.now);
}

fn crashing_rollout(day: &mut Day, of: usize) {
    day.bad_rollout(of, Fate::Crashes(1), true, 20 * MINUTE);
    for rule in ["I2", "H14"] {
        day.head(of, rule, "Deployment");
    }
}

/// All pods read a new value at about the same time, and cannot live with it.
fn config_crash(day: &mut Day, of: usize) {
    day.change_config(of);
    for rule in ["I1", "I2", "H15"] {
        day.head(of, rule, "Deployment");
    }
    day.head(of, "H18", "Service");
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
    day.ends(id, SECOND, 137, true);
    day.head_pod(id, "killed for memory once", "H1");
}

fn oom_repeated(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    for n in 0..3 {
        day.ends(id, SECOND + n * 15 * MINUTE, 137, true);
    }
    day.head_pod(id, "killed for memory again and again", "H1");
    day.head(of, "I3", "Deployment");
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
    day.ends(id, 30 * SECOND, 137, false);
    day.head_pod(id, "liveness probe fails once", "H1");
}

fn exits_once(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.ends(id, SECOND, 2, false);
    day.head_pod(id, "exit with an error once", "H3");
}

fn selector_broken(day: &mut Day, of: usize) {
    day.break_selector(of, true);
    day.head(of, "H17", "Service");
    day.later(30 * MINUTE, move |day| day.break_selector(of, false));
}

fn selector_blip(day: &mut Day, of: usize) {
    day.break_selector(of, true);
    day.later(40 * SECOND, move |day| day.break_selector(of, false));
}

fn key_missing(day: &mut Day, of: usize) {
    day.cast.workloads[of].fate = Fate::BadConfig;
    day.roll_out(of, false);
    day.later(8 * MINUTE, move |day| day.repair(of, Step::Run));
}

fn no_node(day: &mut Day, of: usize) {
    day.bad_rollout(of, Fate::NoNode, true, 18 * MINUTE);
    for rule in ["I7", "H14"] {
        day.head(of, rule, "Deployment");
    }
}

fn no_node_for_a_moment(day: &mut Day, of: usize) {
    day.cast.workloads[of].fate = Fate::NoNode;
    day.roll_out(of, true);
    day.later(3 * MINUTE, move |day| day.repair(of, Step::Schedule));
}

fn no_volume(day: &mut Day, of: usize) {
    day.cast.workloads[of].fate = Fate::NoVolume;
    day.roll_out(of, true);
    day.head(of, "H14", "Deployment");
    day.later(20 * MINUTE, move |day| day.repair(of, Step::Pull));
}

fn never_ready(day: &mut Day, of: usize) {
    day.bad_rollout(of, Fate::NeverReady, true, 25 * MINUTE);
    day.head(of, "H14", "Deployment");
}

fn unready(day: &mut Day, of: usize) {
    let Some(id) = day.a_pod(of) else { return };
    day.head_pod(id, "a pod stops being ready", "H8");
    day.head(of, "H15", "Deployment");
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
    day.head_pod(id, "a pod that does not go", "H9");
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
    day.scale_to(of, 6);
    for rule in ["H15", "H16"] {
        day.head(of, rule, "Deployment");
    }
    day.later(20 * MINUTE, move |day| {
        day.cast.workloads[of].replica_failure = None;
        day.plan_sync(of);
    });
}

fn latest(day: &mut Day, of: usize) {
    day.cast.workloads[of].habits.push(Habit::Latest);
    day.roll_out(of, true);
    day.head(of, "A1", "Deployment");
    day.later(40 * MINUTE, move |day| {
        day.cast.workloads[of].habits.clear();
        day.roll_out(of, true);
    });
}

fn rests(day: &mut Day, of: usize) {
    day.scale_to(of, 0);
    day.head(of, "H17", "Service");
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
        day.ends(id, SECOND, 3, false);
        day.head_pod(id, "failure long after a rollout", "H3");
    });
}

/// Two workloads get a pod each on a node whose runtime cannot pull.
fn node_without_images(day: &mut Day, of: usize) {
    let first = (0..of).rev().find(|o| {
        day.cast.workloads[*o]
            .story
            .is_some_and(|s| STORIES[s].0.ends_with("first"))
    });
    let Some(first) = first else { return };
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
    let who = day.node_who(node);
    day.truth
        .headline("a node without images", "I6", who.subject, day.now);
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
    let who = day.node_who(3);
    day.truth
        .headline("pods that ask for a whole node", "I8", who.subject, day.now);
    day.roll_out(of, true);
    day.later(40 * MINUTE, move |day| {
        let workload = &mut day.cast.workloads[of];
        workload.habits.clear();
        workload.pinned = None;
        day.roll_out(of, true);
    });
}

impl Day {
    /// In the evening: what is still so stays open, what is over by then is closed.
    pub(super) fn close_the_books(&mut self) {
        self.now = self.end;
        let ids: Vec<PodId> = self.cast.pods.keys().copied().collect();
        for id in ids {
            self.settle(id, self.end);
            let Some(who) = self.who(id) else { continue };
            let Some(pod) = self.pod(id) else { continue };
            if let Some(bad) = pod.bad.take() {
                let settles = match pod.state {
                    State::Running(since) => Some(since + super::life::SETTLE),
                    _ => None,
                };
                self.truth.failed(&who, bad, settles);
            }
        }
    }
}
