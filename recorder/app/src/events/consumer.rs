//! The consumer of the watcher of Events.
//!
//! ```text
//!   watcher ─▶ EventConsumer ─▶ EventIngest ─▶ queue
//! ```
//!
//! Invariant: an item is in the queue when [`Consumer::handle`] or [`Consumer::on_watch_event`] returns. A push never waits,
//! so the watcher waits for [`Consumer::ready`] before it emits.

use std::convert::Infallible;
use std::time::Duration;

use kube9_ingest::item::Item;
use kube9_k8s::known_objects::KnownObjects;
use kube9_k8s::pages::{Action, ListPage};
use kube9_k8s::watcher::{Consumer, Cursor, List, ReceiverDropped, WatcherEvent};
use kube9_model::identity::ResourceVersion;
use kube9_model::resume::ResumePoint;
use kube9_model::time::Timestamp;
use kube9_model::watch::{SourceMarker, WatchId};
use serde_json::value::RawValue;

use super::ingest::EventIngest;

/// Passes Events from their watcher to the queue.
pub struct EventConsumer {
    watch: WatchId,
    ingest: EventIngest,
    page_size: u32,
    event_ttl: Duration,
    /// Number of the last list that started.
    list_generation: i64,
    /// The position of the watch.
    position: Option<ResourceVersion>,
    /// The current list.
    list: Listing,
}

#[derive(Default)]
struct Listing {
    listed: u64,
    /// Oldest last occurrence among the listed Events that the position already covered. They prove how far back Events
    /// have not expired.
    oldest_change: Option<Timestamp>,
}

impl EventConsumer {
    /// Passes the Events of `watch` to `ingest`, resuming from `start`.
    pub fn new(
        watch: WatchId,
        ingest: EventIngest,
        start: &ResumePoint,
        page_size: u32,
        event_ttl: Duration,
    ) -> Self {
        Self {
            watch,
            ingest,
            page_size,
            event_ttl,
            list_generation: start.list_generation,
            position: start.position.as_deref().map(ResourceVersion::new),
            list: Listing::default(),
        }
    }

    fn marker(&self, marker: SourceMarker) {
        self.ingest.push(Item::Marker {
            watch: self.watch,
            marker,
        });
    }

    /// Puts the items of a page into the queue, oldest version first.
    async fn page(&mut self, page: &ListPage) {
        self.list.listed += page.items.len() as u64;
        for item in &page.items {
            self.ingest.queue.ready().await;
            let change = self.ingest.on_list_item(self.watch, item);
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

impl Consumer for EventConsumer {
    type ListItem = Box<RawValue>;
    type WatchItem = Infallible;

    const RENEWS_IDLE_POSITION: bool = true;
    // They expire, and a kind whose lists hang must not delay them.
    const LISTS_FIRST: bool = true;
    const OPTIONAL: bool = false;

    fn page_size(&self) -> u32 {
        self.page_size
    }

    async fn ready(&self) {
        self.ingest.queue.ready().await;
    }

    fn is_ready(&self) -> bool {
        self.ingest.queue.is_ready()
    }

    fn read_list_item(&self, json: &RawValue) -> Self::ListItem {
        json.to_owned()
    }

    fn on_watch_event(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<Self::WatchItem> {
        self.ingest
            .on_watch_event(self.watch, action, object, cursor);
        self.position = Some(cursor.position().clone());
        None
    }

    fn known_objects(&self) -> Option<&KnownObjects> {
        None
    }

    fn on_undecodable(&mut self, cause: &str) {
        self.ingest.on_undecodable(self.watch, cause);
    }

    async fn handle(
        &mut self,
        event: WatcherEvent<'_, Self::ListItem, Self::WatchItem>,
    ) -> Result<(), ReceiverDropped> {
        match event {
            WatcherEvent::Init(cause) => {
                self.list_generation += 1;
                self.list = Listing::default();
                self.marker(SourceMarker::Init {
                    list_generation: self.list_generation,
                    cause,
                    at: self.ingest.now(),
                });
            }
            WatcherEvent::Page(page) => self.page(&page).await,
            WatcherEvent::InitDone(list) => self.init_done(list),
            WatcherEvent::Bookmark { version, at, .. } => {
                self.position = Some(ResourceVersion::new(version));
                self.marker(SourceMarker::Confirmed {
                    version: version.to_owned(),
                    at,
                });
            }
            WatcherEvent::Regressed(regressed) => {
                self.position = None;
                self.marker(SourceMarker::Regressed {
                    version: regressed.found,
                    at: regressed.at,
                    is_first: regressed.is_first,
                });
            }
            WatcherEvent::Connected
            | WatcherEvent::Disconnected { .. }
            | WatcherEvent::StoreReplaced => {}
            WatcherEvent::Item { item: never, .. } => match never {},
        }
        Ok(())
    }
}
