use kube9_ingest::item::Item;
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
    let images = |tag: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": format!("r:5000/web:{tag}")}]}}}});
    let rolling = |reason: &str| json!({"status": {"conditions": [{"type": "Progressing", "status": "True", "reason": reason}]}});
    let cases: Vec<(Kind, Value, Option<Value>, &[&str])> = vec![
        (
            Kind::Deployment,
            deployment(images("1")),
            Some(deployment(images("2"))),
            &["info Image changed: app 1 → 2"],
        ),
        (
            Kind::Deployment,
            deployment(json!({})),
            Some(deployment(json!({"spec": {"replicas": 5}}))),
            &["info Scaled from 2 to 5 replicas"],
        ),
        (
            Kind::Deployment,
            deployment(json!({})),
            Some(deployment(json!({"spec": {"replicas": 0}}))),
            &["warning Scaled from 2 to 0 replicas"],
        ),
        (
            Kind::Deployment,
            deployment(json!({})),
            Some(deployment(json!({"spec": {"paused": true}}))),
            &["info Rollout paused"],
        ),
        (
            Kind::Deployment,
            deployment(rolling("ReplicaSetUpdated")),
            Some(deployment(json!({}))),
            &["info Rollout finished"],
        ),
        (
            Kind::Deployment,
            deployment(json!({})),
            Some(deployment(json!({"status": {"availableReplicas": 1}}))),
            &[],
        ),
        (
            Kind::Deployment,
            deployment(json!({})),
            None,
            &["warning Deployment deleted"],
        ),
        (
            Kind::Service,
            service(json!({})),
            Some(service(json!({"spec": {"selector": {"app": "api"}}}))),
            &["warning Service selector changed"],
        ),
        (
            Kind::Service,
            service(json!({})),
            Some(service(json!({"spec": {"type": "NodePort"}}))),
            &["info Service type changed: ClusterIP → NodePort"],
        ),
        (
            Kind::Service,
            service(json!({})),
            Some(service(json!({"spec": {"ports": [{"port": 81}]}}))),
            &["info Service ports changed"],
        ),
        (
            Kind::Node,
            node("w1", json!({})),
            Some(node("w1", json!({"spec": {"unschedulable": true}}))),
            &["warning Node cordoned"],
        ),
        (
            Kind::Node,
            node("w1", json!({})),
            Some(node(
                "w1",
                json!({"spec": {"taints": [{"key": "gpu", "value": "a", "effect": "NoSchedule"}]}}),
            )),
            &["info Node taints changed"],
        ),
        (
            Kind::Node,
            node("w1", json!({})),
            Some(node(
                "w1",
                json!({"spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}}),
            )),
            &[],
        ),
        (
            Kind::Node,
            node("w1", json!({})),
            Some(node(
                "w1",
                json!({"status": {"nodeInfo": {"kubeletVersion": "v1.34.0"}}}),
            )),
            &["info Kubelet version changed: v1.33.1 → v1.34.0"],
        ),
        (
            Kind::Node,
            node("w1", json!({})),
            None,
            &["warning Node removed"],
        ),
        (
            Kind::ConfigMap,
            config_map(json!({})),
            Some(config_map(json!({"data": {"mode": "b"}}))),
            &["info ConfigMap changed"],
        ),
        (
            Kind::ConfigMap,
            config_map(json!({})),
            Some(config_map(json!({"metadata": {"labels": {"a": "b"}}}))),
            &[],
        ),
        (
            Kind::ConfigMap,
            config_map(json!({"metadata": {"name": "kube-root-ca.crt"}})),
            Some(config_map(
                json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"mode": "b"}}),
            )),
            &[],
        ),
        (
            Kind::ConfigMap,
            config_map(json!({})),
            None,
            &["warning ConfigMap deleted"],
        ),
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
    harness.list(Kind::Node, &[node("w1", json!({}))]);
    harness.list(Kind::Deployment, &[deployment(json!({}))]);
    assert_eq!(harness.changes(), []);
    harness.apply(Kind::Node, &node("w2", json!({})));
    let titles: Vec<String> = harness.changes().into_iter().map(|row| row.title).collect();
    assert_eq!(titles, ["Node added"]);
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

