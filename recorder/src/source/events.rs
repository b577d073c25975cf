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
//! Pace: whatever ends a watch that lived for less than [`SETTLED`], the next attempt waits, and longer each time. So no
//! answer of the API server makes a hot loop, also not one that accepts everything.
//!
//! Invariant: only the writer commits a position; this side knows only what it has put into the queue.
//! Invariant: the position moves past an item only with that item in the queue before it, or by a complete list which
//! shows that nothing lies above the position (`Mark::Proven`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::api::{Api, ApiError, Line, Lines, Shape};
use super::intake::{Intake, Taken};
use super::pages::{ListPage, Pages, WatchLine};
use super::report::Report;
use crate::backoff::Backoff;
use crate::config::SourceConfig;
use crate::metrics::{Kind, RestartCause};
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Item, Mark, RelistCause, Via, WatchId};
use crate::pipeline::signals::{Recall, Resume, Start};

/// A stream that lived this long was a good one: the next attempt after it does not wait. One that ends sooner without
/// an item is counted as empty; two in a row make a relist.
const SETTLED: Duration = Duration::from_secs(5);

/// After a failure, a stream that delivers nothing counts as working once it is open for this long.
const WORKS_AFTER: Duration = Duration::from_secs(2);

/// Smallest page asked for when pages do not arrive in time.
const PAGE_SIZE_MIN: u32 = 10;

/// Empty streams in a row after which the position is no longer trusted.
const EMPTY_STREAMS_MAX: u32 = 2;

/// How long a stream may take to deliver an item that a list already shows.
const DELIVERY_WAIT: Duration = Duration::from_secs(15);

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

/// What failed when an idle position was to be renewed.
enum Renewal {
    /// The list; the watch may be well.
    List(ApiError),
    /// The watch.
    Stream(ApiError),
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

