//! Rows (`operator`) about the start and stop of the recorder: they show when nothing was recorded.

use kube9_model::hash::stable_hash;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef, Severity};
use serde_json::{Map, json};

use crate::config::Config;

/// The row of a start.
pub fn started(config: &Config, server: &str, at: Timestamp) -> Record {
    let scope = if config.kube.namespaces.is_empty() {
        "all namespaces".to_owned()
    } else {
        format!("namespaces {}", config.kube.namespaces.join(", "))
    };
    let description = format!("kube9 {} records {scope} of {server}.", crate::VERSION);
    let extra = Map::from_iter([
        ("version".to_owned(), json!(crate::VERSION)),
        (
            "config_hash".to_owned(),
            json!(format!(
                "{:016x}",
                stable_hash(config.to_yaml_text().as_bytes())
            )),
        ),
        ("sqlite".to_owned(), json!(rusqlite::version())),
    ]);
    record(
        "RecorderStarted",
        "Recorder started",
        description,
        extra,
        pod(config),
        at,
    )
}

/// The pod that the recorder runs in, if configured.
pub fn pod(config: &Config) -> Option<ObjectRef> {
    let name = config.kube.pod_name.clone()?;
    let namespace = config.kube.pod_namespace.clone().unwrap_or_default();
    Some(ObjectRef {
        kind: "Pod".to_owned(),
        namespace,
        name,
    })
}

/// The row of a stop; `cause` is the reason.
pub fn stopped(cause: &str, at: Timestamp) -> Record {
    let description = format!(
        "kube9 {} stops ({cause}) and records nothing until it starts again.",
        crate::VERSION
    );
    let extra = Map::from_iter([
        ("version".to_owned(), json!(crate::VERSION)),
        ("cause".to_owned(), json!(cause)),
    ]);
    record(
        "RecorderStopped",
        "Recorder stopped",
        description,
        extra,
        None,
        at,
    )
}

fn record(
    reason: &str,
    title: &str,
    description: String,
    extra: Map<String, serde_json::Value>,
    object: Option<ObjectRef>,
    at: Timestamp,
) -> Record {
    Record {
        event_type: EventType::Operator,
        severity: Severity::Info,
        title: title.to_owned(),
        description,
        object,
        reason: reason.to_owned(),
        extra,
        ..Record::internal(at)
    }
}
