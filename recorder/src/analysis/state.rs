//! The state of the analysis, and what each piece of news makes of it. No I/O: items come out, the engine pushes them.
//!
//! ```text
//!   news ─▶ sight (what is current) ─▶ changes ─▶ rows
//!              │                       world ─▶ agenda (what to look at) ─▶ target + rule ─▶ signs ─▶ findings ─▶ rows
//!              └── thawed, frozen ──────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use tracing::error;

use super::agenda::Agenda;
use super::changes::{self, Compared, Facts, LastChange, Late};
use super::controller::controller;
use super::findings::{Findings, Look};
use super::own::Own;
use super::rules;
use super::rules::rule::{Context, Rule};
use super::rules::signs::Signs;
use super::sight::{Sight, Source};
use super::subject::{About, Name, Subject, name_of, object_ref, split};
use super::target::Target;
use super::warnings::Warnings;
use super::world::World;
use crate::config::AnalysisConfig;
use crate::maps::Map;
use crate::metrics::{Kind, Label};
use crate::pipeline::heard::{History, Told};
use crate::pipeline::item::{Change, Finding, Item, Mark, RelistCause, WatchId};
use crate::pipeline::owners::Owners;
use crate::pipeline::sanitize::sanitize;
use crate::pipeline::signals::Remembered;
use crate::source::objects::Object;
use crate::source::objects::informer::{News, Seen};

/// Number of the finding that a kind may not be read.
pub const PERMISSION: &str = "O1";

/// The state of the analysis.
pub struct Analysis {
    config: AnalysisConfig,
    /// Everything that is there.
    pub world: World,
    /// Filled for the Events' intake.
    pub owners: Owners,
    findings: Findings,
    sight: Sight,
    agenda: Agenda,
    /// CronJobs with a finding and without a pod, and since when; after a restart since then.
    resting: Map<Subject, Timestamp>,
    last_reset: Option<Timestamp>,
    retired: bool,
}

/// What the database says of the time before.
#[derive(Debug, Default)]
pub struct Before {
    /// Fingerprint and state of the findings that were open when the recorder stopped.
    pub findings: Vec<(String, String)>,
    /// Warnings of the last week.
    pub history: History,
}

impl Analysis {
    /// An analysis that has seen nothing.
    pub fn new(config: AnalysisConfig, owners: Owners, before: Before) -> Self {
        Self {
            config,
            world: World::new(
                Warnings::new(before.history),
                rules::is_default_token_ignored,
            ),
            owners,
            findings: restored(before.findings),
            sight: Sight::default(),
            agenda: Agenda::default(),
            resting: Map::default(),
            last_reset: None,
            retired: false,
        }
    }

    /// Adds an informer, with what is stored of its objects; says how its first list begins.
    pub fn add_source(
        &mut self,
        watch: WatchId,
        kind: Kind,
        namespace: &str,
        stored: Remembered,
    ) -> RelistCause {
        self.sight.add(watch, kind, namespace, stored)
    }

    /// Findings that are open, by rule.
    pub fn open_by_rule(&self) -> &BTreeMap<String, i64> {
        self.findings.open_by_rule()
    }

    /// Whether any finding is open.
    pub fn has_open(&self) -> bool {
        self.findings.has_open()
    }

    /// Takes in a piece of news.
    pub fn take(&mut self, seen: Seen, now: Timestamp) -> Vec<Item> {
        let mut out = Vec::new();
        let watch = seen.watch;
        if self.sight.source(watch).is_none() {
            return out; // informers say only what they are registered for
        }
        match seen.what {
            News::ListBegun { cause } => self.list_begun(watch, cause, now, &mut out),
            News::Applied(object) => self.applied(watch, object, now, &mut out),
            News::Deleted(object) => {
                let name = name_of(object.meta());
                self.vanished(watch, &name, Some(&object), None, now, &mut out);
            }
            News::Unreadable { namespace, name } => {
                let name = if namespace.is_empty() {
                    name
                } else {
                    format!("{namespace}/{name}")
                };
                let source = self.source(watch);
                if let Some(listing) = source.and_then(|source| source.listing.as_mut()) {
                    listing.insert(name.into());
                }
            }
            News::Listed {
                version,
                server_time,
                objects,
            } => {
                let vanished = self.listed(watch, now, &mut out);
                // A list at the stored position shows what is stored: the position stays, and there is no gap to close.
                if self.source(watch).is_some_and(|source| !source.goes_on()) {
                    let mark = Mark::Synced {
                        version,
                        server_time,
                        listed: objects,
                        vanished,
                    };
                    out.push(Item::Mark { watch, mark });
                }
            }
            News::Live => {
                self.permission(watch, None, now, &mut out);
                if let Some(source) = self.source(watch) {
                    source.lives(now);
                }
            }
            News::Blind { why, forbidden } => {
                self.sight.blinded(watch, now);
                if forbidden {
                    self.permission(watch, Some(&why), now, &mut out);
                }
            }
            News::Proven(version) => {
                if let Some(source) = self.source(watch) {
                    source.proven(now);
                }
                out.push(Item::Mark {
                    watch,
                    mark: Mark::Proven { version, at: now },
                });
            }
            News::Reset => self.reset(watch, now),
        }
        out
    }

