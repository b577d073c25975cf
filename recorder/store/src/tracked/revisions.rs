//! The table `revision`: the states of the tracked objects.
//!
//! Invariant: the newest revision of an object is whole, or a deletion. What a patch is applied to is the next newer revision.

use kube9_db::read::revision::REBUILD;
use kube9_ingest::deletion::DeletionCause;
use kube9_model::change::body::{Body, plain};
use kube9_model::change::patch::Kept;
use kube9_model::id::EventKey;
use kube9_model::identity::ResourceVersion;
use kube9_model::time::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};

use crate::identity::Sql;
use crate::statements::Counting as _;

/// Bits of a revision's id that number it within its object.
const NUMBER_BITS: u32 = 24;

/// Authors whose names are stored once. Clients choose their names, so that their number must have a bound; the names of
/// others are stored with their revisions.
const AUTHORS_MAX: i64 = 4_096;

/// Longest name in the table of authors: a manager has at most 128 bytes.
const INTERNED_BYTES_MAX: usize = 128;

/// A new revision.
#[derive(Debug)]
pub(super) struct Revision<'a> {
    /// `None`: the object was deleted.
    pub(super) body: Option<&'a str>,
    pub(super) at: Timestamp,
    /// It came into force at some time between this and `at`.
    pub(super) from: Option<Timestamp>,
    pub(super) version: &'a ResourceVersion,
    /// Its row.
    pub(super) event: Option<EventKey>,
    pub(super) author: Option<String>,
    pub(super) cause: Option<&'a str>,
}

/// The newest revision of an object.
#[derive(Debug)]
pub(super) struct NewestRevision {
    /// `None`: the object was deleted.
    pub(super) body: Option<String>,
    pub(super) at: Timestamp,
    /// When the first of the states that it stands for began.
    pub(super) since: Timestamp,
    /// The row of the change.
    pub(super) event: Option<EventKey>,
}

/// The table; writes happen within a transaction of the caller.
#[derive(Clone, Copy)]
pub(super) struct RevisionTable<'c> {
    conn: &'c Connection,
}

const fn id(object: i64, number: i64) -> i64 {
    object << NUMBER_BITS | number
}

impl<'c> RevisionTable<'c> {
    pub(super) const fn of(conn: &'c Connection) -> Self {
        Self { conn }
    }

    pub(super) fn read(
        &self,
        object: i64,
        number: i64,
    ) -> rusqlite::Result<Option<NewestRevision>> {
        self.conn
            .counted(
                "SELECT body, at_ms, CASE WHEN left_out > 0 THEN from_ms END, event FROM revision \
                 WHERE id = ?1 AND NOT is_patch",
            )?
            .query_row([id(object, number)], |row| {
                let at = Timestamp::from_millis(row.get(1)?);
                let since: Option<i64> = row.get(2)?;
                let event: Option<i64> = row.get(3)?;
                Ok(NewestRevision {
                    body: row.get(0)?,
                    at,
                    event: event.map(EventKey::from_i64),
                    since: since.map_or(at, Timestamp::from_millis),
                })
            })
            .optional()
    }

    /// The last body of an object, also of one that was deleted.
    pub(super) fn last_body(&self, object: i64) -> rusqlite::Result<Option<String>> {
        self.conn
            .counted(
                "SELECT body FROM revision WHERE id >= ?1 AND id < ?2 AND body IS NOT NULL AND NOT is_patch \
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row((id(object, 0), id(object + 1, 0)), |row| row.get(0))
            .optional()
    }

    /// When an object of this name was last deleted.
    pub(super) fn last_deletion(&self, object: i64) -> rusqlite::Result<Option<Timestamp>> {
        let at: Option<i64> = self
            .conn
            .counted("SELECT max(at_ms) FROM revision WHERE id >= ?1 AND id < ?2 AND body IS NULL")?
            .query_row((id(object, 0), id(object + 1, 0)), |row| row.get(0))?;
        Ok(at.map(Timestamp::from_millis))
    }

    /// When the object with this revision was created or first seen; the one before of its name was deleted earlier.
    pub(super) fn since(&self, object: i64, number: i64) -> rusqlite::Result<Option<Timestamp>> {
        let at: Option<i64> = self
            .conn
            .counted(
                "SELECT min(at_ms) FROM revision WHERE id < ?2 AND id > \
                 ifnull((SELECT max(id) FROM revision WHERE id >= ?1 AND id < ?2 - 1 AND body IS NULL), ?1)",
            )?
            .query_row((id(object, 0), id(object, number + 1)), |row| row.get(0))?;
        Ok(at.map(Timestamp::from_millis))
    }

    /// The authors of a revision, as [`Revision::author`] has them.
    pub(super) fn authors(&self, object: i64, number: i64) -> rusqlite::Result<Option<String>> {
        let found = self
            .conn
            .counted(
                "SELECT ifnull(a.name, r.author) FROM revision r LEFT JOIN author a ON a.id = r.author WHERE r.id = ?1",
            )?
            .query_row([id(object, number)], |row| row.get(0))
            .optional()?;
        Ok(found.flatten())
    }

    /// What is stored for an author: its id, or its name.
    fn author(&self, name: Option<&str>) -> rusqlite::Result<Option<Value>> {
        let Some(name) = name else {
            return Ok(None);
        };
        if name.len() > INTERNED_BYTES_MAX {
            return Ok(Some(Value::Text(name.to_owned())));
        }
        let known: Option<i64> = self
            .conn
            .counted("SELECT id FROM author WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(Some(Value::Integer(id)));
        }
        let added = self
            .conn
            .counted(
                "INSERT INTO author (name) SELECT ?1 WHERE ifnull((SELECT max(id) FROM author), 0) < ?2",
            )?
            .execute((name, AUTHORS_MAX))?;
        Ok(Some(match added {
            0 => Value::Text(name.to_owned()),
            _ => Value::Integer(self.conn.last_insert_rowid()),
        }))
    }

    pub(super) fn insert(
        &self,
        object: i64,
        number: i64,
        revision: &Revision<'_>,
    ) -> rusqlite::Result<()> {
        let author = self.author(revision.author.as_deref())?;
        self.conn
            .counted(
                "INSERT INTO revision (id, is_patch, body, at_ms, resource_version, event, author, cause, from_ms) \
                 VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                id(object, number),
                revision.body,
                revision.at.millis(),
                Sql(revision.version),
                revision.event.map(EventKey::as_i64),
                author,
                revision.cause,
                revision.from.map(Timestamp::millis),
            ))?;
        Ok(())
    }

