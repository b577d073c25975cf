//! Reads the objects of a tracked kind for the change history, on the side of the watch.
//!
//! ```text
//!   JSON ─▶ body::Object::scan ─ content hash ─┬─ that of the object's last event ─▶ without a body
//!                                              └─ another ─────────────────────────▶ with its body
//! ```
//!
//! Most writes change nothing that is recorded (status, leases): for them 16 bytes an object save the body.

use std::borrow::Cow;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use kube9_model::change::kinds::{BUILT_IN, OWNED_PODS, TrackedKind};
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause};
use serde::Deserialize;

use crate::attribution::Stamps;
use crate::body::{BadObject, MarkKey, Metadata, Object, Owner, form};
use crate::item::{ObservedContent, ObservedObject, ObservedOwner, TrackedEvent};
use crate::maps::{Map, trim};
use crate::sanitize::Clean;

/// Objects whose hashes are kept, because an attacker chooses the number of objects; a body of any other is sent with each
/// event. 100,000 objects need at most 4 MiB.
const OBJECTS_MAX: usize = 100_000;

/// Reads the objects of one watch.
#[derive(Debug)]
pub struct Tracker {
    kind: Arc<TrackedKind>,
    key: MarkKey,
    form: u64,
    /// That of pods whose owner is tracked.
    owned_form: u64,
    hash: RandomState,
    /// Hash of the uid, content hash of the last event.
    contents: Map<u64, u64>,
}

/// An object that was read, and not yet passed on.
#[derive(Debug)]
pub struct Reading {
    event: TrackedEvent,
    /// Hash of the uid.
    uid: u64,
    content_hash: u64,
}

impl Tracker {
    pub fn new(kind: Arc<TrackedKind>, key: MarkKey) -> Self {
        let owned = TrackedKind {
            rules: &OWNED_PODS,
            ..TrackedKind::clone(&kind)
        };
        Self {
            form: form(&kind, &key),
            owned_form: form(&owned, &key),
            kind,
            key,
            hash: RandomState::default(),
            contents: Map::default(),
        }
    }

    pub fn kind(&self) -> &Arc<TrackedKind> {
        &self.kind
    }

    /// A list begins.
    pub fn list_begins(&mut self, cause: RelistCause, at: Timestamp) -> TrackedEvent {
        // The writer may have lost what it had: a full disk, another file.
        if cause != RelistCause::Resumed {
            self.contents = Map::default();
        }
        TrackedEvent::ListBegins { cause, at }
    }

    /// Reads an object that exists.
    ///
    /// # Errors
    /// It does not decode.
    pub fn applied(
        &self,
        json: &str,
        origin: Origin,
        received: Timestamp,
    ) -> Result<Reading, BadObject> {
        let object = Object::scan(&self.kind, json, &self.hash, is_tracked)?;
        let uid = self.hash.hash_one(&*object.metadata.uid);
        let is_known = self.contents.get(&uid) == Some(&object.content_hash);
        let mut observed = self.observed(json, &object, origin, received);
        if !is_known {
            observed.content = Some(ObservedContent {
                body: Clean::body(&object.body(&self.key)?),
                managed_fields: serde_json::to_string(&object.metadata.managed_fields)
                    .unwrap_or_default(),
            });
        }
        Ok(Reading {
            event: TrackedEvent::Applied(Box::new(observed)),
            uid,
            content_hash: object.content_hash,
        })
    }

    /// Reads an object that was deleted. Its last state is that before the last write, so it is not compared.
    ///
    /// # Errors
    /// It does not decode.
    pub fn deleted(
        &self,
        json: &str,
        origin: Origin,
        received: Timestamp,
    ) -> Result<Reading, BadObject> {
        let object = Object::scan(&self.kind, json, &self.hash, is_tracked)?;
        let observed = self.observed(json, &object, origin, received);
        Ok(Reading {
            event: TrackedEvent::Deleted(Box::new(observed)),
            uid: self.hash.hash_one(&*object.metadata.uid),
            content_hash: object.content_hash,
        })
    }

    /// Takes the event of a reading; call it when it is passed on.
    pub fn emit(&mut self, reading: Reading) -> TrackedEvent {
        let Reading {
            event,
            uid,
            content_hash,
        } = reading;
        match event {
            TrackedEvent::Applied(_) => {
                if self.contents.len() < OBJECTS_MAX || self.contents.contains_key(&uid) {
                    self.contents.insert(uid, content_hash);
                }
            }
            TrackedEvent::Deleted(_) => {
                self.contents.remove(&uid);
                trim(&mut self.contents);
            }
            _ => {}
        }
        event
    }

