//! The subjects of findings, and the keys of objects. Plain data.

use std::borrow::Cow;
use std::sync::Arc;

use kube9_ingest::objects::Meta;
use kube9_ingest::sanitize::clean_name;
use kube9_model::ObjectRef;
use kube9_model::label::{Kind, Label};
use serde::{Deserialize, Serialize};

/// An object's kind, namespace and name, shared by all maps and indexes. Sanitized, because snapshots and findings are
/// stored under it.
pub type ObjectKey = Arc<ObjectRef>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    Pod,
    Node,
    Deployment,
    Service,
    ConfigMap,
    /// All pods of one controller of any kind, or a pod without a controller.
    Owner,
    /// The fields of a tracked object of any kind; that of a custom resource has its API group.
    Fields,
    /// An image that some pod cannot pull.
    Image,
    Namespace,
    Cluster,
    Recorder,
    /// A watch of the recorder; its name is `Kind` or `Kind/namespace`.
    Watch,
}

impl SubjectKind {
    const ALL: [Self; 12] = [
        Self::Pod,
        Self::Node,
        Self::Deployment,
        Self::Service,
        Self::ConfigMap,
        Self::Owner,
        Self::Fields,
        Self::Image,
        Self::Namespace,
        Self::Cluster,
        Self::Recorder,
        Self::Watch,
    ];

    /// The value that is stored with findings.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::ConfigMap => "config_map",
            Self::Owner => "owner",
            Self::Fields => "fields",
            Self::Image => "image",
            Self::Namespace => "namespace",
            Self::Cluster => "cluster",
            Self::Recorder => "recorder",
            Self::Watch => "watch",
        }
    }

    /// The kind that must be watched to know that a subject was deleted; `None` for subjects that always exist.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Node => Some(Kind::Node),
            Self::Deployment => Some(Kind::Deployment),
            Self::Service => Some(Kind::Service),
            Self::ConfigMap => Some(Kind::ConfigMap),
            Self::Pod | Self::Owner | Self::Image => Some(Kind::Pod),
            Self::Fields | Self::Namespace | Self::Cluster | Self::Recorder | Self::Watch => None,
        }
    }
}

/// What a rule evaluates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Subject {
    pub kind: SubjectKind,
    /// The object, or a name in the form of one.
    pub object: ObjectKey,
}

impl Subject {
    pub const fn new(kind: SubjectKind, object: ObjectKey) -> Self {
        Self { kind, object }
    }

    /// A subject without a namespace.
    pub fn named(kind: SubjectKind, name: &str) -> Self {
        Self::new(kind, key(kind.as_str(), "", name))
    }

    pub fn cluster() -> Self {
        Self::named(SubjectKind::Cluster, "cluster")
    }

    pub fn recorder() -> Self {
        Self::named(SubjectKind::Recorder, "kube9")
    }

    /// A namespace. Its own namespace is itself, so that a query for the namespace includes findings about it.
    pub fn of_namespace(name: &str) -> Self {
        Self::new(SubjectKind::Namespace, key("Namespace", name, name))
    }

    /// Its namespace; empty for subjects in none or in several.
    pub fn namespace(&self) -> &str {
        &self.object.namespace
    }

    /// Its identity within its kind: `namespace/name` of an object, `Kind/namespace/name` of a controller, otherwise its
    /// name.
    pub fn text(&self) -> Cow<'_, str> {
        match self.kind {
            SubjectKind::Owner | SubjectKind::Fields => {
                let ObjectRef {
                    kind,
                    namespace,
                    name,
                } = &*self.object;
                format!("{kind}/{namespace}/{name}").into()
            }
            SubjectKind::Namespace => (&*self.object.name).into(),
            _ => path(&self.object),
        }
    }

    /// The reverse of [`Subject::text`].
    fn parse(kind: SubjectKind, text: &str) -> Self {
        match kind {
            SubjectKind::Owner | SubjectKind::Fields => {
                let (owner, rest) = text.split_once('/').unwrap_or((text, ""));
                let (namespace, name) = split(rest);
                Self::new(kind, key(owner, namespace, name))
            }
            SubjectKind::Namespace => Self::of_namespace(text),
            SubjectKind::Pod
            | SubjectKind::Node
            | SubjectKind::Deployment
            | SubjectKind::Service
            | SubjectKind::ConfigMap => {
                let object = kind.kind().map_or("", |kind| kind.name());
                let (namespace, name) = split(text);
                Self::new(kind, key(object, namespace, name))
            }
            SubjectKind::Image
            | SubjectKind::Cluster
            | SubjectKind::Recorder
            | SubjectKind::Watch => Self::named(kind, text),
        }
    }
}

/// A subject as it is stored with its finding.
#[derive(Serialize, Deserialize)]
struct Stored {
    about: String,
    subject: String,
}

impl From<Subject> for Stored {
    fn from(subject: Subject) -> Self {
        Self {
            about: subject.kind.as_str().to_owned(),
            subject: subject.text().into_owned(),
        }
    }
}

impl TryFrom<Stored> for Subject {
    type Error = &'static str;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let mut kinds = SubjectKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.as_str() == stored.about);
        let kind = kind.ok_or("unknown kind of subject")?;
        Ok(Self::parse(kind, &stored.subject))
    }
}

/// A key of sanitized texts.
pub fn key(kind: &str, namespace: &str, name: &str) -> ObjectKey {
    Arc::new(ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// The key of an object, sanitized.
pub fn clean_key(kind: &str, namespace: &str, name: &str) -> ObjectKey {
    let text = match namespace {
        "" => Cow::Borrowed(name),
        _ => Cow::Owned(format!("{namespace}/{name}")),
    };
    match clean_name(&text) {
        Cow::Borrowed(_) => key(kind, namespace, name),
        Cow::Owned(clean) => {
            let (namespace, name) = split(&clean);
            key(kind, namespace, name)
        }
    }
}

/// `namespace/name`, or only the name of a cluster-scoped object.
pub fn path(object: &ObjectRef) -> Cow<'_, str> {
    match &*object.namespace {
        "" => Cow::Borrowed(&*object.name),
        namespace => Cow::Owned(format!("{namespace}/{}", object.name)),
    }
}

/// Namespace and name from a path.
pub fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or(("", path))
}

pub fn object_ref(kind: &str, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind: kind.to_owned(),
        namespace: meta.namespace.to_string(),
        name: meta.name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_survives_serialization() {
        let object = |kind, object| Subject::new(kind, object);
        for subject in [
            object(SubjectKind::Pod, key("Pod", "shop", "web-1")),
            object(SubjectKind::Node, key("Node", "", "worker-1")),
            object(SubjectKind::Deployment, key("Deployment", "shop", "web")),
            object(SubjectKind::Service, key("Service", "shop", "web")),
            object(SubjectKind::ConfigMap, key("ConfigMap", "shop", "web")),
            object(SubjectKind::Owner, key("Deployment", "shop", "web")),
            object(SubjectKind::Owner, key("Node", "", "worker-1")),
            Subject::named(SubjectKind::Image, "registry:5000/team/web:1"),
            Subject::of_namespace("shop"),
            Subject::cluster(),
            Subject::recorder(),
            Subject::named(SubjectKind::Watch, "Pod/shop"),
        ] {
            let stored = serde_json::to_string(&subject).unwrap();
            let read: Subject = serde_json::from_str(&stored).unwrap();
            assert_eq!(read, subject, "{stored}");
        }
        let unknown = r#"{"about":"else","subject":"x"}"#;
        assert!(serde_json::from_str::<Subject>(unknown).is_err());
    }
}
