//! The binary: command line → configuration → log → command. `exit` has the exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Parser;
use kube9_base::clock::Clock;
use kube9_ingest::sanitize::clean_text;
use kube9_recorder::check::{self, Verdict};
use kube9_recorder::cli::{Cli, Command};
use kube9_recorder::config::{Config, Location, ProcessEnvironment};
use kube9_recorder::exit::{DEFECT, FAILED, WRONG_USAGE, disable_core_dumps, exit_code};
use kube9_recorder::{logging, panics, run, runtime};
use kube9_store::open::FILE_NAME;
use kube9_store::purge::{PurgeRequest, Purged, take_answer};
use kube9_store::snapshot::{snapshot, stream};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

/// Longest text in a log message, in bytes.
const LOG_TEXT_MAX: usize = 4 << 10;

fn main() -> ExitCode {
    // A panic was logged by the hook.
    std::panic::catch_unwind(program).unwrap_or(ExitCode::from(DEFECT))
}

fn program() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command.unwrap_or(Command::Serve);
    let flags = cli.settings.given();
    // The health of another recorder does not depend on the configuration of this one.
    if let Command::Check { url: Some(url) } = &command {
        if !flags.is_empty() || cli.settings.config.is_some() {
            let error = "check --url takes no other flags";
            return exit_with_error(&error, WRONG_USAGE);
        }
        return check_exit_code(block_on(check::remote(url, &mut io::stdout().lock())));
    }
    let loaded = match Config::load(cli.settings.config.as_deref(), &flags, &ProcessEnvironment) {
        Ok(loaded) => loaded,
        Err(error) => return exit_with_error(&error, WRONG_USAGE),
    };
    if let Err(error) = logging::init(&loaded.config.log, |text| clean_text(text, LOG_TEXT_MAX)) {
        return exit_with_error(&error, FAILED);
    }
    panics::install();
    loaded
        .warnings
        .iter()
        .for_each(|warning| warn!("{warning}"));
    match command {
        Command::Serve => serve(loaded.config),
        Command::Snapshot { file } => copy_database(&loaded.config, &file),
        Command::Purge {
            object,
            object_namespace,
            path,
        } => purge(&loaded.config, object.as_deref(), object_namespace, path),
        Command::Check { .. } => check_exit_code(block_on(check::local(
            &loaded.config,
            &mut io::stdout().lock(),
        ))),
    }
}

fn serve(config: Config) -> ExitCode {
    info!(version = kube9_recorder::VERSION, "starting");
    if let Err(error) = disable_core_dumps() {
        warn!(%error, "cannot disable core dumps");
    }
    let work = async {
        let stop = stop_signal()?;
        run(config, Clock::system(), stop).await
    };
    ExitCode::from(exit_code(&block_on(work)))
}

fn copy_database(config: &Config, target: &Path) -> ExitCode {
    // Anyone who can `kubectl exec` could fill the volume with it, or the memory through /dev/shm.
    if target != Path::new("-") && Location::here() == Location::Pod {
        let error = "inside a pod, snapshot writes to stdout only: use snapshot -";
        return exit_with_error(&error, WRONG_USAGE);
    }
    let database = config.data_dir.join(FILE_NAME);
    let copied = if target == Path::new("-") {
        exit_after(STREAM_MAX);
        stream(&database, &mut io::stdout().lock())
    } else {
        snapshot(&database, target)
    };
    match copied {
        Ok(bytes) => {
            info!(bytes, file = %target.display(), "snapshot written");
            ExitCode::SUCCESS
        }
        Err(error) => exit_with_error(&format!("{:#}", anyhow::Error::from(error)), FAILED),
    }
}

/// How long a purge waits for the recorder.
const PURGE_WAIT: Duration = Duration::from_secs(60);

fn purge(
    config: &Config,
    object: Option<&str>,
    namespace: Option<String>,
    path: Option<String>,
) -> ExitCode {
    let request = match (object.map(|object| object.split_once('/')), namespace) {
        (Some(Some((kind, name))), namespace) if !kind.is_empty() && !name.is_empty() => {
            let (kind, name) = (kind.to_owned(), name.to_owned());
            let namespace = namespace.unwrap_or_default();
            match path {
                Some(path) => PurgeRequest::Fields {
                    kind,
                    namespace,
                    name,
                    path,
                },
                None => PurgeRequest::Object {
                    kind,
                    namespace,
                    name,
                },
            }
        }
        (None, Some(namespace)) if !namespace.is_empty() => PurgeRequest::Namespace(namespace),
        _ => {
            let error = "purge needs KIND/NAME, a namespace with -N, or both";
            return exit_with_error(&error, WRONG_USAGE);
        }
    };
    match purge_and_wait(&config.data_dir, &request) {
        Ok(Purged {
            objects,
            revisions,
            rows,
        }) => {
            let text =
                format!("erased {rows} rows and {revisions} past states of {objects} objects");
            // If stdout is closed, the record still says it.
            drop(writeln!(io::stdout(), "{text}"));
            ExitCode::SUCCESS
        }
        Err(error) => exit_with_error(&format!("{error:#}"), FAILED),
    }
}

fn purge_and_wait(directory: &Path, request: &PurgeRequest) -> anyhow::Result<Purged> {
    kube9_store::purge::request(directory, request)
        .with_context(|| format!("cannot request a purge in {}", directory.display()))?;
    let until = Instant::now() + PURGE_WAIT;
    while Instant::now() < until {
        if let Some(answer) = take_answer(directory).context("cannot read the answer")? {
            return answer.map_err(|error| anyhow!(error));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(anyhow!(
        "the recorder did not answer within {PURGE_WAIT:?}; the request stays, and the recorder of this directory applies \
         it when it runs"
    ))
}

/// Time limit of a snapshot to stdout: 10 GiB at 3 MB/s. Its copy uses space on the volume, so a stalled reader must not
/// keep it.
const STREAM_MAX: Duration = Duration::from_secs(3600);

/// Exits after `time`; the unlinked file of the copy is then freed.
fn exit_after(time: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(time);
        let error = format!("the snapshot was not read within {time:?}");
        let _ = exit_with_error(&error, FAILED);
        std::process::exit(FAILED.into());
    });
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = runtime().context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Resolves at the first SIGTERM or SIGINT.
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

/// The exit code of a check; its errors go to stderr, not to the log.
fn check_exit_code(outcome: anyhow::Result<Verdict>) -> ExitCode {
    match outcome {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(FAILED),
        Err(error) => exit_with_error(&format!("{error:#}"), FAILED),
    }
}

fn exit_with_error(error: &dyn Display, code: u8) -> ExitCode {
    // If stderr is closed, the error cannot be reported.
    drop(writeln!(io::stderr(), "kube9-recorder: {error}"));
    ExitCode::from(code)
}
