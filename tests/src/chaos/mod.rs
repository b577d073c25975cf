//! Chaos: kills, stalls and deceives a recorder, then compares its database with the ground truth, Event by Event.
//!
//! ```text
//!   load ──▶ simulated API server ◀── faults: cuts, restarts, 410, 500, 429, half lines, silence, compaction …
//!                   │ HTTP
//!                   ▼
//!   process: the recorder as a child process ◀── SIGKILL, SIGSTOP, a clock that jumps,
//!                   │                                a failing disk, a locked database
//!                   │ kube9.db
//!                   ▼
//!   comparison: lost, duplicated, wrong count, unaccounted gaps; changes: lost, doubled, wrong
//! ```
//!
//! The same seed gives the same load and the same order of faults; their times depend on the machine.

mod burst;
mod changes;
mod clock_skew;
mod comparison;
mod faults;
pub mod http;
mod load;
mod process;
pub mod soak;
pub mod tenant;
pub mod writers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::apiserver::{ApiServer, Config};
use crate::faulty_disk::FaultyDisk;
use crate::generator::Rng;
use crate::recorder::{Setup, wait_until};

use changes::ChangeLoad;
use load::Load;

pub use burst::{Burst, burst};
pub use changes::ChangeComparison;
pub use comparison::{Comparison, compare, wait_for_the_rest};
pub use load::DeletedEvents;
pub use process::{RecorderProcess, ShortRetention, run_recorder};

/// Most requests per minute, without continued list pages. The back-off of 100 ms to 1 s allows 60 attempts per minute
/// of two requests each. Each of 100 starts adds three requests for Events and three for each of five informers (a list
/// at the position, which may have expired, a list, a watch), and one for each of 33 kinds that are not served.
const REQUESTS_A_MINUTE_MAX: usize = 5_300;

/// Writes to objects.
const CHANGES_A_SECOND: u64 = 12;

/// Options of a chaos run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Duration of the faults.
    pub duration: Duration,
    /// Seed of load and faults.
    pub seed: u64,
    /// Writes to Events per second, new ones and repeats.
    pub rate: u64,
    /// Mean time between two kills.
    pub kill_every: Duration,
}

/// Result of a chaos run.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What this machine does not support.
    pub untried: Option<&'static str>,
    /// SIGKILLs.
    pub kills: u64,
    /// Requests to the API server, and the most in any minute (without continued pages).
    pub requests: usize,
    /// See `requests`.
    pub densest_minute: usize,
    /// Scrapes of `/metrics` whose event counts were checked.
    pub scrapes: u64,
    /// Scrapes whose event counts did not balance.
    pub unbalanced: u64,
    /// Kills after which the database contained less than before.
    pub commits_lost: u64,
    pub comparison: Comparison,
    pub changes: ChangeComparison,
}

impl Report {
    /// No errors.
    pub fn is_clean(&self) -> bool {
        self.comparison.is_clean()
            && self.changes.is_clean()
            && self.unbalanced == 0
            && self.commits_lost == 0
            && self.densest_minute <= REQUESTS_A_MINUTE_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        writeln!(
            f,
            "chaos: {} s, seed {}, {} writes a second",
            options.duration.as_secs(),
            options.seed,
            options.rate
        )?;
        writeln!(f, "kills             {}", self.kills)?;
        for (name, times) in &self.faults {
            writeln!(f, "  {name:<32}{times}")?;
        }
        if let Some(untried) = self.untried {
            writeln!(f, "  SKIPPED: {untried}")?;
        }
        writeln!(
            f,
            "requests          {} (most in a minute {}, allowed {REQUESTS_A_MINUTE_MAX})",
            self.requests, self.densest_minute
        )?;
        writeln!(
            f,
            "event counts      {} scrapes, {} unbalanced",
            self.scrapes, self.unbalanced
        )?;
        writeln!(f, "commits lost      {}", self.commits_lost)?;
        write!(f, "{}{}", self.comparison, self.changes)
    }
}

