//! Reads the objects of a tracked kind for the change history, on the side of the watch.
//!
//! ```text
//!   JSON ─▶ body::Object::scan ─ content hash ─┬─ that of the object's last event ─▶ without a body
//!                                              └─ another ─────────────────────────▶ with its body
//! ```
//!
//! Most writes change nothing that is recorded (status, leases): for them 32 bytes an object save the body. After a watch that
//! could not resume, they tell of which objects states were missed.

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

use crate::attribution::{ManagedEntry, Stamps};
use crate::body::{BadObject, MarkKey, Metadata, Object, Owner, form};
use crate::item::{FinishedJob, ObservedContent, ObservedObject, ObservedOwner, TrackedEvent};
use crate::maps::{Map, trim};
use crate::sanitize::Clean;

/// Objects whose hashes are kept, because an attacker chooses the number of objects; a body of any other is sent with each
/// event. 100,000 objects need at most 8 MiB.
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
    /// By hash of the uid.
    known: Map<u64, KnownObject>,
    /// The objects before the list in progress.
    before: Map<u64, KnownObject>,
    /// The object with the highest version.
    newest: Option<NewestObject>,
    /// A stored body has another form.
    /// Up to this version, an event that could not be read may have been of any object.
    unread_until: i64,
    has_other_form: bool,
}

/// An object that proves which history the API server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestObject {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// resourceVersion of its last event.
    pub version: i64,
}

/// What is known of an object's last event.
#[derive(Debug, Clone, Copy, Default)]
struct KnownObject {
    /// Its content hash; `None`: of before the start.
    content: Option<u64>,
    /// Its resourceVersion; 0 if that is not a number.
    version: i64,
    /// A later event of it could not be read.
    is_behind: bool,
}

/// An object whose states were missed.
#[derive(Debug)]
pub struct MissedStates {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
    /// resourceVersions: of the last event, and of the list.
    pub between: (i64, i64),
}

/// An object that was read, and not yet passed on.
#[derive(Debug)]
pub struct Reading {
    event: TrackedEvent,
    /// Hash of the uid.
    uid: u64,
    content_hash: u64,
}

impl Reading {
    fn object_mut(&mut self) -> Option<&mut ObservedObject> {
        match &mut self.event {
            TrackedEvent::Applied(object) | TrackedEvent::Deleted(object) => Some(object),
            _ => None,
        }
    }

    /// The object's resourceVersion.
    pub fn version(&self) -> String {
        match &self.event {
            TrackedEvent::Applied(object) | TrackedEvent::Deleted(object) => {
                object.version.to_string()
            }
            _ => String::new(),
        }
    }

    /// It was read by a watch that had caught up, at that time.
    pub fn live(mut self, received: Timestamp) -> Self {
        if let Some(object) = self.object_mut() {
            (object.origin, object.received) = (Origin::Live, received);
        }
        self
    }

