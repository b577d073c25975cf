//! The routes, and the JSON documents of the probes (a contract, see `docs/health.md`).

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use kube9_base::health::{CheckView, Health};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::error;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::path::FullPath;
use warp::reply::{Reply, Response};

use crate::metrics::{self, Metrics};

/// The data of the routes.
#[derive(Clone)]
pub struct State {
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// For the probes.
    pub health: Health,
}

/// The routes, as one filter that answers every request and never rejects.
pub(super) fn all(state: State) -> BoxedFilter<(Response,)> {
    let answer = move |method: Method, path: FullPath| answer(&state, &method, path.as_str());
    warp::method().and(warp::path::full()).map(answer).boxed()
}

fn answer(state: &State, method: &Method, path: &str) -> Response {
    if ![Method::GET, Method::HEAD].contains(method) {
        let error = json!({"error": "only GET and HEAD are allowed here"});
        let mut response = document(StatusCode::METHOD_NOT_ALLOWED, &error);
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let route: fn(&State) -> Response = match path {
        "/metrics" => metrics_page,
        "/healthz" => healthz,
        "/livez" => livez,
        "/readyz" => readyz,
        _ => {
            return document(
                StatusCode::NOT_FOUND,
                &json!({"error": "no such page", "pages": PAGES}),
            );
        }
    };
    route(state)
}

/// The response to a request target without a path.
pub(super) fn bad_target() -> Response {
    document(
        StatusCode::BAD_REQUEST,
        &json!({"error": "the request target is not a path", "pages": PAGES}),
    )
}

const PAGES: [&str; 4] = ["/metrics", "/healthz", "/livez", "/readyz"];

fn metrics_page(state: &State) -> Response {
    state.metrics.healthy.set(i64::from(state.health.healthy()));
    match state.metrics.render() {
        Ok(text) => {
            let mut response = text.into_response();
            let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
            response
        }
        Err(error) => {
            error!(%error, "cannot encode the metrics");
            let error = json!({"error": format!("cannot encode the metrics: {error}")});
            document(StatusCode::INTERNAL_SERVER_ERROR, &error)
        }
    }
}

/// The body of `/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthDocument {
    /// `healthy` or `degraded`.
    pub status: String,
    /// Version of the recorder.
    pub version: String,
    /// Whether the first sync is complete.
    pub ready: bool,
    /// Each check by its name: status and, if known, message, since and last_report.
    pub checks: Map<String, Value>,
    /// Stuck tasks, for which a restart helps; mostly empty.
    pub faults: Vec<String>,
}

fn word(healthy: bool) -> &'static str {
    if healthy { "healthy" } else { "degraded" }
}

fn check_document(check: &CheckView) -> Value {
    let mut entry = json!({"status": word(check.healthy)});
    if !check.message.is_empty() {
        entry["message"] = Value::from(check.message.as_str());
    }
    for (key, time) in [("since", check.since), ("last_report", check.last_report)] {
        if let Some(time) = time {
            entry[key] = Value::from(time.to_string());
        }
    }
    entry
}

fn healthz(state: &State) -> Response {
    let (checks, faults) = (state.health.checks(), state.health.faults());
    let healthy = faults.is_empty() && checks.iter().all(|check| check.healthy);
    let body = HealthDocument {
        status: word(healthy).to_owned(),
        version: crate::VERSION.to_owned(),
        ready: state.health.ready(),
        checks: checks
            .iter()
            .map(|check| (check.name.clone(), check_document(check)))
            .collect(),
        faults,
    };
    document(ok_if(healthy), &body)
}

fn livez(state: &State) -> Response {
    let faults = state.health.faults();
    let status = if faults.is_empty() { "alive" } else { "dead" };
    document(
        ok_if(faults.is_empty()),
        &json!({"status": status, "faults": faults}),
    )
}

fn readyz(state: &State) -> Response {
    let ready = state.health.ready();
    let status = if ready { "ready" } else { "starting" };
    document(ok_if(ready), &json!({"status": status}))
}

fn ok_if(good: bool) -> StatusCode {
    if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

fn document(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = warp::reply::json(body).into_response();
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
