//! The settings of the analysis.

use std::time::Duration;

use kube9_base::settings::{ByteSize, days, hours, seconds};

kube9_base::sections! {
    /// What is watched besides Events, and the rules that evaluate it. `docs/rules.md` describes the rules.
    pub struct AnalysisConfig {
        /// Watch Nodes, Pods, Deployments, Services and ConfigMaps.
        /// If false, the record has no findings, no rows about ended pods and rollouts, and no owners on Events.
        enabled: bool = true,
        /// Rules that do not run, by their name, such as `ImageNotPinned`, or all rules of a type, such as `assessment`.
        disabled_rules: Vec<String> = Vec::new(); anywhere,
        /// Namespaces whose objects open no findings.
        exclude_namespaces: Vec<String> = Vec::new(); anywhere,
        /// Namespaces whose objects open no assessments.
        /// The default excludes what the Kubernetes distribution installs, because users cannot change it.
        assessment_exclude_namespaces: Vec<String> = vec![
            "kube-system".to_owned(), "kube-public".to_owned(), "kube-node-lease".to_owned(),
        ]; anywhere,
        /// Memory budget of the analysis for objects and findings, in bytes, by its own estimate.
        /// If it is exceeded, the analysis of the namespace that uses most is turned off, and `/healthz` reports it;
        /// the
        /// Events of the namespace are still recorded.
        /// Unset means half of the container's memory limit (64Mi of 128Mi), or 512Mi without a limit.
        /// The other half is for the process itself (15 MiB), the queue and the batch that is written (12 MiB), pages
        /// and lines of the API server that are being read (up to 20 MiB), and memory that the allocator cannot
        /// return.
        max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(4))..=Some(ByteSize::mib(1 << 20)); anywhere,
        /// The part of `max_bytes` that one namespace can use.
        /// Unset means half of it, so that a user who can edit one namespace cannot use all of it.
        namespace_max_bytes: Option<ByteSize> = None => Some(ByteSize::mib(1))..=Some(ByteSize::mib(1 << 20)); anywhere,
        /// What containers say when they end.
        last_words: LastWordsConfig = LastWordsConfig::default(),
        /// Thresholds of the rules.
        thresholds: ThresholdConfig = ThresholdConfig::default(),
    }

    /// What containers say when they end.
    pub struct LastWordsConfig {
        /// Keep the termination messages of containers, redacted and at most 1 KiB each, in the rows about crashes and
        /// ended pods.
        /// A container writes its message to `terminationMessagePath`; with
        /// `terminationMessagePolicy: FallbackToLogsOnError`, the end of its log takes the place of a missing one.
        messages: bool = true,
    }

    /// Thresholds of the rules.
    pub struct ThresholdConfig {
        /// How long a container must run without failing before a finding about its failure closes.
        /// It should be longer than the longest delay of a crash loop (5 min), so that a finding does not close
        /// between two crashes.
        stable_after: Duration = seconds(600) => seconds(1)..=days(1),
        /// Restarts of a container within `restart_window` that are a crash loop.
        restarts: u32 = 3 => 1..=1000,
        /// Time in which `restarts` are counted.
        restart_window: Duration = seconds(600) => seconds(1)..=days(1),
        /// How long kube9 waits after a crash of a container before it reports it. If a crash loop follows, only the
        /// loop is reported.
        exit: Duration = seconds(20) => seconds(0)..=hours(1),
        /// How long an image pull must fail before a finding opens.
        image_pull: Duration = seconds(60) => seconds(0)..=days(1),
        /// How long a pod must be unschedulable before a finding opens.
        unschedulable: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a scheduled pod may wait for its containers to be created before a finding opens.
        creating: Duration = seconds(600) => seconds(0)..=days(1),
        /// How long a running pod must be not ready before a finding opens.
        not_ready: Duration = seconds(900) => seconds(0)..=days(1),
        /// How long after its grace period a pod must still be terminating before a finding opens.
        terminating: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a new node may take to become ready, and a node that is removed or drained may be not ready,
        /// before a finding opens.
        node_start: Duration = seconds(600) => seconds(0)..=days(1),
        /// How long another node must be not ready before a finding opens.
        /// A kubelet that restarts is not ready for some seconds, and so is a machine that its cloud took away before
        /// its Node is deleted.
        node_unready: Duration = seconds(15) => seconds(0)..=days(1),
        /// How long a node must be not ready before its finding becomes critical.
        node_critical: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a Deployment must have fewer available pods than desired before a finding opens.
        unavailable: Duration = seconds(300) => seconds(0)..=days(1),
        /// How long a Service must have no pods, or no ready pods, before a finding opens.
        service: Duration = seconds(60) => seconds(0)..=days(1),
        /// How long a Deployment or Service must be healthy before its finding closes.
        /// Pods in a crash loop are ready for short moments.
        recovery: Duration = seconds(60) => seconds(0)..=days(1),
        /// Time after a change of an image or a ConfigMap in which a failure is attributed to that change.
        after_change: Duration = seconds(600) => seconds(1)..=days(1),
        /// Pods of one owner with the same failure before an insight opens.
        same_failure: u32 = 3 => 2..=1000,
        /// Changes of a node between ready and not ready, within `flapping_window`, before a finding opens.
        flapping: u32 = 4 => 2..=1000,
        /// Time in which `flapping` changes are counted.
        flapping_window: Duration = hours(1) => seconds(1)..=days(7),
        /// Share of a node's CPU or memory, in percent, that the requests of its pods must reach before a finding
        /// opens.
        node_full_percent: u8 = 95 => 1..=100,
        /// Warnings per hour that a namespace must have before its rate can be reported as unusual.
        warnings: u32 = 20 => 1..=1_000_000,
        /// Factor above the usual number of warnings per hour at which a finding opens.
        warning_factor: u32 = 5 => 2..=1000,
        /// How long the check of kube9's database or of a watch must be degraded before a finding opens.
        recorder_check: Duration = seconds(60) => seconds(0)..=days(1),
        /// Free share of the volume of kube9's database, in percent, below which a finding opens.
        disk_free_percent: u8 = 10 => 1..=90,
        /// How long an assessment waits after a change, so that a manifest that is applied in parts is evaluated as a
        /// whole.
        assessment: Duration = seconds(30) => seconds(0)..=days(1),
    }
}
