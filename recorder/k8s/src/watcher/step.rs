//! The transitions: what follows each state, and each outcome of a watch.

use std::time::{Duration, Instant};

use kube9_base::backoff::Backoff;
use kube9_model::identity::ResourceVersion;
use kube9_model::label::Label;
use kube9_model::resume::{Resume, ResumePoint};
use kube9_model::watch::{Regressed, RelistCause};
use tracing::debug;

use super::consumer::{Consumer, ReceiverDropped, WatcherEvent};
use super::cursor::Cursor;
use super::list::ListEnd;
use super::state::{
    AfterCheck, COMPARE_AFTER, FORBIDDEN_AFTER, FailureClass, HEALTHY_AFTER, MIN_HEALTHY_WATCH,
    OpenWatch, Position, State, StateMachine, UNDELAYED_LIST_INTERVAL, WatchOutcome, Watcher,
    resource_version_regressed,
};
use crate::api::{ApiError, Representation};
use crate::metrics::RestartCause;
use crate::pages::watch_path;

/// Delay between the kinds that a recovery wakes, so that they do not all send at the same moment.
const WAKE_STAGGER: Duration = Duration::from_millis(50);

/// If the history regresses more often than this, the back-off between lists grows.
const REGRESSION_RESET_INTERVAL: Duration = Duration::from_secs(10);

impl<C: Consumer> StateMachine<C> {
    pub(super) async fn step(&mut self, state: State) -> Result<State, ReceiverDropped> {
        if let Some((epoch, found)) = self.watcher.history.regressed_since(self.epoch) {
            self.epoch = epoch;
            if self.highest_version.is_some() {
                return self.on_regression(found, false).await;
            }
        }
        match state {
            State::Checking(next) => self.check(next).await,
            State::Listing(cause) => self.list_now(cause).await,
            State::ListingAt(at) => self.list_at(at).await,
            State::Comparing(at) => self.compare(at).await,
            State::Connecting(at) => self.connect(at).await,
            State::Watching(live) => self.watch(live).await,
            State::QueueFull(at) => {
                self.watcher.consumer.ready().await;
                Ok(State::Checking(AfterCheck::Connect(at)))
            }
            State::BackingOff(time, next) => {
                let is_woken = tokio::select! {
                    () = tokio::time::sleep(time) => false,
                    () = self.watcher.history.wait_for_regression(self.epoch) => false,
                    () = self.recovery() => true,
                };
                if is_woken {
                    self.woken_at = Some(Instant::now());
                    tokio::time::sleep(WAKE_STAGGER * self.watcher.resource.kind.index() as u32)
                        .await;
                }
                Ok(*next)
            }
        }
    }

    /// Waits until another kind finds that the API server has recovered, if the last check of this kind failed. The API
    /// server has answered a small list only, so a kind is not woken often.
    async fn recovery(&self) {
        let may_wake = self
            .woken_at
            .is_none_or(|at| at.elapsed() >= MIN_HEALTHY_WATCH);
        match self.recoveries_at_failure.filter(|_| may_wake) {
            Some(recoveries) => self.watcher.history.wait_for_recovery(recoveries).await,
            None => std::future::pending().await,
        }
    }

    async fn check(&mut self, next: AfterCheck) -> Result<State, ReceiverDropped> {
        match self.newest_version().await {
            Err(error) => {
                self.was_unreachable |= error.is_unreachable();
                // The delay of a `Retry-After` is not cut short.
                let has_delay = matches!(error, ApiError::Busy { .. });
                self.recoveries_at_failure =
                    (!has_delay).then(|| self.watcher.history.recoveries());
                let wait = self.report_failure("watch", &error).await?;
                return Ok(State::BackingOff(wait, Box::new(State::Checking(next))));
            }
            Ok(version) if self.is_regressed(&version) => {
                self.recoveries_at_failure = None;
                return self.on_regression(version, true).await;
            }
            Ok(version) => self.note_version(&version),
        }
        if self.recoveries_at_failure.take().is_some() {
            self.watcher.history.report_recovery();
        }
        Ok(match next {
            AfterCheck::List(cause) => State::Listing(cause),
            AfterCheck::ListAt(at) => State::ListingAt(at),
            AfterCheck::Connect(at) if self.may_have_new_history() => State::Comparing(at),
            AfterCheck::Connect(at) => State::Connecting(at),
        })
    }

