//! Pods. The spec is apart from the rest: the pods of one template share it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use kube9_shared::time::Timestamp;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::meta::shortened;
use super::quantity::thousandths;
use super::{Condition, Meta, lenient};
use crate::pipeline::secret_key::{Secrecy, secrecy};

/// A Pod.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// What it runs; shared between the pods of a template.
    pub spec: Arc<PodSpec>,
    /// Node it is bound to.
    pub node: Option<Box<str>>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why, e.g. `Evicted`.
    pub reason: Box<str>,
    /// For people.
    pub message: Box<str>,
    /// PodScheduled, Ready, …
    pub conditions: Vec<Condition>,
    /// State of each container, init containers first.
    pub containers: Vec<ContainerState>,
}

impl Pod {
    /// Its Ready condition says so.
    pub fn is_ready(&self) -> bool {
        Condition::of(&self.conditions, "Ready").is_some_and(Condition::is_true)
    }
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// At least one runs.
    Running,
    /// All ended well; none will start again.
    Succeeded,
    /// All ended, one of them badly; none will start again.
    Failed,
}

impl Phase {
    /// None of its containers will start again.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The API's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The static part of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PodSpec {
    /// Containers, init containers last.
    pub containers: Vec<Container>,
    /// `hostNetwork`, `hostPID`, `hostIPC`, as far as they are set.
    pub host_namespaces: Vec<&'static str>,
    /// Paths of the node that are mounted.
    pub host_paths: BTreeSet<Box<str>>,
    /// ConfigMaps without which it cannot start.
    pub config_maps: BTreeSet<Box<str>>,
    /// ConfigMaps that it reads where they are there.
    pub optional_config_maps: BTreeSet<Box<str>>,
    /// Its service account; empty means `default`.
    pub service_account: Box<str>,
    /// The account's token is mounted, as far as the pod says.
    pub mounts_token: bool,
    /// It must not run as root.
    pub non_root: bool,
}

/// The static part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Name.
    pub name: Box<str>,
    /// Image as it was asked for.
    pub image: Box<str>,
    /// It runs before the others.
    pub init: bool,
    /// Ports it declares.
    pub ports: Vec<Port>,
    /// CPU asked for, in thousandths.
    pub cpu_request: Option<i64>,
    /// Memory asked for, in thousandths of a byte.
    pub memory_request: Option<i64>,
    /// Memory at which it is killed, in thousandths of a byte.
    pub memory_limit: Option<i64>,
    /// It says when it is ready.
    pub readiness_probe: bool,
    /// It is killed when it does not answer.
    pub liveness_probe: bool,
    /// Whole access to the node.
    pub privileged: bool,
    /// It is set to run as user 0.
    pub root: bool,
    /// It must not run as root.
    pub non_root: bool,
    /// Linux capabilities added.
    pub capabilities: Vec<Box<str>>,
    /// Environment variables that look like secrets and have a literal value.
    pub secret_env: Vec<Box<str>>,
}

/// A port that a container declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// May be empty.
    #[serde(deserialize_with = "lenient")]
    pub name: Box<str>,
    /// Number.
    #[serde(rename = "containerPort")]
    pub number: u16,
}

/// How a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Name.
    pub name: Box<str>,
    /// It takes part in its pod's readiness.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i64,
    /// Since when it runs.
    pub running: Option<Timestamp>,
    /// Why it does not run yet, e.g. `CrashLoopBackOff`; empty where it is not waiting.
    pub waiting: Box<str>,
    /// For people.
    pub waiting_message: Box<str>,
    /// It ended.
    pub terminated: Option<Terminated>,
    /// How it ended the time before.
    pub last: Option<Terminated>,
}

impl ContainerState {
    /// Its latest end: of this run, else of the run before.
    pub fn latest_end(&self) -> Option<&Terminated> {
        self.terminated.as_ref().or(self.last.as_ref())
    }
}

/// The end of a container's run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminated {
    /// `OOMKilled`, `Error`, `Completed`, …
    pub reason: Box<str>,
    /// Exit code; 128 + signal where a signal ended it.
    pub exit_code: i64,
    /// When that run began.
    pub started: Timestamp,
    /// When it ended.
    pub at: Timestamp,
}

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

    /// Its pods get the token of the namespace's default service account.
    pub fn mounts_default_token(&self) -> bool {
        self.mounts_token && matches!(&*self.service_account, "" | "default")
    }

    /// The container of that name.
    pub fn named(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| &*container.name == name)
    }
}

#[cfg(test)]
mod tests {
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
