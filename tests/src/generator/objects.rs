//! Converts the cluster's state to API objects.

use serde_json::{Map, Value, json};

use super::cluster::{
    Cluster, Container, Node, Owner, Phase, Pod, Template, Workload, WorkloadKind,
};
use super::event::Uid;
use super::names::uuid_text;
use crate::manifests::{self, Progress, metadata, pod_metadata, time};

pub(super) fn node(node: &Node) -> Value {
    let state = node.state;
    let mut object = manifests::Node {
        metadata: metadata("", &node.name, &node.uid.to_string(), node.created),
        heartbeat: state.since,
        ready: (!state.not_ready, state.since),
        memory_pressure: (state.memory_pressure, state.since),
        disk_pressure: (state.disk_pressure, state.since),
        problem: None,
        cordoned: state.cordoned,
        boot: &uuid_text(u128::from(node.boots) << 32 | node.uid.0 >> 96),
        kubelet: node.kubelet,
        amounts: ["8", "32Gi", "100Gi", "110"],
    }
    .into_json();
    object["spec"]["podCIDR"] = json!(format!("10.64.{}.0/24", node.subnet % 256));
    object
}

fn container_spec(container: &Container, first: bool, readiness: bool, liveness: bool) -> Value {
    let mut resources = Map::new();
    if container.limit_mib > 0 {
        resources.insert(
            "limits".to_owned(),
            json!({ "memory": format!("{}Mi", container.limit_mib) }),
        );
    }
    if container.cpu_millis > 0 {
        let memory = format!("{}Mi", (container.limit_mib / 2).max(32));
        resources.insert(
            "requests".to_owned(),
            json!({ "cpu": format!("{}m", container.cpu_millis), "memory": memory }),
        );
    }
    let mut spec = json!({
        "name": &*container.name, "image": &*container.image, "resources": resources,
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    });
    if container.port > 0 {
        spec["ports"] =
            json!([{ "name": "http", "containerPort": container.port, "protocol": "TCP" }]);
        let probe = |path: &str| {
            json!({
                "httpGet": { "path": path, "port": container.port, "scheme": "HTTP" },
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            })
        };
        if first && readiness {
            spec["readinessProbe"] = probe("/ready");
        }
        if first && liveness {
            spec["livenessProbe"] = probe("/healthz");
        }
    }
    spec
}

fn pod_spec(containers: &[Container], template: &Template, config: &str) -> Value {
    let containers: Vec<Value> = containers
        .iter()
        .enumerate()
        .map(|(i, c)| container_spec(c, i == 0, template.readiness, template.liveness))
        .collect();
    let mut spec = json!({
        "containers": containers, "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "default-scheduler",
    });
    let mut volumes = Vec::new();
    let mut mounts = Vec::new();
    if !config.is_empty() {
        volumes
            .push(json!({ "name": "config", "configMap": { "name": config, "defaultMode": 420 } }));
        mounts.push(json!({ "name": "config", "mountPath": "/etc/app" }));
    }
    let weaknesses = template.weaknesses;
    if weaknesses.host {
        spec["hostNetwork"] = json!(true);
        volumes.push(json!({ "name": "host", "hostPath": { "path": "/var/log", "type": "" } }));
        mounts.push(json!({ "name": "host", "mountPath": "/host/log", "readOnly": true }));
    }
    let first = &mut spec["containers"][0];
    if weaknesses.privileged {
        first["securityContext"] = json!({ "privileged": true });
    } else if weaknesses.root {
        first["securityContext"] =
            json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } });
    }
    if weaknesses.literal_secret {
        first["env"] = json!([{ "name": "API_KEY", "value": "simulated-4f9c2a7be1d0" }]);
    }
    first["volumeMounts"] = json!(mounts);
    spec["volumes"] = json!(volumes);
    spec
}

fn config_name(workload: &Workload) -> String {
    format!("{}-config", workload.name)
}

