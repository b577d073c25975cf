//! The states of tracked objects.
//!
//! ```text
//!   asked for ◀─patch─ … ◀─patch─ the next whole body
//! ```

use kube9_model::change::body::Body;
use kube9_model::change::patch::{self, STEPS_MAX};
use kube9_model::change::stored::Stored;
use kube9_model::time::Timestamp;
use rusqlite::Connection;

use super::ReadError;
use super::open::Reader;

/// The body of a revision, with nothing but SQLite; `?1` is its id. docs/storage.md prints it.
pub const REBUILD: &str = "WITH RECURSIVE rebuilt(id, body) AS (
  SELECT id, body FROM revision
   WHERE id = (SELECT min(id) FROM revision WHERE id >= ?1 AND id < ((?1 >> 24) + 1) << 24 AND NOT is_patch)
  UNION ALL
  SELECT older.id, json_patch(rebuilt.body, older.body)
    FROM rebuilt JOIN revision AS older ON older.id = (SELECT max(id) FROM revision WHERE id < rebuilt.id)
   WHERE rebuilt.id > ?1
)
SELECT body FROM rebuilt WHERE id = ?1;";

/// The revisions of which one was in force at a time, the oldest first; `?1` is the object, `?2` the time in milliseconds.
/// docs/storage.md prints it. In a join, SQLite copies a value that a column equals into other terms, and prepares the
/// statement again whenever another one is bound; not if it is an expression, hence `+?1`.
pub const STATES: &str = "SELECT id, at_ms, from_ms, left_out, EXISTS (
         SELECT 1 FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind
           JOIN watch_gap g ON g.kind IN (k.kind, k.resource || iif(k.api_group = '', '', '.' || k.api_group))
            AND g.namespace IN ('', o.namespace)
          WHERE o.id = +?1 AND g.from_ms <= ?2 AND ifnull(g.to_ms, ?2 + 1) > ?2)
       OR EXISTS (
         SELECT 1 FROM recorder_status WHERE ?2 > ifnull(stopped_ms, heartbeat_ms)
            AND (stopped_ms IS NOT NULL OR heartbeat_ms < (unixepoch() - 30) * 1000))
       OR EXISTS (
         SELECT 1 FROM tracked_object o JOIN tracked_kind k ON k.id = o.kind
           JOIN watch_state w ON w.kind IN (k.kind, k.resource || iif(k.api_group = '', '', '.' || k.api_group))
            AND w.namespace IN ('', o.namespace)
           JOIN recorder_status r ON w.confirmed_ms < r.started_ms
          WHERE o.id = +?1 AND w.confirmed_ms < ?2)
       OR EXISTS (SELECT 1 FROM tracked_object WHERE id = ?1 AND unread_ms <= ?2) AS in_gap
  FROM revision
 WHERE id >= ?1 << 24 AND id < (?1 + 1) << 24 AND ifnull(from_ms, at_ms) <= ?2
   AND id >= ifnull((SELECT max(id) FROM revision WHERE id >= ?1 << 24 AND id < (?1 + 1) << 24 AND at_ms <= ?2), 0)
 ORDER BY id;";

/// What is known of an object at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct StatesAt {
    /// The object was in one of these, the oldest first; or, unless that `is_exact`, in one that was not recorded.
    pub states: Vec<State>,
    /// It was in the only one of the states.
    pub is_exact: bool,
    /// Its kind was not observed then, its last event could not be read, or the recorder is not running and was last alive
    /// before, or has started since and has not caught up with the kind: the object may have changed, and changed back.
    pub in_gap: bool,
}

/// A revision.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Within its object.
    pub number: i64,
    /// It was in force then, unless the next one was already.
    pub at: Timestamp,
    /// It came into force at some time between this and `at`.
    pub from: Option<Timestamp>,
    /// States between `from` and `at` that have no revisions.
    pub left_out: u32,
    /// `None`: the object did not exist.
    pub body: Option<Body<'static>>,
}

impl Reader {
    /// What is known of an object at a time.
    ///
    /// # Errors
    /// The database cannot be read, or a body is not one.
    pub fn states_at(&self, object: i64, at: Timestamp) -> Result<StatesAt, ReadError> {
        self.limited(|connection| {
            let mut found = connection.prepare_cached(STATES)?;
            let mut in_gap = false;
            let states = found.query_map((object, at.millis()), |row| {
                in_gap = row.get(4)?;
                let id: i64 = row.get(0)?;
                Ok(State {
                    number: id & 0xff_ffff,
                    at: Timestamp::from_millis(row.get(1)?),
                    from: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis),
                    left_out: row.get::<_, Option<u32>>(3)?.unwrap_or(0),
                    body: body(connection, id)?,
                })
            })?;
            let states = states.collect::<Result<Vec<State>, _>>()?;
            Ok(StatesAt {
                is_exact: !in_gap && matches!(&states[..], [only] if only.at <= at),
                states,
                in_gap,
            })
        })
    }

    /// The body of a revision; `None` if the revision does not exist, or the object was deleted then.
    ///
    /// # Errors
    /// The database cannot be read, or the body is not one.
    pub fn revision(&self, object: i64, number: i64) -> Result<Option<Body<'static>>, ReadError> {
        self.limited(|connection| Ok(body(connection, object << 24 | number)?))
    }
}

fn body(connection: &Connection, id: i64) -> rusqlite::Result<Option<Body<'static>>> {
    let mut patches: Vec<String> = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT id, is_patch, body FROM revision WHERE id >= ?1 AND id < ((?1 >> 24) + 1) << 24 ORDER BY id LIMIT ?2",
    )?;
    let mut rows = statement.query((id, STEPS_MAX + 1))?;
    while let Some(row) = rows.next()? {
        let (found, is_patch): (i64, bool) = (row.get(0)?, row.get(1)?);
        if patches.is_empty() && found != id {
            return Ok(None);
        }
        if is_patch {
            patches.push(row.get(2)?);
            continue;
        }
        let Some(text) = row.get::<_, Option<String>>(2)? else {
            return Ok(None);
        };
        let mut body = Body::parse(&text).map_err(|error| bad(error.to_string()))?;
        for patch in patches.iter().rev() {
            let patch = Stored::parse(patch).map_err(|error| bad(error.to_string()))?;
            patch::apply(&mut body, patch);
        }
        return Ok(Some(body.into_owned()));
    }
    Ok(None)
}

/// A stored text is not what the recorder writes.
pub(super) fn bad(why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, why.into())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn states_are_found_without_preparing_again() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&crate::schema::create()).unwrap();
        let mut statement = db.prepare(STATES).unwrap();
        for object in 1..5 {
            let mut rows = statement.query((object, 1_000 * object)).unwrap();
            assert!(rows.next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
