//! How pods and containers end, and which of the ends are failures: all rules of types health and insight together.

use kube9_ingest::item::FindingTransition;
use serde_json::{Value, json};

use super::harness::TestHarness;
use super::objects::{condition, node, over, pod, pod_with, running, terminated, waiting};
use super::prelude::{Kind, t};

/// The rules that open a finding about these pods within `seconds`, with their severity.
fn opened(pods: &[Value], seconds: u64) -> Vec<String> {
    let pods = pods.iter().map(|pod| (Kind::Pod, pod.clone()));
    opened_by(&Vec::from_iter(pods), seconds)
}

fn opened_by(objects: &[(Kind, Value)], seconds: u64) -> Vec<String> {
    let mut harness = TestHarness::new();
    harness.wait(1000);
    harness.take();
    for (kind, object) in objects {
        harness.apply(*kind, object);
    }
    harness.wait(seconds);
    let mut found: Vec<String> = (harness.findings().iter())
        .filter(|finding| matches!(finding.transition, FindingTransition::Opened { .. }))
        .map(|finding| finding.row.record())
        .filter(|record| record.event_type.as_str() != "assessment")
        .map(|record| {
            for text in [&record.title, &record.description] {
                assert!(
                    !text.contains("1970-01-01") && !text.contains("0001-"),
                    "{text}"
                );
            }
            format!("{} {}", record.severity.as_str(), record.reason)
        })
        .collect();
    found.sort();
    found
}

const QUIET: [&str; 0] = [];

/// Three pods of a controller.
fn three(of: impl Fn(&str) -> Value) -> Vec<Value> {
    ["web-1", "web-2", "web-3"].map(of).to_vec()
}

/// The container ended so, was started again and is ready.
fn runs_again_after(name: &str, end: Value) -> Value {
    let ready = json!({"status": {"conditions": [condition("Ready", "True", 990)]}});
    over(pod_with(name, 1, running(990), end), ready)
}

/// A lost container: the exit code is a filler, and the times are unknown.
fn lost(time: Value) -> Value {
    json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": time, "finishedAt": time,
        "message": "The container could not be located when the pod was deleted.  The container used to be Running"}})
}

/// A pod that ended with these conditions.
fn failed(name: &str, reason: &str, message: &str, end: Value, conditions: Value) -> Value {
    let status = json!({"status": {"phase": "Failed", "reason": reason, "message": message, "conditions": conditions}});
    over(pod_with(name, 0, end, json!({})), status)
}

fn disruption(reason: &str) -> Value {
    json!([{"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": t(990)}])
}

#[test]
fn lost_container_that_runs_again_is_quiet() {
    for time in [
        json!(null),
        json!("0001-01-01T00:00:00Z"),
        json!("1970-01-01T00:00:00Z"),
    ] {
        assert_eq!(
            opened(
                &three(|name| runs_again_after(name, lost(time.clone()))),
                60
            ),
            QUIET
        );
    }
}

#[test]
fn lost_container_of_an_ended_or_starting_pod_is_quiet() {
    let ended = failed("web-1", "", "", lost(json!(null)), json!([]));
    assert_eq!(opened(&[ended], 60), QUIET);
    let starting = over(
        pod_with("web-1", 1, waiting("ContainerCreating"), lost(json!(null))),
        json!({"status": {"phase": "Pending"}}),
    );
    assert_eq!(opened(&[starting], 60), QUIET);
}

#[test]
fn out_of_memory_is_found_among_lost_containers() {
    let mut pods = three(|name| runs_again_after(name, lost(json!(null))));
    pods[1] = runs_again_after("web-2", terminated("OOMKilled", 137, 0, 985));
    assert_eq!(opened(&pods, 60), ["error ContainerOOMKilled"]);
}

#[test]
fn lost_container_in_back_off_is_a_crash_loop() {
    let pod = pod_with("web-1", 5, waiting("CrashLoopBackOff"), lost(json!(null)));
    assert_eq!(opened(&[pod], 60), ["error CrashLoop"]);
}

#[test]
fn reboot_of_the_node_is_quiet() {
    let reboot = |name: &str| runs_again_after(name, terminated("Unknown", 255, 0, 980));
    assert_eq!(opened(&three(reboot), 60), QUIET);
}

#[test]
fn reboots_in_a_row_are_quiet() {
    let mut harness = TestHarness::new();
    for (restarts, at) in [(1, 10), (2, 130), (3, 250), (4, 370)] {
        let end = terminated("Unknown", 255, at - 20, at);
        let pod = pod_with("web-1", restarts, running(at), end);
        harness.wait(120);
        harness.apply(Kind::Pod, &pod);
    }
    assert_eq!(harness.findings().len(), 0);
}

