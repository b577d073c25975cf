//! Runs the recorder for whole-system tests: on a thread of this process, or as a child process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use kube9_base::clock::Clock;
use kube9_recorder::config::{Config, Flags, ProcessEnvironment};
use rusqlite::{Connection, FileControl, OpenFlags};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::apiserver::ApiServer;
use crate::client::Client;

/// How long a condition may take to come true. Generous, because machines are shared; no test asserts on time.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that a recorder needs to run against a simulated API server: a folder, a port, a configuration.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Where the database, the kubeconfig and the configuration lie.
    pub folder: PathBuf,
    /// Where it serves HTTP.
    pub listen: SocketAddr,
    /// The configuration, as YAML.
    pub yaml: String,
}

/// Short times for tests.
const FAST: &str = "
source:
  watch_timeout: 10s
  read_slack: 1s
  idle_renewal: 5s
  connect_timeout: 2s
  list_timeout: 5s
  page_size: 100
  backoff: {initial: 100ms, max: 1s}
queue: {max_wait: 1s}
writer: {retry_initial: 20ms, retry_max: 200ms, heartbeat: 1s}
shutdown_grace: 10s
log: {format: text, level: info}
";

impl Setup {
    /// A setup for `server` in `folder`, with fast times; `more` is YAML with further top-level sections.
    pub fn new(server: &ApiServer, folder: &Path, more: &str) -> anyhow::Result<Self> {
        let kubeconfig = server.write_kubeconfig(folder)?;
        let listen = free_address()?;
        let yaml = format!(
            "data_dir: {data}\nlisten: {listen}\nkube: {{kubeconfig: {kubeconfig}}}\n{FAST}{more}",
            data = folder.join("data").display(),
            kubeconfig = kubeconfig.display(),
        );
        Ok(Self {
            folder: folder.to_owned(),
            listen,
            yaml,
        })
    }

    pub fn database(&self) -> PathBuf {
        self.folder.join("data").join("kube9.db")
    }

    /// The parsed configuration.
    pub fn config(&self) -> anyhow::Result<Config> {
        Config::from_text(&self.yaml, &Flags::default(), &ProcessEnvironment)
            .map(|loaded| loaded.config)
            .map_err(|problems| anyhow!("{problems:?}"))
    }

    /// Starts the recorder in this process.
    pub fn start(&self) -> anyhow::Result<Recorder> {
        self.start_at(Clock::system())
    }

    /// Starts the recorder in this process with the given clock.
    pub fn start_at(&self, clock: Clock) -> anyhow::Result<Recorder> {
        let config = self.config()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || {
                let runtime = kube9_recorder::runtime()?;
                runtime.block_on(kube9_recorder::run(config, clock, async {
                    // An error means that the test is over.
                    drop(stopped.await);
                }))
            })?;
        Ok(Recorder {
            setup: self.clone(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The database as a reader sees it.
    pub fn open(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    }

    /// Every value of a query's first column, as text.
    pub fn column(&self, sql: &str) -> rusqlite::Result<Vec<String>> {
        let conn = self.open()?;
        let mut statement = conn.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            row.get::<_, rusqlite::types::Value>(0)
                .map(|value| match value {
                    rusqlite::types::Value::Null => String::new(),
                    rusqlite::types::Value::Integer(n) => n.to_string(),
                    rusqlite::types::Value::Real(n) => n.to_string(),
                    rusqlite::types::Value::Text(t) => t,
                    rusqlite::types::Value::Blob(b) => format!("{b:?}"),
                })
        })?;
        rows.collect()
    }

    /// The first number that a query gives; `None` while the database is not there or not readable.
    pub fn number(&self, sql: &str) -> Option<i64> {
        self.open().ok()?.query_row(sql, [], |row| row.get(0)).ok()
    }

    /// Takes the write lock: no commit of the recorder succeeds until the connection is dropped.
    pub fn hold_the_database(&self) -> rusqlite::Result<Connection> {
        let conn = self.open_for_writing()?;
        conn.execute_batch("BEGIN IMMEDIATE")?;
        Ok(conn)
    }

    /// A second writing connection.
    pub fn open_for_writing(&self) -> rusqlite::Result<Connection> {
        let conn = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Closing it must not remove the WAL that the recorder uses.
        let mut on = 1;
        let keep = FileControl::PersistWal(&mut on);
        conn.file_control(rusqlite::DEFAULT_NAME, keep)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        Ok(conn)
    }

    /// `/healthz`: the code and the checks; `None` without an answer.
    pub fn health(&self) -> Option<(u16, Value)> {
        let client = Client::new(&format!("http://{}", self.listen), None);
        let answer = client.get("/healthz").ok()?;
        Some((answer.code, answer.json()))
    }

    /// `/metrics`, by name with labels; empty without an answer.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let client = Client::new(&format!("http://{}", self.listen), None);
        let Ok(answer) = client.get("/metrics") else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&answer.body);
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }
}

/// A recorder in this process; shut down when dropped.
#[derive(Debug)]
pub struct Recorder {
    setup: Setup,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Recorder {
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Whether it has exited.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Shuts it down, as SIGTERM does, and returns its result.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.stop_now()
    }

    fn stop_now(&mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        match self.thread.take() {
            Some(thread) => thread
                .join()
                .map_err(|_| anyhow!("the recorder panicked"))?
                .context("the recorder failed"),
            None => Ok(()),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The recorder must not outlive the test. Tests that check the result call `stop`.
        drop(self.stop_now());
    }
}

/// Checks the counts of Events and of states of objects of one scrape (received = results + pending): `None` if they do
/// not balance, otherwise the pending Events.
pub fn balance(metrics: &[(String, f64)]) -> Option<f64> {
    let sum = |name: &str| -> f64 {
        metrics
            .iter()
            .filter(|(full, _)| full.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    };
    let dropped: f64 = metrics
        .iter()
        .filter(|(name, _)| {
            name.starts_with("kube9_queue_dropped_total{") && name.contains("item=\"event\"")
        })
        .map(|(_, value)| value)
        .sum();
    let settled: f64 = [
        "stored",
        "folded",
        "duplicate",
        "deleted",
        "filtered",
        "skipped",
    ]
    .iter()
    .map(|outcome| sum(&format!("kube9_events_{outcome}_total")))
    .sum();
    let pending = sum("kube9_events_pending");
    let balances = sum("kube9_events_received_total") == settled + dropped + pending;
    let states_pending = sum("kube9_object_states_pending");
    let states = sum("kube9_object_states_total") + states_pending;
    let states_balance = sum("kube9_object_states_received_total") == states;
    let is_right = balances && states_balance && pending >= 0.0 && states_pending >= 0.0;
    is_right.then_some(pending)
}

/// Waits until `condition` holds; `false` if it does not within [`PATIENCE`].
pub fn wait_until(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// An address of this host that was free a moment ago.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}
