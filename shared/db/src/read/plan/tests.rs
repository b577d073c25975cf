//! Every access path returns the same rows, and every statement has the plan for which it was written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::{Connection, params_from_iter};

use crate::read::count_index;
use crate::read::filter::{Filter, KindPattern, Pattern};
use crate::read::page_builder::PageBuilder;
use crate::read::plan::AccessPath;
use crate::read::resolve::{self, ObjectSet, ResolvedFilter};
use crate::read::row_scan::{IndexHint, RowScan};
use crate::read::sql::{Sql, list};
use crate::read::tests::fixture::{self, Event};
use kube9_model::time::Timestamp;
use kube9_model::{EventType, Severity};

const START: i64 = 1_764_633_600 - 7_200;

/// Three days with one hour of many events.
fn crowded(seed: u64) -> Vec<Event> {
    let mut state = seed | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    (0..1_500)
        .map(|i| {
            let second = if next(3) == 0 {
                START + 9_000 + next(60) as i64
            } else {
                START + next(3 * 86_400) as i64
            };
            let event = Event {
                second,
                low: i,
                kind: if next(12) == 0 { 1 + next(5) as i64 } else { 0 },
                severity: [0, 0, 0, 0, 0, 0, 1, 1, 2, 3][next(10) as usize],
                last_ms: if next(40) == 0 {
                    700_000 + next(90_000_000) as i64
                } else {
                    next(600_000) as i64
                },
                ..Event::default()
            };
            match next(8) {
                0 => event,
                n => event.about(
                    ["Pod", "Node"][(n % 2) as usize],
                    ["shop", "default"][next(2) as usize],
                    &format!("web-{}", next(150)),
                ),
            }
        })
        .collect()
}

fn filters() -> impl Strategy<Value = Filter> {
    let moment = || {
        (START - 1_000..START + 3 * 86_400 + 1_000)
            .prop_map(|s| Some(Timestamp::from_millis(s * 1000 + 500)))
    };
    let times = prop_oneof![
        Just((None, None)),
        (moment(), moment()).prop_map(|(a, b)| (
            a.min(b),
            a.max(b).map(|t| Timestamp::from_millis(t.millis() + 1))
        )),
        moment().prop_map(|since| (since, None)),
    ];
    let types = prop::sample::select(vec![
        vec![],
        vec![EventType::Operator, EventType::Health],
        vec![EventType::Cluster],
    ]);
    let severities = prop::sample::select(vec![
        vec![],
        vec![Severity::Critical],
        vec![Severity::Error, Severity::Critical],
        vec![Severity::Info],
    ]);
    let namespaces = prop::sample::select(vec![vec![], vec!["shop"], vec!["s*", "default"]]);
    let names = prop::sample::select(vec![vec![], vec!["web-1"], vec!["web-1*"], vec!["web-*"]]);
    let parse = |words: Vec<&str>| {
        words
            .into_iter()
            .map(|word| Pattern::parse(word).unwrap())
            .collect()
    };
    (times, types, severities, namespaces, names).prop_map(
        move |((since, until), types, severities, namespaces, names)| Filter {
            since,
            until,
            types,
            severities,
            namespaces: parse(namespaces),
            names: parse(names),
            ..Filter::default()
        },
    )
}

