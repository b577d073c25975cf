//! A subject that exists, and its evaluation by a rule.

use std::borrow::Cow;

use kube9_model::ObjectRef;
use kube9_model::label::Label;

use super::rules::rule::{Check, Group, Rule, RuleContext};
use super::rules::symptoms::RuleOutput;
use super::subject::{Subject, SubjectKind, object_ref};
use super::world::World;

/// A subject that exists.
pub(super) struct Target<'a> {
    subject: &'a Subject,
    /// The pods of a controller, or those that wait for an image; found once for all rules.
    pods: Option<Group<'a>>,
    /// uid of the object, or the text of a subject without one.
    pub(super) identity: Cow<'a, str>,
    /// Empty for a subject without one.
    pub(super) namespace: &'a str,
    /// The namespace to which findings are charged: its own, or that of one of its pods.
    pub(super) bearer: &'a str,
    pub(super) object: Option<ObjectRef>,
    ignore: &'a [Box<str>],
}

impl<'a> Target<'a> {
    /// `None` if the subject does not exist.
    pub(super) fn find(world: &'a World, subject: &'a Subject) -> Option<Self> {
        let key = &subject.object;
        Some(match subject.kind {
            SubjectKind::Pod
            | SubjectKind::Node
            | SubjectKind::Deployment
            | SubjectKind::Service
            | SubjectKind::ConfigMap => {
                let kind = subject.kind.kind()?;
                let meta = world.meta(kind, key)?;
                Self {
                    identity: Cow::Borrowed(&meta.uid),
                    namespace: &meta.namespace,
                    object: Some(object_ref(kind.name(), meta)),
                    ignore: &meta.ignore,
                    ..Self::without_uid(subject)
                }
            }
            SubjectKind::Owner => {
                let pods = Group::of(&key.name, world.pods_of(key))?;
                let meta = &pods.newest().pod.meta;
                Self {
                    ignore: &meta.ignore,
                    object: Some(ObjectRef::clone(key)),
                    // Empty for a cluster-scoped controller.
                    namespace: if key.namespace.is_empty() {
                        ""
                    } else {
                        &meta.namespace
                    },
                    pods: Some(pods),
                    ..Self::without_uid(subject)
                }
            }
            SubjectKind::Fields => {
                world.fields.of(key)?;
                Self {
                    object: Some(ObjectRef::clone(key)),
                    namespace: &key.namespace,
                    ..Self::without_uid(subject)
                }
            }
            SubjectKind::Image => {
                let pods = Group::of(&key.name, world.pods_failing_to_pull(&key.name))?;
                Self {
                    bearer: &pods.pods[0].owner.namespace,
                    pods: Some(pods),
                    ..Self::without_uid(subject)
                }
            }
            SubjectKind::Namespace => Self {
                object: Some(ObjectRef::clone(key)),
                namespace: &key.namespace,
                ..Self::without_uid(subject)
            },
            SubjectKind::Cluster => Self::without_uid(subject),
            SubjectKind::Recorder => Self {
                object: world.self_status.pod.clone(),
                ..Self::without_uid(subject)
            },
            SubjectKind::Watch => return None,
        })
    }

    fn without_uid(subject: &'a Subject) -> Self {
        Self {
            subject,
            pods: None,
            identity: subject.text(),
            namespace: "",
            bearer: subject.namespace(),
            object: None,
            ignore: &[],
        }
    }

    /// Whether the object opts out of a rule.
    pub(super) fn ignores(&self, rule: &Rule) -> bool {
        self.ignore.iter().any(|word| rule.is_named(word))
    }

    /// Runs the rule, which must be one about this kind of subject.
    pub(super) fn check(&self, rule: &Rule, context: &RuleContext<'_>, output: &mut RuleOutput) {
        fn there<T>(found: Option<&T>, check: impl FnOnce(&T)) {
            if let Some(found) = found {
                check(found);
            }
        }
        let (world, key) = (context.world, &self.subject.object);
        match rule.check {
            Check::Pod(check) => there(world.pods.get(key), |it| check(context, it, output)),
            Check::Node(check) => there(world.nodes.get(key), |it| check(context, it, output)),
            Check::Deployment(check) => {
                there(world.deployments.get(key), |it| check(context, it, output));
            }
            Check::Service(check) => {
                there(world.services.get(key), |it| check(context, it, output))
            }
            Check::ConfigMap(check) => {
                there(world.config_maps.get(key), |it| check(context, it, output));
            }
            Check::Owner(check) | Check::Image(check) => {
                there(self.pods.as_ref(), |it| check(context, it, output));
            }
            Check::Fields(check) => {
                there(world.fields.of(key), |it| check(context, key, it, output))
            }
            Check::Namespace(check) => check(context, &key.name, output),
            Check::Cluster(check) => check(context, output),
            Check::Recorder(check) => check(context, &world.self_status, output),
        }
    }
}
