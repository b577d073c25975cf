//! The watched objects, and the indexes that find the dependents of a change; also the warnings of each namespace and the
//! status of kube9 itself.
//!
//! ```text
//!   object ─▶ entry (with its history) ─▶ World ─▶ index, default_tokens
//!                                           └────▶ queries (used by the rules)
//! ```

mod container_history;
mod default_tokens;
mod entry;
mod fields;
mod index;
mod queries;
mod reboot;

use std::collections::BTreeSet;

use kube9_model::ObjectRef;
use kube9_model::time::Timestamp;

pub use entry::{NodeEntry, PodEntry};
pub use fields::{FieldHistory, Fields, Outside, WRITES_KEPT, WRITES_MAX, client};
pub use index::ResourceRequests;

use super::controller::controller;
use super::failure_mode;
use super::ledger::Ledger;
use super::node_life;
use super::self_status::SelfStatus;
use super::subject::{ObjectKey, Subject, SubjectKind, clean_key};
use super::warnings::Warnings;
use container_history::{TIMES_MAX, keep_latest};
use default_tokens::DefaultTokens;
use index::Index;
use kube9_ingest::maps::{Map, trim};
use kube9_ingest::objects::{
    Condition, ConfigMap, ContainerState, Deployment, Meta, Node, Object, Pod, Service,
};
use kube9_ingest::sanitize::clean_name;
use kube9_model::commit_stats::{BreakingChange, FieldWrite, LivenessKill, RecentChanges};
use kube9_model::label::Kind;

/// Up to so many pods that wait for an image, each marks the nodes of the others as dependents.
const FEW_PODS: usize = 8;

/// Bytes of an object besides its texts and lists: its entries in a dozen maps, its name, its snapshot. Measured: see
/// docs/performance.md.
const OBJECT_COST: usize = 1500;

#[derive(Debug)]
pub struct World {
    pub pods: Map<ObjectKey, PodEntry>,
    pub nodes: Map<ObjectKey, NodeEntry>,
    pub deployments: Map<ObjectKey, Deployment>,
    pub services: Map<ObjectKey, Service>,
    pub config_maps: Map<ObjectKey, ConfigMap>,
    /// Changes that can break pods; also of kinds that no informer watches.
    changes: RecentChanges,
    pub fields: Fields,
    pub warnings: Warnings,
    pub default_tokens: DefaultTokens,
    pub self_status: SelfStatus,
    pub ledger: Ledger,
    index: Index,
    /// Services whose last pod was deleted, and the kind of its controller.
    emptied: Map<ObjectKey, Box<str>>,
    schedulable_nodes: usize,
}

impl World {
    /// An empty world; `opts_out` returns whether a pod with these words in `kube9.io/ignore` is left out of
    /// `default_tokens`.
    pub fn new(warnings: Warnings, opts_out: fn(&[Box<str>]) -> bool) -> Self {
        Self {
            pods: Map::default(),
            nodes: Map::default(),
            deployments: Map::default(),
            services: Map::default(),
            config_maps: Map::default(),
            changes: RecentChanges::default(),
            fields: Fields::default(),
            warnings,
            default_tokens: DefaultTokens::new(opts_out),
            self_status: SelfStatus::default(),
            ledger: Ledger::default(),
            index: Index::default(),
            emptied: Map::default(),
            schedulable_nodes: 0,
        }
    }

    /// Adds an object or its new state; adds its dependents to `dirty`.
    pub fn apply(
        &mut self,
        key: ObjectKey,
        object: Object,
        now: Timestamp,
        stable_after: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let kind = object.kind();
        let before = self.cost(kind, &key);
        self.replace(key.clone(), object, now, stable_after, dirty);
        let after = self.cost(kind, &key);
        self.ledger.sub(&key.namespace, before);
        self.ledger.add(&key.namespace, after);
    }

