//! Converts the state to API objects, with the exact times of every condition.

use serde_json::{Value, json};

use super::state::{
    ARGO_CD, ClusterState, ContainerState, ManifestFlaw, Node, Phase, Pod, PodId, Termination,
    Workload, WorkloadKind,
};
use super::{Ms, START};
use crate::bench::changes::CONTROLLER;
use crate::bench::changes::object::{ApiObject, Writer};
use crate::clock::Micros;
use crate::generator::Rng;
use crate::manifests::{self, metadata, pod_metadata, running, terminated, time, waiting};

const DAY: Ms = 86_400_000;

fn micros(at: Ms) -> Micros {
    Micros(at * 1000)
}

fn condition(kind: &str, is: bool, since: Ms, reason: &str) -> Value {
    let since = Some(micros(since));
    manifests::condition(kind, manifests::status(is), since, reason, "")
}

pub(super) fn node(node: &Node, now: Ms) -> Value {
    let (ready, since) = node.ready;
    // What changes every five minutes although nothing happens.
    let heartbeat = if ready { now } else { since - 40_000 };
    let since = |(is, at): (bool, Ms)| (is, micros(at));
    let mut object = manifests::Node {
        metadata: metadata("", &node.name, &node.uid, micros(node.created)),
        heartbeat: micros(heartbeat),
        ready: since(node.ready),
        memory_pressure: since(node.pressure),
        disk_pressure: since((false, node.created)),
        problem: node.problem.map(|(kind, at)| (kind, micros(at))),
        cordoned: node.cordoned,
        boot: &node.uid,
        kubelet: "v1.35.4",
        amounts: ["32", "128Gi", "200Gi", "250"],
    }
    .into_json();
    object["status"]["images"] =
        json!([{ "names": ["registry.example.com/shop/checkout:v1"], "sizeBytes": 123_456_789 }]);
    object
}

