//! Records what happened to an object: its row, its revision, and what is known of it.

use std::hash::BuildHasher;
use std::time::Duration;

use kube9_ingest::attribution::{
    Authorship, Certainty, ChangeAuthor, Event, ManagedEntry, ShownAuthor, creator, via,
};
use kube9_ingest::change_row::{
    ChangeRow, What, breaking, describe_folded, describe_set_up, is_brief_finalizer,
    is_made_by_the_cluster, is_set_up, title_of_folded,
};
use kube9_ingest::deletion::{CLAIM, CRON_JOB, DeletionCause};
use kube9_ingest::field_writes::{field_writes, former_deployer, may_be_outside, object_in_group};
use kube9_ingest::item::{FinishedJob, ObservedContent, ObservedObject};
use kube9_ingest::sanitize::{clean_text, sanitize};
use kube9_model::change::body::{Body, plain};
use kube9_model::change::diff::{FieldChange, changes};
use kube9_model::change::patch::{self, Chain, Kept};
use kube9_model::change::stored::{Fields, Stored};
use kube9_model::id::EventKey;
use kube9_model::identity::ResourceVersion;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::watch::Origin;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Map, Value};
use tracing::warn;

use super::TrackedApplier;
use super::causes::{EndFacts, cause_of, has_known_controller};
use super::children::{Member, children_of};
use super::churn::{Change, Fold, FoldTarget, Folding, Group, Habit, Happened, Life, THIN};
use super::lists::ListInProgress;
use super::objects::{DeletedName, StoredObject, TrackedObjectTable};
use super::revisions::{NewestRevision, Revision, RevisionTable};
use crate::metrics::Observed;

/// Longest list of authors of a revision.
const AUTHOR_BYTES_MAX: usize = 512;

/// Times of the API server are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

/// How much later than an object its owner is seen deleted.
const CAUSE_LATE_MAX: Duration = Duration::from_secs(30);

/// How much later than a Job that it replaces a CronJob creates the next one.
const REPLACED_MAX: Duration = Duration::from_secs(10);

/// `revision.cause` of a body that differs while its resourceVersion does not.
const DEFAULTED: &str = "defaulted";

/// When a change happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub(super) at: Timestamp,
    /// It happened at some time between this and `at`.
    pub(super) from: Option<Timestamp>,
    pub(super) observed_late: bool,
}

/// What an object showed of its end.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct End {
    /// How a Job ended.
    pub(super) finished: Option<FinishedJob>,
    /// A pod had succeeded or failed.
    pub(super) has_ended: bool,
    /// It had a row of that before its deletion.
    pub(super) had_ended: bool,
    /// Its deletion was seen, with its last state.
    pub(super) is_seen: bool,
}

/// When an object was deleted, or that was requested, that others are deleted with.
#[derive(Debug, Clone, Copy)]
struct OwnerEnd<'v> {
    /// Its resourceVersion, if it was seen: of all objects they are in the order of the changes.
    version: Option<&'v ResourceVersion>,
    exists_until: Timestamp,
    at: Timestamp,
}

impl When {
    /// Revisions are in order. What was received after something that happened later, is in force by then at the latest.
    fn not_before(self, last: Timestamp) -> Self {
        if self.at >= last {
            return self;
        }
        let from = self.from.unwrap_or(self.at);
        Self {
            at: last,
            // Times of the API server are whole seconds.
            from: (last.since(from) >= SECOND).then_some(from),
            ..self
        }
    }

