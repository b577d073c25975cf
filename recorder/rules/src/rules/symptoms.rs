//! What a rule says.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_model::time::Timestamp;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Map, Value};

use crate::world::PodEntry;

/// A sign of trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
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
    pub hold: Duration,
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
pub struct Signs {
    /// Signs it sees.
    pub seen: Vec<Sign>,
    /// Parts whose findings stay as they are if they are open: it is better, but not for long enough.
    pub kept: Vec<String>,
    /// Parts whose findings go on as something else, which another rule reports, and as what.
    pub became: BTreeMap<String, &'static str>,
    /// When to look again even if nothing changes.
    pub again: Option<Timestamp>,
}

impl Signs {
    /// Leaves a finding as it is if it is open.
    pub fn keep(&mut self, part: &str) {
        self.kept.push(part.to_owned());
    }

    /// A finding that is open goes on as something that another rule reports.
    pub fn became(&mut self, part: &str, what: &'static str) {
        self.became.insert(part.to_owned(), what);
    }

    /// Looks again at that time.
    pub fn look_again(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// Notes a sign; the caller fills in the rest.
    pub fn add(
        &mut self,
        severity: Severity,
        since: Timestamp,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Sign {
        self.seen.push(Sign {
            part: String::new(),
            severity,
            title: title.into(),
            description: description.into(),
            since,
            hold: Duration::ZERO,
            container: String::new(),
            node: None,
            owner: None,
            extra: Map::new(),
        });
        self.seen.last_mut().expect("it was just pushed")
    }
}

impl Sign {
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
    pub fn hold(&mut self, hold: Duration) -> &mut Self {
        self.hold = hold;
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