    fn source(&mut self, watch: WatchId) -> Option<&mut Source> {
        self.sight.source(watch)
    }

    fn list_begun(
        &mut self,
        watch: WatchId,
        cause: RelistCause,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        source.list_begins(cause, now);
        if cause == RelistCause::Resumed {
            return;
        }
        out.push(Item::Mark {
            watch,
            mark: Mark::ListBegun {
                listing: 0, // numbers tell Events of `dedup` apart; objects have no entries there
                cause,
                at: now,
            },
        });
    }

    fn applied(&mut self, watch: WatchId, object: Object, now: Timestamp, out: &mut Vec<Item>) {
        let mut name = name_of(object.meta());
        let kind = object.kind();
        let Some(source) = self.sight.source(watch) else {
            return;
        };
        // The name as it is in memory already, so that every map shares it.
        let known = source.facts.get_key_value(&name);
        let known = known.map(|(known, facts)| (known.clone(), *facts.uid == *object.meta().uid));
        let is_another = known.as_ref().is_some_and(|(_, same)| !same);
        name = known.map_or(name, |(known, _)| known);
        if let Some(listing) = &mut source.listing {
            listing.insert(name.clone());
        }
        let (late, first) = (source.late_at(now), source.first);
        let reached = source.reached(&object);
        if is_another {
            self.vanished(watch, &name, None, late, now, out);
        }
        if let Object::Pod(pod) = &object {
            self.owners.pod_is_there(&name, controller(&pod.meta));
        }
        let rewritten = match (&object, self.world.config_maps.get(&name)) {
            (Object::ConfigMap(after), Some(before)) => changes::rewritten(before, after),
            _ => Vec::new(),
        };
        let Some(source) = self.sight.source(watch) else {
            return;
        };
        let before = source.facts.get(&name);
        let mut after = Facts::of(&object, before);
        let rows = if first {
            Vec::new()
        } else {
            changes::rows(&Compared {
                before,
                after: Some(&after),
                object: Some(&object),
                rewritten,
                subject: object_ref(kind.name(), object.meta()),
                at: now,
                late,
            })
        };
        if let Some(what) = changes::breaking(&rows) {
            after.changed = Some(LastChange {
                at: now.millis(),
                what,
            });
        }
        let changed = after.changed.clone();
        if before != Some(&after) || !rows.is_empty() {
            out.push(Item::Change(Box::new(Change {
                watch,
                name: name.to_string(),
                facts: serde_json::to_string(&after).ok(),
                rows: rows.into_iter().map(sanitize).collect(),
                version: reached,
            })));
            source.facts.insert(name.clone(), after);
        }
        let mut dirty = BTreeSet::new();
        let settle = self.config.thresholds.settle;
        self.world
            .apply(name.clone(), object, now, settle, &mut dirty);
        if let Some(change) = changed {
            self.world.note_change(kind, &name, change, &mut dirty);
        }
        self.agenda.add(dirty);
    }

    /// An object is gone; `object` is its last state where that was seen.
    fn vanished(
        &mut self,
        watch: WatchId,
        name: &Name,
        object: Option<&Object>,
        late: Option<Late>,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        let kind = source.kind;
        let late = late.or_else(|| source.late_at(now));
        let reached = object.and_then(|object| source.reached(object));
        if let Some(before) = source.facts.remove(name) {
            let (namespace, short) = split(name);
            let rows = changes::rows(&Compared {
                before: Some(&before),
                after: None,
                object,
                rewritten: Vec::new(),
                subject: ObjectRef {
                    kind: kind.name().to_owned(),
                    namespace: namespace.to_owned(),
                    name: short.to_owned(),
                },
                at: now,
                late,
            });
            out.push(Item::Change(Box::new(Change {
                watch,
                name: name.to_string(),
                facts: None,
                rows: rows.into_iter().map(sanitize).collect(),
                version: reached,
            })));
        }
        if kind == Kind::Pod {
            self.owners.pod_is_gone(name);
        }
        let mut dirty = BTreeSet::new();
        self.world.remove(kind, name, &mut dirty);
        self.agenda.add(dirty);
    }

