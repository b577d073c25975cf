//! API objects of both simulated clusters; `generator` and `cluster_sim` fill in their state.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Micros;

/// Grace period of a pod's deletion.
const GRACE: Duration = Duration::from_secs(30);

/// Phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers ran yet.
    Pending,
    Running,
    /// All containers succeeded.
    Succeeded,
    /// Failed, or evicted.
    Failed,
}

impl Phase {
    /// `status.phase`.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// A time of the API: whole seconds.
pub(crate) fn time(at: Micros) -> Value {
    json!(at.seconds_text().as_str())
}

/// `metadata`; `namespace` is empty for kinds without one.
pub(crate) fn metadata(namespace: &str, name: &str, uid: &str, created: Micros) -> Value {
    let mut metadata = json!({ "name": name, "uid": uid, "creationTimestamp": time(created) });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

/// `True` or `False`.
pub(crate) const fn status(is: bool) -> &'static str {
    if is { "True" } else { "False" }
}

pub(crate) fn condition(
    kind: &str,
    status: &str,
    since: Option<Micros>,
    reason: &str,
    message: &str,
) -> Value {
    let mut condition =
        json!({ "type": kind, "status": status, "reason": reason, "message": message });
    if let Some(since) = since {
        condition["lastTransitionTime"] = time(since);
    }
    condition
}

/// A Node, as its kubelet and the node controller report it.
pub(crate) struct Node<'a> {
    pub(crate) metadata: Value,
    pub(crate) heartbeat: Micros,
    /// Whether the kubelet reports, and since when.
    pub(crate) ready: (bool, Micros),
    pub(crate) memory_pressure: (bool, Micros),
    pub(crate) disk_pressure: (bool, Micros),
    /// What a problem detector reports.
    pub(crate) problem: Option<(&'a str, Micros)>,
    pub(crate) cordoned: bool,
    pub(crate) boot: &'a str,
    pub(crate) kubelet: &'a str,
    /// CPU, memory, storage and pods.
    pub(crate) amounts: [&'a str; 4],
}

impl Node<'_> {
    pub(crate) fn into_json(mut self) -> Value {
        let mut conditions = Vec::new();
        for (what, (short, since)) in [
            ("Memory", self.memory_pressure),
            ("Disk", self.disk_pressure),
            ("PID", (false, self.disk_pressure.1)),
        ] {
            let word = match (what, short) {
                ("Disk", true) => "DiskPressure".to_owned(),
                ("Disk", false) => "NoDiskPressure".to_owned(),
                (_, true) => format!("Insufficient{what}"),
                (_, false) => format!("Sufficient{what}"),
            };
            let (kind, reason) = (format!("{what}Pressure"), format!("KubeletHas{word}"));
            let (word, since) = (status(short), Some(since));
            conditions.push(condition(&kind, word, since, &reason, "kubelet reports"));
        }
        let (reports, since) = self.ready;
        let (word, reason, message) = if reports {
            ("True", "KubeletReady", "kubelet is posting ready status")
        } else {
            (
                "Unknown",
                "NodeStatusUnknown",
                "Kubelet stopped posting node status.",
            )
        };
        conditions.push(condition("Ready", word, Some(since), reason, message));
        if let Some((kind, since)) = self.problem {
            let message = "kernel: INFO: task docker:20744 blocked for more than 120 seconds.";
            conditions.push(condition(kind, "True", Some(since), kind, message));
        }
        for one in &mut conditions {
            one["lastHeartbeatTime"] = time(self.heartbeat);
        }
        let name = self.metadata["name"].clone();
        self.metadata["labels"] = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "topology.kubernetes.io/zone": "eu-central-1a", "node.kubernetes.io/instance-type": "m7i.2xlarge",
        });
        let id = name.as_str().unwrap_or_default();
        let mut spec = json!({ "providerID": format!("aws:///eu-central-1a/{id}") });
        let taint =
            |key, effect| json!({ "key": format!("node.kubernetes.io/{key}"), "effect": effect });
        let mut taints = Vec::new();
        if self.cordoned {
            spec["unschedulable"] = json!(true);
            taints.push(taint("unschedulable", "NoSchedule"));
        }
        if !reports {
            taints.push(taint("unreachable", "NoExecute"));
        }
        if !taints.is_empty() {
            spec["taints"] = json!(taints);
        }
        let [cpu, memory, disk, pods] = self.amounts;
        let amounts =
            json!({ "cpu": cpu, "memory": memory, "ephemeral-storage": disk, "pods": pods });
        json!({
            "metadata": self.metadata, "spec": spec,
            "status": {
                "capacity": amounts, "allocatable": amounts, "conditions": conditions,
                "addresses": [{ "type": "Hostname", "address": name }],
                "nodeInfo": {
                    "bootID": self.boot, "kubeletVersion": self.kubelet, "kubeProxyVersion": "",
                    "osImage": "Bottlerocket OS 1.44.0", "containerRuntimeVersion": "containerd://2.1.4",
                    "kernelVersion": "6.12.40", "operatingSystem": "linux", "architecture": "amd64", "machineID": "",
                    "systemUUID": "",
                },
            },
        })
    }
}

