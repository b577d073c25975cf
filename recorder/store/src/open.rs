//! Opens the database for writing: the lock, the state of the file, the pragmas.
//!
//! Every connection of the recorder is opened here, so every one keeps the `-wal` and `-shm` files on close
//! (PERSIST_WAL): a reader on a read-only mount cannot open the database without them.
//!
//! Invariant: the writer's lock is `flock` on `kube9.db.lock`, never SQLite's own exclusive mode.
//! Invariant: while a connection is open, only SQLite opens the database, its `-wal` or its `-shm`: closing such a
//! file drops SQLite's POSIX locks (<https://www.sqlite.org/howtocorrupt.html>, section 2.2). Sizes come from `stat`.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube9_db::schema;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, FileControl, OpenFlags};

use super::layout::{self, FileOwner};

/// Name of the database in the data directory.
pub const FILE_NAME: &str = "kube9.db";

/// How long the start waits for a reader that holds the lock shared; such a reader takes a second at most.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// SQLite's wait for a lock, which only a second writing process could hold.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Pages in the WAL after which a commit also checkpoints: 4 MiB, so that a reader scans little and the file stays small.
pub(super) const WAL_PAGES: i64 = (4 << 20) / schema::PAGE_BYTES;

/// Size to which the WAL file is truncated after a checkpoint.
pub(super) const WAL_BYTES_KEPT: i64 = 16 << 20;

/// Page cache of the writing connection, in KiB (negative: SQLite's convention for KiB).
const CACHE_KIB: i64 = -4096;

/// Why the database cannot be opened. The process must stop, except for [`OpenError::Unavailable`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Stop.
    #[error("another recorder is using {path}; two recorders cannot share a data directory")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Stop without a write.
    #[error(
        "{path} has schema version {found}, this recorder has version {known}: \
         run the release that wrote it, or set another data_dir"
    )]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Stop without a write.
    #[error("{path} is a database of another program; set another data_dir")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// The disk or its permissions prevent it. Retry.
    #[error("cannot open the database {path}: {source}")]
    Unavailable {
        /// What was tried.
        path: PathBuf,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The locked data directory; kept as long as the process writes.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// A database that is ready for the writer.
#[derive(Debug)]
pub struct Opened {
    /// The writing connection.
    pub conn: Connection,
    /// The file is new.
    pub created: bool,
    /// Where a corrupted file was quarantined, and why.
    pub quarantined: Option<(PathBuf, String)>,
}

impl DataDir {
    /// Creates the directory if needed and takes the writer's lock.
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(path)
            .map_err(|source| unavailable(path, source))?;
        let lock_path = path.join(format!("{FILE_NAME}.lock"));
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o640)
            .open(&lock_path)
            .map_err(|source| unavailable(&lock_path, source))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        path: path.to_owned(),
                        _lock: lock,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: lock_path }),
                Err(TryLockError::Error(source)) => return Err(unavailable(&lock_path, source)),
            }
        }
    }

    /// The directory that it is in.
    pub fn directory(&self) -> &Path {
        &self.path
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.path.join(FILE_NAME)
    }

    /// Opens or creates the database. Quarantines a corrupted one (with its `-wal` and `-shm`) and creates a new one.
    pub fn open(&self) -> Result<Opened, OpenError> {
        let path = self.database();
        let origin = match read_header(&path)? {
            Header::Absent => Origin::Now,
            Header::Sqlite => Origin::Before,
            Header::Garbage => {
                return self.start_anew("it does not begin as a SQLite database".to_owned());
            }
        };
        match connect(&path, origin) {
            Ok(conn) => Ok(Opened {
                conn,
                created: origin == Origin::Now,
                quarantined: None,
            }),
            Err(OpenFailure::Stop(error)) => Err(error),
            Err(OpenFailure::Sqlite(error)) if is_corruption(&error) => self.open_damaged(),
            Err(OpenFailure::Sqlite(error)) => Err(unavailable(&path, error)),
        }
    }

    /// SQLite reports corruption. It also does so if a read fails at the wrong moment (*seen* with EIO), so the file is
    /// only quarantined if every byte can be read and SQLite reports corruption again.
    fn open_damaged(&self) -> Result<Opened, OpenError> {
        self.read_through()?;
        let path = self.database();
        match connect(&path, Origin::Before) {
            Ok(conn) => Ok(Opened {
                conn,
                created: false,
                quarantined: None,
            }),
            Err(OpenFailure::Stop(error)) => Err(error),
            Err(OpenFailure::Sqlite(error)) if is_corruption(&error) => {
                self.start_anew(error.to_string())
            }
            Err(OpenFailure::Sqlite(error)) => Err(unavailable(&path, error)),
        }
    }

    /// Reads every byte of the database and its log: an error means that the disk fails, not that the file is corrupted.
    /// No connection may be open.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`]: the read failed.
    pub fn read_through(&self) -> Result<(), OpenError> {
        for suffix in ["", "-wal"] {
            let path = with_suffix(&self.database(), suffix);
            let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
            match read {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(unavailable(&path, source)),
            }
        }
        Ok(())
    }

    /// Quarantines the database and creates a new one. No connection may be open.
    pub fn start_anew(&self, why: String) -> Result<Opened, OpenError> {
        let aside = self.quarantine()?;
        let path = self.database();
        match connect(&path, Origin::Now) {
            Ok(conn) => Ok(Opened {
                conn,
                created: true,
                quarantined: Some((aside, why)),
            }),
            Err(OpenFailure::Stop(error)) => Err(error),
            Err(OpenFailure::Sqlite(error)) => Err(unavailable(&path, error)),
        }
    }

    /// Quarantines the database; returns its new path. No connection may be open.
    pub fn quarantine(&self) -> Result<PathBuf, OpenError> {
        let path = self.database();
        let aside = self.path.join(format!("{FILE_NAME}.corrupt"));
        // At most one copy is kept. kube9.db is moved last, so that a start after a crash in between repeats the move.
        for suffix in ["-wal", "-shm", ""] {
            let from = with_suffix(&path, suffix);
            match fs::rename(&from, with_suffix(&aside, suffix)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(unavailable(&from, error)),
            }
        }
        Ok(aside)
    }

    /// The current files behind the three names. An error does not mean that a file is missing.
    pub fn file_ids(&self) -> io::Result<FileIds> {
        let id = |suffix| match fs::metadata(with_suffix(&self.database(), suffix)) {
            Ok(found) => Ok(Some((found.dev(), found.ino()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        Ok(FileIds {
            database: id("")?,
            wal: id("-wal")?,
            shm: id("-shm")?,
        })
    }

    /// Bytes on disk: database, `-wal`, `-shm`, by `stat`.
    pub fn bytes(&self) -> DiskUse {
        let size =
            |suffix| fs::metadata(with_suffix(&self.database(), suffix)).map_or(0, |m| m.len());
        DiskUse {
            database: size(""),
            wal: size("-wal"),
            shm: size("-shm"),
        }
    }
}

/// Device and inode of the three files: detects that an open file was removed or replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileIds {
    /// `kube9.db`
    pub database: Option<(u64, u64)>,
    /// `kube9.db-wal`
    pub wal: Option<(u64, u64)>,
    /// `kube9.db-shm`
    pub shm: Option<(u64, u64)>,
}

/// Sizes of the three files, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// `kube9.db`
    pub database: u64,
    /// `kube9.db-wal`
    pub wal: u64,
    /// `kube9.db-shm`
    pub shm: u64,
}

impl DiskUse {
    /// All three together.
    pub const fn total(self) -> u64 {
        self.database + self.wal + self.shm
    }
}

/// A second connection that only reads, for `snapshot` (`query_only` would forbid VACUUM INTO). Takes no writer lock.
pub fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    keep_wal(&conn)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    Ok(conn)
}

