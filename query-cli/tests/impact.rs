//! `impact`: what depends on an object.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use serde_json::{Value, json};

use crate::support::TestDir;
use crate::support::objects::{Recorded, kind, minute};

fn impact(dir: &TestDir, words: &str) -> Value {
    dir.run(&format!("impact {words} --format=json")).json()
}

/// `object: pods_hit/pods` of a list.
fn hits(list: &Value) -> Vec<String> {
    let hit = |hit: &Value| {
        let object = hit["object"].as_str().unwrap();
        format!("{object}: {}/{}", hit["pods_hit"], hit["pods"])
    };
    list.as_array().unwrap().iter().map(hit).collect()
}

fn pod(name: &str, app: &str, node: &str) -> Value {
    let hash = name.split('-').nth(1).unwrap();
    let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-{hash}"), "uid": "r",
                       "controller": true});
    json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app, "pod-template-hash": hash},
                     "ownerReferences": [owner], "creationTimestamp": minute(0).to_string()},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "x"}]},
    })
}

/// `web` has pods on two nodes, `db` on one of them only; both have a Service, and an Ingress sends requests to `db`.
fn cluster(directory: &Path) -> Recorded {
    let mut record = Recorded::create(directory, minute(0));
    for node in ["worker-1", "worker-2"] {
        record.apply(
            &kind("no"),
            json!({"metadata": {"name": node}, "spec": {}}),
            "kubelet",
        );
    }
    record.apply(
        &kind("cm"),
        json!({"metadata": {"name": "settings", "namespace": "shop"}, "data": {"a": "1"}}),
        "helm",
    );
    for app in ["web", "db"] {
        let volumes = json!([{"name": "s", "configMap": {"name": "settings"}}]);
        let spec = json!({"serviceAccountName": app, "volumes": if app == "web" { volumes } else { json!([]) },
                          "containers": [{"name": "app", "image": "x"}]});
        let deployment = json!({
            "metadata": {"name": app, "namespace": "shop", "creationTimestamp": minute(0).to_string()},
            "spec": {"template": {"metadata": {"labels": {"app": app}}, "spec": spec}},
        });
        record.apply(&kind("deploy"), deployment, "helm");
        let service = json!({"metadata": {"name": app, "namespace": "shop", "creationTimestamp": minute(0).to_string()},
                             "spec": {"selector": {"app": app}}});
        record.apply(&kind("svc"), service, "helm");
    }
    for (name, app, node) in [
        ("web-7d9f-aaaaa", "web", "worker-1"),
        ("web-7d9f-bbbbb", "web", "worker-2"),
        ("db-5c8b-ccccc", "db", "worker-1"),
    ] {
        record.apply(&kind("po"), pod(name, app, node), "kube-controller-manager");
    }
    let backend = json!({"service": {"name": "db", "port": {"number": 80}}});
    let ingress = json!({
        "metadata": {"name": "public", "namespace": "shop", "creationTimestamp": minute(0).to_string()},
        "spec": {"rules": [{"host": "x", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]},
    });
    record.apply(&kind("ing"), ingress, "helm");
    record
}

#[test]
fn node_hits_its_pods_and_the_services_that_have_no_other() {
    let dir = TestDir::new();
    drop(cluster(dir.path()));
    let found = impact(&dir, "node/worker-1");
    assert_eq!(found["pods"], 2);
    assert_eq!(
        hits(&found["workloads"]),
        ["Deployment/db/shop: 1/1", "Deployment/web/shop: 1/2"]
    );
    assert_eq!(
        hits(&found["services"]),
        ["Service/db/shop: 1/1", "Service/web/shop: 1/2"]
    );
    assert_eq!(
        found["ingresses"],
        json!([{"object": "Ingress/public/shop", "because": "Service db would have no pod left"}])
    );
    let text = dir.run("impact node/worker-1 --format=table").ok();
    assert!(text.contains("Service/db/shop"), "{text}");
    assert!(text.contains("selects them; no pod left"), "{text}");
    assert_eq!(impact(&dir, "node/worker-2")["ingresses"], json!([]));
}

#[test]
fn config_map_and_account_hit_the_workloads_that_refer_to_them() {
    let dir = TestDir::new();
    drop(cluster(dir.path()));
    let found = impact(&dir, "cm/settings");
    assert_eq!(found["pods"], 0);
    assert_eq!(hits(&found["workloads"]), ["Deployment/web/shop: 0/2"]);
    assert_eq!(
        found["workloads"][0]["because"],
        "its template refers to ConfigMap settings"
    );
    assert_eq!(found["services"], json!([]));
}

#[test]
fn namespace_service_and_workload_hit_what_is_in_and_behind_them() {
    let dir = TestDir::new();
    let mut record = cluster(dir.path());
    record.apply(
        &kind("ns"),
        json!({"metadata": {"name": "shop"}}),
        "kubectl-create",
    );
    drop(record);
    let found = impact(&dir, "ns/shop");
    assert_eq!(
        hits(&found["services"]),
        ["Service/db/shop: 1/1", "Service/web/shop: 2/2"]
    );
    assert_eq!(
        hits(&impact(&dir, "deploy/web")["services"]),
        ["Service/web/shop: 2/2"]
    );
    assert_eq!(
        impact(&dir, "svc/db")["ingresses"],
        json!([{"object": "Ingress/public/shop", "because": "sends requests to Service db"}])
    );
}

#[test]
fn past_has_the_pods_of_then() {
    let dir = TestDir::new();
    let mut record = cluster(dir.path());
    record.now = minute(10);
    record.delete(&kind("po"), pod("web-7d9f-aaaaa", "web", "worker-1"));
    record.now = minute(11);
    let mut late = pod("web-7d9f-ddddd", "web", "worker-2");
    late["metadata"]["creationTimestamp"] = minute(11).to_string().into();
    record.apply(&kind("po"), late, "kube-controller-manager");
    drop(record);
    let at = |minutes: u64| format!("node/worker-1 --at={}", minute(minutes));
    assert_eq!(impact(&dir, &at(5))["pods"], 2);
    assert_eq!(impact(&dir, &at(12))["pods"], 1);
    assert_eq!(
        impact(&dir, &format!("node/worker-2 --at={}", minute(5)))["pods"],
        1
    );
    assert_eq!(
        impact(&dir, &format!("node/worker-2 --at={}", minute(12)))["pods"],
        2
    );
}

#[test]
fn impact_of_what_cannot_be_known_is_an_error() {
    let dir = TestDir::new();
    drop(cluster(dir.path()));
    for (line, code, words) in [
        ("impact node/none", 1, "is not in the record"),
        ("impact secret/db -N shop", 1, "Secrets are never recorded"),
        ("impact deplyo/web", 2, "did you mean deployment?"),
        ("impact deploy/web --at=2025-12-01", 1, "did not exist at"),
        ("impact deploy/web --at=9999-01-01", 2, "is in the future"),
        (
            "impact deploy/web --format=csv",
            2,
            "valid values: json, yaml, table",
        ),
    ] {
        let error = dir.run(line).failed(code);
        assert!(error.contains(words), "{line}: {error}");
    }
}
