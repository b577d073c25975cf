//! An open watch: its lines, its end, and what is done while it is idle.

use std::future::Future;
use std::time::{Duration, Instant};

use kube9_model::identity::ResourceVersion;
use kube9_model::label::Label;
use kube9_model::time::Timestamp;
use kube9_model::watch::RelistCause;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::consumer::{Closed, Consumer, Told};
use super::cursor::Cursor;
use super::state::{End, Live, Machine, SETTLED, State};
use crate::api::{ApiError, Line, Shape};
use crate::pages::WatchLine;

/// How long a stream may take to deliver an item that a list already shows.
const DELIVERY_WAIT: Duration = Duration::from_secs(15);

/// A stream that says nothing for this long has delivered what the connection held: hyper fetches each part only when it is
/// asked for, so one that is there already takes a moment, too.
const DRAINED_AFTER: Duration = Duration::from_millis(50);

/// `Date` is cut to whole seconds.
const DATE_UNIT: Duration = Duration::from_secs(1);

/// What happened on an open watch.
enum Happened {
    /// A line, or the end; and whether it was waited for.
    Line(Result<Option<Line>, ApiError>, bool),
    Recalled(RelistCause),
    /// Another kind found that the history went back.
    WentBack,
    /// It stayed open.
    Works,
    Silent,
    Idle,
}

impl Live {
    /// Now, by the earlier of two clocks: one that jumped ahead must not prove a position in the future. Once it is right
    /// again, a gap would begin where it is found, not where it began.
    fn not_ahead(&self, now: Timestamp) -> Timestamp {
        let bound = |(time, read): (Timestamp, Instant)| time.plus(DATE_UNIT + read.elapsed());
        self.server_time.map_or(now, |read| now.min(bound(read)))
    }
}

impl<C: Consumer> Machine<C> {
    pub(super) async fn live(&mut self, mut live: Box<Live>) -> Result<State, Closed> {
        let config = &self.watcher.config;
        let silence = config.watch_timeout + config.read_slack;
        let heard = live.heard.unwrap_or(live.opened);
        let silence_left = silence.saturating_sub(heard.elapsed());
        // A line that cannot be is looked into soon, but not for each such line.
        let idle_after = if live.suspect {
            config.idle_renewal / 4
        } else {
            live.idle_after
        };
        let idle_left = idle_after.saturating_sub(live.idle.elapsed());
        let happened = tokio::select! {
            biased;
            cause = self.watcher.recall.requested() => Happened::Recalled(self.watcher.recall.take().unwrap_or(cause)),
            () = self.watcher.history.leaves(self.epoch) => Happened::WentBack,
            (line, waited) = waited(live.lines.next()) => Happened::Line(line, waited),
            () = until(live.works_at), if self.failing && live.works_at.is_some() => Happened::Works,
            () = tokio::time::sleep(silence_left) => Happened::Silent,
            () = tokio::time::sleep(idle_left) => Happened::Idle,
        };
        let end = match happened {
            Happened::Line(line, waited) => self.line(&mut live, line, waited).await?,
            Happened::Recalled(cause) => Some(End::Recalled(cause)),
            Happened::WentBack => None, // the next step begins with it
            Happened::Works => {
                self.works();
                None
            }
            Happened::Silent => Some(End::Failed(ApiError::Timeout(silence))),
            Happened::Idle => self.idle(&mut live).await?,
        };
        match end {
            None => Ok(State::Live(live)),
            Some(end) => self.ended(*live, end).await,
        }
    }

