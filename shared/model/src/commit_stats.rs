//! What was committed, for the rules: warnings by namespace, containers killed by a liveness probe, and changes that can
//! break pods.
//!
//! ```text
//!   store: rows of a transaction ─▶ CommitDelta ── committed ──▶ CommitStats ◀── take ── rules
//! ```
//!
//! The store counts, not the source: only the store knows which Events are new.
//!
//! Invariant: the writer never waits for the rules. The lock is held only for additions, and while the rules take all
//! counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;
use crate::{EventType, ObjectRef, Severity};

use crate::record::Record;

/// Length of the slots in which warnings are counted, in seconds: that of the window into which repeats fold.
pub const SLOT_SECONDS: i64 = 600;

/// Bound on pending counters, which are per namespace and reason. The rules take them every half second.
const COUNTERS_MAX: usize = 10_000;

/// Bound on pending kills: each is a container restart.
const KILLS_MAX: usize = 1_000;

/// Key of a warning counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WarningBucket {
    /// Of the involved object.
    pub namespace: Box<str>,
    /// Number of the slot since 1970, by the rows' creation.
    pub slot: i64,
    /// Reason.
    pub reason: Box<str>,
}

/// A container was killed because its liveness probe failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivenessKill {
    /// The pod.
    pub pod: ObjectRef,
    /// The container.
    pub container: Box<str>,
    /// When, the last time.
    pub at: Timestamp,
    /// How often since the last delta.
    pub times: i64,
}

/// A change of an object that can break pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BreakingChange {
    /// A workload, or something that its pods depend on.
    pub object: ObjectRef,
    /// When.
    pub at: Timestamp,
    /// As a finding names it, e.g. `image changed: app 1 → 2`.
    pub what: Box<str>,
    /// The changed field; empty for an object that was created or deleted.
    pub path: Box<str>,
    /// Its value before; empty if it had none.
    pub from: Box<str>,
    /// Its value after; empty if it has none.
    pub to: Box<str>,
    /// Who changed it, as a finding says it, e.g. `by helm`; empty if that is not known.
    pub by: Box<str>,
}

impl BreakingChange {
    /// Estimated bytes in memory.
    pub fn bytes(&self) -> usize {
        let texts = [&self.what, &self.path, &self.from, &self.to, &self.by];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let ObjectRef {
            kind,
            namespace,
            name,
        } = &self.object;
        size_of::<Self>() + texts + kind.len() + namespace.len() + name.len()
    }
}

/// The latest changes of each namespace that can break pods. A namespace with many changes displaces only its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentChanges {
    by_namespace: HashMap<Box<str>, Vec<BreakingChange>>,
    total: usize,
}

impl RecentChanges {
    /// Changes of one object: the one that broke the pods, and those that tried to repair them.
    pub const OBJECT_MAX: usize = 4;

    /// Changes of one namespace; cluster-scoped objects count for the namespace ``.
    pub const NAMESPACE_MAX: usize = 32;

    /// Changes of all namespaces: some 600 bytes each, so about 1 MiB.
    pub const TOTAL_MAX: usize = 2_000;

    /// Adds a change; returns those that it displaced.
    pub fn note(&mut self, change: BreakingChange) -> Vec<BreakingChange> {
        let mut displaced = Vec::new();
        let object = change.object.clone();
        let here = self
            .by_namespace
            .entry(object.namespace.as_str().into())
            .or_default();
        here.push(change);
        self.total += 1;
        let of_object = here.iter().filter(|one| one.object == object).count();
        if of_object > Self::OBJECT_MAX {
            let first = here.iter().position(|one| one.object == object);
            displaced.extend(first.map(|first| here.remove(first)));
        } else if here.len() > Self::NAMESPACE_MAX {
            displaced.push(here.remove(0));
        } else if self.total > Self::TOTAL_MAX {
            let fullest = self.by_namespace.values_mut().max_by_key(|changes| {
                let first = changes.first().map(|first| first.at);
                (changes.len(), std::cmp::Reverse(first))
            });
            displaced.extend(fullest.map(|fullest| fullest.remove(0)));
            self.by_namespace.retain(|_, changes| !changes.is_empty());
        }
        self.total -= displaced.len();
        displaced
    }

    /// The changes of a namespace, in the order in which they were noted.
    pub fn of(&self, namespace: &str) -> &[BreakingChange] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Removes the changes that `is_over` names from a namespace, and returns them.
    pub fn remove(
        &mut self,
        namespace: &str,
        is_over: impl Fn(&BreakingChange) -> bool,
    ) -> Vec<BreakingChange> {
        let Some(here) = self.by_namespace.get_mut(namespace) else {
            return Vec::new();
        };
        let (over, kept) = std::mem::take(here).into_iter().partition(is_over);
        *here = kept;
        if here.is_empty() {
            self.by_namespace.remove(namespace);
        }
        let over: Vec<BreakingChange> = over;
        self.total -= over.len();
        over
    }

