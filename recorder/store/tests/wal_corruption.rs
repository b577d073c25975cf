//! A WAL after a power cut or with a bad disk: truncated at any byte, or with wrong bytes.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the failure"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use kube9_db::schema::PAGE_BYTES;
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::sanitize;
use kube9_model::identity::{ResourceVersion, Uid};
use kube9_model::record::{Observation, Occurred, Record};
use kube9_model::time::Timestamp;
use kube9_model::watch::{Origin, RelistCause, SourceMarker, WatchId};
use kube9_model::{EventType, Severity};
use kube9_store::apply::Applier;
use kube9_store::open::DataDir;
use rusqlite::Connection;
use serde_json::Map;

/// Commits of one Event each in the WAL.
const COMMITS: i64 = 8;

/// SQLite's format: a WAL header, then frames with a header and a page.
const LOG_HEADER: usize = 32;
const FRAME: usize = 24 + PAGE_BYTES as usize;

fn at(second: i64) -> Timestamp {
    Timestamp::from_secs(1_764_671_400 + second)
}

fn seen(watch: WatchId, n: i64) -> Item {
    let record = Record {
        event_type: EventType::Cluster,
        severity: Severity::Info,
        title: "Container started".into(),
        description: format!("Started container app-{n}"),
        object: None,
        api_group: String::new(),
        owner: None,
        reason: "Started".into(),
        component: "kubelet".into(),
        container: "app".into(),
        kube_type: "Normal".into(),
        node: None,
        extra: Map::new(),
        occurred: Occurred::Observed(Observation {
            uid: Uid::new(&format!("6a1e7a52-0000-4000-8000-{n:012}")),
            version: ResourceVersion::new(&n.to_string()),
            count: 1,
            first: at(n),
            last: at(n),
        }),
    };
    Item::Event {
        watch,
        origin: Origin::Watch,
        received: at(n),
        row: Box::new(sanitize(record)),
    }
}

fn commit(conn: &Connection, applier: &mut Applier, items: &[Item]) {
    let tx = conn.unchecked_transaction().unwrap();
    applier.apply(&tx, items, at(0)).unwrap();
    applier.finish(&tx).unwrap();
    tx.commit().unwrap();
    applier.committed();
}

/// A database and a WAL with [`COMMITS`] commits, as after a kill.
fn killed() -> (Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::lock(folder.path()).unwrap();
    let conn = data.open().unwrap().conn;
    let mut applier = Applier::default();
    let (watch, _) = applier
        .watches
        .register(&conn, "cluster", "Event", "")
        .unwrap();
    let marker = |marker| Item::Marker { watch, marker };
    commit(
        &conn,
        &mut applier,
        &[
            marker(SourceMarker::Init {
                list_generation: 1,
                cause: RelistCause::FirstStart,
                at: at(0),
            }),
            marker(SourceMarker::InitDone {
                list_generation: 1,
                at: at(0),
                version: "0".into(),
                server_time: at(0),
                listed: 0,
                oldest_change: None,
                event_ttl: Duration::from_secs(3600),
            }),
        ],
    );
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    for n in 1..=COMMITS {
        commit(&conn, &mut applier, &[seen(watch, n)]);
    }
    let read = |suffix| fs::read(format!("{}{suffix}", data.database().display())).unwrap();
    (read(""), read("-wal"))
}

/// Opens the files as a start does; checks that the position covers exactly what is stored, and returns it.
fn recovered(folder: &Path, database: &[u8], log: &[u8]) -> i64 {
    let path = folder.join("kube9.db");
    fs::write(&path, database).unwrap();
    fs::write(folder.join("kube9.db-wal"), log).unwrap();
    drop(fs::remove_file(folder.join("kube9.db-shm")));
    let data = DataDir::lock(folder).unwrap();
    let opened = data.open().unwrap();
    assert!(!opened.created && opened.quarantined.is_none());
    let number = |sql: &str| -> i64 { opened.conn.query_row(sql, [], |row| row.get(0)).unwrap() };
    let position = number("SELECT CAST(position AS INTEGER) FROM watch_state");
    assert_eq!(number("SELECT count(*) FROM event"), position);
    assert_eq!(number("SELECT count(*) FROM dedup"), position);
    let counted = "SELECT ifnull(sum(rows), 0) FROM row_counts WHERE bucket_seconds = 86400";
    assert_eq!(number(counted), position);
    let whole = "PRAGMA integrity_check";
    let said: String = opened.conn.query_row(whole, [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    position
}

#[test]
fn wal_truncated_at_any_byte_keeps_whole_commits() {
    let (database, log) = killed();
    let folder = tempfile::tempdir().unwrap();
    let frames = (log.len() - LOG_HEADER) / FRAME;
    assert!(frames > COMMITS as usize, "the log is a real one");
    // Inside the header, and in each frame: at its edges, inside its header, at the edge and in the middle of its page.
    let mut ends = vec![0, 1, 31, LOG_HEADER];
    for frame in 0..frames {
        let begin = LOG_HEADER + frame * FRAME;
        ends.extend([1, 12, 23, 24, FRAME / 2, FRAME - 1, FRAME].map(|byte| begin + byte));
    }
    let mut before = 0;
    for end in ends {
        let position = recovered(folder.path(), &database, &log[..end.min(log.len())]);
        assert!(position >= before, "{position} after {before} at {end}");
        before = position;
    }
    assert_eq!(before, COMMITS, "the whole log holds every commit");
}

#[test]
fn wal_with_corrupt_bytes_ends_before_them() {
    let (database, log) = killed();
    let folder = tempfile::tempdir().unwrap();
    // A prime step, so that every part of a frame is hit.
    for byte in (0..log.len()).step_by(1_009) {
        let mut bad = log.clone();
        bad[byte] ^= 0x40;
        let position = recovered(folder.path(), &database, &bad);
        let whole = recovered(folder.path(), &database, &log[..byte]);
        assert_eq!(position, whole, "byte {byte}");
    }
}
