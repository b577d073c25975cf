//! The objects that are there, and the indexes by which a change finds what it touches; and what is known beside them: the
//! warnings of each namespace, and how kube9 itself is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use kube9_shared::model::ObjectRef;
use kube9_shared::time::Timestamp;

use super::changes::LastChange;
use super::default_tokens::DefaultTokens;
use super::failure;
use super::own::Own;
use super::owners::controller;
pub use super::subject::{About, Name, Subject, name_of, owner_name, owner_ref, split};
use super::warnings::Warnings;
use crate::metrics::Kind;
use crate::pipeline::heard::ProbeKill;
use crate::source::objects::{
    Condition, ConfigMap, Deployment, Meta, Node, Object, Pod, PodSpec, Service,
};

/// A pod, and what only watching it tells.
#[derive(Debug)]
pub struct PodEntry {
    /// The pod.
    pub pod: Pod,
    /// By container, where there is something to tell.
    pub traces: BTreeMap<Box<str>, Trace>,
    /// Its controller; itself where it has none.
    pub owner: ObjectRef,
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
    pub pods: HashMap<Name, PodEntry>,
    /// Nodes.
    pub nodes: HashMap<Name, NodeEntry>,
    /// Deployments.
    pub deployments: HashMap<Name, Deployment>,
    /// Services.
    pub services: HashMap<Name, Service>,
    /// ConfigMaps.
    pub config_maps: HashMap<Name, ConfigMap>,
    /// The last change of an object that can break pods: Deployments (`Deployment/…`) and ConfigMaps (`ConfigMap/…`).
    pub last_changes: HashMap<Box<str>, LastChange>,
    /// Warnings of each namespace.
    pub warnings: Warnings,
    /// Who mounts the token of a default service account.
    pub default_tokens: DefaultTokens,
    /// kube9 itself.
    pub own: Own,
    index: HashMap<Box<str>, BTreeSet<Name>>,
    specs: HashSet<Arc<PodSpec>>,
}

impl World {
    /// Takes in an object; adds what it touches to `dirty`.
    pub fn apply(
        &mut self,
        object: Object,
        now: Timestamp,
        settle: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let (kind, name) = (object.kind(), name_of(object.meta()));
        if let Object::Node(node) = &object
            && let Some(before) = self.nodes.get(&name)
            && node.shows_the_same(&before.node)
        {
            return;
        }
        // What it was concerns as much as what it is: a pod that leaves a Service matters to the Service.
        let known = self.has(kind, &name);
        if known && kind != Kind::ConfigMap {
            self.touched(kind, &name, dirty);
        }
        self.touched_as_a_whole(&object, &name, dirty);
        match object {
            Object::Pod(pod) => self.apply_pod(name.clone(), *pod, now, settle),
            Object::Node(node) => self.apply_node(name.clone(), node, now),
            Object::Deployment(one) => {
                self.unindex_deployment(&name);
                for key in resting_keys(&one) {
                    self.add(key, &name);
                }
                self.deployments.insert(name.clone(), *one);
            }
            Object::ConfigMap(map) => drop(self.config_maps.insert(name.clone(), map)),
            Object::Service(service) => {
                self.unindex_service(&name);
                if let Some(key) = service_key(&service) {
                    self.add(key, &name);
                }
                self.services.insert(name.clone(), service);
            }
        }
        if known && kind == Kind::ConfigMap {
            // Its readers care when it comes and goes; of a change they hear by `note_change`.
            dirty.insert(Subject {
                about: About::ConfigMap,
                name,
            });
        } else {
            self.touched(kind, &name, dirty);
        }
    }

    /// Removes an object; adds what it touched to `dirty`.
    pub fn remove(&mut self, kind: Kind, name: &Name, dirty: &mut BTreeSet<Subject>) {
        self.touched(kind, name, dirty);
        match kind {
            Kind::Pod => {
                dirty.insert(Subject::namespace(split(name).0));
                self.unindex_pod(name);
                self.pods.remove(name);
            }
            Kind::Node => {
                dirty.insert(Subject::cluster());
                self.nodes.remove(name);
            }
            Kind::Deployment => {
                self.unindex_deployment(name);
                self.deployments.remove(name);
                self.last_changes.remove(&*format!("Deployment/{name}"));
            }
            Kind::Service => {
                self.unindex_service(name);
                self.services.remove(name);
            }
            Kind::ConfigMap => {
                self.config_maps.remove(name);
                self.last_changes.remove(&*format!("ConfigMap/{name}"));
            }
            Kind::Event => {}
        }
    }

