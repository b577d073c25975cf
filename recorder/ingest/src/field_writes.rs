//! Changes of fields whose author is proven, for the rules about managers.

use kube9_model::ObjectRef;
use kube9_model::commit_stats::FieldWrite;
use kube9_model::hash::stable_hash;
use kube9_model::record::Record;
use kube9_model::time::Timestamp;
use serde_json::{Map, Value};

use crate::attribution::{CHANGE_CAUSE, Certainty};
use crate::sanitize::NAME_BYTES_MAX;

/// Managers of tools that deploy from Git or from a chart.
const DEPLOYERS: [&str; 7] = [
    "argocd-application-controller",
    "argocd-controller",
    "flux",
    "gotk",
    "helm",
    "helm-controller",
    "kustomize-controller",
];

/// Managers that change deployed objects by design: controllers of Kubernetes, autoscalers, certificates, injectors,
/// reloaders and progressive delivery. The name, or its beginning.
const BY_DESIGN: [&str; 35] = [
    "autoscaler",
    "aws-load-balancer",
    "azure-",
    "cainjector",
    "cert-manager",
    "cilium",
    "cloud-controller-manager",
    "cluster-autoscaler",
    "crossplane",
    "external-dns",
    "external-secrets",
    "flagger",
    "gatekeeper",
    "gke-",
    "horizontal-pod-autoscaler",
    "istio",
    "karpenter",
    "keda",
    "knative",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kyverno",
    "linkerd",
    "nginx-ingress",
    "openshift-",
    "pilot-discovery",
    "prometheus-operator",
    "reloader",
    "rollouts-controller",
    "stakater",
    "traefik",
    "vault-",
    "vpa-",
];

/// Longest value and name, in bytes.
const TEXT_BYTES_MAX: usize = 120;

/// Longest path, in bytes: findings are stored under it. A field with a longer one is not followed.
const PATH_BYTES_MAX: usize = NAME_BYTES_MAX;

/// Whether the manager is a tool that deploys from Git or from a chart.
pub fn is_deployer(manager: &str) -> bool {
    DEPLOYERS.contains(&manager)
}

/// Whether the manager changes deployed objects by design.
pub fn writes_by_design(manager: &str) -> bool {
    let manager = manager.to_ascii_lowercase();
    BY_DESIGN.iter().any(|start| manager.starts_with(start))
}

/// The fields of a row whose author is proven.
pub fn field_writes(record: &Record, at: Timestamp) -> Vec<FieldWrite> {
    let metadata = &record.extra;
    let (Some(object), Some("changed")) = (&record.object, text(metadata, "op")) else {
        return Vec::new();
    };
    let fields = array(metadata, "fields");
    let mut found = Vec::new();
    for by in array(metadata, "by").iter().filter_map(Value::as_object) {
        if text(by, "certainty") != Some(Certainty::Field.as_str()) {
            continue;
        }
        let paths: Vec<&str> = array(by, "paths")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        for field in fields.iter().filter_map(Value::as_object) {
            let is_followed = |path: &&str| path.len() <= PATH_BYTES_MAX && paths.contains(path);
            let Some(path) = text(field, "path").filter(is_followed) else {
                continue;
            };
            found.push(FieldWrite {
                object: object_in_group(object, &record.api_group),
                path: path.into(),
                from: value(field, "from"),
                to: value(field, "to"),
                is_added: text(field, "op") == Some("added"),
                manager: bounded(text(by, "manager").unwrap_or_default().to_owned()),
                via: bounded(text(by, "via").unwrap_or_default().to_owned()),
                former: Box::default(),
                at,
            });
        }
    }
    found
}

/// The object; the kind of a custom resource with its API group.
pub fn object_in_group(object: &ObjectRef, api_group: &str) -> ObjectRef {
    let mut object = object.clone();
    if !api_group.is_empty() {
        object.kind = format!("{}.{api_group}", object.kind);
    }
    object
}

/// Whether a change needs the answer of [`former_deployer`]: an object that a tool deploys, changed by another manager. What
/// was not there before, no tool had written.
pub fn may_be_outside(write: &FieldWrite) -> bool {
    let is_deployed = !write.via.is_empty() && !write.via.starts_with(CHANGE_CAUSE);
    is_deployed
        && !write.is_added
        && !is_deployer(&write.manager)
        && !writes_by_design(&write.manager)
}

