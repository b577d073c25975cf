//! The tracked objects, and the list of an object's revisions.

use kube9_model::change::body::{BadBody, Body};
use kube9_model::change::kinds::{BUILT_IN, ResourceId, TrackedKind};
use kube9_model::change::patch;
use kube9_model::change::stored::Stored;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use rusqlite::{OptionalExtension, Row as SqlRow};

use super::ReadError;
use super::open::Reader;
use super::revision::bad;
use super::row::to_text;

/// Revisions of an object are numbered within this many bits.
const NUMBER_BITS: u32 = 24;
const NUMBER_MASK: i64 = (1 << NUMBER_BITS) - 1;

/// A kind of which objects are recorded.
#[derive(Debug, Clone)]
pub struct RecordedKind {
    /// `tracked_kind.id`
    pub id: i64,
    /// What is known of it.
    pub kind: TrackedKind,
}

/// A tracked object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedObject {
    /// `tracked_object.id`
    pub id: i64,
    /// [`RecordedKind::id`]
    pub kind: i64,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Number of its newest revision.
    pub revision: i64,
    /// `metadata.creationTimestamp` of the first object of this name that is recorded.
    pub created: Option<Timestamp>,
    /// When it was deleted; `None` while it exists, or may exist.
    pub deleted: Option<Timestamp>,
    /// What became of it after that is unknown: its kind or namespace is not watched any more.
    pub unwatched: Option<Timestamp>,
    /// `Kind/name` of its controller when it was last seen, if that is of a tracked kind or a ReplicaSet.
    pub owner: Option<String>,
}

/// A revision without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionHead {
    /// Within its object.
    pub number: i64,
    /// In force from then on at the latest, until the next one is.
    pub at: Timestamp,
    /// It came into force at some time between this and `at`.
    pub from: Option<Timestamp>,
    /// States between `from` and `at` that have no revisions.
    pub left_out: u32,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// The row of the change, if it made one.
    pub event: Option<EventKey>,
    /// The managers who changed the object, as they called themselves, comma-separated.
    pub author: Option<String>,
    /// Why the object was deleted, or `defaulted`: the API server shows fields that were not written.
    pub cause: Option<String>,
}

/// A revision with its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Times, author and row.
    pub head: RevisionHead,
    /// `None`: the object was deleted.
    pub body: Option<Body<'static>>,
}

