//! Deployments.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::bounds::{Budget, CONDITIONS_MAX, CONTAINERS_MAX, Few, Fit};
use super::meta::{Condition, Meta};
use crate::decode::null_as_default;

/// A Deployment.
#[derive(Debug, Clone, Default)]
pub struct Deployment {
    /// Metadata.
    pub meta: Meta,
    /// Pods wanted.
    pub replicas: i64,
    /// Rollouts wait for a person.
    pub paused: bool,
    /// Image of each container, init containers too.
    pub images: BTreeMap<Box<str>, Box<str>>,
    /// Labels of its pods.
    pub pod_labels: BTreeMap<Box<str>, Box<str>>,
    /// Pods of the newest template.
    pub updated: i64,
    /// Pods that are ready for long enough.
    pub available: i64,
    /// Progressing, Available, ReplicaFailure.
    pub conditions: Vec<Condition>,
}

impl Deployment {
    /// Whether a rollout is under way.
    pub fn is_rolling(&self) -> bool {
        match Condition::of(&self.conditions, "Progressing") {
            Some(progressing) => &*progressing.reason != "NewReplicaSetAvailable",
            None => self.updated < self.replicas,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Wire {
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    spec: WireSpec,
    #[serde(deserialize_with = "null_as_default")]
    status: WireStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireSpec {
    replicas: Option<i64>,
    #[serde(deserialize_with = "null_as_default")]
    paused: bool,
    #[serde(deserialize_with = "null_as_default")]
    template: WireTemplate,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireTemplate {
    #[serde(deserialize_with = "null_as_default")]
    metadata: Meta,
    #[serde(deserialize_with = "null_as_default")]
    spec: WirePodSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WirePodSpec {
    #[serde(deserialize_with = "null_as_default")]
    containers: Few<WireContainer, CONTAINERS_MAX>,
    #[serde(deserialize_with = "null_as_default")]
    init_containers: Few<WireContainer, CONTAINERS_MAX>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireContainer {
    name: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    image: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WireStatus {
    #[serde(deserialize_with = "null_as_default")]
    updated_replicas: i64,
    #[serde(deserialize_with = "null_as_default")]
    available_replicas: i64,
    #[serde(deserialize_with = "null_as_default")]
    conditions: Few<Condition, CONDITIONS_MAX>,
}

impl<'de> Deserialize<'de> for Deployment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        let pods = wire.spec.template.metadata;
        let template = wire.spec.template.spec;
        let (normal, init) = (template.containers, template.init_containers);
        let containers = normal.kept.into_iter().chain(init.kept);
        let mut one = Self {
            meta: wire.metadata,
            replicas: wire.spec.replicas.unwrap_or(1),
            paused: wire.spec.paused,
            images: containers.map(|c| (c.name, c.image)).collect(),
            pod_labels: pods.labels,
            updated: wire.status.updated_replicas,
            available: wire.status.available_replicas,
            conditions: wire.status.conditions.kept,
        };
        let mut budget = Budget::new();
        one.meta.bound(&mut budget);
        budget.ended_early(pods.fit == Fit::TooLarge);
        budget.pairs(&mut one.pod_labels);
        if budget.is_full() {
            let meta = one.meta.identity();
            return Ok(Self {
                meta,
                ..Self::default()
            });
        }
        budget.list(&mut one.conditions, Condition::bound);
        budget.ended_early(normal.cut || init.cut);
        budget.pairs(&mut one.images);
        one.meta.bounded(&budget);
        Ok(one)
    }
}
