//! `kube9-recorder check`: the effective configuration and the permissions; or, with `--url`, a recorder's health.
//!
//! What it prints is a config file: the findings about permissions are comments below it.
//!
//! Invariant: of an answer to `--url` only the status and the names and states of the checks are printed. Whoever may
//! exec into the container chooses the URL, so the answer may be any server's.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube9_k8s::access::{self, Permission};
use kube9_k8s::connect::connect;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::config::Config;

/// Time for the whole question of `--url`: longer than the server's own bounds for an answer.
const URL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the API server to answer all reviews.
const ACCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer of `/healthz` that is read, in bytes. A document has about 2 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Checks that are printed: the recorder has a dozen, and one for each watch.
const CHECKS_MAX: usize = 64;

/// Longest name of a check that is printed, in bytes: `watch/ConfigMap` and the like.
const CHECK_NAME_MAX: usize = 64;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is missing; the recorder is healthy.
    Passed,
    /// What was printed says what is wrong.
    Failed,
}

impl Verdict {
    const fn of(is_good: bool) -> Self {
        if is_good { Self::Passed } else { Self::Failed }
    }
}

/// Prints the effective configuration, then what the recorder may do in the cluster.
///
/// # Errors
/// When the API server cannot be asked, or `out` cannot be written.
pub async fn local(config: &Config, out: &mut impl Write) -> anyhow::Result<Verdict> {
    writeln!(out, "{}", config.to_yaml_text().trim_end())?;
    let client = connect(&config.kube, config.source.connect_timeout)
        .await?
        .client;
    print_permissions(&client, config, out).await
}

async fn print_permissions(
    client: &kube9_k8s::Client,
    config: &Config,
    out: &mut impl Write,
) -> anyhow::Result<Verdict> {
    let asked = access::review(client, &config.kube, config.analysis.enabled);
    let permissions = tokio::time::timeout(ACCESS_TIMEOUT, asked)
        .await
        .with_context(|| format!("the API server did not answer within {ACCESS_TIMEOUT:?}"))?;
    writeln!(out, "# permissions:")?;
    for permission in &permissions {
        writeln!(out, "#   {}", sentence(permission))?;
    }
    let missing = permissions.iter().filter(|p| p.allowed.is_err()).count();
    match missing {
        0 => writeln!(out, "# all {} permissions are granted", permissions.len())?,
        _ => writeln!(
            out,
            "# {missing} of {} permissions are missing",
            permissions.len()
        )?,
    }
    Ok(Verdict::of(missing == 0))
}

fn sentence(permission: &Permission) -> String {
    let Permission {
        verb,
        resource,
        namespace,
        name,
        allowed,
    } = permission;
    let object = match name.as_str() {
        "" => String::new(),
        name => format!("/{name}"),
    };
    let group = if resource.group.is_empty() {
        ""
    } else {
        &format!(".{}", resource.group)
    };
    let place = match namespace.as_str() {
        "" if resource.namespaced => "in all namespaces".to_owned(),
        "" => "in the cluster".to_owned(),
        namespace => format!("in namespace {namespace}"),
    };
    let state = if allowed.is_ok() { "ok" } else { "MISSING" };
    let why = allowed
        .as_ref()
        .err()
        .map(|why| format!(": {}", why.replace('\n', " ")));
    format!(
        "{state} {verb} {}{group}{object} {place}{}",
        resource.name,
        why.unwrap_or_default()
    )
}

/// Asks the recorder at `url` for its health, and prints the status and the checks.
/// The request carries no credential, and a redirect is not followed.
///
/// # Errors
/// When it does not answer as a recorder does, or `out` cannot be written.
pub async fn remote(url: &str, out: &mut impl Write) -> anyhow::Result<Verdict> {
    let authority = address(url)?;
    let (answered, body) = tokio::time::timeout(URL_TIMEOUT, get_health(&authority))
        .await
        .with_context(|| format!("{authority} did not answer within {URL_TIMEOUT:?}"))?
        .with_context(|| format!("cannot ask {authority} for its health"))?;
    let Ok(document) = serde_json::from_slice::<Document>(&body) else {
        bail!("{authority} returned {answered}, which is not the health of a recorder");
    };
    writeln!(out, "{}", document.status.word())?;
    for (name, check) in document.checks.iter().take(CHECKS_MAX) {
        if is_name(name) {
            writeln!(out, "  {name}: {}", check.status.word())?;
        }
    }
    let is_healthy = answered == StatusCode::OK && document.status == State::Healthy;
    Ok(Verdict::of(is_healthy))
}

/// The host and port of a URL that is nothing else: no path that a server could act on, no password.
fn address(url: &str) -> anyhow::Result<Authority> {
    // What is wrong is not shown: a password may be in it.
    let uri: Uri = url.parse().ok().context("this is not a URL")?;
    if uri.scheme() != Some(&Scheme::HTTP) {
        bail!("the URL must begin with http://");
    }
    let authority = uri.authority().context("the URL has no host")?;
    if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
        bail!("the URL must be http://HOST:PORT and nothing else");
    }
    Ok(authority.clone())
}

/// The part of `/healthz` that is printed; texts of the answer are not kept.
#[derive(Deserialize)]
struct Document {
    status: State,
    checks: BTreeMap<String, CheckState>,
}

#[derive(Deserialize)]
struct CheckState {
    status: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Healthy,
    Degraded,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
        }
    }
}

