//! Searches title, reason, object name and description of a row for text; ASCII case-insensitive.
//!
//! The description is a template, which is rendered into a buffer. Lookups in the interned tables are cached, since
//! neighbouring rows mostly share their ids.
//!
//! Invariant: the result equals a search in the view; unexpected values are left to the view.

use memchr::memmem::Finder;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use super::ReadError;
use super::args::parse_args;
use super::decode::{is_template_intact, placeholders, render_template};

/// Columns of `event e` that [`Search::matches`] reads.
pub(super) const COLUMNS: &str = "e.class, e.object, e.template, e.args";

const CLASS_SQL: &str = "SELECT instr(lower(title), ?1) > 0 OR instr(lower(reason), ?1) > 0 FROM event_class WHERE id = ?2";
const OBJECT_SQL: &str = "SELECT name, scope FROM object WHERE id = ?";
const SCOPE_SQL: &str = "SELECT namespace FROM scope WHERE id = ?";
const TEMPLATE_SQL: &str = "SELECT body, hash FROM message_template WHERE id = ?";
const VIEW_SQL: &str = "SELECT ifnull(instr(lower(description), ?1) > 0, 0) OR ifnull(instr(lower(object_name), ?1) > 0, 0) \
     FROM event_detail WHERE key = ?2";

/// A longer template is left to the view: the recorder stores at most 4 KiB.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;

/// A search for one text, the needle.
pub(super) struct Search<'c> {
    needle: String,
    finder: Finder<'static>,
    statements: Statements<'c>,
    classes: Cache<bool>,
    objects: Cache<Object>,
    /// Namespaces of scopes; `None` if not text.
    scopes: Cache<Option<Box<str>>>,
    templates: Cache<Template>,
    rendered: String,
}

struct Statements<'c> {
    class: CachedStatement<'c>,
    object: CachedStatement<'c>,
    scope: CachedStatement<'c>,
    template: CachedStatement<'c>,
    view: CachedStatement<'c>,
}

/// The object of a row.
struct Object {
    /// Whether its name contains the needle.
    matches: bool,
    /// `None` if not text.
    name: Option<Box<str>>,
    scope: i64,
}

/// A message template.
enum Template {
    /// Without placeholders: whether it contains the needle.
    Literal(bool),
    /// Its text and the positions of its placeholders.
    Placeholders(Box<str>, Box<[usize]>),
    /// Not text, or too long.
    Unexpected,
}

impl<'c> Search<'c> {
    pub(super) fn new(connection: &'c Connection, text: &str) -> Result<Self, ReadError> {
        let needle = text.to_ascii_lowercase();
        Ok(Self {
            finder: Finder::new(needle.as_bytes()).into_owned(),
            needle,
            statements: Statements {
                class: connection.prepare_cached(CLASS_SQL)?,
                object: connection.prepare_cached(OBJECT_SQL)?,
                scope: connection.prepare_cached(SCOPE_SQL)?,
                template: connection.prepare_cached(TEMPLATE_SQL)?,
                view: connection.prepare_cached(VIEW_SQL)?,
            },
            classes: Cache::new(1 << 10),
            objects: Cache::new(1 << 12),
            scopes: Cache::new(1 << 10),
            templates: Cache::new(1 << 13),
            rendered: String::new(),
        })
    }

