//! Rows for pods that end.

use kube9_ingest::objects::{Object, Phase};
use kube9_model::Severity;
use serde_json::json;

use super::Diff;
use super::row::{Row, object_name, row};
use super::snapshot::KindSnapshot;
use crate::failure_mode::{is_lost, is_node_shutdown};

pub(super) fn pod_ended(change: &Diff<'_>) -> Vec<Row> {
    let object_name = object_name(&change.subject);
    let Some(Object::Pod(pod)) = change.object else {
        let text = format!(
            "Pod {object_name} ended while kube9 did not watch it; how it ended is unknown."
        );
        let mut made = row("PodEnded", "Pod ended", text);
        if let Some(KindSnapshot::Pod {
            node,
            owner,
            restarts,
            ..
        }) = change.before.map(|b| &b.of)
        {
            made = made
                .with("node", node.as_str())
                .with("owner", owner.as_str())
                .with("restarts", *restarts);
        }
        return vec![made];
    };
    let mut ends = Vec::new();
    let mut list = Vec::new();
    for state in &pod.containers {
        // A container that waits for its restart is not started again.
        let waits = state.last.as_ref().filter(|_| !state.waiting.is_empty());
        if let Some(end) = state.terminated.as_ref().or(waits) {
            let (reason, code) = (&*end.reason, end.exit_code);
            list.push(if is_lost(end) {
                format!("how {} ended is unknown ({reason})", state.name)
            } else {
                format!("{} exited with {code} ({reason})", state.name)
            });
            let mut entry = json!({"container": state.name, "reason": reason, "exit_code": code, "restarts": state.restarts});
            if !end.last_words.is_empty() {
                entry["last_words"] = json!(end.last_words);
            }
            ends.push(entry);
        }
    }
    let restarts: i64 = pod.containers.iter().map(|state| state.restarts).sum();
    let deleted = pod.meta.deleting.is_some();
    let reason = match &*pod.reason {
        "" if deleted => "deleted",
        "" if change.after.is_none() => "deleted",
        "" => pod.phase.as_str(),
        reason => reason,
    };
    let (title, severity) = match (reason, pod.phase) {
        ("Evicted", _) => ("Pod evicted".to_owned(), Severity::Warning),
        (reason, Phase::Failed) if is_node_shutdown(reason) => {
            ("Pod ended: shutdown of its node".to_owned(), Severity::Info)
        }
        (_, Phase::Succeeded) => ("Pod completed".to_owned(), Severity::Info),
        (reason, Phase::Failed) if !deleted => (format!("Pod failed: {reason}"), Severity::Warning),
        ("deleted", _) => ("Pod deleted".to_owned(), Severity::Info),
        (reason, _) => (format!("Pod ended: {reason}"), Severity::Info),
    };
    let mut text = format!("Pod {object_name} ended ({reason}) after {restarts} restarts");
    if let Some(node) = &pod.node {
        text = format!("{text} on node {node}");
    }
    if !list.is_empty() {
        text = format!("{text}: {}", list.join(", "));
    }
    // The kubelet ends some messages with a full stop and a space.
    let message = pod.message.trim_end().trim_end_matches('.');
    if !message.is_empty() {
        text = format!("{text}. {message}");
    }
    let age = change.at.since(pod.meta.created).as_secs();
    let made = row("PodEnded", title, format!("{text}."))
        .severity(severity)
        .with("phase", pod.phase.as_str())
        .with("restarts", restarts)
        .with("age_seconds", age)
        .with("containers", ends);
    vec![made]
}
