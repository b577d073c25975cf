//! The ledgers of Events and of states of tracked objects: each that was received has exactly one outcome or is pending.
//!
//! ```text
//!   Events   received = stored + folded + duplicate + deleted + filtered + skipped + dropped Events + pending
//!   states   received = first + created + changed + folded + silent + unchanged + stale + deleted + skipped + pending
//! ```
//!
//! An object that a complete list no longer shows is received, as deleted.
//!
//! Invariant: the equations hold in every scrape, because its terms change and are gathered under one lock. Without it, a
//! scrape between two updates would show an Event twice or not at all. The lock is held for a few additions; a scrape
//! holds it while it gathers some hundred series.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube9_base::metrics::{Family, Family2, counter, counters, gauge};
use kube9_model::label::{Label, Stage};
use prometheus::{IntCounter, IntGauge, Registry};

use super::labels::{Bound, Item, Observed};

const STAGES: usize = Stage::ALL.len();

/// Outcomes of a number of Events, one each; reported after the commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Became a new row.
    pub stored: u64,
    /// Updated a row.
    pub folded: u64,
    /// Was already stored.
    pub duplicate: u64,
    /// Was a deletion, which changes no row.
    pub deleted: u64,
    /// Matched a filter rule; by the rule's position. See [`EventCounts::add_filtered`].
    pub filtered: Vec<u64>,
    /// Failed; by the position of the stage. See [`EventCounts::add_skipped`].
    pub skipped: [u64; STAGES],
}

impl EventCounts {
    /// Counts an Event that matched the filter rule at position `rule` of the configuration.
    pub fn add_filtered(&mut self, rule: usize) {
        if self.filtered.len() <= rule {
            self.filtered.resize(rule + 1, 0);
        }
        self.filtered[rule] += 1;
    }

    /// Counts an Event that was skipped at `stage`.
    pub fn add_skipped(&mut self, stage: Stage) {
        self.skipped[stage.index()] += 1;
    }

    pub fn total(&self) -> u64 {
        let by_label = self.filtered.iter().chain(&self.skipped).sum::<u64>();
        self.stored + self.folded + self.duplicate + self.deleted + by_label
    }
}

/// Outcomes of a number of states of tracked objects; reported after the commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateCounts {
    by_outcome: [u64; Observed::ALL.len()],
    /// Of these, which no item brought: a list did not show the object, or showed another one of its name.
    inferred: u64,
    /// New revisions.
    pub revisions: u64,
    /// States that replaced a revision of the same minute.
    pub thinned: u64,
}

impl StateCounts {
    /// Counts an outcome.
    pub fn add(&mut self, outcome: Observed) {
        self.by_outcome[outcome.index()] += 1;
    }

    /// Completes an item that brought `states` states (one, or none if it is about a list), and after which the total grew
    /// from `before`. A state without an outcome was skipped.
    pub fn complete_item(&mut self, states: u64, before: u64) {
        let counted = self.total() - before;
        if counted < states {
            self.add(Observed::Skipped);
        }
        self.inferred += counted.saturating_sub(states);
    }

    pub fn total(&self) -> u64 {
        self.by_outcome.iter().sum()
    }
}

/// Label of rules beyond those named at the start; it also keeps the family from being empty without rules.
/// No rule can have this name: the configuration allows only letters, digits and `-`.
const OTHER_RULE: &str = "_other";

/// The terms of the equation.
pub(super) struct EventLedger {
    lock: Mutex<()>,
    received: IntCounter,
    stored: IntCounter,
    folded: IntCounter,
    duplicate: IntCounter,
    deleted: IntCounter,
    /// By the position of the rule; the last one is [`OTHER_RULE`].
    filtered: Vec<IntCounter>,
    skipped: Family<Stage, IntCounter>,
    dropped: IntCounter,
    dropped_by: Family2<Item, Bound, IntCounter>,
    /// Negative only if an Event was recorded that was never received: not clamped, so that the bug is visible.
    pending: IntGauge,
    states_received: IntCounter,
    states: Family<Observed, IntCounter>,
    states_pending: IntGauge,
    revisions: IntCounter,
    revisions_thinned: IntCounter,
}

