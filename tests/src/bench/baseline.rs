//! Replays what a transaction of the store wrote with plain prepared statements and final values: the baseline for
//! ingest.
//!
//! ```text
//!   Journal ── TEMP triggers on every table: each written row with its new values
//!     └─ Replay ── one prepared statement per table and operation: no lookups, no reads, no decisions
//! ```
//!
//! Invariant: after a replay both databases hold the same rows in every table; a test compares them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::types::Value;
use rusqlite::{Connection, Statement, TransactionBehavior, params_from_iter};

use super::populate::Spending;

/// Columns that the writer never updates. Setting them in an UPDATE would rewrite their indexes.
const FIXED: [(&str, &[&str]); 1] = [(
    "event",
    &[
        "type",
        "severity",
        "class",
        "object",
        "node",
        "uid",
        "first_offset_ms",
    ],
)];

/// The table whose oldest rows are deleted, many in one statement.
const TRIMMED: &str = "change_log";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Insert,
    Update,
    Delete,
}

/// A written row.
#[derive(Debug)]
pub struct Written {
    table: usize,
    operation: Operation,
    /// All columns; for a deleted row, their last values.
    values: Vec<Value>,
}

#[derive(Debug, Clone)]
struct Table {
    name: String,
    columns: Vec<String>,
    /// Places of the primary key's columns.
    key: Vec<usize>,
}

impl Table {
    /// Places that an UPDATE sets.
    fn changing(&self) -> Vec<usize> {
        let fixed = FIXED
            .iter()
            .find(|(table, _)| *table == self.name)
            .map_or(&[][..], |(_, columns)| columns);
        (0..self.columns.len())
            .filter(|place| {
                !self.key.contains(place) && !fixed.contains(&self.columns[*place].as_str())
            })
            .collect()
    }

    fn where_key(&self) -> String {
        let terms: Vec<String> = self
            .key
            .iter()
            .map(|&place| format!("{} = ?", self.columns[place]))
            .collect();
        terms.join(" AND ")
    }

    fn sql(&self, operation: Operation) -> String {
        let name = &self.name;
        match operation {
            Operation::Insert => {
                format!(
                    "INSERT INTO {name} VALUES ({})",
                    vec!["?"; self.columns.len()].join(", ")
                )
            }
            Operation::Update => {
                let set: Vec<String> = self
                    .changing()
                    .into_iter()
                    .map(|place| format!("{} = ?", self.columns[place]))
                    .collect();
                format!(
                    "UPDATE {name} SET {} WHERE {}",
                    set.join(", "),
                    self.where_key()
                )
            }
            Operation::Delete if name == TRIMMED => {
                format!(
                    "DELETE FROM {name} WHERE {} <= ?",
                    self.columns[self.key[0]]
                )
            }
            Operation::Delete => format!("DELETE FROM {name} WHERE {}", self.where_key()),
        }
    }

    /// What the statement binds, in order.
    fn binds(&self, operation: Operation, values: &[Value]) -> Vec<Value> {
        let places: Vec<usize> = match operation {
            Operation::Insert => return values.to_vec(),
            Operation::Update => self
                .changing()
                .into_iter()
                .chain(self.key.clone())
                .collect(),
            Operation::Delete => self.key.clone(),
        };
        places
            .into_iter()
            .map(|place| values[place].clone())
            .collect()
    }
}

/// Records every row written through one connection.
#[derive(Debug)]
pub struct Journal {
    tables: Vec<Table>,
    widest: usize,
}

impl Journal {
    /// Starts recording the writes of `conn`.
    pub fn begin(conn: &Connection) -> anyhow::Result<Self> {
        let tables = tables(conn)?;
        let widest = tables.iter().map(|t| t.columns.len()).max().unwrap_or(0);
        let places: Vec<String> = (0..widest).map(|place| format!("v{place}")).collect();
        conn.execute_batch(&format!(
            "CREATE TEMP TABLE journal (n INTEGER PRIMARY KEY, tab, operation, {})",
            places.join(", ")
        ))?;
        for (number, table) in tables.iter().enumerate() {
            for (operation, word, row) in [
                (0, "INSERT", "NEW"),
                (1, "UPDATE", "NEW"),
                (2, "DELETE", "OLD"),
            ] {
                let values: Vec<String> = table
                    .columns
                    .iter()
                    .map(|column| format!("{row}.{column}"))
                    .collect();
                conn.execute_batch(&format!(
                    "CREATE TEMP TRIGGER journal_{name}_{word} AFTER {word} ON main.{name} BEGIN \
                     INSERT INTO journal (tab, operation, {}) VALUES ({number}, {operation}, {}); END",
                    places[..values.len()].join(", "),
                    values.join(", "),
                    name = table.name,
                ))?;
            }
        }
        Ok(Self { tables, widest })
    }

    /// Writes since the last call.
    pub fn take(&self, conn: &Connection) -> anyhow::Result<Vec<Written>> {
        let mut statement = conn.prepare_cached("SELECT * FROM journal ORDER BY n")?;
        let written = statement
            .query_map([], |row| {
                let table = row.get::<_, i64>(1)? as usize;
                let columns = self.tables[table].columns.len().min(self.widest);
                Ok(Written {
                    table,
                    operation: match row.get::<_, i64>(2)? {
                        0 => Operation::Insert,
                        1 => Operation::Update,
                        _ => Operation::Delete,
                    },
                    values: (0..columns)
                        .map(|place| row.get(3 + place))
                        .collect::<Result<_, _>>()?,
                })
            })?
            .collect::<Result<_, _>>()?;
        conn.prepare_cached("DELETE FROM journal")?.execute([])?;
        Ok(written)
    }

