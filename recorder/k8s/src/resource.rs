//! A resource of the API, as requests and messages name it.

use std::borrow::Cow;

use kube9_model::change::kinds::TrackedKind;
use kube9_model::label::{Kind, Label};

/// What a watcher lists and watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiResource {
    /// Its label in the metrics.
    pub kind: Kind,
    /// Its kind in messages.
    pub name: &'static str,
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: String,
    /// In lower case.
    plural: Cow<'static, str>,
    namespaced: bool,
}

impl ApiResource {
    /// A kind that the rules or the record of Events read.
    pub fn of(kind: Kind) -> Self {
        let (root, plural) = match kind {
            Kind::Event | Kind::Tracked => ("/api/v1", "events"),
            Kind::Node => ("/api/v1", "nodes"),
            Kind::Pod => ("/api/v1", "pods"),
            Kind::Deployment => ("/apis/apps/v1", "deployments"),
            Kind::Service => ("/api/v1", "services"),
            Kind::ConfigMap => ("/api/v1", "configmaps"),
        };
        Self {
            kind,
            name: kind.name(),
            root: root.to_owned(),
            plural: plural.into(),
            namespaced: kind != Kind::Node,
        }
    }

    /// A kind that only the change history reads.
    pub fn tracked(kind: &TrackedKind) -> Self {
        let name: &'static str = match &kind.kind {
            Cow::Borrowed(name) => name,
            // Named by the configuration: a few dozen for the life of the process.
            Cow::Owned(name) => String::leak(name.clone()),
        };
        Self {
            kind: Kind::Tracked,
            name,
            root: match &*kind.group {
                "" => format!("/api/{}", kind.version),
                group => format!("/apis/{group}/{}", kind.version),
            },
            plural: kind.resource.clone(),
            namespaced: kind.namespaced,
        }
    }

    /// Path of its objects in a namespace, or (empty) in all.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        let Self { root, plural, .. } = self;
        if namespace.is_empty() || !self.namespaced {
            format!("{root}/{plural}")
        } else {
            format!("{root}/namespaces/{namespace}/{plural}")
        }
    }
}
