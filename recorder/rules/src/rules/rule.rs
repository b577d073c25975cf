//! The definition of a rule, and its input.

use std::collections::BTreeMap;

use kube9_ingest::objects::{ConfigMap, Deployment, Service};
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;
use kube9_model::{EventType, ObjectRef};

use super::symptoms::RuleOutput;
use crate::config::ThresholdConfig;
use crate::self_status::SelfStatus;
use crate::subject::SubjectKind;
use crate::world::{FieldHistory, NodeEntry, PodEntry, World};

#[derive(Debug)]
pub struct Rule {
    /// The reason of its rows, the label of its metric, and its name in settings and annotations.
    pub name: &'static str,
    pub event_type: EventType,
    pub doc: RuleDoc,
    /// The kinds that it reads. It runs only while all of them are watched. Empty for rules about kube9 itself, and for those
    /// that read the change history.
    pub reads: &'static [Kind],
    pub check: Check,
}

/// What `docs/rules.md` says about a rule. Each field but `summary` and `notes` is also a column of its table.
///
/// A threshold stands in backticks; the page adds its default.
#[derive(Debug)]
pub struct RuleDoc {
    /// What the rule finds: a sentence without its full stop.
    pub summary: &'static str,
    /// Severity, and when it is another one.
    pub severity: &'static str,
    /// Completes "Opens when".
    pub opens: &'static str,
    /// How long the trouble must last before the finding opens; empty: it opens immediately.
    pub opens_after: &'static str,
    /// Completes "Closes when".
    pub closes: &'static str,
    /// What to do: sentences.
    pub action: &'static str,
    /// What else a reader needs to know: sentences, or empty.
    pub notes: &'static str,
}

impl Rule {
    /// Whether a word of the config or of a label means it.
    pub fn is_named(&self, word: &str) -> bool {
        word.eq_ignore_ascii_case(self.name)
            || word.eq_ignore_ascii_case(self.event_type.as_str())
            || word.eq_ignore_ascii_case("all")
    }
}

/// The function of a rule, by the kind of subject that it evaluates.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    Pod(fn(&RuleContext<'_>, &PodEntry, &mut RuleOutput)),
    Node(fn(&RuleContext<'_>, &NodeEntry, &mut RuleOutput)),
    Deployment(fn(&RuleContext<'_>, &Deployment, &mut RuleOutput)),
    Service(fn(&RuleContext<'_>, &Service, &mut RuleOutput)),
    ConfigMap(fn(&RuleContext<'_>, &ConfigMap, &mut RuleOutput)),
    /// The fields of a tracked object that were written lately, by path.
    Fields(fn(&RuleContext<'_>, &ObjectRef, &BTreeMap<Box<str>, FieldHistory>, &mut RuleOutput)),
    /// The pods of a controller, at least one.
    Owner(fn(&RuleContext<'_>, &Group<'_>, &mut RuleOutput)),
    /// The pods that wait for an image, at least one.
    Image(fn(&RuleContext<'_>, &Group<'_>, &mut RuleOutput)),
    Namespace(fn(&RuleContext<'_>, &str, &mut RuleOutput)),
    Cluster(fn(&RuleContext<'_>, &mut RuleOutput)),
    Recorder(fn(&RuleContext<'_>, &SelfStatus, &mut RuleOutput)),
}

impl Check {
    pub const fn kind(&self) -> SubjectKind {
        match self {
            Self::Pod(_) => SubjectKind::Pod,
            Self::Node(_) => SubjectKind::Node,
            Self::Deployment(_) => SubjectKind::Deployment,
            Self::Service(_) => SubjectKind::Service,
            Self::ConfigMap(_) => SubjectKind::ConfigMap,
            Self::Fields(_) => SubjectKind::Fields,
            Self::Owner(_) => SubjectKind::Owner,
            Self::Image(_) => SubjectKind::Image,
            Self::Namespace(_) => SubjectKind::Namespace,
            Self::Cluster(_) => SubjectKind::Cluster,
            Self::Recorder(_) => SubjectKind::Recorder,
        }
    }
}

/// The pods of a controller, or those that wait for an image.
#[derive(Debug)]
pub struct Group<'a> {
    /// The controller's name, or the image.
    pub name: &'a str,
    pub pods: Vec<&'a PodEntry>,
    newest: &'a PodEntry,
}

impl<'a> Group<'a> {
    /// `None` without pods.
    pub fn of(name: &'a str, pods: impl Iterator<Item = &'a PodEntry>) -> Option<Self> {
        let pods: Vec<&PodEntry> = pods.collect();
        let newest = pods
            .iter()
            .copied()
            .max_by_key(|entry| (entry.pod.meta.created, &*entry.pod.meta.name))?;
        Some(Self { name, pods, newest })
    }

    /// The youngest pod, which has the newest template.
    pub const fn newest(&self) -> &'a PodEntry {
        self.newest
    }
}

/// The input of a rule.
pub struct RuleContext<'a> {
    pub world: &'a World,
    pub now: Timestamp,
    pub thresholds: &'a ThresholdConfig,
    /// Whether the rule has an open finding about a part of the subject.
    pub is_open: &'a dyn Fn(&str) -> bool,
    /// Whether another rule (by name) has an open finding about a part of the subject. The other rule must come earlier
    /// in [`super::ALL`].
    pub other_is_open: &'a dyn Fn(&str, &str) -> bool,
}
