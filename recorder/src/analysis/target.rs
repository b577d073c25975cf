//! A subject, found in the world, and the rule that looks at it.

use kube9_shared::model::ObjectRef;

use super::changes;
use super::rules::{Check, Context, Group, Rule, Signs};
use super::world::{About, Subject, World, owner_ref};
use crate::metrics::{Kind, Label};
use crate::source::objects::Meta;

/// A subject that is there.
pub(super) struct Target<'a> {
    world: &'a World,
    subject: &'a Subject,
    /// uid of the object; its name where it has none.
    pub(super) identity: String,
    /// Empty where it has none.
    pub(super) namespace: String,
    /// The object, for the rows.
    pub(super) object: Option<ObjectRef>,
    ignore: Vec<Box<str>>,
}

impl<'a> Target<'a> {
    /// The subject, if it is there.
    pub(super) fn find(world: &'a World, subject: &'a Subject) -> Option<Self> {
        let name = &*subject.name;
        let of = |kind: Kind, meta: &Meta| Self {
            world,
            subject,
            identity: meta.uid.to_string(),
            namespace: meta.namespace.to_string(),
            object: Some(changes::subject(kind.name(), meta)),
            ignore: meta.ignore.clone(),
        };
        let without_uid = |namespace: &str, object: Option<ObjectRef>, ignore| Self {
            world,
            subject,
            identity: name.to_owned(),
            namespace: namespace.to_owned(),
            object,
            ignore,
        };
        match subject.about {
            About::Pod => {
                let pod = world.pods.get(name);
                pod.map(|entry| of(Kind::Pod, &entry.pod.meta))
            }
            About::Node => {
                let node = world.nodes.get(name);
                node.map(|entry| of(Kind::Node, &entry.node.meta))
            }
            About::Deployment => {
                let one = world.deployments.get(name);
                one.map(|one| of(Kind::Deployment, &one.meta))
            }
            About::Service => {
                let one = world.services.get(name);
                one.map(|one| of(Kind::Service, &one.meta))
            }
            About::ConfigMap => {
                let one = world.config_maps.get(name);
                one.map(|one| of(Kind::ConfigMap, &one.meta))
            }
            About::Owner => {
                let pods: Vec<_> = world.pods_of(name).collect();
                if pods.is_empty() {
                    return None;
                }
                let ignore = Group { name, pods }.newest().pod.meta.ignore.clone();
                let owner = owner_ref(name);
                let namespace = owner.namespace.clone();
                Some(without_uid(&namespace, Some(owner), ignore))
            }
            About::Image => {
                world.pods_without(name).next()?;
                Some(without_uid("", None, Vec::new()))
            }
            About::Namespace => {
                // Its own namespace too, so that a search in the namespace finds what is wrong with the whole of it.
                let object = ObjectRef {
                    kind: "Namespace".to_owned(),
                    namespace: name.to_owned(),
                    name: name.to_owned(),
                };
                Some(without_uid(name, Some(object), Vec::new()))
            }
            About::Cluster => Some(without_uid("", None, Vec::new())),
            About::Recorder => Some(without_uid("", world.own.pod.clone(), Vec::new())),
            About::Watch => None,
        }
    }

    /// Whether the object opts out of a rule.
    pub(super) fn ignores(&self, rule: &Rule) -> bool {
        self.ignore.iter().any(|word| rule.is_named(word))
    }

    /// Has the rule look at it.
    pub(super) fn check(&self, rule: &Rule, context: &Context<'_>, signs: &mut Signs) {
        let (world, name) = (self.world, &*self.subject.name);
        match rule.check {
            Check::Pod(check) => {
                if let Some(entry) = world.pods.get(name) {
                    check(context, entry, signs);
                }
            }
            Check::Node(check) => {
                if let Some(entry) = world.nodes.get(name) {
                    check(context, entry, signs);
                }
            }
            Check::Deployment(check) => {
                if let Some(one) = world.deployments.get(name) {
                    check(context, one, signs);
                }
            }
            Check::Service(check) => {
                if let Some(one) = world.services.get(name) {
                    check(context, one, signs);
                }
            }
            Check::ConfigMap(check) => {
                if let Some(one) = world.config_maps.get(name) {
                    check(context, one, signs);
                }
            }
            Check::Owner(check) => {
                let pods = world.pods_of(name).collect();
                check(context, &Group { name, pods }, signs);
            }
            Check::Image(check) => {
                let pods = world.pods_without(name).collect();
                check(context, &Group { name, pods }, signs);
            }
            Check::Namespace(check) => check(context, name, signs),
            Check::Cluster(check) => check(context, signs),
            Check::Recorder(check) => check(context, &world.own, signs),
        }
    }
}
