//! A disk whose system calls fail under the recorder, which runs as a process of its own for that.

use std::path::PathBuf;

use kube9_tests::chaos::Victim;
use kube9_tests::faulty_disk::{DATABASE, EIO, ENOSPC, EROFS, FaultyDisk, LOG, Wrong};
use kube9_tests::recorder::balance;
use serde_json::Value;

use super::harness::{Scene, skipped};

/// More new Events than it takes for the log to be copied into the database.
const EVENTS_MAX: usize = 50_000;

struct Machine {
    scene: Scene,
    disk: FaultyDisk,
    recorder: Victim,
}

impl Machine {
    /// A recorder that runs, and has stored one Event.
    fn new() -> Option<Self> {
        let scene = Scene::new();
        let Some(disk) = FaultyDisk::build(scene.folder.path()).unwrap() else {
            skipped("no C compiler");
            return None;
        };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_kube9-chaos"));
        let recorder = Victim::new(scene.setup.clone(), program, disk.environment());
        let mut machine = Self {
            scene,
            disk,
            recorder,
        };
        machine.recorder.start().unwrap();
        machine.scene.create("first");
        machine.scene.wait_stored(1);
        Some(machine)
    }

    /// The disk has this fault while `load` happens, until `/healthz` names it; then it is whole again.
    #[track_caller]
    fn suffer(&self, wrong: Wrong, check: &str, words: &[&str], load: impl FnOnce(&Scene)) {
        let before = self.disk.hits().unwrap();
        self.disk.set(wrong).unwrap();
        load(&self.scene);
        self.scene.wait(&format!("{check} says {words:?}"), || {
            let said = self.scene.degraded(check);
            words.iter().any(|words| said.contains(words))
        });
        assert!(self.disk.hits().unwrap() > before, "nothing failed");
        self.disk.set(Wrong::NOTHING).unwrap();
        self.scene.wait("healthy again", || self.scene.is_healthy());
    }

    /// Somebody else writes to the database, so that the recorder has to read it anew.
    fn forget_the_cache(&self) {
        let other = self.scene.setup.open_for_writing().unwrap();
        other
            .execute("UPDATE recorder_status SET queue_rows = queue_rows + 1", [])
            .unwrap();
    }

    fn assert_complete(&self) {
        self.scene.assert_complete();
        let settled = || balance(&self.scene.setup.metrics()) == Some(0.0);
        self.scene.wait("the account is settled", settled);
        assert_eq!(self.scene.metric("kube9_events_dropped_total"), 0.0);
        assert_eq!(self.scene.gaps(), Vec::<Value>::new());
        let damaged = "SELECT count(*) FROM events WHERE title = 'Database was damaged'";
        assert_eq!(self.scene.setup.number(damaged), Some(0));
    }
}

#[test]
fn writes_that_fail_are_named_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let full = Wrong {
        files: LOG,
        ..Wrong::write(ENOSPC)
    };
    let half = Wrong { half: true, ..full };
    let no_room_in_the_database = Wrong {
        files: DATABASE,
        ..Wrong::write(ENOSPC)
    };
    let half_of_the_log = Wrong {
        files: LOG,
        half: true,
        ..Wrong::write(EIO)
    };
    for (n, (wrong, words)) in [
        (Wrong::write(EIO), "disk I/O error"),
        (full, "full"),
        (half, "full"),
        (Wrong::write(EROFS), "disk I/O error"),
        // SQLite calls it so; where the volume is really full, the recorder knows better.
        (no_room_in_the_database, "disk I/O error"),
        (half_of_the_log, "disk I/O error"),
    ]
    .into_iter()
    .enumerate()
    {
        machine.suffer(wrong, "database", &[words], |scene| {
            // In pieces: the first batch fails, the rest waits behind it.
            for piece in 0..20 {
                scene.create_many(&format!("while-{n}-{piece}"), 60);
            }
            scene.repeat("first");
        });
        machine.scene.repeat("first");
    }
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn reads_that_fail_are_named_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let reads = Wrong {
        read: EIO,
        ..Wrong::NOTHING
    };
    machine.scene.create_many("before", 100);
    machine.scene.wait_stored(101);
    machine.forget_the_cache();
    // SQLite may call it damage at first; then the recorder reads the files itself, and the system says what it is.
    let words = ["disk I/O error", "Input/output error"];
    machine.suffer(reads, "database", &words, |scene| {
        scene.create_many("while", 100);
        scene.repeat("before.000001");
    });
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn syncs_that_fail_are_named_and_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let syncs = Wrong {
        sync: EIO,
        truncate: EIO,
        ..Wrong::NOTHING
    };
    // Commits go on, since nothing is synced until the log is copied into the database: that is what fails, and is named.
    machine.suffer(syncs, "clean-up", &["disk I/O error"], |scene| {
        let mut created = 0;
        while scene.degraded("clean-up").is_empty() {
            assert!(created < EVENTS_MAX, "the log is not copied");
            scene.create_many(&format!("while-{created}"), 500);
            created += 500;
            scene.wait_stored(created as i64 + 1);
        }
    });
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}

#[test]
fn kill_on_a_failing_disk_and_a_start_on_it_lose_nothing() {
    let Some(mut machine) = Machine::new() else {
        return;
    };
    let unreadable = Wrong {
        read: EIO,
        ..Wrong::NOTHING
    };
    let log_is_full = Wrong {
        files: LOG,
        ..Wrong::write(ENOSPC)
    };
    let read_only = Wrong {
        open: EROFS,
        ..Wrong::write(EROFS)
    };
    for (n, (wrong, words)) in [
        (Wrong::write(EIO), "disk I/O error"),
        (log_is_full, "full"),
        (unreadable, "Input/output error"),
        (read_only, "Read-only file system"),
    ]
    .into_iter()
    .enumerate()
    {
        machine.scene.create_many(&format!("before-{n}"), 200);
        machine.disk.set(wrong).unwrap();
        machine.scene.create_many(&format!("while-{n}"), 200);
        machine.recorder.kill().unwrap();
        machine.scene.create_many(&format!("down-{n}"), 200);
        let before = machine.disk.hits().unwrap();
        machine.recorder.start().unwrap();
        machine.scene.wait("named at the start", || {
            machine.scene.degraded("start").contains(words)
                || machine.scene.degraded("database").contains(words)
        });
        assert!(machine.disk.hits().unwrap() > before, "nothing failed");
        assert!(machine.recorder.is_running().unwrap());
        machine.disk.set(Wrong::NOTHING).unwrap();
        machine
            .scene
            .wait("healthy again", || machine.scene.is_healthy());
    }
    machine.assert_complete();
    machine.recorder.terminate().unwrap();
}
