//! A live cluster in a simulated API server: objects and Events change over time; faults start on request.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::actions::{Action, OBSERVATIONS_PER_ARRIVAL};
use super::cluster::{ChangedObject, Cluster, Size, WorkloadKind};
use super::engine::Engine;
use super::event::{Change, Event, Observation, Uid};
use super::event_correlator::random_uid;
use super::objects;
use super::rng::Rng;
use crate::apiserver::{Kind, Store};
use crate::bench::changes::CONTROLLER;
use crate::bench::changes::object::{ApiObject, Writer};
use crate::clock::Micros;
use crate::manifests;

/// The cluster has no such object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// What was looked for.
    pub what: String,
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the cluster has no {}", self.what)
    }
}

impl std::error::Error for NotFound {}

/// A live cluster. Its time passes only when [`LiveCluster::advance`] is called.
#[derive(Debug)]
pub struct LiveCluster {
    pub(super) engine: Engine,
    store: Store,
    speed: f64,
    /// Wall-clock time and engine time at the start.
    anchor: (Micros, u64),
    /// Wall-clock time of the last advance.
    now: Micros,
    rng: Rng,
    observations: usize,
    /// Who writes instead of the usual managers.
    writer: Option<&'static str>,
}

impl LiveCluster {
    /// Writes a healthy cluster into the store. `speed` is the simulated seconds per real second: with 1, a crash loop
    /// backs off for minutes, as in a real cluster.
    pub fn new(seed: u64, size: Size, store: &Store, now: Micros, speed: f64) -> Self {
        let mut engine = Engine::new(seed, size, now, Duration::from_secs(3600));
        engine.cluster.changed.clear();
        for (cron, of) in engine.cluster.crons.clone().iter().enumerate() {
            let first = of.every.as_secs_f64() * engine.rng.unit();
            engine.after(first, Action::CronFires { cron, again: true });
        }
        let rng = engine.rng.fork();
        let mut live = Self {
            engine,
            store: store.clone(),
            speed: speed.max(1e-6),
            anchor: (now, 0),
            now,
            rng,
            observations: 0,
            writer: None,
        };
        live.populate();
        live
    }

    pub fn cluster(&self) -> &Cluster {
        &self.engine.cluster
    }

    /// Observations (Event objects created or changed) so far.
    pub fn observations(&self) -> usize {
        self.observations
    }

    /// Sets the rate of routine Events per real second; 0 stops them.
    pub fn set_rate(&mut self, per_second: f64) {
        let gap = if per_second > 0.0 {
            OBSERVATIONS_PER_ARRIVAL / per_second * self.speed
        } else {
            0.0
        };
        self.engine.set_arrival_gap(gap);
    }

    /// Another client than the usual one writes what `act` changes.
    pub fn written_by<T>(&mut self, manager: &'static str, act: impl FnOnce(&mut Self) -> T) -> T {
        self.writer = Some(manager);
        let done = act(self);
        self.writer = None;
        done
    }

    /// Runs all actions that are due by `now`. Returns the number of observations.
    pub fn advance(&mut self, now: Micros) -> usize {
        let before = self.observations;
        self.now = now;
        let passed = now.since(self.anchor.0).as_secs_f64() * self.speed;
        let target = self.anchor.1 + (passed * 1e6) as u64;
        while self.engine.next_due().is_some_and(|due| due <= target) {
            self.engine.step(1.0 / self.speed);
            self.flush();
        }
        self.observations - before
    }

    /// Writes the changed objects and their Events.
    pub(super) fn flush(&mut self) {
        let changed = std::mem::take(&mut self.engine.cluster.changed);
        let mut done = HashSet::new();
        for what in changed {
            if !done.contains(&what) {
                self.write(&what);
                done.insert(what);
            }
        }
        while let Some(mut observation) = self.engine.out.pop_front() {
            observation.event.version = 0;
            deliver(&self.store, &observation, &mut self.rng);
            self.observations += 1;
        }
    }

