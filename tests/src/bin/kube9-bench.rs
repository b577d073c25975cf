//! Measures kube9: `cargo run --release --bin kube9-bench -- storage --rows 1000000`.
//!
//! Prints each figure beside its limit, as a ratio. Absolute figures depend on the machine; ratios less so.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kube9_tests::bench::plot::{Line, svg};
use kube9_tests::bench::sheet::Sheet;
use kube9_tests::bench::{day, ingest, live, memory, query, retention, storage};
use kube9_tests::day::{Plan, cost, through};

#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Events, one or more numbers; `100k` and `1M` work.
    #[arg(long, global = true, value_delimiter = ',', value_parser = number, default_value = "100k")]
    rows: Vec<usize>,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// What the generated history follows from.
    #[arg(long, global = true, default_value_t = 9)]
    seed: u64,
    /// The query binary [default: kube9-query beside this program].
    #[arg(long, global = true)]
    query: Option<PathBuf>,
    /// Leave the filled database in this directory, which must be new (storage).
    #[arg(long, global = true)]
    keep: Option<PathBuf>,
    /// Measure no CPU time: to run it under valgrind, which does not know that clock.
    #[arg(long, global = true)]
    no_cpu: bool,
    /// Draw figures over the number of rows into this directory, as SVG.
    #[arg(long, global = true)]
    plots: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Bytes an event, by table and index.
    Storage,
    /// Decoded Event to committed row, beside a bare insert.
    Ingest,
    /// A thousand Events a second for ten seconds: queue push, and how soon a row can be read.
    Live,
    /// Questions in process and as whole processes.
    Query,
    /// Peak memory of both programs; 20k Events are what the limits are for.
    Peaks,
    /// A large clean-up and a pinned reader while Events arrive.
    Retention,
    /// A day of a cluster that knows its truth, through the analysis: what is missed, doubled, not closed.
    Day {
        #[command(flatten)]
        cluster: Cluster,
        /// Through a recorder in a process of its own, whose clock runs so many times as fast.
        #[arg(long)]
        speed: Option<f64>,
    },
    /// Memory of a recorder process in a large cluster.
    ClusterMemory {
        #[command(flatten)]
        cluster: Cluster,
        /// The recorder binary.
        #[arg(long)]
        recorder: PathBuf,
        /// KiB of each ConfigMap.
        #[arg(long, default_value_t = 100)]
        value_kib: usize,
    },
    /// What one change costs the analysis, by the size of the cluster.
    Cost {
        /// Pods of the clusters that are compared, the smallest first.
        #[arg(long, value_delimiter = ',', value_parser = number, default_value = "1k,3k,10k,30k")]
        sizes: Vec<usize>,
        /// Count instructions too, with valgrind: minutes for a large cluster.
        #[arg(long)]
        instructions: bool,
    },
    /// What `cost --instructions` runs under valgrind.
    #[command(name = cost::SUBCOMMAND, hide = true)]
    PlayChanges { pods: usize },
    /// What `day --speed` starts.
    #[command(name = through::SUBCOMMAND, hide = true)]
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
        .ok_or_else(|| format!("{text:?} is no number of rows, such as 100000, 100k or 1M"))
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.no_cpu {
        kube9_tests::bench::fill::without_cpu_clock();
    }
    let mut sheet = Sheet::default();
    let measured = measure(&args, &mut sheet);
    let mut out = std::io::stdout().lock();
    let written = if args.json {
        writeln!(out, "{:#}", sheet.json())
    } else {
        sheet.print(&mut out)
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

fn binary(args: &Args) -> anyhow::Result<PathBuf> {
    match &args.query {
        Some(binary) => Ok(binary.clone()),
        None => memory::beside("kube9-query"),
    }
}

fn measure(args: &Args, sheet: &mut Sheet) -> anyhow::Result<()> {
    let mut lines: Vec<Line> = Vec::new();
    let mut point = |name: &str, rows: usize, value: f64| {
        let point = (rows as f64, value);
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: name.to_owned(),
                points: vec![point],
            }),
        }
    };
    for &rows in &args.rows {
        match args.what {
            What::Storage => {
                let (bytes, _) = storage::run(args.seed, rows, args.keep.as_deref(), sheet)?;
                point("bytes a row", rows, bytes);
            }
            What::Ingest => point(
                "Events a second",
                rows,
                ingest::run(args.seed, rows, sheet)?,
            ),
            What::Live => live::run(args.seed, 10, sheet)?,
            What::Peaks => memory::run(args.seed, rows, &binary(args)?, sheet)?,
            What::Query => {
                for (name, millis) in query::run(args.seed, rows, &binary(args)?, sheet)? {
                    if DRAWN.contains(&name.as_str()) {
                        point(&name, rows, millis);
                    }
                }
            }
            What::Retention => retention::run(args.seed, rows, sheet)?,
            What::Day {
                cluster,
                speed: None,
            } => return day::run(cluster.plan(args.seed), sheet),
            What::Day {
                cluster,
                speed: Some(speed),
            } => return day::through(cluster.plan(args.seed), speed, sheet),
            What::ClusterMemory {
                cluster,
                ref recorder,
                value_kib,
            } => return day::memory(recorder, cluster.plan(args.seed), value_kib, sheet),
            What::Cost {
                ref sizes,
                instructions,
            } => return day::cost(args.seed, sizes, instructions, sheet),
            What::PlayChanges { pods } => {
                let played = cost::play_changes(args.seed, pods)?;
                return Ok(writeln!(std::io::stdout(), "{played}")?);
            }
            What::Recorder {
                ref config,
                begun_millis,
                speed,
            } => return through::run_child(config, begun_millis, speed),
        }
    }
    let (name, title, unit, limit) = match args.what {
        What::Storage => ("size", "Size of history", "bytes a row", Some(100.0)),
        What::Ingest => ("ingest", "Ingest", "Events a second", Some(50_000.0)),
        What::Query => (
            "query",
            "Whole process of kube9-query, median",
            "ms",
            Some(10.0),
        ),
        _ => return Ok(()),
    };
    if let Some(directory) = &args.plots {
        std::fs::create_dir_all(directory)?;
        let file = directory.join(format!("{name}.svg"));
        std::fs::write(file, svg(title, unit, &lines, limit))?;
    }
    Ok(())
}

/// Questions in the plot; all of them would cover each other.
const DRAWN: [&str; 5] = [
    "list 25",
    "get",
    "--object-namespace",
    "since and namespace",
    "--search",
];
