//! Bytes of a revision after an object's first.

use std::time::Duration;

use serde_json::json;

use super::object::{ApiObject, Writer};
use super::path::{ChangePath, Source};
use super::{BEGIN, CONTROLLER, KUBECTL, SCALE, config_map, deployment};
use crate::bench::report::{Limit, Report};
use crate::bench::storage::parts;
use crate::clock::Micros;
use crate::generator::Rng;

/// The limit of docs/performance.md.
const BYTES_MAX: f64 = 160.0;

const DEPLOYMENTS: usize = 40;
const CONFIG_MAPS: usize = 20;

/// Edits that make a revision.
const EDITS: usize = 3_000;

/// Time between two edits: each object changes every half hour, so that nothing folds.
const PAUSE: Duration = Duration::from_secs(30);

/// Bytes of one table.
fn bytes(path: &ChangePath, table: &str) -> anyhow::Result<u64> {
    let parts = parts(&path.conn)?;
    let of_table = parts.iter().filter(|part| part.table == table);
    Ok(of_table.map(|part| part.bytes).sum())
}

/// Bytes of rows and of what they refer to.
fn row_bytes(path: &ChangePath) -> anyhow::Result<u64> {
    let tables = ["revision", "tracked_object", "tracked_kind"];
    let parts = parts(&path.conn)?;
    let of_rows = parts
        .iter()
        .filter(|part| !tables.contains(&part.table.as_str()));
    Ok(of_rows.map(|part| part.bytes).sum())
}

/// How many percent of the edits roll a workload out.
struct Mix {
    name: &'static str,
    images: u64,
    limit: Limit,
}

struct Cluster {
    path: ChangePath,
    deployments: (Source, Vec<ApiObject>),
    maps: (Source, Vec<ApiObject>),
    statuses: u64,
    rng: Rng,
    now: Micros,
}

impl Cluster {
    fn new(seed: u64, folder: &std::path::Path) -> anyhow::Result<Self> {
        let mut rng = Rng::new(seed);
        let mut path = ChangePath::new(folder)?;
        let mut deployments: Vec<ApiObject> = (0..DEPLOYMENTS)
            .map(|n| deployment("shop", &format!("service-{n}"), &mut rng))
            .collect();
        let mut maps: Vec<ApiObject> = (0..CONFIG_MAPS)
            .map(|n| config_map("shop", &format!("service-{n}-config"), &mut rng))
            .collect();
        let mut listed: Vec<&mut ApiObject> = deployments.iter_mut().collect();
        let of_deployments = path.track(("deployments", ""), &mut listed, BEGIN)?;
        let mut listed: Vec<&mut ApiObject> = maps.iter_mut().collect();
        let of_maps = path.track(("configmaps", ""), &mut listed, BEGIN)?;
        Ok(Self {
            path,
            deployments: (of_deployments, deployments),
            maps: (of_maps, maps),
            statuses: 0,
            rng,
            now: BEGIN,
        })
    }

    /// One edit, and the writes to the status that follow it.
    fn edit(&mut self, images: u64, n: usize) -> anyhow::Result<()> {
        self.now = self.now + PAUSE;
        let (now, choice) = (self.now, self.rng.below(100));
        if choice >= images && (choice - images) * 100 / (100 - images).max(1) < 35 {
            let (source, maps) = &mut self.maps;
            let map = &mut maps[self.rng.index(CONFIG_MAPS)];
            let (key, value) = match n % 3 {
                0 => ("LOG_LEVEL", format!("level-{n}")),
                1 => ("WORKERS", n.to_string()),
                _ => ("application.yaml", format!("server:\n  threads: {n}\n")),
            };
            map.edit(KUBECTL, now, &["data", key], Some(json!(value)));
            let line = map.line("MODIFIED", self.path.next_version());
            self.path.receive(*source, &line, now)?;
            return self.path.commit(now).map(drop);
        }
        let (source, deployments) = &mut self.deployments;
        let object = &mut deployments[self.rng.index(DEPLOYMENTS)];
        let app = ["spec", "template", "spec", "containers", "name=app"];
        let mut statuses = 1;
        let mut edit = |writer: Writer, path: &[&str], value: String| {
            object.edit(writer, now, path, Some(json!(value)));
        };
        if choice < images {
            statuses = 4;
            let image = format!("registry.example.com/shop/service:v{n}");
            edit(KUBECTL, &[&app[..], &["image"]].concat(), image);
        } else {
            match n % 4 {
                0 => {
                    statuses = 2;
                    let replicas = 2 + n % 7;
                    object.edit(SCALE, now, &["spec", "replicas"], Some(json!(replicas)));
                }
                1 => {
                    let path = [&app[..], &["env", "name=LOG_LEVEL", "value"]].concat();
                    edit(KUBECTL, &path, format!("level-{n}"));
                }
                2 => edit(
                    Writer("kubectl-label", ""),
                    &["metadata", "labels", "team"],
                    format!("team-{n}"),
                ),
                _ => {
                    let path = [&app[..], &["resources", "limits", "memory"]].concat();
                    edit(KUBECTL, &path, format!("{}Mi", 256 + n % 512));
                }
            }
        }
        let line = object.line("MODIFIED", self.path.next_version());
        self.path.receive(*source, &line, now)?;
        for ready in 0..statuses {
            let value = Some(json!(n * 10 + ready));
            object.edit(CONTROLLER, now, &["status", "observedGeneration"], value);
            let line = object.line("MODIFIED", self.path.next_version());
            self.path.receive(*source, &line, now)?;
            self.statuses += 1;
        }
        self.path.commit(now).map(drop)
    }
}