/// Titles of the rows, of a ConfigMap that changes that many times, so many seconds apart.
fn rewritten(harness: &mut TestHarness, times: usize, apart: u64) -> Vec<String> {
    let mut titles = Vec::new();
    for n in 0..times {
        let data = json!({"data": {"mode": format!("{n:08}")}});
        harness.apply(Kind::ConfigMap, &config_map(data));
        titles.extend(harness.changes().into_iter().map(|row| row.title));
        harness.wait(apart);
        titles.extend(harness.changes().into_iter().map(|row| row.title));
    }
    titles
}

fn with_config_map() -> TestHarness {
    let mut harness = TestHarness::new();
    harness.apply(Kind::ConfigMap, &config_map(json!({})));
    harness.take();
    harness
}

#[test]
fn config_map_that_a_program_rewrites_has_few_rows() {
    let mut harness = with_config_map();
    assert_eq!(rewritten(&mut harness, 8, 2), ["ConfigMap changed"; 2]);
    harness.wait(60);
    let rows = harness.changes();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].title, "ConfigMap changed 6 times");
    assert_eq!(rows[0].extra["changed"], json!(["mode"]));
    // Two hours, every ten seconds.
    let rows = rewritten(&mut harness, 720, 10);
    assert!((2..=12).contains(&rows.len()), "{rows:?}");
    let told: usize = rows
        .iter()
        .map(|title| title.split(' ').nth(2).map_or(1, |n| n.parse().unwrap()))
        .sum();
    harness.wait(3_600);
    let rest = harness.changes();
    let rest = rest[0].extra["changes"].as_u64().unwrap();
    assert_eq!(told + rest as usize, 720);
}

#[test]
fn config_map_that_a_person_edits_has_a_row_for_each_change() {
    let mut harness = with_config_map();
    assert_eq!(
        rewritten(&mut harness, 6, 90),
        ["ConfigMap changed"; 6],
        "each within a minute"
    );
    harness.wait(600);
    assert_eq!(rewritten(&mut harness, 2, 1), ["ConfigMap changed"; 2]);
}

#[test]
fn snapshot_of_a_held_change_is_stored_with_its_row() {
    let mut harness = with_config_map();
    rewritten(&mut harness, 2, 1);
    harness.take();
    harness.apply(
        Kind::ConfigMap,
        &config_map(json!({"data": {"mode": "third"}})),
    );
    assert!(
        harness.take().is_empty(),
        "a stop now leaves the snapshot of the last row"
    );
    harness.wait(60);
    let items = harness.take();
    let [Item::Change(change)] = &items[..] else {
        panic!("{items:?}");
    };
    assert_eq!(change.rows.len(), 1);
    assert!(change.snapshot.is_some());
}

#[test]
fn held_change_of_a_deleted_config_map_has_a_row() {
    let mut harness = with_config_map();
    rewritten(&mut harness, 3, 1);
    harness.delete(Kind::ConfigMap, &config_map(json!({})));
    let titles: Vec<String> = harness.changes().into_iter().map(|row| row.title).collect();
    assert_eq!(titles, ["ConfigMap changed", "ConfigMap deleted"]);
}

#[test]
fn status_of_the_cluster_autoscaler_has_no_rows() {
    let status = |n: usize| {
        config_map(
            json!({"metadata": {"annotations": {"cluster-autoscaler.kubernetes.io/last-updated": format!("{n}")}},
                   "data": {"status": format!("{n}")}}),
        )
    };
    let mut harness = TestHarness::new();
    for n in 0..5 {
        harness.apply(Kind::ConfigMap, &status(n));
        harness.wait(10);
    }
    assert_eq!(harness.changes(), []);
}

#[test]
fn removal_of_a_node_that_an_autoscaler_drained_is_info() {
    for patch in [
        json!({"spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}}),
        json!({"spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}}),
        json!({"spec": {"unschedulable": true}}),
    ] {
        let removed = rows(Kind::Node, node("w1", patch), None);
        assert_eq!(removed, ["info Node removed"]);
    }
}

#[test]
fn mark_of_a_node_that_may_be_removed_later_has_no_row() {
    let candidate = json!({"spec": {"taints": [
        {"key": "DeletionCandidateOfClusterAutoscaler", "value": "1764500000", "effect": "PreferNoSchedule"}]}});
    let rows = rows(
        Kind::Node,
        node("w1", json!({})),
        Some(node("w1", candidate)),
    );
    assert_eq!(rows, Vec::<String>::new());
}
