//! List and watch of one kind: what it sees goes to the analysis, in order.
//!
//! ```text
//!   start ─▶ List exactly at the stored position ─▶ Watch(position): what happened meanwhile is seen as it happened
//!              │ none is stored, or 410
//!              ▼
//!            List ── complete ──▶ Watch(rv) ── closed in order ──▶ Watch(rv of the last object or bookmark)
//!              ▲                    │   └────── cut, silent ─────▶ back off, Watch(rv)
//!              └── failed: back off ┴── 410, or the writer recalls: a new database
//! ```
//!
//! Each start lists, since the analysis needs every object. The state as it was at the stored position, and all that
//! came after it, leave no gap: not even an object that came and went while nobody recorded is missed. The API server
//! keeps that history for some minutes; after that the difference to the stored facts is what is known of a gap.
//!
//! Asked to (`RelistCause::Resumed`), it lists in between, exactly at the position that its watch has reached: what is there
//! is shown once more, and nothing is missed.
//!
//! Pace: as in `source/events`, whatever ends a watch that lived for less than [`SETTLED`], the next attempt waits.
//!
//! Invariant: what arrives is handed on before anything later is read; a slow analysis slows the watch, never loses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube9_shared::time::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Fit, Object};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::SourceConfig;
use crate::logging::Throttle;
use crate::metrics::{self, Kind, Metrics, RestartCause, Stage};
use crate::pipeline::decode::{Identity, decode_identity};
use crate::pipeline::item::{RelistCause, WatchId};
use crate::pipeline::signals::Recall;
use crate::source::SETTLED;
use crate::source::api::{Api, ApiError, Line, Lines, Shape};
use crate::source::pages::{Action, Pages, WatchLine, watch_path};
use crate::source::report::Report;

/// Objects of one page. A page is held whole while it is decoded: 20 ConfigMaps of 100 KiB are 2 MiB, 50 large Pods
/// (20 KiB) are 1 MiB. What is made of it waits for the analysis: 50 objects of `OBJECT_BYTES_MAX` are 1.6 MiB.
const fn page_size(kind: Kind) -> u32 {
    match kind {
        Kind::ConfigMap => 20,
        Kind::Event | Kind::Pod | Kind::Node | Kind::Deployment | Kind::Service => 50,
    }
}

/// Shortest time between two notes that the view is current.
const PROVEN_EVERY: Duration = Duration::from_secs(30);

/// Everything an informer works with.
pub struct Informer {
    /// The API server.
    pub api: Api,
    /// Whose view.
    pub watch: WatchId,
    /// Of what.
    pub kind: Kind,
    /// Where; empty for all namespaces.
    pub namespace: String,
    /// Times.
    pub config: SourceConfig,
    /// To the analysis.
    pub out: mpsc::Sender<Seen>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// The writer's word: the database is a new one.
    pub recall: Arc<Recall>,
    /// Metrics and health of this watch.
    pub report: Report,
    /// Where the stored facts stand; `None`: there is nothing to go on from.
    pub position: Option<String>,
    /// Of the lines about objects that cannot be read.
    pub throttle: Arc<Throttle>,
}

/// Something an informer has to say.
#[derive(Debug)]
pub struct Seen {
    /// Whose view.
    pub watch: WatchId,
    /// What.
    pub what: News,
}

/// What an informer can say.
#[derive(Debug)]
pub enum News {
    /// A list begins; what it does not show is gone.
    ListBegun {
        /// Why.
        cause: RelistCause,
    },
    /// The object is there, and like this.
    Applied(Object),
    /// The object is there, but cannot be read.
    Unreadable {
        /// Empty for cluster-scoped kinds.
        namespace: String,
        /// Name.
        name: String,
    },
    /// The object is gone; this was its last state.
    Deleted(Object),
    /// The list is complete.
    Listed {
        /// Its resourceVersion.
        version: String,
        /// The server's time of its first page.
        server_time: Timestamp,
        /// How many objects.
        objects: u64,
    },
    /// The watch is open: what comes next is what happens.
    Live,
    /// Nothing new will be seen until `Live`; the words are for people.
    Blind {
        /// What failed.
        why: String,
        /// The API server does not allow it.
        forbidden: bool,
    },
    /// The view is current up to this resourceVersion.
    Proven(String),
    /// The database is a new one: nothing of what was committed is there.
    Reset,
}

/// The analysis is gone: the process ends.
struct Closed;

enum End {
    Clean { empty: bool },
    Expired,
    Recalled(RelistCause),
    Failed(ApiError),
}

impl Informer {
    /// Lists and watches for ever; the caller drops the future to stop it.
    pub async fn run(self, first: RelistCause) {
        // The analysis goes only when the process ends.
        let _ = self.work(first).await;
    }