/// Whether SQLite reports that the file is corrupted.
pub fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

enum OpenFailure {
    Stop(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn unavailable(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> OpenError {
    OpenError::Unavailable {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

enum Header {
    Absent,
    Sqlite,
    Garbage,
}

/// Reads the first bytes; called before any connection is open.
fn read_header(path: &Path) -> Result<Header, OpenError> {
    let mut header = Vec::with_capacity(16);
    match File::open(path) {
        Ok(file) => file
            .take(16)
            .read_to_end(&mut header)
            .map_err(|source| unavailable(path, source))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Header::Absent),
        Err(error) => return Err(unavailable(path, error)),
    };
    Ok(match header.as_slice() {
        b"" => Header::Absent, // a start that was killed between creating the file and the first commit
        b"SQLite format 3\0" => Header::Sqlite,
        _ => Header::Garbage,
    })
}

fn keep_wal(conn: &Connection) -> rusqlite::Result<()> {
    let mut on = 1;
    conn.file_control(rusqlite::DEFAULT_NAME, FileControl::PersistWal(&mut on))
}

/// Who created a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Another process: it may be another program's file, or have another schema version.
    Before,
    /// This process.
    Now,
}

/// Connects to a database of this schema version.
fn connect(path: &Path, origin: Origin) -> Result<Connection, OpenFailure> {
    if origin == Origin::Now {
        // SQLite gives -wal and -shm the mode of the database, so the mode is set here: the query container's user
        // reads through the group.
        let made = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(path);
        made.map_err(|source| OpenFailure::Stop(unavailable(path, source)))?;
    }
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    // SQLite opens a file read-only if it cannot write it; the connection would stay read-only after the disk recovers.
    if conn.is_readonly(rusqlite::MAIN_DB)? {
        return Err(OpenFailure::Stop(unavailable(path, "it is not writable")));
    }
    conn.busy_timeout(BUSY_TIMEOUT)?;
    keep_wal(&conn)?;
    // The file grows by whole pages; without a chunk size SQLite does not listen to `checkpoint::reserve`.
    let mut chunk = schema::PAGE_BYTES as i32;
    conn.file_control(rusqlite::DEFAULT_NAME, FileControl::ChunkSize(&mut chunk))?;
    if origin == Origin::Before {
        let path = path.to_owned();
        match layout::file_owner(&conn)? {
            FileOwner::Ours => {}
            FileOwner::Foreign => return Err(OpenFailure::Stop(OpenError::Foreign { path })),
            FileOwner::OtherVersion(found) => {
                return Err(OpenFailure::Stop(OpenError::OtherVersion {
                    path,
                    found,
                    known: schema::VERSION,
                }));
            }
        }
    }
    // Have no effect after the first table.
    for (pragma, value) in [("page_size", schema::PAGE_BYTES), ("auto_vacuum", 2)] {
        match origin {
            Origin::Before => conn.pragma_update(None, pragma, value)?,
            Origin::Now => set(&conn, pragma, value)?,
        }
    }
    conn.query_row("PRAGMA journal_mode = WAL", [], |row| {
        row.get::<_, String>(0)
    })?;
    let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenFailure::Stop(unavailable(
            path,
            format!("journal mode is {mode}, WAL was refused"),
        )));
    }
    set(&conn, "synchronous", 1)?;
    set(&conn, "journal_size_limit", WAL_BYTES_KEPT)?;
    set(&conn, "wal_autocheckpoint", WAL_PAGES)?;
    set(&conn, "cache_size", CACHE_KIB)?;
    set(&conn, "temp_store", 2)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    // Query plans must not depend on bound values: otherwise statements that use a partial index are prepared at each
    // use, which took 56 % of the store's time (measured).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(64);
    layout::create_if_empty(&conn)?;
    // One read right after opening makes SQLite create -shm, which a reader on a read-only mount cannot.
    conn.query_row("SELECT max(version) FROM schema_version", [], |row| {
        row.get::<_, i64>(0)
    })?;
    Ok(conn)
}

/// Sets a pragma and reads it back.
fn set(conn: &Connection, pragma: &str, value: i64) -> Result<(), OpenFailure> {
    conn.pragma_update(None, pragma, value)?;
    let now: i64 = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))?;
    if now != value {
        let path = conn.path().map(PathBuf::from).unwrap_or_default();
        return Err(OpenFailure::Stop(unavailable(
            &path,
            format!("pragma {pragma} is {now} after setting it to {value}"),
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn lock_second_recorder_is_rejected() {
        let dir = dir();
        let _first = DataDir::lock(dir.path()).unwrap();
        // flock is per open file, so one process can act as both recorders; LOCK_WAIT makes this test slow.
        assert!(matches!(
            DataDir::lock(dir.path()),
            Err(OpenError::Locked { .. })
        ));
    }

    #[test]
    fn open_keeps_wal_and_shm_after_a_clean_close() {
        let dir = dir();
        let data = DataDir::lock(dir.path()).unwrap();
        let opened = data.open().unwrap();
        assert!(opened.created);
        drop(opened);
        for suffix in ["", "-wal", "-shm"] {
            let path = with_suffix(&data.database(), suffix);
            let mode = std::os::unix::fs::PermissionsExt::mode(
                &fs::metadata(&path).unwrap().permissions(),
            );
            assert_eq!(mode & 0o777, 0o640, "{}", path.display());
        }
        let again = data.open().unwrap();
        assert!(!again.created);
    }

    #[test]
    fn open_garbage_is_quarantined() {
        let dir = dir();
        let data = DataDir::lock(dir.path()).unwrap();
        fs::write(
            data.database(),
            b"this was a database once, before the disk went",
        )
        .unwrap();
        let opened = data.open().unwrap();
        let (aside, _) = opened.quarantined.unwrap();
        assert!(fs::read(aside).unwrap().starts_with(b"this was a database"));
        assert!(opened.created);
    }

    #[test]
    fn open_torn_page_is_quarantined() {
        let dir = dir();
        let data = DataDir::lock(dir.path()).unwrap();
        drop(data.open().unwrap());
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(with_suffix(&data.database(), suffix)).unwrap();
        }
        fs::write(
            data.database(),
            [b"SQLite format 3\0".as_slice(), &[0xff; 8000]].concat(),
        )
        .unwrap();
        assert!(data.open().unwrap().quarantined.is_some());
    }

    #[test]
    fn open_foreign_database_is_not_changed() {
        let dir = dir();
        let data = DataDir::lock(dir.path()).unwrap();
        let other = Connection::open_with_flags(data.database(), OpenFlags::default()).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        let before = fs::read(data.database()).unwrap();
        assert!(matches!(data.open(), Err(OpenError::Foreign { .. })));
        assert_eq!(fs::read(data.database()).unwrap(), before);
    }

    #[test]
    fn open_other_version_is_not_changed() {
        for version in [0, 2, 99] {
            let dir = dir();
            let data = DataDir::lock(dir.path()).unwrap();
            let opened = data.open().unwrap();
            opened
                .conn
                .execute("UPDATE schema_version SET version = ?", [version])
                .unwrap();
            drop(opened);
            let before = fs::read(data.database()).unwrap();
            assert!(matches!(
                data.open(),
                Err(OpenError::OtherVersion { found, .. }) if found == version
            ));
            assert_eq!(fs::read(data.database()).unwrap(), before);
        }
    }
}
