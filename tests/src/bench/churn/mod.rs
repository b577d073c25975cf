//! A day of churn through the change history, in simulated time: what controllers write without a change by a user,
//! what they create and delete, 40 rollouts, and some changes by hand that must all be rows.
//!
//! ```text
//!   actors ── a queue of writes ─▶ world (objects) ─ lines ─▶ ChangePath ─▶ rows, revisions ─▶ by kind, path, author
//! ```

mod actors;
mod world;

use anyhow::ensure;

use super::report::{Limit, Report};
use super::storage::parts;
use world::World;

/// The rows that a day has most of.
const MOST_FREQUENT: i64 = 40;

/// Rows of changes, with what they are grouped by.
const ROWS: &str = "SELECT object_kind AS kind, ifnull(object_namespace, '') AS namespace, object_name AS name, title, \
     metadata ->> 'op' AS op, ifnull(metadata ->> '$.fields[0].path', '') AS path, \
     ifnull(metadata ->> '$.by[0].manager', 'unknown') AS author, ifnull(metadata ->> 'changes', 1) AS changes \
     FROM events WHERE metadata ->> 'op' IS NOT NULL";

/// Plays `hours` of it.
pub fn run(seed: u64, hours: u64, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = World::new(seed, folder.path())?;
    actors::begin(&mut world)?;
    let rows_before = number(&world, &format!("SELECT count(*) FROM ({ROWS})"))?;
    let bytes_before = bytes(&world, |_| true)?;
    world.play(hours)?;
    report.group(format!(
        "churn: {hours} h, {} writes that a watch shows",
        world.writes.values().sum::<u64>()
    ));
    let rows = number(&world, &format!("SELECT count(*) FROM ({ROWS})"))?;
    ensure!(rows_before == 0.0, "rows of objects that existed before");
    report.add("rows of changes", rows, "", Limit::None);
    let changes = number(&world, &format!("SELECT sum(changes) FROM ({ROWS})"))?;
    report.add("changes in them", changes, "", Limit::None);
    report.add(
        "revisions",
        number(&world, "SELECT count(*) FROM revision")?,
        "",
        Limit::None,
    );
    let of_changes = bytes(&world, |table| {
        ["revision", "tracked_object", "tracked_kind"].contains(&table)
    })?;
    report.add("bytes of states", of_changes, "B", Limit::None);
    report.add(
        "bytes of everything",
        bytes(&world, |_| true)? - bytes_before,
        "B",
        Limit::None,
    );
    let by_hand = number(
        &world,
        &format!("SELECT count(*) FROM ({ROWS}) WHERE author = 'kubectl-edit'"),
    )?;
    report.add(
        "changes by hand that have a row of their own, share",
        by_hand / world.by_hand.max(1) as f64,
        "",
        Limit::AtLeast(1.0),
    );
    report.group("churn: writes by kind");
    for (kind, writes) in &world.writes {
        report.add(kind, *writes as f64, "", Limit::None);
    }
    for (title, key) in [
        ("churn: rows by kind", "kind"),
        (
            "churn: rows by first path",
            "kind || ' ' || iif(op = 'changed', path, op)",
        ),
        ("churn: rows by author", "author"),
    ] {
        report.group(title);
        let sql = format!("SELECT {key}, count(*) FROM ({ROWS}) GROUP BY 1 ORDER BY 2 DESC, 1");
        add(&world, &sql, report)?;
    }
    report.group("churn: bytes of states by kind");
    let sql = "SELECT k.kind, sum(ifnull(octet_length(r.body), 0) + 40) FROM revision r \
               JOIN tracked_object o ON o.id = r.id >> 24 JOIN tracked_kind k ON k.id = o.kind GROUP BY 1 ORDER BY 2 DESC";
    add(&world, sql, report)?;
    report.group(format!("churn: the {MOST_FREQUENT} most frequent rows"));
    let sql = format!(
        "SELECT kind || ' ' || namespace || '/' || rtrim(name, '0123456789-') || ': ' || title || ' [' || \
         iif(op = 'changed', path, op) || '] by ' || author || iif(sum(changes) > count(*), ', folded', ''), count(*) \
         FROM ({ROWS}) GROUP BY kind, namespace, rtrim(name, '0123456789-'), title, op, path, author \
         ORDER BY 2 DESC, 1 LIMIT {MOST_FREQUENT}"
    );
    add(&world, &sql, report)?;
    ensure!(
        by_hand >= world.by_hand as f64,
        "{by_hand} of {} changes by hand have a row",
        world.by_hand
    );
    Ok(())
}

fn number(world: &World, sql: &str) -> anyhow::Result<f64> {
    let found: Option<i64> = world.path.conn.query_row(sql, [], |row| row.get(0))?;
    Ok(found.unwrap_or(0) as f64)
}

fn bytes(world: &World, of: impl Fn(&str) -> bool) -> anyhow::Result<f64> {
    let parts = parts(&world.path.conn)?;
    let chosen = parts.iter().filter(|part| of(&part.table));
    Ok(chosen.map(|part| part.bytes).sum::<u64>() as f64)
}

fn add(world: &World, sql: &str, report: &mut Report) -> anyhow::Result<()> {
    let mut statement = world.path.conn.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.add(
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)? as f64,
            "",
            Limit::None,
        );
    }
    Ok(())
}
