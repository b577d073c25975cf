//! How the cast looks in the API: the fields that an API server sends, with the exact times of every condition.

use serde_json::{Value, json};

use super::Ms;
use super::cast::{Cast, End, Habit, Node, Phase, Pod, PodId, Progress, Runs, State, Workload};
use crate::clock::Micros;

/// A time of the API: whole seconds.
pub(super) fn time(at: Ms) -> Value {
    json!(Micros(at * 1000).seconds_text().as_str())
}

fn condition(kind: &str, status: bool, since: Ms, reason: &str) -> Value {
    let word = if status { "True" } else { "False" };
    json!({ "type": kind, "status": word, "lastTransitionTime": time(since), "reason": reason, "message": "" })
}

pub(super) fn node(node: &Node, now: Ms) -> Value {
    let (ready, since) = node.ready;
    let mut ready_condition = condition("Ready", ready, since, "KubeletReady");
    if !ready {
        ready_condition["status"] = json!("Unknown");
        ready_condition["reason"] = json!("NodeStatusUnknown");
        ready_condition["message"] = json!("Kubelet stopped posting node status.");
    }
    // What changes every five minutes although nothing happens.
    let beat = if ready { now } else { since - 40_000 };
    let mut conditions = vec![
        condition(
            "MemoryPressure",
            node.pressure.0,
            node.pressure.1,
            "KubeletMemory",
        ),
        condition(
            "DiskPressure",
            false,
            node.created,
            "KubeletHasNoDiskPressure",
        ),
        condition(
            "PIDPressure",
            false,
            node.created,
            "KubeletHasSufficientPID",
        ),
        ready_condition,
    ];
    if let Some((kind, since)) = node.problem {
        conditions.push(condition(kind, true, since, kind));
    }
    for one in &mut conditions {
        one["lastHeartbeatTime"] = time(beat);
    }
    let mut taints = Vec::new();
    let mut taint = |key: &str, effect: &str| taints.push(json!({ "key": key, "effect": effect }));
    if node.cordoned {
        taint("node.kubernetes.io/unschedulable", "NoSchedule");
    }
    if !ready {
        taint("node.kubernetes.io/unreachable", "NoExecute");
    }
    if node.pressure.0 {
        taint("node.kubernetes.io/memory-pressure", "NoSchedule");
    }
    let amounts =
        json!({ "cpu": "32", "memory": "128Gi", "ephemeral-storage": "200Gi", "pods": "250" });
    json!({
        "metadata": {
            "name": &*node.name, "uid": node.uid, "creationTimestamp": time(node.created),
            "labels": { "kubernetes.io/hostname": &*node.name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": "a" },
        },
        "spec": { "unschedulable": node.cordoned, "taints": taints, "providerID": format!("sim:///{}", node.name) },
        "status": {
            "capacity": amounts, "allocatable": amounts, "conditions": conditions,
            "nodeInfo": { "kubeletVersion": "v1.35.4", "osImage": "Linux", "containerRuntimeVersion": "containerd://2.1.4" },
            "images": [{ "names": ["registry.example.com/shop/checkout:v1"], "sizeBytes": 123_456_789 }],
        },
    })
}

/// The spec of a pod: of a template, or of a pod that was made from one.
fn pod_spec(of: &Workload, image: &str, habits: &[Habit]) -> Value {
    let has = |habit: Habit| habits.contains(&habit);
    let mut resources =
        json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } });
    if has(Habit::NoLimit) {
        resources["limits"] = json!({ "cpu": "1" });
    }
    if has(Habit::NoRequests) {
        resources = json!({});
    }
    if has(Habit::Greedy) {
        resources["requests"]["cpu"] = json!("30500m");
    }
    let mut app = json!({
        "name": "app", "image": image, "imagePullPolicy": "IfNotPresent", "resources": resources,
        "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
        "livenessProbe": { "httpGet": { "path": "/live", "port": 8080 }, "periodSeconds": 10 },
        "env": [
            { "name": "MODE", "value": "production" },
            { "name": "DB_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "db", "key": "password" } } },
        ],
        "volumeMounts": [{ "name": "config", "mountPath": "/etc/app" }],
        "terminationMessagePath": "/dev/termination-log",
    });
    if !has(Habit::NoProbe) {
        app["readinessProbe"] =
            json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 5 });
    }
    if has(Habit::SecretInEnv) {
        app["env"] = json!([{ "name": "API_TOKEN", "value": "planted-7f3a91c4" }]);
    }
    if has(Habit::Privileged) {
        app["securityContext"] = json!({ "privileged": true });
    }
    let mut containers = vec![app];
    if of.sidecar {
        containers.push(json!({
            "name": "proxy", "image": "registry.example.com/mesh/proxy:2.4.1", "ports": [{ "name": "admin", "containerPort": 15000 }],
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "64Mi" } },
        }));
    }
    let mut volumes = vec![json!({ "name": "config", "configMap": { "name": of.config_name() } })];
    if has(Habit::MissingConfig) {
        volumes.push(
            json!({ "name": "extra", "configMap": { "name": format!("{}-extra", of.name) } }),
        );
    }
    if has(Habit::HostPath) {
        volumes.push(json!({ "name": "logs", "hostPath": { "path": "/var/log" } }));
    }
    let default = has(Habit::DefaultToken);
    json!({
        "containers": containers, "volumes": volumes,
        "initContainers": [{ "name": "migrate", "image": "registry.example.com/shop/migrate:3", "resources": {} }],
        "restartPolicy": if of.runs == Runs::CronJob { "Never" } else { "Always" },
        "serviceAccountName": if default { "default" } else { "app" },
        "automountServiceAccountToken": default,
        "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
    })
}

