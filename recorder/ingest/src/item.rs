//! Items of the queue.

use std::sync::Arc;

use kube9_model::change::kinds::TrackedKind;
use kube9_model::change::rules::Rules;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::Occurred;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, UnstoredReason, WatchId};

use crate::attribution::{ManagedEntry, Stamps};
use crate::sanitize::{Clean, Sanitized};

/// An item that the writer applies.
#[derive(Debug)]
pub enum Item {
    /// An internal row: no list recovers it.
    Row(Box<Sanitized>),
    /// A version of an Event.
    Event {
        watch: WatchId,
        origin: Origin,
        received: Timestamp,
        row: Box<Sanitized>,
    },
    /// An Event that makes no row, but advances the position like any other.
    Unstored {
        watch: WatchId,
        origin: Origin,
        received: Timestamp,
        /// uid of the Event; empty if it could not be read.
        uid: String,
        /// resourceVersion; empty if it could not be read.
        version: String,
        why: UnstoredReason,
    },
    /// A change of an object, with its rows.
    Change(Box<Change>),
    /// What a watch shows of the objects of a tracked kind.
    Tracked {
        watch: WatchId,
        kind: Arc<TrackedKind>,
        event: TrackedEvent,
    },
    /// A transition of a finding.
    Finding(Box<Finding>),
    /// Extends the rows of all open findings to this time.
    ExtendFindings(Timestamp),
    /// An API server of a cluster has answered with its version.
    ServerVersion {
        cluster: String,
        version: Clean,
        at: Timestamp,
    },
    /// A marker of a source's protocol.
    Marker {
        watch: WatchId,
        marker: SourceMarker,
    },
}

/// A change of an object that an informer watches. Snapshot and rows are committed together, so that a change is recorded
/// exactly once even after a crash.
#[derive(Debug)]
pub struct Change {
    pub watch: WatchId,
    /// `namespace/name`.
    pub name: Clean,
    /// The object's snapshot as JSON, for the next comparison; `None`: the object was deleted.
    pub snapshot: Option<Clean>,
    /// Empty if only the snapshot changed.
    pub rows: Vec<Sanitized>,
    /// The resourceVersion that the watch reached with it; `None` in a list, which is not in that order.
    pub version: Option<String>,
}

/// What a watch shows of the objects of a tracked kind. The writer compares it with what is stored.
#[derive(Debug)]
pub enum TrackedEvent {
    /// A list begins. What it does not show was deleted.
    ListBegins { cause: RelistCause, at: Timestamp },
    /// An object exists in this state.
    Applied(Box<ObservedObject>),
    /// An object was deleted; this was its last state.
    Deleted(Box<ObservedObject>),
    /// An object exists, but its state at this time does not decode.
    Undecodable {
        namespace: Clean,
        name: Clean,
        at: Timestamp,
    },
    /// The list is complete; its resourceVersion.
    ListEnds { version: ResourceVersion },
}

impl TrackedEvent {
    /// Whether it is about one object, and not about a list.
    pub const fn is_state(&self) -> bool {
        match self {
            Self::Applied(_) | Self::Deleted(_) | Self::Undecodable { .. } => true,
            Self::ListBegins { .. } | Self::ListEnds { .. } => false,
        }
    }
}

/// A state of an object.
#[derive(Debug)]
pub struct ObservedObject {
    pub origin: Origin,
    /// No event of the object was missed before this one.
    pub is_next: bool,
    pub received: Timestamp,
    /// Empty for cluster-scoped kinds.
    pub namespace: Clean,
    pub name: Clean,
    pub uid: Uid,
    pub version: ResourceVersion,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// When its deletion was requested.
    pub deletion: Option<Timestamp>,
    /// Its controller, if that is of a tracked kind.
    pub owner: Option<ObservedOwner>,
    /// Reason of the condition `DisruptionTarget` of a pod that is deleted because of it.
    pub disruption: Option<Clean>,
    /// How a Job ended.
    pub finished: Option<FinishedJob>,
    /// A pod that is deleted has ended: it succeeded or failed.
    pub has_ended: bool,
    /// How its fields are compared.
    pub rules: &'static Rules,
    /// Bodies of different forms cannot be compared.
    pub form: u64,
    /// The form of the same object with a tracked owner if it has none, or without; of pods another than `form`. Both have
    /// the same labels.
    pub form_otherwise: u64,
    /// `None` where authors cannot be told by them.
    pub stamps: Option<Stamps>,
    /// `None`: the body is that of the object's last event.
    pub content: Option<ObservedContent>,
}

