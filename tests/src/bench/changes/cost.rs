//! CPU of a write of a 4 KB Deployment, from the decoded line to the commit.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::object::ApiObject;
use super::path::{ChangePath, Source, decode};
use super::{BEGIN, CONTROLLER, KUBECTL, deployment};
use crate::bench::populate::Spending;
use crate::bench::report::{Limit, Report};
use crate::clock::Micros;
use crate::generator::Rng;

/// Limits of docs/performance.md, in microseconds.
const CHANGED_MAX: f64 = 100.0;
const UNCHANGED_MAX: f64 = 15.0;

/// Objects that are written, each in turn.
const OBJECTS: usize = 200;

/// Writes of a run.
const WRITES: usize = 2_000;

/// The median of this many runs counts.
const RUNS: usize = 5;

/// Writes of a transaction: alone; as the writer collects them in its 10 ms at 1,000 writes a second; in a burst.
const BATCHES: [usize; 3] = [1, 10, 100];

/// What a write changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Field,
    Status,
}

struct Scene {
    path: ChangePath,
    source: Source,
    objects: Vec<ApiObject>,
    now: Micros,
    n: usize,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(seed: u64) -> anyhow::Result<Self> {
        let mut rng = Rng::new(seed);
        let folder = tempfile::tempdir()?;
        let mut path = ChangePath::new(folder.path())?;
        // Ten namespaces, so that no budget is used up.
        let mut objects: Vec<ApiObject> = (0..OBJECTS)
            .map(|n| {
                let namespace = format!("shop-{}", n % 10);
                deployment(&namespace, &format!("service-{n}"), &mut rng)
            })
            .collect();
        let mut listed: Vec<&mut ApiObject> = objects.iter_mut().collect();
        let source = path.track(("deployments", ""), &mut listed, BEGIN)?;
        Ok(Self {
            path,
            source,
            objects,
            now: BEGIN,
            n: 0,
            _folder: folder,
        })
    }

    /// The lines of that many writes, of one object after the other.
    fn lines(&mut self, write: Write, count: usize) -> Vec<(Micros, String)> {
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            self.n += 1;
            // An object changes once in ten minutes: nothing folds.
            self.now = self.now + Duration::from_secs(3);
            let object = &mut self.objects[self.n % OBJECTS];
            match write {
                Write::Field => {
                    let path = [
                        "spec",
                        "template",
                        "spec",
                        "containers",
                        "name=app",
                        "image",
                    ];
                    let image = format!("registry.example.com/shop/service:v{}", self.n);
                    object.edit(KUBECTL, self.now, &path, Some(json!(image)));
                }
                Write::Status => {
                    let path = ["status", "observedGeneration"];
                    object.edit(CONTROLLER, self.now, &path, Some(json!(self.n)));
                }
            }
            lines.push((self.now, object.line("MODIFIED", self.path.next_version())));
        }
        lines
    }

    /// Returns what it took to decode the lines, and all after that.
    #[inline(never)]
    fn play(
        &mut self,
        lines: &[(Micros, String)],
        batch: usize,
    ) -> anyhow::Result<(Spending, Spending)> {
        let (mut decoding, mut rest) = (Spending::default(), Spending::default());
        for lines in lines.chunks(batch) {
            let decoded = decoding.on(|| {
                let lines = lines.iter().map(|(at, line)| Ok((*at, decode(line)?)));
                lines.collect::<anyhow::Result<Vec<_>>>()
            })?;
            rest.on(|| {
                for (at, line) in &decoded {
                    self.path.receive_decoded(self.source, line, *at)?;
                }
                self.path.commit(self.now)
            })?;
        }
        Ok((decoding, rest))
    }

    fn revisions(&self) -> anyhow::Result<usize> {
        let sql = "SELECT count(*) FROM revision";
        let count: i64 = self.path.conn.query_row(sql, [], |row| row.get(0))?;
        Ok(count as usize)
    }
}

pub(super) fn run(seed: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut scene = Scene::new(seed)?;
    let bytes = scene.lines(Write::Status, 1)[0].1.len();
    report.group(format!(
        "changes: CPU of a write of a Deployment, decoded line of {bytes} bytes to commit, median of {RUNS} runs of {WRITES}"
    ));
    let per_write = |spent: Spending| spent.cpu.as_secs_f64() * 1e6 / WRITES as f64;
    let mut decodings = Vec::new();
    for batch in BATCHES {
        for (write, name, limit) in [
            (Write::Field, "one field changed", CHANGED_MAX),
            (Write::Status, "nothing recorded changed", UNCHANGED_MAX),
        ] {
            let mut runs = Vec::with_capacity(RUNS);
            for run in 0..=RUNS {
                let lines = scene.lines(write, WRITES);
                let before = scene.revisions()?;
                let (decoding, rest) = scene.play(&lines, batch)?;
                let made = scene.revisions()? - before;
                let expected = if write == Write::Field { WRITES } else { 0 };
                ensure!(made == expected, "{made} revisions of {WRITES} writes");
                // The first warms up.
                if run > 0 {
                    decodings.push(per_write(decoding));
                    runs.push(per_write(rest));
                }
            }
            runs.sort_by(f64::total_cmp);
            report.add(
                format!("{name}, {batch} in a transaction"),
                runs[RUNS / 2],
                "µs",
                Limit::AtMost(limit),
            );
            report.add("  fastest run", runs[0], "µs", Limit::None);
        }
    }
    decodings.sort_by(f64::total_cmp);
    let decoding = decodings[decodings.len() / 2];
    report.add("decoding of a line", decoding, "µs", Limit::None);
    Ok(())
}

/// What the hidden subcommand runs: writes without a measurement, for callgrind and perf.
pub fn play(seed: u64, changes_field: bool, batch: usize) -> anyhow::Result<usize> {
    let mut scene = Scene::new(seed)?;
    let write = if changes_field {
        Write::Field
    } else {
        Write::Status
    };
    let lines = scene.lines(write, WRITES);
    scene.play(&lines, batch)?;
    Ok(lines.len())
}
