//! The tables `tracked_kind` and `tracked_object`: what is known of each tracked object besides its revisions.

use kube9_ingest::attribution::Stamps;
use kube9_ingest::item::FinishedJob;
use kube9_ingest::tracker::NewestObject;
use kube9_model::change::kinds::TrackedKind;
use kube9_model::change::patch::Chain;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::retention::UnwatchedKind;
use crate::identity::Sql;
use crate::statements::Counting as _;

/// A tracked object.
#[derive(Debug, Clone)]
pub(super) struct StoredObject {
    pub(super) id: i64,
    pub(super) uid: Uid,
    pub(super) version: ResourceVersion,
    /// Number of its newest revision.
    pub(super) revision: i64,
    pub(super) form: u64,
    /// When its last event was received.
    pub(super) seen: Timestamp,
    /// The patches below the newest revision.
    pub(super) chain: Chain,
    /// `None` where authors cannot be told by them.
    pub(super) stamps: Option<Stamps>,
    /// `Kind/name/uid` of its controller; `Deployment/name` of a pod that is deleted.
    pub(super) owner: Option<String>,
    /// When its deletion was requested.
    pub(super) deletion: Option<Timestamp>,
    /// When its replicas were last reduced.
    pub(super) scaled_down: Option<Timestamp>,
    /// When its template of pods last changed.
    pub(super) template_changed: Option<Timestamp>,
    /// Why a pod is being deleted, by its condition.
    pub(super) disruption: Option<String>,
    /// When its deletion was requested: other pods of its controller and template that were not being deleted.
    pub(super) siblings: Option<u64>,
    /// How a Job ended.
    pub(super) finished: Option<FinishedJob>,
    /// When it was deleted.
    pub(super) deleted: Option<Timestamp>,
}

/// An object that was deleted.
#[derive(Debug)]
pub(super) struct DeletedName {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) kind_id: i64,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl StoredObject {
    /// It was deleted, or that was requested.
    pub(super) const fn is_ending(&self) -> bool {
        self.deleted.is_some() || self.deletion.is_some()
    }
}

/// The tables; writes happen within a transaction of the caller.
#[derive(Clone, Copy)]
pub(super) struct TrackedObjectTable<'c> {
    conn: &'c Connection,
}

const FIND: &str = "SELECT id, uid, resource_version, revision, form, seen_ms, chain_steps, chain_bytes, stamps, owner, deletion_ms, \
     scaled_down_ms, template_ms, disruption, finished_ms, deleted_ms, is_failed, siblings FROM tracked_object WHERE kind = ?1 AND namespace = ?2 AND name = ?3";