    fn replace(
        &mut self,
        key: ObjectKey,
        object: Object,
        now: Timestamp,
        stable_after: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        match object {
            Object::Pod(pod) => self.apply_pod(key, *pod, now, stable_after, dirty),
            Object::Node(node) => self.apply_node(key, node, now, dirty),
            Object::Deployment(one) => {
                if let Some(before) = self.deployments.get(&key) {
                    self.index.drop_deployment(&mut self.ledger, &key, before);
                }
                self.index.add_deployment(&mut self.ledger, &key, &one);
                self.deployments.insert(key.clone(), *one);
                self.mark_dependents(Kind::Deployment, &key, dirty);
            }
            Object::ConfigMap(map) => self.apply_config_map(key, map, dirty),
            Object::Service(service) => {
                // The pods that it selected before depend on it as well.
                self.mark_dependents(Kind::Service, &key, dirty);
                if let Some(before) = self.services.get(&key) {
                    self.index.drop_service(&mut self.ledger, &key, before);
                }
                self.index.add_service(&mut self.ledger, &key, &service);
                self.services.insert(key.clone(), service);
                self.mark_dependents(Kind::Service, &key, dirty);
            }
        }
    }

    /// Sets the times that the API does not give: they count from when kube9 first saw what they belong to.
    pub fn fill_times(&self, key: &ObjectKey, object: &mut Object, now: Timestamp) {
        let known = self.meta(object.kind(), key);
        let known = known.filter(|known| known.uid == object.meta().uid);
        let meta = object.meta_mut();
        if meta.created == Timestamp::EPOCH {
            meta.created = known.map_or(now, |known| known.created);
        }
        let Object::Pod(pod) = object else { return };
        let known = self.pods.get(key).map(|entry| &entry.pod);
        let known = known.filter(|known| known.meta.uid == pod.meta.uid);
        for state in &mut pod.containers {
            if state.running == Some(Timestamp::EPOCH) {
                let same_run = |old: &&ContainerState| {
                    old.name == state.name && old.restarts == state.restarts
                };
                let old = known.and_then(|known| known.containers.iter().find(same_run));
                state.running = old.and_then(|old| old.running).or(Some(now));
            }
        }
    }

    /// Removes an object; adds its dependents to `dirty`.
    pub fn remove(&mut self, kind: Kind, key: &ObjectKey, dirty: &mut BTreeSet<Subject>) {
        let cost = self.cost(kind, key);
        self.ledger.sub(&key.namespace, cost);
        self.mark_dependents(kind, key, dirty);
        match kind {
            Kind::Pod => {
                let entry = self.pods.get(key);
                let owner = entry.map(|entry| entry.owner.clone());
                let services = entry.map(|entry| self.services_of(&entry.pod.meta));
                self.remove_pod(key, dirty);
                if let Some(owner) = owner {
                    self.note_emptied(services.unwrap_or_default(), &owner);
                }
            }
            Kind::Node => {
                dirty.insert(Subject::cluster());
                if let Some(before) = self.nodes.remove(key) {
                    self.schedulable_nodes -= usize::from(before.node.is_schedulable());
                }
            }
            Kind::Deployment => {
                if let Some(before) = self.deployments.remove(key) {
                    self.index.drop_deployment(&mut self.ledger, key, &before);
                }
                // A new one with its name is another object.
                self.forget_changes(&key.namespace, |change| change.object == **key);
            }
            Kind::Service => {
                if let Some(before) = self.services.remove(key) {
                    self.index.drop_service(&mut self.ledger, key, &before);
                }
                self.emptied.remove(key);
            }
            Kind::ConfigMap => {
                self.config_maps.remove(key);
            }
            Kind::Event | Kind::Tracked => {}
        }
    }

    /// Estimated bytes of an object, here and in its snapshot, the owners of Events and the work queue.
    fn cost(&self, kind: Kind, key: &ObjectKey) -> usize {
        let meta = self.meta(kind, key);
        meta.map_or(0, |meta| OBJECT_COST + meta.held as usize)
    }

    pub fn meta(&self, kind: Kind, key: &ObjectKey) -> Option<&Meta> {
        match kind {
            Kind::Pod => self.pods.get(key).map(|entry| &entry.pod.meta),
            Kind::Node => self.nodes.get(key).map(|entry| &entry.node.meta),
            Kind::Deployment => self.deployments.get(key).map(|one| &one.meta),
            Kind::Service => self.services.get(key).map(|one| &one.meta),
            Kind::ConfigMap => self.config_maps.get(key).map(|one| &one.meta),
            Kind::Event | Kind::Tracked => None,
        }
    }

