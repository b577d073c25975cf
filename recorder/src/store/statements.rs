//! Counts the statements that the writer's connection runs: SQLite says so itself, whoever prepared them.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::metrics::{Metrics, Operation};

/// Counts every statement of `conn` from now on by its first word; those of transactions and pragmas have no label.
pub fn count(conn: &mut Connection, metrics: &Arc<Metrics>) -> rusqlite::Result<()> {
    let metrics = metrics.clone();
    let count = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(_, sql) = event
            && let Some(operation) = operation(sql)
        {
            metrics.operations.of(operation).inc();
        }
    };
    conn.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(count))
}

fn operation(sql: &str) -> Option<Operation> {
    match sql.trim_ascii_start().as_bytes().first_chunk()? {
        b"INSERT" => Some(Operation::Insert),
        b"UPDATE" => Some(Operation::Update),
        b"SELECT" => Some(Operation::Select),
        b"DELETE" => Some(Operation::Delete),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Rules;

    #[test]
    fn each_run_of_a_statement_counts_under_its_first_word() {
        let rules = Rules {
            filters: Vec::new(),
            findings: Vec::new(),
        };
        let metrics = Metrics::new(&rules);
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE t (a)").unwrap();
        count(&mut conn, &metrics).unwrap();
        let tx = conn.unchecked_transaction().unwrap();
        let mut insert = tx.prepare_cached("INSERT INTO t VALUES (?1)").unwrap();
        (0..3).for_each(|n| drop(insert.execute([n])));
        tx.execute(" \n UPDATE t SET a = a + 1", []).unwrap();
        tx.query_row("SELECT 1", [], |_| Ok(())).unwrap();
        tx.execute_batch("PRAGMA user_version; DELETE FROM t; DELETE FROM t")
            .unwrap();
        drop(insert);
        tx.commit().unwrap();
        let run = |operation| metrics.operations.of(operation).get();
        let all = [
            Operation::Insert,
            Operation::Update,
            Operation::Select,
            Operation::Delete,
        ];
        assert_eq!(all.map(run), [3, 1, 1, 2]);
    }
}
