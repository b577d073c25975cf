//! The status document for the kube9 extension of VS Code: a ConfigMap that shows whether a recorder runs and is healthy.
//!
//! ```text
//!   Health ──▶ document (JSON) ──▶ PATCH data.status of one ConfigMap     at each change of health, and every minute
//! ```
//!
//! Only if `kube.status_configmap` is set. The chart creates the ConfigMap and grants `patch` on it by name; it is the only
//! object in the cluster that the recorder writes.
//!
//! The keys are the extension's contract: it requires `mode`, `version`, `health` and `lastUpdate`, treats a `lastUpdate`
//! older than five minutes as a failed recorder, and reads `collectionStats` without checking that it exists.
//!
//! Invariant: a failure here neither blocks nor degrades the recording. A document that cannot be written becomes stale,
//! which its readers detect.

use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use kube9_base::clock::Clock;
use kube9_base::health::Health;
use kube9_model::time::Timestamp;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::config::KubeConfig;

/// Interval between documents while nothing changes: well below the extension's five minutes.
const RENEW_INTERVAL: Duration = Duration::from_secs(60);

/// Interval between checks of the health.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The same during the start, whose end is reported quickly.
const STARTUP_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A start that takes longer than this is reported as degraded: readers keep a document for minutes.
const STARTUP_GRACE: Duration = Duration::from_secs(60);

/// Time limit for a response of the API server.
const PATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the document while the recorder runs.
pub struct StatusDocument {
    client: Client,
    namespace: String,
    path: String,
    health: Health,
    clock: Clock,
}

/// The content of a document apart from the time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    health: &'static str,
    error: Option<String>,
}

impl StatusDocument {
    /// `None` if the configuration names no ConfigMap.
    pub fn new(config: &KubeConfig, client: Client, health: Health, clock: Clock) -> Option<Self> {
        let name = config.status_configmap.as_ref()?;
        // The configuration rejects a name without a namespace.
        let namespace = config.pod_namespace.clone()?;
        Some(Self {
            client,
            path: format!("/api/v1/namespaces/{namespace}/configmaps/{name}"),
            namespace,
            health,
            clock,
        })
    }

