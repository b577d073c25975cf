//! Opens a database that may be the original operator's: checked before SQLite opens it, then read as untrusted input.
//!
//! It is opened as immutable: without lock, log or journal, and without a write. A file with rows in a `-wal` or
//! `-journal` beside it is rejected, because they would be missing.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kube9_db::schema::{APPLICATION_ID, EVENT_COLUMNS};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use rustix::fs::OFlags;

use super::row::Foreign;
use super::schema;

/// Files that one start reads, in the order of their names.
pub const FILES_MAX: usize = 100;

/// Largest schema: the original's has about 8 KiB.
const SCHEMA_BYTES_MAX: u64 = 1 << 20;

/// Longest value that SQLite may return; the query side has the same limit.
const VALUE_BYTES_MAX: i32 = 1 << 20;

/// Longest text of a row that is read. The original bounds its metadata to 10 KiB and other texts to about 1 KB.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Longest value of the name columns: sanitizing a long text takes time.
const WORD_BYTES_MAX: usize = 16 << 10;

/// SQLite's page cache for it, in KiB (negative: SQLite's convention for KiB).
const CACHE_KIB: i64 = -1024;

/// SQLite instructions between two checks whether to continue: about a millisecond.
const STEPS_PER_LOOK: i32 = 10_000;

/// Why a file cannot be imported. It is not changed, and the next start retries.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A folder, a link, a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// The recorder's own database under another name.
    #[error("it is the recorder's own database")]
    Own,
    #[error("it is not a SQLite database")]
    NotADatabase,
    /// Rows in that file would be missing.
    #[error(
        "it has rows in {0}: run sqlite3 FILE 'PRAGMA wal_checkpoint(TRUNCATE)' on a copy first"
    )]
    Unfinished(String),
    /// SQLite holds the whole schema in memory.
    #[error("its schema is larger than the original operator's")]
    Schema,
    /// Another table, or none.
    #[error("it does not have the original operator's table events: {0}")]
    Layout(String),
    /// The time limit was reached, or the process must end.
    #[error(
        "interrupted: the recorder is stopping, or the time limit for imports is reached; the next start continues"
    )]
    Interrupted,
    /// Another process wrote to it meanwhile.
    #[error("it was changed while it was read")]
    Changed,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Usually a corrupted file.
    #[error("it cannot be read: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => Self::Interrupted,
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            _ => Self::Sqlite(error),
        }
    }
}

/// The files `*.db` in their order, at most [`FILES_MAX`]. Empty if the folder does not exist.
///
/// # Errors
/// The folder exists and cannot be read.
pub fn databases(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = folder.join(entry?.file_name());
        if path.extension().is_some_and(|end| end == "db") {
            found.push(path);
            // Bounded: keep the first by name.
            if found.len() > 2 * FILES_MAX {
                found.sort_unstable();
                found.truncate(FILES_MAX);
            }
        }
    }
    found.sort_unstable();
    found.truncate(FILES_MAX);
    Ok(found)
}

/// Identifies a file and detects a write to it.
type Stamp = (u64, u64, u64, Option<SystemTime>);

fn stamp(of: &Metadata) -> Stamp {
    (of.dev(), of.ino(), of.len(), of.modified().ok())
}

/// The original operator's database, open.
pub struct ForeignFile {
    conn: Connection,
    path: PathBuf,
    stamp: Stamp,
}

