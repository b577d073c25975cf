//! The torture: a recorder that is killed, starved and lied to, and then compared with the truth, Event by Event.
//!
//! ```text
//!   load ──▶ simulated API server ◀── chaos: cuts, restarts, 410, 500, 429, half lines, silence, compaction …
//!                   │ HTTP
//!                   ▼
//!   victim: the recorder as a process of its own ◀── SIGKILL, SIGSTOP, a clock that jumps,
//!                   │                                a disk that fails, a database that stands still
//!                   │ kube9.db
//!                   ▼
//!   verdict: lost, doubled, wrong count, unaccounted gaps
//! ```
//!
//! The same seed gives the same load and the same order of faults; their times depend on the machine.

mod burst;
mod clock_skew;
mod comparison;
mod faults;
pub mod http;
mod load;
mod process;
pub mod soak;
pub mod tenant;

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
use crate::recorder::Setup;

use load::Load;

pub use burst::{Burst, burst};
pub use comparison::{Comparison, compare, wait_for_the_rest};
pub use load::DeletedEvents;
pub use process::{RecorderProcess, ShortRetention, run_recorder};

/// Requests that any minute may see, pages of a list that go on not counted: with the back-off of 100 ms to 1 s that the
/// torture configures at most 60 attempts a minute at the cap, two requests each; and for each of 100 lives three of an
/// Events watch and three of each of five informers (the list at the position, which may be gone, a list, a watch).
const REQUESTS_A_MINUTE_MAX: usize = 2_000;

/// How the torture is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the faults go on.
    pub duration: Duration,
    /// Determines load and faults.
    pub seed: u64,
    /// Events written a second, new ones and repeats.
    pub rate: u64,
    /// Mean time between two kills.
    pub kill_every: Duration,
}

/// What was done and what came of it.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    /// Faults by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// What this machine does not allow to try.
    pub untried: Option<&'static str>,
    /// SIGKILLs.
    pub kills: u64,
    /// Requests to the API server, and the most in any minute (pages that go on not counted).
    pub requests: usize,
    /// See `requests`.
    pub densest_minute: usize,
    /// Scrapes of `/metrics` whose account was checked.
    pub scrapes: u64,
    /// Of these, such that did not balance.
    pub unbalanced: u64,
    /// Times at which the database held less after a kill than before.
    pub commits_lost: u64,
    pub comparison: Comparison,
}

impl Report {
    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.comparison.is_clean()
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
            "torture: {} s, seed {}, {} writes a second",
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
            "account           {} scrapes, {} unbalanced",
            self.scrapes, self.unbalanced
        )?;
        writeln!(f, "commits lost      {}", self.commits_lost)?;
        write!(f, "{}", self.comparison)
    }
}

/// Runs the torture in `folder`.
///
/// If the torture itself cannot be run; what the recorder does wrong is in the report.
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
    // Some lives are too short for a list of many pages; those that are not should complete it.
    setup.yaml = setup.yaml.replace("page_size: 100", "page_size: 1000");
    setup.config().context("the torture's own configuration")?;

    let disk = FaultyDisk::build(folder)?;
    let untried = disk
        .is_none()
        .then_some("no C compiler: faults of the disk were not tried");
    let environment = disk.as_ref().map_or_else(Vec::new, FaultyDisk::environment);
    let mut process = RecorderProcess::new(setup.clone(), std::env::current_exe()?, environment);
    let mut injector = faults::FaultInjector::new(
        server.clone(),
        setup.clone(),
        disk,
        seeds.fork(),
        faults::Pace::CHAOS,
    );
    process.start()?;
    comparison::wait_for_the_first_list(&setup)?;
    let stop = Arc::new(AtomicBool::new(false));
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
            "the recorder ended by itself; see {}",
            folder.display()
        );
    }

    stop.store(true, Ordering::Release);
    let deleted = load.finish()?;
    injector.end(process.id())?;
    comparison::wait_for_the_rest(&server, &setup, || process.is_running().unwrap_or(false));
    watcher.poll(&setup);
    process.terminate()?;
    let attempts: Vec<_> = server
        .requests()
        .all()
        .into_iter()
        .filter(|request| !request.target.contains("continue="))
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

/// Checks what must hold at any moment.
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

    /// Occurrences only ever grow: what was committed once is there after any kill.
    fn count(&mut self, setup: &Setup) {
        let sql = "SELECT ifnull(sum(occurrences), 0) FROM event WHERE uid IS NOT NULL";
        if let Some(now) = setup.number(sql) {
            self.commits_lost += u64::from(now < self.committed);
            self.committed = now;
        }
    }
}