    /// The next change is not before this.
    fn earliest(self) -> Timestamp {
        self.from.unwrap_or(self.at)
    }

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
        let entries = &content.managed_fields;
        let when = When {
            at: object.created.unwrap_or(object.received),
            from: None,
            observed_late: object.origin != Origin::Live,
        };
        let when = match before.as_ref().and_then(|before| before.deleted) {
            Some(deleted) => when.not_before(deleted),
            None => when,
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
        let is_exact = is_new && (object.origin != Origin::List || object.is_next);
        let mut stored = StoredObject {
            id: before.as_ref().map_or(0, |before| before.id),
            uid: object.uid.clone(),
            version: object.version.clone(),
            revision: before.as_ref().map_or(1, |before| before.revision + 1),
            form: object.form,
            seen: match (object.origin, self.list()) {
                (Origin::Live, _) => object.received,
                (Origin::List, Some(list)) if !is_new => list.at.min(object.received),
                _ => when.earliest(),
            },
            chain: Chain::default(),
            stamps: object.stamps.clone(),
            owner: owner_text(object),
            deletion: object.deletion,
            scaled_down: None,
            template_changed: None,
            disruption: disruption(object),
            siblings: None,
            finished: object.finished,
            deleted: None,
        };
        let table = TrackedObjectTable::of(self.conn);
        if before.is_none() {
            stored.id = table.insert(kind, namespace, name, object.created, &stored)?;
        }
        let author = creator(entries, object.created);
        let (mut key, mut outcome, mut is_thin) = (None, Observed::First, false);
        if is_new {
            let is_child = self.is_child(&stored, (namespace, name), &body)?;
            let is_row = !is_child && !is_made_by_the_cluster(&self.kind.kind, name);
            let member = (kind, namespace, stored.id);
            let life = Life {
                happened: Happened::Created,
                is_again: before.is_some(),
                is_row,
            };
            let folding = self.state.churn.note_life(member, life, object.received);
            let newest = match &before {
                Some(before) => RevisionTable::of(self.conn).read(before.id, before.revision)?,
                None => None,
            };
            is_thin = is_thinned(folding.as_ref(), newest.as_ref(), when.at);
            self.note_folded(namespace, folding.as_ref(), is_thin, object.received);
            outcome = match &folding {
                _ if is_child => Observed::Child,
                Some(folding) => folding.outcome,
                None => Observed::Created,
            };
            if is_row {
                let by = author.map(|entry| {
                    let author = ChangeAuthor {
                        entry,
                        certainty: Certainty::Field,
                        paths: Vec::new(),
                    };
                    author.shown(via(&body, &[]).as_ref())
                });
                let what = What::Created(&body);
                let row = self.change_row(object, what, when, Vec::from_iter(by));
                let is_own = folding.is_none();
                let row = self.insert_or_fold(row, folding)?;
                if &*self.kind.kind == "Node" && self.kind.group.is_empty() {
                    self.set_up_begins(stored.id, row, is_own, object.received)?;
                }
                key = Some(row);
            }
        }
        self.note(outcome);
        if is_exact && self.kind.kind == "Job" && object.origin != Origin::List {
            self.explain_replaced(kind, object)?;
        }
        let revision = Revision {
            body: Some(content.body.as_str()),
            // A body that was there before is in force from when it was first seen. So is one that may have been changed
            // since the creation.
            at: if is_exact {
                when.at
            } else {
                object.received.max(when.at)
            },
            from: if is_exact {
                when.from
            } else {
                is_new.then(|| when.earliest())
            },
            version: &object.version,
            event: key,
            author: author.map(|entry| clean_text(&entry.manager, AUTHOR_BYTES_MAX)),
            cause: None,
        };
        let revisions = RevisionTable::of(self.conn);
        if is_thin {
            // It replaces the deletion before, below which all is whole.
            stored.revision -= 1;
            self.state.observed.thinned += 1;
            revisions.replace(stored.id, stored.revision, &revision)?;
        } else {
            self.state.observed.revisions += 1;
            revisions.insert(stored.id, stored.revision, &revision)?;
        }
        table.update(&stored)
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
        let mut is_steered = false;
        let is_same_version = object.version == stored.version && !is_regressed;
        let revisions = RevisionTable::of(self.conn);
        let mut next = StoredObject {
            version: object.version.clone(),
            stamps: match object.origin {
                Origin::Live => object.stamps.clone(),
                _ if is_same_version => stored.stamps.clone(),
                Origin::Watch | Origin::List => {
                    let before = stored.stamps.as_ref();
                    object.stamps.clone().map(|now| now.of_late_event(before))
                }
            },
            owner: owner_text(object),
            deletion: object.deletion,
            disruption: disruption(object),
            finished: object.finished,
            siblings: match (object.deletion, stored.deletion) {
                (Some(_), None) => self.siblings(&stored, object)?,
                _ => stored.siblings,
            },
            form: object.form,
            seen: match (object.origin, self.list()) {
                // The same version again is not a later event.
                _ if is_same_version => stored.seen,
                (Origin::Live, _) => object.received,
                // After a walk, more states may follow that are older than the list.
                (Origin::List, Some(list)) if !object.is_next => {
                    list.at.min(object.received).max(stored.seen)
                }
                _ => stored.seen,
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
            // A pod that is adopted or released has another form, of which only the labels can be compared.
            let is_adopted = stored.owner.is_some() != object.owner.is_some();
            let has_same_labels = is_adopted
                && stored.form == object.form_otherwise
                && before.is_some()
                && !is_same_version;
            if stored.form != object.form
                && !is_adopted
                && !is_same_version
                && object.origin == Origin::List
            {
                let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
                let lists = &mut self.state.lists;
                lists.mark_incomparable(self.watch, namespace, name);
            }
            let before = before.unwrap_or_default();
            // The definition or the API server has another default: what is stored in etcd did not change.
            let is_defaulted = is_same_version && stored.form == object.form;
            let pair = has_same_labels.then(|| (labels(&before), labels(&after)));
            let fields = if is_comparable {
                changes(object.rules, &before, &after, stored.deletion.is_some())
            } else if let Some((before, after)) = &pair {
                changes(object.rules, before, after, false)
            } else {
                Vec::new()
            };
            let event = Event {
                before: stored.stamps.as_ref().filter(|_| !is_regressed),
                entries: &content.managed_fields,
                is_next: object.is_next,
                previous: Some(match &newest {
                    Some(newest) => newest.at.max(stored.seen),
                    None => stored.seen,
                }),
                received: object.received,
            };
            let authors = event.authors(&after, &fields);
            let is_default = authors.iter().any(|authorship| authorship.is_default);
            let (loud, authors): (Vec<FieldChange<'_>>, Vec<Authorship<'_>>) = fields
                .into_iter()
                .zip(authors)
                .filter(|(field, authorship)| !field.silent && !authorship.is_default)
                .unzip();
            let by = ChangeAuthor::group(&authors, &loud);
            // It happened in the second of its author's entry.
            if by.iter().any(|by| by.certainty == Certainty::Field) && !is_same_version {
                next.stamps.clone_from(&object.stamps);
            }
            let author_at = by.iter().filter_map(|by| by.entry.at()).max();
            let when = if is_same_version {
                // What is in etcd did not change, only how it reads; the next state may be older than its receipt.
                When {
                    at: self.last_seen(object.origin, stored.seen),
                    from: None,
                    observed_late: false,
                }
            } else {
                self.when(object, author_at, stored.seen)
            };
            let when = match &newest {
                Some(newest) => when.not_before(newest.at),
                None => when,
            };
            if object.origin != Origin::Live && !is_same_version {
                // More states may follow that are older than their receipt.
                next.seen = when.earliest();
            }
            for field in &loud {
                is_steered |= next.note(field, when.at);
            }
            let folding = if loud.is_empty() {
                None
            } else {
                let hash = &self.state.hash;
                let paths: Vec<u64> = loud
                    .iter()
                    .zip(&authors)
                    .map(|(field, authorship)| {
                        let entry = authorship.author.map(|(entry, _)| entry);
                        let author = entry.map(|entry| (&entry.manager, &entry.subresource));
                        hash.hash_one((&field.path, author))
                    })
                    .collect();
                let is_known = authors.iter().all(|authorship| authorship.author.is_some());
                let change = Change {
                    paths: &paths,
                    author: is_known.then(|| hash.hash_one(managers(&by))),
                    habit: self.habit(&loud, &authors),
                };
                let member = (kind, object.namespace.as_str(), stored.id);
                self.state
                    .churn
                    .note_change(member, &change, object.received)
            };
            // A change that has a row of its own keeps its revision.
            let is_folded = |folding: &Folding| {
                let row = newest.as_ref().and_then(|newest| newest.event);
                row.is_some_and(|row| self.state.churn.is_open(stored.id, &folding.target, row))
            };
            let is_thin = folding.as_ref().is_some_and(is_folded)
                && is_thinned(folding.as_ref(), newest.as_ref(), when.at);
            let namespace = object.namespace.as_str();
            self.note_folded(namespace, folding.as_ref(), is_thin, object.received);
            outcome = match &folding {
                _ if loud.is_empty() && before == after && is_comparable => Observed::Unchanged,
                _ if loud.is_empty() => Observed::Silent,
                Some(folding) => folding.outcome,
                None => Observed::Changed,
            };
            let key = if loud.is_empty() {
                None
            } else {
                let via = via(&after, &loud);
                let by = by.iter().map(|by| by.shown(via.as_ref())).collect();
                let what = What::Changed {
                    before: &before,
                    after: &after,
                    fields: &loud,
                };
                let row = self.change_row(object, what, when, by);
                Some(self.insert_or_fold(row, folding)?)
            };
            // A text that differs in nothing but its order needs no revision.
            if !loud.is_empty() || before != after || !is_comparable {
                let revision = Revision {
                    body: Some(content.body.as_str()),
                    at: when.at,
                    from: when.from,
                    version: &object.version,
                    event: key,
                    author: managers(&by),
                    cause: (is_defaulted || is_default && loud.is_empty()).then_some(DEFAULTED),
                };
                let states = (
                    (&before, known.unwrap_or_default()),
                    (&after, content.body.as_str()),
                );
                if is_thin {
                    let known = revisions.authors(stored.id, stored.revision)?;
                    let revision = Revision {
                        author: merged(known.as_deref(), revision.author.as_deref()),
                        ..revision
                    };
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
        TrackedObjectTable::of(self.conn).update(&next)?;
        match object.deletion.filter(|_| stored.deletion.is_none()) {
            Some(at) => {
                let end = OwnerEnd {
                    version: (object.origin != Origin::List).then_some(&object.version),
                    exists_until: at,
                    at,
                };
                let body = newest.and_then(|newest| newest.body);
                let name = (object.namespace.as_str(), object.name.as_str());
                self.explain_children(name, body.as_deref(), end)
            }
            // Its pods may have been seen deleted before.
            None if is_steered && object.origin != Origin::List => {
                let end = OwnerEnd {
                    version: Some(&object.version),
                    exists_until: object.received,
                    at: object.received,
                };
                let name = (object.namespace.as_str(), object.name.as_str());
                self.explain_children(name, None, end)
            }
            None => Ok(()),
        }
    }

    /// Other pods of the controller of a pod whose deletion is requested by this event. All pods are in one watch, so that
    /// what is stored is what existed then.
    pub(super) fn siblings(
        &self,
        stored: &StoredObject,
        object: &ObservedObject,
    ) -> rusqlite::Result<Option<u64>> {
        let is_pod = self.kind.kind == "Pod" && self.kind.group.is_empty();
        match stored
            .owner
            .as_deref()
            .filter(|_| is_pod && object.origin != Origin::List)
        {
            Some(owner) => TrackedObjectTable::of(self.conn).siblings(stored.id, owner),
            None => Ok(None),
        }
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

    /// Makes the revision before the newest one independent of it.
    fn free_older(&self, object: &mut StoredObject, newest: &Body) -> rusqlite::Result<()> {
        let revisions = RevisionTable::of(self.conn);
        if let Some(patch) = revisions.patch(object.id, object.revision - 1)? {
            let mut older = newest.clone();
            // It was written by this program.
            patch::apply(&mut older, serde_json::from_str(&patch).unwrap_or_default());
            revisions.keep_again(
                object.id,
                object.revision - 1,
                &Kept::Whole,
                &older.to_text(),
            )?;
        }
        Ok(())
    }

    /// Why a change was made, by its fields and their authors.
    fn habit(&self, loud: &[FieldChange<'_>], authors: &[Authorship<'_>]) -> Habit {
        let entries = || {
            authors
                .iter()
                .map(|authorship| authorship.author.map(|(entry, _)| entry))
        };
        let is_autoscaler =
            |entry: Option<&ManagedEntry<'_>>| entry.is_some_and(ManagedEntry::is_autoscaler);
        let is_kubectl =
            |entry: Option<&ManagedEntry<'_>>| entry.is_some_and(ManagedEntry::is_kubectl);
        if loud.iter().all(|field| field.swings) && entries().all(is_autoscaler) {
            return Habit::Swings;
        }
        let is_set_up = |field: &FieldChange<'_>| is_set_up(&self.kind.kind, &field.path);
        if loud.iter().all(is_set_up) && !entries().any(is_kubectl) {
            return Habit::SetsUp;
        }
        Habit::Any
    }

    /// An object was created: what controllers set of it in its first minutes joins its row.
    fn set_up_begins(
        &mut self,
        object: i64,
        row: EventKey,
        is_own: bool,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut fold = Fold::begin(&FoldTarget::Creation(object), at);
        (fold.key, fold.changes) = (row, 1);
        if is_own {
            fold.text = self.rows.description(self.conn, row)?;
            let extra = self.rows.extra(self.conn, row)?.unwrap_or_default();
            fold.add_authors(extra.get("by"));
        }
        self.state.churn.note_creation(object, fold, at);
        Ok(())
    }

    /// Adds a change to the row of the creation. A row that several objects share does not name it.
    fn set_up(
        &mut self,
        target: FoldTarget,
        mut fold: Fold,
        change: Record,
        at: Timestamp,
    ) -> rusqlite::Result<EventKey> {
        fold.changes += 1;
        fold.add_authors(change.extra.get("by"));
        if let Some(Value::Array(fields)) = change.extra.get("fields") {
            fold.add_fields(fields.clone());
        }
        let key = fold.key;
        if !fold.text.is_empty()
            && let Some(mut extra) = self.rows.extra(self.conn, key)?
        {
            extra.insert("fields".to_owned(), fold.parts.clone().into());
            if !fold.by.is_empty() {
                extra.insert("by".to_owned(), fold.by.clone().into());
            }
            extra.insert("changes".to_owned(), fold.changes.into());
            let record = Record {
                description: describe_set_up(&fold.text, &fold.parts),
                extra,
                ..change
            };
            self.rows.rewrite(self.conn, key, &sanitize(record), at)?;
        }
        self.state.churn.set_fold(target, fold);
        Ok(key)
    }

    fn insert_or_fold(
        &mut self,
        row: ChangeRow<'_>,
        folding: Option<Folding>,
    ) -> rusqlite::Result<EventKey> {
        match folding {
            Some(folding) => self.fold(folding.target, row),
            None => self.insert(row),
        }
    }

    /// Adds a change to an open row, or opens one.
    fn fold(&mut self, target: FoldTarget, row: ChangeRow<'_>) -> rusqlite::Result<EventKey> {
        let (at, what, op) = (row.at, row.name(), row.what.op());
        let kind = self.kind.kind.clone();
        let mut record = row.record().sanitize().record().clone();
        self.note_change(&record, at)?;
        let known = self.state.churn.fold(&target, at).cloned();
        let is_open = known.is_some();
        let mut fold = known.unwrap_or_else(|| Fold::begin(&target, at));
        if is_open && matches!(target, FoldTarget::Creation(_)) {
            return self.set_up(target, fold, record, at);
        }
        fold.add_authors(record.extra.get("by"));
        let (changes, since) = (fold.changes + 1, fold.since);
        let mut title = None;
        let extra = &mut record.extra;
        let part = match &target {
            FoldTarget::Changes(..) | FoldTarget::Creation(_) => {
                if let Some(Value::Array(fields)) = extra.get("fields") {
                    fold.add_fields(fields.clone());
                }
                if is_open {
                    record.description =
                        describe_folded(&what, (changes, since), &fold.parts, &fold.by);
                    title = title_of_folded(&record.reason, &fold.parts);
                }
                "fields"
            }
            FoldTarget::Life(_) => {
                record.reason = format!("{kind}Recreated");
                record.title = format!("{kind} created and deleted again and again");
                record.description =
                    format!("{what} was created or deleted {changes} times since {since}.");
                "objects"
            }
            FoldTarget::Group(group) => {
                if let Some(object) = &record.object {
                    fold.add_name(&object.name);
                }
                // The changes that share a row have different reasons; creations and deletions of a kind have one.
                if group.happened == Happened::Changed {
                    record.reason = format!("{kind}Changed");
                }
                record.title = format!("Many objects {op}: {kind}");
                record.description = group_text(group, (op, &kind), changes, &fold);
                for key in ["fields", "fields_left_out", "resource_version", "between"] {
                    extra.shift_remove(key);
                }
                "objects"
            }
        };
        fold.changes = changes;
        if !fold.parts.is_empty() {
            extra.insert(part.to_owned(), fold.parts.clone().into());
        }
        if !fold.by.is_empty() {
            extra.insert("by".to_owned(), fold.by.clone().into());
        }
        if changes > 1 || !matches!(target, FoldTarget::Changes(..)) {
            extra.insert("changes".to_owned(), changes.into());
            extra.insert("since".to_owned(), since.to_string().into());
        }
        let is_retitled = title.is_some();
        if let Some(title) = title {
            record.title = title;
        }
        let row = sanitize(record);
        if is_retitled {
            self.rows.retitle(self.conn, fold.key, &row)?;
        }
        if is_open {
            self.rows.rewrite(self.conn, fold.key, &row, at)?;
        } else {
            fold.key = self.rows.insert_internal(self.conn, &row, at, at)?;
        }
        let key = fold.key;
        self.state.churn.set_fold(target, fold);
        Ok(key)
    }

    /// The deletion of an object waits for its finalizers.
    fn deletion_begins(
        &mut self,
        object: &ObservedObject,
        body: &Body,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        let kind = &*self.kind.kind;
        // Those of a namespace wait until everything in it is deleted.
        let place = if kind == "Namespace" {
            "spec"
        } else {
            "metadata"
        };
        let finalizers = body
            .stored()
            .get(place)
            .and_then(|place| place.get("finalizers"))
            .map(plain);
        let finalizers: Vec<String> = finalizers
            .and_then(|list| serde_json::from_value(list).ok())
            .unwrap_or_default();
        let is_brief = finalizers.iter().all(|name| is_brief_finalizer(kind, name));
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
        end: End,
    ) -> rusqlite::Result<()> {
        let revisions = RevisionTable::of(self.conn);
        let newest = revisions.read(stored.id, stored.revision)?;
        let body = newest
            .as_ref()
            .and_then(|newest| newest.body.as_deref())
            .and_then(|text| Body::parse(text).ok())
            .unwrap_or_default();
        let when = match &newest {
            Some(newest) => when.not_before(newest.at),
            None => when,
        };
        let definition = (!self.kind.group.is_empty())
            .then(|| format!("{}.{}", self.kind.resource, self.kind.group));
        let facts = EndFacts {
            body: Some(&body),
            definition: definition.as_deref(),
            has_ended: end.has_ended,
            finished: end.finished.or(stored.finished),
            // A pod is being deleted with its conditions.
            is_unseen: !end.is_seen && stored.deletion.is_none(),
            version: end.is_seen.then_some(version),
        };
        let cause = cause_of(
            self.conn,
            &self.kind.kind,
            &stored,
            namespace,
            facts,
            when.at,
        )?;
        // What a controller deletes is explained by the row of the owner. The end of a pod is a row of the rules, which know
        // how its containers ended.
        let is_requested = matches!(cause.0, DeletionCause::Request | DeletionCause::EvictionApi);
        // A gap has a row of its own, so that what controllers may have deleted in it needs none.
        let is_child = self.is_child(&stored, (namespace, name), &body)? && !is_requested;
        let is_pod = self.kind.kind == "Pod" && self.kind.group.is_empty();
        let is_row = !is_child
            && (!is_pod || end.had_ended && has_known_controller(self.conn, &stored)?)
            && !is_made_by_the_cluster(&self.kind.kind, name);
        let member = (self.kind_id()?, namespace, stored.id);
        let life = Life {
            happened: Happened::Deleted(cause.0),
            is_again: self.state.churn.is_counted(stored.id),
            is_row,
        };
        let folding = self.state.churn.note_life(member, life, when.at);
        let is_thin = is_thinned(folding.as_ref(), newest.as_ref(), when.at);
        self.note_folded(namespace, folding.as_ref(), is_thin, when.at);
        self.note(match &folding {
            _ if is_child => Observed::Child,
            Some(folding) => folding.outcome,
            None => Observed::Deleted,
        });
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
                cause: Some(cause).filter(|(cause, _)| *cause != DeletionCause::Unknown),
            };
            Some(self.insert_or_fold(row, folding)?)
        } else {
            None
        };
        let revision = Revision {
            body: None,
            at: when.at,
            from: when.from,
            version,
            event: key,
            author: None,
            cause: Some(cause.0.as_str()),
        };
        if is_thin {
            self.free_older(&mut stored, &body)?;
            self.state.observed.thinned += 1;
            revisions.replace(stored.id, stored.revision, &revision)?;
        } else {
            stored.revision += 1;
            self.state.observed.revisions += 1;
            revisions.insert(stored.id, stored.revision, &revision)?;
        }
        stored.chain = Chain::default();
        stored.version = version.clone();
        stored.deleted = Some(when.at);
        TrackedObjectTable::of(self.conn).update(&stored)?;
        let end = OwnerEnd {
            version: end.is_seen.then_some(version),
            exists_until: when.earliest(),
            at: when.at,
        };
        let body = newest.and_then(|newest| newest.body);
        self.explain_children((namespace, name), body.as_deref(), end)
    }

    /// Watches of different kinds are not in order, and neither are lists: what was deleted because of this object may have
    /// been seen before it.
    fn explain_children(
        &mut self,
        (namespace, name): (&str, &str),
        body: Option<&str>,
        end: OwnerEnd<'_>,
    ) -> rusqlite::Result<()> {
        let kind = &*self.kind.kind;
        let is_namespace = kind == "Namespace" && self.kind.group.is_empty();
        let children = children_of(kind);
        if !is_namespace && children.is_empty() {
            return Ok(());
        }
        let table = TrackedObjectTable::of(self.conn);
        let since = end.exists_until.minus(CAUSE_LATE_MAX);
        let found = if is_namespace {
            table.deleted_since(since, name, "")?
        } else if kind == CLAIM {
            let volume = body
                .and_then(|text| Body::parse(text).ok())
                .and_then(|body| {
                    let volume = body.stored().get("spec")?.get("volumeName")?.as_text()?;
                    Some(volume.to_owned())
                });
            let mut found = match volume {
                Some(_) => table.deleted_since(since, "", "")?,
                None => Vec::new(),
            };
            found.retain(|one| Some(&one.name) == volume.as_ref());
            found
        } else {
            table.deleted_since(since, namespace, &format!("{kind}/{name}"))?
        };
        for child in found {
            let is_child = children.contains(&(&*child.group, &*child.kind));
            if is_namespace || is_child {
                self.explain_child(&child, end)?;
            }
        }
        Ok(())
    }

    fn explain_child(&mut self, child: &DeletedName, end: OwnerEnd<'_>) -> rusqlite::Result<()> {
        let (kind, namespace) = (&*child.kind, &*child.namespace);
        let found =
            TrackedObjectTable::of(self.conn).find(child.kind_id, namespace, &child.name)?;
        let Some((stored, deleted)) = found.and_then(|stored| {
            let deleted = stored.deleted?;
            Some((stored, deleted))
        }) else {
            return Ok(());
        };
        let revisions = RevisionTable::of(self.conn);
        let is_before = match end.version {
            Some(version) => stored.version.is_older_than(version),
            None => deleted.plus(SECOND) < end.exists_until,
        };
        if is_before {
            return Ok(());
        }
        // The owner ended in a gap, perhaps after this one.
        let is_unproven = end.version.is_none()
            && deleted < end.at
            && revisions.is_exact(stored.id, stored.revision)?;
        let text = revisions.last_body(stored.id)?;
        let body = text.as_deref().and_then(|text| Body::parse(text).ok());
        let facts = EndFacts {
            body: body.as_ref(),
            finished: stored.finished,
            ..EndFacts::default()
        };
        let (cause, certainty) = cause_of(self.conn, kind, &stored, namespace, facts, deleted)?;
        let cause = match cause {
            DeletionCause::Request | DeletionCause::Unknown => return Ok(()),
            _ if is_unproven => DeletionCause::Unknown,
            cause => cause,
        };
        if let Some(row) = revisions.explain(stored.id, stored.revision, cause)? {
            let known =
                (cause != DeletionCause::Unknown).then(|| (cause.as_str(), certainty.as_str()));
            self.rows.note_cause(self.conn, row, known)?;
        }
        Ok(())
    }

    /// A CronJob that replaces a Job creates the next one directly after it. The name of that one ends with the minute for
    /// which it is scheduled, before which no Job is replaced.
    fn explain_replaced(&self, kind: i64, job: &ObservedObject) -> rusqlite::Result<()> {
        let Some(owner) = job
            .owner
            .as_ref()
            .filter(|owner| owner.kind.as_str() == CRON_JOB)
        else {
            return Ok(());
        };
        let name = owner.name.as_str();
        let minute = job.name.as_str().strip_prefix(name);
        let minute = minute.and_then(|minute| minute.strip_prefix('-')?.parse::<i64>().ok());
        let Some(scheduled) = minute.map(|minute| Timestamp::from_secs(minute.saturating_mul(60)))
        else {
            return Ok(());
        };
        let (table, revisions) = (
            TrackedObjectTable::of(self.conn),
            RevisionTable::of(self.conn),
        );
        let since = scheduled.max(job.received.minus(REPLACED_MAX));
        let namespace = job.namespace.as_str();
        for one in table.deleted_since(since, namespace, &format!("{CRON_JOB}/{name}"))? {
            let found = table.find(kind, namespace, &one.name)?;
            let Some(stored) = found.filter(|found| found.finished.is_none()) else {
                continue;
            };
            let is_unknown = revisions.cause(stored.id, stored.revision)?.as_deref()
                == Some(DeletionCause::Unknown.as_str());
            if is_unknown && one.kind_id == kind && stored.version.is_older_than(&job.version) {
                revisions.explain(stored.id, stored.revision, DeletionCause::Replaced)?;
            }
        }
        Ok(())
    }

    fn is_child(
        &self,
        stored: &StoredObject,
        (namespace, name): (&str, &str),
        body: &Body,
    ) -> rusqlite::Result<bool> {
        if !matches!(&*self.kind.group, "" | "batch") {
            return Ok(false);
        }
        let member = Member {
            kind: &self.kind.kind,
            namespace,
            name,
            owner: stored.owner.as_deref(),
            body,
        };
        member.is_child(self.conn)
    }

    /// When a change happened: as its author's entry says, if that is possible. `seen`: when the state before was last seen.
    fn when(&self, object: &ObservedObject, author: Option<Timestamp>, seen: Timestamp) -> When {
        let is_possible =
            |at: &Timestamp| at.second() >= seen.second() && *at <= object.received.plus(SECOND);
        let possible = author.filter(is_possible);
        let observed_late = object.origin != Origin::Live;
        let at = possible.unwrap_or(object.received);
        // A state of a list may be the last of several: the time of its author tells when it was complete.
        let is_exact = match object.origin {
            Origin::Live => object.is_next,
            _ => possible.is_some() && object.is_next,
        };
        // The watch is current, but not with an object whose last event could not be read.
        let from = || match object.origin {
            Origin::Live => seen,
            origin => self.last_seen(origin, seen),
        };
        When {
            at,
            from: (!is_exact).then(|| from().min(at)),
            observed_late,
        }
    }

    /// Until when an object is known to have been as it was `seen` last.
    pub(super) fn last_seen(&self, origin: Origin, seen: Timestamp) -> Timestamp {
        let confirmed_at = match (origin, self.list()) {
            (Origin::List, Some(list)) => list.from,
            _ => self.confirmed_at,
        };
        confirmed_at.map_or(seen, |confirmed_at| confirmed_at.max(seen))
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

    fn body_of<'o>(&self, object: &'o ObservedObject) -> Option<(&'o ObservedContent, Body<'o>)> {
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
        by: Vec<ShownAuthor>,
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
        let row = row.record().sanitize();
        self.note_change(row.record(), at)?;
        self.rows.insert_internal(self.conn, &row, at, at)
    }

    /// Passes a change to the rules, before its row is stored.
    /// Counts a change for the metrics, and notes it for the rules.
    fn note_change(&mut self, record: &Record, at: Timestamp) -> rusqlite::Result<()> {
        let Some(object) = &record.object else {
            return Ok(());
        };
        let kind = object_in_group(object, &record.api_group).kind;
        *self.state.changes.entry(kind).or_default() += 1;
        // The template of a pod with a controller is its controller's.
        if (object.kind != "Pod" || record.owner.is_none())
            && let Some(change) = breaking(object, &record.title, &record.extra, at)
        {
            self.rows.commit_delta.note_change(change);
        }
        if record.extra.get("op").and_then(Value::as_str) == Some("deleted") {
            let deleted = object_in_group(object, &record.api_group);
            self.rows.commit_delta.note_deletion(deleted);
        }
        let mut writes = field_writes(record, at);
        if writes.iter().any(may_be_outside) {
            let rows = self.rows.changes_of(self.conn, object, &record.api_group)?;
            for write in writes.iter_mut().filter(|write| may_be_outside(write)) {
                write.former = former_deployer(&write.path, &rows).unwrap_or_default();
            }
        }
        for write in writes {
            self.rows.commit_delta.note_write(write);
        }
        Ok(())
    }
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
    let uid = owner.uid.as_ref().map_or("", |uid| uid.as_str());
    Some(format!("{}/{}/{uid}", owner.kind, owner.name))
}

/// Whether a revision replaces the one before, because what happens to its object is folded.
fn is_thinned(folding: Option<&Folding>, newest: Option<&NewestRevision>, at: Timestamp) -> bool {
    folding.is_some_and(|folding| folding.is_thinned)
        && newest.is_some_and(|newest| at.since(newest.since) < THIN)
}

/// The authors of a revision that stands for several changes; unknown if that of one is.
fn merged(known: Option<&str>, other: Option<&str>) -> Option<String> {
    let (known, other) = (known?, other?);
    let mut names: Vec<&str> = known.split(", ").chain(other.split(", ")).collect();
    names.sort_unstable();
    names.dedup();
    match known == other {
        true => Some(known.to_owned()),
        false => Some(clean_text(&names.join(", "), AUTHOR_BYTES_MAX)),
    }
}

/// What happened to several objects, in words.
fn group_text(group: &Group, (op, kind): (&str, &str), changes: u32, fold: &Fold) -> String {
    let place = match &*group.namespace {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    let why = match group.happened {
        Happened::Deleted(cause) if cause != DeletionCause::Request => {
            format!(" ({})", cause.as_str())
        }
        _ => String::new(),
    };
    let names: Vec<&str> = fold.parts.iter().filter_map(Value::as_str).collect();
    let more = if (names.len() as u64) < u64::from(changes) {
        ", and more"
    } else {
        ""
    };
    format!(
        "{changes} times since {}, an object of kind {kind} was {op}{place}{why}, besides those that have rows of their own: \
         {}{more}.",
        fold.since,
        names.join(", ")
    )
}

impl StoredObject {
    /// Notes what its last state says of its end.
    pub(super) fn note_end(&mut self, object: &ObservedObject) {
        self.disruption = disruption(object).or(self.disruption.take());
        self.owner = owner_text(object);
        self.deletion = object.deletion.or(self.deletion);
    }
}

/// The part of a body that has the labels.
fn labels<'t>(body: &Body<'t>) -> Body<'t> {
    let metadata = body.stored().get("metadata");
    let labels = metadata.and_then(|metadata| metadata.get("labels"));
    let map = |key: &'static str, value| Fields::new(vec![(key.into(), value)]);
    Body::from_stored(match labels {
        Some(labels) => map("metadata", Stored::Map(map("labels", labels.clone()))),
        None => Fields::default(),
    })
}
