//! What part of its life a node is in. A node that starts, is drained, or is removed by an autoscaler is not ready by
//! design, for a while.

use std::time::Duration;

use kube9_ingest::objects::{Condition, Node, Phase, announces_removal};
use kube9_model::time::Timestamp;

use crate::config::ThresholdConfig;
use crate::failure_mode::is_node_shutdown;
use crate::world::{NodeEntry, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeLife {
    /// It joined the cluster less than `node_start` ago.
    Starting,
    /// Something has announced that it goes, or that its machine restarts.
    Leaving,
    /// It is cordoned and runs only what every node runs.
    Drained,
    InService,
}

/// A node reports its readiness when it registers, and some kubelets restart once soon afterwards.
const REGISTERS: Duration = Duration::from_secs(120);

/// From when on its changes between ready and not ready count.
pub fn registered_at(node: &Node) -> Timestamp {
    node.meta.created.plus(REGISTERS)
}

/// When a node no longer counts as new.
pub fn started_at(node: &Node, thresholds: &ThresholdConfig) -> Timestamp {
    node.meta.created.plus(thresholds.node_start)
}

pub fn is_starting(node: &Node, now: Timestamp, thresholds: &ThresholdConfig) -> bool {
    now < started_at(node, thresholds)
}

pub fn life(
    world: &World,
    entry: &NodeEntry,
    now: Timestamp,
    thresholds: &ThresholdConfig,
) -> NodeLife {
    let node = &entry.node;
    if entry.shuts_down || is_leaving(node) || has_ended_its_pods(world, node) {
        NodeLife::Leaving
    } else if is_starting(node, now, thresholds) {
        NodeLife::Starting
    } else if node.cordoned && !has_workload(world, &node.meta.name) {
        NodeLife::Drained
    } else {
        NodeLife::InService
    }
}

/// Whether something has announced that the node goes, or that its machine restarts.
pub fn is_leaving(node: &Node) -> bool {
    node.meta.deleting.is_some()
        || node.taints.iter().any(|taint| announces_removal(taint))
        || node.conditions.iter().any(announces_restart)
}

/// Events of a virtual machine that its cloud has scheduled (AKS), and machines that are being deleted (Gardener).
fn announces_restart(condition: &Condition) -> bool {
    let of_machine = |kind: &str| {
        let events = [
            "VMEvent",
            "Freeze",
            "Reboot",
            "Redeploy",
            "Terminate",
            "Preempt",
        ];
        let event = kind.strip_suffix("Scheduled");
        event.is_some_and(|event| events.contains(&event)) || kind == "Terminating"
    };
    condition.is_true() && of_machine(&condition.kind)
}

/// The kubelet of a machine that shuts down says so once; afterwards it is silent.
pub fn says_shutdown(node: &Node) -> bool {
    let ready = Condition::of(&node.conditions, "Ready");
    ready.is_some_and(|ready| !ready.is_true() && ready.message.contains("shutting down"))
}

/// How long before a node is silent its kubelet may end pods for the shutdown.
const SHUTDOWN_MAX: Duration = Duration::from_secs(600);

/// Whether the kubelet ended pods for a shutdown before it went silent. The pods tell it also to a recorder that started
/// later, for example because it ran on that node.
fn has_ended_its_pods(world: &World, node: &Node) -> bool {
    let Some(silent) = Condition::of(&node.conditions, "Ready")
        .filter(|ready| !ready.is_true())
        .and_then(|ready| ready.since)
    else {
        return false;
    };
    world.pods_on(&node.meta.name).any(|entry| {
        let pod = &entry.pod;
        let target = Condition::of(&pod.conditions, "DisruptionTarget").and_then(|c| c.since);
        let ends = pod
            .containers
            .iter()
            .filter_map(|c| c.terminated.as_ref()?.at);
        let ended = target.into_iter().chain(ends).max();
        pod.phase == Phase::Failed
            && is_node_shutdown(&pod.reason)
            && ended.is_some_and(|at| at.plus(SHUTDOWN_MAX) >= silent)
    })
}

/// Whether a pod is on the node that would run elsewhere after a drain.
fn has_workload(world: &World, node: &str) -> bool {
    world.pods_on(node).any(|entry| {
        let pod = &entry.pod;
        let of_the_node = pod
            .meta
            .owner
            .as_ref()
            .is_some_and(|owner| matches!(&*owner.kind, "DaemonSet" | "Node"));
        !of_the_node && !pod.phase.is_final() && pod.meta.deleting.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taint_of_a_removal_is_told_from_one_of_a_kind_of_node() {
        for taint in [
            "ToBeDeletedByClusterAutoscaler=1764500000:NoSchedule",
            "karpenter.sh/disrupted:NoSchedule",
            "karpenter.sh/disruption=disrupting:NoSchedule",
            "aws-node-termination-handler/spot-itn=x:NoSchedule",
            "cloud.google.com/impending-node-termination:NoSchedule",
            "node.cloudprovider.kubernetes.io/shutdown:NoSchedule",
            "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
            "kubevirt.io/drain=draining:NoSchedule",
            "example.com/deleting:NoSchedule",
        ] {
            assert!(announces_removal(taint), "{taint}");
        }
        for taint in [
            "DeletionCandidateOfClusterAutoscaler=1764500000:PreferNoSchedule",
            "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
            "preemptible=true:NoSchedule",
            "node.kubernetes.io/unreachable:NoExecute",
            "karpenter.sh/unregistered:NoExecute",
            "dedicated=drain:NoSchedule",
            "gpu:NoSchedule",
        ] {
            assert!(!announces_removal(taint), "{taint}");
        }
    }
}
