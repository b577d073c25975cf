//! The version of the API server that answers.

use std::time::Duration;

use serde::Deserialize;

use crate::api::{Api, ApiError, Representation, json_error_position};

/// The answer has some 400 bytes.
const BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireVersion {
    git_version: String,
}

/// The API server's version, such as `v1.35.4` or `v1.34.1-gke.1829001`. Of several servers one answers, whichever it is.
///
/// # Errors
/// The request failed.
pub async fn server_version(api: &Api, timeout: Duration) -> Result<String, ApiError> {
    let response = api
        .get("/version", Representation::Objects, timeout)
        .await?;
    let bytes = response.bytes(BYTES_MAX, timeout).await?;
    let version: WireVersion = serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::Malformed(json_error_position(&error)))?;
    Ok(version.git_version)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fake_api;

    fn answer(path: &str, _: &Value) -> (u16, Value) {
        match path {
            "/version" => (
                200,
                json!({"major": "1", "minor": "35+", "gitVersion": "v1.35.4-eks-1a2b3c", "platform": "linux/amd64"}),
            ),
            _ => (404, json!("404 page not found")),
        }
    }

    #[tokio::test]
    async fn version_is_that_of_the_build() {
        let api = Api::new(fake_api::client(answer));
        let version = server_version(&api, Duration::from_secs(5)).await.unwrap();
        assert_eq!(version, "v1.35.4-eks-1a2b3c");
    }
}
