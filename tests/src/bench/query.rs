//! Queries on a filled database: in process, and as `kube9-query` processes; next to an idle recorder and to one that
//! writes a thousand Events per second.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use kube9_db::read::{Filter, PageRequest, Reader};
use kube9_ingest::filter::SeverityOverrides;
use kube9_model::id::EventKey;
use kube9_model::time::Timestamp;
use kube9_recorder::config::ByteSize;
use kube9_store::config::{RetentionConfig, StorageConfig};
use rusqlite::{Connection, OpenFlags};

use super::data::{Delivery, END, Feed};
use super::latency::{FIRST_WATCH, PER_SECOND, Store};
use super::populate::{SavedDatabase, filled, item};
use super::process::{ProcessTimes, Runner};
use super::report::{Limit, Report};

/// Runs of each process; the median counts.
const TIMES: usize = 21;
/// Of those that take longer than [`SLOW_MS`].
const TIMES_SLOW: usize = 5;
const SLOW_MS: f64 = 100.0;
/// Longest time that a recorder writes next to the queries.
const BESIDE: Duration = Duration::from_secs(900);
/// Runs after the page cache was emptied.
const TIMES_COLD: usize = 3;

/// A page without a filter, and one row; the first up to [`SMALL_ROWS`], the second up to [`LARGE_ROWS`].
const FAST_MS: (f64, f64) = (5.0, 10.0);
/// A page of a filter on columns with its exact total, up to [`LARGE_ROWS`].
const COLUMN_MS: f64 = 25.0;
/// Any other filter, up to [`LARGE_ROWS`].
const OTHER_MS: f64 = 500.0;
const SMALL_ROWS: u64 = 250_000;
const LARGE_ROWS: u64 = 1_500_000;
const PEAK_KIB: f64 = 12_288.0;
/// Of an empty static C program, for `--version`.
const VERSION_RATIO: f64 = 2.0;
/// Of bare SQLite on the same rows, in process, up to [`LARGE_ROWS`].
const BARE_RATIO: f64 = 2.0;

/// A query: its name, its arguments and its limit.
struct Question {
    name: &'static str,
    args: Vec<String>,
    limit: Limit,
}

/// Fills a database, or uses the one in `keep`, and runs every query.
pub fn run(
    seed: u64,
    events: usize,
    (binary, keep): (&Path, Option<&Path>),
    report: &mut Report,
) -> anyhow::Result<Vec<(String, f64)>> {
    let saved = filled(seed, events, keep)?;
    report.group(format!("query: {} rows", saved.rows));
    let (path, rows) = (saved.path(), saved.rows);
    // A copy, because it is written to below.
    let copy = copy_of(&saved)?;
    in_process(copy.path(), rows, report)?;
    let runner = match Runner::new() {
        Ok(runner) => runner,
        Err(error) => {
            report.note(format!("processes were skipped: {error:#}"));
            return Ok(Vec::new());
        }
    };
    let points = processes(&runner, binary, &path, rows, report)?;
    query_during_load(&runner, binary, (seed, rows), copy.path(), report)?;
    Ok(points)
}

/// A copy of a closed database in a directory of its own.
fn copy_of(saved: &SavedDatabase) -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    std::fs::copy(saved.path(), dir.path().join("kube9.db"))?;
    Ok(dir)
}

/// A recorder's store that deletes nothing.
fn store(directory: &Path) -> anyhow::Result<Store> {
    let for_ever = Duration::from_secs(3650 * 86_400);
    let retention = RetentionConfig {
        info_warning: for_ever,
        error_critical: for_ever,
        ..RetentionConfig::default()
    };
    let storage = StorageConfig {
        max_bytes: Some(ByteSize::mib(1 << 20)),
    };
    Store::start(directory, retention, &storage)
}