/// The pod has had its sandbox since that second.
fn in_sandbox_since(pod: Value, second: i64) -> Value {
    let mut conditions = pod["status"]["conditions"].as_array().unwrap().clone();
    conditions.push(condition("PodReadyToStartContainers", "True", second));
    over(pod, json!({"status": {"conditions": conditions}}))
}

#[test]
fn end_with_the_sandbox_is_quiet() {
    // An orderly reboot stops the containers with a signal, and their programs exit as they like.
    for (code, reason) in [(137, "Error"), (143, "Error"), (255, "Error"), (1, "Error")] {
        let pods = three(|name| {
            let end = terminated(reason, code, 0, 900);
            in_sandbox_since(runs_again_after(name, end), 960)
        });
        assert_eq!(opened(&pods, 60), QUIET, "{code}");
    }
}

#[test]
fn failure_within_a_sandbox_is_found() {
    for (from, to, sandbox) in [
        (0, 985, 0),     // after it has run for long
        (955, 958, 960), // the kubelet reports a new sandbox later than the container's first crash
        (965, 985, 960), // after the reboot
    ] {
        let pod = runs_again_after("web-1", terminated("Error", 1, from, to));
        let pod = in_sandbox_since(pod, sandbox);
        assert_eq!(
            opened(&[pod], 60),
            ["warning ContainerExitedWithError"],
            "{from}"
        );
    }
    let oom = runs_again_after("web-1", terminated("OOMKilled", 137, 0, 900));
    assert_eq!(
        opened(&[in_sandbox_since(oom, 960)], 60),
        ["error ContainerOOMKilled"]
    );
}

/// Kubelets before 1.29 do not report the sandbox: the node tells that it was away.
#[test]
fn end_with_the_node_is_quiet() {
    let is = |ready: &str, second| {
        let conditions = json!([condition("Ready", ready, second)]);
        let node = node("w1", json!({"status": {"conditions": conditions}}));
        (Kind::Node, node)
    };
    let ready = is("True", 960);
    for (code, reason) in [(137, "Error"), (143, "Error"), (255, "Error")] {
        let end = || terminated(reason, code, 0, 900);
        for before in [is("False", 990), ready.clone()] {
            let pods = three(|name| runs_again_after(name, end()));
            let mut objects = vec![before];
            objects.extend(pods.into_iter().map(|pod| (Kind::Pod, pod)));
            objects.push(is("True", 998));
            assert_eq!(opened_by(&objects, 60), QUIET, "{code}");
        }
    }
    for (from, to) in [(0, 900), (0, 985), (955, 958)] {
        let end = terminated("Error", 1, from, to);
        let pod = (Kind::Pod, runs_again_after("web-1", end));
        assert_eq!(
            opened_by(&[ready.clone(), pod], 60),
            ["warning ContainerExitedWithError"],
            "{from}"
        );
    }
    let oom = runs_again_after("web-1", terminated("OOMKilled", 137, 0, 900));
    assert_eq!(
        opened_by(&[ready, (Kind::Pod, oom)], 60),
        ["error ContainerOOMKilled"]
    );
}

#[test]
fn exit_code_255_of_a_program_is_a_failure() {
    let exits = |name: &str| runs_again_after(name, terminated("Error", 255, 0, 985));
    assert_eq!(
        opened(&three(exits), 60),
        [
            "error PodsFailingAlike",
            "warning ContainerExitedWithError",
            "warning ContainerExitedWithError",
            "warning ContainerExitedWithError"
        ]
    );
}

#[test]
fn shutdown_of_the_node_is_quiet() {
    let message = "Pod was terminated in response to imminent node shutdown.";
    for (code, reason) in [
        (137, "Error"),
        (143, "Error"),
        (1, "Error"),
        (0, "Completed"),
        (137, "OOMKilled"),
    ] {
        for (pod_reason, conditions) in [
            ("Terminated", disruption("TerminationByKubelet")),
            ("Terminated", json!([])), // before Kubernetes 1.26
            ("Shutdown", json!([])),   // before 1.22
            ("NodeShutdown", json!([])),
        ] {
            let pods = three(|name| {
                let end = terminated(reason, code, 0, 985);
                failed(name, pod_reason, message, end, conditions.clone())
            });
            assert_eq!(opened(&pods, 60), QUIET, "{pod_reason} {code} {reason}");
        }
    }
}

