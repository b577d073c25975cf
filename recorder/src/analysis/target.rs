//! A subject, found in the world, and the rule that looks at it.

use kube9_shared::model::ObjectRef;

use super::own::Own;
use super::rules::rule::{Check, Context, Group, Rule};
use super::rules::signs::Signs;
use super::subject::{About, Subject, object_ref, owner_ref};
use super::world::{NodeEntry, PodEntry, World};
use crate::metrics::{Kind, Label};
use crate::source::objects::{ConfigMap, Deployment, Meta, Service};

/// A subject that is there.
pub(super) struct Target<'a> {
    what: What<'a>,
    /// uid of the object; its name where it has none.
    pub(super) identity: &'a str,
    /// Empty where it has none.
    pub(super) namespace: &'a str,
    /// The object, for the rows.
    pub(super) object: Option<ObjectRef>,
    ignore: &'a [Box<str>],
}

/// What it is: found once, though many rules look at it.
enum What<'a> {
    Pod(&'a PodEntry),
    Node(&'a NodeEntry),
    Deployment(&'a Deployment),
    Service(&'a Service),
    ConfigMap(&'a ConfigMap),
    /// Of a controller, or those that wait for an image.
    Pods(Group<'a>),
    Namespace(&'a str),
    Cluster,
    Recorder(&'a Own),
}

impl<'a> Target<'a> {
    /// The subject, if it is there.
    pub(super) fn find(world: &'a World, subject: &'a Subject) -> Option<Self> {
        let name = &*subject.name;
        match subject.about {
            About::Pod => {
                let entry = world.pods.get(name)?;
                Some(Self::of(What::Pod(entry), Kind::Pod, &entry.pod.meta))
            }
            About::Node => {
                let entry = world.nodes.get(name)?;
                Some(Self::of(What::Node(entry), Kind::Node, &entry.node.meta))
            }
            About::Deployment => {
                let one = world.deployments.get(name)?;
                Some(Self::of(What::Deployment(one), Kind::Deployment, &one.meta))
            }
            About::Service => {
                let one = world.services.get(name)?;
                Some(Self::of(What::Service(one), Kind::Service, &one.meta))
            }
            About::ConfigMap => {
                let one = world.config_maps.get(name)?;
                Some(Self::of(What::ConfigMap(one), Kind::ConfigMap, &one.meta))
            }
            About::Owner => {
                let group = Group::of(name, world.pods_of(name))?;
                let meta = &group.newest().pod.meta;
                let owner = owner_ref(name);
                // Of a controller's namespace where it is in one.
                let namespace = if owner.namespace.is_empty() {
                    ""
                } else {
                    &*meta.namespace
                };
                Some(Self {
                    ignore: &meta.ignore,
                    object: Some(owner),
                    namespace,
                    ..Self::without_uid(What::Pods(group), name)
                })
            }
            About::Image => {
                let group = Group::of(name, world.pods_without(name))?;
                Some(Self::without_uid(What::Pods(group), name))
            }
            About::Namespace => {
                // Its own namespace too, so that a search in the namespace finds what is wrong with the whole of it.
                let object = ObjectRef {
                    kind: "Namespace".to_owned(),
                    namespace: name.to_owned(),
                    name: name.to_owned(),
                };
                Some(Self {
                    object: Some(object),
                    namespace: name,
                    ..Self::without_uid(What::Namespace(name), name)
                })
            }
            About::Cluster => Some(Self::without_uid(What::Cluster, name)),
            About::Recorder => Some(Self {
                object: world.own.pod.clone(),
                ..Self::without_uid(What::Recorder(&world.own), name)
            }),
            About::Watch => None,
        }
    }

    fn of(what: What<'a>, kind: Kind, meta: &'a Meta) -> Self {
        Self {
            what,
            identity: &meta.uid,
            namespace: &meta.namespace,
            object: Some(object_ref(kind.name(), meta)),
            ignore: &meta.ignore,
        }
    }

    fn without_uid(what: What<'a>, name: &'a str) -> Self {
        Self {
            what,
            identity: name,
            namespace: "",
            object: None,
            ignore: &[],
        }
    }

    /// Whether the object opts out of a rule.
    pub(super) fn ignores(&self, rule: &Rule) -> bool {
        self.ignore.iter().any(|word| rule.is_named(word))
    }

    /// Has the rule look at it.
    pub(super) fn check(&self, rule: &Rule, context: &Context<'_>, signs: &mut Signs) {
        match (rule.check, &self.what) {
            (Check::Pod(check), What::Pod(entry)) => check(context, entry, signs),
            (Check::Node(check), What::Node(entry)) => check(context, entry, signs),
            (Check::Deployment(check), What::Deployment(one)) => check(context, one, signs),
            (Check::Service(check), What::Service(one)) => check(context, one, signs),
            (Check::ConfigMap(check), What::ConfigMap(one)) => check(context, one, signs),
            (Check::Owner(check) | Check::Image(check), What::Pods(group)) => {
                check(context, group, signs);
            }
            (Check::Namespace(check), What::Namespace(name)) => check(context, name, signs),
            (Check::Cluster(check), What::Cluster) => check(context, signs),
            (Check::Recorder(check), What::Recorder(own)) => check(context, own, signs),
            // The caller looks with the rules about what the subject is.
            _ => {}
        }
    }
}