/// Whether a recorder could have a check of that name.
fn is_name(name: &str) -> bool {
    (1..=CHECK_NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}

/// The status of the answer, and its body.
async fn get_health(authority: &Authority) -> anyhow::Result<(StatusCode, Bytes)> {
    let host = authority.host().trim_matches(['[', ']']); // of an IPv6 address
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/healthz")
        .header(header::HOST, authority.as_str())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
    let body = body.await.map_err(|error| anyhow!(error))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fake_api::client;
    use crate::serve::tests::Server;

    #[tokio::test]
    async fn health_is_printed_and_told_by_the_result() {
        let server = Server::start(crate::config::HttpConfig::default()).await;
        let check = server.state.health.check("database", None);
        for (url, healthy) in [
            (format!("http://{}", server.address), true),
            (format!("http://{}/", server.address), false),
        ] {
            check.report(if healthy {
                Ok(())
            } else {
                Err("disk full".to_owned())
            });
            let mut out = Vec::new();
            assert_eq!(remote(&url, &mut out).await.unwrap(), Verdict::of(healthy));
            let word = if healthy { "healthy" } else { "degraded" };
            // The message of the check, which may hold what an API server said, is not printed.
            let printed = String::from_utf8(out).unwrap();
            assert_eq!(printed, format!("{word}\n  database: {word}\n"));
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn what_does_not_answer_is_an_error_that_names_it() {
        let free = crate::serve::bind("127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let url = format!("http://{address}");
        let error = format!("{:#}", remote(&url, &mut Vec::new()).await.unwrap_err());
        assert!(
            error.contains(&address.to_string()) && error.contains("refused"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn url_with_more_than_a_host_and_a_port_is_refused_and_not_shown() {
        for (url, why) in [
            ("https://planted:8080", "must begin with http://"),
            ("planted:8080", "must begin with http://"),
            ("file:///etc/planted", "not a URL"),
            ("http://", "not a URL"),
            (
                "http://user:planted@127.0.0.1:1",
                "HOST:PORT and nothing else",
            ),
            ("http://127.0.0.1:1/planted", "HOST:PORT and nothing else"),
            ("http://127.0.0.1:1/?planted", "HOST:PORT and nothing else"),
            ("http://127.0.0.1:1/..", "HOST:PORT and nothing else"),
        ] {
            let error = format!("{:#}", remote(url, &mut Vec::new()).await.unwrap_err());
            assert!(
                error.contains(why) && !error.contains("planted"),
                "{url}: {error}"
            );
        }
    }

    /// A server that gives one answer, and the head of the request that it got.
    async fn answering(answer: String) -> (String, tokio::task::JoinHandle<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let mut read = 0;
            while !head[..read].ends_with(b"\r\n\r\n") {
                read += stream.read(&mut head[read..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head[..read].to_vec()).unwrap()
        });
        (url, served)
    }

    fn http(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[tokio::test]
    async fn answer_of_another_server_is_not_printed() {
        let other = [
            http("200 OK", "planted"),
            http("200 OK", r#"{"planted": 1}"#),
            http("200 OK", r#"{"status": "planted", "checks": {}}"#),
            http("200 OK", r#"{"status": "healthy", "checks": {"a": "planted"}}"#),
            http("200 OK", r#"{"status": "healthy", "checks": ["planted"]}"#),
            http("401 planted", "planted"),
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/planted\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "planted\r\n\r\n".to_owned(),
        ];
        for answer in other {
            let (url, served) = answering(answer.clone()).await;
            let mut out = Vec::new();
            let error = format!("{:#}", remote(&url, &mut out).await.unwrap_err());
            assert_eq!(out, b"", "{answer}");
            assert!(!error.contains("planted"), "{error}");
            let head = served.await.unwrap();
            assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
            let lower = head.to_lowercase();
            assert!(
                !lower.contains("authorization") && !lower.contains("cookie"),
                "{head}"
            );
        }
    }

    #[tokio::test]
    async fn names_of_checks_are_bounded_in_number_length_and_letters() {
        let mut checks = vec![
            r#""\u001b[31mred": {"status": "healthy"}"#.to_owned(),
            r#""two\nlines": {"status": "healthy"}"#.to_owned(),
            format!(
                r#""{}": {{"status": "healthy"}}"#,
                "x".repeat(CHECK_NAME_MAX + 1)
            ),
        ];
        checks
            .extend((0..1000).map(|n| {
                format!(r#""check-{n}": {{"status": "degraded", "message": "planted"}}"#)
            }));
        let body = format!(
            r#"{{"status": "degraded", "checks": {{{}}}}}"#,
            checks.join(",")
        );
        let (url, served) = answering(http("503 Service Unavailable", &body)).await;
        let mut out = Vec::new();
        assert_eq!(remote(&url, &mut out).await.unwrap(), Verdict::Failed);
        served.await.unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert!(
            printed.starts_with("degraded\n  check-0: degraded\n"),
            "{printed}"
        );
        assert!(printed.lines().count() <= 1 + CHECKS_MAX && !printed.contains("planted"));
        assert!(
            printed
                .bytes()
                .all(|b| b == b'\n' || (b' '..0x7f).contains(&b)),
            "{printed}"
        );
    }

    #[tokio::test]
    async fn missing_permissions_are_printed_as_comments() {
        let client = client(|_, body| {
            let missing = body["spec"]["resourceAttributes"]["resource"] == "deployments";
            (
                201,
                json!({"status": {"allowed": !missing, "reason": if missing { "no\nrule" } else { "" }}}),
            )
        });
        let mut out = Vec::new();
        let verdict = print_permissions(&client, &Config::default(), &mut out).await;
        assert_eq!(verdict.unwrap(), Verdict::Failed);
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
        for line in [
            "#   ok list nodes in the cluster",
            "#   ok watch events in all namespaces",
            "#   MISSING list deployments.apps in all namespaces: no rule",
            "# 2 of 12 permissions are missing",
        ] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }
}
