//! An analysis with a test clock: messages in, items out.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{Finding, Item};
use kube9_ingest::objects::Object;
use kube9_ingest::owners::Owners;
use kube9_model::ObjectRef;
use kube9_model::commit_stats::{BreakingChange, CommitDelta};
use kube9_model::label::{Kind, Label};
use kube9_model::record::Record;
use kube9_model::resume::StoredObjects;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, WatchId};
use serde_json::Value;

use crate::config::AnalysisConfig;
use crate::self_status::SelfStatus;
use crate::state::{Analysis, RestoredState};

pub(crate) const KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// The time at which every test begins.
pub(crate) fn start() -> Timestamp {
    Timestamp::parse("2026-01-01T00:00:00Z").unwrap()
}

/// An API timestamp, in seconds after the start.
pub(crate) fn t(second: i64) -> String {
    Timestamp::from_secs(start().second() + second).to_string()
}

pub(crate) struct TestHarness {
    pub(crate) analysis: Analysis,
    pub(crate) now: Timestamp,
    pub(crate) items: Vec<Item>,
    /// Templates of Deployments and data of ConfigMaps, by kind, namespace and name.
    contents: BTreeMap<[String; 3], Value>,
}

impl TestHarness {
    /// Synced on an empty cluster.
    pub(crate) fn new() -> Self {
        Self::with(AnalysisConfig::default())
    }

    pub(crate) fn with(config: AnalysisConfig) -> Self {
        Self::restored(config, RestoredState::default())
    }

    /// Synced on an empty cluster, with restored state.
    pub(crate) fn restored(config: AnalysisConfig, before: RestoredState) -> Self {
        let mut harness = Self::started(config, before, |_| StoredObjects::default());
        for kind in KINDS {
            harness.list(kind, &[]);
        }
        harness.wait(3);
        harness
    }

    /// Just started, with stored objects.
    pub(crate) fn started(
        config: AnalysisConfig,
        before: RestoredState,
        stored: impl Fn(Kind) -> StoredObjects,
    ) -> Self {
        let mut analysis = Analysis::new(config, Owners::default(), before);
        for kind in KINDS {
            analysis.add_source(watch(kind), kind, "", stored(kind));
        }
        analysis.set_self_status(SelfStatus::default(), start());
        Self {
            analysis,
            now: start(),
            items: Vec::new(),
            contents: BTreeMap::new(),
        }
    }

    pub(crate) fn send(&mut self, kind: Kind, event: InformerEvent) {
        let items = self.analysis.handle(
            InformerMessage {
                watch: watch(kind),
                event,
                tracked: None,
            },
            self.now,
        );
        self.items.extend(items);
        self.evaluate_all();
    }

    pub(crate) fn evaluate_all(&mut self) {
        loop {
            let items = self.analysis.evaluate(1000, self.now);
            self.items.extend(items);
            if !self.analysis.has_pending() {
                break;
            }
        }
    }

    /// A complete list, and the watch after it.
    pub(crate) fn list(&mut self, kind: Kind, objects: &[Value]) {
        let seen_before = self
            .items
            .iter()
            .any(|item| matches!(item, Item::Marker { watch: w, .. } if *w == watch(kind)));
        let cause = if seen_before {
            RelistCause::Expired
        } else {
            RelistCause::FirstStart
        };
        self.list_for(kind, objects, cause);
    }

    pub(crate) fn list_for(&mut self, kind: Kind, objects: &[Value], cause: RelistCause) {
        self.send(kind, InformerEvent::Init { cause });
        for object in objects {
            self.send(kind, InformerEvent::Apply(decoded(kind, object)));
        }
        let objects = objects.len() as u64;
        self.send(
            kind,
            InformerEvent::InitDone {
                version: "1".into(),
                at: self.now,
                server_time: self.now,
                objects,
            },
        );
        self.send(kind, InformerEvent::Connected);
    }

    /// The message of an informer about an object.
    pub(crate) fn news(&self, kind: Kind, object: &Value) -> InformerMessage {
        InformerMessage {
            watch: watch(kind),
            event: InformerEvent::Apply(decoded(kind, object)),
            tracked: None,
        }
    }

    pub(crate) fn apply(&mut self, kind: Kind, object: &Value) {
        self.send(kind, InformerEvent::Apply(decoded(kind, object)));
        self.commit_change(kind, object);
    }

    /// As the writer reports a change that can break pods.
    fn commit_change(&mut self, kind: Kind, object: &Value) {
        let (content, what) = match kind {
            Kind::Deployment => (&object["spec"]["template"], "image changed: app"),
            Kind::ConfigMap => (&object["data"], "ConfigMap changed"),
            _ => return,
        };
        let text = |name: &str| {
            object["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let [kind, namespace, name] = [kind.name().to_owned(), text("namespace"), text("name")];
        let key = [kind.clone(), namespace.clone(), name.clone()];
        let before = self.contents.insert(key, content.clone());
        if before.is_some_and(|before| before != *content) {
            let change = BreakingChange {
                object: ObjectRef {
                    kind,
                    namespace,
                    name,
                },
                at: self.now,
                what: what.into(),
                ..BreakingChange::default()
            };
            let mut delta = CommitDelta::default();
            delta.note_change(change);
            self.commit(delta);
        }
    }

    pub(crate) fn delete(&mut self, kind: Kind, object: &Value) {
        self.send(kind, InformerEvent::Delete(decoded(kind, object)));
    }

    pub(crate) fn commit(&mut self, delta: CommitDelta) {
        self.analysis.on_commit(delta, self.now);
        self.evaluate_all();
    }

    pub(crate) fn set_self_status(&mut self, own: SelfStatus) {
        self.analysis.set_self_status(own, self.now);
        self.evaluate_all();
    }

    /// Advances the clock second by second.
    pub(crate) fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now.plus(Duration::from_secs(1));
            self.evaluate_all();
        }
    }

    /// Items since the last call.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        let items = self.take().into_iter();
        items
            .filter_map(|item| {
                if let Item::Finding(f) = item {
                    Some(*f)
                } else {
                    None
                }
            })
            .collect()
    }

    /// Rows of changes since the last call.
    pub(crate) fn changes(&mut self) -> Vec<Record> {
        let items = self.take().into_iter();
        let changes = items.filter_map(|item| {
            if let Item::Change(c) = item {
                Some(c.rows)
            } else {
                None
            }
        });
        changes.flatten().map(|row| row.record().clone()).collect()
    }
}

pub(crate) fn watch(kind: Kind) -> WatchId {
    WatchId(kind.index() as i64 + 1)
}

pub(crate) fn decoded(kind: Kind, object: &Value) -> Object {
    Object::decode(kind, &object.to_string()).unwrap()
}
