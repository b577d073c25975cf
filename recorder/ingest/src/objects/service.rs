//! Services.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::bounds::{Budget, ELEMENTS_MAX, Few, FewPairs};
use super::meta::Meta;
use crate::decode::null_as_default;

/// A Service.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Metadata.
    pub meta: Meta,
    /// ClusterIP, NodePort, LoadBalancer, ExternalName.
    pub kind: Box<str>,
    /// Selector of its pods; empty if its endpoints are managed otherwise.
    pub selector: BTreeMap<Box<str>, Box<str>>,
    /// `clusterIP: None`.
    pub is_headless: bool,
    /// Its clients get the addresses of pods that are not ready, too.
    pub publishes_not_ready: bool,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// May be empty if there is one port.
    pub name: Box<str>,
    /// The port that clients use.
    pub port: u16,
    /// TCP, UDP, SCTP.
    pub protocol: Box<str>,
    /// The port of the pods.
    pub target: TargetPort,
}

/// A port of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name that the container gives it.
    Name(Box<str>),
}

impl std::fmt::Display for TargetPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    spec: WireSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireSpec {
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    kind: Box<str>,
    #[serde(rename = "clusterIP", deserialize_with = "null_as_default")]
    cluster_ip: String,
    #[serde(deserialize_with = "null_as_default")]
    publish_not_ready_addresses: bool,
    #[serde(deserialize_with = "null_as_default")]
    selector: FewPairs<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    ports: Few<WirePort, ELEMENTS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WirePort {
    #[serde(deserialize_with = "null_as_default")]
    name: Box<str>,
    port: u16,
    #[serde(deserialize_with = "null_as_default")]
    protocol: Box<str>,
    target_port: Option<WireTarget>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireTarget {
    Number(u16),
    Name(Box<str>),
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let port = |port: WirePort| ServicePort {
            target: match port.target_port {
                Some(WireTarget::Name(name)) => TargetPort::Name(name),
                Some(WireTarget::Number(number)) if number > 0 => TargetPort::Number(number),
                _ => TargetPort::Number(port.port),
            },
            name: port.name,
            port: port.port,
            protocol: port.protocol,
        };
        let mut service = Self {
            is_headless: wire.spec.cluster_ip == "None",
            publishes_not_ready: wire.spec.publish_not_ready_addresses
                || wire.metadata.tolerates_unready,
            meta: wire.metadata,
            kind: wire.spec.kind,
            selector: wire.spec.selector.kept,
            ports: wire.spec.ports.kept.into_iter().map(port).collect(),
        };
        let mut budget = Budget::new();
        service.meta.bound(&mut budget);
        budget.text(&mut service.kind);
        budget.ended_early(wire.spec.selector.cut);
        budget.pairs(&mut service.selector);
        if budget.is_full() {
            let meta = service.meta.identity();
            return Ok(Self {
                meta,
                ..Self::default()
            });
        }
        budget.ended_early(wire.spec.ports.cut);
        budget.list(&mut service.ports, |budget, port| {
            budget.text(&mut port.name);
            budget.text(&mut port.protocol);
            if let TargetPort::Name(name) = &mut port.target {
                budget.text(name);
            }
        });
        service.meta.bounded(&budget);
        Ok(service)
    }
}
