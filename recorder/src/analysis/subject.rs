//! What rules can be about, and the names by which it is found.

use std::sync::Arc;

use kube9_shared::model::ObjectRef;

use crate::metrics::Kind;
use crate::pipeline::sanitize::clean_name;
use crate::source::objects::Meta;

/// `namespace/name`, or `name` for Nodes; shared by the maps and indexes.
pub type Name = Arc<str>;

/// What a rule can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
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
    /// All pods of one controller; its name is `Kind/namespace/name`.
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

impl About {
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// What.
    pub about: About,
    /// Which.
    pub name: Name,
}

impl Subject {
    /// The cluster as a whole.
    pub fn cluster() -> Self {
        Self {
            about: About::Cluster,
            name: Name::from("cluster"),
        }
    }

    /// kube9 itself.
    pub fn recorder() -> Self {
        Self {
            about: About::Recorder,
            name: Name::from("kube9"),
        }
    }

    /// A namespace as a whole.
    pub fn namespace(name: &str) -> Self {
        Self {
            about: About::Namespace,
            name: Name::from(name),
        }
    }
}

impl Subject {
    /// The namespace that it is in or is; empty where it is in none, or in more than one.
    pub fn place(&self) -> &str {
        match self.about {
            About::Pod | About::Deployment | About::Service | About::ConfigMap => {
                split(&self.name).0
            }
            About::Owner => self.name.split('/').nth(1).unwrap_or_default(),
            About::Namespace => &self.name,
            About::Node | About::Image | About::Cluster | About::Recorder | About::Watch => "",
        }
    }
}

/// Who an object is.
pub fn object_ref(kind: &str, meta: &Meta) -> ObjectRef {
    ObjectRef {
        kind: kind.to_owned(),
        namespace: meta.namespace.to_string(),
        name: meta.name.to_string(),
    }
}

/// Name of an object in its map, under which its facts are stored.
pub fn name_of(meta: &Meta) -> Name {
    if meta.namespace.is_empty() {
        Name::from(&*clean_name(&meta.name))
    } else {
        Name::from(&*clean_name(&format!("{}/{}", meta.namespace, meta.name)))
    }
}

/// An object's `namespace` and `name` from its name in a map.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// The name of a controller's group of pods.
pub fn owner_name(owner: &ObjectRef) -> Name {
    format!("{}/{}/{}", owner.kind, owner.namespace, owner.name).into()
}

/// The controller that a group's name stands for.
pub fn owner_ref(name: &str) -> ObjectRef {
    let mut parts = name.splitn(3, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    ObjectRef {
        kind: next(),
        namespace: next(),
        name: next(),
    }
}
