//! Types of a watch: its id, the origin of an item, and the markers of its protocol.

use std::time::Duration;

use crate::label::Stage;
use crate::time::Timestamp;

/// `watch_state.id`: one source and scope, e.g. Events of all namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub i64);

/// How an item was received; decides what its commit confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the watch stream, in the order of resourceVersions: its commit moves the position to its version.
    Watch,
    /// The same, of a stream that has caught up: its commit also confirms everything up to its receive time.
    Live,
    /// From a list page: the position waits for [`SourceMarker::InitDone`].
    List,
}

/// Why an Event makes no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnstoredReason {
    /// The API server deleted the Event (mostly its TTL). Its rows stay; its dedup entry is deleted.
    Deleted,
    /// A filter rule excludes it; the position among the excluding rules.
    Filtered(usize),
    /// It failed at this stage, for this reason; a stub row reports it.
    Skipped(Stage, String),
}

/// Markers of a source, committed in order with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceMarker {
    /// The position could not be resumed: a relist begins. Opens a gap row unless this is the first start.
    Init {
        /// Rises with each list of a watch.
        list_generation: i64,
        /// Also the gap's cause, e.g. `expired` (410).
        cause: RelistCause,
        /// By our clock.
        at: Timestamp,
    },
    /// The API server's newest resourceVersion is below one that was seen: another history (etcd restored).
    Regressed {
        /// The API server's newest resourceVersion.
        version: String,
        /// When it was seen.
        at: Timestamp,
        /// No other watch has reported it: it gets a row.
        is_first: bool,
    },
    /// The last page precedes this marker in the queue.
    InitDone {
        /// A list that began in a database which was replaced since proves nothing.
        list_generation: i64,
        /// When its first page was requested, by our clock.
        at: Timestamp,
        /// The list's resourceVersion, of its first page.
        version: String,
        /// The server's time of the first page: the end of the gap.
        server_time: Timestamp,
        /// Items listed.
        listed: u64,
        /// Oldest last change among the listed Events that the position already covered: these have not expired.
        oldest_change: Option<Timestamp>,
        /// How long the API server keeps an Event, from the config.
        event_ttl: Duration,
    },
    /// An informer's list is complete.
    Synced {
        /// The list's resourceVersion.
        version: String,
        /// When its first page was requested, by our clock.
        at: Timestamp,
        /// The server's time of the first page: the end of the gap.
        server_time: Timestamp,
        /// Objects listed.
        listed: u64,
        /// Objects that were deleted meanwhile, with their last state unseen.
        vanished: u64,
    },
    /// Everything up to this version was received by `at`: by a complete list, a bookmark or the end of a watch.
    Confirmed {
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
    QueueOverflow,
    /// The stream closed again and again without an item.
    EmptyStream,
    /// The API server's history is older than the position.
    Regressed,
    /// The database was damaged and a new one was begun.
    Replaced,
    /// Watches from the position failed again and again.
    Failed,
    /// An informer resumes from its position: the list restores its objects. No gap.
    Resumed,
}

impl RelistCause {
    /// The value in logs, metrics and gap rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstStart => "first_start",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::QueueOverflow => "queue_overflow",
            Self::EmptyStream => "empty_stream",
            Self::Regressed => "history_regressed",
            Self::Replaced => "database_replaced",
            Self::Failed => "watch_failed",
            Self::Resumed => "resumed",
        }
    }
}

/// The API server has another history (etcd restored).
#[derive(Debug, Clone)]
pub struct Regressed {
    /// The API server's newest version.
    pub found: String,
    /// When it was found, by our clock.
    pub at: Timestamp,
    /// This kind is the first to report it.
    pub is_first: bool,
}
