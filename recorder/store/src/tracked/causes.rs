//! Why an object was deleted: by what it says of itself, and by what is stored of those that it belongs to.

use std::time::Duration;

use kube9_ingest::deletion::{CauseCertainty, DeletedObject, DeletionCause, OwnerState, cause};
use kube9_model::ObjectRef;
use kube9_model::change::diff::FieldChange;
use kube9_model::change::path::Segment;
use kube9_model::change::stored::Stored;
use kube9_model::time::Timestamp;
use rusqlite::Connection;

use super::objects::{self, StoredObject, TrackedObjectTable};

/// Times of the API server are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Why an object was deleted, by what is stored of it and of those that it belongs to.
pub(super) fn cause_of(
    conn: &Connection,
    kind: &str,
    stored: &StoredObject,
    namespace: &str,
    at: Timestamp,
) -> rusqlite::Result<(DeletionCause, CauseCertainty)> {
    let is_namespace_deleted = !namespace.is_empty()
        && objects::owner(conn, "Namespace", "", namespace)?
            .is_some_and(|namespace| namespace.deletion.is_some());
    let owner = stored
        .owner
        .as_deref()
        .and_then(|text| text.split_once('/'));
    let state = match owner {
        Some((kind, name)) => match objects::owner(conn, kind, namespace, name)? {
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
        Some(stored) => cause_of(conn, kind, &stored, &pod.namespace, at).map(Some),
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
