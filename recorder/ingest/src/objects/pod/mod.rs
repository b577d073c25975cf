//! Pods. The spec is a separate struct, because the pods of one template share it.

mod last_words;
mod requests;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube9_model::time::Timestamp;
use serde::Deserialize;

use super::meta::{Condition, Meta};
use crate::decode::null_as_default;

pub use last_words::LAST_WORDS_BYTES_MAX;

/// A Pod.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Metadata.
    pub meta: Meta,
    /// What it runs; shared between the pods of a template.
    pub spec: Arc<PodSpec>,
    /// Node it is bound to.
    pub node: Option<Box<str>>,
    /// `status.phase`.
    pub phase: Phase,
    /// `status.reason`, e.g. `Evicted`.
    pub reason: Box<str>,
    /// Human-readable.
    pub message: Box<str>,
    /// PodScheduled, Ready, …
    pub conditions: Vec<Condition>,
    /// State of each container, in the order in which they start: init containers first.
    pub containers: Vec<ContainerState>,
}

impl Pod {
    /// Whether its main containers have ended and do not start again. Sidecars are stopped then.
    pub fn has_finished(&self) -> bool {
        let is_final = |end: &Terminated| match self.spec.restart_policy {
            RestartPolicy::Always => false,
            RestartPolicy::OnFailure => end.exit_code == 0,
            RestartPolicy::Never => true,
        };
        let main = self
            .containers
            .iter()
            .filter(|state| state.role == Role::Main);
        let mut ends = main.map(|state| state.terminated.as_ref()).peekable();
        self.phase.is_final()
            || (ends.peek().is_some() && ends.all(|end| end.is_some_and(is_final)))
    }

    /// Removes what its containers said when they ended.
    pub fn forget_last_words(&mut self) {
        for state in &mut self.containers {
            for end in [&mut state.terminated, &mut state.last]
                .into_iter()
                .flatten()
            {
                end.last_words = Box::default();
            }
        }
    }

    /// By its Ready condition.
    pub fn is_ready(&self) -> bool {
        Condition::of(&self.conditions, "Ready").is_some_and(Condition::is_true)
    }
}

/// Phase of a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// At least one runs.
    Running,
    /// All containers succeeded; none will restart.
    Succeeded,
    /// All containers ended, at least one failed; none will restart.
    Failed,
}

impl Phase {
    /// No container will restart.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The API's name of the phase.
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
    pub restart_policy: RestartPolicy,
    /// Resources of the pod as a whole, which take the place of the sums over its containers (KEP-2837).
    pub resources: Resources,
    /// What its RuntimeClass needs beside the containers.
    pub overhead: Resources,
    /// Types of the conditions that must be `True` for it to be ready, beside its containers.
    pub readiness_gates: Vec<Box<str>>,
    /// Those of `hostNetwork`, `hostPID` and `hostIPC` that are set.
    pub host_namespaces: Vec<&'static str>,
    /// `hostPath` volumes.
    pub host_paths: BTreeSet<Box<str>>,
    /// ConfigMaps without which it cannot start.
    pub config_maps: BTreeSet<Box<str>>,
    /// Optional ConfigMaps.
    pub optional_config_maps: BTreeSet<Box<str>>,
    /// Its service account; empty means `default`.
    pub service_account: Box<str>,
    /// `automountServiceAccountToken`.
    pub mounts_token: bool,
    /// `runAsNonRoot`.
    pub non_root: bool,
    /// Its priority is negative: it keeps room for others, gives way to them, and may wait.
    pub is_placeholder: bool,
    /// Part of the key under which specs are shared.
    pub namespace: Box<str>,
    /// Bytes that are kept of it.
    pub held: u32,
}

impl PodSpec {
    /// Its pods mount the token of the namespace's default service account.
    pub fn mounts_default_token(&self) -> bool {
        self.mounts_token && matches!(&*self.service_account, "" | "default")
    }

