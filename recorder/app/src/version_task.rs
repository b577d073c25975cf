//! Asks the API server for its version, so that an upgrade is a row.

use std::sync::Arc;
use std::time::Duration;

use kube9_base::backoff::jittered;
use kube9_base::clock::Clock;
use kube9_ingest::item::Item;
use kube9_ingest::sanitize::Clean;
use kube9_k8s::api::Api;
use kube9_k8s::server_version::server_version;
use kube9_store::queue::{Queue, push};
use tracing::debug;

use crate::metrics::Metrics;

/// A connection stays with one API server; during an upgrade it is closed, and another one may answer.
const EVERY: Duration = Duration::from_secs(60);

/// Asks for the version.
pub(crate) struct VersionTask {
    pub(crate) api: Api,
    pub(crate) cluster: String,
    pub(crate) timeout: Duration,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
}

impl VersionTask {
    /// Runs indefinitely; the caller drops the future to stop it.
    pub(crate) async fn run(self) {
        loop {
            match server_version(&self.api, self.timeout).await {
                Ok(version) => {
                    // Each time, because a full queue may drop it. The writer knows which it has seen.
                    let item = Item::ServerVersion {
                        cluster: self.cluster.clone(),
                        version: Clean::name(&version),
                        at: self.clock.now(),
                    };
                    push(&self.queue, &self.metrics.store, item, self.clock.now());
                }
                // The watches report that the API server cannot be reached. Where it forbids this request, nothing depends on
                // the answer.
                Err(error) => debug!(%error, "version of the API server unknown"),
            }
            tokio::time::sleep(jittered(EVERY)).await;
        }
    }
}
