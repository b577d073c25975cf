//! The size limit with one namespace that fills the database: the rows that other namespaces keep.

use kube9_ingest::item::Change;
use kube9_ingest::sanitize::Clean;
use serde_json::{Value, json};

use super::*;

/// Other namespaces.
const OTHERS: i64 = 30;
/// Rows of all other namespaces.
const OTHERS_ROWS: i64 = 3_000;
/// Every `ERROR_EVERY`-th of these rows is an error.
const ERROR_EVERY: i64 = 10;

/// Rows of thirty namespaces over the last day, one in ten an error.
fn others(store: &mut Store) {
    let names: Vec<String> = (0..OTHERS_ROWS).map(|n| format!("pod-{n}")).collect();
    let namespaces: Vec<String> = (0..OTHERS).map(|n| format!("team-{n}")).collect();
    for from in (0..OTHERS_ROWS).step_by(100) {
        let items: Vec<Item> = (from..from + 100)
            .map(|n| {
                let severity = if n % ERROR_EVERY == 0 {
                    Severity::Error
                } else {
                    Severity::Info
                };
                store.item(RowSpec {
                    namespace: &namespaces[(n % OTHERS) as usize],
                    text: "an ordinary message of some length",
                    ..row_spec(NOW - DAY + n * 20, severity, &names[n as usize])
                })
            })
            .collect();
        store.commit(&items);
    }
}

/// Adds Events of the namespace `flood` and runs retention; the API server still has all of them.
fn flood(
    store: &mut Store,
    events: i64,
    severity: Severity,
    text: impl Fn(i64) -> String,
    of: impl Fn(i64) -> String,
) {
    for from in (0..events).step_by(2_000) {
        for chunk in (from..(from + 2_000).min(events)).step_by(200) {
            let items: Vec<Item> = (chunk..(chunk + 200).min(events))
                .map(|n| {
                    let (name, kind) = (format!("x-{n}"), of(n));
                    let text = text(n);
                    store.item(RowSpec {
                        namespace: "flood",
                        kind: &kind,
                        text: &text,
                        ..row_spec(NOW - 3_600 + n / 20, severity, &name)
                    })
                })
                .collect();
            store.commit(&items);
        }
        store.clean();
        std::thread::sleep(Duration::from_millis(101)); // the look at the size is bounded in rate
    }
    store.clean();
}

/// Remaining rows of other namespaces, and the errors among them.
fn left(store: &Store) -> (i64, i64) {
    let count = |condition: &str| {
        store.number(&format!(
            "SELECT count(*) FROM event_detail WHERE object_namespace LIKE 'team-%' {condition}"
        ))
    };
    (count(""), count("AND severity = 'error'"))
}

fn noise(n: i64) -> String {
    format!("noise x-{n}")
}

/// 3.6 KB of unique text.
fn large(n: i64) -> String {
    let letters: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
    format!("{letters} large ").repeat(300)
}

fn pod(_: i64) -> String {
    "Pod".to_owned()
}

/// 60,000 Events of one namespace at a limit of 8 MiB.
#[test]
fn flood_of_one_namespace_keeps_rows_of_others() {
    let mut store = Store::with(Some(8 << 20), large_volume);
    others(&mut store);
    flood(&mut store, 60_000, Severity::Info, noise, pod);
    let (rows, errors) = left(&store);
    println!(
        "flood of 60,000 Events at 8 MiB: {rows} of {OTHERS_ROWS} rows of others left, {errors} errors"
    );
    assert_eq!((rows, errors), (OTHERS_ROWS, OTHERS_ROWS / ERROR_EVERY));
    assert!(store.used_bytes() <= 8 << 20, "{}", store.used_bytes());
    assert_eq!(store.texts("SELECT namespace FROM eviction"), ["flood"]);
    let description =
        "SELECT description FROM events WHERE title = 'Rows deleted for lack of space'";
    assert!(
        store.texts(description)[0].contains("belong to namespace flood, which used most space"),
        "{:?}",
        store.texts(description)
    );
    let shortened = |store: &Store| {
        let metrics = &store.shared.metrics;
        (
            metrics.record_shortened.get(Severity::Info).get(),
            metrics.record_shortened_holders.get(Severity::Info).get(),
        )
    };
    let (lacks, tenants) = shortened(&store);
    println!("flood of 60,000 Events at 8 MiB: its own record lacks {lacks:.2} of its time");
    assert!(lacks > 0.99 && tenants == 1, "{lacks} of {tenants}");
    // Once the rows would have expired by age, the limit shortens no record.
    store.time.advance(Duration::from_secs(8 * 86_400));
    store.clean();
    assert_eq!(store.number("SELECT count(*) FROM eviction"), 0);
    assert_eq!(shortened(&store), (0.0, 0));
    store.check();
}

