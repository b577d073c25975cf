//! The kinds and namespaces that are watched.

use kube9_model::label::Kind;

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
        Self {
            events: namespaces,
            informers,
        }
    }

    /// The kind of each watch.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        let events = self.events.iter().map(|_| Kind::Event);
        events.chain(self.informers.iter().map(|(kind, _)| *kind))
    }
}