    /// What a complete list did not show is gone; says how much that is.
    fn listed(&mut self, watch: WatchId, now: Timestamp, out: &mut Vec<Item>) -> u64 {
        let Some(source) = self.source(watch) else {
            return 0;
        };
        let (missing, late) = source.list_ends(now);
        let vanished = missing.len() as u64;
        for name in missing {
            self.vanished(watch, &name, None, late, now, out);
        }
        vanished
    }

    /// Opens or closes the finding that the recorder may not read a kind.
    fn permission(
        &mut self,
        watch: WatchId,
        denied: Option<&str>,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) {
        let Some(source) = self.source(watch) else {
            return;
        };
        let kind = source.kind.name();
        let (name, scope) = match &*source.namespace {
            "" => (kind.to_owned(), "all namespaces".to_owned()),
            namespace => (
                format!("{kind}/{namespace}"),
                format!("namespace {namespace}"),
            ),
        };
        let subject = Subject {
            about: About::Watch,
            name: Name::from(&*name),
        };
        let look = Look {
            rule: PERMISSION,
            event_type: EventType::Operator,
            subject: &subject,
            identity: &name,
            object: None,
            was_quiet: false,
            now,
        };
        let mut signs = Signs::default();
        if let Some(why) = denied {
            let description = format!(
                "The API server does not let the recorder list or watch {kind}s in {scope}: {why}. \
                 Changes and findings about them are missing; everything else goes on. \
                 Grant `get`, `list` and `watch`; the recorder notices by itself."
            );
            let title = format!("Permission to watch {kind}s is missing");
            signs
                .add(Severity::Error, now, title, description)
                .with("kind", kind)
                .with("scope", scope);
        }
        let mut steps = Vec::new();
        self.findings.judge(&look, signs, &mut steps);
        out.extend(items(steps));
    }

    /// The database is a new one: everything is to be stored again, and nothing of it is news.
    fn reset(&mut self, watch: WatchId, now: Timestamp) {
        if let Some(source) = self.source(watch) {
            source.facts.clear();
        }
        // Every informer says so; the first one is enough.
        let again = self
            .last_reset
            .is_none_or(|at| now.since(at) > Duration::from_secs(60));
        if again {
            self.last_reset = Some(now);
            self.findings.forget();
            self.agenda.add(self.world.subjects());
        }
    }

    /// Takes in what the writer committed.
    pub fn hear(&mut self, told: Told, now: Timestamp) {
        self.world.warnings.recording(now);
        let mut dirty = BTreeSet::new();
        for (place, rows) in &told.warnings {
            self.world.warnings.add(place, *rows);
            dirty.insert(Subject {
                about: About::Namespace,
                name: Name::from(&*place.namespace),
            });
        }
        for kill in &told.kills {
            self.world.note_kill(kill, &mut dirty);
        }
        self.agenda.add(dirty);
    }

    /// Takes in how kube9 itself is.
    pub fn notice(&mut self, own: Own, now: Timestamp) {
        self.sight.events_are_watched(own.events_are_watched(), now);
        if own.differs(&self.world.own) {
            self.agenda.add([Subject::recorder()]);
        }
        self.world.own = own;
    }

    /// Whether subjects wait to be looked at.
    pub fn is_behind(&self) -> bool {
        !self.agenda.is_empty()
    }

    /// Looks at up to `budget` subjects that changed or whose time has come.
    pub fn evaluate(&mut self, budget: usize, now: Timestamp) -> Vec<Item> {
        let mut steps = Vec::new();
        self.thaw(now, &mut steps);
        self.agenda.wake(now);
        for _ in 0..budget {
            let Some(subject) = self.agenda.next() else {
                break;
            };
            self.look(&subject, now, &mut steps);
        }
        items(steps)
    }

