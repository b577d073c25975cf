//! Somebody who asks: a query process every few seconds.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What is asked, in turn.
const QUESTIONS: [&[&str]; 5] = [
    &["status"],
    &["events", "list", "--limit=50"],
    &["events", "stats", "--by=severity,reason"],
    &[
        "events",
        "list",
        "--severity=warning+",
        "--since=5m",
        "--limit=100",
    ],
    &["events", "timeline", "--since=10m"],
];

/// The questions asked so far.
#[derive(Debug)]
pub(super) struct Reader {
    program: PathBuf,
    database: PathBuf,
    /// How many.
    pub(super) queries: usize,
    /// What went wrong, with the answer.
    pub(super) failures: Vec<String>,
    /// The longest of all.
    pub(super) slowest: Duration,
}

impl Reader {
    /// Asks `database` with `program`, a `kube9-query`.
    pub(super) fn new(program: PathBuf, database: PathBuf) -> Self {
        Self {
            program,
            database,
            queries: 0,
            failures: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    /// Asks the next question; returns how long the process took.
    pub(super) fn query(&mut self) -> anyhow::Result<Duration> {
        let question = QUESTIONS[self.queries % QUESTIONS.len()];
        self.queries += 1;
        let began = Instant::now();
        let answer = Command::new(&self.program)
            .arg("--db")
            .arg(&self.database)
            .arg("--format=json")
            .args(question)
            .stdin(Stdio::null())
            .output()?;
        let took = began.elapsed();
        self.slowest = self.slowest.max(took);
        let is_json = serde_json::from_slice::<Value>(&answer.stdout).is_ok();
        if !answer.status.success() || !is_json {
            self.failures.push(format!(
                "{}: {}: {}",
                question.join(" "),
                answer.status,
                String::from_utf8_lossy(&answer.stderr).trim()
            ));
        }
        Ok(took)
    }
}