impl ForeignFile {
    /// `own`: device and inode of the recorder's own database files, which must not be opened and closed here. `go_on` is
    /// polled; once it returns false, reading ends with [`Refused::Interrupted`].
    ///
    /// # Errors
    /// It cannot be imported.
    pub fn open(
        path: &Path,
        own: &[(u64, u64)],
        go_on: impl Fn() -> bool + Send + 'static,
    ) -> Result<Self, Refused> {
        // No links, which another process may change, and no pipes, which would block.
        let found = fs::symlink_metadata(path)?;
        if !found.is_file() {
            return Err(Refused::NotAFile);
        }
        if own.contains(&(found.dev(), found.ino())) {
            return Err(Refused::Own);
        }
        let stamp = header(path)?;
        for suffix in ["-wal", "-journal"] {
            match fs::symlink_metadata(beside(path, suffix)) {
                Ok(found) if found.is_file() && found.len() == 0 => {}
                Ok(_) => return Err(Refused::Unfinished(name(&beside(path, suffix)))),
                // If the name would be too long, the file does not exist.
                Err(error)
                    if [ErrorKind::NotFound, ErrorKind::InvalidFilename]
                        .contains(&error.kind()) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(uri(path), flags)?;
        conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
        conn.progress_handler(STEPS_PER_LOOK, Some(move || !go_on()))?;
        conn.execute_batch(&format!(
            "PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; \
             PRAGMA cache_size = {CACHE_KIB}; PRAGMA cell_size_check = 1;"
        ))?;
        has_layout(&conn)?;
        let file = Self {
            conn,
            path: path.to_owned(),
            stamp,
        };
        file.is_unchanged()?;
        Ok(file)
    }

    /// Calls `each` with every row, in the order of the table.
    ///
    /// # Errors
    /// It cannot be read to its end, or `each` failed.
    pub fn rows<E: From<Refused>>(
        &self,
        mut each: impl FnMut(Foreign<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |error: rusqlite::Error| E::from(Refused::from(error));
        let mut statement = self.conn.prepare(&select()).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            each(Foreign::read(row).map_err(failed)?)?;
        }
        Ok(())
    }

    /// Checks that the file has not changed since it was opened: an immutable file is not locked.
    ///
    /// # Errors
    /// It has changed.
    pub fn is_unchanged(&self) -> Result<(), Refused> {
        if stamp(&fs::symlink_metadata(&self.path)?) == self.stamp {
            Ok(())
        } else {
            Err(Refused::Changed)
        }
    }
}

/// Renames an imported file to `.done` or `.done.N`; returns its new path. Overwrites nothing.
///
/// # Errors
/// It cannot be renamed.
pub fn set_done(path: &Path) -> io::Result<PathBuf> {
    for n in 0..FILES_MAX {
        let suffix = match n {
            0 => ".done".to_owned(),
            n => format!(".done.{n}"),
        };
        let done = beside(path, &suffix);
        match fs::symlink_metadata(&done) {
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(path, &done)?;
        return Ok(done);
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// The name of a file, for messages.
pub fn name(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Checks the file before SQLite opens it. Closing it drops no lock of SQLite: the file is not open.
fn header(path: &Path) -> Result<Stamp, Refused> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Refused::NotAFile);
    }
    match schema::bytes(&file) {
        Ok(Some(bytes)) if bytes <= SCHEMA_BYTES_MAX => Ok(stamp(&found)),
        Ok(Some(_)) => Err(Refused::Schema),
        Ok(None) => Err(Refused::NotADatabase),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Refused::NotADatabase),
        Err(error) => Err(error.into()),
    }
}

fn uri(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = "file:".to_owned();
    for &byte in absolute.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri + "?mode=ro&immutable=1"
}

/// Requires a real table with the ten columns, none of them computed. Further tables and columns are ignored.
fn has_layout(conn: &Connection) -> Result<(), Refused> {
    let layout = |what: &str| Err(Refused::Layout(what.to_owned()));
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application == APPLICATION_ID {
        return layout("it is a database of this kube9");
    }
    let kind: Result<String, _> = conn.query_row(
        "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = 'events' COLLATE NOCASE",
        [],
        |row| row.get(0),
    );
    match kind.optional()?.as_deref() {
        Some("table") => {}
        Some(other) => return layout(&format!("events is a {other}")),
        None => return layout("there is none"),
    }
    let columns: BTreeMap<String, i64> = conn
        .prepare("SELECT name, hidden FROM pragma_table_xinfo('events')")?
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?.to_ascii_lowercase(), row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for column in EVENT_COLUMNS {
        match columns.get(column) {
            Some(0) => {}
            Some(_) => return layout(&format!("the column {column} is computed")),
            None => return layout(&format!("the column {column} is missing")),
        }
    }
    Ok(())
}

/// Reads values only if all values of the row are short enough: `octet_length` does not read them.
fn select() -> String {
    let fits: Vec<String> = EVENT_COLUMNS
        .iter()
        .map(|&column| {
            let most = match column {
                "description" | "metadata" => TEXT_BYTES_MAX,
                _ => WORD_BYTES_MAX,
            };
            format!("ifnull(octet_length({column}), 0) <= {most}")
        })
        .collect();
    let fits = fits.join(" AND ");
    let columns: Vec<String> = EVENT_COLUMNS
        .iter()
        .map(|column| format!("CASE WHEN fits THEN {column} END"))
        .collect();
    format!(
        "SELECT fits, {} FROM (SELECT {fits} AS fits, {} FROM main.events NOT INDEXED)",
        columns.join(", "),
        EVENT_COLUMNS.join(", ")
    )
}
