//! The initial cluster, healthy except for manifest flaws; and the placement of new pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::{
    ARGO_CD, ClusterState, ContainerState, MANIFEST_FLAWS, ManifestFlaw, Node, Phase, Plan, Pod,
    PodId, PodOutcome, Progress, Workload, WorkloadKind,
};
use super::{Ms, manifests};
use crate::generator::{Rng, names, random_uid, safe_string};

/// Namespaces beside `kube-system`.
const NAMESPACES: usize = 6;

/// Registries: the last one fails for an hour.
pub(super) const REGISTRIES: [&str; 3] = [
    "registry.example.com/shop",
    "ghcr.io/example",
    "registry-b.example.net/team",
];
pub(super) const OUTAGE: usize = 2;

impl ClusterState {
    /// A healthy cluster with some manifest flaws.
    pub(super) fn build(plan: &Plan, now: Ms, rng: &mut Rng) -> Self {
        let mut cluster = Self {
            nodes: (0..plan.nodes).map(|i| node(i, now, rng)).collect(),
            workloads: Vec::new(),
            pods: BTreeMap::new(),
            next_pod: 1,
        };
        let agents = 2;
        for i in 0..agents {
            let mut one = workload(WorkloadKind::DaemonSet, i, now, rng);
            one.namespace = Arc::from("kube-system");
            one.replicas = plan.nodes;
            one.service = false;
            cluster.workloads.push(one);
        }
        for i in 0..(plan.deployments() / 50).max(2) {
            let mut one = workload(WorkloadKind::StatefulSet, i, now, rng);
            one.replicas = 3;
            cluster.workloads.push(one);
        }
        for i in 0..(plan.deployments() / 30).max(3) {
            let mut one = workload(WorkloadKind::CronJob, i, now, rng);
            one.replicas = 0;
            one.service = false;
            one.every = i64::try_from(*rng.pick(&[5_u64, 10, 15, 30])).unwrap_or(10) * 60_000;
            if i % 3 == 0 {
                one.flaws.push(ManifestFlaw::Latest);
            }
            cluster.workloads.push(one);
        }
        let reserved: usize = cluster.workloads.iter().map(|w| w.replicas).sum();
        let deployments = plan.deployments();
        let mean = (plan.pods.saturating_sub(reserved) / deployments).clamp(4, 50);
        for i in 0..deployments {
            let mut one = workload(WorkloadKind::Deployment, i, now, rng);
            one.replicas = usize::try_from(rng.between(2, mean as u64 * 2 - 2)).unwrap_or(4);
            // One in twelve has a flaw, each flaw at least once.
            if i < MANIFEST_FLAWS.len() || i % 12 == 0 {
                one.add_flaw(
                    MANIFEST_FLAWS[(i / if i < MANIFEST_FLAWS.len() { 1 } else { 12 })
                        % MANIFEST_FLAWS.len()],
                );
            }
            cluster.workloads.push(one);
        }
        cluster.reserve_for_scenarios(plan);
        cluster.add_missing_pods(plan.pods);
        for of in 0..cluster.workloads.len() {
            for n in 0..cluster.workloads[of].replicas {
                cluster.long_running_pod(of, n, now, rng);
            }
        }
        for of in 0..cluster.workloads.len() {
            let workload = &cluster.workloads[of];
            if workload.runs == WorkloadKind::Deployment && workload.scenario.is_some() {
                cluster.workloads[of].deployed = Some(manifests::deploy(&cluster, of, rng));
            }
        }
        cluster
    }

    /// Reserves workloads for scenarios before any pod is placed: their pods stay off nodes that fail.
    fn reserve_for_scenarios(&mut self, plan: &Plan) {
        let mut free = self
            .workloads
            .iter_mut()
            .filter(|w| !w.reserved && w.registry != REGISTRIES[OUTAGE]);
        for _ in 0..plan.repeats() {
            for (scenario, (replicas, _)) in super::scenarios::SCENARIOS.iter().enumerate() {
                let Some(one) = free.next() else { return };
                (one.scenario, one.reserved, one.replicas) = (Some(scenario), true, *replicas);
                one.service = *replicas > 1; // one replica behind a Service would be a finding of its own
            }
        }
    }

