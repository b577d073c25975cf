//! A consistent copy of the database, beside a running recorder: into a file, or out of the pod through stdout.
//!
//! Whoever may exec into the recorder's container can take one, so what it may take of the volume is bounded: one at a
//! time, never the last of the room, and inside a pod (`main`) no file that stays.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kube9_db::schema;
use rusqlite::Connection;
use tracing::warn;

use super::open::{FILE_NAME, open_for_reading};
use crate::volume::statvfs;

/// Begins the name of the file that a snapshot to stdout is written to first, in the data directory: the image has no
/// other place. Its name goes as soon as it is written; what a killed process left the next start removes.
const PASSING: &str = "snapshot-";

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The target is there already; a snapshot never overwrites.
    #[error("{0} already exists; use another file name")]
    Exists(PathBuf),
    /// Each copy takes as much room as the rows.
    #[error("another snapshot is running; try again later")]
    Busy,
    /// The source cannot be read.
    #[error("cannot read the database {path}")]
    Source {
        /// The database.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// A copy of it would be taken for a backup.
    #[error("{0} is not a complete kube9 database")]
    NotOurs(PathBuf),
    /// The copy would fill the volume, and then the recorder could not write either.
    #[error(
        "{path} has {free} bytes free, the snapshot needs {needed} including the reserve: \
         use a file on another volume, or lower storage.max_bytes"
    )]
    NoRoom {
        /// Where it was to be written.
        path: PathBuf,
        /// What is free there.
        free: u64,
        /// What the copy takes, and what it leaves.
        needed: u64,
    },
    /// The copy failed; what was written of it was removed.
    #[error("cannot write the snapshot {path}")]
    Copy {
        /// The target.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file of the copy, or whoever reads it.
    #[error("cannot write the snapshot to stdout")]
    Pass(#[source] io::Error),
}

/// Copies `database` to `target` (`VACUUM INTO`): compact, without `-wal`, without the writer's lock. Returns its bytes.
pub fn snapshot(database: &Path, target: &Path) -> Result<u64, SnapshotError> {
    let _one = one_at_a_time(database)?;
    // Made here, so that nobody can come in between: what cannot be copied is removed, and must be ours.
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

/// Writes the copy to `out` and leaves nothing behind. Returns its bytes.
pub fn stream(database: &Path, out: &mut impl Write) -> Result<u64, SnapshotError> {
    let _one = one_at_a_time(database)?;
    let directory = directory_of(database);
    let passing = directory.join(format!("{FILE_NAME}.{PASSING}{}", std::process::id()));
    // Opened before it is filled and unnamed: from then on it goes with this process, however that ends.
    let mut file = create(&passing, 0o600).map_err(SnapshotError::Pass)?;
    copy(database, &passing)?;
    fs::remove_file(&passing).map_err(SnapshotError::Pass)?;
    let bytes = io::copy(&mut file, out).map_err(SnapshotError::Pass)?;
    out.flush().map_err(SnapshotError::Pass)?;
    Ok(bytes)
}

/// The lock that snapshots take: on the directory itself, since it is there and no one else locks it. What cannot be
/// opened cannot be copied either, and the copy says why.
fn one_at_a_time(database: &Path) -> Result<Option<File>, SnapshotError> {
    let Ok(directory) = File::open(directory_of(database)) else {
        return Ok(None);
    };
    match directory.try_lock() {
        Ok(()) => Ok(Some(directory)),
        Err(TryLockError::WouldBlock) => Err(SnapshotError::Busy),
        Err(TryLockError::Error(source)) => Err(SnapshotError::Pass(source)),
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Removes what killed processes left. One that is still at work goes on: it has its file open.
pub fn remove_leftovers(directory: &Path) {
    let prefix = format!("{FILE_NAME}.{PASSING}");
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

/// `target` is empty, and ours.
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
            check_room(&conn, target)?;
            let vacuum = conn.execute("VACUUM INTO ?1", [target.to_string_lossy()]);
            vacuum.map_err(|source| SnapshotError::Copy {
                path: target.to_owned(),
                source: source.into(),
            })
        });
    if copied.is_err() {
        // A partial copy must not be taken for a whole one.
        drop(fs::remove_file(target));
    }
    copied.map(|_| ())
}

fn check_room(conn: &Connection, target: &Path) -> Result<(), SnapshotError> {
    let number = |pragma: &str| {
        let read = conn.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
        read.map_or(0, i64::unsigned_abs)
    };
    let used = number("page_count").saturating_sub(number("freelist_count"));
    let directory = directory_of(target);
    let Some(volume) = statvfs(directory) else {
        return Ok(()); // where it cannot be told, SQLite will
    };
    let copy = used.saturating_mul(number("page_size"));
    let needed = copy.saturating_add(volume.reserve());
    if volume.available >= needed {
        return Ok(());
    }
    Err(SnapshotError::NoRoom {
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
    fn snapshot_is_whole_and_never_overwrites() {
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

    /// A start makes the file before its tables; a copy of that would be a backup of nothing.
    #[test]
    fn database_in_the_making_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, target) = (dir.path().join(FILE_NAME), dir.path().join("copy.db"));
        fs::write(&empty, "").unwrap();
        let made = snapshot(&empty, &target);
        assert!(matches!(made, Err(SnapshotError::NotOurs(_))), "{made:?}");
        assert!(!target.exists());
    }

    #[test]
    fn snapshot_into_no_directory_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        drop(data.open().unwrap());
        let target = dir.path().join("none").join("copy.db");
        let error = snapshot(&data.database(), &target).unwrap_err();
        let words = format!("cannot write the snapshot {}", target.display());
        assert_eq!(error.to_string(), words);
    }

    #[test]
    fn failed_snapshot_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("copy.db");
        assert!(snapshot(&dir.path().join("absent.db"), &target).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn second_snapshot_at_the_same_time_is_refused() {
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
    fn stream_is_the_database_and_leaves_nothing() {
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
        assert_eq!(leftovers(dir.path()), 0);
    }

    #[test]
    fn failed_stream_leaves_nothing_either() {
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
        assert!(matches!(gone, Err(SnapshotError::Pass(_))), "{gone:?}");
        assert_eq!(leftovers(dir.path()), 0);
    }

    #[test]
    fn only_what_a_killed_snapshot_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kube9.db.snapshot-77"), "half").unwrap();
        fs::write(dir.path().join("snapshot-of-mine.db"), "mine").unwrap();
        remove_leftovers(dir.path());
        assert_eq!(leftovers(dir.path()), 1);
    }

    /// Files with "snapshot" in their name.
    fn leftovers(directory: &Path) -> usize {
        let names = fs::read_dir(directory).unwrap();
        names
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().contains("snapshot")
            })
            .count()
    }
}
