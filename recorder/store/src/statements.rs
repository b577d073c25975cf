//! Counts the statements that the writer runs: SQLite reports the runs of each when it returns to the cache.
//!
//! SQLite's trace callback would be simpler, but it passes the text of each statement: 15 % of the writer's instructions.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use rusqlite::{CachedStatement, Connection, StatementStatus, params_from_iter};

use crate::metrics::{Metrics, Operation};

const OPERATIONS: [Operation; 4] = [
    Operation::Insert,
    Operation::Update,
    Operation::Select,
    Operation::Delete,
];

thread_local! {
    /// Runs on this thread since the last report. The writer has its own thread and connection.
    static RUN: [Cell<u64>; OPERATIONS.len()] = const { [const { Cell::new(0) }; OPERATIONS.len()] };
}

/// A connection whose statements are counted.
pub(super) trait Counting {
    /// A cached statement; each of its runs counts under its first word.
    fn counted(&self, sql: &str) -> rusqlite::Result<Counted<'_>>;
}

impl Counting for Connection {
    fn counted(&self, sql: &str) -> rusqlite::Result<Counted<'_>> {
        Ok(Counted {
            operation: operation(sql),
            statement: self.prepare_cached(sql)?,
        })
    }
}

/// A cached statement that is counted once it is dropped.
pub(super) struct Counted<'c> {
    /// Index in [`OPERATIONS`].
    operation: Option<usize>,
    statement: CachedStatement<'c>,
}

/// A statement that nearly every Event runs: taken from the cache at its first use and returned on drop. The cache lookup
/// for each Event took an eighth of the writer's instructions.
pub(super) struct HotStatement<'c> {
    conn: &'c Connection,
    sql: &'static str,
    statement: Option<Counted<'c>>,
}

impl<'c> HotStatement<'c> {
    pub(super) const fn of(conn: &'c Connection, sql: &'static str) -> Self {
        Self {
            conn,
            sql,
            statement: None,
        }
    }

    pub(super) fn get(&mut self) -> rusqlite::Result<&mut CachedStatement<'c>> {
        let counted = match self.statement.take() {
            Some(counted) => counted,
            None => self.conn.counted(self.sql)?,
        };
        Ok(self.statement.insert(counted))
    }
}

/// An `INSERT` of rows of N numbers, several with each run: most of the cost of a small row is that of a run.
pub(super) struct InsertRows<const N: usize> {
    insert: &'static str,
    conflict: &'static str,
    several: OnceLock<String>,
}

impl<const N: usize> InsertRows<N> {
    const ROWS_PER_RUN: usize = 32;

    pub(super) const fn new(insert: &'static str, conflict: &'static str) -> Self {
        Self {
            insert,
            conflict,
            several: OnceLock::new(),
        }
    }

    pub(super) fn execute(&self, conn: &Connection, rows: &[[i64; N]]) -> rusqlite::Result<()> {
        let whole = rows.len() - rows.len() % Self::ROWS_PER_RUN;
        let (several, rest) = rows.split_at(whole);
        if !several.is_empty() {
            let mut insert =
                conn.counted(self.several.get_or_init(|| self.sql(Self::ROWS_PER_RUN)))?;
            for rows in several.chunks(Self::ROWS_PER_RUN) {
                insert.execute(params_from_iter(rows.as_flattened()))?;
            }
        }
        if !rest.is_empty() {
            let mut insert = conn.counted(&self.sql(1))?;
            for row in rest {
                insert.execute(params_from_iter(row))?;
            }
        }
        Ok(())
    }

    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", ["?"; N].join(", "));
        format!(
            "{} VALUES {}{}",
            self.insert,
            vec![row; rows].join(", "),
            self.conflict
        )
    }
}

impl<'c> Deref for Counted<'c> {
    type Target = CachedStatement<'c>;

    fn deref(&self) -> &Self::Target {
        &self.statement
    }
}

impl DerefMut for Counted<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.statement
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let runs = self.statement.reset_status(StatementStatus::Run);
        if let Some(operation) = self.operation {
            RUN.with(|run| run[operation].update(|sum| sum + u64::from(runs.unsigned_abs())));
        }
    }
}

/// Adds the runs of this thread to the metric, including rolled back ones.
pub(super) fn report(metrics: &Metrics) {
    RUN.with(|run| {
        for (operation, runs) in OPERATIONS.into_iter().zip(run) {
            metrics.operations.get(operation).inc_by(runs.take());
        }
    });
}

fn operation(sql: &str) -> Option<usize> {
    match sql.as_bytes().first_chunk()? {
        b"INSERT" => Some(0),
        b"UPDATE" => Some(1),
        b"SELECT" => Some(2),
        b"DELETE" => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_counts_each_run_by_operation() {
        let metrics = Metrics::detached();
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (a)").unwrap();
        for _ in 0..2 {
            let mut insert = conn.counted("INSERT INTO t VALUES (?1)").unwrap();
            for n in 0..3 {
                insert.execute([n]).unwrap();
            }
        }
        let run = |sql: &str| conn.counted(sql).unwrap().execute([]).unwrap();
        run("UPDATE t SET a = a + 1");
        conn.counted("SELECT a FROM t")
            .unwrap()
            .query_row([], |_| Ok(()))
            .unwrap();
        run("DELETE FROM t");
        run("DELETE FROM t");
        drop(conn.counted("SELECT 1").unwrap()); // never ran
        let counts = || OPERATIONS.map(|operation| metrics.operations.get(operation).get());
        assert_eq!(counts(), [0; 4], "not reported yet");
        report(&metrics);
        report(&metrics);
        assert_eq!(counts(), [6, 1, 1, 2]);
    }
}
