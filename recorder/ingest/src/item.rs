//! What flows through the queue.

use kube9_model::identity::{Uid, Version};
use kube9_model::record::Occurred;
use kube9_model::time::Timestamp;
use kube9_model::watch::{Mark, Passed, Via, WatchId};

use crate::sanitize::{Clean, Sanitized};

/// One thing for the writer to do.
#[derive(Debug)]
pub enum Item {
    /// A row of kube9's own.
    Row(Box<Sanitized>),
    /// A sight of an Event.
    Observed {
        /// Where it was seen.
        watch: WatchId,
        /// How it was seen.
        via: Via,
        /// When it was received.
        received: Timestamp,
        /// What it says.
        row: Box<Sanitized>,
    },
    /// A sight that makes no row, but moves the position like any other.
    Passed {
        /// Where it was seen.
        watch: WatchId,
        /// How it was seen.
        via: Via,
        /// When it was received.
        received: Timestamp,
        /// uid of the Event; empty where it could not be read.
        uid: String,
        /// resourceVersion; empty where it could not be read.
        version: String,
        /// Why there is no row.
        why: Passed,
    },
    /// What an object changed to, with the rows that say so.
    Change(Box<Change>),
    /// A step in the life of a finding.
    Finding(Box<Finding>),
    /// The findings that are open are so until this time at least: their rows reach until then.
    StillOpen(Timestamp),
    /// A step of a source's own protocol.
    Mark {
        /// Whose step.
        watch: WatchId,
        /// Which step.
        mark: Mark,
    },
}

/// A change of an object that an informer watches. Facts and rows are committed together, so that after a crash the
/// change is seen again, and never twice.
#[derive(Debug)]
pub struct Change {
    /// Whose view.
    pub watch: WatchId,
    /// `namespace/name`.
    pub name: Clean,
    /// What the next change is compared with, as JSON; `None`: the object is gone.
    pub facts: Option<Clean>,
    /// What changed; empty where only the facts did.
    pub rows: Vec<Sanitized>,
    /// The resourceVersion that the watch has reached with it; `None` in a list, whose objects come in no such order.
    pub version: Option<String>,
}

/// A step in the life of a finding.
#[derive(Debug)]
pub struct Finding {
    /// Which one: rule, object, part of it.
    pub fingerprint: Clean,
    /// What happened to it.
    pub step: Step,
    /// When.
    pub at: Timestamp,
    /// The row that opens it, its row as it is now, or the row that says it is over.
    pub row: Sanitized,
}

/// What happens to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is new, or so much worse that it gets a new row.
    Opened {
        /// What the analysis needs to know of it after a restart, as JSON.
        state: Clean,
        /// Since when it is so.
        since: Timestamp,
    },
    /// Its row says something new.
    Updated,
    /// It is over.
    Closed,
}

/// Bytes of an item beside its texts.
const ITEM_BYTES: usize = 128;

impl Item {
    /// Estimate of the memory it holds.
    pub fn bytes(&self) -> usize {
        ITEM_BYTES
            + match self {
                Self::Row(row) | Self::Observed { row, .. } => row.approximate_bytes(),
                Self::Passed { uid, version, .. } => uid.len() + version.len(),
                Self::Change(change) => {
                    let rows: usize = change.rows.iter().map(Sanitized::approximate_bytes).sum();
                    let facts = change
                        .facts
                        .as_ref()
                        .map_or(0, |facts| facts.as_str().len());
                    change.name.as_str().len() + facts + rows
                }
                Self::Finding(finding) => {
                    finding.fingerprint.as_str().len() + finding.row.approximate_bytes()
                }
                Self::StillOpen(_) | Self::Mark { .. } => 0,
            }
    }

    /// (watch, uid, resourceVersion) of a sight that makes a row.
    pub fn identity(&self) -> Option<(WatchId, &Uid, &Version)> {
        match self {
            Self::Observed { watch, row, .. } => match &row.record().occurred {
                Occurred::Observed(seen) => Some((*watch, &seen.uid, &seen.version)),
                Occurred::At(_) => None,
            },
            _ => None,
        }
    }
}
