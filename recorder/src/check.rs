//! `kube9-recorder check`: the effective configuration and the permissions; or, with `--url`, a recorder's health.
//!
//! What it prints is a config file: the findings about permissions are comments below it.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Uri;
use http::header::{CONNECTION, HOST};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::Client;
use tokio::net::TcpStream;

use crate::config::{Config, KubeConfig};
use crate::source::access::{self, Permission};
use crate::source::connect::connect;

/// Time for the whole question of `--url`: longer than the server's own bounds for an answer.
const URL_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for the API server to answer all reviews.
const ACCESS_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer of `/healthz` that is read, in bytes. A document has about 2 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Prints the effective configuration, then what the recorder may do in the cluster.
/// `Ok(false)` when something is missing.
///
/// # Errors
/// When the API server cannot be asked, or `out` cannot be written.
pub async fn local(config: &Config, out: &mut impl Write) -> anyhow::Result<bool> {
    writeln!(out, "{}", config.to_yaml().trim_end())?;
    let client = connect(&config.kube, config.source.connect_timeout)
        .await?
        .client;
    print_permissions(&client, &config.kube, out).await
}

async fn print_permissions(
    client: &Client,
    config: &KubeConfig,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let asked = access::review(client, config);
    let permissions = tokio::time::timeout(ACCESS_TIMEOUT, asked)
        .await
        .with_context(|| format!("the API server did not answer within {ACCESS_TIMEOUT:?}"))?;
    writeln!(out, "# permissions:")?;
    for permission in &permissions {
        writeln!(out, "#   {}", sentence(permission))?;
    }
    let missing = permissions.iter().filter(|p| p.allowed.is_err()).count();
    match missing {
        0 => writeln!(out, "# all {} permissions are there", permissions.len())?,
        _ => writeln!(
            out,
            "# {missing} of {} permissions are missing",
            permissions.len()
        )?,
    }
    Ok(missing == 0)
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

/// Asks the recorder at `url` for its health and prints its answer. `Ok(true)` when it is healthy.
///
/// # Errors
/// When it does not answer, or `out` cannot be written.
pub async fn remote(url: &str, out: &mut impl Write) -> anyhow::Result<bool> {
    let (healthy, body) = tokio::time::timeout(URL_TIMEOUT, get_health(url))
        .await
        .with_context(|| format!("{url} did not answer within {URL_TIMEOUT:?}"))?
        .with_context(|| format!("cannot ask {url} for its health"))?;
    writeln!(out, "{}", String::from_utf8_lossy(&body).trim_end())?;
    Ok(healthy)
}

/// Whether the answer was 200, and its body.
async fn get_health(url: &str) -> anyhow::Result<(bool, Vec<u8>)> {
    let uri: Uri = url.parse().context("this is not a URL")?;
    if uri.scheme_str() != Some("http") {
        bail!("the URL must begin with http://");
    }
    let authority = uri.authority().context("the URL names no host")?.clone();
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = format!("{}/healthz", uri.path().trim_end_matches('/'));
    let request = http::Request::get(path)
        .header(HOST, authority.as_str())
        .header(CONNECTION, "close")
        .body(String::new())?;
    let asked = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = read_body(response.into_body()).await?;
        anyhow::Ok((status.is_success(), body))
    };
    // The connection must be driven for the answer to come; the answer may outlive it.
    let (answer, _) = futures_util::future::join(asked, connection).await;
    answer
}

async fn read_body(mut body: hyper::body::Incoming) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            bail!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::serve::tests::Server;
    use crate::source::access::tests::client;

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
            assert_eq!(remote(&url, &mut out).await.unwrap(), healthy);
            let body: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(body["status"], if healthy { "healthy" } else { "degraded" });
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
        for (url, why) in [
            (format!("http://{address}"), "refused"),
            ("https://kube9:8080".to_owned(), "must begin with http://"),
            ("kube9:8080".to_owned(), "must begin with http://"),
            ("http://".to_owned(), "not a URL"),
        ] {
            let error = format!("{:#}", remote(&url, &mut Vec::new()).await.unwrap_err());
            assert!(error.contains(&url) && error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_no_recorder_is_not_healthy() {
        let server = Server::start(crate::config::HttpConfig::default()).await;
        let url = format!("http://{}/other", server.address);
        assert!(!remote(&url, &mut Vec::new()).await.unwrap());
        server.stop().await;
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
        assert!(
            !print_permissions(&client, &KubeConfig::default(), &mut out)
                .await
                .unwrap()
        );
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
