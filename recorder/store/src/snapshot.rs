//! Copies the database consistently while the recorder runs: into a file, or to stdout.
//!
//! Anyone who can exec into the recorder's container can take a snapshot, so its use of the volume is bounded: one at a
//! time, never the reserved space, and inside a pod (`main`) no file that stays.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kube9_db::schema;
use rusqlite::Connection;
use tracing::warn;

use super::open::{FILE_NAME, open_for_reading};
use crate::volume::statvfs;

/// Prefix of the temporary file of a snapshot to stdout, in the data directory: the image has no other writable place.
/// It is unlinked as soon as it is written; the next start removes what a killed process left.
const PARTIAL: &str = "snapshot-";

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A snapshot never overwrites a file.
    #[error("{0} already exists; use another file name")]
    Exists(PathBuf),
    /// Each copy takes as much space as the rows.
    #[error("another snapshot is running; try again later")]
    Busy,
    #[error("cannot read the database {path}")]
    Source {
        /// The database.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// A copy of it would not be a backup.
    #[error("{0} is not a complete kube9 database")]
    NotOurs(PathBuf),
    /// The copy would fill the volume, so that the recorder could not write.
    #[error(
        "{path} has {free} bytes free, the snapshot needs {needed} including the reserve: \
         use a file on another volume, or lower storage.max_bytes"
    )]
    NoSpace {
        path: PathBuf,
        /// Free bytes.
        free: u64,
        /// Bytes of the copy and of the reserve.
        needed: u64,
    },
    /// The copy failed; the partial file was removed.
    #[error("cannot write the snapshot {path}")]
    Copy {
        /// The target.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The temporary file or the reader of stdout failed.
    #[error("cannot write the snapshot to stdout")]
    Stream(#[source] io::Error),
}

/// Copies `database` to `target` (`VACUUM INTO`): compact, without `-wal`, without the writer's lock. Returns its bytes.
pub fn snapshot(database: &Path, target: &Path) -> Result<u64, SnapshotError> {
    let _one = one_at_a_time(database)?;
    // Created here, so that a failed copy removes only our own file.
    create(target, 0o640).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => SnapshotError::Exists(target.to_owned()),
        _ => SnapshotError::Copy {
            path: target.to_owned(),
            source: error.into(),
        },
    })?;
    copy(database, target)?;
    Ok(fs::metadata(target).map_or(0, |meta| meta.len()))
}

/// Writes the copy to `out` and leaves no file. Returns its bytes.
pub fn stream(database: &Path, out: &mut impl Write) -> Result<u64, SnapshotError> {
    let _one = one_at_a_time(database)?;
    let directory = directory_of(database);
    let partial = directory.join(format!("{FILE_NAME}.{PARTIAL}{}", std::process::id()));
    // Opened before it is filled and unlinked: from then on it disappears with this process.
    let mut file = create(&partial, 0o600).map_err(SnapshotError::Stream)?;
    copy(database, &partial)?;
    fs::remove_file(&partial).map_err(SnapshotError::Stream)?;
    let bytes = io::copy(&mut file, out).map_err(SnapshotError::Stream)?;
    out.flush().map_err(SnapshotError::Stream)?;
    Ok(bytes)
}

/// The lock of snapshots: on the directory itself, which nothing else locks. If it cannot be opened, the copy fails with
/// the reason.
fn one_at_a_time(database: &Path) -> Result<Option<File>, SnapshotError> {
    let Ok(directory) = File::open(directory_of(database)) else {
        return Ok(None);
    };
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::Busy),
        Err(TryLockError::Error(source)) => Err(SnapshotError::Stream(source)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes files that killed snapshots left. A running snapshot is not affected: it has its file open.
pub fn remove_partial_snapshots(directory: &Path) {
    let prefix = format!("{FILE_NAME}.{PARTIAL}");
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    };
    if let Err(error) = remove() {
        warn!(%error, "cannot remove the file of an interrupted snapshot");
    }
}

/// A new, empty file.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// `target` is empty and was created here.
fn copy(database: &Path, target: &Path) -> Result<(), SnapshotError> {
    let unreadable = |source| SnapshotError::Source {
        path: database.to_owned(),
        source,
    };
    let copied = open_for_reading(database)
        .map_err(unreadable)
        .and_then(|conn| {
            let application: i32 = conn
                .query_row("PRAGMA application_id", [], |row| row.get(0))
                .map_err(unreadable)?;
            if application != schema::APPLICATION_ID {
                return Err(SnapshotError::NotOurs(database.to_owned()));
            }
            check_space(&conn, target)?;
            let vacuum = conn.execute("VACUUM INTO ?1", [target.to_string_lossy()]);
            vacuum.map_err(|source| SnapshotError::Copy {
                path: target.to_owned(),
                source: source.into(),
            })
        });
    if copied.is_err() {
        // A partial copy must not look like a backup.
        drop(fs::remove_file(target));
    }
    copied.map(|_| ())
}

