//! Objects of one kind, from their watcher to the analysis.
//!
//! ```text
//!   watcher ─▶ Informer ─ News ─▶ analysis
//! ```
//!
//! Each start lists, since the analysis needs every object: exactly at the stored position, so that what came after it is
//! seen as it happened, and not even an object that came and went while the recorder was stopped is missed. The API server keeps
//! that history for some minutes; after that the difference to the stored facts is what is known of a gap.
//!
//! Asked to (`RelistCause::Resumed`), it lists in between, exactly at the position that its watch has reached: what is
//! there is shown once more, and nothing is missed.
//!
//! A slow analysis slows the watch, and loses nothing.

use std::sync::Arc;

use kube9_base::clock::Clock;
use kube9_base::throttle::Throttle;
use kube9_ingest::decode::{Identity, decode_identity};
use kube9_ingest::news::{News, Seen};
use kube9_ingest::objects::{Fit, Object};
use kube9_model::label::{Kind, Label};
use kube9_model::watch::{RelistCause, WatchId};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::warn;

use super::held::Held;
use crate::metrics::{self, Metrics};
use crate::pages::Action;
use crate::watcher::{Closed, Consumer, Cursor, Told};

/// Objects of one page. A page is held whole while it is decoded: 20 ConfigMaps of 100 KiB are 2 MiB, 50 large Pods
/// (20 KiB) are 1 MiB. What is made of it waits for the analysis: 50 objects of `OBJECT_BYTES_MAX` are 1.6 MiB.
const fn page_size(kind: Kind) -> u32 {
    match kind {
        Kind::ConfigMap => 20,
        Kind::Event | Kind::Pod | Kind::Node | Kind::Deployment | Kind::Service => 50,
    }
}

/// Takes what the watcher of a kind sees.
pub struct Informer {
    /// Whose view.
    pub watch: WatchId,
    /// Of what.
    pub kind: Kind,
    /// To the analysis.
    pub out: mpsc::Sender<Seen>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// Of the lines about objects that cannot be read.
    pub throttle: Arc<Throttle>,
    /// The list that was asked for, until its first page is there.
    pub list: Option<RelistCause>,
    /// Objects of the list under way.
    pub listed: u64,
    /// Whether the analysis was told last that it reads a backlog.
    pub is_behind: bool,
    /// What there is.
    pub held: Held,
}

impl Informer {
    async fn say(&self, what: News) -> Result<(), Closed> {
        let seen = Seen {
            watch: self.watch,
            what,
        };
        self.out.send(seen).await.map_err(|_| Closed)
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

    /// The object is skipped; the watch lives.
    fn skipped(&self, cause: &str) {
        self.metrics.decode_errors.inc();
        if let Some(suppressed) = self.throttle.pass(self.clock.elapsed()) {
            warn!(
                kind = Label::name(self.kind),
                cause, suppressed, "object skipped"
            );
        }
    }
}

impl Consumer for Informer {
    // Decoded with its page or line, of which nothing else is kept while the analysis is waited for.
    type Item = News;
    type News = News;

    const RENEWS: bool = false;
    const STARTS_WITH_A_LIST: bool = true;
    const OPTIONAL: bool = true;

    fn page_size(&self) -> u32 {
        page_size(self.kind)
    }

    async fn room(&self) {}

    fn is_ready(&self) -> bool {
        true
    }

    fn read(&self, json: &RawValue) -> News {
        match self.decode(json.get()) {
            Some(object) => News::Applied(object),
            None => unreadable(json.get()),
        }
    }

    fn item(&mut self, action: Action, object: &RawValue, cursor: &mut Cursor) -> Option<News> {
        self.metrics.received(self.kind, action.into());
        let Some(object) = self.decode(object.get()) else {
            self.held.is_unknown();
            return None;
        };
        let meta = object.meta();
        cursor.reach(&meta.version);
        Some(match action {
            Action::Added | Action::Modified => {
                self.held.is(&meta.uid, &meta.version);
                News::Applied(object)
            }
            Action::Deleted => {
                self.held.is_gone(&meta.uid);
                News::Deleted(object)
            }
        })
    }

    fn held(&self) -> Option<&Held> {
        Some(&self.held)
    }

    fn undecodable(&mut self, cause: &str) {
        self.metrics
            .received(self.kind, metrics::Action::Undecodable);
        self.held.is_unknown();
        self.skipped(cause);
    }

    async fn take(&mut self, told: Told<'_, News, News>) -> Result<(), Closed> {
        match told {
            // Said with its first page: while none comes, the list of before still holds.
            Told::Init(cause) => self.list = Some(cause),
            Told::Page(page) => {
                if let Some(cause) = self.list.take() {
                    (self.listed, self.is_behind) = (0, false);
                    self.held.list_begins();
                    let cause = match cause {
                        // Nothing of what was recorded is there: as at the very first start.
                        RelistCause::Replaced => RelistCause::FirstStart,
                        cause => cause,
                    };
                    self.say(News::ListBegun { cause }).await?;
                }
                for item in page.items {
                    self.listed += 1;
                    match &item.json {
                        News::Applied(object) => {
                            let meta = object.meta();
                            self.held.is(&meta.uid, &meta.version);
                        }
                        _ => self.held.is_unknown(),
                    }
                    self.metrics.received(self.kind, metrics::Action::Listed);
                    self.say(item.json).await?;
                }
            }
            Told::InitDone(list) => {
                self.say(News::Listed {
                    version: list.version,
                    at: list.asked,
                    server_time: list.server_time,
                    objects: self.listed,
                })
                .await?;
            }
            Told::Connected => self.say(News::Live).await?,
            Told::News { news, is_behind } => {
                if self.is_behind != is_behind {
                    self.is_behind = is_behind;
                    self.say(News::Behind(is_behind)).await?;
                }
                self.say(news).await?;
            }
            Told::Proven {
                version,
                at,
                is_last,
            } => {
                let version = version.to_owned();
                self.say(News::Proven {
                    version,
                    at,
                    is_last,
                })
                .await?;
            }
            Told::Disconnected { error, forbidden } => {
                let why = error.to_string();
                self.say(News::Blind { why, forbidden }).await?;
            }
            Told::Regressed(regressed) => self.say(News::Regressed(regressed)).await?,
            Told::Reset => self.say(News::Reset).await?,
        }
        Ok(())
    }
}

/// In a list: what cannot be read is not gone.
fn unreadable(json: &str) -> News {
    let Identity {
        namespace, name, ..
    } = decode_identity(json.as_bytes()).unwrap_or_default();
    News::Unreadable { namespace, name }
}
