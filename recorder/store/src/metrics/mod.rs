//! Metrics of the store. The ledger of Events is in `ledger`.
//!
//! Invariant: counters of what is stored grow after the commit, never before.

mod labels;
mod ledger;

use std::sync::{Arc, MutexGuard};

use kube9_base::metrics::{
    Family, Family2, counter, counters, gauge, gauges, histogram, seconds, seconds_by,
};
use kube9_model::change::kinds::BUILT_IN;
use kube9_model::label::Stage;
use kube9_model::{EventType, Severity};
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, Registry};

pub use labels::{Bound, Item, Observed, Operation, Recovery, Removal};
use ledger::EventLedger;
pub use ledger::{EventCounts, StateCounts};

/// The metrics of queue, writer and retention.
pub struct Metrics {
    ledger: EventLedger,
    /// Rows committed as new.
    pub rows_inserted: Family2<EventType, Severity, IntCounter>,
    /// Changes of objects recorded, by kind.
    pub changes: IntCounterVec,
    /// Rows in the queue now.
    pub queue_size: IntGauge,
    /// Bytes in the queue now.
    pub queue_bytes: IntGauge,
    /// Rows that the queue can hold.
    pub queue_capacity: IntGauge,
    /// Bytes of the database's files.
    pub storage_bytes: IntGauge,
    /// Bytes of the write-ahead log.
    pub wal_bytes: IntGauge,
    /// Rows in the database.
    pub rows: Family<Severity, IntGauge>,
    /// `created_at` of the oldest row; seconds since 1970, 0 while there is none.
    pub oldest_event: Gauge,
    /// Statements of the recorder.
    pub operations: Family<Operation, IntCounter>,
    /// From an Event's last occurrence to its commit, in seconds.
    pub store_delay: Histogram,
    /// Rows in a committed transaction.
    pub batch_rows: Histogram,
    /// From BEGIN to the end of COMMIT, in seconds.
    pub write_duration: Histogram,
    /// Commits that failed and were tried again.
    pub write_retries: IntCounter,
    /// Checkpoints that a reader blocked.
    pub checkpoint_busy: IntCounter,
    /// Rows deleted by retention.
    pub retention_deleted: Family2<Severity, Removal, IntCounter>,
    /// Largest share of retention that the size limit has deleted.
    pub record_shortened: Family<Severity, Gauge>,
    /// Namespaces whose rows the size limit has deleted early.
    pub record_shortened_holders: Family<Severity, IntGauge>,
    /// When retention last ran to its end; seconds since 1970, 0 before.
    pub retention_last_success: Gauge,
    /// Recording gaps closed.
    pub gaps: Family<Recovery, IntCounter>,
    /// Recording gaps open now.
    pub gaps_open: IntGauge,
    /// Open ranges of dropped Events that no list has recovered yet.
    pub dropped_ranges_open: IntGauge,
    /// Failures by stage; an item may fail more than once.
    pub event_errors: Family<Stage, IntCounter>,
    /// Revisions deleted by retention.
    pub revisions_deleted: IntCounter,
    /// Revisions at the last clean-up.
    pub revisions_stored: IntGauge,
    /// Their bytes.
    pub revision_bytes: IntGauge,
    /// Namespaces over their budget at the last clean-up.
    pub revision_namespaces_over: IntGauge,
}

