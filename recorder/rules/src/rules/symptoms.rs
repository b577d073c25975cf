//! The output of a rule.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::objects::Terminated;
use kube9_model::time::Timestamp;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Map, Value};

use crate::world::PodEntry;

/// A problem that a rule detects.
#[derive(Debug, Clone, PartialEq)]
pub struct Symptom {
    /// Distinguishes symptoms of one rule about one subject, e.g. by the container's name.
    pub part: String,
    /// A finding that gets worse gets a new row; one that gets better keeps its severity until it closes.
    pub severity: Severity,
    /// Fixed while the finding is open.
    pub title: String,
    /// The cause, and what to do; may change.
    pub description: String,
    pub since: Timestamp,
    /// How long the problem must last before the finding opens.
    pub for_at_least: Duration,
    pub container: String,
    pub node: Option<String>,
    pub owner: Option<ObjectRef>,
    /// Further metadata.
    pub extra: Map<String, Value>,
}

#[derive(Debug, Default)]
pub struct RuleOutput {
    pub symptoms: Vec<Symptom>,
    /// Parts whose open findings stay open: the problem is over, but not for long enough.
    pub keep_open: Vec<String>,
    /// Parts whose open findings another rule replaces, and what the problem has become.
    pub superseded: BTreeMap<String, &'static str>,
    /// When to evaluate again without a change.
    pub recheck_at: Option<Timestamp>,
}

impl RuleOutput {
    pub fn keep_open(&mut self, part: &str) {
        self.keep_open.push(part.to_owned());
    }

    pub fn superseded(&mut self, part: &str, what: &'static str) {
        self.superseded.insert(part.to_owned(), what);
    }

    pub fn recheck_at(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |recheck_at| recheck_at.min(at)));
    }

    /// Adds a symptom; the caller sets the rest.
    pub fn add(
        &mut self,
        severity: Severity,
        since: Timestamp,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Symptom {
        self.symptoms.push(Symptom {
            part: String::new(),
            severity,
            title: title.into(),
            description: description.into(),
            since,
            for_at_least: Duration::ZERO,
            container: String::new(),
            node: None,
            owner: None,
            extra: Map::new(),
        });
        self.symptoms.last_mut().expect("it was just pushed")
    }
}

impl Symptom {
    pub fn part(&mut self, part: impl Into<String>) -> &mut Self {
        self.part = part.into();
        self
    }

    /// Sets the container, also as the part.
    pub fn container(&mut self, name: &str) -> &mut Self {
        self.container = name.to_owned();
        self.part = name.to_owned();
        self
    }

    pub fn for_at_least(&mut self, for_at_least: Duration) -> &mut Self {
        self.for_at_least = for_at_least;
        self
    }

    pub fn with(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Adds what the container said when it ended.
    pub fn last_words(&mut self, end: &Terminated) -> &mut Self {
        if end.last_words.is_empty() {
            return self;
        }
        self.with("last_words", &*end.last_words)
    }

    /// Sets node and owner from the pod.
    pub fn of_pod(&mut self, entry: &PodEntry) -> &mut Self {
        self.node = entry.pod.node.as_deref().map(str::to_owned);
        self.owner = (entry.owner.kind != "Pod").then(|| ObjectRef::clone(&entry.owner));
        self
    }
}
