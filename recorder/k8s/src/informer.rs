//! Passes the objects of one kind from their watcher to the analysis.
//!
//! ```text
//!   watcher ─▶ Informer ─ InformerEvent ─▶ analysis
//! ```
//!
//! Each start lists, because the analysis needs every object. The list is of the stored position, so that the watch then
//! delivers everything that happened since, even to an object that was created and deleted while the recorder was stopped.
//! The API server keeps that history for some minutes; after that, only the difference to the stored objects is known.
//!
//! On request (`RelistCause::Resumed`), the informer lists the position that its watch has reached: the analysis receives
//! every object again, and nothing is missed.
//!
//! A slow analysis slows down the watch, and loses nothing.

use std::sync::Arc;

use kube9_base::clock::Clock;
use kube9_base::throttle::Throttle;
use kube9_ingest::body::BadObject;
use kube9_ingest::decode::{Identity, decode_identity};
use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{Item, TrackedEvent};
use kube9_ingest::objects::{Fit, Object};
use kube9_ingest::sanitize::Clean;
use kube9_ingest::tracker::{Reading, Tracker};
use kube9_model::label::{Kind, Label};
use kube9_model::watch::{Origin, RelistCause, WatchId};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tracing::warn;

use super::known_objects::KnownObjects;
use crate::metrics::{self, Metrics};
use crate::pages::Action;
use crate::walk::Walker;
use crate::watcher::{Consumer, Cursor, ReceiverDropped, WatcherEvent};

/// Objects per page. A whole page is in memory while it is decoded: 20 ConfigMaps of 100 KiB are 2 MiB, 50 large Pods
/// (20 KiB) are 1 MiB. Its decoded objects wait for the analysis: 50 objects of `OBJECT_BYTES_MAX` are 1.6 MiB.
const fn page_size(kind: Kind) -> u32 {
    match kind {
        Kind::ConfigMap => 20,
        Kind::Event | Kind::Pod | Kind::Node | Kind::Deployment | Kind::Service | Kind::Tracked => {
            50
        }
    }
}

/// The consumer of the watcher of one kind.
pub struct Informer {
    /// The watch.
    pub watch: WatchId,
    /// The watched kind.
    pub kind: Kind,
    /// Channel to the analysis.
    pub out: mpsc::Sender<InformerMessage>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// Limits the log messages about objects that do not decode.
    pub throttle: Arc<Throttle>,
    /// The list that was requested, until its first page arrives.
    pub pending_list: Option<RelistCause>,
    /// Objects of the current list.
    pub listed: u64,
    /// The last `InformerEvent::Behind` that was sent.
    pub is_behind: bool,
    /// The objects that exist.
    pub known: KnownObjects,
    /// Reads the objects for the change history too.
    pub tracker: Option<Tracker>,
    pub walker: Walker,
}

/// An object that was read, for the analysis and for the change history.
pub struct ReadObject {
    event: InformerEvent,
    tracked: Option<Reading>,
}

impl Informer {
    async fn emit(&self, event: InformerEvent) -> Result<(), ReceiverDropped> {
        self.emit_both(event, None).await
    }

    /// Reads an object for the change history.
    fn track<'t>(
        &'t self,
        read: impl FnOnce(&'t Tracker) -> Result<Reading, BadObject>,
    ) -> Option<Reading> {
        let read = read(self.tracker.as_ref()?);
        read.inspect_err(|error| self.skip(&error.to_string())).ok()
    }

    /// An object exists, even if the change history cannot read it.
    async fn emit_undecodable(&self, listed: &ReadObject) -> Result<(), ReceiverDropped> {
        if listed.tracked.is_some() || self.tracker.is_none() {
            return Ok(());
        }
        let (namespace, name) = match &listed.event {
            InformerEvent::Apply(object) => {
                let meta = object.meta();
                (&*meta.namespace, &*meta.name)
            }
            InformerEvent::Undecodable { namespace, name } => (&**namespace, &**name),
            _ => return Ok(()),
        };
        let event = TrackedEvent::Undecodable {
            namespace: Clean::name(namespace),
            name: Clean::name(name),
            at: self.clock.now(),
        };
        self.emit_both(InformerEvent::Unreadable, Some(event)).await
    }

