//! The HTTP side: connections, routing, and the faults that refuse a request outright.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::access::{Access, USER};
use super::body::Body;
use super::faults::{Faults, Plan, Refuse};
use super::kind::{Kind, Resource, Verb};
use super::list::{self, Form};
use super::options::Options;
use super::requests::{Outcome, Requests, Running};
use super::status::Status;
use super::store::Store;
use super::watch::Rules;
use super::write;
use crate::clock::Micros;

/// State shared by all connections.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) requests: Requests,
    pub(super) access: Access,
    pub(super) token: Mutex<Option<String>>,
    pub(super) version: Mutex<String>,
    /// Kinds after Namespace are served too.
    pub(super) every_kind: bool,
    pub(super) rules: Rules,
    /// Seconds by which the server's clock is ahead of ours.
    pub(super) clock_offset: AtomicI64,
    pub(super) audit_id: AtomicU64,
}

impl Shared {
    /// The bearer token that clients must send now.
    pub(super) fn token(&self) -> Option<String> {
        self.token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_version(&self, version: &str) {
        version.clone_into(&mut self.version.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn set_token(&self, token: &str) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.to_owned());
    }
}

/// Whether to listen, and the acknowledgement.
pub(super) type Listen = (bool, std::sync::mpsc::SyncSender<()>);

/// How connections break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// FIN, as of a process that is killed.
    End,
    /// RST.
    Reset,
}

/// Accepts connections on `address` while enabled.
///
/// A change of `cut` breaks all connections. Ends when the sender of `commands` is dropped.
pub(super) async fn accept(
    shared: Arc<Shared>,
    first: TcpListener,
    address: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<Listen>,
    cut: watch::Receiver<Cut>,
) {
    let mut listener = Some(first);
    loop {
        let incoming = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => {
                let Some((listen, done)) = command else { return };
                if !listen {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(listen_again(address).await);
                }
                // The requester may be gone; the change still applies.
                let _ = done.send(());
            }
            accepted = incoming => if let Ok((stream, peer)) = accepted {
                tokio::spawn(connection(Arc::clone(&shared), stream, peer, cut.clone()));
            },
        }
    }
}

/// Binds the port again. Another process may hold it for a moment.
async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

async fn connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    mut cut: watch::Receiver<Cut>,
) {
    // A watch sends small lines; each must be sent immediately.
    let _ = stream.set_nodelay(true);
    cut.mark_unchanged();
    let service = service_fn(|request| answer(Arc::clone(&shared), request, peer.port()));
    let mut serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors are a disconnected client or a planned cut; the request log has the outcome.
        _ = &mut serving => return,
        _ = cut.changed() => {}
    }
    if *cut.borrow() == Cut::Reset {
        let stream = serving.into_parts().io.into_inner();
        // Closing it then sends a reset. An error means that it is already closed.
        let _ = stream.set_zero_linger();
    }
}

/// A request that must not be answered at all: hyper then closes the connection.
#[derive(Debug)]
struct HangUp;

impl std::fmt::Display for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("hung up by a fault")
    }
}

impl std::error::Error for HangUp {}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    client: u16,
) -> Result<Response<Body>, HangUp> {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", |t| t.as_str())
        .to_owned();
    let accept = header_text(request.headers(), header::ACCEPT).to_owned();
    let resource = Resource::parse(request.uri().path())
        .filter(|resource| shared.every_kind || !resource.kind.is_extra());
    let query = request.uri().query().unwrap_or("").to_owned();
    let what = resource
        .as_ref()
        .map(|r| (verb(&request, r, &query), r.kind));
    let place = shared
        .requests
        .arrived(what, target, accept.clone(), client);
    let mut running = Running::new(shared.requests.clone(), place);

    let plan = match what {
        Some((verb, kind)) => shared.faults.take(verb, kind, &query),
        None => Plan::default(),
    };
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    let response = match plan.refuse.clone() {
        Some(refuse) => refused(refuse, &mut running).await?,
        None => {
            let authorized = shared.token().is_none_or(|token| {
                header_text(request.headers(), header::AUTHORIZATION) == format!("Bearer {token}")
            });
            let answered = if authorized {
                route(
                    &shared, request, resource, what, &query, &accept, plan, running,
                )
                .await
            } else {
                Err((Status::unauthorized(), running))
            };
            answered.unwrap_or_else(|(status, mut running)| {
                running.ended(Outcome::Done(status.code));
                status_response(&status)
            })
        }
    };
    Ok(with_headers(&shared, response))
}

/// What the request wants, in the words of RBAC.
fn verb(request: &Request<Incoming>, resource: &Resource, query: &str) -> Verb {
    let watching = query
        .split('&')
        .any(|p| matches!(p, "watch=1" | "watch=true"));
    match *request.method() {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ if watching => Verb::Watch,
        _ if resource.name.is_empty() => Verb::List,
        _ => Verb::Get,
    }
}

