//! Checks the recorder's permissions with SelfSubjectAccessReview, which every authenticated user may create; if even that
//! is denied, with a real list.

use std::borrow::Cow;

use http::{Method, Request};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::KubeConfig;

/// A resource that the recorder reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version that is read.
    pub version: Cow<'static, str>,
    /// Plural name.
    pub name: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// A resource of Kubernetes.
    pub const fn new(group: &'static str, name: &'static str, namespaced: bool) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed("v1"),
            name: Cow::Borrowed(name),
            namespaced,
        }
    }

    /// As `kubectl` names it, e.g. `deployments.apps`.
    pub fn full_name(&self) -> String {
        match &*self.group {
            "" => self.name.to_string(),
            group => format!("{}.{group}", self.name),
        }
    }
}

const CONFIG_MAPS: Resource = Resource::new("", "configmaps", true);

const VERBS: [&str; 2] = ["list", "watch"];

/// The result of checking one permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// `list` or `watch`; `patch` for the status document.
    pub verb: &'static str,
    /// The resource.
    pub resource: Resource,
    /// The namespace; empty for all namespaces and for cluster-scoped resources.
    pub namespace: String,
    /// The name of a single object; empty for all objects.
    pub name: String,
    /// `Err` with the reason why it is denied or unknown.
    pub allowed: Result<(), String>,
}

/// Checks the permissions to read these resources, in all namespaces or in the configured ones, and the permission to
/// patch the status document if one is configured.
pub async fn review(
    client: &Client,
    config: &KubeConfig,
    resources: &[Resource],
) -> Vec<Permission> {
    let everywhere = [String::new()];
    let namespaces = config.namespaces.as_slice();
    let mut permissions = Vec::new();
    for resource in resources {
        let scoped = resource.namespaced && !namespaces.is_empty();
        for namespace in if scoped { namespaces } else { &everywhere } {
            for verb in VERBS {
                let allowed = check_access(client, verb, resource, namespace).await;
                permissions.push(Permission {
                    verb,
                    resource: resource.clone(),
                    namespace: namespace.clone(),
                    name: String::new(),
                    allowed,
                });
            }
        }
    }
    if let (Some(name), Some(namespace)) = (&config.status_configmap, &config.pod_namespace) {
        permissions.push(Permission {
            verb: "patch",
            resource: CONFIG_MAPS,
            namespace: namespace.clone(),
            name: name.clone(),
            allowed: check_patch(client, namespace, name).await,
        });
    }
    permissions
}

async fn check_access(
    client: &Client,
    verb: &str,
    resource: &Resource,
    namespace: &str,
) -> Result<(), String> {
    match access_review(client, verb, resource, namespace, "").await {
        Ok(status) => status.verdict(),
        // The review itself is denied. Only a real request can tell, and a watch cannot be tried briefly.
        Err(kube::Error::Api(status)) if [403, 404, 405].contains(&status.code) => {
            try_list(client, resource, namespace)
                .await
                .map_err(|error| chain(&error))
        }
        Err(error) => Err(format!("unknown: {}", chain(&error))),
    }
}

/// Has no fallback: no patch is guaranteed to change nothing.
async fn check_patch(client: &Client, namespace: &str, name: &str) -> Result<(), String> {
    access_review(client, "patch", &CONFIG_MAPS, namespace, name)
        .await
        .map_err(|error| format!("unknown: {}", chain(&error)))?
        .verdict()
}

#[derive(Deserialize)]
struct ReviewResponse {
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    allowed: bool,
    #[serde(default)]
    reason: String,
}

impl Status {
    fn verdict(self) -> Result<(), String> {
        match self {
            Self { allowed: true, .. } => Ok(()),
            Self { reason, .. } if reason.is_empty() => Err("not allowed".to_owned()),
            Self { reason, .. } => Err(reason),
        }
    }
}

async fn access_review(
    client: &Client,
    verb: &str,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Status, kube::Error> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "group": resource.group, "resource": resource.name, "namespace": namespace, "verb": verb,
            "name": name,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let request = request(Method::POST, path, review.to_string().into_bytes());
    Ok(client.request::<ReviewResponse>(request).await?.status)
}