    /// The current history is the one that was watched before.
    fn mark_continuous(&mut self) {
        (self.was_unreachable, self.disconnected_since) = (false, None);
    }

    /// Whether the history may have been replaced since the last watch.
    fn may_have_new_history(&self) -> bool {
        let disconnected = self.disconnected_since.map(|since| since.elapsed());
        self.was_unreachable || disconnected.is_some_and(|time| time >= COMPARE_AFTER)
    }

    async fn list_now(&mut self, cause: RelistCause) -> Result<State, ReceiverDropped> {
        let mut cause = cause;
        self.last_list_at = Some(Instant::now());
        if self.watcher.relist.take() == Some(RelistCause::Replaced) {
            cause = self.on_store_replaced().await?;
        }
        self.emit(WatcherEvent::Init(cause)).await?;
        match self.list(cause, None).await? {
            Ok(version) => Ok(self.after_list(Position::new(version))),
            Err(ListEnd::Regressed(found)) => self.on_regression(found, true).await,
            Err(ListEnd::Failed(error)) => {
                let wait = self.report_failure("list", &error).await?;
                Ok(State::BackingOff(wait, Box::new(State::Listing(cause))))
            }
        }
    }

    /// A list is complete. The cluster changed while its pages were read: the newest version, which the watch has to reach
    /// before it has caught up, is requested again after the list.
    fn after_list(&mut self, at: Position) -> State {
        self.mark_continuous();
        State::Checking(AfterCheck::Connect(at))
    }

    async fn list_at(&mut self, mut at: Position) -> Result<State, ReceiverDropped> {
        let error = match self.list(RelistCause::Expired, Some(&at.version)).await? {
            Ok(version) if version == at.version => return Ok(self.after_list(at)),
            Ok(version) => return Ok(self.after_list(Position::new(version))),
            Err(ListEnd::Regressed(found)) => return self.on_regression(found, true).await,
            Err(ListEnd::Failed(error)) => error,
        };
        at.tries += 1;
        let cause = match FailureClass::of(&error) {
            FailureClass::Expired => Some(RelistCause::Expired),
            // A server that does not support exact lists never will.
            FailureClass::BadResponse
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
            class => {
                let is_enough = class.tries().is_some_and(|tries| at.tries >= tries);
                is_enough.then_some(RelistCause::Failed)
            }
        };
        let Some(cause) = cause else {
            let wait = self.report_failure("list", &error).await?;
            let again = State::Checking(AfterCheck::ListAt(at));
            return Ok(State::BackingOff(wait, Box::new(again)));
        };
        let kind = self.watcher.resource.name;
        kind_info!(self, kind, %error, cause = cause.as_str(), "the position cannot be resumed");
        Ok(State::Checking(AfterCheck::List(cause)))
    }

    /// A history that was replaced during an outage may be above the position by now: then its objects at the position
    /// differ.
    async fn compare(&mut self, at: Position) -> Result<State, ReceiverDropped> {
        let newest = self.watcher.consumer.newest_object().cloned();
        let matches = match &newest {
            Some(newest) => self.has_object(newest).await,
            None => self.matches_known_objects(&at.version).await,
        };
        match matches {
            // Whether the history is the same cannot be told: the bodies are compared.
            Err(ApiError::Expired(_)) if newest.is_some() => {
                let next = self.relist(at, RelistCause::Expired);
                Ok(self.pace(false, State::Checking(next)))
            }
            Ok(true) => {
                self.mark_continuous();
                Ok(State::Connecting(at))
            }
            Ok(false) => self.on_regression(at.version, true).await,
            Err(error) if error.is_unreachable() => {
                self.on_failure(at, &error, Instant::now(), false).await
            }
            // The watch handles the error: too old, busy, denied.
            Err(_) => Ok(State::Connecting(at)),
        }
    }

