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
//! Invariant: only the writer commits a position; this side knows only what it has put into the queue.
//! Invariant: the position moves past an item only with that item in the queue before it, or by a complete list which
//! shows that nothing lies above the position (`Mark::Proven`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::api::{Api, ApiError, Line, Lines, Shape};
use super::backoff::Backoff;
use super::intake::Intake;
use super::pages::{ListPage, Pages, WatchLine};
use super::report::Report;
use crate::config::SourceConfig;
use crate::metrics::RestartCause;
use crate::pipeline::item::{Item, Mark, RelistCause, Via, WatchId};
use crate::store::version::Version;
use crate::store::watches::Resume;

/// A stream that ends sooner than this without an item is counted as empty; two in a row make a relist.
const EMPTY_STREAM: Duration = Duration::from_secs(5);

/// Empty streams in a row after which the position is no longer trusted.
const EMPTY_STREAMS_MAX: u32 = 2;

/// How long a stream may take to deliver an item that a list already shows.
const DELIVERY_WAIT: Duration = Duration::from_secs(15);

/// Lets the writer tell a source that its items were dropped and it has to relist.
#[derive(Debug, Default)]
pub struct Recall {
    wanted: AtomicBool,
    notify: Notify,
}

impl Recall {
    /// Asks for a relist.
    pub fn relist(&self) {
        self.wanted.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    fn take(&self) -> bool {
        self.wanted.swap(false, Ordering::AcqRel)
    }

    async fn wanted(&self) {
        while !self.wanted.load(Ordering::Acquire) {
            self.notify.notified().await;
        }
    }
}

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
    backoff: Backoff,
    empty_streams: u32,
}