pub(super) fn pod(cast: &Cast, id: PodId) -> Option<Value> {
    let pod = cast.pods.get(&id)?;
    let of = &cast.workloads[pod.of];
    let mut labels = json!({ "app": &*of.name, "tier": "backend" });
    if of.runs == Runs::Deployment {
        labels["pod-template-hash"] = json!(&*pod.hash);
    }
    let mut metadata = json!({
        "name": &*pod.name, "namespace": &*of.namespace, "uid": pod.uid, "creationTimestamp": time(pod.created),
        "labels": labels, "annotations": { "kubectl.kubernetes.io/restartedAt": pod.restarted.to_string() },
        "ownerReferences": [{ "apiVersion": "apps/v1", "kind": of.runs.owner(), "name": pod.set, "uid": of.uid, "controller": true }],
        "managedFields": [{ "manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": { "f:status": { "f:conditions": {}, "f:containerStatuses": {}, "f:phase": {}, "f:podIP": {} } } }],
    });
    if let Some(at) = pod.deleting {
        metadata["deletionTimestamp"] = time(at + 30_000);
        metadata["deletionGracePeriodSeconds"] = json!(30);
    }
    let mut spec = pod_spec(of, &pod.image, &pod.habits);
    if let Some(node) = pod.node {
        spec["nodeName"] = json!(&*cast.nodes[node].name);
    }
    Some(json!({ "metadata": metadata, "spec": spec, "status": pod_status(of, pod) }))
}

fn pod_status(of: &Workload, pod: &Pod) -> Value {
    let phase = match pod.phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
    };
    let mut conditions = Vec::new();
    if let Some(at) = pod.scheduled {
        conditions.push(condition("PodScheduled", true, at, ""));
    } else if let Some(at) = pod.unschedulable {
        let mut one = condition("PodScheduled", false, at, "Unschedulable");
        one["message"] = json!(
            "0/500 nodes are available: 500 Insufficient cpu. preemption: 0/500 nodes are available"
        );
        conditions.push(one);
    }
    let mut status = json!({ "phase": phase, "qosClass": "Burstable" });
    if pod.state != State::Unseen {
        let reason = match (pod.ready.0, pod.phase) {
            (true, _) => "",
            (false, Phase::Succeeded) => "PodCompleted",
            (false, Phase::Failed) => "PodFailed",
            _ => "ContainersNotReady",
        };
        conditions.push(condition("Initialized", true, pod.created, ""));
        conditions.push(condition("Ready", pod.ready.0, pod.ready.1, reason));
        conditions.push(condition(
            "ContainersReady",
            pod.ready.0,
            pod.ready.1,
            reason,
        ));
        status["startTime"] = time(pod.created);
        status["hostIP"] = json!("10.0.0.1");
        status["podIP"] = json!("10.64.3.7");
        let mut statuses = vec![container_status(pod)];
        if of.sidecar {
            statuses.push(sidecar_status(pod));
        }
        status["containerStatuses"] = json!(statuses);
        let init = if matches!(pod.state, State::Waiting("ContainerCreating", _)) {
            json!({ "waiting": { "reason": "PodInitializing" } })
        } else {
            let (code, reason) = (0, "Completed");
            json!({ "terminated": ended(&End { code, reason, started: pod.created, at: pod.created }) })
        };
        status["initContainerStatuses"] = json!([{
            "name": "migrate", "ready": true, "restartCount": 0, "image": "registry.example.com/shop/migrate:3",
            "state": init, "lastState": {},
        }]);
    }
    if let Some(at) = pod.evicted {
        status["reason"] = json!("Evicted");
        status["message"] = json!(
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki."
        );
        conditions.push(condition(
            "DisruptionTarget",
            true,
            at,
            "TerminationByKubelet",
        ));
    }
    status["conditions"] = json!(conditions);
    status
}