    /// Passes the states of a listed object that were missed to the change history.
    async fn emit_missed(&mut self, listed: &mut ReadObject) -> Result<(), ReceiverDropped> {
        let (Some(tracker), Some(reading)) = (&self.tracker, &mut listed.tracked) else {
            return Ok(());
        };
        let Some(missed) = tracker.missed(reading) else {
            return Ok(());
        };
        let now = self.clock.now();
        let read = |json: &RawValue| tracker.applied(json.get(), Origin::List, now);
        let (namespace, name) = (&missed.namespace, &missed.name);
        let walk = self
            .walker
            .walk(namespace, name, missed.between, read)
            .await;
        let states = tracker.in_order(walk.states, walk.is_complete, reading);
        for state in states {
            self.emit_object(ReadObject {
                event: InformerEvent::Unreadable,
                tracked: Some(state),
            })
            .await?;
        }
        Ok(())
    }

    fn emit_object(
        &mut self,
        read: ReadObject,
    ) -> impl Future<Output = Result<(), ReceiverDropped>> {
        let tracked = match (&mut self.tracker, read.tracked) {
            (Some(tracker), Some(reading)) => Some(tracker.emit(reading)),
            _ => None,
        };
        self.emit_both(read.event, tracked)
    }

    async fn emit_both(
        &self,
        event: InformerEvent,
        tracked: Option<TrackedEvent>,
    ) -> Result<(), ReceiverDropped> {
        let watch = self.watch;
        let item = |(tracker, event): (&Tracker, TrackedEvent)| {
            Box::new(Item::Tracked {
                watch,
                kind: tracker.kind().clone(),
                event,
            })
        };
        let message = InformerMessage {
            watch,
            event,
            tracked: self.tracker.as_ref().zip(tracked).map(item),
        };
        self.out.send(message).await.map_err(|_| ReceiverDropped)
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
                self.skip(&cause);
                None
            }
        }
    }

    /// Counts and logs an object that does not decode; the watch continues.
    fn skip(&self, cause: &str) {
        self.metrics.decode_errors.inc();
        if let Some(suppressed) = self.throttle.pass(self.clock.monotonic()) {
            warn!(
                kind = Label::name(self.kind),
                cause, suppressed, "object skipped"
            );
        }
    }
}

impl Consumer for Informer {
    // Decoded immediately, so that page and line are not kept while the informer waits for the analysis.
    type ListItem = ReadObject;
    type WatchItem = ReadObject;

    const RENEWS_IDLE_POSITION: bool = false;
    const OPTIONAL: bool = true;

    fn lists_on_start(&self) -> bool {
        true
    }

    fn page_size(&self) -> u32 {
        page_size(self.kind)
    }

    async fn ready(&self) {}

    fn is_ready(&self) -> bool {
        true
    }

    fn read_list_item(&self, json: &RawValue) -> ReadObject {
        ReadObject {
            event: match self.decode(json.get()) {
                Some(object) => InformerEvent::Apply(object),
                None => undecodable(json.get()),
            },
            tracked: self
                .track(|tracker| tracker.applied(json.get(), Origin::List, self.clock.now())),
        }
    }

    fn on_watch_event(
        &mut self,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) -> Option<ReadObject> {
        self.metrics.received(self.kind, action.into());
        let decoded = self.decode(object.get());
        let version = match &decoded {
            Some(object) => object.meta().version.to_string(),
            None => {
                self.known.invalidate();
                decode_identity(object.get().as_bytes())?.version
            }
        };
        let (origin, received) = match cursor.advance_to(&version) {
            Some(received) => (Origin::Live, received),
            None => (Origin::Watch, self.clock.now()),
        };
        let tracked = self.track(|tracker| match action {
            Action::Added | Action::Modified => tracker.applied(object.get(), origin, received),
            Action::Deleted => tracker.deleted(object.get(), origin, received),
        });
        if tracked.is_none()
            && let Some(tracker) = &mut self.tracker
        {
            let identity = decode_identity(object.get().as_bytes()).unwrap_or_default();
            tracker.on_unreadable(Some(&*identity.uid));
        }
        let Some(object) = decoded else {
            let event = match tracked {
                Some(_) => InformerEvent::Unreadable,
                None => undecodable(object.get()),
            };
            return self
                .tracker
                .is_some()
                .then_some(ReadObject { event, tracked });
        };
        let meta = object.meta();
        let event = match action {
            Action::Added | Action::Modified => {
                self.known.insert(&meta.uid, &meta.version);
                InformerEvent::Apply(object)
            }
            Action::Deleted => {
                self.known.remove(&meta.uid);
                InformerEvent::Delete(object)
            }
        };
        Some(ReadObject { event, tracked })
    }

