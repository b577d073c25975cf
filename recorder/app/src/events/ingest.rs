//! The ingest pipeline: decode → filter → normalize → sanitize → queue.

use std::sync::Arc;

use kube9_base::clock::Clock;
use kube9_base::throttle::Throttle;
use kube9_ingest::decode::{Identity, decode_event, decode_identity};
use kube9_ingest::filter::{Decision, Filter, SeverityOverrides, Subject};
use kube9_ingest::item::Item;
use kube9_ingest::normalize::normalize;
use kube9_ingest::owners::Owners;
use kube9_ingest::sanitize::sanitize;
use kube9_k8s::metrics::Action as Arrival;
use kube9_k8s::pages::{Action, RawItem};
use kube9_k8s::watcher::Cursor;
use kube9_model::label::{Kind, Stage};
use kube9_model::record::{Occurred, TIME_SUSPECT};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, UnstoredReason, WatchId};
use kube9_store::queue::Queue;
use kube9_store::queue::push;
use serde_json::value::RawValue;
use tracing::warn;

use crate::metrics::Metrics;

/// The pipeline that every Event passes through.
#[derive(Clone)]
pub struct EventIngest {
    /// The queue to the writer.
    pub queue: Arc<Queue>,
    /// Selects the Events that are recorded.
    pub filter: Arc<Filter>,
    /// Severities from the configuration.
    pub overrides: Arc<SeverityOverrides>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    /// The owners of the pods that Events are about.
    pub owners: Owners,
    /// Limits the log messages about Events that cannot be recorded.
    pub throttle: Arc<Throttle>,
}

/// Where an item came from.
enum Source<'a> {
    List,
    Watch(&'a mut Cursor),
}

impl Source<'_> {
    /// Advances the cursor to `version`; returns how and when the item was received.
    fn receive(self, version: &str, now: Timestamp) -> (Origin, Timestamp) {
        match self {
            Self::List => (Origin::List, now),
            Self::Watch(cursor) => match cursor.advance_to(version) {
                Some(received) => (Origin::Live, received),
                None => (Origin::Watch, now),
            },
        }
    }
}

impl EventIngest {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Ingests an item of a list page. Returns its last occurrence if it makes a row and its time is plausible.
    pub fn on_list_item(&self, watch: WatchId, item: &RawItem) -> Option<Timestamp> {
        self.metrics.received(Kind::Event, Arrival::Listed);
        self.ingest(watch, Source::List, &item.json)
    }

    /// Ingests an item of a watch, and advances `cursor` to it.
    pub fn on_watch_event(
        &self,
        watch: WatchId,
        action: Action,
        object: &RawValue,
        cursor: &mut Cursor,
    ) {
        self.metrics.received(Kind::Event, action.into());
        let source = Source::Watch(cursor);
        match action {
            Action::Added | Action::Modified => {
                self.ingest(watch, source, object);
            }
            Action::Deleted => {
                let identity = decode_identity(object.get().as_bytes()).unwrap_or_default();
                self.skip(watch, source, identity, UnstoredReason::Deleted);
            }
        }
    }

    /// Records a line that is not an item.
    pub fn on_undecodable(&self, watch: WatchId, cause: &str) {
        self.metrics.received(Kind::Event, Arrival::Undecodable);
        let (origin, received) = (Origin::Watch, self.now());
        let identity = Identity::default();
        self.reject(
            watch,
            (origin, received),
            identity,
            Stage::Decode,
            cause.to_owned(),
        );
    }

    fn ingest(&self, watch: WatchId, source: Source<'_>, json: &RawValue) -> Option<Timestamp> {
        let now = self.now();
        let bytes = json.get().as_bytes();
        let reject = |source: Source<'_>, stage, cause| {
            let identity = decode_identity(bytes).unwrap_or_default();
            let received = source.receive(&identity.version, now);
            self.reject(watch, received, identity, stage, cause);
            None
        };
        let event = match decode_event(bytes) {
            Ok(event) => event,
            Err(error) => return reject(source, Stage::Decode, error.to_string()),
        };
        if let Decision::Exclude { rule } = self.filter.decide(Subject::from(&event)) {
            let index = self
                .filter
                .excluding_rules()
                .position(|name| name == rule)
                .unwrap_or_default();
            let identity = Identity {
                uid: event.metadata.uid.unwrap_or_default(),
                version: event.metadata.resource_version.unwrap_or_default(),
                ..Identity::default()
            };
            self.skip(watch, source, identity, UnstoredReason::Filtered(index));
            return None;
        }
        let version = event.metadata.resource_version.clone().unwrap_or_default();
        let mut normalized = match normalize(event, now, &self.overrides) {
            Ok(normalized) => normalized,
            Err(error) => return reject(source, Stage::Normalize, error.to_string()),
        };
        if normalized.unknown_reason {
            self.metrics.unknown_reason.inc();
        }
        let is_suspect = normalized.record.extra.contains_key(TIME_SUSPECT);
        let object = normalized.record.object.as_ref();
        normalized.record.owner = object.and_then(|object| self.owners.of(object));
        let last = match &normalized.record.occurred {
            Occurred::Observed(seen) if !is_suspect => Some(seen.last),
            _ => None, // an implausible time proves nothing
        };
        let row = Box::new(sanitize(normalized.record));
        let (origin, received) = source.receive(&version, now);
        self.push(Item::Event {
            watch,
            origin,
            received,
            row,
        });
        last
    }

    fn reject(
        &self,
        watch: WatchId,
        (origin, received): (Origin, Timestamp),
        identity: Identity,
        stage: Stage,
        cause: String,
    ) {
        let Identity { uid, version, .. } = identity;
        // Each one is counted; a limited number of them get a row.
        if let Some(suppressed) = self.throttle.pass(self.clock.monotonic()) {
            warn!(uid, version, cause, suppressed, "Event skipped");
        }
        self.metrics.store.event_errors.get(stage).inc();
        self.push(Item::Unstored {
            watch,
            origin,
            received,
            uid,
            version,
            why: UnstoredReason::Skipped(stage, cause),
        });
    }

    fn skip(&self, watch: WatchId, source: Source<'_>, identity: Identity, why: UnstoredReason) {
        let Identity { uid, version, .. } = identity;
        let (origin, received) = source.receive(&version, self.now());
        self.push(Item::Unstored {
            watch,
            origin,
            received,
            uid,
            version,
            why,
        });
    }

    /// Puts an item into the queue, and counts the items that are dropped for it.
    pub fn push(&self, item: Item) {
        push(&self.queue, &self.metrics.store, item, self.now());
    }
}
