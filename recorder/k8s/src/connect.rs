//! Creates the client from the configuration, and identifies its cluster.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::uri::Scheme;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube9_base::settings::Location;
use kube9_model::hash::stable_hash;
use tracing::warn;

use crate::config::KubeConfig;

/// A client, and the cluster that it is for.
pub struct Connected {
    /// Sends requests.
    pub client: Client,
    /// Identifies the cluster: a position of one cluster is meaningless in another.
    pub cluster: String,
    /// URL of the API server, for the log.
    pub server: String,
}

/// Creates a client for the configured cluster: the configured kubeconfig and context, else the pod's service account, else
/// the current context. Sends no request.
pub async fn connect(config: &KubeConfig, connect_timeout: Duration) -> anyhow::Result<Connected> {
    connect_from(Location::here(), config, connect_timeout).await
}

async fn connect_from(
    place: Location,
    config: &KubeConfig,
    connect_timeout: Duration,
) -> anyhow::Result<Connected> {
    let mut kube_config = match (place, &config.kubeconfig) {
        (Location::Pod, None) => {
            kube::Config::incluster().context("the pod's service account cannot be used")?
        }
        (Location::Pod, Some(path)) => {
            let file = in_pod(path)
                .with_context(|| format!("cannot use the kubeconfig {}", path.display()))?;
            from_kubeconfig(file, config).await?
        }
        (Location::Elsewhere, Some(path)) => from_kubeconfig(read(path)?, config).await?,
        (Location::Elsewhere, None) => {
            let file = Kubeconfig::read().map_err(without_content).context(
                "no cluster to record: set --kubeconfig, KUBECONFIG or ~/.kube/config, or run in a pod",
            )?;
            from_kubeconfig(file, config).await?
        }
    };
    if let Some(weakness) = weakness(&kube_config) {
        let server = &kube_config.cluster_url;
        if place == Location::Pod {
            bail!(
                "the connection to {server} is not protected ({weakness}), so the token could be intercepted: \
                 use https:// and the server's CA"
            );
        }
        warn!(%server, weakness, "connection to the API server is not protected: the token can be intercepted");
    }
    kube_config.connect_timeout = Some(connect_timeout);
    // If the client retried 429, 503 and 504, `/healthz` would show a timeout instead of the reason. The watchers back off
    // and report it.
    kube_config.default_retry = false;
    let server = kube_config.cluster_url.to_string();
    let cluster = identity(kube_config.root_cert.as_deref(), &server);
    let client =
        Client::try_from(kube_config).context("cannot make a client for the API server")?;
    Ok(Connected {
        client,
        cluster,
        server,
    })
}

fn read(path: &Path) -> anyhow::Result<Kubeconfig> {
    Kubeconfig::read_from(path)
        .map_err(without_content)
        .with_context(|| format!("cannot read the kubeconfig {}", path.display()))
}

/// Reads a kubeconfig in a pod, which must contain its credentials. One that names files or programs could send the pod's
/// token to a server of its choice; one that is not a file could be the standard input of a `kubectl exec`.
fn in_pod(path: &Path) -> anyhow::Result<Kubeconfig> {
    if !path.is_file() {
        bail!("inside a pod it must be a file");
    }
    let file = read(path)?;
    if let Some(key) = external_reference(&file) {
        bail!(
            "inside a pod it must not contain {key}: put the token or the …-data into it, \
             or leave kube.kubeconfig unset to use the pod's service account"
        );
    }
    Ok(file)
}

/// The first key of a kubeconfig, in any context, that makes kube read another file or run a program.
fn external_reference(file: &Kubeconfig) -> Option<&'static str> {
    let users = file
        .auth_infos
        .iter()
        .filter_map(|user| user.auth_info.as_ref());
    let of_users = users.flat_map(|user| {
        [
            (user.token_file.is_some(), "tokenFile"),
            (user.exec.is_some(), "exec"),
            (user.auth_provider.is_some(), "auth-provider"),
            (user.client_certificate.is_some(), "client-certificate"),
            (user.client_key.is_some(), "client-key"),
        ]
    });
    let clusters = file.clusters.iter().filter_map(|one| one.cluster.as_ref());
    let of_clusters = clusters.map(|cluster| {
        let authority = cluster.certificate_authority.is_some();
        (authority, "certificate-authority")
    });
    of_users
        .chain(of_clusters)
        .find_map(|(is_there, key)| is_there.then_some(key))
}

