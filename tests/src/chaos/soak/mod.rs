//! The soak: recorder and query under changing load for an hour, with occasional faults, measured continuously.
//!
//! ```text
//!   load: quiet, steady, burst, churn, repeats ──▶ simulated API server ◀── faults, one per minute
//!                                                        │
//!                        sample (5 s): memory, files ──▶ recorder: started four times, the last run half of the time
//!                                                        │ kube9.db, kept small by age and by size
//!            ledger (2 s): every row ever recorded ◀─────┴─────▶ reader: a query process every 4 s
//! ```
//!
//! Chaos looks for losses; the soak looks for growth, and checks that retention deletes what it should and nothing
//! else. With the ledger, the comparison covers every Event of the hour.

mod ledger;
mod load;
pub mod plot;
mod reader;
mod report;
mod sample;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rusqlite::Connection;

use super::comparison::{compare_with, holds_the_living, wait_for_the_first_list};
use super::faults::{FaultInjector, Pace};
use super::load::DeletedEvents;
use super::process::{RecorderProcess, ShortRetention};
use crate::apiserver::{ApiServer, Config};
use crate::bench::memory::sibling_program;
use crate::faulty_disk::FaultyDisk;
use crate::generator::Rng;
use crate::recorder::{Setup, balance};

use ledger::Ledger;
use load::Load;
use reader::Reader;

pub use report::Report;
pub use sample::{RunMemory, Sample, csv, memory, parse};

/// Mean time between two faults. Some apply to the next request, and the recorder backs off to one attempt in 30 s.
/// With a mean of 20 s, faults accumulated and blocked the recorder for eight minutes.
const FAULT_EVERY: Duration = Duration::from_secs(60);

const POLL_EVERY: Duration = Duration::from_secs(2);
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_secs(4);
const TICK: Duration = Duration::from_millis(200);

/// How long the recorder gets to catch up after the last write.
const CATCH_UP: Duration = Duration::from_secs(120);

/// How a soak is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long.
    pub duration: Duration,
    /// Seed of load and faults.
    pub seed: u64,
    /// Size limit of the database.
    pub max_bytes: u64,
    /// Multiplies the rates of the phases.
    pub load: f64,
}

/// When and how the recorder is stopped, as fractions of the duration: three runs of ten minutes, then one of half an
/// hour.
const ENDS: [(f64, End); 3] = [
    (1.0 / 6.0, End::Kill),
    (2.0 / 6.0, End::Stop),
    (3.0 / 6.0, End::Kill),
];

#[derive(Debug, Clone, Copy)]
enum End {
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Stop,
}

/// Everything that runs.
struct Soak {
    server: Arc<ApiServer>,
    setup: Setup,
    retention: ShortRetention,
    process: RecorderProcess,
    injector: FaultInjector,
    load: Load,
    ledger: Ledger,
    reader: Reader,
    began: Instant,
    runs: u64,
    samples: Vec<Sample>,
    scrapes: u64,
    unbalanced: u64,
    /// Latest values of a scrape or a poll, for the next sample.
    now: Sample,
}

/// Runs the soak in `folder`; the samples are written to `soak.csv` in it.
///
/// Returns an error if the soak itself cannot run; faults of the programs are in the report.
pub fn run(options: Options, folder: &Path) -> anyhow::Result<Report> {
    let duration = options.duration;
    let stop = Arc::new(AtomicBool::new(false));
    let mut soak = Soak::start(options, folder, stop.clone())?;
    let mut ends = ENDS.iter();
    let mut end = ends.next();
    let (mut poll, mut sample, mut query) = (Instant::now(), Instant::now(), Instant::now());
    while soak.began.elapsed() < duration {
        std::thread::sleep(TICK);
        soak.injector.step(soak.process.id())?;
        if let Some((at, how)) = end
            && soak.began.elapsed() >= duration.mul_f64(*at)
        {
            soak.end_run(*how)?;
            end = ends.next();
        }
        if poll.elapsed() >= POLL_EVERY {
            poll = Instant::now();
            soak.poll()?;
        }
        if query.elapsed() >= ASK_EVERY {
            query = Instant::now();
            soak.query()?;
        }
        if sample.elapsed() >= SAMPLE_EVERY {
            sample = Instant::now();
            soak.sample();
            std::fs::write(folder.join("soak.csv"), csv(&soak.samples))?;
        }
        ensure!(
            soak.process.is_running()?,
            "the recorder exited unexpectedly; see {}",
            folder.display()
        );
    }
    stop.store(true, Ordering::Release);
    soak.finish(options)
}

