//! The state of the analysis, and what each piece of news makes of it. No I/O: items come out, the engine pushes them.
//!
//! ```text
//!   news ─▶ sight (what is current) ─▶ changes ─▶ rows
//!              │                       world ─▶ agenda (what to look at) ─▶ target + rule ─▶ signs ─▶ findings ─▶ rows
//!              └── thawed, frozen ──────────────────┘
//! ```

mod evaluate;
mod handle;
mod quota;

use std::collections::{BTreeMap, BTreeSet};

use kube9_base::settings::ByteSize;
use kube9_ingest::item::{Finding, Item};
use kube9_ingest::maps::{Map, Set};
use kube9_ingest::owners::Owners;
use kube9_model::heard::{History, Told};
use kube9_model::label::Kind;
use kube9_model::resume::Remembered;
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

/// The state of the analysis.
pub struct Analysis {
    config: AnalysisConfig,
    /// Everything that is there.
    pub world: World,
    /// Filled for the Events' intake.
    pub owners: Owners,
    findings: Findings,
    freshness: Freshness,
    work_queue: WorkQueue,
    /// CronJobs with a finding and without a pod, and since when; after a restart since then.
    idle_cron_jobs: Map<Subject, Timestamp>,
    /// Who has said so far that the database is a new one.
    reset_informers: Set<WatchId>,
    disabled_rules_closed: bool,
    /// Whose analysis is off.
    quota: Quota,
    /// Sights of objects that were left out.
    left_out: u64,
    /// What is there is to be listed once more.
    relist: bool,
}

/// What the database says of the time before.
#[derive(Debug, Default)]
pub struct RestoredState {
    /// Fingerprint and state of the findings that were open when the recorder stopped.
    pub findings: Vec<(String, String)>,
    /// Warnings of the last week.
    pub history: History,
}

impl Analysis {
    /// An analysis that has seen nothing.
    pub fn new(config: AnalysisConfig, owners: Owners, before: RestoredState) -> Self {
        let bytes = |size: Option<ByteSize>| size.map(ByteSize::get);
        Self {
            quota: Quota::new(bytes(config.max_bytes), bytes(config.namespace_max_bytes)),
            left_out: 0,
            relist: false,
            config,
            world: World::new(
                Warnings::new(before.history),
                rules::is_default_token_ignored,
            ),
            owners,
            findings: restored(before.findings),
            freshness: Freshness::default(),
            work_queue: WorkQueue::default(),
            idle_cron_jobs: Map::default(),
            reset_informers: Set::default(),
            disabled_rules_closed: false,
        }
    }

    /// Adds an informer, with what is stored of its objects; says how its first list begins.
    pub fn add_source(
        &mut self,
        watch: WatchId,
        kind: Kind,
        namespace: &str,
        stored: Remembered,
    ) -> RelistCause {
        for namespace in &stored.left_out {
            self.quota.was_off(namespace);
        }
        self.freshness.add(watch, kind, namespace, stored)
    }

    /// Findings that are open, by rule.
    pub fn open_by_rule(&self) -> &BTreeMap<String, i64> {
        self.findings.open_by_rule()
    }

    /// Bytes that are held, by estimate, and how many may be.
    pub fn bytes(&self) -> (usize, usize) {
        let held = self.world.ledger.total() + self.findings.ledger().total();
        (held, self.quota.max)
    }

    /// How many namespaces are off, and the sights of objects that were left out for that.
    pub fn left_out(&self) -> (usize, u64) {
        (self.quota.count(), self.left_out)
    }

    /// What is wrong with the analysis itself.
    pub fn trouble(&self) -> Option<String> {
        self.quota.message()
    }

    /// Whether all informers are to list once more; asked once.
    pub fn take_relist_request(&mut self) -> bool {
        std::mem::take(&mut self.relist)
    }

    /// Whether any finding is open.
    pub fn has_open(&self) -> bool {
        self.findings.has_open()
    }

    /// Takes in what the writer committed.
    pub fn on_commit(&mut self, told: Told, now: Timestamp) {
        self.world.warnings.recording(now);
        let mut dirty = BTreeSet::new();
        for (place, rows) in &told.warnings {
            self.world.warnings.add(place, *rows);
            dirty.insert(Subject::of_namespace(&place.namespace));
        }
        for kill in &told.kills {
            self.world.note_kill(kill, &mut dirty);
        }
        self.work_queue.enqueue(dirty);
    }

    /// Takes in how kube9 itself is.
    pub fn set_self_status(&mut self, own: SelfStatus, now: Timestamp) {
        self.freshness
            .events_are_watched(own.events_are_watched(), now);
        if own.differs(&self.world.self_status) {
            self.work_queue.enqueue([Subject::recorder()]);
        }
        self.world.self_status = own;
    }

    /// Whether subjects wait to be looked at.
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

/// Without the analysis nobody sees whether what was open still is: all of it is closed, saying so.
pub fn close_all(stored: Vec<(String, String)>, now: Timestamp) -> Vec<Item> {
    let mut steps = Vec::new();
    restored(stored).close_disabled(|_| false, "the analysis is disabled", now, &mut steps);
    items(steps)
}
