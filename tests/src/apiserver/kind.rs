//! The kinds of the server and their paths.

/// Builds [`Kind`] from a table: variant, kind, plural, group (empty for core), version, whether it is namespaced.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $plural:literal, $group:literal, $version:literal, $namespaced:literal;)*) => {
        /// A kind that the server stores.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$($plural),*].len()] = [$(Self::$kind),*];

            /// `Event`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// `events`.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }

            /// API group; empty for core.
            pub const fn group(self) -> &'static str {
                match self { $(Self::$kind => $group,)* }
            }

            const fn version(self) -> &'static str {
                match self { $(Self::$kind => $version,)* }
            }

            /// Whether the kind is namespaced.
            pub const fn namespaced(self) -> bool {
                match self { $(Self::$kind => $namespaced,)* }
            }
        }
    };
}

kinds! {
    /// core/v1 Event: no watch cache, expires.
    Event = "Event", "events", "", "v1", true;
    Node = "Node", "nodes", "", "v1", false;
    Pod = "Pod", "pods", "", "v1", true;
    Deployment = "Deployment", "deployments", "apps", "v1", true;
    Service = "Service", "services", "", "v1", true;
    ConfigMap = "ConfigMap", "configmaps", "", "v1", true;
    /// For a client that reads the cluster's identity from `kube-system`.
    Namespace = "Namespace", "namespaces", "", "v1", false;
    /// From here on only with [`every_kind`](super::Config::every_kind).
    LimitRange = "LimitRange", "limitranges", "", "v1", true;
    PersistentVolumeClaim = "PersistentVolumeClaim", "persistentvolumeclaims", "", "v1", true;
    PersistentVolume = "PersistentVolume", "persistentvolumes", "", "v1", false;
    ResourceQuota = "ResourceQuota", "resourcequotas", "", "v1", true;
    ServiceAccount = "ServiceAccount", "serviceaccounts", "", "v1", true;
    DaemonSet = "DaemonSet", "daemonsets", "apps", "v1", true;
    StatefulSet = "StatefulSet", "statefulsets", "apps", "v1", true;
    CronJob = "CronJob", "cronjobs", "batch", "v1", true;
    Job = "Job", "jobs", "batch", "v1", true;
    HorizontalPodAutoscaler = "HorizontalPodAutoscaler", "horizontalpodautoscalers", "autoscaling", "v2", true;
    PodDisruptionBudget = "PodDisruptionBudget", "poddisruptionbudgets", "policy", "v1", true;
    IngressClass = "IngressClass", "ingressclasses", "networking.k8s.io", "v1", false;
    Ingress = "Ingress", "ingresses", "networking.k8s.io", "v1", true;
    NetworkPolicy = "NetworkPolicy", "networkpolicies", "networking.k8s.io", "v1", true;
    ClusterRoleBinding = "ClusterRoleBinding", "clusterrolebindings", "rbac.authorization.k8s.io", "v1", false;
    ClusterRole = "ClusterRole", "clusterroles", "rbac.authorization.k8s.io", "v1", false;
    RoleBinding = "RoleBinding", "rolebindings", "rbac.authorization.k8s.io", "v1", true;
    Role = "Role", "roles", "rbac.authorization.k8s.io", "v1", true;
    MutatingWebhookConfiguration = "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "admissionregistration.k8s.io", "v1", false;
    MutatingAdmissionPolicy = "MutatingAdmissionPolicy", "mutatingadmissionpolicies", "admissionregistration.k8s.io", "v1beta1", false;
    ValidatingAdmissionPolicy = "ValidatingAdmissionPolicy", "validatingadmissionpolicies", "admissionregistration.k8s.io", "v1", false;
    ValidatingAdmissionPolicyBinding = "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "admissionregistration.k8s.io", "v1", false;
    ValidatingWebhookConfiguration = "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "admissionregistration.k8s.io", "v1", false;
    CsiDriver = "CSIDriver", "csidrivers", "storage.k8s.io", "v1", false;
    StorageClass = "StorageClass", "storageclasses", "storage.k8s.io", "v1", false;
    PriorityClass = "PriorityClass", "priorityclasses", "scheduling.k8s.io", "v1", false;
    RuntimeClass = "RuntimeClass", "runtimeclasses", "node.k8s.io", "v1", false;
    CustomResourceDefinition = "CustomResourceDefinition", "customresourcedefinitions", "apiextensions.k8s.io", "v1", false;
    ApiService = "APIService", "apiservices", "apiregistration.k8s.io", "v1", false;
    /// A custom resource of any content.
    Widget = "Widget", "widgets", "example.com", "v1", true;
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Whether the API server serves it from a watch cache; a real one does so for all but Events.
    ///
    /// Visible to clients: bookmarks, lists at `resourceVersion=0` without paging, and a 410 after a server restart for
    /// every older watch.
    pub const fn cached(self) -> bool {
        !matches!(self, Self::Event)
    }

    /// Whether only [`every_kind`](super::Config::every_kind) serves it.
    pub(super) const fn is_extra(self) -> bool {
        self as usize > Self::Namespace as usize
    }

    /// The beginning of an object's JSON in a watch; list items omit it.
    pub(super) fn head(self) -> String {
        format!(
            r#"{{"kind":"{}","apiVersion":"{}","#,
            self.name(),
            self.api_version()
        )
    }

    /// Index into arrays with a place for each kind.
    pub(super) const fn index(self) -> usize {
        self as usize
    }

    fn from_path(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|k| k.group() == group && k.version() == version && k.plural() == plural)
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
        let (group, version) = match *parts.first()? {
            "api" if parts.len() > 2 => {
                let version = parts[1];
                parts.drain(..2);
                ("", version)
            }
            "apis" if parts.len() > 3 => {
                let (group, version) = (parts[1], parts[2]);
                parts.drain(..3);
                (group, version)
            }
            _ => return None,
        };
        let (namespace, rest) = match parts.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let kind = Kind::from_path(group, version, rest.first()?)?;
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
