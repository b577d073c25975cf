//! Every query returns the same as straightforward SQL over the view `events` ([`reference`]): the same rows in the same order,
//! page by page, and the same total.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fixture::{self, Event};
use super::reference;
use crate::read::{
    CommitSeq, Filter, GroupBy, KindPattern, ObjectPattern, OwnerPattern, PageRequest, Pattern,
    ReadError, Reader, Row, TimelineRequest,
};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use rusqlite::Connection;

/// Start of the made-up time: near midnight, so that days and hours are cut.
const START: i64 = 1_764_633_600 - 7_200;
const SPAN: i64 = 3 * 86_400;

fn name() -> impl Strategy<Value = String> {
    select(vec![
        "web-1", "web-2", "db", "Node-A", "x/y", "k[1]", "q\"\\",
    ])
    .prop_map(str::to_owned)
}

fn event() -> impl Strategy<Value = Event> {
    let time = prop_oneof![
        4 => START..START + SPAN,
        4 => START + 7_000..START + 7_900,
        1 => Just(START + 7_200),
    ];
    let object = prop::option::weighted(
        0.9,
        (
            select(vec!["Pod", "Node", "Deployment"]),
            select(vec!["", "default", "shop"]),
            name(),
        )
            .prop_map(|(kind, namespace, name)| [kind.to_owned(), namespace.to_owned(), name]),
    );
    let severity = prop_oneof![6 => Just(0_i64), 3 => Just(1), 1 => Just(2), 1 => Just(3)];
    let kind = prop_oneof![8 => Just(0_i64), 2 => 1_i64..6];
    let last = prop_oneof![5 => Just(0_i64), 3 => 0_i64..600_001, 1 => 600_000_i64..200_000_000];
    let body = select(vec![
        "it happened",
        "Back-off restarting \u{3} in \u{1}_\u{2}(\u{4})",
        "\u{1}\u{2}",
        "\u{3}\u{4}/\u{3}",
        "Created job \u{1}\u{3}",
        "pulled image \"\u{3}\" in \u{4}",
        "node \u{1} is not ready",
    ]);
    let args = prop::collection::vec(
        select(vec![
            "nginx", "a \"b\"", "c\\d", "Ünï", "web", "-2988", "31457280",
        ]),
        0..3,
    );
    let uid = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 16).prop_map(Some),
        1 => Just(None),
        1 => prop::collection::vec(any::<u8>(), 3).prop_map(Some),
    ];
    let extra = prop_oneof![
        4 => Just(None),
        1 => select(vec![
            r#"{"a":{"b":null,"c":[1,null]},"uid":"other"}"#,
            r#"{"count":null,"text":"\u00e9 \"q\""}"#,
            "{}",
        ])
        .prop_map(|text| Some(text.to_owned())),
    ];
    let first = prop::option::of(-90_000_i64..5_000);
    (
        (time, 0_u32..4, kind, severity),
        (
            select(vec!["BackOff", "Pulled", ""]),
            select(vec!["", "app", "init"]),
        ),
        object,
        (
            prop::option::of(Just(["ReplicaSet".to_owned(), "web".to_owned()])),
            prop::option::of(name()),
        ),
        (body, args, last),
        (uid, extra, first),
    )
        .prop_map(
            |(
                (second, low, kind, severity),
                (reason, container),
                object,
                (owner, node),
                (body, args, last_ms),
                (uid, extra, first_ms),
            )| {
                Event {
                    second,
                    low,
                    kind,
                    severity,
                    reason: reason.to_owned(),
                    title: format!("Title of {reason}"),
                    container: container.to_owned(),
                    object,
                    owner,
                    node,
                    body: body.to_owned(),
                    args: args.into_iter().map(str::to_owned).collect(),
                    last_ms,
                    count: Some(1),
                    uid,
                    extra,
                    first_ms,
                    ..Event::default()
                }
            },
        )
}

