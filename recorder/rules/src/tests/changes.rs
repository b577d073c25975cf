use kube9_model::resume::StoredObjects;

use super::harness::TestHarness;
use super::prelude::*;
use crate::config::AnalysisConfig;
use crate::state::RestoredState;

/// Rows that a change makes, as `severity title`.
fn rows(kind: Kind, before: Value, after: Option<Value>) -> Vec<String> {
    let mut harness = TestHarness::new();
    harness.apply(kind, &before);
    harness.take();
    match &after {
        Some(after) => harness.apply(kind, after),
        None => harness.delete(kind, &before),
    }
    harness
        .changes()
        .iter()
        .map(|row| format!("{} {}", row.severity, row.title))
        .collect()
}

#[test]
fn object_changes_make_rows() {
    let rolling = |reason: &str| json!({"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason}]}});
    let cases: Vec<(Kind, Value, Option<Value>, &[&str])> = vec![
        (
            Kind::Deployment,
            deployment(rolling("ReplicaSetUpdated")),
            Some(deployment(json!({}))),
            &["info Rollout finished"],
        ),
        // What the change history records.
        (
            Kind::Deployment,
            deployment(json!({})),
            Some(deployment(json!({"spec": {"replicas": 5}}))),
            &[],
        ),
        (Kind::Service, service(json!({})), None, &[]),
        (
            Kind::Pod,
            pod("web-1", json!({})),
            Some(pod("web-1", json!({"status": {"phase": "Succeeded"}}))),
            &["info Pod completed"],
        ),
        (
            Kind::Pod,
            pod("web-1", json!({})),
            Some(pod(
                "web-1",
                json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
            )),
            &["warning Pod evicted"],
        ),
        (
            Kind::Pod,
            pod("web-1", json!({})),
            Some(pod(
                "web-1",
                json!({"status": {"phase": "Failed", "reason": "Terminated"}}),
            )),
            &["info Pod ended: shutdown of its node"],
        ),
        (
            Kind::Pod,
            pod("web-1", json!({})),
            Some(pod(
                "web-1",
                json!({"status": {"phase": "Failed", "reason": "OutOfcpu"}}),
            )),
            &["warning Pod failed: OutOfcpu"],
        ),
        (
            Kind::Pod,
            pod("web-1", json!({})),
            None,
            &["info Pod deleted"],
        ),
        (
            Kind::Pod,
            pod("web-1", json!({"status": {"phase": "Succeeded"}})),
            None,
            &[],
        ),
    ];
    for (kind, before, after, expected) in cases {
        assert_eq!(
            rows(kind, before.clone(), after.clone()),
            expected,
            "{before} → {after:?}"
        );
    }
}

#[test]
fn first_list_makes_no_rows() {
    let mut harness =
        TestHarness::started(AnalysisConfig::default(), RestoredState::default(), |_| {
            StoredObjects::default()
        });
    let ended = |name: &str| pod(name, json!({"status": {"phase": "Succeeded"}}));
    harness.list(Kind::Pod, &[ended("web-1")]);
    assert_eq!(harness.changes(), []);
    harness.apply(Kind::Pod, &ended("web-2"));
    let titles: Vec<String> = harness.changes().into_iter().map(|row| row.title).collect();
    assert_eq!(titles, ["Pod completed"]);
}

#[test]
fn ended_pod_row_has_reason_and_exit_codes() {
    let mut harness = TestHarness::new();
    let end = json!({"status": {"phase": "Failed", "containerStatuses": [{"name": "app", "restartCount": 2,
        "state": terminated("Error", 3, 0, 9)}]}});
    harness.apply(Kind::Pod, &pod("web-1", json!({})));
    harness.take();
    harness.apply(Kind::Pod, &pod("web-1", end));
    let rows = harness.changes();
    let row = &rows[0];
    assert_eq!(row.title, "Pod failed: Failed");
    assert_eq!(row.node.as_deref(), Some("w1"));
    assert_eq!(row.owner.as_ref().unwrap().name, "web");
    assert_eq!(row.extra["restarts"], 2);
    assert_eq!(row.extra["containers"][0]["exit_code"], 3);
    assert!(
        row.description.contains("app exited with 3 (Error)"),
        "{}",
        row.description
    );
}

#[test]
fn ended_pod_message_with_full_stop_ends_with_one() {
    for message in [
        "The node was low on memory.",
        "The node was low on memory. ",
        "The node was low on memory",
    ] {
        let mut harness = TestHarness::new();
        harness.apply(Kind::Pod, &pod("web-1", json!({})));
        harness.take();
        let failed =
            json!({"status": {"phase": "Failed", "reason": "Evicted", "message": message}});
        harness.apply(Kind::Pod, &pod("web-1", failed));
        let text = &harness.changes()[0].description;
        assert!(text.ends_with("low on memory."), "{text}");
    }
}

#[test]
fn pod_with_reused_name_is_another_pod() {
    let mut harness = TestHarness::new();
    harness.apply(Kind::Pod, &pod("db-0", json!({})));
    harness.take();
    harness.apply(
        Kind::Pod,
        &pod("db-0", json!({"metadata": {"uid": "another"}})),
    );
    let titles: Vec<String> = harness.changes().into_iter().map(|row| row.title).collect();
    assert_eq!(titles, ["Pod ended"]);
}

#[test]
fn ended_pod_row_claims_no_exit_code_of_a_lost_container() {
    let mut harness = TestHarness::new();
    let lost = json!({"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137, "finishedAt": null}});
    let end = json!({"metadata": {"creationTimestamp": null}, "status": {"phase": "Failed",
        "containerStatuses": [{"name": "app", "restartCount": 2, "state": lost}]}});
    harness.apply(Kind::Pod, &pod("web-1", json!({})));
    harness.take();
    harness.apply(Kind::Pod, &pod("web-1", end));
    let rows = harness.changes();
    let text = &rows[0].description;
    assert!(
        text.contains("how app ended is unknown (ContainerStatusUnknown)"),
        "{text}"
    );
    assert_eq!(rows[0].extra["age_seconds"], 3);
}
