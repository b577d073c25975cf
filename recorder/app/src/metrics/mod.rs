//! What the recorder says of itself in numbers: all metrics, each resolved once, none with a label that can be mistyped.
//!
//! Rooms take `Arc<Metrics>` and touch fields; nothing here asks anybody. `docs/metrics.md` is generated from this room.
//!
//! Invariants: all label sets are closed and all their series exist from the start, at 0; `kube9_watch_connected` has
//! one for each kind that the configuration watches. Counters of what is stored
//! grow after the commit, never before. The names, labels and meanings of the mission's five metrics never change:
//! `kube9_events_total`, `kube9_events_queue_size`, `kube9_events_dropped_total`, `kube9_events_storage_size_bytes` and
//! `kube9_database_operations_total`.

mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube9_base::metrics::{counter, gauge, gauges, register};
use kube9_k8s::metrics::Action;
use kube9_model::label::{Kind, Stage};
use prometheus::{IntCounter, IntGauge, Registry, TextEncoder};

/// Labels that depend on the configuration and on the rules that are built in. Fixed for the life of the process.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Names of the filter rules, by position.
    pub filters: Vec<String>,
    /// Names of the analysis rules, e.g. `SingleReplicaBehindService`.
    pub findings: Vec<String>,
}

/// Brings gauges up to date; see [`Metrics::before_scrape`].
type BeforeScrape = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of the recorder.
pub struct Metrics {
    registry: Registry,
    /// Of the watches.
    pub k8s: Arc<kube9_k8s::metrics::Metrics>,
    /// Of queue, writer and retention.
    pub store: Arc<kube9_store::metrics::Metrics>,
    before_scrape: Mutex<Vec<BeforeScrape>>,

    /// Events whose reason is not in the table of reasons.
    pub unknown_reason: IntCounter,
    /// Connections that a panic ended.
    pub http_panics: IntCounter,
    /// Sights of objects that the analysis left out.
    pub objects_left_out: IntCounter,
    /// Bytes that the analysis holds.
    pub analysis_bytes: IntGauge,
    /// Bytes that the analysis may hold.
    pub analysis_bytes_max: IntGauge,
    /// Namespaces whose analysis is off.
    pub namespaces_off: IntGauge,
    /// 1 while `/healthz` is healthy; set by the HTTP server at each scrape.
    pub healthy: IntGauge,
    findings_open: BTreeMap<String, IntGauge>,
}

impl Metrics {
    /// Creates and registers everything.
    ///
    /// # Panics
    /// When two metrics have one name, which a test excludes.
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
                "kube9_analysis_objects_left_out_total",
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
                "kube9_analysis_namespaces_off",
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

    /// An object arrived from the API server. For an Event this opens its entry in the account.
    pub fn received(&self, kind: Kind, action: Action) {
        self.k8s.received(kind, action);
        if kind == Kind::Event {
            self.store.received();
        }
    }

    /// Open findings of a rule; `None` if the rule was not named at the start.
    pub fn findings_open(&self, rule: &str) -> Option<&IntGauge> {
        self.findings_open.get(rule)
    }

    /// Runs `update` at each scrape, before anything is read: for gauges whose value somebody else holds, such as the
    /// length of the queue. It must be quick, and must neither block nor scrape.
    pub fn before_scrape(&self, update: impl Fn(&Self) + Send + Sync + 'static) {
        let mut updates = self
            .before_scrape
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        updates.push(Arc::new(update));
    }

    /// Everything, in the Prometheus text format.
    ///
    /// # Errors
    /// When a family cannot be written; a test excludes it for all families there are.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        // Copied, so that the lock is not held while foreign code runs.
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

/// What a scrape's `Content-Type` says.
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