fn patterns(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Pattern>> {
    let some = prop::collection::vec(select(words), 1..3).prop_map(|words| {
        words
            .into_iter()
            .map(|word| Pattern::parse(word).unwrap())
            .collect()
    });
    prop_oneof![3 => Just(Vec::new()), 1 => some]
}

fn filter() -> impl Strategy<Value = Filter> {
    let moment = prop_oneof![
        (START - 1_000..START + SPAN + 1_000).prop_map(|second| second * 1000),
        (START * 1000 + 6_900_000..START * 1000 + 8_000_000),
        Just((START + 7_200) * 1000),
    ];
    let times = (prop::option::of(moment.clone()), prop::option::of(moment)).prop_map(|(a, b)| {
        match (a, b) {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b) + 1)),
            other => other,
        }
    });
    let types = prop_oneof![2 => Just(Vec::new()), 1 => subsequence(EventType::ALL.to_vec(), 1..4)];
    let severities =
        prop_oneof![2 => Just(Vec::new()), 1 => subsequence(Severity::ALL.to_vec(), 1..4)];
    let object = (
        select(vec!["pod", "Node", "*"]),
        select(vec!["web-1", "web-*"]),
        prop::option::of(Just("shop")),
    )
        .prop_map(|(kind, name, namespace)| ObjectPattern {
            kind: Pattern::parse(kind).unwrap().into(),
            name: Pattern::parse(name).unwrap(),
            namespace: namespace.map(|text| Pattern::parse(text).unwrap()),
        });
    let owner = (
        prop::option::of(select(vec!["replicaset", "job"])),
        select(vec!["web", "w*"]),
    )
        .prop_map(|(kind, name)| OwnerPattern {
            kind: kind.map(|text| Pattern::parse(text).unwrap().into()),
            name: Pattern::parse(name).unwrap(),
        });
    let search = prop_oneof![
        3 => Just(None),
        2 => select(vec![
            "happened", "nginx", "WEB-1", "restarting nginx in web", "back", "default(", "shop", "1default", "\"", "\\",
            "a \"b\"", "title of p", "_", "job web-1-29", "80/", "-2988", "xn", "x31", "ünï", "Ü", "in web", "[", ","
        ]).prop_map(|text| Some(text.to_owned())),
    ];
    (
        (times, types, severities),
        (
            patterns(&["pod", "Node", "D*", "x"]),
            patterns(&["default", "sh*", "*"]),
            patterns(&["web-1", "web-*", "db", "*-A", "k[[]1]"]),
        ),
        (
            prop::collection::vec(object, 0..2),
            prop::collection::vec(owner, 0..2),
        ),
        (
            patterns(&["backoff", "P*"]),
            patterns(&["db", "web-?"]),
            patterns(&["app", "i*"]),
        ),
        search,
    )
        .prop_map(
            |(
                ((since, until), types, severities),
                (kinds, namespaces, names),
                (objects, owners),
                (reasons, nodes, containers),
                search,
            )| Filter {
                types,
                severities,
                since: since.map(Timestamp::from_millis),
                until: until.map(Timestamp::from_millis),
                kinds: kinds.into_iter().map(KindPattern::from).collect(),
                namespaces,
                names,
                objects,
                reasons,
                owners,
                nodes,
                containers,
                search,
                ..Filter::default()
            },
        )
}

/// All rows of a filter, page by page, and the totals of the pages.
fn page_through(
    reader: &Reader,
    filter: &Filter,
    limit: usize,
    by_cursor: bool,
) -> (Vec<Row>, Vec<u64>) {
    let (mut rows, mut totals, mut request) = (
        Vec::new(),
        Vec::new(),
        PageRequest {
            filter: filter.clone(),
            limit,
            ..PageRequest::default()
        },
    );
    loop {
        let page = reader.list(&request).unwrap();
        totals.push(page.total);
        rows.extend(page.rows);
        match page.next {
            None => return (rows, totals),
            Some(next) if by_cursor => request.after = Some(next),
            Some(_) => request.offset += limit as u64,
        }
    }
}

