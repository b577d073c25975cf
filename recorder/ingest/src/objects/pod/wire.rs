//! A Pod as the API server sends it, trimmed while it is decoded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kube9_model::time::Timestamp;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Container, ContainerState, Phase, Pod, PodSpec, Port, Terminated};
use crate::objects::bounds::{CONDITIONS_MAX, CONTAINERS_MAX, ELEMENTS_MAX, Few, Room};
use crate::objects::lenient::lenient;
use crate::objects::meta::{Condition, Meta, shortened};
use crate::objects::quantity::thousandths;
use crate::sensitive_key::{Secrecy, secrecy};

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
    containers: Few<WireContainer, CONTAINERS_MAX>,
    #[serde(deserialize_with = "lenient")]
    init_containers: Few<WireContainer, CONTAINERS_MAX>,
    #[serde(deserialize_with = "lenient")]
    volumes: Few<WireVolume, ELEMENTS_MAX>,
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
    ports: Few<Port, ELEMENTS_MAX>,
    #[serde(deserialize_with = "lenient")]
    resources: WireResources,
    readiness_probe: Option<IgnoredAny>,
    liveness_probe: Option<IgnoredAny>,
    #[serde(deserialize_with = "lenient")]
    security_context: WireSecurity,
    #[serde(deserialize_with = "lenient")]
    env: Few<WireEnv, ELEMENTS_MAX>,
    #[serde(deserialize_with = "lenient")]
    env_from: Few<WireEnvFrom, ELEMENTS_MAX>,
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
    add: Few<Box<str>, ELEMENTS_MAX>,
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
    sources: Few<WireProjectedSource, ELEMENTS_MAX>,
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
    conditions: Few<Condition, CONDITIONS_MAX>,
    #[serde(deserialize_with = "lenient")]
    init_container_statuses: Few<WireContainerStatus, CONTAINERS_MAX>,
    #[serde(deserialize_with = "lenient")]
    container_statuses: Few<WireContainerStatus, CONTAINERS_MAX>,
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
        let (init, normal) = (status.init_container_statuses, status.container_statuses);
        let states = init.kept.into_iter().chain(normal.kept);
        let (mut spec, cut) = spec(wire.spec);
        let mut pod = Self {
            meta: wire.metadata,
            spec: Arc::default(),
            node,
            phase: match &*status.phase {
                "Running" => Phase::Running,
                "Succeeded" => Phase::Succeeded,
                "Failed" => Phase::Failed,
                _ => Phase::Pending,
            },
            reason: status.reason,
            message: shortened(status.message),
            conditions: status.conditions.kept,
            containers: states.map(state).collect(),
        };
        let mut room = Room::new();
        pod.meta.bound(&mut room);
        if let Some(node) = &mut pod.node {
            room.text(node);
        }
        room.text(&mut pod.reason);
        room.text(&mut pod.message);
        room.ended_early(init.cut || normal.cut || cut.containers);
        room.list(&mut pod.containers, ContainerState::bound);
        room.list(&mut pod.conditions, Condition::bound);
        spec.namespace = pod.meta.namespace.clone();
        let before = room.used();
        spec.bound_containers(&mut room);
        if room.is_full() {
            let meta = pod.meta.identity();
            return Ok(Self {
                meta,
                ..Self::default()
            });
        }
        room.ended_early(cut.details);
        spec.bound_details(&mut room);
        spec.held = room.used() - before;
        pod.meta.bounded(&room);
        pod.meta.held -= spec.held;
        pod.spec = Arc::new(spec);
        Ok(pod)
    }
}

/// Whether lists of a spec ended early.
#[derive(Default)]
struct Cut {
    containers: bool,
    details: bool,
}

/// What is kept beside a container that fails: its trace, its place among the pods without their image.
const FAILING_COST: usize = 600;

