//! Pods. The spec is apart from the rest: the pods of one template share it.

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube9_model::time::Timestamp;
use serde::Deserialize;

use super::lenient::lenient;
use super::meta::{Condition, Meta};

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
    /// Where its pods are: the pods of one namespace share it.
    pub namespace: Box<str>,
    /// Bytes that are kept of it.
    pub held: u32,
}

impl PodSpec {
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