    async fn connect(&mut self, at: Position) -> Result<State, ReceiverDropped> {
        let Watcher {
            api,
            resource,
            namespace,
            config,
            ..
        } = &self.watcher;
        let path = watch_path(resource, namespace, &at.version, config.watch_timeout);
        let opened = Instant::now();
        let answer = match api
            .get(&path, Representation::Objects, config.list_timeout)
            .await
        {
            Ok(answer) => answer,
            Err(error) => return self.on_failure(at, &error, opened, false).await,
        };
        debug!(kind = resource.name, position = at.version, "watching");
        let confirm_after = config.idle_renewal;
        self.mark_continuous();
        self.watcher.status.on_open();
        self.denials = 0;
        self.emit(WatcherEvent::Connected).await?;
        let target = self.highest_version.clone();
        let now = Instant::now();
        Ok(State::Watching(Box::new(OpenWatch {
            server_time: answer
                .server_time
                .map(|time| (time, self.watcher.clock.monotonic())),
            lines: answer.lines(),
            cursor: Cursor::new(
                &at.version,
                target.unwrap_or_else(|| ResourceVersion::new(&at.version)),
            ),
            tries: at.tries,
            opened,
            last_line_at: None,
            last_confirmation: now,
            confirm_after,
            healthy_at: Some(now + HEALTHY_AFTER),
            saw_older_version: false,
        })))
    }

    /// The state that follows the end of a watch.
    pub(super) async fn on_outcome(
        &mut self,
        live: OpenWatch,
        end: WatchOutcome,
    ) -> Result<State, ReceiverDropped> {
        let was_healthy = live.opened.elapsed() >= MIN_HEALTHY_WATCH;
        self.disconnected_since = Some(Instant::now());
        // It is unknown since when the connection was silent.
        self.was_unreachable |= matches!(end, WatchOutcome::Failed(ApiError::Timeout(_)));
        let moved = live.cursor.has_moved();
        let mut at = Position {
            version: live.cursor.version(),
            tries: if moved { 0 } else { live.tries },
        };
        self.note_version(&at.version);
        let kind = self.watcher.resource.name;
        let status = &self.watcher.status;
        status.on_disconnect();
        if was_healthy {
            self.backoff.reset();
        }
        match end {
            WatchOutcome::Closed if !moved && !was_healthy => {
                status.on_restart(match live.last_line_at {
                    None => RestartCause::EmptyStream,
                    Some(_) => RestartCause::Closed,
                });
                status.on_failure(
                    RestartCause::EmptyStream,
                    &format!("the API server ends the watch of {kind}s as soon as it has begun"),
                );
                self.failing = true;
                at.tries += 1;
                let next = match FailureClass::Empty.tries() {
                    Some(tries) if at.tries >= tries => self.relist(at, RelistCause::EmptyStream),
                    _ => AfterCheck::Connect(at),
                };
                Ok(self.pace(false, State::Checking(next)))
            }
            WatchOutcome::Closed => {
                debug!(
                    kind,
                    position = at.version,
                    "watch closed by the API server"
                );
                status.on_restart(RestartCause::Closed);
                Ok(self.pace(was_healthy, State::Checking(AfterCheck::Connect(at))))
            }
            WatchOutcome::QueueFull => {
                let position = &at.version;
                kind_warn!(
                    self,
                    kind,
                    position,
                    "queue stays full, watch closed until it has space"
                );
                status.on_restart(RestartCause::QueueFull);
                Ok(State::QueueFull(at))
            }
            WatchOutcome::RelistRequested(RelistCause::Resumed) => {
                Ok(self.pace(was_healthy, State::Checking(AfterCheck::ListAt(at))))
            }
            WatchOutcome::RelistRequested(RelistCause::Replaced) => {
                status.on_restart(RestartCause::Other);
                let cause = self.on_store_replaced().await?;
                Ok(self.pace(was_healthy, State::Listing(cause)))
            }
            WatchOutcome::RelistRequested(cause) => {
                status.on_restart(match cause {
                    RelistCause::QueueOverflow => RestartCause::Overflow,
                    _ => RestartCause::Other,
                });
                let next = self.relist(at, cause);
                Ok(self.pace(was_healthy, State::Checking(next)))
            }
            WatchOutcome::Regressed(found) => self.on_regression(found, true).await,
            WatchOutcome::Failed(error) => self.on_failure(at, &error, live.opened, moved).await,
        }
    }

