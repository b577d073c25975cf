//! Objects that a controller of the cluster makes and deletes for another tracked object, whose rows explain them.
//!
//! Only where Kubernetes' own controllers do so: an owner reference alone proves nothing, because anyone who may write an
//! object may set it.

use kube9_ingest::deletion::{CLAIM, CRON_JOB, DAEMON_SET, STATEFUL_SET, VOLUME};
use kube9_model::change::body::{Body, List, Shape};
use kube9_model::change::stored::Stored;
use rusqlite::Connection;

use super::objects::TrackedObjectTable;
use super::revisions::RevisionTable;

/// `kubectl create job --from=cronjob/…` marks what it makes.
const BY_HAND: &str = "cronjob.kubernetes.io/instantiate";

/// A controller or a provisioner made the volume for a claim.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// An object that was created or deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// `Kind/name` of its controller, if that is tracked.
    pub(super) owner: Option<&'a str>,
    pub(super) body: &'a Body<'a>,
}

impl Member<'_> {
    /// Whether an object of the core group or of `batch` is one that a controller makes for a tracked object.
    pub(super) fn is_child(&self, conn: &Connection) -> rusqlite::Result<bool> {
        let owner = self.owner.and_then(|owner| owner.split_once('/'));
        let owner_kind = owner.map(|(kind, _)| kind);
        Ok(match self.kind {
            "Pod" => owner_kind.is_some(),
            "Job" => owner_kind == Some(CRON_JOB) && self.annotation(BY_HAND).is_none(),
            CLAIM => {
                matches!(owner_kind, Some(STATEFUL_SET | "Pod")) || self.is_of_stateful_set(conn)?
            }
            VOLUME => self.annotation(PROVISIONED_BY).is_some() && self.has_claim(),
            _ => false,
        })
    }

    fn annotation(&self, key: &str) -> Option<&Stored<'_>> {
        let metadata = self.body.stored().get("metadata")?;
        metadata.get("annotations")?.get(key)
    }

    fn has_claim(&self) -> bool {
        let spec = self.body.stored().get("spec");
        spec.and_then(|spec| spec.get("claimRef")).is_some()
    }

    /// A claim is that of a `StatefulSet` by its name: template, set, ordinal.
    fn is_of_stateful_set(&self, conn: &Connection) -> rusqlite::Result<bool> {
        let Some((name, ordinal)) = self.name.rsplit_once('-') else {
            return Ok(false);
        };
        let is_ordinal = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
        let table = TrackedObjectTable::of(conn);
        let Some(kind) = table
            .known_kind("apps", STATEFUL_SET)?
            .filter(|_| is_ordinal)
        else {
            return Ok(false);
        };
        for (at, _) in name.match_indices('-') {
            let (template, set) = (&name[..at], &name[at + 1..]);
            let Some(set) = table.find(kind, self.namespace, set)? else {
                continue;
            };
            let newest = RevisionTable::of(conn).read(set.id, set.revision)?;
            let text = newest.and_then(|newest| newest.body);
            let body = text.as_deref().and_then(|text| Body::parse(text).ok());
            if body.is_some_and(|body| has_claim_template(&body, template)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Group and kind of what a kind's controller deletes, and may have rows of its own.
pub(super) fn children_of(owner_kind: &str) -> &'static [(&'static str, &'static str)] {
    match owner_kind {
        CRON_JOB => &[("batch", "Job")],
        "Job" | "Deployment" | DAEMON_SET => &[("", "Pod")],
        STATEFUL_SET => &[("", CLAIM), ("", "Pod")],
        "Pod" => &[("", CLAIM)],
        CLAIM => &[("", VOLUME)],
        _ => &[],
    }
}

fn has_claim_template(set: &Body, template: &str) -> bool {
    let templates = ["spec", "volumeClaimTemplates"]
        .iter()
        .try_fold(set.stored(), |value, name| value.get(name));
    match templates.map(Shape::of) {
        Some(Shape::List(List::Keyed { fields, .. })) => fields.get(template).is_some(),
        _ => false,
    }
}
