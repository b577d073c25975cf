//! The recorder as a process: working directory, log and HTTP client.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test binary uses its part"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Where an instrumented program writes its coverage.
const COVERAGE: &str = "LLVM_PROFILE_FILE";

/// Environment variable with the binary to test, for example that of the image.
const SHIPPED: &str = "KUBE9_RECORDER_BIN";

/// Timeout of an answer, so that a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn binary() -> PathBuf {
    let built = || PathBuf::from(env!("CARGO_BIN_EXE_kube9-recorder"));
    std::env::var_os(SHIPPED).map_or_else(built, PathBuf::from)
}

/// A working directory, and a kubeconfig for an API server that does not exist.
pub struct Workspace {
    dir: TempDir,
    kubeconfig: PathBuf,
}

impl Workspace {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        // A free port: nothing listens on it.
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [],\
              clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}],\
              contexts: [{{name: c, context: {{cluster: c, user: ''}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        Self { dir, kubeconfig }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("KUBE9_KUBE_KUBECONFIG", &self.kubeconfig);
        // Only the coverage variable of the caller's environment.
        command.envs(std::env::var_os(COVERAGE).map(|file| (COVERAGE, file)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A running recorder and its log.
    pub fn start(&self) -> (Child, Log) {
        let mut recorder = self
            .command(&["--listen", "127.0.0.1:0", "--log-format", "json"])
            .spawn()
            .unwrap();
        let log = Log::of(&mut recorder);
        (recorder, log)
    }
}

/// The log of a recorder, read while it is written: otherwise the full pipe would block the recorder.
pub struct Log {
    lines: Receiver<String>,
}

impl Log {
    pub fn of(recorder: &mut Child) -> Self {
        let (sender, lines) = channel();
        let log = BufReader::new(recorder.stderr.take().unwrap());
        std::thread::spawn(move || {
            // The test is over.
            log.lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)));
        });
        Self { lines }
    }

    /// Its listen address.
    pub fn address(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = json(&line.expect("the recorder does not listen"));
            if line["message"] == "listening" {
                return line["address"].as_str().unwrap().to_owned();
            }
        }
    }

    /// The next line with this message; skips those before it.
    pub fn until(&self, message: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = json(&line.unwrap_or_else(|_| panic!("no line {message:?}")));
            if line["message"] == message {
                return line;
            }
        }
    }

    /// The remaining lines to the end: each must be a JSON object.
    pub fn rest(self) -> Vec<Value> {
        self.lines.iter().map(|line| json(&line)).collect()
    }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON in the log: {line}"))
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn signal(recorder: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &recorder.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the other side closes, and whether the connection was reset. A reset happens if the recorder has
/// not read everything; the answer may then be lost.
pub fn read_all(stream: &mut TcpStream) -> (String, bool) {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if let Err(error) = &read {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    (String::from_utf8_lossy(&answer).into_owned(), read.is_err())
}

/// Sends these bytes and reads the answer as [`read_all`].
pub fn exchange(address: &str, bytes: &[u8]) -> (String, bool) {
    let mut stream = connect(address);
    // The recorder may close before it has read everything.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    read_all(&mut stream)
}

/// The answer to a request with that first line.
pub fn request(address: &str, line: &str) -> String {
    let mut stream = connect(address);
    drop(
        stream.write_all(format!("{line}\r\nHost: kube9\r\nConnection: close\r\n\r\n").as_bytes()),
    );
    read_all(&mut stream).0
}
