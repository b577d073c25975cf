//! What changed: the facts of an object before and after, compared. Pure.
//!
//! The facts are what is stored of an object, so that a change while the recorder was away is seen by its first list.

use std::collections::BTreeMap;

use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::owners::controller;
use crate::pipeline::record::{Occurred, Record};
use crate::source::objects::{Condition, ConfigMap, Meta, Node, Object, Phase, Pod, Service};

/// A change that can break pods, as insights name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What, for people.
    pub what: String,
}

impl LastChange {
    /// When.
    pub const fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }
}

/// The facts of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Identity: another uid is another object.
    pub uid: String,
    /// The last change of it that can break pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<LastChange>,
    /// The rest.
    #[serde(flatten)]
    pub of: KindFacts,
}

/// The facts of an object by its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum KindFacts {
    /// Of a Node.
    Node {
        /// It takes no new pods.
        cordoned: bool,
        /// `key=value:Effect` each.
        taints: Vec<String>,
        /// Of its kubelet.
        version: String,
    },
    /// Of a Pod.
    Pod {
        /// Where it runs.
        node: String,
        /// `Kind/name` of its controller.
        owner: String,
        /// Of all its containers.
        restarts: i64,
        /// Its end is recorded.
        ended: bool,
    },
    /// Of a Deployment.
    Deployment {
        /// Image by container.
        images: BTreeMap<String, String>,
        /// Pods wanted.
        replicas: i64,
        /// Rollouts wait.
        paused: bool,
        /// A rollout is under way.
        rolling: bool,
    },
    /// Of a Service.
    Service {
        /// ClusterIP, …
        #[serde(rename = "type")]
        kind: String,
        /// `key=value` each.
        selector: Vec<String>,
        /// `name port→target/protocol` each.
        ports: Vec<String>,
    },
    /// Of a ConfigMap.
    ConfigMap {
        /// Length of each key's value.
        keys: BTreeMap<String, u32>,
        /// A lock of a leader election, or otherwise not worth a row.
        quiet: bool,
    },
}

/// ConfigMaps that every cluster rewrites by itself.
fn is_quiet(map: &ConfigMap) -> bool {
    map.meta.is_lock
        || matches!(
            &*map.meta.name,
            "kube-root-ca.crt" | "kube9-operator-status"
        )
}

impl Facts {
    /// The facts of an object; what `before` alone knows is carried on.
    pub fn of(object: &Object, before: Option<&Self>) -> Self {
        let of = match object {
            Object::Node(node) => node_facts(node),
            Object::Pod(pod) => {
                let recorded =
                    before.is_some_and(|b| matches!(b.of, KindFacts::Pod { ended: true, .. }));
                pod_facts(pod, recorded || pod.phase.is_final())
            }
            Object::Deployment(one) => KindFacts::Deployment {
                images: one
                    .images
                    .iter()
                    .map(|(k, v)| (k.to_string(), v.to_string()))
                    .collect(),
                replicas: one.replicas,
                paused: one.paused,
                rolling: one.is_rolling(),
            },
            Object::Service(service) => service_facts(service),
            Object::ConfigMap(map) => KindFacts::ConfigMap {
                keys: map
                    .keys
                    .iter()
                    .map(|(key, facts)| (key.to_string(), facts.bytes))
                    .collect(),
                quiet: is_quiet(map),
            },
        };
        Self {
            uid: object.meta().uid.to_string(),
            changed: before.and_then(|before| before.changed.clone()),
            of,
        }
    }
}

fn node_facts(node: &Node) -> KindFacts {
    // The node controller adds and removes these with the conditions, which have findings of their own.
    let own = |taint: &str| !taint.starts_with("node.kubernetes.io/");
    KindFacts::Node {
        cordoned: node.cordoned,
        taints: node
            .taints
            .iter()
            .filter(|taint| own(taint))
            .map(ToString::to_string)
            .collect(),
        version: node.kubelet.to_string(),
    }
}

fn pod_facts(pod: &Pod, ended: bool) -> KindFacts {
    KindFacts::Pod {
        node: pod.node.as_deref().unwrap_or_default().to_owned(),
        owner: controller(&pod.meta)
            .map(|o| format!("{}/{}", o.kind, o.name))
            .unwrap_or_default(),
        restarts: pod.containers.iter().map(|state| state.restarts).sum(),
        ended,
    }
}