fn check_space(conn: &Connection, target: &Path) -> Result<(), SnapshotError> {
    let number = |pragma: &str| {
        let read = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
        read.map_or(0, i64::unsigned_abs)
    };
    let used = number("page_count").saturating_sub(number("freelist_count"));
    let directory = directory_of(target);
    let Some(volume) = statvfs(directory) else {
        return Ok(()); // unknown: SQLite reports a full disk
    };
    let copy = used.saturating_mul(number("page_size"));
    let needed = copy.saturating_add(volume.reserve());
    if volume.available >= needed {
        return Ok(());
    }
    Err(SnapshotError::NoSpace {
        path: directory.to_owned(),
        free: volume.available,
        needed,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::open::DataDir;

    #[test]
    fn snapshot_is_complete_and_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let opened = data.open().unwrap();
        opened
            .conn
            .execute("INSERT INTO node (name) VALUES ('a')", [])
            .unwrap();
        let target = dir.path().join("copy.db");
        assert!(snapshot(&data.database(), &target).unwrap() > 0);
        let copy = open_for_reading(&target).unwrap();
        let nodes: i64 = copy
            .query_row("SELECT count(*) FROM node", [], |row| row.get(0))
            .unwrap();
        assert_eq!(nodes, 1);
        let mode = fs::metadata(&target).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(matches!(
            snapshot(&data.database(), &target),
            Err(SnapshotError::Exists(_))
        ));
        assert!(target.exists(), "another's file stays");
    }

    /// A start creates the file before its tables; a copy of that would be an empty backup.
    #[test]
    fn snapshot_of_empty_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, target) = (dir.path().join(FILE_NAME), dir.path().join("copy.db"));
        fs::write(&empty, "").unwrap();
        let made = snapshot(&empty, &target);
        assert!(matches!(made, Err(SnapshotError::NotOurs(_))), "{made:?}");
        assert!(!target.exists());
    }

    #[test]
    fn snapshot_into_missing_directory_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        drop(data.open().unwrap());
        let target = dir.path().join("none").join("copy.db");
        let error = snapshot(&data.database(), &target).unwrap_err();
        let words = format!("cannot write the snapshot {}", target.display());
        assert_eq!(error.to_string(), words);
    }

    #[test]
    fn snapshot_failed_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("copy.db");
        assert!(snapshot(&dir.path().join("absent.db"), &target).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn snapshot_concurrent_second_is_rejected() {
        struct During(PathBuf, Option<SnapshotError>);
        impl Write for During {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1 = stream(&self.0, &mut Vec::new()).err();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        drop(data.open().unwrap());
        let mut during = During(data.database(), None);
        stream(&data.database(), &mut during).unwrap();
        assert!(
            matches!(during.1, Some(SnapshotError::Busy)),
            "{:?}",
            during.1
        );
        assert!(
            stream(&data.database(), &mut Vec::new()).is_ok(),
            "the lock ends with it"
        );
    }

    #[test]
    fn stream_is_the_database_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        let opened = data.open().unwrap();
        let insert = "INSERT INTO node (name) VALUES ('a')";
        opened.conn.execute(insert, []).unwrap();
        let mut bytes = Vec::new();
        let told = stream(&data.database(), &mut bytes).unwrap();
        assert_eq!(told, bytes.len() as u64);
        let elsewhere = tempfile::tempdir().unwrap();
        let restored = elsewhere.path().join(FILE_NAME);
        fs::write(&restored, bytes).unwrap();
        let nodes =
            open_for_reading(&restored)
                .unwrap()
                .query_row("SELECT name FROM node", [], |row| row.get::<_, String>(0));
        assert_eq!(nodes.unwrap(), "a");
        assert_eq!(partial_files(dir.path()), 0);
    }

    #[test]
    fn stream_failed_leaves_no_file() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent.db");
        assert!(stream(&absent, &mut Vec::new()).is_err());
        let data = DataDir::lock(dir.path()).unwrap();
        drop(data.open().unwrap());
        let gone = stream(&data.database(), &mut Closed);
        assert!(matches!(gone, Err(SnapshotError::Stream(_))), "{gone:?}");
        assert_eq!(partial_files(dir.path()), 0);
    }

    #[test]
    fn remove_partial_snapshots_keeps_other_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kube9.db.snapshot-77"), "half").unwrap();
        fs::write(dir.path().join("snapshot-of-mine.db"), "mine").unwrap();
        remove_partial_snapshots(dir.path());
        assert_eq!(partial_files(dir.path()), 1);
    }

    /// Files with "snapshot" in their name.
    fn partial_files(directory: &Path) -> usize {
        let names = fs::read_dir(directory).unwrap();
        names
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().contains("snapshot")
            })
            .count()
    }
}