/// All rows of a filter by an export, the number of chunks, and its total.
fn export(reader: &Reader, filter: &Filter) -> (Vec<Row>, usize, u64) {
    let mut export = reader.export(filter).unwrap();
    let (mut rows, mut chunks) = (Vec::new(), 0);
    while let Some(chunk) = export.next_chunk().unwrap() {
        rows.extend(chunk);
        chunks += 1;
    }
    (rows, chunks, export.total())
}

/// A timeline of the whole made-up time, in hours.
fn timeline(filter: &Filter) -> TimelineRequest {
    TimelineRequest {
        filter: filter.clone(),
        from: Timestamp::from_secs(START + 3_600),
        to: Timestamp::from_secs(START + SPAN),
        bucket_ms: 3_600_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn queries_equal_reference(
        events in prop::collection::vec(event(), 0..120),
        filters in prop::collection::vec(filter(), 6),
        limit in 1_usize..40,
        by in subsequence(GroupBy::ALL.to_vec(), 1..4).prop_shuffle(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        db.execute_batch("BEGIN").unwrap();
        events.iter().for_each(|event| fixture::insert(&db, event));
        db.execute_batch("COMMIT").unwrap();
        let fast = Reader::open(&path, Duration::from_secs(30)).unwrap();
        for filter in &filters {
            let expected = reference::list(&db, filter);
            for by_cursor in [true, false] {
                let (rows, totals) = page_through(&fast, filter, limit, by_cursor);
                prop_assert_eq!(&rows, &expected, "cursor {} limit {}: {:?}", by_cursor, limit, filter);
                prop_assert!(totals.iter().all(|&total| total == expected.len() as u64), "{:?}: {:?}", totals, filter);
            }
            let groups = fast.stats(filter, &by).unwrap();
            prop_assert_eq!(&groups, &reference::stats(&db, filter, &by), "by {:?} of {:?}", by, filter);
            prop_assert_eq!(groups.iter().map(|group| group.events).sum::<u64>(), expected.len() as u64);
            let request = timeline(filter);
            let drawn = fast.timeline(&request).unwrap();
            let drawn = (drawn.buckets, drawn.problems, drawn.began_before, drawn.first);
            prop_assert_eq!(drawn, reference::timeline(&db, &request), "timeline of {:?}", filter);
            prop_assert_eq!(fast.oldest(filter).unwrap(), reference::oldest(&db, filter));
            let (rows, _, total) = export(&fast, filter);
            prop_assert_eq!(&rows, &expected, "export of {:?}", filter);
            prop_assert_eq!(total, expected.len() as u64);
        }
    }
}

/// 3,500 rows in three days; every second one is about the Pod `db`, every hundredth lasted for a day, and every hundred
/// and first is an error.
fn many_rows(dir: &Path) -> (PathBuf, Connection) {
    let path = dir.join("kube9.db");
    let db = fixture::create(&path);
    db.execute_batch("BEGIN").unwrap();
    for n in 0..3_500 {
        let second = START + n * SPAN / 3_500;
        let name = if n % 2 == 0 { "db" } else { "web-1" };
        let lasts = if n % 100 == 0 { 86_400 } else { 0 };
        let event = Event {
            second,
            severity: if n % 101 == 0 { 2 } else { 0 },
            last_ms: (second + lasts) * 1_000,
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", name));
    }
    db.execute_batch("COMMIT").unwrap();
    (path, db)
}

#[test]
fn export_many_chunks_equals_pages() {
    let dir = tempfile::tempdir().unwrap();
    let (path, db) = many_rows(dir.path());
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    let at = |second| Some(Timestamp::from_secs(START + second));
    let all = Filter::default();
    let of_an_object = Filter {
        names: vec![Pattern::Exact("db".to_owned())],
        ..Filter::default()
    };
    let of_a_time = Filter {
        since: at(86_400),
        until: at(SPAN - 1_000),
        ..Filter::default()
    };
    // So few in a day that its hours are read.
    let errors = Filter {
        severities: vec![Severity::Error],
        ..Filter::default()
    };
    for (filter, chunks, limit) in [
        (all, 4, 1_000),
        (of_an_object, 2, 1_000),
        (of_a_time, 3, 1_000),
        (errors, 1, 10),
    ] {
        let expected = reference::list(&db, &filter);
        assert!(page_through(&reader, &filter, limit, true).0 == expected);
        let (rows, found, total) = export(&reader, &filter);
        assert!(
            rows == expected,
            "{} of {}: {filter:?}",
            rows.len(),
            expected.len()
        );
        assert_eq!(total, expected.len() as u64);
        assert!(found >= chunks, "{found} chunks: {filter:?}");
    }
}

#[test]
fn export_rows_deleted_meanwhile_continues() {
    let of_an_object = Filter {
        names: vec![Pattern::Exact("db".to_owned())],
        ..Filter::default()
    };
    for filter in [Filter::default(), of_an_object] {
        let dir = tempfile::tempdir().unwrap();
        let (path, db) = many_rows(dir.path());
        let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
        let (before, _) = page_through(&reader, &filter, 1_000, true);
        let mut export = reader.export(&filter).unwrap();
        let mut rows = export.next_chunk().unwrap().unwrap();
        // Retention takes the oldest rows while the reader is at the newest.
        let oldest =
            "DELETE FROM event WHERE key IN (SELECT key FROM event ORDER BY key LIMIT 1000)";
        db.execute(oldest, []).unwrap();
        while let Some(chunk) = export.next_chunk().unwrap() {
            rows.extend(chunk);
        }
        let left: HashSet<String> = db
            .prepare("SELECT id FROM events")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let expected: Vec<&Row> = before.iter().filter(|row| left.contains(&row.id)).collect();
        assert!(1_000 < expected.len() && expected.len() < before.len());
        assert!(
            rows.iter().eq(expected.iter().copied()),
            "{} of {}",
            rows.len(),
            expected.len()
        );
    }
}

#[test]
fn stats_labels_equal_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    let started = |second: i64, container: &str| Event {
        second: START + second,
        // One reason with two titles is stored twice, and is one group.
        title: format!("Title of {container}"),
        container: container.to_owned(),
        owner: Some(["ReplicaSet".to_owned(), "web-5d9".to_owned()]),
        node: Some("worker-1".to_owned()),
        ..Event::default()
    };
    for event in [
        started(0, "app").about("Pod", "shop", "web-1"),
        started(7_199, "init").about("Pod", "shop", "web-2"),
        started(7_200, "app").about("Pod", "shop", "web-1"),
        Event {
            second: START,
            low: 1,
            reason: String::new(),
            ..Event::default()
        },
    ] {
        fixture::insert(&db, &event);
    }
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    for (by, expected) in [
        (
            GroupBy::Owner,
            &[(Some("ReplicaSet/web-5d9"), 3), (None, 1)][..],
        ),
        (GroupBy::Node, &[(Some("worker-1"), 3), (None, 1)]),
        (
            GroupBy::Container,
            &[(Some("app"), 2), (None, 1), (Some("init"), 1)],
        ),
        (GroupBy::Reason, &[(Some("Scheduled"), 3), (None, 1)]),
        (
            GroupBy::Name,
            &[(Some("web-1"), 2), (None, 1), (Some("web-2"), 1)],
        ),
        (
            GroupBy::Hour,
            &[
                (Some("2025-12-01T22:00Z"), 2),
                (Some("2025-12-01T23:00Z"), 1),
                (Some("2025-12-02T00:00Z"), 1),
            ],
        ),
        (
            GroupBy::Day,
            &[(Some("2025-12-01"), 3), (Some("2025-12-02"), 1)],
        ),
    ] {
        let groups = reader.stats(&Filter::default(), &[by]).unwrap();
        let found: Vec<(Option<&str>, u64)> = groups
            .iter()
            .map(|group| (group.values[0].as_deref(), group.events))
            .collect();
        assert_eq!(found, expected, "{by:?}");
    }
}

/// The recorder deletes a name only when no row has its number. Else the row would be shown without it, and not be found.
#[test]
fn read_missing_id_is_corrupt() {
    for table in ["event_class", "message_template", "object", "scope", "node"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        let event = Event {
            node: Some("node-1".to_owned()),
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", "web-1"));
        db.execute(&format!("DELETE FROM {table}"), []).unwrap();
        let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
        let listed = reader.list(&all_rows());
        assert!(
            matches!(listed, Err(ReadError::Corrupt(_))),
            "{table}: {listed:?}"
        );
    }
}

#[test]
fn read_template_of_other_hash_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    fixture::insert(&db, &Event::default());
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    let row = reader.list(&all_rows()).unwrap().rows.remove(0);
    db.execute("UPDATE message_template SET body = 'of another table'", [])
        .unwrap();
    for search in [None, Some("another".to_owned())] {
        let request = PageRequest {
            filter: Filter {
                search,
                ..Filter::default()
            },
            ..all_rows()
        };
        let listed = reader.list(&request);
        assert!(matches!(listed, Err(ReadError::Corrupt(_))), "{listed:?}");
    }
    let got = reader.get(&row.id);
    assert!(matches!(got, Err(ReadError::Corrupt(_))), "{got:?}");
}

#[test]
fn read_out_of_range_id_is_corrupt() {
    for (table, column) in [
        ("event", "class"),
        ("event", "template"),
        ("event", "object"),
        ("object", "scope"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        let event = Event {
            body: "stopped \u{1}".to_owned(),
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", "web-1"));
        for far in [i64::MAX, i64::MIN, 1 << 40] {
            db.execute(&format!("UPDATE {table} SET {column} = ?"), [far])
                .unwrap();
            let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
            for search in [None, Some("nowhere".to_owned())] {
                let filter = Filter {
                    search,
                    ..Filter::default()
                };
                let listed = reader.list(&PageRequest {
                    filter,
                    ..all_rows()
                });
                assert!(
                    matches!(listed, Err(ReadError::Corrupt(_))),
                    "{column} {far}: {listed:?}"
                );
            }
        }
    }
}

/// A filter on namespaces leaves rows out; those whose object is missing must not be among them, however few there are.
#[test]
fn list_missing_object_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    let start = 1_764_671_445;
    for low in 0..6 {
        let event = Event {
            low,
            second: start + i64::from(low) * 3_600,
            ..Event::default()
        };
        let name = if low % 3 == 0 { "web-1" } else { "web-2" };
        fixture::insert(&db, &event.about("Pod", "shop", name));
    }
    db.execute("DELETE FROM object WHERE name = 'web-2'", [])
        .unwrap();
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    // Whole hours, and a time that begins within one.
    for since in [None, Some(Timestamp::from_secs(start + 60))] {
        let filter = Filter {
            namespaces: vec![Pattern::parse("shop").unwrap()],
            since,
            ..Filter::default()
        };
        let request = PageRequest {
            filter: filter.clone(),
            ..all_rows()
        };
        let answers = [
            reader.list(&request).map(|page| format!("{page:?}")),
            reader
                .stats(&filter, &[GroupBy::Severity])
                .map(|groups| format!("{groups:?}")),
            reader.export(&filter).and_then(|mut export| {
                while export.next_chunk()?.is_some() {}
                Ok(format!("{export:?}"))
            }),
        ];
        for answer in answers {
            assert!(matches!(answer, Err(ReadError::Corrupt(_))), "{answer:?}");
        }
    }
}

/// The clean-up deletes names in steps: that of an owner may go before that of its object, whose next row keeps it.
#[test]
fn list_deleted_owner_is_not_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    let event = Event {
        owner: Some(["Deployment".into(), "web".into()]),
        ..Event::default().about("Pod", "shop", "web-1")
    };
    fixture::insert(&db, &event);
    let deleted = "DELETE FROM object WHERE name = 'web'";
    assert_eq!(db.execute(deleted, []).unwrap(), 1);
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    let page = reader.list(&all_rows()).unwrap();
    assert_eq!((page.total, page.rows.len()), (1, 1));
    let groups = reader.stats(&Filter::default(), &[GroupBy::Owner]).unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
}

#[test]
fn read_count_above_rows_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    for low in 0..40 {
        let event = Event {
            low,
            second: 1_764_671_445 + i64::from(low) * 3_600,
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", "web-1"));
    }
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    let deleted = reader.list(&all_rows()).unwrap().rows[7].id.clone();
    assert!(reader.get(&deleted).unwrap().is_some());
    // As where a page of the table is an old one.
    db.execute("DELETE FROM event WHERE key IN (SELECT key FROM event ORDER BY key DESC LIMIT 10 OFFSET 5)", [])
        .unwrap();
    let first = PageRequest {
        limit: 3,
        ..all_rows()
    };
    assert_eq!(
        reader.list(&first).unwrap().rows.len(),
        3,
        "complete up to the damage"
    );
    let is_damaged = |answer: Result<String, ReadError>| {
        assert!(matches!(answer, Err(ReadError::Corrupt(_))), "{answer:?}");
    };
    is_damaged(reader.list(&all_rows()).map(|page| format!("{page:?}")));
    is_damaged(reader.get(&deleted).map(|row| format!("{row:?}")));
    is_damaged(
        reader
            .stats(&Filter::default(), &[GroupBy::Kind])
            .map(|groups| format!("{groups:?}")),
    );
    is_damaged(
        reader
            .export(&Filter::default())
            .map(|export| format!("{export:?}")),
    );
    let now = Timestamp::from_secs(1_764_671_445);
    is_damaged(reader.status(now).map(|status| format!("{status:?}")));
}

/// A page of another table has other columns, or fewer.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "it writes what the recorder never does"
)]
fn read_name_that_is_not_a_text_is_corrupt() {
    for odd in [
        "UPDATE message_template SET body = NULL",
        "UPDATE event_class SET title = NULL",
        "UPDATE event_class SET kube_type = NULL",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        fixture::insert(&db, &Event::default().about("Pod", "shop", "web-1"));
        db.pragma_update(None, "writable_schema", true).unwrap();
        db.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ' TEXT NOT NULL', ' TEXT') WHERE type = 'table'",
            [],
        )
        .unwrap();
        db.close().unwrap();
        let db = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(db.execute(odd, []).unwrap(), 1);
        let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
        let page = reader.list(&all_rows());
        assert!(
            matches!(page, Err(ReadError::Corrupt(_))),
            "{odd}: {page:?}"
        );
    }
}

