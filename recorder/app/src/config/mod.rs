//! The configuration: every setting with its default, and where each may come from.
//!
//! ```text
//!   flags ─▶ environment (KUBE9_…) ─▶ config file (YAML) ─▶ default below      the first one with a value applies
//! ```
//!
//! In a pod, settings that name an address, a credential or a file come only from the mounted file (`place.rs`).
//!
//! `docs/configuration.md` is generated from this module; a test compares them.
//!
//! Invariants: all problems are reported together, with their paths, before a port or a file is opened. No
//! setting contains a secret, so that the whole configuration can be printed.

mod changes;
pub mod load;
mod log;
#[cfg(test)]
mod tests;
mod validate;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kube9_base::settings::{hours, millis, seconds};
use kube9_k8s::config::{KubeConfig, SourceConfig};
use kube9_rules::config::AnalysisConfig;
use kube9_store::config::{QueueConfig, RetentionConfig, StorageConfig, WriterConfig};

use kube9_ingest::filter::{FilterRule, OverrideRule};

pub use kube9_base::settings::{
    ByteSize, Entries, Environment, Flags, Layers, Location, MOUNTED, Origin, Problem,
    ProcessEnvironment, Setting, SettingDoc, SettingValue,
};
pub use log::{LogFormat, LogLevel};

kube9_base::sections! {
    /// The whole configuration. Each module receives only its own section.
    pub struct Config {
        /// Directory of the database `kube9.db`.
        /// The default is `/data` in a pod and `./kube9-data` elsewhere.
        data_dir: PathBuf = PathBuf::from("/data"),
        /// Address of `/metrics`, `/healthz`, `/livez` and `/readyz`.
        /// Use `[::]:8080` in an IPv6-only cluster.
        listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
        /// Time limit for a clean shutdown, in which the queue is drained and the last batch and the position are
        /// committed.
        /// It must be less than the pod's `terminationGracePeriodSeconds` (30), so that the kubelet does not kill the
        /// process first.
        shutdown_grace: Duration = seconds(20) => seconds(1)..=hours(1),
        /// What is logged.
        log: LogConfig = LogConfig::default(),
        /// Which cluster, and which part of it.
        kube: KubeConfig = KubeConfig::default(),
        /// How the cluster is watched.
        source: SourceConfig = SourceConfig::default(),
        /// The queue before the writer.
        queue: QueueConfig = QueueConfig::default(),
        /// How rows are committed.
        writer: WriterConfig = WriterConfig::default(),
        /// How long rows are kept.
        retention: RetentionConfig = RetentionConfig::default(),
        /// Maximum size of the database.
        storage: StorageConfig = StorageConfig::default(),
        /// What is watched besides Events, and the rules that evaluate it.
        analysis: AnalysisConfig = AnalysisConfig::default(),
        /// The change history.
        changes: ChangesConfig = ChangesConfig::default(),
        /// Limits of the HTTP server.
        http: HttpConfig = HttpConfig::default(),
        /// Which Events are recorded; the first rule that matches applies.
        filters: Entries<FilterRule> = Entries::default(),
        /// Severities that replace kube9's own; the first rule that matches applies.
        severity_overrides: Entries<OverrideRule> = Entries::default(),
    }

    /// What is logged, and in which form. Always to stderr.
    pub struct LogConfig {
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`; or directives such as
        /// `warn,kube9_store=debug`.
        /// A level alone applies to kube9's own code; libraries log warnings and errors only.
        level: LogLevel = LogLevel("info".to_owned()),
        /// `json` or `text`.
        /// The default is `json` in a pod and `text` elsewhere.
        format: LogFormat = LogFormat::Json,
    }

    /// The change history: which objects are tracked.
    pub struct ChangesConfig {
        /// Record the changes of objects: what changed, who changed it, and what it was before.
        enabled: bool = true,
        /// The default kinds that are tracked, by their plural names such as `deployments`; empty means all.
        /// A name after a dash is left out: `-configmaps` tracks all but ConfigMaps. If `kube.namespaces` is set,
        /// cluster-scoped kinds are not tracked, and `roles` and `rolebindings` only if they are named.
        kinds: Vec<String> = Vec::new(); anywhere,
        /// Further resources whose objects are tracked: `GROUP/VERSION/RESOURCE`, such as
        /// `argoproj.io/v1alpha1/rollouts`, or a preset: `argo`, `cert-manager`, `flux`, `gateway-api`, `istio`,
        /// `karpenter`, `keda` or `vpa`.
        /// Secrets are never tracked. A resource that the API server does not serve yet is looked for every minute.
        /// The recorder needs `get`, `list` and `watch` on each; `kube9-recorder check` prints what is missing.
        resources: Vec<String> = Vec::new(); anywhere,
    }

    /// Limits of the HTTP server.
    pub struct HttpConfig {
        /// Maximum open connections; a new connection beyond that replaces the oldest.
        /// Each scraper or probe needs one connection for a few milliseconds.
        max_connections: usize = 64 => 2..=10_000,
        /// Time limit for the head of a request, and for an idle connection.
        header_timeout: Duration = seconds(10) => millis(100)..=seconds(600),
        /// Maximum lifetime of a connection.
        /// The client opens a new one for its next request.
        connection_timeout: Duration = seconds(30) => millis(100)..=hours(1),
    }
}

impl Config {
    /// The effective configuration, as a config file.
    pub fn to_yaml_text(&self) -> String {
        // Invariant: a tree of plain values always serializes.
        serde_yaml::to_string(&self.to_yaml()).unwrap_or_default()
    }

    /// All settings with their defaults and documentation.
    pub fn settings() -> Vec<SettingDoc> {
        let mut out = Vec::new();
        Self::default().document("", None, None, "", &mut out);
        out
    }
}
