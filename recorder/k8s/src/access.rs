//! Whether the API server lets the recorder do what it has to, which is to read what it records: asked with SelfSubjectAccessReview, which every
//! authenticated user may create, and with a real list where even that is refused.

use http::{Method, Request};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::KubeConfig;

/// A resource that the recorder reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name.
    pub name: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// All of them; Events first.
pub const RESOURCES: [Resource; 6] = [
    Resource {
        group: "",
        name: "events",
        namespaced: true,
    },
    Resource {
        group: "",
        name: "nodes",
        namespaced: false,
    },
    Resource {
        group: "",
        name: "pods",
        namespaced: true,
    },
    Resource {
        group: "apps",
        name: "deployments",
        namespaced: true,
    },
    Resource {
        group: "",
        name: "services",
        namespaced: true,
    },
    CONFIG_MAPS,
];

const CONFIG_MAPS: Resource = Resource {
    group: "",
    name: "configmaps",
    namespaced: true,
};

const VERBS: [&str; 2] = ["list", "watch"];

/// Whether one thing is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// `list` or `watch`; `patch` for the status document.
    pub verb: &'static str,
    /// Of what.
    pub resource: Resource,
    /// In which namespace; empty for all, and for what lives in none.
    pub namespace: String,
    /// Of the one object of this name; empty for all.
    pub name: String,
    /// `Err` with the reason why not, or why it is unknown.
    pub allowed: Result<(), String>,
}

/// What the recorder reads with the analysis on, or off: then Events alone.
fn needed(analysis: bool) -> &'static [Resource] {
    if analysis {
        &RESOURCES
    } else {
        &RESOURCES[..1]
    }
}

/// Asks for everything that recording needs, with the analysis or without, in all namespaces or in those given, and for
/// the status document's permission where one is configured.
pub async fn review(client: &Client, config: &KubeConfig, analysis: bool) -> Vec<Permission> {
    let everywhere = [String::new()];
    let namespaces = config.namespaces.as_slice();
    let mut permissions = Vec::new();
    for resource in needed(analysis) {
        let scoped = resource.namespaced && !namespaces.is_empty();
        for namespace in if scoped { namespaces } else { &everywhere } {
            for verb in VERBS {
                let allowed = ask(client, verb, *resource, namespace).await;
                permissions.push(Permission {
                    verb,
                    resource: *resource,
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
            allowed: ask_to_patch(client, namespace, name).await,
        });
    }
    permissions
}

async fn ask(
    client: &Client,
    verb: &str,
    resource: Resource,
    namespace: &str,
) -> Result<(), String> {
    match access_review(client, verb, resource, namespace, "").await {
        Ok(status) => status.verdict(),
        // The review itself is refused: trying is the only way to learn, and there is no short way to try a watch.
        Err(kube::Error::Api(status)) if [403, 404, 405].contains(&status.code) => {
            try_list(client, resource, namespace)
                .await
                .map_err(|error| chain(&error))
        }
        Err(error) => Err(format!("unknown: {}", chain(&error))),
    }
}

/// Trying is no way to ask here: there is no patch that changes nothing for sure.
async fn ask_to_patch(client: &Client, namespace: &str, name: &str) -> Result<(), String> {
    access_review(client, "patch", CONFIG_MAPS, namespace, name)
        .await
        .map_err(|error| format!("unknown: {}", chain(&error)))?
        .verdict()
}

#[derive(Deserialize)]
struct Answer {
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
    resource: Resource,
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
    Ok(client.request::<Answer>(request).await?.status)
}

async fn try_list(client: &Client, resource: Resource, namespace: &str) -> Result<(), kube::Error> {
    let group = match resource.group {
        "" => "/api/v1".to_owned(),
        group => format!("/apis/{group}/v1"),
    };
    let scope = match namespace {
        "" => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    let path = format!("{group}{scope}/{}?limit=1", resource.name);
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

    /// `verb resource in namespace`, of those that are missing.
    async fn missing(handler: Handler, namespaces: &[&str]) -> Vec<String> {
        let config = KubeConfig {
            namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
            ..KubeConfig::default()
        };
        let permissions = review(&client(handler), &config, true).await;
        let refused = permissions
            .iter()
            .filter_map(|p| Some((p, p.allowed.as_ref().err()?)));
        refused
            .map(|(p, why)| format!("{} {} in {:?}: {why}", p.verb, p.resource.name, p.namespace))
            .collect()
    }

    #[tokio::test]
    async fn what_is_allowed_is_not_missing() {
        assert_eq!(
            missing(|_, _| (201, json!({"status": {"allowed": true}})), &[]).await,
            [""; 0]
        );
    }

    #[tokio::test]
    async fn what_the_review_denies_is_missing_in_each_namespace() {
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
    async fn nodes_are_asked_for_cluster_wide() {
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
    async fn a_refused_review_is_replaced_by_a_real_list() {
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
    async fn an_api_server_in_trouble_leaves_it_unknown() {
        let missing = missing(|_, _| failure(500), &[]).await;
        assert_eq!(missing.len(), RESOURCES.len() * VERBS.len());
        assert!(
            missing[0].starts_with("list events in \"\": unknown: "),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn review_without_the_analysis_asks_for_events_alone() {
        let handler: Handler = |_, _| (201, json!({"status": {"allowed": true}}));
        let permissions = review(&client(handler), &KubeConfig::default(), false).await;
        let asked = permissions.iter().map(|p| (p.verb, p.resource.name));
        assert_eq!(
            asked.collect::<Vec<_>>(),
            [("list", "events"), ("watch", "events")]
        );
    }

    #[tokio::test]
    async fn the_status_document_is_asked_for_by_its_name() {
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
        let permissions = review(&client(handler), &config, true).await;
        let missing: Vec<_> = permissions.iter().filter(|p| p.allowed.is_err()).collect();
        let [only] = missing[..] else {
            panic!("{missing:?}")
        };
        assert_eq!((only.verb, &*only.namespace), ("patch", "kube9-system"));
    }
}