/// Who had written a field before, by the metadata of the object's earlier rows, the newest first: the deployment tool, if
/// that is proven.
pub fn former_deployer(path: &str, rows: &[Map<String, Value>]) -> Option<Box<str>> {
    for row in rows {
        let is_left_out = row.contains_key("fields_left_out");
        let (names_path, is_all) = match text(row, "op")? {
            // The API server and admission add fields that the creator did not write.
            "created" => (is_never_added(path), true),
            "changed" => {
                let mut paths = array(row, "fields")
                    .iter()
                    .filter_map(|field| text(field.as_object()?, "path"));
                (paths.any(|one| covers(one, path)), false)
            }
            _ => return None,
        };
        if !names_path {
            if is_left_out {
                return None;
            }
            continue;
        }
        let by = array(row, "by").iter().filter_map(Value::as_object);
        let is_author = |by: &&Map<String, Value>| {
            let mut paths = array(by, "paths").iter().filter_map(Value::as_str);
            text(by, "certainty") == Some(Certainty::Field.as_str())
                && (is_all || paths.any(|one| covers(one, path)))
        };
        let mut authors = by.filter(is_author);
        let manager = text(authors.next()?, "manager")?;
        return (authors.next().is_none() && is_deployer(manager)).then(|| manager.into());
    }
    None
}

/// Whether neither the API server nor a usual admission plugin adds the field: the creator wrote it.
fn is_never_added(path: &str) -> bool {
    const FIELDS: [&str; 6] = ["args", "command", "data", "image", "schedule", "host"];
    let names = path.split(['.', '[']);
    names.into_iter().any(|name| FIELDS.contains(&name)) || path.contains(".env[")
}

/// Whether a change of `one` is a change of `path` too: the same field, or one that holds it.
fn covers(one: &str, path: &str) -> bool {
    path.strip_prefix(one)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> Option<&'m str> {
    map.get(key)?.as_str()
}

fn array<'m>(map: &'m Map<String, Value>, key: &str) -> &'m [Value] {
    map.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn value(field: &Map<String, Value>, key: &str) -> Box<str> {
    match field.get(key) {
        None => Box::default(),
        Some(Value::String(text)) => bounded(text.clone()),
        Some(value) => bounded(value.to_string()),
    }
}

