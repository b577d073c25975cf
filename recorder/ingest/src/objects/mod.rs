//! The five kinds beside Events, trimmed during decoding to what the rules read. Own structs, so that `managedFields`,
//! annotations, environment values and ConfigMap values are never allocated.
//!
//! ```text
//!   informer (list + watch of one kind) ─▶ decode ─▶ Object ─▶ analysis
//! ```
//!
//! Invariant: no value of a ConfigMap and no value of an environment variable outlives the decoding of its object;
//! only facts about it stay (size, a hash keyed per process, whether it looks like a secret).
//! Invariant: at most [`OBJECT_BYTES_MAX`] are kept of one object, whatever its author wrote (`bounds`).

mod bounds;
mod config_map;
mod deployment;
mod meta;
mod node;
mod pod;
mod quantity;
mod service;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use bounds::{Fit, OBJECT_BYTES_MAX};
pub use config_map::{ConfigMap, KeyFacts};
pub use deployment::Deployment;
pub use meta::{Condition, Meta, OwnerRef};
pub use node::{Node, announces_removal};
pub use pod::{
    Container, ContainerState, LAST_WORDS_BYTES_MAX, Phase, Pod, PodSpec, Port, Resources,
    RestartPolicy, Role, Terminated,
};
pub use service::{Service, ServicePort, TargetPort};

use kube9_model::label::Kind;

/// An object of one of the five kinds.
#[derive(Debug, Clone)]
pub enum Object {
    /// A Node.
    Node(Node),
    /// A Pod.
    Pod(Box<Pod>),
    /// A Deployment.
    Deployment(Box<Deployment>),
    /// A Service.
    Service(Service),
    /// A ConfigMap, without its values.
    ConfigMap(ConfigMap),
}

impl Object {
    /// Decodes an object of `kind`.
    ///
    /// # Errors
    /// A message that never quotes the object, which may contain a secret.
    pub fn decode(kind: Kind, json: &str) -> Result<Self, String> {
        match kind {
            Kind::Node => read(json).map(Self::Node),
            Kind::Pod => read(json).map(|pod| Self::Pod(Box::new(pod))),
            Kind::Deployment => read(json).map(|one| Self::Deployment(Box::new(one))),
            Kind::Service => read(json).map(Self::Service),
            Kind::ConfigMap => read(json).map(Self::ConfigMap),
            Kind::Event | Kind::Tracked => Err("it is not read by the rules".to_owned()),
        }
    }

    /// Its metadata.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Node(node) => &node.meta,
            Self::Pod(pod) => &pod.meta,
            Self::Deployment(deployment) => &deployment.meta,
            Self::Service(service) => &service.meta,
            Self::ConfigMap(map) => &map.meta,
        }
    }

    /// Its metadata, to complete it.
    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Node(node) => &mut node.meta,
            Self::Pod(pod) => &mut pod.meta,
            Self::Deployment(deployment) => &mut deployment.meta,
            Self::Service(service) => &mut service.meta,
            Self::ConfigMap(map) => &mut map.meta,
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Deployment(_) => Kind::Deployment,
            Self::Service(_) => Kind::Service,
            Self::ConfigMap(_) => Kind::ConfigMap,
        }
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    serde_json::from_str(json).or_else(|error| {
        read_without_nulls(json).ok_or_else(|| {
            // serde quotes the unexpected value; its position is enough.
            let (line, column) = (error.line(), error.column());
            format!("a field that ends at line {line}, column {column} has an unexpected type")
        })
    })
}

/// In Go's JSON, `null` in any place means that nothing is given. The structs above accept it where API servers often
/// send it; this is for the rest.
fn read_without_nulls<T: DeserializeOwned>(json: &str) -> Option<T> {
    fn remove_nulls(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|_, field| !field.is_null());
                fields.values_mut().for_each(remove_nulls);
            }
            Value::Array(list) => {
                list.retain(|element| !element.is_null());
                list.iter_mut().for_each(remove_nulls);
            }
            _ => {}
        }
    }
    if !json.contains("null") {
        return None;
    }
    let mut value = serde_json::from_str(json).ok()?;
    remove_nulls(&mut value);
    // As text again: reading these types from a `Value` is code of its own, as large as that for text.
    serde_json::from_str(&value.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decode_accepts_null_in_any_place() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": null, "tier": "web"},
                "ownerReferences": [{"kind": "Job", "name": null, "controller": true}], "creationTimestamp": null},
            "spec": {"containers": [{"name": "app", "ports": [{"containerPort": null}], "env": [{"name": null}],
                "resources": {"requests": {"cpu": null, "memory": "1Gi"}}}, null],
                "initContainers": null, "overhead": {"cpu": null}, "readinessGates": [{"conditionType": null}],
                "volumes": [{"hostPath": {"path": null}}], "resources": {"requests": null, "limits": {"memory": null}}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": null}],
                "containerStatuses": [{"name": "app", "started": null, "restartCount": null,
                    "state": {"running": {"startedAt": null}}, "lastState": {"terminated": {"exitCode": 2}}}]},
        });
        let Object::Pod(pod) = Object::decode(Kind::Pod, &pod.to_string()).unwrap() else {
            panic!("a pod");
        };
        assert_eq!(pod.phase, Phase::Running);
        assert_eq!(pod.containers[0].latest_end().unwrap().exit_code, 2);
        assert_eq!(pod.spec.memory_request(), (1 << 30) * 1000);
        for (kind, object) in [
            (
                Kind::Node,
                json!({"metadata": null, "status": {"allocatable": {"cpu": null}}}),
            ),
            (
                Kind::Node,
                json!({"spec": {"taints": [{"key": null}, null]}}),
            ),
            (
                Kind::Service,
                json!({"spec": {"selector": {"app": null}, "ports": [{"port": null}]}}),
            ),
            (
                Kind::Deployment,
                json!({"spec": {"template": {"spec": {"containers": [{"name": null}]}}}}),
            ),
            (
                Kind::ConfigMap,
                json!({"metadata": {"name": "c", "labels": {"a": null}}, "data": {"a": null}}),
            ),
        ] {
            let decoded = Object::decode(kind, &object.to_string());
            assert!(decoded.is_ok(), "{object}");
        }
    }

    #[test]
    fn decode_accepts_quantities_as_numbers() {
        let node = json!({"status": {"allocatable": {"cpu": 4, "memory": "8Gi", "pods": 110}}});
        let Object::Node(node) = Object::decode(Kind::Node, &node.to_string()).unwrap() else {
            panic!("a node");
        };
        assert_eq!(
            (node.cpu, node.memory),
            (Some(4000), Some((8 << 30) * 1000))
        );
    }

    #[test]
    fn decode_rejects_a_wrong_type_also_beside_a_null() {
        for spec in [
            json!({"containers": "planted"}),
            json!({"containers": 5, "volumes": null}),
        ] {
            let pod = json!({"metadata": {"name": "p"}, "spec": spec}).to_string();
            let error = Object::decode(Kind::Pod, &pod).unwrap_err();
            assert!(
                error.contains("unexpected type") && !error.contains("planted"),
                "{error}"
            );
        }
    }
}
