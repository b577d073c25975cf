//! Rows for objects that are added or removed, and for pods that end.

use kube9_ingest::objects::{Object, Phase};
use kube9_model::Severity;
use serde_json::json;

use super::diff::Diff;
use super::row::{Row, joined_or_none, object_name, row};
use super::snapshot::{KindSnapshot, ObjectSnapshot};
use crate::failure_mode::{is_lost, is_node_shutdown};
use crate::node_life::announces_removal;

pub(super) fn added(change: &Diff<'_>, after: &ObjectSnapshot) -> Vec<Row> {
    let name = &change.subject.name;
    let object_name = object_name(&change.subject);
    match &after.of {
        KindSnapshot::Node { version, .. } => {
            let text = format!("Node {name} joined the cluster with kubelet {version}.");
            vec![row("NodeAdded", "Node added", text).with("kubelet_version", version.as_str())]
        }
        KindSnapshot::Pod { ended: true, .. } => pod_ended(change),
        KindSnapshot::Pod { .. } => Vec::new(), // Events tell
        KindSnapshot::Deployment {
            replicas, images, ..
        } => {
            let images: Vec<&str> = images.values().map(String::as_str).collect();
            let text = format!(
                "Deployment {object_name} was created: {replicas} replicas of {}.",
                images.join(", ")
            );
            vec![row("DeploymentCreated", "Deployment created", text)]
        }
        KindSnapshot::Service {
            kind,
            selector,
            ports,
        } => {
            let text = format!(
                "Service {object_name} was created: type {kind}, selector {}, ports {}.",
                joined_or_none(selector),
                joined_or_none(ports)
            );
            vec![row("ServiceCreated", "Service created", text)]
        }
        KindSnapshot::ConfigMap { quiet: true, .. } => Vec::new(),
        KindSnapshot::ConfigMap { keys, .. } => {
            let keys: Vec<String> = keys.keys().cloned().collect();
            let text = format!(
                "ConfigMap {object_name} was created with keys {}.",
                joined_or_none(&keys)
            );
            vec![row("ConfigMapCreated", "ConfigMap created", text)]
        }
        KindSnapshot::Unknown => Vec::new(),
    }
}

pub(super) fn removed(change: &Diff<'_>, before: &ObjectSnapshot) -> Vec<Row> {
    let object_name = object_name(&change.subject);
    match &before.of {
        KindSnapshot::Node {
            cordoned, taints, ..
        } => {
            // An autoscaler or a person drained it before.
            let planned = *cordoned || taints.iter().any(|taint| announces_removal(taint));
            let severity = if planned {
                Severity::Info
            } else {
                Severity::Warning
            };
            let text = format!(
                "Node {} was removed from the cluster. Its pods are deleted by the pod garbage collector.",
                change.subject.name
            );
            vec![row("NodeRemoved", "Node removed", text).severity(severity)]
        }
        KindSnapshot::Pod { ended: true, .. } => Vec::new(), // said before
        KindSnapshot::Pod { .. } => pod_ended(change),
        KindSnapshot::Deployment { .. } => {
            let text = format!("Deployment {object_name} was deleted, and its pods with it.");
            vec![row("DeploymentDeleted", "Deployment deleted", text).severity(Severity::Warning)]
        }
        KindSnapshot::Service { .. } => {
            let text = format!("Service {object_name} was deleted: its name no longer resolves.");
            vec![row("ServiceDeleted", "Service deleted", text).severity(Severity::Warning)]
        }
        KindSnapshot::ConfigMap { quiet: true, .. } => Vec::new(),
        KindSnapshot::ConfigMap { .. } => {
            let text = format!(
                "ConfigMap {object_name} was deleted. Pods that need it cannot start any more."
            );
            vec![row("ConfigMapDeleted", "ConfigMap deleted", text).severity(Severity::Warning)]
        }
        KindSnapshot::Unknown => Vec::new(), // of which kind is not known
    }
}

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
        if let Some(end) = &state.terminated {
            let (reason, code) = (&*end.reason, end.exit_code);
            list.push(if is_lost(end) {
                format!("how {} ended is unknown ({reason})", state.name)
            } else {
                format!("{} exited with {code} ({reason})", state.name)
            });
            ends.push(json!({"container": state.name, "reason": reason, "exit_code": code, "restarts": state.restarts}));
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
