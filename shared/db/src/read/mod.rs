//! Reading a database: open it read-only, find rows, read them, tell how the record is doing.
//!
//! ```text
//!   open ── Reader: read-only in fact, every state of the file told apart
//!   filter ─ Filter: plain data
//!     └─ numbers ── names → integers, once, in the small interned tables
//!          └─ plan ── which way to the keys: key order, tally, an object, a partial index
//!               └─ page ── keys and exact total (tally, walk, search, keys), then rows by key (expand, row)
//!   stats, timeline, export, changes ── the same rows counted, drawn, streamed, followed
//!   verify ── what was walked has as many rows as the counters say
//!   status ─ what the file says of itself and of its recorder
//!   bounds ─ how much an answer may hold, with any file
//! ```
//!
//! Invariants: no statement here writes. A page and its total come from one read transaction. What a row
//! says is defined by the view `event_detail`; `expand` is a shortcut that must say the same. No plan is left to the planner where the wrong one would scan.

mod args;
mod bounds;
mod changes;
mod expand;
mod export;
mod filter;
mod get;
mod keys;
mod numbers;
mod open;
mod page;
mod plan;
mod property;
mod request;
mod row;
mod search;
mod sql;
mod stats;
mod status;
mod tally;
#[cfg(test)]
mod tests;
mod timeline;
mod verify;
mod walk;

pub use bounds::limit_heap;
pub use changes::{Change, Changes, Position};
pub use export::Export;
pub use filter::{BadFilter, Filter, ObjectPattern, OwnerPattern, Pattern};
pub use open::{OpenError, Reader};
pub use property::Property;
pub use request::{BadCursor, Cursor, Page, PageRequest};
pub use row::Row;
pub use stats::Group;
pub use status::{Gap, RecorderState, Shortened, Status};
pub use timeline::{Mark, MarkKind, Timeline, TimelineRequest};

/// Why a query gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It took longer than it may. Ask for less, or allow more time.
    #[error("the query took longer than {} s", .0.as_secs_f64())]
    Timeout(std::time::Duration),
    /// The file is damaged: SQLite says so, or it contradicts itself.
    #[error("the database is damaged")]
    Corrupt(#[source] Damage),
    /// A value is longer than any that kube9 writes: the file is damaged.
    #[error("a value in the database is longer than {} MiB{}", bounds::VALUE_BYTES_MAX >> 20, .0)]
    TooLong(String),
    /// An answer of so many groups does not fit into the memory that a reader has.
    #[error("there are more than {0} groups")]
    TooManyGroups(usize),
    /// SQLite needed more memory than it may have.
    #[error("the query needs more memory than it may have")]
    Memory,
    /// SQLite failed otherwise; trying again may help.
    #[error("cannot read the database")]
    Sqlite(#[source] rusqlite::Error),
}

/// How a file shows that it is damaged.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// SQLite cannot read it.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// Rows, counters, indexes or names do not fit together.
    #[error("its rows, counters and indexes contradict each other")]
    Inconsistent,
}

impl ReadError {
    /// The file contradicts itself.
    pub(crate) const INCONSISTENT: Self = Self::Corrupt(Damage::Inconsistent);
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            DatabaseCorrupt, NotADatabase, OperationInterrupted, OutOfMemory, TooBig,
        };
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Corrupt(Damage::Sqlite(error)),
            // Only the progress handler interrupts, and only at the deadline; Reader puts the real limit in.
            Some(OperationInterrupted) => Self::Timeout(std::time::Duration::ZERO),
            // Which one it is, Reader finds out.
            Some(TooBig) => Self::TooLong(String::new()),
            Some(OutOfMemory) => Self::Memory,
            _ => Self::Sqlite(error),
        }
    }
}
