//! `kube9-demo`: a simulated cluster with faults, recorded by the real recorder over HTTP.
//!
//! ```text
//!   generator ─▶ simulated API server ─ HTTP ─▶ kube9_recorder::run ─▶ DIR/kube9.db ◀─ kube9_query::run (the first table)
//! ```

#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use kube9_base::clock::Clock;
use kube9_recorder::config::{Config, Environment};
use kube9_store::open::FILE_NAME;
use kube9_tests::apiserver::{self, ApiServer};
use kube9_tests::clock::Micros;
use kube9_tests::generator::{Cause, LiveCluster, Probe, Shortage, Size};
use tokio::sync::oneshot;

/// Simulated seconds per real second, so that a crash loop backs off within the demo's time.
const SPEED: f64 = 20.0;

/// When the first table is shown.
const TABLE_AFTER: Duration = Duration::from_secs(8);

/// Step of the simulation.
const TICK: Duration = Duration::from_millis(50);

/// Record a simulated cluster with faults.
#[derive(Parser)]
#[command(name = "kube9-demo")]
struct Args {
    /// End after this time, e.g. 20s or 2m [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    span: Option<Duration>,
    /// Where kube9.db is written
    #[arg(long, value_name = "DIR", default_value = "kube9-data")]
    data_dir: PathBuf,
    /// Routine Events per second
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
    /// Seed of the simulated cluster
    #[arg(long, default_value_t = 9)]
    seed: u64,
    /// Log of the recorder, on stderr: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value_t = tracing::Level::WARN)]
    log_level: tracing::Level,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let number: u64 = number
        .parse()
        .map_err(|_| format!("invalid time {text:?}: use for example 20s or 2m"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("invalid time {text:?}: use for example 20s or 2m")),
    }
}

/// The demo ignores environment variables.
struct NoEnvironment;

impl Environment for NoEnvironment {
    fn get(&self, _name: &str) -> Option<String> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_max_level(args.log_level)
        .with_writer(std::io::stderr)
        .init();
    std::fs::create_dir_all(&args.data_dir)
        .with_context(|| format!("cannot create {}", args.data_dir.display()))?;
    // Without a token, so that curl and kubectl can change its objects.
    let server = ApiServer::start(apiserver::Config {
        token: None,
        ..apiserver::Config::default()
    })
    .context("cannot start the simulated API server")?;
    println!("simulated API server   {}", server.url());
    let kubeconfig = server
        .write_kubeconfig(&args.data_dir)
        .context("cannot write the kubeconfig")?;
    let listen = free_address()?;
    let config = config(&args.data_dir, &kubeconfig, &listen)?;
    let database = config.data_dir.join(FILE_NAME);
    println!("recorder               http://{listen}/metrics and /healthz");
    println!("database               {}\n", database.display());

    let (stop, stopped) = oneshot::channel::<()>();
    let recorder = std::thread::Builder::new()
        .name("recorder".to_owned())
        .spawn(move || record(config, stopped))?;
    let outcome = play(&args, &server, &database, || recorder.is_finished());
    drop(stop);
    let recorded = recorder
        .join()
        .map_err(|_| anyhow::anyhow!("the recorder panicked"))?;
    recorded.context("the recorder failed")?;
    outcome?;
    println!(
        "\nThe recorder has stopped. The record is in {}.",
        database.display()
    );
    Ok(())
}

fn record(config: Config, stopped: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let runtime = kube9_recorder::runtime()?;
    runtime.block_on(kube9_recorder::run(config, Clock::system(), async {
        // Dropping the sender also stops it.
        let _ = stopped.await;
    }))
}

fn config(data_dir: &Path, kubeconfig: &Path, listen: &str) -> anyhow::Result<Config> {
    let flags = vec![
        ("data_dir", data_dir.display().to_string()),
        ("kube.kubeconfig", kubeconfig.display().to_string()),
        ("listen", listen.to_owned()),
    ];
    match Config::from_text("", &flags, &NoEnvironment) {
        Ok(loaded) => Ok(loaded.config),
        Err(problems) => bail!("{problems:?}"),
    }
}

fn free_address() -> anyhow::Result<String> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(taken.local_addr()?.to_string())
}

/// A fault, started at a fixed time.
type Mishap = fn(&mut LiveCluster, &[String]) -> Result<String, Box<dyn std::error::Error>>;

/// An autoscaler sets the replicas, which are in Git too.
const AUTOSCALER: Mishap = |live, names| {
    live.written_by("keda-operator", |live| live.scale(&names[6], 5))?;
    Ok(format!("an autoscaler scales {} to 5", names[6]))
};
const GIT: Mishap = |live, names| {
    live.scale(&names[6], 3)?;
    Ok(format!("Argo CD scales {} back to 3", names[6]))
};

