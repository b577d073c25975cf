//! A simulated kube-apiserver: real HTTP on loopback, an in-memory store, faults on command.
//!
//! ```text
//!   test ── ApiServer (handle) ─┬─ store    create, apply, delete, compact, restore, TTL
//!                               ├─ faults   faults of the next requests
//!                               ├─ access   what RBAC forbids
//!                               ├─ requests what clients asked for
//!                               └─ stop, start, restart, cut, freeze
//!   client ── HTTP ── serve ─┬─ list ──┬── store
//!                            ├─ watch ─┤
//!                            └─ write ─┘
//! ```
//!
//! It answers as Kubernetes 1.35 does wherever a client can see a difference; `conformance` checks that against
//! recorded answers of a real server. It runs on its own threads, so a test may use any runtime, with paused time, or
//! none.
//!
//! Not implemented: TLS, protobuf, server-side apply, `managedFields`, admission beyond what Events meet.

mod access;
mod body;
pub mod conformance;
mod faults;
mod kind;
mod list;
mod object;
mod options;
mod requests;
mod serve;
mod status;
mod store;
mod table;
mod truth;
mod watch;
mod write;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch as signal};

pub use access::{Access, Denied};
pub use faults::{Fault, FaultId, Faults, Garbage, On};
pub use kind::{Kind, Verb};
pub use object::Object;
pub use requests::{Outcome, Request, Requests};
pub use status::Status;
pub use store::Store;
pub use table::Action;
pub use truth::{EventTruth, Truth};

/// Configuration of a simulated API server.
#[derive(Debug, Clone)]
pub struct Config {
    /// TTL of Events after their last change (`--event-ttl`).
    pub event_ttl: Duration,
    /// Interval of compaction (`--etcd-compaction-interval`); `None`: never.
    pub compaction_interval: Option<Duration>,
    /// How often watches of cached kinds that ask for it get a bookmark.
    pub bookmark_interval: Duration,
    /// Whether watches of Events also get them; real servers do not cache Events and do not send them.
    pub event_bookmarks: bool,
    /// Shortest duration of a watch without `timeoutSeconds`; the longest is twice that (`--min-request-timeout`).
    pub watch_timeout: Duration,
    /// Whether `sendInitialEvents` is supported; a server before 1.32 refuses it with 422.
    pub watch_list: bool,
    /// The bearer token that clients must send; `None`: any or none.
    pub token: Option<String>,
    /// The version in `/version`.
    pub version: String,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Serves every [`Kind`]; otherwise only those up to Namespace, and 404 for the others.
    pub every_kind: bool,
}

impl Default for Config {
    /// Defaults of a real server's flags.
    fn default() -> Self {
        Self {
            event_ttl: Duration::from_secs(3600),
            compaction_interval: Some(Duration::from_secs(300)),
            bookmark_interval: Duration::from_secs(60),
            event_bookmarks: false,
            watch_timeout: Duration::from_secs(1800),
            watch_list: true,
            token: Some("simulated-token".to_owned()),
            version: "v1.35.4".to_owned(),
            port: 0,
            every_kind: false,
        }
    }
}

/// A running simulated API server. Stops when dropped.
#[derive(Debug)]
pub struct ApiServer {
    shared: Arc<serve::Shared>,
    first_token: Option<String>,
    address: SocketAddr,
    listen: mpsc::UnboundedSender<serve::Listen>,
    cut: signal::Sender<serve::Cut>,
    frozen: signal::Sender<bool>,
    // Dropped last: its threads run all of the above.
    runtime: Option<tokio::runtime::Runtime>,
}