    /// Adds pods to unreserved Deployments until the planned number is reached.
    fn add_missing_pods(&mut self, pods: usize) {
        let there: usize = self.workloads.iter().map(|w| w.replicas).sum();
        let mut missing = pods.saturating_sub(there);
        while missing > 0 {
            let mut ordinary = self.workloads.iter_mut().filter(|w| !w.reserved).peekable();
            if ordinary.peek().is_none() {
                return;
            }
            for one in ordinary.take(missing) {
                one.replicas += 1;
                missing -= 1;
            }
        }
    }

    /// A pod that has run for days.
    fn long_running_pod(&mut self, of: usize, number: usize, now: Ms, rng: &mut Rng) {
        let runs = self.workloads[of].runs;
        let node = match runs {
            WorkloadKind::DaemonSet => number,
            _ => self.choose_node(of, rng),
        };
        let created = now - 3_600_000 - i64::try_from(rng.below(20 * 86_400)).unwrap_or(0) * 1000;
        let id = self.new_pod(of, created, rng);
        self.nodes[node].pods += 1;
        if let Some(pod) = self.pods.get_mut(&id) {
            (pod.node, pod.scheduled) = (Some(node), Some(created));
            (pod.phase, pod.state) = (Phase::Running, ContainerState::Running(created + 4000));
            pod.ready = (true, created + 12_000);
            pod.first_start = Some(created + 4000);
        }
    }

    /// A new pod of the current template, not scheduled yet.
    pub(super) fn new_pod(&mut self, of: usize, now: Ms, rng: &mut Rng) -> PodId {
        let id = self.next_pod;
        self.next_pod += 1;
        let workload = &mut self.workloads[of];
        let (set, name) = match workload.runs {
            WorkloadKind::Deployment => {
                let set = format!("{}-{}", workload.name, workload.hash);
                let name = format!("{set}-{}", safe_string(rng, 5));
                (set, name)
            }
            WorkloadKind::StatefulSet => {
                let set = workload.name.to_string();
                (set.clone(), format!("{set}-{}", workload.pods.len()))
            }
            WorkloadKind::DaemonSet => {
                let set = workload.name.to_string();
                (set.clone(), format!("{set}-{}", safe_string(rng, 5)))
            }
            WorkloadKind::CronJob => {
                let set = format!("{}-{}", workload.name, now.div_euclid(60_000));
                (set.clone(), format!("{set}-{}", safe_string(rng, 5)))
            }
        };
        let pod = Pod {
            of,
            name: Arc::from(name),
            uid: random_uid(rng).to_string(),
            hash: workload.hash.clone(),
            set,
            image: workload.image(),
            restarted: workload.restarted,
            flaws: workload.flaws.clone(),
            outcome: workload.outcome,
            node: None,
            created: now,
            scheduled: None,
            unschedulable: None,
            phase: Phase::Pending,
            ready: (false, now),
            state: ContainerState::Unseen,
            last: None,
            restarts: 0,
            deleting: None,
            evicted: None,
            rejected: false,
            has_finalizer: false,
            backoff: 10_000,
            first_start: None,
            crashes_left: u64::MAX,
        };
        workload.pods.push(id);
        self.pods.insert(id, pod);
        id
    }

