//! The tracked kinds as data.
//!
//! A kind of Kubernetes is a line of [`BUILT_IN`] with its tables: which fields are in its body, which lists have
//! identities, which changes make no row. Any other resource is a custom one ([`TrackedKind::custom`]).
//!
//! Invariant: Secrets are not tracked, in any group.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::rules::{Line, Rule, Rules};
use Rule::{
    Drop, Hide, Keep, List, Only, Opaque, Ordered, Risky, Silent, SilentElements, SilentFrom,
    SilentIfTrue, SilentUnlessDeleting, SilentUnlessReplaced, SilentWhenSet, Single, Swings,
};

/// A kind whose objects are tracked.
#[derive(Debug, Clone)]
pub struct TrackedKind {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    /// The version that is read.
    pub version: Cow<'static, str>,
    /// The plural in lower case, as in URLs.
    pub resource: Cow<'static, str>,
    /// CamelCase.
    pub kind: Cow<'static, str>,
    /// As `kubectl api-resources` lists them.
    pub short_names: &'static [&'static str],
    /// Its objects are in namespaces.
    pub namespaced: bool,
    /// What is known about its fields.
    pub rules: &'static Rules,
}

impl TrackedKind {
    /// A resource whose schema kube9 does not know.
    pub fn custom(id: &ResourceId, kind: &str, namespaced: bool) -> Self {
        Self {
            group: Cow::Owned(id.group.clone()),
            version: Cow::Owned(id.version.clone()),
            resource: Cow::Owned(id.resource.clone()),
            kind: Cow::Owned(kind.to_owned()),
            short_names: &[],
            namespaced,
            rules: match (&*id.group, &*id.resource) {
                ("argoproj.io", "applications") => &APPLICATIONS,
                _ => &CUSTOM,
            },
        }
    }

    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether a command line means this kind: `pods`, `pod`, `po`, `Pod`, and each followed by a group.
    pub fn is_named(&self, word: &str) -> bool {
        let (name, group) = match word.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (word, None),
        };
        let names = [&*self.resource, &*self.kind];
        let mut names = names.into_iter().chain(self.short_names.iter().copied());
        // `rollouts.v1alpha1.argoproj.io`, as kubectl takes it.
        let is_group = |text: &str| {
            text.eq_ignore_ascii_case(&self.group)
                || text
                    .split_once('.')
                    .is_some_and(|(version, group)| version == self.version && group == self.group)
        };
        names.any(|one| one.eq_ignore_ascii_case(name)) && group.is_none_or(is_group)
    }

    /// The one kind that a word of a command line means.
    ///
    /// # Errors
    /// No kind has the name, or several groups have.
    pub fn find<'k>(
        kinds: impl IntoIterator<Item = &'k Self>,
        word: &str,
    ) -> Result<&'k Self, BadKind> {
        let mut named = kinds.into_iter().filter(|kind| kind.is_named(word));
        let first = named
            .next()
            .ok_or_else(|| BadKind::Unknown(word.to_owned()))?;
        let mut choices = vec![first.full_name()];
        choices.extend(named.map(Self::full_name));
        if choices.len() == 1 {
            return Ok(first);
        }
        Err(BadKind::Ambiguous {
            word: word.to_owned(),
            choices: choices.join(", "),
        })
    }

    /// `rollouts.argoproj.io`.
    fn full_name(&self) -> String {
        if self.group.is_empty() {
            // A trailing dot names the core group.
            format!("{}.", self.resource)
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// Groups of Kubernetes itself that have a dot; the group of a custom resource always has one.
const OWN_GROUPS: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// The API group that a row stores: none for a kind of Kubernetes itself.
pub fn stored_group(group: &str) -> &str {
    if is_own_group(group) { "" } else { group }
}

/// Whether a group is one of Kubernetes itself, whose kinds have different names.
pub fn is_own_group(group: &str) -> bool {
    !group.contains('.') || OWN_GROUPS.contains(&group)
}

/// The rules of a kind; `group` is empty for all groups of Kubernetes itself, as in rows.
pub fn rules_of(group: &str, kind: &str) -> &'static Rules {
    let is_it = |one: &&TrackedKind| {
        one.kind == kind && (one.group == group || group.is_empty() && is_own_group(&one.group))
    };
    BUILT_IN
        .iter()
        .find(is_it)
        .map_or(&CUSTOM, |kind| kind.rules)
}

/// A word of a command line does not mean one kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKind {
    /// No tracked kind has this name.
    #[error("kind {0:?} is not tracked")]
    Unknown(String),
    /// Kinds of several groups have it.
    #[error("kind {word:?} is ambiguous: {choices}")]
    Ambiguous {
        /// What was asked for.
        word: String,
        /// The full names.
        choices: String,
    },
}