    /// Frees memory after many objects have been removed.
    pub fn trim(&mut self) {
        trim(&mut self.pods);
        trim(&mut self.deployments);
        trim(&mut self.services);
        trim(&mut self.config_maps);
        self.index.trim();
    }

    /// Adds the subjects whose evaluation depends on this object in its current state to `dirty`.
    fn mark_dependents(&self, kind: Kind, key: &ObjectKey, dirty: &mut BTreeSet<Subject>) {
        let mut add = |kind, object| dirty.insert(Subject::new(kind, object));
        match kind {
            Kind::Pod => {
                add(SubjectKind::Pod, key.clone());
                let Some(entry) = self.pods.get(key) else {
                    return;
                };
                add(SubjectKind::Owner, entry.owner.clone());
                for service in self.services_of(&entry.pod.meta) {
                    add(SubjectKind::Service, service);
                }
                if let Some(node) = &entry.pod.node {
                    add(SubjectKind::Node, self.node_key(node));
                }
                for image in failure_mode::images_failing_pull(&entry.pod) {
                    dirty.insert(Subject::named(SubjectKind::Image, &image));
                    // `NodeCannotPullImages` of a node depends on whether the image fails on other nodes too. If it
                    // fails on many already, one more does not matter.
                    let others: Vec<_> = self
                        .pods_failing_to_pull(&image)
                        .take(FEW_PODS + 1)
                        .collect();
                    if others.len() <= FEW_PODS {
                        for node in others.iter().filter_map(|other| other.pod.node.as_deref()) {
                            dirty.insert(Subject::new(SubjectKind::Node, self.node_key(node)));
                        }
                    }
                }
            }
            Kind::Node => {
                add(SubjectKind::Node, key.clone());
            }
            Kind::Deployment => {
                add(SubjectKind::Deployment, key.clone());
                add(SubjectKind::Owner, key.clone());
            }
            Kind::Service => {
                add(SubjectKind::Service, key.clone());
                let Some(service) = self.services.get(key) else {
                    return;
                };
                for pod in self.selected(service) {
                    add(SubjectKind::Owner, pod.owner.clone());
                }
            }
            Kind::ConfigMap => {
                add(SubjectKind::ConfigMap, key.clone());
                let Some(map) = self.config_maps.get(key) else {
                    return;
                };
                for owner in self.readers(&map.meta.namespace, &map.meta.name) {
                    add(SubjectKind::Owner, owner);
                }
            }
            Kind::Event | Kind::Tracked => {}
        }
    }

    /// Remembers a change that can break pods; adds its dependents to `dirty`.
    ///
    /// What depends on a policy, a quota or a webhook is not added: that may be the whole cluster. It is evaluated when it
    /// fails, and a moment later (`COMMIT_DELAY`).
    pub fn note_change(&mut self, mut change: BreakingChange, dirty: &mut BTreeSet<Subject>) {
        let object = &change.object;
        let key = clean_key(&object.kind, &object.namespace, &object.name);
        change.object = ObjectRef::clone(&key);
        self.ledger.add(&key.namespace, change.bytes());
        for displaced in self.changes.note(change) {
            let namespace = &displaced.object.namespace;
            self.ledger.sub(namespace, displaced.bytes());
        }
        if key.kind == "ConfigMap" {
            let readers = self.readers(&key.namespace, &key.name);
            dirty.extend(
                readers
                    .into_iter()
                    .map(|owner| Subject::new(SubjectKind::Owner, owner)),
            );
        } else if self.pods_of(&key).next().is_some() {
            dirty.insert(Subject::new(SubjectKind::Owner, key));
        }
    }

    /// The changes of objects in a namespace that can break pods, in order.
    pub fn changes_of(&self, namespace: &str) -> &[BreakingChange] {
        self.changes.of(namespace)
    }

    fn forget_changes(&mut self, namespace: &str, is_over: impl Fn(&BreakingChange) -> bool) {
        for change in self.changes.remove(namespace, is_over) {
            self.ledger.sub(namespace, change.bytes());
        }
    }