pub(super) fn run(seed: u64, report: &mut Report) -> anyhow::Result<()> {
    for mix in [
        Mix {
            name: "a third of the edits rolls a workload out",
            images: 33,
            limit: Limit::AtMost(BYTES_MAX),
        },
        Mix {
            name: "every second edit does",
            images: 50,
            limit: Limit::AtMost(BYTES_MAX),
        },
        Mix {
            name: "all do",
            images: 100,
            limit: Limit::AtMost(BYTES_MAX),
        },
    ] {
        one(seed, &mix, report)?;
    }
    Ok(())
}

fn one(seed: u64, mix: &Mix, report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::new(seed, folder.path())?;
    let number = |cluster: &Cluster, sql: &str| -> anyhow::Result<f64> {
        let found: Option<f64> = cluster.path.conn.query_row(sql, [], |row| row.get(0))?;
        Ok(found.unwrap_or(0.0))
    };
    let count = "SELECT count(*) + 0.0 FROM revision";
    let first = number(&cluster, count)?;
    let before = (bytes(&cluster.path, "revision")?, row_bytes(&cluster.path)?);
    for n in 0..EDITS {
        cluster.edit(mix.images, n)?;
    }
    let revisions = number(&cluster, count)? - first;
    anyhow::ensure!(
        revisions > EDITS as f64 * 0.95,
        "{revisions} revisions of {EDITS} edits"
    );
    report.group(format!(
        "changes: storage, {EDITS} edits of {DEPLOYMENTS} Deployments and {CONFIG_MAPS} ConfigMaps, and {} writes to a status; {}",
        cluster.statuses, mix.name
    ));
    report.add(
        "bytes per revision after an object's first",
        (bytes(&cluster.path, "revision")? - before.0) as f64 / revisions,
        "B",
        mix.limit,
    );
    report.add(
        "bytes per first body",
        before.0 as f64 / first,
        "B",
        Limit::None,
    );
    report.add(
        "bytes per row of a change, with its fields and authors",
        (row_bytes(&cluster.path)? - before.1) as f64 / revisions,
        "B",
        Limit::None,
    );
    report.add("revisions", revisions, "", Limit::None);
    for (name, sql) in [
        (
            "rows of changes",
            "SELECT count(*) + 0.0 FROM event WHERE extra ->> 'op' = 'changed'",
        ),
        (
            "average patch",
            "SELECT avg(length(body)) FROM revision WHERE is_patch",
        ),
        (
            "whole bodies, without the newest",
            "SELECT count(*) + 0.0 FROM revision r WHERE NOT is_patch AND EXISTS \
             (SELECT 1 FROM revision n WHERE n.id = r.id + 1)",
        ),
        (
            "average newest body",
            "SELECT avg(length(r.body)) FROM revision r JOIN tracked_object o ON r.id = o.id << 24 | o.revision",
        ),
    ] {
        report.add(name, number(&cluster, sql)?, "", Limit::None);
    }
    Ok(())
}