/// A text that is cut ends in a hash of the whole: two long values that begin alike are not the same value.
fn bounded(mut text: String) -> Box<str> {
    if text.len() > TEXT_BYTES_MAX {
        let hash = stable_hash(text.as_bytes());
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str(&format!("… ({:08x})", hash >> 32));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use kube9_model::EventType;
    use serde_json::json;

    use super::*;

    const IMAGE: &str = "spec.template.spec.containers[app].image";

    fn metadata(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else {
            panic!("an object")
        };
        map
    }

    fn by(manager: &str, certainty: &str, path: &str) -> Value {
        json!({"manager": manager, "certainty": certainty, "paths": [path], "via": "Argo CD: shop/web"})
    }

    fn changed(path: &str, by: Value) -> Map<String, Value> {
        metadata(
            json!({"op": "changed", "fields": [{"path": path, "op": "changed", "from": 1, "to": "b"}], "by": [by]}),
        )
    }

    #[test]
    fn field_writes_are_those_with_a_proven_author() {
        let record = |certainty: &str| Record {
            event_type: EventType::Cluster,
            object: Some(ObjectRef {
                kind: "Rollout".into(),
                namespace: "shop".into(),
                name: "web".into(),
            }),
            api_group: "argoproj.io".into(),
            extra: changed(IMAGE, by("kubectl-edit", certainty, IMAGE)),
            ..Record::internal(Timestamp::EPOCH)
        };
        let found = field_writes(&record("field"), Timestamp::EPOCH);
        assert_eq!(found.len(), 1);
        let write = &found[0];
        assert_eq!(
            (&*write.object.kind, &*write.path),
            ("Rollout.argoproj.io", IMAGE)
        );
        assert_eq!(
            (&*write.from, &*write.to, &*write.manager),
            ("1", "b", "kubectl-edit")
        );
        assert!(may_be_outside(write));
        assert_eq!(field_writes(&record("write"), Timestamp::EPOCH), []);
    }

    /// `kubectl set env` adds a variable to what Helm installed.
    #[test]
    fn added_field_is_not_outside() {
        let path = "spec.template.spec.containers[app].env[DEBUG]";
        for (op, expected) in [("added", false), ("changed", true)] {
            let mut row = changed(path, by("kubectl-set", "field", path));
            row["fields"][0]["op"] = op.into();
            let record = Record {
                object: Some(ObjectRef::default()),
                extra: row,
                ..Record::internal(Timestamp::EPOCH)
            };
            let write = field_writes(&record, Timestamp::EPOCH).remove(0);
            assert_eq!(may_be_outside(&write), expected, "{op}");
        }
    }

    /// Such as the environment of a CronJob's container, and the arguments of a program.
    #[test]
    fn long_paths_and_values_are_told_apart() {
        let path = |name: &str| {
            let container =
                "spec.jobTemplate.spec.template.spec.initContainers[wait-for-database-migrations]";
            format!("{container}.env[SPRING_DATASOURCE_HIKARI_CONNECTION_{name}].value")
        };
        let value = |end: &str| format!("--flag={}{end}", "x".repeat(200));
        let written = |name: &str, end: &str| {
            let path = path(name);
            let mut row = changed(&path, by("kubectl-edit", "field", &path));
            row["fields"][0]["to"] = value(end).into();
            let record = Record {
                object: Some(ObjectRef::default()),
                extra: row,
                ..Record::internal(Timestamp::EPOCH)
            };
            field_writes(&record, Timestamp::EPOCH).remove(0)
        };
        let (one, other) = (written("A", "1"), written("B", "2"));
        assert!(one.path.len() > TEXT_BYTES_MAX && *one.path == path("A"));
        assert_ne!(one.path, other.path);
        assert_ne!(one.to, other.to);
        assert_eq!(one.to, written("B", "1").to);
        let rows = [changed(&one.path, by("helm", "field", &one.path))];
        assert_eq!(former_deployer(&one.path, &rows).as_deref(), Some("helm"));
        let endless = path(&"A".repeat(PATH_BYTES_MAX));
        let record = Record {
            object: Some(ObjectRef::default()),
            extra: changed(&endless, by("kubectl-edit", "field", &endless)),
            ..Record::internal(Timestamp::EPOCH)
        };
        assert_eq!(field_writes(&record, Timestamp::EPOCH), []);
    }

    #[test]
    fn managers_that_change_by_design_are_not_outside() {
        for (manager, expected) in [
            ("kubectl-edit", true),
            ("Mozilla", true),
            ("k9s", true),
            ("helm", false),
            ("argocd-controller", false),
            ("kustomize-controller", false),
            ("kube-controller-manager", false),
            ("vpa-updater", false),
            ("keda-operator", false),
            ("cert-manager-cainjector", false),
            ("Reloader", false),
            ("pilot-discovery", false),
        ] {
            let write = FieldWrite {
                manager: manager.into(),
                via: "Helm: shop/web".into(),
                ..FieldWrite::default()
            };
            assert_eq!(may_be_outside(&write), expected, "{manager}");
        }
        for (via, expected) in [
            ("", false),
            ("change-cause: release 7", false),
            ("Argo CD: shop, change-cause: release 7", true),
        ] {
            let write = FieldWrite {
                manager: "kubectl-edit".into(),
                via: via.into(),
                ..FieldWrite::default()
            };
            assert_eq!(may_be_outside(&write), expected, "{via}");
        }
    }

    #[test]
    fn former_deployer_is_the_author_of_the_last_change_of_the_field() {
        let argo = || by("argocd-controller", "field", IMAGE);
        let other = |path: &str| changed(path, by("kubectl-edit", "field", path));
        let created = |manager: &str| {
            metadata(
                json!({"op": "created", "by": [{"manager": manager, "certainty": "field", "paths": []}]}),
            )
        };
        let left_out = || {
            let mut row = other("spec.replicas");
            row.insert("fields_left_out".to_owned(), 3.into());
            row
        };
        for (path, rows, expected) in [
            (
                IMAGE,
                vec![changed(IMAGE, argo())],
                Some("argocd-controller"),
            ),
            (
                IMAGE,
                vec![other("spec.replicas"), changed(IMAGE, argo())],
                Some("argocd-controller"),
            ),
            (IMAGE, vec![other(IMAGE), changed(IMAGE, argo())], None),
            (IMAGE, vec![left_out(), changed(IMAGE, argo())], None),
            (
                IMAGE,
                vec![changed(IMAGE, by("argocd-controller", "write", IMAGE))],
                None,
            ),
            (IMAGE, vec![created("helm")], Some("helm")),
            (IMAGE, vec![created("kubectl-create")], None),
            // The API server may have set it.
            ("spec.replicas", vec![created("helm")], None),
            (
                "spec.template.spec.containers[app].env[A].value",
                vec![created("helm")],
                Some("helm"),
            ),
            // A change of the whole container is one of its image.
            (
                IMAGE,
                vec![changed(
                    "spec.template.spec.containers[app]",
                    by("helm", "field", "spec.template.spec.containers[app]"),
                )],
                Some("helm"),
            ),
            (
                IMAGE,
                vec![metadata(json!({"op": "deleted"})), changed(IMAGE, argo())],
                None,
            ),
            (IMAGE, vec![], None),
        ] {
            let text = format!("{path} {rows:?}");
            assert_eq!(former_deployer(path, &rows).as_deref(), expected, "{text}");
        }
    }
}
