//! State of the cluster: nodes, namespaces, workloads and their pods.
//!
//! Plain data. `actions` changes it, `objects` converts it to API objects.

use std::sync::Arc;
use std::time::Duration;

use super::actions::Cause;
use super::event::{Involved, InvolvedKind, Uid};
use super::event_correlator::random_uid;
use super::names::safe_string;
use super::rng::Rng;
use crate::clock::Micros;
pub(super) use crate::manifests::Phase;

/// Size of a generated cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub nodes: usize,
    /// Namespaces beside `kube-system`.
    pub namespaces: usize,
    pub deployments: usize,
    /// Pods of a Deployment on average.
    pub replicas: u64,
    /// `StatefulSet`s of three pods each.
    pub stateful_sets: usize,
    /// `DaemonSet`s: a pod on every node each.
    pub daemon_sets: usize,
    /// `CronJob`s.
    pub cron_jobs: usize,
}

impl Size {
    /// A small cluster for demonstrations.
    pub const SMALL: Self = Self {
        nodes: 5,
        namespaces: 4,
        deployments: 14,
        replicas: 3,
        stateful_sets: 2,
        daemon_sets: 2,
        cron_jobs: 4,
    };

    /// A cluster that sends about `per_second` Events per second in normal operation.
    pub fn for_rate(per_second: f64) -> Self {
        // The reference is a cluster of 40 nodes with 0.4 Events a second: a million in 30 days.
        let scale = (per_second / 0.386).clamp(0.05, 400.0);
        let scaled = |of: f64| (of * scale).ceil().max(2.0) as usize;
        Self {
            nodes: scaled(40.0),
            namespaces: scaled(24.0).min(400),
            deployments: scaled(160.0),
            replicas: 4,
            stateful_sets: scaled(20.0),
            daemon_sets: 5,
            cron_jobs: scaled(60.0),
        }
    }

    /// A cluster of about `pods` pods.
    pub fn for_pods(pods: usize) -> Self {
        let nodes = (pods / 60).max(2);
        Self {
            nodes,
            namespaces: (pods / 150).clamp(2, 300),
            deployments: (pods.saturating_sub(nodes * 3) / 4).max(2),
            replicas: 4,
            stateful_sets: 2,
            daemon_sets: 3,
            cron_jobs: 10,
        }
    }
}

/// One container of a template.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its name, e.g. `app`.
    pub name: Arc<str>,
    /// Its image with tag.
    pub image: Arc<str>,
    /// Size of the image in bytes.
    pub image_bytes: u64,
    /// Its port; 0 for none.
    pub port: u16,
    /// Memory limit in MiB; 0 for none.
    pub limit_mib: u64,
    /// CPU request in thousandths; 0 for none.
    pub cpu_millis: u64,
}

/// What a workload's pods are made from.
#[derive(Debug, Clone)]
pub struct Template {
    /// The containers; at least one.
    pub containers: Vec<Container>,
    /// Whether the first container has a readiness probe.
    pub readiness: bool,
    /// Whether the first container has a liveness probe.
    pub liveness: bool,
    /// Whether pods mount a volume that has to be attached.
    pub volume: bool,
    /// Flaws that an assessment rule finds.
    pub weaknesses: Weaknesses,
}

/// Flaws of a template that an assessment rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weaknesses {
    /// The first container is privileged.
    pub privileged: bool,
    /// The pod is in the host's network and mounts a path of it.
    pub host: bool,
    /// An environment variable contains a credential as a literal.
    pub literal_secret: bool,
    /// Runs explicitly as root, with an added capability.
    pub root: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// A Deployment with its current `ReplicaSet`.
    Deployment,
    /// A `StatefulSet`.
    StatefulSet,
    /// A `DaemonSet`.
    DaemonSet,
}

/// What happens to the pods of a bad template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodOutcome {
    /// The image pull fails this many times.
    PullFails(u64),
    /// The first container crashes this many times.
    Crashes(Cause, u64),
    /// The readiness probe is never content.
    NeverReady,
}

