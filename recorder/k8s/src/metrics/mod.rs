//! The metrics of the watches.

mod labels;

use std::sync::{Arc, Mutex, PoisonError};

use kube9_base::metrics::{Family, Family2, counter, counters, gauges, histograms, seconds_by};
use kube9_model::label::{Kind, Label};
use prometheus::{Gauge, Histogram, IntCounter, IntGaugeVec, Registry};

pub use labels::{Action, RestartCause};

/// The metrics of the watches.
pub struct Metrics {
    items: Family2<Kind, Action, IntCounter>,
    /// Objects that cannot be decoded.
    pub decode_errors: IntCounter,
    /// The number of watches, and of connected watches.
    pub watches: Connections,
    /// Watches that were opened again.
    pub watch_restarts: Family2<Kind, RestartCause, IntCounter>,
    /// Unix time of the last data, also a bookmark or an empty list; 0 before the first.
    pub watch_last_activity: Family<Kind, Gauge>,
    /// From the request of a list to its last page, in seconds.
    pub list_duration: Family<Kind, Histogram>,
    /// Objects that were truncated.
    pub objects_cut: IntCounter,
}

impl Metrics {
    /// Creates and registers all metrics except `decode_errors`, whose other labels belong to other crates.
    ///
    /// # Panics
    /// If two metrics have the same name, which a test excludes.
    pub fn new(r: &Registry, decode_errors: IntCounter) -> Arc<Self> {
        Arc::new(Self {
            items: Family2::resolve(&counters(
                r,
                "kube9_watch_items_total",
                "Objects received from the API server, by kind and by how they arrived.",
                &["kind", "action"],
            )),
            decode_errors,
            watches: Connections::new(r),
            watch_restarts: Family2::resolve(&counters(
                r,
                "kube9_watch_restarts_total",
                "Watches that ended and were opened again, by cause.",
                &["kind", "cause"],
            )),
            watch_last_activity: Family::resolve(&seconds_by(
                r,
                "kube9_watch_last_activity_timestamp_seconds",
                "Time of the last data from the API server, also a bookmark or an empty list, in unix time; 0 before the first.",
                &["kind"],
            )),
            list_duration: Family::resolve(&histograms(
                r,
                "kube9_list_duration_seconds",
                "Duration of a list, from its request to its last page.",
                &["kind"],
                &LIST_SECONDS,
            )),
            objects_cut: counter(
                r,
                "kube9_analysis_objects_truncated_total",
                "Objects of which the analysis keeps only a part, because they are too large.",
            ),
        })
    }

    /// An object arrived from the API server.
    pub fn received(&self, kind: Kind, action: Action) {
        self.items.get(kind, action).inc();
    }
}

/// Counts the watches and the connected watches. A kind has one watch, or one for each namespace. Only watched kinds have
/// a series: a 0 always means a problem.
pub struct Connections {
    family: IntGaugeVec,
    /// For each kind: the number of watches, and of connected watches.
    watches: Mutex<[(usize, usize); Kind::ALL.len()]>,
}

impl Connections {
    fn new(r: &Registry) -> Self {
        Self {
            family: gauges(
                r,
                "kube9_watch_connected",
                "1 if every watch of the kind is connected, otherwise 0; only for kinds that are watched.",
                &["kind"],
            ),
            watches: Mutex::default(),
        }
    }

    /// Adds a watch of `kind` that is not connected yet.
    pub fn expect(&self, kind: Kind) {
        self.change(kind, |(all, _)| *all += 1);
    }

    /// Removes a watch of `kind` that is not connected.
    pub fn forget(&self, kind: Kind) {
        self.change(kind, |(all, _)| *all = all.saturating_sub(1));
    }

    /// A watch of `kind` has connected.
    pub fn connected(&self, kind: Kind) {
        self.change(kind, |(_, connected)| *connected += 1);
    }

    /// A connected watch of `kind` has disconnected.
    pub fn disconnected(&self, kind: Kind) {
        self.change(kind, |(_, connected)| {
            *connected = connected.saturating_sub(1);
        });
    }

    fn change(&self, kind: Kind, change: impl FnOnce(&mut (usize, usize))) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let watches = &mut watches[kind.index()];
        change(watches);
        let (all, connected) = *watches;
        let gauge = self.family.with_label_values(&[kind.name()]);
        gauge.set(i64::from(connected >= all));
    }
}

/// A page takes some 10 ms; the API server aborts a page after 60 s.
const LIST_SECONDS: [f64; 11] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0,
];
