//! What the committed Events tell the analysis that no object tells: how many warnings a namespace has, and which
//! containers a liveness probe had killed.
//!
//! ```text
//!   store: rows of a transaction ─▶ Told ── committed ──▶ Heard ◀── take ── analysis
//! ```
//!
//! It is the store that says it, not the source: only the store knows which sights were new.
//!
//! Invariant: the writer never waits for the analysis. It adds numbers to numbers under a lock that is held for as long as
//! that takes; the analysis takes all of them at once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;
use crate::{EventType, ObjectRef, Severity};

use crate::record::Record;

/// Length of the slots in which warnings are counted, in seconds: that of the window into which repeats fold.
pub const SLOT_SECONDS: i64 = 600;

/// Different counters that may wait. A burst adds to few of them: they are of namespaces and reasons, not of Events.
/// The analysis takes them every half second.
const COUNTERS_MAX: usize = 10_000;

/// Kills that may wait: each is a container that was started again.
const KILLS_MAX: usize = 1_000;

/// Where and when warnings are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Of the object that they are about.
    pub namespace: Box<str>,
    /// Number of the slot since 1970, by the rows' creation.
    pub slot: i64,
    /// Reason.
    pub reason: Box<str>,
}

/// A container was killed because its liveness probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeKill {
    /// The pod.
    pub pod: ObjectRef,
    /// The container.
    pub container: Box<str>,
    /// When, the last time.
    pub at: Timestamp,
    /// How often since it was told the last time.
    pub times: i64,
}

/// What transactions told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// New rows of type `cluster` that are warnings or worse.
    pub warnings: HashMap<Place, u32>,
    /// Kills by probes, in the order in which they were seen.
    pub kills: Vec<ProbeKill>,
}

impl Told {
    /// A row was made.
    pub fn row(&mut self, record: &Record, created: Timestamp) {
        if record.event_type != EventType::Cluster || record.severity < Severity::Warning {
            return;
        }
        let Some(object) = &record.object else { return };
        let namespace = object.namespace.as_str();
        if namespace.is_empty() {
            return;
        }
        let place = Place {
            namespace: namespace.into(),
            slot: created.second().div_euclid(SLOT_SECONDS),
            reason: record.reason.as_str().into(),
        };
        *self.warnings.entry(place).or_default() += 1;
    }

    /// An Event was seen `times` times more.
    pub fn sight(&mut self, record: &Record, last: Timestamp, times: i64) {
        let Some(object) = &record.object else { return };
        // The kubelet's word for it. Anybody can write such an Event; what follows from a false one is a wrong insight.
        let is_kill = record.reason == "Killing"
            && object.kind == "Pod"
            && record.description.contains("failed liveness probe");
        if is_kill && times > 0 && self.kills.len() < KILLS_MAX {
            self.kills.push(ProbeKill {
                pod: object.clone(),
                container: record.container.as_str().into(),
                at: last,
                times,
            });
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.kills.is_empty()
    }

    fn add(&mut self, other: Self) {
        for (place, rows) in other.warnings {
            if self.warnings.len() >= COUNTERS_MAX && !self.warnings.contains_key(&place) {
                continue; // thousands of namespaces at once: the rate of each is unheard-of without this one, too
            }
            *self.warnings.entry(place).or_default() += rows;
        }
        let room = KILLS_MAX.saturating_sub(self.kills.len());
        self.kills.extend(other.kills.into_iter().take(room));
    }
}

/// Between the writer and the analysis.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Told>);

impl Heard {
    /// A transaction was committed.
    pub fn add(&self, told: Told) {
        if !told.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(told);
        }
    }

    /// Everything since the last call.
    pub fn take(&self) -> Told {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the database says of the time before this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Hours since 1970 in which anything was recorded, of the last week.
    pub recorded: Vec<i64>,
    /// Warnings by namespace and hour, of the last week.
    pub hours: Vec<(Box<str>, i64, u32)>,
    /// Warnings of the last hour.
    pub slots: HashMap<Place, u32>,
}

#[cfg(test)]
mod tests {
    use crate::ObjectRef;
    use serde_json::Map;

    use super::*;
    use crate::record::Occurred;

    fn record(namespace: &str, severity: Severity, reason: &str, description: &str) -> Record {
        Record {
            event_type: EventType::Cluster,
            severity,
            title: reason.to_owned(),
            description: description.to_owned(),
            object: Some(ObjectRef {
                kind: "Pod".to_owned(),
                namespace: namespace.to_owned(),
                name: "web-1".to_owned(),
            }),
            owner: None,
            reason: reason.to_owned(),
            component: "kubelet".to_owned(),
            container: "app".to_owned(),
            kube_type: "Warning".to_owned(),
            node: None,
            extra: Map::new(),
            occurred: Occurred::At(Timestamp::EPOCH),
        }
    }

    #[test]
    fn warnings_are_counted_and_kills_by_probes_are_told() {
        let mut told = Told::default();
        let at = Timestamp::from_secs(1_205);
        for (namespace, severity) in [
            ("shop", Severity::Warning),
            ("shop", Severity::Error),
            ("shop", Severity::Info),
            ("", Severity::Error),
        ] {
            told.row(&record(namespace, severity, "BackOff", ""), at);
        }
        let place = Place {
            namespace: "shop".into(),
            slot: 2,
            reason: "BackOff".into(),
        };
        assert_eq!(told.warnings, HashMap::from([(place, 2)]));
        let killed = "Container app failed liveness probe, will be restarted";
        for (text, times) in [("Stopping container app", 1), (killed, 0), (killed, 3)] {
            told.sight(&record("shop", Severity::Info, "Killing", text), at, times);
        }
        assert_eq!(told.kills.len(), 1);
        assert_eq!(
            (&*told.kills[0].pod.name, told.kills[0].times),
            ("web-1", 3)
        );
    }

    #[test]
    fn what_is_taken_is_gone_and_what_waits_is_bounded() {
        let heard = Heard::default();
        for namespace in 0..COUNTERS_MAX + 10 {
            let mut told = Told::default();
            let one = record(
                &format!("n{namespace}"),
                Severity::Error,
                "BackOff",
                "failed liveness probe",
            );
            told.row(&one, Timestamp::EPOCH);
            told.sight(
                &Record {
                    reason: "Killing".to_owned(),
                    ..one
                },
                Timestamp::EPOCH,
                1,
            );
            heard.add(told);
        }
        let told = heard.take();
        assert_eq!(told.warnings.len(), COUNTERS_MAX);
        assert_eq!(told.kills.len(), KILLS_MAX);
        assert!(heard.take().is_empty());
    }
}
