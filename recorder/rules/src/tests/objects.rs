//! Minimal objects: healthy, with nothing to assess, until they are patched.

use kube9_model::label::Kind;
use serde_json::{Value, json};

use super::case::Step;
use super::harness::t;

/// `base` with `patch` laid over it: objects merge, `null` removes, everything else is replaced.
pub(crate) fn over(mut base: Value, patch: Value) -> Value {
    fn merge(base: &mut Value, patch: Value) {
        match (base, patch) {
            (Value::Object(base), Value::Object(patch)) => {
                for (key, value) in patch {
                    if value.is_null() {
                        base.remove(&key);
                    } else {
                        merge(base.entry(key).or_insert(Value::Null), value);
                    }
                }
            }
            (base, patch) => *base = patch,
        }
    }
    merge(&mut base, patch);
    base
}

pub(crate) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1",
           "creationTimestamp": t(0)})
}

/// A healthy pod of Deployment `shop/web` with nothing to assess.
pub(crate) fn pod(name: &str, patch: Value) -> Value {
    let owner = json!([{"kind": "ReplicaSet", "name": "web-1a", "controller": true}]);
    let base = json!({
        "metadata": over(metadata(name), json!({"labels": {"app": "web", "pod-template-hash": "1a"}, "ownerReferences": owner})),
        "spec": {"nodeName": "w1", "automountServiceAccountToken": false, "containers": [container(json!({}))]},
        "status": {"phase": "Running", "conditions": [condition("PodScheduled", "True", 0), condition("Ready", "True", 0)],
                   "containerStatuses": [{"name": "app", "ready": true, "restartCount": 0,
                                          "state": {"running": {"startedAt": t(0)}}}]},
    });
    over(base, patch)
}

pub(crate) fn container(patch: Value) -> Value {
    let base = json!({"name": "app", "image": "registry/web:1", "readinessProbe": {}, "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}});
    over(base, patch)
}

pub(crate) fn condition(kind: &str, status: &str, since: i64) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": t(since)})
}

/// A pod whose container is in that state.
pub(crate) fn pod_with(name: &str, restarts: i64, state: Value, last: Value) -> Value {
    pod(
        name,
        json!({"status": {"conditions": [condition("PodScheduled", "True", 0), condition("Ready", "False", 0)],
               "containerStatuses": [{"name": "app", "ready": false, "restartCount": restarts, "state": state, "lastState": last}]}}),
    )
}

pub(crate) fn waiting(reason: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": "the message"}})
}

pub(crate) fn terminated(reason: &str, code: i64, from: i64, to: i64) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "startedAt": t(from), "finishedAt": t(to)}})
}

pub(crate) fn running(since: i64) -> Value {
    json!({"running": {"startedAt": t(since)}})
}

/// A healthy node that joined a day ago.
pub(crate) fn node(name: &str, patch: Value) -> Value {
    let base = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1", "creationTimestamp": t(-86_400)},
        "spec": {},
        "status": {"conditions": [condition("Ready", "True", 0)], "nodeInfo": {"kubeletVersion": "v1.33.1"},
                   "allocatable": {"cpu": "4", "memory": "8Gi"}},
    });
    over(base, patch)
}

pub(crate) fn deployment(patch: Value) -> Value {
    let base = json!({
        "metadata": over(metadata("web"), json!({"generation": 1})),
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}},
                 "spec": {"containers": [{"name": "app", "image": "registry/web:1"}]}}},
        "status": {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2,
                   "conditions": [over(condition("Progressing", "True", 0), json!({"reason": "NewReplicaSetAvailable"})),
                                  condition("Available", "True", 0)]},
    });
    over(base, patch)
}

pub(crate) fn service(patch: Value) -> Value {
    let base = json!({"metadata": metadata("web"), "spec": {"type": "ClusterIP", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]}});
    over(base, patch)
}

pub(crate) fn config_map(patch: Value) -> Value {
    over(
        json!({"metadata": metadata("conf"), "data": {"mode": "a"}}),
        patch,
    )
}

/// A pod that no node takes.
pub(crate) fn unscheduled(name: &str, reason: &str, message: &str) -> Value {
    pod(
        name,
        json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "containerStatuses": [],
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message,
                        "lastTransitionTime": t(0)}]}}),
    )
}

/// A pod with that container.
pub(crate) fn with_container(patch: Value) -> Value {
    pod("web-1", json!({"spec": {"containers": [container(patch)]}}))
}

/// A pod on that node that cannot pull that image.
pub(crate) fn pulling(name: &str, on: &str, image: &str) -> Value {
    let wait = pod_with(name, 0, waiting("ImagePullBackOff"), json!({}));
    over(
        wait,
        json!({"spec": {"nodeName": on, "containers": [container(json!({"image": image}))]}}),
    )
}

/// A pod that its node evicted, whose container was killed for it.
pub(crate) fn evicted(name: &str) -> Value {
    let failed = pod_with(name, 0, terminated("Error", 137, 0, 5), json!({}));
    over(
        failed,
        json!({"status": {"phase": "Failed", "reason": "Evicted"}}),
    )
}

/// A Node that reports a condition beside being ready.
pub(crate) fn node_reporting(kind: &str, status: &str) -> Value {
    node(
        "w1",
        json!({"status": {"conditions": [condition("Ready", "True", 0), condition(kind, status, 0)]}}),
    )
}

/// Two healthy Nodes.
pub(crate) fn two_nodes() -> Step {
    Step::Apply(vec![
        (Kind::Node, node("w1", json!({}))),
        (Kind::Node, node("w2", json!({}))),
    ])
}

/// Pods that wait for the same image on both.
pub(crate) fn one_image_on_two_nodes() -> Step {
    Step::Apply(vec![
        (Kind::Pod, pulling("web-1", "w1", "i:1")),
        (Kind::Pod, pulling("web-2", "w2", "i:1")),
    ])
}

/// Pods that wait for different images on the same one.
pub(crate) fn two_images_on_one_node() -> Step {
    Step::Apply(vec![
        (Kind::Pod, pulling("web-1", "w1", "i:1")),
        (Kind::Pod, pulling("web-2", "w1", "j:1")),
    ])
}
