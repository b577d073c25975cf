//! Indexes that find the dependents of a change: by label, controller, node, ConfigMap and image.
//!
//! Most changes of a pod do not change its index entries (`PodEntry::stays_in_place`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube9_ingest::maps::{Map, Set, trim};
use kube9_ingest::objects::{Deployment, Meta, PodSpec, Service};

use super::entry::PodEntry;
use crate::failure_mode;
use crate::ledger::Ledger;
use crate::subject::ObjectKey;

/// The sum of requests, in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResourceRequests {
    /// Pods that have not ended.
    pub pods: usize,
    pub cpu: i128,
    pub memory: i128,
}

type ObjectKeys = BTreeSet<ObjectKey>;

/// The pods of a node, and the totals that the rules about nodes need.
#[derive(Debug, Default)]
pub struct OnNode {
    pub pods: ObjectKeys,
    pub failing_to_pull: ObjectKeys,
    /// Requests of the pods that have not ended.
    pub requests: ResourceRequests,
}

/// Bytes of an index entry besides its text: its slot in a map, and the first node of its keys.
const ENTRY_COST: usize = 300;

/// Bytes of a spec besides what it holds: itself, its counters and its slot in the set.
const SPEC_COST: usize = size_of::<PodSpec>() + 48;

/// Objects by name. Each change returns the bytes that it adds or frees.
#[derive(Debug, Default)]
struct ByName(Map<Box<str>, ObjectKeys>);

impl ByName {
    fn insert(&mut self, name: &str, key: &ObjectKey) -> usize {
        if let Some(keys) = self.0.get_mut(name) {
            keys.insert(key.clone());
            return 0;
        }
        self.0.insert(name.into(), ObjectKeys::from([key.clone()]));
        ENTRY_COST + name.len()
    }

    fn remove(&mut self, name: &str, key: &ObjectKey) -> usize {
        let Some(keys) = self.0.get_mut(name) else {
            return 0;
        };
        keys.remove(key);
        if !keys.is_empty() {
            return 0;
        }
        self.0.remove(name);
        ENTRY_COST + name.len()
    }
}

/// Objects by label and value. Each change returns the bytes that it adds or frees.
#[derive(Debug, Default)]
struct ByLabel(Map<Box<str>, ByName>);

impl ByLabel {
    fn insert(&mut self, label: &str, value: &str, key: &ObjectKey) -> usize {
        if let Some(values) = self.0.get_mut(label) {
            return values.insert(value, key);
        }
        let mut values = ByName::default();
        let bytes = values.insert(value, key);
        self.0.insert(label.into(), values);
        bytes + ENTRY_COST + label.len()
    }

    fn remove(&mut self, label: &str, value: &str, key: &ObjectKey) -> usize {
        let Some(values) = self.0.get_mut(label) else {
            return 0;
        };
        let bytes = values.remove(value, key);
        if !values.0.is_empty() {
            return bytes;
        }
        self.0.remove(label);
        bytes + ENTRY_COST + label.len()
    }

    fn get(&self, label: &str, value: &str) -> Option<&ObjectKeys> {
        self.0.get(label)?.0.get(value)
    }

    /// The objects that have the rarest pair of a selector, so that the fewest candidates are checked.
    fn most_selective(&self, selector: &BTreeMap<Box<str>, Box<str>>) -> Option<&ObjectKeys> {
        let sets = selector.iter().map(|(label, value)| self.get(label, value));
        sets.min_by_key(|set| set.map_or(0, ObjectKeys::len))
            .flatten()
    }
}

/// The indexes of a namespace.
#[derive(Debug, Default)]
struct Namespace {
    pods: ByLabel,
    /// Pods by the ConfigMaps that they read.
    readers: ByName,
    /// Deployments with 0 replicas, by the labels of their pod template.
    scaled_to_zero: ByLabel,
    /// Services by one pair of their selector, which is enough to find them from a pod.
    services: ByLabel,
}

impl Namespace {
    fn is_empty(&self) -> bool {
        let Self {
            pods,
            readers,
            scaled_to_zero,
            services,
        } = self;
        let labels = [pods, scaled_to_zero, services];
        labels.iter().all(|by| by.0.is_empty()) && readers.0.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    namespaces: Map<Box<str>, Namespace>,
    /// Pods by the images that they cannot pull. Their bytes are counted with these pods.
    failing_to_pull: Map<Arc<str>, ObjectKeys>,
    by_owner: Map<ObjectKey, ObjectKeys>,
    by_node: Map<Box<str>, OnNode>,
    /// Specs, shared by the pods of a template.
    specs: Set<Arc<PodSpec>>,
}

impl Index {
    /// The key of a controller that its other pods use, so that it is in memory once.
    pub(super) fn owner(&self, key: ObjectKey) -> ObjectKey {
        match self.by_owner.get_key_value(&key) {
            Some((known, _)) => known.clone(),
            None => key,
        }
    }