    fn observed(
        &self,
        json: &str,
        object: &Object<'_>,
        origin: Origin,
        received: Timestamp,
    ) -> ObservedObject {
        let metadata = &object.metadata;
        let deletion = requested(metadata);
        // Read only at the end of a pod's life.
        let facts = deletion
            .filter(|_| self.kind.group.is_empty() && self.kind.kind == "Pod")
            .and_then(|_| serde_json::from_str::<PodFacts<'_>>(json).ok())
            .unwrap_or_default();
        let is_owned = std::ptr::eq(object.rules(), &raw const OWNED_PODS);
        let owner = metadata.owner.as_ref().filter(|owner| is_tracked(owner));
        ObservedObject {
            origin,
            received,
            namespace: Clean::name(&metadata.namespace),
            name: Clean::name(&metadata.name),
            uid: Uid::new(&metadata.uid),
            version: ResourceVersion::new(&metadata.resource_version),
            created: metadata.created,
            owner: owner.map(|owner| facts.owner(owner)),
            disruption: facts.disruption(deletion).map(Clean::name),
            deletion,
            rules: object.rules(),
            form: if is_owned { self.owned_form } else { self.form },
            stamps: Stamps::of(&metadata.managed_fields),
            content: None,
        }
    }
}

/// What a pod says of its end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodFacts<'j> {
    #[serde(borrow)]
    metadata: PodMetadata<'j>,
    #[serde(borrow)]
    status: PodStatus<'j>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodMetadata<'j> {
    #[serde(borrow)]
    labels: PodLabels<'j>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodLabels<'j> {
    #[serde(borrow, rename = "pod-template-hash")]
    template_hash: Cow<'j, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus<'j> {
    #[serde(borrow)]
    conditions: Vec<PodCondition<'j>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PodCondition<'j> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'j, str>,
    #[serde(borrow)]
    status: Cow<'j, str>,
    #[serde(borrow)]
    reason: Cow<'j, str>,
    #[serde(borrow)]
    last_transition_time: Cow<'j, str>,
}

/// A disruption further before the request for the deletion had ended the pod already: evicted pods stay for days.
const DISRUPTION_BEFORE_MAX: Duration = Duration::from_secs(30);

impl PodFacts<'_> {
    /// The Deployment of a `ReplicaSet` that has its name and the hash of the template.
    fn owner(&self, owner: &Owner<'_>) -> ObservedOwner {
        let hash = &*self.metadata.labels.template_hash;
        let deployment = owner
            .name
            .strip_suffix(hash)
            .and_then(|name| name.strip_suffix('-'))
            .filter(|_| owner.kind == "ReplicaSet" && !hash.is_empty());
        match deployment {
            Some(name) => ObservedOwner {
                kind: Clean::name("Deployment"),
                name: Clean::name(name),
            },
            None => ObservedOwner {
                kind: Clean::name(&owner.kind),
                name: Clean::name(&owner.name),
            },
        }
    }

    fn disruption(&self, deletion: Option<Timestamp>) -> Option<&str> {
        let is_target = |one: &&PodCondition<'_>| one.kind == "DisruptionTarget" && one.status == "True";
        let condition = self.status.conditions.iter().find(is_target)?;
        let since = Timestamp::parse(&condition.last_transition_time).ok()?;
        (since.plus(DISRUPTION_BEFORE_MAX) >= deletion?).then_some(&*condition.reason)
    }
}

/// The request for a deletion came a grace period before its end.
fn requested(metadata: &Metadata<'_>) -> Option<Timestamp> {
    let grace = Duration::from_secs(metadata.grace_seconds.unwrap_or(0));
    metadata.deleting.map(|end| end.minus(grace))
}

/// Whether the objects of an owner's kind are tracked. `ReplicaSets` are not: they repeat their Deployment.
fn is_tracked(owner: &Owner<'_>) -> bool {
    let group = owner
        .api_version
        .split_once('/')
        .map_or("", |(group, _)| group);
    if group == "apps" && owner.kind == "ReplicaSet" {
        return true;
    }
    // Pods of nodes are static: they show the flags of the control plane, which no other object does.
    owner.kind != "Node"
        && BUILT_IN
            .iter()
            .any(|kind| kind.group == group && kind.kind == owner.kind)
}