fn ended(end: &End) -> Value {
    json!({ "exitCode": end.code, "reason": end.reason, "startedAt": time(end.started), "finishedAt": time(end.at) })
}

fn container_status(pod: &Pod) -> Value {
    let state = match &pod.state {
        State::Unseen => json!({}),
        State::Waiting(reason, message) => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        State::Running(since) => json!({ "running": { "startedAt": time(*since) } }),
        State::Ended(end) => json!({ "terminated": ended(end) }),
    };
    let last = pod
        .last
        .as_ref()
        .map_or(json!({}), |end| json!({ "terminated": ended(end) }));
    json!({
        "name": "app", "state": state, "lastState": last, "ready": pod.ready.0, "restartCount": pod.restarts,
        "image": pod.image, "imageID": format!("sha256:{:064x}", pod.image.len()), "started": pod.ready.0,
    })
}

/// It starts and ends with its pod, and nothing ever happens to it.
fn sidecar_status(pod: &Pod) -> Value {
    let over = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let state = match (&pod.state, pod.first_start) {
        (State::Unseen, _) => json!({}),
        (State::Waiting("ContainerCreating" | "PodInitializing", _), None) => {
            json!({ "waiting": { "reason": "PodInitializing" } })
        }
        (_, started) if over => {
            let started = started.unwrap_or(pod.created);
            let end = End {
                code: 0,
                reason: "Completed",
                started,
                at: pod.ready.1,
            };
            json!({ "terminated": ended(&end) })
        }
        _ => json!({ "running": { "startedAt": time(pod.created + 2000) } }),
    };
    json!({
        "name": "proxy", "state": state, "lastState": {}, "ready": !over, "restartCount": 0,
        "image": "registry.example.com/mesh/proxy:2.4.1", "imageID": "sha256:2b", "started": !over,
    })
}

/// Pods of a Deployment as its controller counts them: newest template, all, available.
pub(super) fn counts(cast: &Cast, of: usize) -> (usize, usize, usize) {
    let workload = &cast.workloads[of];
    let mut counts = (0, 0, 0);
    for pod in workload.pods.iter().filter_map(|id| cast.pods.get(id)) {
        if pod.deleting.is_some() || matches!(pod.phase, Phase::Failed | Phase::Succeeded) {
            continue;
        }
        counts.0 += usize::from(pod.hash == workload.hash);
        counts.1 += 1;
        counts.2 += usize::from(pod.ready.0);
    }
    counts
}

