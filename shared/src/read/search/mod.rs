//! Looks for text in title, reason, object name and description without expanding every row.
//!
//! A description is a template whose placeholders stand for the object's name, its namespace and the row's arguments.
//! The needle is looked for once in each interned text and name. A row is expanded only where a match could lie over a
//! seam between the template's own text and what is filled in: the template must have such a seam, and what is filled
//! in beside it must fit the needle's parts.
//!
//! SQLite asks [`FUNCTION`] for each row, so that a row that does not match never leaves it.
//!
//! ```text
//!   needle "web-1 failed"     pod ␁ failed        seam after ␁: the name must end like "web-1"
//!                             Created pod: ␁␃     seam between: name and argument must fit, wherever the needle is cut
//! ```

mod ids;
mod template;

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

use super::ReadError;
use super::args::{Args, args};
use super::row::to_text;
use super::sql::Sql;
use ids::IdSet;
use template::{Filler, Seam};

/// Whether a row has the needle, of its reason, object, text and arguments; null where only its expanded description can
/// tell.
const FUNCTION: &str = "kube9_found";

/// What the interned tables say of a needle.
#[derive(Debug)]
struct Search {
    needle: String,
    /// Reasons whose title or reason has it.
    reasons: IdSet,
    /// Objects whose name has it.
    objects: IdSet,
    /// Objects whose namespace has it.
    namespaces: IdSet,
    /// Templates that have it in their own text.
    texts: IdSet,
    /// Templates that name the namespace.
    with_namespace: IdSet,
    /// Templates over whose seams it could lie.
    seamed: IdSet,
    seams: HashMap<i64, Box<[Seam]>>,
    names: Sides,
    namespaces_fit: Sides,
    /// Whether the needle reads the same in JSON.
    is_plain: bool,
}

/// Objects whose name (or namespace) could be beside a seam, at whichever cut some template asks for.
#[derive(Debug, Default)]
struct Sides {
    /// Cuts after which a value would have to begin with the rest.
    begin: Vec<usize>,
    /// Cuts before which a value would have to end with what is before.
    end: Vec<usize>,
    /// Objects that fit one of `begin`.
    begins: IdSet,
    /// Objects that fit one of `end`.
    ends: IdSet,
}

impl Sides {
    fn is_asked_for(&self) -> bool {
        !self.begin.is_empty() || !self.end.is_empty()
    }

    /// Notes an object by its value; `None` is no text, rare enough to be expanded.
    fn note(&mut self, object: i64, value: Option<&[u8]>, needle: &[u8]) -> Result<(), ReadError> {
        let fits = |cuts: &[usize], fit: &dyn Fn(&[u8], usize) -> bool| {
            cuts.iter()
                .any(|&cut| value.is_none_or(|value| fit(value, cut)))
        };
        if fits(&self.begin, &|value, cut| {
            template::goes_on(value, &needle[cut..])
        }) {
            self.begins.insert(object)?;
        }
        if fits(&self.end, &|value, cut| {
            template::ends_so(value, &needle[..cut])
        }) {
            self.ends.insert(object)?;
        }
        Ok(())
    }
}

/// Looks through the interned tables; returns the condition on a row of `event e`.
pub(super) fn condition(connection: &Connection, text: &str) -> Result<Sql, ReadError> {
    let search = Search::prepare(connection, text)?;
    let mut sql = Sql::new(format!(
        "ifnull({FUNCTION}(e.reason, e.object, e.text, e.args), \
         ifnull((SELECT instr(lower(d.description), "
    ));
    sql.bind(search.needle.clone())
        .push(") > 0 FROM event_detail d WHERE d.key = +e.key), 0))");
    connection.create_scalar_function(
        FUNCTION,
        4,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
        move |row| search.look(row),
    )?;
    Ok(sql)
}

