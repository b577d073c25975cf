//! A consistent copy of the database into one file, beside a running recorder.

use std::fs;
use std::path::{Path, PathBuf};

use super::open::open_for_reading;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The target is there already; a snapshot never overwrites.
    #[error("{0} exists already; name a file that does not")]
    Exists(PathBuf),
    /// The source cannot be read.
    #[error("cannot read the database {path}")]
    Source {
        /// The database.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The copy failed; what was written of it was removed.
    #[error("cannot write the snapshot {path}")]
    Copy {
        /// The target.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
}

/// Copies `database` to `target` (`VACUUM INTO`): compact, without `-wal`, without the writer's lock. Returns its bytes.
pub fn snapshot(database: &Path, target: &Path) -> Result<u64, SnapshotError> {
    if fs::symlink_metadata(target).is_ok() {
        return Err(SnapshotError::Exists(target.to_owned()));
    }
    let conn = open_for_reading(database).map_err(|source| SnapshotError::Source {
        path: database.to_owned(),
        source,
    })?;
    let copied = conn.execute("VACUUM INTO ?1", [target.to_string_lossy()]);
    match copied {
        Ok(_) => Ok(fs::metadata(target).map_or(0, |meta| meta.len())),
        Err(source) => {
            // A partial copy must not be taken for a whole one.
            drop(fs::remove_file(target));
            Err(SnapshotError::Copy {
                path: target.to_owned(),
                source,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open::DataDir;

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
        assert!(matches!(
            snapshot(&data.database(), &target),
            Err(SnapshotError::Exists(_))
        ));
    }

    #[test]
    fn failed_snapshot_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("copy.db");
        assert!(snapshot(&dir.path().join("absent.db"), &target).is_err());
        assert!(!target.exists());
    }
}
