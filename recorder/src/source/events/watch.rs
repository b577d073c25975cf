//! One watch of Events, into the queue, and the renewal of its position while it is idle.

use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{End, EventsSource, State};
use crate::metrics::Kind;
use crate::pipeline::identity::Version;
use crate::pipeline::item::{Mark, RelistCause, Via};
use crate::source::api::{ApiError, Line, Lines, Shape};
use crate::source::intake::Taken;
use crate::source::pages::{Pages, WatchLine, watch_path};

/// After a failure, a stream that delivers nothing counts as working once it is open for this long.
const WORKS_AFTER: Duration = Duration::from_secs(2);

/// How long a stream may take to deliver an item that a list already shows.
const DELIVERY_WAIT: Duration = Duration::from_secs(15);

/// What failed when an idle position was to be renewed.
enum Renewal {
    /// The list; the watch may be well.
    List(ApiError),
    /// The watch.
    Stream(ApiError),
}

impl EventsSource {
    pub(super) async fn watch(
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
        let path = watch_path(
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
        let page = pages
            .next(&self.api, self.config.list_timeout, |_| ())
            .await?;
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
        let text = String::from_utf8_lossy(&line);
        match WatchLine::decode(&text) {
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
                .next(&self.api, self.config.list_timeout, |_| ())
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
}

/// Waits for that moment; without one, for ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}
