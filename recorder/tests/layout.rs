//! A file of an older layout: readable as it is, brought up to date by the recorder, and nothing lost on the way.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use kube9_recorder::clock::Clock;
use kube9_recorder::config::{RetentionConfig, StorageConfig, WriterConfig};
use kube9_recorder::health::Health;
use kube9_recorder::metrics::{Metrics, Rules};
use kube9_recorder::pipeline::queue::{Queue, QueueLimits};
use kube9_recorder::store::open::DataDir;
use kube9_recorder::store::shared::Shared;
use kube9_recorder::store::writer::{Ended, Writer};
use kube9_shared::model::Severity;
use kube9_shared::read::{Filter, Page, PageRequest, Pattern, Reader};
use kube9_shared::schema;
use kube9_shared::time::Timestamp;
use rusqlite::{Connection, OpenFlags};

const LAYOUT_1: &str = include_str!("fixtures/layout-1.sql");
/// 2025-12-02 10:00:00 UTC.
const TEN: i64 = 1_764_669_600;

/// Five days with a row every ten minutes, each third a warning, each ninetieth about the shop.
fn layout_1(path: &Path) -> Connection {
    let db = Connection::open_with_flags(path, OpenFlags::default()).unwrap();
    db.execute_batch("PRAGMA page_size = 2048; PRAGMA auto_vacuum = 2; PRAGMA journal_mode = WAL")
        .unwrap();
    db.execute_batch(LAYOUT_1).unwrap();
    db.execute_batch(
        "INSERT INTO scope (kind, namespace) VALUES ('Pod', 'shop'), ('Pod', 'default');
         INSERT INTO object (scope, name) VALUES (1, 'cart-1'), (2, 'web-1');
         INSERT INTO reason (reason, title, component, container, kube_type)
         VALUES ('BackOff', 'Container crash loop', 'kubelet', 'app', 'Warning');
         INSERT INTO text (hash, body) VALUES (0, 'Back-off restarting failed container');",
    )
    .unwrap();
    for n in 0..720 {
        let (second, severity, object) = (
            TEN + n * 600,
            i64::from(n % 3 == 0),
            if n % 90 == 0 { 1 } else { 2 },
        );
        db.execute(
            "INSERT INTO event (key, type, severity, reason, object, text, last_ms) VALUES (?1 << 24, 0, ?2, 1, ?3, 1, 0)",
            (second, severity, object),
        )
        .unwrap();
        for span in [3_600, 86_400] {
            db.execute(
                "INSERT INTO tally VALUES (?1, ?2, ?3, 0, ?4, 1) ON CONFLICT DO UPDATE SET rows = rows + 1",
                (span, second / span * span, object, severity),
            )
            .unwrap();
        }
    }
    db
}

/// What a few questions answer: the ids and the totals.
fn answers(path: &Path) -> Vec<(Vec<String>, u64)> {
    let reader = Reader::open(path, std::time::Duration::from_secs(10)).unwrap();
    let shop = vec![Pattern::parse("shop").unwrap()];
    let warnings = vec![Severity::Warning];
    [
        Filter::default(),
        Filter {
            severities: warnings.clone(),
            ..Filter::default()
        },
        Filter {
            namespaces: shop.clone(),
            severities: warnings,
            ..Filter::default()
        },
        Filter {
            namespaces: shop,
            since: Some(Timestamp::from_secs(TEN + 86_000)),
            ..Filter::default()
        },
    ]
    .into_iter()
    .map(|filter| {
        let request = PageRequest {
            filter,
            limit: 20,
            offset: 0,
            after: None,
        };
        let Page { rows, total, .. } = reader.list(&request).unwrap();
        (rows.into_iter().map(|row| row.id).collect(), total)
    })
    .collect()
}

#[test]
fn older_layout_answers_the_same_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = layout_1(&path);
    let before = answers(&path);
    assert_eq!(
        before.iter().map(|(_, total)| *total).collect::<Vec<_>>(),
        [720, 240, 8, 6]
    );
    drop(db);

    let data = DataDir::lock(dir.path()).unwrap();
    let opened = data.open().unwrap();
    assert_eq!((opened.migrated_from, opened.created), (Some(1), false));
    for differ in schema::TALLY_DIFFERS {
        let differ: i64 = opened
            .conn
            .query_row(&format!("SELECT count(*) FROM ({differ})"), [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(differ, 0);
    }
    assert_eq!(answers(&path), before);
    let versions: Vec<i64> = opened
        .conn
        .prepare("SELECT version FROM schema_version ORDER BY version")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(versions, [1, 2, 3]);
    drop(opened);
    assert_eq!(data.open().unwrap().migrated_from, None);
}

/// Whoever goes back to the older version has to learn what stands in the way from the record itself.
#[test]
fn a_migration_is_a_row_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    drop(layout_1(&path));
    let clock = Clock::system();
    let shared = Shared {
        queue: Arc::new(Queue::new(QueueLimits {
            capacity: 100,
            bytes_max: 1 << 20,
            high_water: 80,
        })),
        metrics: Metrics::new(&Rules::default()),
        health: Health::new(clock.clone()),
        clock,
        abandon: Arc::new(AtomicBool::new(false)),
    };
    // Days old and kept for weeks: the clean-up takes none of it.
    let retention = RetentionConfig {
        info_warning: std::time::Duration::from_secs(10 * 365 * 86_400),
        ..RetentionConfig::default()
    };
    let writer = Writer::open(
        DataDir::lock(dir.path()).unwrap(),
        WriterConfig::default(),
        retention,
        &StorageConfig::default(),
        shared.clone(),
    );
    shared.queue.close();
    assert_eq!(writer.unwrap().run(), Ended::Drained);
    let db = Connection::open_with_flags(&path, OpenFlags::default()).unwrap();
    let row: (String, String, i64, i64) = db
        .query_row(
            "SELECT severity, description, metadata ->> 'from_version', metadata ->> 'to_version' FROM events \
             WHERE title = 'Database migrated'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(row.0, "info");
    assert!(
        row.1.contains("An older kube9 does not read it"),
        "{}",
        row.1
    );
    assert_eq!((row.2, row.3), (1, schema::VERSION));
}