impl<'c> TrackedObjectTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    /// Id of a kind that has objects.
    pub(super) fn known_kind(&self, group: &str, kind: &str) -> rusqlite::Result<Option<i64>> {
        self.conn
            .counted("SELECT id FROM tracked_kind WHERE api_group = ?1 AND kind = ?2")?
            .query_row((group, kind), |row| row.get(0))
            .optional()
    }

    /// Id of a kind that has objects, and whether they are in namespaces.
    pub(super) fn known_kind_scope(
        &self,
        group: &str,
        kind: &str,
    ) -> rusqlite::Result<Option<(i64, bool)>> {
        self.conn
            .counted("SELECT id, namespaced FROM tracked_kind WHERE api_group = ?1 AND kind = ?2")?
            .query_row((group, kind), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
    }

    /// Id of a kind that has objects, by its group and plural.
    pub(super) fn known_resource(
        &self,
        (group, resource): (&str, &str),
    ) -> rusqlite::Result<Option<i64>> {
        self.conn
            .counted("SELECT id FROM tracked_kind WHERE api_group = ?1 AND resource = ?2")?
            .query_row((group, resource), |row| row.get(0))
            .optional()
    }

    /// Id of a kind; stores the kind if it is new, or its version if that is another one.
    pub(super) fn kind(&self, kind: &TrackedKind) -> rusqlite::Result<i64> {
        if let Some(id) = self.known_kind(&kind.group, &kind.kind)? {
            self.conn
                .counted("UPDATE tracked_kind SET version = ?2 WHERE id = ?1 AND version <> ?2")?
                .execute((id, &*kind.version))?;
            return Ok(id);
        }
        self.conn
            .counted(
                "INSERT INTO tracked_kind (api_group, kind, version, resource, namespaced) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((
                &*kind.group,
                &*kind.kind,
                &*kind.version,
                &*kind.resource,
                kind.namespaced,
            ))?;
        Ok(self.conn.last_insert_rowid())
    }

    pub(super) fn find(
        &self,
        kind: i64,
        namespace: &str,
        name: &str,
    ) -> rusqlite::Result<Option<StoredObject>> {
        self.conn
            .counted(FIND)?
            .query_row((kind, namespace, name), read)
            .optional()
    }

    /// Adds an object; returns its id.
    pub(super) fn insert(
        &self,
        kind: i64,
        namespace: &str,
        name: &str,
        created: Option<Timestamp>,
        object: &StoredObject,
    ) -> rusqlite::Result<i64> {
        self.conn
            .counted(
                "INSERT INTO tracked_object (kind, namespace, name, uid, resource_version, revision, form, seen_ms, \
                 chain_steps, chain_bytes, stamps, owner, deletion_ms, scaled_down_ms, template_ms, disruption, \
                 finished_ms, deleted_ms, is_failed, created_ms) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
            )?
            .execute(rusqlite::params![
                kind,
                namespace,
                name,
                Sql(&object.uid),
                Sql(&object.version),
                object.revision,
                object.form.cast_signed(),
                object.seen.millis(),
                object.chain.steps,
                object.chain.bytes.cast_signed(),
                object.stamps.as_ref().map(Stamps::to_bytes),
                object.owner,
                object.deletion.map(Timestamp::millis),
                object.scaled_down.map(Timestamp::millis),
                object.template_changed.map(Timestamp::millis),
                object.disruption,
                object.finished.map(|finished| finished.at.millis()),
                object.deleted.map(Timestamp::millis),
                object.finished.map(|finished| finished.is_failed),
                created.map(Timestamp::millis),
            ])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Replaces what is known of an object.
    pub(super) fn update(&self, object: &StoredObject) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "UPDATE tracked_object SET uid = ?2, resource_version = ?3, revision = ?4, form = ?5, seen_ms = ?6, \
                 chain_steps = ?7, chain_bytes = ?8, stamps = ?9, owner = ?10, deletion_ms = ?11, scaled_down_ms = ?12, \
                 template_ms = ?13, disruption = ?14, finished_ms = ?15, deleted_ms = ?16, is_failed = ?17, siblings = ?18, unwatched_ms = NULL, unread_ms = NULL WHERE id = ?1",
            )?
            .execute(rusqlite::params![
                object.id,
                Sql(&object.uid),
                Sql(&object.version),
                object.revision,
                object.form.cast_signed(),
                object.seen.millis(),
                object.chain.steps,
                object.chain.bytes.cast_signed(),
                object.stamps.as_ref().map(Stamps::to_bytes),
                object.owner,
                object.deletion.map(Timestamp::millis),
                object.scaled_down.map(Timestamp::millis),
                object.template_changed.map(Timestamp::millis),
                object.disruption,
                object.finished.map(|finished| finished.at.millis()),
                object.deleted.map(Timestamp::millis),
                object.finished.map(|finished| finished.is_failed),
                object.siblings.map(u64::cast_signed),
            ])?;
        Ok(())
    }

    /// An event of an object could not be read: until the next one, its state is not known.
    pub(super) fn mark_unread(
        &self,
        kind: i64,
        namespace: &str,
        name: &str,
        at: Timestamp,
    ) -> rusqlite::Result<()> {
        self.conn
            .counted(
                "UPDATE tracked_object SET unread_ms = max(seen_ms, ?4) WHERE kind = ?1 AND namespace = ?2 AND name = ?3 \
                 AND deleted_ms IS NULL AND unread_ms IS NULL",
            )?
            .execute((kind, namespace, name, at.millis()))?;
        Ok(())
    }

    /// The objects of a kind that exist, in a namespace or (empty) in all, with their versions.
    pub(super) fn versions(
        &self,
        kind: i64,
        in_namespace: &str,
    ) -> rusqlite::Result<Vec<(Uid, ResourceVersion)>> {
        self.conn
            .counted(
                "SELECT uid, resource_version FROM tracked_object WHERE kind = ?1 AND deleted_ms IS NULL \
                 AND (?2 = '' OR namespace = ?2)",
            )?
            .query_map((kind, in_namespace), |row| {
                Ok((
                    row.get::<_, Sql<Uid>>(0)?.0,
                    row.get::<_, Sql<ResourceVersion>>(1)?.0,
                ))
            })?
            .collect()
    }

    /// The forms of the bodies of a kind's objects that exist, in a namespace or (empty) in all.
    pub(super) fn forms(&self, kind: i64, in_namespace: &str) -> rusqlite::Result<Vec<u64>> {
        self.conn
            .counted(
                "SELECT DISTINCT form FROM tracked_object WHERE kind = ?1 AND deleted_ms IS NULL \
                 AND (?2 = '' OR namespace = ?2)",
            )?
            .query_map((kind, in_namespace), |row| {
                row.get::<_, i64>(0).map(i64::cast_unsigned)
            })?
            .collect()
    }

    /// The object of a kind with the highest version, in a namespace or (empty) in all.
    pub(super) fn newest(
        &self,
        kind: i64,
        in_namespace: &str,
    ) -> rusqlite::Result<Option<NewestObject>> {
        self.conn
            .counted(
                "SELECT namespace, name, uid, resource_version FROM tracked_object WHERE kind = ?1 \
                 AND deleted_ms IS NULL AND typeof(resource_version) = 'integer' AND (?2 = '' OR namespace = ?2) \
                 ORDER BY resource_version DESC LIMIT 1",
            )?
            .query_row((kind, in_namespace), |row| {
                Ok(NewestObject {
                    namespace: row.get(0)?,
                    name: row.get(1)?,
                    uid: row.get::<_, Sql<Uid>>(2)?.0.to_string(),
                    version: row.get(3)?,
                })
            })
            .optional()
    }

    /// Objects that were deleted since a time, the last ones first: of a namespace or (empty) of any, and of an owner
    /// (`Kind/name`) or (empty) of any.
    pub(super) fn deleted_since(
        &self,
        since: Timestamp,
        namespace: &str,
        owner: &str,
    ) -> rusqlite::Result<Vec<DeletedName>> {
        /// An owner with more of them has rows that several objects share.
        const AT_MOST: i64 = 500;
        self.conn
            .counted(
                // From the slash before the uid to the next character.
                "SELECT k.api_group, k.kind, o.kind, o.namespace, o.name FROM tracked_object o \
                 JOIN tracked_kind k ON k.id = o.kind WHERE o.deleted_ms >= ?1 AND (?2 = '' OR o.namespace = ?2) \
                 AND (?3 = '' OR o.owner >= ?3 || '/' AND o.owner < ?3 || '0') ORDER BY o.deleted_ms DESC LIMIT ?4",
            )?
            .query_map((since.millis(), namespace, owner, AT_MOST), |row| {
                Ok(DeletedName {
                    group: row.get(0)?,
                    kind: row.get(1)?,
                    kind_id: row.get(2)?,
                    namespace: row.get(3)?,
                    name: row.get(4)?,
                })
            })?
            .collect()
    }

    /// How many newer objects of the same owner exist that have finished in the same way; a newer one has a higher id.
    pub(super) fn newer_finished(
        &self,
        kind: i64,
        namespace: &str,
        object: &StoredObject,
        is_failed: bool,
    ) -> rusqlite::Result<u32> {
        self.conn
            .counted(
                "SELECT count(*) FROM tracked_object WHERE kind = ?1 AND namespace = ?2 AND owner = ?3 AND id > ?4 \
                 AND finished_ms IS NOT NULL AND is_failed = ?5 AND deleted_ms IS NULL",
            )?
            .query_row((kind, namespace, &object.owner, object.id, is_failed), |row| row.get(0))
    }

    /// Notes since when the objects that none of these watches covers are not watched, and that the others are. A watch is
    /// a name of the kind, and a namespace or (empty) all.
    pub(super) fn note_watched(&self, watches: &[(String, String)]) -> rusqlite::Result<()> {
        let kinds: Vec<(i64, String, String)> = self
            .conn
            .counted(
                "SELECT id, kind, iif(api_group = '', resource, resource || '.' || api_group) FROM tracked_kind",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_, _>>()?;
        for (id, kind, resource) in kinds {
            let namespaces: Vec<&str> = watches
                .iter()
                .filter(|(name, _)| *name == kind || *name == resource)
                .map(|(_, namespace)| &**namespace)
                .collect();
            let is_all = namespaces.contains(&"");
            let namespaces = Value::from(namespaces).to_string();
            self.conn
                .counted(
                    "UPDATE tracked_object SET unwatched_ms = NULL WHERE kind = ?1 AND unwatched_ms IS NOT NULL \
                     AND (?2 OR namespace IN (SELECT value FROM json_each(?3)))",
                )?
                .execute((id, is_all, &namespaces))?;
            if is_all {
                continue;
            }
            self.conn
                .counted(
                    "UPDATE tracked_object SET unwatched_ms = max(seen_ms, ifnull((SELECT max(confirmed_ms) FROM watch_state w \
                     WHERE w.kind IN (?3, ?4) AND (w.namespace = '' OR w.namespace = tracked_object.namespace)), 0)) \
                     WHERE kind = ?1 AND deleted_ms IS NULL AND unwatched_ms IS NULL \
                     AND namespace NOT IN (SELECT value FROM json_each(?2))",
                )?
                .execute((id, &namespaces, &kind, &resource))?;
        }
        Ok(())
    }

    /// The kinds with objects that are not watched any more, those with most first.
    pub(super) fn unwatched(&self) -> rusqlite::Result<Vec<UnwatchedKind>> {
        self.conn
            .counted(
                "SELECT iif(k.api_group = '', k.resource, k.resource || '.' || k.api_group), count(*), min(o.unwatched_ms) \
                 FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind WHERE o.unwatched_ms IS NOT NULL \
                 GROUP BY k.id ORDER BY count(*) DESC, 1 LIMIT 20",
            )?
            .query_map([], |row| {
                Ok(UnwatchedKind {
                    kind: row.get(0)?,
                    objects: row.get::<_, i64>(1)?.unsigned_abs(),
                    since: Timestamp::from_millis(row.get(2)?),
                })
            })?
            .collect()
    }

    /// Objects of a kind that exist, in a namespace or (empty) in all, after that of a name: namespace and name.
    pub(super) fn existing_after(
        &self,
        kind: i64,
        in_namespace: &str,
        (namespace, name): (&str, &str),
        at_most: i64,
    ) -> rusqlite::Result<Vec<(String, String)>> {
        self.conn
            .counted(
                "SELECT namespace, name FROM tracked_object WHERE kind = ?1 AND (namespace, name) > (?2, ?3) \
                 AND deleted_ms IS NULL AND (?4 = '' OR namespace = ?4) ORDER BY namespace, name LIMIT ?5",
            )?
            .query_map((kind, namespace, name, in_namespace, at_most), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect()
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredObject> {
    let time = |ms: Option<i64>| ms.map(Timestamp::from_millis);
    Ok(StoredObject {
        id: row.get(0)?,
        uid: row.get::<_, Sql<Uid>>(1)?.0,
        version: row.get::<_, Sql<ResourceVersion>>(2)?.0,
        revision: row.get(3)?,
        form: row.get::<_, i64>(4)?.cast_unsigned(),
        seen: Timestamp::from_millis(row.get(5)?),
        chain: Chain {
            steps: row.get(6)?,
            bytes: row.get::<_, i64>(7)?.cast_unsigned(),
        },
        stamps: row
            .get::<_, Option<Vec<u8>>>(8)?
            .and_then(|bytes| Stamps::from_bytes(&bytes)),
        owner: row.get(9)?,
        deletion: time(row.get(10)?),
        scaled_down: time(row.get(11)?),
        template_changed: time(row.get(12)?),
        disruption: row.get(13)?,
        finished: match (time(row.get(14)?), row.get(16)?) {
            (Some(at), Some(is_failed)) => Some(FinishedJob { at, is_failed }),
            _ => None,
        },
        deleted: time(row.get(15)?),
        siblings: row.get::<_, Option<i64>>(17)?.map(i64::unsigned_abs),
    })
}

impl TrackedObjectTable<'_> {
    pub(super) const fn conn(&self) -> &Connection {
        self.conn
    }

    pub(super) fn name(&self, object: i64) -> rusqlite::Result<String> {
        self.conn
            .counted("SELECT name FROM tracked_object WHERE id = ?1")?
            .query_row([object], |row| row.get(0))
    }

    /// How many other pods of the same owner (`Kind/name/uid`) exist and are not being deleted. Their names begin with that
    /// of the owner.
    pub(super) fn siblings(&self, pod: i64, owner: &str) -> rusqlite::Result<Option<u64>> {
        let Some(name) = owner.split('/').nth(1).filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let count: i64 = self
            .conn
            .counted(
                "SELECT count(*) FROM tracked_object this JOIN tracked_object o \
                 ON o.kind = this.kind AND o.namespace = this.namespace AND o.name >= ?2 AND o.name < ?2 || '~' \
                 WHERE this.id = ?1 AND o.id <> ?1 AND o.deleted_ms IS NULL AND o.deletion_ms IS NULL AND o.owner = ?3",
            )?
            .query_row((pod, name_prefix(name), owner), |row| row.get(0))?;
        Ok(Some(count.unsigned_abs()))
    }

    /// Owner, hash of the template and time of creation of pods whose names begin with that of a controller, as far as a
    /// sample of them tells. Pods of a `StatefulSet` have the names of those before them.
    pub(super) fn templates(
        &self,
        pod: i64,
        (controller, label): (&str, &str),
        names_are_reused: bool,
    ) -> rusqlite::Result<Vec<(String, String, Timestamp)>> {
        const AT_MOST: i64 = 1_000;
        self.conn
            .counted(
                "SELECT o.owner, r.body ->> ?3, iif(?4, r.at_ms, ifnull(o.created_ms, r.at_ms)) FROM tracked_object this \
                 JOIN tracked_object o \
                 ON o.kind = this.kind AND o.namespace = this.namespace AND o.name >= ?2 AND o.name < ?2 || '~' \
                 JOIN revision r ON r.id >= o.id << 24 AND r.id < (o.id + 1) << 24 AND r.body IS NOT NULL AND NOT r.is_patch \
                 WHERE this.id = ?1 AND o.owner IS NOT NULL AND r.body ->> ?3 IS NOT NULL LIMIT ?5",
            )?
            .query_map(
                (
                    pod,
                    name_prefix(controller),
                    format!("$.metadata.labels.\"{label}\""),
                    names_are_reused,
                    AT_MOST,
                ),
                |row| {
                    let at = Timestamp::from_millis(row.get(2)?);
                    Ok((row.get(0)?, row.get(1)?, at))
                },
            )?
            .collect()
    }
}

/// What the names of a controller's pods begin with: the API server shortens long names.
fn name_prefix(controller: &str) -> &str {
    const AT_MOST: usize = 46;
    controller.get(..AT_MOST).unwrap_or(controller)
}
