//! Items of the queue.

use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::Occurred;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, SourceMarker, UnstoredReason, WatchId};

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
    /// A transition of a finding.
    Finding(Box<Finding>),
    /// Extends the rows of all open findings to this time.
    ExtendFindings(Timestamp),
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
                Self::Finding(finding) => {
                    finding.fingerprint.as_str().len() + finding.row.approximate_bytes()
                }
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
