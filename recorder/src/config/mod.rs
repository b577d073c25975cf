//! The configuration: every setting with its default, and where each may come from.
//!
//! ```text
//!   flags ─▶ environment (KUBE9_…) ─▶ config file (YAML) ─▶ default below      the first that says something wins
//! ```
//!
//! Inside a pod, settings that name an address, a credential or a file come from the mounted file alone (`place.rs`).
//!
//! `docs/configuration.md` is generated from this file; a test keeps them equal.
//!
//! Invariants: everything that is wrong is reported at once, with its path, before a port or a file is opened. No
//! setting holds a secret, so the whole of it may be printed.

mod layers;
pub mod load;
mod log;
mod place;
mod relations;
mod setting;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use kube9_shared::model::Severity;
use serde_json::{Map, Value};

use crate::pipeline::filter::{FilterRule, OverrideRule};

pub use layers::{
    Described, Entries, Environment, Flags, Layers, Problem, ProcessEnvironment, Setting,
};
pub use log::{LogFormat, LogLevel};
pub use place::{MOUNTED, Place};
pub use setting::{ByteSize, Leaf, Origin};

/// Declares sections: a struct, its defaults, and how it is read, shown and documented.
/// A field is `name: type = default => allowed range; origin`. A free text needs the origin: `anywhere` if it names no
/// address, credential or file, else `mounted`; other types know their own.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        pub struct $section:ident {$(
            $(#[doc = $doc:literal])*
            $field:ident: $type:ty = $default:expr $(=> $bounds:expr)? $(; $origin:ident)?,
        )*}
    )*) => {$(
        $(#[doc = $section_doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $section {$(
            $(#[doc = $doc])*
            pub $field: $type,
        )*}

        impl Default for $section {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Setting for $section {
            fn read(
                layers: &mut Layers<'_>,
                path: &str,
                default: Self,
                _: Option<RangeInclusive<Self>>,
                _: Option<Origin>,
            ) -> Self {
                layers::enter(layers, path);
                Self {$(
                    $field: {
                        let path = layers::join(path, stringify!($field));
                        let bounds = sections!(@bounds $($bounds)?);
                        Setting::read(layers, &path, default.$field, bounds, sections!(@origin $($origin)?))
                    },
                )*}
            }

            fn show(&self) -> Value {
                let mut map = Map::new();
                $(map.insert(stringify!($field).to_owned(), Setting::show(&self.$field));)*
                Value::Object(map)
            }

            fn describe(
                &self,
                path: &str,
                _: Option<RangeInclusive<Self>>,
                _: Option<Origin>,
                _: &str,
                out: &mut Vec<Described>,
            ) {
                $(
                    let doc: &[&str] = &[$($doc),*];
                    let path_here = layers::join(path, stringify!($field));
                    let bounds = sections!(@bounds $($bounds)?);
                    let origin = sections!(@origin $($origin)?);
                    Setting::describe(&self.$field, &path_here, bounds, origin, &doc.concat(), out);
                )*
            }
        }
    )*};
    (@bounds) => { None };
    (@bounds $bounds:expr) => { Some($bounds) };
    (@origin) => { None };
    (@origin anywhere) => { Some(Origin::Anywhere) };
    (@origin mounted) => { Some(Origin::Mounted) };
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn hours(hours: u64) -> Duration {
    seconds(hours * 3600)
}

const fn days(days: u64) -> Duration {
    hours(days * 24)
}

sections! {
    /// The whole configuration. Only `main` and `run` see it; each room takes its own section.
    pub struct Config {
        /// Directory of the database `kube9.db`.
        /// The default is `/data` in a pod and `./kube9-data` elsewhere.
        data_dir: PathBuf = PathBuf::from("/data"),
        /// Address of `/metrics`, `/healthz`, `/livez` and `/readyz`.
        /// Use `[::]:8080` in a cluster that has IPv6 only.
        listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080),
        /// How long an orderly stop may take: the queue drains, the last batch and the position are committed.
        /// Less than the pod's `terminationGracePeriodSeconds` of 30, so that the kubelet's kill never comes first.
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
        /// How much room the database may take.
        storage: StorageConfig = StorageConfig::default(),
        /// What is watched beside Events, and what is concluded from it.
        analysis: AnalysisConfig = AnalysisConfig::default(),
        /// Limits of the HTTP server.
        http: HttpConfig = HttpConfig::default(),
        /// Which Events are recorded; the first rule that matches decides.
        filters: Entries<FilterRule> = Entries::default(),
        /// Severities set by hand; the first rule that matches decides.
        severity_overrides: Entries<OverrideRule> = Entries::default(),
    }

    /// What is logged, and in which form. Always to stderr.
    pub struct LogConfig {
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`; or directives such as `warn,kube9_recorder::store=debug`.
        /// A bare level counts for kube9's own code; its libraries log no more than warnings.
        level: LogLevel = LogLevel("info".to_owned()),
        /// `json` or `text`.
        /// The default is `json` in a pod and `text` elsewhere.
        format: LogFormat = LogFormat::Json,
    }

    /// Which cluster, and which part of it.
    pub struct KubeConfig {
        /// Kubeconfig file to use instead of `KUBECONFIG` or `~/.kube/config`.
        /// In a pod the service account is used unless this is set; a kubeconfig there holds its credentials itself:
        /// `tokenFile`, `exec`, `auth-provider` and paths of certificates and keys are refused.
        kubeconfig: Option<PathBuf> = None,
        /// Context of the kubeconfig; its current one when unset.
        /// In a pod it needs `kube.kubeconfig`.
        context: Option<String> = None; mounted,
        /// Namespaces to watch; empty means all.
        /// Nodes have none and are watched in any case.
        namespaces: Vec<String> = Vec::new(); anywhere,
        /// Name of the pod that the recorder runs in; the chart sets it from the downward API.
        /// The recorder's own rows (`operator`) are about this object.
        pod_name: Option<String> = None; anywhere,
        /// Namespace of that pod.
        pod_namespace: Option<String> = None; anywhere,
        /// ConfigMap in that namespace whose key `status` is kept up to date for the kube9 extension of VS Code.
        /// Unset means that the recorder writes nothing in the cluster.
        status_configmap: Option<String> = None; anywhere,
    }

    /// How the cluster is watched.
    pub struct SourceConfig {
        /// How long the API server keeps an Event (its flag `--event-ttl`).
        /// A recording gap shorter than this can be healed in full.
        event_ttl: Duration = hours(1) => seconds(60)..=days(30),
        /// Objects asked for in one page of an Events list.
        /// 500 is what client-go asks for: a page of about 0.5 MB, and one page is held in memory at a time.
        page_size: u32 = 500 => 10..=10_000,
        /// How long the API server is asked to keep one watch open.
        /// It must stay below the 5 minutes after which etcd is compacted, so that a watch ended in time can resume.
        watch_timeout: Duration = seconds(290) => seconds(10)..=hours(1),
        /// How much longer than `watch_timeout` a watch may be silent before it counts as dead and is opened again.
        read_slack: Duration = seconds(15) => seconds(1)..=seconds(300),
        /// After this long without an item the position of an Events watch is renewed by a metadata-only list.
        /// Well below etcd's 5 minutes between compactions: two renewals may fail before the position is lost.
        idle_renewal: Duration = seconds(120) => seconds(5)..=hours(1),
        /// Time for the connection to the API server to open.
        connect_timeout: Duration = seconds(10) => seconds(1)..=seconds(300),
        /// Time for one page of a list to arrive.
        /// The API server itself gives up after 60 s.
        list_timeout: Duration = seconds(75) => seconds(1)..=hours(1),
        /// Waiting time between attempts after a failure.
        backoff: BackoffConfig = BackoffConfig::default(),
    }

    /// Exponential waiting time, with jitter.
    pub struct BackoffConfig {
        /// First waiting time; it doubles with each failure in a row.
        /// client-go's reflector begins with the same 800 ms.
        initial: Duration = millis(800) => millis(10)..=seconds(60),
        /// Longest waiting time, jitter included.
        /// client-go's reflector stops at the same 30 s.
        max: Duration = seconds(30) => millis(100)..=hours(1),
    }

    /// The queue before the writer.
    pub struct QueueConfig {
        /// Rows held in memory; when it is full the oldest row is dropped.
        capacity: usize = 1000 => 1..=1_000_000,
        /// Bytes held in memory; the second bound of the same queue.
        /// A row has 1 KiB on average and at most about 15 KiB (4 KiB of text, 10 KiB of metadata), so 8 MiB is reached
        /// before `capacity` only when every row is large.
        max_bytes: ByteSize = ByteSize::mib(8) => ByteSize::kib(64)..=ByteSize::mib(16 * 1024),
        /// Share of either bound, in percent, from which the Events source stops reading.
        /// The rest is room for producers that cannot wait.
        high_water_percent: u8 = 80 => 10..=100,
        /// How long the Events source waits at a full queue before it closes its watch and resumes later.
        /// Shorter than the time after which the API server drops a watch that does not read.
        max_wait: Duration = seconds(30) => seconds(1)..=hours(1),
    }

    /// How rows are committed.
    pub struct WriterConfig {
        /// Rows in one transaction, at most.
        /// 1,000 rows take about 20 ms to insert, so a batch ends well within 50 ms.
        batch_rows: usize = 1000 => 1..=100_000,
        /// Bytes in one transaction, at most.
        /// Half of the queue: while one half is written the other can fill.
        batch_bytes: ByteSize = ByteSize::mib(4) => ByteSize::kib(16)..=ByteSize::mib(1024),
        /// How long the writer waits for company after the first row of a batch.
        /// A lone row is committed within 50 ms all the same.
        linger: Duration = millis(10) => millis(0)..=seconds(10),
        /// Attempts after a failed commit before the recorder counts as degraded; it goes on trying even then.
        retries: u32 = 3 => 0..=100,
        /// Waiting time before the first retry; it doubles each time.
        retry_initial: Duration = millis(100) => millis(1)..=seconds(60),
        /// Longest waiting time between retries, jitter included.
        /// It bounds how late a healed disk is noticed.
        retry_max: Duration = seconds(5) => millis(10)..=seconds(600),
        /// How often the writer commits a heartbeat.
        /// The database counts as unhealthy after three of them are missing.
        heartbeat: Duration = seconds(10) => seconds(1)..=seconds(60),
    }

    /// How long rows are kept, by the time of their last occurrence.
    pub struct RetentionConfig {
        /// For rows of severity info and warning.
        info_warning: Duration = days(7) => hours(1)..=days(3650),
        /// For rows of severity error and critical.
        error_critical: Duration = days(30) => hours(1)..=days(3650),
        /// How often old rows are looked for, beside once at the start.
        interval: Duration = hours(6) => seconds(60)..=days(7),
    }

    /// How much room the database may take.
    pub struct StorageConfig {
        /// Used bytes of the database above which rows are deleted: the oldest of the namespace that holds most, the least
        /// severe first.
        /// Unset means 60 % of the volume.
        max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(1))..=Some(ByteSize::mib(16 << 20)),
    }

    /// What is watched beside Events, and what is concluded from it. `docs/rules.md` describes the rules.
    pub struct AnalysisConfig {
        /// Whether Nodes, Pods, Deployments, Services and ConfigMaps are watched at all.
        /// Without them there are no changes, no findings, and no owners on Events.
        enabled: bool = true,
        /// Rules that do not run, by their number, such as `A1`; a whole type by its word, such as `assessment`.
        disabled_rules: Vec<String> = Vec::new(); anywhere,
        /// Namespaces whose objects open no findings.
        exclude_namespaces: Vec<String> = Vec::new(); anywhere,
        /// Namespaces whose objects open no assessments.
        /// What the distribution runs is not the user's to change.
        assessment_exclude_namespaces: Vec<String> = vec![
            "kube-system".to_owned(), "kube-public".to_owned(), "kube-node-lease".to_owned(),
        ]; anywhere,
        /// Bytes that the analysis may hold of objects and findings, by its own estimate.
        /// Beyond them the analysis of the namespace that holds most is switched off, and `/healthz` says so; its Events
        /// are recorded all the same.
        /// Unset means half of the container's memory limit, or 512Mi where there is none: of 128Mi, 64Mi. The other half is
        /// for the process itself (15 MiB), the queue and the batch that is written (12 MiB), pages and lines of the API
        /// server that are being read (up to 20 MiB), and what the allocator cannot give back.
        max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(4))..=Some(ByteSize::mib(1 << 20)); anywhere,
        /// Of these, bytes that one namespace may hold.
        /// Unset means half of `max_bytes`, so that nobody who may edit one namespace can take all.
        namespace_max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(1))..=Some(ByteSize::mib(1 << 20)); anywhere,
        /// From when on the rules speak.
        thresholds: ThresholdConfig = ThresholdConfig::default(),
    }

    /// From when on the rules speak.
    pub struct ThresholdConfig {
        /// How long a container must run without trouble until a finding about its failure closes.
        /// Longer than the longest pause of a crash loop (5 min), so that a finding does not close between two crashes.
        settle: Duration = seconds(600) => seconds(1)..=days(1),
        /// Restarts of a container within `restart_window` that make a crash loop.
        restarts: u32 = 3 => 1..=1000,
        /// See `restarts`.
        restart_window: Duration = seconds(600) => seconds(1)..=days(1),
        /// How long kube9 waits after a container's crash whether it is the first of a loop, which is reported instead.
        exit: Duration = seconds(20) => seconds(0)..=hours(1),
        /// How long an image may fail to be pulled.
        image_pull: Duration = seconds(60) => seconds(0)..=days(1),
        /// How long a pod may wait for a node.
        unschedulable: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long the containers of a pod that has a node may take to be created.
        creating: Duration = seconds(600) => seconds(0)..=days(1),
        /// How long a running pod may be not ready.
        not_ready: Duration = seconds(900) => seconds(0)..=days(1),
        /// How long a pod may take to end after its grace period.
        terminating: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a node may be not ready until that is critical.
        node_critical: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a Deployment may have fewer available pods than it wants.
        unavailable: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a Service may be without pods, or without ready ones.
        service: Duration = seconds(60) => seconds(0)..=days(1),
        /// How long a Deployment or Service must be well until its finding closes: a pod in a crash loop is ready for
        /// moments.
        recovery: Duration = seconds(60) => seconds(0)..=days(1),
        /// Failures this soon after a change of the image or of a ConfigMap are put down to it.
        after_change: Duration = seconds(600) => seconds(1)..=days(1),
        /// Pods of one owner with the same failure that make an insight.
        same_failure: u32 = 3 => 2..=1000,
        /// Changes between ready and not ready within `flapping_window` that make a node flap.
        flapping: u32 = 4 => 2..=1000,
        /// See `flapping`.
        flapping_window: Duration = hours(1) => seconds(1)..=days(7),
        /// Share of a node's CPU or memory, in percent, that pods have asked for when it counts as full.
        node_full_percent: u8 = 95 => 1..=100,
        /// Recorded warnings of a namespace within an hour below which nothing is unusual.
        warnings: u32 = 20 => 1..=1_000_000,
        /// How many times the usual number of warnings an hour is unusual.
        warning_factor: u32 = 5 => 2..=1000,
        /// How long kube9's own database or a watch of it may be degraded.
        own: Duration = seconds(60) => seconds(0)..=days(1),
        /// Share of the volume of kube9's database, in percent, that has to be free.
        disk_free_percent: u8 = 10 => 1..=90,
        /// How long an assessment waits after a change, so that a manifest that is applied in parts is judged as a whole.
        assessment: Duration = seconds(30) => seconds(0)..=days(1),
    }

    /// Limits of the HTTP server.
    pub struct HttpConfig {
        /// Connections open at the same time; a further one takes the place of the oldest.
        /// A handful of scrapers and probes need one each, for milliseconds.
        max_connections: usize = 64 => 2..=10_000,
        /// Time for a request's head to arrive, and for which an idle connection is kept.
        header_timeout: Duration = seconds(10) => millis(100)..=seconds(600),
        /// Longest life of a connection.
        /// The client opens a new one for its next request.
        connection_timeout: Duration = seconds(30) => millis(100)..=hours(1),
    }
}

impl RetentionConfig {
    /// How long rows of a severity are kept.
    pub fn keep(&self, severity: Severity) -> Duration {
        if severity >= Severity::Error {
            self.error_critical
        } else {
            self.info_warning
        }
    }
}

impl Config {
    /// The effective configuration, as a config file.
    pub fn to_yaml(&self) -> String {
        // Invariant: a tree of plain values always serializes.
        serde_yaml::to_string(&self.show()).unwrap_or_default()
    }

    /// All settings with their defaults and documentation.
    pub fn settings() -> Vec<Described> {
        let mut out = Vec::new();
        Self::default().describe("", None, None, "", &mut out);
        out
    }
}
