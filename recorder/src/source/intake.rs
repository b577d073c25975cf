//! From a raw item to the queue: decode → filter → normalize → sanitize → push.

use std::sync::Arc;

use kube9_shared::time::Timestamp;
use serde_json::value::RawValue;
use tracing::warn;

use super::pages::{Action, RawItem};
use crate::clock::Clock;
use crate::logging::Throttle;
use crate::metrics::{self, Metrics, Stage};
use crate::pipeline::decode::{Identity, decode_event, decode_identity};
use crate::pipeline::filter::{Decision, Filter, SeverityOverrides, Subject};
use crate::pipeline::item::{Item, Passed, Via, WatchId};
use crate::pipeline::normalize::normalize;
use crate::pipeline::owners::Owners;
use crate::pipeline::push::push;
use crate::pipeline::queue::Queue;
use crate::pipeline::record::{Occurred, TIME_SUSPECT};
use crate::pipeline::sanitize::sanitize;

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

/// What one item was.
pub struct Taken {
    /// Its resourceVersion; empty where it could not be read.
    pub version: String,
    /// Its last occurrence; `None` where it makes no row or the time cannot be true.
    pub last: Option<Timestamp>,
}

impl Intake {
    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes an item of a list page; returns its last change.
    pub fn listed(&self, watch: WatchId, item: &RawItem) -> Option<Timestamp> {
        self.metrics
            .received(metrics::Kind::Event, metrics::Action::Listed);
        self.take(watch, Via::List, &item.json).last
    }

    /// Takes an item of a watch.
    pub fn watched(&self, watch: WatchId, action: Action, object: &RawValue) -> Taken {
        let label = match action {
            Action::Added => metrics::Action::Added,
            Action::Modified => metrics::Action::Modified,
            Action::Deleted => metrics::Action::Deleted,
        };
        self.metrics.received(metrics::Kind::Event, label);
        match action {
            Action::Added | Action::Modified => self.take(watch, Via::Watch, object),
            Action::Deleted => {
                let identity = decode_identity(object.get().as_bytes()).unwrap_or_default();
                self.pass(
                    watch,
                    Via::Watch,
                    identity.uid,
                    identity.version.clone(),
                    Passed::Deleted,
                );
                Taken {
                    version: identity.version,
                    last: None,
                }
            }
        }
    }

    /// Takes note of an item that cannot be read at all.
    pub fn undecodable(&self, watch: WatchId, via: Via, uid: &str, version: &str, cause: &str) {
        self.metrics
            .received(metrics::Kind::Event, metrics::Action::Undecodable);
        let identity = Identity {
            uid: uid.to_owned(),
            version: version.to_owned(),
            ..Identity::default()
        };
        self.set_aside(watch, via, identity, Stage::Decode, cause.to_owned());
    }

    fn take(&self, watch: WatchId, via: Via, json: &RawValue) -> Taken {
        let received = self.now();
        let bytes = json.get().as_bytes();
        let event = match decode_event(bytes) {
            Ok(event) => event,
            Err(error) => return self.refuse(watch, via, bytes, Stage::Decode, error.to_string()),
        };
        let version = event.metadata.resource_version.clone().unwrap_or_default();
        let uid = event.metadata.uid.clone().unwrap_or_default();
        if let Decision::Exclude { rule } = self.filter.decide(Subject::from(&event)) {
            let index = self
                .filter
                .excluding_rules()
                .position(|name| name == rule)
                .unwrap_or_default();
            self.pass(watch, via, uid, version.clone(), Passed::Filtered(index));
            return Taken {
                version,
                last: None,
            };
        }
        let mut normalized = match normalize(event, received, &self.overrides) {
            Ok(normalized) => normalized,
            Err(error) => {
                return self.refuse(watch, via, bytes, Stage::Normalize, error.to_string());
            }
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
        self.push(Item::Observed {
            watch,
            via,
            received,
            row,
        });
        Taken { version, last }
    }

    fn refuse(&self, watch: WatchId, via: Via, bytes: &[u8], stage: Stage, cause: String) -> Taken {
        let identity = decode_identity(bytes).unwrap_or_default();
        let version = identity.version.clone();
        self.set_aside(watch, via, identity, stage, cause);
        Taken {
            version,
            last: None,
        }
    }

    fn set_aside(&self, watch: WatchId, via: Via, identity: Identity, stage: Stage, cause: String) {
        let Identity { uid, version, .. } = identity;
        // Each is counted, and has a row as long as there are few.
        if let Some(suppressed) = self.throttle.pass(self.clock.elapsed()) {
            warn!(uid, version, cause, suppressed, "Event set aside");
        }
        self.metrics.event_errors.of(stage).inc();
        self.pass(watch, via, uid, version, Passed::SetAside(stage, cause));
    }

    fn pass(&self, watch: WatchId, via: Via, uid: String, version: String, why: Passed) {
        let received = self.now();
        self.push(Item::Passed {
            watch,
            via,
            received,
            uid,
            version,
            why,
        });
    }

    /// Puts an item into the queue; counts what had to go for it.
    pub fn push(&self, item: Item) {
        push(&self.queue, &self.metrics, item, self.now());
    }
}