/// The same questions while a recorder writes.
fn query_during_load(
    runner: &Runner,
    binary: &Path,
    (seed, rows): (u64, u64),
    directory: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let path = directory.join("kube9.db");
    let asked = questions(&path, rows)?;
    let store = store(directory)?;
    let overrides = SeverityOverrides::default();
    let events = PER_SECOND * BESIDE.as_secs() as usize;
    // Of the same thirty days, so that every query finds more rows.
    let items = Feed::new(seed + 1, events)
        .filter(|(_, delivery)| matches!(delivery, Delivery::Event(_)))
        .map_while(|(at, delivery)| item(FIRST_WATCH, at, delivery, &overrides).ok());
    let done = AtomicBool::new(false);
    let (answers, written, took) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let begun = Instant::now();
            let pushes = store.push(items, || !done.load(Ordering::Relaxed));
            (pushes.at.len(), begun.elapsed())
        });
        std::thread::sleep(Duration::from_secs(1));
        let answers: anyhow::Result<Vec<(Question, ProcessTimes)>> = asked
            .into_iter()
            .map(|question| {
                let runs = ask(runner, binary, &path, &question)?;
                Ok((question, runs))
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        let (written, took) = writer
            .join()
            .map_err(|_| anyhow::anyhow!("the pushing thread panicked"))?;
        anyhow::Ok((answers?, written, took))
    })?;
    store.stop()?;
    report.group(format!(
        "query: {rows} rows and more, next to a recorder that writes {:.0} Events per second",
        written as f64 / took.as_secs_f64()
    ));
    let mut peak = 0;
    for (question, runs) in answers {
        peak = peak.max(runs.peak_kib);
        add(report, &question, &runs);
    }
    report.add(
        "process: peak memory",
        peak as f64,
        "KiB",
        Limit::AtMost(PEAK_KIB),
    );
    Ok(())
}

/// Runs a query repeatedly; slow ones fewer times.
fn ask(
    runner: &Runner,
    binary: &Path,
    path: &Path,
    question: &Question,
) -> anyhow::Result<ProcessTimes> {
    let mut args = question.args.clone();
    args.extend([
        "--db".to_owned(),
        path.display().to_string(),
        "--format=json".to_owned(),
    ]);
    let runs = runner.run(TIMES_SLOW, binary, &args, 0)?;
    if runs.cpu() > SLOW_MS {
        return Ok(runs);
    }
    runner.run(TIMES, binary, &args, 0)
}

fn add(report: &mut Report, question: &Question, runs: &ProcessTimes) {
    report.add(
        format!(
            "process: {} (fastest {:.1}, CPU {:.1})",
            question.name,
            runs.fastest(),
            runs.cpu()
        ),
        runs.median(),
        "ms",
        question.limit,
    );
}

/// Peak memory of each kind of question.
pub fn memory(seed: u64, events: usize, binary: &Path, report: &mut Report) -> anyhow::Result<()> {
    let filled = filled(seed, events, None)?;
    let path = filled.path();
    report.group(format!(
        "query: peak memory, one process per query, {} rows",
        filled.rows
    ));
    let runner = Runner::new()?;
    let asked = questions(&path, filled.rows)?
        .into_iter()
        .map(|question| (question.name, question.args));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let further = [
        ("status", words(&["status"])),
        (
            "stats by reason",
            words(&["events", "stats", "--by=reason"]),
        ),
        ("timeline", words(&["events", "timeline"])),
        ("list 1000", words(&["events", "list", "--limit=1000"])),
    ];
    for (name, args) in asked.chain(further) {
        let mut args: Vec<String> = args;
        args.extend([
            "--db".to_owned(),
            path.display().to_string(),
            "--format=json".to_owned(),
        ]);
        let runs = runner.run(3, binary, &args, 0)?;
        report.add(name, runs.peak_kib as f64, "KiB", Limit::AtMost(PEAK_KIB));
    }
    Ok(())
}

/// Median of several calls, in microseconds.
fn micros(times: usize, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    work()?; // warm
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        work()?;
        all.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[times / 2])
}

/// Next to an idle recorder, as usual for a reader. Without one, SQLite's read-only access to the WAL drops the page
/// cache after every transaction, also for a plain SELECT.
fn in_process(directory: &Path, rows: u64, report: &mut Report) -> anyhow::Result<()> {
    let path = &directory.join("kube9.db");
    let store = store(directory)?;
    let measured = compare(path, rows, report);
    store.stop()?;
    measured
}

/// The limit of a database of so many rows: larger ones have none.
fn within(rows: u64, most: f64) -> Limit {
    if rows > LARGE_ROWS {
        Limit::None
    } else {
        Limit::AtMost(most)
    }
}

