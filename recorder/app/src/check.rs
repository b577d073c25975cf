//! `kube9-recorder check`: the effective configuration and the permissions; with `--url`, the health of a recorder.
//!
//! The output is a config file, with the permissions as comments below it.
//!
//! Invariant: of a response to `--url`, only the status and the names and states of the checks are printed. Anyone who can
//! `kubectl exec` into the container chooses the URL, so the response may come from any server.

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
use kube9_k8s::access::{self, Permission, Resource};
use kube9_k8s::connect::connect;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::config::Config;

/// Time limit for the whole request of `--url`: longer than the server's own limits.
const URL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for all access reviews.
const ACCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest response of `/healthz`, in bytes. A document has about 2 KiB.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// Maximum number of printed checks: the recorder has a dozen, and one for each watch.
const CHECKS_MAX: usize = 64;

/// Longest printed name of a check, in bytes, such as `watch/ConfigMap`.
const CHECK_NAME_MAX: usize = 64;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No permission is missing, or the recorder is healthy.
    Passed,
    /// The output shows the problem.
    Failed,
}

impl Verdict {
    const fn of(is_good: bool) -> Self {
        if is_good { Self::Passed } else { Self::Failed }
    }
}

/// Prints the effective configuration, then the permissions of the recorder in the cluster.
///
/// # Errors
/// If the API server does not respond, or `out` cannot be written.
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
    let resources = required_resources(config);
    let asked = access::review(client, &config.kube, &resources);
    let permissions = tokio::time::timeout(ACCESS_TIMEOUT, asked)
        .await
        .with_context(|| format!("the API server did not answer within {ACCESS_TIMEOUT:?}"))?;
    writeln!(out, "# permissions:")?;
    for permission in &permissions {
        writeln!(out, "#   {}", sentence(permission))?;
    }
    let missing: Vec<&Permission> = permissions.iter().filter(|p| p.allowed.is_err()).collect();
    if missing.is_empty() {
        let count = permissions.len();
        writeln!(out, "# all {count} permissions are granted")?;
        return Ok(Verdict::Passed);
    }
    let (missing_count, count) = (missing.len(), permissions.len());
    writeln!(out, "# {missing_count} of {count} permissions are missing")?;
    for (role, rules) in missing_rules(&missing) {
        writeln!(out, "# add to the rules of {role}:")?;
        for rule in rules {
            writeln!(out, "#   - {rule}")?;
        }
    }
    writeln!(
        out,
        "# or leave the kind out: changes.kinds and changes.resources"
    )?;
    Ok(Verdict::Failed)
}

/// All resources that the recorder reads; Events first.
fn required_resources(config: &Config) -> Vec<Resource> {
    let mut resources = vec![Resource::new("", "events", true)];
    if config.analysis.enabled {
        resources.extend([
            Resource::new("", "nodes", false),
            Resource::new("", "pods", true),
            Resource::new("apps", "deployments", true),
            Resource::new("", "services", true),
            Resource::new("", "configmaps", true),
        ]);
    }
    let tracked = config.tracked();
    let kinds = tracked.kinds.into_iter().map(|kind| Resource {
        group: kind.group.clone(),
        version: kind.version.clone(),
        name: kind.resource.clone(),
        namespaced: kind.namespaced,
    });
    let others = tracked.resources.into_iter().map(|id| Resource {
        group: id.group.into(),
        version: id.version.into(),
        name: id.resource.into(),
        // Unknown until it is served. Reviews in a namespace are right for both.
        namespaced: true,
    });
    for resource in kinds.chain(others) {
        if !resources.contains(&resource) {
            resources.push(resource);
        }
    }
    resources
}

/// The rules that grant what is missing, by the role that they belong in.
fn missing_rules(missing: &[&Permission]) -> BTreeMap<String, Vec<String>> {
    let mut rules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for permission in missing {
        let Permission {
            resource,
            namespace,
            name,
            ..
        } = permission;
        let role = match namespace.as_str() {
            "" => "a ClusterRole".to_owned(),
            namespace => format!("a Role in namespace {namespace}"),
        };
        let (group, plural) = (&resource.group, &resource.name);
        let group = if group.is_empty() { "\"\"" } else { group };
        let rule = match name.as_str() {
            "" => format!(
                "{{apiGroups: [{group}], resources: [{plural}], verbs: [get, list, watch]}}"
            ),
            name => format!(
                "{{apiGroups: [{group}], resources: [{plural}], resourceNames: [{name}], verbs: [patch]}}"
            ),
        };
        let rules = rules.entry(role).or_default();
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
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
        "{state} {verb} {}{object} {place}{}",
        resource.full_name(),
        why.unwrap_or_default()
    )
}

