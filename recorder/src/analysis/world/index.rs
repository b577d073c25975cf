//! By what a change finds what it touches: labels, controllers, nodes, ConfigMaps, images.
//!
//! A pod's change mostly leaves it in the same places: then nothing here is touched (`PodEntry::stays_in_place`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::entry::PodEntry;
use crate::analysis::failure;
use crate::analysis::subject::Name;
use crate::maps::{Map, Set};
use crate::source::objects::{Deployment, Meta, PodSpec, Service};

/// What pods asked for, in thousandths. Wide enough for any number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Pods that have not ended.
    pub pods: usize,
    /// CPU.
    pub cpu: i128,
    /// Memory.
    pub memory: i128,
}

/// The pods of a node, and what rules about nodes would have to ask each of them.
#[derive(Debug, Default)]
pub struct OnNode {
    /// All of them.
    pub pods: BTreeSet<Name>,
    /// Those that cannot pull an image.
    pub unpulled: BTreeSet<Name>,
    /// What those that have not ended asked for.
    pub asked: Asked,
}

/// The indexes.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By a letter and a text, see `*_keys`.
    by_key: Map<Box<str>, BTreeSet<Name>>,
    /// Pods by controller.
    by_owner: Map<Name, BTreeSet<Name>>,
    /// Pods by node.
    by_node: Map<Name, OnNode>,
    /// Shared by the pods of a template.
    specs: Set<Arc<PodSpec>>,
}

impl Index {
    /// The name of a controller as its other pods have it, so that it is in memory once.
    pub(super) fn owner(&self, name: Name) -> Name {
        match self.by_owner.get_key_value(&name) {
            Some((known, _)) => known.clone(),
            None => name,
        }
    }

    /// The spec as the other pods of the template have it.
    pub(super) fn spec(&mut self, spec: Arc<PodSpec>) -> Arc<PodSpec> {
        if let Some(known) = self.specs.get(&spec) {
            return known.clone();
        }
        self.specs.insert(spec.clone());
        spec
    }

    /// A pod is there.
    pub(super) fn add_pod(&mut self, name: &Name, entry: &PodEntry) {
        for key in pod_keys(entry) {
            self.add(key, name);
        }
        let pods = self.by_owner.entry(entry.group.clone()).or_default();
        pods.insert(name.clone());
        let Some(node) = &entry.pod.node else { return };
        let on = self.by_node.entry(Name::from(&**node)).or_default();
        on.pods.insert(name.clone());
        if failure::unpulled(&entry.pod).next().is_some() {
            on.unpulled.insert(name.clone());
        }
        let asked = entry.asked();
        on.asked.pods += asked.pods;
        on.asked.cpu += asked.cpu;
        on.asked.memory += asked.memory;
    }

    /// A pod is gone, or about to be elsewhere.
    pub(super) fn drop_pod(&mut self, name: &Name, entry: &PodEntry) {
        for key in pod_keys(entry) {
            self.drop_from(&key, name);
        }
        if let Some(pods) = self.by_owner.get_mut(&entry.group) {
            pods.remove(name);
            if pods.is_empty() {
                self.by_owner.remove(&entry.group);
            }
        }
        // Held by the pod and by the set: nobody else.
        if Arc::strong_count(&entry.pod.spec) <= 2 {
            self.specs.remove(&entry.pod.spec);
        }
        let Some(node) = &entry.pod.node else { return };
        if let Some(on) = self.by_node.get_mut(&**node) {
            on.pods.remove(name);
            on.unpulled.remove(name);
            let asked = entry.asked();
            on.asked.pods -= asked.pods;
            on.asked.cpu -= asked.cpu;
            on.asked.memory -= asked.memory;
            if on.pods.is_empty() {
                self.by_node.remove(&**node);
            }
        }
    }

    /// A Deployment is there.
    pub(super) fn add_deployment(&mut self, name: &Name, one: &Deployment) {
        for key in resting_keys(one) {
            self.add(key, name);
        }
    }

    /// A Deployment is gone, or about to be another one.
    pub(super) fn drop_deployment(&mut self, name: &Name, one: &Deployment) {
        for key in resting_keys(one) {
            self.drop_from(&key, name);
        }
    }

    /// A Service is there.
    pub(super) fn add_service(&mut self, name: &Name, service: &Service) {
        if let Some(key) = service_key(service) {
            self.add(key, name);
        }
    }

    /// A Service is gone, or about to be another one.
    pub(super) fn drop_service(&mut self, name: &Name, service: &Service) {
        if let Some(key) = service_key(service) {
            self.drop_from(&key, name);
        }
    }