/// A table in the order of its ids: another order is that of pages in each other's places.
fn ascending(id: i64, last: &mut i64) -> Result<i64, ReadError> {
    if id <= std::mem::replace(last, id) {
        return Err(ReadError::INCONSISTENT);
    }
    Ok(id)
}

impl Search {
    /// Looks through the interned tables.
    fn prepare(connection: &Connection, text: &str) -> Result<Self, ReadError> {
        let needle = text.to_ascii_lowercase();
        let set = |sql: &str| -> Result<IdSet, ReadError> {
            let mut set = IdSet::default();
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([&needle])?;
            while let Some(row) = rows.next()? {
                set.insert(row.get(0)?)?;
            }
            Ok(set)
        };
        let reasons = set("SELECT id FROM reason \
             WHERE instr(lower(title), ?1) > 0 OR instr(lower(reason), ?1) > 0")?;
        let namespaces = set("SELECT o.id FROM object o \
             WHERE o.scope IN (SELECT s.id FROM scope s WHERE instr(lower(s.namespace), ?1) > 0)")?;
        let mut search = Self {
            reasons,
            objects: IdSet::default(),
            namespaces,
            texts: IdSet::default(),
            with_namespace: IdSet::default(),
            seamed: IdSet::default(),
            seams: HashMap::new(),
            names: Sides::default(),
            namespaces_fit: Sides::default(),
            is_plain: !needle.contains(['"', '\\', '[', ']', ',']),
            needle,
        };
        search.look_through_texts(connection)?;
        search.look_through_objects(connection)?;
        Ok(search)
    }

    fn look_through_texts(&mut self, connection: &Connection) -> Result<(), ReadError> {
        let mut statement = connection.prepare("SELECT id, body FROM text")?;
        let mut rows = statement.query([])?;
        let mut body = String::new();
        let mut last = i64::MIN;
        while let Some(row) = rows.next()? {
            let id = ascending(row.get(0)?, &mut last)?;
            body.clear();
            match row.get_ref(1)?.as_str() {
                Ok(text) => body.push_str(text),
                Err(_) => body.push_str(&to_text(row.get_ref(1)?).unwrap_or_default()),
            }
            body.make_ascii_lowercase();
            if body.contains(&self.needle) {
                self.texts.insert(id)?;
            } else if template::has_placeholder(&body) {
                self.add_template(id, &body)?;
            }
        }
        Ok(())
    }

    fn add_template(&mut self, id: i64, body: &str) -> Result<(), ReadError> {
        if template::names_namespace(body) {
            self.with_namespace.insert(id)?;
        }
        let seams = template::seams(body, &self.needle);
        if seams.is_empty() {
            return Ok(());
        }
        for seam in &seams {
            match *seam {
                Seam::Into(after, cut) => self.ask(after, Some(cut), None),
                Seam::OutOf(before, cut) => self.ask(before, None, Some(cut)),
                Seam::Across { before, after } => {
                    self.ask(before.0, None, Some(before.1));
                    self.ask(after.0, Some(after.1), None);
                }
                Seam::Between(before, after) => {
                    for cut in 1..self.needle.len() {
                        self.ask(before, None, Some(cut));
                        self.ask(after, Some(cut), None);
                    }
                }
            }
        }
        self.seamed.insert(id)?;
        self.seams.insert(id, seams.into());
        Ok(())
    }

    /// Notes that it matters whether names or namespaces fit at a cut.
    fn ask(&mut self, filler: Filler, begin: Option<usize>, end: Option<usize>) {
        let sides = match filler {
            Filler::Name => &mut self.names,
            Filler::Namespace => &mut self.namespaces_fit,
            Filler::Arg(_) => return,
        };
        for (cuts, cut) in [(&mut sides.begin, begin), (&mut sides.end, end)] {
            if let Some(cut) = cut
                && !cuts.contains(&cut)
            {
                cuts.push(cut);
            }
        }
    }