impl Metrics {
    /// Creates and registers everything. `filter_rules` are the names of the filter rules, by position.
    ///
    /// # Panics
    /// Two metrics have the same name, which a test excludes.
    pub fn new(r: &Registry, filter_rules: &[String]) -> Arc<Self> {
        Arc::new(Self {
            ledger: EventLedger::new(r, filter_rules),
            rows_inserted: Family2::resolve(&counters(
                r,
                "kube9_events_total",
                "Rows committed as new.",
                &["event_type", "severity"],
            )),
            changes: of_built_in_kinds(counters(
                r,
                "kube9_changes_total",
                "Changes of tracked objects that were recorded, in a row of their own or together with others, by kind.",
                &["kind"],
            )),
            queue_size: gauge(
                r,
                "kube9_events_queue_size",
                "Rows in the queue before the writer.",
            ),
            queue_bytes: gauge(
                r,
                "kube9_queue_bytes",
                "Bytes in the queue before the writer.",
            ),
            queue_capacity: gauge(
                r,
                "kube9_queue_capacity",
                "Rows that the queue before the writer can hold.",
            ),
            storage_bytes: gauge(
                r,
                "kube9_events_storage_size_bytes",
                "Bytes of the database: main file, write-ahead log and its index.",
            ),
            wal_bytes: gauge(r, "kube9_wal_bytes", "Bytes of the write-ahead log."),
            rows: Family::resolve(&gauges(
                r,
                "kube9_rows",
                "Rows in the database.",
                &["severity"],
            )),
            oldest_event: seconds(
                r,
                "kube9_oldest_event_timestamp_seconds",
                "Creation time of the oldest row, in unix time; 0 without rows.",
            ),
            operations: Family::resolve(&counters(
                r,
                "kube9_database_operations_total",
                "SQL statements that the recorder executed.",
                &["operation"],
            )),
            store_delay: histogram(
                r,
                "kube9_store_delay_seconds",
                "Time from an Event's last occurrence to its commit.",
                &STORE_DELAY_SECONDS,
            ),
            batch_rows: histogram(
                r,
                "kube9_write_batch_rows",
                "Rows in a committed transaction.",
                &BATCH_ROWS,
            ),
            write_duration: histogram(
                r,
                "kube9_write_duration_seconds",
                "Duration of a write transaction.",
                &WRITE_SECONDS,
            ),
            write_retries: counter(
                r,
                "kube9_write_retries_total",
                "Write transactions that failed and were retried.",
            ),
            checkpoint_busy: counter(
                r,
                "kube9_checkpoint_busy_total",
                "Checkpoints that could not complete because a reader kept a transaction open.",
            ),
            retention_deleted: Family2::resolve(&counters(
                r,
                "kube9_retention_deleted_total",
                "Rows deleted by retention.",
                &["severity", "cause"],
            )),
            record_shortened: Family::resolve(&seconds_by(
                r,
                "kube9_record_shortened_ratio",
                "Share of the configured retention that the size limit has deleted, in the namespace where it is largest; 0 if it has deleted nothing early.",
                &["severity"],
            )),
            record_shortened_holders: Family::resolve(&gauges(
                r,
                "kube9_record_shortened_namespaces",
                "Namespaces whose rows the size limit has deleted early; cluster-scoped objects and kube9's own rows count as one namespace each.",
                &["severity"],
            )),
            retention_last_success: seconds(
                r,
                "kube9_retention_last_success_timestamp_seconds",
                "Time of the last complete retention run, in unix time; 0 before the first.",
            ),
            gaps: Family::resolve(&counters(
                r,
                "kube9_gaps_total",
                "Recording gaps that were closed, by whether everything in them was recovered.",
                &["recovery"],
            )),
            gaps_open: gauge(r, "kube9_gaps_open", "Recording gaps that are open."),
            dropped_ranges_open: gauge(
                r,
                "kube9_dropped_ranges_open",
                "Ranges of dropped Events that no list has recovered yet.",
            ),
            event_errors: Family::resolve(&counters(
                r,
                "kube9_event_errors_total",
                "Items that failed, by processing stage.",
                &["stage"],
            )),
            revisions_deleted: counter(
                r,
                "kube9_revisions_deleted_total",
                "Past states of objects that retention deleted.",
            ),
            revisions_stored: gauge(
                r,
                "kube9_revisions",
                "Revisions in the database when the last clean-up began.",
            ),
            revision_bytes: gauge(
                r,
                "kube9_revision_bytes",
                "Bytes of the revisions in the database when the last clean-up began.",
            ),
            revision_namespaces_over: gauge(
                r,
                "kube9_revision_namespaces_over_budget",
                "Namespaces that had more bytes of revisions than their budget at the last clean-up, which deleted their oldest ones early; cluster-scoped objects count as one.",
            ),
        })
    }

    /// Metrics that no scrape shows, for tools and tests.
    pub fn detached() -> Arc<Self> {
        Self::new(&Registry::new(), &[])
    }

    /// Counts an Event received from the API server; it is pending until its outcome.
    pub fn received(&self) {
        self.ledger.received();
    }

    /// Records outcomes; call it after the commit.
    pub fn account(&self, outcomes: &EventCounts) {
        self.ledger.record(outcomes);
    }

    /// Counts a state of a tracked object that was received; it is pending until its outcome.
    pub fn state_received(&self) {
        self.ledger.state_received();
    }

    /// A state was received that cannot be decoded.
    pub fn state_skipped(&self) {
        self.state_received();
        let mut counts = StateCounts::default();
        counts.add(Observed::Skipped);
        self.ledger.record_states(&counts);
    }

    /// Records outcomes of states; call it after the commit.
    pub fn account_states(&self, counts: &StateCounts) {
        self.ledger.record_states(counts);
    }

    /// A full queue dropped an item. For an Event this is its outcome.
    pub fn dropped(&self, item: Item, bound: Bound) {
        self.ledger.dropped(item, bound);
    }

    /// While the guard is held, the ledger balances and does not change.
    pub fn balanced(&self) -> MutexGuard<'_, ()> {
        self.ledger.lock()
    }
}

/// From 50 ms to an Event that a relist recovers an hour later.
/// core/v1 times are whole seconds, so delays below 1 s are mostly rounding.
const STORE_DELAY_SECONDS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
];

/// Up to `writer.batch_rows`.
const BATCH_ROWS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];

/// A commit takes 0.1 ms on a good disk; 50 ms is the promise; seconds mean trouble.
const WRITE_SECONDS: [f64; 13] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

/// The counters of the built-in kinds begin at 0; that of a custom resource with its first change.
fn of_built_in_kinds(counters: IntCounterVec) -> IntCounterVec {
    for kind in &BUILT_IN {
        drop(counters.with_label_values(&[&kind.kind]));
    }
    counters
}
