//! Looks for text in title, reason, object name and description without expanding every row.
//!
//! A description is a template whose placeholders stand for the object's name, its namespace and the row's arguments.
//! The needle is looked for once in each interned text; a row is expanded only where a match could straddle the border
//! between a template and what is filled in.

use rusqlite::{Connection, Row, Statement};

use super::ReadError;
use super::row::to_text;
use crate::schema::placeholder;

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
    /// Templates that have it in their own text.
    texts: IdSet,
    /// Templates that name the namespace.
    with_namespace: IdSet,
    /// Templates in which it could straddle a border.
    straddled: IdSet,
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
        let reasons = set(
            "SELECT id FROM reason WHERE instr(lower(title), ?1) > 0 OR instr(lower(reason), ?1) > 0",
        )?;
        let objects = set("SELECT id FROM object WHERE instr(lower(name), ?1) > 0")?;
        let namespaces = set("SELECT o.id FROM object o \
             WHERE o.scope IN (SELECT s.id FROM scope s WHERE instr(lower(s.namespace), ?1) > 0)")?;
        let is_plain = !needle.contains(['"', '\\', '[', ']', ',']);
        let mut search = Self {
            reasons,
            objects,
            namespaces,
            texts: IdSet::default(),
            with_namespace: IdSet::default(),
            straddled: IdSet::default(),
            is_plain,
            needle,
        };
        let mut statement = connection.prepare("SELECT id, body FROM text")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = to_text(row.get_ref(1)?)
                .unwrap_or_default()
                .to_ascii_lowercase();
            search.add_text(row.get(0)?, &body);
        }
        Ok(search)
    }

    fn add_text(&mut self, id: i64, body: &str) {
        if body.contains(&self.needle) {
            self.texts.insert(id);
            return;
        }
        if body.contains(placeholder::NAMESPACE) {
            self.with_namespace.insert(id);
        }
        if could_straddle(body, &self.needle) {
            self.straddled.insert(id);
        }
    }
}

/// Whether `needle` could match across a border between a template's own text and what a placeholder stands for.
fn could_straddle(body: &str, needle: &str) -> bool {
    let is_placeholder = |c: char| {
        c == placeholder::NAME || c == placeholder::NAMESPACE || placeholder::ARGS.contains(&c)
    };
    let runs: Vec<&str> = body.split(is_placeholder).collect();
    let borders = || needle.char_indices().map(|(at, _)| at).skip(1);
    let last = runs.len() - 1;
    last > 0
        && runs.iter().enumerate().any(|(i, run)| {
            let (follows, precedes) = (i > 0, i < last);
            let into_value = precedes && borders().any(|at| run.ends_with(&needle[..at]));
            let out_of_value = follows && borders().any(|at| run.starts_with(&needle[at..]));
            // Between two values: a run (an empty one, too) that the needle has strictly inside.
            let across = follows
                && precedes
                && borders().any(|at| {
                    needle[at..]
                        .strip_prefix(run)
                        .is_some_and(|rest| !rest.is_empty())
                });
            into_value || out_of_value || across
        })
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
        let doubtful = search.straddled.has(text)
            || match row.get_ref(4)?.as_bytes_or_null() {
                Ok(Some(args)) => !search.is_plain || has(args, search.needle.as_bytes()),
                _ => false,
            };
        if !doubtful {
            return Ok(false);
        }
        let key: i64 = row.get(0)?;
        Ok(self
            .expand
            .query_row((&search.needle, key), |row| row.get(0))?)
    }
}

/// Whether `text` has `needle`, which is in lower case, without regard to ASCII case.
fn has(text: &[u8], needle: &[u8]) -> bool {
    let Some((&first, rest)) = needle.split_first() else {
        return true;
    };
    text.iter().enumerate().any(|(at, byte)| {
        byte.to_ascii_lowercase() == first
            && text[at + 1..]
                .get(..rest.len())
                .is_some_and(|window| window.eq_ignore_ascii_case(rest))
    })
}

/// A set of ids that lie close together: bits in blocks, so that a hundred thousand ids take some tens of kilobytes.
#[derive(Debug, Default)]
struct IdSet {
    blocks: Vec<Option<Box<[u64; Self::BLOCK_WORDS]>>>,
}

impl IdSet {
    const BLOCK_WORDS: usize = 64;
    const BLOCK_IDS: u64 = 64 * Self::BLOCK_WORDS as u64;

    fn insert(&mut self, id: i64) {
        let Some((block, word, bit)) = Self::place(id) else {
            return;
        };
        if block >= self.blocks.len() {
            self.blocks.resize(block + 1, None);
        }
        self.blocks[block].get_or_insert_with(|| Box::new([0; Self::BLOCK_WORDS]))[word] |=
            1 << bit;
    }

    fn has(&self, id: i64) -> bool {
        Self::place(id).is_some_and(|(block, word, bit)| {
            self.blocks
                .get(block)
                .and_then(Option::as_ref)
                .is_some_and(|words| words[word] >> bit & 1 == 1)
        })
    }

    /// Block, word and bit. Ids are positive and rise by one a row, so blocks stay few.
    fn place(id: i64) -> Option<(usize, usize, u32)> {
        let id = u64::try_from(id).ok()?;
        let within = id % Self::BLOCK_IDS;
        Some((
            usize::try_from(id / Self::BLOCK_IDS).ok()?,
            (within / 64) as usize,
            (within % 64) as u32,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_has_what_was_put_in() {
        let mut set = IdSet::default();
        let ids = [1, 63, 64, 4095, 4096, 1_000_000];
        ids.iter().for_each(|&id| set.insert(id));
        assert!(ids.iter().all(|&id| set.has(id)));
        assert!(
            ![0, 2, 65, 4097, 999_999, i64::MAX, -1]
                .iter()
                .any(|&id| set.has(id))
        );
    }

    #[test]
    fn match_may_straddle_only_where_the_border_fits() {
        for (body, needle, expected) in [
            ("pod \u{1} failed", "pod web", true),
            ("pod \u{1} failed", "web failed", true),
            ("pod \u{1} failed", "d web f", true),
            ("pod \u{1} failed", "killed", false),
            ("\u{1}\u{3}", "ab", true),
            ("\u{1}/\u{3}", "a/b", true),
            ("\u{1}/\u{3}", "ab", false),
            ("no placeholder", "o p", false),
        ] {
            assert_eq!(
                could_straddle(body, needle),
                expected,
                "{body:?} {needle:?}"
            );
        }
    }

    #[test]
    fn bytes_are_found_without_regard_to_case() {
        assert!(has(b"[\"NGINX:1.2\"]", b"nginx:1"));
        assert!(!has(b"[\"ngin\"]", b"nginx"));
    }
}
