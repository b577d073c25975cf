//! The state of the analysis, and what each piece of news makes of it. No I/O: items come out, the engine pushes them.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use kube9_shared::model::{EventType, ObjectRef, Severity};
use kube9_shared::time::Timestamp;
use tracing::error;

use super::changes::{self, Compared, Facts, LastChange, Late};
use super::findings::{Findings, Look};
use super::owners::{Owners, controller};
use super::rules::{self, Check, Context, Group, Rule, Signs};
use super::world::{About, Name, Subject, World, name_of, owner_ref, split};
use crate::config::AnalysisConfig;
use crate::metrics::{Kind, Label};
use crate::pipeline::item::{Change, Item, Mark, RelistCause, WatchId};
use crate::pipeline::sanitize::sanitize;
use crate::source::objects::Object;
use crate::source::objects::informer::{News, Seen};
use crate::store::facts::Remembered;

/// How long after a reconnect the rules wait: what happened meanwhile arrives first.
const THAW: Duration = Duration::from_secs(2);

/// Number of the finding that a kind may not be read.
pub const PERMISSION: &str = "O1";

/// One informer, as the analysis knows it.
#[derive(Debug)]
struct Source {
    kind: Kind,
    namespace: String,
    /// What is stored of its objects.
    facts: HashMap<Name, Facts>,
    /// What the list under way has shown.
    listing: Option<HashSet<Name>>,
    /// Changes that the list under way shows happened in this time; `None`: nothing counts as a change.
    late: Option<Late>,
    first: bool,
    synced: bool,
    live: bool,
    live_since: Timestamp,
    /// When the view was last current.
    current: Option<Timestamp>,
    /// Since when what the watch tells happened while nobody recorded: it goes on from the stored position.
    resumed: Option<Timestamp>,
}

impl Source {
    /// Whether what is seen now happened while nobody recorded: in a list after that time, and in what a resumed watch
    /// tells first.
    fn late_at(&mut self, now: Timestamp) -> Option<Late> {
        if self.live && now.since(self.live_since) >= THAW {
            self.resumed = None;
        }
        let resumed = self.resumed.map(|from| Late { from, to: now });
        self.late.or(resumed)
    }

    /// The resourceVersion that a watch has reached with this object; in a list it says nothing.
    fn reached(&self, object: &Object) -> Option<String> {
        self.listing
            .is_none()
            .then(|| object.meta().version.to_string())
    }
}

/// The state of the analysis.
pub struct Analysis {
    config: AnalysisConfig,
    /// Everything that is there.
    pub world: World,
    /// Filled for the Events' intake.
    pub owners: Owners,
    findings: Findings,
    sources: HashMap<WatchId, Source>,
    /// Kinds that are seen as they are, by their index.
    ready: [bool; 6],
    /// Kinds that are not: since when.
    blind_since: [Option<Timestamp>; 6],
    dirty: VecDeque<Subject>,
    waiting: HashSet<Subject>,
    timers: BTreeSet<(Timestamp, Subject)>,
    last_reset: Option<Timestamp>,
    retired: bool,
}

