//! The history of a container, accumulated from its states.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::objects::{ContainerState, Pod};
use kube9_model::time::Timestamp;

use crate::failure_mode::{is_config_error, is_image_pull_error, is_oom};

/// How many of the latest times are kept.
pub(super) const TIMES_MAX: usize = 16;

#[derive(Debug, Clone, Default)]
pub struct ContainerHistory {
    /// The latest restarts.
    pub restarts: Vec<Timestamp>,
    /// The latest OOM kills.
    pub ooms: Vec<Timestamp>,
    /// The latest kills by its liveness probe.
    pub probe_kills: Vec<Timestamp>,
    /// Since when its image cannot be pulled.
    pub pull_failing: Option<Timestamp>,
    /// Since when it fails, in any way, without having run for `stable_after` in between.
    pub failing: Option<Timestamp>,
}

/// The histories of the containers of `pod`, updated with the changes since `old`.
pub(super) fn histories(
    old: Option<&Pod>,
    mut histories: BTreeMap<Box<str>, ContainerHistory>,
    pod: &Pod,
    now: Timestamp,
    stable_after: Duration,
) -> BTreeMap<Box<str>, ContainerHistory> {
    for state in &pod.containers {
        let old = old.and_then(|pod| pod.containers.iter().find(|c| c.name == state.name));
        let mut history = histories.remove(&state.name).unwrap_or_default();
        update_history(&mut history, old, state, now, stable_after);
        if history.is_worth_keeping() {
            histories.insert(state.name.clone(), history);
        }
    }
    histories
}

impl ContainerHistory {
    fn is_worth_keeping(&self) -> bool {
        self.failing.is_some()
            || self.pull_failing.is_some()
            || !self.restarts.is_empty()
            || !self.ooms.is_empty()
            || !self.probe_kills.is_empty()
    }
}

fn update_history(
    history: &mut ContainerHistory,
    old: Option<&ContainerState>,
    state: &ContainerState,
    now: Timestamp,
    stable_after: Duration,
) {
    // For a new pod, only the time of the latest restart is known.
    let known = old.map_or(state.restarts - 1, |old| old.restarts);
    if state.restarts > known.max(0) {
        let at = state.last.as_ref().map_or(now, |end| end.at);
        for _ in 0..(state.restarts - known.max(0)).min(if old.is_some() { 8 } else { 1 }) {
            keep_latest(&mut history.restarts, at);
        }
    }
    for end in [&state.last, &state.terminated].into_iter().flatten() {
        if is_oom(end) && !history.ooms.contains(&end.at) {
            keep_latest(&mut history.ooms, end.at);
        }
    }
    history.pull_failing = is_image_pull_error(state).then(|| history.pull_failing.unwrap_or(now));
    let end = state
        .latest_end()
        .filter(|end| end.exit_code != 0 || is_oom(end));
    let recovered = end.is_some_and(|end| end.at.since(end.started) >= stable_after);
    history.failing = match (is_image_pull_error(state) || is_config_error(state), end) {
        (true, _) => Some(history.failing.unwrap_or(now)),
        // A long run ends the previous failure.
        (false, Some(end)) if recovered => {
            Some(history.failing.map_or(end.at, |at| at.max(end.at)))
        }
        (false, Some(end)) => Some(history.failing.unwrap_or(end.at)),
        (false, None) => None,
    };
}

pub(super) fn keep_latest(times: &mut Vec<Timestamp>, at: Timestamp) {
    if times.len() == TIMES_MAX {
        times.remove(0);
    }
    times.push(at);
}
