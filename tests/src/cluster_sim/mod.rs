//! A simulated cluster with its ground truth: which faults were planted, where and when.
//!
//! ```text
//!   Plan ─▶ ClusterSim ── a queue of steps: pods, controllers, scenarios (faults and their repair)
//!            │  state ── manifests: as the API shows it ──▶ Delivery ─┬─▶ replay: the analysis, in process
//!            │                                                        └─▶ live_replay: a recorder process
//!            └─ ground_truth: causes planted, Services without endpoints ──▶ diff ◀── findings
//! ```
//!
//! The ground truth does not read objects and does not know the rules; the rules see only objects. The tests require
//! that every planted fault is found and nothing else.
//!
//! The plan's seed determines everything.

pub mod change_cost;
mod controllers;
pub mod diff;
pub mod ground_truth;
pub mod live_replay;
mod manifests;
pub mod memory;
mod node_faults;
mod pods;
pub mod replay;
mod scenarios;
mod setup;
mod state;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kube9_model::label::Kind;
use serde_json::Value;

use ground_truth::GroundTruth;
pub use state::Plan;
use state::{ClusterState, PodId, WorkloadKind};

use crate::bench::changes::CONTROLLER;
use crate::bench::changes::object::Writer;
use crate::clock::Micros;
use crate::generator::{Event, Involved, InvolvedKind, Reporter, Rng, Uid};
use crate::timer_queue::TimerQueue;

/// Milliseconds since 1970.
pub type Ms = i64;

/// Start of every simulation: 2026-03-02T06:00:00Z.
pub const START: Ms = 1_772_431_200_000;

const SECOND: Ms = 1000;
const MINUTE: Ms = 60 * SECOND;
const HOUR: Ms = 60 * MINUTE;

/// A scheduled action.
enum Step {
    Heartbeat(usize),
    Schedule(PodId),
    Accept(PodId),
    Pull(PodId),
    BackOff(PodId),
    Run(PodId),
    Ready(PodId),
    ContainerExits { pod: PodId, code: i64, oom: bool },
    Loop(PodId),
    Restart(PodId),
    Stopped(PodId),
    Gone(PodId),
    Sync(usize),
    Deadline(usize),
    CronFires(usize),
    JobEnds { pod: PodId, code: i64 },
    LockRenewed(u64),
    Scenario(Box<dyn FnOnce(&mut ClusterSim) + Send>),
}

/// A change as an informer or the Event watch receives it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// When.
    pub at: Ms,
    /// Of what.
    pub kind: Kind,
    /// Whether the object was deleted; `object` is then its last state.
    pub deleted: bool,
    /// The object, without a resourceVersion.
    pub object: Value,
}

/// A running simulation.
pub struct ClusterSim {
    plan: Plan,
    cluster: ClusterState,
    rng: Rng,
    truth: GroundTruth,
    now: Ms,
    end: Ms,
    timers: TimerQueue<Ms, Step>,
    out: VecDeque<Delivery>,
    /// The last written state of each Deployment: an unchanged status is not written again.
    shown: HashMap<usize, Value>,
    /// The Event of each object and reason, whose count is incremented.
    events: HashMap<(String, &'static str), Event>,
    with_events: bool,
    outage: bool,
}

impl ClusterSim {
    /// Builds the cluster and plans its scenarios.
    pub fn new(plan: Plan, with_events: bool) -> Self {
        assert!(plan.nodes >= 12, "a simulation needs at least 12 nodes");
        let mut rng = Rng::new(plan.seed);
        let cluster = ClusterState::build(&plan, START, &mut rng.fork());
        let mut sim = Self {
            plan,
            cluster,
            rng,
            truth: GroundTruth::default(),
            now: START,
            end: START + i64::try_from(plan.hours).unwrap_or(24) * HOUR,
            timers: TimerQueue::new(),
            out: VecDeque::new(),
            shown: HashMap::new(),
            events: HashMap::new(),
            with_events,
            outage: false,
        };
        sim.begin();
        sim
    }

    /// All current objects, in list order.
    pub fn objects(&self, kind: Kind) -> Vec<Value> {
        let cluster = &self.cluster;
        match kind {
            Kind::Node => cluster
                .nodes
                .iter()
                .map(|n| manifests::node(n, self.now))
                .collect(),
            Kind::Pod => cluster
                .pods
                .keys()
                .filter_map(|id| manifests::pod(cluster, *id))
                .collect(),
            Kind::Deployment => self
                .workloads(WorkloadKind::Deployment)
                .map(|of| manifests::deployment(cluster, of))
                .collect(),
            Kind::Service => {
                let own = cluster
                    .workloads
                    .iter()
                    .filter(|w| w.service)
                    .map(manifests::service);
                own.chain(manifests::oddities(START).0).collect()
            }
            Kind::ConfigMap => self.config_maps("").collect(),
            Kind::Event | Kind::Tracked => Vec::new(),
        }
    }