impl Analysis {
    /// An analysis that has seen nothing; `findings` are those that were open when the recorder stopped.
    pub fn new(config: AnalysisConfig, owners: Owners, findings: Vec<(String, String)>) -> Self {
        let mut restored = Findings::default();
        let unreadable = restored.restore(findings);
        if unreadable > 0 {
            error!(
                unreadable,
                "stored findings cannot be read; they stay open until their rows age out"
            );
        }
        Self {
            config,
            world: World::default(),
            owners,
            findings: restored,
            sources: HashMap::new(),
            ready: [false; 6],
            blind_since: [None; 6],
            dirty: VecDeque::new(),
            waiting: HashSet::new(),
            timers: BTreeSet::new(),
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
        let first = stored.proven.is_none();
        let facts = stored.facts.into_iter().filter_map(|(name, facts)| {
            Some((Name::from(name), serde_json::from_str(&facts).ok()?))
        });
        let source = Source {
            kind,
            namespace: namespace.to_owned(),
            facts: facts.collect(),
            listing: None,
            late: None,
            first,
            synced: false,
            live: false,
            live_since: Timestamp::EPOCH,
            current: stored.proven,
            resumed: None,
        };
        if let Some(proven) = stored.proven {
            let since = &mut self.blind_since[kind.index()];
            *since = Some(since.map_or(proven, |since| since.min(proven)));
        }
        self.sources.insert(watch, source);
        if first {
            RelistCause::FirstStart
        } else {
            RelistCause::Restarted
        }
    }

    /// Findings that are open, by rule.
    pub fn open_by_rule(&self) -> std::collections::BTreeMap<&str, i64> {
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
        if !self.sources.contains_key(&watch) {
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
                if let Some(listing) = self
                    .source(watch)
                    .and_then(|source| source.listing.as_mut())
                {
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
                if self
                    .source(watch)
                    .is_some_and(|source| source.resumed.is_none())
                {
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
                    if !source.live {
                        (source.live, source.live_since) = (true, now);
                    }
                    if source.resumed.is_none() {
                        source.current = Some(now);
                    }
                }
            }
            News::Blind { why, forbidden } => {
                if let Some(source) = self.source(watch) {
                    source.live = false;
                    let kind = source.kind.index();
                    self.blind_since[kind].get_or_insert(now);
                }
                if forbidden {
                    self.permission(watch, Some(&why), now, &mut out);
                }
            }
            News::Proven(version) => {
                if let Some(source) = self.source(watch) {
                    source.current = Some(now);
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
        self.sources.get_mut(&watch)
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
        source.listing = Some(HashSet::new());
        source.first = cause == RelistCause::FirstStart;
        if cause == RelistCause::Resumed {
            (source.resumed, source.late) = (source.current, None);
            return;
        }
        source.resumed = None;
        source.late = (!source.first).then(|| Late {
            from: source.current.unwrap_or(now),
            to: now,
        });
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
        let name = name_of(object.meta());
        let kind = object.kind();
        let Some(source) = self.source(watch) else {
            return;
        };
        if let Some(listing) = &mut source.listing {
            listing.insert(name.clone());
        }
        let (late, first) = (source.late_at(now), source.first);
        let reached = source.reached(&object);
        let uid = &*object.meta().uid;
        if source
            .facts
            .get(&name)
            .is_some_and(|facts| facts.uid != uid)
        {
            self.vanished(watch, &name, None, late, now, out);
        }
        if let Object::Pod(pod) = &object {
            self.owners.pod_is_there(&name, controller(&pod.meta));
        }
        let rewritten = match (&object, self.world.config_maps.get(&name)) {
            (Object::ConfigMap(after), Some(before)) => changes::rewritten(before, after),
            _ => Vec::new(),
        };
        let Some(source) = self.sources.get(&watch) else {
            return;
        };
        let before = source.facts.get(&name).cloned();
        let mut after = Facts::of(&object, before.as_ref());
        let rows = if first {
            Vec::new()
        } else {
            changes::rows(&Compared {
                before: before.as_ref(),
                after: Some(&after),
                object: Some(&object),
                rewritten,
                subject: changes::subject(kind.name(), object.meta()),
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
        if before.as_ref() != Some(&after) || !rows.is_empty() {
            out.push(Item::Change(Box::new(Change {
                watch,
                name: name.to_string(),
                facts: serde_json::to_string(&after).ok(),
                rows: rows.into_iter().map(sanitize).collect(),
                version: reached,
            })));
            if let Some(source) = self.source(watch) {
                source.facts.insert(name.clone(), after);
            }
        }
        let mut dirty = BTreeSet::new();
        self.world
            .apply(object, now, self.config.thresholds.settle, &mut dirty);
        if let Some(change) = changed {
            self.world.note_change(kind, &name, change, &mut dirty);
        }
        self.touch(dirty);
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
        self.touch(dirty);
    }

    /// What a complete list did not show is gone; says how much that is.
    fn listed(&mut self, watch: WatchId, now: Timestamp, out: &mut Vec<Item>) -> u64 {
        let Some(source) = self.source(watch) else {
            return 0;
        };
        let late = source.late.take();
        let shown = source.listing.take().unwrap_or_default();
        let missing: Vec<Name> = source
            .facts
            .keys()
            .filter(|name| !shown.contains(*name))
            .cloned()
            .collect();
        (source.synced, source.first) = (true, false);
        if source.resumed.is_none() {
            source.current = Some(now);
        }
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
        let Some(source) = self.sources.get(&watch) else {
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
        out.extend(steps.into_iter().map(|step| Item::Finding(Box::new(step))));
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
            self.touch(self.world.subjects());
        }
    }

    fn touch(&mut self, subjects: BTreeSet<Subject>) {
        for subject in subjects {
            if self.waiting.insert(subject.clone()) {
                self.dirty.push_back(subject);
            }
        }
    }

    /// Whether subjects wait to be looked at.
    pub fn is_behind(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Looks at up to `budget` subjects that changed or whose time has come.
    pub fn evaluate(&mut self, budget: usize, now: Timestamp) -> Vec<Item> {
        let mut steps = Vec::new();
        self.refresh_ready(now, &mut steps);
        let due: BTreeSet<Subject> = {
            let mut due = BTreeSet::new();
            while self.timers.first().is_some_and(|(at, _)| *at <= now) {
                due.extend(self.timers.pop_first().map(|(_, subject)| subject));
            }
            due
        };
        self.touch(due);
        for _ in 0..budget {
            let Some(subject) = self.dirty.pop_front() else {
                break;
            };
            self.waiting.remove(&subject);
            self.look(&subject, now, &mut steps);
        }
        steps
            .into_iter()
            .map(|step| Item::Finding(Box::new(step)))
            .collect()
    }

    /// Notes which kinds are seen as they are; what was frozen is looked at again.
    fn refresh_ready(&mut self, now: Timestamp, out: &mut Vec<crate::pipeline::item::Finding>) {
        let mut thawed = Vec::new();
        for kind in Kind::ALL
            .iter()
            .copied()
            .filter(|kind| *kind != Kind::Event)
        {
            let mut sources = self.sources.values().filter(|s| s.kind == kind).peekable();
            let is_ready = sources.peek().is_some()
                && sources.all(|s| s.synced && s.live && now.since(s.live_since) >= THAW);
            let was_ready = std::mem::replace(&mut self.ready[kind.index()], is_ready);
            if is_ready && !was_ready {
                thawed.push(kind);
            }
        }
        if thawed.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.retired, true) {
            let enabled = |id: &str| {
                id == PERMISSION
                    || rules::ALL
                        .iter()
                        .any(|rule| rule.id == id && self.config.runs(rule))
            };
            self.findings.retire(enabled, now, out);
        }
        for kind in &thawed {
            if let Some(from) = self.blind_since[kind.index()].take() {
                let reads = |id: &str| {
                    rules::ALL
                        .iter()
                        .any(|r| r.id == id && r.reads.contains(kind))
                };
                self.findings.doubt(reads, Late { from, to: now });
            }
        }
        let mut all = self.world.subjects();
        all.extend(self.findings.subjects().cloned());
        self.touch(all);
    }

    fn is_ready(&self, rule: &Rule) -> bool {
        rule.reads.iter().all(|kind| self.ready[kind.index()])
    }

    fn look(
        &mut self,
        subject: &Subject,
        now: Timestamp,
        out: &mut Vec<crate::pipeline::item::Finding>,
    ) {
        let Some(target) = Target::find(&self.world, subject) else {
            let gone = match subject.about {
                About::Node => self.ready[Kind::Node.index()],
                About::Deployment => self.ready[Kind::Deployment.index()],
                About::Service => self.ready[Kind::Service.index()],
                About::ConfigMap => self.ready[Kind::ConfigMap.index()],
                About::Pod | About::Owner | About::Image => self.ready[Kind::Pod.index()],
                About::Watch => false,
            };
            if gone {
                self.findings.gone(subject, now, out);
            }
            return;
        };
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
                identity: &target.identity,
                object: target.object.as_ref(),
                now,
            };
            let mut signs = Signs::default();
            if !self.config.excludes(rule, &target.namespace) && !target.ignores(rule) {
                let findings = &self.findings;
                let context = Context {
                    world: &self.world,
                    now,
                    thresholds: &self.config.thresholds,
                    is_open: &|part| findings.is_open(&look, part),
                };
                target.check(rule, &context, &mut signs);
            }
            let next = self.findings.judge(&look, signs, out);
            again = [again, next].into_iter().flatten().min();
        }
        if let Some(at) = again {
            self.timers
                .insert((at.max(now.plus(Duration::from_millis(1))), subject.clone()));
        }
    }
}

/// A subject, found in the world.
struct Target<'a> {
    world: &'a World,
    subject: &'a Subject,
    identity: String,
    namespace: String,
    object: Option<ObjectRef>,
    ignore: Vec<Box<str>>,
}

impl<'a> Target<'a> {
    fn find(world: &'a World, subject: &'a Subject) -> Option<Self> {
        let name = &*subject.name;
        let of = |kind: Kind, meta: &crate::source::objects::Meta| Self {
            world,
            subject,
            identity: meta.uid.to_string(),
            namespace: meta.namespace.to_string(),
            object: Some(changes::subject(kind.name(), meta)),
            ignore: meta.ignore.clone(),
        };
        match subject.about {
            About::Pod => world
                .pods
                .get(name)
                .map(|entry| of(Kind::Pod, &entry.pod.meta)),
            About::Node => world
                .nodes
                .get(name)
                .map(|entry| of(Kind::Node, &entry.node.meta)),
            About::Deployment => world
                .deployments
                .get(name)
                .map(|one| of(Kind::Deployment, &one.meta)),
            About::Service => world
                .services
                .get(name)
                .map(|one| of(Kind::Service, &one.meta)),
            About::ConfigMap => world
                .config_maps
                .get(name)
                .map(|one| of(Kind::ConfigMap, &one.meta)),
            About::Owner => {
                let pods: Vec<_> = world.pods_of(name).collect();
                let ignore = (!pods.is_empty()).then(|| {
                    let group = Group { name, pods };
                    group.newest().pod.meta.ignore.clone()
                })?;
                let owner = owner_ref(name);
                Some(Self {
                    world,
                    subject,
                    identity: name.to_owned(),
                    namespace: owner.namespace.clone(),
                    object: Some(owner),
                    ignore,
                })
            }
            About::Image => {
                world.pods_without(name).next()?;
                Some(Self {
                    world,
                    subject,
                    identity: name.to_owned(),
                    namespace: String::new(),
                    object: None,
                    ignore: Vec::new(),
                })
            }
            About::Watch => None,
        }
    }

    fn ignores(&self, rule: &Rule) -> bool {
        self.ignore.iter().any(|word| rule.is_named(word))
    }

    fn check(&self, rule: &Rule, context: &Context<'_>, signs: &mut Signs) {
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
        }
    }
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