    fn write(&self, what: &ChangedObject) {
        let cluster = &self.engine.cluster;
        let (kind, object) = match what {
            ChangedObject::Pod(id) => match cluster.pod(*id) {
                Some(pod) => (Kind::Pod, objects::pod(cluster, pod)),
                None => return,
            },
            ChangedObject::PodGone(namespace, name) => {
                // A pod created and deleted within one action was never written.
                let _ = self.store.delete(Kind::Pod, namespace, name);
                return;
            }
            ChangedObject::Node(node) => (Kind::Node, objects::node(&cluster.nodes[*node])),
            ChangedObject::Workload(workload) => {
                let of = &cluster.workloads[*workload];
                if of.runs != WorkloadKind::Deployment {
                    return;
                }
                (Kind::Deployment, objects::deployment(cluster, of))
            }
            ChangedObject::Config(workload) => (
                Kind::ConfigMap,
                objects::config(&cluster.workloads[*workload]),
            ),
            ChangedObject::Service(workload) => (
                Kind::Service,
                objects::service(&cluster.workloads[*workload]),
            ),
        };
        self.put(kind, object);
    }

    fn put(&self, kind: Kind, mut object: Value) {
        if let Some(manager) = self.writer.or(manager(kind)) {
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
            let known = self.store.get(kind, text("namespace"), text("name"));
            let known = known.and_then(|one| serde_json::from_slice(&one.json()).ok());
            let mut written = ApiObject {
                json: known.unwrap_or_else(|| json!({ "apiVersion": "v1", "metadata": {} })),
            };
            for (part, writer) in [
                ("spec", Writer(manager, "")),
                ("data", Writer(manager, "")),
                ("status", CONTROLLER),
            ] {
                written.write(writer, self.now, part, &object[part]);
            }
            if kind == Kind::Deployment {
                let place = format!("{}/{}", text("namespace"), text("name"));
                object["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] =
                    json!(format!("demo:apps/Deployment:{place}"));
            }
            object["metadata"]["managedFields"] = written.json["metadata"]["managedFields"].take();
        }
        self.store
            .apply(kind, object)
            .expect("generated objects have names and no resourceVersion");
    }

    fn populate(&mut self) {
        let mut uids = self.engine.rng.fork();
        let put = |kind, object| self.put(kind, object);
        let cluster = &self.engine.cluster;
        put(
            Kind::Namespace,
            objects::namespace("default", random_uid(&mut uids)),
        );
        put(Kind::ConfigMap, objects::root_ca("default"));
        put(
            Kind::Service,
            manifests::kubernetes_service(&random_uid(&mut uids).to_string()),
        );
        for name in &cluster.namespaces {
            put(
                Kind::Namespace,
                objects::namespace(name, random_uid(&mut uids)),
            );
            put(Kind::ConfigMap, objects::root_ca(name));
        }
        for node in &cluster.nodes {
            put(Kind::Node, objects::node(node));
        }
        for of in &cluster.workloads {
            put(Kind::ConfigMap, objects::config(of));
            if of.service {
                put(Kind::Service, objects::service(of));
            }
            if of.runs == WorkloadKind::Deployment {
                put(Kind::Deployment, objects::deployment(cluster, of));
            }
        }
        for pod in cluster.pod_ids().filter_map(|id| cluster.pod(id)) {
            put(Kind::Pod, objects::pod(cluster, pod));
        }
    }
}

/// Who writes the objects of a kind.
const fn manager(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Deployment => Some("argocd-controller"),
        Kind::ConfigMap => Some("kubectl-edit"),
        Kind::Service => Some("helm"),
        _ => None,
    }
}

