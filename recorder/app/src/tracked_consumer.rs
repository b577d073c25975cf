//! The consumer of the watcher of a kind that only the change history reads.
//!
//! ```text
//!   watcher ─▶ TrackedConsumer ─ Tracker (ingest) ─▶ queue
//! ```
//!
//! It resumes by watching from its position, without a list: the bodies to compare with are in the database. Only if they
//! have another form, the position is listed first.
//!
//! Invariant: an item is in the queue when [`Consumer::handle`] or [`Consumer::on_watch_event`] returns. A push never waits,
//! so the watcher waits for [`Consumer::ready`] before it emits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use kube9_base::backoff::jittered;
use kube9_base::clock::Clock;
use kube9_base::throttle::Throttle;
use kube9_ingest::body::BadObject;
use kube9_ingest::decode::{Identity, decode_identity};
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::sanitize::Clean;
use kube9_ingest::tracker::{NewestObject, Reading, Tracker};
use kube9_k8s::known_objects::KnownObjects;
use kube9_k8s::metrics;
use kube9_k8s::pages::Action;
use kube9_k8s::walk::Walker;
use kube9_k8s::watcher::{Consumer, Cursor, ReceiverDropped, WatcherEvent};
use kube9_model::label::Kind;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_store::queue::{Queue, push};
use serde_json::value::RawValue;
use tracing::warn;

use crate::metrics::Metrics;

/// How often a kind that is not served, or denied, is asked for.
pub(crate) const RETRY_ABSENT_AFTER: Duration = Duration::from_secs(600);

/// How often a resource of the configuration that is not served is looked for: custom resources come with their
/// definitions, also later.
pub(crate) const FIND_CONFIGURED_EVERY: Duration = Duration::from_secs(60);

/// Passes the objects of one kind from their watcher to the queue.
pub(crate) struct TrackedConsumer {
    pub watch: WatchId,
    /// The configuration names its resource.
    pub is_configured: bool,
    pub tracker: Tracker,
    pub walker: Walker,
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Limits the log messages about objects that do not decode.
    pub throttle: Arc<Throttle>,
    /// The list that was requested, until its first page arrives: a kind that is not served has no gap.
    pub pending_list: Option<RelistCause>,
    /// Objects of the current list.
    pub listed: u64,
}

impl TrackedConsumer {
    fn push(&self, event: TrackedEvent) {
        let item = Item::Tracked {
            watch: self.watch,
            kind: self.tracker.kind().clone(),
            event,
        };
        push(&self.queue, &self.metrics.store, item, self.clock.now());
    }

    fn marker(&self, marker: SourceMarker) {
        let item = Item::Marker {
            watch: self.watch,
            marker,
        };
        push(&self.queue, &self.metrics.store, item, self.clock.now());
    }

    fn skip(&self, cause: &str) {
        self.metrics.k8s.decode_errors.inc();
        if let Some(suppressed) = self.throttle.pass(self.clock.monotonic()) {
            let kind = &*self.tracker.kind().kind;
            warn!(kind, cause, suppressed, "object skipped");
        }
    }

    fn list_begins(&mut self, cause: RelistCause) {
        self.listed = 0;
        self.walker.list_begins();
        let at = self.clock.now();
        let begins = self.tracker.list_begins(cause, at);
        // First, because the marker changes when the watch was last confirmed.
        self.push(begins);
        self.marker(SourceMarker::Init {
            list_generation: 0, // numbers tell Events of `dedup` apart; objects have no entries there
            cause,
            at,
        });
    }

    /// Passes on a listed object, after the states of it that were missed.
    async fn emit_listed(&mut self, mut reading: Reading) {
        if let Some(missed) = self.tracker.missed(&reading) {
            let (tracker, now) = (&self.tracker, self.clock.now());
            let read = |json: &RawValue| tracker.applied(json.get(), Origin::List, now);
            let (namespace, name) = (&missed.namespace, &missed.name);
            let walk = self
                .walker
                .walk(namespace, name, missed.between, read)
                .await;
            let states = tracker.in_order(walk.states, walk.is_complete, &mut reading);
            for state in states {
                self.queue.ready().await;
                let event = self.tracker.emit(state);
                self.push(event);
            }
        }
        let event = self.tracker.emit(reading);
        self.push(event);
    }

    fn emit(&mut self, read: Result<Reading, BadObject>) -> Result<(), BadObject> {
        let event = self.tracker.emit(read?);
        self.push(event);
        Ok(())
    }
}

/// An object of a list, and where it is if it does not decode.
type ListedObject = Result<Reading, (BadObject, Identity)>;

