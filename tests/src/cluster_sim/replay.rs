//! Replays a simulation through the analysis in this process, as fast as possible.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{FindingTransition, Item};
use kube9_ingest::objects::Object;
use kube9_ingest::owners::Owners;
use kube9_model::ObjectRef;
use kube9_model::commit_stats::{BreakingChange, CommitDelta};
use kube9_model::label::{Kind, Label};
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use kube9_rules::config::AnalysisConfig;
use kube9_rules::state::{Analysis, RestoredState};
use serde_json::{Value, json};

use super::diff::FindingStep;
use super::{ClusterSim, Delivery, Ms, START};

/// The kinds that the analysis reads, in the order in which their informers list.
pub const KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// How often a running recorder checks its timers.
const TICK: Ms = 500;

/// Subjects evaluated per batch, as in a running recorder.
const EVALUATIONS_PER_BATCH: usize = 100;

/// An analysis with its clock and its results.
pub struct Replay {
    analysis: Analysis,
    now: Ms,
    version: u64,
    /// Steps of findings.
    pub found: Vec<FindingStep>,
    /// Images of Deployments and keys of ConfigMaps, as text.
    contents: HashMap<String, String>,
    /// Rows of changes.
    pub changes: usize,
    /// Applied changes of objects.
    pub applied: u64,
    /// Time spent in the analysis (not in decoding).
    pub analysed: Duration,
}

impl Replay {
    /// Starts with the initial objects listed.
    pub fn begin(sim: &ClusterSim) -> anyhow::Result<Self> {
        let mut analysis = Analysis::new(
            AnalysisConfig::default(),
            Owners::default(),
            RestoredState::default(),
        );
        for kind in KINDS {
            analysis.add_source(watch(kind), kind, "", StoredObjects::default());
        }
        let mut replay = Self {
            analysis,
            now: START,
            version: 1000,
            found: Vec::new(),
            contents: HashMap::new(),
            changes: 0,
            applied: 0,
            analysed: Duration::ZERO,
        };
        for kind in KINDS {
            replay.list(kind, sim.objects(kind))?;
        }
        Ok(replay)
    }

    fn list(&mut self, kind: Kind, objects: Vec<Value>) -> anyhow::Result<()> {
        self.record_event(
            kind,
            InformerEvent::Init {
                cause: RelistCause::FirstStart,
            },
        );
        let count = objects.len() as u64;
        for object in objects {
            let object = self.decode(kind, object)?;
            self.breaking_change(&object);
            self.record_event(kind, InformerEvent::Apply(object));
        }
        let listed = InformerEvent::InitDone {
            version: self.version.to_string(),
            at: Timestamp::from_millis(self.now),
            server_time: Timestamp::from_millis(self.now),
            objects: count,
        };
        self.record_event(kind, listed);
        self.record_event(kind, InformerEvent::Connected);
        Ok(())
    }

    /// Decodes an object as an informer does, at a resourceVersion of its own.
    pub fn decode(&mut self, kind: Kind, mut object: Value) -> anyhow::Result<Object> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Object::decode(kind, &object.to_string())
            .map_err(|why| anyhow!("{}: {why}", object["metadata"]["name"]))
    }

    fn record_event(&mut self, kind: Kind, event: InformerEvent) {
        let begun = Instant::now();
        let items = self.analysis.handle(
            InformerMessage {
                watch: watch(kind),
                event,
                tracked: None,
            },
            Timestamp::from_millis(self.now),
        );
        self.analysed += begun.elapsed();
        self.note(items);
    }

    /// Applies a change and evaluates everything it affects.
    pub fn take(&mut self, kind: Kind, deleted: bool, object: Object) {
        self.applied += 1;
        let change = (!deleted).then(|| self.breaking_change(&object)).flatten();
        self.record_event(
            kind,
            if deleted {
                InformerEvent::Delete(object)
            } else {
                InformerEvent::Apply(object)
            },
        );
        if let Some(change) = change {
            let mut delta = CommitDelta::default();
            delta.note_change(change);
            self.analysis
                .on_commit(delta, Timestamp::from_millis(self.now));
        }
        self.settle();
    }

    /// A change that can break pods, as the writer reports it.
    fn breaking_change(&mut self, object: &Object) -> Option<BreakingChange> {
        let (content, what) = match object {
            Object::Deployment(one) => (format!("{:?}", one.images), "image changed"),
            Object::ConfigMap(map) => {
                let keys = map.keys.iter().map(|(key, facts)| (key, facts.hash));
                (
                    format!("{:?}", keys.collect::<Vec<_>>()),
                    "ConfigMap changed",
                )
            }
            _ => return None,
        };
        let meta = object.meta();
        let object = ObjectRef {
            kind: object.kind().name().to_owned(),
            namespace: meta.namespace.to_string(),
            name: meta.name.to_string(),
        };
        let key = format!("{}/{}/{}", object.kind, object.namespace, object.name);
        let before = self.contents.insert(key, content.clone());
        before
            .is_some_and(|before| before != content)
            .then(|| BreakingChange {
                object,
                at: Timestamp::from_millis(self.now),
                what: what.into(),
                ..BreakingChange::default()
            })
    }

    /// Sets the time; due timers are evaluated with the next change.
    pub fn set_time(&mut self, now: Ms) {
        self.now = self.now.max(now);
    }

    /// Evaluates due timers.
    pub fn evaluate_timers(&mut self) {
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let begun = Instant::now();
            let items = self
                .analysis
                .evaluate(EVALUATIONS_PER_BATCH, Timestamp::from_millis(self.now));
            let behind = self.analysis.has_pending();
            self.analysed += begun.elapsed();
            self.note(items);
            if !behind {
                return;
            }
        }
    }

    /// Advances the time, tick by tick.
    pub fn pass(&mut self, until: Ms) {
        while self.now < until {
            self.now = (self.now + TICK).min(until);
            self.settle();
        }
    }

    fn note(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Change(change) => self.changes += change.rows.len(),
                Item::Finding(finding) => {
                    let record = finding.row.record();
                    let closed = finding.transition == FindingTransition::Closed;
                    if finding.transition != FindingTransition::Updated {
                        let object = record.object.as_ref();
                        let found = FindingStep::new(
                            self.now,
                            finding.fingerprint.as_str(),
                            object,
                            closed,
                            record.severity,
                        );
                        self.found.push(found);
                    }
                }
                _ => {}
            }
        }
    }

    /// Runs the whole simulation.
    pub fn run(&mut self, sim: &mut ClusterSim) -> anyhow::Result<()> {
        while let Some(Delivery {
            at,
            kind,
            deleted,
            object,
        }) = sim.next_delivery()
        {
            self.pass(at);
            if kind == Kind::Event {
                continue;
            }
            let object = self
                .decode(kind, object)
                .context("a simulated object does not decode")?;
            self.take(kind, deleted, object);
        }
        self.pass(sim.end());
        Ok(())
    }
}

fn watch(kind: Kind) -> WatchId {
    WatchId(kind.index() as i64 + 1)
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("now", &self.now)
            .field("found", &self.found.len())
            .finish_non_exhaustive()
    }
}
