//! Measures kube9: `cargo run --profile bench --bin kube9-bench -- storage --rows 1000000`.
//!
//! Prints each figure with its limit, as a ratio. Absolute figures depend on the machine, ratios less so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube9_tests::bench::plot::{Line, svg};
use kube9_tests::bench::report::Report;
use kube9_tests::bench::{
    changes, churn, findings, ingest, latency, memory, query, retention, storage,
};
use kube9_tests::cluster_sim::{Plan, change_cost, live_replay};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Events, one or more numbers; `100k` and `1M` work [default: 100k; for `all`: the sizes of the documentation].
    #[arg(long, global = true, value_delimiter = ',', value_parser = number)]
    rows: Vec<usize>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Seed of the generated history.
    #[arg(long, global = true, default_value_t = 9)]
    seed: u64,
    /// The query binary; limits are for the static one of the image [default: kube9-query in the directory of this
    /// program].
    #[arg(long, global = true)]
    query: Option<PathBuf>,
    /// The recorder binary; limits are for the static one of the image [default: kube9-recorder in the directory of
    /// this program].
    #[arg(long, global = true)]
    recorder: Option<PathBuf>,
    /// Save filled databases in this directory (storage), or use the saved ones (query).
    #[arg(long, global = true)]
    keep: Option<PathBuf>,
    /// Do not measure CPU time, for runs under valgrind.
    #[arg(long, global = true)]
    no_cpu: bool,
    /// Write plots over the number of rows into this directory, as SVG.
    #[arg(long, global = true)]
    plots: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Bytes per event, by table and index.
    Storage,
    /// Decoded Event to committed row, compared with plain inserts.
    Ingest,
    /// A thousand Events per second for ten seconds: queue push, and time until a row is readable.
    Latency,
    /// Queries in process and as processes.
    Query,
    /// Peak memory of both programs, at 20k Events unless --rows is given; then of a recorder in a large cluster.
    Memory {
        #[command(flatten)]
        cluster: Cluster,
        /// KiB of each ConfigMap.
        #[arg(long, default_value_t = 100)]
        value_kib: usize,
    },
    /// A large retention run, a pinned reader, and the size limit, while Events arrive.
    Retention,
    /// The change history: bytes of a revision, CPU of a write, rebuilding of an old state; then memory and time of a
    /// recorder that lists all default kinds of a large cluster.
    Changes {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Questions about changes as whole processes: at 1M Events unless --rows is given, and 200,000 revisions.
    Ask,
    /// A day of what controllers write, in simulated time: rows and bytes by kind, path and author.
    Churn {
        #[arg(long, default_value_t = 24)]
        hours: u64,
    },
    /// All benchmarks of the store with plots: storage, ingest, query, latency, memory, retention.
    All,
    /// Compare the findings of a simulated cluster with its ground truth: missed, false, duplicated, not closed.
    Findings {
        #[command(flatten)]
        cluster: Cluster,
        /// Run through a recorder process whose clock is this many times as fast.
        #[arg(long)]
        speed: Option<f64>,
    },
    /// Cost of one change in the analysis, by cluster size.
    ChangeCost {
        /// Pods of the compared clusters, the smallest first.
        #[arg(long, value_delimiter = ',', value_parser = number, default_value = "1k,3k,10k,30k")]
        sizes: Vec<usize>,
        /// Also count instructions with valgrind: takes minutes for a large cluster.
        #[arg(long)]
        instructions: bool,
    },
    /// What `change-cost --instructions` runs under valgrind.
    #[command(name = change_cost::SUBCOMMAND, hide = true)]
    PlayChanges { pods: usize },
    /// Writes of tracked objects, for a profiler.
    #[command(name = changes::SUBCOMMAND, hide = true)]
    PlayWrites {
        /// Each changes a field; otherwise only the status.
        #[arg(long)]
        field: bool,
        /// Writes of a transaction.
        #[arg(long, default_value_t = 10)]
        batch: usize,
    },
    /// What `findings --speed` starts.
    #[command(name = live_replay::SUBCOMMAND, hide = true)]
    Recorder {
        config: PathBuf,
        begun_millis: u64,
        speed: f64,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct Cluster {
    /// Nodes.
    #[arg(long, default_value_t = 500)]
    nodes: usize,
    /// Pods.
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// Hours.
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

impl Cluster {
    fn plan(self, seed: u64) -> Plan {
        let Self { nodes, pods, hours } = self;
        Plan {
            nodes,
            pods,
            hours,
            seed,
        }
    }
}

fn number(text: &str) -> Result<usize, String> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1000),
        Some(b'M') => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(|| {
            format!("invalid number of rows {text:?}: use for example 100000, 100k or 1M")
        })
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.no_cpu {
        kube9_tests::bench::populate::without_cpu_clock();
    }
    let mut report = Report::default();
    let measured = measure(&args, &mut report);
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{:#}", report.json())
    } else {
        report.print(&mut out)
    };
    match (measured, written) {
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(error), _) => {
            let _ = writeln!(std::io::stderr(), "kube9-bench: {error:#}");
            ExitCode::FAILURE
        }
        (_, Err(_)) => ExitCode::FAILURE,
    }
}

fn program(given: Option<&PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    match given {
        Some(program) => Ok(program.clone()),
        None => memory::sibling_program(name),
    }
}

/// Figures over the number of rows, by name.
#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn point(&mut self, name: &str, rows: usize, value: f64) {
        let point = (rows as f64, value);
        match self.0.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => self.0.push(Line {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
    }

    /// Draws the plots if requested.
    fn draw(
        &self,
        args: &Args,
        name: &str,
        (title, unit): (&str, &str),
        limit: f64,
    ) -> anyhow::Result<()> {
        if let Some(directory) = &args.plots {
            std::fs::create_dir_all(directory)?;
            let file = directory.join(format!("{name}.svg"));
            std::fs::write(file, svg(title, unit, &self.0, Some(limit)))?;
        }
        Ok(())
    }
}

fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let rows = |default: &[usize]| {
        if args.rows.is_empty() {
            default.to_vec()
        } else {
            args.rows.clone()
        }
    };
    let keep = args.keep.as_deref();
    match args.what {
        What::Storage => storage(args, &rows(&[HUNDRED_K]), keep, report),
        What::Ingest => ingest(args, &rows(&[HUNDRED_K]), report),
        What::Query => query(args, &rows(&[HUNDRED_K]), keep, report),
        What::Latency => latency::run(args.seed, LATENCY_SECONDS, report),
        What::Memory { cluster, value_kib } => {
            let recorder = program(args.recorder.as_ref(), "kube9-recorder")?;
            for events in rows(&[MEMORY_EVENTS]) {
                memory(args, events, report)?;
            }
            findings::memory(&recorder, cluster.plan(args.seed), value_kib, report)
        }
        What::Retention => rows(&[RETENTION_EVENTS])
            .into_iter()
            .try_for_each(|events| retention::run(args.seed, events, report)),
        What::All => all(
            args,
            &rows(&[10_000, HUNDRED_K, MILLION, 5 * MILLION]),
            report,
        ),
        What::Changes { cluster } => {
            let recorder = program(args.recorder.as_ref(), "kube9-recorder")?;
            changes::run(args.seed, &recorder, cluster.plan(args.seed), report)
        }
        What::Ask => {
            let query = program(args.query.as_ref(), "kube9-query")?;
            let keep = args.keep.as_deref();
            rows(&[MILLION])
                .into_iter()
                .try_for_each(|events| changes::ask(args.seed, events, (&query, keep), report))
        }
        What::Churn { hours } => churn::run(args.seed, hours, report),
        What::Findings {
            cluster,
            speed: None,
        } => findings::run(cluster.plan(args.seed), report),
        What::Findings {
            cluster,
            speed: Some(speed),
        } => {
            let query = program(args.query.as_ref(), "kube9-query")?;
            findings::through(cluster.plan(args.seed), speed, &query, report)
        }
        What::ChangeCost {
            ref sizes,
            instructions,
        } => findings::cost(args.seed, sizes, instructions, report),
        What::PlayChanges { pods } => {
            let played = change_cost::play_changes(args.seed, pods)?;
            Ok(writeln!(std::io::stdout(), "{played}")?)
        }
        What::PlayWrites { field, batch } => {
            let played = changes::play(args.seed, field, batch)?;
            Ok(writeln!(std::io::stdout(), "{played}")?)
        }
        What::Recorder {
            ref config,
            begun_millis,
            speed,
        } => live_replay::run_child(config, begun_millis, speed),
    }
}

const HUNDRED_K: usize = 100_000;
const MILLION: usize = 1_000_000;
/// The number of Events that the memory limits apply to.
const MEMORY_EVENTS: usize = 20_000;
/// Enough for more than 500,000 expired rows.
const RETENTION_EVENTS: usize = 700_000;
const LATENCY_SECONDS: usize = 10;

/// All benchmarks of the store; `query` uses the databases of `storage`.
fn all(args: &Args, sizes: &[usize], report: &mut Report) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let keep = args.keep.as_deref().unwrap_or(temporary.path());
    let within = |low: usize, high: usize| -> Vec<usize> {
        let sizes = sizes.iter().copied();
        sizes.filter(|rows| (low..=high).contains(rows)).collect()
    };
    storage(args, sizes, Some(keep), report)?;
    ingest(args, &within(0, MILLION), report)?;
    query(args, &within(HUNDRED_K, usize::MAX), Some(keep), report)?;
    latency::run(args.seed, LATENCY_SECONDS, report)?;
    memory(args, MEMORY_EVENTS, report)?;
    retention::run(args.seed, RETENTION_EVENTS, report)
}

fn memory(args: &Args, events: usize, report: &mut Report) -> anyhow::Result<()> {
    let recorder = program(args.recorder.as_ref(), "kube9-recorder")?;
    let query = program(args.query.as_ref(), "kube9-query")?;
    memory::run(args.seed, events, (&recorder, &query), report)
}

fn storage(
    args: &Args,
    sizes: &[usize],
    keep: Option<&Path>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    for &rows in sizes {
        let (bytes, _) = storage::run(args.seed, rows, keep, report)?;
        lines.point("bytes per row", rows, bytes);
    }
    lines.draw(args, "size", ("Size of history", "bytes per row"), 100.0)
}

fn ingest(args: &Args, sizes: &[usize], report: &mut Report) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    for &rows in sizes {
        lines.point(
            "Events per second",
            rows,
            ingest::run(args.seed, rows, report)?,
        );
    }
    lines.draw(args, "ingest", ("Ingest", "Events per second"), 50_000.0)
}

fn query(
    args: &Args,
    sizes: &[usize],
    keep: Option<&Path>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    let binary = program(args.query.as_ref(), "kube9-query")?;
    for &rows in sizes {
        for (name, millis) in query::run(args.seed, rows, (&binary, keep), report)? {
            if DRAWN.contains(&name.as_str()) {
                lines.point(&name, rows, millis);
            }
        }
    }
    let title = "CPU time of a kube9-query process";
    lines.draw(args, "query", (title, "ms"), 10.0)
}

/// Queries in the plot; all of them would overlap.
const DRAWN: [&str; 5] = [
    "list 25",
    "get",
    "--object-namespace",
    "since and namespace",
    "severity, kind, namespace, since",
];