/// `metadata` of a pod. `owner`: API version, kind, name and uid; `hash`: of its ReplicaSet, else empty.
pub(crate) fn pod_metadata(
    mut metadata: Value,
    app: &str,
    hash: &str,
    (version, kind, set, uid): (&str, &str, &str, &str),
    deleting: Option<Micros>,
) -> Value {
    metadata["generateName"] = json!(format!("{set}-"));
    metadata["labels"] = json!({ "app": app });
    if !hash.is_empty() {
        metadata["labels"]["pod-template-hash"] = json!(hash);
    }
    metadata["ownerReferences"] = json!([{
        "apiVersion": version, "kind": kind, "name": set, "uid": uid, "controller": true, "blockOwnerDeletion": true,
    }]);
    if let Some(at) = deleting {
        metadata["deletionTimestamp"] = time(at + GRACE);
        metadata["deletionGracePeriodSeconds"] = json!(GRACE.as_secs());
    }
    metadata
}

/// State of a waiting container.
pub(crate) fn waiting(reason: &str, message: &str) -> Value {
    let mut state = json!({ "waiting": { "reason": reason } });
    if !message.is_empty() {
        state["waiting"]["message"] = json!(message);
    }
    state
}

/// State of a running container.
pub(crate) fn running(since: Micros) -> Value {
    json!({ "running": { "startedAt": time(since) } })
}

/// State of a terminated container.
pub(crate) fn terminated(code: i64, reason: &str, started: Micros, at: Micros) -> Value {
    json!({ "terminated": {
        "exitCode": code, "reason": reason, "startedAt": time(started), "finishedAt": time(at),
    } })
}

/// Progress of a Deployment's rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Rolling,
    Exceeded,
}

/// A Deployment, as its controller reports it.
pub(crate) struct Deployment<'a> {
    pub(crate) metadata: Value,
    /// The name of the newest ReplicaSet.
    pub(crate) set: &'a str,
    pub(crate) generation: u64,
    pub(crate) replicas: usize,
    /// Pods: of the newest template, all, ready.
    pub(crate) pods: (usize, usize, usize),
    pub(crate) available: (bool, Option<Micros>),
    pub(crate) progress: (Progress, Option<Micros>),
    /// Why its pods are refused.
    pub(crate) failure: Option<(&'a str, Option<Micros>)>,
    pub(crate) template: Value,
}

impl Deployment<'_> {
    pub(crate) fn into_json(mut self) -> Value {
        let (available, since) = self.available;
        let word = if available {
            "Available"
        } else {
            "Unavailable"
        };
        let reason = format!("MinimumReplicas{word}");
        let available = condition("Available", status(available), since, &reason, "");
        let mut conditions = vec![available];
        let (progress, since) = self.progress;
        let (reason, what) = match progress {
            Progress::Done => ("NewReplicaSetAvailable", "has successfully progressed"),
            Progress::Rolling => ("ReplicaSetUpdated", "is progressing"),
            Progress::Exceeded => ("ProgressDeadlineExceeded", "has timed out progressing"),
        };
        let what = format!("ReplicaSet \"{}\" {what}.", self.set);
        let word = status(progress != Progress::Exceeded);
        conditions.push(condition("Progressing", word, since, reason, &what));
        if let Some((why, since)) = self.failure {
            let failure = condition("ReplicaFailure", "True", since, "FailedCreate", why);
            conditions.push(failure);
        }
        let labels = json!({ "app": self.metadata["name"] });
        self.metadata["generation"] = json!(self.generation);
        self.metadata["labels"] = labels.clone();
        let revision = self.generation.to_string();
        self.metadata["annotations"] = json!({ "deployment.kubernetes.io/revision": revision });
        let (updated, all, ready) = self.pods;
        json!({
            "metadata": self.metadata,
            "spec": {
                "replicas": self.replicas, "selector": { "matchLabels": labels }, "template": self.template,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
                "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            },
            "status": {
                "observedGeneration": self.generation, "replicas": all, "updatedReplicas": updated,
                "readyReplicas": ready, "availableReplicas": ready,
                "unavailableReplicas": self.replicas.saturating_sub(ready), "conditions": conditions,
            },
        })
    }
}

/// A Service that selects the pods of that app.
pub(crate) fn service(metadata: Value, app: &str, target: &Value) -> Value {
    json!({
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.7.7", "selector": { "app": app },
            "ports": [{ "name": "http", "protocol": "TCP", "port": 80, "targetPort": target }],
        },
        "status": { "loadBalancer": {} },
    })
}

/// The Service `default/kubernetes`: it has no selector and no pods.
pub(crate) fn kubernetes_service(uid: &str) -> Value {
    json!({
        "metadata": { "name": "kubernetes", "namespace": "default", "uid": uid },
        "spec": {
            "type": "ClusterIP", "clusterIP": "10.96.0.1",
            "ports": [{ "name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443 }],
        },
        "status": { "loadBalancer": {} },
    })
}
