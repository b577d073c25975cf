//! Opens a database for reading, and touches nothing.
//!
//! The volume is mounted read-only for the reader, and the recorder may be running, killed, stopped or starting:
//!
//! ```text
//!   rollback-journal file ───────────────────────────── mode=ro
//!   WAL file, -wal and -shm there ───────────────────── mode=ro, readonly_shm
//!   WAL file, one of them missing, -wal empty or none ─ immutable=1, while a shared lock keeps recorders out
//!   WAL file, -wal has content, no -shm ─────────────── cannot be read without writing: say so
//! ```
//!
//! `mode=ro` alone is not enough: SQLite would create a missing `-wal` or `-shm` where it may. `immutable=1` beside a
//! living recorder gives wrong answers, silently; hence the lock. Whatever looks like a passing state (a recorder that
//! starts or stops) is tried again for [`RETRY_FOR`].

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{ReadError, bounds};
use crate::schema;

/// How long an opening is tried while the file is in a passing state.
const RETRY_FOR: Duration = Duration::from_secs(2);
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Virtual machine steps of SQLite between two looks at the clock: some tens of microseconds.
const STEPS_PER_CLOCK_LOOK: i32 = 2_000;
/// Page cache, KiB. A scan gains nothing from more, and the query container counts its megabytes.
const CACHE_KIB: i32 = 1_024;

/// Why a database cannot be opened. Each says what the person in front of it can do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing is there: no recorder has run here, or the path is wrong.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// A file without content: a recorder is about to fill it, or never did.
    #[error("the database {} is empty", .0.display())]
    Empty(PathBuf),
    /// The path names something that is no file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Not SQLite.
    #[error("{} is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// SQLite, but another program's.
    #[error("{} belongs to another program", .0.display())]
    Foreign(PathBuf),
    /// Written by the original kube9 operator, whose `events` is a table with the contract's ten columns.
    #[error("{} is a database in the layout of the original kube9 operator", .0.display())]
    Original(PathBuf),
    /// Written by another version of kube9.
    #[error("{} has schema version {found}; this program reads version {known}", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The one that this program reads.
        known: i64,
    },
    /// Damaged.
    #[error("the database {} is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: rusqlite::Error,
    },
    /// The operating system forbids it.
    #[error("no permission to read {}", .0.display())]
    Permission(PathBuf),
    /// `-wal` holds rows that can only be reached by writing: the recorder's next start does that.
    #[error("{} was left behind by a recorder that did not stop cleanly, and its -shm file is missing", .0.display())]
    NeedsRecovery(PathBuf),
    /// Something holds it: a recorder that has been starting or recovering for longer than the reader waits.
    #[error("the database {} is busy", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// What SQLite says, where it was asked.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// Anything else.
    #[error("cannot open the database {}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// One sentence: what to do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Missing(_) => {
                "Name the file with --db FILE or KUBE9_DB, or start kube9-recorder to create it."
            }
            Self::Empty(_) => {
                "Wait until kube9-recorder has started, or name another file with --db."
            }
            Self::NotAFile(_) => "Name the database file itself, e.g. --db /data/kube9.db.",
            Self::NotADatabase(_) | Self::Foreign(_) => {
                "Name kube9's own file with --db; this one is left untouched."
            }
            Self::Original(_) => {
                "Copy it into the folder import beside the recorder's database (/data/import/): kube9-recorder takes its rows in when it starts."
            }
            Self::OtherVersion { .. } => "Use the kube9-query that came with the recorder.",
            Self::Corrupt { .. } => {
                "Restart kube9-recorder: it moves a damaged file aside and begins a new one."
            }
            Self::Permission(_) => {
                "Run as a user or group that may read the file, or mend its mode (0640)."
            }
            Self::NeedsRecovery(_) => "Start kube9-recorder on it once: it recovers the file.",
            Self::Busy { .. } => "Try again in a moment; the recorder is starting or recovering.",
            Self::Other { .. } => "Check the volume and the file's permissions, then try again.",
        }
    }
}

