//! The account of Events: what came in, what became of it, what is still on its way.
//!
//! ```text
//!   received = stored + folded + duplicate + deleted + filtered + set aside + dropped Events + pending
//! ```
//!
//! Invariant: the equation holds in every scrape, since all its terms are read under one lock. Atomic counters could
//! not promise that: a scrape between two of them would show an Event twice or not at all. The lock is held for a few
//! additions; a scrape holds it to copy some hundred bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::families::{Family, Type};
use super::labels::{Action, Bound, Item, Kind, Label, Stage};

const KINDS: usize = Kind::ALL.len();
const ACTIONS: usize = Action::ALL.len();
const STAGES: usize = Stage::ALL.len();
const ITEMS: usize = Item::ALL.len();
const BOUNDS: usize = Bound::ALL.len();

/// What became of a number of Events: one outcome each, reported after the commit that made it final.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Became a new row.
    pub stored: u64,
    /// Updated a row.
    pub folded: u64,
    /// Had been seen before.
    pub duplicate: u64,
    /// Was a deletion, which changes no row.
    pub deleted: u64,
    /// Matched a filter rule; by the rule's position. See [`Outcomes::add_filtered`].
    pub filtered: Vec<u64>,
    /// Failed; by the position of the stage. See [`Outcomes::add_set_aside`].
    pub set_aside: [u64; STAGES],
}

impl Outcomes {
    /// One Event matched the filter rule at position `rule` of the configuration.
    pub fn add_filtered(&mut self, rule: usize) {
        if self.filtered.len() <= rule {
            self.filtered.resize(rule + 1, 0);
        }
        self.filtered[rule] += 1;
    }

    /// One Event was set aside at `stage`.
    pub fn add_set_aside(&mut self, stage: Stage) {
        self.set_aside[stage.index()] += 1;
    }

    /// Number of Events in it.
    pub fn total(&self) -> u64 {
        let by_label = self.filtered.iter().chain(&self.set_aside).sum::<u64>();
        self.stored + self.folded + self.duplicate + self.deleted + by_label
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    received: [[u64; ACTIONS]; KINDS],
    settled: Outcomes,
    dropped: [[u64; BOUNDS]; ITEMS],
}

impl State {
    fn events_received(&self) -> u64 {
        self.received[Kind::Event.index()].iter().sum()
    }