/// The access paths that are possible for a filter.
fn access_paths(connection: &Connection, resolved: &ResolvedFilter) -> Vec<AccessPath> {
    let mut access_paths = vec![AccessPath::Scan];
    if resolved.is_countable() {
        access_paths.push(AccessPath::Hours);
    }
    let rare = |set: &Option<Vec<i64>>, least| {
        set.clone()
            .filter(|all| all.iter().all(|&code| code >= least))
    };
    access_paths.extend(rare(&resolved.types, 1).map(AccessPath::Types));
    access_paths.extend(rare(&resolved.severities, 2).map(AccessPath::Severities));
    match (&resolved.objects, &resolved.scopes) {
        (ObjectSet::Few(ids, _), _) => access_paths.push(AccessPath::Objects(ids.clone())),
        (ObjectSet::Any, Some(scopes)) => {
            let sql = format!(
                "SELECT id FROM object WHERE scope IN {}",
                list(scopes.iter().copied())
            );
            access_paths.push(AccessPath::Objects(
                resolve::ids(connection, &Sql::new(sql)).unwrap(),
            ));
        }
        _ => {}
    }
    access_paths
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn access_paths_return_same_page_and_total(
        seed in any::<u64>(),
        questions in prop::collection::vec((filters(), 0_u64..400, 1_usize..60), 12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let db = fixture::create(&dir.path().join("kube9.db"));
        db.execute_batch("BEGIN").unwrap();
        crowded(seed).iter().for_each(|event| fixture::insert(&db, event));
        db.execute_batch("COMMIT").unwrap();
        for (filter, skip, take) in &questions {
            let resolved = ResolvedFilter::new(&db, filter).unwrap();
            let mut answers = BTreeMap::new();
            for way in access_paths(&db, &resolved) {
                let name = format!("{way:?}");
                let scan = RowScan::with_access_path(&db, &resolved, way).unwrap();
                let mut page = PageBuilder::new(i64::MAX, *skip, *take);
                scan.fill_page(&mut page).unwrap();
                // From the middle of the page on, by its key.
                let mut rest = Vec::new();
                if let Some(&key) = page.keys.get(page.keys.len() / 2) {
                    let rows = page.keys.len() - page.keys.len() / 2 - 1;
                    let mut after = PageBuilder::new(key, 0, rows);
                    scan.fill_page(&mut after).unwrap();
                    prop_assert_eq!(after.total, page.total);
                    rest = after.keys;
                }
                prop_assert!(page.keys.ends_with(&rest), "{}", name);
                let mut visited = 0;
                scan.for_each("e.type", &mut |_| { visited += 1; Ok(()) }).unwrap();
                prop_assert_eq!(visited, page.total, "{}", name);
                answers.insert(name, (page.keys, page.total));
            }
            let first = answers.values().next().unwrap().clone();
            prop_assert!(answers.values().all(|answer| *answer == first), "{:?}: {:?}", filter, answers);
        }
    }
}

/// The plan of SQLite.
fn plan(connection: &Connection, text: &str, values: &[rusqlite::types::Value]) -> String {
    let mut statement = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {text}"))
        .unwrap();
    let steps = statement
        .query_map(params_from_iter(values), |row| row.get::<_, String>(3))
        .unwrap();
    steps.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
}

#[test]
fn select_plan_uses_the_hinted_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = fixture::create(&dir.path().join("kube9.db"));
    crowded(7)
        .iter()
        .take(200)
        .for_each(|event| fixture::insert(&db, event));
    let filter = Filter {
        types: vec![EventType::Operator],
        severities: vec![Severity::Critical],
        since: Some(Timestamp::from_secs(START)),
        ..Filter::default()
    };
    let resolved = ResolvedFilter::new(&db, &filter).unwrap();
    let scan = RowScan::with_access_path(&db, &resolved, AccessPath::Scan).unwrap();
    let main = resolved.ranges.main;
    for (visit, expected) in [
        (
            IndexHint::KeyOrder,
            "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            IndexHint::Long,
            "SEARCH e USING INDEX idx_events_long (key>? AND key<?)",
        ),
        (
            IndexHint::Objects(&[1]),
            "SEARCH e USING INDEX idx_events_object (object=? AND rowid>? AND rowid<?); \
             LIST SUBQUERY 1; SCAN json_each VIRTUAL TABLE INDEX 1:",
        ),
        (
            IndexHint::Types(&[4]),
            "SEARCH e USING INDEX idx_events_type (type=? AND rowid>? AND rowid<?)",
        ),
        (
            IndexHint::Severities(&[3]),
            "SEARCH e USING INDEX idx_events_severity (severity=? AND rowid>? AND rowid<?)",
        ),
    ] {
        let mut sql = scan.select("e.key", visit, main, false);
        if matches!(visit, IndexHint::KeyOrder | IndexHint::Long) {
            sql.push(" ORDER BY e.key DESC");
        }
        // A sort would show as a temporary b-tree.
        assert_eq!(plan(&db, &sql.text, &sql.values), expected, "{visit:?}");
    }
    let everything = ResolvedFilter::new(&db, &Filter::default()).unwrap();
    let scan = RowScan::with_access_path(&db, &everything, AccessPath::Scan).unwrap();
    let sql = scan.select("count(*)", IndexHint::Objects(&[1, 2, 3]), main, false);
    assert_eq!(
        plan(&db, &sql.text, &sql.values),
        "SEARCH e USING COVERING INDEX idx_events_object (object=? AND rowid>? AND rowid<?); \
         LIST SUBQUERY 1; SCAN json_each VIRTUAL TABLE INDEX 1:"
    );
}

/// Whether a step of a plan reads only the hinted index of `event`, small tables, or the one row that a search decodes.
fn is_expected(step: &str, visit: &str) -> bool {
    const SMALL: [&str; 6] = [
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
        "SCAN r",
        "SCAN n",
        "SCAN s",
        "SEARCH n USING COVERING INDEX sqlite_autoindex_node_1",
        "SEARCH r USING COVERING INDEX sqlite_autoindex_event_class_1",
    ];
    step.starts_with(visit)
        || SMALL.iter().any(|small| step.starts_with(small))
        || step == "CREATE BLOOM FILTER"
        || step.starts_with("LIST SUBQUERY")
        || step.starts_with("CORRELATED SCALAR SUBQUERY")
        || step == "SEARCH o USING INTEGER PRIMARY KEY (rowid=?)"
        || step == "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)"
        || step == "SEARCH e USING INTEGER PRIMARY KEY (rowid=?)"
        || step.ends_with("USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN")
}