/// How a Job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedJob {
    pub at: Timestamp,
    pub is_failed: bool,
}

/// The controller of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedOwner {
    pub kind: Clean,
    pub name: Clean,
    /// `None` of a Deployment, which a pod does not name.
    pub uid: Option<Clean>,
}

/// What is stored and compared of a state.
#[derive(Debug)]
pub struct ObservedContent {
    /// The canonical body as it is stored.
    pub body: Clean,
    /// `metadata.managedFields`.
    pub managed_fields: Vec<ManagedEntry<'static>>,
}

impl TrackedEvent {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::ListBegins { .. } | Self::ListEnds { .. } => 0,
            Self::Undecodable {
                namespace, name, ..
            } => namespace.as_str().len() + name.as_str().len(),
            Self::Applied(object) | Self::Deleted(object) => {
                size_of::<ObservedObject>()
                    + object.namespace.as_str().len()
                    + object.name.as_str().len()
                    + object.uid.heap_bytes()
                    + object.version.heap_bytes()
                    + object.stamps.as_ref().map_or(0, Stamps::heap_bytes)
                    + object.content.as_ref().map_or(0, |content| {
                        let entries = content.managed_fields.iter().map(ManagedEntry::bytes);
                        content.body.as_str().len() + entries.sum::<usize>()
                    })
            }
        }
    }
}

/// A transition of a finding.
#[derive(Debug)]
pub struct Finding {
    /// Rule, object, part of the object.
    pub fingerprint: Clean,
    pub transition: FindingTransition,
    pub at: Timestamp,
    /// The row that opens, updates or closes it.
    pub row: Sanitized,
}

/// Change of state of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingTransition {
    /// It is new, or its severity rose so that it gets a new row.
    Opened {
        /// State of the rule for a restart, as JSON.
        state: Clean,
        /// Since when the condition holds.
        since: Timestamp,
    },
    /// Its row changed.
    Updated,
    Closed,
}

/// Bytes of an item without its texts.
const ITEM_BYTES: usize = 128;

impl Item {
    /// Estimated memory.
    pub fn bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Self::Row(row) | Self::Event { row, .. } => row.approximate_bytes(),
                Self::Unstored { uid, version, .. } => uid.len() + version.len(),
                Self::Change(change) => {
                    let rows: usize = change.rows.iter().map(Sanitized::approximate_bytes).sum();
                    let snapshot = change
                        .snapshot
                        .as_ref()
                        .map_or(0, |snapshot| snapshot.as_str().len());
                    change.name.as_str().len() + snapshot + rows
                }
                Self::Tracked { event, .. } => event.heap_bytes(),
                Self::Finding(finding) => {
                    finding.fingerprint.as_str().len() + finding.row.approximate_bytes()
                }
                Self::ServerVersion {
                    cluster, version, ..
                } => cluster.len() + version.as_str().len(),
                Self::ExtendFindings(_) | Self::Marker { .. } => 0,
            }
    }

    /// (watch, uid, resourceVersion) of an Event that makes a row.
    pub fn identity(&self) -> Option<(WatchId, &Uid, &ResourceVersion)> {
        match self {
            Self::Event { watch, row, .. } => match &row.record().occurred {
                Occurred::Observed(seen) => Some((*watch, &seen.uid, &seen.version)),
                Occurred::At(_) => None,
            },
            _ => None,
        }
    }
}