impl EventsSource {
    /// Lists and watches for ever; the caller drops the future to stop it. Dropping it at any point is safe: what is in
    /// the queue is complete, and the rest comes again from the committed position.
    pub async fn run(self, resume: Resume) {
        let (mut step, position) = match resume {
            Resume::Watch(position) => (Step::Watch, Some(position)),
            Resume::List(cause) => (Step::List(cause), None),
        };
        let backoff = Backoff::new(self.config.backoff.initial, self.config.backoff.max);
        let mut state = State {
            position,
            backoff,
            empty_streams: 0,
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
                state.backoff.reset();
                state.empty_streams = 0;
                Step::Watch
            }
            Err(error) => {
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
        if items > 0 {
            state.backoff.reset();
            state.empty_streams = 0;
        }
        match end {
            End::Clean if items == 0 && begun.elapsed() < EMPTY_STREAM => {
                state.empty_streams += 1;
                self.report.restarted(RestartCause::EmptyStream);
                if state.empty_streams >= EMPTY_STREAMS_MAX {
                    state.empty_streams = 0;
                    tokio::time::sleep(state.backoff.wait()).await;
                    return Step::List(RelistCause::EmptyStream);
                }
                tokio::time::sleep(state.backoff.wait()).await;
                Step::Watch
            }
            End::Clean => {
                debug!(position = state.position, "watch closed by the API server");
                self.report.restarted(RestartCause::Closed);
                Step::Watch
            }
            End::Relist(cause) => {
                warn!(
                    cause = cause.as_str(),
                    position = state.position,
                    "watch cannot be resumed, listing again"
                );
                self.report.restarted(label(cause));
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
        self.report.restarted(error.cause());
        self.report
            .failed(&format!("{what} of Events failed: {error}"));
        warn!(%error, wait_ms = wait.as_millis() as u64, position = state.position, "{what} of Events failed");
        tokio::time::sleep(wait).await;
    }

    /// Puts a complete list into the queue; returns its resourceVersion.
    async fn list(&self, state: &State, cause: RelistCause) -> Result<String, ApiError> {
        info!(cause = cause.as_str(), "listing Events");
        let mut cause = cause;
        self.mark(Mark::ListBegun {
            cause,
            at: self.intake.now(),
        });
        let mut pages = Pages::new(&self.namespace, self.config.page_size, Shape::Objects);
        let mut first: Option<(String, Timestamp)> = None;
        let mut listed = 0;
        let mut oldest_change: Option<Timestamp> = None;
        loop {
            self.intake.queue.room().await;
            let page = match pages.next(&self.api, self.config.list_timeout).await {
                Ok(page) => page,
                // The token expired: begin again without it, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.begun() => {
                    self.report.restarted(RestartCause::Gone);
                    pages.begin_again();
                    (first, listed, oldest_change) = (None, 0, None);
                    self.mark(Mark::ListBegun {
                        cause,
                        at: self.intake.now(),
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.report.active();
            if first.is_none() {
                let server_time = page.server_time.unwrap_or_else(|| self.intake.now());
                if let Some(position) = &state.position
                    && Version::new(&page.version).is_certainly_before(&Version::new(position))
                {
                    cause = RelistCause::Regressed;
                    self.mark(Mark::Regressed {
                        version: page.version.clone(),
                        at: self.intake.now(),
                    });
                }
                first = Some((page.version.clone(), server_time));
            }
            listed += page.items.len() as u64;
            if let Some(change) = self.take_page(&page).await {
                oldest_change = Some(oldest_change.map_or(change, |oldest| oldest.min(change)));
            }
            if page.last {
                break;
            }
        }
        let (version, server_time) =
            first.ok_or_else(|| ApiError::Malformed("a list without a page".to_owned()))?;
        let event_ttl = self.config.event_ttl;
        self.mark(Mark::ListDone {
            version: version.clone(),
            server_time,
            listed,
            oldest_change,
            event_ttl,
        });
        info!(listed, version, "Events listed");
        self.report.synced();
        Ok(version)
    }

    /// Puts a page's items into the queue, oldest version first; returns the oldest last change among them.
    async fn take_page(&self, page: &ListPage) -> Option<Timestamp> {
        let mut oldest: Option<Timestamp> = None;
        for item in &page.items {
            self.intake.queue.room().await;
            if let Some(change) = self.intake.listed(self.watch, item) {
                oldest = Some(oldest.map_or(change, |oldest| oldest.min(change)));
            }
        }
        oldest
    }

    async fn watch(
        &self,
        state: &mut State,
        position: &str,
        items: &mut u64,
    ) -> Result<End, ApiError> {
        let path = super::pages::watch_path(&self.namespace, position, self.config.watch_timeout);
        let mut lines = self
            .api
            .get(&path, Shape::Objects, self.config.list_timeout)
            .await?
            .lines();
        debug!(position, "watching Events");
        self.report.connected();
        let silence = self.config.watch_timeout + self.config.read_slack;
        let mut heard = Instant::now();
        let mut renewed = Instant::now();
        loop {
            let idle_left = self.config.idle_renewal.saturating_sub(renewed.elapsed());
            tokio::select! {
                biased;
                () = self.recall.wanted() => return Ok(End::Relist(RelistCause::Hole)),
                line = lines.next() => {
                    let Some(line) = line? else { return Ok(End::Clean) };
                    heard = Instant::now();
                    renewed = heard;
                    if let Some(end) = self.take_line(state, line, items).await? {
                        return Ok(end);
                    }
                }
                () = tokio::time::sleep(idle_left) => {
                    if heard.elapsed() > silence {
                        return Err(ApiError::Timeout(silence));
                    }
                    renewed = Instant::now();
                    if let Some(end) = self.renew(state, &mut lines, items).await? {
                        return Ok(end);
                    }
                }
            }
        }
    }

    /// Handles one line of the watch. `Some`: the watch is over.
    async fn take_line(
        &self,
        state: &mut State,
        line: Line,
        items: &mut u64,
    ) -> Result<Option<End>, ApiError> {
        self.report.active();
        let line = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
            Line::Whole(line) => line,
            Line::TooLong => {
                self.intake.undecodable(
                    self.watch,
                    Via::Watch,
                    "",
                    "",
                    "an Event of more than 4 MiB",
                );
                return Ok(None);
            }
        };
        match WatchLine::decode(&line) {
            Ok(WatchLine::Error(status)) => Err(status.into_error(None)),
            Ok(WatchLine::Bookmark(version)) => {
                if let Some(version) = version {
                    self.mark(Mark::Proven {
                        version: version.clone(),
                        at: self.intake.now(),
                    });
                    state.position = Some(version);
                }
                Ok(None)
            }
            Ok(WatchLine::Item { action, object }) => {
                if timeout(self.max_wait, self.intake.queue.room())
                    .await
                    .is_err()
                {
                    return Ok(Some(End::Full)); // this item is not in the queue and comes again
                }
                *items += 1;
                if let Some(version) = self.intake.watched(self.watch, action, object) {
                    state.position = Some(version);
                }
                Ok(None)
            }
            Err(cause) => {
                *items += 1;
                self.intake
                    .undecodable(self.watch, Via::Watch, "", "", &cause);
                Ok(None)
            }
        }
    }

    /// Renews the position of an idle watch by a complete list of metadata.
    async fn renew(
        &self,
        state: &mut State,
        lines: &mut Lines,
        items: &mut u64,
    ) -> Result<Option<End>, ApiError> {
        let mut pages = Pages::new(&self.namespace, self.config.page_size, Shape::MetadataOnly);
        let position = Version::new(state.position.as_deref().unwrap_or_default());
        let mut first: Option<(String, Timestamp)> = None;
        let mut above = false;
        loop {
            let page = pages.next(&self.api, self.config.list_timeout).await?;
            if first.is_none() {
                first = Some((
                    page.version.clone(),
                    page.server_time.unwrap_or_else(|| self.intake.now()),
                ));
            }
            above |= page
                .items
                .iter()
                .any(|item| Version::new(&item.version).is_after(&position));
            if page.last {
                break;
            }
        }
        let Some((version, at)) = first else {
            return Ok(None);
        };
        if Version::new(&version).is_certainly_before(&position) {
            return Ok(Some(End::Relist(RelistCause::Regressed)));
        }
        if !above {
            debug!(version, "idle position renewed");
            self.report.active();
            self.mark(Mark::Proven {
                version: version.clone(),
                at,
            });
            state.position = Some(version);
            return Ok(None);
        }
        // Something lies above the position: the stream has to deliver it, or it is dead.
        match timeout(DELIVERY_WAIT, lines.next()).await {
            Ok(Ok(Some(line))) => self.take_line(state, line, items).await,
            Ok(Ok(None)) => Ok(Some(End::Clean)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ApiError::Timeout(DELIVERY_WAIT)),
        }
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
        RelistCause::FirstStart | RelistCause::Interrupted => RestartCause::Other,
    }
}
