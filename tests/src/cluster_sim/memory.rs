//! Memory of a recorder process in a large cluster: with ConfigMaps of 100 KiB, or with objects of all default kinds.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use kube9_model::label::Kind;
use serde_json::{Value, json};

use super::live_replay::{Process, Usage, is_synced, kind_of, put, setup};
use super::{ClusterSim, Plan};
use crate::apiserver::{self, ApiServer};
use crate::generator::Rng;
use crate::recorder::wait_until;

/// Longest time for the first list.
const SYNC_TIMEOUT: Duration = Duration::from_secs(600);

/// Memory freed after the first list is returned to the system within this time.
const SETTLE_TIME: Duration = Duration::from_secs(15);

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Usage after the first list and evaluation.
    pub listed: Usage,
    /// How long that took.
    pub took: Duration,
    /// After the changes.
    pub changed: Usage,
    /// Number of changes, with Events.
    pub changes: usize,
    /// Bytes of the database after the first list.
    pub database: u64,
    /// Objects by kind of the API server.
    pub objects: [usize; apiserver::Kind::ALL.len()],
    /// Bytes of all of them as JSON.
    pub bytes: u64,
}

/// Text that compresses badly and has to be unescaped, as tables and certificates do.
fn padding(seed: u64, bytes: usize) -> String {
    let mut rng = Rng::new(seed);
    let mut text = String::with_capacity(bytes + 32);
    while text.len() < bytes {
        text.push_str(&format!(
            "{:016x},\"{:012x}\"\n",
            rng.draw(),
            rng.draw() >> 16
        ));
    }
    text.truncate(bytes);
    text
}

/// Runs `recorder` (a `kube9-recorder` binary) against a cluster of that size, with ConfigMap values of `value_bytes`,
/// and then applies `changes` changes as fast as possible.
pub fn measure(
    recorder: &Path,
    plan: Plan,
    value_bytes: usize,
    changes: usize,
) -> anyhow::Result<Memory> {
    run(
        recorder,
        plan,
        &padding(plan.seed, value_bytes),
        Vec::new(),
        changes,
    )
}

/// The same with ordinary ConfigMaps, and with objects of all other default kinds.
pub fn measure_all_kinds(recorder: &Path, plan: Plan, changes: usize) -> anyhow::Result<Memory> {
    run(
        recorder,
        plan,
        &padding(plan.seed, 2 << 10),
        other_kinds(plan.pods),
        changes,
    )
}

