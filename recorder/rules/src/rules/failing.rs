//! How a pod fails, as rules about many pods count it.

use kube9_model::time::Timestamp;

use crate::config::ThresholdConfig;
use crate::failure_mode::{Way, is_evicted, unsettled, way};
use crate::world::PodEntry;

/// Ways in which the containers of a pod fail.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// Each way, and since when.
    pub(super) ways: Vec<(Way, Option<Timestamp>)>,
    /// When that changes by itself.
    pub(super) again: Option<Timestamp>,
}

/// How a pod fails. A pod that goes, or that its node evicted, does not; an image counts once it has been waited for
/// for `image_pull`, as it does for the pod itself: a registry that hiccups is nobody's fault.
pub(super) fn failing(entry: &PodEntry, now: Timestamp, thresholds: &ThresholdConfig) -> Failing {
    let mut found = Failing::default();
    if entry.pod.meta.deleting.is_some() || is_evicted(&entry.pod) {
        return found;
    }
    for state in &entry.pod.containers {
        let Some(way) = way(state, now, thresholds.stable_after) else {
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
                changes = unsettled(state, now, thresholds.stable_after).and_then(|(_, at)| at);
                found.ways.push((way, trace.and_then(|t| t.failing)));
            }
        }
        found.again = [found.again, changes].into_iter().flatten().min();
    }
    found
}
