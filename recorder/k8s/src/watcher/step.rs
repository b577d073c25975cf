//! One step of the machine: what follows each state, and each end of a watch.

use std::time::{Duration, Instant};

use kube9_base::backoff::Backoff;
use kube9_model::identity::ResourceVersion;
use kube9_model::label::Label;
use kube9_model::resume::{Resume, ResumePoint};
use kube9_model::watch::{Regressed, RelistCause};
use tracing::{debug, info, warn};

use super::consumer::{Closed, Consumer, Told};
use super::cursor::Cursor;
use super::list::ListEnd;
use super::state::{
    AWAY_AFTER, DENIED_TRIES, End, LIST_EVERY, Live, Machine, Next, Position, SETTLED, State,
    Trouble, WORKS_AFTER, Watcher, went_back,
};
use crate::api::{ApiError, Shape};
use crate::metrics::RestartCause;
use crate::pages::watch_path;

/// Between the kinds that another one wakes.
const WAKE_STEP: Duration = Duration::from_millis(50);

/// A history that goes back more often is listed with growing pauses.
const REGRESSED_EVERY: Duration = Duration::from_secs(10);

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
            State::Compare(at) => self.compare(at).await,
            State::Connect(at) => self.connect(at).await,
            State::Live(live) => self.live(live).await,
            State::Full(at) => {
                self.watcher.consumer.room().await;
                Ok(State::Check(Next::Connect(at)))
            }
            State::Wait(time, next) => {
                let is_woken = tokio::select! {
                    () = tokio::time::sleep(time) => false,
                    () = self.watcher.history.leaves(self.epoch) => false,
                    () = self.is_back() => true,
                };
                if is_woken {
                    self.woken = Some(Instant::now());
                    // Not all in the same moment.
                    tokio::time::sleep(WAKE_STEP * self.watcher.kind.index() as u32).await;
                }
                Ok(*next)
            }
        }
    }

    /// Waits until another kind finds that the API server is back, where the last check of this one failed. It answers a
    /// small list: no more is known, so a kind is not woken often.
    async fn is_back(&self) {
        let may = self.woken.is_none_or(|at| at.elapsed() >= SETTLED);
        match self.failed_at.filter(|_| may) {
            Some(returns) => self.watcher.history.comes_back(returns).await,
            None => std::future::pending().await,
        }
    }

    async fn check(&mut self, next: Next) -> Result<State, Closed> {
        match self.newest_version().await {
            Err(error) => {
                self.was_away |= error.is_away();
                // A kind that is given a time to wait waits for that time.
                let is_told = matches!(error, ApiError::Busy { .. });
                self.failed_at = (!is_told).then(|| self.watcher.history.returns());
                let wait = self.failed("watch", &error).await?;
                return Ok(State::Wait(wait, Box::new(State::Check(next))));
            }
            Ok(version) if self.is_regressed(&version) => {
                self.failed_at = None;
                return self.regressed(version, true).await;
            }
            Ok(version) => self.note(&version),
        }
        if self.failed_at.take().is_some() {
            self.watcher.history.is_back();
        }
        Ok(match next {
            Next::List(cause) => State::List(cause),
            Next::Exact(at) => State::Exact(at),
            Next::Connect(at) if self.may_be_another() => State::Compare(at),
            Next::Connect(at) => State::Connect(at),
        })
    }

    /// What is seen now is of the history that was seen before.
    fn follows_on(&mut self) {
        (self.was_away, self.blind_since) = (false, None);
    }

    /// Whether the API server may have come back with another history since the last watch.
    fn may_be_another(&self) -> bool {
        let blind = self.blind_since.map(|since| since.elapsed());
        self.was_away || blind.is_some_and(|blind| blind >= AWAY_AFTER)
    }

    async fn list_all(&mut self, cause: RelistCause) -> Result<State, Closed> {
        let mut cause = cause;
        self.listed = Some(Instant::now());
        if self.watcher.recall.take() == Some(RelistCause::Replaced) {
            cause = self.replaced().await?;
        }
        self.take(Told::Init(cause)).await?;
        match self.list(cause, None).await? {
            Ok(version) => Ok(self.listed_at(Position::new(version))),
            Err(ListEnd::Regressed(found)) => self.regressed(found, true).await,
            Err(ListEnd::Failed(error)) => {
                let wait = self.failed("list", &error).await?;
                Ok(State::Wait(wait, Box::new(State::List(cause))))
            }
        }
    }

    /// A list is complete. While its pages were read the API server went on: what the watch has to deliver before it has
    /// caught up is asked for after the list.
    fn listed_at(&mut self, at: Position) -> State {
        self.follows_on();
        State::Check(Next::Connect(at))
    }

    async fn list_exactly(&mut self, mut at: Position) -> Result<State, Closed> {
        let error = match self.list(RelistCause::Expired, Some(&at.version)).await? {
            Ok(version) if version == at.version => return Ok(self.listed_at(at)),
            Ok(version) => return Ok(self.listed_at(Position::new(version))),
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

    /// A history that was replaced while the API server was away may be above the position by now: then what it shows at it
    /// differs.
    async fn compare(&mut self, at: Position) -> Result<State, Closed> {
        match self.is_as_held(&at.version).await {
            Ok(true) => {
                self.follows_on();
                Ok(State::Connect(at))
            }
            Ok(false) => self.regressed(at.version, true).await,
            Err(error) if error.is_away() => self.broken(at, &error, Instant::now(), false).await,
            // The watch meets what it means: too old, busy, not allowed.
            Err(_) => Ok(State::Connect(at)),
        }
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
        let answer = match api.get(&path, Shape::Objects, config.list_timeout).await {
            Ok(answer) => answer,
            Err(error) => return self.broken(at, &error, opened, false).await,
        };
        debug!(kind = kind.name(), position = at.version, "watching");
        let idle_after = config.idle_renewal;
        self.follows_on();
        self.watcher.report.opened();
        self.denied = 0;
        self.take(Told::Connected).await?;
        let target = self.newest.clone();
        let now = Instant::now();
        Ok(State::Live(Box::new(Live {
            server_time: answer.server_time.map(|time| (time, now)),
            lines: answer.lines(),
            cursor: Cursor::new(
                &at.version,
                target.unwrap_or_else(|| ResourceVersion::new(&at.version)),
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

    /// What follows the end of a watch.
    pub(super) async fn ended(&mut self, live: Live, end: End) -> Result<State, Closed> {
        let settled = live.opened.elapsed() >= SETTLED;
        self.blind_since = Some(Instant::now());
        // Since when it was silent is not known.
        self.was_away |= matches!(end, End::Failed(ApiError::Timeout(_)));
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
                    position, "queue stays full, watch closed until it has space"
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
                    RelistCause::QueueOverflow => RestartCause::Overflow,
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
        if error.is_away() {
            self.blind_since.get_or_insert_with(Instant::now);
        }
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
        if self.listed.is_none_or(|at| at.elapsed() >= REGRESSED_EVERY) {
            self.backoff.reset(); // the API server is there; what failed before says nothing of it
        }
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
        let is_denied = matches!(error, ApiError::Denied { code: 403, .. });
        if is_denied && self.denied == 0 {
            self.backoff.reset(); // what failed before was something else
        }
        self.denied = if is_denied {
            self.denied.saturating_add(1)
        } else {
            0
        };
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
        if C::OPTIONAL && is_denied {
            // A kind that may not be read must not keep the others from being ready.
            report.synced();
        }
        warn!(kind, %error, wait_ms = wait.as_millis() as u64, "{what} failed");
        let forbidden = self.denied >= DENIED_TRIES;
        self.take(Told::Disconnected { error, forbidden }).await?;
        Ok(wait)
    }

    pub(super) fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.watcher.report.works();
        }
    }

    /// Whether the API server's newest version, asked for after all that was noted, is below that.
    pub(super) fn is_regressed(&self, version: &str) -> bool {
        let newest = self.newest.as_ref();
        newest.is_some_and(|newest| went_back(&ResourceVersion::new(version), newest))
    }

    pub(super) fn note(&mut self, version: &str) {
        let version = ResourceVersion::new(version);
        let newest = self.newest.as_ref();
        if newest.is_none_or(|newest| !version.is_older_than(newest)) {
            self.newest = Some(version);
        }
    }

    pub(super) async fn take(&mut self, told: Told<'_, C::Item, C::News>) -> Result<(), Closed> {
        self.watcher.consumer.take(told).await
    }
}

impl<C: Consumer> Watcher<C> {
    /// Lists and watches without end; the caller drops the future to stop it. Dropping it at any point is safe: what the
    /// consumer has taken is complete, and the rest comes again from the committed position.
    pub async fn run(self, start: ResumePoint) {
        let position = start.position.map(|version| ResourceVersion::new(&version));
        let mut machine = Machine {
            backoff: Backoff::new(self.config.backoff.initial, self.config.backoff.max),
            page_size: self.consumer.page_size(),
            failing: true,
            denied: 0,
            epoch: 0, // also of what another kind found before this one began
            newest: position,
            failed_at: None,
            woken: None,
            was_away: false,
            blind_since: None,
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
