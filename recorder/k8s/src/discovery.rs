//! Finds the kind of a resource that the configuration names: custom resources come with their definitions, also later.

use std::time::Duration;

use kube9_model::change::kinds::{ResourceId, TrackedKind};
use serde::Deserialize;

use crate::api::{Api, ApiError, Representation, json_error_position};

/// A group version has a few dozen resources of 200 bytes.
const BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct WireResources {
    #[serde(default)]
    resources: Vec<WireResource>,
}

#[derive(Deserialize)]
struct WireResource {
    name: String,
    kind: String,
    #[serde(default)]
    namespaced: bool,
}

/// The kind of a resource; `None` if its version has no such resource.
///
/// # Errors
/// The request failed; with 404 if the version is not served.
pub async fn discover(
    api: &Api,
    id: &ResourceId,
    timeout: Duration,
) -> Result<Option<TrackedKind>, ApiError> {
    let path = match &*id.group {
        "" => format!("/api/{}", id.version),
        group => format!("/apis/{group}/{}", id.version),
    };
    let response = api.get(&path, Representation::Objects, timeout).await?;
    let bytes = response.bytes(BYTES_MAX, timeout).await?;
    let found: WireResources = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Malformed(json_error_position(&error)))?;
    let resource = found
        .resources
        .into_iter()
        .find(|one| one.name == id.resource);
    Ok(resource.map(|one| TrackedKind::custom(id, &one.kind, one.namespaced)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    fn answer(path: &str, _: &Value) -> (u16, Value) {
        match path {
            "/apis/argoproj.io/v1alpha1" => (
                200,
                json!({"kind": "APIResourceList", "resources": [
                    {"name": "rollouts/status", "kind": "Rollout", "namespaced": true},
                    {"name": "rollouts", "kind": "Rollout", "namespaced": true},
                ]}),
            ),
            _ => (404, json!("404 page not found")),
        }
    }

    #[tokio::test]
    async fn kind_of_a_resource_is_found_when_it_is_served() {
        let api = Api::new(fake_api::client(answer));
        let find = async |text: &str| {
            let id: ResourceId = text.parse().unwrap();
            discover(&api, &id, Duration::from_secs(5)).await
        };
        let kind = find("argoproj.io/v1alpha1/rollouts")
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&*kind.kind, kind.namespaced), ("Rollout", true));
        assert!(
            find("argoproj.io/v1alpha1/experiments")
                .await
                .unwrap()
                .is_none()
        );
        let error = find("keda.sh/v1alpha1/scaledobjects").await.unwrap_err();
        assert!(
            matches!(error, ApiError::Status { code: 404, .. }),
            "{error}"
        );
    }
}
