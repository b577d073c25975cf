//! The rules: data and pure functions. A rule is one file with its paragraph of documentation and its table of cases;
//! `docs/rules.md` is generated from them.
//!
//! A rule looks at one subject in the world at one moment and says what signs of trouble it sees. It keeps nothing: when
//! a finding opens and closes follows from the signs (`findings`). To add one: a file here, and its line in [`ALL`].

mod config_error;
mod config_map_secret;
mod container_exit;
mod crash_loop;
mod default_token;
mod env_secret;
mod evicted;
mod failure_after_change;
mod image_pull;
mod image_registry;
mod liveness_kills;
mod missing_config_map;
mod missing_probe;
mod missing_resources;
mod node_condition;
mod node_evictions;
mod node_flapping;
mod node_full;
mod node_images;
mod node_not_ready;
mod node_pressure;
mod not_ready;
mod one_node;
mod oom_killed;
mod own_database;
mod own_disk;
mod own_watch;
mod privileged;
mod repeated_oom;
mod replica_failure;
mod rollout_stuck;
mod same_failure;
mod service_no_pods;
mod service_not_ready;
mod single_replica;
mod stuck_creating;
mod stuck_terminating;
mod target_port;
mod unavailable;
mod unpinned_image;
mod unschedulable;
mod unschedulable_group;
mod version_skew;
mod warning_rate;

use std::collections::BTreeMap;
use std::time::Duration;

use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use serde_json::{Map, Value};

use super::own::Own;
use super::world::{About, NodeEntry, PodEntry, World};
use crate::config::ThresholdConfig;
use crate::metrics::Kind;
use crate::source::objects::{ConfigMap, Deployment, Service};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its number: a letter for the type, never given to another rule.
    pub id: &'static str,
    /// Type of its findings.
    pub event_type: EventType,
    /// What it finds, in a few words.
    pub name: &'static str,
    /// Its paragraph of documentation: when it opens, how bad, when it closes, what to do.
    pub doc: &'static str,
    /// Kinds it reads; it runs only while all of them are seen. None: it is about kube9 itself.
    pub reads: &'static [Kind],
    /// The function.
    pub check: Check,
    /// Its table of cases: each rule fires in one, closes in one, and does nothing in a near miss.
    #[cfg(test)]
    pub(in crate::analysis) cases: fn() -> Vec<super::tests::table::Case>,
}

