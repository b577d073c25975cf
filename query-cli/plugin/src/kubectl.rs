//! Runs kubectl.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::PluginError;
use crate::pod::Pod;

/// Most that one cluster may answer: 1000 rows of 64 KiB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// Most of what a process writes to stderr that is kept.
const STDERR_BYTES_MAX: u64 = 64 << 10;
/// Interval at which a running process is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// kubectl with the options that name a cluster and a user.
#[derive(Debug, Clone)]
pub(crate) struct Kubectl {
    flags: Vec<OsString>,
}

/// The output of a process that ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
}

impl Kubectl {
    pub(crate) const fn new(flags: Vec<OsString>) -> Self {
        Self { flags }
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("kubectl");
        command.args(&self.flags).args(words);
        command
    }

    /// `kube9-query` in the pod.
    pub(crate) fn exec(&self, pod: &Pod, flags: &[&str], words: &[OsString]) -> Command {
        let mut command = self.command(["exec", "-n", &pod.namespace, "-c", &pod.container]);
        command
            .args(flags)
            .args([&*pod.name, "--", "kube9-query"])
            .args(words);
        command
    }

    /// What `kubectl get … -o json` prints.
    pub(crate) fn get(&self, words: &[&str], time: Duration) -> Result<Value, PluginError> {
        let limit = format!("--request-timeout={}s", time.as_secs());
        let mut command = self.command(["get", "-o", "json", &limit]);
        let answer = finish(command.args(words), time)?;
        if answer.code != Some(0) {
            return Err(PluginError::Failed(message(&answer.stderr)));
        }
        serde_json::from_slice(&answer.stdout)
            .map_err(|error| PluginError::Failed(format!("kubectl get returned no JSON: {error}")))
    }

    /// The lines that kubectl prints.
    pub(crate) fn lines(&self, words: &[&str], time: Duration) -> Result<Vec<String>, PluginError> {
        let answer = finish(&mut self.command(words), time)?;
        if answer.code != Some(0) {
            return Err(PluginError::Failed(message(&answer.stderr)));
        }
        let text = String::from_utf8_lossy(&answer.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// What kubectl says went wrong, without its own lines about the exit code.
pub(crate) fn message(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .filter(|line| !line.starts_with("command terminated with exit code") && !line.is_empty());
    let text: Vec<&str> = lines.collect();
    if text.is_empty() {
        "kubectl failed without a message".to_owned()
    } else {
        text.join("\n")
    }
}

/// Runs a process to its end, without stdin.
///
/// # Errors
/// It cannot be started, does not end in time (it is killed then), or writes more than 64 MiB.
pub(crate) fn finish(command: &mut Command, time: Duration) -> Result<Answer, PluginError> {
    let mut child = start(command)?;
    let deadline = Instant::now() + time;
    let stdout = collect(child.stdout.take(), ANSWER_BYTES_MAX + 1);
    let stderr = collect(child.stderr.take(), STDERR_BYTES_MAX);
    let end = |child: &mut Child| {
        // It may have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    };
    let late = || PluginError::Failed(format!("no answer within {} s", time.as_secs()));
    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
    let Ok(stdout) = stdout.recv_timeout(left(deadline)) else {
        end(&mut child);
        return Err(late());
    };
    if stdout.len() as u64 > ANSWER_BYTES_MAX {
        end(&mut child);
        return Err(PluginError::Failed(format!(
            "the answer is larger than {} MiB",
            ANSWER_BYTES_MAX >> 20
        )));
    }
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                end(&mut child);
                return Err(late());
            }
            Err(error) => {
                return Err(PluginError::Failed(format!(
                    "cannot wait for kubectl: {error}"
                )));
            }
        }
    };
    let stderr = stderr.recv_timeout(left(deadline)).unwrap_or_default();
    Ok(Answer {
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        code: status.code(),
    })
}

/// Starts a process whose output is read here.
pub(crate) fn start(command: &mut Command) -> Result<Child, PluginError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(&error))
}

fn cannot_start(error: &std::io::Error) -> PluginError {
    PluginError::Failed(if error.kind() == std::io::ErrorKind::NotFound {
        "kubectl is not in PATH; install it: https://kubernetes.io/docs/tasks/tools".to_owned()
    } else {
        format!("cannot run kubectl: {error}")
    })
}

/// Reads a stream to its end in its own thread; at most so many bytes are kept.
fn collect(stream: Option<impl Read + Send + 'static>, most: u64) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // What arrived before an error is the answer; the exit code says whether it is whole.
            let _ = stream.take(most).read_to_end(&mut bytes);
        }
        // Nobody waits any more.
        let _ = send.send(bytes);
    });
    receive
}

/// Replaces this process, so that signals, streams and exit code are those of kubectl.
#[cfg(unix)]
pub(crate) fn replace(command: &mut Command) -> Result<ExitCode, PluginError> {
    use std::os::unix::process::CommandExt;
    Err(cannot_start(&command.exec()))
}

/// Windows cannot replace a process: waits for it.
#[cfg(not(unix))]
pub(crate) fn replace(command: &mut Command) -> Result<ExitCode, PluginError> {
    let status = command.status().map_err(|error| cannot_start(&error))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
