//! Opens a database for reading and changes nothing.
//!
//! The reader mounts the volume read-only, and the recorder may be running, killed, stopped or starting:
//!
//! ```text
//!   rollback-journal file ───────────────────────────── mode=ro
//!   WAL file, -wal and -shm there ───────────────────── mode=ro, readonly_shm
//!   WAL file, one of them missing, -wal empty or none ─ immutable=1, while a shared lock keeps recorders out
//!   WAL file, -wal has content, no -shm ─────────────── error: cannot be read without writing
//! ```
//!
//! `mode=ro` alone is not enough: SQLite would create a missing `-wal` or `-shm`. `immutable=1` while a recorder runs
//! returns wrong results without an error; hence the lock. A transient state (a recorder that starts or stops) is retried
//! for [`RETRY_FOR`].

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{ReadError, limits};
use crate::schema;

/// How long to retry while the file is in a transient state.
const RETRY_FOR: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Virtual machine steps of SQLite between two checks of the deadline: some tens of microseconds.
const STEPS_PER_DEADLINE_CHECK: i32 = 2_000;
/// Page cache, KiB. A scan gains nothing from more, and the memory limit of the query container is small.
const CACHE_KIB: i32 = 1_024;

/// Why a database cannot be opened. [`OpenError::advice`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No file: no recorder has run here, or the path is wrong.
    #[error("database {} not found", .0.display())]
    Missing(PathBuf),
    /// The file has no content: a recorder is about to create it, or never did.
    #[error("database {} is empty", .0.display())]
    Empty(PathBuf),
    /// The path is not a file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Not SQLite.
    #[error("{} is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// A SQLite database of another program.
    #[error("{} is not a kube9 database", .0.display())]
    Foreign(PathBuf),
    /// Written by the original kube9 operator, whose `events` is a table with the same ten columns.
    #[error("{} is a database of the original kube9 operator", .0.display())]
    Original(PathBuf),
    /// Written by another version of kube9.
    #[error("database {} has schema version {found}; this kube9-query reads version {known}", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this program reads.
        known: i64,
    },
    /// Damaged.
    #[error("database {} is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Error of SQLite.
        #[source]
        source: rusqlite::Error,
    },
    /// The operating system denies access.
    #[error("permission denied: {}", .0.display())]
    Permission(PathBuf),
    /// `-wal` holds rows that cannot be read without writing; the next start of the recorder recovers them.
    #[error("database {} needs recovery: the recorder did not stop cleanly, and the -shm file is missing", .0.display())]
    NeedsRecovery(PathBuf),
    /// A recorder has been starting or recovering for longer than the reader waits.
    #[error("database {} is busy", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// Error of SQLite, if it was reached.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// Anything else.
    #[error("cannot open database {}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// What to do.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Missing(_) => {
                "set --db or KUBE9_DB to the database file, or start kube9-recorder to create it"
            }
            Self::Empty(_) => "wait until kube9-recorder has started, or set --db to another file",
            Self::NotAFile(_) => "set --db to the database file, e.g. --db /data/kube9.db",
            Self::NotADatabase(_) | Self::Foreign(_) => {
                "set --db to a database that kube9-recorder wrote"
            }
            Self::Original(_) => {
                "copy it to the folder import next to the recorder's database (/data/import/); kube9-recorder imports it at its next start"
            }
            Self::OtherVersion { .. } => "use the kube9-query of the same release as the recorder",
            Self::Corrupt { .. } => {
                "restart kube9-recorder; it quarantines a damaged file and creates a new one"
            }
            Self::Permission(_) => "run as a user or group that can read the file (mode 0640)",
            Self::NeedsRecovery(_) => {
                "start kube9-recorder on this directory once to recover the file"
            }
            Self::Busy { .. } => "try again in a moment; the recorder is starting or recovering",
            Self::Other { .. } => {
                "check the volume and the permissions of the file, then try again"
            }
        }
    }
}

/// An open database. Holds no lock between queries, except in the immutable case (see [`Reader::is_immutable`]).
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    path: PathBuf,
    deadline: Deadline,
    /// Shared lock that prevents a recorder from starting while the file is read as immutable.
    _lock: Option<File>,
    immutable: bool,
}