async fn try_list(
    client: &Client,
    resource: &Resource,
    namespace: &str,
) -> Result<(), kube::Error> {
    let Resource {
        group,
        version,
        name,
        ..
    } = resource;
    let group = match &**group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    };
    let scope = match namespace {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let path = format!("{group}{scope}/{name}?limit=1");
    client
        .request::<Value>(request(Method::GET, &path, Vec::new()))
        .await
        .map(drop)
}

fn request(method: Method, path: &str, body: Vec<u8>) -> Request<Vec<u8>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("a path of literals and of a checked namespace is a valid URI")
}

/// The error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api::{Handler, client};

    fn failure(code: u16) -> (u16, Value) {
        (
            code,
            json!({"kind": "Status", "status": "Failure", "code": code, "message": "no", "reason": "Forbidden"}),
        )
    }

    const RESOURCES: [Resource; 3] = [
        Resource::new("", "events", true),
        Resource::new("", "nodes", false),
        Resource::new("apps", "deployments", true),
    ];

    /// `verb resource in namespace`, of those that are missing.
    async fn missing(handler: Handler, namespaces: &[&str]) -> Vec<String> {
        let config = KubeConfig {
            namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
            ..KubeConfig::default()
        };
        let permissions = review(&client(handler), &config, &RESOURCES).await;
        let refused = permissions
            .iter()
            .filter_map(|p| Some((p, p.allowed.as_ref().err()?)));
        refused
            .map(|(p, why)| format!("{} {} in {:?}: {why}", p.verb, p.resource.name, p.namespace))
            .collect()
    }

    #[tokio::test]
    async fn review_granted_permissions_are_not_missing() {
        assert_eq!(
            missing(|_, _| (201, json!({"status": {"allowed": true}})), &[]).await,
            [""; 0]
        );
    }

    #[tokio::test]
    async fn review_denied_permission_is_missing_in_each_namespace() {
        let handler: Handler = |_, body| {
            let spec = &body["spec"]["resourceAttributes"];
            let denied = spec["resource"] == "deployments"
                && spec["group"] == "apps"
                && spec["verb"] == "watch";
            let reason = if spec["namespace"] == "b" {
                "no RBAC policy matched"
            } else {
                ""
            };
            (
                201,
                json!({"status": {"allowed": !denied, "reason": reason}}),
            )
        };
        assert_eq!(
            missing(handler, &["a", "b"]).await,
            [
                "watch deployments in \"a\": not allowed",
                "watch deployments in \"b\": no RBAC policy matched"
            ]
        );
    }

    #[tokio::test]
    async fn review_of_nodes_is_cluster_wide() {
        let handler: Handler = |_, body| {
            let spec = &body["spec"]["resourceAttributes"];
            let cluster_wide = spec["namespace"] == "";
            (
                201,
                json!({"status": {"allowed": cluster_wide == (spec["resource"] == "nodes")}}),
            )
        };
        assert_eq!(missing(handler, &["a"]).await, [""; 0]);
    }

    #[tokio::test]
    async fn review_that_is_denied_falls_back_to_a_list() {
        let handler: Handler = |path, _| match path {
            "/apis/apps/v1/namespaces/a/deployments?limit=1" => failure(403),
            path if path.ends_with("?limit=1") => (200, json!({"items": []})),
            _ => failure(403),
        };
        let missing = missing(handler, &["a"]).await;
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(
            missing[0].starts_with("list deployments in \"a\": "),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn review_with_a_failing_api_server_is_unknown() {
        let missing = missing(|_, _| failure(500), &[]).await;
        assert_eq!(missing.len(), RESOURCES.len() * VERBS.len());
        assert!(
            missing[0].starts_with("list events in \"\": unknown: "),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn review_of_the_status_document_names_the_config_map() {
        let handler: Handler = |_, body| {
            let spec = &body["spec"]["resourceAttributes"];
            let patch = spec["verb"] == "patch";
            assert_eq!(patch, spec["name"] == "kube9-operator-status");
            (201, json!({"status": {"allowed": !patch}}))
        };
        let config = KubeConfig {
            pod_namespace: Some("kube9-system".to_owned()),
            status_configmap: Some("kube9-operator-status".to_owned()),
            ..KubeConfig::default()
        };
        let permissions = review(&client(handler), &config, &RESOURCES).await;
        let missing: Vec<_> = permissions.iter().filter(|p| p.allowed.is_err()).collect();
        let [only] = missing[..] else {
            panic!("{missing:?}")
        };
        assert_eq!((only.verb, &*only.namespace), ("patch", "kube9-system"));
    }
}
