//! Classifies an Event: severity and title from the reason table, or a guess if the table has no row for it. Pure.

use std::borrow::Cow;

use kube9_model::Severity::{self, Info, Warning};

use super::reason_table::{Row, TABLE};
use crate::redact::redact;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classification {
    pub severity: Severity,
    /// Does not contain the object's name.
    pub title: Cow<'static, str>,
    /// False if the table has no row for it, so that severity and title are guesses.
    pub known: bool,
}

/// Looks an Event up. A reason without a row gets its severity from the Event's type, or from its words, and its title
/// from itself.
pub fn classify(reason: &str, component: &str, kube_type: &str, message: &str) -> Classification {
    // Reporters that omit the type, or write `normal`, mean Normal. Any other type counts as a warning.
    let normal = kube_type.is_empty() || kube_type.eq_ignore_ascii_case("Normal");
    let (by_type, kube_type) = if normal {
        (Info, "Normal")
    } else {
        (Warning, kube_type)
    };
    let rows = &TABLE[TABLE.partition_point(|row| row.reason < reason)..];
    let mut rows = rows.iter().take_while(|row| row.reason == reason);
    match rows.find(|row| fits(row, component, kube_type, message)) {
        Some(row) => {
            // A Warning raises the row's severity, unless the row was chosen by type.
            let severity = if row.of_type.is_empty() {
                row.severity.max(by_type)
            } else {
                row.severity
            };
            Classification {
                severity,
                title: row.title.into(),
                known: true,
            }
        }
        None => Classification {
            severity: if names_trouble(reason, message) {
                by_type.max(Warning)
            } else {
                by_type
            },
            // Split into words, a secret could no longer be recognized.
            title: if is_redacted(reason) {
                reason.to_owned()
            } else {
                sentence(reason)
            }
            .into(),
            known: false,
        },
    }
}

/// Whether the row applies to the Event.
fn fits(row: &Row, component: &str, kube_type: &str, message: &str) -> bool {
    let by = match row.by.strip_suffix('*') {
        Some(start) => component.starts_with(start),
        None => row.by.is_empty() || row.by == component,
    };
    by && (row.of_type.is_empty() || row.of_type == kube_type)
        && (row.says.is_empty()
            || row
                .says
                .iter()
                .any(|all| all.iter().all(|part| message.contains(part))))
}

/// Words of a reason that mean trouble although the Event is Normal, as operators often send it: `VolumeDegraded`,
/// `FailedReconcile`, `NodeUnhealthy`.
const TROUBLE: [&str; 20] = [
    "Corrupt",
    "Corrupted",
    "Crashed",
    "Degraded",
    "Down",
    "Error",
    "Failed",
    "Failing",
    "Failover",
    "Failure",
    "Fault",
    "Faulted",
    "Faulty",
    "Lost",
    "Offline",
    "Stalled",
    "Stuck",
    "Unavailable",
    "Unhealthy",
    "Unreachable",
];

/// Words of a reason that mean that trouble is over, looked for, or cleaned up: `FailedPodDeleted`, `ErrorCleared`.
const HARMLESS: [&str; 16] = [
    "Check",
    "Cleaned",
    "Cleanup",
    "Cleared",
    "Completed",
    "Deleted",
    "Deleting",
    "Fixed",
    "No",
    "Not",
    "Recovered",
    "Recovering",
    "Removed",
    "Repaired",
    "Resolved",
    "Scale",
];

/// What operators write about a change of state.
const SENTENCES: [&str; 9] = [
    " became degraded",
    " became faulted",
    " became unhealthy",
    "initiating a failover",
    " is degraded",
    "-> Degraded",
    " to Degraded",
    "HEALTH_ERR",
    "HEALTH_WARN",
];

/// Whether an Event that is Normal by its type reports trouble.
fn names_trouble(reason: &str, message: &str) -> bool {
    let words: Vec<String> = sentence(reason).split(' ').map(capitalized).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&&**word));
    (has(&TROUBLE) && !has(&HARMLESS)) || SENTENCES.iter().any(|part| message.contains(part))
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next();
    let first = first.into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

fn is_redacted(text: &str) -> bool {
    matches!(redact(text), Cow::Owned(_))
}

