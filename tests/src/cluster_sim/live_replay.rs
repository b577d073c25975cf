//! Replays a simulation through a recorder process with the real client, against the simulated API server.
//!
//! ```text
//!   this process: ClusterSim ─▶ ApiServer ◀── HTTP ── child: recorder with a clock `speed` times as fast ─▶ database
//!                                                                                                             │
//!   diff ◀─────────────────────────────── findings, read as a client reads them ──────────────────────────────┘
//! ```
//!
//! Only the recorder's clock is replaced. Its pauses (ticks, heartbeats) stay real, so it may see changes late by
//! `speed` times half a second.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, ensure};
use kube9_base::clock::{Clock, TimeSource};
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{ObjectRef, Severity};
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use kube9_recorder::logging;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::diff::FindingStep;
use super::replay::KINDS;
use super::{ClusterSim, Ms, START};
use crate::apiserver::{self, ApiServer};
use crate::recorder::{Setup, free_address, wait_until};

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "recorder-with-fast-clock";

/// Real time for the first list, before the simulation begins.
const LEAD_IN: Duration = Duration::from_secs(30);

/// How often a running recorder checks its timers.
const TICK: Duration = Duration::from_millis(500);

/// A clock that runs `speed` times as fast since a moment of the machine's clock.
struct FastTime {
    begun: Duration,
    speed: f64,
    origin: Instant,
}

fn machine_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn day_time(begun: Duration, speed: f64) -> Ms {
    let passed = machine_time().as_secs_f64() - begun.as_secs_f64() - LEAD_IN.as_secs_f64();
    START + (passed * speed * 1000.0) as Ms
}

impl TimeSource for FastTime {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(day_time(self.begun, self.speed))
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// What the hidden subcommand runs: the recorder with that configuration, until SIGTERM.
pub fn run_child(file: &Path, begun_millis: u64, speed: f64) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let config = Config::from_text(&text, &Flags::default(), &ProcessEnvironment)
        .map_err(|problems| anyhow!("{problems:?}"))?
        .config;
    logging::init(&config.log, str::to_owned).map_err(|error| anyhow!("{error}"))?;
    let clock = Clock::new(Arc::new(FastTime {
        begun: Duration::from_millis(begun_millis),
        speed,
        origin: Instant::now(),
    }));
    let runtime = kube9_recorder::runtime()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        kube9_recorder::run(config, clock, async move {
            terminate.recv().await;
        })
        .await
    })
}

/// A recorder in a process of its own, killed when dropped.
pub(super) struct Process {
    child: Child,
}

/// Resources used by a process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time.
    pub cpu: Duration,
    /// Peak resident memory, in bytes.
    pub peak: u64,
    /// Resident memory, in bytes.
    pub resident: u64,
}

