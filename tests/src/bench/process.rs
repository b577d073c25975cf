//! Whole processes: how long they take from fork to exit, and their peak memory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Runs commands through a small static C program, compiled on the fly.
#[derive(Debug)]
pub struct Runner {
    measure: PathBuf,
    empty: PathBuf,
    _dir: tempfile::TempDir,
}

/// Several runs of one command.
#[derive(Debug, Clone)]
pub struct ProcessTimes {
    /// Milliseconds of each, ascending.
    pub millis: Vec<f64>,
    /// Milliseconds of CPU time of each, ascending: what a loaded machine leaves comparable.
    pub cpu_millis: Vec<f64>,
    /// Peak resident memory of the largest, in KiB.
    pub peak_kib: u64,
}

impl ProcessTimes {
    /// The middle one.
    pub fn median(&self) -> f64 {
        self.millis[self.millis.len() / 2]
    }

    /// CPU time of the middle one.
    pub fn cpu(&self) -> f64 {
        self.cpu_millis[self.cpu_millis.len() / 2]
    }

    /// The fastest one.
    pub fn fastest(&self) -> f64 {
        self.millis[0]
    }
}

impl Runner {
    /// Compiles the helpers; fails without a C compiler.
    pub fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let compile = |name: &str, source: &str| -> anyhow::Result<PathBuf> {
            let (file, program) = (dir.path().join(format!("{name}.c")), dir.path().join(name));
            std::fs::write(&file, source)?;
            let done = Command::new("gcc")
                .args(["-O2", "-static", "-o"])
                .arg(&program)
                .arg(&file)
                .stdin(Stdio::null())
                .output()
                .context("cannot start gcc")?;
            ensure!(
                done.status.success(),
                "gcc failed: {}",
                String::from_utf8_lossy(&done.stderr)
            );
            Ok(program)
        };
        Ok(Self {
            measure: compile("measure", include_str!("../../benches/measure.c"))?,
            empty: compile("empty", "int main(void) { return 0; }\n")?,
            _dir: dir,
        })
    }

    /// A program that does nothing: the minimum for any process.
    pub fn empty(&self) -> &Path {
        &self.empty
    }

    /// Runs `program` `times` times; every run must exit with `exit`.
    pub fn run(
        &self,
        times: usize,
        program: &Path,
        args: &[String],
        exit: i32,
    ) -> anyhow::Result<ProcessTimes> {
        let done = Command::new(&self.measure)
            .arg(times.to_string())
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8(done.stdout)?;
        let mut runs = ProcessTimes {
            millis: Vec::new(),
            cpu_millis: Vec::new(),
            peak_kib: 0,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let mut next = || {
                words
                    .next()
                    .context("the measuring program printed an incomplete line")
            };
            let micros: f64 = next()?.parse()?;
            let peak: u64 = next()?.parse()?;
            let code: i32 = next()?.parse()?;
            let cpu: f64 = next()?.parse()?;
            ensure!(
                code == exit,
                "{} {} ended with {code}: {}",
                program.display(),
                args.join(" "),
                String::from_utf8_lossy(&done.stderr)
            );
            runs.millis.push(micros / 1000.0);
            runs.cpu_millis.push(cpu / 1000.0);
            runs.peak_kib = runs.peak_kib.max(peak);
        }
        ensure!(!runs.millis.is_empty(), "no run was measured");
        runs.millis.sort_by(f64::total_cmp);
        runs.cpu_millis.sort_by(f64::total_cmp);
        Ok(runs)
    }
}
