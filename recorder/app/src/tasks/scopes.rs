//! What is watched.

use kube9_model::label::Kind;

use crate::config::Config;

/// Kinds that the analysis reads.
const INFORMED: [Kind; 5] = [
    Kind::Node,
    Kind::Pod,
    Kind::Deployment,
    Kind::Service,
    Kind::ConfigMap,
];

/// What is watched: a watch of its own for each kind and namespace, where '' is all of them.
#[derive(Clone)]
pub(super) struct Scopes {
    pub(super) events: Vec<String>,
    pub(super) informers: Vec<(Kind, String)>,
}

impl Scopes {
    pub(super) fn of(config: &Config) -> Self {
        let everywhere = vec![String::new()];
        let namespaces = match config.kube.namespaces.as_slice() {
            [] => everywhere.clone(),
            some => some.to_vec(),
        };
        let informers = INFORMED
            .into_iter()
            .filter(|_| config.analysis.enabled)
            .flat_map(|kind| {
                // Nodes have no namespace and are watched once.
                let scopes = if kind == Kind::Node {
                    &everywhere
                } else {
                    &namespaces
                };
                scopes
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
