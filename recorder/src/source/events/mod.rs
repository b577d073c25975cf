//! The Events source: list and watch with exact resume.
//!
//! ```text
//!            position stored                         no position, open hole, interrupted list
//!                  │                                                  │
//!                  ▼                                                  ▼
//!            ┌── Watch(rv) ◀───────────── list complete ───────── List(cause) ◀─┐
//!  clean end │     │  │ │                                           │ │         │ failed: back off,
//!  or error: │     │  │ └── 410, hole, history went back, ──────────┘ └─────────┘ begin again
//!  back off, └─────┘  │     stream ends empty twice
//!  from the           └── queue stays full: close, wait for room, Watch(rv)
//!  last item
//! ```
//!
//! kube-runtime's `watcher` cannot start at a stored resourceVersion (kube issue 1419), so this is our own.
//!
//! A watch that follows a failure or a start first asks for the API server's resourceVersion: one above it (etcd was
//! restored) would be accepted and then wait in silence until the new history has passed it.
//!
//! Pace: whatever ends a watch that lived for less than [`SETTLED`], the next attempt waits.
//!
//! Invariant: only the writer commits a position; this side knows only what it has put into the queue.
//! Invariant: the position moves past an item only with that item in the queue before it, or by a complete list which
//! shows that nothing lies above the position (`Mark::Proven`).

mod list;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::SETTLED;
use super::api::{Api, ApiError};
use super::intake::Intake;
use super::report::Report;
use crate::backoff::Backoff;
use crate::config::SourceConfig;
use crate::metrics::RestartCause;
use crate::pipeline::item::{Item, Mark, RelistCause, WatchId};
use crate::pipeline::signals::{Recall, Resume, Start};

/// Smallest page asked for when pages do not arrive in time.
const PAGE_SIZE_MIN: u32 = 10;

/// Streams in a row that ended without an item before they had [`SETTLED`], after which the position is no longer trusted.
const EMPTY_STREAMS_MAX: u32 = 2;

/// Everything the source works with.
pub struct EventsSource {
    /// The API server.
    pub api: Api,
    /// Whose position.
    pub watch: WatchId,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Times and sizes.
    pub config: SourceConfig,
    /// How long to wait at a full queue before the watch is closed.
    pub max_wait: Duration,
    /// From raw item to queue.
    pub intake: Intake,
    /// The writer's word.
    pub recall: Arc<Recall>,
    /// Metrics and health of this watch.
    pub report: Report,
}

enum Step {
    List(RelistCause),
    Watch,
}

enum End {
    /// The server closed it in order.
    Clean,
    /// Nothing can be resumed from here.
    Relist(RelistCause),
    /// The queue stayed full.
    Full,
    /// Anything else.
    Failed(ApiError),
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Expired(_) => Self::Relist(RelistCause::Expired),
            other => Self::Failed(other),
        }
    }
}

/// What the running source knows.
struct State {
    /// resourceVersion of the last item or list in the queue.
    position: Option<String>,
    /// Number of the last list begun.
    listing: i64,
    /// Objects asked for in a page; less than configured while pages do not arrive in time.
    page_size: u32,
    backoff: Backoff,
    empty_streams: u32,
    /// When the position was last shown to be current.
    proven: Instant,
    /// The API server may have another history since it was last heard.
    unproven: bool,
    /// Something failed, and nothing has worked since.
    failing: bool,
}

impl EventsSource {
    /// Lists and watches for ever; the caller drops the future to stop it. Dropping it at any point is safe: what is in
    /// the queue is complete, and the rest comes again from the committed position.
    pub async fn run(self, start: Start) {
        let mut step = match start.resume {
            Resume::Watch(_) => Step::Watch,
            Resume::List(cause) => Step::List(cause),
        };
        let backoff = Backoff::new(self.config.backoff.initial, self.config.backoff.max);
        let mut state = State {
            position: start.position,
            listing: start.listing,
            page_size: self.config.page_size,
            backoff,
            empty_streams: 0,
            proven: Instant::now(),
            unproven: true,
            failing: true,
        };
        loop {
            step = match step {
                Step::List(cause) => self.list_step(&mut state, cause).await,
                Step::Watch => self.watch_step(&mut state).await,
            };
        }
    }