    fn known_objects(&self) -> Option<&KnownObjects> {
        Some(&self.known)
    }

    fn on_undecodable(&mut self, cause: &str) {
        self.metrics
            .received(self.kind, metrics::Action::Undecodable);
        self.known.invalidate();
        if let Some(tracker) = &mut self.tracker {
            tracker.on_unreadable(None);
        }
        self.skip(cause);
    }

    async fn handle(
        &mut self,
        event: WatcherEvent<'_, ReadObject, ReadObject>,
    ) -> Result<(), ReceiverDropped> {
        match event {
            // Sent with the first page: until it arrives, the last list is still valid.
            WatcherEvent::Init(cause) => self.pending_list = Some(cause),
            WatcherEvent::Page(page) => {
                if let Some(cause) = self.pending_list.take() {
                    (self.listed, self.is_behind) = (0, false);
                    self.known.reset();
                    let cause = match cause {
                        // The record is empty, as at the first start.
                        RelistCause::Replaced => RelistCause::FirstStart,
                        cause => cause,
                    };
                    let at = self.clock.now();
                    self.walker.list_begins();
                    let tracked = self.tracker.as_mut().map(|t| t.list_begins(cause, at));
                    self.emit_both(InformerEvent::Init { cause }, tracked)
                        .await?;
                }
                for mut item in page.items {
                    self.listed += 1;
                    match &item.json.event {
                        InformerEvent::Apply(object) => {
                            let meta = object.meta();
                            self.known.insert(&meta.uid, &meta.version);
                        }
                        _ => self.known.invalidate(),
                    }
                    self.metrics.received(self.kind, metrics::Action::Listed);
                    self.emit_undecodable(&item.json).await?;
                    self.emit_missed(&mut item.json).await?;
                    self.emit_object(item.json).await?;
                }
            }
            WatcherEvent::InitDone(list) => {
                let tracked = self.tracker.as_mut().map(|t| t.list_ends(&list.version));
                let event = InformerEvent::InitDone {
                    version: list.version,
                    at: list.asked,
                    server_time: list.server_time,
                    objects: self.listed,
                };
                self.emit_both(event, tracked).await?;
            }
            WatcherEvent::Connected => self.emit(InformerEvent::Connected).await?,
            WatcherEvent::Item { item, is_behind } => {
                if self.is_behind != is_behind {
                    self.is_behind = is_behind;
                    self.emit(InformerEvent::Behind(is_behind)).await?;
                }
                self.emit_undecodable(&item).await?;
                if !matches!(item.event, InformerEvent::Undecodable { .. }) {
                    self.emit_object(item).await?;
                }
            }
            WatcherEvent::Bookmark {
                version,
                at,
                is_last,
            } => {
                let version = version.to_owned();
                self.emit(InformerEvent::Bookmark {
                    version,
                    at,
                    is_last,
                })
                .await?;
            }
            WatcherEvent::Disconnected { error, forbidden } => {
                let message = error.to_string();
                self.emit(InformerEvent::Disconnected { message, forbidden })
                    .await?;
            }
            WatcherEvent::Regressed(regressed) => {
                self.emit(InformerEvent::Regressed(regressed)).await?
            }
            WatcherEvent::StoreReplaced => self.emit(InformerEvent::StoreReplaced).await?,
        }
        Ok(())
    }
}

/// An object of a list that does not decode still exists.
fn undecodable(json: &str) -> InformerEvent {
    let Identity {
        namespace, name, ..
    } = decode_identity(json.as_bytes()).unwrap_or_default();
    InformerEvent::Undecodable { namespace, name }
}