fn compare(path: &Path, rows: u64, report: &mut Report) -> anyhow::Result<()> {
    let reader = Reader::open(path, Duration::from_secs(30))?;
    let bare = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let key: i64 = bare.query_row(
        "SELECT key FROM event ORDER BY key DESC LIMIT 1 OFFSET 5000",
        [],
        |row| row.get(0),
    )?;
    let id = EventKey::from_i64(key).to_string();
    let get = micros(501, || {
        reader.get(&id)?.context("the row is there")?;
        Ok(())
    })?;
    let mut by_key = bare.prepare("SELECT * FROM event_detail WHERE key = ?1")?;
    let bare_get = micros(501, || {
        by_key.query_row([key], |row| row.get::<_, String>(1))?;
        Ok(())
    })?;
    let request = PageRequest {
        limit: 100,
        ..PageRequest::default()
    };
    let list = micros(201, || {
        anyhow::ensure!(reader.list(&request)?.rows.len() == 100);
        Ok(())
    })?;
    let mut newest = bare.prepare("SELECT * FROM event_detail ORDER BY key DESC LIMIT 100")?;
    let bare_list = micros(201, || {
        let rows = newest.query_map([], |row| row.get::<_, String>(1))?;
        rows.collect::<Result<Vec<_>, _>>()?;
        Ok(())
    })?;
    for (name, ours, bare) in [("get", get, bare_get), ("list 100", list, bare_list)] {
        report.add(format!("in process: {name}"), ours, "µs", Limit::None);
        report.add(
            format!("in process: {name}, relative to a plain SELECT ({bare:.0} µs)"),
            ours / bare,
            "×",
            within(rows, BARE_RATIO),
        );
    }
    Ok(())
}

fn processes(
    runner: &Runner,
    binary: &Path,
    path: &Path,
    rows: u64,
    report: &mut Report,
) -> anyhow::Result<Vec<(String, f64)>> {
    let floor = runner.run(TIMES * 5, runner.empty(), &[], 0)?;
    let version = runner.run(TIMES * 5, binary, &["--version".to_owned()], 0)?;
    report.add(
        "process: empty static C program",
        floor.median(),
        "ms",
        Limit::None,
    );
    report.add("process: --version", version.median(), "ms", Limit::None);
    report.add(
        "process: --version, relative to the C program",
        version.fastest() / floor.fastest(),
        "×",
        Limit::AtMost(VERSION_RATIO),
    );
    let mut points = Vec::new();
    let mut peak = 0;
    for question in questions(path, rows)? {
        let runs = ask(runner, binary, path, &question)?;
        peak = peak.max(runs.peak_kib);
        add(report, &question, &runs);
        points.push((question.name.to_owned(), runs.cpu()));
    }
    for question in questions(path, rows)?.into_iter().take(2) {
        let mut args = question.args;
        args.extend([
            "--db".to_owned(),
            path.display().to_string(),
            "--format=json".to_owned(),
        ]);
        let mut all = Vec::new();
        for _ in 0..TIMES_COLD {
            empty_page_cache(path)?;
            all.push(runner.run(1, binary, &args, 0)?.fastest());
        }
        all.sort_by(f64::total_cmp);
        report.add(
            format!("process, cold page cache: {}", question.name),
            all[TIMES_COLD / 2],
            "ms",
            Limit::None,
        );
    }
    report.add(
        "process: peak memory",
        peak as f64,
        "KiB",
        Limit::AtMost(PEAK_KIB),
    );
    Ok(points)
}

