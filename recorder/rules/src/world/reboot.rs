//! Which containers ended because their node restarted, for kubelets that do not report `PodReadyToStartContainers`
//! (before 1.29). With it, the pod's own status shows this.

use std::time::Duration;

use kube9_ingest::objects::{Condition, Node, Pod};
use kube9_model::time::Timestamp;

use crate::node_life;

/// How long before its node is ready again a container may have ended with it.
const RESTARTS_WITHIN: Duration = Duration::from_secs(900);

/// How long before its node is ready the kubelet may start containers again.
const STARTS_EARLY: Duration = Duration::from_secs(180);

/// Exit codes of containers that a shutdown ends: signals, and what some runtimes report of those that they lost.
const OF_SHUTDOWN: [i64; 3] = [137, 143, 255];

/// Until when a node was away: `now` if it still is; `None` if it has been ready since it joined.
pub(super) fn away_until(node: &Node, now: Timestamp) -> Option<Timestamp> {
    let ready = Condition::of(&node.conditions, "Ready")?;
    let until = if ready.is_true() { ready.since? } else { now };
    (until > node_life::registered_at(node)).then_some(until)
}

/// Marks the ends of a pod whose containers ended as in a shutdown, shortly before their node was ready again, and run
/// since. Returns whether it marked one.
pub(super) fn mark_ended_with_node(pod: &mut Pod, until: Timestamp) -> bool {
    if Condition::of(&pod.conditions, "PodReadyToStartContainers").is_some() {
        return false;
    }
    let (ended, started) = (until.minus(RESTARTS_WITHIN), until.minus(STARTS_EARLY));
    let runs = pod.containers.iter().filter_map(|state| state.running);
    if runs.clone().next().is_none() || runs.clone().any(|since| since < started) {
        return false;
    }
    let mut marked = false;
    for state in &mut pod.containers {
        let Some(end) = state.last.as_mut().filter(|_| state.running.is_some()) else {
            continue;
        };
        let ran_before = end.started.is_some_and(|at| at < ended);
        let ran_before = ran_before && OF_SHUTDOWN.contains(&end.exit_code);
        if ran_before && end.at.is_some_and(|at| ended <= at && at <= until) && !end.with_sandbox {
            end.with_sandbox = true;
            marked = true;
        }
    }
    marked
}