    async fn list_step(&self, state: &mut State, cause: RelistCause) -> Step {
        self.recall.take();
        let begun = Instant::now();
        match self.list(state, cause).await {
            Ok(version) => {
                self.report.listed(begun.elapsed());
                state.position = Some(version);
                state.page_size = self.config.page_size;
                state.unproven = false;
                Step::Watch
            }
            Err(error) => {
                if matches!(error, ApiError::Timeout(_)) {
                    state.page_size = (state.page_size / 4).max(PAGE_SIZE_MIN);
                }
                self.fail(state, &error, "list").await;
                Step::List(cause)
            }
        }
    }

    async fn watch_step(&self, state: &mut State) -> Step {
        let Some(position) = state.position.clone() else {
            return Step::List(RelistCause::FirstStart);
        };
        let begun = Instant::now();
        let mut items = 0;
        let end = match self.watch(state, &position, &mut items).await {
            Ok(end) => end,
            Err(error) => error.into(),
        };
        self.report.disconnected();
        let settled = begun.elapsed() >= SETTLED;
        if settled {
            state.backoff.reset();
        }
        if settled || items > 0 {
            state.empty_streams = 0;
        }
        match end {
            End::Clean if items == 0 && !settled => {
                state.empty_streams += 1;
                state.failing = true;
                self.report.restarted(RestartCause::EmptyStream);
                self.report
                    .failed("the API server ends the watch of Events as soon as it has begun");
                tokio::time::sleep(state.backoff.wait()).await;
                if state.empty_streams >= EMPTY_STREAMS_MAX {
                    state.empty_streams = 0;
                    return Step::List(RelistCause::EmptyStream);
                }
                Step::Watch
            }
            End::Clean => {
                debug!(position = state.position, "watch closed by the API server");
                self.report.restarted(RestartCause::Closed);
                if !settled {
                    tokio::time::sleep(state.backoff.wait()).await;
                }
                Step::Watch
            }
            End::Relist(cause) => {
                warn!(
                    cause = cause.as_str(),
                    position = state.position,
                    "watch cannot be resumed, listing again"
                );
                self.report.restarted(label(cause));
                if !settled {
                    tokio::time::sleep(state.backoff.wait()).await;
                }
                Step::List(cause)
            }
            End::Full => {
                warn!(
                    position = state.position,
                    "queue stays full, watch closed until there is room"
                );
                self.report.restarted(RestartCause::QueueFull);
                self.intake.queue.room().await;
                Step::Watch
            }
            End::Failed(error) => {
                self.fail(state, &error, "watch").await;
                Step::Watch
            }
        }
    }

    async fn fail(&self, state: &mut State, error: &ApiError, what: &str) {
        let wait = match error {
            ApiError::Busy { after, .. } => (*after).max(state.backoff.wait()),
            _ => state.backoff.wait(),
        };
        state.failing = true;
        state.unproven = true;
        self.report.restarted(error.cause());
        self.report
            .failed(&format!("{what} of Events failed: {error}"));
        warn!(%error, wait_ms = wait.as_millis() as u64, position = state.position, "{what} of Events failed");
        tokio::time::sleep(wait).await;
    }

    fn mark(&self, mark: Mark) {
        self.intake.push(Item::Mark {
            watch: self.watch,
            mark,
        });
    }
}

fn label(cause: RelistCause) -> RestartCause {
    match cause {
        RelistCause::Expired => RestartCause::Gone,
        RelistCause::Hole => RestartCause::Overflow,
        RelistCause::EmptyStream => RestartCause::EmptyStream,
        RelistCause::Regressed => RestartCause::Regressed,
        RelistCause::FirstStart
        | RelistCause::Interrupted
        | RelistCause::Replaced
        | RelistCause::Restarted
        | RelistCause::Resumed => RestartCause::Other,
    }
}
