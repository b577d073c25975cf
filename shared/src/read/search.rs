//! Looks for text in title, reason, object name and description without expanding every row.
//!
//! A description is a template whose placeholders stand for the object's name, its namespace and the row's arguments.
//! The needle is looked for once in each interned text and name. A row is expanded only where a match could straddle a
//! border between the template's own text and what is filled in: the template must have a border that fits one part of
//! the needle, and what is filled in must fit the other part.

mod ids;
mod template;

use rusqlite::{Connection, Row, Statement};

use super::ReadError;
use super::row::to_text;
use ids::IdSet;
use template::{Borders, args};

/// What the interned tables say of a needle.
#[derive(Debug)]
pub(super) struct Search {
    needle: String,
    /// Reasons whose title or reason has it.
    reasons: IdSet,
    /// Objects whose name has it.
    objects: IdSet,
    /// Objects whose namespace has it.
    namespaces: IdSet,
    /// Objects whose name or namespace could be one side of a straddling match.
    fitting: IdSet,
    /// Templates that have it in their own text.
    texts: IdSet,
    /// Templates that name the namespace.
    with_namespace: IdSet,
    /// Templates with a border that fits.
    straddled: IdSet,
    /// Templates in which it could reach over a whole run of text between two values.
    across: IdSet,
    /// Straddled templates that use at least so many arguments (index 0: one).
    with_args: [IdSet; 5],
    borders: Borders,
    /// Whether the needle reads the same in JSON.
    is_plain: bool,
}

impl Search {
    /// Looks through the interned tables.
    pub(super) fn prepare(connection: &Connection, text: &str) -> Result<Self, ReadError> {
        let needle = text.to_ascii_lowercase();
        let set = |sql: &str| -> Result<IdSet, ReadError> {
            let mut set = IdSet::default();
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([&needle])?;
            while let Some(row) = rows.next()? {
                set.insert(row.get(0)?);
            }
            Ok(set)
        };
        let reasons = set("SELECT id FROM reason \
             WHERE instr(lower(title), ?1) > 0 OR instr(lower(reason), ?1) > 0")?;
        let objects = set("SELECT id FROM object WHERE instr(lower(name), ?1) > 0")?;
        let namespaces = set("SELECT o.id FROM object o \
             WHERE o.scope IN (SELECT s.id FROM scope s WHERE instr(lower(s.namespace), ?1) > 0)")?;
        let mut search = Self {
            reasons,
            objects,
            namespaces,
            fitting: IdSet::default(),
            texts: IdSet::default(),
            with_namespace: IdSet::default(),
            straddled: IdSet::default(),
            across: IdSet::default(),
            with_args: Default::default(),
            borders: Borders::default(),
            is_plain: !needle.contains(['"', '\\', '[', ']', ',']),
            needle,
        };
        search.look_through_texts(connection)?;
        if !search.borders.is_empty() {
            search.look_for_fitting_names(connection)?;
        }
        Ok(search)
    }

    fn look_through_texts(&mut self, connection: &Connection) -> Result<(), ReadError> {
        let mut statement = connection.prepare("SELECT id, body FROM text")?;
        let mut rows = statement.query([])?;
        let mut body = String::new();
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            body.clear();
            match row.get_ref(1)?.as_str() {
                Ok(text) => body.push_str(text),
                Err(_) => body.push_str(&to_text(row.get_ref(1)?).unwrap_or_default()),
            }
            body.make_ascii_lowercase();
            if body.contains(&self.needle) {
                self.texts.insert(id);
            } else if template::has_placeholder(&body) {
                self.add_template(id, &body);
            }
        }
        Ok(())
    }

    fn add_template(&mut self, id: i64, body: &str) {
        if template::names_namespace(body) {
            self.with_namespace.insert(id);
        }
        let found = self.borders.look(body, &self.needle);
        if found.across {
            self.across.insert(id);
        }
        if found.straddled {
            self.straddled.insert(id);
            for at in 0..template::args_used(body) {
                self.with_args[at].insert(id);
            }
        }
    }

    fn look_for_fitting_names(&mut self, connection: &Connection) -> Result<(), ReadError> {
        let mut statement = connection.prepare(
            "SELECT o.id, o.name, s.namespace FROM object o LEFT JOIN scope s ON s.id = o.scope",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let fits = |column| -> Result<bool, ReadError> {
                let value = row.get_ref(column)?;
                // What is not text is rare enough to be expanded.
                Ok(value
                    .as_bytes()
                    .map_or(true, |value| self.borders.fit(value, &self.needle)))
            };
            if fits(1)? || fits(2)? {
                self.fitting.insert(row.get(0)?);
            }
        }
        Ok(())
    }
}

/// Tests rows; holds the statement that expands the doubtful ones.
pub(super) struct Tester<'c> {
    search: &'c Search,
    expand: Statement<'c>,
}

impl<'c> Tester<'c> {
    /// What [`Self::matches`] reads of a row of `event e`.
    pub(super) const COLUMNS: &'static str = "e.key, e.reason, e.object, e.text, e.args";
    pub(super) const COLUMN_COUNT: usize = 5;

    pub(super) fn new(connection: &'c Connection, search: &'c Search) -> Result<Self, ReadError> {
        let expand = connection.prepare(
            "SELECT ifnull(instr(lower(description), ?), 0) > 0 FROM event_detail WHERE key = ?",
        )?;
        Ok(Self { search, expand })
    }

    /// Whether the row has the needle.
    pub(super) fn matches(&mut self, row: &Row<'_>) -> Result<bool, ReadError> {
        let search = self.search;
        let text: i64 = row.get(3)?;
        if search.texts.has(text) || search.reasons.has(row.get(1)?) {
            return Ok(true);
        }
        let object: Option<i64> = row.get(2)?;
        if object.is_some_and(|object| {
            search.objects.has(object)
                || (search.namespaces.has(object) && search.with_namespace.has(text))
        }) {
            return Ok(true);
        }
        let args = row.get_ref(4)?.as_bytes_or_null().unwrap_or_default();
        if !search.is_doubtful(text, object, args) {
            return Ok(false);
        }
        let key: i64 = row.get(0)?;
        Ok(self
            .expand
            .query_row((&search.needle, key), |row| row.get(0))?)
    }
}

impl Search {
    /// Whether only the expanded description can tell.
    fn is_doubtful(&self, text: i64, object: Option<i64>, args: Option<&[u8]>) -> bool {
        if let Some(args) = args
            && (!self.is_plain || template::has(args, self.needle.as_bytes()))
        {
            return true;
        }
        if self.across.has(text) {
            return true;
        }
        if !self.straddled.has(text) {
            return false;
        }
        // An absent name is filled in as nothing, which fits everywhere.
        object.is_none_or(|object| self.fitting.has(object))
            || args.is_some_and(|args| self.args_fit(text, args))
    }

    fn args_fit(&self, text: i64, json: &[u8]) -> bool {
        let Some(values) = args(json) else {
            return true;
        };
        let mut count = 0;
        for value in values {
            if self.borders.fit(value, &self.needle) {
                return true;
            }
            count += 1;
        }
        // As with names: a missing argument is filled in as nothing.
        self.with_args.get(count).is_some_and(|more| more.has(text))
    }
}