/// `FailedToFrobnicate` → `Failed to frobnicate`.
fn sentence(reason: &str) -> String {
    let chars: Vec<char> = reason.trim().chars().collect();
    let mut title = String::with_capacity(reason.len() + 8);
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after_is_lower = chars.get(i + 1).is_some_and(|c| c.is_lowercase());
        let begins_word = c.is_uppercase()
            && before.is_some_and(|b| {
                b.is_lowercase() || b.is_numeric() || (b.is_uppercase() && after_is_lower)
            });
        if matches!(c, '_' | '-' | '.' | '/') || c.is_whitespace() {
            if !title.ends_with(' ') && !title.is_empty() {
                title.push(' ');
            }
            continue;
        }
        if begins_word && !title.ends_with(' ') {
            title.push(' ');
        }
        if title.is_empty() {
            title.extend(c.to_uppercase());
        } else if c.is_uppercase() && after_is_lower && title.ends_with(' ') {
            // A word, not an acronym.
            title.extend(c.to_lowercase());
        } else {
            title.push(c);
        }
    }
    title.truncate(title.trim_end().len());
    if title.is_empty() {
        "Event without a reason".to_owned()
    } else {
        title
    }
}

#[cfg(test)]
mod tests {
    use kube9_model::Severity::Error;

    use super::*;

    #[test]
    fn table_is_sorted_and_every_row_is_reachable() {
        for pair in TABLE.windows(2) {
            let [before, after] = pair else {
                unreachable!()
            };
            assert!(
                before.reason <= after.reason,
                "{} stands before {}",
                before.reason,
                after.reason
            );
            let hides = before.says.is_empty() && before.by.is_empty() && before.of_type.is_empty();
            assert!(
                before.reason != after.reason || !hides,
                "a row of {} is never reached",
                after.reason
            );
        }
        for row in TABLE {
            let message = row.says.first().map_or(String::new(), |all| all.join(" "));
            // No type means Normal, which other rows may ask for.
            let kube_type = if row.of_type.is_empty() {
                "Warning"
            } else {
                row.of_type
            };
            let found = classify(row.reason, row.by, kube_type, &message);
            assert_eq!(
                found.title, row.title,
                "{} is hidden by an earlier row",
                row.reason
            );
        }
    }

    #[test]
    fn table_titles_are_sentences_of_bounded_length() {
        for row in TABLE {
            let first = row.title.chars().next().unwrap();
            assert!(
                first.is_uppercase() && row.title.len() <= 80 && !row.title.ends_with('.'),
                "{}",
                row.title
            );
        }
    }