    fn has(&self, kind: Kind, name: &Name) -> bool {
        match kind {
            Kind::Pod => self.pods.contains_key(name),
            Kind::Node => self.nodes.contains_key(name),
            Kind::Deployment => self.deployments.contains_key(name),
            Kind::Service => self.services.contains_key(name),
            Kind::ConfigMap => self.config_maps.contains_key(name),
            Kind::Event => false,
        }
    }

    /// What concerns a namespace or the cluster as a whole: not every heartbeat of a node or restart of a pod, since a rule
    /// about a whole costs more than one about an object.
    fn touched_as_a_whole(&self, object: &Object, name: &Name, dirty: &mut BTreeSet<Subject>) {
        match object {
            Object::Pod(pod) => {
                let known = self.pods.get(name);
                if known.is_none_or(|known| known.pod.meta.uid != pod.meta.uid) {
                    dirty.insert(Subject::namespace(&pod.meta.namespace));
                }
            }
            Object::Node(node) => {
                let known = self.nodes.get(name);
                if known.is_none_or(|known| known.node.kubelet != node.kubelet) {
                    dirty.insert(Subject::cluster());
                }
            }
            _ => {}
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
                add(About::Owner, owner_name(&entry.owner));
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
                    add(About::Owner, owner_name(&pod.owner));
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
        self.last_changes
            .insert(format!("{word}/{name}").into(), change);
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
            name: owner_name(&entry.owner),
        });
    }

    fn apply_pod(&mut self, name: Name, mut pod: Pod, now: Timestamp, settle: std::time::Duration) {
        pod.spec = match self.specs.get(&pod.spec) {
            Some(spec) => spec.clone(),
            None => {
                self.specs.insert(pod.spec.clone());
                pod.spec
            }
        };
        self.unindex_pod(&name);
        let before = self
            .pods
            .remove(&name)
            .filter(|before| before.pod.meta.uid == pod.meta.uid);
        let traces = failure::traces(before, &pod, now, settle);
        let owner = controller(&pod.meta).filter(|owner| owner.kind != "Node");
        let owner = owner.unwrap_or_else(|| ObjectRef {
            kind: "Pod".to_owned(),
            namespace: pod.meta.namespace.to_string(),
            name: pod.meta.name.to_string(),
        });
        let entry = PodEntry { pod, traces, owner };
        for key in pod_keys(&entry) {
            self.add(key, &name);
        }
        self.default_tokens.add(&entry);
        self.pods.insert(name, entry);
    }

    fn apply_node(&mut self, name: Name, node: Node, now: Timestamp) {
        let before = self
            .nodes
            .remove(&name)
            .filter(|b| b.node.meta.uid == node.meta.uid);
        let ready = |node: &Node| Condition::of(&node.conditions, "Ready").map(Condition::is_true);
        let mut flaps = Vec::new();
        if let Some(before) = before {
            flaps = before.flaps;
            if ready(&before.node) != ready(&node) {
                keep_latest(&mut flaps, now);
            }
        }
        self.nodes.insert(name, NodeEntry { node, flaps });
    }

    fn unindex_pod(&mut self, name: &Name) {
        let Some(entry) = self.pods.get(name) else {
            return;
        };
        let spec = entry.pod.spec.clone();
        self.default_tokens.remove(entry);
        for key in pod_keys(entry) {
            self.drop_from(&key, name);
        }
        // Held by the pod, by this clone and by the set: nobody else.
        if Arc::strong_count(&spec) <= 3 {
            self.specs.remove(&spec);
        }
    }

    fn unindex_deployment(&mut self, name: &Name) {
        let keys = self.deployments.get(name).map(resting_keys);
        for key in keys.unwrap_or_default() {
            self.drop_from(&key, name);
        }
    }

    fn unindex_service(&mut self, name: &Name) {
        if let Some(key) = self.services.get(name).and_then(service_key) {
            self.drop_from(&key, name);
        }
    }

    fn add(&mut self, key: String, name: &Name) {
        self.index
            .entry(key.into())
            .or_default()
            .insert(name.clone());
    }

    fn drop_from(&mut self, key: &str, name: &Name) {
        if let Some(names) = self.index.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                self.index.remove(key);
            }
        }
    }

    fn indexed<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a Name> + use<'a> {
        self.index.get(key).into_iter().flatten()
    }

    fn pods_at<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.indexed(key).filter_map(|name| self.pods.get(name))
    }

    /// The pods of a controller.
    pub fn pods_of<'a>(&'a self, owner: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.pods_at(&format!("o:{owner}"))
    }

    /// The pods on a node.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a PodEntry> + use<'a> {
        self.pods_at(&format!("n:{node}"))
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
        self.with_rarest(service, "l")
            .filter_map(|name| self.pods.get(name))
            .filter(|entry| matches(service, &entry.pod.meta))
    }

    /// The names in an index of labels that have that pair of a Service's selector which the fewest have: it decides how
    /// many are looked at, and a label that nobody has ends it.
    fn with_rarest<'a>(
        &'a self,
        service: &Service,
        index: &str,
    ) -> impl Iterator<Item = &'a Name> + use<'a> {
        let namespace = &service.meta.namespace;
        let pairs = service.selector.iter();
        let sets = pairs.map(|(key, value)| {
            self.index
                .get(&*format!("{index}:{namespace}/{key}={value}"))
        });
        let rarest = sets
            .min_by_key(|set| set.map_or(0, BTreeSet::len))
            .flatten();
        rarest.into_iter().flatten()
    }

    /// The Services that select a pod with this metadata.
    pub fn services_of(&self, meta: &Meta) -> Vec<Name> {
        let mut found = Vec::new();
        for (key, value) in &meta.labels {
            for name in self.indexed(&format!("s:{}/{key}={value}", meta.namespace)) {
                if self
                    .services
                    .get(name)
                    .is_some_and(|service| matches(service, meta))
                {
                    found.push(name.clone());
                }
            }
        }
        found
    }

    /// A Deployment that is scaled to 0 and whose pods a Service would select.
    pub fn resting(&self, service: &Service) -> Option<&Name> {
        let would = |one: &Deployment| selects(service, &one.meta.namespace, &one.pod_labels);
        self.with_rarest(service, "d")
            .find(|name| self.deployments.get(*name).is_some_and(would))
    }

    /// The controllers of the pods that read a ConfigMap.
    pub fn readers(&self, config_map: &str) -> BTreeSet<Name> {
        self.pods_at(&format!("c:{config_map}"))
            .map(|pod| owner_name(&pod.owner))
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
        for key in self.index.keys() {
            if let Some(owner) = key.strip_prefix("o:") {
                all.insert(Subject {
                    about: About::Owner,
                    name: owner.into(),
                });
            } else if let Some(image) = key.strip_prefix("i:") {
                all.insert(Subject {
                    about: About::Image,
                    name: image.into(),
                });
            }
        }
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
    let mut keys = vec![format!("o:{}", owner_name(&entry.owner))];
    keys.extend(entry.pod.node.iter().map(|node| format!("n:{node}")));
    keys.extend(
        meta.labels
            .iter()
            .map(|(key, value)| format!("l:{namespace}/{key}={value}")),
    );
    let maps = spec.config_maps.iter().chain(&spec.optional_config_maps);
    keys.extend(maps.map(|map| format!("c:{namespace}/{map}")));
    keys.extend(failure::unpulled(&entry.pod).map(|image| format!("i:{image}")));
    keys
}

/// Adds a time to the latest ones.
pub(super) fn keep_latest(times: &mut Vec<Timestamp>, at: Timestamp) {
    if times.len() == TIMES_MAX {
        times.remove(0);
    }
    times.push(at);
}
