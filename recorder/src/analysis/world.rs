//! The objects that are there, and the indexes by which a change finds what it touches; and what is known beside them: the
//! warnings of each namespace, and how kube9 itself is.

use std::collections::{BTreeMap, BTreeSet};

use kube9_shared::model::ObjectRef;
use kube9_shared::time::Timestamp;

use super::changes::LastChange;
use super::default_tokens::DefaultTokens;
use super::failure;
use super::index::{Index, OnNode};
use super::maps::Map;
use super::own::Own;
use super::owners::controller;
pub use super::subject::{About, Name, Subject, name_of, owner_name, owner_ref, split};
use super::warnings::Warnings;
use crate::metrics::Kind;
use crate::pipeline::heard::ProbeKill;
use crate::source::objects::{Condition, ConfigMap, Deployment, Meta, Node, Object, Pod, Service};

/// A pod, and what only watching it tells.
#[derive(Debug)]
pub struct PodEntry {
    /// The pod.
    pub pod: Pod,
    /// By container, where there is something to tell.
    pub traces: BTreeMap<Box<str>, Trace>,
    /// Its controller; itself where it has none.
    pub owner: ObjectRef,
    /// The controller's name, as a subject.
    pub group: Name,
}

/// What watching a container told.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// When it was started again; the latest few.
    pub restarts: Vec<Timestamp>,
    /// When it ran out of memory; the latest few.
    pub ooms: Vec<Timestamp>,
    /// When its liveness probe had it killed; the latest few.
    pub probe_kills: Vec<Timestamp>,
    /// Since when its image cannot be pulled.
    pub pull_failing: Option<Timestamp>,
    /// Since when it fails, whatever way, without having run for long in between.
    pub failing: Option<Timestamp>,
}

/// A node, and what only watching it tells.
#[derive(Debug)]
pub struct NodeEntry {
    /// The node.
    pub node: Node,
    /// When it became ready or stopped being so; the latest few.
    pub flaps: Vec<Timestamp>,
}

/// Pods that wait for an image, up to which each concerns the nodes of the others.
const FEW_PODS: usize = 8;

/// Latest times kept of a kind.
const TIMES_MAX: usize = 16;

/// Everything that is there.
#[derive(Debug, Default)]
pub struct World {
    /// Pods.
    pub pods: Map<Name, PodEntry>,
    /// Nodes.
    pub nodes: Map<Name, NodeEntry>,
    /// Deployments.
    pub deployments: Map<Name, Deployment>,
    /// Services.
    pub services: Map<Name, Service>,
    /// ConfigMaps.
    pub config_maps: Map<Name, ConfigMap>,
    /// The last change of an object that can break pods: Deployments (`Deployment/…`) and ConfigMaps (`ConfigMap/…`).
    pub last_changes: Map<Box<str>, LastChange>,
    /// Warnings of each namespace.
    pub warnings: Warnings,
    /// Who mounts the token of a default service account.
    pub default_tokens: DefaultTokens,
    /// kube9 itself.
    pub own: Own,
    index: Index,
    /// Nodes that are ready and take any pod.
    open_nodes: usize,
}

impl World {
    /// Takes in an object of that name; adds what it touches to `dirty`.
    pub fn apply(
        &mut self,
        name: Name,
        object: Object,
        now: Timestamp,
        settle: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        match object {
            Object::Pod(pod) => self.apply_pod(name, *pod, now, settle, dirty),
            Object::Node(node) => self.apply_node(name, node, now, dirty),
            Object::Deployment(one) => {
                if let Some(before) = self.deployments.get(&name) {
                    self.index.drop_deployment(&name, before);
                }
                self.index.add_deployment(&name, &one);
                self.deployments.insert(name.clone(), *one);
                self.touched(Kind::Deployment, &name, dirty);
            }
            Object::ConfigMap(map) => self.apply_config_map(name, map, dirty),
            Object::Service(service) => {
                // What it selected concerns it as much as what it selects.
                self.touched(Kind::Service, &name, dirty);
                if let Some(before) = self.services.get(&name) {
                    self.index.drop_service(&name, before);
                }
                self.index.add_service(&name, &service);
                self.services.insert(name.clone(), service);
                self.touched(Kind::Service, &name, dirty);
            }
        }
    }

