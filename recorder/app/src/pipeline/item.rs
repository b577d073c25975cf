//! What flows through the queue.

use std::time::Duration;

use kube9_model::time::Timestamp;

use super::identity::{Uid, Version};
use super::record::Occurred;
use super::sanitize::{Clean, Sanitized};
use crate::metrics::Stage;

/// `watch_state.id`: one source and scope, e.g. Events of all namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

/// How a sight reached us; decides what its commit proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// From the watch stream, in the order of resourceVersions: its commit moves the position to its version.
    Watch,
    /// The same, of a stream that has caught up: its commit also proves that everything was seen until it was received.
    Live,
    /// From a list page: the position waits for [`Mark::ListDone`].
    List,
}

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

/// Why a sight makes no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// The API server deleted the Event (mostly its TTL). History stays; the dedup entry goes.
    Deleted,
    /// A rule of the config excludes it; its position among the excluding rules.
    Filtered(usize),
    /// It failed at this stage; a stub row says so. The reason, for people.
    Skipped(Stage, String),
}

/// Steps of a source's protocol that are committed in order with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The position could not be resumed: a relist begins. Opens a gap row unless this is the first start.
    ListBegun {
        /// Its number; each list of a watch has a higher one than those before.
        listing: i64,
        /// Why, e.g. `expired` (410); also the gap's cause.
        cause: RelistCause,
        /// When it began.
        at: Timestamp,
    },
    /// The API server's newest resourceVersion is below one that was seen: another history (etcd restored).
    Regressed {
        /// The API server's newest resourceVersion.
        version: String,
        /// When it was seen.
        at: Timestamp,
        /// No other watch has told of it: it gets a row.
        is_first: bool,
    },
    /// The last page is in the queue before this mark.
    ListDone {
        /// Its number. A list that began in a database which was replaced since proves nothing there.
        listing: i64,
        /// When its first page was asked for, by our clock.
        at: Timestamp,
        /// The list's resourceVersion, of its first page.
        version: String,
        /// The server's time of the first page: the end of the blind interval.
        server_time: Timestamp,
        /// Items listed.
        listed: u64,
        /// Oldest last change among the listed Events that the position already covered: what did not expire since.
        oldest_change: Option<Timestamp>,
        /// How long the API server keeps an Event, from the config.
        event_ttl: Duration,
    },
    /// An informer's list is complete: its view is current.
    Synced {
        /// The list's resourceVersion.
        version: String,
        /// When its first page was asked for, by our clock.
        at: Timestamp,
        /// The server's time of the first page: the end of the blind interval.
        server_time: Timestamp,
        /// Objects listed.
        listed: u64,
        /// Objects that were known and are gone: what became of them meanwhile was not seen.
        vanished: u64,
    },
    /// Everything up to this version was seen by `at`: a complete list, a bookmark or the end of a watch shows that.
    Proven {
        /// resourceVersion.
        version: String,
        /// By our clock.
        at: Timestamp,
    },
}

/// Why a relist is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelistCause {
    /// No position is stored.
    FirstStart,
    /// 410 Gone: the position was compacted away.
    Expired,
    /// The recorder stopped in the middle of a list.
    Interrupted,
    /// Items were dropped by the full queue.
    Hole,
    /// The stream closed again and again without an item.
    EmptyStream,
    /// The API server's history is older than the position.
    Regressed,
    /// The database was damaged and a new one was begun.
    Replaced,
    /// Watches from the position failed again and again.
    Failed,
    /// An informer goes on from its position: the list shows what it knew there. No gap.
    Resumed,
}

impl RelistCause {
    /// The word for logs, metrics and gap rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstStart => "first_start",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Hole => "queue_overflow",
            Self::EmptyStream => "empty_stream",
            Self::Regressed => "history_regressed",
            Self::Replaced => "database_replaced",
            Self::Failed => "watch_failed",
            Self::Resumed => "resumed",
        }
    }
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
