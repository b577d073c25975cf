//! Memory of both programs as processes: the recorder against the simulated API server, the query for each kind of
//! question. Also the recorder's CPU time per Event, since this is the complete path from the API server to the row.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::query;
use super::report::{Limit, Report};
use crate::apiserver::{ApiServer, Config};
use crate::clock::Micros;
use crate::generator;
use crate::recorder::{PATIENCE, Setup};

const IDLE_KIB_MAX: f64 = 15.0 * 1024.0;
const BUSY_KIB_MAX: f64 = 25.0 * 1024.0;
const CPU_MICROS_MAX: f64 = 50.0;

/// Quiet time after which everything counts as stored.
const QUIET: Duration = Duration::from_secs(3);

/// Measures both programs; `events` arrive as one burst.
pub fn run(
    seed: u64,
    events: usize,
    (program, query): (&Path, &Path),
    report: &mut Report,
) -> anyhow::Result<()> {
    recorder(seed, events, program, report)?;
    query::memory(seed, events, query, report)
}

fn recorder(seed: u64, events: usize, program: &Path, report: &mut Report) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = ApiServer::start(Config::default())?;
    let setup = Setup::new(&server, dir.path(), "")?;
    let config = dir.path().join("config.yaml");
    // Default times; those of `Setup` are for tests.
    let yaml: Vec<&str> = setup.yaml.lines().take(3).collect();
    std::fs::write(&config, yaml.join("\n"))?;
    let mut recorder = Recorder::start(program, &config)?;
    let ready = Instant::now();
    while setup
        .number("SELECT count(*) FROM watch_state WHERE kind = 'Event' AND position IS NOT NULL")
        != Some(1)
    {
        ensure!(ready.elapsed() < PATIENCE, "the recorder is not ready");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(QUIET);
    let idle = recorder.usage()?;
    let stored = "SELECT ifnull(sum(occurrences), 0) FROM event WHERE uid IS NOT NULL";
    let begun = Instant::now();
    let sent = generator::burst(server.store(), seed, events, Micros::now());
    let (mut last, mut since) = (None, Instant::now());
    while since.elapsed() < QUIET {
        let now = setup.number(stored);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        ensure!(begun.elapsed() < 4 * PATIENCE, "the Events do not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    let took = since.duration_since(begun);
    let busy = recorder.usage()?;
    recorder.stop()?;
    let entries = setup.number("SELECT count(*) FROM dedup").unwrap_or(0);
    ensure!(entries > 0 && sent > 0, "nothing was stored");
    report.group(format!(
        "recorder process: burst of {events} changes of {sent} Events through the watch, {entries} tracked"
    ));
    report.add(
        "idle, peak",
        idle.peak_kib,
        "KiB",
        Limit::AtMost(IDLE_KIB_MAX),
    );
    report.add(
        "idle, resident",
        idle.resident_kib,
        "KiB",
        Limit::AtMost(IDLE_KIB_MAX),
    );
    report.add(
        "with the Events, peak",
        busy.peak_kib,
        "KiB",
        Limit::AtMost(BUSY_KIB_MAX),
    );
    report.add(
        "with the Events, resident afterwards",
        busy.resident_kib,
        "KiB",
        Limit::AtMost(BUSY_KIB_MAX),
    );
    let changes = events as f64;
    let cpu = (busy.cpu - idle.cpu).as_secs_f64() * 1e6 / changes;
    report.add(
        "CPU per change, from the socket to the row",
        cpu,
        "µs",
        Limit::AtMost(CPU_MICROS_MAX),
    );
    report.add(
        "changes stored per second",
        sent as f64 / took.as_secs_f64(),
        "/s",
        Limit::None,
    );
    Ok(())
}

/// A recorder process, as in a pod.
struct Recorder(Child);

/// Resources used by a process.
struct Usage {
    peak_kib: f64,
    resident_kib: f64,
    cpu: Duration,
}

impl Recorder {
    fn start(program: &Path, config: &Path) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    fn usage(&self) -> anyhow::Result<Usage> {
        let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id()));
        let status = of("status").context("the recorder ended")?;
        let kib = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_ascii_whitespace().nth(1));
            Ok(number.with_context(|| name.to_owned())?.parse()?)
        };
        // Fields after the name, which may hold anything but ends with the last bracket: utime and stime are 14 and 15.
        let stat = of("stat")?;
        let (_, fields) = stat.rsplit_once(')').context("stat has no name")?;
        let ticks: u64 = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<_, _>>()?;
        Ok(Usage {
            peak_kib: kib("VmHWM:")?,
            resident_kib: kib("VmRSS:")?,
            cpu: Duration::from_secs_f64(
                ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
            ),
        })
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.0.id())?;
        let id = rustix::process::Pid::from_raw(id).context("a process has an id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        let ended = self.0.wait()?;
        ensure!(ended.success(), "the recorder ended with {ended}");
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Only if something failed before `stop`; an error means that it has already exited.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program in the same directory as this one.
pub fn sibling_program(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    ensure!(
        program.exists(),
        "{} is missing: cargo build --release --workspace --bins",
        program.display()
    );
    Ok(program)
}
