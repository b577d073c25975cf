//! Two snapshots of an object, and the rows for their differences.

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::objects::{Fit, Object};
use kube9_model::time::Timestamp;
use kube9_model::{ObjectRef, Severity};
use serde_json::{Value, json};

use super::added_removed::pod_ended;
use super::row::{Row, joined_or_none, object_name, row};
use super::snapshot::{KindSnapshot, ObjectSnapshot};

/// The interval in which an unobserved change happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnobservedInterval {
    pub from: Timestamp,
    pub to: Timestamp,
}

#[derive(Debug)]
pub struct Diff<'a> {
    /// `None` if the object was added.
    pub before: Option<&'a ObjectSnapshot>,
    /// `None` if the object was deleted.
    pub after: Option<&'a ObjectSnapshot>,
    /// The current or last observed state; `None` if it was deleted while it was not watched.
    pub object: Option<&'a Object>,
    /// Keys of a ConfigMap whose values changed, also if their length did not.
    pub changed_keys: Vec<String>,
    pub subject: ObjectRef,
    pub at: Timestamp,
    /// Set if the change was not observed when it happened.
    pub late: Option<UnobservedInterval>,
}

pub(super) fn compare(
    change: &Diff<'_>,
    before: &ObjectSnapshot,
    after: &ObjectSnapshot,
) -> Vec<Row> {
    match (&before.of, &after.of) {
        (KindSnapshot::Node { .. }, KindSnapshot::Node { .. }) => {
            node_differs(change, &before.of, &after.of)
        }
        (KindSnapshot::Pod { ended: false, .. }, KindSnapshot::Pod { ended: true, .. }) => {
            pod_ended(change)
        }
        (KindSnapshot::Deployment { .. }, KindSnapshot::Deployment { .. }) => {
            deployment_differs(change, &before.of, &after.of)
        }
        (KindSnapshot::Service { .. }, KindSnapshot::Service { .. }) => {
            service_differs(change, &before.of, &after.of)
        }
        (KindSnapshot::ConfigMap { .. }, KindSnapshot::ConfigMap { .. }) => {
            config_map_differs(change, &before.of, &after.of)
        }
        _ => Vec::new(),
    }
}

fn node_differs(change: &Diff<'_>, before: &KindSnapshot, after: &KindSnapshot) -> Vec<Row> {
    let (
        KindSnapshot::Node {
            cordoned: was,
            taints: old,
            version: from,
        },
        KindSnapshot::Node {
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
            joined_or_none(&added),
            joined_or_none(&removed)
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

fn deployment_differs(change: &Diff<'_>, before: &KindSnapshot, after: &KindSnapshot) -> Vec<Row> {
    let (
        KindSnapshot::Deployment {
            images: old,
            replicas: had,
            paused: was_paused,
            rolling: was_rolling,
        },
        KindSnapshot::Deployment {
            images: new,
            replicas: has,
            paused,
            rolling,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let object_name = object_name(&change.subject);
    let mut rows = Vec::new();
    let containers: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
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
            "Deployment {object_name} changed the image of {}.",
            list.join("; ")
        );
        rows.push(row("ImageChanged", title, text).with("images", images));
    }
    if had != has {
        let title = format!("Scaled from {had} to {has} replicas");
        let text = format!("Deployment {object_name} was scaled from {had} to {has} replicas.");
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
            let text = format!(
                "Rollouts of Deployment {object_name} are paused: changes of its template wait."
            );
            rows.push(row("RolloutPaused", "Rollout paused", text));
        }
        (true, false) => {
            let text = format!("Rollouts of Deployment {object_name} are resumed.");
            rows.push(row("RolloutResumed", "Rollout resumed", text));
        }
        _ => {}
    }
    if *was_rolling && !rolling {
        let text = format!(
            "Deployment {object_name} finished its rollout: {has} replicas of the newest template."
        );
        rows.push(row("RolloutFinished", "Rollout finished", text));
    }
    rows
}

/// `v1 → v2` if only the tag differs, otherwise both images.
fn tags(from: &str, to: &str) -> String {
    if let (Some((name, old)), Some((other, new))) = (from.rsplit_once(':'), to.rsplit_once(':'))
        && name == other
        && !name.is_empty()
    {
        return format!("{old} → {new}");
    }
    format!("{from} → {to}")
}

fn service_differs(change: &Diff<'_>, before: &KindSnapshot, after: &KindSnapshot) -> Vec<Row> {
    let (
        KindSnapshot::Service {
            kind: old_kind,
            selector: old,
            ports: old_ports,
        },
        KindSnapshot::Service {
            kind: new_kind,
            selector: new,
            ports: new_ports,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let object_name = object_name(&change.subject);
    let mut rows = Vec::new();
    if old != new {
        let text = format!(
            "The selector of Service {object_name} changed from {} to {}: other pods get its traffic.",
            joined_or_none(old),
            joined_or_none(new)
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
        let text =
            format!("The type of Service {object_name} changed from {old_kind} to {new_kind}.");
        rows.push(row("ServiceTypeChanged", title, text));
    }
    if old_ports != new_ports && !is_cut(change) {
        let text = format!(
            "The ports of Service {object_name} changed from {} to {}.",
            joined_or_none(old_ports),
            joined_or_none(new_ports)
        );
        let made = row("ServicePortsChanged", "Service ports changed", text);
        rows.push(
            made.with("from", old_ports.clone())
                .with("to", new_ports.clone()),
        );
    }
    rows
}

/// Whether details of the object were truncated, so that additions and removals among them are unknown.
fn is_cut(change: &Diff<'_>) -> bool {
    change
        .object
        .is_some_and(|object| object.meta().fit != Fit::Whole)
}

fn config_map_differs(change: &Diff<'_>, before: &KindSnapshot, after: &KindSnapshot) -> Vec<Row> {
    let (
        KindSnapshot::ConfigMap { keys: old, .. },
        KindSnapshot::ConfigMap {
            keys: new,
            quiet: false,
        },
    ) = (before, after)
    else {
        return Vec::new();
    };
    let without = |these: &BTreeMap<String, u32>, those: &BTreeMap<String, u32>| -> Vec<String> {
        let these = these.keys().filter(|key| !those.contains_key(*key));
        these.filter(|_| !is_cut(change)).cloned().collect()
    };
    let (added, removed) = (without(new, old), without(old, new));
    let resized = new
        .iter()
        .filter(|(key, bytes)| old.get(*key).is_some_and(|old| old != *bytes));
    let mut changed: Vec<String> = resized.map(|(key, _)| key.clone()).collect();
    changed.extend(change.changed_keys.iter().cloned());
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
        .map(|(word, keys)| format!("{word} {}", joined_or_none(keys)))
        .collect();
    let text = format!(
        "ConfigMap {}: keys {}.",
        object_name(&change.subject),
        parts.join("; keys ")
    );
    // An array, because the sanitizer would take a `key: value` pair for a secret.
    let made = row("ConfigMapChanged", "ConfigMap changed", text);
    vec![
        made.with("changed", changed)
            .with("added", added)
            .with("removed", removed),
    ]
}
