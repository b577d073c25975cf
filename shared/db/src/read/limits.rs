//! Upper bounds of an answer, so that the memory of a reader does not depend on who wrote the file.
//!
//! ```text
//!   a value   VALUE_BYTES_MAX   SQLite refuses to read a longer one
//!   a page    PAGE_BYTES_MAX    the page ends early, the next one continues
//!   groups    GROUPS_BYTES_MAX  the query fails
//!   SQLite    heap limit        whatever a statement sorts or parses
//! ```

use std::collections::HashMap;
use std::hash::Hash;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension};

use super::ReadError;
use super::row::Row;

/// Longest text, blob or row that is read. The recorder writes at most 10 KiB of metadata and 4 KiB of text.
pub(super) const VALUE_BYTES_MAX: i32 = 1 << 20;
/// Text of the rows of one page: a thousand rows of 4 KiB; rows have about 0.7 KiB on average.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Memory of the groups of one answer: about 75,000 with names of typical length, held twice (as integers and labels).
const GROUPS_BYTES_MAX: usize = 12 << 20;
/// Memory of a group besides its text: two entries of hash maps and their keys.
const GROUP_BYTES: usize = 128;

/// Limits the memory of SQLite in this process, for all connections, permanently: a damaged file determines how much a
/// statement sorts. For a process that only reads.
pub fn limit_heap(bytes: u32) -> Result<(), ReadError> {
    let connection = Connection::open_in_memory()?;
    Ok(connection.query_row(&format!("PRAGMA hard_heap_limit = {bytes}"), [], |_| Ok(()))?)
}

/// Makes a connection refuse values longer than [`VALUE_BYTES_MAX`].
pub(super) fn limit_values(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        .map(drop)
}

/// Bytes that a page may still take.
pub(super) struct PageBudget(Option<usize>);

impl PageBudget {
    pub(super) const fn new() -> Self {
        Self(None)
    }

    /// Whether a row still fits; the first row always does.
    pub(super) fn try_add(&mut self, row: &Row) -> bool {
        let left = self
            .0
            .map_or(Some(PAGE_BYTES_MAX.saturating_sub(row.bytes())), |left| {
                left.checked_sub(row.bytes())
            });
        self.0 = left.or(Some(0));
        left.is_some()
    }
}

/// Counts by group, limited by [`GROUPS_BYTES_MAX`].
pub(super) struct GroupCounts<K> {
    pub(super) counts: HashMap<K, u64>,
    bytes: usize,
}

impl<K: Eq + Hash + Clone> GroupCounts<K> {
    pub(super) fn new() -> Self {
        Self {
            counts: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds to a group, whose key holds `text_bytes` of text.
    pub(super) fn add(&mut self, key: &K, text_bytes: usize, count: u64) -> Result<(), ReadError> {
        if let Some(known) = self.counts.get_mut(key) {
            *known += count;
            return Ok(());
        }
        self.bytes += GROUP_BYTES + text_bytes;
        if self.bytes > GROUPS_BYTES_MAX {
            return Err(ReadError::TooManyGroups(self.counts.len()));
        }
        self.counts.insert(key.clone(), count);
        Ok(())
    }
}

/// Tables, their key, and their columns that hold text.
const TEXT_COLUMNS: &[(&str, &str, &[&str])] = &[
    (
        "event",
        "key",
        &["extra", "args", "uid", "imported_id", "imported_at"],
    ),
    ("message_template", "id", &["body"]),
    // A covering index would read the whole name.
    ("object NOT INDEXED", "id", &["name"]),
    ("scope", "id", &["kind", "namespace", "api_group"]),
    ("node NOT INDEXED", "id", &["name"]),
    (
        "event_class NOT INDEXED",
        "id",
        &["reason", "title", "component", "container", "kube_type"],
    ),
];

/// Names the first value that is too long, e.g. `message_template.body of id 7, 838860800 bytes`, without reading it:
/// `octet_length` reads only its size.
pub(super) fn find_oversized_value(connection: &Connection) -> Option<String> {
    TEXT_COLUMNS.iter().find_map(|(table, id, columns)| {
        columns.iter().find_map(|column| {
            let sql = format!(
                "SELECT CASE WHEN octet_length({id}) > 64 THEN '?' ELSE {id} END, octet_length({column}) \
                   FROM {table} WHERE octet_length({column}) > {VALUE_BYTES_MAX} LIMIT 1"
            );
            let table = table.trim_end_matches(" NOT INDEXED");
            let found = connection.query_row(&sql, [], |row| {
                let name = super::row::to_text(row.get_ref(0)?).unwrap_or_default();
                Ok(format!("{table}.{column} of {id} {name}, {} bytes", row.get::<_, i64>(1)?))
            });
            found.optional().ok().flatten()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn try_add_first_row_fits_and_last_byte_counts() {
        let row = |bytes| Row {
            title: "x".repeat(bytes - Row::default().bytes()),
            ..Row::default()
        };
        let mut budget = PageBudget::new();
        assert!(budget.try_add(&row(2 * PAGE_BYTES_MAX)));
        assert!(!budget.try_add(&row(1000)));
        let mut budget = PageBudget::new();
        assert!(budget.try_add(&row(PAGE_BYTES_MAX - 1000)));
        assert!(budget.try_add(&row(1000)));
        assert!(!budget.try_add(&row(1000)));
    }

    #[test]
    fn add_group_beyond_memory_limit_fails() {
        let mut groups = GroupCounts::new();
        for i in 0..GROUPS_BYTES_MAX / (GROUP_BYTES + 8) {
            groups.add(&i, 8, 1).unwrap();
            groups.add(&i, 8, 1).unwrap();
        }
        let error = (0..2).find_map(|i| groups.add(&(usize::MAX - i), 8, 1).err());
        assert!(
            matches!(error, Some(ReadError::TooManyGroups(92_521))),
            "{error:?}"
        );
    }
}
