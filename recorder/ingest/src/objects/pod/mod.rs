//! Pods. The spec is a separate struct, because the pods of one template share it.

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube9_model::time::Timestamp;
use serde::Deserialize;

use super::meta::{Condition, Meta};
use crate::decode::null_as_default;

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
    /// State of each container, init containers first.
    pub containers: Vec<ContainerState>,
}

impl Pod {
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

    /// The container of that name.
    pub fn named(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .find(|container| &*container.name == name)
    }
}

/// The static part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Name.
    pub name: Box<str>,
    /// Image as in the spec.
    pub image: Box<str>,
    /// Init container.
    pub init: bool,
    /// Ports it declares.
    pub ports: Vec<Port>,
    /// CPU request, in thousandths.
    pub cpu_request: Option<i64>,
    /// Memory request, in thousandths of a byte.
    pub memory_request: Option<i64>,
    /// Memory limit, in thousandths of a byte.
    pub memory_limit: Option<i64>,
    /// It has a readiness probe.
    pub readiness_probe: bool,
    /// It has a liveness probe.
    pub liveness_probe: bool,
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
    /// `restartCount`.
    pub restarts: i64,
    /// `running.startedAt`.
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
}

/// A termination of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminated {
    /// `OOMKilled`, `Error`, `Completed`, …
    pub reason: Box<str>,
    /// Exit code; 128 + signal after a signal.
    pub exit_code: i64,
    /// `startedAt`.
    pub started: Timestamp,
    /// `finishedAt`.
    pub at: Timestamp,
}