    /// The ConfigMaps, half as many as pods; each with a value of `padding`.
    pub fn config_maps(&self, padding: &str) -> impl Iterator<Item = Value> {
        let own = self
            .cluster
            .workloads
            .iter()
            .map(move |w| manifests::config_map(w, padding));
        let extra = (self.plan.pods / 2).saturating_sub(self.cluster.workloads.len() + 1);
        let tables = (0..extra).map(move |number| manifests::table(number, padding, START));
        own.chain(manifests::oddities(START).1).chain(tables)
    }

    fn workloads(&self, runs: WorkloadKind) -> impl Iterator<Item = usize> + '_ {
        let all = self.cluster.workloads.iter().enumerate();
        all.filter(move |(_, w)| w.runs == runs).map(|(of, _)| of)
    }

    /// The next change; `None` at the end of the simulation.
    pub fn next_delivery(&mut self) -> Option<Delivery> {
        while self.out.is_empty() {
            let (at, step) = self.timers.pop()?;
            if at >= self.end {
                self.timers = TimerQueue::new();
                return None;
            }
            self.now = at;
            self.run(step);
        }
        self.out.pop_front()
    }

    /// End of the simulation.
    pub fn end(&self) -> Ms {
        self.end
    }

    /// The ground truth of the whole simulation.
    pub fn into_ground_truth(mut self) -> GroundTruth {
        self.now = self.end;
        let left: Vec<PodId> = self.cluster.pods.keys().copied().collect();
        let left = left.into_iter().filter_map(|id| self.placement(id));
        let left: Vec<_> = left.collect();
        self.truth.pods.extend(left);
        self.truth.close(self.end);
        self.truth
    }

    /// `Kind/namespace/name` of a controller.
    fn workload_name(&self, of: usize) -> String {
        let workload = &self.cluster.workloads[of];
        format!(
            "{}/{}",
            workload.runs.controller(),
            workload.namespaced_name()
        )
    }

    fn service_name(&self, of: usize) -> String {
        format!("Service/{}", self.cluster.workloads[of].namespaced_name())
    }

    fn after(&mut self, wait: Ms, step: Step) {
        self.timers.add(self.now + wait.max(1), step);
    }

    /// Schedules a later step of a scenario.
    fn later(&mut self, wait: Ms, act: impl FnOnce(&mut Self) + Send + 'static) {
        self.after(wait, Step::Scenario(Box::new(act)));
    }

    fn between(&mut self, low: Ms, high: Ms) -> Ms {
        low + i64::try_from(self.rng.below(u64::try_from(high - low + 1).unwrap_or(1))).unwrap_or(0)
    }

    fn begin(&mut self) {
        for node in 0..self.cluster.nodes.len() {
            let first = self.between(SECOND, 5 * MINUTE);
            self.after(first, Step::Heartbeat(node));
        }
        for of in 0..self.cluster.workloads.len() {
            self.record_endpoint(of);
            self.plant_flaws(of);
            let every = self.cluster.workloads[of].every;
            if every > 0 {
                let first = self.between(SECOND, every.min(10 * MINUTE));
                self.after(first, Step::CronFires(of));
            }
        }
        self.after(10 * SECOND, Step::LockRenewed(1));
        self.plan_scenarios();
    }

    fn run(&mut self, step: Step) {
        if let Some(step) = self.defer_if_kubelet_is_down(step) {
            match step {
                Step::Heartbeat(node) => self.heartbeat(node),
                Step::Schedule(pod) => self.schedule(pod),
                Step::Accept(pod) => self.accept(pod),
                Step::Pull(pod) => self.pull(pod),
                Step::BackOff(pod) => self.back_off(pod),
                Step::Run(pod) => self.start(pod),
                Step::Ready(pod) => self.becomes_ready(pod),
                Step::ContainerExits { pod, code, oom } => self.container_ends(pod, code, oom),
                Step::Loop(pod) => self.loops(pod),
                Step::Restart(pod) => self.restart(pod),
                Step::Stopped(pod) => self.stopped(pod),
                Step::Gone(pod) => self.remove_pod(pod),
                Step::Sync(of) => self.sync(of),
                Step::Deadline(of) => self.deadline(of),
                Step::CronFires(of) => self.cron_fires(of),
                Step::JobEnds { pod, code } => self.job_ends(pod, code),
                Step::LockRenewed(n) => self.lock_renewed(n),
                Step::Scenario(act) => act(self),
            }
        }
    }

    /// Defers a kubelet's steps while it is down.
    fn defer_if_kubelet_is_down(&mut self, step: Step) -> Option<Step> {
        let pod = match &step {
            Step::Accept(pod)
            | Step::Pull(pod)
            | Step::BackOff(pod)
            | Step::Run(pod)
            | Step::Ready(pod)
            | Step::ContainerExits { pod, .. }
            | Step::Loop(pod)
            | Step::Restart(pod)
            | Step::Stopped(pod)
            | Step::Gone(pod)
            | Step::JobEnds { pod, .. } => *pod,
            _ => return Some(step),
        };
        let node = self.cluster.pods.get(&pod).and_then(|pod| pod.node);
        match node.filter(|node| !self.cluster.nodes[*node].ready.0) {
            Some(node) => {
                self.cluster.nodes[node].waiting.push(step);
                None
            }
            None => Some(step),
        }
    }

