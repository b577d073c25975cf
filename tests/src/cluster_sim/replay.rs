//! Replays a simulation through the analysis in this process, as fast as possible.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{FindingTransition, Item};
use kube9_ingest::objects::Object;
use kube9_ingest::owners::Owners;
use kube9_model::commit_stats::CommitDelta;
use kube9_model::label::{Kind, Label};
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use kube9_rules::config::AnalysisConfig;
use kube9_rules::state::{Analysis, RestoredState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::diff::FindingStep;
use super::{ClusterSim, Delivery, Ms, START};
use crate::bench::changes::object::ApiObject;
use crate::bench::changes::path::{ChangePath, Source};
use crate::clock::Micros;

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

/// The kinds whose changes the rules about changes read, and their names.
const TRACKED: [(Kind, &str); 2] = [(Kind::Deployment, "deploy"), (Kind::ConfigMap, "cm")];

/// The change history: it reports to the rules who changed what.
struct History {
    _folder: TempDir,
    path: ChangePath,
    /// In the order of [`TRACKED`].
    sources: Vec<Source>,
}

impl History {
    fn begin(sim: &ClusterSim) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut path = ChangePath::new(folder.path())?;
        path.conn.pragma_update(None, "synchronous", "off")?;
        let mut sources = Vec::new();
        for (kind, name) in TRACKED {
            let objects = sim.objects(kind).into_iter();
            let mut objects: Vec<ApiObject> = objects.map(|json| ApiObject { json }).collect();
            let mut listed: Vec<&mut ApiObject> = objects.iter_mut().collect();
            sources.push(path.track((name, ""), &mut listed, micros(START))?);
        }
        Ok(Self {
            _folder: folder,
            path,
            sources,
        })
    }

    /// Records a change; returns what the writer reports.
    fn record(&mut self, delivery: &Delivery) -> anyhow::Result<CommitDelta> {
        let Some(of) = TRACKED.iter().position(|(kind, _)| *kind == delivery.kind) else {
            return Ok(CommitDelta::default());
        };
        let action = if delivery.deleted {
            "DELETED"
        } else {
            "MODIFIED"
        };
        let mut object = ApiObject {
            json: delivery.object.clone(),
        };
        let line = object.line(action, self.path.next_version());
        let at = micros(delivery.at);
        self.path.receive(self.sources[of], &line, at)?;
        self.path.commit(at)
    }
}

fn micros(at: Ms) -> Micros {
    Micros(at * 1000)
}

/// An analysis with its clock and its results.
pub struct Replay {
    analysis: Analysis,
    now: Ms,
    version: u64,
    /// Steps of findings.
    pub found: Vec<FindingStep>,
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
        self.record_event(
            kind,
            if deleted {
                InformerEvent::Delete(object)
            } else {
                InformerEvent::Apply(object)
            },
        );
        self.settle();
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
        let mut history = History::begin(sim)?;
        while let Some(delivery) = sim.next_delivery() {
            self.pass(delivery.at);
            if delivery.kind == Kind::Event {
                continue;
            }
            let committed = history.record(&delivery)?;
            let object = self
                .decode(delivery.kind, delivery.object)
                .context("a simulated object does not decode")?;
            self.take(delivery.kind, delivery.deleted, object);
            if !committed.is_empty() {
                self.analysis
                    .on_commit(committed, Timestamp::from_millis(self.now));
                self.settle();
            }
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
