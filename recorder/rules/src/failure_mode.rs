//! What is wrong with a container, as its state says.

use std::sync::Arc;
use std::time::Duration;

use kube9_ingest::objects::{ContainerState, Pod, Terminated};
use kube9_ingest::sanitize::clean_text;
use kube9_model::time::Timestamp;

/// Waiting reasons of an image that cannot be pulled.
const PULL: [&str; 5] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "RegistryUnavailable",
    "ImageInspectError",
];

/// Waiting reasons of a container that cannot be made as it is specified.
const CONFIG: [&str; 7] = [
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
pub enum Way {
    /// Its image cannot be pulled.
    ImagePull,
    /// It cannot be made as it is specified.
    Config,
    /// It ran out of memory.
    OutOfMemory,
    /// It ended with a code other than 0.
    Exit,
}

impl Way {
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
pub fn pull_fails(state: &ContainerState) -> bool {
    PULL.contains(&&*state.waiting)
}

/// It cannot be made as it is specified.
pub fn config_fails(state: &ContainerState) -> bool {
    CONFIG.contains(&&*state.waiting)
}

/// The end was for want of memory.
pub fn is_oom(end: &Terminated) -> bool {
    &*end.reason == "OOMKilled"
}

/// The latest end, if it was a failure that the container has not recovered from: it has not run for `stable_after` since.
/// The time is when it will have, if it runs now.
pub fn unsettled(
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
pub fn way(state: &ContainerState, now: Timestamp, stable_after: Duration) -> Option<Way> {
    if pull_fails(state) {
        return Some(Way::ImagePull);
    }
    if config_fails(state) {
        return Some(Way::Config);
    }
    let (end, _) = unsettled(state, now, stable_after)?;
    Some(if is_oom(end) {
        Way::OutOfMemory
    } else {
        Way::Exit
    })
}

/// Its node ended it: it failed by no fault of its containers.
pub fn is_evicted(pod: &Pod) -> bool {
    &*pod.reason == "Evicted"
}

/// Longest image in the identity of a finding.
const IMAGE_BYTES_MAX: usize = 1024;

/// The images that a pod cannot pull, without the credentials that an image may hold: findings are stored under them.
pub fn unpulled(pod: &Pod) -> impl Iterator<Item = Arc<str>> {
    let failing = pod.containers.iter().filter(|state| pull_fails(state));
    failing.filter_map(|state| {
        pod.spec
            .named(&state.name)
            .map(|container| Arc::from(clean_text(&container.image, IMAGE_BYTES_MAX)))
    })
}
