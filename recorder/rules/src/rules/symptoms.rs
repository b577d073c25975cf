//! What a rule says.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_model::time::Timestamp;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Map, Value};

use crate::world::PodEntry;

/// A sign of trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Symptom {
    /// Tells several of one rule on one subject apart, e.g. a container's name; empty where there is one.
    pub part: String,
    /// How bad. A finding that gets worse gets a new row; one that gets better stays as bad as it was until it closes.
    pub severity: Severity,
    /// What, on what, how bad: fixed while it is open.
    pub title: String,
    /// Why, and what to do next; may change.
    pub description: String,
    /// Since when.
    pub since: Timestamp,
    /// How long it must be so until it counts.
    pub for_at_least: Duration,
    /// Container.
    pub container: String,
    /// Node.
    pub node: Option<String>,
    /// Controller of the object.
    pub owner: Option<ObjectRef>,
    /// Further metadata.
    pub extra: Map<String, Value>,
}

/// What a rule says.
#[derive(Debug, Default)]
pub struct RuleOutput {
    /// Signs it sees.
    pub symptoms: Vec<Symptom>,
    /// Parts whose findings stay as they are if they are open: it is better, but not for long enough.
    pub keep_open: Vec<String>,
    /// Parts whose findings go on as something else, which another rule reports, and as what.
    pub superseded: BTreeMap<String, &'static str>,
    /// When to look again even if nothing changes.
    pub recheck_at: Option<Timestamp>,
}

impl RuleOutput {
    /// Leaves a finding as it is if it is open.
    pub fn keep_open(&mut self, part: &str) {
        self.keep_open.push(part.to_owned());
    }

    /// A finding that is open goes on as something that another rule reports.
    pub fn superseded(&mut self, part: &str, what: &'static str) {
        self.superseded.insert(part.to_owned(), what);
    }

    /// Looks again at that time.
    pub fn recheck_at(&mut self, at: Timestamp) {
        self.recheck_at = Some(self.recheck_at.map_or(at, |recheck_at| recheck_at.min(at)));
    }

    /// Notes a sign; the caller fills in the rest.
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
    /// Tells it apart from others of the same rule and subject.
    pub fn part(&mut self, part: impl Into<String>) -> &mut Self {
        self.part = part.into();
        self
    }

    /// It is about a container, and tells it apart by that.
    pub fn container(&mut self, name: &str) -> &mut Self {
        self.container = name.to_owned();
        self.part = name.to_owned();
        self
    }

    /// It counts only after this time.
    pub fn for_at_least(&mut self, for_at_least: Duration) -> &mut Self {
        self.for_at_least = for_at_least;
        self
    }

    /// Adds metadata.
    pub fn with(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// It is about this pod.
    pub fn of_pod(&mut self, entry: &PodEntry) -> &mut Self {
        self.node = entry.pod.node.as_deref().map(str::to_owned);
        self.owner = (entry.owner.kind != "Pod").then(|| ObjectRef::clone(&entry.owner));
        self
    }
}