/// A word of a setting is not the plural name of a built-in kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKindName {
    /// Secrets are never read.
    #[error("kind {0:?}: secrets are never tracked; remove it")]
    Secrets(String),
    /// Each kind must be named.
    #[error("kind {0:?} has a wildcard; an empty list tracks all default kinds")]
    Wildcard(String),
    /// It is named in another way.
    #[error("kind {word:?} is not a plural name; write {plural}")]
    NotPlural {
        /// What was written.
        word: String,
        /// The name.
        plural: Cow<'static, str>,
    },
    /// A kind whose objects are in no namespace, where only some namespaces are recorded.
    #[error("kind {0:?} is cluster-scoped, and kube.namespaces records namespaces only; remove it")]
    ClusterScoped(String),
    /// Anything else.
    #[error(
        "kind {0:?} is not a default kind such as deployments or configmaps; name other resources in changes.resources"
    )]
    Unknown(String),
}

/// The built-in kind with this plural name.
///
/// # Errors
/// No kind has the name.
pub fn built_in(word: &str) -> Result<&'static TrackedKind, BadKindName> {
    if let Some(kind) = BUILT_IN.iter().find(|kind| kind.resource == word) {
        return Ok(kind);
    }
    let of = word.to_owned();
    if word.contains('*') {
        return Err(BadKindName::Wildcard(of));
    }
    if word.split(['/', '.']).any(is_secrets) {
        return Err(BadKindName::Secrets(of));
    }
    Err(match TrackedKind::find(BUILT_IN.iter(), word) {
        Ok(kind) => BadKindName::NotPlural {
            word: of,
            plural: kind.resource.clone(),
        },
        Err(_) => BadKindName::Unknown(of),
    })
}

/// Whether a part of a name means Secrets, in any spelling.
fn is_secrets(part: &str) -> bool {
    let part = part.trim();
    part.eq_ignore_ascii_case("secrets") || part.eq_ignore_ascii_case("secret")
}

/// A resource as settings name it: `v1/configmaps`, `argoproj.io/v1alpha1/rollouts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResourceId {
    /// Empty for the core group.
    pub group: String,
    /// E.g. `v1alpha1`.
    pub version: String,
    /// The plural in lower case.
    pub resource: String,
}

/// A resource that cannot be tracked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadResource {
    /// Secrets are never read.
    #[error("resource {0:?}: secrets are never tracked; remove it")]
    Secrets(String),
    /// Each resource must be named.
    #[error("resource {0:?} has a wildcard; name each resource")]
    Wildcard(String),
    /// `pods/log`.
    #[error("resource {0:?} is a subresource; name the resource itself")]
    Subresource(String),
    /// A built-in kind.
    #[error("resource {0:?} is a default kind; name {1} in changes.kinds")]
    Default(String, String),
    /// Anything else.
    #[error(
        "resource {0:?} is not group/version/resource, such as argoproj.io/v1alpha1/rollouts or v1/configmaps"
    )]
    Form(String),
}

impl FromStr for ResourceId {
    type Err = BadResource;

    fn from_str(text: &str) -> Result<Self, BadResource> {
        let of = text.to_owned();
        if text.contains('*') {
            return Err(BadResource::Wildcard(of));
        }
        let parts: Vec<&str> = text.split('/').collect();
        // Found anywhere: `v1/secrets/status` must not be read as another resource.
        if parts.iter().any(|part| is_secrets(part)) {
            return Err(BadResource::Secrets(of));
        }
        let (group, version, resource) = match parts[..] {
            [version, resource] if is_version(version) => ("", version, resource),
            [group, version, resource] if is_version(version) => (group, version, resource),
            [version, _, _] if is_version(version) => return Err(BadResource::Subresource(of)),
            [_, version, _, _] if is_version(version) => return Err(BadResource::Subresource(of)),
            _ => return Err(BadResource::Form(of)),
        };
        let is_name = |text: &str| {
            !text.is_empty()
                && text.len() <= 253
                && text.split('.').all(|label| {
                    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
                    let ends = |b: Option<&u8>| b.is_some_and(|b| word(*b));
                    let bytes = label.as_bytes();
                    ends(bytes.first())
                        && ends(bytes.last())
                        && bytes.iter().all(|b| word(*b) || *b == b'-')
                })
        };
        if !is_name(resource) || resource.contains('.') || parts.len() == 3 && !is_name(group) {
            return Err(BadResource::Form(of));
        }
        Ok(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
        })
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.group.is_empty() {
            write!(f, "{}/", self.group)?;
        }
        write!(f, "{}/{}", self.version, self.resource)
    }
}