/// An open database. Holds no lock between queries, except in the immutable case (see [`Reader::is_immutable`]).
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
    path: PathBuf,
    deadline: Deadline,
    /// The shared lock that keeps recorders from starting while the file is read as immutable.
    _hold: Option<File>,
    immutable: bool,
}

impl Reader {
    /// Opens the database at `path`. Each query may then take as long as `timeout`.
    pub fn open(path: &Path, timeout: Duration) -> Result<Self, OpenError> {
        let give_up = Instant::now() + RETRY_FOR;
        loop {
            match attempt(path, timeout) {
                Ok(reader) => return Ok(reader),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Passing(error)) if Instant::now() >= give_up => return Err(error),
                Err(Failed::Passing(_)) => std::thread::sleep(RETRY_EVERY),
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is read as one that cannot change. While it is, no recorder can start: do not keep it open.
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

    /// Runs `query` within the time limit. Each of its statements sees the database as it is then: for one that decides
    /// by a single statement.
    pub(super) fn limited<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        self.deadline.restart();
        query(&self.connection).map_err(|error| match error {
            ReadError::Timeout(_) => ReadError::Timeout(self.deadline.limit),
            ReadError::TooLong(_) => ReadError::TooLong(
                bounds::large_value(&self.connection)
                    .map(|value| format!(": {value}"))
                    .unwrap_or_default(),
            ),
            other => other,
        })
    }
}

/// The time limit of the query that runs.
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

    fn passed(&self) -> bool {
        self.base.elapsed().as_millis() > u128::from(self.at.load(Ordering::Relaxed))
    }
}

enum Failed {
    /// No use in trying again.
    Final(OpenError),
    /// A recorder may be starting, stopping or recovering.
    Passing(OpenError),
}

/// How SQLite is to open the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Shared,
    Immutable,
}

fn attempt(path: &Path, timeout: Duration) -> Result<Reader, Failed> {
    let size = stat(path)?.ok_or_else(|| Failed::Final(OpenError::Missing(path.to_owned())))?;
    let wal_bytes = stat(&beside(path, "-wal"))?;
    let header = read_header(path).map_err(Failed::Final)?;
    let wal_has_rows = wal_bytes.is_some_and(|bytes| bytes > 0);
    if size == 0 && !wal_has_rows {
        return Err(Failed::Final(OpenError::Empty(path.to_owned())));
    }
    if size > 0 && !header.is_sqlite {
        return Err(Failed::Final(OpenError::NotADatabase(path.to_owned())));
    }
    let shm_is_there = stat(&beside(path, "-shm"))?.is_some();
    let (access, hold) = if !header.is_wal || (wal_bytes.is_some() && shm_is_there) {
        (Access::Shared, None)
    } else if wal_has_rows {
        return Err(Failed::Passing(OpenError::NeedsRecovery(path.to_owned())));
    } else {
        (Access::Immutable, keep_recorders_out(path)?)
    };
    connect(path, access, timeout).and_then(|(connection, deadline)| {
        // The lock may have been taken just after a recorder wrote and died.
        if access == Access::Immutable
            && stat(&beside(path, "-wal"))?.is_some_and(|bytes| bytes > 0)
        {
            return Err(Failed::Passing(OpenError::Busy {
                path: path.to_owned(),
                source: None,
            }));
        }
        recognise(&connection, path)?;
        let immutable = access == Access::Immutable;
        Ok(Reader {
            connection,
            path: path.to_owned(),
            deadline,
            _hold: hold,
            immutable,
        })
    })
}

/// Size of a file; `None` where there is none.
fn stat(path: &Path) -> Result<Option<u64>, Failed> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => Ok(Some(meta.len())),
        Ok(_) => Err(Failed::Final(OpenError::NotAFile(path.to_owned()))),
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(None),
            std::io::ErrorKind::PermissionDenied => {
                Err(Failed::Final(OpenError::Permission(path.to_owned())))
            }
            _ => Err(Failed::Final(OpenError::Other {
                path: path.to_owned(),
                source: Box::new(error),
            })),
        },
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct Header {
    is_sqlite: bool,
    is_wal: bool,
}

