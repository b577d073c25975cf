//! An open watch: its lines, its end, and what is done while it is idle.

use std::future::Future;
use std::time::{Duration, Instant};

use kube9_base::clock::Clock;
use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;
use tokio::time::timeout;
use tracing::debug;

use super::consumer::{Consumer, ReceiverDropped, WatcherEvent};
use super::cursor::Cursor;
use super::state::{MIN_HEALTHY_WATCH, OpenWatch, State, StateMachine, WatchOutcome};
use crate::api::{ApiError, Line, Representation};
use crate::pages::WatchLine;

/// How long a stream may take to deliver an item that a list already contains.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(15);

/// A stream without data for this long has delivered everything that was buffered: hyper reads each part only when it is
/// polled, so a part that has already arrived also takes a moment.
const DRAINED_AFTER: Duration = Duration::from_millis(50);

/// `Date` is truncated to whole seconds.
const DATE_UNIT: Duration = Duration::from_secs(1);

/// What happened on an open watch.
enum WatchInput {
    /// A line, or the end of the stream; and whether it was waited for.
    Line(Result<Option<Line>, ApiError>, bool),
    RelistRequested(RelistCause),
    /// The watcher of another kind found that the history regressed.
    Regressed,
    /// The watch stayed open for [`HEALTHY_AFTER`](super::state::HEALTHY_AFTER).
    Healthy,
    /// Nothing arrived for longer than the server's own timeout.
    TimedOut,
    /// The position was not confirmed for a while.
    Idle,
}

impl OpenWatch {
    /// The current time by the earlier of two clocks. A clock that jumped ahead must not confirm a position in the future:
    /// once the clock is corrected, a gap would start when it is found, not when it began.
    fn earlier_clock(&self, clock: &Clock) -> Timestamp {
        let now = clock.now();
        match self.server_time {
            Some((time, read)) => not_ahead(now, time, clock.monotonic().saturating_sub(read)),
            None => now,
        }
    }
}

/// The local clock, or the server's if the local one is certainly ahead of it; `time` was the server's `elapsed` ago.
///
/// Truncated, it is up to a second early: a gap then begins before it did. One that begins after it did would not cover
/// what was missed.
fn not_ahead(now: Timestamp, time: Timestamp, elapsed: Duration) -> Timestamp {
    if now > time.plus(DATE_UNIT + elapsed) {
        time.plus(elapsed)
    } else {
        now
    }
}

impl<C: Consumer> StateMachine<C> {
    pub(super) async fn watch(
        &mut self,
        mut live: Box<OpenWatch>,
    ) -> Result<State, ReceiverDropped> {
        let config = &self.watcher.config;
        let read_timeout = config.watch_timeout + config.read_slack;
        let last_line_at = live.last_line_at.unwrap_or(live.opened);
        let until_timeout = read_timeout.saturating_sub(last_line_at.elapsed());
        // A line below the position triggers a check soon, but not one check per line.
        let confirm_after = if live.saw_older_version {
            config.idle_renewal / 4
        } else {
            live.confirm_after
        };
        let until_confirm = confirm_after.saturating_sub(live.last_confirmation.elapsed());
        let input = tokio::select! {
            biased;
            cause = self.watcher.relist.requested() => WatchInput::RelistRequested(self.watcher.relist.take().unwrap_or(cause)),
            () = self.watcher.history.wait_for_regression(self.epoch) => WatchInput::Regressed,
            (line, waited) = waited(live.lines.next()) => WatchInput::Line(line, waited),
            () = until(live.healthy_at), if self.failing && live.healthy_at.is_some() => WatchInput::Healthy,
            () = tokio::time::sleep(until_timeout) => WatchInput::TimedOut,
            () = tokio::time::sleep(until_confirm) => WatchInput::Idle,
        };
        let outcome = match input {
            WatchInput::Line(line, waited) => self.line(&mut live, line, waited).await?,
            WatchInput::RelistRequested(cause) => Some(WatchOutcome::RelistRequested(cause)),
            WatchInput::Regressed => None, // the next step handles it
            WatchInput::Healthy => {
                self.mark_healthy();
                None
            }
            WatchInput::TimedOut => Some(WatchOutcome::Failed(ApiError::Timeout(read_timeout))),
            WatchInput::Idle => self.idle(&mut live).await?,
        };
        match outcome {
            None => Ok(State::Watching(live)),
            Some(outcome) => self.on_outcome(*live, outcome).await,
        }
    }