pub(super) fn pod(cluster: &Cluster, pod: &Pod) -> Value {
    let (owner, app, template, config) = match pod.owner {
        Owner::Workload(w) => {
            let of = &cluster.workloads[w];
            let kind = match of.runs {
                WorkloadKind::Deployment => ("apps/v1", "ReplicaSet"),
                WorkloadKind::StatefulSet => ("apps/v1", "StatefulSet"),
                WorkloadKind::DaemonSet => ("apps/v1", "DaemonSet"),
            };
            (kind, &of.name, &of.template, config_name(of))
        }
        Owner::Cron(c) => {
            let of = &cluster.crons[c];
            (("batch/v1", "Job"), &of.name, &of.template, String::new())
        }
    };
    let (uid, set_uid) = (pod.uid.to_string(), pod.set_uid.to_string());
    let own = metadata(&pod.namespace, &pod.name, &uid, pod.created);
    let owner = (owner.0, owner.1, &*pod.set_name, &*set_uid);
    let mut metadata = pod_metadata(own, app, &pod.hash, owner, pod.deleting);
    metadata["managedFields"] = json!([{
            "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": time(pod.started),
            "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": { "f:status": { "f:conditions": { "k:{\"type\":\"ContainersReady\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} }, "k:{\"type\":\"Initialized\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} }, "k:{\"type\":\"Ready\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} } }, "f:containerStatuses": {}, "f:hostIP": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": { ".": {} }, "f:startTime": {} } },
    }]);
    let mut spec = pod_spec(&pod.containers, template, &config);
    // What admission adds to every pod.
    let token = format!("kube-api-access-{}", &uid[..5]);
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.push(json!({ "name": token, "projected": { "defaultMode": 420, "sources": [
            { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
            { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        ] } }));
    }
    spec["serviceAccountName"] = json!("default");
    if let Some(node) = pod.node {
        spec["nodeName"] = json!(&*cluster.nodes[node].name);
    }
    if let Owner::Cron(_) = pod.owner {
        spec["restartPolicy"] = json!("Never");
    }
    json!({ "metadata": metadata, "spec": spec, "status": pod_status(cluster, pod) })
}

fn pod_status(cluster: &Cluster, pod: &Pod) -> Value {
    let ready = manifests::status(pod.ready);
    let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": time(pod.started) });
    // It may have become unready long after its containers started.
    let since = time(pod.started.max(pod.ready_since));
    let readiness = |kind: &str| {
        let mut one = condition(kind, ready);
        one["lastTransitionTime"] = json!(since);
        one
    };
    let mut not_ready = readiness("Ready");
    if !pod.ready && pod.phase != Phase::Succeeded {
        not_ready["reason"] = json!("ContainersNotReady");
        let names: Vec<&str> = pod.containers.iter().take(1).map(|c| &*c.name).collect();
        not_ready["message"] = json!(format!(
            "containers with unready status: [{}]",
            names.join(" ")
        ));
    }
    let mut scheduled = condition("PodScheduled", manifests::status(pod.node.is_some()));
    if let Some(why) = &pod.unschedulable {
        scheduled["reason"] = json!("Unschedulable");
        scheduled["message"] = json!(&**why);
    }
    let mut status = json!({
        "phase": pod.phase.as_str(),
        "conditions": [condition("Initialized", "True"), not_ready, readiness("ContainersReady"), scheduled],
        "startTime": time(pod.created), "qosClass": "Burstable",
    });
    if let Some(why) = &pod.evicted {
        status["reason"] = json!("Evicted");
        status["message"] = json!(&**why);
        return status;
    }
    if let Some(node) = pod.node {
        let subnet = cluster.nodes[node].subnet;
        let address = format!("10.{}.{}.{}", 64 + subnet / 256, subnet % 256, pod.address);
        status["hostIP"] = json!("10.0.0.1");
        status["podIP"] = json!(address);
        status["podIPs"] = json!([{ "ip": address }]);
        let statuses: Vec<Value> = pod
            .containers
            .iter()
            .enumerate()
            .map(|(i, c)| container_status(pod, c, i == 0))
            .collect();
        status["containerStatuses"] = json!(statuses);
    }
    status
}

fn container_status(pod: &Pod, container: &Container, first: bool) -> Value {
    let id = |n: u64| {
        format!(
            "containerd://{:032x}{:032x}",
            pod.uid.0,
            u128::from(n) << 64 | pod.uid.0 >> 64
        )
    };
    let terminated = |n: u64| {
        pod.ended.as_ref().map(|ended| {
            let code = i64::from(ended.code);
            let mut state = manifests::terminated(code, ended.reason, pod.started, ended.at);
            state["terminated"]["containerID"] = json!(id(n));
            state
        })
    };
    let running = manifests::running(pod.started);
    let over = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let state = match (&pod.waiting, first) {
        (Some((reason, message)), true) => manifests::waiting(reason, message),
        _ if over => terminated(pod.restarts).unwrap_or_else(|| running.clone()),
        _ if pod.phase == Phase::Pending => manifests::waiting("ContainerCreating", ""),
        _ => running,
    };
    let last = if first && !over {
        terminated(pod.restarts).unwrap_or_else(|| json!({}))
    } else {
        json!({})
    };
    json!({
        "name": &*container.name, "state": state, "lastState": last, "ready": pod.ready,
        "restartCount": if first { pod.restarts } else { 0 }, "image": &*container.image,
        "imageID": format!("sha256:{:064x}", u128::from(container.image_bytes)),
        "containerID": id(pod.restarts), "started": pod.ready, "resources": {},
    })
}

pub(super) fn deployment(cluster: &Cluster, of: &Workload) -> Value {
    let pods: Vec<&Pod> = of
        .pods
        .iter()
        .filter_map(|p| cluster.pod(*p))
        .filter(|p| p.deleting.is_none())
        .collect();
    let ready = pods.iter().filter(|p| p.ready).count();
    let updated = pods.iter().filter(|p| p.hash == of.hash).count();
    let wanted = usize::try_from(of.replicas).unwrap_or(0);
    let progress = match of.stuck {
        true => Progress::Exceeded,
        false if updated == wanted && ready >= wanted => Progress::Done,
        false => Progress::Rolling,
    };
    let spec = pod_spec(&of.template.containers, &of.template, &config_name(of));
    manifests::Deployment {
        metadata: metadata(&of.namespace, &of.name, &of.uid.to_string(), of.created),
        set: &of.set_name(),
        generation: of.revision,
        replicas: wanted,
        pods: (updated, pods.len(), ready),
        available: (ready * 4 >= wanted * 3, None),
        progress: (progress, None),
        failure: of.replica_failure.as_deref().map(|why| (why, None)),
        template: json!({ "metadata": { "labels": { "app": &*of.name } }, "spec": spec }),
    }
    .into_json()
}

/// The Service of a workload.
pub(super) fn service(of: &Workload) -> Value {
    let port = of.template.containers.first().map_or(80, |c| c.port);
    let app = if of.service_broken {
        format!("{}-old", of.name)
    } else {
        of.name.to_string()
    };
    let uid = Uid(of.uid.0 ^ 0x5e).to_string();
    let metadata = metadata(&of.namespace, &of.name, &uid, of.created);
    manifests::service(metadata, &app, &json!(port))
}

/// The `ConfigMap` of a workload.
pub(super) fn config(of: &Workload) -> Value {
    let mut data = json!({
        "LOG_LEVEL": if of.config_revision.is_multiple_of(2) { "debug" } else { "info" },
        "application.yaml": format!("server:\n  threads: {}\n  timeout: 30s\n", 8 + of.config_revision),
    });
    // Some ConfigMaps contain secrets.
    if of.uid.0.is_multiple_of(7) {
        data["DB_PASSWORD"] = json!("hunter2-simulated");
    }
    for extra in 0..of.config_revision / 3 {
        data[format!("FEATURE_{extra}")] = json!("on");
    }
    json!({
        "metadata": metadata(&of.namespace, &config_name(of), &Uid(of.uid.0 ^ 0xc0).to_string(), of.created),
        "data": data,
    })
}

pub(super) fn namespace(name: &str, uid: Uid) -> Value {
    json!({
        "metadata": { "name": name, "uid": uid.to_string(), "labels": { "kubernetes.io/metadata.name": name } },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

/// The `ConfigMap` that Kubernetes puts into every namespace.
pub(super) fn root_ca(namespace: &str) -> Value {
    json!({
        "metadata": { "name": "kube-root-ca.crt", "namespace": namespace },
        "data": { "ca.crt": "-----BEGIN CERTIFICATE-----\nc2ltdWxhdGVk\n-----END CERTIFICATE-----\n" },
    })
}