/// Reads the first bytes. This process has no connection to the file yet, so closing it drops no lock of SQLite's.
fn read_header(path: &Path) -> Result<Header, OpenError> {
    let mut bytes = Vec::with_capacity(100);
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Header {
            is_sqlite: bytes.starts_with(b"SQLite format 3\0") && bytes.len() == 100,
            // Read version (byte 19): 2 is WAL. A file still without content is on its way there.
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

/// Takes the shared lock on the recorder's lock file. `None` where there is no such file: no recorder of ours wrote here.
fn keep_recorders_out(path: &Path) -> Result<Option<File>, Failed> {
    let lock = beside(path, ".lock");
    match File::open(&lock) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Err(Failed::Passing(OpenError::Busy {
                path: path.to_owned(),
                source: None,
            })),
            Err(fs::TryLockError::Error(error)) => Err(cannot_lock(path, &lock, &error)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Failed::Final(OpenError::Permission(lock)))
        }
        Err(error) => Err(cannot_lock(path, &lock, &error)),
    }
}

/// The database is what cannot be opened; its lock file is why.
fn cannot_lock(path: &Path, lock: &Path, error: &std::io::Error) -> Failed {
    Failed::Final(OpenError::Other {
        path: path.to_owned(),
        source: format!("{}: {error}", lock.display()).into(),
    })
}

fn connect(
    path: &Path,
    access: Access,
    timeout: Duration,
) -> Result<(Connection, Deadline), Failed> {
    let failed = |error| classify(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(uri(path, access), flags).map_err(failed)?;
    bounds::limit_values(&connection).map_err(failed)?;
    connection.busy_timeout(RETRY_FOR).map_err(failed)?;
    let deadline = Deadline::new(timeout);
    let watched = deadline.clone();
    connection
        .progress_handler(STEPS_PER_CLOCK_LOOK, Some(move || watched.passed()))
        .map_err(failed)?;
    // trusted_schema: a foreign file's views and triggers must not reach functions with effects.
    // temp_store: the container has no writable directory for sorting.
    // cell_size_check: a page of nonsense is found when it is read, not when one of its cells is.
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

fn classify(path: &Path, error: rusqlite::Error) -> Failed {
    let path = path.to_owned();
    let extended = error.sqlite_error().map_or(0, |e| e.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => Failed::Passing(OpenError::Other {
            path,
            source: Box::new(error),
        }),
        Some(ErrorCode::ReadOnly)
            if [ffi::SQLITE_READONLY_CANTINIT, ffi::SQLITE_READONLY_RECOVERY]
                .contains(&extended) =>
        {
            Failed::Passing(OpenError::Busy {
                path,
                source: Some(error),
            })
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failed::Passing(OpenError::Busy {
                path,
                source: Some(error),
            })
        }
        Some(ErrorCode::NotADatabase) => Failed::Final(OpenError::NotADatabase(path)),
        Some(ErrorCode::DatabaseCorrupt) => Failed::Final(OpenError::Corrupt {
            path,
            source: error,
        }),
        Some(ErrorCode::PermissionDenied) => Failed::Final(OpenError::Permission(path)),
        _ => Failed::Final(OpenError::Other {
            path,
            source: Box::new(error),
        }),
    }
}

/// Whose file it is, and whether this program can read it.
fn recognise(connection: &Connection, path: &Path) -> Result<(), Failed> {
    let failed = |error| classify(path, error);
    let application: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(failed)?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if objects == 0 {
        return Err(Failed::Final(OpenError::Empty(path.to_owned())));
    }
    if application != schema::APPLICATION_ID {
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info('events')")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .map_err(failed)?;
        let is_original = schema::EVENT_COLUMNS
            .iter()
            .all(|column| columns.iter().any(|c| c == column));
        return Err(Failed::Final(if is_original {
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
        Some(found) if found != schema::VERSION => Err(Failed::Final(OpenError::OtherVersion {
            path: path.to_owned(),
            found,
            known: schema::VERSION,
        })),
        Some(_) => Ok(()),
        None => Err(Failed::Final(OpenError::Empty(path.to_owned()))),
    }
}