    /// Handles one line, or the end, of the watch. Returns `Some` if the watch ends.
    async fn line(
        &mut self,
        live: &mut OpenWatch,
        line: Result<Option<Line>, ApiError>,
        waited: bool,
    ) -> Result<Option<WatchOutcome>, ReceiverDropped> {
        let now = live.earlier_clock(&self.watcher.clock);
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.finish(live, waited.then_some(now)).await?;
                return Ok(Some(WatchOutcome::Closed));
            }
            Err(error) => {
                // A reset proves nothing: what was sent last may be lost, and the connection may have been silent for long.
                let is_end = waited && matches!(error, ApiError::CutOff(_));
                self.finish(live, is_end.then_some(now)).await?;
                return Ok(Some(WatchOutcome::Failed(error)));
            }
        };
        self.watcher.status.on_activity();
        live.last_line_at = Some(Instant::now());
        live.cursor.begin_line(waited.then_some(now));
        let line = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
            Line::Whole(line) => line,
            Line::TooLong => {
                let kind = self.watcher.resource.name;
                let cause = format!("a {kind} of more than 4 MiB");
                self.watcher.consumer.on_undecodable(&cause);
                return Ok(None);
            }
        };
        if timeout(self.watcher.max_wait, self.watcher.consumer.ready())
            .await
            .is_err()
        {
            return Ok(Some(WatchOutcome::QueueFull)); // the line is not consumed: the server sends it again
        }
        let (mut item, mut is_bookmark) = (None, false);
        let before = live.cursor.confirmed_at();
        {
            let text = String::from_utf8_lossy(&line);
            match WatchLine::decode(&text) {
                Ok(WatchLine::Error(status)) => {
                    return Ok(Some(WatchOutcome::Failed(status.into_error(None))));
                }
                Ok(WatchLine::Bookmark(version)) => {
                    is_bookmark = true;
                    live.cursor.advance_to(&version.unwrap_or_default());
                }
                Ok(WatchLine::Item { action, object }) => {
                    item = self
                        .watcher
                        .consumer
                        .on_watch_event(action, object, &mut live.cursor);
                }
                Err(cause) => self.watcher.consumer.on_undecodable(&cause),
            }
        }
        drop(line);
        let may_confirm = item.is_some() || is_bookmark;
        if let Some(item) = item {
            let is_behind = live.cursor.is_behind();
            self.emit(WatcherEvent::Item { item, is_behind }).await?;
        }
        self.mark_healthy();
        live.saw_older_version |= live.cursor.take_regressed();
        if live.cursor.confirmed_at() > before {
            live.last_confirmation = Instant::now();
            live.confirm_after = self.watcher.config.idle_renewal;
            if may_confirm {
                self.emit_bookmark(&live.cursor, false).await?;
            }
        }
        Ok(None)
    }

    /// The watch ends. `at` is the time of its end if nothing can be missing until then: everything was emitted by then.
    async fn finish(
        &mut self,
        live: &mut OpenWatch,
        at: Option<Timestamp>,
    ) -> Result<(), ReceiverDropped> {
        // A stream that ends immediately proves nothing, nor does one while other requests fail.
        let is_reliable = live.last_line_at.is_some() || live.opened.elapsed() >= MIN_HEALTHY_WATCH;
        let Some(at) = at.filter(|_| is_reliable && !self.failing) else {
            return Ok(());
        };
        if live.cursor.finish(at) {
            self.emit_bookmark(&live.cursor, true).await?;
        }
        Ok(())
    }

    async fn emit_bookmark(
        &mut self,
        cursor: &Cursor,
        is_last: bool,
    ) -> Result<(), ReceiverDropped> {
        let Some(at) = cursor
            .confirmed_at()
            .filter(|_| self.watcher.consumer.is_ready())
        else {
            return Ok(()); // while the writer is blocked, only the confirmed time ages
        };
        let version = &cursor.version();
        self.emit(WatcherEvent::Bookmark {
            version,
            at,
            is_last,
        })
        .await
    }

    /// Nothing has confirmed the position for a while.
    async fn idle(
        &mut self,
        live: &mut OpenWatch,
    ) -> Result<Option<WatchOutcome>, ReceiverDropped> {
        let renews = C::RENEWS_IDLE_POSITION && !live.saw_older_version;
        live.saw_older_version = false;
        live.lines.release_permit(); // the request below needs the permit
        let checked = if renews {
            self.renew(live).await?
        } else {
            self.check_for_regression(&live.cursor).await
        };
        live.last_confirmation = Instant::now(); // also if the check failed
        match checked {
            Ok(None) => {
                self.mark_healthy();
                live.confirm_after = self.watcher.config.idle_renewal;
                Ok(None)
            }
            Ok(outcome) => Ok(outcome),
            // The watch continues; only the position ages. The next attempt comes sooner.
            Err(error) => {
                let kind = self.watcher.resource.name;
                kind_warn!(self, kind, %error, "idle position not renewed");
                let what = format!("renewing the idle position failed: {error}");
                self.watcher.status.on_failure(error.cause(), &what);
                self.failing = true;
                live.healthy_at = None;
                live.confirm_after = self.watcher.config.idle_renewal / 4;
                Ok(None)
            }
        }
    }

    /// Checks with a list of one item whether the history regressed under a watch.
    async fn check_for_regression(
        &mut self,
        cursor: &Cursor,
    ) -> Result<Option<WatchOutcome>, ApiError> {
        self.note_version(&cursor.version());
        let version = self.newest_version().await?;
        if self.is_regressed(&version) {
            return Ok(Some(WatchOutcome::Regressed(version)));
        }
        self.note_version(&version);
        Ok(None)
    }

    /// Renews the position of an idle watch with a complete metadata-only list.
    async fn renew(
        &mut self,
        live: &mut OpenWatch,
    ) -> Result<Result<Option<WatchOutcome>, ApiError>, ReceiverDropped> {
        self.note_version(&live.cursor.version());
        let mut pages = self.pages(self.page_size, Representation::MetadataOnly);
        let asked = self.watcher.clock.now();
        let mut first: Option<(String, Timestamp)> = None;
        let mut is_above = false;
        loop {
            let page = match self.page(&mut pages, |_, _| ()).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            // The earlier of two clocks: a clock that jumped ahead must not confirm a time in the future.
            first.get_or_insert_with(|| {
                let confirmed_at = page.server_time.map_or(asked, |time| time.min(asked));
                (page.version.clone(), confirmed_at)
            });
            is_above |= page
                .items
                .iter()
                .any(|item| ResourceVersion::new(&item.version).is_after(live.cursor.position()));
            if page.last {
                break;
            }
        }
        let Some((version, at)) = first else {
            return Ok(Ok(None));
        };
        if self.is_regressed(&version) {
            return Ok(Ok(Some(WatchOutcome::Regressed(version))));
        }
        self.note_version(&version);
        if !is_above {
            if self.watcher.consumer.is_ready() {
                debug!(version, "idle position renewed");
                self.watcher.status.on_activity();
                live.cursor.renew(&version, at);
                self.emit(WatcherEvent::Bookmark {
                    version: &version,
                    at,
                    is_last: false,
                })
                .await?;
            }
            return Ok(Ok(None));
        }
        // Something exists above the position: if the stream does not deliver it, the stream is dead.
        Ok(Ok(
            match timeout(DELIVERY_TIMEOUT, waited(live.lines.next())).await {
                Ok((line, waited)) => self.line(live, line, waited).await?,
                Err(_) => Some(WatchOutcome::Failed(ApiError::Timeout(DELIVERY_TIMEOUT))),
            },
        ))
    }
}