impl ApiServer {
    /// Starts a server; it listens when this returns.
    pub fn start(config: Config) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("apiserver")
            .enable_all()
            .build()?;
        let store = Store::new(config.event_ttl);
        let (frozen, frozen_seen) = signal::channel(false);
        let shared = Arc::new(serve::Shared {
            store: store.clone(),
            faults: Faults::default(),
            requests: Requests::new(),
            access: Access::default(),
            token: Mutex::new(config.token.clone()),
            version: Mutex::new(config.version),
            every_kind: config.every_kind,
            rules: watch::Rules {
                bookmark_interval: config.bookmark_interval,
                event_bookmarks: config.event_bookmarks,
                default_timeout: config.watch_timeout,
                watch_list: config.watch_list,
                frozen: frozen_seen,
            },
            clock_offset: AtomicI64::new(0),
            audit_id: AtomicU64::new(1),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", config.port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (listen, commands) = mpsc::unbounded_channel();
        let (cut, cut_seen) = signal::channel(serve::Cut::End);
        {
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(serve::accept(
                Arc::clone(&shared),
                listener,
                address,
                commands,
                cut_seen,
            ));
            tokio::spawn(age(store, config.compaction_interval));
        }
        Ok(Self {
            shared,
            first_token: config.token,
            address,
            listen,
            cut,
            frozen,
            runtime: Some(runtime),
        })
    }

    /// Its address, also while it does not listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The initial bearer token.
    pub fn token(&self) -> Option<&str> {
        self.first_token.as_deref()
    }

    /// Answers with this version from now on, as another API server of an upgraded control plane.
    pub fn set_version(&self, version: &str) {
        self.shared.set_version(version);
    }

    /// Replaces the accepted bearer token: a client that does not reload its token gets 401.
    pub fn rotate_token(&self, token: &str) {
        self.shared.set_token(token);
    }

    /// A kubeconfig for this server, as YAML.
    pub fn kubeconfig(&self) -> String {
        let user = match self.shared.token() {
            Some(token) => format!("{{token: {token}}}"),
            None => "{}".to_owned(),
        };
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: simulated\n\
             contexts: [{{name: simulated, context: {{cluster: simulated, user: simulated}}}}]\n\
             clusters: [{{name: simulated, cluster: {{server: \"{}\"}}}}]\n\
             users: [{{name: simulated, user: {user}}}]\n",
            self.url()
        )
    }

    /// Writes the kubeconfig to `kubeconfig.yaml` in a folder and returns its path.
    pub fn write_kubeconfig(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join("kubeconfig.yaml");
        std::fs::write(&path, self.kubeconfig())?;
        Ok(path)
    }

    /// Its data.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Faults of the next requests.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What RBAC forbids.
    pub fn access(&self) -> &Access {
        &self.shared.access
    }

    /// What clients asked for.
    pub fn requests(&self) -> &Requests {
        &self.shared.requests
    }

    /// Breaks every connection. Clients may reconnect immediately.
    pub fn cut_connections(&self) {
        self.cut.send_replace(serve::Cut::End);
    }

    /// Resets every connection, as a network that lost its state does.
    pub fn reset_connections(&self) {
        self.cut.send_replace(serve::Cut::Reset);
    }

    /// Refuses new connections; open ones continue. Returns when the port is closed.
    pub fn stop_listening(&self) {
        self.set_listening(false);
    }

    /// Listens again on the same port. Returns when it does.
    pub fn listen_again(&self) {
        self.set_listening(true);
    }

    /// Stops: refuses new connections and breaks open ones. The data stays.
    pub fn stop(&self) {
        self.stop_listening();
        self.cut_connections();
    }

    /// Starts again after [`Self::stop`] with empty watch caches, as a new process on the same etcd.
    pub fn start_again(&self) {
        self.shared.store.forget_caches();
        self.listen_again();
    }

    /// Stops and starts again immediately.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Restores an earlier revision and restarts, as after an etcd restore from backup.
    ///
    /// # Panics
    /// If that revision is compacted.
    pub fn restore_backup(&self, version: u64) {
        self.stop();
        self.shared.store.restore(version);
        self.start_again();
    }

    /// Compacts everything up to now. Returns the compacted revision.
    pub fn compact_now(&self) -> u64 {
        self.shared.store.compact(u64::MAX)
    }

    /// Expires all Events now. Returns their number.
    pub fn expire_events(&self) -> usize {
        self.shared.store.delete_expired(Instant::now(), true)
    }

    /// Running and new watches send nothing until [`Self::thaw_watches`]; connections stay open.
    pub fn freeze_watches(&self) {
        self.frozen.send_replace(true);
    }

    /// Watches continue and deliver everything they missed.
    pub fn thaw_watches(&self) {
        self.frozen.send_replace(false);
    }

    /// Sets the offset of the server's clock (its `Date` header).
    pub fn set_clock_offset(&self, seconds: i64) {
        self.shared.clock_offset.store(seconds, Ordering::Relaxed);
    }

    fn set_listening(&self, listen: bool) {
        let (done, acknowledged) = std::sync::mpsc::sync_channel(1);
        if self.listen.send((listen, done)).is_ok() {
            // An error means that the server has already stopped.
            let _ = acknowledged.recv();
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without waiting: the last owner may be inside another runtime, where blocking is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// Expires Events and compacts periodically.
async fn age(store: Store, compaction_interval: Option<Duration>) {
    /// Largest delay of an expiry.
    const STEP: Duration = Duration::from_millis(20);
    let mut marked = (Instant::now(), store.version());
    loop {
        tokio::time::sleep(STEP).await;
        store.delete_expired(Instant::now(), false);
        if let Some(interval) = compaction_interval
            && marked.0.elapsed() >= interval
        {
            // As the API server does: keeps everything since one interval ago.
            store.compact(marked.1);
            marked = (Instant::now(), store.version());
        }
    }
}