/// The function of a rule, by what it looks at.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// A Pod.
    Pod(fn(&Context<'_>, &PodEntry, &mut Signs)),
    /// A Node.
    Node(fn(&Context<'_>, &NodeEntry, &mut Signs)),
    /// A Deployment.
    Deployment(fn(&Context<'_>, &Deployment, &mut Signs)),
    /// A Service.
    Service(fn(&Context<'_>, &Service, &mut Signs)),
    /// A ConfigMap.
    ConfigMap(fn(&Context<'_>, &ConfigMap, &mut Signs)),
    /// The pods of a controller; at least one.
    Owner(fn(&Context<'_>, &Group<'_>, &mut Signs)),
    /// An image that cannot be pulled, and the pods that wait for it; at least one.
    Image(fn(&Context<'_>, &Group<'_>, &mut Signs)),
    /// A namespace, by its name.
    Namespace(fn(&Context<'_>, &str, &mut Signs)),
    /// The cluster.
    Cluster(fn(&Context<'_>, &mut Signs)),
    /// kube9 itself.
    Recorder(fn(&Context<'_>, &Own, &mut Signs)),
}

impl Check {
    /// What it looks at.
    pub const fn about(&self) -> About {
        match self {
            Self::Pod(_) => About::Pod,
            Self::Node(_) => About::Node,
            Self::Deployment(_) => About::Deployment,
            Self::Service(_) => About::Service,
            Self::ConfigMap(_) => About::ConfigMap,
            Self::Owner(_) => About::Owner,
            Self::Image(_) => About::Image,
            Self::Namespace(_) => About::Namespace,
            Self::Cluster(_) => About::Cluster,
            Self::Recorder(_) => About::Recorder,
        }
    }
}

/// Pods that belong together.
#[derive(Debug)]
pub struct Group<'a> {
    /// The subject's name: `Kind/namespace/name`, or an image.
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
pub struct Context<'a> {
    /// Everything that is there.
    pub world: &'a World,
    /// Now.
    pub now: Timestamp,
    /// From when on it speaks.
    pub thresholds: &'a ThresholdConfig,
    /// Whether the finding of this subject is open, by part.
    pub is_open: &'a dyn Fn(&str) -> bool,
    /// Whether another rule's finding of this subject is open, by its number and part; for rules that come later in
    /// [`ALL`] than the other.
    pub other_is_open: &'a dyn Fn(&str, &str) -> bool,
}

/// A sign of trouble.
#[derive(Debug, Clone, PartialEq)]
pub struct Sign {
    /// Tells several of one rule on one subject apart, e.g. a container's name; empty where there is one.
    pub part: String,
    /// How bad. A finding that gets worse gets a new row; one that gets better stays as bad as it was until it closes.
    pub severity: Severity,
    /// What, on what, how bad: fixed while it is open.
    pub title: String,
    /// Why, and what to do next; may change.
    pub description: String,
    /// Since when.
    pub since: Timestamp,
    /// How long it must be so until it counts.
    pub hold: Duration,
    /// Container.
    pub container: String,
    /// Node.
    pub node: Option<String>,
    /// Controller of the object.
    pub owner: Option<ObjectRef>,
    /// Further metadata.
    pub extra: Map<String, Value>,
}

/// What a rule says.
#[derive(Debug, Default)]
pub struct Signs {
    /// Signs it sees.
    pub seen: Vec<Sign>,
    /// Parts whose findings stay as they are if they are open: it is better, but not for long enough.
    pub kept: Vec<String>,
    /// Parts whose findings go on as something else, which another rule reports, and as what.
    pub became: BTreeMap<String, &'static str>,
    /// When to look again even if nothing changes.
    pub again: Option<Timestamp>,
}

impl Signs {
    /// Leaves a finding as it is if it is open.
    pub fn keep(&mut self, part: &str) {
        self.kept.push(part.to_owned());
    }

    /// A finding that is open goes on as something that another rule reports.
    pub fn became(&mut self, part: &str, what: &'static str) {
        self.became.insert(part.to_owned(), what);
    }

    /// Looks again at that time.
    pub fn look_again(&mut self, at: Timestamp) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// Notes a sign; the caller fills in the rest.
    pub fn add(
        &mut self,
        severity: Severity,
        since: Timestamp,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> &mut Sign {
        self.seen.push(Sign {
            part: String::new(),
            severity,
            title: title.into(),
            description: description.into(),
            since,
            hold: Duration::ZERO,
            container: String::new(),
            node: None,
            owner: None,
            extra: Map::new(),
        });
        self.seen.last_mut().expect("it was just pushed")
    }
}

impl Sign {
    /// Tells it apart from others of the same rule and subject.
    pub fn part(&mut self, part: impl Into<String>) -> &mut Self {
        self.part = part.into();
        self
    }

    /// It is about a container, and tells it apart by that.
    pub fn container(&mut self, name: &str) -> &mut Self {
        self.container = name.to_owned();
        self.part = name.to_owned();
        self
    }

    /// It counts only after this time.
    pub fn hold(&mut self, hold: Duration) -> &mut Self {
        self.hold = hold;
        self
    }

    /// Adds metadata.
    pub fn with(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// It is about this pod.
    pub fn of_pod(&mut self, entry: &PodEntry) -> &mut Self {
        self.node = entry.pod.node.as_deref().map(str::to_owned);
        self.owner = (entry.owner.kind != "Pod").then(|| entry.owner.clone());
        self
    }
}

/// All rules, in the order of the documentation.
pub static ALL: &[Rule] = &[
    oom_killed::RULE,
    crash_loop::RULE,
    container_exit::RULE,
    image_pull::RULE,
    config_error::RULE,
    unschedulable::RULE,
    stuck_creating::RULE,
    not_ready::RULE,
    stuck_terminating::RULE,
    evicted::RULE,
    node_not_ready::RULE,
    node_pressure::RULE,
    node_condition::RULE,
    rollout_stuck::RULE,
    unavailable::RULE,
    replica_failure::RULE,
    service_no_pods::RULE,
    service_not_ready::RULE,
    own_database::RULE,
    own_watch::RULE,
    own_disk::RULE,
    same_failure::RULE,
    failure_after_change::RULE,
    repeated_oom::RULE,
    node_flapping::RULE,
    image_registry::RULE,
    node_images::RULE,
    unschedulable_group::RULE,
    node_full::RULE,
    liveness_kills::RULE,
    warning_rate::RULE,
    node_evictions::RULE,
    unpinned_image::RULE,
    missing_resources::RULE,
    missing_probe::RULE,
    single_replica::RULE,
    one_node::RULE,
    privileged::RULE,
    default_token::RULE,
    config_map_secret::RULE,
    env_secret::RULE,
    missing_config_map::RULE,
    target_port::RULE,
    version_skew::RULE,
];

/// Whether a pod with these words opts out of A7, which looks at no pod: what it looks at is counted as pods come and go.
pub(super) fn is_default_token_ignored(words: &[Box<str>]) -> bool {
    default_token::is_ignored(words)
}

/// Those of `words` that name neither a rule nor a type of rules.
pub fn unknown(words: &[String]) -> Vec<&String> {
    words
        .iter()
        .filter(|word| !ALL.iter().any(|rule| rule.is_named(word)))
        .collect()
}

impl Rule {
    /// Whether a word of the config or of a label means it.
    pub fn is_named(&self, word: &str) -> bool {
        word.eq_ignore_ascii_case(self.id)
            || word.eq_ignore_ascii_case(self.event_type.as_str())
            || word.eq_ignore_ascii_case("all")
    }
}

/// `namespace/name` of a pod, for texts.
pub(crate) fn place(entry: &PodEntry) -> String {
    format!("{}/{}", entry.pod.meta.namespace, entry.pod.meta.name)
}

/// A controller, for texts.
pub(crate) fn owner_words(owner: &ObjectRef) -> String {
    if owner.namespace.is_empty() {
        format!("{} {}", owner.kind, owner.name)
    } else {
        format!("{} {}/{}", owner.kind, owner.namespace, owner.name)
    }
}

/// What Kubernetes says, to be put into a sentence: its reason and message without the final stop.
pub(crate) fn said(reason: &str, message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    match (reason, message) {
        ("", "") => "no reason is given".to_owned(),
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// `5 s`, `3 min`, `2 h`, `4 d`: how long, for people.
pub(crate) fn span(time: Duration) -> String {
    match time.as_secs() {
        s @ ..120 => format!("{s} s"),
        s @ ..7_200 => format!("{} min", s / 60),
        s @ ..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// `It was restarted 5 times.`
pub(crate) fn restarted(count: i64) -> String {
    match count {
        0 => "It has not been restarted yet.".to_owned(),
        1 => "It was restarted once.".to_owned(),
        2 => "It was restarted twice.".to_owned(),
        n => format!("It was restarted {n} times."),
    }
}

/// `1 pod`, `5 pods`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// Names of the first few pods, for metadata; a group may have thousands.
pub(crate) fn members<'a>(pods: impl Iterator<Item = &'a PodEntry>) -> Vec<String> {
    let mut names: Vec<String> = pods.map(place).collect();
    names.sort();
    names.truncate(20);
    names
}

/// `docs/rules.md`.
#[cfg(test)]
pub(crate) fn page() -> String {
    use crate::metrics::Label;
    let mut page = String::from(
        "# Rules\n\nGenerated from the recorder's source; do not edit.\n\n\
         A rule looks at the objects that kube9 watches and opens a *finding*: a row with the rule's type.\n\
         A finding opens once, is updated while it lasts, and closes with an `info` row whose title ends in `resolved`, or in what it has become where another rule says more.\n\
         Titles say since when (UTC); a finding that gets worse has a new row that `continues` the one before, one that gets better stays as bad as it was until it closes.\n\
         Open findings survive restarts of the recorder; their rows are kept whatever their age.\n\
         While a kind that a rule reads cannot be watched, its findings are frozen; one that turns out to be over afterwards says so with `closed_between`.\n\n\
         Switch rules off with `analysis.disabled_rules` (numbers such as `A1`, or a whole type such as `assessment`).\n\
         Exclude namespaces with `analysis.exclude_namespaces`, and from assessments alone with `analysis.assessment_exclude_namespaces`.\n\
         An object opts out with the annotation `kube9.io/ignore: \"A1,A4\"` or, since values of labels have no commas, the label `kube9.io/ignore: A1_A4`; `all` means every rule.\n\
         For rules about all pods of a controller, the newest pod's label or annotation counts, so it belongs in the pod template.\n\
         The runs of a CronJob are one controller: its assessments stay open between runs, and close when a run shows better or a day and an hour after its last pod is gone.\n\
         Times are those of `analysis.thresholds` in [configuration.md](configuration.md).\n",
    );
    for event_type in [EventType::Health, EventType::Insight, EventType::Assessment] {
        page.push_str(&format!("\n## {event_type}\n"));
        for rule in ALL.iter().filter(|rule| rule.event_type == event_type) {
            let reads = match rule.reads {
                [] => "kube9 itself".to_owned(),
                kinds => {
                    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                    names.join(", ")
                }
            };
            page.push_str(&format!(
                "\n### {} {}: {}\n\n",
                rule.id, rule.event_type, rule.name
            ));
            page.push_str(&format!("{}\n\nReads: {reads}.\n", rule.doc.trim(),));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::table::Case;

    #[test]
    fn page_is_what_the_rules_say() {
        crate::docs::assert_page("rules.md", &page());
    }

    #[test]
    fn numbers_are_unlike_and_follow_the_type() {
        for (index, rule) in ALL.iter().enumerate() {
            assert!(
                ALL[..index].iter().all(|other| other.id != rule.id),
                "{}",
                rule.id
            );
            let letter = match rule.event_type {
                EventType::Health => 'H',
                EventType::Insight => 'I',
                _ => 'A',
            };
            assert!(rule.id.starts_with(letter), "{}", rule.id);
            assert!(!rule.doc.is_empty());
            let about_kube9 = matches!(rule.check, Check::Recorder(_));
            assert_eq!(rule.reads.is_empty(), about_kube9, "{}", rule.id);
        }
    }

    #[test]
    fn every_rule_has_a_case_of_each_kind() {
        for rule in ALL {
            let cases = (rule.cases)();
            assert!(cases.iter().any(Case::fires), "{} fires", rule.id);
            assert!(cases.iter().any(Case::closes), "{} closes", rule.id);
            let near = cases.iter().any(Case::is_near_miss);
            assert!(near, "{} does nothing in a near miss", rule.id);
        }
    }

    #[test]
    fn every_rule_does_what_its_cases_say() {
        let mut played = 0;
        let mut failed = Vec::new();
        for rule in ALL {
            for case in (rule.cases)() {
                played += 1;
                let play = std::panic::AssertUnwindSafe(|| case.play(rule));
                if std::panic::catch_unwind(play).is_err() {
                    failed.push(rule.id);
                }
            }
        }
        assert_eq!(failed, Vec::<&str>::new(), "of {played} cases");
    }
}
