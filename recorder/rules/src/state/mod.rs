//! The state of the analysis. No I/O: messages of the informers go in, items for the queue come out.
//!
//! ```text
//!   message ─▶ freshness ─▶ changes ─▶ rows
//!                 │         world ─▶ work_queue ─▶ target + rule ─▶ symptoms ─▶ findings ─▶ rows
//!                 └── ready, suspended ──┘
//! ```

mod evaluate;
mod handle;
mod quota;

use std::collections::{BTreeMap, BTreeSet};

use kube9_base::settings::ByteSize;
use kube9_ingest::item::{Finding, Item};
use kube9_ingest::maps::{Map, Set};
use kube9_ingest::owners::Owners;
use kube9_model::commit_stats::{BreakingChange, CommitDelta, WarningHistory};
use kube9_model::label::Kind;
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use tracing::error;

use super::findings::Findings;
use super::freshness::Freshness;
use super::rules;
use super::self_status::SelfStatus;
use super::subject::Subject;
use super::warnings::Warnings;
use super::work_queue::WorkQueue;
use super::world::World;
use crate::config::AnalysisConfig;
use quota::Quota;

pub struct Analysis {
    config: AnalysisConfig,
    pub world: World,
    /// Controllers of pods, used for the owners of Events.
    pub owners: Owners,
    findings: Findings,
    freshness: Freshness,
    work_queue: WorkQueue,
    /// CronJobs with a finding and without a pod, and since when (at most since the start).
    idle_cron_jobs: Map<Subject, Timestamp>,
    /// Informers that have reported the current new database.
    reset_informers: Set<WatchId>,
    disabled_rules_closed: bool,
    quota: Quota,
    /// How often an object was left out.
    left_out: u64,
    /// All informers must list again.
    relist: bool,
}

/// What the database has from before the start.
#[derive(Debug, Default)]
pub struct RestoredState {
    /// When it was read.
    pub at: Timestamp,
    /// Fingerprint and state of the open findings.
    pub findings: Vec<(String, String)>,
    /// Warnings of the last week.
    pub history: WarningHistory,
    /// Recent changes that can break pods.
    pub changes: Vec<BreakingChange>,
}

impl Analysis {
    pub fn new(config: AnalysisConfig, owners: Owners, before: RestoredState) -> Self {
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::get);
        let mut world = World::new(
            Warnings::new(before.history),
            rules::is_default_token_ignored,
        );
        for change in before.changes {
            // All subjects are evaluated after their lists.
            world.note_change(change, &mut BTreeSet::new());
        }
        let findings = restored(before.findings);
        for (object, rule, path, from) in findings.of_fields() {
            let from = (rule == rules::CHANGED_OUTSIDE_GIT_OPS).then_some(from);
            world.restore_field(object, path, from, before.at);
        }
        Self {
            quota: Quota::new(bytes(config.max_bytes), bytes(config.namespace_max_bytes)),
            left_out: 0,
            relist: false,
            config,
            world,
            owners,
            findings,
            freshness: Freshness::default(),
            work_queue: WorkQueue::default(),
            idle_cron_jobs: Map::default(),
            reset_informers: Set::default(),
            disabled_rules_closed: false,
        }
    }

    /// Adds an informer with its stored objects; returns the cause of its first list.
    pub fn add_source(
        &mut self,
        watch: WatchId,
        kind: Kind,
        namespace: &str,
        stored: StoredObjects,
    ) -> RelistCause {
        for namespace in &stored.left_out {
            self.quota.was_off(namespace);
        }
        self.freshness.add(watch, kind, namespace, stored)
    }

    /// The number of open findings by rule.
    pub fn open_by_rule(&self) -> &BTreeMap<String, i64> {
        self.findings.open_by_rule()
    }

    /// Estimated bytes in use, and the limit.
    pub fn bytes(&self) -> (usize, usize) {
        let held = self.world.ledger.total() + self.findings.ledger().total();
        (held, self.quota.max)
    }

    /// How many namespaces are off, and how often an object was left out.
    pub fn left_out(&self) -> (usize, u64) {
        (self.quota.count(), self.left_out)
    }

    /// Why the check `analysis` is degraded.
    pub fn trouble(&self) -> Option<String> {
        self.quota.message()
    }

    /// Whether all informers must list again; resets it.
    pub fn take_relist_request(&mut self) -> bool {
        std::mem::take(&mut self.relist)
    }

    pub fn has_open(&self) -> bool {
        self.findings.has_open()
    }

    /// Handles what the writer committed.
    pub fn on_commit(&mut self, delta: CommitDelta, now: Timestamp) {
        self.world.warnings.recording(now);
        let mut dirty = BTreeSet::new();
        for (place, rows) in &delta.warnings {
            self.world.warnings.add(place, *rows);
            dirty.insert(Subject::of_namespace(&place.namespace));
        }
        for kill in &delta.kills {
            self.world.note_kill(kill, &mut dirty);
        }
        for change in delta.changes.into_changes() {
            if !self.quota.leaves_out(&change.object.namespace) {
                self.world.note_change(change, &mut dirty);
            }
        }
        for write in delta.field_writes.into_values().flatten() {
            if !self.quota.leaves_out(&write.object.namespace) {
                self.world.note_write(write, &mut dirty);
            }
        }
        for object in &delta.deleted {
            dirty.extend(self.world.forget_fields(object));
        }
        self.work_queue.enqueue(dirty);
    }

    pub fn set_self_status(&mut self, own: SelfStatus, now: Timestamp) {
        self.freshness
            .events_are_watched(own.events_are_watched(), now);
        if own.differs(&self.world.self_status) {
            self.work_queue.enqueue([Subject::recorder()]);
        }
        self.world.self_status = own;
    }

    /// Whether subjects wait for their evaluation.
    pub fn has_pending(&self) -> bool {
        !self.work_queue.is_empty()
    }
}

fn restored(stored: Vec<(String, String)>) -> Findings {
    let mut findings = Findings::default();
    let unreadable = findings.restore(stored);
    if unreadable > 0 {
        error!(
            unreadable,
            "cannot read stored findings; they stay open until retention deletes their rows"
        );
    }
    findings
}

fn items(steps: Vec<Finding>) -> Vec<Item> {
    let item = |step| Item::Finding(Box::new(step));
    steps.into_iter().map(item).collect()
}

/// Closes all stored findings, because without the analysis they would never close.
pub fn close_all(stored: Vec<(String, String)>, now: Timestamp) -> Vec<Item> {
    let mut steps = Vec::new();
    restored(stored).close_disabled(|_| false, "the analysis is disabled", now, &mut steps);
    items(steps)
}
