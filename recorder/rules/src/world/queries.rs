//! The queries of the rules: which pods are where, and which Service selects which pods.

use std::collections::{BTreeMap, BTreeSet};

use kube9_ingest::objects::{Deployment, Meta, Service};

use super::World;
use super::entry::PodEntry;
use super::index::OnNode;
use crate::subject::{ObjectKey, Subject, SubjectKind, clean_key, key};

impl World {
    pub fn pods_of<'a>(
        &'a self,
        owner: &ObjectKey,
    ) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.index.of_owner(owner))
    }

    /// The key of a node; shared if the node exists.
    pub(super) fn node_key(&self, name: &str) -> ObjectKey {
        let key = clean_key("Node", "", name);
        let known = self.nodes.get_key_value(&key);
        known.map_or(key, |(known, _)| known.clone())
    }

    /// The key of a ConfigMap if it exists.
    pub fn config_map(&self, namespace: &str, name: &str) -> Option<&ObjectKey> {
        let of = |key| self.config_maps.get_key_value(&key).map(|(key, _)| key);
        // Nearly all names are clean, and cleaning costs more than a lookup.
        let plain = of(key("ConfigMap", namespace, name));
        plain.or_else(|| of(clean_key("ConfigMap", namespace, name)))
    }

    /// The totals of a node.
    pub fn on_node(&self, node: &str) -> Option<&OnNode> {
        self.index.on_node(node)
    }

    /// The pods on a node. Costs a lookup for each of them.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.on_node(node).map(|on| &on.pods))
    }

    pub fn pods_failing_to_pull_on<'a>(
        &'a self,
        node: &str,
    ) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.on_node(node).map(|on| &on.failing_to_pull))
    }

    fn named<'a>(
        &'a self,
        names: Option<&'a BTreeSet<ObjectKey>>,
    ) -> impl Iterator<Item = &'a PodEntry> {
        let names = names.into_iter().flatten();
        names.filter_map(|name| self.pods.get(name))
    }

    /// Whether another node is ready and schedulable.
    pub fn another_node_is_schedulable(&self, node: &str) -> bool {
        let this = self.nodes.get(&self.node_key(node));
        let this = this.is_some_and(|entry| entry.node.is_schedulable());
        self.schedulable_nodes > usize::from(this)
    }

    pub fn pods_failing_to_pull<'a>(
        &'a self,
        image: &str,
    ) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.index.failing_to_pull(image))
    }

    /// The nodes by kubelet version. Reads every node, so only a rule about the cluster may call it.
    pub fn kubelets(&self) -> BTreeMap<Box<str>, BTreeSet<ObjectKey>> {
        let mut versions: BTreeMap<Box<str>, BTreeSet<ObjectKey>> = BTreeMap::new();
        for (name, entry) in &self.nodes {
            let names = versions.entry(entry.node.kubelet.clone()).or_default();
            names.insert(name.clone());
        }
        versions
    }

    /// The pods that a Service selects; none without a selector.
    pub fn selected<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a PodEntry> {
        self.named(self.index.pods_like(service))
            .filter(|entry| matches(service, &entry.pod.meta))
    }

    /// The other values that pods have of a label of a Service's selector, if their other labels match.
    pub fn other_values<'a>(&'a self, service: &Service, label: &'a str) -> Vec<&'a str> {
        let mut rest = service.selector.clone();
        rest.remove(label);
        let candidates = self
            .index
            .pods_labelled(&service.meta.namespace, &rest, label);
        let labels = candidates.filter_map(|key| Some(&self.pods.get(key)?.pod.meta.labels));
        let alike = labels.filter(|labels| rest.iter().all(|(k, v)| labels.get(k) == Some(v)));
        alike
            .filter_map(|labels| labels.get(label))
            .map(|value| &**value)
            .collect()
    }

    /// The kind of the controller whose last pod was deleted, so that a Service selects none.
    pub fn emptied_by(&self, service: &ObjectKey) -> Option<&str> {
        self.emptied.get(service).map(|kind| &**kind)
    }

    /// The Services that select a pod with this metadata.
    pub fn services_of(&self, meta: &Meta) -> Vec<ObjectKey> {
        let selects = |key: &&ObjectKey| {
            let service = self.services.get(*key);
            service.is_some_and(|service| matches(service, meta))
        };
        self.index.services(meta).filter(selects).cloned().collect()
    }

    /// A Deployment that is scaled to 0 and whose pods a Service would select.
    pub fn scaled_to_zero(&self, service: &Service) -> Option<&ObjectKey> {
        let would = |one: &Deployment| selects(service, &one.meta.namespace, &one.pod_labels);
        let mut scaled_to_zero = self
            .index
            .scaled_to_zero_like(service)
            .into_iter()
            .flatten();
        scaled_to_zero.find(|key| self.deployments.get(*key).is_some_and(would))
    }

    /// The controllers of the pods that read a ConfigMap.
    pub(super) fn readers(&self, namespace: &str, config_map: &str) -> BTreeSet<ObjectKey> {
        let readers = self.index.readers(namespace, config_map);
        self.named(readers).map(|pod| pod.owner.clone()).collect()
    }

    /// Every subject, in a fixed order.
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let mut all = BTreeSet::new();
        let mut add = |kind, keys: &mut dyn Iterator<Item = &ObjectKey>| {
            all.extend(keys.map(|key| Subject::new(kind, key.clone())));
        };
        add(SubjectKind::Pod, &mut self.pods.keys());
        add(SubjectKind::Node, &mut self.nodes.keys());
        add(SubjectKind::Deployment, &mut self.deployments.keys());
        add(SubjectKind::Service, &mut self.services.keys());
        add(SubjectKind::ConfigMap, &mut self.config_maps.keys());
        add(SubjectKind::Owner, &mut self.index.owners());
        all.extend([Subject::cluster(), Subject::recorder()]);
        all.extend(self.warnings.namespaces().map(Subject::of_namespace));
        all.extend(self.default_tokens.namespaces().map(Subject::of_namespace));
        let images = self.index.images();
        all.extend(images.map(|image| Subject::named(SubjectKind::Image, image)));
        all
    }
}

fn matches(service: &Service, meta: &Meta) -> bool {
    selects(service, &meta.namespace, &meta.labels)
}

fn selects(service: &Service, namespace: &str, labels: &BTreeMap<Box<str>, Box<str>>) -> bool {
    *service.meta.namespace == *namespace
        && service
            .selector
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
}
