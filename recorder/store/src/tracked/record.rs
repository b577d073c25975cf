//! Records what happened to an object: its row, its revision, and what is known of it.

use std::hash::BuildHasher;
use std::time::Duration;

use kube9_ingest::attribution::{
    Authorship, Certainty, ChangeAuthor, Event, ManagedEntry, creator, via,
};
use kube9_ingest::change_row::{
    ChangeRow, What, breaking, is_brief_finalizer, is_made_by_the_cluster,
};
use kube9_ingest::item::{ObservedContent, ObservedObject};
use kube9_ingest::sanitize::{clean_text, sanitize};
use kube9_model::change::body::{Body, plain};
use kube9_model::change::diff::{FieldChange, changes};
use kube9_model::change::patch::{self, Chain};
use kube9_model::commit_stats::BreakingChange;
use kube9_model::id::EventKey;
use kube9_model::identity::ResourceVersion;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::Origin;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Map, Value};
use tracing::warn;

use super::TrackedApplier;
use super::causes::{EndFacts, cause_of};
use super::churn::{Fold, THIN};
use super::lists::ListInProgress;
use super::objects::{StoredObject, TrackedObjectTable};
use super::revisions::{Revision, RevisionTable};
use crate::metrics::Observed;

/// Longest list of authors of a revision.
const AUTHOR_BYTES_MAX: usize = 512;

/// Times of the API server are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// When a change happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) at: Timestamp,
    /// It happened at some time between this and `at`.
    pub(super) from: Option<Timestamp>,
    pub(super) observed_late: bool,
}

impl When {
    fn between(self) -> Option<(Timestamp, Timestamp)> {
        self.from.map(|from| (from, self.at))
    }
}