impl Consumer for TrackedConsumer {
    type ListItem = ListedObject;
    type WatchItem = Infallible;

    // Bookmarks confirm the position of an idle watch.
    const RENEWS_IDLE_POSITION: bool = false;
    const OPTIONAL: bool = true;

    /// The stored bodies are brought into the form of today as of the position, so that no change is compared with them.
    fn lists_on_start(&self) -> bool {
        self.tracker.has_other_form()
    }

    fn retry_absent_after(&self, is_denied: bool) -> Option<Duration> {
        Some(jittered(if self.is_configured && !is_denied {
            FIND_CONFIGURED_EVERY
        } else {
            RETRY_ABSENT_AFTER
        }))
    }

    /// A whole page is in memory while it is decoded.
    fn page_size(&self) -> u32 {
        match &*self.tracker.kind().kind {
            "CustomResourceDefinition" => 5,
            "ConfigMap" => 20,
            _ => 50,
        }
    }

    async fn ready(&self) {
        self.queue.ready().await;
    }

    fn is_ready(&self) -> bool {
        self.queue.is_ready()
    }

    fn read_list_item(&self, json: &RawValue) -> ListedObject {
        let read = self
            .tracker
            .applied(json.get(), Origin::List, self.clock.now());
        read.map_err(|error| {
            let identity = decode_identity(json.get().as_bytes());
            (error, identity.unwrap_or_default())
        })
    }

    fn on_watch_event(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<Infallible> {
        self.metrics.k8s.received(Kind::Tracked, action.into());
        let json = object.get();
        let now = self.clock.now();
        let read = match action {
            Action::Added | Action::Modified => self.tracker.applied(json, Origin::Watch, now),
            Action::Deleted => self.tracker.deleted(json, Origin::Watch, now),
        };
        let mut unreadable = None;
        let version = match &read {
            Ok(reading) => reading.version(),
            Err(_) => {
                let identity = decode_identity(json.as_bytes()).unwrap_or_default();
                self.tracker.on_unreadable(Some(&*identity.uid));
                unreadable = (!identity.name.is_empty()).then(|| TrackedEvent::Undecodable {
                    namespace: Clean::name(&identity.namespace),
                    name: Clean::name(&identity.name),
                    at: now,
                });
                identity.version
            }
        };
        let live = cursor.advance_to(&version);
        let read = read.map(|reading| match live {
            Some(received) => reading.live(received),
            None => reading,
        });
        if let Err(error) = self.emit(read) {
            // The writer counts it.
            match unreadable {
                Some(event) => self.push(event),
                None => self.metrics.store.state_skipped(),
            }
            self.skip(&error.to_string());
        }
        None
    }

    fn known_objects(&self) -> Option<&KnownObjects> {
        None
    }

    fn newest_object(&self) -> Option<&NewestObject> {
        self.tracker.newest()
    }

    fn on_undecodable(&mut self, cause: &str) {
        self.metrics
            .k8s
            .received(Kind::Tracked, metrics::Action::Undecodable);
        self.metrics.store.state_skipped();
        self.tracker.on_unreadable(None);
        self.skip(cause);
    }

    async fn handle(
        &mut self,
        event: WatcherEvent<'_, ListedObject, Infallible>,
    ) -> Result<(), ReceiverDropped> {
        match event {
            WatcherEvent::Init(cause) => self.pending_list = Some(cause),
            WatcherEvent::Page(page) => {
                if let Some(cause) = self.pending_list.take() {
                    self.list_begins(cause);
                }
                for item in page.items {
                    self.queue.ready().await;
                    self.listed += 1;
                    self.metrics
                        .k8s
                        .received(Kind::Tracked, metrics::Action::Listed);
                    match item.json {
                        Ok(reading) => self.emit_listed(reading).await,
                        Err((error, identity)) => {
                            self.skip(&error.to_string());
                            self.push(TrackedEvent::Undecodable {
                                namespace: Clean::name(&identity.namespace),
                                name: Clean::name(&identity.name),
                                at: self.clock.now(),
                            });
                        }
                    }
                }
            }
            WatcherEvent::InitDone(list) => {
                let ends = self.tracker.list_ends(&list.version);
                self.push(ends);
                self.marker(SourceMarker::Synced {
                    version: list.version,
                    at: list.asked,
                    server_time: list.server_time,
                    listed: self.listed,
                    vanished: 0, // the writer knows
                });
            }
            WatcherEvent::Bookmark { version, at, .. } => {
                self.marker(SourceMarker::Confirmed {
                    version: version.to_owned(),
                    at,
                });
            }
            WatcherEvent::Regressed(regressed) => {
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