    /// Removes an object; adds what it touched to `dirty`.
    pub fn remove(&mut self, kind: Kind, name: &Name, dirty: &mut BTreeSet<Subject>) {
        self.touched(kind, name, dirty);
        match kind {
            Kind::Pod => self.remove_pod(name, dirty),
            Kind::Node => {
                dirty.insert(Subject::cluster());
                if let Some(before) = self.nodes.remove(name) {
                    self.open_nodes -= usize::from(before.node.takes_any_pod());
                }
            }
            Kind::Deployment => {
                if let Some(before) = self.deployments.remove(name) {
                    self.index.drop_deployment(name, &before);
                }
                self.last_changes.remove(&*format!("Deployment/{name}"));
            }
            Kind::Service => {
                if let Some(before) = self.services.remove(name) {
                    self.index.drop_service(name, &before);
                }
            }
            Kind::ConfigMap => {
                self.config_maps.remove(name);
                self.last_changes.remove(&*format!("ConfigMap/{name}"));
            }
            Kind::Event => {}
        }
    }

    /// What a change of this object, as it is now, concerns.
    fn touched(&self, kind: Kind, name: &Name, dirty: &mut BTreeSet<Subject>) {
        let mut add = |about, name: Name| dirty.insert(Subject { about, name });
        match kind {
            Kind::Pod => {
                add(About::Pod, name.clone());
                let Some(entry) = self.pods.get(name) else {
                    return;
                };
                add(About::Owner, entry.group.clone());
                for service in self.services_of(&entry.pod.meta) {
                    add(About::Service, service);
                }
                if let Some(node) = &entry.pod.node {
                    add(About::Node, Name::from(&**node));
                }
                for image in failure::unpulled(&entry.pod) {
                    add(About::Image, Name::from(image));
                    // Whether an image fails on one node or on two matters to the other one as well (I6); of an image
                    // that fails on many, one more says nothing.
                    let others: Vec<_> = self.pods_without(image).take(FEW_PODS + 1).collect();
                    if others.len() <= FEW_PODS {
                        for node in others.iter().filter_map(|other| other.pod.node.as_deref()) {
                            add(About::Node, Name::from(node));
                        }
                    }
                }
            }
            Kind::Node => {
                add(About::Node, name.clone());
            }
            Kind::Deployment => {
                add(About::Deployment, name.clone());
                add(About::Owner, format!("Deployment/{name}").into());
            }
            Kind::Service => {
                add(About::Service, name.clone());
                let Some(service) = self.services.get(name) else {
                    return;
                };
                for pod in self.selected(service) {
                    add(About::Owner, pod.group.clone());
                }
            }
            Kind::ConfigMap => {
                add(About::ConfigMap, name.clone());
                for owner in self.readers(name) {
                    add(About::Owner, owner);
                }
            }
            Kind::Event => {}
        }
    }

    /// Notes a change that can break pods; adds whom it concerns to `dirty`.
    pub fn note_change(
        &mut self,
        kind: Kind,
        name: &Name,
        change: LastChange,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let word = match kind {
            Kind::Deployment => "Deployment",
            Kind::ConfigMap => "ConfigMap",
            _ => return,
        };
        let key = format!("{word}/{name}");
        if self.last_changes.get(&*key) == Some(&change) {
            return; // said once: later states of the object carry it on
        }
        self.last_changes.insert(key.into(), change);
        self.touched(kind, name, dirty);
    }

    /// Notes that a liveness probe had a container killed; adds whom it concerns to `dirty`.
    pub fn note_kill(&mut self, kill: &ProbeKill, dirty: &mut BTreeSet<Subject>) {
        let Some(entry) = self.pods.get_mut(&*kill.pod) else {
            return; // gone before its Event was committed
        };
        let trace = entry.traces.entry(kill.container.clone()).or_default();
        for _ in 0..kill.times.min(TIMES_MAX as i64) {
            keep_latest(&mut trace.probe_kills, kill.at);
        }
        dirty.insert(Subject {
            about: About::Owner,
            name: entry.group.clone(),
        });
    }