pub(super) fn deployment(cast: &Cast, of: usize) -> Value {
    let workload = &cast.workloads[of];
    let (updated, all, available) = counts(cast, of);
    let labels = json!({ "app": &*workload.name });
    let (progress, since) = workload.progress;
    let (going, reason) = match progress {
        Progress::Done => (true, "NewReplicaSetAvailable"),
        Progress::Rolling => (true, "ReplicaSetUpdated"),
        Progress::Exceeded => (false, "ProgressDeadlineExceeded"),
    };
    let (is_available, available_since) = workload.available;
    let word = if is_available {
        "MinimumReplicasAvailable"
    } else {
        "MinimumReplicasUnavailable"
    };
    let mut conditions = vec![
        condition("Available", is_available, available_since, word),
        condition("Progressing", going, since, reason),
    ];
    if let Some(at) = workload.replica_failure {
        let mut failure = condition("ReplicaFailure", true, at, "FailedCreate");
        failure["message"] = json!(
            "pods is forbidden: exceeded quota: compute, requested: cpu=50m, used: cpu=20, limited: cpu=20"
        );
        conditions.push(failure);
    }
    let mut template = pod_spec(workload, &workload.image(), &workload.habits);
    if let Some(template) = template.as_object_mut() {
        template.remove("nodeName");
    }
    json!({
        "metadata": {
            "name": &*workload.name, "namespace": &*workload.namespace, "uid": workload.uid,
            "generation": workload.generation, "creationTimestamp": time(workload.created), "labels": labels,
        },
        "spec": {
            "replicas": workload.replicas, "selector": { "matchLabels": labels }, "progressDeadlineSeconds": 600,
            "template": {
                "metadata": { "labels": { "app": &*workload.name, "tier": "backend" },
                    "annotations": { "kubectl.kubernetes.io/restartedAt": workload.restarted.to_string() } },
                "spec": template,
            },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
        },
        "status": {
            "observedGeneration": workload.generation, "replicas": all, "updatedReplicas": updated,
            "readyReplicas": available, "availableReplicas": available, "conditions": conditions,
        },
    })
}

pub(super) fn service(workload: &Workload) -> Value {
    let app = if workload.selector_broken {
        format!("{}-v2", workload.name)
    } else {
        workload.name.to_string()
    };
    let target = if workload.has(Habit::WrongPort) {
        json!("metrics")
    } else {
        json!("http")
    };
    json!({
        "metadata": {
            "name": &*workload.name, "namespace": &*workload.namespace, "uid": format!("svc-{}", workload.uid),
            "creationTimestamp": time(workload.created),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.7.7", "selector": { "app": app },
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": target }],
        },
        "status": { "loadBalancer": {} },
    })
}

/// What a key that is named like a secret holds here.
const PLANTED: &str = "planted-c0ffee11";

pub(super) fn config_map(workload: &Workload, padding: &str) -> Value {
    let mut data = json!({
        "LOG_LEVEL": "info", "author": "platform team",
        "application.yaml": format!("server:\n  threads: {}\n", 8 + workload.config_revision),
    });
    if workload.has(Habit::SecretInConfig) {
        data["DB_PASSWORD"] = json!(PLANTED);
    }
    if !padding.is_empty() {
        data["table.csv"] = json!(padding);
    }
    json!({
        "metadata": {
            "name": workload.config_name(), "namespace": &*workload.namespace, "uid": format!("cm-{}", workload.uid),
            "creationTimestamp": time(workload.created),
        },
        "data": data,
    })
}

/// Services and ConfigMaps that mean nothing: what every cluster has.
pub(super) fn oddities(now: Ms) -> (Vec<Value>, Vec<Value>) {
    let created = time(now - 86_400_000);
    let services = vec![
        json!({ "metadata": { "name": "kubernetes", "namespace": "default", "uid": "svc-kubernetes", "creationTimestamp": created },
            "spec": { "type": "ClusterIP", "ports": [{ "name": "https", "port": 443, "targetPort": 6443 }] } }),
        json!({ "metadata": { "name": "mail", "namespace": "shop", "uid": "svc-mail", "creationTimestamp": created },
            "spec": { "type": "ExternalName", "externalName": "mail.example.com" } }),
    ];
    (services, vec![lock(now, 0)])
}

/// The lock of a leader election.
pub(super) fn lock(now: Ms, renewals: u64) -> Value {
    json!({ "metadata": { "name": "leader", "namespace": "platform", "uid": "cm-leader",
        "creationTimestamp": time(now - 86_400_000), "annotations": {
            "control-plane.alpha.kubernetes.io/leader": format!("{{\"holderIdentity\":\"a\",\"renewals\":{renewals}}}") } } })
}

/// A ConfigMap that nobody reads.
pub(super) fn table(number: usize, padding: &str, now: Ms) -> Value {
    let part = if padding.is_empty() {
        "a,b\n1,2\n"
    } else {
        padding
    };
    json!({
        "metadata": { "name": format!("table-{number}"), "namespace": "platform", "uid": format!("cm-table-{number}"),
            "creationTimestamp": time(now - 86_400_000) },
        "data": { "part.csv": part, "readme": "tables of the platform" },
    })
}
