//! The kinds and namespaces that are watched.

use std::sync::Arc;

use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::label::{Kind, Label};

use crate::config::Config;
use crate::tracked_task::TrackedTarget;

/// The kinds that the analysis reads.
const INFORMER_KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// One watch for each kind and namespace; an empty namespace means all.
#[derive(Clone)]
pub(super) struct WatchTargets {
    pub(super) events: Vec<String>,
    pub(super) informers: Vec<(Kind, String)>,
    /// What only the change history reads.
    pub(super) tracked: Vec<(TrackedTarget, String)>,
}

/// `watch_state.kind` of what is tracked: the same whether the rules read it too or not.
pub(super) fn watch_name(target: &TrackedTarget) -> String {
    let (group, resource) = target.resource();
    let is_same = |kind: &TrackedKind| kind.group == group && kind.resource == resource;
    let of_rules = INFORMER_KINDS
        .iter()
        .filter_map(|kind| tracked_kind(*kind))
        .find(|kind| is_same(kind));
    match (of_rules, group) {
        (Some(kind), _) => kind.kind.to_string(),
        (None, "") => resource.to_owned(),
        (None, group) => format!("{resource}.{group}"),
    }
}

/// The kind of an informer as the change history tracks it.
pub(super) fn tracked_kind(kind: Kind) -> Option<&'static TrackedKind> {
    let core = ["", "apps"];
    BUILT_IN
        .iter()
        .find(|tracked| tracked.kind == kind.name() && core.contains(&&*tracked.group))
}

impl WatchTargets {
    pub(super) fn new(config: &Config) -> Self {
        let everywhere = vec![String::new()];
        let namespaces = match config.kube.namespaces.as_slice() {
            [] => everywhere.clone(),
            some => some.to_vec(),
        };
        let informers = INFORMER_KINDS
            .into_iter()
            .filter(|_| config.analysis.enabled)
            .flat_map(|kind| {
                // Nodes are not namespaced and are watched once.
                let targets = if kind == Kind::Node {
                    &everywhere
                } else {
                    &namespaces
                };
                targets
                    .iter()
                    .map(move |namespace| (kind, namespace.clone()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let informers: Vec<(Kind, String)> = informers;
        let is_read = |tracked: &TrackedKind| {
            informers
                .iter()
                .any(|(kind, _)| tracked_kind(*kind).is_some_and(|one| std::ptr::eq(one, tracked)))
        };
        let configured = config.tracked();
        let kinds = configured
            .kinds
            .into_iter()
            .filter(|kind| !is_read(kind))
            .map(|kind| TrackedTarget::Kind(Arc::new(kind.clone())));
        let resources = configured
            .resources
            .into_iter()
            .map(TrackedTarget::Resource);
        let tracked = kinds
            .chain(resources)
            .flat_map(|target| {
                let each = |namespace: &String| (target.clone(), namespace.clone());
                namespaces.iter().map(each).collect::<Vec<_>>()
            })
            .collect();
        Self {
            events: namespaces,
            informers,
            tracked,
        }
    }

    /// The kind of each watch.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let events = self.events.iter().map(|_| Kind::Event);
        events.chain(self.informers.iter().map(|(kind, _)| *kind))
    }
}
