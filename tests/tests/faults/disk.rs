//! Faults of the disk: blocked, full, read-only, truncated, corrupt.

use std::fs;

use kube9_db::schema::PAGE_BYTES;
use kube9_store::snapshot::{SnapshotError, snapshot};
use kube9_tests::apiserver::Kind;
use kube9_tests::recorder::balance;
use serde_json::Value;

use super::harness::{Harness, event, skipped};

#[test]
fn blocked_database_is_reported_and_loses_nothing() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let holder = harness.setup.hold_the_database().unwrap();
    harness.create_many("meanwhile", 3_000);
    harness.wait("named", || {
        harness.degraded("database").contains("database is locked")
    });
    let (items, capacity) = (
        harness.metric("kube9_events_queue_size"),
        harness.metric("kube9_queue_capacity"),
    );
    assert!(items <= capacity, "{items} of {capacity}");
    drop(holder);
    harness.wait_stored(3_001);
    harness.assert_complete();
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn removed_and_replaced_database_files_are_detected_and_live_events_kept() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create_many("first", 10);
    harness.wait_stored(10);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", harness.setup.database().display())).unwrap();
        harness.wait("the log is there again", || {
            fs::exists(format!("{}{suffix}", harness.setup.database().display())).unwrap()
        });
        harness.create(&format!("after{suffix}"));
        harness.wait("stored where readers look", || {
            harness.number_named(&format!("after{suffix}")) == 1
        });
    }
    fs::remove_file(harness.setup.database()).unwrap();
    harness.wait_stored(12);
    harness.wait("said so", || {
        harness
            .setup
            .number("SELECT count(*) FROM events WHERE title = 'Database was damaged'")
            == Some(1)
    });
    recorder.stop().unwrap();
}

#[test]
fn corrupt_file_at_start_is_quarantined_and_cluster_recorded_anew() {
    for (from, to) in [(0, 100), (4_096, 400_000)] {
        let harness = Harness::new();
        let recorder = harness.start();
        harness.create_many("before", 50);
        harness.wait_stored(50);
        recorder.stop().unwrap();
        harness.damage(from, to);
        let recorder = harness.start();
        harness.create("after");
        harness.wait_stored(51);
        let aside = harness.folder.path().join("data").join("kube9.db.corrupt");
        assert!(aside.exists());
        let said = "SELECT count(*) FROM events WHERE severity = 'critical' AND title = 'Database was damaged'";
        harness.wait("said so", || harness.setup.number(said) == Some(1));
        harness.assert_complete();
        recorder.stop().unwrap();
    }
}

/// The file opens: the corruption is in pages that are only read when the sources load their positions.
#[test]
fn corruption_found_during_startup_ends_in_new_database() {
    for table in ["watch_state", "object_snapshot"] {
        let harness = Harness::new();
        let recorder = harness.start();
        harness.create_many("before", 50);
        harness.wait_stored(50);
        let root = format!("SELECT rootpage FROM sqlite_schema WHERE name = '{table}'");
        let root = harness.setup.number(&root).unwrap() as usize;
        recorder.stop().unwrap();
        let page = PAGE_BYTES as usize;
        harness.damage((root - 1) * page, root * page);
        let recorder = harness.start();
        harness.create("after");
        harness.wait_stored(51);
        let aside = harness.folder.path().join("data").join("kube9.db.corrupt");
        assert!(aside.exists(), "{table}");
        harness.assert_complete();
        recorder.stop().unwrap();
    }
}

#[test]
fn wal_truncated_at_any_byte_is_recovered_and_recording_resumes() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create_many("before", 30);
    harness.wait_stored(30);
    harness.repeat("before.000007");
    harness.wait("repeated", || {
        harness.setup.number("SELECT max(count) FROM event") == Some(2)
    });
    // As after a kill: the database and its WAL, without a clean close.
    let path = harness.setup.database();
    let (main, log) = (
        fs::read(&path).unwrap(),
        fs::read(format!("{}-wal", path.display())).unwrap(),
    );
    recorder.stop().unwrap();
    assert!(log.len() > 10_000, "the log is a real one");
    for part in 0..12 {
        let end = log.len() * part / 11;
        fs::write(&path, &main).unwrap();
        fs::write(format!("{}-wal", path.display()), &log[..end]).unwrap();
        drop(fs::remove_file(format!("{}-shm", path.display())));
        let recorder = harness.start();
        harness.assert_complete();
        recorder.stop().unwrap();
    }
}

#[test]
fn second_recorder_is_refused_and_first_continues() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let mut other = harness.setup.clone();
    other.listen = kube9_tests::recorder::free_address().unwrap();
    other.yaml = other
        .yaml
        .replace(&harness.setup.listen.to_string(), &other.listen.to_string());
    let second = other.start().unwrap();
    harness.wait("the second gives up", || second.has_ended());
    let error = format!("{:#}", second.stop().unwrap_err());
    assert!(error.contains("another recorder is using"), "{error}");
    harness.create("second");
    harness.wait_stored(2);
    recorder.stop().unwrap();
}

