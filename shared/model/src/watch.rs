//! The words of a watch: which one, how it saw something, and the steps of its protocol.

use std::time::Duration;

use crate::label::Stage;
use crate::time::Timestamp;

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

/// A history that went back.
#[derive(Debug, Clone)]
pub struct Regressed {
    /// The API server's newest version.
    pub found: String,
    /// When that was seen.
    pub at: Timestamp,
    /// This kind is the first to report it.
    pub is_first: bool,
}