    /// What was frozen, and is seen again, is looked at again.
    fn thaw(&mut self, now: Timestamp, out: &mut Vec<Finding>) {
        let thawed = self.sight.refresh(now);
        if thawed.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.retired, true) {
            let runs = |id: &str| id == PERMISSION || named(id).any(|rule| self.config.runs(rule));
            self.findings
                .retire(runs, "the rule is switched off", now, out);
        }
        for (kind, since) in thawed {
            let Some(from) = since else { continue };
            let reads = |id: &str| named(id).any(|rule| rule.reads.contains(&kind));
            self.findings.doubt(reads, Late { from, to: now });
        }
        self.agenda.add(self.world.subjects());
        let about_findings: BTreeSet<Subject> = self.findings.subjects().cloned().collect();
        self.agenda.add(about_findings);
    }

    fn is_ready(&self, rule: &Rule) -> bool {
        rule.reads.iter().all(|kind| self.sight.is_ready(*kind))
    }

    fn look(&mut self, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) {
        let Some(target) = Target::find(&self.world, subject) else {
            let kind = subject.about.kind();
            if kind.is_some_and(|kind| self.sight.is_ready(kind)) {
                self.without_objects(subject, now, out);
            }
            return;
        };
        if !self.resting.is_empty() {
            self.resting.remove(subject);
        }
        let was_quiet = self.findings.is_quiet(subject);
        let mut again: Option<Timestamp> = None;
        for rule in rules::ALL
            .iter()
            .filter(|rule| rule.check.about() == subject.about)
        {
            if !self.is_ready(rule) || !self.config.runs(rule) {
                continue;
            }
            let look = Look {
                rule: rule.id,
                event_type: rule.event_type,
                subject,
                identity: target.identity,
                object: target.object.as_ref(),
                was_quiet,
                now,
            };
            let mut signs = Signs::default();
            if !self.config.excludes(rule, target.namespace) && !target.ignores(rule) {
                let findings = &self.findings;
                let context = Context {
                    world: &self.world,
                    now,
                    thresholds: &self.config.thresholds,
                    is_open: &|part| findings.is_open(&look, part),
                    other_is_open: &|rule, part| findings.other_is_open(&look, rule, part),
                };
                target.check(rule, &context, &mut signs);
            }
            let next = self.findings.judge(&look, signs, out);
            again = [again, next].into_iter().flatten().min();
        }
        if let Some(at) = again {
            let at = at.max(now.plus(Duration::from_millis(1)));
            self.agenda.later(at, subject.clone());
        }
    }
}

/// A CronJob whose last pod has been gone for so long is taken for gone: one that runs once a day is not.
const RESTS_MAX: Duration = Duration::from_secs(25 * 3_600);

impl Analysis {
    /// Closes what is about a subject that has no object any more; but between two runs of a CronJob, which may leave no
    /// pod behind, what its manifest is blamed for stays as it is.
    fn without_objects(&mut self, subject: &Subject, now: Timestamp, out: &mut Vec<Finding>) {
        let assessments = |id: &str| named(id).any(|rule| rule.event_type == EventType::Assessment);
        let is_cron_job = subject.about == About::Owner && subject.name.starts_with("CronJob/");
        if !is_cron_job {
            self.findings.gone(subject, |_| true, now, out);
            return;
        }
        self.findings.gone(subject, |id| !assessments(id), now, out);
        if !self.findings.has(subject) {
            self.resting.remove(subject);
            return;
        }
        let since = *self.resting.entry(subject.clone()).or_insert(now);
        if now.since(since) < RESTS_MAX {
            self.agenda.later(since.plus(RESTS_MAX), subject.clone());
        } else {
            self.resting.remove(subject);
            self.findings.gone(subject, |_| true, now, out);
        }
    }
}

/// The rule of that number.
fn named(id: &str) -> impl Iterator<Item = &'static Rule> {
    rules::ALL.iter().filter(move |rule| rule.id == id)
}

fn restored(stored: Vec<(String, String)>) -> Findings {
    let mut findings = Findings::default();
    let unreadable = findings.restore(stored);
    if unreadable > 0 {
        error!(
            unreadable,
            "stored findings cannot be read; they stay open until their rows age out"
        );
    }
    findings
}

fn items(steps: Vec<Finding>) -> Vec<Item> {
    let item = |step| Item::Finding(Box::new(step));
    steps.into_iter().map(item).collect()
}

/// Without the analysis nobody sees whether what was open still is: all of it is closed, saying so.
pub fn close_all(stored: Vec<(String, String)>, now: Timestamp) -> Vec<Item> {
    let mut steps = Vec::new();
    restored(stored).retire(|_| false, "the analysis is switched off", now, &mut steps);
    items(steps)
}

impl AnalysisConfig {
    /// Whether a rule runs at all.
    pub fn runs(&self, rule: &Rule) -> bool {
        !self.disabled_rules.iter().any(|word| rule.is_named(word))
    }

    /// Whether a rule opens nothing in a namespace.
    fn excludes(&self, rule: &Rule, namespace: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|one| one == namespace);
        named(&self.exclude_namespaces)
            || (rule.event_type == EventType::Assessment
                && named(&self.assessment_exclude_namespaces))
    }
}

/// Numbers of all findings there can be, for metrics.
pub fn finding_ids() -> Vec<String> {
    let rules = rules::ALL.iter().map(|rule| rule.id.to_owned());
    rules.chain([PERMISSION.to_owned()]).collect()
}