/// Requests the health of the recorder at `url`, and prints the status and the checks.
/// The request has no credential, and redirects are not followed.
///
/// # Errors
/// If the response is not that of a recorder, or `out` cannot be written.
pub async fn remote(url: &str, out: &mut impl Write) -> anyhow::Result<Verdict> {
    let authority = address(url)?;
    let (answered, body) = tokio::time::timeout(URL_TIMEOUT, get_health(&authority))
        .await
        .with_context(|| format!("{authority} did not answer within {URL_TIMEOUT:?}"))?
        .with_context(|| format!("cannot request the health of {authority}"))?;
    let Ok(document) = serde_json::from_slice::<Document>(&body) else {
        bail!("{authority} returned {answered}, which is not the health document of a recorder");
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

/// The host and port of a URL that has neither a path, which a server could act on, nor a password.
fn address(url: &str) -> anyhow::Result<Authority> {
    // The URL is not printed: it may contain a password.
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

/// The part of `/healthz` that is printed; other text of the response is not kept.
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

/// Whether a check of a recorder can have this name.
fn is_name(name: &str) -> bool {
    (1..=CHECK_NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}

/// The status and the body of the response.
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
    let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect();
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
    async fn remote_prints_the_health_and_returns_the_verdict() {
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
            // The message of the check may contain text of the API server, and is not printed.
            let printed = String::from_utf8(out).unwrap();
            assert_eq!(printed, format!("{word}\n  database: {word}\n"));
        }
        server.stop().await;
    }

    #[tokio::test]
    async fn remote_names_an_address_that_does_not_answer() {
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
    async fn remote_rejects_a_url_with_a_path_or_password_and_does_not_print_it() {
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

    /// A server that sends one response, and returns the head of the request.
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
    async fn remote_does_not_print_the_response_of_another_server() {
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
    async fn remote_bounds_the_names_of_checks() {
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
    async fn print_permissions_writes_comments() {
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
            "#   ok list ingresses.networking.k8s.io in all namespaces",
            "# 2 of 72 permissions are missing",
            "# add to the rules of a ClusterRole:",
            "#   - {apiGroups: [apps], resources: [deployments], verbs: [get, list, watch]}",
        ] {
            assert!(text.lines().any(|l| l == line), "{text}");
        }
    }

    #[test]
    fn required_resources_are_those_of_the_settings() {
        let mut config = Config::default();
        config.analysis.enabled = false;
        config.changes.kinds = vec!["jobs".to_owned()];
        config.changes.resources = vec!["vpa".to_owned()];
        let names = |config: &Config| -> Vec<String> {
            required_resources(config)
                .iter()
                .map(Resource::full_name)
                .collect()
        };
        assert_eq!(
            names(&config),
            [
                "events",
                "jobs.batch",
                "verticalpodautoscalers.autoscaling.k8s.io"
            ]
        );
        config.changes.enabled = false;
        assert_eq!(names(&config), ["events"]);
        let all = names(&Config::default());
        assert!(!all.iter().any(|name| name.contains("secrets")), "{all:?}");
    }

    #[tokio::test]
    async fn missing_rules_name_the_role_of_each_namespace() {
        let client = client(|_, body| {
            let spec = &body["spec"]["resourceAttributes"];
            let missing = spec["resource"] == "jobs" || spec["namespace"] == "b";
            (201, json!({"status": {"allowed": !missing}}))
        });
        let mut config = Config::default();
        config.analysis.enabled = false;
        config.kube.namespaces = vec!["a".to_owned(), "b".to_owned()];
        config.changes.kinds = vec!["jobs".to_owned()];
        let mut out = Vec::new();
        print_permissions(&client, &config, &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let jobs = "#   - {apiGroups: [batch], resources: [jobs], verbs: [get, list, watch]}\n";
        let events = "#   - {apiGroups: [\"\"], resources: [events], verbs: [get, list, watch]}\n";
        let expected = format!(
            "# add to the rules of a Role in namespace a:\n{jobs}# add to the rules of a Role in namespace b:\n{events}{jobs}"
        );
        assert!(text.contains(&expected), "{text}");
    }
}
