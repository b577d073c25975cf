//! The objects around a workload, from their recorded states.

use std::collections::BTreeSet;
use std::time::Duration;

use kube9_db::read::{KindPattern, ObjectPattern, Pattern, ReadError, Reader, RecordedKind};
use kube9_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::target::Target;

/// Objects of one kind whose states are read; a namespace of more is read in part.
const OBJECTS_MAX: usize = 500;

/// How another object is related to the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    /// It is the workload.
    Own,
    /// A pod of it, or a ReplicaSet or Job that makes its pods.
    Part,
    /// Its template of pods refers to it.
    Referenced,
    /// It selects its pods or scales it.
    Attached,
    /// A node that has run its pods.
    Node,
    /// A pod that has run on the node that the story is about.
    Carried,
    /// It limits what its namespace may do.
    Namespace,
    /// It can refuse or change any object of the cluster.
    Cluster,
}

/// The objects around a workload.
#[derive(Debug, Default)]
pub(super) struct Around {
    /// Without nodes: those follow from the rows of pods.
    pub(super) objects: Vec<(Relation, ObjectPattern)>,
    /// Kinds of which every object of the namespace counts.
    pub(super) in_namespace: Vec<KindPattern>,
    /// Kinds of which every object of the cluster counts.
    pub(super) in_cluster: Vec<KindPattern>,
}

/// What a template refers to by name in its namespace.
const REFERENCED: [(&str, &[&str]); 4] = [
    (
        "ConfigMap",
        &["configMap", "configMapRef", "configMapKeyRef"],
    ),
    ("Secret", &["secret", "secretRef", "secretKeyRef"]),
    ("PersistentVolumeClaim", &["persistentVolumeClaim"]),
    ("ServiceAccount", &[]),
];

const IN_NAMESPACE: [&str; 3] = ["ResourceQuota", "LimitRange", "NetworkPolicy"];

const IN_CLUSTER: [&str; 7] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "PriorityClass",
    "RuntimeClass",
];

/// The objects around a workload, as they were at a time.
pub(super) fn around(reader: &Reader, target: &Target, at: Timestamp) -> Result<Around, ReadError> {
    let mut around = Around {
        in_cluster: IN_CLUSTER.iter().map(|kind| own_kind(kind)).collect(),
        ..Around::default()
    };
    let namespace = &*target.object.namespace;
    if namespace.is_empty() {
        return Ok(around);
    }
    around.in_namespace = IN_NAMESPACE.iter().map(|kind| own_kind(kind)).collect();
    let mut add = |relation, kind: &str, name: &str| {
        let object = ObjectPattern {
            kind: own_kind(kind),
            name: Pattern::Exact(name.to_owned()),
            namespace: Some(Pattern::Exact(namespace.to_owned())),
        };
        around.objects.push((relation, object));
    };
    // The state before its end, if it was deleted.
    let end = target
        .object
        .deleted
        .map(|at| at.minus(Duration::from_millis(1)));
    let Some(body) = body(reader, target.object.id, end.map_or(at, |end| end.min(at)))? else {
        return Ok(around);
    };
    let template = template(&target.kind.kind, &body);
    let labels = template
        .and_then(|template| template.pointer("/metadata/labels"))
        .and_then(Value::as_object);
    if let Some(spec) = template.and_then(|template| template.get("spec")) {
        let mut names = BTreeSet::new();
        spec_references(spec, &mut names);
        for (kind, name) in names {
            add(Relation::Referenced, kind, &name);
        }
    }
    let kinds = reader.recorded_kinds()?;
    let own = |kind: &str| {
        let is_it =
            |known: &&RecordedKind| known.kind.kind == kind && !known.kind.rules.is_custom();
        kinds.iter().find(is_it)
    };
    for kind in ["Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"] {
        let Some(known) = own(kind) else { continue };
        for object in reader
            .objects_of_kind(known.id, namespace)?
            .into_iter()
            .take(OBJECTS_MAX)
        {
            let at = object
                .deleted
                .map_or(at, |end| end.minus(Duration::from_millis(1)).min(at));
            let Some(body) = self::body(reader, object.id, at)? else {
                continue;
            };
            let selects = |selector: &str| {
                let selector = body.pointer(selector).and_then(Value::as_object);
                matches!((selector, labels), (Some(selector), Some(labels)) if is_selected(selector, labels))
            };
            let is_attached = match kind {
                "Service" => selects("/spec/selector"),
                "PodDisruptionBudget" => selects("/spec/selector/matchLabels"),
                _ => {
                    body.pointer("/spec/scaleTargetRef/kind")
                        .and_then(Value::as_str)
                        == Some(&*target.kind.kind)
                        && body
                            .pointer("/spec/scaleTargetRef/name")
                            .and_then(Value::as_str)
                            == Some(&*target.object.name)
                }
            };
            if is_attached {
                add(Relation::Attached, kind, &object.name);
            }
        }
    }
    Ok(around)
}

