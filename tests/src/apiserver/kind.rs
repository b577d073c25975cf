//! The kinds of the server and their paths.

/// A kind that the server stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// core/v1 Event: no watch cache, expires.
    Event,
    /// core/v1 Node.
    Node,
    /// core/v1 Pod.
    Pod,
    /// apps/v1 Deployment.
    Deployment,
    /// core/v1 Service.
    Service,
    /// core/v1 `ConfigMap`.
    ConfigMap,
    /// core/v1 Namespace, for a client that reads the cluster's identity from `kube-system`.
    Namespace,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Event,
        Self::Node,
        Self::Pod,
        Self::Deployment,
        Self::Service,
        Self::ConfigMap,
        Self::Namespace,
    ];

    /// `Event`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "Event",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::Namespace => "Namespace",
        }
    }

    /// `events`.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Event => "events",
            Self::Node => "nodes",
            Self::Pod => "pods",
            Self::Deployment => "deployments",
            Self::Service => "services",
            Self::ConfigMap => "configmaps",
            Self::Namespace => "namespaces",
        }
    }

    /// API group; empty for core.
    pub const fn group(self) -> &'static str {
        match self {
            Self::Deployment => "apps",
            _ => "",
        }
    }

    /// `v1` or `apps/v1`.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Deployment => "apps/v1",
            _ => "v1",
        }
    }

    /// Whether the kind is namespaced.
    pub const fn namespaced(self) -> bool {
        !matches!(self, Self::Node | Self::Namespace)
    }

    /// Whether the API server serves it from a watch cache; a real one does so for all but Events.
    ///
    /// Visible to clients: bookmarks, lists at `resourceVersion=0` without paging, and a 410 after a server restart for
    /// every older watch.
    pub const fn cached(self) -> bool {
        !matches!(self, Self::Event)
    }

    /// The beginning of an object's JSON in a watch; list items omit it.
    pub(super) const fn head(self) -> &'static str {
        match self {
            Self::Event => r#"{"kind":"Event","apiVersion":"v1","#,
            Self::Node => r#"{"kind":"Node","apiVersion":"v1","#,
            Self::Pod => r#"{"kind":"Pod","apiVersion":"v1","#,
            Self::Deployment => r#"{"kind":"Deployment","apiVersion":"apps/v1","#,
            Self::Service => r#"{"kind":"Service","apiVersion":"v1","#,
            Self::ConfigMap => r#"{"kind":"ConfigMap","apiVersion":"v1","#,
            Self::Namespace => r#"{"kind":"Namespace","apiVersion":"v1","#,
        }
    }

    /// Index into arrays with a place for each kind.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    fn from_path(group: &str, plural: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.group() == group && k.plural() == plural)
    }
}

/// The verb of a request, as in RBAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// One object.
    Get,
    /// A collection.
    List,
    /// Changes of a collection.
    Watch,
    /// POST.
    Create,
    /// PUT.
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// The word as RBAC writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// The resource that a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    /// Empty: across all namespaces, or a cluster-scoped kind.
    pub(super) namespace: String,
    /// Empty: the collection.
    pub(super) name: String,
}

impl Resource {
    /// Reads `/api/v1/namespaces/NS/events/NAME` and its shorter forms.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let group = match *parts.first()? {
            "api" if parts.get(1) == Some(&"v1") => {
                parts.drain(..2);
                ""
            }
            "apis" if parts.get(2) == Some(&"v1") => {
                let group = parts[1];
                parts.drain(..3);
                group
            }
            _ => return None,
        };
        let (namespace, rest) = match parts.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let kind = Kind::from_path(group, rest.first()?)?;
        let scope_fits = kind.namespaced() || namespace.is_empty();
        (rest.len() <= 2 && scope_fits).then(|| Self {
            kind,
            namespace: namespace.to_owned(),
            name: (*rest.get(1).unwrap_or(&"")).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_parse_to_resources() {
        let check = |path: &str, expected: Option<(Kind, &str, &str)>| {
            let found = Resource::parse(path);
            let found = found
                .as_ref()
                .map(|r| (r.kind, r.namespace.as_str(), r.name.as_str()));
            assert_eq!(found, expected, "{path}");
        };
        check("/api/v1/events", Some((Kind::Event, "", "")));
        check(
            "/api/v1/namespaces/shop/events/a.1",
            Some((Kind::Event, "shop", "a.1")),
        );
        check(
            "/apis/apps/v1/namespaces/shop/deployments",
            Some((Kind::Deployment, "shop", "")),
        );
        check(
            "/api/v1/namespaces/kube-system",
            Some((Kind::Namespace, "", "kube-system")),
        );
        check("/api/v1/namespaces", Some((Kind::Namespace, "", "")));
        check("/api/v1/nodes/n1", Some((Kind::Node, "", "n1")));
        check("/api/v1/namespaces/shop/nodes", None);
        check("/api/v1/deployments", None);
        check("/api/v1/nothing", None);
        check("/metrics", None);
    }
}
