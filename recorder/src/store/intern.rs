//! Names and texts to numbers: each distinct one is stored once.
//!
//! Invariant: the caches hold only what the database holds. They are cleared on every rollback and by the clean-up, and
//! bounded: a full one is emptied, since what is in use comes back with the next rows.

use std::collections::HashMap;

use kube9_shared::model::ObjectRef;
use rusqlite::{Connection, OptionalExtension, Params};

use super::statements::Statements;
use super::sweep::Marks;

/// Entries of each cache; with the texts' bound below at most about 3 MB together.
const ENTRIES_MAX: usize = 8192;

/// Longer texts are looked up in the database each time.
const TEXT_CACHED_MAX: usize = 256;

/// What few rows differ in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The Event's reason.
    pub reason: String,
    /// The title.
    pub title: String,
    /// Reporting component.
    pub component: String,
    /// Container.
    pub container: String,
    /// The Event's type.
    pub kube_type: String,
}

/// An object's number, and its scope's for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectIds {
    /// `object.id`
    pub object: i64,
    /// `scope.id`
    pub scope: i64,
}

/// The caches.
#[derive(Debug, Default)]
pub struct Interned {
    scopes: HashMap<(String, String), i64>,
    objects: HashMap<(i64, String), (i64, Option<i64>)>,
    nodes: HashMap<String, i64>,
    reasons: HashMap<Reason, i64>,
    texts: HashMap<String, i64>,
    /// While a sweep is under way: what it has found in use. Every reference passes here, so a new one is marked, too.
    pub(super) marks: Option<Marks>,
}

impl Interned {
    /// Forgets all names; marks stay, since a mark too many only keeps a name until the next sweep.
    pub fn forget(&mut self) {
        *self = Self {
            marks: self.marks.take(),
            ..Self::default()
        };
    }

    /// Number of an object; its owner is noted where given.
    pub fn object(
        &mut self,
        conn: &Connection,
        statements: &mut Statements,
        object: &ObjectRef,
        owner: Option<&ObjectRef>,
    ) -> rusqlite::Result<ObjectIds> {
        let owner = match owner {
            Some(owner) => Some(self.object(conn, statements, owner, None)?.object),
            None => None,
        };
        let scope = self.scope(conn, statements, object)?;
        let key = (scope, object.name.clone());
        let (id, known_owner) = match self.objects.get(&key) {
            Some(found) => *found,
            None => {
                let found = statements
                    .select(
                        conn,
                        "SELECT id, owner FROM object WHERE scope = ?1 AND name = ?2",
                    )?
                    .query_row((scope, &object.name), |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?;
                match found {
                    Some(found) => found,
                    None => {
                        let id = insert(
                            conn,
                            statements,
                            "INSERT INTO object (scope, name, owner) VALUES (?1, ?2, ?3)",
                            (scope, &object.name, owner),
                        )?;
                        (id, owner)
                    }
                }
            }
        };
        let owner = owner.or(known_owner);
        if owner != known_owner {
            statements
                .update(conn, "UPDATE object SET owner = ?2 WHERE id = ?1")?
                .execute((id, owner))?;
        }
        if let Some(marks) = &mut self.marks {
            marks.object(conn, statements, id, owner)?;
        }
        make_room(&mut self.objects);
        self.objects.insert(key, (id, owner));
        Ok(ObjectIds { object: id, scope })
    }

    fn scope(
        &mut self,
        conn: &Connection,
        statements: &mut Statements,
        object: &ObjectRef,
    ) -> rusqlite::Result<i64> {
        let key = (object.kind.clone(), object.namespace.clone());
        if let Some(&id) = self.scopes.get(&key) {
            return Ok(id);
        }
        let id = find_or_insert(
            conn,
            statements,
            "SELECT id FROM scope WHERE kind = ?1 AND namespace = ?2",
            "INSERT INTO scope (kind, namespace) VALUES (?1, ?2)",
            (&object.kind, &object.namespace),
        )?;
        make_room(&mut self.scopes);
        self.scopes.insert(key, id);
        Ok(id)
    }

    /// Number of a node's name.
    pub fn node(
        &mut self,
        conn: &Connection,
        statements: &mut Statements,
        name: &str,
    ) -> rusqlite::Result<i64> {
        let id = match self.nodes.get(name) {
            Some(&id) => id,
            None => {
                let id = find_or_insert(
                    conn,
                    statements,
                    "SELECT id FROM node WHERE name = ?1",
                    "INSERT INTO node (name) VALUES (?1)",
                    [name],
                )?;
                make_room(&mut self.nodes);
                self.nodes.insert(name.to_owned(), id);
                id
            }
        };
        if let Some(marks) = &mut self.marks {
            marks.node(id);
        }
        Ok(id)
    }

    /// Number of a reason with all that goes with it.
    pub fn reason(
        &mut self,
        conn: &Connection,
        statements: &mut Statements,
        reason: Reason,
    ) -> rusqlite::Result<i64> {
        if let Some(&id) = self.reasons.get(&reason) {
            if let Some(marks) = &mut self.marks {
                marks.reason(id);
            }
            return Ok(id);
        }
        let id = find_or_insert(
            conn,
            statements,
            "SELECT id FROM reason WHERE reason = ?1 AND title = ?2 AND component = ?3 AND container = ?4 AND kube_type = ?5",
            "INSERT INTO reason (reason, title, component, container, kube_type) VALUES (?1, ?2, ?3, ?4, ?5)",
            (
                &reason.reason,
                &reason.title,
                &reason.component,
                &reason.container,
                &reason.kube_type,
            ),
        )?;
        if let Some(marks) = &mut self.marks {
            marks.reason(id);
        }
        make_room(&mut self.reasons);
        self.reasons.insert(reason, id);
        Ok(id)
    }

    /// Number of a text body.
    pub fn text(
        &mut self,
        conn: &Connection,
        statements: &mut Statements,
        body: String,
    ) -> rusqlite::Result<i64> {
        if let Some(&id) = self.texts.get(&body) {
            if let Some(marks) = &mut self.marks {
                marks.text(id);
            }
            return Ok(id);
        }
        let id = find_or_insert(
            conn,
            statements,
            "SELECT id FROM text WHERE hash = ?1 AND body = ?2",
            "INSERT INTO text (hash, body) VALUES (?1, ?2)",
            (text_hash(&body), &body),
        )?;
        if let Some(marks) = &mut self.marks {
            marks.text(id);
        }
        if body.len() <= TEXT_CACHED_MAX {
            make_room(&mut self.texts);
            self.texts.insert(body, id);
        }
        Ok(id)
    }
}

fn make_room<K, V>(cache: &mut HashMap<K, V>) {
    if cache.len() >= ENTRIES_MAX {
        cache.clear();
    }
}

fn insert(
    conn: &Connection,
    statements: &mut Statements,
    sql: &'static str,
    values: impl Params,
) -> rusqlite::Result<i64> {
    statements.insert(conn, sql)?.execute(values)?;
    Ok(conn.last_insert_rowid())
}

fn find_or_insert<P: Params + Clone>(
    conn: &Connection,
    statements: &mut Statements,
    find: &'static str,
    add: &'static str,
    values: P,
) -> rusqlite::Result<i64> {
    let found = statements
        .select(conn, find)?
        .query_row(values.clone(), |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => insert(conn, statements, add, values),
    }
}

/// `text.hash`: half of the bits, since the body is compared anyway and each byte is stored with every text.
pub(super) fn text_hash(body: &str) -> i32 {
    stable_hash(body.as_bytes()) as i32
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable across versions, since it is stored.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_published_one() {
        assert_eq!(stable_hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
