//! Questions about changes, as whole processes, beside a large record: `changes`, `object get|history|diff|blame`,
//! `findings`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use kube9_model::time::Timestamp;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::object::ApiObject;
use super::path::ChangePath;
use super::{KUBECTL, SCALE, deployment};
use crate::bench::data::END;
use crate::bench::populate::filled;
use crate::bench::process::Runner;
use crate::bench::report::{Limit, Report};
use crate::generator::Rng;

const NAMESPACES: usize = 8;
/// Objects of a namespace.
const OBJECTS: usize = 500;
/// Writes of the whole run, over thirty days.
const WRITES: usize = 200_000;
const DAYS: u64 = 30;
/// Commits of the writer.
const BATCH: usize = 500;

/// Whole process, with up to 1M rows and 200,000 revisions.
const QUICK_MS: f64 = 10.0;
/// What reads the rows of a day.
const DAY_MS: f64 = 50.0;
/// What reads the rows of a week or more.
const ALL_MS: f64 = 500.0;
/// The story of a workload.
const STORY_MS: f64 = 50.0;
/// The objects of a namespace at two times.
const NAMESPACE_MS: f64 = 200.0;
const PEAK_KIB: f64 = 32.0 * 1024.0;
/// Runs of each process; the median counts.
const TIMES: usize = 21;

/// Fills a database with events and with revisions, and asks.
pub fn run(
    seed: u64,
    events: usize,
    (binary, keep): (&Path, Option<&Path>),
    report: &mut Report,
) -> anyhow::Result<()> {
    let saved = filled(seed, events, keep)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kube9.db");
    std::fs::copy(saved.path(), &path)?;
    fill(seed, folder.path())?;
    let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let count = |table: &str| -> anyhow::Result<u64> {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = conn.query_row(&sql, [], |row| row.get(0))?;
        Ok(rows.unsigned_abs())
    };
    let (rows, revisions) = (count("event")?, count("revision")?);
    ensure!(revisions > WRITES as u64 * 9 / 10, "{revisions} revisions");
    drop(conn);
    report.group(format!("changes: {rows} rows, {revisions} revisions"));
    let runner = Runner::new().context("the processes cannot be measured")?;
    let mut peak = 0;
    for (name, args, most) in questions() {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args.extend([
            "--db".to_owned(),
            path.display().to_string(),
            "--format=json".to_owned(),
        ]);
        let runs = runner.run(TIMES, binary, &args, 0)?;
        peak = peak.max(runs.peak_kib);
        report.add(
            format!(
                "process: {name} (fastest {:.1}, CPU {:.1}, {:.1} MiB)",
                runs.fastest(),
                runs.cpu(),
                runs.peak_kib as f64 / 1024.0
            ),
            runs.median(),
            "ms",
            Limit::AtMost(most),
        );
    }
    report.add(
        "process: peak memory",
        peak as f64,
        "KiB",
        Limit::AtMost(PEAK_KIB),
    );
    Ok(())
}

fn fill(seed: u64, folder: &Path) -> anyhow::Result<()> {
    let mut rng = Rng::new(seed);
    let mut path = ChangePath::new(folder)?;
    let mut objects: Vec<ApiObject> = (0..NAMESPACES * OBJECTS)
        .map(|n| {
            let (namespace, name) = (n / OBJECTS, n % OBJECTS);
            deployment(
                &format!("team-{namespace}"),
                &format!("web-{name}"),
                &mut rng,
            )
        })
        .collect();
    let begin = END - Duration::from_secs(DAYS * 86_400);
    let mut listed: Vec<&mut ApiObject> = objects.iter_mut().collect();
    let source = path.track(("deployments", ""), &mut listed, begin)?;
    let pause = Duration::from_secs(DAYS * 86_400) / WRITES as u32;
    let mut now = begin;
    for n in 0..WRITES {
        now = now + pause;
        // Each object in turn, so that none has more changes than its budget.
        let object = &mut objects[n * 7 % (NAMESPACES * OBJECTS)];
        if n % 3 == 0 {
            object.edit(SCALE, now, &["spec", "replicas"], Some(json!(2 + n % 97)));
        } else {
            let image = [
                "spec",
                "template",
                "spec",
                "containers",
                "name=app",
                "image",
            ];
            object.edit(
                KUBECTL,
                now,
                &image,
                Some(json!(format!("example.com/web:v{n}"))),
            );
        }
        let line = object.line("MODIFIED", path.next_version());
        path.receive(source, &line, now)?;
        if n % BATCH == BATCH - 1 {
            path.commit(now)?;
        }
    }
    path.commit(now).map(drop)
}

fn time(before_end: Duration) -> String {
    let at = END - before_end;
    Timestamp::from_millis(at.0 / 1000).to_string()
}

fn questions() -> Vec<(&'static str, Vec<String>, f64)> {
    let days = |days: u64| time(Duration::from_secs(days * 86_400));
    let question = |name: &'static str, args: &[&str], most: f64| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        (name, args, most)
    };
    let (day, week, month) = (
        format!("--since={}", days(1)),
        format!("--since={}", days(7)),
        format!("--since={}", days(DAYS + 1)),
    );
    let (at, from) = (format!("--at={}", days(10)), format!("--from={}", days(2)));
    let (to, until) = (format!("--to={}", days(1)), format!("--until={}", days(0)));
    let web = "deploy/web-7/team-3";
    vec![
        question("changes of a day", &["changes", &day], QUICK_MS),
        question("changes of an object", &["changes", web, &month], QUICK_MS),
        question("changes of all time", &["changes", &month], QUICK_MS),
        question(
            "changes of a day, --path",
            &["changes", &day, "--path=**.image"],
            DAY_MS,
        ),
        question(
            "changes of a week, --by",
            &["changes", &week, "--by=kubectl*"],
            ALL_MS,
        ),
        question("object get", &["object", "get", web], QUICK_MS),
        question("object get --at", &["object", "get", web, &at], QUICK_MS),
        question("object history", &["object", "history", web], QUICK_MS),
        question("object blame", &["object", "blame", web], QUICK_MS),
        question(
            "object diff",
            &["object", "diff", web, &from, &to],
            QUICK_MS,
        ),
        question(
            "object diff of a namespace",
            &["object", "diff", "--object-namespace=team-3", &from, &to],
            NAMESPACE_MS,
        ),
        question("story", &["story", web, &until], STORY_MS),
        question("findings of a day", &["findings", &day], DAY_MS),
        question("findings of a week", &["findings", &week], ALL_MS),
    ]
}
