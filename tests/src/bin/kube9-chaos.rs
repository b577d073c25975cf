//! `kube9-chaos --minutes N --seed S`: kills, starves and deceives the recorder, then compares it with the truth.
//! `kube9-chaos --burst N`: overruns it.
//! `kube9-chaos --http PROGRAM --minutes N --seed S`: sends hostile requests to the port of that recorder.
//! `kube9-chaos --soak --minutes N`: lets it live, and measures it all the while.
//! `kube9-chaos --tenant all --recorder FILE`: attacks that program with objects, in a memory control group.
//! Exit code: 0 nothing is wrong, 1 something is, 2 wrong usage.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube9_tests::chaos::{self, Options, http, soak, tenant};

#[derive(Parser)]
#[command(
    about = "Kills, starves and deceives the recorder, then compares its database with the truth"
)]
struct Cli {
    /// How long, in minutes; fractions are allowed.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Determines load and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes to Events a second.
    #[arg(long, default_value_t = 150)]
    rate: u64,
    /// Mean time between two kills, in milliseconds.
    #[arg(long, default_value_t = 1500)]
    kill_every: u64,
    /// Instead of all that: so many Events at once, far beyond the queue's 1,000.
    #[arg(long)]
    burst: Option<usize>,
    /// Instead of all that: hostile requests to the port of this kube9-recorder, as it ships.
    #[arg(long, value_name = "PROGRAM")]
    http: Option<PathBuf>,
    /// Instead of all that: changing load with a fault now and then and few restarts, measured all the while.
    #[arg(long)]
    soak: bool,
    /// Of the soak: size of the database from which on the oldest rows go, in KiB.
    #[arg(long, default_value_t = 6 << 10)]
    max_kib: u64,
    /// Only draws the table of a soak, as SVG on stdout.
    #[arg(long, value_name = "CSV")]
    plot: Option<PathBuf>,
    /// Of the soak: multiplies what happens by itself.
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// Instead of all that: objects as large as one tenant can make them, against the chart's memory limit; the name of
    /// one attack, or `all`.
    #[arg(long, value_name = "ATTACK")]
    tenant: Option<String>,
    /// Of the tenant: the recorder's program, optimized.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "target/release/kube9-recorder"
    )]
    recorder: PathBuf,
    /// Of the tenant: seconds of each of the three phases of an attack.
    #[arg(long, default_value_t = 6)]
    phase: u64,
    /// Where to work; the folder stays. Without it a temporary one, which goes when all is well.
    #[arg(long)]
    folder: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Hidden>,
}

#[derive(Subcommand)]
enum Hidden {
    /// The recorder, as this program starts it.
    #[command(hide = true)]
    RunRecorder {
        config: PathBuf,
        /// Seconds for which rows of info and warning, and of error and critical, are kept.
        #[arg(num_args = 2)]
        retention: Vec<u64>,
    },
}

fn main() -> ExitCode {
    match work(Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
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
    let recorder = recorder.canonicalize().context("there is no recorder")?;
    if let Err(error) = tenant::Cgroup::new(tenant::LIMIT) {
        writeln!(out, "SKIPPED: no memory control group can be made: {error}")?;
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
    std::fs::create_dir_all(&folder).context("cannot make the working folder")?;
    let mut out = io::stdout().lock();
    let is_clean = match cli.burst {
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
        writeln!(out, "NOT CLEAN; database and log: {}", folder.display())?;
    } else if is_ours {
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(is_clean)
}