fn run(
    recorder: &Path,
    plan: Plan,
    padding: &str,
    others: Vec<(apiserver::Kind, Value)>,
    changes: usize,
) -> anyhow::Result<Memory> {
    let server = ApiServer::start(apiserver::Config {
        every_kind: !others.is_empty(),
        ..apiserver::Config::default()
    })?;
    let mut sim = ClusterSim::new(plan, true);
    let kinds = super::replay::KINDS;
    for kind in kinds.into_iter().filter(|kind| *kind != Kind::ConfigMap) {
        for object in sim.objects(kind) {
            put(&server, kind, object)?;
        }
    }
    for object in sim.config_maps(padding) {
        put(&server, Kind::ConfigMap, object)?;
    }
    for (kind, object) in others {
        let created = server.store().create(kind, object);
        created.map_err(|status| anyhow!("{status:?}"))?;
    }
    let all = apiserver::Kind::ALL.into_iter();
    let all = all.flat_map(|kind| server.store().all(kind));
    let (objects, bytes) = all.fold((0, 0), |(count, bytes), object| {
        (count + 1, bytes + object.json().len() as u64)
    });
    let folder = tempfile::tempdir()?;
    let setup = setup(&server, folder.path())?;
    let config = folder.path().join("recorder.yaml");
    std::fs::write(&config, &setup.yaml)?;
    let mut command = Command::new(recorder);
    command.arg("--config").arg(&config);
    let begun = Instant::now();
    let process = Process::spawn(command, &folder.path().join("recorder.log"))?;
    // Every object is stored; the change history is not part of the readiness.
    let stored = "SELECT count(*) FROM tracked_object WHERE deleted_ms IS NULL";
    while !is_synced(&setup) || setup.number(stored).unwrap_or(0) < objects {
        let log =
            || std::fs::read_to_string(folder.path().join("recorder.log")).unwrap_or_default();
        ensure!(
            begun.elapsed() < SYNC_TIMEOUT,
            "not synced: {:?} {}",
            setup.health(),
            log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    std::thread::sleep(SETTLE_TIME);
    let listed = process.used()?;
    let database = std::fs::metadata(setup.database())?.len();
    let mut done = 0;
    while let Some(delivery) = sim.next_delivery().filter(|_| done < changes) {
        let kind = kind_of(delivery.kind);
        if delivery.deleted {
            let text = |key: &str| {
                delivery.object["metadata"][key]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let deleted = server
                .store()
                .delete(kind, &text("namespace"), &text("name"));
            deleted.map_err(|status| anyhow!("{status:?}"))?;
        } else {
            put(&server, delivery.kind, delivery.object)?;
        }
        done += 1;
    }
    let seen = || {
        let metrics = setup.metrics();
        let received = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("kube9_watch_items_total"));
        received.map(|(_, value)| *value).sum::<f64>()
    };
    let mut before = -1.0;
    wait_until(|| {
        let now = seen();
        std::thread::sleep(Duration::from_secs(1));
        std::mem::replace(&mut before, now) == now
    });
    std::thread::sleep(SETTLE_TIME);
    let changed = process.used()?;
    process.stop()?;
    Ok(Memory {
        listed,
        took,
        changed,
        changes: done,
        database,
        objects: apiserver::Kind::ALL.map(|kind| server.store().count(kind)),
        bytes,
    })
}

/// Objects of the other default kinds, in the numbers that a cluster with that many pods has.
fn other_kinds(pods: usize) -> Vec<(apiserver::Kind, Value)> {
    use apiserver::Kind as K;
    let mut all = Vec::new();
    let mut add = |kind: K, count: usize, content: &dyn Fn(usize) -> Value| {
        for n in 0..count {
            let mut object = content(n);
            let name = format!("{}-{n}.example.com", kind.plural());
            object["metadata"] = json!({
                "name": name,
                "labels": { "app.kubernetes.io/name": format!("app-{n}"), "app.kubernetes.io/managed-by": "Helm" },
                "annotations": { "meta.helm.sh/release-name": format!("app-{n}"), "meta.helm.sh/release-namespace": "shop" },
                "managedFields": [{
                    "manager": "helm", "operation": "Update", "apiVersion": kind.api_version(), "fieldsType": "FieldsV1",
                    "time": "2026-03-01T06:00:00Z",
                    "fieldsV1": { "f:metadata": { "f:annotations": { ".": {}, "f:meta.helm.sh/release-name": {} },
                        "f:labels": { ".": {}, "f:app.kubernetes.io/name": {} } }, "f:spec": {} },
                }],
            });
            if kind.namespaced() {
                object["metadata"]["namespace"] = json!(format!("team-{}", n % 40));
            }
            all.push((kind, object));
        }
    };
    let template = |n: usize| {
        let env: Vec<Value> = (0..12)
            .map(|key| json!({ "name": format!("SETTING_{key}"), "value": format!("value-{n}-{key}") }))
            .collect();
        json!({
            "metadata": { "labels": { "app.kubernetes.io/name": format!("app-{n}") } },
            "spec": { "restartPolicy": "Always", "containers": [{
                "name": "app", "image": format!("registry.example.com/shop/app-{n}:v1"), "env": env,
                "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
            }] },
        })
    };
    let rules = |n: usize| {
        json!([
            { "apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": [format!("group-{n}.example.com")], "resources": ["*"], "verbs": ["*"] },
        ])
    };
    let subjects = |n: usize| json!([{ "kind": "ServiceAccount", "name": format!("app-{n}"), "namespace": "shop" }]);
    let role = |kind: &str, n: usize| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": format!("role-{n}") });
    let webhook = |n: usize| {
        json!({ "webhooks": [{
            "name": format!("hook-{n}.example.com"), "failurePolicy": "Fail", "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "name": "hook", "namespace": "shop" }, "caBundle": "QUJD".repeat(400) },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }],
        }] })
    };
    let policy = |n: usize| json!({ "spec": { "failurePolicy": "Fail", "validations": [{ "expression": format!("object.spec.replicas <= {n}") }] } });
    let properties: serde_json::Map<String, Value> = (0..400)
        .map(|n| {
            (
                format!("field{n}"),
                json!({ "type": "string", "description": "d".repeat(90) }),
            )
        })
        .collect();
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": properties } });
    let few = pods / 100;
    add(
        K::Namespace,
        40,
        &|_| json!({ "spec": { "finalizers": ["kubernetes"] } }),
    );
    add(
        K::LimitRange,
        40,
        &|n| json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": n.to_string() } }] } }),
    );
    add(K::PersistentVolumeClaim, 10 * few, &|n| {
        json!({ "spec": { "accessModes": ["ReadWriteOnce"], "volumeName": format!("pv-{n}"), "storageClassName": "fast",
            "resources": { "requests": { "storage": "10Gi" } } }, "status": { "phase": "Bound" } })
    });
    add(
        K::PersistentVolume,
        10 * few,
        &|n| json!({ "spec": { "capacity": { "storage": "10Gi" }, "csi": { "driver": "ebs.csi.aws.com", "volumeHandle": format!("vol-{n}") } } }),
    );
    add(
        K::ResourceQuota,
        40,
        &|n| json!({ "spec": { "hard": { "pods": n.to_string() } } }),
    );
    add(
        K::ServiceAccount,
        10 * few,
        &|_| json!({ "automountServiceAccountToken": false }),
    );
    add(
        K::DaemonSet,
        50,
        &|n| json!({ "spec": { "template": template(n) } }),
    );
    add(
        K::StatefulSet,
        2 * few,
        &|n| json!({ "spec": { "replicas": 3, "serviceName": "db", "template": template(n) } }),
    );
    add(
        K::CronJob,
        3 * few,
        &|n| json!({ "spec": { "schedule": "*/5 * * * *", "jobTemplate": { "spec": { "template": template(n) } } } }),
    );
    add(
        K::Job,
        20 * few,
        &|n| json!({ "spec": { "completions": 1, "template": template(n) } }),
    );
    add(
        K::HorizontalPodAutoscaler,
        3 * few,
        &|n| json!({ "spec": { "minReplicas": 2, "maxReplicas": 2 + n, "scaleTargetRef": { "kind": "Deployment", "name": format!("app-{n}") } } }),
    );
    add(
        K::PodDisruptionBudget,
        4 * few,
        &|n| json!({ "spec": { "minAvailable": n % 3 } }),
    );
    add(
        K::IngressClass,
        3,
        &|_| json!({ "spec": { "controller": "k8s.io/ingress-nginx" } }),
    );
    add(K::Ingress, 3 * few, &|n| {
        json!({ "spec": { "rules": [{ "host": format!("app-{n}.example.com"), "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "web", "port": { "number": 80 } } } }] } }] } })
    });
    add(
        K::NetworkPolicy,
        2 * few,
        &|n| json!({ "spec": { "podSelector": { "matchLabels": { "app": n.to_string() } } } }),
    );
    add(K::ClusterRole, 3 * few, &|n| json!({ "rules": rules(n) }));
    add(
        K::ClusterRoleBinding,
        3 * few,
        &|n| json!({ "roleRef": role("ClusterRole", n), "subjects": subjects(n) }),
    );
    add(K::Role, 6 * few, &|n| json!({ "rules": rules(n) }));
    add(
        K::RoleBinding,
        6 * few,
        &|n| json!({ "roleRef": role("Role", n), "subjects": subjects(n) }),
    );
    add(K::MutatingWebhookConfiguration, 10, &webhook);
    add(K::ValidatingWebhookConfiguration, 20, &webhook);
    add(K::MutatingAdmissionPolicy, 5, &policy);
    add(K::ValidatingAdmissionPolicy, 10, &policy);
    add(
        K::ValidatingAdmissionPolicyBinding,
        10,
        &|n| json!({ "spec": { "policyName": format!("policy-{n}") } }),
    );
    add(
        K::CsiDriver,
        4,
        &|_| json!({ "spec": { "attachRequired": true } }),
    );
    add(
        K::StorageClass,
        6,
        &|_| json!({ "provisioner": "ebs.csi.aws.com", "parameters": { "type": "gp3" } }),
    );
    add(K::PriorityClass, 10, &|n| json!({ "value": n }));
    add(K::RuntimeClass, 3, &|_| json!({ "handler": "runc" }));
    add(K::CustomResourceDefinition, 150, &|n| {
        json!({ "spec": { "group": "example.com", "scope": "Namespaced", "names": { "plural": format!("things{n}"), "kind": "Thing" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }] } })
    });
    add(
        K::ApiService,
        60,
        &|_| json!({ "spec": { "group": "example.com", "version": "v1", "versionPriority": 15 } }),
    );
    all
}