impl ContainerState {
    fn bound(room: &mut Room, state: &mut Self) {
        room.text(&mut state.name);
        room.text(&mut state.waiting);
        room.text(&mut state.waiting_message);
        for end in [&mut state.terminated, &mut state.last]
            .into_iter()
            .flatten()
        {
            room.text(&mut end.reason);
        }
        if state.latest_end().is_some() || !state.waiting.is_empty() {
            room.take(FAILING_COST);
        }
    }
}

impl PodSpec {
    /// Without one of its containers a rule would say what is not so.
    fn bound_containers(&mut self, room: &mut Room) {
        room.text(&mut self.namespace);
        room.text(&mut self.service_account);
        room.list(&mut self.containers, |room, container| {
            room.text(&mut container.name);
            room.text(&mut container.image);
        });
    }

    fn bound_details(&mut self, room: &mut Room) {
        // Each after the other: where the room ends, the later ones are empty, and none is torn.
        room.set(&mut self.config_maps);
        room.set(&mut self.optional_config_maps);
        room.set(&mut self.host_paths);
        for container in &mut self.containers {
            room.list(&mut container.ports, |room, port| room.text(&mut port.name));
            room.list(&mut container.capabilities, Room::text);
            room.list(&mut container.secret_env, Room::text);
        }
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

fn spec(wire: WireSpec) -> (PodSpec, Cut) {
    let mut cut = Cut {
        containers: wire.containers.cut || wire.init_containers.cut,
        details: wire.volumes.cut,
    };
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
    for volume in wire.volumes.kept {
        spec.host_paths
            .extend(volume.host_path.map(|path| path.path));
        let projected = volume.projected.unwrap_or_default().sources;
        cut.details |= projected.cut;
        let references = projected
            .kept
            .into_iter()
            .filter_map(|source| source.config_map);
        for reference in references.chain(volume.config_map) {
            spec.refer(reference);
        }
    }
    let pod_root = wire.security_context.run_as_user == Some(0);
    let init = wire.init_containers.kept.into_iter();
    let normal = wire.containers.kept.into_iter();
    let all = normal.map(|one| (one, false));
    for (container, init) in all.chain(init.map(|one| (one, true))) {
        cut.details |= container.ports.cut
            || container.env.cut
            || container.env_from.cut
            || container.security_context.capabilities.add.cut;
        let one = spec.container(container, init, pod_root);
        spec.containers.push(one);
    }
    (spec, cut)
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
        for variable in wire.env.kept {
            if variable.value.0 && secrecy(&variable.name) >= Secrecy::Likely {
                secret_env.push(variable.name);
            }
            if let Some(reference) = variable.value_from.config_map_key_ref {
                self.refer(reference);
            }
        }
        for source in wire.env_from.kept {
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
            ports: wire.ports.kept,
            cpu_request: requests.get("cpu").and_then(Quantity::thousandths),
            memory_request: requests.get("memory").and_then(Quantity::thousandths),
            memory_limit: limits.get("memory").and_then(Quantity::thousandths),
            readiness_probe: wire.readiness_probe.is_some(),
            liveness_probe: wire.liveness_probe.is_some(),
            privileged: security.privileged == Some(true),
            root: security.run_as_user.map_or(pod_root, |user| user == 0),
            non_root: security.run_as_non_root == Some(true)
                || security.run_as_user.is_some_and(|user| user != 0),
            capabilities: security.capabilities.add.kept,
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
        let json = r#"{"metadata":{"name":"p","namespace":"n","uid":"u","annotations":{"kube9.io/ignore":"ImageNotPinned, SingleReplicaBehindService"},"labels":{"kube9.io/ignore":"PrivilegedPod"},
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
        assert_eq!(
            pod.meta.ignore,
            [
                "PrivilegedPod".into(),
                "ImageNotPinned".into(),
                "SingleReplicaBehindService".into()
            ]
        );
        let state = &pod.containers[0];
        assert_eq!((&*state.waiting, state.restarts), ("CrashLoopBackOff", 3));
        assert_eq!(state.latest_end().unwrap().exit_code, 137);
    }
}
