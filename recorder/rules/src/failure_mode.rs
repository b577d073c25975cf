//! How a container fails, derived from its status.

use std::sync::Arc;
use std::time::Duration;

use kube9_ingest::objects::{Condition, ContainerState, Phase, Pod, Role, Terminated};
use kube9_ingest::sanitize::clean_text;
use kube9_model::time::Timestamp;

use crate::config::ThresholdConfig;
use crate::world::PodEntry;

/// Waiting reasons of an image that cannot be pulled.
const IMAGE_PULL_ERRORS: [&str; 6] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
    "SignatureValidationFailed",
];

/// Waiting reasons of a container that cannot be created as specified.
const CONFIG_ERRORS: [&str; 7] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "InvalidImageName",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureMode {
    ImagePull,
    /// It cannot be created as specified.
    Config,
    OutOfMemory,
    /// It exited with a code other than 0.
    Exit,
}

impl FailureMode {
    /// A predicate for texts, after "pods".
    pub const fn words(self) -> &'static str {
        match self {
            Self::ImagePull => "cannot pull their image",
            Self::Config => "cannot start as specified",
            Self::OutOfMemory => "run out of memory",
            Self::Exit => "keep failing",
        }
    }

    /// The value in metadata and fingerprints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImagePull => "image_pull",
            Self::Config => "container_config",
            Self::OutOfMemory => "out_of_memory",
            Self::Exit => "exit",
        }
    }
}

pub fn is_image_pull_error(state: &ContainerState) -> bool {
    IMAGE_PULL_ERRORS.contains(&&*state.waiting)
}

pub fn is_config_error(state: &ContainerState) -> bool {
    CONFIG_ERRORS.contains(&&*state.waiting)
}

pub fn is_oom(end: &Terminated) -> bool {
    &*end.reason == "OOMKilled"
}

/// Whether the kubelet or the container runtime lost the container, because its node rebooted for example. The exit code
/// is a filler: the kubelet reports 137 with `ContainerStatusUnknown`, containerd 255 with `Unknown`.
pub fn is_lost(end: &Terminated) -> bool {
    matches!(
        (&*end.reason, end.exit_code),
        ("ContainerStatusUnknown", _) | ("Unknown", 255)
    )
}

/// Whether the container failed.
pub fn is_failure(end: &Terminated) -> bool {
    is_oom(end) || (end.exit_code != 0 && !is_lost(end) && !end.with_sandbox)
}

/// The latest termination if it was a failure and the container has not run for `stable_after` since, and the time at
/// which a running container will have.
pub fn recent_failure(
    state: &ContainerState,
    now: Timestamp,
    stable_after: Duration,
) -> Option<(&Terminated, Option<Timestamp>)> {
    let end = state.latest_end().filter(|end| is_failure(end))?;
    match state.running {
        Some(since) if now.since(since) >= stable_after => None,
        Some(since) => Some((end, Some(since.plus(stable_after)))),
        None => Some((end, None)),
    }
}

/// How the container fails now; `None` if it does not, or has recovered.
pub fn failure_mode(
    state: &ContainerState,
    now: Timestamp,
    stable_after: Duration,
) -> Option<FailureMode> {
    if is_image_pull_error(state) {
        return Some(FailureMode::ImagePull);
    }
    if is_config_error(state) {
        return Some(FailureMode::Config);
    }
    let (end, _) = recent_failure(state, now, stable_after)?;
    Some(if is_oom(end) {
        FailureMode::OutOfMemory
    } else {
        FailureMode::Exit
    })
}

/// Reasons of a failed pod that the kubelet ended for a shutdown of its node: in two spellings, and when it no longer
/// accepts pods.
const NODE_SHUTDOWNS: [&str; 3] = ["Terminated", "Shutdown", "NodeShutdown"];

/// Reasons of a failed pod that Kubernetes ended besides: for lack of a resource, for a critical pod, and after
/// `activeDeadlineSeconds`.
const POD_ENDS: [&str; 3] = ["Evicted", "Preempting", "DeadlineExceeded"];

/// Reasons of a rejected pod, besides `OutOfcpu` and the like. Newer kubelets also write it into the message.
const REJECTIONS: [&str; 8] = [
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "MatchNodeSelector",
    "TopologyAffinityError",
    "Topology Affinity Error",
    "SMTAlignmentError",
    "NodePorts",
    "TaintToleration",
];

