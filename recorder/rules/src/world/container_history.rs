//! The history of a container, accumulated from its states.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::objects::{ContainerState, Pod, Terminated};
use kube9_model::time::Timestamp;

use crate::failure_mode::{
    accountable_containers, is_config_error, is_failure, is_image_pull_error, is_lost, is_oom,
};

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
    /// The last words of the first termination of this series of failures; empty if it left none, or is not known.
    pub first_words: Box<str>,
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
        if accountable_containers(pod).any(|one| one.name == state.name) {
            history.add_ooms(old, state, now);
        }
        if history.is_worth_keeping() {
            histories.insert(state.name.clone(), history);
        }
    }
    histories
}

impl ContainerHistory {
    fn add_ooms(&mut self, old: Option<&ContainerState>, state: &ContainerState, now: Timestamp) {
        for end in [&state.last, &state.terminated].into_iter().flatten() {
            let known = old.is_some_and(|old| {
                old.last.as_ref() == Some(end) || old.terminated.as_ref() == Some(end)
            });
            let at = end.at.unwrap_or(now);
            if is_oom(end) && !known && !self.ooms.contains(&at) {
                keep_latest(&mut self.ooms, at);
            }
        }
    }

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
    let with_node = |end: &Terminated| is_lost(end) || end.with_sandbox;
    if state.restarts > known.max(0) && !state.last.as_ref().is_some_and(with_node) {
        let at = state.last.as_ref().and_then(|end| end.at).unwrap_or(now);
        for _ in 0..(state.restarts - known.max(0)).min(if old.is_some() { 8 } else { 1 }) {
            keep_latest(&mut history.restarts, at);
        }
    }
    history.pull_failing = is_image_pull_error(state).then(|| history.pull_failing.unwrap_or(now));
    let end = state.latest_end().filter(|end| is_failure(end));
    let ran_for = |end: &Terminated| Some(end.at?.since(end.started?));
    let recovered = end
        .and_then(ran_for)
        .is_some_and(|time| time >= stable_after);
    let ended = end.and_then(|end| end.at).unwrap_or(now);
    let failed_before = history.failing.is_some() && !recovered;
    history.failing = match (is_image_pull_error(state) || is_config_error(state), end) {
        (true, _) => Some(history.failing.unwrap_or(now)),
        // A long run ends the previous failure.
        (false, Some(_)) if recovered => Some(history.failing.map_or(ended, |at| at.max(ended))),
        (false, Some(_)) => Some(history.failing.unwrap_or(ended)),
        (false, None) => None,
    };
    if !failed_before {
        let is_first = ends(state) - old.map_or(0, ends) <= 1;
        history.first_words = match end {
            Some(end) if is_first => end.last_words.clone(),
            _ => Box::default(),
        };
    }
}

/// How often the container has ended. In a back-off, the kubelet does not count the restart yet that is to follow.
fn ends(state: &ContainerState) -> i64 {
    let has_ended = state.terminated.is_some() || &*state.waiting == "CrashLoopBackOff";
    state.restarts + i64::from(has_ended)
}

pub(super) fn keep_latest(times: &mut Vec<Timestamp>, at: Timestamp) {
    if times.len() == TIMES_MAX {
        times.remove(0);
    }
    times.push(at);
}