/// Replaces a missing `proxy-url`, for which kube would use `HTTPS_PROXY`.
const NO_PROXY: &str = "http://no-proxy.invalid";

async fn from_kubeconfig(
    mut file: Kubeconfig,
    config: &KubeConfig,
) -> anyhow::Result<kube::Config> {
    for cluster in file
        .clusters
        .iter_mut()
        .filter_map(|one| one.cluster.as_mut())
    {
        if cluster.proxy_url.as_deref().is_none_or(str::is_empty) {
            cluster.proxy_url = Some(NO_PROXY.to_owned());
        }
    }
    let options = KubeConfigOptions {
        context: config.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut made = kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .context("the kubeconfig cannot be used")?;
    match &made.proxy_url {
        Some(proxy) if proxy.host() == NO_PROXY.strip_prefix("http://") => made.proxy_url = None,
        Some(proxy) => {
            let host = proxy.host().unwrap_or_default();
            bail!(
                "the kubeconfig sets a proxy ({host}), which the recorder does not support: \
                 remove proxy-url"
            );
        }
        None => {}
    }
    for variable in ["HTTPS_PROXY", "https_proxy"] {
        if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            let server = &made.cluster_url;
            warn!(%server, "{variable} is ignored: the recorder connects to the API server directly");
            break;
        }
    }
    Ok(made)
}

/// Why the connection, and the token, could be intercepted; `None` if it is protected, or stays on this host.
fn weakness(config: &kube::Config) -> Option<&'static str> {
    let host = config.cluster_url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    if loopback {
        None
    } else if config.cluster_url.scheme() != Some(&Scheme::HTTPS) {
        Some("plain http")
    } else if config.accept_invalid_certs {
        Some("insecure-skip-tls-verify")
    } else {
        None
    }
}

/// Removes content from an error: a kubeconfig contains tokens and keys, and the parser quotes the lines around an error.
fn without_content(error: KubeconfigError) -> anyhow::Error {
    match error {
        KubeconfigError::Parse(fault) => match fault.location() {
            Some(at) => anyhow!(
                "it is not a kubeconfig: see line {}, column {}",
                at.line(),
                at.column()
            ),
            None => anyhow!("it is not a kubeconfig"),
        },
        other => other.into(),
    }
}