    /// The statements and values of a replay, with the deletions of the oldest rows combined.
    fn plan(&self, written: &[Written], only: Option<&str>) -> Vec<(usize, Operation, Vec<Value>)> {
        let mut plan: Vec<(usize, Operation, Vec<Value>)> = Vec::with_capacity(written.len());
        for Written {
            table,
            operation,
            values,
        } in written
        {
            let (table, operation) = (*table, *operation);
            let of = &self.tables[table];
            if only.is_some_and(|only| only != of.name || operation != Operation::Insert) {
                continue;
            }
            let binds = of.binds(operation, values);
            match plan.last_mut() {
                Some((last, Operation::Delete, before))
                    if operation == Operation::Delete && *last == table && of.name == TRIMMED =>
                {
                    *before = binds;
                }
                _ => plan.push((table, operation, binds)),
            }
        }
        plan
    }

    /// Replays everything into another database of the same schema. Only the transaction is timed.
    pub fn replay(
        &self,
        into: &mut Connection,
        written: &[Written],
        spent: &mut Spending,
    ) -> anyhow::Result<()> {
        self.run(into, self.plan(written, None), spent)
    }

    /// Replays only the new rows of `event`.
    pub fn replay_events(
        &self,
        into: &mut Connection,
        written: &[Written],
        spent: &mut Spending,
    ) -> anyhow::Result<()> {
        self.run(into, self.plan(written, Some("event")), spent)
    }

    fn run(
        &self,
        into: &mut Connection,
        plan: Vec<(usize, Operation, Vec<Value>)>,
        spent: &mut Spending,
    ) -> anyhow::Result<()> {
        // Prepared once per batch, so that the figure does not include the statement cache.
        let conn: &Connection = into;
        let mut statements: HashMap<(usize, Operation), Statement<'_>> = HashMap::new();
        for (table, operation, _) in &plan {
            if let Entry::Vacant(place) = statements.entry((*table, *operation)) {
                place.insert(conn.prepare(&self.tables[*table].sql(*operation))?);
            }
        }
        spent.on(|| -> anyhow::Result<()> {
            let tx = rusqlite::Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
            for (table, operation, values) in &plan {
                if let Some(statement) = statements.get_mut(&(*table, *operation)) {
                    statement.execute(params_from_iter(values))?;
                }
            }
            Ok(tx.commit()?)
        })
    }
}

/// Tables with their columns; what SQLite keeps by itself is left out.
fn tables(conn: &Connection) -> anyhow::Result<Vec<Table>> {
    let mut names = conn.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    let names: Vec<String> = names
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    names
        .into_iter()
        .map(|name| {
            let mut info =
                conn.prepare("SELECT name, pk FROM pragma_table_info(?1) ORDER BY cid")?;
            let columns: Vec<(String, i64)> = info
                .query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?;
            let mut key: Vec<usize> = (0..columns.len())
                .filter(|&place| columns[place].1 > 0)
                .collect();
            key.sort_by_key(|&place| columns[place].1);
            Ok(Table {
                name,
                columns: columns.into_iter().map(|(name, _)| name).collect(),
                key,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::data::Feed;
    use super::super::populate::{Database, Filled};
    use super::*;

    #[test]
    fn replay_writes_same_rows_to_every_table() {
        let (dir, copy_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut copy = Database::open(copy_dir.path()).unwrap();
        let mut database = Database::open(dir.path()).unwrap();
        let journal = Journal::begin(&database.conn).unwrap();
        let mut spent = Spending::default();
        // More than the change sequence keeps, so that it is trimmed.
        let mut feed = Feed::new(3, 30_000).peekable();
        let mut filled = Filled::default();
        while let Some((items, now)) = database.next_batch(&mut feed, &mut filled).unwrap() {
            database.apply(&items, now).unwrap();
            let written = journal.take(&database.conn).unwrap();
            journal
                .replay(&mut copy.conn, &written, &mut spent)
                .unwrap();
        }
        let path = copy_dir.path().join("kube9.db");
        database
            .conn
            .execute("ATTACH ?1 AS copy", [path.display().to_string()])
            .unwrap();
        for table in &journal.tables {
            let name = &table.name;
            for (ours, theirs) in [("main", "copy"), ("copy", "main")] {
                let sql = format!(
                    "SELECT count(*) FROM (SELECT * FROM {ours}.{name} EXCEPT SELECT * FROM {theirs}.{name})"
                );
                // Both were registered and created by themselves, a moment apart.
                let differ: i64 = database.conn.query_row(&sql, [], |row| row.get(0)).unwrap();
                assert!(
                    differ == 0 || name == "schema_version",
                    "{name}: {differ} rows"
                );
            }
        }
        let rows: i64 = copy
            .conn
            .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
            .unwrap();
        assert!(rows > 20_000);
    }
}
