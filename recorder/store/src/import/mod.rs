//! Imports databases of the original kube9 operator from `import/` in the data directory.
//!
//! ```text
//!   import/*.db ─ file (check, open read-only) ─ row (ten columns → a row, or the reason why not)
//!        ─▶ batches, each a transaction ─▶ a row about the import, synced ─▶ FILE.done
//! ```
//!
//! The original kept one plain table `events` of ten text columns (alto9/kube9-operator, `src/database/schema.ts`), with
//! ids `evt_YYYYMMDD_HHMMSS_` and six random hexadecimal digits, and `created_at` to the millisecond.
//!
//! Invariant: ids and times are not changed. All other values pass `sanitize`, as in every row.
//! Invariant: a row is stored once, even if the import is interrupted: its id is looked up first, and is unique.
//! Invariant: no code in a file is executed (view, trigger, computed column), and no file can stop the recorder: neither by
//! its size, nor by its content, nor by a read error.

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

/// Time limit for all imports of one start; the next start continues. The API server keeps Events for an hour, and the
/// history of other objects for five minutes: the watches must start well before that.
pub const TIME_MAX: Duration = Duration::from_secs(60);

/// Rows per transaction.
pub const BATCH_ROWS: usize = 500;

/// Bytes of texts per transaction.
pub const BATCH_BYTES: usize = 1 << 20;

/// Why a row is not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipped {
    /// A row with its id exists.
    Known,
    /// It is older than its retention.
    Old,
    /// The size limit has deleted equally new rows of its namespace and severity: it would delete this one, or did.
    Evicted,
    /// Its `created_at` lies in the future.
    Future,
    /// Its id is not an event id.
    Id,
    /// Its `created_at` is not a time.
    Time,
    /// Its `event_type` is unknown.
    EventType,
    /// Its `severity` is unknown.
    Severity,
    /// A value is longer than the original's limits.
    TooLong,
    /// Its second has no free key.
    NoKey,
}

impl Skipped {
    /// For the row and the log.
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

/// Counts of the rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows imported.
    pub taken: u64,
    /// Of these, rows with a changed value: redacted, truncated, escaped, a time in another form, or metadata that is not
    /// an object.
    pub changed: u64,
    /// Rows skipped, by reason.
    pub skipped: BTreeMap<Skipped, u64>,
}

impl Counts {
    /// Counts a skipped row.
    pub fn skip(&mut self, why: Skipped) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Adds the counts of a part.
    pub fn add(&mut self, part: &Self) {
        self.taken += part.taken;
        self.changed += part.changed;
        for (why, rows) in &part.skipped {
            *self.skipped.entry(*why).or_default() += rows;
        }
    }

    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Skipped rows by reason, e.g. `3 unknown severity, 1 not an event id`.
    pub fn reasons(&self) -> String {
        let parts: Vec<String> = self
            .skipped
            .iter()
            .map(|(why, rows)| format!("{rows} {}", why.as_str()))
            .collect();
        parts.join(", ")
    }
}

/// The row about an import; with a `cause` if it is incomplete.
pub fn import_record(file: &str, counts: &Counts, cause: Option<&str>, at: Timestamp) -> Sanitized {
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