#[test]
fn select_plan_any_filter_scans_only_the_hinted_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = fixture::create(&dir.path().join("kube9.db"));
    crowded(11)
        .iter()
        .take(300)
        .for_each(|event| fixture::insert(&db, event));
    let parse = |words: &[&str]| {
        words
            .iter()
            .map(|word| Pattern::parse(word).unwrap())
            .collect::<Vec<_>>()
    };
    const PROPERTIES: u32 = 11;
    let mut looked_at = 0;
    for asked in 0_u32..1 << PROPERTIES {
        let has = |bit: u32| asked & 1 << bit != 0;
        let when = |bit: u32, patterns: &[&str]| if has(bit) { parse(patterns) } else { vec![] };
        let filter = Filter {
            types: if has(0) {
                vec![EventType::Operator, EventType::System]
            } else {
                vec![]
            },
            severities: match (has(1), has(2)) {
                (false, _) => vec![],
                (true, false) => vec![Severity::Warning, Severity::Error, Severity::Critical],
                (true, true) => vec![Severity::Critical],
            },
            since: has(3).then(|| Timestamp::from_secs(START + 7_000)),
            until: has(4).then(|| Timestamp::from_secs(START + 90_000)),
            kinds: when(5, &["Pod"])
                .into_iter()
                .map(KindPattern::from)
                .collect(),
            namespaces: when(6, &["shop", "default"]),
            names: when(7, &["web-1*"]),
            reasons: when(8, &["Scheduled"]),
            nodes: when(9, &["node-1"]),
            search: has(10).then(|| "pod web".to_owned()),
            ..Filter::default()
        };
        let resolved = ResolvedFilter::new(&db, &filter).unwrap();
        let visits = [
            (
                IndexHint::KeyOrder,
                "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            ),
            (IndexHint::Long, "SEARCH e USING "),
            (IndexHint::Objects(&[1, 2, 3]), "SEARCH e USING "),
            (IndexHint::Types(&[1, 5]), "SEARCH e USING "),
            (IndexHint::Severities(&[2, 3]), "SEARCH e USING "),
        ];
        let scan = RowScan::with_access_path(&db, &resolved, AccessPath::Scan).unwrap();
        for (visit, expected) in visits {
            for (columns, ordered) in [("count(*)", false), ("e.key", true)] {
                let mut sql = scan.select(columns, visit, resolved.ranges.main, has(3));
                // Rows of the other indexes are in any order; these come in key order without a sort.
                if ordered && matches!(visit, IndexHint::KeyOrder | IndexHint::Long) {
                    sql.push(" ORDER BY e.key DESC");
                }
                for step in plan(&db, &sql.text, &sql.values).split("; ") {
                    assert!(is_expected(step, expected), "{visit:?} {filter:?}: {step}");
                }
                looked_at += 1;
            }
        }
        let hours = count_index::hours_sql(&resolved);
        assert_eq!(
            plan(&db, &hours, &[0.into(), 1.into()]),
            "SEARCH row_counts USING PRIMARY KEY (bucket_seconds=? AND bucket_start>? AND bucket_start<?)"
        );
        assert_eq!(
            plan(&db, &count_index::days_sql(&resolved), &[]),
            "SEARCH row_counts USING PRIMARY KEY (bucket_seconds=?)"
        );
    }
    assert_eq!(looked_at, 10 << PROPERTIES);
}

/// The index of long rows alone shows which of them reach into a range.
#[test]
fn select_long_rows_uses_covering_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = fixture::create(&dir.path().join("kube9.db"));
    let filter = Filter {
        since: Some(Timestamp::from_secs(START)),
        ..Filter::default()
    };
    let resolved = ResolvedFilter::new(&db, &filter).unwrap();
    let scan = RowScan::with_access_path(&db, &resolved, AccessPath::Scan).unwrap();
    let sql = scan.select("e.key", IndexHint::Long, resolved.ranges.older, true);
    assert_eq!(
        plan(&db, &sql.text, &sql.values),
        "SEARCH e USING COVERING INDEX idx_events_long (key>? AND key<?)"
    );
}

#[test]
fn object_lookup_uses_index() {
    let dir = tempfile::tempdir().unwrap();
    let db = fixture::create(&dir.path().join("kube9.db"));
    let sql = "SELECT o.id FROM scope s CROSS JOIN object o ON o.scope = s.id WHERE s.id IN (1,2) AND o.name = ?";
    assert_eq!(
        plan(&db, sql, &["x".to_owned().into()]),
        "SEARCH s USING INTEGER PRIMARY KEY (rowid=?); \
         SEARCH o USING COVERING INDEX sqlite_autoindex_object_1 (scope=? AND name=?)"
    );
}
