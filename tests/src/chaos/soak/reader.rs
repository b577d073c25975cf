//! Runs a query process every few seconds.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The queries, in turn.
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

/// The queries so far.
#[derive(Debug)]
pub(super) struct Reader {
    program: PathBuf,
    database: PathBuf,
    /// Number of queries.
    pub(super) queries: usize,
    /// Failures, with the output.
    pub(super) failures: Vec<String>,
    /// Longest duration.
    pub(super) slowest: Duration,
}

impl Reader {
    /// Queries `database` with `program`, a `kube9-query`.
    pub(super) fn new(program: PathBuf, database: PathBuf) -> Self {
        Self {
            program,
            database,
            queries: 0,
            failures: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    /// Runs the next query and returns the duration of the process.
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