    /// Negative only if something was settled that was never received: shown as it is, so that the fault is seen.
    fn pending(&self) -> f64 {
        let events_dropped: u64 = self.dropped[Item::Event.index()].iter().sum();
        self.events_received() as f64 - (self.settled.total() + events_dropped) as f64
    }
}

/// Collects the families of the account from one consistent copy.
pub(super) struct Account {
    state: Mutex<State>,
    filter_rules: Vec<String>,
}

/// Label of rules beyond those that were named at the start; also keeps the family from being empty without rules.
/// No rule can have this name: the configuration allows letters, digits and `-`.
const OTHER_RULE: &str = "_other";

impl Account {
    /// An account with nothing in it; `filter_rules` are the rules' labels, by position.
    pub(super) fn new(filter_rules: &[String]) -> Self {
        Self {
            state: Mutex::default(),
            filter_rules: filter_rules.to_vec(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn received(&self, kind: Kind, action: Action) {
        self.lock().received[kind.index()][action.index()] += 1;
    }

    pub(super) fn settle(&self, outcomes: &Outcomes) {
        let mut state = self.lock();
        let settled = &mut state.settled;
        settled.stored += outcomes.stored;
        settled.folded += outcomes.folded;
        settled.duplicate += outcomes.duplicate;
        settled.deleted += outcomes.deleted;
        let rules = settled.filtered.len().max(outcomes.filtered.len());
        settled.filtered.resize(rules, 0);
        settled
            .filtered
            .iter_mut()
            .zip(&outcomes.filtered)
            .for_each(|(sum, n)| *sum += n);
        settled
            .set_aside
            .iter_mut()
            .zip(&outcomes.set_aside)
            .for_each(|(sum, n)| *sum += n);
    }

    pub(super) fn dropped(&self, item: Item, bound: Bound) {
        self.lock().dropped[item.index()][bound.index()] += 1;
    }

    fn filtered(&self, state: &State) -> Vec<([String; 1], f64)> {
        let count = |rule: usize| state.settled.filtered.get(rule).copied().unwrap_or(0);
        let other: u64 = state
            .settled
            .filtered
            .iter()
            .skip(self.filter_rules.len())
            .sum();
        let named = self
            .filter_rules
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), count(i)));
        let all = named.chain([(OTHER_RULE.to_owned(), other)]);
        all.map(|(name, count)| ([name], count as f64)).collect()
    }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family {
        name,
        help,
        kind: Type::Counter,
        labels,
    }
}

const RECEIVED: Family = counter(
    "kube9_events_received_total",
    "Events received from the API server, by list or watch.",
    &[],
);
const STORED: Family = counter(
    "kube9_events_stored_total",
    "Events received that became a new row.",
    &[],
);
const FOLDED: Family = counter(
    "kube9_events_folded_total",
    "Events received that updated a row: repeats.",
    &[],
);
const DUPLICATE: Family = counter(
    "kube9_events_duplicate_total",
    "Events received that had been seen before.",
    &[],
);
const DELETED: Family = counter(
    "kube9_events_deleted_total",
    "Deletions of Events received; no row is deleted by them.",
    &[],
);
const FILTERED: Family = counter(
    "kube9_events_filtered_total",
    "Events received that a filter rule left out.",
    &["rule"],
);
const SET_ASIDE: Family = counter(
    "kube9_events_set_aside_total",
    "Events received that failed at a stage and were set aside.",
    &["stage"],
);
const DROPPED: Family = counter(
    "kube9_events_dropped_total",
    "Items of any kind that a full queue dropped.",
    &[],
);
const QUEUE_DROPPED: Family = counter(
    "kube9_queue_dropped_total",
    "Items that a full queue dropped, by kind of item and bound reached.",
    &["item", "bound"],
);
const ITEMS_RECEIVED: Family = counter(
    "kube9_watch_items_total",
    "Objects received from the API server, by kind and by how they arrived.",
    &["kind", "action"],
);
const PENDING: Family = Family {
    name: "kube9_events_pending",
    help: "Events received whose outcome is not committed yet: in the queue or in the batch.",
    kind: Type::Gauge,
    labels: &[],
};

const FAMILIES: [&Family; 11] = [
    &RECEIVED,
    &STORED,
    &FOLDED,
    &DUPLICATE,
    &DELETED,
    &FILTERED,
    &SET_ASIDE,
    &DROPPED,
    &QUEUE_DROPPED,
    &ITEMS_RECEIVED,
    &PENDING,
];

fn by<L: Label>(counts: &[u64]) -> impl Iterator<Item = ([String; 1], f64)> {
    L::ALL
        .iter()
        .zip(counts)
        .map(|(label, count)| ([label.name().to_owned()], *count as f64))
}

fn by2<A: Label, B: Label, const N: usize>(
    counts: &[[u64; N]],
) -> impl Iterator<Item = ([String; 2], f64)> {
    A::ALL.iter().zip(counts).flat_map(|(a, row)| {
        let pair = move |b: &B| [a.name().to_owned(), b.name().to_owned()];
        B::ALL
            .iter()
            .zip(row)
            .map(move |(b, count)| (pair(b), *count as f64))
    })
}

/// What the registry holds: the account, shared with those who write to it.
pub(super) struct AccountCollector {
    account: std::sync::Arc<Account>,
    descs: Vec<Desc>,
}

impl AccountCollector {
    pub(super) fn new(account: std::sync::Arc<Account>) -> Self {
        Self {
            account,
            descs: FAMILIES.iter().map(|family| family.desc()).collect(),
        }
    }
}

impl Collector for AccountCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let state = self.account.lock().clone();
        let settled = &state.settled;
        vec![
            RECEIVED.single(state.events_received() as f64),
            STORED.single(settled.stored as f64),
            FOLDED.single(settled.folded as f64),
            DUPLICATE.single(settled.duplicate as f64),
            DELETED.single(settled.deleted as f64),
            FILTERED.with(self.account.filtered(&state)),
            SET_ASIDE.with(by::<Stage>(&settled.set_aside)),
            DROPPED.single(state.dropped.iter().flatten().sum::<u64>() as f64),
            QUEUE_DROPPED.with(by2::<Item, Bound, BOUNDS>(&state.dropped)),
            ITEMS_RECEIVED.with(by2::<Kind, Action, ACTIONS>(&state.received)),
            PENDING.single(state.pending()),
        ]
    }
}