impl Soak {
    fn start(options: Options, folder: &Path, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let Options {
            duration,
            seed,
            max_bytes,
            load,
        } = options;
        let mut seeds = Rng::new(seed);
        // No configuration allows less than a minute.
        let event_ttl = (duration / 10).max(Duration::from_secs(60));
        let server = Arc::new(ApiServer::start(Config {
            event_ttl,
            compaction_interval: Some(Duration::from_secs(60)),
            ..Config::default()
        })?);
        let mut setup = Setup::new(&server, folder, "")?;
        // Default times; those of `Setup` are for tests. The first three lines are paths and addresses.
        let place: Vec<&str> = setup.yaml.lines().take(3).collect();
        setup.yaml = format!(
            "{}\nsource: {{event_ttl: {}s}}\nretention: {{interval: 60s}}\nstorage: {{max_bytes: {max_bytes}}}\n\
             log: {{format: text, level: info}}\n",
            place.join("\n"),
            event_ttl.as_secs(),
        );
        setup.config().context("configuration of the soak")?;
        let retention = ShortRetention {
            info_warning: duration / 4,
            error_critical: duration / 3,
        };
        let disk = FaultyDisk::build(folder)?;
        let environment = disk.as_ref().map_or_else(Vec::new, FaultyDisk::environment);
        let mut process =
            RecorderProcess::new(setup.clone(), std::env::current_exe()?, environment)
                .with_retention(retention);
        let pace = Pace {
            every: FAULT_EVERY,
            // A clock jump of an hour would expire every row at the same time.
            clock: false,
        };
        let injector = FaultInjector::new(server.clone(), setup.clone(), disk, seeds.fork(), pace);
        let reader = Reader::new(sibling_program("kube9-query")?, setup.database());
        process.start()?;
        wait_for_the_first_list(&setup)?;
        let load = Load::start(server.clone(), seeds.draw(), duration, load, stop);
        Ok(Self {
            server,
            setup,
            retention,
            process,
            injector,
            load,
            ledger: Ledger::default(),
            reader,
            began: Instant::now(),
            runs: 1,
            samples: Vec::new(),
            scrapes: 0,
            unbalanced: 0,
            now: Sample::default(),
        })
    }

    fn end_run(&mut self, how: End) -> anyhow::Result<()> {
        match how {
            End::Kill => self.process.kill()?,
            End::Stop => {
                // With a failing disk it would correctly report an unclean end.
                self.injector.end(self.process.id())?;
                self.process.terminate()?;
            }
        }
        self.process.start()?;
        self.runs += 1;
        Ok(())
    }

    /// Reads the commits and the recorder's metrics.
    fn poll(&mut self) -> anyhow::Result<()> {
        let metrics = self.setup.metrics();
        if !metrics.is_empty() {
            self.scrapes += 1;
            self.unbalanced += u64::from(balance(&metrics).is_none());
            let sum = |name: &str| -> u64 {
                let of = metrics
                    .iter()
                    .filter(|(full, _)| full.split('{').next() == Some(name));
                of.map(|(_, value)| *value as u64).sum()
            };
            self.now.queue = sum("kube9_events_queue_size");
            self.now.events_total = sum("kube9_events_total");
        }
        let conn = self.setup.open()?;
        self.ledger.poll(&conn, self.retention)?;
        self.now.rows = self.ledger.rows as u64;
        self.now.used_bytes = used_bytes(&conn)?;
        let position: Option<String> = conn.query_row(
            "SELECT max(position) FROM watch_state WHERE kind = 'Event'",
            [],
            |row| row.get(0),
        )?;
        let position = position.and_then(|text| text.parse().ok()).unwrap_or(0);
        let lag = self.load.lag(position).as_millis() as u64;
        // The maximum since the previous sample.
        self.now.lag_ms = self.now.lag_ms.max(lag);
        Ok(())
    }

    fn query(&mut self) -> anyhow::Result<()> {
        let took = self.reader.query()?.as_millis() as u64;
        self.now.query_ms = self.now.query_ms.max(took.max(1));
        Ok(())
    }

    fn sample(&mut self) {
        let (phase, writes) = self.load.now();
        let database = self.setup.database();
        let faults = self.injector.done().values().sum();
        let found = Sample {
            second: self.began.elapsed().as_secs_f64(),
            phase: phase.to_owned(),
            writes: writes as u64,
            run: self.runs,
            faults,
            rss_kib: self
                .process
                .id()
                .and_then(sample::resident_kib)
                .unwrap_or(0),
            file_bytes: sample::size(&database),
            wal_bytes: sample::size(&database.with_file_name("kube9.db-wal")),
            ..self.now.clone()
        };
        self.samples.push(found);
        self.now.lag_ms = 0;
        self.now.query_ms = 0;
    }

    fn finish(mut self, options: Options) -> anyhow::Result<Report> {
        self.injector.end(self.process.id())?;
        let until = Instant::now() + CATCH_UP;
        loop {
            self.poll()?;
            let gaps = self.setup.number(
                "SELECT count(*) FROM watch_state WHERE kind = 'Event' AND gap IS NOT NULL",
            );
            let is_done = holds_the_living(&self.server.store().truth(), &self.ledger.stored())
                && gaps == Some(0);
            if is_done || Instant::now() > until {
                break;
            }
            std::thread::sleep(POLL_EVERY);
        }
        self.process.terminate()?;
        self.poll()?;
        self.load.finish()?;
        let (mut truth, mut stored) = (self.server.store().truth(), self.ledger.stored());
        truth.events.retain(|uid, _| !self.ledger.cut.contains(uid));
        stored.retain(|uid, _| !self.ledger.cut.contains(uid));
        let gaps = self.ledger.gaps();
        let comparison = compare_with(&truth, &DeletedEvents::new(), &self.setup, &stored, &gaps)?;
        Ok(Report {
            options,
            retention: self.retention,
            faults: self.injector.done().clone(),
            runs: self.runs,
            memory: memory(&self.samples, options.duration / 60),
            samples: self.samples,
            scrapes: self.scrapes,
            unbalanced: self.unbalanced,
            queries: self.reader.queries,
            failed_queries: self.reader.failures,
            slowest: self.reader.slowest,
            expired: self.ledger.expired,
            evicted: self.ledger.evicted,
            excluded: self.ledger.cut.len(),
            unseen: self.ledger.unseen,
            wrongly_deleted: self.ledger.wrong,
            comparison,
        })
    }
}

fn used_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    conn.query_row(
        "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0),
    )
    .map(|bytes| bytes as u64)
}
