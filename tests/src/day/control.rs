//! What the Deployment controller does, and what Services see of it.

use std::sync::Arc;

use kube9_recorder::metrics::Kind;
use kube9_shared::model::Severity;

use super::build::word;
use super::cast::{Habit, Phase, PodId, Progress, Runs};
use super::truth::{Sign, Who};
use super::{Day, MINUTE, Step, shape};

impl Day {
    /// The controller looks soon, once for all that changes at about the same time.
    pub(super) fn plan_sync(&mut self, of: usize) {
        let workload = &mut self.cast.workloads[of];
        if workload.runs == Runs::Deployment && !workload.sync_planned {
            workload.sync_planned = true;
            let wait = self.between(20, 150);
            self.after(wait, Step::Sync(of));
        }
    }

    pub(super) fn deployment_who(&self, of: usize) -> Who {
        Who::of(format!("Deployment/{}", self.cast.workloads[of].place()))
    }

    /// One look of the controller: replace, scale, count.
    pub(super) fn sync(&mut self, of: usize) {
        self.cast.workloads[of].sync_planned = false;
        self.replace_pods(of);
        let now = self.now;
        let (updated, all, available) = shape::counts(&self.cast, of);
        let workload = &mut self.cast.workloads[of];
        let wanted = workload.replicas;
        let enough = available >= wanted - wanted / 4;
        if workload.available.0 != enough {
            workload.available = (enough, now);
        }
        let done = updated == wanted && all == wanted && available >= wanted;
        let best = (updated, available);
        match workload.progress.0 {
            Progress::Rolling | Progress::Exceeded if done => {
                workload.progress = (Progress::Done, now)
            }
            Progress::Rolling if best != workload.best => workload.moved = now,
            _ => {}
        }
        workload.best = best;
        let (short, none) = (!enough && wanted > 0, available == 0);
        let (exceeded, refused) = (
            workload.progress.0 == Progress::Exceeded,
            workload.replica_failure.is_some(),
        );
        self.show_deployment(of);
        let who = self.deployment_who(of);
        self.truth.set(Sign::Unavailable, &who, short, now);
        self.truth.level(Sign::Unavailable, &who, none, now);
        self.truth.set(Sign::Exceeded, &who, exceeded, now);
        self.truth.set(Sign::Refused, &who, refused, now);
    }

    /// RollingUpdate with 25 % of surge, rounded up, and 25 % unavailable, rounded down.
    fn replace_pods(&mut self, of: usize) {
        let workload = &self.cast.workloads[of];
        let alive = |id: &PodId| {
            let pod = self.cast.pods.get(id)?;
            let counts =
                pod.deleting.is_none() && !matches!(pod.phase, Phase::Failed | Phase::Succeeded);
            counts.then_some((*id, pod.hash == workload.hash, pod.ready.0))
        };
        let pods: Vec<(PodId, bool, bool)> = workload.pods.iter().filter_map(alive).collect();
        let wanted = workload.replicas;
        let (surge, spare) = (wanted.div_ceil(4), wanted / 4);
        let new = pods.iter().filter(|p| p.1).count();
        let ready = pods.iter().filter(|p| p.2).count();
        let refused = workload.replica_failure.is_some();
        let rolling = new < pods.len();
        let room = if rolling {
            (wanted + surge).saturating_sub(pods.len())
        } else {
            wanted.saturating_sub(new)
        };
        let make = if refused {
            0
        } else {
            room.min(wanted.saturating_sub(new))
        };
        let mut victims: Vec<PodId> = Vec::new();
        if new > wanted {
            // Scaled down: what is not ready first, then the newest.
            let mut own: Vec<_> = pods.iter().filter(|p| p.1).collect();
            own.sort_by_key(|p| (p.2, std::cmp::Reverse(p.0)));
            victims.extend(own.iter().take(new - wanted).map(|p| p.0));
        }
        if rolling {
            let mut old: Vec<_> = pods.iter().filter(|p| !p.1).collect();
            old.sort_by_key(|p| (p.2, p.0));
            let mut may = ready.saturating_sub(wanted - spare);
            for (id, _, is_ready) in old {
                if *is_ready {
                    if may == 0 {
                        break;
                    }
                    may -= 1;
                }
                victims.push(*id);
            }
        }
        for _ in 0..make {
            self.create_pod(of);
        }
        for id in victims {
            self.kill(id);
        }
    }

    /// A new template; `image`: with a new image.
    pub(super) fn roll_out(&mut self, of: usize, image: bool) {
        let now = self.now;
        let tag = format!("v2.{}.{}", self.rng.below(90), self.rng.below(90));
        let hash = Arc::from(word(&mut self.rng, 9));
        let workload = &mut self.cast.workloads[of];
        workload.generation += 1;
        workload.hash = hash;
        if image {
            workload.tag = tag;
        } else {
            workload.restarted += 1;
        }
        workload.progress = (Progress::Rolling, now);
        workload.moved = now;
        let owner = format!("Deployment/{}", workload.place());
        if image {
            self.truth.changed(&owner, now);
        }
        self.show_deployment(of);
        self.workload_says(of, "ScalingReplicaSet", "Scaled up replica set".to_owned());
        self.after(10 * MINUTE + 200, Step::Deadline(of));
        self.plan_sync(of);
    }