    /// No event of the object was missed before this one.
    fn set_next(&mut self) {
        if let TrackedEvent::Applied(object) = &mut self.event {
            object.is_next = true;
        }
    }
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
            known: Map::default(),
            before: Map::default(),
            newest: None,
            unread_until: 0,
            has_other_form: false,
        }
    }

    /// The objects that are stored, with their versions, the one with the highest version, and the forms of their bodies.
    pub fn restore(
        &mut self,
        objects: impl IntoIterator<Item = (Uid, ResourceVersion)>,
        newest: Option<NewestObject>,
        forms: &[u64],
    ) {
        self.newest = newest;
        self.has_other_form = forms
            .iter()
            .any(|form| *form != self.form && *form != self.owned_form);
        for (uid, version) in objects.into_iter().take(OBJECTS_MAX) {
            let known = KnownObject {
                content: None,
                version: number(&version),
                is_behind: false,
            };
            self.known
                .insert(self.hash.hash_one(&*uid.to_string()), known);
        }
    }

    pub fn kind(&self) -> &Arc<TrackedKind> {
        &self.kind
    }

    /// The object with the highest version.
    pub const fn newest(&self) -> Option<&NewestObject> {
        self.newest.as_ref()
    }

    /// Stored bodies cannot be compared with those that this tracker reads.
    pub const fn has_other_form(&self) -> bool {
        self.has_other_form
    }

    fn note_newest(&mut self, object: &ObservedObject) {
        let version = number(&object.version);
        if self
            .newest
            .as_ref()
            .is_none_or(|newest| newest.version < version)
        {
            self.newest = Some(NewestObject {
                namespace: object.namespace.to_string(),
                name: object.name.to_string(),
                uid: object.uid.to_string(),
                version,
            });
        }
    }

    /// A list begins.
    pub fn list_begins(&mut self, cause: RelistCause, at: Timestamp) -> TrackedEvent {
        self.before = match cause {
            RelistCause::Resumed => Map::default(),
            // Versions of another history, or of another database.
            RelistCause::FirstStart | RelistCause::Replaced | RelistCause::Regressed => {
                (self.known, self.newest) = (Map::default(), None);
                Map::default()
            }
            // The bodies are sent again: the writer may have skipped one.
            _ => std::mem::take(&mut self.known),
        };
        TrackedEvent::ListBegins { cause, at }
    }

    /// The list is complete; its resourceVersion.
    pub fn list_ends(&mut self, version: &str) -> TrackedEvent {
        self.before = Map::default();
        TrackedEvent::ListEnds {
            version: ResourceVersion::new(version),
        }
    }

    /// Whether states of a listed object were missed that may differ from those before and after.
    pub fn missed(&self, reading: &Reading) -> Option<MissedStates> {
        let before = self.before.get(&reading.uid)?;
        let TrackedEvent::Applied(object) = &reading.event else {
            return None;
        };
        let version = number(&object.version);
        let is_same = before.content == Some(reading.content_hash);
        if is_same || before.version == 0 || version <= before.version {
            return None;
        }
        Some(MissedStates {
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
            between: (before.version, version),
        })
    }

    /// The states that were missed before a listed one, the oldest first, each marked if none before it was missed. The
    /// first is that of the last event: if it is read in another way now, nothing changed.
    pub fn in_order(
        &self,
        states: Vec<Result<Reading, BadObject>>,
        is_complete: bool,
        listed: &mut Reading,
    ) -> Vec<Reading> {
        let mut is_next = is_complete;
        let mut readable = Vec::with_capacity(states.len());
        for state in states {
            let Ok(mut state) = state else {
                is_next = false;
                continue;
            };
            if is_next {
                state.set_next();
            }
            is_next = true;
            readable.push(state);
        }
        if is_next {
            listed.set_next();
        }
        readable
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
        let mut object = Object::scan(&self.kind, json, &self.hash, is_tracked)?;
        let uid = self.hash.hash_one(&*object.metadata.uid);
        let known = self.known.get(&uid);
        let is_known = known.is_some_and(|known| known.content == Some(object.content_hash));
        let mut observed = self.observed(json, &object, origin, received, false);
        if !is_known {
            observed.content = Some(ObservedContent {
                body: Clean::body(&object.body(&self.key)?),
                managed_fields: std::mem::take(&mut object.metadata.managed_fields)
                    .into_iter()
                    .map(ManagedEntry::into_owned)
                    .collect(),
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
        let observed = self.observed(json, &object, origin, received, true);
        Ok(Reading {
            event: TrackedEvent::Deleted(Box::new(observed)),
            uid: self.hash.hash_one(&*object.metadata.uid),
            content_hash: object.content_hash,
        })
    }

    /// An event of the watch could not be read; of this uid, if that could. The next event of the object does not follow the
    /// one before.
    pub fn on_unreadable(&mut self, uid: Option<&str>) {
        let uid = uid.filter(|uid| !uid.is_empty());
        match uid.map(|uid| self.known.get_mut(&self.hash.hash_one(uid))) {
            Some(Some(known)) => known.is_behind = true,
            // A new object: it is seen for the first time later.
            Some(None) => {}
            None => self.unread_until = self.newest.as_ref().map_or(0, |newest| newest.version),
        }
    }

    /// An event of the object between its last one and this may be one that could not be read.
    fn may_be_behind(&self, uid: &str) -> bool {
        let known = self.known.get(&self.hash.hash_one(uid));
        known.is_some_and(|known| {
            known.is_behind || self.unread_until > 0 && known.version <= self.unread_until
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
            TrackedEvent::Applied(ref object) => {
                let known = KnownObject {
                    content: Some(content_hash),
                    version: number(&object.version),
                    is_behind: false,
                };
                self.note_newest(object);
                if self.known.len() < OBJECTS_MAX || self.known.contains_key(&uid) {
                    self.known.insert(uid, known);
                }
            }
            TrackedEvent::Deleted(_) => {
                self.known.remove(&uid);
                trim(&mut self.known);
            }
            TrackedEvent::ListBegins { .. }
            | TrackedEvent::Undecodable { .. }
            | TrackedEvent::ListEnds { .. } => {}
        }
        event
    }

    fn observed(
        &self,
        json: &str,
        object: &Object<'_>,
        origin: Origin,
        received: Timestamp,
        is_deleted: bool,
    ) -> ObservedObject {
        let metadata = &object.metadata;
        let deletion = requested(metadata);
        // Read only at the end of a pod's life. One that is deleted without a grace period shows no request.
        let end = deletion.or_else(|| is_deleted.then_some(received));
        let facts = end
            .filter(|_| self.kind.group.is_empty() && self.kind.kind == "Pod")
            .and_then(|_| serde_json::from_str::<PodFacts<'_>>(json).ok())
            .unwrap_or_default();
        let is_job = self.kind.group == "batch" && self.kind.kind == "Job";
        let finished = is_job
            .then(|| serde_json::from_str::<JobFacts<'_>>(json).ok())
            .flatten()
            .and_then(|facts| facts.finished());
        let is_owned = std::ptr::eq(object.rules(), &raw const OWNED_PODS);
        let owner = metadata.owner.as_ref().filter(|owner| is_tracked(owner));
        ObservedObject {
            origin,
            is_next: origin != Origin::List && !self.may_be_behind(&metadata.uid),
            received,
            namespace: Clean::name(&metadata.namespace),
            name: Clean::name(&metadata.name),
            uid: Uid::new(&metadata.uid),
            version: ResourceVersion::new(&metadata.resource_version),
            created: metadata.created,
            owner: owner.map(|owner| facts.owner(owner)),
            disruption: facts.disruption(end).map(Clean::name),
            finished,
            has_ended: facts.has_ended(),
            deletion,
            rules: object.rules(),
            form: if is_owned { self.owned_form } else { self.form },
            form_otherwise: if is_owned { self.form } else { self.owned_form },
            stamps: Stamps::of(&metadata.managed_fields),
            content: None,
        }
    }
}

fn number(version: &ResourceVersion) -> i64 {
    match version {
        ResourceVersion::Number(number) => *number,
        ResourceVersion::Opaque(_) => 0,
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
    phase: Cow<'j, str>,
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

/// What a Job says of its end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct JobFacts<'j> {
    #[serde(borrow)]
    status: PodStatus<'j>,
}

impl JobFacts<'_> {
    fn finished(&self) -> Option<FinishedJob> {
        let is_end = |one: &&PodCondition<'_>| {
            matches!(&*one.kind, "Complete" | "Failed") && one.status == "True"
        };
        let end = self.status.conditions.iter().find(is_end)?;
        Some(FinishedJob {
            at: Timestamp::parse(&end.last_transition_time).ok()?,
            is_failed: end.kind == "Failed",
        })
    }
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
                uid: None,
            },
            None => ObservedOwner {
                kind: Clean::name(&owner.kind),
                name: Clean::name(&owner.name),
                uid: Some(Clean::name(&owner.uid)),
            },
        }
    }

    fn has_ended(&self) -> bool {
        matches!(&*self.status.phase, "Succeeded" | "Failed")
    }

    fn disruption(&self, deletion: Option<Timestamp>) -> Option<&str> {
        let is_target =
            |one: &&PodCondition<'_>| one.kind == "DisruptionTarget" && one.status == "True";
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
