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

pub use bounds::{Fit, OBJECT_BYTES_MAX};
pub use config_map::{ConfigMap, KeyFacts};
pub use deployment::Deployment;
pub use meta::{Condition, Meta, OwnerRef};
pub use node::Node;
pub use pod::{
    Container, ContainerState, Phase, Pod, PodSpec, Port, Resources, RestartPolicy, Role,
    Terminated,
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
            Kind::Event => Err("Events have a source of their own".to_owned()),
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
    serde_json::from_str(json).map_err(|error| {
        // serde quotes the unexpected value; its position is enough.
        let (line, column) = (error.line(), error.column());
        format!("a field that ends at line {line}, column {column} has an unexpected type")
    })
}
