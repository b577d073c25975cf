//! Reduces a request to its method and path before the routes process it.
//!
//! ```text
//!   target (RFC 9112, section 3.2)        passed to the routes
//!   /path?query       origin-form    ──▶  /path
//!   http://host/path  absolute-form  ──▶  /path           a server must accept it
//!   *                 asterisk-form  ──▶  /               OPTIONS only; otherwise 400
//!   host:port         authority-form ──▶  nothing: 400    for proxies, which this server is not
//! ```
//!
//! Invariant: the routes receive no target without a path, on which warp 0.4.3 panics (`GET a HTTP/1.1`,
//! `CONNECT a:1 HTTP/1.1`). They also receive no header, body or extension, because they need none.

use std::convert::Infallible;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http_body_util::Empty;
use tower::ServiceExt;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::routes;

/// Answers a request with the routes, or with 400 if its target has no path.
pub(super) async fn answer<B>(
    routes: BoxedFilter<(Response,)>,
    request: Request<B>,
) -> Result<Response, Infallible> {
    match plain(request.method(), request.uri()) {
        Some(plain) => warp::service(routes).oneshot(plain).await,
        None => Ok(routes::bad_target()),
    }
}

/// A request with this method and the path of the target; `None` if it has no path.
fn plain(method: &Method, target: &Uri) -> Option<Request<Empty<Bytes>>> {
    let path = match (target.scheme(), target.path()) {
        (None, "*") if method == Method::OPTIONS => "/",
        (None, path) => path,
        (Some(scheme), path) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => path,
        (Some(_), _) => return None,
    };
    if !path.starts_with('/') {
        return None;
    }
    Request::builder()
        .method(method)
        .uri(path)
        .body(Empty::new())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path that the routes receive.
    fn path(method: Method, target: &str) -> Option<String> {
        // As hyper parses a request line.
        let target: Uri = target.parse().unwrap();
        plain(&method, &target).map(|request| request.uri().to_string())
    }

    #[test]
    fn plain_origin_form_is_its_path() {
        for (target, expected) in [
            ("/livez", "/livez"),
            ("/livez?verbose=1", "/livez"),
            ("/", "/"),
            ("//host/livez", "//host/livez"),
            ("/%00", "/%00"),
        ] {
            assert_eq!(path(Method::GET, target).as_deref(), Some(expected));
        }
    }

    #[test]
    fn plain_absolute_form_is_the_path_of_a_web_address() {
        for (target, expected) in [
            ("http://kube9:8080/livez?verbose=1", Some("/livez")),
            ("HTTPS://kube9/livez", Some("/livez")),
            ("http://kube9", Some("/")),
            ("http://kube9?verbose=1", Some("/")),
            ("http://user:word@[::1]:8080/livez", Some("/livez")),
            ("ftp://kube9/livez", None),
            ("file:///livez", None),
        ] {
            let Ok(parsed) = target.parse::<Uri>() else {
                assert_eq!(expected, None, "{target}");
                continue;
            };
            let plain = plain(&Method::GET, &parsed).map(|request| request.uri().to_string());
            assert_eq!(plain.as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn plain_asterisk_form_is_for_options_alone() {
        assert_eq!(path(Method::OPTIONS, "*").as_deref(), Some("/"));
        assert_eq!(path(Method::GET, "*"), None);
    }

    #[test]
    fn plain_authority_form_is_refused_whatever_the_method() {
        for method in [Method::GET, Method::CONNECT, Method::OPTIONS, Method::TRACE] {
            for target in ["a", "a:1", "kube9:8080", "[::1]:1", "livez", "127.0.0.1"] {
                assert_eq!(path(method.clone(), target), None, "{method} {target}");
            }
        }
    }
}