    /// Names that have the needle, and those that could be beside a seam.
    fn look_through_objects(&mut self, connection: &Connection) -> Result<(), ReadError> {
        let needle = self.needle.as_bytes();
        let mut statement = connection.prepare("SELECT id, name FROM object NOT INDEXED")?;
        let mut rows = statement.query([])?;
        let mut last = i64::MIN;
        while let Some(row) = rows.next()? {
            let id = ascending(row.get(0)?, &mut last)?;
            let name = row.get_ref(1)?.as_bytes().ok();
            // What is no text fits everywhere: it is rare enough for its rows to be expanded.
            if name.is_some_and(|name| template::has(name, needle)) {
                self.objects.insert(id)?;
            } else {
                self.names.note(id, name, needle)?;
            }
        }
        if !self.namespaces_fit.is_asked_for() {
            return Ok(());
        }
        let mut statement = connection.prepare(
            "SELECT o.id, s.namespace FROM object o LEFT JOIN scope s ON s.id = o.scope",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let namespace = row.get_ref(1)?.as_bytes().ok();
            self.namespaces_fit.note(row.get(0)?, namespace, needle)?;
        }
        Ok(())
    }
}

impl Search {
    /// [`FUNCTION`].
    fn look(&self, row: &Context<'_>) -> rusqlite::Result<Option<bool>> {
        let text: i64 = row.get(2)?;
        if self.texts.has(text) || self.reasons.has(row.get(0)?) {
            return Ok(Some(true));
        }
        let object: Option<i64> = row.get(1)?;
        if object.is_some_and(|object| {
            self.objects.has(object)
                || (self.namespaces.has(object) && self.with_namespace.has(text))
        }) {
            return Ok(Some(true));
        }
        let args = row.get_raw(3).as_bytes_or_null().unwrap_or_default();
        Ok((!self.is_doubtful(text, object, args)).then_some(false))
    }

    /// Whether only the expanded description can tell.
    fn is_doubtful(&self, text: i64, object: Option<i64>, json: Option<&[u8]>) -> bool {
        if let Some(json) = json
            && (!self.is_plain || template::has(json, self.needle.as_bytes()))
        {
            return true;
        }
        if !self.seamed.has(text) {
            return false;
        }
        let Some(seams) = self.seams.get(&text) else {
            return false;
        };
        let Some(args) = json.map_or(Some(Args::default()), args) else {
            return true;
        };
        let begins = |filler, cut| self.begins(filler, cut, object, &args);
        let ends = |filler, cut| self.ends(filler, cut, object, &args);
        seams.iter().any(|seam| match *seam {
            Seam::Into(after, cut) => begins(after, cut),
            Seam::OutOf(before, cut) => ends(before, cut),
            Seam::Across { before, after } => ends(before.0, before.1) && begins(after.0, after.1),
            Seam::Between(before, after) => {
                (1..self.needle.len()).any(|cut| ends(before, cut) && begins(after, cut))
            }
        })
    }

    /// Whether the value could begin with the needle from `cut` on. An absent name is filled in as nothing, which fits.
    fn begins(&self, filler: Filler, cut: usize, object: Option<i64>, args: &Args<'_>) -> bool {
        let of = |sides: &Sides| object.is_none_or(|object| sides.begins.has(object));
        match filler {
            Filler::Name => of(&self.names),
            Filler::Namespace => of(&self.namespaces_fit),
            Filler::Arg(at) => template::goes_on(args.get(at), &self.needle.as_bytes()[cut..]),
        }
    }

    /// Whether the value could end with the needle up to `cut`.
    fn ends(&self, filler: Filler, cut: usize, object: Option<i64>, args: &Args<'_>) -> bool {
        let of = |sides: &Sides| object.is_none_or(|object| sides.ends.has(object));
        match filler {
            Filler::Name => of(&self.names),
            Filler::Namespace => of(&self.namespaces_fit),
            Filler::Arg(at) => template::ends_so(args.get(at), &self.needle.as_bytes()[..cut]),
        }
    }
}
