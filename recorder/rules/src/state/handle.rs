//! Handling of the informers' messages: rows of changes, and subjects to evaluate.

use std::collections::BTreeSet;

use kube9_ingest::informer_event::{InformerEvent, InformerMessage};
use kube9_ingest::item::{Change, Item};
use kube9_ingest::maps::Set;
use kube9_ingest::objects::{Fit, Object};
use kube9_ingest::sanitize::{Clean, sanitize};
use kube9_model::label::{Kind, Label};
use kube9_model::resume::off_name;
use kube9_model::time::Timestamp;
use kube9_model::watch::{RelistCause, SourceMarker, WatchId};
use kube9_model::{ObjectRef, Severity};

use super::quota::Cause;
use super::{Analysis, items};
use crate::changes::{self, Diff, ObjectSnapshot, UnobservedInterval};
use crate::controller::controller;
use crate::findings::Evaluation;
use crate::freshness::InformerView;
use crate::rules::PERMISSION;
use crate::rules::symptoms::RuleOutput;
use crate::subject::{ObjectKey, Subject, SubjectKind, clean_key, object_ref, path};

/// Deletes the snapshot of an object, without a row and without moving the position.
fn without_facts(watch: WatchId, name: &str) -> Item {
    snapshot_only(watch, name, None)
}

/// Stores in `object_snapshot` that the rules of a namespace are off.
fn off_mark(watch: WatchId, namespace: &str) -> Item {
    let marker = serde_json::json!({});
    snapshot_only(watch, &off_name(namespace), Clean::json(&marker))
}

fn snapshot_only(watch: WatchId, name: &str, snapshot: Option<Clean>) -> Item {
    Item::Change(Box::new(Change {
        watch,
        name: Clean::name(name),
        snapshot,
        rows: Vec::new(),
        version: None,
    }))
}

fn key_of(object: &Object) -> ObjectKey {
    let meta = object.meta();
    clean_key(object.kind().name(), &meta.namespace, &meta.name)
}

impl Analysis {
    /// Handles a message of an informer.
    pub fn handle(&mut self, message: InformerMessage, now: Timestamp) -> Vec<Item> {
        let mut out = Vec::new();
        let watch = message.watch;
        if self.freshness.source(watch).is_none() {
            return out; // not registered
        }
        match message.event {
            InformerEvent::Init { cause } => self.list_begun(watch, cause, now, &mut out),
            InformerEvent::Apply(mut object) => {
                self.forget_last_words(&mut object);
                self.applied(watch, object, now, &mut out);
            }
            InformerEvent::Delete(mut object) => {
                self.forget_last_words(&mut object);
                let key = key_of(&object);
                self.world.fill_times(&key, &mut object, now);
                self.vanished(watch, &key, Some(&object), None, now, &mut out);
            }
            InformerEvent::Unreadable => {}
            InformerEvent::Undecodable { namespace, name } => {
                if let Some(source) = self.source(watch) {
                    source.mark_listed(&clean_key(source.kind.name(), &namespace, &name));
                }
            }
            InformerEvent::InitDone {
                version,
                at,
                server_time,
                objects,
            } => {
                let vanished = self.listed(watch, at.min(server_time), now, &mut out);
                // A list at the stored position shows the stored state: the position stays, without a gap.
                if self
                    .source(watch)
                    .is_some_and(|source| !source.is_resuming())
                {
                    let marker = SourceMarker::Synced {
                        version,
                        at,
                        server_time,
                        listed: objects,
                        vanished,
                    };
                    out.push(Item::Marker { watch, marker });
                }
                self.tried(watch, false, &mut out);
            }
            InformerEvent::Connected => {
                self.permission(watch, None, now, &mut out);
                if let Some(source) = self.source(watch) {
                    source.connected(now);
                }
            }
            InformerEvent::Behind(reads_backlog) => {
                if let Some(source) = self.source(watch) {
                    source.reads_backlog = reads_backlog;
                }
            }
            InformerEvent::Disconnected {
                message: why,
                forbidden,
            } => {
                self.freshness.disconnected(watch, now);
                if forbidden {
                    self.tried(watch, true, &mut out);
                    self.permission(watch, Some(&why), now, &mut out);
                }
            }
            InformerEvent::Bookmark {
                version,
                at,
                is_last,
            } => {
                let source = self.source(watch);
                if source.is_some_and(|source| source.confirm(at) || is_last) {
                    out.push(Item::Marker {
                        watch,
                        marker: SourceMarker::Confirmed { version, at },
                    });
                }
            }
            InformerEvent::Regressed(regressed) => out.push(Item::Marker {
                watch,
                marker: SourceMarker::Regressed {
                    version: regressed.found,
                    at: regressed.at,
                    is_first: regressed.is_first,
                },
            }),
            InformerEvent::StoreReplaced => self.reset(watch, &mut out),
        }
        out
    }

