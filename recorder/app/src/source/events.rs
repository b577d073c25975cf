//! Events, from their watcher to the queue.
//!
//! ```text
//!   watcher ─▶ EventsConsumer ─▶ intake ─▶ queue
//! ```
//!
//! Invariant: what is told is in the queue when [`Consumer::take`] or [`Consumer::item`] returns; the queue never waits,
//! so the watcher waits for room before it tells.

use std::convert::Infallible;
use std::time::Duration;

use kube9_ingest::item::Item;
use kube9_k8s::held::Held;
use kube9_k8s::pages::{Action, ListPage};
use kube9_k8s::watcher::{Closed, Consumer, Cursor, List, Told};
use kube9_model::identity::ResourceVersion;
use kube9_model::resume::ResumePoint;
use kube9_model::time::Timestamp;
use kube9_model::watch::{SourceMarker, WatchId};
use serde_json::value::RawValue;

use super::intake::Intake;

/// Takes what the watcher of Events sees.
pub struct EventsConsumer {
    watch: WatchId,
    intake: Intake,
    page_size: u32,
    event_ttl: Duration,
    /// Number of the last list begun.
    list_generation: i64,
    /// What the watch has reached.
    position: Option<ResourceVersion>,
    /// The list under way.
    list: Listing,
}

#[derive(Default)]
struct Listing {
    listed: u64,
    /// Oldest last change among the Events that the position covered before: what is still there of them has not expired
    /// meanwhile.
    oldest_change: Option<Timestamp>,
}

impl EventsConsumer {
    /// Puts the Events of `watch` through `intake`, going on from `start`.
    pub fn new(
        watch: WatchId,
        intake: Intake,
        start: &ResumePoint,
        page_size: u32,
        event_ttl: Duration,
    ) -> Self {
        Self {
            watch,
            intake,
            page_size,
            event_ttl,
            list_generation: start.list_generation,
            position: start.position.as_deref().map(ResourceVersion::new),
            list: Listing::default(),
        }
    }

    fn marker(&self, marker: SourceMarker) {
        self.intake.push(Item::Marker {
            watch: self.watch,
            marker,
        });
    }

    /// Puts a page's items into the queue, oldest version first.
    async fn page(&mut self, page: &ListPage) {
        self.list.listed += page.items.len() as u64;
        for item in &page.items {
            self.intake.queue.ready().await;
            let change = self.intake.listed(self.watch, item);
            let is_old = self.position.as_ref().is_some_and(|covered| {
                let version = ResourceVersion::new(&item.version);
                version == *covered || version.is_older_than(covered)
            });
            if let Some(change) = change.filter(|_| is_old) {
                let oldest = &mut self.list.oldest_change;
                *oldest = Some(oldest.map_or(change, |oldest| oldest.min(change)));
            }
        }
    }

    fn init_done(&mut self, list: List) {
        let Listing {
            listed,
            oldest_change,
        } = std::mem::take(&mut self.list);
        self.position = Some(ResourceVersion::new(&list.version));
        self.marker(SourceMarker::InitDone {
            list_generation: self.list_generation,
            at: list.asked,
            version: list.version,
            server_time: list.server_time,
            listed,
            oldest_change,
            event_ttl: self.event_ttl,
        });
    }
}

impl Consumer for EventsConsumer {
    type Item = Box<RawValue>;
    type News = Infallible;

    const RENEWS: bool = true;
    const STARTS_WITH_A_LIST: bool = false;
    const OPTIONAL: bool = false;

    fn page_size(&self) -> u32 {
        self.page_size
    }

    async fn room(&self) {
        self.intake.queue.ready().await;
    }

    fn is_ready(&self) -> bool {
        self.intake.queue.is_ready()
    }

    fn read(&self, json: &RawValue) -> Self::Item {
        json.to_owned()
    }

    fn item(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<Self::News> {
        self.intake.watched(self.watch, action, object, cursor);
        self.position = Some(cursor.position().clone());
        None
    }

    fn held(&self) -> Option<&Held> {
        None
    }

    fn undecodable(&mut self, cause: &str) {
        self.intake.undecodable(self.watch, cause);
    }

    async fn take(&mut self, told: Told<'_, Self::Item, Self::News>) -> Result<(), Closed> {
        match told {
            Told::Init(cause) => {
                self.list_generation += 1;
                self.list = Listing::default();
                self.marker(SourceMarker::Init {
                    list_generation: self.list_generation,
                    cause,
                    at: self.intake.now(),
                });
            }
            Told::Page(page) => self.page(&page).await,
            Told::InitDone(list) => self.init_done(list),
            Told::Proven { version, at, .. } => {
                self.position = Some(ResourceVersion::new(version));
                self.marker(SourceMarker::Confirmed {
                    version: version.to_owned(),
                    at,
                });
            }
            Told::Regressed(regressed) => {
                self.position = None;
                self.marker(SourceMarker::Regressed {
                    version: regressed.found,
                    at: regressed.at,
                    is_first: regressed.is_first,
                });
            }
            Told::Connected | Told::Disconnected { .. } | Told::Reset => {}
            Told::News { news: never, .. } => match never {},
        }
        Ok(())
    }
}