    async fn work(&self, first: RelistCause) -> Result<(), Closed> {
        let mut backoff = Backoff::new(self.config.backoff.initial, self.config.backoff.max);
        let mut cause = first;
        let mut position = self.position.clone();
        loop {
            let listed = match position.as_deref() {
                Some(position) => self.list(RelistCause::Resumed, Some(position)).await?,
                None => self.list(cause, None).await?,
            };
            let mut version = match listed {
                Ok(version) => version,
                Err(error) if position.is_some() && is_final(&error) => {
                    info!(kind = metrics::Label::name(self.kind), %error, "the position cannot be resumed");
                    position = None;
                    continue;
                }
                Err(error) => {
                    self.fail(&error, &mut backoff).await?;
                    continue;
                }
            };
            position = None;
            cause = loop {
                let begun = Instant::now();
                let end = self.watch(&mut version).await?;
                let settled = begun.elapsed() >= SETTLED;
                if settled {
                    backoff.reset();
                }
                let relist = match end {
                    End::Failed(error) => {
                        self.fail(&error, &mut backoff).await?;
                        continue;
                    }
                    End::Recalled(RelistCause::Resumed) => {
                        position = Some(version);
                        break RelistCause::Expired; // where the API server no longer has the position
                    }
                    End::Recalled(_) => {
                        self.say(News::Reset).await?;
                        break RelistCause::FirstStart;
                    }
                    End::Clean { empty } => {
                        self.report.restarted(if empty && !settled {
                            RestartCause::EmptyStream
                        } else {
                            RestartCause::Closed
                        });
                        None
                    }
                    End::Expired => {
                        self.report.restarted(RestartCause::Gone);
                        Some(RelistCause::Expired)
                    }
                };
                if !settled {
                    tokio::time::sleep(backoff.wait()).await;
                }
                if let Some(cause) = relist {
                    break cause;
                }
            };
        }
    }

    async fn say(&self, what: News) -> Result<(), Closed> {
        let seen = Seen {
            watch: self.watch,
            what,
        };
        self.out.send(seen).await.map_err(|_| Closed)
    }

