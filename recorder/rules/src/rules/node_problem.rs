//! A node reports a problem.

use kube9_ingest::objects::Condition;
use kube9_model::label::Kind;
use kube9_model::{EventType, Severity};

use super::format::reason_and_message;
use super::rule::{Check, Rule, RuleContext, RuleDoc};
use super::symptoms::RuleOutput;
use crate::node_life::{self, NodeLife};
use crate::world::NodeEntry;

pub(super) const RULE: Rule = Rule {
    name: "NodeProblem",
    event_type: EventType::Health,
    doc: RuleDoc {
        summary: "A node reports a problem",
        severity: "error; warning if the status is `Unknown`; info for what is only announced",
        opens: "a node has a condition that names a problem and is `True`, such as `NetworkUnavailable`, `KernelDeadlock`, `ReadonlyFilesystem`, `FrequentKubeletRestart`, `GPUMissing`, or any other with a word such as `Problem`, `Failure`, `Unhealthy`, `Pressure` or `Not`; or one that names a good state and is not `True`, such as `KernelReady` or `NetworkingReady`; or one of another type that is `True` with a reason such as `GpuMemWatchIsNotHealthy`; or one that announces something, such as `RebootRequired` or `VMEventScheduled`",
        opens_after: "`node_critical` if the status is `Unknown`; else immediately",
        closes: "the condition has its good value, or the node is removed",
        action: "Read the condition's message, then the node's kernel log (`journalctl -k`).",
        notes: "Problem detectors and cloud agents set such conditions. Others may mean anything, so they open nothing. On a node that is younger than `node_start`, drained or being removed (see `NodeUnready`), `NetworkUnavailable` and a good state that is not `True` do not count.",
    },
    reads: &[Kind::Node],
    check: Check::Node(check),
};

/// Which status of a condition is bad, by the words of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polarity {
    /// `True` is a problem.
    Problem,
    /// Anything but `True` is a problem.
    Good,
    /// `True` announces something.
    Announced,
    /// It may mean anything, or another rule reports it.
    Open,
}

/// Words of problems, at any place. `True` is bad.
const BAD: [&str; 80] = [
    "abnormal",
    "anomaly",
    "bad",
    "blocked",
    "broken",
    "conflict",
    "congested",
    "corrupt",
    "corrupted",
    "corruption",
    "crash",
    "crashed",
    "crashing",
    "critical",
    "damaged",
    "dead",
    "deadlock",
    "degraded",
    "disconnected",
    "error",
    "errors",
    "exhausted",
    "exhaustion",
    "expired",
    "failed",
    "failing",
    "failure",
    "failures",
    "fatal",
    "fault",
    "faulted",
    "faults",
    "faulty",
    "flapping",
    "frequent",
    "full",
    "hang",
    "hanging",
    "hangs",
    "hung",
    "inactive",
    "insufficient",
    "invalid",
    "leak",
    "lockup",
    "lost",
    "mismatch",
    "missing",
    "no",
    "not",
    "offline",
    "oom",
    "oops",
    "overheated",
    "overheating",
    "overload",
    "overloaded",
    "panic",
    "pressure",
    "problem",
    "problems",
    "readonly",
    "saturated",
    "shortage",
    "shutdown",
    "slow",
    "stalled",
    "starved",
    "stuck",
    "throttled",
    "throttling",
    "timeout",
    "unavailable",
    "unhealthy",
    "unreachable",
    "unready",
    "unresponsive",
    "unstable",
    "unsynchronized",
    "violation",
];

/// Last words of good states.
const GOOD: [&str; 18] = [
    "ready",
    "healthy",
    "ok",
    "operational",
    "reachable",
    "online",
    "connected",
    "synced",
    "synchronized",
    "functional",
    "responsive",
    "alive",
    "working",
    "available",
    "accessible",
    "writable",
    "passed",
    "up",
];