#[test]
fn start_waits_for_unwritable_disk() {
    let harness = Harness::new();
    // A file in place of the directory: permissions would not stop root.
    fs::write(harness.folder.path().join("data"), "in the way").unwrap();
    let recorder = harness.start();
    harness.create("early");
    harness.wait("named", || !harness.degraded("start").is_empty());
    assert!(!recorder.has_ended());
    fs::remove_file(harness.folder.path().join("data")).unwrap();
    harness.wait_stored(1);
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn stop_while_database_is_blocked_ends_in_time_and_loses_nothing() {
    let harness = Harness::with("");
    let mut setup = harness.setup.clone();
    setup.yaml = setup
        .yaml
        .replace("shutdown_grace: 10s", "shutdown_grace: 1s");
    let recorder = setup.start().unwrap();
    harness.create("first");
    harness.wait_stored(1);
    let holder = harness.setup.hold_the_database().unwrap();
    harness.create_many("uncommitted", 50);
    harness.wait("received", || {
        harness.metric("kube9_events_received_total") >= 51.0
    });
    let error = format!("{:#}", recorder.stop().unwrap_err());
    assert!(error.contains("read again at the next start"), "{error}");
    drop(holder);
    let recorder = harness.start();
    harness.assert_complete();
    assert_eq!(harness.gaps(), Vec::<Value>::new());
    recorder.stop().unwrap();
}

#[test]
fn row_refused_by_database_is_skipped_alone() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let rules = harness.setup.open_for_writing().unwrap();
    rules
        .execute_batch(
            "CREATE TRIGGER bad BEFORE INSERT ON event WHEN NEW.count = 666 BEGIN SELECT RAISE(ABORT, 'no'); END; \
             CREATE TRIGGER stub BEFORE INSERT ON event WHEN NEW.type = 5 BEGIN SELECT RAISE(ABORT, 'no stub'); END;",
        )
        .unwrap();
    harness.create_many("before", 30);
    let bad = event("shop", "bad", 666);
    harness.server.store().create(Kind::Event, bad).unwrap();
    harness.create_many("behind", 30);
    // Neither the row nor its stub can be written: the batch waits, and what was already written stays.
    harness.wait("named", || harness.degraded("database").contains("no stub"));
    rules.execute_batch("DROP TRIGGER stub").unwrap();
    harness.wait_stored(61);
    let skipped = "SELECT count(*) FROM events WHERE title = 'Event skipped'";
    harness.wait("skipped", || harness.setup.number(skipped) == Some(1));
    harness.wait("every Event has one outcome", || {
        balance(&harness.setup.metrics()) == Some(0.0)
    });
    recorder.stop().unwrap();
    let sums = "SELECT count(*) || ' ' || sum(occurrences) FROM event WHERE type = 0";
    assert_eq!(harness.setup.column(sums).unwrap(), ["61 61"]);
}

/// Mounting needs root, and a container may forbid it.
fn small_disk(at: &std::path::Path, size: &str) -> Option<SmallDisk> {
    fs::create_dir_all(at).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(at)
        .stderr(std::process::Stdio::null())
        .status();
    mounted
        .is_ok_and(|status| status.success())
        .then(|| SmallDisk(at.to_owned()))
}

struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// Fills it to the last byte; returns the filler file.
    fn fill(&self) -> std::path::PathBuf {
        let filler = self.0.join("filler");
        assert!(fs::write(&filler, vec![1; 4 << 20]).is_err());
        filler
    }

    fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        let status = std::process::Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn full_disk_is_reported_and_recovers() {
    let harness = Harness::new();
    let Some(disk) = small_disk(&harness.folder.path().join("data"), "2m") else {
        return skipped("a tmpfs cannot be mounted here");
    };
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let filler = disk.fill();
    harness.create_many("meanwhile", 5_000);
    harness.wait("named", || harness.degraded("database").contains("full"));
    assert!(!recorder.has_ended());
    fs::remove_file(&filler).unwrap();
    assert!(disk.remount("size=64m"));
    harness.wait_stored(5_001);
    harness.assert_complete();
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

#[test]
fn start_on_full_or_read_only_disk_is_degraded_and_recovers() {
    let harness = Harness::new();
    let Some(disk) = small_disk(&harness.folder.path().join("data"), "2m") else {
        return skipped("a tmpfs cannot be mounted here");
    };
    harness.create("first");
    assert!(disk.remount("ro"));
    let recorder = harness.start();
    harness.wait("named", || !harness.degraded("start").is_empty());
    assert!(!recorder.has_ended());
    assert!(disk.remount("rw"));
    harness.wait_stored(1);
    recorder.stop().unwrap();

    let filler = disk.fill();
    harness.create("second");
    let recorder = harness.start();
    harness.wait("named", || matches!(harness.setup.health(), Some((503, _))));
    assert!(!recorder.has_ended());
    fs::remove_file(&filler).unwrap();
    harness.wait_stored(2);
    harness.wait("healthy", || harness.is_healthy());
    recorder.stop().unwrap();
}

/// The new database has its first page but no space for its tables, so the next attempt finds an existing file.
#[test]
fn database_created_in_two_attempts_records_cluster_anew() {
    for free_pages in [1, 3, 12] {
        let harness = Harness::new();
        let Some(disk) = small_disk(&harness.folder.path().join("data"), "2m") else {
            return skipped("a tmpfs cannot be mounted here");
        };
        let recorder = harness.start();
        harness.create("before");
        harness.wait_stored(1);
        let filler = disk.fill();
        {
            let filler = fs::File::options().write(true).open(&filler).unwrap();
            let filled = filler.metadata().unwrap().len();
            filler.set_len(filled - free_pages * 4_096).unwrap();
        }
        // While it is open, its space is not free.
        let removed = fs::File::open(harness.setup.database()).unwrap();
        fs::remove_file(harness.setup.database()).unwrap();
        harness.wait("named", || !harness.degraded("database").is_empty());
        drop(removed);
        harness.create("meanwhile");
        fs::remove_file(&filler).unwrap();
        harness.wait_stored(2);
        harness.assert_complete();
        recorder.stop().unwrap();
    }
}

#[test]
fn snapshot_larger_than_free_space_is_refused() {
    let harness = Harness::new();
    let Some(disk) = small_disk(&harness.folder.path().join("data"), "2m") else {
        return skipped("a tmpfs cannot be mounted here");
    };
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let filler = disk.fill();
    let target = disk.0.join("copy.db");
    let error = snapshot(&harness.setup.database(), &target).unwrap_err();
    assert!(
        matches!(error, SnapshotError::NoSpace { free: 0, needed, .. } if needed > 60_000),
        "{error}"
    );
    assert!(!target.exists());
    fs::remove_file(&filler).unwrap();
    assert!(snapshot(&harness.setup.database(), &target).unwrap() > 60_000);
    recorder.stop().unwrap();
}

/// A reader pins the WAL, which grows until the disk is full. Only a checkpoint frees space, and no commit gets that
/// far.
#[test]
fn disk_filled_by_wal_recovers_when_reader_ends() {
    let harness = Harness::new();
    let Some(_disk) = small_disk(&harness.folder.path().join("data"), "8m") else {
        return skipped("a tmpfs cannot be mounted here");
    };
    let recorder = harness.start();
    harness.create("first");
    harness.wait_stored(1);
    let reader = harness.setup.open().unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let rows: i64 = reader
        .query_row("SELECT count(*) FROM event", [], |row| row.get(0))
        .unwrap();
    assert!(rows > 0);
    let mut created = 1;
    while !harness.degraded("database").contains("full") {
        assert!(created < 30_000, "the disk does not fill");
        harness.create_many(&format!("more-{created}"), 100);
        created += 100;
    }
    drop(reader);
    harness.wait("healthy", || harness.is_healthy());
    harness.assert_complete();
    recorder.stop().unwrap();
}

/// Makes the leaf page with the oldest rows unreadable. Only retention reads it.
fn damage_the_oldest_rows(harness: &Harness) {
    let path = harness.setup.database();
    let root: i64 = {
        let conn = harness.setup.open_for_writing().unwrap();
        let copied = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        });
        assert_eq!(copied, Ok((0, 0, 0)), "the log is not in the database");
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'event'";
        conn.query_row(root, [], |row| row.get(0)).unwrap()
    };
    const PAGE: usize = PAGE_BYTES as usize;
    const INTERIOR: u8 = 5;
    let mut bytes = fs::read(&path).unwrap();
    let mut page = (root as usize - 1) * PAGE;
    assert_eq!(bytes[page], INTERIOR, "too few rows for a tree");
    while bytes[page] == INTERIOR {
        let first_cell =
            page + usize::from(u16::from_be_bytes([bytes[page + 12], bytes[page + 13]]));
        let child = u32::from_be_bytes(bytes[first_cell..first_cell + 4].try_into().unwrap());
        page = (child as usize - 1) * PAGE;
    }
    bytes[page] = 0x99;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn corruption_found_by_retention_is_reported_and_ends_in_new_database() {
    let harness = Harness::new();
    let recorder = harness.start();
    harness.create_many("before", 1_000);
    harness.wait_stored(1_000);
    recorder.stop().unwrap();
    damage_the_oldest_rows(&harness);
    let recorder = harness.start();
    harness.create("after");
    harness.wait("named", || {
        harness.degraded("database-file").contains("malformed")
    });
    let said = "SELECT count(*) FROM events WHERE severity = 'critical' AND title = 'Database was damaged'";
    harness.wait("said so", || harness.setup.number(said) == Some(1));
    harness.assert_complete();
    assert!(harness.folder.path().join("data/kube9.db.corrupt").exists());
    recorder.stop().unwrap();
}
