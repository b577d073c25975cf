//! The kinds and namespaces that are watched.

use std::sync::Arc;

use kube9_model::change::kinds::{BUILT_IN, TrackedKind};
use kube9_model::label::{Kind, Label};

use crate::config::Config;

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
    pub(super) tracked: Vec<(Arc<TrackedKind>, String)>,
}

/// `watch_state.kind` of a tracked kind: the same whether the rules read it too or not.
pub(super) fn watch_name(kind: &TrackedKind) -> String {
    if INFORMER_KINDS
        .iter()
        .filter_map(|one| tracked_kind(*one))
        .any(|one| one.group == kind.group && one.kind == kind.kind)
    {
        return kind.kind.to_string();
    }
    if kind.group.is_empty() {
        kind.resource.to_string()
    } else {
        format!("{}.{}", kind.resource, kind.group)
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
            informers.iter().any(|(kind, _)| {
                tracked_kind(*kind).is_some_and(|one| std::ptr::eq(one, tracked))
            })
        };
        let tracked = BUILT_IN
            .iter()
            .filter(|kind| config.changes.enabled && !is_read(kind))
            // Roles are left out of Kubernetes' own role `view` on purpose.
            .filter(|kind| {
                config.kube.namespaces.is_empty()
                    || kind.namespaced && kind.group != "rbac.authorization.k8s.io"
            })
            .flat_map(|kind| {
                let kind = Arc::new(kind.clone());
                namespaces
                    .iter()
                    .map(move |namespace| (kind.clone(), namespace.clone()))
                    .collect::<Vec<_>>()
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