    /// Nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// All changes; those of a namespace in order.
    pub fn into_changes(self) -> impl Iterator<Item = BreakingChange> {
        self.by_namespace.into_values().flatten()
    }
}

/// Bound on pending writes of a namespace, and on the namespaces.
const WRITES_MAX: usize = 64;
const WRITTEN_NAMESPACES_MAX: usize = 1_000;

/// A change of a field whose author is proven.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldWrite {
    /// The kind of a custom resource has its API group: `Rollout.argoproj.io`.
    pub object: ObjectRef,
    /// Path within the object.
    pub path: Box<str>,
    /// Value before, as text; empty if there was none.
    pub from: Box<str>,
    /// Value after, as text; empty if there is none.
    pub to: Box<str>,
    /// The object did not have the field before.
    pub is_added: bool,
    /// The manager, as it called itself.
    pub manager: Box<str>,
    /// What the object says of the tool that deploys it, e.g. `Argo CD: shop/web`; empty if it says nothing.
    pub via: Box<str>,
    /// The deployment tool that had written the field before, as it called itself; empty if that was another, or is not
    /// proven.
    pub former: Box<str>,
    /// When.
    pub at: Timestamp,
}

/// Counts of transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitDelta {
    /// New rows of type `cluster`, other than changes of objects, that are warnings or worse.
    pub warnings: HashMap<WarningBucket, u32>,
    /// Liveness kills, in order.
    pub kills: Vec<LivenessKill>,
    /// Changes that can break pods.
    pub changes: RecentChanges,
    /// Changes of fields whose author is proven, by namespace, in order.
    pub field_writes: BTreeMap<Box<str>, Vec<FieldWrite>>,
    /// Tracked objects that were deleted, as [`FieldWrite::object`].
    pub deleted: Vec<ObjectRef>,
}

impl CommitDelta {
    /// Counts a new row if it is a warning.
    pub fn count_warning(&mut self, record: &Record, created: Timestamp) {
        if record.event_type != EventType::Cluster || record.severity < Severity::Warning {
            return;
        }
        let Some(object) = &record.object else { return };
        let namespace = object.namespace.as_str();
        if namespace.is_empty() {
            return;
        }
        let bucket = WarningBucket {
            namespace: namespace.into(),
            slot: created.second().div_euclid(SLOT_SECONDS),
            reason: record.reason.as_str().into(),
        };
        *self.warnings.entry(bucket).or_default() += 1;
    }

    /// Counts `times` further occurrences of an Event if it is a liveness kill.
    pub fn count_probe_kill(&mut self, record: &Record, last: Timestamp, times: i64) {
        let Some(object) = &record.object else { return };
        // As the kubelet reports it. Anyone can write such an Event; a forged one only causes a wrong finding.
        let is_kill = record.reason == "Killing"
            && object.kind == "Pod"
            && record.description.contains("failed liveness probe");
        if is_kill && times > 0 && self.kills.len() < KILLS_MAX {
            self.kills.push(LivenessKill {
                pod: object.clone(),
                container: record.container.as_str().into(),
                at: last,
                times,
            });
        }
    }

    /// Notes a change that can break pods.
    pub fn note_change(&mut self, change: BreakingChange) {
        self.changes.note(change);
    }

    /// Notes a change of a field. One too many is dropped: a finding opens later, or closes later.
    pub fn note_write(&mut self, write: FieldWrite) {
        let namespace = write.object.namespace.as_str();
        if let Some(here) = self.field_writes.get_mut(namespace) {
            if here.len() < WRITES_MAX {
                here.push(write);
            }
        } else if self.field_writes.len() < WRITTEN_NAMESPACES_MAX {
            self.field_writes.insert(namespace.into(), vec![write]);
        }
    }

    /// Notes the deletion of a tracked object.
    pub fn note_deletion(&mut self, object: ObjectRef) {
        if self.deleted.len() < WRITES_MAX * WRITTEN_NAMESPACES_MAX {
            self.deleted.push(object);
        }
    }

