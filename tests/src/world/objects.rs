//! How the cluster's objects look in the API.

use serde_json::{Map, Value, json};

use super::cluster::{Cluster, Container, Node, Owner, Phase, Pod, Runs, Template, Workload};
use super::event::Uid;
use super::names::uuid_text;
use crate::clock::Micros;

fn time(at: Micros) -> Value {
    json!(at.seconds_text().as_str())
}

/// A Node.
pub(super) fn node(node: &Node) -> Value {
    let state = node.state;
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": status, "lastHeartbeatTime": time(state.since),
            "lastTransitionTime": time(state.since), "reason": reason, "message": message,
        })
    };
    let pressure = |kind: &str, short: bool, good: &str, bad: &str| {
        condition(
            kind,
            if short { "True" } else { "False" },
            if short { bad } else { good },
            "kubelet reports",
        )
    };
    let problem = state.problem.map(|kind| {
        condition(
            kind,
            "True",
            kind,
            "kernel: INFO: task docker:20744 blocked for more than 120 seconds.",
        )
    });
    let ready = if state.not_ready {
        condition(
            "Ready",
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        )
    } else {
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        )
    };
    let mut conditions = vec![
        pressure(
            "MemoryPressure",
            state.memory_pressure,
            "KubeletHasSufficientMemory",
            "KubeletHasInsufficientMemory",
        ),
        pressure(
            "DiskPressure",
            state.disk_pressure,
            "KubeletHasNoDiskPressure",
            "KubeletHasDiskPressure",
        ),
        pressure(
            "PIDPressure",
            false,
            "KubeletHasSufficientPID",
            "KubeletHasInsufficientPID",
        ),
        ready,
    ];
    conditions.extend(problem);
    let mut spec = json!({ "podCIDR": format!("10.64.{}.0/24", node.subnet % 256), "providerID": format!("aws:///eu-central-1a/{}", node.name) });
    let mut taints = Vec::new();
    if state.cordoned {
        spec["unschedulable"] = json!(true);
        taints.push(json!({ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }));
    }
    if state.not_ready {
        taints.push(json!({ "key": "node.kubernetes.io/unreachable", "effect": "NoExecute" }));
    }
    if !taints.is_empty() {
        spec["taints"] = json!(taints);
    }
    let amounts =
        json!({ "cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110" });
    json!({
        "metadata": {
            "name": &*node.name, "uid": node.uid.to_string(), "creationTimestamp": time(node.created),
            "labels": {
                "kubernetes.io/hostname": &*node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": "eu-central-1a", "node.kubernetes.io/instance-type": "m7i.2xlarge",
            },
        },
        "spec": spec,
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": conditions,
            "addresses": [{ "type": "Hostname", "address": &*node.name }],
            "nodeInfo": {
                "bootID": uuid_text(u128::from(node.boots) << 32 | node.uid.0 >> 96),
                "kubeletVersion": node.kubelet, "kubeProxyVersion": "", "osImage": "Bottlerocket OS 1.44.0",
                "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12.40",
                "operatingSystem": "linux", "architecture": "amd64", "machineID": "", "systemUUID": "",
            },
        },
    })
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
    let risks = template.risks;
    if risks.host {
        spec["hostNetwork"] = json!(true);
        volumes.push(json!({ "name": "host", "hostPath": { "path": "/var/log", "type": "" } }));
        mounts.push(json!({ "name": "host", "mountPath": "/host/log", "readOnly": true }));
    }
    let first = &mut spec["containers"][0];
    if risks.privileged {
        first["securityContext"] = json!({ "privileged": true });
    } else if risks.root {
        first["securityContext"] =
            json!({ "runAsUser": 0, "capabilities": { "add": ["NET_ADMIN"] } });
    }
    if risks.literal_secret {
        first["env"] = json!([{ "name": "API_KEY", "value": "simulated-4f9c2a7be1d0" }]);
    }
    first["volumeMounts"] = json!(mounts);
    spec["volumes"] = json!(volumes);
    spec
}

fn config_name(workload: &Workload) -> String {
    format!("{}-config", workload.name)
}

