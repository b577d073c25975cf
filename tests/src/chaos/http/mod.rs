//! Hostile clients of the recorder's port: requests from a grammar, mutated at random, sent in pieces, cut off or
//! stalled.
//!
//! ```text
//!   load ──▶ simulated API server ──▶ the shipped recorder ◀── clients: grammar ─ mutation ─ way of sending
//!              │ truth                    ▲        ▲     ▲
//!              ▼                          │        │     └── probe: GET /livez, ten times a second, must be answered
//!           comparison ◀ kube9.db ─────────┘        └──────── memory, once a second
//! ```
//!
//! The same seed gives each client the same requests; when they arrive depends on the machine.

mod client;
mod grammar;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use super::comparison::{self, Comparison};
use super::load::Load;
use super::process::RecorderProcess;
use crate::apiserver::{ApiServer, Config};
use crate::generator::Rng;
use crate::recorder::Setup;

use client::{Client, ClientCounts};

/// Concurrent clients: enough for concurrent requests, few enough not to take the recorder's whole core.
const CLIENTS: usize = 6;

/// Interval of the probes. A kubelet probes every ten seconds.
const PROBE_EVERY: Duration = Duration::from_millis(100);

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Allowed memory growth in KiB: 64 connections, each with a head of 16 KiB, a page of /metrics and its unsent part (60
/// KiB each, with a margin), and the same again for the allocator and the record.
const GROWTH_KIB_MAX: u64 = 16 << 10;

/// Writes to Events per second meanwhile; all must be recorded.
const EVENTS_A_SECOND: u64 = 20;

/// How it is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The shipped binary.
    pub program: PathBuf,
    /// How long.
    pub duration: Duration,
    /// Determines the requests.
    pub seed: u64,
}

/// Result of the HTTP attack.
#[derive(Debug)]
pub struct Report {
    /// How it was run.
    pub options: Options,
    /// Counts of the clients.
    pub seen: ClientCounts,
    /// Probes answered with 200, and all others.
    pub probes: (u64, u64),
    /// `kube9_http_panics_total` at the end.
    pub panics: f64,
    /// Resident memory before the first request, its peak, and after the last, in KiB.
    pub memory: (u64, u64, u64),
    /// Lines of the log, and those that mention a panic.
    pub log: (usize, usize),
    /// The comparison of the record with the truth.
    pub comparison: Comparison,
}

impl Report {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        let (before, most, after) = self.memory;
        self.comparison.is_clean()
            && self.panics == 0.0
            && self.log.1 == 0
            && self.probes.1 == 0
            && most.max(after) <= before + GROWTH_KIB_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (options, seen) = (&self.options, &self.seen);
        writeln!(
            f,
            "http: {} s, seed {}, {CLIENTS} clients",
            options.duration.as_secs(),
            options.seed
        )?;
        writeln!(f, "connections       {}", seen.connections)?;
        writeln!(f, "requests          {}", seen.requests)?;
        writeln!(f, "bytes sent        {}", seen.bytes)?;
        for (form, times) in &seen.forms {
            writeln!(f, "  {form:<32}{times}")?;
        }
        for (code, times) in &seen.codes {
            writeln!(f, "  answered {code:<23}{times}")?;
        }
        writeln!(f, "  connections reset               {}", seen.resets)?;
        writeln!(f, "  connections not answered        {}", seen.silent)?;
        writeln!(
            f,
            "probes            {} answered, {} not",
            self.probes.0, self.probes.1
        )?;
        writeln!(f, "panics counted    {}", self.panics)?;
        writeln!(
            f,
            "memory            {} KiB before, {} at most, {} after (allowed: {GROWTH_KIB_MAX} more)",
            self.memory.0, self.memory.1, self.memory.2
        )?;
        writeln!(
            f,
            "log               {} lines, {} about a panic",
            self.log.0, self.log.1
        )?;
        write!(f, "{}", self.comparison)
    }
}

/// Runs the clients against the recorder, which works in `folder`.
///
/// Returns an error if it cannot run or the recorder exits; other faults are in the report.
pub fn run(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let mut seeds = Rng::new(options.seed);
    let server = Arc::new(ApiServer::start(Config::default())?);
    let setup = Setup::new(&server, folder, "")?;
    let mut recorder = RecorderProcess::shipped(setup.clone(), options.program.clone());
    recorder.start()?;
    comparison::wait_for_the_first_list(&setup)?;
    let memory = |recorder: &RecorderProcess| resident_kib(recorder).unwrap_or(0);
    let before = memory(&recorder);
    let mut most = before;

    let stop = Arc::new(AtomicBool::new(false));
    let load = Load::start(server.clone(), seeds.fork(), EVENTS_A_SECOND, stop.clone());
    let clients: Vec<JoinHandle<ClientCounts>> = (0..CLIENTS)
        .map(|_| {
            let client = Client::new(setup.listen, seeds.fork());
            let stop = stop.clone();
            std::thread::spawn(move || client.run(&stop))
        })
        .collect();
    let probe = {
        let (address, stop) = (setup.listen, stop.clone());
        std::thread::spawn(move || probe(address, &stop))
    };
    let until = Instant::now() + options.duration;
    while Instant::now() < until && recorder.is_running()? {
        std::thread::sleep(SAMPLE_EVERY.min(options.duration));
        most = most.max(memory(&recorder));
    }
    stop.store(true, Ordering::Release);
    let mut seen = ClientCounts::default();
    for client in clients {
        seen.add(client.join().map_err(|_| anyhow!("a client panicked"))?);
    }
    let probes = probe.join().map_err(|_| anyhow!("the probe panicked"))?;
    let deleted = load.finish()?;
    ensure!(
        recorder.is_running()?,
        "the recorder ended after {} requests; see {}",
        seen.requests,
        folder.display()
    );
    comparison::wait_for_the_rest(&server, &setup, || recorder.is_running().unwrap_or(false));
    let panics = setup
        .metrics()
        .into_iter()
        .find(|(name, _)| name == "kube9_http_panics_total")
        .map_or(f64::NAN, |(_, value)| value);
    let after = memory(&recorder);
    recorder.terminate()?;
    let log = fs::read_to_string(folder.join("recorder.log"))?;
    let about_panics = log.lines().filter(|line| line.contains("panic")).count();
    Ok(Report {
        options: options.clone(),
        seen,
        probes,
        panics,
        memory: (before, most, after),
        log: (log.lines().count(), about_panics),
        comparison: comparison::compare(&server.store().truth(), &deleted, &setup)?,
    })
}

/// Probes like a kubelet until `stop`; returns answered and failed probes.
fn probe(address: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let client = crate::client::Client::new(&format!("http://{address}"), None);
    let mut probes = (0, 0);
    while !stop.load(Ordering::Acquire) {
        match client.get("/livez") {
            Ok(answer) if answer.code == 200 => probes.0 += 1,
            _ => probes.1 += 1,
        }
        std::thread::sleep(PROBE_EVERY);
    }
    probes
}

fn resident_kib(recorder: &RecorderProcess) -> Option<u64> {
    let process = recorder.id()?.as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Counts by name.
type Counts<K> = BTreeMap<K, u64>;