    fn forget_last_words(&self, object: &mut Object) {
        if let Object::Pod(pod) = object
            && !self.config.last_words.messages
        {
            pod.forget_last_words();
        }
    }

    fn source(&mut self, watch: WatchId) -> Option<&mut InformerView> {
        self.freshness.source(watch)
    }

    fn list_begun(
        &mut self,
        watch: WatchId,
        cause: RelistCause,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        source.list_begins(cause, now);
        self.quota.list_begins(watch);
        if cause == RelistCause::Resumed {
            return;
        }
        out.push(Item::Marker {
            watch,
            marker: SourceMarker::Init {
                list_generation: 0, // numbers tell Events of `dedup` apart; objects have no entries there
                cause,
                at: now,
            },
        });
    }

    fn applied(&mut self, watch: WatchId, mut object: Object, now: Timestamp, out: &mut Vec<Item>) {
        let mut key = key_of(&object);
        let kind = object.kind();
        if self.quota.leaves_out(&key.namespace) {
            self.left_out += 1;
            return;
        }
        if object.meta().fit == Fit::TooLarge {
            self.left_out += 1;
            self.switch_off(watch, &key.namespace, Cause::Object, now, out);
            return;
        }
        let Some(source) = self.freshness.source(watch) else {
            return;
        };
        // Use the key that is in memory already, so that every map shares it.
        let known = source.snapshots.get_key_value(&key);
        let known = known.map(|(known, facts)| (known.clone(), facts.are_of(&object)));
        let is_another = known.as_ref().is_some_and(|(_, same)| !same);
        key = known.map_or(key, |(known, _)| known);
        let (late, first) = (source.unobserved_interval(now), source.first);
        let version = source.resource_version_of(&object);
        self.world.fill_times(&key, &mut object, now);
        if is_another {
            self.vanished(watch, &key, None, late, now, out);
        }
        if let Object::Pod(pod) = &object {
            self.owners.add_pod(&key, controller(&pod.meta));
        }
        let Some(source) = self.freshness.source(watch) else {
            return;
        };
        let before = source.snapshots.get(&key);
        let after = ObjectSnapshot::of(&object, before);
        // The previous state of an object that was left out is unknown.
        let returns = before.is_none() && self.quota.is_off(&key.namespace);
        let rows = if first || returns {
            Vec::new()
        } else {
            changes::rows(&Diff {
                before,
                after: Some(&after),
                object: Some(&object),
                subject: object_ref(kind.name(), object.meta()),
                at: now,
                late,
            })
        };
        if before != Some(&after) || !rows.is_empty() {
            if after.of.is_stored() {
                out.push(Item::Change(Box::new(Change {
                    watch,
                    name: Clean::name(&path(&key)),
                    snapshot: Clean::json(&after),
                    rows: rows.into_iter().map(sanitize).collect(),
                    version,
                })));
                source.changed = true;
            }
            source.snapshots.insert(key.clone(), after);
        }
        source.mark_listed(&key);
        let mut dirty = BTreeSet::new();
        let stable_after = self.config.thresholds.stable_after;
        self.world
            .apply(key.clone(), object, now, stable_after, &mut dirty);
        self.work_queue.enqueue(dirty);
        self.stay_within(&key.namespace, now, out);
    }

    /// Turns off namespaces until the memory limits hold, after `namespace` has grown.
    pub(super) fn stay_within(&mut self, namespace: &str, now: Timestamp, out: &mut Vec<Item>) {
        let ledgers = |all: &Self| {
            let ledgers = [&all.world.ledger, all.findings.ledger()];
            all.quota.over(namespace, ledgers)
        };
        // Each iteration turns off one more namespace.
        while let Some((namespace, cause)) = ledgers(self) {
            let Some(watch) = self.freshness.watches().next() else {
                return;
            };
            self.switch_off(watch, &namespace, cause, now, out);
        }
    }

    /// Removes the objects of a namespace and their snapshots, also in the database. Its findings are closed later, when
    /// their subjects are evaluated: each is a row, and there may be tens of thousands.
    fn switch_off(
        &mut self,
        watch: WatchId,
        namespace: &str,
        cause: Cause,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        self.quota.switch_off(namespace, cause, now);
        let mut dirty = BTreeSet::new();
        for (kind, watch, key) in self.freshness.forget(namespace) {
            self.world.remove(kind, &key, &mut dirty);
            if kind == Kind::Pod {
                self.owners.forget(&key);
            }
            out.push(without_facts(watch, &path(&key)));
        }
        self.world.forget_namespace(namespace);
        self.world.trim();
        out.push(off_mark(watch, namespace));
        self.idle_cron_jobs
            .retain(|subject, _| subject.namespace() != namespace);
        self.work_queue.enqueue(dirty);
        self.work_queue
            .enqueue(self.findings.of_namespace(namespace));
    }