/// A Deployment, `StatefulSet` or `DaemonSet`.
#[derive(Debug, Clone)]
pub struct Workload {
    /// What it is.
    pub runs: WorkloadKind,
    pub namespace: Arc<str>,
    /// Name; also the value of its pods' label `app`.
    pub name: Arc<str>,
    pub uid: Uid,
    /// What its pods are made from.
    pub template: Template,
    /// Pods wanted.
    pub replicas: u64,
    /// Rises with each rollout.
    pub revision: u64,
    /// `pod-template-hash` of the current `ReplicaSet`.
    pub hash: Arc<str>,
    /// Uid of the current `ReplicaSet`.
    pub set_uid: Uid,
    pub pods: Vec<PodId>,
    /// Whether an autoscaler scales it.
    pub autoscaled: bool,
    /// Whether a Service selects its pods.
    pub service: bool,
    /// The Service's selector does not match the pods' label.
    pub service_broken: bool,
    /// When it was created.
    pub created: Micros,
    /// A rollout in progress has passed its deadline.
    pub stuck: bool,
    /// What happens to pods of the current template; `None`: they are healthy.
    pub outcome: Option<PodOutcome>,
    /// Message of the condition `ReplicaFailure`.
    pub replica_failure: Option<Arc<str>>,
    /// Changes of its `ConfigMap`.
    pub config_revision: u64,
}

impl Workload {
    /// The name of the object that owns its pods.
    pub fn set_name(&self) -> Arc<str> {
        match self.runs {
            WorkloadKind::Deployment => Arc::from(format!("{}-{}", self.name, self.hash)),
            _ => Arc::clone(&self.name),
        }
    }
}

/// A `CronJob`.
#[derive(Debug, Clone)]
pub struct Cron {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Uid,
    /// What its jobs' pods are made from.
    pub template: Template,
    /// How often it fires.
    pub every: Duration,
    /// How long a run takes on average, in seconds.
    pub takes: f64,
    /// The retained jobs: the oldest is deleted when a fourth finishes.
    pub kept: Vec<Arc<str>>,
}

/// Conditions of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeState {
    /// `Ready` is `Unknown` or `False`.
    pub not_ready: bool,
    /// `MemoryPressure`.
    pub memory_pressure: bool,
    /// `DiskPressure`.
    pub disk_pressure: bool,
    /// `spec.unschedulable`.
    pub cordoned: bool,
    /// When one of these last changed.
    pub since: Micros,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub name: Arc<str>,
    pub uid: Uid,
    /// Third byte of its pods' addresses; nodes beyond 65,536 share them.
    pub subnet: u16,
    /// Its kubelet's version.
    pub kubelet: &'static str,
    /// Conditions.
    pub state: NodeState,
    /// When it joined.
    pub created: Micros,
    /// Boots so far.
    pub boots: u64,
}

/// Why a container does not run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code.
    pub code: i32,
    /// `Error`, `OOMKilled`, `Completed`.
    pub reason: &'static str,
    /// When.
    pub at: Micros,
}

/// What owns a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The workload with that index.
    Workload(usize),
    /// A job of the cron job with that index.
    Cron(usize),
}

