//! What the world is asked: who is where, who selects whom.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use super::entry::PodEntry;
use super::index::OnNode;
use crate::analysis::subject::{About, Name, Subject};
use crate::source::objects::{Deployment, Meta, Service};

impl World {
    fn pods_at<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.index.at(key).filter_map(|name| self.pods.get(name))
    }

    /// The pods of a controller.
    pub fn pods_of<'a>(&'a self, owner: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.index
            .of_owner(owner)
            .filter_map(|name| self.pods.get(name))
    }

    /// What is known of the pods on a node as a whole.
    pub fn on_node(&self, node: &str) -> Option<&OnNode> {
        self.index.on_node(node)
    }

    /// The pods on a node. Looks at each; to be asked when the node is in trouble.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.on_node(node).map(|on| &on.pods))
    }

    /// The pods on a node that cannot pull an image.
    pub fn unpulled_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.named(self.on_node(node).map(|on| &on.unpulled))
    }

    fn named<'a>(
        &'a self,
        names: Option<&'a BTreeSet<Name>>,
    ) -> impl Iterator<Item = &'a PodEntry> {
        let names = names.into_iter().flatten();
        names.filter_map(|name| self.pods.get(name))
    }

    /// Whether a node beside this one is ready and takes any pod.
    pub fn another_takes_pods(&self, node: &str) -> bool {
        let this = self.nodes.get(node);
        let this = this.is_some_and(|entry| entry.node.takes_any_pod());
        self.open_nodes > usize::from(this)
    }

    /// The pods that cannot pull an image.
    pub fn pods_without<'a>(&'a self, image: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.pods_at(&format!("i:{image}"))
    }

    /// The versions of the kubelets, and the names of the nodes that have each. Looks at every node; to be
    /// asked about the cluster as a whole only.
    pub fn kubelets(&self) -> BTreeMap<Box<str>, BTreeSet<Name>> {
        let mut versions: BTreeMap<Box<str>, BTreeSet<Name>> = BTreeMap::new();
        for (name, entry) in &self.nodes {
            let names = versions.entry(entry.node.kubelet.clone()).or_default();
            names.insert(name.clone());
        }
        versions
    }

    /// The pods that a Service selects; none where it has no selector.
    pub fn selected<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a PodEntry> {
        self.index
            .with_rarest(service, "l")
            .filter_map(|name| self.pods.get(name))
            .filter(|entry| matches(service, &entry.pod.meta))
    }

    /// The Services that select a pod with this metadata.
    pub fn services_of(&self, meta: &Meta) -> Vec<Name> {
        let selects = |name: &&Name| {
            let service = self.services.get(*name);
            service.is_some_and(|service| matches(service, meta))
        };
        self.index.services(meta).filter(selects).cloned().collect()
    }

    /// A Deployment that is scaled to 0 and whose pods a Service would select.
    pub fn resting(&self, service: &Service) -> Option<&Name> {
        let would = |one: &Deployment| selects(service, &one.meta.namespace, &one.pod_labels);
        self.index
            .with_rarest(service, "d")
            .find(|name| self.deployments.get(*name).is_some_and(would))
    }

    /// The controllers of the pods that read a ConfigMap.
    pub fn readers(&self, config_map: &str) -> BTreeSet<Name> {
        self.pods_at(&format!("c:{config_map}"))
            .map(|pod| pod.group.clone())
            .collect()
    }

    /// Every object as a subject, in a fixed order: for the first look after a start.
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let mut all = BTreeSet::new();
        let names = |about, names: Vec<&Name>| {
            names
                .into_iter()
                .map(move |name| Subject {
                    about,
                    name: name.clone(),
                })
                .collect::<Vec<_>>()
        };
        all.extend(names(About::Pod, self.pods.keys().collect()));
        all.extend(names(About::Node, self.nodes.keys().collect()));
        all.extend(names(About::Deployment, self.deployments.keys().collect()));
        all.extend(names(About::Service, self.services.keys().collect()));
        all.extend(names(About::ConfigMap, self.config_maps.keys().collect()));
        all.extend([Subject::cluster(), Subject::recorder()]);
        all.extend(self.warnings.namespaces().map(Subject::namespace));
        all.extend(self.default_tokens.namespaces().map(Subject::namespace));
        let subject = |about, name: Name| Subject { about, name };
        let owners = self.index.owners().cloned();
        all.extend(owners.map(|name| subject(About::Owner, name)));
        let images = self.index.images().map(Name::from);
        all.extend(images.map(|name| subject(About::Image, name)));
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