    /// A list is complete or refused. A namespace that is being retried is on again after all lists.
    fn tried(&mut self, watch: WatchId, refused: bool, out: &mut Vec<Item>) {
        let freshness = &self.freshness;
        let all = |listed: &Set<WatchId>| freshness.watches().all(|watch| listed.contains(&watch));
        let on = self.quota.listed(watch, refused, all);
        if on.is_empty() {
            return;
        }
        for namespace in &on {
            let name = off_name(namespace);
            out.extend(freshness.watches().map(|watch| without_facts(watch, &name)));
        }
        self.work_queue.enqueue(self.world.subjects());
    }

    /// An object was deleted; `object` is its last state if that was observed.
    fn vanished(
        &mut self,
        watch: WatchId,
        key: &ObjectKey,
        object: Option<&Object>,
        late: Option<UnobservedInterval>,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        let kind = source.kind;
        let late = late.or_else(|| source.unobserved_interval(now));
        let version = object.and_then(|object| source.resource_version_of(object));
        if let Some(before) = source.snapshots.remove(key)
            && before.of.is_stored()
        {
            source.changed = true;
            let rows = changes::rows(&Diff {
                before: Some(&before),
                after: None,
                object,
                subject: ObjectRef::clone(key),
                at: now,
                late,
            });
            out.push(Item::Change(Box::new(Change {
                watch,
                name: Clean::name(&path(key)),
                snapshot: None,
                rows: rows.into_iter().map(sanitize).collect(),
                version,
            })));
        }
        if kind == Kind::Pod {
            self.owners.mark_pod_deleted(key);
        }
        let mut dirty = BTreeSet::new();
        self.world.remove(kind, key, &mut dirty);
        self.work_queue.enqueue(dirty);
    }

    /// Removes the objects that a complete list did not show; returns their number.
    fn listed(
        &mut self,
        watch: WatchId,
        proven: Timestamp,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) -> u64 {
        let Some(source) = self.source(watch) else {
            return 0;
        };
        let (missing, late) = source.list_ends(proven);
        let vanished = missing.len() as u64;
        for key in missing {
            self.vanished(watch, &key, None, late, now, out);
        }
        vanished
    }

    /// Opens or closes the finding that the recorder may not read a kind.
    fn permission(
        &mut self,
        watch: WatchId,
        denied: Option<&str>,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        let kind = source.kind.name();
        let (name, scope) = match &*source.namespace {
            "" => (kind.to_owned(), "all namespaces".to_owned()),
            namespace => (
                format!("{kind}/{namespace}"),
                format!("namespace {namespace}"),
            ),
        };
        let subject = Subject::named(SubjectKind::Watch, &name);
        let evaluation = Evaluation {
            rule: PERMISSION.name,
            event_type: PERMISSION.event_type,
            subject: &subject,
            identity: &name,
            object: None,
            bearer: "",
            sees_part: false,
            had_none: false,
            now,
        };
        let mut output = RuleOutput::default();
        if let Some(why) = denied {
            let description = format!(
                "The API server does not allow the recorder to list or watch {kind}s in {scope}: {why}. \
                 Their changes and findings are missing; other kinds are not affected. \
                 Grant `get`, `list` and `watch`. The recorder retries on its own."
            );
            let title = format!("Permission to watch {kind}s is missing");
            output
                .add(Severity::Error, now, title, description)
                .with("kind", kind)
                .with("scope", scope);
        }
        let mut steps = Vec::new();
        self.findings.reconcile(&evaluation, output, &mut steps);
        out.extend(items(steps));
    }

    /// The database is a new one: all objects are stored again, without rows.
    fn reset(&mut self, watch: WatchId, out: &mut Vec<Item>) {
        if let Some(source) = self.source(watch) {
            source.snapshots.clear();
        }
        // Every informer reports it; the first report clears the findings. A second report of the same informer means
        // another new database.
        if !self.reset_informers.insert(watch) {
            self.reset_informers.clear();
            self.reset_informers.insert(watch);
        }
        if self.reset_informers.len() == 1 {
            self.findings.forget();
            let off = self.quota.names();
            out.extend(off.map(|name| off_mark(watch, name)));
            self.work_queue.enqueue(self.world.subjects());
        }
    }
}
