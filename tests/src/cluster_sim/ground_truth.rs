//! The ground truth: which faults were planted, where and when, and when a Service had no ready endpoint.
//!
//! The scenarios record it. It does not depend on the rules, so a change of a rule does not change the truth.

use std::collections::{BTreeMap, HashMap};

use super::{HOUR, MINUTE, Ms};

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A rollout to an image that does not exist.
    ImageMissing,
    /// A registry answers no request.
    RegistryDown,
    /// A rollout to an image whose containers exit.
    CrashAfterRollout,
    /// A new value in a `ConfigMap` that crashes the containers.
    CrashAfterConfigChange,
    /// A container used more memory than its limit.
    OutOfMemory,
    /// A container repeatedly used more memory than its limit.
    MemoryLimitTooLow,
    /// A container hung, and its liveness probe had it killed.
    LivenessProbe,
    /// A container exited with an error.
    ExitWithError,
    /// The pod of a Job failed.
    JobFailed,
    /// The selector of a Service was changed to labels that no pod has.
    SelectorMatchesNothing,
    /// Scaled to 0 on purpose.
    ScaledToZero,
    /// A container refers to a key that its `ConfigMap` lacks.
    ConfigKeyMissing,
    /// No node has what the pods ask for.
    Unschedulable,
    /// A volume that does not mount.
    VolumeNotMounted,
    /// An init container that does not end.
    InitWaits,
    /// A node rejected a pod that was scheduled to it.
    Rejected,
    /// Pods whose readiness probe never succeeds.
    NeverReady,
    /// A pod whose readiness probe began to fail.
    Unready,
    /// A finalizer holds a deleted pod.
    Finalizer,
    /// The namespace's quota is used up.
    QuotaExceeded,
    /// The runtime of a node cannot pull images.
    NodeCannotPull,
    /// The pods of a node ask for nearly all of it.
    NodeFull,
    /// The kubelet of a node does not report.
    NodeDown,
    /// The kubelet of a node stops and resumes reporting repeatedly.
    NodeFlapping,
    /// A node runs short of memory.
    MemoryPressure,
    /// A pod was evicted by its node.
    Evicted,
    /// The kernel of a node hangs.
    KernelDeadlock,
    /// A field that Argo CD deploys was changed by another client.
    ChangedOutsideGit,
    /// Two managers overwrite each other's value.
    ManagersFight,
    /// A manifest flaw, without a failure.
    Manifest,
}

/// One planted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planted {
    /// What went wrong.
    pub cause: Cause,
    /// The object: `Kind/namespace/name`, `Node/name`, `Namespace/name` or `Registry/name`.
    pub object: String,
    /// The onset.
    pub from: Ms,
    /// When the cause was removed.
    pub to: Ms,
}

impl Planted {
    /// Longest time from the onset until a finding must be open.
    pub(super) fn found_within(&self) -> Ms {
        match self.cause {
            // It takes three kills to know, a quarter of an hour apart.
            Cause::MemoryLimitTooLow => 31 * MINUTE,
            // Half an hour in an init container is normal.
            Cause::InitWaits => 31 * MINUTE,
            // Found only when an image is pulled.
            Cause::RegistryDown if self.object.starts_with("Registry/") => HOUR,
            // The slowest rule waits for 15 minutes.
            _ => 16 * MINUTE,
        }
    }

    /// Longest time from the end until findings must be closed.
    pub(super) fn closed_within(&self) -> Ms {
        match self.cause {
            // These two close when they have not recurred for long.
            Cause::MemoryLimitTooLow => HOUR + MINUTE,
            Cause::NodeFlapping | Cause::ManagersFight => 31 * MINUTE,
            // The longest back-off is five minutes, and a container that has run for ten has recovered.
            _ => 16 * MINUTE,
        }
    }
}

