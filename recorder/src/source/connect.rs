//! From configuration to a client, and the identity of the cluster behind it.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, Client, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use tower::{BoxError, ServiceExt};

use crate::config::KubeConfig;
use crate::hash::stable_hash;

/// A client and whose it is.
pub struct Connected {
    /// Sends requests.
    pub client: Client,
    /// Tells clusters apart: positions of one mean nothing in another.
    pub cluster: String,
    /// For the log.
    pub server: String,
}

/// Makes a client for the cluster that is configured: the named kubeconfig or context, else the pod's service account,
/// else the current context. It sends nothing yet.
pub async fn connect(config: &KubeConfig, connect_timeout: Duration) -> anyhow::Result<Connected> {
    let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let asked = config.kubeconfig.is_some() || config.context.is_some();
    let mut kube_config = if in_pod && !asked {
        kube::Config::incluster().context("the pod's service account cannot be used")?
    } else {
        let options = KubeConfigOptions {
            context: config.context.clone(),
            ..KubeConfigOptions::default()
        };
        let file = match &config.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .map_err(without_content)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?,
            None => Kubeconfig::read().map_err(without_content).context(
                "no cluster to record: set --kubeconfig, KUBECONFIG or ~/.kube/config, or run in a pod",
            )?,
        };
        kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .context("the kubeconfig cannot be used")?
    };
    kube_config.connect_timeout = Some(connect_timeout);
    let server = kube_config.cluster_url.to_string();
    let cluster = identity(kube_config.root_cert.as_deref(), &server);
    let client = client(&kube_config).context("cannot make a client for the API server")?;
    Ok(Connected {
        client,
        cluster,
        server,
    })
}

/// Bytes that are read from a connection at once: a TLS record.
const READ_BYTES: usize = 16 << 10;

/// A connection that no list has used for this long is closed.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// kube's own client, but for three things. It does not retry 429, 503 and 504 by itself: that would look like a server
/// that does not answer, and hide the reason from `/healthz` until our timeout; the sources back off themselves, and say
/// why. It closes connections that nobody uses, and it takes a new buffer for each read while the last one is in use:
/// so what came through it, values of ConfigMaps among it, is soon freed, and wiped then (`wiping`, `api::Lines`).
fn client(config: &kube::Config) -> anyhow::Result<Client> {
    if let Some(proxy) = &config.proxy_url {
        let host = proxy.host().unwrap_or_default();
        bail!("the kubeconfig asks for a proxy ({host}), which the recorder cannot use");
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(config.connect_timeout);
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .http1_read_buf_exact_size(READ_BYTES)
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .build(connector);
    let client = client.map_err(BoxError::from);
    let builder = ClientBuilder::new(client, config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer()?);
    let address = config.base_uri_layer();
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&address).build(),
        None => builder.with_layer(&address).build(),
    })
}

/// A kubeconfig holds tokens and keys, and the parser's own message quotes the lines around the fault.
fn without_content(error: KubeconfigError) -> anyhow::Error {
    match error {
        KubeconfigError::Parse(fault) => match fault.location() {
            Some(at) => anyhow!(
                "it is no kubeconfig: see line {}, column {}",
                at.line(),
                at.column()
            ),
            None => anyhow!("it is no kubeconfig"),
        },
        other => other.into(),
    }
}

/// The cluster's own certificate authority tells it apart; the address does not (in a pod it is the same everywhere).
/// A rotated authority looks like another cluster: then everything is listed again, which stores nothing twice.
fn identity(authorities: Option<&[Vec<u8>]>, server: &str) -> String {
    let bytes = match authorities {
        Some(certificates) if !certificates.is_empty() => certificates.concat(),
        _ => server.as_bytes().to_vec(),
    };
    format!("{:016x}", stable_hash(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_not_quoted() {
        const PLANTED: &str = "planted-token-0123456789";
        for content in [
            PLANTED.to_owned(),
            format!("- token: {PLANTED}\n- {{a: }}b\n"),
            format!("apiVersion: v1\nkind: Config\nusers: {PLANTED}\n"),
            format!("apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: [{PLANTED}]\n"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), &content).unwrap();
            let config = KubeConfig {
                kubeconfig: Some(file.path().to_owned()),
                ..KubeConfig::default()
            };
            let Err(error) = connect(&config, Duration::from_secs(1)).await else {
                panic!("taken for a kubeconfig: {content}");
            };
            let told = format!("{error:#} {error:?}");
            assert!(told.contains("cannot read the kubeconfig"), "{told}");
            assert!(!told.contains("planted"), "{told}");
        }
    }

    #[test]
    fn clusters_are_told_apart_by_their_authority() {
        let (a, b) = (vec![vec![1, 2, 3]], vec![vec![1, 2, 4]]);
        let url = "https://10.96.0.1/";
        assert_eq!(
            identity(Some(&a), url),
            identity(Some(&a), "https://other/")
        );
        assert_ne!(identity(Some(&a), url), identity(Some(&b), url));
        assert_ne!(identity(None, url), identity(None, "https://other/"));
    }
}