/// Identifies a cluster by its certificate authority. The address does not identify it: in a pod it is mostly the same. A
/// rotated authority looks like another cluster: the recorder lists everything again, which stores nothing twice.
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
    async fn connect_with_an_invalid_kubeconfig_does_not_quote_it() {
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
            let text = format!("{error:#} {error:?}");
            assert!(text.contains("cannot read the kubeconfig"), "{text}");
            assert!(!text.contains("planted"), "{text}");
        }
    }

    const SERVER: &str = "https://api.example.com";

    /// Connects with a kubeconfig; returns the server or the error.
    async fn connect_with(place: Location, cluster: &str, user: &str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {cluster}}}],\
              users: [{{name: u, user: {user}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(file.path(), text).unwrap();
        let config = KubeConfig {
            kubeconfig: Some(file.path().to_owned()),
            ..KubeConfig::default()
        };
        connect_from(place, &config, Duration::from_secs(1))
            .await
            .map(|connected| connected.server)
            .map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn connect_in_a_pod_rejects_a_kubeconfig_with_external_references() {
        let own = tempfile::NamedTempFile::new().unwrap();
        let path = own.path().display();
        for (key, user) in [
            ("tokenFile", format!("{{tokenFile: {path}}}")),
            ("tokenFile", format!("{{token: t, tokenFile: {path}}}")),
            (
                "exec",
                "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /kube9-recorder}}"
                    .to_owned(),
            ),
            (
                "auth-provider",
                "{auth-provider: {name: gcp, config: {cmd-path: /x}}}".to_owned(),
            ),
            (
                "client-certificate",
                format!("{{client-certificate: {path}}}"),
            ),
            ("client-key", format!("{{client-key: {path}}}")),
        ] {
            let refused =
                connect_with(Location::Pod, &format!("{{server: '{SERVER}'}}"), &user).await;
            let error = refused.unwrap_err();
            assert!(
                error.contains(&format!("inside a pod it must not contain {key}")),
                "{error}"
            );
        }
        let cluster = format!("{{server: '{SERVER}', certificate-authority: {path}}}");
        let error = connect_with(Location::Pod, &cluster, "{token: t}")
            .await
            .unwrap_err();
        assert!(
            error.contains("must not contain certificate-authority"),
            "{error}"
        );
        let whole = connect_with(
            Location::Pod,
            &format!("{{server: '{SERVER}'}}"),
            "{token: t}",
        )
        .await;
        assert_eq!(whole.unwrap(), format!("{SERVER}/"));
    }

    #[tokio::test]
    async fn connect_in_a_pod_rejects_a_kubeconfig_that_is_not_a_file() {
        for path in [
            "/dev/stdin",
            "/dev/null",
            "/proc/self/fd/0",
            "/no/such/file",
            "/",
        ] {
            let config = KubeConfig {
                kubeconfig: Some(path.into()),
                ..KubeConfig::default()
            };
            let refused = connect_from(Location::Pod, &config, Duration::from_secs(1)).await;
            let error = format!("{:#}", refused.err().unwrap());
            assert!(error.contains("inside a pod it must be a file"), "{error}");
        }
    }

    #[tokio::test]
    async fn connect_in_a_pod_rejects_an_unprotected_connection() {
        for (cluster, weakness) in [
            ("{server: 'http://api.example.com'}", Some("plain http")),
            ("{server: 'HTTP://10.0.0.1:6443'}", Some("plain http")),
            (
                "{server: 'http://127.0.0.1.example.com'}",
                Some("plain http"),
            ),
            (
                "{server: 'http://localhost.example.com'}",
                Some("plain http"),
            ),
            ("{server: 'http://[2001:db8::1]:80'}", Some("plain http")),
            (
                "{server: 'https://api.example.com', insecure-skip-tls-verify: true}",
                Some("insecure-skip-tls-verify"),
            ),
            (
                "{server: 'https://api.example.com', insecure-skip-tls-verify: false}",
                None,
            ),
            ("{server: 'http://127.0.0.1:8001'}", None),
            ("{server: 'http://127.8.0.1:8001'}", None),
            ("{server: 'http://localhost:8001'}", None),
            ("{server: 'http://[::1]:8001'}", None),
            (
                "{server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}",
                None,
            ),
        ] {
            let in_pod = connect_with(Location::Pod, cluster, "{token: t}").await;
            match (weakness, in_pod) {
                (None, made) => assert!(made.is_ok(), "{cluster}: {made:?}"),
                (Some(weakness), made) => {
                    let error = made.unwrap_err();
                    assert!(
                        error.contains(&format!("is not protected ({weakness})")),
                        "{error}"
                    );
                }
            }
            // Outside a pod it is a warning.
            let elsewhere = connect_with(Location::Elsewhere, cluster, "{token: t}").await;
            assert!(elsewhere.is_ok(), "{cluster}: {elsewhere:?}");
        }
    }

    #[tokio::test]
    async fn connect_rejects_a_proxy_and_names_it() {
        let cluster = format!("{{server: '{SERVER}', proxy-url: 'http://proxy.example.com:3128'}}");
        let error = connect_with(Location::Elsewhere, &cluster, "{token: t}")
            .await
            .unwrap_err();
        assert!(
            error.contains("the kubeconfig sets a proxy (proxy.example.com)"),
            "{error}"
        );
    }

    #[test]
    fn identity_depends_on_the_certificate_authority() {
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