    async fn fail(&self, error: &ApiError, backoff: &mut Backoff) -> Result<(), Closed> {
        let wait = match error {
            ApiError::Busy { after, .. } => (*after).max(backoff.wait()),
            _ => backoff.wait(),
        };
        let kind = metrics::Label::name(self.kind);
        let forbidden = matches!(error, ApiError::Denied { code: 403, .. });
        self.report.restarted(error.cause());
        self.report
            .failed(&format!("watch of {kind}s failed: {error}"));
        if forbidden {
            // A kind that may not be read must not keep the others from being ready.
            self.report.synced();
        }
        warn!(kind, %error, wait_ms = wait.as_millis() as u64, "watch failed");
        self.say(News::Blind {
            why: error.to_string(),
            forbidden,
        })
        .await?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Hands on a complete list, of the newest state or of that of one version; returns its resourceVersion.
    async fn list(
        &self,
        cause: RelistCause,
        exactly: Option<&str>,
    ) -> Result<Result<String, ApiError>, Closed> {
        let begun = Instant::now();
        let size = page_size(self.kind);
        let mut pages = Pages::new(self.kind, &self.namespace, size, Shape::Objects);
        if let Some(version) = exactly {
            pages = pages.exactly_at(version);
        }
        let mut first: Option<(String, Timestamp)> = None;
        let mut objects = 0;
        loop {
            // Decoded with the page, of which nothing else is kept while the analysis is waited for.
            let read = |item: &RawValue| match self.decode(item.get()) {
                Some(object) => News::Applied(object),
                None => unreadable(item.get()),
            };
            let page = match pages.next(&self.api, self.config.list_timeout, read).await {
                Ok(page) => page,
                Err(ApiError::Expired(_)) if pages.begun() && pages.begin_again() => {
                    self.report.restarted(RestartCause::Gone);
                    (first, objects) = (None, 0);
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            };
            self.report.active();
            if first.is_none() {
                let server_time = page.server_time.unwrap_or_else(|| self.clock.now());
                first = Some((page.version.clone(), server_time));
                self.say(News::ListBegun { cause }).await?;
            }
            for item in page.items {
                objects += 1;
                self.metrics.received(self.kind, metrics::Action::Listed);
                self.say(item.json).await?;
            }
            if page.last {
                break;
            }
        }
        let Some((version, server_time)) = first else {
            return Ok(Err(ApiError::Malformed("a list without a page".to_owned())));
        };
        self.report.listed(begun.elapsed());
        info!(
            kind = metrics::Label::name(self.kind),
            objects, version, "listed"
        );
        self.say(News::Listed {
            version: version.clone(),
            server_time,
            objects,
        })
        .await?;
        Ok(Ok(version))
    }

    /// Watches from `version`, which moves along.
    async fn watch(&self, version: &mut String) -> Result<End, Closed> {
        let path = watch_path(
            self.kind,
            &self.namespace,
            version,
            self.config.watch_timeout,
        );
        let answer = self
            .api
            .get(&path, Shape::Objects, self.config.list_timeout)
            .await;
        let mut lines = match answer {
            Ok(answer) => answer.lines(),
            Err(error) => return Ok(error.into()),
        };
        self.report.connected();
        self.say(News::Live).await?;
        let end = self.read(&mut lines, version).await;
        self.report.disconnected();
        end
    }

    async fn read(&self, lines: &mut Lines, version: &mut String) -> Result<End, Closed> {
        let silence = self.config.watch_timeout + self.config.read_slack;
        let mut empty = true;
        let mut proven: Option<Instant> = None;
        loop {
            let line = tokio::select! {
                biased;
                cause = self.recall.wanted() => {
                    return Ok(End::Recalled(self.recall.take().unwrap_or(cause)));
                }
                line = tokio::time::timeout(silence, lines.next()) => line,
            };
            let line = match line {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return Ok(End::Clean { empty }),
                Ok(Err(error)) => return Ok(error.into()),
                Err(_) => return Ok(End::Failed(ApiError::Timeout(silence))),
            };
            self.report.active();
            empty = false;
            let moved = match line {
                Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole(line) => match self.take(line) {
                    Ok((moved, news)) => {
                        if let Some(news) = news {
                            self.say(news).await?;
                        }
                        moved
                    }
                    Err(end) => return Ok(end),
                },
                Line::TooLong => {
                    self.undecodable("an object of more than 4 MiB");
                    None
                }
            };
            let Some(moved) = moved.filter(|moved| !moved.is_empty()) else {
                continue;
            };
            *version = moved;
            if proven.is_none_or(|at| at.elapsed() >= PROVEN_EVERY) {
                proven = Some(Instant::now());
                self.say(News::Proven(version.clone())).await?;
            }
        }
    }

    /// Reads one line; returns the resourceVersion that it moves the view to, and what it says. Nothing else of it is
    /// kept while the analysis is waited for.
    fn take(&self, line: Vec<u8>) -> Result<(Option<String>, Option<News>), End> {
        let text = String::from_utf8_lossy(&line);
        let (action, json) = match WatchLine::decode(&text) {
            Ok(WatchLine::Item { action, object }) => (action, object),
            Ok(WatchLine::Bookmark(version)) => return Ok((version, None)),
            Ok(WatchLine::Error(status)) => return Err(status.into_error(None).into()),
            Err(cause) => {
                self.undecodable(&cause);
                return Ok((None, None));
            }
        };
        let label = match action {
            Action::Added => metrics::Action::Added,
            Action::Modified => metrics::Action::Modified,
            Action::Deleted => metrics::Action::Deleted,
        };
        self.metrics.received(self.kind, label);
        let Some(object) = self.decode(json.get()) else {
            return Ok((None, None));
        };
        let version = object.meta().version.to_string();
        let news = match action {
            Action::Added | Action::Modified => News::Applied(object),
            Action::Deleted => News::Deleted(object),
        };
        Ok((Some(version), Some(news)))
    }

    fn decode(&self, json: &str) -> Option<Object> {
        match Object::decode(self.kind, json) {
            Ok(object) => {
                if object.meta().fit != Fit::Whole {
                    self.metrics.objects_cut.inc();
                }
                Some(object)
            }
            Err(cause) => {
                self.skipped(&cause);
                None
            }
        }
    }

    fn undecodable(&self, cause: &str) {
        self.metrics
            .received(self.kind, metrics::Action::Undecodable);
        self.skipped(cause);
    }

    /// The object is skipped; the watch lives.
    fn skipped(&self, cause: &str) {
        self.metrics.event_errors.of(Stage::Decode).inc();
        if let Some(suppressed) = self.throttle.pass(self.clock.elapsed()) {
            warn!(
                kind = metrics::Label::name(self.kind),
                cause, suppressed, "object skipped"
            );
        }
    }
}

/// Asking again for the state of that version would be answered in the same way: it is gone (410), from another history
/// (504, a version of the future), or a server does not know how to (4xx).
fn is_final(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::Expired(_)
            | ApiError::Status {
                code: 400..=499 | 504,
                ..
            }
    )
}

/// In a list: what cannot be read is not gone.
fn unreadable(json: &str) -> News {
    let Identity {
        namespace, name, ..
    } = decode_identity(json.as_bytes()).unwrap_or_default();
    News::Unreadable { namespace, name }
}

impl From<ApiError> for End {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Expired(_) => Self::Expired,
            other => Self::Failed(other),
        }
    }
}