/// Words before the last that make no good state of it: `NotReady`, `UpdateAvailable`, `ScaleUp`.
const UNLESS: [&str; 9] = [
    "not", "no", "update", "updates", "upgrade", "upgrades", "scale", "clean", "start",
];

/// Last words of what is to come.
const ANNOUNCED: [&str; 9] = [
    "imminent",
    "impending",
    "maintenance",
    "pending",
    "planned",
    "requested",
    "required",
    "scheduled",
    "termination",
];

/// Last words of a setting, or of a problem that is over.
const HARMLESS: [&str; 7] = [
    "enabled",
    "configured",
    "supported",
    "detector",
    "recovered",
    "resolved",
    "cleared",
];

/// Those of the kubelet that other rules report.
const OF_KUBELET: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn polarity(kind: &str) -> Polarity {
    if OF_KUBELET.contains(&kind) {
        return Polarity::Open;
    }
    // A qualified name: `example.com/GPUHealthy`.
    let words = words(kind.rsplit('/').next().unwrap_or_default());
    let has = |list: &[&str], word: Option<&String>| word.is_some_and(|w| list.contains(&&**w));
    let last = words.last();
    let before_last = words.len().checked_sub(2).and_then(|at| words.get(at));
    if has(&ANNOUNCED, last) {
        Polarity::Announced
    } else if has(&HARMLESS, last) {
        Polarity::Open
    } else if has(&GOOD, last) && !has(&UNLESS, before_last) {
        Polarity::Good
    } else if words.iter().any(|word| BAD.contains(&&**word))
        || kind.starts_with("OutOf")
        || (has(&["down"], last) && !has(&["scale", "cool"], before_last))
        || kind == "CperHardwareErrorFatal"
    {
        Polarity::Problem
    } else {
        Polarity::Open
    }
}

/// Whether the reason names the problem that the type does not: `GpuNvlinkWatch` with `GpuNvlinkWatchIsNotHealthy`.
fn says_unhealthy(condition: &Condition) -> bool {
    let words = words(&condition.reason);
    let mut last = words.iter().rev().map(String::as_str);
    match last.next() {
        Some("unhealthy") => last.next() != Some("not"),
        Some("healthy") => last.next() == Some("not"),
        _ => false,
    }
}

/// `XIDHardwareNotOk` → `xid`, `hardware`, `not`, `ok`.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let after_is_lower = chars.get(at + 1).is_some_and(|c| c.is_lowercase());
        let begins = c.is_uppercase()
            && before.is_some_and(|b| !b.is_uppercase() || after_is_lower)
            || !c.is_alphanumeric();
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn check(context: &RuleContext<'_>, entry: &NodeEntry, output: &mut RuleOutput) {
    let node = &entry.node;
    let mut life = None;
    for condition in &node.conditions {
        let polarity = match polarity(&condition.kind) {
            Polarity::Open if says_unhealthy(condition) => Polarity::Problem,
            of_type => of_type,
        };
        let Some((severity, what)) = trouble(condition, polarity) else {
            continue;
        };
        let kind = &*condition.kind;
        let life = *life.get_or_insert_with(|| {
            node_life::life(context.world, entry, context.now, context.thresholds)
        });
        let not_yet = polarity == Polarity::Good || kind == "NetworkUnavailable";
        if not_yet && life != NodeLife::InService {
            output.keep_open(kind);
            if life == NodeLife::Starting {
                output.recheck_at(node_life::started_at(node, context.thresholds));
            }
            continue;
        }
        report(context, entry, condition, severity, what, output);
    }
}

/// The severity of a condition that is not as it should be, and the verb of its title.
fn trouble(condition: &Condition, polarity: Polarity) -> Option<(Severity, &'static str)> {
    match (polarity, &*condition.status) {
        (Polarity::Problem, "True") => Some((Severity::Error, "reports")),
        (Polarity::Announced, "True") => Some((Severity::Info, "announces")),
        (Polarity::Good, "False") => Some((Severity::Error, "reports not")),
        (Polarity::Good, "Unknown") => Some((Severity::Warning, "does not know")),
        _ => None,
    }
}

