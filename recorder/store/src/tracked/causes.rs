//! Why an object was deleted: by what it says of itself, and by what is stored of those that it belongs to.

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::deletion::{
    CLAIM, CRON_JOB, CauseCertainty, DAEMON_SET, DEFINITION, DeletedObject, DeletionCause,
    ON_DELETE, OwnerState, REPLICA_SET, STATEFUL_SET, TemplateAge, TemplateUse, VOLUME, cause,
};
use kube9_ingest::item::FinishedJob;
use kube9_model::ObjectRef;
use kube9_model::change::body::{Body, Shape};
use kube9_model::change::diff::FieldChange;
use kube9_model::change::kinds::BUILT_IN;
use kube9_model::change::path::Segment;
use kube9_model::change::stored::Stored;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::objects::{StoredObject, TrackedObjectTable};
use super::revisions::RevisionTable;
use crate::statements::Counting as _;

/// Times of the API server are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How long after a change of a node the `DaemonSet` controller deletes pods because of it.
const NODE_EFFECT_MAX: Duration = Duration::from_secs(60);

/// What an object says of its end, besides what is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EndFacts<'a> {
    /// Its last body.
    pub(super) body: Option<&'a Body<'a>>,
    /// The name of the definition of its kind.
    pub(super) definition: Option<&'a str>,
    /// A pod had succeeded or failed.
    pub(super) has_ended: bool,
    /// When a Job had finished, and whether it failed.
    pub(super) finished: Option<FinishedJob>,
    /// Its last states were missed.
    pub(super) is_unseen: bool,
    /// The resourceVersion of its deletion, if that was seen.
    pub(super) version: Option<&'a ResourceVersion>,
}

/// What another object is to this one: its owner, its namespace, its node.
#[derive(Debug, Clone, Copy)]
struct Reference<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    /// Empty if only the name is known.
    uid: &'a str,
}

impl<'a> Reference<'a> {
    /// Of a kind of the core group.
    const fn core(kind: &'a str, name: &'a str) -> Self {
        Self {
            group: "",
            kind,
            name,
            uid: "",
        }
    }

    fn of_owner(value: &'a Stored<'a>) -> Option<Self> {
        let text = |key| value.get(key)?.as_text();
        let version = text("apiVersion")?;
        Some(Self {
            group: version.split_once('/').map_or("", |(group, _)| group),
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid")?,
        })
    }

    /// Of `Kind/name/uid`, as [`StoredObject::owner`] has it.
    fn of_text(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let (mut kind, mut name, mut uid) = (
            parts.next()?,
            parts.next()?,
            parts.next().unwrap_or_default(),
        );
        if kind == REPLICA_SET {
            // Of a Deployment, if one has the name without the hash.
            (kind, uid) = ("Deployment", "");
            name = name.rsplit_once('-')?.0;
        }
        let group = &BUILT_IN.iter().find(|known| known.kind == kind)?.group;
        Some(Self {
            group,
            kind,
            name,
            uid,
        })
    }
}

/// What is stored of the objects that another one refers to.
struct Referrer<'a> {
    conn: &'a Connection,
    namespace: &'a str,
    /// When the object was first seen.
    since: Option<Timestamp>,
    /// See [`EndFacts::version`].
    version: Option<&'a ResourceVersion>,
}

