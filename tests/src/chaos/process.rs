//! The recorder as a child process: this program with a hidden subcommand, or the shipped binary.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use kube9_base::clock::Clock;
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use kube9_recorder::logging;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::clock_skew::SkewedTime;
use crate::recorder::Setup;

/// Name of the hidden subcommand.
pub(super) const SUBCOMMAND: &str = "run-recorder";

/// Retention times for the soak. The configuration allows no less than an hour, which is too long for it.
#[derive(Debug, Clone, Copy)]
pub struct ShortRetention {
    /// Rows of severity info and warning.
    pub info_warning: Duration,
    /// Rows of severity error and critical.
    pub error_critical: Duration,
}

/// Runs the recorder with that configuration until SIGTERM.
pub fn run_recorder(file: &Path, retention: Option<ShortRetention>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let mut config = Config::from_text(&text, &Flags::default(), &ProcessEnvironment)
        .map_err(|problems| anyhow!("{problems:?}"))?
        .config;
    if let Some(retention) = retention {
        config.retention.info_warning = retention.info_warning;
        config.retention.error_critical = retention.error_critical;
    }
    logging::init(&config.log, str::to_owned).map_err(|error| anyhow!("{error}"))?;
    let runtime = kube9_recorder::runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let clock = Clock::new(Arc::new(SkewedTime::new(folder)));
        kube9_recorder::run(config, clock, async move {
            terminate.recv().await;
        })
        .await
    })
}

/// The recorder process.
#[derive(Debug)]
pub struct RecorderProcess {
    setup: Setup,
    program: PathBuf,
    /// Arguments before the name of the configuration.
    words: &'static str,
    environment: Vec<(String, PathBuf)>,
    retention: Option<ShortRetention>,
    child: Option<Child>,
    kills: u64,
}

impl RecorderProcess {
    /// Does not start it. `program` is `kube9-chaos`; `environment` extends this process's environment.
    pub fn new(setup: Setup, program: PathBuf, environment: Vec<(String, PathBuf)>) -> Self {
        Self {
            setup,
            program,
            words: SUBCOMMAND,
            environment,
            retention: None,
            child: None,
            kills: 0,
        }
    }

    /// As [`RecorderProcess::new`] with the shipped `kube9-recorder`.
    pub fn shipped(setup: Setup, program: PathBuf) -> Self {
        let mut recorder = Self::new(setup, program, Vec::new());
        recorder.words = "--config";
        recorder
    }

    /// Sets retention times below what the configuration allows.
    #[must_use]
    pub fn with_retention(mut self, retention: ShortRetention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Starts it; its log is `recorder.log` in the setup's folder.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let config = self.setup.folder.join("recorder.yaml");
        fs::write(&config, &self.setup.yaml)?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.setup.folder.join("recorder.log"))?;
        let child = Command::new(&self.program)
            .envs(self.environment.iter().cloned())
            .arg(self.words)
            .arg(&config)
            .args(self.retention.iter().flat_map(|retention| {
                [retention.info_warning, retention.error_critical]
                    .map(|time| time.as_secs().to_string())
            }))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the recorder")?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process id.
    pub fn id(&self) -> Option<Pid> {
        let id = self.child.as_ref()?.id();
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// How often it was killed.
    pub fn kills(&self) -> u64 {
        self.kills
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// SIGKILL: no handler, no flush, nothing.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
            self.kills += 1;
        }
        Ok(())
    }

    /// Sends SIGTERM and checks that it exits cleanly.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if let Some(id) = self.id() {
            kill_process(id, Signal::TERM)?;
        }
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            match child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the recorder ended with {status} after SIGTERM"),
                None if Instant::now() > until => {
                    child.kill()?;
                    child.wait()?;
                    bail!("the recorder did not end within 30 s after SIGTERM");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for RecorderProcess {
    fn drop(&mut self) {
        // No recorder is left running.
        drop(self.kill());
    }
}
