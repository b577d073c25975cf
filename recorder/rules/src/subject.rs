//! What findings, timers and charges are about, and the keys of objects: plain data.

use std::borrow::Cow;
use std::sync::Arc;

use kube9_ingest::objects::Meta;
use kube9_ingest::sanitize::clean_name;
use kube9_model::ObjectRef;
use kube9_model::label::{Kind, Label};
use serde::{Deserialize, Serialize};

/// An object's kind, namespace and name, in memory once: shared by all maps and indexes. They are clean, since facts and
/// findings are stored under them.
pub type ObjectKey = Arc<ObjectRef>;

/// What a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectKind {
    /// A Pod.
    Pod,
    /// A Node.
    Node,
    /// A Deployment.
    Deployment,
    /// A Service.
    Service,
    /// A ConfigMap.
    ConfigMap,
    /// All pods of one controller, of whatever kind; of a pod without one, that pod.
    Owner,
    /// An image that some pod cannot pull.
    Image,
    /// A namespace as a whole.
    Namespace,
    /// The cluster as a whole.
    Cluster,
    /// kube9 itself.
    Recorder,
    /// A watch of the recorder's own; its name is the kind, with `/namespace` where it is of one.
    Watch,
}

impl SubjectKind {
    const ALL: [Self; 11] = [
        Self::Pod,
        Self::Node,
        Self::Deployment,
        Self::Service,
        Self::ConfigMap,
        Self::Owner,
        Self::Image,
        Self::Namespace,
        Self::Cluster,
        Self::Recorder,
        Self::Watch,
    ];

    /// The word under which findings are stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::ConfigMap => "config_map",
            Self::Owner => "owner",
            Self::Image => "image",
            Self::Namespace => "namespace",
            Self::Cluster => "cluster",
            Self::Recorder => "recorder",
            Self::Watch => "watch",
        }
    }

    /// The kind that has to be seen for one of these to be gone; `None`: it is always there.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Node => Some(Kind::Node),
            Self::Deployment => Some(Kind::Deployment),
            Self::Service => Some(Kind::Service),
            Self::ConfigMap => Some(Kind::ConfigMap),
            Self::Pod | Self::Owner | Self::Image => Some(Kind::Pod),
            Self::Namespace | Self::Cluster | Self::Recorder | Self::Watch => None,
        }
    }
}

/// One thing that rules are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Subject {
    /// What.
    pub kind: SubjectKind,
    /// Which: the object, or a name in the form of one.
    pub object: ObjectKey,
}

impl Subject {
    /// One thing.
    pub const fn new(kind: SubjectKind, object: ObjectKey) -> Self {
        Self { kind, object }
    }

    /// Something that is in no namespace, by its name.
    pub fn named(kind: SubjectKind, name: &str) -> Self {
        Self::new(kind, key(kind.as_str(), "", name))
    }

    /// The cluster as a whole.
    pub fn cluster() -> Self {
        Self::named(SubjectKind::Cluster, "cluster")
    }

    /// kube9 itself.
    pub fn recorder() -> Self {
        Self::named(SubjectKind::Recorder, "kube9")
    }

    /// A namespace as a whole; it is in itself, so that a search in it finds what is wrong with the whole of it.
    pub fn of_namespace(name: &str) -> Self {
        Self::new(SubjectKind::Namespace, key("Namespace", name, name))
    }

    /// The namespace that it is in or is; empty where it is in none, or in more than one.
    pub fn namespace(&self) -> &str {
        &self.object.namespace
    }

    /// By what it is told from others of its kind: `namespace/name` of an object, `Kind/namespace/name` of a controller,
    /// else its name.
    pub fn text(&self) -> Cow<'_, str> {
        match self.kind {
            SubjectKind::Owner => {
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

    /// The subject of that kind and text; the reverse of [`Subject::text`].
    fn parse(kind: SubjectKind, text: &str) -> Self {
        match kind {
            SubjectKind::Owner => {
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

/// A key of texts that are clean.
pub fn key(kind: &str, namespace: &str, name: &str) -> ObjectKey {
    Arc::new(ObjectRef {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// The key of an object, as its metadata has it.
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

/// `namespace/name`, or the name of what is in none.
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

/// The identity of an object, for the rows.
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
    fn subject_is_the_same_after_it_was_stored() {
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
