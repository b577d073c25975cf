//! The objects that are there, and the indexes by which a change finds what it touches; and what is known beside them: the
//! warnings of each namespace, and how kube9 itself is.
//!
//! ```text
//!   object ─▶ entry (with its trace) ─▶ World ─▶ index, default_tokens (by which it is found)
//!                                         └───▶ find (what rules ask)
//! ```

mod default_tokens;
mod entry;
mod find;
mod index;
mod trace;

use std::collections::BTreeSet;

use kube9_shared::time::Timestamp;

pub use entry::{NodeEntry, PodEntry};
pub use index::Asked;

use super::changes::LastChange;
use super::controller::controller;
use super::failure;
use super::ledger::Ledger;
use super::own::Own;
use super::subject::{About, Name, Subject, object_ref, owner_name, split};
use super::warnings::Warnings;
use crate::maps::{Map, trim};
use crate::metrics::Kind;
use crate::pipeline::heard::ProbeKill;
use crate::source::objects::{Condition, ConfigMap, Deployment, Node, Object, Pod, Service};
use default_tokens::DefaultTokens;
use index::Index;
use trace::{TIMES_MAX, keep_latest};

/// Pods that wait for an image, up to which each concerns the nodes of the others.
const FEW_PODS: usize = 8;

/// What an object takes beside its own texts and lists: its entries in a dozen maps, its name, its facts. Measured: see
/// docs/performance.md.
const OBJECT_COST: usize = 1500;

/// Everything that is there.
#[derive(Debug)]
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
    /// Bytes of all that is here.
    pub ledger: Ledger,
    index: Index,
    /// Nodes that are ready and take any pod.
    open_nodes: usize,
}

impl World {
    /// Nothing is there yet; `opts_out` says whether a pod with these words does not count among those that mount the
    /// token of a default service account.
    pub fn new(warnings: Warnings, opts_out: fn(&[Box<str>]) -> bool) -> Self {
        Self {
            pods: Map::default(),
            nodes: Map::default(),
            deployments: Map::default(),
            services: Map::default(),
            config_maps: Map::default(),
            last_changes: Map::default(),
            warnings,
            default_tokens: DefaultTokens::new(opts_out),
            own: Own::default(),
            ledger: Ledger::default(),
            index: Index::default(),
            open_nodes: 0,
        }
    }

    /// Takes in an object of that name; adds what it touches to `dirty`.
    pub fn apply(
        &mut self,
        name: Name,
        object: Object,
        now: Timestamp,
        settle: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let kind = object.kind();
        let before = self.cost(kind, &name);
        self.replace(name.clone(), object, now, settle, dirty);
        let after = self.cost(kind, &name);
        let (namespace, _) = split(&name);
        self.ledger.sub(namespace, before);
        self.ledger.add(namespace, after);
    }

    fn replace(
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
                    self.index.drop_deployment(&mut self.ledger, &name, before);
                }
                self.index.add_deployment(&mut self.ledger, &name, &one);
                self.deployments.insert(name.clone(), *one);
                self.touched(Kind::Deployment, &name, dirty);
            }
            Object::ConfigMap(map) => self.apply_config_map(name, map, dirty),
            Object::Service(service) => {
                // What it selected concerns it as much as what it selects.
                self.touched(Kind::Service, &name, dirty);
                if let Some(before) = self.services.get(&name) {
                    self.index.drop_service(&mut self.ledger, &name, before);
                }
                self.index.add_service(&mut self.ledger, &name, &service);
                self.services.insert(name.clone(), service);
                self.touched(Kind::Service, &name, dirty);
            }
        }
    }

    /// Removes an object; adds what it touched to `dirty`.
    pub fn remove(&mut self, kind: Kind, name: &Name, dirty: &mut BTreeSet<Subject>) {
        let cost = self.cost(kind, name);
        self.ledger.sub(split(name).0, cost);
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
                    self.index.drop_deployment(&mut self.ledger, name, &before);
                }
                self.last_changes.remove(&*format!("Deployment/{name}"));
            }
            Kind::Service => {
                if let Some(before) = self.services.remove(name) {
                    self.index.drop_service(&mut self.ledger, name, &before);
                }
            }
            Kind::ConfigMap => {
                self.config_maps.remove(name);
                self.last_changes.remove(&*format!("ConfigMap/{name}"));
            }
            Kind::Event => {}
        }
    }

    /// About how much memory an object takes here and where else it is kept: its facts, the owners of Events, the agenda.
    fn cost(&self, kind: Kind, name: &Name) -> usize {
        let (meta, copies) = match kind {
            Kind::Pod => (self.pods.get(name).map(|entry| &entry.pod.meta), 1),
            Kind::Node => (self.nodes.get(name).map(|entry| &entry.node.meta), 2),
            // Their facts say all of it once more.
            Kind::Deployment => (self.deployments.get(name).map(|one| &one.meta), 2),
            Kind::Service => (self.services.get(name).map(|one| &one.meta), 2),
            Kind::ConfigMap => (self.config_maps.get(name).map(|one| &one.meta), 2),
            Kind::Event => (None, 0),
        };
        meta.map_or(0, |meta| OBJECT_COST + meta.held as usize * copies)
    }

    /// Gives memory back after many objects have left.
    pub fn trim(&mut self) {
        trim(&mut self.pods);
        trim(&mut self.deployments);
        trim(&mut self.services);
        trim(&mut self.config_maps);
        self.index.trim();
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
                    add(About::Image, image.clone());
                    // Whether an image fails on one node or on two matters to the other one as well (I6); of an image
                    // that fails on many, one more says nothing.
                    let others: Vec<_> = self.pods_without(&image).take(FEW_PODS + 1).collect();
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
            _ => self.index.spec(&mut self.ledger, pod.spec),
        };
        let traces = known
            .as_mut()
            .map(|known| std::mem::take(&mut known.traces));
        let old = known.as_ref().map(|known| &known.pod);
        let traces = trace::traces(old, traces.unwrap_or_default(), &pod, now, settle);
        let owner = controller(&pod.meta).filter(|owner| owner.kind != "Node");
        let owner = owner.unwrap_or_else(|| object_ref("Pod", &pod.meta));
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
            self.index.add_pod(&mut self.ledger, &name, &entry);
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
        self.index.drop_pod(&mut self.ledger, name, &before);
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
}