impl Referrer<'_> {
    /// `None` if its kind is not tracked.
    fn find(&self, reference: &Reference<'_>) -> rusqlite::Result<Option<Option<StoredObject>>> {
        let table = TrackedObjectTable::of(self.conn);
        let Some((kind, is_namespaced)) =
            table.known_kind_scope(reference.group, reference.kind)?
        else {
            return Ok(None);
        };
        let namespace = if is_namespaced { self.namespace } else { "" };
        table.find(kind, namespace, reference.name).map(Some)
    }

    fn state(&self, reference: &Reference<'_>) -> rusqlite::Result<OwnerState> {
        let owner = match self.find(reference)? {
            None => return Ok(OwnerState::Unknown),
            // It was never there: not in this namespace, not under this name.
            Some(None) if !reference.uid.is_empty() => return Ok(OwnerState::Missing),
            Some(None) => return Ok(OwnerState::Unknown),
            Some(Some(owner)) => owner,
        };
        // The object may belong to an earlier one of that name.
        let is_earlier = || {
            let last = RevisionTable::of(self.conn).last_deletion(owner.id)?;
            let since = self.since;
            Ok::<_, rusqlite::Error>(last.is_some_and(|at| since.is_none_or(|since| at >= since)))
        };
        if !reference.uid.is_empty() && owner.uid != Uid::new(reference.uid) {
            return Ok(if is_earlier()? {
                OwnerState::Deleted
            } else {
                OwnerState::Missing
            });
        }
        // Watches of different kinds are not in order, but their versions are.
        if owner.deleted.is_some()
            && owner.deletion.is_none()
            && self
                .version
                .is_some_and(|version| version.is_older_than(&owner.version))
            && RevisionTable::of(self.conn).is_exact(owner.id, owner.revision)?
        {
            return Ok(OwnerState::Exists {
                scaled_down: owner.scaled_down,
                template_changed: owner.template_changed,
            });
        }
        // A pod that is being deleted does not wait for what it owns.
        let is_going =
            owner.is_ending() && (reference.kind == "Pod" || self.is_foreground(&owner)?);
        if owner.deleted.is_some() || is_going || reference.uid.is_empty() && is_earlier()? {
            return Ok(OwnerState::Deleted);
        }
        Ok(OwnerState::Exists {
            scaled_down: owner.scaled_down,
            template_changed: owner.template_changed,
        })
    }

    /// What an owner that is being deleted owns is deleted before it.
    fn is_foreground(&self, owner: &StoredObject) -> rusqlite::Result<bool> {
        let body = self.body(owner)?;
        let finalizers = body
            .stored()
            .get("metadata")
            .and_then(|m| m.get("finalizers"));
        let Some(Shape::List(finalizers)) = finalizers.map(Shape::of) else {
            return Ok(false);
        };
        let is_foreground = |one: &Stored| one.as_text() == Some("foregroundDeletion");
        Ok(finalizers.elements().into_iter().any(is_foreground))
    }

    fn body(&self, owner: &StoredObject) -> rusqlite::Result<Body<'static>> {
        let newest = RevisionTable::of(self.conn).read(owner.id, owner.revision)?;
        let text = newest.and_then(|newest| newest.body);
        let body = text.as_deref().and_then(|text| Body::parse(text).ok());
        Ok(body.unwrap_or_default().into_owned())
    }

    fn is_gone(&self, reference: &Reference<'_>) -> rusqlite::Result<bool> {
        Ok(matches!(self.state(reference)?, OwnerState::Deleted))
    }
}

