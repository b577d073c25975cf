//! The change history: bytes of a revision, CPU of a write, time to rebuild an old state, memory in a large cluster.
//!
//! ```text
//!   object ── objects with managedFields, edited as clients do
//!   path   ── a line of a watch ─▶ decode, hash, queue, transaction
//!     ├─ storage  realistic edits of 60 objects: bytes by table
//!     ├─ cost     CPU of a write by size of the batch: a changed field, a changed status
//!     ├─ ask      whole processes on a record of 200,000 revisions
//!     └─ rebuild  the oldest of 64 states of an object of 64 KiB
//!   cluster_sim::memory ── a recorder process with all default kinds
//! ```

mod ask;
mod cost;
pub mod object;
pub mod path;
mod rebuild;
mod storage;

use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};

use super::report::{Limit, Report};
use crate::clock::Micros;
use crate::cluster_sim::{Plan, memory};
use crate::generator::Rng;
use object::{ApiObject, Writer};

pub use ask::run as ask;
pub use cost::play;

/// Name of the hidden subcommand that plays writes, for a profiler.
pub const SUBCOMMAND: &str = "play-writes";

/// When the runs begin: a fixed time, so that every run is the same.
pub(crate) const BEGIN: Micros = Micros::from_secs(1_795_000_000);

/// When the objects were created: before each write of a bench.
pub(crate) const CREATED: Micros = Micros::from_secs(1_792_400_000);

/// Limit of the recorder's memory with all default kinds, in MB.
const MEMORY_MAX: f64 = 100.0;

/// Time for the lists of all kinds, in seconds.
const LIST_SECONDS_MAX: f64 = 10.0;

/// Changes after the first list of the large cluster.
const CHANGES: usize = 30_000;

pub(crate) const KUBECTL: Writer = Writer("kubectl-client-side-apply", "");
pub(crate) const SCALE: Writer = Writer("kubectl", "scale");
pub(crate) const CONTROLLER: Writer = Writer("kube-controller-manager", "status");

/// A Deployment of about 4 KB with its managedFields.
pub(crate) fn deployment(namespace: &str, name: &str, rng: &mut Rng) -> ApiObject {
    let env: Vec<Value> = [
        "LOG_LEVEL",
        "REGION",
        "CACHE_URL",
        "QUEUE_URL",
        "FEATURE_FLAGS",
        "WORKERS",
    ]
    .iter()
    .map(|key| json!({ "name": key, "value": format!("{key}-of-{name}") }))
    .collect();
    let probe = |path: &str, period: u32| {
        json!({ "httpGet": { "path": path, "port": "http", "scheme": "HTTP" }, "periodSeconds": period,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3 })
    };
    let labels = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop", "team": "checkout" });
    let content = json!({
        "metadata": {
            "labels": labels,
            "annotations": { "deployment.kubernetes.io/revision": "1", "example.com/owner": "checkout@example.com" },
        },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app.kubernetes.io/name": name } },
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [{
                        "name": "app", "image": format!("registry.example.com/shop/{name}:v1"),
                        "imagePullPolicy": "IfNotPresent", "env": env,
                        "ports": [{ "name": "http", "containerPort": 8080, "protocol": "TCP" }],
                        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "512Mi" } },
                        "livenessProbe": probe("/live", 10), "readinessProbe": probe("/ready", 5),
                        "volumeMounts": [{ "name": "config", "mountPath": "/etc/app" }],
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                    "volumes": [{ "name": "config", "configMap": { "name": format!("{name}-config"), "defaultMode": 420 } }],
                    "serviceAccountName": "app", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                    "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "default-scheduler",
                },
            },
        },
    });
    let id = (namespace, name);
    let mut object = ApiObject::new(
        ("apps/v1", "Deployment"),
        id,
        content,
        KUBECTL,
        CREATED,
        rng,
    );
    let condition = |kind: &str, reason: &str| {
        json!({ "type": kind, "status": "True", "reason": reason, "message": format!("ReplicaSet of {name} is fine."),
                "lastUpdateTime": CREATED.seconds_text().as_str(), "lastTransitionTime": CREATED.seconds_text().as_str() })
    };
    let status = json!({
        "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "conditions": [condition("Available", "MinimumReplicasAvailable"), condition("Progressing", "NewReplicaSetAvailable")],
    });
    object.edit(CONTROLLER, CREATED, &["status"], Some(status));
    object
}

/// A ConfigMap of some keys.
pub(crate) fn config_map(namespace: &str, name: &str, rng: &mut Rng) -> ApiObject {
    let content = json!({
        "metadata": { "labels": { "app.kubernetes.io/name": name } },
        "data": { "LOG_LEVEL": "info", "WORKERS": "8", "TIMEOUT": "30s", "application.yaml": "server:\n  threads: 8\n" },
    });
    let id = (namespace, name);
    ApiObject::new(("v1", "ConfigMap"), id, content, KUBECTL, CREATED, rng)
}

/// Measures all of it; `recorder` is the program for the large cluster.
pub fn run(seed: u64, recorder: &Path, plan: Plan, report: &mut Report) -> anyhow::Result<()> {
    storage::run(seed, report)?;
    cost::run(seed, report)?;
    rebuild::run(seed, report)?;
    large_cluster(recorder, plan, report)
}

fn large_cluster(recorder: &Path, plan: Plan, report: &mut Report) -> anyhow::Result<()> {
    let memory = memory::measure_all_kinds(recorder, plan, CHANGES)?;
    let count = |kind: crate::apiserver::Kind| memory.objects[kind as usize];
    report.group(format!(
        "changes: memory of a recorder process, {} objects of {} kinds, {} of them Pods",
        memory.objects.iter().sum::<usize>(),
        memory.objects.iter().filter(|count| **count > 0).count(),
        count(crate::apiserver::Kind::Pod),
    ));
    let mb = |bytes: u64| bytes as f64 / 1e6;
    report.add("all objects as JSON", mb(memory.bytes), "MB", Limit::None);
    report.add(
        "all kinds listed and stored within",
        memory.took.as_secs_f64(),
        "s",
        Limit::AtMost(LIST_SECONDS_MAX),
    );
    report.add(
        "CPU of that",
        memory.listed.cpu.as_secs_f64(),
        "s",
        Limit::None,
    );
    report.add(
        "database after the lists",
        mb(memory.database),
        "MB",
        Limit::None,
    );
    for (name, bytes, limit) in [
        ("peak, first list", memory.listed.peak, MEMORY_MAX),
        ("resident, after it", memory.listed.resident, MEMORY_MAX),
        ("peak, with changes", memory.changed.peak, MEMORY_MAX),
        ("resident, after them", memory.changed.resident, MEMORY_MAX),
    ] {
        report.add(name, mb(bytes), "MB", Limit::AtMost(limit));
    }
    report.add(
        "changes at full speed",
        memory.changes as f64,
        "",
        Limit::None,
    );
    let cpu = memory.changed.cpu.saturating_sub(memory.listed.cpu);
    report.add(
        "CPU of a change, all threads",
        cpu.as_secs_f64() * 1e6 / memory.changes.max(1) as f64,
        "µs",
        Limit::None,
    );
    ensure!(
        mb(memory.changed.peak) <= MEMORY_MAX,
        "memory is above the limit"
    );
    Ok(())
}
