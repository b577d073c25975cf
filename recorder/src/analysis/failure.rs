//! What is wrong with a container: read from its state, and from how the state came to be.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_shared::time::Timestamp;

use super::world::{PodEntry, Trace, keep_latest};
use crate::config::ThresholdConfig;
use crate::source::objects::{ContainerState, Pod, Terminated};

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
            Self::Config => "cannot be created as specified",
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

/// The latest end, if it was a failure that the container has not recovered from: it has not run for `settle` since.
/// The time is when it will have, if it runs now.
pub fn unsettled(
    state: &ContainerState,
    now: Timestamp,
    settle: Duration,
) -> Option<(&Terminated, Option<Timestamp>)> {
    let end = state
        .latest_end()
        .filter(|end| end.exit_code != 0 || is_oom(end))?;
    match state.running {
        Some(since) if now.since(since) >= settle => None,
        Some(since) => Some((end, Some(since.plus(settle)))),
        None => Some((end, None)),
    }
}

/// How the container fails now; `None`: it does not, or has recovered.
pub fn way(state: &ContainerState, now: Timestamp, settle: Duration) -> Option<Way> {
    if pull_fails(state) {
        return Some(Way::ImagePull);
    }
    if config_fails(state) {
        return Some(Way::Config);
    }
    let (end, _) = unsettled(state, now, settle)?;
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

/// Ways in which the containers of a pod fail, as rules about many pods count them.
#[derive(Debug, Default)]
pub struct Failing {
    /// Each way, and since when.
    pub ways: Vec<(Way, Option<Timestamp>)>,
    /// When that changes by itself.
    pub again: Option<Timestamp>,
}

/// How a pod fails. A pod that goes, or that its node evicted, does not; an image counts once it has been waited for
/// for `image_pull`, as it does for the pod itself: a registry that hiccups is nobody's fault.
pub fn failing(entry: &PodEntry, now: Timestamp, thresholds: &ThresholdConfig) -> Failing {
    let mut found = Failing::default();
    if entry.pod.meta.deleting.is_some() || is_evicted(&entry.pod) {
        return found;
    }
    for state in &entry.pod.containers {
        let Some(way) = way(state, now, thresholds.settle) else {
            continue;
        };
        let trace = entry.traces.get(&state.name);
        let mut changes = None;
        match way {
            Way::ImagePull => {
                let since = trace.and_then(|trace| trace.pull_failing).unwrap_or(now);
                changes = Some(since.plus(thresholds.image_pull)).filter(|due| *due > now);
                if changes.is_none() {
                    found.ways.push((way, trace.and_then(|t| t.failing)));
                }
            }
            Way::Config => found.ways.push((way, trace.and_then(|t| t.failing))),
            Way::OutOfMemory | Way::Exit => {
                changes = unsettled(state, now, thresholds.settle).and_then(|(_, at)| at);
                found.ways.push((way, trace.and_then(|t| t.failing)));
            }
        }
        found.again = [found.again, changes].into_iter().flatten().min();
    }
    found
}

/// The images that a pod cannot pull.
pub fn unpulled(pod: &Pod) -> impl Iterator<Item = &str> {
    let failing = pod.containers.iter().filter(|state| pull_fails(state));
    failing.filter_map(|state| {
        pod.spec
            .named(&state.name)
            .map(|container| &*container.image)
    })
}

/// What watching the containers of `pod` has told by now: what was known of them, and what is new since `old`.
pub(super) fn traces(
    old: Option<&Pod>,
    mut traces: BTreeMap<Box<str>, Trace>,
    pod: &Pod,
    now: Timestamp,
    settle: Duration,
) -> BTreeMap<Box<str>, Trace> {
    for state in &pod.containers {
        let old = old.and_then(|pod| pod.containers.iter().find(|c| c.name == state.name));
        let mut trace = traces.remove(&state.name).unwrap_or_default();
        follow(&mut trace, old, state, now, settle);
        if trace.is_worth_keeping() {
            traces.insert(state.name.clone(), trace);
        }
    }
    traces
}

impl Trace {
    fn is_worth_keeping(&self) -> bool {
        self.failing.is_some()
            || self.pull_failing.is_some()
            || !self.restarts.is_empty()
            || !self.ooms.is_empty()
            || !self.probe_kills.is_empty()
    }
}

fn follow(
    trace: &mut Trace,
    old: Option<&ContainerState>,
    state: &ContainerState,
    now: Timestamp,
    settle: Duration,
) {
    // Of a pod seen for the first time only the latest restart has a time.
    let known = old.map_or(state.restarts - 1, |old| old.restarts);
    if state.restarts > known.max(0) {
        let at = state.last.as_ref().map_or(now, |end| end.at);
        for _ in 0..(state.restarts - known.max(0)).min(if old.is_some() { 8 } else { 1 }) {
            keep_latest(&mut trace.restarts, at);
        }
    }
    for end in [&state.last, &state.terminated].into_iter().flatten() {
        if is_oom(end) && !trace.ooms.contains(&end.at) {
            keep_latest(&mut trace.ooms, end.at);
        }
    }
    trace.pull_failing = pull_fails(state).then(|| trace.pull_failing.unwrap_or(now));
    let end = state
        .latest_end()
        .filter(|end| end.exit_code != 0 || is_oom(end));
    let recovered = end.is_some_and(|end| end.at.since(end.started) >= settle);
    trace.failing = match (pull_fails(state) || config_fails(state), end) {
        (true, _) => Some(trace.failing.unwrap_or(now)),
        // A run that lasted ends what came before it.
        (false, Some(end)) if recovered => Some(trace.failing.map_or(end.at, |at| at.max(end.at))),
        (false, Some(end)) => Some(trace.failing.unwrap_or(end.at)),
        (false, None) => None,
    };
}