    /// Replaces the newest revision by a later state of the same minute: which state was in force before is then known to
    /// have been one of those that are left out.
    pub(super) fn replace(
        &self,
        object: i64,
        number: i64,
        revision: &Revision<'_>,
    ) -> rusqlite::Result<()> {
        let author = self.author(revision.author.as_deref())?;
        self.conn
            .counted(
                "UPDATE revision SET body = ?2, resource_version = ?3, event = ifnull(?4, event), author = ?5, \
                 cause = ?6, from_ms = ifnull(from_ms, at_ms), at_ms = ?7, left_out = ifnull(left_out, 0) + 1 WHERE id = ?1",
            )?
            .execute((
                id(object, number),
                revision.body,
                Sql(revision.version),
                revision.event.map(EventKey::as_i64),
                author,
                revision.cause,
                revision.at.millis(),
            ))?;
        Ok(())
    }

    /// Whether the time of a revision is known, and its resourceVersion is that of the change.
    pub(super) fn is_exact(&self, object: i64, number: i64) -> rusqlite::Result<bool> {
        self.conn
            .counted("SELECT EXISTS (SELECT 1 FROM revision WHERE id = ?1 AND from_ms IS NULL)")?
            .query_row([id(object, number)], |row| row.get(0))
    }

    /// Whether the template of an object is another one than that which was in force at a time.
    pub(super) fn is_template_new(&self, object: i64, at: Timestamp) -> rusqlite::Result<bool> {
        let ids: (Option<i64>, Option<i64>) = self
            .conn
            .counted(
                "SELECT max(id) FILTER (WHERE at_ms < ?3), max(id) FROM revision WHERE id >= ?1 AND id < ?2",
            )?
            .query_row((id(object, 0), id(object + 1, 0), at.millis()), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let (Some(then), Some(now)) = ids else {
            return Ok(false);
        };
        let template = |id: i64| -> rusqlite::Result<Option<String>> {
            let body: Option<String> = self
                .conn
                .counted(REBUILD)?
                .query_row([id], |row| row.get(0))
                .optional()?
                .flatten();
            let body = body.as_deref().and_then(|text| Body::parse(text).ok());
            let template = body.and_then(|body| {
                let template = body.stored().get("spec")?.get("template")?;
                Some(plain(template).to_string())
            });
            Ok(template)
        };
        let (then, now) = (template(then)?, template(now)?);
        Ok(then.is_some() && now.is_some() && then != now)
    }

    /// Why the object was deleted.
    pub(super) fn cause(&self, object: i64, number: i64) -> rusqlite::Result<Option<String>> {
        let cause = self
            .conn
            .counted("SELECT cause FROM revision WHERE id = ?1")?
            .query_row([id(object, number)], |row| row.get(0))
            .optional()?;
        Ok(cause.flatten())
    }

    /// Why the object was deleted is known only now, or only now it is known that nothing proves it; returns the row of the
    /// deletion, if that was said to be a request or unknown.
    pub(super) fn explain(
        &self,
        object: i64,
        number: i64,
        cause: DeletionCause,
    ) -> rusqlite::Result<Option<EventKey>> {
        let before = [DeletionCause::Request, DeletionCause::Unknown].map(DeletionCause::as_str);
        let row: Option<Option<i64>> = self
            .conn
            .counted("UPDATE revision SET cause = ?4 WHERE id = ?1 AND cause IN (?2, ?3) RETURNING event")?
            .query_row((id(object, number), before[0], before[1], cause.as_str()), |row| {
                row.get(0)
            })
            .optional()?;
        Ok(row.flatten().map(EventKey::from_i64))
    }

    /// The patch that makes a revision of the next newer one; `None` if its body is whole.
    pub(super) fn patch(&self, object: i64, number: i64) -> rusqlite::Result<Option<String>> {
        self.conn
            .counted("SELECT body FROM revision WHERE id = ?1 AND is_patch")?
            .query_row([id(object, number)], |row| row.get(0))
            .optional()
    }

    /// Stores a revision that was a patch, again or as a whole.
    pub(super) fn keep_again(
        &self,
        object: i64,
        number: i64,
        kept: &Kept,
        body: &str,
    ) -> rusqlite::Result<()> {
        let (is_patch, text) = match kept {
            Kept::Whole => (false, body),
            Kept::Patch(patch) => (true, &**patch),
        };
        self.conn
            .counted("UPDATE revision SET is_patch = ?2, body = ?3 WHERE id = ?1")?
            .execute((id(object, number), is_patch, text))?;
        Ok(())
    }

    /// A newer revision follows this one.
    pub(super) fn keep_as(&self, object: i64, number: i64, kept: &Kept) -> rusqlite::Result<()> {
        if let Kept::Patch(patch) = kept {
            self.conn
                .counted("UPDATE revision SET is_patch = 1, body = ?2 WHERE id = ?1")?
                .execute((id(object, number), patch))?;
        }
        Ok(())
    }
}
