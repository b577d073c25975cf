//! An API server for unit tests, as a function.

use http::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

pub(crate) type Handler = fn(&str, &Value) -> (u16, Value);

/// A client of an API server that calls `handler` with path and body.
pub(crate) fn client(handler: Handler) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| async move {
        let path = request.uri().to_string();
        let body = request.into_body().collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = handler(&path, &body);
        let status = StatusCode::from_u16(status).unwrap();
        let body = Body::from(answer.to_string().into_bytes());
        Ok::<_, std::convert::Infallible>(Response::builder().status(status).body(body).unwrap())
    });
    Client::new(service, "default")
}
