//! `kube9-pictures DIR`: the pictures of the documentation, as SVG. The real recorder records two hours of a simulated
//! cluster with a bad rollout, with a fast clock; then `kube9-query` runs on terminals.
//!
//! `KUBE9_UPDATE=1 .ci/generated pictures` runs it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use kube9_base::clock::{Clock, ManualTime};
use kube9_model::time::Timestamp;
use kube9_tests::apiserver::{ApiServer, Config};
use kube9_tests::bench::memory::sibling_program;
use kube9_tests::clock::Micros;
use kube9_tests::generator::{Cause, LiveCluster, PodOutcome, Size};
use kube9_tests::picture::{PICTURES, THEMES, svg};
use kube9_tests::recorder::{Recorder, Setup, wait_until};
use kube9_tests::terminal::Terminal;

/// Duration of the recorded scenario.
const SPAN: Duration = Duration::from_secs(2 * 3600);
/// The scenario advances in steps, with a pause after each for the recorder.
const STEP: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(80);
/// Routine Events per second.
const RATE: f64 = 0.1;

/// Draws the pictures of the documentation.
#[derive(Parser)]
#[command(name = "kube9-pictures")]
struct Args {
    /// Output directory
    dir: PathBuf,
    /// Seed of the simulated cluster
    #[arg(long, default_value_t = 9)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.dir)?;
    let dir = args.dir.canonicalize()?;
    let query = sibling_program("kube9-query")?;
    let folder = tempfile::tempdir()?;
    let story = Story::begin(args.seed, folder.path())?;
    let recorder = story.play()?;
    // Pictures must not show paths of this machine.
    std::env::set_current_dir(folder.path())?;
    for (name, columns, line) in PICTURES {
        let line = line.replace("{id}", &crash(&query)?);
        let words: Vec<&str> = line.split(' ').collect();
        ensure!(
            "$ kube9-query ".len() + line.len() <= usize::from(columns),
            "the command line of {name} is wider than {columns} columns"
        );
        let shown = show(&query, &words, columns)?;
        for theme in THEMES {
            let picture = svg(
                &format!("kube9-query {line}"),
                &shown,
                usize::from(columns),
                theme,
            );
            std::fs::write(dir.join(format!("{name}-{}.svg", theme.name)), picture)?;
        }
    }
    recorder.stop()
}

const DATABASE: (&str, &str) = ("KUBE9_DB", "data/kube9.db");

fn show(query: &Path, words: &[&str], columns: u16) -> anyhow::Result<String> {
    let mut terminal = Terminal::start(query, words, &[DATABASE], columns)?;
    let shown = terminal.read_to_end()?;
    let status = terminal.child.wait()?;
    ensure!(status.success(), "{words:?} ended with {status}: {shown}");
    Ok(shown)
}

/// The id of a crash loop.
fn crash(query: &Path) -> anyhow::Result<String> {
    let done = std::process::Command::new(query)
        .args(["events", "list", "--reason=BackOff", "--severity=error"])
        .args(["--limit=1", "--fields=id", "--format=csv"])
        .env(DATABASE.0, DATABASE.1)
        .output()?;
    let text = String::from_utf8(done.stdout)?;
    Ok(text
        .lines()
        .nth(1)
        .context("the list contains no crash loop")?
        .to_owned())
}

/// A cluster, a recorder and their clock.
struct Story {
    server: ApiServer,
    setup: Setup,
    time: Arc<ManualTime>,
    seed: u64,
}

impl Story {
    fn begin(seed: u64, folder: &Path) -> anyhow::Result<Self> {
        let server = ApiServer::start(Config {
            compaction_interval: None,
            ..Config::default()
        })?;
        // An hour passes in seconds, so an ordinary commit looks slow to the rules about the recorder.
        let patient = "analysis: {thresholds: {recorder_check: 1d}}\n";
        let mut setup = Setup::new(&server, folder, patient)?;
        // Shorter than the outage below.
        setup.yaml = setup
            .yaml
            .replace("page_size: 100", "page_size: 100\n  event_ttl: 5m");
        let now = Timestamp::now();
        Ok(Self {
            server,
            setup,
            time: ManualTime::at(now.minus(SPAN)),
            seed,
        })
    }

    /// Sets the clocks of server and recorder.
    fn set(&self, at: Timestamp, by: Duration) {
        self.time.advance(by);
        self.server
            .set_clock_offset((at.millis() - Timestamp::now().millis()) / 1000);
    }

    fn recorder(&self) -> anyhow::Result<Recorder> {
        let recorder = self.setup.start_at(Clock::new(self.time.clone()))?;
        let is_up = || self.setup.health().is_some_and(|(code, _)| code == 200);
        ensure!(wait_until(is_up), "the recorder did not become healthy");
        Ok(recorder)
    }

    /// Runs the whole scenario; the recorder keeps running.
    fn play(&self) -> anyhow::Result<Recorder> {
        let begin = Timestamp::now().minus(SPAN);
        let micros = |at: Timestamp| Micros(at.millis() * 1000);
        self.set(begin, Duration::ZERO);
        let mut live = LiveCluster::new(
            self.seed,
            Size::SMALL,
            self.server.store(),
            micros(begin),
            1.0,
        );
        live.set_rate(RATE);
        let names: Vec<String> = live
            .cluster()
            .workloads
            .iter()
            .map(|workload| workload.name.to_string())
            .collect();
        let mut recorder = Some(self.recorder()?);
        let mut at = Duration::ZERO;
        while at < SPAN {
            at += STEP;
            let now = begin.plus(at);
            self.set(now, STEP);
            live.advance(micros(now));
            match at.as_secs() / 60 {
                62 if is_first(at) => {
                    live.bad_rollout(&names[0], PodOutcome::Crashes(Cause::Exit(1), 14))?
                }
                72 if is_first(at) => live.node_down(2, Duration::from_secs(600))?,
                84 if is_first(at) => {
                    if let Some(recorder) = recorder.take() {
                        recorder.stop()?;
                    }
                }
                93 if is_first(at) => {
                    self.server.expire_events();
                    self.server.compact_now();
                    recorder = Some(self.recorder()?);
                }
                103 if is_first(at) => live.rollout(&names[0])?,
                _ => {}
            }
            if recorder.is_some() {
                std::thread::sleep(PAUSE);
            }
        }
        self.time.jump_to(Timestamp::now());
        self.server.set_clock_offset(0);
        // One heartbeat at the present time.
        std::thread::sleep(Duration::from_secs(2));
        let mut err = std::io::stderr().lock();
        writeln!(err, "{} observations were sent", live.observations())?;
        recorder.context("the scenario ended without a recorder")
    }
}

/// Whether this is the first step of a minute.
fn is_first(at: Duration) -> bool {
    at.as_secs() % 60 < STEP.as_secs()
}
