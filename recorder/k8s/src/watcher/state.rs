//! The states of the watcher, and the data of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube9_base::backoff::Backoff;
use kube9_base::clock::Clock;
use kube9_base::relist::RelistSignal;
use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;

use super::cursor::Cursor;
use super::server_history::ServerHistory;
use crate::api::{Api, ApiError, Lines};
use crate::config::SourceConfig;
use crate::resource::ApiResource;
use crate::watch_status::WatchStatus;

/// After a watch that was open for this long, the next attempt starts without a delay.
pub(super) const MIN_HEALTHY_WATCH: Duration = Duration::from_secs(5);

/// A list that is needed this long after the last one starts without a delay: that does not overload an API server that
/// has just recovered.
pub(super) const UNDELAYED_LIST_INTERVAL: Duration = Duration::from_secs(60);

/// After a failure, a stream without data counts as healthy once it has been open for this long.
pub(super) const HEALTHY_AFTER: Duration = Duration::from_secs(2);

/// Consecutive 403 responses that count as a missing permission. An API server that has just started rejects everything
/// until it has loaded its roles, which takes one to three seconds. The fourth response comes about five seconds after
/// the first.
pub(super) const FORBIDDEN_AFTER: u32 = 4;

/// A watch that is reopened sooner than this follows the same history, because etcd cannot be restored in less time. A
/// rolling restart of the API servers therefore costs no comparison.
pub(super) const COMPARE_AFTER: Duration = Duration::from_secs(2);

/// Smallest page that is requested after pages timed out.
pub(super) const PAGE_SIZE_MIN: u32 = 10;

/// List and watch of one kind in one namespace, or in all.
pub struct Watcher<C> {
    /// The API server.
    pub api: Api,
    /// What is watched.
    pub resource: ApiResource,
    /// The watched namespace; empty for all.
    pub namespace: String,
    /// Times and sizes.
    pub config: SourceConfig,
    /// How long to wait for the consumer to become ready before the watch is closed.
    pub max_wait: Duration,
    /// Requests of the writer or the analysis to list again.
    pub relist: Arc<RelistSignal>,
    /// Whether the API server's history regressed; shared by all kinds.
    pub history: ServerHistory,
    /// Metrics and health of this watch.
    pub status: WatchStatus,
    /// For timestamps.
    pub clock: Clock,
    /// Receives what is listed and watched.
    pub consumer: C,
}

/// A resourceVersion to resume from.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) version: String,
    /// Consecutive attempts that did not advance it.
    pub(super) tries: u32,
}

impl Position {
    pub(super) fn new(version: String) -> Self {
        Self { version, tries: 0 }
    }
}

/// The current state; the diagram in the head of `watcher` shows the same states.
pub(super) enum State {
    /// Requests the API server's newest version, to detect a regression.
    Checking(AfterCheck),
    /// Lists the current objects.
    Listing(RelistCause),
    /// Lists the objects as of a position.
    ListingAt(Position),
    /// Compares the objects as of a position with those that were received.
    Comparing(Position),
    /// Opens a watch.
    Connecting(Position),
    /// Reads the lines of an open watch.
    Watching(Box<OpenWatch>),
    /// Waits for the consumer to become ready; the watch was closed meanwhile.
    QueueFull(Position),
    /// Waits before the next attempt.
    BackingOff(Duration, Box<State>),
}

/// The state that follows a successful check.
pub(super) enum AfterCheck {
    List(RelistCause),
    ListAt(Position),
    Connect(Position),
}

