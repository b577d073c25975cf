//! Interns names and texts: each distinct one is stored once and has a number.
//!
//! Invariant: the caches hold only what the database holds. They are cleared on every rollback and by retention. They are
//! bounded: entries that are not used while half of the entries are replaced are evicted.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use kube9_db::schema::template_hash;
use kube9_ingest::intern_keys::push_parts;
use kube9_ingest::sanitize::Sanitized;
use kube9_model::ObjectRef;
use rusqlite::{Connection, OptionalExtension, Params};

use super::mark_bitmap::MarkBitmap;
use super::statements::Counting as _;

/// Entries of each half of a cache; about 3 MB in total with the bound on texts below.
const ENTRIES_MAX: usize = 4096;

/// Longer texts are looked up in the database each time.
const TEXT_CACHED_MAX: usize = 256;

const SCOPE_BY_NAME: &str =
    "SELECT id FROM scope WHERE kind = ?1 AND namespace = ?2 AND api_group = ?3";
const OBJECT_BY_NAME: &str = "SELECT id, owner FROM object WHERE scope = ?1 AND name = ?2";
const NODE_BY_NAME: &str = "SELECT id FROM node WHERE name = ?1";
const REASON_BY_PARTS: &str = "SELECT id FROM event_class WHERE reason = ?1 AND title = ?2 AND component = ?3 \
     AND container = ?4 AND kube_type = ?5";

/// Finds a text among the newest with its hash. The hash has 32 bits and no key, so anyone can write thousands of colliding
/// messages; a text that is not among these few is stored again, which only costs its bytes.
const TEXT_BY_BODY: &str = "SELECT id FROM (SELECT id, body FROM message_template WHERE hash = ?1 ORDER BY id DESC LIMIT 8) WHERE body = ?2";

/// Ids of an object, and of its scope for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectIds {
    /// `object.id`
    pub object: i64,
    /// `scope.id`
    pub scope: i64,
}

#[derive(Debug, Clone, Copy)]
struct KnownObject {
    ids: ObjectIds,
    owner: Option<i64>,
}

#[derive(Debug, Default)]
pub struct Interned {
    scopes: Cache<i64>,
    objects: Cache<KnownObject>,
    nodes: Cache<i64>,
    reasons: Cache<i64>,
    texts: Cache<i64>,
    /// Buffer for the key of a scope.
    key: String,
    /// Used ids, during a sweep. Every reference is interned here, so new ones are marked too.
    pub(super) marks: Option<MarkBitmap>,
}

/// A cache of two halves: a full young half replaces the old one.
#[derive(Debug)]
struct Cache<V> {
    young: HashMap<Box<str>, V, RandomState>,
    old: HashMap<Box<str>, V, RandomState>,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
        }
    }
}