    /// The spec that the other pods of the template use.
    pub(super) fn spec(
        &mut self,
        ledger: &mut Ledger,
        pod: &ObjectKey,
        spec: Arc<PodSpec>,
    ) -> Arc<PodSpec> {
        if let Some(known) = self.specs.get(&spec) {
            return known.clone();
        }
        self.specs.insert(spec.clone());
        ledger.add(&pod.namespace, SPEC_COST + spec.held as usize);
        spec
    }

    pub(super) fn add_pod(&mut self, ledger: &mut Ledger, key: &ObjectKey, entry: &PodEntry) {
        let meta = &entry.pod.meta;
        let change = |here: &mut Namespace| {
            let labels = meta.labels.iter();
            let pods = &mut here.pods;
            let bytes = labels.map(|(label, value)| pods.insert(label, value, key));
            let bytes = bytes.sum::<usize>();
            let readers = &mut here.readers;
            bytes
                + maps(entry)
                    .map(|map| readers.insert(map, key))
                    .sum::<usize>()
        };
        self.add(ledger, meta, key, change);
        for image in failure_mode::images_failing_pull(&entry.pod) {
            self.failing_to_pull
                .entry(image)
                .or_default()
                .insert(key.clone());
        }
        let pods = self.by_owner.entry(entry.owner.clone()).or_default();
        pods.insert(key.clone());
        let Some(node) = &entry.pod.node else { return };
        if !self.by_node.contains_key(node) {
            self.by_node.insert(node.clone(), OnNode::default());
        }
        let Some(on) = self.by_node.get_mut(node) else {
            return;
        };
        on.pods.insert(key.clone());
        if failure_mode::images_failing_pull(&entry.pod)
            .next()
            .is_some()
        {
            on.failing_to_pull.insert(key.clone());
        }
        let requests = entry.requests();
        on.requests.pods += requests.pods;
        on.requests.cpu += requests.cpu;
        on.requests.memory += requests.memory;
    }