/// Where a pod ran, and its workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// `Pod/namespace/name`
    pub pod: String,
    /// `Kind/namespace/name` of its controller.
    pub workload: String,
    /// `Node/name`; empty before it is scheduled.
    pub node: String,
    pub image: String,
    /// When it was created.
    pub from: Ms,
    /// When it was removed, or the end of the simulation.
    pub to: Ms,
}

impl Placement {
    /// Whether a fault of that object affects this pod.
    fn depends_on(&self, object: &str) -> bool {
        [&self.pod, &self.workload, &self.node]
            .iter()
            .any(|own| *own == object)
            || object
                .strip_prefix("Registry/")
                .is_some_and(|registry| self.image.starts_with(registry))
    }

    /// Possible subjects of a finding about this pod.
    fn shows_on(&self) -> [String; 5] {
        let place = self.workload.split_once('/').map_or("", |(_, place)| place);
        [
            self.pod.clone(),
            self.workload.clone(),
            format!("Service/{place}"),
            format!("Image/{}", self.image),
            self.node.clone(),
        ]
    }
}

/// The ground truth of a simulation.
#[derive(Debug, Default)]
pub struct GroundTruth {
    /// All planted faults.
    pub planted: Vec<Planted>,
    /// From when to when no endpoint of a Service (`Service/namespace/name`) was ready.
    pub without_endpoint: BTreeMap<String, Vec<(Ms, Ms)>>,
    /// All pods that there were.
    pub pods: Vec<Placement>,
}

impl GroundTruth {
    pub(super) fn plant(&mut self, cause: Cause, object: String, from: Ms, to: Ms) {
        self.planted.push(Planted {
            cause,
            object,
            from,
            to,
        });
    }

    /// Whether a Service has a ready endpoint from now on.
    pub(super) fn set_endpoint(&mut self, service: String, ready: bool, at: Ms) {
        let spans = self.without_endpoint.entry(service).or_default();
        match (ready, spans.last_mut().filter(|span| span.1 == Ms::MAX)) {
            (true, Some(span)) => span.1 = at,
            (false, None) => spans.push((at, Ms::MAX)),
            _ => {}
        }
    }

    /// Ends everything that is still open.
    pub(super) fn close(&mut self, end: Ms) {
        self.without_endpoint
            .retain(|_, spans| spans.iter().any(|span| span.1 > span.0));
        for span in self.without_endpoint.values_mut().flatten() {
            span.1 = span.1.min(end);
        }
    }

    /// Minutes without a ready endpoint, of one Service.
    pub fn minutes_without_endpoint(&self, service: &str) -> f64 {
        let spans = self.without_endpoint.get(service).into_iter().flatten();
        spans.map(|(from, to)| to - from).sum::<Ms>() as f64 / MINUTE as f64
    }

    /// Index for questions of the form "is this object affected?".
    pub(super) fn relations(&self) -> Relations<'_> {
        let mut pods_of: HashMap<String, Vec<&Placement>> = HashMap::new();
        for pod in &self.pods {
            for subject in pod.shows_on() {
                pods_of.entry(subject).or_default().push(pod);
            }
        }
        Relations { pods_of }
    }
}

/// Which objects have a pod in common.
#[derive(Debug)]
pub(super) struct Relations<'a> {
    pods_of: HashMap<String, Vec<&'a Placement>>,
}

impl Relations<'_> {
    /// Whether the fault can appear on that object: it is the planted one, or a pod of that time depends on both.
    /// Faults of pods do not appear on their node; but while a registry is down, its images may fail on one node alone.
    pub(super) fn shows_on(&self, planted: &Planted, subject: &str) -> bool {
        if subject.starts_with("Node/") && !planted.object.starts_with("Registry/") {
            return planted.object == subject;
        }
        let shared = |pod: &&Placement| {
            pod.from <= planted.to && pod.to >= planted.from && pod.depends_on(&planted.object)
        };
        planted.object == subject
            || self
                .pods_of
                .get(subject)
                .is_some_and(|pods| pods.iter().any(shared))
    }
}
