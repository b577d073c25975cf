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

use kube9_model::time::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::warn;

use super::held::Held;
use super::{Fit, Object};
use crate::clock::Clock;
use crate::logging::Throttle;
use crate::metrics::{self, Kind, Metrics, Stage};
use crate::pipeline::decode::{Identity, decode_identity};
use crate::pipeline::item::{RelistCause, WatchId};
use crate::source::pages::Action;
use crate::source::watcher::{Closed, Consumer, Cursor, Regressed, Told};

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
        /// When its first page was asked for, by our clock.
        at: Timestamp,
        /// The server's time of its first page.
        server_time: Timestamp,
        /// How many objects.
        objects: u64,
    },
    /// The watch is open: what comes next is what happens.
    Live,
    /// Whether what follows happened before the watch was opened; `false` after a list.
    Behind(bool),
    /// Nothing new will be seen until `Live`; the words are for people.
    Blind {
        /// What failed.
        why: String,
        /// The API server does not allow it.
        forbidden: bool,
    },
    /// Everything up to a resourceVersion was seen by then.
    Proven {
        /// resourceVersion.
        version: String,
        /// By our clock.
        at: Timestamp,
        /// The watch ends with it.
        is_last: bool,
    },
    /// The API server has another history.
    Regressed(Regressed),
    /// The database is a new one: nothing of what was committed is there.
    Reset,
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
        self.metrics.event_errors.of(Stage::Decode).inc();
        if let Some(suppressed) = self.throttle.pass(self.clock.elapsed()) {
            warn!(
                kind = metrics::Label::name(self.kind),
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

    fn has_room(&self) -> bool {
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