    fn add(&mut self, key: String, name: &Name) {
        self.by_key
            .entry(key.into())
            .or_default()
            .insert(name.clone());
    }

    fn drop_from(&mut self, key: &str, name: &Name) {
        if let Some(names) = self.by_key.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    /// The names under a key.
    pub(super) fn at<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a Name> + use<'a> {
        self.by_key.get(key).into_iter().flatten()
    }

    /// The pods of a controller.
    pub(super) fn of_owner<'a>(&'a self, owner: &str) -> impl Iterator<Item = &'a Name> + use<'a> {
        self.by_owner.get(owner).into_iter().flatten()
    }

    /// The pods of a node.
    pub(super) fn on_node(&self, node: &str) -> Option<&OnNode> {
        self.by_node.get(node)
    }

    /// The controllers that have pods.
    pub(super) fn owners(&self) -> impl Iterator<Item = &Name> {
        self.by_owner.keys()
    }

    /// The images that some pod cannot pull.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        self.by_key.keys().filter_map(|key| key.strip_prefix("i:"))
    }

    /// The names in an index of labels that have that pair of a Service's selector which the fewest have: it decides how
    /// many are looked at, and a label that nobody has ends it.
    pub(super) fn with_rarest<'a>(
        &'a self,
        service: &Service,
        index: &str,
    ) -> impl Iterator<Item = &'a Name> + use<'a> {
        let namespace = &service.meta.namespace;
        let pairs = service.selector.iter();
        let sets = pairs.map(|(key, value)| {
            self.by_key
                .get(&*format!("{index}:{namespace}/{key}={value}"))
        });
        let rarest = sets
            .min_by_key(|set| set.map_or(0, BTreeSet::len))
            .flatten();
        rarest.into_iter().flatten()
    }

    /// The Services that one pair of a pod's labels may bring in.
    pub(super) fn services<'a>(&'a self, meta: &'a Meta) -> impl Iterator<Item = &'a Name> {
        let pairs = meta.labels.iter();
        pairs.flat_map(|(key, value)| self.at(&format!("s:{}/{key}={value}", meta.namespace)))
    }
}

impl PodEntry {
    /// Whether it is found in the places in which `before` was, and counts there for the same.
    pub(super) fn stays_in_place(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.pod.spec, &before.pod.spec)
            && self.pod.phase.is_final() == before.pod.phase.is_final()
            && self.group == before.group
            && self.pod.node == before.pod.node
            && self.pod.meta.labels == before.pod.meta.labels
            && self.pod.meta.ignore == before.pod.meta.ignore
            && self.pod.meta.created == before.pod.meta.created
            && failure::unpulled(&self.pod).eq(failure::unpulled(&before.pod))
    }

    /// What it takes of its node.
    fn asked(&self) -> Asked {
        let mut asked = Asked::default();
        if self.pod.phase.is_final() {
            return asked;
        }
        asked.pods = 1;
        let containers = self.pod.spec.containers.iter();
        for container in containers.filter(|container| !container.init) {
            asked.cpu += i128::from(container.cpu_request.unwrap_or(0));
            asked.memory += i128::from(container.memory_request.unwrap_or(0));
        }
        asked
    }
}

/// Where a Deployment without replicas is found by the labels that its pods would have; most have some, and none here.
fn resting_keys(one: &Deployment) -> Vec<String> {
    if one.replicas != 0 {
        return Vec::new();
    }
    let namespace = &one.meta.namespace;
    let pairs = one.pod_labels.iter();
    pairs
        .map(|(key, value)| format!("d:{namespace}/{key}={value}"))
        .collect()
}

/// One pair of a Service's selector is enough to find it from a pod.
fn service_key(service: &Service) -> Option<String> {
    let (key, value) = service.selector.iter().next()?;
    Some(format!("s:{}/{key}={value}", service.meta.namespace))
}

fn pod_keys(entry: &PodEntry) -> Vec<String> {
    let meta = &entry.pod.meta;
    let namespace = &meta.namespace;
    let spec = &entry.pod.spec;
    let labels = meta.labels.iter();
    let mut keys: Vec<String> = labels
        .map(|(key, value)| format!("l:{namespace}/{key}={value}"))
        .collect();
    let maps = spec.config_maps.iter().chain(&spec.optional_config_maps);
    keys.extend(maps.map(|map| format!("c:{namespace}/{map}")));
    keys.extend(failure::unpulled(&entry.pod).map(|image| format!("i:{image}")));
    keys
}
