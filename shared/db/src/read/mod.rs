//! The read path: opens a database read-only, finds rows, decodes them, reports the state of the record.
//!
//! ```text
//!   open ── Reader: read-only; every state of the file has its own error
//!   filter ─ Filter: plain data
//!     └─ resolve ── names → integers, once, in the small interned tables
//!          └─ plan ── AccessPath: key order, row counts, objects, a partial index
//!               └─ page ── keys and exact total (count_index, row_scan, search, page_builder), then rows by key (decode, row)
//!   stats, timeline, export, change_log ── the same rows counted, charted, streamed, followed
//!   object ── the tracked objects and their revisions; revision ── a state at a time
//!   verify ── a scan returned as many rows as `row_counts` holds
//!   status ─ state of the file and of its recorder
//!   limits ─ upper bounds of an answer, whatever the file holds
//! ```
//!
//! Invariants: no statement here writes. A page and its total come from one read transaction. The view `event_detail`
//! defines what a row contains; `decode` is a faster way to the same result. Where a wrong plan would scan the table, the
//! statement fixes the plan instead of leaving it to SQLite.

mod args;
mod change_log;
mod count_index;
mod decode;
mod export;
mod filter;
mod get;
mod group_by;
mod limits;
mod object;
mod open;
mod page;
mod page_builder;
mod plan;
mod request;
mod resolve;
pub mod revision;
mod row;
mod row_scan;
mod search;
mod sql;
mod stats;
mod status;
#[cfg(test)]
mod tests;
mod timeline;
mod verify;

pub use change_log::{CommitSeq, CommittedRow, CommittedRows};
pub use export::Export;
pub use filter::{
    ChangeFilter, Filter, FindingStates, InvalidFilter, KindPattern, ObjectPattern, OwnerPattern,
    Pattern,
};
pub use group_by::GroupBy;
pub use limits::limit_heap;
pub use object::{RecordedKind, RecordedObject, Revision, RevisionHead};
pub use open::{OpenError, Reader};
pub use request::{Cursor, InvalidCursor, Page, PageRequest};
pub use row::Row;
pub use stats::Group;
pub use status::{Eviction, OpenGap, RecorderState, Status};
pub use timeline::{Marker, MarkerKind, Timeline, TimelineRequest};

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It exceeded its time limit.
    #[error("the query took longer than {} s", .0.as_secs_f64())]
    Timeout(std::time::Duration),
    /// The file is damaged: SQLite reports it, or its contents are inconsistent.
    #[error("the database is damaged")]
    Corrupt(#[source] Damage),
    /// A value is longer than any that kube9 writes: the file is damaged. The text names the value.
    #[error("a value in the database exceeds {} MiB{}", limits::VALUE_BYTES_MAX >> 20, .0)]
    TooLong(String),
    /// The groups do not fit into the memory of a reader.
    #[error("the result has more than {0} groups")]
    TooManyGroups(usize),
    /// SQLite needed more memory than its limit.
    #[error("the query exceeds its memory limit")]
    Memory,
    /// Any other SQLite error; a retry may succeed.
    #[error("cannot read the database")]
    Sqlite(#[source] rusqlite::Error),
}

/// How the damage was found.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// SQLite cannot read it.
    #[error(transparent)]
    Sqlite(rusqlite::Error),
    /// Rows, counters, indexes or names disagree.
    #[error("its rows, counters and indexes are inconsistent")]
    Inconsistent,
}

impl ReadError {
    /// Rows, counters, indexes or names disagree.
    pub(crate) const INCONSISTENT: Self = Self::Corrupt(Damage::Inconsistent);
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            DatabaseCorrupt, NotADatabase, OperationInterrupted, OutOfMemory, TooBig,
        };
        match error.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Corrupt(Damage::Sqlite(error)),
            // Only the progress handler interrupts, and only at the deadline; `Reader` fills in the limit.
            Some(OperationInterrupted) => Self::Timeout(std::time::Duration::ZERO),
            // `Reader` fills in which value it is.
            Some(TooBig) => Self::TooLong(String::new()),
            Some(OutOfMemory) => Self::Memory,
            _ => Self::Sqlite(error),
        }
    }
}