    fn apply_pod(
        &mut self,
        name: Name,
        mut pod: Pod,
        now: Timestamp,
        settle: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let known = self.pods.get_mut(&name);
        let mut known = known.filter(|known| known.pod.meta.uid == pod.meta.uid);
        pod.spec = match &known {
            Some(known) if known.pod.spec == pod.spec => known.pod.spec.clone(),
            _ => self.index.spec(pod.spec),
        };
        let traces = known
            .as_mut()
            .map(|known| std::mem::take(&mut known.traces));
        let old = known.as_ref().map(|known| &known.pod);
        let traces = failure::traces(old, traces.unwrap_or_default(), &pod, now, settle);
        let owner = controller(&pod.meta).filter(|owner| owner.kind != "Node");
        let owner = owner.unwrap_or_else(|| ObjectRef {
            kind: "Pod".to_owned(),
            namespace: pod.meta.namespace.to_string(),
            name: pod.meta.name.to_string(),
        });
        let group = match &known {
            Some(known) if known.owner == owner => known.group.clone(),
            _ => self.index.owner(owner_name(&owner)),
        };
        let entry = PodEntry {
            pod,
            traces,
            owner,
            group,
        };
        if let Some(known) = known.filter(|known| entry.stays_in_place(known)) {
            *known = entry;
        } else {
            // What it was concerns as much as what it is: a pod that leaves a Service matters to the Service.
            self.touched(Kind::Pod, &name, dirty);
            self.remove_pod(&name, dirty);
            self.index.add_pod(&name, &entry);
            if self.default_tokens.add(&entry) {
                dirty.insert(Subject::namespace(&entry.pod.meta.namespace));
            }
            self.pods.insert(name.clone(), entry);
        }
        self.touched(Kind::Pod, &name, dirty);
    }

    fn remove_pod(&mut self, name: &Name, dirty: &mut BTreeSet<Subject>) {
        let Some(before) = self.pods.remove(name) else {
            return;
        };
        self.index.drop_pod(name, &before);
        if self.default_tokens.remove(&before) {
            dirty.insert(Subject::namespace(&before.pod.meta.namespace));
        }
    }

    fn apply_node(
        &mut self,
        name: Name,
        node: Node,
        now: Timestamp,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let known = self.nodes.get(&name);
        if known.is_some_and(|known| node.shows_the_same(&known.node)) {
            return;
        }
        let known = self.nodes.remove(&name);
        if let Some(known) = &known {
            self.open_nodes -= usize::from(known.node.takes_any_pod());
        }
        self.open_nodes += usize::from(node.takes_any_pod());
        // About the cluster as a whole: not every heartbeat, since a rule about a whole costs more than one about an object.
        if known
            .as_ref()
            .is_none_or(|known| known.node.kubelet != node.kubelet)
        {
            dirty.insert(Subject::cluster());
        }
        let same = known.filter(|known| known.node.meta.uid == node.meta.uid);
        let ready = |node: &Node| Condition::of(&node.conditions, "Ready").map(Condition::is_true);
        let mut flaps = Vec::new();
        if let Some(before) = same {
            flaps = before.flaps;
            if ready(&before.node) != ready(&node) {
                keep_latest(&mut flaps, now);
            }
        }
        self.nodes.insert(name.clone(), NodeEntry { node, flaps });
        self.touched(Kind::Node, &name, dirty);
    }

    fn apply_config_map(&mut self, name: Name, map: ConfigMap, dirty: &mut BTreeSet<Subject>) {
        let Some(known) = self.config_maps.get_mut(&name) else {
            self.config_maps.insert(name.clone(), map);
            self.touched(Kind::ConfigMap, &name, dirty);
            return;
        };
        // Its readers care when it comes and goes; of a change they hear by `note_change`.
        let same = map.meta.shows_the_same(&known.meta) && map.keys == known.keys;
        *known = map;
        if !same {
            dirty.insert(Subject {
                about: About::ConfigMap,
                name,
            });
        }
    }

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

/// Adds a time to the latest ones.
pub(super) fn keep_latest(times: &mut Vec<Timestamp>, at: Timestamp) {
    if times.len() == TIMES_MAX {
        times.remove(0);
    }
    times.push(at);
}
