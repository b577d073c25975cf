//! Takes in what the original kube9 operator recorded: databases that lie in `import/` of the data directory.
//!
//! ```text
//!   import/*.db ─ file (is it one? opened read-only) ─ row (its ten columns → a row, or why not)
//!        ─▶ batches, each a transaction ─▶ the row that says so, synced ─▶ FILE.done
//! ```
//!
//! The original kept one plain table `events` of ten text columns (alto9/kube9-operator, `src/database/schema.ts`), with
//! ids `evt_YYYYMMDD_HHMMSS_` and six random hexadecimal digits, and `created_at` to the millisecond.
//!
//! Invariant: ids and times stay as they are. What else is stored passes `sanitize` as every row does.
//! Invariant: a row is stored once, whatever interrupts this: its id is looked for first, and is unique in the table.
//! Invariant: nothing of a file is run (no view, trigger or computed column), and nothing of it keeps the recorder from
//! recording: neither its size, nor its content, nor that it cannot be read.

pub mod file;
pub mod row;
mod schema;

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_ingest::sanitize::Sanitized;
use kube9_model::Severity;
use kube9_model::time::Timestamp;
use serde_json::{Map, json};

use super::report::record;

/// Folder within the data directory.
pub const FOLDER: &str = "import";

/// How long a start may take in rows, all files together; what is left then is for the next start. The API server keeps
/// Events for an hour, and the history of all other objects for five minutes: the watch must begin well before.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// Rows that are read for one transaction.
pub const BATCH_ROWS: usize = 500;

/// Bytes of texts that are read for one transaction, where its rows are long.
pub const BATCH_BYTES: usize = 1 << 20;

/// Why a row is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// A row with its id is in the record.
    Known,
    /// It is older than rows of its severity are kept.
    Old,
    /// The size limit has deleted rows of its namespace and severity that were as new: it would delete this one, or did.
    Evicted,
    /// Its `created_at` lies in the future.
    Future,
    /// Its id is not one of the contract.
    Id,
    /// Its `created_at` is not a time.
    Time,
    /// Its `event_type` is unknown.
    EventType,
    /// Its `severity` is unknown.
    Severity,
    /// A value is longer than any that the original wrote.
    TooLong,
    /// There are more rows in its second than keys.
    NoKey,
}

impl Skipped {
    /// In the row and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "already recorded",
            Self::Old => "older than the retention",
            Self::Evicted => "older than the size limit leaves",
            Self::Future => "created in the future",
            Self::Id => "not an event id",
            Self::Time => "created_at is not a time",
            Self::EventType => "unknown event_type",
            Self::Severity => "unknown severity",
            Self::TooLong => "a value is too long",
            Self::NoKey => "too many in one second",
        }
    }
}

/// What became of the rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows taken in.
    pub taken: u64,
    /// Of these, rows with a text that is not stored as it was: redacted, cut, escaped, a time in another form,
    /// or metadata that is not an object.
    pub changed: u64,
    /// Rows left out, by reason.
    pub skipped: BTreeMap<Skipped, u64>,
}

impl Counts {
    /// Counts a row that is left out.
    pub fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Adds those of a part.
    pub fn add(&mut self, part: &Self) {
        self.taken += part.taken;
        self.changed += part.changed;
        for (why, rows) in &part.skipped {
            *self.skipped.entry(*why).or_default() += rows;
        }
    }

    /// Rows left out.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// What was left out and why, e.g. `3 unknown severity, 1 not an event id`.
    pub fn reasons(&self) -> String {
        let parts: Vec<String> = self
            .skipped
            .iter()
            .map(|(why, rows)| format!("{rows} {}", why.as_str()))
            .collect();
        parts.join(", ")
    }
}

/// The row that tells of a file: all of it was taken in, or, with a `cause`, not all of it.
pub fn told(file: &str, counts: &Counts, cause: Option<&str>, at: Timestamp) -> Sanitized {
    let (taken, skipped) = (counts.taken, counts.skipped_total());
    let mut description = format!("Imported {taken} rows of {file}; {skipped} skipped");
    if skipped > 0 {
        description.push_str(&format!(" ({})", counts.reasons()));
    }
    if counts.changed > 0 {
        description.push_str(&format!(
            ". {} rows were changed: secrets, invisible characters, lengths, times that are not in UTC, or metadata that is not a JSON object in compact form",
            counts.changed
        ));
    }
    description.push('.');
    let mut extra = Map::from_iter([
        ("file".to_owned(), json!(file)),
        ("rows".to_owned(), json!(taken)),
        ("changed".to_owned(), json!(counts.changed)),
        ("skipped".to_owned(), json!(skipped)),
    ]);
    let (severity, title, reason) = match cause {
        None => (Severity::Info, "History imported", "HistoryImported"),
        Some(cause) => {
            description = format!("{file} was not imported completely: {cause}. {description}");
            extra.insert("cause".to_owned(), json!(cause));
            (Severity::Warning, "Import failed", "ImportFailed")
        }
    };
    record(reason, title, severity, description, extra, at)
}