async fn refused(refuse: Refuse, running: &mut Running) -> Result<Response<Body>, HangUp> {
    match refuse {
        Refuse::Status { code, retry_after } => {
            running.ended(Outcome::Done(code));
            Ok(status_response(&Status::for_code(code, retry_after)))
        }
        Refuse::Text {
            code,
            retry_after,
            body,
        } => {
            running.ended(Outcome::Done(code));
            let mut response = respond(code, "text/plain; charset=utf-8", body.as_bytes().to_vec());
            put_retry_after(&mut response, retry_after);
            Ok(response)
        }
        Refuse::Empty => {
            running.ended(Outcome::Done(200));
            Ok(respond(200, "application/json", Vec::new()))
        }
        Refuse::Hangup => {
            running.ended(Outcome::Broken);
            Err(HangUp)
        }
        Refuse::Silence => {
            // Dropped with the connection.
            running.ended(Outcome::Left);
            std::future::pending::<Infallible>().await;
            Err(HangUp)
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one request, each needed by one branch"
)]
async fn route(
    shared: &Shared,
    request: Request<Incoming>,
    resource: Option<Resource>,
    what: Option<(Verb, Kind)>,
    query: &str,
    accept: &str,
    plan: Plan,
    mut running: Running,
) -> Result<Response<Body>, (Status, Running)> {
    let (Some(resource), Some((verb, kind))) = (resource, what) else {
        let response = elsewhere(shared, request).await;
        running.ended(Outcome::Done(response.status().as_u16()));
        return Ok(response);
    };
    if !shared.access.allows(verb, kind, &resource.namespace) {
        return Err((
            Status::forbidden(USER, verb, kind, &resource.namespace),
            running,
        ));
    }
    let form = Form::from_accept(accept);
    let store = &shared.store;
    match verb {
        Verb::Get => match list::get(store, &resource, form) {
            Ok(body) => {
                running.ended(Outcome::Done(200));
                Ok(respond(200, "application/json", body))
            }
            Err(status) => Err((status, running)),
        },
        Verb::List => {
            let page = Options::parse(kind, query).and_then(|options| {
                let page = list::read(store, &resource, &options, plan.today)?;
                Ok((page, options))
            });
            match page {
                Ok((page, options)) => {
                    let selecting = !options.selector.is_empty();
                    let body = list::answer(&page, kind, selecting, form, plan, running);
                    Ok(stream(body))
                }
                Err(status) => Err((status, running)),
            }
        }
        Verb::Watch => match Options::parse(kind, query) {
            Ok(options) => {
                let rules = shared.rules.clone();
                super::watch::start(store, resource, options, form, rules, (plan, running))
                    .map(stream)
            }
            Err(status) => Err((status, running)),
        },
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => {
            let method = request.method().clone();
            let content_type = header_text(request.headers(), header::CONTENT_TYPE).to_owned();
            let body = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(_) => return Err((Status::bad_request("the body broke off"), running)),
            };
            match write::answer(store, &method, &resource, &content_type, &body) {
                Ok((code, body)) => {
                    running.ended(Outcome::Done(code.as_u16()));
                    Ok(respond(code.as_u16(), "application/json", body))
                }
                Err(status) => Err((status, running)),
            }
        }
    }
}

/// Paths outside of resources.
async fn elsewhere(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/version") => json_response(
            200,
            &version(
                &shared
                    .version
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner),
            ),
        ),
        (&Method::GET, "/healthz" | "/livez" | "/readyz") => {
            respond(200, "text/plain; charset=utf-8", b"ok".to_vec())
        }
        (&Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") => {
            let body = request
                .into_body()
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes);
            let review = body
                .ok()
                .and_then(|b| serde_json::from_slice::<Value>(&b).ok());
            match review {
                Some(review) => json_response(201, &shared.access.review(&review)),
                None => status_response(&Status::bad_request("the body is not a review")),
            }
        }
        (&Method::GET, "/apis/example.com/v1") if shared.every_kind => json_response(
            200,
            &json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v1",
                "resources": [{ "name": "widgets", "kind": "Widget", "namespaced": true }],
            }),
        ),
        (_, path)
            if ["/api/v1/", "/apis/apps/v1/"]
                .iter()
                .any(|g| path.starts_with(g)) =>
        {
            status_response(&Status::no_such_resource())
        }
        _ => respond(
            404,
            "text/plain; charset=utf-8",
            b"404 page not found\n".to_vec(),
        ),
    }
}

fn version(git_version: &str) -> Value {
    let mut numbers = git_version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    json!({
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": "go1.26.0",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("")
}

fn respond(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn json_response(code: u16, body: &Value) -> Response<Body> {
    respond(code, "application/json", body.to_string())
}

fn status_response(status: &Status) -> Response<Body> {
    let mut response = json_response(status.code, &status.to_json());
    put_retry_after(&mut response, status.retry_after);
    response
}

fn put_retry_after(response: &mut Response<Body>, seconds: Option<u64>) {
    if let Some(seconds) = seconds {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

fn with_headers(shared: &Shared, mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    let number = shared.audit_id.fetch_add(1, Ordering::Relaxed);
    let audit_id = format!("00000000-0000-4000-8000-{number:012x}");
    if let Ok(value) = HeaderValue::from_str(&audit_id) {
        headers.insert("audit-id", value);
    }
    let offset = shared.clock_offset.load(Ordering::Relaxed);
    let now = Micros(Micros::now().0 + offset * 1_000_000);
    if let Ok(value) = HeaderValue::from_str(&now.http_date()) {
        headers.insert(header::DATE, value);
    }
    response
}