/// Runs chaos in `folder`.
///
/// Returns an error if chaos itself cannot run; faults of the recorder are in the report.
pub fn run(options: &Options, folder: &Path) -> anyhow::Result<Report> {
    let mut seeds = Rng::new(options.seed);
    let server = Arc::new(ApiServer::start(Config {
        event_ttl: Duration::from_secs(75),
        compaction_interval: Some(Duration::from_secs(20)),
        ..Config::default()
    })?);
    let mut setup = Setup::new(&server, folder, "")?;
    setup.yaml = setup
        .yaml
        .replace("source:\n", "source:\n  event_ttl: 75s\n");
    // Short runs of the recorder must be able to complete a list, so pages are large.
    setup.yaml = setup.yaml.replace("page_size: 100", "page_size: 1000");
    setup.config().context("configuration of the chaos run")?;

    let disk = FaultyDisk::build(folder)?;
    let untried = disk
        .is_none()
        .then_some("no C compiler: disk faults are skipped");
    let environment = disk.as_ref().map_or_else(Vec::new, FaultyDisk::environment);
    let mut process = RecorderProcess::new(setup.clone(), std::env::current_exe()?, environment);
    let mut injector = faults::FaultInjector::new(
        server.clone(),
        setup.clone(),
        disk,
        seeds.fork(),
        faults::Pace::CHAOS,
    );
    let stop = Arc::new(AtomicBool::new(false));
    let changes = ChangeLoad::start(server.clone(), seeds.fork(), CHANGES_A_SECOND, stop.clone());
    process.start()?;
    comparison::wait_for_the_first_list(&setup)?;
    let load = Load::start(server.clone(), seeds.fork(), options.rate, stop.clone());

    let mut watcher = Watcher::default();
    let until = Instant::now() + options.duration;
    let mut random = seeds.fork();
    let mut next_kill = Instant::now() + random_wait(&mut random, options.kill_every);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(random.between(20, 120)));
        watcher.poll(&setup);
        injector.step(process.id())?;
        if Instant::now() >= next_kill {
            process.kill()?;
            watcher.after_a_kill(&setup);
            process.start()?;
            next_kill = Instant::now() + random_wait(&mut random, options.kill_every);
        }
        ensure!(
            process.is_running()?,
            "the recorder exited unexpectedly; see {}",
            folder.display()
        );
    }

    stop.store(true, Ordering::Release);
    let deleted = load.finish()?;
    let states = changes.finish()?;
    injector.end(process.id())?;
    comparison::wait_for_the_rest(&server, &setup, || process.is_running().unwrap_or(false));
    wait_until(|| changes::holds_the_last(&states, &setup));
    watcher.poll(&setup);
    process.terminate()?;
    let attempts: Vec<_> = server
        .requests()
        .all()
        .into_iter()
        .filter(|request| !request.target.contains("continue="))
        // Walks have bounds of their own.
        .filter(|request| !request.target.contains("metadata.name"))
        .map(|request| request.at)
        .collect();
    Ok(Report {
        options: options.clone(),
        faults: injector.done().clone(),
        untried,
        kills: process.kills(),
        requests: server.requests().all().len(),
        densest_minute: densest(&attempts, Duration::from_secs(60)),
        scrapes: watcher.scrapes,
        unbalanced: watcher.unbalanced,
        commits_lost: watcher.commits_lost,
        comparison: comparison::compare(&server.store().truth(), &deleted, &setup)?,
        changes: changes::compare(&states, &setup)?,
    })
}

fn random_wait(random: &mut Rng, mean: Duration) -> Duration {
    Duration::from_secs_f64(random.waiting(mean.as_secs_f64())).max(Duration::from_millis(5))
}

fn densest(times: &[Duration], span: Duration) -> usize {
    let mut oldest = 0;
    let mut most = 0;
    for (newest, at) in times.iter().enumerate() {
        while *at - times[oldest] >= span {
            oldest += 1;
        }
        most = most.max(newest + 1 - oldest);
    }
    most
}

/// Checks invariants while the recorder runs.
#[derive(Debug, Default)]
struct Watcher {
    scrapes: u64,
    unbalanced: u64,
    committed: i64,
    commits_lost: u64,
}

impl Watcher {
    fn poll(&mut self, setup: &Setup) {
        let metrics = setup.metrics();
        if !metrics.is_empty() {
            self.scrapes += 1;
            self.unbalanced += u64::from(crate::recorder::balance(&metrics).is_none());
        }
        self.count(setup);
    }

    fn after_a_kill(&mut self, setup: &Setup) {
        self.count(setup);
    }

    /// Occurrences only grow: what was committed survives any kill.
    fn count(&mut self, setup: &Setup) {
        let sql = "SELECT ifnull(sum(occurrences), 0) FROM event WHERE uid IS NOT NULL";
        if let Some(now) = setup.number(sql) {
            self.commits_lost += u64::from(now < self.committed);
            self.committed = now;
        }
    }
}