impl Process {
    pub(super) fn spawn(mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { child })
    }

    /// As the kernel counts it.
    pub(super) fn used(&self) -> anyhow::Result<Usage> {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let kib =
                line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
            kib.map(|kib| kib << 10)
                .with_context(|| format!("{folder}/status has no {name}"))
        };
        // Nanoseconds on a CPU, of all its threads: `stat` counts in hundredths of a second.
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("{folder}/task"))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += text
                .split_ascii_whitespace()
                .next()
                .and_then(|n| n.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(Usage {
            cpu: Duration::from_nanos(nanos),
            peak: bytes("VmHWM:")?,
            resident: bytes("VmRSS:")?,
        })
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(id.context("no process id")?, Signal::TERM)?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the recorder ended with {ended}");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The API server's word for a kind.
pub(crate) fn kind_of(kind: Kind) -> apiserver::Kind {
    match kind {
        Kind::Event | Kind::Tracked => apiserver::Kind::Event,
        Kind::Node => apiserver::Kind::Node,
        Kind::Pod => apiserver::Kind::Pod,
        Kind::Deployment => apiserver::Kind::Deployment,
        Kind::Service => apiserver::Kind::Service,
        Kind::ConfigMap => apiserver::Kind::ConfigMap,
    }
}

pub(super) fn put(server: &ApiServer, kind: Kind, object: Value) -> anyhow::Result<()> {
    let stored = server.store().apply(kind_of(kind), object);
    stored.map(drop).map_err(|status| anyhow!("{status:?}"))
}

/// Times and pages as they are by default: these figures are what a user gets.
pub(super) fn setup(server: &ApiServer, folder: &Path) -> anyhow::Result<Setup> {
    let kubeconfig = server.write_kubeconfig(folder)?;
    let listen = free_address()?;
    let yaml = format!(
        "data_dir: {}\nlisten: {listen}\nkube: {{kubeconfig: {}}}\nlog: {{format: text, level: info}}\n",
        folder.join("data").display(),
        kubeconfig.display(),
    );
    Ok(Setup {
        folder: folder.to_owned(),
        listen,
        yaml,
    })
}

pub(super) fn is_synced(setup: &Setup) -> bool {
    setup
        .health()
        .is_some_and(|(code, health)| code == 200 && health["ready"] == true)
}

/// Result of a replay.
#[derive(Debug)]
pub struct Outcome {
    /// Steps of findings, as the database has them.
    pub found: Vec<FindingStep>,
    /// What the process used.
    pub used: Usage,
    /// Usage after the first list.
    pub listed: Usage,
    /// Changes of objects.
    pub changes: u64,
    /// Observations of Events.
    pub events: u64,
    /// Largest delay of a change, in simulated time, because this process or the server was slow.
    pub late: Ms,
    /// Allowed delay relative to the ground truth.
    pub slack: Ms,
}

/// Runs the whole simulation, `speed` times as fast as real time; `keep` gets the database.
pub fn run(sim: &mut ClusterSim, speed: f64, keep: Option<&Path>) -> anyhow::Result<Outcome> {
    let server = ApiServer::start(apiserver::Config::default())?;
    server
        .store()
        .set_event_ttl(Duration::from_secs_f64(3600.0 / speed));
    for kind in KINDS {
        for object in sim.objects(kind) {
            put(&server, kind, object)?;
        }
    }
    let folder = tempfile::tempdir()?;
    let setup = setup(&server, folder.path())?;
    let config = folder.path().join("recorder.yaml");
    std::fs::write(&config, &setup.yaml)?;
    let begun = machine_time();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg(SUBCOMMAND)
        .arg(&config)
        .arg(begun.as_millis().to_string())
        .arg(speed.to_string());
    let process = Process::spawn(command, &folder.path().join("recorder.log"))?;
    ensure!(
        wait_until(|| is_synced(&setup)),
        "the recorder is not ready: {:?}",
        setup.health()
    );
    ensure!(
        day_time(begun, speed) < START,
        "the first list took longer than {LEAD_IN:?}"
    );
    let wait = |at: Ms| {
        let early = at - day_time(begun, speed);
        if early > 0 {
            std::thread::sleep(Duration::from_secs_f64(early as f64 / 1000.0 / speed));
        }
        -early
    };
    wait(START);
    let listed = process.used()?;
    let (mut changes, mut events, mut late) = (0, 0, 0);
    while let Some(delivery) = sim.next_delivery() {
        late = late.max(wait(delivery.at));
        let kind = delivery.kind;
        if delivery.deleted {
            let text = |key: &str| {
                delivery.object["metadata"][key]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let deleted = server
                .store()
                .delete(kind_of(kind), &text("namespace"), &text("name"));
            deleted.map_err(|status| anyhow!("{status:?}"))?;
        } else {
            put(&server, kind, delivery.object)?;
        }
        *(if kind == Kind::Event {
            &mut events
        } else {
            &mut changes
        }) += 1;
    }
    wait(sim.end());
    std::thread::sleep(3 * TICK);
    let used = process.used()?;
    let ended = process.stop();
    ended.with_context(|| log_tail(&folder.path().join("recorder.log")))?;
    if let Some(keep) = keep {
        // The recorder has ended: the log is in the file.
        std::fs::copy(folder.path().join("data/kube9.db"), keep)?;
    }
    Ok(Outcome {
        found: findings(&setup, sim.end())?,
        used,
        listed,
        changes,
        events,
        late,
        slack: (2.0 * TICK.as_secs_f64() * speed * 1000.0) as Ms + late + 1000,
    })
}

/// The end of a log, for the error about its process.
fn log_tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The steps of findings in the database, oldest first.
fn findings(setup: &Setup, until: Ms) -> anyhow::Result<Vec<FindingStep>> {
    let conn = setup.open()?;
    let mut rows = conn.prepare(
        "SELECT created_at, severity, object_kind, object_namespace, object_name, metadata FROM events
         WHERE json_extract(metadata, '$.finding') IS NOT NULL ORDER BY id",
    )?;
    let mut found = Vec::new();
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let text = |index: usize| {
            row.get::<_, Option<String>>(index)
                .map(Option::unwrap_or_default)
        };
        let at = Timestamp::parse(&text(0)?)
            .map_err(|bad| anyhow!("{bad:?}"))?
            .millis();
        let severity: Severity = text(1)?
            .parse()
            .map_err(|_| anyhow!("a severity that is none"))?;
        let object = ObjectRef {
            kind: text(2)?,
            namespace: text(3)?,
            name: text(4)?,
        };
        let metadata: Value = serde_json::from_str(&text(5)?)?;
        let fingerprint = metadata["finding"].as_str().unwrap_or_default();
        let object = Some(&object).filter(|object| !object.kind.is_empty());
        let closed = metadata.get("resolved_because").is_some();
        // `RecorderDatabaseUnhealthy` to `RecorderDiskNearlyFull` are about this machine and its disk, not about the
        // simulation.
        let own = [
            "RecorderDatabaseUnhealthy/",
            "RecorderWatchFailing/",
            "RecorderDiskNearlyFull/",
        ]
        .iter()
        .any(|rule| fingerprint.starts_with(rule));
        if at < until && !own {
            // Initial faults are found before the start.
            found.push(FindingStep::new(
                at.max(START),
                fingerprint,
                object,
                closed,
                severity,
            ));
        }
    }
    Ok(found)
}