    /// Takes one line, or the end, of the watch. `Some`: it is over.
    async fn line(
        &mut self,
        live: &mut Live,
        line: Result<Option<Line>, ApiError>,
        waited: bool,
    ) -> Result<Option<End>, Closed> {
        let now = live.not_ahead(self.watcher.clock.now());
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.finish(live, waited.then_some(now)).await?;
                return Ok(Some(End::Closed));
            }
            Err(error) => {
                // Not after a reset: what was sent last may be lost, and before it nothing may have come for long.
                let is_end = waited && matches!(error, ApiError::CutOff(_));
                self.finish(live, is_end.then_some(now)).await?;
                return Ok(Some(End::Failed(error)));
            }
        };
        self.watcher.report.active();
        live.heard = Some(Instant::now());
        live.cursor.line(waited.then_some(now));
        let line = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return Ok(None),
            Line::Whole(line) => line,
            Line::TooLong => {
                let kind = self.watcher.kind.name();
                let cause = format!("a {kind} of more than 4 MiB");
                self.watcher.consumer.undecodable(&cause);
                return Ok(None);
            }
        };
        if timeout(self.watcher.max_wait, self.watcher.consumer.room())
            .await
            .is_err()
        {
            return Ok(Some(End::Full)); // it was not taken and comes again
        }
        let (mut news, mut is_bookmark) = (None, false);
        let before = live.cursor.proven();
        {
            let text = String::from_utf8_lossy(&line);
            match WatchLine::decode(&text) {
                Ok(WatchLine::Error(status)) => {
                    return Ok(Some(End::Failed(status.into_error(None))));
                }
                Ok(WatchLine::Bookmark(version)) => {
                    is_bookmark = true;
                    live.cursor.reach(&version.unwrap_or_default());
                }
                Ok(WatchLine::Item { action, object }) => {
                    news = self.watcher.consumer.item(action, object, &mut live.cursor);
                }
                Err(cause) => self.watcher.consumer.undecodable(&cause),
            }
        }
        drop(line);
        let is_told = news.is_some() || is_bookmark;
        if let Some(news) = news {
            let is_behind = live.cursor.is_behind();
            self.take(Told::News { news, is_behind }).await?;
        }
        self.works();
        live.suspect |= live.cursor.takes_went_back();
        if live.cursor.proven() > before {
            live.idle = Instant::now();
            live.idle_after = self.watcher.config.idle_renewal;
            if is_told {
                self.tell_proven(&live.cursor, false).await?;
            }
        }
        Ok(None)
    }

    /// The watch ends; `at` is when, if up to then nothing can have been missing: then everything was told until then.
    async fn finish(&mut self, live: &mut Live, at: Option<Timestamp>) -> Result<(), Closed> {
        // A stream that ends as soon as it has begun shows nothing, nor does one beside which other requests fail.
        let is_sound = live.heard.is_some() || live.opened.elapsed() >= SETTLED;
        let Some(at) = at.filter(|_| is_sound && !self.failing) else {
            return Ok(());
        };
        if live.cursor.ends(at) {
            self.tell_proven(&live.cursor, true).await?;
        }
        Ok(())
    }

    async fn tell_proven(&mut self, cursor: &Cursor, is_last: bool) -> Result<(), Closed> {
        let Some(at) = cursor.proven().filter(|_| self.watcher.consumer.is_ready()) else {
            return Ok(()); // for as long as the writer stands still, the proof just ages
        };
        let version = &cursor.version();
        self.take(Told::Proven {
            version,
            at,
            is_last,
        })
        .await
    }

    /// Nothing has proven the position for a while.
    async fn idle(&mut self, live: &mut Live) -> Result<Option<End>, Closed> {
        let renews = C::RENEWS && !live.suspect;
        live.suspect = false;
        live.lines.let_go(); // the request below needs it
        let looked = if renews {
            self.renew(live).await?
        } else {
            self.look(&live.cursor).await
        };
        live.idle = Instant::now(); // also where it failed
        match looked {
            Ok(None) => {
                self.works();
                live.idle_after = self.watcher.config.idle_renewal;
                Ok(None)
            }
            Ok(end) => Ok(end),
            // The watch goes on: only the position ages. It is tried again sooner.
            Err(error) => {
                let kind = self.watcher.kind.name();
                warn!(kind, %error, "idle position not renewed");
                let what = format!("renewing the idle position failed: {error}");
                self.watcher.report.failed(&what);
                self.failing = true;
                live.works_at = None;
                live.idle_after = self.watcher.config.idle_renewal / 4;
                Ok(None)
            }
        }
    }

    /// Whether the history went back under a watch. The cheapest list there is.
    async fn look(&mut self, cursor: &Cursor) -> Result<Option<End>, ApiError> {
        self.note(&cursor.version());
        let version = self.newest_version().await?;
        if self.is_regressed(&version) {
            return Ok(Some(End::Regressed(version)));
        }
        self.note(&version);
        Ok(None)
    }

    /// Renews the position of an idle watch by a complete list of metadata.
    async fn renew(&mut self, live: &mut Live) -> Result<Result<Option<End>, ApiError>, Closed> {
        self.note(&live.cursor.version());
        let mut pages = self.pages(self.page_size, Shape::MetadataOnly);
        let asked = self.watcher.clock.now();
        let mut first: Option<(String, Timestamp)> = None;
        let mut is_above = false;
        loop {
            let page = match self.page(&mut pages, |_, _| ()).await {
                Ok(page) => page,
                Err(error) => return Ok(Err(error)),
            };
            // The earlier of two clocks: one that jumped ahead must not claim a proof from the future.
            first.get_or_insert_with(|| {
                let proven = page.server_time.map_or(asked, |time| time.min(asked));
                (page.version.clone(), proven)
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
            return Ok(Ok(Some(End::Regressed(version))));
        }
        self.note(&version);
        if !is_above {
            if self.watcher.consumer.is_ready() {
                debug!(version, "idle position renewed");
                self.watcher.report.active();
                live.cursor.renewed(&version, at);
                self.take(Told::Proven {
                    version: &version,
                    at,
                    is_last: false,
                })
                .await?;
            }
            return Ok(Ok(None));
        }
        // Something lies above the position: the stream has to deliver it, or it is dead.
        Ok(Ok(
            match timeout(DELIVERY_WAIT, waited(live.lines.next())).await {
                Ok((line, waited)) => self.line(live, line, waited).await?,
                Err(_) => Some(End::Failed(ApiError::Timeout(DELIVERY_WAIT))),
            },
        ))
    }
}

/// The output of a future, and whether it had to be waited for: what lies in the connection is there sooner.
async fn waited<F: Future>(future: F) -> (F::Output, bool) {
    let begun = Instant::now();
    let output = future.await;
    (output, begun.elapsed() >= DRAINED_AFTER)
}

/// Waits until that moment; without one, without end.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As hyper hands on a body: each part is fetched only once it is asked for.
    #[tokio::test]
    async fn what_has_to_be_fetched_was_not_waited_for() {
        assert!(!waited(tokio::task::yield_now()).await.1);
        assert!(!waited(std::future::ready(())).await.1);
        assert!(waited(tokio::time::sleep(DRAINED_AFTER)).await.1);
    }
}