fn service_facts(service: &Service) -> KindFacts {
    let port = |p: &crate::source::objects::ServicePort| {
        let text = format!("{} {}→{}/{}", p.name, p.port, p.target, p.protocol);
        text.trim().to_owned()
    };
    KindFacts::Service {
        kind: service.kind.to_string(),
        selector: service
            .selector
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect(),
        ports: service.ports.iter().map(port).collect(),
    }
}

/// When a change was seen, if not as it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// It happened after this…
    pub from: Timestamp,
    /// …and before this.
    pub to: Timestamp,
}

/// What is compared.
#[derive(Debug)]
pub struct Compared<'a> {
    /// The object as it was; `None`: it was not there.
    pub before: Option<&'a Facts>,
    /// Facts of the object as it is; `None`: it is gone.
    pub after: Option<&'a Facts>,
    /// The object as it is, or was last seen; `None` where it went while nobody watched.
    pub object: Option<&'a Object>,
    /// Keys of a ConfigMap whose values changed while this process watched, whatever their length.
    pub rewritten: Vec<String>,
    /// Who it is.
    pub subject: ObjectRef,
    /// Now.
    pub at: Timestamp,
    /// Not seen as it happened.
    pub late: Option<Late>,
}

/// A row in the making.
struct Row {
    reason: &'static str,
    severity: Severity,
    title: String,
    description: String,
    extra: Vec<(&'static str, Value)>,
}

fn row(reason: &'static str, title: impl Into<String>, description: impl Into<String>) -> Row {
    Row {
        reason,
        severity: Severity::Info,
        title: title.into(),
        description: description.into(),
        extra: Vec::new(),
    }
}

impl Row {
    fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((key, value.into()));
        self
    }

    fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// The rows that a change makes.
pub fn rows(change: &Compared<'_>) -> Vec<Record> {
    let made = match (change.before, change.after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => appeared(change, after),
        (Some(before), None) => vanished(change, before),
        (Some(before), Some(after)) => differs(change, before, after),
    };
    made.into_iter().map(|row| record(change, row)).collect()
}

/// The change among `rows` that can break pods, if there is one.
pub fn breaking(rows: &[Record]) -> Option<String> {
    let row = rows.iter().find(|row| {
        matches!(
            row.reason.as_str(),
            "ImageChanged" | "ConfigMapChanged" | "ConfigMapDeleted"
        )
    })?;
    let name = &row.object.as_ref()?.name;
    Some(match row.reason.as_str() {
        "ConfigMapChanged" => format!("ConfigMap {name} changed"),
        "ConfigMapDeleted" => format!("ConfigMap {name} deleted"),
        _ => row.title.clone(),
    })
}

fn appeared(change: &Compared<'_>, after: &Facts) -> Vec<Row> {
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
    }
}

fn vanished(change: &Compared<'_>, before: &Facts) -> Vec<Row> {
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
    }
}

fn differs(change: &Compared<'_>, before: &Facts, after: &Facts) -> Vec<Row> {
    match (&before.of, &after.of) {
        (KindFacts::Node { .. }, KindFacts::Node { .. }) => {
            node_differs(change, &before.of, &after.of)
        }
        (KindFacts::Pod { ended: false, .. }, KindFacts::Pod { ended: true, .. }) => {
            pod_ended(change)
        }
        (KindFacts::Deployment { .. }, KindFacts::Deployment { .. }) => {
            deployment_differs(change, &before.of, &after.of)
        }
        (KindFacts::Service { .. }, KindFacts::Service { .. }) => {
            service_differs(change, &before.of, &after.of)
        }
        (KindFacts::ConfigMap { .. }, KindFacts::ConfigMap { .. }) => {
            config_map_differs(change, &before.of, &after.of)
        }
        _ => Vec::new(),
    }
}