/// Why an object was deleted, by what is stored of it and of those that it belongs to.
pub(super) fn cause_of(
    conn: &Connection,
    kind: &str,
    stored: &StoredObject,
    namespace: &str,
    facts: EndFacts<'_>,
    at: Timestamp,
) -> rusqlite::Result<(DeletionCause, CauseCertainty)> {
    let since = RevisionTable::of(conn).since(stored.id, stored.revision)?;
    let referrer = Referrer {
        conn,
        namespace,
        since,
        version: facts.version,
    };
    let is_deleting = |reference: Reference<'_>, namespace: &str| {
        let of = Referrer {
            conn,
            namespace,
            since,
            version: None,
        };
        let found = of.find(&reference)?.flatten();
        Ok::<_, rusqlite::Error>(found.is_some_and(|found| found.is_ending()))
    };
    let value = |path: &[&str]| {
        path.iter()
            .try_fold(facts.body?.stored(), |value, name| value.get(name))
    };
    let text = |path: &[&str]| value(path).and_then(Stored::as_text);
    let claim = ["namespace", "name"].map(|name| text(&["spec", "claimRef", name]));
    let is_claim_deleted = match claim {
        [Some(namespace), Some(name)] if kind == VOLUME => {
            is_deleting(Reference::core(CLAIM, name), namespace)?
        }
        _ => false,
    };
    let is_definition_deleted = match facts.definition {
        Some(name) => {
            let definition = Reference {
                group: "apiextensions.k8s.io",
                ..Reference::core(DEFINITION, name)
            };
            is_deleting(definition, "")?
        }
        None => false,
    };
    let ttl = match value(&["spec", "ttlSecondsAfterFinished"]) {
        Some(Stored::Number(seconds)) => seconds.as_u64().map(Duration::from_secs),
        _ => None,
    };
    let is_namespace_deleted =
        !namespace.is_empty() && is_deleting(Reference::core("Namespace", namespace), "")?;
    let is_node_deleted = match text(&["spec", "nodeName"]) {
        Some(node) if kind == "Pod" => referrer.is_gone(&Reference::core("Node", node))?,
        _ => false,
    };
    let controller = stored.owner.as_deref().and_then(Reference::of_text);
    let (owner_kind, mut owner) = owners(&referrer, facts.body, controller)?;
    let is_node_changed = match text(&["spec", "nodeName"]) {
        Some(node) if owner_kind == DAEMON_SET => {
            match referrer.find(&Reference::core("Node", node))? {
                Some(Some(node)) => RevisionTable::of(conn)
                    .read(node.id, node.revision)?
                    .is_some_and(|newest| newest.at.plus(NODE_EFFECT_MAX) >= at),
                _ => false,
            }
        }
        _ => false,
    };
    let (mut history, mut replaces) = (None, false);
    let (mut is_surplus, mut wants_none) = (None, false);
    let mut template = TemplateAge::Unknown;
    // The request is what follows from a change of the owner, also within its second.
    let at = stored.deletion.map_or(at, |request| request.plus(SECOND));
    if let (
        Some(controller),
        OwnerState::Exists {
            template_changed, ..
        },
    ) = (&controller, &mut owner)
        && let Some(Some(found)) = referrer.find(controller)?
    {
        let body = referrer.body(&found)?;
        let spec = |name: &str| body.stored().get("spec")?.get(name);
        let number = |name: &str| match spec(name) {
            Some(Stored::Number(number)) => number.as_u64(),
            _ => None,
        };
        let table = TrackedObjectTable::of(conn);
        match (kind, controller.kind) {
            ("Job", CRON_JOB) => {
                replaces = spec("concurrencyPolicy").and_then(Stored::as_text) == Some("Replace");
                if let Some(finished) = facts.finished {
                    let (name, default) = if finished.is_failed {
                        ("failedJobsHistoryLimit", 1)
                    } else {
                        ("successfulJobsHistoryLimit", 3)
                    };
                    let limit = u32::try_from(number(name).unwrap_or(default));
                    if let Some((kind, _)) = table.known_kind_scope("batch", kind)? {
                        let newer =
                            table.newer_finished(kind, namespace, stored, finished.is_failed)?;
                        history = Some((limit.unwrap_or(u32::MAX), newer));
                    }
                }
            }
            ("Pod", "Deployment" | STATEFUL_SET) => {
                let wanted = number("replicas").unwrap_or(1);
                wants_none = wanted == 0;
                // What it wanted when the deletion was requested is unknown if it was changed since then.
                let is_changed = RevisionTable::of(conn)
                    .read(found.id, found.revision)?
                    .is_none_or(|newest| newest.at > at);
                is_surplus = if is_changed {
                    None
                } else if controller.kind == STATEFUL_SET {
                    // It deletes those with the highest numbers.
                    let start = spec("ordinals").and_then(|ordinals| ordinals.get("start"));
                    let start = match start {
                        Some(Stored::Number(number)) => number.as_u64().unwrap_or(0),
                        _ => 0,
                    };
                    ordinal(&table.name(stored.id)?)
                        .map(|ordinal| ordinal >= start.saturating_add(wanted))
                } else {
                    stored.siblings.map(|siblings| siblings >= wanted)
                };
            }
            _ => {}
        }
        // The controller waits until another deletes the pods of the template before.
        let strategy = spec("updateStrategy");
        let kind_of = strategy.and_then(|strategy| strategy.get("type"));
        let is_paused = matches!(spec("paused"), Some(Stored::Bool(true)));
        let partition =
            match strategy.and_then(|strategy| strategy.get("rollingUpdate")?.get("partition")) {
                Some(Stored::Number(number)) => number.as_u64().unwrap_or(0),
                _ => 0,
            };
        if is_paused
            || kind_of.and_then(Stored::as_text) == Some(ON_DELETE)
            || partition > 0 && ordinal(&table.name(stored.id)?).is_some_and(|own| own < partition)
        {
            *template_changed = None;
        }
        if let Some(changed) = *template_changed
            && kind == "Pod"
        {
            let label = match controller.kind {
                "Deployment" => "pod-template-hash",
                _ => "controller-revision-hash",
            };
            let pod = PodTemplate {
                pod: stored,
                since,
                hash: text(&["metadata", "labels", label]),
                label,
            };
            // Pods of one of that name that was deleted do not count.
            let earlier = RevisionTable::of(conn).last_deletion(found.id)?;
            template = pod.age(&table, controller, found.id, changed, earlier)?;
        }
    }
    Ok(cause(&DeletedObject {
        kind,
        owner_kind,
        owner,
        at,
        disruption: stored.disruption.as_deref(),
        is_namespace_deleted,
        is_definition_deleted,
        is_claim_deleted,
        is_node_deleted,
        finished: facts.finished.map(|finished| finished.at),
        ttl,
        history,
        replaces,
        is_surplus,
        wants_none,
        template,
        has_ended: facts.has_ended,
        is_node_changed,
        is_end_unseen: facts.is_unseen,
    }))
}

