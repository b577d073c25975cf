use std::sync::Arc;
use std::time::Duration;

use kube9_base::clock::{Clock, ManualTime};
use kube9_base::health::Health;
use kube9_k8s::metrics::Action;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::*;
use crate::metrics::{Metrics, Rules};

/// A server on a free port, whose clock stands still.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: State,
    time: Arc<ManualTime>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(limits: HttpConfig) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self::on(listener, limits, routes::all)
    }

    fn on(
        listener: TcpListener,
        limits: HttpConfig,
        routes: impl FnOnce(State) -> BoxedFilter<(Response,)>,
    ) -> Self {
        let time = ManualTime::at(Timestamp::from_secs(1_700_000_000));
        let health = Health::new(Clock::new(time.clone()));
        let state = State {
            metrics: Metrics::new(&Rules::default()),
            health,
        };
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let (routes, metrics) = (routes(state.clone()), state.metrics.clone());
        let task = tokio::spawn(async move {
            connections::run(listener, limits, routes, &metrics, shutdown).await;
        });
        Self {
            address,
            state,
            time,
            stop,
            task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Status code, head and body.
    async fn request(&self, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = self.connect().await;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: kube9\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        answer(&mut stream).await
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (status, _, body) = self.request("GET", path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

async fn answer(stream: &mut TcpStream) -> (u16, String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (
        head[9..12].parse().unwrap(),
        head.to_owned(),
        body.to_owned(),
    )
}

/// Reads to the end of the connection: the number of bytes. A reset is an end, too.
async fn rest(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    // No assertion about time: an end that never comes must fail, not hang.
    let ended = tokio::time::timeout(Duration::from_secs(60), read).await;
    drop(ended.expect("the server keeps the connection open"));
    bytes.len()
}

/// Bounds of which none takes effect within a test.
fn unbounded() -> HttpConfig {
    let hour = Duration::from_secs(3600);
    HttpConfig {
        header_timeout: hour,
        connection_timeout: hour,
        ..HttpConfig::default()
    }
}

#[tokio::test]
async fn bind_to_a_taken_port_names_the_address() {
    let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = first.local_addr().unwrap();
    let error = anyhow::Error::new(bind(address).await.unwrap_err());
    let text = format!("{error:#}");
    assert!(
        text.starts_with(&format!(
            "cannot listen on {address}: Address already in use"
        )),
        "{text}"
    );
}

#[tokio::test]
async fn healthz_names_each_check() {
    let server = Server::start(HttpConfig::default()).await;
    let database = server
        .state
        .health
        .check("database", Some(Duration::from_secs(30)));
    let watch = server.state.health.check("watch/Event", None);
    let (status, body) = server.json("/healthz").await;
    assert_eq!((status, &body["status"]), (503, &Value::from("degraded")));
    assert_eq!(body["checks"]["database"]["message"], "no report yet");

    database.healthy();
    watch.healthy();
    let (status, body) = server.json("/healthz").await;
    assert_eq!((status, &body["status"]), (200, &Value::from("healthy")));
    let healthy = serde_json::json!({
        "status": "healthy", "since": "2023-11-14T22:13:20.000Z", "last_report": "2023-11-14T22:13:20.000Z",
    });
    assert_eq!(
        body["checks"],
        serde_json::json!({"database": healthy, "watch/Event": healthy})
    );
    assert_eq!(body["version"], crate::VERSION);

    watch.degraded("403 Forbidden");
    server.time.advance(Duration::from_secs(31));
    let (status, body) = server.json("/healthz").await;
    assert_eq!(status, 503);
    assert_eq!(body["checks"]["watch/Event"]["message"], "403 Forbidden");
    assert_eq!(body["checks"]["database"]["message"], "no report for 31 s");
    assert_eq!(server.json("/livez").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn livez_and_readyz_report_faults_and_the_first_sync() {
    let server = Server::start(HttpConfig::default()).await;
    assert_eq!(
        server.json("/readyz").await,
        (503, serde_json::json!({"status": "starting"}))
    );
    assert_eq!(
        server.json("/livez").await,
        (200, serde_json::json!({"status": "alive", "faults": []}))
    );
    server.state.health.set_ready();
    let _stuck = server.state.health.task("writer", Duration::from_secs(60));
    server.time.advance(Duration::from_secs(61));
    assert_eq!(
        server.json("/readyz").await,
        (200, serde_json::json!({"status": "ready"}))
    );
    let (status, body) = server.json("/livez").await;
    assert_eq!(
        (status, &body["faults"][0]),
        (503, &Value::from("task writer has not moved for 61 s"))
    );
    assert_eq!(server.json("/healthz").await.0, 503);
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_text_and_current() {
    let server = Server::start(HttpConfig::default()).await;
    server.state.metrics.received(Kind::Event, Action::Added);
    let (status, head, body) = server.request("GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        head.to_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert!(body.contains("\nkube9_events_received_total 1\n"), "{body}");
    assert!(body.contains("\nkube9_healthy 1\n"), "{body}");
    server
        .state
        .health
        .check("database", None)
        .degraded("disk full");
    assert!(
        server
            .request("GET", "/metrics")
            .await
            .2
            .contains("\nkube9_healthy 0\n")
    );
    server.stop().await;
}

#[tokio::test]
async fn routes_reject_other_paths_and_methods_in_json() {
    let server = Server::start(HttpConfig::default()).await;
    for path in ["/", "/metrics/", "/healthz/database", "/%2e%2e/etc/passwd"] {
        let (status, body) = server.json(path).await;
        assert_eq!(
            (status, &body["error"]),
            (404, &Value::from("no such page")),
            "{path}"
        );
    }
    let (status, head, _) = server.request("DELETE", "/metrics").await;
    assert_eq!(status, 405);
    assert!(head.to_lowercase().contains("allow: get, head"), "{head}");
    let (status, head, body) = server.request("HEAD", "/readyz").await;
    assert_eq!((status, body.as_str()), (503, ""), "{head}");
    assert_eq!(server.request("GET", "/livez?verbose=1").await.0, 200);
    server.stop().await;
}

/// As `nc` sends them. Each one ended the process that was shipped, since warp panics on a target without a path.
#[tokio::test]
async fn target_without_a_path_is_400_and_the_next_request_is_answered() {
    let server = Server::start(HttpConfig::default()).await;
    for (method, target, expected) in [
        ("GET", "a", 400),
        ("CONNECT", "a:1", 400),
        ("GET", "*", 400),
        ("GET", "ftp://kube9/livez", 400),
        ("OPTIONS", "*", 405),
        ("GET", "http://kube9/livez", 200),
    ] {
        let (status, head, body) = server.request(method, target).await;
        assert_eq!(status, expected, "{method} {target}: {head}");
        assert_eq!(body.contains("not a path"), expected == 400, "{body}");
        assert_eq!(server.request("GET", "/livez").await.0, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn panic_ends_only_its_connection_and_is_counted() {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = Server::on(listener, HttpConfig::default(), |state| {
        let panics = warp::path("panic").map(|| -> Response { panic!("a route that panics") });
        panics.or(routes::all(state)).unify().boxed()
    });
    let mut open = server.connect().await;
    for n in 1..=3 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /panic HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(rest(&mut stream).await, 0, "closed without an answer");
        let (status, _, page) = server.request("GET", "/metrics").await;
        assert_eq!(status, 200);
        let counted = format!("\nkube9_http_panics_total {n}\n");
        assert!(page.contains(&counted), "{page}");
    }
    open.write_all(b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer(&mut open).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn concurrent_scrapes_are_all_answered() {
    let server = Server::start(HttpConfig::default()).await;
    let scrapes = (0..50).map(|_| server.request("GET", "/metrics"));
    for (status, _, body) in futures_util::future::join_all(scrapes).await {
        assert_eq!(status, 200);
        assert!(body.ends_with('\n') && body.contains("kube9_watch_restarts_total"));
    }
    server.stop().await;
}

#[tokio::test]
async fn one_connection_serves_several_requests() {
    let server = Server::start(HttpConfig::default()).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: kube9\r\n\r\n")
            .await
            .unwrap();
        let mut bytes = [0; 1024];
        let n = stream.read(&mut bytes).await.unwrap();
        assert!(bytes[..n].starts_with(b"HTTP/1.1 200 OK"));
    }
    server.stop().await;
}

#[tokio::test]
async fn connection_with_an_incomplete_request_is_closed() {
    let header_timeout = Duration::from_millis(100);
    let server = Server::start(HttpConfig {
        header_timeout,
        ..unbounded()
    })
    .await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    rest(&mut silent).await;
    rest(&mut slow).await;
    assert_eq!(server.request("GET", "/livez").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn connection_is_closed_at_its_maximum_age() {
    let connection_timeout = Duration::from_millis(100);
    let server = Server::start(HttpConfig {
        connection_timeout,
        ..unbounded()
    })
    .await;
    let (mut read, mut write) = server.connect().await.into_split();
    let using = tokio::spawn(async move {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while write
            .write_all(b"GET /livez HTTP/1.1\r\nHost: kube9\r\n\r\n")
            .await
            .is_ok()
        {
            pause.tick().await;
        }
    });
    let mut answers = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), read.read_to_end(&mut answers)).await;
    drop(ended.expect("the server keeps the connection open"));
    assert!(answers.starts_with(b"HTTP/1.1 200 OK"));
    using.abort();
    server.stop().await;
}

#[tokio::test]
async fn connection_of_a_client_that_does_not_read_is_closed() {
    let connection_timeout = Duration::from_millis(100);
    let server = Server::start(HttpConfig {
        connection_timeout,
        ..unbounded()
    })
    .await;
    let page = server.request("GET", "/metrics").await.2.len();
    let mut stream = server.connect().await;
    let requests = 5_000;
    let head = b"GET /metrics HTTP/1.1\r\n\r\n".repeat(requests);
    // It sends while it reads nothing, longer than the connection may live; then it takes what there is.
    let sent = tokio::time::timeout(Duration::from_millis(500), async {
        drop(stream.write_all(&head).await);
        std::future::pending::<()>().await;
    });
    drop(sent.await);
    assert!(rest(&mut stream).await < page * requests);
    server.stop().await;
}

#[tokio::test]
async fn silent_connections_do_not_lock_out_a_probe() {
    let server = Server::start(HttpConfig {
        max_connections: 4,
        ..unbounded()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(server.connect().await);
    }
    let probe = tokio::time::timeout(Duration::from_secs(60), server.request("GET", "/livez"));
    assert_eq!(
        probe.await.expect("the probe waits for the silent ones").0,
        200
    );
    assert_eq!(rest(&mut silent[0]).await, 0);
    server.stop().await;
}

/// More requests than there are places wait for the server when it begins to accept.
#[tokio::test]
async fn connection_flood_does_not_drop_complete_requests() {
    let limits = HttpConfig {
        max_connections: 4,
        ..unbounded()
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = b"GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n";
        stream.write_all(head).await.unwrap();
        waiting.push(stream);
    }
    let server = Server::on(listener, limits, routes::all);
    for stream in &mut waiting {
        assert_eq!(answer(stream).await.0, 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn head_above_the_bound_is_rejected() {
    let server = Server::start(HttpConfig::default()).await;
    let mut stream = server.connect().await;
    let head = format!(
        "GET /livez HTTP/1.1\r\nX-Long: {}\r\n\r\n",
        "x".repeat(64 * 1024)
    );
    // The server may close before it has read everything.
    drop(stream.write_all(head.as_bytes()).await);
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await);
    assert!(!bytes.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.request("GET", "/livez").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_frees_the_port() {
    let server = Server::start(HttpConfig::default()).await;
    let address = server.address;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: kube9\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = [0; 1024];
    assert!(idle.read(&mut bytes).await.unwrap() > 0);
    server.stop().await;
    assert_eq!(rest(&mut idle).await, 0);
    bind(address).await.unwrap();
}