/// An open watch.
pub(super) struct OpenWatch {
    pub(super) lines: Lines,
    pub(super) cursor: Cursor,
    pub(super) tries: u32,
    pub(super) opened: Instant,
    /// The server's clock when the watch was opened, and when it was read.
    pub(super) server_time: Option<(Timestamp, Duration)>,
    /// When the last line arrived.
    pub(super) last_line_at: Option<Instant>,
    /// When the position was last confirmed, or the last attempt to confirm it was made.
    pub(super) last_confirmation: Instant,
    pub(super) confirm_after: Duration,
    /// When a watch that follows a failure counts as healthy even without data; `None`: only once data arrives.
    pub(super) healthy_at: Option<Instant>,
    /// A line had a version below the position, so the history may have regressed. The next idle check resolves it.
    pub(super) saw_older_version: bool,
}

/// How a watch ended.
pub(super) enum WatchOutcome {
    /// The server closed it in an orderly way.
    Closed,
    /// The server or the connection failed.
    Failed(ApiError),
    /// The consumer was not ready for too long.
    QueueFull,
    /// The writer or the analysis requested a list.
    RelistRequested(RelistCause),
    /// The API server's newest version is below one that was seen before.
    Regressed(String),
}

/// What a failed watch or list suggests about the position.
pub(super) enum FailureClass {
    /// The position is too old.
    Expired,
    /// The API server responds, but not with what was requested.
    BadResponse,
    /// The connection was cut.
    Cut,
    /// The stream ended immediately.
    Empty,
    /// Nothing: the API server is busy, or denies access.
    Other,
}

impl FailureClass {
    pub(super) fn of(error: &ApiError) -> Self {
        match error {
            ApiError::Expired(_) => Self::Expired,
            ApiError::Busy { code: 429, .. } | ApiError::Denied { .. } => Self::Other,
            ApiError::Transport(_) | ApiError::CutOff(_) => Self::Cut,
            ApiError::Busy { .. }
            | ApiError::Status { .. }
            | ApiError::Timeout(_)
            | ApiError::TooLarge(_)
            | ApiError::Malformed(_) => Self::BadResponse,
        }
    }

    /// Consecutive attempts at one position after which the watcher lists instead; `None`: it retries indefinitely.
    /// Each attempt follows a successful check, so an unreachable API server does not count.
    pub(super) const fn tries(&self) -> Option<u32> {
        match self {
            Self::Expired => Some(1),
            // Two failures may be a coincidence, such as a leader election or a restart.
            Self::BadResponse => Some(3),
            Self::Empty => Some(2),
            // Connections fail for many reasons; mostly the position is still valid.
            Self::Cut => Some(10),
            Self::Other => None,
        }
    }
}

/// The watcher, and the data that all states share.
pub(super) struct StateMachine<C> {
    pub(super) watcher: Watcher<C>,
    pub(super) backoff: Backoff,
    /// Objects per page; less than configured while pages time out.
    pub(super) page_size: u32,
    /// Something failed, and nothing has succeeded since.
    pub(super) failing: bool,
    /// Consecutive 403 responses.
    pub(super) denials: u32,
    /// Highest version of this kind that was received or stored; `None`: unknown, or void after a regression.
    pub(super) highest_version: Option<ResourceVersion>,
    /// Last epoch of [`ServerHistory`] that was handled.
    pub(super) epoch: u64,
    /// If the last check failed: the number of recoveries at that time.
    pub(super) recoveries_at_failure: Option<u64>,
    /// When a recovery that another kind found last ended a back-off.
    pub(super) woken_at: Option<Instant>,
    /// The API server was unreachable since the last watch: its history may have changed.
    pub(super) was_unreachable: bool,
    /// When the last watch ended, or an attempt found the API server unreachable. A back-off may outlast the outage, so
    /// that no check fails.
    pub(super) disconnected_since: Option<Instant>,
    /// When the last list started.
    pub(super) last_list_at: Option<Instant>,
}

/// Whether `version` is below `newest`. Version 0 is not a regression: it is the response of an empty cache.
pub(super) fn resource_version_regressed(
    version: &ResourceVersion,
    newest: &ResourceVersion,
) -> bool {
    *version != ResourceVersion::Number(0) && version.is_older_than(newest)
}
