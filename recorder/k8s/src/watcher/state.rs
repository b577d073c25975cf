//! The states, and what each holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube9_base::backoff::Backoff;
use kube9_base::clock::Clock;
use kube9_base::relist::RelistSignal;
use kube9_model::identity::ResourceVersion;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;

use super::cursor::Cursor;
use super::history::History;
use crate::api::{Api, ApiError, Lines};
use crate::config::SourceConfig;
use crate::report::Report;

/// A watch that lived this long was a good one: the next attempt after it does not wait.
pub(super) const SETTLED: Duration = Duration::from_secs(5);

/// A list that is needed this long after the last one does not wait: an API server that has just come back is not asked
/// too often by that.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(60);

/// After a failure, a stream that delivers nothing counts as working once it is open for this long.
pub(super) const WORKS_AFTER: Duration = Duration::from_secs(2);

/// Refusals (403) in a row that make a missing permission: an API server that has just started refuses everything until it
/// has read its roles, which takes one to three seconds. The fourth comes about five seconds after the first.
pub(super) const DENIED_TRIES: u32 = 4;

/// A watch that is opened again sooner than this after the last one follows the same history: etcd cannot be put back in
/// less. What is done in a rolling restart of API servers costs no list.
pub(super) const AWAY_AFTER: Duration = Duration::from_secs(2);

/// Smallest page asked for when pages do not arrive in time.
pub(super) const PAGE_SIZE_MIN: u32 = 10;

/// List and watch of one kind in one namespace, or in all.
pub struct Watcher<C> {
    /// The API server.
    pub api: Api,
    /// Of what.
    pub kind: Kind,
    /// Where; empty for all namespaces.
    pub namespace: String,
    /// Times and sizes.
    pub config: SourceConfig,
    /// How long to wait for room at the consumer before the watch is closed.
    pub max_wait: Duration,
    /// The writer's word.
    pub recall: Arc<RelistSignal>,
    /// Shared by all kinds: whether the API server's history went back.
    pub history: History,
    /// Metrics and health of this watch.
    pub report: Report,
    /// Time.
    pub clock: Clock,
    /// Takes what is seen.
    pub consumer: C,
}

/// A resourceVersion to go on from.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) version: String,
    /// Attempts in a row that did not move it.
    pub(super) tries: u32,
}

impl Position {
    pub(super) fn new(version: String) -> Self {
        Self { version, tries: 0 }
    }
}

/// Where the machine is; the picture in the head of `watcher` has the same states.
pub(super) enum State {
    /// The API server's newest version is asked for.
    Check(Next),
    /// What there is now is listed.
    List(RelistCause),
    /// What there was at a position is listed.
    Exact(Position),
    /// What there was at a position is compared with what is known.
    Compare(Position),
    /// A watch is asked for.
    Connect(Position),
    /// It is open.
    Live(Box<Live>),
    /// It was closed, since its consumer had no room.
    Full(Position),
    /// A while passes before the next attempt.
    Wait(Duration, Box<State>),
}

/// What a check is made for.
pub(super) enum Next {
    List(RelistCause),
    Exact(Position),
    Connect(Position),
}

/// An open watch.
pub(super) struct Live {
    pub(super) lines: Lines,
    pub(super) cursor: Cursor,
    pub(super) tries: u32,
    pub(super) opened: Instant,
    /// The server's clock when it was opened, and when it was read.
    pub(super) server_time: Option<(Timestamp, Instant)>,
    /// The last line.
    pub(super) heard: Option<Instant>,
    /// The last proof that the position is current, or the last attempt at one.
    pub(super) idle: Instant,
    pub(super) idle_after: Duration,
    /// When a watch that follows a failure counts as working though it says nothing; `None`: not before it says something.
    pub(super) works_at: Option<Instant>,
    /// A line came that a sound history cannot have sent; looked into at the latest then.
    pub(super) suspect: bool,
}

/// How a watch, or the attempt at one, came to its end.
pub(super) enum End {
    /// The server closed it in order.
    Closed,
    /// Anything else that the server or the way to it did.
    Failed(ApiError),
    /// The consumer has no room.
    Full,
    /// The writer or the analysis wants a list.
    Recalled(RelistCause),
    /// The API server's newest version is below what was seen of it.
    Regressed(String),
}

/// What may be wrong with a position whose watch, or exact list, did not come to anything.
pub(super) enum Trouble {
    /// It is too old.
    Expired,
    /// The API server answers, but not this.
    Answer,
    /// The stream is cut.
    Cut,
    /// The stream ends as soon as it has begun.
    Empty,
    /// Nothing: the API server is busy, or does not allow it.
    Other,
}

impl Trouble {
    pub(super) fn of(error: &ApiError) -> Self {
        match error {
            ApiError::Expired(_) => Self::Expired,
            ApiError::Busy { code: 429, .. } | ApiError::Denied { .. } => Self::Other,
            ApiError::Transport(_) | ApiError::CutOff(_) => Self::Cut,
            ApiError::Busy { .. }
            | ApiError::Status { .. }
            | ApiError::Timeout(_)
            | ApiError::TooLarge(_)
            | ApiError::Malformed(_) => Self::Answer,
        }
    }

    /// Attempts in a row at one position after which what there is is listed instead; `None`: it is tried without end.
    /// Each followed a check that went well, so that the API server being away is not among them.
    pub(super) const fn tries(&self) -> Option<u32> {
        match self {
            Self::Expired => Some(1),
            // Two may be chance: a leader that changes, an API server that restarts.
            Self::Answer => Some(3),
            Self::Empty => Some(2),
            // Connections fail for many reasons, and mostly the position is as good as before.
            Self::Cut => Some(10),
            Self::Other => None,
        }
    }
}

/// The machine and what it keeps over all states.
pub(super) struct Machine<C> {
    pub(super) watcher: Watcher<C>,
    pub(super) backoff: Backoff,
    /// Objects asked for in a page; less than configured while pages do not arrive in time.
    pub(super) page_size: u32,
    /// Something failed, and nothing has worked since.
    pub(super) failing: bool,
    /// Refusals in a row.
    pub(super) denied: u32,
    /// Highest version that this kind was seen or stored at; `None`: nothing is known, or it is void.
    pub(super) newest: Option<ResourceVersion>,
    /// Of [`History`], as far as it was taken in.
    pub(super) epoch: u64,
    /// The last check failed; how often the API server had been found to be back then.
    pub(super) failed_at: Option<u64>,
    /// When another kind last ended a wait.
    pub(super) woken: Option<Instant>,
    /// A check failed since the last watch: the API server may have come back with another history.
    pub(super) was_away: bool,
    /// When the last watch ended, or an attempt at one found no API server: a kind may wait for the next attempt for as long as the
    /// API server is away, so that no check fails.
    pub(super) blind_since: Option<Instant>,
    /// When the last list began.
    pub(super) listed: Option<Instant>,
}

/// No history is at 0: that is an answer from a cache that holds nothing yet.
pub(super) fn went_back(version: &ResourceVersion, newest: &ResourceVersion) -> bool {
    *version != ResourceVersion::Number(0) && version.is_older_than(newest)
}