/// Errors are deleted last, so a flood of them would displace everything else.
#[test]
fn flood_of_errors_keeps_share_of_others() {
    let mut store = Store::with(Some(8 << 20), large_volume);
    others(&mut store);
    flood(&mut store, 60_000, Severity::Error, noise, pod);
    let (rows, errors) = left(&store);
    println!(
        "flood of 60,000 errors at 8 MiB: {rows} of {OTHERS_ROWS} rows of others left, {errors} errors"
    );
    assert_eq!(errors, OTHERS_ROWS / ERROR_EVERY);
    assert_eq!(rows, OTHERS_ROWS, "less than each one's floor");
    store.check();
}

/// Fewer rows than the others, each of maximum size.
#[test]
fn flood_of_large_rows_counts_by_bytes() {
    let mut store = Store::with(Some(8 << 20), large_volume);
    others(&mut store);
    flood(&mut store, 6_000, Severity::Info, large, pod);
    let (rows, errors) = left(&store);
    println!(
        "flood of 6,000 rows of 3.6 KB at 8 MiB: {rows} of {OTHERS_ROWS} rows of others left, {errors} errors"
    );
    assert_eq!((rows, errors), (OTHERS_ROWS, OTHERS_ROWS / ERROR_EVERY));
    assert!(store.used_bytes() <= 8 << 20, "{}", store.used_bytes());
    store.check();
}

/// Kinds are free text in an Event.
#[test]
fn flood_of_kinds_keeps_rows_of_others() {
    let mut store = Store::with(Some(8 << 20), large_volume);
    others(&mut store);
    flood(&mut store, 30_000, Severity::Info, noise, |n| {
        format!("Kind{n}")
    });
    let (rows, errors) = left(&store);
    println!(
        "flood of 30,000 kinds at 8 MiB: {rows} of {OTHERS_ROWS} rows of others left, {errors} errors"
    );
    assert_eq!((rows, errors), (OTHERS_ROWS, OTHERS_ROWS / ERROR_EVERY));
    assert!(store.used_bytes() <= 8 << 20, "{}", store.used_bytes());
    // Not `check`: comparing the counters joins tens of thousands of scopes without an index.
    assert_eq!(store.texts("PRAGMA integrity_check"), ["ok"]);
}

/// 100 ConfigMaps whose snapshots exceed the limit of 64 MiB.
#[test]
fn snapshots_of_one_namespace_do_not_displace_rows() {
    let mut store = Store::with(Some(64 << 20), large_volume);
    others(&mut store);
    let keys: Map<String, Value> = (0..30_000)
        .map(|n| (format!("key-{n:012}"), n.into()))
        .collect();
    let mut facts = json!({"uid": "", "kind": "ConfigMap", "keys": keys, "quiet": false});
    for n in 0..100 {
        facts["uid"] = format!("u{n}").into();
        let change = Change {
            watch: store.watch,
            name: Clean::name(&format!("flood/map-{n}")),
            snapshot: Clean::json(&facts),
            rows: Vec::new(),
            version: None,
        };
        store.commit(&[Item::Change(Box::new(change))]);
        if n % 10 == 9 {
            store.clean();
            std::thread::sleep(Duration::from_millis(101));
        }
    }
    for _ in 0..10 {
        store.clean();
        std::thread::sleep(Duration::from_millis(101));
    }
    let (rows, errors) = left(&store);
    let facts = store.number("SELECT sum(octet_length(snapshot)) FROM object_snapshot");
    println!(
        "facts of 100 ConfigMaps at 64 MiB: {rows} of {OTHERS_ROWS} rows of others left, {errors} errors, {facts} bytes of facts"
    );
    assert_eq!((rows, errors), (OTHERS_ROWS, OTHERS_ROWS / ERROR_EVERY));
    let whose = "SELECT count(*) FROM object_snapshot WHERE 'flood/map-' || substr(snapshot ->> 'uid', 2) = name";
    assert_eq!(
        store.number(whose),
        100,
        "an object that is known stays known"
    );
    assert!(store.used_bytes() <= 64 << 20, "{}", store.used_bytes());
    store.check();
}