    /// The state that follows a watch, or an attempt to open one, that failed.
    async fn on_failure(
        &mut self,
        mut at: Position,
        error: &ApiError,
        opened: Instant,
        moved: bool,
    ) -> Result<State, ReceiverDropped> {
        let was_healthy = opened.elapsed() >= MIN_HEALTHY_WATCH;
        if error.is_unreachable() {
            self.disconnected_since.get_or_insert_with(Instant::now);
        }
        let class = FailureClass::of(error);
        if matches!(class, FailureClass::Expired) {
            self.watcher.status.on_restart(RestartCause::Gone);
            let next = self.relist(at, RelistCause::Expired);
            return Ok(self.pace(was_healthy, State::Checking(next)));
        }
        // A watch that advanced was useful; a connection that is cut after a while says nothing about the position.
        let is_harmless = moved || was_healthy && matches!(class, FailureClass::Cut);
        at.tries += u32::from(!is_harmless && class.tries().is_some());
        let is_enough = class.tries().is_some_and(|tries| at.tries >= tries);
        let wait = self.report_failure("watch", error).await?;
        let next = if is_enough {
            self.relist(at, RelistCause::Failed)
        } else {
            AfterCheck::Connect(at)
        };
        Ok(State::BackingOff(wait, Box::new(State::Checking(next))))
    }

    fn relist(&self, at: Position, cause: RelistCause) -> AfterCheck {
        let kind = self.watcher.resource.name;
        let (position, cause_text) = (at.version, cause.as_str());
        kind_warn!(
            self,
            kind,
            position,
            cause = cause_text,
            "watch cannot be resumed, listing again"
        );
        AfterCheck::List(cause)
    }

    /// The next state, after a back-off if the last watch was short.
    fn pace(&mut self, was_healthy: bool, next: State) -> State {
        let is_list = matches!(
            next,
            State::Listing(_) | State::Checking(AfterCheck::List(_))
        );
        let is_first = self
            .last_list_at
            .is_none_or(|at| at.elapsed() >= UNDELAYED_LIST_INTERVAL);
        if was_healthy || is_list && is_first {
            next
        } else {
            State::BackingOff(self.backoff.wait(), Box::new(next))
        }
    }

    /// The API server's history regressed: all versions that were received are void.
    async fn on_regression(
        &mut self,
        found: String,
        is_own: bool,
    ) -> Result<State, ReceiverDropped> {
        let history = &self.watcher.history;
        let is_first = is_own && history.report_regression(self.epoch, &found);
        self.epoch = history.epoch();
        let newest = self.highest_version.take().map(|newest| newest.to_string());
        let kind = self.watcher.resource.name;
        kind_warn!(
            self,
            kind,
            found,
            newest,
            "the API server's history went back, listing again"
        );
        self.watcher.status.on_disconnect();
        self.watcher.status.on_restart(RestartCause::Regressed);
        if self
            .last_list_at
            .is_none_or(|at| at.elapsed() >= REGRESSION_RESET_INTERVAL)
        {
            self.backoff.reset(); // the API server responds; earlier failures no longer matter
        }
        let at = self.watcher.clock.now();
        self.emit(WatcherEvent::Regressed(Regressed {
            found,
            at,
            is_first,
        }))
        .await?;
        Ok(self.pace(false, State::Listing(RelistCause::Regressed)))
    }

    /// The database was replaced by an empty one.
    async fn on_store_replaced(&mut self) -> Result<RelistCause, ReceiverDropped> {
        self.emit(WatcherEvent::StoreReplaced).await?;
        Ok(RelistCause::Replaced)
    }