impl EventLedger {
    /// An empty ledger; `filter_rules` are the rules' labels, by position.
    pub(super) fn new(r: &Registry, filter_rules: &[String]) -> Self {
        let filtered = counters(
            r,
            "kube9_events_filtered_total",
            "Events received that a filter rule excluded.",
            &["rule"],
        );
        let rules = filter_rules.iter().map(String::as_str).chain([OTHER_RULE]);
        Self {
            lock: Mutex::default(),
            received: counter(
                r,
                "kube9_events_received_total",
                "Events received from the API server, by list or watch.",
            ),
            stored: counter(
                r,
                "kube9_events_stored_total",
                "Events received that became a new row.",
            ),
            folded: counter(
                r,
                "kube9_events_folded_total",
                "Events received that updated an existing row (repeats).",
            ),
            duplicate: counter(
                r,
                "kube9_events_duplicate_total",
                "Events received that were already recorded.",
            ),
            deleted: counter(
                r,
                "kube9_events_deleted_total",
                "Deletions of Events received; they delete no rows.",
            ),
            filtered: rules
                .map(|rule| filtered.with_label_values(&[rule]))
                .collect(),
            skipped: Family::resolve(&counters(
                r,
                "kube9_events_skipped_total",
                "Events received that failed at a stage and were skipped.",
                &["stage"],
            )),
            dropped: counter(
                r,
                "kube9_events_dropped_total",
                "Items of any kind that were dropped because the queue was full.",
            ),
            dropped_by: Family2::resolve(&counters(
                r,
                "kube9_queue_dropped_total",
                "Items that were dropped because the queue was full, by kind of item and by the limit that was reached.",
                &["item", "bound"],
            )),
            pending: gauge(
                r,
                "kube9_events_pending",
                "Events received that are in the queue or in the current batch, and not committed yet.",
            ),
            states_received: counter(
                r,
                "kube9_object_states_received_total",
                "States of tracked objects received from the API server, by list or watch, and objects that a list no longer shows.",
            ),
            states: Family::resolve(&counters(
                r,
                "kube9_object_states_total",
                "States of tracked objects that were committed, by outcome.",
                &["outcome"],
            )),
            states_pending: gauge(
                r,
                "kube9_object_states_pending",
                "States received that are in the queue or in the current batch, and not committed yet.",
            ),
            revisions: counter(
                r,
                "kube9_revisions_total",
                "Revisions committed as new: states of objects, and deletions.",
            ),
            revisions_thinned: counter(
                r,
                "kube9_revisions_left_out_total",
                "States of objects that change often which are not kept as a revision: a later one of the same minute replaced them.",
            ),
        }
    }

    pub(super) fn state_received(&self) {
        let _lock = self.lock();
        self.states_received.inc();
        self.states_pending.inc();
    }

    pub(super) fn record_states(&self, counts: &StateCounts) {
        if *counts == StateCounts::default() {
            return;
        }
        let _lock = self.lock();
        for (outcome, count) in Observed::ALL.iter().zip(counts.by_outcome) {
            self.states.get(*outcome).inc_by(count);
        }
        self.states_received.inc_by(counts.inferred);
        let completed = counts.total() - counts.inferred;
        self.states_pending
            .sub(i64::try_from(completed).unwrap_or(i64::MAX));
        self.revisions.inc_by(counts.revisions);
        self.revisions_thinned.inc_by(counts.thinned);
    }

    /// While the guard is held, the ledger balances and does not change.
    pub(super) fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn received(&self) {
        let _lock = self.lock();
        self.received.inc();
        self.pending.inc();
    }

    pub(super) fn record(&self, outcomes: &EventCounts) {
        let _lock = self.lock();
        self.stored.inc_by(outcomes.stored);
        self.folded.inc_by(outcomes.folded);
        self.duplicate.inc_by(outcomes.duplicate);
        self.deleted.inc_by(outcomes.deleted);
        let other = self.filtered.len() - 1;
        for (rule, count) in outcomes.filtered.iter().enumerate() {
            self.filtered[rule.min(other)].inc_by(*count);
        }
        for (stage, count) in Stage::ALL.iter().zip(outcomes.skipped) {
            self.skipped.get(*stage).inc_by(count);
        }
        self.pending
            .sub(i64::try_from(outcomes.total()).unwrap_or(i64::MAX));
    }

    pub(super) fn dropped(&self, item: Item, bound: Bound) {
        let _lock = self.lock();
        self.dropped.inc();
        self.dropped_by.get(item, bound).inc();
        if item == Item::Event {
            self.pending.dec();
        }
    }
}