impl<V: Copy> Cache<V> {
    fn get(&mut self, key: &str) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.add(key, value);
        Some(value)
    }

    fn insert(&mut self, key: &str, value: V) {
        match self.young.get_mut(key) {
            Some(place) => *place = value,
            None => {
                self.old.remove(key);
                self.add(key.into(), value);
            }
        }
    }

    fn add(&mut self, key: Box<str>, value: V) {
        if self.young.len() >= ENTRIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl Interned {
    /// Clears the caches. Marks stay: a superfluous one only keeps a name until the next sweep.
    pub fn forget(&mut self) {
        *self = Self {
            marks: self.marks.take(),
            ..Self::default()
        };
    }

    /// Ids of a row's object, if it has one; stores the object's owner if given.
    pub fn object(
        &mut self,
        conn: &Connection,
        row: &Sanitized,
    ) -> rusqlite::Result<Option<ObjectIds>> {
        let (record, names) = (row.record(), row.intern_keys());
        let Some(object) = &record.object else {
            return Ok(None);
        };
        let owner = match &record.owner {
            Some(owner) => {
                let ids = self.known_object(conn, names.owner(), (owner, ""), None)?;
                Some(ids.object)
            }
            None => None,
        };
        self.known_object(conn, names.object(), (object, &record.api_group), owner)
            .map(Some)
    }

    /// Ids of the object with the cache key `name`.
    fn known_object(
        &mut self,
        conn: &Connection,
        name: &str,
        (object, group): (&ObjectRef, &str),
        owner: Option<i64>,
    ) -> rusqlite::Result<ObjectIds> {
        let cached = self.objects.get(name);
        let known = match cached {
            Some(known) => known,
            None => self.find_object(conn, (object, group), owner)?,
        };
        let ids = known.ids;
        let now = owner.or(known.owner);
        if now != known.owner {
            conn.counted("UPDATE object SET owner = ?2 WHERE id = ?1")?
                .execute((ids.object, now))?;
        }
        if cached.is_none() || now != known.owner {
            self.objects.insert(name, KnownObject { ids, owner: now });
        }
        if let Some(marks) = &mut self.marks {
            marks.object(conn, ids.object, now)?;
        }
        Ok(ids)
    }

    fn find_object(
        &mut self,
        conn: &Connection,
        (object, group): (&ObjectRef, &str),
        owner: Option<i64>,
    ) -> rusqlite::Result<KnownObject> {
        let scope = self.scope(conn, object, group)?;
        let found = conn
            .counted(OBJECT_BY_NAME)?
            .query_row((scope, &object.name), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (id, owner) = match found {
            Some(found) => found,
            None => {
                let id = insert(
                    conn,
                    "INSERT INTO object (scope, name, owner) VALUES (?1, ?2, ?3)",
                    (scope, &object.name, owner),
                )?;
                (id, owner)
            }
        };
        Ok(KnownObject {
            ids: ObjectIds { object: id, scope },
            owner,
        })
    }

    fn scope(
        &mut self,
        conn: &Connection,
        object: &ObjectRef,
        group: &str,
    ) -> rusqlite::Result<i64> {
        self.key.clear();
        push_parts(&mut self.key, &[&object.kind, group, &object.namespace]);
        if let Some(id) = self.scopes.get(&self.key) {
            return Ok(id);
        }
        let id = find_or_insert(
            conn,
            SCOPE_BY_NAME,
            "INSERT INTO scope (kind, namespace, api_group) VALUES (?1, ?2, ?3)",
            (&object.kind, &object.namespace, group),
        )?;
        self.scopes.insert(&self.key, id);
        Ok(id)
    }

    /// Id of a node's name.
    pub fn node(&mut self, conn: &Connection, name: &str) -> rusqlite::Result<i64> {
        let id = match self.nodes.get(name) {
            Some(id) => id,
            None => {
                let id = find_or_insert(
                    conn,
                    NODE_BY_NAME,
                    "INSERT INTO node (name) VALUES (?1)",
                    [name],
                )?;
                self.nodes.insert(name, id);
                id
            }
        };
        if let Some(marks) = &mut self.marks {
            marks.node(id);
        }
        Ok(id)
    }

    /// Id of the row's event class.
    pub fn reason(&mut self, conn: &Connection, row: &Sanitized) -> rusqlite::Result<i64> {
        let name = row.intern_keys().reason();
        let id = match self.reasons.get(name) {
            Some(id) => id,
            None => {
                let record = row.record();
                let parts = [
                    &*record.reason,
                    &*record.title,
                    &*record.component,
                    &*record.container,
                    &*record.kube_type,
                ];
                let id = find_or_insert(
                    conn,
                    REASON_BY_PARTS,
                    "INSERT INTO event_class (reason, title, component, container, kube_type) VALUES (?1, ?2, ?3, ?4, ?5)",
                    parts,
                )?;
                self.reasons.insert(name, id);
                id
            }
        };
        if let Some(marks) = &mut self.marks {
            marks.reason(id);
        }
        Ok(id)
    }

    /// Id of a message template.
    pub fn text(&mut self, conn: &Connection, body: &str) -> rusqlite::Result<i64> {
        let id = match self.texts.get(body) {
            Some(id) => id,
            None => {
                let id = find_or_insert(
                    conn,
                    TEXT_BY_BODY,
                    "INSERT INTO message_template (hash, body) VALUES (?1, ?2)",
                    (template_hash(body), body),
                )?;
                if body.len() <= TEXT_CACHED_MAX {
                    self.texts.insert(body, id);
                }
                id
            }
        };
        if let Some(marks) = &mut self.marks {
            marks.text(id);
        }
        Ok(id)
    }
}

fn insert(conn: &Connection, sql: &'static str, values: impl Params) -> rusqlite::Result<i64> {
    conn.counted(sql)?.execute(values)?;
    Ok(conn.last_insert_rowid())
}

fn find_or_insert<P: Params + Clone>(
    conn: &Connection,
    find: &'static str,
    add: &'static str,
    values: P,
) -> rusqlite::Result<i64> {
    let found = conn
        .counted(find)?
        .query_row(values.clone(), |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => insert(conn, add, values),
    }
}

#[cfg(test)]
mod tests {
    use kube9_db::schema;

    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(&schema::create()).unwrap();
        conn
    }

    /// Authors of Events choose kinds, names, reasons and texts: a lookup that scans the table would make each new one
    /// slower.
    #[test]
    fn interned_lookup_uses_an_index() {
        let conn = database();
        for find in [
            SCOPE_BY_NAME,
            OBJECT_BY_NAME,
            NODE_BY_NAME,
            REASON_BY_PARTS,
            TEXT_BY_BODY,
        ] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {find}")).unwrap();
            let values = vec![""; plan.parameter_count()];
            let steps: Vec<String> = plan
                .query_map(rusqlite::params_from_iter(values), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            let reads_a_table =
                |step: &&String| step.starts_with("SCAN") && !step.contains("(subquery");
            assert!(
                steps.iter().any(|step| step.contains("USING")),
                "{find}: {steps:?}"
            );
            assert_eq!(steps.iter().find(reads_a_table), None, "{find}: {steps:?}");
        }
    }

    /// FNV has no key, so collisions are easy to make.
    #[test]
    fn interned_colliding_texts_are_searched_within_a_bound() {
        let conn = database();
        let mut interned = Interned::default();
        let mut text = |body: &str| {
            interned.forget();
            interned.text(&conn, body).unwrap()
        };
        let first = text("body");
        assert_eq!(text("body"), first);
        for n in 0..8 {
            assert_eq!(text("body"), first, "{n} others");
            conn.execute(
                "INSERT INTO message_template (hash, body) VALUES (?1, ?2)",
                (template_hash("body"), format!("other {n}")),
            )
            .unwrap();
        }
        let again = text("body");
        assert_ne!(again, first, "stored once more");
        assert_eq!(text("body"), again);
    }

    #[test]
    fn cache_keeps_used_entries_and_is_bounded() {
        let mut cache = Cache::default();
        cache.insert("used", 0);
        for n in 1..5 * ENTRIES_MAX as i64 {
            cache.insert(&n.to_string(), n);
            assert_eq!(cache.get("used"), Some(0), "{n}");
        }
        assert!(cache.young.len() + cache.old.len() <= 2 * ENTRIES_MAX);
        assert_eq!(cache.get("1"), None);
        cache.insert("used", 7);
        assert_eq!(cache.get("used"), Some(7));
    }
}