    /// Nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty()
            && self.kills.is_empty()
            && self.changes.is_empty()
            && self.field_writes.is_empty()
            && self.deleted.is_empty()
    }

    fn add(&mut self, other: Self) {
        for (bucket, rows) in other.warnings {
            if self.warnings.len() >= COUNTERS_MAX && !self.warnings.contains_key(&bucket) {
                continue; // thousands of namespaces in half a second: their rates are unusual even without this one
            }
            *self.warnings.entry(bucket).or_default() += rows;
        }
        let free = KILLS_MAX.saturating_sub(self.kills.len());
        self.kills.extend(other.kills.into_iter().take(free));
        for change in other.changes.into_changes() {
            self.changes.note(change);
        }
        for write in other.field_writes.into_values().flatten() {
            self.note_write(write);
        }
        for object in other.deleted {
            self.note_deletion(object);
        }
    }
}

/// Passes counts from the writer to the rules.
#[derive(Debug, Default)]
pub struct CommitStats(Mutex<CommitDelta>);

impl CommitStats {
    /// Adds the counts of a committed transaction.
    pub fn add(&self, delta: CommitDelta) {
        if !delta.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(delta);
        }
    }

    /// Everything since the last call.
    pub fn take(&self) -> CommitDelta {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts of the time before this process, from the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WarningHistory {
    /// Hours since 1970 in which anything was recorded, of the last week.
    pub recorded: Vec<i64>,
    /// Warnings by namespace and hour, of the last week.
    pub hours: Vec<(Box<str>, i64, u32)>,
    /// Warnings of the last hour.
    pub slots: HashMap<WarningBucket, u32>,
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
            api_group: String::new(),
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
    fn delta_counts_warnings_and_liveness_kills() {
        let mut delta = CommitDelta::default();
        let at = Timestamp::from_secs(1_205);
        for (namespace, severity) in [
            ("shop", Severity::Warning),
            ("shop", Severity::Error),
            ("shop", Severity::Info),
            ("", Severity::Error),
        ] {
            delta.count_warning(&record(namespace, severity, "BackOff", ""), at);
        }
        let bucket = WarningBucket {
            namespace: "shop".into(),
            slot: 2,
            reason: "BackOff".into(),
        };
        assert_eq!(delta.warnings, HashMap::from([(bucket, 2)]));
        let killed = "Container app failed liveness probe, will be restarted";
        for (text, times) in [("Stopping container app", 1), (killed, 0), (killed, 3)] {
            delta.count_probe_kill(&record("shop", Severity::Info, "Killing", text), at, times);
        }
        assert_eq!(delta.kills.len(), 1);
        assert_eq!(
            (&*delta.kills[0].pod.name, delta.kills[0].times),
            ("web-1", 3)
        );
    }

    fn change(namespace: &str, name: usize, what: usize) -> BreakingChange {
        BreakingChange {
            object: ObjectRef {
                kind: "Deployment".to_owned(),
                namespace: namespace.to_owned(),
                name: name.to_string(),
            },
            what: what.to_string().into(),
            ..BreakingChange::default()
        }
    }

    #[test]
    fn changes_of_one_object_and_namespace_displace_only_their_own() {
        let mut recent = RecentChanges::default();
        recent.note(change("quiet", 0, 0));
        for what in 0..10 {
            recent.note(change("busy", 0, what));
        }
        let kept: Vec<&str> = recent.of("busy").iter().map(|one| &*one.what).collect();
        assert_eq!(kept, ["6", "7", "8", "9"]);
        for name in 1..100 {
            recent.note(change("busy", name, 0));
        }
        assert_eq!(recent.of("busy").len(), RecentChanges::NAMESPACE_MAX);
        for namespace in 0..100 {
            for name in 0..RecentChanges::NAMESPACE_MAX {
                recent.note(change(&namespace.to_string(), name, 0));
            }
        }
        assert_eq!(recent.of("quiet").len(), 1);
        assert_eq!(recent.into_changes().count(), RecentChanges::TOTAL_MAX);
    }

    #[test]
    fn stats_take_empties_and_pending_counts_are_bounded() {
        let stats = CommitStats::default();
        for namespace in 0..COUNTERS_MAX + 10 {
            let mut delta = CommitDelta::default();
            let one = record(
                &format!("n{namespace}"),
                Severity::Error,
                "BackOff",
                "failed liveness probe",
            );
            delta.count_warning(&one, Timestamp::EPOCH);
            delta.count_probe_kill(
                &Record {
                    reason: "Killing".to_owned(),
                    ..one
                },
                Timestamp::EPOCH,
                1,
            );
            stats.add(delta);
        }
        let delta = stats.take();
        assert_eq!(delta.warnings.len(), COUNTERS_MAX);
        assert_eq!(delta.kills.len(), KILLS_MAX);
        assert!(stats.take().is_empty());
    }
}
