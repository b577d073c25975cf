//! Prepared statements, counted by operation as they run.

use std::ops::Deref;

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

    /// A statement that nearly every Event runs, held by the session; it will run once.
    pub(super) fn hot<'s, 'c>(
        &mut self,
        session: &'s mut Session<'c>,
        hot: Hot,
    ) -> rusqlite::Result<&'s mut CachedStatement<'c>> {
        match hot {
            Hot::Known => self.selects += 1,
            Hot::InsertEvent | Hot::Remember => self.inserts += 1,
            Hot::FoldInto | Hot::Renew => self.updates += 1,
            Hot::Forget => self.deletes += 1,
        }
        session.statement(hot)
    }

    /// The counts, set back to zero.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

/// The statements that nearly every Event runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hot {
    /// What is stored of an Event and its newest row.
    Known,
    /// A new row.
    InsertEvent,
    /// A repeat goes into its row.
    FoldInto,
    /// The entry of a new Event in `dedup`; nothing where it has one.
    Remember,
    /// The entry of a known Event.
    Renew,
    /// The entry goes.
    Forget,
}

impl Hot {
    const ALL: usize = 6;

    const fn sql(self) -> &'static str {
        match self {
            // The row must be the Event's own: once the clean-up has taken it, another may get its key.
            Self::Known => {
                "SELECT d.version, d.count, d.event, e.severity, e.reason, e.last_ms, e.text, e.args, e.extra \
                 FROM dedup d LEFT JOIN event e ON e.key = d.event AND e.uid = d.uid WHERE d.uid = ?1"
            }
            Self::InsertEvent => {
                "INSERT INTO event (key, type, severity, reason, object, node, text, args, uid, count, occurrences, \
                 first_ms, last_ms, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
            }
            Self::FoldInto => {
                "UPDATE event SET count = ?2, occurrences = occurrences + ?3, last_ms = ?4, text = ?5, args = ?6, \
                 extra = ?7 WHERE key = ?1"
            }
            Self::Remember => {
                "INSERT INTO dedup (uid, watch, version, count, event, listing) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (uid) DO NOTHING"
            }
            Self::Renew => {
                "UPDATE dedup SET watch = ?2, version = ?3, count = ?4, event = ?5, listing = ?6 WHERE uid = ?1"
            }
            Self::Forget => "DELETE FROM dedup WHERE uid = ?1",
        }
    }
}

/// A connection within one transaction. Holds its hot statements, since a look into the cache of statements and back
/// took 0.4 µs, five times an Event.
pub struct Session<'c> {
    conn: &'c Connection,
    held: [Option<CachedStatement<'c>>; Hot::ALL],
}

impl<'c> Session<'c> {
    /// Begins with none held. Must end before the transaction does.
    pub fn new(conn: &'c Connection) -> Self {
        Self {
            conn,
            held: [const { None }; Hot::ALL],
        }
    }

    fn statement(&mut self, hot: Hot) -> rusqlite::Result<&mut CachedStatement<'c>> {
        let place = &mut self.held[hot as usize];
        match place {
            Some(statement) => Ok(statement),
            None => Ok(place.insert(self.conn.prepare_cached(hot.sql())?)),
        }
    }
}

impl Deref for Session<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}
