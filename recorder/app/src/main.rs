//! The binary: command line → configuration → log → work. `exit` has the exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kube9_base::clock::Clock;
use kube9_ingest::sanitize::clean_text;
use kube9_recorder::check::{self, Verdict};
use kube9_recorder::cli::{Cli, Command};
use kube9_recorder::config::{Config, Place, ProcessEnvironment};
use kube9_recorder::exit::{DEFECT, FAILED, WRONG_USAGE, code_of, refuse_core_dumps};
use kube9_recorder::{logging, panics, run, runtime};
use kube9_store::open::FILE_NAME;
use kube9_store::snapshot::{snapshot, stream};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Longest text in a log line, in bytes.
const LOG_TEXT_MAX: usize = 4 << 10;

fn main() -> ExitCode {
    // What is unwound to here was logged where it panicked.
    std::panic::catch_unwind(program).unwrap_or(ExitCode::from(DEFECT))
}

fn program() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve);
    let flags = cli.settings.given();
    // Another recorder's health has nothing to do with the configuration here.
    if let Command::Check { url: Some(url) } = &command {
        if !flags.is_empty() || cli.settings.config.is_some() {
            let error = "check --url takes no other flags";
            return complain(&error, WRONG_USAGE);
        }
        return report(block_on(check::remote(url, &mut io::stdout().lock())));
    }
    let loaded = match Config::load(cli.settings.config.as_deref(), &flags, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error, WRONG_USAGE),
    };
    if let Err(error) = logging::init(&loaded.config.log, |text| clean_text(text, LOG_TEXT_MAX)) {
        return complain(&error, FAILED);
    }
    panics::install();
    loaded
        .warnings
        .iter()
        .for_each(|warning| warn!("{warning}"));
    match command {
        Command::Serve => serve(loaded.config),
        Command::Snapshot { file } => copy_database(&loaded.config, &file),
        Command::Check { .. } => report(block_on(check::local(
            &loaded.config,
            &mut io::stdout().lock(),
        ))),
    }
}

fn serve(config: Config) -> ExitCode {
    info!(version = kube9_recorder::VERSION, "starting");
    if let Err(error) = refuse_core_dumps() {
        warn!(%error, "cannot disable core dumps");
    }
    let work = async {
        let stop = stop_signal()?;
        run(config, Clock::system(), stop).await
    };
    ExitCode::from(code_of(&block_on(work)))
}

fn copy_database(config: &Config, target: &Path) -> ExitCode {
    // Whoever may exec could fill the volume so, or the memory, of which /dev/shm is a part.
    if target != Path::new("-") && Place::here() == Place::Pod {
        let error = "inside a pod, snapshot writes to stdout only: use snapshot -";
        return complain(&error, WRONG_USAGE);
    }
    let database = config.data_dir.join(FILE_NAME);
    let copied = if target == Path::new("-") {
        end_after(STREAM_MAX);
        stream(&database, &mut io::stdout().lock())
    } else {
        snapshot(&database, target)
    };
    match copied {
        Ok(bytes) => {
            info!(bytes, file = %target.display(), "snapshot written");
            ExitCode::SUCCESS
        }
        Err(error) => complain(&format!("{:#}", anyhow::Error::from(error)), FAILED),
    }
}

/// Longest time that a snapshot to stdout may take: 10 GiB at 3 MB/s. Until then its copy takes room on the volume, so
/// a reader that does not read must not keep it.
const STREAM_MAX: Duration = Duration::from_secs(3600);

/// Ends the process then, wherever it is; a file without a name goes with it.
fn end_after(time: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(time);
        let error = format!("the snapshot was not read within {time:?}");
        let _ = complain(&error, FAILED);
        std::process::exit(FAILED.into());
    });
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime().context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Ends at SIGTERM or SIGINT, whichever comes first.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("stopping: SIGTERM"),
            _ = interrupt.recv() => info!("stopping: SIGINT"),
        }
    })
}

/// The exit code of a check; its errors are for the person who asked, not for the log.
fn report(answer: anyhow::Result<Verdict>) -> ExitCode {
    match answer {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(FAILED),
        Err(error) => complain(&format!("{error:#}"), FAILED),
    }
}

fn complain(error: &dyn Display, code: u8) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    drop(writeln!(io::stderr(), "kube9-recorder: {error}"));
    ExitCode::from(code)
}
