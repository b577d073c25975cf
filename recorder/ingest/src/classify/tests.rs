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
        let hides = before.says.is_empty()
            && before.by.is_empty()
            && before.of_type.is_empty()
            && before.on.is_empty()
            && before.naming.is_none();
        assert!(
            before.reason != after.reason || !hides,
            "a row of {} is never reached",
            after.reason
        );
    }
    for row in TABLE {
        let mut message = row.says.first().map_or(String::new(), |all| all.join(" "));
        let mut title = row.title.to_owned();
        if row.naming.is_some() {
            message += "Insufficient example.com/fpga";
            title = title.replace("{}", "example.com/fpga");
        }
        let kind = row
            .on
            .first()
            .map_or("", |kind| kind.trim_start_matches('*'));
        let found = classify(Sent {
            reason: row.reason,
            component: row.by,
            // No type means Normal, which other rows may ask for.
            kube_type: if row.of_type.is_empty() {
                "Warning"
            } else {
                row.of_type
            },
            kind,
            message: &message,
        });
        assert!(
            found.title.starts_with(&title),
            "{} is hidden by an earlier row: {}",
            row.title,
            found.title
        );
    }
}

#[test]
fn table_titles_are_sentences_of_bounded_length() {
    let causes = TABLE.iter().flat_map(|row| row.causes);
    assert!(
        causes
            .map(|cause| cause.title.len())
            .all(|length| length <= 50)
    );
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
    let list = include_str!("../../tests/data/kubernetes-reasons.txt");
    let rows = list.lines().filter(|line| !line.starts_with('#'));
    let (mut seen, mut unknown) = (0, Vec::new());
    for (component, reason) in rows.map(|line| line.split_once('\t').unwrap()) {
        seen += 1;
        for kube_type in ["Normal", "Warning"] {
            let sent = Sent {
                reason,
                component,
                kube_type,
                ..Sent::default()
            };
            if !classify(sent).known {
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
        let found = classify(Sent {
            reason,
            component,
            kube_type,
            kind: "",
            message,
        });
        assert_eq!(
            (found.severity, found.title.as_ref(), found.known),
            (severity, title, true),
            "{reason}: {message}"
        );
    }
}

#[test]
fn classify_warning_type_raises_severity() {
    let found = classify(Sent {
        reason: "Scheduled",
        kube_type: "Warning",
        ..Sent::default()
    });
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
            let found = classify(Sent {
                reason,
                kube_type,
                ..Sent::default()
            });
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
        (
            "ResourceUpdated",
            "argocd-application-controller",
            "Updated health status: Healthy -> Missing",
            Warning,
        ),
        (
            "ResourceUpdated",
            "argocd-application-controller",
            "Updated sync status: Synced -> Unknown",
            Warning,
        ),
        (
            "Switchover",
            "postgres-operator",
            "Switchover from \"acid-0\" to \"acid-1\" FAILED: could not switch over",
            Warning,
        ),
        ("FailedHealthCheck", "some-operator", "", Warning),
        ("ScalingDownFailed", "some-operator", "", Warning),
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
        let found = classify(Sent {
            reason,
            component,
            kube_type: "Normal",
            kind: "",
            message,
        });
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
        ("NoFrequentKubeletRestart", "custom-plugin-monitor", ""),
        ("FailedPodDeleted", "some-operator", ""),
        ("ErrorCleared", "some-operator", ""),
        ("ScaleDown", "some-operator", ""),
        ("ScaledDown", "some-operator", ""),
        ("ShuttingDown", "some-operator", ""),
        ("FailoverCompleted", "some-operator", ""),
        ("SwitchoverStarted", "some-operator", ""),
        (
            "Switchover",
            "postgres-operator",
            "Switching over from \"acid-0\" to \"acid-1\"",
        ),
        // A new application.
        (
            "ResourceUpdated",
            "argocd-application-controller",
            "Updated health status:  -> Missing",
        ),
        ("HealthCheckPassed", "some-operator", "no longer degraded"),
        ("Reconciled", "some-operator", "0 failed"),
    ] {
        let found = classify(Sent {
            reason,
            component,
            kube_type: "Normal",
            kind: "",
            message,
        });
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
        let found = classify(Sent {
            reason: "Evicted",
            component,
            kube_type,
            kind: "",
            message,
        });
        assert_eq!(found.severity, severity, "{component} {message}");
    }
}

/// Compares the titles in `tests/data/titles.tsv` of Events with these reasons.
fn assert_titles(reasons: &[&str]) {
    let table = include_str!("../../tests/data/titles.tsv");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let (mut seen, mut wrong) = (0, Vec::new());
    for row in rows.map(|line| line.split('\t').collect::<Vec<_>>()) {
        let [reason, component, kind, severity, title, message] = row[..] else {
            panic!("not six columns: {row:?}");
        };
        if !reasons.contains(&reason) {
            continue;
        }
        seen += 1;
        let found = classify(Sent {
            reason,
            component,
            kube_type: if severity == "info" {
                "Normal"
            } else {
                "Warning"
            },
            kind,
            message: &message.replace("\\n", "\n"),
        });
        if (found.severity.as_str(), &*found.title) != (severity, title) {
            wrong.push(format!("{row:?}\n  {found:?}"));
        }
    }
    assert!(seen >= reasons.len(), "{reasons:?}: only {seen} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn failed_container_title_names_what_failed() {
    assert_titles(&["Failed"]);
}

#[test]
fn failed_create_title_names_object_and_cause() {
    assert_titles(&["FailedCreate", "ReplicaSetCreateError"]);
}

#[test]
fn failed_sandbox_title_names_the_cause() {
    assert_titles(&["FailedCreatePodSandBox"]);
}

#[test]
fn failed_mount_is_a_wait_only_for_the_caches_of_the_node() {
    assert_titles(&["FailedMount", "FailedAttachVolume"]);
}

#[test]
fn missing_resource_is_named_in_the_title() {
    let refused = ["UnexpectedAdmissionError", "OutOfnvidia.com/gpu"];
    assert_titles(&["FailedScheduling", refused[0], refused[1]]);
}

#[test]
fn created_and_deleted_title_names_the_object() {
    assert_titles(&["SuccessfulCreate", "SuccessfulDelete", "FailedDelete"]);
    assert_titles(&["FailedUpdate", "FailedSync"]);
}