const MISHAPS: [(f64, Mishap); 15] = [
    (1.0, |live, names| {
        Ok(format!(
            "{} crashes repeatedly",
            live.crash_loop(&names[0], 40, Cause::Exit(1))?
        ))
    }),
    (1.5, AUTOSCALER),
    (2.0, |live, names| {
        live.image_pull(&names[1], 30)?;
        Ok(format!("{} gets an image that cannot be pulled", names[1]))
    }),
    (2.8, GIT),
    (3.0, |live, names| {
        Ok(format!("{} runs out of memory", live.oom(&names[2], 6)?))
    }),
    (4.0, |live, names| {
        live.rollout(&names[3])?;
        Ok(format!("{} is rolled out", names[3]))
    }),
    (4.1, AUTOSCALER),
    (5.0, |live, _| {
        live.node_pressure(1, Shortage::Memory, 3)?;
        Ok("a node is short of memory and evicts pods".to_owned())
    }),
    (5.4, GIT),
    (6.0, |live, names| {
        live.config_change(&names[4])?;
        live.probe_failures(&names[4], Probe::Readiness, 12)?;
        Ok(format!(
            "the configuration of {} changes, and its probes fail",
            names[4]
        ))
    }),
    (6.7, AUTOSCALER),
    (7.0, |live, names| {
        live.unschedulable(&names[5], 8)?;
        Ok(format!("{} cannot be scheduled", names[5]))
    }),
    (8.0, GIT),
    // `changes` names the author. It is a finding only if Argo CD does not roll out again within five minutes.
    (8.5, |live, names| {
        live.written_by("kubectl-set", |live| live.rollout(&names[3]))?;
        Ok(format!("the image of {} is set with kubectl", names[3]))
    }),
    (10.0, |live, _| {
        // Half a minute at this speed; NodeUnready waits for 15 s.
        live.node_down(2, Duration::from_secs(600))?;
        Ok("a node stops reporting".to_owned())
    }),
];

fn play(
    args: &Args,
    server: &ApiServer,
    database: &Path,
    dead: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut live = LiveCluster::new(args.seed, Size::SMALL, server.store(), Micros::now(), SPEED);
    live.set_rate(args.rate);
    let names: Vec<String> = live
        .cluster()
        .workloads
        .iter()
        .map(|workload| workload.name.to_string())
        .collect();
    let begun = Instant::now();
    let mut mishaps = MISHAPS.iter();
    let mut next = mishaps.next();
    let mut shown = false;
    loop {
        let now = begun.elapsed();
        if args.span.is_some_and(|span| now >= span) || dead() {
            break;
        }
        live.advance(Micros::now());
        if let Some((at, mishap)) = next
            && now.as_secs_f64() >= *at
        {
            let said = mishap(&mut live, &names).unwrap_or_else(|error| format!("({error})"));
            println!("{:>5.1} s  {said}", now.as_secs_f64());
            next = mishaps.next();
        }
        if !shown && now >= TABLE_AFTER {
            shown = true;
            show(database);
        }
        std::thread::sleep(TICK);
    }
    if !shown {
        show(database);
    }
    println!("\n{} observations sent.", live.observations());
    Ok(())
}

/// That of this program, so that a suggested command does not build everything again.
const PROFILE: &str = if cfg!(debug_assertions) {
    ""
} else {
    "--release "
};

/// Shows the first table and suggests queries.
fn show(database: &Path) {
    let database = database.display().to_string();
    println!("\nkube9-query events list --severity=warning+ --limit=12");
    ask(&[
        "--db",
        &database,
        "--format=table",
        "events",
        "list",
        "--severity=warning+",
        "--limit=12",
    ]);
    println!("\nTry, now or later:");
    for question in [
        "status",
        "events list --severity=error+ --since=10m",
        "story deploy/search -N payments",
        "changes --since=10m",
        "object history deploy/gateway -N shop",
        "object blame deploy/gateway -N shop",
        "object diff deploy/gateway -N shop",
        "impact deploy/gateway -N shop",
        "findings --state=open",
        "events list --object-kind=Pod --reason=BackOff",
        "events timeline --since=10m",
        "events stats --by=severity,reason",
    ] {
        println!(
            "  cargo run {PROFILE}--bin kube9-query -- --db {database} --format=table {question}"
        );
    }
    println!();
}

fn ask(words: &[&str]) {
    let program = std::iter::once("kube9-query");
    // Errors are already on stderr; the demo continues.
    let _ = kube9_query::run(program.chain(words.iter().copied()).map(OsString::from));
}