    /// The scheduler's choice: a healthy node without a pod of this workload and with few others.
    pub(super) fn choose_node(&self, of: usize, rng: &mut Rng) -> usize {
        let workload = &self.workloads[of];
        if let Some(node) = workload.pinned {
            return node;
        }
        if workload.has(ManifestFlaw::OneNode) {
            return 0; // never a weak one
        }
        let used: Vec<usize> = workload
            .pods
            .iter()
            .filter_map(|id| self.pods.get(id)?.node)
            .collect();
        // Only workloads that can lose a pod without a finding go to nodes that fail.
        let bears = workload.runs == WorkloadKind::Deployment
            && workload.registry != REGISTRIES[OUTAGE]
            && !workload.reserved
            && workload.flaws.is_empty()
            && workload.replicas >= 2;
        let mut best: Option<(usize, usize)> = None;
        for _ in 0..64 {
            let at = rng.index(self.nodes.len());
            let node = &self.nodes[at];
            let fits = node.ready.0
                && !node.pressure.0
                && !node.cordoned
                && !node.pulls_fail
                && node.problem.is_none()
                && (bears || !node.may_fail)
                && !used.contains(&at);
            if fits && best.is_none_or(|(_, pods)| node.pods < pods) {
                best = Some((at, node.pods));
            }
            if best.is_some() && rng.percent(40) {
                break;
            }
        }
        // All are used: share one, as the scheduler does.
        best.map_or_else(
            || {
                self.nodes
                    .iter()
                    .position(|n| !n.may_fail && n.ready.0 && !n.cordoned)
                    .unwrap_or(0)
            },
            |(at, _)| at,
        )
    }
}

fn node(index: usize, now: Ms, rng: &mut Rng) -> Node {
    let since = now - i64::try_from(rng.between(2, 60)).unwrap_or(2) * 86_400_000;
    Node {
        name: names::node(index, rng),
        uid: random_uid(rng).to_string(),
        created: since,
        ready: (true, since),
        pressure: (false, since),
        problem: None,
        cordoned: false,
        may_fail: index % 3 == 1,
        pulls_fail: false,
        waiting: Vec::new(),
        pods: 0,
    }
}

fn workload(runs: WorkloadKind, index: usize, now: Ms, rng: &mut Rng) -> Workload {
    let name = match runs {
        WorkloadKind::Deployment => names::service(index),
        WorkloadKind::StatefulSet => names::database(index),
        WorkloadKind::DaemonSet => names::agent(index),
        WorkloadKind::CronJob => names::cron(index),
    };
    let namespaces = names::namespaces(NAMESPACES);
    let created = now - i64::try_from(rng.between(21, 90)).unwrap_or(30) * 86_400_000;
    let settled = now - 3_000_000;
    let plain = runs != WorkloadKind::Deployment;
    Workload {
        runs,
        namespace: Arc::clone(&namespaces[(index * 7 + index / 24) % NAMESPACES]),
        name,
        uid: random_uid(rng).to_string(),
        registry: REGISTRIES[if plain {
            0
        } else {
            rng.index(REGISTRIES.len() * 2) / 2
        }],
        tag: format!("v1.{}.{}", rng.below(40), rng.below(20)),
        flaws: Vec::new(),
        scenario: None,
        reserved: plain,
        replicas: 3,
        generation: rng.between(1, 40),
        hash: Arc::from(safe_string(rng, if plain { 0 } else { 9 })),
        restarted: 0,
        outcome: PodOutcome::Healthy,
        pods: Vec::new(),
        created,
        service: true,
        selector_broken: false,
        config_revision: 1,
        sidecar: rng.percent(20),
        pinned: None,
        replica_failure: None,
        available: (true, settled),
        progress: (Progress::Done, settled),
        moved: settled,
        best: (0, 0),
        sync_planned: false,
        deployed: None,
        writer: ARGO_CD,
        every: 0,
    }
}

impl Workload {
    /// Adds a flaw and reserves the workload, so that the finding is open during the whole simulation.
    fn add_flaw(&mut self, flaw: ManifestFlaw) {
        self.flaws.push(flaw);
        self.reserved = true;
        match flaw {
            ManifestFlaw::OneReplica => self.replicas = 1,
            ManifestFlaw::OneNode => self.replicas = 2,
            ManifestFlaw::ScaledToNothing => self.replicas = 0,
            _ => {}
        }
    }
}