/// The kind of an object's owner, and what is known of it. The garbage collector deletes what has no owner left.
fn owners<'a>(
    referrer: &Referrer<'_>,
    body: Option<&'a Body<'a>>,
    controller: Option<Reference<'a>>,
) -> rusqlite::Result<(&'a str, OwnerState)> {
    let listed = body.and_then(|body| body.stored().get("metadata")?.get("ownerReferences"));
    let mut references: Vec<Reference<'a>> = match listed.map(Shape::of) {
        Some(Shape::List(list)) => {
            let elements = list.elements();
            elements
                .into_iter()
                .filter_map(Reference::of_owner)
                .collect()
        }
        _ => Vec::new(),
    };
    // What is not in the body, such as the Deployment of a pod.
    if references.is_empty() {
        references.extend(controller);
    }
    let mut state = ("", OwnerState::Unknown);
    for reference in references {
        let one = referrer.state(&reference)?;
        state = match (state.1, one) {
            // One is enough.
            (_, OwnerState::Exists { .. } | OwnerState::Unknown) => {
                return Ok((reference.kind, one));
            }
            (OwnerState::Deleted, OwnerState::Missing) => state,
            _ => (reference.kind, one),
        };
    }
    Ok(state)
}

/// The number of a pod of a `StatefulSet`.
fn ordinal(name: &str) -> Option<u64> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// What tells the template that a pod was made from.
struct PodTemplate<'a> {
    pod: &'a StoredObject,
    /// When it was first seen.
    since: Option<Timestamp>,
    hash: Option<&'a str>,
    /// The label that has the hash.
    label: &'a str,
}

impl PodTemplate<'_> {
    fn age(
        &self,
        table: &TrackedObjectTable<'_>,
        controller: &Reference<'_>,
        found: i64,
        changed: Timestamp,
        earlier: Option<Timestamp>,
    ) -> rusqlite::Result<TemplateAge> {
        let (Some(since), Some(hash)) = (self.since, self.hash) else {
            return Ok(TemplateAge::Unknown);
        };
        let mut uses: BTreeMap<String, TemplateUse> = BTreeMap::new();
        uses.insert(hash.to_owned(), TemplateUse::once(since));
        let names_are_reused = controller.kind == STATEFUL_SET;
        let of_deleted = format!("{}/{}/", controller.kind, controller.name);
        let search = (controller.name, self.label);
        for (owner, hash, at) in table.templates(self.pod.id, search, names_are_reused)? {
            let is_one = owner.starts_with(&of_deleted) || is_of(&owner, controller);
            if is_one && earlier.is_none_or(|earlier| at >= earlier) {
                uses.entry(hash)
                    .and_modify(|known| known.add(at))
                    .or_insert(TemplateUse::once(at));
            }
        }
        let own = uses.remove(hash).unwrap_or(TemplateUse::once(since));
        let others: Vec<TemplateUse> = uses.into_values().collect();
        Ok(match TemplateAge::of(changed, own, &others) {
            // No pod of a new template was seen yet. The template in force was not in force when the hash appeared.
            TemplateAge::Unknown if own.first.second() < changed.second() => {
                let first = own.first.plus(SECOND);
                match RevisionTable::of(table.conn()).is_template_new(found, first)? {
                    true => TemplateAge::Older,
                    false => TemplateAge::Unknown,
                }
            }
            age => age,
        })
    }
}

