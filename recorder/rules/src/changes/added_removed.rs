//! Rows of objects that come, go, or end.

use kube9_ingest::objects::{Object, Phase};
use kube9_model::Severity;
use serde_json::json;

use super::compared::Compared;
use super::row::{Row, listed, place, row};
use super::snapshot::{Facts, KindFacts};

pub(super) fn appeared(change: &Compared<'_>, after: &Facts) -> Vec<Row> {
    let name = &change.subject.name;
    let place = place(&change.subject);
    match &after.of {
        KindFacts::Node { version, .. } => {
            let text = format!("Node {name} joined the cluster with kubelet {version}.");
            vec![row("NodeAdded", "Node added", text).with("kubelet_version", version.as_str())]
        }
        KindFacts::Pod { ended: true, .. } => pod_ended(change),
        KindFacts::Pod { .. } => Vec::new(), // Events tell
        KindFacts::Deployment {
            replicas, images, ..
        } => {
            let images: Vec<&str> = images.values().map(String::as_str).collect();
            let text = format!(
                "Deployment {place} was created: {replicas} replicas of {}.",
                images.join(", ")
            );
            vec![row("DeploymentCreated", "Deployment created", text)]
        }
        KindFacts::Service {
            kind,
            selector,
            ports,
        } => {
            let text = format!(
                "Service {place} was created: type {kind}, selector {}, ports {}.",
                listed(selector),
                listed(ports)
            );
            vec![row("ServiceCreated", "Service created", text)]
        }
        KindFacts::ConfigMap { quiet: true, .. } => Vec::new(),
        KindFacts::ConfigMap { keys, .. } => {
            let keys: Vec<String> = keys.keys().cloned().collect();
            let text = format!("ConfigMap {place} was created with keys {}.", listed(&keys));
            vec![row("ConfigMapCreated", "ConfigMap created", text)]
        }
        KindFacts::Unknown => Vec::new(),
    }
}

pub(super) fn vanished(change: &Compared<'_>, before: &Facts) -> Vec<Row> {
    let place = place(&change.subject);
    match &before.of {
        KindFacts::Node { .. } => {
            let text = format!(
                "Node {} was removed from the cluster. Its pods are deleted by the pod garbage collector.",
                change.subject.name
            );
            vec![row("NodeRemoved", "Node removed", text).severity(Severity::Warning)]
        }
        KindFacts::Pod { ended: true, .. } => Vec::new(), // said before
        KindFacts::Pod { .. } => pod_ended(change),
        KindFacts::Deployment { .. } => {
            let text = format!("Deployment {place} was deleted, and its pods with it.");
            vec![row("DeploymentDeleted", "Deployment deleted", text).severity(Severity::Warning)]
        }
        KindFacts::Service { .. } => {
            let text = format!("Service {place} was deleted: its name no longer resolves.");
            vec![row("ServiceDeleted", "Service deleted", text).severity(Severity::Warning)]
        }
        KindFacts::ConfigMap { quiet: true, .. } => Vec::new(),
        KindFacts::ConfigMap { .. } => {
            let text =
                format!("ConfigMap {place} was deleted. Pods that need it cannot start any more.");
            vec![row("ConfigMapDeleted", "ConfigMap deleted", text).severity(Severity::Warning)]
        }
        KindFacts::Unknown => Vec::new(), // of which kind is not known
    }
}

pub(super) fn pod_ended(change: &Compared<'_>) -> Vec<Row> {
    let place = place(&change.subject);
    let Some(Object::Pod(pod)) = change.object else {
        let text =
            format!("Pod {place} ended while kube9 did not watch it; how it ended is unknown.");
        let mut made = row("PodEnded", "Pod ended", text);
        if let Some(KindFacts::Pod {
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
            list.push(format!("{} exited with {code} ({reason})", state.name));
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
        (_, Phase::Succeeded) => ("Pod completed".to_owned(), Severity::Info),
        (reason, Phase::Failed) if !deleted => (format!("Pod failed: {reason}"), Severity::Warning),
        ("deleted", _) => ("Pod deleted".to_owned(), Severity::Info),
        (reason, _) => (format!("Pod ended: {reason}"), Severity::Info),
    };
    let mut text = format!("Pod {place} ended ({reason}) after {restarts} restarts");
    if let Some(node) = &pod.node {
        text = format!("{text} on node {node}");
    }
    if !list.is_empty() {
        text = format!("{text}: {}", list.join(", "));
    }
    if !pod.message.is_empty() {
        text = format!("{text}. {}", pod.message);
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
