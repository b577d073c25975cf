//! What is wrong with a container, as its state says.

use std::sync::Arc;
use std::time::Duration;

use kube9_ingest::objects::{ContainerState, Pod, Terminated};
use kube9_ingest::sanitize::clean_text;
use kube9_model::time::Timestamp;

use crate::config::ThresholdConfig;
use crate::world::PodEntry;

/// Waiting reasons of an image that cannot be pulled.
const IMAGE_PULL_ERRORS: [&str; 5] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
];

/// Waiting reasons of a container that cannot be made as it is specified.
const CONFIG_ERRORS: [&str; 7] = [
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "InvalidImageName",
    "PreCreateHookError",
    "PreStartHookError",
    "PostStartHookError",
];

/// In what way a container fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureMode {
    /// Its image cannot be pulled.
    ImagePull,
    /// It cannot be made as it is specified.
    Config,
    /// It ran out of memory.
    OutOfMemory,
    /// It ended with a code other than 0.
    Exit,
}

impl FailureMode {
    /// For people, after "containers" or "pods".
    pub const fn words(self) -> &'static str {
        match self {
            Self::ImagePull => "cannot pull their image",
            Self::Config => "cannot start as specified",
            Self::OutOfMemory => "run out of memory",
            Self::Exit => "keep failing",
        }
    }

    /// One word for metadata and fingerprints.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImagePull => "image_pull",
            Self::Config => "container_config",
            Self::OutOfMemory => "out_of_memory",
            Self::Exit => "exit",
        }
    }
}

/// Its image cannot be pulled.
pub fn is_image_pull_error(state: &ContainerState) -> bool {
    IMAGE_PULL_ERRORS.contains(&&*state.waiting)
}

/// It cannot be made as it is specified.
pub fn is_config_error(state: &ContainerState) -> bool {
    CONFIG_ERRORS.contains(&&*state.waiting)
}

/// The end was for want of memory.
pub fn is_oom(end: &Terminated) -> bool {
    &*end.reason == "OOMKilled"
}

/// The latest end, if it was a failure that the container has not recovered from: it has not run for `stable_after` since.
/// The time is when it will have, if it runs now.
pub fn recent_failure(
    state: &ContainerState,
    now: Timestamp,
    stable_after: Duration,
) -> Option<(&Terminated, Option<Timestamp>)> {
    let end = state
        .latest_end()
        .filter(|end| end.exit_code != 0 || is_oom(end))?;
    match state.running {
        Some(since) if now.since(since) >= stable_after => None,
        Some(since) => Some((end, Some(since.plus(stable_after)))),
        None => Some((end, None)),
    }
}

/// How the container fails now; `None`: it does not, or has recovered.
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

/// Its node ended it: it failed by no fault of its containers.
pub fn is_evicted(pod: &Pod) -> bool {
    &*pod.reason == "Evicted"
}

/// Longest image in the identity of a finding.
const IMAGE_BYTES_MAX: usize = 1024;

/// The images that a pod cannot pull, without the credentials that an image may hold: findings are stored under them.
pub fn images_failing_pull(pod: &Pod) -> impl Iterator<Item = Arc<str>> {
    let failing = pod
        .containers
        .iter()
        .filter(|state| is_image_pull_error(state));
    failing.filter_map(|state| {
        pod.spec
            .named(&state.name)
            .map(|container| Arc::from(clean_text(&container.image, IMAGE_BYTES_MAX)))
    })
}

/// Ways in which the containers of a pod fail.
#[derive(Debug, Default)]
pub(crate) struct PodFailures {
    /// Each way, and since when.
    pub(crate) modes: Vec<(FailureMode, Option<Timestamp>)>,
    /// When that changes by itself.
    pub(crate) recheck_at: Option<Timestamp>,
}

/// How a pod fails. A pod that goes, or that its node evicted, does not; an image counts once it has been waited for
/// for `image_pull`, as it does for the pod itself: a registry that hiccups is nobody's fault.
pub(crate) fn pod_failures(
    entry: &PodEntry,
    now: Timestamp,
    thresholds: &ThresholdConfig,
) -> PodFailures {
    let mut found = PodFailures::default();
    if entry.pod.meta.deleting.is_some() || is_evicted(&entry.pod) {
        return found;
    }
    for state in &entry.pod.containers {
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
