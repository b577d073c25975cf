//! A Pod as the API server sends it, trimmed while it is decoded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kube9_ingest::sensitive_key::{Secrecy, secrecy};
use kube9_shared::time::Timestamp;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Container, ContainerState, Phase, Pod, PodSpec, Port, Terminated};
use crate::source::objects::lenient::lenient;
use crate::source::objects::meta::{Condition, Meta, shortened};
use crate::source::objects::quantity::thousandths;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "lenient")]
    spec: WireSpec,
    #[serde(deserialize_with = "lenient")]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    node_name: Option<Box<str>>,
    #[serde(deserialize_with = "lenient")]
    containers: Vec<WireContainer>,
    #[serde(deserialize_with = "lenient")]
    init_containers: Vec<WireContainer>,
    #[serde(deserialize_with = "lenient")]
    volumes: Vec<WireVolume>,
    #[serde(deserialize_with = "lenient")]
    host_network: bool,
    #[serde(rename = "hostPID", deserialize_with = "lenient")]
    host_pid: bool,
    #[serde(rename = "hostIPC", deserialize_with = "lenient")]
    host_ipc: bool,
    #[serde(deserialize_with = "lenient")]
    service_account_name: Box<str>,
    automount_service_account_token: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    security_context: WireSecurity,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireContainer {
    name: Box<str>,
    #[serde(deserialize_with = "lenient")]
    image: Box<str>,
    #[serde(deserialize_with = "lenient")]
    ports: Vec<Port>,
    #[serde(deserialize_with = "lenient")]
    resources: WireResources,
    readiness_probe: Option<IgnoredAny>,
    liveness_probe: Option<IgnoredAny>,
    #[serde(deserialize_with = "lenient")]
    security_context: WireSecurity,
    #[serde(deserialize_with = "lenient")]
    env: Vec<WireEnv>,
    #[serde(deserialize_with = "lenient")]
    env_from: Vec<WireEnvFrom>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireResources {
    #[serde(deserialize_with = "lenient")]
    requests: BTreeMap<String, Quantity>,
    #[serde(deserialize_with = "lenient")]
    limits: BTreeMap<String, Quantity>,
}

/// A quantity: mostly a text, but `cpu: 1` arrives as a number from some servers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Text(String),
    Number(f64),
}

