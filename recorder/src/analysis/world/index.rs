//! By what a change finds what it touches: labels, controllers, nodes, ConfigMaps, images.
//!
//! A pod's change mostly leaves it in the same places: then nothing here is touched (`PodEntry::stays_in_place`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::entry::PodEntry;
use crate::analysis::failure;
use crate::analysis::ledger::Ledger;
use crate::analysis::subject::Name;
use crate::maps::{Map, Set, trim};
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

/// What a key takes beside its text: its entry, and a first node of names.
const KEY_COST: usize = 300;

/// What a spec takes beside what it holds.
const SPEC_COST: usize = 200;

/// The namespace of a key; images have none, and are counted with the pods that wait for them.
fn place(key: &str) -> &str {
    let rest = key.split_once(':').map_or("", |(_, rest)| rest);
    match key.starts_with("i:") {
        true => "",
        false => rest.split('/').next().unwrap_or_default(),
    }
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
    pub(super) fn spec(&mut self, ledger: &mut Ledger, spec: Arc<PodSpec>) -> Arc<PodSpec> {
        if let Some(known) = self.specs.get(&spec) {
            return known.clone();
        }
        self.specs.insert(spec.clone());
        ledger.add(&spec.namespace, SPEC_COST + spec.held as usize);
        spec
    }

    /// A pod is there.
    pub(super) fn add_pod(&mut self, ledger: &mut Ledger, name: &Name, entry: &PodEntry) {
        for key in pod_keys(entry) {
            self.add(ledger, key, name);
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
    pub(super) fn drop_pod(&mut self, ledger: &mut Ledger, name: &Name, entry: &PodEntry) {
        for key in pod_keys(entry) {
            self.drop_from(ledger, &key, name);
        }
        if let Some(pods) = self.by_owner.get_mut(&entry.group) {
            pods.remove(name);
            if pods.is_empty() {
                self.by_owner.remove(&entry.group);
            }
        }
        // Held by the pod and by the set: nobody else.
        let spec = &entry.pod.spec;
        if Arc::strong_count(spec) <= 2 && self.specs.remove(spec) {
            ledger.sub(&spec.namespace, SPEC_COST + spec.held as usize);
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
    pub(super) fn add_deployment(&mut self, ledger: &mut Ledger, name: &Name, one: &Deployment) {
        for key in resting_keys(one) {
            self.add(ledger, key, name);
        }
    }

    /// A Deployment is gone, or about to be another one.
    pub(super) fn drop_deployment(&mut self, ledger: &mut Ledger, name: &Name, one: &Deployment) {
        for key in resting_keys(one) {
            self.drop_from(ledger, &key, name);
        }
    }

    /// A Service is there.
    pub(super) fn add_service(&mut self, ledger: &mut Ledger, name: &Name, service: &Service) {
        if let Some(key) = service_key(service) {
            self.add(ledger, key, name);
        }
    }

    /// A Service is gone, or about to be another one.
    pub(super) fn drop_service(&mut self, ledger: &mut Ledger, name: &Name, service: &Service) {
        if let Some(key) = service_key(service) {
            self.drop_from(ledger, &key, name);
        }
    }

    /// Gives memory back after many objects have left.
    pub(super) fn trim(&mut self) {
        trim(&mut self.by_key);
        trim(&mut self.by_owner);
    }

    fn add(&mut self, ledger: &mut Ledger, key: String, name: &Name) {
        match self.by_key.get_mut(&*key) {
            Some(names) => _ = names.insert(name.clone()),
            None => {
                ledger.add(place(&key), KEY_COST + key.len());
                let names = BTreeSet::from([name.clone()]);
                self.by_key.insert(key.into(), names);
            }
        }
    }

    fn drop_from(&mut self, ledger: &mut Ledger, key: &str, name: &Name) {
        if let Some(names) = self.by_key.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                self.by_key.remove(key);
                ledger.sub(place(key), KEY_COST + key.len());
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