    fn put(&mut self, kind: Kind, object: Value) {
        self.out.push_back(Delivery {
            at: self.now,
            kind,
            deleted: false,
            object,
        });
    }

    fn deleted(&mut self, kind: Kind, object: Value) {
        self.out.push_back(Delivery {
            at: self.now,
            kind,
            deleted: true,
            object,
        });
    }

    fn show_node(&mut self, node: usize) {
        let object = manifests::node(&self.cluster.nodes[node], self.now);
        self.put(Kind::Node, object);
    }

    /// The status of a node is written at least every five minutes.
    fn heartbeat(&mut self, node: usize) {
        if self.cluster.nodes[node].ready.0 {
            self.show_node(node);
        }
        self.after(5 * MINUTE, Step::Heartbeat(node));
    }

    /// A leader election lock: it changes continuously and must cause no change rows.
    fn lock_renewed(&mut self, number: u64) {
        self.put(Kind::ConfigMap, manifests::lock(START, number));
        self.after(10 * SECOND, Step::LockRenewed(number + 1));
    }

    fn show_deployment(&mut self, of: usize) {
        if self.cluster.workloads[of].runs != WorkloadKind::Deployment {
            return;
        }
        let mut object = manifests::deployment(&self.cluster, of);
        let workload = &mut self.cluster.workloads[of];
        if let Some(deployed) = &mut workload.deployed {
            let at = Micros(self.now * 1000);
            deployed.write(Writer(workload.writer, ""), at, "spec", &object["spec"]);
            deployed.write(CONTROLLER, at, "status", &object["status"]);
            object["metadata"]["managedFields"] =
                deployed.json["metadata"]["managedFields"].clone();
        }
        if self.shown.get(&of) != Some(&object) {
            self.shown.insert(of, object.clone());
            self.put(Kind::Deployment, object);
        }
    }

    /// Records an Event about a pod; repeats increment the count, as in client-go.
    fn pod_event(
        &mut self,
        pod: PodId,
        reason: &'static str,
        warning: bool,
        component: &'static str,
        message: String,
    ) {
        if !self.with_events {
            return;
        }
        let Some(of) = self.cluster.pods.get(&pod) else {
            return;
        };
        let workload = &self.cluster.workloads[of.of];
        let uid = Uid(u128::from(pod));
        let involved = Involved {
            container: Arc::from(if component == "kubelet" { "app" } else { "" }),
            ..Involved::new(InvolvedKind::Pod, &workload.namespace, &of.name, uid)
        };
        self.record_event(involved, reason, warning, component, message);
    }

    fn node_event(&mut self, node: usize, reason: &'static str, component: &'static str) {
        if !self.with_events {
            return;
        }
        let name = &self.cluster.nodes[node].name;
        let message = format!("Node {name} status is now: {reason}");
        let involved = Involved::new(InvolvedKind::Node, &Arc::from(""), name, Uid(node as u128));
        self.record_event(involved, reason, false, component, message);
    }

    fn workload_event(&mut self, of: usize, reason: &'static str, message: String) {
        if !self.with_events {
            return;
        }
        let workload = &self.cluster.workloads[of];
        let uid = Uid(1 << 64 | of as u128);
        let involved = Involved::new(
            InvolvedKind::Deployment,
            &workload.namespace,
            &workload.name,
            uid,
        );
        self.record_event(involved, reason, false, "deployment-controller", message);
    }

    fn record_event(
        &mut self,
        involved: Involved,
        reason: &'static str,
        warning: bool,
        component: &'static str,
        message: String,
    ) {
        let at = Micros(self.now * 1000);
        let key = (format!("{}/{}", involved.namespace, involved.name), reason);
        let fresh = Event {
            uid: Uid(u128::from(self.rng.draw()) << 64 | u128::from(self.rng.draw())),
            version: 0,
            tail: self.rng.draw(),
            namespace: involved.event_namespace(),
            created: at,
            involved,
            reason,
            message: Arc::from(message),
            warning,
            reporter: Reporter::Record {
                component,
                host: Arc::from(""),
            },
            count: 0,
            first: at,
            last: at,
        };
        let event = self.events.entry(key).or_insert_with(|| fresh.clone());
        // After an hour without a repeat, the Event has expired.
        if at.since(event.last).as_secs() >= 3600 {
            *event = fresh.clone();
        }
        (event.count, event.last, event.message) = (event.count + 1, at, fresh.message);
        let object = event.to_json();
        self.put(Kind::Event, object);
    }
}

impl std::fmt::Debug for ClusterSim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterSim")
            .field("plan", &self.plan)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}
