//! Time to rebuild the oldest of 64 states of an object whose body has 64 KiB.

use std::time::Duration;

use anyhow::{Context, ensure};
use kube9_db::read::Reader;
use kube9_db::read::revision::REBUILD;
use kube9_model::change::stored::Stored;
use serde_json::{Map, Value, json};

use super::object::ApiObject;
use super::path::ChangePath;
use super::{BEGIN, CREATED, KUBECTL};
use crate::bench::populate::Spending;
use crate::bench::report::{Limit, Report};
use crate::generator::Rng;

const MILLIS_MAX: f64 = 50.0;

const STATES: usize = 64;
const RUNS: usize = 11;

/// Keys of its labels; with values of 60 characters the body nearly has its largest size.
const LABELS: usize = 750;

fn value(key: usize, state: usize) -> Value {
    json!(format!("{key:04}-{state:04}-{}", "x".repeat(49)))
}

pub(super) fn run(seed: u64, report: &mut Report) -> anyhow::Result<()> {
    // The second: patches as large together as they may be before a whole body is stored.
    for (name, changed) in [("one field changed", 1), ("20 fields changed", 20)] {
        one(seed, name, changed, report)?;
    }
    Ok(())
}

fn one(seed: u64, name: &str, changed: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut rng = Rng::new(seed);
    let folder = tempfile::tempdir()?;
    let mut path = ChangePath::new(folder.path())?;
    let labels: Map<String, Value> = (0..LABELS)
        .map(|key| (format!("example.com/label-{key}"), value(key, 0)))
        .collect();
    let content = json!({ "metadata": { "labels": labels }, "spec": { "podSelector": {} } });
    let type_of = ("networking.k8s.io/v1", "NetworkPolicy");
    let mut object = ApiObject::new(
        type_of,
        ("shop", "wide"),
        content,
        KUBECTL,
        CREATED,
        &mut rng,
    );
    let source = path.track(("networkpolicies", ""), &mut [&mut object], BEGIN)?;
    let mut now = BEGIN;
    let mut truth = vec![object.json["metadata"]["labels"].clone()];
    for state in 1..STATES {
        now = now + Duration::from_secs(900);
        for n in 0..changed {
            let key = (state * changed + n) % LABELS;
            let label = format!("example.com/label-{key}");
            let path = ["metadata", "labels", &*label];
            object.edit(KUBECTL, now, &path, Some(value(key, state)));
        }
        truth.push(object.json["metadata"]["labels"].clone());
        let line = object.line("MODIFIED", path.next_version());
        path.receive(source, &line, now)?;
        path.commit(now)?;
    }
    let id: i64 = path
        .conn
        .query_row("SELECT id FROM tracked_object", [], |row| row.get(0))?;
    let reader = Reader::open(&folder.path().join("kube9.db"), Duration::from_secs(60))?;
    let (mut runs, mut size) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let mut spent = Spending::default();
        let body = spent.on(|| reader.revision(id, 1))?;
        runs.push(spent.cpu.as_secs_f64() * 1e3);
        let body = body.context("the oldest state")?;
        size = body.to_text().len();
        let label = body.stored().get("metadata").and_then(|metadata| {
            metadata
                .get("labels")?
                .get("example.com/label-1")?
                .as_text()
        });
        ensure!(
            label == truth[0]["example.com/label-1"].as_str(),
            "the oldest state is another one: {label:?}"
        );
    }
    runs.sort_by(f64::total_cmp);
    let patches: (i64, i64) = path.conn.query_row(
        "SELECT count(*) FILTER (WHERE is_patch), ifnull(sum(length(body)) FILTER (WHERE is_patch), 0) FROM revision",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    report.group(format!(
        "changes: rebuild, the oldest of {STATES} states, body of {size} bytes, {name}: {} patches of {} bytes",
        patches.0, patches.1
    ));
    report.add(
        "by the reader, median CPU",
        runs[RUNS / 2],
        "ms",
        Limit::AtMost(MILLIS_MAX),
    );
    let mut spent = Spending::default();
    let text: String = spent.on(|| {
        path.conn
            .query_row(REBUILD, [id << 24 | 1], |row| row.get(0))
    })?;
    ensure!(
        serde_json::from_str::<Stored>(&text).is_ok() && text.len() == size,
        "SQLite rebuilds another body"
    );
    report.add(
        "by the SQL of docs/storage.md, CPU",
        spent.cpu.as_secs_f64() * 1e3,
        "ms",
        Limit::None,
    );
    Ok(())
}
