//! The states of tracked objects.
//!
//! ```text
//!   asked for ◀─patch─ … ◀─patch─ the next whole body
//! ```

use kube9_model::change::body::Body;
use kube9_model::change::patch::{self, STEPS_MAX};
use kube9_model::change::stored::Stored;
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

impl Reader {
    /// The body of a revision; `None` if there is no such revision, or the object was deleted then.
    ///
    /// # Errors
    /// The database cannot be read, or the body is not one.
    pub fn revision(&self, object: i64, number: i64) -> Result<Option<Body>, ReadError> {
        self.limited(|connection| Ok(body(connection, object << 24 | number)?))
    }
}

fn body(connection: &Connection, id: i64) -> rusqlite::Result<Option<Body>> {
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
            let patch: Stored =
                serde_json::from_str(patch).map_err(|error| bad(error.to_string()))?;
            patch::apply(&mut body, patch);
        }
        return Ok(Some(body));
    }
    Ok(None)
}

/// A stored text is not what the recorder writes.
fn bad(why: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, why.into())
}
