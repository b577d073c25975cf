//! What a rule is, and what it is given to look at.

use kube9_ingest::objects::{ConfigMap, Deployment, Service};
use kube9_model::EventType;
use kube9_model::label::Kind;
use kube9_model::time::Timestamp;

use super::symptoms::RuleOutput;
use crate::config::ThresholdConfig;
use crate::self_status::SelfStatus;
use crate::subject::SubjectKind;
use crate::world::{NodeEntry, PodEntry, World};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name: the reason of its rows, the metric's label, and the word of settings and annotations.
    pub name: &'static str,
    /// Type of its findings.
    pub event_type: EventType,
    /// Its documentation.
    pub doc: RuleDoc,
    /// Kinds it reads; it runs only while all of them are seen. None: it is about kube9 itself.
    pub reads: &'static [Kind],
    /// The function.
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

/// The function of a rule, by what it looks at.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// A Pod.
    Pod(fn(&RuleContext<'_>, &PodEntry, &mut RuleOutput)),
    /// A Node.
    Node(fn(&RuleContext<'_>, &NodeEntry, &mut RuleOutput)),
    /// A Deployment.
    Deployment(fn(&RuleContext<'_>, &Deployment, &mut RuleOutput)),
    /// A Service.
    Service(fn(&RuleContext<'_>, &Service, &mut RuleOutput)),
    /// A ConfigMap.
    ConfigMap(fn(&RuleContext<'_>, &ConfigMap, &mut RuleOutput)),
    /// The pods of a controller; at least one.
    Owner(fn(&RuleContext<'_>, &Group<'_>, &mut RuleOutput)),
    /// An image that cannot be pulled, and the pods that wait for it; at least one.
    Image(fn(&RuleContext<'_>, &Group<'_>, &mut RuleOutput)),
    /// A namespace, by its name.
    Namespace(fn(&RuleContext<'_>, &str, &mut RuleOutput)),
    /// The cluster.
    Cluster(fn(&RuleContext<'_>, &mut RuleOutput)),
    /// kube9 itself.
    Recorder(fn(&RuleContext<'_>, &SelfStatus, &mut RuleOutput)),
}

impl Check {
    /// What it looks at.
    pub const fn kind(&self) -> SubjectKind {
        match self {
            Self::Pod(_) => SubjectKind::Pod,
            Self::Node(_) => SubjectKind::Node,
            Self::Deployment(_) => SubjectKind::Deployment,
            Self::Service(_) => SubjectKind::Service,
            Self::ConfigMap(_) => SubjectKind::ConfigMap,
            Self::Owner(_) => SubjectKind::Owner,
            Self::Image(_) => SubjectKind::Image,
            Self::Namespace(_) => SubjectKind::Namespace,
            Self::Cluster(_) => SubjectKind::Cluster,
            Self::Recorder(_) => SubjectKind::Recorder,
        }
    }
}

/// Pods that belong together.
#[derive(Debug)]
pub struct Group<'a> {
    /// The controller's name, or the image.
    pub name: &'a str,
    /// The pods.
    pub pods: Vec<&'a PodEntry>,
    newest: &'a PodEntry,
}

impl<'a> Group<'a> {
    /// Of these pods; `None` where there are none.
    pub fn of(name: &'a str, pods: impl Iterator<Item = &'a PodEntry>) -> Option<Self> {
        let pods: Vec<&PodEntry> = pods.collect();
        let newest = pods
            .iter()
            .copied()
            .max_by_key(|entry| (entry.pod.meta.created, &*entry.pod.meta.name))?;
        Some(Self { name, pods, newest })
    }

    /// The youngest pod: it has the newest template.
    pub const fn newest(&self) -> &'a PodEntry {
        self.newest
    }
}

/// What a rule may know.
pub struct RuleContext<'a> {
    /// Everything that is there.
    pub world: &'a World,
    /// Now.
    pub now: Timestamp,
    /// From when on it speaks.
    pub thresholds: &'a ThresholdConfig,
    /// Whether the finding of this subject is open, by part.
    pub is_open: &'a dyn Fn(&str) -> bool,
    /// Whether another rule's finding of this subject is open, by its name and part; for rules that come later in
    /// [`super::ALL`] than the other.
    pub other_is_open: &'a dyn Fn(&str, &str) -> bool,
}