/// Writes an observation into a simulated API server, as its reporter would: creates the Event, or patches it, or
/// creates it again if it has expired.
pub fn deliver(store: &Store, observation: &Observation, rng: &mut Rng) {
    let event = &observation.event;
    let known = observation.change == Change::Modified
        && store
            .get(Kind::Event, &event.namespace, &event.name())
            .is_some_and(|o| *o.uid == *event.uid.to_string());
    let event = if observation.change == Change::Modified && !known {
        Event {
            uid: Uid(random_uid(rng).0),
            created: event.last,
            ..event.clone()
        }
    } else {
        event.clone()
    };
    let object = Event {
        version: 0,
        ..event
    }
    .to_json();
    store
        .apply(Kind::Event, object)
        .expect("generated Events have names and no resourceVersion");
}

/// Writes `observations` observations into a simulated API server as fast as possible. Returns the number of Event
/// objects created.
pub fn burst(store: &Store, seed: u64, observations: usize, now: Micros) -> usize {
    // Ten Events a second give a cluster large enough that few of them concern the same object.
    let span = Duration::from_secs_f64((observations as f64 / 10.0).max(1.0));
    let mut rng = Rng::new(!seed);
    let before = store.truth_len();
    for observation in super::history::History::new(seed, observations, span, now) {
        deliver(store, &observation, &mut rng);
    }
    store.truth_len() - before
}

#[cfg(test)]
mod tests {
    use super::super::actions::{Cause, Probe, Shortage};
    use super::super::cluster::PodOutcome;
    use super::*;
    use crate::apiserver::{ApiServer, Config};

    fn live(seed: u64) -> (ApiServer, LiveCluster) {
        let server = ApiServer::start(Config::default()).unwrap();
        let live = LiveCluster::new(seed, Size::SMALL, server.store(), start(), 1.0);
        (server, live)
    }

    fn start() -> Micros {
        Micros::from_secs(1_795_000_000)
    }