/// A Pod.
pub(super) fn pod(cluster: &Cluster, pod: &Pod) -> Value {
    let (owner, app, template, config) = match pod.owner {
        Owner::Workload(w) => {
            let of = &cluster.workloads[w];
            let kind = match of.runs {
                Runs::Deployment => ("apps/v1", "ReplicaSet"),
                Runs::StatefulSet => ("apps/v1", "StatefulSet"),
                Runs::DaemonSet => ("apps/v1", "DaemonSet"),
            };
            (kind, &of.name, &of.template, config_name(of))
        }
        Owner::Cron(c) => {
            let of = &cluster.crons[c];
            (("batch/v1", "Job"), &of.name, &of.template, String::new())
        }
    };
    let mut labels = json!({ "app": &**app });
    if !pod.hash.is_empty() {
        labels["pod-template-hash"] = json!(&*pod.hash);
    }
    let mut metadata = json!({
        "name": &*pod.name, "generateName": format!("{}-", pod.set_name), "namespace": &*pod.namespace,
        "uid": pod.uid.to_string(), "creationTimestamp": time(pod.created), "labels": labels,
        "ownerReferences": [{
            "apiVersion": owner.0, "kind": owner.1, "name": &*pod.set_name, "uid": pod.set_uid.to_string(),
            "controller": true, "blockOwnerDeletion": true,
        }],
        "managedFields": [{
            "manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": time(pod.started),
            "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": { "f:status": { "f:conditions": { "k:{\"type\":\"ContainersReady\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} }, "k:{\"type\":\"Initialized\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} }, "k:{\"type\":\"Ready\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} } }, "f:containerStatuses": {}, "f:hostIP": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": { ".": {} }, "f:startTime": {} } },
        }],
    });
    if let Some(at) = pod.deleting {
        metadata["deletionTimestamp"] = time(at + std::time::Duration::from_secs(30));
        metadata["deletionGracePeriodSeconds"] = json!(30);
    }
    if pod.clings {
        metadata["finalizers"] = json!(["example.com/unmount"]);
    }
    let mut spec = pod_spec(&pod.containers, template, &config);
    // What admission adds to every pod.
    let token = format!("kube-api-access-{}", &pod.uid.to_string()[..5]);
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
    let ready = if pod.ready { "True" } else { "False" };
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
    let mut scheduled = condition(
        "PodScheduled",
        if pod.node.is_some() { "True" } else { "False" },
    );
    if let Some(why) = &pod.unschedulable {
        scheduled["reason"] = json!("Unschedulable");
        scheduled["message"] = json!(&**why);
    }
    let mut status = json!({
        "phase": match pod.phase {
            Phase::Pending => "Pending",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
        },
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
            json!({ "terminated": {
                "exitCode": ended.code, "reason": ended.reason, "startedAt": time(pod.started),
                "finishedAt": time(ended.at), "containerID": id(n),
            } })
        })
    };
    let running = json!({ "running": { "startedAt": time(pod.started) } });
    let over = matches!(pod.phase, Phase::Succeeded | Phase::Failed);
    let state = match (&pod.waiting, first) {
        (Some((reason, message)), true) => {
            json!({ "waiting": { "reason": reason, "message": &**message } })
        }
        _ if over => terminated(pod.restarts).unwrap_or_else(|| running.clone()),
        _ if pod.phase == Phase::Pending => json!({ "waiting": { "reason": "ContainerCreating" } }),
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

/// A Deployment.
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
    let available = ready * 4 >= wanted * 3;
    let done = updated == wanted && ready >= wanted;
    let progressing = if of.stuck {
        json!({
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": format!("ReplicaSet \"{}\" has timed out progressing.", of.set_name()),
        })
    } else {
        let (reason, what) = if done {
            ("NewReplicaSetAvailable", "has successfully progressed")
        } else {
            ("ReplicaSetUpdated", "is progressing")
        };
        json!({
            "type": "Progressing", "status": "True", "reason": reason,
            "message": format!("ReplicaSet \"{}\" {what}.", of.set_name()),
        })
    };
    let (word, reason) = if available {
        ("True", "MinimumReplicasAvailable")
    } else {
        ("False", "MinimumReplicasUnavailable")
    };
    let mut conditions = vec![
        json!({ "type": "Available", "status": word, "reason": reason, "message": "" }),
        progressing,
    ];
    if let Some(why) = &of.replica_failure {
        conditions.push(json!({
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": &**why,
        }));
    }
    let labels = json!({ "app": &*of.name });
    let spec = pod_spec(&of.template.containers, &of.template, &config_name(of));
    let mut deployment = json!({
        "metadata": {
            "name": &*of.name, "namespace": &*of.namespace, "uid": of.uid.to_string(),
            "generation": of.revision, "creationTimestamp": time(of.created), "labels": labels,
            "annotations": { "deployment.kubernetes.io/revision": of.revision.to_string() },
        },
        "spec": {
            "replicas": of.replicas, "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        },
        "status": {
            "observedGeneration": of.revision, "replicas": pods.len(), "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": ready,
            "unavailableReplicas": wanted.saturating_sub(ready),
            "conditions": conditions,
        },
    });
    if of.paused {
        deployment["spec"]["paused"] = json!(true);
    }
    deployment
}

/// The Service of a workload.
pub(super) fn service(of: &Workload) -> Value {
    let port = of.template.containers.first().map_or(80, |c| c.port);
    let app = if of.service_broken {
        format!("{}-old", of.name)
    } else {
        of.name.to_string()
    };
    json!({
        "metadata": {
            "name": &*of.name, "namespace": &*of.namespace, "uid": Uid(of.uid.0 ^ 0x5e).to_string(),
            "creationTimestamp": time(of.created),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.7.7", "selector": { "app": app },
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": port }],
        },
        "status": { "loadBalancer": {} },
    })
}

/// The `ConfigMap` of a workload.
pub(super) fn config(of: &Workload) -> Value {
    let mut data = json!({
        "LOG_LEVEL": if of.config_revision.is_multiple_of(2) { "debug" } else { "info" },
        "application.yaml": format!("server:\n  threads: {}\n  timeout: 30s\n", 8 + of.config_revision),
    });
    // Some people keep what they should not in ConfigMaps.
    if of.uid.0.is_multiple_of(7) {
        data["DB_PASSWORD"] = json!("hunter2-simulated");
    }
    for extra in 0..of.config_revision / 3 {
        data[format!("FEATURE_{extra}")] = json!("on");
    }
    json!({
        "metadata": {
            "name": config_name(of), "namespace": &*of.namespace,
            "uid": Uid(of.uid.0 ^ 0xc0).to_string(), "creationTimestamp": time(of.created),
        },
        "data": data,
    })
}

/// A Namespace.
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

/// The Service `default/kubernetes`: it has no selector and no pods.
pub(super) fn kubernetes_service(uid: Uid) -> Value {
    json!({
        "metadata": { "name": "kubernetes", "namespace": "default", "uid": uid.to_string() },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.1",
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443 }],
        },
        "status": { "loadBalancer": {} },
    })
}