    /// The memory limit of the container with that name, or else of the pod, in thousandths of a byte.
    pub fn memory_limit(&self, container: &str) -> Option<i64> {
        let own = self
            .named(container)
            .and_then(|one| one.resources.memory_limit);
        own.or(self.resources.memory_limit)
    }

    /// The container of that name.
    pub fn named(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| &*container.name == name)
    }
}

/// Which of its main containers the kubelet starts again after they have ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

/// What a container does in its pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// It runs once and ends, before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`: it runs beside the main containers, and the kubelet stops it after
    /// they have ended (KEP-753).
    Sidecar,
    #[default]
    Main,
}

/// Requests and limits of a container or of a pod, in thousandths of a core or a byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    pub cpu_request: Option<i64>,
    pub memory_request: Option<i64>,
    pub memory_limit: Option<i64>,
}

/// The static part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Name.
    pub name: Box<str>,
    /// Image as in the spec.
    pub image: Box<str>,
    pub role: Role,
    /// Ports it declares.
    pub ports: Vec<Port>,
    pub resources: Resources,
    /// It has a readiness probe.
    pub readiness_probe: bool,
    /// It has a liveness probe.
    pub liveness_probe: bool,
    /// It has a startup probe.
    pub startup_probe: bool,
    /// `privileged`.
    pub privileged: bool,
    /// `runAsUser: 0`.
    pub root: bool,
    /// `runAsNonRoot`.
    pub non_root: bool,
    /// Linux capabilities added.
    pub capabilities: Vec<Box<str>>,
    /// Environment variables with a literal value that looks like a secret.
    pub secret_env: Vec<Box<str>>,
    /// `terminationMessagePolicy` is `FallbackToLogsOnError`: the end of the log takes the place of a message that was not
    /// written.
    pub log_is_message: bool,
}

/// A port that a container declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// May be empty.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Box<str>,
    /// Number.
    #[serde(rename = "containerPort")]
    pub number: u16,
}

/// Status of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Name.
    pub name: Box<str>,
    /// `ready`.
    pub ready: bool,
    /// `started`: it runs, and its startup probe has passed.
    pub started: bool,
    pub role: Role,
    /// `restartCount`.
    pub restarts: i64,
    /// `running.startedAt`; [`Timestamp::EPOCH`] if the API does not give it.
    pub running: Option<Timestamp>,
    /// Reason of its waiting state, e.g. `CrashLoopBackOff`; empty if it is not waiting.
    pub waiting: Box<str>,
    /// Human-readable.
    pub waiting_message: Box<str>,
    /// `state.terminated`.
    pub terminated: Option<Terminated>,
    /// `lastState.terminated`.
    pub last: Option<Terminated>,
}

impl ContainerState {
    /// The latest termination: of this run, else of the previous one.
    pub fn latest_end(&self) -> Option<&Terminated> {
        self.terminated.as_ref().or(self.last.as_ref())
    }

    /// Whether it has done what the containers after it wait for.
    pub fn is_initialized(&self) -> bool {
        match self.role {
            Role::Init => self
                .terminated
                .as_ref()
                .is_some_and(|end| end.exit_code == 0),
            Role::Sidecar => self.started,
            Role::Main => true,
        }
    }
}

/// A termination of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminated {
    /// `OOMKilled`, `Error`, `Completed`, …
    pub reason: Box<str>,
    /// Exit code; 128 + signal after a signal.
    pub exit_code: i64,
    /// `startedAt`.
    pub started: Option<Timestamp>,
    /// `finishedAt`.
    pub at: Option<Timestamp>,
    /// The termination message, redacted, with line breaks and other control characters escaped, at most
    /// [`LAST_WORDS_BYTES_MAX`] bytes; empty if there is none. The container writes it, or the kubelet copies the end of its
    /// log, or the container runtime says why the container could not start.
    pub last_words: Box<str>,
    /// It ended with the sandbox of its pod, which exists again, or with its node: after a reboot, for example.
    pub with_sandbox: bool,
}
