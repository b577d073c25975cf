//! Why an object was deleted: by what it says of itself, and by what is stored of those that it belongs to.

use std::time::Duration;

use kube9_ingest::deletion::{
    CLAIM, CRON_JOB, CauseCertainty, DEFINITION, DeletedObject, DeletionCause, OwnerState, VOLUME,
    cause,
};
use kube9_ingest::item::FinishedJob;
use kube9_model::ObjectRef;
use kube9_model::change::body::Body;
use kube9_model::change::diff::FieldChange;
use kube9_model::change::path::Segment;
use kube9_model::change::stored::Stored;
use kube9_model::time::Timestamp;
use rusqlite::Connection;

use super::objects::{self, StoredObject, TrackedObjectTable};
use super::revisions::RevisionTable;

/// Times of the API server are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// What an object says of its end, besides what is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct EndFacts<'a> {
    pub(super) body: Option<&'a Body>,
    /// The name of the definition of its kind.
    pub(super) definition: Option<&'a str>,
    /// When a Job had finished, and whether it failed.
    pub(super) finished: Option<FinishedJob>,
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
    let is_deleted = |kind: &str, namespace: &str, name: &str| {
        let owner = objects::owner(conn, kind, namespace, name)?;
        Ok::<_, rusqlite::Error>(owner.is_some_and(|owner| owner.deletion.is_some()))
    };
    let text = |path: &[&str]| {
        let value = path
            .iter()
            .try_fold(facts.body?.stored(), |value, name| value.get(name))?;
        value.as_text()
    };
    let claim = ["namespace", "name"].map(|name| text(&["spec", "claimRef", name]));
    let is_claim_deleted = match claim {
        [Some(namespace), Some(name)] if kind == VOLUME => is_deleted(CLAIM, namespace, name)?,
        _ => false,
    };
    let is_definition_deleted = match facts.definition {
        Some(name) => is_deleted(DEFINITION, "", name)?,
        None => false,
    };
    let ttl = facts.body.and_then(|body| {
        match body.stored().get("spec")?.get("ttlSecondsAfterFinished")? {
            Stored::Number(seconds) => seconds.as_u64().map(Duration::from_secs),
            _ => None,
        }
    });
    let is_namespace_deleted = !namespace.is_empty()
        && objects::owner(conn, "Namespace", "", namespace)?
            .is_some_and(|namespace| namespace.deletion.is_some());
    let owner = stored
        .owner
        .as_deref()
        .and_then(|text| text.split_once('/'));
    let stored_owner = match owner {
        Some((kind, name)) => objects::owner(conn, kind, namespace, name)?,
        None => None,
    };
    let (mut history, mut replaces) = (None, false);
    if let (Some((CRON_JOB, _)), Some(owner)) = (owner, stored_owner) {
        let newest = RevisionTable::of(conn).read(owner.id, owner.revision)?;
        let cron_job = newest
            .and_then(|newest| newest.body)
            .and_then(|text| Body::parse(&text).ok());
        let spec = |name: &str| cron_job.as_ref()?.stored().get("spec")?.get(name);
        replaces = spec("concurrencyPolicy").and_then(Stored::as_text) == Some("Replace");
        if let Some(finished) = facts.finished {
            let (name, default) = if finished.is_failed {
                ("failedJobsHistoryLimit", 1)
            } else {
                ("successfulJobsHistoryLimit", 3)
            };
            let limit = match spec(name) {
                Some(Stored::Number(limit)) => limit.as_u64().unwrap_or(default),
                _ => default,
            };
            let table = TrackedObjectTable::of(conn);
            if let Some(kind) = table.known_kind("batch", kind)? {
                let newer = table.newer_finished(kind, namespace, stored)?;
                history = Some((u32::try_from(limit).unwrap_or(u32::MAX), newer));
            }
        }
    }
    let state = match owner {
        Some(_) => match stored_owner {
            Some(owner) if owner.deletion.is_some() => OwnerState::Deleted,
            Some(owner) => OwnerState::Exists {
                scaled_down: owner.scaled_down,
                template_changed: owner.template_changed,
            },
            None => OwnerState::Unknown,
        },
        None => OwnerState::Unknown,
    };
    Ok(cause(&DeletedObject {
        kind,
        owner_kind: owner.map_or("", |(kind, _)| kind),
        owner: state,
        // The request is what follows from a change of the owner, also within its second.
        at: stored.deletion.map_or(at, |request| request.plus(SECOND)),
        disruption: stored.disruption.as_deref(),
        is_namespace_deleted,
        is_definition_deleted,
        is_claim_deleted,
        finished: facts.finished.map(|finished| finished.at),
        history,
        replaces,
        ttl,
        ..DeletedObject::default()
    }))
}

/// Why a pod ends, if it is deleted; for the row of its end.
pub(crate) fn cause_of_pod(
    conn: &Connection,
    pod: &ObjectRef,
    at: Timestamp,
) -> rusqlite::Result<Option<(DeletionCause, CauseCertainty)>> {
    let kind = "Pod";
    let table = TrackedObjectTable::of(conn);
    let Some(kind_id) = table.known_kind("", kind)? else {
        return Ok(None);
    };
    let found = table.find(kind_id, &pod.namespace, &pod.name)?;
    match found.filter(|pod| pod.deletion.is_some() || pod.deleted.is_some()) {
        Some(stored) => {
            let facts = EndFacts::default();
            cause_of(conn, kind, &stored, &pod.namespace, facts, at).map(Some)
        }
        None => Ok(None),
    }
}

impl StoredObject {
    /// Notes what a controller deletes pods because of.
    pub(super) fn note(&mut self, field: &FieldChange<'_>, at: Timestamp) {
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
                }
            }
            ["spec", "template", ..] => self.template_changed = Some(at),
            _ => {}
        }
    }
}