/// The database must not be open.
fn empty_page_cache(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

/// Queries with average values: neither the largest namespace nor the rarest reason.
fn questions(path: &Path, rows: u64) -> anyhow::Result<Vec<Question>> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let text = |sql: &str| -> anyhow::Result<String> {
        conn.query_row(sql, [], |row| row.get(0))
            .with_context(|| sql.to_owned())
    };
    let middle = |what: &str, from: &str| -> anyhow::Result<String> {
        text(&format!(
            "WITH c AS (SELECT {what} AS v, count(*) AS n FROM {from} GROUP BY 1 HAVING v <> '' ORDER BY n DESC) \
             SELECT v FROM c LIMIT 1 OFFSET (SELECT count(*) / 4 FROM c)"
        ))
    };
    let object = "event e JOIN object o ON o.id = e.object JOIN scope s ON s.id = o.scope";
    let namespace = middle("s.namespace", object)?;
    let name = middle("o.name", &format!("{object} WHERE s.kind = 'Pod'"))?;
    let reason = middle("r.reason", "event e JOIN event_class r ON r.id = e.class")?;
    let node = middle("n.name", "event e JOIN node n ON n.id = e.node")?;
    let id_of = |place: u64| -> anyhow::Result<String> {
        let key: i64 = conn.query_row(
            "SELECT key FROM event ORDER BY key LIMIT 1 OFFSET ?1",
            [place as i64],
            |row| row.get(0),
        )?;
        Ok(EventKey::from_i64(key).to_string())
    };
    let day_before_end = Timestamp::from_secs(END.second() - 86_400).to_string();
    let week_before_end = Timestamp::from_secs(END.second() - 7 * 86_400).to_string();
    let deep = deep_cursor(path, rows / 2)?;

    let quick = within(
        rows,
        if rows > SMALL_ROWS {
            FAST_MS.1
        } else {
            FAST_MS.0
        },
    );
    let (column, other) = (within(rows, COLUMN_MS), within(rows, OTHER_MS));
    let list = |name: &'static str, limit: Limit, args: &[&str]| Question {
        name,
        args: ["events", "list"]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect(),
        limit,
    };
    let flag = |key: &str, value: &str| format!("--{key}={value}");
    let (namespace, name, reason, node) = (
        flag("object-namespace", &namespace),
        flag("object-name", &name),
        flag("reason", &reason),
        flag("node", &node),
    );
    let (day, week) = (
        flag("since", &day_before_end),
        flag("since", &week_before_end),
    );
    Ok(vec![
        list("list 25", quick, &["--limit=25"]),
        Question {
            name: "get",
            args: vec!["events".into(), "get".into(), id_of(rows / 3)?],
            limit: quick,
        },
        list("list 100", quick, &["--limit=100"]),
        list("--type=cluster", column, &["--type=cluster"]),
        list("--type=health (none)", column, &["--type=health"]),
        list("--severity=info", column, &["--severity=info"]),
        list("--severity=error", column, &["--severity=error"]),
        list("--severity=critical", column, &["--severity=critical"]),
        list("--object-namespace", column, &[&namespace]),
        list("--object-kind=Pod", column, &["--object-kind=Pod"]),
        list("--object-kind=Node", column, &["--object-kind=Node"]),
        list("--object-name (exact)", column, &[&name]),
        list("--since (a day)", column, &[&day]),
        list("--since (a week)", column, &[&week]),
        list("since and namespace", column, &[&week, &namespace]),
        list(
            "severity, kind, namespace, since",
            column,
            &[
                "--severity=warning+",
                "--object-kind=Pod",
                &namespace,
                &week,
            ],
        ),
        list(
            "severity, kind, namespace, since a day",
            column,
            &["--severity=warning+", "--object-kind=Pod", &namespace, &day],
        ),
        list(
            "severity=error, namespace",
            column,
            &["--severity=error", &namespace],
        ),
        list(
            "all columns and a name",
            column,
            &[
                "--type=cluster",
                "--severity=warning+",
                "--object-kind=Pod",
                &namespace,
                &name,
                &week,
            ],
        ),
        list(
            "a name that nothing has",
            column,
            &["--object-name=no-such-object"],
        ),
        list("deep page by cursor", column, &["--after", &deep]),
        list("--reason", other, &[&reason]),
        list("--node", other, &[&node]),
        list(
            "--object-name (glob, middle)",
            other,
            &["--object-name=*payment*"],
        ),
        list("--search", other, &["--search=probe failed"]),
        list("--search (nothing)", other, &["--search=no such words"]),
    ])
}

/// The cursor at about this row.
fn deep_cursor(path: &Path, row: u64) -> anyhow::Result<String> {
    let reader = Reader::open(path, Duration::from_secs(30))?;
    let page = reader.list(&PageRequest {
        filter: Filter::default(),
        limit: 1,
        offset: row,
        after: None,
    })?;
    Ok(page.next.context("the result has no cursor")?.to_string())
}