#[test]
fn disruption_of_a_pod_is_quiet() {
    for reason in [
        "PreemptionByScheduler",
        "DeletionByTaintManager",
        "EvictionByEvictionAPI",
        "DeletionByPodGC",
        "TerminationByKubelet",
    ] {
        // Its containers end before the pod has a deletionTimestamp or another phase.
        let killed = |name: &str| {
            let end = terminated("Error", 137, 0, 985);
            over(
                pod_with(name, 0, end, json!({})),
                json!({"status": {"conditions": disruption(reason)}}),
            )
        };
        assert_eq!(opened(&three(killed), 60), QUIET, "{reason}");
        let failed = |name: &str| {
            failed(
                name,
                "",
                "",
                terminated("Error", 143, 0, 985),
                disruption(reason),
            )
        };
        assert_eq!(opened(&three(failed), 60), QUIET, "{reason}");
    }
}

#[test]
fn preemption_by_the_kubelet_and_a_deadline_are_quiet() {
    for reason in ["Preempting", "DeadlineExceeded"] {
        let end = terminated("Error", 137, 0, 985);
        let pod = failed("web-1", reason, "", end, json!([]));
        assert_eq!(opened(&[pod], 60), QUIET, "{reason}");
    }
}

#[test]
fn disruption_that_did_not_happen_hides_no_failure() {
    // The disruption controller resets the condition of a pod that was not deleted.
    let condition =
        json!([{"type": "DisruptionTarget", "status": "False", "lastTransitionTime": t(990)}]);
    let end = terminated("Error", 1, 0, 985);
    let pod = over(
        pod_with("web-1", 4, waiting("CrashLoopBackOff"), end),
        json!({"status": {"conditions": condition}}),
    );
    assert_eq!(opened(&[pod], 60), ["error CrashLoop"]);
}

#[test]
fn eviction_is_one_warning_a_pod() {
    let message = "The node was low on resource: memory. ";
    let end = terminated("OOMKilled", 137, 0, 985);
    let pods = three(|name| failed(name, "Evicted", message, end.clone(), json!([])));
    assert_eq!(opened(&pods, 60), ["warning PodEvicted"; 3]);
}

#[test]
fn pods_that_fail_by_themselves_are_found() {
    let pods = three(|name| failed(name, "", "", terminated("Error", 1, 0, 985), json!([])));
    assert_eq!(
        opened(&pods, 60),
        [
            "error ContainerExitedWithError",
            "error ContainerExitedWithError",
            "error ContainerExitedWithError",
            "error PodsFailingAlike"
        ]
    );
}

/// A pod with a sidecar, whose main container and sidecar are in these states.
fn with_sidecar(name: &str, policy: &str, phase: &str, main: Value, sidecar: Value) -> Value {
    let status = json!([{"name": "proxy", "restartCount": 0, "state": sidecar, "started": false}]);
    over(
        pod_with(name, 0, main, json!({})),
        json!({
            "spec": {"restartPolicy": policy,
                     "initContainers": [{"name": "proxy", "restartPolicy": "Always"}]},
            "status": {"phase": phase, "initContainerStatuses": status},
        }),
    )
}

fn completed() -> Value {
    terminated("Completed", 0, 0, 980)
}

#[test]
fn sidecar_of_a_finished_job_is_quiet() {
    for (code, reason) in [
        (143, "Error"),
        (137, "Error"),
        (2, "Error"),
        (0, "Completed"),
        (137, "OOMKilled"),
        (137, "ContainerStatusUnknown"),
    ] {
        let end = terminated(reason, code, 0, 985);
        for (policy, phase) in [
            ("Never", "Succeeded"),
            ("OnFailure", "Succeeded"),
            ("Never", "Running"),
            ("OnFailure", "Running"),
        ] {
            let pods = three(|name| with_sidecar(name, policy, phase, completed(), end.clone()));
            assert_eq!(opened(&pods, 60), QUIET, "{policy} {phase} {code} {reason}");
        }
    }
}

#[test]
fn sidecar_in_back_off_of_a_finished_job_is_quiet() {
    let mut pod = with_sidecar(
        "web-1",
        "Never",
        "Running",
        completed(),
        waiting("CrashLoopBackOff"),
    );
    pod["status"]["initContainerStatuses"][0]["lastState"] = terminated("Error", 1, 0, 985);
    assert_eq!(opened(&[pod], 60), QUIET);
}

#[test]
fn main_container_of_a_failed_job_is_the_only_failure() {
    let main = terminated("Error", 1, 0, 980);
    let stopped = terminated("Error", 143, 0, 985);
    let pod = with_sidecar("web-1", "Never", "Failed", main, stopped);
    assert_eq!(opened(&[pod], 60), ["error ContainerExitedWithError"]);
}