/// The template of pods of a workload.
pub(in crate::answers) fn template<'b>(kind: &str, body: &'b Value) -> Option<&'b Value> {
    match kind {
        "Pod" => Some(body),
        "CronJob" => body.pointer("/spec/jobTemplate/spec/template"),
        _ => body.pointer("/spec/template"),
    }
}

/// A kind of Kubernetes itself.
pub(super) fn own_kind(kind: &str) -> KindPattern {
    KindPattern {
        names: vec![Pattern::Exact(kind.to_owned())],
        group: Some(String::new()),
    }
}

/// The last state at a time that is known. If one of several was in force, the last of them.
pub(in crate::answers) fn body(
    reader: &Reader,
    object: i64,
    at: Timestamp,
) -> Result<Option<Value>, ReadError> {
    let states = reader.states_at(object, at)?.states;
    let last = states.into_iter().rev().find_map(|state| state.body);
    Ok(last.map(|body| body.plain()))
}

/// Whether an object with these labels is selected; a selector without labels selects nothing.
pub(in crate::answers) fn is_selected(
    selector: &Map<String, Value>,
    labels: &Map<String, Value>,
) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}

/// What a pod's specification refers to by name, its ServiceAccount included.
pub(in crate::answers) fn spec_references(
    spec: &Value,
    found: &mut BTreeSet<(&'static str, String)>,
) {
    references(spec, found);
    if let Some(account) = spec.get("serviceAccountName").and_then(Value::as_str) {
        found.insert(("ServiceAccount", account.to_owned()));
    }
}

/// The names in the references of a pod's specification, however deep: volumes, projections, variables.
fn references(value: &Value, found: &mut BTreeSet<(&'static str, String)>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|one| references(one, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                for (kind, keys) in REFERENCED {
                    if !keys.contains(&key.as_str()) {
                        continue;
                    }
                    let names = ["name", "secretName", "claimName"];
                    let name = names.iter().find_map(|name| value.get(name)?.as_str());
                    if let Some(name) = name {
                        found.insert((kind, name.to_owned()));
                    }
                }
                references(value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_of_a_template_are_found_by_their_fields() {
        let spec = json!({
            "volumes": [
                {"name": "a", "configMap": {"name": "settings"}},
                {"name": "b", "secret": {"secretName": "tls"}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "d", "projected": {"sources": [{"configMap": {"name": "ca"}}]}},
            ],
            "containers": [{
                "name": "app",
                "envFrom": [{"configMapRef": {"name": "env"}}, {"secretRef": {"name": "keys"}}],
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "one", "key": "x"}}}],
            }],
        });
        let mut found = BTreeSet::new();
        references(&spec, &mut found);
        let names: Vec<String> = found
            .iter()
            .map(|(kind, name)| format!("{kind}/{name}"))
            .collect();
        assert_eq!(
            names,
            [
                "ConfigMap/ca",
                "ConfigMap/env",
                "ConfigMap/one",
                "ConfigMap/settings",
                "PersistentVolumeClaim/data",
                "Secret/keys",
                "Secret/tls",
            ]
        );
    }

    #[test]
    fn empty_selector_selects_nothing() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let labels = map(json!({"app": "web", "tier": "a"}));
        assert!(is_selected(&map(json!({"app": "web"})), &labels));
        assert!(!is_selected(&map(json!({"app": "web", "x": "y"})), &labels));
        assert!(!is_selected(&map(json!({})), &labels));
    }
}
