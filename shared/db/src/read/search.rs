//! Looks for text in title, reason, object name and description of a row, without regard to (ASCII) case.
//!
//! The description is a template: it is filled into a buffer, in which the needle is looked for. What the interned tables
//! say of an id is kept while there is room, since neighbouring rows are mostly about the same.
//!
//! Invariant: says of every row what SQLite says of the view: what is unusual is left to that.

use memchr::memmem::Finder;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use super::ReadError;
use super::args::args;
use super::expand::{fill, placeholders};

/// Columns of `event e` by which [`Search::has`] judges.
pub(super) const COLUMNS: &str = "e.class, e.object, e.template, e.args";

const REASON: &str = "SELECT instr(lower(title), ?1) > 0 OR instr(lower(reason), ?1) > 0 FROM event_class WHERE id = ?2";
const OBJECT: &str = "SELECT name, scope FROM object WHERE id = ?";
const SCOPE: &str = "SELECT namespace FROM scope WHERE id = ?";
const TEXT: &str = "SELECT body FROM message_template WHERE id = ?";
const VIEW: &str = "SELECT ifnull(instr(lower(description), ?1) > 0, 0) OR ifnull(instr(lower(object_name), ?1) > 0, 0) \
     FROM event_detail WHERE key = ?2";

/// A longer template is left to SQLite: stored text has at most 4 KiB.
const TEMPLATE_BYTES_MAX: usize = 64 << 10;

/// One needle.
pub(super) struct Search<'c> {
    needle: String,
    finder: Finder<'static>,
    statements: Statements<'c>,
    reasons: Cache<bool>,
    objects: Cache<Object>,
    /// Their namespaces; `None`: not text.
    scopes: Cache<Option<Box<str>>>,
    texts: Cache<Text>,
    filled: String,
}

struct Statements<'c> {
    reason: CachedStatement<'c>,
    object: CachedStatement<'c>,
    scope: CachedStatement<'c>,
    text: CachedStatement<'c>,
    view: CachedStatement<'c>,
}

/// What a row is about.
struct Object {
    /// Whether its name has the needle.
    has: bool,
    /// `None`: not text.
    name: Option<Box<str>>,
    scope: i64,
}

/// A description.
enum Text {
    /// Without placeholders, so that it has the needle in every row or in none.
    Whole(bool),
    /// With its placeholders.
    Template(Box<str>, Box<[usize]>),
    /// Not text, or a long one.
    Odd,
}

impl<'c> Search<'c> {
    pub(super) fn new(connection: &'c Connection, text: &str) -> Result<Self, ReadError> {
        let needle = text.to_ascii_lowercase();
        Ok(Self {
            finder: Finder::new(needle.as_bytes()).into_owned(),
            needle,
            statements: Statements {
                reason: connection.prepare_cached(REASON)?,
                object: connection.prepare_cached(OBJECT)?,
                scope: connection.prepare_cached(SCOPE)?,
                text: connection.prepare_cached(TEXT)?,
                view: connection.prepare_cached(VIEW)?,
            },
            reasons: Cache::new(1 << 10),
            objects: Cache::new(1 << 12),
            scopes: Cache::new(1 << 10),
            texts: Cache::new(1 << 13),
            filled: String::new(),
        })
    }

    /// Whether a row has the needle: its key in column 0, [`COLUMNS`] from `first` on.
    ///
    /// # Errors
    /// Also where a number of the row stands for nothing: then a page of another table is damaged.
    pub(super) fn has(&mut self, row: &Row<'_>, first: usize) -> Result<bool, ReadError> {
        let needle = &self.needle;
        let statements = &mut self.statements;
        let has_reason = self.reasons.get(row.get(first)?, |id| {
            let read = |row: &Row<'_>| row.get::<_, Option<bool>>(0);
            let found = statements.reason.query_row((needle, id), read).optional()?;
            Ok((found.ok_or(ReadError::INCONSISTENT)?.unwrap_or(false), 0))
        })?;
        if *has_reason {
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
        if object.is_some_and(|object| object.has) {
            return Ok(true);
        }
        let is_odd = object.is_some_and(|object| object.name.is_none());
        let text = self.texts.get(row.get(first + 2)?, |id| {
            let read = |row: &Row<'_>| Ok(Text::of(row.get_ref(0)?, finder));
            let found = statements.text.query_row([id], read).optional()?;
            let text = found.ok_or(ReadError::INCONSISTENT)?;
            let bytes = match &text {
                Text::Template(body, places) => body.len() + size_of_val(&**places),
                _ => 0,
            };
            Ok((text, bytes))
        })?;
        let template = match text {
            Text::Whole(has) if *has || !is_odd => return Ok(*has),
            Text::Template(body, places) => Some((&**body, &**places)),
            Text::Whole(_) | Text::Odd => None,
        };
        let args = match row.get_ref(first + 3)? {
            ValueRef::Null => Some(None),
            ValueRef::Text(json) => args(json).map(Some),
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
            self.filled.clear();
            let args = args.as_deref();
            if fill((body, places), name, namespace, args, &mut self.filled).is_some() {
                self.filled.make_ascii_lowercase();
                return Ok(finder.find(self.filled.as_bytes()).is_some());
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
            has: name.as_deref().is_some_and(|name| has(name, finder)),
            name,
            scope: row.get(1)?,
        })
    }
}

impl Text {
    fn of(body: ValueRef<'_>, finder: &Finder<'_>) -> Self {
        let Some(body) = text_of(body) else {
            return Self::Odd;
        };
        if body.len() > TEMPLATE_BYTES_MAX {
            return Self::Odd;
        }
        let places: Box<[usize]> = placeholders(body).collect();
        if places.is_empty() {
            Self::Whole(has(body, finder))
        } else {
            Self::Template(body.into(), places)
        }
    }
}

fn has(text: &str, finder: &Finder<'_>) -> bool {
    finder.find(text.to_ascii_lowercase().as_bytes()).is_some()
}

fn text_of(value: ValueRef<'_>) -> Option<&str> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// What was read of the newest ids, as much as fits.
struct Cache<T> {
    slots: Vec<Option<(i64, T)>>,
    bytes: usize,
}

impl<T> Cache<T> {
    /// Text that it holds at most, but for one value, which SQLite bounds.
    const BYTES_MAX: usize = 1 << 20;

    /// `slots` is a power of two.
    fn new(slots: usize) -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(slots).collect(),
            bytes: 0,
        }
    }

    /// What belongs to an id; `read` gives it and its bytes.
    fn get(
        &mut self,
        id: i64,
        read: impl FnOnce(i64) -> Result<(T, usize), ReadError>,
    ) -> Result<&T, ReadError> {
        let slot = id as usize & (self.slots.len() - 1);
        if !matches!(&self.slots[slot], Some((cached, _)) if *cached == id) {
            let (value, bytes) = read(id)?;
            // Values that were replaced still count: that only empties it earlier.
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
    fn cache_gives_each_id_its_own_and_holds_no_more_than_fits() {
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