    /// `progressDeadlineSeconds` after the rollout last got on.
    pub(super) fn deadline(&mut self, of: usize) {
        let now = self.now;
        let workload = &mut self.cast.workloads[of];
        if workload.progress.0 != Progress::Rolling {
            return;
        }
        let idle = now - workload.moved;
        if idle >= 10 * MINUTE {
            workload.progress = (Progress::Exceeded, now);
            return self.plan_sync(of);
        }
        self.after(10 * MINUTE - idle + 200, Step::Deadline(of));
    }

    pub(super) fn scale_to(&mut self, of: usize, replicas: usize) {
        let workload = &mut self.cast.workloads[of];
        workload.replicas = replicas;
        workload.generation += 1;
        self.show_deployment(of);
        self.plan_sync(of);
    }

    /// H17's and H18's truth.
    pub(super) fn note_service(&mut self, of: usize) {
        let workload = &self.cast.workloads[of];
        if !workload.service {
            return;
        }
        let who = Who::of(format!("Service/{}", workload.place()));
        let pods = workload.pods.iter().filter_map(|id| self.cast.pods.get(id));
        let mut counts = (0, 0, 0);
        for pod in pods.filter(|_| !workload.selector_broken) {
            counts.0 += 1;
            counts.1 += usize::from(!matches!(pod.phase, Phase::Failed | Phase::Succeeded));
            counts.2 += usize::from(pod.ready.0);
        }
        let rests = workload.replicas == 0 && !workload.selector_broken;
        let now = self.now;
        self.truth.set(Sign::NoPods, &who, counts.0 == 0, now);
        self.truth.level(Sign::NoPods, &who, !rests, now);
        self.truth
            .set(Sign::NoneReady, &who, counts.1 > 0 && counts.2 == 0, now);
    }

    pub(super) fn break_selector(&mut self, of: usize, broken: bool) {
        self.cast.workloads[of].selector_broken = broken;
        let object = shape::service(&self.cast.workloads[of]);
        self.put(Kind::Service, object);
        self.note_service(of);
    }

    pub(super) fn change_config(&mut self, of: usize) {
        let now = self.now;
        let workload = &mut self.cast.workloads[of];
        workload.config_revision += 1;
        let owner = format!("{}/{}", workload.runs.controller(), workload.place());
        let object = shape::config_map(workload, "");
        self.put(Kind::ConfigMap, object);
        self.truth.changed(&owner, now);
    }

    /// The habits that some people have from the start.
    pub(super) fn note_habits(&mut self, of: usize) {
        let workload = &self.cast.workloads[of];
        let (now, place) = (self.now, workload.place());
        let owner = format!("{}/{place}", workload.runs.controller());
        for habit in workload.habits.clone() {
            let mut lasts = |subject: &str, rule, part: &str, severity| {
                self.truth
                    .lasting(subject.to_owned(), rule, part, severity, now);
            };
            match habit {
                Habit::Latest => self.note_newest(of),
                Habit::NoLimit | Habit::NoRequests => lasts(&owner, "A2", "app", Severity::Warning),
                // The other container has no probe either.
                Habit::NoProbe => lasts(&owner, "A3", "", Severity::Warning),
                Habit::OneReplica => lasts(&owner, "A4", "", Severity::Info),
                Habit::OneNode => lasts(&owner, "A5", "", Severity::Warning),
                Habit::Privileged => lasts(&owner, "A6", "", Severity::Error),
                Habit::HostPath => lasts(&owner, "A6", "", Severity::Warning),
                Habit::DefaultToken => {
                    // One finding for a namespace, however many do it there.
                    let namespace = format!("Namespace/{}", self.cast.workloads[of].namespace);
                    let known = self.truth.habits.iter().any(|one| one.owner == namespace);
                    if !known {
                        self.truth.lasting(namespace, "A7", "", Severity::Info, now);
                    }
                }
                Habit::SecretInConfig => {
                    lasts(
                        &format!("ConfigMap/{place}-config"),
                        "A8",
                        "",
                        Severity::Warning,
                    );
                }
                Habit::SecretInEnv => lasts(&owner, "A9", "app", Severity::Warning),
                Habit::MissingConfig => {
                    let part = format!("{}-extra", self.cast.workloads[of].name);
                    self.truth
                        .lasting(owner.clone(), "A10", &part, Severity::Error, now);
                }
                Habit::WrongPort => {
                    lasts(&format!("Service/{place}"), "A11", "80", Severity::Error)
                }
                // H17, as information: `note_service` tells.
                Habit::ScaledToNothing | Habit::Greedy => {}
            }
        }
    }
}
