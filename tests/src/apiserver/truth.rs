//! What the server accepted: the ground truth for a recorder.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// One Event object over its lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTruth {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// Its reason; may be empty.
    pub reason: String,
    /// Its newest message; may be empty.
    pub message: String,
    /// The newest count: the largest of `count`, `series.count` and 1.
    pub count: i64,
    /// The newest last time: of series, lastTimestamp, eventTime or creation, in this order.
    pub last: String,
    /// Every resourceVersion at which it was accepted, ascending.
    pub versions: Vec<u64>,
    /// The resourceVersion of its deletion, by a client or by its TTL.
    pub deleted: Option<u64>,
}

/// Every accepted Event by uid, including deleted ones.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    pub events: HashMap<String, EventTruth>,
    /// Writes undone by a restore from backup: uid and resourceVersions.
    pub undone: Vec<(String, Vec<u64>)>,
}

impl Truth {
    /// Number of accepted observations (uid and resourceVersion).
    pub fn observations(&self) -> usize {
        self.events.values().map(|e| e.versions.len()).sum()
    }

    /// Occurrences of all Events.
    pub fn occurrences(&self) -> i64 {
        self.events.values().map(|e| e.count).sum()
    }

    pub(super) fn accepted(&mut self, event: &Map<String, Value>, version: u64) {
        let null = Value::Null;
        let field = |name: &str| event.get(name).unwrap_or(&null);
        let metadata = field("metadata");
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let uid = text(&metadata["uid"]);
        let series = field("series");
        let count = [field("count"), &series["count"]]
            .into_iter()
            .filter_map(Value::as_i64)
            .fold(1, i64::max);
        let last = [
            &series["lastObservedTime"],
            field("lastTimestamp"),
            field("eventTime"),
            &metadata["creationTimestamp"],
        ]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or("");
        let entry = self
            .events
            .entry(uid.clone())
            .or_insert_with(|| EventTruth {
                uid,
                namespace: text(&metadata["namespace"]),
                name: text(&metadata["name"]),
                reason: text(field("reason")),
                message: String::new(),
                count,
                last: String::new(),
                versions: Vec::new(),
                deleted: None,
            });
        entry.message = text(field("message"));
        entry.count = count;
        entry.last = last.to_owned();
        entry.versions.push(version);
    }

    pub(super) fn deleted(&mut self, uid: &str, version: u64) {
        if let Some(event) = self.events.get_mut(uid) {
            event.deleted = Some(version);
        }
    }

    /// Moves writes after `version` to `undone`. A recorder may or may not have seen them.
    pub(super) fn roll_back(&mut self, version: u64) {
        for (uid, event) in &mut self.events {
            let kept = event.versions.partition_point(|v| *v <= version);
            if kept < event.versions.len() {
                self.undone
                    .push((uid.clone(), event.versions.split_off(kept)));
            }
            event.deleted = event.deleted.filter(|v| *v <= version);
        }
        self.events.retain(|_, event| !event.versions.is_empty());
    }
}
