//! List and watch of one kind, with exact resume: the one state machine for Events and for objects.
//!
//! ```text
//!  start with a position                                       start without one
//!        │                                                            │
//!        ▼   history went back (here or at another kind)              ▼
//!      Check ───────────────────────────────────────────────────▶   List ◀──┐
//!      ▲ ▲ │  410, hole, failed too often ─────────────────────────▶ │ └────┘ failed
//!      │ │ │                                                         │
//!      │ │ ├─ objects at a start, or asked to ─▶ Exact ─ done ─┐     │ done
//!      │ │ │                                                   ▼     ▼
//!      │ │ └───────────────────────────────────────────────▶ Connect(position)
//!      │ │                                                     │
//!      │ └── Full: the queue has no room ◀───┐                 ▼
//!      └──── Wait ◀── ended, in any way ─────┴────────────── Live ⟲ lines, renewal or check while idle
//! ```
//!
//! The consumer hears what kube-runtime's `watcher` would say: Init, its items, InitDone, items, Bookmark (here: a proof),
//! Connected, Disconnected. That one cannot start at a stored resourceVersion (kube issue 1419), nor bound a body.
//!
//! Before each watch, whatever ended the last one, the API server is asked for its newest resourceVersion: one above it
//! (etcd was restored) would be accepted and then wait in silence until the new history has passed it. An idle watch
//! asks again. Who finds a history that went back recalls all kinds ([`History`]).
//!
//! A position is given up for a list when the API server no longer has it (410, by reason or code), or when attempts in
//! a row, each after a check that went well, did not move it: see [`Trouble::tries`].
//!
//! Pace: whatever ends a watch that lived for less than [`SETTLED`], the next attempt waits, longer each time, so that
//! no answer of the API server makes a hot loop; but a list that is the first in [`LIST_EVERY`] begins immediately.
//!
//! Invariant: only the writer commits a position; this side knows only what its consumer has taken.
//! Invariant: the position moves past an item only once the consumer has it, or by a complete list which shows that
//! nothing lies above it.
//! Invariant: what arrives is handed on before anything later is read.

mod consumer;
mod cursor;
mod history;
mod list;
mod live;
mod step;

pub use consumer::{Closed, Consumer, List, Regressed, Told};
pub use cursor::Cursor;
pub use history::History;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api::{Api, ApiError, Lines};
use super::report::Report;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::SourceConfig;
use crate::metrics::Kind;
use crate::pipeline::identity::Version;
use crate::pipeline::item::RelistCause;
use crate::pipeline::signals::{Recall, Resume, Start};

/// A watch that lived this long was a good one: the next attempt after it does not wait.
const SETTLED: Duration = Duration::from_secs(5);

/// A list that is needed this long after the last one does not wait: an API server that has just come back is not asked
/// too often by that.
const LIST_EVERY: Duration = Duration::from_secs(60);

/// Smallest page asked for when pages do not arrive in time.
const PAGE_SIZE_MIN: u32 = 10;

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
    pub recall: Arc<Recall>,
    /// Shared by all kinds: whether the API server's history went back.
    pub history: History,
    /// Metrics and health of this watch.
    pub report: Report,
    /// Time.
    pub clock: Clock,
    /// Who takes what is seen.
    pub consumer: C,
}

/// A resourceVersion to go on from.
#[derive(Debug)]
struct Position {
    version: String,
    /// Attempts in a row that did not move it.
    tries: u32,
}

impl Position {
    fn new(version: String) -> Self {
        Self { version, tries: 0 }
    }
}

/// Where the machine is; the picture above has the same states.
enum State {
    /// The API server's newest version is asked for.
    Check(Next),
    /// What there is now is listed.
    List(RelistCause),
    /// What there was at a position is listed.
    Exact(Position),
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
enum Next {
    List(RelistCause),
    Exact(Position),
    Connect(Position),
}

/// An open watch.
struct Live {
    lines: Lines,
    cursor: Cursor,
    tries: u32,
    opened: Instant,
    /// The last line.
    heard: Option<Instant>,
    /// The last proof that the position is current, or the last attempt at one.
    idle: Instant,
    idle_after: Duration,
    /// When a watch that follows a failure counts as working though it says nothing; `None`: not before it says something.
    works_at: Option<Instant>,
    /// A line came that a sound history cannot have sent; looked into at the latest then.
    suspect: bool,
}

/// How a watch, or the attempt at one, came to its end.
enum End {
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
enum Trouble {
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
    fn of(error: &ApiError) -> Self {
        match error {
            ApiError::Expired(_) => Self::Expired,
            ApiError::Busy { code: 429, .. } | ApiError::Denied { .. } => Self::Other,
            ApiError::Transport(_) => Self::Cut,
            ApiError::Busy { .. }
            | ApiError::Status { .. }
            | ApiError::Timeout(_)
            | ApiError::TooLarge(_)
            | ApiError::Malformed(_) => Self::Answer,
        }
    }

    /// Attempts in a row at one position after which what there is is listed instead; `None`: it is tried without end.
    /// Each followed a check that went well, so that the API server being away is not among them.
    const fn tries(&self) -> Option<u32> {
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
struct Machine<C> {
    watcher: Watcher<C>,
    backoff: Backoff,
    /// Objects asked for in a page; less than configured while pages do not arrive in time.
    page_size: u32,
    /// Something failed, and nothing has worked since.
    failing: bool,
    /// Highest version that this kind was seen or stored at; `None`: nothing is known, or it is void.
    newest: Option<Version>,
    /// Of [`History`], as far as it was taken in.
    epoch: u64,
    /// When the last list began.
    listed: Option<Instant>,
}

impl<C: Consumer> Watcher<C> {
    /// Lists and watches without end; the caller drops the future to stop it. Dropping it at any point is safe: what the
    /// consumer has taken is complete, and the rest comes again from the committed position.
    pub async fn run(self, start: Start) {
        let position = start.position.map(|version| Version::new(&version));
        let mut machine = Machine {
            backoff: Backoff::new(self.config.backoff.initial, self.config.backoff.max),
            page_size: self.consumer.page_size(),
            failing: true,
            epoch: self.history.epoch(),
            newest: position,
            listed: None,
            watcher: self,
        };
        let mut state = match start.resume {
            Resume::Watch(version) if C::STARTS_WITH_A_LIST => {
                State::Check(Next::Exact(Position::new(version)))
            }
            Resume::Watch(version) => State::Check(Next::Connect(Position::new(version))),
            Resume::List(cause) if machine.newest.is_some() => State::Check(Next::List(cause)),
            Resume::List(cause) => State::List(cause),
        };
        // A consumer goes only when the process ends.
        while let Ok(next) = machine.step(state).await {
            state = next;
        }
    }
}