impl TrackedApplier<'_> {
    /// Stores the first body of an object.
    pub(super) fn created(
        &mut self,
        kind: i64,
        before: Option<StoredObject>,
        object: &ObservedObject,
    ) -> rusqlite::Result<()> {
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        let Some((content, body)) = self.body_of(object) else {
            return Ok(());
        };
        let entries = entries(content);
        let when = When {
            at: object.created.unwrap_or(object.received),
            from: None,
            observed_late: object.origin != Origin::Live,
        };
        let is_new = match (object.origin, self.list()) {
            (Origin::List, Some(list)) if list.is_first() => false,
            // One that is older was not seen before for another reason: its kind, its namespace or its size.
            (Origin::List, Some(list)) => match (object.created, list.from) {
                (Some(created), Some(from)) => created.plus(SECOND) >= from,
                _ => false,
            },
            _ => true,
        };
        let is_row =
            is_new && object.owner.is_none() && !is_made_by_the_cluster(&self.kind.kind, name);
        self.note(if is_new {
            Observed::Created
        } else {
            Observed::First
        });
        let author = creator(&entries, object.created);
        let key = if is_row {
            let by = author.map(|entry| {
                let author = ChangeAuthor {
                    entry,
                    certainty: Certainty::Field,
                    paths: Vec::new(),
                };
                author.to_json(via(&body, &[]).as_deref())
            });
            let what = What::Created(&body);
            let by = Vec::from_iter(by);
            let row = self.change_row(object, what, when, by);
            Some(self.insert(row)?)
        } else {
            None
        };
        let stored = StoredObject {
            id: before.as_ref().map_or(0, |before| before.id),
            uid: object.uid.clone(),
            version: object.version.clone(),
            revision: before.as_ref().map_or(1, |before| before.revision + 1),
            form: object.form,
            seen: object.received,
            chain: Chain::default(),
            stamps: object.stamps.clone(),
            owner: owner_text(object),
            deletion: object.deletion,
            scaled_down: None,
            template_changed: None,
            disruption: disruption(object),
            deleted: None,
        };
        let table = TrackedObjectTable::of(self.conn);
        let id = match before {
            Some(_) => {
                table.update(&stored)?;
                stored.id
            }
            None => table.insert(kind, namespace, name, &stored)?,
        };
        let revision = Revision {
            body: Some(content.body.as_str()),
            // A body that was there before is in force from when it was first seen.
            at: if is_new { when.at } else { object.received },
            from: None,
            version: &object.version,
            event: key,
            author: author.map(|entry| clean_text(&entry.manager, AUTHOR_BYTES_MAX)),
            cause: None,
        };
        self.state.observed.revisions += 1;
        RevisionTable::of(self.conn).insert(id, stored.revision, &revision)
    }

    pub(super) fn changed(
        &mut self,
        kind: i64,
        stored: StoredObject,
        object: &ObservedObject,
    ) -> rusqlite::Result<()> {
        let is_regressed =
            object.origin == Origin::List && self.list().is_some_and(ListInProgress::is_regressed);
        if object.version.is_older_than(&stored.version) && !is_regressed {
            self.note(Observed::Stale); // the list is older than what the watch showed
            return Ok(());
        }
        let mut outcome = Observed::Unchanged;
        let is_same_version = object.version == stored.version && !is_regressed;
        let revisions = RevisionTable::of(self.conn);
        let mut next = StoredObject {
            version: object.version.clone(),
            stamps: object.stamps.clone(),
            owner: owner_text(object),
            deletion: object.deletion,
            disruption: disruption(object),
            form: object.form,
            // The same version again is not a later event.
            seen: if is_same_version {
                stored.seen
            } else {
                object.received
            },
            ..stored.clone()
        };
        let newest = match &object.content {
            Some(_) => revisions.read(stored.id, stored.revision)?,
            None => None,
        };
        let known = newest.as_ref().and_then(|newest| newest.body.as_deref());
        let content = object.content.as_ref();
        if let Some(content) = content
            && known != Some(content.body.as_str())
            && let Some((_, after)) = self.body_of(object)
        {
            let before = known.and_then(|text| Body::parse(text).ok());
            let is_comparable = stored.form == object.form && before.is_some() && !is_same_version;
            if stored.form != object.form && !is_same_version && object.origin == Origin::List {
                let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
                let lists = &mut self.state.lists;
                lists.mark_incomparable(self.watch, namespace, name);
            }
            let before = before.unwrap_or_default();
            let fields = if is_comparable {
                changes(object.rules, &before, &after, stored.deletion.is_some())
            } else {
                Vec::new()
            };
            let entries = entries(content);
            let previous = newest.as_ref().map_or(stored.seen, |newest| newest.at);
            let event = Event {
                before: stored.stamps.as_ref().filter(|_| !is_regressed),
                entries: &entries,
                is_next: object.is_next,
                previous: Some(stored.seen),
                received: object.received,
            };
            let authors = event.authors(&after, &fields);
            let (loud, authors): (Vec<FieldChange<'_>>, Vec<Authorship<'_>>) = fields
                .into_iter()
                .zip(authors)
                .filter(|(field, authorship)| !field.silent && !authorship.is_default)
                .unzip();
            let by = ChangeAuthor::group(&authors, &loud);
            let when = self.when(
                object,
                by.iter().filter_map(|by| by.entry.at()).max(),
                previous,
            );
            if object.origin == Origin::List && !is_same_version {
                // A state that was missed, and the entries of the next one are compared with its time.
                next.seen = when.at;
            }
            for field in &loud {
                next.note(field, when.at);
            }
            let is_folded = !loud.is_empty() && {
                let hash = &self.state.hash;
                let paths = loud.iter().map(|field| hash.hash_one(&field.path));
                let object_id = (kind, object.namespace.as_str(), stored.id);
                self.state.churn.note(object_id, paths, object.received)
            };
            let key = if loud.is_empty() {
                None
            } else {
                let via = via(&after, &loud);
                let by = by.iter().map(|by| by.to_json(via.as_deref())).collect();
                let what = What::Changed {
                    before: &before,
                    after: &after,
                    fields: &loud,
                };
                let row = self.change_row(object, what, when, by);
                Some(if is_folded {
                    self.fold(stored.id, row)?
                } else {
                    self.insert(row)?
                })
            };
            outcome = match (loud.is_empty(), is_folded) {
                (true, _) if before == after && is_comparable => Observed::Unchanged,
                (true, _) => Observed::Silent,
                (false, true) => Observed::Folded,
                (false, false) => Observed::Changed,
            };
            // A text that differs in nothing but its order needs no revision.
            if before != after || !is_comparable {
                let revision = Revision {
                    body: Some(content.body.as_str()),
                    at: when.at,
                    from: when.from,
                    version: &object.version,
                    event: key,
                    author: managers(&by),
                    cause: None,
                };
                let is_thin = is_folded && known.is_some() && when.at.since(previous) < THIN;
                let states = (
                    (&before, known.unwrap_or_default()),
                    (&after, content.body.as_str()),
                );
                if is_thin {
                    self.replace_revision(&mut next, states, &revision)?;
                } else {
                    self.add_revision(&mut next, states, &revision)?;
                }
            }
        }
        // The deletion is not in the body, but it is in the hash by which the source knows what to send.
        if let Some(at) = object.deletion.filter(|_| stored.deletion.is_none())
            && let Some((_, body)) = self.body_of(object)
        {
            self.deletion_begins(object, &body, at)?;
        }
        self.note(outcome);
        TrackedObjectTable::of(self.conn).update(&next)
    }

    /// Adds a revision; the one before is kept as a patch if that pays.
    fn add_revision(
        &mut self,
        object: &mut StoredObject,
        ((before, known), (after, text)): ((&Body, &str), (&Body, &str)),
        revision: &Revision<'_>,
    ) -> rusqlite::Result<()> {
        let revisions = RevisionTable::of(self.conn);
        if !known.is_empty() {
            let kept = object
                .chain
                .push((before, known.len()), (after, text.len()));
            revisions.keep_as(object.id, object.revision, &kept)?;
        }
        object.revision += 1;
        self.state.observed.revisions += 1;
        revisions.insert(object.id, object.revision, revision)
    }

    /// Replaces the newest revision, and the patch that makes the one before of it.
    fn replace_revision(
        &mut self,
        object: &mut StoredObject,
        ((before, _), (after, text)): ((&Body, &str), (&Body, &str)),
        revision: &Revision<'_>,
    ) -> rusqlite::Result<()> {
        let revisions = RevisionTable::of(self.conn);
        if let Some(patch) = revisions.patch(object.id, object.revision - 1)? {
            let mut older = before.clone();
            // It was written by this program.
            let parsed = serde_json::from_str(&patch).unwrap_or_default();
            patch::apply(&mut older, parsed);
            let older_text = older.to_text();
            object.chain.steps = object.chain.steps.saturating_sub(1);
            object.chain.bytes = object.chain.bytes.saturating_sub(patch.len() as u64);
            let kept = object
                .chain
                .push((&older, older_text.len()), (after, text.len()));
            revisions.keep_again(object.id, object.revision - 1, &kept, &older_text)?;
        }
        self.state.observed.thinned += 1;
        revisions.replace(object.id, object.revision, revision)
    }

    /// Folds a change into the open row of its object, or opens one.
    fn fold(&mut self, object: i64, row: ChangeRow<'_>) -> rusqlite::Result<EventKey> {
        let (at, what) = (row.at, row.name());
        let mut record = row.record();
        let fields = match record.extra.get("fields") {
            Some(Value::Array(fields)) => fields.clone(),
            _ => Vec::new(),
        };
        let fold = match self.state.churn.fold(object, at) {
            Some(mut fold) => {
                fold.add(fields);
                record.description = format!(
                    "{what} changed {} times since {}. The metadata lists the fields, with the value before the first \
                     change and that after the last.",
                    fold.changes, fold.since
                );
                let extra = &mut record.extra;
                extra.insert("fields".to_owned(), fold.fields.clone().into());
                extra.insert("changes".to_owned(), fold.changes.into());
                extra.insert("since".to_owned(), fold.since.to_string().into());
                self.rows
                    .rewrite(self.conn, fold.key, &sanitize(record), at)?;
                fold
            }
            None => Fold {
                key: self
                    .rows
                    .insert_internal(self.conn, &sanitize(record), at, at)?,
                since: at,
                changes: 1,
                fields,
            },
        };
        let key = fold.key;
        self.state.churn.set_fold(object, fold);
        Ok(key)
    }

    /// The deletion of an object waits for its finalizers.
    fn deletion_begins(
        &mut self,
        object: &ObservedObject,
        body: &Body,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let finalizers = body
            .stored()
            .get("metadata")
            .and_then(|metadata| metadata.get("finalizers"))
            .map(plain);
        let finalizers: Vec<String> = finalizers
            .and_then(|list| serde_json::from_value(list).ok())
            .unwrap_or_default();
        let is_brief = finalizers.iter().all(|name| is_brief_finalizer(name));
        if is_brief || object.owner.is_some() {
            return Ok(());
        }
        let when = When {
            at: at.min(object.received),
            from: None,
            observed_late: object.origin != Origin::Live,
        };
        let what = What::Deleting {
            finalizers: &finalizers,
        };
        let row = self.change_row(object, what, when, Vec::new());
        self.insert(row)?;
        Ok(())
    }

    pub(super) fn deleted(
        &mut self,
        mut stored: StoredObject,
        (namespace, name): (&str, &str),
        version: &ResourceVersion,
        when: When,
        finished: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        self.note(Observed::Deleted);
        let revisions = RevisionTable::of(self.conn);
        let newest = revisions.read(stored.id, stored.revision)?;
        let body = newest
            .and_then(|newest| newest.body)
            .and_then(|text| Body::parse(&text).ok())
            .unwrap_or_default();
        let definition = (!self.kind.group.is_empty())
            .then(|| format!("{}.{}", self.kind.resource, self.kind.group));
        let facts = EndFacts {
            body: Some(&body),
            definition: definition.as_deref(),
            finished,
        };
        let cause = cause_of(
            self.conn,
            &self.kind.kind,
            &stored,
            namespace,
            facts,
            when.at,
        )?;
        // The end of a pod is a row of the rules, which know how its containers ended.
        let is_row = stored.owner.is_none()
            && self.kind.kind != "Pod"
            && !is_made_by_the_cluster(&self.kind.kind, name);
        let key = if is_row {
            let row = ChangeRow {
                kind: self.kind,
                object: self.object(namespace, name),
                owner: None,
                what: What::Deleted(&body),
                at: when.at,
                between: when.between(),
                observed_late: when.observed_late,
                resource_version: version.to_string(),
                by: Vec::new(),
                cause: Some(cause),
            };
            Some(self.insert(row)?)
        } else {
            None
        };
        stored.revision += 1;
        stored.chain = Chain::default();
        stored.version = version.clone();
        stored.deleted = Some(when.at);
        TrackedObjectTable::of(self.conn).update(&stored)?;
        let revision = Revision {
            body: None,
            at: when.at,
            from: when.from,
            version,
            event: key,
            author: None,
            cause: Some(cause.0.as_str()),
        };
        self.state.observed.revisions += 1;
        revisions.insert(stored.id, stored.revision, &revision)
    }

    /// When a change happened: as its author's entry says, if that is possible.
    fn when(
        &self,
        object: &ObservedObject,
        author: Option<Timestamp>,
        previous: Timestamp,
    ) -> When {
        let possible = author
            .filter(|at| at.second() >= previous.second() && *at <= object.received.plus(SECOND));
        let observed_late = object.origin != Origin::Live;
        match possible {
            Some(at) => When {
                at: at.max(previous),
                from: None,
                observed_late,
            },
            None if !observed_late => When {
                at: object.received,
                from: None,
                observed_late,
            },
            None => When {
                at: object.received,
                from: match (object.origin, self.list()) {
                    (Origin::List, Some(list)) => list.from,
                    _ => self.confirmed_at,
                }
                .map(|from| from.max(previous)),
                observed_late,
            },
        }
    }

    /// A row if a list showed changed objects whose stored bodies have another form.
    pub(super) fn report_incomparable(&mut self) -> rusqlite::Result<()> {
        let Some(list) = self.list() else {
            return Ok(());
        };
        let (objects, from, at) = (list.incomparable(), list.from, list.at);
        if objects == 0 {
            return Ok(());
        }
        let kind = &*self.kind.kind;
        let since = from.map_or_else(|| "its last start".to_owned(), |from| from.to_string());
        let mut extra = Map::new();
        extra.insert("object_kind".to_owned(), kind.into());
        if !self.kind.group.is_empty() {
            extra.insert("api_group".to_owned(), (*self.kind.group).into());
        }
        extra.insert("objects".to_owned(), objects.into());
        if let Some(from) = from {
            extra.insert("from".to_owned(), from.to_string().into());
        }
        extra.insert("to".to_owned(), at.to_string().into());
        let record = Record {
            severity: Severity::Warning,
            title: "Changes cannot be compared".to_owned(),
            description: format!(
                "Objects of kind {kind} that were written since {since}: {objects}. Their states before are recorded in \
                 another form, because kube9 was upgraded or kube9.key was replaced, and the API server does not keep \
                 them any more. What changed is unknown."
            ),
            reason: "ChangesNotCompared".to_owned(),
            extra,
            ..Record::internal(at)
        };
        self.rows
            .insert_internal(self.conn, &sanitize(record), at, at)?;
        Ok(())
    }

    fn body_of<'o>(&self, object: &'o ObservedObject) -> Option<(&'o ObservedContent, Body)> {
        let content = object.content.as_ref()?;
        match Body::parse(content.body.as_str()) {
            Ok(body) => Some((content, body)),
            Err(error) => {
                // A bug: this program made the text.
                warn!(kind = &*self.kind.kind, %error, "body of an object skipped");
                None
            }
        }
    }

    fn object(&self, namespace: &str, name: &str) -> ObjectRef {
        ObjectRef {
            kind: self.kind.kind.to_string(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    fn change_row<'w>(
        &self,
        object: &ObservedObject,
        what: What<'w>,
        when: When,
        by: Vec<Value>,
    ) -> ChangeRow<'w>
    where
        Self: 'w,
    {
        let owner = object.owner.as_ref().map(|owner| ObjectRef {
            kind: owner.kind.as_str().to_owned(),
            namespace: object.namespace.as_str().to_owned(),
            name: owner.name.as_str().to_owned(),
        });
        ChangeRow {
            kind: self.kind,
            object: self.object(object.namespace.as_str(), object.name.as_str()),
            owner,
            what,
            at: when.at,
            between: when.between(),
            observed_late: when.observed_late,
            resource_version: object.version.to_string(),
            by,
            cause: None,
        }
    }

    fn insert(&mut self, row: ChangeRow<'_>) -> rusqlite::Result<EventKey> {
        let at = row.at;
        let row = sanitize(row.record());
        let record = row.record();
        if let Some(object) = &record.object
            && let Some(what) = breaking(object, &record.reason, &record.title)
        {
            self.rows.commit_delta.note_change(BreakingChange {
                object: object.clone(),
                at,
                what: what.into(),
            });
        }
        self.rows.insert_internal(self.conn, &row, at, at)
    }
}

fn entries(content: &ObservedContent) -> Vec<ManagedEntry<'_>> {
    // It was written by this program; without entries no author is known.
    serde_json::from_str(&content.managed_fields).unwrap_or_default()
}

fn managers(by: &[ChangeAuthor<'_>]) -> Option<String> {
    let mut names: Vec<&str> = by.iter().map(|by| &*by.entry.manager).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| clean_text(&names.join(", "), AUTHOR_BYTES_MAX))
}

fn disruption(object: &ObservedObject) -> Option<String> {
    object.disruption.as_ref().map(ToString::to_string)
}

fn owner_text(object: &ObservedObject) -> Option<String> {
    let owner = object.owner.as_ref()?;
    Some(format!("{}/{}", owner.kind, owner.name))
}

impl StoredObject {
    /// Notes what its last state says of its end.
    pub(super) fn note_end(&mut self, object: &ObservedObject) {
        self.disruption = disruption(object).or(self.disruption.take());
        self.owner = owner_text(object);
        self.deletion = object.deletion.or(self.deletion);
    }
}