#[derive(Debug, Clone)]
pub struct Pod {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub uid: Uid,
    /// What owns it.
    pub owner: Owner,
    /// Name of its owner: a `ReplicaSet`, `StatefulSet`, `DaemonSet` or Job.
    pub set_name: Arc<str>,
    pub set_uid: Uid,
    /// The `ReplicaSet`'s hash; empty for other owners.
    pub hash: Arc<str>,
    /// Its containers, as they were when it was made.
    pub containers: Vec<Container>,
    /// The node it is bound to.
    pub node: Option<usize>,
    /// Last byte of its address.
    pub address: u8,
    /// When it was created.
    pub created: Micros,
    /// Phase of the pod.
    pub phase: Phase,
    /// Condition `Ready`.
    pub ready: bool,
    /// When that last changed.
    pub ready_since: Micros,
    /// Why the first container waits: reason and message.
    pub waiting: Option<(&'static str, Arc<str>)>,
    /// How the first container last ended.
    pub ended: Option<Ended>,
    /// Restarts of the first container.
    pub restarts: u64,
    /// When the first container last started.
    pub started: Micros,
    /// Being deleted since.
    pub deleting: Option<Micros>,
    /// Why the scheduler found no node, if it did not.
    pub unschedulable: Option<Arc<str>>,
    /// `status.reason` and `status.message` of an evicted pod.
    pub evicted: Option<Arc<str>>,
}

/// Identifies a pod during its lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PodId {
    index: u32,
    generation: u32,
}

/// What changed in the API beside Events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChangedObject {
    /// A pod is new or changed.
    Pod(PodId),
    /// A pod was deleted: namespace and name.
    PodGone(Arc<str>, Arc<str>),
    /// A node changed.
    Node(usize),
    /// A workload or its status changed.
    Workload(usize),
    /// A workload's `ConfigMap` changed.
    Config(usize),
    /// A workload's Service changed.
    Service(usize),
}

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    /// Namespaces; the last is `kube-system`.
    pub namespaces: Vec<Arc<str>>,
    pub workloads: Vec<Workload>,
    /// Cron jobs.
    pub crons: Vec<Cron>,
    /// The machine that the control plane runs on.
    pub control_plane: Arc<str>,
    pub(super) pods: Vec<(u32, Option<Pod>)>,
    pub(super) free: Vec<u32>,
    /// What changed since it was last drained.
    pub changed: Vec<ChangedObject>,
    pub(super) version: u64,
}

impl Pod {
    /// Sets the condition `Ready`.
    pub fn set_ready(&mut self, ready: bool, now: Micros) {
        if self.ready != ready {
            (self.ready, self.ready_since) = (ready, now);
        }
    }
}

impl Cluster {
    /// Creates a pod of a workload; it is not bound yet.
    pub fn new_pod(&mut self, workload: usize, now: Micros, rng: &mut Rng) -> PodId {
        let of = &self.workloads[workload];
        let set_name = of.set_name();
        let name = match of.runs {
            WorkloadKind::StatefulSet => {
                let taken: Vec<&str> = of
                    .pods
                    .iter()
                    .filter_map(|p| self.pod(*p))
                    .map(|p| &*p.name)
                    .collect();
                let free = (0..)
                    .map(|n| format!("{}-{n}", of.name))
                    .find(|n| !taken.contains(&n.as_str()));
                free.expect("numbers do not end")
            }
            _ => format!("{set_name}-{}", safe_string(rng, 5)),
        };
        let pod = Pod {
            namespace: Arc::clone(&of.namespace),
            name: Arc::from(name),
            owner: Owner::Workload(workload),
            set_uid: of.set_uid,
            hash: if of.runs == WorkloadKind::Deployment {
                Arc::clone(&of.hash)
            } else {
                Arc::from("")
            },
            containers: of.template.containers.clone(),
            set_name,
            ..blank_pod(now, rng)
        };
        let id = self.insert(pod);
        self.workloads[workload].pods.push(id);
        id
    }

    /// Creates a pod of a job.
    pub fn new_job_pod(
        &mut self,
        cron: usize,
        job: &Arc<str>,
        job_uid: Uid,
        now: Micros,
        rng: &mut Rng,
    ) -> PodId {
        let of = &self.crons[cron];
        let pod = Pod {
            namespace: Arc::clone(&of.namespace),
            name: Arc::from(format!("{job}-{}", safe_string(rng, 5))),
            owner: Owner::Cron(cron),
            set_uid: job_uid,
            containers: of.template.containers.clone(),
            set_name: Arc::clone(job),
            ..blank_pod(now, rng)
        };
        self.insert(pod)
    }

