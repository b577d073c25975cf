//! `kube9-chaos --minutes N --seed S`: kills, stalls and deceives the recorder, then compares its database with the
//! ground truth. `kube9-chaos --burst N`: sends more Events than fit into the queue. `kube9-chaos --http PROGRAM
//! --minutes N --seed S`: sends hostile HTTP requests to that recorder. `kube9-chaos --soak --minutes N`: runs it under
//! changing load and measures it. `kube9-chaos --tenant all --recorder FILE`: attacks that program with large objects,
//! in a memory cgroup. `kube9-chaos --writers --minutes 10 --recorder FILE`: attacks its change history for that long, as
//! four tenants. Exit code: 0 no errors, 1 errors, 2 wrong usage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube9_tests::chaos::{self, Options, http, soak, tenant, writers};

#[derive(Parser)]
#[command(
    about = "Kills, stalls and deceives the recorder, then compares its database with the ground truth"
)]
struct Cli {
    /// Duration in minutes; fractions are allowed.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Seed of load and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes to Events per second.
    #[arg(long, default_value_t = 150)]
    rate: u64,
    /// Mean time between two kills, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    kill_every: u64,
    /// Mode: send this many Events as one burst, more than the queue's 1,000.
    #[arg(long)]
    burst: Option<usize>,
    /// Mode: send hostile HTTP requests to this kube9-recorder.
    #[arg(long, value_name = "PROGRAM")]
    http: Option<PathBuf>,
    /// Mode: changing load with occasional faults and restarts, measured continuously.
    #[arg(long)]
    soak: bool,
    /// For --soak: size limit of the database, in KiB.
    #[arg(long, default_value_t = 6 << 10)]
    max_kib: u64,
    /// Mode: draw the table of a soak as SVG on stdout.
    #[arg(long, value_name = "CSV")]
    plot: Option<PathBuf>,
    /// For --soak: multiplies the rates of the load.
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// Mode: objects as large as one tenant can create, at the chart's memory limit; the name of one attack, or `all`.
    #[arg(long, value_name = "ATTACK")]
    tenant: Option<String>,
    /// Mode: four hostile writers against the change history, at the chart's memory limit.
    #[arg(long)]
    writers: bool,
    /// For --tenant and --writers: the optimized recorder program.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/release/kube9-recorder"
    )]
    recorder: PathBuf,
    /// For --tenant: seconds of each of the three phases of an attack.
    #[arg(long, default_value_t = 6)]
    phase: u64,
    /// Working folder, which is kept. The default is a temporary one, which is deleted after a run without errors.
    #[arg(long)]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Hidden>,
}

#[derive(Subcommand)]
enum Hidden {
    /// The recorder process that this program starts.
    #[command(hide = true)]
    RunRecorder {
        config: PathBuf,
        /// Retention of info and warning, and of error and critical, in seconds.
        #[arg(num_args = 2)]
        retention: Vec<u64>,
    },
}

fn main() -> ExitCode {
    match work(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Ignored if stderr is closed.
            drop(writeln!(io::stderr(), "kube9-chaos: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the attacks of that name.
fn attack(
    name: &str,
    recorder: &Path,
    phase: Duration,
    folder: &Path,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let recorder = recorder
        .canonicalize()
        .context("the recorder program does not exist")?;
    if let Err(error) = tenant::Cgroup::new(tenant::LIMIT) {
        writeln!(out, "SKIPPED: cannot create a memory cgroup: {error}")?;
        return Ok(true);
    }
    let chosen = |attack: &&tenant::Attack| name == "all" || attack.name == name;
    let mut is_clean = true;
    for attack in tenant::ATTACKS.iter().filter(chosen) {
        let outcome = tenant::run(*attack, &recorder, phase, &folder.join(attack.name))?;
        write!(out, "{outcome}")?;
        out.flush()?;
        is_clean &= outcome.is_clean();
    }
    Ok(is_clean)
}

fn work(cli: Cli) -> anyhow::Result<bool> {
    if let Some(Hidden::RunRecorder { config, retention }) = cli.command {
        let retention = match retention[..] {
            [info_warning, error_critical] => Some(chaos::ShortRetention {
                info_warning: Duration::from_secs(info_warning),
                error_critical: Duration::from_secs(error_critical),
            }),
            _ => None,
        };
        return chaos::run_recorder(&config, retention).map(|()| true);
    }
    if let Some(table) = cli.plot {
        let samples = soak::parse(&std::fs::read_to_string(&table)?)?;
        io::stdout().write_all(soak::plot::svg(&samples, cli.max_kib << 10).as_bytes())?;
        return Ok(true);
    }
    let options = Options {
        duration: Duration::from_secs_f64(cli.minutes * 60.0),
        seed: cli.seed,
        rate: cli.rate,
        kill_every: Duration::from_millis(cli.kill_every),
    };
    let (folder, is_ours) = match cli.folder {
        Some(folder) => (folder, false),
        None => {
            let name = format!("kube9-chaos-{}", std::process::id());
            (std::env::temp_dir().join(name), true)
        }
    };
    std::fs::create_dir_all(&folder).context("cannot create the working folder")?;
    let mut out = io::stdout().lock();
    let is_clean = match cli.burst {
        _ if cli.writers => {
            let program = cli
                .recorder
                .canonicalize()
                .context("the recorder program")?;
            let outcome = writers::run(&program, options.duration, cli.seed, &folder)?;
            write!(out, "{outcome}")?;
            outcome.is_clean()
        }
        _ if cli.tenant.is_some() => {
            let phase = Duration::from_secs(cli.phase);
            attack(
                &cli.tenant.unwrap_or_default(),
                &cli.recorder,
                phase,
                &folder,
                &mut out,
            )?
        }
        _ if cli.soak => {
            let options = soak::Options {
                duration: options.duration,
                seed: cli.seed,
                max_bytes: cli.max_kib << 10,
                load: cli.load,
            };
            let report = soak::run(options, &folder)?;
            std::fs::write(folder.join("report.txt"), format!("{report:#}"))?;
            write!(out, "{report}")?;
            report.is_clean()
        }
        None if cli.http.is_some() => {
            let options = http::Options {
                program: cli.http.unwrap_or_default(),
                duration: options.duration,
                seed: cli.seed,
            };
            let report = http::run(&options, &folder)?;
            write!(out, "{report}")?;
            report.is_clean()
        }
        Some(events) => {
            let burst = chaos::burst(events, &folder)?;
            write!(out, "{burst}")?;
            burst.is_clean()
        }
        None => {
            let report = chaos::run(&options, &folder)?;
            write!(out, "{report}")?;
            report.is_clean()
        }
    };
    if !is_clean {
        writeln!(out, "FAILED; database and log: {}", folder.display())?;
    } else if is_ours {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(is_clean)
}