    fn reasons(server: &ApiServer) -> Vec<String> {
        server
            .store()
            .all(Kind::Event)
            .iter()
            .map(|e| e.to_value()["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn new_cluster_is_healthy() {
        let (server, live) = live(1);
        let store = server.store();
        assert_eq!(store.count(Kind::Node), Size::SMALL.nodes);
        assert_eq!(store.count(Kind::Deployment), Size::SMALL.deployments);
        assert_eq!(store.count(Kind::Pod), live.cluster().pod_ids().count());
        assert!(store.count(Kind::Service) > 1 && store.count(Kind::ConfigMap) > 1);
        assert!(
            store
                .all(Kind::Pod)
                .iter()
                .all(|p| p.to_value()["status"]["phase"] == "Running")
        );
        assert_eq!(store.count(Kind::Event), 0);
    }

    #[test]
    fn crash_loop_appears_in_pod_and_event_count() {
        let (server, mut live) = live(1);
        let name = live.crash_loop("checkout", 3, Cause::OutOfMemory).unwrap();
        let pod = |server: &ApiServer| {
            server
                .store()
                .all(Kind::Pod)
                .into_iter()
                .find(|p| *p.name == *name)
                .unwrap()
                .to_value()
        };
        let status = &pod(&server)["status"]["containerStatuses"][0];
        assert_eq!(status["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert_eq!(status["lastState"]["terminated"]["reason"], "OOMKilled");
        live.advance(start() + Duration::from_secs(600));
        let status = &pod(&server)["status"];
        assert_eq!(status["containerStatuses"][0]["restartCount"], 3);
        assert_eq!(
            status["conditions"][1]["status"], "True",
            "it is well again"
        );
        let truth = server.store().truth();
        let back_off = truth
            .events
            .values()
            .find(|e| e.reason == "BackOff" && e.name.starts_with(&name))
            .unwrap();
        assert!(
            back_off.count >= 3 && back_off.versions.len() == 3,
            "{back_off:?}"
        );
    }

    #[test]
    fn rollout_replaces_every_pod() {
        let (server, mut live) = live(2);
        live.scale("checkout", 3).unwrap();
        live.advance(start() + Duration::from_secs(60));
        let before: HashSet<String> = pods_of(&server, "checkout-").collect();
        live.rollout("checkout").unwrap();
        live.advance(start() + Duration::from_secs(600));
        let after: HashSet<String> = pods_of(&server, "checkout-").collect();
        assert_eq!((before.len(), after.len()), (3, 3));
        assert!(before.is_disjoint(&after));
        let deployment = server
            .store()
            .all(Kind::Deployment)
            .into_iter()
            .find(|d| &*d.name == "checkout")
            .unwrap();
        let status = deployment.to_value()["status"].clone();
        assert_eq!(
            (&status["updatedReplicas"], &status["readyReplicas"]),
            (&3.into(), &3.into())
        );
    }

    fn pods_of(server: &ApiServer, prefix: &str) -> impl Iterator<Item = String> {
        let prefix = prefix.to_owned();
        server
            .store()
            .all(Kind::Pod)
            .into_iter()
            .map(|p| p.name.to_string())
            .filter(move |n| n.starts_with(&prefix))
    }

    #[test]
    fn scenarios_emit_their_reasons() {
        let (server, mut live) = live(3);
        live.image_pull("cart", 3).unwrap();
        live.node_pressure(0, Shortage::Disk, 1).unwrap();
        live.node_down(1, Duration::from_secs(30)).unwrap();
        live.probe_failures("payment", Probe::Liveness, 3).unwrap();
        live.unschedulable("catalog", 2).unwrap();
        live.config_missing("search", 1).unwrap();
        live.quota("orders", 1).unwrap_err();
        live.quota("cart", 1).unwrap();
        live.config_change("cart").unwrap();
        live.break_service("cart", true).unwrap();
        live.advance(start() + Duration::from_secs(120));
        let draft = reasons(&server);
        for reason in [
            "Failed",
            "BackOff",
            "Pulling",
            "NodeHasDiskPressure",
            "EvictionThresholdMet",
            "Evicted",
            "NodeNotReady",
            "NodeReady",
            "Unhealthy",
            "Killing",
            "FailedScheduling",
            "FailedCreate",
            "Scheduled",
            "SuccessfulCreate",
        ] {
            assert!(draft.iter().any(|r| r == reason), "{reason} is missing");
        }
    }

    #[test]
    fn event_rate_is_approximately_kept() {
        let (server, mut live) = live(4);
        live.set_rate(20.0);
        let made = live.advance(start() + Duration::from_secs(240));
        assert!((2000..10_000).contains(&made), "{made}");
        assert_eq!(server.store().truth().observations(), made);
    }

    #[test]
    fn burst_is_accepted_completely() {
        let server = ApiServer::start(Config::default()).unwrap();
        let objects = burst(server.store(), 1, 2000, start());
        let truth = server.store().truth();
        assert_eq!((truth.events.len(), truth.observations()), (objects, 2000));
    }

    #[test]
    fn bad_rollout_gets_stuck_and_next_one_completes() {
        let (server, mut live) = live(5);
        live.scale("cart", 2).unwrap();
        live.advance(start() + Duration::from_secs(60));
        live.bad_rollout("cart", PodOutcome::Crashes(Cause::Exit(1), 1000))
            .unwrap();
        live.advance(start() + Duration::from_secs(700));
        let progressing = |server: &ApiServer| {
            let all = server.store().all(Kind::Deployment);
            let cart = all
                .into_iter()
                .find(|d| &*d.name == "cart")
                .unwrap()
                .to_value();
            cart["status"]["conditions"][1]["reason"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(progressing(&server), "ProgressDeadlineExceeded");
        let old = live
            .cluster()
            .workloads
            .iter()
            .find(|w| &*w.name == "cart")
            .unwrap();
        let ready = old
            .pods
            .iter()
            .filter_map(|p| live.cluster().pod(*p))
            .filter(|p| p.ready)
            .count();
        assert_eq!(ready, 2, "the old pods stay while the new ones fail");
        live.rollout("cart").unwrap();
        live.advance(start() + Duration::from_secs(1100));
        assert_eq!(progressing(&server), "NewReplicaSetAvailable");
    }
}