/// `v1`, `v2beta3`.
fn is_version(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('v').is_some_and(|rest| {
        let (major, minor) = rest
            .split_once("alpha")
            .or_else(|| rest.split_once("beta"))
            .map_or((rest, None), |(major, minor)| (major, Some(minor)));
        digits(major) && minor.is_none_or(digits)
    })
}

/// Resources of well-known projects, which settings name together.
pub const PRESETS: &[(&str, &[&str])] = &[
    (
        "argo",
        &[
            "argoproj.io/v1alpha1/analysistemplates",
            "argoproj.io/v1alpha1/applications",
            "argoproj.io/v1alpha1/applicationsets",
            "argoproj.io/v1alpha1/appprojects",
            "argoproj.io/v1alpha1/clusteranalysistemplates",
            "argoproj.io/v1alpha1/cronworkflows",
            "argoproj.io/v1alpha1/rollouts",
            "argoproj.io/v1alpha1/workflowtemplates",
        ],
    ),
    (
        "cert-manager",
        &[
            "cert-manager.io/v1/certificates",
            "cert-manager.io/v1/clusterissuers",
            "cert-manager.io/v1/issuers",
        ],
    ),
    (
        "flux",
        &[
            "helm.toolkit.fluxcd.io/v2/helmreleases",
            "kustomize.toolkit.fluxcd.io/v1/kustomizations",
            "source.toolkit.fluxcd.io/v1/buckets",
            "source.toolkit.fluxcd.io/v1/gitrepositories",
            "source.toolkit.fluxcd.io/v1/helmcharts",
            "source.toolkit.fluxcd.io/v1/helmrepositories",
            "source.toolkit.fluxcd.io/v1/ocirepositories",
        ],
    ),
    (
        "gateway-api",
        &[
            "gateway.networking.k8s.io/v1/gatewayclasses",
            "gateway.networking.k8s.io/v1/gateways",
            "gateway.networking.k8s.io/v1/grpcroutes",
            "gateway.networking.k8s.io/v1/httproutes",
            "gateway.networking.k8s.io/v1beta1/referencegrants",
        ],
    ),
    (
        "istio",
        &[
            "networking.istio.io/v1/destinationrules",
            "networking.istio.io/v1/gateways",
            "networking.istio.io/v1/serviceentries",
            "networking.istio.io/v1/sidecars",
            "networking.istio.io/v1/virtualservices",
            "security.istio.io/v1/authorizationpolicies",
            "security.istio.io/v1/peerauthentications",
            "security.istio.io/v1/requestauthentications",
            "telemetry.istio.io/v1/telemetries",
        ],
    ),
    (
        "karpenter",
        &[
            "karpenter.k8s.aws/v1/ec2nodeclasses",
            "karpenter.sh/v1/nodeclaims",
            "karpenter.sh/v1/nodepools",
        ],
    ),
    (
        "keda",
        &[
            "keda.sh/v1alpha1/clustertriggerauthentications",
            "keda.sh/v1alpha1/scaledjobs",
            "keda.sh/v1alpha1/scaledobjects",
            "keda.sh/v1alpha1/triggerauthentications",
        ],
    ),
    ("vpa", &["autoscaling.k8s.io/v1/verticalpodautoscalers"]),
];