    /// Reports a failed request. Returns how long to wait.
    async fn report_failure(
        &mut self,
        what: &str,
        error: &ApiError,
    ) -> Result<Duration, ReceiverDropped> {
        let is_denied = matches!(error, ApiError::Denied { code: 403, .. });
        let is_absent = is_denied || matches!(error, ApiError::Status { code: 404, .. });
        if is_absent && let Some(later) = self.watcher.consumer.retry_absent_after(is_denied) {
            return self.report_absent(error, later).await;
        }
        if is_denied && self.denials == 0 {
            self.backoff.reset(); // earlier failures had another cause
        }
        self.denials = if is_denied {
            self.denials.saturating_add(1)
        } else {
            0
        };
        let wait = match error {
            ApiError::Busy { after, .. } => (*after).max(self.backoff.wait()),
            _ => self.backoff.wait(),
        };
        self.failing = true;
        let kind = self.watcher.resource.name;
        let status = &self.watcher.status;
        status.on_disconnect();
        status.on_restart(error.cause());
        status.on_failure(error.cause(), &format!("{what} of {kind}s failed: {error}"));
        if C::OPTIONAL && is_denied {
            // A kind that must not be read does not keep the recorder from becoming ready.
            status.on_synced();
        }
        kind_warn!(self, kind, %error, wait_ms = wait.as_millis() as u64, "{what} failed");
        let forbidden = self.denials >= FORBIDDEN_AFTER;
        self.emit(WatcherEvent::Disconnected { error, forbidden })
            .await?;
        Ok(wait)
    }

    /// The API server does not serve the kind, or denies it; this does not count as a failure. Returns how long to wait.
    async fn report_absent(
        &mut self,
        error: &ApiError,
        later: Duration,
    ) -> Result<Duration, ReceiverDropped> {
        self.denials = self.denials.saturating_add(1);
        let kind = self.watcher.resource.name;
        self.watcher.status.on_absent(&error.absence());
        self.emit(WatcherEvent::Disconnected {
            error,
            forbidden: true,
        })
        .await?;
        // An API server that has just started rejects everything for a while, and does not know custom resources.
        if self.denials < FORBIDDEN_AFTER {
            return Ok(self.backoff.wait());
        }
        debug!(kind, %error, "kind is not tracked");
        Ok(later)
    }

    pub(super) fn mark_healthy(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.watcher.status.mark_healthy();
        }
    }

    /// Whether the API server's newest version is below one that was noted before it was requested.
    pub(super) fn is_regressed(&self, version: &str) -> bool {
        let newest = self.highest_version.as_ref();
        newest.is_some_and(|newest| {
            resource_version_regressed(&ResourceVersion::new(version), newest)
        })
    }

    pub(super) fn note_version(&mut self, version: &str) {
        let version = ResourceVersion::new(version);
        let newest = self.highest_version.as_ref();
        if newest.is_none_or(|newest| !version.is_older_than(newest)) {
            self.highest_version = Some(version);
        }
    }

    pub(super) async fn emit(
        &mut self,
        event: WatcherEvent<'_, C::ListItem, C::WatchItem>,
    ) -> Result<(), ReceiverDropped> {
        self.watcher.consumer.handle(event).await
    }
}

impl<C: Consumer> Watcher<C> {
    /// Lists and watches indefinitely; the caller drops the future to stop it. Dropping it at any point is safe: what the
    /// consumer has received is complete, and the rest comes again from the committed position.
    pub async fn run(self, start: ResumePoint) {
        let position = start.position.map(|version| ResourceVersion::new(&version));
        let mut machine = StateMachine {
            backoff: Backoff::new(self.config.backoff.initial, self.config.backoff.max),
            page_size: self.consumer.page_size(),
            failing: true,
            denials: 0,
            epoch: 0, // handles a regression that another kind found before this one started
            highest_version: position,
            recoveries_at_failure: None,
            woken_at: None,
            was_unreachable: matches!(start.resume, Resume::Watch(_)),
            disconnected_since: None,
            last_list_at: None,
            watcher: self,
        };
        let mut state = match start.resume {
            Resume::Watch(version) if machine.watcher.consumer.lists_on_start() => {
                State::Checking(AfterCheck::ListAt(Position::new(version)))
            }
            Resume::Watch(version) => State::Checking(AfterCheck::Connect(Position::new(version))),
            Resume::List(cause) if machine.highest_version.is_some() => {
                State::Checking(AfterCheck::List(cause))
            }
            Resume::List(cause) => State::Listing(cause),
        };
        // A consumer is dropped only when the process ends.
        while let Ok(next) = machine.step(state).await {
            state = next;
        }
    }
}