    #[test]
    fn table_has_a_row_for_every_kubernetes_reason() {
        let list = include_str!("../tests/data/kubernetes-reasons.txt");
        let rows = list.lines().filter(|line| !line.starts_with('#'));
        let (mut seen, mut unknown) = (0, Vec::new());
        for (component, reason) in rows.map(|line| line.split_once('\t').unwrap()) {
            seen += 1;
            for kube_type in ["Normal", "Warning"] {
                if !classify(reason, component, kube_type, "").known {
                    unknown.push((component, reason, kube_type));
                }
            }
        }
        assert!(seen > 200, "the list is cut: {seen}");
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn classify_ambiguous_reason_uses_message_and_reporter() {
        for (reason, component, kube_type, message, severity, title) in [
            (
                "BackOff",
                "kubelet",
                "Warning",
                "Back-off restarting failed container app in pod crash_ns(1-2)",
                Error,
                "Container crash loop",
            ),
            (
                "BackOff",
                "kubelet",
                "Normal",
                "Back-off pulling image \"nope:1\"",
                Error,
                "Image pull back-off",
            ),
            (
                "CrashLoopBackOff",
                "",
                "",
                "",
                Error,
                "Container crash loop",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: ErrImagePull",
                Error,
                "Image pull failed",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: ImagePullBackOff",
                Error,
                "Image pull back-off",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Failed to pull image \"x\": no such file or directory",
                Error,
                "Image pull failed",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: secret \"db-creds\" not found",
                Error,
                "Container configuration incomplete",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: couldn't find key password in Secret ns/name",
                Error,
                "Container configuration incomplete",
            ),
            (
                "Failed",
                "kubelet",
                "Warning",
                "Error: something new",
                Error,
                "Container failed to start",
            ),
            (
                "Failed",
                "my-operator",
                "Warning",
                "cannot",
                Warning,
                "Failed",
            ),
            (
                "Unhealthy",
                "kubelet",
                "Warning",
                "Liveness probe failed: ",
                Warning,
                "Liveness probe failed",
            ),
            (
                "Unhealthy",
                "kubelet",
                "Warning",
                "Readiness probe errored and resulted in unknown state",
                Warning,
                "Readiness probe failed",
            ),
            (
                "Killing",
                "kubelet",
                "Normal",
                "Stopping container app",
                Info,
                "Container stopping",
            ),
            (
                "Killing",
                "kubelet",
                "Normal",
                "Container app failed liveness probe, will be restarted",
                Warning,
                "Container restarted by its liveness probe",
            ),
            (
                "NodeNotReady",
                "node-controller",
                "Normal",
                "Node n status is now: NodeNotReady",
                Error,
                "Node not ready",
            ),
            (
                "NodeNotReady",
                "node-controller",
                "Warning",
                "Node is not ready",
                Error,
                "Node of the pod not ready",
            ),
            (
                "Starting",
                "kube-proxy",
                "Normal",
                "",
                Info,
                "Kube-proxy starting",
            ),
            (
                "FailedMount",
                "kubelet",
                "Warning",
                "MountVolume.SetUp failed for volume \"s\" : secret \"a\" not found",
                Error,
                "Volume mount failed, secret not found",
            ),
            (
                "FailedMount",
                "kubelet",
                "Warning",
                "MountVolume.SetUp failed for volume \"s\" : failed to sync secret cache: timed out waiting for the condition",
                Warning,
                "Volume mount waits for the node's caches",
            ),
            (
                "FailedCreate",
                "replicaset-controller",
                "Warning",
                "Error creating: pods \"x\" is forbidden: exceeded quota: q",
                Error,
                "Pod not created, quota exceeded",
            ),
            (
                "FailedCreate",
                "cronjob-controller",
                "Warning",
                "Error creating job: x",
                Error,
                "Job not created",
            ),
            (
                "NoPods",
                "controllermanager",
                "Normal",
                "No matching pods found",
                Info,
                "Disruption budget matches no pods",
            ),
            (
                "Completed",
                "job-controller",
                "Normal",
                "Job completed",
                Info,
                "Job completed",
            ),
            (
                "OOMKilling",
                "kernel-monitor",
                "Warning",
                "Memory cgroup out of memory: Killed process 1",
                Error,
                "Process killed, out of memory",
            ),
        ] {
            let found = classify(reason, component, kube_type, message);
            assert_eq!(
                (found.severity, found.title.as_ref(), found.known),
                (severity, title, true),
                "{reason}: {message}"
            );
        }
    }

    #[test]
    fn classify_warning_type_raises_severity() {
        let found = classify("Scheduled", "x", "Warning", "");
        assert_eq!((found.severity, found.known), (Warning, true));
    }

    #[test]
    fn classify_unknown_reason_becomes_the_title() {
        for (reason, title) in [
            ("FailedToFrobnicate", "Failed to frobnicate"),
            ("frobnicated", "Frobnicated"),
            ("DNSLookupSlow", "DNS lookup slow"),
            ("HTTP", "HTTP"),
            ("GetIPFailed", "Get IP failed"),
            ("oauth2Denied", "Oauth2 denied"),
            ("my-reason_of.mine", "My reason of mine"),
            ("Two words", "Two words"),
            ("ÄrgerMitÜmlaut", "Ärger mit ümlaut"),
            ("ghp_AbCdEfGhIjKlMnOp", "ghp_AbCdEfGhIjKlMnOp"),
            ("", "Event without a reason"),
            ("--", "Event without a reason"),
        ] {
            for (kube_type, severity) in [
                ("Normal", Info),
                ("", Info),
                ("Warning", Warning),
                ("Fatal", Warning),
            ] {
                let severity = if reason.contains("Failed") {
                    Warning
                } else {
                    severity
                };
                let found = classify(reason, "x", kube_type, "");
                assert_eq!(
                    (found.severity, found.title.as_ref(), found.known),
                    (severity, title, false),
                    "{reason}"
                );
            }
        }
    }

    #[test]
    fn normal_event_of_an_operator_that_reports_trouble_is_a_warning() {
        for (reason, component, message, severity) in [
            (
                "Degraded",
                "longhorn-volume-controller",
                "volume pvc-7 became degraded",
                Warning,
            ),
            (
                "Faulted",
                "longhorn-volume-controller",
                "volume pvc-7 became faulted",
                Error,
            ),
            (
                "DetachedUnexpectedly",
                "longhorn-volume-controller",
                "Engine died",
                Error,
            ),
            (
                "FailingOver",
                "cloudnative-pg",
                "Current primary isn't healthy, initiating a failover from pg-1",
                Warning,
            ),
            (
                "OperatorStatusChanged",
                "etcd-operator",
                "Status for clusteroperator/etcd changed: Degraded changed from False to True (\"x\")",
                Warning,
            ),
            (
                "OperatorStatusChanged",
                "dns-operator",
                "Status for clusteroperator/dns changed: Available changed from True to False (\"x\")",
                Error,
            ),
            ("ReplicaFailed", "some-operator", "", Warning),
            (
                "MachineMarkedUnhealthy",
                "machinehealthcheck-controller",
                "",
                Warning,
            ),
            ("volume-degraded", "some-operator", "", Warning),
            (
                "PhaseChanged",
                "some-operator",
                "cluster health changed from Healthy to Degraded",
                Warning,
            ),
            ("HealthChanged", "rook-ceph", "ceph is HEALTH_ERR", Warning),
        ] {
            let found = classify(reason, component, "Normal", message);
            assert_eq!(found.severity, severity, "{reason} {message}");
        }
    }

    #[test]
    fn normal_event_of_an_operator_about_normal_life_is_info() {
        for (reason, component, message) in [
            (
                "Healthy",
                "longhorn-volume-controller",
                "volume pvc-7 became healthy",
            ),
            (
                "OperatorStatusChanged",
                "etcd-operator",
                "Status for clusteroperator/etcd changed: Degraded changed from True to False,Available changed from False to True",
            ),
            (
                "OperatorStatusChanged",
                "etcd-operator",
                "Status for clusteroperator/etcd changed: Upgradeable changed from True to False",
            ),
            (
                "OperatorStatusChanged",
                "etcd-operator",
                "Status for clusteroperator/etcd changed: Degraded message changed from \"a\" to \"b\"",
            ),
            ("FailedPodDeleted", "some-operator", ""),
            ("ErrorCleared", "some-operator", ""),
            ("ScaleDown", "some-operator", ""),
            ("FailoverCompleted", "some-operator", ""),
            ("SwitchoverStarted", "some-operator", ""),
            ("HealthCheckPassed", "some-operator", "no longer degraded"),
            ("Reconciled", "some-operator", "0 failed"),
        ] {
            let found = classify(reason, component, "Normal", message);
            assert_eq!(found.severity, Info, "{reason} {message}");
        }
    }

    #[test]
    fn planned_eviction_is_told_from_one_for_lack_of_resources() {
        for (component, kube_type, message, severity) in [
            ("karpenter", "Normal", "Evicted pod: Underutilized", Info),
            ("karpenter", "Normal", "Evicted pod", Info),
            ("karpenter", "", "Evicted pod", Info),
            (
                "descheduler",
                "Normal",
                "pod eviction from node n1 by sigs.k8s.io/descheduler",
                Info,
            ),
            (
                "kubelet",
                "Warning",
                "The node was low on resource: memory.",
                Error,
            ),
            (
                "kubelet",
                "Normal",
                "The node was low on resource: memory.",
                Error,
            ),
            ("kubelet", "Normal", "something new", Error),
            ("", "Warning", "", Error),
        ] {
            let found = classify("Evicted", component, kube_type, message);
            assert_eq!(found.severity, severity, "{component} {message}");
        }
    }
}