    /// Runs until the future is dropped.
    pub async fn run(self) {
        let mut schedule = Schedule::new(self.clock.monotonic());
        let mut failing = false;
        loop {
            let condition = Condition::of(&self.health);
            let now = self.clock.monotonic();
            if schedule.is_starting(&condition, now) {
                tokio::time::sleep(STARTUP_CHECK_INTERVAL).await;
                continue;
            }
            if schedule.is_due(&condition, now) {
                match self.write(&condition).await {
                    Ok(()) => {
                        schedule.written = Some((condition, now));
                        if std::mem::take(&mut failing) {
                            info!(path = self.path, "the status document is written again");
                        }
                    }
                    // Logged once: the attempts repeat every few seconds.
                    Err(error) if !failing => {
                        failing = true;
                        warn!(
                            path = self.path,
                            error, "cannot write the status document, retrying"
                        );
                    }
                    Err(_) => {}
                }
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }

    async fn write(&self, condition: &Condition) -> Result<(), String> {
        let document = document(condition, &self.namespace, self.clock.now());
        let patch = json!({"data": {"status": document.to_string()}});
        let request = Request::patch(&self.path)
            .header(CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(|error| error.to_string())?;
        tokio::time::timeout(PATCH_TIMEOUT, self.client.request::<Value>(request))
            .await
            .map_err(|_| format!("no response within {} s", PATCH_TIMEOUT.as_secs()))?
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// Decides when a document is written.
struct Schedule {
    /// When the process started.
    start: Duration,
    /// The last document, and when it was written.
    written: Option<(Condition, Duration)>,
}

impl Schedule {
    fn new(start: Duration) -> Self {
        Self {
            start,
            written: None,
        }
    }

    /// Whether the recorder is still starting, which is not a problem yet.
    fn is_starting(&self, condition: &Condition, now: Duration) -> bool {
        condition.error.is_some() && now.saturating_sub(self.start) < STARTUP_GRACE
    }

    fn is_due(&self, condition: &Condition, now: Duration) -> bool {
        self.written.as_ref().is_none_or(|(before, at)| {
            before != condition || now.saturating_sub(*at) >= RENEW_INTERVAL
        })
    }
}

impl Condition {
    fn of(health: &Health) -> Self {
        let faults = health.faults();
        let degraded = health.checks().into_iter().filter(|check| !check.healthy);
        let first_sync = (!health.ready()).then(|| "the first sync is not complete".to_owned());
        let (health, error) = match faults.into_iter().next() {
            Some(fault) => ("unhealthy", Some(fault)),
            None => {
                let check = degraded
                    .map(|check| format!("{}: {}", check.name, check.message))
                    .next();
                let error = check.or(first_sync);
                (error.as_ref().map_or("healthy", |_| "degraded"), error)
            }
        };
        Self { health, error }
    }
}

/// `mode` and `tier` are those of a recorder without a paid service, the only kind.
fn document(condition: &Condition, namespace: &str, now: Timestamp) -> Value {
    json!({
        "mode": "operated",
        "tier": "free",
        "version": env!("CARGO_PKG_VERSION"),
        "health": condition.health,
        "lastUpdate": now.to_string(),
        "registered": false,
        "error": condition.error,
        "namespace": namespace,
        "collectionStats": {
            "totalSuccessCount": 0,
            "totalFailureCount": 0,
            "collectionsStoredCount": 0,
            "lastSuccessTime": null,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube9_base::clock::ManualTime;
    use tokio::sync::Notify;

    use super::*;
    use crate::fake_api::client;

    fn config(name: Option<&str>) -> KubeConfig {
        KubeConfig {
            status_configmap: name.map(str::to_owned),
            pod_namespace: Some("kube9-system".to_owned()),
            ..KubeConfig::default()
        }
    }

    fn health_at_start() -> (Arc<ManualTime>, Clock, Health) {
        let time = ManualTime::at(Timestamp::from_secs(1_700_000_000));
        let clock = Clock::new(time.clone());
        (time, clock.clone(), Health::new(clock))
    }

    #[test]
    fn condition_uses_the_words_of_the_extension() {
        let (time, _, health) = health_at_start();
        let condition = |health: &Health| {
            let condition = Condition::of(health);
            (condition.health, condition.error.unwrap_or_default())
        };
        assert_eq!(
            condition(&health),
            ("degraded", "the first sync is not complete".to_owned())
        );
        health.set_ready();
        assert_eq!(condition(&health), ("healthy", String::new()));
        let check = health.check("database", None);
        check.degraded("disk full");
        assert_eq!(
            condition(&health),
            ("degraded", "database: disk full".to_owned())
        );
        let _stuck = health.task("writer", Duration::from_secs(60));
        time.advance(Duration::from_secs(61));
        assert_eq!(
            condition(&health),
            ("unhealthy", "task writer has not moved for 61 s".to_owned())
        );
    }

    #[test]
    fn document_has_the_keys_of_the_extension() {
        let condition = Condition {
            health: "healthy",
            error: None,
        };
        let document = document(
            &condition,
            "kube9-system",
            Timestamp::from_secs(1_700_000_000),
        );
        for key in [
            "mode",
            "tier",
            "version",
            "health",
            "lastUpdate",
            "namespace",
        ] {
            assert!(document[key].is_string(), "{key}: {document}");
        }
        assert!(document["error"].is_null());
        assert!(document["collectionStats"].is_object());
        assert_eq!(document["lastUpdate"], "2023-11-14T22:13:20.000Z");
    }

    #[tokio::test]
    async fn write_patches_one_key_of_the_config_map() {
        let (_, clock, health) = health_at_start();
        let client = client(|path, body| {
            assert_eq!(
                path,
                "/api/v1/namespaces/kube9-system/configmaps/kube9-operator-status"
            );
            let keys: Vec<_> = body["data"].as_object().unwrap().keys().collect();
            assert_eq!(keys, ["status"]);
            let status: Value =
                serde_json::from_str(body["data"]["status"].as_str().unwrap()).unwrap();
            assert_eq!(status["namespace"], "kube9-system");
            (200, json!({"kind": "ConfigMap"}))
        });
        let config = config(Some("kube9-operator-status"));
        let writer = StatusDocument::new(&config, client, health.clone(), clock).unwrap();
        writer.write(&Condition::of(&health)).await.unwrap();
    }

    #[tokio::test]
    async fn write_denied_returns_the_cause() {
        let (_, clock, health) = health_at_start();
        let client = client(|_, _| {
            (
                403,
                json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
                    "message": "configmaps \"kube9-operator-status\" is forbidden"}),
            )
        });
        let writer = StatusDocument::new(
            &config(Some("kube9-operator-status")),
            client,
            health.clone(),
            clock,
        )
        .unwrap();
        let error = writer.write(&Condition::of(&health)).await.unwrap_err();
        assert!(error.contains("is forbidden"), "{error}");
    }

    #[test]
    fn schedule_is_due_at_each_change_and_each_minute() {
        let healthy = Condition {
            health: "healthy",
            error: None,
        };
        let degraded = Condition {
            health: "degraded",
            error: Some("database: disk full".to_owned()),
        };
        let at = |seconds: u64| Duration::from_secs(1_000 + seconds);
        let mut schedule = Schedule::new(at(0));
        // Before the first document, a problem waits for the end of the start; health does not.
        assert!(schedule.is_starting(&degraded, at(59)));
        assert!(!schedule.is_starting(&degraded, at(60)));
        assert!(!schedule.is_starting(&healthy, at(0)));
        assert!(schedule.is_due(&degraded, at(60)) && schedule.is_due(&healthy, at(0)));

        schedule.written = Some((healthy.clone(), at(100)));
        assert!(!schedule.is_due(&healthy, at(159)));
        assert!(schedule.is_due(&healthy, at(160)));
        assert!(schedule.is_due(&degraded, at(101)));
    }

    #[tokio::test]
    async fn run_writes_the_first_document_when_healthy() {
        static ASKED: Notify = Notify::const_new();
        let (_, clock, health) = health_at_start();
        health.set_ready();
        let client = client(|_, body| {
            let status = body["data"]["status"].as_str().unwrap();
            assert!(status.contains(r#""health":"healthy""#), "{status}");
            ASKED.notify_one();
            (200, json!({"kind": "ConfigMap"}))
        });
        let config = config(Some("kube9-operator-status"));
        let document = StatusDocument::new(&config, client, health, clock).unwrap();
        tokio::select! {
            () = document.run() => unreachable!("it runs indefinitely"),
            () = ASKED.notified() => {}
        }
    }

    #[tokio::test]
    async fn new_without_a_name_is_none() {
        let (_, clock, health) = health_at_start();
        let client = client(|_, _| (500, Value::Null));
        assert!(StatusDocument::new(&config(None), client, health, clock).is_none());
    }
}
