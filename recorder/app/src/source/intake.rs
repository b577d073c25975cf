//! From a raw item to the queue: decode → filter → normalize → sanitize → push.

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

/// What every Events source puts its items through.
#[derive(Clone)]
pub struct Intake {
    /// Where they go.
    pub queue: Arc<Queue>,
    /// Which are recorded.
    pub filter: Arc<Filter>,
    /// How bad the operator says they are.
    pub overrides: Arc<SeverityOverrides>,
    /// Counts them.
    pub metrics: Arc<Metrics>,
    /// When they came.
    pub clock: Clock,
    /// Who owns the pods that they are about.
    pub owners: Owners,
    /// Of the lines about Events that cannot be recorded.
    pub throttle: Arc<Throttle>,
}

/// Where an item was seen.
enum Seen<'a> {
    List,
    Watch(&'a mut Cursor),
}

impl Seen<'_> {
    /// It has this version: how it was seen, and when.
    fn at(self, version: &str, now: Timestamp) -> (Origin, Timestamp) {
        match self {
            Self::List => (Origin::List, now),
            Self::Watch(cursor) => match cursor.reach(version) {
                Some(received) => (Origin::Live, received),
                None => (Origin::Watch, now),
            },
        }
    }
}

impl Intake {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes an item of a list page; returns its last occurrence, where it makes a row and the time can be true.
    pub fn listed(&self, watch: WatchId, item: &RawItem) -> Option<Timestamp> {
        self.metrics.received(Kind::Event, Arrival::Listed);
        self.take(watch, Seen::List, &item.json)
    }

    /// Takes an item of a watch, and moves `cursor` to it.
    pub fn watched(&self, watch: WatchId, action: Action, object: &RawValue, cursor: &mut Cursor) {
        self.metrics.received(Kind::Event, action.into());
        let seen = Seen::Watch(cursor);
        match action {
            Action::Added | Action::Modified => {
                self.take(watch, seen, object);
            }
            Action::Deleted => {
                let identity = decode_identity(object.get().as_bytes()).unwrap_or_default();
                self.pass(watch, seen, identity, UnstoredReason::Deleted);
            }
        }
    }

    /// Takes note of a line that cannot be read at all.
    pub fn undecodable(&self, watch: WatchId, cause: &str) {
        self.metrics.received(Kind::Event, Arrival::Undecodable);
        let (origin, received) = (Origin::Watch, self.now());
        let identity = Identity::default();
        self.skipped(
            watch,
            (origin, received),
            identity,
            Stage::Decode,
            cause.to_owned(),
        );
    }

    fn take(&self, watch: WatchId, seen: Seen<'_>, json: &RawValue) -> Option<Timestamp> {
        let now = self.now();
        let bytes = json.get().as_bytes();
        let refuse = |seen: Seen<'_>, stage, cause| {
            let identity = decode_identity(bytes).unwrap_or_default();
            let seen = seen.at(&identity.version, now);
            self.skipped(watch, seen, identity, stage, cause);
            None
        };
        let event = match decode_event(bytes) {
            Ok(event) => event,
            Err(error) => return refuse(seen, Stage::Decode, error.to_string()),
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
            self.pass(watch, seen, identity, UnstoredReason::Filtered(index));
            return None;
        }
        let version = event.metadata.resource_version.clone().unwrap_or_default();
        let mut normalized = match normalize(event, now, &self.overrides) {
            Ok(normalized) => normalized,
            Err(error) => return refuse(seen, Stage::Normalize, error.to_string()),
        };
        if normalized.unknown_reason {
            self.metrics.unknown_reason.inc();
        }
        let is_suspect = normalized.record.extra.contains_key(TIME_SUSPECT);
        let object = normalized.record.object.as_ref();
        normalized.record.owner = object.and_then(|object| self.owners.of(object));
        let last = match &normalized.record.occurred {
            Occurred::Observed(seen) if !is_suspect => Some(seen.last),
            _ => None, // a time that had to be replaced proves nothing
        };
        let row = Box::new(sanitize(normalized.record));
        let (origin, received) = seen.at(&version, now);
        self.push(Item::Event {
            watch,
            origin,
            received,
            row,
        });
        last
    }

    fn skipped(
        &self,
        watch: WatchId,
        (origin, received): (Origin, Timestamp),
        identity: Identity,
        stage: Stage,
        cause: String,
    ) {
        let Identity { uid, version, .. } = identity;
        // Each is counted, and has a row as long as there are few.
        if let Some(suppressed) = self.throttle.pass(self.clock.elapsed()) {
            warn!(uid, version, cause, suppressed, "Event skipped");
        }
        self.metrics.store.event_errors.of(stage).inc();
        self.push(Item::Unstored {
            watch,
            origin,
            received,
            uid,
            version,
            why: UnstoredReason::Skipped(stage, cause),
        });
    }

    fn pass(&self, watch: WatchId, seen: Seen<'_>, identity: Identity, why: UnstoredReason) {
        let Identity { uid, version, .. } = identity;
        let (origin, received) = seen.at(&version, self.now());
        self.push(Item::Unstored {
            watch,
            origin,
            received,
            uid,
            version,
            why,
        });
    }

    /// Puts an item into the queue; counts what had to go for it.
    pub fn push(&self, item: Item) {
        push(&self.queue, &self.metrics.store, item, self.now());
    }
}