    /// Removes a pod, also before it is added with other index entries.
    pub(super) fn drop_pod(&mut self, ledger: &mut Ledger, key: &ObjectKey, entry: &PodEntry) {
        let meta = &entry.pod.meta;
        let change = |here: &mut Namespace| {
            let labels = meta.labels.iter();
            let pods = &mut here.pods;
            let bytes = labels.map(|(label, value)| pods.remove(label, value, key));
            let bytes = bytes.sum::<usize>();
            let readers = &mut here.readers;
            bytes
                + maps(entry)
                    .map(|map| readers.remove(map, key))
                    .sum::<usize>()
        };
        self.drop_from(ledger, meta, key, change);
        for image in failure_mode::images_failing_pull(&entry.pod) {
            if let Some(pods) = self.failing_to_pull.get_mut(&image) {
                pods.remove(key);
                if pods.is_empty() {
                    self.failing_to_pull.remove(&image);
                }
            }
        }
        if let Some(pods) = self.by_owner.get_mut(&entry.owner) {
            pods.remove(key);
            if pods.is_empty() {
                self.by_owner.remove(&entry.owner);
            }
        }
        // Only the pod and the set hold it.
        let spec = &entry.pod.spec;
        if Arc::strong_count(spec) <= 2 && self.specs.remove(spec) {
            ledger.sub(&key.namespace, SPEC_COST + spec.held as usize);
        }
        let Some(node) = &entry.pod.node else { return };
        if let Some(on) = self.by_node.get_mut(node) {
            on.pods.remove(key);
            on.failing_to_pull.remove(key);
            let requests = entry.requests();
            on.requests.pods -= requests.pods;
            on.requests.cpu -= requests.cpu;
            on.requests.memory -= requests.memory;
            if on.pods.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    pub(super) fn add_deployment(
        &mut self,
        ledger: &mut Ledger,
        key: &ObjectKey,
        one: &Deployment,
    ) {
        if one.replicas == 0 {
            self.add(ledger, &one.meta, key, |here| {
                let labels = one.pod_labels.iter();
                let bytes =
                    labels.map(|(label, value)| here.scaled_to_zero.insert(label, value, key));
                bytes.sum()
            });
        }
    }

    pub(super) fn drop_deployment(
        &mut self,
        ledger: &mut Ledger,
        key: &ObjectKey,
        one: &Deployment,
    ) {
        if one.replicas == 0 {
            self.drop_from(ledger, &one.meta, key, |here| {
                let labels = one.pod_labels.iter();
                let bytes =
                    labels.map(|(label, value)| here.scaled_to_zero.remove(label, value, key));
                bytes.sum()
            });
        }
    }

    pub(super) fn add_service(&mut self, ledger: &mut Ledger, key: &ObjectKey, service: &Service) {
        if let Some((label, value)) = service.selector.iter().next() {
            self.add(ledger, &service.meta, key, |here| {
                here.services.insert(label, value, key)
            });
        }
    }

    pub(super) fn drop_service(&mut self, ledger: &mut Ledger, key: &ObjectKey, service: &Service) {
        if let Some((label, value)) = service.selector.iter().next() {
            self.drop_from(ledger, &service.meta, key, |here| {
                here.services.remove(label, value, key)
            });
        }
    }

    /// Frees memory after many objects have been removed.
    pub(super) fn trim(&mut self) {
        trim(&mut self.namespaces);
        trim(&mut self.failing_to_pull);
        trim(&mut self.by_owner);
    }

    fn add(
        &mut self,
        ledger: &mut Ledger,
        meta: &Meta,
        key: &ObjectKey,
        change: impl FnOnce(&mut Namespace) -> usize,
    ) {
        let here = self.namespaces.entry(meta.namespace.clone()).or_default();
        ledger.add(&key.namespace, change(here));
    }

    fn drop_from(
        &mut self,
        ledger: &mut Ledger,
        meta: &Meta,
        key: &ObjectKey,
        change: impl FnOnce(&mut Namespace) -> usize,
    ) {
        let Some(here) = self.namespaces.get_mut(&meta.namespace) else {
            return;
        };
        ledger.sub(&key.namespace, change(here));
        if here.is_empty() {
            self.namespaces.remove(&meta.namespace);
        }
    }

    pub(super) fn of_owner(&self, owner: &ObjectKey) -> Option<&ObjectKeys> {
        self.by_owner.get(owner)
    }

    pub(super) fn on_node(&self, node: &str) -> Option<&OnNode> {
        self.by_node.get(node)
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = &ObjectKey> {
        self.by_owner.keys()
    }

    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        self.failing_to_pull.keys().map(|image| &**image)
    }

    pub(super) fn failing_to_pull(&self, image: &str) -> Option<&ObjectKeys> {
        self.failing_to_pull.get(image)
    }

    pub(super) fn readers(&self, namespace: &str, map: &str) -> Option<&ObjectKeys> {
        self.namespaces.get(namespace)?.readers.0.get(map)
    }

    /// Candidates for the pods that a Service selects.
    pub(super) fn pods_like(&self, service: &Service) -> Option<&ObjectKeys> {
        let here = self.namespaces.get(&service.meta.namespace)?;
        here.pods.most_selective(&service.selector)
    }

    /// Candidates for the pods that have all labels of `selector`, and any value of `label`.
    pub(super) fn pods_labelled<'a>(
        &'a self,
        namespace: &str,
        selector: &BTreeMap<Box<str>, Box<str>>,
        label: &str,
    ) -> impl Iterator<Item = &'a ObjectKey> + use<'a> {
        let here = self.namespaces.get(namespace);
        let alike = here.and_then(|here| here.pods.most_selective(selector));
        let labelled = here.and_then(|here| here.pods.0.get(label));
        let any = labelled.filter(|_| selector.is_empty());
        let any = any.into_iter().flat_map(|values| values.0.values());
        alike.into_iter().chain(any).flatten()
    }

    /// Candidates for the Deployments with 0 replicas whose pods a Service would select.
    pub(super) fn scaled_to_zero_like(&self, service: &Service) -> Option<&ObjectKeys> {
        let here = self.namespaces.get(&service.meta.namespace)?;
        here.scaled_to_zero.most_selective(&service.selector)
    }

    /// Candidates for the Services that select a pod.
    pub(super) fn services<'a>(&'a self, meta: &'a Meta) -> impl Iterator<Item = &'a ObjectKey> {
        let here = self.namespaces.get(&meta.namespace);
        let pairs = here.map(|here| {
            let pairs = meta.labels.iter();
            pairs.filter_map(|(label, value)| here.services.get(label, value))
        });
        pairs.into_iter().flatten().flatten()
    }
}

/// The ConfigMaps that a pod refers to.
fn maps(entry: &PodEntry) -> impl Iterator<Item = &str> {
    let spec = &entry.pod.spec;
    let maps = spec.config_maps.iter().chain(&spec.optional_config_maps);
    maps.map(|map| &**map)
}

impl PodEntry {
    /// Whether it has the index entries and totals of `before`.
    pub(super) fn stays_in_place(&self, before: &Self) -> bool {
        Arc::ptr_eq(&self.pod.spec, &before.pod.spec)
            && self.pod.phase.is_final() == before.pod.phase.is_final()
            && self.owner == before.owner
            && self.pod.node == before.pod.node
            && self.pod.meta.labels == before.pod.meta.labels
            && self.pod.meta.ignore == before.pod.meta.ignore
            && self.pod.meta.created == before.pod.meta.created
            && failure_mode::images_failing_pull(&self.pod)
                .eq(failure_mode::images_failing_pull(&before.pod))
    }

    /// What it requests of its node.
    fn requests(&self) -> ResourceRequests {
        let mut requests = ResourceRequests::default();
        if self.pod.phase.is_final() {
            return requests;
        }
        requests.pods = 1;
        requests.cpu = i128::from(self.pod.spec.cpu_request());
        requests.memory = i128::from(self.pod.spec.memory_request());
        requests
    }
}