/// Every object: what of its metadata and its top level is in the body.
const COMMON: &[Line] = &[
    ("apiVersion", Drop),
    ("kind", Drop),
    ("status", Only),
    ("metadata", Only),
    ("metadata.labels", Keep),
    ("metadata.annotations", Keep),
    ("metadata.ownerReferences", Keep),
    ("metadata.ownerReferences", List(&[&["uid"]])),
    ("metadata.finalizers", Keep),
    ("metadata.finalizers", SilentUnlessDeleting),
    // Written by machines, or copies of what stands elsewhere.
    (
        "metadata.annotations[\"kubectl.kubernetes.io/last-applied-configuration\"]",
        Drop,
    ),
    ("metadata.annotations[\"deployment.kubernetes.io/*\"]", Drop),
    (
        "metadata.annotations[\"deprecated.daemonset.template.generation\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"autoscaling.alpha.kubernetes.io/*\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"control-plane.alpha.kubernetes.io/leader\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"endpoints.kubernetes.io/last-change-trigger-time\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"node.alpha.kubernetes.io/ttl\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"csi.volume.kubernetes.io/nodeid\"]",
        Drop,
    ),
    ("metadata.annotations[\"argocd.argoproj.io/refresh\"]", Drop),
    (
        "metadata.annotations[\"reconcile.fluxcd.io/requestedAt\"]",
        Drop,
    ),
    // Conditions with their times.
    ("metadata.annotations[\"cattle.io/status\"]", Drop),
    (
        "metadata.annotations[\"pv.kubernetes.io/*\"]",
        SilentWhenSet,
    ),
    (
        "metadata.annotations[\"volume.kubernetes.io/*\"]",
        SilentWhenSet,
    ),
    (
        "metadata.annotations[\"volume.beta.kubernetes.io/*\"]",
        SilentWhenSet,
    ),
    ("**.caBundle", Hide),
];

const BY_NAME: Rule = List(&[&["name"]]);

/// The specification of a pod, in a pod or in a template.
const POD_SPEC: &[Line] = &[
    ("**.containers", BY_NAME),
    ("**.containers", Ordered),
    ("**.initContainers", BY_NAME),
    ("**.initContainers", Ordered),
    ("**.ephemeralContainers", BY_NAME),
    ("**.env", BY_NAME),
    ("**.env", Ordered),
    ("**.env.*.value", Hide),
    // Probes authenticate with them.
    ("**.httpHeaders.*.value", Hide),
    (
        "**.ports",
        List(&[&["name"], &["containerPort", "protocol"]]),
    ),
    ("**.volumeMounts", List(&[&["mountPath"]])),
    ("**.volumeDevices", List(&[&["devicePath"]])),
    ("**.volumes", BY_NAME),
    ("**.imagePullSecrets", BY_NAME),
    ("**.resourceClaims", BY_NAME),
    ("**.resizePolicy", List(&[&["resourceName"]])),
    ("**.hostAliases", List(&[&["ip"]])),
    (
        "**.topologySpreadConstraints",
        List(&[&["topologyKey", "whenUnsatisfiable"]]),
    ),
    ("**.readinessGates", List(&[&["conditionType"]])),
    ("**.items", List(&[&["key"]])),
    ("**.containers.*.image", Risky),
    ("**.containers.*.command", Risky),
    ("**.containers.*.args", Risky),
    ("**.containers.*.resources", Risky),
    ("**.containers.*.livenessProbe", Risky),
    ("**.containers.*.readinessProbe", Risky),
    ("**.containers.*.startupProbe", Risky),
    ("**.containers.*.ports", Risky),
    ("**.containers.*.volumeMounts", Risky),
    ("**.containers.*.securityContext", Risky),
    ("**.initContainers", Risky),
    ("**.env", Risky),
    ("**.envFrom", Risky),
    ("**.volumes", Risky),
    ("**.nodeSelector", Risky),
    ("**.affinity", Risky),
    ("**.tolerations", Risky),
    ("**.serviceAccountName", Risky),
    ("**.imagePullSecrets", Risky),
    ("**.securityContext", Risky),
    ("**.hostNetwork", Risky),
];

const WORKLOAD: &[Line] = &[
    ("spec.replicas", Risky),
    ("spec.replicas", Swings),
    ("spec.selector", Risky),
    ("spec.strategy", Risky),
    ("spec.updateStrategy", Risky),
    ("spec.template.metadata.labels", Risky),
    ("spec.paused", Risky),
    ("spec.suspend", Risky),
];

const STATEFUL_SET: &[Line] = &[
    ("spec.volumeClaimTemplates", List(&[&["metadata.name"]])),
    ("spec.volumeClaimTemplates.*.status", Drop),
    ("spec.serviceName", Risky),
];

/// A pod that a tracked object describes: only what is its own.
const OWNED_POD: &[Line] = &[
    ("metadata.annotations", Drop),
    ("metadata.ownerReferences", Drop),
    ("metadata.finalizers", Drop),
    ("spec", Only),
    ("spec.nodeName", Keep),
    ("spec.resources", Keep),
    ("spec.containers.*.name", Keep),
    // `kubectl set image pod` and an in-place resize show nowhere else.
    ("spec.containers.*.image", Keep),
    ("spec.containers.*.resources", Keep),
    ("spec.containers.*.resizePolicy", Keep),
    ("spec.initContainers.*.name", Keep),
    ("spec.initContainers.*.image", Keep),
    ("spec.initContainers.*.resources", Keep),
    ("spec.initContainers.*.resizePolicy", Keep),
    ("spec.ephemeralContainers", Keep),
];

const POD: &[Line] = &[
    ("spec.nodeName", SilentWhenSet),
    // A tag that resolves to another digest is a change that no specification shows.
    ("status.containerStatuses.*.name", Keep),
    ("status.containerStatuses.*.imageID", Keep),
    ("status.containerStatuses", BY_NAME),
    ("status.containerStatuses.*", SilentUnlessReplaced),
    ("status.initContainerStatuses.*.name", Keep),
    ("status.initContainerStatuses.*.imageID", Keep),
    ("status.initContainerStatuses", BY_NAME),
    ("status.initContainerStatuses.*", SilentUnlessReplaced),
];

const NODE: &[Line] = &[
    // Sums of what the pods of the node request, written whenever one starts or ends.
    (
        "metadata.annotations[\"management.cattle.io/pod-limits\"]",
        Drop,
    ),
    (
        "metadata.annotations[\"management.cattle.io/pod-requests\"]",
        Drop,
    ),
    // Written at each start of GPU feature discovery.
    ("metadata.labels[\"nvidia.com/gfd.timestamp\"]", Drop),
    ("status.nodeInfo", Keep),
    ("status.capacity", Keep),
    ("status.allocatable", Keep),
    ("status.addresses", Keep),
    ("status.addresses", List(&[&["type"], &["type", "address"]])),
    ("spec.taints", List(&[&["key", "effect"]])),
    ("spec.taints.*.timeAdded", Drop),
    // The node lifecycle controller writes them with the conditions of a node, and with a cordon.
    (
        "spec.taints",
        SilentElements(&[
            "node.kubernetes.io/disk-pressure",
            "node.kubernetes.io/memory-pressure",
            "node.kubernetes.io/network-unavailable",
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/pid-pressure",
            "node.kubernetes.io/unreachable",
            "node.kubernetes.io/unschedulable",
        ]),
    ),
    ("spec.podCIDR", SilentWhenSet),
    ("spec.podCIDRs", SilentWhenSet),
    ("spec.taints", Risky),
    ("spec.unschedulable", Risky),
    ("status.allocatable", Risky),
    ("status.nodeInfo", Risky),
];

const NAMESPACE: &[Line] = &[("spec.finalizers", SilentUnlessDeleting)];

const SERVICE: &[Line] = &[
    ("status.loadBalancer", Keep),
    ("spec.ports", List(&[&["name"], &["port", "protocol"]])),
    ("spec.ports", Single),
    ("spec.clusterIP", SilentWhenSet),
    ("spec.clusterIPs", SilentWhenSet),
    // With the type, which makes the row.
    ("spec.ports.*.nodePort", SilentUnlessReplaced),
    ("spec.healthCheckNodePort", SilentUnlessReplaced),
    ("spec.externalTrafficPolicy", SilentUnlessReplaced),
    ("spec.allocateLoadBalancerNodePorts", SilentUnlessReplaced),
    ("spec.selector", Risky),
    ("spec.ports", Risky),
    ("spec.type", Risky),
];

const CONFIG_MAP: &[Line] = &[
    ("data", Hide),
    ("binaryData", Hide),
    // Positions in the log of a database with Patroni; its leader is in other annotations.
    ("metadata.annotations.optime", Drop),
    ("metadata.annotations.renewTime", Drop),
    ("metadata.annotations.slots", Drop),
    ("data", Risky),
    ("binaryData", Risky),
];

const CLAIM: &[Line] = &[
    ("status.phase", Keep),
    // It is bound for the first time soon after its creation.
    ("status.phase", SilentFrom("Pending")),
    ("status.capacity", Keep),
    ("status.capacity", SilentWhenSet),
    // The StatefulSet controller sets and replaces them by the retention policy.
    ("metadata.ownerReferences", Silent),
    ("spec.volumeName", SilentWhenSet),
    ("spec.resources", Risky),
];

const VOLUME: &[Line] = &[
    ("spec.claimRef", SilentWhenSet),
    ("spec.nodeAffinity", Risky),
];

const SERVICE_ACCOUNT: &[Line] = &[("secrets", BY_NAME), ("imagePullSecrets", BY_NAME)];

const AUTOSCALER: &[Line] = &[
    // Whether it is at its limit: the condition ScalingLimited.
    ("status.conditions.*.type", Keep),
    ("status.conditions.*.status", Keep),
    ("status.conditions.*.reason", Keep),
    ("status.conditions", List(&[&["type"]])),
    ("status.conditions", Swings),
    ("spec.minReplicas", Risky),
    ("spec.maxReplicas", Risky),
    ("spec.metrics", Risky),
];

const INGRESS: &[Line] = &[
    // The health of each backend, written by GKE.
    (
        "metadata.annotations[\"ingress.kubernetes.io/backends\"]",
        Drop,
    ),
    ("status.loadBalancer", Keep),
    ("spec.rules", Risky),
    ("spec.tls", Risky),
    ("spec.ingressClassName", Risky),
];

const BINDING: &[Line] = &[
    ("subjects", List(&[&["kind", "namespace", "name"]])),
    ("subjects", Risky),
];

const ROLE: &[Line] = &[("rules", Risky), ("aggregationRule", Risky)];

const WEBHOOKS: &[Line] = &[
    ("webhooks", BY_NAME),
    ("webhooks", Risky),
    ("**.matchConditions", BY_NAME),
];

const POLICY: &[Line] = &[
    ("**.matchConditions", BY_NAME),
    ("**.variables", BY_NAME),
    ("spec.validations", Risky),
    ("spec.mutations", Risky),
    ("spec.failurePolicy", Risky),
    ("spec.validationActions", Risky),
];

const DEFINITION: &[Line] = &[
    ("spec.versions", BY_NAME),
    ("spec.versions", Ordered),
    ("spec.versions.*.schema", Opaque),
    ("**.additionalPrinterColumns", BY_NAME),
    ("spec.versions", Risky),
    ("spec.conversion", Risky),
];

const LIMITS: &[Line] = &[("spec", Risky)];

const SCALED: &[Line] = &[("spec.replicas", Risky), ("spec.replicas", Swings)];

/// An Argo CD Application.
const APPLICATION: &[Line] = &[
    // The request for a synchronization. The application controller removes it when it begins; and makes it by itself after
    // each commit, which shows in what it synchronizes.
    ("operation", SilentIfTrue(&["initiatedBy", "automated"])),
];

static CUSTOM: Rules = Rules::custom(&[COMMON, SCALED]);
static APPLICATIONS: Rules = Rules::custom(&[COMMON, SCALED, APPLICATION]);
static PLAIN: Rules = Rules::new(&[COMMON]);
static PODS: Rules = Rules::new(&[COMMON, POD_SPEC, POD]);
static WORKLOADS: Rules = Rules::new(&[COMMON, POD_SPEC, WORKLOAD]);
static STATEFUL_SETS: Rules = Rules::new(&[COMMON, POD_SPEC, WORKLOAD, STATEFUL_SET]);
static NODES: Rules = Rules::new(&[COMMON, NODE]);
static NAMESPACES: Rules = Rules::new(&[COMMON, NAMESPACE]);
static SERVICES: Rules = Rules::new(&[COMMON, SERVICE]);
static CONFIG_MAPS: Rules = Rules::new(&[COMMON, CONFIG_MAP]);
static CLAIMS: Rules = Rules::new(&[COMMON, CLAIM]);
static VOLUMES: Rules = Rules::new(&[COMMON, VOLUME]);
static SERVICE_ACCOUNTS: Rules = Rules::new(&[COMMON, SERVICE_ACCOUNT]);
static LIMITING: Rules = Rules::new(&[COMMON, LIMITS]);
static AUTOSCALERS: Rules = Rules::new(&[COMMON, AUTOSCALER]);
static INGRESSES: Rules = Rules::new(&[COMMON, INGRESS]);
static ROLES: Rules = Rules::new(&[COMMON, ROLE]);
static BINDINGS: Rules = Rules::new(&[COMMON, BINDING]);
static WEBHOOK_CONFIGURATIONS: Rules = Rules::new(&[COMMON, WEBHOOKS]);
static POLICIES: Rules = Rules::new(&[COMMON, POLICY]);
static DEFINITIONS: Rules = Rules::new(&[COMMON, DEFINITION]);

/// The rules of a pod whose owner is tracked.
pub static OWNED_PODS: Rules = Rules::new(&[COMMON, POD_SPEC, POD, OWNED_POD]);

const fn kind(
    group_version: (&'static str, &'static str),
    (resource, kind): (&'static str, &'static str),
    short_names: &'static [&'static str],
    namespaced: bool,
    rules: &'static Rules,
) -> TrackedKind {
    TrackedKind {
        group: Cow::Borrowed(group_version.0),
        version: Cow::Borrowed(group_version.1),
        resource: Cow::Borrowed(resource),
        kind: Cow::Borrowed(kind),
        short_names,
        namespaced,
        rules,
    }
}

const CORE: (&str, &str) = ("", "v1");
const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const RBAC: (&str, &str) = ("rbac.authorization.k8s.io", "v1");
const ADMISSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");

/// The kinds that are tracked by default.
#[rustfmt::skip]
pub static BUILT_IN: [TrackedKind; 35] = [
    kind(CORE, ("configmaps", "ConfigMap"), &["cm"], true, &CONFIG_MAPS),
    kind(CORE, ("limitranges", "LimitRange"), &["limits"], true, &LIMITING),
    kind(CORE, ("namespaces", "Namespace"), &["ns"], false, &NAMESPACES),
    kind(CORE, ("nodes", "Node"), &["no"], false, &NODES),
    kind(CORE, ("persistentvolumeclaims", "PersistentVolumeClaim"), &["pvc"], true, &CLAIMS),
    kind(CORE, ("persistentvolumes", "PersistentVolume"), &["pv"], false, &VOLUMES),
    kind(CORE, ("pods", "Pod"), &["po"], true, &PODS),
    kind(CORE, ("resourcequotas", "ResourceQuota"), &["quota"], true, &LIMITING),
    kind(CORE, ("serviceaccounts", "ServiceAccount"), &["sa"], true, &SERVICE_ACCOUNTS),
    kind(CORE, ("services", "Service"), &["svc"], true, &SERVICES),
    kind(APPS, ("daemonsets", "DaemonSet"), &["ds"], true, &WORKLOADS),
    kind(APPS, ("deployments", "Deployment"), &["deploy"], true, &WORKLOADS),
    kind(APPS, ("statefulsets", "StatefulSet"), &["sts"], true, &STATEFUL_SETS),
    kind(BATCH, ("cronjobs", "CronJob"), &["cj"], true, &WORKLOADS),
    kind(BATCH, ("jobs", "Job"), &[], true, &WORKLOADS),
    kind(("autoscaling", "v2"), ("horizontalpodautoscalers", "HorizontalPodAutoscaler"), &["hpa"], true, &AUTOSCALERS),
    kind(("policy", "v1"), ("poddisruptionbudgets", "PodDisruptionBudget"), &["pdb"], true, &LIMITING),
    kind(NETWORKING, ("ingressclasses", "IngressClass"), &[], false, &PLAIN),
    kind(NETWORKING, ("ingresses", "Ingress"), &["ing"], true, &INGRESSES),
    kind(NETWORKING, ("networkpolicies", "NetworkPolicy"), &["netpol"], true, &LIMITING),
    kind(RBAC, ("clusterrolebindings", "ClusterRoleBinding"), &[], false, &BINDINGS),
    kind(RBAC, ("clusterroles", "ClusterRole"), &[], false, &ROLES),
    kind(RBAC, ("rolebindings", "RoleBinding"), &[], true, &BINDINGS),
    kind(RBAC, ("roles", "Role"), &[], true, &ROLES),
    kind(ADMISSION, ("mutatingwebhookconfigurations", "MutatingWebhookConfiguration"), &[], false, &WEBHOOK_CONFIGURATIONS),
    kind(ADMISSION, ("validatingadmissionpolicies", "ValidatingAdmissionPolicy"), &[], false, &POLICIES),
    kind(ADMISSION, ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"), &[], false, &POLICIES),
    kind(ADMISSION, ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration"), &[], false, &WEBHOOK_CONFIGURATIONS),
    kind(STORAGE, ("csidrivers", "CSIDriver"), &[], false, &PLAIN),
    kind(STORAGE, ("storageclasses", "StorageClass"), &["sc"], false, &PLAIN),
    kind(("scheduling.k8s.io", "v1"), ("priorityclasses", "PriorityClass"), &["pc"], false, &PLAIN),
    kind(("node.k8s.io", "v1"), ("runtimeclasses", "RuntimeClass"), &[], false, &PLAIN),
    kind(("apiextensions.k8s.io", "v1"), ("customresourcedefinitions", "CustomResourceDefinition"), &["crd", "crds"], false, &DEFINITIONS),
    kind(("apiregistration.k8s.io", "v1"), ("apiservices", "APIService"), &[], false, &PLAIN),
    // Alpha and beta in 1.32 to 1.35; where it is not served it is only listed under `tracking`.
    kind(("admissionregistration.k8s.io", "v1beta1"), ("mutatingadmissionpolicies", "MutatingAdmissionPolicy"), &[], false, &POLICIES),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn find(word: &str) -> Result<&'static str, BadKind> {
        TrackedKind::find(BUILT_IN.iter(), word).map(|kind| &*kind.kind)
    }

    #[test]
    fn kind_is_found_by_each_of_its_names() {
        for word in [
            "deploy",
            "deployment",
            "deployments",
            "Deployment",
            "deployments.apps",
            "deploy.apps",
            "deployments.v1.apps",
        ] {
            assert_eq!(find(word), Ok("Deployment"), "{word}");
        }
        assert_eq!(find("secrets"), Err(BadKind::Unknown("secrets".to_owned())));
        assert!(find("deployments.batch").is_err());
        assert!(find("deployments.v2.apps").is_err());
    }

    #[test]
    fn ambiguous_kind_lists_its_groups() {
        let id: ResourceId = "serving.knative.dev/v1/services".parse().unwrap();
        let knative = TrackedKind::custom(&id, "Service", true);
        let kinds: Vec<&TrackedKind> = BUILT_IN.iter().chain([&knative]).collect();
        let error = TrackedKind::find(kinds.iter().copied(), "service").unwrap_err();
        assert_eq!(
            error.to_string(),
            "kind \"service\" is ambiguous: services., services.serving.knative.dev"
        );
        for (word, group) in [
            ("services.", ""),
            ("svc", ""),
            ("services.serving.knative.dev", "serving.knative.dev"),
        ] {
            let found = TrackedKind::find(kinds.iter().copied(), word).unwrap();
            assert_eq!(found.group, group, "{word}");
        }
    }

    #[test]
    fn secrets_wildcards_and_subresources_are_refused() {
        let of = |text: &str| text.parse::<ResourceId>().unwrap_err();
        for text in [
            "v1/secrets",
            "x.io/v1/secrets",
            "v1/Secrets",
            "v1/secrets/status",
            "v1/secret",
            "/v1/secrets",
            " v1/SECRETS ",
            "core/v1/secrets",
            "v1/namespaces/shop/secrets",
        ] {
            assert_eq!(of(text), BadResource::Secrets(text.to_owned()));
        }
        for text in ["*", "v1/*", "*/v1/pods", "apps/*/deployments"] {
            assert_eq!(of(text), BadResource::Wildcard(text.to_owned()));
        }
        for text in ["v1/pods/log", "apps/v1/deployments/scale"] {
            assert_eq!(of(text), BadResource::Subresource(text.to_owned()));
        }
        for text in [
            "",
            "pods",
            "apps/deployments",
            "v1/",
            "/v1/pods",
            "v1/po ds",
            "a/v1/x.y",
            "../v1/pods",
            "a..b/v1/pods",
            "v1/secret%73",
        ] {
            assert_eq!(of(text), BadResource::Form(text.to_owned()));
        }
        // The group of the Vault Secrets Operator.
        let text = "secrets.hashicorp.com/v1beta1/vaultauths";
        assert_eq!(text.parse::<ResourceId>().unwrap().to_string(), text);
    }

    #[test]
    fn default_kinds_have_their_plural_names() {
        for kind in &BUILT_IN {
            assert_eq!(
                built_in(&kind.resource).unwrap().full_name(),
                kind.full_name()
            );
        }
        let of = |word: &str| built_in(word).unwrap_err();
        for word in ["secrets", "Secret", "secrets.", "v1/secrets", "SECRETS"] {
            assert_eq!(of(word), BadKindName::Secrets(word.to_owned()));
        }
        assert_eq!(of("*"), BadKindName::Wildcard("*".to_owned()));
        assert_eq!(
            of("Deployment").to_string(),
            "kind \"Deployment\" is not a plural name; write deployments"
        );
        assert_eq!(of("leases"), BadKindName::Unknown("leases".to_owned()));
    }

    #[test]
    fn presets_are_resources() {
        for (name, resources) in PRESETS {
            for text in *resources {
                let id: ResourceId = text.parse().unwrap();
                assert_eq!(id.to_string(), **text, "{name}");
            }
        }
    }

    #[test]
    fn built_in_kinds_are_distinct() {
        let mut ids: Vec<String> = BUILT_IN.iter().map(TrackedKind::full_name).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), BUILT_IN.len());
        assert!(BUILT_IN.iter().all(|kind| kind.resource != "secrets"));
    }
}
