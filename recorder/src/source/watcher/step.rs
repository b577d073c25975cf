//! One step of the machine.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::consumer::{Closed, Consumer, List, Regressed, Told};
use super::{
    Cursor, End, LIST_EVERY, Live, Machine, Next, PAGE_SIZE_MIN, Position, SETTLED, State, Trouble,
    Watcher,
};
use crate::metrics::{Label, RestartCause};
use crate::pipeline::identity::Version;
use crate::pipeline::item::RelistCause;
use crate::source::api::{ApiError, Line, Shape};
use crate::source::pages::{ListPage, Pages, WatchLine, watch_path};

/// After a failure, a stream that delivers nothing counts as working once it is open for this long.
const WORKS_AFTER: Duration = Duration::from_secs(2);

/// How long a stream may take to deliver an item that a list already shows.
const DELIVERY_WAIT: Duration = Duration::from_secs(15);

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

/// Why a list was not completed.
enum ListEnd {
    Failed(ApiError),
    Regressed(String),
}

impl<C: Consumer> Machine<C> {
    pub(super) async fn step(&mut self, state: State) -> Result<State, Closed> {
        if let Some((epoch, found)) = self.watcher.history.later_than(self.epoch) {
            self.epoch = epoch;
            if self.newest.is_some() {
                return self.regressed(found, false).await;
            }
        }
        match state {
            State::Check(next) => self.check(next).await,
            State::List(cause) => self.list_all(cause).await,
            State::Exact(at) => self.list_exactly(at).await,
            State::Connect(at) => self.connect(at).await,
            State::Live(live) => self.live(live).await,
            State::Full(at) => {
                self.watcher.consumer.room().await;
                Ok(State::Check(Next::Connect(at)))
            }
            State::Wait(time, next) => {
                tokio::select! {
                    () = tokio::time::sleep(time) => {}
                    () = self.watcher.history.leaves(self.epoch) => {}
                }
                Ok(*next)
            }
        }
    }

    async fn check(&mut self, next: Next) -> Result<State, Closed> {
        match self.newest_version().await {
            Err(error) => {
                let wait = self.failed("watch", &error).await?;
                return Ok(State::Wait(wait, Box::new(State::Check(next))));
            }
            Ok(version) if self.is_regressed(&version) => {
                return self.regressed(version, true).await;
            }
            Ok(version) => self.note(&version),
        }
        Ok(match next {
            Next::List(cause) => State::List(cause),
            Next::Exact(at) => State::Exact(at),
            Next::Connect(at) => State::Connect(at),
        })
    }

    async fn list_all(&mut self, cause: RelistCause) -> Result<State, Closed> {
        let mut cause = cause;
        self.listed = Some(Instant::now());
        if self.watcher.recall.take() == Some(RelistCause::Replaced) {
            cause = self.replaced().await?;
        }
        self.take(Told::Init(cause)).await?;
        match self.list(cause, None).await? {
            Ok(version) => Ok(State::Connect(Position::new(version))),
            Err(ListEnd::Regressed(found)) => self.regressed(found, true).await,
            Err(ListEnd::Failed(error)) => {
                let wait = self.failed("list", &error).await?;
                Ok(State::Wait(wait, Box::new(State::List(cause))))
            }
        }
    }

    async fn list_exactly(&mut self, mut at: Position) -> Result<State, Closed> {
        let error = match self.list(RelistCause::Expired, Some(&at.version)).await? {
            Ok(version) if version == at.version => return Ok(State::Connect(at)),
            Ok(version) => return Ok(State::Connect(Position::new(version))),
            Err(ListEnd::Regressed(found)) => return self.regressed(found, true).await,
            Err(ListEnd::Failed(error)) => error,
        };
        at.tries += 1;
        let cause = match Trouble::of(&error) {
            Trouble::Expired => Some(RelistCause::Expired),
            // A server that does not know how to will not learn it.
            Trouble::Answer
                if matches!(
                    error,
                    ApiError::Status {
                        code: 400..=499,
                        ..
                    }
                ) =>
            {
                Some(RelistCause::Failed)
            }
            trouble => {
                let is_enough = trouble.tries().is_some_and(|tries| at.tries >= tries);
                is_enough.then_some(RelistCause::Failed)
            }
        };
        let Some(cause) = cause else {
            let wait = self.failed("list", &error).await?;
            let again = State::Check(Next::Exact(at));
            return Ok(State::Wait(wait, Box::new(again)));
        };
        let kind = self.watcher.kind.name();
        info!(kind, %error, cause = cause.as_str(), "the position cannot be resumed");
        Ok(State::Check(Next::List(cause)))
    }