impl Reader {
    /// Opens the database at `path`. Each query may then take as long as `timeout`.
    pub fn open(path: &Path, timeout: Duration) -> Result<Self, OpenError> {
        let retry_until = Instant::now() + RETRY_FOR;
        loop {
            match try_open(path, timeout) {
                Ok(reader) => return Ok(reader),
                Err(TryOpenError::Permanent(error)) => return Err(error),
                Err(TryOpenError::Transient(error)) if Instant::now() >= retry_until => {
                    return Err(error);
                }
                Err(TryOpenError::Transient(_)) => std::thread::sleep(RETRY_EVERY),
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is open as immutable, which prevents a recorder from starting: do not keep it open.
    pub const fn is_immutable(&self) -> bool {
        self.immutable
    }

    /// Runs `query` in one read transaction, within the time limit.
    pub(super) fn snapshot<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.limited(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let answer = query(&transaction)?;
            transaction.finish()?;
            Ok(answer)
        })
    }

    /// Runs `query` within the time limit, without a transaction: each statement may see another state of the database.
    pub(super) fn limited<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.deadline.restart();
        query(&self.connection).map_err(|error| match error {
            ReadError::Timeout(_) => ReadError::Timeout(self.deadline.limit),
            ReadError::TooLong(_) => ReadError::TooLong(
                limits::find_oversized_value(&self.connection)
                    .map(|value| format!(": {value}"))
                    .unwrap_or_default(),
            ),
            other => other,
        })
    }
}

/// Deadline of the current query.
#[derive(Debug, Clone)]
struct Deadline {
    limit: Duration,
    base: Instant,
    /// Milliseconds after `base`.
    at: Arc<AtomicU64>,
}

impl Deadline {
    fn new(limit: Duration) -> Self {
        let deadline = Self {
            limit,
            base: Instant::now(),
            at: Arc::new(AtomicU64::new(0)),
        };
        deadline.restart();
        deadline
    }

    fn restart(&self) {
        let at = self.base.elapsed() + self.limit;
        self.at.store(
            u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn is_over(&self) -> bool {
        self.base.elapsed().as_millis() > u128::from(self.at.load(Ordering::Relaxed))
    }
}

enum TryOpenError {
    /// A retry cannot succeed.
    Permanent(OpenError),
    /// A recorder may be starting, stopping or recovering.
    Transient(OpenError),
}

/// How SQLite opens the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Shared,
    Immutable,
}

fn try_open(path: &Path, timeout: Duration) -> Result<Reader, TryOpenError> {
    let size =
        stat(path)?.ok_or_else(|| TryOpenError::Permanent(OpenError::Missing(path.to_owned())))?;
    let wal_bytes = stat(&with_suffix(path, "-wal"))?;
    let header = read_header(path).map_err(TryOpenError::Permanent)?;
    let wal_has_rows = wal_bytes.is_some_and(|bytes| bytes > 0);
    if size == 0 && !wal_has_rows {
        return Err(TryOpenError::Permanent(OpenError::Empty(path.to_owned())));
    }
    if size > 0 && !header.is_sqlite {
        return Err(TryOpenError::Permanent(OpenError::NotADatabase(
            path.to_owned(),
        )));
    }
    let shm_is_there = stat(&with_suffix(path, "-shm"))?.is_some();
    let (access, lock) = if !header.is_wal || (wal_bytes.is_some() && shm_is_there) {
        (Access::Shared, None)
    } else if wal_has_rows {
        return Err(TryOpenError::Transient(OpenError::NeedsRecovery(
            path.to_owned(),
        )));
    } else {
        (Access::Immutable, lock_out_recorders(path)?)
    };
    connect(path, access, timeout).and_then(|(connection, deadline)| {
        // A recorder may have written and died just before the lock was taken.
        if access == Access::Immutable
            && stat(&with_suffix(path, "-wal"))?.is_some_and(|bytes| bytes > 0)
        {
            return Err(TryOpenError::Transient(OpenError::Busy {
                path: path.to_owned(),
                source: None,
            }));
        }
        check_schema(&connection, path)?;
        let immutable = access == Access::Immutable;
        Ok(Reader {
            connection,
            path: path.to_owned(),
            deadline,
            _lock: lock,
            immutable,
        })
    })
}

/// Size of a file; `None` if it does not exist.
fn stat(path: &Path) -> Result<Option<u64>, TryOpenError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
        Ok(_) => Err(TryOpenError::Permanent(OpenError::NotAFile(
            path.to_owned(),
        ))),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(None),
            std::io::ErrorKind::PermissionDenied => Err(TryOpenError::Permanent(
                OpenError::Permission(path.to_owned()),
            )),
            _ => Err(TryOpenError::Permanent(OpenError::Other {
                path: path.to_owned(),
                source: Box::new(error),
            })),
        },
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct Header {
    is_sqlite: bool,
    is_wal: bool,
}

/// Reads the first bytes. This process has no connection to the file yet, so closing it drops no lock of SQLite.
fn read_header(path: &Path) -> Result<Header, OpenError> {
    let mut bytes = Vec::with_capacity(100);
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Header {
            is_sqlite: bytes.starts_with(b"SQLite format 3\0") && bytes.len() == 100,
            // Read version (byte 19): 2 is WAL. An empty file is about to become one.
            is_wal: bytes.get(19).is_none_or(|&version| version == 2),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(OpenError::Permission(path.to_owned()))
        }
        Err(error) => Err(OpenError::Other {
            path: path.to_owned(),
            source: Box::new(error),
        }),
    }
}

