//! Decodes a Pod and trims it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube9_model::time::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::last_words::{CUT, LAST_WORDS_BYTES_MAX, last_words};
use super::{
    Container, ContainerState, Phase, Pod, PodSpec, Port, Resources, RestartPolicy, Role,
    Terminated,
};
use crate::decode::null_as_default;
use crate::objects::bounds::{Budget, CONDITIONS_MAX, CONTAINERS_MAX, ELEMENTS_MAX, Few};
use crate::objects::meta::{Condition, Meta, shortened};
use crate::objects::quantity::Quantity;
use crate::redact::is_secret_literal;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    spec: WireSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    node_name: Option<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    containers: Few<WireContainer, CONTAINERS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    init_containers: Few<WireContainer, CONTAINERS_MAX>,
    restart_policy: Option<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    resources: WireResources,
    #[serde(deserialize_with = "null_as_default")]
    overhead: BTreeMap<String, Quantity>,
    #[serde(deserialize_with = "null_as_default")]
    readiness_gates: Few<WireReadinessGate, ELEMENTS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    volumes: Few<WireVolume, ELEMENTS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    host_network: bool,
    #[serde(rename = "hostPID", deserialize_with = "null_as_default")]
    host_pid: bool,
    #[serde(rename = "hostIPC", deserialize_with = "null_as_default")]
    host_ipc: bool,
    #[serde(deserialize_with = "null_as_default")]
    service_account_name: Box<str>,
    automount_service_account_token: Option<bool>,
    priority: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    security_context: WireSecurity,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireReadinessGate {
    #[serde(deserialize_with = "null_as_default")]
    condition_type: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireContainer {
    name: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    image: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    ports: Few<Port, ELEMENTS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    resources: WireResources,
    restart_policy: Option<Box<str>>,
    readiness_probe: Option<IgnoredAny>,
    liveness_probe: Option<IgnoredAny>,
    startup_probe: Option<IgnoredAny>,
    #[serde(deserialize_with = "null_as_default")]
    security_context: WireSecurity,
    termination_message_policy: Option<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    env: Few<WireEnv, ELEMENTS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    env_from: Few<WireEnvFrom, ELEMENTS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireResources {
    #[serde(deserialize_with = "null_as_default")]
    requests: BTreeMap<String, Quantity>,
    #[serde(deserialize_with = "null_as_default")]
    limits: BTreeMap<String, Quantity>,
}

impl WireResources {
    fn read(&self) -> Resources {
        let request = |name| self.requests.get(name).and_then(Quantity::thousandths);
        Resources {
            cpu_request: request("cpu"),
            memory_request: request("memory"),
            memory_limit: self.limits.get("memory").and_then(Quantity::thousandths),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSecurity {
    privileged: Option<bool>,
    run_as_user: Option<i64>,
    run_as_non_root: Option<bool>,
    #[serde(deserialize_with = "null_as_default")]
    capabilities: WireCapabilities,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireCapabilities {
    #[serde(deserialize_with = "null_as_default")]
    add: Few<Box<str>, ELEMENTS_MAX>,
}

/// A variable without its value.
struct WireEnv {
    name: Box<str>,
    holds_secret: bool,
    value_from: WireEnvSource,
}

impl<'de> Deserialize<'de> for WireEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default)]
        struct Variable {
            name: Box<str>,
            value: Option<Box<str>>,
            #[serde(deserialize_with = "null_as_default")]
            value_from: WireEnvSource,
        }
        let variable = Variable::deserialize(deserializer)?;
        let value = variable.value.unwrap_or_default();
        Ok(Self {
            holds_secret: is_secret_literal(&variable.name, &value),
            name: variable.name,
            value_from: variable.value_from,
        })
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
    #[serde(deserialize_with = "null_as_default")]
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
    #[serde(deserialize_with = "null_as_default")]
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
    #[serde(deserialize_with = "null_as_default")]
    phase: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    reason: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    message: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    conditions: Few<Condition, CONDITIONS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    init_container_statuses: Few<WireContainerStatus, CONTAINERS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    container_statuses: Few<WireContainerStatus, CONTAINERS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireContainerStatus {
    name: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    ready: bool,
    #[serde(deserialize_with = "null_as_default")]
    started: bool,
    #[serde(deserialize_with = "null_as_default")]
    restart_count: i64,
    #[serde(deserialize_with = "null_as_default")]
    state: WireState,
    #[serde(deserialize_with = "null_as_default")]
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
    #[serde(deserialize_with = "null_as_default")]
    reason: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
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
    #[serde(deserialize_with = "null_as_default")]
    reason: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    message: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
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
        let (mut spec, cut) = spec(wire.spec);
        let init_role = |status: &WireContainerStatus| match spec.named(&status.name) {
            Some(container) => container.role,
            None => Role::Init,
        };
        let mut states = Vec::with_capacity(init.kept.len() + normal.kept.len());
        for status in init.kept {
            let role = init_role(&status);
            states.push(state(status, role));
        }
        states.extend(
            normal
                .kept
                .into_iter()
                .map(|status| state(status, Role::Main)),
        );
        mark_ended_with_sandbox(&mut states, &status.conditions.kept);
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
            containers: states,
        };
        let mut budget = Budget::new();
        pod.meta.bound(&mut budget);
        if let Some(node) = &mut pod.node {
            budget.text(node);
        }
        budget.text(&mut pod.reason);
        budget.text(&mut pod.message);
        budget.ended_early(init.cut || normal.cut || cut.containers);
        budget.list(&mut pod.containers, ContainerState::bound);
        budget.list(&mut pod.conditions, Condition::bound);
        spec.namespace = pod.meta.namespace.clone();
        let before = budget.used();
        spec.bound_containers(&mut budget);
        if budget.is_full() {
            let meta = pod.meta.identity();
            return Ok(Self {
                meta,
                ..Self::default()
            });
        }
        budget.ended_early(cut.details);
        spec.bound_details(&mut budget);
        spec.held = budget.used() - before;
        for state in &mut pod.containers {
            ContainerState::bound_last_words(&mut budget, state);
        }
        pod.meta.bounded(&budget);
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

/// Overhead of a failing container: its history, its entry among the pods that fail to pull their image.
const FAILING_COST: usize = 600;

impl ContainerState {
    fn bound(budget: &mut Budget, state: &mut Self) {
        budget.text(&mut state.name);
        budget.text(&mut state.waiting);
        budget.text(&mut state.waiting_message);
        for end in [&mut state.terminated, &mut state.last]
            .into_iter()
            .flatten()
        {
            budget.text(&mut end.reason);
        }
        if state.latest_end().is_some() || !state.waiting.is_empty() {
            budget.take(FAILING_COST);
        }
    }

    /// Without its last words a pod is still judged: they are a detail.
    fn bound_last_words(budget: &mut Budget, state: &mut Self) {
        for end in [&mut state.terminated, &mut state.last]
            .into_iter()
            .flatten()
            .filter(|end| !end.last_words.is_empty())
        {
            // Its history keeps the first ones of a series of failures.
            let bytes = end.last_words.len() + LAST_WORDS_BYTES_MAX;
            if !budget.take(bytes) {
                // There were some.
                end.last_words = CUT.trim().into();
            }
        }
    }
}

impl PodSpec {
    /// Without one of its containers a rule would draw a wrong conclusion.
    fn bound_containers(&mut self, budget: &mut Budget) {
        budget.text(&mut self.namespace);
        budget.text(&mut self.service_account);
        budget.list(&mut self.readiness_gates, Budget::text);
        budget.list(&mut self.containers, |budget, container| {
            budget.text(&mut container.name);
            budget.text(&mut container.image);
        });
    }

    fn bound_details(&mut self, budget: &mut Budget) {
        // One after the other: when the budget ends, the later ones are empty, and none is partial.
        budget.set(&mut self.config_maps);
        budget.set(&mut self.optional_config_maps);
        budget.set(&mut self.host_paths);
        for container in &mut self.containers {
            budget.list(&mut container.ports, |budget, port| {
                budget.text(&mut port.name)
            });
            budget.list(&mut container.capabilities, Budget::text);
            budget.list(&mut container.secret_env, Budget::text);
        }
    }
}

fn state(wire: WireContainerStatus, role: Role) -> ContainerState {
    let waiting = wire.state.waiting.unwrap_or_default();
    let running = wire.state.running;
    ContainerState {
        name: wire.name,
        ready: wire.ready,
        started: wire.started,
        role,
        restarts: wire.restart_count,
        running: running.map(|r| time(r.started_at).unwrap_or(Timestamp::EPOCH)),
        waiting: waiting.reason,
        waiting_message: shortened(waiting.message),
        terminated: wire.state.terminated.map(terminated),
        last: wire.last_state.terminated.map(terminated),
    }
}

fn terminated(wire: WireTerminated) -> Terminated {
    Terminated {
        last_words: last_words(&wire.message),
        reason: wire.reason,
        exit_code: wire.exit_code,
        started: time(wire.started_at),
        at: time(wire.finished_at),
        with_sandbox: false,
    }
}

/// How much later than a container's start the kubelet may report the sandbox in which it started.
const SANDBOX_LATE_MAX: Duration = Duration::from_secs(60);

/// A container that had run before the current sandbox of its pod existed ended with the former one.
fn mark_ended_with_sandbox(states: &mut [ContainerState], conditions: &[Condition]) {
    let sandbox = Condition::of(conditions, "PodReadyToStartContainers");
    let Some(created) = sandbox
        .filter(|one| one.is_true())
        .and_then(|one| one.since)
    else {
        return;
    };
    for end in states.iter_mut().filter_map(|state| state.last.as_mut()) {
        let ran_before = end
            .started
            .is_some_and(|at| at.plus(SANDBOX_LATE_MAX) < created);
        end.with_sandbox = ran_before && end.at.is_some_and(|at| at <= created);
    }
}

fn time(text: Option<String>) -> Option<Timestamp> {
    Timestamp::from_api(&text?)
}

fn spec(wire: WireSpec) -> (PodSpec, Cut) {
    let mut cut = Cut {
        containers: wire.containers.cut || wire.init_containers.cut || wire.readiness_gates.cut,
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
        restart_policy: match wire.restart_policy.as_deref() {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        },
        resources: wire.resources.read(),
        overhead: Resources {
            cpu_request: wire.overhead.get("cpu").and_then(Quantity::thousandths),
            memory_request: wire.overhead.get("memory").and_then(Quantity::thousandths),
            memory_limit: None,
        },
        readiness_gates: (wire.readiness_gates.kept.into_iter())
            .map(|gate| gate.condition_type)
            .collect(),
        service_account: wire.service_account_name,
        mounts_token: wire.automount_service_account_token != Some(false),
        is_placeholder: wire.priority.is_some_and(|priority| priority < 0),
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
    let init = init.map(|one| match one.restart_policy.as_deref() {
        Some("Always") => (one, Role::Sidecar),
        _ => (one, Role::Init),
    });
    for (container, role) in normal.map(|one| (one, Role::Main)).chain(init) {
        cut.details |= container.ports.cut
            || container.env.cut
            || container.env_from.cut
            || container.security_context.capabilities.add.cut;
        let one = spec.container(container, role, pod_root);
        spec.containers.push(one);
    }
    (spec, cut)
}

impl PodSpec {
    fn refer(&mut self, reference: WireReference) {
        // Every namespace has it, and every pod mounts it.
        if reference.name.is_empty() || &*reference.name == "kube-root-ca.crt" {
            return;
        }
        if reference.optional == Some(true) {
            self.optional_config_maps.insert(reference.name);
        } else {
            self.config_maps.insert(reference.name);
        }
    }

    fn container(&mut self, wire: WireContainer, role: Role, pod_root: bool) -> Container {
        let mut secret_env = Vec::new();
        for variable in wire.env.kept {
            if variable.holds_secret {
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
        let security = wire.security_context;
        Container {
            name: wire.name,
            image: wire.image,
            role,
            ports: wire.ports.kept,
            resources: wire.resources.read(),
            readiness_probe: wire.readiness_probe.is_some(),
            liveness_probe: wire.liveness_probe.is_some(),
            startup_probe: wire.startup_probe.is_some(),
            privileged: security.privileged == Some(true),
            root: security.run_as_user.map_or(pod_root, |user| user == 0),
            non_root: security.run_as_non_root == Some(true)
                || security.run_as_user.is_some_and(|user| user != 0),
            capabilities: security.capabilities.add.kept,
            secret_env,
            log_is_message: wire.termination_message_policy.as_deref()
                == Some("FallbackToLogsOnError"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::objects::bounds::{Fit, OBJECT_BYTES_MAX};

    #[test]
    fn pod_decode_keeps_no_environment_value() {
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
            (app.resources.memory_limit, app.resources.cpu_request),
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
    /// Of containers that wait after a crash, each with that many bytes of a message.
    fn crashed(containers: usize, bytes: usize) -> Pod {
        let name = |n: usize| format!("c{n}");
        let specs = (0..containers).map(|n| json!({"name": name(n), "image": "i:1"}));
        let statuses = (0..containers).map(|n| {
            let message = format!("panic: first {} fatal: last", "x".repeat(bytes));
            json!({"name": name(n), "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}})
        });
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": specs.collect::<Vec<_>>()},
            "status": {"phase": "Running", "containerStatuses": statuses.collect::<Vec<_>>()}});
        serde_json::from_str(&pod.to_string()).unwrap()
    }

    /// The kubelet passes on 4 KiB: more than the longest text of other fields.
    #[test]
    fn long_last_words_keep_their_end_within_the_bounds_of_a_pod() {
        let pod = crashed(1, 4000);
        let words = &pod.containers[0].latest_end().unwrap().last_words;
        assert!(
            words.starts_with("panic: first") && words.ends_with("fatal: last"),
            "{words}"
        );
        assert!(words.len() > LAST_WORDS_BYTES_MAX - 16, "{}", words.len());
        assert_eq!(pod.meta.fit, Fit::Whole);
    }

    /// The kubelet passes on 12 KiB of a pod.
    #[test]
    fn last_words_of_many_containers_do_not_hide_the_pod() {
        let pod = crashed(16, 1000);
        assert_eq!((pod.containers.len(), pod.meta.fit), (16, Fit::Cut));
        let of = |n: usize| &*pod.containers[n].latest_end().unwrap().last_words;
        assert!(of(0).ends_with("fatal: last"), "{}", of(0));
        assert_eq!(of(15), "…");
        assert!(pod.meta.held + pod.spec.held <= OBJECT_BYTES_MAX as u32);
    }
}