    /// Whether a row contains the needle: its key is in column 0, [`COLUMNS`] start at `first`.
    ///
    /// # Errors
    /// Also if an id of the row does not exist, or its template has another hash: then a page of another table is damaged.
    pub(super) fn matches(&mut self, row: &Row<'_>, first: usize) -> Result<bool, ReadError> {
        let needle = &self.needle;
        let statements = &mut self.statements;
        let class_matches = self.classes.get(row.get(first)?, |id| {
            let read = |row: &Row<'_>| row.get::<_, Option<bool>>(0);
            let found = statements.class.query_row((needle, id), read).optional()?;
            Ok((found.ok_or(ReadError::INCONSISTENT)?.unwrap_or(false), 0))
        })?;
        if *class_matches {
            return Ok(true);
        }
        let finder = &self.finder;
        let object = match row.get(first + 1)? {
            None => None,
            Some(id) => Some(self.objects.get(id, |id| {
                let read = |row: &Row<'_>| Object::read(row, finder);
                let found = statements.object.query_row([id], read).optional()?;
                let object = found.ok_or(ReadError::INCONSISTENT)?;
                let bytes = object.name.as_ref().map_or(0, |name| name.len());
                Ok((object, bytes))
            })?),
        };
        if object.is_some_and(|object| object.matches) {
            return Ok(true);
        }
        let is_name_unexpected = object.is_some_and(|object| object.name.is_none());
        let template = self.templates.get(row.get(first + 2)?, |id| {
            let read = |row: &Row<'_>| {
                let body = row.get_ref(0)?;
                let is_intact = is_template_intact(body, row.get_ref(1)?);
                Ok(is_intact.then(|| Template::new(body, finder)))
            };
            let found = statements.template.query_row([id], read).optional()?;
            let template = found.flatten().ok_or(ReadError::INCONSISTENT)?;
            let bytes = match &template {
                Template::Placeholders(body, places) => body.len() + size_of_val(&**places),
                _ => 0,
            };
            Ok((template, bytes))
        })?;
        let template = match template {
            Template::Literal(matches) if *matches || !is_name_unexpected => return Ok(*matches),
            Template::Placeholders(body, places) => Some((&**body, &**places)),
            Template::Literal(_) | Template::Unexpected => None,
        };
        let args = match row.get_ref(first + 3)? {
            ValueRef::Null => Some(None),
            ValueRef::Text(json) => parse_args(json).map(Some),
            _ => None,
        };
        let names = match object {
            None => Some(("", "")),
            Some(object) => {
                let namespace = self.scopes.get(object.scope, |id| {
                    let read = |row: &Row<'_>| Ok(text_of(row.get_ref(0)?).map(Box::from));
                    let found = statements.scope.query_row([id], read).optional()?;
                    let namespace: Option<Box<str>> = found.ok_or(ReadError::INCONSISTENT)?;
                    let bytes = namespace.as_ref().map_or(0, |text| text.len());
                    Ok((namespace, bytes))
                })?;
                object.name.as_deref().zip(namespace.as_deref())
            }
        };
        if let (Some((body, places)), Some(args), Some((name, namespace))) = (template, args, names)
        {
            let places = places.iter().copied();
            self.rendered.clear();
            let args = args.as_deref();
            if render_template((body, places), name, namespace, args, &mut self.rendered).is_some()
            {
                self.rendered.make_ascii_lowercase();
                return Ok(finder.find(self.rendered.as_bytes()).is_some());
            }
        }
        let key: i64 = row.get(0)?;
        Ok(statements.view.query_row((needle, key), |row| row.get(0))?)
    }
}

impl Object {
    fn read(row: &Row<'_>, finder: &Finder<'_>) -> rusqlite::Result<Self> {
        let name = text_of(row.get_ref(0)?).map(Box::from);
        Ok(Self {
            matches: name.as_deref().is_some_and(|name| contains(name, finder)),
            name,
            scope: row.get(1)?,
        })
    }
}

impl Template {
    fn new(body: ValueRef<'_>, finder: &Finder<'_>) -> Self {
        let Some(body) = text_of(body) else {
            return Self::Unexpected;
        };
        if body.len() > TEMPLATE_BYTES_MAX {
            return Self::Unexpected;
        }
        let places: Box<[usize]> = placeholders(body).collect();
        if places.is_empty() {
            Self::Literal(contains(body, finder))
        } else {
            Self::Placeholders(body.into(), places)
        }
    }
}

fn contains(text: &str, finder: &Finder<'_>) -> bool {
    finder.find(text.to_ascii_lowercase().as_bytes()).is_some()
}

fn text_of(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A direct-mapped cache by id, limited in bytes.
struct Cache<T> {
    slots: Vec<Option<(i64, T)>>,
    bytes: usize,
}

impl<T> Cache<T> {
    /// Limit of the text it holds; one value may exceed it.
    const BYTES_MAX: usize = 1 << 20;

    /// `slots` is a power of two.
    fn new(slots: usize) -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
            bytes: 0,
        }
    }

    /// The value of an id; `read` returns it with its bytes.
    fn get(
        &mut self,
        id: i64,
        read: impl FnOnce(i64) -> Result<(T, usize), ReadError>,
    ) -> Result<&T, ReadError> {
        let slot = id as usize & (self.slots.len() - 1);
        if !matches!(&self.slots[slot], Some((cached, _)) if *cached == id) {
            let (value, bytes) = read(id)?;
            // Replaced values still count, which only empties the cache earlier.
            self.bytes += bytes;
            if self.bytes > Self::BYTES_MAX {
                self.slots.fill_with(|| None);
                self.bytes = bytes;
            }
            self.slots[slot] = Some((id, value));
        }
        match &self.slots[slot] {
            Some((_, value)) => Ok(value),
            None => Err(ReadError::INCONSISTENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_returns_value_of_id_and_respects_limit() {
        let mut cache = Cache::new(8);
        for id in [1, 9, 1, -7, i64::MAX, 1 << 40] {
            let value = cache.get(id, |id| Ok((id, 1)));
            assert_eq!(value.ok(), Some(&id));
        }
        let large = Cache::<i64>::BYTES_MAX / 2 + 1;
        for id in 2..5 {
            assert_eq!(cache.get(id, |id| Ok((id, large))).ok(), Some(&id));
        }
        assert_eq!(cache.slots.iter().flatten().count(), 1);
        assert_eq!(cache.bytes, large);
        assert!(cache.get(4, |_| Err(ReadError::INCONSISTENT)).is_ok());
        assert!(cache.get(3, |_| Err(ReadError::INCONSISTENT)).is_err());
    }
}