/// Takes a shared lock on the recorder's lock file. `None` if the file does not exist: no recorder has run here.
fn lock_out_recorders(path: &Path) -> Result<Option<File>, TryOpenError> {
    let lock = with_suffix(path, ".lock");
    match File::open(&lock) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Err(TryOpenError::Transient(OpenError::Busy {
                path: path.to_owned(),
                source: None,
            })),
            Err(fs::TryLockError::Error(error)) => Err(lock_error(path, &lock, &error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(TryOpenError::Permanent(OpenError::Permission(lock)))
        }
        Err(error) => Err(lock_error(path, &lock, &error)),
    }
}

/// The error names the database; the cause names its lock file.
fn lock_error(path: &Path, lock: &Path, error: &std::io::Error) -> TryOpenError {
    TryOpenError::Permanent(OpenError::Other {
        path: path.to_owned(),
        source: format!("{}: {error}", lock.display()).into(),
    })
}

fn connect(
    path: &Path,
    access: Access,
    timeout: Duration,
) -> Result<(Connection, Deadline), TryOpenError> {
    let failed = |error| classify(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(uri(path, access), flags).map_err(failed)?;
    limits::limit_values(&connection).map_err(failed)?;
    connection.busy_timeout(RETRY_FOR).map_err(failed)?;
    let deadline = Deadline::new(timeout);
    let checked = deadline.clone();
    connection
        .progress_handler(STEPS_PER_DEADLINE_CHECK, Some(move || checked.is_over()))
        .map_err(failed)?;
    // trusted_schema: views and triggers of an untrusted file must not call functions with side effects.
    // temp_store: the container has no writable directory for sorting.
    // cell_size_check: detects a corrupt page when it is read, not when one of its cells is.
    connection
        .execute_batch(&format!(
            "PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA temp_store = MEMORY; \
             PRAGMA mmap_size = 0; PRAGMA cache_size = -{CACHE_KIB}; PRAGMA cell_size_check = 1;"
        ))
        .map_err(failed)?;
    Ok((connection, deadline))
}

fn uri(path: &Path, access: Access) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let bytes = absolute.as_os_str().as_bytes();
    let mut uri = String::from("file:/");
    for &byte in &bytes[bytes.iter().take_while(|&&b| b == b'/').count()..] {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str(match access {
        Access::Shared => "?mode=ro&readonly_shm=1",
        Access::Immutable => "?mode=ro&immutable=1",
    });
    uri
}

fn classify(path: &Path, error: rusqlite::Error) -> TryOpenError {
    let path = path.to_owned();
    let extended = error.sqlite_error().map_or(0, |e| e.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => TryOpenError::Transient(OpenError::Other {
            path,
            source: Box::new(error),
        }),
        Some(ErrorCode::ReadOnly)
            if [ffi::SQLITE_READONLY_CANTINIT, ffi::SQLITE_READONLY_RECOVERY]
                .contains(&extended) =>
        {
            TryOpenError::Transient(OpenError::Busy {
                path,
                source: Some(error),
            })
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            TryOpenError::Transient(OpenError::Busy {
                path,
                source: Some(error),
            })
        }
        Some(ErrorCode::NotADatabase) => TryOpenError::Permanent(OpenError::NotADatabase(path)),
        Some(ErrorCode::DatabaseCorrupt) => TryOpenError::Permanent(OpenError::Corrupt {
            path,
            source: error,
        }),
        Some(ErrorCode::PermissionDenied) => TryOpenError::Permanent(OpenError::Permission(path)),
        _ => TryOpenError::Permanent(OpenError::Other {
            path,
            source: Box::new(error),
        }),
    }
}

/// Fails unless this is a kube9 database of this schema version.
fn check_schema(connection: &Connection, path: &Path) -> Result<(), TryOpenError> {
    let failed = |error| classify(path, error);
    let application: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(failed)?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if objects == 0 {
        return Err(TryOpenError::Permanent(OpenError::Empty(path.to_owned())));
    }
    if application != schema::APPLICATION_ID {
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info('events')")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(failed)?;
        let is_original = schema::EVENT_COLUMNS
            .iter()
            .all(|column| columns.iter().any(|c| c == column));
        return Err(TryOpenError::Permanent(if is_original {
            OpenError::Original(path.to_owned())
        } else {
            OpenError::Foreign(path.to_owned())
        }));
    }
    let found: Option<i64> = connection
        .query_row("SELECT max(version) FROM schema_version", [], |row| {
            row.get(0)
        })
        .map_err(failed)?;
    match found {
        Some(found) if found != schema::VERSION => {
            Err(TryOpenError::Permanent(OpenError::OtherVersion {
                path: path.to_owned(),
                found,
                known: schema::VERSION,
            }))
        }
        Some(_) => Ok(()),
        None => Err(TryOpenError::Permanent(OpenError::Empty(path.to_owned()))),
    }
}
