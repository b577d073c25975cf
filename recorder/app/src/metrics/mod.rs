//! The metrics of the recorder. Each is resolved once, and no label value is a free string.
//!
//! Other modules hold an `Arc<Metrics>` and update its fields. `docs/metrics.md` is generated from this module.
//!
//! Invariants: all label sets are closed, and all their series exist from the start with the value 0;
//! `kube9_watch_connected` has one series for each kind that the configuration watches. Counters of stored data grow after
//! the commit, never before. The names, labels and meanings of five metrics never change, because dashboards of the
//! original operator use them: `kube9_events_total`, `kube9_events_queue_size`, `kube9_events_dropped_total`,
//! `kube9_events_storage_size_bytes` and `kube9_database_operations_total`.

mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube9_base::metrics::{counter, gauge, gauges, register};
use kube9_k8s::metrics::Action;
use kube9_model::label::{Kind, Stage};
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};

/// Label values that depend on the configuration and on the built-in rules. Constant while the process runs.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Names of the filter rules, by position.
    pub filters: Vec<String>,
    /// Names of the analysis rules, e.g. `SingleReplicaBehindService`.
    pub findings: Vec<String>,
}

/// Updates gauges; see [`Metrics::before_scrape`].
type BeforeScrape = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of the recorder.
pub struct Metrics {
    registry: Registry,
    /// Metrics of the watches.
    pub k8s: Arc<kube9_k8s::metrics::Metrics>,
    /// Metrics of queue, writer and retention.
    pub store: Arc<kube9_store::metrics::Metrics>,
    before_scrape: Mutex<Vec<BeforeScrape>>,

    /// Events whose reason is not in the table of reasons.
    pub unknown_reason: IntCounter,
    /// Connections that a panic ended.
    pub http_panics: IntCounter,
    /// Objects that the analysis ignored.
    pub objects_left_out: IntCounter,
    /// Memory that the analysis uses, in bytes.
    pub analysis_bytes: IntGauge,
    /// Memory budget of the analysis, in bytes.
    pub analysis_bytes_max: IntGauge,
    /// Namespaces whose analysis is off.
    pub namespaces_off: IntGauge,
    /// 1 while `/healthz` is healthy; set by the HTTP server at each scrape.
    pub healthy: IntGauge,
    findings_open: BTreeMap<String, IntGauge>,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Panics
    /// If two metrics have the same name, which a test excludes.
    pub fn new(rules: &Rules) -> Arc<Self> {
        let registry = Registry::new();
        register(&registry, process::Process::new());
        build_info(&registry);
        let r = &registry;
        let store = kube9_store::metrics::Metrics::new(r, &rules.filters);
        let metrics = Self {
            k8s: kube9_k8s::metrics::Metrics::new(r, store.event_errors.get(Stage::Decode).clone()),
            store,
            before_scrape: Mutex::default(),
            unknown_reason: counter(
                r,
                "kube9_unknown_reason_total",
                "Events whose reason is not in kube9's table of known reasons.",
            ),
            http_panics: counter(
                r,
                "kube9_http_panics_total",
                "Connections that were closed because a request made the server panic; any value above 0 is a bug in kube9.",
            ),
            objects_left_out: counter(
                r,
                "kube9_analysis_objects_skipped_total",
                "Objects that the analysis ignored, because the analysis of their namespace is off.",
            ),
            analysis_bytes: gauge(
                r,
                "kube9_analysis_bytes",
                "Estimated bytes of memory that the analysis uses for objects and findings.",
            ),
            analysis_bytes_max: gauge(
                r,
                "kube9_analysis_max_bytes",
                "Memory budget of the analysis, in bytes.",
            ),
            namespaces_off: gauge(
                r,
                "kube9_analysis_namespaces_suspended",
                "Namespaces whose analysis is off because they exceed the memory budget.",
            ),
            healthy: gauge(
                r,
                "kube9_healthy",
                "1 if every check of /healthz is healthy, otherwise 0.",
            ),
            findings_open: findings(r, &rules.findings),
            registry,
        };
        Arc::new(metrics)
    }

    /// An object arrived from the API server. For an Event this opens its entry in the ledger.
    pub fn received(&self, kind: Kind, action: Action) {
        self.k8s.received(kind, action);
        if kind == Kind::Event {
            self.store.received();
        }
    }

    /// Open findings of a rule; `None` if the rule is unknown.
    pub fn findings_open(&self, rule: &str) -> Option<&IntGauge> {
        self.findings_open.get(rule)
    }

    /// Runs `update` before each scrape: for gauges whose value is held elsewhere, such as the length of the queue. It must
    /// be fast, and must neither block nor scrape.
    pub fn before_scrape(&self, update: impl Fn(&Self) + Send + Sync + 'static) {
        let mut updates = self
            .before_scrape
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        updates.push(Arc::new(update));
    }

    /// Encodes all metrics in the Prometheus text format.
    ///
    /// # Errors
    /// If a family cannot be encoded, which a test excludes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        // Copied, so that the lock is not held while the callbacks run.
        let updates = self
            .before_scrape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        updates.iter().for_each(|update| update(self));
        let families = {
            let _balanced = self.store.balanced();
            self.registry.gather()
        };
        TextEncoder::new().encode_to_string(&families)
    }
}

/// The `Content-Type` of a scrape.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

fn findings(r: &Registry, rules: &[String]) -> BTreeMap<String, IntGauge> {
    let family = gauges(
        r,
        "kube9_findings_open",
        "Findings that are open.",
        &["rule"],
    );
    rules
        .iter()
        .map(|rule| (rule.clone(), family.with_label_values(&[rule])))
        .collect()
}

fn build_info(r: &Registry) {
    let labels = ["version", "revision", "sqlite"];
    let info = gauges(
        r,
        "kube9_build_info",
        "1, labelled with what this recorder was built from.",
        &labels,
    );
    info.with_label_values(&[crate::VERSION, crate::REVISION, rusqlite::version()])
        .set(1);
}