/// Whether the owner of a pod that exists, a `ReplicaSet`, is one of a Deployment: its name is that of the Deployment and a hash.
fn is_of(owner: &str, deployment: &Reference<'_>) -> bool {
    let mut parts = owner.splitn(3, '/');
    parts.next() == Some(REPLICA_SET)
        && parts.next().is_some_and(|name| {
            let hash = name.strip_prefix(deployment.name);
            let hash = hash.and_then(|rest| rest.strip_prefix('-'));
            hash.is_some_and(|hash| !hash.contains('-'))
        })
}

/// Why a pod ends, if it is deleted, and its last resourceVersion; for the row of its end.
pub(crate) fn cause_of_pod(
    conn: &Connection,
    pod: &ObjectRef,
    at: Timestamp,
) -> rusqlite::Result<Option<PodDeletion>> {
    let kind = "Pod";
    let table = TrackedObjectTable::of(conn);
    let Some((kind_id, _)) = table.known_kind_scope("", kind)? else {
        return Ok(None);
    };
    let found = table.find(kind_id, &pod.namespace, &pod.name)?;
    let Some(stored) = found.filter(StoredObject::is_ending) else {
        return Ok(None);
    };
    if RevisionTable::of(conn)
        .cause(stored.id, stored.revision)?
        .as_deref()
        == Some(DeletionCause::Unknown.as_str())
    {
        return Ok(Some(PodDeletion {
            cause: (DeletionCause::Unknown, CauseCertainty::Inferred),
            version: stored.version,
        }));
    }
    let text = RevisionTable::of(conn).last_body(stored.id)?;
    let body = text.as_deref().and_then(|text| Body::parse(text).ok());
    let facts = EndFacts {
        body: body.as_ref(),
        ..EndFacts::default()
    };
    let cause = cause_of(conn, kind, &stored, &pod.namespace, facts, at)?;
    Ok(Some(PodDeletion {
        cause,
        version: stored.version,
    }))
}

/// Whether a pod has a row of its end, and that is not the row of its deletion too.
pub(super) fn had_ended(conn: &Connection, namespace: &str, name: &str) -> rusqlite::Result<bool> {
    let is_deletion: Option<bool> = conn
        .counted(
            "SELECT ifnull(e.extra ->> 'op' = 'deleted', 0) FROM scope s JOIN object o ON o.scope = s.id \
             JOIN event e ON e.object = o.id JOIN event_class c ON c.id = e.class \
             WHERE s.kind = 'Pod' AND s.namespace = ?1 AND s.api_group = '' AND o.name = ?2 \
             AND c.reason = 'PodEnded' AND c.component = 'kube9' ORDER BY e.key DESC LIMIT 1",
        )?
        .query_row((namespace, name), |row| row.get(0))
        .optional()?;
    Ok(is_deletion == Some(false))
}

/// Whether an object has no controller, or one of a kind that is recorded. Otherwise why it was deleted cannot be known.
pub(super) fn has_known_controller(
    conn: &Connection,
    stored: &StoredObject,
) -> rusqlite::Result<bool> {
    let Some(controller) = stored.owner.as_deref().and_then(Reference::of_text) else {
        return Ok(true);
    };
    let kind = TrackedObjectTable::of(conn).known_kind(controller.group, controller.kind)?;
    Ok(kind.is_some())
}

/// The deletion of a pod that ended.
#[derive(Debug)]
pub(crate) struct PodDeletion {
    pub(crate) cause: (DeletionCause, CauseCertainty),
    pub(crate) version: ResourceVersion,
}

impl StoredObject {
    /// Notes what a controller deletes pods because of; returns whether this is such a change.
    pub(super) fn note(&mut self, field: &FieldChange<'_>, at: Timestamp) -> bool {
        let names: Vec<&str> = field
            .path
            .segments()
            .iter()
            .map(|segment| match segment {
                Segment::Field(name) => &**name,
                _ => "",
            })
            .collect();
        match names[..] {
            ["spec", "replicas"] => {
                let replicas = |value: Option<&Stored>| match value {
                    Some(Stored::Number(number)) => number.as_i64(),
                    _ => None,
                };
                if replicas(field.to) < replicas(field.from) {
                    self.scaled_down = Some(at);
                    return true;
                }
                false
            }
            ["spec", "template", ..] => {
                self.template_changed = Some(at);
                true
            }
            _ => false,
        }
    }
}
