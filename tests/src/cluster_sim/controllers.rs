//! The Deployment controller, and the endpoints of Services.

use std::sync::Arc;

use kube9_model::label::Kind;

use super::ground_truth::Cause;
use super::state::{ManifestFlaw, Phase, PodId, Progress, WorkloadKind};
use super::{ClusterSim, MINUTE, Step, manifests};
use crate::generator::safe_string;

impl ClusterSim {
    /// Schedules one sync for all changes at about the same time.
    pub(super) fn plan_sync(&mut self, of: usize) {
        let workload = &mut self.cluster.workloads[of];
        if workload.runs == WorkloadKind::Deployment && !workload.sync_planned {
            workload.sync_planned = true;
            let wait = self.between(20, 150);
            self.after(wait, Step::Sync(of));
        }
    }

    /// One sync of the controller: replace, scale, count.
    pub(super) fn sync(&mut self, of: usize) {
        self.cluster.workloads[of].sync_planned = false;
        self.replace_pods(of);
        let now = self.now;
        let (updated, all, available) = manifests::counts(&self.cluster, of);
        let workload = &mut self.cluster.workloads[of];
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
        self.show_deployment(of);
    }

    /// RollingUpdate with 25 % of surge, rounded up, and 25 % unavailable, rounded down.
    fn replace_pods(&mut self, of: usize) {
        let workload = &self.cluster.workloads[of];
        let alive = |id: &PodId| {
            let pod = self.cluster.pods.get(id)?;
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
        let allowed = if rolling {
            (wanted + surge).saturating_sub(pods.len())
        } else {
            wanted.saturating_sub(new)
        };
        let make = if refused {
            0
        } else {
            allowed.min(wanted.saturating_sub(new))
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

    /// Rolls out a new template; `image`: with a new image.
    pub(super) fn roll_out(&mut self, of: usize, image: bool) {
        let now = self.now;
        let tag = format!("v2.{}.{}", self.rng.below(90), self.rng.below(90));
        let hash = Arc::from(safe_string(&mut self.rng, 9));
        let workload = &mut self.cluster.workloads[of];
        workload.generation += 1;
        workload.hash = hash;
        if image {
            workload.tag = tag;
        } else {
            workload.restarted += 1;
        }
        workload.progress = (Progress::Rolling, now);
        workload.moved = now;
        self.show_deployment(of);
        self.workload_event(of, "ScalingReplicaSet", "Scaled up replica set".to_owned());
        self.after(10 * MINUTE + 200, Step::Deadline(of));
        self.plan_sync(of);
    }

    /// `progressDeadlineSeconds` after the rollout last made progress.
    pub(super) fn deadline(&mut self, of: usize) {
        let now = self.now;
        let workload = &mut self.cluster.workloads[of];
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
        let workload = &mut self.cluster.workloads[of];
        workload.replicas = replicas;
        workload.generation += 1;
        self.show_deployment(of);
        self.plan_sync(of);
    }

    /// Whether the Service has a ready endpoint.
    pub(super) fn record_endpoint(&mut self, of: usize) {
        let workload = &self.cluster.workloads[of];
        if !workload.service {
            return;
        }
        let mut pods = workload
            .pods
            .iter()
            .filter_map(|id| self.cluster.pods.get(id));
        let ready =
            !workload.selector_broken && pods.any(|pod| pod.ready.0 && pod.deleting.is_none());
        let service = self.service_name(of);
        self.truth.set_endpoint(service, ready, self.now);
    }

    pub(super) fn break_selector(&mut self, of: usize, broken: bool) {
        self.cluster.workloads[of].selector_broken = broken;
        let object = manifests::service(&self.cluster.workloads[of]);
        self.put(Kind::Service, object);
        self.record_endpoint(of);
    }

    pub(super) fn change_config(&mut self, of: usize) {
        let workload = &mut self.cluster.workloads[of];
        workload.config_revision += 1;
        let object = manifests::config_map(workload, "");
        self.put(Kind::ConfigMap, object);
    }

    /// Plants the manifest flaws that exist from the start.
    pub(super) fn plant_flaws(&mut self, of: usize) {
        let workload = &self.cluster.workloads[of];
        let place = workload.namespaced_name();
        for flaw in workload.flaws.clone() {
            let object = match flaw {
                ManifestFlaw::DefaultToken => {
                    format!("Namespace/{}", self.cluster.workloads[of].namespace)
                }
                ManifestFlaw::SecretInConfig => format!("ConfigMap/{place}-config"),
                ManifestFlaw::WrongPort | ManifestFlaw::ScaledToNothing => {
                    format!("Service/{place}")
                }
                _ => self.workload_name(of),
            };
            let cause = match flaw {
                ManifestFlaw::ScaledToNothing => Cause::ScaledToZero,
                _ => Cause::Manifest,
            };
            self.truth.plant(cause, object, self.now, self.end);
        }
    }
}
