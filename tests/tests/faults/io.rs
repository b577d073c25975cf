//! A disk whose system calls fail, with the recorder as a child process.

use std::path::PathBuf;

use kube9_tests::chaos::RecorderProcess;
use kube9_tests::faulty_disk::{DATABASE, DiskFault, EIO, ENOSPC, EROFS, FaultyDisk, LOG};
use kube9_tests::recorder::balance;
use serde_json::Value;

use super::harness::{Harness, skipped};

/// Enough new Events to trigger a checkpoint.
const EVENTS_MAX: usize = 50_000;

struct Machine {
    harness: Harness,
    disk: FaultyDisk,
    recorder: RecorderProcess,
}

impl Machine {
    /// A running recorder that has stored one Event.
    fn new() -> Option<Self> {
        let harness = Harness::new();
        let Some(disk) = FaultyDisk::build(harness.folder.path()).unwrap() else {
            skipped("no C compiler");
            return None;
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_kube9-chaos"));
        let recorder = RecorderProcess::new(harness.setup.clone(), program, disk.environment());
        let mut machine = Self {
            harness,
            disk,
            recorder,
        };
        machine.recorder.start().unwrap();
        machine.harness.create("first");
        machine.harness.wait_stored(1);
        Some(machine)
    }

    /// Sets the fault while `load` runs, until `/healthz` reports it; then clears it.
    #[track_caller]
    fn suffer(&self, wrong: DiskFault, check: &str, words: &[&str], load: impl FnOnce(&Harness)) {
        let before = self.disk.hits().unwrap();
        self.disk.set(wrong).unwrap();
        load(&self.harness);
        self.harness.wait(&format!("{check} says {words:?}"), || {
            let said = self.harness.degraded(check);
            words.iter().any(|words| said.contains(words))
        });
        assert!(self.disk.hits().unwrap() > before, "nothing failed");
        self.disk.set(DiskFault::NOTHING).unwrap();
        self.harness
            .wait("healthy again", || self.harness.is_healthy());
    }

    /// Writes to the database from another connection, so that the recorder must reload pages.
    fn forget_the_cache(&self) {
        let other = self.harness.setup.open_for_writing().unwrap();
        other
            .execute("UPDATE recorder_status SET queue_rows = queue_rows + 1", [])
            .unwrap();
    }

    fn assert_complete(&self) {
        self.harness.assert_complete();
        let settled = || balance(&self.harness.setup.metrics()) == Some(0.0);
        self.harness.wait("the account is settled", settled);
        assert_eq!(self.harness.metric("kube9_events_dropped_total"), 0.0);
        assert_eq!(self.harness.gaps(), Vec::<Value>::new());
        let damaged = "SELECT count(*) FROM events WHERE title = 'Database was damaged'";
        assert_eq!(self.harness.setup.number(damaged), Some(0));
    }
}

#[test]
fn failed_writes_are_reported_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let full = DiskFault {
        files: LOG,
        ..DiskFault::write(ENOSPC)
    };
    let half = DiskFault { half: true, ..full };
    let no_room_in_the_database = DiskFault {
        files: DATABASE,
        ..DiskFault::write(ENOSPC)
    };
    let half_of_the_log = DiskFault {
        files: LOG,
        half: true,
        ..DiskFault::write(EIO)
    };
    for (n, (wrong, words)) in [
        (DiskFault::write(EIO), "disk I/O error"),
        (full, "full"),
        (half, "full"),
        (DiskFault::write(EROFS), "disk I/O error"),
        // SQLite's error; if the volume is really full, the recorder reports that.
        (no_room_in_the_database, "disk I/O error"),
        (half_of_the_log, "disk I/O error"),
    ]
    .into_iter()
    .enumerate()
    {
        machine.suffer(wrong, "database", &[words], |harness| {
            // In parts: the first batch fails, the rest waits.
            for piece in 0..20 {
                harness.create_many(&format!("while-{n}-{piece}"), 60);
            }
            harness.repeat("first");
        });
        machine.harness.repeat("first");
    }
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn failed_reads_are_reported_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let reads = DiskFault {
        read: EIO,
        ..DiskFault::NOTHING
    };
    machine.harness.create_many("before", 100);
    machine.harness.wait_stored(101);
    machine.forget_the_cache();
    // SQLite may report corruption first; then the recorder reads the files itself and gets the system's error.
    let words = ["disk I/O error", "Input/output error"];
    machine.suffer(reads, "database", &words, |harness| {
        harness.create_many("while", 100);
        harness.repeat("before.000001");
    });
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn failed_syncs_are_reported_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let syncs = DiskFault {
        sync: EIO,
        truncate: EIO,
        ..DiskFault::NOTHING
    };
    // Commits continue, because nothing is synced before a checkpoint: the checkpoint fails and is reported.
    machine.suffer(syncs, "clean-up", &["disk I/O error"], |harness| {
        let mut created = 0;
        while harness.degraded("clean-up").is_empty() {
            assert!(created < EVENTS_MAX, "the log is not copied");
            harness.create_many(&format!("while-{created}"), 500);
            created += 500;
            harness.wait_stored(created as i64 + 1);
        }
    });
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn kill_and_start_on_failing_disk_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let unreadable = DiskFault {
        read: EIO,
        ..DiskFault::NOTHING
    };
    let log_is_full = DiskFault {
        files: LOG,
        ..DiskFault::write(ENOSPC)
    };
    let read_only = DiskFault {
        open: EROFS,
        ..DiskFault::write(EROFS)
    };
    for (n, (wrong, words)) in [
        (DiskFault::write(EIO), "disk I/O error"),
        (log_is_full, "full"),
        (unreadable, "Input/output error"),
        (read_only, "Read-only file system"),
    ]
    .into_iter()
    .enumerate()
    {
        machine.harness.create_many(&format!("before-{n}"), 200);
        machine.disk.set(wrong).unwrap();
        machine.harness.create_many(&format!("while-{n}"), 200);
        machine.recorder.kill().unwrap();
        machine.harness.create_many(&format!("down-{n}"), 200);
        let before = machine.disk.hits().unwrap();
        machine.recorder.start().unwrap();
        machine.harness.wait("named at the start", || {
            machine.harness.degraded("start").contains(words)
                || machine.harness.degraded("database").contains(words)
        });
        assert!(machine.disk.hits().unwrap() > before, "nothing failed");
        assert!(machine.recorder.is_running().unwrap());
        machine.disk.set(DiskFault::NOTHING).unwrap();
        machine
            .harness
            .wait("healthy again", || machine.harness.is_healthy());
    }
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}