#[test]
fn sidecar_that_fails_beside_the_main_container_is_found() {
    let pod = with_sidecar(
        "web-1",
        "Never",
        "Running",
        running(0),
        terminated("Error", 2, 0, 985),
    );
    assert_eq!(opened(&[pod], 60), ["warning ContainerExitedWithError"]);
    let pod = with_sidecar(
        "web-1",
        "Always",
        "Running",
        running(0),
        terminated("OOMKilled", 137, 0, 985),
    );
    assert_eq!(opened(&[pod], 60), ["error ContainerOOMKilled"]);
    // The main container starts again after its failure, and needs the sidecar.
    let main = terminated("Error", 1, 0, 990);
    let pod = with_sidecar(
        "web-1",
        "OnFailure",
        "Running",
        main,
        terminated("Error", 2, 0, 985),
    );
    assert_eq!(opened(&[pod], 60), ["warning ContainerExitedWithError"; 2]);
}

#[test]
fn ordinary_container_beside_the_job_is_a_failure() {
    let mut pod = failed("web-1", "", "", completed(), json!([]));
    let other =
        json!({"name": "shipper", "restartCount": 0, "state": terminated("Error", 143, 0, 985)});
    let statuses = pod["status"]["containerStatuses"].as_array_mut().unwrap();
    statuses.push(other);
    assert_eq!(opened(&[pod], 60), ["error ContainerExitedWithError"]);
}

#[test]
fn crash_with_unknown_times_is_found() {
    for time in [
        json!(null),
        json!("0001-01-01T00:00:00Z"),
        json!("1970-01-01T00:00:00Z"),
        json!(""),
    ] {
        let end = |reason: &str, code: i64| json!({"terminated": {"exitCode": code, "reason": reason, "startedAt": time, "finishedAt": time}});
        let starts = json!({"running": {"startedAt": time}});
        for (state, end, expected) in [
            (
                waiting("CrashLoopBackOff"),
                end("Error", 1),
                "error CrashLoop",
            ),
            (
                starts.clone(),
                end("Error", 1),
                "warning ContainerExitedWithError",
            ),
            (
                starts.clone(),
                end("OOMKilled", 137),
                "error ContainerOOMKilled",
            ),
            (starts.clone(), end("Error", 137), "error ContainerKilled"),
        ] {
            let unset = json!({"metadata": {"creationTimestamp": time},
                "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time, "lastProbeTime": null}]}});
            let pod = over(pod_with("web-1", 1, state, end), unset);
            assert_eq!(opened(&[pod], 60), [expected], "{time}");
        }
    }
}

#[test]
fn run_with_unknown_start_counts_from_when_it_was_first_seen() {
    let mut harness = TestHarness::new();
    let crashed = pod_with(
        "web-1",
        1,
        json!({"running": {"startedAt": null}}),
        terminated("Error", 137, 0, 3),
    );
    harness.apply(Kind::Pod, &crashed);
    for _ in 0..5 {
        harness.wait(110);
        harness.apply(Kind::Pod, &crashed);
    }
    let record = |harness: &mut TestHarness| {
        let findings = harness.findings();
        Vec::from_iter(findings.iter().map(|one| one.row.record().title.clone()))
    };
    assert_eq!(
        record(&mut harness).len(),
        1,
        "opens, and stays open for 550 s"
    );
    harness.wait(60);
    let titles = record(&mut harness);
    assert!(titles[0].ends_with("resolved"), "{titles:?}");
}

#[test]
fn pod_without_known_times_that_is_not_ready_is_found() {
    let unset = json!({"metadata": {"creationTimestamp": null}, "status": {
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": null}]}});
    let pod = pod("web-1", unset);
    let pods = [pod];
    assert_eq!(opened(&pods, 800), QUIET);
    assert_eq!(opened(&pods, 901), ["warning PodNotReady"]);
}

#[test]
fn ended_pod_that_still_waits_for_its_image_is_quiet() {
    for reason in ["", "DeadlineExceeded", "Evicted"] {
        for state in [
            waiting("ImagePullBackOff"),
            waiting("CreateContainerConfigError"),
        ] {
            let found = opened(&[failed("web-1", reason, "", state, json!([]))], 100);
            let evicted = Vec::from_iter((reason == "Evicted").then_some("warning PodEvicted"));
            assert_eq!(found, evicted, "{reason}");
        }
    }
}

#[test]
fn stopped_container_of_a_rejected_pod_is_not_a_failure() {
    let message = "Pod was rejected: Predicate NodeAffinity failed";
    for code in [137, 143, 1] {
        let pods = three(|name| {
            failed(
                name,
                "NodeAffinity",
                message,
                terminated("Error", code, 0, 985),
                json!([]),
            )
        });
        assert_eq!(opened(&pods, 60), ["warning PodRejectedByNode"]);
    }
}

#[test]
fn failure_of_a_container_in_a_pod_with_an_unknown_reason_is_found() {
    let pod = failed(
        "web-1",
        "ProviderFailed",
        "",
        terminated("Error", 1, 0, 985),
        json!([]),
    );
    assert_eq!(opened(&[pod], 60), ["error ContainerExitedWithError"]);
}