/// The output of a future, and whether it had to be waited for. Buffered data is ready sooner.
async fn waited<F: Future>(future: F) -> (F::Output, bool) {
    let begun = Instant::now();
    let output = future.await;
    (output, begun.elapsed() >= DRAINED_AFTER)
}

/// Waits until `at`; indefinitely for `None`.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_jumped_ahead_confirms_no_time_in_the_future() {
        let opened = Timestamp::from_millis(1_000_900);
        // As in a header: truncated.
        let date = Timestamp::from_millis(1_000_000);
        let elapsed = Duration::from_millis(2_500);
        let now = opened.plus(elapsed);
        assert_eq!(not_ahead(now, date, elapsed), now);
        assert_eq!(
            not_ahead(now.minus(Duration::from_secs(60)), date, elapsed),
            now.minus(Duration::from_secs(60))
        );
        for jump in [1, 5, 3600] {
            let ahead = now.plus(Duration::from_secs(jump));
            assert!(not_ahead(ahead, date, elapsed) <= now, "{jump} s");
        }
    }

    /// As hyper passes on a body: each part is read only when it is polled.
    #[tokio::test]
    async fn waited_buffered_data_does_not_count() {
        assert!(!waited(tokio::task::yield_now()).await.1);
        assert!(!waited(std::future::ready(())).await.1);
        assert!(waited(tokio::time::sleep(DRAINED_AFTER)).await.1);
    }
}