    async fn connect(&mut self, at: Position) -> Result<State, Closed> {
        let Watcher {
            api,
            kind,
            namespace,
            config,
            ..
        } = &self.watcher;
        let path = watch_path(*kind, namespace, &at.version, config.watch_timeout);
        let opened = Instant::now();
        let lines = match api.get(&path, Shape::Objects, config.list_timeout).await {
            Ok(answer) => answer.lines(),
            Err(error) => return self.broken(at, &error, opened, false).await,
        };
        debug!(kind = kind.name(), position = at.version, "watching");
        let idle_after = config.idle_renewal;
        self.watcher.report.opened();
        self.take(Told::Connected).await?;
        let target = self.newest.clone();
        let now = Instant::now();
        Ok(State::Live(Box::new(Live {
            lines,
            cursor: Cursor::new(
                &at.version,
                target.unwrap_or_else(|| Version::new(&at.version)),
            ),
            tries: at.tries,
            opened,
            heard: None,
            idle: now,
            idle_after,
            works_at: Some(now + WORKS_AFTER),
            suspect: false,
        })))
    }

    async fn live(&mut self, mut live: Box<Live>) -> Result<State, Closed> {
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
            cause = self.watcher.recall.wanted() => Happened::Recalled(self.watcher.recall.take().unwrap_or(cause)),
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
        let now = self.watcher.clock.now();
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => {
                self.finish(live, waited.then_some(now)).await?;
                return Ok(Some(End::Closed));
            }
            Err(error) => {
                let is_end = waited && matches!(error, ApiError::Transport(_));
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
            self.take(Told::News(news)).await?;
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
        let Some(at) = cursor.proven().filter(|_| self.watcher.consumer.has_room()) else {
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
                .any(|item| Version::new(&item.version).is_after(live.cursor.position()));
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
            if self.watcher.consumer.has_room() {
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

    /// What follows the end of a watch.
    async fn ended(&mut self, live: Live, end: End) -> Result<State, Closed> {
        let settled = live.opened.elapsed() >= SETTLED;
        let moved = live.cursor.has_moved();
        let mut at = Position {
            version: live.cursor.version(),
            tries: if moved { 0 } else { live.tries },
        };
        self.note(&at.version);
        let kind = self.watcher.kind.name();
        let report = &self.watcher.report;
        report.disconnected();
        if settled {
            self.backoff.reset();
        }
        match end {
            End::Closed if !moved && !settled => {
                report.restarted(match live.heard {
                    None => RestartCause::EmptyStream,
                    Some(_) => RestartCause::Closed,
                });
                report.failed(&format!(
                    "the API server ends the watch of {kind}s as soon as it has begun"
                ));
                self.failing = true;
                at.tries += 1;
                let next = match Trouble::Empty.tries() {
                    Some(tries) if at.tries >= tries => self.give_up(at, RelistCause::EmptyStream),
                    _ => Next::Connect(at),
                };
                Ok(self.after(false, State::Check(next)))
            }
            End::Closed => {
                debug!(
                    kind,
                    position = at.version,
                    "watch closed by the API server"
                );
                report.restarted(RestartCause::Closed);
                Ok(self.after(settled, State::Check(Next::Connect(at))))
            }
            End::Full => {
                let position = &at.version;
                warn!(
                    kind,
                    position, "queue stays full, watch closed until there is room"
                );
                report.restarted(RestartCause::QueueFull);
                Ok(State::Full(at))
            }
            End::Recalled(RelistCause::Resumed) => {
                Ok(self.after(settled, State::Check(Next::Exact(at))))
            }
            End::Recalled(RelistCause::Replaced) => {
                report.restarted(RestartCause::Other);
                let cause = self.replaced().await?;
                Ok(self.after(settled, State::List(cause)))
            }
            End::Recalled(cause) => {
                report.restarted(match cause {
                    RelistCause::Hole => RestartCause::Overflow,
                    _ => RestartCause::Other,
                });
                let next = self.give_up(at, cause);
                Ok(self.after(settled, State::Check(next)))
            }
            End::Regressed(found) => self.regressed(found, true).await,
            End::Failed(error) => self.broken(at, &error, live.opened, moved).await,
        }
    }

    /// What follows a watch, or the attempt at one, that failed.
    async fn broken(
        &mut self,
        mut at: Position,
        error: &ApiError,
        opened: Instant,
        moved: bool,
    ) -> Result<State, Closed> {
        let settled = opened.elapsed() >= SETTLED;
        let trouble = Trouble::of(error);
        if matches!(trouble, Trouble::Expired) {
            self.watcher.report.restarted(RestartCause::Gone);
            let next = self.give_up(at, RelistCause::Expired);
            return Ok(self.after(settled, State::Check(next)));
        }
        // One that moved came to something; a connection that was cut after a while says nothing of the position.
        let is_chance = moved || settled && matches!(trouble, Trouble::Cut);
        at.tries += u32::from(!is_chance && trouble.tries().is_some());
        let is_enough = trouble.tries().is_some_and(|tries| at.tries >= tries);
        let wait = self.failed("watch", error).await?;
        let next = if is_enough {
            self.give_up(at, RelistCause::Failed)
        } else {
            Next::Connect(at)
        };
        Ok(State::Wait(wait, Box::new(State::Check(next))))
    }

    fn give_up(&self, at: Position, cause: RelistCause) -> Next {
        let kind = self.watcher.kind.name();
        let (position, cause_text) = (at.version, cause.as_str());
        warn!(
            kind,
            position,
            cause = cause_text,
            "watch cannot be resumed, listing again"
        );
        Next::List(cause)
    }

    /// The next state, after a pause where the last watch did not live for long.
    fn after(&mut self, settled: bool, next: State) -> State {
        let is_list = matches!(next, State::List(_) | State::Check(Next::List(_)));
        let is_first = self.listed.is_none_or(|at| at.elapsed() >= LIST_EVERY);
        if settled || is_list && is_first {
            next
        } else {
            State::Wait(self.backoff.wait(), Box::new(next))
        }
    }

    /// The API server's history went back: everything that was known of its versions is void.
    async fn regressed(&mut self, found: String, is_own: bool) -> Result<State, Closed> {
        let history = &self.watcher.history;
        let is_first = is_own && history.went_back(self.epoch, &found);
        self.epoch = history.epoch();
        let newest = self.newest.take().map(|newest| newest.to_string());
        let kind = self.watcher.kind.name();
        warn!(
            kind,
            found, newest, "the API server's history went back, listing again"
        );
        self.watcher.report.disconnected();
        self.watcher.report.restarted(RestartCause::Regressed);
        let at = self.watcher.clock.now();
        self.take(Told::Regressed(Regressed {
            found,
            at,
            is_first,
        }))
        .await?;
        Ok(self.after(false, State::List(RelistCause::Regressed)))
    }

    /// The database is a new one: nothing of what was committed is there.
    async fn replaced(&mut self) -> Result<RelistCause, Closed> {
        self.take(Told::Reset).await?;
        Ok(RelistCause::Replaced)
    }

    /// Says that something failed; returns how long to wait.
    async fn failed(&mut self, what: &str, error: &ApiError) -> Result<Duration, Closed> {
        let wait = match error {
            ApiError::Busy { after, .. } => (*after).max(self.backoff.wait()),
            _ => self.backoff.wait(),
        };
        self.failing = true;
        let kind = self.watcher.kind.name();
        let report = &self.watcher.report;
        report.disconnected();
        report.restarted(error.cause());
        report.failed(&format!("{what} of {kind}s failed: {error}"));
        if C::OPTIONAL && matches!(error, ApiError::Denied { code: 403, .. }) {
            // A kind that may not be read must not keep the others from being ready.
            report.synced();
        }
        warn!(kind, %error, wait_ms = wait.as_millis() as u64, "{what} failed");
        self.take(Told::Disconnected(error)).await?;
        Ok(wait)
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.watcher.report.works();
        }
    }

    /// Tells a complete list; returns its resourceVersion. `exactly`: of the state at that version; where the API server
    /// answers with a later one, it is a list for `cause` like any other.
    async fn list(
        &mut self,
        cause: RelistCause,
        exactly: Option<&str>,
    ) -> Result<Result<String, ListEnd>, Closed> {
        let begun = Instant::now();
        let kind = self.watcher.kind.name();
        info!(kind, cause = cause.as_str(), exactly, "listing");
        let mut pages = self.pages(self.page_size, Shape::Objects);
        if let Some(version) = exactly {
            pages = pages.exactly_at(version);
        }
        let mut first: Option<List> = None;
        loop {
            self.watcher.consumer.room().await;
            let asked = self.watcher.clock.now();
            let page = match self.page(&mut pages, C::read).await {
                Ok(page) => page,
                // The token expired: begin again without it, never with the "inconsistent" one.
                Err(ApiError::Expired(_)) if pages.begun() && pages.begin_again() => {
                    self.watcher.report.restarted(RestartCause::Gone);
                    if exactly.is_none() {
                        self.take(Told::Init(cause)).await?;
                    }
                    first = None;
                    continue;
                }
                Err(error) => {
                    if matches!(error, ApiError::Timeout(_)) {
                        self.page_size = (self.page_size / 4).max(PAGE_SIZE_MIN);
                    }
                    return Ok(Err(ListEnd::Failed(error)));
                }
            };
            self.watcher.report.active();
            if first.is_none() {
                let version = Version::new(&page.version);
                let asked_for = exactly.map(Version::new);
                let expected = asked_for.as_ref().or(self.newest.as_ref());
                if expected.is_some_and(|expected| went_back(&version, expected)) {
                    return Ok(Err(ListEnd::Regressed(page.version)));
                }
                match asked_for {
                    Some(asked_for) if asked_for == version => {
                        self.take(Told::Init(RelistCause::Resumed)).await?;
                    }
                    Some(_) => self.take(Told::Init(cause)).await?,
                    None => {}
                }
                first = Some(List {
                    version: page.version.clone(),
                    asked,
                    server_time: page.server_time.unwrap_or(asked),
                });
            }
            let is_last = page.last;
            self.take(Told::Page(page)).await?;
            if is_last {
                break;
            }
        }
        let Some(list) = first else {
            let error = ApiError::Malformed("a list without a page".to_owned());
            return Ok(Err(ListEnd::Failed(error)));
        };
        let version = list.version.clone();
        self.take(Told::InitDone(list)).await?;
        self.page_size = self.watcher.consumer.page_size();
        self.note(&version);
        let report = &self.watcher.report;
        report.listed(begun.elapsed());
        report.synced();
        info!(kind, version, "listed");
        Ok(Ok(version))
    }

    fn pages(&self, size: u32, shape: Shape) -> Pages {
        Pages::new(self.watcher.kind, &self.watcher.namespace, size, shape)
    }

    async fn page<T>(
        &self,
        pages: &mut Pages,
        read: impl Fn(&C, &RawValue) -> T,
    ) -> Result<ListPage<T>, ApiError> {
        let Watcher {
            api,
            config,
            consumer,
            ..
        } = &self.watcher;
        pages
            .next(api, config.list_timeout, |json| read(consumer, json))
            .await
    }

    /// The API server's newest version: that of the cheapest list there is.
    async fn newest_version(&self) -> Result<String, ApiError> {
        let mut pages = self.pages(1, Shape::MetadataOnly);
        Ok(self.page(&mut pages, |_, _| ()).await?.version)
    }

    /// Whether the API server's newest version, asked for after all that was noted, is below that.
    fn is_regressed(&self, version: &str) -> bool {
        let newest = self.newest.as_ref();
        newest.is_some_and(|newest| went_back(&Version::new(version), newest))
    }

    fn note(&mut self, version: &str) {
        let version = Version::new(version);
        let newest = self.newest.as_ref();
        if newest.is_none_or(|newest| !version.is_certainly_before(newest)) {
            self.newest = Some(version);
        }
    }

    async fn take(&mut self, told: Told<'_, C::Item, C::News>) -> Result<(), Closed> {
        self.watcher.consumer.take(told).await
    }
}

/// No history is at 0: that is an answer from a cache that holds nothing yet.
fn went_back(version: &Version, newest: &Version) -> bool {
    *version != Version::Number(0) && version.is_certainly_before(newest)
}

/// The output of a future, and whether it had to be waited for.
async fn waited<F: Future>(future: F) -> (F::Output, bool) {
    let (mut future, mut waited) = (pin!(future), false);
    let output = poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        waited |= polled.is_pending();
        polled
    })
    .await;
    (output, waited)
}

/// Waits until that moment; without one, without end.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.saturating_duration_since(Instant::now())).await,
        None => std::future::pending().await,
    }
}