/// The spec of a pod: of a template, or of a pod that was made from one.
fn pod_spec(of: &Workload, image: &str, flaws: &[ManifestFlaw]) -> Value {
    let has = |flaw: ManifestFlaw| flaws.contains(&flaw);
    let mut resources =
        json!({ "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "256Mi" } });
    if has(ManifestFlaw::NoLimit) {
        resources["limits"] = json!({ "cpu": "1" });
    }
    if has(ManifestFlaw::NoRequests) {
        resources = json!({});
    }
    if has(ManifestFlaw::WholeNode) {
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
        "terminationMessagePolicy": if has(ManifestFlaw::SilentCrash) { "File" } else { "FallbackToLogsOnError" },
    });
    if !has(ManifestFlaw::NoProbe) {
        app["readinessProbe"] =
            json!({ "httpGet": { "path": "/ready", "port": 8080 }, "periodSeconds": 5 });
    }
    if has(ManifestFlaw::SecretInEnv) {
        app["env"] = json!([{ "name": "API_TOKEN", "value": "planted-7f3a91c4" }]);
    }
    if has(ManifestFlaw::Privileged) {
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
    if has(ManifestFlaw::MissingConfig) {
        volumes.push(
            json!({ "name": "extra", "configMap": { "name": format!("{}-extra", of.name) } }),
        );
    }
    if has(ManifestFlaw::HostPath) {
        volumes.push(json!({ "name": "logs", "hostPath": { "path": "/var/log" } }));
    }
    let default = has(ManifestFlaw::DefaultToken);
    json!({
        "containers": containers, "volumes": volumes,
        "initContainers": [{ "name": "migrate", "image": "registry.example.com/shop/migrate:3", "resources": {} }],
        "restartPolicy": if of.runs == WorkloadKind::CronJob { "Never" } else { "Always" },
        "serviceAccountName": if default { "default" } else { "app" },
        "automountServiceAccountToken": default,
        "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "securityContext": {},
    })
}

pub(super) fn pod(cluster: &ClusterState, id: PodId) -> Option<Value> {
    let pod = cluster.pods.get(&id)?;
    let of = &cluster.workloads[pod.of];
    let own = metadata(&of.namespace, &pod.name, &pod.uid, micros(pod.created));
    let (version, kind) = of.runs.owner();
    let owner = (version, kind, &*pod.set, &*of.uid);
    let mut metadata = pod_metadata(own, &of.name, &pod.hash, owner, pod.deleting.map(micros));
    metadata["labels"]["tier"] = json!("backend");
    metadata["annotations"] =
        json!({ "kubectl.kubernetes.io/restartedAt": pod.restarted.to_string() });
    metadata["managedFields"] = json!([{
        "manager": "kubelet", "operation": "Update", "fieldsType": "FieldsV1", "subresource": "status",
        "fieldsV1": { "f:status": { "f:conditions": {}, "f:containerStatuses": {}, "f:phase": {}, "f:podIP": {} } },
    }]);
    let mut spec = pod_spec(of, &pod.image, &pod.flaws);
    if let Some(node) = pod.node {
        spec["nodeName"] = json!(&*cluster.nodes[node].name);
    }
    Some(json!({ "metadata": metadata, "spec": spec, "status": pod_status(of, pod) }))
}

fn pod_status(of: &Workload, pod: &Pod) -> Value {
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
    let mut status = json!({ "phase": pod.phase.as_str(), "qosClass": "Burstable" });
    if pod.state != ContainerState::Unseen {
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
        status["startTime"] = time(micros(pod.created));
        status["hostIP"] = json!("10.0.0.1");
        status["podIP"] = json!("10.64.3.7");
        let mut statuses = vec![container_status(pod)];
        if of.sidecar {
            statuses.push(sidecar_status(pod));
        }
        status["containerStatuses"] = json!(statuses);
        let at = micros(pod.created);
        let init = match pod.state {
            ContainerState::Waiting("ContainerCreating", _) => waiting("PodInitializing", ""),
            ContainerState::Waiting("PodInitializing", _) => running(at),
            _ => terminated(0, "Completed", at, at),
        };
        status["initContainerStatuses"] = json!([{
            "name": "migrate", "ready": true, "restartCount": 0, "image": "registry.example.com/shop/migrate:3",
            "state": init, "lastState": {},
        }]);
    }
    if pod.rejected {
        status["reason"] = json!("NodeAffinity");
        status["message"] = json!("Pod was rejected: Predicate NodeAffinity failed");
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

fn ended(pod: &Pod, end: &Termination) -> Value {
    let mut state = terminated(end.code, end.reason, micros(end.started), micros(end.at));
    // Nothing is written after SIGKILL.
    if !matches!(end.code, 0 | 137) && !pod.flaws.contains(&ManifestFlaw::SilentCrash) {
        state["terminated"]["message"] = json!(
            "INFO reading /etc/app/config.yaml\nFATAL cannot start: config.yaml: unknown key \"pool_size\"\n"
        );
    }
    state
}

fn container_status(pod: &Pod) -> Value {
    let state = match &pod.state {
        ContainerState::Unseen => json!({}),
        ContainerState::Waiting(reason, message) => waiting(reason, message),
        ContainerState::Running(since) => running(micros(*since)),
        ContainerState::Ended(end) => ended(pod, end),
    };
    let last = pod.last.as_ref();
    let last = last.map_or(json!({}), |end| ended(pod, end));
    json!({
        "name": "app", "state": state, "lastState": last, "ready": pod.ready.0, "restartCount": pod.restarts,
        "image": pod.image, "imageID": format!("sha256:{:064x}", pod.image.len()), "started": pod.ready.0,
    })
}

/// It starts and ends with its pod, and nothing ever happens to it.
fn sidecar_status(pod: &Pod) -> Value {
    let over = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let state = match (&pod.state, pod.first_start) {
        (ContainerState::Unseen, _) => json!({}),
        (ContainerState::Waiting("ContainerCreating" | "PodInitializing", _), None) => {
            waiting("PodInitializing", "")
        }
        (_, started) if over => {
            let started = micros(started.unwrap_or(pod.created));
            terminated(0, "Completed", started, micros(pod.ready.1))
        }
        _ => running(micros(pod.created + 2000)),
    };
    json!({
        "name": "proxy", "state": state, "lastState": {}, "ready": !over, "restartCount": 0,
        "image": "registry.example.com/mesh/proxy:2.4.1", "imageID": "sha256:2b", "started": !over,
    })
}

/// Pods of a Deployment as its controller counts them: newest template, all, available.
pub(super) fn counts(cluster: &ClusterState, of: usize) -> (usize, usize, usize) {
    let workload = &cluster.workloads[of];
    let mut counts = (0, 0, 0);
    for pod in workload.pods.iter().filter_map(|id| cluster.pods.get(id)) {
        if pod.deleting.is_some() || matches!(pod.phase, Phase::Failed | Phase::Succeeded) {
            continue;
        }
        counts.0 += usize::from(pod.hash == workload.hash);
        counts.1 += 1;
        counts.2 += usize::from(pod.ready.0);
    }
    counts
}

pub(super) fn deployment(cluster: &ClusterState, of: usize) -> Value {
    let workload = &cluster.workloads[of];
    let (updated, all, available) = counts(cluster, of);
    let failure = "pods is forbidden: exceeded quota: compute, requested: cpu=50m, used: cpu=20, limited: cpu=20";
    let created = micros(workload.created);
    let mut object = manifests::Deployment {
        metadata: metadata(&workload.namespace, &workload.name, &workload.uid, created),
        set: &format!("{}-{}", workload.name, workload.hash),
        generation: workload.generation,
        replicas: workload.replicas,
        pods: (updated, all, available),
        available: timed(workload.available),
        progress: timed(workload.progress),
        failure: workload.replica_failure.map(|at| timed((failure, at))),
        template: json!({
            "metadata": { "labels": { "app": &*workload.name, "tier": "backend" },
                "annotations": { "kubectl.kubernetes.io/restartedAt": workload.restarted.to_string() } },
            "spec": pod_spec(workload, &workload.image(), &workload.flaws),
        }),
    }
    .into_json();
    if let Some(deployed) = &workload.deployed {
        let metadata = &deployed.json["metadata"];
        object["metadata"]["managedFields"] = metadata["managedFields"].clone();
        object["metadata"]["annotations"][TRACKING_ID] =
            metadata["annotations"][TRACKING_ID].clone();
    }
    object
}

/// How Argo CD marks its objects.
const TRACKING_ID: &str = "argocd.argoproj.io/tracking-id";

/// Argo CD deploys it: from now on, its writers leave `managedFields`.
pub(super) fn deploy(cluster: &ClusterState, of: usize, rng: &mut Rng) -> ApiObject {
    let workload = &cluster.workloads[of];
    let object = deployment(cluster, of);
    let place = workload.namespaced_name();
    let id = format!("{}:apps/Deployment:{place}", workload.namespace);
    let content = json!({
        "metadata": { "labels": object["metadata"]["labels"], "annotations": { TRACKING_ID: id } },
        "spec": object["spec"],
    });
    let mut deployed = ApiObject::new(
        ("apps/v1", "Deployment"),
        (&workload.namespace, &workload.name),
        content,
        Writer(ARGO_CD, ""),
        micros(workload.created),
        rng,
    );
    deployed.write(CONTROLLER, micros(START), "status", &object["status"]);
    deployed
}

fn timed<T>((what, since): (T, Ms)) -> (T, Option<Micros>) {
    (what, Some(micros(since)))
}

pub(super) fn service(workload: &Workload) -> Value {
    let app = if workload.selector_broken {
        format!("{}-v2", workload.name)
    } else {
        workload.name.to_string()
    };
    let target = if workload.has(ManifestFlaw::WrongPort) {
        json!("metrics")
    } else {
        json!("http")
    };
    let (uid, created) = (format!("svc-{}", workload.uid), micros(workload.created));
    let metadata = metadata(&workload.namespace, &workload.name, &uid, created);
    manifests::service(metadata, &app, &target)
}

/// What a key that is named like a secret holds here.
const PLANTED: &str = "planted-c0ffee11";

pub(super) fn config_map(workload: &Workload, padding: &str) -> Value {
    let mut data = json!({
        "LOG_LEVEL": "info", "author": "platform team",
        "application.yaml": format!("server:\n  threads: {}\n", 8 + workload.config_revision),
    });
    if workload.has(ManifestFlaw::SecretInConfig) {
        data["DB_PASSWORD"] = json!(PLANTED);
    }
    if !padding.is_empty() {
        data["table.csv"] = json!(padding);
    }
    let (uid, created) = (format!("cm-{}", workload.uid), micros(workload.created));
    json!({ "metadata": metadata(&workload.namespace, &workload.config_name(), &uid, created), "data": data })
}

/// Services and ConfigMaps that mean nothing: what every cluster has.
pub(super) fn oddities(now: Ms) -> (Vec<Value>, Vec<Value>) {
    let mail = metadata("shop", "mail", "svc-mail", micros(now - DAY));
    let services = vec![
        manifests::kubernetes_service("svc-kubernetes"),
        json!({ "metadata": mail, "spec": { "type": "ExternalName", "externalName": "mail.example.com" } }),
    ];
    (services, vec![lock(now, 0)])
}

/// The lock of a leader election.
pub(super) fn lock(now: Ms, renewals: u64) -> Value {
    let mut metadata = metadata("platform", "leader", "cm-leader", micros(now - DAY));
    let holder = json!({ "holderIdentity": "a", "renewals": renewals }).to_string();
    metadata["annotations"] = json!({ "control-plane.alpha.kubernetes.io/leader": holder });
    json!({ "metadata": metadata })
}

/// A ConfigMap that no pod reads.
pub(super) fn table(number: usize, padding: &str, now: Ms) -> Value {
    let part = if padding.is_empty() {
        "a,b\n1,2\n"
    } else {
        padding
    };
    let (name, uid) = (format!("table-{number}"), format!("cm-table-{number}"));
    json!({
        "metadata": metadata("platform", &name, &uid, micros(now - DAY)),
        "data": { "part.csv": part, "readme": "tables of the platform" },
    })
}