impl Reader {
    /// The kinds of which objects are or were recorded.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recorded_kinds(&self) -> Result<Vec<RecordedKind>, ReadError> {
        self.limited(|connection| {
            let mut found = connection.prepare(
                "SELECT id, api_group, kind, version, resource, namespaced FROM tracked_kind ORDER BY resource, api_group",
            )?;
            let kinds = found.query_map([], |row| {
                let (group, kind) = (text(row, 1)?, text(row, 2)?);
                let built_in = BUILT_IN.iter().find(|one| one.group == group && one.kind == kind);
                let kind = match built_in {
                    Some(known) => known.clone(),
                    None => {
                        let id = ResourceId { group, version: text(row, 3)?, resource: text(row, 4)? };
                        TrackedKind::custom(&id, &kind, row.get(5)?)
                    }
                };
                Ok(RecordedKind { id: row.get(0)?, kind })
            })?;
            Ok(kinds.collect::<Result<_, _>>()?)
        })
    }

    /// The objects of a kind with this name, in one namespace or in all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recorded_objects(
        &self,
        kind: i64,
        name: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<RecordedObject>, ReadError> {
        self.limited(|connection| {
            let (sql, namespace) = match namespace {
                Some(namespace) => ("namespace = ?3", namespace),
                None => ("?3 = ''", ""),
            };
            let mut found = connection.prepare(&format!(
                "SELECT {OBJECT} FROM tracked_object WHERE kind = ?1 AND name = ?2 AND {sql} ORDER BY namespace"
            ))?;
            let objects = found.query_map((kind, name, namespace), object)?;
            Ok(objects.collect::<Result<_, _>>()?)
        })
    }

    /// The objects of a kind in a namespace, by name; `''` for those of a cluster-scoped kind.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn objects_of_kind(
        &self,
        kind: i64,
        namespace: &str,
    ) -> Result<Vec<RecordedObject>, ReadError> {
        self.limited(|connection| {
            let mut found = connection.prepare_cached(&format!(
                "SELECT {OBJECT} FROM tracked_object WHERE kind = ?1 AND namespace = ?2 ORDER BY name"
            ))?;
            let objects = found.query_map((kind, namespace), object)?;
            Ok(objects.collect::<Result<_, _>>()?)
        })
    }

    /// The objects of a kind that existed at a time, in one namespace or in all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn objects_at(
        &self,
        kind: i64,
        namespace: Option<&str>,
        at: Timestamp,
    ) -> Result<Vec<RecordedObject>, ReadError> {
        self.limited(|connection| {
            let mut found = connection.prepare_cached(&format!(
                "SELECT {OBJECT} FROM tracked_object WHERE kind = ?1 AND (?2 IS NULL OR namespace = ?2) \
                 AND (deleted_ms IS NULL OR deleted_ms > ?3) AND ifnull(created_ms, 0) <= ?3 ORDER BY namespace, name"
            ))?;
            let objects = found.query_map((kind, namespace, at.millis()), object)?;
            Ok(objects.collect::<Result<_, _>>()?)
        })
    }

    /// Since when objects of a kind are recorded: the time of the oldest revision. `None` if no revision is recorded.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn recorded_since(&self, kind: i64) -> Result<Option<Timestamp>, ReadError> {
        self.limited(|connection| {
            let oldest: Option<i64> = connection.query_row(
                "SELECT min((SELECT r.at_ms FROM revision r WHERE r.id >= o.id << 24 ORDER BY r.id LIMIT 1)) \
                   FROM tracked_object o WHERE o.kind = ?",
                [kind],
                |row| row.get(0),
            )?;
            Ok(oldest.map(Timestamp::from_millis))
        })
    }

    /// The oldest revision of an object.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn oldest_revision(&self, object: i64) -> Result<Option<RevisionHead>, ReadError> {
        self.limited(|connection| {
            let sql = format!(
                "{HEADS} WHERE r.id >= ?1 << 24 AND r.id < (?1 + 1) << 24 ORDER BY r.id LIMIT 1"
            );
            Ok(connection.query_row(&sql, [object], head).optional()?)
        })
    }

    /// A revision without its body.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn revision_head(
        &self,
        object: i64,
        number: i64,
    ) -> Result<Option<RevisionHead>, ReadError> {
        self.limited(|connection| {
            let mut found = connection.prepare_cached(&format!("{HEADS} WHERE r.id = +?"))?;
            Ok(found
                .query_row([object << NUMBER_BITS | number], head)
                .optional()?)
        })
    }

    /// Passes the revisions of an object from the newest to the oldest, until `take` returns `false`. Each body is made
    /// from the one before.
    ///
    /// # Errors
    /// The database cannot be read, a body is not one, or `take` fails.
    pub fn walk_revisions<E: From<ReadError>>(
        &self,
        object: i64,
        mut take: impl FnMut(Revision) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut body: Option<Body<'static>> = None;
        let mut failed = None;
        self.snapshot(|connection| {
            let mut found = connection.prepare(&format!(
                "{HEADS_AND_BODIES} WHERE r.id >= ?1 << 24 AND r.id < (?1 + 1) << 24 ORDER BY r.id DESC"
            ))?;
            let mut rows = found.query([object])?;
            while let Some(row) = rows.next()? {
                let text: Option<String> = row.get(HEAD_COLUMNS + 1)?;
                body = match (row.get(HEAD_COLUMNS)?, text, body.take()) {
                    (false, text, _) => text
                        .map(|text| Ok(Body::parse(&text)?.into_owned()))
                        .transpose()
                        .map_err(|error: BadBody| bad(error.to_string()))?,
                    (true, Some(text), Some(mut newer)) => {
                        let patch =
                            Stored::parse(&text).map_err(|error| bad(error.to_string()))?;
                        patch::apply(&mut newer, patch.into_owned());
                        Some(newer)
                    }
                    (true, ..) => return Err(bad("a patch without a body".to_owned()).into()),
                };
                let revision = Revision {
                    head: head(row)?,
                    body: body.clone(),
                };
                match take(revision) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err)
    }
}

const OBJECT: &str =
    "id, kind, namespace, name, revision, deleted_ms, unwatched_ms, created_ms, owner";

fn object(row: &SqlRow<'_>) -> rusqlite::Result<RecordedObject> {
    let time = |column| {
        let millis: Option<i64> = row.get(column)?;
        Ok::<_, rusqlite::Error>(millis.map(Timestamp::from_millis))
    };
    Ok(RecordedObject {
        id: row.get(0)?,
        kind: row.get(1)?,
        namespace: text(row, 2)?,
        name: text(row, 3)?,
        revision: row.get(4)?,
        deleted: time(5)?,
        unwatched: time(6)?,
        created: time(7)?,
        // Without its uid.
        owner: to_text(row.get_ref(8)?)
            .and_then(|owner| owner.rsplit_once('/').map(|(owner, _)| owner.to_owned())),
    })
}

macro_rules! heads {
    ($more:literal) => {
        concat!(
            "SELECT r.id, r.at_ms, r.from_ms, r.left_out, r.resource_version, r.event, ifnull(a.name, r.author), r.cause",
            $more,
            " FROM revision r LEFT JOIN author a ON a.id = r.author AND typeof(r.author) = 'integer'"
        )
    };
}

const HEADS: &str = heads!("");
const HEADS_AND_BODIES: &str = heads!(", r.is_patch, r.body");
const HEAD_COLUMNS: usize = 8;

fn head(row: &SqlRow<'_>) -> rusqlite::Result<RevisionHead> {
    let from: Option<i64> = row.get(2)?;
    let event: Option<i64> = row.get(5)?;
    Ok(RevisionHead {
        number: row.get::<_, i64>(0)? & NUMBER_MASK,
        at: Timestamp::from_millis(row.get(1)?),
        from: from.map(Timestamp::from_millis),
        left_out: row.get::<_, Option<u32>>(3)?.unwrap_or(0),
        resource_version: text(row, 4)?,
        event: event.map(EventKey::from_i64),
        author: to_text(row.get_ref(6)?),
        cause: to_text(row.get_ref(7)?),
    })
}

fn text(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(to_text(row.get_ref(column)?).unwrap_or_default())
}