#[test]
fn read_unexpected_row_equals_view() {
    for odd in [
        "UPDATE event SET count = 1.5",
        "UPDATE event SET extra = x'00'",
        // Beyond the calendar, and beyond what a number holds.
        "UPDATE event SET last_offset_ms = 400000000000000",
        "UPDATE event SET first_offset_ms = 9223372036854775807",
        "UPDATE event SET first_offset_ms = -9000000000000000",
        "UPDATE event SET args = '[\"a\" ]'",
        "UPDATE event_class SET reason = 'a' || char(9, 10, 13, 8, 12, 27) || '\"b\\'",
        "UPDATE event_class SET title = x'fffe'",
        // Placeholders in names and arguments; only one of the columns of an imported row.
        "UPDATE object SET name = 'a' || char(2)",
        r#"UPDATE event SET args = '["\u0004","zz"]'"#,
        "UPDATE event SET imported_id = 'evt_x'",
        "UPDATE event SET imported_at = '2025-12-02T10:30:45.123Z'",
        "UPDATE message_template SET body = x'784f6620ff'",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        let event = Event {
            body: "\u{3} of \u{1}".to_owned(),
            args: vec!["x".to_owned()],
            ..Event::default()
        };
        fixture::insert(&db, &event.about("Pod", "shop", "web-1"));
        db.execute(odd, []).unwrap();
        let fast = Reader::open(&path, Duration::from_secs(30)).unwrap();
        let expected = reference::list(&db, &Filter::default());
        assert_eq!(expected.len(), 1, "{odd}");
        assert_eq!(fast.list(&all_rows()).unwrap().rows, expected, "{odd}");
        for search in ["web-1", "x of", "sched", "of we", "b\\"] {
            let request = PageRequest {
                filter: Filter {
                    search: Some(search.to_owned()),
                    ..Filter::default()
                },
                ..all_rows()
            };
            let found = fast.list(&request).unwrap().rows;
            assert_eq!(
                found,
                reference::list(&db, &request.filter),
                "{search} {odd}"
            );
        }
        let row = fast.get(&expected[0].id).unwrap();
        assert_eq!(row.as_ref(), expected.first(), "{odd}");
    }
}