    /// Remembers a write of a field; adds the object to `dirty`.
    pub fn note_write(&mut self, write: FieldWrite, dirty: &mut BTreeSet<Subject>) {
        let object = &write.object;
        let key = clean_key(&object.kind, &object.namespace, &object.name);
        if self.fields.note(&mut self.ledger, &key, write) {
            dirty.insert(Subject::new(SubjectKind::Fields, key));
        }
    }

    /// Remembers that a finding about a field of an object is open; `from`: its value before it was changed outside.
    pub fn restore_field(
        &mut self,
        object: &ObjectKey,
        path: &str,
        from: Option<&str>,
        now: Timestamp,
    ) {
        self.fields
            .restore(&mut self.ledger, object, path, from, now);
    }

    /// Removes the fields of a deleted object. Returns its subject, if it was followed.
    pub fn forget_fields(&mut self, object: &ObjectRef) -> Option<Subject> {
        let key = clean_key(&object.kind, &object.namespace, &object.name);
        let was_followed = self.fields.remove(&mut self.ledger, &key);
        was_followed.then(|| Subject::new(SubjectKind::Fields, key))
    }

    /// Removes what is known of a namespace besides its objects.
    pub fn forget_namespace(&mut self, namespace: &str) {
        self.fields.remove_namespace(&mut self.ledger, namespace);
        self.forget_changes(namespace, |_| true);
    }

    /// Remembers a kill by a liveness probe; adds its dependents to `dirty`.
    pub fn note_kill(&mut self, kill: &LivenessKill, dirty: &mut BTreeSet<Subject>) {
        let Some(entry) = self.pods.get_mut(&kill.pod) else {
            return; // deleted before its Event was committed
        };
        let history = entry.histories.entry(kill.container.clone()).or_default();
        for _ in 0..kill.times.min(TIMES_MAX as i64) {
            keep_latest(&mut history.probe_kills, kill.at);
        }
        dirty.insert(Subject::new(SubjectKind::Owner, entry.owner.clone()));
    }

    fn apply_pod(
        &mut self,
        key: ObjectKey,
        mut pod: Pod,
        now: Timestamp,
        stable_after: std::time::Duration,
        dirty: &mut BTreeSet<Subject>,
    ) {
        if let Some(until) = self.node_away_until(&pod, now) {
            reboot::mark_ended_with_node(&mut pod, until);
        }
        let known = self.pods.get_mut(&key);
        let mut known = known.filter(|known| known.pod.meta.uid == pod.meta.uid);
        pod.spec = match &known {
            Some(known) if known.pod.spec == pod.spec => known.pod.spec.clone(),
            _ => self.index.spec(&mut self.ledger, &key, pod.spec),
        };
        let histories = known
            .as_mut()
            .map(|known| std::mem::take(&mut known.histories));
        let old = known.as_ref().map(|known| &known.pod);
        let histories = container_history::histories(
            old,
            histories.unwrap_or_default(),
            &pod,
            now,
            stable_after,
        );
        let owner = controller(&pod.meta).filter(|owner| owner.kind != "Node");
        let owner = match (owner, &known) {
            (None, _) => key.clone(),
            (Some(owner), Some(known)) if *known.owner == owner => known.owner.clone(),
            (Some(owner), _) => self.index.owner(clean_key(
                &clean_name(&owner.kind),
                &owner.namespace,
                &owner.name,
            )),
        };
        let entry = PodEntry {
            pod,
            histories,
            owner,
        };
        if let Some(known) = known.filter(|known| entry.stays_in_place(known)) {
            *known = entry;
        } else {
            // The old state has dependents too: a Service depends on the pods that it no longer selects.
            self.mark_dependents(Kind::Pod, &key, dirty);
            self.remove_pod(&key, dirty);
            self.index.add_pod(&mut self.ledger, &key, &entry);
            self.default_tokens.add(&key.namespace, &entry, dirty);
            self.pods.insert(key.clone(), entry);
        }
        self.mark_dependents(Kind::Pod, &key, dirty);
    }

