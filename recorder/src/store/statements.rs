//! Prepared statements, counted by operation as they run.

use rusqlite::{CachedStatement, Connection};

/// Statements run since the last [`Statements::take`], by operation.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Statements {
    /// INSERT
    pub inserts: u64,
    /// UPDATE
    pub updates: u64,
    /// SELECT
    pub selects: u64,
    /// DELETE
    pub deletes: u64,
}

impl Statements {
    /// A cached INSERT that will run once.
    pub fn insert<'c>(
        &mut self,
        conn: &'c Connection,
        sql: &'static str,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        self.inserts += 1;
        conn.prepare_cached(sql)
    }

    /// A cached UPDATE that will run once.
    pub fn update<'c>(
        &mut self,
        conn: &'c Connection,
        sql: &'static str,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        self.updates += 1;
        conn.prepare_cached(sql)
    }

    /// A cached SELECT that will run once.
    pub fn select<'c>(
        &mut self,
        conn: &'c Connection,
        sql: &'static str,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        self.selects += 1;
        conn.prepare_cached(sql)
    }

    /// A cached DELETE that will run once.
    pub fn delete<'c>(
        &mut self,
        conn: &'c Connection,
        sql: &'static str,
    ) -> rusqlite::Result<CachedStatement<'c>> {
        self.deletes += 1;
        conn.prepare_cached(sql)
    }

    /// The counts, set back to zero.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