fn report(
    context: &RuleContext<'_>,
    entry: &NodeEntry,
    condition: &Condition,
    severity: Severity,
    what: &str,
    output: &mut RuleOutput,
) {
    let (name, kind) = (&entry.node.meta.name, &*condition.kind);
    let since = condition.since.unwrap_or(context.now);
    let description = format!(
        "The condition {kind} of node {name} has been {} since {since}: {}. \
         Read the logs of its kernel and kubelet (`journalctl -k`, `journalctl -u kubelet`).",
        condition.status,
        reason_and_message(&condition.reason, &condition.message)
    );
    let symptom = output.add(
        severity,
        since,
        format!("Node {name} {what} {kind}"),
        description,
    );
    if severity == Severity::Warning {
        symptom.for_at_least(context.thresholds.node_critical);
    }
    symptom
        .part(kind)
        .with("condition", kind)
        .with("status", &*condition.status);
    symptom.node = Some(name.to_string());
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::tests::prelude::*;

    #[test]
    fn network_unavailable_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("NetworkUnavailable", "True")),
                Opens(Error),
                apply(Kind::Node, node_reporting("NetworkUnavailable", "False")),
                Closes,
            ],
        );
    }

    #[test]
    fn problem_detector_condition_opens_then_closes() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("FrequentKubeletRestart", "True")),
                Opens(Error),
                Delete(Kind::Node, node_reporting("FrequentKubeletRestart", "True")),
                Closes,
            ],
        );
    }

    #[test]
    fn reason_names_the_problem_that_the_type_does_not() {
        let watch = |status, reason| {
            let watch = over(
                condition("GpuNvlinkWatch", status, 0),
                json!({"reason": reason}),
            );
            let conditions = json!([condition("Ready", "True", 0), watch]);
            let node = node("w1", json!({"status": {"conditions": conditions}}));
            apply(Kind::Node, node)
        };
        run(
            &RULE,
            vec![
                watch("False", "GpuNvlinkWatchIsHealthy"),
                NoChange,
                watch("True", "GpuNvlinkWatchIsNotHealthy"),
                Opens(Error),
                watch("False", "GpuNvlinkWatchIsHealthy"),
                Closes,
            ],
        );
    }

    #[test]
    fn unknown_condition_does_not_open() {
        run(
            &RULE,
            vec![
                apply(Kind::Node, node_reporting("EtcdIsVoter", "True")),
                NoChange,
            ],
        );
    }

    #[test]
    fn captured_kernel_deadlock_opens_then_closes() {
        run(
            &RULE,
            vec![
                Captured("node", "well"),
                NoChange,
                Captured("node", "problem"),
                Opens(Error),
                Captured("node", "no-problem"),
                Closes,
            ],
        );
    }

    #[test]
    fn captured_pressure_does_not_open() {
        run(&RULE, vec![Captured("node", "pressure"), NoChange]);
    }

    #[test]
    fn good_condition_that_is_false_opens_then_closes() {
        for kind in [
            "KernelReady",
            "NetworkingReady",
            "AcceleratedHardwareReady",
            "GPUHealthy",
        ] {
            run(
                &RULE,
                vec![
                    apply(Kind::Node, node_reporting(kind, "True")),
                    NoChange,
                    apply(Kind::Node, node_reporting(kind, "False")),
                    Opens(Error),
                    apply(Kind::Node, node_reporting(kind, "True")),
                    Closes,
                ],
            );
        }
    }

    #[test]
    fn good_condition_that_is_unknown_opens_as_warning_after_a_while() {
        run(
            &RULE,
            vec![
                apply(
                    Kind::Node,
                    node_reporting("ContainerRuntimeReady", "Unknown"),
                ),
                Wait(290),
                NoChange,
                Wait(20),
                Opens(Warning),
                apply(Kind::Node, node_reporting("ContainerRuntimeReady", "True")),
                Closes,
            ],
        );
    }

    #[test]
    fn announced_restart_opens_as_info() {
        for kind in ["RebootRequired", "MaintenancePending"] {
            run(
                &RULE,
                vec![
                    apply(Kind::Node, node_reporting(kind, "True")),
                    Opens(Info),
                    apply(Kind::Node, node_reporting(kind, "False")),
                    Closes,
                ],
            );
        }
    }

    #[test]
    fn network_of_a_new_node_does_not_open_at_first() {
        let new = json!({"metadata": {"creationTimestamp": t(0)}});
        for (kind, status) in [("NetworkUnavailable", "True"), ("StorageReady", "False")] {
            run(
                &RULE,
                vec![
                    apply(Kind::Node, over(node_reporting(kind, status), new.clone())),
                    Wait(590),
                    NoChange,
                    Wait(20),
                    Opens(Error),
                ],
            );
        }
    }

    #[test]
    fn problem_of_a_new_node_opens() {
        let new = json!({"metadata": {"creationTimestamp": t(0)}});
        run(
            &RULE,
            vec![
                apply(
                    Kind::Node,
                    over(node_reporting("KernelDeadlock", "True"), new),
                ),
                Opens(Error),
            ],
        );
    }

    #[test]
    fn node_that_is_removed_does_not_open() {
        let taint = json!({"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}});
        run(
            &RULE,
            vec![
                apply(
                    Kind::Node,
                    over(node_reporting("StorageReady", "False"), taint),
                ),
                Wait(600),
                NoChange,
            ],
        );
    }

    #[test]
    fn condition_type_has_the_polarity_of_its_words() {
        use super::{Polarity, polarity};
        for (expected, kinds) in [
            (
                Polarity::Problem,
                &[
                    "NetworkUnavailable",
                    "KernelDeadlock",
                    "ReadonlyFilesystem",
                    "CorruptDockerOverlay2",
                    "XfsShutdown",
                    "CperHardwareErrorFatal",
                    "FrequentKubeletRestart",
                    "FrequentContainerdRestart",
                    "KubeletUnhealthy",
                    "FrequentUnregisterNetDevice",
                    "FilesystemCorruptionProblem",
                    "ContainerRuntimeUnhealthy",
                    "GPUMissing",
                    "XIDHardwareNotOk",
                    "InodesPressure",
                    "DockerHung",
                    "NTPProblem",
                    "DNSUnreachable",
                    "OutOfDisk",
                    "IBLinkFlapping",
                    "NVLinkStatusInactive",
                    "NetworkDown",
                    "NotReady",
                    "HostNetworkProblem",
                    "example.com/DiskFailure",
                ][..],
            ),
            (
                Polarity::Good,
                &[
                    "KernelReady",
                    "StorageReady",
                    "GPUHealthy",
                    "NodeConfigOk",
                    "ClockSynchronized",
                    "acme.io/FabricReady",
                    "RuntimeAvailable",
                    "HealthCheckPassed",
                    "LinkUp",
                ],
            ),
            (
                Polarity::Announced,
                &[
                    "VMEventScheduled",
                    "TerminateScheduled",
                    "RebootRequired",
                    "ShutdownScheduled",
                ],
            ),
            (
                Polarity::Open,
                &[
                    "Ready",
                    "MemoryPressure",
                    "DiskPressure",
                    "PIDPressure",
                    "EtcdIsVoter",
                    "SysctlChanged",
                    "UpdateAvailable",
                    "DeprecatedConfigsFieldInContainerdConfiguration",
                    "FailureDetectorEnabled",
                    "ScaleDown",
                    "Upgraded",
                    "NodeNotifierInstalled",
                ],
            ),
        ] {
            for kind in kinds {
                assert_eq!(polarity(kind), expected, "{kind}");
            }
        }
    }
}