impl Quantity {
    fn thousandths(&self) -> Option<i64> {
        match self {
            Self::Text(text) => thousandths(text),
            Self::Number(number) => Some((number * 1000.0) as i64),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSecurity {
    privileged: Option<bool>,
    run_as_user: Option<i64>,
    run_as_non_root: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    capabilities: WireCapabilities,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCapabilities {
    #[serde(deserialize_with = "lenient")]
    add: Vec<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireEnv {
    name: Box<str>,
    #[serde(deserialize_with = "lenient")]
    value: Literal,
    #[serde(deserialize_with = "lenient")]
    value_from: WireEnvSource,
}

/// Whether a variable has a literal value; the value itself is not kept.
#[derive(Default)]
struct Literal(bool);

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl Visitor<'_> for Look {
            type Value = Literal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Literal, E> {
                Ok(Literal(!value.is_empty()))
            }
        }
        deserializer.deserialize_str(Look)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireEnvSource {
    config_map_key_ref: Option<WireReference>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireEnvFrom {
    config_map_ref: Option<WireReference>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireReference {
    #[serde(deserialize_with = "lenient")]
    name: Box<str>,
    optional: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireVolume {
    host_path: Option<WireHostPath>,
    config_map: Option<WireReference>,
    projected: Option<WireProjected>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireHostPath {
    path: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireProjected {
    #[serde(deserialize_with = "lenient")]
    sources: Vec<WireProjectedSource>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireProjectedSource {
    config_map: Option<WireReference>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    #[serde(deserialize_with = "lenient")]
    phase: Box<str>,
    #[serde(deserialize_with = "lenient")]
    reason: Box<str>,
    #[serde(deserialize_with = "lenient")]
    message: Box<str>,
    #[serde(deserialize_with = "lenient")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "lenient")]
    init_container_statuses: Vec<WireContainerStatus>,
    #[serde(deserialize_with = "lenient")]
    container_statuses: Vec<WireContainerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireContainerStatus {
    name: Box<str>,
    #[serde(deserialize_with = "lenient")]
    ready: bool,
    #[serde(deserialize_with = "lenient")]
    restart_count: i64,
    #[serde(deserialize_with = "lenient")]
    state: WireState,
    #[serde(deserialize_with = "lenient")]
    last_state: WireState,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireState {
    waiting: Option<WireWaiting>,
    running: Option<WireRunning>,
    terminated: Option<WireTerminated>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireWaiting {
    #[serde(deserialize_with = "lenient")]
    reason: Box<str>,
    #[serde(deserialize_with = "lenient")]
    message: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireRunning {
    started_at: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireTerminated {
    #[serde(deserialize_with = "lenient")]
    reason: Box<str>,
    #[serde(deserialize_with = "lenient")]
    exit_code: i64,
    started_at: Option<String>,
    finished_at: Option<String>,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut wire = Wire::deserialize(deserializer)?;
        let node = wire.spec.node_name.take().filter(|name| !name.is_empty());
        let status = wire.status;
        let states = status
            .init_container_statuses
            .into_iter()
            .chain(status.container_statuses);
        Ok(Self {
            meta: wire.metadata,
            spec: Arc::new(spec(wire.spec)),
            node,
            phase: match &*status.phase {
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                _ => Phase::Pending,
            },
            reason: status.reason,
            message: shortened(status.message),
            conditions: status.conditions,
            containers: states.map(state).collect(),
        })
    }
}

fn state(wire: WireContainerStatus) -> ContainerState {
    let waiting = wire.state.waiting.unwrap_or_default();
    let running = wire.state.running;
    ContainerState {
        name: wire.name,
        ready: wire.ready,
        restarts: wire.restart_count,
        running: running.map(|r| r.started_at.as_deref().map_or(Timestamp::EPOCH, time)),
        waiting: waiting.reason,
        waiting_message: shortened(waiting.message),
        terminated: wire.state.terminated.map(terminated),
        last: wire.last_state.terminated.map(terminated),
    }
}

fn terminated(wire: WireTerminated) -> Terminated {
    Terminated {
        reason: wire.reason,
        exit_code: wire.exit_code,
        started: wire.started_at.as_deref().map_or(Timestamp::EPOCH, time),
        at: wire.finished_at.as_deref().map_or(Timestamp::EPOCH, time),
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or(Timestamp::EPOCH)
}

fn spec(wire: WireSpec) -> PodSpec {
    let mut spec = PodSpec {
        host_namespaces: [
            (wire.host_network, "hostNetwork"),
            (wire.host_pid, "hostPID"),
            (wire.host_ipc, "hostIPC"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect(),
        service_account: wire.service_account_name,
        mounts_token: wire.automount_service_account_token != Some(false),
        non_root: wire.security_context.run_as_non_root == Some(true)
            || wire
                .security_context
                .run_as_user
                .is_some_and(|user| user != 0),
        ..PodSpec::default()
    };
    for volume in wire.volumes {
        spec.host_paths
            .extend(volume.host_path.map(|path| path.path));
        let projected = volume.projected.unwrap_or_default().sources;
        let references = projected.into_iter().filter_map(|source| source.config_map);
        for reference in references.chain(volume.config_map) {
            spec.refer(reference);
        }
    }
    let pod_root = wire.security_context.run_as_user == Some(0);
    let init = wire
        .init_containers
        .into_iter()
        .map(|container| (container, true));
    for (container, init) in wire.containers.into_iter().map(|c| (c, false)).chain(init) {
        let one = spec.container(container, init, pod_root);
        spec.containers.push(one);
    }
    spec
}

impl PodSpec {
    fn refer(&mut self, reference: WireReference) {
        // Every namespace has this one, and every pod mounts it.
        if reference.name.is_empty() || &*reference.name == "kube-root-ca.crt" {
            return;
        }
        if reference.optional == Some(true) {
            self.optional_config_maps.insert(reference.name);
        } else {
            self.config_maps.insert(reference.name);
        }
    }

    fn container(&mut self, wire: WireContainer, init: bool, pod_root: bool) -> Container {
        let mut secret_env = Vec::new();
        for variable in wire.env {
            if variable.value.0 && secrecy(&variable.name) >= Secrecy::Likely {
                secret_env.push(variable.name);
            }
            if let Some(reference) = variable.value_from.config_map_key_ref {
                self.refer(reference);
            }
        }
        for source in wire.env_from {
            if let Some(reference) = source.config_map_ref {
                self.refer(reference);
            }
        }
        let (requests, limits) = (&wire.resources.requests, &wire.resources.limits);
        let security = wire.security_context;
        Container {
            name: wire.name,
            image: wire.image,
            init,
            ports: wire.ports,
            cpu_request: requests.get("cpu").and_then(Quantity::thousandths),
            memory_request: requests.get("memory").and_then(Quantity::thousandths),
            memory_limit: limits.get("memory").and_then(Quantity::thousandths),
            readiness_probe: wire.readiness_probe.is_some(),
            liveness_probe: wire.liveness_probe.is_some(),
            privileged: security.privileged == Some(true),
            root: security.run_as_user.map_or(pod_root, |user| user == 0),
            non_root: security.run_as_non_root == Some(true)
                || security.run_as_user.is_some_and(|user| user != 0),
            capabilities: security.capabilities.add,
            secret_env,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pod_is_trimmed_and_keeps_no_environment_value() {
        let json = r#"{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"kube9.io/ignore":"A1_A4"},
            "managedFields":[{"x":1}],"ownerReferences":[{"kind":"ReplicaSet","name":"r","controller":true}]},
            "spec":{"nodeName":"w1","hostPID":true,"containers":[{"name":"app","image":"i:1","ports":[{"containerPort":80}],
            "env":[{"name":"DB_PASSWORD","value":"planted"},{"name":"MODE","value":"planted"},
            {"name":"API_TOKEN","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},
            {"name":"X","valueFrom":{"configMapKeyRef":{"name":"conf","key":"k"}}}],
            "resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"100m"}},"securityContext":null}],
            "volumes":[{"name":"v","hostPath":{"path":"/etc"}},{"name":"w","configMap":{"name":"maybe","optional":true}},
            {"projected":{"sources":[{"configMap":{"name":"kube-root-ca.crt"}},{"serviceAccountToken":{}}]}}]},
            "status":{"phase":"Running","conditions":null,"containerStatuses":[{"name":"app","ready":false,
            "restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},
            "lastState":{"terminated":{"reason":"OOMKilled","exitCode":137,"finishedAt":"2026-01-02T03:04:05Z"}}}]}}"#;
        let pod: Pod = serde_json::from_str(json).unwrap();
        assert!(!format!("{pod:?}").contains("planted"));
        let app = &pod.spec.containers[0];
        assert_eq!(app.secret_env, ["DB_PASSWORD".into()]);
        assert_eq!(
            (app.memory_limit, app.cpu_request),
            (Some((64 << 20) * 1000), Some(100))
        );
        assert_eq!(pod.spec.config_maps, BTreeSet::from(["conf".into()]));
        assert_eq!(
            pod.spec.optional_config_maps,
            BTreeSet::from(["maybe".into()])
        );
        assert_eq!(pod.spec.host_namespaces, ["hostPID"]);
        assert_eq!(pod.meta.ignore, ["A1".into(), "A4".into()]);
        let state = &pod.containers[0];
        assert_eq!((&*state.waiting, state.restarts), ("CrashLoopBackOff", 3));
        assert_eq!(state.latest_end().unwrap().exit_code, 137);
    }
}
