//! State of the simulated cluster: nodes, workloads and pods. Plain data, with times in milliseconds.
//!
//! Separate from `generator`, because a comparison with the findings needs what that leaves out: the exact time of
//! every condition, the controllers' arithmetic, and no faults except the planted ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ms;
use crate::bench::changes::object::ApiObject;
pub(super) use crate::manifests::{Phase, Progress};

/// Size of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Nodes; at least 12.
    pub nodes: usize,
    /// Approximate number of pods at the start.
    pub pods: usize,
    pub hours: u64,
    /// Determines everything.
    pub seed: u64,
}

impl Plan {
    /// Deployments: six pods each on average, and at least one for each scenario.
    pub fn deployments(&self) -> usize {
        (self.pods * 3 / 20).max(80)
    }

    /// How often each scenario runs.
    pub fn repeats(&self) -> usize {
        (self.deployments() / 250).max(1)
    }
}

/// A flaw of a manifest, which an assessment rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ManifestFlaw {
    Latest,
    NoLimit,
    NoRequests,
    NoProbe,
    OneReplica,
    OneNode,
    Privileged,
    HostPath,
    DefaultToken,
    SecretInConfig,
    SecretInEnv,
    MissingConfig,
    WrongPort,
    ScaledToNothing,
    /// It requests nearly a whole node.
    WholeNode,
    /// Its container writes nothing when it crashes, and its log is not its message.
    SilentCrash,
}

pub(super) const MANIFEST_FLAWS: [ManifestFlaw; 14] = [
    ManifestFlaw::Latest,
    ManifestFlaw::NoLimit,
    ManifestFlaw::NoRequests,
    ManifestFlaw::NoProbe,
    ManifestFlaw::OneReplica,
    ManifestFlaw::OneNode,
    ManifestFlaw::Privileged,
    ManifestFlaw::HostPath,
    ManifestFlaw::DefaultToken,
    ManifestFlaw::SecretInConfig,
    ManifestFlaw::SecretInEnv,
    ManifestFlaw::MissingConfig,
    ManifestFlaw::WrongPort,
    ManifestFlaw::ScaledToNothing,
];

/// The manager of Argo CD.
pub(super) const ARGO_CD: &str = "argocd-controller";

/// What happens to the pods of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PodOutcome {
    Healthy,
    /// The image does not exist.
    NoImage,
    /// The container ends soon after each start.
    Crashes(i64),
    /// The container refers to a key that is not there.
    BadConfig,
    /// The readiness probe never succeeds.
    NeverReady,
    /// No node has what it asks for.
    NoNode,
    /// The volume does not mount.
    NoVolume,
    /// The init container does not end.
    InitWaits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
    CronJob,
}

impl WorkloadKind {
    /// The kind that findings name.
    pub(super) const fn controller(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::CronJob => "CronJob",
        }
    }

    /// API version and kind in a pod's `ownerReferences`.
    pub(super) const fn owner(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apps/v1", "ReplicaSet"),
            Self::CronJob => ("batch/v1", "Job"),
            other => ("apps/v1", other.controller()),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub(super) runs: WorkloadKind,
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) uid: String,
    pub(super) registry: &'static str,
    pub(super) tag: String,
    pub(super) flaws: Vec<ManifestFlaw>,
    /// Index of the scenario that it is reserved for.
    pub(super) scenario: Option<usize>,
    /// Reserved for a scenario or a flaw: nothing else happens to it.
    pub(super) reserved: bool,
    pub(super) replicas: usize,
    pub(super) generation: u64,
    pub(super) hash: Arc<str>,
    /// A rollout that changes nothing but this annotation.
    pub(super) restarted: u64,
    pub(super) outcome: PodOutcome,
    pub(super) pods: Vec<PodId>,
    pub(super) created: Ms,
    pub(super) service: bool,
    pub(super) selector_broken: bool,
    pub(super) config_revision: u64,
    pub(super) sidecar: bool,
    /// Pods are bound to this node.
    pub(super) pinned: Option<usize>,
    pub(super) replica_failure: Option<Ms>,
    pub(super) available: (bool, Ms),
    pub(super) progress: (Progress, Ms),
    /// When the rollout last made progress.
    pub(super) moved: Ms,
    /// What progress is measured by: pods of the newest template, and those of them that are available.
    pub(super) best: (usize, usize),
    pub(super) sync_planned: bool,
    /// The Deployment with its `managedFields`, of those that Argo CD deploys.
    pub(super) deployed: Option<ApiObject>,
    /// Who writes its specification.
    pub(super) writer: &'static str,
    /// A CronJob's pause between runs.
    pub(super) every: Ms,
}

impl Workload {
    pub(super) fn has(&self, flaw: ManifestFlaw) -> bool {
        self.flaws.contains(&flaw)
    }

    pub(super) fn image(&self) -> String {
        let base = format!("{}/{}", self.registry, self.name);
        if self.has(ManifestFlaw::Latest) {
            format!("{base}:latest")
        } else {
            format!("{base}:{}", self.tag)
        }
    }

    pub(super) fn config_name(&self) -> String {
        format!("{}-config", self.name)
    }

    /// `namespace/name`
    pub(super) fn namespaced_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) uid: String,
    pub(super) created: Ms,
    pub(super) ready: (bool, Ms),
    pub(super) pressure: (bool, Ms),
    pub(super) problem: Option<(&'static str, Ms)>,
    pub(super) cordoned: bool,
    /// Node scenarios happen here; pods of other scenarios are never scheduled here.
    pub(super) may_fail: bool,
    /// Its runtime cannot pull images.
    pub(super) pulls_fail: bool,
    /// Deferred steps of its kubelet.
    pub(super) waiting: Vec<super::Step>,
    pub(super) pods: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Termination {
    pub(super) code: i64,
    pub(super) reason: &'static str,
    pub(super) started: Ms,
    pub(super) at: Ms,
}

/// The state of a pod's first container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContainerState {
    /// The kubelet has not seen the pod.
    Unseen,
    Waiting(&'static str, String),
    Running(Ms),
    Ended(Termination),
}

#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) of: usize,
    pub(super) name: Arc<str>,
    pub(super) uid: String,
    pub(super) hash: Arc<str>,
    /// Name of the ReplicaSet, StatefulSet, DaemonSet or Job.
    pub(super) set: String,
    pub(super) image: String,
    pub(super) restarted: u64,
    /// Flaws of the template when the pod was created.
    pub(super) flaws: Vec<ManifestFlaw>,
    pub(super) outcome: PodOutcome,
    pub(super) node: Option<usize>,
    pub(super) created: Ms,
    pub(super) scheduled: Option<Ms>,
    pub(super) unschedulable: Option<Ms>,
    pub(super) phase: Phase,
    pub(super) ready: (bool, Ms),
    pub(super) state: ContainerState,
    pub(super) last: Option<Termination>,
    pub(super) restarts: u64,
    pub(super) deleting: Option<Ms>,
    pub(super) evicted: Option<Ms>,
    /// Its node rejected it.
    pub(super) rejected: bool,
    /// A finalizer holds it.
    pub(super) has_finalizer: bool,
    pub(super) backoff: Ms,
    /// When the first run began.
    pub(super) first_start: Option<Ms>,
    /// Remaining crashes of the container.
    pub(super) crashes_left: u64,
}

/// Identifies a pod during a simulation.
pub(super) type PodId = u32;

/// All objects of the cluster.
pub(super) struct ClusterState {
    pub(super) nodes: Vec<Node>,
    pub(super) workloads: Vec<Workload>,
    pub(super) pods: BTreeMap<PodId, Pod>,
    pub(super) next_pod: PodId,
}
