//! The status document for the kube9 extension of VS Code: a ConfigMap that says whether a recorder is there and well.
//!
//! ```text
//!   Health ──▶ document (JSON) ──▶ PATCH data.status of one ConfigMap     at each change of health, and every minute
//! ```
//!
//! Only where `kube.status_configmap` is set. The chart makes the ConfigMap and lets the recorder patch it by its name;
//! it is the only thing in the cluster that the recorder writes.
//!
//! The keys are the extension's contract: it wants `mode`, `version`, `health` and `lastUpdate`, takes a `lastUpdate`
//! older than five minutes for a recorder in trouble, and reads `collectionStats` without asking whether it is there.
//!
//! Invariant: nothing here can hold up or degrade the recording. A document that cannot be written grows old, which is
//! what its readers look at.

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

/// A document is renewed this often while nothing changes: well within the extension's five minutes.
const RENEW_AFTER: Duration = Duration::from_secs(60);

/// Health is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same while a start is waited for: its end is told at once.
const LOOK_EVERY_AT_START: Duration = Duration::from_secs(1);

/// How long a start may take until it is told as trouble: whoever reads the document keeps it for minutes.
const START: Duration = Duration::from_secs(60);

/// How long the API server may take.
const PATCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the document for as long as the recorder runs.
pub struct StatusDocument {
    client: Client,
    namespace: String,
    path: String,
    health: Health,
    clock: Clock,
}

/// What a document says beside the time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    health: &'static str,
    error: Option<String>,
}

impl StatusDocument {
    /// `None` where the configuration names no ConfigMap.
    pub fn new(config: &KubeConfig, client: Client, health: Health, clock: Clock) -> Option<Self> {
        let name = config.status_configmap.as_ref()?;
        // The configuration refuses a name without a namespace.
        let namespace = config.pod_namespace.clone()?;
        Some(Self {
            client,
            path: format!("/api/v1/namespaces/{namespace}/configmaps/{name}"),
            namespace,
            health,
            clock,
        })
    }

    /// Never ends by itself.
    pub async fn run(self) {
        let mut schedule = Schedule::new(self.clock.elapsed());
        let mut failing = false;
        loop {
            let condition = Condition::of(&self.health);
            let now = self.clock.elapsed();
            if schedule.waits_for_the_start(&condition, now) {
                tokio::time::sleep(LOOK_EVERY_AT_START).await;
                continue;
            }
            if schedule.due(&condition, now) {
                match self.write(&condition).await {
                    Ok(()) => {
                        schedule.written = Some((condition, now));
                        if std::mem::take(&mut failing) {
                            info!(path = self.path, "the status document is written again");
                        }
                    }
                    // Said once: the next attempt comes in seconds, for ever.
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
            tokio::time::sleep(LOOK_EVERY).await;
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

/// When a document is to be written.
struct Schedule {
    /// When the process began.
    begun: Duration,
    /// The last document, and when it was written.
    written: Option<(Condition, Duration)>,
}

impl Schedule {
    fn new(begun: Duration) -> Self {
        Self {
            begun,
            written: None,
        }
    }

    /// A start that is under way is no trouble yet.
    fn waits_for_the_start(&self, condition: &Condition, now: Duration) -> bool {
        condition.error.is_some() && now.saturating_sub(self.begun) < START
    }

    fn due(&self, condition: &Condition, now: Duration) -> bool {
        self.written.as_ref().is_none_or(|(before, at)| {
            before != condition || now.saturating_sub(*at) >= RENEW_AFTER
        })
    }
}

impl Condition {
    fn of(health: &Health) -> Self {
        let faults = health.faults();
        let troubles = health.checks().into_iter().filter(|check| !check.healthy);
        let first_sync = (!health.ready()).then(|| "the first sync is not complete".to_owned());
        let (health, error) = match faults.into_iter().next() {
            Some(fault) => ("unhealthy", Some(fault)),
            None => {
                let trouble = troubles
                    .map(|check| format!("{}: {}", check.name, check.message))
                    .next();
                let error = trouble.or(first_sync);
                (error.as_ref().map_or("healthy", |_| "degraded"), error)
            }
        };
        Self { health, error }
    }
}

/// `mode` and `tier` are those of a recorder without a paid service behind it; there is no other.
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

    fn board() -> (Arc<ManualTime>, Clock, Health) {
        let time = ManualTime::at(Timestamp::from_secs(1_700_000_000));
        let clock = Clock::new(time.clone());
        (time, clock.clone(), Health::new(clock))
    }

    #[test]
    fn health_is_told_in_the_words_of_the_extension() {
        let (time, _, health) = board();
        let told = |health: &Health| {
            let condition = Condition::of(health);
            (condition.health, condition.error.unwrap_or_default())
        };
        assert_eq!(
            told(&health),
            ("degraded", "the first sync is not complete".to_owned())
        );
        health.set_ready();
        assert_eq!(told(&health), ("healthy", String::new()));
        let check = health.check("database", None);
        check.degraded("disk full");
        assert_eq!(
            told(&health),
            ("degraded", "database: disk full".to_owned())
        );
        let _stuck = health.task("writer", Duration::from_secs(60));
        time.advance(Duration::from_secs(61));
        assert_eq!(
            told(&health),
            ("unhealthy", "task writer has not moved for 61 s".to_owned())
        );
    }

    #[test]
    fn the_document_has_what_the_extension_reads() {
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
    async fn what_is_patched_is_the_key_of_the_one_config_map() {
        let (_, clock, health) = board();
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
    async fn a_refusal_is_an_error_that_names_its_cause() {
        let (_, clock, health) = board();
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
    fn a_document_is_due_at_each_change_and_each_minute() {
        let well = Condition {
            health: "healthy",
            error: None,
        };
        let ill = Condition {
            health: "degraded",
            error: Some("database: disk full".to_owned()),
        };
        let at = |seconds: u64| Duration::from_secs(1_000 + seconds);
        let mut schedule = Schedule::new(at(0));
        // Nothing is written yet: trouble waits for the end of the start, health for nothing.
        assert!(schedule.waits_for_the_start(&ill, at(59)));
        assert!(!schedule.waits_for_the_start(&ill, at(60)));
        assert!(!schedule.waits_for_the_start(&well, at(0)));
        assert!(schedule.due(&ill, at(60)) && schedule.due(&well, at(0)));

        schedule.written = Some((well.clone(), at(100)));
        assert!(!schedule.due(&well, at(159)));
        assert!(schedule.due(&well, at(160)));
        assert!(schedule.due(&ill, at(101)));
    }

    #[tokio::test]
    async fn the_first_document_is_written_as_soon_as_all_is_well() {
        static ASKED: Notify = Notify::const_new();
        let (_, clock, health) = board();
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
            () = document.run() => unreachable!("it never ends by itself"),
            () = ASKED.notified() => {}
        }
    }

    #[tokio::test]
    async fn without_a_name_nothing_is_written() {
        let (_, clock, health) = board();
        let client = client(|_, _| (500, Value::Null));
        assert!(StatusDocument::new(&config(None), client, health, clock).is_none());
    }
}