/// Whether the reason of a failed pod is a shutdown of its node.
pub fn is_node_shutdown(reason: &str) -> bool {
    NODE_SHUTDOWNS.contains(&reason)
}

fn is_pod_end(reason: &str) -> bool {
    POD_ENDS.contains(&reason) || is_node_shutdown(reason)
}

/// Whether Kubernetes ends or has ended the pod: how its containers end then is not their failure.
pub fn is_disrupted(pod: &Pod) -> bool {
    pod.meta.deleting.is_some()
        || (pod.phase == Phase::Failed && is_pod_end(&pod.reason))
        || Condition::of(&pod.conditions, "DisruptionTarget").is_some_and(Condition::is_true)
        || is_rejected(pod)
}

/// Whether its node did not accept the pod. After a restart, a kubelet rejects pods whose containers run, and stops them.
pub fn is_rejected(pod: &Pod) -> bool {
    let reason = &*pod.reason;
    if pod.phase != Phase::Failed || reason.is_empty() || is_pod_end(reason) {
        return false;
    }
    let ran = |state: &ContainerState| state.latest_end().is_some_and(|end| !is_lost(end));
    reason.starts_with("OutOf")
        || REJECTIONS.contains(&reason)
        || pod.message.starts_with("Pod was rejected")
        || !pod.containers.iter().any(ran)
}

/// The containers whose failures count: none of a disrupted pod, and no sidecar that was stopped because the main
/// containers have ended.
pub fn accountable_containers(pod: &Pod) -> impl Iterator<Item = &ContainerState> {
    let (disrupted, finished) = (is_disrupted(pod), pod.has_finished());
    let is_excused =
        move |state: &ContainerState| disrupted || (finished && state.role == Role::Sidecar);
    pod.containers
        .iter()
        .filter(move |state| !is_excused(state))
}

/// Longest image name in the identity of a finding.
const IMAGE_BYTES_MAX: usize = 1024;

/// The images that a pod cannot pull. Credentials are removed, because findings are stored under these names.
pub fn images_failing_pull(pod: &Pod) -> impl Iterator<Item = Arc<str>> {
    let states = pod.containers.iter();
    let failing = states.filter(|state| !pod.phase.is_final() && is_image_pull_error(state));
    failing.filter_map(|state| {
        pod.spec
            .named(&state.name)
            .map(|container| Arc::from(clean_text(&container.image, IMAGE_BYTES_MAX)))
    })
}

#[derive(Debug, Default)]
pub(crate) struct PodFailures {
    /// Each mode, and since when.
    pub(crate) modes: Vec<(FailureMode, Option<Timestamp>)>,
    /// When this changes without a change of the pod.
    pub(crate) recheck_at: Option<Timestamp>,
}

/// How the accountable containers of a pod fail. A failing image pull counts after `image_pull`, as in
/// `ImagePullFailing`: a short failure of a registry is not a failure of the pod.
pub(crate) fn pod_failures(
    entry: &PodEntry,
    now: Timestamp,
    thresholds: &ThresholdConfig,
) -> PodFailures {
    let mut found = PodFailures::default();
    for state in accountable_containers(&entry.pod) {
        let Some(mode) = failure_mode(state, now, thresholds.stable_after) else {
            continue;
        };
        let history = entry.histories.get(&state.name);
        let mut changes = None;
        match mode {
            FailureMode::ImagePull => {
                let since = history
                    .and_then(|history| history.pull_failing)
                    .unwrap_or(now);
                changes = Some(since.plus(thresholds.image_pull)).filter(|due| *due > now);
                if changes.is_none() {
                    found.modes.push((mode, history.and_then(|t| t.failing)));
                }
            }
            FailureMode::Config => found.modes.push((mode, history.and_then(|t| t.failing))),
            FailureMode::OutOfMemory | FailureMode::Exit => {
                changes =
                    recent_failure(state, now, thresholds.stable_after).and_then(|(_, at)| at);
                found.modes.push((mode, history.and_then(|t| t.failing)));
            }
        }
        found.recheck_at = [found.recheck_at, changes].into_iter().flatten().min();
    }
    found
}