    fn insert(&mut self, pod: Pod) -> PodId {
        let id = match self.free.pop() {
            Some(index) => {
                let slot = &mut self.pods[index as usize];
                *slot = (slot.0 + 1, Some(pod));
                PodId {
                    index,
                    generation: slot.0,
                }
            }
            None => {
                self.pods.push((0, Some(pod)));
                PodId {
                    index: u32::try_from(self.pods.len() - 1).unwrap_or(u32::MAX),
                    generation: 0,
                }
            }
        };
        self.changed.push(ChangedObject::Pod(id));
        id
    }

    /// The pod, unless it was deleted.
    pub fn pod(&self, id: PodId) -> Option<&Pod> {
        let (generation, pod) = self.pods.get(id.index as usize)?;
        pod.as_ref().filter(|_| *generation == id.generation)
    }

    /// The pod, to change it.
    pub fn pod_mut(&mut self, id: PodId) -> Option<&mut Pod> {
        let (generation, pod) = self.pods.get_mut(id.index as usize)?;
        if *generation != id.generation || pod.is_none() {
            return None;
        }
        self.changed.push(ChangedObject::Pod(id));
        if let Some(Owner::Workload(of)) = pod.as_ref().map(|p| p.owner) {
            self.changed.push(ChangedObject::Workload(of));
        }
        pod.as_mut()
    }

    pub fn remove_pod(&mut self, id: PodId) {
        if self.pod(id).is_none() {
            return;
        }
        let slot = &mut self.pods[id.index as usize];
        let Some(pod) = slot.1.take() else { return };
        self.free.push(id.index);
        if let Owner::Workload(of) = pod.owner {
            self.workloads[of].pods.retain(|p| *p != id);
            self.changed.push(ChangedObject::Workload(of));
        }
        self.changed
            .push(ChangedObject::PodGone(pod.namespace, pod.name));
    }

    /// All living pods.
    pub fn pod_ids(&self) -> impl Iterator<Item = PodId> + '_ {
        self.pods
            .iter()
            .zip(0..)
            .filter(|((_, pod), _)| pod.is_some())
            .map(|((generation, _), index)| PodId {
                index,
                generation: *generation,
            })
    }

    /// A node, to change it.
    pub fn node_mut(&mut self, node: usize) -> &mut Node {
        self.changed.push(ChangedObject::Node(node));
        &mut self.nodes[node]
    }

    /// A workload, to change it.
    pub fn workload_mut(&mut self, workload: usize) -> &mut Workload {
        self.changed.push(ChangedObject::Workload(workload));
        &mut self.workloads[workload]
    }

    /// A pod as an Event names it; `container` empty for the whole pod.
    pub fn involved_pod(&mut self, id: PodId, container: &Arc<str>) -> Option<Involved> {
        let version = self.next_version();
        let pod = self.pod(id)?;
        Some(Involved {
            version,
            container: Arc::clone(container),
            ..Involved::new(InvolvedKind::Pod, &pod.namespace, &pod.name, pod.uid)
        })
    }

    /// The next resourceVersion. In a real cluster it rises with every write, including objects that are not simulated.
    pub fn next_version(&mut self) -> u64 {
        self.version += 7;
        self.version
    }
}

fn blank_pod(now: Micros, rng: &mut Rng) -> Pod {
    Pod {
        namespace: Arc::from(""),
        name: Arc::from(""),
        uid: random_uid(rng),
        owner: Owner::Workload(0),
        set_name: Arc::from(""),
        set_uid: Uid(0),
        hash: Arc::from(""),
        containers: Vec::new(),
        node: None,
        address: u8::try_from(rng.between(2, 254)).unwrap_or(2),
        created: now,
        phase: Phase::Pending,
        ready: false,
        ready_since: now,
        waiting: None,
        ended: None,
        restarts: 0,
        started: now,
        deleting: None,
        unschedulable: None,
        evicted: None,
    }
}