    /// Puts a complete list into the queue; returns its resourceVersion.
    async fn list(&self, state: &mut State, cause: RelistCause) -> Result<String, ApiError> {
        info!(cause = cause.as_str(), "listing Events");
        let mut cause = cause;
        self.list_begun(state, cause);
        let covered = state.position.as_deref().map(Version::new);
        let mut pages = Pages::new(
            Kind::Event,
            &self.namespace,
            state.page_size,
            Shape::Objects,
        );
        let mut first: Option<(String, Timestamp, Timestamp)> = None;
        let mut listed = 0;
        let mut oldest_change: Option<Timestamp> = None;
        loop {
            self.intake.queue.room().await;
            let asked = self.intake.now();
            let page = match pages.next(&self.api, self.config.list_timeout).await {
                Ok(page) => page,
                // The token expired: begin again without it, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.begun() => {
                    self.report.restarted(RestartCause::Gone);
                    pages.begin_again();
                    (first, listed, oldest_change) = (None, 0, None);
                    self.list_begun(state, cause);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.report.active();
            if first.is_none() {
                let server_time = page.server_time.unwrap_or(asked);
                // Found below the position once, the new history may have passed it by now.
                let went_back = state.position.as_deref().is_some_and(|position| {
                    cause == RelistCause::Regressed
                        || Version::new(&page.version).is_certainly_before(&Version::new(position))
                });
                if went_back {
                    cause = RelistCause::Regressed;
                    self.mark(Mark::Regressed {
                        version: page.version.clone(),
                        at: self.intake.now(),
                    });
                    state.position = None; // said once, however often this list has to be begun again
                }
                first = Some((page.version.clone(), server_time, asked));
            }
            listed += page.items.len() as u64;
            if let Some(change) = self.take_page(&page, covered.as_ref()).await {
                oldest_change = Some(oldest_change.map_or(change, |oldest| oldest.min(change)));
            }
            if page.last {
                break;
            }
        }
        let (version, server_time, at) =
            first.ok_or_else(|| ApiError::Malformed("a list without a page".to_owned()))?;
        let event_ttl = self.config.event_ttl;
        self.mark(Mark::ListDone {
            listing: state.listing,
            at,
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

    fn list_begun(&self, state: &mut State, cause: RelistCause) {
        state.listing += 1;
        self.mark(Mark::ListBegun {
            listing: state.listing,
            cause,
            at: self.intake.now(),
        });
    }

    /// Puts a page's items into the queue, oldest version first; returns the oldest last change among those that the
    /// position `covered` before: what is still there of them has not expired meanwhile.
    async fn take_page(&self, page: &ListPage, covered: Option<&Version>) -> Option<Timestamp> {
        let mut oldest: Option<Timestamp> = None;
        for item in &page.items {
            self.intake.queue.room().await;
            let change = self.intake.listed(self.watch, item);
            let is_old = covered.is_some_and(|covered| {
                let version = Version::new(&item.version);
                version == *covered || version.is_certainly_before(covered)
            });
            if let Some(change) = change.filter(|_| is_old) {
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
        if state.unproven {
            if self.history_went_back(position).await? {
                return Ok(End::Relist(RelistCause::Regressed));
            }
            state.unproven = false;
        }
        let path = super::pages::watch_path(
            Kind::Event,
            &self.namespace,
            position,
            self.config.watch_timeout,
        );
        let mut lines = self
            .api
            .get(&path, Shape::Objects, self.config.list_timeout)
            .await?
            .lines();
        debug!(position, "watching Events");
        self.report.opened();
        let silence = self.config.watch_timeout + self.config.read_slack;
        let mut heard = Instant::now();
        let mut renew_in = self.config.idle_renewal;
        // A stream that stays open shows that it works. Of a renewal that failed it shows nothing: that takes an item, or
        // a renewal that goes well.
        let mut works_at = Some(heard + WORKS_AFTER);
        state.proven = heard;
        loop {
            let idle_left = renew_in.saturating_sub(state.proven.elapsed());
            let silence_left = silence.saturating_sub(heard.elapsed());
            tokio::select! {
                biased;
                cause = self.recall.wanted() => return Ok(End::Relist(cause)),
                line = lines.next() => {
                    let Some(line) = line? else { return Ok(End::Clean) };
                    heard = Instant::now();
                    if let Some(end) = self.take_line(state, line, items).await? {
                        return Ok(end);
                    }
                    self.works(state);
                }
                () = until(works_at), if state.failing && works_at.is_some() => self.works(state),
                () = tokio::time::sleep(silence_left) => return Err(ApiError::Timeout(silence)),
                () = tokio::time::sleep(idle_left) => {
                    match self.renew(state, &mut lines, items).await {
                        Ok(Some(end)) => return Ok(end),
                        Ok(None) => {
                            self.works(state);
                            renew_in = self.config.idle_renewal;
                        }
                        Err(Renewal::Stream(error)) => return Err(error),
                        // The watch goes on: only the position ages. It is tried again sooner.
                        Err(Renewal::List(error)) => {
                            warn!(%error, "idle position not renewed");
                            self.report.failed(&format!("renewing the idle position failed: {error}"));
                            state.failing = true;
                            works_at = None;
                            renew_in = self.config.idle_renewal / 4;
                        }
                    }
                    state.proven = Instant::now(); // or tried
                }
            }
        }
    }

    fn works(&self, state: &mut State) {
        if std::mem::take(&mut state.failing) {
            self.report.works();
        }
    }

    /// Whether the API server's newest resourceVersion is below the position. The cheapest list there is.
    async fn history_went_back(&self, position: &str) -> Result<bool, ApiError> {
        let mut pages = Pages::new(Kind::Event, &self.namespace, 1, Shape::MetadataOnly);
        let page = pages.next(&self.api, self.config.list_timeout).await?;
        Ok(Version::new(&page.version).is_certainly_before(&Version::new(position)))
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
                *items += 1;
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
                let taken = self.intake.watched(self.watch, action, object);
                self.advance(state, taken);
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

    /// The item is in the queue: moves the position, and notes whether it proves it current. A deletion says nothing of
    /// when it happened, nor does an Event with an old date.
    fn advance(&self, state: &mut State, taken: Taken) {
        let old = Version::new(state.position.as_deref().unwrap_or_default());
        if !taken.version.is_empty() && Version::new(&taken.version).is_after(&old) {
            state.position = Some(taken.version); // an item sent twice does not take it back
        }
        let recent = self.intake.now().minus(self.config.idle_renewal);
        if taken.last.is_some_and(|last| last >= recent) {
            state.proven = Instant::now();
        }
    }

    /// Renews the position of an idle watch by a complete list of metadata.
    async fn renew(
        &self,
        state: &mut State,
        lines: &mut Lines,
        items: &mut u64,
    ) -> Result<Option<End>, Renewal> {
        let mut pages = Pages::new(
            Kind::Event,
            &self.namespace,
            self.config.page_size,
            Shape::MetadataOnly,
        );
        let position = Version::new(state.position.as_deref().unwrap_or_default());
        let asked = self.intake.now();
        let mut first: Option<(String, Timestamp)> = None;
        let mut above = false;
        loop {
            let page = pages
                .next(&self.api, self.config.list_timeout)
                .await
                .map_err(Renewal::List)?;
            // The earlier of two clocks: one that jumped ahead must not claim a proof from the future.
            first.get_or_insert_with(|| {
                let proven = page.server_time.map_or(asked, |time| time.min(asked));
                (page.version.clone(), proven)
            });
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
        if !above && !self.intake.queue.has_room() {
            // Marks are never dropped: for as long as the writer stands still, the position just ages.
            return Ok(None);
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
        .map_err(Renewal::Stream)
    }

    fn mark(&self, mark: Mark) {
        self.intake.push(Item::Mark {
            watch: self.watch,
            mark,
        });
    }
}

/// Waits for that moment; without one, for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
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