    /// Until when the node of a pod whose containers have ended before was away.
    fn node_away_until(&self, pod: &Pod, now: Timestamp) -> Option<Timestamp> {
        pod.containers.iter().find(|state| state.last.is_some())?;
        let node = self.nodes.get(&self.node_key(pod.node.as_deref()?))?;
        reboot::away_until(&node.node, now)
    }

    fn remove_pod(&mut self, key: &ObjectKey, dirty: &mut BTreeSet<Subject>) {
        let Some(before) = self.pods.remove(key) else {
            return;
        };
        self.index.drop_pod(&mut self.ledger, key, &before);
        self.default_tokens.remove(&key.namespace, &before, dirty);
    }

    /// Remembers whose last pod was deleted, for those of the Services that now select none.
    fn note_emptied(&mut self, services: Vec<ObjectKey>, owner: &ObjectKey) {
        for key in services {
            let service = self.services.get(&key);
            if service.is_some_and(|service| self.selected(service).next().is_none()) {
                self.emptied.insert(key, owner.kind.as_str().into());
            }
        }
    }

    fn apply_node(
        &mut self,
        key: ObjectKey,
        node: Node,
        now: Timestamp,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let known = self.nodes.get(&key);
        if known.is_some_and(|known| node.eq_ignoring_resource_version(&known.node)) {
            return;
        }
        let known = self.nodes.remove(&key);
        if let Some(known) = &known {
            self.schedulable_nodes -= usize::from(known.node.is_schedulable());
        }
        self.schedulable_nodes += usize::from(node.is_schedulable());
        // Not at every heartbeat, because rules about the cluster cost more than those about one object.
        if known
            .as_ref()
            .is_none_or(|known| known.node.kubelet != node.kubelet)
        {
            dirty.insert(Subject::cluster());
        }
        let same = known.filter(|known| known.node.meta.uid == node.meta.uid);
        let ready = |node: &Node| Condition::of(&node.conditions, "Ready").map(Condition::is_true);
        let mut flaps = Vec::new();
        let mut shuts_down = node_life::says_shutdown(&node);
        let is_ready = ready(&node) == Some(true);
        let was_ready = same
            .as_ref()
            .is_some_and(|one| ready(&one.node) == Some(true));
        let back = reboot::away_until(&node, now).filter(|_| is_ready && !was_ready);
        if let Some(before) = same {
            flaps = before.flaps;
            // A cordoned node may restart for maintenance.
            let in_service = !before.node.cordoned && !node.cordoned;
            if in_service && ready(&before.node) != ready(&node) {
                keep_latest(&mut flaps, now);
            }
            shuts_down |= before.shuts_down && ready(&node) == Some(false);
        }
        let entry = NodeEntry {
            node,
            flaps,
            shuts_down,
        };
        self.nodes.insert(key.clone(), entry);
        self.mark_dependents(Kind::Node, &key, dirty);
        if let Some(until) = back {
            self.mark_ended_with_node(&key.name, until, dirty);
        }
    }

    fn mark_ended_with_node(
        &mut self,
        node: &str,
        until: Timestamp,
        dirty: &mut BTreeSet<Subject>,
    ) {
        let on = self.on_node(node);
        let pods = Vec::from_iter(on.into_iter().flat_map(|on| &on.pods).cloned());
        for key in pods {
            let pod = self.pods.get_mut(&key).map(|entry| &mut entry.pod);
            if pod.is_some_and(|pod| reboot::mark_ended_with_node(pod, until)) {
                self.mark_dependents(Kind::Pod, &key, dirty);
            }
        }
    }

    fn apply_config_map(&mut self, key: ObjectKey, map: ConfigMap, dirty: &mut BTreeSet<Subject>) {
        let Some(known) = self.config_maps.get_mut(&key) else {
            self.config_maps.insert(key.clone(), map);
            self.mark_dependents(Kind::ConfigMap, &key, dirty);
            return;
        };
        // The pods that read it depend on its existence; `note_change` handles its changes.
        let same = map.meta.eq_ignoring_resource_version(&known.meta) && map.keys == known.keys;
        *known = map;
        if !same {
            dirty.insert(Subject::new(SubjectKind::ConfigMap, key));
        }
    }
}