fn node_differs(change: &Compared<'_>, before: &KindFacts, after: &KindFacts) -> Vec<Row> {
    let (
        KindFacts::Node {
            cordoned: was,
            taints: old,
            version: from,
        },
        KindFacts::Node {
            cordoned: is,
            taints: new,
            version: to,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let name = &change.subject.name;
    let mut rows = Vec::new();
    match (was, is) {
        (false, true) => {
            let text = format!("Node {name} was cordoned: no new pods are scheduled to it.");
            rows.push(row("NodeCordoned", "Node cordoned", text).severity(Severity::Warning));
        }
        (true, false) => {
            let text = format!("Node {name} was uncordoned: pods are scheduled to it again.");
            rows.push(row("NodeUncordoned", "Node uncordoned", text));
        }
        _ => {}
    }
    if old != new {
        let added: Vec<String> = new.iter().filter(|t| !old.contains(t)).cloned().collect();
        let removed: Vec<String> = old.iter().filter(|t| !new.contains(t)).cloned().collect();
        let text = format!(
            "Taints of node {name} changed: added {}, removed {}.",
            listed(&added),
            listed(&removed)
        );
        rows.push(
            row("NodeTaintsChanged", "Node taints changed", text)
                .with("added", added)
                .with("removed", removed),
        );
    }
    if from != to {
        let text = format!("The kubelet of node {name} changed from {from} to {to}.");
        let title = format!("Kubelet version changed: {from} → {to}");
        rows.push(
            row("NodeVersionChanged", title, text)
                .with("from", from.as_str())
                .with("to", to.as_str()),
        );
    }
    rows
}

fn deployment_differs(change: &Compared<'_>, before: &KindFacts, after: &KindFacts) -> Vec<Row> {
    let (
        KindFacts::Deployment {
            images: old,
            replicas: had,
            paused: was_paused,
            rolling: was_rolling,
        },
        KindFacts::Deployment {
            images: new,
            replicas: has,
            paused,
            rolling,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let place = place(&change.subject);
    let mut rows = Vec::new();
    let containers: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed: Vec<_> = containers
        .into_iter()
        .map(|c| (c, old.get(c), new.get(c)))
        .filter(|(_, from, to)| from != to)
        .collect();
    if let Some((container, from, to)) = changed.first() {
        let title = match (from, to, changed.len()) {
            (Some(from), Some(to), 1) => {
                format!("Image changed: {container} {}", tags(from, to))
            }
            _ => format!("Images changed: {} containers", changed.len()),
        };
        let word = |image: &Option<&String>| image.map_or("none".to_owned(), Clone::clone);
        let list: Vec<String> = changed
            .iter()
            .map(|(container, from, to)| format!("{container} from {} to {}", word(from), word(to)))
            .collect();
        let images: Vec<Value> = changed
            .iter()
            .map(|(container, from, to)| json!({"container": container, "from": from, "to": to}))
            .collect();
        let text = format!(
            "Deployment {place} changed the image of {}.",
            list.join("; ")
        );
        rows.push(row("ImageChanged", title, text).with("images", images));
    }
    if had != has {
        let title = format!("Scaled from {had} to {has} replicas");
        let text = format!("Deployment {place} was scaled from {had} to {has} replicas.");
        let severity = if *has == 0 {
            Severity::Warning
        } else {
            Severity::Info
        };
        rows.push(
            row("Scaled", title, text)
                .severity(severity)
                .with("from", *had)
                .with("to", *has),
        );
    }
    match (was_paused, paused) {
        (false, true) => {
            let text =
                format!("Rollouts of Deployment {place} are paused: changes of its template wait.");
            rows.push(row("RolloutPaused", "Rollout paused", text));
        }
        (true, false) => {
            let text = format!("Rollouts of Deployment {place} go on.");
            rows.push(row("RolloutResumed", "Rollout resumed", text));
        }
        _ => {}
    }
    if *was_rolling && !rolling {
        let text = format!(
            "Deployment {place} finished its rollout: {has} replicas of the newest template."
        );
        rows.push(row("RolloutFinished", "Rollout finished", text));
    }
    rows
}

/// `v1 → v2` where only the tag differs, else both whole.
fn tags(from: &str, to: &str) -> String {
    if let (Some((name, old)), Some((other, new))) = (from.rsplit_once(':'), to.rsplit_once(':'))
        && name == other
        && !name.is_empty()
    {
        return format!("{old} → {new}");
    }
    format!("{from} → {to}")
}

fn service_differs(change: &Compared<'_>, before: &KindFacts, after: &KindFacts) -> Vec<Row> {
    let (
        KindFacts::Service {
            kind: old_kind,
            selector: old,
            ports: old_ports,
        },
        KindFacts::Service {
            kind: new_kind,
            selector: new,
            ports: new_ports,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let place = place(&change.subject);
    let mut rows = Vec::new();
    if old != new {
        let text = format!(
            "The selector of Service {place} changed from {} to {}: other pods get its traffic.",
            listed(old),
            listed(new)
        );
        let made = row("ServiceSelectorChanged", "Service selector changed", text);
        rows.push(
            made.severity(Severity::Warning)
                .with("from", old.clone())
                .with("to", new.clone()),
        );
    }
    if old_kind != new_kind {
        let title = format!("Service type changed: {old_kind} → {new_kind}");
        let text = format!("The type of Service {place} changed from {old_kind} to {new_kind}.");
        rows.push(row("ServiceTypeChanged", title, text));
    }
    if old_ports != new_ports {
        let text = format!(
            "The ports of Service {place} changed from {} to {}.",
            listed(old_ports),
            listed(new_ports)
        );
        let made = row("ServicePortsChanged", "Service ports changed", text);
        rows.push(
            made.with("from", old_ports.clone())
                .with("to", new_ports.clone()),
        );
    }
    rows
}

fn config_map_differs(change: &Compared<'_>, before: &KindFacts, after: &KindFacts) -> Vec<Row> {
    let (
        KindFacts::ConfigMap { keys: old, .. },
        KindFacts::ConfigMap {
            keys: new,
            quiet: false,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let added: Vec<String> = new
        .keys()
        .filter(|key| !old.contains_key(*key))
        .cloned()
        .collect();
    let removed: Vec<String> = old
        .keys()
        .filter(|key| !new.contains_key(*key))
        .cloned()
        .collect();
    let resized = new
        .iter()
        .filter(|(key, bytes)| old.get(*key).is_some_and(|old| old != *bytes));
    let mut changed: Vec<String> = resized.map(|(key, _)| key.clone()).collect();
    changed.extend(change.rewritten.iter().cloned());
    changed.sort();
    changed.dedup();
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        return Vec::new();
    }
    let parts = [
        ("changed", &changed),
        ("added", &added),
        ("removed", &removed),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(word, keys)| format!("{word} {}", listed(keys)))
        .collect();
    let text = format!(
        "ConfigMap {}: keys {}.",
        place(&change.subject),
        parts.join("; keys ")
    );
    // `keys` holds names; an array is no `key: value` pair that the sanitizer would take for a secret.
    let made = row("ConfigMapChanged", "ConfigMap changed", text);
    vec![
        made.with("changed", changed)
            .with("added", added)
            .with("removed", removed),
    ]
}

fn pod_ended(change: &Compared<'_>) -> Vec<Row> {
    let place = place(&change.subject);
    let Some(Object::Pod(pod)) = change.object else {
        let text = format!("Pod {place} ended while nobody watched; how is not known.");
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

fn record(change: &Compared<'_>, row: Row) -> Record {
    let mut extra: Map<String, Value> = row
        .extra
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    if let Some(late) = change.late {
        extra.insert("observed_late".to_owned(), json!(true));
        extra.insert(
            "between".to_owned(),
            json!([late.from.to_string(), late.to.to_string()]),
        );
    }
    let (mut node, mut owner) = (None, None);
    match change.object {
        Some(Object::Pod(pod)) => {
            node = pod.node.as_deref().map(str::to_owned);
            owner = controller(&pod.meta);
        }
        Some(Object::Node(one)) => node = Some(one.meta.name.to_string()),
        _ => {}
    }
    Record {
        event_type: EventType::Cluster,
        severity: row.severity,
        title: row.title,
        description: row.description,
        object: Some(change.subject.clone()),
        owner,
        reason: row.reason.to_owned(),
        component: "kube9".to_owned(),
        container: String::new(),
        kube_type: String::new(),
        node,
        extra,
        occurred: Occurred::At(change.at),
    }
}

fn place(subject: &ObjectRef) -> String {
    if subject.namespace.is_empty() {
        subject.name.clone()
    } else {
        format!("{}/{}", subject.namespace, subject.name)
    }
}

fn listed(words: &[String]) -> String {
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

/// Keys whose values changed between two sights of a ConfigMap.
pub fn rewritten(before: &ConfigMap, after: &ConfigMap) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, facts) in &after.keys {
        if before
            .keys
            .get(key)
            .is_some_and(|old| old.hash != facts.hash)
        {
            keys.push(key.to_string());
        }
    }
    keys
}

/// Who an object is.
pub fn subject(kind: &str, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind: kind.to_owned(),
        namespace: meta.namespace.to_string(),
        name: meta.name.to_string(),
    }
}

/// Whether a pod's Ready condition says so.
pub fn is_ready(pod: &Pod) -> bool {
    Condition::of(&pod.conditions, "Ready").is_some_and(Condition::is_true)
}