#[test]
fn get_malformed_id_finds_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    fixture::insert(&fixture::create(&path), &Event::default());
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    for id in ["", "nonsense", "evt_20251202_103045_00000"] {
        assert_eq!(reader.get(id).unwrap(), None, "{id}");
    }
    assert!(reader.get("evt_20251202_103045_000000").unwrap().is_some());
}

fn all_rows() -> PageRequest {
    PageRequest {
        limit: 10,
        ..PageRequest::default()
    }
}

#[test]
fn committed_after_row_is_returned_once_and_new_if_inserted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube9.db");
    let db = fixture::create(&path);
    let event = |second: i64, name: &str| {
        let event = Event {
            second: START + second,
            ..Event::default()
        };
        event.about("Pod", "shop", name)
    };
    let first = event(0, "web-1");
    for event in [&first, &event(10, "web-2"), &event(20, "db")] {
        fixture::insert(&db, event);
    }
    let fold = |event: &Event| {
        let key = event.key().as_i64();
        db.execute("INSERT INTO change_log (event) VALUES (?)", [key])
            .unwrap();
    };
    fold(&first);
    let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
    let read_after = |since, filter: &Filter| {
        let committed = reader.committed_after(since, filter).unwrap();
        let read: Vec<(String, bool)> = committed
            .rows
            .into_iter()
            .map(|row| (row.row.object_name.unwrap(), row.updated))
            .collect();
        (read, committed.next)
    };
    let new = |name: &str| (name.to_owned(), false);
    let (all, position) = read_after(CommitSeq::START, &Filter::default());
    assert_eq!(all, [new("web-2"), new("db"), new("web-1")]);
    // Nothing was committed since; then a known row is updated.
    assert_eq!(
        read_after(position, &Filter::default()),
        (Vec::new(), position)
    );
    fold(&first);
    let (again, end) = read_after(position, &Filter::default());
    assert_eq!(again, [("web-1".to_owned(), true)]);
    // What the filter leaves out is passed by.
    let until = Filter {
        until: Some(Timestamp::from_secs(START + 20)),
        ..Filter::default()
    };
    let (of_range, at) = read_after(CommitSeq::START, &until);
    assert_eq!(of_range, [new("web-2"), new("web-1")]);
    assert_eq!(at, end);
    let of_another = Filter {
        namespaces: vec![Pattern::Exact("none".to_owned())],
        ..Filter::default()
    };
    assert_eq!(read_after(CommitSeq::START, &of_another), (Vec::new(), end));
}

#[test]
fn list_many_matching_objects_finds_rows() {
    // More than a list of ids holds, and more than are looked for one by one.
    for objects in [4_001, 20_001] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kube9.db");
        let db = fixture::create(&path);
        for (second, name) in [(0, "web-1"), (1, "db"), (2, "web-2")] {
            let event = Event {
                second: START + second,
                ..Event::default()
            };
            fixture::insert(&db, &event.about("Pod", "shop", name));
        }
        db.execute(
            "WITH RECURSIVE n(i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < ? + 7) \
             INSERT INTO object (scope, name) SELECT (SELECT id FROM scope), 'web-' || i FROM n",
            [objects],
        )
        .unwrap();
        let reader = Reader::open(&path, Duration::from_secs(30)).unwrap();
        let request = PageRequest {
            filter: Filter {
                names: vec![Pattern::parse("web-*").unwrap()],
                ..Filter::default()
            },
            ..all_rows()
        };
        let page = reader.list(&request).unwrap();
        let names: Vec<_> = page
            .rows
            .iter()
            .map(|row| row.object_name.as_deref().unwrap())
            .collect();
        assert_eq!(names, ["web-2", "web-1"], "{objects}");
        assert_eq!(page.total, 2, "{objects}");
    }
}
